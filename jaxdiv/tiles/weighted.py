"""A weighted sum of rows, whose gradient is found in the pass that finds its value.

Where only a weighted sum is wanted the cotangent of every row is known up to a factor before the
backward pass. So while the logits of a few rows are at hand they are turned into the gradient: one
product makes the logits, one the gradient by the hidden states, one that by the weights, added up
over the rows in float32. Nothing is computed twice. Weights of low precision need an array for that
sum, as large as the gradient in float32, and are served so where the budget has room for it.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _checks as checks
from .. import _numerics as num
from .._divergence import Divergence, Separable
from .._f_divergences import Alpha
from .._finite import Layout, Noun, Weighted, as_noun, layout
from .._finite import divergence as rows_by
from .._heads import Head, TopK
from .._mesh import alike
from .._transforms import Chernoff
from ..rows.pair import pair_of
from ..rows.renyi import all_near, other_order, renyi_of, row_order
from ..rows.statistic import wide_dtype
from .evaluate import Shards, budget_of, rows_of
from .plan import DEFAULT, Plan
from .product import product_into
from .rows import TiledRows
from .rule import Moving, derivatives, moving_of
from .sources import HeadSource, Source
from .statistics import (
    Norm,
    Part,
    Spec,
    acting,
    both_rows,
    finished,
    has_rows,
    joined_rows,
    normalised,
    normalisers,
    sums_of,
)
from .window import Window


def weighted(
    divergence: Divergence, p: Weighted, q: Any, *, base: float | None, axis: int, where: Any,
    axis_name: Any, implementation: str,
) -> Array:  # fmt: skip
    """sum of weights * divergence(p, q), over all rows."""
    log_base = checks.check_base(base, divergence.logarithmic, type(divergence).__name__)
    weights = checks.as_parameter("weights", p.weights)
    p, q = Weighted(_without(p.noun, weights), weights), _without(q, weights)
    keywords: dict[str, Any] = dict(
        axis=axis, where=where, axis_name=axis_name, implementation=implementation
    )
    captures = isinstance(divergence, Separable) and divergence.captures()
    fits = not isinstance(divergence, Chernoff) and not captures and axis_name is None
    if fits and any(isinstance(x, Head) for x in (p.noun, q)) and implementation == "auto":
        divergence.check()
        nouns = {"p": as_noun("p", p.noun), "q": as_noun("q", q)}
        mask = None if where is None else jnp.asarray(where)
        form = layout(nouns, axis, mask)
        bucket = any(isinstance(x, TopK) and x.tail == "bucket" for x in nouns.values())
        if not bucket:
            total = _evaluate(
                divergence.specialise(), nouns["p"], nouns["q"], mask, weights, form=form
            )
            return total if base is None else divergence.in_base(total, log_base)
    values = rows_by(divergence, p.noun, q, base=base, **keywords)
    return _total(_broadcast(weights, values.shape).astype(values.dtype), values)


def _without(noun: Any, weights: Array) -> Any:
    """A head whose hidden states of weight 0 are 0, as they enter the gradient by its weight."""
    if not isinstance(noun, Head):
        return noun
    hidden = checks.as_array("hidden", noun.hidden)
    each = weights[..., None] if weights.ndim else weights
    if not checks.broadcasts(each.shape, hidden.shape):
        return noun
    each = each.reshape((1,) * (hidden.ndim - each.ndim) + each.shape)
    return dataclasses.replace(noun, hidden=jnp.where(each == 0, 0, hidden))


def _broadcast(weights: Array, batch: tuple[int, ...]) -> Array:
    if not checks.broadcasts(weights.shape, batch):
        raise ValueError(
            f"weights must broadcast to the batch shape {batch}, but have shape {weights.shape}"
        )
    weights = weights.reshape((1,) * (len(batch) - weights.ndim) + weights.shape)
    return jnp.broadcast_to(weights, batch)


def _total(weights: Array, values: Array) -> Array:
    """Rows of weight 0 count for nothing, whatever is in them."""
    return jnp.sum(weights * jnp.where(weights == 0, 0, values))


@functools.partial(jax.jit, static_argnames=("form",))
def _evaluate(
    divergence: Divergence, p: Noun, q: Noun, where: Array | None, weights: Array, *, form: Layout
) -> Array:
    rows, alive = rows_of(p, q, where, form, Shards())
    divergence = jax.tree.map(lambda x: jnp.asarray(x, form.dtype), divergence)
    weights = _broadcast(weights, rows.batch).astype(form.dtype)
    if alive is not None:
        weights = jnp.where(alive, weights, 0)
    valid = jnp.where(jnp.asarray(divergence.valid()), 1, jnp.nan).astype(form.dtype)
    if not _room(rows, budget_of(p, q)):
        return _total(weights, divergence.evaluate(rows)) * valid  # type: ignore
    flat = jax.tree.map(lambda x: x.reshape(-1, 1) if x.ndim else x, divergence)
    return _weighted(rows.plan, flat, *rows.sources, rows.offset, weights.reshape(-1)) * valid


def _room(rows: TiledRows, memory: int | None) -> bool:
    """Whether sums over rows of the gradients by low-precision weights fit into the budget."""
    extra = sum(
        4 * s.weight.size
        for s in rows.sources
        if isinstance(s, HeadSource) and wide_dtype(s.weight.dtype) != s.weight.dtype
    )
    return extra <= (DEFAULT if memory is None else memory) // 2


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _weighted(
    plan: Plan, divergence: Divergence, p: Source, q: Source, offset: Array, weights: Array
) -> Array:
    return _plain(plan, divergence, p, q, offset, weights)


def _plain(
    plan: Plan, divergence: Divergence, p: Source, q: Source, offset: Array, weights: Array
) -> Array:
    return _total(weights, _values(plan, divergence, p, q, offset))


def _values(plan: Plan, divergence: Divergence, p: Source, q: Source, offset: Array) -> Array:
    rows = TiledRows(p, q, plan, (plan.count,), offset)
    return divergence.evaluate(rows)  # type: ignore


def _weighted_jvp(plan: Plan, primals: Any, tangents: Any) -> tuple[Array, Array]:
    weights = primals[4]
    moves = [moving_of(t) for t in tangents[:3]]
    by_weights = moving_of(tangents[4])
    if moves[0][0].places:
        # Numbers of the divergence move: by the derivatives of the rows.
        leaves, tree = jax.tree.flatten(primals)
        moving, dots = moving_of(tangents)

        def of(*moved: Array) -> Array:
            full = list(leaves)
            for i, x in zip(moving.places, moved, strict=True):
                full[i] = x
            return _plain(plan, *jax.tree.unflatten(tree, full))

        return jax.jvp(of, [leaves[i] for i in moving.places], dots)
    moving = moves[1][0], moves[2][0]
    values, *slopes = _found(plan, moving, *primals)
    total = jnp.zeros((), values.dtype)
    for slope, dot in zip((*slopes[0], *slopes[1]), (*moves[1][1], *moves[2][1]), strict=True):
        total = total + jnp.sum(slope * dot.astype(slope.dtype))
    for dot in by_weights[1]:
        total = total + jnp.sum(dot * jnp.where(weights == 0, 0, values))
    return _total(weights, values), total


_weighted.defjvp(_weighted_jvp, symbolic_zeros=True)


class _Block(TiledRows):
    """A few rows whose outcomes are all at hand; remembers what a divergence asked of them."""

    def __init__(self, sources: Any, raws: Any, plan: Plan, offset: Array):
        p, q = sources
        super().__init__(p, q, plan, (len(raws[0]),), offset)
        self.raws = raws
        self.norms: tuple[Norm | None, Norm | None] = normalisers(sources, raws, plan)
        self.asked: list[tuple[str, Any, Part]] = []
        self.bad = jnp.zeros(self.batch, bool)

    def _find(self, *requests: tuple[str, Any]) -> list[Array]:
        kinds, given = zip(*requests, strict=True)
        parameters = [jax.tree.map(self._flat, x) for x in given]
        self.bad, parts = self._parts(kinds, parameters)
        self.asked += zip(kinds, parameters, parts, strict=True)
        return [part.value for part in parts]

    def _parts(self, kinds: Any, parameters: Any) -> tuple[Array, list[Part]]:
        spec = Spec(kinds, self.plan)
        found = sums_of(
            spec, parameters, self.sources, self.raws, self.norms, self.offset, slopes=True
        )
        return finished(spec, parameters, *found)

    def renyi(self, alpha: Array) -> Array:
        """Renyi's divergence, without the log-affinity if all rows are near each other."""
        masses = self.masses()
        (total,) = self._find(("sum", Alpha(alpha)))
        other = self._flat(other_order(alpha))

        def absent() -> Part:
            zero, one = jnp.zeros_like(total), jnp.ones_like(total)
            return Part(zero, zero, zero, one, one, zero, jnp.zeros(total.shape, jnp.int32))

        def present() -> Part:
            _, (part,) = self._parts(("affinity",), [other])
            return part

        part = lax.cond(all_near(row_order(alpha), *masses, total), absent, present)
        self.asked.append(("affinity", other, part))
        return renyi_of(alpha, *masses, total, part.value)

    def slopes(self, divergence: Divergence, weights: Array) -> list[Array]:
        """The derivatives of the weighted sum by the numbers of either side."""
        values = [part.value for *_, part in self.asked]

        def replayed(*numbers: Array) -> Array:
            return divergence.evaluate(_Replay(self, numbers))  # type: ignore

        whole, transpose = jax.vjp(replayed, *values)
        # Numbers of a row without meaning have none either.
        ones, _ = alike(jnp.ones_like(whole), whole)
        factors = [jnp.where(self.bad, jnp.nan, x)[:, None] for x in transpose(ones)]
        found = None
        for factor, asked in zip(factors, self.asked, strict=True):
            if found is None:
                found = self._scaled(factor, *asked)
                continue

            def more(so_far: list[Array], factor: Array = factor, asked: Any = asked) -> Any:
                return list(map(jnp.add, so_far, self._scaled(factor, *asked)))

            found = lax.cond(jnp.any(factor != 0), more, lambda so_far: so_far, found)
        if found is None:
            raise TypeError(f"{type(divergence).__name__} asks nothing of its rows")
        weights = weights[:, None]
        return [jnp.where(weights == 0, 0, x * weights) for x in found]

    def _scaled(self, factor: Array, kind: str, parameter: Any, part: Part) -> list[Array]:
        """A factor times the derivatives of one statistic."""
        first, second = (
            normalised(raw, norm, s.chart)
            for raw, norm, s in zip(self.raws, self.norms, self.sources, strict=True)
        )
        pair = pair_of(first, second)
        weight = jnp.maximum(pair.raw_p, pair.raw_q)
        places = self.offset + lax.iota(jnp.int32, self.plan.size)
        both = derivatives(kind, parameter, part, pair, (first, second), places)
        found = []
        for norm, x, mass, row, steep in zip(
            self.norms, both, (pair.raw_p, pair.raw_q), (part.by_p, part.by_q),
            (part.steep_p, part.steep_q), strict=True,
        ):  # fmt: skip
            if norm is not None:
                x = acting(x, weight, steep) - mass * row[:, None]
                x = x * steep[:, None] * steep[:, None]
            # What the value does not depend on has no part in it, infinite or not.
            found.append(jnp.where(factor == 0, 0, x * factor))
        return found


