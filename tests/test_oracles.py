"""The oracles are checked against scipy, closed forms, each other, and the known inequalities."""

import math
from collections.abc import Iterator
from itertools import combinations

import ml_dtypes
import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from scipy.stats import entropy as scipy_entropy

from oracles import (
    ORACLES,
    Row,
    chernoff_information,
    from_labels,
    from_log_probs,
    from_logits,
    from_probs,
    gradient,
    relative_l2_error,
    ulp_error,
)

TETRAHEDRON = from_probs([0.5, 0.25, 0.125, 0.125])
UNIFORM = from_logits(np.zeros(4))
FIRST, SECOND = from_labels(0, 2), from_labels(1, 2)
COIN = from_probs([0.5, 0.5])

PARAMETERS: dict[str, dict[str, float]] = {
    "skew_kl_divergence": {"skew": 0.25},
    "alpha_divergence": {"alpha": 2.5},
    "renyi_divergence": {"alpha": 0.75},
    "tsallis_divergence": {"alpha": 1.5},
}
DIVERGENCES = [
    name
    for name in ORACLES
    if name.endswith(("_divergence", "_distance", "_variation", "_hellinger", "_euclidean"))
    and name not in ("f_divergence", "bregman_divergence")
] + ["chernoff_information"]


@pytest.fixture(autouse=True)
def sixty_digits() -> Iterator[None]:
    with mpmath.mp.workdps(60):
        yield


def value(name: str, p: Row, q: Row, **parameters: object) -> mpf:
    return ORACLES[name](p, q, **(parameters or PARAMETERS.get(name, {})))


def close(got: object, want: object, digits: int = 55) -> bool:
    if mpf(got) == mpf(want):
        return True
    return abs(mpf(got) - mpf(want)) <= mpf(10) ** -digits * abs(mpf(want))


def logit_pairs(n: int = 5) -> list[tuple[Row, Row]]:
    rng = np.random.default_rng(7)
    scales = [(1, 1e-6), (1, 1e-2), (1, 1), (3, 3), (10, 10)]
    noise = [(rng.normal(size=n), rng.normal(size=n), a, b) for a, b in scales * 2]
    return [(from_logits(a * x), from_logits(a * x + b * y)) for x, y, a, b in noise]


# Known values ----------------------------------------------------------------------------------


def test_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.gamma(1.0, size=(2, 9))
    generalised = np.sum(rel_entr(p, q) - p + q)
    assert close(value("kl_divergence", from_probs(p), from_probs(q)), generalised, 13)
    p, q = p / p.sum(), q / q.sum()
    a, b = from_probs(p), from_probs(q)
    assert close(value("kl_divergence", a, b), scipy_entropy(p, q), 13)
    assert close(ORACLES["entropy"](a), scipy_entropy(p), 13)
    assert close(value("js_distance", a, b), jensenshannon(p, q), 13)


def test_tetrahedron_against_uniform_costs_a_quarter_bit():
    bit = mpmath.log(2)
    assert close(value("kl_divergence", TETRAHEDRON, UNIFORM), bit / 4)
    assert close(ORACLES["entropy"](TETRAHEDRON), 7 * bit / 4)
    assert close(ORACLES["cross_entropy"](TETRAHEDRON, UNIFORM), 2 * bit)
    assert close(ORACLES["perplexity"](UNIFORM), 4)
    assert [round(float(v / bit)) for v in ORACLES["self_information"](TETRAHEDRON)] == [1, 2, 3, 3]
    assert ORACLES["huffman_code"](TETRAHEDRON) == [1, 2, 3, 3]
    assert ORACLES["expected_code_length"](TETRAHEDRON, [1, 2, 3, 3]) == mpf("1.75")


