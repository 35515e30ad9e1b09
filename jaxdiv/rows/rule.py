"""The statistics and the one derivative rule: a tangent is ordinary JAX code.

A tangent written with the declared derivatives, whose parts are themselves differentiable, serves
forward, reverse and every nesting of the two.
"""

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._divergence import Edge, Separable
from .pair import Pair, Side, log_tangent, pair_of
from .statistic import Statistic


def entries(
    divergence: Separable, pair: Pair, some_p: Array, some_q: Array, inside: Array | None = None
) -> Array:
    """The summand of every outcome, boundaries included; `inside` them as it is given."""
    if inside is None:
        inside = divergence.term(pair)
    p_zero, q_zero = divergence.at_p_zero(pair).value, divergence.at_q_zero(pair).value
    beyond = jnp.where(some_p, q_zero, jnp.where(some_q, p_zero, 0))
    return jnp.where(some_p & some_q, inside, beyond)


def invalid(side_p: Side, side_q: Side) -> Array:
    """Rows in which either side has no meaning: their value and derivatives are NaN."""
    return side_p.invalid() | side_q.invalid()


def outside(divergence: Separable) -> Array:
    """Whether a parameter, a scalar or one number a row (..., 1), is outside its domain."""
    inside = jnp.asarray(divergence.valid())
    return ~(inside[..., 0] if inside.ndim else inside)


def _sum(divergence: Separable, side_p: Side, side_q: Side) -> Array:
    return sum_of(divergence, pair_of(side_p, side_q), side_p, side_q)


def sum_of(divergence: Separable, pair: Pair, side_p: Side, side_q: Side) -> Array:
    """The sum of a summand over each row, of the pair of two sides."""
    total = num.row_sum(entries(divergence, pair, side_p.support(), side_q.support()))
    bad = invalid(side_p, side_q) | outside(divergence)
    return jnp.where(bad, jnp.nan, total)


def _sum_tangent(primals, tangents, _) -> Array:
    return sum_tangent_of(pair_of(*primals[1:]), primals, tangents)


def sum_tangent_of(pair: Pair, primals, tangents) -> Array:
    """Its derivative in a direction."""
    divergence, side_p, side_q = primals
    by_parameters, dot_p, dot_q = tangents
    some_p, some_q = side_p.support(), side_q.support()
    bad = (invalid(side_p, side_q) | outside(divergence))[..., None]
    total = jnp.zeros(bad.shape[:-1], pair.p.dtype)
    if dot_p is not None or dot_q is not None:
        by_p, by_q = partials(divergence, pair, side_p, side_q, some_p, some_q)
        mass = jnp.maximum(pair.raw_p, pair.raw_q)
        for side, dot, partial, raw in (
            (side_p, dot_p, by_p, pair.raw_p),
            (side_q, dot_q, by_q, pair.raw_q),
        ):
            if dot is not None:
                weight = jnp.ones_like(mass) if side.linear else mass
                total = total + contract(jnp.where(bad, jnp.nan, partial), side, dot, raw, weight)
    if by_parameters is not None:
        _, along_parameters = jax.jvp(
            lambda d: num.row_sum(entries(d, pair, some_p, some_q)),
            (divergence,),
            (by_parameters,),
        )
        total = total + jnp.where(bad[..., 0], jnp.nan, 1) * along_parameters
    return total


def contract(coefficient: Array, side: Side, dot: Side, mass: Array, weight: Array) -> Array:
    """The row sum of coefficient times the tangent in the side's chart, infinities included.

    An infinite coefficient would make NaN of a zero tangent and, in reverse mode, of the centring
    of logits; it acts as two finite factors, (t 2^100) 2^100, one on either side of the sum. Among
    several in a row they act in proportion to `weight`. Logits are centred, so that nothing else in
    such a row counts; numbers and their logarithms keep their finite derivatives.
    """
    infinite = jnp.isinf(coefficient)
    signed = jnp.where(infinite, jnp.sign(coefficient) * weight, 0)
    some = jnp.any(infinite, axis=-1)
    big = 2.0 ** (1000 if num.is_double(signed) else 100)
    if side.chart != "logits":
        finite = num.row_sum(jnp.where(infinite, 0, coefficient) * dot.values)
        # Chosen per row, so that rows without infinities add an exact zero.
        factor = jnp.where(some, big, 0).astype(finite.dtype)
        return finite + num.row_sum(signed * (dot.values * factor[..., None])) * factor
    factor = jnp.where(some, big, 1).astype(signed.dtype)
    scaled = jax.tree.map(lambda t: t * factor[..., None], dot)
    acting = jnp.where(some[..., None], signed, coefficient)
    return num.row_sum(acting * log_tangent(side, scaled, mass)) * factor


def _keep(derivative: Array, value: Array) -> Array:
    """The one-sided limit if it is finite or the value is infinite, else 0."""
    return jnp.where(jnp.isinf(derivative) & jnp.isfinite(value), 0, derivative)


