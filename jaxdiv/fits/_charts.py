"""Parameters of a family without constraints, by a bijection for each declared domain."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _finite as finite
from ..families import Independent, Mixture
from ..families._bernoulli import COUNT
from ..families._continuous_bernoulli import INNER
from ..families._counts import BELOW_ONE, LOGITS, NON_NEGATIVE
from ..families.base import CHANCE, POSITIVE, PROBABILITY, REAL, Domain, Family, given

Maps = tuple[Callable[[Array], Array], Callable[[Array], Array]]  # to the reals, and back


def _same(x: Array) -> Array:
    return x


def _logit(x: Array) -> Array:
    return jnp.log(x) - jnp.log1p(-x)


_MAPS: dict[Domain, Maps] = {
    REAL: (_same, _same),
    LOGITS: (_same, _same),
    POSITIVE: (jnp.log, jnp.exp),
    NON_NEGATIVE: (jnp.log, jnp.exp),
    PROBABILITY: (_logit, jax.nn.sigmoid),
    CHANCE: (_logit, jax.nn.sigmoid),
    BELOW_ONE: (_logit, jax.nn.sigmoid),
    INNER: (_logit, jax.nn.sigmoid),
}
_FIXED = (COUNT,)


def _triangle_to(x: Array) -> Array:
    diagonal = jnp.eye(x.shape[-1], dtype=bool)
    return jnp.where(diagonal, jnp.log(jnp.where(diagonal, x, 1)), jnp.tril(x, -1))


def _triangle_from(x: Array) -> Array:
    return jnp.where(jnp.eye(x.shape[-1], dtype=bool), jnp.exp(x), jnp.tril(x, -1))


def _maps(member: Family, field: dataclasses.Field) -> Maps | None:
    """The bijection of a field, None for one that stays as it is."""
    domain, name = field.metadata["domain"], field.name
    if domain in _FIXED:
        return None
    if name == "scale_tril":
        return _triangle_to, _triangle_from
    if isinstance(member, Mixture) and name == "weights":
        return jnp.log, lambda x: jax.nn.softmax(x, axis=-1)
    alternatives = {"covariance_matrix": "scale_tril", "probs": "logits"}
    vector = domain is PROBABILITY and field.metadata["event_ndim"]
    if name == "covariance_matrix" or vector or name == "mean_direction":
        cure = f"; give {alternatives[name]} instead" if name in alternatives else ""
        raise NotImplementedError(
            f"{name} of {type(member).__name__} has no chart without constraints here{cure}"
        )
    return _MAPS[domain]


def chart(member: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Free parameters of a member or of `Logits`, and the member that they stand for.

    NotImplementedError for parameters with constraints that no bijection is known of.
    """
    if isinstance(member, finite.Logits):
        return {"logits": member.logits}, lambda free: dataclasses.replace(member, **free)
    if isinstance(member, Independent):
        free, rebuilt = chart(member.base)
        return free, lambda free: dataclasses.replace(member, base=rebuilt(free))
    maps = {f.name: (_maps(member, f), x) for f, x in given(member)}
    free: dict[str, Any] = {name: m[0](x) for name, (m, x) in maps.items() if m is not None}
    inner = None
    if isinstance(member, Mixture):
        free["base"], inner = chart(member.base)

    def rebuild(free: dict[str, Any]) -> Any:
        values = {n: m[1](free[n]) for n, (m, _) in maps.items() if m is not None}
        if inner is not None:
            values["base"] = inner(free["base"])
        return dataclasses.replace(member, **values)

    return free, rebuild


def start(family: Any) -> Any:
    """A member to begin with: the one that was given, or of a class the plainest one.

    Raises TypeError for what is neither, ValueError for a class of vectors.
    """
    if isinstance(family, finite.Logits):
        return finite.as_noun("family", family)
    if isinstance(family, Family):
        member = family.checked("family")
        if member.batch("family"):
            raise ValueError(
                "family must be one distribution, but has batch shape "
                f"{member.batch('family')}; wrap it in Independent for a product of them"
            )
        return member
    if not (isinstance(family, type) and issubclass(family, Family)):
        raise TypeError(
            "family must be a member of a family to begin with, such as Normal(0.0, 1.0), a family "
            f"such as Normal, or Logits, but is {family!r}"
        )
    values = {}
    for field in dataclasses.fields(family):
        domain = field.metadata.get("domain")
        if field.default is not dataclasses.MISSING and field.name != "logits":
            continue
        if domain not in _MAPS or field.metadata["event_ndim"]:
            raise ValueError(
                f"family {family.__name__} needs a member to begin with, for {field.name}: give "
                f"{family.__name__}(...)"
            )
        values[field.name] = 1.0 if domain in (POSITIVE, NON_NEGATIVE) else 0.0
    if family.__name__ == "Uniform":
        values["high"] = 1.0
    return family(**values).checked("family")
