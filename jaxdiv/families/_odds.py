"""Two outcomes: successes among a number of trials, and successes before a number of failures."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from ._edges import absent, along, limit
from .base import ExponentialFamily, Real, choose, family

Pair = tuple[Array, Array]

# How far above the smallest normal number a chance is whose product with an ulp is normal.
_SQUARED = 2.0**30


class Odds(NamedTuple):
    """A success and a failure, each probability accurate to itself; either may be 0."""

    success: Array
    failure: Array
    log_odds: Array  # infinite only where a probability is 0, not where it underflows
    low: Array  # of log_odds: with it the error is an ulp of 1
    exact: Array  # 1 where `success` is a stored number, -1 where `failure` is, 0 for `log_odds`

    def flipped(self) -> "Odds":
        """With success and failure exchanged."""
        return Odds(self.failure, self.success, -self.log_odds, -self.low, -self.exact)

    def ends(self) -> Array:
        """Where one outcome is certain."""
        return jnp.isinf(self.log_odds)


@jax.custom_jvp
def _masses(log_odds: Array, low: Array) -> Pair:
    """The probabilities of success and failure; 4 ulp."""
    likely = log_odds > 0
    w = num.exp_pair(-jnp.abs(log_odds), jnp.where(likely, -low, low))
    small, large = w / (1 + w), 1 / (1 + w)
    return jnp.where(likely, large, small), jnp.where(likely, small, large)


@_masses.defjvp
def _(primals, tangents):
    success, failure = _masses(*primals)
    moved = success * failure * (tangents[0] + tangents[1])
    return (success, failure), (moved, -moved)


@jax.custom_jvp
def minus_log_failure(log_odds: Array, low: Array) -> Array:
    """-log of the probability of failure; 4 ulp."""
    tail = num.log1p(num.exp_pair(-jnp.abs(log_odds), jnp.where(log_odds > 0, -low, low)))
    return jnp.maximum(log_odds, 0) + tail


@minus_log_failure.defjvp
def _(primals, tangents):
    return minus_log_failure(*primals), _masses(*primals)[0] * (tangents[0] + tangents[1])


@jax.custom_jvp
def _log_failures(x: Pair, y: Pair, step: Array) -> Array:
    """log of y's probability of failure over x's, at log-odds x and y = x + step.

    Accurate to itself where it is not small.
    """
    (a, _), (b, _) = x, y
    tail = jnp.log((1 + jnp.exp(-jnp.abs(a))) / (1 + jnp.exp(-jnp.abs(b))))
    return tail - jnp.where((a > 0) & (b > 0), step, jnp.maximum(b, 0) - jnp.maximum(a, 0))


@_log_failures.defjvp
def _(primals, tangents):
    (x, y, _), (x_dot, y_dot, _) = primals, tangents
    moved = _masses(*x)[0] * (x_dot[0] + x_dot[1]) - _masses(*y)[0] * (y_dot[0] + y_dot[1])
    return _log_failures(*primals), moved


@jax.custom_jvp
def _log_odds(probs: Array) -> Pair:
    # XLA flushes subnormal numbers, so that they are zeros.
    never, always = probs < jnp.finfo(probs.dtype).tiny, probs >= 1
    safe = jnp.where(never | always, 0.5, probs)
    hi, lo = num.add_pairs(num.log_pair(safe), num.negate_pair(num.log_pair(1 - safe)))
    return jnp.where(never, -jnp.inf, jnp.where(always, jnp.inf, hi)), lo


@_log_odds.defjvp
def _(primals, tangents):
    (probs,), hi = primals, _log_odds(*primals)
    safe = jnp.where(jnp.isinf(hi[0]), 0.5, probs)
    return hi, (tangents[0] / (safe * (1 - safe)), jnp.zeros_like(probs))


def odds(probs: Array | None, logits: Array | None) -> Odds:
    """Of a probability of success, or of its log-odds."""
    if probs is None:
        assert logits is not None
        return odds_at(logits, jnp.zeros_like(logits))
    log_odds, low = _once(_log_odds(probs))
    return Odds(probs, 1 - probs, log_odds, low, jnp.ones_like(probs))


def odds_at(log_odds: Array, low: Array) -> Odds:
    """Of log-odds, an unevaluated sum of two numbers."""
    log_odds, low = _once((log_odds, low))
    success, failure = _once(_masses(log_odds, low))
    return Odds(success, failure, log_odds, low, jnp.zeros_like(log_odds))


def _inner(x: Odds) -> Odds:
    """With even odds where an outcome is certain."""
    ends = x.ends()

    def safe(value: Array, even: float) -> Array:
        return jnp.where(ends, even, value)

    return Odds(
        safe(x.success, 0.5), safe(x.failure, 0.5), safe(x.log_odds, 0), safe(x.low, 0), x.exact
    )


def step_between(x: Odds, y: Odds) -> Pair:
    """y's log-odds less x's: from two stored numbers by their difference, if they are near."""
    x, y = _inner(x), _inner(y)
    far = num.add_pairs((y.log_odds, y.low), num.negate_pair((x.log_odds, x.low)))
    rise = jnp.where(x.exact > 0, y.success - x.success, x.failure - y.failure)
    smaller = jnp.minimum(x.success, y.success), jnp.minimum(x.failure, y.failure)
    near = (x.exact == y.exact) & (x.exact != 0) & (jnp.abs(rise) <= jnp.minimum(*smaller))
    return _once(_near_or(far, rise, *smaller, near))


@jax.custom_jvp
def _near_or(far: Pair, rise: Array, success: Array, failure: Array, near: Array) -> Pair:
    size = jnp.where(near, jnp.abs(rise), 0)
    length = num.log1p(size / success) + num.log1p(size / failure)
    hi = jnp.where(near, jnp.where(rise < 0, -length, length), far[0])
    return hi, jnp.where(near, 0, far[1])


@_near_or.defjvp
def _(primals, tangents):
    moved = tangents[0][0] + tangents[0][1]
    return _near_or(*primals), (moved, jnp.zeros_like(moved))


def _at_ends(x: Odds, y: Odds, t: Array) -> Array:
    """t^-2 KL(x || y) of one trial where an outcome of x or y is certain.

    It is -log of y's probability of what is certain in x, and infinite, with its one-sided
    derivatives, where x has an outcome that y has not.
    """
    finite = _inner(y)
    sign = jnp.where(x.log_odds > 0, -1, 1).astype(x.low.dtype)
    alone = minus_log_failure(sign * finite.log_odds, sign * finite.low)
    alone = jnp.where(x.ends() & ~y.ends(), alone, 0)
    value = alone / jnp.square(jnp.where(t == 0, 1, t))
    for end, a, b in ((-jnp.inf, x.success, y.success), (jnp.inf, x.failure, y.failure)):
        value = value + absent((y.log_odds == end) & (x.log_odds != end), a, b)
    return value


def _term(x: Array, y: Array, d: Array, t: Array, log_ratio: Array) -> Array:
    """x (r - 1 - log r) / t^2 with r = y/x, y = x + t d; x and y may underflow."""
    safe = jnp.where(x > 0, x, 1)
    e = t * d / safe
    near = (x > 0) & (e >= -0.5) & (e <= 1)
    mild = jnp.where(near, d, 0) * (jnp.where(near, d, 0) / safe)
    mild = mild * num.log1p_bend_near(jnp.where(near, e, 0))
    steep = (y - x - x * log_ratio) / jnp.square(jnp.where(near | (t == 0), 1, t))
    return jnp.where(near, mild, steep)


def exactly_one(name: str, probs: Any, logits: Any) -> None:
    """Raise ValueError unless one of both is given."""
    if (probs is None) == (logits is None):
        given = "neither" if probs is None else "both"
        raise ValueError(f"{name} must have exactly one of probs and logits, but has {given}")


def _once(values: Any) -> Any:
    """Numbers that XLA shall not compute again wherever they are used, to compile twice as fast."""
    return jax.tree.map(num._barrier, values)


def _times(count: Array | None, value: Array) -> Array:
    return value if count is None else count * value


@family
class Trials(ExponentialFamily):
    """Successes in `count` independent trials, in one where it is None.

    KL of one trial is p G(q/p) + (1-p) G((1-q)/(1-p)), G(y) = y - 1 - log y.
    """

    odds: Odds
    count: Any = None
    statistics: ClassVar = ("x",)

    def valid(self) -> Array:
        return ~jnp.isnan(self.odds.log_odds)

    def natural(self) -> tuple[Array, ...]:
        return (self.odds.log_odds,) if self.count is None else (self.odds.log_odds, self.count)

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        z = natural[0]
        return _times(natural[1] if len(natural) > 1 else None, jnp.logaddexp(z, jnp.zeros_like(z)))

    def toward(self, other: "Trials") -> Pair:
        return step_between(self.odds, other.odds)

    def at(self, other: "Trials", direction: Pair, t: Real, rest: Real) -> "Trials":
        x, y, t = self.odds, other.odds, jnp.asarray(t)
        inner = _inner(x)
        z, low = along((inner.log_odds, inner.low), direction, t)
        ends = x.ends() | y.ends()
        z = jnp.where(ends, limit(x.log_odds, y.log_odds, t), z)
        return Trials(odds_at(z, jnp.where(ends, 0, low)), self.count)

    def bend(self, point: "Trials", direction: Pair, t: Real) -> Array:
        t = jnp.asarray(t)
        x, y = _inner(self.odds), _inner(point.odds)
        (a, b), (c, d) = (x.success, x.failure), (y.success, y.failure)
        length = direction[0] + direction[1]
        step = t * length
        near = jnp.abs(step) <= 1
        # c - a = a b (e^step - 1) / (b + a e^step)
        small = jnp.where(near, step, 0)
        rise = a * b * (length * num.expm1_over(small)) / (b + a * jnp.exp(small))
        apart = jnp.where(a + c <= 1, c - a, b - d) / jnp.where(near, 1, t)
        rise = jnp.where(near, rise, apart)
        of_x, of_y = (x.log_odds, x.low), (y.log_odds, y.low)
        fail = _log_failures(of_x, of_y, step)
        succeed = _log_failures(num.negate_pair(of_x), num.negate_pair(of_y), -step)
        # The count first: the chance of one success may be too small to be squared.
        a, b, c, d, rise = (_times(self.count, x) for x in (a, b, c, d, rise))
        value = _term(a, c, rise, t, succeed) + _term(b, d, -rise, t, fail)
        at_ends = _times(self.count, _at_ends(self.odds, point.odds, t))
        return jnp.where(self.odds.ends() | point.odds.ends(), at_ends, value)

    def squared_fisher_rao(self, other: "Trials") -> Array:
        # 4 (arcsin sqrt p - arcsin sqrt q)^2, the difference's tangent without cancellation.
        x, y = self.odds, other.odds
        (a, b), (c, d) = ((num.safe_sqrt(s) for s in (o.success, o.failure)) for o in (x, y))
        step = self.toward(other)
        half = (step[0] + step[1]) / 2
        near = (jnp.abs(half) <= 1) & ~x.ends() & ~y.ends()
        sine = jnp.where(near, a * d * num.expm1(jnp.where(near, half, 0)), c * b - a * d)
        return _times(self.count, 4 * jnp.square(jnp.arctan2(sine, a * c + b * d)))


class _Growth(NamedTuple):
    log_success: Pair  # log of q's chance of success over p's
    per_failure: Array  # that over the larger of their chances of failure
    start: Pair  # the log-odds of that one
    upward: Array  # whether it is p's


@family
class Waiting(ExponentialFamily):
    """Successes before the `count`-th failure, before the first where it is None.

    With p and q the chances of success, KL is p/(1-p) G(q/p) + G((1-q)/(1-p)) for each failure,
    G(y) = y - 1 - log y: the KL of one trial times the mean number of trials.
    """

    odds: Odds
    count: Any = None
    statistics: ClassVar = ("x",)

    def valid(self) -> Array:
        return ~jnp.isnan(self.odds.log_odds)

    def natural(self) -> tuple[Array, ...]:
        value = jnp.where(self.odds.ends(), -jnp.inf, _log_success(self.odds)[0])
        return (value,) if self.count is None else (value, self.count)

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        fine = natural[0] < 0
        safe = jnp.where(fine, natural[0], -1)
        value = jnp.where(fine, -jnp.log(-num.expm1(safe)), jnp.inf)
        return _times(natural[1] if len(natural) > 1 else None, value)

    def toward(self, other: "Waiting") -> _Growth:
        x, y = _inner(self.odds), _inner(other.odds)
        step = step_between(x, y)
        length = step[0] + step[1]
        upward = length >= 0
        start, end = choose(upward, x, y), choose(upward, y, x)
        # Of a start and an end with more successes, log(q/p) = -log(1 + (1-p) u).
        usual = _normal(start.failure, _SQUARED)
        near = (jnp.abs(length) <= 1) | ~usual
        u = num.expm1(jnp.where(near, jnp.where(upward, -length, length), 0))
        each = -u * num.log1p_over(jnp.where(usual, start.failure, 0) * u)
        far = num.add_pairs(_log_success(end), num.negate_pair(_log_success(start)))
        each = jnp.where(near, each, (far[0] + far[1]) / jnp.where(near, 1, start.failure))
        size = jnp.where(near, start.failure * each, far[0]), jnp.where(near, 0, far[1])
        sign = jnp.where(upward, 1, -1).astype(length.dtype)
        size, each = _once(((sign * size[0], sign * size[1]), sign * each))
        return _Growth(size, each, _pair(start), upward)

    def at(self, other: "Waiting", direction: _Growth, t: Real, rest: Real) -> "Waiting":
        x, y, t = self.odds, other.odds, jnp.asarray(t)
        first = t < 0.5
        nearest = choose(jnp.broadcast_to(first, x.log_odds.shape), x, y)
        step = jnp.where(first, t, -rest)
        log_success = along(_log_success(nearest), direction.log_success, step)
        fine = log_success[0] < 0
        high, low = jnp.where(fine, log_success[0], -1), jnp.where(fine, log_success[1], 0)
        success, failure = num.exp_pair(high, low), -num.expm1(high)
        log_odds = high - jnp.log(failure)
        # Of chances of failure that are lost beside 1 these are the natural parameters, negated.
        few = jnp.maximum(x.failure, y.failure) < jnp.finfo(high.dtype).eps / 4
        growth = jnp.where(direction.upward, -t, 1 - t) * direction.per_failure
        fine = jnp.where(few, growth > -1, fine)
        shrunk = -num.log1p(jnp.where(few & fine, growth, 0))
        mixed = num.add_pairs(direction.start, (shrunk, jnp.zeros_like(shrunk)))
        ends = x.ends() | y.ends()
        end = limit(x.log_odds, y.log_odds, t)
        fine = jnp.where(ends, ~jnp.isnan(end), fine)
        log_odds = jnp.where(ends, end, jnp.where(few, mixed[0], log_odds))
        rare = _masses(*mixed)
        m = Waiting(
            Odds(
                jnp.where(ends, 0, jnp.where(few, rare[0], success)),
                jnp.where(ends, 1, jnp.where(few, rare[1], failure)),
                jnp.where(fine, log_odds, jnp.nan),
                jnp.where(few & ~ends, mixed[1], 0),
                jnp.zeros_like(log_odds),
            ),
            self.count,
        )
        # A chance of failure that underflowed has no logarithm but its own.
        same = ((t == 0) | (t == 1)) & ~fine
        return _once(choose(same, Waiting(nearest, self.count), m))

    def bend(self, point: "Waiting", direction: _Growth, t: Real) -> Array:
        t = jnp.asarray(t)
        x, y = _inner(self.odds), _inner(point.odds)
        start = _masses(*direction.start)[1]
        each = direction.per_failure * _failures(x.failure, start, _pair(x), direction.start)[0]
        # Where this overflows, so does all that it is multiplied by, whatever underflows.
        huge = jnp.isinf(each)
        length = direction.log_success[0] + direction.log_success[1]
        step = t * length
        steep = step > 1
        safe_t, below = jnp.where(steep, t, 1), jnp.where(steep, x.failure, 1)
        small = jnp.where(steep, 0, step)
        rise = x.success * jnp.where(huge, 0, each) * num.expm1_over(small)
        rise = jnp.where(steep, (y.success - x.success) / (safe_t * below), rise)
        bend = x.success * jnp.where(huge, 0, each) * (length * num.expm1_bend(small))
        apart = (y.success - x.success - x.success * step) / (safe_t * safe_t * below)
        ratio, log_ratio = _failures(x.failure, y.failure, _pair(x), _pair(y))
        value = jnp.where(steep, apart, bend)
        value = value + _term(jnp.ones_like(ratio), ratio, -rise, t, log_ratio)
        value = jnp.where(huge | (log_ratio > _largest(ratio)), jnp.inf, value)
        ends = self.odds.ends() | point.odds.ends()
        return _times(self.count, jnp.where(ends, _at_ends(self.odds, point.odds, t), value))

    def squared_fisher_rao(self, other: "Waiting") -> Array:
        # artanh sqrt p = log(1 + sqrt p) - log(1-p)/2: twice its difference is of two terms of
        # one sign.
        x, y = self.odds, other.odds
        growth = self.toward(other)
        length = growth.log_success[0] + growth.log_success[1]
        near = (jnp.abs(length) <= 1) & ~x.ends() & ~y.ends()
        small = jnp.where(near, length, 0)
        rise = jnp.where(near, x.success * num.expm1(small), y.success - x.success)
        a, b = num.safe_sqrt(x.success), num.safe_sqrt(y.success)
        roots = num.log1p(rise / jnp.where(a + b > 0, a + b, 1) / (1 + a))
        of_x, of_y = (_pair(_inner(o)) for o in (x, y))
        ratio, far = _failures(x.failure, y.failure, of_x, of_y)
        start = _failures(x.failure, _masses(*growth.start)[1], of_x, growth.start)[0]
        fall = x.success * growth.per_failure * start * num.expm1_over(small)
        fall = jnp.where(near, fall, rise / jnp.where(near | ~_normal(x.failure), 1, x.failure))
        mild = (ratio >= 0.5) & (ratio <= 2)
        failures = jnp.where(mild, num.log1p(-jnp.where(mild, fall, 0)), far)
        return _times(self.count, jnp.square(2 * roots - failures))


def _pair(x: Odds) -> Pair:
    return x.log_odds, x.low


def _normal(x: Array, margin: float = 4.0) -> Array:
    """Whether it is some way above the smallest normal number, where exponentials lose digits."""
    return x >= margin * float(jnp.finfo(x.dtype).tiny)


def _largest(like: Array) -> float:
    """What may be exponentiated."""
    return 709.0 if num.is_double(like) else 88.0


def _log_success(x: Odds) -> Pair:
    """log of the probability of success, with an error of 4 ulp and of an ulp of 1."""
    x = _inner(x)
    direct = (x.success < 0.5) & _normal(x.success)
    log = num.log_pair(jnp.where(direct, x.success, 0.5))
    other = -minus_log_failure(-x.log_odds, -x.low)
    return jnp.where(direct, log[0], other), jnp.where(direct, log[1], 0)


def _failures(a: Array, b: Array, x: Pair, y: Pair) -> Pair:
    """b/a and its logarithm, of chances of failure at log-odds x and y that may underflow.

    A ratio that overflows is a large number.
    """
    normal = _normal(a) & _normal(b)
    ratio = jnp.where(normal, b, 1) / jnp.where(normal, a, 1)
    step = jnp.where(normal, 0, (y[0] - x[0]) + (y[1] - x[1]))
    beyond = _log_failures(x, y, step)
    log_ratio = jnp.where(normal, jnp.log(ratio), beyond)
    far = jnp.exp(jnp.minimum(jnp.where(normal, 0, beyond), _largest(ratio)))
    return _once((jnp.where(normal, ratio, far), log_ratio))
