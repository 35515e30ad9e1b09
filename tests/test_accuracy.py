"""The accuracy promise, against ball arithmetic on the stored inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from conftest import REPEATS, distinct, every
from oracles import ORACLES, from_log_probs, from_logits, from_probs, gradient, ulp_error

NAMES = sorted(jd.CATALOGUE)
SCALES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 3.0, 10.0, 100.0)
SHIFTS = (0.0, 7.0)
# One of each kind: sums, a transform of one, and functions of the user's own.
QUICK = ("kl", "js", "js_quarter", "renyi_2", "bregman", "f_divergence")

# What numerics.md promises; transforms may have four times as much.
TRANSFORMS = {"renyi_half", "renyi_2", "tsallis_1_5", "bhattacharyya", "chernoff"}
FAR = 20.0  # beyond this difference of centred logits, 64 ulp


def promised(name, distance):
    return 64 if name in TRANSFORMS or distance > FAR else 16


# A user's function is given to the oracle a second time, as one of mpmath numbers.
ORACLE_PARAMETERS = {
    "f_divergence": dict(
        f=lambda t: t * t - 3 * t + 3, derivative_at_one=-1, at_zero=3, slope=float("inf")
    ),
    "bregman": dict(potential=lambda x: x**3, derivative=lambda x: 3 * x * x),
}


def oracle(name, p, q):
    entry = jd.CATALOGUE[name]
    parameters = ORACLE_PARAMETERS.get(name, entry.parameters)
    return ORACLES[entry.verb.__name__](p, q, **parameters)


def logit_rows(length, temperature=1.0, spread=2.0, seed=0, scales=SCALES):
    """Rows of logits, each beside itself perturbed at one scale and shifted by a constant."""
    rng = np.random.default_rng([length, seed])
    rows = []
    for scale in scales:
        for shift in SHIFTS:
            a = rng.normal(size=length) * spread * temperature
            d = rng.normal(size=length) * scale * temperature
            rows.append((a, a + d + shift))
    a, b = (np.stack(x) for x in zip(*rows, strict=True))
    return a, b


def centred_distance(a, b):
    d = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return np.abs(d - d.mean(-1, keepdims=True)).max(-1)


def stored(x, dtype):
    return jnp.asarray(np.asarray(jnp.asarray(x, dtype)))


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def make_probs(a, dtype):
    """Stored probabilities; subnormals are flushed, so they are not given."""
    p = jnp.asarray(softmax(a), dtype)
    return jnp.where(p >= jnp.finfo(dtype).tiny, p, 0)


def check(name, got, rows_p, rows_q, dtype, bounds, log_range=(1e-17, 1e3)):
    kind = "float64" if dtype == "float64" else "float32"
    compared = 0
    for value, p, q, bound in zip(np.asarray(got), rows_p, rows_q, bounds, strict=True):
        want = oracle(name, p, q)
        assert value >= 0
        if want == 0 or log_range[0] <= want <= log_range[1]:
            assert ulp_error(value, want, kind) <= bound, (name, value, want)
            compared += 1
    assert compared


def compare_probs(name, length, dtype):
    a, b = logit_rows(length)
    p, q = make_probs(a, dtype), make_probs(b, dtype)
    got = jd.CATALOGUE[name](p, q)
    rows = ([from_probs(np.asarray(row)) for row in x] for x in (p, q))
    check(name, got, *rows, dtype, [promised(name, 0)] * len(a))


def compare_logits(name, length, dtype, temperature=1.0, **options):
    a, b = (jnp.asarray(x, dtype) for x in logit_rows(length, temperature, **options))
    nouns = jd.Logits(a, temperature), jd.Logits(b, temperature)
    got = jd.CATALOGUE[name](*nouns)
    exact = float(np.float32(temperature)) if dtype != "float64" else temperature
    rows = ([from_logits(np.asarray(row), exact) for row in x] for x in (a, b))
    distances = centred_distance(a, b) / temperature
    check(name, got, *rows, dtype, [promised(name, d) for d in distances])


@pytest.mark.parametrize("name", distinct(NAMES))
def test_probabilities(name):
    compare_probs(name, 10, "float32")


@pytest.mark.core
@pytest.mark.parametrize("name", every(NAMES, QUICK))
def test_logits(name):
    compare_logits(name, 1000, "float32")


@pytest.mark.parametrize("name", every(["kl", "js", "alpha_3", "renyi_half"], QUICK))
@pytest.mark.parametrize("temperature", [0.01, 0.3, 100.0])
def test_temperature(name, temperature):
    compare_logits(name, 10, "float32", temperature)


@pytest.mark.parametrize("name", ["kl", "js"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_computed_in_float32(name, dtype):
    # The inputs are what they are; nothing is lost after them.
    scales = tuple(s for s in SCALES if s >= 1e-3)
    compare_logits(name, 10, dtype, scales=scales)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "dtype, length",
    [
        *(("float32", length) for length in (2, 3, 1000)),
        *(("float64", length) for length in (2, 1000)),
        # Computed in float32: what is new is the conversion.
        ("bfloat16", 10),
        ("float16", 10),
    ],
)
def test_all_lengths_and_dtypes(name, dtype, length):
    low = dtype in ("bfloat16", "float16")
    with jax.enable_x64(dtype == "float64"):
        if not low:
            compare_probs(name, length, dtype)
        compare_logits(name, length, dtype, scales=SCALES[4:] if low else SCALES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chart", ["probs", "logits"])
def test_a_vocabulary(name, chart):
    # Far apart, and near with a constant between them.
    a, b = (x[[0, 3]] for x in logit_rows(131072, scales=(1.0, 1e-6)))
    if chart == "probs":
        compare = (make_probs(a, "float32"), make_probs(b, "float32"))
        got, row = jd.CATALOGUE[name](*compare), from_probs
    else:
        compare = (jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
        got, row = jd.CATALOGUE[name](*map(jd.Logits, compare)), from_logits
    rows = ([row(np.asarray(r)) for r in x] for x in compare)
    # Means over a vocabulary of differences of probabilities are below 1e-17 for some.
    check(name, got, *rows, "float32", [promised(name, 0)] * len(a), (1e-30, 1e3))


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "squared_hellinger"])
def test_mixed_nouns_inherit_the_rounding_of_the_conversion(name):
    # log q of a logit row is rounded to an ulp or so of max(1, |log q|), and so is log(p/q):
    # the value may be off by that times its first-order change, sum |dD/dlog q| (stated in the
    # documentation of the verbs), which near p = q is about sqrt(D).
    a, b = logit_rows(10, scales=(1e-4, 1e-2, 1.0))
    p, b = make_probs(a, "float32"), jnp.asarray(b, jnp.float32)
    for noun, row in ((jd.Logits, from_logits), (jd.LogProbs, from_log_probs)):
        got = np.asarray(jd.CATALOGUE[name](p, noun(b - 7)))
        for value, p_row, b_row in zip(got, p, b, strict=True):
            q_row = row(np.asarray(b_row - 7))
            want = float(oracle(name, from_probs(np.asarray(p_row)), q_row))
            log_q = np.abs(np.asarray(b_row - 7)).max() + 3
            slack = 4 * 2**-23 * log_q * (np.sqrt(2 * want) + want)
            assert abs(value - want) <= slack + 16 * 2**-23 * want


@pytest.mark.parametrize("name", ["kl", "alpha_half"])
def test_unequal_temperatures(name):
    a, b = (jnp.asarray(x, jnp.float32) for x in logit_rows(10, scales=(1e-3, 1.0)))
    got = np.asarray(jd.CATALOGUE[name](jd.Logits(a, 0.5), jd.Logits(b, 2.0)))
    for value, a_row, b_row in zip(got, a, b, strict=True):
        want = oracle(name, from_logits(np.asarray(a_row), 0.5), from_logits(np.asarray(b_row), 2))
        assert ulp_error(value, want, "float32") <= 16


def verb(name):
    return jd.CATALOGUE[name].verb.__name__


GRADIENTS = ["kl", "reverse_kl", "js", "squared_hellinger", "chi2", "le_cam"]
QUICK_GRADIENTS = ("kl", "js", "chi2")


@pytest.mark.core
@pytest.mark.parametrize("name", every(GRADIENTS, QUICK_GRADIENTS))
@pytest.mark.parametrize("argument", ["p", "q"])
def test_gradients_with_respect_to_logits(name, argument):
    a, b = (jnp.asarray(x, jnp.float32) for x in logit_rows(10, spread=1.0, scales=SCALES[:8]))
    position = "pq".index(argument)

    def total(*logits):
        return jd.CATALOGUE[name](*map(jd.Logits, logits)).sum()

    got = np.asarray(jax.grad(total, position)(a, b), np.float64)
    distances = centred_distance(a, b)
    compared = 0
    for row, a_row, b_row, distance in zip(got, a, b, distances, strict=True):
        want = gradient(verb(name), np.asarray(a_row), np.asarray(b_row), "logits", argument)
        want = np.asarray([float(x) for x in want])
        if distance <= FAR and np.linalg.norm(want) > 1e-30:
            assert np.linalg.norm(row - want) <= 2e-6 * np.linalg.norm(want)
            compared += 1
    assert compared > 8


# f' of each generator and f - t f', by t = p/q.
SLOPES = {
    "kl": (lambda t: np.log(t), lambda t: -t),
    "reverse_kl": (lambda t: -1 / t, lambda t: 1 - np.log(t)),
    "js": (lambda t: np.log(2 * t / (1 + t)) / 2, lambda t: np.log(2 / (1 + t)) / 2),
    "squared_hellinger": (lambda t: -1 / np.sqrt(t) / 2, lambda t: -np.sqrt(t) / 2),
    "chi2": (lambda t: 2 * t, lambda t: -(t**2)),
    "le_cam": (lambda t: 1 - 4 / (1 + t) ** 2, lambda t: (1 + 3 * t) * (1 - t) / (1 + t) ** 2),
}


@pytest.mark.parametrize(
    "name", every([*GRADIENTS, "cross_entropy"], [*QUICK_GRADIENTS, "cross_entropy"])
)
@pytest.mark.parametrize("implementation", ["reference", "blocked"])
def test_gradients_of_long_rows(name, implementation):
    """A row of 4096 outcomes none of which is likely, against the formula in float64."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(8, 4096)).astype(np.float32) for _ in range(2))
    function = jd.cross_entropy if name == "cross_entropy" else jd.CATALOGUE[name]

    def total(*logits):
        return function(*map(jd.Logits, logits), implementation=implementation).sum()

    got = jax.jit(jax.grad(total, (0, 1)))(a, b)
    p, q = (np.exp(x.astype(np.float64)) for x in (a, b))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    if name == "cross_entropy":
        slopes = -p * np.log(q), -p
    else:
        by_p, by_q = SLOPES[name]
        slopes = p * by_p(p / q), q * by_q(p / q)
    for value, slope, mass in zip(got, slopes, (p, q), strict=True):
        want = slope - mass * slope.sum(-1, keepdims=True)
        error = np.linalg.norm(value - want, axis=-1) / np.linalg.norm(want, axis=-1)
        assert error.max() <= 2e-6


