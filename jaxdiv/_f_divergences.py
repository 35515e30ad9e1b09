"""f-divergences: D = sum q f(p/q), f convex with f(1) = f'(1) = 0.

On rows that do not sum to one the value is the generalised divergence of the stored numbers;
every summand is at least 0 all the same.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import _numerics as num
from ._divergence import (
    STEEP,
    Claims,
    Homogeneous,
    Limit,
    Scalar,
    check_scalar,
    concrete,
    declare,
    static,
)

if TYPE_CHECKING:
    from .rows.pair import Pair

_INF = float("inf")


def _positive(x: Array) -> Array:
    """A divisor: the masses that underflowed are divided by 1 instead of 0."""
    return jnp.where(x > 0, x, 1)


def _product(mass: Array, x: Array) -> Array:
    """mass * x, 0 for a mass that underflowed, though x may have overflowed."""
    return jnp.where(mass > 0, mass * jnp.where(mass > 0, x, 0), 0)


def _kl_term(p: Array, q: Array, difference: Array, log_ratio: Array) -> Array:
    """p log(p/q) - p + q = p (x - log(1 + x)) with x = (q - p)/p."""
    x = -difference / _positive(p)
    near = (x >= -0.5) & (x <= 1) & (p > 0)
    return jnp.where(
        near, p * num.log1p_remainder(jnp.where(near, x, 0)), p * log_ratio - difference
    )


@declare
class KL(Homogeneous):
    """Kullback-Leibler divergence: the extra nats that p costs when it is coded as if it were q."""

    formula: ClassVar[str] = "sum p log(p/q) - p + q"
    logarithmic: ClassVar[bool] = True

    def term(self, pair: "Pair") -> Array:
        return _kl_term(pair.p, pair.q, pair.difference, pair.log_ratio)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        return pair.p * pair.log_ratio, -pair.difference

    def limits(self) -> tuple[Limit, Limit]:
        # t f(1/t) = t - 1 - log t, whose log-derivative t - 1 tends to -1.
        return Limit(1.0, -_INF, 0.0), Limit(_INF, -_INF, -1.0)

    def claims(self) -> Claims:
        return Claims(True, True, True, False, True, False, "no", _INF, 1.0)


@declare
class SkewKL(Homogeneous):
    """KL from p to the mixture m = skew p + (1 - skew) q: bounded by -log(skew)."""

    skew: Scalar
    formula: ClassVar[str] = "KL(p || skew p + (1 - skew) q)"
    logarithmic: ClassVar[bool] = True

    def check(self) -> None:
        check_scalar("skew", self.skew, "0 <= skew < 1", lambda s: 0 <= s < 1)

    def valid(self) -> Array | bool:
        return (jnp.asarray(self.skew) >= 0) & (jnp.asarray(self.skew) < 1)

    def _mixture(self, pair: "Pair") -> tuple[Array, Array, Array]:
        """m, p - m and log(p/m)."""
        mixture = self.skew * pair.p + (1 - self.skew) * pair.q
        difference = (1 - self.skew) * pair.difference
        return mixture, difference, num.log_ratio(pair.p, mixture, difference)[0]

    def term(self, pair: "Pair") -> Array:
        return _kl_term(pair.p, *self._mixture(pair))

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        # d_p = log(p/m) - skew y and d_q = -(1 - skew) y with y = (p - m)/m. Near p = q the two
        # terms of d_p cancel as skew -> 1: log(p/m) = y - (y - log(1 + y)) keeps what is left.
        mixture, difference, log_ratio = self._mixture(pair)
        y = difference / _positive(mixture)
        near = jnp.abs(y) <= 0.5
        small = jnp.where(near, y, 0)
        by_p = jnp.where(
            near,
            (1 - self.skew) * small - num.log1p_remainder(small),
            log_ratio - self.skew * y,
        )
        return pair.p * by_p, -(1 - self.skew) * pair.q * y

    def limits(self) -> tuple[Limit, Limit]:
        skew = jnp.asarray(self.skew)
        positive = skew > 0
        safe = jnp.where(positive, skew, 1)
        return Limit(1 - skew, -_INF, 0.0), Limit(
            jnp.where(positive, -jnp.log(safe) - (1 - skew), _INF),
            jnp.where(positive, (1 - skew) * (1 - 1 / safe), -_INF),
            jnp.where(positive, 0.0, -1.0),
        )

    def claims(self) -> Claims:
        skew = float(self.skew)
        bound = _INF if skew == 0 else self.upper_bound()
        return Claims(True, True, True, False, skew == 0, False, "no", bound, (1 - skew) ** 2)


@declare
class JensenShannon(Homogeneous):
    """Jensen-Shannon divergence: how much of a mixture's entropy is due to the mixing."""

    weight: Scalar = 0.5
    formula: ClassVar[str] = (
        "weight KL(p || m) + (1 - weight) KL(q || m), m = weight p + (1 - weight) q"
    )
    logarithmic: ClassVar[bool] = True

    def check(self) -> None:
        check_scalar("weight", self.weight, "0 < weight < 1", lambda w: 0 < w < 1)

    def valid(self) -> Array | bool:
        return (jnp.asarray(self.weight) > 0) & (jnp.asarray(self.weight) < 1)

    def _mixture(self, pair: "Pair") -> tuple[Array, Array, Array, Array, Array]:
        w, p, q = self.weight, pair.p, pair.q
        mixture = w * p + (1 - w) * q
        from_p, from_q = (1 - w) * pair.difference, -w * pair.difference
        ratio_p = num.log_ratio(p, mixture, from_p)[0]
        ratio_q = num.log_ratio(q, mixture, from_q)[0]
        return mixture, from_p, from_q, ratio_p, ratio_q

    def term(self, pair: "Pair") -> Array:
        mixture, from_p, from_q, ratio_p, ratio_q = self._mixture(pair)
        return self.weight * _kl_term(pair.p, mixture, from_p, ratio_p) + (
            1 - self.weight
        ) * _kl_term(pair.q, mixture, from_q, ratio_q)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        _, _, _, ratio_p, ratio_q = self._mixture(pair)
        return self.weight * (pair.p * ratio_p), (1 - self.weight) * (pair.q * ratio_q)

    def limits(self) -> tuple[Limit, Limit]:
        w = jnp.asarray(self.weight)
        return Limit((1 - w) * -jnp.log1p(-w), -_INF, 0.0), Limit(-w * jnp.log(w), -_INF, 0.0)

    def claims(self) -> Claims:
        w = float(self.weight)
        half = w == 0.5
        return Claims(
            True, True, True, False, False, half, "root" if half else "no",
            self.upper_bound(), w * (1 - w),
        )  # fmt: skip


