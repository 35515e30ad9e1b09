"""log of the normalising constant of exp(<theta, x>) on a sphere, as a function of r = |theta|.

Its mean over the unit sphere in n dimensions is Gamma(v + 1) (2/r)^v I_v(r), v = n/2 - 1, the
exponential of F(r). F is convex and even, F' = I_(v+1) / I_v. With a = v + 1/2, b = v + 3/2 and
z = sqrt(r^2 + b^2)

    F(r) = G(r) + E(c/sqrt(r^2 + c^2)),    G(r) = z - b - a log((a + z)/(a + b)),

where G' = r/(a + z) is Amos's bound of F', right to first order at 0 and at infinity, so that E is
small and smooth on (0, 1]: a Chebyshev series. n is known where a function is traced; there the
series is computed, with more digits than any array has. No Bessel function is ever evaluated, and
differences of F are taken term by term.

Reference: Amos, Computation of Modified Bessel Functions and Their Ratios, 1974.
"""

import functools
import math
from decimal import Decimal, localcontext
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .bends import excess
from .expectations import Real

_DIGITS = 40
_NODES = 64
_TAIL = (1e-10, 1e-19)  # of the series, float32 and float64
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


class Constants(NamedTuple):
    """What n fixes."""

    a: float
    b: float
    c: float
    series: tuple[float, ...]  # Chebyshev coefficients of E in x = 2 y - 1


def _cosine(x: Decimal) -> Decimal:
    """cos x for 0 <= x <= 1."""
    total, term, k = Decimal(1), Decimal(1), 0
    while abs(term) > Decimal(10) ** -(_DIGITS + 5):
        k += 2
        term *= -x * x / (k * (k - 1))
        total += term
    return total


def _bessel_ratio(order: Decimal, r: Decimal) -> Decimal:
    """I_(order+1)(r) / I_order(r), by its continued fraction from Amos's bound on."""
    # Each step multiplies the error by the square of the ratio, about exp(-2 asinh((order + k)/r)).
    steps, gained = 0, 0.0
    while gained < 2.4 * _DIGITS:
        gained += 2 * math.asinh((float(order) + steps) / float(r))
        steps += 1
    last = order + steps
    half, square = Decimal("0.5"), r * r
    ratio = r / (last + half + (square + (last + 3 * half) ** 2).sqrt())
    for _ in range(steps):
        ratio = r / (2 * last + r * ratio)
        last -= 1
    return ratio


@functools.cache
def _series(n: int) -> tuple[float, ...]:
    with localcontext() as context:
        context.prec = _DIGITS
        order = Decimal(n) / 2 - 1
        a, b, c = order + Decimal("0.5"), order + Decimal("1.5"), order + 3
        first = _cosine(_PI / (2 * _NODES))
        cosines = [Decimal(1), first]  # of multiples of pi / (2 nodes)
        while len(cosines) <= 4 * _NODES:
            cosines.append(2 * first * cosines[-1] - cosines[-2])

        def slope(y: Decimal) -> Decimal:  # dE/dy
            z = c / y
            r = (z * z - c * c).sqrt()
            gap = _bessel_ratio(order, r) - r / (a + (r * r + b * b).sqrt())
            return -gap * z**3 / (c * r)

        values = [slope((1 + cosines[2 * j + 1]) / 2) for j in range(_NODES)]
        slopes = [
            2 * sum((x * cosines[k * (2 * j + 1) % (4 * _NODES)] for j, x in enumerate(values)),
                    start=Decimal(0)) / _NODES / 2  # dy/dx
            for k in range(_NODES)
        ] + [Decimal(0)] * 2  # fmt: skip
        whole = [(slopes[k - 1] - slopes[k + 1]) / (2 * k) for k in range(1, _NODES)]
        return tuple(map(float, [-sum(whole), *whole]))  # E = 0 where r = 0


@functools.cache
def constants(n: int, double: bool) -> Constants:
    """Those of n dimensions, the series as long as a dtype needs."""
    series, order = _series(n), n / 2 - 1
    length = max(k for k, x in enumerate(series) if abs(x) > _TAIL[double] or k < 2) + 1
    return Constants(order + 0.5, order + 1.5, order + 3, series[:length])


class _Point(NamedTuple):
    r: Array
    z: Array
    w: Array  # sqrt(r^2 + c^2)
    x: Array  # of the series


def _length(r: Array, side: float) -> Array:
    far = r > side * 2.0 ** (32 if num.is_double(r) else 16)
    return jnp.where(far, r, jnp.sqrt(jnp.square(jnp.where(far, 0, r)) + side * side))


