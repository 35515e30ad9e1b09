"""Several independent distributions as one."""

import dataclasses
from typing import Any, Self

import jax.numpy as jnp
from jax import Array

from .._pytree import static
from ._multivariate_normal import MultivariateNormal
from ._normal import Normal
from .base import Family, family
from .expectations import Real
from .pair import Pair


@family
class Independent(Family):
    """The product of the members of a batch, over its last axes.

    `base` is a member of a family, and its last `reinterpreted_batch_ndims` batch axes become one
    event. KL, and minus the logarithm of the integral of p^alpha q^(1-alpha), are sums over it.
    Independent normals may stand beside a `MultivariateNormal`.
    """

    base: Any
    reinterpreted_batch_ndims: int = static(default=1)

    def checked(self, name: str) -> Self:
        if not isinstance(self.base, Family):
            raise TypeError(
                f"{name}.base must be a member of a family, but is a {type(self.base).__name__}"
            )
        count = self.reinterpreted_batch_ndims
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(
                f"{name}.reinterpreted_batch_ndims must be a positive integer, but is {count!r}"
            )
        base = self.base.checked(f"{name}.base")
        shape = base.batch(f"{name}.base")
        if count > len(shape):
            raise ValueError(
                f"{name}.reinterpreted_batch_ndims is {count}, but {name}.base has batch shape "
                f"{shape}"
            )
        return dataclasses.replace(self, base=base)

    def batch(self, name: str) -> tuple[Any, ...]:
        shape = self.base.batch(f"{name}.base")
        return shape[: len(shape) - self.reinterpreted_batch_ndims]

    def event_shape(self) -> tuple[Any, ...]:
        shape = self.base.batch("base")
        return shape[len(shape) - self.reinterpreted_batch_ndims :]

    def full(self, batch: tuple[int, ...], dtype: Any) -> Self:
        return dataclasses.replace(self, base=self.base.full((*batch, *self.event_shape()), dtype))

    def valid(self) -> Array:
        return jnp.all(self.base.valid(), axis=self._axes())

    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.reinterpreted_batch_ndims, 0))

    def kl(self, other: Any) -> Array:
        return jnp.sum(Pair(self.base, other.base).kl(), axis=self._axes())

    def jensen(self, other: Any, alpha: Array) -> Array:
        return jnp.sum(Pair(self.base, other.base).jensen(alpha), axis=self._axes())

    def entropy(self, unit: Real = 1.0) -> Array:
        return jnp.sum(self.base.entropy(unit), axis=self._axes())

    def like(self, other: Family) -> Family:
        if not isinstance(other, MultivariateNormal) or not isinstance(self.base, Normal):
            return self
        if self.event_shape() != other.event_shape():
            return self
        shape = jnp.broadcast_shapes(self.base.loc.shape, self.base.scale.shape)
        loc, scale = (jnp.broadcast_to(x, shape) for x in (self.base.loc, self.base.scale))
        return MultivariateNormal(loc, scale_diag=scale)
