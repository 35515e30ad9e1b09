"""Enclosures contain what flint computes, proofs prove what is true, and kinks fool nobody."""

import functools
import math

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from jax import lax

from bench import soundness
from conftest import every
from jaxdiv.verification.interval import Interval, at_least, convex, enclose, inlined, smooth

QUICK = {
    "float32": "add mul div sqrt exp log tanh sin cbrt x^3 x^-2 (erf x)″".split(),
    "float64": "sub pow log1p expm1 atanh x^10 (t^1.7)″ (Jensen–Shannon)″".split(),
}


def _cases():
    for dtype in soundness.DTYPES:
        for name in soundness.CASES:
            marks = () if name in QUICK[dtype] else pytest.mark.slow
            yield pytest.param(name, dtype, marks=marks)


quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def box(lower, upper, dtype=np.float64):
    return Interval(np.asarray(lower, dtype), np.asarray(upper, dtype))


def is_box(result, lower, upper):
    return float(result.lower) == lower and float(result.upper) == upper


def inside(result, value):
    return bool(arb(float(result.lower)) <= value <= arb(float(result.upper)))


@pytest.fixture(autouse=True)
def _standard_promotion():
    # The functions under test are users', who write them under JAX's defaults.
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        flint.ctx.workprec(200),
    ):
        yield


@pytest.mark.core
def test_no_violation_in_x_squared_plus_x():
    for dtype in soundness.DTYPES:
        found = soundness.examine("x² + x", 300, dtype)
        assert (found["violations"], found["boxes"], found["unbounded"]) == (0, 300, 0)


# --- enclosures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name, dtype", list(_cases()))
def test_enclosures_contain_the_values(name, dtype):
    found = soundness.examine(name, 400, dtype, seed=1)
    assert found["violations"] == 0, found["example"]
    assert found["points"] > 100  # most boxes lie in the domain


@pytest.mark.usefixtures("x64")
def test_enclosures_are_narrow():
    x = np.float64(0.7)
    for f in (jnp.exp, jnp.log, jnp.sqrt, jnp.sin, jnp.tanh, jnp.square):
        result = enclose(f, Interval(x, x))
        assert float(result.upper - result.lower) <= 64 * 2.0**-53 * abs(float(result.upper))


