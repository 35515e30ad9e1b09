"""The best alpha of Chernoff information of a row, found with one pair of rows."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._chernoff import best_alpha, inside, slope
from .._divergence import Separable
from .._mesh import varying
from .._root import following
from .pair import Pair, Side, pair_of
from .renyi import mass
from .rule import affinity_parts, sum_of
from .statistic import Statistic

# Up to so many numbers of a side the pair is made once and kept, a dozen numbers an outcome, for
# all steps of a search; a block of rows is of that size.
_KEPT = 2**18


class _Pair:
    """What the search asks, of two sides."""

    def __init__(self, side_p: Side, side_q: Side):
        self.sides = side_p, side_q
        self._kept = pair_of(side_p, side_q) if side_p.values.size <= _KEPT else None

    @property
    def pair(self) -> Pair:
        return pair_of(*self.sides) if self._kept is None else self._kept

    def masses(self) -> tuple[Array, Array]:
        side_p, side_q = self.sides
        return mass(side_p), mass(side_q)

    def sum(self, divergence: Separable) -> Array:
        return sum_of(divergence, self.pair, *self.sides)

    def log_affinity_slope(self, alpha: Array) -> tuple[Array, Array]:
        pair = self.pair
        scaled, top, total = affinity_parts(alpha, pair, *self.sides)
        finite = jnp.abs(top) < jnp.inf
        total = jnp.where(finite, total, 1)
        mean = num.row_sum(scaled * pair.log_ratio) / total
        return jnp.where(finite, top + jnp.log(total), top), jnp.where(finite, mean, 0)


def _value(parameters: Any, side_p: Side, side_q: Side) -> Array:
    del parameters
    like = side_p.values[..., 0]
    axes = varying(side_p.values) | varying(side_q.values)
    return best_alpha(_Pair(side_p, side_q), like, axes)[..., 0]


def _slope(sides: tuple[Side, Side], alpha: Array) -> Array:
    return slope(_Pair(*sides), alpha)


def _tangent(primals, tangents, known: Array) -> Array:
    sides = primals[1:]
    dots = tuple(
        jax.tree.map(jnp.zeros_like, side) if dot is None else dot
        for side, dot in zip(sides, tangents[1:], strict=True)
    )

    def best(*sides: Side) -> Array:
        return following(_slope, sides, known[..., None], inside)[..., 0]

    return jax.jvp(best, sides, dots)[1]


# Where sum p^alpha q^(1 - alpha) over the mean mass is least, 0 < alpha < 1.
BEST_ALPHA = Statistic("best_alpha", _value, _tangent)
