"""Verbs along lines between members: geometric Jensen-Shannon, Chernoff, Fisher-Rao distances."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from conftest import rest_slow
from jaxdiv.families import Beta, Exponential, Gamma, HalfNormal, LogNormal, Normal

ULP = 2.0**-23


def normal(x, loc, scale):
    return mpmath.exp(-((x - loc) ** 2) / (2 * scale**2)) / (scale * mpmath.sqrt(2 * mpmath.pi))


def gamma(x, a, r):
    return mpmath.exp(a * mpmath.log(r) + (a - 1) * mpmath.log(x) - r * x - mpmath.loggamma(a))


LINES = [mpmath.mpf(x) for x in (-60, -20, -8, -3, -1, 0, 1, 3, 8, 20, 60)]
RAYS = [mpmath.mpf(x) for x in ("0", "0.01", "0.1", 1, 3, 10, 30, 100, 400)]
CASES = [
    (Normal, normal, LINES, (0.0, 1.0), (1.0, 2.0)),
    (Normal, normal, LINES, (0.5, 1.0), (0.5, 1.5)),
    (Gamma, gamma, RAYS, (3.0, 2.0), (5.0, 1.0)),
    (Gamma, gamma, RAYS, (2.5, 1.0), (2.75, 1.25)),
]
NAMES = ("family", "density", "axis", "p", "q")
each_case = pytest.mark.parametrize(NAMES, rest_slow(CASES, 1))


def affinity(density, axis, p, q, alpha):
    return mpmath.quad(lambda x: density(x, *p) ** alpha * density(x, *q) ** (1 - alpha), axis)


@each_case
@pytest.mark.parametrize("weight", [0.5, 0.25])
def test_geometric_js_is_its_definition(family, density, axis, p, q, weight):
    with mpmath.workdps(30):
        mass = affinity(density, axis, p, q, weight)

        def middle(x):
            return density(x, *p) ** weight * density(x, *q) ** (1 - weight) / mass

        def summand(x):
            a, b, g = density(x, *p), density(x, *q), middle(x)
            first = a * mpmath.log(a / g) if a > 0 else 0
            return weight * first + (1 - weight) * (b * mpmath.log(b / g) if b > 0 else 0)

        true = float(mpmath.quad(summand, axis))
    value = jd.geometric_js_divergence(family(*p), family(*q), weight)
    assert abs(float(value) - true) <= 64 * ULP * true
    bits = jd.geometric_js_divergence(family(*p), family(*q), weight, base=2)
    assert float(bits) == pytest.approx(true / np.log(2), rel=1e-5)


@pytest.mark.slow
@each_case
def test_chernoff_information_is_the_highest_exponent(family, density, axis, p, q):
    @functools.cache
    def exponent(alpha):
        return -mpmath.log(affinity(density, axis, p, q, alpha))

    with mpmath.workdps(25):
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        for _ in range(22):  # an error e in alpha costs e^2
            third = (high - low) / 3
            if exponent(low + third) < exponent(high - third):
                low += third
            else:
                high -= third
        true = float(exponent((low + high) / 2))
    assert abs(float(jd.chernoff_information(family(*p), family(*q))) - true) <= 64 * ULP * true


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
@pytest.mark.parametrize(("family", "p"), [(Normal, (0.3, 2.0)), (HalfNormal, (2.0,))])
def test_chernoff_information_has_derivatives_of_first_and_second_order(family, p):
    same = jnp.asarray(p, jnp.float64)

    def value(x):
        return jd.chernoff_information(family(*same), family(*x))

    x, step = jnp.asarray([5.0, 1.0][-len(p) :], jnp.float64), 1e-5
    slope, curve = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))
    for i in range(len(p)):
        up, down = x.at[i].add(step), x.at[i].add(-step)
        assert float((value(up) - value(down)) / (2 * step)) == pytest.approx(
            float(slope(x)[i]), rel=1e-7
        )
        np.testing.assert_allclose((slope(up) - slope(down)) / (2 * step), curve(x)[i], rtol=1e-7)
    # At p = q the exponent is alpha (1 - alpha) / 2 of the information, highest at 1/2.
    assert float(value(same)) == 0
    np.testing.assert_array_equal(slope(same), 0)
    expected = jd.families.fisher_information(family(*same)) / 4
    np.testing.assert_allclose(curve(same), expected, rtol=1e-9, atol=1e-12)


def test_fisher_rao_distance_of_normals_is_the_published_one():
    # Costa, Santos and Strapasson 2015, equation (7).
    def true(p, q):
        (m, s), (l, r) = (tuple(map(mpmath.mpf, map(float, x))) for x in (p, q))
        far = mpmath.sqrt((m - l) ** 2 / 2 + (s + r) ** 2)
        near = mpmath.sqrt((m - l) ** 2 / 2 + (s - r) ** 2)
        return mpmath.sqrt(2) * mpmath.log((far + near) / (far - near))

    rng = np.random.default_rng(0)
    p = np.stack([rng.normal(size=60), np.exp(rng.normal(size=60))], -1).astype(np.float32)
    steps = (10.0 ** -rng.integers(0, 7, (60, 1)) * rng.normal(size=(60, 2))).astype(np.float32)
    q = (p * (1 + steps)).astype(np.float32)
    q[:, 1] = np.abs(q[:, 1])
    found = jd.fisher_rao_distance(Normal(*p.T), Normal(*q.T))
    with mpmath.workdps(50):
        for value, a, b in zip(np.asarray(found), p, q, strict=True):
            expected = float(true(a, b))
            assert abs(float(value) - expected) <= 64 * ULP * expected


@pytest.mark.parametrize(
    ("family", "information"),
    [
        (Exponential, lambda rate: 1 / rate**2),
        (HalfNormal, lambda scale: 2 / scale**2),
    ],
)
def test_fisher_rao_distance_of_one_parameter_is_the_integral_of_its_root(family, information):
    for a, b in ((1.0, 2.0), (0.5, 0.5000001), (3.0, 1e3)):
        a, b = float(np.float32(a)), float(np.float32(b))
        true = float(mpmath.quad(lambda x: mpmath.sqrt(information(x)), [a, b]))
        found = float(jd.fisher_rao_distance(family(a), family(b)))
        assert abs(found - true) <= 64 * ULP * true


def test_fisher_rao_distance_is_that_of_the_image():
    p, q = (0.0, 1.0), (0.5, 3.0)
    image = jd.fisher_rao_distance(LogNormal(*p), LogNormal(*q))
    assert float(image) == float(jd.fisher_rao_distance(Normal(*p), Normal(*q)))


@pytest.mark.parametrize(
    "family", [Normal, Exponential, pytest.param(HalfNormal, marks=pytest.mark.slow)]
)
def test_squared_fisher_rao_has_twice_the_fisher_information(family):
    x = jnp.asarray([0.7, 1.3][: 2 if family is Normal else 1])

    def squared(y):
        return jd.squared_fisher_rao(family(*x), family(*y))

    expected = 2 * jd.families.fisher_information(family(*x))
    np.testing.assert_allclose(jax.jit(jax.hessian(squared))(x), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(jax.grad(squared)(x), 0)


def test_distances_without_a_closed_form_say_so():
    with pytest.raises(NotImplementedError, match="Fisher-Rao distance of two Gamma"):
        jd.fisher_rao_distance(Gamma(1.0, 1.0), Gamma(2.0, 1.0))
    with pytest.raises(NotImplementedError, match="geometric mixture of Normal and Beta"):
        jd.geometric_js_divergence(Normal(0.0, 1.0), Beta(1.0, 1.0))


def test_geometric_js_checks_its_arguments():
    p = Normal(0.0, 1.0)
    with pytest.raises(ValueError, match="weight must be 0 < weight < 1, but is 1"):
        jd.geometric_js_divergence(p, p, 1.0)
    with pytest.raises(TypeError, match="q must be a member of a family"):
        jd.geometric_js_divergence(p, jnp.ones(3) / 3)
    assert float(jd.geometric_js_divergence(p, p)) == 0
