"""Verbs on distributions whose rows are never whole: nouns become sources, then rows."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._divergence import Divergence
from .._finite import Labels, Layout, Logits, LogProbs, Noun, Probs, layout, side
from .._heads import Head, TopK
from .plan import Plan, plan
from .rows import TiledRows
from .sources import ArraySource, HeadSource, LabelsSource, Source, TopKSource


@dataclasses.dataclass(frozen=True)
class Shards:
    """The part of the outcomes that is here, along a mesh axis if there is one."""

    axis_name: Any = None
    count: int = 1

    def offset(self, size: int) -> Array:
        """The place of the first outcome here, of `size` in a part."""
        if self.axis_name is None:
            return jnp.zeros((), jnp.int32)
        return lax.axis_index(self.axis_name).astype(jnp.int32) * size


def shards_of(axis_name: Any) -> Shards:
    """The parts along a mesh axis.

    Raises:
        ValueError: There is no such axis inside a `shard_map` here.
    """
    if axis_name is None:
        return Shards()
    try:
        return Shards(axis_name, lax.axis_size(axis_name))
    except (NameError, ValueError, KeyError):
        known = tuple(jax.sharding.get_abstract_mesh().manual_axes)
        names = ", ".join(map(repr, known)) or "none: call the verb inside jax.shard_map"
        raise ValueError(
            f"axis_name must be an axis of the mesh that is mapped here, but is {axis_name!r}; "
            f"there are: {names}"
        ) from None


def _rows(x: Array, batch: tuple[int, ...], trailing: int = 1) -> Array:
    """An array with one axis of rows in front, or one row for all; its last axes stay."""
    lead, rest = x.shape[: x.ndim - trailing], x.shape[x.ndim - trailing :]
    if math.prod(lead) == 1:
        return x.reshape(1, *rest)
    lead = (1,) * (len(batch) - len(lead)) + lead
    x = x.reshape(*lead, *rest)
    return jnp.broadcast_to(x, (*batch, *rest)).reshape(math.prod(batch), *rest)


def source_of(
    noun: Noun, where: Array | None, alive: Array | None, form: Layout, batch: tuple[int, ...],
    shards: Shards, count: Array | None,
) -> Source:  # fmt: skip
    """The source of a noun; `where` has the outcomes last, `alive` says which rows have any."""
    dtype = form.dtype
    local = form.size // shards.count
    mask = None if where is None else _rows(where, batch)
    living = None if alive is None else _rows(alive, batch)
    scalar = functools.partial(jnp.asarray, dtype=dtype)
    match noun:
        case Head(hidden, weight, bias, softcap, temperature):
            product = hidden.dtype if hidden.dtype == weight.dtype else dtype
            return HeadSource(
                _rows(hidden.astype(dtype), batch),
                weight,
                bias,
                None if softcap is None else scalar(softcap),
                None if temperature is None else scalar(temperature),
                mask,
                living,
                jnp.dtype(product),
            )
        case Labels(labels, _, smoothing):
            total = jnp.asarray(form.size, dtype) if count is None else count
            uniform = 1 / jnp.maximum(total, 1)
            return LabelsSource(
                _rows(labels, batch, 0),
                None if smoothing is None else scalar(smoothing),
                _rows(uniform.astype(dtype)[..., None], batch),
                mask,
                shards.offset(local),
                form.size,
                jnp.dtype(dtype),
            )
        case TopK(indices, log_probs, tail):
            values = log_probs.astype(dtype)
            if tail == "renormalise":
                values = values - jax.nn.logsumexp(values, axis=-1, keepdims=True)
            return TopKSource(
                _rows(indices, batch), _rows(values, batch), mask, shards.offset(local),
                form.size, jnp.dtype(dtype),
            )  # fmt: skip
        case Probs() | LogProbs() | Logits():
            found = side(noun, None, form, jnp.asarray(noun_array(noun)).dtype)
            values = _rows(found.values, batch)
            if mask is not None:
                empty = 0 if found.linear else -jnp.inf
                values = jnp.where(mask, values, jnp.asarray(empty, values.dtype))
                if living is not None and not found.linear:
                    values = jnp.where(living, values, jnp.asarray(0, values.dtype))
            return ArraySource(values, found.temperature, found.chart, jnp.dtype(dtype))


def noun_array(noun: Probs | LogProbs | Logits) -> Array:
    """The array that the noun holds."""
    return jax.tree.leaves(noun)[0]


def budget_of(*nouns: Noun) -> int | None:
    """The smallest budget that a head names."""
    given = [n.memory for n in nouns if isinstance(n, Head) and n.memory is not None]
    return min(given, default=None)


def rows_of(
    p: Noun, q: Noun, where: Array | None, form: Layout, shards: Shards
) -> tuple[TiledRows, Array | None]:
    """The rows of two nouns, and which of them have an outcome, if there is a mask."""
    alive = count = None
    if where is not None:
        where = where.reshape((1,) * (form.ndim - where.ndim) + where.shape)
        where = jnp.moveaxis(where, form.axis, -1)
        count = jnp.sum(where, axis=-1).astype(form.dtype)
        if shards.axis_name is not None:
            count = lax.psum(count, shards.axis_name)
        alive = count[..., None] > 0
    batch = jnp.broadcast_shapes(*(batch_of(n, form) for n in (p, q)))
    made = {id(n): source_of(n, where, alive, form, batch, shards, count) for n in (p, q)}
    local = form.size // shards.count
    rows = math.prod(batch)
    planned: Plan = plan(rows, local, form.dtype, budget_of(p, q), shards.axis_name, shards.count)
    found = TiledRows(made[id(p)], made[id(q)], planned, batch, shards.offset(local))
    return found, None if alive is None else jnp.broadcast_to(alive[..., 0], batch)


def batch_of(noun: Noun, form: Layout) -> tuple[int, ...]:
    """The batch shape of a noun."""
    match noun:
        case Labels(labels):
            return labels.shape
        case Head(x) | TopK(x):
            return x.shape[:-1]
        case _:
            shape = noun_array(noun).shape
            return shape[: len(shape) + form.axis] + shape[len(shape) + form.axis + 1 :]


@functools.partial(jax.jit, static_argnames=("form", "shards"))
def _evaluate(
    divergence: Divergence, p: Noun, q: Noun | None, where: Array | None, *,
    form: Layout, shards: Shards,
) -> Array:  # fmt: skip
    rows, alive = rows_of(p, p if q is None else q, where, form, shards)
    divergence = jax.tree.map(lambda x: jnp.asarray(x, form.dtype), divergence)
    value = divergence.evaluate(rows)  # type: ignore
    # A product, so that derivatives are NaN too.
    value = value * jnp.where(jnp.asarray(divergence.valid()), 1, jnp.nan).astype(value.dtype)
    return value if alive is None else jnp.where(alive, value, 0)


def evaluate(
    divergence: Divergence, p: Noun, q: Noun, where: Array | None, *,
    axis: int, axis_name: Any, implementation: str,
) -> Array:  # fmt: skip
    """The divergence of every row, of nouns of which one is a Head or TopK, or that are sharded."""
    if implementation != "auto":
        raise NotImplementedError(
            f'implementation="{implementation}" is not available for Head, TopK and axis_name, '
            'which have one path: leave it "auto"'
        )
    shards = shards_of(axis_name)
    form = layout({"p": p, "q": q}, axis, where, shards.count)
    if any(isinstance(n, TopK) and n.tail == "bucket" for n in (p, q)):
        from .bucket import evaluate_bucket

        return evaluate_bucket(divergence, p, q, where, form=form, shards=shards)
    same = None if p is q else q
    return _evaluate(divergence, p, same, where, form=form, shards=shards)
