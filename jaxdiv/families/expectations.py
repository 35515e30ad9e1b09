"""What a family knows of its members' expectations, from which KL across families follows.

KL(p || q) = E_p[-log q(x)] - H(p), and log q is a sum of a few statistics of x. So p declares
expectations of statistics, q what KL is in terms of them, and no pair is declared. They are taken
relative to a unit, the scale of q, so that no difference of logarithms of scales is ever formed.
"""

from typing import Any, NamedTuple, NoReturn

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num

Real = Array | float


class Support(NamedTuple):
    """Where a member has its mass: a kind of outcomes and, of numbers, the least and largest.

    What depends on parameters is an array; then `low` is above `least` whatever they are, and
    `high` is finite.
    """

    kind: str
    low: Real = -jnp.inf
    high: Real = jnp.inf
    least: float = -jnp.inf

    def within(self, other: "Support") -> Array | bool:
        """Whether all mass lies on another support; a bool where the families alone tell."""
        below = isinstance(self.low, float) and self.low <= other.least
        beyond = isinstance(self.high, float) and self.high == jnp.inf
        if (
            self.kind != other.kind
            or (below and not isinstance(other.low, float))
            or (beyond and not isinstance(other.high, float))
        ):
            return False
        inside: Array | bool = True
        for part in (self.low >= other.low, self.high <= other.high):
            if isinstance(part, bool):
                if not part:
                    return False
            else:
                inside = inside & part
        return inside


class Expectations:
    """Expectations under the members of a family, and KL from what has those that it needs.

    NotImplementedError names the expectation that has no closed form. Of positive outcomes the
    first four declare the rest.
    """

    def missing(self, what: str) -> NoReturn:
        """Raise NotImplementedError."""
        raise NotImplementedError(f"{what} under {type(self).__name__}")

    def support(self) -> Support | None:
        """Where members have their mass."""
        return None

    def nothing(self) -> Array | bool:
        """Whether all mass is on the outcome 0, which other members only count from."""
        return False

    def mean_log(self, unit: Real = 1.0) -> Array:
        """E[log(x / unit)]."""
        self.missing("the expectation of log x")

    def power_gap(self, k: Real) -> Array:
        """log E[x^k] - k E[log x], at least 0; +inf where there is no mean."""
        self.missing("the expectation of x^k")

    def log_entropy(self) -> Array:
        """The entropy of log x, H - E[log x]."""
        self.missing("the expectation of log x")

    def log_variance(self) -> Array:
        """Var[log x]."""
        self.missing("the variance of log x")

    def mean_power(self, k: Real, unit: Real = 1.0) -> Array:
        """E[(x / unit)^k]."""
        return jnp.exp(k * self.mean_log(unit) + self.power_gap(k))

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        """(E[x] - origin) / unit."""
        return self.mean_power(1.0, unit) - origin / unit

    def variance(self, unit: Real = 1.0) -> Array:
        """Var[x] / unit^2."""
        spread = self.power_gap(2.0)
        some = jnp.isfinite(spread)
        spread = jnp.where(some, spread, 0) - 2 * jnp.where(some, self.power_gap(1.0), 0)
        square = jnp.square(jnp.where(some, self.mean_power(1.0, unit), 1))
        return jnp.where(some, square * num.expm1(spread), jnp.inf)

    def entropy(self, unit: Real = 1.0) -> Array:
        """The differential entropy of x / unit, H - log(unit); of outcomes that count, H."""
        return self.log_entropy() + self.mean_log(unit)

    def mean_log1m(self) -> Array:
        """E[log(1 - x)]."""
        self.missing("the expectation of log(1 - x)")

    def mean_distance(self, origin: Array, unit: Array) -> Array:
        """E|x - origin| / unit."""
        self.missing("the expectation of |x - c|")

    def cumulant(self, t: Array) -> Array:
        """log E[exp(t (x - E[x]))], at least 0; +inf where there is no mean."""
        self.missing("the expectation of e^(t x)")

    def mean_cos(self) -> Array:
        """E[cos x]."""
        self.missing("the expectation of cos x")

    def mean_sin(self) -> Array:
        """E[sin x]."""
        self.missing("the expectation of sin x")

    def mean_outer(self) -> Array:
        """E[x x^T] of vectors."""
        self.missing("the expectation of x x^T")

    def mean_log_det(self) -> Array:
        """E[log det x] of matrices."""
        self.missing("the expectation of log det x")

    def log_mass(self, x: int) -> Array:
        """log of the probability of a count, 0 or 1."""
        self.missing("the probability of a count")

    def kl_from(self, p: Any) -> Array:
        """KL(p || self) of p of another family, all of whose mass lies on the support of self."""
        return p.missing(f"the expectation of the logarithm of {type(self).__name__}'s density")


POSITIVE_REALS = Support("reals", 0.0)
REALS = Support("reals")
COUNTS = Support("integers", 0.0)
