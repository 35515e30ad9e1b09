"""Two rows side by side: everything a summand may need, each number accurate to itself.

A *side* is one row of numbers in one of three coordinates. A *pair* holds, for every outcome,
p, q, their difference and their log-ratio. Near p = q the last two are small, and rounding p
and q first would lose them; so they are formed from the stored numbers: p - q directly from
probabilities, and the log-ratio from logits as an error-free difference, centred, with the
low part folded in at the end.
"""

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from .._pytree import register, static


@register
@dataclasses.dataclass(frozen=True)
class Side:
    """Rows along the last axis.

    `chart` says what `values` are: "linear", the numbers themselves; "log", their logarithms,
    trusted as they are; "logits", logarithms up to a constant of the row, divided by
    `temperature` (None is 1) and normalised.
    """

    values: Array
    temperature: Array | None = None
    chart: Literal["linear", "log", "logits"] = static(default="linear")

    @property
    def linear(self) -> bool:
        """Whether derivatives are with respect to the numbers, not to their logarithms."""
        return self.chart == "linear"

    def support(self) -> Array:
        """Which entries are not structural zeros. XLA flushes subnormals, so they are zeros."""
        if self.linear:
            return self.values >= jnp.finfo(self.values.dtype).tiny
        return self.values > -jnp.inf

    def invalid(self) -> Array:
        """Rows without a meaning: NaN, a negative or infinite probability, no finite logit."""
        x = self.values
        if self.linear:
            return ~jnp.all((x >= 0) & (x < jnp.inf), axis=-1)
        bad = ~jnp.all(x < jnp.inf, axis=-1)  # catches NaN and +inf
        bad |= ~jnp.any(x > -jnp.inf, axis=-1)
        if self.temperature is not None:
            fine = (self.temperature > 0) & (self.temperature < jnp.inf)
            bad |= ~(fine[..., 0] if fine.ndim else fine)
        return bad


class Pair(NamedTuple):
    """Both rows, entry by entry.

    `p`, `q`, `difference` and `log_ratio` hold where both are positive; elsewhere they are
    1, 1, 0 and 0, so that a summand never meets an infinity. `raw_p` and `raw_q` are the
    masses as they are. Logarithms and the log-ratio come with a low part.
    """

    raw_p: Array
    raw_q: Array
    p: Array
    q: Array
    difference: Array
    log_ratio: Array
    log_ratio_low: Array
    log_p: Array
    log_p_low: Array
    log_q: Array
    log_q_low: Array

    def swap(self) -> "Pair":
        """The same pair with the arguments exchanged."""
        return Pair(
            self.raw_q,
            self.raw_p,
            self.q,
            self.p,
            -self.difference,
            -self.log_ratio,
            -self.log_ratio_low,
            self.log_q,
            self.log_q_low,
            self.log_p,
            self.log_p_low,
        )

    def scaled(self) -> "Pair":
        """The pair with tiny entries multiplied by a power of two.

        Derivatives of a function homogeneous of degree 1 do not change, and products such as
        p log(p/q) / 2 no longer underflow before they are divided by p.
        """
        double = num.is_double(self.p)
        half = 500 if double else 60  # powers of two: about half of the range
        low = 2.0**26 * float(jnp.finfo(self.p.dtype).tiny)
        both = jnp.maximum(self.p, self.q) < 2.0**-half
        one = jnp.minimum(self.p, self.q) < low
        factor = jnp.where(both, 2.0**half, jnp.where(one, 2.0**24, 1)).astype(self.p.dtype)
        shift = num.log_pair(factor)
        log_p, log_p_low = num.add_pairs((self.log_p, self.log_p_low), shift)
        log_q, log_q_low = num.add_pairs((self.log_q, self.log_q_low), shift)
        return self._replace(
            p=self.p * factor,
            q=self.q * factor,
            difference=self.difference * factor,
            log_p=log_p,
            log_p_low=log_p_low,
            log_q=log_q,
            log_q_low=log_q_low,
        )

    def log_affinity(self, alpha: Array | float) -> tuple[Array, Array]:
        """alpha log p + (1 - alpha) log q as a pair."""
        alpha = jnp.asarray(alpha, self.p.dtype)
        return _log_affinity(alpha, self.log_q, self.log_q_low, self.log_ratio, self.log_ratio_low)

    def affinity(self, alpha: Array | float) -> Array:
        """p^alpha q^(1 - alpha), overflowing only where the value does."""
        return num.exp_pair(*self.log_affinity(alpha))


