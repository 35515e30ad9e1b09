"""Tangents as a rule of `custom_jvp` gets them: arrays, or zeros that nobody has computed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def all_zero(tangents: Any) -> bool:
    """Whether nothing in a pytree moves."""
    return all(map(_is_zero, jax.tree.leaves(tangents, is_leaf=_is_zero)))


def materialised(tangents: Any) -> Any:
    """The pytree with arrays of zeros for symbolic ones."""
    return jax.tree.map(
        lambda t: _zeros(t.shape, t.dtype) if _is_zero(t) else t, tangents, is_leaf=_is_zero
    )


def _zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    return np.zeros(shape, dtype) if dtype == jax.dtypes.float0 else jnp.zeros(shape, dtype)
