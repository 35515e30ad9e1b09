"""Interval versions of elementwise real functions.

The errors are those that XLA publishes for CPUs and NVIDIA GPUs, or that were measured against
arbitrary precision on CPUs, whichever is larger, at least doubled. `bench/soundness.py` tries
to break them.
"""

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ._rounding import Interval, down, exactly, literal, rational, tiny, up, widened

Rule = Callable[..., Interval]


def compiled(rule: Rule, **options: Any) -> Rule:
    """A rule that is traced and lowered once for a shape and dtype, however often it is used.

    The barrier keeps XLA from fusing rules with each other, which makes code whose size is
    exponential in the depth of the function.
    """

    def apart(*args: Any) -> Interval:
        return lax.optimization_barrier(rule(*args))

    return jax.jit(functools.wraps(rule)(apart), **options)


def everything(x: Array) -> Interval:
    """All real numbers, for each element of x."""
    return Interval(jnp.full_like(x, -jnp.inf), jnp.full_like(x, jnp.inf))


def where(condition: Array, x: Interval, y: Interval) -> Interval:
    """x where the condition holds, else y."""
    return Interval(jnp.where(condition, x.lower, y.lower), jnp.where(condition, x.upper, y.upper))


def clip(x: Interval, lowest: float | None = None, highest: float | None = None) -> Interval:
    """The part of x that lies in the range of a function."""
    lower, upper = x
    if lowest is not None:
        lower = jnp.maximum(lower, jnp.asarray(lowest, lower.dtype))
        upper = jnp.maximum(upper, jnp.asarray(lowest, lower.dtype))
    if highest is not None:
        lower = jnp.minimum(lower, jnp.asarray(highest, lower.dtype))
        upper = jnp.minimum(upper, jnp.asarray(highest, lower.dtype))
    return Interval(lower, upper)


def _point(x: Array) -> Interval:
    return Interval(x, x)


# --- arithmetic --------------------------------------------------------------------------------


@compiled
def _add(x: Interval, y: Interval) -> Interval:
    return widened(x.lower + y.lower, x.upper + y.upper)


@compiled
def _multiply(x: Interval, y: Interval) -> Interval:
    products = [a * b for a in x for b in y]
    # 0 times infinity: the infinite end is a limit, and every product before it is 0.
    products = [jnp.where(p != p, jnp.zeros_like(p), p) for p in products]
    result = widened(
        functools.reduce(jnp.minimum, products), functools.reduce(jnp.maximum, products)
    )
    zero = ((x.lower == 0) & (x.upper == 0)) | ((y.lower == 0) & (y.upper == 0))
    alike = ((x.lower >= 0) & (y.lower >= 0)) | ((x.upper <= 0) & (y.upper <= 0))
    opposed = ((x.lower >= 0) & (y.upper <= 0)) | ((x.upper <= 0) & (y.lower >= 0))
    return _with_sign(result, alike | zero, opposed | zero)


def _with_sign(x: Interval, positive: Array, negative: Array) -> Interval:
    """x where its sign is known from elsewhere, so that rounding must not cross 0."""
    zero = jnp.zeros_like(x.lower)
    return Interval(
        jnp.where(positive, jnp.maximum(x.lower, zero), x.lower),
        jnp.where(negative, jnp.minimum(x.upper, zero), x.upper),
    )


