"""Machine code for rows of logits: where it serves, rows of any length, threads, numbers as stored.

That its values and slopes keep the promise is for the tests of all paths.
"""

import concurrent.futures
import importlib.util
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from jaxdiv.rows import llvm_cpu
from jaxdiv.rows.elementwise import Unsupported
from jaxdiv.rows.llvm_code import KNOWN, LANES

pytestmark = pytest.mark.skipif(
    llvm_cpu.unavailable() is not None, reason=str(llvm_cpu.unavailable())
)

NAMES = [x for x in jd.CATALOGUE if x not in ("f_divergence", "bregman")]


def rows(shape, dtype=jnp.float32, seed=0, apart=0.3):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    b = a + apart * rng.normal(size=shape)
    return jnp.asarray(a, dtype), jnp.asarray(b, dtype)


def path(name, a, b, **more):
    return jd.implementation_of(jd.CATALOGUE[name].divergence, jd.Logits(a), jd.Logits(b), **more)


@pytest.mark.parametrize("name", NAMES)
def test_all_but_functions_of_the_users_own_have_code(name):
    assert "llvm" in path(name, *rows((64, 1024)), platform="cpu").name


def test_which_calls_it_serves():
    large, few = rows((64, 1024)), rows((4, 16))
    assert path("kl", *large, platform="cpu").name == "llvm"
    assert path("kl", *few, platform="cpu").name == "reference"
    assert path("kl", *few, implementation="llvm", platform="cpu").name == "llvm"
    assert path("kl", *rows((1, 2**17)), platform="cpu").name == "blocked"
    assert path("bregman", *large, implementation="llvm", platform="cpu").name == "blocked"
    with pytest.raises(NotImplementedError, match="platform is cuda"):
        path("kl", *large, implementation="llvm", platform="cuda")


def test_without_llvmlite_blocks_serve(monkeypatch):
    monkeypatch.setattr(llvm_cpu, "unavailable", lambda: "llvmlite is not installed")
    found = path("kl", *rows((64, 1024)), platform="cpu")
    assert found.name == "blocked"
    assert "llvmlite is not installed" in found.reason
    with pytest.raises(NotImplementedError, match="llvmlite is not installed"):
        path("kl", *rows((64, 1024)), implementation="llvm", platform="cpu")


def test_why_there_is_no_code(monkeypatch):
    why = llvm_cpu.unavailable.__wrapped__
    assert why() is None
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda _: None)
        assert why() == "llvmlite is not installed"
    with monkeypatch.context() as patch:
        patch.setattr(llvm_cpu.sys, "platform", "win32")
        assert "win32" in why()
    from jaxdiv.rows import llvm_call

    monkeypatch.setattr(llvm_call, "_MINORS", (99, 99))  # of XLA's interface, a version to come
    assert "version" in llvm_call.refused.__wrapped__()


def test_an_exported_program_has_none():
    a, b = rows((64, 1024))

    @jax.jit
    def f(a, b):
        return jax.grad(lambda b: jd.kl_divergence(jd.Logits(a), jd.Logits(b)).sum())(b)

    assert "jaxdiv_" in f.lower(a, b).as_text()
    exported = jax.export.export(f)(a, b)
    assert "jaxdiv_" not in exported.mlir_module()
    np.testing.assert_allclose(exported.call(a, b), f(a, b), rtol=1e-5, atol=1e-7)


# One vector, one less and one more, and one more than are added up before what that loses is kept.
@pytest.mark.parametrize("size", [LANES, LANES - 1, LANES + 1, 64 * LANES + 1])
def test_rows_of_any_length(size):
    if size < 16:
        a, b = (jnp.pad(x, [(0, 0), (0, 1)], constant_values=-jnp.inf) for x in rows((5, size)))
    else:
        a, b = rows((5, size))

    def both(a, b, implementation):
        def f(a, b):
            return jd.js_divergence(jd.Logits(a), jd.Logits(b), implementation=implementation)

        return f(a, b), *jax.grad(lambda *x: f(*x).sum(), (0, 1))(a, b)

    got, want = (jax.jit(both, static_argnums=2)(a, b, x) for x in ("llvm", "reference"))
    np.testing.assert_allclose(got[0], want[0], rtol=2e-6)
    for x, y in zip(got[1:], want[1:], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=2e-6 * float(jnp.abs(y).max()))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_read_and_written_as_it_is_stored(dtype):
    a, b = rows((40, 1000), dtype)
    weights = jnp.linspace(-1, 1, 40)

    def total(b, a, implementation):
        f = jd.kl_divergence(jd.Logits(a), jd.Logits(b), implementation=implementation)
        return jnp.sum(weights * f), f

    both = jax.jit(jax.grad(total, has_aux=True), static_argnums=2)
    (got, value), (want, exact) = both(b, a, "llvm"), both(b, a, "reference")
    assert value.dtype == jnp.float32
    assert got.dtype == dtype
    np.testing.assert_allclose(value, exact, rtol=2e-6)
    step = float(jnp.finfo(dtype).eps) * np.abs(np.float64(want))
    tiny = float(jnp.finfo(dtype).smallest_subnormal)
    # The same number, or its neighbour where it lies halfway between two.
    assert np.all(np.abs(np.float64(got) - np.float64(want)) <= step + tiny)
    assert np.mean(np.asarray(got == want)) > 0.99


def test_numbers_a_row_are_read_from_a_table():
    a, b = rows((48, 1000), apart=1.0)
    alphas = jnp.linspace(0.3, 3.0, 48)

    def f(a, b, alpha):
        return jd.renyi_divergence(jd.Logits(a), jd.Logits(b), alpha)

    mapped = jax.jit(jax.vmap(f))
    assert "jaxdiv_" in mapped.lower(a, b, alphas).as_text()
    want = [f(x, y, alpha) for x, y, alpha in zip(a[::9], b[::9], alphas[::9], strict=True)]
    np.testing.assert_allclose(mapped(a, b, alphas)[::9], want, rtol=2e-6)


def test_calls_at_once_from_many_threads():
    a, b = rows((300, 257))
    f = jax.jit(lambda a, b: jd.kl_divergence(jd.Logits(a), jd.Logits(b), implementation="llvm"))
    want = np.asarray(f(a, b))
    start = threading.Barrier(8)

    def calls(_):
        start.wait()
        return all(np.array_equal(f(a, b), want) for _ in range(100))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(calls, range(8)))


def test_it_lies_within_loops_and_branches():
    a, b = rows((64, 1024))

    @jax.jit
    def descent(b):
        def step(_, b):
            return b - jax.grad(lambda b: jd.kl_divergence(jd.Logits(a), jd.Logits(b)).sum())(b)

        return jax.lax.fori_loop(0, 20, step, b)

    before, after = (jd.kl_divergence(jd.Logits(a), jd.Logits(x)).sum() for x in (b, descent(b)))
    assert after < before


def test_an_operation_without_code_is_named(monkeypatch):
    monkeypatch.setattr("jaxdiv.rows.llvm_code.KNOWN", KNOWN - {"div"})
    x = jax.ShapeDtypeStruct((64, 1024), jnp.float32)
    found = path("js", x, x, platform="cpu")
    assert found.name == "blocked"
    assert "no div" in found.reason

    def refuse(*_):
        raise Unsupported("its numbers are complex64")

    monkeypatch.setattr(llvm_cpu, "_traced", refuse)
    assert "complex64" in path("js", x, x, platform="cpu").reason
