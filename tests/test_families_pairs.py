"""Every pair of families for which another library registers KL is served.

The lists hold what torch 2.13, TensorFlow Probability 0.26, numpyro 0.22 and distrax 0.1.9 register
between families that are here. Which values are right is tested against integrals elsewhere.
"""

import importlib
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from jaxdiv import families
from jaxdiv.families.catalogue import FAMILIES
from jaxdiv.families.table import kl_between

# What they call differently, or an image or a special case of a family here.
NAMES = {
    "LowRankMultivariateNormal": "MultivariateNormal",
    "MultivariateNormalLinearOperator": "MultivariateNormal",
    "MultivariateNormalFromBijector": "MultivariateNormal",
    "LogStddevNormal": "Normal",
    "ProbitBernoulli": "Bernoulli",
    "SphericalUniform": "VonMisesFisher",
    "CategoricalProbs": "Categorical",
    "OneHotCategorical": "Categorical",
    "Chi": "Chi2",
    "ExpGamma": "Gamma",
    "ExpInverseGamma": "InverseGamma",
    "LogitNormal": "Normal",
    "_Independent": "Independent",
    "_TransformedDistribution": "Transformed",
    "TransformedDistribution": "Transformed",
}
WITHIN = (
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ContinuousBernoulli",
    "Dirichlet", "Exponential", "Gamma", "Geometric", "Gumbel", "HalfNormal", "Independent",
    "InverseGamma", "Laplace", "LogNormal", "MultivariateNormal", "Normal", "Pareto", "Poisson",
    "Transformed", "Uniform", "VonMises", "VonMisesFisher", "Weibull",
)  # fmt: skip
# None has KL between two of these: it is tested against integrals, sums or all outcomes.
OURS_ALONE = (
    "InverseGaussian", "Multinomial", "NegativeBinomial", "PowerSpherical", "Rayleigh", "Wishart",
)  # fmt: skip
FINITE = {
    "Bernoulli": ("Poisson",),
    "Beta": ("ContinuousBernoulli", "Dirichlet", "Exponential", "Gamma", "Normal", "Uniform"),
    "Chi2": ("Gamma",),
    "ContinuousBernoulli": ("Exponential", "Normal", "Uniform"),
    "Dirichlet": ("Beta",),
    "Exponential": ("Gamma", "Gumbel", "Normal"),
    "Gamma": ("Chi2", "Exponential", "Gumbel", "Normal"),
    "Gumbel": ("Normal",),
    "Independent": ("MultivariateNormal",),
    "Laplace": ("Normal",),
    "Normal": ("Gumbel", "Laplace"),
    "Pareto": ("Exponential", "Gamma", "Normal"),
    "PowerSpherical": ("VonMisesFisher",),
    "Uniform": (
        "Beta", "ContinuousBernoulli", "Exponential", "Gamma", "Gumbel", "Normal", "Pareto"
    ),
    "Weibull": ("Gamma",),
}  # fmt: skip
# p has mass where q, which has it between two ends or above one, has none.
_ENDS = ("Beta", "ContinuousBernoulli", "Pareto", "Uniform")
INFINITE = {
    "Beta": ("Pareto",),
    "ContinuousBernoulli": ("Pareto",),
    "Exponential": _ENDS,
    "Gamma": _ENDS,
    "Gumbel": (*_ENDS, "Exponential", "Gamma"),
    "Laplace": (*_ENDS, "Exponential", "Gamma"),
    "Normal": (*_ENDS, "Exponential", "Gamma"),
    "Pareto": ("Beta", "ContinuousBernoulli", "Uniform"),
    "Poisson": ("Bernoulli", "Binomial"),
}
ROWS = {entry.family.__name__: name for name, entry in FAMILIES.items()}
# No rows of the table: nouns, and families made of others.
COMPOSED = {
    "Categorical": families.Categorical(probs=[0.25, 0.75]),
    "Independent": families.Independent(families.Normal([0.0, 1.0, 2.0], 1.0)),
    "Transformed": families.Transformed(families.Gamma(2.0, 1.0), "log"),
}


