"""Logarithms of densities and of probabilities, one declaration a family.

A declaration gets a member whose parameters have the outcomes' batch shape, and outcomes that lie
in the support, and says nothing of what lies outside it: there the density is 0.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import betaln, gammaln, multigammaln, xlog1py, xlogy

from . import _radial
from ._bernoulli import Bernoulli, Binomial
from ._continuous_bernoulli import ContinuousBernoulli
from ._counts import Geometric, Multinomial, NegativeBinomial, Poisson
from ._directional import PowerSpherical, VonMises, VonMisesFisher, _log_surface
from ._dirichlet import Beta, Dirichlet
from ._gamma import Chi2, Exponential, Gamma, InverseGamma
from ._independent import Independent
from ._inverse_gaussian import InverseGaussian
from ._location import Cauchy, Laplace, Uniform
from ._mixture import Mixture
from ._multivariate_normal import MultivariateNormal
from ._normal import LogNormal, Normal
from ._odds import minus_log_failure, odds
from ._scaled import HalfNormal, Rayleigh
from ._stirling import HALF_LOG_TAU
from ._weibull import Gumbel, Pareto, Weibull
from ._wishart import Wishart
from .base import Family

Density = Callable[[Any, Array], Array]


def _everywhere(p: Any, x: Array) -> Array:
    return jnp.ones(x.shape[: x.ndim - len(p.event_shape())], bool)


def _positive(p: Any, x: Array) -> Array:
    return x > 0


def _count(p: Any, x: Array) -> Array:
    return (x >= 0) & (x == jnp.floor(x))


def _chances(p: Any) -> tuple[Array, Array]:
    """log of the probability of a success and of a failure."""
    of = odds(p.probs, p.logits)
    back = of.flipped()
    fail = -minus_log_failure(of.log_odds, of.low)
    return -minus_log_failure(back.log_odds, back.low), fail


def _times(count: Array, log: Array) -> Array:
    """count * log, 0 for none of what is impossible."""
    return jnp.where(count == 0, 0, count * jnp.where(count == 0, 0, log))


def _choose(n: Array, k: Array) -> Array:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _normal(z: Array, scale: Array) -> Array:
    return -jnp.square(z) / 2 - jnp.log(scale) - HALF_LOG_TAU


def _gamma(a: Array, rate: Array, x: Array) -> Array:
    return a * jnp.log(rate) - gammaln(a) + xlogy(a - 1, x) - rate * x


def _multivariate_normal(p: MultivariateNormal, x: Array) -> Array:
    if p.scale_diag is None:
        return _many_normals(p, x)
    return jnp.sum(_normal((x - p.loc) / p.scale_diag, p.scale_diag), axis=-1)


def _many_normals(p: MultivariateNormal, x: Array) -> Array:
    """Of outcomes (*more, *batch, n): a factor is not repeated for each of them."""
    lower, loc = p.factor(), p.loc
    batch, n = loc.shape[:-1], loc.shape[-1]
    flat = jnp.moveaxis((x.reshape(-1, *batch, n) - loc[None]), 0, -1)
    z = lax.linalg.triangular_solve(lower, flat, left_side=True, lower=True)
    log = jnp.log(jnp.diagonal(lower, axis1=-2, axis2=-1)) + HALF_LOG_TAU
    value = jnp.sum(-jnp.square(z) / 2 - log[..., None], axis=-2)
    return jnp.moveaxis(value, -1, 0).reshape(x.shape[:-1])


def _inverse_gaussian(p: InverseGaussian, x: Array) -> Array:
    m, l = p.loc, p.concentration
    far = l * jnp.square((x - m) / m) / (2 * x)
    return (jnp.log(l) - 3 * jnp.log(x)) / 2 - HALF_LOG_TAU - far


def _weibull(p: Weibull, x: Array) -> Array:
    k = p.concentration
    y = jnp.log(x) - jnp.log(p.scale)
    return jnp.log(k) - jnp.log(p.scale) + (k - 1) * y - jnp.exp(k * y)


def _gumbel(p: Gumbel, x: Array) -> Array:
    z = (x - p.loc) / p.scale
    return -z - jnp.exp(-z) - jnp.log(p.scale)


def _bernoulli(p: Bernoulli, x: Array) -> Array:
    success, failure = _chances(p)
    return jnp.where(x == 1, success, failure)


def _binomial(p: Binomial, x: Array) -> Array:
    success, failure = _chances(p)
    rest = p.total_count - x
    return _choose(p.total_count, x) + _times(x, success) + _times(rest, failure)


def _negative_binomial(p: NegativeBinomial, x: Array) -> Array:
    success, failure = _chances(p)
    ways = gammaln(x + p.total_count) - gammaln(x + 1) - gammaln(p.total_count)
    return ways + _times(x, success) + p.total_count * failure


def _geometric(p: Geometric, x: Array) -> Array:
    success, failure = _chances(p)
    return success + _times(x, failure)


def _multinomial(p: Multinomial, x: Array) -> Array:
    logs = jnp.log(p.probs) if p.logits is None else jax.nn.log_softmax(p.logits, axis=-1)
    ways = gammaln(p.total_count + 1) - jnp.sum(gammaln(x + 1), axis=-1)
    return ways + jnp.sum(_times(x, logs), axis=-1)


def _along(p: Any, x: Array) -> Array:
    m = p.mean_direction
    return jnp.sum(m * x, axis=-1) / jnp.linalg.norm(m, axis=-1)


def _von_mises(p: VonMises, x: Array) -> Array:
    k = p.concentration
    return k * jnp.cos(x - p.loc) - _radial.log_mean(k, 2) - math.log(2 * math.pi)


def _von_mises_fisher(p: VonMisesFisher, x: Array) -> Array:
    k, n = p.concentration, x.shape[-1]
    return k * _along(p, x) - _radial.log_mean(k, n) - _log_surface(n)


def _power_spherical(p: PowerSpherical, x: Array) -> Array:
    k, h = p.concentration, (x.shape[-1] - 1) / 2
    whole = (2 * h + k) * math.log(2) + h * math.log(math.pi) + gammaln(h + k)
    return xlog1py(k, _along(p, x)) - whole + gammaln(2 * h + k)


def _wishart(p: Wishart, x: Array) -> Array:
    n, lower = x.shape[-1], jnp.tril(p.scale_tril)
    root = jnp.linalg.cholesky(x)
    inner = lax.linalg.triangular_solve(lower, root, left_side=True, lower=True)
    log_x = 2 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
    log_v = 2 * jnp.sum(jnp.log(jnp.diagonal(lower, axis1=-2, axis2=-1)), axis=-1)
    trace = jnp.sum(jnp.square(inner), axis=(-2, -1))
    whole = p.df / 2 * (n * math.log(2) + log_v) + multigammaln(p.df / 2, n)
    return (p.df - n - 1) / 2 * log_x - trace / 2 - whole


def _independent(p: Independent, x: Array) -> Array:
    axes = tuple(range(-p.reinterpreted_batch_ndims, 0))
    return jnp.sum(_log_density(p.base, x), axis=axes)


def _mixture(p: Mixture, x: Array) -> Array:
    event = len(p.event_shape())
    x = jnp.expand_dims(x, x.ndim - event)
    x = jnp.broadcast_to(x, (*p.weights.shape, *x.shape[x.ndim - event :]))
    # -inf where there is no mass in any component, without 0 * inf in the derivatives.
    parts = jnp.log(p.weights) + _log_density(p.base, x)
    top = lax.stop_gradient(jnp.max(parts, axis=-1, keepdims=True))
    some = top > -jnp.inf
    total = jnp.sum(jnp.exp(jnp.where(some, parts - jnp.where(some, top, 0), 0)), axis=-1)
    return jnp.where(some[..., 0], jnp.log(total) + top[..., 0], -jnp.inf)


_ON_THE_LINE = (_everywhere, 0.0)
_ABOVE = (_positive, 1.0)
_COUNTED = (_count, 0.0)

# For each family log density, where there is any, and an outcome to evaluate it at elsewhere.
_DENSITIES: dict[type[Family], tuple[Density, Callable[[Any, Array], Array], float]] = {
    Normal: (lambda p, x: _normal((x - p.loc) / p.scale, p.scale), *_ON_THE_LINE),
    MultivariateNormal: (_multivariate_normal, *_ON_THE_LINE),
    LogNormal: (
        lambda p, x: _normal((jnp.log(x) - p.loc) / p.scale, p.scale) - jnp.log(x), *_ABOVE
    ),
    HalfNormal: (
        lambda p, x: math.log(2) + _normal(x / p.scale, p.scale), lambda p, x: x >= 0, 1.0
    ),
    Rayleigh: (
        lambda p, x: jnp.log(x / p.scale) - jnp.log(p.scale) - jnp.square(x / p.scale) / 2, *_ABOVE
    ),
    Gamma: (lambda p, x: _gamma(p.concentration, p.rate, x), *_ABOVE),
    Exponential: (lambda p, x: jnp.log(p.rate) - p.rate * x, lambda p, x: x >= 0, 1.0),
    Chi2: (lambda p, x: _gamma(p.df / 2, jnp.full_like(p.df, 0.5), x), *_ABOVE),
    InverseGamma: (
        lambda p, x: _gamma(p.concentration, p.scale, 1 / x) - 2 * jnp.log(x), *_ABOVE
    ),
    InverseGaussian: (_inverse_gaussian, *_ABOVE),
    Weibull: (_weibull, *_ABOVE),
    Gumbel: (_gumbel, *_ON_THE_LINE),
    Pareto: (
        lambda p, x: jnp.log(p.alpha / x) - p.alpha * jnp.log(x / p.scale),
        lambda p, x: x >= p.scale,
        jnp.inf,
    ),
    Laplace: (
        lambda p, x: -jnp.abs(x - p.loc) / p.scale - jnp.log(2 * p.scale), *_ON_THE_LINE
    ),
    Cauchy: (
        lambda p, x: -jnp.log1p(jnp.square((x - p.loc) / p.scale)) - jnp.log(math.pi * p.scale),
        *_ON_THE_LINE,
    ),
    Uniform: (
        lambda p, x: -jnp.log(p.high - p.low) + 0 * x, lambda p, x: (x >= p.low) & (x <= p.high),
        0.0,
    ),
    Beta: (
        lambda p, x: xlogy(p.concentration1 - 1, x) + xlog1py(p.concentration0 - 1, -x)
        - betaln(p.concentration1, p.concentration0),
        lambda p, x: (x > 0) & (x < 1),
        0.5,
    ),
    Dirichlet: (
        lambda p, x: jnp.sum(xlogy(p.concentration - 1, x) - gammaln(p.concentration), axis=-1)
        + gammaln(jnp.sum(p.concentration, axis=-1)),
        lambda p, x: jnp.all(x > 0, axis=-1),
        0.5,
    ),
    ContinuousBernoulli: (
        lambda p, x: p._log_odds() * x - p.view().core.log_partition(p._log_odds()),
        lambda p, x: (x >= 0) & (x <= 1),
        0.5,
    ),
    Bernoulli: (_bernoulli, lambda p, x: (x == 0) | (x == 1), 0.0),
    Binomial: (_binomial, lambda p, x: _count(p, x) & (x <= p.total_count), 0.0),
    Geometric: (_geometric, *_COUNTED),
    NegativeBinomial: (_negative_binomial, *_COUNTED),
    Poisson: (lambda p, x: xlogy(x, p.rate) - p.rate - gammaln(x + 1), *_COUNTED),
    Multinomial: (
        _multinomial,
        lambda p, x: jnp.all(_count(p, x), axis=-1) & (jnp.sum(x, axis=-1) == p.total_count),
        0.0,
    ),
    VonMises: (_von_mises, *_ON_THE_LINE),
    VonMisesFisher: (_von_mises_fisher, *_ON_THE_LINE),
    PowerSpherical: (_power_spherical, *_ON_THE_LINE),
    Wishart: (_wishart, *_ON_THE_LINE),
    Independent: (_independent, *_ON_THE_LINE),
    Mixture: (_mixture, *_ON_THE_LINE),
}  # fmt: skip


def _log_density(p: Any, x: Array) -> Array:
    """Of a member and outcomes of one batch shape."""
    if type(p) not in _DENSITIES:
        raise NotImplementedError(f"the density of {type(p).__name__} distributions is not known")
    density, inside, _ = _DENSITIES[type(p)]
    if inside is _everywhere:
        return density(p, x)
    some, safe = in_support(p, x)
    return jnp.where(some, density(p, safe), -jnp.inf)


def in_support(p: Any, x: Array) -> tuple[Array, Array]:
    """Which outcomes lie in the support, and the outcomes with others in the place of the rest."""
    _, inside, elsewhere = _DENSITIES[type(p)]
    some = inside(p, x)
    own = some.reshape(some.shape + (1,) * len(p.event_shape()))
    # Infinity stands for the edge itself.
    return some, jnp.where(own, x, p.scale if elsewhere == jnp.inf else elsewhere)


def log_prob(p: Family, x: Array) -> Array:
    """log of the density, or of the probability, of outcomes `x`, (*batch, *event).

    p is checked already; x broadcasts with its batch and has its dtype. Where p has a parameter
    outside its domain, and where an outcome is NaN, it is NaN.
    """
    event = len(p.event_shape())
    batch = jnp.broadcast_shapes(x.shape[: x.ndim - event], p.batch("p"))
    x = jnp.broadcast_to(x, (*batch, *p.event_shape()))
    if isinstance(p, MultivariateNormal) and p.scale_diag is None:
        own = p.batch("p")
        value = _many_normals(p.full(batch[len(batch) - len(own) :], x.dtype), x)
    else:
        value = _log_density(p.full(batch, x.dtype), x)
    bad = jnp.any(jnp.isnan(x), axis=tuple(range(x.ndim - event, x.ndim)))
    fine = jnp.broadcast_to(p.valid(), batch) & ~bad
    return jnp.where(fine, value, jnp.nan)
