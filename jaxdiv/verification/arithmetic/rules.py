"""What the primitives of JAX do to numbers of any kind: the rules of the interpreter.

A rule is a function of the numbers. Floats stand for infinities and NaN only, truth is True, False
or None where it is not decided, and integers are fractions.
"""

import functools
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import numpy as np

Number = Any
KIND = 0  # the slot of what lifts a fraction to the kind of number at hand


class NotExact(ArithmeticError):
    """A number that is no fraction, where only fractions are known."""


class Undecided(ArithmeticError):
    """A choice that hangs on a comparison which the numbers do not decide."""


def lift(x: Any) -> Any:
    """Numbers as they are; floats as fractions. Scalars are kept outside of arrays."""
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        array = np.asarray(x)
        return each(exact)(array.astype(object) if array.ndim else array.item())
    return exact(x)


def exact(x: Any) -> Any:
    """A plain number as a fraction; floats are left only where they are infinite or NaN."""
    if isinstance(x, float) and not math.isfinite(x):
        return float(x)
    if isinstance(x, complex | np.complexfloating):
        raise NotImplementedError("complex numbers have no rule in exact arithmetic")
    if isinstance(x, np.generic):
        return exact(x.item())
    return Fraction(x) if isinstance(x, int | float) and not isinstance(x, bool) else x


