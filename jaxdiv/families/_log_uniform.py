"""The logarithm of a uniform variable, from low >= 0 to high."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .bends import exp_bend
from .expectations import Real


class LogUniform(NamedTuple):
    """log x, x = m (1 + r u) with u uniform on [-1, 1] and r = (high - low) / (high + low) <= 1.

    For r <= 1/2 expectations are by Gauss' quadrature, of terms of one sign, else in closed form.
    """

    low: Array
    high: Array

    def _middle(self) -> Array:
        return self.low / 2 + self.high / 2

    def _spread(self) -> Array:
        return (self.high - self.low) / 2 / self._middle()

    def _near(self) -> Array:
        return self._spread() <= 0.5

    def _quadrature(self, f: Callable[[Array], Array]) -> Array:
        """E[f(log(1 + r u))] for r <= 1/2."""
        nodes, weights = num.gauss(self.low)
        r = jnp.where(self._near(), self._spread(), 0)
        total = jnp.zeros_like(r)
        for x, w in zip(nodes, weights, strict=True):
            total = total + float(w) * f(num.log1p(r * float(2 * x - 1)))
        return total

    def _ends(self) -> tuple[Array, Array, Array]:
        """low / high, its logarithm, 0 in place of -inf, and 1 - low / high."""
        rest = (self.high - self.low) / self.high
        w = self.low / self.high
        return w, num.log1p(-jnp.where(w > 0, rest, 0)), rest

    def fall(self) -> Array:
        """log m - E[log x], at least 0."""
        near = self._quadrature(lambda y: -y)
        # From the top, E[log(x / high)] = -1 - w log w / (1 - w).
        w, log, rest = self._ends()
        far = jnp.log(self._middle() / self.high) + 1 + w * log / rest
        return jnp.where(self._near(), near, far)

    def mean(self, unit: Real) -> Array:
        """E[log(x / unit)]."""
        return jnp.log(self._middle() / unit) - self.fall()

    def variance(self) -> Array:
        """Var[log x]."""
        fall = self.fall()
        near = self._quadrature(lambda y: jnp.square(y + fall))
        w, log, rest = self._ends()
        # E[log^2] = 2 - w log w (log w - 2) / (1 - w) and E[log] = -1 - w log w / (1 - w).
        each = w * log / rest
        far = 1 - each * log - jnp.square(each)
        return jnp.where(self._near(), near, far)

    def entropy(self) -> Array:
        """H - E[log x]."""
        return jnp.log(2 * self._spread()) + self.fall()

    def power_gap(self, k: Real) -> Array:
        """log E[x^k] - k E[log x]."""
        fall = self.fall()
        near = jnp.log1p(self._quadrature(lambda y: exp_bend(k * (y + fall))))
        # E[(x / high)^k] = (1 - w^(k+1)) / ((k + 1) (1 - w))
        w, log, rest = self._ends()
        power = -log * num.expm1_over((k + 1) * log) / rest
        some = jnp.broadcast_to(jnp.asarray(k) > -1, w.shape)
        top = jnp.where(w > 0, power, jnp.where(some, 1 / jnp.where(some, k + 1, 1), jnp.inf))
        high = jnp.log(self._middle() / self.high)
        far = jnp.log(top) + k * (fall - high)
        few = jnp.abs(jnp.asarray(k)) * self._spread() <= 1
        return jnp.where(self._near() & few, near, far)
