"""Scalar functions with a stated error, each with its own derivative rule.

Everything here is elementwise, works in float32 and float64, and uses only exponentials,
logarithms, polynomials and comparisons, so that a GPU kernel can trace it. Errors are in
units in the last place (ulp) of the argument's dtype and hold where exp and log are within
1.5 ulp, which is what XLA publishes for CPUs.

A *pair* (hi, lo) is an unevaluated sum of two numbers with |lo| at most an ulp or so of |hi|:
it carries a difference of logits, or a logarithm, to about twice the working precision
(Dekker 1971; Shewchuk 1997).
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

# Number of series terms that leave a truncation error below half an ulp, (float32, float64).
_ATANH_TERMS = (8, 17)  # s^2 <= 1/9
_EXPM1_TERMS = (9, 16)  # |y| <= 1/2
_REMAINDER_TERMS = (11, 18)  # |y| <= 1
_DIFFERENCE_TERMS = (11, 19)  # |x|, |y| <= 1
_MEAN_TERMS = (8, 20)  # |t| <= 0.46
_ARCSIN_TERMS = (8, 16)  # x <= 0.1
_GAUSS_NODES = (7, 15)  # ratio of the ends at most e


def is_double(x: Array) -> bool:
    """Whether series must be long enough for float64."""
    return x.dtype == jnp.float64


def _terms(counts: tuple[int, int], x: Array) -> int:
    return counts[is_double(x)]


def polynomial(x: Array, coefficients: list[float]) -> Array:
    """Horner's rule; the constant term comes first."""
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


# --- sums ------------------------------------------------------------------------------------

_LANES = 64


_PARTS: contextvars.ContextVar[int] = contextvars.ContextVar("parts", default=1)


@contextlib.contextmanager
def rows_in_parts(count: int) -> Iterator[None]:
    """Sums of rows that may lie on so many devices, each of which adds up what it has."""
    token = _PARTS.set(count)
    try:
        yield
    finally:
        _PARTS.reset(token)


def parts() -> int:
    """On how many devices rows may lie."""
    return _PARTS.get()


def row_sum(x: Array) -> Array:
    """Sum over the last axis whose rounding error grows like the cube root of its length.

    XLA adds the elements of a reduced axis one after another, which costs about sqrt(n) ulp;
    reducing blocks of 64 first, and keeping XLA from merging the steps again, leaves a few.
    """
    parts = _PARTS.get()
    if parts > 1 and x.shape[-1] % parts == 0:
        x = _row_sum(x.reshape(*x.shape[:-1], parts, -1))
        return x.sum(-1)
    return _row_sum(x)