@pytest.mark.core
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strict_promotion_and_both_dtypes(dtype):
    with (
        jax.enable_x64(dtype == np.float64),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        x = Interval(jnp.asarray([0.5, 1.5], dtype), jnp.asarray([1, 2], dtype))
        f = jax.vmap(jax.grad(lambda t: t * jnp.log(t) + jnp.sqrt(t) ** 3 / 2 - 2.5**t))
        result = jax.jit(lambda x: enclose(f, x))(x)
        assert result.lower.dtype == dtype
        value = f(jnp.asarray([0.7, 1.7], dtype))
        assert ((result.lower < value) & (value < result.upper)).all()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "f, low, high, expected",
    [
        (jnp.log, 0.0, 1.0, (-math.inf, 0.0)),
        (jnp.log, -1.0, 1.0, (-math.inf, math.inf)),
        (jnp.sqrt, -1e-3, 1.0, (-math.inf, math.inf)),
        (jnp.sqrt, 0.0, 4.0, (0.0, 2.0)),
        (lambda x: 1 / x, -1.0, 1.0, (-math.inf, math.inf)),
        (lambda x: 1 / x, 0.0, 2.0, (0.5, math.inf)),
        (lambda x: 1 / x, -2.0, 0.0, (-math.inf, -0.5)),
        (lambda x: -1 / x, 0.0, 2.0, (-math.inf, -0.5)),
        (lambda x: x / (x - x), 1.0, 2.0, (-math.inf, math.inf)),
        (lambda x: x**2, -1.0, 2.0, (0.0, 4.0)),
        (lambda x: x**4, -2.0, 1.0, (0.0, 16.0)),
        (lambda x: x**3, -2.0, 1.0, (-8.0, 1.0)),
        (lambda x: x**-2, -1.0, 2.0, (0.25, math.inf)),
        (lambda x: x**0.5, 0.0, 4.0, (0.0, 2.0)),
        (lambda x: x**1.5, -1.0, 4.0, (-math.inf, math.inf)),
        (jnp.exp, 0.0, math.inf, (1.0, math.inf)),
        (jnp.exp, -math.inf, 0.0, (0.0, 1.0)),
        (jnp.exp, 700.0, 800.0, (math.exp(700), math.inf)),
        (jnp.exp, 800.0, 801.0, (2.0**1022, math.inf)),
        (jnp.sin, 1.0, 2.0, (math.sin(1), 1.0)),
        (jnp.sin, 0.0, 7.0, (-1.0, 1.0)),
        (jnp.sin, 1e300, 1e300, (-1.0, 1.0)),
        (jnp.cos, 3.0, 4.0, (-1.0, math.cos(4))),
        (jnp.tan, 1.0, 2.0, (-math.inf, math.inf)),
        (jnp.abs, -3.0, 2.0, (0.0, 3.0)),
        (jnp.sign, -3.0, 2.0, (-1.0, 1.0)),
        (jnp.floor, -0.5, 2.5, (-1.0, 2.0)),
        (lambda x: jnp.maximum(x, 0.5), -3.0, 2.0, (0.5, 2.0)),
        (lambda x: jnp.clip(x, 0, 1), -3.0, 0.5, (0.0, 0.5)),
        (lambda x: jnp.where(x > 0, x, 5.0), 1.0, 2.0, (1.0, 2.0)),
        (lambda x: jnp.where(x > 0, x, 5.0), -1.0, 2.0, (-1.0, 5.0)),
        (lambda x: jnp.where((x > 0) & (x < 9), x, 5.0), 1.0, 2.0, (1.0, 2.0)),
        (lambda x: jnp.where(x == x, x, 5.0), 1.0, 2.0, (1.0, 2.0)),
        (lambda x: jnp.where(jnp.isfinite(x), x, 5.0), 1.0, 2.0, (1.0, 2.0)),
        (lambda x: (x > 0).astype(float), -1.0, 2.0, (0.0, 1.0)),
        (lambda x: x * 1e308, 1.0, 10.0, (1e308, math.inf)),
        (lambda x: x * 0.0, -math.inf, math.inf, (0.0, 0.0)),
        (lambda x: x - x, -math.inf, math.inf, (-math.inf, math.inf)),
        (lambda x: x * 1e-300 * 1e-300, 1.0, 2.0, (0.0, 2.2250738585072014e-308)),
        (lambda x: x * math.nan, 1.0, 2.0, (-math.inf, math.inf)),
        (lambda x: jnp.arctan2(x, -1.0), -1.0, 1.0, (-math.pi, math.pi)),
    ],
)
def test_ends(f, low, high, expected):
    result = enclose(f, box(low, high))
    for end, wanted, sign in zip(result, expected, (-1, 1), strict=True):
        if math.isinf(wanted):
            assert end == wanted
        else:
            assert 0 <= sign * (float(end) - wanted) <= 1e-13 * abs(wanted) + 3e-306


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_division_by_constants(dtype):
    # XLA turns them into multiplications, and the reciprocal of a large one is subnormal.
    info = np.finfo(dtype)
    x = np.array([info.max, 1, -3.7, info.tiny, info.max / 3], dtype)
    constants = [info.max, info.max / 2, info.max / 9, info.max / 33, info.tiny, 3.7]
    constants = [dtype(c) for c in constants]
    constants += [np.full(5, c, dtype) for c in constants[:2]]
    with jax.enable_x64(dtype == np.float64):
        divide = jax.jit(lambda x: enclose(lambda t: [t / c for c in constants], Interval(x, x)))
        results = divide(x)
    for c, found in zip(constants, results, strict=True):
        for i, number in enumerate(x):
            exact = arb(float(number)) / arb(float(np.min(c)))
            assert inside(Interval(found.lower[i], found.upper[i]), exact)


@pytest.mark.usefixtures("x64")
def test_subnormal_ends_move_outward():
    low, high = 5e-324, 1e-310  # read as 0 by XLA
    result = enclose(lambda x: x, box(low, high))
    assert result.lower <= 0 and result.upper >= 2.2250738585072014e-308
    assert enclose(lambda x: 1 / x, box(low, high)).upper == math.inf
    assert enclose(lambda x: x * 1e-310, box(1, 2)).upper > 0


def test_one_shape_many_boxes_in_and_out_of_transformations():
    x = Interval(jnp.linspace(1, 2, 6).reshape(2, 3), jnp.linspace(1.1, 2.1, 6).reshape(2, 3))

    def f(t):
        return jnp.log(t) * t

    plain = enclose(f, x)
    assert plain.lower.shape == (2, 3)
    np.testing.assert_array_equal(plain, jax.jit(functools.partial(enclose, f))(x))
    np.testing.assert_array_equal(plain, jax.vmap(functools.partial(enclose, f))(x))
    looped = lax.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, enclose(f, s[1])), (0, x))[1]
    np.testing.assert_array_equal(plain, looped)


