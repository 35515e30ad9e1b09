"""The statistics of a pair of rows that a divergence may ask for."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._divergence import Separable
from .._mesh import alike, varying
from .chernoff import BEST_ALPHA
from .inline import inlined
from .pair import Side, pair_of
from .renyi import RENYI, mass
from .rule import LOG_AFFINITY, SUM, invalid
from .statistic import Statistic, widened


class Rows:
    """Two sides of equal shape and dtype; every statistic has the batch shape.

    Low precision is float32 to whoever looks; statistics get the numbers as they are stored.
    """

    def __init__(self, side_p: Side, side_q: Side, implementation: str = "auto"):
        leaves, tree = jax.tree.flatten((side_p, side_q))
        self._stored = jax.tree.unflatten(tree, alike(*leaves))
        self.p, self.q = widened(self._stored)
        self.dtype, self.implementation = self.p.values.dtype, implementation

    def sum(self, divergence: Separable) -> Array:
        """Sum of a summand."""
        if divergence.captures():
            return inlined(SUM)(divergence, self.p, self.q)
        return self._statistic(SUM, divergence)

    def log_affinity(self, alpha: Array) -> Array:
        """log sum p^alpha q^(1 - alpha)."""
        return self._statistic(LOG_AFFINITY, alpha)

    def renyi(self, alpha: Array) -> Array:
        """Renyi's divergence of order alpha, 0 <= alpha < inf."""
        return self._statistic(RENYI, alpha)

    def best_alpha(self) -> Array:
        """The alpha of Chernoff information, 0 < alpha < 1."""
        return self._statistic(BEST_ALPHA, ())

    def _statistic(self, statistic: Statistic, parameters: Any) -> Array:
        # Here, as what it needs of JAX takes a fifth of the time of `import jaxdiv`.
        from .primitive import statistic_of

        return statistic_of(statistic, self.implementation, (parameters, *self._stored))

    def max_log_ratio(self) -> Array:
        """The largest log(p/q) on the support of p."""
        pair = pair_of(self.p, self.q)
        some_p, some_q = self.p.support(), self.q.support()
        ratio = jnp.where(some_p & some_q, pair.log_ratio, jnp.where(some_p, jnp.inf, -jnp.inf))
        return jnp.where(invalid(self.p, self.q), jnp.nan, jnp.max(ratio, axis=-1))

    def sides(self) -> tuple[Side, Side]:
        """Both sides."""
        return self.p, self.q

    def with_sides(self, side_p: Side, side_q: Side) -> "Rows":
        """The same rows made of other numbers."""
        return type(self)(side_p, side_q, self.implementation)

    def varying(self) -> frozenset:
        """The mesh axes along which statistics differ, inside `shard_map`."""
        return frozenset().union(*map(varying, jax.tree.leaves(self.sides())))

    @property
    def batch(self) -> tuple[int, ...]:
        """The shape of every statistic."""
        return self.p.values.shape[:-1]

    def masses(self) -> tuple[Array, Array]:
        """The sums of p and of q."""
        return mass(self.p), mass(self.q)

    def unshared(self) -> tuple[Array, Array]:
        """The mass of p outside q's support, and of q outside p's."""
        pair = pair_of(self.p, self.q)
        some_p, some_q = self.p.support(), self.q.support()
        bad = invalid(self.p, self.q)
        only_p, only_q = (
            num.row_sum(jnp.where(alone, mass, 0))
            for alone, mass in ((some_p & ~some_q, pair.raw_p), (some_q & ~some_p, pair.raw_q))
        )
        return jnp.where(bad, jnp.nan, only_p), jnp.where(bad, jnp.nan, only_q)
