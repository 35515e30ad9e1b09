"""Monte Carlo estimates: the truth within their standard errors, which are the true spread."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jaxdiv as jd
from conftest import every
from test_adapters import package

KEY = jax.random.key(0)
P, Q = jd.Normal(0.0, 1.0), jd.Normal(0.4, 1.2)
# One batch of rows on either side; the third outcome is one that q cannot have, for some.
ROWS = np.asarray([[0.2, 0.3, 0.4, 0.1], [0.25, 0.25, 0.25, 0.25]], np.float32)
OTHERS = np.asarray([[0.3, 0.3, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4]], np.float32)

ESTIMATED = [
    name
    for name, entry in jd.CATALOGUE.items()
    if name not in ("chernoff", "itakura_saito", "squared_euclidean", "bregman")
]
QUICK = ("kl", "renyi_2")


def scores(found: jd.Estimate, truth) -> np.ndarray:
    return np.asarray((found.value - truth) / found.standard_error)


@pytest.mark.parametrize("name", every(ESTIMATED, QUICK))
def test_of_rows_every_estimate_is_near_the_exact_value(name):
    entry = jd.CATALOGUE[name]
    found = jd.estimate(entry.divergence, ROWS, OTHERS, KEY, 20000)
    truth = entry(ROWS, OTHERS)
    assert found.value.shape == found.standard_error.shape == truth.shape == (2,)
    assert np.all(np.abs(scores(found, truth)) < 4)
    assert np.all(found.standard_error < 0.1 * truth + 1e-3)
    same = jd.estimate(entry.divergence, ROWS, ROWS, KEY, 20000)
    assert not same.value.any() and not same.standard_error.any()


def test_members_of_families_without_a_closed_form():
    p, q = stats.norm(0, 1), stats.norm(0.4, 1.2)

    def summand(x):
        m = (p.pdf(x) + q.pdf(x)) / 2
        return (p.pdf(x) * np.log(p.pdf(x) / m) + q.pdf(x) * np.log(q.pdf(x) / m)) / 2

    truth, _ = integrate.quad(summand, -12, 12)
    found = jd.estimate(jd.JensenShannon(), P, Q, KEY, 20000)
    assert abs(scores(found, truth)) < 4 and found.num_samples == 20000


def _spread(divergence, truth, *, p=P, q=Q, count=500, **keywords):
    """Of 600 estimates their mean's distance from the truth and spread, in standard errors."""
    keys = jax.random.split(jax.random.key(1), 600)

    def one(key):
        found = jd.estimate(divergence, p, q, key, count, **keywords)
        return found.value, found.standard_error

    value, error = (np.asarray(x, np.float64) for x in jax.jit(jax.vmap(one))(keys))
    off = (value.mean() - truth) / (value.std() / np.sqrt(len(value)))
    return off, value.std() / np.sqrt(np.mean(error**2)), value.std()


WAYS = {
    "plain": {},
    "fitted": {"control": "fitted"},
    "both": {"draws": "both"},
    "antithetic": {"antithetic": True},
}


def test_standard_errors_are_the_spread_of_the_estimates():
    truth = float(jd.kl_divergence(P, Q))
    spreads = {}
    for name, keywords in WAYS.items():
        off, ratio, spreads[name] = _spread(jd.KL(), truth, **keywords)
        assert abs(off) < 4, name
        assert 0.85 < ratio < 1.15, name
    assert spreads["fitted"] < 0.7 * spreads["plain"]
    assert spreads["both"] < spreads["plain"]


@pytest.mark.slow
def test_a_self_normalised_ratio_has_its_standard_error():
    truth = float(jd.kl_divergence(P, Q))
    one = jd.Unnormalised(lambda x: Q.log_prob(x) + 7.0)
    off, ratio, _ = _spread(jd.KL(), truth, q=one)
    assert abs(off) < 4 and 0.85 < ratio < 1.15
    # By draws from q, of which p is unnormalised; and from an unnormalised p with a sampler.
    other = jd.Unnormalised(lambda x: P.log_prob(x) - 3.0)
    found = jd.estimate(jd.KL(), other, Q, KEY, 20000)
    assert abs(scores(found, truth)) < 4
    sampled = jd.Unnormalised((lambda key, n: P.sample(key, n), other.value))
    found = jd.estimate(jd.KL(), sampled, Q, KEY, 20000)
    assert abs(scores(found, truth)) < 4


