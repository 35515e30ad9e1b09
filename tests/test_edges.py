"""The edge contract: cases are rows of one batch, one program for each divergence and mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from conftest import REPEATS, distinct, every
from oracles import ORACLES, from_log_probs, from_logits, from_probs, gradient, ulp_error

NAMES = sorted(jd.CATALOGUE)
INF, NAN = np.inf, np.nan
ORACLE_PARAMETERS = {
    "f_divergence": dict(
        f=lambda t: t * t - 3 * t + 3, derivative_at_one=-1, at_zero=3, slope=float("inf")
    ),
    "bregman": dict(potential=lambda x: x**3, derivative=lambda x: 3 * x * x),
}
TINY = float(np.finfo(np.float32).tiny)
LOWEST = float(np.finfo(np.float32).min)

# (case, p, q): stored probabilities.
PROBS = [
    ("p zero", [0.0, 0.4, 0.6], [0.3, 0.3, 0.4]),
    ("q zero", [0.3, 0.3, 0.4], [0.0, 0.4, 0.6]),
    ("both zero", [0.0, 0.4, 0.6], [0.0, 0.7, 0.3]),
    ("crossed zeros", [0.0, 0.4, 0.6], [0.5, 0.5, 0.0]),
    ("disjoint", [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]),
    ("certain", [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
    ("subnormal", [1e-40, 0.4, 0.6], [0.3, 0.3, 0.4]),
    ("smallest normal", [TINY, 0.4, 0.6], [0.3, 0.3, 0.4]),
    ("all zero", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ("NaN", [NAN, 0.4, 0.6], [0.3, 0.3, 0.4]),
    ("negative", [0.3, 0.3, 0.4], [-0.1, 0.5, 0.6]),
    ("infinite", [0.3, 0.3, 0.4], [INF, 0.5, 0.6]),
    ("ordinary", [0.3, 0.3, 0.4], [0.2, 0.5, 0.3]),
]
LOGITS = [
    ("p -inf", [-INF, 0.4, 0.6], [0.3, 0.3, 0.4]),
    ("q -inf", [0.3, 0.3, 0.4], [-INF, 0.4, 0.6]),
    ("both -inf", [-INF, 0.4, 0.6], [-INF, 1.0, 0.6]),
    ("lowest as a mask", [LOWEST, 0.4, 0.6], [LOWEST, 1.0, 0.6]),
    ("1e4 apart", [1e4, 0.0, 1.0], [0.0, 1.0, 2.0]),
    ("1e4 apart in q", [0.0, 1.0, 2.0], [1e4, 0.0, 1.0]),
    ("1e30", [1e30, 0.0, 0.0], [0.0, 0.5, 0.0]),
    ("float maximum", [3e38, 0.0, 0.0], [0.0, 0.5, 0.0]),
    ("far below", [-300.0, -200.0, -250.0], [-220.0, -200.0, -300.0]),
    ("only -inf", [-INF, -INF, -INF], [0.0, 0.5, 0.0]),
    ("+inf", [0.0, 0.5, 0.0], [INF, 0.5, 0.0]),
    ("NaN", [0.0, 0.5, NAN], [0.1, 0.5, 0.0]),
    ("ordinary", [0.3, 0.3, 0.4], [0.2, 0.5, 0.3]),
]
LOG_PROBS = [
    ("p -inf", [-INF, -0.4, -1.1], [-1.0, -1.0, -1.3]),
    ("q -inf", [-1.0, -1.0, -1.3], [-INF, -0.4, -1.1]),
    ("both -inf", [-INF, -0.4, -1.1], [-INF, -1.0, -0.5]),
    ("both underflow", [-200.0, -0.4, -1.1], [-250.0, -1.0, -0.5]),
    ("far ratio", [-100.0, -0.4, -1.1], [-150.0, -1.0, -0.5]),
    ("p underflows", [-200.0, -0.4, -1.1], [-1.5, -1.0, -0.9]),
    ("q underflows", [-1.5, -1.0, -0.9], [-200.0, -0.4, -1.1]),
    ("NaN", [NAN, -0.4, -1.1], [-1.0, -1.0, -1.3]),
    ("only -inf", [-1.0, -1.0, -1.3], [-INF, -INF, -INF]),
    ("ordinary", [-1.0, -1.0, -1.3], [-1.2, -0.8, -1.3]),
]
TABLES = {
    "probs": (PROBS, jd.Probs, from_probs),
    "logits": (LOGITS, jd.Logits, from_logits),
    "log_probs": (LOG_PROBS, jd.LogProbs, from_log_probs),
}
INVALID = {"NaN", "negative", "infinite", "only -inf", "+inf"}


def batch(table):
    return tuple(jnp.asarray([row[i] for row in table], jnp.float32) for i in (1, 2))


def oracle(name, p, q):
    entry = jd.CATALOGUE[name]
    parameters = ORACLE_PARAMETERS.get(name, entry.parameters)
    return ORACLES[entry.verb.__name__](p, q, **parameters)


def flushed(row):
    return np.where(np.abs(row) < TINY, np.float32(0), row)


@pytest.mark.parametrize("chart", TABLES)
@pytest.mark.parametrize("name", distinct(NAMES))
def test_values(name, chart):
    table, noun, make = TABLES[chart]
    p, q = batch(table)
    got = np.asarray(jd.CATALOGUE[name](noun(p), noun(q)))
    for (case, *_), value, p_row, q_row in zip(table, got, p, q, strict=True):
        if case in INVALID:
            assert np.isnan(value), case
            continue
        if case == "all zero":
            assert value == 0
            continue
        p_row, q_row = (np.asarray(row) for row in (p_row, q_row))
        if chart == "probs":
            p_row, q_row = flushed(p_row), flushed(q_row)
        want = oracle(name, make(p_row), make(q_row))
        if not mpmath_is_nan(want):  # m <= 0: undefined for rows that are not distributions
            assert ulp_error(value, want, "float32") <= 64, (case, value, want)


def mpmath_is_nan(x):
    return x != x


# `make test` sees one of each kind; CI all of them.
QUICK = {"kl", "js", "renyi_2", "total_variation", "f_divergence"}


@pytest.mark.parametrize("chart", TABLES)
@pytest.mark.parametrize("name", every(NAMES, QUICK))
def test_derivatives_are_numbers_where_the_value_is_finite(name, chart):
    table, noun, _ = TABLES[chart]
    p, q = batch(table)
    entry = jd.CATALOGUE[name]

    @jax.jit
    def everything(p, q):
        value, pull = jax.vjp(lambda p, q: entry(noun(p), noun(q)), p, q)
        by_p, by_q = pull(jnp.ones_like(value))
        # A zero tangent moves nothing, whatever infinity it meets.
        still = jax.jvp(lambda p, q: entry(noun(p), noun(q)), (p, q), (0 * p0, 0 * p0))[1]
        moved = jax.jvp(lambda p, q: entry(noun(p), noun(q)), (p, q), (p1, q1))[1]
        return value, by_p, by_q, still, moved

    p0 = jnp.ones_like(p)
    p1, q1 = (
        jnp.asarray(np.random.default_rng(s).normal(size=p.shape), jnp.float32) for s in (0, 1)
    )
    value, by_p, by_q, still, moved = map(np.asarray, everything(p, q))
    for i, (case, *_) in enumerate(table):
        if case in INVALID:
            assert np.isnan(by_p[i]).all() and np.isnan(by_q[i]).all(), case
            continue
        assert not np.isnan(by_p[i]).any(), case
        assert not np.isnan(by_q[i]).any(), case
        assert still[i] == 0, case
        # q^2/p^2 is beyond float32 where q^2/p is not.
        overflows = case == "smallest normal" and np.isinf(value[0])
        if np.isfinite(value[i]) and not overflows:
            assert np.isfinite(by_p[i]).all() and np.isfinite(by_q[i]).all(), case
            # grad and jvp are the same linear map.
            terms = np.concatenate([by_p[i] * p1[i], by_q[i] * q1[i]]).astype(np.float64)
            slack = 1e-5 * np.abs(terms).sum() + 1e-30
            assert abs(moved[i] - terms.sum()) <= slack, case
        if case in ("certain", "all zero"):
            assert value[i] == 0 and not by_p[i].any() and not by_q[i].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n not in REPEATS])
@pytest.mark.parametrize("chart", ["probs", "logits"])
def test_second_derivatives_are_numbers_where_the_first_are_finite(name, chart):
    table, noun, _ = TABLES[chart]
    rows = [row for row in table if row[0] not in INVALID]
    p, q = batch(rows)
    entry = jd.CATALOGUE[name]

    def one(p, q):
        return entry(noun(p), noun(q))

    @jax.jit
    @jax.vmap
    def both(p, q):
        return jax.grad(one, 1)(p, q), jax.hessian(one, 1)(p, q)

    slopes, hessians = map(np.asarray, both(p, q))
    for (case, *_), slope, hessian in zip(rows, slopes, hessians, strict=True):
        if np.isfinite(slope).all():
            assert not np.isnan(hessian).any(), (case, hessian)


GRADIENTS = ["kl", "reverse_kl", "js", "squared_hellinger", "chi2", "le_cam"]


@pytest.mark.core
@pytest.mark.parametrize("chart", ["probs", "logits"])
@pytest.mark.parametrize("name", every(GRADIENTS, ["kl", "js", "chi2"]))
def test_gradients_are_the_contracts(name, chart):
    # The one-sided limit where it is finite or the value is infinite, else 0: written in the
    # oracle from the generators, without the library.
    table, noun, _ = TABLES[chart]
    entry = jd.CATALOGUE[name]
    p, q = batch(table)
    got = jax.grad(lambda p, q: entry(noun(p), noun(q)).sum(), (0, 1))(p, q)
    for (case, *_), *rows in zip(table, *got, p, q, strict=True):
        *slopes, p_row, q_row = (np.asarray(row) for row in rows)
        if case in INVALID or case == "all zero":
            continue
        if chart == "probs":
            p_row, q_row = flushed(p_row), flushed(q_row)
        for argument, slope in zip("pq", slopes, strict=True):
            want = gradient(entry.verb.__name__, p_row, q_row, chart, argument)
            want = np.asarray([float(x) for x in want])
            finite = np.isfinite(want)
            # Beyond float32 an infinity is right.
            large = np.abs(want) > np.finfo(np.float32).max
            np.testing.assert_array_equal(
                np.sign(slope[~finite | large]), np.sign(want[~finite | large]), case
            )
            assert np.isinf(slope[~finite | large]).all(), (case, slope, want)
            keep = finite & ~large
            scale = np.abs(want[keep]).max(initial=0)
            np.testing.assert_allclose(
                slope[keep], want[keep], rtol=2e-6, atol=2e-6 * scale + 1e-37, err_msg=case
            )


@pytest.mark.parametrize("name", every([n for n in NAMES if n != "chernoff"], ["kl"]))
def test_a_mask_is_leaving_out(name):
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(2, 5)), jnp.float32) for _ in range(2))
    mask = jnp.asarray([[True, False, True, True, False], [False] * 5])
    kept = jnp.asarray([0, 2, 3])
    entry = jd.CATALOGUE[name]
    for noun in (jd.Logits, jd.Probs):
        x, y = (a, b) if noun is jd.Logits else (jnp.exp(a), jnp.exp(b))
        x, y = x.at[0, 1].set(jnp.nan), y.at[0, 4].set(-jnp.inf)  # masked: never seen

        @jax.jit
        def both(y, noun=noun, x=x):
            value, pull = jax.vjp(lambda y: entry(noun(x), noun(y), where=mask), y)
            return value, *pull(jnp.ones_like(value))

        value, slope = both(y)
        want = entry(noun(x[0, kept]), noun(y[0, kept]))
        assert want != want or value[0] == pytest.approx(float(want), rel=1e-5)
        assert value[1] == 0
        assert not np.any(np.asarray(slope)[~np.asarray(mask)])


@pytest.mark.parametrize("name", every(NAMES, QUICK))
def test_shapes_at_their_smallest(name):
    entry = jd.CATALOGUE[name]
    a = jnp.asarray([[0.3], [7.0]], jnp.float32)
    value, slope = jax.vmap(jax.value_and_grad(lambda a, b: entry(jd.Logits(a), jd.Logits(b))))(
        a, a + 1
    )
    assert not value.any() and not slope.any()
    empty = jnp.zeros((0, 4))
    assert entry(empty, empty).shape == (0,)
    assert jax.grad(lambda x: entry(x, empty).sum())(empty).shape == (0, 4)


@pytest.mark.parametrize(
    "verb, bad",
    [
        (jd.alpha_divergence, jnp.inf),
        (jd.renyi_divergence, -0.5),
        (jd.tsallis_divergence, 0.0),
        (jd.js_divergence, 1.0),
        (jd.skew_kl_divergence, 1.5),
    ],
)
def test_a_traced_parameter_outside_its_domain_gives_nan(verb, bad):
    p, q = jnp.asarray([0.2, 0.8]), jnp.asarray([0.3, 0.7])
    got = jax.jit(jax.vmap(lambda x: verb(p, q, x)))(jnp.asarray([0.5, bad]))
    assert np.isfinite(got[0]) and np.isnan(got[1])
    with pytest.raises(ValueError, match=r"(alpha|weight|skew) must be"):
        verb(p, q, float(bad))


def test_labels_out_of_range():
    z = jnp.zeros((3, 4))
    with pytest.raises(ValueError, match=r"p\.labels must be in \[0, 4\), but 4 is among them"):
        jd.kl_divergence(jd.Labels(jnp.asarray([0, 4, 1])), jd.Logits(z))
    f = jax.jit(lambda y, z: jd.kl_divergence(jd.Labels(y), jd.Logits(z)))
    labels = jnp.asarray([0, 4, -1])
    got = f(labels, z)
    np.testing.assert_array_equal(np.isnan(got), [False, True, True])
    slope = jax.grad(lambda z: f(labels, z).sum())(z)
    np.testing.assert_array_equal(np.isnan(slope).all(-1), [False, True, True])


P = np.full(3, 1 / 3, np.float32)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: jd.kl_divergence(np.zeros((2, 0)), np.zeros((2, 0))), ValueError, "not be empty"),
        (lambda: jd.kl_divergence(P, P[:2]), ValueError, "p has 3, q has 2"),
        (lambda: jd.kl_divergence(np.ones((2, 3)), np.ones((4, 3))), ValueError, "broadcast"),
        (lambda: jd.kl_divergence(P, P, axis=1), ValueError, r"axis must be in \[-1, 1\)"),
        (lambda: jd.kl_divergence(P, P, axis=0.5), TypeError, "axis must be an integer"),
        (lambda: jd.kl_divergence(0.5, P), ValueError, "p must have at least one axis"),
        (lambda: jd.kl_divergence(P > 0, P), TypeError, "p must be numbers.*bool"),
        (lambda: jd.kl_divergence(P, "text"), TypeError, "q must be numbers"),
        (lambda: jd.kl_divergence(P, P * 1j), TypeError, "q must be real.*complex"),
        (lambda: jd.kl_divergence([[1.0], [0.5, 0.5]], P), ValueError, "p must be an array.*rag"),
        (lambda: jd.kl_divergence(P, P, where=P), TypeError, "where must be booleans"),
        (lambda: jd.kl_divergence(P, P, where=np.ones(4, bool)), ValueError, "where must bro"),
        (lambda: jd.kl_divergence(P, P, base=1), ValueError, "base must be positive"),
        (lambda: jd.kl_divergence(P, P, base=-2), ValueError, "base must be positive"),
        (lambda: jd.kl_divergence(P, P, base="2"), TypeError, "base must be a number"),
        (lambda: jd.total_variation(P, P, base=2), TypeError, "takes no base"),
        (lambda: jd.kl_divergence(P, P, implementation="fast"), ValueError, "'fast'"),
        (lambda: jd.kl_divergence(jd.Labels(1), jd.Labels(2)), ValueError, "num_classes"),
        (lambda: jd.kl_divergence(jd.Labels(1.0), P), TypeError, "p.labels must be integer"),
        (lambda: jd.kl_divergence(jd.Labels(1, 4), P), ValueError, "p has 4, q has 3"),
        (lambda: jd.kl_divergence(jd.Labels(1, smoothing=2), P), ValueError, "p.smoothing"),
        (lambda: jd.kl_divergence(jd.Labels(1, -3), P), ValueError, "p.num_classes"),
        (lambda: jd.kl_divergence(jd.Logits(P, 0.0), P), ValueError, "p.logits|p.temperature"),
        (lambda: jd.kl_divergence(jd.Logits(P, P), P), ValueError, "temperature must be a scalar"),
        (lambda: jd.renyi_divergence(P, P, "1"), TypeError, "alpha must be a real scalar"),
        (lambda: jd.f_divergence(P, P, 3), TypeError, "f must be a function"),
        (lambda: jd.bregman_divergence(P, P, None), TypeError, "potential must be a function"),
        (lambda: jd.f_divergence(P, P, lambda t: jnp.stack([t, t])), ValueError, "scalar"),
        (lambda: jd.mutual_information(P), ValueError, "joint must have at least two axes"),
        (lambda: jd.mutual_information(np.eye(2), (0, 0)), ValueError, "two different axes"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
