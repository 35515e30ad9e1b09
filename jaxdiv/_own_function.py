"""The f-divergence of a function of the user's own, written as they please.

Near t = 1 the summand is an integral of f'', which keeps the digits that f loses; elsewhere f is
evaluated at p/q. What f does at 0, at 1, at infinity and at the ends of the dtype's range is found
by probing, once for every function.
"""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import _numerics as num
from ._divergence import Claims, Homogeneous, Limit, Scalar, concrete, declare
from ._pytree import static

if TYPE_CHECKING:
    from .rows.pair import Pair

_INF = float("inf")
Function = Callable[[Array], Array]


class _End(NamedTuple):
    """f at the last power of two at which it can be evaluated, towards 0 or infinity.

    `value` is h, f(t) towards 0 and f(t)/t towards infinity, `change` its derivative by log t;
    `whole` says that it was t, and not f(t), that left the range.
    """

    value: Array
    change: Array
    log_t: Array
    whole: Array


class _Points(NamedTuple):
    """Where f is looked at: 1, towards both ends, and powers of two whose f may overflow."""

    one: Array
    zero: Array
    middle: Array
    far: Array
    down: Array
    up: Array


def _points(dtype: Any) -> _Points:
    tiny = float(jnp.finfo(dtype).tiny)
    powers = 2.0 ** _exponents(dtype)
    numbers = ([1.0], [0.0, tiny, tiny**0.5], [2.0**10, 2.0**20], [2.0**60, 2.0**120])
    points: list[Any] = [np.asarray(x, dtype) for x in (*numbers, 1 / powers, powers)]
    return _Points(*points)


