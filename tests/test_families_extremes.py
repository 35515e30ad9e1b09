"""Members with parameters of any size: no divergence is NaN, and none is negative."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every
from jaxdiv import families

COUNT = 2000
SPAN = 26.0  # parameters from e^-26 to e^26
PARAMETERS = {
    "Beta": ("concentration1", "concentration0"),
    "Cauchy": ("loc", "scale"),
    "Chi2": ("df",),
    "ContinuousBernoulli": ("logits",),
    "Exponential": ("rate",),
    "Gamma": ("concentration", "rate"),
    "Geometric": ("logits",),
    "Gumbel": ("loc", "scale"),
    "HalfNormal": ("scale",),
    "InverseGamma": ("concentration", "scale"),
    "InverseGaussian": ("mean", "concentration"),
    "Laplace": ("loc", "scale"),
    "LogNormal": ("loc", "scale"),
    "Normal": ("loc", "scale"),
    "Poisson": ("rate",),
    "Rayleigh": ("scale",),
    "VonMises": ("angle", "concentration"),
    "Weibull": ("concentration", "scale"),
}
NAMES = {"mean": "loc", "angle": "loc"}
VERBS = {
    "kl": jd.kl_divergence,
    "renyi of order 1/2": lambda p, q: jd.renyi_divergence(p, q, 0.5),
    "renyi of order 2": lambda p, q: jd.renyi_divergence(p, q, 2.0),
    "squared hellinger": jd.squared_hellinger,
}


def drawn(name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for key in PARAMETERS[name]:
        x = np.exp(rng.uniform(-SPAN, SPAN, COUNT))
        if key == "loc":
            x = x * rng.choice([-1.0, 1.0], COUNT)
        elif key == "logits":
            x = rng.uniform(-5 * SPAN, 5 * SPAN, COUNT)
        elif key == "angle":
            x = rng.uniform(-np.pi, np.pi, COUNT)
        found[NAMES.get(key, key)] = x.astype(np.float32)
    return found


@pytest.mark.parametrize("name", every(PARAMETERS, {"Normal", "Gamma"}))
def test_members_of_any_size_have_divergences(name):
    rng = np.random.default_rng(0)
    p, q = drawn(name, rng), drawn(name, rng)
    for verb, divergence in VERBS.items():

        def values(p, q, divergence=divergence):
            kind = getattr(families, name)
            return divergence(kind(**p), kind(**q))

        try:
            found = np.asarray(jax.jit(values)(p, q))
        except NotImplementedError:  # no closed form where some parameters differ
            continue
        if name in ("Gumbel", "Weibull") and verb != "kl":  # nor here, which is NaN under `jit`
            continue
        wrong = np.flatnonzero(~(found >= 0))
        sides = [{key: x[wrong[:1]] for key, x in side.items()} for side in (p, q)]
        assert not wrong.size, (verb, wrong.size, found[wrong[:1]], sides)


@pytest.mark.parametrize(
    ("a", "b"),
    [(-66.5, -7.8), (-100.0, -2.0), (30.0, 7.0), (-24.0, -3.5), (200.0, 3.0), (5.0, 26.0)],
)
def test_continuous_bernoulli_of_odds_far_apart(a, b):
    a, b = (float(np.float32(x)) for x in (a, b))
    got = jd.kl_divergence(
        families.ContinuousBernoulli(logits=a), families.ContinuousBernoulli(logits=b)
    )
    with mpmath.workdps(60):
        x, y = mpmath.mpf(a), mpmath.mpf(b)
        log_z = [mpmath.log((mpmath.exp(z) - 1) / z) for z in (x, y)]
        mean = 1 / (1 - mpmath.exp(-x)) - 1 / x
        want = log_z[1] - log_z[0] - (y - x) * mean
        assert abs(float(got) - want) <= 64 * 2.0**-23 * want


def test_gumbel_of_scales_far_apart():
    loc, scale = (np.asarray(x, np.float32) for x in ([1.75e-4, 2.25], [5.25e-5, 7618.0]))
    p, q = (
        families.Gumbel(jnp.asarray(m), jnp.asarray(s)) for m, s in zip(loc, scale, strict=True)
    )
    with mpmath.workdps(60):
        (m, n), (s, r) = (list(map(mpmath.mpf, x.tolist())) for x in (loc, scale))
        ratio = s / r
        want = mpmath.log(r / s) + mpmath.euler * (ratio - 1)
        want += mpmath.exp((n - m) / r) * mpmath.gamma(1 + ratio) - 1 + (m - n) / r
    assert abs(float(jd.kl_divergence(p, q)) - want) <= 64 * 2.0**-23 * want
