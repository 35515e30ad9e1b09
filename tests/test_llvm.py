"""Machine code for rows of logits: where it serves, rows of any length, threads, numbers as stored.

That its values and slopes keep the promise is for the tests of all paths.
"""

import concurrent.futures
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxdiv as jd
from jaxdiv.rows import dispatch, llvm_cpu
from jaxdiv.rows.llvm_code import LANES

pytestmark = [
    pytest.mark.core,
    pytest.mark.skipif(llvm_cpu.unavailable() is not None, reason=str(llvm_cpu.unavailable())),
]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """Whatever there are: of many cores, half would have no row of some tests."""
    monkeypatch.setattr(dispatch.os, "cpu_count", lambda: 2)


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


class Own(jd.KL):
    """KL and a term of the user's own, which has no series."""

    extra: ClassVar[Callable[[Any], Any]]

    def term(self, pair):
        return jd.KL().term(pair) + self.extra(pair)

    def apart(self, pair):
        return None

    def analytic(self):
        return None


def own(function):
    """A divergence with a term of (pair), which is 0 where p and q are both 0."""
    made = jd._divergence.declare(type("Own", (Own,), {"extra": staticmethod(function)}))
    return made()


def whole(x):
    return x.astype(jnp.int32)


OWN = {
    # Too large for an int32, which has a largest number.
    "to whole numbers": (lambda x: jnp.where(whole(x.p * 1e20) > 0, x.p, 0), "llvm"),
    "powers": (lambda x: x.p * jnp.cbrt(x.q) ** 3 + x.q**1.5, "llvm"),
    "maxima": (lambda x: jnp.maximum(x.p, x.q) - jnp.minimum(x.p, x.q), "llvm"),
    "absolute": (lambda x: jnp.where(jnp.abs(whole(x.q * 1e3)) > 2, x.p, 0), "abs of int32"),
    "booleans": (lambda x: jnp.where((x.p > 0.02) < (x.q > 0.02), x.p, 0), "lt of bool"),
    "switch": (lambda x: lax.select_n(whole(x.p) & 1, x.p, x.q), "select_n of int32"),
    "sines": (lambda x: x.p * jnp.sin(x.q), "sin of float32"),
    "sorted": (lambda x: jnp.sort(jnp.stack([x.p, x.q]), axis=0)[0], "sort has no form"),
    "of all outcomes": (lambda x: x.p - jnp.mean(x.p, axis=-1, keepdims=True), "cannot be traced"),
}


@pytest.mark.parametrize("case", OWN)
def test_terms_of_the_users_own(case):
    function, served = OWN[case]
    a, b = rows((64, 1024), apart=1.0)
    divergence = own(function)
    found = jd.implementation_of(divergence, jd.Logits(a), jd.Logits(b), platform="cpu")
    assert found.name == ("llvm" if served == "llvm" else "blocked")
    assert served == "llvm" or served in found.reason
    got, want = (
        jax.jit(lambda a, b, path=path: divergence(jd.Logits(a), jd.Logits(b), implementation=path))
        for path in ("auto", "reference")
    )
    np.testing.assert_allclose(got(a, b), want(a, b), rtol=2e-6)


# The first outcomes are unlikely, likelier than a float32 may be beside the rest, or the only ones.
LEADS = [-50, -24, 24, 50, 120, -3000, 3000]


@pytest.mark.parametrize("name", ["kl", "chi2"])
def test_first_outcomes_that_are_unlike_the_rest(name):
    def total(a, b, implementation):
        f = jd.CATALOGUE[name](jd.Logits(a), jd.Logits(b), implementation=implementation)
        return f.sum(), f

    both = jax.jit(jax.grad(total, 1, has_aux=True), static_argnums=2)
    rng = np.random.default_rng(3)
    for lead in LEADS:
        a = rng.normal(size=(200, 40)) * 3
        a[:, :16] = lead + rng.normal(size=(200, 16))
        b = np.float32(a + 3e-3 * rng.normal(size=a.shape))
        a = np.float32(a)
        slope, value = both(a, b, "llvm")
        with jax.enable_x64(True):
            exact, want = jax.tree.map(np.asarray, both(np.float64(a), np.float64(b), "reference"))
        assert np.max(np.abs(value - want) / want) <= 16 * 2.0**-23, lead
        lost = np.linalg.norm(slope - exact, axis=-1)
        assert np.all(lost <= 2e-6 * np.linalg.norm(exact, axis=-1)), lead


@pytest.mark.slow
def test_processors_that_are_not_here():
    script = Path(__file__).parent / "llvm_targets.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    calls = json.loads(done.stdout)
    assert len(calls) == 6
    # And no function of a mathematical library.
    system = {"malloc", "free", "memcpy", "memset", "sched_yield", "madvise"}
    for names in calls.values():
        assert {x for x in names if not x.startswith("jaxdiv_")} <= system
