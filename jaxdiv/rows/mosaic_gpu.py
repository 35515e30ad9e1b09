"""Rows kept in the shared memory of a Hopper GPU, so that each logit is read once.

A row of both sides lies in the shared memory of one thread block or, in parts, of a cluster of
blocks. All passes over it read it there: the normalisers, the sum, and for the gradient the sum of
the slopes and the result, which replaces the logits and is copied out. Between passes the blocks of
a cluster exchange a few numbers through global memory. The form is that of `lean`, which names the
rows whose value stands; the others are computed again by the reference path, outside of the kernel.
What a divergence adds is its declaration, traced for one outcome (`elementwise`).

A copy moves at most 256 logits of a row that may begin anywhere, so rows are cut into pieces of
256; a group of pieces is what the registers hold. The last group of a row begins early enough to
lie within it, and what it repeats is masked in every sum.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._f_divergences import Alpha
from . import elementwise, lean, reference
from .blocked import as_rows, repaired
from .pair import Side
from .renyi import RENYI, of_sum, to_sum
from .rule import SUM, entries, partials
from .statistic import Moving, Operands, Statistic

_PIECE = 256
_GROUP = 4  # pieces
_SHARED = 224 * 2**10  # bytes of shared memory that a block may fill with logits
_SHARE = 72 * 2**10  # so that three blocks run on a multiprocessor and hide each other's waiting
_BLOCKS = 8  # in a cluster, at most
_MULTIPROCESSORS = 132  # of an H100; a row is divided further while some would be idle
_NUMBERS = 8  # that a block tells the others of its cluster, at most
_LOWEST = float(jnp.finfo(jnp.float32).min)

_SIDES = ("p", "q")
_WIDE = {f"x_{side}": True for side in _SIDES}
_ROW = {f"{name}_{side}": False for side in _SIDES for name in ("top", "ties", "others")}


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How rows are divided: `pieces` of a row in each of the `blocks` of a cluster."""

    rows: int
    size: int
    dtype: Any
    blocks: int
    pieces: int
    group: int

    @property
    def groups(self) -> int:
        return self.pieces // self.group

    @property
    def tile(self) -> tuple[int, int]:
        return self.group, _PIECE

    @property
    def view(self) -> tuple[int, ...]:
        """The logits in global memory: pieces, rows, or one line where rows begin unaligned."""
        if self.size % _PIECE == 0:
            return self.rows * self.size // _PIECE, _PIECE
        if self.size * self.dtype.itemsize % 16 == 0:
            return self.rows, self.size
        return (self.rows * self.size,)

    @property
    def copies(self) -> int:
        """Copies that bring a block its part of one side."""
        return self.groups if self.size % _PIECE == 0 else self.pieces