def _point(r: Array, k: Constants) -> _Point:
    w = _length(r, k.c)
    return _Point(r, _length(r, k.b), w, 2 * (k.c / w) - 1)


def _error(x: Array, k: Constants) -> tuple[Array, Array]:
    """E and its derivative by y."""
    before, now = jnp.ones_like(x), x
    slope_before, slope_now = jnp.zeros_like(x), jnp.ones_like(x)
    value, slope = k.series[0] + k.series[1] * x, k.series[1] * slope_now
    for coefficient in k.series[2:]:
        slope_before, slope_now = slope_now, 2 * (x * slope_now + now) - slope_before
        before, now = now, 2 * x * now - before
        value, slope = value + coefficient * now, slope + coefficient * slope_now
    return value, 2 * slope


def _error_bend(x: Array, y: Array, k: Constants) -> Array:
    """The bend of E, as a function of y, per squared difference of y."""
    before, now = jnp.ones_like(y), y
    d_before, d_now = jnp.zeros_like(x), jnp.ones_like(x)
    b_before, b_now = jnp.zeros_like(x), jnp.zeros_like(x)
    value = b_now
    for coefficient in k.series[2:]:
        # Of T_(k+1)(x) = 2 x T_k(x) - T_(k-1)(x), divided differences once and twice.
        b_before, b_now = b_now, 2 * (x * b_now + d_now) - b_before
        d_before, d_now = d_now, 2 * (x * d_now + now) - d_before
        before, now = now, 2 * y * now - before
        value = value + coefficient * b_now
    return 4 * value


def _ratio(p: _Point, slope: Array, k: Constants) -> Array:
    return p.r * (1 / (k.a + p.z) - slope * (k.c / p.w) / p.w / p.w)


def ratio(r: Array, n: int) -> Array:
    """F'(r), the length of the mean of x, in [0, 1)."""
    k = constants(n, num.is_double(r))
    p = _point(r, k)
    return _ratio(p, _error(p.x, k)[1], k)


def _logarithm(p: _Point, k: Constants) -> tuple[Array, Array]:
    """z - b and a log((a + z)/(a + b))."""
    longer = p.r * (p.r / (p.z + k.b))
    return longer, k.a * num.log1p(longer / (k.a + k.b))


def less_tail(r: Array, n: int) -> Array:
    """F(r) - r."""
    k = constants(n, num.is_double(r))
    p = _point(r, k)
    return (k.b / (p.z + r)) * k.b - k.b - _logarithm(p, k)[1] + _error(p.x, k)[0]


def log_mean(r: Array, n: int) -> Array:
    """F(r)."""
    k = constants(n, num.is_double(r))
    p = _point(r, k)
    longer, log = _logarithm(p, k)
    return longer - log + _error(p.x, k)[0]


def less_slope(r: Array, n: int) -> Array:
    """F(r) - r F'(r), at most 0: the entropy, less the uniform distribution's."""
    k = constants(n, num.is_double(r))
    p = _point(r, k)
    value, slope = _error(p.x, k)
    longer, log = _logarithm(p, k)
    rise = slope * (k.c / p.w) * jnp.square(r / p.w)
    return (value + rise) - (longer / (k.a + p.z) + log)


def radial_bend(r: Array, s: Array, step: Array, t: Real, n: int) -> tuple[Array, Array]:
    """[F(s) - F(r) - F'(r) (s - r)] / t^2 with s - r = t * step, and F'(r)."""
    k = constants(n, num.is_double(r))
    p, q = _point(r, k), _point(s, k)
    whole = k.a + p.z
    # G: the bend of z, b^2 (s - r)^2 / (z_p (z_p z_q + b^2 + r s)), and that of -log(a + z).
    grown = step * ((r + s) / (p.z + q.z))
    beyond = k.b * step / whole * (k.b * step / q.z)
    value = beyond / (p.z + (k.b * k.b / q.z + r * (s / q.z)))
    value = value + k.a * excess(grown / whole, t, (k.a + q.z) / whole)
    # E, with the bend of y = c / w.
    moved = (r + s) / (p.w + q.w) * (step / p.w)
    curve = (k.c / p.w) * (step / p.w) * (step / q.w) * (k.c / q.w)
    curve = curve / (p.w + (k.c * k.c / q.w + r * (s / q.w)))
    bent = (k.c / q.w) * (r / p.w) * (step / p.w) * moved - curve * k.c
    slope = _error(p.x, k)[1]
    value = value + slope * bent + jnp.square(moved * (k.c / q.w)) * _error_bend(p.x, q.x, k)
    return value, _ratio(p, slope, k)
