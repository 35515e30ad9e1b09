"""Values inside `jax.shard_map`, whose types say along which mesh axes they differ."""

from typing import Any

import jax
from jax import lax


def varying(x: Any) -> frozenset:
    """The mesh axes along which a value differs, inside `shard_map`."""
    return axes_of(jax.typeof(x))


def axes_of(aval: Any) -> frozenset:
    """Those of a type."""
    manual = getattr(aval, "mat", None)
    return manual.varying if manual is not None else getattr(aval, "vma", frozenset())


def alike(*arrays: Any) -> list[Any]:
    """Arrays that differ along the same mesh axes, as operations on several of them need."""
    axes = frozenset().union(*map(varying, arrays))
    if not axes:
        return list(arrays)
    found = []
    for x in arrays:
        missing = tuple(sorted(axes - varying(x)))
        found.append(lax.pcast(x, missing, to="varying") if missing else x)
    return found
