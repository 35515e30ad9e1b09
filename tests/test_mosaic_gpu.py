"""The GPU kernels keep the promise, interpreted where there is none, and compile for an H100."""

import functools
import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from bench import gpu_static
from conftest import every, rest_slow
from jaxdiv import _numerics as num
from jaxdiv.rows import dispatch, elementwise, mosaic_cluster, mosaic_tile
from jaxdiv.rows.chernoff import BEST_ALPHA
from oracles import from_logits, gradient, ulp_error
from test_accuracy import centred_distance, logit_rows, oracle, promised
from test_edges import INVALID, LOGITS, batch

pytestmark = pytest.mark.skipif(
    dispatch.no_kernels("cuda") is not None and jax.__version_info__ < dispatch._KERNELS_NEED,
    reason="this JAX is too old for the kernels",
)

# On a GPU that has them the kernels run; else they are interpreted.
ON_GPU = jax.default_backend() == "gpu" and dispatch.no_kernels("cuda") is None
KERNELS = "mosaic_gpu" if ON_GPU else "mosaic_gpu_interpret"
PIECE = mosaic_cluster.PIECE
TILE = mosaic_cluster._GROUP * PIECE
ROWS = mosaic_tile.ROWS


@pytest.fixture(autouse=True, scope="module")
def _fresh():
    yield
    jax.clear_caches()


def logits(shape, scale=0.5, seed=0, dtype=jnp.float32):
    rng = np.random.default_rng([*shape, seed])
    a = rng.normal(size=shape) * 2
    b = a + rng.normal(size=shape) * scale + 5
    return jnp.asarray(a, dtype), jnp.asarray(b, dtype)


def check(divergence, a, b, arguments=(0, 1), implementation=KERNELS):
    """Values and gradients with cotangents that differ by row, beside those of the reference."""
    weights = jnp.asarray(np.random.default_rng(1).normal(size=a.shape[:-1]), jnp.float32)

    def total(implementation, a, b):
        value = divergence(jd.Logits(a), jd.Logits(b), implementation=implementation)
        return jnp.sum(weights * value), value

    f = jax.value_and_grad(total, tuple(1 + i for i in arguments), has_aux=True)
    (_, value), slopes = f(implementation, a, b)
    (_, want), wanted = f("reference", a, b)
    np.testing.assert_allclose(value, want, rtol=2e-6)
    for got, slope in zip(slopes, wanted, strict=True):
        assert got.dtype == slope.dtype == a.dtype
        got, slope = np.asarray(got, np.float64), np.asarray(slope, np.float64)
        rounding = 2e-6 if a.dtype == jnp.float32 else 2.0 * float(jnp.finfo(a.dtype).eps)
        scale = np.abs(slope).max(-1, keepdims=True, initial=0)
        assert (np.abs(got - slope) <= 4 * rounding * scale).all()


def path(divergence, a, b):
    made = jd.implementation_of(divergence, jd.Logits(a), jd.Logits(b), platform="cuda")
    return made.name


# One piece, a tile and their neighbours; a row in two blocks; one row; rows that begin unaligned.
SHAPES = [(3, PIECE), (1, PIECE + 1), (2, TILE + 1), (3, TILE - 4), (1, 2 * TILE + 1)]
# Short rows: a block of them, some of which another block has as well, the longest.
SHORT = [(2 * ROWS + 2, 128), (ROWS, 8), (ROWS + 6, PIECE - 8)]


@pytest.mark.parametrize("shape", every([*SHAPES, *SHORT], []))
def test_shapes(shape):
    a, b = logits(shape)
    assert path(jd.KL(), a, b) == "mosaic_gpu"
    check(jd.KL(), a, b)


