"""Energy distance: how much farther points of two samples are from each other than within."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from . import arguments
from .divergences import mean
from .neighbours import power_of_two
from .pairs import row_means
from .tiles import squared_distances


def energy_distance(x: Any, y: Any, *, estimator: str = "biased") -> Array:
    """Energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'|, from points x of p and y of q.

    In the units of the points. At least 0, and 0 only for p = q; Szekely and Rizzo's, of which
    `scipy.stats.energy_distance` is the square root. "biased" takes means over all pairs (a
    V-statistic, at least 0); "unbiased" over pairs of different points, and may be negative.

    x is (*batch, n, d), y (*batch, m, d), or (n,) and (m,); batch axes broadcast, and the batch
    shape is returned. Differentiable; the derivative of |x - y| is taken as 0 where points
    coincide. Memory is a block of 2^20 pairs, in derivatives too.

    ValueError for fewer than two points for "unbiased", NaN or infinities (NaN where they are
    traced), dimensions that differ.

    Reference: Szekely and Rizzo, Energy Statistics: A Class of Statistics Based on Distances, 2013.
    """
    arguments.choice("estimator", estimator, ("biased", "unbiased"))
    a, b = arguments.as_samples(x, y)
    for name, points in (("x", a), ("y", b)):
        if estimator == "unbiased" and points.shape[-2] < 2:
            raise ValueError(f"{name} must hold at least two points for estimator='unbiased'")
    return arguments.batched(lambda a, b: _evaluate(a, b, estimator == "unbiased"), a, b)


@functools.partial(jax.jit, static_argnums=2)
def _evaluate(x: Array, y: Array, different: bool) -> Array:
    centre = jax.lax.stop_gradient(y[:1])
    scale = power_of_two(x - centre, y - centre)

    def tile(theirs: Any, ours: Any) -> Array:
        return num.safe_sqrt(squared_distances(theirs[0] * scale, ours[0] * scale))

    def over(a: Array, b: Array, different: bool = False) -> Array:
        return mean(row_means(tile, (a,), (b,), different=different))

    value = 2 * over(x, y) - over(x, x, different) - over(y, y, different)
    value = value if different else jnp.where(value < 0, 0, value)
    return value / scale * arguments.finite(x, y)
