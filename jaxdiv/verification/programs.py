"""Compiled programs of verification, and where the command line keeps them between runs.

JAX's own persistent cache saves compilation, not tracing and lowering, which take as long. So the
executables of the catalogue's programs are also kept, a file each. Its name is a hash of the
sources of jaxdiv, of JAX's versions, of the machine, and of all else that the program depends on,
so that nothing stale is ever found, nor what another processor was compiled for.
"""

import contextlib
import functools
import hashlib
import math
import os
import pickle
import platform
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jax import Array
from jax.core import Tracer

from .._numerics import QUICKLY

_SMALL = 2**18  # numbers: the optimisations of LLVM would take longer than the program

_folder: Path | None = None


def keep_in(folder: Path) -> None:
    """Keep compiled programs in a folder from now on."""
    global _folder
    _folder = folder


class Program:
    """A function of arrays (and Nones), compiled for every shape; `tag` names what it computes."""

    def __init__(self, function: Callable[..., Any], tag: str | None, *, quickly: bool = False):
        self._function, self._tag, self._quickly = function, tag, quickly
        self._found: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *args: Array | None) -> Any:
        """The function at these arrays; of the last, None is the default."""
        while args[-1] is None:
            args = args[:-1]
        arrays = [x for x in args if x is not None]
        if any(isinstance(x, Tracer) for x in arrays):
            return self._function(*args)
        shapes = tuple(None if x is None else (x.shape, str(x.dtype)) for x in args)
        (device,) = arrays[0].devices()
        key = (shapes, device, bool(jax.config.jax_enable_x64))
        if key not in self._found:
            self._found[key] = self._compiled(args, key)
        return self._found[key](*args)

    def _compiled(self, args: tuple[Array | None, ...], key: Any) -> Callable[..., Any]:
        small = sum(x.size for x in args if x is not None) <= _SMALL
        options = QUICKLY if self._quickly and small else {}
        path, device = None, key[1]
        if _folder is not None and self._tag is not None:
            where = device.platform, device.device_kind, device.id
            said = (self._tag, key[0], key[2], options, where, _machine(), _sources())
            path = _folder / f"{hashlib.sha256(repr(said).encode()).hexdigest()[:32]}.program"
            found = _read(path, device)
            if found is not None:
                return found
        if path is None:
            return jax.jit(self._function).lower(*args).compile(options)
        lowered = jax.jit(_called(path.stem, self._function)).lower(*args)
        with _not_cached():
            compiled = lowered.compile(options)
        _write(path, compiled)
        return compiled


def _called(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under a name that is in the keys of JAX's own cache.

    XLA cannot write anew what it has read: a program that JAX's cache holds of an earlier jaxdiv
    would be kept without its kernels.
    """

    def named(*args: Array | None) -> Any:
        return function(*args)

    named.__name__ = f"program_{name}"
    return named


@contextlib.contextmanager
def _not_cached() -> Iterator[None]:
    """JAX's cache need not hold what is kept in a file."""
    setting = "jax_persistent_cache_min_compile_time_secs"
    seconds = getattr(jax.config, setting)
    jax.config.update(setting, math.inf)
    try:
        yield
    finally:
        jax.config.update(setting, seconds)


@functools.cache
def _sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _machine() -> tuple[str, ...]:
    """What executables are made for, and by: a processor with other instructions can't run them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((x for x in lines if x.lower().startswith(("flags", "features"))), "")
    options = os.environ.get("XLA_FLAGS", "")
    known = platform.machine(), platform.processor(), flags, options
    return *known, version("jax"), version("jaxlib")


def _read(path: Path, device: Any) -> Callable[..., Any] | None:
    from jax.experimental import serialize_executable

    try:
        parts = pickle.loads(path.read_bytes())
        return serialize_executable.deserialize_and_load(
            *parts, backend=device.client, execution_devices=[device]
        )
    except FileNotFoundError:
        return None
    except Exception:  # a damaged file is as good as none, and will be replaced
        return None


def _write(path: Path, compiled: Any) -> None:
    """Whole or not at all: other processes may be reading."""
    from jax.experimental import serialize_executable

    try:
        content = pickle.dumps(serialize_executable.serialize(compiled))
    except Exception:  # not every platform can: the program is compiled anew next time
        return
    try:
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError:
        pass  # a full disk or a folder that is gone: as above
