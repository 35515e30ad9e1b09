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


def tangents_of(primals: Any, tangents: Any) -> Any:
    """Tangents that differ along the same mesh axes as what they are of, as JAX wants them."""
    return jax.tree.map(
        lambda x, t: t if t.dtype == jax.dtypes.float0 else cast(t, varying(x)), primals, tangents
    )


def alike(*arrays: Any) -> list[Any]:
    """Arrays that differ along the same mesh axes, as operations on several of them need."""
    axes = frozenset().union(*map(varying, arrays))
    return [cast(x, axes) for x in arrays]


def cast(x: Any, axes: frozenset) -> Any:
    """An array as one that may differ along these mesh axes, too."""
    missing = tuple(sorted(axes - varying(x)))
    return lax.pcast(x, missing, to="varying") if missing else x
