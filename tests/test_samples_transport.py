"""Transport: scipy on a line, known laws on many, plain Sinkhorn iterations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import jaxdiv as jd
from jaxdiv.samples import sinkhorn

RNG = np.random.default_rng(13)
X, Y = RNG.normal(size=(60, 2)), RNG.normal(size=(42, 2)) * 1.3 + 0.4
X32, Y32 = X.astype(np.float32), Y.astype(np.float32)


def quantiles(x, y, p, steps=2**20):
    """By midpoints of [0, 1], fine enough for the steps of 60 and 42."""
    u = (np.arange(steps) + 0.5) / steps
    x, y = (np.sort(z)[np.minimum((u * len(z)).astype(int), len(z) - 1)] for z in (x, y))
    return (np.abs(x - y) ** p).mean() ** (1 / p)


def test_on_a_line_it_is_scipys():
    ours = jd.samples.wasserstein_1d(X32[:, 0], Y32[:, 0])
    assert ours == pytest.approx(stats.wasserstein_distance(X32[:, 0], Y32[:, 0]), rel=2e-6)
    equal = jd.samples.wasserstein_1d(X32[:42, 0], Y32[:, 0])
    assert equal == pytest.approx(stats.wasserstein_distance(X32[:42, 0], Y32[:, 0]), rel=2e-6)


@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_powers_and_different_sizes(p):
    ours = jd.samples.wasserstein_1d(X32[:, 0], Y32[:, 0], p)
    assert ours == pytest.approx(quantiles(X32[:, 0], Y32[:, 0], p), rel=1e-5)
    shifted = jd.samples.wasserstein_1d(X32[:, 0], X32[:, 0] + np.float32(2), p)
    assert shifted == pytest.approx(2, rel=1e-6)
    huge = np.float32(1e30)
    ours = jd.samples.wasserstein_1d(huge * X32[:, 0], huge * Y32[:, 0], p)
    assert ours / 1e30 == pytest.approx(quantiles(X32[:, 0], Y32[:, 0], p), rel=1e-5)


def test_on_a_line_of_equal_samples_value_and_slope_are_zero():
    x = jnp.asarray(X32[:, 0])
    for p in (1, 2):
        value, slope = jax.value_and_grad(
            lambda x, p=p: jd.samples.wasserstein_1d(x, X32[:, 0], p)
        )(x)
        assert value == 0 and not slope.any()


def test_on_many_lines():
    key = jax.random.key(0)
    ours = jd.samples.sliced_wasserstein(X32, Y32, key, num_projections=40)
    directions = np.asarray(jax.random.normal(key, (40, 2)), np.float64)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    powers = [quantiles(X @ u, Y @ u, 2, 60 * 42 * 10) ** 2 for u in directions]
    assert ours == pytest.approx(np.mean(powers) ** 0.5, rel=1e-5)
    # A shift by c moves u.x by u.c, whose square is |c|^2 / d on average.
    moved = jd.samples.sliced_wasserstein(X32, X32 + np.float32(3), key, num_projections=4000)
    assert moved == pytest.approx(3, rel=3e-2)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_derivatives():
    x, y = jnp.asarray(X), jnp.asarray(Y)
    v = jnp.asarray(RNG.normal(size=X.shape))
    key = jax.random.key(1)

    def value(t):
        sliced = jd.samples.sliced_wasserstein(x + t * v, y, key, num_projections=5)
        return sliced + jd.samples.wasserstein_1d((x + t * v)[:, 0], y[:, 0])

    truth = float(value(1e-7) - value(-1e-7)) / 2e-7
    assert jax.grad(value)(0.0) == pytest.approx(truth, rel=1e-5)
    assert jax.jvp(value, (0.0,), (1.0,))[1] == pytest.approx(truth, rel=1e-5)


def brute_sinkhorn(x, y, e):
    def cost(x, y):
        c = ((x[:, None] - y[None]) ** 2).sum(-1)
        f, g = np.zeros(len(x)), np.zeros(len(y))
        for _ in range(100):
            f = -e * logsumexp((g[None] - c) / e, 1, b=1 / len(y))
            g = -e * logsumexp((f[:, None] - c) / e, 0, b=1 / len(x))
        return f.mean() + g.mean()

    return cost(x, y) - cost(x, x) / 2 - cost(y, y) / 2


@pytest.mark.slow
def test_sinkhorn_divergence():
    pytest.importorskip("ott")
    x, y = jnp.asarray(X32), jnp.asarray(Y32)
    truth = brute_sinkhorn(X, Y, 0.5)
    value, slope = jax.value_and_grad(jd.samples.sinkhorn_divergence)(x, y, 0.5)
    # 1e-3 of the mass is still misplaced when the iterations stop.
    assert value == pytest.approx(truth, abs=2e-3)
    v = RNG.normal(size=X.shape)
    truth = brute_sinkhorn(X + 1e-3 * v, Y, 0.5) - brute_sinkhorn(X - 1e-3 * v, Y, 0.5)
    assert np.sum(slope * v) == pytest.approx(truth / 2e-3, rel=1e-2)
    assert np.isnan(jd.samples.sinkhorn_divergence(x, y, 0.001, max_iterations=10))


def test_sinkhorn_without_ott(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ott.geometry.pointcloud", None)
    sinkhorn._ott.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'jaxdiv\[ot\]'"):
        jd.samples.sinkhorn_divergence(X32, Y32)
    sinkhorn._ott.cache_clear()
