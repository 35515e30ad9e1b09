"""Divergences of two samples from distances to their k-th neighbours.

The k-th of the other n - 1 points of x lies rho_i from x_i, the k-th of the m points of y nu_i.
Balls of these radii hold masses of about k/(n - 1) and k/m, so that
m nu_i^d / ((n - 1) rho_i^d) is an estimate of p(x_i)/q(x_i). For fixed k it does not converge, but
the mean of its logarithm is unbiased as the balls shrink, and that of a power after a constant.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as checks
from .._divergence import Scalar
from .._numerics import expm1, expm1_over, is_double, log1p, log1p_over, polynomial, row_sum
from . import arguments
from .neighbours import kth_apart, log_length


def mean(x: Array) -> Array:
    """Mean over the last axis."""
    return row_sum(x) / x.shape[-1]


def _log_ratios(x: Array, y: Array, k: int) -> Array:
    """Logarithms of the estimates of p/q at the points of x: (n,)."""
    return compared(kth_apart(x, None, k), kth_apart(x, y, k), len(y))


@jax.jit
def compared(own: Array, other: Array, m: int) -> Array:
    """The same from points minus their k-th neighbours in x and in y."""
    n, d = own.shape
    ratio = jnp.log(jnp.asarray(m, own.dtype) / (n - 1))
    fine = arguments.finite(own, other)
    return (d * (log_length(other) - log_length(own)) + ratio) * fine


def _prepared(x: Any, y: Any, k: Any, points: str = "x") -> tuple[Array, Array, int]:
    if points not in ("both", "x"):
        raise ValueError(f'points must be "both" or "x", but is {points!r}')
    a, b = arguments.as_samples(x, y)
    n, m = a.shape[-2], b.shape[-2]
    if points == "x":
        return a, b, arguments.check_k(k, x=n - 1, y=m)
    return a, b, arguments.check_k(k, x=n - 1, y=m - 1)


def knn_kl(x: Any, y: Any, k: int = 5, *, base: float | None = None) -> Array:
    """Estimate of KL(p || q) from points x of p and y of q, by distances to k-th neighbours.

    (d/n) sum log(nu_i / rho_i) + log(m / (n - 1)), with rho_i the distance from x_i to the k-th of
    x's other points and nu_i to the k-th of y. x is (*batch, n, d), y (*batch, m, d), or (n,) and
    (m,); batch axes broadcast, and the batch shape is returned. In nats, or with `base` in units of
    log(base). May be negative.

    Asymptotically unbiased for densities; what remains of bias grows with d and with the
    divergence, and k trades it for variance. Differentiable by x and y. Memory is that of
    `nearest_neighbours`.

    Densities have no ties. Where the k nearest of x's points coincide with it, rho_i = 0, the value
    is +inf, as KL from an atom to a density; where those of y do, nu_i = 0, it is -inf; NaN where
    both occur. Choose k above the multiplicity, add noise of the size of the rounding, as Kraskov
    et al. 2004 do, or compare counts by `kl_divergence`.

    ValueError for k above n - 1 or m, NaN or infinities (NaN where they are traced), dimensions
    that differ.

    References: Wang, Kulkarni and Verdu, Divergence Estimation for Multidimensional Densities Via
    k-Nearest-Neighbor Distances, 2009; Perez-Cruz, Kullback-Leibler Divergence Estimation of
    Continuous Distributions, 2008.
    """
    log_base = checks.check_base(base, True, "knn_kl")
    a, b, k = _prepared(x, y, k)
    return arguments.batched(lambda a, b: mean(_log_ratios(a, b, k)), a, b) / log_base


def _zeta(s: int, k: int) -> float:
    """sum over j >= k of (k/j)^s, Hurwitz's zeta function times k^s, by Euler and Maclaurin."""
    end = k + 40
    # Bernoulli numbers by factorials, and s (s+1) ... by powers of the end.
    ends = [(1 / 12, 1), (-1 / 720, 3), (1 / 30240, 5)]
    rest = [c * math.prod(range(s, s + m)) / end**m for c, m in ends]
    tail = (k / end) ** s * math.fsum([end / (s - 1), 1 / 2, *rest])
    return math.fsum([*((k / j) ** s for j in range(k, end)), tail])


# The constant B = Gamma(k)^2 / (Gamma(k - a) Gamma(k + a)) of Poczos and Schneider, a = alpha - 1,
# is the product over j >= k of 1 - (a/j)^2.
def _log_constant_over(k: int, a: Array) -> Array:
    """log(B) / a, 0 at a = 0."""
    near = jnp.abs(a) <= k / 2
    small, far = jnp.where(near, a, 0), jnp.where(near, 0.75 * k, a)
    series = [-_zeta(2 * n, k) / n for n in range(1, 28 if is_double(a) else 14)]
    lgamma = jax.lax.lgamma
    whole = 2 * math.lgamma(k) - lgamma(k - far) - lgamma(k + far)
    return jnp.where(near, small / k**2 * polynomial((small / k) ** 2, series), whole / far)


