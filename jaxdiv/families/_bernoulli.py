"""Bernoulli and binomial distributions: the successes in a number of trials."""

import jax.numpy as jnp
from jax import Array

from ..rows.pair import Side
from ._odds import Trials, exactly_one, odds
from .base import PROBABILITY, REAL, Domain, Family, Number, View, family, parameter

COUNT = Domain("a positive integer", lambda x: (x > 0) & (abs(x) < jnp.inf) & (x == jnp.floor(x)))


@family
class Bernoulli(Family):
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

    def rows(self) -> Side:
        if self.probs is not None:
            return Side(jnp.stack([1 - self.probs, self.probs], axis=-1))
        both = jnp.stack([jnp.zeros_like(self.logits), self.logits], axis=-1)
        return Side(both, chart="logits")


@family
class Binomial(Family):
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

    def view(self) -> View:
        return View(self._core(), "successes", {"total_count": self.total_count})

    def squared_fisher_rao(self, other: "Binomial") -> Array:
        same = self.total_count == other.total_count
        return jnp.where(same, self._core().squared_fisher_rao(other._core()), jnp.nan)
