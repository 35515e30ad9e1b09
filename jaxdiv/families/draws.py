"""Draws from members of families, one declaration a family, by jax.random.

A declaration gets a member whose parameters have the shape of the draws. Those of continuous
outcomes are smooth functions of the parameters at fixed noise (reparametrised; of gamma variables
by implicit differentiation), unless the table says otherwise.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random

from .. import _numerics as num
from ._bernoulli import Bernoulli, Binomial
from ._continuous_bernoulli import ContinuousBernoulli
from ._counts import Geometric, Multinomial, NegativeBinomial, Poisson
from ._dirichlet import Beta, Dirichlet
from ._gamma import Chi2, Exponential, Gamma, InverseGamma
from ._independent import Independent
from ._inverse_gaussian import InverseGaussian
from ._location import Cauchy, Laplace, Uniform
from ._mixture import Mixture
from ._multivariate_normal import MultivariateNormal
from ._normal import LogNormal, Normal
from ._odds import odds
from ._scaled import HalfNormal, Rayleigh
from ._weibull import Gumbel, Pareto, Weibull
from ._wishart import Wishart
from .base import Family


class Sampler(NamedTuple):
    """How a family is drawn from; whether draws are differentiable; its centre of symmetry."""

    draw: Callable[[Any, Array], Array]
    reparametrised: bool = True
    centre: Callable[[Any], Array] | None = None


def _like(x: Array) -> dict[str, Any]:
    return {"shape": x.shape, "dtype": x.dtype}


def _standard_gamma(a: Array, key: Array) -> Array:
    # Through the logarithm: of a small concentration most draws are below the smallest number.
    return jnp.exp(random.loggamma(key, a, **_like(a)))


def _exponential(like: Array, key: Array) -> Array:
    return random.exponential(key, **_like(like))


def _multivariate_normal(p: MultivariateNormal, key: Array, count: int = 1) -> Array:
    """Draws (count, *batch, n): a factor is not repeated for each of them."""
    z = random.normal(key, (count, *p.loc.shape), p.loc.dtype)
    if p.scale_diag is not None:
        return p.loc[None] + p.scale_diag[None] * z
    return p.loc[None] + jnp.einsum("...ij,s...j->s...i", p.factor(), z)


def _continuous_bernoulli(p: ContinuousBernoulli, key: Array) -> Array:
    # The inverse of the distribution function, log(1 + u (e^z - 1)) / z, for z < 0.
    z = p._log_odds()
    u = random.uniform(key, **_like(z))
    size = -jnp.abs(z)
    w = num.expm1_over(size)
    x = u * w * num.log1p_over(u * w * size)
    return jnp.where(z > 0, 1 - x, x)


def _inverse_gaussian(p: InverseGaussian, key: Array) -> Array:
    # Michael, Schucany and Haas 1976: of the two roots of l (x - m)^2 / (m^2 x) = z^2.
    first, second = random.split(key)
    m, l = p.loc, p.concentration
    w = m * jnp.square(random.normal(first, **_like(m))) / (2 * l)
    root = m / (1 + w + jnp.sqrt(w * (2 + w)))
    return jnp.where(random.uniform(second, **_like(m)) * (m + root) <= m, root, m * (m / root))


def _geometric(p: Geometric, key: Array) -> Array:
    chances = odds(p.probs, p.logits)
    log_fail = num.log1p(-jnp.where(chances.success < 1, chances.success, 0.5))
    waited = jnp.floor(_exponential(log_fail, key) / -log_fail)
    return jnp.where(chances.success < 1, waited, 0)


def _negative_binomial(p: NegativeBinomial, key: Array) -> Array:
    first, second = random.split(key)
    chances = odds(p.probs, p.logits)
    rate = _standard_gamma(p.total_count, first) * jnp.exp(chances.log_odds)
    return random.poisson(second, rate).astype(rate.dtype)


def _multinomial(p: Multinomial, key: Array) -> Array:
    chances = jax.nn.softmax(p.logits, axis=-1) if p.probs is None else p.probs
    return random.multinomial(key, p.total_count, chances).astype(chances.dtype)


def _bernoulli(p: Bernoulli, key: Array) -> Array:
    success = odds(p.probs, p.logits).success
    return (random.uniform(key, **_like(success)) < success).astype(success.dtype)


def _binomial(p: Binomial, key: Array) -> Array:
    success = odds(p.probs, p.logits).success
    return random.binomial(key, p.total_count, success, **_like(success))


def _poisson(p: Poisson, key: Array) -> Array:
    return random.poisson(key, p.rate).astype(p.rate.dtype)


def _wishart(p: Wishart, key: Array) -> Array:
    # Bartlett's decomposition.
    first, second = random.split(key)
    n = p.scale_tril.shape[-1]
    less = jnp.arange(n, dtype=p.df.dtype)
    less = less.reshape((1,) * p.df.ndim + (n,))
    chi = jnp.sqrt(2 * _standard_gamma((p.df[..., None] - less) / 2, first))
    below = jnp.tril(random.normal(second, **_like(p.scale_tril)), -1)
    root = jnp.tril(p.scale_tril) @ (below + jnp.where(jnp.eye(n, dtype=bool), chi[..., None], 0))
    return root @ jnp.swapaxes(root, -1, -2)


def _mixture(p: Mixture, key: Array) -> Array:
    first, second = random.split(key)
    which = random.categorical(first, jnp.log(p.weights), axis=-1)
    every = _draw(p.base, second)
    event = len(p.event_shape())
    at = which.reshape(*which.shape, *(1,) * (event + 1))
    return jnp.take_along_axis(every, at, axis=which.ndim).squeeze(which.ndim)


def _location(draw: Callable[..., Array]) -> Callable[[Any, Array], Array]:
    return lambda p, key: p.loc + p.scale * draw(key, **_like(p.scale))


def _loc(p: Any) -> Array:
    return p.loc


_SAMPLERS: dict[type[Family], Sampler] = {
    Normal: Sampler(_location(random.normal), centre=_loc),
    MultivariateNormal: Sampler(lambda p, key: _multivariate_normal(p, key)[0], centre=_loc),
    LogNormal: Sampler(lambda p, key: jnp.exp(_location(random.normal)(p, key))),
    HalfNormal: Sampler(lambda p, key: p.scale * jnp.abs(random.normal(key, **_like(p.scale)))),
    Rayleigh: Sampler(lambda p, key: p.scale * jnp.sqrt(2 * _exponential(p.scale, key))),
    Gamma: Sampler(lambda p, key: _standard_gamma(p.concentration, key) / p.rate),
    Exponential: Sampler(lambda p, key: _exponential(p.rate, key) / p.rate),
    Chi2: Sampler(lambda p, key: 2 * _standard_gamma(p.df / 2, key)),
    InverseGamma: Sampler(lambda p, key: p.scale / _standard_gamma(p.concentration, key)),
    InverseGaussian: Sampler(_inverse_gaussian, reparametrised=False),
    Weibull: Sampler(
        lambda p, key: p.scale * jnp.power(_exponential(p.scale, key), 1 / p.concentration)
    ),
    Gumbel: Sampler(_location(random.gumbel)),
    Pareto: Sampler(lambda p, key: p.scale * jnp.exp(_exponential(p.alpha, key) / p.alpha)),
    Laplace: Sampler(_location(random.laplace), centre=_loc),
    Cauchy: Sampler(_location(random.cauchy), centre=_loc),
    Uniform: Sampler(
        lambda p, key: p.low + (p.high - p.low) * random.uniform(key, **_like(p.low)),
        centre=lambda p: (p.low + p.high) / 2,
    ),
    Beta: Sampler(
        lambda p, key: random.beta(
            key, p.concentration1, p.concentration0, **_like(p.concentration1)
        )
    ),
    Dirichlet: Sampler(
        lambda p, key: random.dirichlet(
            key, p.concentration, p.concentration.shape[:-1], p.concentration.dtype
        )
    ),
    ContinuousBernoulli: Sampler(_continuous_bernoulli),
    Wishart: Sampler(_wishart),
    Bernoulli: Sampler(_bernoulli, reparametrised=False),
    Binomial: Sampler(_binomial, reparametrised=False),
    Geometric: Sampler(_geometric, reparametrised=False),
    NegativeBinomial: Sampler(_negative_binomial, reparametrised=False),
    Poisson: Sampler(_poisson, reparametrised=False),
    Multinomial: Sampler(_multinomial, reparametrised=False),
    Mixture: Sampler(_mixture, reparametrised=False),
}


def _draw(p: Any, key: Array) -> Array:
    if isinstance(p, Independent):
        return _draw(p.base, key)
    if type(p) not in _SAMPLERS:
        raise NotImplementedError(f"{type(p).__name__} distributions cannot be sampled here")
    return _SAMPLERS[type(p)].draw(p, key)


def sample(p: Family, key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Draws, (*shape, *batch, *event), of a checked member."""
    batch = p.batch("p")
    if isinstance(p, MultivariateNormal):
        many = _multivariate_normal(p.full(batch, dtype), key, math.prod(shape))
        return many.reshape(*shape, *many.shape[1:])
    return _draw(p.full((*shape, *batch), dtype), key)


def reparametrised(p: Any) -> bool:
    """Whether draws are differentiable functions of the parameters, with the right derivatives."""
    if isinstance(p, Independent):
        return reparametrised(p.base)
    return type(p) in _SAMPLERS and _SAMPLERS[type(p)].reparametrised


def centre(p: Any) -> Array | None:
    """Where a member is symmetric about, if that is known."""
    if isinstance(p, Independent):
        return centre(p.base)
    found = _SAMPLERS.get(type(p))
    return None if found is None or found.centre is None else found.centre(p)
