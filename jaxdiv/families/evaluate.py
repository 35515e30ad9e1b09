"""A divergence between members of families: checked, broadcast, compiled and evaluated."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as checks
from .._divergence import Divergence
from .adapters import adapted
from .base import Family
from .pair import Pair


def as_member(name: str, value: Any) -> Family:
    """A checked member, its parameters arrays."""
    if not isinstance(value, Family):
        raise TypeError(
            f"{name} must be a member of a family, such as Normal(0.0, 1.0), but is a "
            f"{type(value).__name__}"
        )
    return value.checked(name)


def compute_dtype(*members: Family) -> Any:
    """float32 for anything lower, float64 where a parameter has it."""
    dtypes = [x.dtype for member in members for x in jax.tree.leaves(member)]
    return jnp.float64 if any(d == jnp.float64 for d in dtypes) else jnp.float32


def as_outcomes(member: Family, x: Any) -> Array:
    """Outcomes of a member, (..., *event), in the dtype that its parameters and they call for."""
    x = checks.as_parameter("x", x)
    event = member.event_shape()
    if x.shape[x.ndim - len(event) :] != event:
        raise ValueError(f"x must have outcomes of shape {event}, but has shape {x.shape}")
    return x.astype(jnp.float64 if x.dtype == jnp.float64 else compute_dtype(member))


@jax.jit
def _evaluate(divergence: Divergence, p: Family, q: Family) -> Array:
    fine = p.valid() & q.valid()
    value = divergence.between(Pair(p, q))
    # A product, so that derivatives are NaN too.
    domain = fine & jnp.asarray(divergence.valid())
    return value * jnp.where(domain, 1, jnp.nan).astype(value.dtype)


def members(p: Any, q: Any) -> tuple[Family, Family]:
    """Both arguments of a verb, checked, of one batch shape and dtype."""
    p, q = as_member("p", adapted("p", p)), as_member("q", adapted("q", q))
    shapes = {name: member.batch(name) for name, member in (("p", p), ("q", q))}
    try:
        batch = jnp.broadcast_shapes(*shapes.values())
    except ValueError:
        text = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"batch shapes must broadcast, but are {text}") from None
    dtype = compute_dtype(p, q)
    p, q = p.full(batch, dtype), q.full(batch, dtype)
    if type(p) is not type(q):  # a member that also is one of another family
        p, q = p.like(q), q.like(p)
    events = p.event_shape(), q.event_shape()
    if events[0] != events[1]:
        raise ValueError(f"events must have one shape, but are p {events[0]} and q {events[1]}")
    return p, q


def scalar(value: Any, like: Family) -> Array:
    """A parameter of a divergence in the dtype of a member."""
    return jnp.asarray(value, compute_dtype(like))


def refuse(**keywords: tuple[Any, Any]) -> None:
    """Raise TypeError for a keyword, given with its default, that families don't take."""
    for keyword, (value, default) in keywords.items():
        if value is not default and (value is None or default is None or value != default):
            raise TypeError(
                f"{keyword} is for distributions over finitely many outcomes, not for families, "
                f"but {keyword}={value!r} was given"
            )


def between(divergence: Divergence, p: Any, q: Any, *, base: float | None) -> Array:
    """Evaluate a divergence object between members of families."""
    log_base = checks.check_base(base, divergence.logarithmic, type(divergence).__name__)
    divergence.check()
    p, q = members(p, q)
    divergence.check_between(Pair(p, q))
    divergence = jax.tree.map(functools.partial(scalar, like=p), divergence)
    value = _evaluate(divergence.specialise(), p, q)
    return value if base is None else divergence.in_base(value, log_base)