def test_bernoulli():
    def log(a: int, b: int) -> mpf:
        return mpmath.log(mpf(a) / b)

    p, q = COIN, from_probs([0.25, 0.75])
    affinity = mpmath.sqrt(mpf(1) / 8) + mpmath.sqrt(mpf(3) / 8)
    kl = (log(2, 1) + log(2, 3)) / 2
    js = (log(4, 3) + log(4, 5)) / 4 + (log(2, 3) + 3 * log(6, 5)) / 8
    for name, parameters, want in (
        ("kl_divergence", {}, kl),
        ("reverse_kl_divergence", {}, (log(1, 2) + 3 * log(3, 2)) / 4),
        ("jeffreys_divergence", {}, log(3, 1) / 4),
        ("js_divergence", {}, js),
        ("js_distance", {}, mpmath.sqrt(js)),
        ("skew_kl_divergence", {"skew": 0.25}, (log(16, 10) + log(16, 22)) / 2),
        ("total_variation", {}, 0.25),
        ("squared_hellinger", {}, 1 - affinity),
        ("hellinger_distance", {}, mpmath.sqrt(1 - affinity)),
        ("chi2_divergence", {}, mpf(1) / 3),
        ("neyman_chi2_divergence", {}, 0.25),
        ("alpha_divergence", {"alpha": 2}, mpf(1) / 6),
        ("renyi_divergence", {"alpha": 2}, log(4, 3)),
        ("renyi_divergence", {"alpha": 1}, kl),
        ("renyi_divergence", {"alpha": math.inf}, log(2, 1)),
        ("tsallis_divergence", {"alpha": 2}, mpf(1) / 3),
        ("bhattacharyya_distance", {}, -mpmath.log(affinity)),
        ("le_cam_divergence", {}, mpf(2) / 15),
        ("fisher_rao_distance", {}, 2 * mpmath.acos(affinity)),
        ("squared_fisher_rao", {}, 4 * mpmath.acos(affinity) ** 2),
        ("itakura_saito_divergence", {}, mpf(2) / 3 - log(4, 3)),
        ("squared_euclidean", {}, 0.125),
    ):
        assert close(value(name, p, q, **parameters), want), name


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_inputs_are_converted_exactly(dtype: type):
    stored = np.array([0.1, 0.9]).astype(dtype)
    p = [mpf(float(x)) for x in stored]
    want = -sum(x * mpmath.log(x) for x in p)
    assert close(ORACLES["entropy"](from_probs(stored)), want)
    scaled = [mpmath.exp(x / mpf(0.3)) for x in p]
    got = ORACLES["self_information"](from_logits(stored, 0.3))
    assert close(got[0], -mpmath.log(scaled[0] / sum(scaled)))


# Rows close together and far apart ---------------------------------------------------------------


@pytest.mark.parametrize("name", DIVERGENCES)
def test_zero_exactly_at_equality(name: str):
    logits = np.array([0.5, -1.25, 3.0, -np.inf])
    assert value(name, from_logits(logits), from_logits(logits + 1024.0)) == 0
    assert value(name, from_logits(logits), from_logits(2 * logits, 2.0)) == 0
    assert value(name, UNIFORM, from_probs(np.full(4, 0.25))) == 0
    assert value(name, from_labels(1, 3), from_log_probs([-np.inf, 0.0, -np.inf])) == 0
    assert value(name, from_probs([0.0, 0.0]), from_probs([0.0, 0.0])) == 0


# D = (c/2) Σ δ²/p, on the two-point uniform distribution moved by δ = 2⁻⁴⁰.
@pytest.mark.parametrize(
    ("name", "coefficient"),
    [
        ("kl_divergence", 1),
        ("reverse_kl_divergence", 1),
        ("jeffreys_divergence", 2),
        ("js_divergence", 0.25),
        ("skew_kl_divergence", 0.5625),
        ("squared_hellinger", 0.25),
        ("chi2_divergence", 2),
        ("neyman_chi2_divergence", 2),
        ("alpha_divergence", 1),
        ("renyi_divergence", 0.75),
        ("tsallis_divergence", 1.5),
        ("bhattacharyya_distance", 0.25),
        ("le_cam_divergence", 1),
        ("chernoff_information", 0.25),
    ],
)
def test_local_coefficient(name: str, coefficient: float):
    delta = 2.0**-40
    got = value(name, from_probs([0.5 + delta, 0.5 - delta]), COIN)
    assert close(got, mpf(coefficient) * 2 * mpf(delta) ** 2, 11)


