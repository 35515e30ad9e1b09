"""Mutual information from counts of neighbours.

The distance of a point to its k-th neighbour in the joint space says where to count in the
marginal ones; the errors of the three densities cancel. Counts are whole numbers, so that values
are piecewise constant: derivatives are 0 wherever they exist.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import digamma as psi

from .. import _checks as checks
from . import arguments
from .counts import others_within
from .divergences import mean
from .entropies import digamma
from .neighbours import search


def _psi(counts: Array, dtype: Any) -> Array:
    return psi(counts.astype(dtype))


def _largest(apart: Array) -> Array:
    return jnp.max(jnp.abs(apart), -1)


def _joint(x: Array, y: Array, k: int) -> tuple[Array, Array]:
    """|x_i - x_j| and |y_i - y_j|, (n, k), of the k joint neighbours j of i."""
    found = search(jnp.concatenate([x, y], -1), None, k, chebyshev=True)
    return tuple(_largest(z[:, None] - z[found]) for z in (x, y))  # type: ignore[return-value]


def ksg_mutual_information(
    x: Any, y: Any, k: int = 3, *, variant: int = 1, base: float | None = None
) -> Array:
    """Estimate of the mutual information I(X; Y) from pairs (x_i, y_i) of a joint density.

    With e_i the distance of (x_i, y_i) to its k-th neighbour in the norm max(|x|, |y|), in which
    |x| and |y| are the largest coordinates:

    variant 1: psi(k) + psi(n) - mean of psi(n_x + 1) + psi(n_y + 1), n_x the number of other points
    with |x_j - x_i| < e_i, and n_y the same of y;
    variant 2: psi(k) - 1/k + psi(n) - mean of psi(n_x) + psi(n_y), n_x the number with
    |x_j - x_i| <= the largest |x_j - x_i| among the k neighbours, and n_y the same of y.

    x is (*batch, n, d), y (*batch, n, e), or (n,); batch axes broadcast, and the batch shape is
    returned. In nats, or with `base` in units of log(base). May be negative. Depends on the scales
    of x and y; of independent ones the mean is 0. Derivatives are 0: counts do not move.

    Made for densities: coinciding points and coordinates make it wrong, silently. Kraskov et al.
    add noise of 1e-10; `mixed_mutual_information` needs none.

    ValueError for k above n - 1, as many points not in y, NaN or infinities (NaN where they are
    traced), another variant.

    Reference: Kraskov, Stoegbauer and Grassberger, Estimating Mutual Information, 2004,
    equations 8 and 9.
    """
    log_base = checks.check_base(base, True, "ksg_mutual_information")
    arguments.choice("variant", variant, (1, 2))
    a, b = arguments.as_pairs(x, y)
    n = a.shape[-2]
    k = arguments.check_k(k, x=n - 1)

    def one(x: Array, y: Array) -> Array:
        x, y = lax.stop_gradient(x), lax.stop_gradient(y)
        apart = _joint(x, y, k)
        if variant == 1:
            radius = jnp.maximum(*(z[:, -1] for z in apart))
            counts = [others_within(z, radius, inclusive=False) + 1 for z in (x, y)]
            constant = digamma(k) + digamma(n)
        else:
            radii = [jnp.max(z, -1) for z in apart]
            counts = [
                others_within(z, r, inclusive=True) for z, r in zip((x, y), radii, strict=True)
            ]
            constant = digamma(k) - 1 / k + digamma(n)
        own = _psi(counts[0], x.dtype) + _psi(counts[1], x.dtype)
        return (constant - mean(own)) * arguments.finite(x, y)

    return arguments.batched(one, a, b) / log_base


def mixed_mutual_information(x: Any, y: Any, k: int = 3, *, base: float | None = None) -> Array:
    """Estimate of I(X; Y) where x and y may be discrete, continuous, or a mixture of both.

    log(n) + mean of psi(k_i) - psi(n_x) - psi(n_y), with n_x the number of points, x_i among them,
    at |x_j - x_i| < e_i and n_y the same of y, e_i the distance of (x_i, y_i) to its k-th neighbour
    in the norm max(|x|, |y|), and k_i = k; where e_i = 0, k_i, n_x and n_y are the numbers of
    points that coincide. So ties are counted as what they are, atoms. Categories must be coded so
    that different ones are far apart, as by whole numbers beside data of scale 1, or one-hot.

    This is the authors' program. Algorithm 1 of the paper has log(n_x + 1) of counts at <= e_i: it
    has the same limit, and a larger bias for small k.

    Shapes, units, derivatives and errors are those of `ksg_mutual_information`.

    Reference: Gao, Kannan, Oh and Viswanath, Estimating Mutual Information for Discrete-Continuous
    Mixtures, 2017.
    """
    log_base = checks.check_base(base, True, "mixed_mutual_information")
    a, b = arguments.as_pairs(x, y)
    n = a.shape[-2]
    k = arguments.check_k(k, x=n - 1)

    def one(x: Array, y: Array) -> Array:
        x, y = lax.stop_gradient(x), lax.stop_gradient(y)
        radius = jnp.maximum(*(z[:, -1] for z in _joint(x, y, k)))
        # Within e_i but not at it, or at 0: <= 0 where e_i is 0, < e_i elsewhere.
        tied = radius == 0
        below = jnp.where(tied, 0, jnp.nextafter(radius, jnp.zeros_like(radius)))

        def count(z: Array) -> Array:
            return others_within(z, below, inclusive=True) + 1

        number = jnp.where(tied, count(jnp.concatenate([x, y], -1)), k)
        own = _psi(number, x.dtype) - _psi(count(x), x.dtype) - _psi(count(y), x.dtype)
        return (jnp.log(jnp.asarray(n, x.dtype)) + mean(own)) * arguments.finite(x, y)

    return arguments.batched(one, a, b) / log_base


def labelled_mutual_information(
    x: Any, labels: Any, k: int = 3, *, base: float | None = None
) -> Array:
    """Estimate of I(X; L) between a continuous x and the class L of each point.

    psi(n) + mean of psi(k_i) - psi(n_i) - psi(m_i), with n_i the size of the class of x_i, k_i the
    smaller of k and n_i - 1, and m_i the number of points, x_i among them, nearer to x_i than its
    k_i-th neighbour of its own class, in the norm of the largest coordinate.

    x is (n, d) or (n,), labels (n,) integers. In nats, or with `base` in units of log(base). May be
    negative. Coinciding points of x make it wrong as they do `ksg_mutual_information`. Derivatives
    are 0.

    ValueError for a class of one point, which has no neighbour (NaN where labels are traced), k
    above n - 1, as many labels as points not given, NaN or infinities.

    Reference: Ross, Mutual Information between Discrete and Continuous Data Sets, 2014.
    """
    log_base = checks.check_base(base, True, "labelled_mutual_information")
    points, classes = arguments.as_points("x", x), checks.as_labels("labels", labels)
    if points.ndim != 2 or classes.shape != points.shape[:1]:
        raise ValueError(
            "x must be (n, d) or (n,) and labels (n,), but have shapes "
            f"{points.shape} and {classes.shape}"
        )
    n = len(points)
    k = arguments.check_k(k, x=n - 1)
    if checks.concrete(classes):
        values, counts = np.unique(np.asarray(classes), return_counts=True)
        if (counts == 1).any():
            raise ValueError(
                f"labels must hold every class twice or more, but {values[counts == 1][0]} is the "
                "label of one point, which has no neighbour of its class"
            )
    return _labelled(lax.stop_gradient(points), classes, k) / log_base


def _labelled(x: Array, labels: Array, k: int) -> Array:
    n = len(x)
    found = search(x, None, k, chebyshev=True, groups=labels)
    own = jnp.sum(found < n, -1)
    last = jnp.take_along_axis(found, jnp.maximum(own - 1, 0)[:, None], -1)[:, 0]
    radius = _largest(x - x[jnp.minimum(last, n - 1)])
    inside = others_within(x, radius, inclusive=False) + 1
    # Points of the same label, as those that differ from it by less than 1/2.
    size = others_within(_ranks(labels)[:, None], jnp.full(n, 0.5, x.dtype), inclusive=False) + 1
    terms = _psi(own, x.dtype) - _psi(size, x.dtype) - _psi(inside, x.dtype)
    value = digamma(n) + mean(terms)
    return jnp.where(jnp.all(own > 0), value, jnp.nan) * arguments.finite(x)


def _ranks(labels: Array) -> Array:
    """How many labels are below each: whole numbers that tell classes apart in floating point."""
    return jnp.searchsorted(jnp.sort(labels), labels).astype(jnp.float32)