def _log_mean_power_over(t: Array, a: Array) -> Array:
    """log(mean(exp(a t))) / a, the mean of t at a = 0."""
    centre = mean(t)
    rest = t - centre
    # By cumulants where |a rest| is small, as the quotient is 0/0 at a = 0.
    size = jnp.max(jnp.abs(jnp.where(jnp.isfinite(rest), rest, 0)))
    near = (jnp.abs(a) * size < 1e-3) & jnp.all(jnp.isfinite(rest))
    inner = jnp.where(near, rest, 0)
    square = mean(inner**2)
    cumulants = a * (
        square / 2 + a * (mean(inner**3) / 6 + a * (mean(inner**4) - 3 * square**2) / 24)
    )
    far = jnp.where(near, 1, a)
    shift = jax.lax.stop_gradient(jnp.max(jnp.where(near, 0, far * t)))
    shift = jnp.where(jnp.isfinite(shift), shift, 0)
    # A mean that is multiplied by 1/n rounded may be below -1.
    lost = jnp.maximum(mean(expm1(jnp.where(near, 0, far * t) - shift)), -1)
    whole = (shift + log1p(lost)) / far
    return jnp.where(near, centre + cumulants, whole)


def _checked_order(alpha: Scalar, k: int, low: float, accepted: str, dtype: Any) -> Array:
    checks.check_scalar("alpha", alpha, accepted, lambda a: low < a < k + 1)
    a = jnp.asarray(alpha, dtype)
    return jnp.where((a > low) & (a < k + 1) & (a != 0), a, jnp.nan)


def knn_renyi(
    x: Any, y: Any, alpha: Scalar, k: int = 5, *, base: float | None = None, points: str = "both"
) -> Array:
    """Estimate of Renyi's divergence of order alpha, 0 < alpha < k + 1, from points of p and q.

    log(S) / (alpha - 1) with S an estimate of the integral of p^alpha q^(1-alpha). From the points
    of x it is S_x = (B/n) sum r_i^(alpha - 1), r_i = m nu_i^d / ((n - 1) rho_i^d) and
    B = Gamma(k)^2 / (Gamma(k - alpha + 1) Gamma(k + alpha - 1)), asymptotically unbiased; from
    those of y it is S_y, the same of the order 1 - alpha with x and y exchanged. Where tails
    matter their biases are large and of opposite signs. With points="both", S is the mean of the
    two in inverse proportion to the squares of their relative standard errors (of terms taken as
    independent); with "x", or where alpha >= k, S_x alone, as in the reference. At alpha = 1 it is
    `knn_kl`, smoothly. Differentiable by x, y and alpha.

    Shapes, ties (a tie in x makes r_i infinite, one in y makes it 0; where there is one, S_x
    counts alone) and errors are those of `knn_kl`; "both" needs k + 1 points of y too. For alpha
    far from 1, few terms carry the sum, and the variance grows. Of 4000 points of normal
    distributions in two dimensions with k = 2 and alpha = 1/2 the mean of "both" is 0.160, of "x"
    0.172, for 0.161 (`python -m bench samples`).

    Reference: Poczos and Schneider, On the Estimation of alpha-Divergences, 2011.
    """
    log_base = checks.check_base(base, True, "knn_renyi")
    a, b, k = _prepared(x, y, k, points)
    order = _checked_order(alpha, k, 0, f"0 < alpha < k + 1 = {k + 1}", a.dtype)

    def one(x: Array, y: Array) -> Array:
        t = _log_ratios(x, y, k)
        return renyi(t, _log_ratios(y, x, k) if points == "both" else None, order, k)

    return arguments.batched(one, a, b) / log_base


def knn_alpha(x: Any, y: Any, alpha: Scalar, k: int = 5, *, points: str = "both") -> Array:
    """Estimate of the alpha-divergence (S - 1) / (alpha (alpha - 1)), |alpha - 1| < k.

    S is the estimate of the integral of p^alpha q^(1-alpha) that `knn_renyi` takes the logarithm
    of. At alpha = 1 it is `knn_kl`, smoothly. alpha = 1/2 gives 4 times the squared Hellinger
    distance, 2 half of Pearson's chi-squared divergence, and Tsallis' relative entropy is alpha
    times it. At alpha = 0 it is NaN: exchange x and y for KL(q || p), alpha = 1.

    Shapes, `points`, ties and errors are those of `knn_renyi`.

    Reference: Poczos and Schneider, On the Estimation of alpha-Divergences, 2011.
    """
    a, b, k = _prepared(x, y, k, points)
    accepted = f"1 - k < alpha < k + 1, not 0, for k = {k}"
    checks.check_scalar("alpha", alpha, accepted, lambda v: v != 0)
    order = _checked_order(alpha, k, 1 - k, accepted, a.dtype)

    def one(x: Array, y: Array) -> Array:
        t = _log_ratios(x, y, k)
        return _alpha(t, _log_ratios(y, x, k) if points == "both" else None, order, k)

    return arguments.batched(one, a, b)


