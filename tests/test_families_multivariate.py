"""Multivariate normal distributions in every form, against matrices of high precision."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every
from jaxdiv.families import Gamma, Independent, MultivariateNormal, Normal, fisher_information

ULP = 2.0**-23
SIZE = 4


def exact(x):
    return mpmath.matrix([[mpmath.mpf(float(value)) for value in row] for row in np.atleast_2d(x)])


def kl(m, s, n, t):
    shift, inverse = exact(m).T - exact(n).T, t**-1
    product = inverse * s
    trace = sum(product[i, i] for i in range(SIZE))
    return (trace - SIZE - mpmath.log(mpmath.det(product)) + (shift.T * inverse * shift)[0]) / 2


def renyi(m, s, n, t, alpha):
    """+inf where alpha T + (1 - alpha) S is not positive definite (van Erven and Harremoes)."""
    mixed, shift = alpha * t + (1 - alpha) * s, exact(m).T - exact(n).T
    if min(mpmath.eigsy(mixed, eigvals_only=True)) <= 0:
        return mpmath.inf
    log = mpmath.log(mpmath.det(mixed) / (mpmath.det(s) ** (1 - alpha) * mpmath.det(t) ** alpha))
    return alpha / 2 * (shift.T * mixed**-1 * shift)[0] + log / (2 * (1 - alpha))


def close(found, true):
    if true == mpmath.inf:
        return np.isinf(float(found))
    return abs(mpmath.mpf(float(found)) - true) <= 64 * ULP * true


def pair(step, seed=0):
    rng = np.random.default_rng(seed)
    factor = np.tril(rng.normal(size=(SIZE, SIZE)))
    np.fill_diagonal(factor, np.abs(factor.diagonal()) + 0.5)
    other = factor * (1 + step * np.tril(rng.uniform(-1, 1, size=(SIZE, SIZE))) / 2)
    loc = rng.normal(size=SIZE)
    moved = loc + step * rng.normal(size=SIZE)
    return tuple(x.astype(np.float32) for x in (loc, factor, moved, other))


STEPS = [1.0, 0.1, 1e-3, 1e-5, 1e-6]


@pytest.mark.parametrize("step", STEPS)
def test_cholesky_factors(step):
    m, l, n, k = pair(step)
    p = MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(l))
    q = MultivariateNormal(jnp.asarray(n), scale_tril=jnp.asarray(k))
    with mpmath.workdps(60):
        s, t = exact(l) * exact(l).T, exact(k) * exact(k).T
        assert close(jd.kl_divergence(p, q), kl(m, s, n, t))
        for alpha in (0.25, 0.5, 2.0):
            true = renyi(m, s, n, t, mpmath.mpf(alpha))
            assert close(jd.renyi_divergence(p, q, alpha), true), alpha


@pytest.mark.parametrize("step", STEPS)
def test_covariance_matrices(step):
    m, l, n, _ = pair(step)
    own = (l @ l.T).astype(np.float32)
    own = (own + own.T) / 2
    rng = np.random.default_rng(1)
    noise = rng.uniform(-1, 1, (SIZE, SIZE))
    other = (own * (1 + 0.05 * step * (noise + noise.T))).astype(np.float32)
    p = MultivariateNormal(jnp.asarray(m), covariance_matrix=jnp.asarray(own))
    q = MultivariateNormal(jnp.asarray(n), covariance_matrix=jnp.asarray(other))
    with mpmath.workdps(60):
        assert close(jd.kl_divergence(p, q), kl(m, exact(own), n, exact(other)))
        true = renyi(m, exact(own), n, exact(other), mpmath.mpf(0.5))
        assert close(jd.renyi_divergence(p, q, 0.5), true)


def test_covariances_near_and_far_in_one_batch():
    # Those that are far are compared by their factors, but have the derivatives of the others.
    rng = np.random.default_rng(3)
    q = np.eye(3) + 0.25
    a, b = (q + size * (x @ x.T) for size, x in ((1e-4, rng.normal(size=(3, 3))),
                                                 (4.0, rng.normal(size=(3, 3)))))  # fmt: skip
    p = jnp.asarray(np.stack([a, b]), jnp.float32)

    def divergence(p, q):
        of_p, of_q = (jd.MultivariateNormal(jnp.zeros(3), x) for x in (p, q))
        return jd.kl_divergence(of_p, of_q)

    def total(p, q):
        return jnp.sum(divergence(p, q))

    assert divergence(p, jnp.asarray(q, jnp.float32))[1] > 1
    by_p, by_q = jax.jit(jax.grad(total, (0, 1)))(p, jnp.asarray(np.stack([q, q]), jnp.float32))
    inverse = np.linalg.inv(q)
    for i, x in enumerate(np.asarray(p, np.float64)):
        np.testing.assert_allclose(by_p[i], (inverse - np.linalg.inv(x)) / 2, rtol=1e-3, atol=1e-6)
        truth = (inverse - inverse @ x @ inverse) / 2
        np.testing.assert_allclose(by_q[i], truth, rtol=1e-3, atol=1e-6)


def test_cholesky_factors_are_not_computed_again():
    def divergence(x, y):
        p, q = (jd.MultivariateNormal(jnp.zeros(3), scale_tril=lower) for lower in (x, y))
        return jd.kl_divergence(p, q)

    eye = jnp.eye(3)
    text = jax.jit(divergence).lower(eye, 2 * eye).as_text()
    assert text.count("stablehlo.triangular_solve") <= 1
    assert "cholesky" not in text and "potrf" not in text


def test_a_diagonal_is_a_sum_of_normals():
    loc, scale = jnp.asarray([0.0, 1.0, 2.0]), jnp.asarray([1.0, 0.5, 2.0])
    p = MultivariateNormal(loc, scale_diag=scale)
    q = MultivariateNormal(loc[::-1], scale_diag=jnp.ones(3))
    rows = Normal(loc, scale), Normal(loc[::-1], 1.0)
    np.testing.assert_allclose(jd.kl_divergence(p, q), jnp.sum(jd.kl_divergence(*rows)), rtol=1e-6)
    own = jd.bhattacharyya_distance(p, q)
    np.testing.assert_allclose(own, jnp.sum(jd.bhattacharyya_distance(*rows)), rtol=1e-6)
    # The same covariance in another form.
    full = MultivariateNormal(loc, scale_tril=jnp.diag(scale))
    np.testing.assert_allclose(jd.kl_divergence(full, q), jd.kl_divergence(p, q), rtol=1e-6)


def test_low_rank_against_full():
    factor, diagonal = jnp.asarray([[1.0], [2.0], [0.5]]), jnp.asarray([1.0, 0.5, 2.0])
    low = MultivariateNormal(jnp.zeros(3), cov_factor=factor, cov_diag=diagonal)
    matrix = factor @ factor.T + jnp.diag(diagonal)
    full = MultivariateNormal(jnp.zeros(3), covariance_matrix=matrix)
    assert float(jd.kl_divergence(low, full)) == 0
    q = MultivariateNormal(jnp.ones(3), scale_tril=jnp.eye(3))
    np.testing.assert_allclose(jd.kl_divergence(low, q), jd.kl_divergence(full, q), rtol=1e-6)


FORMS = {
    "scale_tril": jnp.asarray([[1.0, 0.0], [0.5, 2.0]]),
    "covariance_matrix": jnp.asarray([[1.0, 0.5], [0.5, 2.0]]),
    "scale_diag": jnp.asarray([1.0, 2.0]),
}


@pytest.mark.parametrize("form", every(FORMS, ("scale_tril",)))
@pytest.mark.parametrize("verb", every(["kl", "renyi"], ["kl"]))
def test_equal_members(form, verb):
    own, loc = FORMS[form], jnp.asarray([0.5, -1.0])
    p = MultivariateNormal(loc, **{form: own})

    def value(loc, x):
        q = MultivariateNormal(loc, **{form: x})
        return jd.kl_divergence(p, q) if verb == "kl" else jd.renyi_divergence(p, q, 0.5)

    assert float(value(loc, own)) == 0
    for slope in jax.grad(value, (0, 1))(loc, own):
        np.testing.assert_array_equal(slope, 0)
    # By the mean the Hessian is (alpha times) the precision: equal eigenvalues are no trouble.
    covariance = np.asarray(p.covariance() if form != "scale_diag" else jnp.diag(own**2))
    expected = np.linalg.inv(covariance) * (1 if verb == "kl" else 0.5)
    hessian = jax.jit(jax.hessian(value))(loc, own)
    np.testing.assert_allclose(hessian, expected, rtol=1e-5, atol=1e-6)


def test_hessian_by_the_factor_is_the_fisher_information():
    # Of diag(1, 1) by L's entries: 2 for the diagonal, 1 below it; twice over in equal directions.
    p = MultivariateNormal(jnp.zeros(2), scale_tril=jnp.eye(2))

    def value(x):
        below = jnp.asarray([[0.0, 0.0], [1.0, 0.0]])
        factor = jnp.diag(x[:2]) + x[2] * below
        return jd.kl_divergence(p, MultivariateNormal(jnp.zeros(2), scale_tril=factor))

    found = jax.jit(jax.hessian(value))(jnp.asarray([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(found, np.diag([2.0, 2.0, 1.0]), atol=1e-6)


def test_batches_broadcast():
    p = MultivariateNormal(jnp.zeros((5, 1, 2)), scale_diag=jnp.ones(2))
    q = MultivariateNormal(jnp.zeros(2), scale_tril=jnp.stack([jnp.eye(2)] * 3))
    assert jd.kl_divergence(p, q).shape == (5, 3)
    mapped = jax.vmap(
        lambda loc: jd.kl_divergence(MultivariateNormal(loc, scale_diag=jnp.ones(2)), q)
    )
    assert mapped(jnp.zeros((4, 2))).shape == (4, 3)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "p needs exactly one of covariance_matrix, scale_tril, scale_diag, cov_factor with"),
        ({"cov_factor": jnp.ones((2, 1))}, "but has cov_factor"),
        ({"scale_diag": jnp.ones(3)}, r"p.scale_diag must have the last axes \(2,\)"),
        ({"scale_diag": jnp.asarray([1.0, 0.0])}, "p.scale_diag must be positive"),
        (
            {"covariance_matrix": jnp.asarray([[1.0, 2.0], [2.0, 1.0]])},
            "p.covariance_matrix must be symmetric and positive definite, but has the",
        ),
        ({"covariance_matrix": jnp.asarray([[1.0, 0.5], [0.0, 1.0]])}, "but is not symmetric"),
        ({"scale_tril": jnp.asarray([[1.0, 0.0], [0.0, -1.0]])}, "must have a positive diagonal"),
    ],
)
def test_bad_covariances_are_refused(keywords, message):
    q = MultivariateNormal(jnp.zeros(2), scale_diag=jnp.ones(2))
    with pytest.raises(ValueError, match=message):
        jd.kl_divergence(MultivariateNormal(jnp.zeros(2), **keywords), q)


def test_a_traced_covariance_that_is_not_positive_definite_is_nan_in_its_row():
    q = MultivariateNormal(jnp.zeros(2), scale_diag=jnp.ones(2))
    matrices = jnp.asarray([[[1.0, 0.5], [0.5, 1.0]], [[1.0, 2.0], [2.0, 1.0]]])
    traced = jax.jit(
        lambda x: jd.kl_divergence(MultivariateNormal(jnp.zeros(2), covariance_matrix=x), q)
    )
    assert np.isfinite(traced(matrices)).tolist() == [True, False]
    assert np.isnan(traced(matrices)[1])


def test_independent_members_add_up():
    p, q = Gamma(jnp.asarray([[1.0, 2.0], [3.0, 4.0]]), 1.0), Gamma(2.0, jnp.asarray([1.0, 2.0]))
    found = jd.kl_divergence(Independent(p), Independent(q))
    np.testing.assert_allclose(found, jnp.sum(jd.kl_divergence(p, q), axis=-1), rtol=1e-6)
    own = jd.renyi_divergence(Independent(p), Independent(q), 0.5)
    np.testing.assert_allclose(own, jnp.sum(jd.renyi_divergence(p, q, 0.5), axis=-1), rtol=1e-6)
    # Affinities multiply: 1 - H^2 is their product.
    rest = jnp.prod(1 - jd.squared_hellinger(p, q), axis=-1)
    np.testing.assert_allclose(
        1 - jd.squared_hellinger(Independent(p), Independent(q)), rest, rtol=1e-5
    )
    both = (
        Independent(Gamma(jnp.ones((2, 3)), 1.0), 2),
        Independent(Gamma(jnp.ones((2, 3)), 2.0), 2),
    )
    assert jd.kl_divergence(*both).shape == ()


def test_independent_normals_are_a_multivariate_one():
    loc, scale = jnp.asarray([0.0, 1.0]), jnp.asarray([1.0, 2.0])
    p = Independent(Normal(loc, scale))
    q = MultivariateNormal(jnp.ones(2), scale_tril=jnp.asarray([[1.0, 0.0], [0.5, 2.0]]))
    own = MultivariateNormal(loc, scale_diag=scale)
    assert float(jd.kl_divergence(p, q)) == float(jd.kl_divergence(own, q))
    assert float(jd.kl_divergence(q, p)) == float(jd.kl_divergence(q, own))


@pytest.mark.parametrize(
    ("member", "error", "message"),
    [
        (
            lambda: Independent(3.0),
            TypeError,
            "p.base must be a member of a family, but is a float",
        ),
        (lambda: Independent(Normal(0.0, 1.0)), ValueError, r"p.base has batch shape \(\)"),
        (
            lambda: Independent(Normal(jnp.zeros(3), 1.0), 0),
            ValueError,
            "must be a positive integer",
        ),
        (lambda: Independent(Normal(jnp.zeros(3), 1.0)), ValueError, r"p \(3,\) and q \(2,\)"),
        (
            lambda: Independent(Normal(jnp.zeros(2), -1.0)),
            ValueError,
            "p.base.scale must be positive",
        ),
    ],
)
def test_what_independent_refuses(member, error, message):
    with pytest.raises(error, match=message):
        jd.kl_divergence(member(), Independent(Normal(jnp.zeros(2), 1.0)))


@pytest.mark.parametrize("weight", [0.5, 0.25])
def test_geometric_js_is_its_definition(weight):
    """KL to the normal distribution whose precision and shift are mixed: Nielsen, 2019."""
    m, l, n, k = pair(0.1)
    p = MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(l))
    q = MultivariateNormal(jnp.asarray(n), scale_tril=jnp.asarray(k))
    with mpmath.workdps(60):
        s, t, w = exact(l) * exact(l).T, exact(k) * exact(k).T, mpmath.mpf(weight)
        mixed = (w * s**-1 + (1 - w) * t**-1) ** -1
        middle = mixed * (w * s**-1 * exact(m).T + (1 - w) * t**-1 * exact(n).T)

        def to_middle(mean, matrix):
            shift, product = exact(mean).T - middle, mixed**-1 * matrix
            trace = sum(product[i, i] for i in range(SIZE))
            square = (shift.T * mixed**-1 * shift)[0]
            return (trace - SIZE - mpmath.log(mpmath.det(product)) + square) / 2

        true = w * to_middle(m, s) + (1 - w) * to_middle(n, t)
    assert close(jd.geometric_js_divergence(p, q, weight), true)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_second_derivatives_by_the_order_and_a_matrix_are_symmetric():
    m, l, n, k = (x.astype(np.float64) for x in pair(0.5))
    p = MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(l))

    def value(z):
        q = MultivariateNormal(jnp.asarray(n), scale_tril=z[1:].reshape(SIZE, SIZE))
        return jd.renyi_divergence(p, q, z[0])

    z, step = jnp.concatenate([jnp.asarray([0.3]), jnp.asarray(k).reshape(-1)]), 1e-6
    slope = jax.jit(jax.grad(value))
    found = jax.jit(jax.hessian(value))(z)
    by_differences = (slope(z.at[0].add(step)) - slope(z.at[0].add(-step))) / (2 * step)
    np.testing.assert_allclose(found[0], by_differences, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found[:, 0], by_differences, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("x64")
def test_fisher_information_is_that_of_the_textbooks():
    """Precision of the mean; tr(S^-1 dS S^-1 dS) / 2 of the covariance. Kay, 1993, 3.31."""
    _, l, _, _ = pair(0.1)
    s = jnp.asarray(l @ l.T, jnp.float64)
    p = MultivariateNormal(jnp.zeros(SIZE), covariance_matrix=s)
    found = jax.jit(fisher_information)(p)
    inverse = np.linalg.inv(np.asarray(s))
    np.testing.assert_allclose(found[:SIZE, :SIZE], inverse, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found[:SIZE, SIZE:], 0, atol=1e-10)
    direction = np.random.default_rng(0).normal(size=(SIZE, SIZE))
    direction = (direction + direction.T).reshape(-1)
    square = direction @ np.asarray(found[SIZE:, SIZE:]) @ direction
    product = inverse @ direction.reshape(SIZE, SIZE)
    assert square == pytest.approx(np.trace(product @ product) / 2, rel=1e-9)
