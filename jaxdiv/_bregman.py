"""Bregman divergences of separable potentials: sum phi(p) - phi(q) - phi'(q) (p - q).

Convex in p always. KL is the one with phi(x) = x log x; it stands with the f-divergences.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
from jax import Array

from . import _numerics as num
from ._divergence import Claims, Edge, Scalar, Separable, declare
from ._pytree import static

if TYPE_CHECKING:
    from .rows.pair import Pair

_INF = float("inf")


@declare
class SquaredEuclidean(Separable):
    """Squared Euclidean distance, the Bregman divergence of x^2; the Brier score's regret."""

    formula: ClassVar[str] = "sum (p - q)^2"

    def potential(self, x: Array) -> Array:
        """x^2."""
        return jnp.square(x)

    def summand(self, p: Array, q: Array) -> Array:
        return jnp.square(p - q)

    def term(self, pair: "Pair") -> Array:
        return pair.difference * pair.difference

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        return 2 * pair.p * pair.difference, -2 * pair.q * pair.difference

    def at_p_zero(self, pair: "Pair") -> Edge:
        return _square_edge(pair.raw_q)

    def at_q_zero(self, pair: "Pair") -> Edge:
        return _square_edge(pair.raw_p)

    def claims(self) -> Claims:
        return Claims(
            True, True, True, False, False, True, "root", 2.0, None, data_processing=False
        )


def _square_edge(x: Array) -> Edge:
    return Edge(x * x, -2 * x, jnp.zeros_like(x), 2 * x, 2 * x * x)


@declare
class ItakuraSaito(Separable):
    """Itakura-Saito divergence, the Bregman divergence of -log x; unchanged by rescaling both."""

    formula: ClassVar[str] = "sum p/q - log(p/q) - 1"

    def potential(self, x: Array) -> Array:
        """-log x."""
        return -jnp.log(x)

    def summand(self, p: Array, q: Array) -> Array:
        return p / q - jnp.log(p / q) - 1

    def _excess(self, pair: "Pair") -> Array:
        """(p - q)/q."""
        normal = pair.q >= jnp.finfo(pair.q.dtype).tiny
        direct = num.divide(pair.difference, jnp.where(normal, pair.q, 1))
        return jnp.where(normal, direct, num.expm1(pair.log_ratio))

    def term(self, pair: "Pair") -> Array:
        x = self._excess(pair)
        near = (x >= -0.5) & (x <= 1)
        return jnp.where(near, num.log1p_remainder(jnp.where(near, x, 0)), x - pair.log_ratio)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        x = self._excess(pair)
        return x, -x

    def at_p_zero(self, pair: "Pair") -> Edge:
        q = pair.raw_q
        infinite, one = jnp.full_like(q, _INF), jnp.ones_like(q)
        return Edge(infinite, -infinite, -one, 1 / jnp.where(q > 0, q, 1), one)

    def at_q_zero(self, pair: "Pair") -> Edge:
        infinite = jnp.full_like(pair.raw_p, _INF)
        return Edge(infinite, -infinite, -infinite, infinite, infinite)

    def claims(self) -> Claims:
        return Claims(
            True, False, False, False, False, False, "no", _INF, None, data_processing=False
        )


@declare
class Bregman(Separable):
    """The Bregman divergence of a user's convex potential phi, a scalar function.

    phi is written in jax.numpy for x > 0. Its value and slopes at 0 are taken there, and where that
    gives NaN (x log x written plainly), found by probing near 0.
    """

    potential: Callable[[Array], Array] = static()
    formula: ClassVar[str] = "sum phi(p) - phi(q) - phi'(q) (p - q)"

    def check(self) -> None:
        if not callable(self.potential):
            raise TypeError(f"potential must be a function of a scalar, but is {self.potential!r}")

    def captures(self) -> bool:
        return num.captures(self.potential)

    def steepness(self) -> Scalar:
        return _INF

    def summand(self, p: Array, q: Array) -> Array:
        phi, first = num.derivative(self.potential, 0), num.derivative(self.potential, 1)
        return phi(p) - phi(q) - first(q) * (p - q)

    def _parts(self, pair: "Pair"):
        first, second = num.derivative(self.potential, 1), num.derivative(self.potential, 2)
        q, difference = pair.q, pair.difference
        near = jnp.abs(pair.log_ratio) <= 1
        small = jnp.where(near, difference, 0)
        points, u, w = num.along(q, small)
        curvature = w * second(points)
        rise = first(pair.p) - first(q)
        # As for f-divergences: where the potential has a kink the direct form is right.
        near &= num.same_rise(rise, small, curvature, jnp.abs(first(pair.p)) + jnp.abs(first(q)))
        return near, small, u, curvature, rise

    def term(self, pair: "Pair") -> Array:
        phi, first = num.derivative(self.potential, 0), num.derivative(self.potential, 1)
        near, small, u, curvature, _ = self._parts(pair)
        remainder = small * small * jnp.sum((1 - u) * curvature, 0)
        direct = phi(pair.p) - phi(pair.q) - first(pair.q) * pair.difference
        return jnp.where(near, remainder, jnp.maximum(direct, 0))

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        near, small, _, curvature, rise = self._parts(pair)
        by_p = jnp.where(near, small * jnp.sum(curvature, 0), rise)
        second = num.derivative(self.potential, 2)
        return pair.p * by_p, -pair.q * second(pair.q) * pair.difference

    def _at_zero(self, like: Array, order: int) -> Array:
        """phi or a derivative at 0; where that is NaN, the limit by probing."""
        tiny = float(jnp.finfo(like.dtype).tiny)
        ends = jnp.asarray([0.0, tiny, tiny**0.5], like.dtype)
        at_zero, fine, coarse = num.derivative(self.potential, order)(ends)
        limit = num.settles(coarse, fine, -_INF if order == 1 else _INF)
        return jnp.where(jnp.isnan(at_zero), limit, at_zero)

    def at_p_zero(self, pair: "Pair") -> Edge:
        phi, first, second = (num.derivative(self.potential, order) for order in range(3))
        q = jnp.where(pair.raw_q > 0, pair.raw_q, 1)
        value = self._at_zero(q, 0) - phi(q) + first(q) * q
        by_q = second(q) * q
        return Edge(value, self._at_zero(q, 1) - first(q), jnp.zeros_like(q), by_q, q * by_q)

    def at_q_zero(self, pair: "Pair") -> Edge:
        phi, first = num.derivative(self.potential, 0), num.derivative(self.potential, 1)
        p = jnp.where(pair.raw_p > 0, pair.raw_p, 1)
        slope, curvature = self._at_zero(p, 1), self._at_zero(p, 2)
        value = phi(p) - self._at_zero(p, 0) - slope * p
        by_p = first(p) - slope
        tiny = jnp.asarray([jnp.finfo(p.dtype).tiny], p.dtype)
        scaled = num.derivative(self.potential, 2)(tiny)[0] * tiny[0]  # lim q phi''(q)
        return Edge(value, -p * curvature, -p * scaled, by_p, p * by_p)

    def claims(self) -> Claims:
        return Claims(True, None, None, None, None, None, None, None, None, data_processing=None)
