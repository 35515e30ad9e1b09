"""The normal family and its image under exp."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .base import POSITIVE, REAL, ExponentialFamily, Family, Number, Real, View, family, parameter
from .bends import excess


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
        ratio = jnp.square(direction.scale_p / direction.scale_q)
        # Beside 1, what the ratio lacks of it is known to more digits.
        far = direction.growth < -0.5
        precision = jnp.where(far, rest + t * ratio, 1 + t * direction.growth)
        fine = precision > 0
        precision = jnp.where(fine, precision, 1)
        scale = jnp.where(fine, self.scale / jnp.sqrt(precision), jnp.nan)
        loc = self.loc + t * (ratio / precision) * (other.loc - self.loc)
        return type(self)(loc, scale)

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

    def view(self) -> View:
        return View(Normal(self.loc, self.scale), "log x", {})