def test_every_family_is_within_one_list():
    assert not set(WITHIN) & set(OURS_ALONE)
    assert set(WITHIN) | set(OURS_ALONE) == {*ROWS, *COMPOSED}


@pytest.mark.parametrize("p", [*WITHIN, *OURS_ALONE])
def test_every_pair_is_served(p):
    pairs = [(p, q) for q in (p, *FINITE.get(p, ())) if p in ROWS and q in ROWS]
    for pair in pairs:
        if set(pair) != {"Beta", "Dirichlet"}:  # of three concentrations there
            assert kl_between(*(ROWS[name] for name in pair)) is True, pair
    for q in INFINITE.get(p, ()):
        # Uniform and Pareto distributions may have p's mass inside, by their parameters.
        known = kl_between(ROWS[p], ROWS[q])
        assert known is None or (q == "Uniform" and p == "Pareto"), (p, q)


@pytest.mark.parametrize("name", COMPOSED)
def test_what_is_made_of_others(name):
    assert jd.kl_divergence(COMPOSED[name], COMPOSED[name]) == 0


def test_independent_normals_beside_a_multivariate_one():
    p, q = COMPOSED["Independent"], families.MultivariateNormal([0.0, 0.0, 0.0], 2 * jnp.eye(3))
    # Sum of log 2 / 2 + (1 + m^2) / 4 - 1/2 over m = 0, 1, 2
    np.testing.assert_allclose(jd.kl_divergence(p, q), 1.5 * np.log(2) + 0.5, rtol=1e-6)


def test_beta_beside_dirichlet():
    p, q = families.Beta(2.0, [3.0, 0.5]), families.Beta(1.5, 4.0)
    as_p, as_q = families.Dirichlet([[2.0, 3.0], [2.0, 0.5]]), families.Dirichlet([1.5, 4.0])
    expected = jd.kl_divergence(p, q)
    assert np.array_equal(jd.kl_divergence(p, as_q), expected)
    assert np.array_equal(jd.kl_divergence(as_p, q), expected)
    assert jd.bhattacharyya_distance(as_p, q).shape == (2,)
    with pytest.raises(
        ValueError, match=r"events must have one shape, but are p \(\) and q \(3,\)"
    ):
        jd.kl_divergence(p, families.Dirichlet([1.0, 2.0, 3.0]))


# Pairs of what is in no family here; `Distribution` stands for any.
STRANGERS = {
    "Delta", "Distribution", "ExpandedDistribution", "MaskedDistribution", "CirculantNormal",
    "Kumaraswamy", "JitPublicMethods", "GaussianProcess", "MatrixNormalLinearOperator", "Moyal",
    "OrderedLogistic", "StoppingRatioLogistic", "_BaseDeterministic", "_Blockwise",
    "_JointDistributionSequential", "_Masked", "_NonCompositeTensorCast", "_Sample",
    "Deterministic", "Joint", "ExponentialFamily",
}  # fmt: skip


def _registered(library):
    """The names of the pairs that a library registers, or None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if library == "torch":
                return importlib.import_module("torch.distributions.kl")._KL_REGISTRY
            if library == "numpyro":
                return importlib.import_module("numpyro.distributions.kl").kl_divergence.funcs
            if library == "distrax":
                importlib.import_module("distrax")
            tfp = "tensorflow_probability.substrates.jax"
            importlib.import_module(f"{tfp}.distributions").Normal  # noqa: B018
            module = importlib.import_module(f"{tfp}.distributions.kullback_leibler")
            return module._DIVERGENCES
        except Exception:
            return None


@pytest.mark.slow
@pytest.mark.parametrize("library", ("torch", "tensorflow_probability", "numpyro", "distrax"))
def test_no_pair_of_a_library_is_forgotten(library):
    registered = _registered(library)
    if registered is None:
        pytest.skip(f"{library} is not installed, or not for this JAX")
    known = {(p, p) for p in WITHIN}
    known |= {
        (p, q) for table in (FINITE, INFINITE) for p, several in table.items() for q in several
    }
    for pair in registered:
        names = [kind.__name__ for kind in pair]
        if not STRANGERS & set(names):
            assert tuple(NAMES.get(name, name) for name in names) in known, names
