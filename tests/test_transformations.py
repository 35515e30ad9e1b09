"""Verbs under jit and vmap give what they give without, and objects pass through both."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxdiv as jd
from conftest import every

NAMES = [name for name in sorted(jd.CATALOGUE) if name != "chernoff"]
QUICK = ("kl", "renyi_2")


def rows(seed=0, shape=(4, 5)):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    return jnp.asarray(a, jnp.float32), jnp.asarray(a + rng.normal(size=shape), jnp.float32)


def check_variant(case, name):
    a, b = rows()
    entry = jd.CATALOGUE[name]
    got = case.variant(lambda a, b: entry(jd.Logits(a), jd.Logits(b)))(a, b)
    assert got.shape == (4,)
    want = [entry(jd.Logits(x), jd.Logits(y)) for x, y in zip(a[:2], b[:2], strict=True)]
    np.testing.assert_allclose(got[:2], want, rtol=1e-6)


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(*QUICK)
    def test_value(self, name):
        check_variant(self, name)


@pytest.mark.slow
class OtherVariants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(*(name for name in NAMES if name not in QUICK))
    def test_value(self, name):
        check_variant(self, name)


@pytest.mark.core
@pytest.mark.parametrize("name", every(["kl", "renyi_2", "total_variation", "bregman"], ["kl"]))
def test_vmap_of_value_and_gradient(name):
    a, b = rows()
    entry = jd.CATALOGUE[name]

    def f(a, b):
        return entry(jd.Logits(a), jd.Logits(b))

    np.testing.assert_allclose(jax.jit(jax.vmap(f))(a, b), f(a, b), rtol=1e-6)
    one = jax.jit(jax.vmap(jax.grad(f, 1)))(a, b)
    whole = jax.grad(lambda b: f(a, b).sum())(b)
    np.testing.assert_allclose(one, whole, rtol=1e-5, atol=1e-7)


def test_objects_and_nouns_are_pytrees():
    a, b = rows()

    @jax.jit
    def f(divergence, p, q):
        return divergence(p, q)

    got = f(jd.Alpha(0.5), jd.Logits(a, 2.0), jd.Logits(b, 2.0))
    want = jd.alpha_divergence(jd.Logits(a, 2.0), jd.Logits(b, 2.0), 0.5)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    slope = jax.grad(lambda d: d(jd.Logits(a), jd.Logits(b)).sum())(jd.Alpha(0.5))
    assert isinstance(slope, jd.Alpha) and bool(jnp.isfinite(slope.alpha))
    labels = jd.Labels(jnp.asarray([0, 1, 2, 4]))
    np.testing.assert_allclose(
        f(jd.KL(), labels, jd.Logits(b)),
        -jax.nn.log_softmax(b)[jnp.arange(4), labels.labels],
        rtol=1e-6,
    )


@pytest.mark.core
def test_structures_of_different_classes_differ():
    # Or a cache keyed by structure may return one divergence's program for another.
    values = [entry.divergence for entry in jd.CATALOGUE.values()]
    values += [jd.Probs(1.0), jd.LogProbs(1.0), jd.Logits(1.0), jd.Labels(1)]
    values += [jd.Alpha(0.7), jd.Renyi(0.7), jd.Tsallis(0.7), jd.JensenShannon(0.7), jd.SkewKL(0.7)]
    structures = {}
    for value in values:
        leaves, structure = jax.tree.flatten(value)
        assert jax.tree.unflatten(structure, leaves) == value
        for known, kind in structures.items():
            assert (known == structure) <= (kind is type(value)), (kind, value)
        structures[structure] = type(value)


def test_a_repeated_call_does_not_compile_again():
    a, b = rows()
    traces = []

    def generator(t):
        traces.append(t)
        return t * t

    jd.f_divergence(jd.Logits(a), jd.Logits(b), generator)
    first = len(traces)
    jd.f_divergence(jd.Logits(b), jd.Logits(a), generator)
    assert first and len(traces) == first


floats = st.floats(-30, 30, width=32, allow_subnormal=False)


@given(
    hnp.arrays(np.float32, (2, 4), elements=floats),
    st.sampled_from(["kl", "js", "le_cam", "squared_hellinger", "chi2", "alpha_half"]),
    st.floats(-100, 100, width=32),
)
def test_properties_of_any_pair(pair, name, shift):
    entry = jd.CATALOGUE[name]
    a, b = jnp.asarray(pair)
    value = entry(jd.Logits(a), jd.Logits(b))
    assert value >= 0
    # Unchanged when outcomes are permuted, to the rounding of sums of four terms.
    order = jnp.asarray([2, 0, 3, 1])
    again = entry(jd.Logits(a[order]), jd.Logits(b[order]))
    np.testing.assert_allclose(again, value, rtol=32 * 2**-23, atol=1e-37)
    # A constant changes nothing but the rounding of the stored logits.
    shifted = entry(jd.Logits(a + jnp.float32(shift)), jd.Logits(a + jnp.float32(shift)))
    assert shifted == 0
    assert entry.claims.upper_bound * (1 + 1e-6) >= value
    if entry.claims.symmetric:
        np.testing.assert_allclose(
            entry(jd.Logits(b), jd.Logits(a)), value, rtol=32 * 2**-23, atol=1e-37
        )


@pytest.mark.slow
@given(hnp.arrays(np.float32, (2, 4), elements=st.floats(-8, 8, width=32, allow_subnormal=False)))
@example(np.float32([[2.9367393e-18, 0, 0, 0], [0, 0, 0, 0]]))
def test_inequalities(pair):
    p, q = (jd.Logits(x) for x in jnp.asarray(pair))
    kl, tv = jd.kl_divergence(p, q), jd.total_variation(p, q)
    h2, le_cam = jd.squared_hellinger(p, q), jd.le_cam_divergence(p, q)
    js, jeffreys = jd.js_divergence(p, q), jd.jeffreys_divergence(p, q)
    least = float(np.finfo(np.float32).tiny)

    def below(x, y):
        # Of a sum of squares the terms below the least normal number are 0: there are four, and
        # up to four factors of a half are taken out of them.
        return x <= y * (1 + 128 * 2**-23) + 64 * least

    assert below(2 * tv**2, kl)
    assert below(h2, tv) and below(tv, jnp.sqrt(jnp.maximum(h2, least) * (2 - h2)))
    assert below(jd.renyi_divergence(p, q, 0.5), kl)
    assert below(kl, jnp.log1p(jd.chi2_divergence(p, q)))
    assert below(le_cam / 4, js) and below(js, jnp.log(2.0) / 2 * le_cam)
    assert below(js, jnp.log(2.0) * tv) and below(js, jeffreys / 4)
    assert below(2 * tv**2, le_cam) and below(le_cam, 2 * tv)
    assert below(2 * h2, le_cam) and below(le_cam, 4 * h2)
    assert below(jd.chernoff_information(p, q), min(kl, jd.reverse_kl_divergence(p, q)))
