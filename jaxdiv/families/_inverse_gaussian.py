"""The inverse Gaussian family."""

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _numerics as num
from ._stirling import HALF_LOG_TAU
from .base import POSITIVE, ExponentialFamily, Number, Real, family, parameter
from .bends import excess, exp_bend, lacking, mixed, quotient
from .expectations import POSITIVE_REALS, Support

_E1_TERMS = (14, 22)  # of the series, for z <= 1
_E1_LEVELS = (9, 40)  # of the continued fraction, for z >= 1


@jax.custom_jvp
def exp_e1(z: Array) -> Array:
    """e^z E_1(z), the integral of e^-t / (z + t) over t > 0, for z > 0."""
    near = z <= 1
    small, large = jnp.where(near, z, 1), jnp.where(near, 1, z)
    count = _E1_TERMS[num.is_double(z)]
    series = [-((-1) ** k) / (k * math.factorial(k)) for k in range(1, count)]
    alone = -np.euler_gamma - jnp.log(small) + small * num.polynomial(small, series)
    # 1/(z + 1 - 1/(z + 3 - 4/(z + 5 - ...)))
    levels = _E1_LEVELS[num.is_double(z)]
    fraction = large + (2 * levels + 1)
    for k in range(levels, 0, -1):
        fraction = large + (2 * k - 1) - k * k / fraction
    return jnp.where(near, jnp.exp(small) * alone, 1 / fraction)


@exp_e1.defjvp
def _(primals, tangents):
    value = exp_e1(*primals)
    return value, (value - 1 / primals[0]) * tangents[0]


class _Direction(NamedTuple):
    concentration: Array
    cross: Array  # (k_q l_p - l_q k_p) / (l_p l_q) with k = l / m^2: m_q^-2 - m_p^-2
    p: Array  # l_p
    q: Array  # l_q


@family
class InverseGaussian(ExponentialFamily):
    """Inverse Gaussian distribution on x > 0 with mean m and shape l, `concentration`.

    Its density is sqrt(l / (2 pi x^3)) e^(-l (x - m)^2 / (2 m^2 x)).
    KL = (y - 1 - log y + l_q (m_p - m_q)^2 / (m_p m_q^2)) / 2, y = l_q / l_p.
    """

    loc: Number = parameter(POSITIVE)
    concentration: Number = parameter(POSITIVE)
    statistics: ClassVar = ("x", "1 / x")

    def support(self) -> Support:
        return POSITIVE_REALS

    def _fall(self) -> Array:
        """log m - E[log x] = e^z E_1(z) with z = 2 l / m."""
        return exp_e1(2 * (self.concentration / self.loc))

    def mean_log(self, unit: Real = 1.0) -> Array:
        return jnp.log(self.loc / unit) - self._fall()

    def power_gap(self, k: Real) -> Array:
        # E[x / m] = 1, E[m / x] = 1 + m/l and E[(x / m)^2] = 1 + m/l.
        if not isinstance(k, float) or k not in (-1, 1, 2):
            self.missing("the expectation of x^k for k other than 1, 2, -1")
        spread = num.log1p(self.loc / self.concentration)
        return k * self._fall() + (0 if k == 1 else spread)

    def log_entropy(self) -> Array:
        spread = jnp.log(self.loc / self.concentration) / 2
        return (HALF_LOG_TAU + 0.5) + spread + self._fall() * -0.5

    def variance(self, unit: Real = 1.0) -> Array:
        return jnp.square(self.loc / unit) * (self.loc / self.concentration)

    def cumulant(self, t: Array) -> Array:
        # (l / m) (s - 1)^2 / 2 with s^2 = 1 - 2 m^2 t / l
        step = -2 * t * self.loc * (self.loc / self.concentration)
        some = step >= -1
        step = jnp.where(some, step, 0)
        root = step / (1 + jnp.sqrt(1 + step))
        value = self.concentration / self.loc * jnp.square(root) / 2
        return jnp.where(some, value, jnp.inf)

    def kl_from(self, p: Any) -> Array:
        up, down, log = p.power_gap(1.0), p.power_gap(-1.0), p.mean_log(self.loc)
        some = jnp.isfinite(up) & jnp.isfinite(down)
        up, down = jnp.where(some, up, 0), jnp.where(some, down, 0)
        # E[x / m + m / x - 2]
        spread = exp_bend(log + up) + exp_bend(down - log) + up + down
        ratio = self.concentration / self.loc
        value = ratio / 2 * spread + (log - jnp.log(ratio)) / 2 + (HALF_LOG_TAU - p.log_entropy())
        return jnp.where(some, value, jnp.inf)

    def natural(self) -> tuple[Array, ...]:
        return -self.concentration / (2 * jnp.square(self.loc)), -self.concentration / 2

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        k, l = -2 * natural[0], -2 * natural[1]
        fine = (k > 0) & (l > 0)
        k, l = jnp.where(fine, k, 1), jnp.where(fine, l, 1)
        return jnp.where(fine, -jnp.sqrt(k * l) - jnp.log(l) / 2, jnp.inf)

    def toward(self, other: "InverseGaussian") -> _Direction:
        m, n = self.loc, other.loc
        cross = ((m - n) / n) * ((m + n) / n) / (m * m)
        return _Direction(
            other.concentration - self.concentration, cross, self.concentration, other.concentration
        )

    def at(
        self, other: "InverseGaussian", direction: _Direction, t: Real, rest: Real
    ) -> "InverseGaussian":
        l = mixed(rest, self.concentration, t, other.concentration)
        # k in units of p's: k_q / k_p = (l_q / l_p) (m_p / m_q)^2.
        ratio = other.concentration / self.concentration
        by_p = ratio * jnp.square(self.loc / other.loc)
        means = quotient(self.loc, other.loc)
        exact = num.multiply_pairs(
            quotient(other.concentration, self.concentration), num.multiply_pairs(means, means)
        )
        k = mixed(rest, jnp.ones_like(by_p), t, by_p, lacking(by_p, exact))
        fine = (k > 0) & (l > 0)
        square = jnp.where(fine, l / self.concentration / jnp.where(fine, k, 1), 1)
        loc = self.loc * jnp.sqrt(square)
        return InverseGaussian(jnp.where(fine, loc, jnp.nan), jnp.where(fine, l, jnp.nan))

    def bend(self, point: "InverseGaussian", direction: _Direction, t: Real) -> Array:
        m, l = self.loc, self.concentration
        # (m / m')^2 - 1 = t c / (l' k), c = k_q l_p - l_q k_p the same along the line, and the
        # bend of -sqrt(k l) is l' (m / m' - 1)^2 / (2 m t^2).
        change = direction.cross * (direction.p / l) * (direction.q / point.concentration) * (m * m)
        apart = change / (1 + m / point.loc)
        means = point.concentration / m * jnp.square(apart)
        shape = excess(direction.concentration / l, t, point.concentration / l)
        return (shape + means) / 2
