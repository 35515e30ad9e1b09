"""Distributions of numpyro, distrax and TensorFlow Probability, taken where members of ours are.

They are looked up by the name of their class and of the package it comes from, so that none of
these packages is imported. A row says what a class is called here, and which of its attributes are
the parameters, or what function of it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .base import Family

_Source = str | Callable[[Any], Any]  # the path of an attribute, or a function of the distribution
_Row = tuple[str, dict[str, _Source]]


def _same(*names: str) -> dict[str, _Source]:
    return {name: name for name in names}


def _or_exp(name: str) -> _Source:
    """A positive parameter that may be given by its logarithm."""

    def read(x: Any) -> Any:
        value = getattr(x, name)
        return jnp.exp(getattr(x, f"log_{name}")) if value is None else value

    return read


def _image(base: str, bijection: str, **attributes: _Source) -> _Row:
    """The image of a member of `base` under a bijection."""

    def member(x: Any) -> Any:
        return _made((base, attributes), x)

    return "Transformed", {"base": member, "bijection": lambda x: bijection}


def _loc(x: Any) -> Any:
    """The mean of a multivariate normal one, which may be None or have a last axis of length 1."""
    loc = jnp.zeros(()) if x.loc is None else jnp.asarray(x.loc)
    return jnp.broadcast_to(loc, (*loc.shape[:-1], *x.event_shape))


_SCALE, _BOTH = _same("scale"), _same("loc", "scale")
_SHARED: dict[str, _Row] = {
    "Normal": ("Normal", _BOTH),
    "Laplace": ("Laplace", _BOTH),
    "Cauchy": ("Cauchy", _BOTH),
    "Gumbel": ("Gumbel", _BOTH),
    "LogNormal": ("LogNormal", _BOTH),
    "HalfNormal": ("HalfNormal", _SCALE),
    "Gamma": ("Gamma", _same("concentration", "rate")),
    "Exponential": ("Exponential", _same("rate")),
    "Chi2": ("Chi2", _same("df")),
    "Beta": ("Beta", _same("concentration1", "concentration0")),
    "Dirichlet": ("Dirichlet", _same("concentration")),
    "Weibull": ("Weibull", _same("concentration", "scale")),
    "Uniform": ("Uniform", _same("low", "high")),
    "Poisson": ("Poisson", _same("rate")),
    "VonMises": ("VonMises", _same("loc", "concentration")),
}


# Families of odds, with their other parameters. They hold probabilities or logits.
_ODDS: dict[str, dict[str, _Source]] = {
    "Bernoulli": {},
    "Binomial": _same("total_count"),
    "ContinuousBernoulli": {},
    "Geometric": {},
    "NegativeBinomial": _same("total_count"),
    "Categorical": {},
    "OneHotCategorical": {},
    "Multinomial": _same("total_count"),
}
# Distributions over actions that are categorical ones.
_CHOICES = ("Softmax", "Greedy", "EpsilonGreedy")
_COVARIANCE: _Row = ("MultivariateNormal", {"loc": _loc, "covariance_matrix": "covariance()"})
_OF_GAMMA: _Row = (
    "NegativeBinomial", {"total_count": "concentration", "logits": lambda x: -jnp.log(x.rate)}
)  # fmt: skip
_NUMPYRO: dict[str, _Row] = {
    **_SHARED,
    "BetaProportion": _SHARED["Beta"],
    "GammaPoisson": _OF_GAMMA,
    "NegativeBinomial2": _OF_GAMMA,
    "LogUniform": _image(
        "Uniform", "exp", low=lambda x: jnp.log(x.low), high=lambda x: jnp.log(x.high)
    ),
    "WishartCholesky": _image(
        "Wishart", "cholesky", df="concentration", scale_tril="scale_tril"
    ),
    "InverseGamma": ("InverseGamma", {"concentration": "concentration", "scale": "rate"}),
    "Pareto": ("Pareto", _same("scale", "alpha")),
    "MultivariateNormal": ("MultivariateNormal", {"loc": _loc, "scale_tril": "scale_tril"}),
    "LowRankMultivariateNormal": ("MultivariateNormal", _same("loc", "cov_factor", "cov_diag")),
    "Wishart": (
        "Wishart", {"df": "base_dist.concentration", "scale_tril": "base_dist.scale_tril"}
    ),
}  # fmt: skip
_TFP: dict[str, _Row] = {
    **_SHARED,
    "Gamma": ("Gamma", {"concentration": "concentration", "rate": _or_exp("rate")}),
    "Poisson": ("Poisson", {"rate": _or_exp("rate")}),
    "Chi": _image("Chi2", "sqrt", df="df"),
    "ExpGamma": _image("Gamma", "log", concentration="concentration", rate=_or_exp("rate")),
    "ExpInverseGamma": _image(
        "InverseGamma", "log", concentration="concentration", scale=_or_exp("scale")
    ),
    "LogitNormal": _image("Normal", "sigmoid", **_BOTH),
    "ProbitBernoulli": ("Bernoulli", {"probs": "probs_parameter()"}),
    "SphericalUniform": (
        "VonMisesFisher",
        {
            "mean_direction": lambda x: jnp.eye(x.event_shape[-1])[0],
            "concentration": lambda x: jnp.zeros(x.batch_shape),
        },
    ),
    "InverseGamma": ("InverseGamma", _same("concentration", "scale")),
    "Pareto": ("Pareto", {"scale": "scale", "alpha": "concentration"}),
    "InverseGaussian": ("InverseGaussian", _same("loc", "concentration")),
    "VonMisesFisher": ("VonMisesFisher", _same("mean_direction", "concentration")),
    "PowerSpherical": ("PowerSpherical", _same("mean_direction", "concentration")),
    "WishartTriL": ("Wishart", _same("df", "scale_tril")),
    "MultivariateNormalDiag": (
        "MultivariateNormal", {"loc": _loc, "scale_diag": "scale.diag_part()"}
    ),
    "MultivariateNormalTriL": (
        "MultivariateNormal", {"loc": _loc, "scale_tril": "scale.to_dense()"}
    ),
    "MultivariateNormalFullCovariance": _COVARIANCE,
    "MultivariateNormalLinearOperator": _COVARIANCE,
    "MultivariateNormalDiagPlusLowRank": _COVARIANCE,
    "MultivariateNormalDiagPlusLowRankCovariance": _COVARIANCE,
}  # fmt: skip
_DISTRAX: dict[str, _Row] = {
    **{name: _SHARED[name] for name in ("Normal", "Laplace", "Gumbel", "Gamma", "Dirichlet")},
    **{name: _SHARED[name] for name in ("Uniform", "VonMises")},
    "Beta": ("Beta", {"concentration1": "alpha", "concentration0": "beta"}),
    "LogStddevNormal": ("Normal", _BOTH),
    "MultivariateNormalDiag": ("MultivariateNormal", _same("loc", "scale_diag")),
    "MultivariateNormalTri": ("MultivariateNormal", {"loc": "loc", "scale_tril": "scale_tri"}),
    "MultivariateNormalFullCovariance": (
        "MultivariateNormal", _same("loc", "covariance_matrix")
    ),
    "MultivariateNormalDiagPlusLowRank": _COVARIANCE,
    "MultivariateNormalFromBijector": _COVARIANCE,
}  # fmt: skip
_TABLES = {"numpyro": _NUMPYRO, "tensorflow_probability": _TFP, "distrax": _DISTRAX}
# The attributes of a distribution over several independent ones.
_INDEPENDENT = {
    "numpyro": ("base_dist", "reinterpreted_batch_ndims"),
    "tensorflow_probability": ("distribution", "reinterpreted_batch_ndims"),
    "distrax": ("distribution", "reinterpreted_batch_ndims"),
}
# Those of an image under a bijection.
_TRANSFORMED = {
    "TransformedDistribution": {
        "numpyro": ("base_dist", "transforms"),
        "tensorflow_probability": ("distribution", "bijector"),
    },
    "Transformed": {"distrax": ("distribution", "bijector")},
}


def adapted(name: str, x: Any) -> Any:
    """A distribution of another package as a member of a family or a noun; all else as it is.

    Raises TypeError, with the list of those that are known, for one that isn't.
    """
    kind = type(x)
    package = kind.__module__.partition(".")[0]
    if package not in _TABLES:
        return x
    if kind.__name__ == "Independent":
        base, count = (getattr(x, key) for key in _INDEPENDENT[package])
        base, count = adapted(name, base), int(count)
        return _ours("Independent")(base, count) if count else base
    if kind.__name__ == "ExpandedDistribution":  # of numpyro
        return _expanded(name, adapted(name, x.base_dist), x.batch_shape)
    if package in _TRANSFORMED.get(kind.__name__, ()):
        base, map = (getattr(x, key) for key in _TRANSFORMED[kind.__name__][package])
        return _ours("Transformed")(adapted(name, base), Bijection(map))
    if kind.__name__ in _TABLES[package]:
        return _made(_TABLES[package][kind.__name__], x)
    found = _odds(package, x)
    if found is None:
        known = ", ".join(sorted(_known(package)))
        raise TypeError(
            f"{name} is a {kind.__name__} of {package}, for which there is no family here; of "
            f"that package these are known: {known}"
        )
    return found


class Bijection:
    """Another package's bijection: equal to one that is equal to it by their rules."""

    def __init__(self, theirs: Any):
        self.theirs = tuple(theirs) if isinstance(theirs, list) else theirs

    def __hash__(self) -> int:
        return hash(type(self.theirs))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bijection) or type(self.theirs) is not type(other.theirs):
            return False
        try:  # of parameters under jit they can't tell
            same = self.theirs is other.theirs or self.theirs == other.theirs
            if not same and hasattr(self.theirs, "same_as"):  # of distrax
                same = getattr(self.theirs, "same_as")(other.theirs)  # noqa: B009
            return bool(same)
        except Exception:
            return False

    def __repr__(self) -> str:
        return repr(self.theirs)