@pytest.mark.usefixtures("x64")
def test_sums_products_and_shapes():
    random = np.random.default_rng(0)
    x = random.standard_normal((5, 37)) * np.exp2(random.uniform(-40, 40, (5, 37)))
    y = random.standard_normal((37, 3))
    functions = {
        "sum": (lambda x: x.sum(1), lambda i: sum(map(arb, x[i]), arb(0)), 5),
        "mean": (lambda x: x.mean(1), lambda i: sum(map(arb, x[i]), arb(0)) / 37, 5),
        "cumsum": (
            lambda x: jnp.cumsum(x, 1)[:, 20],
            lambda i: sum(map(arb, x[i, :21]), arb(0)),
            5,
        ),
        "dot": (
            lambda x: (x @ y)[:, 1],
            lambda i: sum((arb(a) * arb(b) for a, b in zip(x[i], y[:, 1], strict=True)), arb(0)),
            5,
        ),
        "max": (lambda x: jnp.flip(x, 0).T.max(0)[::-1], lambda i: arb(max(x[i])), 5),
        "prod": (
            lambda x: jnp.prod(x[:, :9], 1),
            lambda i: functools.reduce(lambda a, b: a * b, map(arb, x[i, :9])),
            5,
        ),
        "concatenate": (
            lambda x: jnp.concatenate([x[:1, 3], jnp.pad(x, 1)[2:, 4]]),
            lambda i: arb(x[i, 3]) if i < 5 else arb(0),
            6,
        ),
        "softmax": (
            lambda x: jax.nn.softmax(jnp.clip(x, -20, 20), axis=1)[:, 0],
            lambda i: (c := [arb(v).exp() for v in np.clip(x[i], -20, 20)])[0] / sum(c, arb(0)),
            5,
        ),
    }
    enclosed = quickly(
        lambda x: enclose(lambda x: [f(x) for f, *_ in functions.values()], Interval(x, x))
    )
    for result, (name, (_, oracle, n)) in zip(enclosed(x), functions.items(), strict=True):
        assert result.lower.shape == (n,), name
        for i in range(n):
            ends = Interval(result.lower[i], result.upper[i])
            assert inside(ends, oracle(i)) or name == "max", name
            assert name != "max" or ends.lower == ends.upper == max(x[i])
            assert ends.upper - ends.lower < 1e-10 * max(1, abs(ends.upper)) * 2.0**45


@pytest.mark.usefixtures("x64")
def test_control_flow():
    x = box(1.5, 1.75)
    power = enclose(lambda t: lax.fori_loop(0, 5, lambda _, s: s * t, t), x)
    assert power.lower <= 1.5**6 and 1.75**6 <= power.upper < 1.75**6 * (1 + 1e-14)
    while_loop = enclose(
        lambda t: lax.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, s[1] * t), (0, t))[1], x
    )
    assert is_box(while_loop, *power)
    total = enclose(lambda t: lax.scan(lambda c, y: (c + y * t, c), 0.0, jnp.arange(4.0))[0], x)
    assert total.lower <= 9 and 10.5 <= total.upper < 10.6

    def two_sided(t):
        return lax.cond(t > 1.6, lambda t: t, lambda t: -t, t)

    assert is_box(enclose(two_sided, x), -1.75, 1.75)
    assert is_box(enclose(two_sided, box(1.7, 1.75)), 1.7, 1.75)
    assert not smooth(two_sided, x) and smooth(two_sided, box(1.7, 1.75))
    with pytest.raises(NotImplementedError, match="while_loop"):
        enclose(lambda t: lax.while_loop(lambda s: s < 3, lambda s: s * t, t), x)


@pytest.mark.usefixtures("x64")
def test_constants_stand_for_what_was_written():
    # 1/3 and 2/sqrt(pi) in derivative rules are rounded, as is what JAX computes from literals.
    x = box(1.0, 1.0)
    root = enclose(jax.grad(jnp.cbrt), x)
    assert root.lower < root.upper and inside(root, arb(1) / 3)
    assert inside(enclose(lambda t: t + jnp.log(2.0), x), 1 + arb(2).log())
    with jax.enable_x64(False):
        tenth = enclose(lambda t: t + 0.1, box(1, 1, np.float32))
    assert inside(tenth, 1 + arb(1) / 10) and inside(tenth, 1 + arb(float(np.float32(0.1))))
    assert is_box(enclose(lambda t, c: t + c, box(1, 2), 0.0), 1, 2)


