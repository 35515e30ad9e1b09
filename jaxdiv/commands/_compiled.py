"""Compiled programs are kept between runs of the command line."""

import os
import sys
from pathlib import Path


def folder() -> Path:
    """The user's cache folder, as the platform has it."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "jaxdiv" / "programs"


def keep() -> None:
    """Turn on JAX's persistent compilation cache, unless the user has chosen one."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        try:
            folder().mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):
            return  # no home, or one that cannot be written: programs are compiled anew
        jax.config.update("jax_compilation_cache_dir", str(folder()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

        from ..verification import programs

        programs.keep_in(folder())
