"""k-NN divergences and entropies: their formulas on scipy's tree, and closed forms on average."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.special import digamma, gamma

import jaxdiv as jd

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(300, 3)), RNG.normal(size=(260, 3)) * 1.2 + 0.3
X32, Y32 = X.astype(np.float32), Y.astype(np.float32)


def log_ratios(x, y, k):
    """log(m nu^d / ((n - 1) rho^d)) by scipy's tree."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rho = cKDTree(x).query(x, k=[k + 1])[0][:, 0]
    nu = cKDTree(y).query(x, k=[k])[0][:, 0]
    return x.shape[1] * np.log(nu / rho) + np.log(len(y) / (len(x) - 1))


def test_kl_is_the_formula_on_a_tree():
    assert jd.samples.knn_kl(X32, Y32) == pytest.approx(log_ratios(X32, Y32, 5).mean(), rel=1e-6)
    bits = jd.samples.knn_kl(X32, Y32, base=2)
    assert bits == pytest.approx(log_ratios(X32, Y32, 5).mean() / math.log(2), rel=1e-6)


@pytest.mark.usefixtures("x64")
def test_kl_in_float64_to_rounding():
    truth = log_ratios(X, Y, 5).mean()
    assert jd.samples.knn_kl(X, Y) == pytest.approx(truth, rel=1e-13)


def power(x, y, k, alpha):
    """S_x of Poczos and Schneider, and its terms."""
    constant = gamma(k) ** 2 / (gamma(k - alpha + 1) * gamma(k + alpha - 1))
    terms = constant * np.exp((alpha - 1) * log_ratios(x, y, k))
    return terms.mean(), terms


def mixed(x, y, k, alpha):
    """The mean of S_x and S_y, weighted by the inverse squares of their relative errors."""
    (a, of_x), (b, of_y) = power(x, y, k, alpha), power(y, x, k, 1 - alpha)
    errors = (of_x / a).var() / len(x), (of_y / b).var() / len(y)
    return (errors[1] * a + errors[0] * b) / sum(errors)


