"""THE table of families: a class and, where its parameters go together, how to draw members."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from . import (
    _bernoulli,
    _continuous_bernoulli,
    _counts,
    _directional,
    _dirichlet,
    _gamma,
    _inverse_gaussian,
    _location,
    _multivariate_normal,
    _normal,
    _scaled,
    _weibull,
    _wishart,
)
from .base import CHANCE, POSITIVE, PROBABILITY, REAL, Domain, Family

# From all reals onto a domain, so that normal numbers give members of every size.
_CHARTS: dict[Domain, Callable[[Array], Array]] = {
    REAL: lambda u: 2 * u,
    POSITIVE: jnp.exp,
    PROBABILITY: jax.nn.sigmoid,
    CHANCE: jax.nn.sigmoid,
    _continuous_bernoulli.INNER: jax.nn.sigmoid,
    _counts.BELOW_ONE: jax.nn.sigmoid,
    _counts.NON_NEGATIVE: jnp.exp,
}
_EVENT = 3  # entries of a parameter that is a vector


@dataclasses.dataclass(frozen=True)
class FamilyEntry:
    """A family and which parameters describe a member.

    `drawn` gives (event axes' lengths, map from the reals) for those parameters that their domains
    don't; `fixed` are parameters that stay as they are, equal on both sides; of those in `lower`
    only the lower triangle is read, and those in `unit` are vectors of length 1.
    """

    name: str
    family: type[Family]
    names: tuple[str, ...] = ()
    drawn: dict[str, tuple[tuple[int, ...], Callable[[Array], Array]]] = dataclasses.field(
        default_factory=dict
    )
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    lower: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()

    def parameters(self) -> dict[str, tuple[tuple[int, ...], Callable[[Array], Array]]]:
        """For every parameter that varies, the lengths of its event axes and a map from reals."""
        fields = [f for f in dataclasses.fields(self.family) if "domain" in f.metadata]
        own = tuple(f.name for f in fields if f.default is dataclasses.MISSING)
        names = self.names or tuple(name for name in own if name not in self.fixed)
        found = {}
        for f in fields:
            if f.name in self.drawn:
                found[f.name] = self.drawn[f.name]
            elif f.name in names:
                shape = (_EVENT,) * f.metadata["event_ndim"]
                found[f.name] = (shape, _CHARTS[f.metadata["domain"]])
        return found

    def numbers(self, key: Array, count: int, dtype: Any) -> dict[str, Array]:
        """Normal numbers, of the shapes of the parameters."""
        parameters = self.parameters()
        keys = jax.random.split(key, len(parameters))
        return {
            name: jax.random.normal(k, (count, *shape), dtype)
            for k, (name, (shape, _)) in zip(keys, parameters.items(), strict=True)
        }

    def members(self, numbers: dict[str, Array]) -> Family:
        """The members that numbers stand for."""
        like = next(iter(numbers.values()))
        values = {name: jnp.asarray(x, like.dtype) for name, x in self.fixed.items()}
        fixed = {
            name: jnp.broadcast_to(x, (*like.shape[:1], *x.shape)) for name, x in values.items()
        }
        maps = {name: chart for name, (_, chart) in self.parameters().items()}
        return self.family(**{name: maps[name](u) for name, u in numbers.items()}, **fixed)


def _lower(u: Array) -> Array:
    """A lower triangle with a positive diagonal."""
    diagonal = jnp.broadcast_to(jnp.eye(u.shape[-1], dtype=bool), u.shape)
    return jnp.where(diagonal, jnp.exp(u), jnp.tril(u, -1))


def _direction(u: Array) -> Array:
    return u / jnp.linalg.norm(u, axis=-1, keepdims=True)


def _rows() -> list[FamilyEntry]:
    return [
        FamilyEntry("bernoulli", _bernoulli.Bernoulli, names=("probs",)),
        FamilyEntry("binomial", _bernoulli.Binomial, names=("probs",), fixed={"total_count": 10.0}),
        FamilyEntry(
            "continuous_bernoulli", _continuous_bernoulli.ContinuousBernoulli, names=("probs",)
        ),
        FamilyEntry("geometric", _counts.Geometric, names=("probs",)),
        FamilyEntry(
            "negative_binomial",
            _counts.NegativeBinomial,
            names=("probs",),
            fixed={"total_count": 2.5},
        ),
        FamilyEntry("poisson", _counts.Poisson),
        FamilyEntry(
            "multinomial",
            _counts.Multinomial,
            drawn={"probs": ((_EVENT,), jax.nn.softmax)},
            fixed={"total_count": 10.0},
        ),
        FamilyEntry("normal", _normal.Normal),
        FamilyEntry(
            "multivariate_normal",
            _multivariate_normal.MultivariateNormal,
            names=("loc", "scale_diag"),
        ),
        FamilyEntry("log_normal", _normal.LogNormal),
        FamilyEntry("half_normal", _scaled.HalfNormal),
        FamilyEntry("gamma", _gamma.Gamma),
        FamilyEntry("exponential", _gamma.Exponential),
        FamilyEntry("chi_squared", _gamma.Chi2),
        FamilyEntry("inverse_gamma", _gamma.InverseGamma),
        FamilyEntry("rayleigh", _scaled.Rayleigh),
        FamilyEntry("beta", _dirichlet.Beta),
        FamilyEntry("dirichlet", _dirichlet.Dirichlet),
        FamilyEntry("laplace", _location.Laplace),
        FamilyEntry("cauchy", _location.Cauchy),
        FamilyEntry("weibull", _weibull.Weibull),
        FamilyEntry("gumbel", _weibull.Gumbel),
        FamilyEntry("inverse_gaussian", _inverse_gaussian.InverseGaussian),
        FamilyEntry("von_mises", _directional.VonMises),
        FamilyEntry(
            "von_mises_fisher",
            _directional.VonMisesFisher,
            drawn={"mean_direction": ((_EVENT,), _direction)},
            unit=("mean_direction",),
        ),
        FamilyEntry(
            "power_spherical",
            _directional.PowerSpherical,
            names=("concentration",),
            fixed={"mean_direction": (0.6, 0.0, 0.8)},
        ),
        FamilyEntry(
            "wishart",
            _wishart.Wishart,
            drawn={
                "df": ((), lambda u: _EVENT - 1 + jnp.exp(u)),
                "scale_tril": ((_EVENT, _EVENT), _lower),
            },
            lower=("scale_tril",),
        ),
        FamilyEntry("pareto", _weibull.Pareto),
        FamilyEntry(
            "uniform",
            _location.Uniform,
            drawn={"low": ((), lambda u: -jnp.exp(u)), "high": ((), jnp.exp)},
        ),
    ]


FAMILIES: dict[str, FamilyEntry] = {entry.name: entry for entry in _rows()}