# The blocks of a cluster wait for one another in callbacks, of which the interpreter runs no more
# at a time than the CPU has cores: not more than two are interpreted here.
@pytest.mark.parametrize(
    ("shape", "blocks"), [((1, 2 * TILE), 2), ((1, 8 * TILE), 8), ((200, 2 * TILE), 1)]
)
def test_rows_are_divided_while_multiprocessors_are_idle(shape, blocks):
    assert mosaic_cluster.plan(*shape, jnp.float32).blocks == blocks


def test_every_part_of_a_row_is_somewhere():
    for size in (PIECE, 1000, TILE + 1, 50257, 128256, 200000):
        for rows in (1, 3, 1000):
            for dtype in (jnp.float32, jnp.bfloat16):
                made = mosaic_cluster.plan(rows, size, dtype)
                assert made.blocks * made.pieces * PIECE >= size
                assert 2 * made.pieces * PIECE * made.dtype.itemsize <= 227 * 2**10 - 2048 - 256


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_read_as_it_is_stored(dtype):
    a, b = logits((2, TILE + 24), dtype=dtype)
    check(jd.KL(), a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["total_variation", "renyi"])
def test_divergences_of_short_rows(name):
    a, b = logits((ROWS + 2, 24), scale=1.0)
    assert path(OTHERS[name], a, b) == "mosaic_gpu"
    check(OTHERS[name], a, b)
    half = logits((ROWS + 2, 24), scale=1.0, dtype=jnp.bfloat16)
    check(OTHERS[name], *half)


OTHERS = {
    "js": jd.JensenShannon(),
    "total_variation": jd.TotalVariation(),
    "alpha": jd.Alpha(1.7),
    "hellinger": jd.SquaredHellinger(),
    "chi2": jd.Chi2(),
    "le_cam": jd.LeCam(),
    "jeffreys": jd.Symmetrised(jd.KL()),
    "reverse_kl": jd.Reverse(jd.KL()),
    "skew_kl": jd.SkewKL(0.3),
    "squared_euclidean": jd.SquaredEuclidean(),
    "renyi": jd.Renyi(0.5),
}


@pytest.mark.parametrize(
    "name",
    every(OTHERS, []),
)
def test_divergences(name):
    a, b = logits((2, TILE + 1), scale=1.0)
    assert "mosaic_gpu" in path(OTHERS[name], a, b)
    check(OTHERS[name], a, b)


@jd._divergence.declare
class Kolmogorov(jd._divergence.Homogeneous):
    """A user's own: (p - q)^2 / (2 sqrt(p q)) through functions that no kernel has."""

    power: Any = 1.0
    formula: ClassVar[str] = "sum q (t - 1)^2 / (2 sqrt t)"

    def term(self, pair):
        return pair.q * jnp.expm1(pair.log_ratio) ** 2 / (2 * jnp.exp(pair.log_ratio) ** 0.5)

    def weighted(self, pair):
        t = jnp.exp(pair.log_ratio)
        by_t = jnp.expm1(pair.log_ratio) * (3 * t + 1) / (4 * jnp.power(t, 1.5))
        by_p = pair.p * by_t
        return by_p, self.term(pair) - by_p

    def limits(self):
        return jd._divergence.STEEP, jd._divergence.STEEP

    def claims(self):
        return self.stated()


@pytest.mark.slow
def test_a_divergence_of_the_users_own():
    a, b = logits((2, PIECE + 3))
    divergence = Kolmogorov()
    assert path(divergence, a, b) == "mosaic_gpu"
    check(divergence, a, b)


def masses(shape):
    """Rows with zeros on either side, on both, equal rows, and a last one that is none."""
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(shape[1]), shape[0]).astype(np.float32) for _ in range(2))
    p[0, 3] = q[1, 4] = p[2, 5] = q[2, 5] = 0
    q[3] = p[3]
    p[-1, 0] = np.nan
    return p, q


MASSES = [
    (name, nouns, shape)
    for name in ("kl", "js", "total_variation", "chi2", "squared_euclidean")
    for nouns in ((jd.Probs, jd.Probs), (jd.LogProbs, jd.LogProbs))
    for shape in ((5, PIECE + 44), (ROWS + 2, 24))
]


