"""Wasserstein-2 distances between normal distributions."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd

DIM = 3


def exact(m, a, n, b):
    """By the covariances' square roots, in 60 digits."""
    with mpmath.workdps(60):
        a, b = (mpmath.matrix(np.tril(x).tolist()) for x in (a, b))
        shift = sum(
            (mpmath.mpf(float(x)) - mpmath.mpf(float(y))) ** 2 for x, y in zip(m, n, strict=True)
        )
        p, q = a * a.T, b * b.T
        values, vectors = mpmath.eigsy(p)
        root = vectors * mpmath.diag([mpmath.sqrt(x) for x in values]) * vectors.T
        middle, _ = mpmath.eigsy(root * q * root)
        cross = sum(mpmath.sqrt(max(x, 0)) for x in middle)
        trace = sum(p[i, i] + q[i, i] for i in range(p.rows))
        return mpmath.sqrt(shift + trace - 2 * cross)


def factors(seed, count, dtype):
    random = np.random.default_rng(seed)
    raw = np.tril(random.normal(size=(count, DIM, DIM)))
    diagonal = np.exp(random.normal(size=(count, DIM)))
    return (np.tril(raw, -1) + np.eye(DIM) * diagonal[:, None, :]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_against_square_roots(dtype):
    with jax.enable_x64(dtype == np.float64):
        a, other = factors(0, 6, dtype), factors(1, 6, dtype)
        worst = 0.0
        for step in (0.0, 1e-12, 1e-7, 1e-5, 1e-3, 1e-2, 0.1, 1.0, 30.0):
            b = (a + dtype(step) * other).astype(dtype)
            m, n = np.zeros((6, DIM), dtype), np.full((6, DIM), step / 10, dtype)
            p = jd.MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(a))
            q = jd.MultivariateNormal(jnp.asarray(n), scale_tril=jnp.asarray(b))
            found = np.asarray(jd.wasserstein2_distance(p, q))
            for i, value in enumerate(found):
                truth = exact(m[i], a[i], n[i], b[i])
                if step == 0:
                    assert value == 0
                else:
                    error = abs(float((mpmath.mpf(float(value)) - truth) / truth))
                    worst = max(worst, error)
        assert worst <= 64 * np.finfo(dtype).eps, worst / np.finfo(dtype).eps


def test_scalars_diagonals_and_forms():
    p, q = jd.Normal(1.0, 2.0), jd.Normal(jnp.asarray([1.0, 4.0]), jnp.asarray([3.0, 6.0]))
    np.testing.assert_allclose(jd.wasserstein2_distance(p, q), [1.0, 5.0])
    loc, scale = jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([0.5, 1.0, 2.0])
    zero, one = jnp.zeros(DIM), jnp.ones(DIM)
    standard = jd.MultivariateNormal(zero, scale_diag=one)
    wanted = np.sqrt(14 + 0.25 + 0 + 1)
    for q in (
        jd.MultivariateNormal(loc, scale_diag=scale),
        jd.MultivariateNormal(loc, covariance_matrix=jnp.diag(scale**2)),
        jd.Independent(jd.Normal(loc, scale)),
    ):
        np.testing.assert_allclose(jd.wasserstein2_distance(standard, q), wanted, rtol=1e-6)
        np.testing.assert_allclose(jd.wasserstein2_distance(q, standard), wanted, rtol=1e-6)


def test_half_turns():
    """L_q^T L_p may have a polar factor that turns by any angle."""
    a = np.float32([[1.0, 0.0], [50.0, 1e-2]])
    b = np.float32([[1.0, 0.0], [-50.0, 1e-2]])
    zero = np.zeros(2, np.float32)
    p, q = (jd.MultivariateNormal(jnp.asarray(zero), scale_tril=jnp.asarray(x)) for x in (a, b))
    np.testing.assert_allclose(
        jd.wasserstein2_distance(p, q), float(exact(zero, a, zero, b)), rtol=1e-4
    )


@pytest.mark.slow
def test_derivatives_to_second_order():
    """Against differences of the formula by square roots, with equal singular values too."""
    with jax.enable_x64(True):
        a, b = np.eye(DIM), 2 * np.eye(DIM)
        b[2, 0], b[1, 0] = 0.3, -0.2
        direction = factors(3, 1, np.float64)[0]
        zero = jnp.zeros(DIM)

        p = jd.MultivariateNormal(zero, scale_tril=jnp.asarray(a))

        def f(t):
            q = jd.MultivariateNormal(zero, scale_tril=jnp.asarray(b) + t * direction)
            return jd.wasserstein2_distance(p, q)

        h = 2.0**-16
        left, middle, right = (exact(zero, a, zero, b + t * direction) for t in (-h, 0, h))
        np.testing.assert_allclose(jax.grad(f)(0.0), float((right - left) / (2 * h)), rtol=1e-6)
        second = float((right - 2 * middle + left) / h**2)
        np.testing.assert_allclose(jax.hessian(f)(0.0), second, rtol=1e-5)
        np.testing.assert_allclose(jax.grad(jax.grad(f))(0.0), second, rtol=1e-5)


def test_refused():
    normal = jd.Normal(0.0, 1.0)
    with pytest.raises(NotImplementedError, match="two Gamma distributions has no closed form"):
        jd.wasserstein2_distance(jd.Gamma(1.0, 1.0), jd.Gamma(2.0, 1.0))
    with pytest.raises(TypeError, match="q must be a member of a family"):
        jd.wasserstein2_distance(normal, 1.0)
    with pytest.raises(ValueError, match=r"q\.scale must be positive"):
        jd.wasserstein2_distance(normal, jd.Normal(0.0, -1.0))
    traced = jax.jit(lambda s: jd.wasserstein2_distance(normal, jd.Normal(0.0, s)))
    assert jnp.isnan(traced(-1.0)) and traced(1.0) == 0
    assert jax.grad(lambda s: jd.wasserstein2_distance(normal, jd.Normal(0.0, s)))(1.0) == 0
