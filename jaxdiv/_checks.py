"""Early errors: each names the argument, what was given and what is accepted."""

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._divergence import check_scalar, concrete

__all__ = ["as_array", "as_labels", "check_axis", "check_base", "check_scalar", "concrete"]


def as_array(name: str, value: Any) -> Array:
    """A real numeric array of at least one axis; integers become the default float."""
    array = _numeric(name, value)
    if jnp.issubdtype(array.dtype, jnp.integer):
        array = jnp.asarray(array, jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be real numbers (floating point or integers), but has dtype {array.dtype}"
        )
    if array.ndim == 0:
        raise ValueError(
            f"{name} must have at least one axis, the outcomes, but is the scalar {value!r}"
            if concrete(value)
            else f"{name} must have at least one axis, the outcomes, but is a traced scalar"
        )
    return jnp.asarray(array)


def as_parameter(name: str, value: Any) -> Array:
    """A real array of any shape; integers become the default float."""
    array = _numeric(name, value)
    if jnp.issubdtype(array.dtype, jnp.integer) or isinstance(value, int | float):
        array = jnp.asarray(array, jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} must be real numbers, but has dtype {array.dtype}")
    return jnp.asarray(array)


def as_labels(name: str, value: Any) -> Array:
    """An array of integers."""
    array = _numeric(name, value)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} must be integer classes, but has dtype {array.dtype}")
    return jnp.asarray(array)


def _numeric(name: str, value: Any) -> Any:
    if isinstance(value, jax.Array | np.ndarray):
        array = value
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} must be an array, but is ragged: {error}") from None
    if not (jnp.issubdtype(array.dtype, jnp.number)):
        raise TypeError(
            f"{name} must be numbers, but is {type(value).__name__} of dtype {array.dtype}"
        )
    return array


def check_axis(axis: Any, ndim: int, name: str = "axis") -> int:
    """An axis counted from the end, -ndim <= axis < ndim."""
    try:
        index = operator.index(axis)
    except TypeError:
        raise TypeError(f"{name} must be an integer, but is {axis!r}") from None
    if not -ndim <= index < ndim:
        raise ValueError(f"{name} must be in [{-ndim}, {ndim}) for {ndim} axes, but is {axis}")
    return index if index < 0 else index - ndim


def check_base(base: Any, logarithmic: bool, what: str) -> float:
    """log(base), 1 for None."""
    if base is None:
        return 1.0
    if not logarithmic:
        raise TypeError(f"{what} is not a logarithm and takes no base, but base={base!r} was given")
    if isinstance(base, bool) or not isinstance(base, int | float | np.number):
        raise TypeError(f"base must be a number such as 2, 10 or math.e, but is {base!r}")
    if not (0 < base < math.inf) or base == 1:
        raise ValueError(f"base must be positive, finite and not 1, but is {base}")
    return math.log(base)


def broadcasts(shape: tuple[Any, ...], to: tuple[Any, ...]) -> bool:
    """Whether an array of one shape broadcasts to another."""
    try:
        return jnp.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def check_where(where: Array, shape: tuple[Any, ...]) -> None:
    """A mask of booleans that broadcasts to the arguments' shape."""
    if where.dtype != jnp.bool_:
        raise TypeError(f"where must be booleans, but has dtype {where.dtype}")
    if not broadcasts(where.shape, shape):
        raise ValueError(
            f"where must broadcast to the arguments' shape {shape}, but has shape {where.shape}"
        )


IMPLEMENTATIONS = ("auto", "reference", "blocked", "llvm", "mosaic_gpu", "mosaic_gpu_interpret")


def check_implementation(implementation: Any) -> None:
    """The evaluation path; "auto" chooses."""
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"implementation must be one of {IMPLEMENTATIONS}, but is {implementation!r}"
        )
