"""Families with a location: Laplace, Cauchy and uniform distributions."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _numerics as num
from .._divergence import concrete
from ._scaled import of_scale
from .base import POSITIVE, REAL, Family, Number, View, family, parameter
from .bends import excess, shares


@family
class Laplace(Family):
    """Laplace distribution on the reals with density e^(-|x - m| / s) / (2 s).

    KL = (y - 1 - log y) + y (e^(-u) - 1 + u), y = s_p / s_q, u = |m_p - m_q| / s_p. What is no
    function of KL has a closed form here where the locations are equal.
    """

    loc: Number = parameter(REAL)
    scale: Number = parameter(POSITIVE)

    def view(self) -> View:
        return of_scale("|x - loc|", 1.0, self.scale, 1.0, loc=self.loc)

    def kl(self, other: "Laplace") -> Array:
        ratio = self.scale / other.scale
        u = jnp.abs(self.loc - other.loc) / self.scale
        # For large u that is u - 1, of which the square may overflow.
        far = u > 1e4
        near = jnp.where(far, 0, u)
        apart = jnp.where(far, u - 1, near * near * num.expm1_bend(-near))
        return excess((self.scale - other.scale) / other.scale, 1.0, ratio) + ratio * apart


@family
class Cauchy(Family):
    """Cauchy distribution on the reals with density s / (pi (s^2 + (x - m)^2)).

    KL = log(1 + ((s_p - s_q)^2 + (m_p - m_q)^2) / (4 s_p s_q)), which is symmetric.

    Reference: Chyzak and Nielsen, arXiv 1905.10965.
    """

    loc: Number = parameter(REAL)
    scale: Number = parameter(POSITIVE)

    def kl(self, other: "Cauchy") -> Array:
        s, r = self.scale, other.scale
        steps = (s - r, self.loc - other.loc)
        near = sum((step / s) * (step / r) for step in steps) / 4
        return num.log1p(near)


@family
class Uniform(Family):
    """Uniform distribution on [low, high].

    KL is the logarithm of the ratio of the lengths where q's interval holds p's, else +inf. Its
    derivatives are those from inside: of p that shrinks and q that grows.
    """

    low: Number = parameter(REAL)
    high: Number = parameter(REAL)

    def consistent(self, name: str) -> None:
        if concrete(self.low) and concrete(self.high) and not np.all(
            np.asarray(self.low) < np.asarray(self.high)
        ):  # fmt: skip
            raise ValueError(f"{name}.low must be below {name}.high")

    def valid(self) -> Array:
        return super().valid() & (self.low < self.high)

    def _beyond(self, other: "Uniform") -> tuple[Array, Array]:
        """log(length / length of the overlap), +inf without one; and whether it is inside."""
        low, high = jnp.maximum(self.low, other.low), jnp.minimum(self.high, other.high)
        overlap = high - low
        some = overlap > 0
        outside = (self.high - high) + (low - self.low)
        log = num.log1p(outside / jnp.where(some, overlap, 1))
        return jnp.where(some, log, jnp.inf), outside == 0

    def kl(self, other: "Uniform") -> Array:
        log, _ = other._beyond(self)
        _, inside = self._beyond(other)
        return jnp.where(inside, log, jnp.inf)

    def jensen(self, other: "Uniform", alpha: Array) -> Array:
        # -log S = alpha log(L_p / o) + (1 - alpha) log(L_q / o), o the length of the overlap.
        (log_p, in_q), (log_q, in_p) = self._beyond(other), other._beyond(self)
        return shares(log_p, in_q, log_q, in_p, alpha)