class _Replay(TiledRows):
    """The same rows, whose numbers are given in the order in which they were asked for."""

    def __init__(self, rows: TiledRows, numbers: Any):
        super().__init__(*rows.sources, rows.plan, rows.batch, rows.offset)
        self.numbers = iter(numbers)

    def _find(self, *requests: tuple[str, Any]) -> list[Array]:
        return [next(self.numbers) for _ in requests]

    def renyi(self, alpha: Array) -> Array:
        """From the same numbers, asked for in this order."""
        masses = self.masses()
        return renyi_of(alpha, *masses, next(self.numbers), next(self.numbers))


Found = tuple[Array, list[Array], list[Array]]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _found(
    plan: Plan, moving: tuple[Moving, Moving], divergence: Divergence, p: Source, q: Source,
    offset: Array, weights: Array,
) -> Found:  # fmt: skip
    """The value of every row, and the gradients of the sum by what moves on either side."""
    window = Window(0, plan.size, None)
    sources = p, q
    # Of what moves, which arrays have rows: their gradients are put side by side, others added up.
    flags = [_pick(m, has_rows(s, plan)) for m, s in zip(moving, sources, strict=True)]
    totals = [
        [
            jnp.zeros(x.shape, wide_dtype(x.dtype))
            for x, f in zip(m.pick(s), fs, strict=True)
            if not f
        ]
        for m, s, fs in zip(moving, sources, flags, strict=True)
    ]

    def block(totals: Any, i: Array | int) -> Any:
        lines = plan.blocks.window(i)

        def cut(x: Any) -> Any:
            leaves, tree = jax.tree.flatten(x)
            found = [
                lines.cut(leaf, 0) if mine else leaf
                for leaf, mine in zip(leaves, has_rows(x, plan), strict=True)
            ]
            return jax.tree.unflatten(tree, found)

        here, d, w = (cut(p), cut(q)), cut(divergence), cut(weights)
        # Of rows in two blocks the first counts.
        w = w if lines.fresh is None else jnp.where(lines.fresh, w, 0)
        raws, backs = zip(
            *(_with_gradient(s, m, window) for s, m in zip(here, moving, strict=True)), strict=True
        )
        alone = [x.shape[0] for x in raws]
        raws = both_rows(*raws)
        with num.rows_in_parts(plan.parts):
            rows = _Block(here, raws, plan, offset)
            values = d.evaluate(rows)  # type: ignore
            slopes = rows.slopes(d, w)
        of_rows, news = [], []
        for m, back, slope, own, fs, total in zip(
            moving, backs, slopes, alone, flags, totals, strict=True
        ):
            if not m.places:
                of_rows.append([])
                news.append([])
                continue
            if own != slope.shape[0]:
                slope = jnp.sum(slope, axis=0, keepdims=True)
            given = iter(total)
            found = back(slope, [None if f else next(given) for f in fs], plan)
            of_rows.append([x for x, f in zip(found, fs, strict=True) if f])
            news.append([x for x, f in zip(found, fs, strict=True) if not f])
        return news, (values, of_rows)

    if plan.blocks.whole:
        totals, (values, of_rows) = block(totals, 0)
    else:
        numbers = jnp.arange(len(plan.blocks), dtype=jnp.int32)
        totals, stacked = lax.scan(block, totals, numbers)
        values, of_rows = joined_rows(stacked, plan)
    slopes = []
    for m, s, fs, mine, total in zip(moving, sources, flags, of_rows, totals, strict=True):
        a, b = iter(mine), iter(total)
        slopes.append(
            [
                (next(a) if f else next(b)).astype(x.dtype)
                for x, f in zip(m.pick(s), fs, strict=True)
            ]
        )
    return values, slopes[0], slopes[1]


