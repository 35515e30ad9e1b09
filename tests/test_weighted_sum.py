"""Weighted sums over the rows of heads, against formulas on logits that are whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every, rest_slow
from jaxdiv.tiles.plan import plan

V, ROWS, D = 37, 5, 4
MANY, LEAST = 300, 6 * 8 * 128 * ROWS  # outcomes, and a budget with which 3 rows are a block
TOLERANCE = {"float64": 1e-11, "float32": 2e-5}
LABELS = np.array([0, 36, 5, 7, 1])


def arguments(dtype):
    rng = np.random.default_rng(0)
    shapes = {"hidden": (ROWS, D), "weight": (D, V), "bias": (V,)}
    drawn = [jnp.asarray(rng.normal(size=s), dtype) for s in shapes.values()]
    teacher = jnp.asarray(rng.normal(size=(ROWS, V)), dtype)
    weights = jnp.asarray([0.5, 0, 2, -1, 1], dtype)
    return (*drawn, jnp.asarray(1.3, dtype), weights), teacher


def student(hidden, weight, bias, temperature):
    return jd.Head(hidden, weight, bias, temperature=temperature)


def plain(name, teacher):
    """The same by log-softmax of logits and the formula of each."""

    def f(hidden, weight, bias, temperature, weights):
        log_q = jax.nn.log_softmax((hidden @ weight + bias[None]) / temperature)
        if name == "cross_entropy":
            rows = -log_q[jnp.arange(ROWS), LABELS]
        else:
            log_p = jax.nn.log_softmax(teacher)
            if name == "kl":
                rows = jnp.sum(jnp.exp(log_p) * (log_p - log_q), -1)
            else:
                rows = -2 * jnp.log(jnp.sum(jnp.exp((log_p + log_q) / 2), -1))
        return jnp.sum(weights * rows)

    return f


def of_head(name, teacher):
    verbs = {
        "cross_entropy": jd.cross_entropy,
        "kl": jd.kl_divergence,
        "renyi": jd.CATALOGUE["renyi_half"],
    }

    def f(*args):
        p = jd.Labels(jnp.asarray(LABELS)) if name == "cross_entropy" else jd.Logits(teacher)
        return jd.weighted_sum(verbs[name], p, student(*args[:4]), args[4])

    return f


def agree(got, want, rtol):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def without_zero(slopes):
    """Rows of weight 0 are not evaluated: their slope is 0 by convention."""
    return *slopes[:4], slopes[4] * jnp.asarray([1, 0, 1, 1, 1], slopes[4].dtype)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name, dtype",
    rest_slow(
        [
            *((name, "float64") for name in ("cross_entropy", "kl", "renyi")),
            *((name, "float32") for name in ("kl", "cross_entropy", "renyi")),
        ],
        4,
    ),
)
def test_values_and_gradients_are_those_of_the_formula(name, dtype):
    args, teacher = arguments(dtype)
    value, slopes = jax.jit(jax.value_and_grad(of_head(name, teacher), range(5)))(*args)
    want, wanted = jax.jit(jax.value_and_grad(plain(name, teacher), range(5)))(*args)
    assert value.dtype == dtype
    agree((value, slopes), (want, without_zero(wanted)), TOLERANCE[dtype])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["kl", "renyi"])
def test_a_row_of_weight_zero_changes_nothing_whatever_it_holds(name):
    args, teacher = arguments("float64")
    spoilt = (args[0].at[1].set(jnp.nan), *args[1:])
    f = jax.jit(jax.value_and_grad(of_head(name, teacher), range(5)))
    want, got = f(*args), f(*spoilt)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_that_are_not_one_a_row_are_refused():
    args, teacher = arguments("float32")
    with pytest.raises(ValueError, match=r"weights must broadcast to the batch shape \(5,\)"):
        of_head("kl", teacher)(*args[:4], jnp.ones(3))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", every(["cross_entropy", "kl"], ["kl"]))
def test_forward_mode_and_second_derivatives(name):
    args, teacher = arguments("float64")
    rng = np.random.default_rng(3)
    dots = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in args[:4])

    def products(f):
        def of(*moved):
            return f(*moved, args[4])

        def both(*x):
            along = jax.jvp(of, x, dots)[1]
            return along, jax.jvp(jax.grad(of, range(4)), x, dots)[1]

        return jax.jit(both)(*args[:4])

    agree(products(of_head(name, teacher)), products(plain(name, teacher)), 1e-11)


def weighted_heads(divergence, weights, memory):
    """A weighted sum between two heads, by both hidden states and weights."""

    def f(a, b, c, d):
        p, q = jd.Head(a, b, memory=memory), jd.Head(c, d, memory=memory)
        return jd.weighted_sum(divergence, p, q, weights)

    return f


def by_definition(divergence, weights):
    def f(a, b, c, d):
        p, q = jax.nn.softmax(a @ b), jax.nn.softmax(c @ d)
        return jnp.sum(weights * divergence.definition(p, q))

    return f


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name",
    every([n for n in jd.CATALOGUE if n != "chernoff"], {"js", "hellinger_distance"}),
)
def test_every_divergence_of_the_catalogue_is_summed_in_one_pass(name):
    # Rows near each other and far apart, more than one block of them, and the last block ragged.
    rng = np.random.default_rng(5)
    scale = np.repeat([0.1, 3.0], [3, 2])[:, None]
    a, c = (jnp.asarray(scale * rng.normal(size=(ROWS, D))) for _ in range(2))
    b, d = (jnp.asarray(rng.normal(size=(D, MANY))) for _ in range(2))
    divergence = jd.CATALOGUE[name].divergence
    weights = jnp.asarray([0.5, 1.5, 2, -1, 1])
    assert plan(ROWS, MANY, jnp.float64, LEAST, None, 1).rows == 3
    f = weighted_heads(divergence, weights, LEAST)
    got = jax.jit(jax.value_and_grad(f, range(4)))(a, b, c, d)
    want = jax.jit(jax.value_and_grad(by_definition(divergence, weights), range(4)))(a, b, c, d)
    agree(got, want, 1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", every(["renyi_2", "js_distance", "fisher_rao"], ["renyi_2"]))
def test_second_derivatives_of_what_is_no_sum(name):
    rng = np.random.default_rng(6)
    args = tuple(jnp.asarray(rng.normal(size=s)) for s in ((ROWS, D), (D, MANY)) * 2)
    dots = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in args)
    weights = jnp.asarray([0.5, 1.5, 2, -1, 1])
    divergence = jd.CATALOGUE[name].divergence

    def product(f):
        return jax.jit(lambda: jax.jvp(jax.grad(f, range(4)), args, dots)[1])()

    got = product(weighted_heads(divergence, weights, LEAST))
    agree(got, product(by_definition(divergence, weights)), 1e-10)


@pytest.mark.usefixtures("x64")
def test_the_derivative_by_a_divergence_s_own_number():
    args, teacher = arguments("float64")
    hidden, weight, bias, temperature, weights = args

    def ours(alpha):
        def verb(p, q, **keywords):
            return jd.renyi_divergence(p, q, alpha, **keywords)

        q = student(hidden, weight, bias, temperature)
        return jd.weighted_sum(verb, jd.Logits(teacher), q, weights)

    def formula(alpha):
        log_q = jax.nn.log_softmax((hidden @ weight + bias[None]) / temperature)
        log_p = jax.nn.log_softmax(teacher)
        rows = jax.nn.logsumexp(alpha * log_p + (1 - alpha) * log_q, axis=-1) / (alpha - 1)
        return jnp.sum(weights * rows)

    alpha = jnp.asarray(1.7)
    agree(*(jax.jit(jax.value_and_grad(f))(alpha) for f in (ours, formula)), 1e-11)


def test_rows_of_a_block_fit_a_cpu_s_caches_unless_a_budget_is_given():
    if jax.default_backend() != "cpu":
        pytest.skip("without a budget, only a CPU looks at few rows at a time")
    size = (1024, 32768, jnp.float32)
    assert plan(*size, None, None, 1).rows == 128
    assert plan(*size, 2**29, None, 1).rows == 1024
    assert plan(1024, 2**18, jnp.float32, None, None, 1).rows == 64
    assert plan(8, 50, jnp.float32, None, None, 1).rows == 8
