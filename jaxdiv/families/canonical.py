"""The canonical form of exponential families: sufficient statistics and base measures.

    log p(x) = <theta, T(x)> - A(theta) + log h(x)

Divergences need neither T nor h, which no parameter enters. They are declared here, for outcomes
in the support.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln

from ._bernoulli import Bernoulli
from ._continuous_bernoulli import ContinuousBernoulli
from ._counts import Geometric, Poisson
from ._directional import VonMises, VonMisesFisher, _log_surface
from ._dirichlet import Beta, Dirichlet
from ._gamma import Chi2, Exponential, Gamma, InverseGamma
from ._inverse_gaussian import InverseGaussian
from ._multivariate_normal import MultivariateNormal
from ._normal import LogNormal, Normal
from ._scaled import HalfNormal, Rayleigh
from ._stirling import HALF_LOG_TAU
from ._wishart import Wishart
from .base import Family
from .densities import in_support
from .evaluate import as_outcomes
from .fisher import core_of, prepared

Statistics = Callable[[Array], tuple[Array, ...]]
Measure = Callable[[Array], Array]


def _log_one(x: Array) -> Array:
    return jnp.zeros_like(x)


def _logarithm_and_itself(x: Array) -> tuple[Array, Array]:
    return jnp.log(x), x


def _log_det(x: Array) -> Array:
    return jnp.linalg.slogdet(x)[1]


def _squares(x: Array) -> tuple[Array, Array]:
    # The natural parameters are the rate and, of no influence on x, the shape.
    return jnp.square(x) / 2, jnp.zeros_like(x)


_FORMS: dict[type[Family], tuple[Statistics, Measure]] = {
    Normal: (lambda x: (x, jnp.square(x)), lambda x: jnp.full_like(x, -HALF_LOG_TAU)),
    LogNormal: (
        lambda x: (jnp.log(x), jnp.square(jnp.log(x))), lambda x: -HALF_LOG_TAU - jnp.log(x)
    ),
    MultivariateNormal: (
        lambda x: (x, x[..., :, None] * x[..., None, :]),
        lambda x: jnp.full(x.shape[:-1], -x.shape[-1] * HALF_LOG_TAU, x.dtype),
    ),
    Gamma: (_logarithm_and_itself, _log_one),
    Exponential: (_logarithm_and_itself, _log_one),
    Chi2: (_logarithm_and_itself, _log_one),
    InverseGamma: (lambda x: (-jnp.log(x), 1 / x), lambda x: -2 * jnp.log(x)),
    InverseGaussian: (lambda x: (x, 1 / x), lambda x: -HALF_LOG_TAU - 1.5 * jnp.log(x)),
    HalfNormal: (_squares, lambda x: jnp.full_like(x, math.log(2) - HALF_LOG_TAU)),
    Rayleigh: (_squares, jnp.log),
    Dirichlet: (lambda x: (jnp.log(x),), lambda x: jnp.zeros(x.shape[:-1], x.dtype)),
    Beta: (lambda x: (jnp.stack([jnp.log(x), jnp.log1p(-x)], axis=-1),), _log_one),
    ContinuousBernoulli: (lambda x: (x,), _log_one),
    Bernoulli: (lambda x: (x,), _log_one),
    Geometric: (lambda x: (x,), _log_one),
    Poisson: (lambda x: (x,), lambda x: -gammaln(x + 1)),
    VonMises: (
        lambda x: (jnp.cos(x), jnp.sin(x)), lambda x: jnp.full_like(x, -math.log(2 * math.pi))
    ),
    VonMisesFisher: (
        lambda x: (x,), lambda x: jnp.full(x.shape[:-1], -_log_surface(x.shape[-1]), x.dtype)
    ),
    Wishart: (
        lambda x: (_log_det(x), x), lambda x: -(x.shape[-1] + 1) / 2 * _log_det(x)
    ),
}  # fmt: skip


def _form(p: Any, x: Any) -> tuple[Family, Array, tuple[Statistics, Measure]]:
    member = prepared(p)
    core_of(member)
    if type(member) not in _FORMS:
        raise NotImplementedError(
            f"no sufficient statistics are declared of {type(member).__name__} distributions, only "
            f"of {', '.join(kind.__name__ for kind in _FORMS)}"
        )
    return member, as_outcomes(member, x), _FORMS[type(member)]


def sufficient_statistics(p: Any, x: Any) -> tuple[Array, ...]:
    """T(x) of outcomes x, (..., *event), in the support of the exponential family of p.

    As many arrays as p has natural parameters, whose expectations are `mean_parameters`; a constant
    of the family, such as the shape of a half-normal distribution's square, has the statistic 0.

    Raises NotImplementedError for what is no exponential family.
    """
    _, x, (statistics, _) = _form(p, x)
    return statistics(x)


def log_base_measure(p: Any, x: Any) -> Array:
    """log h(x), the part of `p.log_prob(x)` that no parameter enters; -inf outside the support.

    log p(x) = <theta, T(x)> - A(theta) + log h(x), with T the `sufficient_statistics`.

    Raises NotImplementedError for what is no exponential family.
    """
    member, x, (_, measure) = _form(p, x)
    some, safe = in_support(member, x)
    return jnp.where(some, measure(safe), -jnp.inf)
