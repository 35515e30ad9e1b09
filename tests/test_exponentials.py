"""The exponentials of a CPU, against NumPy's in float64, and how they are lowered elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiv import _exponentials as exponentials
from jaxdiv import _numerics as num
from jaxdiv.rows.pair import Side, pair_of

pytestmark = pytest.mark.core  # compilers differ in what they simplify

FUNCTIONS = {"exp": (num.exp, np.exp, 1.0), "expm1": (num.expm1, np.expm1, 2.0)}
# All of float32 that matters: the whole range, what is around 0, and the smallest numbers.
POINTS = np.concatenate(
    [
        np.linspace(-86.9, 88.7, 400_001),
        np.linspace(-1.5, 1.5, 400_001),
        np.geomspace(1e-37, 1, 20_001),
        -np.geomspace(1e-37, 1, 20_001),
    ]
).astype(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error(name):
    function, reference, promise = FUNCTIONS[name]
    found = np.asarray(jax.jit(function)(POINTS), np.float64)
    want = reference(np.asarray(POINTS, np.float64))
    ulp = np.spacing(np.abs(want).astype(np.float32))
    assert np.max(np.abs(found - want) / ulp) <= promise


@pytest.mark.parametrize("shift", [-30.0, 0.0, 100.0])
def test_weights(shift):
    """Operation by operation, which compilers that simplify x + c - c don't evaluate."""
    x = POINTS[::7] + np.float32(shift * np.log(2))
    found = np.asarray(exponentials.weight(jnp.asarray(x), jnp.float32(shift)), np.float64)
    want = np.exp(np.asarray(x, np.float64)) * 2.0**-shift
    told = (want > 2.0**-122) & (want < 2.0**125)
    assert np.max((np.abs(found - want) / np.spacing(np.float32(want)))[told]) <= 1.2
    beyond = jnp.asarray([-np.inf, -1e30, np.inf, 1e30], jnp.float32)
    ends = np.asarray(exponentials.weight(beyond, jnp.float32(shift)))
    assert (ends[:2] == 0).all() and (ends[2:] >= 2.0**125).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ends(name):
    function, reference, _ = FUNCTIONS[name]
    # The last but one is the largest of which the exponential is finite.
    x = np.asarray([-np.inf, -1e30, -104.0, -0.0, 0.0, 88.7228, 88.73, 1e30, np.inf], np.float32)
    with np.errstate(over="ignore"):
        want = reference(x)
    found = np.asarray(function(x))
    assert np.array_equal(found == 0, want == 0) and np.array_equal(np.isinf(found), np.isinf(want))
    np.testing.assert_allclose(found[np.isfinite(want)], want[np.isfinite(want)], rtol=1e-6)
    # Any NaN is NaN, whatever its bits.
    bits = np.asarray([0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0xFFC00001], np.uint32)
    assert np.isnan(function(bits.view(np.float32))).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name):
    function, _, _ = FUNCTIONS[name]
    x = jnp.asarray([-3.0, -1e-3, 0.0, 0.3, 20.0])
    for derived in (jax.grad(function), jax.grad(jax.grad(function)), jax.jacfwd(function)):
        np.testing.assert_allclose(jax.vmap(derived)(x), np.exp(x), rtol=4e-7)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_and_other_platforms_have_their_own(name):
    function, reference, _ = FUNCTIONS[name]
    with jax.enable_x64(True):
        x = np.linspace(-700, 700, 10_001)
        np.testing.assert_allclose(function(jnp.asarray(x)), reference(x), rtol=1e-15)
    traced = jax.jit(function).trace(jax.ShapeDtypeStruct((8,), jnp.float32))
    for platform, has in (("cpu", False), ("cuda", True), ("tpu", True)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.exponential " in text) == has


def test_the_plain_path_keeps_masses_that_are_normal_numbers():
    side = Side(jnp.float32([-87.2, 0.0]), chart="log")
    np.testing.assert_allclose(pair_of(side, side).raw_p, np.exp(side.values), rtol=1e-5)