@pytest.mark.parametrize("points", ["both", "x"])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.99, 1.3, 3.0])
def test_renyi_and_alpha_are_their_formulas(alpha, points):
    s = mixed(X32, Y32, 5, alpha) if points == "both" else power(X32, Y32, 5, alpha)[0]
    renyi = jd.samples.knn_renyi(X32, Y32, alpha, points=points)
    # Near alpha = 1 the oracle's own quotient loses digits, those of 1 - S.
    assert renyi == pytest.approx(np.log(s) / (alpha - 1), rel=3e-6)
    value = jd.samples.knn_alpha(X32, Y32, alpha, points=points)
    assert value == pytest.approx((s - 1) / (alpha * (alpha - 1)), rel=5e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("alpha", [0.3, 0.5, 2.5, 4.5])
def test_renyi_of_samples_far_apart(alpha):
    far = Y + np.array([6.0, 0, 0])
    renyi = jd.samples.knn_renyi(X, far, alpha)
    assert renyi == pytest.approx(np.log(mixed(X, far, 5, alpha)) / (alpha - 1), rel=1e-11)


@pytest.mark.usefixtures("x64")
def test_orders_of_which_one_sample_alone_has_an_estimate():
    # Gamma(k - alpha) of y's points has no meaning at alpha = k and above.
    for alpha in (5.0, 5.5):
        both, alone = (jd.samples.knn_renyi(X, Y, alpha, points=p) for p in ("both", "x"))
        assert both == alone and np.isfinite(both)


@pytest.mark.usefixtures("x64")
def test_order_one_half_is_symmetric():
    assert jd.samples.knn_renyi(X, Y, 0.5) == pytest.approx(
        float(jd.samples.knn_renyi(Y, X, 0.5)), rel=1e-13
    )


def test_points_are_both_or_x():
    with pytest.raises(ValueError, match='points must be "both" or "x", but is \'y\''):
        jd.samples.knn_renyi(X32, Y32, 0.5, points="y")
    with pytest.raises(ValueError, match="k must be"):
        jd.samples.knn_renyi(X32, Y32[:5], 0.5)
    assert np.isfinite(jd.samples.knn_renyi(X32, Y32[:5], 0.5, points="x"))


@pytest.mark.slow
def test_orders_meet_at_kl():
    kl = float(jd.samples.knn_kl(X32, Y32))
    for estimate in (jd.samples.knn_renyi, jd.samples.knn_alpha):
        assert estimate(X32, Y32, 1.0) == pytest.approx(kl, rel=1e-6)
        assert estimate(X32, Y32, 1.00001) == pytest.approx(kl, rel=1e-4)
        slope = jax.grad(lambda a, f=estimate: f(X32, Y32, a))(1.0)
        sides = [float(estimate(X32, Y32, a)) for a in (0.98, 1.02)]
        assert slope == pytest.approx((sides[1] - sides[0]) / 0.04, rel=2e-2)
    assert jd.samples.knn_alpha(X32, Y32, -1.0) == pytest.approx(
        (mixed(X32, Y32, 5, -1.0) - 1) / 2, rel=5e-6
    )
    traced = jax.jit(lambda a: jd.samples.knn_renyi(X32, Y32, a))
    assert np.isnan(traced(6.5)) and np.isfinite(traced(0.5))


def test_entropy_is_its_formula():
    rho = cKDTree(X32).query(X32, k=[6])[0][:, 0].astype(np.float64)
    ball = np.log(4 / 3 * np.pi)
    truth = digamma(300) - digamma(5) + ball + 3 * np.log(rho).mean()
    assert jd.samples.knn_entropy(X32) == pytest.approx(truth, rel=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_derivatives_are_those_of_the_value():
    x, y = jnp.asarray(X), jnp.asarray(Y)
    v, w = jnp.asarray(RNG.normal(size=X.shape)), jnp.asarray(RNG.normal(size=Y.shape))

    def value(t):
        return jd.samples.knn_kl(x + t * v, y + t * w)

    # 1e-7 moves no point past another.
    truth = float(value(1e-7) - value(-1e-7)) / 2e-7
    assert jax.jvp(value, (0.0,), (1.0,))[1] == pytest.approx(truth, rel=1e-5)
    assert jax.grad(value)(0.0) == pytest.approx(truth, rel=1e-5)


def test_ties_are_what_they_mean():
    # Of every point five others, as many as k is.
    often = np.concatenate([X32[:50]] * 6)
    twice = np.concatenate([X32[:150], X32[:150]])
    copied = Y32.copy()
    copied[:5] = X32[0]
    kl = jd.samples.knn_kl

    assert kl(often, Y32) == np.inf  # an atom against a density
    assert np.isfinite(kl(twice, Y32))  # k above the multiplicity
    assert kl(X32, copied) == -np.inf
    assert np.isnan(kl(often, copied))
    assert jd.samples.knn_entropy(often) == -np.inf
    assert jd.samples.knn_renyi(often, Y32, 2.0) == np.inf
    assert jd.samples.knn_alpha(often, Y32, 2.0) == np.inf
    assert jd.samples.knn_renyi(often, Y32, 0.5) == np.inf  # no overlap: S = 0


def test_a_traced_nan_is_a_nan():
    bad = X32.copy()
    bad[3, 1] = np.nan
    assert np.isnan(jax.jit(jd.samples.knn_kl)(bad, Y32))


# Truths: KL(N(0, I) || N(m, s^2 I)), its entropy, and Renyi's divergence of order 1/2.
def gaussian(d, m, s):
    return d * (math.log(s) + (1 + m * m) / (2 * s * s) - 0.5)


@pytest.mark.slow
def test_means_are_the_truth_on_gaussians():
    """40 samples of 3000, k = 2: within 3 standard errors, and 5e-3 for bias, of order k/n."""
    d, m, s, n = 2, 0.5, 1.3, 3000
    rng = np.random.default_rng(0)
    kl, renyi, entropy = [], [], []
    for _ in range(40):
        x = rng.normal(size=(n, d)).astype(np.float32)
        y = (m + s * rng.normal(size=(n, d))).astype(np.float32)
        kl.append(float(jd.samples.knn_kl(x, y, k=2)))
        renyi.append(float(jd.samples.knn_renyi(x, y, 0.5, k=2)))
        entropy.append(float(jd.samples.knn_entropy(x, k=2)))
    # -2 log of the integral of sqrt(p q), a product over dimensions.
    root = 2 * s / (1 + s * s)
    half = -2 * d * (0.5 * math.log(root) - m * m / (4 * (1 + s * s)))
    truths = (gaussian(d, m, s), half, d / 2 * math.log(2 * math.pi * math.e))
    for values, truth in zip((kl, renyi, entropy), truths, strict=True):
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert abs(np.mean(values) - truth) <= 3 * error + 5e-3
        assert error < 1e-2
