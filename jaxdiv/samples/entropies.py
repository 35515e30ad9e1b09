"""Differential entropy from distances to k-th neighbours."""

import functools
import math
from typing import Any

import jax
from jax import Array

from .. import _checks as checks
from . import arguments
from .divergences import mean
from .neighbours import kth_apart, log_length


def digamma(k: int) -> float:
    """psi of a positive integer, to rounding."""
    if k > 1000:  # psi(k) = log k - 1/(2k) - 1/(12 k^2) + 1/(120 k^4) - ...
        return math.log(k) - 1 / (2 * k) - 1 / (12 * k**2) + 1 / (120 * k**4)
    return math.fsum(1 / j for j in range(1, k)) - 0.57721566490153286061


def log_ball(d: int) -> float:
    """log of the volume of the unit ball in d dimensions."""
    return d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)


def knn_entropy(x: Any, k: int = 5, *, base: float | None = None) -> Array:
    """Estimate of the differential entropy of p from points x of it, by k-th neighbours.

    psi(n) - psi(k) + log V_d + (d/n) sum log rho_i, with V_d the volume of the unit ball and rho_i
    the distance from x_i to the k-th of the other points. x is (*batch, n, d), or (n,); the batch
    shape is returned. In nats, or with `base` in units of log(base). Differentiable by x; memory is
    that of `nearest_neighbours`.

    -inf where k + 1 points coincide: an atom's differential entropy. ValueError for k above n - 1,
    NaN or infinities (NaN where they are traced).

    Reference: Kozachenko and Leonenko, Sample Estimate of the Entropy of a Random Vector, 1987, for
    k = 1; Singh et al., Nearest Neighbor Estimates of Entropy, 2003.
    """
    log_base = checks.check_base(base, True, "knn_entropy")
    points = arguments.as_points("x", x)
    k = arguments.check_k(k, x=points.shape[-2] - 1)
    return arguments.batched(lambda x: of_distances(kth_apart(x, None, k), k), points) / log_base


@functools.partial(jax.jit, static_argnums=1)
def of_distances(apart: Array, k: int) -> Array:
    """The estimate from points minus their k-th neighbours, (n, d)."""
    n, d = apart.shape
    constant = digamma(n) - digamma(k) + log_ball(d)
    return (d * mean(log_length(apart)) + constant) * arguments.finite(apart)