@pytest.mark.parametrize(("name", "nouns", "shape"), rest_slow(MASSES, 2))
def test_probabilities_and_their_logarithms(name, nouns, shape):
    given = masses(shape)
    with np.errstate(divide="ignore"):
        p, q = (x if noun is jd.Probs else np.log(x) for noun, x in zip(nouns, given, strict=True))
    weights = np.random.default_rng(1).normal(size=shape[0]).astype(np.float32)
    assert jd.implementation_of(
        jd.CATALOGUE[name].divergence, nouns[0](p), nouns[1](q), platform="cuda"
    ).name == "mosaic_gpu"  # fmt: skip

    def total(implementation, p, q):
        value = jd.CATALOGUE[name](nouns[0](p), nouns[1](q), implementation=implementation)
        return jnp.sum(weights * value), value

    f = jax.grad(total, (1, 2), has_aux=True)
    (slopes, got), (wanted, want) = f(KERNELS, p, q), f("reference", p, q)
    np.testing.assert_allclose(got, want, rtol=2e-6)
    for slope, other in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(slope, other, rtol=4e-6, atol=1e-30)


@pytest.mark.slow
def test_rows_of_no_finite_logarithm_and_parameters_outside_their_domain():
    x = jnp.log(jnp.asarray(masses((4, PIECE + 8))[1]))
    x = x.at[0].set(-jnp.inf)
    got = jd.kl_divergence(jd.LogProbs(x), jd.LogProbs(x), implementation=KERNELS)
    np.testing.assert_array_equal(jnp.isnan(got), [True, False, False, False])
    f = jax.jit(functools.partial(jd.skew_kl_divergence, implementation=KERNELS))
    assert jnp.isnan(f(jd.LogProbs(x), jd.LogProbs(x), 2.0)).all()


@pytest.mark.parametrize("name", every(["kl", "js", "total_variation"], ["kl"]))
def test_accuracy(name):
    a, b = (np.float32(x) for x in logit_rows(PIECE + 2))
    entry = jd.CATALOGUE[name]
    got = entry(jd.Logits(a), jd.Logits(b), implementation=KERNELS)
    for value, p, q, distance in zip(got, a, b, centred_distance(a, b), strict=True):
        want = oracle(name, from_logits(p), from_logits(q))
        assert value >= 0
        if want == 0 or 1e-17 <= want <= 1e3:
            assert ulp_error(value, want, "float32") <= promised(name, distance)


@pytest.mark.slow
def test_gradient_accuracy():
    a, b = (np.float32(x) for x in logit_rows(PIECE, scales=(1e-3, 1.0)))

    def total(a, b):
        return jd.kl_divergence(jd.Logits(a), jd.Logits(b), implementation=KERNELS).sum()

    for argument, slopes in zip("pq", jax.grad(total, (0, 1))(a, b), strict=True):
        for got, p, q in zip(slopes, a, b, strict=True):
            exact = gradient("kl_divergence", p, q, "logits", argument)
            want = np.asarray([float(x) for x in exact])
            error = np.linalg.norm(np.asarray(got, np.float64) - want)
            assert error <= 2e-6 * np.linalg.norm(want)


