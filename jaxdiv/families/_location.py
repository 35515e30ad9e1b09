"""Families with a location: Laplace, Cauchy and uniform distributions."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _numerics as num
from .._divergence import concrete
from ._log_uniform import LogUniform
from ._scaled import of_scale
from .base import POSITIVE, REAL, Family, Number, family, parameter
from .bends import excess, shares
from .expectations import REALS, Real, Support

_TERMS = (9, 14)  # of sinh(w) / w, w <= 2


def _apart(u: Array, v: Array, alpha: Array) -> Array:
    """-log(e^-h (cosh d + h sinh(d) / d)) / (alpha (1 - alpha)), 2 (h, d) = |alpha u| +- |..v|.

    Of signed u and v, in which it is smooth; 0 at u = v = 0.
    """
    beta = 1 - alpha
    x, y = alpha * jnp.abs(u), beta * jnp.abs(v)
    h, d = (x + y) / 2, jnp.abs(x - y) / 2
    # 1 - E with E = e^-h (cosh d + h sinh(d)/d) is e^-h times cosh h - cosh d and
    # h (sinh(h)/h - sinh(d)/d); h^2 - d^2 = x y, so that both have the factor alpha (1 - alpha).
    flat = num.expm1_over(-x) * num.expm1_over(-y) / 2
    near = (h <= 2) & (d <= 2)
    a, b = jnp.where(near, h * h, 0), jnp.where(near, d * d, 0)
    # The divided difference of sinh(w)/w in w^2, a sum of powers of a and b.
    series, powers, last = jnp.zeros_like(a), jnp.zeros_like(a), jnp.ones_like(a)
    for k in range(1, _TERMS[num.is_double(a)]):
        powers, last = a * powers + last, last * b
        series = series + powers * (1 / math.factorial(2 * k + 1))
    small = jnp.exp(-jnp.where(near, h, 0)) * h * series
    # [cosh(x/2) sinh(y/2)/(y/2) - sinh(d)/d] / (h x), times e^-h, with x the larger one.
    least, most = jnp.minimum(x, y), jnp.maximum(x, y)
    far_d, far_h = jnp.where(near, 3, d), jnp.where(near, 3, h)
    first = (1 + jnp.exp(-most)) / 2 * num.expm1_over(-least)
    second = jnp.exp(far_d - far_h) * num.expm1_over(-2 * far_d)
    large = (first - second) / jnp.where(near, 1, most)
    bent = jnp.where(near, small, large)
    part = u * v * (flat + bent)
    # Where little is left of the integral, or where it is large, its own logarithm.
    lost = alpha * beta * part
    direct = (lost > 0.5) | (lost < -1) | ~jnp.isfinite(part)
    scale = jnp.where(direct, 1, alpha * beta)
    tame = jnp.where(direct, 0, part)
    log = _log1p_over(-scale * tame) * tame
    deep_d = jnp.where(direct, d, 1)
    inner = (1 + jnp.exp(-2 * deep_d)) / 2 + h * num.expm1_over(-2 * deep_d)
    whole = (h - deep_d) - jnp.log(inner)
    return jnp.where(direct, whole / jnp.where(direct, alpha * beta, 1), log)


def _log1p_over(x: Array) -> Array:
    """log(1 + x) / x, 1 at x = 0."""
    near = jnp.abs(x) < 0.25
    small, far = jnp.where(near, x, 0), jnp.where(near, 1, x)
    return jnp.where(near, 1 - small * num.log1p_bend_near(small), num.log1p(far) / far)


@family
class Laplace(Family):
    """Laplace distribution on the reals with density e^(-|x - m| / s) / (2 s).

    KL = (y - 1 - log y) + y (e^(-u) - 1 + u), y = s_p / s_q, u = |m_p - m_q| / s_p. With
    x = a |m_p - m_q| / s_p, y = (1 - a) |m_p - m_q| / s_q, h = (x + y)/2 and d = (x - y)/2 the
    integral of p^a q^(1-a) is that of exponential distributions of these scales times
    e^-h (cosh d + h sinh(d) / d).
    """

    loc: Number = parameter(REAL)
    scale: Number = parameter(POSITIVE)

    def support(self) -> Support:
        return REALS

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return (self.loc - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        return 2 * jnp.square(self.scale / unit)

    def entropy(self, unit: Real = 1.0) -> Array:
        return jnp.log(self.scale / unit) + (1 + math.log(2))

    def mean_distance(self, origin: Array, unit: Array) -> Array:
        z = jnp.abs(self.loc - origin) / self.scale
        return (z + jnp.exp(-z)) * (self.scale / unit)

    def cumulant(self, t: Array) -> Array:
        square = jnp.square(t * self.scale)
        some = square < 1
        return jnp.where(some, -num.log1p(-jnp.where(some, square, 0)), jnp.inf)

    def kl_from(self, p: Any) -> Array:
        return p.mean_distance(self.loc, self.scale) + (math.log(2) - p.entropy(self.scale))

    def jensen(self, other: "Laplace", alpha: Array) -> Array:
        # Where the locations are equal |x - loc| is exponential.
        p, q = of_scale("", 1.0, self.scale, 1.0), of_scale("", 1.0, other.scale, 1.0)
        alike = p.core.jensen(q.core, alpha)
        fine = jnp.isfinite(alike)
        away = jnp.where(fine, self.loc - other.loc, 0)
        return jnp.where(fine, alike + _apart(away / self.scale, away / other.scale, alpha), alike)

    def kl(self, other: "Laplace") -> Array:
        ratio = self.scale / other.scale
        u = jnp.abs(self.loc - other.loc) / self.scale
        # For large u that is u - 1, of which the square may overflow.
        far = u > 1e4
        near = jnp.where(far, 0, u)
        apart = jnp.where(far, u - 1, near * near * num.expm1_bend(-near))
        return excess((self.scale - other.scale) / other.scale, 1.0, ratio) + ratio * apart


@family
class Cauchy(Family):
    """Cauchy distribution on the reals with density s / (pi (s^2 + (x - m)^2)).

    KL = log(1 + ((s_p - s_q)^2 + (m_p - m_q)^2) / (4 s_p s_q)), which is symmetric.

    Reference: Chyzak and Nielsen, arXiv 1905.10965.
    """

    loc: Number = parameter(REAL)
    scale: Number = parameter(POSITIVE)

    def support(self) -> Support:
        return REALS

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return jnp.full_like(self.scale, jnp.nan)

    def variance(self, unit: Real = 1.0) -> Array:
        return jnp.full_like(self.scale, jnp.inf)

    def entropy(self, unit: Real = 1.0) -> Array:
        return jnp.log(self.scale / unit) + math.log(4 * math.pi)

    def mean_distance(self, origin: Array, unit: Array) -> Array:
        return jnp.full_like(self.scale, jnp.inf)

    def cumulant(self, t: Array) -> Array:
        return jnp.full_like(self.scale, jnp.inf)

    def kl_from(self, p: Any) -> Array:
        return p.missing("the expectation of log(1 + x^2)")

    def kl(self, other: "Cauchy") -> Array:
        s, r = self.scale, other.scale
        steps = (s - r, self.loc - other.loc)
        near = sum((step / s) * (step / r) for step in steps) / 4
        return num.log1p(near)


@family
class Uniform(Family):
    """Uniform distribution on [low, high].

    KL is the logarithm of the ratio of the lengths where q's interval holds p's, else +inf. Its
    derivatives are those from inside: of p that shrinks and q that grows.
    """

    regular: ClassVar = False
    low: Number = parameter(REAL)
    high: Number = parameter(REAL)

    def consistent(self, name: str) -> None:
        if concrete(self.low) and concrete(self.high) and not np.all(
            np.asarray(self.low) < np.asarray(self.high)
        ):  # fmt: skip
            low, high = np.broadcast_arrays(self.low, self.high)
            bad = ~(low < high)
            raise ValueError(
                f"{name}.low must be below {name}.high, but is {low[bad][0]} where that is "
                f"{high[bad][0]}"
            )

    def valid(self) -> Array:
        return super().valid() & (self.low < self.high)

    def support(self) -> Support:
        return Support("reals", self.low, self.high)

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return ((self.low - origin) / unit + (self.high - origin) / unit) / 2

    def variance(self, unit: Real = 1.0) -> Array:
        return jnp.square((self.high - self.low) / unit) / 12

    def entropy(self, unit: Real = 1.0) -> Array:
        return jnp.log((self.high - self.low) / unit)

    def mean_distance(self, origin: Array, unit: Array) -> Array:
        length = self.high - self.low
        below = jnp.clip(origin - self.low, 0, length)
        inside = (jnp.square(below) + jnp.square(length - below)) / (2 * length)
        outside = jnp.maximum(self.low - origin, 0) + jnp.maximum(origin - self.high, 0)
        return (inside + outside) / unit

    def cumulant(self, t: Array) -> Array:
        # log(sinh(w) / w)
        w = jnp.abs(t * (self.high - self.low)) / 2
        return w + jnp.log(num.expm1_over(-2 * w))

    def _log(self) -> LogUniform:
        # The part below 0, where there is no logarithm, is cut off.
        low = jnp.maximum(self.low, 0)
        return LogUniform(low, jnp.where(self.high > low, self.high, low + 1))

    def mean_log(self, unit: Real = 1.0) -> Array:
        return self._log().mean(unit)

    def power_gap(self, k: Real) -> Array:
        return self._log().power_gap(k)

    def log_variance(self) -> Array:
        return self._log().variance()

    def log_entropy(self) -> Array:
        return self._log().entropy()

    def mean_log1m(self) -> Array:
        return Uniform(1 - self.high, 1 - self.low).mean_log()

    def kl_from(self, p: Any) -> Array:
        return -p.entropy(self.high - self.low)

    def _beyond(self, other: "Uniform") -> tuple[Array, Array]:
        """log(length / length of the overlap), +inf without one; and whether it is inside."""
        low, high = jnp.maximum(self.low, other.low), jnp.minimum(self.high, other.high)
        overlap = high - low
        some = overlap > 0
        outside = (self.high - high) + (low - self.low)
        log = num.log1p(outside / jnp.where(some, overlap, 1))
        return jnp.where(some, log, jnp.inf), outside == 0

    def kl(self, other: "Uniform") -> Array:
        log, _ = other._beyond(self)
        _, inside = self._beyond(other)
        return jnp.where(inside, log, jnp.inf)

    def jensen(self, other: "Uniform", alpha: Array) -> Array:
        # -log S = alpha log(L_p / o) + (1 - alpha) log(L_q / o), o the length of the overlap.
        (log_p, in_q), (log_q, in_p) = self._beyond(other), other._beyond(self)
        return shares(log_p, in_q, log_q, in_p, alpha)
