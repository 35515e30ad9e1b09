"""Truncated teachers: what each treatment of the tail compares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import jaxdiv as jd
from conftest import every

V, K, ROWS = 300, 5, (2, 3)


def teacher():
    rng = np.random.default_rng(0)
    indices = np.stack([rng.permutation(V)[:K] for _ in range(6)]).reshape(*ROWS, K)
    kept = rng.dirichlet(np.ones(K + 1), size=ROWS)[..., :K]
    return indices, kept


def student():
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(*ROWS, 4))), jnp.asarray(rng.normal(size=(4, V)))


def merged(q, indices):
    """The probabilities at the indices, and of all other outcomes together."""
    picked = jnp.take_along_axis(q, indices, -1)
    return jnp.concatenate([picked, 1 - picked.sum(-1, keepdims=True)], -1)


def expected(tail, q, indices, kept):
    """Both distributions as probabilities, by the definition of the tail."""
    if tail == "bucket":
        rest = 1 - kept.sum(-1, keepdims=True)
        return np.concatenate([kept, rest], -1), merged(q, jnp.asarray(indices))
    p = np.zeros((*ROWS, V))
    np.put_along_axis(p, indices, kept, -1)
    return (p / p.sum(-1, keepdims=True) if tail == "renormalise" else p), q


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("side", every(["left", "right"], ["left"]))
@pytest.mark.parametrize("tail", every(["bucket", "renormalise", "zero"], ["bucket"]))
def test_values_and_gradients_by_the_definition_of_the_tail(tail, side):
    indices, kept = teacher()
    verb = jd.kl_divergence if side == "left" else jd.js_divergence

    def loss(hidden, weight, log_probs):
        p = jd.TopK(jnp.asarray(indices), log_probs, tail)
        q = jd.Head(hidden, weight, memory=8 * 6 * 6 * 128)
        return jnp.sum(jnp.sin(verb(*((p, q) if side == "left" else (q, p)))))

    def plain(hidden, weight, log_probs):
        q = jax.nn.softmax(hidden @ weight)
        kept = jnp.exp(log_probs)
        if tail == "bucket":
            p = jnp.concatenate([kept, 1 - kept.sum(-1, keepdims=True)], -1)
            q = merged(q, jnp.asarray(indices))
        else:
            if tail == "renormalise":
                kept = kept / kept.sum(-1, keepdims=True)
            hot = jnp.asarray(np.eye(V)[indices])
            p = jnp.einsum("ijk,ijkv->ijv", kept, hot)
        a, b = (p, q) if side == "left" else (q, p)
        return jnp.sum(jnp.sin(verb(a, b)))

    args = *student(), jnp.log(jnp.asarray(kept))
    got, want = (jax.jit(jax.value_and_grad(f, (0, 1, 2)))(*args) for f in (loss, plain))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("tail", ["bucket", "renormalise", "zero"])
def test_kl_from_a_truncated_teacher_by_its_formula(tail):
    indices, kept = teacher()
    hidden, weight = student()
    q = special.softmax(np.asarray(hidden @ weight), -1)
    p, q = expected(tail, q, indices, kept)
    want = special.kl_div(p, np.asarray(q)).sum(-1)
    top = jd.TopK(jnp.asarray(indices), jnp.log(jnp.asarray(kept)), tail)
    np.testing.assert_allclose(
        jd.kl_divergence(top, jd.Head(hidden, weight)), want, rtol=1e-12
    )  # fmt: skip


def test_merging_never_adds_divergence_and_the_true_teacher_has_none():
    rng = np.random.default_rng(2)
    z = jnp.asarray(rng.normal(size=(4, V)), jnp.float32)
    w = z + jnp.asarray(rng.normal(size=(4, V)), jnp.float32)
    log_probs, indices = jax.lax.top_k(jax.nn.log_softmax(z), 10)
    top = jd.TopK(indices, log_probs, "bucket")
    merged = jd.kl_divergence(top, jd.Logits(w))
    assert (merged <= jd.kl_divergence(jd.Logits(z), jd.Logits(w))).all()
    assert (merged > 0).all()
    # The remaining mass is 1 less the others', each rounded to an ulp or so.
    assert (jd.kl_divergence(top, jd.Logits(z)) < 1e-11).all()


@pytest.mark.parametrize(
    ("indices", "log_probs", "tail", "text"),
    [
        ([1, 1], [-1.0, -2.0], "zero", "indices must be different within a row"),
        ([1, 2], [-0.1, -0.2], "zero", "mass of at most 1 a row, but one has 1.72"),
        ([1, 9], [-1.0, -2.0], "zero", r"p.indices must be in \[0, 5\), but 9 is among them"),
        ([1, 2], [-1.0], "zero", r"must have one shape, .* \(2,\) and \(1,\)"),
        ([1, 2], [-1.0, -2.0], "drop", "p.tail must be one of .* but is 'drop'"),
    ],
)
def test_errors(indices, log_probs, tail, text):
    with pytest.raises(ValueError, match=text):
        top = jd.TopK(jnp.asarray(indices), jnp.asarray(log_probs), tail)
        jd.kl_divergence(top, jd.Logits(jnp.zeros(5)))


def test_two_truncated_teachers_do_not_say_how_many_outcomes_there_are():
    top = jd.TopK(jnp.asarray([1, 2]), jnp.asarray([-1.0, -2.0]))
    with pytest.raises(ValueError, match="nothing says how many outcomes"):
        jd.kl_divergence(top, top)
