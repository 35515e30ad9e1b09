"""Heads of language models, whose logits are never whole, beside logits that are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import jaxdiv as jd
from conftest import every

V, ROWS, D = 300, (2, 3), 4
# Of 6 rows in float64: forward 4 of them at a time, backward tiles of 128, of which 300 is no
# multiple.
MEMORY = 8 * 6 * 6 * 128
NAMES = {"js", "renyi_half", "total_variation"}


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"hidden": (*ROWS, D), "weight": (D, V), "bias": (V,), "other": (*ROWS, 2),
              "table": (2, V)}  # fmt: skip
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}


def whole(hidden, weight, bias=None, softcap=None, temperature=1.0):
    """The logits, all at once."""
    z = hidden @ weight
    if bias is not None:
        z = z + bias[None, None]
    return jd.Logits(z if softcap is None else softcap * jnp.tanh(z / softcap), temperature)


head = functools.partial(jd.Head, memory=MEMORY)


def agree(got, want, rtol=1e-12):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        size = np.abs(b).max()
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * (size if size > 0 else 1))


@pytest.mark.usefixtures("x64")
def test_cross_entropy_and_its_gradient_by_their_formulas():
    x = numbers()
    labels = np.random.default_rng(1).integers(0, V, ROWS)
    logits = np.asarray(x["hidden"] @ x["weight"] + x["bias"][None, None])
    scale = np.arange(1.0, 7).reshape(ROWS)

    def loss(hidden, weight, bias):
        value = jd.cross_entropy(jd.Labels(jnp.asarray(labels)), head(hidden, weight, bias))
        return jnp.sum(value * scale), value

    slopes, value = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(
        x["hidden"], x["weight"], x["bias"]
    )
    want = -np.take_along_axis(special.log_softmax(logits, -1), labels[..., None], -1)[..., 0]
    np.testing.assert_allclose(value, want, rtol=1e-14)
    by_logits = scale[..., None] * (special.softmax(logits, -1) - np.eye(V)[labels])
    by_hidden, by_weight = by_logits @ x["weight"].T, np.einsum("ijk,ijl", x["hidden"], by_logits)
    agree(slopes, (by_hidden, by_weight, by_logits.sum((0, 1))))


def options(verb, make):
    """A function of all that a head has, with another head as the teacher."""

    def f(hidden, weight, bias, softcap, temperature, other, table):
        student = make(hidden, weight, bias, softcap, temperature)
        return jnp.sum(verb(make(other, table), student))

    return f


def arguments():
    x = numbers()
    softcap, temperature = jnp.asarray(3.0), jnp.asarray(1.3)
    return x["hidden"], x["weight"], x["bias"], softcap, temperature, x["other"], x["table"]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", every(sorted(jd.CATALOGUE), {"js"}))
def test_values_and_gradients_of_two_heads_are_those_of_their_logits(name):
    verb = jd.CATALOGUE[name]
    places = tuple(range(7))
    got, want = (
        jax.jit(jax.value_and_grad(options(verb, make), places))(*arguments())
        for make in (head, whole)
    )
    agree(got, want, 1e-11)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", every(["kl", "renyi_half", "total_variation"], []))
def test_second_derivatives_in_every_nesting(name):
    second_derivatives(jd.CATALOGUE[name])


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_second_derivatives_of_cross_entropy_in_every_nesting():
    labels = jd.Labels(jnp.asarray([[0, 299, 5], [7, 128, 1]]))
    second_derivatives(lambda _, q: jd.cross_entropy(labels, q), 2)


def second_derivatives(verb, moving=7):
    args = arguments()
    rng = np.random.default_rng(3)
    dots = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in args[:moving])

    def products(make):
        def f(*moved):
            return options(verb, make)(*moved, *args[moving:])

        slope = jax.grad(f, tuple(range(moving)))

        def along(*x):
            return jax.jvp(f, x, dots)[1]

        @jax.jit
        def all_of_them(*x):
            forward = jax.jvp(slope, x, dots)[1]
            reverse = jax.grad(along, tuple(range(moving)))(*x)
            twice = jax.vjp(slope, *x)[1](dots)
            return along(*x), forward, reverse, twice, jax.jvp(along, x, dots)[1]

        return all_of_them(*args[:moving])

    agree(products(head), products(whole), 1e-11)


NOUNS = {
    "labels": lambda z, y: jd.Labels(y),
    "smoothed": lambda z, y: jd.Labels(y, smoothing=0.1),
    "logits": lambda z, y: jd.Logits(z, 2.0),
    "probs": lambda z, y: jd.Probs(jax.nn.softmax(z)),
    "log_probs": lambda z, y: jd.LogProbs(jax.nn.log_softmax(z[0, 0])),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("side", every(["left", "right"], ["right"]))
@pytest.mark.parametrize("name", every(NOUNS, ["smoothed"]))
def test_beside_every_other_noun_with_a_mask(name, side):
    rng = np.random.default_rng(4)
    x = numbers()
    z, y = jnp.asarray(rng.normal(size=(*ROWS, V))), jnp.asarray(rng.integers(0, V, ROWS))
    mask = jnp.asarray(rng.uniform(size=V) < 0.7).at[y.reshape(-1)].set(True)
    noun = NOUNS[name](z, y)

    def loss(make):
        def f(hidden, weight):
            q = make(hidden, weight)
            pair = (noun, q) if side == "right" else (q, noun)
            value = jd.js_divergence(*pair, where=mask)
            return jnp.sum(value**2), value

        return jax.jit(jax.value_and_grad(f, (0, 1), has_aux=True))

    agree(*(loss(make)(x["hidden"], x["weight"]) for make in (head, whole)))


@pytest.mark.usefixtures("x64")
def test_entropy_and_perplexity():
    x = numbers()
    logits = np.asarray(x["hidden"] @ x["weight"])
    log_p = special.log_softmax(logits, -1)
    q = head(x["hidden"], x["weight"])
    want = -np.sum(np.exp(log_p) * log_p, -1)
    np.testing.assert_allclose(jd.entropy(q), want, rtol=1e-13)
    np.testing.assert_allclose(jd.perplexity(q), np.exp(want), rtol=1e-13)
    np.testing.assert_allclose(jd.entropy(q, base=2), want / np.log(2), rtol=1e-13)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_equal_heads_have_exactly_no_divergence_and_no_gradient(dtype):
    rng = np.random.default_rng(5)
    hidden, weight = (jnp.asarray(rng.normal(size=s), dtype) for s in ((4, 16), (16, 257)))

    def f(a, b, c, d):
        value = jd.js_divergence(jd.Head(a, b, memory=16384), jd.Head(c, d))
        return jnp.sum(value), value

    slopes, value = jax.jit(jax.grad(f, (0, 1, 2, 3), has_aux=True))(hidden, weight, hidden, weight)
    assert value.dtype == jnp.float32
    assert not value.any()
    assert all(not s.astype(jnp.float32).any() and s.dtype == dtype for s in slopes)


@functools.cache
def near():
    return jax.jit(
        lambda a, b, c, d: (
            jd.kl_divergence(jd.Head(a, b), jd.Head(c, d)),
            jd.kl_divergence(jd.Logits(a @ b), jd.Logits(c @ d)),
        )
    )


@pytest.mark.parametrize("size", [1e-5, 1e-3, 0.1, 3])
def test_float32_is_near_what_the_same_logits_give_and_never_negative(size):
    rng = np.random.default_rng(6)
    a, b = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((8, 64), (64, 1000)))
    c = a + size * jnp.asarray(rng.normal(size=a.shape), jnp.float32)
    got, _ = near()(a, b, c, b)
    assert (got >= 0).all()
    exact = [np.asarray(x, np.float64) @ np.asarray(b, np.float64) for x in (a, c)]
    p, q = (special.log_softmax(x, -1) for x in exact)
    want = np.sum(special.kl_div(np.exp(p), np.exp(q)), -1)
    # Each logit has a few ulp of its own size, 50, and each log-ratio as many; they average out.
    error = 4 * 2.0**-23 * 50
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=error * np.sqrt(want.max()) + error**2)


def test_low_precision_is_multiplied_as_it_is_and_added_up_in_float32():
    rng = np.random.default_rng(7)
    hidden = jnp.asarray(rng.normal(size=(8, 64)), jnp.bfloat16)
    weight = jnp.asarray(rng.normal(size=(64, 700)) / 8, jnp.bfloat16)
    y = jnp.asarray(rng.integers(0, 700, 8), jnp.int32)

    def loss(hidden, weight):
        q = jd.Head(hidden, weight, memory=2**16)
        return jnp.sum(jd.cross_entropy(jd.Labels(y), q))

    value, slopes = jax.jit(jax.value_and_grad(loss, (0, 1)))(hidden, weight)
    h, w = (np.asarray(x, np.float64) for x in (hidden, weight))
    z = h @ w
    by_logits = special.softmax(z, -1) - np.eye(700)[np.asarray(y)]
    want = -special.log_softmax(z, -1)[np.arange(8), np.asarray(y)].sum()
    np.testing.assert_allclose(value, want, rtol=1e-6)
    for got, exact in zip(slopes, (by_logits @ w.T, h.T @ by_logits), strict=True):
        assert got.dtype == jnp.bfloat16
        # Cotangents of logits and the result are rounded to 8 bits.
        error = np.linalg.norm(np.asarray(got, np.float64) - exact) / np.linalg.norm(exact)
        assert error < 2.0**-8


def test_rows_without_meaning_are_nan_alone_and_masked_ones_0():
    hidden = jnp.asarray([[1.0, 2.0], [jnp.nan, 0.0], [0.5, 0.5], [0.1, 0.2]], jnp.float32)
    weight = jnp.asarray(np.random.default_rng(8).normal(size=(2, 7)), jnp.float32)
    labels = jnp.asarray([3, 3, 9, 0])
    where = jnp.asarray([[True] * 7] * 3 + [[False] * 7])
    value = jax.jit(
        lambda y, h: jd.cross_entropy(jd.Labels(y), jd.Head(h, weight), where=where)
    )(labels, hidden)  # fmt: skip
    assert np.isnan(value).tolist() == [False, True, True, False]
    assert value[3] == 0


@pytest.mark.usefixtures("x64")
def test_mapped_gradients_are_those_of_each():
    x = numbers()

    def slope(make):
        def loss(hidden, label):
            q = make(hidden, x["weight"], x["bias"])
            return jd.cross_entropy(jd.Labels(label), q).sum()

        return loss

    labels = jnp.asarray([[0, 299, 5], [7, 128, 1]])
    got = jax.jit(jax.vmap(jax.grad(slope(head))))(x["hidden"], labels)
    z = np.asarray(x["hidden"] @ x["weight"] + x["bias"][None, None])
    by_logits = special.softmax(z, -1) - np.eye(V)[np.asarray(labels)]
    agree(got, by_logits @ x["weight"].T)


def test_memory_is_what_was_asked_for():
    rows, d, size, budget = 512, 32, 8192, 2**21
    h, w = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((rows, d), (d, size)))
    y = jax.ShapeDtypeStruct((rows,), jnp.int32)

    def loss(y, h, w):
        return jd.cross_entropy(jd.Labels(y), jd.Head(h, w, memory=budget)).sum()

    found = jax.jit(jax.value_and_grad(loss, (1, 2))).lower(y, h, w).compile().memory_analysis()
    assert found.temp_size_in_bytes < 1.5 * budget < 4 * rows * size / 4


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda h, w: jd.Head(h, w.T), r"p.hidden and the first of p.weight .*\(3, 4\).*\(9, 4\)"),
        (lambda h, w: jd.Head(h, w[0]), r"p.weight must be \(d, V\), but has shape \(9,\)"),
        (lambda h, w: jd.Head(h, w, jnp.zeros(4)), r"p.bias must have the last axis .* \(4,\)"),
        (lambda h, w: jd.Head(h, w, softcap=0.0), "p.softcap must be a positive finite number"),
        (lambda h, w: jd.Head(h, w, temperature=-1.0), "p.temperature must be a positive"),
        (lambda h, w: jd.Head(h, w, memory=100), r"memory must be at least \d+ bytes for 3 rows"),
        (lambda h, w: jd.Head(h, w[:, :8]), "p has 8, q has 9"),
    ],
)
def test_errors_name_the_arrays_and_the_cure(make, text):
    h, w = jnp.ones((3, 4)), jnp.ones((4, 9))
    with pytest.raises(ValueError, match=text):
        jd.kl_divergence(make(h, w), jd.Logits(jnp.zeros(9)))


def test_what_has_no_tiles_says_so():
    h, w = jnp.ones((3, 4)), jnp.ones((4, 9))
    with pytest.raises(NotImplementedError, match="one path"):
        jd.kl_divergence(jd.Head(h, w), jd.Head(h, w), implementation="blocked")
    with pytest.raises(TypeError, match="shape of all outcomes"):
        jd.self_information(jd.Head(h, w))
    with pytest.raises(TypeError, match="not Head"):
        jd.joint_entropy(jd.Head(h, w))
