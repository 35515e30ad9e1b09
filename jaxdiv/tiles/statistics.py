"""The statistics of rows that are never whole, and their derivative rule.

Forward, all outcomes of a few rows at a time: the logits of a head are made once, normalised, and
every statistic found from them. Of each side that is normalised a row keeps the maximum and the
logarithm of the sum of exponentials; of each statistic the sum of its derivatives by the logarithms
of the masses, s. The derivative by a logit is then w - m s, w that by the logarithm of its mass m:
what one sweep over tiles of outcomes needs to know. So is the product with a tangent, and its
transpose is the gradient.

On a mesh a row's numbers are merged between its shards: maxima by their maximum, sums of
exponentials after they are brought to it, all other sums by adding them up.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import _numerics as num
from ..rows.pair import Pair, Side, pair_of
from ..rows.rule import entries, partials
from .plan import Plan
from .sources import Source
from .window import Window

# A factor of infinite derivatives, applied twice: a zero cotangent stays zero.
_STEEP = {False: 2.0**100, True: 2.0**1000}


@dataclasses.dataclass(frozen=True)
class Spec:
    """Which statistics: "sum" of a divergence's terms, log "affinity" of an order, "ratio"."""

    kinds: tuple[str, ...]
    plan: Plan


class Norm(NamedTuple):
    """A side's log-sum-exp as two numbers; the second is NaN where the row has no meaning."""

    top: Array
    log_sum: Array


class Part(NamedTuple):
    """One statistic of each row, and what its derivative needs.

    `by_p` and `by_q` are the sums of the derivatives by the log-masses, `steep_p` and `steep_q`
    factors of those that are infinite. `top` and `where` are of the largest log p^a q^(1-a), or
    log(p/q).
    """

    value: Array
    by_p: Array
    by_q: Array
    steep_p: Array
    steep_q: Array
    top: Array
    where: Array


class Known(NamedTuple):
    """What is known of each row after the forward pass."""

    norms: tuple[Norm | None, Norm | None]
    bad: Array
    parts: list[Part]


def normalised(raw: Array, norm: Norm | None, chart: Any) -> Side:
    """A tile in the chart of its masses or of their logarithms."""
    if norm is None:
        return Side(raw, None, chart)
    return Side((raw - norm.top[:, None]) - norm.log_sum[:, None], None, "log")


def both_rows(p: Array, q: Array) -> tuple[Array, Array]:
    """Both sides with the rows that either has."""
    shape = jnp.broadcast_shapes(p.shape, q.shape)
    return jnp.broadcast_to(p, shape), jnp.broadcast_to(q, shape)


# --- forward: all outcomes of a few rows ---------------------------------------------------------


def _pmax(x: Any, plan: Plan) -> Any:
    return x if plan.axis_name is None else lax.pmax(x, plan.axis_name)


def _psum(x: Any, plan: Plan) -> Any:
    return x if plan.axis_name is None else lax.psum(x, plan.axis_name)


def _exponentials(raw: Array) -> tuple[Array, Array]:
    top = jnp.max(raw, axis=-1)
    safe = jnp.where(jnp.abs(top) < jnp.inf, top, 0)
    return top, num.row_sum(jnp.exp(raw - safe[:, None]))


def _norm(top: Array, total: Array, plan: Plan) -> Norm:
    whole = _pmax(top, plan)
    fine = jnp.abs(whole) < jnp.inf
    shift = jnp.where(fine, whole, 0)
    if plan.axis_name is not None:
        local = jnp.where(jnp.abs(top) < jnp.inf, top, 0)
        # A shard without a finite logit has sums of 0, or of what is bad.
        total = _psum(total * jnp.exp(jnp.where(top > -jnp.inf, local - shift, 0)), plan)
    return Norm(shift, jnp.where(fine, jnp.log(jnp.where(fine, total, 1)), jnp.nan))


class _Sums(NamedTuple):
    """What a shard knows of one statistic: sums and maxima."""

    total: Array
    finite: tuple[Array, ...]
    infinite: tuple[Array, ...]
    steep: tuple[Array, ...]
    top: Array
    where: Array


