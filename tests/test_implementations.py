"""Every path of evaluation keeps the promise: values, edges, derivatives, mapped axes, memory."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from conftest import REPEATS, every, rest_slow
from jaxdiv.rows import blocked as blocked_rows
from jaxdiv.rows import lean, reference
from jaxdiv.rows.evaluate import Rows
from jaxdiv.rows.normalised import LANES
from jaxdiv.rows.pair import Side
from jaxdiv.rows.renyi import RENYI
from jaxdiv.rows.rule import SUM
from oracles import ORACLES, from_logits, gradient, ulp_error
from test_accuracy import SCALES, centred_distance, logit_rows, promised
from test_edges import INVALID, LOGITS, batch, oracle

QUICK = {"kl", "total_variation", "renyi_half"}
# A path knows statistics and not entries, of which the others are made of the same ones.
NAMES = sorted((jd.CATALOGUE.keys() - REPEATS) | QUICK)


def enough(x):
    """Logits of as many outcomes as take the forms of few operations: of probability 0, if need be.

    What there is of short rows is the reference path.
    """
    missing = max(0, 16 - x.shape[-1])
    return jd.Logits(jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)], constant_values=-jnp.inf))


# Those for a CPU; for a kernel's see test_mosaic_gpu.
both_paths = pytest.mark.parametrize("path", ["blocked", "llvm"])


def on_both_paths(names, quick):
    """Names and paths, of which the rest is slow; blocks serve where there is no machine code."""
    return pytest.mark.parametrize(
        ("name", "path"),
        [
            pytest.param(name, path, marks=() if name in few else pytest.mark.slow)
            for path, few in (("llvm", set(quick)), ("blocked", {"kl"} & set(quick)))
            for name in names
        ],
    )


def of_a_row(name, path):
    """A jitted function of one row of logits, so that every row chooses its own branch."""
    entry = jd.CATALOGUE[name]
    return jax.jit(lambda p, q: entry(enough(p), enough(q), implementation=path))


def gradients(name, implementation):
    entry = jd.CATALOGUE[name]

    def total(p, q):
        return entry(enough(p), enough(q), implementation=implementation).sum()

    return jax.jit(jax.grad(total, (0, 1)))


@on_both_paths(NAMES, QUICK)
def test_rows_near_and_far(name, path):
    a, b = (np.float32(x) for x in logit_rows(200))
    f = of_a_row(name, path)
    for p, q, distance in zip(a, b, centred_distance(a, b), strict=True):
        value, want = f(p, q), oracle(name, from_logits(p), from_logits(q))
        assert value >= 0
        if want == 0 or 1e-17 <= want <= 1e3:
            assert ulp_error(value, want, "float32") <= promised(name, distance), (distance, want)


@on_both_paths(NAMES, {"kl", "total_variation"})
def test_edges(name, path):
    f, slopes = of_a_row(name, path), gradients(name, path)
    of_reference = gradients(name, "reference")
    for (case, *_), p, q in zip(LOGITS, *batch(LOGITS), strict=True):
        value = np.asarray(f(p, q))
        if case in INVALID:
            assert np.isnan(value), case
        else:
            want = oracle(name, from_logits(np.asarray(p)), from_logits(np.asarray(q)))
            assert ulp_error(value, want, "float32") <= 64, (case, value, want)
        for got, slope in zip(slopes(p, q), of_reference(p, q), strict=True):
            scale = np.abs(slope[np.isfinite(slope)]).max(initial=0)
            np.testing.assert_allclose(got, slope, rtol=2e-6, atol=2e-6 * scale, err_msg=case)


SMOOTH = ["kl", "reverse_kl", "js", "squared_hellinger", "chi2", "le_cam"]


@on_both_paths(SMOOTH, ["kl", "js"])
def test_gradients_near_and_far(name, path):
    a, b = (np.float32(x) for x in logit_rows(60, scales=[s for s in SCALES if s <= 3]))
    verb, f = jd.CATALOGUE[name].verb.__name__, gradients(name, path)
    for p, q in zip(a, b, strict=True):
        for argument, got in zip("pq", f(p, q), strict=True):
            want = np.asarray([float(x) for x in gradient(verb, p, q, "logits", argument)])
            error = np.linalg.norm(np.asarray(got, np.float64) - want)
            assert error <= 2e-6 * np.linalg.norm(want), argument


def normalised(weights):
    total = mpmath.fsum(weights)
    return [x / total for x in weights]


@both_paths
@pytest.mark.parametrize("name", every(["renyi_half", "renyi_2"], []))
def test_gradients_of_renyi_near_and_far(name, path):
    a, b = (np.float32(x) for x in logit_rows(60, scales=[s for s in SCALES if s <= 3]))
    order, f = mpmath.mpf(jd.CATALOGUE[name].parameters["alpha"]), gradients(name, path)
    with mpmath.workdps(60):
        for rows in zip(a, b, strict=True):
            p, q = (normalised([mpmath.exp(mpmath.mpf(float(x))) for x in row]) for row in rows)
            weights = [x**order * y ** (1 - order) for x, y in zip(p, q, strict=True)]
            share = normalised(weights)
            by_p = [order / (order - 1) * (s - x) for s, x in zip(share, p, strict=True)]
            by_q = [y - s for s, y in zip(share, q, strict=True)]
            for argument, got, exact in zip("pq", f(*rows), (by_p, by_q), strict=True):
                want = np.asarray(list(map(float, exact)))
                error = np.linalg.norm(np.asarray(got, np.float64) - want)
                assert error <= 2e-6 * np.linalg.norm(want), argument


@both_paths
def test_a_gradient_where_one_outcome_has_nearly_all_the_mass(path):
    p = np.float32([20.0, 0.0, 1.0, -1.0])
    q = np.float32([-3.0, 0.0, 1.0, 2.0])
    for argument, got in zip("pq", gradients("kl", path)(p, q), strict=True):
        want = [float(x) for x in gradient("kl_divergence", p, q, "logits", argument)]
        np.testing.assert_allclose(got, want, rtol=2e-6)


def shaped(shape, scale=0.3, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape) * 2
    b = a + rng.normal(size=shape) * scale + 5
    return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)


# Lanes, one more and one less; several blocks with a ragged last one; one outcome; one row.
SHAPES = [
    (3, LANES + 1),
    (700, 1500),
    (5, 1),
    (3, LANES),
    (2, LANES - 1),
    (1, 7),
]


OTHERS = [(name, SHAPES[i]) for name in ("total_variation", "renyi_half") for i in (0, 1)]


@both_paths
@pytest.mark.parametrize(
    ("name", "shape"), rest_slow([*(("kl", shape) for shape in SHAPES), *OTHERS], 1)
)
def test_shapes(name, shape, path):
    a, b = shaped(shape)
    entry = jd.CATALOGUE[name]
    weights = jnp.asarray(np.random.default_rng(1).normal(size=shape[:-1]), jnp.float32)

    def total(implementation, a, b):
        value = entry(jd.Logits(a), jd.Logits(b), implementation=implementation)
        return jnp.sum(weights * value), value

    (_, value), slopes = jax.value_and_grad(total, (1, 2), has_aux=True)(path, a, b)
    (_, want), wanted = jax.value_and_grad(total, (1, 2), has_aux=True)("reference", a, b)
    np.testing.assert_allclose(value, want, rtol=2e-6)
    for got, slope in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(got, slope, rtol=1e-5, atol=2e-6 * np.abs(slope).max(initial=0))


@both_paths
@pytest.mark.parametrize("name", every(["kl", "js", "total_variation", "renyi_half"], ["kl"]))
def test_near_and_far_rows_share_a_block(name, path):
    a, b = shaped((6, 300))
    b = b.at[::2].set(a[::2] * (1 + 1e-6)).at[4].set(a[4])
    entry = jd.CATALOGUE[name]
    got = entry(jd.Logits(a), jd.Logits(b), implementation=path)
    want = [oracle(name, *map(from_logits, rows)) for rows in np.asarray([a, b]).swapaxes(0, 1)]
    assert got[4] == 0
    for value, exact in zip(got, want, strict=True):
        assert ulp_error(value, exact, "float32") <= 16
    slopes = jax.grad(lambda b: entry(jd.Logits(a), jd.Logits(b), implementation=path).sum())(b)
    assert not slopes[4].any()


@both_paths
@pytest.mark.parametrize("name", every(["kl", "renyi_2", "js_quarter"], []))
def test_mapped_axes_are_rows(name, path):
    a, b = shaped((24, 1500))
    entry = jd.CATALOGUE[name]

    def f(a, b):
        return entry(jd.Logits(a), jd.Logits(b), implementation=path)

    def compiled(g):
        return jax.jit(g).lower(a, b).compile()

    mapped, whole = compiled(jax.vmap(f)), compiled(f)
    np.testing.assert_array_equal(mapped(a, b), whole(a, b))
    slope, wanted = (
        compiled(jax.vmap(jax.grad(f, 1))),
        compiled(jax.grad(lambda *x: f(*x).sum(), 1)),
    )
    # An entry is a difference of numbers of its row, whose sum two programs round each in its way.
    largest = float(np.abs(wanted(a, b)).max())
    np.testing.assert_allclose(slope(a, b), wanted(a, b), rtol=1e-6, atol=1e-6 * largest)
    # A branch that is taken, not both of them: a mapped cond would be a select. Or a call for all.
    sign = "conditional" if path == "blocked" else "custom-call"
    assert sign in mapped.as_text() and sign in slope.as_text()
    twice = jax.jit(jax.vmap(jax.vmap(f, (0, None)), (None, 0)))(a[:3], b[:2])
    np.testing.assert_allclose(twice, [[f(x, y) for x in a[:3]] for y in b[:2]], rtol=1e-6)


@pytest.mark.slow
def test_parameters_are_mapped_and_differentiated():
    a, b = shaped((24, 1500), scale=1.0)
    alphas = jnp.linspace(0.3, 2.5, 24)

    def f(alpha, a, b, implementation="auto"):
        return jd.alpha_divergence(jd.Logits(a), jd.Logits(b), alpha, implementation=implementation)

    reference = functools.partial(f, implementation="reference")
    for transform in (
        lambda f: jax.vmap(f),
        lambda f: jax.vmap(jax.grad(f)),
        lambda f: jax.vmap(f, (0, None, None)),
    ):
        args = (alphas, a, b) if transform(f)(alphas, a, b).ndim == 1 else (alphas, a[0], b[0])
        got, want = jax.jit(transform(f))(*args), jax.jit(transform(reference))(*args)
        np.testing.assert_allclose(got, want, rtol=2e-5)


@pytest.mark.slow
def test_second_derivatives_are_those_of_the_reference():
    a, b = shaped((2, 30))

    def hessian(implementation):
        def f(b):
            return jd.kl_divergence(jd.Logits(a[0]), jd.Logits(b), implementation=implementation)

        return jax.hessian(f)(b[0]), jax.jacrev(jax.jacrev(f))(b[0])

    forward, backward = hessian("blocked")
    q = jax.nn.softmax(b[0])
    want = jnp.diag(q) - jnp.outer(q, q)
    np.testing.assert_allclose(forward, want, atol=1e-7)
    np.testing.assert_allclose(backward, want, atol=1e-7)
    slope, moved = jax.jvp(
        lambda b: jd.js_divergence(jd.Logits(a), jd.Logits(b), implementation="blocked"), (b,), (a,)
    )
    by_q = gradients("js", "reference")(a, b)[1]
    assert slope.shape == (2,)
    np.testing.assert_allclose(moved, jnp.sum(by_q * a, -1), rtol=2e-5)


@pytest.mark.parametrize("name", every(["kl", "total_variation", "js"], []))
def test_memory_is_that_of_a_block(name):
    verb = jd.CATALOGUE[name]

    def value(p, q):
        return verb(jd.Logits(p), jd.Logits(q))

    def reverse(weights, p, q):
        # Cotangents that differ by row: those of a plain sum are 1, and multiplied away.
        return jax.value_and_grad(lambda q: jnp.sum(weights * value(p, q)))(q)

    def forward(weights, p, q):
        del weights
        return jax.jvp(functools.partial(value, p), (q,), (q,))

    def temporaries(mode, rows):
        x = jax.ShapeDtypeStruct((rows, 1024), jnp.float32)
        compiled = jax.jit(mode).lower(jax.ShapeDtypeStruct((rows,), jnp.float32), x, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    for mode in (reverse, forward):
        few, many = temporaries(mode, 4096), temporaries(mode, 65536)
        # A value and a cotangent a row, and what a block needs.
        assert many - few <= 4 * 4 * (65536 - 4096)
        assert few <= 40 * 2**20


@pytest.mark.parametrize(
    ("shape", "dtype", "together"),
    [
        ((64, 1024), jnp.float32, True),
        ((4, 8), jnp.float32, False),
        ((64, 1024), jnp.bfloat16, False),
    ],
    ids=["many", "few", "low precision"],
)
def test_derivatives_come_with_the_value_where_one_pass_serves_both(shape, dtype, together):
    x = jax.ShapeDtypeStruct(shape, dtype)
    grad = jax.grad(lambda p, q: jd.kl_divergence(jd.Logits(p), jd.Logits(q)).sum())
    assert ("row_statistic_both" in str(jax.make_jaxpr(grad)(x, x))) is together


def test_a_parameter_that_moves_has_a_pass_of_its_own():
    x = jax.ShapeDtypeStruct((64, 1024), jnp.float32)
    grad = jax.grad(lambda a, p: jd.alpha_divergence(jd.Logits(p), jd.Logits(-p), a).sum())
    assert "row_statistic_both" not in str(jax.make_jaxpr(grad)(2.0, x))


@pytest.mark.slow
def test_cotangents_of_infinite_derivatives():
    # Of p^2 / q: -inf by log q where q alone is 0.
    p = jnp.zeros((3, 16))
    q = p.at[:, 0].set(-jnp.inf)
    for implementation in ("blocked", "llvm", "reference"):

        def chi2(q, how=implementation):
            return jd.chi2_divergence(jd.Logits(p), jd.Logits(q), implementation=how)

        (by_q,) = jax.vjp(chi2, q)[1](jnp.asarray([2.0, 0.0, -1.0]))
        assert by_q[0, 0] == -jnp.inf
        assert by_q[2, 0] == jnp.inf
        np.testing.assert_array_equal(by_q[1], 0)


@pytest.mark.parametrize("name", every(["kl", "renyi_half", "js"], []))
def test_rows_that_are_the_same_take_no_second_pass(name, monkeypatch):
    entry = jd.CATALOGUE[name]
    a, b = shaped((4, 40), scale=1.0)
    a = a.at[0, ::2].set(-jnp.inf)
    b = b.at[:2].set(a[:2])

    def total(b, implementation):
        value = entry(jd.Logits(a), jd.Logits(b), implementation=implementation)
        return value.sum(), value

    slope, value = jax.grad(total, has_aux=True)(b, "blocked")
    np.testing.assert_array_equal(value[:2], 0)
    np.testing.assert_array_equal(slope[:2], 0)
    divergence = entry.divergence.specialise()
    parameters = divergence.alpha if name == "renyi_half" else divergence
    statistic = RENYI if name == "renyi_half" else SUM
    near = b.at[:2].multiply(1 + 1e-6)
    least = jnp.argmin(jnp.where(jnp.isfinite(b), b, jnp.inf), axis=-1)[:2]
    nearer = b.at[jnp.arange(2), least].multiply(1 + 2e-7)  # D is below 1e-16
    missing = jnp.full(2, jnp.nan, jnp.float32)
    # Of which not all exponentials can be added up, which the first outcomes don't tell.
    large = [a.at[:, 29::2].set(60.0), near.at[:, 29::2].set(60.0).at[:, 31].set(59.5)]
    cases = [
        (a, b, False, False),
        (a, near, False, False),
        (*large, True, False),
        (a, nearer, True, True),
    ]
    for one, other, again, exactly in cases:
        sides = (Side(x[:2], None, "logits") for x in (one, other))
        operands = (jax.tree.map(jnp.float32, parameters), *sides)
        assert lean.same(statistic, operands).any() == (other is b)
        # What another pass would find is told by what it is not.
        patches = {lean: ("careful", (missing, [], missing != 0)), reference: ("value", missing)}
        passes = {(lean,): again, (reference,): exactly} if again else {tuple(patches): False}
        for modules, expected in passes.items():
            with monkeypatch.context() as patch:
                for module in modules:
                    name, given = patches[module]
                    patch.setattr(module, name, lambda *_, given=given: given)
                assert np.isnan(blocked_rows.value(statistic, operands)).all() == expected
    # What is not a divergence is not 0 where the sides are the same.
    np.testing.assert_allclose(
        jd.cross_entropy(jd.Logits(a), jd.Logits(a), implementation="blocked"),
        jd.entropy(jd.Logits(a)), rtol=1e-5,
    )  # fmt: skip


@both_paths
def test_steep_divergences_keep_the_promise(path):
    # An error common to all log-ratios would cost alpha times itself.
    a, b = (np.float32(x) for x in logit_rows(50, scales=[0.1, 1.0]))
    f = jax.jit(lambda *x: jd.alpha_divergence(*map(enough, x), 40.0, implementation=path))
    for p, q in zip(a, b, strict=True):
        want = ORACLES["alpha_divergence"](from_logits(p), from_logits(q), alpha=40.0)
        if want <= 1e30:
            assert ulp_error(f(p, q), want, "float32") <= 64


def test_a_function_of_traced_values():
    a, b = shaped((4, 50))

    def f(power, a, b):
        return jd.f_divergence(jd.Logits(a), jd.Logits(b), lambda t: (t - 1) ** 2 * power).sum()

    got = jax.jit(f)(jnp.float32(2.0), a, b)
    np.testing.assert_allclose(got, 2 * jd.chi2_divergence(jd.Logits(a), jd.Logits(b)).sum(), 1e-5)


def rows_of_every_kind(size=64):
    """Four blocks of rows, which end in different ways.

    Far apart; also near, though the first ones aren't, or of sums out of range, though their first
    logits aren't; also with logits that are; also very near or the same. Some outcomes are
    impossible.
    """
    rng = np.random.default_rng(7)
    block = blocked_rows._BLOCK // size
    scales = [[3], [3, 1, 0.3, 0.1], [3, 1, 0.3, 0.1], [3, 0.1, 1e-3, 1e-5, 0]]
    scale = np.concatenate([np.resize(x, (block, 1)) for x in scales])
    scale[block : block + block // 8] = 3
    a = rng.normal(size=(4 * block, size)) * 3
    b = a * (scale < 3) + scale * rng.normal(size=a.shape) + 2
    a[2 * block :] += np.resize([0, 90, 0, 0, -200, -60, 40], (2 * block, 1))
    b[2 * block :] += np.resize([0, 0, -200, 90, 0, 0, -30, 0, 0, 0, 0], (2 * block, 1))
    for x in (a, b):
        x[block + 5 : 2 * block : 97, size // 2 :] += 60
    a[block::13, :3], b[block::13, :3] = -np.inf, -np.inf
    return np.float32(a[:-100]), np.float32(b[:-100])


@on_both_paths(NAMES, {"kl", "js"})
def test_blocks_with_rows_of_every_kind(name, path):
    a, b = rows_of_every_kind()
    entry = jd.CATALOGUE[name]

    def total(a, b, implementation):
        value = entry(jd.Logits(a), jd.Logits(b), implementation=implementation)
        return value.sum(), value

    both = jax.jit(jax.grad(total, (0, 1), has_aux=True), static_argnums=2)
    some = slice(None, None, 7)  # of which the plain path in float64, tested against mpmath
    with jax.enable_x64(True):
        want, exact = jax.tree.map(
            np.asarray, both(np.float64(a[some]), np.float64(b[some]), "reference")
        )
        slopes, value = jax.tree.map(np.asarray, both(a, b, path))
    told = exact > 1e-17
    error = np.abs(np.float64(value[some]) - exact)[told] / exact[told] / 2.0**-23
    assert error.max() <= 16
    assert np.all(value[some][exact == 0] == 0)
    for got, slope in zip(slopes, want, strict=True):
        size = np.linalg.norm(slope, axis=-1)
        lost = np.linalg.norm(np.float64(got[some]) - slope, axis=-1)
        # Those of rows far apart are what is left of terms of size 1, up to a hundred times less.
        assert np.all((lost <= 1e-5 * size) | (size < 1e-2 * np.minimum(1, exact)))


@pytest.mark.slow
def test_renyi_of_many_rows_at_any_order_and_distance():
    # The plain path in float64, which is checked against mpmath, on the stored float32 numbers.
    rng = np.random.default_rng(5)

    def compiled(implementation):
        return jax.jit(
            lambda a, b, alpha: jd.renyi_divergence(
                jd.Logits(a), jd.Logits(b), alpha, implementation=implementation
            )
        )

    paths, plain = [compiled("blocked"), compiled("llvm")], compiled("reference")
    with jax.enable_x64(True):
        for alpha in np.float32([0.02, 0.2, 0.5, 0.8, 1 - 1e-6, 1, 1 + 1e-6, 1.02, 2, 5, 20]):
            for base, scale in ((3, 1e-3), (3, 0.1), (0.5, 3), (3, 3), (6, 6), (9, 2), (1, 10)):
                a = np.float32(rng.normal(size=(4000, 16)) * base)
                shrunk = a * rng.uniform(size=(4000, 1)) if scale >= 1 else a
                b = np.float32(shrunk + rng.normal(size=a.shape) * scale)
                want = np.asarray(plain(np.float64(a), np.float64(b), np.float64(alpha)))
                for path in paths:
                    error = np.abs(np.float64(path(a, b, alpha)) - want) / want
                    assert error[want > 1e-30].max() <= 64 * 2.0**-23, (alpha, base, scale)


@both_paths
def test_renyi_of_masses_whose_geometric_means_are_far_below_the_largest(path):
    # Each below e^-87 and 0 as an exponential in float32, and all together above e^-80.
    rng = np.random.default_rng(8)
    x = np.float32(rng.normal(size=(4, 20000)) - 155.6)
    a, b = np.zeros_like(x), np.zeros_like(x)
    a[:, ::2], b[:, 1::2] = x[:, ::2], x[:, 1::2]
    got = jd.renyi_divergence(jd.Logits(a), jd.Logits(b), 0.5, implementation=path)
    with jax.enable_x64(True):
        p, q = (np.float64(z) for z in (a, b))
        want = jd.renyi_divergence(jd.Logits(p), jd.Logits(q), 0.5, implementation="reference")
    np.testing.assert_allclose(got, want, rtol=2e-6)


@pytest.mark.slow
@both_paths
def test_renyi_is_infinite_where_q_lacks_an_outcome_though_its_mass_underflows(path):
    a, b = (np.array(x) for x in shaped((4, 300), scale=0.05))
    a[:, 7], b[:, 7] = -86, -np.inf

    def f(a, b, order):
        return jd.renyi_divergence(jd.Logits(a), jd.Logits(b), order, implementation=path)

    assert np.isinf(jax.jit(f)(a, b, 2.0)).all()
    # Of order below 1 it is that of the others, and with the sides exchanged too.
    for one, other, order in ((a, b, 0.5), (b, a, 2.0)):
        want = f(np.delete(one, 7, -1), np.delete(other, 7, -1), order)
        np.testing.assert_allclose(f(one, other, order), want, rtol=2e-6)


@pytest.mark.slow
@both_paths
def test_renyi_of_small_orders_where_p_lacks_an_outcome(path):
    # 1 - alpha, rounded, less 1 has lost digits of alpha, over which q's mass there is divided.
    a, b = (np.array(x) for x in shaped((4, 130), scale=0.05))
    a[:, 3] = -np.inf

    @jax.jit
    def f(order):
        return jd.renyi_divergence(jd.Logits(a), jd.Logits(b), order, implementation=path)

    for order in np.float32([1e-5, 1e-3, 0.03]):
        for x, y, value in zip(a, b, f(order), strict=True):
            want = ORACLES["renyi_divergence"](from_logits(x), from_logits(y), alpha=float(order))
            assert ulp_error(value, want, "float32") <= 64, order


@pytest.mark.usefixtures("x64")
def test_the_best_alpha_moves_with_its_rows_in_blocks_too():
    rng = np.random.default_rng(6)
    a, b, direction = rng.normal(size=(3, 300, 1000))  # two blocks

    @jax.jit
    def along(b, direction):
        def best(b):
            sides = (Side(jnp.asarray(x), chart="logits") for x in (a, b))
            return Rows(*sides, "blocked").best_alpha()

        return jax.jvp(best, (b,), (direction,))

    step = 1e-4
    (up, _), (down, _) = (along(b + s * direction, direction) for s in (step, -step))
    _, moved = along(b, direction)
    assert np.abs(moved).min() > 0
    np.testing.assert_allclose(moved, (up - down) / (2 * step), rtol=1e-5, atol=1e-8)
