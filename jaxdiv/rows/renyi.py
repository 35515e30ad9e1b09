"""Renyi's divergence of a row: near p = q from a sum of small terms, far from it a log-sum-exp.

With S = sum p^alpha q^(1-alpha) and m = alpha m_p + (1-alpha) m_q, m_p and m_q the stored masses,
S/m = 1 + alpha (alpha-1) D/m with D the alpha-divergence. The first form loses every digit of a
small S, the second those of an S near m. Rows that are all near don't pay for the second.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from .._f_divergences import Alpha
from .pair import Pair, Side, pair_of
from .rule import log_affinity_of, log_affinity_tangent_of, sum_of, sum_tangent_of
from .statistic import Statistic


def row_order(alpha: Array) -> Array:
    """The order as a scalar or one number a row, (...)."""
    return alpha[..., 0] if alpha.ndim else alpha


def other_order(alpha: Array) -> Array:
    """An order at which the log-affinity may be divided by alpha - 1."""
    return jnp.where(alpha == 1, 2, alpha)


def mass(side: Side) -> Array:
    """The sum of a side's masses."""
    if side.chart == "logits":
        return jnp.ones(side.values.shape[:-1], side.values.dtype)
    return num.row_sum(side.values if side.linear else jnp.exp(side.values))


def _excess(alpha: Array, m: Array, total: Array) -> tuple[Array, Array, Array]:
    """D/m, S/m - 1 from it, and which rows are near."""
    one, endless = alpha == 1, total == jnp.inf
    mean = jnp.where(endless, 0, total) / jnp.where(m == 0, 1, m)
    excess = alpha * (alpha - 1) * mean
    near = one | (~endless & (excess > -0.5) & (excess <= 1)) | jnp.isnan(total)
    return mean, excess, near


def _of_rows(alpha: Array, mass_p: Array, mass_q: Array, total: Array, far: Array) -> Array:
    """The divergence from the masses, the alpha-divergence and the log-affinity."""
    one = alpha == 1
    m = alpha * mass_p + (1 - alpha) * mass_q
    mean, excess, near = _excess(alpha, m, total)
    value = alpha * jnp.where(near, mean, 0) * num.log1p_over(jnp.where(near, excess, 0))
    # An infinite sum goes on as its logarithm, or at alpha = 1 as it is.
    value = value + jnp.where(one & (total == jnp.inf), total, 0)
    far = jnp.where(near, 0, far) - jnp.log(jnp.where(near, 1, m))
    return jnp.where(near, value, far / jnp.where(one, 1, alpha - 1))


def renyi_of(alpha: Array, mass_p: Array, mass_q: Array, total: Array, far: Array) -> Array:
    """The divergence from the masses, the alpha-divergence and the log-affinity of each row."""
    return _of_rows(row_order(alpha), mass_p, mass_q, total, far)


def of_sum(alpha: Array, total: Array) -> tuple[Array, Array]:
    """The divergence of distributions from their alpha-divergence, and which rows are near."""
    _, excess, near = _excess(row_order(alpha), jnp.ones_like(total), total)
    return row_order(alpha) * total * num.log1p_over(jnp.where(near, excess, 0)), near


def to_sum(alpha: Array, value: Array) -> tuple[Array, Array, Array]:
    """The alpha-divergence from Renyi's, Renyi's derivative by it, and which rows are near."""
    alpha = row_order(alpha)
    power = (alpha - 1) * value
    total = value * num.expm1_over(power) / alpha
    return total, alpha * jnp.exp(-power), _excess(alpha, jnp.ones_like(total), total)[2]


def all_near(alpha: Array, mass_p: Array, mass_q: Array, total: Array) -> Array:
    """Whether no row needs the log-affinity."""
    m = alpha * mass_p + (1 - alpha) * mass_q
    return jnp.all(_excess(alpha, m, total)[2])


_Parts = tuple[Array, Array, Array, Array]


def _parts(alpha: Array, pair: Pair, side_p: Side, side_q: Side) -> _Parts:
    """What `_of_rows` takes, but for the log-affinity."""
    total = sum_of(Alpha(alpha), pair, side_p, side_q)
    return row_order(alpha), mass(side_p), mass(side_q), total


def _if_far(parts: _Parts, function: Callable[..., Array], *operands: Any) -> Array:
    """What needs the log-affinity, 0 where no row does."""
    zeros = jnp.zeros_like(parts[-1])
    return lax.cond(all_near(*parts), lambda *_: zeros, function, *operands)


def _value(alpha: Array, side_p: Side, side_q: Side) -> Array:
    # One pair for both forms: it is most of the work.
    pair = pair_of(side_p, side_q)
    parts = _parts(alpha, pair, side_p, side_q)
    far = _if_far(parts, log_affinity_of, other_order(alpha), pair, side_p, side_q)
    return _of_rows(*parts, far)


def _tangent(primals, tangents, _) -> Array:
    alpha, side_p, side_q = primals
    alpha_dot, dot_p, dot_q = tangents
    pair = pair_of(side_p, side_q)
    parts = _parts(alpha, pair, side_p, side_q)
    other = other_order(alpha), side_p, side_q

    def mass_dot(side: Side, dot: Side | None) -> Array:
        if dot is None or side.chart == "logits":
            return jnp.zeros_like(parts[1])
        return jax.jvp(mass, (side,), (dot,))[1]

    by_alpha = None if alpha_dot is None else Alpha(alpha_dot)
    total_dot = sum_tangent_of(pair, (Alpha(alpha), side_p, side_q), (by_alpha, dot_p, dot_q))
    other_dot = None if alpha_dot is None else jnp.where(alpha == 1, 0, alpha_dot)
    far_dot = _if_far(parts, log_affinity_tangent_of, pair, other, (other_dot, dot_p, dot_q))
    moved = mass_dot(side_p, dot_p), mass_dot(side_q, dot_q), total_dot, far_dot
    # Of the log-affinity only the derivative counts, but along alpha.
    if alpha_dot is None:  # its zero would meet the infinity of what is divided by alpha - 1
        given = *parts[1:], jnp.zeros_like(total_dot)
        return jax.jvp(functools.partial(_of_rows, parts[0]), given, moved)[1]
    far = _if_far(parts, log_affinity_of, other[0], pair, side_p, side_q)
    return jax.jvp(_of_rows, (*parts, far), (row_order(alpha_dot), *moved))[1]


# Renyi's divergence of order 0 <= alpha < inf, a scalar or one number a row, (..., 1).
RENYI = Statistic("renyi", _value, _tangent)
