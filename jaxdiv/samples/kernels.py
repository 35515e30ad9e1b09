"""Kernels of two points, and the median heuristic for their width.

A radial kernel is a function of the squared distance, from which blocks and Stein's operator are
made without the kernel's own derivatives; any other callable is mapped over pairs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.tree_util import Partial

from .. import _checks as checks
from .. import _numerics as num
from .._divergence import Scalar
from .._pytree import register
from . import arguments
from .tiles import squared_distances

_MEDIAN = 1024  # points of which the median heuristic takes all pairs: one block
Kernel = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Radial:
    """A kernel profile(|a - b|^2)."""

    def profile(self, s: Array) -> Array:
        """The kernel as a function of the squared distance s."""
        raise NotImplementedError

    def check(self) -> None:
        """ValueError for a width that is not positive."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            checks.check_scalar(field.name, value, "positive and finite", lambda v: 0 < v < np.inf)

    def valid(self) -> Array:
        """Whether traced widths are positive."""
        values = [jnp.asarray(getattr(self, field.name)) for field in dataclasses.fields(self)]
        return jnp.all(jnp.asarray([v > 0 for v in values]))

    def __call__(self, a: Array, b: Array) -> Array:
        """The kernel of two points."""
        return self.profile(jnp.sum(jnp.square(a - b)))


@register
@dataclasses.dataclass(frozen=True)
class GaussianKernel(Radial):
    """exp(-|a - b|^2 / (2 bandwidth^2)); the bandwidth in the units of the points, positive."""

    bandwidth: Scalar

    def profile(self, s: Array) -> Array:
        """exp(-s / (2 bandwidth^2))."""
        return jnp.exp(-s / (2 * jnp.square(jnp.asarray(self.bandwidth, s.dtype))))


@register
@dataclasses.dataclass(frozen=True)
class InverseMultiquadric(Radial):
    """(1 + |a - b|^2 / scale^2)^(-1/2); the scale in the units of the points, positive.

    Its heavy tails let a kernel Stein discrepancy notice mass that escapes: Gorham and Mackey,
    Measuring Sample Quality with Kernels, 2017.
    """

    scale: Scalar

    def profile(self, s: Array) -> Array:
        """(1 + s / scale^2)^(-1/2)."""
        return jax.lax.rsqrt(1 + s / jnp.square(jnp.asarray(self.scale, s.dtype)))


def as_kernel(kernel: Any, d: int, dtype: Any) -> tuple[Any, bool]:
    """The kernel as a pytree, and whether a compiled program may hold it.

    Raises:
        TypeError: Not callable, or not a number for two points.
        ValueError: A width that is not positive.
    """
    if isinstance(kernel, Radial):
        kernel.check()
        return kernel, True
    if not callable(kernel):
        raise TypeError(f"kernel must be a function of two points, but is {kernel!r}")
    point = jax.ShapeDtypeStruct((d,), dtype)
    traced, value = jax.make_jaxpr(kernel, return_shape=True)(point, point)
    if getattr(value, "shape", None) != ():
        raise TypeError(f"kernel must return a scalar of two points ({d},), but returns {value}")
    return Partial(kernel), not any(isinstance(x, Tracer) for x in traced.consts)


def kernel_tile(kernel: Any, y: Array, x: Array) -> Array:
    """kernel(x_i, y_j) as (points of y, points of x)."""
    if isinstance(kernel, Radial):
        return kernel.profile(squared_distances(y, x))
    return jax.vmap(lambda b: jax.vmap(lambda a: kernel(a, b))(x))(y).astype(x.dtype)


def median_heuristic(x: Any, y: Any = None) -> Array:
    """Median distance between two points of the pooled sample: a usual width of kernels.

    x is (*batch, n, d), y (*batch, m, d); the batch shape is returned. Of more than 1024 points,
    1024 evenly spaced in the order x, y are taken, and all their pairs. Differentiable, as a
    distance between two points, or the mean of two: `jax.lax.stop_gradient` of it holds a width
    fixed. 0 where half of the pairs coincide.

    ValueError for fewer than two points, NaN or infinities (NaN where they are traced), dimensions
    that differ.

    Reference: Gretton et al., A Kernel Two-Sample Test, 2012, section 8.
    """
    if y is None:
        pooled = arguments.as_points("x", x)
    else:
        pooled = jnp.concatenate(arguments.as_samples(x, y), -2)
    count = pooled.shape[-2]
    if count < 2:
        raise ValueError("x must hold at least two points for a distance, but holds one")
    if count > _MEDIAN:
        pooled = pooled[..., np.linspace(0, count - 1, _MEDIAN).round().astype(int), :]
    return arguments.batched(_median, pooled)


@jax.jit
def _median(points: Array) -> Array:
    i, j = np.triu_indices(len(points), 1)
    squares = squared_distances(points, points)[i, j]
    return num.safe_sqrt(jnp.median(squares)) * arguments.finite(points)
