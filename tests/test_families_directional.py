"""Von Mises, von Mises-Fisher and power spherical distributions."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import family_oracles as oracle
import jaxdiv as jd
from conftest import rest_slow
from jaxdiv import families
from jaxdiv.families import _radial
from test_families import LIMIT, ULP, close, error, every_order, every_verb, rows

CONCENTRATIONS = (0.0, 1e-3, 0.7, 5.0, 40.0, 1e4, 1e8)
STEPS = (0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 30.0)
PROMISED = 1e3  # the largest divergence whose digits are promised; of larger ones the exponent's
ANGLES = (0.0, 1e-12, 1e-7, 1e-3, 0.1, 1.5, 3.1)


def turned(n: int, angle: float, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two directions, no axes, at an angle."""
    random = np.random.default_rng(n)
    p, across = np.linalg.qr(random.normal(size=(n, 2)))[0].T
    return p.astype(dtype), (math.cos(angle) * p + math.sin(angle) * across).astype(dtype)


def grid(name: str, n: int, dtype: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Stored parameters: concentrations of all sizes and directions, moved by all scales."""
    found: list[tuple[Any, ...]] = []
    number = np.dtype(dtype).type
    for k in map(number, CONCENTRATIONS):
        for step in STEPS:
            for sign in (1, -1):
                if step == 0:
                    moved = np.nextafter(k, number(sign * math.inf)) if k or sign > 0 else k
                else:
                    moved = number(k * (1 + step) ** sign) if k else number(step)
                for angle in (0.0,) if name == "PowerSpherical" else ANGLES:
                    if name == "VonMises":
                        p, q = number(0.7), number(number(0.7) + number(angle))
                    else:
                        p, q = turned(n, angle, number)
                    found.append((p, k, q, moved))
    first = "loc" if name == "VonMises" else "mean_direction"
    p, k, q, moved = (np.stack(x) for x in zip(*found, strict=True))
    return {first: p, "concentration": k}, {first: q, "concentration": moved}


def of(name: str, parameters: dict[str, Any]) -> families.Family:
    return getattr(families, name)(**{key: jnp.asarray(x) for key, x in parameters.items()})


def large(verb: str, args: tuple, got: float, want: Any) -> bool:
    """Whether this is the exponential of a large number, whose error it multiplies."""
    exponential = verb in ("alpha", "tsallis", "chi2") and args not in ((0.0,), (1.0,))
    return exponential and PROMISED < want < math.inf and 0 < got < math.inf


def check_accuracy(name: str, n: int, dtype: str, every: int) -> None:
    p, q = grid(name, n, dtype)
    found = every_order(every_verb(of(name, p), of(name, q)))
    pairs = list(zip(rows(p), rows(q), strict=True))
    worst: dict[Any, tuple[float, Any]] = {}
    for number, ((verb, args), values) in enumerate(found.items()):
        for i in range(number % every, len(pairs), every):
            a, b = pairs[i]
            got, want = float(values[i]), oracle.DIVERGENCES[verb](name, a, b, *args)
            if large(verb, args, got, want):
                got, want = math.log(got), mpmath.log(want)
            ulps = error(got, want, dtype)
            if ulps > worst.get((verb, args), (0.0, None))[0]:
                worst[verb, args] = ulps, (a, b, got, want)
    for key, (ulps, where) in worst.items():
        assert ulps <= LIMIT, (key, ulps, where)


# By definition ----------------------------------------------------------------------------------


def on_circle(name: str, x: Any, mean_direction: Any, concentration: float) -> Any:
    """log of the density at an angle, unnormalised."""
    cosine = mean_direction[0] * mpmath.cos(x) + mean_direction[1] * mpmath.sin(x)
    cosine /= mpmath.hypot(*mean_direction)
    if name == "PowerSpherical":
        return concentration * mpmath.log(1 + cosine)
    return concentration * cosine


def on_sphere(name: str, z: Any, x: Any, mean_direction: Any, concentration: float) -> Any:
    """The same on the sphere in three dimensions, at a height and an angle."""
    radius = mpmath.sqrt(1 - z * z)
    a, b, c = mean_direction
    cosine = radius * (a * mpmath.cos(x) + b * mpmath.sin(x)) + c * z
    cosine /= mpmath.sqrt(a * a + b * b + c * c)
    if name == "PowerSpherical":
        return concentration * mpmath.log(1 + cosine)
    return concentration * cosine


def kl_and_entropy(p: tuple[str, dict[str, Any]], q: tuple[str, dict[str, Any]]) -> tuple[Any, Any]:
    """KL(p || q) and the entropy of p, by quadrature over the surface."""
    n = len(p[1]["mean_direction"])

    def integral(f: Any) -> Any:
        # The trapezoidal rule around a circle, exact to its last digit, and Gauss's in heights.
        angles = [2 * mpmath.pi * i / 48 for i in range(48)]
        if n == 2:
            return sum(f(x) for x in angles) * 2 * mpmath.pi / 48
        nodes, weights = np.polynomial.legendre.leggauss(48)
        around = 2 * mpmath.pi / 48
        return (
            sum(w * f(z, x) for z, w in zip(nodes, weights, strict=True) for x in angles) * around
        )

    density = on_circle if n == 2 else on_sphere

    def log(side: tuple[str, dict[str, Any]], *x: Any) -> Any:
        return density(side[0], *x, **side[1])

    mass_p, mass_q = (integral(lambda *x, s=s: mpmath.exp(log(s, *x))) for s in (p, q))
    own = integral(lambda *x: mpmath.exp(log(p, *x)) * log(p, *x)) / mass_p - mpmath.log(mass_p)
    cross = integral(lambda *x: mpmath.exp(log(p, *x)) * log(q, *x)) / mass_p - mpmath.log(mass_q)
    return own - cross, -own


P2 = dict(mean_direction=(0.6, 0.8), concentration=3.0)
Q2 = dict(mean_direction=(-0.28, 0.96), concentration=1.4)
P3 = dict(mean_direction=(0.48, -0.6, 0.64), concentration=2.0)
Q3 = dict(mean_direction=(-0.6, 0.0, 0.8), concentration=1.5)
SAME = dict(mean_direction=P3["mean_direction"], concentration=4.0)


@pytest.mark.parametrize(
    ("p", "q"),
    rest_slow(
        [
            (("VonMisesFisher", P2), ("VonMisesFisher", Q2)),
            (("PowerSpherical", P3), ("VonMisesFisher", Q3)),
            (("VonMisesFisher", P3), ("VonMisesFisher", Q3)),
            (("PowerSpherical", P3), ("PowerSpherical", SAME)),
            (("PowerSpherical", dict(P2, concentration=4.0)), ("VonMisesFisher", Q2)),
        ],
        2,
    ),
)
def test_kl_and_entropy_are_the_definitions(p, q):
    kl, entropy = kl_and_entropy(p, q)
    if p[0] == q[0]:
        assert close(oracle.kl(p[0], p[1], q[1]), kl, 1e-7)
    a, b = of(*p), of(*q)
    assert float(jd.kl_divergence(a, b)) == pytest.approx(float(kl), rel=64 * ULP["float32"])
    assert float(jd.entropy(a)) == pytest.approx(float(entropy), rel=64 * ULP["float32"])
    cross = float(kl + entropy)
    assert float(jd.cross_entropy(a, b)) == pytest.approx(cross, rel=64 * ULP["float32"])


def test_power_spherical_to_von_mises_fisher_of_large_concentrations():
    """By the oracles: -H(p) + log of q's constant - k_q E<m_q, x>."""
    p, q = turned(5, 1e-3, np.float32)
    for k, l in ((1e4, 1e4), (1e6, 3e5), (1e8, 1e8), (3.0, 1e8)):
        k, l = float(np.float32(k)), float(np.float32(l))
        got = jd.kl_divergence(
            of("PowerSpherical", dict(mean_direction=p, concentration=k)),
            of("VonMisesFisher", dict(mean_direction=q, concentration=l)),
        )
        with mpmath.workdps(40):
            a, b = mpmath.mpf(k) + 2, mpmath.mpf(2)
            log_norm = (a + b) * mpmath.log(2) + b * mpmath.log(mpmath.pi)
            log_norm += mpmath.loggamma(a) - mpmath.loggamma(a + b)
            entropy = log_norm - k * (mpmath.log(2) + mpmath.psi(0, a) - mpmath.psi(0, a + b))
            u, v = ([mpmath.mpf(float(c)) for c in x] for x in (p, q))
            cosine = sum(x * y for x, y in zip(u, v, strict=True))
            cosine /= mpmath.sqrt(sum(x * x for x in u) * sum(x * x for x in v))
            with oracle._bits(400):
                ball = oracle._log_sphere(5, oracle.arb(l) ** 2)
            surface = mpmath.mpf(ball.str(60, radius=False))
            want = surface - l * cosine * (a - b) / (a + b) - entropy
        assert abs(float(mpmath.mpf(float(got)) - want)) <= LIMIT * ULP["float32"] * (
            1 + float(want)
        ), (k, l)


# Accuracy ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n"), [("VonMises", 2), ("VonMisesFisher", 3), ("PowerSpherical", 3)]
)
def test_accuracy(name, n):
    check_accuracy(name, n, "float32", 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n", "dtype"),
    [
        ("VonMises", 2, "float64"),
        ("VonMisesFisher", 20, "float32"),
        ("VonMisesFisher", 3, "float64"),
    ],
)
def test_accuracy_of_what_differs(name, n, dtype):
    with jax.enable_x64(dtype == "float64"):
        check_accuracy(name, n, dtype, 3)


