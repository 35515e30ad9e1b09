"""Distributions of numpyro, distrax and TensorFlow Probability, taken where members of ours are.

They are looked up by the name of their class and of the package it comes from, so that none of
these packages is imported. A row says what a class is called here, and which of its attributes are
the parameters.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .base import given

_Row = tuple[str, dict[str, str]]


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


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
_ODDS: dict[str, dict[str, str]] = {
    "Bernoulli": {},
    "Binomial": _same("total_count"),
    "ContinuousBernoulli": {},
    "Geometric": {},
    "NegativeBinomial": _same("total_count"),
    "Categorical": {},
    "OneHotCategorical": {},
    "Multinomial": _same("total_count"),
}
_NUMPYRO: dict[str, _Row] = {
    **_SHARED,
    "InverseGamma": ("InverseGamma", {"concentration": "concentration", "scale": "rate"}),
    "Pareto": ("Pareto", _same("scale", "alpha")),
    "MultivariateNormal": ("MultivariateNormal", _same("loc", "scale_tril")),
    "LowRankMultivariateNormal": ("MultivariateNormal", _same("loc", "cov_factor", "cov_diag")),
    "Wishart": (
        "Wishart", {"df": "base_dist.concentration", "scale_tril": "base_dist.scale_tril"}
    ),
}  # fmt: skip
_TFP: dict[str, _Row] = {
    **_SHARED,
    "InverseGamma": ("InverseGamma", _same("concentration", "scale")),
    "Pareto": ("Pareto", {"scale": "scale", "alpha": "concentration"}),
    "InverseGaussian": ("InverseGaussian", _same("loc", "concentration")),
    "VonMisesFisher": ("VonMisesFisher", _same("mean_direction", "concentration")),
    "PowerSpherical": ("PowerSpherical", _same("mean_direction", "concentration")),
    "WishartTriL": ("Wishart", _same("df", "scale_tril")),
    "MultivariateNormalDiag": (
        "MultivariateNormal", {"loc": "loc", "scale_diag": "scale.diag_part()"}
    ),
    "MultivariateNormalTriL": (
        "MultivariateNormal", {"loc": "loc", "scale_tril": "scale.to_dense()"}
    ),
    "MultivariateNormalFullCovariance": (
        "MultivariateNormal", {"loc": "loc", "covariance_matrix": "covariance()"}
    ),
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
}  # fmt: skip
_TABLES = {"numpyro": _NUMPYRO, "tensorflow_probability": _TFP, "distrax": _DISTRAX}
# The attributes of a distribution over several independent ones.
_INDEPENDENT = {
    "numpyro": ("base_dist", "reinterpreted_batch_ndims"),
    "tensorflow_probability": ("distribution", "reinterpreted_batch_ndims"),
    "distrax": ("distribution", "reinterpreted_batch_ndims"),
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
        base, count = _INDEPENDENT[package]
        return _ours("Independent")(adapted(name, getattr(x, base)), int(getattr(x, count)))
    if kind.__name__ == "ExpandedDistribution":  # of numpyro
        base = adapted(name, x.base_dist)
        fields = {f.name: (f, value) for f, value in given(base)}
        full = {
            key: jnp.broadcast_to(value, (*x.batch_shape, *_event(f, value)))
            for key, (f, value) in fields.items()
        }
        return dataclasses.replace(base, **full)
    if kind.__name__ in _TABLES[package]:
        ours, attributes = _TABLES[package][kind.__name__]
        return _ours(ours)(**{key: _read(x, path) for key, path in attributes.items()})
    found = _odds(package, x)
    if found is None:
        known = ", ".join(sorted(_known(package)))
        raise TypeError(
            f"{name} is a {kind.__name__} of {package}, for which there is no family here; of "
            f"that package these are known: {known}"
        )
    return found


def _event(field: dataclasses.Field, value: Any) -> tuple[int, ...]:
    shape = jnp.shape(value)
    return shape[len(shape) - field.metadata["event_ndim"] :]


def _odds(package: str, x: Any) -> Any:
    kind = type(x).__name__
    for ours, others in _ODDS.items():
        if package == "numpyro" and kind in (f"{ours}Probs", f"{ours}Logits"):
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
    return [*_TABLES[package], "Independent", *(name + form for name in _ODDS for form in forms)]


def _ours(name: str) -> Callable[..., Any]:
    from .. import families

    return getattr(families, name)


def _read(x: Any, path: str) -> Any:
    for part in path.split("."):
        x = getattr(x, part.removesuffix("()"))
        x = x() if part.endswith("()") else x
    return x
