"""Mixtures of members of a family."""

import dataclasses
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from jax import Array

from .._divergence import concrete
from .base import PROBABILITY, Family, Number, Real, family, parameter
from .expectations import Support


@family
class Mixture(Family):
    """The mixture sum_k w_k p_k of the members along the last batch axis of `base`.

    `weights` are w, (*batch, k), and sum to 1: they are used as they are. A mixture has a density
    and can be sampled, but no divergence of the catalogue has a closed form.
    """

    weights: Number = parameter(PROBABILITY, 1)
    base: Any = None

    def checked(self, name: str) -> Self:
        if not isinstance(self.base, Family):
            raise TypeError(
                f"{name}.base must be a member of a family, but is a {type(self.base).__name__}"
            )
        member = super().checked(name)
        base = self.base.checked(f"{name}.base")
        shape = base.batch(f"{name}.base")
        if not shape or member.weights.shape[-1] != shape[-1]:
            raise ValueError(
                f"{name}.base must have {name}.weights' number of components, "
                f"{member.weights.shape[-1]}, in its last batch axis, but has batch shape {shape}"
            )
        if concrete(member.weights):
            sums = np.sum(np.asarray(member.weights, np.float64), axis=-1)
            if not np.allclose(sums, 1, atol=1e-3):
                raise ValueError(f"{name}.weights must sum to 1, but sum to {sums}")
        return dataclasses.replace(member, base=base)

    def batch(self, name: str) -> tuple[Any, ...]:
        weights = jnp.shape(self.weights)[:-1]
        return jnp.broadcast_shapes(weights, self.base.batch(f"{name}.base")[:-1])

    def event_shape(self) -> tuple[Any, ...]:
        return self.base.event_shape()

    def full(self, batch: tuple[int, ...], dtype: Any) -> Self:
        shape = (*batch, self.weights.shape[-1])
        weights = jnp.broadcast_to(self.weights.astype(dtype), shape)
        return dataclasses.replace(self, weights=weights, base=self.base.full(shape, dtype))

    def valid(self) -> Array:
        fine = jnp.all((self.weights >= 0) & (self.weights <= 1), axis=-1)
        return fine & jnp.all(self.base.valid(), axis=-1)

    def support(self) -> Support | None:
        own = self.base.support()
        ends = () if own is None else (own.low, own.high)
        return own if all(isinstance(x, float) for x in ends) else None

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return jnp.sum(self.weights * self.base.mean(origin, unit), axis=-1)

    def variance(self, unit: Real = 1.0) -> Array:
        own = self.base.mean(0.0, unit)
        centre = jnp.sum(self.weights * own, axis=-1, keepdims=True)
        each = self.base.variance(unit) + jnp.square(own - centre)
        return jnp.sum(self.weights * each, axis=-1)
