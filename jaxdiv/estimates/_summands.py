"""A divergence as a function of the mean of something over draws.

For an f-divergence with summand d(p, q), homogeneous of degree 1, and draws from s

    D = E_s[d(p/s, q/s)],

each term at least 0, because f(1) = f'(1) = 0. That choice of the generator is a control variate:
E_s[p/s] = E_s[q/s] = 1 are known. Of KL and s = p it is the estimator k3 instead of k1. The other
divergences are functions of one of these.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._divergence import Divergence, Separable
from .._f_divergences import Alpha, JensenShannon, SquaredHellinger
from .._transforms import (
    Bhattacharyya,
    FisherRao,
    HellingerDistance,
    JensenShannonDistance,
    Renyi,
    SquaredFisherRao,
    Tsallis,
)
from ..rows.evaluate import Rows
from ..rows.pair import Side


class Plan(NamedTuple):
    """outer(E[d]), and for those of the integral of p^alpha q^(1-alpha) its order and 1/factor."""

    inner: Separable
    outer: Callable[[Array], Array]
    alpha: Array | float | None = None
    scale: Array | float = 1.0  # what -log of the integral is multiplied by, far from p = q


def plan(divergence: Divergence) -> Plan:
    """How to estimate a divergence; NotImplementedError for those that are no such function."""
    match divergence:
        case Separable() if divergence.homogeneous:
            return Plan(divergence, lambda d: d)
        case Renyi(alpha):
            return _renyi(alpha, 1.0)
        case Bhattacharyya():
            return _renyi(0.5, 0.5)
        case Tsallis(alpha):
            return Plan(Alpha(alpha), lambda d: alpha * d)
        case HellingerDistance():
            return Plan(SquaredHellinger(), num.safe_sqrt)
        case JensenShannonDistance():
            return Plan(JensenShannon(), num.safe_sqrt)
        case FisherRao():
            return Plan(SquaredHellinger(), lambda d: 4 * jnp.arcsin(num.safe_sqrt(_chord(d))))
        case SquaredFisherRao():
            return Plan(SquaredHellinger(), lambda d: 16 * num.squared_arcsin_sqrt(_chord(d)))
    raise NotImplementedError(
        f"{type(divergence).__name__} is no function of the mean of a function of p/q, and has no "
        "estimate here; f-divergences, and Renyi's, Tsallis', Bhattacharyya's, Hellinger's, "
        "Jensen and Shannon's and Fisher and Rao's distances have one"
    )


def _chord(squared_hellinger: Array) -> Array:
    return jnp.clip(squared_hellinger / 2, 0, 0.5)


def _renyi(alpha: Array | float, scale: float) -> Plan:
    """log(1 + alpha (alpha - 1) d) / (alpha - 1), smooth through alpha = 1."""

    def outer(d: Array) -> Array:
        step = alpha * (alpha - 1) * d
        some = step > -1
        log_over = num.log1p_over(jnp.where(some, step, 0))
        return jnp.where(some, scale * alpha * d * log_over, jnp.inf)

    return Plan(Alpha(alpha), outer, alpha, scale)


def _singles(log_p: Array, log_q: Array) -> Rows:
    """Every draw as a row of one outcome, with its edges and derivatives."""
    sides = (Side(x[..., None], chart="log") for x in (log_p, log_q))
    return Rows(*sides, implementation="reference")


def terms(inner: Separable, log_p: Array, log_q: Array) -> Array:
    """d(p/s, q/s) of each draw, from log(p/s) and log(q/s)."""
    return _singles(log_p, log_q).sum(inner)


def log_affinities(alpha: Array, log_p: Array, log_q: Array) -> Array:
    """log((p/s)^alpha (q/s)^(1-alpha)) of each draw."""
    return _singles(log_p, log_q).log_affinity(alpha)


def slopes(function: Callable[..., Array], *arguments: Array) -> tuple[Array, ...]:
    """The derivatives of an elementwise function by each argument, held fixed themselves."""
    whole = functools.partial(_total, function)
    fixed = jax.lax.stop_gradient(arguments)
    found = jax.grad(whole, argnums=tuple(range(len(arguments))))(*fixed)
    return jax.lax.stop_gradient(found)


def _total(function: Callable[..., Array], *arguments: Array) -> Array:
    return jnp.sum(function(*arguments))