@compiled
def _divide(x: Interval, y: Interval) -> Interval:
    # XLA may multiply by the reciprocal of a constant divisor: 3 ulp, and large divisors are
    # divided by 16 first, lest the reciprocal be subnormal.
    large = float(np.finfo(y.lower.dtype).max) / 16
    shrink = jnp.maximum(jnp.abs(y.lower), jnp.abs(y.upper)) > large
    scale = jnp.where(shrink, jnp.full_like(y.lower, 0.0625), jnp.ones_like(y.lower))
    zero, infinity = jnp.zeros_like(x.lower), jnp.full_like(x.lower, jnp.inf)
    quotients = []
    for b, sign in ((y.lower, 1.0), (y.upper, -1.0)):
        divisor = jnp.where(b == 0, jnp.ones_like(b), b * scale)
        for a in x:
            limit = jnp.where(a == 0, zero, jnp.where((a > 0) == (sign > 0), infinity, -infinity))
            quotient = jnp.where(b == 0, limit, a / divisor)
            quotients.append(jnp.where(quotient != quotient, zero, quotient))
    result = widened(
        functools.reduce(jnp.minimum, quotients), functools.reduce(jnp.maximum, quotients), 3
    )
    result = widened(result.lower * scale, result.upper * scale)
    nothing = (x.lower == 0) & (x.upper == 0)
    alike = ((x.lower >= 0) & (y.lower >= 0)) | ((x.upper <= 0) & (y.upper <= 0))
    opposed = ((x.lower >= 0) & (y.upper <= 0)) | ((x.upper <= 0) & (y.lower >= 0))
    result = _with_sign(result, alike | nothing, opposed | nothing)
    unbounded = ((y.lower < 0) & (y.upper > 0)) | ((y.lower == 0) & (y.upper == 0))
    return where(unbounded, everything(x.lower), result)


def _fraction(x: Interval) -> Fraction | None:
    value = exactly(x)
    return None if value is None or not math.isfinite(value) else Fraction(value)


def _shaped(x: Interval, shape: tuple[int, ...]) -> Interval:
    return Interval(jnp.broadcast_to(x.lower, shape), jnp.broadcast_to(x.upper, shape))


def negative(x: Interval) -> Interval:
    """-x, exactly."""
    return Interval(-x.upper, -x.lower)


def add(x: Interval, y: Interval) -> Interval:
    """x + y; exact for two literals, and where one of them is 0."""
    a, b = _fraction(x), _fraction(y)
    if a is not None and b is not None:
        return rational(a + b, x.lower.dtype)
    if a == 0:
        return y
    return x if b == 0 else _add(x, y)


def subtract(x: Interval, y: Interval) -> Interval:
    """x - y."""
    return add(x, negative(y))


def multiply(x: Interval, y: Interval) -> Interval:
    """x y; exact for two literals, and by 1."""
    a, b = _fraction(x), _fraction(y)
    if a is not None and b is not None:
        return rational(a * b, x.lower.dtype)
    if a in (1, -1):
        return y if a == 1 else negative(y)
    if b in (1, -1):
        return x if b == 1 else negative(x)
    return _multiply(x, y)


def divide(x: Interval, y: Interval) -> Interval:
    """x / y; a divisor that reaches 0 from one side gives one infinite end."""
    a, b = _fraction(x), _fraction(y)
    if a is not None and b is not None and b != 0:
        return rational(a / b, x.lower.dtype)
    return x if b == 1 else _divide(x, y)


@compiled
def absolute(x: Interval) -> Interval:
    """|x|, exactly."""
    zero = jnp.zeros_like(x.lower)
    return Interval(
        jnp.maximum(zero, jnp.maximum(x.lower, -x.upper)), jnp.maximum(-x.lower, x.upper)
    )


@functools.partial(compiled, static_argnums=1)
def _power(x: Interval, n: int) -> Interval:
    """x^n for n >= 1, from the powers of the ends' magnitudes rounded both ways."""
    if n % 2 == 0:
        m = absolute(x)
        return Interval(_magnitude(m.lower, n, down), _magnitude(m.upper, n, up))

    def end(
        value: Array, inner: Callable[[Array], Array], outer: Callable[[Array], Array]
    ) -> Array:
        size = jnp.abs(value)
        return jnp.where(value >= 0, _magnitude(size, n, inner), -_magnitude(size, n, outer))

    return Interval(end(x.lower, down, up), end(x.upper, up, down))


def _magnitude(x: Array, n: int, rounded: Callable[[Array], Array]) -> Array:
    """x^n for x >= 0 by repeated squaring, every product rounded the same way."""
    result, square = None, x
    while True:
        if n % 2:
            result = square if result is None else _product(result, square, rounded)
        n //= 2
        if not n:
            assert result is not None
            return result
        square = _product(square, square, rounded)


