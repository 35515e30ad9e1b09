"""Sums over rows of logits that are not near each other, in few operations: see `normalised`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._divergence import Separable
from . import lean_renyi
from .normalised import STEEP, Normalised, likeliest, near_pair, normalised, over, stands
from .pair import Side
from .renyi import RENYI
from .rule import SUM, entries, partials
from .statistic import Operands, Statistic


def serves(statistic: Statistic, operands: Operands) -> bool:
    """Whether two sides are plain logits in float32, of a summand whose slope is known."""
    parameters, *sides = operands
    plain = all(s.chart == "logits" and s.temperature is None for s in sides)
    if not plain or sides[0].values.dtype != jnp.float32:
        return False
    if statistic is SUM:
        return not isinstance(slope := parameters.steepness(), float) or slope <= STEEP
    return statistic is RENYI


def _spread(x: Array) -> Array:
    """A parameter that is one number a row, (rows, 1), beside (rows, steps, lanes)."""
    return x[..., None] if x.ndim else x


def _unfold(x: Array, size: int) -> Array:
    return x.reshape(x.shape[0], -1)[:, :size]


def value(statistic: Statistic, operands: Operands) -> tuple[Array, Array]:
    """The statistic of each row, and which of them stand."""
    parameters, side_p, side_q = operands
    parameters = jax.tree.map(_spread, parameters)
    p, q = normalised(side_p.values), normalised(side_q.values)
    if statistic is RENYI:
        found, stand = lean_renyi.value(parameters, p, q)
    else:
        pair = near_pair(p, q, parameters.rough)
        terms = entries(parameters, pair, p.support(), q.support())
        found = over(terms, jnp.sum)
        stand = stands(parameters, p, q, found)
    return found[:, 0, 0], stand[:, 0, 0]


def pull(
    statistic: Statistic,
    operands: Operands,
    moving: tuple[bool, ...],
    known: Array,
    cotangent: Array,
) -> tuple[list[Array], Array]:
    """The cotangents of the logits that move, and which rows of them stand."""
    parameters, side_p, side_q = operands
    parameters = jax.tree.map(_spread, parameters)
    p, q = normalised(side_p.values), normalised(side_q.values)
    if statistic is RENYI:
        *slopes, stand = lean_renyi.slopes(parameters, p, q)
    else:
        total = known[:, None, None]
        *slopes, stand = _slopes(parameters, p, q, side_p, side_q, total)
    results, finite = _by_logits((p, q), slopes, moving)
    size = side_p.values.shape[-1]
    scale = cotangent[:, None, None]
    return [_unfold(x * scale, size) for x in results], (stand & finite)[:, 0, 0]


def both(
    statistic: Statistic, operands: Operands, moving: tuple[bool, ...]
) -> tuple[list[Array], Array]:
    """The statistic of each row and its derivatives by the logits that move; which rows stand."""
    parameters, side_p, side_q = operands
    parameters = jax.tree.map(_spread, parameters)
    p, q = normalised(side_p.values), normalised(side_q.values)
    if statistic is RENYI:
        found, stand = lean_renyi.value(parameters, p, q)
        *slopes, fine = lean_renyi.slopes(parameters, p, q)
        stand &= fine
    else:
        terms = entries(parameters, near_pair(p, q, parameters.rough), p.support(), q.support())
        found = over(terms, jnp.sum)
        *slopes, stand = _slopes(parameters, p, q, side_p, side_q, found)
    results, finite = _by_logits((p, q), slopes, moving)
    size = side_p.values.shape[-1]
    return [found[:, 0, 0], *(_unfold(x, size) for x in results)], (stand & finite)[:, 0, 0]


def _by_logits(
    sides: tuple[Normalised, Normalised],
    slopes: Sequence[Array],
    moving: tuple[bool, ...],
) -> tuple[list[Array], Array]:
    """Derivatives by the logits that move, and which rows of them are finite."""
    results, finite = [], sides[0].top < jnp.inf
    for side, slope, moves in zip(sides, slopes, moving, strict=True):
        if not moves:
            continue
        slope = lax.optimization_barrier(slope)  # kept: it is read more than once
        whole = over(slope, jnp.sum)
        finite &= jnp.isfinite(whole)
        rest, others = lax.cond(
            jnp.any(side.sum < 2), _without_likeliest, _nothing, side.weights(), slope, side.sum
        )
        results.append(side.centred(slope, side.masses(), whole, rest, others))
    return results, finite


def _without_likeliest(weights: Array, slope: Array, total: Array) -> tuple[Array, Array]:
    """The mass, and the sum of the slopes, of all but the likeliest outcome."""
    here = likeliest(weights, total)
    rest, others = (over(jnp.where(here, 0, x), jnp.sum) for x in (weights, slope))
    return rest / total, others


def _nothing(weights: Array, slope: Array, total: Array) -> tuple[Array, Array]:
    return jnp.zeros_like(total), jnp.zeros_like(total)


def _slopes(
    divergence: Separable, p: Normalised, q: Normalised, side_p: Side, side_q: Side, total: Array
) -> tuple[Array, Array, Array]:
    """The derivatives of a sum by the logarithms of the masses, and which rows stand."""
    pair = near_pair(p, q, divergence.rough)
    some_p, some_q = p.support(), q.support()
    by_p, by_q = partials(divergence, pair, side_p, side_q, some_p, some_q)
    return by_p, by_q, stands(divergence, p, q, total)


def vanishes(statistic: Statistic, divergence: Any) -> bool:
    """Whether value and slopes are 0 at p = q: an f-divergence's with a smooth f."""
    return statistic is RENYI or (divergence.homogeneous and not divergence.rough)


def same(statistic: Statistic, operands: Operands) -> Array:
    """Rows whose value and slopes are exactly 0, being the same on both sides.

    As at the start of a fit; they need no digits.
    """
    divergence, p, q = operands
    if not vanishes(statistic, divergence):
        return jnp.zeros(p.values.shape[0], bool)
    finite = jnp.isfinite(jnp.max(p.values, axis=-1))
    return jnp.all(p.values == q.values, axis=-1) & finite
