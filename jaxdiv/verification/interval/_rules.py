"""What each primitive does to intervals, and where it is smooth: one row for each.

A row is keyed by the primitive itself, not by its name, which anyone can give to another one.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.extend.core.primitives as primitives
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from . import _elementary as e
from ._rounding import FLOATS, Interval, down, outward, up, widened

Condition = Callable[..., Any]


class Row(NamedTuple):
    """One primitive.

    Attributes:
        enclose: From the intervals of the operands and the named parameters to that of the result.
        smooth: From the same to whether the primitive is infinitely differentiable on the
            whole closed box.
        parameters: Names of the parameters that both take.
    """

    enclose: Callable[..., Interval]
    smooth: Condition
    parameters: tuple[str, ...] = ()


def find(name: str) -> Any:
    """JAX's primitive of that name, or None in a version without it."""
    for module in (lax, primitives):
        if hasattr(module, f"{name}_p"):
            return getattr(module, f"{name}_p")
    return None


# --- where primitives are smooth ---------------------------------------------------------------


def everywhere(*operands: Any, **_: Any) -> bool:
    """Analytic wherever it is defined, or linear."""
    return True


def _nonzero(x: Interval, **_: Any) -> Array:
    return (x.lower > 0) | (x.upper < 0)


def _above(bound: float) -> Condition:
    return lambda x: x.lower > bound


def _inside(x: Interval) -> Array:
    return (x.lower > -1) & (x.upper < 1)


def _apart(x: Interval, y: Interval) -> Array:
    return (x.upper < y.lower) | (x.lower > y.upper)


def decided(x: Interval) -> Array:
    """Whether a truth value is certain."""
    return x.lower == x.upper


def _power_smooth(x: Interval, y: Interval) -> Any:
    exponent = e.exactly(y)
    if exponent is not None and exponent == int(exponent):
        return exponent >= 0 or _nonzero(x)
    return x.lower > 0


def _step(function: Callable[[Array], Array]) -> Condition:
    # A jump on an end must not pass: a box ends there and the next one begins.
    return lambda x, **_: function(down(x.lower)) == function(up(x.upper))


def _alone(x: Interval, *, axes: Sequence[int]) -> Array:
    """Exactly one element can be the largest."""
    largest = jnp.max(x.lower, axis=tuple(axes), keepdims=True)
    return jnp.sum(x.upper >= largest, axis=tuple(axes)) == 1


# --- comparisons: three-valued ------------------------------------------------------------------


def _less(x: Interval, y: Interval) -> Interval:
    return Interval(x.upper < y.lower, x.lower < y.upper)


def _less_or_equal(x: Interval, y: Interval) -> Interval:
    return Interval(x.upper <= y.lower, x.lower <= y.upper)


def _equal(x: Interval, y: Interval) -> Interval:
    points = (x.lower == y.upper) & (x.upper == y.lower)
    return Interval(points, (x.lower <= y.upper) & (y.lower <= x.upper))


def _not(x: Interval) -> Interval:
    return Interval(~x.upper, ~x.lower)


def _and(x: Interval, y: Interval) -> Interval:
    return Interval(x.lower & y.lower, x.upper & y.upper)


def _or(x: Interval, y: Interval) -> Interval:
    return Interval(x.lower | y.lower, x.upper | y.upper)


def _exclusive_or(x: Interval, y: Interval) -> Interval:
    return _or(_and(x, _not(y)), _and(_not(x), y))


def _is_finite(x: Interval) -> Interval:
    finite = jnp.isfinite(x.lower) & jnp.isfinite(x.upper)
    return Interval(finite, jnp.ones_like(finite))


def _select(predicate: Interval | Array, *cases: Any) -> Interval:
    cases = tuple(to_interval(x) for x in cases)
    if isinstance(predicate, Interval) and predicate.lower.dtype == jnp.bool_:
        no, yes = cases
        chosen = [lax.select_n(predicate.lower, a, b) for a, b in zip(no, yes, strict=True)]
        return e.where(decided(predicate), Interval(*chosen), e.hull(no, yes))
    if isinstance(predicate, Interval):
        raise NotImplementedError("select_n by an integer that depends on a box")
    return Interval(*(lax.select_n(predicate, *ends) for ends in zip(*cases, strict=True)))


def _select_smooth(predicate: Interval | Array, *cases: Interval) -> Any:
    return decided(predicate) if isinstance(predicate, Interval) else True


# --- sums ----------------------------------------------------------------------------------------


def _tree(combine: Callable[[Interval, Interval], Interval], x: Interval, axes: Any) -> Interval:
    """Combine the elements of some axes pairwise, so that every step is rounded outward."""
    axes = tuple(axes)

    def flat(end: Array) -> Array:
        end = jnp.moveaxis(end, axes, tuple(range(len(axes))))
        return end.reshape(-1, *end.shape[len(axes) :])

    x = Interval(flat(x.lower), flat(x.upper))
    while (n := x.lower.shape[0]) > 1:
        half = n // 2
        pairs = combine(
            Interval(x.lower[:half], x.upper[:half]),
            Interval(x.lower[half : 2 * half], x.upper[half : 2 * half]),
        )
        x = Interval(
            *(jnp.concatenate([p, end[2 * half :]]) for p, end in zip(pairs, x, strict=True))
        )
    return Interval(x.lower[0], x.upper[0])


