"""KL, entropy and expectations across families, against integrals and sums of densities."""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, special, stats

import family_oracles as oracle
import jaxdiv as jd
from conftest import every
from jaxdiv import families

# Two members of each family.
MEMBERS: dict[str, dict[str, tuple[float, float]]] = {
    "Normal": dict(loc=(0.3, -2.0), scale=(1.2, 0.25)),
    "Laplace": dict(loc=(0.1, 1.5), scale=(0.5, 0.2)),
    "Gumbel": dict(loc=(-0.2, 3.0), scale=(1.1, 0.4)),
    "Cauchy": dict(loc=(0.0, 1.0), scale=(1.0, 0.5)),
    "Uniform": dict(low=(0.2, 0.0), high=(0.9, 1.0)),
    "Beta": dict(concentration1=(2.0, 0.6), concentration0=(3.0, 1.7)),
    "ContinuousBernoulli": dict(probs=(0.3, 0.998)),
    "Gamma": dict(concentration=(2.5, 40.0), rate=(1.5, 30.0)),
    "Exponential": dict(rate=(0.7, 12.0)),
    "Chi2": dict(df=(3.0, 9.0)),
    "InverseGamma": dict(concentration=(3.2, 8.0), scale=(1.5, 7.0)),
    "Weibull": dict(concentration=(1.7, 0.8), scale=(0.9, 2.0)),
    "Rayleigh": dict(scale=(0.8, 3.0)),
    "HalfNormal": dict(scale=(0.9, 0.1)),
    "LogNormal": dict(loc=(0.1, -1.0), scale=(0.6, 0.2)),
    "Pareto": dict(scale=(0.1, 1.0), alpha=(3.4, 5.0)),
    "InverseGaussian": dict(loc=(1.2, 0.5), concentration=(2.1, 9.0)),
    "Bernoulli": dict(probs=(0.3, 0.999)),
    "Binomial": dict(total_count=(5.0, 7.0), probs=(0.3, 0.8)),
    "Geometric": dict(probs=(0.4, 0.05)),
    "NegativeBinomial": dict(total_count=(2.5, 0.3), probs=(0.4, 0.9)),
    "Poisson": dict(rate=(1.3, 0.02)),
}
COUNTS = ("Bernoulli", "Binomial", "Geometric", "NegativeBinomial", "Poisson")
# Members with a density at 0, where E[1/x] diverges; and what has no mean or variance.
AT_ZERO = {("Exponential", 0), ("Exponential", 1), ("HalfNormal", 0), ("HalfNormal", 1),
           ("Uniform", 1), ("Beta", 1), ("Weibull", 1)}  # fmt: skip
HEAVY = {("Cauchy", "Normal"), ("Cauchy", "Laplace"), ("Cauchy", "Gumbel")}
# What p has no closed form for, by what q needs.
_LOG = (
    "Gamma", "Exponential", "Chi2", "InverseGamma", "Weibull", "Rayleigh", "HalfNormal",
    "LogNormal", "InverseGaussian", "Beta",
)  # fmt: skip
_UNKNOWN_TO = {
    "Normal": ("Cauchy",),
    "Laplace": ("Cauchy",),
    "Gumbel": ("Cauchy", "Laplace"),
    "Uniform": ("Cauchy",),
    "Beta": ("Cauchy", "Laplace", "Gumbel"),
    "ContinuousBernoulli": (
        "Cauchy",
        "Laplace",
        *(q for q in _LOG if q not in ("Exponential", "HalfNormal")),
    ),
    "Gamma": ("Cauchy",),
    "Exponential": ("Cauchy",),
    "Chi2": ("Cauchy",),
    "InverseGamma": ("Cauchy", "Laplace", "Gumbel"),
    "Weibull": ("Cauchy", "Laplace", "Gumbel"),
    "Rayleigh": ("Cauchy", "Gumbel"),
    "HalfNormal": ("Cauchy", "Gumbel"),
    "LogNormal": ("Cauchy", "Laplace", "Gumbel"),
    "Pareto": ("Cauchy", "Laplace", "Gumbel"),
    "InverseGaussian": ("Cauchy", "Laplace", "LogNormal", "Weibull"),
    "Binomial": ("Geometric", "NegativeBinomial", "Poisson"),
    "Geometric": ("NegativeBinomial", "Poisson"),
    "NegativeBinomial": ("Geometric", "Poisson"),
    "Poisson": ("Geometric", "NegativeBinomial"),
}
MISSING = {(p, q) for p, several in _UNKNOWN_TO.items() for q in several}
QUICK = ("Normal", "Bernoulli")
divergence = jax.jit(jd.kl_divergence)