@declare
class TotalVariation(Homogeneous):
    """Total variation: the largest difference in probability that any event can have."""

    formula: ClassVar[str] = "sum |p - q| / 2"

    def term(self, pair: "Pair") -> Array:
        return 0.5 * jnp.abs(pair.difference)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        sign = 0.5 * jnp.sign(pair.difference)
        return sign * pair.p, -sign * pair.q

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(0.5, -0.5, 0.0), Limit(0.5, -0.5, 0.0)

    def claims(self) -> Claims:
        return Claims(True, True, True, False, False, True, "yes", 1.0, None, smooth=False)


@declare
class SquaredHellinger(Homogeneous):
    """Squared Hellinger distance, 1 - sum sqrt(p q) for distributions."""

    formula: ClassVar[str] = "sum (sqrt p - sqrt q)^2 / 2"

    def _roots(self, pair: "Pair") -> tuple[Array, Array, Array]:
        def root(mass: Array, log_mass: Array) -> Array:
            # The square root of a mass that underflowed need not underflow.
            normal = mass >= jnp.finfo(mass.dtype).tiny
            safe = num.safe_sqrt(jnp.where(normal, mass, 0))
            return jnp.where(normal, safe, jnp.exp(0.5 * jnp.where(normal, 0, log_mass)))

        root_p, root_q = root(pair.p, pair.log_p), root(pair.q, pair.log_q)
        return root_p, root_q, pair.difference / _positive(root_p + root_q)

    def term(self, pair: "Pair") -> Array:
        _, _, difference = self._roots(pair)
        return 0.5 * difference * difference

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        root_p, root_q, difference = self._roots(pair)
        return 0.5 * root_p * difference, -0.5 * root_q * difference

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(0.5, -_INF, 0.0), Limit(0.5, -_INF, 0.0)

    def claims(self) -> Claims:
        return Claims(True, True, True, False, False, True, "root", 1.0, 0.25)


@declare
class Chi2(Homogeneous):
    """Pearson's chi-squared divergence."""

    formula: ClassVar[str] = "sum (p - q)^2 / q"

    def _square_over_q(self, pair: "Pair") -> tuple[Array, Array]:
        """Whether q is a normal number, and (p - q)/q where it is."""
        normal = pair.q >= jnp.finfo(pair.q.dtype).tiny
        return normal, jnp.where(normal, pair.difference / jnp.where(normal, pair.q, 1), 0)

    def term(self, pair: "Pair") -> Array:
        normal, x = self._square_over_q(pair)
        return jnp.where(normal, pair.difference * x, pair.affinity(2) - 2 * pair.p + pair.q)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        normal, x = self._square_over_q(pair)
        square = pair.affinity(2)  # p^2/q, only where q has underflowed
        # p + q as 2 q + (p - q): JAX 0.10.2 on a CPU once compiled (p + q) x to half of it.
        return (
            2 * jnp.where(normal, pair.p * x, square - pair.p),
            -jnp.where(normal, (2 * pair.q + pair.difference) * x, square - pair.q),
        )

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(1.0, -2.0, 0.0), STEEP

    def claims(self) -> Claims:
        return Claims(True, True, True, False, True, False, "no", _INF, 2.0)


