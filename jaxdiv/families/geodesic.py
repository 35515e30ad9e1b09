"""Chernoff information: the highest point of the exponential line between two members."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._root import falling_root, following
from .base import Family
from .pair import Pair


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _at_maximum(f: Callable[[Pair, Array], Array], members: tuple[Family, Family], alpha: Array):
    """f where it is highest in alpha: its derivative by alpha, 0, is left out."""
    return f(Pair(*members), alpha)


@_at_maximum.defjvp
def _(f, primals, tangents):
    members, alpha = primals
    value = _at_maximum(f, members, alpha)
    _, dot = jax.jvp(lambda m: f(Pair(*m), alpha), (members,), (tangents[0],))
    return value, dot


def _exponent(pair: Pair, alpha: Array) -> Array:
    """-log of the integral of p^alpha q^(1-alpha)."""
    return alpha * (1 - alpha) * pair.jensen(alpha)


def _slope(pair: Pair, alpha: Array) -> Array:
    """The derivative of the exponent by alpha."""
    return jax.jvp(lambda a: _exponent(pair, a), (alpha,), (jnp.ones_like(alpha),))[1]


def _anywhere(alpha: Array) -> Array:
    return jnp.ones(alpha.shape, bool)


def chernoff(pair: Pair) -> Array:
    """The maximum over 0 <= alpha <= 1 of the exponent, which is concave in alpha."""
    still = Pair(*jax.tree.map(jax.lax.stop_gradient, (pair.p, pair.q)))
    low = jnp.full(pair.p.valid().shape, float(jnp.finfo(pair.dtype).eps), pair.dtype)
    # An error e in alpha costs e^2 of the value: half of the digits would do, for derivatives all.
    steps = 2 * (52 if num.is_double(low) else 24)
    best = falling_root(functools.partial(_slope, still), low, 1 - low, steps=steps)
    members = pair.p, pair.q
    # First derivatives do not need the best alpha's (the envelope theorem), second ones do.
    best = following(lambda m, alpha: _slope(Pair(*m), alpha), members, best, _anywhere)
    return _at_maximum(_exponent, members, best)