def member(name, dtype=jnp.float32, index=slice(None)):
    of = {key: jnp.asarray(values, dtype)[index] for key, values in MEMBERS[name].items()}
    return getattr(families, name)(**of)


def stored(name, dtype, index):
    return {key: float(np.asarray(x[index], dtype)) for key, x in MEMBERS[name].items()}


def expected(p, q, dtype, index):
    inverse = q in ("InverseGamma", "InverseGaussian")
    if (p in COUNTS) != (q in COUNTS) or (p, q) in HEAVY or (inverse and (p, index) in AT_ZERO):
        return math.inf
    return oracle.kl_between(p, stored(p, dtype, index), q, stored(q, dtype, index))


def check(p, q, dtype):
    if (p, q) in MISSING:
        with pytest.raises(NotImplementedError, match="has no closed form here: it needs the"):
            jd.kl_divergence(member(p, dtype, 0), member(q, dtype, 0))
        return
    found = divergence(member(p, dtype), member(q, dtype))
    assert found.dtype == dtype
    for index, value in enumerate(np.asarray(found)):
        truth = expected(p, q, dtype, index)
        if truth == math.inf:
            assert value == math.inf, (p, q, index)
        else:
            # Entropies and expectations are sums with terms of the size of 1. JAX's incomplete
            # gamma function, of which E|x - c| is made, is off by up to 150 ulp in float64.
            allowed = 512 if q == "Laplace" and dtype == np.float64 else 64
            error = abs(float(mpmath.mpf(float(value)) - truth)) / (1 + float(truth))
            assert error <= allowed * np.finfo(dtype).eps, (p, q, index, value, truth)


@pytest.mark.parametrize("p", every(MEMBERS, QUICK))
def test_every_pair(p):
    for q in MEMBERS:
        if q != p:
            check(p, q, np.float32)


# Of the powers of gamma variables, which have one program, two.
REPEATS = ("Weibull", "Rayleigh", "Chi2", "HalfNormal", "Exponential")


@pytest.mark.slow
@pytest.mark.parametrize("p", [name for name in MEMBERS if name not in REPEATS])
def test_every_pair_in_float64(p):
    with jax.enable_x64(True):
        for q in MEMBERS:
            if q != p:
                check(p, q, np.float64)


def test_supports_decide_by_parameters():
    unit = jd.Beta(2.0, 3.0)
    inside, outside = jd.Uniform(0.0, 1.0), jd.Uniform(-0.5, 1.0)
    assert jnp.isfinite(jd.kl_divergence(inside, unit))
    assert jd.kl_divergence(outside, unit) == jnp.inf
    both = jd.Uniform(jnp.float32([0.0, -0.5]), 1.0)

    def finite(a):
        value = jd.kl_divergence(both, jd.Beta(a, 3.0))
        return jnp.sum(jnp.where(jnp.isfinite(value), value, 0))

    value, slope = jax.value_and_grad(finite)(2.0)
    assert jnp.isfinite(value) and jnp.isfinite(slope)
    assert jd.kl_divergence(jd.Binomial(10, 0.5), jd.Binomial(5, 0.5)) == jnp.inf
    assert jd.kl_divergence(jd.Poisson(2.0), jd.Bernoulli(0.5)) == jnp.inf
    # Without a rate all mass is on 0.
    np.testing.assert_allclose(jd.kl_divergence(jd.Poisson(0.0), jd.Bernoulli(0.5)), math.log(2))
    dirichlet = jd.Dirichlet(jnp.ones(3))
    normal = jd.MultivariateNormal(jnp.zeros(3), scale_diag=jnp.ones(3))
    assert jd.kl_divergence(dirichlet, normal) == jnp.inf
    assert jd.kl_divergence(normal, dirichlet) == jnp.inf


