"""What can be sampled or scored: members of families, nouns, other packages' distributions, pairs.

Each becomes a source with the same two methods. Two members of families are broadcast together
first, and so are two nouns, so that draws of one are outcomes of the other.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _finite as finite
from .._members import maybe_member
from .._pytree import register, static
from ..families import draws
from ..families.adapters import adapted
from ..families.base import Family
from ..families.densities import log_prob
from ..families.evaluate import compute_dtype, members
from ..rows.pair import pair_of


@register
@dataclasses.dataclass(frozen=True)
class Unnormalised:
    """A distribution whose density is known up to a constant factor.

    `value` is a function that gives log density plus any constant, or a pair (sampler,
    log_density) of which the latter is that.
    """

    value: Any


@register
@dataclasses.dataclass(frozen=True)
class Source:
    """One side of a divergence."""

    value: Any
    normalised: bool = static(default=True)

    def name(self) -> str:
        """As an error message calls it."""
        return type(self.value).__name__

    def can_sample(self) -> bool:
        """Whether there is a sampler."""
        return True

    def reparametrised(self) -> bool:
        """Whether draws carry the derivatives by the parameters."""
        return False

    def sample(self, key: Array, count: int) -> Array:
        """Draws, (count, *batch, *event)."""
        raise NotImplementedError

    def mirrored(self, x: Array) -> Array | None:
        """Draws reflected at the centre of the law, or None where it is not known to be one."""
        return None

    def log_prob(self, x: Array) -> Array:
        """Their log density, (count, *batch)."""
        raise NotImplementedError


@register
@dataclasses.dataclass(frozen=True)
class OfFamily(Source):
    """A checked member of a family."""

    def can_sample(self) -> bool:
        kind = self.value
        while hasattr(kind, "reinterpreted_batch_ndims"):
            kind = kind.base
        return type(kind) in draws._SAMPLERS

    def reparametrised(self) -> bool:
        return draws.reparametrised(self.value)

    def sample(self, key: Array, count: int) -> Array:
        return draws.sample(self.value, key, (count,), compute_dtype(self.value))

    def mirrored(self, x: Array) -> Array | None:
        centre = draws.centre(self.value)
        return None if centre is None else 2 * centre[None] - x

    def log_prob(self, x: Array) -> Array:
        return log_prob(self.value, x)


@register
@dataclasses.dataclass(frozen=True)
class OfOutcomes(Source):
    """Log-probabilities of finitely many outcomes along the last axis; draws are their indices."""

    def sample(self, key: Array, count: int) -> Array:
        shape = (count, *self.value.shape[:-1])
        return jax.random.categorical(key, jax.lax.stop_gradient(self.value), shape=shape)

    def log_prob(self, x: Array) -> Array:
        rows = jnp.broadcast_to(self.value[None], (*x.shape, self.value.shape[-1]))
        return jnp.take_along_axis(rows, x[..., None], axis=-1)[..., 0]


@register
@dataclasses.dataclass(frozen=True)
class OfFunctions(Source):
    """A pair of functions: sampler(key, count) and log_density(x)."""

    value: tuple[Callable | None, Callable] = static()

    def can_sample(self) -> bool:
        return self.value[0] is not None

    def sample(self, key: Array, count: int) -> Array:
        assert self.value[0] is not None
        x = self.value[0](key, count)
        lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(x)}
        if lengths != {(count,)}:
            raise ValueError(
                f"a sampler must return {count} draws along the first axis, but returned arrays "
                f"with {', '.join(map(str, sorted(lengths)))}"
            )
        return x

    def log_prob(self, x: Array) -> Array:
        return jnp.asarray(self.value[1](x))


@register
@dataclasses.dataclass(frozen=True)
class OfPackage(Source):
    """A distribution of numpyro, distrax or TensorFlow Probability that has no family here."""

    def sample(self, key: Array, count: int) -> Array:
        package = type(self.value).__module__.partition(".")[0]
        if package == "numpyro":
            return self.value.sample(key, (count,))
        return self.value.sample(sample_shape=(count,), seed=key)

    def log_prob(self, x: Array) -> Array:
        return self.value.log_prob(x)


def _as_family(name: str, value: Any) -> Any:
    """Adapted where there is a family for it here, else as it is."""
    try:
        return adapted(name, value)
    except TypeError:
        return value


def _noun(value: Any) -> bool:
    plain = not callable(value) and not isinstance(value, tuple | Unnormalised | str)
    return isinstance(value, finite.Noun) or (plain and not maybe_member(value))


def sources(p: Any, q: Any) -> tuple[Source, Source]:
    """Both sides, checked and of one batch shape where both have one.

    Raises TypeError for what can be neither sampled nor scored.
    """
    p, q = _as_family("p", p), _as_family("q", q)
    if isinstance(p, Family) and isinstance(q, Family):
        return tuple(map(OfFamily, members(p, q)))  # pyright: ignore[reportReturnType]
    if _noun(p) and _noun(q):
        return _outcomes(p, q)
    return _alone("p", p), _alone("q", q)


def _outcomes(p: Any, q: Any) -> tuple[Source, Source]:
    nouns = {"p": finite.as_noun("p", p), "q": finite.as_noun("q", q)}
    form = finite.layout(nouns, -1, None)
    side_p, side_q, _ = finite.sides(nouns["p"], nouns["q"], None, form)
    side_p, side_q = (
        dataclasses.replace(s, values=s.values.astype(form.dtype)) for s in (side_p, side_q)
    )
    pair = pair_of(side_p, side_q)
    log_p = jnp.where(side_p.support(), pair.log_p, -jnp.inf)
    log_q = jnp.where(side_q.support(), pair.log_q, -jnp.inf)
    return OfOutcomes(log_p), OfOutcomes(log_q)


def _alone(name: str, value: Any) -> Source:
    match value:
        case Unnormalised(inner) if callable(inner):
            return OfFunctions((None, inner), normalised=False)
        case Unnormalised((sampler, density)) if callable(density):
            return OfFunctions((sampler, density), normalised=False)
        case Family():
            member = value.checked(name)
            return OfFamily(member.full(member.batch(name), compute_dtype(member)))
        case (sampler, density) if callable(density) and (sampler is None or callable(sampler)):
            return OfFunctions((sampler, density))
    if maybe_member(value):
        return OfPackage(value)
    raise TypeError(
        f"{name} must be a member of a family, a distribution of numpyro, distrax or TensorFlow "
        "Probability, a pair (sampler, log_density) of functions, or Unnormalised of such a pair "
        f"or of a log density alone, or both sides nouns; but it is a {type(value).__name__}"
    )
