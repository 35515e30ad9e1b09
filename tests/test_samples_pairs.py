"""MMD, energy distance, kernel Stein discrepancy: brute force in NumPy, scipy, and their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist, pdist

import jaxdiv as jd
from jaxdiv.samples import energy, mmd

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(120, 3)), RNG.normal(size=(90, 3)) * 1.2 + 0.4
X32, Y32 = X.astype(np.float32), Y.astype(np.float32)


def brute_mmd2(x, y, kernel, estimator):
    xx, yy, xy = (kernel(cdist(a, b, "sqeuclidean")) for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    if estimator == "biased":
        return xx.mean() + yy.mean() - 2 * xy.mean()
    off = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return off - 2 * xy.mean()


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_mmd_of_the_median_heuristic(estimator):
    width = np.median(pdist(np.concatenate([X32, Y32]).astype(np.float64)))
    assert jd.samples.median_heuristic(X32, Y32) == pytest.approx(width, rel=1e-6)
    truth = brute_mmd2(X32, Y32, lambda s: np.exp(-s / (2 * width**2)), estimator)
    assert jd.samples.mmd2(X32, Y32, estimator=estimator) == pytest.approx(truth, abs=1e-6)


def test_mmd_of_any_kernel():
    def laplace(a, b):
        return jnp.exp(-jnp.sum(jnp.abs(a - b)))

    for estimator in ("unbiased", "biased"):
        xx, yy, xy = (np.exp(-cdist(a, b, "cityblock")) for a, b in ((X, X), (Y, Y), (X, Y)))
        if estimator == "biased":
            truth = xx.mean() + yy.mean() - 2 * xy.mean()
        else:
            xx, yy = (z[~np.eye(len(z), dtype=bool)] for z in (xx, yy))
            truth = xx.mean() + yy.mean() - 2 * xy.mean()
        ours = jd.samples.mmd2(X32, Y32, laplace, estimator=estimator)
        assert ours == pytest.approx(truth, abs=1e-6)


def test_linear_time_mmd():
    x, y = X32[:90], Y32

    def k(a, b):
        return np.exp(-((a - b) ** 2).sum(-1) / 2)

    a, b, c, e = (z.astype(np.float64) for z in (x[::2], x[1::2], y[::2], y[1::2]))
    truth = (k(a, b) + k(c, e) - k(a, e) - k(b, c)).mean()
    kernel = jd.samples.GaussianKernel(1.0)
    assert jd.samples.mmd2(x, y, kernel, estimator="linear") == pytest.approx(truth, abs=1e-6)


def test_mmd_of_equal_samples_is_zero_to_rounding():
    kernel = jd.samples.GaussianKernel(1.0)
    assert 0 <= jd.samples.mmd2(X32, X32, kernel, estimator="biased") <= 1e-6


@pytest.mark.slow
def test_a_width_can_be_differentiated_and_is_checked():
    def value(h):
        return jd.samples.mmd2(X32, Y32, jd.samples.GaussianKernel(h))

    slope = jax.grad(value)(1.5)
    assert slope == pytest.approx(float(value(1.52) - value(1.48)) / 0.04, rel=1e-2)
    assert np.isnan(jax.jit(value)(-1.0))

    def scaled(c):  # a kernel that reads what is differentiated
        return jd.samples.mmd2(X32, Y32, lambda a, b: c * jnp.exp(-jnp.sum((a - b) ** 2)))

    assert jax.grad(scaled)(2.0) == pytest.approx(float(scaled(1.0)), rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_derivatives_by_points():
    x, y = jnp.asarray(X), jnp.asarray(Y)
    v = jnp.asarray(RNG.normal(size=X.shape))
    for f in (
        jd.samples.mmd2,
        jd.samples.energy_distance,
        lambda x, y: jd.samples.kernel_stein_discrepancy(x, lambda z: -jnp.sum(z**4) / 4),
    ):
        slope = jnp.sum(jax.grad(f)(x, y) * v)
        truth = float(f(x + 1e-5 * v, y) - f(x - 1e-5 * v, y)) / 2e-5
        assert slope == pytest.approx(truth, rel=1e-5)


def test_energy_distance_is_scipys_squared():
    ours = jd.samples.energy_distance(X32[:, 0], Y32[:, 0])
    theirs = stats.energy_distance(X32[:, 0], Y32[:, 0]) ** 2
    assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_energy_distance_in_three_dimensions(estimator):
    within = [pdist(z).mean() for z in (X, Y)]
    if estimator == "biased":
        within = [w * (len(z) - 1) / len(z) for w, z in zip(within, (X, Y), strict=True)]
    truth = 2 * cdist(X, Y).mean() - sum(within)
    ours = jd.samples.energy_distance(X32, Y32, estimator=estimator)
    assert ours == pytest.approx(truth, abs=2e-6)
    assert 0 <= jd.samples.energy_distance(X32, X32) <= 1e-6
    huge = jd.samples.energy_distance(X32 * np.float32(1e30), Y32 * np.float32(1e30))
    if estimator == "biased":
        assert huge / 1e30 == pytest.approx(truth, rel=1e-4)


def brute_ksd(x, s, scale, estimator):
    apart = x[:, None] - x[None]
    r = (apart**2).sum(-1)
    f = (1 + r / scale**2) ** -0.5
    f1 = -0.5 / scale**2 * (1 + r / scale**2) ** -1.5
    f2 = 0.75 / scale**4 * (1 + r / scale**2) ** -2.5
    # grad_x k = 2 f' (x - y) = -grad_y k; trace of the mixed derivative -2 d f' - 4 r f''.
    u = (s @ s.T) * f
    u += np.einsum("ik,ijk->ij", s, -2 * f1[..., None] * apart)
    u += np.einsum("jk,ijk->ij", s, 2 * f1[..., None] * apart)
    u += -2 * x.shape[1] * f1 - 4 * r * f2
    return u.mean() if estimator == "biased" else u[~np.eye(len(x), dtype=bool)].mean()


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_stein_discrepancy_is_its_formula(estimator):
    def log_density(z):
        return -jnp.sum(z**2) / 2 + 7  # a constant changes nothing

    width = np.median(pdist(X32.astype(np.float64)))
    truth = brute_ksd(X32.astype(np.float64), -X32.astype(np.float64), width, estimator)
    ours = jd.samples.kernel_stein_discrepancy(X32, log_density, estimator=estimator)
    assert ours == pytest.approx(truth, abs=2e-6)


def test_stein_discrepancy_by_scores_and_any_kernel():
    kernel = jd.samples.InverseMultiquadric(2.0)
    truth = brute_ksd(Y, -Y, 2.0, "unbiased")
    by_array = jd.samples.kernel_stein_discrepancy(Y32, score=-Y32, kernel=kernel)
    by_function = jd.samples.kernel_stein_discrepancy(
        Y32, score=lambda z: -z, kernel=lambda a, b: (1 + jnp.sum((a - b) ** 2) / 4) ** -0.5
    )
    assert by_array == pytest.approx(truth, abs=2e-6)
    assert by_function == pytest.approx(truth, abs=2e-6)


@pytest.mark.parametrize("module", [mmd, energy])
def test_memory_is_a_block(module):
    """2e4 against 2e4 points: value and derivative in 64 MB, where a matrix is 1.6 GB."""
    shape = jax.ShapeDtypeStruct((20000, 3), jnp.float32)

    def value(x, y):
        if module is energy:
            return energy._evaluate(x, y, False)
        return mmd._evaluate(jd.samples.GaussianKernel(1.0), x, y, "unbiased")

    compiled = jax.jit(jax.grad(value)).lower(shape, shape).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None and analysis.temp_size_in_bytes < 64 * 2**20


@pytest.mark.slow
def test_unbiased_means():
    """Of equal laws 0; MMD of normals with its closed form; 100 samples, 3 standard errors."""
    rng = np.random.default_rng(2)
    kernel = jd.samples.GaussianKernel(1.0)
    null, shifted, stein = [], [], []
    for _ in range(100):
        x, y = (rng.normal(size=(120, 3)).astype(np.float32) for _ in range(2))
        null.append(float(jd.samples.energy_distance(x, y, estimator="unbiased")))
        shifted.append(float(jd.samples.mmd2(x, y + np.float32(0.5), kernel)))
        stein.append(float(jd.samples.kernel_stein_discrepancy(x, score=-x, kernel=kernel)))
    # E exp(-|z|^2/2) for z normal with variance 2 and mean m: (1/3)^(d/2) exp(-m^2 d/6).
    truth = 2 * 3**-1.5 * (1 - np.exp(-0.25 * 3 / 6))
    for values, mean in ((null, 0), (shifted, truth), (stein, 0)):
        assert abs(np.mean(values) - mean) <= 3 * np.std(values, ddof=1) / 10