def test_families_that_share_a_member():
    one = jd.Exponential(0.7)
    same = jd.Weibull(1.0, 1 / 0.7), jd.Gamma(1.0, 0.7)
    assert all(jd.kl_divergence(one, q) <= 2.0**-40 for q in same)
    assert jd.kl_divergence(jd.Rayleigh(2.0), jd.Weibull(2.0, 2 * math.sqrt(2))) <= 2.0**-40
    # Of one power of x, but of different shapes.
    apart = float(oracle.kl_between("HalfNormal", dict(scale=1.5), "Rayleigh", dict(scale=1.5)))
    found = jd.kl_divergence(jd.HalfNormal(1.5), jd.Rayleigh(1.5))
    np.testing.assert_allclose(found, apart, rtol=1e-5)


SLOPES = [
    ("Gamma", "Normal"),
    ("Normal", "Laplace"),
    ("Beta", "Gamma"),
    ("Gamma", "Laplace"),
    ("Bernoulli", "Poisson"),
]


@pytest.mark.parametrize("p, q", [pytest.param(*x, marks=() if i == 1 else pytest.mark.slow)
                                  for i, x in enumerate(SLOPES)])  # fmt: skip
def test_derivatives_by_differences_of_integrals(p, q):
    """Central differences of the definition, by all parameters of both."""
    with jax.enable_x64(True):
        a, b = member(p, jnp.float64, 0), member(q, jnp.float64, 0)
        slopes = jax.grad(lambda a, b: jd.kl_divergence(a, b), argnums=(0, 1))(a, b)
        step = 2.0**-13
        for side, (name, slope) in enumerate(zip((p, q), slopes, strict=True)):
            for key in MEMBERS[name]:
                ends = []
                for sign in (-2, -1, 1, 2):
                    of = [stored(p, np.float64, 0), stored(q, np.float64, 0)]
                    of[side][key] += sign * step
                    ends.append(oracle.kl_between(p, of[0], q, of[1]))
                truth = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
                # The rule's error is of the fourth power of the step.
                np.testing.assert_allclose(getattr(slope, key), float(truth), rtol=1e-9, atol=1e-10)


@functools.cache
def _entropy(name, index):
    return float(oracle.entropy_by_definition(name, stored(name, np.float32, index)))


@pytest.mark.parametrize("name", every(MEMBERS, (*QUICK, "Gamma", "Poisson")))
def test_entropy(name):
    if name in ("Binomial", "NegativeBinomial", "Poisson"):
        with pytest.raises(NotImplementedError, match=r"it needs the expectation of log x!"):
            jd.entropy(member(name))
        return
    p = member(name)
    truth = np.array([_entropy(name, index) for index in (0, 1)])
    np.testing.assert_array_less(
        np.abs(jd.entropy(p) - truth), 64 * 2.0**-23 * (1 + np.abs(truth)), str(truth)
    )
    bits = jd.entropy(p, base=2)
    np.testing.assert_allclose(bits, truth / math.log(2), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jd.cross_entropy(p, p), jd.entropy(p), rtol=0)


def test_cross_entropy_is_entropy_and_kl():
    p, q = jd.Gamma(2.5, 1.5), jd.Normal(0.3, 1.2)
    together = jd.entropy(p) + jd.kl_divergence(p, q)
    np.testing.assert_allclose(jd.cross_entropy(p, q), together, rtol=1e-6)
    np.testing.assert_allclose(jd.perplexity(p), jnp.exp(jd.entropy(p)), rtol=1e-6)


def test_entropy_of_vectors():
    scale = np.float32([[2.0, 0.0], [0.3, 0.5]])
    p = jd.MultivariateNormal(jnp.zeros(2), scale_tril=scale)
    np.testing.assert_allclose(jd.entropy(p), math.log(2 * math.pi * math.e), rtol=1e-6)
    each = jd.Normal(jnp.zeros(3), jnp.float32([1.0, 2.0, 3.0]))
    whole = jd.entropy(jd.Independent(each))
    np.testing.assert_allclose(whole, jnp.sum(jd.entropy(each)), rtol=1e-6)
    a = (0.7, 2.0)
    truth = oracle.entropy_by_definition("Dirichlet", dict(concentration=a))
    found = jd.entropy(jd.Dirichlet(jnp.float32(a)))
    np.testing.assert_allclose(found, float(truth), rtol=1e-5)


