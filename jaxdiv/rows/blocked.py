"""Rows in blocks that stay in a CPU's caches while they are read several times."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import lean, reference
from .statistic import Moving, Operands, Statistic, wide_dtype, widened

_BLOCK = 2**18  # numbers of each side: with what is computed of them, a few MiB


def value(statistic: Statistic, operands: Operands) -> Array:
    """The statistic of every row."""

    def whole(operands: Operands) -> list[Array]:
        return [reference.value(statistic, operands)]

    def quick(operands: Operands) -> tuple[list[Array], Array]:
        found, stand = lean.value(statistic, widened(operands))
        return [found], stand

    served = lean.serves(statistic, widened(operands))
    return _over_blocks(statistic, whole, quick if served else None, operands, [], ["rows"])[0]


def push(
    statistic: Statistic, operands: Operands, known: Array, dots: Sequence[Array], *, moving: Moving
) -> Array:
    """Its derivative along the tangents of the moving leaves."""

    def whole(operands: Operands, known: Array, *dots: Array) -> list[Array]:
        return [reference.push(statistic, operands, known[:, 0], dots, moving=moving)]

    others = [known[..., None], *dots]
    return _over_blocks(statistic, whole, None, operands, others, ["rows"])[0]


def pull(
    statistic: Statistic, operands: Operands, known: Array, cotangent: Array, *, moving: Moving
) -> list[Array]:
    """The transpose: the cotangents of the moving leaves."""
    sides = _values(operands)
    if any(moves and not mine for moves, mine in zip(moving, sides, strict=True)):
        # A parameter's cotangent is a sum over the rows.
        return reference.pull(statistic, operands, known, cotangent, moving=moving)
    two = tuple(moves for moves, mine in zip(moving, sides, strict=True) if mine)

    def whole(operands: Operands, known: Array, cotangent: Array) -> list[Array]:
        rows = known[:, 0], cotangent[:, 0]
        return reference.pull(statistic, operands, *rows, moving=moving)

    def quick(operands: Operands, known: Array, cotangent: Array) -> tuple[list[Array], Array]:
        rows = known[:, 0], cotangent[:, 0]
        found, stand = lean.pull(statistic, widened(operands), two, *rows)
        return [x.astype(operands[1].values.dtype) for x in found], stand

    others = [known[..., None], cotangent[..., None]]
    kinds = ["values"] * sum(two)
    served = lean.serves(statistic, widened(operands))
    return _over_blocks(statistic, whole, quick if served else None, operands, others, kinds)


def both(statistic: Statistic, operands: Operands, *, moving: Moving) -> list[Array]:
    """The statistic of every row and its derivatives by the values that move, in one pass."""
    two = tuple(m for m, mine in zip(moving, _values(operands), strict=True) if mine)

    def whole(operands: Operands) -> list[Array]:
        return reference.both(statistic, operands, moving=moving)

    def quick(operands: Operands) -> tuple[list[Array], Array]:
        return lean.both(statistic, widened(operands), two)

    served = lean.serves(statistic, widened(operands))
    kinds = ["rows", *["values"] * sum(two)]
    return _over_blocks(statistic, whole, quick if served else None, operands, [], kinds)


def _values(operands: Operands) -> tuple[bool, ...]:
    """Which leaves are the values of a side."""
    _, p, q = operands
    return tuple(x is p.values or x is q.values for x in jax.tree.leaves(operands))


def _over_blocks(
    statistic: Statistic,
    whole: Callable[..., list[Array]],
    quick: Callable[..., tuple[list[Array], Array]] | None,
    operands: Operands,
    others: Sequence[Array],
    results: list[str],
) -> list[Array]:
    """A function of operands and of other arrays, block by block of rows.

    Its results are one number a "rows" or of the shape of the "values". `quick` also says which
    rows of its results stand; those that don't are computed by `whole`.
    """
    values = operands[1].values
    *batch, size = values.shape
    count = math.prod(batch)
    flat, tree = _as_rows(operands, others)
    rows = min(count, max(1, _BLOCK // max(size, 1)))

    def block(start: Array | int) -> list[Array]:
        if quick is None:
            return _of_rows(whole, tree, start, rows)(*flat)
        found, stand = _of_rows(quick, tree, start, rows)(*flat)
        same = _of_rows(lambda operands, *_: lean.same(statistic, operands), tree, start, rows)
        stand |= lax.cond(jnp.all(stand), lambda *_: jnp.zeros(rows, bool), same, *flat)
        return [*found, stand]

    if rows == count:
        found = block(0)
    else:

        def step(i: Array, found: list[Array]) -> list[Array]:
            # The last block begins early enough to be whole: a few rows are computed twice.
            start = jnp.minimum(i * rows, count - rows)
            return [
                lax.dynamic_update_slice_in_dim(all_rows, part, start, 0)
                for all_rows, part in zip(found, block(start), strict=True)
            ]

        empty = [
            jnp.zeros(count, wide_dtype(values.dtype))
            if kind == "rows"
            else jnp.zeros((count, size), values.dtype)
            for kind in results
        ]
        empty += [jnp.zeros(count, bool)] if quick is not None else []
        found = lax.fori_loop(0, -(-count // rows), step, empty)
    if quick is not None:
        *found, stand = found
        found = _again(found, stand, whole, flat, tree, rows)
    return [
        x.reshape(*batch) if kind == "rows" else x.reshape(*batch, size)
        for x, kind in zip(found, results, strict=True)
    ]


def as_rows(operands: Operands) -> Operands:
    """Operands with one axis of rows in front, scalars as they are."""
    flat, tree = _as_rows(operands, [])
    return jax.tree.unflatten(tree, flat)


def _as_rows(operands: Operands, others: Sequence[Array]) -> tuple[list[Array], Any]:
    """All arrays with one axis of rows in front, scalars as they are."""
    *batch, _ = operands[1].values.shape
    leaves, tree = jax.tree.flatten(operands)
    count = math.prod(batch)
    return [
        x if x.ndim == 0 else jnp.broadcast_to(x, (*batch, x.shape[-1])).reshape(count, -1)
        for x in (*leaves, *others)
    ], tree


def _of_rows(
    function: Callable[..., Any], tree: Any, start: Array | int, rows: int
) -> Callable[..., Any]:
    """A function of operands and other arrays as one of all rows, of which it takes a block."""

    # Cut where they are used: a branch takes the whole arrays, which is no copy.
    def cut(x: Array) -> Array:
        if x.ndim == 0 or rows == x.shape[0]:
            return x
        return lax.dynamic_slice_in_dim(x, start, rows)

    def of_all(*arrays: Array) -> Any:
        cuts = list(map(cut, arrays))
        operands = jax.tree.unflatten(tree, cuts[: tree.num_leaves])
        return function(operands, *cuts[tree.num_leaves :])

    return of_all


def repaired(
    found: Sequence[Array],
    stand: Array,
    function: Callable[..., list[Array]],
    operands: Operands,
    *others: Array,
) -> list[Array]:
    """Results of which some rows don't stand, those computed again, a block of rows at a time."""
    count, size = stand.size, operands[1].values.shape[-1]
    # Whose temporaries are under a hundredth of the rows.
    rows = min(count, max(1, min(2 * _BLOCK, count * size // 768) // size))
    flat, tree = _as_rows(operands, others)
    whole = [x.reshape(count, *x.shape[stand.ndim :]) for x in found]
    whole = _again(whole, stand.reshape(count), function, flat, tree, rows)
    return [x.reshape(like.shape) for x, like in zip(whole, found, strict=True)]


def _again(
    found: Sequence[Array],
    stand: Array,
    function: Callable[..., list[Array]],
    flat: Sequence[Array],
    tree: Any,
    rows: int,
) -> list[Array]:
    """Results of which some rows don't stand, those computed again, `rows` of them at a time."""
    count = stand.size

    def left(state: tuple[Array, list[Array]]) -> Array:
        return ~jnp.all(state[0])

    def step(state: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        stand, found = state
        start = jnp.minimum(jnp.argmin(stand).astype(jnp.int32), count - rows)
        block = _of_rows(function, tree, start, rows)(*flat)
        done = jnp.ones(rows, bool)
        return lax.dynamic_update_slice_in_dim(stand, done, start, 0), [
            lax.dynamic_update_slice_in_dim(every, some.astype(every.dtype), start, 0)
            for every, some in zip(found, block, strict=True)
        ]

    return lax.while_loop(left, step, (stand, list(found)))[1]