@declare
class LeCam(Homogeneous):
    """Le Cam's divergence, also triangular discrimination."""

    formula: ClassVar[str] = "sum (p - q)^2 / (p + q)"

    def term(self, pair: "Pair") -> Array:
        return pair.difference * (pair.difference / _positive(pair.p + pair.q))

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        p, q = pair.p, pair.q
        total = _positive(p + q)
        s = pair.difference / total
        return p * s * ((p + 3 * q) / total), -q * s * ((q + 3 * p) / total)

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(1.0, -3.0, 0.0), Limit(1.0, -3.0, 0.0)

    def claims(self) -> Claims:
        return Claims(True, True, True, False, False, True, "root", 2.0, 1.0)


@declare
class Alpha(Homogeneous):
    """The alpha-divergence of Cressie and Read, f''(1) = 1 for every alpha.

    alpha = 1 is KL, 0 reverse KL, 2 half of Pearson's chi-squared, 1/2 four times the squared
    Hellinger distance.
    """

    alpha: Scalar
    formula: ClassVar[str] = "sum (p^alpha q^(1-alpha) - alpha p - (1-alpha) q) / (alpha (alpha-1))"

    def check(self) -> None:
        check_scalar("alpha", self.alpha, "a finite number", lambda a: abs(a) < _INF)

    def valid(self) -> Array | bool:
        return jnp.isfinite(jnp.asarray(self.alpha))

    def term(self, pair: "Pair") -> Array:
        # Near p = q: q l^2 exp[0, alpha l, l], a divided difference, l = log(p/q). Far from it
        # (p d_p - (p - q)) / alpha or, below 1/2, the mirror image: neither divides by zero.
        alpha, q, ratio = jnp.asarray(self.alpha), pair.q, pair.log_ratio
        reach = jnp.abs(ratio) * jnp.maximum(1, jnp.maximum(jnp.abs(alpha), jnp.abs(1 - alpha)))
        near = reach <= 1
        small = jnp.where(near, ratio, 0)
        series = q * small * small * num.exp_second_difference(alpha * small, small)
        by_p, by_q = self.weighted(pair)
        above = alpha >= 0.5
        far = jnp.where(above, by_p - pair.difference, by_q + pair.difference) / jnp.where(
            above, alpha, 1 - alpha
        )
        return jnp.where(near, series, far)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        # d_p = (t^(alpha-1) - 1)/(alpha-1), d_q = -(t^alpha - 1)/alpha, t = p/q.
        alpha, ratio = jnp.asarray(self.alpha), pair.log_ratio
        whole = pair.affinity(alpha)

        def weighted(mass: Array, power: Array) -> Array:
            far = jnp.abs(power * ratio) > 1
            small = jnp.where(far, 0, power * ratio)
            divisor = jnp.where(far, power, 1)
            return jnp.where(far, (whole - mass) / divisor, mass * ratio * num.expm1_over(small))

        return weighted(pair.p, alpha - 1), -weighted(pair.q, alpha)

    def limits(self) -> tuple[Limit, Limit]:
        alpha = jnp.asarray(self.alpha)

        def at_zero(alpha: Array) -> Limit:
            positive, above = alpha > 0, alpha > 1
            return Limit(
                jnp.where(positive, 1 / jnp.where(positive, alpha, 1), _INF),
                jnp.where(above, -1 / jnp.where(above, alpha - 1, 1), -_INF),
                jnp.where(positive, 0.0, jnp.where(alpha == 0, -1.0, -_INF)),
            )

        return at_zero(alpha), at_zero(1 - alpha)

    def claims(self) -> Claims:
        a = float(self.alpha)
        bound = 1 / (a * (1 - a)) if 0 < a < 1 else _INF
        half = a == 0.5
        return Claims(True, True, True, a <= 0, a >= 1, half, "root" if half else "no", bound, 1.0)


