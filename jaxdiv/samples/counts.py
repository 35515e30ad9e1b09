"""How many points lie within a radius of each point, in blocks."""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from .tiles import ROWS, TILE, largest_differences


@functools.partial(jax.jit, static_argnames=("inclusive",))
def others_within(x: Array, radius: Array, *, inclusive: bool) -> Array:
    """Other points x_j with max_i |x_j - x_i| < radius_i, or <= radius_i; (n,) integers."""
    n = len(x)
    size = min(n, TILE // ROWS)
    chunks, blocks = -(-n // size), -(-n // ROWS)
    # Nothing is below a radius of NaN or within a distance of NaN: padding is not counted.
    points = jnp.pad(x, ((0, chunks * size - n), (0, 0)), constant_values=jnp.nan)
    points = points.reshape(chunks, size, -1)

    def block(part: tuple[Array, Array]) -> Array:
        query, radius = part

        def chunk(total: Array, points: Array) -> tuple[Array, None]:
            apart = largest_differences(points, query)
            near = apart <= radius[None] if inclusive else apart < radius[None]
            return total + jnp.sum(near, 0, dtype=total.dtype), None

        return lax.scan(chunk, jnp.zeros(len(query), jnp.int32), points)[0]

    parts = (jnp.pad(x, ((0, blocks * ROWS - n), (0, 0))), jnp.pad(radius, (0, blocks * ROWS - n)))
    counts = lax.map(block, tuple(z.reshape(blocks, ROWS, *z.shape[1:]) for z in parts))
    itself = radius >= 0 if inclusive else radius > 0
    return counts.reshape(-1)[:n] - itself.astype(counts.dtype)
