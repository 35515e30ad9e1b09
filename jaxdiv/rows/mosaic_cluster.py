"""A row to a cluster of thread blocks: the shared memory of one block, or of several, holds it.

All passes over the row read it there. Between passes the blocks of a cluster exchange a few numbers
through global memory. A copy moves at most 256 logits of a row that may begin anywhere, so rows are
cut into pieces of 256; a group of pieces is what the registers hold. The last group of a row begins
early enough to lie within it, and what it repeats is masked in every sum.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import elementwise
from .mosaic_passes import SIDES, Passes, relative

PIECE = 256
_GROUP = 4  # pieces
_SHARED = 224 * 2**10  # bytes of shared memory that a block may fill with logits
_SHARE = 72 * 2**10  # so that three blocks run on a multiprocessor and hide each other's waiting
_BLOCKS = 8  # in a cluster, at most
_MULTIPROCESSORS = 132  # of an H100; a row is divided further while some would be idle
_NUMBERS = 8  # that a block tells the others of its cluster, at most
_EXCHANGES = 3


@dataclasses.dataclass(frozen=True)
class Plan:
    """How rows are divided: `pieces` of a row in each of the `blocks` of a cluster."""

    rows: int
    size: int
    dtype: Any
    blocks: int
    pieces: int
    group: int

    @property
    def groups(self) -> int:
        """Steps of a pass."""
        return self.pieces // self.group

    @property
    def tile(self) -> tuple[int, int]:
        """What is in registers at once."""
        return self.group, PIECE

    @property
    def view(self) -> tuple[int, ...]:
        """The logits in global memory: pieces, rows, or one line where rows begin unaligned."""
        if self.size % PIECE == 0:
            return self.rows * self.size // PIECE, PIECE
        if self.size * self.dtype.itemsize % 16 == 0:
            return self.rows, self.size
        return (self.rows * self.size,)

    @property
    def copies(self) -> int:
        """Copies that bring a block its part of one side."""
        return self.groups if self.size % PIECE == 0 else self.pieces

    def outputs(self) -> list[jax.ShapeDtypeStruct]:
        """What a kernel writes for itself: the numbers that blocks tell each other."""
        if self.blocks == 1:
            return []
        # Lines of 128 bytes of their own for every row and exchange.
        width = max(self.blocks * _NUMBERS, 32)
        return [jax.ShapeDtypeStruct((self.rows, _EXCHANGES, width), jnp.float32)]

    def scratch(self) -> dict[str, Any]:
        """What a block keeps in shared memory."""
        from jax.experimental.pallas import mosaic_gpu as plgpu

        told = {"told": plgpu.ClusterBarrier(collective_axes=("block",))}
        return {
            "p": plgpu.SMEM((self.pieces, PIECE), self.dtype),
            "q": plgpu.SMEM((self.pieces, PIECE), self.dtype),
            "ready": plgpu.Barrier(num_arrivals=self.copies, num_barriers=2),
            **(told if self.blocks > 1 else {}),
        }

    def grid(self) -> dict[str, Any]:
        """The blocks that run."""
        return dict(
            grid=(self.rows,), grid_names=("row",),
            cluster=(self.blocks,), cluster_names=("block",),
        )  # fmt: skip

    def block(self, *given: Any) -> "Row":
        """What one of them sees."""
        return Row(self, *given)


def plan(rows: int, size: int, dtype: Any, multiprocessors: int = _MULTIPROCESSORS) -> Plan | str:
    """How rows of at least `PIECE` outcomes are divided, or why they are not."""
    dtype = jnp.dtype(dtype)
    whole = 2 * dtype.itemsize * size
    if whole > _BLOCKS * _SHARED:
        return f"a row of both sides is longer than {_BLOCKS * _SHARED} bytes"
    blocks = 1
    while blocks < _BLOCKS and blocks * 2 * PIECE * _GROUP <= size:
        if whole <= blocks * _SHARE and rows * blocks >= multiprocessors:
            break
        blocks *= 2
    group = next(g for g in (4, 2, 1) if g <= _GROUP and g * PIECE <= size)
    pieces = -(-size // (PIECE * blocks * group)) * group
    made = Plan(rows, size, dtype, blocks, pieces, group)
    if len(made.view) == 1 and rows * size >= 2**31:
        return "rows that begin unaligned have more than 2**31 numbers in all"
    return made


class Row(Passes):
    """What one thread block sees of its row."""

    def __init__(self, made: Plan, table: Any, own: Sequence[Any], scratch: dict, interpret: bool):
        from jax.experimental.pallas import mosaic_gpu as plgpu

        self.gpu, self.plan, self.interpret = plgpu, made, interpret
        self.steps, self.tile, self.dtype = made.groups, made.tile, made.dtype
        self.index, self.block = lax.axis_index("row"), lax.axis_index("block")
        self._table, self._scratch, self._exchange = table, scratch, 0
        self._told = own[0] if own else None
        i, j = (plgpu.broadcasted_iota(jnp.int32, made.tile, axis) for axis in (0, 1))
        self._column = i * PIECE + j

    def known(self, i: int) -> Array:
        """A number of the table."""
        return self._table[self.index if self._table.shape[0] > 1 else 0, i]

    def number(self, numbers: Any) -> Array:
        """This row's of an array with one number a row."""
        return numbers[self.index]

    def _begin(self, group: Array) -> tuple[Array, Array]:
        """Where a group would begin in the row, and where it does, to lie within."""
        start = (self.block * self.plan.pieces + group * self.plan.group) * PIECE
        return start, jnp.minimum(start, self.plan.size - self.plan.group * PIECE)

    def _copies(self, array: Any, shared: Any, group: Array) -> list[tuple[Any, Any]]:
        """Places in global and in shared memory of a group."""
        import jax.experimental.pallas as pl

        count, size = self.plan.group, self.plan.size
        start = self._begin(group)[1]
        if size % PIECE == 0:
            first = self.index * (size // PIECE) + start // PIECE
            return [(array.at[pl.ds(first, count)], shared.at[pl.ds(group * count, count)])]
        pairs = []
        for i in range(count):
            at = pl.ds(start + i * PIECE, PIECE)
            if len(self.plan.view) == 1:
                here = array.at[pl.ds(self.index * size + start + i * PIECE, PIECE)]
            else:
                here = array.at[self.index, at]
            pairs.append((here, shared.at[group * count + i]))
        return pairs

    def fetch(self, arrays: Sequence[Any], numbers: Sequence[Any] = ()) -> None:
        """Begin to copy the rows into shared memory; `numbers` are read when they are wanted."""
        del numbers
        for side, (name, array) in enumerate(zip(SIDES, arrays, strict=True)):
            shared, ready = self._scratch[name], self._scratch["ready"].at[side]

            def step(group: Array, _: None, array=array, shared=shared, ready=ready) -> None:
                for source, target in self._copies(array, shared, group):
                    self.gpu.copy_gmem_to_smem(source, target, ready)

            lax.fori_loop(0, self.plan.groups, step, None)

    def wait(self, sides: Sequence[int] = (0, 1)) -> None:
        """Until sides have come."""
        for side in sides:
            self.gpu.barrier_wait(self._scratch["ready"].at[side])

    def place(self, name: str, step: Array) -> Any:
        """Where a group of a side lies in shared memory."""
        import jax.experimental.pallas as pl

        return self._scratch[name].at[pl.ds(step * self.plan.group, self.plan.group)]

    def read(self, name: str, step: Array, masked: bool = True) -> Array:
        """A group of a side; what an earlier group has or a later row, as `nothing` if masked."""
        x = self.gpu.load(self.place(name, step)).astype(jnp.float32)
        exact = self.plan.size == self.plan.blocks * self.plan.pieces * PIECE
        if exact or not masked:
            return x
        start, begin = self._begin(step)
        return jnp.where(self._column >= start - begin, x, self.nothing[SIDES.index(name)])

    def exchange(self, numbers: Sequence[Array]) -> list[list[Array]]:
        """The numbers of every block of the cluster."""
        if self._told is None:
            return [list(numbers)]
        told, n = self._told.at[self.index, self._exchange], len(numbers)
        self._exchange += 1
        for i, x in enumerate(numbers):
            told[self.block * _NUMBERS + i] = x
        self._fence()
        self.gpu.barrier_arrive(self._scratch["told"])
        self.gpu.barrier_wait(self._scratch["told"])
        self._fence()
        return [[told[block * _NUMBERS + i] for i in range(n)] for block in range(self.plan.blocks)]

    def tell(self, array: Any, number: Array) -> None:
        """Put a number of the row into global memory."""
        import jax.experimental.pallas as pl

        @pl.when(self.block == 0)
        def _() -> None:
            array[self.index] = number

    def _fence(self) -> None:
        """Orders the exchange in global memory: a barrier in shared memory alone does not."""
        if self.interpret:
            return

        @self.gpu.inline_mgpu()
        def fence(_: Any) -> None:
            from jaxlib.mlir.dialects import nvvm

            nvvm.fence_sc_cluster()

        fence()

    def zero(self) -> Array:
        """A group of zeros."""
        return jnp.zeros(self.tile, jnp.float32)

    def _normaliser(self, name: str) -> list[Array]:
        """The maximum of this block's part, how often it is attained, the others' exponentials."""
        found = self.running(name)
        highest = jnp.max(found[0])
        return [highest, *(jnp.sum(x) for x in relative(found, highest))]

    def normalisers(self) -> dict[str, Array]:
        """Those of both rows, as inputs of the programs."""
        mine: list[Array] = []
        for side, name in enumerate(SIDES):
            self.wait([side])
            mine += self._normaliser(name)
        parts = self.exchange(mine)
        found = {}
        for side, name in enumerate(SIDES):
            top, ties, others = _merge([part[3 * side : 3 * side + 3] for part in parts])
            found |= {f"top_{name}": top, f"ties_{name}": ties, f"others_{name}": others}
        return found

    def sums(self, program: elementwise.Program, inputs: dict[str, Array]) -> list[Array]:
        """The sums over the row of a program's results."""
        parts = self.exchange([jnp.sum(x) for x in self.totals(program, inputs)])
        return [functools.reduce(jnp.add, x) for x in zip(*parts, strict=True)]

    def send(self, arrays: Sequence[Any], moving: Sequence[bool]) -> None:
        """Copy the sides that move to global memory."""
        names = [name for name, moves in zip(SIDES, moving, strict=True) if moves]
        self.gpu.commit_smem()
        for name, array in zip(names, arrays, strict=True):

            def step(group: Array, _: None, name=name, array=array) -> None:
                for target, source in self._copies(array, self._scratch[name], group):
                    self.gpu.copy_smem_to_gmem(source, target)

            lax.fori_loop(0, self.plan.groups, step, None)
        self.gpu.wait_smem_to_gmem(0)


def _merge(parts: Sequence[Sequence[Array]]) -> list[Array]:
    """Normalisers of blocks as that of the row, in the same order in every block."""
    top = functools.reduce(jnp.maximum, [part[0] for part in parts])
    if len(parts) == 1:
        return list(parts[0])
    found = [relative(part, top) for part in parts]
    return [top, *(functools.reduce(jnp.add, x) for x in zip(*found, strict=True))]