def affinity(alpha: Array, pair: Pair, some_p: Array, some_q: Array) -> tuple[Array, Array]:
    """log p^alpha q^(1 - alpha) as a pair, infinite where only one of them is 0."""
    high, low = pair.log_affinity(alpha)
    q_zero = jnp.where(alpha > 1, jnp.inf, -jnp.inf).astype(high.dtype)
    return jnp.where(some_p & some_q, high, jnp.where(some_p, q_zero, -jnp.inf)), low


def _ratio(pair: Pair, some_p: Array, some_q: Array) -> Array:
    return jnp.where(some_p & some_q, pair.log_ratio, jnp.where(some_p, jnp.inf, -jnp.inf)).astype(
        pair.log_ratio.dtype
    )


def acting(by: Array, weight: Array, steep: Array) -> Array:
    """Derivatives; in a row with infinite ones these alone, in proportion to a weight."""
    infinite = jnp.isinf(by)
    signed = jnp.where(infinite, jnp.sign(by) * weight, 0)
    return jnp.where(steep[:, None] > 1, signed, jnp.where(infinite, 0, by))


def _sums(
    kind: str, parameter: Any, pair: Pair, p: Side, q: Side, first: Array | int, slopes: bool
) -> _Sums:
    """The sums of a statistic; those of derivatives as if none was infinite."""
    some_p, some_q = p.support(), q.support()
    rows = pair.p.shape[0]
    zero = jnp.zeros(rows, pair.p.dtype)
    none, nowhere = (zero, zero), jnp.zeros(rows, jnp.int32)
    if kind == "sum":
        total = num.row_sum(entries(parameter, pair, some_p, some_q))
        if not slopes:
            return _Sums(total, none, none, none, zero, nowhere)
        by = partials(parameter, pair, p, q, some_p, some_q)
        sums = num.row_sum(by[0]), num.row_sum(by[1])
        return _Sums(total, sums, none, none, zero, nowhere)
    if kind == "affinity":
        high, low = affinity(parameter, pair, some_p, some_q)
        top = jnp.max(high, axis=-1)
        shift = jnp.where(jnp.abs(top) < jnp.inf, top, 0)[:, None]
        total = num.row_sum(num.exp_pair(jnp.where(high < jnp.inf, high - shift, 0), low))
        return _Sums(total, none, none, none, top, nowhere)
    ratio = _ratio(pair, some_p, some_q)
    place = jnp.argmax(ratio, axis=-1).astype(jnp.int32) + first
    return _Sums(zero, none, none, none, jnp.max(ratio, axis=-1), place)


class _Slopes(NamedTuple):
    """Of the derivatives by log-masses: sums of the finite ones, of the infinite, if there are."""

    finite: tuple[Array, ...]
    infinite: tuple[Array, ...]
    steep: tuple[Array, ...]


def _slopes(parameter: Any, pair: Pair, p: Side, q: Side) -> _Slopes:
    weight = jnp.maximum(pair.raw_p, pair.raw_q)
    by = partials(parameter, pair, p, q, p.support(), q.support())
    infinite = [jnp.isinf(x) for x in by]
    pairs = list(zip(infinite, by, strict=True))
    return _Slopes(
        tuple(num.row_sum(jnp.where(i, 0, x)) for i, x in pairs),
        tuple(num.row_sum(jnp.where(i, jnp.sign(x) * weight, 0)) for i, x in pairs),
        tuple(jnp.any(i, axis=-1).astype(x.dtype) for i, x in pairs),
    )


