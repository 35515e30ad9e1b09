"""Means over all pairs of points, in blocks; derivatives form the blocks again."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._numerics import row_sum
from .tiles import ROWS, TILE

Tile = Callable[..., Array]


def row_means(
    tile: Tile,
    x: tuple[Array, ...],
    y: tuple[Array, ...],
    *,
    different: bool = False,
    entries: int = TILE,
) -> Array:
    """Mean over j of tile(y_j, x_i), (n,); with `different`, over j != i.

    x and y hold arrays whose first axes are points, as many in each; `tile` maps a block of y's and
    one of x's to (points of y, points of x). A block has at most that many `entries`.
    """
    n, m = len(x[0]), len(y[0])
    size = min(m, max(1, entries // ROWS))
    chunks, blocks = -(-m // size), -(-n // ROWS)

    def cut(z: Array, count: int, size: int) -> Array:
        padding = [(0, count * size - len(z))] + [(0, 0)] * (z.ndim - 1)
        # By the last point: a user's kernel need not bear another.
        return jnp.pad(z, padding, mode="edge").reshape(count, size, *z.shape[1:])

    theirs = tuple(cut(z, chunks, size) for z in y)
    place = jnp.arange(chunks * size).reshape(chunks, size)

    @jax.checkpoint
    def block(part: tuple[tuple[Array, ...], Array]) -> Array:
        query, own = part

        @jax.checkpoint
        def chunk(total: Array, part: tuple[tuple[Array, ...], Array]) -> tuple[Array, None]:
            points, place = part
            wrong = (place >= m)[:, None]
            if different:
                wrong = wrong | (place[:, None] == own[None, :])
            values = jnp.where(wrong, 0, tile(points, query))
            return total + row_sum(values.T), None

        zero = jnp.zeros(own.shape, query[0].dtype)
        return lax.scan(chunk, zero, (theirs, place))[0]

    own = jnp.arange(blocks * ROWS).reshape(blocks, ROWS)
    sums = lax.map(block, (tuple(cut(z, blocks, ROWS) for z in x), own))
    return sums.reshape(-1)[:n] / (m - different)
