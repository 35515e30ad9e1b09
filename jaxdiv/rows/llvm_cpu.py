"""Rows of logits on a CPU, in machine code that LLVM makes of a divergence's declaration.

What XLA's compiler does with a sum over a row costs several passes, each through memory; here a
row stays in a core's cache, its exponentials are found where they are used, and every row takes
the form that serves it. LLVM is that of llvmlite, which need not be installed.
"""

import functools
import importlib.util
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import jaxpr_as_fun

from .. import _exponentials as exponentials
from .. import _numerics as num
from . import blocked, elementwise, lean, lean_renyi, lean_sum, reference
from .blocked import AGAIN, as_rows, repaired
from .form import SIDES
from .normalised import Normalised, Scale, in_range, likeliest
from .once import OF_SLOPES, Once, once_of
from .renyi import RENYI
from .statistic import Moving, Operands, Statistic, sides_of, widened

# What is known of a side's row: exponentials are relative to a power of 2, so that no logit is
# rounded; their sum; its logarithm, relative to nothing, as a pair.
SCALE = ("shift", "total", "log", "low")
_WIDE = {f"x_{side}": True for side in SIDES}
_MODERATE = 16.0
_ROW = {f"{name}_{side}": False for name in SCALE for side in SIDES}


_REWRITES: dict[str, Callable[..., Array]] = {
    "exp": lambda x, **_: exponentials.scaled_exp(x),
    exponentials.exp_p.name: exponentials.scaled_exp,
    exponentials.expm1_p.name: exponentials.exact_expm1,
    "log": lambda x, **_: exponentials.log_on_cpu(x),
    "logistic": lambda x, **_: 1 / (1 + exponentials.scaled_exp(-x)),
}


@functools.cache
def unavailable() -> str | None:
    """Why there is no machine code in this process; None if there is."""
    if sys.platform not in ("linux", "darwin"):
        return f"it has no code for {sys.platform}"
    if importlib.util.find_spec("llvmlite") is None:
        return "llvmlite is not installed"
    try:
        from . import llvm_call
    except (ImportError, OSError) as error:
        return f"llvmlite does not load: {error}"
    return llvm_call.refused()


def why_not(statistic: Statistic, operands: Operands) -> str | None:
    """Why this path does not serve a statistic; None if it does."""
    if not lean.serves(statistic, widened(operands)):
        return "it serves sums over rows of logits, of a divergence whose slope is known"
    parameters, p, q = operands
    if p.values.dtype != q.values.dtype:
        return f"the sides are {p.values.dtype} and {q.values.dtype}"
    if p.values.dtype == jnp.float16 and platform.machine() not in ("arm64", "aarch64"):
        from . import llvm_call

        if not llvm_call.has("f16c"):
            return "this processor does not convert float16"
    try:
        programs, _ = _traced(statistic, jax.tree.structure(parameters))
    except Exception as reason:  # whatever a summand raises that is given one outcome
        return f"the summand cannot be traced into machine code: {reason}"
    from .llvm_code import missing

    numbers = {x for program in programs.values() for x in program.numbers}
    unknown = sorted(filter(None, map(missing, numbers)))
    return f"machine code has no {unknown[0]}" if unknown else None


def value(statistic: Statistic, operands: Operands) -> Array:
    """The statistic of every row."""
    return _found(_Calls(statistic, operands, (False, False)), operands)[0]


def push(
    statistic: Statistic, operands: Operands, known: Array, dots: Sequence[Array], *, moving: Moving
) -> Array:
    """Its derivative along the tangents of the moving leaves."""
    return blocked.push(statistic, operands, known, dots, moving=moving)


def pull(
    statistic: Statistic, operands: Operands, known: Array, cotangent: Array, *, moving: Moving
) -> list[Array]:
    """The transpose: the cotangents of the moving leaves."""
    two, others = sides_of(operands, moving)
    if others:
        # A parameter's cotangent is a sum over the rows.
        return reference.pull(statistic, operands, known, cotangent, moving=moving)
    calls = _Calls(statistic, operands, two)
    _, stand, notes = calls.value()
    return _slopes(calls, operands, stand, notes, known, cotangent, moving)


