"""Chernoff's best alpha: where the exponent -log(S/m) is highest, as a root of its slope.

What the search asks of two rows, `Exponent`, is answered by whole rows from one pair of them, and
by tiles of rows that are never whole by statistics of these.
"""

from typing import TYPE_CHECKING, ClassVar, Protocol

import jax.numpy as jnp
from jax import Array

from . import _numerics as num
from ._divergence import Claims, Homogeneous, Limit, Separable, declare
from ._mesh import cast
from ._root import falling_root

if TYPE_CHECKING:
    from .rows.pair import Pair

_INF = float("inf")


@declare
class AffinitySlope(Homogeneous):
    """d/d alpha of p^alpha q^(1-alpha) - alpha p - (1-alpha) q, for 0 < alpha < 1."""

    alpha: Array
    formula: ClassVar[str] = "sum p^alpha q^(1-alpha) log(p/q) - p + q"

    def term(self, pair: "Pair") -> Array:
        # Near p = q: q (l (exp(alpha l) - 1) - (exp(l) - 1 - l)), both of second order in l.
        near = jnp.abs(pair.log_ratio) <= 1
        small = jnp.where(near, pair.log_ratio, 0)
        curve = small * small * num.exp_second_difference(jnp.zeros((), small.dtype), small)
        series = pair.q * (small * num.expm1(self.alpha * small) - curve)
        return jnp.where(near, series, pair.affinity(self.alpha) * pair.log_ratio - pair.difference)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        ratio, affinity = pair.log_ratio, pair.affinity(self.alpha)
        by_p = affinity * (self.alpha * ratio + 1) - pair.p
        return by_p, affinity * ((1 - self.alpha) * ratio - 1) + pair.q

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(1.0, -_INF, 0.0), Limit(-1.0, _INF, 0.0)

    def claims(self) -> Claims:
        raise NotImplementedError("a step of Chernoff information, not a divergence")


class Exponent(Protocol):
    """What the search asks of a pair of rows; alpha is one number a row, (..., 1)."""

    def masses(self) -> tuple[Array, Array]:
        """The sums of p and of q."""
        ...

    def sum(self, divergence: Separable) -> Array:
        """Sum of a summand."""
        ...

    def log_affinity_slope(self, alpha: Array) -> tuple[Array, Array]:
        """log S, and S'/S by alpha."""
        ...


def _mass(rows: Exponent, alpha: Array) -> tuple[Array, Array]:
    """m, and its derivative by alpha."""
    mass_p, mass_q = rows.masses()
    alpha = alpha[..., 0]
    return alpha * mass_p + (1 - alpha) * mass_q, mass_p - mass_q


def _rise(rows: Exponent, alpha: Array) -> Array:
    """The slope of the exponent, m'/m - S'/S, accurate to itself.

    Near p = q that is (N m' - N' m)/(S m) with N = S - m, and N' a sum of small terms; where S is
    small, S'/S is a weighted mean.
    """
    mass, gap = _mass(rows, alpha)
    slope = rows.sum(AffinitySlope(alpha))
    log_sum, mean = rows.log_affinity_slope(alpha)
    near = log_sum > jnp.log(0.5 * mass)
    whole = jnp.where(near, jnp.exp(log_sum), mass)
    lost = whole - mass
    # Of what is but rounding the true product is far below the other.
    epsilon = float(jnp.finfo(alpha.dtype).eps)
    lost = jnp.where(jnp.abs(lost) > 4 * epsilon * mass, lost, 0)
    small = (lost * gap - slope * mass) / jnp.where(whole > 0, whole, 1)
    some = jnp.where(mass > 0, mass, 1)
    return (jnp.where(near, small, gap - mean * mass) / some)[..., None]


def slope(rows: Exponent, alpha: Array) -> Array:
    """The slope of the exponent to within a rounding of log(p/q)."""
    mass, gap = _mass(rows, alpha)
    _, mean = rows.log_affinity_slope(alpha)
    return (gap / jnp.where(mass > 0, mass, 1) - mean)[..., None]


def best_alpha(rows: Exponent, like: Array, varying: frozenset) -> Array:
    """Where the exponent, which is concave in alpha, is highest: one number a row, (..., 1).

    `like` is a number of every row; `varying` the mesh axes along which they differ.
    """
    epsilon = float(jnp.finfo(like.dtype).eps)
    # A supremum at an end (unequal supports) is approached to within a rounding.
    ends = [jnp.full((*like.shape, 1), x, like.dtype) for x in (epsilon**2, 1 - epsilon / 2)]
    low, high = (cast(x, varying) for x in ends)
    steps = 2 * (58 if num.is_double(low) else 28)
    return falling_root(lambda alpha: _rise(rows, alpha), low, high, steps=steps)


def inside(best: Array) -> Array:
    """Where the highest point is not at an end, so that it follows p and q."""
    epsilon = float(jnp.finfo(best.dtype).eps)
    return (best > 2 * epsilon) & (best < 1 - 2 * epsilon)
