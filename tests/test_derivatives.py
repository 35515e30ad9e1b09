"""Derivatives in every mode, in float64, against finite differences and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every, rest_slow

pytestmark = pytest.mark.usefixtures("x64")

# Kinks at p = q only: smooth where these tests look. Second derivatives take long to compile: most
# run among the slow tests.
QUICK = {"kl", "js", "chi2", "f_divergence"}


def point(length=3, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=length)
    return jnp.asarray(a), jnp.asarray(a + 0.7 * rng.normal(size=length))


def difference(f, x, direction, step=1e-3):
    """A central difference of order 8: its error is about step^8 and 1e-16/step."""
    weights = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    total = 0.0
    for k, w in enumerate(weights, 1):
        total = total + w * (f(x + k * step * direction) - f(x - k * step * direction))
    return total / step


@functools.cache
def functions(name, chart):
    """The divergence on both arguments joined, its gradient and its Hessian, compiled once."""
    entry = jd.CATALOGUE[name]
    noun = {"logits": jd.Logits, "probs": jd.Probs, "log_probs": jd.LogProbs}[chart]

    def f(x):
        n = x.shape[0] // 2
        return entry(noun(x[:n]), noun(x[n:]))

    return f, jax.jit(f), jax.jit(jax.grad(f)), jax.jit(jax.hessian(f))


def joined(chart):
    a, b = point()
    if chart == "probs":
        a, b = jax.nn.softmax(a), jax.nn.softmax(b)
    if chart == "log_probs":
        a, b = jax.nn.log_softmax(a), jax.nn.log_softmax(b)
    return jnp.concatenate([a, b])


@pytest.mark.parametrize("name", every(sorted(jd.CATALOGUE), QUICK | {"hellinger_distance"}))
def test_derivatives_of_probabilities_match_finite_differences(name):
    derivatives_match_finite_differences(name, "probs")


@pytest.mark.parametrize("name", every(sorted(jd.CATALOGUE), QUICK))
def test_derivatives_of_logits_match_finite_differences(name):
    derivatives_match_finite_differences(name, "logits")


def derivatives_match_finite_differences(name, chart):
    _, value, slope, hessian = functions(name, chart)
    x = joined(chart)
    rng = np.random.default_rng(1)
    direction = jnp.asarray(rng.normal(size=x.shape)) * (0.1 if chart == "probs" else 1)
    np.testing.assert_allclose(
        slope(x) @ direction, difference(value, x, direction), rtol=1e-8, atol=1e-10
    )
    np.testing.assert_allclose(
        hessian(x) @ direction, difference(slope, x, direction), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("name", every(["kl", "js", "renyi_half", "alpha_3"], QUICK))
def test_derivatives_of_log_probabilities(name):
    _, value, slope, hessian = functions(name, "log_probs")
    x = joined("log_probs")
    direction = jnp.asarray(np.random.default_rng(1).normal(size=x.shape))
    np.testing.assert_allclose(
        slope(x) @ direction, difference(value, x, direction), rtol=1e-8, atol=1e-10
    )
    np.testing.assert_allclose(
        hessian(x) @ direction, difference(slope, x, direction), rtol=1e-7, atol=1e-9
    )


SLOW_NESTINGS = ["alpha_half", "reverse_kl", "js", "chi2", "renyi_2", "bregman"]


@pytest.mark.core
@pytest.mark.parametrize("chart", ["probs", "logits"])
@pytest.mark.parametrize(
    "name",
    ["kl"] + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW_NESTINGS],
)
def test_all_nestings_of_forward_and_reverse_agree(name, chart):
    f, _, _, hessian = functions(name, chart)
    x = joined(chart)
    want = hessian(x)
    for outer, inner in ((jax.jacfwd, jax.jacfwd), (jax.jacrev, jax.jacrev)):
        got = jax.jit(outer(inner(f)))(x)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    batch = jnp.stack([x, x + 0.01])
    np.testing.assert_allclose(
        jax.jit(jax.vmap(jax.hessian(f)))(batch)[0], want, rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("chart", ["probs", "logits"])
@pytest.mark.parametrize(
    "name", every(["kl", "js", "alpha_half", "renyi_half", "f_divergence"], ["kl"])
)
def test_third_derivatives_by_nesting(name, chart):
    f, _, _, hessian = functions(name, chart)
    x = joined(chart)
    direction = jnp.asarray(np.random.default_rng(2).normal(size=x.shape)) * (
        0.05 if chart == "probs" else 1
    )

    def along(f):
        return lambda x: jax.jvp(f, (x,), (direction,))[1]

    got = jax.jit(along(along(along(f))))(x)

    def second(x):
        return direction @ hessian(x) @ direction

    np.testing.assert_allclose(got, difference(second, x, direction), rtol=1e-6, atol=1e-8)


# Chernoff's is checked by verification, which compiles it for the purpose.
SMOOTH = {n for n, e in jd.CATALOGUE.items() if e.claims.coefficient is not None} - {"chernoff"}


@pytest.mark.core
@pytest.mark.parametrize("name", every(sorted(SMOOTH), QUICK))
def test_hessian_at_equality_is_the_claimed_one(name):
    entry = jd.CATALOGUE[name]
    claims = entry.claims
    _, _, slope, hessian = functions(name, "logits")
    a, _ = point()
    x = jnp.concatenate([a, a])
    p = jax.nn.softmax(a)
    want = claims.coefficient * (jnp.diag(p) - jnp.outer(p, p))
    np.testing.assert_array_equal(slope(x), 0)
    np.testing.assert_allclose(hessian(x)[3:, 3:], want, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(hessian(x)[:3, :3], want, rtol=1e-12, atol=1e-14)
    _, _, slope, hessian = functions(name, "probs")
    x = jnp.concatenate([p, p])
    got = hessian(x)[3:, 3:]
    np.testing.assert_array_equal(slope(x), 0)
    # On the tangent of the simplex; f-divergences have it in the whole space.
    basis = np.linalg.svd(np.ones((1, 3)))[2][1:]
    whole = getattr(entry.divergence, "homogeneous", False)
    project = (lambda h: h) if whole else (lambda h: basis @ h @ basis.T)
    np.testing.assert_allclose(
        project(got), project(claims.coefficient * np.diag(1 / np.asarray(p))), rtol=1e-12,
        atol=1e-13,
    )  # fmt: skip


def test_third_order_of_kl_matches_its_closed_form():
    # d^3/dq^3 = -(3 f'' + f''')/p^2 with f''(1) = 1, f'''(1) = -1; in p it is f'''/p^2.
    a, _ = point()
    p = jax.nn.softmax(a)
    cube = jax.jit(jax.jacfwd(jax.jacfwd(jax.jacfwd(jd.kl_divergence, 1), 1), 1))(p, p)
    np.testing.assert_allclose(jnp.einsum("iii->i", cube), -2 / p**2, rtol=1e-12)
    cube = jax.jit(jax.jacfwd(jax.jacfwd(jax.jacfwd(jd.kl_divergence))))(p, p)
    np.testing.assert_allclose(jnp.einsum("iii->i", cube), -1 / p**2, rtol=1e-12)


PARAMETERS = [
    (jd.alpha_divergence, (-1.3, 0.0, 0.4, 1.0, 2.2)),
    (jd.renyi_divergence, (0.3, 1.0, 2.2)),
    (jd.tsallis_divergence, (0.3, 1.0, 2.2)),
    (jd.js_divergence, (0.3, 0.5)),
    (jd.skew_kl_divergence, (0.1, 0.9)),
]


@pytest.mark.parametrize("verb, values", rest_slow(PARAMETERS, 1))
def test_parameters_are_differentiable_and_mapped(verb, values):
    a, b = point()

    def f(parameter):
        return verb(jd.Logits(a), jd.Logits(b), parameter)

    value, slope = (jax.jit(jax.vmap(g)) for g in (f, jax.grad(f)))
    x = jnp.asarray(values)
    np.testing.assert_allclose(
        slope(x), difference(value, x, jnp.ones_like(x)), rtol=1e-7, atol=1e-9
    )
    np.testing.assert_allclose(value(x), [float(f(v)) for v in values], rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("verb, values", PARAMETERS)
def test_second_derivatives_by_parameters(verb, values):
    a, b = point()

    def f(parameter):
        return verb(jd.Logits(a), jd.Logits(b), parameter)

    def mixed(parameter):
        return jax.grad(lambda b: verb(jd.Logits(a), jd.Logits(b), parameter))(b)

    slope, curve = (jax.jit(jax.vmap(g)) for g in (jax.grad(f), jax.hessian(f)))
    across, gradient = jax.jit(jax.vmap(jax.jacfwd(mixed))), jax.jit(jax.vmap(mixed))
    x = jnp.asarray(values)
    one = jnp.ones_like(x)
    np.testing.assert_allclose(curve(x), difference(slope, x, one), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(across(x), difference(gradient, x, one), rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_temperature_and_smoothing_are_differentiable():
    a, b = point()

    def f(t):
        smoothed = jd.Labels(jnp.asarray(1), smoothing=t / 10)
        return jd.kl_divergence(jd.Logits(a, t), jd.Logits(b, t * t)) + jd.kl_divergence(
            smoothed, jd.Logits(b, t)
        )

    value, slope = jax.jit(f), jax.jit(jax.grad(f))
    curve = jax.jit(jax.hessian(f))
    x = jnp.asarray(1.3)
    np.testing.assert_allclose(slope(x), difference(value, x, 1.0), rtol=1e-9)
    np.testing.assert_allclose(curve(x), difference(slope, x, 1.0), rtol=1e-8)


@pytest.mark.slow
def test_limits_of_renyi_are_values():
    a, b = point(5)
    p, q = jd.Logits(a), jd.Logits(b)
    ratio = jax.nn.log_softmax(a) - jax.nn.log_softmax(b)
    orders = jnp.asarray([0.0, 1.0, jnp.inf])
    got = jax.jit(jax.vmap(lambda order: jd.renyi_divergence(p, q, order)))(orders)
    want = [0.0, float(jd.kl_divergence(p, q)), float(ratio.max())]
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)
    for near, far in ((1e-9, 0), (1 - 1e-9, 1), (1e6, 2)):
        value = float(jd.renyi_divergence(p, q, near))
        assert value == pytest.approx(want[far], rel=3e-5, abs=1e-8)
    zero = jnp.where(jnp.arange(5) < 2, 0, jax.nn.softmax(a))
    missing = -np.log(np.asarray(jax.nn.softmax(b))[2:].sum())
    np.testing.assert_allclose(jd.renyi_divergence(zero, q, 0.0), missing, rtol=1e-13)


@pytest.mark.slow
def test_second_derivatives_of_chernoff_information_follow_the_best_alpha():
    # With the envelope theorem alone the Hessian would be that at a fixed alpha.
    _, _, slope, hessian = functions("chernoff", "logits")
    x = joined("logits")
    direction = jnp.asarray(np.random.default_rng(3).normal(size=x.shape))
    np.testing.assert_allclose(
        hessian(x) @ direction, difference(slope, x, direction), rtol=1e-6, atol=1e-8
    )


def test_an_infinite_derivative_leaves_the_others_as_they_are():
    p, q = np.asarray([0.5, 0.3, 0.2]), np.asarray([0.2, 0.8, 0.0])
    with np.errstate(divide="ignore"):
        ratio, log_p, log_q = np.log(p / q), np.log(p), np.log(q)
    by_p = jax.grad(lambda p: jd.kl_divergence(p, q))(p)
    np.testing.assert_allclose(by_p, ratio, rtol=1e-13)
    by_log_p = jax.grad(lambda x: jd.kl_divergence(jd.LogProbs(x), jd.LogProbs(log_q)))(log_p)
    np.testing.assert_allclose(by_log_p, p * ratio, rtol=1e-13)


def test_kl_and_cross_entropy_have_the_same_gradient_in_q():
    a, b = point()
    kl = jax.grad(lambda b: jd.kl_divergence(jd.Logits(a), jd.Logits(b)))(b)
    ce = jax.grad(lambda b: jd.cross_entropy(jd.Logits(a), jd.Logits(b)))(b)
    np.testing.assert_allclose(kl, ce, rtol=1e-13, atol=1e-15)
    p, q = jax.nn.softmax(a), jax.nn.softmax(b)
    np.testing.assert_allclose(kl, q - p, rtol=1e-13, atol=1e-15)
