"""Renyi's divergence of two rows of logits, in few operations: see `lean`."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._f_divergences import Alpha
from . import close as similar
from .form import Form
from .normalised import SMOOTH, Normalised, excess, kept, log_ratio, over, pair_of, stands

APART = 0.1  # of log S, where it is right to 64 ulp by operations that are rounded once


class Near(NamedTuple):
    """Renyi's divergence from a sum T of terms that are small near p = q.

    By symmetry of order a = max(alpha, 1 - alpha), of the side m whose power that is; n is the
    other, l = log(m/n). S - 1 = (a - 1) T, where T sums m (e^((a-1) l) - 1) / (a - 1) - (m - n):
    the alpha-divergence times a, of which nothing is lost near a = 1.
    """

    order: Array
    less: Array  # a - 1, of which the rounded order would lose digits
    m: Array
    n: Array
    ratio: Array
    both: Array  # whether neither is 0
    alone: Array  # whether n is 0, and m is not, however small

    def power(self, exponent: Array) -> Array:
        """(m/n)^exponent - 1."""
        # A mass that has underflowed, times the power, is below 1 for a < 1: it must not overflow.
        most = jnp.where(self.order < 1, 87.0, jnp.inf)
        return num.expm1(jnp.minimum(exponent * self.ratio, most))

    def rate(self) -> Array:
        """((m/n)^(a-1) - 1) / (a - 1), l at a = 1; by its limit where n is 0."""
        one = self.less == 0
        least = jnp.where(one, 1, self.less)
        rate = jnp.where(one, self.ratio, self.power(least) / least)
        return jnp.where(self.both, rate, -1 / least)

    def terms(self) -> Array:
        """The terms of T."""
        a, m, n, ratio = self.order, self.m, self.n, self.ratio
        near = jnp.abs(ratio) * _steepness(a) <= 1
        series = _series(a, n, jnp.where(near, ratio, 0))
        near &= self.both
        far = m * self.rate() - (m - n)
        # Infinite where n is 0, for a >= 1; not right where a mass, but not m^a n^(1 - a), is 0.
        lost = (n == 0) & (m > 0) & ((a >= 1) | (self.both & ((1 - a) * ratio < 87)))
        lost |= self.alone & (a >= 1)
        lost |= (m == 0) & (n > 0) & (a < 1) & self.both & (a * ratio > -87)
        far = jnp.where(lost, jnp.inf, far)
        return jnp.where(near, series, far)

    def slopes(self) -> tuple[Array, Array]:
        """S times the derivatives by log m and log n, over `share`, less multiples of m and n."""
        beyond = jnp.where(self.both, self.power(self.order), -1)
        return self.order * self.m * self.rate(), -self.n * beyond


def _steepness(order: Array) -> Array:
    return jnp.maximum(1, order)


def _series(order: Array, n: Array, ratio: Array) -> Array:
    """The terms of T where the log-ratio times the steepness is at most 1."""
    return order * n * (ratio * ratio) * num.exp_second_difference(order, ratio)


def _order(alpha: Array) -> Array:
    return jnp.maximum(alpha, 1 - alpha)


def _less(alpha: Array) -> Array:
    """The order less 1."""
    return jnp.where(alpha >= 0.5, alpha - 1, -alpha)


def _share(alpha: Array) -> Array:
    """What T is to be multiplied by."""
    above = alpha >= 0.5
    return jnp.where(above, 1, alpha / jnp.where(above, 1, 1 - alpha))


def _in_order(alpha: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Two numbers of p and q as those of m and n, or the other way round."""
    above = alpha >= 0.5
    return jnp.where(above, x, y), jnp.where(above, y, x)


def _near(alpha: Array, p: Normalised, q: Normalised) -> Near:
    pair = pair_of(p, q, 0)
    m, n = _in_order(alpha, pair.raw_p, pair.raw_q)
    ratio = jnp.where(alpha >= 0.5, pair.log_ratio, -pair.log_ratio)
    some, other = p.support(), q.support()
    above = alpha >= 0.5
    alone = (above & some & ~other) | (~above & other & ~some)
    return Near(_order(alpha), _less(alpha), m, n, ratio, some & other, alone)


def _close(alpha: Array, p: Normalised, q: Normalised) -> Near:
    m, n = _in_order(alpha, p.masses(), q.masses())
    ratio = jnp.where(alpha >= 0.5, 1, -1) * log_ratio(p, q)
    return Near(_order(alpha), _less(alpha), m, n, ratio, jnp.bool_(True), jnp.bool_(False))


def near(
    alpha: Array, p: Normalised, q: Normalised, smooth: float = SMOOTH
) -> tuple[Array, Array, Array]:
    """Renyi's divergence from small terms, which rows of it are right, and S - 1."""
    total = over(kept(_near(alpha, p, q).terms()), jnp.sum)
    return _of_total(alpha, p, q, total, smooth)


def _of_total(
    alpha: Array, p: Normalised, q: Normalised, total: Array, smooth: float
) -> tuple[Array, Array, Array]:
    order = _order(alpha)
    excess = _less(alpha) * total
    # Below, S is a small part of what it is a difference of.
    right = (excess >= -0.75) & stands(Alpha(alpha), p, q, total / order, smooth)
    excess = jnp.where(right, excess, 0)
    return _share(alpha) * total * num.log1p_over(excess), right, excess


def kinds(_: Array) -> list[str]:
    """There are forms for rows that are far apart, and for rows whose log-ratios are all small."""
    return ["apart", "close"]


def reach(alpha: Array, p: Normalised, q: Normalised) -> Array:
    """How far the log-ratios reach, 1 being as far as that form does."""
    return jnp.abs(log_ratio(p, q)) * _steepness(_order(alpha))