def test_narrow_members_are_nearly_normal():
    """Gamma's and Beta's of large shape: terms of the size of log a cancel."""
    for a in (1e3, 1e6):
        p = dict(concentration=a, rate=a)
        q = dict(loc=1.0, scale=float(np.float32(a**-0.5)))
        truth = float(oracle.kl_between("Gamma", p, "Normal", q))
        found = jd.kl_divergence(jd.Gamma(**p), jd.Normal(**q))
        assert abs(found - truth) <= 64 * 2.0**-23 * (1 + truth)


def test_events_of_other_shapes_are_refused():
    with pytest.raises(
        ValueError, match=r"events must have one shape, but are p \(\) and q \(3,\)"
    ):
        normal = jd.MultivariateNormal(jnp.zeros(3), scale_diag=jnp.ones(3))
        jd.kl_divergence(jd.Normal(0.0, 1.0), normal)


X = {
    "x": (lambda x: x, {}),
    "x^2": (lambda x: x**2, {}),
    "1 / x": (lambda x: 1 / x, {}),
    "x^k": (lambda x: x**1.5, dict(k=1.5)),
    "log x": (mpmath.log, {}),
    "log(1 - x)": (lambda x: mpmath.log(1 - x), {}),
    "|x - c|": (lambda x: abs(x - 0.5), dict(c=0.5)),
    "exp(t x)": (lambda x: mpmath.exp(-0.5 * x), dict(t=-0.5)),
}


def integral(f, low, high):
    """Of positive x over its logarithm; densities on the line have nothing beyond 60."""
    if low < 0:
        return mpmath.quad(f, [-60, -20, -8, -2, 0, 0.5, 2, 5, 12, 60])
    ends = [mpmath.log(x) if x > 0 else mpmath.mpf(-60) for x in (low, min(high, mpmath.exp(60)))]
    middle = (-30, -10, -3, -1, -mpmath.log(2), 0, 1, 2, 4, 10, 30)
    places = [ends[0], *(x for x in middle if ends[0] < x < ends[1]), ends[1]]
    return mpmath.quad(lambda u: f(mpmath.exp(u)) * mpmath.exp(u), places)


@pytest.mark.parametrize("name", every(MEMBERS, ("Uniform", "Gamma")))
def test_expectations(name):
    p = stored(name, np.float32, 0)
    low, high = oracle._support(name, p)
    known = 0
    for statistic, (f, keywords) in X.items():
        try:
            found = families.expectation(member(name, index=0), statistic, **keywords)
        except NotImplementedError as error:
            assert "no closed form here for the" in str(error)
            continue
        known += 1
        if name == "Cauchy":
            assert not jnp.isfinite(found)
            continue
        if name in COUNTS:
            terms = [mpmath.exp(oracle.log_density(name, k, p)) * f(mpmath.mpf(k))
                     for k in range(min(int(high), 400) + 1 if high < 400 else 400)]  # fmt: skip
            truth = sum(terms)
        else:

            def integrand(x, f=f):
                return mpmath.exp(oracle.log_density(name, x, p)) * f(x)

            truth = integral(integrand, low, high)
        if found == jnp.inf:
            assert (name, statistic) in {("Exponential", "1 / x"), ("HalfNormal", "1 / x")}
        else:
            np.testing.assert_allclose(found, float(truth), rtol=1e-5, err_msg=statistic)
    assert known >= 1