def both(statistic: Statistic, operands: Operands, *, moving: Moving) -> list[Array]:
    """The statistic of every row and its derivatives by the values that move.

    By two calls, so that XLA drops the second where nobody asks, as in forward mode. It reads the
    rows once more, and what the first noted of them.
    """
    two, _ = sides_of(operands, moving)
    calls = _Calls(statistic, operands, two)
    found, stand, notes = _found(calls, operands)
    ones = jnp.ones_like(found)
    return [found, *_slopes(calls, operands, stand, notes, found, ones, moving)]


def _found(calls: "_Calls", operands: Operands) -> list[Array]:
    """The statistic of every row, which of them stood at once, and the notes if sides move."""

    def near(operands: Operands) -> list[Array]:
        return [reference.value(calls.statistic, operands)]

    found, stand, *notes = calls.value()
    return [*repaired([found], stand, near, operands, least=AGAIN), stand, *notes]


def _slopes(
    calls: "_Calls",
    operands: Operands,
    stand: Array,
    notes: Array,
    known: Array,
    cotangent: Array,
    moving: Moving,
) -> list[Array]:
    def near(operands: Operands, known: Array, cotangent: Array) -> list[Array]:
        rows = known[:, 0], cotangent[:, 0]
        return reference.pull(calls.statistic, operands, *rows, moving=moving)

    found = calls.slopes(notes, cotangent)
    others = known[..., None], cotangent[..., None]
    return repaired(found, stand, near, operands, *others, least=AGAIN)


class _Calls:
    """The calls for a statistic of rows, with the sides that move."""

    def __init__(self, statistic: Statistic, operands: Operands, moving: tuple[bool, ...]):
        # Here, as LLVM takes longer to load than everything else.
        from . import llvm_call, llvm_kernel

        parameters, p, q = operands
        self.statistic, self._call, self._kernels = statistic, llvm_call, llvm_kernel
        self._shape, self._dtype = p.values.shape, p.values.dtype
        programs, table = _programs_of(statistic, as_rows(operands)[0], moving)
        once = _once(statistic, parameters)
        self._plan = llvm_kernel.Plan(
            programs,
            table.shape[-1],
            [name.removeprefix("terms_") for name in programs if name.startswith("terms_")],
            moving,
            rough=statistic is not RENYI and parameters.rough,
            vanishing=lean.vanishes(statistic, parameters),
            once=once.sums() if once else (),
            dtype=self._dtype,
        )
        self._arrays = [*(x.values.reshape(-1, self._shape[-1]) for x in (p, q)), table]

    def value(self) -> list[Array]:
        """The value of every row, which of them are right, and the notes if sides move."""
        batch, count = self._shape[:-1], self._arrays[0].shape[0]
        width = self._plan.noted()
        results = [
            jax.ShapeDtypeStruct((count,), jnp.float32),
            jax.ShapeDtypeStruct((count,), jnp.bool_),
            *([jax.ShapeDtypeStruct((count, width), jnp.float32)] if width else []),
        ]
        made = functools.partial(self._kernels.value_kernel, plan=self._plan)
        module = self._call.module(made, 3, [0] * len(results))
        found, stand, *notes = self._call.call(module, self._arrays, results)
        return [found.reshape(batch), stand.reshape(batch), *notes]

    def slopes(self, notes: Array, cotangent: Array) -> list[Array]:
        """The derivatives by the sides that move, of rows that are right."""
        rows = self._arrays[0].shape
        results = [jax.ShapeDtypeStruct(rows, self._dtype)] * sum(self._plan.moving)
        made = functools.partial(self._kernels.slopes_kernel, plan=self._plan)
        module = self._call.module(made, 5, [self._dtype.itemsize] * len(results))
        arrays = [*self._arrays, notes, cotangent.reshape(-1)]
        return [x.reshape(self._shape) for x in self._call.call(module, arrays, results)]


def _forms(statistic: Statistic, parameters: Any) -> dict[str, Any]:
    return (lean_renyi if statistic is RENYI else lean_sum).forms(parameters)


