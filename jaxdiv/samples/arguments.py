"""Samples as arrays of points; early errors that name the argument."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _checks as checks


def as_points(name: str, value: Any) -> Array:
    """A sample (*batch, n, d) in float32 or float64; (n,) are n numbers, (n, 1).

    Raises:
        ValueError: Empty samples or points; where the values are known, NaN and infinities.
        TypeError: Not real numbers.
    """
    points = checks.as_array(name, value)
    points = points.astype(jnp.float64 if points.dtype == jnp.float64 else jnp.float32)
    if points.ndim == 1:
        points = points[:, None]
    if 0 in points.shape:
        raise ValueError(
            f"{name} must hold at least one point of at least one number, shape "
            f"(*batch, points, dimensions), but has shape {jnp.shape(value)}"
        )
    if checks.concrete(points):
        bad = np.argwhere(~np.isfinite(np.asarray(points)))
        if len(bad):
            *_, row, column = where = tuple(int(i) for i in bad[0])
            found = np.asarray(points)[where]
            raise ValueError(
                f"{name} must be finite, but holds {found} in point {row}, dimension {column}"
                + (f", and {len(bad) - 1} more" if len(bad) > 1 else "")
            )
    return points


def as_samples(x: Any, y: Any, names: tuple[str, str] = ("x", "y")) -> tuple[Array, Array]:
    """Two samples of one dimension, one dtype and one batch shape.

    Raises:
        ValueError: Dimensions that differ, batch shapes that don't broadcast.
    """
    a, b = as_points(names[0], x), as_points(names[1], y)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have points of one dimension, but those of "
            f"{names[0]} have {a.shape[-1]} and those of {names[1]} {b.shape[-1]} "
            f"(shapes {a.shape} and {b.shape})"
        )
    return _together(a, b, names)


def as_pairs(x: Any, y: Any) -> tuple[Array, Array]:
    """Two coordinates of the same points: as many of either.

    Raises:
        ValueError: Numbers of points that differ, batch shapes that don't broadcast.
    """
    a, b = as_points("x", x), as_points("y", y)
    if a.shape[-2] != b.shape[-2]:
        raise ValueError(
            "x and y must have as many points, x[i] beside y[i], but have "
            f"{a.shape[-2]} and {b.shape[-2]} (shapes {a.shape} and {b.shape})"
        )
    return _together(a, b, ("x", "y"))


def _together(a: Array, b: Array, names: tuple[str, str]) -> tuple[Array, Array]:
    try:
        batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(
            f"the batch shapes of {names[0]} and {names[1]} must broadcast, but are "
            f"{a.shape[:-2]} and {b.shape[:-2]}"
        ) from None
    dtype = jnp.promote_types(a.dtype, b.dtype)
    return tuple(jnp.broadcast_to(z, batch + z.shape[-2:]).astype(dtype) for z in (a, b))  # type: ignore[return-value]


def check_k(k: Any, **available: int) -> int:
    """k as an integer from 1 to the least number of neighbours that a point has.

    `available` says by the sample's name how many.
    """
    try:
        number = operator.index(k)
    except TypeError:
        raise TypeError(f"k must be an integer, but is {k!r}") from None
    if number < 1:
        raise ValueError(f"k must be at least 1, but is {number}")
    for name, count in available.items():
        if number > count:
            raise ValueError(
                f"k must be at most {count}, the neighbours that a point has in {name}, "
                f"but is {number}"
            )
    return number


def check_positive(name: str, value: Any) -> Array:
    """A positive finite number, or a traced one."""
    number = checks.as_parameter(name, value)
    if number.ndim:
        raise ValueError(f"{name} must be a number, but has shape {number.shape}")
    if checks.concrete(number) and not 0 < float(number) < float("inf"):
        raise ValueError(f"{name} must be positive and finite, but is {value}")
    return number


def choice(name: str, value: Any, options: tuple[Any, ...]) -> None:
    """One of the options."""
    if value not in options:
        raise ValueError(f"{name} must be one of {options}, but is {value!r}")


def batched(function: Callable[..., Array], *samples: Array) -> Array:
    """The function of samples (n, d) over their batch axes."""
    batch = samples[0].shape[:-2]
    if not batch:
        return function(*samples)
    flat = [z.reshape(-1, *z.shape[-2:]) for z in samples]
    return jax.vmap(function)(*flat).reshape(batch)


def finite(*samples: Array) -> Array:
    """1, or NaN where a traced sample is not finite."""
    fine = jnp.all(jnp.asarray([jnp.all(jnp.isfinite(z)) for z in samples]))
    return jnp.where(fine, 1, jnp.nan).astype(samples[0].dtype)
