"""Nouns on either side, axes, dtypes, smoothing, bases, and the information measures."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from oracles import ORACLES, from_labels, from_log_probs, from_logits, from_probs, ulp_error

A = np.asarray([-1.0, 0.5, 0.25, 2.0], np.float32)
B = np.asarray([0.75, -0.25, 1.0, 0.0], np.float32)
LABEL, SMOOTHING, TEMPERATURE = 2, 0.125, 0.5


def softmax(x):
    return (np.exp(x) / np.exp(x).sum()).astype(np.float32)


def log_softmax(x):
    return np.log(softmax(x))


# A noun and what the oracle reads, of the same stored numbers.
NOUNS = {
    "plain array": (softmax, lambda x: from_probs(softmax(x))),
    "Probs": (lambda x: jd.Probs(softmax(x)), lambda x: from_probs(softmax(x))),
    "LogProbs": (lambda x: jd.LogProbs(log_softmax(x)), lambda x: from_log_probs(log_softmax(x))),
    "Logits": (jd.Logits, from_logits),
    "Logits at a temperature": (
        lambda x: jd.Logits(x, TEMPERATURE),
        lambda x: from_logits(x, TEMPERATURE),
    ),
    "Labels": (lambda x: jd.Labels(LABEL, len(x)), lambda x: from_labels(LABEL, len(x))),
    "smoothed Labels": (
        lambda x: jd.Labels(LABEL, len(x), SMOOTHING),
        lambda x: from_labels(LABEL, len(x), SMOOTHING),
    ),
}

# The order that the other half of the pairs has is left to the slow tests.
PAIRS = [
    pytest.param(left, right, marks=() if i <= j else pytest.mark.slow)
    for i, left in enumerate(NOUNS)
    for j, right in enumerate(NOUNS)
]
MEAN_OVER = ("Probs", "smoothed Labels")  # cross-entropy is not compiled for every pair


def close(got, want, tolerance=1e-5):
    got = float(got)
    return got == want or abs(got - want) <= tolerance * (1 + abs(want))


@pytest.mark.core
@pytest.mark.parametrize("left, right", PAIRS)
def test_any_noun_on_either_side(left, right):
    (p, row_p), (q, row_q) = NOUNS[left], NOUNS[right]
    verbs = (jd.kl_divergence, jd.cross_entropy) if left in MEAN_OVER else (jd.kl_divergence,)
    for verb in verbs:
        got = verb(p(A), q(B))
        want = ORACLES[verb.__name__](row_p(A), row_q(B))
        assert got.shape == () and got.dtype == jnp.float32
        assert close(got, want), (verb.__name__, got, want)


@pytest.mark.core
@pytest.mark.parametrize("noun", NOUNS)
def test_information_of_one_noun(noun):
    p, row = NOUNS[noun]
    for name in ("entropy", "perplexity"):
        got, want = getattr(jd, name)(p(A)), ORACLES[name](row(A))
        assert close(got, want), (name, got, want)
    got, want = jd.self_information(p(A)), ORACLES["self_information"](row(A))
    assert got.shape == (4,)
    assert all(close(x, y) for x, y in zip(got, want, strict=True)), (got, want)


def test_nouns_pass_through_transformations():
    nouns = (jd.Logits(A, 2.0), jd.LogProbs(log_softmax(B)))
    want = jd.kl_divergence(*nouns)
    np.testing.assert_allclose(jax.jit(jd.kl_divergence)(*nouns), want, rtol=1e-6)
    slopes = jax.grad(jd.kl_divergence, (0, 1))(*nouns)
    assert isinstance(slopes[0], jd.Logits) and slopes[0].logits.shape == (4,)
    assert isinstance(slopes[1], jd.LogProbs)
    step = 1e-2
    rise = jd.kl_divergence(jd.Logits(A, 2 + step), nouns[1])
    fall = jd.kl_divergence(jd.Logits(A, 2 - step), nouns[1])
    np.testing.assert_allclose(slopes[0].temperature, (rise - fall) / (2 * step), rtol=1e-3)
    rows = jnp.stack([A, B])
    mapped = jax.vmap(lambda x: jd.kl_divergence(jd.Logits(x), nouns[1]))(rows)
    np.testing.assert_allclose(mapped, jd.kl_divergence(jd.Logits(rows), nouns[1]), rtol=1e-6)


# Shapes and axes -------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize(
    "axis", [-2, 2, *(pytest.param(x, marks=pytest.mark.slow) for x in (-3, 1))]
)
def test_axis_counts_from_either_end(axis):
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    y = x[::-1] * 0.5
    mask = np.arange(5) < 4
    got = jd.kl_divergence(jd.Logits(x), jd.Logits(y), axis=axis, where=(x < 1) & mask)
    moved = (jd.Logits(np.moveaxis(v, axis, -1)) for v in (x, y))
    want = jd.kl_divergence(*moved, where=np.moveaxis((x < 1) & mask, axis, -1))
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert jd.self_information(jd.Logits(x), axis=axis).shape == x.shape


@pytest.mark.parametrize(
    "shape_p, shape_q, shape",
    [
        ((4,), (4,), ()),
        ((4,), (3, 4), (3,)),
        ((2, 1, 4), (3, 4), (2, 3)),
        ((2, 1, 4), (4,), (2, 1)),
        ((1, 3, 4), (2, 1, 4), (2, 3)),
        ((0, 4), (1, 4), (0,)),
    ],
)
def test_batches_broadcast_like_numpy(shape_p, shape_q, shape):
    rng = np.random.default_rng(1)
    p, q = (rng.normal(size=s).astype(np.float32) for s in (shape_p, shape_q))
    got = jd.kl_divergence(jd.Logits(p), jd.LogProbs(q))
    assert got.shape == shape
    wide = (np.broadcast_to(x, (*shape, 4)) for x in (p, q))
    wide_p, wide_q = wide
    np.testing.assert_allclose(
        got, jd.kl_divergence(jd.Logits(wide_p), jd.LogProbs(wide_q)), rtol=1e-6
    )
    back = jd.kl_divergence(jd.LogProbs(q), jd.Logits(p))
    assert back.shape == shape


@pytest.mark.core
@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
def test_labels_get_their_axis_where_the_verb_says(axis):
    labels = np.asarray([[0, 3, 1], [2, 2, 0]])
    z = np.random.default_rng(2).normal(size=(2, 3, 4)).astype(np.float32)
    moved = np.moveaxis(z, -1, axis)
    got = jd.cross_entropy(jd.Labels(labels), jd.Logits(moved), axis=axis)
    want = -np.take_along_axis(np.asarray(jax.nn.log_softmax(z)), labels[..., None], -1)[..., 0]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_labels_broadcast_and_learn_their_classes_from_the_other_side():
    z = np.stack([A, B])
    got = jd.kl_divergence(jd.Labels(np.asarray([[0], [3], [1]])), jd.Logits(z))
    assert got.shape == (3, 2)
    for i, label in enumerate((0, 3, 1)):
        for j in range(2):
            want = ORACLES["kl_divergence"](from_labels(label, 4), from_logits(z[j]))
            assert close(got[i, j], want)


def test_smoothing_spreads_over_unmasked_classes():
    mask = np.asarray([True, True, False, True])
    labels = jd.Labels(np.asarray([1, 0]), smoothing=0.25)
    got = jd.cross_entropy(labels, jd.Logits(A), where=mask)
    kept = from_logits(A[mask])
    for value, label in zip(got, (1, 0), strict=True):
        want = ORACLES["cross_entropy"](from_labels(label, 3, 0.25), kept)
        assert close(value, want)
    uniform = jd.kl_divergence(jd.Labels(0, 4, 1.0), np.full(4, 0.25, np.float32))
    assert uniform == 0


# Dtypes ----------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_low_precision_is_computed_in_float32(dtype):
    a, b = jnp.asarray(A, dtype), jnp.asarray(B, dtype)
    got, slope = jax.value_and_grad(lambda a: jd.kl_divergence(jd.Logits(a), jd.Logits(b)))(a)
    want = ORACLES["kl_divergence"](from_logits(np.asarray(a)), from_logits(np.asarray(b)))
    assert got.dtype == jnp.float32 and slope.dtype == dtype
    assert ulp_error(got, want, "float32") <= 16
    mixed = jd.kl_divergence(jd.Logits(a), jd.Logits(B))
    assert mixed.dtype == jnp.float32


@pytest.mark.core
@pytest.mark.usefixtures("x64")
def test_float64_stays_float64():
    a, b = A.astype(np.float64), B.astype(np.float64) + 1e-12
    got = jd.kl_divergence(jd.Logits(a), jd.Logits(b))
    assert got.dtype == jnp.float64
    want = ORACLES["kl_divergence"](from_logits(a), from_logits(b))
    assert ulp_error(got, want, "float64") <= 16
    assert jd.kl_divergence(jd.Logits(A), jd.Logits(b)).dtype == jnp.float64
    assert jd.kl_divergence(jd.Logits(A), jd.Logits(B)).dtype == jnp.float32
    assert jd.kl_divergence(np.asarray([1, 3]), np.asarray([2, 2])).dtype == jnp.float64
    for measure in (jd.mutual_information, jd.conditional_entropy, jd.joint_entropy):
        assert measure(np.asarray([[0.5, 0.125], [0.125, 0.25]])).dtype == jnp.float64


def test_integers_count_as_unnormalised_floats():
    counts, others = np.asarray([1, 0, 3]), np.asarray([2, 1, 2])
    got = jd.kl_divergence(counts, others)
    want = ORACLES["kl_divergence"](*(from_probs(x.astype(np.float32)) for x in (counts, others)))
    assert got.dtype == jnp.float32
    assert ulp_error(got, want, "float32") <= 16
    np.testing.assert_array_equal(jd.kl_divergence(counts.tolist(), others.tolist()), got)


# Bases -----------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize(
    "base", [2, 0.5, *(pytest.param(x, marks=pytest.mark.slow) for x in (math.e, 10))]
)
def test_bases(base):
    p, q = softmax(A), softmax(B)
    rows = from_probs(p), from_probs(q)
    log_base = mpmath.log(base)
    for name in ("kl_divergence", "jeffreys_divergence", "js_divergence", "bhattacharyya_distance"):
        got = getattr(jd, name)(p, q, base=base)
        assert close(got, ORACLES[name](*rows) / log_base), name
    assert close(jd.renyi_divergence(p, q, 2.0, base=base), ORACLES["renyi_divergence"](
        *rows, alpha=2.0) / log_base)  # fmt: skip
    assert close(jd.entropy(p, base=base), ORACLES["entropy"](rows[0]) / log_base)
    assert close(jd.cross_entropy(p, q, base=base), ORACLES["cross_entropy"](*rows) / log_base)
    bits = [x / log_base for x in ORACLES["self_information"](rows[0])]
    got = jd.self_information(p, base=base)
    assert all(close(x, y) for x, y in zip(got, bits, strict=True))
    if base < 1:
        with pytest.raises(ValueError, match="base must be above 1 for a distance"):
            jd.js_distance(p, q, base=base)
    else:
        want = mpmath.sqrt(ORACLES["js_divergence"](*rows) / log_base)
        assert close(jd.js_distance(p, q, base=base), want)


def test_known_values_in_bits():
    bits = jd.entropy(np.full(8, 0.125, np.float32), base=2)
    assert bits == pytest.approx(3, rel=1e-6)
    assert jd.perplexity(np.full(8, 0.125, np.float32)) == pytest.approx(8, rel=1e-6)
    certain = np.asarray([1.0, 0.0], np.float32)
    assert jd.entropy(certain) == 0
    assert jd.js_divergence(certain, certain[::-1], base=2) == pytest.approx(1, rel=1e-6)


# Information -----------------------------------------------------------------------------------


TABLE = np.asarray([[0.25, 0.0, 0.125], [0.0625, 0.3125, 0.25]], np.float32)


@pytest.mark.core
@pytest.mark.parametrize("name", ["mutual_information", "conditional_entropy", "joint_entropy"])
def test_information_of_a_table(name):
    measure, oracle = getattr(jd, name), ORACLES[name]
    want, swapped = oracle(from_probs(TABLE)), oracle(from_probs(TABLE.T))
    assert close(measure(TABLE), want)
    assert close(measure(TABLE, (1, 0)), swapped)
    assert close(measure(TABLE, (-1, -2)), swapped)
    assert close(measure(TABLE, base=2), want / mpmath.log(2))
    with np.errstate(divide="ignore"):
        logs = np.log(TABLE)
    assert close(measure(jd.LogProbs(logs)), want)
    assert close(measure(jd.Logits(logs + 5)), want)
    batch = np.moveaxis(np.stack([TABLE, TABLE[:, ::-1], TABLE]), 0, 1)
    got = measure(batch, (0, 2))
    assert got.shape == (3,)
    assert all(close(x, want) for x in got)
    hidden = np.where(np.arange(3) < 2, TABLE, 7).astype(np.float32)
    masked = measure(hidden, where=np.broadcast_to(np.arange(3) < 2, TABLE.shape))
    assert close(masked, oracle(from_probs(TABLE[:, :2])))


def test_information_identities():
    joint, x, y = TABLE, TABLE.sum(1), TABLE.sum(0)
    both, given = jd.joint_entropy(joint), jd.conditional_entropy(joint)
    mutual = jd.mutual_information(joint)
    np.testing.assert_allclose(both, jd.entropy(y) + given, rtol=1e-6)
    np.testing.assert_allclose(mutual, jd.entropy(x) - given, rtol=1e-5)
    np.testing.assert_allclose(mutual, jd.mutual_information(joint.T), rtol=1e-6)
    assert 0 <= jd.mutual_information(np.outer(x, y)) <= 1e-12
    assert jd.mutual_information(np.zeros((2, 2), np.float32)) == 0
    slope = jax.grad(jd.mutual_information)(jnp.asarray(TABLE) + 0.125)
    assert np.isfinite(slope).all()


def test_cross_entropy_is_entropy_and_kl():
    p, q = softmax(A), softmax(B)
    kl = jd.cross_entropy(p, q) - jd.entropy(p) - p.sum() + q.sum()
    np.testing.assert_allclose(kl, jd.kl_divergence(p, q), rtol=1e-5)
    np.testing.assert_allclose(jd.perplexity(p, q), np.exp(jd.cross_entropy(p, q)), rtol=1e-6)
    zero = np.asarray([0.5, 0.5, 0.0], np.float32)
    assert jd.cross_entropy(zero[[2, 0, 1]], zero) == np.inf
    np.testing.assert_allclose(jd.cross_entropy(zero, np.full(3, 1 / 3)), math.log(3), rtol=1e-6)
    np.testing.assert_array_equal(np.isinf(jd.self_information(zero)), [False, False, True])
    masked = jd.self_information(zero, where=np.asarray([True, False, False]))
    np.testing.assert_allclose(masked, [math.log(2), 0, 0], rtol=1e-6)


def test_multi_label_cross_entropy_is_a_sum_over_two_outcomes():
    y, z = np.asarray([1.0, 0.0, 0.25], np.float32), A[:3]
    pairs = np.stack([1 - y, y], -1), np.stack([0 * z, z], -1)
    got = jd.cross_entropy(jd.Probs(pairs[0]), jd.Logits(pairs[1]))
    want = np.logaddexp(0, z) - y * z
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_known_labels_inside_a_jitted_function():
    labels = jnp.asarray([0, 2, 1])
    f = jax.jit(lambda z: jd.kl_divergence(jd.Labels(labels), jd.Logits(z)))
    np.testing.assert_allclose(f(jnp.zeros((3, 4))), np.log(4), rtol=1e-6)
    labels += 2
    with pytest.raises(ValueError, match="4 is among them"):
        f(jnp.zeros((2, 3, 4)))
