"""What a divergence may ask of rows that are never whole: the same as of `Rows`."""

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .._chernoff import best_alpha, inside, slope
from .._divergence import Claims, Edge, Reverse, Separable, declare
from .._f_divergences import Alpha
from .._mesh import varying
from .._root import following
from ..rows.pair import Pair
from ..rows.renyi import other_order, renyi_of
from .plan import Plan
from .rule import statistics
from .sources import Source
from .statistics import Spec


@declare
class _Alone(Separable):
    """The mass of p outside q's support or, with `shared`, all of it."""

    shared: float = 0.0
    formula: ClassVar[str] = "sum p where q = 0"

    def term(self, pair: Pair) -> Array:
        return self.shared * pair.p

    def weighted(self, pair: Pair) -> tuple[Array, Array]:
        return self.shared * pair.p, jnp.zeros_like(pair.p)

    def at_p_zero(self, pair: Pair) -> Edge:
        zero = jnp.zeros_like(pair.raw_q)
        return Edge(zero, jnp.full_like(zero, self.shared), zero, zero, zero)

    def at_q_zero(self, pair: Pair) -> Edge:
        zero = jnp.zeros_like(pair.raw_p)
        return Edge(pair.raw_p, zero, zero, jnp.ones_like(zero), pair.raw_p)

    def claims(self) -> Claims:
        raise NotImplementedError("a mass, not a divergence")


class Placed(NamedTuple):
    """A source and the place of its first outcome among all."""

    source: Source
    offset: Array


class TiledRows:
    """Two sources of the same outcomes; every statistic has the batch shape."""

    def __init__(self, p: Source, q: Source, plan: Plan, batch: tuple[int, ...], offset: Array):
        self.sources: tuple[Source, Source] = (p, q)
        self.plan, self.offset = plan, offset
        self.batch, self.dtype = batch, plan.dtype
        self.implementation = "auto"

    def sides(self) -> tuple["Placed", "Placed"]:
        """Both sources, with all that is traced."""
        p, q = self.sources
        return Placed(p, self.offset), Placed(q, self.offset)

    def with_sides(self, side_p: "Placed", side_q: "Placed") -> "TiledRows":
        """The same rows made of other numbers."""
        p, q = side_p.source, side_q.source
        return TiledRows(p, q, self.plan, self.batch, side_p.offset)

    def varying(self) -> frozenset:
        """The mesh axes along which statistics differ, inside `shard_map`."""
        axes = frozenset().union(*map(varying, jax.tree.leaves(self.sources)))
        name = self.plan.axis_name
        return axes - set(name if isinstance(name, tuple) else (name,))

    def _find(self, *requests: tuple[str, Any]) -> list[Array]:
        kinds, parameters = zip(*requests, strict=True)
        rows = [jax.tree.map(self._flat, x) for x in parameters]
        found = statistics(Spec(kinds, self.plan), rows, *self.sources, self.offset)
        return [x.reshape(self.batch) for x in found]

    def _flat(self, parameter: Any) -> Array:
        """A scalar, or one number a row, (rows, 1)."""
        parameter = jnp.asarray(parameter, self.dtype)
        return parameter.reshape(math.prod(self.batch), 1) if parameter.ndim else parameter

    def sum(self, divergence: Separable) -> Array:
        """Sum of a summand."""
        if divergence.captures():
            raise NotImplementedError(
                "a function that reads values which are being traced has no form in tiles: make "
                "them parameters of a divergence of your own, or pass whole rows"
            )
        return self._find(("sum", divergence))[0]

    def log_affinity(self, alpha: Array) -> Array:
        """log sum p^alpha q^(1 - alpha)."""
        return self._find(("affinity", alpha))[0]

    def renyi(self, alpha: Array) -> Array:
        """Renyi's divergence of order alpha, 0 <= alpha < inf."""
        total, far = self._find(("sum", Alpha(alpha)), ("affinity", other_order(alpha)))
        return renyi_of(alpha, *self.masses(), total, far)

    def log_affinity_slope(self, alpha: Array) -> tuple[Array, Array]:
        """log sum p^alpha q^(1 - alpha) and its derivative by alpha, one number a row, (..., 1)."""
        return jax.jvp(self.log_affinity, (alpha,), (jnp.ones_like(alpha),))

    def best_alpha(self) -> Array:
        """The alpha of Chernoff information, 0 < alpha < 1."""
        still = self.with_sides(*jax.tree.map(jax.lax.stop_gradient, self.sides()))
        best = best_alpha(still, jnp.zeros(self.batch, self.dtype), self.varying())

        def rises(sides: tuple[Placed, Placed], alpha: Array) -> Array:
            return slope(self.with_sides(*sides), alpha)

        return following(rises, self.sides(), best, inside)[..., 0]

    def max_log_ratio(self) -> Array:
        """The largest log(p/q) on the support of p."""
        return self._find(("ratio", ()))[0]

    def masses(self) -> tuple[Array, Array]:
        """The sums of p and of q."""
        one = jnp.ones(self.batch, self.dtype)
        p, q = (source.chart != "logits" for source in self.sources)
        requests = [d for d, needed in ((_Alone(1.0), p), (Reverse(_Alone(1.0)), q)) if needed]
        found = iter(self._find(*(("sum", d) for d in requests)) if requests else ())
        return (next(found) if p else one), (next(found) if q else one)

    def unshared(self) -> tuple[Array, Array]:
        """The mass of p outside q's support, and of q outside p's."""
        only_p, only_q = self._find(("sum", _Alone()), ("sum", Reverse(_Alone())))
        return only_p, only_q
