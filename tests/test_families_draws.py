"""Densities of families and draws from them, beside scipy.stats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdiv as jd
from conftest import every
from jaxdiv import families
from jaxdiv.families import draws

pytestmark = pytest.mark.usefixtures("x64")

_COVARIANCE = np.asarray([[2.0, 0.6, 0.1], [0.6, 1.0, -0.2], [0.1, -0.2, 0.5]])
_LOC = np.asarray([0.5, -1.0, 2.0])


def _continuous_bernoulli(p):
    z = np.log(p / (1 - p))
    truncated = stats.truncexpon(b=z, scale=1 / z)  # e^(-z x) on [0, 1]
    return lambda x: truncated.logpdf(1 - np.asarray(x)), lambda x: 1 - truncated.cdf(1 - x)


class Own:
    """A law given by its log density and its distribution function."""

    def __init__(self, logpdf, cdf):
        self.logpdf, self.cdf = logpdf, cdf


# A member, the same law in scipy, and outcomes inside and outside the support.
LINE = {
    "normal": (families.Normal(0.5, 2.0), stats.norm(0.5, 2.0), [-3.0, 0.5, 7.0]),
    "log_normal": (families.LogNormal(0.3, 0.7), stats.lognorm(0.7, scale=np.exp(0.3)), [-1, 2.0]),
    "half_normal": (families.HalfNormal(1.5), stats.halfnorm(scale=1.5), [-0.1, 0.0, 2.0]),
    "rayleigh": (families.Rayleigh(1.5), stats.rayleigh(scale=1.5), [-0.1, 0.4, 2.0]),
    "gamma": (families.Gamma(0.7, 2.0), stats.gamma(0.7, scale=0.5), [-1.0, 1e-3, 4.0]),
    "exponential": (families.Exponential(2.5), stats.expon(scale=0.4), [-0.5, 0.0, 3.0]),
    "chi2": (families.Chi2(3.0), stats.chi2(3.0), [-0.5, 0.2, 9.0]),
    "inverse_gamma": (
        families.InverseGamma(3.0, 2.0), stats.invgamma(3.0, scale=2.0), [-0.5, 0.2, 9.0]
    ),
    "inverse_gaussian": (
        families.InverseGaussian(1.5, 2.0), stats.invgauss(1.5 / 2.0, scale=2.0), [-0.5, 0.2, 9.0]
    ),
    "weibull": (families.Weibull(1.7, 2.0), stats.weibull_min(1.7, scale=2.0), [-0.5, 0.2, 4.0]),
    "gumbel": (families.Gumbel(0.5, 2.0), stats.gumbel_r(0.5, 2.0), [-4.0, 0.5, 9.0]),
    "pareto": (families.Pareto(1.5, 2.5), stats.pareto(2.5, scale=1.5), [1.4, 1.5, 9.0]),
    "laplace": (families.Laplace(0.5, 2.0), stats.laplace(0.5, 2.0), [-3.0, 0.5, 7.0]),
    "cauchy": (families.Cauchy(0.5, 2.0), stats.cauchy(0.5, 2.0), [-30.0, 0.5, 7.0]),
    "uniform": (families.Uniform(-1.0, 3.0), stats.uniform(-1.0, 4.0), [-1.1, 0.5, 3.1]),
    "beta": (families.Beta(0.6, 2.5), stats.beta(0.6, 2.5), [-0.1, 0.3, 1.2]),
    "continuous_bernoulli": (
        families.ContinuousBernoulli(0.8), Own(*_continuous_bernoulli(0.8)), [0.1, 0.9]
    ),
    "von_mises": (families.VonMises(0.5, 2.0), stats.vonmises(2.0, 0.5), [-1.0, 0.5, 3.0]),
}  # fmt: skip
COUNTS = {
    "bernoulli": (families.Bernoulli(0.3), stats.bernoulli(0.3), 3),
    "binomial": (families.Binomial(9.0, logits=0.4), stats.binom(9, 1 / (1 + np.exp(-0.4))), 11),
    "geometric": (families.Geometric(0.3), stats.geom(0.3, loc=-1), 25),
    "negative_binomial": (families.NegativeBinomial(2.5, 0.4), stats.nbinom(2.5, 0.6), 25),
    "poisson": (families.Poisson(3.5), stats.poisson(3.5), 25),
}
QUICK = ("normal", "gamma", "inverse_gaussian", "continuous_bernoulli", "pareto", "cauchy")
QUICK_COUNTS = ("poisson", "geometric")


@pytest.mark.parametrize("name", every(LINE, (*QUICK, "von_mises")))
def test_densities_on_the_line(name):
    member, law, outcomes = LINE[name]
    value = member.log_prob(np.asarray(outcomes))
    np.testing.assert_allclose(value, law.logpdf(np.asarray(outcomes)), rtol=1e-12, atol=1e-12)
    assert np.isnan(member.log_prob(np.nan))
    # A batch of members, and the gradient where the density is 0.
    batch = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), member)
    both = batch.log_prob(np.asarray(outcomes)[:, None])
    np.testing.assert_array_equal(both, np.stack([value, value], 1))
    slope = jax.grad(lambda m: jnp.sum(jnp.exp(m.log_prob(np.asarray(outcomes)))))(
        jax.tree.map(jnp.float64, member)
    )
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(slope))


@pytest.mark.parametrize("name", every(COUNTS, QUICK_COUNTS))
def test_probabilities_of_counts(name):
    member, law, most = COUNTS[name]
    k = np.arange(-1, most)
    np.testing.assert_allclose(member.log_prob(k), law.logpmf(k), rtol=1e-11, atol=1e-11)
    assert member.log_prob(0.5) == -np.inf


def test_densities_of_vectors_and_matrices():
    x = np.asarray([[0.1, -0.7, 1.0], [3.0, 0.0, 2.0]])
    law = stats.multivariate_normal(_LOC, _COVARIANCE)
    lower = np.linalg.cholesky(_COVARIANCE)
    for form in ({"covariance_matrix": _COVARIANCE}, {"scale_tril": lower}):
        member = families.MultivariateNormal(_LOC, **form)
        np.testing.assert_allclose(member.log_prob(x), law.logpdf(x), rtol=1e-12)
    own = families.MultivariateNormal(_LOC, scale_diag=np.asarray([1.0, 2.0, 3.0]))
    alone = families.Independent(families.Normal(_LOC, np.asarray([1.0, 2.0, 3.0])))
    np.testing.assert_allclose(own.log_prob(x), alone.log_prob(x), rtol=1e-12)
    point = np.asarray([0.2, 0.3, 0.5])
    a = np.asarray([0.5, 2.0, 3.0])
    np.testing.assert_allclose(
        families.Dirichlet(a).log_prob(point), stats.dirichlet(a).logpdf(point), rtol=1e-12
    )
    k = np.asarray([2.0, 1.0, 4.0])
    multinomial = families.Multinomial(7.0, point)
    np.testing.assert_allclose(
        multinomial.log_prob(k), stats.multinomial(7, point).logpmf(k), rtol=1e-12
    )
    assert multinomial.log_prob(k + 1) == -np.inf
    unit = np.asarray([0.6, 0.0, 0.8])
    np.testing.assert_allclose(
        families.VonMisesFisher(unit, 2.0).log_prob(point / np.linalg.norm(point)),
        stats.vonmises_fisher(unit, 2.0).logpdf(point / np.linalg.norm(point)),
        rtol=1e-11,
    )
    np.testing.assert_allclose(
        families.Wishart(4.5, lower).log_prob(_COVARIANCE),
        stats.wishart(4.5, _COVARIANCE).logpdf(_COVARIANCE),
        rtol=1e-11,
    )
    # On the circle the density of the power spherical distribution integrates to 1.
    angles = np.linspace(-np.pi, np.pi, 4001)[:-1]
    circle = np.stack([np.cos(angles), np.sin(angles)], -1)
    spherical = families.PowerSpherical(np.asarray([0.6, 0.8]), 3.0)
    total = np.mean(np.exp(spherical.log_prob(circle))) * 2 * np.pi
    assert total == pytest.approx(1, rel=1e-10)


def test_mixtures():
    base = families.Normal(np.asarray([-2.0, 3.0]), np.asarray([1.0, 0.5]))
    mixture = families.Mixture(np.asarray([0.3, 0.7]), base)
    x = np.asarray([-2.5, 0.0, 3.1, 60.0])
    parts = stats.norm([-2.0, 3.0], [1.0, 0.5]).logpdf(x[:, None])
    np.testing.assert_allclose(
        mixture.log_prob(x), np.logaddexp(*(parts + np.log([0.3, 0.7])).T), rtol=1e-12
    )
    assert mixture.mean() == pytest.approx(1.5) and mixture.variance() == pytest.approx(5.725)
    drawn = np.asarray(mixture.sample(jax.random.key(0), 4000))
    found = stats.kstest(
        drawn, lambda x: 0.3 * stats.norm(-2, 1).cdf(x) + 0.7 * stats.norm(3, 0.5).cdf(x)
    )
    assert found.pvalue > 1e-3
    with pytest.raises(ValueError, match="number of components"):
        families.Mixture(np.asarray([0.3, 0.3, 0.4]), base).log_prob(x)
    with pytest.raises(ValueError, match="must sum to 1"):
        families.Mixture(np.asarray([0.3, 0.3]), base).log_prob(x)
    with pytest.raises(NotImplementedError):
        jd.kl_divergence(mixture, families.Normal(0.0, 1.0))


DRAWN = [name for name in LINE if name != "von_mises"]


@pytest.mark.parametrize("name", every(DRAWN, QUICK))
def test_draws_have_the_law(name):
    member, law, _ = LINE[name]
    drawn = np.asarray(member.sample(jax.random.key(1), 4000))
    assert drawn.shape == (4000,)
    # Of twenty laws at fixed seeds one is below 1/1000 once in fifty seeds.
    assert stats.kstest(drawn, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", every(COUNTS, QUICK_COUNTS))
def test_draws_of_counts_have_the_law(name):
    member, law, most = COUNTS[name]
    drawn = np.asarray(member.sample(jax.random.key(1), 4000))
    chances = law.pmf(np.arange(most))
    kept = chances * len(drawn) >= 5
    seen = np.asarray([np.sum(drawn == k) for k in range(most)])
    seen, expected = seen[kept], chances[kept] * len(drawn)
    seen, expected = np.append(seen, 4000 - seen.sum()), np.append(expected, 4000 - expected.sum())
    some = expected > 1e-6
    assert np.all(seen[~some] == 0)
    assert stats.chisquare(
        seen[some], expected[some] * seen.sum() / expected[some].sum()
    ).pvalue > (1e-3)


def test_draws_of_vectors_have_their_moments():
    key = jax.random.key(2)
    member = families.MultivariateNormal(_LOC, covariance_matrix=_COVARIANCE)
    z = np.asarray(member.sample(key, (20, 1000))).reshape(-1, 3)
    np.testing.assert_allclose(z.mean(0), _LOC, atol=4 * np.sqrt(2 / 2e4))
    np.testing.assert_allclose(np.cov(z.T), _COVARIANCE, atol=0.08)
    own = families.Independent(families.Normal(_LOC, np.ones(3))).sample(key, (5,))
    assert own.shape == (5, 3)


@pytest.mark.slow
def test_draws_of_simplices_counts_and_matrices_have_their_moments():
    key = jax.random.key(2)
    a = np.asarray([0.5, 2.0, 3.0])
    point = np.asarray(families.Dirichlet(a).sample(key, 20000))
    np.testing.assert_allclose(point.sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(point.mean(0), a / a.sum(), atol=0.008)
    chances = np.asarray([0.2, 0.3, 0.5])
    counts = np.asarray(families.Multinomial(7.0, chances).sample(key, 4000))
    assert np.all(counts.sum(-1) == 7)
    np.testing.assert_allclose(counts.mean(0), 7 * chances, atol=0.1)
    lower = np.linalg.cholesky(_COVARIANCE)
    matrices = np.asarray(families.Wishart(4.5, lower).sample(key, 20000))
    np.testing.assert_allclose(matrices.mean(0), 4.5 * _COVARIANCE, atol=0.2)


SMOOTH = ("gamma", "beta", "weibull", "continuous_bernoulli", "laplace")


@pytest.mark.parametrize("name", every(SMOOTH, ("weibull",)))
def test_draws_are_differentiable_where_that_is_stated(name):
    # d/d parameter of E[x] through draws, against the derivative of the mean in closed form.
    member, _, _ = LINE[name]
    member = jax.tree.map(jnp.float64, member)
    assert draws.reparametrised(member)
    key = jax.random.key(3)

    def moved(m):
        x = m.sample(key, 20000)
        return jnp.mean(x), x

    slope = jax.grad(lambda m: moved(m)[0])(member)
    truth = jax.grad(lambda m: m.mean() if name != "beta" else m.concentration1 / (
        m.concentration1 + m.concentration0
    ))(member)  # fmt: skip
    for found, wanted in zip(jax.tree.leaves(slope), jax.tree.leaves(truth), strict=True):
        assert found == pytest.approx(float(wanted), rel=0.05, abs=0.02)


def test_what_cannot_be_drawn_or_scored_says_so():
    with pytest.raises(NotImplementedError, match="VonMises"):
        families.VonMises(0.0, 1.0).sample(jax.random.key(0))
    with pytest.raises(NotImplementedError, match="density of Transformed"):
        families.Transformed(families.Normal(0.0, 1.0), "square").log_prob(0.3)
    with pytest.raises(ValueError, match="outcomes of shape"):
        families.MultivariateNormal(_LOC, scale_diag=np.ones(3)).log_prob(np.ones(2))
    with pytest.raises(ValueError, match=r"self\.scale must be positive"):
        families.Normal(0.0, -1.0).sample(jax.random.key(0))
    member = jax.jit(lambda s: families.Normal(0.0, s).log_prob(0.5))
    assert np.isnan(member(-1.0))
