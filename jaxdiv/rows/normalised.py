"""Logits with a base of their row and the sum of exponentials: pairs in few operations.

Near p = q a log-ratio must be exact to itself, which costs error-free sums in every step. Away from
it less will do: with log(p/q) = (a - b) - c the difference a - b is formed as a pair, but the
centre c = log(S_p/S_q), S the sums of exponentials, may be wrong by some e of a few ulp of 1. That
shifts all log-ratios of the row alike, and since E_q[log p/q] is of second order, an f-divergence
with smooth f changes by a part of e + e^2/D of itself. So whatever value comes out above
`SMOOTH` stands; for what does not, e is found, as the sum of p - q, and taken off, and values
stand above `NEARLY`. A divergence with a kink at p = q, or that is not homogeneous, changes by a
part of e/sqrt(D); for these e is always taken off, and values stand above `ROUGH`. What is left is
computed again, by the reference path. Above `APART`, times f''(1), not even p - q need be found
from the log-ratio.

The event axis is folded into (steps, lanes) and reduced over the steps first: that vectorises, and
adds up V/lanes numbers one after another instead of V.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from .._divergence import Separable
from .pair import Pair

SMOOTH = 1e-6  # e is at most 3e-7, of which the square is below an ulp of this
NEARLY = 1e-16  # down to 1e-17, at logits up to 1000, values are within 6 ulp, gradients 6e-7
ROUGH = 1e-4
APART = 0.25  # rounded masses, of 4 half ulps, change it by 7 times that
STEEP = 4.0  # an error e of a log-ratio costs this many e

LANES = 2048

_LEAST, _MOST = 2.0**-40, 2.0**80  # of sums of exponentials
_HUGE = 1e30
LARGEST = float(jnp.finfo(jnp.float32).max)


def in_range(total: Array) -> Array:
    """Whether a sum of exponentials is far from overflow, and what underflows no part of it."""
    return (total > _LEAST) & (total < _MOST)


class Scale(NamedTuple):
    """What normalises a row of logits."""

    base: Array
    sum: Array  # of the exponentials relative to the base
    log_sum: Array  # its logarithm, relative to nothing, as a pair
    log_sum_low: Array

    def shifted(self, error: Array) -> "Scale":
        """The same with an error added to its logarithm."""
        own, more = (self.log_sum, self.log_sum_low), (error, jnp.zeros_like(error))
        return Scale(self.base, self.sum, *num.add_pairs(own, more))

    def fine(self) -> Array:
        """Whether the sum is a number far from overflow, and what underflows no part of it."""
        return in_range(self.sum)


class Normalised(NamedTuple):
    """Logits, and their exponentials relative to the base of the row."""

    values: Array
    weights: Array
    scale: Scale

    def masses(self) -> Array:
        """The normalised exponentials."""
        return self.weights * (1 / self.scale.sum)

    def log_mass(self) -> tuple[Array, Array]:
        """The logarithm of the masses as a pair."""
        high, low = two_diff(self.values, self.scale.log_sum)
        return num.two_sum(high, jnp.where(high > -jnp.inf, low, 0) - self.scale.log_sum_low)

    def support(self) -> Array:
        """Where the mass is not 0."""
        return self.values > -jnp.inf

    def likeliest(self) -> Array:
        """The outcome that has more than half of the mass, if there is one."""
        return likeliest(self.weights, self.scale.sum)

    def centred(self, slope: Array, whole: Array, rest: Array, others: Array) -> Array:
        """The derivative by logits from that by log-masses: slope - mass sum(slope).

        Where one outcome has nearly all the mass the difference cancels there; it is minus the sum
        of the other entries, `rest` sum(slope) - `others`, the others' mass and sum of slopes.
        """
        cancels = rest * whole - others
        return jnp.where(self.likeliest(), cancels, slope - self.masses() * whole)


def likeliest(weights: Array, total: Array) -> Array:
    """Which weight is more than half of their sum."""
    return 2 * weights > total


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
    # Two steps are faster than one, unless they are below 64: 10.2 and 12 ms of 65536 rows of 128.
    lanes = min(LANES, size // 2 if size % 2 == 0 and size >= 128 else size)
    steps = -(-size // lanes)
    if steps * lanes != size:  # with outcomes of probability 0 on both sides
        x = jnp.pad(x, ((0, 0), (0, steps * lanes - size)), constant_values=-jnp.inf)
    return x.reshape(rows, steps, lanes)


def normalised(x: Array) -> Normalised:
    """Rows of logits, folded, with a base of 0: exponentials of numbers that are not rounded."""
    values = fold(x)
    return _summed(values, num.exp(values), jnp.zeros((x.shape[0], 1, 1), x.dtype))


def by_maximum(x: Array) -> Normalised:
    """The same with the maximum of each row as its base, which serves all."""
    values = fold(x)
    top = over(values, jnp.max)
    top = jnp.where(jnp.isfinite(top), top, 0)
    return _summed(values, _weights(values, top), top)


def relative(
    values: Array, weights: Array, base: Array, total: Array, log_total: tuple[Array, Array]
) -> Normalised:
    """Logits with their exponentials relative to a base of the row, whose sum is known."""
    logarithm = num.add_pairs((base, jnp.zeros_like(base)), log_total)
    return Normalised(values, weights, Scale(base, total, *logarithm))


def _summed(values: Array, weights: Array, base: Array) -> Normalised:
    weights = kept(weights.reshape(weights.shape[0], -1)).reshape(weights.shape)
    total = over(weights, jnp.sum)
    return relative(values, weights, base, total, num.log_pair(total))


def kept(x: Array) -> Array:
    """An array that is stored, as it is read more than once, or by a sum.

    Sums that XLA's CPU backend fuses with what is summed are slower than the two by themselves.
    """
    return lax.optimization_barrier(x)


def _weights(values: Array, base: Array) -> Array:
    # The difference isn't rounded, so that a base costs no digits.
    high, low = two_diff(jnp.maximum(values, -LARGEST), base)
    return num.exp(high) * (1 + low)


def pair_of(p: Normalised, q: Normalised, error: Array | float, *, apart: bool = False) -> Pair:
    """The pair of two rows; `error` is what the sum of p - q is without it."""
    centre, centre_low = num.add_pairs(
        (p.scale.log_sum, p.scale.log_sum_low),
        num.negate_pair((q.scale.log_sum, q.scale.log_sum_low)),
    )
    high, low = two_diff(p.values, q.values)
    some_p, some_q = p.support(), q.support()
    both = some_p & some_q
    raw_p, raw_q = p.masses(), q.masses()
    mass_p, mass_q = jnp.where(both, raw_p, 1), jnp.where(both, raw_q, 1)
    rest = jnp.where(both, low - (centre_low + error), 0)
    ratio, ratio_low = num.two_sum(jnp.where(both, high - centre, 0), rest)
    difference = mass_p - mass_q
    if not apart:
        near = jnp.abs(ratio) <= 0.5
        change = (mass_p + mass_q) * num.tanh_near(0.5 * jnp.where(near, ratio, 0))
        difference = jnp.where(near, change, difference)
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


def log_ratio(p: Normalised, q: Normalised) -> Array:
    """log(p/q), rounded once; where both are 0 a finite number, where one is 0 a very large one."""
    # Comparisons let NaN pass.
    a, b = (jnp.where(x.values < -_HUGE, -_HUGE, x.values) for x in (p, q))
    high, low = two_diff(a, b)
    centre, centre_low = num.add_pairs(
        (p.scale.log_sum, p.scale.log_sum_low),
        num.negate_pair((q.scale.log_sum, q.scale.log_sum_low)),
    )
    return (high - centre) + (low - centre_low)


def excess(p: Normalised, q: Normalised) -> Array:
    """p - q of every outcome, whose sum is the error common to all log-ratios."""
    pair = pair_of(p, q, 0)
    return jnp.where(p.support() & q.support(), pair.difference, pair.raw_p - pair.raw_q)


def centred(p: Normalised, q: Normalised, excess: Array) -> tuple[Normalised, Normalised]:
    """The same without the error common to all log-ratios, which is the sum of the `excess`."""
    error = over(kept(excess), jnp.sum)
    return p._replace(scale=p.scale.shifted(error)), q


def stands(
    divergence: Separable, p: Normalised, q: Normalised, total: Array, smooth: Array | float
) -> Array:
    """Which rows are right: finite, of some outcome that has a finite logit, and not near.

    `smooth` is the least value of a smooth divergence that is right.
    """
    gentle = jnp.asarray(divergence.steepness()) <= STEEP
    least = ROUGH if divergence.rough else smooth
    return (total >= least) & (total < jnp.inf) & p.scale.fine() & q.scale.fine() & gentle