@jax.custom_jvp
def _log_affinity(alpha, log_q, log_q_low, log_ratio, log_ratio_low):
    hi, lo = num.two_product(alpha, log_ratio)
    return num.add_pairs((hi, lo + alpha * log_ratio_low), (log_q, log_q_low))


@_log_affinity.defjvp
def _(primals, tangents):
    alpha, _, _, log_ratio, _ = primals
    alpha_dot, log_q_dot, _, log_ratio_dot, _ = tangents
    out = _log_affinity(*primals)
    tangent = log_q_dot + alpha * log_ratio_dot + alpha_dot * log_ratio
    return out, (tangent, jnp.zeros_like(tangent))


class _Log(NamedTuple):
    """A side in logarithmic coordinates: log mass as a pair, and the mass."""

    high: Array
    low: Array
    mass: Array


def _centred(side: Side) -> tuple[Array, Array]:
    """(logits - their maximum) / temperature as a pair; -inf stays -inf."""
    x = side.values
    top = jnp.max(x, axis=-1, keepdims=True)
    top = jnp.where(jnp.abs(top) < jnp.inf, top, 0)
    high, low = num.two_diff(x, top)
    if side.temperature is not None:
        high, low = num.divide_pair(high, low, side.temperature)
    # Below the dtype's lowest number the difference is -inf, and its low part meaningless.
    return high, jnp.where(high > -jnp.inf, low, 0)


def _exponentials(side: Side) -> tuple[Array, Array, Array, Array]:
    """Centred logits as a pair, their exponentials, and the sum without the leading 1."""
    high, low = _centred(side)
    weight = num.exp_pair(high, low)
    first = num.argmax(side.values)
    index = lax.broadcasted_iota(jnp.int32, weight.shape, weight.ndim - 1)
    others = jnp.where(index == first, 0, weight)
    return high, low, weight, num.row_sum(others)[..., None]


def _log_side(side: Side) -> _Log:
    if side.linear:
        safe = jnp.where(side.support(), side.values, 1)
        return _Log(*num.log_pair(safe), side.values)
    if side.chart == "log":
        return _Log(side.values, jnp.zeros_like(side.values), jnp.exp(side.values))
    high, low, weight, rest = _exponentials(side)
    return _normalised(high, low, weight, rest)


def _normalised(high, low, weight, rest) -> _Log:
    log_sum = _log1p_pair(rest)
    log_mass = num.add_pairs((high, low), num.negate_pair(log_sum))
    # A probability of 1 - 1e-9 has the logarithm -1e-9: the maximum's is -log1p(rest) itself.
    return _Log(log_mass[0], log_mass[1], weight / (1 + rest))


def _log1p_pair(x: Array) -> tuple[Array, Array]:
    """log(1 + x) for x >= 0 as a pair; the low part is one Newton step, of use above 1."""
    hi = num.log1p(x)
    lo = jnp.where(x > 1, (1 + x) * jnp.exp(-hi) - 1, 0)
    return hi, jnp.where(jnp.isfinite(lo), lo, 0)


def _difference(p: Array, q: Array, log_ratio: Array) -> Array:
    """p - q from the log-ratio, accurate to itself near p = q and without overflow far from it."""
    return jnp.where(log_ratio > 0, -p * num.expm1(-log_ratio), q * num.expm1(log_ratio))


def _logits_pair(side_p: Side, side_q: Side) -> tuple[_Log, _Log, tuple[Array, Array]]:
    """Two rows of logits: log(p/q) = d - log E_q[e^d] with d the exact difference.

    log E_q[e^d] = log(S_p / S_q), S the sums of exponentials, from their difference, so that
    it is as small as d is. Swapping the rows changes its sign and nothing else.
    """
    high_p, low_p, weight_p, rest_p = _exponentials(side_p)
    high_q, low_q, weight_q, rest_q = _exponentials(side_q)
    both = (high_p > -jnp.inf) & (high_q > -jnp.inf)
    a = (jnp.where(both, high_p, 0), jnp.where(both, low_p, 0))
    b = (jnp.where(both, high_q, 0), jnp.where(both, low_q, 0))
    d = num.add_pairs(a, num.negate_pair(b))
    gap = jnp.where(
        both, _difference(weight_p, weight_q, jnp.where(both, d[0], 0)), weight_p - weight_q
    )
    gap = num.row_sum(gap)[..., None]
    growth = jnp.where(gap > 0, gap / (1 + rest_q), -gap / (1 + rest_p))
    hi, lo = _log1p_pair(growth)
    centre = (jnp.where(gap > 0, hi, -hi), jnp.where(gap > 0, lo, -lo))
    log_p = _normalised(high_p, low_p, weight_p, rest_p)
    log_q = _normalised(high_q, low_q, weight_q, rest_q)
    return log_p, log_q, num.add_pairs(d, num.negate_pair(centre))