def padded(rows, size=PIECE + 5):
    """Rows of few outcomes with as many of probability 0 as make them long enough."""
    filled = np.full((rows.shape[0], size), -np.inf, np.float32)
    filled[:, :: size // rows.shape[1]][:, : rows.shape[1]] = rows
    return jnp.asarray(filled)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl", "js"])
def test_edges(name):
    p, q = map(padded, batch(LOGITS))
    entry = jd.CATALOGUE[name]

    def total(implementation, p, q):
        value = entry(jd.Logits(p), jd.Logits(q), implementation=implementation)
        return value.sum(), value

    f = jax.value_and_grad(total, (1, 2), has_aux=True)
    (_, got), slopes = f(KERNELS, p, q)
    _, wanted = f("reference", p, q)
    for (case, *_), value, *rows in zip(LOGITS, got, *batch(LOGITS), strict=True):
        if case in INVALID:
            assert np.isnan(value), case
        else:
            want = oracle(name, *(from_logits(np.asarray(x)) for x in rows))
            assert ulp_error(value, want, "float32") <= 64, (case, value, want)
    for slope, want in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(slope, want, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_near_rows_among_others():
    a, b = logits((5, PIECE + 1))
    b = b.at[1].set(a[1] * (1 + 1e-6)).at[3].set(a[3])
    value = jd.kl_divergence(jd.Logits(a), jd.Logits(b), implementation=KERNELS)
    assert value[3] == 0
    for got, p, q in zip(value, np.asarray(a), np.asarray(b), strict=True):
        assert ulp_error(got, oracle("kl", from_logits(p), from_logits(q)), "float32") <= 16
    check(jd.KL(), a, b)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"), [("kl", (3, PIECE + 8)), ("renyi_half", (ROWS + 2, 24))]
)
def test_rows_that_are_the_same(name, shape):
    # The start of a fit: exactly 0, and not computed again; not so with a constant between them.
    a, b = logits(shape, scale=1.0)
    a = a.at[0, ::2].set(-jnp.inf)
    b = b.at[:2].set(a[:2]).at[2].set(a[2] + 1)

    def total(b):
        value = jd.CATALOGUE[name](jd.Logits(a), jd.Logits(b), implementation=KERNELS)
        return value.sum(), value

    slope, value = jax.grad(total, has_aux=True)(b)
    np.testing.assert_array_equal(value[:2], 0)
    np.testing.assert_array_equal(slope[:2], 0)
    check(jd.CATALOGUE[name], a, b)


def test_masks_and_leading_axes():
    a, b = logits((2, 2, PIECE + 7))
    where = jnp.arange(PIECE + 7) % 3 > 0
    f = functools.partial(jd.kl_divergence, jd.Logits(a), jd.Logits(b), where=where)
    np.testing.assert_allclose(f(implementation=KERNELS), f(implementation="reference"), 2e-6)


@pytest.mark.slow
def test_mapped_gradients():
    a, b = logits((3, PIECE))
    alphas = jnp.asarray([0.3, 1.0, 2.5])

    def f(implementation, alpha, a, b):
        return jd.alpha_divergence(jd.Logits(a), jd.Logits(b), alpha, implementation=implementation)

    for argument in (1, 3):
        got, want = (
            jax.jit(jax.vmap(jax.grad(functools.partial(f, name), argument - 1)))(alphas, a, b)
            for name in (KERNELS, "reference")
        )
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_a_mapped_parameter_of_several_rows():
    a, b = logits((2, PIECE))
    alphas = jnp.asarray([0.3, 1.0, 2.5])

    def f(implementation, alpha):
        return jd.alpha_divergence(jd.Logits(a), jd.Logits(b), alpha, implementation=implementation)

    got, want = (jax.vmap(functools.partial(f, name))(alphas) for name in (KERNELS, "reference"))
    np.testing.assert_allclose(got, want, rtol=2e-6)


@pytest.mark.slow
def test_second_derivatives_are_those_of_the_reference():
    a, b = logits((1, PIECE))

    def f(implementation, b):
        return jd.kl_divergence(jd.Logits(a), jd.Logits(b), implementation=implementation).sum()

    got, want = (
        jax.jvp(jax.grad(functools.partial(f, name)), (b,), (a,))[1]
        for name in (KERNELS, "reference")
    )
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-7)


# --- what has no kernel --------------------------------------------------------------------------


