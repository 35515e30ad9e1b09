"""Families of location and scale, and the inverse Gaussian, against certified closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import family_oracles as oracle
import jaxdiv as jd
from conftest import every
from jaxdiv import families
from test_families import error, every_order, every_verb, steep

ULP = {"float32": 2.0**-23, "float64": 2.0**-52}
# Parameters in the order of the class; "place" ones are moved by multiples of the scale.
KINDS = {
    "Laplace": {"loc": "place", "scale": "size"},
    "Cauchy": {"loc": "place", "scale": "size"},
    "Gumbel": {"loc": "place", "scale": "size"},
    "Weibull": {"concentration": "size", "scale": "size"},
    "Pareto": {"scale": "start", "alpha": "size"},
    "InverseGaussian": {"loc": "size", "concentration": "size"},
    "Uniform": {"low": "low", "high": "high"},
}
JENSEN = ("Pareto", "InverseGaussian", "Uniform", "Laplace")
COUNT = 150


def batch(name: str, dtype: str, seed: int = 0) -> tuple[dict, dict]:
    """Parameters of every size, and others at every distance from one rounding on."""
    rng = np.random.default_rng(seed)
    far = rng.integers(0, 8 if dtype == "float32" else 15, COUNT)
    step = 10.0**-far
    kinds = KINDS[name]
    size = {key: np.exp(2.5 * rng.normal(size=COUNT)) for key in kinds}
    noise = {key: rng.normal(size=COUNT) for key in kinds}
    p, q = {}, {}
    for key, kind in kinds.items():
        if kind == "place":
            p[key] = rng.normal(size=COUNT) * 10.0 ** rng.integers(-2, 6, COUNT)
            q[key] = p[key] + step * noise[key] * size["scale"]
        elif kind == "start":  # the support of p lies in q's
            p[key] = size[key]
            q[key] = size[key] * np.exp(-step * np.abs(noise[key]))
        elif kind in ("low", "high"):
            sign = -1 if kind == "low" else 1
            p[key] = sign * size[key]
            q[key] = sign * size[key] * np.exp(step * np.abs(noise[key]))
        else:
            p[key] = size[key]
            q[key] = size[key] * np.exp(step * noise[key])

    def stored(x: dict) -> dict:
        return {key: value.astype(dtype) for key, value in x.items()}

    return stored(p), stored(q)


def members(name: str, p: dict, q: dict):
    kind = getattr(families, name)
    return kind(*map(jnp.asarray, p.values())), kind(*map(jnp.asarray, q.values()))


def worst(name: str, dtype: str, found, wanted) -> float:
    p, q = batch(name, dtype)
    largest = 0.0
    for i, value in enumerate(np.asarray(found)):
        own = [{key: float(x[i]) for key, x in side.items()} for side in (p, q)]
        true = wanted(*own)
        assert not np.isnan(value) and value >= 0, own
        if float(true) > np.finfo(dtype).max:
            assert np.isinf(value), own
        elif value != float(true):
            largest = max(largest, abs(float(value) - float(true)) / float(true) / ULP[dtype])
    return largest


@pytest.mark.parametrize("name", KINDS)
def test_kl_in_float32(name):
    found = jd.kl_divergence(*members(name, *batch(name, "float32")))
    assert worst(name, "float32", found, lambda p, q: oracle.kl(name, p, q)) <= 64


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", KINDS)
def test_kl_in_float64(name):
    found = jd.kl_divergence(*members(name, *batch(name, "float64")))
    # exp(w) of a large w magnifies its rounding: a Weibull's KL of 1e100 has 230 more.
    allowed = 256 if name in ("Weibull", "Gumbel") else 64
    assert worst(name, "float64", found, lambda p, q: oracle.kl(name, p, q)) <= allowed


@pytest.mark.parametrize("name", JENSEN)
@pytest.mark.parametrize("alpha", [0.25, pytest.param(0.5, marks=pytest.mark.slow)])
def test_renyi_in_float32(name, alpha):
    found = jd.renyi_divergence(*members(name, *batch(name, "float32")), alpha)
    assert worst(name, "float32", found, lambda p, q: oracle.renyi(name, p, q, alpha)) <= 64


LAPLACE_AND_GUMBEL = [
    ("Laplace", "float32"),
    ("Laplace", "float64"),
    ("Gumbel", "float32"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), LAPLACE_AND_GUMBEL)
def test_every_verb(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        p, q = batch(name, dtype)
        if name == "Gumbel":
            q["scale"] = p["scale"]
        found = every_order(every_verb(*members(name, p, q)))
        for (verb, args), values in found.items():
            for i, value in enumerate(values):
                a, b = ({key: float(x[i]) for key, x in side.items()} for side in (p, q))
                if steep(name, verb, args, a, b):
                    continue
                want = oracle.DIVERGENCES[verb](name, a, b, *args)
                if want > np.finfo(dtype).max:
                    assert np.isinf(value), (verb, args, a, b)
                else:
                    assert error(float(value), want, dtype) <= 64, (verb, args, a, b)


@pytest.mark.parametrize("loc", [100.0, -170.0, 1e6])
@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0, 2.0])
def test_gumbel_distributions_far_apart(loc, alpha):
    """Also Weibull's, of which the scales' ratio to the power k is e^loc."""
    p, q = dict(loc=0.0, scale=1.0), dict(loc=loc, scale=1.0)
    want = oracle.renyi("Gumbel", p, q, alpha)
    got = float(jd.renyi_divergence(families.Gumbel(**p), families.Gumbel(**q), alpha))
    assert got == want or (want > 1e38 and got == np.inf) or error(got, want, "float32") <= 64


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("Cauchy", "Gumbel")])
def test_renyi_where_what_must_be_equal_is(name):
    # Half of -log S to the integral of the densities themselves.
    p = {key: float(x[3]) for key, x in batch(name, "float32")[0].items()}
    q = dict(p)
    key = {"Laplace": "scale", "Weibull": "scale", "Uniform": "high"}.get(name, list(q)[-1])
    q[key] = float(np.float32(p[key] * 1.5))
    kind = getattr(families, name)
    with oracle.mpmath.workdps(30):
        true = -2 * oracle.mpmath.log(oracle.affinity_by_definition(name, p, q, 0.5))
    found = jd.renyi_divergence(kind(*p.values()), kind(*q.values()), 0.5)
    assert float(found) == pytest.approx(float(true), rel=64 * ULP["float32"])


@pytest.mark.parametrize("name", every(KINDS, ("Laplace", "Cauchy")))
def test_equal_members_have_no_divergence_and_no_slope(name):
    p, _ = batch(name, "float32")
    kind = getattr(families, name)
    own = tuple(map(jnp.asarray, p.values()))
    np.testing.assert_array_equal(jd.kl_divergence(kind(*own), kind(*own)), 0)
    if name in ("Uniform", "Pareto"):  # at the end of a support the slope is one-sided
        return
    slope = jax.grad(lambda *q: jd.kl_divergence(kind(*own), kind(*q)).sum(), (0, 1))(*own)
    for x in slope:
        np.testing.assert_array_equal(x, 0)


@pytest.mark.parametrize(
    "name",
    every(["Laplace", "Cauchy", "Gumbel", "Weibull", "InverseGaussian"], ("Laplace", "Cauchy")),
)
def test_hessian_is_the_published_fisher_information(name):
    p = {key: 1.5 if key == "loc" else 0.75 + 0.5 * i for i, key in enumerate(KINDS[name])}
    kind = getattr(families, name)
    x = jnp.asarray(list(p.values()))
    found = jax.hessian(lambda y: jd.kl_divergence(kind(*x), kind(*y)))(x)
    true = np.asarray(oracle.fisher_information(name, p).tolist(), dtype=float)
    np.testing.assert_allclose(found, true, rtol=2e-6, atol=2e-7)


def test_supports():
    inside, outside = families.Uniform(0.0, 1.0), families.Uniform(-1.0, 0.5)
    assert float(jd.kl_divergence(inside, outside)) == np.inf
    assert float(jd.renyi_divergence(inside, outside, 2.0)) == np.inf
    half = float(jd.renyi_divergence(inside, outside, 0.5))
    assert half == pytest.approx(-2 * np.log(0.5 / np.sqrt(1.5)))
    apart = families.Uniform(2.0, 3.0)
    assert float(jd.squared_hellinger(inside, apart)) == 1
    assert float(jd.kl_divergence(families.Pareto(1.0, 2.0), families.Pareto(2.0, 2.0))) == np.inf
    assert float(
        jd.renyi_divergence(families.Pareto(1.0, 1.0), families.Pareto(1.0, 3.0), 2.0)
    ) == (np.inf)


def test_what_has_no_closed_form_says_what_must_be_equal():
    a, b = families.Gumbel(0.0, 1.0), families.Gumbel(1.0, 2.0)
    with pytest.raises(NotImplementedError, match=r"only KL has a closed form where p.scale and"):
        jd.renyi_divergence(a, b, 0.5)
    assert np.isnan(
        jax.jit(lambda scale: jd.renyi_divergence(a, families.Gumbel(0.0, scale), 0.5))(2.0)
    )
    shape = families.Weibull(1.0, 1.0), families.Weibull(2.0, 1.0)
    with pytest.raises(NotImplementedError, match=r"only KL has a closed form where p.concentra"):
        jd.renyi_divergence(*shape, 0.5)
    with pytest.raises(NotImplementedError, match="of two Cauchy distributions has no closed form"):
        jd.renyi_divergence(families.Cauchy(0.0, 1.0), families.Cauchy(1.0, 1.0), 0.5)


def test_an_empty_interval_is_refused():
    with pytest.raises(ValueError, match=r"p.low must be below p.high, but is"):
        jd.kl_divergence(families.Uniform(1.0, 1.0), families.Uniform(0.0, 1.0))
    traced = jax.jit(
        lambda high: jd.kl_divergence(families.Uniform(0.0, high), families.Uniform(0.0, 1.0))
    )
    assert np.isnan(traced(-1.0))
