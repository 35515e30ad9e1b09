"""Passes of a thread block over rows in its shared memory, a tile of their logits at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import elementwise
from .form import SIDES

# By name, what a kernel evaluates.
Programs = dict[str, elementwise.Program]

_LOWEST = float(jnp.finfo(jnp.float32).min)


class Passes:
    """What does not depend on how rows are divided.

    `steps` tiles of shape `tile` make the rows, or a block's part of them. What is known of a row
    is a number, or a vector of them over the rows of a tile.
    """

    gpu: Any
    steps: int
    tile: tuple[int, int]
    dtype: Any
    nothing = (-jnp.inf, -jnp.inf)  # for each side, the number of an outcome of probability 0

    def place(self, name: str, step: Array) -> Any:
        """Where a tile of a side lies in shared memory."""
        raise NotImplementedError

    def read(self, name: str, step: Array, masked: bool = True) -> Array:
        """A tile of a side; what an earlier tile has or a later row, as `nothing` if masked."""
        raise NotImplementedError

    def zero(self) -> Array:
        """A tile of zeros."""
        raise NotImplementedError

    def known(self, i: int) -> Array:
        """A number of the table."""
        raise NotImplementedError

    def running(self, name: str) -> tuple[Array, Array, Array]:
        """Over the tiles, for each place: the maximum, how often, the others' exponentials."""

        def step(i: Array, found: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            top, ties, others = found
            x = self.read(name, i)
            part = jnp.exp(-jnp.abs(x - top))
            above, equal = x > top, x == top
            others = jnp.where(
                above, (others + ties) * part, jnp.where(equal, others, others + part)
            )
            ties = jnp.where(above, 1.0, jnp.where(equal, ties + 1.0, ties))
            return jnp.maximum(top, x), ties, others

        zero = self.zero()
        # The lowest number and not -inf, which would make NaN of its differences. Nothing ties with
        # it in a row of -inf alone.
        return lax.fori_loop(0, self.steps, step, (zero + _LOWEST, zero, zero))

    def totals(self, program: elementwise.Program, inputs: dict[str, Array]) -> list[Array]:
        """Each place's sums over the tiles, of a program's results."""
        row = program.of_row(inputs, self.known)

        def step(i: Array, totals: list[Array]) -> list[Array]:
            wide = {f"x_{name}": self.read(name, i) for name in SIDES}
            found = program.of_tile(row, wide, self.tile)
            return [total + x for total, x in zip(totals, found, strict=True)]

        return lax.fori_loop(0, self.steps, step, [self.zero()] * len(program.results))

    def replace(
        self, program: elementwise.Program, inputs: dict[str, Array], moving: Sequence[bool]
    ) -> None:
        """Put a program's results where the logits of the sides that move are."""
        row = program.of_row(inputs, self.known)
        names = [name for name, moves in zip(SIDES, moving, strict=True) if moves]

        def step(i: Array, _: None) -> None:
            wide = {f"x_{name}": self.read(name, i, masked=False) for name in SIDES}
            found = program.of_tile(row, wide, self.tile)
            for name, x in zip(names, found, strict=True):
                self.gpu.store(self.place(name, i), x.astype(self.dtype))

        lax.fori_loop(0, self.steps, step, None)


def relative(found: Sequence[Array], top: Array) -> tuple[Array, Array]:
    """Ties and others of parts of a row, relative to the maximum of the whole."""
    its_top, ties, others = found
    equal = its_top == top
    scaled = jnp.where(equal, others, (others + ties) * jnp.exp(its_top - top))
    return jnp.where(equal, ties, 0.0), scaled


def run(
    kernel: Callable[..., None],
    made: Any,
    moving: Sequence[bool],
    programs: Programs,
    table: Array,
    arrays: Sequence[Array],
    interpret: bool,
) -> Sequence[Array]:
    """What a kernel makes of arrays by a plan: the sides that move, and a number a row."""
    # Here, as Pallas takes longer to load than everything else.
    from jax.experimental.pallas import mosaic_gpu as plgpu

    outputs = [jax.ShapeDtypeStruct(made.view, made.dtype) for moves in moving if moves]
    outputs.append(jax.ShapeDtypeStruct((made.rows,), jnp.float32))
    own = made.outputs()
    few, wanted = len(arrays), len(outputs)

    def body(*refs: Any, **scratch: Any) -> None:
        inputs, (numbers, *others) = refs[:few], refs[few:]
        rows = made.block(numbers, others[wanted:], scratch, interpret)
        kernel(rows, programs, inputs, others[:wanted])

    launched = plgpu.kernel(
        body,
        kernel_name="jaxdiv_pull" if any(moving) else "jaxdiv_value",
        out_type=[*outputs, *own],
        scratch_types=made.scratch(),
        interpret=plgpu.InterpretGPUParams() if interpret else None,
        **made.grid(),
    )
    return launched(*arrays, table)[:wanted]
