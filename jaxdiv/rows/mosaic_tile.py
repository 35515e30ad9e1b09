"""Short rows, as many to a thread block as a tile has.

Both sides of the rows lie in the shared memory of the block, and all passes read them there, some
columns of all rows at a time: a number of a row is a vector here, over the rows.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import elementwise
from .mosaic_passes import SIDES, Passes, relative

ROWS = 64  # of the layout of a warpgroup
_COLUMNS = 8  # of it, at least
_NUMBERS = 2  # arrays with one number a row that a kernel reads, at most


@dataclasses.dataclass(frozen=True)
class Plan:
    """How rows are divided: `ROWS` to a block, `columns` of them in registers."""

    rows: int
    size: int
    dtype: Any

    @property
    def columns(self) -> int:
        """Columns that are in registers at once."""
        return next(n for n in (2 * _COLUMNS, _COLUMNS) if self.size % n == 0)

    @property
    def tile(self) -> tuple[int, int]:
        """What is in registers at once."""
        return ROWS, self.columns

    @property
    def view(self) -> tuple[int, ...]:
        """The logits in global memory."""
        return self.rows, self.size

    def outputs(self) -> list[jax.ShapeDtypeStruct]:
        """What a kernel writes for itself."""
        return []

    def scratch(self) -> dict[str, Any]:
        """What a block keeps in shared memory."""
        from jax.experimental.pallas import mosaic_gpu as plgpu

        return {
            "p": plgpu.SMEM((ROWS, self.size), self.dtype),
            "q": plgpu.SMEM((ROWS, self.size), self.dtype),
            "numbers": plgpu.SMEM((_NUMBERS, ROWS), jnp.float32),
            "told": plgpu.SMEM((ROWS,), jnp.float32),
            "ready": plgpu.Barrier(num_arrivals=1, num_barriers=2 + _NUMBERS),
        }

    def grid(self) -> dict[str, Any]:
        """The blocks that run."""
        return dict(grid=(-(-self.rows // ROWS),), grid_names=("tile",))

    def block(self, *given: Any) -> "Tile":
        """What one of them sees."""
        return Tile(self, *given)


def plan(rows: int, size: int, dtype: Any, parameters: Sequence[Array]) -> Plan | str:
    """How short rows are divided, or why they are not."""
    if size % _COLUMNS:
        return f"rows are short and not a multiple of {_COLUMNS} outcomes"
    if rows < ROWS:
        return f"rows are short and fewer than {ROWS}"
    if any(x.ndim for x in parameters):
        return "rows are short and have parameters of their own"
    return Plan(rows, size, dtype)


class Tile(Passes):
    """What one thread block sees of its rows."""

    def __init__(self, made: Plan, table: Any, own: Sequence[Any], scratch: dict, interpret: bool):
        import jax.experimental.pallas as pl
        from jax.experimental.pallas import mosaic_gpu as plgpu

        del own, interpret
        self.gpu, self._table, self._scratch = plgpu, table, scratch
        self.steps, self.tile, self.dtype = made.size // made.columns, made.tile, made.dtype
        # The last block begins early enough to lie within: some rows are computed twice.
        start = jnp.minimum(lax.axis_index("tile") * ROWS, made.rows - ROWS)
        self._rows = pl.ds(start, ROWS)
        self._numbers: list[Any] = []

    def known(self, i: int) -> Array:
        """A number of the table."""
        return self._table[0, i]

    def number(self, numbers: Any) -> Array:
        """These rows' of an array with one number a row."""
        i = next(i for i, x in enumerate(self._numbers) if x is numbers)
        self.gpu.barrier_wait(self._scratch["ready"].at[2 + i])
        layout = self.gpu.Layout.WGMMA.reduce(1)
        return self.gpu.load(self._scratch["numbers"].at[i], layout=layout)

    def fetch(self, arrays: Sequence[Any], numbers: Sequence[Any] = ()) -> None:
        """Begin to copy the rows, and their numbers, into shared memory."""
        self._numbers = list(numbers)
        targets = [self._scratch[name] for name in SIDES]
        targets += [self._scratch["numbers"].at[i] for i in range(len(numbers))]
        for i, (array, target) in enumerate(zip((*arrays, *numbers), targets, strict=True)):
            ready = self._scratch["ready"].at[i]
            self.gpu.copy_gmem_to_smem(array.at[self._rows], target, ready)

    def wait(self, sides: Sequence[int] = (0, 1)) -> None:
        """Until sides have come."""
        for side in sides:
            self.gpu.barrier_wait(self._scratch["ready"].at[side])

    def place(self, name: str, step: Array) -> Any:
        """Where some columns of a side lie in shared memory."""
        import jax.experimental.pallas as pl

        columns = self.tile[1]
        return self._scratch[name].at[:, pl.ds(step * columns, columns)]

    def read(self, name: str, step: Array, masked: bool = True) -> Array:
        """Some columns of a side."""
        del masked  # no column is in two steps
        x = self.gpu.load(self.place(name, step), layout=self.gpu.Layout.WGMMA)
        return x.astype(jnp.float32)

    def zero(self) -> Array:
        """As many columns of zeros."""
        return self.gpu.layout_cast(jnp.zeros(self.tile, jnp.float32), self.gpu.Layout.WGMMA)

    def normalisers(self) -> dict[str, Array]:
        """Those of both sides' rows, as inputs of the programs."""
        inputs = {}
        for side, name in enumerate(SIDES):
            self.wait([side])
            found = self.running(name)
            highest = jnp.max(found[0], axis=1)
            ties, others = relative(found, lax.broadcast_in_dim(highest, self.tile, (0,)))
            inputs |= {
                f"top_{name}": highest,
                f"ties_{name}": jnp.sum(ties, axis=1),
                f"others_{name}": jnp.sum(others, axis=1),
            }
        return inputs

    def sums(self, program: elementwise.Program, inputs: dict[str, Array]) -> list[Array]:
        """The sums over each row of a program's results."""
        return [jnp.sum(x, axis=1) for x in self.totals(program, inputs)]

    def send(self, arrays: Sequence[Any], moving: Sequence[bool]) -> None:
        """Copy the sides that move to global memory."""
        names = [name for name, moves in zip(SIDES, moving, strict=True) if moves]
        self.gpu.commit_smem()
        for name, array in zip(names, arrays, strict=True):
            self.gpu.copy_smem_to_gmem(self._scratch[name], array.at[self._rows])
        self.gpu.wait_smem_to_gmem(0)

    def tell(self, array: Any, number: Array) -> None:
        """Put a number of each row into global memory."""
        self._scratch["told"][...] = number
        self.gpu.commit_smem()
        self.gpu.copy_smem_to_gmem(self._scratch["told"], array.at[self._rows])
        self.gpu.wait_smem_to_gmem(0)
