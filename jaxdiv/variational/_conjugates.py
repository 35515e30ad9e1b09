"""Convex conjugates of generators, f*(t) = sup over u >= 0 of t u - f(u).

Of the generators of the catalogue, f(1) = f'(1) = 0, so that f*(0) = 0 and f*'(0) = 1. It is finite
for t below the slope lim f(u)/u, constant, -f(0), below f'(0), and its derivative is the u at which
f'(u) = t. Where that has no closed form it is solved for in log u.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _checks as checks
from .. import _numerics as num
from .._divergence import Divergence, Homogeneous, Limit, Reverse, Separable, Symmetrised
from .._f_divergences import (
    KL,
    Alpha,
    Chi2,
    JensenShannon,
    LeCam,
    SquaredHellinger,
    TotalVariation,
)
from ..rows.pair import Pair, Side, pair_of

Function = Callable[[Array], Array]


def check_f_divergence(divergence: Divergence) -> Separable:
    """Raise TypeError for what is no f-divergence."""
    if not isinstance(divergence, Separable) or not divergence.homogeneous:
        kind = type(divergence).__name__
        raise TypeError(
            "divergence must be an f-divergence, sum q f(p/q), which alone has a convex conjugate; "
            f"but is {kind if isinstance(divergence, Divergence) else repr(divergence)}"
        )
    divergence.check()
    return divergence


def limits(divergence: Separable) -> tuple[Array, Array, Array]:
    """f(0), f'(0) and the slope lim f(u)/u, of a generator."""
    near, far = _both_limits(divergence)
    return jnp.asarray(near.value), jnp.asarray(near.derivative), jnp.asarray(far.value)


def _both_limits(divergence: Separable) -> tuple[Limit, Limit]:
    match divergence:
        case Homogeneous():
            return divergence.limits()
        case Reverse(inner):
            near, far = _both_limits(inner)
            return far, near
        case Symmetrised(inner):
            near, far = _both_limits(inner)
            both = Limit(*(jnp.asarray(a) + jnp.asarray(b) for a, b in zip(near, far, strict=True)))
            return both, both
    raise TypeError(f"{type(divergence).__name__} has no generator here")


def conjugate_domain(divergence: Divergence) -> tuple[Array, Array]:
    """Where f*(t) is finite and grows: from f'(0) to the slope of f at infinity.

    Below the first number f* is constant, above the second it is +inf. A critic whose values lie
    between them loses nothing: the optimal one, f'(p/q), does.
    """
    found = check_f_divergence(divergence)
    _, first, slope = limits(found)
    return first, slope


def conjugate(divergence: Divergence) -> Function:
    """The convex conjugate f* of an f-divergence's generator, as a function of arrays.

    In closed form for KL, Jensen-Shannon, total variation, squared Hellinger, chi-squared, Le Cam
    and alpha-divergences and the reverse of KL and chi-squared; else by bisection of f'(u) = t and
    a step of Newton's, through which derivatives go, also those by parameters. +inf above its
    domain, NaN at NaN. Low precision is computed in float32.

    TypeError for what is no f-divergence.

    Reference: Nowozin, Cseke and Tomioka, f-GAN, arXiv 1606.00709, whose generators differ by
    c (u - 1): f*(t) here is theirs at t + c, plus c.
    """
    found = check_f_divergence(divergence)

    def function(t: Any) -> Array:
        t = checks.as_parameter("t", t)
        t = t.astype(jnp.float64 if t.dtype == jnp.float64 else jnp.float32)
        own = jax.tree.map(lambda x: jnp.asarray(x, t.dtype), found)
        closed = _closed(own)
        floor, first, slope = (x.astype(t.dtype) for x in limits(own))
        below, above = (t < first) | (t == -jnp.inf), t > slope
        # At the slope itself f* is the limit, +inf where f* grows without one.
        edge = t == slope
        inner = jnp.where(below | above | edge, 0, t)
        value = _solved(own, inner) if closed is None else closed(inner)
        end = _end(own) if closed is None else _at(closed, slope)
        value = jnp.where(edge, end, value)
        value = jnp.where(below, -floor, jnp.where(above, jnp.inf, value))
        return jnp.where(jnp.isnan(t), jnp.nan, value)

    return function


def _at(closed: Function, slope: Array) -> Array:
    """The closed form at the end of its domain: finite for some, else +inf."""
    value = closed(jnp.where(jnp.isfinite(slope), slope, 0))
    return jnp.where(jnp.isfinite(slope) & jnp.isfinite(value), value, jnp.inf)


def _end(divergence: Separable) -> Array:
    """lim u f'(u) - f(u): the reversed generator g(u) = u f(1/u) has f - u f' -> g'(0)."""
    return -jnp.asarray(_both_limits(divergence)[1].derivative)


def _closed(divergence: Separable) -> Function | None:
    match divergence:
        case KL():
            return num.expm1
        case Reverse(KL()):
            return lambda t: -num.log1p(-t)
        case JensenShannon(weight):
            # (1-w) log((1-w) / (1 - w e^(t/w))), in which 1 - w e^(t/w) = (1-w) - w (e^(t/w) - 1).
            w = weight
            return lambda t: -(1 - w) * num.log1p(-(w / (1 - w)) * num.expm1(t / w))
        case TotalVariation():
            return lambda t: t
        case SquaredHellinger():
            return lambda t: t / (1 - 2 * t)
        case Chi2():
            return lambda t: t + t * t / 4
        case Reverse(Chi2()):
            # 2 - 2 sqrt(1 - t)
            return lambda t: 2 * t / (1 + num.safe_sqrt(1 - t))
        case LeCam():
            # 4 - t - 4 sqrt(1 - t)
            return lambda t: 4 * t / (1 + num.safe_sqrt(1 - t)) - t
        case Alpha(alpha):
            return lambda t: _of_alpha(jnp.asarray(alpha, t.dtype), t)
    return None


