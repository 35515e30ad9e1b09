"""Compiled programs that are kept between runs: found again, replaced when stale or damaged."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiv.verification import programs

# A run of its own each: JAX decides once a process whether it has a cache.
_RUN = """
import sys, jax, jax.numpy as jnp
from jaxdiv.verification import programs
folder, version = sys.argv[1:]
jax.config.update("jax_compilation_cache_dir", folder)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
programs.keep_in(__import__("pathlib").Path(folder))
programs._sources = lambda: version
def f(x):
    return jnp.exp(x) @ jnp.sin(x).T + jnp.sum(jnp.log1p(x * x), axis=0)
print(float(jnp.sum(programs.Program(f, "f")(jnp.ones((4, 4))))))
"""


def test_programs_are_whole_whatever_other_versions_left(tmp_path):
    """XLA loses the kernels of a program that it read from JAX's cache and writes again."""
    results = []
    for version in ("first", "second", "second", "first"):
        done = subprocess.run(
            [sys.executable, "-c", _RUN, str(tmp_path), version], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        results.append(float(done.stdout))
    want = 16 * 4 * np.e * np.sin(1) + 16 * 4 * np.log(2)
    np.testing.assert_allclose(results, want, rtol=1e-6)
    assert len(list(tmp_path.glob("*.program"))) == 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_folder", tmp_path)
    return tmp_path


def kept(folder):
    return sorted(folder.glob("*.program"))


def test_what_is_kept_is_found_again_and_what_is_damaged_replaced(folder):
    calls = []

    def f(x):
        calls.append(1)
        return 2 * x

    x = jnp.arange(3.0)
    for count in (1, 1):  # traced once, and then read
        np.testing.assert_array_equal(programs.Program(f, "twice")(x), 2 * x)
        assert len(calls) == count
    (path,) = kept(folder)
    whole = path.read_bytes()
    for damage in (b"", b"not a program", whole[: len(whole) // 2]):
        path.write_bytes(damage)
        np.testing.assert_array_equal(programs.Program(f, "twice")(x), 2 * x)
        assert len(path.read_bytes()) > len(whole) // 2
    assert len(calls) == 4


def test_shapes_dtypes_and_options_have_programs_of_their_own(folder):
    def f(x):
        return x + 1

    program = programs.Program(f, "one more")
    for x in (jnp.zeros((2,)), jnp.zeros((3,)), jnp.zeros((2,), jnp.int32)):
        program(x)
        program(x)
    programs.Program(f, "one more", quickly=True)(jnp.zeros((2,)))
    assert len(kept(folder)) == 4


def test_nothing_is_kept_without_a_tag_and_tracers_pass_through(folder):
    program = programs.Program(lambda x: x * x, None)
    assert float(program(jnp.asarray(3.0))) == 9
    assert float(jax.grad(program)(jnp.asarray(3.0))) == 6
    assert not kept(folder)


def test_a_setting_of_jax_is_as_it_was(folder):
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    programs.Program(lambda x: -x, "minus")(jnp.zeros((2,)))
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before