def _reduce(combine: Callable[[Interval, Interval], Interval], empty: float) -> Callable:
    def rule(x: Interval, *, axes: Sequence[int]) -> Interval:
        if any(x.lower.shape[axis] == 0 for axis in axes):
            shape = [n for axis, n in enumerate(x.lower.shape) if axis not in axes]
            value = jnp.full(shape, empty, x.lower.dtype)
            return Interval(value, value)
        return _tree(combine, x, axes)

    return rule


def _cumulative(combine: Callable[[Interval, Interval], Interval]) -> Callable:
    def rule(x: Interval, *, axis: int, reverse: bool) -> Interval:
        return lax.associative_scan(combine, x, axis=axis, reverse=reverse)

    return rule


def _dot(
    x: Interval, y: Interval, *, dimension_numbers: Any, preferred_element_type: Any
) -> Interval:
    if preferred_element_type not in (None, x.lower.dtype):
        raise NotImplementedError("dot_general with another dtype for the result")
    (x_sum, y_sum), (x_batch, y_batch) = dimension_numbers

    def arranged(z: Interval, batch: Any, summed: Any) -> tuple[Interval, list[int], list[int]]:
        free = [i for i in range(z.lower.ndim) if i not in (*batch, *summed)]
        sizes = [[z.lower.shape[i] for i in axes] for axes in (batch, free, summed)]
        lengths = [math.prod(size) for size in sizes]
        order = (*batch, *free, *summed)
        lower, upper = (jnp.transpose(end, order).reshape(lengths) for end in z)
        return Interval(lower, upper), sizes[0], sizes[1]

    x, batch, x_free = arranged(x, x_batch, x_sum)
    y, _, y_free = arranged(y, y_batch, y_sum)
    terms = e.multiply(
        Interval(*(jnp.broadcast_to(end[:, :, None], _outer(x, y)) for end in x)),
        Interval(*(jnp.broadcast_to(end[:, None], _outer(x, y)) for end in y)),
    )
    total = _reduce(e.add, 0.0)(terms, axes=(3,))
    return Interval(*(end.reshape([*batch, *x_free, *y_free]) for end in total))


def _outer(x: Interval, y: Interval) -> tuple[int, ...]:
    return (x.lower.shape[0], x.lower.shape[1], y.lower.shape[1], x.lower.shape[2])


# --- dtypes --------------------------------------------------------------------------------------


def to_interval(x: Any) -> Interval:
    """The numbers that an array without an interval stands for: itself."""
    return x if isinstance(x, Interval) else Interval(x, x)


def _convert(x: Interval, *, new_dtype: Any) -> Interval:
    old, new = np.dtype(x.lower.dtype), np.dtype(new_dtype)
    if old == new:
        return x
    if new in FLOATS and old in FLOATS:
        lower, upper = (lax.convert_element_type(end, new) for end in x)
        return widened(lower, upper, 0 if new.itemsize > old.itemsize else 1)
    if new == np.bool_ and old in FLOATS:
        zero = jnp.zeros_like(x.lower)
        return _not(_equal(x, Interval(zero, zero)))
    if old == np.bool_ and (new in FLOATS or np.issubdtype(new, np.integer)):
        return Interval(*(lax.convert_element_type(end, new) for end in x))
    if np.issubdtype(old, np.integer) and new in FLOATS:
        lower, upper = (lax.convert_element_type(end, new) for end in x)
        exact = 2.0 ** np.finfo(new).nmant
        wide = widened(lower, upper)
        return Interval(
            jnp.where(jnp.abs(lower) < exact, lower, wide.lower),
            jnp.where(jnp.abs(upper) < exact, upper, wide.upper),
        )
    raise NotImplementedError(f"convert_element_type from {old} to {new}")


def _convert_smooth(x: Interval, *, new_dtype: Any) -> Any:
    if x.lower.dtype == jnp.bool_:
        return decided(x)
    return True


# --- the table -----------------------------------------------------------------------------------

