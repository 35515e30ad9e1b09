"""The gradient of an estimate is not an estimate of the gradient."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every

KEY = jax.random.key(0)
POLICY = jnp.asarray([0.5, -0.3, 1.0, 0.0])
REFERENCE = jnp.asarray([0.0, 0.4, -0.2, 0.3])


def _exact(by_p=POLICY, reverse=False):
    """The gradient of KL(p || q), or of KL(q || p), by p's logits, by its formula in float64."""
    p, q = (np.exp(np.asarray(z, np.float64)) for z in (by_p, REFERENCE))
    p, q = p / p.sum(), q / q.sum()
    l = np.log(p / q)
    return p - q if reverse else p * (l - p @ l)


def _expected(estimator):
    """The expectation over all outcomes of the gradient at a fixed outcome."""
    log_q = jax.nn.log_softmax(REFERENCE)
    each = jax.jacobian(lambda z: estimator(jax.nn.log_softmax(z), log_q))(POLICY)
    return np.asarray(jax.nn.softmax(POLICY) @ each, np.float64)


def test_what_the_gradients_of_k1_k2_and_k3_estimate():
    np.testing.assert_allclose(_expected(jd.kl_k1), 0, atol=1e-7)
    np.testing.assert_allclose(_expected(jd.kl_k2), _exact(), atol=1e-6)
    np.testing.assert_allclose(_expected(jd.kl_k3), _exact(reverse=True), atol=1e-6)
    assert np.abs(_exact() - _exact(reverse=True)).max() > 0.05


def test_k1_k2_and_k3_are_accurate():
    rng = np.random.default_rng(0)
    step = np.concatenate([10.0 ** rng.uniform(-12, 0, 40), [1.0, 3.0, 30.0]])
    log_p = np.float32(-rng.uniform(0.1, 4, step.size))
    log_q = np.float32(log_p - step * rng.choice([-1, 1], step.size))
    with mpmath.workdps(50):
        exact = [
            mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(log_p, log_q, strict=True)
        ]
        truth = {
            jd.kl_k1: exact,
            jd.kl_k2: [l * l / 2 for l in exact],
            jd.kl_k3: [mpmath.expm1(-l) + l for l in exact],
        }
        for estimator, values in truth.items():
            found = np.asarray(estimator(log_p, log_q), np.float64)
            for a, b in zip(found, values, strict=True):
                # 8 ulp; exp of a large argument loses as many ulps as it has.
                assert abs(a - float(b)) <= 64 * 2**-23 * abs(float(b))
    assert jd.kl_k3(np.float32(-3), np.float32(-np.inf)) == np.inf
    assert jd.kl_k3(np.float32(-3), np.float32(-3)) == 0
    same = jnp.asarray([-1.0, -2.0], jnp.bfloat16)
    assert jd.kl_k3(same, same).dtype == jnp.float32
    with pytest.raises(ValueError, match="one shape"):
        jd.kl_k1(np.zeros(3), np.zeros(2))


def test_variances_have_their_closed_forms():
    # Between normal distributions of one scale d apart; float64, 10^6 draws.
    with jax.enable_x64(True):
        d = 0.5
        p, q = jd.Normal(0.0, 1.0), jd.Normal(d, 1.0)
        x = p.sample(KEY, 10**6)
        logs = p.log_prob(x), q.log_prob(x)
        wanted = {
            jd.kl_k1: (d**2 / 2, d**2),
            jd.kl_k2: (d**2 / 2 + d**4 / 8, d**4 / 2 + d**6 / 4),
            jd.kl_k3: (d**2 / 2, np.exp(d**2) - 1 - d**2),
        }
        for estimator, (mean, variance) in wanted.items():
            y = np.asarray(estimator(*logs))
            assert abs(y.mean() - mean) < 4 * np.sqrt(variance / y.size)
            assert abs(y.var() - variance) < 4 * np.std((y - mean) ** 2) / np.sqrt(y.size)


@jax.jit
def _losses(keys):
    """Gradients by the policy's logits of three losses, each by 8 sampled tokens."""

    def losses(z, key):
        log_p, log_q = jax.nn.log_softmax(z), jax.nn.log_softmax(REFERENCE)
        x = jax.random.categorical(key, jax.lax.stop_gradient(z), shape=(8,))
        l = log_p[x] - log_q[x]
        shifted = jd.unbiased_kl_loss(log_p[x], log_q[x] + 30)
        return jnp.stack([jd.unbiased_kl_loss(log_p[x], log_q[x]), jnp.mean(l), shifted])

    return jax.vmap(lambda key: jax.jacobian(losses)(POLICY, key))(keys)


