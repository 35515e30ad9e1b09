"""Densities are exp(<theta, T(x)> - A(theta)) h(x), with T and h as they are declared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiv import families
from jaxdiv.families import canonical
from jaxdiv.families.catalogue import FAMILIES
from jaxdiv.families.fisher import core_of, prepared

ON_THE_LINE = np.array([-1.3, -0.2, 0.4, 2.5])
POSITIVE = np.array([0.1, 0.7, 1.0, 3.5])
COUNTS = np.array([0.0, 1.0, 2.0, 7.0])
UNIT = np.array([0.05, 0.3, 0.5, 0.9])
SIMPLEX = np.array([[0.2, 0.3, 0.5], [0.7, 0.1, 0.2]])
VECTORS = np.array([[0.3, -1.0], [2.0, 0.1]])
SPHERE = np.array([[0.6, 0.0, 0.8], [0.0, -1.0, 0.0]])
MATRICES = np.array([[[2.0, 0.3], [0.3, 1.0]], [[1.0, -0.5], [-0.5, 0.7]]])
SQUARE = np.array([[1.0, 0.0], [0.4, 0.8]])

# Two members each, and outcomes.
CASES = {
    "Normal": ([dict(loc=0.3, scale=1.7), dict(loc=-2.0, scale=0.4)], ON_THE_LINE),
    "LogNormal": ([dict(loc=0.3, scale=1.7), dict(loc=-2.0, scale=0.4)], POSITIVE),
    "MultivariateNormal": (
        [
            dict(loc=np.array([0.1, 0.2]), scale_tril=SQUARE),
            dict(loc=np.zeros(2), covariance_matrix=MATRICES[0]),
        ],
        VECTORS,
    ),
    "Gamma": ([dict(concentration=0.4, rate=2.0), dict(concentration=5.0, rate=0.3)], POSITIVE),
    "Exponential": ([dict(rate=2.0), dict(rate=0.3)], POSITIVE),
    "Chi2": ([dict(df=1.0), dict(df=4.5)], POSITIVE),
    "InverseGamma": (
        [dict(concentration=0.4, scale=2.0), dict(concentration=5.0, scale=0.3)], POSITIVE
    ),
    "InverseGaussian": (
        [dict(loc=0.4, concentration=2.0), dict(loc=5.0, concentration=0.3)], POSITIVE
    ),
    "HalfNormal": ([dict(scale=2.0), dict(scale=0.3)], POSITIVE),
    "Rayleigh": ([dict(scale=2.0), dict(scale=0.3)], POSITIVE),
    "Dirichlet": (
        [dict(concentration=np.array([0.5, 2.0, 3.0])), dict(concentration=np.ones(3))], SIMPLEX
    ),
    "Beta": (
        [dict(concentration1=0.5, concentration0=2.0), dict(concentration1=3.0, concentration0=1)],
        UNIT,
    ),
    "ContinuousBernoulli": ([dict(probs=0.2), dict(logits=3.0)], UNIT),
    "Bernoulli": ([dict(probs=0.2), dict(logits=3.0)], COUNTS[:2]),
    "Geometric": ([dict(probs=0.2), dict(logits=1.0)], COUNTS),
    "Poisson": ([dict(rate=0.2), dict(rate=6.0)], COUNTS),
    "VonMises": (
        [dict(loc=0.2, concentration=3.0), dict(loc=-1.0, concentration=0.0)], ON_THE_LINE
    ),
    "VonMisesFisher": (
        [
            dict(mean_direction=np.array([0.48, -0.6, 0.64]), concentration=2.0),
            dict(mean_direction=np.array([0.0, 1.0, 0.0]), concentration=30.0),
        ],
        SPHERE,
    ),
    "Wishart": ([dict(df=2.5, scale_tril=SQUARE), dict(df=7.0, scale_tril=np.eye(2))], MATRICES),
}  # fmt: skip


def exponential(entry):
    member = entry.members(entry.numbers(jax.random.key(0), 1, jnp.float32))
    try:
        core_of(prepared(member))
    except NotImplementedError:
        return False
    return True


def test_every_exponential_family_is_declared_and_tried():
    found = {entry.family for entry in FAMILIES.values() if exponential(entry)}
    assert found == set(canonical._FORMS)
    assert {kind.__name__ for kind in found} == set(CASES)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_the_density_is_its_canonical_form(name):
    sides, x = CASES[name]
    for parameters in sides:
        p = getattr(families, name)(**{k: jnp.asarray(v) for k, v in parameters.items()})
        theta = core_of(prepared(p)).natural()
        form = np.asarray(families.log_base_measure(p, x))
        form = form - np.asarray(core_of(prepared(p)).log_partition(*theta))
        for one, other in zip(theta, families.sufficient_statistics(p, x), strict=True):
            product = np.asarray(one) * np.asarray(other)
            form = form + product.sum(tuple(range(form.ndim, product.ndim)))
        # 1e-13 of the terms, which cancel.
        np.testing.assert_allclose(form, p.log_prob(jnp.asarray(x)), rtol=1e-12, atol=1e-11)


def test_outside_the_support_there_is_no_measure():
    got = families.log_base_measure(families.Gamma(2.0, 1.0), jnp.asarray([-1.0, 1.0]))
    assert got.tolist() == [-np.inf, 0]
    assert families.log_base_measure(families.Poisson(2.0), jnp.asarray(0.5)) == -np.inf


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (families.Cauchy(0.0, 1.0), "Cauchy is no exponential family"),
        (families.Weibull(2.0, 1.0), "but for fixed concentration"),
    ],
)
def test_what_has_none_says_so(p, text):
    for function in (families.sufficient_statistics, families.log_base_measure):
        with pytest.raises(NotImplementedError, match=text):
            function(p, jnp.asarray(1.0))


def test_expectations_of_the_statistics_are_the_mean_parameters():
    p = families.Gamma(3.0, 2.0)
    draws = p.sample(jax.random.key(0), 100_000)
    found = [t.mean() for t in families.sufficient_statistics(p, draws)]
    np.testing.assert_allclose(found, families.mean_parameters(p), atol=0.02)
