"""Distributions of counts: Poisson, geometric, negative binomial and multinomial."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._f_divergences import KL
from .._transforms import SquaredFisherRao
from ..rows.evaluate import Rows
from ..rows.pair import Side
from ._bernoulli import COUNT
from ._counting import Counts
from ._edges import absent, along, limit
from ._odds import Waiting, exactly_one, minus_log_failure, odds
from .base import (
    CHANCE,
    POSITIVE,
    PROBABILITY,
    REAL,
    Domain,
    ExponentialFamily,
    Family,
    Number,
    Real,
    View,
    family,
    parameter,
)
from .expectations import Support

NON_NEGATIVE = Domain("non-negative and finite", lambda x: (x >= 0) & (abs(x) < jnp.inf))
BELOW_ONE = Domain("in [0, 1)", lambda x: (x >= 0) & (x < 1))
LOGITS = Domain("less than infinity", lambda x: x < jnp.inf)


@family
class Geometric(Counts, Family):
    """Geometric distribution on {0, 1, ...}: the failures before the first success.

    The probability of k is p (1-p)^k, with p given as `probs` or by its log-odds, `logits`. KL is
    that of one Bernoulli trial over p, the mean number of trials.
    """

    probs: Number = parameter(CHANCE, default=None)
    logits: Number = parameter(REAL, default=None)

    def consistent(self, name: str) -> None:
        exactly_one(name, self.probs, self.logits)

    def view(self) -> View:
        return View(Waiting(odds(self.probs, self.logits).flipped()), "x", {})

    def nothing(self) -> Array:
        return odds(self.probs, self.logits).failure == 0

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        chances = odds(self.probs, self.logits)
        return (chances.failure / chances.success - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        chances = odds(self.probs, self.logits)
        return chances.failure / jnp.square(chances.success) / jnp.square(unit)

    def entropy(self, unit: Real = 1.0) -> Array:
        # That of one trial for each of 1/p trials.
        chances = odds(self.probs, self.logits)
        fails = jnp.where(chances.failure > 0, chances.failure, 1)
        more = fails / chances.success * -self._log(failure=True)
        return -self._log() + jnp.where(chances.failure > 0, more, 0)

    def _log(self, *, failure: bool = False) -> Array:
        chances = odds(self.probs, self.logits)
        chances = chances if failure else chances.flipped()
        return -minus_log_failure(chances.log_odds, chances.low)

    def log_mass(self, x: int) -> Array:
        return self._log() + x * self._log(failure=True) if x else self._log()


@family
class NegativeBinomial(Counts, Family):
    """Negative binomial distribution: the successes before `total_count` failures.

    The probability of k is C(k + r - 1, k) p^k (1-p)^r, r = `total_count` > 0 of any size and p
    given as `probs` or by its log-odds, `logits`. KL is r/(1-p) times that of one Bernoulli trial;
    closed forms are between members of one `total_count`.
    """

    total_count: Number = parameter(POSITIVE)
    probs: Number = parameter(BELOW_ONE, default=None)
    logits: Number = parameter(REAL, default=None)

    def consistent(self, name: str) -> None:
        exactly_one(name, self.probs, self.logits)

    def _core(self) -> Waiting:
        return Waiting(odds(self.probs, self.logits), self.total_count)

    def nothing(self) -> Array:
        return odds(self.probs, self.logits).success == 0

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        chances = odds(self.probs, self.logits)
        return (self.total_count * (chances.success / chances.failure) - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        chances = odds(self.probs, self.logits)
        ratio = chances.success / jnp.square(chances.failure)
        return self.total_count * ratio / jnp.square(unit)

    def log_mass(self, x: int) -> Array:
        chances = odds(self.probs, self.logits)
        none = -self.total_count * minus_log_failure(chances.log_odds, chances.low)
        chances = chances.flipped()
        once = jnp.log(self.total_count) - minus_log_failure(chances.log_odds, chances.low)
        return none + once if x else none

    def view(self) -> View:
        return View(self._core(), "successes before failures", {"total_count": self.total_count})

    def squared_fisher_rao(self, other: "NegativeBinomial") -> Array:
        same = self.total_count == other.total_count
        return jnp.where(same, self._core().squared_fisher_rao(other._core()), jnp.nan)


class _Growth(NamedTuple):
    high: Array  # log of q's rate over p's
    low: Array
    ends: Array  # whether either is 0


@family
class Poisson(Counts, ExponentialFamily):
    """Poisson distribution on {0, 1, ...} with mean `rate` >= 0.

    KL(a || b) = a (e^l - 1 - l), l = log(b/a).
    """

    rate: Number = parameter(NON_NEGATIVE)
    statistics: ClassVar = ("x",)

    def nothing(self) -> Array:
        return self.rate == 0

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return (self.rate - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        return self.rate / jnp.square(unit)

    def log_mass(self, x: int) -> Array:
        return jnp.log(self.rate) - self.rate if x else -self.rate

    def natural(self) -> tuple[Array, ...]:
        return (jnp.log(self.rate),)

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        return jnp.exp(natural[0])

    def _none(self) -> Array:
        # XLA flushes subnormal numbers, so that they are zeros.
        return self.rate < jnp.finfo(self.rate.dtype).tiny

    def _safe(self) -> Array:
        return jnp.where(self._none(), 1, self.rate)

    def toward(self, other: "Poisson") -> _Growth:
        a, b = self._safe(), other._safe()
        return _Growth(*num.log_ratio(b, a, b - a), self._none() | other._none())

    def at(self, other: "Poisson", direction: _Growth, t: Real, rest: Real) -> "Poisson":
        t = jnp.asarray(t)
        first = t < 0.5
        zero = jnp.zeros_like(direction.high)
        step = along((zero, zero), direction[:2], jnp.where(first, t, -rest))
        # In two steps: the growth of a tiny rate may overflow.
        root = num.exp_pair(step[0] / 2, step[1] / 2)
        rate = jnp.where(first, self._safe(), other._safe()) * root * root
        a, b = (jnp.where(x._none(), -jnp.inf, zero) for x in (self, other))
        mixed = limit(a, b, t)
        end = jnp.where(t == 0, self.rate, jnp.where(t == 1, other.rate, 0))
        end = jnp.where(jnp.isnan(mixed), jnp.nan, end)
        return Poisson(jnp.where(direction.ends, end, rate))

    def bend(self, point: "Poisson", direction: _Growth, t: Real) -> Array:
        t = jnp.asarray(t)
        a, b, length = self._safe(), point.rate, direction.high + direction.low
        steep = t * length > 1
        step = jnp.where(steep, 0, t * length)
        far = (b - a - a * (t * length)) / jnp.square(jnp.where(steep, t, 1))
        value = jnp.where(steep, far, a * length * length * num.expm1_bend(step))
        none = self._none()
        end = jnp.where(none & ~point._none(), b, 0) / jnp.square(jnp.where(t == 0, 1, t))
        end = end + absent(direction.ends & ~none & point._none(), self.rate, b)
        return jnp.where(direction.ends, end, value)

    def squared_fisher_rao(self, other: "Poisson") -> Array:
        roots = num.safe_sqrt(self.rate) + num.safe_sqrt(other.rate)
        return jnp.square(2 * (self.rate - other.rate) / jnp.where(roots > 0, roots, 1))


@family
class Multinomial(Family):
    """Multinomial distribution: how often each category came in `total_count` independent draws.

    The last axis of `probs`, which sum to 1 and are used as they are, or of `logits` is that of the
    categories. KL is `total_count` times that of one draw; members of different `total_count` have
    no outcome in common.
    """

    total_count: Number = parameter(COUNT)
    probs: Number = parameter(PROBABILITY, 1, default=None)
    logits: Number = parameter(LOGITS, 1, default=None)

    def consistent(self, name: str) -> None:
        exactly_one(name, self.probs, self.logits)

    def support(self) -> Support:
        return Support("counts of categories")

    def entropy(self, unit: Real = 1.0) -> Array:
        self.missing("the expectation of log x!")

    def _draw(self) -> Array:
        return jax.nn.softmax(self.logits) if self.probs is None else self.probs

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return (self.total_count[..., None] * self._draw() - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        x = self._draw()
        return self.total_count[..., None] * x * (1 - x) / jnp.square(unit)

    def mean_outer(self) -> Array:
        # n (n - 1) x x^T + n diag(x)
        x, n = self._draw(), self.total_count[..., None, None]
        alone = jnp.where(jnp.eye(x.shape[-1], dtype=bool), x[..., None], 0)
        return n * ((n - 1) * (x[..., :, None] * x[..., None, :]) + alone)

    def _side(self) -> Side:
        return Side(self.logits, chart="logits") if self.probs is None else Side(self.probs)

    def _draws(self, other: "Multinomial") -> tuple[Rows, Rows]:
        p, q = self._side(), other._side()
        return Rows(p, q), Rows(q, p)

    def _of_draw(self, other: "Multinomial", value: Array, apart: float) -> Array:
        return jnp.where(self.total_count == other.total_count, self.total_count * value, apart)

    def kl(self, other: "Multinomial") -> Array:
        return self._of_draw(other, KL().evaluate(self._draws(other)[0]), jnp.inf)

    def jensen(self, other: "Multinomial", alpha: Array) -> Array:
        # Renyi's divergence over its order; of order 1 - alpha the other way round.
        upper = alpha >= 0.5
        gaps = []
        for taken, order, rows in zip(
            (upper, ~upper), (alpha, 1 - alpha), self._draws(other), strict=True
        ):
            order = jnp.where(taken, order, 1)
            gaps.append(rows.renyi(order[..., None] if order.ndim else order) / order)
        return self._of_draw(other, jnp.where(upper, *gaps), jnp.inf)

    def squared_fisher_rao(self, other: "Multinomial") -> Array:
        value = SquaredFisherRao().evaluate(self._draws(other)[0])
        return self._of_draw(other, value, jnp.nan)
