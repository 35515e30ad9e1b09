"""Bounds from scores: what a critic makes of draws from p, and of draws from q.

`scores_p` are (..., n) and `scores_q` (..., m): a critic's values at draws from p and from q, which
are averaged over their last axes. Each expectation over draws is replaced by a mean; what that does
to a bound is said of each. All are differentiable, to be maximised by the critic's parameters.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as checks
from .._divergence import Divergence
from ._conjugates import check_f_divergence, conjugate


def _scores(scores_p: Any, scores_q: Any) -> tuple[Array, Array]:
    arrays = {"scores_p": scores_p, "scores_q": scores_q}
    found = []
    for name, value in arrays.items():
        x = checks.as_parameter(name, value)
        if x.ndim == 0 or x.shape[-1] == 0:
            raise ValueError(
                f"{name} must be a critic's values at one draw or more along the last axis, but "
                f"have shape {x.shape}"
            )
        found.append(x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32))
    p, q = found
    if p.shape[:-1] != q.shape[:-1]:
        raise ValueError(
            "scores_p and scores_q must have equal axes before the last one, but have shapes "
            f"{p.shape} and {q.shape}"
        )
    dtype = jnp.promote_types(p.dtype, q.dtype)
    return p.astype(dtype), q.astype(dtype)


def _log_mean_exp(x: Array) -> Array:
    return jax.nn.logsumexp(x, axis=-1) - math.log(x.shape[-1])


def variational_bound(divergence: Divergence, scores_p: Any, scores_q: Any) -> Array:
    """The f-GAN bound E_p[T] - E_q[f*(T)] <= D(p || q), an equality for T = f'(p/q).

    Unbiased: its expectation over draws is the bound for every n and m. The scores must lie in the
    domain of f* (`output_activation` maps the reals into it): above it the bound is -inf.

    Args:
        divergence: An f-divergence of the catalogue, or `FDivergence` of one's own.
        scores_p: The critic's values T(x) at draws from p, (..., n).
        scores_q: Those at draws from q, (..., m), with equal axes before the last.

    Returns:
        The bound, (...), in nats for logarithmic divergences.

    TypeError for what is no f-divergence, ValueError for shapes that do not fit.

    Reference: Nguyen, Wainwright and Jordan 2010; Nowozin, Cseke and Tomioka, arXiv 1606.00709.
    """
    check_f_divergence(divergence)
    p, q = _scores(scores_p, scores_q)
    return jnp.mean(p, axis=-1) - jnp.mean(conjugate(divergence)(q), axis=-1)


def donsker_varadhan_bound(scores_p: Any, scores_q: Any) -> Array:
    """E_p[T] - log E_q[e^T] <= KL(p || q), an equality for T = log(p/q) + c.

    Tighter than `nwj_bound` for every critic, but its estimate is biased upwards, log being
    concave: with few draws from q it may exceed KL by far, and it is no bound then. Scores as of
    `variational_bound`, any reals.

    Reference: Donsker and Varadhan 1983; Belghazi et al., MINE, arXiv 1801.04062.
    """
    p, q = _scores(scores_p, scores_q)
    return jnp.mean(p, axis=-1) - _log_mean_exp(q)


def nwj_bound(scores_p: Any, scores_q: Any) -> Array:
    """E_p[T] - E_q[e^(T-1)] <= KL(p || q), an equality for T = 1 + log(p/q).

    Unbiased, with a variance that grows like e^KL. It is `variational_bound(KL(), ...)` of T - 1.
    Scores as of `variational_bound`, any reals.

    Reference: Nguyen, Wainwright and Jordan 2010.
    """
    p, q = _scores(scores_p, scores_q)
    return jnp.mean(p, axis=-1) - jnp.mean(jnp.exp(q - 1), axis=-1)


def js_bound(scores_p: Any, scores_q: Any) -> Array:
    """log 2 + (E_p[log s(T)] + E_q[log s(-T)]) / 2 <= JS(p, q), s the logistic function.

    The value of a discriminator's cross-entropy: unbiased, an equality for T = log(p/q), of small
    variance. It bounds Jensen and Shannon's divergence, not KL or mutual information. Scores as of
    `variational_bound`, any reals.

    Reference: Goodfellow et al. 2014; Hjelm et al., Deep InfoMax, arXiv 1808.06670.
    """
    p, q = _scores(scores_p, scores_q)
    both = jnp.mean(jax.nn.softplus(-p), axis=-1) + jnp.mean(jax.nn.softplus(q), axis=-1)
    return math.log(2) - both / 2


def info_nce_bound(scores: Any) -> Array:
    """mean_i [T(x_i, y_i) - log mean_j e^T(x_i, y_j)] <= I(X; Y), from n pairs.

    A bound in expectation for every critic and n, of small variance, but at most log n: where the
    mutual information is larger its bias is at least the difference. The best critic is
    log p(x, y) / (p(x) p(y)) + c(x).

    Args:
        scores: T(x_i, y_j), (..., n, n), of pairs (x_i, y_i) drawn jointly, n >= 2.

    ValueError for scores that are not square.

    Reference: van den Oord, Li and Vinyals, arXiv 1807.03748; Poole et al., arXiv 1905.06922.
    """
    x = checks.as_parameter("scores", scores)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] < 2:
        raise ValueError(
            "scores must be those of all n x n pairs in the last two axes, n >= 2, but have shape "
            f"{x.shape}"
        )
    x = x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    return jnp.mean(jnp.diagonal(x, axis1=-2, axis2=-1) - _log_mean_exp(x), axis=-1)


def smile_estimate(scores_p: Any, scores_q: Any, clip: float = 5.0) -> Array:
    """E_p[T] - log E_q[min(max(e^T, e^-clip), e^clip)], an estimate of KL(p || q).

    No bound: clipping trades the variance of `donsker_varadhan_bound`, which it becomes as clip
    grows, for a bias of either sign. The critic is usually trained by `js_bound`. Scores as of
    `variational_bound`, any reals; ValueError for a clip that is not positive.

    Reference: Song and Ermon, arXiv 1910.06222.
    """
    checks.check_scalar("clip", clip, "positive", lambda c: c > 0)
    p, q = _scores(scores_p, scores_q)
    limit = jnp.asarray(clip, q.dtype)
    return jnp.mean(p, axis=-1) - _log_mean_exp(jnp.clip(q, -limit, limit))