@functools.partial(jax.jit, static_argnums=2)
def _log_power(t: Array, order: Array, k: int) -> Array:
    """log(S) / order, S from powers of the ratios."""
    return _log_mean_power_over(t, order) + _log_constant_over(k, order)


def _power_over(u: Array, order: Array) -> Array:
    """(S - 1) / order of u = log(S) / order."""
    fine = jnp.isfinite(u)
    tied = expm1(order * u) / jnp.where(fine, 1, order)
    return jnp.where(fine, u * expm1_over(order * u), tied)


def _spread(t: Array, order: Array) -> Array:
    """The squared relative standard error of S, by the order's square."""
    rest = t - _log_mean_power_over(t, order)
    return mean((rest * expm1_over(order * rest)) ** 2) / t.shape[-1]


class _Both(NamedTuple):
    """Estimates from the points of either sample, and what their weights count."""

    fine: Array  # whether both count
    alone: Array  # log(S_x) / (alpha - 1)
    other: Array  # log(S_y) / -alpha
    by_x: Array  # squared relative standard errors, by the squares of alpha - 1 and of alpha
    by_y: Array

    def whole(self, alpha: Array) -> Array:
        """The squared standard errors together, 1 where only one sample counts."""
        found = (1 - alpha) ** 2 * self.by_x + alpha**2 * self.by_y
        return jnp.where(self.fine & (found > 0), found, 1)


def _both(t: Array, s: Array, alpha: Array, k: int) -> _Both:
    alone = _log_power(t, alpha - 1, k)
    finite = jnp.all(jnp.isfinite(t)) & jnp.all(jnp.isfinite(s)) & (alpha < k)
    t, s = jnp.where(finite, t, 0), jnp.where(finite, s, 0)
    inside = jnp.where(finite, alpha, 0.5)
    by_x, by_y = _spread(t, inside - 1), _spread(s, -inside)
    fine = finite & jnp.isfinite(by_x) & jnp.isfinite(by_y) & ((by_x > 0) | (by_y > 0))
    other = _log_power(s, -inside, k)
    return _Both(fine, alone, other, *(jnp.where(fine, x, 0) for x in (by_x, by_y)))


@functools.partial(jax.jit, static_argnums=3)
def _alpha(t: Array, s: Array | None, alpha: Array, k: int) -> Array:
    """The alpha-divergence from the logarithms of p/q at x and, unless None, of q/p at y."""
    if s is None:
        return _power_over(_log_power(t, alpha - 1, k), alpha - 1) / alpha
    both = _both(t, s, alpha, k)
    from_x = _power_over(both.alone, alpha - 1)
    from_y = _power_over(both.other, -alpha)
    # Smooth in alpha, as either weight holds the square of what its estimate is divided by.
    mixed = alpha * both.by_y * jnp.where(both.fine, from_x, 0)
    mixed = mixed + (1 - alpha) * both.by_x * from_y
    return jnp.where(both.fine, mixed / both.whole(alpha), from_x / alpha)


@functools.partial(jax.jit, static_argnums=3)
def renyi(t: Array, s: Array | None, alpha: Array, k: int) -> Array:
    """Renyi's divergence from log p/q at the points of x and, if any, log q/p at those of y."""
    if s is None:
        return _log_power(t, alpha - 1, k)
    both = _both(t, s, alpha, k)
    divergence = jnp.where(both.fine, _alpha(t, s, alpha, k), 0)
    excess = alpha * (alpha - 1) * divergence
    near = jnp.abs(excess) <= 0.5
    value = alpha * divergence * log1p_over(jnp.where(near, excess, 0))
    # Far from p = q: the logarithm of the weighted mean of S_x and S_y.
    away = both.fine & ~near
    inside = jnp.where(away, alpha, 0.5)
    whole = both.whole(inside)
    logs = [
        jnp.log(jnp.where(away, inside**2 * both.by_y / whole, 1))
        + (inside - 1) * jnp.where(away, both.alone, 0),
        jnp.log(jnp.where(away, (1 - inside) ** 2 * both.by_x / whole, 1))
        - inside * jnp.where(away, both.other, 0),
    ]
    far = jnp.logaddexp(*logs) / (inside - 1)
    return jnp.where(both.fine, jnp.where(near, value, far), both.alone)
