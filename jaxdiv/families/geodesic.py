"""Chernoff information: the highest point of the exponential line between two members."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
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


def _moved(x: Array) -> Array:
    """An exact zero whose derivative by x is 1."""
    return x - jax.lax.stop_gradient(x)


def chernoff(pair: Pair) -> Array:
    """The maximum over 0 <= alpha <= 1 of the exponent, which is concave in alpha."""
    still = Pair(*jax.tree.map(jax.lax.stop_gradient, (pair.p, pair.q)))
    half = jnp.full(pair.p.valid().shape, 0.5, pair.dtype)

    def bisect(_, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        alpha = (low + high) / 2
        up = _slope(still, alpha)
        return jnp.where(up >= 0, alpha, low), jnp.where(up <= 0, alpha, high)

    # An error e in alpha costs e^2 of the value: half of the digits would do, for derivatives all.
    steps = 52 if num.is_double(half) else 24
    start = jax.lax.fori_loop(0, steps, bisect, (jnp.zeros_like(half), jnp.ones_like(half)))
    best = (start[0] + start[1]) / 2
    # One Newton step, of length 0, carries the dependence of alpha on p and q, which second
    # derivatives need; first ones do not (the envelope theorem).
    slope = functools.partial(_slope, still)
    curvature = jax.jvp(slope, (best,), (jnp.ones_like(best),))[1]
    moved = jax.tree.map(_moved, (pair.p, pair.q))
    _, up = jax.jvp(lambda m: _slope(Pair(*m), best), ((still.p, still.q),), (moved,))
    bends = curvature < 0
    alpha = best - jnp.where(bends, up, 0) / jnp.where(bends, curvature, 1)
    return _at_maximum(_exponent, (pair.p, pair.q), alpha)