def _programs_of(
    statistic: Statistic, parameters: Any, moving: tuple[bool, ...]
) -> tuple[dict[str, elementwise.Program], Array]:
    """Programs for a statistic, and their table of known numbers, (rows or 1, numbers).

    The parameters are scalars or one number a row, (rows, 1).
    """
    leaves, tree = jax.tree.flatten(parameters)
    traced, known = _traced(statistic, tree)
    programs = {name: x.only(_places(name, len(x.results), moving)) for name, x in traced.items()}
    own = [x.ndim > 0 for x in leaves]
    flat = [x.reshape(-1) if mine else x for x, mine in zip(leaves, own, strict=True)]
    table = jaxpr_as_fun(known)
    if not any(own):
        return programs, table(*flat)[0][None]
    return programs, jax.vmap(table, [0 if mine else None for mine in own])(*flat)[0]


def _places(name: str, count: int, moving: tuple[bool, ...]) -> list[int]:
    """Which results of a program a kernel needs."""
    moves = [i for i, each in enumerate(moving) if each]
    match name.partition("_")[0]:
        case "weights":
            return [0, 1, 2, 3] if moves else [0, 1]
        case "terms":
            return [0, *(1 + i for i in moves)]
        case "others":
            return [2 * i + k for i in moves for k in (0, 1)]
        case "results":
            return moves
        case "once" if not moves:
            return [*range(count - 1 - len(OF_SLOPES)), count - 1]
        case _:
            return list(range(count))


@functools.lru_cache(maxsize=256)
def _traced(statistic: Statistic, tree: Any) -> tuple[dict[str, elementwise.Program], Any]:
    """Programs, and their table of known numbers as a function of parameters that are scalars."""
    made: dict[str, elementwise.Program] = {}

    def table(*leaves: Array) -> Array:
        wanted = _wanted(statistic, jax.tree.unflatten(tree, leaves))
        programs, numbers = elementwise.programs(wanted, leaves, _REWRITES)
        made.update(programs)
        return numbers[0]

    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    with jax.enable_x64(False):
        known = jax.make_jaxpr(table)(*[scalar] * tree.num_leaves)
    return made, known


def _wanted(statistic: Statistic, parameters: Any) -> dict[str, Any]:
    """Functions of one outcome or of a row, by name, and the inputs of each."""
    tree = jax.tree.structure(parameters)

    weight = exponentials.scaled_exp

    def sides(numbers: dict[str, Array]) -> tuple[Normalised, Normalised]:
        def side(name: str) -> Normalised:
            shift, total, log, low = (numbers[f"{n}_{name}"] for n in SCALE)
            x = numbers.get(f"x_{name}", shift)
            return Normalised(x, weight(x, shift), Scale(shift, total, log, low))

        p, q = (side(name) for name in SIDES)
        return p, q

    def weights(_, **numbers):
        found = [weight(numbers[f"x_{s}"], numbers[f"shift_{s}"]) for s in SIDES]
        return [*found, *found]  # once for their sums, once for their maxima

    def tops(_, **numbers):
        return [numbers[f"x_{s}"] for s in SIDES]

    def shifts(_, **numbers):
        # Sums of exponentials of moderate logits are fine as they are.
        tops = [numbers[f"top_{s}"] for s in SIDES]
        return [jnp.where(jnp.abs(x) > _MODERATE, exponentials.whole_log2(x), 0) for x in tops]

    def scale(_, **numbers):
        found, fine = [], jnp.bool_(True)
        for side in SIDES:
            shift, total = numbers[f"shift_{side}"], numbers[f"total_{side}"]
            this = in_range(total)
            fine &= this
            log = num.log_pair(jnp.where(this, total, 1))
            found += num.add_pairs(exponentials.log_of_power(shift), log)
        return [*found, fine]

    def centre(_, **numbers):
        p, _ = sides(numbers)
        moved = p.scale.shifted(numbers["error"])
        return [moved.log_sum, moved.log_sum_low]

    def differ(_, **numbers):
        return [(numbers["x_p"] != numbers["x_q"]).astype(jnp.float32)]

    wanted: dict[str, Any] = {
        "weights": (weights, _WIDE | _only("shift")),
        "tops": (tops, _WIDE),
        "shifts": (shifts, _only("top")),
        "scale": (scale, _only("shift", "total")),
        "centre": (centre, _ROW | {"error": False}),
        "same": (differ, _WIDE),
    }
    once = _at_once(statistic, parameters, tree)
    for name, form in _forms(statistic, parameters).items():
        if name != "close" or not once:  # which serves about the same rows
            wanted |= _of_form(name, form, tree, sides)
    return wanted | once


