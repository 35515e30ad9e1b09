"""The derivative rule: a sweep over tiles, linear in the tangents, given a row's numbers.

Its transpose, which JAX finds, is the gradient; the numbers of a row have derivatives themselves,
by another sweep, and with them come second derivatives and all after.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import _numerics as num
from .._mesh import tangents_of
from ..rows.pair import Pair, Side, pair_of
from ..rows.rule import contract as contract_trusted
from ..rows.rule import entries, partials
from .plan import Plan
from .product import contract
from .sources import WHOLE, Source
from .statistics import Known, Norm, Part, Spec, acting, affinity, both_rows, forward, normalised
from .sweep import sweep
from .window import Window


def sweep_of(plan: Plan, function: Any, args: Any, axes: Any) -> Any:
    """A sweep over the tiles of a plan, its sums added up over the shards."""
    found = sweep(function, args, axes, plan.outcomes)
    return found if plan.axis_name is None else lax.psum(found, plan.axis_name)


def whole(x: Any) -> Any:
    """Axes of what is not cut."""
    return jax.tree.map(lambda _: WHOLE, x)


# --- tangents of some leaves of a pytree ---------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Moving:
    """Which leaves of a pytree have tangents."""

    places: tuple[int, ...]

    def pick(self, x: Any) -> list[Any]:
        """Those leaves."""
        leaves = jax.tree.leaves(x)
        return [leaves[i] for i in self.places]

    def along(self, function: Any, x: Any, dots: list[Array]) -> tuple[Any, Any]:
        """function(x) and its derivative, None where nothing moves."""
        if not self.places:
            return function(x), None
        leaves, tree = jax.tree.flatten(x)

        def of(*moved: Array) -> Any:
            full = list(leaves)
            for i, value in zip(self.places, moved, strict=True):
                full[i] = value
            return function(jax.tree.unflatten(tree, full))

        return jax.jvp(of, [leaves[i] for i in self.places], dots)


def moving_of(tangents: Any) -> tuple[Moving, list[Array]]:
    """Which leaves have tangents, and these."""
    leaves = jax.tree.leaves(tangents, is_leaf=_symbolic)
    places = [
        i
        for i, t in enumerate(leaves)
        if not _symbolic(t) and getattr(t, "dtype", None) != jax.dtypes.float0
    ]
    return Moving(tuple(places)), [leaves[i] for i in places]


def _symbolic(x: Any) -> bool:
    return isinstance(x, jax.custom_derivatives.SymbolicZero)


def of_parameters(parameters: Any, tangents: Any) -> Any:
    """Tangents of parameters, with zeros where some move and others do not; None if none does."""
    moving, moved = moving_of(tangents)
    if not moving.places:
        return None
    leaves, tree = jax.tree.flatten(parameters)
    given = dict(zip(moving.places, moved, strict=True))
    return jax.tree.unflatten(tree, [given.get(i, jnp.zeros_like(x)) for i, x in enumerate(leaves)])


# --- the product of derivatives and tangents -----------------------------------------------------


def derivatives(
    kind: str, parameter: Any, part: Part, pair: Pair, sides: tuple[Side, Side], places: Array
) -> tuple[Array, Array]:
    """By each side in its own chart, which is that of masses or of their logarithms."""
    p, q = sides
    some_p, some_q = p.support(), q.support()
    if kind == "sum":
        return partials(parameter, pair, p, q, some_p, some_q)
    both = some_p & some_q
    if kind == "affinity":
        high, low = affinity(parameter, pair, some_p, some_q)
        value = part.value[:, None]
        inside = both & (jnp.abs(value) < jnp.inf)
        gap = jnp.where(inside, high, 0) - jnp.where(inside, value, 0)
        share = jnp.where(inside, num.exp_pair(gap, low), 0)
        by_p, by_q = parameter * share, (1 - parameter) * share
    else:
        hit = (places[None] == part.where[:, None]) & both
        by_p = jnp.where(hit, jnp.ones_like(pair.p), 0)
        by_q = -by_p
    if p.linear:
        by_p = by_p / jnp.where(some_p, p.values, 1)
    if q.linear:
        by_q = by_q / jnp.where(some_q, q.values, 1)
    return by_p, by_q


def _by_parameters(
    kind: str, parameter: Any, dot: Any, part: Part, pair: Pair, sides: tuple[Side, Side]
) -> Array:
    some_p, some_q = (side.support() for side in sides)
    if kind == "sum":
        return jax.jvp(
            lambda d: num.row_sum(entries(d, pair, some_p, some_q)), (parameter,), (dot,)
        )[1]
    high, low = affinity(parameter, pair, some_p, some_q)
    inside = some_p & some_q & (jnp.abs(part.value[:, None]) < jnp.inf)
    gap = jnp.where(inside, high, 0) - jnp.where(inside, part.value[:, None], 0)
    share = jnp.where(inside, num.exp_pair(gap, low), 0)
    return num.row_sum(share * pair.log_ratio * dot)


def _pieces(known: Known, p: Source, q: Source, window: Window) -> tuple[Any, Any, Pair]:
    raws = both_rows(p.tile(window), q.tile(window))
    first, second = (
        normalised(raw, norm, source.chart)
        for raw, norm, source in zip(raws, known.norms, (p, q), strict=True)
    )
    sides = first, second
    return raws, sides, pair_of(*sides)


def push(
    spec: Spec, parameters: Any, p: Source, q: Source, offset: Array, known: Known, tangents: Any
) -> list[Array]:
    """The derivative of every statistic along the tangents of what moves."""
    by_p, by_q = map(moving_of, tangents[1:])
    moving = by_p[0], by_q[0]
    dots = of_parameters(parameters, tangents[0])
    args = parameters, p, q, offset, known, dots, by_p[1], by_q[1]
    axes = (
        *(whole(parameters), p.axes(), q.axes(), WHOLE, whole(known), whole(dots)),
        *(m.pick(source.axes()) for m, source in zip(moving, (p, q), strict=True)),
    )
    return sweep_of(spec.plan, functools.partial(_push, spec, moving, dots is not None), args, axes)


def _push(
    spec: Spec, moving: tuple[Moving, Moving], by_parameters: bool, window: Window, args: Any
) -> list[Array]:
    parameters, p, q, offset, known, dots, *side_dots = args
    raw_dots = [
        m.along(lambda source: source.tile(window), source, d)
        for m, source, d in zip(moving, (p, q), side_dots, strict=True)
    ]
    raws = both_rows(raw_dots[0][0], raw_dots[1][0])
    first, second = (
        normalised(raw, norm, source.chart)
        for raw, norm, source in zip(raws, known.norms, (p, q), strict=True)
    )
    sides = first, second
    pair = pair_of(*sides)
    bad = known.bad[:, None] > 0
    masses = pair.raw_p, pair.raw_q
    weight = jnp.maximum(*masses)
    places = offset + window.indices()
    results = []
    for k, (kind, parameter, part) in enumerate(
        zip(spec.kinds, parameters, known.parts, strict=True)
    ):
        total = jnp.zeros_like(known.bad)
        if any(dot is not None for _, dot in raw_dots):
            by = derivatives(kind, parameter, part, pair, sides, places)
            for side, norm, mass, derivative, (_, dot), row, steep in zip(
                sides, known.norms, masses, by, raw_dots,
                (part.by_p, part.by_q), (part.steep_p, part.steep_q), strict=True,
            ):  # fmt: skip
                if dot is None:
                    continue
                dot = jnp.broadcast_to(dot, mass.shape)
                if norm is None:
                    each = jnp.ones_like(mass) if side.linear else weight
                    moved = Side(dot, None, side.chart)
                    found = jnp.where(bad, jnp.nan, derivative)
                    total = total + contract_trusted(found, side, moved, mass, each)
                    continue
                slope = acting(derivative, weight, steep) - mass * row[:, None]
                slope = jnp.where(bad, jnp.nan, slope)
                total = total + contract(slope, dot) * steep * steep
        if by_parameters and jax.tree.leaves(dots[k]):
            along = _by_parameters(kind, parameter, dots[k], part, pair, sides)
            total = total + jnp.where(known.bad > 0, jnp.nan, 1) * along
        results.append(total)
    return results


# --- the rule ------------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def statistics(spec: Spec, parameters: Any, p: Source, q: Source, offset: Array) -> list[Array]:
    """The statistics of every row."""
    return [part.value for part in forward(spec, parameters, p, q, offset, False).parts]


def _statistics_jvp(spec: Spec, primals: Any, tangents: Any) -> tuple[list[Array], list[Array]]:
    parameters, p, q, offset = primals
    known = _known(spec, parameters, p, q, offset)
    values = push(spec, parameters, p, q, offset, known, tangents[:3])
    return [x.value for x in known.parts], values


statistics.defjvp(_statistics_jvp, symbolic_zeros=True)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _known(spec: Spec, parameters: Any, p: Source, q: Source, offset: Array) -> Known:
    return forward(spec, parameters, p, q, offset, True)


def _known_jvp(spec: Spec, primals: Any, tangents: Any) -> tuple[Known, Known]:
    parameters, p, q, offset = primals
    known = _known(spec, parameters, p, q, offset)
    norm_dots = []
    for norm, source, dots in zip(known.norms, (p, q), tangents[1:3], strict=True):
        if norm is None:
            norm_dots.append(None)
            continue
        m, moved = moving_of(dots)
        total = jnp.zeros_like(norm.log_sum)
        if m.places:
            total = sweep_of(
                spec.plan, functools.partial(_along_norm, m), (source, norm, moved),
                (source.axes(), whole(norm), m.pick(source.axes())),
            )  # fmt: skip
        norm_dots.append(Norm(jnp.zeros_like(norm.top), total))
    values = push(spec, parameters, p, q, offset, known, tangents[:3])
    by_parameters, by_p, by_q = map(moving_of, tangents[:3])
    moves = by_parameters[0], by_p[0], by_q[0]
    args = (parameters, p, q, known, norm_dots, by_parameters[1], by_p[1], by_q[1])
    axes = (
        whole(parameters), p.axes(), q.axes(), whole(known), whole(norm_dots),
        whole(by_parameters[1]), by_p[0].pick(p.axes()), by_q[0].pick(q.axes()),
    )  # fmt: skip
    slopes = sweep_of(spec.plan, functools.partial(_along_slopes, spec, moves), args, axes)
    parts, alphas = [], of_parameters(parameters, tangents[0])
    for k, (kind, part, value, (of_p, of_q)) in enumerate(
        zip(spec.kinds, known.parts, values, slopes, strict=True)
    ):
        zero = jnp.zeros_like(part.value)
        if kind == "affinity" and alphas is not None:
            # The sums are alpha and 1 - alpha, where they are not 0.
            alpha_dot = jnp.where((part.by_p == 0) & (part.by_q == 0), 0, alphas[k].reshape(-1))
            of_p, of_q = alpha_dot, -alpha_dot
        nowhere: Any = np.zeros(part.where.shape, jax.dtypes.float0)
        parts.append(Part(value, of_p, of_q, zero, zero, zero, nowhere))
    moved = Known(tuple(norm_dots), jnp.zeros_like(known.bad), parts)  # type: ignore
    return known, tangents_of(known, moved)


_known.defjvp(_known_jvp, symbolic_zeros=True)


def _along_norm(moving: Moving, window: Window, args: Any) -> Array:
    """The tangent of a log-sum-exp: the mean of the logits' tangents."""
    source, norm, moved = args
    raw, dot = moving.along(lambda s: s.tile(window), source, moved)
    mass = jnp.exp(normalised(raw, norm, source.chart).values)
    return contract(mass, jnp.broadcast_to(dot, mass.shape))


