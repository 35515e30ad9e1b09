"""Moment matching: the member of an exponential family of least KL(target || member).

Its expectations of the sufficient statistics are the target's. For the families below that is
solved for; `None` where the table has no row.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _finite as finite
from .. import families
from ._targets import Outcomes

Expectation = Callable[[Callable[[Array], Array]], Array]


def _centred(e: Expectation, g: Callable[[Array], Array]) -> tuple[Array, Array]:
    mean = e(g)
    return mean, e(lambda x: jnp.square(g(x) - mean))


def _normal(e: Expectation, kind: Any) -> Any:
    mean, variance = _centred(e, jnp.log if kind is families.LogNormal else lambda x: x)
    return kind(mean, jnp.sqrt(variance))


def _gamma(e: Expectation) -> Any:
    mean = e(lambda x: x)
    # log a - digamma(a) = log E[x] - E[log x], of which Minka's start is good to 2 %; in log a.
    gap = e(lambda x: jnp.log(mean) - jnp.log(x))
    a = (3 - gap + jnp.sqrt(jnp.square(gap - 3) + 24 * gap)) / (12 * gap)
    for _ in range(6):
        miss = jnp.log(a) - jax.scipy.special.digamma(a) - gap
        slope = 1 - a * jax.scipy.special.polygamma(1, a)
        a = a * jnp.exp(-miss / slope)
    return families.Gamma(a, a / mean)


def _inverse_gaussian(e: Expectation) -> Any:
    mean = e(lambda x: x)
    return families.InverseGaussian(mean, 1 / e(lambda x: 1 / x - 1 / mean))


def _multivariate_normal(e: Expectation) -> Any:
    mean = e(lambda x: x)
    covariance = e(lambda x: (x - mean)[..., :, None] * (x - mean)[..., None, :])
    return families.MultivariateNormal(mean, scale_tril=jnp.linalg.cholesky(covariance))


def _mean(e: Expectation) -> Array:
    return e(lambda x: x)


def _root_mean_square(e: Expectation) -> Array:
    return jnp.sqrt(e(jnp.square))


_TABLE: dict[type, Callable[[Expectation, Any], Any]] = {
    families.Normal: lambda e, like: _normal(e, families.Normal),
    families.LogNormal: lambda e, like: _normal(e, families.LogNormal),
    families.Gamma: lambda e, like: _gamma(e),
    families.Exponential: lambda e, like: families.Exponential(1 / _mean(e)),
    families.HalfNormal: lambda e, like: families.HalfNormal(_root_mean_square(e)),
    families.Rayleigh: lambda e, like: families.Rayleigh(_root_mean_square(e) / jnp.sqrt(2.0)),
    families.InverseGaussian: lambda e, like: _inverse_gaussian(e),
    families.Poisson: lambda e, like: families.Poisson(_mean(e)),
    families.Bernoulli: lambda e, like: families.Bernoulli(probs=_mean(e)),
    families.Geometric: lambda e, like: families.Geometric(probs=1 / (1 + _mean(e))),
    families.Binomial: lambda e, like: families.Binomial(
        like.total_count, probs=_mean(e) / like.total_count
    ),
    families.MultivariateNormal: lambda e, like: _multivariate_normal(e),
}


def _normal_moments(target: Any) -> tuple[Array, Array] | None:
    """Mean and covariance of a multivariate normal distribution, or of a mixture of them."""
    if isinstance(target, families.MultivariateNormal):
        return target.loc, target.covariance()
    if isinstance(target, families.Mixture) and isinstance(
        target.base, families.MultivariateNormal
    ):
        w, locs = target.weights, target.base.loc
        mean = jnp.sum(w[:, None] * locs, axis=0)
        off = locs - mean[None]
        each = target.base.covariance() + off[:, :, None] * off[:, None, :]
        return mean, jnp.sum(w[:, None, None] * each, axis=0)
    return None


def matched(member: Any, target: Any, outcomes: Outcomes | None) -> Any:
    """The member that matches the target's moments; None where that has no form here."""
    kind = type(member)
    if isinstance(member, finite.Logits):
        return None if outcomes is None else finite.Logits(outcomes.log_density, None)
    diagonal = kind is families.MultivariateNormal and member.scale_tril is None
    if kind not in _TABLE or diagonal:
        return None
    if outcomes is not None:
        return _TABLE[kind](outcomes.expectation, member)
    moments = _normal_moments(target) if kind is families.MultivariateNormal else None
    if moments is None:
        return None
    return families.MultivariateNormal(moments[0], scale_tril=jnp.linalg.cholesky(moments[1]))