def test_who_has_no_kernel():
    a, b = logits((2, PIECE))

    def reason(divergence, p, q):
        made = jd.implementation_of(divergence, p, q, platform="cuda")
        assert made.name == "reference"
        return made.reason

    assert "multiple of 8" in reason(jd.KL(), jd.Logits(a[:, :1]), jd.Logits(b[:, :1]))
    assert "fewer than 64" in reason(jd.KL(), jd.Logits(a[:, :8]), jd.Logits(b[:, :8]))
    own = jd.Alpha(jnp.full((ROWS, 1), 0.3))
    short = (jd.Logits(jnp.zeros((ROWS, 8))),) * 2
    assert "of their own" in reason(own, *short)
    assert "temperature" in reason(jd.KL(), jd.Logits(a, 2.0), jd.Logits(b))
    assert "one side is logits" in reason(jd.KL(), jax.nn.softmax(a), jd.Logits(b))
    assert "logits alone" in reason(jd.Renyi(0.5), jax.nn.softmax(a), jax.nn.softmax(b))
    both = jd.implementation_of(jd.Chernoff(), jd.Logits(a), jd.Logits(b), platform="cuda")
    assert both.name == "reference and mosaic_gpu" and BEST_ALPHA.name in both.reason
    with pytest.raises(NotImplementedError, match="cpu"):
        jd.kl_divergence(jd.Logits(a), jd.Logits(b), implementation="mosaic_gpu")
    # Too short for the kernel: the reference, and the right value.
    check(jd.KL(), a[:, :1], b[:, :1])


@pytest.mark.slow
def test_a_function_of_the_users_own():
    a, b = logits((3, PIECE))
    divergence = jd.FDivergence(lambda t: t * jnp.log(t))
    assert path(divergence, a, b) == "mosaic_gpu"
    check(divergence, a, b, arguments=(1,))
    # Too steep for an error common to all log-ratios: every row is computed by the reference.
    steep = jd.FDivergence(lambda t: t**20)
    f = functools.partial(steep, jd.Logits(a), jd.Logits(b))
    np.testing.assert_array_equal(f(implementation=KERNELS), f(implementation="reference"))


def test_an_operation_that_no_kernel_has():
    with pytest.raises(elementwise.Unsupported, match="sort"):
        elementwise.program(lambda _, x: [jnp.sort(jnp.stack([x, 2 * x]))[0]], [], {"x": True})


def test_programs_are_the_function():
    def f(parameters, x, y):
        (a,) = parameters
        points = jnp.linspace(0.1, 1.0, 5) * x + a
        parts = [jnp.expm1(x), jnp.log1p(y), jnp.power(y, a), jnp.cbrt(x), jnp.sum(jnp.exp(points))]
        return [
            jax.nn.softplus(x) + jnp.max(jnp.stack(parts)) + sum(parts),
            jnp.where(x.astype(bool), y, x),
        ]

    made, table = elementwise.program(f, [jnp.float32(1.3)], {"x": True, "y": True})
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.uniform(0.1, 3, size=(4, 8)), jnp.float32) for _ in range(2))
    known = made.of_row({}, lambda i: table[i])
    got = made.of_tile(known, {"x": x, "y": y}, x.shape)
    want = jax.vmap(jax.vmap(lambda x, y: f([jnp.float32(1.3)], x, y)))(x, y)
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_the_logarithm_of_a_sum_of_exponentials():
    rng = np.random.default_rng(0)
    ends = 2.0 ** np.arange(32)
    x = np.concatenate([ends, ends * (2 - 2.0**-23), np.exp(rng.uniform(0, 22, 1000))])
    x = np.asarray(x, np.float32)
    high, low = (np.asarray(part, np.float64) for part in num.log_pair_of_count(jnp.asarray(x)))
    # An ulp of 1, which is what JAX's logarithm of the mantissa and the pair may be off by.
    assert np.abs(high + low - np.log(np.float64(x))).max() <= 2.0**-23


# --- lowered, which needs neither a GPU nor XLA's compiler for one -------------------------------


