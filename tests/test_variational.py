"""Conjugates against a maximisation by scipy; bounds against exact divergences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import jaxdiv as jd
from conftest import every
from jaxdiv._divergence import Separable


def _js(w):
    def f(u):
        m = w * u + 1 - w
        return w * u * np.log(u) - m * np.log(m)

    return f


def _skew(u, s=0.1):
    return u * np.log(u / (s * u + 1 - s)) - (1 - s) * (u - 1)


# The generators once more, f(1) = f'(1) = 0, as numpy computes them.
GENERATORS = {
    "kl": lambda u: u * np.log(u) - u + 1,
    "reverse_kl": lambda u: u - 1 - np.log(u),
    "jeffreys": lambda u: (u - 1) * np.log(u),
    "js": _js(0.5),
    "js_quarter": _js(0.25),
    "skew_kl": _skew,
    "total_variation": lambda u: np.abs(u - 1) / 2,
    "squared_hellinger": lambda u: (np.sqrt(u) - 1) ** 2 / 2,
    "chi2": lambda u: (u - 1) ** 2,
    "neyman_chi2": lambda u: (u - 1) ** 2 / u,
    "le_cam": lambda u: (u - 1) ** 2 / (u + 1),
    "alpha_half": lambda u: 2 * (np.sqrt(u) - 1) ** 2,
    "alpha_minus_1": lambda u: (1 / u + u - 2) / 2,
    "alpha_3": lambda u: (u**3 - 3 * u + 2) / 6,
    "f_divergence": lambda u: (u - 1) ** 2,
}
QUICK = ("kl", "jeffreys", "js_quarter", "total_variation", "alpha_half")


def test_every_f_divergence_of_the_catalogue_is_here():
    names = {
        name
        for name, entry in jd.CATALOGUE.items()
        if isinstance(entry.divergence, Separable) and entry.divergence.homogeneous
    }
    assert names == set(GENERATORS)


def _maximised(f, t):
    """sup over u >= 0 of t u - f(u), and where it is attained, from a grid and scipy's search."""
    log_u = np.linspace(-30, 30, 2001)
    best = np.argmax(t * np.exp(log_u) - f(np.exp(log_u)))
    low, high = log_u[max(best - 1, 0)], log_u[min(best + 1, 2000)]
    found = optimize.minimize_scalar(
        lambda l: f(np.exp(l)) - t * np.exp(l),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-12},
    )
    return -found.fun, np.exp(found.x)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", every(GENERATORS, QUICK))
def test_conjugates_are_those_of_the_generators(name):
    f, divergence = GENERATORS[name], jd.CATALOGUE[name].divergence
    low, high = map(float, jd.conjugate_domain(divergence))
    t = np.clip(np.asarray([-2.5, -1.0, -0.3, -1e-3, 0.0, 1e-3, 0.2, 0.9, 2.0]), low, high)
    t = t[t < high]
    found = jax.jit(lambda t: jax.vmap(jax.value_and_grad(jd.conjugate(divergence)))(t))(t)
    for here, value, slope in zip(t, *found, strict=True):
        wanted, at = _maximised(f, here)
        # Where the best u is 0 the grid ends at e^-30.
        assert value == pytest.approx(wanted, rel=1e-9, abs=1e-9)
        if name != "total_variation" and here > low:
            assert slope == pytest.approx(at, rel=2e-5, abs=1e-6)
    conjugate = jd.conjugate(divergence)
    ends = (
        np.asarray([high + 1, -np.inf, np.nan]) if np.isfinite(high) else [np.inf, -np.inf, np.nan]
    )
    above, below, unknown = np.asarray(conjugate(ends))
    assert above == np.inf and np.isnan(unknown)
    assert below == pytest.approx(-f(1e-300), rel=0.01) if f(1e-300) < 100 else below == -np.inf
    assert conjugate(np.zeros(2)).tolist() == [0, 0]