def _along_slopes(
    spec: Spec, moves: tuple[Moving, Moving, Moving], window: Window, args: Any
) -> list[tuple[Array, Array]]:
    """Tangents of the sums of derivatives by log-masses."""
    parameters, p, q, known, norm_dots, *dots = args
    norms = known.norms
    x = (parameters, p, q, norms)
    sizes = [len(jax.tree.leaves(y)) for y in x]
    places = [*moves[0].places, *(sizes[0] + i for i in moves[1].places)]
    places += [sizes[0] + sizes[1] + i for i in moves[2].places]
    start = sum(sizes[:3])
    places += range(start, start + sizes[3])
    moved = [*(d for ds in dots for d in ds), *jax.tree.leaves(norm_dots)]

    def of(x: Any) -> list[tuple[Array, Array]]:
        parameters, p, q, norms = x
        _, sides, pair = _pieces(known._replace(norms=norms), p, q, window)
        weight = jnp.maximum(pair.raw_p, pair.raw_q)
        found = []
        for kind, parameter, part in zip(spec.kinds, parameters, known.parts, strict=True):
            zero = jnp.zeros_like(part.value)
            if kind != "sum":
                found.append((zero, zero))
                continue
            by = partials(parameter, pair, *sides, *(s.support() for s in sides))
            found.append(
                tuple(
                    num.row_sum(acting(b, weight, steep))
                    for b, steep in zip(by, (part.steep_p, part.steep_q), strict=True)
                )
            )
        return found

    return Moving(tuple(places)).along(of, x, moved)[1]
