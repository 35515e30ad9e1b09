"""Families of powers and logarithms of exponential variables: Weibull, Gumbel and Pareto."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from ._gamma import Exponential
from ._powers import Law, PowerOfGamma
from ._scaled import OfScale, far_gap, growth_of, of_scale
from .base import POSITIVE, REAL, Family, Number, View, family, parameter
from .bends import excess, exp_bend, lgamma_bend, shares
from .expectations import REALS, Real, Support
from .pair import Pair, jensen_gap

_EULER = 0.5772156649015329


def _powers(ratio: Array, growth: Array, shift: Array) -> Array:
    """KL of Weibull distributions, r = `ratio`, r - 1 = `growth` and s = `shift`.

    p's x is l E^(1/k) of an exponential variable E, so that (x / l_q)^k_q = e^s E^r with
    r = k_q / k_p and s = k_q log(l_p / l_q), and KL = e^s Gamma(1 + r) - 1 - s - log r + c (r - 1)
    with c Euler's constant. With w = s + log Gamma(1 + r) that is
    (e^w - 1 - w) + [log Gamma(r) + c (r - 1)], the bend of log Gamma from 1. Both are at least 0.
    """
    one = jnp.ones_like(growth)
    log_gamma = lgamma_bend(2 * one, 1 + ratio, growth) + (1 - _EULER) * growth
    w = shift + log_gamma
    return exp_bend(w) + lgamma_bend(one, ratio, growth)


@family
class Weibull(PowerOfGamma, Family):
    """Weibull distribution on x > 0 with density k/l (x/l)^(k-1) e^(-(x/l)^k).

    k is the `concentration`, l the `scale`. What is no function of KL has a closed form where the
    concentrations are equal.

    Reference: Bauckhage, arXiv 1310.3713.
    """

    concentration: Number = parameter(POSITIVE)
    scale: Number = parameter(POSITIVE)

    def law(self) -> Law:
        return Law(jnp.ones_like(self.scale), self.concentration, self.scale)

    def view(self) -> View:
        fixed = {"concentration": self.concentration}
        return of_scale("x^concentration", 1.0, self.scale, self.concentration, **fixed)

    def kl(self, other: "Weibull") -> Array:
        k, l = self.concentration, other.concentration
        hi, lo = num.log_ratio(self.scale, other.scale, self.scale - other.scale)
        return _powers(l / k, (l - k) / k, l * hi + l * lo)


@family
class Gumbel(Family):
    """Gumbel distribution on the reals, of maxima: density e^(-z - e^-z) / s, z = (x - m) / s.

    e^-x is a Weibull variable, of which it has the divergences. What is no function of KL has a
    closed form where the scales are equal.
    """

    shared: ClassVar = ("scale",)

    loc: Number = parameter(REAL)
    scale: Number = parameter(POSITIVE)

    def support(self) -> Support:
        return REALS

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return (self.loc - origin) / unit + _EULER * (self.scale / unit)

    def variance(self, unit: Real = 1.0) -> Array:
        return math.pi**2 / 6 * jnp.square(self.scale / unit)

    def entropy(self, unit: Real = 1.0) -> Array:
        return jnp.log(self.scale / unit) + (1 + _EULER)

    def cumulant(self, t: Array) -> Array:
        step = -t * self.scale
        some = step > -1
        step = jnp.where(some, step, 0)
        return jnp.where(some, lgamma_bend(jnp.ones_like(step), 1 + step, step), jnp.inf)

    def kl_from(self, p: Any) -> Array:
        # log s + E[z] + E[e^-z] - H, with w = log E[e^-z] and the gap w + E[z].
        gap = p.cumulant(-1 / self.scale)
        some = jnp.isfinite(gap)
        gap = jnp.where(some, gap, 0)
        value = exp_bend(gap - p.mean(self.loc, self.scale)) + (1 + gap - p.entropy(self.scale))
        return jnp.where(some, value, jnp.inf)

    def jensen(self, other: "Gumbel", alpha: Array) -> Array:
        # e^(-x/s) is exponential with the rate e^(m/s), of which only the ratio matters.
        u = (other.loc - self.loc) / self.scale
        up, down, one = jnp.exp(u / 2), jnp.exp(-u / 2), jnp.ones_like(u)
        p, q = OfScale(one, up, one), OfScale(one, down, one)
        gap = jensen_gap(p, q, growth_of(num.expm1(u), up), alpha)
        return far_gap(u, one, alpha, gap)

    def kl(self, other: "Gumbel") -> Array:
        growth = (self.scale - other.scale) / other.scale
        return _powers(self.scale / other.scale, growth, (other.loc - self.loc) / other.scale)


@family
class Pareto(Family):
    """Pareto distribution on x >= `scale` with density a s^a / x^(a+1), a = `alpha`.

    KL = a_q log(s_p / s_q) + (y - 1 - log y), y = a_q / a_p, +inf for s_p < s_q.
    """

    regular: ClassVar = False
    scale: Number = parameter(POSITIVE)
    alpha: Number = parameter(POSITIVE)

    def support(self) -> Support:
        return Support("reals", self.scale, least=0.0)

    def mean_log(self, unit: Real = 1.0) -> Array:
        return jnp.log(self.scale / unit) + 1 / self.alpha

    def power_gap(self, k: Real) -> Array:
        step = k / self.alpha
        some = step < 1
        return jnp.where(some, num.log1p_remainder(-jnp.where(some, step, 0)), jnp.inf)

    def log_entropy(self) -> Array:
        return 1 - jnp.log(self.alpha)

    def log_variance(self) -> Array:
        return 1 / jnp.square(self.alpha)

    def kl_from(self, p: Any) -> Array:
        return self.alpha * p.mean_log(self.scale) - jnp.log(self.alpha) - p.log_entropy()

    def _beyond(self, other: "Pareto") -> tuple[Array, Array]:
        """-log of the mass on the other's support; and whether that is all."""
        below = self.scale < other.scale
        hi, lo = num.log_ratio(other.scale, self.scale, other.scale - self.scale)
        return self.alpha * jnp.where(below, hi + lo, 0), ~below

    def kl(self, other: "Pareto") -> Array:
        log, _ = other._beyond(self)
        growth = (other.alpha - self.alpha) / self.alpha
        value = log + excess(growth, 1.0, other.alpha / self.alpha)
        return jnp.where(self.scale >= other.scale, value, jnp.inf)

    def jensen(self, other: "Pareto", alpha: Array) -> Array:
        (log_p, in_q), (log_q, in_p) = self._beyond(other), other._beyond(self)
        # Where the supports begin alike log x - log s is exponential.
        alike = Pair(Exponential(self.alpha), Exponential(other.alpha)).jensen(alpha)
        return alike + shares(log_p, in_q, log_q, in_p, alpha)