@pytest.mark.parametrize("platform", every(["cpu", "cuda", "rocm", "tpu"], ["cpu", "tpu"]))
def test_every_divergence_has_a_path(platform):
    for entry in jd.CATALOGUE.values():
        for noun in (jd.Logits, jd.Probs):
            x = noun(jax.ShapeDtypeStruct((ROWS, TILE), jnp.float32))
            made = jd.implementation_of(entry.divergence, x, x, platform=platform)
            assert made.name and made.reason


QUICKLY_LOWERED = [("kl", jd.Logits), ("kl", jd.Probs), ("total_variation", jd.Logits)]


def has_kernel(name, noun, shape):
    """Which entries have one: a sum of logits must say how steep it is, and so on."""
    if name == "bregman":
        return noun is not jd.Logits
    if name == "chernoff":  # whose alpha is each row's own, which a block of short rows can't have
        return noun is jd.Logits and shape[-1] > PIECE
    return noun is jd.Logits or name not in ("renyi_half", "renyi_2", "bhattacharyya")


@pytest.mark.parametrize("shape", [(4, TILE + 8), (2 * ROWS, 128)])
@pytest.mark.parametrize(
    ("name", "noun"),
    [
        given if given in QUICKLY_LOWERED else pytest.param(*given, marks=pytest.mark.slow)
        for given in itertools.product(jd.CATALOGUE, (jd.Logits, jd.Probs, jd.LogProbs))
    ],
)
def test_a_kernel_is_lowered(name, noun, shape):
    """Operations that the interpreter knows and Mosaic doesn't are refused here."""
    entry = jd.CATALOGUE[name]
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    made = jd.implementation_of(entry.divergence, noun(x), noun(x), platform="cuda")
    assert ("mosaic_gpu" in made.name) is has_kernel(name, noun, shape), made.reason
    if not has_kernel(name, noun, shape):
        return

    def total(a, b):
        return entry(noun(a), noun(b)).sum()

    traced = jax.jit(jax.value_and_grad(total, (0, 1))).trace(x, x)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("jaxdiv_value") and text.count("jaxdiv_pull")


# --- compiled for an H100 ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def h100():
    if not gpu_static.available():
        pytest.skip("XLA's compiler for NVIDIA GPUs is not installed")
    return gpu_static.h100()


COMPILED = [
    ("kl", jd.Logits, (8192, 128256), jnp.bfloat16),
    ("kl", jd.Logits, (8192, 50257), jnp.float32),
    ("js", jd.Logits, (16384, 32768), jnp.float32),
    ("total_variation", jd.Logits, (16384, 32768), jnp.float32),
    ("renyi_half", jd.Logits, (16384, 32768), jnp.float32),
    ("kl", jd.Logits, (2**20, 128), jnp.float32),
    ("js", jd.Logits, (2**20, 240), jnp.bfloat16),
    ("kl", jd.Probs, (8192, 128256), jnp.bfloat16),
    ("js", jd.LogProbs, (2**20, 128), jnp.float32),
]


@pytest.mark.h100
@pytest.mark.parametrize(("name", "noun", "shape", "dtype"), COMPILED)
def test_a_program_for_an_h100(h100, name, noun, shape, dtype):
    entry = jd.CATALOGUE[name]
    x = jax.ShapeDtypeStruct(shape, dtype, sharding=h100)

    def total(a, b):
        return entry(noun(a), noun(b)).sum()

    program, kernels = gpu_static.compiled(jax.value_and_grad(total, (0, 1)), x, x)
    both = 2 * x.size * x.dtype.itemsize
    assert len(kernels) == 2 and not any(kernel["spills"] for kernel in kernels)
    # A hundredth, and a few numbers a row, which is more only where rows are short.
    assert program.memory_analysis().temp_size_in_bytes < 0.01 * both + 4 * 4 * shape[0]
    moved = gpu_static.traffic(program.as_text())
    # Each logit is read once forward and once backward, and both gradients are written, beside a
    # few numbers a row.
    assert moved["read"] <= 2.05 * both and moved["written"] <= 1.05 * both
