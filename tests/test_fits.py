"""Fits against moments, scipy's minimiser and closed forms; and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import optimize, special, stats

import jaxdiv as jd
from jaxdiv._divergence import Reverse
from jaxdiv.families.catalogue import FAMILIES
from jaxdiv.fits._charts import chart

WEIGHTS, LOCS, SCALES = np.asarray([[0.6, 0.4], [-3.0, 3.0], [0.6, 0.8]], np.float32)
TWO = jd.Mixture(WEIGHTS, jd.Normal(LOCS, SCALES))
MEAN = float(WEIGHTS @ LOCS)
DEVIATION = float(np.sqrt(WEIGHTS @ (SCALES**2 + (LOCS - MEAN) ** 2)))
KEY = jax.random.key(0)


def test_forward_kl_to_an_exponential_family_matches_moments():
    found = jd.fit(jd.KL(), TWO, jd.Normal)
    assert found.method == "moments" and found.steps == 0 and found.converged
    np.testing.assert_allclose([found.member.loc, found.member.scale], [MEAN, DEVIATION], rtol=2e-5)
    # E log x and Var log x of a gamma variable; E x and E log x of a log-normal one.
    found = jd.fit(jd.KL(), jd.Gamma(2.0, 3.0), jd.LogNormal).member
    wanted = special.digamma(2) - np.log(3), np.sqrt(special.polygamma(1, 2))
    np.testing.assert_allclose([found.loc, found.scale], wanted, rtol=1e-4)
    found = jd.fit(jd.KL(), jd.LogNormal(0.2, 0.5), jd.Gamma).member
    a, r = float(found.concentration), float(found.rate)
    assert a / r == pytest.approx(np.exp(0.2 + 0.125), rel=1e-4)
    assert special.digamma(a) - np.log(r) == pytest.approx(0.2, abs=1e-4)


@pytest.mark.slow
def test_moments_of_counts_of_draws_and_of_vectors():
    row = np.asarray([0.2, 0.5, 0.3], np.float32)
    assert jd.fit(jd.KL(), row, jd.Poisson).member.rate == pytest.approx(1.1, rel=1e-5)
    start = jd.Logits(np.zeros(3, np.float32))
    found = jd.fit(jd.KL(), row, start)
    np.testing.assert_allclose(jax.nn.softmax(found.member.logits), row, rtol=1e-5)
    assert abs(found.value) < 1e-6
    x = np.random.default_rng(0).gamma(2.0, 1.5, 500).astype(np.float32)
    found = jd.fit(jd.KL(), jd.Samples(x), jd.Gamma).member
    a, _, scale = stats.gamma.fit(x, floc=0)
    np.testing.assert_allclose([found.concentration, 1 / found.rate], [a, scale], rtol=1e-3)
    covariances = np.stack([np.eye(2), np.asarray([[2.0, 0.5], [0.5, 1.0]])]).astype(np.float32)
    locs = np.asarray([[-1.0, 0.0], [2.0, 1.0]], np.float32)
    pair = jd.Mixture(np.asarray([0.5, 0.5], np.float32), jd.MultivariateNormal(locs, covariances))
    like = jd.MultivariateNormal(np.zeros(2, np.float32), scale_tril=np.eye(2, dtype=np.float32))
    # The value is an estimate by draws, of which there is a key here.
    found = jd.fit(jd.KL(), pair, like).member
    off = (locs[0] - locs[1]) / 2
    np.testing.assert_allclose(found.loc, locs.mean(0), atol=1e-6)
    np.testing.assert_allclose(
        found.covariance(), covariances.mean(0) + np.outer(off, off), rtol=1e-5
    )


@pytest.mark.slow
def test_quadrature_finds_the_moments_and_says_that_it_did():
    found = jd.fit(jd.KL(), TWO, jd.Normal, optimizer=optax.lbfgs(), tolerance=1e-3)
    assert found.method == "quadrature" and found.converged
    assert len(found.history) == found.steps > 0
    np.testing.assert_allclose([found.member.loc, found.member.scale], [MEAN, DEVIATION], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("start", [-1.0, 1.0])
def test_reverse_kl_settles_on_a_mode(start):
    x = np.linspace(-12, 12, 4001)
    log_p = np.logaddexp(*(np.log(w) + stats.norm(m, s).logpdf(x) for w, m, s in
                           zip(WEIGHTS, LOCS, SCALES, strict=True)))  # fmt: skip

    def reverse(w):
        log_q = stats.norm(w[0], np.exp(w[1])).logpdf(x)
        return np.sum(np.exp(log_q) * (log_q - log_p)) * (x[1] - x[0])

    truth = optimize.minimize(reverse, [np.sign(start) * 3, -0.3], method="Nelder-Mead")
    target = jd.Grid(np.float32(x), np.float32(log_p) + 5)
    found = jd.fit(Reverse(jd.KL()), target, jd.Normal(start, 1.0))
    assert found.method == "quadrature" and found.converged
    np.testing.assert_allclose(found.member.loc, truth.x[0], rtol=1e-3)
    np.testing.assert_allclose(found.member.scale, np.exp(truth.x[1]), rtol=1e-3)
    assert found.value == pytest.approx(truth.fun, rel=1e-4)


def test_members_of_one_family_have_a_closed_form():
    found = jd.fit(Reverse(jd.KL()), jd.Gamma(2.0, 3.0), jd.Gamma)
    assert found.method == "closed form" and found.converged
    np.testing.assert_allclose(
        [found.member.concentration, found.member.rate], [2.0, 3.0], rtol=1e-3
    )
    assert 0 <= found.value < 1e-6


@pytest.mark.slow
def test_counts_are_summed():
    found = jd.fit(jd.Chi2(), jd.Poisson(4.0), jd.Geometric(probs=0.3))
    assert found.method == "finite sum"
    k = np.arange(60)
    p = stats.poisson(4).pmf(k)

    def chi2(rate):
        q = stats.geom(rate, loc=-1).pmf(k)
        return np.sum((p - q) ** 2 / q) + (1 - rate) ** 60

    truth = optimize.minimize_scalar(chi2, bounds=(0.05, 0.9), method="bounded")
    assert found.member.probs == pytest.approx(truth.x, rel=1e-3)
    assert found.value == pytest.approx(truth.fun, rel=1e-4)


def test_draws_are_fitted_by_maximum_likelihood():
    x = np.random.default_rng(0).standard_t(3, 101).astype(np.float32)
    found = jd.fit(jd.KL(), jd.Samples(x), jd.Laplace, optimizer=optax.adam(0.02), num_steps=1500)
    assert found.method == "maximum likelihood"
    # Adam's steps are of 0.02 to begin with; the likelihood of the location has a kink.
    assert found.member.loc == pytest.approx(np.median(x), abs=0.03)
    assert found.member.scale == pytest.approx(np.mean(np.abs(x - np.median(x))), rel=0.02)
    with pytest.raises(NotImplementedError, match="needs the target's density"):
        jd.fit(jd.Chi2(), jd.Samples(x), jd.Laplace)


START = jd.MultivariateNormal(np.zeros(2, np.float32), scale_tril=np.eye(2, dtype=np.float32))


def test_an_unnormalised_density_is_fitted_by_reparametrised_samples():
    precision = jnp.asarray([[2.0, 0.8], [0.8, 1.0]])

    def log_density(x):
        off = x - jnp.asarray([[1.0, -0.5]])
        return -jnp.sum((off @ precision) * off, -1) / 2 + 3.0

    target = jd.Unnormalised(log_density)
    found = jd.fit(Reverse(jd.KL()), target, START, key=KEY, num_steps=1000, num_samples=64)
    assert found.method == "reparametrised samples" and found.converged
    np.testing.assert_allclose(found.member.loc, [1.0, -0.5], atol=0.02)
    np.testing.assert_allclose(found.member.covariance(), np.linalg.inv(precision), atol=0.04)
    # The negative evidence lower bound is -log of the normaliser at the target itself.
    log_normaliser = 3.0 + np.log(2 * np.pi) - np.log(np.linalg.det(precision)) / 2
    assert found.value == pytest.approx(-log_normaliser, abs=0.01)


@pytest.mark.slow
def test_samples_of_either_side():
    target = jd.Mixture(
        np.asarray([0.5, 0.5], np.float32),
        jd.MultivariateNormal(
            np.asarray([[-1.0, 0.0], [2.0, 1.0]], np.float32),
            scale_diag=np.ones((2, 2), np.float32),
        ),
    )
    wanted = jd.fit(jd.KL(), target, START).member
    # At a constant rate the parameters keep wandering, by some percent.
    falling = optax.adam(optax.cosine_decay_schedule(0.03, 2000))
    found = jd.fit(jd.KL(), target, START, key=KEY, optimizer=falling)
    assert found.method == "samples of the target"
    np.testing.assert_allclose(found.member.loc, wanted.loc, atol=0.06)
    np.testing.assert_allclose(found.member.covariance(), wanted.covariance(), atol=0.25)
    other = jd.fit(jd.JensenShannon(), target, START, key=KEY)
    assert other.method == "reparametrised samples"
    value = jd.estimate(jd.JensenShannon(), target, other.member, KEY, 20000)
    matched = jd.estimate(jd.JensenShannon(), target, wanted, KEY, 20000)
    assert value.value < matched.value + 3 * matched.standard_error


@pytest.mark.parametrize("name", list(FAMILIES))
def test_parameters_without_constraints_stand_for_the_member(name):
    entry = FAMILIES[name]
    batch = entry.members(entry.numbers(KEY, 1, jnp.float32))
    member = jax.tree.map(lambda x: x[0], batch)
    if name in ("multinomial", "von_mises_fisher", "power_spherical"):
        with pytest.raises(NotImplementedError, match="no chart without constraints"):
            chart(member)
        return
    free, rebuild = chart(member)
    for a, b in zip(jax.tree.leaves(rebuild(free)), jax.tree.leaves(member), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    moved = rebuild(jax.tree.map(lambda x: x + jnp.ones_like(x), free))
    if name not in ("wishart", "uniform"):  # whose parameters are bound to each other
        assert moved.valid()


def _grid(log):
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    return jd.Grid(x, log(x))


NOWHERE = _grid(lambda x: np.where(x, x, np.nan))
BROKEN = jd.Unnormalised(lambda x: jnp.where(x[:, 0] > 0, jnp.nan, 0))


@pytest.mark.parametrize(
    ("error", "match", "target", "family", "keywords"),
    [
        (ValueError, "NaN at 1 of 101 points, first at x = 0", NOWHERE, jd.Normal, {}),
        (ValueError, "finite somewhere", _grid(lambda x: np.full_like(x, -np.inf)), jd.Normal, {}),
        (ValueError, "one number a point", jd.Grid(np.arange(3.0), np.zeros(2)), jd.Normal, {}),
        (ValueError, "increasing", jd.Grid(np.asarray([0.0, 0.0]), np.zeros(2)), jd.Normal, {}),
        (ValueError, "for families of numbers", _grid(lambda x: -x * x), jd.Poisson, {}),
        (ValueError, "the log density of target is NaN", BROKEN, START, {"key": KEY}),
        (ValueError, "target.values is NaN", jd.Samples(np.asarray([0.0, np.nan])), jd.Normal, {}),
        (ValueError, "draws of shape", jd.Samples(np.zeros((4, 3))), jd.Normal, {}),
        (ValueError, "one number a draw", jd.Unnormalised(lambda x: x), START, {"key": KEY}),
        (ValueError, "key must be given", jd.Unnormalised(lambda x: x[:, 0]), START, {}),
        (ValueError, "outcomes of one kind", jd.Normal(0.0, 1.0), jd.Poisson, {}),
        (ValueError, "logits of shape", np.ones(4) / 4, jd.Logits(np.zeros(3)), {}),
        (ValueError, "needs a member to begin with", TWO, jd.Dirichlet, {}),
        (ValueError, "must be one distribution", TWO, jd.Normal(LOCS, SCALES), {}),
        (ValueError, "must be one distribution", jd.Normal(LOCS, SCALES), jd.Normal, {}),
        (ValueError, r"target\.scale must be positive", jd.Normal(0.0, -1.0), jd.Normal, {}),
        (TypeError, "family must be a member", TWO, "normal", {}),
        (TypeError, "target must be a member", np.ones(3) / 3, jd.Normal, {}),
        (NotImplementedError, "lay a grid", jd.Cauchy(0.0, 1.0), jd.Normal, {}),
    ],
)  # fmt: skip
def test_bad_input_is_named(error, match, target, family, keywords):
    with pytest.raises(error, match=match):
        jd.fit(Reverse(jd.KL()), target, family, **keywords)


def test_a_value_that_becomes_nan_stops_the_fit():
    late = jd.Unnormalised(lambda x: jnp.where(jnp.mean(x) > 0.5, jnp.nan, jnp.sum(x, axis=-1)))
    with pytest.raises(FloatingPointError, match="NaN at step"):
        jd.fit(Reverse(jd.KL()), late, START, key=KEY, num_steps=200, num_samples=16)


def test_progress_is_shown_when_it_is_asked_for(capsys):
    target, family = jd.Gamma(2.0, 3.0), jd.Gamma
    jd.fit(Reverse(jd.KL()), target, family, num_steps=10)
    assert capsys.readouterr() == ("", "")
    jd.fit(Reverse(jd.KL()), target, family, num_steps=10, progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "fit" in shown.err


@pytest.mark.slow
def test_reverse_kl_settles_on_the_mode_it_begins_near():
    # Two modes so far apart that the best member is one of them: KL is -log of its weight.
    modes = jd.Normal(np.float32([-2.5, 2.5]), np.float32([0.6, 0.9]))
    target = jd.Mixture(np.float32([0.6, 0.4]), modes)
    for start, weight, loc in ((-1.0, 0.6, -2.5), (1.0, 0.4, 2.5)):
        found = jd.fit(jd.Reverse(jd.KL()), target, jd.Normal(start, 1.0))
        assert found.converged
        np.testing.assert_allclose(found.member.loc, loc, rtol=0.01)
        np.testing.assert_allclose(found.value, -np.log(weight), atol=5e-3)
