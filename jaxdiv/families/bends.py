"""Bends: what is left of a convex function when its tangent is taken off, per squared step.

The bend of phi from a to b = a + t d is (phi(b) - phi(a) - phi'(a) t d) / t^2, at least 0. As a
difference it loses every digit where b is near a, or where phi is large. Here each is a sum of
terms of one sign, or of terms that cancel by a factor of at most 4, formed from differences that
the caller computed without error. It is smooth through t = 0, where it is phi''(a) d^2 / 2.

All are elementwise, and differentiable to any order by JAX.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import _numerics as num
from .._tangents import all_zero
from .base import Real

Pair = tuple[Array, Array]

# log Gamma is shifted by n; there, what Stirling's formula lacks is Binet's integral, as a sum of
# w x / (x^2 + u). For float32 fitted on x >= 1, an error of 0.02 ulp of the bend; for float64 its
# Gauss quadrature, 0.8 ulp at x = 6.
SHIFT = (1, 6)
BINET = (
    (
        (0.07221290458576801, 0.0073820970483511016),
        (0.009983133505763511, 0.14966052726329193),
        (0.0010904826253483404, 0.6090241056315217),
        (4.6800071021108495e-05, 1.8434875563827584),
    ),
    (
        (0.078315910127313251, 0.013093437354043264),
        (0.0048668672248732089, 0.31792376051030322),
        (0.00014889170491626268, 1.3363156610994962),
        (1.6594054500482805e-6, 3.6481832351526612),
        (4.8691832351053648e-9, 8.3020049254636951),
        (1.5973269735892568e-12, 17.811688576179017),
    ),
)
_TAIL_TERMS = (4, 9)  # of atanh, where |s| <= (sqrt 2 - 1) / (sqrt 2 + 1)
_LN2 = {
    False: (0.693145751953125, 1.4286068203094172e-06),
    True: (0.6931471803691238, 1.9082149292705877e-10),
}


class _Log(NamedTuple):
    """y = 2^exponent (1 + x) with 1 + x in [sqrt(1/2), sqrt 2), and x = y - 1 near 1, as given."""

    exponent: Array
    x: Array
    s: Array  # x / (2 + x): log(1 + x) = 2 atanh(s) = 2 s + 2 s^3 tail
    tail: Array


def _logarithm(e: Array, y: Array) -> _Log:
    double = num.is_double(y)
    if double:
        integer, shift, root_half = jnp.int64, 52, np.float64(math.sqrt(0.5)).view(np.int64)
    else:
        integer, shift, root_half = jnp.int32, 23, np.float32(math.sqrt(0.5)).view(np.int32)
    bits = lax.bitcast_convert_type(y, integer)
    exponent = (bits - root_half) >> shift
    mantissa = lax.bitcast_convert_type(bits - (exponent << shift), y.dtype)
    x = jnp.where(exponent == 0, e, mantissa - 1)
    s = x / (2 + x)
    tail = num.polynomial(s * s, [1 / (2 * k + 3) for k in range(_TAIL_TERMS[double])])
    return _Log(exponent, x, s, tail)


def _less_log(e: Array, parts: _Log) -> Array:
    """e - log y, with the large parts taken off each other first."""
    s = parts.s
    exponent, (high, low) = parts.exponent.astype(s.dtype), _LN2[num.is_double(s)]
    return (e - exponent * high) - (exponent * low + 2 * s * (1 + s * s * parts.tail))


@jax.custom_jvp
def _log1p(e: Array, y: Array) -> Array:
    """log y, y = 1 + e > 0 in the range of normal numbers, accurate to e near 1; 3 ulp."""
    return -_less_log(jnp.zeros_like(y), _logarithm(e, y))


@_log1p.defjvp
def _(primals, tangents):
    return _log1p(*primals), tangents[1] / primals[1]


def excess(slope: Array, t: Array | float, ratio: Array) -> Array:
    """(y - 1 - log y) / t^2, with y - 1 = t * slope and y = `ratio` > 0; 10 ulp.

    The bend of -log from a to b is that of y = b/a, slope = d/a. That of x log x, which is KL's
    summand, is the one of y = a/b: b log(b/a) - b + a = b (y - 1 - log y).
    """
    if isinstance(t, int | float):
        t = jnp.asarray(t, ratio.dtype)
    return _excess(slope, t, ratio)


@jax.custom_jvp
def _excess(slope: Array, t: Array, y: Array) -> Array:
    e = t * slope
    parts = _logarithm(e, y)
    near = parts.exponent == 0
    # e - log(1 + e) = s (e - 2 s^2 tail), and s / e = 1 / (2 + e) = (1 - s) / 2.
    inverse = 0.5 * (1 - parts.s)
    curve = inverse * (1 - 2 * parts.s * inverse * parts.tail)
    safe_t = jnp.where(near, 1, t)
    far = _less_log(e, parts) / (safe_t * safe_t)
    # Of a ratio that underflowed the logarithm is not known.
    far = jnp.where(y >= jnp.finfo(y.dtype).tiny, far, jnp.where(jnp.isnan(y), y, jnp.inf))
    return jnp.where(near, slope * slope * curve, far)


def _excess_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    slope, t, y = primals
    slope_dot, t_dot, _ = tangents
    value = _excess(*primals)
    tangent = jnp.zeros_like(value)
    if not all_zero(slope_dot):
        tangent = slope / y * slope_dot
    if not all_zero(t_dot):
        tangent = tangent + slope * slope * slope * _curve_slope(t * slope, y) * t_dot
    return value, tangent


_excess.defjvp(_excess_jvp, symbolic_zeros=True)


def _curve_slope(e: Array, y: Array) -> Array:
    """The derivative of (e - log(1 + e)) / e^2."""
    near = jnp.abs(e) <= 0.4
    small, large = jnp.where(near, e, 0), jnp.where(near, 1, e)
    series = jax.jvp(num.log1p_bend_near, (small,), (jnp.ones_like(small),))[1]
    curve = (large - jnp.log(jnp.where(near, 2, y))) / (large * large)
    return jnp.where(near, series, (1 / jnp.where(near, 2, y) - 2 * curve) / large)


def gamma_bend(a: Array, b: Array, d: Array, t: Array | float) -> Array:
    """The bend from a to b = a + t d of g(x) = log Gamma(x) - x log x + x; 16 ulp.

    g is what Gamma functions add to the divergence of means. It is convex, as
    g(x) = sum over k < n of h(x + k) - log(x + n)/2 + Binet's integral at x + n, with
    h(x) = g(x) - g(x + 1) = (x + 1) log(1 + 1/x) - 1 and h''(x) = 1/(x^2 (x + 1)).
    """
    double = num.is_double(a)
    shift, bend = SHIFT[double], _step_bend(a, b, d, t)
    for k in range(1, shift):
        # As in _step_bend, at a + k and b + k, with z of the other sign over t.
        following = 1 / (a + (k + 1))
        z = d / (b + k) * following
        curve = num.log1p_bend_near(-t * z)
        bend = bend + d * z * (1 / (a + k) - (b + (k + 1)) / (b + k) * following * curve)
    a, b = a + shift, b + shift
    inverse = 1 / a
    bend = bend + 0.5 * excess(d * inverse, t, b * inverse)
    # The bend of x / (x^2 + u) is d^2 (a^2 b - u (2 a + b)) / ((a^2 + u)^2 (b^2 + u)). One division
    # for all, as XLA keeps the result of every division that is used twice in memory.
    both = 1 / (a * b)
    i, j = both * b, both * a
    i2, j2 = i * i, j * j
    above, below = jnp.zeros_like(i), jnp.ones_like(i)
    for weight, u in BINET[double]:
        root = 1 + u * i2
        own = root * root * (1 + u * j2)
        above = above * own + below * (weight * (1 - u * (2 * both + i2)))
        below = below * own
    return bend + (d * i) * (d * j) * i * (above / below)


def lgamma_bend(a: Array, b: Array, d: Array, t: Array | float = 1.0) -> Array:
    """The bend of log Gamma from a to b = a + t d."""
    return gamma_bend(a, b, d, t) + b * excess(-d / b, t, a / b)


# digamma(x) is its value at x + n less 1/(x + k) for k < n; there, log x - 1/(2 x) and Euler and
# Maclaurin's terms c x^-m, of which the next one is below half an ulp.
_DIGAMMA_SHIFT = (8, 16)
_DIGAMMA_TERMS = ((2, 1 / 12), (4, -1 / 120), (6, 1 / 252), (8, -1 / 240), (10, 1 / 132),
                  (12, -691 / 32760))  # fmt: skip


def digamma_bend(a: Array, b: Array, d: Array, t: Array | float) -> Array:
    """Minus the bend of digamma, which is concave, from a to b = a + t d; 16 ulp."""
    double = num.is_double(a)
    k = jnp.arange(_DIGAMMA_SHIFT[double], dtype=a.dtype).reshape(-1, *(1,) * a.ndim)
    i, j = 1 / (a[None] + k), 1 / (b[None] + k)
    bend = jnp.sum(jnp.square(d[None] * i) * j, axis=0)  # of -1/(x + k)
    a, b = a + _DIGAMMA_SHIFT[double], b + _DIGAMMA_SHIFT[double]
    i, j = 1 / a, 1 / b
    tail = 0.5 * j * i * i
    for m, c in _DIGAMMA_TERMS[: 6 if double else 3]:
        # That of x^-m is d^2 sum over l = 1..m of (m - l + 1) / (a^(m - l + 2) b^l).
        power = sum((m - l + 1) * i ** (m - l + 2) * j**l for l in range(1, m + 1))
        tail = tail + c * power
    return bend + excess(d * i, t, b * i) + d * d * tail


def exp_bend(x: Array) -> Array:
    """exp(x) - 1 - x, at least 0; 4 ulp."""
    near = jnp.abs(x) <= 1
    small, far = jnp.where(near, x, 0), jnp.where(near, 1, x)
    return jnp.where(near, small * small * num.expm1_bend(small), jnp.exp(far) - 1 - far)


def _step_bend(a: Array, b: Array, d: Array, t: Array | float) -> Array:
    """The bend of h for any a, b > 0.

    With z = (a - b) / (b (a + 1)) it is d^2 / (a b (a + 1)) - (b + 1) (z - log(1 + z)) / t^2, and
    where b is far below a, as those terms would cancel, (b + 1) log(1 + z) + (b - a) / a.
    """
    i, j = 1 / (a + 1), 1 / b
    near = -t * (d * i) * j <= 1
    small = jnp.where(near, d, 0)
    slope, ratio = -(small * i) * j, (b + 1) * j * (a * i)
    mild = (small / a) * (small * j) * i - (b + 1) * excess(slope, t, ratio)
    safe_t = jnp.where(near, 1, t)
    # A ratio above 2 is far from 1: its logarithm needs no difference.
    steep = (b + 1) * _log1p(t * slope, ratio) + t * d / a
    return jnp.where(near, mild, steep / (safe_t * safe_t))


@jax.custom_jvp
def products_apart(a: Array, x: Pair, b: Array, y: Pair) -> Array:
    """a x - b y with x and y unevaluated sums of two numbers; 4 ulp of the difference."""
    head = num.add_pairs(num.two_product(a, x[0]), num.negate_pair(num.two_product(b, y[0])))
    return head[0] + (head[1] + (a * x[1] - b * y[1]))


@products_apart.defjvp
def _(primals, tangents):
    a, x, b, y = primals
    a_dot, x_dot, b_dot, y_dot = tangents
    tangent = a_dot * x[0] + a * (x_dot[0] + x_dot[1]) - b_dot * y[0] - b * (y_dot[0] + y_dot[1])
    return products_apart(*primals), tangent


def mixed(rest: Real, a: Array, t: Real, b: Array, b_low: Array | None = None) -> Array:
    """rest a + t b, rounded once; `b_low` is what b lacks of what it stands for."""
    low = jnp.zeros_like(b) if b_low is None else lax.stop_gradient(b_low)
    args = (jnp.asarray(x, b.dtype) for x in (rest, a, t))
    rest, a, t, b, low = jnp.broadcast_arrays(*args, b, low)
    return num.mix_pair(rest, a, t, b, low)


def gap_of_rates(u: Array, alpha: Array, p: Array, q: Array) -> tuple[Array, Array, Array]:
    """How much of a Jensen gap is due to rates 1 and e^u of gamma distributions of shapes p and q.

    With b = 1 - alpha, [log(alpha + b e^u) (alpha p + b q) - b u q] / (alpha b); the sum in the
    logarithm over the larger rate; and where both are right: for |u| > 40, but at the orders 0, 1.
    """
    beta, size = 1 - alpha, jnp.abs(u)
    least, up = jnp.exp(-size), u > 0
    far = (size > 40) & (jnp.minimum(jnp.abs(alpha), jnp.abs(beta)) > least)
    mixed = jnp.where(up, alpha * least + beta, alpha + beta * least)
    fine = far & (mixed > 0)
    mixed = jnp.where(fine, mixed, 1)
    total = jnp.log(mixed) * (alpha * p + beta * q) + jnp.where(up, alpha * p, beta * q) * size
    return jnp.where(fine, total / jnp.where(far, alpha * beta, 1), jnp.inf), mixed, far


def lacking(x: Array, pair: tuple[Array, Array]) -> Array:
    """What a rounded number lacks of a pair."""
    return (pair[0] - lax.stop_gradient(x)) + pair[1]


def quotient(x: Array, y: Array) -> tuple[Array, Array]:
    """x / y as a pair, without derivatives."""
    x, y = lax.stop_gradient((x, y))
    return num.divide_pair(x, jnp.zeros_like(x), y)


@jax.custom_jvp
def power(x: Array, k: Array) -> Array:
    """x^k for x > 0; 3 ulp, where exp(k log x) loses log x^k of them."""
    hi, lo = num.log_pair(x)
    high, low = num.two_product(k, hi)
    return num.exp_pair(high, low + k * lo)


@power.defjvp
def _(primals, tangents):
    x, k = primals
    x_dot, k_dot = tangents
    value = power(x, k)
    return value, value * (k / x * x_dot + jnp.log(x) * k_dot)


def inverse_unit(x: Array) -> Array:
    """A constant power of two near 1/x, x > 0, by which multiplying is exact."""
    x = lax.stop_gradient(x)
    if num.is_double(x):
        bits = np.int64(2046 << 52) - (
            lax.bitcast_convert_type(x, jnp.int64) & np.int64(0x7FF << 52)
        )
    else:
        bits = np.int32(254 << 23) - (lax.bitcast_convert_type(x, jnp.int32) & np.int32(0xFF << 23))
    return lax.bitcast_convert_type(bits, x.dtype)


def shares(log_p: Array, in_q: Array, log_q: Array, in_p: Array, alpha: Array) -> Array:
    """log_p / (1 - alpha) + log_q / alpha, +inf where a mass outside the other's support counts.

    log_p is what p loses on q's support, 0 if it lies in it.
    """

    def share(log: Array, inside: Array, weight: Array) -> Array:
        fine = weight > 0
        return jnp.where(inside, 0, jnp.where(fine, log / jnp.where(fine, weight, 1), jnp.inf))

    return share(log_p, in_q, 1 - alpha) + share(log_q, in_p, alpha)
