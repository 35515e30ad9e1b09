"""Optimal transport: exact on a line, averaged over lines, and entropic through ott-jax."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import _numerics as num
from . import arguments


@functools.lru_cache(maxsize=16)
def _steps(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the quantile functions of n and of m points are constant: (i, j, width) a piece."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # levels, times n m
    widths = np.diff(ends, prepend=0) / (n * m)
    i, j = ((ends - 1) // size for size in (m, n))
    return i.astype(np.int32), j.astype(np.int32), widths


def _mean_power(x: Array, y: Array, p: float) -> Array:
    """The integral of |F^-1 - G^-1|^p, of numbers (n,) and (m,)."""
    n, m = len(x), len(y)
    x, y = jnp.sort(x), jnp.sort(y)
    if n == m:
        apart, weight = _size(x - y), 1 / n
    else:
        i, j, widths = _steps(n, m)
        apart, weight = _size(x[i] - y[j]), jnp.asarray(widths, x.dtype)
    powers: Array = weight * _power(apart, p)
    return num.row_sum(powers)


def _size(x: Array) -> Array:
    """|x|, whose derivative at 0 is 0: JAX's own is 1."""
    return jnp.where(x > 0, x, jnp.where(x < 0, -x, 0))


def _power(x: Array, p: float) -> Array:
    if p == 1:
        return x
    # |x|^p for p < 2 has an infinite second derivative at 0; the first is 0.
    return jnp.where(x > 0, jnp.where(x > 0, x, 1) ** p, 0)


def _root(x: Array, p: float) -> Array:
    """x^(1/p), with derivative 0 at 0."""
    return x if p == 1 else jnp.where(x > 0, jnp.where(x > 0, x, 1) ** (1 / p), 0)


def _check_p(p: Any) -> float:
    if isinstance(p, bool) or not isinstance(p, int | float | np.number):
        raise TypeError(f"p must be a number such as 1 or 2, but is {p!r}")
    if not 1 <= p < math.inf:
        raise ValueError(f"p must be at least 1 and finite, but is {p}")
    return float(p)


def wasserstein_1d(x: Any, y: Any, p: float = 1) -> Array:
    """Wasserstein-p distance of two samples of numbers, (integral |F^-1(u) - G^-1(u)|^p du)^(1/p).

    Exact, also for samples of different sizes: the quantile functions are steps. x is (n,) or
    (*batch, n, 1), y (m,) or (*batch, m, 1); the batch shape is returned, in the units of the
    numbers. Differentiable; the derivative is taken as 0 at a distance of 0. Ties count as the
    points they are.

    ValueError for p < 1, points of more than one number, NaN or infinities (NaN where they are
    traced).

    Reference: Vallender, Calculation of the Wasserstein Distance Between Probability Distributions
    on the Line, 1974.
    """
    p = _check_p(p)
    a, b = arguments.as_samples(x, y)
    if a.shape[-1] != 1:
        raise ValueError(
            f"x and y must be numbers, (n,) or (*batch, n, 1), but have {a.shape[-1]} dimensions; "
            "sliced_wasserstein is for more"
        )
    return arguments.batched(lambda a, b: _line(a, b, p), a, b)


@functools.partial(jax.jit, static_argnums=2)
def _line(x: Array, y: Array, p: float) -> Array:
    apart, fine = _scaled(x, y)
    return _root(_mean_power(x[:, 0] / apart, y[:, 0] / apart, p), p) * apart * fine


def _scaled(x: Array, y: Array) -> tuple[Array, Array]:
    """The size of the data, whose powers could overflow, and 1 or NaN."""
    size = lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(x)), jnp.max(jnp.abs(y))))
    return jnp.where(size > 0, size, 1), arguments.finite(x, y)


def sliced_wasserstein(
    x: Any, y: Any, key: Array, *, num_projections: int = 128, p: float = 2
) -> Array:
    """Sliced Wasserstein-p distance, (mean over directions u of W_p(u.x, u.y)^p)^(1/p).

    Directions are uniform on the unit sphere, drawn by `key`: a Monte Carlo estimate of the mean
    over all, exact on each. x is (*batch, n, d), y (*batch, m, d); batch axes broadcast, directions
    are shared by the batch, and its shape is returned, in the units of the points. Differentiable.

    ValueError for p < 1, no projections, NaN or infinities (NaN where they are traced), dimensions
    that differ.

    Reference: Bonneel, Rabin, Peyre and Pfister, Sliced and Radon Wasserstein Barycenters of
    Measures, 2015.
    """
    p = _check_p(p)
    if isinstance(num_projections, bool) or not isinstance(num_projections, int | np.integer):
        raise TypeError(f"num_projections must be an integer, but is {num_projections!r}")
    if num_projections < 1:
        raise ValueError(f"num_projections must be at least 1, but is {num_projections}")
    a, b = arguments.as_samples(x, y)
    directions = jax.random.normal(key, (int(num_projections), a.shape[-1]), a.dtype)
    directions = directions / jnp.linalg.norm(directions, axis=-1, keepdims=True)
    return arguments.batched(lambda a, b: _sliced(a, b, directions, p), a, b)


@functools.partial(jax.jit, static_argnums=3)
def _sliced(x: Array, y: Array, directions: Array, p: float) -> Array:
    apart, fine = _scaled(x, y)
    x, y = x / apart, y / apart

    @jax.checkpoint
    def one(direction: Array) -> Array:
        highest = lax.Precision.HIGHEST
        a, b = (jnp.matmul(z, direction, precision=highest) for z in (x, y))
        return _mean_power(a, b, p)

    powers = lax.map(one, directions)
    return _root(num.row_sum(powers) / len(directions), p) * apart * fine
