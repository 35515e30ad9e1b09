"""The sum of a summand over two rows of logits that are not near each other, in few operations.

Near p = q a log-ratio must be exact to itself, which costs error-free sums in every step. Away from
it less will do: with log(p/q) = (a - b) - c the difference a - b is formed as a pair, but the
centre c = log(S_p/S_q), S the sums of exponentials, may be wrong by some e of a few ulp of 1. That
shifts all log-ratios of the row alike, and since E_q[log p/q] is of second order, an f-divergence
with smooth f changes by a part of e + e^2/D of itself. So whatever value comes out above
`SMOOTH` stands; what does not is computed again, by the reference path. A divergence with a kink
at p = q, or that is not homogeneous, changes by a part of e/sqrt(D); for these e is found first,
as the sum of p - q, and taken off, and values stand above `ROUGH`.

The event axis is folded into (steps, lanes) and reduced over the steps first: that vectorises, and
adds up V/lanes numbers one after another instead of V.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from .._divergence import Separable
from .._f_divergences import Alpha
from .pair import Pair, Side
from .renyi import RENYI
from .rule import SUM, entries, partials
from .statistic import Operands, Statistic

SMOOTH = 1e-6  # e is at most 3e-7, of which the square is below an ulp of this
ROUGH = 1e-4
APART = 0.15  # at most 3e-7 max(1, alpha) of log sum p^alpha q^(1 - alpha) is lost, as measured
STEEP = 4.0  # an error e of a log-ratio costs this many e

_LANES = 2048


def serves(statistic: Statistic, operands: Operands) -> bool:
    """Whether two sides are plain logits in float32, of a summand whose slope is known."""
    parameters, *sides = operands
    plain = all(s.chart == "logits" and s.temperature is None for s in sides)
    if not plain or sides[0].values.dtype != jnp.float32:
        return False
    if statistic is SUM:
        return not isinstance(slope := parameters.steepness(), float) or slope <= STEEP
    return statistic is RENYI


class Normalised(NamedTuple):
    """Logits, the maximum of their row and the sum of their exponentials, relative to its own."""

    values: Array
    top: Array
    sum: Array

    def weights(self) -> Array:
        """The exponentials, relative to the maximum's."""
        return jnp.exp(self.values - self.top)

    def masses(self) -> Array:
        """The normalised exponentials."""
        return self.weights() * (1 / self.sum)

    def log_mass(self) -> tuple[Array, Array]:
        """The logarithm of the masses as a pair."""
        high, low = _two_diff(self.values, self.top)
        low = jnp.where(high > -jnp.inf, low, 0)
        return num.add_pairs((high, low), (-jnp.log(self.sum), jnp.zeros_like(self.sum)))

    def support(self) -> Array:
        """Where the mass is not 0."""
        return self.values > -jnp.inf

    def centred(self, slope: Array, mass: Array, whole: Array, rest: Array, others: Array) -> Array:
        """The derivative by logits from that by log-masses: slope - mass sum(slope).

        Where one outcome has nearly all the mass the difference cancels there; it is minus the sum
        of the other entries, `rest` sum(slope) - `others`, the others' mass and sum of slopes.
        """
        return jnp.where(self.likeliest(), rest * whole - others, slope - mass * whole)

    def likeliest(self) -> Array:
        """The outcome that has more than half of the mass, if there is one."""
        return likeliest(self.weights(), self.sum)


def likeliest(weights: Array, total: Array) -> Array:
    """Which exponential, relative to the largest, is more than half of their sum."""
    return (weights == 1) & (total < 2)


def _two_diff(a: Array, b: Array) -> tuple[Array, Array]:
    """a - b as a pair, for finite numbers."""
    high = a - b
    part = high - a
    return high, (a - (high - part)) - (b + part)


def _over(x: Array, reduction) -> Array:
    """A reduction of each row, the axes kept."""
    return reduction(reduction(x, axis=1, keepdims=True), axis=2, keepdims=True)


