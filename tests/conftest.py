"""Settings that the whole suite runs under.

JAX's strictest promotion rules, so that no test passes by an implicit conversion, and float32
by default, as users have it. A test that needs float64 asks for the `x64` fixture or, inside
`@given`, enters `jax.enable_x64(True)` itself.
"""

import gc
import os
import re
import resource
import tempfile
import zlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # read when JAX is imported
# What the command line keeps between runs it does not keep in the user's cache.
_CACHE = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = _CACHE.name

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example of a test compiles and takes as long as it takes.
settings.register_profile("jaxdiv", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("jaxdiv")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share compiled functions run on one worker (`--dist loadgroup`)."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        name = parameters.params.get("name") if parameters else None
        if name and item.path.stem in ("test_derivatives", "test_verification"):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem} {name}"))
        if item.path.stem in ("test_tour", "test_bench"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        slow = item.get_closest_marker("slow")  # these would keep one worker for too long
        if item.path.stem.startswith(("test_cli", "test_families", "test_samples")) and not slow:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    _mark_exhaustive(items)


def _mark_exhaustive(items: list[pytest.Item]) -> None:
    """Of a slow sweep CI runs one parameter set if no quick one exists, and one in forty others.

    They are drawn by the test's own name, always the same ones, so that two sweeps over the same
    entries leave out others. `make exhaustive` runs all.
    """
    slow = {id(item) for item in items if item.get_closest_marker("slow")}

    def function(item: pytest.Item) -> str:
        # chex names its variants as methods: test_value_('kl')__with_jit
        return re.split(r"\[|_\(", item.nodeid, maxsplit=1)[0]

    seen = {function(item) for item in items if id(item) not in slow}
    for item in items:
        swept = hasattr(item, "callspec") or function(item) != item.nodeid
        if id(item) in slow and swept:
            if function(item) in seen and zlib.crc32(item.nodeid.encode()) % 40:
                item.add_marker(pytest.mark.exhaustive)
            seen.add(function(item))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Functions by their names: an address would differ from worker to worker."""
    return getattr(val, "__name__", None) if callable(val) else None


def every(names: Iterable[str], quick: Container[str]) -> list:
    """All names as parameters, those outside `quick` marked slow."""
    slow = pytest.mark.slow
    return [name if name in quick else pytest.param(name, marks=slow) for name in names]


# Entries that are other ones reversed, symmetrised, with another parameter, or a function of them.
REPEATS = {
    *("reverse_kl", "jeffreys", "neyman_chi2", "js_quarter", "js_distance", "renyi_half"),
    *("alpha_minus_1", "alpha_3", "tsallis_1_5", "bhattacharyya", "squared_fisher_rao"),
    "chernoff",
}


def distinct(names: Iterable[str]) -> list:
    """All names as parameters, those of REPEATS marked slow."""
    return every(names, set(names := list(names)) - REPEATS)


def rest_slow(parameters: list, quick: int) -> list:
    """The first few parameter sets as they are, the others marked slow."""
    rest = (pytest.param(*given, marks=pytest.mark.slow) for given in parameters[quick:])
    return [*parameters[:quick], *rest]


# What a worker may hold before it forgets its compiled programs: hundreds of slow tests would keep
# many gigabytes, while tests that follow each other share some.
_LIMIT = 3 * 2**30


def _resident() -> int:
    """Bytes of memory of this process; where nobody tells, the most it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(autouse=True)
def _bounded_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Slow tests forget compiled programs when there are too many."""
    yield
    if request.node.get_closest_marker("slow") and _resident() > _LIMIT:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def x64() -> Iterator[None]:
    """float64 for one test: `@pytest.mark.usefixtures("x64")`."""
    with jax.enable_x64(True):
        yield