def _product(x: Array, y: Array, rounded: Callable[[Array], Array]) -> Array:
    exact = (x == 0) | (y == 0)
    zero = jnp.zeros_like(x)
    return jnp.where(exact, zero, jnp.maximum(rounded(x * y), zero))


def integer_power(x: Interval, *, y: int) -> Interval:
    """x^y for an integer y; never negative where y is even."""
    if y == 0:
        return Interval(jnp.ones_like(x.lower), jnp.ones_like(x.lower))
    if y == 1:
        return x
    if y > 0:
        return _power(x, y)
    return divide(literal(1.0, x.lower.dtype), x if y == -1 else _power(x, -y))


def square(x: Interval) -> Interval:
    """x^2."""
    return _power(x, 2)


def one_minus_square(x: Interval) -> Interval:
    """(1 - x)(1 + x)."""
    one = literal(1.0, x.lower.dtype)
    return multiply(subtract(one, x), add(one, x))


def polynomial(x: Interval, *coefficients: Interval) -> Interval:
    """Horner's rule; the constant term comes first."""
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = add(multiply(value, x), coefficient)
    return value


# --- roots, logarithms, exponentials -----------------------------------------------------------


def _ulps(pair: tuple[int, int], x: Array) -> int:
    return pair[x.dtype == jnp.float64]


def _monotone(
    function: Callable[[Array], Array],
    ulps: tuple[int, int],
    lowest: float | None = None,
    highest: float | None = None,
    domain: tuple[float, float] | None = None,
) -> Rule:
    """Rule of an increasing function.

    Args:
        function: The function, as XLA computes it.
        ulps: Its error in float32 and float64.
        lowest: The least value, if there is one.
        highest: The largest value, if there is one.
        domain: Where it is defined, if not everywhere.
    """

    def rule(x: Interval) -> Interval:
        low, high = function(x.lower), function(x.upper)
        result = widened(low, high, _ulps(ulps, x.lower))
        # Intermediate results may have been flushed to zero.
        small = jnp.asarray(64 * tiny(low.dtype), low.dtype)
        result = Interval(
            jnp.where(jnp.abs(low) < small, -2 * small, result.lower),
            jnp.where(jnp.abs(high) < small, 2 * small, result.upper),
        )
        # Some implementations saturate before they overflow.
        huge = jnp.asarray(float(np.finfo(low.dtype).max) / 4, low.dtype)
        result = Interval(
            jnp.where(result.lower > huge, huge, result.lower),
            jnp.where(high > huge, jnp.full_like(high, jnp.inf), result.upper),
        )
        result = clip(result, lowest, highest)
        if domain is not None:
            outside = (x.lower < domain[0]) | (x.upper > domain[1])
            result = where(outside, everything(low), result)
        return result

    return compiled(rule)


_QUARTER_TURN = 1.5707964  # above pi / 2, also as a float32


def _log1p(x: Array) -> Array:
    """log(1 + x) = x log(u) / (u - 1) with u the rounded 1 + x, after Kahan.

    log(u) / (u - 1) changes by less than an ulp between u and 1 + x, and u - 1 is exact for u
    in [1/2, 2]: 5 ulp more than log. XLA's own loses 127 ulp in float64 before JAX 0.11.
    """
    u = down(1 + x, 0)  # through its bits: XLA would turn log(1 + x) into its own log1p again
    near = (u >= 0.5) & (u <= 2) & (u != 1)
    slope = jnp.log(jnp.where(near, u, 2)) / jnp.where(near, u - 1, 1)
    return jnp.where(u == 1, x, jnp.where(near, x * slope, jnp.log(u)))