def _of_alpha(alpha: Array, t: Array) -> Array:
    """((1 + (alpha-1) t)^(alpha/(alpha-1)) - 1) / alpha, with its limits at alpha = 0 and 1."""
    x = (alpha - 1) * t
    edge = x <= -1
    log = t * num.log1p_over(jnp.where(edge, 0, x))
    # At the edge, the lower one for alpha > 1, the power is 0, or infinite for 0 <= alpha < 1.
    none = (alpha >= 0) & (alpha < 1)
    end = jnp.where(none, jnp.inf, -1 / jnp.where(none, 1, alpha))
    return jnp.where(edge, end, log * num.expm1_over(alpha * log))


# --- by a solve ------------------------------------------------------------------------------


def _pair(log_ratio: Array) -> Pair:
    """The pair p = e^l, q = 1 of each entry."""
    zero = jnp.zeros_like(log_ratio)
    return pair_of(Side(log_ratio, chart="log"), Side(zero, chart="log"))


def slope_at(divergence: Separable, log_ratio: Array) -> Array:
    """f'(e^l), accurate near l = 0: the derivative by log p over p, of the one that is larger."""
    pair = _pair(log_ratio)
    return divergence.weighted(pair)[0] / pair.p


def _solved(divergence: Separable, t: Array) -> Array:
    reach = 700.0 if num.is_double(t) else 80.0
    fixed = lax.stop_gradient(divergence)

    def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        up = slope_at(fixed, middle) < lax.stop_gradient(t)
        return jnp.where(up, middle, low), jnp.where(up, high, middle)

    ends = jnp.full_like(t, -reach), jnp.full_like(t, reach)
    low, high = lax.fori_loop(0, 64 if num.is_double(t) else 34, halve, ends)
    start = (low + high) / 2
    _, bend = jax.jvp(lambda l: slope_at(fixed, l), (start,), (jnp.ones_like(start),))
    rises = (bend > 0) & jnp.isfinite(bend)
    miss = t - slope_at(divergence, start)
    step = jnp.where(rises, miss / jnp.where(rises, bend, 1), 0)
    # A long step is that of a flat place; the derivative is right for any length.
    length = lax.stop_gradient(step)
    l = start + step - length + jnp.clip(length, -0.1, 0.1)
    pair = _pair(l)
    # t u - f(u) at f'(u) = t is u f'(u) - f(u) = -q d_q, which does not cancel; (t - f'(u)) u is 0
    # but for what the solve left, and carries the derivative by t.
    by_p, by_q = divergence.weighted(pair)
    return -by_q + (t * pair.p - by_p)


# --- critics ---------------------------------------------------------------------------------


def optimal_critic(divergence: Divergence) -> Function:
    """The critic f'(p/q) that makes `variational_bound` an equality, as a function of log(p/q)."""
    found = check_f_divergence(divergence)

    def function(log_ratio: Any) -> Array:
        l = checks.as_parameter("log_ratio", log_ratio)
        l = l.astype(jnp.float64 if l.dtype == jnp.float64 else jnp.float32)
        own = jax.tree.map(lambda x: jnp.asarray(x, l.dtype), found)
        _, first, slope = (x.astype(l.dtype) for x in limits(own))
        value = slope_at(own, jnp.where(jnp.isfinite(l), l, 0))
        return jnp.where(l == jnp.inf, slope, jnp.where(l == -jnp.inf, first, value))

    return function


def output_activation(divergence: Divergence) -> Function:
    """A map from the reals into the domain of f*, for the last layer of a critic.

    Those of the table of f-GAN, moved to generators with f(1) = f'(1) = 0, so that 0 is mapped to 0
    or, for total variation, to tanh(v)/2: v for KL, Jeffreys, chi-squared and alpha > 1;
    1 - e^-v for reverse KL and Neyman's chi-squared, half of that for squared Hellinger; for all
    others f'(e^v), of Jensen and Shannon the table's. With f'(e^v) the best critic is
    v = log(p/q), whatever the divergence.

    TypeError for what is no f-divergence.

    Reference: Nowozin, Cseke and Tomioka, f-GAN, arXiv 1606.00709, table 6.
    """
    found = check_f_divergence(divergence)
    match found:
        case KL() | Chi2() | Symmetrised(KL()):
            return lambda v: v
        case Reverse(KL()) | Reverse(Chi2()):
            return lambda v: -jnp.expm1(-v)
        case SquaredHellinger():
            return lambda v: -jnp.expm1(-v) / 2
        case TotalVariation():
            return lambda v: jnp.tanh(v) / 2
        case Alpha(alpha) if checks.concrete(alpha) and float(alpha) > 1:
            return lambda v: v
        case JensenShannon(weight):
            # w (v - log(w e^v + 1 - w))
            return lambda v: weight * (v - _log_mixture(v, weight))
    return optimal_critic(found)


def _log_mixture(v: Array, weight: Any) -> Array:
    """log(w e^v + 1 - w)."""
    log_w = math.log(weight) if checks.concrete(weight) else jnp.log(weight)
    log_rest = math.log1p(-weight) if checks.concrete(weight) else jnp.log1p(-weight)
    return jnp.logaddexp(v + log_w, jnp.full_like(v, log_rest))