def _finished(kind: str, parameter: Any, sums: _Sums, plan: Plan) -> Part:
    zero, one = jnp.zeros_like(sums.total), jnp.ones_like(sums.total)
    if kind == "sum":
        total = _psum(sums.total, plan)
        steep = [_pmax(x, plan) > 0 for x in sums.steep]
        by = [
            jnp.where(s, _psum(i, plan), _psum(f, plan))
            for s, i, f in zip(steep, sums.infinite, sums.finite, strict=True)
        ]
        big = _STEEP[num.is_double(zero)]
        factors = [jnp.where(s, big, 1).astype(zero.dtype) for s in steep]
        return Part(total, by[0], by[1], factors[0], factors[1], zero, sums.where)
    top = _pmax(sums.top, plan)
    if kind == "affinity":
        fine = jnp.abs(top) < jnp.inf
        shift = jnp.where(fine, top, 0)
        total = sums.total
        if plan.axis_name is not None:
            local = jnp.where(jnp.abs(sums.top) < jnp.inf, sums.top, 0)
            total = _psum(total * jnp.exp(jnp.where(sums.top > -jnp.inf, local - shift, 0)), plan)
        value = jnp.where(fine, shift + jnp.log(jnp.where(fine, total, 1)), top)
        alpha = parameter[:, 0] if parameter.ndim else parameter
        by_p, by_q = (jnp.where(fine, x, 0).astype(zero.dtype) for x in (alpha, 1 - alpha))
        return Part(value, by_p, by_q, one, one, top, sums.where)
    where = sums.where
    if plan.axis_name is not None:
        where = lax.pmin(jnp.where(sums.top == top, where, np.int32(2**31 - 1)), plan.axis_name)
    fine = (jnp.abs(top) < jnp.inf).astype(zero.dtype)
    return Part(top, fine, -fine, one, one, top, where)


def _wrong(raw: Array, chart: str) -> tuple[Array, Array]:
    """Whether a row has an entry without meaning, and one with."""
    if chart == "linear":
        return ~jnp.all((raw >= 0) & (raw < jnp.inf), axis=-1), jnp.full(raw.shape[0], True)
    return ~jnp.all(raw < jnp.inf, axis=-1), jnp.any(raw > -jnp.inf, axis=-1)


class Rowwise(NamedTuple):
    """Arrays with a row for each row, and those that are the same for all."""

    mine: list[Array]
    shared: list[Array]


def _split(x: Any, mine: list[bool]) -> tuple[Rowwise, Any]:
    """The leaves of a pytree by whether they have rows, and how to put them together again."""
    leaves, tree = jax.tree.flatten(x)

    def join(parts: Rowwise) -> Any:
        a, b = iter(parts.mine), iter(parts.shared)
        return jax.tree.unflatten(tree, [next(a) if m else next(b) for m in mine])

    split = Rowwise(
        [x for x, m in zip(leaves, mine, strict=True) if m],
        [x for x, m in zip(leaves, mine, strict=True) if not m],
    )
    return split, join


def has_rows(x: Any, plan: Plan) -> list[bool]:
    """Which leaves of a source, of parameters or of numbers of rows have a row for each."""
    if isinstance(x, Source):
        paths, _ = jax.tree_util.tree_flatten_with_path(x)
        return [path[-1].name in x.of_rows and leaf.shape[0] == plan.count for path, leaf in paths]
    return [leaf.ndim > 0 for leaf in jax.tree.leaves(x)]


def over_rows(function: Any, plan: Plan, *operands: Any) -> Any:
    """function(*operands) of a few rows at a time; its results have rows in front."""
    if plan.blocks.whole:
        return function(*operands)
    flags = [flag for x in operands for flag in has_rows(x, plan)]
    split, join = _split(list(operands), flags)

    def some(i: Array) -> Any:
        window = plan.blocks.window(i)
        return function(*join(Rowwise([window.cut(x, 0) for x in split.mine], split.shared)))

    return joined_rows(lax.map(some, jnp.arange(len(plan.blocks), dtype=jnp.int32)), plan)


def joined_rows(found: Any, plan: Plan) -> Any:
    """What was found of blocks of rows, as of all of them."""
    return jax.tree.map(plan.blocks.joined, found)


def normalisers(sources: Any, raws: Any, plan: Plan) -> tuple[Norm | None, Norm | None]:
    """The norms of sides whose outcomes are all at hand."""
    found = _ends(sources, raws)
    return _merged(found, plan)


def _ends(sources: Any, raws: Any) -> list[Any]:
    return [
        _exponentials(raw) if source.chart == "logits" else None
        for source, raw in zip(sources, raws, strict=True)
    ]