@pytest.mark.parametrize("n", [2, 3, pytest.param(50, marks=pytest.mark.slow), 1001])
def test_mean_length_and_constant(n):
    """Against Bessel functions in ball arithmetic."""
    r = np.array([1e-4, 0.03, 1.0, 5.5, 9.0, 30.0, 1e3, 1e5, 1e8], np.float32)
    found = _radial.ratio(jnp.asarray(r), n), _radial.less_slope(jnp.asarray(r), n)
    for x, ratio, less in zip(r, *found, strict=True):
        with oracle._bits(1200):
            k, order = oracle.arb(float(x)), oracle.arb(n) / 2 - 1
            length = k.bessel_i(order + 1) / k.bessel_i(order)
            whole = oracle._log_sphere(n, k * k) - oracle._log_sphere(n, oracle.arb(0))
            wanted = [mpmath.mpf(b.str(40, radius=False)) for b in (length, whole - k * length)]
        assert error(float(ratio), wanted[0], "float32") <= 8, (n, x)
        size = max(1.0, abs(float(wanted[1])))
        assert abs(float(mpmath.mpf(float(less)) - wanted[1])) <= 8 * ULP["float32"] * size, (n, x)


# Derivatives ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("k", [0.0, 0.8, 1e4])
def test_curvature_of_von_mises(k):
    """R(k) k by the location, R'(k) by the concentration: Mardia and Jupp, section 5.2."""
    p = families.VonMises(0.3, jnp.float32(k))

    def value(x: jax.Array) -> jax.Array:
        return jd.kl_divergence(p, families.VonMises(x[0], x[1]))

    x = jnp.asarray([0.3, k], jnp.float32)
    gradient, hessian = jax.grad(value)(x), jax.hessian(value)(x)
    assert not jnp.any(gradient)
    with mpmath.workdps(30):
        ratio = mpmath.besseli(1, k) / mpmath.besseli(0, k) if k < 1e3 else 1 - 0.5 / mpmath.mpf(k)
        bent = 1 - ratio / k - ratio**2 if 0 < k < 1e3 else 0.5 if k == 0 else 0.5 / k**2
        wanted = [[float(k * ratio), 0.0], [0.0, float(bent)]]
    np.testing.assert_allclose(hessian, wanted, rtol=1e-4 if k > 1e3 else 2e-6, atol=1e-7)