def _once(statistic: Statistic, parameters: Any) -> Once | None:
    return Once(parameters) if statistic is RENYI else once_of(parameters)


def _at_once(statistic: Statistic, parameters: Any, tree: Any) -> dict[str, Any]:
    """The functions of rows that are similar: see `once`."""
    this = _once(statistic, parameters)
    if this is None:
        return {}
    side, other = reversed(SIDES) if this.swapped else SIDES
    guess = "guess", "guess_low"

    def of(leaves: Any) -> Once:
        made = _once(statistic, jax.tree.unflatten(tree, leaves))
        assert made is not None
        return made

    def row(numbers: dict[str, Array], *names: str) -> list[Array]:
        return [numbers[x] for x in (f"x_{side}", f"x_{other}", f"shift_{side}", *names)]

    def gaps(_, **numbers):
        gap = numbers[f"x_{side}"] - numbers[f"x_{other}"]
        some = jnp.isfinite(gap)
        return [jnp.where(some, gap, 0), some.astype(jnp.float32)]

    def terms(leaves, **numbers):
        return of(leaves).terms(*row(numbers, *guess))

    def found(leaves, **numbers):
        return of(leaves).found(numbers, *(numbers[x] for x in guess))

    def moves(leaves, **numbers):
        return of(leaves).moves(numbers, numbers["common"], numbers["renyi"])

    def slopes(leaves, **numbers):
        by = of(leaves).slopes(*row(numbers, *guess, "total", "common", "renyi"))
        by_p, by_q = reversed(by) if this.swapped else by
        return [numbers["scale"] * by_p, numbers["scale"] * by_q]

    sums = dict.fromkeys(this.sums(), False)
    outcome = _WIDE | _only("shift") | dict.fromkeys(guess, False)
    noted = dict.fromkeys(("total", "common", "renyi"), False)
    return {
        "gaps": (gaps, _WIDE),
        "reach": (lambda leaves: [of(leaves).reach()], {}),
        "once": (terms, outcome),
        "found_once": (found, sums | dict.fromkeys(guess, False)),
        "moves": (moves, sums | noted),
        "results_once": (slopes, outcome | noted | {"scale": False}),
    }


def _only(*names: str) -> dict[str, bool]:
    return {f"{name}_{side}": False for name in names for side in SIDES}


def _of_form(name: str, form: Any, tree: Any, sides: Any) -> dict[str, Any]:
    """The functions of a form."""

    def parts(leaves: Any, numbers: dict[str, Array]) -> tuple[Any, Any, Any]:
        return jax.tree.unflatten(tree, leaves), *sides(numbers)

    def terms(leaves, **numbers):
        given = parts(leaves, numbers)
        return [form.terms(*given), *form.slopes(*given)]

    def found(leaves, **numbers):
        return [*form.found(*parts(leaves, numbers), numbers["sum"], numbers["smooth"])]

    def excess(_, **numbers):
        return [form.excess(*sides(numbers))]

    def factor(leaves, **numbers):
        return [form.factor(jax.tree.unflatten(tree, leaves), numbers["number"])]

    def others(leaves, **numbers):
        given = parts(leaves, numbers)
        return [
            jnp.where(likeliest(side.weights, side.scale.sum), 0, x)
            for side, slope in zip(given[1:], form.slopes(*given), strict=True)
            for x in (slope, side.weights)
        ]

    def results(leaves, **numbers):
        given = parts(leaves, numbers)
        return [
            numbers["scale"]
            * side.centred(
                slope,
                numbers[f"whole_{s}"],
                numbers[f"rest_{s}"] / side.scale.sum,
                numbers[f"others_{s}"],
            )
            for s, side, slope in zip(SIDES, given[1:], form.slopes(*given), strict=True)
        ]

    given = _WIDE | _ROW
    return {
        f"terms_{name}": (terms, given),
        f"found_{name}": (found, _ROW | {"sum": False, "smooth": False}),
        f"excess_{name}": (excess, given),
        f"factor_{name}": (factor, {"number": False}),
        f"others_{name}": (others, given),
        f"results_{name}": (results, given | _only("whole", "rest", "others") | {"scale": False}),
    }