def close(
    alpha: Array, p: Normalised, q: Normalised, smooth: float = SMOOTH
) -> tuple[Array, Array, Array]:
    """The same of rows in which all are small, from a power series alone."""
    return _of_total(alpha, p, q, over(kept(_close_terms(alpha, p, q)), jnp.sum), smooth)


def _close_terms(alpha: Array, p: Normalised, q: Normalised) -> Array:
    side = _close(alpha, p, q)
    terms = _series(side.order, side.n, side.ratio)
    # What is too far makes the row infinite, which is not right.
    small = jnp.abs(side.ratio) * _steepness(side.order) <= 1
    return jnp.where(small, terms, jnp.inf)


def distant(alpha: Array, p: Normalised, q: Normalised) -> Array:
    """Which rows look far apart by some of their outcomes."""
    share = over(kept(p.masses() + q.masses()), jnp.sum) / 2
    return _is_far(alpha, jnp.log(over(kept(_affinity(alpha, p, q)), jnp.sum) / share))


def _is_far(alpha: Array, log_sum: Array) -> Array:
    return jnp.abs(log_sum) >= APART * jnp.maximum(1, 2 * alpha - 1)


def apart(alpha: Array, p: Normalised, q: Normalised) -> tuple[Array, Array, Array]:
    """Of rows far apart, from log S, and S of masses that are not quite normalised.

    Which are right are those in which S is neither near 1 nor 0.
    """
    return _of_affinity(alpha, p, q, over(kept(_affinity(alpha, p, q)), jnp.sum))


def _of_affinity(
    alpha: Array, p: Normalised, q: Normalised, total: Array
) -> tuple[Array, Array, Array]:
    lost = alpha * p.scale.log_sum_low + (1 - alpha) * q.scale.log_sum_low
    log_sum = jnp.log(total) - lost
    some = p.scale.fine() & q.scale.fine() & (alpha > 0)
    # Exponentials below e^-87 are 0: of 1e7 outcomes what that loses is below half an ulp.
    right = _is_far(alpha, log_sum) & (log_sum > -54) & (log_sum < 80) & some
    return log_sum / (alpha - 1), right, total


def _affinity(alpha: Array, p: Normalised, q: Normalised) -> Array:
    """p^alpha q^(1 - alpha) of masses that are not quite normalised.

    In few operations: an exponent x is off by up to 1.5 ulp of |x|, of more for alpha > 1.
    """
    a, b = p.values - p.scale.log_sum, q.values - q.scale.log_sum
    return jnp.where(p.support(), num.exp(alpha * a + (1 - alpha) * b), 0)


def totals(alpha: Array, value: Array) -> tuple[Array | float | None, ...]:
    """The sums of its derivatives by log-masses, of which powers and their sum are a ratio."""
    return jnp.broadcast_to(alpha / (alpha - 1), value.shape), jnp.full_like(value, -1)


def slopes(
    alpha: Array, p: Normalised, q: Normalised, sums: Array, far: Array | bool
) -> tuple[Array, Array]:
    """Its derivatives by the logarithms of the masses, from S or, not `far` apart, S - 1."""
    if far is True:
        return _far_slopes(alpha, p, q, sums)
    scale = _factor(alpha, jnp.where(far, 0, sums))
    by_p, by_q = (scale * slope for slope in _near_slopes(alpha, p, q))
    if far is False:
        return by_p, by_q
    beyond = _far_slopes(alpha, p, q, jnp.where(far, sums, 1))
    return jnp.where(far, beyond[0], by_p), jnp.where(far, beyond[1], by_q)


def close_slopes(
    alpha: Array, p: Normalised, q: Normalised, sums: Array, _: Array | bool
) -> tuple[Array, Array]:
    """The same of rows all of whose log-ratios are small."""
    return _close_slopes(alpha, p, q, _factor(alpha, sums))


def _factor(alpha: Array, excess: Array) -> Array:
    return _share(alpha) / (1 + excess)


def _near_slopes(alpha: Array, p: Normalised, q: Normalised) -> tuple[Array, Array]:
    return _in_order(alpha, *_near(alpha, p, q).slopes())


def _close_slopes(
    alpha: Array, p: Normalised, q: Normalised, factor: Array | float = 1
) -> tuple[Array, Array]:
    side = _close(alpha, p, q)
    ratio, growth = side.ratio, num.expm1_over_near
    scale = factor * side.order
    # Alike, so that a kernel finds but one of them for each side.
    by_m = scale * ratio * side.m * growth(side.less * ratio)
    by_n = -scale * ratio * side.n * growth(side.order * ratio)
    return _in_order(alpha, by_m, by_n)


def _far_slopes(alpha: Array, p: Normalised, q: Normalised, total: Array) -> tuple[Array, Array]:
    by_q = -_affinity(alpha, p, q) / total
    return alpha / (1 - alpha) * by_q, by_q


def forms(_: Array) -> dict[str, Form]:
    """The forms for single rows, to be tried in this order."""

    def of_affinity(
        alpha: Array, p: Normalised, q: Normalised, total: Array, _: Array
    ) -> tuple[Array, Array, Array]:
        return _of_affinity(alpha, p, q, total)

    return {
        "close": Form(_close_terms, _of_total, _close_slopes, _factor, similar.excess),
        "apart": Form(
            _affinity,
            of_affinity,
            lambda alpha, p, q: _far_slopes(alpha, p, q, jnp.ones_like(p.scale.sum)),
            lambda _, total: 1 / total,
            excess,
        ),
        "near": Form(
            lambda alpha, p, q: _near(alpha, p, q).terms(), _of_total, _near_slopes, _factor, excess
        ),
    }
