"""Distributions of numpyro, distrax and TensorFlow Probability, where they are installed."""

import importlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from conftest import rest_slow
from jaxdiv import families as ours

EYE, LOC = jnp.eye(2), jnp.asarray([0.5, -1.0])
UNIT = jnp.asarray([0.6, 0.8])
CHOLESKY = jnp.asarray([[1.0, 0.0], [0.5, 2.0]])


def package(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except Exception as error:  # not installed, or not for this JAX
            pytest.skip(f"{name}: {error}")


def build(module, name: str, keywords: dict):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(module, name)(**keywords)


SHARED = [
    ("Normal", {"loc": 0.5, "scale": 2.0}, ours.Normal(0.5, 2.0)),
    ("Gamma", {"concentration": 3.0, "rate": 2.0}, ours.Gamma(3.0, 2.0)),
    ("Dirichlet", {"concentration": jnp.asarray([1.0, 2.0, 3.0])}, ours.Dirichlet([1.0, 2.0, 3.0])),
    ("Laplace", {"loc": 0.5, "scale": 2.0}, ours.Laplace(0.5, 2.0)),
    ("Gumbel", {"loc": 0.5, "scale": 2.0}, ours.Gumbel(0.5, 2.0)),
    ("Uniform", {"low": 0.0, "high": 2.0}, ours.Uniform(0.0, 2.0)),
    ("VonMises", {"loc": 0.5, "concentration": 2.0}, ours.VonMises(0.5, 2.0)),
    ("Bernoulli", {"probs": 0.25}, ours.Bernoulli(probs=0.25)),
    ("Bernoulli", {"logits": 0.25}, ours.Bernoulli(logits=0.25)),
]
MORE = [
    ("LogNormal", {"loc": 0.5, "scale": 2.0}, ours.LogNormal(0.5, 2.0)),
    ("HalfNormal", {"scale": 2.0}, ours.HalfNormal(2.0)),
    ("Exponential", {"rate": 2.0}, ours.Exponential(2.0)),
    ("Chi2", {"df": 3.0}, ours.Chi2(3.0)),
    ("Beta", {"concentration1": 2.0, "concentration0": 3.0}, ours.Beta(2.0, 3.0)),
    ("Cauchy", {"loc": 0.5, "scale": 2.0}, ours.Cauchy(0.5, 2.0)),
    ("Weibull", {"concentration": 1.5, "scale": 2.0}, ours.Weibull(1.5, 2.0)),
    ("Poisson", {"rate": 2.0}, ours.Poisson(2.0)),
    ("Geometric", {"probs": 0.25}, ours.Geometric(probs=0.25)),
    ("Geometric", {"logits": 0.25}, ours.Geometric(logits=0.25)),
    ("Binomial", {"total_count": 5, "probs": 0.25}, ours.Binomial(5, probs=0.25)),
]
NUMPYRO = [
    *SHARED,
    *MORE,
    ("InverseGamma", {"concentration": 3.0, "rate": 2.0}, ours.InverseGamma(3.0, 2.0)),
    ("Pareto", {"scale": 2.0, "alpha": 3.0}, ours.Pareto(2.0, 3.0)),
    (
        "Wishart",
        {"concentration": 4.0, "scale_tril": CHOLESKY},
        ours.Wishart(4.0, CHOLESKY),
    ),
    ("BetaProportion", {"mean": 0.25, "concentration": 4.0}, ours.Beta(1.0, 3.0)),
    (
        "NegativeBinomial2",
        {"mean": 4.0, "concentration": 2.0},
        ours.NegativeBinomial(2.0, logits=jnp.log(2.0)),
    ),
    (
        "LogUniform",
        {"low": 1.0, "high": 2.0},
        ours.Transformed(ours.Uniform(0.0, jnp.log(2.0)), "exp"),
    ),
    (
        "WishartCholesky",
        {"concentration": 4.0, "scale_tril": CHOLESKY},
        ours.Transformed(ours.Wishart(4.0, CHOLESKY), "cholesky"),
    ),
    (
        "NegativeBinomialProbs",
        {"total_count": 5, "probs": 0.25},
        ours.NegativeBinomial(5, probs=0.25),
    ),
    (
        "MultivariateNormal",
        {"loc": LOC, "scale_tril": CHOLESKY},
        ours.MultivariateNormal(LOC, scale_tril=CHOLESKY),
    ),
    (
        "LowRankMultivariateNormal",
        {"loc": LOC, "cov_factor": CHOLESKY[:, :1], "cov_diag": jnp.ones(2)},
        ours.MultivariateNormal(LOC, cov_factor=CHOLESKY[:, :1], cov_diag=jnp.ones(2)),
    ),
]
TFP = [
    *SHARED,
    *MORE,
    ("InverseGamma", {"concentration": 3.0, "scale": 2.0}, ours.InverseGamma(3.0, 2.0)),
    ("Pareto", {"concentration": 3.0, "scale": 2.0}, ours.Pareto(2.0, 3.0)),
    ("Gamma", {"concentration": 3.0, "log_rate": 0.5}, ours.Gamma(3.0, jnp.exp(0.5))),
    ("Poisson", {"log_rate": 0.5}, ours.Poisson(jnp.exp(0.5))),
    ("ProbitBernoulli", {"probs": 0.25}, ours.Bernoulli(probs=0.25)),
    ("Chi", {"df": 3.0}, ours.Transformed(ours.Chi2(3.0), "sqrt")),
    (
        "ExpGamma",
        {"concentration": 3.0, "rate": 2.0},
        ours.Transformed(ours.Gamma(3.0, 2.0), "log"),
    ),
    (
        "ExpInverseGamma",
        {"concentration": 3.0, "scale": 2.0},
        ours.Transformed(ours.InverseGamma(3.0, 2.0), "log"),
    ),
    ("LogitNormal", {"loc": 0.5, "scale": 2.0}, ours.Transformed(ours.Normal(0.5, 2.0), "sigmoid")),
    ("SphericalUniform", {"dimension": 2}, ours.VonMisesFisher(UNIT, 0.0)),
    (
        "MultivariateNormalTriL",
        {"scale_tril": CHOLESKY},
        ours.MultivariateNormal(jnp.zeros(2), scale_tril=CHOLESKY),
    ),
    ("WishartTriL", {"df": 4.0, "scale_tril": CHOLESKY}, ours.Wishart(4.0, CHOLESKY)),
    ("ContinuousBernoulli", {"probs": 0.25}, ours.ContinuousBernoulli(probs=0.25)),
    (
        "VonMisesFisher",
        {"mean_direction": UNIT, "concentration": 2.0},
        ours.VonMisesFisher(UNIT, 2.0),
    ),
    (
        "PowerSpherical",
        {"mean_direction": UNIT, "concentration": 2.0},
        ours.PowerSpherical(UNIT, 2.0),
    ),
    ("InverseGaussian", {"loc": 2.0, "concentration": 3.0}, ours.InverseGaussian(2.0, 3.0)),
    (
        "NegativeBinomial",
        {"total_count": 5.0, "probs": 0.25},
        ours.NegativeBinomial(5, probs=0.25),
    ),
    (
        "MultivariateNormalDiag",
        {"loc": LOC, "scale_diag": jnp.ones(2)},
        ours.MultivariateNormal(LOC, scale_diag=jnp.ones(2)),
    ),
    (
        "MultivariateNormalTriL",
        {"loc": LOC, "scale_tril": CHOLESKY},
        ours.MultivariateNormal(LOC, scale_tril=CHOLESKY),
    ),
]
DISTRAX = [
    *SHARED,
    ("Beta", {"alpha": 2.0, "beta": 3.0}, ours.Beta(2.0, 3.0)),
    (
        "MultivariateNormalTri",
        {"loc": LOC, "scale_tri": CHOLESKY},
        ours.MultivariateNormal(LOC, scale_tril=CHOLESKY),
    ),
    (
        "MultivariateNormalDiag",
        {"loc": LOC, "scale_diag": jnp.ones(2)},
        ours.MultivariateNormal(LOC, scale_diag=jnp.ones(2)),
    ),
]
PACKAGES = {
    "numpyro.distributions": NUMPYRO,
    "tensorflow_probability.substrates.jax.distributions": TFP,
    "distrax": DISTRAX,
}


@pytest.fixture(autouse=True)
def _their_promotions():
    """Other packages promote dtypes as they please."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_every_known_distribution_counts_as_its_family(name):
    module = package(name)
    for kind, keywords, member in PACKAGES[name]:
        theirs = build(module, kind, keywords)
        # Against another member: equal parameters would hide which is which.
        other = member.__class__(**{**vars(member)})
        assert float(jd.kl_divergence(theirs, other)) == 0, kind
        assert float(jd.kl_divergence(other, theirs)) == 0, kind


@pytest.mark.parametrize(
    ("name", "count"), rest_slow([("numpyro.distributions", 5), ("distrax", 8)], 1)
)
def test_values_are_theirs_where_they_have_them(name, count):
    # An oracle written by others; their rounding is what the tolerance is for.
    module = package(name)
    agreed = 0
    for kind, keywords, _ in PACKAGES[name]:
        if "scale_tril" in keywords or "scale_tri" in keywords or "cov_factor" in keywords:
            continue
        moved = {
            key: value if key in ("total_count", "low") else jnp.asarray(value) * 1.25
            for key, value in keywords.items()
        }
        p, q = build(module, kind, keywords), build(module, kind, moved)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if name == "distrax":
                    true = p.kl_divergence(q)
                else:
                    true = importlib.import_module("numpyro.distributions.kl").kl_divergence(p, q)
        except NotImplementedError:
            continue
        np.testing.assert_allclose(jd.kl_divergence(p, q), true, rtol=2e-4, err_msg=kind)
        agreed += 1
    assert agreed >= count


def test_events_and_batches_of_numpyro():
    nd = package("numpyro.distributions")
    loc = jnp.asarray([0.0, 1.0, 2.0])
    p, q = nd.Normal(loc, 1.0).to_event(1), nd.Normal(0.0, 2.0).expand([3]).to_event(1)
    expected = jnp.sum(jd.kl_divergence(ours.Normal(loc, 1.0), ours.Normal(0.0, 2.0)))
    np.testing.assert_allclose(jd.kl_divergence(p, q), expected, rtol=1e-6)


def test_batches_that_numpyro_expands():
    nd = package("numpyro.distributions")
    p, q = nd.LogUniform(1.0, 2.0).expand([3]), nd.LogUniform(1.0, 4.0)
    np.testing.assert_allclose(jd.kl_divergence(p, q), np.log(2) * np.ones(3), rtol=1e-6)
    p = nd.Categorical(logits=jnp.zeros(3)).expand([2])
    assert jd.kl_divergence(p, jd.Probs(jnp.ones(3) / 3)).shape == (2,)
    # The last axis of a mean may be of length 1.
    p = nd.MultivariateNormal(0.0, scale_tril=CHOLESKY)
    assert jd.kl_divergence(p, ours.MultivariateNormal(jnp.zeros(2), scale_tril=CHOLESKY)) == 0


@pytest.mark.parametrize("name", PACKAGES)
def test_images_under_one_bijection(name):
    module = package(name)
    if name == "distrax":
        image, same, other = module.Transformed, module.Tanh, module.Sigmoid
    elif name.startswith("numpyro"):
        image = module.TransformedDistribution
        transforms = module.transforms
        same, other = transforms.ExpTransform, transforms.SigmoidTransform
    else:
        image = module.TransformedDistribution
        bijectors = package("tensorflow_probability.substrates.jax.bijectors")
        same, other = bijectors.Softplus, bijectors.Exp
    p = image(module.Normal(0.0, 1.0), same())
    assert float(jd.kl_divergence(p, image(module.Normal(1.0, 1.0), same()))) == 0.5
    with pytest.raises(NotImplementedError, match="under different bijections"):
        jd.kl_divergence(p, image(module.Normal(1.0, 1.0), other()))


def test_independent_of_no_axis_is_its_base():
    distrax = package("distrax")
    base = distrax.Normal(jnp.zeros(3), 1.0)
    assert jd.kl_divergence(distrax.Independent(base, 0), base).shape == (3,)


def test_policies_are_categorical():
    distrax = package("distrax")
    p = distrax.Softmax(jnp.asarray([0.0, 1.0, 2.0]), 2.0)
    q = distrax.EpsilonGreedy(jnp.asarray([0.0, 1.0, 2.0]), 0.25)
    np.testing.assert_allclose(jd.kl_divergence(p, q), p.kl_divergence(q), rtol=1e-5)


def test_categorical_distributions_are_rows():
    distrax = package("distrax")
    z, y = jnp.asarray([0.0, 1.0, 2.0]), jnp.asarray([1.0, 0.5, 0.0])
    p, q = distrax.Categorical(logits=z), distrax.Categorical(logits=y)
    # distrax normalises logits, which rounds them.
    want = float(jd.js_divergence(jd.Logits(z), jd.Logits(y)))
    assert float(jd.js_divergence(p, q)) == pytest.approx(want, rel=1e-6)


def test_unknown_ones_are_named_with_those_that_are_known():
    distrax = package("distrax")
    with pytest.raises(TypeError, match=r"p is a Logistic of distrax.* known: Bernoulli, Beta"):
        jd.kl_divergence(distrax.Logistic(0.0, 1.0), ours.Normal(0.0, 1.0))
