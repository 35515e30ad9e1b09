"""Compiled programs of verification, and where the command line keeps them between runs.

JAX's own persistent cache saves compilation, not tracing, which takes as long. So programs of the
catalogue are also kept exported: a file holds the traced program of one function, shape and dtype.
Its name is a hash of the sources of jaxdiv, of JAX's version and of all else that the program
depends on, so that nothing stale is ever found.
"""

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax import Array, export
from jax.core import Tracer

# Small batches: the optimisations of LLVM would take longer than all that the program does.
_QUICKLY = {"xla_backend_optimization_level": 0}
_SMALL = 2**18

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
        options = _QUICKLY if self._quickly and small else {}
        traced = jax.jit(self._function)
        if _folder is not None and self._tag is not None:
            platform = key[1].platform
            said = (self._tag, key[0], key[2], platform, jax.__version__, _sources())
            path = _folder / f"{hashlib.sha256(repr(said).encode()).hexdigest()[:32]}.program"
            exported = _read(path)
            if exported is None:
                exported = export.export(traced, platforms=[platform])(*args)
                _write(path, exported.serialize())
            traced = jax.jit(exported.call)
        return traced.lower(*args).compile(options)


@functools.cache
def _sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> export.Exported | None:
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except FileNotFoundError:
        return None
    except Exception:  # a damaged file is as good as none, and will be replaced
        return None


def _write(path: Path, content: bytes | bytearray) -> None:
    """Whole or not at all: other processes may be reading."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError:
        pass  # a full disk or a folder that is gone: the program is traced anew next time