@pytest.mark.core
@pytest.mark.parametrize(
    "f, primitive",
    [
        (lambda t: jnp.fft.rfft(jnp.stack([t, t])).real[0], "fft"),
        (lambda t: jnp.sort(jnp.stack([t, 2 * t]))[0], "sort"),
        (lambda t: lax.bitcast_convert_type(t, jnp.int32).astype(jnp.float32), "bitcast"),
        (lambda t: lax.nextafter(t, 2 * t), "nextafter"),
        (lambda t: lax.lgamma(t), "lgamma"),
        (lambda t: jnp.floor(t).astype(int) * 2.0, "convert_element_type"),
        (lambda t: t.astype(jnp.bfloat16).astype(jnp.float32), "bfloat16"),
        (
            lambda t: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), jnp.float32), t),
            "pure_callback",
        ),
    ],
)
def test_no_rule_no_answer(f, primitive):
    x = box(1, 2, np.float32)
    for ask in (enclose, smooth):
        with pytest.raises(NotImplementedError, match=primitive):
            ask(f, x)


def test_a_primitive_is_known_by_itself_not_by_its_name():
    fake = jax.extend.core.Primitive("exp")
    fake.def_impl(lambda x: x)
    fake.def_abstract_eval(lambda x: x)
    with pytest.raises(NotImplementedError, match="exp"):
        enclose(fake.bind, box(1, 2, np.float32))


# --- smoothness and derivatives ------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "f",
    [
        lambda t: jnp.abs(t - 1),
        lambda t: jnp.sign(t - 1),
        lambda t: jnp.maximum(t, 1.0),
        lambda t: jnp.minimum(t, 1.0),
        lambda t: jnp.clip(t, 1.0, 3.0),
        lambda t: jnp.where(t < 1, t, 2 - t),
        lambda t: (t < 1) * 1.0,
        lambda t: jnp.floor(t),
        lambda t: jnp.round(t - 0.5),
        lambda t: jnp.sqrt(t - 1),
        lambda t: jnp.log(t - 1),
        lambda t: 1 / (t - 1),
        lambda t: (t - 1) ** -2,
        lambda t: (t - 1) ** 1.5,
        lambda t: jnp.cbrt(t - 1),
        lambda t: jnp.arcsin(t),
        lambda t: jnp.arctanh(t),
        lambda t: jnp.arccosh(t),
        lambda t: jnp.arctan2(t - 1, -1.0),
        lambda t: jnp.tan(t * math.pi / 2),
        lambda t: jnp.max(jnp.stack([t, 2 - t])),
        lambda t: lax.cond(t < 1, lambda t: t, lambda t: t * t, t),
    ],
)
def test_a_kink_on_an_end_or_inside_is_not_smooth(f):
    lower, upper = np.array([0.9, 1, 0.9, 1.2, 0.5]), np.array([1.1, 1.1, 1, 1.3, 0.6])
    around, above, below, *apart = quickly(functools.partial(smooth, f))(Interval(lower, upper))
    # A comparison may be decided on one of the two sides, never with the same answer on both.
    assert not around and not (above and below)
    assert any(apart)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "f",
    [
        lambda t: -jnp.abs(t - 1),
        lambda t: jnp.maximum(t, 2 - t),
        lambda t: -jnp.maximum(t, 2 - t),
        lambda t: jnp.where(t < 1, t, 2 - t),
        lambda t: jnp.where(t <= 1, 0.0, -1.0),
        lambda t: jax.nn.relu(t - 1) - t,
        lambda t: -jax.nn.leaky_relu(t - 1),
        lambda t: jnp.floor(t),
        lambda t: lax.cond(t < 1, lambda t: t, lambda t: 2 - t, t),
        lambda t: -jnp.sqrt(jnp.square(t - 1)),
        lambda t: lax.stop_gradient(-(t**2)),
        lambda t: jnp.float32(1) * t.astype(jnp.float32).astype(float) - t**2,
    ],
)
def test_no_proof_across_a_kink(f):
    assert not convex(f, 0.5, 2.0, max_boxes=300).proved


@jax.custom_jvp
def _liar(t):
    return -(t**2)


@_liar.defjvp
def _(primals, tangents):
    return _liar(primals[0]), 2 * primals[0] * tangents[0]


@jax.custom_vjp
def _other_liar(t):
    return -(t**2)


_other_liar.defvjp(lambda t: (t**2, t), lambda t, g: (2 * t * g,))