def _pick(moving: Moving, flags: list[bool]) -> list[bool]:
    return [flags[i] for i in moving.places]


def _with_gradient(source: Source, moving: Moving, window: Window) -> tuple[Array, Any]:
    """Numbers of a side, and a function from their cotangents to the gradients by what moves.

    That function adds a gradient to the total that is given for it, if there is one.
    """
    paths, tree = jax.tree_util.tree_flatten_with_path(source)
    names = [paths[i][0][-1].name for i in moving.places]
    leaves = [leaf for _, leaf in paths]
    others = [k for k, name in enumerate(names) if not _is_factor(source, name)]

    def of(x: Any, *values: Array) -> Array:
        full = list(leaves)
        for k, value in zip(others, values, strict=True):
            full[moving.places[k]] = value
        rebuilt = jax.tree.unflatten(tree, full)
        return rebuilt.tile(window) if x is None else rebuilt.finished(x, window)

    x = None
    if isinstance(source, HeadSource):
        x = product_into(source.hidden, source.weight, (1, 0), source.dtype)
    raw, transpose = jax.vjp(of, x, *(leaves[moving.places[k]] for k in others))

    def back(slope: Array, totals: list[Any], plan: Plan) -> list[Array]:
        by_x, *rest = transpose(slope)
        head: Any = source  # alone has hidden states and weights
        found: list[Any] = [None] * len(names)
        for k, gradient in zip(others, rest, strict=True):
            found[k] = gradient
        for k, name in enumerate(names):
            if name == "hidden" and found[k] is None:
                found[k] = product_into(by_x, head.weight, (1, 1), head.dtype)
            if name == "weight" and found[k] is None:
                found[k] = _by_weight(head, by_x, totals[k], plan)
            elif totals[k] is not None:
                found[k] = totals[k] + found[k].astype(totals[k].dtype)
        return found

    return raw, back


