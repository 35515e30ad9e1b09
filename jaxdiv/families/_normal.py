"""The normal family and its image under exp."""

import math
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from ._stirling import HALF_LOG_TAU
from .base import POSITIVE, REAL, ExponentialFamily, Family, Number, Real, View, family, parameter
from .bends import excess, gap_of_rates, lacking, mixed, quotient
from .expectations import POSITIVE_REALS, REALS, Support


class _Direction(NamedTuple):
    growth: Array  # s_p^2 / s_q^2 - 1
    shift: Array  # (m_q - m_p) / s_q
    scale_p: Array
    scale_q: Array


@family
class Normal(ExponentialFamily):
    """Normal distribution on the reals with mean `loc` and standard deviation `scale`.

    KL = (y - 1 - log y + (m_p - m_q)^2 / s_q^2) / 2, y = s_p^2 / s_q^2.
    """

    loc: Number = parameter(REAL)
    scale: Number = parameter(POSITIVE)
    statistics: ClassVar = ("x", "x^2")

    def support(self) -> Support:
        return REALS

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return (self.loc - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        return jnp.square(self.scale / unit)

    def entropy(self, unit: Real = 1.0) -> Array:
        return jnp.log(self.scale / unit) + (HALF_LOG_TAU + 0.5)

    def mean_distance(self, origin: Array, unit: Array) -> Array:
        z = (self.loc - origin) / self.scale
        spread = jnp.exp(-jnp.square(z) / 2) * math.sqrt(2 / math.pi)
        return (spread + z * lax.erf(z / math.sqrt(2))) * (self.scale / unit)

    def mean_cos(self) -> Array:
        return jnp.cos(self.loc) * jnp.exp(-jnp.square(self.scale) / 2)

    def mean_sin(self) -> Array:
        return jnp.sin(self.loc) * jnp.exp(-jnp.square(self.scale) / 2)

    def cumulant(self, t: Array) -> Array:
        return jnp.square(t * self.scale) / 2

    def kl_from(self, p: Any) -> Array:
        variance = p.variance(self.scale)
        some = jnp.isfinite(variance)
        squares = jnp.square(jnp.where(some, p.mean(self.loc, self.scale), 0)) + variance
        return squares / 2 + (HALF_LOG_TAU - p.entropy(self.scale))

    def natural(self) -> tuple[Array, ...]:
        precision = 1 / jnp.square(self.scale)
        return self.loc * precision, -precision / 2

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        precision = -2 * natural[1]
        fine = precision > 0
        safe = jnp.where(fine, precision, 1)
        value = jnp.square(natural[0]) / (2 * safe) - jnp.log(safe) / 2
        return jnp.where(fine, value, jnp.inf)

    def toward(self, other: "Normal") -> _Direction:
        s, r = self.scale, other.scale
        growth = ((s - r) / r) * ((s + r) / r)
        return _Direction(growth, (other.loc - self.loc) / r, s, r)

    def at(self, other: "Normal", direction: _Direction, t: Real, rest: Real) -> "Normal":
        # Precisions are mixed linearly; in units of p's and q's, so that none overflows.
        s, r = direction.scale_p, direction.scale_q
        ratio, one = jnp.square(s / r), jnp.ones_like(s)
        low = lacking(ratio, num.multiply_pairs(*(quotient(s, r),) * 2))
        # Beside 1, what the ratio lacks of it is known to more digits.
        far = (direction.growth < -0.5) | (t < 0) | (t > 1)
        precision = mixed(rest, one, t, ratio, low)
        precision = jnp.where(far, precision, 1 + t * direction.growth)
        fine = precision > 0
        precision = jnp.where(fine, precision, 1)
        scale = jnp.where(fine, self.scale / jnp.sqrt(precision), jnp.nan)
        loc = self.loc + t * (ratio / precision) * (other.loc - self.loc)
        return type(self)(loc, scale)

    def nearer(self, other: "Normal", alpha: Array) -> tuple["Normal", Array]:
        s, r = self.scale, other.scale
        hi, lo = num.log_ratio(s, r, s - r)
        half = jnp.full_like(s, 0.5)
        of_scales, mixed, far = gap_of_rates(2 * (hi + lo), alpha, half, half)
        # (m_q - m_p)^2 / 2 over alpha s_q^2 + (1 - alpha) s_p^2
        shift = (other.loc - self.loc) / jnp.maximum(s, r)
        apart = of_scales + jnp.square(jnp.where(far, shift, 0)) / (2 * mixed)
        loc, scale = (jnp.where(far, *x) for x in ((self.loc, other.loc), (s, r)))
        return type(self)(loc, scale), jnp.where(far, apart, 0)

    def squared_fisher_rao(self, other: "Normal") -> Array:
        # The half-plane of (loc / sqrt 2, scale) is hyperbolic, twice as large:
        # 2 arccosh(1 + 2 x)^2 with arccosh(1 + 2 x) = 2 arcsinh(sqrt x).
        s, r = self.scale, other.scale
        shift, growth = (self.loc - other.loc) / r, (s - r) / r
        x = (jnp.square(shift) / 2 + jnp.square(growth)) * (r / s) / 4
        return 8 * num.squared_arcsinh_sqrt(x)

    def bend(self, point: "Normal", direction: _Direction, t: Real) -> Array:
        widening = jnp.square(self.scale / direction.scale_p)
        # m_point - m_self = t (m_q - m_p) (s_self s_point / (s_p s_q))^2
        shift = direction.shift * widening * (point.scale / direction.scale_q)
        ratio = jnp.square(self.scale / point.scale)
        return (excess(direction.growth * widening, t, ratio) + jnp.square(shift)) / 2


def direction_of(growth: Array, shift: Array, scale_p: Array, scale_q: Array) -> _Direction:
    """From p to q, of s_p^2 / s_q^2 - 1 and (m_q - m_p) / s_q."""
    return _Direction(growth, shift, scale_p, scale_q)


@family
class LogNormal(Family):
    """Log-normal distribution on x > 0: log x is normal with mean `loc` and deviation `scale`."""

    loc: Number = parameter(REAL)
    scale: Number = parameter(POSITIVE)

    def support(self) -> Support:
        return POSITIVE_REALS

    def mean_log(self, unit: Real = 1.0) -> Array:
        return self.loc - jnp.log(unit)

    def power_gap(self, k: Real) -> Array:
        return jnp.square(k * self.scale) / 2

    def log_entropy(self) -> Array:
        return jnp.log(self.scale) + (HALF_LOG_TAU + 0.5)

    def log_variance(self) -> Array:
        return jnp.square(self.scale)

    def kl_from(self, p: Any) -> Array:
        shift = (p.mean_log() - self.loc) / self.scale
        squares = jnp.square(shift) + p.log_variance() / jnp.square(self.scale)
        return squares / 2 + (HALF_LOG_TAU + jnp.log(self.scale) - p.log_entropy())

    def view(self) -> View:
        return View(Normal(self.loc, self.scale), "log x", {})
