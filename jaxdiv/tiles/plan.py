"""How many rows, and how many outcomes, are looked at together: from a budget of memory."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from .window import Cuts, parts_of

DEFAULT = 2**29  # bytes
# Arrays that are alive at once, of the size of all logits of some rows and of a tile of logits of
# all rows: as compiled for a GPU, with a margin.
_FORWARD, _BACKWARD = 4, 6
_LEAST = 128  # outcomes in a tile, of which matrix units want so many
# On a CPU, where arrays larger than its caches are slow and products of fewer rows too: at
# (1024, 256, 32768) KL's value and gradient takes 1.2 s by 128 rows, 1.4 by 64, 2.3 by 32 and 1.8
# by 1024.
_CPU_NUMBERS, _CPU_ROWS = 2**22, 64


@dataclasses.dataclass(frozen=True)
class Plan:
    """Forward, all outcomes of `rows` rows at a time; backward, `tile` outcomes of all rows.

    Under plain `jit` rows and outcomes may lie in so many parts on as many devices.
    """

    count: int
    size: int
    rows: int
    tile: int
    axis_name: Any = None
    shards: int = 1
    dtype: Any = jnp.float32
    row_parts: int = 1
    parts: int = 1

    @property
    def blocks(self) -> Cuts:
        """The rows, some at a time."""
        return Cuts(self.count, self.rows, self.row_parts)

    @property
    def outcomes(self) -> Cuts:
        """The outcomes, some at a time."""
        return Cuts(self.size, self.tile, self.parts)


def plan(
    count: int, size: int, dtype: Any, memory: int | None, axis_name: Any, shards: int
) -> Plan:
    """The plan for `count` rows of `size` outcomes.

    Raises:
        ValueError: The budget is too small for one row, or for the narrowest tile.
    """
    budget = DEFAULT if memory is None else memory
    item = jnp.dtype(dtype).itemsize
    row, column = _FORWARD * item * size, _BACKWARD * item * max(count, 1)
    least = max(row, column * min(_LEAST, size))
    if budget < least:
        if memory is not None:
            raise ValueError(
                f"memory must be at least {least} bytes for {count} rows of {size} outcomes, "
                f"but is {memory}"
            )
        budget = least
    most = budget // row
    if memory is None and jax.default_backend() == "cpu":
        most = min(most, max(_CPU_NUMBERS // size, _CPU_ROWS))
    (rows, row_parts), (tile, parts) = _parted(count, most), _parted(size, budget // column)
    return Plan(count, size, rows, tile, axis_name, shards, jnp.dtype(dtype), row_parts, parts)


def _parted(whole: int, most: int) -> tuple[int, int]:
    """How many at a time, and of how many parts as many each."""
    parts = parts_of(whole)
    return parts * _part(whole // parts, max(1, most // parts)), parts


def _part(whole: int, most: int) -> int:
    """At most so many of the whole: a divisor if one is near, else a multiple of 128."""
    if most >= whole:
        return max(whole, 1)
    found = (
        d
        for k in range(1, math.isqrt(whole) + 1)
        if whole % k == 0
        for d in (k, whole // k)
        if 3 * most // 4 < d <= most and d % 8 == 0
    )
    return max(found, default=max(1, most // _LEAST * _LEAST or most))
