"""Standard errors by subsampling, which needs no ties as the bootstrap does."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._divergence import check_scalar
from . import arguments


def subsampled_error(
    estimator: Callable[..., Array],
    *samples: Any,
    key: Array,
    num_subsamples: int = 64,
    fraction: float = 0.25,
    paired: bool = False,
) -> tuple[Array, Array]:
    """The estimate of some samples, and its standard error by subsampling.

    The estimator is evaluated on `num_subsamples` random subsets of b = fraction n points of each
    sample, drawn without replacement. The standard deviation of these values, times
    sqrt(b / (n - b)), is the standard error: Shao and Wu's delete-d jackknife, for estimators whose
    variance falls as 1/n. It says nothing of bias, which in many dimensions is larger. With
    `paired`, the samples are coordinates of the same points, and the subsets are the same.

    Not the bootstrap: drawing with replacement makes ties, at which estimates from nearest
    neighbours are infinite or wrong (Abadie and Imbens, On the Failure of the Bootstrap for
    Matching Estimators, 2008). Of degenerate statistics, as `mmd2` and `energy_distance` where
    p = q, whose variance falls as 1/n^2, it is an overestimate.

    samples are (n, d) or (n,); `estimator` takes as many arrays (b, d) and returns an array, such
    as several estimates at once, and is traced: it may not read values. Returns (estimate, standard
    error) of the array's shape.

    ValueError for a fraction outside (0, 1), fewer than two subsamples or points, pairs that are
    none, and for what the estimator does not accept of b points.

    References: Shao and Wu, A General Theory for Jackknife Variance Estimation, 1989; Politis,
    Romano and Wolf, Subsampling, 1999.
    """
    try:
        count = operator.index(num_subsamples)
    except TypeError:
        raise TypeError(f"num_subsamples must be an integer, but is {num_subsamples!r}") from None
    if count < 2:
        raise ValueError(f"num_subsamples must be at least 2, but is {count}")
    check_scalar("fraction", fraction, "between 0 and 1", lambda f: 0 < f < 1)
    arrays = [arguments.as_points(f"samples[{i}]", z) for i, z in enumerate(samples)]
    if not arrays:
        raise ValueError("samples must hold at least one sample")
    sizes = [len(z) for z in arrays]
    for i, z in enumerate(arrays):
        if z.ndim != 2 or len(z) < 2:
            raise ValueError(
                f"samples[{i}] must be two or more points, (n, d) or (n,), but has shape {z.shape}"
            )
    if paired and len(set(sizes)) > 1:
        raise ValueError(f"paired samples must have as many points, but have {sizes}")
    parts = [min(n - 1, max(1, round(fraction * n))) for n in sizes]

    def one(key: Array) -> Array:
        keys = [key] * len(arrays) if paired else list(jax.random.split(key, len(arrays)))
        chosen = [
            z[jax.random.permutation(own, len(z))[:b]]
            for own, z, b in zip(keys, arrays, parts, strict=True)
        ]
        return estimator(*chosen)

    values = lax.map(one, jax.random.split(key, count))
    share = parts[0] / sizes[0]
    error = jnp.std(values, 0, ddof=1) * (share / (1 - share)) ** 0.5
    return estimator(*arrays), error