@pytest.mark.parametrize("name", every(GRADIENTS, QUICK_GRADIENTS))
def test_gradients_with_respect_to_probabilities(name):
    a, b = logit_rows(10, spread=1.0, scales=SCALES[:8])
    p, q = make_probs(a, "float32"), make_probs(b, "float32")
    got = jax.grad(lambda p, q: jd.CATALOGUE[name](p, q).sum(), (0, 1))(p, q)
    for argument, rows in zip("pq", got, strict=True):
        for row, p_row, q_row in zip(np.asarray(rows, np.float64), p, q, strict=True):
            want = gradient(verb(name), np.asarray(p_row), np.asarray(q_row), "probs", argument)
            want = np.asarray([float(x) for x in want])
            assert np.linalg.norm(row - want) <= 2e-6 * np.linalg.norm(want)


@pytest.mark.core
@pytest.mark.parametrize("name", every(NAMES, QUICK))
def test_equal_logits_give_exactly_zero(name):
    equal_inputs_give_exactly_zero(name, jd.Logits, "float32")


@pytest.mark.parametrize("name", every(NAMES, ["kl", "js", "f_divergence"]))
def test_equal_probabilities_give_exactly_zero(name):
    equal_inputs_give_exactly_zero(name, jd.Probs, "float32")