def partials(
    divergence: Separable, pair: Pair, side_p: Side, side_q: Side, some_p: Array, some_q: Array
) -> tuple[Array, Array]:
    """Derivatives with respect to each side in its own chart, boundaries included."""
    both_linear = side_p.linear and side_q.linear
    inner = pair.scaled() if divergence.homogeneous and both_linear else pair
    by_p, by_q = divergence.weighted(inner)
    if side_p.linear:
        by_p = by_p / inner.p
    if side_q.linear:
        by_q = by_q / inner.q
    p_zero, q_zero = divergence.at_p_zero(pair), divergence.at_q_zero(pair)
    zero_p, other_q = _edge(p_zero, side_p.linear, side_q.linear)
    zero_q, other_p = _edge(q_zero, side_q.linear, side_p.linear)
    both = some_p & some_q
    outside_p = jnp.where(some_p, other_p, jnp.where(some_q, zero_p, 0))
    outside_q = jnp.where(some_p, zero_q, jnp.where(some_q, other_q, 0))
    return jnp.where(both, by_p, outside_p), jnp.where(both, by_q, outside_q)


def _edge(edge: Edge, zero_linear: bool, other_linear: bool) -> tuple[Array, Array]:
    zero = edge.derivative if zero_linear else edge.log_derivative
    other = edge.other_derivative if other_linear else edge.other_log_derivative
    return _keep(zero, edge.value), _keep(other, edge.value)


def _log_affinity(alpha: Array, side_p: Side, side_q: Side) -> Array:
    return log_affinity_of(alpha, pair_of(side_p, side_q), side_p, side_q)


def log_affinity_of(alpha: Array, pair: Pair, side_p: Side, side_q: Side) -> Array:
    """The log-affinity of each row, of the pair of two sides."""
    _, top, total = affinity_parts(alpha, pair, side_p, side_q)
    finite = jnp.abs(top) < jnp.inf
    value = jnp.where(finite, top + jnp.log(jnp.where(finite, total, 1)), top)
    return jnp.where(invalid(side_p, side_q), jnp.nan, value)


def affinity_parts(
    alpha: Array, pair: Pair, side_p: Side, side_q: Side
) -> tuple[Array, Array, Array]:
    """exp(y - max y) where max y is finite, the maximum, the sum; y = log(p^alpha q^(1-alpha))."""
    some_p, some_q = side_p.support(), side_q.support()
    high, low = pair.log_affinity(alpha)
    q_zero = jnp.where(alpha > 1, jnp.inf, -jnp.inf).astype(high.dtype)
    high = jnp.where(some_p & some_q, high, jnp.where(some_p, q_zero, -jnp.inf))
    top = jax.lax.stop_gradient(jnp.max(high, axis=-1))
    shift = jnp.where(jnp.abs(top) < jnp.inf, top, 0)[..., None]
    scaled = num.exp_pair(jnp.where(high < jnp.inf, high - shift, 0), low)
    return scaled, top, num.row_sum(scaled)


def _log_affinity_tangent(primals, tangents, _) -> Array:
    return log_affinity_tangent_of(pair_of(*primals[1:]), primals, tangents)


def log_affinity_tangent_of(pair: Pair, primals, tangents) -> Array:
    """Its derivative in a direction."""
    alpha, side_p, side_q = primals
    alpha_dot, dot_p, dot_q = tangents
    some_p, some_q = side_p.support(), side_q.support()
    scaled, top, sum_scaled = affinity_parts(alpha, pair, side_p, side_q)
    finite = (jnp.abs(top) < jnp.inf)[..., None]
    share = jnp.where(finite, scaled / jnp.where(finite, sum_scaled[..., None], 1), 0)
    # Where the sum is 0 or infinite its logarithm's derivative is infinite in the entries that
    # would end that, and 0 elsewhere.
    p_alone, q_alone = some_p & ~some_q, some_q & ~some_p
    empty, endless = (top == -jnp.inf)[..., None], (top == jnp.inf)[..., None]
    # An infinite sum is that of the entries where q alone is 0, in proportion to p^alpha.
    log_share = jnp.where(p_alone, alpha * pair.log_p, -jnp.inf)
    peak = jnp.max(log_share, axis=-1, keepdims=True)
    steep = jnp.where(endless & p_alone, jnp.exp(log_share - jnp.where(endless, peak, 0)), 0)
    total_steep = num.row_sum(steep)[..., None]
    share = jnp.where(endless, steep / jnp.where(total_steep > 0, total_steep, 1), share)
    total = jnp.zeros_like(top)
    for side, dot, power, mass, alone in (
        (side_p, dot_p, alpha, pair.raw_p, q_alone),
        (side_q, dot_q, 1 - alpha, pair.raw_q, p_alone),
    ):
        if dot is None:
            continue
        partial = power * share
        if side.linear:
            partial = partial / jnp.where(side.support(), side.values, 1)
            partial = jnp.where(empty & alone & (power > 0), jnp.inf, partial)
            partial = jnp.where(endless & alone & (power < 0), -jnp.inf, partial)
        weight = jnp.ones_like(mass) if side.linear else pair.raw_p
        bad = invalid(side_p, side_q)[..., None]
        total = total + contract(jnp.where(bad, jnp.nan, partial), side, dot, mass, weight)
    if alpha_dot is not None:
        total = total + num.row_sum(share * pair.log_ratio * alpha_dot)
    return total


# The sum of a summand over each row.
SUM = Statistic("sum", _sum, _sum_tangent)
# log sum p^alpha q^(1 - alpha) of each row, by a log-sum-exp that cannot overflow. For alpha >= 0,
# with 0^0 = 0: at alpha = 0 it is the log of q's mass on p's support, at 1 of p's mass on q's.
LOG_AFFINITY = Statistic("log_affinity", _log_affinity, _log_affinity_tangent)