def _row_sum(x: Array) -> Array:
    while x.shape[-1] > _LANES:
        n = x.shape[-1]
        blocks = -(-n // _LANES)
        padding = [(0, 0)] * (x.ndim - 1) + [(0, blocks * _LANES - n)]
        x = jnp.pad(x, padding).reshape(*x.shape[:-1], _LANES, blocks).sum(-2)
        x = _barrier(x)
    return x.sum(-1)


def argmax(x: Array) -> Array:
    """The place of the first of the largest numbers of each row, (..., 1)."""
    if _PARTS.get() == 1:
        return jnp.argmax(x, axis=-1, keepdims=True).astype(jnp.int32)
    # Two reductions of one number each; the other way round, XLA gathers what each part found.
    places = lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    largest = x == jnp.max(x, axis=-1, keepdims=True)
    return jnp.min(jnp.where(largest, places, x.shape[-1]), axis=-1, keepdims=True)


@jax.custom_jvp
def _barrier(x: Array) -> Array:
    return lax.optimization_barrier(x)


@_barrier.defjvp
def _(primals, tangents):
    return _barrier(primals[0]), tangents[0]


# --- pairs -----------------------------------------------------------------------------------


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b as an exact pair (Knuth); the low part is 0 where the sum is not finite."""
    hi = a + b
    b_part = hi - a
    lo = (a - (hi - b_part)) + (b - b_part)
    return hi, jnp.where(jnp.isfinite(lo), lo, 0)


def two_diff(a: Array, b: Array) -> tuple[Array, Array]:
    """a - b as an exact pair."""
    return two_sum(a, -b)


def _split(x: Array) -> tuple[Array, Array]:
    """x = high + low with at most half of the significant bits in each.

    Bits are masked instead of multiplying by 2^12 + 1: compilers may contract that product
    into a fused multiply-add, masked halves have exact products either way.
    """
    if is_double(x):
        bits = lax.bitcast_convert_type(x, jnp.int64) & np.int64(~0x7FFFFFF)
    else:
        bits = lax.bitcast_convert_type(x, jnp.int32) & np.int32(~0xFFF)
    high = lax.bitcast_convert_type(bits, x.dtype)
    return high, x - high


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b as a pair; the low part is 0 where the product is not finite."""
    a, b = jnp.broadcast_arrays(a, b)
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    # a_high * b_high is exact, so that the rounded product is never subtracted from itself.
    head = a_high * b_high
    tail = a_high * b_low + a_low * b_high
    hi, lo = two_sum(head, tail)
    lo = lo + a_low * b_low
    return jnp.where(jnp.isfinite(lo), hi, a * b), jnp.where(jnp.isfinite(lo), lo, 0)


@jax.custom_jvp
def divide(x: Array, y: Array) -> Array:
    """x / y, whose derivatives don't meet y^2: it underflows where y is far from it."""
    return x / y


@divide.defjvp
def _(primals, tangents):
    x, y = primals
    x_dot, y_dot = tangents
    ratio = divide(x, y)
    return ratio, divide(x_dot - ratio * y_dot, y)


def divide_pair(hi: Array, lo: Array, divisor: Array) -> tuple[Array, Array]:
    """(hi + lo) / divisor as a pair."""
    quotient = hi / divisor
    product, error = two_product(quotient, divisor)
    remainder = ((hi - product) - error) + lo
    correction = remainder / divisor
    return quotient, jnp.where(jnp.isfinite(correction), correction, 0)


def add_pairs(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Sum of two pairs, as a pair."""
    hi, lo = two_sum(a[0], b[0])
    return two_sum(hi, lo + (a[1] + b[1]))


def negate_pair(a: tuple[Array, Array]) -> tuple[Array, Array]:
    """-(hi + lo)."""
    return -a[0], -a[1]


def multiply_pairs(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Product of two pairs, as a pair."""
    hi, lo = two_product(a[0], b[0])
    return two_sum(hi, lo + (a[0] * b[1] + a[1] * b[0]))


@jax.custom_jvp
def mix_pair(rest: Array, a: Array, t: Array, b: Array, b_low: Array) -> Array:
    """rest a + t (b + b_low), rounded once: with t = 1 - rest outside [0, 1] its parts cancel."""
    one, low = two_diff(jnp.ones_like(rest), rest)
    low = jnp.where(one == t, low, 0)
    (x, x_low), (y, y_low) = two_product(rest, a), two_product(t, b)
    hi, lo = two_sum(x, y)
    lost = lo + ((x_low + y_low) + (t * b_low + low * b))
    return hi + jnp.where(jnp.isfinite(lost), lost, 0)


@mix_pair.defjvp
def _(primals, tangents):
    rest, a, t, b, _ = primals
    by_rest, by_a, by_t, by_b, _ = tangents
    return mix_pair(*primals), rest * by_a + by_rest * a + t * by_b + by_t * b


# --- exponentials ----------------------------------------------------------------------------

# log 2 in two parts, of float32 and of float64; the high one has trailing zeros, so that an
# exponent * high is exact.
LN2 = {
    False: (0.693145751953125, 1.42860682030941723212e-06),
    True: (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}


def exp(x: Array) -> Array:
    """The exponential where it is a normal number, else 0 or infinite; 1 ulp.

    XLA's on a CPU costs twice as much in float32. There it is 0 below -87, where exp(x) may be a
    normal number yet: for sums of which that is nothing.
    """
    from ._exponentials import exp_p  # here, as what it needs of JAX takes a sixth of the import

    return exp_p.bind(x)


def expm1(x: Array) -> Array:
    """The exponential less 1; 2 ulp on a CPU, against the 6.5 of XLA's own, and 4 elsewhere."""
    from ._exponentials import expm1_p

    return expm1_p.bind(x)


def exp_pair(hi: Array, lo: Array) -> Array:
    """exp(hi + lo); 2 ulp. Where lo is not small exp(hi) is 0 or infinite anyway."""
    return jnp.exp(hi) * (1 + jnp.clip(lo, -0.5, 0.5))


# --- elementary functions near their zeros ---------------------------------------------------


def expm1_near(y: Array) -> Array:
    """exp(y) - 1 for |y| <= 1/2; 2 ulp."""
    series = [1 / math.factorial(k + 1) for k in range(_terms(_EXPM1_TERMS, y))]
    return y * polynomial(y, series)


def tanh_near(y: Array) -> Array:
    """tanh y for |y| <= 1/4; 2 ulp."""
    # 2^2k (2^2k - 1) B_2k / (2k)!, B_2k being Bernoulli's numbers.
    series = [1, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925, 21844 / 6081075]
    if is_double(y):
        series += [-929569 / 638512875, 6404582 / 10854718875, -443861162 / 1856156927625]
        series += [18888466084 / 194896477400625, -113927491862 / 2900518163668125]
    return y * polynomial(y * y, series if is_double(y) else series[:5])


def _atanh_tail(s2: Array) -> Array:
    """(atanh(s) - s) / s^3 = 1/3 + s^2/5 + s^4/7 + ... for s^2 <= 1/9."""
    return polynomial(s2, [1 / (2 * k + 3) for k in range(_terms(_ATANH_TERMS, s2))])


@jax.custom_jvp
def log1p(x: Array) -> Array:
    """log(1 + x); 3 ulp. With s = x / (2 + x) it is 2 atanh(s), a short series for -1/2 < x < 1."""
    near = (x >= -0.5) & (x <= 1)
    small = jnp.where(near, x, 0)
    s = small / (2 + small)
    s2 = s * s
    return jnp.where(near, 2 * s + 2 * s * s2 * _atanh_tail(s2), jnp.log(jnp.where(near, 2, 1 + x)))


@log1p.defjvp
def _(primals, tangents):
    return log1p(primals[0]), tangents[0] / (1 + primals[0])


@jax.custom_jvp
def log1p_remainder(x: Array) -> Array:
    """x - log(1 + x), at least 0; 6 ulp.

    2s/(1-s) = x gives x - 2s = s x, so that the second-order part stands alone:
    x - log(1 + x) = s (x - 2 s^2 (1/3 + s^2/5 + ...)).
    """
    near = (x >= -0.5) & (x <= 1)
    small = jnp.where(near, x, 0)
    s = small / (2 + small)
    s2 = s * s
    far = jnp.where(near, 1, x)
    return jnp.where(near, s * (small - 2 * s2 * _atanh_tail(s2)), far - jnp.log(1 + far))


@log1p_remainder.defjvp
def _(primals, tangents):
    (x,) = primals
    return log1p_remainder(x), x / (1 + x) * tangents[0]


def share(part: Array, whole: Array) -> Array:
    """part / whole, where |part| <= whole; about 0 where whole has nearly underflowed. 2 ulp.

    By a reciprocal: XLA fuses no quotient that is used more than once, but stores it.
    """
    some = jnp.where(whole >= 2.0**6 * float(jnp.finfo(whole.dtype).tiny), whole, 1)
    return (2.0**-6 * part) * (1 / (2.0**-6 * some))


@jax.custom_jvp
def to_mixture(mass: Array, mixture: Array, gap: Array) -> tuple[Array, Array]:
    """mass log(mass/mixture) + gap, at least 0, and log(mass/mixture), given gap = mixture - mass.

    Of masses that may have underflowed, beside a mixture of which they are part: 8 ulp. With
    s = gap / (mixture + mass), log(mixture/mass) is 2 atanh(s).
    """
    s = share(gap, mixture + mass)
    near = jnp.abs(s) <= 1 / 3
    small = jnp.where(near, s, 0)
    s2 = small * small
    tail = _atanh_tail(s2)
    some = ~near & (mass > 0)
    log = -jnp.log(jnp.where(some, mixture / jnp.where(some, mass, 1), 1))
    bend = small * (gap - 2 * mass * (s2 * tail))
    return jnp.where(near, bend, mass * log + gap), jnp.where(
        near, -2 * (small + small * (s2 * tail)), log
    )


@to_mixture.defjvp
def _(primals, tangents):
    mass, mixture, gap = primals
    mass_dot, mixture_dot, _ = tangents
    bend, log = to_mixture(*primals)
    some = mixture > 0
    away = divide(gap, jnp.where(some, mixture, 1))
    # A mass that underflowed is 0 and so is its tangent: not 0/0.
    log_dot = divide(mass_dot, jnp.where(mass > 0, mass, 1)) - divide(
        mixture_dot, jnp.where(some, mixture, 1)
    )
    return (bend, log), (log * mass_dot + away * mixture_dot, log_dot)


@jax.custom_jvp
def to_mean(p: Array, q: Array, difference: Array, log_ratio: Array) -> tuple[Array, Array, Array]:
    """(p log(p/m) + q log(q/m)) / 2, at least 0, log(p/m) and log(q/m), m the mean of p and q.

    Of masses that may have underflowed, given p - q and log(p/q); 8 ulp. With
    s = |p - q| / (2 (p + q) + |p - q|), at most 1/3, the logarithm of the larger over m is
    2 atanh(s), that of the smaller |log(p/q)| less. With t = (p - q) / (p + q) the sum is
    m (t^2 + t^4/6 + t^6/15 + ...) / 2.
    """
    total = p + q
    size = jnp.abs(difference)
    s = share(size, 2 * total + size)
    s2 = s * s
    log = 2 * (s + s * (s2 * _atanh_tail(s2)))
    log_p, log_q = log + jnp.minimum(log_ratio, 0), log - jnp.maximum(log_ratio, 0)
    t = share(difference, total)
    near = jnp.abs(t) <= 0.46
    series = [1 / (k * (2 * k - 1)) for k in range(1, _terms(_MEAN_TERMS, t) + 1)]
    bend = 0.25 * difference * t * polynomial(jnp.where(near, t * t, 0), series)
    return jnp.where(near, bend, 0.5 * (p * log_p + q * log_q)), log_p, log_q


@to_mean.defjvp
def _(primals, tangents):
    p, q, *_ = primals
    p_dot, q_dot, *_ = tangents
    bend, log_p, log_q = to_mean(*primals)
    total = p + q
    by_mean = divide(p_dot + q_dot, jnp.where(total > 0, total, 1))
    # A mass that underflowed is 0 and so is its tangent: not 0/0.
    by_p, by_q = (divide(dot, jnp.where(x > 0, x, 1)) for x, dot in ((p, p_dot), (q, q_dot)))
    slope = 0.5 * (log_p * p_dot + log_q * q_dot)
    return (bend, log_p, log_q), (slope, by_p - by_mean, by_q - by_mean)


def log1p_bend_near(x: Array) -> Array:
    """(x - log(1 + x)) / x^2 for -1/2 <= x <= 1, 1/2 at x = 0; 4 ulp."""
    s = x / (2 + x)
    return (1 - 2 * s / (2 + x) * _atanh_tail(s * s)) / (2 + x)


def expm1_bend(x: Array) -> Array:
    """(exp(x) - 1 - x) / x^2, 1/2 at x = 0; 4 ulp."""
    near = jnp.abs(x) <= 1
    small, far = jnp.where(near, x, 0), jnp.where(near, 1, x)
    series = [1 / math.factorial(k + 2) for k in range(_terms(_REMAINDER_TERMS, x) + 2)]
    return jnp.where(near, polynomial(small, series), (jnp.exp(far) - 1 - far) / (far * far))


@jax.custom_jvp
def log1p_over(x: Array) -> Array:
    """log(1 + x) / x, 1 at x = 0; 5 ulp."""
    zero = x == 0
    return jnp.where(zero, 1, log1p(x) / jnp.where(zero, 1, x))


@log1p_over.defjvp
def _(primals, tangents):
    # d/dx log1p(x)/x = (x/(1+x) - log1p(x)) / x^2. Near 0 from the series of the numerator.
    (x,) = primals
    near = jnp.abs(x) < 0.1
    small = jnp.where(near, x, 0)
    count = 19 if is_double(x) else 9
    series = polynomial(small, [(-1) ** (k + 1) * (k + 1) / (k + 2) for k in range(count)])
    far = jnp.where(near, 1, x)
    slope = jnp.where(near, series, (far / (1 + far) - log1p(far)) / (far * far))
    return log1p_over(x), slope * tangents[0]


def expm1_over(y: Array) -> Array:
    """(exp(y) - 1) / y, 1 at y = 0, infinite where exp overflows; 5 ulp.

    Written without a rule of its own: both branches are smooth where they are taken, and the
    derivative of the series is the series of the derivative.
    """
    near = jnp.abs(y) <= 0.5
    small = jnp.where(near, y, 0)
    series = [1 / math.factorial(k + 1) for k in range(_terms(_EXPM1_TERMS, y) + 2)]
    far = jnp.where(near, 1, y)
    return jnp.where(near, polynomial(small, series), (jnp.exp(far) - 1) / far)


def expm1_over_near(y: Array) -> Array:
    """(exp(y) - 1) / y for |y| <= 1, 1 at y = 0; 3 ulp."""
    return polynomial(y, [1 / math.factorial(k + 1) for k in range(_terms(_EXPM1_TERMS, y) + 2)])


def exp_remainder_near(y: Array) -> Array:
    """exp(y) - 1 - y for |y| <= 1, at least 0; 2 ulp and twice the relative error of y."""
    series = [1 / math.factorial(k + 2) for k in range(_terms(_REMAINDER_TERMS, y))]
    return y * y * polynomial(y, series)


def exp_second_difference(alpha: Array, y: Array) -> Array:
    """The divided difference exp[0, alpha y, y], for |y| <= 1 and |alpha y| <= 1; 4 ulp.

    A series in y whose coefficients (1 + alpha + ... + alpha^n) / (n + 2)! are the same for all
    numbers that share alpha. Positive, and smooth through alpha = 0 and 1 and through y = 0, where
    the quotient form is 0/0.
    """
    # In units of the larger of 1 and |alpha|, so that powers of alpha don't overflow.
    unit = lax.stop_gradient(jnp.maximum(jnp.abs(alpha), 1))
    share, power = alpha / unit, 1 / unit
    coefficients, h, last = [], jnp.ones_like(share), jnp.ones_like(share)
    for n in range(_terms(_DIFFERENCE_TERMS, y)):
        coefficients.append(h / math.factorial(n + 2))
        last = last * power
        h = share * h + last
    y = unit * y
    value = coefficients.pop() + jnp.zeros_like(y)
    for coefficient in reversed(coefficients):
        value = value * y + coefficient
    return value


@jax.custom_jvp
def safe_sqrt(x: Array) -> Array:
    """Square root with derivative 0 at 0: a subgradient of |.| for distances at p = q."""
    return jnp.sqrt(x)


@safe_sqrt.defjvp
def _(primals, tangents):
    (x,) = primals
    root = safe_sqrt(x)
    zero = x == 0
    return root, jnp.where(zero, 0, 0.5 / jnp.where(zero, 1, root)) * tangents[0]


def squared_arcsinh_sqrt(x: Array) -> Array:
    """arcsinh(sqrt x)^2 for x >= 0, smooth at 0."""
    near = x <= 0.1
    small = jnp.where(near, x, 0)
    count = _terms(_ARCSIN_TERMS, x)
    series = [(-4) ** n / (-2 * n * n * math.comb(2 * n, n)) for n in range(1, count + 1)]
    root = jnp.arcsinh(jnp.sqrt(jnp.where(near, 1, x)))
    return jnp.where(near, small * polynomial(small, series), root * root)


# --- logarithms as pairs ---------------------------------------------------------------------


@jax.custom_jvp
def log_pair(x: Array) -> tuple[Array, Array]:
    """log x for normal x > 0 as a pair with an absolute error of an ulp of 1, however small x."""
    if is_double(x):
        integer, shift, root_half = jnp.int64, 52, np.float64(math.sqrt(0.5)).view(np.int64)
    else:
        integer, shift, root_half = jnp.int32, 23, np.float32(math.sqrt(0.5)).view(np.int32)
    bits = lax.bitcast_convert_type(x, integer)
    exponent = (bits - root_half) >> shift
    mantissa = lax.bitcast_convert_type(bits - (exponent << shift), x.dtype)
    return _log_of_parts(exponent.astype(x.dtype), mantissa)


@log_pair.defjvp
def _(primals, tangents):
    (x,) = primals
    pair = log_pair(x)
    return pair, (tangents[0] / x, jnp.zeros_like(x))


def log_pair_of_count(x: Array) -> tuple[Array, Array]:
    """The same for 1 <= x < 2^32, without the bits of x, which a kernel can't see of a scalar."""
    exponent = jnp.zeros_like(x)
    for power in (16, 8, 4, 2, 1):
        large = x >= 2.0**power
        x = jnp.where(large, x * 2.0**-power, x)
        exponent = exponent + jnp.where(large, jnp.full_like(x, power), 0)
    return _log_of_parts(exponent, x)


def _log_of_parts(exponent: Array, mantissa: Array) -> tuple[Array, Array]:
    high, low = LN2[is_double(mantissa)]
    hi, lo = two_sum(exponent * high, jnp.log(mantissa))
    return two_sum(hi, lo + exponent * low)


@jax.custom_jvp
def log_ratio(p: Array, q: Array, difference: Array) -> tuple[Array, Array]:
    """log(p/q) for normal p, q > 0 as a pair, given p - q without cancellation.

    Near p = q it is +-log1p(|p - q| / min(p, q)), accurate relative to itself (4 ulp) however
    small; far from it a difference of log_pair, accurate to an ulp of 1 in absolute terms, so
    that its multiples can be exponentiated.
    """
    smaller = jnp.minimum(p, q)
    size = jnp.abs(difference)
    near = size <= smaller
    y = jnp.where(near, size / jnp.where(smaller > 0, smaller, 1), 0)
    log_near = jnp.where(difference < 0, -log1p(y), log1p(y))
    hi, lo = add_pairs(log_pair(p), negate_pair(log_pair(q)))
    return jnp.where(near, log_near, hi), jnp.where(near, 0, lo)


@log_ratio.defjvp
def _(primals, tangents):
    p, q, _ = primals
    p_dot, q_dot, _ = tangents
    # A mass that underflowed is 0 and so is its tangent: not 0/0.
    p, q = jnp.where(p > 0, p, 1), jnp.where(q > 0, q, 1)
    return log_ratio(*primals), (p_dot / p - q_dot / q, jnp.zeros_like(p))


def squared_arcsin_sqrt(x: Array) -> Array:
    """arcsin(sqrt x)^2 for 0 <= x <= 1/2, smooth at 0.

    Near 0 by its series, sum over n >= 1 of (4x)^n / (2 n^2 binomial(2n, n)).
    """
    near = x <= 0.1
    small = jnp.where(near, x, 0)
    count = _terms(_ARCSIN_TERMS, x)
    series = [4**n / (2 * n * n * math.comb(2 * n, n)) for n in range(1, count + 1)]
    root = jnp.arcsin(jnp.sqrt(jnp.where(near, 0.25, x)))
    return jnp.where(near, small * polynomial(small, series), root * root)


# --- Taylor remainders of a user's function --------------------------------------------------


def derivative(f: Callable[[Array], Array], order: int) -> Callable[[Array], Array]:
    """The elementwise derivative of a scalar function by nested forward mode."""

    def scalar(x: Array) -> Array:
        value = jnp.asarray(f(x))
        if value.shape != ():
            raise ValueError(
                f"f must map a scalar to a scalar, but f of a scalar has shape {value.shape}"
            )
        return value.astype(x.dtype)

    for _ in range(order):
        scalar = jax.jacfwd(scalar)

    def elementwise(x: Array) -> Array:
        if _PARTS.get() == 1:
            return jax.vmap(scalar)(x.reshape(-1)).reshape(x.shape)
        each = scalar  # a reshape would gather what lies on several devices
        for _ in x.shape:
            each = jax.vmap(each)
        return each(x)

    return elementwise


def captures(f: Callable[[Array], Array]) -> bool:
    """Whether a scalar function reads values that are being traced, which end with their trace."""
    jaxpr = jax.make_jaxpr(f)(jax.ShapeDtypeStruct((), jnp.result_type(float)))
    return any(isinstance(x, Tracer) for x in jaxpr.consts)


# What runs once: the optimisations of LLVM would take longer than all that the program does.
QUICKLY = {"xla_backend_optimization_level": 0}


def computed(function: Callable[..., Any], *args: Any) -> Any:
    """A function of concrete arrays as a pytree of numbers, whatever is being traced.

    Compiled whole; evaluated as JAX folds constants, its operations would be compiled one by one.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), args)
    compiled = jax.jit(function).lower(*shapes).compile(compiler_options=QUICKLY)
    return jax.tree.map(np.asarray, compiled(*args))


def gauss(like: Array) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1], enough for ends e apart."""
    nodes, weights = np.polynomial.legendre.leggauss(_terms(_GAUSS_NODES, like))
    dtype = np.dtype(like.dtype)
    return ((nodes + 1) / 2).astype(dtype), (weights / 2).astype(dtype)


def along(x: Array, difference: Array) -> tuple[Array, Array, Array]:
    """Points x + u * difference on a new leading axis, with u and the weights shaped to match."""
    nodes, weights = gauss(x)
    shape = (-1,) + (1,) * x.ndim
    u, w = nodes.reshape(shape), weights.reshape(shape)
    return x[None] + u * difference[None], jnp.asarray(u), jnp.asarray(w)


def same_rise(rise: Array, difference: Array, curvature: Array, scale: Array) -> Array:
    """Whether a derivative rises by the integral of the next one, up to rounding.

    `curvature` holds weight * f'' at the points of `along`. It does not where f has a kink, which
    quadrature of f'' cannot see, or is too rough for it.
    """
    integral = difference * jnp.sum(curvature, 0)
    scale = scale + jnp.sum(jnp.abs(curvature), 0)
    return jnp.abs(rise - integral) <= 128 * jnp.finfo(rise.dtype).eps * scale


def settles(coarse: Array, fine: Array, otherwise: float) -> Array:
    """`fine`, the later of two probes towards a limit, if they agree to a tenth."""
    agree = jnp.abs(fine - coarse) <= 0.1 * jnp.abs(fine) + 1e-6
    return jnp.where(agree & jnp.isfinite(fine), fine, otherwise)
