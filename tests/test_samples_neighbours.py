"""Exact neighbours: scipy's k-d tree and brute force say which and how far, in bounded memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree

import jaxdiv as jd
from jaxdiv.samples import neighbours

RNG = np.random.default_rng(7)
X32, Y32 = RNG.normal(size=(300, 6)), RNG.normal(size=(260, 6)) * 1.5 + 0.3


def distances(x, y, k, p=2):
    """By scipy, of the numbers as they are stored."""
    found, _ = KDTree(np.asarray(y, np.float64)).query(np.asarray(x, np.float64), k=k, p=p)
    return found


def agree(x, y, k, metric="euclidean"):
    ours, index = jd.samples.nearest_neighbours(x, y, k, metric=metric)
    truth = distances(x, y, k, {"euclidean": 2, "chebyshev": np.inf}[metric])
    eps = float(jnp.finfo(ours.dtype).eps)
    np.testing.assert_allclose(ours, truth, rtol=(x.shape[1] + 4) * eps, atol=0)
    return np.asarray(index)


@pytest.mark.parametrize(
    "d, dtype",
    [(2, np.float32), (6, np.float32), *(pytest.param(d, np.float64, marks=pytest.mark.slow)
                                         for d in (2, 6))],
)  # fmt: skip
def test_distances_are_those_of_a_tree(d, dtype):
    with jax.enable_x64(dtype == np.float64):
        x, y = X32[:, :d].astype(dtype), Y32[:, :d].astype(dtype)
        index = agree(x, y, 4)
        assert index.shape == (300, 4) and (np.sort(index) >= 0).all()
        near = np.linalg.norm(x[:, None].astype(np.float64) - y[index].astype(np.float64), axis=-1)
        np.testing.assert_allclose(near, distances(x, y, 4), rtol=1e-6)


@pytest.mark.parametrize("case", ["offset", "clusters", "tiny", "huge", "outlier", "equal"])
def test_a_product_that_loses_digits_misses_nobody(case):
    """In float32, where |y|^2 - 2 y.q alone would choose wrong ones."""
    x, y = X32.astype(np.float32), Y32.astype(np.float32)
    if case == "offset":
        x, y = x + np.float32(1e5), y + np.float32(1e5)
    elif case == "clusters":  # of size 1e-3, 1e3 from the mean: cancellation of all digits
        sign = np.sign(x[:, :1])
        x = 1e-3 * x + 1e3 * sign
        y = 1e-3 * y + 1e3 * np.sign(y[:, :1])
    elif case == "tiny":
        x, y = x * np.float32(1e-30), y * np.float32(1e-30)
    elif case == "huge":
        x, y = x * np.float32(1e30), y * np.float32(1e30)
    elif case == "outlier":
        y[0] = 1e20
    else:
        y[:] = y[0]
    x, y = x.astype(np.float32), y.astype(np.float32)
    ours, index = jd.samples.nearest_neighbours(x, y, 4)
    truth = distances(x, y, 4)
    np.testing.assert_allclose(ours, truth, rtol=10 * 2.0**-23, atol=0)
    if case == "equal":
        assert len(set(index[0].tolist())) == 4  # four different points, though equally far


def test_one_block_by_differences_is_not_what_makes_it_right(monkeypatch):
    """Without the certificate clusters do go wrong: the test above can fail."""
    sign = np.sign(X32[:, :1])
    x = (1e-3 * X32 + 1e3 * sign).astype(np.float32)
    none = jnp.full(300, -1)
    with monkeypatch.context() as patched:
        patched.setattr(neighbours.lax, "cond", lambda sure, yes, no: yes())
        found = neighbours._search.__wrapped__(
            jnp.asarray(x), jnp.asarray(x), none, None, k=4, chebyshev=False
        )
    apart = x[:, None].astype(np.float64) - x[np.asarray(found)].astype(np.float64)
    wrong = np.linalg.norm(apart, axis=-1)
    assert np.max(wrong / np.maximum(distances(x, x, 4), 1e-9)) > 1.01


def test_other_points_of_the_same_sample():
    x = X32.astype(np.float32)
    x[1] = x[0]
    ours, index = jd.samples.nearest_neighbours(x, k=3)
    truth = distances(x, x, 4)[:, 1:]
    np.testing.assert_allclose(ours, truth, rtol=1e-6)
    assert ours[0, 0] == 0 and index[0, 0] == 1 and index[1, 0] == 0
    assert not (np.asarray(index) == np.arange(300)[:, None]).any()


def test_the_largest_difference():
    x, y = X32.astype(np.float32), Y32.astype(np.float32)
    ours, _ = jd.samples.nearest_neighbours(x, y, 2, metric="chebyshev")
    apart = np.abs(x[:, None].astype(np.float64) - y[None]).max(-1)
    np.testing.assert_allclose(ours, np.sort(apart)[:, :2], rtol=2.0**-23)


@pytest.mark.parametrize("k", [20, pytest.param(260, marks=pytest.mark.slow)])
def test_many_neighbours(k):
    agree(X32[:40].astype(np.float32), Y32.astype(np.float32), k)


def test_few_points_and_few_dimensions():
    x = np.asarray([0.0, 1.0, 10.0], np.float32)
    ours, index = jd.samples.nearest_neighbours(x, k=2)
    assert ours.tolist() == [[1, 10], [1, 9], [9, 10]]
    assert index.tolist() == [[1, 2], [0, 2], [1, 0]]
    one, _ = jd.samples.nearest_neighbours(x, np.asarray([3.0], np.float32))
    assert one.tolist() == [[3], [2], [7]]


def test_batches_are_loops():
    x = jnp.asarray(X32.reshape(3, 100, 6), jnp.float32)
    y = jnp.asarray(Y32[:100], jnp.float32)
    values, index = jd.samples.nearest_neighbours(x, y, 2)
    assert values.shape == index.shape == (3, 100, 2)
    for i in range(3):
        np.testing.assert_allclose(values[i], distances(x[i], y, 2), rtol=10 * 2.0**-23)


@pytest.mark.parametrize("d", [6, pytest.param(2, marks=pytest.mark.slow)])
def test_memory_is_a_block(d):
    """64 MB for 2e4 against 2e4 points, whose distances would be 1.6 GB in float32."""
    n = 20000
    shape = jax.ShapeDtypeStruct((n, d), jnp.float32)
    own = jax.ShapeDtypeStruct((n,), jnp.int32)
    run = jax.jit(lambda x, y, own: neighbours._search(x, y, own, None, k=5, chebyshev=False))
    analysis = run.lower(shape, shape, own).compile().memory_analysis()
    assert analysis is not None and analysis.temp_size_in_bytes < 64 * 2**20


@pytest.mark.slow
def test_derivatives_are_those_of_distances():
    with jax.enable_x64(True):
        x, y = jnp.asarray(X32), jnp.asarray(Y32)

        def total(x, y):
            return jnp.sum(jd.samples.nearest_neighbours(x, y, 4)[0])

        _, index = jd.samples.nearest_neighbours(x, y, 4)
        unit = x[:, None] - y[index]
        unit = unit / jnp.linalg.norm(unit, axis=-1, keepdims=True)
        by_x, by_y = jax.grad(total, (0, 1))(x, y)
        np.testing.assert_allclose(by_x, unit.sum(1), rtol=1e-12, atol=1e-12)
        expected = np.zeros(y.shape)
        np.add.at(expected, np.asarray(index), -np.asarray(unit))
        np.testing.assert_allclose(by_y, expected, rtol=1e-12, atol=1e-12)
        forward = jax.jvp(total, (x, y), (by_x, by_y))[1]
        assert forward == pytest.approx(float((by_x**2).sum() + (by_y**2).sum()))


def test_a_distance_of_zero_has_no_slope():
    x = jnp.zeros((3, 2), jnp.float32)
    slope = jax.grad(lambda x: jnp.sum(jd.samples.nearest_neighbours(x, k=1)[0]))(x)
    assert (slope == 0).all()