def test_rows_far_apart_do_not_underflow():
    a, b = from_logits([0.0, 1e4]), from_logits([1e4, 0.0])
    assert close(value("kl_divergence", a, b), 10**4)
    assert close(value("bhattacharyya_distance", a, b), 5000 - mpmath.log(2))
    assert close(value("chernoff_information", a, b), 5000 - mpmath.log(2))
    assert close(value("renyi_divergence", a, b, alpha=2.0), 10**4)
    largest = float(np.finfo(np.float64).max)
    got = value("kl_divergence", from_logits([0.0, largest]), from_logits([largest, -largest]))
    assert close(got, 2 * mpf(largest))
    deep = value("kl_divergence", from_log_probs([-2000.0, 0.0]), from_log_probs([-1000.0, 0.0]))
    assert close(deep, mpmath.exp(-1000) - 1001 * mpmath.exp(-2000))


def test_chernoff_is_the_largest_renyi_exponent():
    for p, q in logit_pairs():
        exponents = [
            (1 - a) * value("renyi_divergence", p, q, alpha=a) for a in np.linspace(0.02, 0.98, 49)
        ]
        got = chernoff_information(p, q)
        assert max(exponents) <= got <= max(exponents) * mpf("1.1")
        assert close(got, chernoff_information(q, p), 50)
    # With a smaller support the maximum sits at an end.
    assert close(chernoff_information(FIRST, COIN), mpmath.log(2))
    assert close(chernoff_information(COIN, FIRST), mpmath.log(2))


# Boundary ----------------------------------------------------------------------------------------


def test_disjoint_rows_reach_the_upper_bound():
    log2 = mpmath.log(2)
    finite = {
        "js_divergence": log2,
        "skew_kl_divergence": 2 * log2,
        "total_variation": 1,
        "squared_hellinger": 1,
        "hellinger_distance": 1,
        "js_distance": mpmath.sqrt(log2),
        "le_cam_divergence": 2,
        "fisher_rao_distance": +mpmath.pi,
        "squared_fisher_rao": mpmath.pi**2,
        "squared_euclidean": 2,
    }
    for name in DIVERGENCES:
        assert close(value(name, FIRST, SECOND), finite.get(name, mpmath.inf)), name
    assert close(value("alpha_divergence", FIRST, SECOND, alpha=0.25), mpf(16) / 3)
    assert close(value("tsallis_divergence", FIRST, SECOND, alpha=0.25), mpf(4) / 3)
    assert value("renyi_divergence", FIRST, SECOND, alpha=0.0) == mpmath.inf


def test_zeros_on_one_side():
    log2 = mpmath.log(2)
    p = from_logits([0.0, -np.inf])
    assert close(value("kl_divergence", p, COIN), log2)
    assert value("kl_divergence", COIN, p) == mpmath.inf
    assert close(value("renyi_divergence", p, COIN, alpha=0.0), log2)
    assert close(value("renyi_divergence", p, COIN, alpha=3.0), log2)
    assert value("renyi_divergence", COIN, p, alpha=0.0) == 0
    assert value("alpha_divergence", p, COIN, alpha=-1.0) == mpmath.inf
    assert close(value("alpha_divergence", COIN, p, alpha=0.5), 4 - 2 * mpmath.sqrt(2))
    assert value("chi2_divergence", p, COIN) == 1
    smoothed = from_labels(0, 4, 0.5)
    assert close(value("kl_divergence", from_labels(0, 4), smoothed), mpmath.log(mpf(8) / 5))


@pytest.mark.parametrize(
    "bad",
    [
        from_probs([0.5, np.nan]),
        from_probs([0.5, -0.5]),
        from_logits([0.0, np.inf]),
        from_logits([-np.inf, -np.inf]),
        from_labels(2, 2),
    ],
)
def test_a_bad_row_is_nan(bad: Row):
    for name in DIVERGENCES:
        assert mpmath.isnan(value(name, bad, COIN)) and mpmath.isnan(value(name, COIN, bad))
    assert mpmath.isnan(gradient("kl_divergence", bad, COIN, "logits", "p")[0])


# Verbs against one another -----------------------------------------------------------------------