# Low precision becomes float32 before anything else, so that one name says it for all.
@pytest.mark.parametrize("name", ["kl"])
@pytest.mark.parametrize("noun", [jd.Logits, jd.Probs])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_equal_inputs_of_low_precision_give_exactly_zero(name, noun, dtype):
    equal_inputs_give_exactly_zero(name, noun, dtype)


def equal_inputs_give_exactly_zero(name, noun, dtype):
    entry = jd.CATALOGUE[name]
    a, _ = logit_rows(10)
    x = jnp.asarray(a, dtype)
    if noun is jd.Probs:
        x = make_probs(np.asarray(x, np.float64), dtype)

    @jax.jit
    def both(x, y):
        return jax.value_and_grad(lambda *v: entry(*map(noun, v)).sum(), (0, 1))(x, y)

    value, slopes = both(x, x)
    assert value == 0
    assert not any(np.any(np.asarray(slope, np.float32)) for slope in slopes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "chart"),
    [(name, "logits") for name in NAMES]
    + [(name, "probs") for name in NAMES if name not in REPEATS],
)
def test_never_negative(name, chart):
    # 10^6 random pairs, at every perturbation scale.
    entry = jd.CATALOGUE[name]
    noun = jd.Probs if chart == "probs" else jd.Logits
    length = 6

    @jax.jit
    def lowest(key, scale):
        keys = jax.random.split(key, 3)
        a = 3 * jax.random.normal(keys[0], (50_000, length))
        b = a + scale * jax.random.normal(keys[1], a.shape)
        a, b = (a, b) if chart == "logits" else (jax.nn.softmax(a), jax.nn.softmax(b))
        value = entry(noun(a), noun(b))
        return jnp.min(value), jnp.any(jnp.isnan(value))

    for index, scale in enumerate(np.logspace(-8, 2, 20)):
        low, nan = lowest(jax.random.key(index), jnp.float32(scale))
        assert low >= 0
        assert not nan