def _exponents(dtype: Any) -> np.ndarray:
    reach = 1000 if dtype == jnp.float64 else 120
    return np.arange(reach, 0, -reach // 24, dtype=np.float64)


class _Probed(NamedTuple):
    f_one: Array
    slope_one: Array
    at_zero: Limit
    at_infinity: Limit
    near: _End
    far: _End


@functools.lru_cache(maxsize=256)
def _probed(f: Function, at_zero: float | None, slope: float | None, dtype: Any) -> _Probed | None:
    """Numbers, or None for a function of traced values, of which nothing is known yet."""
    if num.captures(f):
        return None
    # Arguments of a compiled function: constants of it would be folded at some length.
    return num.computed(functools.partial(_probe, f, at_zero, slope), _points(dtype))


def _probe(f: Function, at_zero: float | None, slope: float | None, points: _Points) -> _Probed:
    values, slopes = num.derivative(f, 0), num.derivative(f, 1)
    f_one, slope_one = values(points.one)[0], slopes(points.one)[0]
    zero, infinity = _limits(values, slopes, f_one, slope_one, at_zero, slope, points)
    exponents = _exponents(points.one.dtype)

    def end(sign: int) -> _End:
        t = points.up if sign > 0 else points.down
        value = values(t) - f_one - slope_one * (t - 1)
        rise = slopes(t) - slope_one
        value, change = (value / t, rise - value / t) if sign > 0 else (value, t * rise)
        last = jnp.argmax(jnp.isfinite(value) & jnp.isfinite(change))
        log_t = jnp.asarray(sign * exponents * math.log(2), t.dtype)[last]
        return _End(value[last], change[last], log_t, last == 0)

    return _Probed(f_one, slope_one, zero, infinity, end(-1), end(1))


def _limits(f, first, f_one, slope_one, at_zero, slope, points: _Points) -> tuple[Limit, Limit]:
    _, ends, mid, far, *_ = points
    dtype = ends.dtype
    values, slopes = f(ends), first(ends)
    if at_zero is None:
        zero = jnp.where(jnp.isnan(values[0]), num.settles(values[2], values[1], _INF), values[0])
    else:
        zero = jnp.asarray(at_zero, dtype)
    near = Limit(
        zero - f_one + slope_one,
        jnp.where(jnp.isfinite(slopes[0]), slopes[0] - slope_one, -_INF),
        jnp.where(
            jnp.isfinite(zero),
            0.0,
            num.settles(slopes[2] * ends[2], slopes[1] * ends[1], -_INF),
        ),
    )
    slopes = first(far)
    if slope is None:
        slope = num.settles(slopes[0], slopes[1], _INF)
    else:
        slope = jnp.asarray(slope, dtype)
    # The reversed generator's slope at 0 is lim f(t) - t f'(t); f(1) - f'(1) normalises it.
    intercepts = f(mid) - mid * first(mid)
    growth = f(far) / far - slopes
    return near, Limit(
        slope - slope_one,
        jnp.where(
            jnp.isfinite(slope),
            num.settles(intercepts[0], intercepts[1], -_INF) - f_one + slope_one,
            -_INF,
        ),
        jnp.where(jnp.isfinite(slope), 0.0, num.settles(growth[0], growth[1], -_INF)),
    )


@declare
class FDivergence(Homogeneous):
    """The f-divergence of a user's convex function f, normalised to f(1) = f'(1) = 0.

    f maps a scalar to a scalar, for t > 0, and is written in jax.numpy. Its limits at 0 and
    infinity are found by probing; where they are approached slowly (a slope that tends to its
    limit like a logarithm, or t to a small power) state them: `at_zero` is f(0) and `slope` the
    limit of f(t)/t, both of f as given. f is evaluated at p/q. Where p/q or f(p/q) is beyond the
    dtype's range f is continued: as a power of t, or linearly in log t (f(t)/t for large t).
    """

    f: Function = static()
    at_zero: float | None = static(default=None)
    slope: float | None = static(default=None)
    formula: ClassVar[str] = "sum q f(p/q), f(1) = f'(1) = 0"

    def check(self) -> None:
        if not callable(self.f):
            raise TypeError(f"f must be a function of a scalar, but is {self.f!r}")
        slope = self._known(jnp.result_type(float)).slope_one
        if concrete(slope) and not math.isfinite(slope):
            raise ValueError(f"f must be differentiable at 1, but f'(1) is {float(slope)}")

    def _known(self, dtype: Any) -> _Probed:
        key = (self.f, self.at_zero, self.slope, jnp.dtype(dtype))
        return _probed(*key) or _probe(*key[:-1], _points(key[-1]))

    def captures(self) -> bool:
        return num.captures(self.f)

    def steepness(self) -> Scalar:
        return _INF

    def generator(self, t: Array) -> Array:
        f, first = num.derivative(self.f, 0), num.derivative(self.f, 1)
        one = jnp.ones_like(t)
        return f(t) - f(one) - first(one) * (t - 1)

    def summand(self, p: Array, q: Array) -> Array:
        return q * self.generator(p / q)

    def _parts(self, pair: "Pair"):
        dtype = pair.p.dtype
        f, first, second = (num.derivative(self.f, order) for order in range(3))
        f_one, slope_one, *_ = self._known(dtype)
        inside = jnp.abs(pair.log_ratio) <= 1
        normal = inside & (pair.q >= jnp.finfo(dtype).tiny)
        x = jnp.where(
            normal,
            num.divide(pair.difference, jnp.where(normal, pair.q, 1)),
            num.expm1(jnp.where(inside, pair.log_ratio, 0)),
        )
        small = jnp.where(inside, x, 0)
        # 1 + x would lose the digits of a small t.
        extreme = jnp.log(jnp.finfo(dtype).max) - 1
        far = jnp.clip(jnp.where(inside, 0, pair.log_ratio), -extreme, extreme)
        t = jnp.where(inside, 1 + small, num.exp_pair(far, pair.log_ratio_low))
        points, u, w = num.along(jnp.ones_like(small), small)
        curvature = w * second(points)
        rise = first(t) - slope_one
        # The remainder formula needs a smooth f. Where f' jumps between 1 and t, f'(t) - f'(1)
        # is not the integral of f'', and the direct form is right.
        near = inside & num.same_rise(
            rise, small, curvature, jnp.abs(first(t)) + jnp.abs(slope_one)
        )
        # t is 1 + x rounded; the rest of x is carried by the slope.
        lost = jnp.where(inside, rise * (small - (t - 1)), 0)
        direct = f(t) - f_one - slope_one * (t - 1) + lost
        beyond = (far != pair.log_ratio) | ~jnp.isfinite(direct) | ~jnp.isfinite(rise)
        return near, small, points, u, curvature, rise, direct, t, beyond & ~inside

    def _outside(self, pair: "Pair", rise: Array, direct: Array, t: Array, beyond: Array):
        """(term, p d_p, q d_q) away from t = 1, from h and its derivative by log t.

        For t > 1 the term is p h with h = f(t)/t, since q may have underflowed; for t < 1 it is
        q h with h = f(t).
        """
        above = pair.log_ratio > 0
        safe = jnp.where(above, t, 1)
        h = direct / safe
        slope = jnp.where(above, rise - h, t * rise)
        h, slope, exponent = self._beyond(pair.log_ratio, h, slope, beyond)
        mass = jnp.where(above, pair.p, pair.q)
        log_mass = jnp.where(above, pair.log_p, pair.log_q)
        log_mass_low = jnp.where(above, pair.log_p_low, pair.log_q_low)
        log_mass = num.add_pairs((log_mass, log_mass_low), (exponent, jnp.zeros_like(exponent)))
        # A mass that underflowed, times a large h, need not be 0.
        ordinary = (exponent == 0) & (mass >= jnp.finfo(mass.dtype).tiny)
        size = jnp.where(ordinary, 1, jnp.maximum(jnp.abs(h), jnp.abs(slope)))
        size = jnp.where(size > 0, size, 1)
        log_size = num.log_pair(jax.lax.stop_gradient(size))
        factor = jnp.where(ordinary, mass, num.exp_pair(*num.add_pairs(log_mass, log_size)))
        size = jax.lax.stop_gradient(size)
        h, slope = factor * (h / size), factor * (slope / size)
        return (
            jnp.maximum(h, 0),
            jnp.where(above, h + slope, slope),
            jnp.where(above, -slope, h - slope),
        )

    def _beyond(self, log_t: Array, h: Array, slope: Array, beyond: Array):
        """h, dh/dlog t and an exponent: h e^exponent continues h where f cannot be evaluated.

        Where t overflows before f(t) does, h grows no faster than log t and is continued
        linearly in it, exactly for t log t and -log t. Where f(t) overflows, as a power of t.
        """
        known = self._known(log_t.dtype)
        value, change, log_last, whole = (
            jnp.where(log_t > 0, a, b) for a, b in zip(known.far, known.near, strict=True)
        )
        along = jnp.where(beyond, log_t - log_last, 0)
        power = jnp.where(value > 0, change / jnp.where(value > 0, value, 1), 0)
        # f(0) and lim f(t)/t bound h.
        limit = jnp.where(log_t > 0, known.at_infinity.value, known.at_zero.value)
        continued = jnp.where(whole, value + change * along, value)
        return (
            jnp.where(beyond, jnp.minimum(continued, limit), h),
            jnp.where(beyond, jnp.where(continued < limit, change, 0), slope),
            jnp.where(beyond & ~whole, power * along, 0),
        )

    def term(self, pair: "Pair") -> Array:
        near, small, _, u, curvature, rise, direct, t, beyond = self._parts(pair)
        outside, _, _ = self._outside(pair, rise, direct, t, beyond)
        remainder = pair.q * small * small * jnp.sum((1 - u) * curvature, 0)
        return jnp.where(near, remainder, outside)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        near, small, points, _, curvature, rise, direct, t, beyond = self._parts(pair)
        _, by_p, by_q = self._outside(pair, rise, direct, t, beyond)
        return (
            jnp.where(near, pair.p * small * jnp.sum(curvature, 0), by_p),
            jnp.where(near, -pair.q * small * jnp.sum(points * curvature, 0), by_q),
        )

    def limits(self) -> tuple[Limit, Limit]:
        known = self._known(jnp.result_type(float))
        return known.at_zero, known.at_infinity

    def claims(self) -> Claims:
        return self.stated()