def test_derivatives_of_directions_are_along_the_sphere():
    p, q = turned(4, 0.7, np.float64)
    with jax.enable_x64(True):
        a, b = families.VonMisesFisher(p, 2.0), families.VonMisesFisher(q, 3.0)
        slope = jax.grad(lambda m: jd.kl_divergence(a, families.VonMisesFisher(m, 3.0)))(
            b.mean_direction
        )
        ratio = float(mpmath.besseli(2, 2.0) / mpmath.besseli(1, 2.0))
        wanted = -ratio * 3.0 * (p - q * (p @ q))
        np.testing.assert_allclose(slope, wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.slow
def test_fisher_information_of_the_uniform_distribution():
    """At concentration 0 the natural parameters' is that of x itself, I / n."""
    found = jax.hessian(families.VonMisesFisher.log_partition)(jnp.zeros(4))
    np.testing.assert_allclose(found, np.eye(4) / 4, rtol=1e-6)


# Edges ------------------------------------------------------------------------------------------


def test_opposite_and_uniform_distributions():
    m = jnp.asarray([0.6, 0.0, 0.8])
    for k in (0.0, 1.0, 1e4, 1e8):
        p, q = families.VonMisesFisher(m, k), families.VonMisesFisher(-m, k)
        with oracle._bits(400):
            # The integral of sqrt(p q) is the surface over q's constant.
            ball = oracle._log_sphere(3, oracle.arb(k) ** 2) - oracle._log_sphere(3, oracle.arb(0))
        wanted = float(ball.str(30, radius=False))
        got = float(jd.bhattacharyya_distance(p, q))
        assert got == pytest.approx(wanted, rel=LIMIT * ULP["float32"])
    uniform = families.VonMises(jnp.asarray([0.3, 2.0]), 0.0)
    assert not np.any(jd.kl_divergence(uniform, families.VonMises(1.0, 0.0)))


def test_refused():
    m = jnp.asarray([0.6, 0.8])
    p = families.VonMisesFisher(m, 1.0)
    with pytest.raises(ValueError, match=r"q\.mean_direction must have length 1, but has 2"):
        jd.kl_divergence(p, families.VonMisesFisher(2 * m, 1.0))
    with pytest.raises(ValueError, match=r"q\.mean_direction must have 2 entries or more"):
        jd.kl_divergence(p, families.VonMisesFisher(jnp.ones(1), 1.0))
    with pytest.raises(ValueError, match=r"q\.concentration must be non-negative"):
        jd.kl_divergence(p, families.VonMisesFisher(m, -1.0))
    with pytest.raises(ValueError, match="events must have one shape"):
        jd.kl_divergence(p, families.VonMises(0.0, 1.0))
    power = families.PowerSpherical(m, 1.0)
    with pytest.raises(
        NotImplementedError, match=r"the expectation of log\(1 \+ <m, x>\) under Von"
    ):
        jd.kl_divergence(p, power)
    with pytest.raises(NotImplementedError, match=r"no closed form where p\.mean_direction and q"):
        jd.kl_divergence(power, families.PowerSpherical(m[::-1], 1.0))
    traced = jax.jit(lambda m: jd.kl_divergence(p, families.VonMisesFisher(m, 1.0)))
    assert jnp.isnan(traced(2 * m)) and traced(m) == 0
