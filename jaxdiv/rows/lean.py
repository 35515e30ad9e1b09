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

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from .._divergence import Separable
from .pair import Pair, Side
from .rule import entries, partials

SMOOTH = 1e-6  # e is at most 3e-7, of which the square is below an ulp of this
ROUGH = 1e-4
STEEP = 4.0  # an error e of a log-ratio costs this many e

_LANES = 2048


def serves(divergence: Separable, side_p: Side, side_q: Side) -> bool:
    """Whether two sides are plain logits in float32, of a summand whose slope is known."""
    plain = all(s.chart == "logits" and s.temperature is None for s in (side_p, side_q))
    known = not isinstance(slope := divergence.steepness(), float) or slope <= STEEP
    return plain and side_p.values.dtype == jnp.float32 and known


class _Folded(NamedTuple):
    """Rows of logits as (rows, steps, lanes), the maximum of each and how often it is attained.

    `others` is the sum of the exponentials of the rest: a mass of 1 - 1e-9 keeps its 1e-9.
    """

    values: Array
    top: Array
    ties: Array
    others: Array

    @property
    def sum(self) -> Array:
        """The sum of the exponentials, relative to that of the maximum."""
        return self.ties + self.others

    def masses(self) -> Array:
        """The normalised exponentials."""
        return jnp.exp(self.values - self.top) * (1 / self.sum)

    def log_mass(self) -> tuple[Array, Array]:
        """The logarithm of the masses as a pair."""
        high, low = _two_diff(self.values, self.top)
        low = jnp.where(high > -jnp.inf, low, 0)
        return num.add_pairs((high, low), (-jnp.log(self.sum), jnp.zeros_like(self.sum)))


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


def _normalised(x: Array) -> _Folded:
    values = _fold(x)
    top = _over(values, jnp.max)
    ties = _over((values == top).astype(values.dtype), jnp.sum)
    others = _over(jnp.where(values == top, 0, jnp.exp(values - top)), jnp.sum)
    return _Folded(values, top, ties, others)


def _pair(p: _Folded, q: _Folded, rough: bool) -> Pair:
    gap, gap_low = _two_diff(p.top, q.top)
    centre, centre_low = num.two_sum(gap, jnp.log(p.sum / q.sum))
    centre_low = centre_low + gap_low
    high, low = _two_diff(p.values, q.values)
    some_p, some_q = p.values > -jnp.inf, q.values > -jnp.inf
    both = some_p & some_q
    raw_p, raw_q = p.masses(), q.masses()
    mass_p, mass_q = jnp.where(both, raw_p, 1), jnp.where(both, raw_q, 1)

    def relative(centre_low: Array) -> tuple[Array, Array, Array]:
        """The log-ratio as a pair, and p - q from it."""
        rest = jnp.where(both, low - centre_low, 0)
        ratio, ratio_low = num.two_sum(jnp.where(both, high - centre, 0), rest)
        near = jnp.abs(ratio) <= 0.5
        small = jnp.where(near, jnp.abs(ratio), 0)
        change = jnp.where(ratio < 0, mass_q, -mass_p) * num.expm1_near(-small)
        return ratio, ratio_low, jnp.where(near, change, mass_p - mass_q)

    ratio, ratio_low, difference = relative(centre_low)
    if rough:
        error = _over(jnp.where(both, difference, raw_p - raw_q), jnp.sum)
        ratio, ratio_low, difference = relative(centre_low + error)
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


def _spread(x: Array) -> Array:
    """A parameter that is one number a row, (rows, 1), beside (rows, steps, lanes)."""
    return x[..., None] if x.ndim else x


def _unfold(x: Array, size: int) -> Array:
    return x.reshape(x.shape[0], -1)[:, :size]


def value(divergence: Separable, side_p: Side, side_q: Side) -> tuple[Array, Array]:
    """The sum of each row, and whether all of them stand."""
    divergence = jax.tree.map(_spread, divergence)
    p, q = _normalised(side_p.values), _normalised(side_q.values)
    pair = _pair(p, q, divergence.rough)
    terms = entries(divergence, pair, p.values > -jnp.inf, q.values > -jnp.inf)
    total = _over(terms, jnp.sum)[:, 0, 0]
    return total, jnp.all(_stand(divergence, p, q, total))


def pull(
    divergence: Separable,
    side_p: Side,
    side_q: Side,
    moving: tuple[bool, ...],
    total: Array,
    cotangent: Array,
) -> tuple[list[Array], Array]:
    """The cotangents of the logits that move, and whether all of them stand.

    With g = d D/d log(mass) of an outcome the cotangent is g - mass sum g. Where one outcome has
    nearly all the mass the difference cancels there; it is minus the sum of the others' entries,
    m sum g - (sum of the others' g) with m the others' mass.
    """
    divergence = jax.tree.map(_spread, divergence)
    size = side_p.values.shape[-1]
    p, q = _normalised(side_p.values), _normalised(side_q.values)
    pair = _pair(p, q, divergence.rough)
    some_p, some_q = p.values > -jnp.inf, q.values > -jnp.inf
    slopes = partials(divergence, pair, side_p, side_q, some_p, some_q)
    stand = _stand(divergence, p, q, total)
    results = []
    sides = zip((p, q), slopes, (pair.raw_p, pair.raw_q), moving, strict=True)
    for side, slope, mass, _ in (given for given in sides if given[-1]):
        slope = lax.optimization_barrier(slope)  # kept: it is read three times
        likeliest = (side.values == side.top) & (side.ties == 1)
        whole, others = _over(slope, jnp.sum), _over(jnp.where(likeliest, 0, slope), jnp.sum)
        stand &= jnp.isfinite(others)[:, 0, 0]
        rest = side.others / side.sum
        centred = jnp.where(likeliest, rest * whole - others, slope - mass * whole)
        results.append(_unfold(centred * cotangent[:, None, None], size))
    return results, jnp.all(stand)


def _stand(divergence: Separable, p: _Folded, q: _Folded, total: Array) -> Array:
    """Which rows are right: finite, not near, and with some outcome that has a finite logit."""
    top = jnp.maximum(jnp.abs(p.top), jnp.abs(q.top))[:, 0, 0]
    steep = jnp.asarray(divergence.steepness())
    gentle = (steep[:, 0, 0] if steep.ndim else steep) <= STEEP
    least = ROUGH if divergence.rough else SMOOTH
    return (total >= least) & (total < jnp.inf) & (top < jnp.inf) & gentle
