"""Logits with the maximum of their row and the sum of exponentials: pairs in few operations.

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

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._divergence import Separable
from .pair import Pair

SMOOTH = 1e-6  # e is at most 3e-7, of which the square is below an ulp of this
ROUGH = 1e-4
STEEP = 4.0  # an error e of a log-ratio costs this many e

LANES = 2048


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
        high, low = two_diff(self.values, self.top)
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


def two_diff(a: Array, b: Array) -> tuple[Array, Array]:
    """a - b as a pair, for finite numbers."""
    high = a - b
    part = high - a
    return high, (a - (high - part)) - (b + part)


def over(x: Array, reduction) -> Array:
    """A reduction of each row, the axes kept."""
    return reduction(reduction(x, axis=1, keepdims=True), axis=2, keepdims=True)


def fold(x: Array) -> Array:
    """Rows as (rows, steps, lanes)."""
    rows, size = x.shape
    lanes = min(LANES, size)
    steps = -(-size // lanes)
    if steps * lanes != size:  # with outcomes of probability 0 on both sides
        x = jnp.pad(x, ((0, 0), (0, steps * lanes - size)), constant_values=-jnp.inf)
    return x.reshape(rows, steps, lanes)


def normalised(x: Array) -> Normalised:
    """Rows of logits, folded."""
    values = fold(x)
    top = over(values, jnp.max)
    return Normalised(values, top, over(jnp.exp(values - top), jnp.sum))


def pair_of(p: Normalised, q: Normalised, error: Array | float) -> Pair:
    """The pair of two rows; `error` is what the sum of p - q is without it."""
    gap, gap_low = two_diff(p.top, q.top)
    centre, centre_low = num.two_sum(gap, jnp.log(p.sum / q.sum))
    high, low = two_diff(p.values, q.values)
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


def near_pair(p: Normalised, q: Normalised, rough: bool) -> Pair:
    """The pair, without the error common to all log-ratios where that is of first order."""
    return pair_of(p, q, over(excess(p, q), jnp.sum) if rough else 0)


def stands(divergence: Separable, p: Normalised, q: Normalised, total: Array) -> Array:
    """Which rows are right: finite, not near, and with some outcome that has a finite logit."""
    top = jnp.maximum(jnp.abs(p.top), jnp.abs(q.top))
    gentle = jnp.asarray(divergence.steepness()) <= STEEP
    least = ROUGH if divergence.rough else SMOOTH
    return (total >= least) & (total < jnp.inf) & (top < jnp.inf) & gentle