def plan(
    shape: tuple[int, ...], dtype: Any, multiprocessors: int = _MULTIPROCESSORS
) -> _Plan | str:
    """How rows of this shape are divided, or why they are not."""
    *batch, size = shape
    rows, dtype = math.prod(batch), jnp.dtype(dtype)
    if dtype not in (jnp.float32, jnp.bfloat16, jnp.float16):
        return f"the kernel computes in float32, and the logits are {dtype}"
    if size < _PIECE:
        return f"rows are shorter than {_PIECE}"
    whole = 2 * dtype.itemsize * size
    if whole > _BLOCKS * _SHARED:
        return f"a row of both sides is longer than {_BLOCKS * _SHARED} bytes"
    blocks = 1
    while blocks < _BLOCKS and blocks * 2 * _PIECE * _GROUP <= size:
        if whole <= blocks * _SHARE and rows * blocks >= multiprocessors:
            break
        blocks *= 2
    group = next(g for g in (4, 2, 1) if g <= _GROUP and g * _PIECE <= size)
    pieces = -(-size // (_PIECE * blocks * group)) * group
    made = _Plan(rows, size, dtype, blocks, pieces, group)
    if len(made.view) == 1 and rows * size >= 2**31:
        return "rows that begin unaligned have more than 2**31 numbers in all"
    return made


def why_not(statistic: Statistic, operands: Operands) -> str | None:
    """Why this path hands a statistic over to the reference path; None if it does not."""
    if statistic not in (SUM, RENYI):
        return f"the statistic {statistic.name} has no kernel"
    divergence, p, q = _summed(statistic, operands)
    if not all(s.chart == "logits" and s.temperature is None for s in (p, q)):
        return "the sides are not logits at temperature 1"
    if p.values.dtype != q.values.dtype:
        return f"the sides are {p.values.dtype} and {q.values.dtype}"
    if _unknown(divergence) and (divergence.rough or not divergence.homogeneous):
        return "how steep the summand is, is not known"
    if isinstance(made := plan(p.values.shape, p.values.dtype), str):
        return made
    try:
        _programs(as_rows((divergence, p, q))[0], (True, True))
    except elementwise.Unsupported as reason:
        return f"the summand cannot be traced into a kernel: {reason}"
    return None


def value(statistic: Statistic, operands: Operands, *, interpret: bool = False) -> Array:
    """The statistic of every row."""
    divergence, p, q = _summed(statistic, operands)
    made = plan(p.values.shape, p.values.dtype)
    assert isinstance(made, _Plan)
    programs, table = _programs(as_rows((divergence, p, q))[0], ())
    total = _call(_value_kernel, made, (), programs, table, _flat(made, p, q), interpret)[0]
    total = total.reshape(p.values.shape[:-1])
    found, stand = total, _stand(divergence, total)
    if statistic is RENYI:
        found, near_one = of_sum(operands[0], total)
        stand &= near_one

    def near(operands: Operands) -> list[Array]:
        return [reference.value(statistic, operands)]

    return repaired([found], stand, near, operands)[0]


def push(
    statistic: Statistic,
    operands: Operands,
    known: Array,
    dots: Sequence[Array],
    *,
    moving: Moving,
    interpret: bool = False,
) -> Array:
    """Its derivative along the tangents of the moving leaves."""
    del interpret
    return reference.push(statistic, operands, known, dots, moving=moving)


def pull(
    statistic: Statistic,
    operands: Operands,
    known: Array,
    cotangent: Array,
    *,
    moving: Moving,
    interpret: bool = False,
) -> list[Array]:
    """The transpose: the cotangents of the moving leaves."""
    _, p, q = operands
    mine = [x is p.values or x is q.values for x in jax.tree.leaves(operands)]
    parameters = any(moves and not my for moves, my in zip(moving, mine, strict=True))
    if parameters:
        # A parameter's cotangent is a sum over the rows.
        return reference.pull(statistic, operands, known, cotangent, moving=moving)
    two = tuple(moves for moves, my in zip(moving, mine, strict=True) if my)
    divergence = _summed(statistic, operands)[0]
    total, weight, near_one = known, cotangent, True
    if statistic is RENYI:
        total, growth, near_one = to_sum(operands[0], known)
        weight = growth * cotangent
    made = plan(p.values.shape, p.values.dtype)
    assert isinstance(made, _Plan)
    programs, table = _programs(as_rows((divergence, p, q))[0], two)
    *slopes, fine = _call(
        functools.partial(_pull_kernel, moving=two, unknown=_unknown(divergence)),
        made,
        two,
        programs,
        table,
        (*_flat(made, p, q), weight.reshape(-1), total.reshape(-1)),
        interpret,
    )
    found = [x.reshape(p.values.shape) for x in slopes]
    stand = _stand(divergence, total) & (fine.reshape(known.shape) > 0) & near_one

    def near(operands: Operands, known: Array, cotangent: Array) -> list[Array]:
        rows = known[:, 0], cotangent[:, 0]
        return reference.pull(statistic, operands, *rows, moving=moving)

    return repaired(found, stand, near, operands, known[..., None], cotangent[..., None])


def _summed(statistic: Statistic, operands: Operands) -> Operands:
    """The operands of the sum that a kernel takes: Renyi's is a function of one."""
    alpha, p, q = operands
    return (Alpha(alpha), p, q) if statistic is RENYI else operands


def _flat(made: _Plan, p: Side, q: Side) -> tuple[Array, Array]:
    return p.values.reshape(made.view), q.values.reshape(made.view)


def _unknown(divergence: Any) -> bool:
    """Whether nobody knows how steep a summand is.

    An error e common to all log-ratios of a row changes the value by e sum(p d_p), so that the
    kernel finds out, for each row, whether that is little: sum(p d_p) is the steepness, relative to
    the value.
    """
    slope = divergence.steepness()
    return isinstance(slope, float) and slope > lean.STEEP


def _stand(divergence: Any, total: Array) -> Array:
    steep = jnp.asarray(0.0 if _unknown(divergence) else divergence.steepness())
    gentle = (steep[..., 0] if steep.ndim else steep) <= lean.STEEP
    least = lean.ROUGH if divergence.rough else lean.SMOOTH
    return (total >= least) & (total < jnp.inf) & gentle


# --- the summand ---------------------------------------------------------------------------------


# "terms", or "slopes" of the sides that move and "results"; "excess", p - q, if its sum is wanted.
_Programs = dict[str, elementwise.Program]


def _programs(divergence: Any, moving: Sequence[bool]) -> tuple[_Programs, Array]:
    """Programs for a divergence, and their table of known numbers, (rows or 1, numbers)."""
    leaves, tree = jax.tree.flatten(divergence)
    rough = divergence.rough
    made: _Programs = {}

    def sides(numbers: dict[str, Array]) -> list[lean.Normalised]:
        names = ("x", "top", "ties", "others")
        return [lean.Normalised(*(numbers[f"{n}_{side}"] for n in names)) for side in _SIDES]

    def pair(numbers: dict[str, Array]) -> Any:
        p, q = sides(numbers)
        return p, q, lean.pair_of(p, q, numbers["error"] if rough else 0)

    def by_mass(leaves: Any, p: Any, q: Any, both: Any) -> tuple[Array, Array]:
        like = Side(p.values, None, "logits")
        divergence = jax.tree.unflatten(tree, leaves)
        return partials(divergence, both, like, like, p.support(), q.support())

    def terms(leaves, **numbers):
        p, q, both = pair(numbers)
        found = [entries(jax.tree.unflatten(tree, leaves), both, p.support(), q.support())]
        return found + list(by_mass(leaves, p, q, both)[:1]) if _unknown(divergence) else found

    def excess(leaves, **numbers):
        return [lean.excess(*sides(numbers))]

    def slopes(leaves, **numbers):
        p, q, both = pair(numbers)
        found = by_mass(leaves, p, q, both)
        # Of what moves: the slope, and the slope of all but the likeliest outcome.
        pairs = ((s, jnp.where(x.likeliest(), 0, s)) for s, x in zip(found, (p, q), strict=True))
        return [x for two, moves in zip(pairs, moving, strict=True) if moves for x in two]

    def results(leaves, **numbers):
        p, q, both = pair(numbers)
        found = by_mass(leaves, p, q, both)
        masses = (both.raw_p, both.raw_q)
        each = zip(_SIDES, (p, q), found, masses, moving, strict=True)
        return [
            numbers["cotangent"]
            * x.centred(slope, mass, numbers[f"whole_{side}"], numbers[f"rest_{side}"])
            for side, x, slope, mass, moves in each
            if moves
        ]

    given = _WIDE | _ROW | ({"error": False} if rough else {})
    sums = {f"{n}_{s}": False for n in ("whole", "rest") for s in _SIDES} | {"cotangent": False}
    wanted = {"excess": (excess, _WIDE | _ROW)} if rough else {}
    if any(moving):
        wanted |= {"slopes": (slopes, given), "results": (results, given | sums)}
    else:
        wanted |= {"terms": (terms, given)}

    def known(*leaves: Array) -> Array:
        """The table of one row; the programs are noted on the way."""
        numbers: list[Array] = []
        for name, (function, inputs) in wanted.items():
            made[name], more = elementwise.program(function, leaves, inputs, len(numbers))
            numbers += more
        return jnp.stack(numbers) if numbers else jnp.zeros(1, jnp.float32)

    each_row = [x.ndim > 0 for x in leaves]
    if any(each_row):
        flat = [x.reshape(-1) if mine else x for x, mine in zip(leaves, each_row, strict=True)]
        table = jax.vmap(known, [0 if mine else None for mine in each_row])(*flat)
    else:
        table = known(*leaves)[None]
    return made, table


# --- kernels -------------------------------------------------------------------------------------


def _call(
    kernel: Callable[..., None],
    made: _Plan,
    moving: Sequence[bool],
    programs: _Programs,
    table: Array,
    arrays: Sequence[Array],
    interpret: bool,
) -> Sequence[Array]:
    # Here, as Pallas takes longer to load than everything else.
    from jax.experimental.pallas import mosaic_gpu as plgpu

    outputs = [jax.ShapeDtypeStruct(made.view, made.dtype) for moves in moving if moves]
    outputs.append(jax.ShapeDtypeStruct((made.rows,), jnp.float32))
    scratch = {
        "p": plgpu.SMEM((made.pieces, _PIECE), made.dtype),
        "q": plgpu.SMEM((made.pieces, _PIECE), made.dtype),
        "ready": plgpu.Barrier(num_arrivals=made.copies, num_barriers=2),
    }
    if made.blocks > 1:
        # Lines of 128 bytes of their own for every row and exchange.
        width = max(made.blocks * _NUMBERS, 32)
        outputs.append(jax.ShapeDtypeStruct((made.rows, _Row.exchanges, width), jnp.float32))
        scratch["told"] = plgpu.ClusterBarrier(collective_axes=("block",))
    few = len(arrays)

    def body(*refs: Any, **scratch: Any) -> None:
        inputs, (numbers, *others) = refs[:few], refs[few:]
        row = _Row(made, numbers, others[-1] if made.blocks > 1 else None, scratch, interpret)
        kernel(row, programs, inputs, others[: len(outputs) - (made.blocks > 1)])

    run = plgpu.kernel(
        body,
        kernel_name="jaxdiv_pull" if any(moving) else "jaxdiv_value",
        out_type=outputs,
        scratch_types=scratch,
        grid=(made.rows,),
        grid_names=("row",),
        cluster=(made.blocks,),
        cluster_names=("block",),
        interpret=plgpu.InterpretGPUParams() if interpret else None,
    )
    return run(*arrays, table)[: len(outputs) - (made.blocks > 1)]


@functools.cache
def interpreter_effects() -> Any:
    """The effects of a kernel that is interpreted."""
    from jax.experimental.pallas import mosaic_gpu as plgpu

    def body(out: Any) -> None:
        out[0] = jnp.float32(0)

    one = jax.ShapeDtypeStruct((1,), jnp.float32)
    run = plgpu.kernel(body, out_type=one, interpret=plgpu.InterpretGPUParams())
    return jax.make_jaxpr(lambda: run())().effects


class _Row:
    """What one thread block sees of its row."""

    exchanges = 3

    def __init__(self, made: _Plan, table: Any, told: Any, scratch: dict, interpret: bool):
        from jax.experimental.pallas import mosaic_gpu as plgpu

        self.gpu, self.plan, self.interpret = plgpu, made, interpret
        self.index, self.block = lax.axis_index("row"), lax.axis_index("block")
        self._table, self._told, self._scratch, self._exchange = table, told, scratch, 0
        i, j = (plgpu.broadcasted_iota(jnp.int32, made.tile, axis) for axis in (0, 1))
        self._place = i * _PIECE + j

    def known(self, i: int) -> Array:
        """A number of the table."""
        return self._table[self.index if self._table.shape[0] > 1 else 0, i]

    def _begin(self, group: Array) -> tuple[Array, Array]:
        """Where a group would begin in the row, and where it does, to lie within."""
        start = (self.block * self.plan.pieces + group * self.plan.group) * _PIECE
        return start, jnp.minimum(start, self.plan.size - self.plan.group * _PIECE)

    def _copies(self, array: Any, shared: Any, group: Array) -> list[tuple[Any, Any]]:
        """Places in global and in shared memory of a group."""
        import jax.experimental.pallas as pl

        count, size = self.plan.group, self.plan.size
        start = self._begin(group)[1]
        if size % _PIECE == 0:
            first = self.index * (size // _PIECE) + start // _PIECE
            return [(array.at[pl.ds(first, count)], shared.at[pl.ds(group * count, count)])]
        pairs = []
        for i in range(count):
            at = pl.ds(start + i * _PIECE, _PIECE)
            if len(self.plan.view) == 1:
                here = array.at[pl.ds(self.index * size + start + i * _PIECE, _PIECE)]
            else:
                here = array.at[self.index, at]
            pairs.append((here, shared.at[group * count + i]))
        return pairs

    def fetch(self, arrays: Sequence[Any]) -> None:
        """Begin to copy the rows into shared memory."""
        for side, (name, array) in enumerate(zip(_SIDES, arrays, strict=True)):
            shared, ready = self._scratch[name], self._scratch["ready"].at[side]

            def step(group: Array, _: None, array=array, shared=shared, ready=ready) -> None:
                for source, target in self._copies(array, shared, group):
                    self.gpu.copy_gmem_to_smem(source, target, ready)

            lax.fori_loop(0, self.plan.groups, step, None)

    def wait(self, side: int) -> None:
        """Until a side has come."""
        self.gpu.barrier_wait(self._scratch["ready"].at[side])

    def _at(self, name: str, group: Array) -> Any:
        import jax.experimental.pallas as pl

        return self._scratch[name].at[pl.ds(group * self.plan.group, self.plan.group)]

    def logits(self, name: str, group: Array, masked: bool = True) -> Array:
        """A group of a side; what an earlier group has or a later row, as -inf if masked."""
        x = self.gpu.load(self._at(name, group)).astype(jnp.float32)
        exact = self.plan.size == self.plan.blocks * self.plan.pieces * _PIECE
        if exact or not masked:
            return x
        start, begin = self._begin(group)
        return jnp.where(self._place >= start - begin, x, -jnp.inf)

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

    def normaliser(self, name: str) -> list[Array]:
        """The maximum of this block's part, how often it is attained, the others' exponentials."""

        def step(group: Array, found: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            top, ties, others = found
            x = self.logits(name, group)
            part = jnp.exp(-jnp.abs(x - top))
            above, equal = x > top, x == top
            others = jnp.where(
                above, (others + ties) * part, jnp.where(equal, others, others + part)
            )
            ties = jnp.where(above, 1.0, jnp.where(equal, ties + 1.0, ties))
            return jnp.maximum(top, x), ties, others

        zero = jnp.zeros(self.plan.tile, jnp.float32)
        # The lowest number and not -inf, which would make NaN of its differences. Nothing ties with
        # it in a row of -inf alone.
        found = lax.fori_loop(0, self.plan.groups, step, (zero + _LOWEST, zero, zero))
        top, ties, others = found
        highest = jnp.max(top)
        equal = top == highest
        scaled = jnp.where(equal, others, (others + ties) * jnp.exp(top - highest))
        return [highest, jnp.sum(jnp.where(equal, ties, 0.0)), jnp.sum(scaled)]

    def normalisers(self) -> dict[str, Array]:
        """Those of both rows, as inputs of the programs."""
        mine: list[Array] = []
        for side, name in enumerate(_SIDES):
            self.wait(side)
            mine += self.normaliser(name)
        parts = self.exchange(mine)
        found = {}
        for side, name in enumerate(_SIDES):
            top, ties, others = _merge([part[3 * side : 3 * side + 3] for part in parts])
            found |= {f"top_{name}": top, f"ties_{name}": ties, f"others_{name}": others}
        return found

    def sums(self, program: elementwise.Program, inputs: dict[str, Array]) -> list[Array]:
        """The sums over the row of a program's results."""
        row = program.of_row(inputs, self.known)
        shape = self.plan.tile

        def step(group: Array, totals: list[Array]) -> list[Array]:
            wide = {f"x_{name}": self.logits(name, group) for name in _SIDES}
            found = program.of_tile(row, wide, shape)
            return [total + x for total, x in zip(totals, found, strict=True)]

        zero = jnp.zeros(shape, jnp.float32)
        totals = lax.fori_loop(0, self.plan.groups, step, [zero] * len(program.results))
        parts = self.exchange([jnp.sum(x) for x in totals])
        return [functools.reduce(jnp.add, x) for x in zip(*parts, strict=True)]

    def replace(
        self, program: elementwise.Program, inputs: dict[str, Array], moving: Sequence[bool]
    ) -> None:
        """Put a program's results where the logits of the sides that move are."""
        row = program.of_row(inputs, self.known)
        names = [name for name, moves in zip(_SIDES, moving, strict=True) if moves]

        def step(group: Array, _: None) -> None:
            wide = {f"x_{name}": self.logits(name, group, masked=False) for name in _SIDES}
            found = program.of_tile(row, wide, self.plan.tile)
            for name, x in zip(names, found, strict=True):
                self.gpu.store(self._at(name, group), x.astype(self.plan.dtype))

        lax.fori_loop(0, self.plan.groups, step, None)

    def send(self, arrays: Sequence[Any], moving: Sequence[bool]) -> None:
        """Copy the sides that move to global memory."""
        names = [name for name, moves in zip(_SIDES, moving, strict=True) if moves]
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
    ties = others = jnp.float32(0)
    for its_top, its_ties, its_others in parts:
        equal = its_top == top
        ties = ties + jnp.where(equal, its_ties, 0.0)
        scaled = (its_others + its_ties) * jnp.exp(its_top - top)
        others = others + jnp.where(equal, its_others, scaled)
    return [top, ties, others]


def _finite(tops: dict[str, Array]) -> Array:
    """Whether both rows have a largest logit."""
    return functools.reduce(
        jnp.logical_and,
        [(tops[f"top_{s}"] < jnp.inf) & (tops[f"ties_{s}"] > 0) for s in _SIDES],
    )


def _centre(row: _Row, programs: _Programs, inputs: dict[str, Array]) -> dict[str, Array]:
    if "excess" not in programs:
        return inputs
    return inputs | {"error": row.sums(programs["excess"], inputs)[0]}


def _value_kernel(row: _Row, programs: _Programs, inputs: Any, outputs: Any) -> None:
    row.fetch(inputs)
    found = _centre(row, programs, row.normalisers())
    total, *steep = row.sums(programs["terms"], found)
    fine = _finite(found)
    if steep:
        fine &= jnp.abs(steep[0]) <= lean.STEEP * total
    # NaN does not stand.
    row.tell(outputs[0], jnp.where(fine, total, jnp.nan))


def _pull_kernel(
    row: _Row,
    programs: _Programs,
    inputs: Any,
    outputs: Any,
    moving: Sequence[bool],
    unknown: bool,
) -> None:
    *arrays, cotangent, known = inputs
    row.fetch(arrays)
    found = _centre(row, programs, row.normalisers())
    sums = row.sums(programs["slopes"], found)
    fine = _finite(found)
    zero = jnp.float32(0)
    given = found | {"cotangent": cotangent[row.index]}
    for side, moves in zip(_SIDES, moving, strict=True):
        given[f"whole_{side}"], given[f"rest_{side}"] = (
            (sums.pop(0), sums.pop(0)) if moves else (zero, zero)
        )
        fine &= jnp.abs(given[f"rest_{side}"]) < jnp.inf
    if unknown:
        total = known[row.index]
        # By Euler's theorem the two slopes add up to the value.
        steep = given["whole_p"] if moving[0] else total - given["whole_q"]
        fine &= jnp.abs(steep) <= lean.STEEP * total
    row.replace(programs["results"], given, moving)
    row.send(outputs[:-1], moving)
    row.tell(outputs[-1], jnp.where(fine, 1.0, 0.0))
