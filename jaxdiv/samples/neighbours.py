"""Exact k nearest neighbours by brute force, in blocks, for any device.

The points are dealt into bins of W. The least distance in a bin is a minimum over an axis, which
vectorises, and no distance is stored beyond a block. Of any k + 1 bins the k + 1 with the smallest
minima hold the k + 1 nearest points: were one elsewhere, each of these bins would hold a nearer
one. So the points of a few bins are candidates, and their distances are formed again by
differences and compared.

From five dimensions on the minima come of a matrix product, |y|^2 - 2 y.q of centred points, which
loses digits where points are near. They are lowered by a bound of that error, and the candidates'
k-th distance is compared with the least lowered minimum among the other bins: if it is not above
it, nobody was missed; otherwise the block is done again by differences.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import sequential_vmap

from . import arguments
from .tiles import ROWS, TILE, largest_differences, squared_distances

_DIRECT = 4  # dimensions up to which differences are as fast as a product
_PASSES = 16  # smallest entries up to which passes of minima are faster than sorting


class _Plan(NamedTuple):
    """How the points are dealt out: bins of `width`, in `chunks` of `bins`; `rows` queries."""

    width: int
    bins: int
    chunks: int
    rows: int


def _plan(m: int, d: int, k: int) -> _Plan:
    # Choosing among m / W bins costs 2k passes over them, the candidates 3 d W k operations.
    width = max(4, min(m, round(math.sqrt(2 * m / (3 * d)))))
    bins = -(-m // width)
    rows = max(8, min(ROWS, TILE // ((k + 1) * width * d)))
    chunk = min(bins, max(k + 2, TILE // (width * rows)))
    chunks = -(-bins // chunk)
    return _Plan(width, -(-bins // chunks), chunks, rows)


def power_of_two(*values: Array) -> Array:
    """What brings the largest entry near the root of the largest number, exactly.

    Sums of its squares then don't overflow, in up to 2^14 dimensions, and squares of what is far
    smaller don't vanish.
    """
    size = jnp.max(jnp.asarray([jnp.max(jnp.abs(lax.stop_gradient(v))) for v in values]))
    limit = jnp.finfo(size.dtype).maxexp
    shift = limit // 2 - 8 - jnp.frexp(size)[1]
    return jnp.ldexp(jnp.ones_like(size), jnp.clip(shift, 2 - limit, limit - 2))


def _smallest(values: Array, count: int) -> tuple[Array, Array]:
    """The smallest entries along the first axis, and where they are."""
    if count > _PASSES:
        found, at = lax.top_k(-values.T, count)
        return -found.T, at.T
    index = lax.broadcasted_iota(jnp.int32, values.shape, 0)

    def one(values: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        least = jnp.min(values, 0)
        at = jnp.min(jnp.where(values == least[None], index, len(values) - 1), 0)
        return jnp.where(index == at[None], jnp.inf, values), (least, at)

    return lax.scan(one, values, None, count)[1]


@functools.partial(jax.jit, static_argnames=("k", "chebyshev"))
def _search(
    x: Array, y: Array, own: Array, groups: Array | None, *, k: int, chebyshev: bool
) -> Array:
    """Indices (n, k) of the k points of y nearest to each of x, the nearest first.

    Point own[i] of y is no neighbour of x[i]; nor, with `groups` (of x's points, of y's), is one
    of another group. Neighbours that do not exist have the index m.
    """
    n, d = x.shape
    m = len(y)
    plan = _plan(m, d, k)
    total = plan.width * plan.bins * plan.chunks
    product = not chebyshev and d > _DIRECT
    eps = float(jnp.finfo(x.dtype).eps)

    centre = jnp.mean(y, 0, keepdims=True) if product else y[:1]
    scale = power_of_two(x - centre, y - centre)

    def dealt(z: Array, fill: Any) -> Array:
        """In the order (chunk, place in the bin, bin)."""
        padding = [(0, total - m)] + [(0, 0)] * (z.ndim - 1)
        z = jnp.pad(z, padding, constant_values=fill)
        z = z.reshape(plan.chunks, plan.bins, plan.width, *z.shape[1:])
        return jnp.swapaxes(z, 1, 2).reshape(plan.chunks, -1, *z.shape[3:])

    bins = jnp.pad(y, ((0, total - m), (0, 0))).reshape(-1, plan.width, d)
    bins = jnp.swapaxes(bins, 1, 2)  # the points of a bin along the last axis
    absent = jnp.where(jnp.arange(total) < m, 0, jnp.inf).astype(x.dtype)
    points = dealt(y * scale, 0)
    beyond = dealt(absent[:m], jnp.inf)
    labels = () if groups is None else (dealt(groups[1], 0),)
    # Lowers |y - q|^2 = |y|^2 - 2 y.q + |q|^2 by at least its rounding: at most (d + 3) eps / 2
    # (|y| + |q|)^2 in the three terms and 2 eps (|y| + |q|)^2 in the centring, and
    # (|y| + |q|)^2 <= 2 (|y|^2 + |q|^2).
    lowered = 1 - (d + 8) * eps
    centred = dealt((y - centre) * scale, 0) if product else points
    heights = jnp.sum(jnp.square(centred), -1) * lowered + beyond

    def by_difference(query: Array, group: Any) -> Array:
        measure = largest_differences if chebyshev else squared_distances

        def chunk(part: Any) -> Array:
            points, beyond, *labels = part
            return minima(measure(points, query * scale) + beyond[:, None], labels, group)

        return lax.map(chunk, (points, beyond, *labels)).reshape(-1, len(query))

    def by_product(query: Array, group: Any) -> Array:
        turned = -2 * (query - centre) * scale

        def chunk(part: Any) -> Array:
            centred, heights, *labels = part
            highest = lax.Precision.HIGHEST  # else GPUs and TPUs round to 10 or 8 bits
            product = jnp.matmul(centred, turned.T, precision=highest)
            return minima(product + heights[:, None], labels, group)

        return lax.map(chunk, (centred, heights, *labels)).reshape(-1, len(query))

    def minima(values: Array, labels: list[Array], group: Any) -> Array:
        for label in labels:
            values = jnp.where(label[:, None] == group[None, :], values, jnp.inf)
        return jnp.min(values.reshape(plan.width, -1, values.shape[-1]), 0)

    def choose(query: Array, own: Array, group: Any, least: Array) -> tuple[Array, Array, Array]:
        """The k nearest among the k + 1 best bins, and the next bin's minimum."""
        count = min(k + 2, len(least))
        heights, best = _smallest(least, count)
        rest = heights[k + 1] if count == k + 2 else jnp.full(len(query), jnp.inf, x.dtype)
        best, empty = best[: k + 1].T, jnp.isinf(heights[: k + 1]).T
        apart = (query[:, None, :, None] - bins[best]) * scale
        if chebyshev:
            values = jnp.max(jnp.abs(apart), 2)
        else:
            values = jnp.sum(jnp.square(apart), 2)
        place = jnp.arange(plan.width, dtype=best.dtype)
        index = best[..., None] * plan.width + place[None, None]
        # A bin without points may have been chosen twice.
        wrong = empty[..., None] | (index >= m) | (index == own[:, None, None])
        if groups is not None:
            theirs = jnp.pad(groups[1], (0, total - m))[index]
            wrong = wrong | (theirs != group[:, None, None])
        values = jnp.where(wrong, jnp.inf, values).reshape(len(query), -1).T
        nearest, at = _smallest(values, k)
        found = jnp.take_along_axis(index.reshape(len(query), -1).T, at, 0)
        return jnp.where(jnp.isinf(nearest), m, found), nearest[-1], rest

    def block(part: Any) -> Array:
        query, own, *group = part
        group = group[0] if group else None
        if not product:
            return choose(query, own, group, by_difference(query, group))[0]
        found, farthest, rest = choose(query, own, group, by_product(query, group))
        height = jnp.sum(jnp.square((query - centre) * scale), -1)
        sure = farthest <= rest + height * lowered
        return lax.cond(
            jnp.all(sure),
            lambda: found,
            lambda: choose(query, own, group, by_difference(query, group))[0],
        )

    parts = (x, own) if groups is None else (x, own, groups[0])
    blocks = -(-n // plan.rows)
    padded = [
        jnp.pad(z, [(0, blocks * plan.rows - n)] + [(0, 0)] * (z.ndim - 1), mode="edge")
        for z in parts
    ]
    found = lax.map(block, tuple(z.reshape(blocks, plan.rows, *z.shape[1:]) for z in padded))
    return jnp.swapaxes(found, 1, 2).reshape(-1, k)[:n]


def search(
    x: Array, y: Array | None, k: int, *, chebyshev: bool = False, groups: Array | None = None
) -> Array:
    """Indices (n, k) of the k points of y nearest to each of x; without y of x's other points.

    Those of `groups` are neighbours only within a group; there may be fewer than k, and the index
    of what does not exist is the number of points. Indices have no derivative. Mapped calls run
    one after another: as a batch they would do every block in both ways.
    """

    @sequential_vmap
    def run(x: Array, y: Array, own: Array, *groups: Array) -> Array:
        pair = (groups[0], groups[0]) if groups else None
        return _search(x, y, own, pair, k=k, chebyshev=chebyshev)

    own = jnp.arange(len(x), dtype=jnp.int32) if y is None else jnp.full(len(x), -1, jnp.int32)
    x = lax.stop_gradient(x)
    y = x if y is None else lax.stop_gradient(y)
    return run(x, y, own, *(() if groups is None else (groups,)))


def log_length(apart: Array) -> Array:
    """log |apart| along the last axis, -inf of 0: neither overflows nor loses small ones."""
    size = lax.stop_gradient(jnp.max(jnp.abs(apart), -1, keepdims=True))
    zero = size == 0
    unit = apart / jnp.where(zero, 1, size)
    inside = jnp.where(zero[..., 0], 1, jnp.sum(jnp.square(unit), -1))
    value = jnp.log(jnp.where(zero[..., 0], 1, size[..., 0])) + jnp.log(inside) / 2
    return jnp.where(zero[..., 0], -jnp.inf, value)


def length(apart: Array) -> Array:
    """|apart| along the last axis; its derivative at 0 is 0."""
    size = lax.stop_gradient(jnp.max(jnp.abs(apart), -1, keepdims=True))
    zero = size == 0
    unit = apart / jnp.where(zero, 1, size)
    inside = jnp.where(zero[..., 0], 1, jnp.sum(jnp.square(unit), -1))
    return size[..., 0] * jnp.where(zero[..., 0], 0, jnp.sqrt(inside))


def kth_apart(x: Array, y: Array | None, k: int) -> Array:
    """x_i minus its k-th neighbour in y, without y among x's other points: (n, d)."""
    found = search(x, y, k)[:, -1]
    return x - jnp.take(x if y is None else y, found, axis=0)


def nearest_neighbours(
    x: Any, y: Any = None, k: int = 1, *, metric: str = "euclidean"
) -> tuple[Array, Array]:
    """Distances to the k nearest points of y, and their indices, both (*batch, n, k).

    Exact, by brute force, the nearest first. Without y the neighbours are x's other points.
    x is (*batch, n, d) and y (*batch, m, d), or (n,) and (m,); batch axes broadcast. `metric` is
    "euclidean" or "chebyshev", the largest difference. Of points equally far any are taken.

    Distances are formed by differences, (d + 2) / 2 ulp, and have derivatives by x and y (0 at a
    distance of 0); indices have none. Memory is a block of at most 64 points beside 2^20 / 64
    others, and as many candidates. Coordinates that differ by less than 1e-35 (float64: 1e-304)
    of the data's extent count as equal when neighbours are chosen.

    ValueError for k above the number of neighbours, NaN or infinities (NaN where they are
    traced), dimensions that differ.
    """
    arguments.choice("metric", metric, ("euclidean", "chebyshev"))
    chebyshev = metric == "chebyshev"
    if y is None:
        a = b = arguments.as_points("x", x)
        k = arguments.check_k(k, x=a.shape[-2] - 1)
    else:
        a, b = arguments.as_samples(x, y)
        k = arguments.check_k(k, y=b.shape[-2])

    def one(a: Array, b: Array) -> tuple[Array, Array]:
        found = search(a, None if y is None else b, k, chebyshev=chebyshev)
        apart = a[:, None] - jnp.take(b, found, axis=0)
        values = jnp.max(jnp.abs(apart), -1) if chebyshev else length(apart)
        return values * arguments.finite(a, b), found

    batch = a.shape[:-2]
    if not batch:
        return one(a, b)
    flat = [z.reshape(-1, *z.shape[-2:]) for z in (a, b)]
    return tuple(z.reshape(*batch, *z.shape[1:]) for z in jax.vmap(one)(*flat))  # type: ignore
