"""Bernoulli and binomial distributions: the successes in a number of trials."""

import jax.numpy as jnp
from jax import Array

from ..information import CrossEntropy
from ..rows.evaluate import Rows
from ..rows.pair import Side
from ._counting import Counts
from ._odds import Trials, exactly_one, minus_log_failure, odds
from .base import PROBABILITY, REAL, Domain, Family, Number, Real, View, family, parameter
from .expectations import Support

COUNT = Domain("a positive integer", lambda x: (x > 0) & (abs(x) < jnp.inf) & (x == jnp.floor(x)))


@family
class Bernoulli(Counts, Family):
    """Bernoulli distribution on {0, 1} with the probability `probs` of 1.

    Or with its log-odds, `logits`. With p and q of 1, KL is p log(p/q) + (1-p) log((1-p)/(1-q)),
    computed as p G(q/p) + (1-p) G((1-q)/(1-p)), G(y) = y - 1 - log y.
    """

    probs: Number = parameter(PROBABILITY, default=None)
    logits: Number = parameter(REAL, default=None)

    def consistent(self, name: str) -> None:
        exactly_one(name, self.probs, self.logits)

    def view(self) -> View:
        return View(Trials(odds(self.probs, self.logits)), "x", {})

    def support(self) -> Support:
        return Support("integers", 0.0, 1.0)

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return (odds(self.probs, self.logits).success - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        chances = odds(self.probs, self.logits)
        return chances.success * chances.failure / jnp.square(unit)

    def entropy(self, unit: Real = 1.0) -> Array:
        return CrossEntropy().evaluate(Rows(self.rows(), self.rows()))

    def log_mass(self, x: int) -> Array:
        chances = odds(self.probs, self.logits)
        chances = chances.flipped() if x else chances
        return -minus_log_failure(chances.log_odds, chances.low)

    def rows(self) -> Side:
        if self.probs is not None:
            return Side(jnp.stack([1 - self.probs, self.probs], axis=-1))
        both = jnp.stack([jnp.zeros_like(self.logits), self.logits], axis=-1)
        return Side(both, chart="logits")


@family
class Binomial(Counts, Family):
    """Binomial distribution: the successes in `total_count` independent trials.

    Each succeeds with the probability `probs`, or with the log-odds `logits`. KL is `total_count`
    times that of one trial; closed forms are between members of one `total_count`.
    """

    total_count: Number = parameter(COUNT)
    probs: Number = parameter(PROBABILITY, default=None)
    logits: Number = parameter(REAL, default=None)

    def consistent(self, name: str) -> None:
        exactly_one(name, self.probs, self.logits)

    def _core(self) -> Trials:
        return Trials(odds(self.probs, self.logits), self.total_count)

    def support(self) -> Support:
        return Support("integers", 0.0, self.total_count)

    def nothing(self) -> Array:
        return odds(self.probs, self.logits).success == 0

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return (self.total_count * odds(self.probs, self.logits).success - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        chances = odds(self.probs, self.logits)
        return self.total_count * chances.success * chances.failure / jnp.square(unit)

    def log_mass(self, x: int) -> Array:
        chances = odds(self.probs, self.logits)
        fail = -minus_log_failure(chances.log_odds, chances.low)
        if x == 0:
            return self.total_count * fail
        chances = chances.flipped()
        succeed = -minus_log_failure(chances.log_odds, chances.low)
        others = jnp.where(self.total_count > 1, (self.total_count - 1) * fail, 0)
        return jnp.log(self.total_count) + succeed + others

    def view(self) -> View:
        return View(self._core(), "successes", {"total_count": self.total_count})

    def squared_fisher_rao(self, other: "Binomial") -> Array:
        same = self.total_count == other.total_count
        return jnp.where(same, self._core().squared_fisher_rao(other._core()), jnp.nan)