@pytest.mark.usefixtures("x64")
def test_the_solve_is_differentiable_twice_and_by_parameters():
    @jax.jit
    @jax.vmap
    def derivatives(t, skew):
        def value(t, skew):
            return jd.conjugate(jd.SkewKL(skew))(t)

        first, by_skew = jax.grad(value, (0, 1))(t, skew)
        return value(t, skew), first, jax.grad(jax.grad(value))(t, skew), by_skew

    t, step = np.asarray([-1.0, 0.3, 1.2]), 1e-5
    _, _, second, by_skew = derivatives(t, np.full(3, 0.1))
    ahead, behind = (derivatives(t + h, np.full(3, 0.1))[1] for h in (step, -step))
    np.testing.assert_allclose(second, (ahead - behind) / (2 * step), rtol=1e-6)
    ahead, behind = (derivatives(t, np.full(3, 0.1 + h))[0] for h in (step, -step))
    np.testing.assert_allclose(by_skew, (ahead - behind) / (2 * step), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_a_function_of_ones_own_agrees_with_the_closed_form():
    own = jd.conjugate(jd.FDivergence(lambda u: u * jnp.log(u)))
    t = np.linspace(-5, 5, 11)
    np.testing.assert_allclose(own(t), np.expm1(t), rtol=1e-10, atol=1e-14)


# p and q in sixteenths, so that draws in these proportions have exactly their expectations.
COUNTS_P, COUNTS_Q = [5, 3, 4, 4], [2, 6, 7, 1]
P, Q = np.asarray(COUNTS_P) / 16, np.asarray(COUNTS_Q) / 16
AT_P, AT_Q = np.repeat(np.arange(4), COUNTS_P), np.repeat(np.arange(4), COUNTS_Q)


@pytest.mark.parametrize("name", every(GENERATORS, ("kl", "js_quarter", "total_variation")))
def test_the_bound_is_the_divergence_at_the_best_critic_and_below_it_elsewhere(name):
    entry = jd.CATALOGUE[name]
    truth = float(entry(P, Q))
    best = jd.optimal_critic(entry.divergence)(np.log(P / Q))
    bound = jd.variational_bound(entry.divergence, best[AT_P], best[AT_Q])
    assert bound == pytest.approx(truth, rel=2e-6)
    rng = np.random.default_rng(0)
    v = rng.normal(size=(50, 4)) + np.log(P / Q) * rng.uniform(0, 1, (50, 1))
    critics = jd.output_activation(entry.divergence)(jnp.asarray(v, jnp.float32))
    _, high = jd.conjugate_domain(entry.divergence)
    assert np.all(critics <= high)
    others = jd.variational_bound(entry.divergence, critics[:, AT_P], critics[:, AT_Q])
    assert others.shape == (50,) and np.all(others < truth + 1e-6)
    assert np.max(others) > -np.inf


def test_bounds_on_kl_and_js():
    kl, js = float(jd.kl_divergence(P, Q)), float(jd.js_divergence(P, Q))
    l = np.log(P / Q)
    assert jd.donsker_varadhan_bound(l[AT_P] + 3, l[AT_Q] + 3) == pytest.approx(kl, rel=1e-6)
    assert jd.nwj_bound(l[AT_P] + 1, l[AT_Q] + 1) == pytest.approx(kl, rel=1e-6)
    assert jd.js_bound(l[AT_P], l[AT_Q]) == pytest.approx(js, rel=1e-6)
    assert jd.smile_estimate(l[AT_P], l[AT_Q], 10.0) == pytest.approx(kl, rel=1e-6)
    rng = np.random.default_rng(0)
    t = l + rng.normal(size=(50, 4))
    p, q = t[:, AT_P], t[:, AT_Q]
    dv, nwj = jd.donsker_varadhan_bound(p, q), jd.nwj_bound(p, q)
    assert np.all(nwj <= dv + 1e-6) and np.all(dv < kl) and np.all(jd.js_bound(p, q) < js)
    np.testing.assert_allclose(
        nwj, jd.variational_bound(jd.KL(), p - 1, q - 1), rtol=2e-5, atol=1e-6
    )
    # What clipping does: with a large score at draws from q it is more than Donsker and Varadhan's.
    assert jd.smile_estimate(p, q + 9, 5.0)[0] > jd.donsker_varadhan_bound(p, q + 9)[0]


def test_the_bias_of_the_bounds_is_what_is_said():
    # Normal distributions 1.5 apart, the best critic, 5 draws from q: over 20000 batches.
    key = jax.random.key(0)
    x = jax.random.normal(key, (2, 20000, 5))
    d = 1.5
    critic = lambda x: d * d / 2 - d * x  # log(p/q), p = N(0, 1), q = N(d, 1)  # noqa: E731
    p, q = critic(x[0]), critic(x[1] + d)
    means = {
        name: (float(jnp.mean(y)), float(jnp.std(y)) / np.sqrt(len(y)))
        for name, y in {
            "nwj": jd.nwj_bound(p + 1, q + 1),
            "dv": jd.donsker_varadhan_bound(p, q),
            "f-gan": jd.variational_bound(jd.KL(), p, q),
        }.items()
    }
    truth = d * d / 2
    assert abs(means["nwj"][0] - truth) < 4 * means["nwj"][1]
    assert abs(means["f-gan"][0] - truth) < 4 * means["f-gan"][1]
    assert means["dv"][0] - truth > 20 * means["dv"][1]  # above what it bounds


def test_info_nce():
    # Correlated normal pairs, of which the mutual information is -log(1 - r^2) / 2.
    r, n = 0.8, 32
    x, z = jax.random.normal(jax.random.key(0), (2, 400, n))
    y = r * x + np.sqrt(1 - r * r) * z
    s2 = 1 - r * r
    # log p(y | x) / p(y) + c
    off = jnp.square(y[:, None, :] - r * x[:, :, None]) / (2 * s2)
    scores = jnp.square(y[:, None, :]) / 2 - off
    found = jd.info_nce_bound(scores)
    truth = -np.log(s2) / 2
    assert 0.8 * truth < found.mean() < truth + 4 * found.std() / np.sqrt(400)
    assert np.all(jd.info_nce_bound(100 * jnp.eye(n)) <= np.log(n) + 1e-5)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "must be an f-divergence", lambda: jd.variational_bound(jd.Renyi(2.0), P, Q)),
        (TypeError, "must be an f-divergence", lambda: jd.conjugate(jd.SquaredEuclidean())),
        (TypeError, "must be an f-divergence", lambda: jd.output_activation("kl")),
        (ValueError, "one draw or more", lambda: jd.variational_bound(jd.KL(), 1.0, Q)),
        (ValueError, "one draw or more", lambda: jd.nwj_bound(P, np.zeros((0,)))),
        (ValueError, "equal axes before", lambda: jd.js_bound(P[None], Q)),
        (ValueError, "all n x n pairs", lambda: jd.info_nce_bound(np.zeros((3, 4)))),
        (ValueError, "clip must be positive", lambda: jd.smile_estimate(P, Q, 0.0)),
    ],
)
def test_bad_input_is_named(error, match, call):
    with pytest.raises(error, match=match):
        call()


def test_scores_outside_the_domain_bound_nothing():
    assert jd.variational_bound(jd.JensenShannon(), P, Q + 5) == -np.inf
    assert np.isnan(jd.variational_bound(jd.KL(), P, np.asarray([np.nan, 0.0])))
