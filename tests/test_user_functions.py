"""Functions of the user's own: any way of writing one keeps the digits, at any ratio of p to q."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every
from oracles import ORACLES, from_logits, from_probs, gradient, ulp_error

# The generator, written plainly, and the divergence of the catalogue that it is.
GENERATORS = {
    "-log t": (lambda t: -jnp.log(t), "reverse_kl_divergence", {}),
    "t log t": (lambda t: t * jnp.log(t), "kl_divergence", {}),
    "t^2": (lambda t: t * t, "chi2_divergence", {}),
    "1/t": (lambda t: 1 / t, "neyman_chi2_divergence", {}),
    "t^3": (lambda t: t**3 / 6, "alpha_divergence", {"alpha": 3}),
    "-sqrt t": (lambda t: -4 * jnp.sqrt(t), "alpha_divergence", {"alpha": 0.5}),
    "JS": (
        lambda t: (t * jnp.log(t) - (1 + t) * jnp.log((1 + t) / 2)) / 2,
        "js_divergence",
        {},
    ),
}
POTENTIALS = {
    "x log x": (lambda x: x * jnp.log(x), "kl_divergence"),
    "-log x": (lambda x: -jnp.log(x), "itakura_saito_divergence"),
    "x^2": (lambda x: x * x, "squared_euclidean"),
}
QUICK = ("-log t", "t^3", "JS")
# Ratios of p to q from 1 + 1e-6 to e^60; the last rows are beyond the range of float32.
SCALES = np.float32([1e-6, 1e-3, 0.1, 1, 3, 5, 8, 12])


def rows():
    rng = np.random.default_rng(0)
    a, b = np.float32(rng.normal(size=(2, len(SCALES), 7)) * SCALES[:, None])
    far = np.float32([[-300.0, -200.0, -250.0, -203, -201, -202, -200], [0, -200, 1, 2, 3, 1, 2]])
    return np.concatenate([a, far]), np.concatenate([b, far[::-1]])


def pairs(chart):
    a, b = rows()
    if chart == "logits":
        return jd.Logits(a), jd.Logits(b), list(map(from_logits, a)), list(map(from_logits, b))
    p, q = (np.asarray(jax.nn.softmax(jnp.asarray(x[: len(SCALES)]))) for x in (a, b))
    return p, q, list(map(from_probs, p)), list(map(from_probs, q))


@pytest.mark.parametrize("chart", ["probs", "logits"])
@pytest.mark.parametrize("name", every(GENERATORS, QUICK))
def test_f_divergences(name, chart):
    f, verb, parameters = GENERATORS[name]
    p, q, exact_p, exact_q = pairs(chart)
    got = jd.f_divergence(p, q, f)
    for value, x, y in zip(got, exact_p, exact_q, strict=True):
        want = ORACLES[verb](x, y, **parameters)
        assert ulp_error(value, want, "float32") <= 64, (name, float(value), want)


@pytest.mark.parametrize("chart", ["probs", "logits"])
@pytest.mark.parametrize("name", every(POTENTIALS, ("x log x",)))
def test_bregman_divergences(name, chart):
    potential, verb = POTENTIALS[name]
    p, q, exact_p, exact_q = pairs(chart)
    got = jd.bregman_divergence(p, q, potential)
    for i, (value, x, y) in enumerate(zip(got, exact_p, exact_q, strict=True)):
        if i >= len(SCALES):
            continue  # a potential is a function of masses, and these underflow
        want = ORACLES[verb](x, y)
        assert ulp_error(value, want, "float32") <= 64, (name, float(value), want)


@pytest.mark.parametrize("name", every(["-log t", "t log t", "JS"], ["JS"]))
def test_gradients_with_respect_to_logits(name):
    f, verb, _ = GENERATORS[name]
    a, b = (x[:6] for x in rows())  # max|a - b| <= 20, as in the promise

    def total(a, b):
        return jd.f_divergence(jd.Logits(a), jd.Logits(b), f).sum()

    by_p, by_q = jax.grad(total, (0, 1))(a, b)
    for i in range(len(a)):
        for argument, got in (("p", by_p[i]), ("q", by_q[i])):
            want = gradient(verb, a[i], b[i], "logits", argument)
            want = np.asarray([float(x) for x in want])
            error = np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)
            assert error <= 2e-6, (name, i, argument, error)


@pytest.mark.parametrize("power", [1, 2])
def test_a_users_function_with_a_kink_is_not_smoothed_away(power):
    # Where f'' says nothing of a jump in f', the remainder formula would return 0.
    def hinge(t):
        return jnp.maximum(t - 1.0, 0.0) ** power

    p = jnp.asarray([0.2, 0.3001, 0.4999])
    q = jnp.asarray([0.2001, 0.3, 0.4999])
    got = float(jd.f_divergence(p, q, hinge))
    x, y = np.asarray(p, np.float64), np.asarray(q, np.float64)
    slope = 0.5 if power == 1 else 0.0  # the derivative of max(t - 1, 0) at 1, as JAX takes it
    want = float(np.sum(y * np.maximum(x / y - 1, 0) ** power - slope * (x - y)))
    assert got == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize(
    "scale", [1e-6, 1.0, *(pytest.param(x, marks=pytest.mark.slow) for x in (1e-4, 1e-2))]
)
def test_a_users_function_written_plainly_keeps_its_digits(scale):
    # t log t - t + 1 in float32 has no digit near t = 1; its integral form has them all.
    def f(t):
        return t * jnp.log(t) - t + 1

    def potential(x):
        return x * jnp.log(x)

    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.normal(size=8), jnp.float32)
    p, q = (jax.nn.softmax(x) for x in (a, a + scale * a[::-1]))
    want = ORACLES["kl_divergence"](from_probs(np.asarray(p)), from_probs(np.asarray(q)))
    assert ulp_error(jd.f_divergence(p, q, f), want, "float32") <= 16
    assert ulp_error(jd.bregman_divergence(p, q, potential), want, "float32") <= 16
    zero = p.at[0].set(0.0)
    want = ORACLES["kl_divergence"](from_probs(np.asarray(zero)), from_probs(np.asarray(q)))
    assert ulp_error(jd.f_divergence(zero, q, f), want, "float32") <= 16
    assert ulp_error(jd.bregman_divergence(zero, q, potential), want, "float32") <= 16
    assert jd.f_divergence(q, zero, f) == jnp.inf
    assert jd.bregman_divergence(q, zero, potential) == jnp.inf


def test_a_function_is_looked_at_by_one_program():
    seen = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(duration)

    p = jnp.asarray([0.5, 0.5])
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jd.f_divergence(p, p, lambda t: t * jnp.log(t) + 2 * jnp.exp(t))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    # That, and the divergence: operation by operation there would be twenty.
    assert len(seen) == 2


@pytest.mark.parametrize("wrapped", [jax.jit, jax.vmap, lambda f: jax.grad(lambda *x: f(*x).sum())])
def test_a_function_may_first_be_met_while_others_are_traced(wrapped):
    p, q = jnp.asarray([[0.25, 0.75]]), jnp.asarray([[0.5, 0.5]])
    got = wrapped(lambda p, q: jd.f_divergence(p, q, lambda t: t * jnp.log(t)))(p, q)
    np.testing.assert_allclose(got, wrapped(jd.kl_divergence)(p, q), rtol=1e-6)
