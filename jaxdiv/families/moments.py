"""Expectations of named statistics under members of families."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from .adapters import adapted
from .base import Family
from .evaluate import as_member, compute_dtype

# Each with the parameters of the statistic that it takes.
_STATISTICS: dict[str, tuple[tuple[str, ...], Callable[..., Array]]] = {
    "x": ((), lambda p: p.mean()),
    "x^2": ((), lambda p: jnp.square(p.mean()) + p.variance()),
    "(x - E[x])^2": ((), lambda p: p.variance()),
    "1 / x": ((), lambda p: p.mean_power(-1.0)),
    "x^k": (("k",), lambda p, k: p.mean_power(k)),
    "log x": ((), lambda p: p.mean_log()),
    "log(1 - x)": ((), lambda p: p.mean_log1m()),
    "|x - c|": (("c",), lambda p, c: p.mean_distance(c, jnp.ones_like(c))),
    "cos x": ((), lambda p: p.mean_cos()),
    "sin x": ((), lambda p: p.mean_sin()),
    "x x^T": ((), lambda p: p.mean_outer()),
    "log det x": ((), lambda p: p.mean_log_det()),
    "exp(t x)": (("t",), lambda p, t: jnp.exp(t * p.mean() + p.cumulant(t))),
}


def expectation(p: Any, statistic: str, **parameters: Any) -> Array:
    """The expectation of a statistic of x under a member of a family, in closed form.

    `statistic` is one of "x", "x^2", "(x - E[x])^2", "1 / x", "x^k", "log x", "log(1 - x)",
    "|x - c|", "cos x", "sin x" and "exp(t x)"; k, c and t are keywords, which broadcast with the
    batch of p. +inf where the integral diverges. Of vectors and matrices they are elementwise, and
    there is "x x^T" of the former, (*batch, n, n), and "log det x" of the latter.

    ValueError for an unknown statistic or a parameter outside its domain, TypeError for keywords
    that the statistic doesn't have, NotImplementedError where there is no closed form. Those of
    the sufficient statistics of an exponential family are `mean_parameters`.
    """
    if statistic not in _STATISTICS:
        known = ", ".join(map(repr, _STATISTICS))
        raise ValueError(f"statistic must be one of {known}, but is {statistic!r}")
    names, _ = _STATISTICS[statistic]
    if set(parameters) != set(names):
        needed, had = (", ".join(sorted(x)) or "no keywords" for x in (names, parameters))
        raise TypeError(f"the statistic {statistic!r} takes {needed}, but was given {had}")
    member = as_member("p", adapted("p", p))
    dtype = compute_dtype(member)
    batch = member.batch("p")
    if statistic == "x^k" and isinstance(parameters["k"], int | float):
        given = {"k": float(parameters["k"])}  # some families know only a few powers
    else:
        given = {key: jnp.asarray(value, dtype) for key, value in parameters.items()}
        batch = jnp.broadcast_shapes(batch, *(x.shape for x in given.values()))
        given = {key: jnp.broadcast_to(x, batch) for key, x in given.items()}
    member = member.full(batch, dtype)
    try:
        return _evaluate(member, statistic, given)
    except NotImplementedError as error:
        raise NotImplementedError(f"there is no closed form here for {error}") from None


def _evaluate(p: Family, statistic: str, given: dict[str, Any]) -> Array:
    value = _STATISTICS[statistic][1](p, **given)
    fine = p.valid()
    fine = fine.reshape(fine.shape + (1,) * (value.ndim - fine.ndim))  # of vectors
    return value * jnp.where(fine, 1, jnp.nan).astype(value.dtype)