def test_expectations_of_vectors_and_matrices():
    def check(p, statistic, truth):
        found = families.expectation(p, statistic)
        np.testing.assert_allclose(found, truth, rtol=2e-6, atol=1e-7, err_msg=statistic)

    a, x = np.array([0.4, 2.0, 3.5]), np.array([0.2, 0.3, 0.5])
    lower = np.array([[1.5, 0.0, 0.0], [0.3, 0.7, 0.0], [-1.0, 0.2, 2.0]])
    for p, mean, covariance in (
        (families.Dirichlet(a), stats.dirichlet(a).mean(), stats.dirichlet(a).cov()),
        (families.Multinomial(7, probs=x), 7 * x, stats.multinomial(7, x).cov()),
        (families.MultivariateNormal(a, scale_tril=lower), a, lower @ lower.T),
        (families.MultivariateNormal(a, scale_diag=a), a, np.diag(a**2)),
    ):
        check(p, "x", mean)
        check(p, "(x - E[x])^2", np.diag(covariance))
        check(p, "x^2", np.diag(covariance) + mean**2)
        check(p, "x x^T", covariance + np.outer(mean, mean))
    check(families.Dirichlet(a), "log x", special.digamma(a) - special.digamma(a.sum()))
    check(families.Wishart(5.5, lower), "x", 5.5 * lower @ lower.T)
    logs = special.digamma((5.5 - np.arange(3)) / 2) + np.log(2) + 2 * np.log(np.diag(lower))
    check(families.Wishart(5.5, lower), "log det x", logs.sum())
    # On the sphere in three dimensions the cosine c to the mean has density e^(k c), and the rest
    # of the vector is as long as (1 - c^2)^(1/2) in any direction.
    m, k = np.array([0.6, 0.0, 0.8]), 1.7
    square = integrate.quad(lambda c: c * c * np.exp(k * c), -1, 1)[0]
    square /= integrate.quad(lambda c: np.exp(k * c), -1, 1)[0]
    along = np.outer(m, m)
    expected = square * along + (1 - square) / 2 * (np.eye(3) - along)
    check(families.VonMisesFisher(m, k), "x x^T", expected)
    check(families.VonMisesFisher(m, 0.0), "x x^T", np.eye(3) / 3)
    check(families.Normal(0.5, 1.2), "cos x", np.cos(0.5) * np.exp(-0.72))
    check(families.Normal(0.5, 1.2), "sin x", np.sin(0.5) * np.exp(-0.72))
    with pytest.raises(
        NotImplementedError, match="no closed form here for the expectation of log d"
    ):
        families.expectation(families.Normal(0.0, 1.0), "log det x")


def test_expectation_refuses():
    p = jd.Gamma(2.0, 1.0)
    with pytest.raises(ValueError, match=r"statistic must be one of 'x', .* but is 'x\^3'"):
        families.expectation(p, "x^3")
    with pytest.raises(TypeError, match="takes k, but was given no keywords"):
        families.expectation(p, "x^k")
    with pytest.raises(ValueError, match=r"p\.rate must be positive"):
        families.expectation(jd.Gamma(2.0, -1.0), "x")
    with pytest.raises(NotImplementedError, match="no closed form here for the expectation of log"):
        families.expectation(jd.Normal(0.0, 1.0), "log x")
    assert families.expectation(p, "|x - c|", c=jnp.arange(3.0)).shape == (3,)


def test_transformed_has_the_divergences_of_its_base():
    p, q = jd.Normal(0.0, 1.0), jd.Normal(jnp.arange(3.0), 2.0)
    a, b = jd.Transformed(p, jnp.tanh), jd.Transformed(q, jnp.tanh)
    for verb in (jd.kl_divergence, jd.squared_hellinger, jd.fisher_rao_distance):
        np.testing.assert_array_equal(verb(a, b), verb(p, q))
    np.testing.assert_array_equal(
        jax.jit(jd.kl_divergence)(jd.Transformed(p, "spline"), jd.Transformed(q, "spline")),
        jd.kl_divergence(p, q),
    )
    with pytest.raises(NotImplementedError, match="different bijections"):
        jd.kl_divergence(a, jd.Transformed(q, jnp.exp))
    with pytest.raises(TypeError, match=r"p\.bijection must be hashable, but is a list"):
        jd.kl_divergence(jd.Transformed(p, [1]), b)
    with pytest.raises(TypeError, match=r"q\.base must be a member of a family, but is a float"):
        jd.kl_divergence(a, jd.Transformed(1.0, jnp.tanh))


def test_the_table_says_what_there_is():
    from jaxdiv.families.table import kl_between

    snake = {entry.family.__name__: name for name, entry in families.catalogue.FAMILIES.items()}
    for p in QUICK:
        for q in MEMBERS:
            if q != p:
                known = kl_between(snake[p], snake[q])
                if (p, q) in MISSING:
                    assert known is False
                elif (p in COUNTS) != (q in COUNTS):
                    assert known is None
                elif oracle._support(q, stored(q, np.float32, 0))[0] == -math.inf:
                    assert known is True
