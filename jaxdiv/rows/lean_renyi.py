"""Renyi's divergence of two rows of logits that are not near each other, in few operations."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from .._f_divergences import Alpha
from .normalised import Normalised, over, pair_of, stands

APART = 0.5  # of log S, where it is right to 64 ulp by operations that are rounded once


class Near(NamedTuple):
    """Renyi's divergence from a sum T of terms that are small near p = q.

    By symmetry of order a = max(alpha, 1 - alpha), of the side m whose power that is; n is the
    other, l = log(m/n). S - 1 = (a - 1) T, where T sums m (e^((a-1) l) - 1) / (a - 1) - (m - n):
    the alpha-divergence times a, of which nothing is lost near a = 1.
    """

    order: Array
    above: Array  # whether m is p
    m: Array
    n: Array
    ratio: Array
    both: Array  # whether neither is 0
    share: Array  # what T is to be multiplied by: 1, or alpha / (1 - alpha)

    def power(self, exponent: Array) -> Array:
        """(m/n)^exponent - 1."""
        # A mass that has underflowed, times the power, is below 1 for a < 1: it must not overflow.
        most = jnp.where(self.order < 1, 87.0, jnp.inf)
        return num.expm1(jnp.minimum(exponent * self.ratio, most))

    def rate(self) -> Array:
        """((m/n)^(a-1) - 1) / (a - 1), l at a = 1; by its limit where n is 0."""
        one = self.order == 1
        least = jnp.where(one, 1, self.order - 1)
        rate = jnp.where(one, self.ratio, self.power(least) / least)
        return jnp.where(self.both, rate, -1 / least)

    def total(self) -> Array:
        """T of each row."""
        a, m, n, ratio = self.order, self.m, self.n, self.ratio
        near = jnp.abs(ratio) * jnp.maximum(1, a) <= 1
        small = jnp.where(near, ratio, 0)
        series = a * n * small * small * num.exp_second_difference(a, small)
        near &= self.both
        far = m * self.rate() - (m - n)
        # Where n is 0 that is infinite for a >= 1.
        far = jnp.where((n == 0) & (m > 0) & (a >= 1), jnp.inf, far)
        return over(jnp.where(near, series, far), jnp.sum)

    def slopes(self) -> tuple[Array, Array]:
        """S times the derivatives by log m and log n, over `share`, less multiples of m and n."""
        beyond = jnp.where(self.both, self.power(self.order), -1)
        return self.order * self.m * self.rate(), -self.n * beyond


def _near(alpha: Array, p: Normalised, q: Normalised) -> Near:
    pair = pair_of(p, q, 0)
    above = alpha >= 0.5
    m, n = (jnp.where(above, x, y) for x, y in ((pair.raw_p, pair.raw_q), (pair.raw_q, pair.raw_p)))
    return Near(
        jnp.where(above, alpha, 1 - alpha),
        above,
        m,
        n,
        jnp.where(above, pair.log_ratio, -pair.log_ratio),
        p.support() & q.support(),
        jnp.where(above, 1, alpha / jnp.where(above, 1, 1 - alpha)),
    )


def _of_near(alpha: Array, near: Near, p: Normalised, q: Normalised) -> tuple[Array, Array, Array]:
    """Renyi's divergence, S - 1, and which rows are right from them."""
    total = near.total()
    excess = (near.order - 1) * total
    # Below, S is a small part of what it is a difference of.
    stand = (excess >= -0.75) & stands(Alpha(alpha), p, q, total / near.order)
    excess = jnp.where(stand, excess, 0)
    return near.share * total * num.log1p_over(excess), excess, stand


def value(alpha: Array, p: Normalised, q: Normalised) -> tuple[Array, Array]:
    """Renyi's divergence: from small terms, or of rows far apart from log S."""
    value, _, near = _of_near(alpha, _near(alpha, p, q), p, q)

    def farther() -> tuple[Array, Array]:
        _, _, log_sum = _affinity(alpha, p, q)
        apart = ~near & _apart(alpha, p, q, log_sum)
        return jnp.where(apart, log_sum / (alpha - 1), value), near | apart

    return lax.cond(jnp.all(near), lambda: (value, near), farther)


def slopes(alpha: Array, p: Normalised, q: Normalised) -> tuple[Array, Array, Array]:
    """Its derivatives by the logarithms of the masses, and which rows stand."""
    parts = _near(alpha, p, q)
    _, excess, near = _of_near(alpha, parts, p, q)
    scale = parts.share / (1 + excess)
    by_m, by_n = (scale * slope for slope in parts.slopes())
    by_p, by_q = jnp.where(parts.above, by_m, by_n), jnp.where(parts.above, by_n, by_m)

    def farther() -> tuple[Array, Array, Array]:
        weight, total, log_sum = _affinity(alpha, p, q)
        apart = ~near & _apart(alpha, p, q, log_sum)
        far_q = -1 / jnp.where(apart, total, 1)
        far_p = far_q * jnp.where(apart, alpha / (1 - alpha), 1)
        return (
            jnp.where(apart, far_p * weight, by_p),
            jnp.where(apart, far_q * weight, by_q),
            near | apart,
        )

    return lax.cond(jnp.all(near), lambda: (by_p, by_q, near), farther)


def _affinity(alpha: Array, p: Normalised, q: Normalised) -> tuple[Array, Array, Array]:
    """p^alpha q^(1 - alpha) of masses that are not normalised, their sum, and log S.

    In few operations: an exponent x is off by up to 1.5 ulp of |x|, of more for alpha > 1.
    """
    a, b = p.values - p.top, q.values - q.top
    weight = jnp.where(p.support(), jnp.exp(alpha * a + (1 - alpha) * b), 0)
    total = over(weight, jnp.sum)
    return weight, total, jnp.log(total / p.sum) + (1 - alpha) * jnp.log(p.sum / q.sum)


def _apart(alpha: Array, p: Normalised, q: Normalised, log_sum: Array) -> Array:
    """Which rows are right from log S as it is: those in which S is neither near 1 nor 0."""
    size, top = jnp.abs(log_sum), jnp.maximum(jnp.abs(p.top), jnp.abs(q.top))
    some = (top < jnp.inf) & (alpha > 0)  # a finite logit, and no NaN
    return (size >= APART * jnp.maximum(1, 2 * alpha - 1)) & (size < 80) & some
