"""KL and entropy of Wishart distributions."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from jaxdiv import families

DIM = 3


def exact(v, a, w, b):
    """KL from the densities and the expectations of X and of log|X|, in 80 digits."""
    with mpmath.workdps(80):
        v, w = (mpmath.mpf(float(x)) for x in (v, w))
        a, b = (mpmath.matrix(np.tril(np.atleast_2d(x)).tolist()) for x in (a, b))
        n = a.rows
        v_p, v_q = a * a.T, b * b.T
        log_p, log_q = mpmath.log(mpmath.det(v_p)), mpmath.log(mpmath.det(v_q))
        mean_log = sum(mpmath.psi(0, (v - i) / 2) for i in range(n)) + n * mpmath.log(2) + log_p

        def log_constant(df, log_scale):
            gamma = sum(mpmath.loggamma((df - i) / 2) for i in range(n))
            return -(df * n / 2 * mpmath.log(2) + df / 2 * log_scale + gamma)

        trace = v * sum((v_q**-1 * v_p)[i, i] for i in range(n))
        of_p = log_constant(v, log_p) + (v - n - 1) / 2 * mean_log - v * n / 2
        of_q = log_constant(w, log_q) + (w - n - 1) / 2 * mean_log - trace / 2
        pi = n * (n - 1) / mpmath.mpf(4) * mpmath.log(mpmath.pi)
        return of_p - of_q, pi - of_p


def factor(seed, dtype):
    random = np.random.default_rng(seed)
    lower = np.tril(random.normal(size=(DIM, DIM)), -1)
    return (lower + np.diag(np.exp(random.normal(size=DIM)))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_kl_and_entropy(dtype):
    with jax.enable_x64(dtype == np.float64):
        a, other = factor(0, dtype), factor(1, dtype)
        rows = []
        for df in (2.001, 2.5, 4.0, 30.0, 1e4):
            for step in (1e-12, 1e-6, 1e-4, 1e-2, 0.3, 3.0, 100.0):
                for grown, widened in ((1, 0), (0, 1), (1, 1)):
                    w = max(dtype(df * (1 + grown * step)), np.nextafter(dtype(df), dtype(np.inf)))
                    w = w if grown else dtype(df)
                    b = (a + dtype(widened * step) * other).astype(dtype)
                    rows.append((dtype(df), a, w, b))
        v, a, w, b = (jnp.asarray(np.stack(x)) for x in zip(*rows, strict=True))
        p, q = families.Wishart(v, a), families.Wishart(w, b)
        kl, entropy = np.asarray(jd.kl_divergence(p, q)), np.asarray(jd.entropy(p))
        for row, value, h in zip(rows, kl, entropy, strict=True):
            truth, height = exact(*row)
            assert value >= 0
            if truth > 0:
                error = abs(float((mpmath.mpf(float(value)) - truth) / truth))
                assert error <= 64 * np.finfo(dtype).eps, (row, value, truth)
            # A sum of n (n + 1) / 2 logarithms of df and of scales.
            error = abs(float(mpmath.mpf(float(h)) - height))
            assert error <= 64 * np.finfo(dtype).eps * (10 + abs(height)), (row, h, height)


def affinity(v, a, w, b, alpha):
    """log of the integral of p^alpha q^(1-alpha), by log Gamma_n and determinants, 80 digits."""
    with mpmath.workdps(80):
        alpha = mpmath.mpf(alpha)
        a, b = (mpmath.matrix(np.tril(x).tolist()) for x in (a, b))
        v, w = (mpmath.mpf(float(x)) / 2 for x in (v, w))
        of_p, of_q = (a * a.T) ** -1, (b * b.T) ** -1

        def partition(c, precision):
            least = min(mpmath.eigsy(precision, eigvals_only=True))
            if not (c > mpmath.mpf(DIM - 1) / 2 and least > 0):
                return mpmath.inf
            gammas = sum(mpmath.loggamma(c - mpmath.mpf(i) / 2) for i in range(DIM))
            return gammas - c * mpmath.log(mpmath.det(precision))

        mixed = partition(alpha * v + (1 - alpha) * w, alpha * of_p + (1 - alpha) * of_q)
        return mixed - alpha * partition(v, of_p) - (1 - alpha) * partition(w, of_q)


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_renyi(dtype, alpha):
    with jax.enable_x64(dtype == np.float64):
        a, other = factor(0, dtype), factor(1, dtype)
        rows = []
        for df in (2.001, 4.0, 1e4):
            for step in (1e-12, 1e-6, 1e-4, 1e-2, 0.3, 1.0):
                for grown, widened in ((1, 0), (0, 1), (1, 1)):
                    w = max(dtype(df * (1 + grown * step)), np.nextafter(dtype(df), dtype(np.inf)))
                    w = w if grown else dtype(df)
                    b = (a + dtype(widened * step) * other).astype(dtype)
                    rows.append((dtype(df), a, w, b))
        v, a, w, b = (jnp.asarray(np.stack(x)) for x in zip(*rows, strict=True))
        p, q = families.Wishart(v, a), families.Wishart(w, b)
        for value, row in zip(np.asarray(jd.renyi_divergence(p, q, alpha)), rows, strict=True):
            truth = affinity(*row, alpha) / (mpmath.mpf(alpha) - 1)
            if truth > 1e-70:  # else it is a rounding of the oracle
                error = abs(float((mpmath.mpf(float(value)) - truth) / truth))
                assert (np.isinf(value) and truth == mpmath.inf) or error <= 64 * np.finfo(
                    dtype
                ).eps
            else:
                assert value == 0


def test_renyi_of_one_by_one_matrices_is_gammas():
    p = families.Wishart(3.0, jnp.asarray([[1.5]]))
    q = families.Wishart(4.5, jnp.asarray([[0.8]]))
    wanted = jd.renyi_divergence(jd.Gamma(1.5, 1 / 4.5), jd.Gamma(2.25, 1 / 1.28), 0.3)
    np.testing.assert_allclose(jd.renyi_divergence(p, q, 0.3), wanted, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_derivatives_of_renyi():
    """By both parameters and the order: symmetric, and those of differences."""
    p = families.Wishart(5.0, jnp.asarray(factor(0, np.float64)))
    k = jnp.asarray(factor(2, np.float64))

    def value(z):
        q = families.Wishart(z[0], z[1:10].reshape(DIM, DIM))
        return jd.renyi_divergence(p, q, z[10])

    z = jnp.concatenate([jnp.asarray([6.5]), k.reshape(-1), jnp.asarray([0.3])])
    slope, curve = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))
    found, step = curve(z), 1e-6
    np.testing.assert_allclose(found, found.T, atol=1e-11)
    for i in range(11):
        up, down = z.at[i].add(step), z.at[i].add(-step)
        np.testing.assert_allclose((slope(up) - slope(down)) / (2 * step), found[i], atol=2e-6)
        np.testing.assert_allclose((value(up) - value(down)) / (2 * step), slope(z)[i], atol=2e-6)
    same = z.at[0].set(5.0).at[1:10].set(p.scale_tril.reshape(-1))
    assert value(same) == 0 and not jnp.any(slope(same))
    information = families.fisher_information(p)
    np.testing.assert_allclose(curve(same)[:10, :10], 0.3 * information, rtol=1e-10, atol=1e-11)


def test_of_one_by_one_matrices_it_is_gammas():
    v, w = jnp.float32([0.7, 3.0, 1e6]), jnp.float32([0.9, 3.5, 1.001e6])
    scale = jnp.float32([1.0, 2.0, 0.5])
    p, q = families.Wishart(v, scale[:, None, None]), families.Wishart(w, scale[:, None, None])
    rate = 1 / (2 * scale**2)
    wanted = jd.kl_divergence(jd.Gamma(v / 2, rate), jd.Gamma(w / 2, rate))
    np.testing.assert_allclose(jd.kl_divergence(p, q), wanted, rtol=64 * 2.0**-23)
    np.testing.assert_allclose(jd.entropy(p), jd.entropy(jd.Gamma(v / 2, rate)), rtol=1e-5)


@pytest.mark.slow
def test_minimal_at_equality():
    p = families.Wishart(5.0, jnp.asarray(factor(0, np.float32)))
    assert jd.kl_divergence(p, p) == 0
    slopes = jax.grad(lambda q: jd.kl_divergence(p, q))(p)
    assert slopes.df == 0 and not jnp.any(slopes.scale_tril)
    curvature = jax.hessian(lambda v: jd.kl_divergence(p, families.Wishart(v, p.scale_tril)))(5.0)
    truth = sum(float(mpmath.psi(1, (5.0 - i) / 2)) for i in range(DIM)) / 4
    np.testing.assert_allclose(curvature, truth, rtol=1e-5)


def test_refused():
    unit = jnp.eye(DIM)
    fine = families.Wishart(5.0, unit)
    with pytest.raises(ValueError, match=r"q\.df must be above 2 for 3 x 3 matrices, but is 2\.0"):
        jd.kl_divergence(fine, families.Wishart(2.0, unit))
    with pytest.raises(ValueError, match=r"q\.scale_tril must have a positive diagonal"):
        jd.kl_divergence(fine, families.Wishart(5.0, -unit))
    with pytest.raises(ValueError, match=r"q\.scale_tril must be square"):
        jd.kl_divergence(fine, families.Wishart(5.0, jnp.ones((3, 2))))
    with pytest.raises(ValueError, match="events must have one shape"):
        jd.kl_divergence(fine, families.Wishart(5.0, jnp.eye(2)))
    assert jd.renyi_divergence(families.Wishart(3.0, unit), families.Wishart(5.0, unit), 3.0) == (
        jnp.inf
    )
    traced = jax.jit(lambda v: jd.kl_divergence(fine, families.Wishart(v, unit)))
    assert jnp.isnan(traced(1.5)) and traced(5.0) == 0