def _expanded(name: str, base: Any, batch: tuple[int, ...]) -> Any:
    """A member or a noun with a batch shape that its own broadcasts to."""
    if isinstance(base, Family):
        base = base.checked(name)
        widest = max((x.dtype for x in jax.tree.leaves(base)), key=lambda dtype: dtype.itemsize)
        return base.full(batch, widest)
    return jax.tree.map(
        lambda x: jnp.broadcast_to(x, (*batch, x.shape[-1])) if jnp.ndim(x) else x, base
    )


def _odds(package: str, x: Any) -> Any:
    kind = type(x).__name__
    for ours, others in _ODDS.items():
        if ours == "Categorical" and package == "distrax" and kind in _CHOICES:
            form = "probs" if getattr(x, "_logits", None) is None else "logits"
        elif package == "numpyro" and kind in (f"{ours}Probs", f"{ours}Logits"):
            form = kind.removeprefix(ours).lower()
        elif package != "numpyro" and kind == ours:
            form = "probs" if getattr(x, "_logits", None) is None else "logits"
        else:
            continue
        read = {key: _read(x, path) for key, path in others.items()}
        return _ours(ours.removeprefix("OneHot"))(**read, **{form: _read(x, form)})
    return None


def _known(package: str) -> list[str]:
    forms = ("Probs", "Logits") if package == "numpyro" else ("",)
    images = [kind for kind, of in _TRANSFORMED.items() if package in of]
    choices = _CHOICES if package == "distrax" else ()
    return [
        *_TABLES[package],
        "Independent",
        *images,
        *choices,
        *(name + form for name in _ODDS for form in forms),
    ]


def _ours(name: str) -> Callable[..., Any]:
    from .. import families

    return getattr(families, name)


def _made(row: _Row, x: Any) -> Any:
    ours, attributes = row
    return _ours(ours)(**{key: _read(x, source) for key, source in attributes.items()})


def _read(x: Any, path: _Source) -> Any:
    if not isinstance(path, str):
        return path(x)
    for part in path.split("."):
        x = getattr(x, part.removesuffix("()"))
        x = x() if part.endswith("()") else x
    return x
