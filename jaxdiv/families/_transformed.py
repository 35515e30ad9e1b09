"""Images of a family under a bijection of the outcomes."""

import dataclasses
from typing import Any, Self

from jax import Array

from .._pytree import static
from .base import Family, family
from .pair import Pair


@family
class Transformed(Family):
    """The distribution of f(y), where y has the distribution `base` and f is a bijection.

    Divergences do not change under a bijection, so they are those of the bases, whatever f is; its
    Jacobian is never needed. `bijection` says which one it is: any hashable object, a function or a
    name, equal on both sides (functions are equal to themselves alone).
    """

    base: Any
    bijection: Any = static()

    def checked(self, name: str) -> Self:
        if not isinstance(self.base, Family):
            raise TypeError(
                f"{name}.base must be a member of a family, but is a {type(self.base).__name__}"
            )
        try:
            hash(self.bijection)
        except TypeError:
            raise TypeError(
                f"{name}.bijection must be hashable, but is a {type(self.bijection).__name__}"
            ) from None
        return dataclasses.replace(self, base=self.base.checked(f"{name}.base"))

    def batch(self, name: str) -> tuple[Any, ...]:
        return self.base.batch(f"{name}.base")

    def event_shape(self) -> tuple[Any, ...]:
        return self.base.event_shape()

    def full(self, batch: tuple[int, ...], dtype: Any) -> Self:
        return dataclasses.replace(self, base=self.base.full(batch, dtype))

    def valid(self) -> Array:
        return self.base.valid()

    def _bases(self, other: "Transformed") -> Pair:
        if self.bijection != other.bijection:
            raise NotImplementedError(
                "divergences of images under different bijections have no closed form: they are "
                f"{self.bijection!r} and {other.bijection!r}; bijections are equal by =="
            )
        return Pair(self.base, other.base)

    def kl(self, other: "Transformed") -> Array:
        return self._bases(other).kl()

    def jensen(self, other: "Transformed", alpha: Array) -> Array:
        return self._bases(other).jensen(alpha)

    def squared_fisher_rao(self, other: "Transformed") -> Array:
        return self._bases(other).squared_fisher_rao()