def _fold(x: Array) -> Array:
    rows, size = x.shape
    lanes = min(_LANES, size)
    steps = -(-size // lanes)
    if steps * lanes != size:  # with outcomes of probability 0 on both sides
        x = jnp.pad(x, ((0, 0), (0, steps * lanes - size)), constant_values=-jnp.inf)
    return x.reshape(rows, steps, lanes)


def _normalised(x: Array) -> Normalised:
    values = _fold(x)
    top = _over(values, jnp.max)
    return Normalised(values, top, _over(jnp.exp(values - top), jnp.sum))


def pair_of(p: Normalised, q: Normalised, error: Array | float) -> Pair:
    """The pair of two rows; `error` is what the sum of p - q is without it."""
    gap, gap_low = _two_diff(p.top, q.top)
    centre, centre_low = num.two_sum(gap, jnp.log(p.sum / q.sum))
    high, low = _two_diff(p.values, q.values)
    some_p, some_q = p.support(), q.support()
    both = some_p & some_q
    raw_p, raw_q = p.masses(), q.masses()
    mass_p, mass_q = jnp.where(both, raw_p, 1), jnp.where(both, raw_q, 1)
    rest = jnp.where(both, low - (centre_low + gap_low + error), 0)
    ratio, ratio_low = num.two_sum(jnp.where(both, high - centre, 0), rest)
    near = jnp.abs(ratio) <= 0.5
    small = jnp.where(near, jnp.abs(ratio), 0)
    change = jnp.where(ratio < 0, mass_q, -mass_p) * num.expm1_near(-small)
    difference = jnp.where(near, change, mass_p - mass_q)
    log_p, log_q = p.log_mass(), q.log_mass()
    return Pair(
        raw_p,
        raw_q,
        mass_p,
        mass_q,
        difference,
        ratio,
        ratio_low,
        *(jnp.where(some_p, x, 0) for x in log_p),
        *(jnp.where(some_q, x, 0) for x in log_q),
    )


def excess(p: Normalised, q: Normalised) -> Array:
    """p - q of every outcome, whose sum is the error common to all log-ratios."""
    pair = pair_of(p, q, 0)
    return jnp.where(p.support() & q.support(), pair.difference, pair.raw_p - pair.raw_q)


def _pair(p: Normalised, q: Normalised, rough: bool) -> Pair:
    return pair_of(p, q, _over(excess(p, q), jnp.sum) if rough else 0)


def _spread(x: Array) -> Array:
    """A parameter that is one number a row, (rows, 1), beside (rows, steps, lanes)."""
    return x[..., None] if x.ndim else x


def _unfold(x: Array, size: int) -> Array:
    return x.reshape(x.shape[0], -1)[:, :size]


def value(statistic: Statistic, operands: Operands) -> tuple[Array, Array]:
    """The statistic of each row, and which of them stand."""
    parameters, side_p, side_q = operands
    parameters = jax.tree.map(_spread, parameters)
    p, q = _normalised(side_p.values), _normalised(side_q.values)
    if statistic is RENYI:
        found, stand = _renyi(parameters, p, q)
    else:
        pair = _pair(p, q, parameters.rough)
        terms = entries(parameters, pair, p.support(), q.support())
        found = _over(terms, jnp.sum)
        stand = _stand(parameters, p, q, found)
    return found[:, 0, 0], stand[:, 0, 0]


def pull(
    statistic: Statistic,
    operands: Operands,
    moving: tuple[bool, ...],
    known: Array,
    cotangent: Array,
) -> tuple[list[Array], Array]:
    """The cotangents of the logits that move, and which rows of them stand."""
    parameters, side_p, side_q = operands
    parameters = jax.tree.map(_spread, parameters)
    p, q = _normalised(side_p.values), _normalised(side_q.values)
    if statistic is RENYI:
        *slopes, stand = _renyi_slopes(parameters, p, q, side_p, side_q)
    else:
        total = known[:, None, None]
        *slopes, stand = _slopes(parameters, p, q, side_p, side_q, total)
    results, finite = _by_logits((p, q), slopes, moving)
    size = side_p.values.shape[-1]
    scale = cotangent[:, None, None]
    return [_unfold(x * scale, size) for x in results], (stand & finite)[:, 0, 0]


def both(
    statistic: Statistic, operands: Operands, moving: tuple[bool, ...]
) -> tuple[list[Array], Array]:
    """The statistic of each row and its derivatives by the logits that move; which rows stand."""
    parameters, side_p, side_q = operands
    parameters = jax.tree.map(_spread, parameters)
    p, q = _normalised(side_p.values), _normalised(side_q.values)
    if statistic is RENYI:
        found, stand = _renyi(parameters, p, q)
        *slopes, fine = _renyi_slopes(parameters, p, q, side_p, side_q)
        stand &= fine
    else:
        terms = entries(parameters, _pair(p, q, parameters.rough), p.support(), q.support())
        found = _over(terms, jnp.sum)
        *slopes, stand = _slopes(parameters, p, q, side_p, side_q, found)
    results, finite = _by_logits((p, q), slopes, moving)
    size = side_p.values.shape[-1]
    return [found[:, 0, 0], *(_unfold(x, size) for x in results)], (stand & finite)[:, 0, 0]


def _by_logits(
    sides: tuple[Normalised, Normalised],
    slopes: Sequence[Array],
    moving: tuple[bool, ...],
) -> tuple[list[Array], Array]:
    """Derivatives by the logits that move, and which rows of them are finite."""
    results, finite = [], sides[0].top < jnp.inf
    for side, slope, moves in zip(sides, slopes, moving, strict=True):
        if not moves:
            continue
        slope = lax.optimization_barrier(slope)  # kept: it is read more than once
        whole = _over(slope, jnp.sum)
        finite &= jnp.isfinite(whole)
        rest, others = lax.cond(
            jnp.any(side.sum < 2), _without_likeliest, _nothing, side.weights(), slope, side.sum
        )
        results.append(side.centred(slope, side.masses(), whole, rest, others))
    return results, finite


def _without_likeliest(weights: Array, slope: Array, total: Array) -> tuple[Array, Array]:
    """The mass, and the sum of the slopes, of all but the likeliest outcome."""
    here = likeliest(weights, total)
    rest, others = (_over(jnp.where(here, 0, x), jnp.sum) for x in (weights, slope))
    return rest / total, others


def _nothing(weights: Array, slope: Array, total: Array) -> tuple[Array, Array]:
    return jnp.zeros_like(total), jnp.zeros_like(total)


def _slopes(
    divergence: Separable, p: Normalised, q: Normalised, side_p: Side, side_q: Side, total: Array
) -> tuple[Array, Array, Array]:
    """The derivatives of a sum by the logarithms of the masses, and which rows stand."""
    pair = _pair(p, q, divergence.rough)
    some_p, some_q = p.support(), q.support()
    by_p, by_q = partials(divergence, pair, side_p, side_q, some_p, some_q)
    return by_p, by_q, _stand(divergence, p, q, total)


def vanishes(statistic: Statistic, divergence: Any) -> bool:
    """Whether value and slopes are 0 at p = q: an f-divergence's with a smooth f."""
    return statistic is RENYI or (divergence.homogeneous and not divergence.rough)


def same(statistic: Statistic, operands: Operands) -> Array:
    """Rows whose value and slopes are exactly 0, being the same on both sides.

    As at the start of a fit; they need no digits.
    """
    divergence, p, q = operands
    if not vanishes(statistic, divergence):
        return jnp.zeros(p.values.shape[0], bool)
    finite = jnp.isfinite(jnp.max(p.values, axis=-1))
    return jnp.all(p.values == q.values, axis=-1) & finite


def _renyi(alpha: Array, p: Normalised, q: Normalised) -> tuple[Array, Array]:
    """Renyi's divergence from the alpha-divergence, of rows far apart from log S."""
    total, excess, near = _near(alpha, p, q)
    value = alpha * total * num.log1p_over(jnp.where(near, excess, 0))

    def farther() -> tuple[Array, Array]:
        _, log_sum = _affinity(alpha, p, q)
        apart = ~near & _apart(alpha, p, q, log_sum)
        return jnp.where(apart, log_sum / (alpha - 1), value), near | apart

    return lax.cond(jnp.all(near), lambda: (value, near), farther)


def _renyi_slopes(
    alpha: Array, p: Normalised, q: Normalised, side_p: Side, side_q: Side
) -> tuple[Array, Array, Array]:
    # Those of the alpha-divergence, by which Renyi's moves alpha / S times as much.
    total, excess, near = _near(alpha, p, q)
    *slopes, _ = _slopes(Alpha(alpha), p, q, side_p, side_q, total)
    scale = alpha / jnp.where(near, 1 + excess, 1)
    by_p, by_q = (scale * slope for slope in slopes)

    def farther() -> tuple[Array, Array, Array]:
        share, log_sum = _affinity(alpha, p, q)
        apart = ~near & _apart(alpha, p, q, log_sum)
        far_p, far_q = share * (alpha / (alpha - 1)), -share
        return jnp.where(apart, far_p, by_p), jnp.where(apart, far_q, by_q), near | apart

    return lax.cond(jnp.all(near), lambda: (by_p, by_q, near), farther)


def _near(alpha: Array, p: Normalised, q: Normalised) -> tuple[Array, Array, Array]:
    """The alpha-divergence D, S - 1 = alpha (alpha - 1) D, and which rows are right from them."""
    total = _alpha_sum(alpha, p, q)
    excess = alpha * (alpha - 1) * total
    # Below, S is a small part of what it is a difference of.
    return total, excess, (excess >= -0.75) & _stand(Alpha(alpha), p, q, total)


def _alpha_sum(alpha: Array, p: Normalised, q: Normalised) -> Array:
    divergence = Alpha(alpha)
    some = p.support(), q.support()
    return _over(entries(divergence, _pair(p, q, divergence.rough), *some), jnp.sum)


def _affinity(alpha: Array, p: Normalised, q: Normalised) -> tuple[Array, Array]:
    """p^alpha q^(1 - alpha) as parts of their sum S, and log S of masses that add up to 1."""
    (a, a_low), (b, b_low) = _two_diff(p.values, p.top), _two_diff(q.values, q.top)
    both = (a > -jnp.inf) & (b > -jnp.inf)
    gap, gap_low = _two_diff(jnp.where(both, a, 0), jnp.where(both, b, 0))
    gap_low = jnp.where(both, a_low - b_low + gap_low, 0)
    high, low = num.two_product(alpha, gap)
    high, more = num.two_sum(jnp.where(both, b, 0), high)
    low = low + alpha * gap_low + more + jnp.where(both, b_low, 0)
    endless = (alpha > 1) & (a > b)
    weight = jnp.where(both, jnp.exp(high) * (1 + low), jnp.where(endless, jnp.inf, 0))
    total = _over(weight, jnp.sum)
    logs = map(num.log_pair, (total, p.sum, q.sum))
    (whole, whole_low), (of_p, of_p_low), (of_q, of_q_low) = logs
    ratio, ratio_low = num.two_product(alpha, of_p - of_q)
    log_sum, rest = num.two_sum(whole - of_q, -ratio)
    rest = rest - ratio_low + (whole_low - of_q_low) - alpha * (of_p_low - of_q_low)
    return weight / total, log_sum + rest


def _apart(alpha: Array, p: Normalised, q: Normalised, log_sum: Array) -> Array:
    """Which rows are right from the sum alone: those in which it is neither near 1 nor 0."""
    size, top = jnp.abs(log_sum), jnp.maximum(jnp.abs(p.top), jnp.abs(q.top))
    some = (top < jnp.inf) & (alpha > 0)  # a finite logit, and no NaN
    return (size >= APART * jnp.maximum(1, alpha)) & (size < 80) & some


def _stand(divergence: Separable, p: Normalised, q: Normalised, total: Array) -> Array:
    """Which rows are right: finite, not near, and with some outcome that has a finite logit."""
    top = jnp.maximum(jnp.abs(p.top), jnp.abs(q.top))
    gentle = jnp.asarray(divergence.steepness()) <= STEEP
    least = ROUGH if divergence.rough else SMOOTH
    return (total >= least) & (total < jnp.inf) & (top < jnp.inf) & gentle