def each(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Elementwise, on scalars and on arrays."""
    several = {}

    def apply(*args: Any) -> Any:
        if not any(isinstance(arg, np.ndarray) for arg in args):
            return operation(*args)
        if len(args) not in several:
            several[len(args)] = np.frompyfunc(operation, len(args), 1)
        return several[len(args)](*args)

    return apply


def rule(
    eqn: Any, index: int, inputs: tuple[int, ...]
) -> tuple[Callable[..., Any], tuple[int, ...]]:
    """The operation that computes one output of an equation, and the slots that it takes."""
    name, aval = eqn.primitive.name, eqn.outvars[index].aval
    atoms = [atom.aval for atom in (*eqn.invars, eqn.outvars[index])]
    scalar = all(each.shape == () for each in atoms)
    whole = any(np.issubdtype(each.dtype, np.integer) for each in atoms)
    if any(not np.issubdtype(each.dtype, np.number) and each.dtype != bool for each in atoms) or (
        any(np.issubdtype(each.dtype, np.complexfloating) for each in atoms)
    ):
        raise NotImplementedError(f"the primitive {name} has no rule for {atoms[-1].dtype}")
    if name in FUNCTIONS and not np.issubdtype(aval.dtype, np.integer):
        apply, takes_kind = functools.partial(_function, name), True
    elif name in _OPERATIONS and not (whole and name in _NOT_WHOLE):
        apply, takes_kind = _OPERATIONS[name], name == "select_n"
    elif name == "integer_pow":
        apply, takes_kind = _power_of(eqn.params["y"]), False
    elif name == "convert_element_type":
        apply, takes_kind = _conversion(eqn.invars[0].aval.dtype, aval.dtype), True
    elif name in _PARAMETRIC:
        shaped, scalar = _PARAMETRIC[name], True
        apply, takes_kind = functools.partial(_parametric, shaped, eqn.params), False
    elif name == "split":
        apply, takes_kind, scalar = functools.partial(_part, eqn.params, index), False, True
    else:
        raise NotImplementedError(f"the primitive {name} has no rule in exact arithmetic")
    apply = apply if scalar else each(apply)
    if np.issubdtype(aval.dtype, np.integer):
        apply = _within(apply, np.iinfo(aval.dtype))
    return apply, ((KIND, *inputs) if takes_kind else inputs)


def _within(apply: Callable[..., Any], limits: Any) -> Callable[..., Any]:
    """An operation on integers, which XLA would let overflow."""

    def check(x: Any) -> Any:
        if not isinstance(x, Fraction) or not limits.min <= x <= limits.max:
            raise NotImplementedError("integers that depend on the arguments have no rule")
        return x

    return lambda *args: each(check)(apply(*args))


def _power_of(n: int) -> Callable[[Number], Number]:
    return lambda x: exact(x**n)


def _conversion(old: Any, new: Any) -> Callable[[Any, Number], Number]:
    def convert(kind: Any, x: Number) -> Number:
        if np.issubdtype(old, np.bool_):
            return x if np.issubdtype(new, np.bool_) else _select(kind, x, Fraction(0), Fraction(1))
        if np.issubdtype(new, np.bool_):
            return _compare("ne")(x, Fraction(0))
        if np.issubdtype(new, np.integer) and isinstance(x, Fraction):
            return Fraction(math.trunc(x))
        return x

    return convert


def _function(name: str, kind: Any, x: Number, *others: Number) -> Number:
    """An elementary function: of fractions exactly if it can be, else in the kind at hand."""
    if isinstance(x, Fraction | float):
        if isinstance(x, Fraction) and all(isinstance(y, Fraction) for y in others):
            value = _of_fraction(name, x, *others)
            if value is not None:
                return value
        if kind is None:
            raise NotExact(f"{name} of {x} is no fraction")
        x = kind(x)
    return getattr(x, _METHODS.get(name, name))(*others)


_METHODS = {"pow": "power"}


def _root(x: Fraction, degree: int) -> Fraction | None:
    if x < 0:
        return None
    parts = []
    for part in (x.numerator, x.denominator):
        guess = round(part ** (1 / degree)) if part < 2**1000 else 0
        found = next((g for g in (guess - 1, guess, guess + 1) if g**degree == part), None)
        if found is None:
            return None
        parts.append(found)
    return Fraction(*parts)


def power(x: Fraction, y: Fraction) -> Fraction | None:
    """x^y if it is a fraction that is easily found, else None."""
    if x == 1 or y == 0:
        return Fraction(1)
    if x == 0:
        return Fraction(0) if y > 0 else None
    if y.denominator <= 6 and abs(y.numerator) <= 64:
        root = x if y.denominator == 1 else _root(x, y.denominator)
        return None if root is None else root**y.numerator
    return None


def _of_fraction(name: str, x: Fraction, *others: Fraction) -> Fraction | None:
    zero_at_zero = ("expm1", "log1p", "sin", "tanh", "asin", "atan", "sinh")
    if name in zero_at_zero and x == 0:
        return Fraction(0)
    if name in ("exp", "exp2", "cos", "cosh") and x == 0:
        return Fraction(1)
    if name in ("log", "acos") and x == 1:
        return Fraction(0)
    if name in ("sqrt", "rsqrt", "cbrt"):
        return power(
            x, {"sqrt": Fraction(1, 2), "rsqrt": Fraction(-1, 2)}.get(name, Fraction(1, 3))
        )
    if name == "logistic" and x == 0:
        return Fraction(1, 2)
    if name == "pow":
        return power(x, others[0])
    return None


FUNCTIONS = frozenset(
    "exp exp2 expm1 log log1p sqrt rsqrt cbrt pow logistic tanh sin cos asin acos atan sinh "
    "cosh".split()
)


def _divide(x: Number, y: Number) -> Number:
    if isinstance(y, Fraction) and y == 0 and isinstance(x, Fraction | float):
        raise ZeroDivisionError("a constant is divided by 0")
    return exact(x / y)


def _sign(x: Number) -> Number:
    if isinstance(x, Fraction | float):
        return math.nan if x != x else Fraction((x > 0) - (x < 0))
    return x.sign_of()


def _extreme(
    neutral: float, choose: Callable[..., Any], method: str
) -> Callable[[Number, Number], Number]:
    """The larger or the smaller of two, beginning with -inf or inf as jnp.max and jnp.min do."""

    def extreme(x: Number, y: Number) -> Number:
        if isinstance(x, float) and x == neutral:
            return y
        if isinstance(y, float) and y == neutral:
            return x
        if isinstance(x, Fraction | float):
            x, y = y, x
        if isinstance(x, Fraction | float):
            return math.nan if x != x or y != y else choose(x, y)
        return getattr(x, method)(y)

    return extreme


_larger = _extreme(-math.inf, max, "maximum")
_smaller = _extreme(math.inf, min, "minimum")


def _finite(x: Number) -> bool | None:
    if isinstance(x, float):
        return False
    return x.finite() if hasattr(x, "finite") else True


def _compare(operation: str) -> Callable[[Number, Number], bool | None]:
    decided = _DECIDED[operation]

    def compare(x: Number, y: Number) -> bool | None:
        if x is None or y is None:
            return None
        if isinstance(x, int | Fraction | float) and isinstance(y, int | Fraction | float):
            return operation == "ne" if x != x or y != y else decided((x > y) - (x < y))
        if x is y and _finite(x):
            return decided(0)
        return decided(_order(x, y))

    return compare


def _order(x: Number, y: Number) -> int | str | None:
    """1, 0, -1, "<=", ">=" or None, of x against y."""
    if isinstance(x, Fraction | float):
        return _flip(_order(y, x))
    if isinstance(y, float) and not hasattr(x, "finite"):
        return None if y != y else -1 if y > 0 else 1
    return x.order(y)


def _flip(order: int | str | None) -> int | str | None:
    if isinstance(order, str):
        return {"<=": ">=", ">=": "<="}[order]
    return None if order is None else -order


def _decide(true: tuple[Any, ...], false: tuple[Any, ...]) -> Callable[[Any], bool | None]:
    return lambda order: True if order in true else False if order in false else None


_DECIDED = {
    "gt": _decide((1,), (0, -1, "<=")),
    "ge": _decide((1, 0, ">="), (-1,)),
    "lt": _decide((-1,), (0, 1, ">=")),
    "le": _decide((-1, 0, "<="), (1,)),
    "eq": _decide((0,), (1, -1)),
    "ne": _decide((1, -1), (0,)),
}


def _and(x: bool | None, y: bool | None) -> bool | None:
    return False if x is False or y is False else None if x is None or y is None else True


def _not(x: bool | None) -> bool | None:
    return None if x is None else not x


def _select(kind: Any, which: Any, *cases: Number) -> Number:
    if which is not None:
        return cases[int(which)]
    first, *rest = cases
    if all(case is first or _equal(case, first) for case in rest):
        return first
    hull = None if kind is None else getattr(kind(Fraction(0)), "hull", None)
    if hull is None or len(cases) != 2:
        raise Undecided("which of several cases applies is not decided")
    return hull(*cases)


def _equal(x: Number, y: Number) -> bool:
    return isinstance(x, Fraction) and isinstance(y, Fraction) and x == y


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "add_any": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": _divide,
    "neg": operator.neg,
    "abs": abs,
    "sign": _sign,
    "max": _larger,
    "min": _smaller,
    "square": lambda x: x**2,
    "one_minus_square": lambda x: 1 - x**2,
    "is_finite": _finite,
    "and": _and,
    "or": lambda x, y: _not(_and(_not(x), _not(y))),
    "not": _not,
    "select_n": _select,
    "copy": lambda x: x,
    "stop_gradient": lambda x: x,
    **{operation: _compare(operation) for operation in _DECIDED},
}
# What is another operation on integers: division rounds, and these are of their bits.
_NOT_WHOLE = frozenset(("div", "and", "or", "not"))


def _array(x: Any) -> np.ndarray:
    if isinstance(x, np.ndarray):
        return x
    array = np.empty((), object)
    array[()] = x
    return array


def _scalar(x: np.ndarray) -> Any:
    return x.item() if x.ndim == 0 else x


def _parametric(rule: Callable[..., Any], params: Any, *args: Any) -> Any:
    return _scalar(_array(rule(params, *map(_array, args))))


def _part(params: Any, index: int, x: np.ndarray) -> Any:
    ends = np.cumsum(params["sizes"])[:-1]
    return _scalar(np.split(x, ends, params["axis"])[index])


def _reduce(operation: Callable[..., Any], empty: Any) -> Callable[..., Any]:
    elementwise = each(operation)

    def reduce(params: Any, array: np.ndarray) -> Any:
        for axis in sorted(params["axes"], reverse=True):
            parts = list(np.moveaxis(array, axis, 0))
            if not parts:
                shape = array.shape[:axis] + array.shape[axis + 1 :]
                parts = [np.full(shape, empty, object)]
            array = functools.reduce(lambda x, y: _array(elementwise(x, y)), map(_array, parts))
        return array

    return reduce


def _broadcast(params: Any, array: np.ndarray, *_: Any) -> Any:
    shape = params["shape"]
    lifted = [1] * len(shape)
    for axis, size in zip(params["broadcast_dimensions"], array.shape, strict=True):
        lifted[axis] = size
    return np.broadcast_to(array.reshape(lifted), shape)


def _dot(params: Any, x: np.ndarray, y: np.ndarray) -> Any:
    (over_x, over_y), (batch_x, batch_y) = params["dimension_numbers"]
    if batch_x or batch_y:
        raise NotImplementedError("dot_general with batch dimensions has no rule")
    if not all(x.shape[axis] for axis in over_x):
        raise NotImplementedError("dot_general over no numbers has no rule")
    return np.tensordot(x, y, axes=(over_x, over_y))


def _slice(params: Any, x: np.ndarray) -> Any:
    strides = params["strides"] or [1] * len(params["start_indices"])
    return x[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


def _iota(params: Any) -> Any:
    shape, axis = params["shape"], params["dimension"]
    count = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return lift(np.broadcast_to(count, shape))


_PARAMETRIC: dict[str, Callable[..., Any]] = {
    "reduce_sum": _reduce(operator.add, Fraction(0)),
    "reduce_max": _reduce(_larger, -math.inf),
    "reduce_min": _reduce(_smaller, math.inf),
    "broadcast_in_dim": _broadcast,
    "reshape": lambda params, x: x.reshape(params["new_sizes"]),
    "squeeze": lambda params, x: np.squeeze(x, tuple(params["dimensions"])),
    "transpose": lambda params, x: np.transpose(x, params["permutation"]),
    "stack": lambda params, *x: np.stack(x, params["axis"]),
    "concatenate": lambda params, *x: np.concatenate(x, params["dimension"]),
    "slice": _slice,
    "iota": _iota,
    "dot_general": _dot,
}
