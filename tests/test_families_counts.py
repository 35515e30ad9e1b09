"""Bernoulli, binomial, geometric, negative binomial, Poisson and multinomial distributions."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp, mpf

import family_oracles
import jaxdiv as jd
from conftest import every
from jaxdiv.families import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    Multinomial,
    NegativeBinomial,
    Poisson,
)
from oracles import ORACLES, from_logits, from_probs

LIMIT = 64
ULP = {"float32": 2.0**-23, "float64": 2.0**-52}
DIGITS = 400  # more than what cancels between logits 300 apart

# Oracles: probabilities (success, failure) of one trial at full precision, and closed forms of the
# definitions, which a test below confirms by summation.


def of_probs(p):
    return mpf(p), 1 - mpf(p)


def of_logits(z):
    return 1 / (1 + mp.exp(-mpf(z))), 1 / (1 + mp.exp(mpf(z)))


def log(x, complement):
    return mp.log1p(-complement) if complement < 0.5 else mp.log(x)


def kl_trial(x, y):
    (a, b), (c, d) = x, y
    return a * (log(a, b) - log(c, d)) + b * (log(b, a) - log(d, c))


def log_affinity_trial(x, y, alpha):
    terms = [alpha * log(*s) + (1 - alpha) * log(*r) for s, r in ((x, y), (x[::-1], y[::-1]))]
    top = max(terms)
    return top + mp.log(sum(mp.exp(term - top) for term in terms))


def kl_waiting(x, y):
    (a, b), (c, d) = x, y
    return log(b, a) - log(d, c) + (a / b) * (log(a, b) - log(c, d))


def exponent_waiting(x, y, alpha):
    return alpha * log(*x) + (1 - alpha) * log(*y)


def log_affinity_waiting(x, y, alpha):
    exponent = exponent_waiting(x, y, alpha)
    if exponent >= 0:
        return mp.inf
    failures = alpha * log(*x[::-1]) + (1 - alpha) * log(*y[::-1])
    return failures - mp.log(-mp.expm1(exponent))


def kl_poisson(a, b):
    return a * mp.log(a / b) + b - a


def log_affinity_poisson(a, b, alpha):
    return a**alpha * b ** (1 - alpha) - alpha * a - (1 - alpha) * b


ORDERS = (0.0, 0.25, 0.5, 2.0, 3.0)
ALPHAS = (-1.0, 0.5, 2.0)


@jax.jit
def verbs(p, q):
    dtype = jax.tree.leaves(p)[-1].dtype
    return {
        "kl": jd.kl_divergence(p, q)[None],
        "renyi": jax.vmap(lambda a: jd.renyi_divergence(p, q, a))(jnp.asarray(ORDERS[1:], dtype)),
        "alpha": jax.vmap(lambda a: jd.alpha_divergence(p, q, a))(jnp.asarray(ALPHAS, dtype)),
    }


PROBS = (1e-30, 1e-8, 1e-4, 0.01, 0.3, 0.5, 0.7, 0.9, 1 - 1e-4, 1 - 2.0**-23)
LOGITS = (-1e4, -300.0, -95.0, -80.0, -30.0, -5.0, -0.1, 0.0, 2.0, 20.0, 75.0, 100.0, 1e4)
RATES = (1e-30, 1e-8, 1e-4, 0.3, 1.0, 7.0, 1e4, 1e8)
STEPS = (1e-6, 1e-4, 1e-2, 0.3, 1.0, 7.0, 30.0)


def grid(kind, dtype):
    """Every two base values, and each with one an ulp away and at other distances."""
    number = np.dtype(dtype).type
    bases = np.array({"probs": PROBS, "logits": LOGITS, "rate": RATES}[kind]).astype(dtype)
    pairs = [(a, b) for a in bases for b in bases]
    for a in bases:
        others = [np.nextafter(a, number(math.inf)), np.nextafter(a, number(-math.inf))]
        for step in STEPS:
            if kind == "logits":
                others += [a + number(step), a - number(step)]
            else:
                others += [a * number(1 + step), a / number(1 + step)]
            if kind == "probs":
                others += [1 - (1 - a) * number(1 + step), 1 - (1 - a) / number(1 + step)]
        pairs += [(a, b) for b in others if kind != "probs" or 0 < b < 1]
    return np.array(pairs, dtype).T


def trials(n):
    return (
        lambda x, y: n * kl_trial(x, y),
        lambda x, y, alpha: n * log_affinity_trial(x, y, alpha),
    )


def waiting(n):
    return (
        lambda x, y: n * kl_waiting(x, y),
        lambda x, y, alpha: n * log_affinity_waiting(x, y, alpha),
    )


def flipped(of):
    return lambda x: of(x)[::-1]


# Of each: the members of parameters, their kind, what the oracles take, and the oracles.
CASES = {
    "Bernoulli probs": (lambda x: Bernoulli(probs=x), "probs", of_probs, trials(1)),
    "Bernoulli logits": (lambda x: Bernoulli(logits=x), "logits", of_logits, trials(1)),
    "Binomial": (
        lambda x: Binomial(jnp.full_like(x, 1e6), probs=x),
        "probs",
        of_probs,
        trials(10**6),
    ),
    "Geometric probs": (lambda x: Geometric(probs=x), "probs", flipped(of_probs), waiting(1)),
    "Geometric logits": (lambda x: Geometric(logits=x), "logits", flipped(of_logits), waiting(1)),
    "NegativeBinomial": (
        lambda x: NegativeBinomial(jnp.full_like(x, 0.375), probs=x),
        "probs",
        of_probs,
        waiting(mpf(0.375)),
    ),
    "NegativeBinomial logits": (
        lambda x: NegativeBinomial(jnp.full_like(x, 2.0), logits=x),
        "logits",
        of_logits,
        waiting(2),
    ),
    "Poisson": (Poisson, "rate", mpf, (kl_poisson, log_affinity_poisson)),
}


def error(found, true, dtype):
    """In ulp; infinite for NaN, for what is negative, and where only one is infinite."""
    largest, smallest = float(np.finfo(dtype).max), float(np.finfo(dtype).tiny)
    if math.isnan(found) or found < 0:
        return math.inf
    if true > largest or math.isinf(found):
        # exp of the largest exponent is within a factor of 3 of the largest number.
        return 0.0 if true > largest / 3 and found > largest / 3 else math.inf
    # Some factors of a number that nearly underflows do.
    if true < smallest * 2**24:
        return 0.0 if found < smallest * 2**25 else math.inf
    return float(abs(found - true) / true) / ULP[dtype]


def promised(case, verb, alpha, x, y, log_affinity):
    """Not where the divergence is exp of a large number, or the integral nearly diverges."""
    if verb == "alpha" and 24 < log_affinity < math.inf:
        return False
    if case.startswith(("Geometric", "NegativeBinomial")) and not 0 <= alpha <= 1:
        parts = alpha * log(*x), (1 - alpha) * log(*y)
        return abs(sum(parts)) > max(map(abs, parts)) / 32
    return True


def worst(case, dtype):
    build, kind, of, (kl, log_affinity) = CASES[case]
    p, q = grid(kind, dtype)
    values = verbs(build(jnp.asarray(p)), build(jnp.asarray(q)))
    values = {verb: np.asarray(value) for verb, value in values.items()}
    errors = {"kl": [], "renyi": [], "alpha": []}
    with mp.workdps(DIGITS):
        numbers = {float(x): of(float(x)) for x in {*p, *q}}
        for i, (a, b) in enumerate(zip(p.tolist(), q.tolist(), strict=True)):
            x, y = numbers[a], numbers[b]
            true = mpf(0) if a == b else kl(x, y)
            errors["kl"].append((error(float(values["kl"][0, i]), true, dtype), a, b))
            for verb, alphas in (("renyi", ORDERS[1:]), ("alpha", ALPHAS)):
                for alpha, value in zip(alphas, values[verb][:, i], strict=True):
                    total = mpf(0) if a == b else log_affinity(x, y, mpf(alpha))
                    if not promised(case, verb, alpha, x, y, total):
                        continue
                    if verb == "renyi":
                        true = total / (alpha - 1)
                    else:
                        true = mp.expm1(total) / (alpha * (alpha - 1))
                    errors[verb].append((error(float(value), true, dtype), a, b, alpha))
    return {verb: max(found) for verb, found in errors.items()}


@pytest.mark.parametrize("case", every(CASES, ("Poisson",)))
def test_accuracy(case):
    for verb, found in worst(case, "float32").items():
        assert found[0] <= LIMIT, (verb, found)


# One of each way to count, and of each parameter: the others differ by a factor or a chart.
APART = ("Bernoulli probs", "Geometric logits", "NegativeBinomial", "Poisson")


@pytest.mark.parametrize("case", every(APART, ("Bernoulli probs",)))
@pytest.mark.usefixtures("x64")
def test_accuracy_in_float64(case):
    for verb, found in worst(case, "float64").items():
        assert found[0] <= LIMIT, (verb, found)


@pytest.mark.parametrize(
    ("case", "name", "parameters"),
    [
        ("Bernoulli probs", "Bernoulli", {}),
        ("Binomial", "Binomial", {"total_count": 10**6}),
        ("Geometric probs", "Geometric", {}),
        ("NegativeBinomial", "NegativeBinomial", {"total_count": 0.375}),
        ("Poisson", "Poisson", {}),
    ],
)
def test_closed_forms_are_sums_over_the_outcomes(case, name, parameters):
    _, kind, of, (kl, log_affinity) = CASES[case]
    a, b = (3.5, 2.5) if kind == "rate" else (0.75, 0.625)
    if name == "Binomial":
        parameters, factor = {"total_count": 10}, mpf(10) / 10**6
    else:
        factor = mpf(1)
    p, q = ({**parameters, kind: x} for x in (a, b))
    with mp.workdps(30):
        true = family_oracles.kl_by_definition(name, p, q)
        assert abs(factor * kl(of(a), of(b)) - true) < 1e-14 * true
        for alpha in (0.25, 1.25):
            true = mp.log(family_oracles.affinity_by_definition(name, p, q, alpha))
            assert abs(factor * log_affinity(of(a), of(b), mpf(alpha)) - true) < 1e-12


# Derivatives ------------------------------------------------------------------------------------

# Fisher information: of a trial 1/(p (1-p)), of each failure waited for 1/(p (1-p)^2).
INFORMATION = {
    "Bernoulli probs": (lambda x: Bernoulli(probs=x), lambda p: 1 / (p * (1 - p))),
    "Bernoulli logits": (lambda z: Bernoulli(logits=z), lambda z: 1 / (2 + 2 * math.cosh(z))),
    "Binomial": (lambda x: Binomial(7, probs=x), lambda p: 7 / (p * (1 - p))),
    "Geometric": (lambda x: Geometric(probs=x), lambda p: 1 / (p**2 * (1 - p))),
    "NegativeBinomial": (
        lambda x: NegativeBinomial(2.5, probs=x),
        lambda p: 2.5 / (p * (1 - p) ** 2),
    ),
    "NegativeBinomial logits": (
        lambda z: NegativeBinomial(2.5, logits=z),
        lambda z: 2.5 / (1 + math.exp(-z)),
    ),
    "Poisson": (Poisson, lambda rate: 1 / rate),
}
AT = {"probs": (1e-6, 0.3, 0.5, 1 - 1e-4), "logits": (-9.0, 0.0, 0.3, 9.0), "rate": (1e-6, 3, 1e8)}


@pytest.mark.parametrize("case", every(INFORMATION, ("Poisson",)))
def test_at_equal_members_all_vanishes_but_the_information(case):
    build, information = INFORMATION[case]
    kind = case.split()[-1] if " " in case else "rate" if case == "Poisson" else "probs"
    x = jnp.asarray(AT[kind])

    def kl(a, b):
        return jd.kl_divergence(build(a), build(b))

    @jax.jit
    @jax.vmap
    def found(x):
        slopes = jax.grad(kl, (0, 1))(x, x)
        return kl(x, x), slopes, jax.hessian(kl, 1)(x, x), jax.grad(jax.grad(kl, 1))(x, x)

    value, slopes, curvature, mixed = found(x)
    assert not np.any(value)
    assert not np.any(slopes)
    expected = [information(float(y)) for y in x]
    np.testing.assert_allclose(curvature, expected, rtol=3e-6)
    np.testing.assert_allclose(mixed, np.negative(expected), rtol=3e-6)


@pytest.mark.parametrize("case", every(APART, ("Poisson",)))
@pytest.mark.usefixtures("x64")
def test_derivatives_are_those_of_the_closed_form(case):
    build, kind, of, (_, log_affinity) = CASES[case]
    point = (3.5, 2.5, 0.75) if kind == "rate" else (0.375, 0.5, 0.75)

    def renyi(x):
        return jd.renyi_divergence(build(x[0]), build(x[1]), x[2])

    def true(x, y, alpha):
        return log_affinity(of(x), of(y), alpha) / (alpha - 1)

    x = jnp.asarray(point, jnp.float64)
    slopes, curvatures = jax.jit(lambda x: (jax.grad(renyi)(x), jax.hessian(renyi)(x)))(x)
    with mp.workdps(40):
        for i in range(3):
            order = tuple(int(i == j) for j in range(3))
            assert float(slopes[i]) == pytest.approx(float(mp.diff(true, point, order)), rel=1e-11)
            for j in range(3):
                order = tuple(int(i == k) + int(j == k) for k in range(3))
                expected = float(mp.diff(true, point, order))
                assert float(curvatures[i, j]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_derivative_by_the_order_where_it_is_one():
    # d/dalpha of Renyi's divergence at 1 is half the variance of log(p/q).
    a, b = 0.375, 0.5
    slope = jax.grad(lambda alpha: jd.renyi_divergence(Bernoulli(a), Bernoulli(b), alpha))(1.0)
    logs = math.log(a / b), math.log((1 - a) / (1 - b))
    mean = a * logs[0] + (1 - a) * logs[1]
    variance = a * logs[0] ** 2 + (1 - a) * logs[1] ** 2 - mean**2
    assert float(slope) == pytest.approx(variance / 2, rel=1e-5)


# Where an outcome is certain --------------------------------------------------------------------

EDGES = {
    # Of each pair: p, q, KL(p || q), the integrals of p^a q^(1-a) for a = -1, 1/2, 2.
    "Bernoulli": (
        lambda x: Bernoulli(probs=x),
        [
            (0.0, 0.25, math.log(4 / 3), (math.inf, 0.75**0.5, 4 / 3)),
            (1.0, 0.25, math.log(4), (math.inf, 0.5, 4.0)),
            (0.25, 0.0, math.inf, (4 / 3, 0.75**0.5, math.inf)),
            (0.0, 1.0, math.inf, (math.inf, 0.0, math.inf)),
            (1.0, 1.0, 0.0, (1.0, 1.0, 1.0)),
        ],
    ),
    "Binomial": (
        lambda x: Binomial(jnp.full_like(x, 2), probs=x),
        [
            (0.0, 0.25, math.log(16 / 9), (math.inf, 0.75, 16 / 9)),
            (0.25, 1.0, math.inf, (16.0, 0.25, math.inf)),
        ],
    ),
    "Geometric": (
        lambda x: Geometric(probs=x),
        [
            (1.0, 0.25, math.log(4), (math.inf, 0.5, 4.0)),
            (0.25, 1.0, math.inf, (4.0, 0.5, math.inf)),
            (1.0, 1.0, 0.0, (1.0, 1.0, 1.0)),
        ],
    ),
    "NegativeBinomial": (
        lambda x: NegativeBinomial(jnp.full_like(x, 2), probs=x),
        [
            (0.0, 0.75, math.log(16), (math.inf, 0.25, 16.0)),
            (0.75, 0.0, math.inf, (16.0, 0.25, math.inf)),
        ],
    ),
    "Poisson": (
        Poisson,
        [
            (0.0, 0.5, 0.5, (math.inf, math.exp(-0.25), math.exp(0.5))),
            (0.5, 0.0, math.inf, (math.exp(0.5), math.exp(-0.25), math.inf)),
            (0.0, 0.0, 0.0, (1.0, 1.0, 1.0)),
        ],
    ),
}


@pytest.mark.parametrize("name", every(EDGES, ("Bernoulli", "Poisson")))
def test_where_an_outcome_is_certain(name):
    build, pairs = EDGES[name]
    p, q = (build(jnp.asarray(side)) for side in list(zip(*pairs, strict=True))[:2])
    found = verbs(p, q)
    for i, (_, _, kl, integrals) in enumerate(pairs):
        assert float(found["kl"][0, i]) == pytest.approx(kl, rel=1e-6)
        for alpha, integral, value in zip(ALPHAS, integrals, found["alpha"][:, i], strict=True):
            expected = (integral - 1) / (alpha * (alpha - 1))
            assert float(value) == pytest.approx(expected, rel=1e-6)
        expected = math.log(integrals[2])
        assert float(found["renyi"][2, i]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_derivatives_where_an_outcome_is_certain():
    def slopes(build, a, b):
        return jax.grad(lambda x, y: jd.kl_divergence(build(x), build(y)), (0, 1))(a, b)

    # Of an infinite value the one-sided limits, of a finite one with infinite limits 0.
    assert list(map(float, slopes(Bernoulli, 0.25, 0.0))) == [math.inf, -math.inf]
    assert list(map(float, slopes(Bernoulli, 0.25, 1.0))) == [-math.inf, math.inf]
    assert list(map(float, slopes(Geometric, 0.25, 1.0))) == [-math.inf, math.inf]
    assert list(map(float, slopes(Poisson, 0.25, 0.0))) == [math.inf, -math.inf]
    assert list(map(float, slopes(Bernoulli, 0.0, 0.25))) == pytest.approx([0, 4 / 3])
    assert list(map(float, slopes(Poisson, 0.0, 0.25))) == [0, 1]
    assert list(map(float, slopes(Poisson, 0.0, 0.0))) == [0, 0]
    tangent = jax.jvp(lambda x: jd.kl_divergence(Bernoulli(x), Bernoulli(0.0)), (0.25,), (0.0,))
    assert float(tangent[1]) == 0


@pytest.mark.parametrize("name", every(EDGES, ("Poisson",)))
def test_no_derivative_is_nan_at_the_edge(name):
    build, _ = EDGES[name]
    ends = {"Geometric": (1.0,), "NegativeBinomial": (0.0,), "Poisson": (0.0,)}
    numbers = jnp.asarray([*ends.get(name, (0.0, 1.0)), 0.25, 0.75])
    a, b = (x.reshape(-1) for x in jnp.meshgrid(numbers, numbers))

    def renyi(x, y, alpha):
        return jd.renyi_divergence(build(x), build(y), alpha)

    slopes = jax.jit(jax.vmap(jax.grad(renyi, (0, 1, 2))))
    for alpha in (0.5, 1.0, 2.0):
        for slope in slopes(a, b, jnp.full_like(a, alpha)):
            assert not np.any(np.isnan(slope))


@pytest.mark.parametrize("family", [Bernoulli, Geometric])
def test_logits_beyond_the_range_of_probabilities(family):
    def kl(z, y):
        return float(jd.kl_divergence(family(logits=z), family(logits=y)))

    assert kl(1e4, 1e4) == 0
    assert kl(1e4, 1e4 + 1) == 0  # e^-10000
    assert kl(1e4, -1e4) == pytest.approx(1e4, rel=1e-6)
    if family is Geometric:
        # The limit of exponential distributions.
        assert kl(-1e4, -1e4 + 1) == pytest.approx(math.e - 2, rel=1e-6)
    else:
        assert kl(0.0, 1e4) == pytest.approx(5000 - math.log(2), rel=1e-6)


def test_probabilities_and_logits_mix():
    z = 0.625
    p = 1 / (1 + math.exp(-z))
    for family in (Bernoulli, Geometric):
        expected = jd.kl_divergence(family(logits=z), family(logits=2.0))
        found = jd.kl_divergence(family(probs=p), family(logits=2.0))
        assert float(found) == pytest.approx(float(expected), rel=1e-5)
    # The error is that of the conversion: absolute in the log-odds, squared in the divergence.
    assert float(jd.kl_divergence(Bernoulli(probs=p), Bernoulli(logits=z))) < 1e-13


# Other divergences ------------------------------------------------------------------------------


@pytest.mark.slow
def test_bernoulli_has_every_divergence():
    p, q = Bernoulli(0.25), Bernoulli(0.625)
    rows = jnp.asarray([0.75, 0.25]), jnp.asarray([0.375, 0.625])
    for verb in (jd.js_divergence, jd.total_variation, jd.chernoff_information):
        assert float(verb(p, q)) == pytest.approx(float(verb(*rows)), rel=1e-6)
    logits = Bernoulli(logits=math.log(1 / 3)), Bernoulli(logits=math.log(5 / 3))
    assert float(jd.js_divergence(*logits)) == pytest.approx(float(jd.js_divergence(*rows)))


def test_geometric_mixture():
    # The mixture of log-odds -1 and 1 in equal parts is a fair coin.
    p, q = Bernoulli(logits=-1.0), Bernoulli(logits=1.0)
    expected = float(jd.kl_divergence(p, Bernoulli(0.5)))
    assert float(jd.geometric_js_divergence(p, q)) == pytest.approx(expected, rel=1e-6)
    # That of rates a and b has their geometric mean.
    found = jd.geometric_js_divergence(Poisson(1.0), Poisson(4.0))
    assert float(found) == pytest.approx(
        (kl_poisson(1.0, 2.0) + kl_poisson(4.0, 2.0)) / 2, rel=1e-6
    )


def test_mean_and_information_by_the_log_partition():
    (mean,) = jd.families.mean_parameters(Geometric(0.25))
    assert float(mean) == pytest.approx(3, rel=1e-6)
    for member, expected in (
        (Bernoulli(0.25), 16 / 3),
        (Geometric(0.25), 64 / 3),
        (Poisson(0.25), 4),
    ):
        assert float(jd.families.fisher_information(member)[0, 0]) == pytest.approx(
            expected, rel=1e-6
        )


DISTANCES = {
    # The integral of the root of the information, from the literature.
    "Binomial": (
        lambda x: Binomial(jnp.full_like(x, 7.0), probs=x),
        "probs",
        lambda p: 2 * mp.sqrt(7) * mp.atan2(mp.sqrt(p), mp.sqrt(1 - p)),
    ),
    "Geometric": (
        lambda x: Geometric(probs=x),
        "probs",
        lambda p: 2 * mp.log1p(mp.sqrt(1 - p)) - mp.log(p),
    ),
    "NegativeBinomial": (
        lambda x: NegativeBinomial(jnp.full_like(x, 3.0), probs=x),
        "probs",
        lambda p: mp.sqrt(3) * (2 * mp.log1p(mp.sqrt(p)) - mp.log1p(-p)),
    ),
    "Poisson": (Poisson, "rate", lambda rate: 2 * mp.sqrt(rate)),
}


@pytest.mark.parametrize("name", every(DISTANCES, ("Poisson",)))
def test_squared_fisher_rao_distance(name):
    build, kind, coordinate = DISTANCES[name]
    p, q = grid(kind, "float32")
    found = np.asarray(jax.jit(lambda x, y: jd.squared_fisher_rao(build(x), build(y)))(p, q))
    with mp.workdps(120):
        for value, a, b in zip(found.tolist(), p.tolist(), q.tolist(), strict=True):
            true = (coordinate(mpf(a)) - coordinate(mpf(b))) ** 2
            assert error(value, true if a != b else mpf(0), "float32") <= LIMIT, (a, b)
    x = jnp.asarray(0.375)
    squared = lambda a, b: jd.squared_fisher_rao(build(a), build(b))  # noqa: E731
    expected = 2 * float(mp.diff(coordinate, 0.375) ** 2)
    assert float(jax.hessian(squared, 1)(x, x)) == pytest.approx(expected, rel=1e-5)


# Multinomial ------------------------------------------------------------------------------------

ROWS = {
    "probs": (jnp.asarray([0.125, 0.25, 0.625]), jnp.asarray([0.25, 0.25, 0.5])),
    "logits": (jnp.asarray([0.0, 1e-3, 30.0]), jnp.asarray([0.0, 0.0, 31.0])),
}


@pytest.mark.parametrize("kind", every(ROWS, ("probs",)))
def test_multinomial_is_that_of_its_draws(kind):
    of = {"probs": from_probs, "logits": from_logits}[kind]
    p, q = ROWS[kind]
    rows = of(np.asarray(p)), of(np.asarray(q))
    members = Multinomial(5, **{kind: p}), Multinomial(5, **{kind: q})

    def close(found, true):
        return abs(float(found) - true) <= LIMIT * ULP["float32"] * true

    assert close(jd.kl_divergence(*members), 5 * ORACLES["kl_divergence"](*rows))
    for alpha in (0.25, 0.75, 2.0):
        true = 5 * ORACLES["renyi_divergence"](*rows, alpha=alpha)
        assert close(jd.renyi_divergence(*members, alpha), true)
    # At 0 and below it is that of the other order.
    true = 5 * ORACLES["kl_divergence"](*rows[::-1])
    assert close(jd.alpha_divergence(*members, 0.0), true)
    with mp.workdps(30):
        true = mp.expm1(5 * ORACLES["renyi_divergence"](*rows[::-1], alpha=2.0)) / 2
    assert close(jd.alpha_divergence(*members, -1.0), true)
    true = 5 * ORACLES["fisher_rao_distance"](*rows) ** 2
    assert close(jd.squared_fisher_rao(*members), true)


def test_multinomial_is_binomial_with_two_categories():
    p, q = jnp.asarray([[0.25, 0.75], [0.5, 0.5]]), jnp.asarray([0.375, 0.625])
    count = jnp.asarray([3.0, 1e6])
    found = jd.squared_hellinger(Multinomial(count, p), Multinomial(count, q))
    expected = jd.squared_hellinger(Binomial(count, p[:, 0]), Binomial(count, q[0]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.shape == (2,)


def test_multinomial_of_other_totals_has_no_common_outcome():
    p = jnp.asarray([0.25, 0.75])
    one, two = Multinomial(1, p), Multinomial(2, p)
    assert float(jd.kl_divergence(one, two)) == math.inf
    assert float(jd.squared_hellinger(one, two)) == 1
    assert float(jd.bhattacharyya_distance(one, two)) == math.inf


def test_multinomial_with_structural_zeros():
    p, q = jnp.asarray([0.5, 0.5, 0.0]), jnp.asarray([0.25, 0.25, 0.5])
    found = jd.kl_divergence(Multinomial(3, p), Multinomial(3, q))
    assert float(found) == pytest.approx(3 * math.log(2), rel=1e-6)
    assert float(jd.kl_divergence(Multinomial(3, q), Multinomial(3, p))) == math.inf
    logits = jnp.asarray([0.0, 0.0, -math.inf])
    found = jd.kl_divergence(Multinomial(3, logits=logits), Multinomial(3, q))
    assert float(found) == pytest.approx(3 * math.log(2), rel=1e-6)
    slope = jax.grad(lambda alpha: jd.renyi_divergence(Multinomial(3, p), Multinomial(3, q), alpha))
    assert float(slope(0.75)) == pytest.approx(0, abs=1e-5)  # log 2 for every order


@pytest.mark.slow
def test_multinomial_gradients_vanish_at_equal_members():
    z = jnp.asarray([0.0, 0.5, 20.0])

    def kl(a, b):
        return jd.kl_divergence(Multinomial(5, logits=a), Multinomial(5, logits=b))

    assert float(kl(z, z)) == 0
    assert not np.any(jax.grad(kl, (0, 1))(z, z))
    p = jnp.asarray([0.25, 0.75])
    fisher = jax.hessian(lambda q: jd.kl_divergence(Multinomial(5, p), Multinomial(5, q)))(p)
    np.testing.assert_allclose(fisher, np.diag(5 / np.asarray(p)), rtol=1e-6)


# Arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [Bernoulli, Geometric, functools.partial(Binomial, 3)])
def test_one_of_probs_and_logits(family):
    q = family(probs=0.5)
    with pytest.raises(ValueError, match="p must have exactly one of probs and logits, but has n"):
        jd.kl_divergence(family(), q)
    with pytest.raises(ValueError, match="q must have exactly one of probs and logits, but has b"):
        jd.kl_divergence(q, family(probs=0.5, logits=0.0))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (Bernoulli(1.5), r"p.probs must be in \[0, 1\], but is 1.5"),
        (Bernoulli(logits=math.inf), "p.logits must be finite, but is inf"),
        (Geometric(0.0), r"p.probs must be in \(0, 1\], but is 0.0"),
        (NegativeBinomial(2, 1.0), r"p.probs must be in \[0, 1\), but is 1.0"),
        (NegativeBinomial(0, 0.5), "p.total_count must be positive and finite"),
        (Binomial(2.5, 0.5), "p.total_count must be a positive integer, but is 2.5"),
        (Binomial(math.inf, 0.5), "p.total_count must be a positive integer, but is inf"),
        (Poisson(-1.0), "p.rate must be non-negative and finite, but is -1.0"),
        (Multinomial(0, [0.5, 0.5]), "p.total_count must be a positive integer, but is 0"),
        (Multinomial(2, 0.5), "p.probs must have at least 1 axis"),
        (Multinomial(2, logits=[0.0, math.inf]), "p.logits must be less than infinity"),
    ],
)
def test_bad_parameters(member, message):
    with pytest.raises(ValueError, match=message):
        jd.kl_divergence(member, member)


def test_bad_pairs():
    with pytest.raises(
        ValueError, match=r"events must have one shape, but are p \(2,\) and q \(3,\)"
    ):
        jd.kl_divergence(Multinomial(2, [0.5, 0.5]), Multinomial(2, [0.25, 0.5, 0.25]))
    with pytest.raises(NotImplementedError, match=r"p.total_count and q.total_count differ"):
        jd.renyi_divergence(Binomial(2, 0.5), Binomial(3, 0.5), 0.5)
    with pytest.raises(NotImplementedError, match=r"p.total_count and q.total_count differ"):
        jd.kl_divergence(NegativeBinomial(2, 0.5), NegativeBinomial(3, 0.5))


def test_traced_parameters_outside_give_nan_in_their_row():
    found = jax.jit(lambda x: jd.kl_divergence(Bernoulli(x), Bernoulli(0.5)))(
        jnp.asarray([0.5, 1.5, 0.25, -1.0])
    )
    np.testing.assert_array_equal(np.isnan(found), [False, True, False, True])
    counts = jnp.asarray([2.0, 3.0, 1.0])
    found = jax.jit(lambda n: jd.kl_divergence(Binomial(n, 0.5), Binomial(2, 0.25)))(counts)
    np.testing.assert_array_equal(np.isnan(found), [False, False, True])
    assert found[1] == jnp.inf  # three successes are none of two trials


@pytest.mark.slow
def test_batches_and_transformations():
    p, q = jnp.asarray([[0.25], [0.5]]), jnp.asarray([0.5, 0.125, 0.75])
    for family in (Poisson, functools.partial(Binomial, 3)):
        found = jd.kl_divergence(family(p), family(q))
        assert found.shape == (2, 3)
        one = jax.jit(lambda a, b, family=family: jd.kl_divergence(family(a), family(b)))
        mapped = jax.vmap(jax.vmap(one, (None, 0)), (0, None))(p[:, 0], q)
        np.testing.assert_allclose(mapped, found, rtol=1e-6)


def test_categorical_is_rows():
    p, q = jnp.asarray([0.25, 0.75]), jnp.asarray([0.5, 0.5])
    found = jd.kl_divergence(Categorical(p), Categorical(logits=jnp.log(q)))
    assert float(found) == pytest.approx(float(jd.kl_divergence(p, q)), rel=1e-6)
    with pytest.raises(ValueError, match="exactly one of probs and logits"):
        Categorical()