@declare
class FDivergence(Homogeneous):
    """The f-divergence of a user's convex function f, normalised to f(1) = f'(1) = 0.

    f maps a scalar to a scalar, for t > 0, and is written in jax.numpy. Its limits at 0 and
    infinity are found by probing; where they are approached slowly (a slope that tends to its
    limit like a logarithm, or t to a small power) state them: `at_zero` is f(0) and `slope` the
    limit of f(t)/t, both of f as given. f is evaluated at p/q. Where p/q or f(p/q) is beyond the
    dtype's range f is continued: as a power of t, or linearly in log t (f(t)/t for large t).
    """

    f: Callable[[Array], Array] = static()
    at_zero: float | None = static(default=None)
    slope: float | None = static(default=None)
    formula: ClassVar[str] = "sum q f(p/q), f(1) = f'(1) = 0"

    def check(self) -> None:
        if not callable(self.f):
            raise TypeError(f"f must be a function of a scalar, but is {self.f!r}")
        if concrete(ends := self._at_one(jnp.float32)[1]) and not bool(jnp.isfinite(ends)):
            raise ValueError(f"f must be differentiable at 1, but f'(1) is {float(ends)}")

    def _at_one(self, dtype) -> tuple[Array, Array]:
        one = jnp.ones((1,), dtype)
        return num.derivative(self.f, 0)(one)[0], num.derivative(self.f, 1)(one)[0]

    def _parts(self, pair: "Pair"):
        dtype = pair.p.dtype
        f, first, second = (num.derivative(self.f, order) for order in range(3))
        f_one, slope_one = self._at_one(dtype)
        inside = jnp.abs(pair.log_ratio) <= 1
        x = jnp.where(
            pair.q >= jnp.finfo(dtype).tiny,
            pair.difference / jnp.where(inside, _positive(pair.q), 1),
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
        log_mass = num.add_pairs(
            tuple(
                jnp.where(above, a, b)
                for a, b in ((pair.log_p, pair.log_q), (pair.log_p_low, pair.log_q_low))
            ),
            (exponent, jnp.zeros_like(exponent)),
        )
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
        dtype = log_t.dtype
        f, first = num.derivative(self.f, 0), num.derivative(self.f, 1)
        f_one, slope_one = self._at_one(dtype)
        reach = 1000 if num.is_double(log_t) else 120
        exponents = np.arange(reach, 0, -reach // 24, dtype=np.float64)

        def end(sign: int):
            t = jnp.asarray(2.0 ** (sign * exponents), dtype)
            value = f(t) - f_one - slope_one * (t - 1)
            rise = first(t) - slope_one
            value, change = (value / t, rise - value / t) if sign > 0 else (value, t * rise)
            last = jnp.argmax(jnp.isfinite(value) & jnp.isfinite(change))
            log_last = jnp.asarray(sign * exponents * math.log(2), dtype)[last]
            return value[last], change[last], log_last, last == 0

        value, change, log_last, whole = (
            jnp.where(log_t > 0, a, b) for a, b in zip(end(1), end(-1), strict=True)
        )
        along = jnp.where(beyond, log_t - log_last, 0)
        power = jnp.where(value > 0, change / jnp.where(value > 0, value, 1), 0)
        # f(0) and lim f(t)/t bound h.
        limit = jnp.where(log_t > 0, *(jnp.asarray(x.value, dtype) for x in self.limits()[::-1]))
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
        f, first = num.derivative(self.f, 0), num.derivative(self.f, 1)
        dtype = jnp.result_type(float)
        f_one, slope_one = self._at_one(dtype)
        tiny = float(jnp.finfo(dtype).tiny)

        ends = jnp.asarray([0.0, tiny, tiny**0.5], dtype)
        values, slopes = f(ends), first(ends)
        if self.at_zero is None:
            zero = jnp.where(
                jnp.isnan(values[0]), num.settles(values[2], values[1], _INF), values[0]
            )
        else:
            zero = jnp.asarray(self.at_zero, dtype)
        at_zero = Limit(
            zero - f_one + slope_one,
            jnp.where(jnp.isfinite(slopes[0]), slopes[0] - slope_one, -_INF),
            jnp.where(
                jnp.isfinite(zero),
                0.0,
                num.settles(slopes[2] * ends[2], slopes[1] * ends[1], -_INF),
            ),
        )
        far = jnp.asarray([2.0**60, 2.0**120], dtype)
        slopes = first(far)
        if self.slope is None:
            slope = num.settles(slopes[0], slopes[1], _INF)
        else:
            slope = jnp.asarray(self.slope, dtype)
        # The reversed generator's slope at 0 is lim f(t) - t f'(t); f(1) - f'(1) normalises it.
        mid = jnp.asarray([2.0**10, 2.0**20], dtype)
        intercepts = f(mid) - mid * first(mid)
        growth = f(far) / far - slopes
        return at_zero, Limit(
            slope - slope_one,
            jnp.where(
                jnp.isfinite(slope),
                num.settles(intercepts[0], intercepts[1], -_INF) - f_one + slope_one,
                -_INF,
            ),
            jnp.where(jnp.isfinite(slope), 0.0, num.settles(growth[0], growth[1], -_INF)),
        )

    def claims(self) -> Claims:
        curvature = float(num.derivative(self.f, 2)(jnp.ones((1,)))[0])
        return Claims(True, True, True, None, None, None, None, self.upper_bound(), curvature)