def test_the_loss_of_sampled_tokens_has_the_gradient_of_kl():
    found = np.asarray(_losses(jax.random.split(KEY, 20000)), np.float64)
    mean, spread = found.mean(0), found.std(0)
    error = spread / np.sqrt(len(found))
    assert np.all(np.abs(mean[0] - _exact()) < 4 * error[0])
    assert np.all(np.abs(mean[1]) < 4 * error[1])  # k1: the expectation is 0, not the gradient
    assert np.any(np.abs(mean[1] - _exact()) > 20 * error[1])
    # What all draws have in common leaves no trace: that is the baseline.
    np.testing.assert_allclose(found[:, 2], found[:, 0], atol=2e-5)
    log_p, log_q = jnp.asarray([-1.0, -2.0, -0.5]), jnp.asarray([-1.5, -1.0, -0.5])
    np.testing.assert_allclose(
        jd.unbiased_kl_loss(log_p, log_q), np.mean(jd.kl_k1(log_p, log_q)), rtol=1e-6
    )
    with pytest.raises(ValueError, match="two draws or more"):
        jd.unbiased_kl_loss(log_p[None], log_q[None])


def _many(function, count=200):
    keys = jax.random.split(jax.random.key(3), count)
    found = jax.jit(jax.vmap(function))(keys)
    return jax.tree.map(lambda x: (float(x.mean()), float(x.std()) / np.sqrt(count)), found)


def test_two_gradients_of_a_categorical():
    policy, reference = jd.Logits(POLICY), jd.Logits(REFERENCE)
    unbiased = jd.unbiased_gradient(jd.KL(), policy, reference, KEY, 200000).logits
    fixed = jd.fixed_sample_gradient(jd.KL(), policy, reference, KEY, 200000).logits
    np.testing.assert_allclose(unbiased, _exact(), atol=0.004)
    # The estimate is the mean of k3.
    np.testing.assert_allclose(fixed, _exact(reverse=True), atol=0.004)
    assert np.abs(np.asarray(fixed) - _exact()).max() > 0.05
    # Automatic differentiation of an estimate is the unbiased one.
    slope = jax.grad(lambda z: jd.estimate(jd.KL(), jd.Logits(z), reference, KEY, 200000).value)
    np.testing.assert_allclose(slope(POLICY), unbiased, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("by", every("pq", "p"))
def test_two_gradients_of_a_normal(by):
    p, q = jd.Normal(0.0, 1.0), jd.Normal(0.5, 1.3)
    exact = jax.grad(jd.kl_divergence, "pq".index(by))(
        *(jax.tree.map(jnp.float32, side) for side in (p, q))
    )
    for method in ("score", "reparametrised"):
        found = _many(lambda k: jd.unbiased_gradient(jd.KL(), p, q, k, 200, by=by, method=method))  # noqa: B023
        for name in ("loc", "scale"):
            mean, error = getattr(found, name)
            assert abs(mean - getattr(exact, name)) < 4 * error, (method, name)
    fixed = _many(lambda k: jd.fixed_sample_gradient(jd.KL(), p, q, k, 200, by=by))
    off = [abs(getattr(fixed, n)[0] - getattr(exact, n)) / getattr(fixed, n)[1] for n in
           ("loc", "scale")]  # fmt: skip
    # By q the draws do not move, so that the two are one; by p the bias is many standard errors.
    assert max(off) < 4 if by == "q" else min(off) > 5


def test_bad_input_is_named():
    p, q = jd.Poisson(2.0), jd.Poisson(3.0)
    with pytest.raises(ValueError, match="Poisson are not differentiable"):
        jd.unbiased_gradient(jd.KL(), p, q, KEY, 10, method="reparametrised")
    with pytest.raises(ValueError, match="method must be"):
        jd.unbiased_gradient(jd.KL(), p, q, KEY, 10, method="pathwise")
    with pytest.raises(ValueError, match="by must be"):
        jd.unbiased_gradient(jd.KL(), p, q, KEY, 10, by="r")
    with pytest.raises(TypeError, match="to be differentiated by"):
        jd.unbiased_gradient(jd.KL(), (p.sample, p.log_prob), q, KEY, 10)