def pair_of(side_p: Side, side_q: Side) -> Pair:
    """The pair of two sides of equal shape and dtype."""
    return _pair_once(side_p, side_q, parts=num.parts())


# Traced and lowered once for all that a program wants it for.
@functools.partial(jax.jit, static_argnames="parts")
def _pair_once(side_p: Side, side_q: Side, *, parts: int) -> Pair:
    del parts  # another number is another trace
    return _pair(side_p, side_q)


@jax.custom_jvp
def _pair(side_p: Side, side_q: Side) -> Pair:
    some_p, some_q = side_p.support(), side_q.support()
    both = some_p & some_q

    def safe(x, fallback, where=both):
        return jnp.where(where, x, fallback)

    if side_p.linear and side_q.linear:
        log_p, log_q = _log_side(side_p), _log_side(side_q)
        p, q = safe(side_p.values, 1), safe(side_q.values, 1)
        difference = p - q
        ratio = num.log_ratio(p, q, difference)
    else:
        if side_p.chart == side_q.chart == "logits":
            log_p, log_q, ratio = _logits_pair(side_p, side_q)
        else:
            log_p, log_q = _log_side(side_p), _log_side(side_q)
            a, b = (safe(log_p.high, 0), log_p.low), (safe(log_q.high, 0), log_q.low)
            ratio = num.add_pairs(a, num.negate_pair(b))
        ratio = (safe(ratio[0], 0), safe(ratio[1], 0))
        p, q = safe(log_p.mass, 1), safe(log_q.mass, 1)
        difference = _difference(p, q, ratio[0])
    return Pair(
        jnp.where(some_p, log_p.mass, 0),
        jnp.where(some_q, log_q.mass, 0),
        p,
        q,
        safe(difference, 0),
        *ratio,
        safe(log_p.high, 0, some_p),
        safe(log_p.low, 0, some_p),
        safe(log_q.high, 0, some_q),
        safe(log_q.low, 0, some_q),
    )


@_pair.defjvp
def _(primals, tangents):
    pair = _pair(*primals)
    side_p, side_q = primals
    some_p, some_q = side_p.support(), side_q.support()
    both = some_p & some_q
    raw_p, log_p = mass_tangents(side_p, tangents[0], pair.raw_p)
    raw_q, log_q = mass_tangents(side_q, tangents[1], pair.raw_q)
    log_p, log_q = jnp.where(some_p, log_p, 0), jnp.where(some_q, log_q, 0)
    p, q = jnp.where(both, raw_p, 0), jnp.where(both, raw_q, 0)
    zero = jnp.zeros_like(p)
    ratio = jnp.where(both, log_p - log_q, 0)
    return pair, Pair(raw_p, raw_q, p, q, p - q, ratio, zero, log_p, zero, log_q, zero)


def mass_tangents(side: Side, tangent: Any, mass: Array) -> tuple[Array, Array]:
    """Tangents of the masses and of their logarithms (the latter where the mass is not 0)."""
    if side.linear:
        x_dot = tangent.values
        return x_dot, x_dot / jnp.where(side.support(), side.values, 1)
    log_dot = log_tangent(side, tangent, mass)
    return mass * log_dot, log_dot


def log_tangent(side: Side, tangent: Any, mass: Array) -> Array:
    """Tangent of log mass: the given one for "log", the centred one for "logits"."""
    x_dot = tangent.values
    if side.chart == "log":
        return x_dot
    if side.temperature is not None:
        top = jnp.max(side.values, axis=-1, keepdims=True)
        centred = jnp.where(side.support(), side.values - lax.stop_gradient(top), 0)
        x_dot = (x_dot - centred / side.temperature * tangent.temperature) / side.temperature
    # Where one outcome has nearly all the mass, centred there before the mean is taken off: its
    # gradient is, exactly, minus the sum of the others', which a difference of nearly equal numbers
    # would lose. Without such an outcome that sum is a difference itself.
    likeliest = mass > 0.5
    top = jnp.sum(jnp.where(likeliest, x_dot, 0), axis=-1, keepdims=True)
    x_dot = jnp.where(likeliest, 0, x_dot - top)
    return x_dot - num.row_sum(mass * x_dot)[..., None]