_ROWS: dict[str, Row] = {
    "add": Row(e.add, everywhere),
    "add_jaxvals": Row(e.add, everywhere),
    "sub": Row(e.subtract, everywhere),
    "mul": Row(e.multiply, everywhere),
    "div": Row(e.divide, lambda x, y: _nonzero(y)),
    "neg": Row(e.negative, everywhere),
    "abs": Row(e.absolute, _nonzero),
    "square": Row(e.square, everywhere),
    "one_minus_square": Row(e.one_minus_square, everywhere),
    "integer_pow": Row(e.integer_power, lambda x, y: y >= 0 or _nonzero(x), ("y",)),
    "pow": Row(e.power, _power_smooth),
    "polynomial": Row(e.polynomial, everywhere),
    "sqrt": Row(e.sqrt, _above(0)),
    "rsqrt": Row(e.rsqrt, _above(0)),
    "cbrt": Row(e.cbrt, _nonzero),
    "exp": Row(e.exp, everywhere),
    "exp2": Row(e.exp2, everywhere),
    "expm1": Row(e.expm1, everywhere),
    "log": Row(e.log, _above(0)),
    "log2": Row(e.log2, _above(0)),
    "log1p": Row(e.log1p, _above(-1)),
    "logistic": Row(e.logistic, everywhere),
    "erf": Row(e.erf, everywhere),
    "erfc": Row(e.erfc, everywhere),
    "sin": Row(e.sin, everywhere),
    "cos": Row(e.cos, everywhere),
    "tan": Row(e.tan, lambda x: jnp.isfinite(e.tan(x).lower)),
    "asin": Row(e.asin, _inside),
    "acos": Row(e.acos, _inside),
    "atan": Row(e.atan, everywhere),
    "atan2": Row(e.atan2, lambda y, x: (x.lower > 0) | _nonzero(y)),
    "sinh": Row(e.sinh, everywhere),
    "cosh": Row(e.cosh, everywhere),
    "tanh": Row(e.tanh, everywhere),
    "asinh": Row(e.asinh, everywhere),
    "acosh": Row(e.acosh, _above(1)),
    "atanh": Row(e.atanh, _inside),
    "max": Row(e.maximum, _apart),
    "min": Row(e.minimum, _apart),
    "clamp": Row(
        lambda low, x, high: e.minimum(e.maximum(x, low), high),
        lambda low, x, high: _apart(low, x) & _apart(x, high),
    ),
    "lt": Row(_less, everywhere),
    "le": Row(_less_or_equal, everywhere),
    "gt": Row(lambda x, y: _less(y, x), everywhere),
    "ge": Row(lambda x, y: _less_or_equal(y, x), everywhere),
    "eq": Row(_equal, everywhere),
    "ne": Row(lambda x, y: _not(_equal(x, y)), everywhere),
    "not": Row(_not, everywhere),
    "and": Row(_and, everywhere),
    "or": Row(_or, everywhere),
    "xor": Row(_exclusive_or, everywhere),
    "is_finite": Row(_is_finite, everywhere),
    "select_n": Row(_select, _select_smooth),
    "convert_element_type": Row(_convert, _convert_smooth, ("new_dtype",)),
    "reduce_sum": Row(_reduce(e.add, 0.0), everywhere, ("axes",)),
    "reduce_prod": Row(_reduce(e.multiply, 1.0), everywhere, ("axes",)),
    "cumsum": Row(_cumulative(e.add), everywhere, ("axis", "reverse")),
    "cumprod": Row(_cumulative(e.multiply), everywhere, ("axis", "reverse")),
    "dot_general": Row(_dot, everywhere, ("dimension_numbers", "preferred_element_type")),
}

RULES = {find(name): row for name, row in _ROWS.items() if find(name) is not None}

# Primitives that are applied to both ends as they are: they move elements about, or never
# decrease and give exact results.
_MOVING = (
    "broadcast_in_dim concatenate copy device_put dynamic_slice dynamic_update_slice gather "
    "name optimization_barrier pad reshape rev slice split squeeze stack stop_gradient tile "
    "transpose unstack"
).split()
_STEPS: dict[str, Condition] = {
    "sign": _nonzero,
    "floor": _step(jnp.floor),
    "ceil": _step(jnp.ceil),
    "round": _step(jnp.round),
    "reduce_max": _alone,
    "reduce_min": lambda x, *, axes: _alone(e.negative(x), axes=axes),
    "cummax": lambda *_, **__: False,
    "cummin": lambda *_, **__: False,
    "reduce_and": everywhere,
    "reduce_or": everywhere,
}
END_BY_END: dict[Any, Condition] = {find(name): everywhere for name in _MOVING}
END_BY_END |= {find(name): smooth for name, smooth in _STEPS.items()}
END_BY_END.pop(None, None)

# The rest of the parameters says how XLA computes the primitive, or is that of a moving one.
STEP_PARAMETERS = ("axes",)

# An integer that depends on a box (a bool converted to one) may be moved and compared.
INTEGERS = {find(name) for name in "lt le gt ge eq ne clamp max min select_n".split()}
INTEGERS |= {find("convert_element_type")}
# Not where it says what to move, or where bits are combined.
NO_INTEGERS = {find(name) for name in "gather dynamic_slice dynamic_update_slice".split()}
NO_INTEGERS |= {find("reduce_and"), find("reduce_or")}

# Of a value with itself.
COMPARISONS = {find(name): name in ("eq", "le", "ge") for name in "eq le ge ne lt gt".split()}


def apply_to_ends(equation: Any, operands: Sequence[Any]) -> list[Interval]:
    """The primitive on all lower ends, and on all upper ones."""
    results = []
    for end in (0, 1):
        values = [x[end] if isinstance(x, Interval) else x for x in operands]
        result = equation.primitive.bind(*values, **equation.params)
        results.append(result if equation.primitive.multiple_results else [result])
    return [
        outward(low, high) if low.dtype in FLOATS else Interval(low, high)
        for low, high in zip(*results, strict=True)
    ]
