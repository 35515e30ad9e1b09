"""A truncated teacher beside a whole student, both with their other outcomes merged into one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from .._divergence import Divergence
from .._finite import Layout, Noun
from .._heads import TopK
from ..rows.evaluate import Rows
from ..rows.pair import Side
from .evaluate import Shards, rows_of
from .plan import Plan
from .product import contract
from .rule import moving_of, sweep_of, whole
from .sources import Source, TopKSource, places
from .statistics import over_rows
from .window import Window


@functools.partial(jax.jit, static_argnames=("form", "shards"))
def evaluate_bucket(
    divergence: Divergence, p: Noun, q: Noun, where: Array | None, *, form: Layout, shards: Shards
) -> Array:
    """The divergence of the merged distributions, of which one is a TopK."""
    rows, alive = rows_of(p, q, where, form, shards)
    on_left = isinstance(p, TopK)
    top, other = rows.sources if on_left else rows.sources[::-1]
    assert isinstance(top, TopKSource)
    count = rows.plan.count
    given = [jnp.broadcast_to(x, (count, x.shape[-1])) for x in (top.indices, top.log_probs)]
    if top.mask is None:
        kept = jnp.full(given[0].shape, True)
    else:
        place, inside = places(given[0], top.offset, Window(0, rows.plan.size, None))
        mask = jnp.broadcast_to(top.mask, (count, rows.plan.size))
        kept = inside & jnp.take_along_axis(mask, jnp.where(inside, place, 0), -1)
        if shards.axis_name is not None:
            kept = lax.pmax(kept.astype(jnp.int32), shards.axis_name) > 0
    known = jnp.all((given[0] >= 0) & (given[0] < form.size), axis=-1, keepdims=True)
    left = 1 - jnp.sum(jnp.exp(given[1]), axis=-1, keepdims=True)
    some = left > 0
    rest = jnp.where(some, jnp.log(jnp.where(some, left, 1)), -jnp.inf)
    teacher = jnp.concatenate([jnp.where(kept, given[1], -jnp.inf), rest], axis=-1)
    teacher = jnp.where(known, teacher, jnp.nan)
    picked, others = _merged(rows.plan, other, given[0], rows.offset)
    student = jnp.concatenate([picked, others[:, None]], axis=-1)
    if other.chart != "linear":  # a place that is masked
        student = student.at[:, :-1].set(jnp.where(kept, picked, -jnp.inf))
    sides = Side(teacher, None, "log"), Side(student, None, other.chart)
    divergence = jax.tree.map(lambda x: jnp.asarray(x, form.dtype), divergence)
    first, second = sides if on_left else sides[::-1]
    value = divergence.evaluate(Rows(first, second))
    value = value * jnp.where(jnp.asarray(divergence.valid()), 1, jnp.nan).astype(value.dtype)
    value = value.reshape(rows.batch)
    return value if alive is None else jnp.where(alive, value, 0)


def _inside(raw: Array, indices: Array, offset: Array, window: Window) -> tuple[Array, Array]:
    """The numbers of a tile at some outcomes, 0 for those elsewhere, and which are not picked."""
    place, inside = places(indices, offset, window)
    picked = jnp.take_along_axis(raw, jnp.where(inside, place, 0), axis=-1)
    alone = jnp.full(raw.shape, True)
    row = jnp.arange(raw.shape[0])[:, None]
    alone = alone.at[row, jnp.where(inside, place, window.size)].set(False, mode="drop")
    return jnp.where(inside, picked, 0), alone


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _merged(plan: Plan, source: Source, indices: Array, offset: Array) -> tuple[Array, Array]:
    """Numbers of a side at some outcomes and, in its chart, all the others together."""
    window = Window(0, plan.size, None)

    def some(source: Source, indices: Array) -> tuple[Array, Array, Array]:
        raw = source.tile(window)
        raw = jnp.broadcast_to(raw, (indices.shape[0], plan.size))
        picked, alone = _inside(raw, indices, offset, window)
        if source.chart == "linear":
            return picked, jnp.zeros(raw.shape[0], raw.dtype), num.row_sum(jnp.where(alone, raw, 0))
        raw = jnp.where(alone, raw, -jnp.inf)
        top = jnp.max(raw, axis=-1)
        top = jnp.where(top > -jnp.inf, top, 0)
        return picked, top, num.row_sum(jnp.exp(raw - top[:, None]))

    with num.rows_in_parts(plan.parts):
        picked, top, total = over_rows(some, plan, source, indices)
    if plan.axis_name is not None:
        whole = lax.pmax(top, plan.axis_name)
        picked, total = lax.psum((picked, total * jnp.exp(top - whole)), plan.axis_name)
        top = whole
    if source.chart == "linear":
        return picked, total
    return picked, jnp.where(total == 0, -jnp.inf, top + jnp.log(jnp.where(total == 0, 1, total)))


def _merged_jvp(plan: Plan, primals: Any, tangents: Any) -> tuple[Any, Any]:
    source, indices, offset = primals
    picked, rest = _merged(plan, *primals)
    moving, dots = moving_of(tangents[0])
    if not moving.places:
        return (picked, rest), (jnp.zeros_like(picked), jnp.zeros_like(rest))
    args = source, indices, offset, rest, dots
    axes = (source.axes(), *whole(args[1:4]), moving.pick(source.axes()))
    return (picked, rest), sweep_of(plan, functools.partial(_along, moving), args, axes)


def _along(moving: Any, window: Window, args: Any) -> tuple[Array, Array]:
    source, indices, offset, rest, dots = args
    raw, dot = moving.along(lambda s: s.tile(window), source, dots)
    shape = (indices.shape[0], window.size)
    raw, dot = jnp.broadcast_to(raw, shape), jnp.broadcast_to(dot, shape)
    picked, alone = _inside(dot, indices, offset, window)
    if source.chart == "linear":
        share = jnp.ones_like(raw)
    else:
        fine = alone & (rest[:, None] > -jnp.inf)
        share = jnp.exp(jnp.where(fine, raw, 0) - jnp.where(fine, rest[:, None], 0))
    return picked, contract(jnp.where(alone, share, 0), dot)


_merged.defjvp(_merged_jvp, symbolic_zeros=True)