sqrt = _monotone(lax.sqrt, (3, 3), lowest=0, domain=(0, math.inf))
cbrt = _monotone(lax.cbrt, (4, 8))
exp = _monotone(lax.exp, (6, 8), lowest=0)
expm1 = _monotone(lax.expm1, (16, 12), lowest=-1)
log = _monotone(lax.log, (4, 8), domain=(0, math.inf))
log1p = _monotone(_log1p, (10, 16), domain=(-1, math.inf))
tanh = _monotone(lax.tanh, (12, 16), lowest=-1, highest=1)
logistic = _monotone(lax.logistic, (8, 8), lowest=0, highest=1)
erf = _monotone(lax.erf, (12, 12), lowest=-1, highest=1)
asinh = _monotone(lax.asinh, (8, 8))
acosh = _monotone(lax.acosh, (12, 12), lowest=0, domain=(1, math.inf))
asin = _monotone(lax.asin, (8, 8), lowest=-_QUARTER_TURN, highest=_QUARTER_TURN, domain=(-1, 1))
atan = _monotone(lax.atan, (12, 12), lowest=-_QUARTER_TURN, highest=_QUARTER_TURN)
_minus_acos = _monotone(lambda x: -lax.acos(x), (8, 8), highest=0, domain=(-1, 1))


def acos(x: Interval) -> Interval:
    """arccos x."""
    return negative(_minus_acos(x))


def rsqrt(x: Interval) -> Interval:
    """x^(-1/2)."""
    return divide(literal(1.0, x.lower.dtype), sqrt(x))


def log2(x: Interval) -> Interval:
    """log x / log 2."""
    return divide(log(x), literal(math.log(2), x.lower.dtype))


def exp2(x: Interval) -> Interval:
    """2^x: XLA's own loses as many ulp as x is large."""
    return exp(multiply(x, literal(math.log(2), x.lower.dtype)))


def exp_of_minus_square(x: Interval) -> Interval:
    """exp(-x^2), which JAX's derivative of erf computes by splitting bits."""
    return exp(negative(square(x)))


def erfc(x: Interval) -> Interval:
    """1 - erf x: XLA's own loses hundreds of ulp where it is small."""
    return clip(subtract(literal(1.0, x.lower.dtype), erf(x)), 0, 2)


def _odd(positive: Callable[[Array], Interval], x: Interval) -> Interval:
    """Values of an odd increasing function from enclosures of those at numbers >= 0."""
    low, high = (
        where(end == 0, _point(jnp.zeros_like(end)), clip(positive(jnp.abs(end)), 0)) for end in x
    )
    return Interval(
        jnp.where(x.lower >= 0, low.lower, -low.upper),
        jnp.where(x.upper >= 0, high.upper, -high.lower),
    )


@compiled
def sinh(x: Interval) -> Interval:
    """(u + u/(u+1)) / 2 with u = expm1 |x|: XLA's own loses hundreds of ulp."""

    def positive(end: Array) -> Interval:
        u = expm1(_point(end))
        one, half = literal(1.0, end.dtype), literal(0.5, end.dtype)
        # u / (u + 1) = 1 - 1/(u + 1) increases, so that its ends are those at the ends of u.
        low = divide(_point(u.lower), add(_point(u.lower), one)).lower
        high = divide(_point(u.upper), add(_point(u.upper), one)).upper
        return multiply(half, add(u, clip(Interval(low, high), 0, 1)))

    return _odd(positive, x)


@compiled
def atanh(x: Interval) -> Interval:
    """log(1 + 2x / (1 - x)) / 2: XLA's own loses 129 ulp in float64 before JAX 0.11."""
    one, two, half = (literal(value, x.lower.dtype) for value in (1.0, 2.0, 0.5))

    def positive(end: Array) -> Interval:
        y = _point(jnp.minimum(end, 1))
        return multiply(half, log1p(divide(multiply(two, y), subtract(one, y))))

    outside = (x.lower < -1) | (x.upper > 1)
    return where(outside, everything(x.lower), _odd(positive, x))


@compiled
def cosh(x: Interval) -> Interval:
    """(exp x + exp -x) / 2, which increases with |x|."""
    size = absolute(x)
    half = literal(0.5, x.lower.dtype)

    def value(end: Array) -> Interval:
        return multiply(half, add(exp(_point(end)), exp(_point(-end))))

    return clip(Interval(value(size.lower).lower, value(size.upper).upper), 1)