@pytest.mark.slow
def test_far_apart_renyis_logarithm_does_not_cancel():
    p, q = jd.Normal(0.0, 1.0), jd.Normal(6.0, 1.0)
    found = jd.estimate(jd.Renyi(0.5), p, q, KEY, 200000, draws="both")
    truth = jd.renyi_divergence(p, q, 0.5)
    assert abs(scores(found, truth)) < 4 and found.standard_error < 0.1 * truth


@pytest.mark.slow
def test_distributions_of_other_packages():
    numpyro, distrax = package("numpyro.distributions"), package("distrax")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        # Student's t has no family here; KL of a normal from it, by quadrature.
        t = stats.t(5)
        truth, _ = integrate.quad(
            lambda x: stats.norm.pdf(x) * (stats.norm.logpdf(x) - t.logpdf(x)), -12, 12
        )
        found = jd.estimate(jd.KL(), numpyro.Normal(0.0, 1.0), numpyro.StudentT(5.0), KEY, 20000)
        assert abs(scores(found, truth)) < 4
        found = jd.estimate(jd.KL(), distrax.Normal(0.0, 1.0), distrax.Normal(0.4, 1.2), KEY, 20000)
        assert found.value == jd.estimate(jd.KL(), P, Q, KEY, 20000).value


def test_functions_and_units():
    pair = (lambda key, n: P.sample(key, n), P.log_prob)
    assert abs(scores(jd.estimate(jd.KL(), pair, Q, KEY, 20000), jd.kl_divergence(P, Q))) < 4
    scored = (None, P.log_prob)
    found = jd.estimate(jd.KL(), scored, (Q.sample, Q.log_prob), KEY, 20000)
    assert abs(scores(found, jd.kl_divergence(P, Q))) < 4
    bits = jd.estimate(jd.KL(), P, Q, KEY, 20000, base=2)
    nats = jd.estimate(jd.KL(), P, Q, KEY, 20000)
    np.testing.assert_allclose(bits.value * np.log(2), nats.value, rtol=1e-6)


@pytest.mark.parametrize(
    ("error", "match", "arguments", "keywords"),
    [
        (ValueError, "num_samples must be an integer", (jd.KL(), P, Q, KEY, 1), {}),
        (ValueError, "must be even", (jd.KL(), P, Q, KEY, 5), {"draws": "both"}),
        (ValueError, "draws must be", (jd.KL(), P, Q, KEY, 4), {"draws": "r"}),
        (ValueError, "control must be", (jd.KL(), P, Q, KEY, 4), {"control": "k3"}),
        (TypeError, "takes no base", (jd.Chi2(), P, Q, KEY, 4), {"base": 2}),
        (NotImplementedError, "no estimate here", (jd.SquaredEuclidean(), P, Q, KEY, 4), {}),
        (NotImplementedError, "no estimate here", (jd.Chernoff(), P, Q, KEY, 4), {}),
        (TypeError, "but is kl_divergence", (jd.kl_divergence, P, Q, KEY, 4), {}),
        (TypeError, "divergence must be .* but is KL$", (jd.KL, P, Q, KEY, 4), {}),
        (TypeError, "p must be a member", (jd.KL(), "normal", Q, KEY, 4), {}),
        (TypeError, "q must be a member", (jd.KL(), P, ROWS, KEY, 4), {}),
        (
            ValueError, "symmetric about a centre",
            (jd.KL(), jd.Gamma(2.0, 1.0), jd.Gamma(1.0, 1.0), KEY, 4), {"antithetic": True},
        ),
        (
            ValueError, "neither p nor q has a sampler",
            (jd.KL(), (None, P.log_prob), (None, Q.log_prob), KEY, 4), {},
        ),
        (
            ValueError, "both densities normalised",
            (jd.KL(), P, jd.Unnormalised((Q.sample, Q.log_prob)), KEY, 4), {"draws": "both"},
        ),
        (
            ValueError, "4 draws along the first axis",
            (jd.KL(), (lambda key, n: jnp.zeros(3), P.log_prob), Q, KEY, 4), {},
        ),
        (
            ValueError, "equal shapes",
            (jd.KL(), P, (None, lambda x: jnp.zeros(3)), KEY, 4), {},
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(error, match, arguments, keywords):
    with pytest.raises(error, match=match):
        jd.estimate(*arguments, **keywords)


def test_a_density_that_is_nan_is_not_dropped():
    broken = (None, lambda x: jnp.where(x > 2, jnp.nan, Q.log_prob(x)))
    found = jd.estimate(jd.KL(), P, broken, KEY, 1000)
    assert np.isnan(found.value) and np.isnan(found.standard_error)