def _is_factor(source: Source, name: str) -> bool:
    return isinstance(source, HeadSource) and name in ("hidden", "weight")


def _by_weight(source: HeadSource, by_x: Array, total: Array | None, plan: Plan) -> Array:
    """The total and the gradient by the weight, a tile of outcomes at a time."""
    assert total is not None
    if plan.outcomes.whole:
        return total + product_into(source.hidden, by_x, (0, 0), source.dtype)

    def step(i: Array, total: Array) -> Array:
        window = plan.outcomes.window(i)
        part = window.cut(by_x, 1)
        if window.fresh is not None:
            part = jnp.where(window.fresh[None], part, 0)
        part = product_into(source.hidden, part, (0, 0), source.dtype)
        return window.put(total, part + window.cut(total, 1), 1)

    return lax.fori_loop(0, len(plan.outcomes), step, total)


def _plain_found(
    plan: Plan, moving: tuple[Moving, Moving], divergence: Divergence, p: Source, q: Source,
    offset: Array, weights: Array,
) -> Found:  # fmt: skip
    """The same by the derivative rule of rows, which has derivatives itself."""
    trees = [jax.tree.flatten(s) for s in (p, q)]

    def of(*moved: Array) -> tuple[Array, Array]:
        given = iter(moved)
        sources = []
        for (leaves, tree), m in zip(trees, moving, strict=True):
            full = list(leaves)
            for i in m.places:
                full[i] = next(given)
            sources.append(jax.tree.unflatten(tree, full))
        values = _values(plan, divergence, sources[0], sources[1], offset)
        return _total(weights, values), values

    _, transpose, values = jax.vjp(of, *moving[0].pick(p), *moving[1].pick(q), has_aux=True)
    slopes = list(transpose(jnp.ones((), values.dtype)))
    n = len(moving[0].places)
    return values, slopes[:n], slopes[n:]


def _found_jvp(
    plan: Plan, moving: tuple[Moving, Moving], primals: Any, tangents: Any
) -> tuple[Found, Found]:
    leaves, tree = jax.tree.flatten(primals)
    moved, dots = moving_of(tangents)

    def of(*values: Array) -> Found:
        full = list(leaves)
        for i, x in zip(moved.places, values, strict=True):
            full[i] = x
        return _plain_found(plan, moving, *jax.tree.unflatten(tree, full))

    _, found = jax.jvp(of, [leaves[i] for i in moved.places], dots)
    return _found(plan, moving, *primals), found


_found.defjvp(_found_jvp, symbolic_zeros=True)