def power(x: Interval, y: Interval) -> Interval:
    """x^y = exp(y log x), for any sign of x where y is a known integer."""
    exponent = exactly(y)
    if exponent is not None and abs(exponent) <= 1024:
        if exponent == int(exponent):
            return integer_power(x, y=int(exponent))
        if 2 * exponent == int(2 * exponent):
            return integer_power(sqrt(x), y=int(2 * exponent))
    if y.lower.dtype != x.lower.dtype:
        raise NotImplementedError("pow with an array of integer exponents")
    shape = jnp.broadcast_shapes(x.lower.shape, y.lower.shape)
    return _general_power(_shaped(x, shape), _shaped(y, shape))


@compiled
def _general_power(x: Interval, y: Interval) -> Interval:
    return where(x.lower < 0, everything(x.lower), exp(multiply(y, log(x))))


# --- trigonometric functions -------------------------------------------------------------------

# Where arguments are no longer reduced to a period with certainty, and the error of a number of
# turns up to there.
_LARGEST, _TURNS = (2.0**13, 2.0**20), (4e-3, 1e-8)


def _reaches(x: Interval, period: float, offset: float) -> Array:
    """Whether x may contain offset + k period for an integer k."""
    margin = _ulps_float(_TURNS, x.lower)
    first, last = ((end - offset) / period for end in x)
    return jnp.floor(last + margin) >= jnp.ceil(first - margin)


def _ulps_float(pair: tuple[float, float], x: Array) -> float:
    return pair[x.dtype == jnp.float64]


def _wave(function: Callable[[Array], Array], top: float) -> Rule:
    def rule(x: Interval) -> Interval:
        low, high = function(x.lower), function(x.upper)
        result = widened(jnp.minimum(low, high), jnp.maximum(low, high), 8)
        large = _ulps_float(_LARGEST, x.lower)
        far = ~((x.lower >= -large) & (x.upper <= large))
        lower = jnp.where(far | _reaches(x, 2 * math.pi, top + math.pi), -1, result.lower)
        upper = jnp.where(far | _reaches(x, 2 * math.pi, top), 1, result.upper)
        return clip(Interval(lower, upper), -1, 1)

    return compiled(rule)


sin = _wave(lax.sin, math.pi / 2)
cos = _wave(lax.cos, 0.0)


@compiled
def tan(x: Interval) -> Interval:
    """tan x; everything where the box may contain a pole."""
    result = widened(lax.tan(x.lower), lax.tan(x.upper), 8)
    large = _ulps_float(_LARGEST, x.lower)
    far = ~((x.lower >= -large) & (x.upper <= large))
    return where(far | _reaches(x, math.pi, math.pi / 2), everything(x.lower), result)


@compiled
def atan2(y: Interval, x: Interval) -> Interval:
    """The angle of (x, y), by whichever quotient does not meet 0."""
    dtype = x.lower.dtype
    quarter = literal(math.pi / 2, dtype)
    turn = atan(divide(x, y))
    above = subtract(quarter, turn)
    below = negative(add(quarter, turn))
    pi = literal(math.pi, dtype)
    result = _shaped(Interval(-pi.upper, pi.upper), x.lower.shape)
    result = where(y.upper < 0, below, where(y.lower > 0, above, result))
    return where(x.lower > 0, atan(divide(y, x)), result)


# --- piecewise ---------------------------------------------------------------------------------


def maximum(x: Interval, y: Interval) -> Interval:
    """max(x, y), exactly."""
    return Interval(jnp.maximum(x.lower, y.lower), jnp.maximum(x.upper, y.upper))


def minimum(x: Interval, y: Interval) -> Interval:
    """min(x, y), exactly."""
    return Interval(jnp.minimum(x.lower, y.lower), jnp.minimum(x.upper, y.upper))


def hull(x: Interval, y: Interval) -> Interval:
    """The narrowest interval that contains both."""
    if x.lower.dtype == jnp.bool_:
        return Interval(x.lower & y.lower, x.upper | y.upper)
    return Interval(jnp.minimum(x.lower, y.lower), jnp.maximum(x.upper, y.upper))