def _merged(ends: Any, plan: Plan) -> tuple[Norm | None, Norm | None]:
    p, q = (None if x is None else _norm(x[0], x[1], plan) for x in ends)
    return p, q


def sums_of(
    spec: Spec, parameters: Any, sources: Any, raws: Any, norms: Any, offset: Any, slopes: bool
) -> Any:
    """Which rows are wrong and which have any mass, and the sums of every statistic."""

    def pieces() -> tuple[Side, Side, Pair]:
        p, q = (
            normalised(raw, norm, source.chart)
            for raw, norm, source in zip(raws, norms, sources, strict=True)
        )
        return p, q, pair_of(p, q)

    p, q, pair = pieces()
    wrong = [
        _wrong(raw, source.chart)
        if norm is None
        else (jnp.isnan(norm.log_sum), jnp.isfinite(norm.log_sum))
        for raw, norm, source in zip(raws, norms, sources, strict=True)
    ]
    found = [
        _sums(kind, parameter, pair, p, q, offset, slopes)
        for kind, parameter in zip(spec.kinds, parameters, strict=True)
    ]
    which = [k for k, kind in enumerate(spec.kinds) if kind == "sum"]
    if not slopes or not which:
        return wrong, found

    # Infinite derivatives are rare, and take two more passes over the row. Everything is made
    # again from what is at hand, as the operands of a branch must be whole arrays.
    def steep() -> list[_Slopes]:
        p, q, pair = pieces()
        return [_slopes(parameters[k], pair, p, q) for k in which]

    def gentle() -> list[_Slopes]:
        finite = [found[k].finite for k in which]
        none = [tuple(0 * x for x in sums) for sums in finite]
        return [_Slopes(x, zero, zero) for x, zero in zip(finite, none, strict=True)]

    flat = jnp.stack([x for k in which for x in found[k].finite])
    for k, x in zip(which, lax.cond(jnp.all(jnp.isfinite(flat)), gentle, steep), strict=True):
        found[k] = found[k]._replace(finite=x.finite, infinite=x.infinite, steep=x.steep)
    return wrong, found


def finished(spec: Spec, parameters: Any, wrong: Any, found: Any) -> tuple[Array, list[Part]]:
    """Which rows have no meaning, and the statistics, merged between shards."""
    plan = spec.plan
    bad = functools.reduce(jnp.logical_or, (_any(a, plan) | ~_any(b, plan) for a, b in wrong))
    parts = [
        _finished(kind, parameter, x, plan)
        for kind, parameter, x in zip(spec.kinds, parameters, found, strict=True)
    ]
    return bad, [x._replace(value=jnp.where(bad, jnp.nan, x.value)) for x in parts]


def forward(
    spec: Spec, parameters: Any, p: Source, q: Source, offset: Array, slopes: bool
) -> Known:
    """The statistics of every row, and with `slopes` what their derivatives need."""
    plan = spec.plan
    window = Window(0, plan.size, None)

    def raws(p: Source, q: Source) -> tuple[Array, Array]:
        return both_rows(p.tile(window), q.tile(window))

    def ends(p: Source, q: Source) -> Any:
        return _ends((p, q), raws(p, q))

    def sums(parameters: Any, p: Source, q: Source, norms: Any) -> Any:
        return sums_of(spec, parameters, (p, q), raws(p, q), norms, offset, slopes)

    def at_once(parameters: Any, p: Source, q: Source) -> Any:
        # The logits of a head are made once: both reductions read them.
        both = raws(p, q)
        norms = normalisers((p, q), both, plan)
        return norms, sums_of(spec, parameters, (p, q), both, norms, offset, slopes)

    with num.rows_in_parts(plan.parts):
        if plan.axis_name is None:
            norms, (wrong, found) = over_rows(at_once, plan, parameters, p, q)
        else:
            norms = _merged(over_rows(ends, plan, p, q), plan)
            wrong, found = over_rows(sums, plan, parameters, p, q, norms)
    bad, parts = finished(spec, parameters, wrong, found)
    return Known(norms, bad.astype(plan.dtype), parts)


def _any(x: Array, plan: Plan) -> Array:
    return _pmax(x.astype(jnp.float32), plan) > 0
