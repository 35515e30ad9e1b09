"""Families of which a power of x is gamma distributed: what they have in common."""

import abc
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy import special

from .. import _numerics as num
from ._stirling import HALF_LOG_TAU, binet, log_less_digamma, trigamma
from .bends import exp_bend, gamma_bend, lgamma_bend
from .expectations import POSITIVE_REALS, Expectations, Real, Support


class Law(NamedTuple):
    """(x / scale)^exponent is gamma distributed with a shape and rate 1."""

    shape: Array
    exponent: Array | float
    scale: Array


class PowerOfGamma(Expectations):
    """x > 0 of which a power is gamma distributed.

    With a the shape and k the exponent, E[(x/scale)^t] = Gamma(a + t/k) / Gamma(a), and

    KL(p || q) = b (y - 1 - log y) + b [log E_p y - E_p log y] + log Gamma(b) - b log b + b
                 - H_p(log x) - log |k|

    for any p, with q's b and k, y the ratio of E_p[(x/scale)^k] to b, its expectation under q.
    """

    @abc.abstractmethod
    def law(self) -> Law:
        """The shape, the exponent, and the scale."""

    def support(self) -> Support:
        return POSITIVE_REALS

    def mean_log(self, unit: Real = 1.0) -> Array:
        a, k, scale = self.law()
        return jnp.log(scale * a ** (1 / k) / unit) - log_less_digamma(a) / k

    def power_gap(self, k: Real) -> Array:
        a, own, _ = self.law()
        step = jnp.broadcast_to(k / own, a.shape).astype(a.dtype)
        some = a + step > 0
        step = jnp.where(some, step, 0)
        return jnp.where(some, lgamma_bend(a, a + step, step), jnp.inf)

    def log_entropy(self) -> Array:
        a, k, _ = self.law()
        return _log_entropy(a) - jnp.log(abs(k))

    def log_variance(self) -> Array:
        a, k, _ = self.law()
        return trigamma(a) / (k * k)

    def mean_power(self, k: Real, unit: Real = 1.0) -> Array:
        a, own, scale = self.law()
        ratio = scale * a ** (1 / own) / unit
        return ratio**k * jnp.exp(self.power_gap(k) - k / own * log_less_digamma(a))

    def cumulant(self, t: Array) -> Array:
        a, k, scale = self.law()
        if not isinstance(k, float) or k != 1:
            self.missing("the expectation of e^(t x)")
        t = t * scale
        some = t < 1
        return jnp.where(some, a * num.log1p_remainder(-jnp.where(some, t, 0)), jnp.inf)

    def mean_distance(self, origin: Array, unit: Array) -> Array:
        # E|x - c| = E[x] - c + 2 E[c - x; x < c]
        a, k, scale = self.law()
        if not isinstance(k, float) or k < 0:
            self.missing("the expectation of |x - c|")
        c = jnp.maximum(origin, 0) / unit
        z = (c / (scale / unit)) ** k
        mean = self.mean_power(1.0, unit)
        below = c * special.gammainc(a, z) - mean * special.gammainc(a + 1 / k, z)
        return mean - origin / unit + 2 * below

    def kl_from(self, p: Any) -> Array:
        b, k, scale = self.law()
        gap = p.power_gap(k)
        some = jnp.isfinite(gap)
        gap = jnp.where(some, gap, 0)
        log_ratio = k * p.mean_log(scale) + gap - jnp.log(b)
        rest = b * gap + (HALF_LOG_TAU - jnp.log(b) / 2 + binet(b)) - p.log_entropy()
        rest = rest - jnp.log(abs(k))
        if isinstance(p, PowerOfGamma):  # of equal exponents both are gamma distributed
            a, own, _ = p.law()
            rest = jnp.where(own == k, gamma_bend(a, b, b - a, 1.0), rest)
        return jnp.where(some, b * exp_bend(log_ratio) + rest, jnp.inf)


def _log_entropy(a: Array) -> Array:
    """The entropy of log x of a gamma distributed x."""
    return HALF_LOG_TAU - jnp.log(a) / 2 + binet(a) + a * log_less_digamma(a)
