"""Rows in blocks that stay in a CPU's caches while they are read several times."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import lean, reference
from .statistic import Moving, Operands, Statistic, sides_of, wide_dtype, widened

_BLOCK = 2**18  # numbers of each side: with what is computed of them, a few MiB
# Of rows computed again, which may be few and scattered: 8 of 65536 of 128 outcomes cost 5 ms, and
# 8 by whole blocks, 3 by blocks of half this size; all of them 32, 26 and 38.
AGAIN = 2**17


def value(statistic: Statistic, operands: Operands) -> Array:
    """The statistic of every row."""

    def whole(operands: Operands) -> list[Array]:
        return [reference.value(statistic, operands)]

    def quick(value: Array, _: list[Array]) -> list[Array]:
        return [value]

    fast = (quick, (False, False)) if _serves(statistic, operands) else None
    return _over_blocks(statistic, whole, fast, operands, [], ["rows"])[0]


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
    two, others = sides_of(operands, moving)
    if others:
        # A parameter's cotangent is a sum over the rows.
        return reference.pull(statistic, operands, known, cotangent, moving=moving)

    def whole(operands: Operands, known: Array, cotangent: Array) -> list[Array]:
        rows = known[:, 0], cotangent[:, 0]
        return reference.pull(statistic, operands, *rows, moving=moving)

    def quick(_: Array, found: list[Array], __: Array, cotangent: Array) -> list[Array]:
        return [(x * cotangent).astype(operands[1].values.dtype) for x in found]

    given = [known[..., None], cotangent[..., None]]
    kinds = ["values"] * sum(two)
    fast = (quick, two) if _serves(statistic, operands) else None
    return _over_blocks(statistic, whole, fast, operands, given, kinds)


def both(statistic: Statistic, operands: Operands, *, moving: Moving) -> list[Array]:
    """The statistic of every row and its derivatives by the values that move, in one pass."""
    two, _ = sides_of(operands, moving)

    def whole(operands: Operands) -> list[Array]:
        return reference.both(statistic, operands, moving=moving)

    def quick(value: Array, found: list[Array]) -> list[Array]:
        return [value, *found]

    kinds = ["rows", *["values"] * sum(two)]
    fast = (quick, two) if _serves(statistic, operands) else None
    return _over_blocks(statistic, whole, fast, operands, [], kinds)


def _serves(statistic: Statistic, operands: Operands) -> bool:
    return lean.serves(statistic, widened(operands))


def _over_blocks(
    statistic: Statistic,
    whole: Callable[..., list[Array]],
    quick: tuple[Callable[..., list[Array]], tuple[bool, ...]] | None,
    operands: Operands,
    others: Sequence[Array],
    results: list[str],
) -> list[Array]:
    """A function of operands and of other arrays, block by block of rows.

    Its results are one number a "rows" or of the shape of the "values". `quick` makes them of the
    values and derivatives by the sides that move, which it names, if `lean` finds these; rows that
    don't stand there are computed again with care and, if that doesn't do, by `whole`.
    """
    values = operands[1].values
    *batch, size = values.shape
    count = math.prod(batch)
    flat, tree = _as_rows(operands, others)
    rows = min(count, max(1, _BLOCK // max(size, 1)))

    def block(start: Array | int) -> list[Array]:
        if quick is None:
            return _of_rows(whole, tree, start, rows)(*flat)
        found, stand = _lean(statistic, *quick, flat, tree, start, rows)
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
        few = min(rows, max(1, AGAIN // max(size, 1)))
        again = _careful(statistic, whole, *quick, flat, tree, few)
        found = _again(found, stand, again, few)
    return [
        x.reshape(*batch) if kind == "rows" else x.reshape(*batch, size)
        for x, kind in zip(found, results, strict=True)
    ]


def _lean(
    statistic: Statistic,
    results: Callable[..., list[Array]],
    moving: tuple[bool, ...],
    flat: Sequence[Array],
    tree: Any,
    start: Array | int,
    rows: int,
) -> tuple[list[Array], Array]:
    """Results of a block of rows in few operations, and which rows of them stand."""

    def on_rows(function: Callable[..., Any]) -> Callable[..., Any]:
        return _of_rows(
            lambda operands, *others: function(widened(operands), *others), tree, start, rows
        )

    def normalised(shifted: bool) -> Callable[..., lean.Sides]:
        return on_rows(lambda operands, *_: lean.normalise(operands, shifted=shifted))

    # A branch cuts the whole arrays itself: what is cut outside would be copied for it.
    shifted = on_rows(lambda operands, *_: lean.shifted(operands))(*flat)
    sides = lax.cond(shifted, normalised(True), normalised(False), *flat)
    all_rows = rows == max(x.shape[0] for x in flat if x.ndim)
    kinds = lean.kinds(statistic, tree.unflatten(flat[: tree.num_leaves]))
    look = on_rows(lambda operands, *_: lean.looks(statistic, operands, sides, all_rows=all_rows))
    kind = look(*flat) if len(kinds) > 1 else jnp.int32(0)

    def first(kind: str) -> Callable[..., lean.First]:
        return on_rows(lambda operands, *_: lean.first(statistic, operands, sides, kind))

    found = lax.switch(kind, [lambda *_: lean.nothing(sides), *map(first, kinds[1:])], *flat)
    far = kind == kinds.index("apart") if "apart" in kinds else False

    def finish(kind: str) -> Callable[..., tuple[list[Array], Array]]:
        def finished(operands: Operands, *others: Array) -> tuple[list[Array], Array]:
            known = found.stands & far if kind == "near" else False
            value, slopes, stand = lean.finish(
                statistic, operands, sides, found, moving, kind, known
            )
            return results(value, slopes, *others), stand

        return on_rows(finished)

    left, endless = found.left(sides)
    other = jnp.int32(0)
    if "close" in kinds:  # where the rows that are left are not infinite they are nearly equal
        other = jnp.where((kind == kinds.index("close")) & ~endless, len(kinds), other)
        kinds = [*kinds, "closer"]
    kind = jnp.where(left, other, kind)
    finished, stand = lax.switch(kind, list(map(finish, kinds)), *flat)
    same = on_rows(lambda operands, *_: lean.same(statistic, operands))
    stand |= lax.cond(jnp.all(stand), lambda *_: jnp.zeros(rows, bool), same, *flat)
    return finished, stand


def _careful(
    statistic: Statistic,
    whole: Callable[..., list[Array]],
    results: Callable[..., list[Array]],
    moving: tuple[bool, ...],
    flat: Sequence[Array],
    tree: Any,
    rows: int,
) -> Callable[[Array], list[Array]]:
    """Results of rows from a start on that may be nearly equal, by `whole` if they are too near."""

    def block(start: Array) -> list[Array]:
        def found(operands: Operands, *others: Array) -> tuple[list[Array], Array]:
            value, slopes, stand = lean.careful(statistic, widened(operands), moving)
            return results(value, slopes, *others), stand

        made, stand = _of_rows(found, tree, start, rows)(*flat)

        def again(*flat: Array) -> list[Array]:
            exact = _of_rows(whole, tree, start, rows)(*flat)
            return [x.astype(like.dtype) for x, like in zip(exact, made, strict=True)]

        return lax.cond(jnp.all(stand), lambda *_: made, again, *flat)

    return block


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
    least: int = 0,
) -> list[Array]:
    """Results of which some rows don't stand, those computed again, a block of rows at a time.

    Temporaries are under a hundredth of the rows, but for a block of at least so many numbers.
    """
    count, size = stand.size, operands[1].values.shape[-1]
    rows = min(count, max(1, max(least, min(2 * _BLOCK, count * size // 768)) // size))
    flat, tree = _as_rows(operands, others)
    whole = [x.reshape(count, *x.shape[stand.ndim :]) for x in found]

    def block(start: Array) -> list[Array]:
        return _of_rows(function, tree, start, rows)(*flat)

    whole = _again(whole, stand.reshape(count), block, rows)
    return [x.reshape(like.shape) for x, like in zip(whole, found, strict=True)]


def _again(
    found: Sequence[Array], stand: Array, block: Callable[[Array], list[Array]], rows: int
) -> list[Array]:
    """Results of which some rows don't stand, those computed again by blocks of `rows`."""
    count = stand.size

    def left(state: tuple[Array, list[Array]]) -> Array:
        return ~jnp.all(state[0])

    def step(state: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        stand, found = state
        start = jnp.minimum(jnp.argmin(stand).astype(jnp.int32), count - rows)
        done = jnp.ones(rows, bool)
        return lax.dynamic_update_slice_in_dim(stand, done, start, 0), [
            lax.dynamic_update_slice_in_dim(every, some.astype(every.dtype), start, 0)
            for every, some in zip(found, block(start), strict=True)
        ]

    return lax.while_loop(left, step, (stand, list(found)))[1]
