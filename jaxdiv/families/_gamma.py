"""The gamma family and its images: y is gamma distributed, x a function of it."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from ._powers import Law, PowerOfGamma
from .base import POSITIVE, ExponentialFamily, Family, Number, Real, View, family, parameter
from .bends import excess, gamma_bend, gap_of_rates, inverse_unit, mixed, products_apart


class _Direction(NamedTuple):
    concentration: Array
    cross: Array  # a (s - r) - r (b - a), r and s times `unit`
    unit: Array


@family
class Gamma(PowerOfGamma, ExponentialFamily):
    """Gamma distribution on x > 0 with density r^a x^(a-1) e^(-r x) / Gamma(a).

    KL(a, r || b, s) = b (y - 1 - log y) + [g(b) - g(a) - g'(a) (b - a)], with y the ratio of the
    means (a/r) / (b/s) and g(x) = log Gamma(x) - x log x + x.
    """

    concentration: Number = parameter(POSITIVE)
    rate: Number = parameter(POSITIVE)
    statistics: ClassVar = ("log x", "x")

    def law(self) -> Law:
        return Law(self.concentration, 1.0, 1 / self.rate)

    def natural(self) -> tuple[Array, ...]:
        return self.concentration - 1, -self.rate

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        a, r = natural[0] + 1, -natural[1]
        fine = (a > 0) & (r > 0)
        a, r = jnp.where(fine, a, 1), jnp.where(fine, r, 1)
        return jnp.where(fine, jax.lax.lgamma(a) - a * jnp.log(r), jnp.inf)

    def toward(self, other: "Gamma") -> _Direction:
        u = inverse_unit(self.rate)
        a, r = self.concentration, self.rate * u
        steps = num.two_diff(other.concentration, a), num.two_diff(other.rate * u, r)
        return _Direction(steps[0][0], products_apart(a, steps[1], r, steps[0]), u)

    def at(self, other: "Gamma", direction: _Direction, t: Real, rest: Real) -> "Gamma":
        return Gamma(
            mixed(rest, self.concentration, t, other.concentration),
            mixed(rest, self.rate, t, other.rate),
        )

    def nearer(self, other: "Gamma", alpha: Array) -> tuple["Gamma", Array]:
        hi, lo = num.log_ratio(other.rate, self.rate, other.rate - self.rate)
        a, b = self.concentration, other.concentration
        apart, _, far = gap_of_rates(hi + lo, alpha, a, b)
        return Gamma(b, jnp.where(far, self.rate, other.rate)), jnp.where(far, apart, 0)

    def bend(self, point: "Gamma", direction: _Direction, t: Real) -> Array:
        a, b = self.concentration, point.concentration
        r, s = self.rate * direction.unit, point.rate * direction.unit
        ratio = (a * s) / (b * r)
        slope = direction.cross / (r * b)
        return b * excess(slope, t, ratio) + gamma_bend(a, b, direction.concentration, t)


@family
class Exponential(PowerOfGamma, Family):
    """Exponential distribution on x > 0 with density r e^(-r x)."""

    rate: Number = parameter(POSITIVE)

    def law(self) -> Law:
        return Law(jnp.ones_like(self.rate), 1.0, 1 / self.rate)

    def kl_from(self, p: Any) -> Array:
        try:
            return super().kl_from(p)
        except NotImplementedError:  # of what has no E[log x], which is not needed
            unit = 1 / self.rate
            return p.mean(0.0, unit) - p.entropy(unit)

    def view(self) -> View:
        return View(Gamma(jnp.ones_like(self.rate), self.rate), "x", {})

    def squared_fisher_rao(self, other: "Exponential") -> Array:
        # The metric is (d log rate)^2.
        hi, lo = num.log_ratio(self.rate, other.rate, self.rate - other.rate)
        return jnp.square(hi + lo)


@family
class Chi2(PowerOfGamma, Family):
    """Chi-squared distribution on x > 0: gamma with concentration df/2 and rate 1/2."""

    df: Number = parameter(POSITIVE)

    def law(self) -> Law:
        return Law(self.df / 2, 1.0, jnp.full_like(self.df, 2))

    def view(self) -> View:
        return View(Gamma(self.df / 2, jnp.full_like(self.df, 0.5)), "x", {})


@family
class InverseGamma(PowerOfGamma, Family):
    """Inverse gamma distribution on x > 0: 1/x is gamma distributed with rate `scale`."""

    concentration: Number = parameter(POSITIVE)
    scale: Number = parameter(POSITIVE)

    def law(self) -> Law:
        return Law(self.concentration, -1.0, self.scale)

    def view(self) -> View:
        return View(Gamma(self.concentration, self.scale), "1 / x", {})
