"""Distances between a block of points and another, by differences.

A tile holds rows of one sample along its last axis, which a CPU's vectors run along, and of the
other along its first. Dimensions are added up in chunks whose code is written out, so that the
differences are never stored.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

ROWS = 64  # points of one sample in a block at most
TILE = 2**20  # pairs in a block at most; 8 MB in float64
_CHUNK = 16


def _over_dimensions(
    merge: Callable[[Array, Array], Array],
    term: Callable[..., Array],
    *sides: tuple[Array, Array],
) -> Array:
    """`merge` over dimensions i of a term of y[j, i] - q[b, i] for each (y, q): (of y, of q)."""

    def chunk(total: Array, part: list[tuple[Array, Array]]) -> Array:
        for i in range(len(part[0][0])):
            total = merge(total, term(*(y[i][:, None] - q[i][None, :] for y, q in part)))
        return total

    turned = [(y.T, q.T) for y, q in sides]
    y, q = turned[0]
    total = jnp.zeros((y.shape[1], q.shape[1]), y.dtype)
    whole = 0 if len(y) <= 2 * _CHUNK else len(y) // _CHUNK
    if whole:
        parts = jax.tree.map(lambda z: z[: whole * _CHUNK].reshape(whole, _CHUNK, -1), turned)
        # Derivatives form the differences again: stored, they would be a tile a dimension.
        body = jax.checkpoint(lambda total, part: (chunk(total, part), None))
        total, _ = lax.scan(body, total, parts)
    return chunk(total, [(y[whole * _CHUNK :], q[whole * _CHUNK :]) for y, q in turned])


def squared_distances(y: Array, q: Array) -> Array:
    """|y_j - q_b|^2, (points of y, points of q); relative error (d + 2) / 2 ulp."""
    return _over_dimensions(jnp.add, jnp.square, (y, q))


def largest_differences(y: Array, q: Array) -> Array:
    """max_i |y_ji - q_bi|, correctly rounded."""
    return _over_dimensions(jnp.maximum, jnp.abs, (y, q))


def dots(y: Array, q: Array, t: Array, s: Array) -> Array:
    """(y_j - q_b) . (t_j - s_b)."""
    return _over_dimensions(jnp.add, jnp.multiply, (y, q), (t, s))