@pytest.mark.core
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("f", [_liar, _other_liar])
def test_a_wrong_derivative_rule_does_not_fool(f):
    assert float(jax.grad(f)(1.0)) == 2
    scanned = lambda t: lax.scan(lambda c, _: (f(c), 0), t, None, 1)[0]  # noqa: E731
    for g in (f, jax.jit(f), jax.checkpoint(f), scanned):
        assert float(jax.grad(inlined(g))(1.0)) == -2
        found = convex(g, 0.5, 2.0)
        assert not found.proved and found.refuted is not None


def test_stop_gradient_does_not_hide_a_derivative():
    assert float(jax.grad(inlined(lambda t: lax.stop_gradient(t) * t))(3.0)) == 6
    with pytest.raises(NotImplementedError, match="bitcast"):
        inlined(lambda t: lax.bitcast_convert_type(t, jnp.int32) * 1.0)(1.0)


# --- proofs --------------------------------------------------------------------------------------

W = 0.3
GENERATORS = {
    "KL": lambda t: t * jnp.log(t) - t + 1,
    "reverse KL": lambda t: t - 1 - jnp.log(t),
    "cube": lambda t: t**3,
    "Jensen–Shannon": lambda t: (
        W * t * jnp.log(t / (W * t + 1 - W)) - (1 - W) * jnp.log(W * t + 1 - W)
    ),
    "Le Cam": lambda t: (t - 1) ** 2 / (t + 1),
    "Hellinger": lambda t: (jnp.sqrt(t) - 1) ** 2 / 2,
    "alpha": lambda t: (t**0.7 - 0.7 * t - 0.3) / (0.7 * -0.3),
}
# Above 1 the second derivatives of the rest are small differences of large numbers.
WIDE = ("KL", "reverse KL", "cube")


def tiles(cover, lower, upper):
    ends = np.concatenate([cover.lower, cover.upper[-1:]])
    np.testing.assert_array_equal(cover.upper[:-1], cover.lower[1:])
    return ends[0] == lower and ends[-1] == upper and (np.diff(ends) > 0).all()


@pytest.mark.parametrize("name", every(GENERATORS, ("KL", "cube", "Jensen–Shannon", "Le Cam")))
def test_generators_are_convex(name):
    upper = 2.0**300 if name in WIDE else 1.0
    found = convex(GENERATORS[name], 2.0**-300, upper)
    assert found.proved and found.refuted is None
    assert tiles(found, 2.0**-300, upper)
    assert (found.bound >= 0).all()


def test_a_dent_is_found_and_a_ripple_is_not_one():
    dented = convex(lambda t: t * jnp.log(t) + 1e-3 * jnp.sin(20 * t), 1e-3, 1e3)
    assert not dented.proved and tiles(dented, 1e-3, 1e3)
    assert dented.refuted is not None
    low, high = dented.lower[dented.refuted], dented.upper[dented.refuted]
    for t in np.linspace(low, high, 9):
        assert 1 / t - 0.4 * math.sin(20 * t) < 0
    rippled = convex(lambda t: t * jnp.log(t) + 1e-6 * jnp.sin(20 * t), 1e-3, 1e3)
    assert rippled.proved and tiles(rippled, 1e-3, 1e3)


def test_when_boxes_run_out_the_rest_is_undecided():
    def g(t):
        return (t - 1) ** 2 + (1 - t) ** 2 - 2 * t * t + 4 * t  # 2, in a hard way

    few = at_least(g, 0.5, 100.0, 1.999999, max_boxes=600)
    assert not few.proved and few.refuted is None and few.undecided.any()
    assert len(few.lower) <= 600 and tiles(few, 0.5, 100.0)
    assert (few.bound[~few.undecided] >= 1.999999).all()
    assert at_least(g, 0.5, 1.5, 1.9, max_boxes=250).proved
    assert not at_least(g, 0.5, 1.5, 2.0).proved  # touched, and never crossed
    assert at_least(g, 0.5, 1.5, 2.1).refuted is not None


def test_ranges():
    def square(t):
        return t * t - 1e-9

    for lower, upper in ((-2.0, 3.0), (0.0, 3.0), (-4.0, -1.0)):
        found = at_least(square, lower, upper, -0.1)
        assert found.proved and tiles(found, lower, upper)
    for lower, upper in ((1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0), (1e-310, 1)):
        with pytest.raises(ValueError):
            at_least(square, lower, upper)
    with pytest.raises(ValueError, match="max_boxes"):
        at_least(square, 1.0, 2.0, initial=100, max_boxes=50)


@pytest.mark.slow
def test_the_report_counts_and_says_how_many():
    result = soundness.measure(quick=True, names=list(soundness.CASES)[:3])
    assert result["violations"] == 0 and result["boxes"] >= soundness.QUICK
    assert "0 violations" in soundness.table(result)