# (f, f'(1), f(0), lim f(t)/t), not normalised; the limits may be functions of no argument.
GENERATORS = {
    "kl_divergence": (lambda t: t * mpmath.log(t), 1, 0, "inf"),
    "reverse_kl_divergence": (lambda t: -mpmath.log(t), -1, "inf", 0),
    "jeffreys_divergence": (lambda t: (t - 1) * mpmath.log(t), 0, "inf", "inf"),
    "js_divergence": (
        lambda t: (t * mpmath.log(t) - (t + 1) * mpmath.log((t + 1) / 2)) / 2,
        0,
        lambda: mpmath.log(2) / 2,
        lambda: mpmath.log(2) / 2,
    ),
    "skew_kl_divergence": (
        lambda t: t * mpmath.log(4 * t / (t + 3)),
        0.75,
        0,
        lambda: mpmath.log(4),
    ),
    "total_variation": (lambda t: abs(t - 1) / 2, 0, 0.5, 0.5),
    "squared_hellinger": (lambda t: (mpmath.sqrt(t) - 1) ** 2 / 2, 0, 0.5, 0.5),
    "chi2_divergence": (lambda t: t**2 - 1, 2, -1, "inf"),
    "neyman_chi2_divergence": (lambda t: 1 / t - 1, -1, "inf", 0),
    "alpha_divergence": (lambda t: t ** mpf(2.5) * 4 / 15, lambda: mpf(2) / 3, 0, "inf"),
    "le_cam_divergence": (lambda t: (t - 1) ** 2 / (t + 1), 0, 1, 1),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_f_divergence_is_the_named_divergence(name: str):
    f, *numbers = GENERATORS[name]
    derivative, at_zero, slope = (x() if callable(x) else x for x in numbers)
    limits = {"derivative_at_one": derivative, "at_zero": at_zero, "slope": slope}
    rows = [0.5, 0.25, 0.125, 1.0], [0.25, 0.375, 0.125, 2.0]
    p, q = from_probs(rows[0]), from_probs(rows[1])
    assert close(value("f_divergence", p, q, f=f, derivative_at_one=derivative), value(name, p, q))
    for a, b in (([*rows[0], 0.0], [*rows[1], 0.5]), ([*rows[0], 0.5], [*rows[1], 0.0])):
        p, q = from_probs(a), from_log_probs([math.log(x) if x else -math.inf for x in b])
        assert close(value("f_divergence", p, q, f=f, **limits), value(name, p, q))


def test_bregman_divergence_is_the_named_divergence():
    p, q = from_probs([0.5, 0.25, 1.5]), from_probs([0.25, 0.125, 2.0])
    for name, potential in (
        ("squared_euclidean", lambda x: x**2),
        ("kl_divergence", lambda x: x * mpmath.log(x)),
        ("itakura_saito_divergence", lambda x: -mpmath.log(x)),
    ):
        assert close(value("bregman_divergence", p, q, potential=potential), value(name, p, q))


def test_transforms_of_the_power_sum():
    for p, q in logit_pairs():
        for a in (0.25, 0.5, 2.0, 3.5):
            d = value("alpha_divergence", p, q, alpha=a)
            log_s = mpmath.log1p(mpf(a) * (mpf(a) - 1) * d)
            assert close(value("renyi_divergence", p, q, alpha=a), log_s / (mpf(a) - 1), 45)
            assert close(value("tsallis_divergence", p, q, alpha=a), a * d, 45)
        h2 = value("squared_hellinger", p, q)
        assert close(value("bhattacharyya_distance", p, q), -mpmath.log(1 - h2), 40)
        assert close(value("fisher_rao_distance", p, q), 2 * mpmath.acos(1 - h2), 25)
        # Continuity at the orders that have a formula of their own.
        near, kl = 2.0**-50, value("kl_divergence", p, q)
        for name in ("alpha_divergence", "renyi_divergence", "tsallis_divergence"):
            assert close(value(name, p, q, alpha=1.0), kl)
            assert close(value(name, p, q, alpha=1.0 + near), kl, 12)
        assert close(
            value("alpha_divergence", p, q, alpha=near),
            value("reverse_kl_divergence", p, q),
            12,
        )


def test_js_with_a_weight_is_the_mean_of_two_skew_divergences():
    for p, q in logit_pairs():
        mean = value("skew_kl_divergence", p, q, skew=0.25) / 4
        mean += 3 * value("skew_kl_divergence", q, p, skew=0.75) / 4
        assert close(value("js_divergence", p, q, weight=0.25), mean)
        assert value("js_divergence", p, q, weight=1.0) == 0


def test_joint_tables():
    rng = np.random.default_rng(3)
    table = rng.integers(1, 64, size=(3, 4)) / 64
    joint, x, y = (from_probs(t) for t in (table, table.sum(1), table.sum(0)))
    h = ORACLES["entropy"]
    assert close(ORACLES["joint_entropy"](joint), h(joint))
    assert close(ORACLES["conditional_entropy"](joint), h(joint) - h(y), 50)
    mass = mpf(float(table.sum()))
    want = h(x) + h(y) - h(joint) + mass * mpmath.log(mass)
    assert close(ORACLES["mutual_information"](joint), want, 50)
    independent = from_probs(np.outer([0.25, 0.75], [0.5, 0.125, 0.375]))
    assert ORACLES["mutual_information"](independent) == 0
    assert close(ORACLES["mutual_information"](from_probs(np.eye(2) / 2)), mpmath.log(2))


# Inequalities ------------------------------------------------------------------------------------


def test_inequalities():
    log2 = mpmath.log(2)
    for p, q in logit_pairs():
        kl, tv, h2, js, t, j, chi2 = (
            value(name, p, q)
            for name in (
                "kl_divergence",
                "total_variation",
                "squared_hellinger",
                "js_divergence",
                "le_cam_divergence",
                "jeffreys_divergence",
                "chi2_divergence",
            )
        )
        d2 = value("renyi_divergence", p, q, alpha=2.0)
        assert kl >= 2 * tv**2
        assert tv <= mpmath.sqrt(-mpmath.expm1(-kl))
        assert h2 <= tv <= mpmath.sqrt(h2 * (2 - h2))
        assert value("renyi_divergence", p, q, alpha=0.5) <= kl <= d2
        assert close(d2, mpmath.log1p(chi2), 45)
        assert t / 4 <= js <= log2 / 2 * t
        assert js <= log2 * tv
        assert js <= j / 4
        assert 2 * tv**2 <= t <= 2 * tv
        assert 2 * h2 <= t <= 4 * h2


def test_upper_bounds_and_entropy_bounds():
    log2 = mpmath.log(2)
    for p, q in logit_pairs():
        assert value("js_divergence", p, q, weight=0.5) < log2
        assert value("skew_kl_divergence", p, q, skew=0.25) < 2 * log2
        assert value("alpha_divergence", p, q, alpha=0.25) < mpf(16) / 3
        assert value("tsallis_divergence", p, q, alpha=0.25) < mpf(4) / 3
        h = ORACLES["entropy"](p)
        assert 0 <= h <= mpmath.log(5)
        assert close(h, mpmath.log(5) - value("kl_divergence", p, from_logits(np.zeros(5))), 40)
        length = ORACLES["expected_code_length"](p, ORACLES["huffman_code"](p))
        assert h / log2 <= length < h / log2 + 1


@pytest.mark.parametrize("name", ["total_variation", "hellinger_distance", "js_distance"])
def test_metrics(name: str):
    rows = [p for p, _ in logit_pairs()]
    for a, b, c in combinations(rows, 3):
        assert close(value(name, a, b), value(name, b, a))
        # Total variation attains equality, hence the allowance for the last digit.
        assert value(name, a, c) <= (value(name, a, b) + value(name, b, c)) * (1 + mpf(10) ** -55)


# Gradients ---------------------------------------------------------------------------------------

SMOOTH = [
    "kl_divergence",
    "reverse_kl_divergence",
    "js_divergence",
    "squared_hellinger",
    "chi2_divergence",
    "le_cam_divergence",
]


@pytest.mark.parametrize("argument", ["p", "q"])
@pytest.mark.parametrize("chart", ["probs", "logits"])
@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_is_the_difference_quotient(name: str, chart: str, argument: str):
    parameters = {"weight": 0.25} if name == "js_divergence" else {}
    temperature = 1.0 if chart == "probs" else 0.5
    arrays = {"p": np.array([0.5, 0.125, 0.75]), "q": np.array([0.25, 0.625, 0.5])}
    h = 2.0**-30  # exact when added to these; the quotient's own error is h²

    def at(shift: np.ndarray) -> mpf:
        moved = arrays | {argument: arrays[argument] + shift}
        rows = [
            from_probs(x) if chart == "probs" else from_logits(x, temperature)
            for x in (moved["p"], moved["q"])
        ]
        return ORACLES[name](*rows, **parameters)

    want = [(at(h * unit) - at(-h * unit)) / (2 * h) for unit in np.eye(3)]
    got = gradient(
        name, arrays["p"], arrays["q"], chart, argument, temperature=temperature, **parameters
    )
    scale = max(abs(v) for v in want)
    assert all(abs(a - b) < mpf(10) ** -14 * scale for a, b in zip(got, want, strict=True))
    assert gradient(name, arrays["p"], arrays["p"], chart, argument) == [0, 0, 0]


def test_gradient_at_stored_zeros():
    inf = mpmath.inf
    p, q = [0.0, 0.5, 0.0], [0.5, 0.0, 0.0]
    kl = {x: gradient("kl_divergence", p, q, "probs", x) for x in "pq"}
    assert kl == {"p": [0, inf, 0], "q": [1, -inf, 0]}
    chi2 = {x: gradient("chi2_divergence", p, q, "probs", x) for x in "pq"}
    assert chi2 == {"p": [-2, inf, 0], "q": [1, -inf, 0]}
    hellinger = {x: gradient("squared_hellinger", p, q, "probs", x) for x in "pq"}
    assert hellinger == {"p": [0, 0.5, 0], "q": [0.5, 0, 0]}
    le_cam = {x: gradient("le_cam_divergence", p, q, "probs", x) for x in "pq"}
    assert le_cam == {"p": [-3, 1, 0], "q": [1, -3, 0]}
    js = gradient("js_divergence", p, q, "probs", "p")
    assert js[0] == 0 and close(js[1], mpmath.log(2) / 2) and js[2] == 0


def test_logit_gradient_of_kl():
    inf = np.inf
    a, b = [0.0, 0.0, -inf, -inf], [0.0, -inf, 0.0, -inf]
    third = gradient("kl_divergence", a, b, "logits", "q")
    assert [float(v) for v in third] == [0, -0.5, 0.5, 0]
    assert gradient("kl_divergence", a, b, "logits", "p") == [-mpmath.inf, mpmath.inf, 0, 0]
    far = gradient("kl_divergence", from_labels(1, 2), [1e4, 0.0], "logits", "q")
    assert close(far[0], 1) and close(far[1], -1)


# Errors ------------------------------------------------------------------------------------------


def test_ulp_error():
    one = mpf(1)
    assert ulp_error(np.float32(1 + 2**-23), one, np.float32) == 1
    assert ulp_error(np.float64(1 - 2**-52), one, "float64") == 1
    assert ulp_error(0.0, mpf(0), "float32") == 0
    assert ulp_error(np.inf, mpmath.inf, "float32") == 0
    assert ulp_error(np.inf, mpf("1e39"), "float32") == 0
    assert ulp_error(np.inf, mpf("1e39"), "float64") == math.inf
    assert ulp_error(0.0, mpf("1e-39"), "float32") == 0
    assert ulp_error(np.nan, mpmath.nan, "float32") == 0
    for got, want in ((1e-3, 0), (np.inf, 1), (1.0, mpmath.inf), (-np.inf, mpmath.inf)):
        assert ulp_error(got, mpf(want), "float32") == math.inf
    assert ulp_error(np.nan, one, "float32") == math.inf
    assert ulp_error(0.0, one, "float32") == 2**23


def test_relative_l2_error():
    assert relative_l2_error(np.array([3.0, 4.5]), [mpf(3), mpf(4)]) == pytest.approx(0.1)
    assert relative_l2_error(np.zeros(2), [mpf(0), mpf(0)]) == 0
    assert relative_l2_error(np.ones(2), [mpf(0), mpf(0)]) == math.inf


def test_input_errors():
    with pytest.raises(TypeError, match="bool"):
        from_probs(np.array([True, False]))
    with pytest.raises(ValueError, match="one length"):
        value("kl_divergence", COIN, UNIFORM)
    with pytest.raises(ValueError, match="at_zero"):
        value("f_divergence", FIRST, COIN, f=lambda t: t**2)
    with pytest.raises(ValueError, match="skew"):
        value("skew_kl_divergence", COIN, COIN, skew=2.0)
