"""The inverse Gaussian family."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from .base import POSITIVE, ExponentialFamily, Number, Real, family, parameter
from .bends import excess


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
        l = rest * self.concentration + t * other.concentration
        # k in units of p's: k_q / k_p = (l_q / l_p) (m_p / m_q)^2.
        ratio = other.concentration / self.concentration
        k = rest + t * ratio * jnp.square(self.loc / other.loc)
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
