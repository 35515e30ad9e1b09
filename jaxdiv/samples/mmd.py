"""Maximum mean discrepancy: the distance of mean embeddings in a kernel's Hilbert space."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as checks
from . import arguments
from .divergences import mean
from .kernels import GaussianKernel, Kernel, Radial, as_kernel, kernel_tile, median_heuristic
from .pairs import row_means

_ESTIMATORS = ("unbiased", "biased", "linear")


def mmd2(x: Any, y: Any, kernel: Kernel | None = None, *, estimator: str = "unbiased") -> Array:
    """Squared maximum mean discrepancy |mean embedding of p - that of q|^2, from points of either.

    E k(X, X') + E k(Y, Y') - 2 E k(X, Y), with means over

    - "unbiased": all pairs of different points (a U-statistic, which may be negative);
    - "biased": all pairs, points with themselves too (a V-statistic, at least 0);
    - "linear": consecutive pairs, in time proportional to n: as many points of either, and even.

    x is (*batch, n, d), y (*batch, m, d), or (n,) and (m,); batch axes broadcast, and the batch
    shape is returned. `kernel` is a function of two points of shape (d,) that returns a scalar,
    symmetric and positive definite, of which nothing is checked but that scalar. None is
    `GaussianKernel(median_heuristic(x, y))` for each batch entry; its derivatives include that of
    the width. Differentiable by x, y, and what the kernel holds.

    Memory is a block of 2^20 pairs, in derivatives too.

    ValueError for a width that is not positive (NaN where it is traced), a median of 0, fewer than
    two points for "unbiased", unequal or odd numbers of points for "linear", NaN or infinities (NaN
    where they are traced), dimensions that differ. TypeError for a kernel that returns no scalar.

    Reference: Gretton, Borgwardt, Rasch, Schoelkopf and Smola, A Kernel Two-Sample Test, 2012,
    equations 3 and 5 and lemma 14.
    """
    arguments.choice("estimator", estimator, _ESTIMATORS)
    a, b = arguments.as_samples(x, y)
    n, m = a.shape[-2], b.shape[-2]
    if estimator == "unbiased" and min(n, m) < 2:
        name = "x" if n < 2 else "y"
        raise ValueError(f"{name} must hold at least two points for estimator='unbiased'")
    if estimator == "linear" and (n != m or n % 2):
        raise ValueError(
            "x and y must hold as many points, and an even number, for estimator='linear', but "
            f"hold {n} and {m}"
        )
    if kernel is None:
        width = median_heuristic(a, b)
        if checks.concrete(width) and not jnp.all(width > 0):
            raise ValueError(
                "the median distance of x and y is 0, since half of the pairs coincide: give a "
                "kernel, such as GaussianKernel(bandwidth)"
            )
        return arguments.batched(
            lambda a, b: _compiled(GaussianKernel(median_heuristic(a, b)), a, b, estimator), a, b
        )
    own, stable = as_kernel(kernel, a.shape[-1], a.dtype)
    evaluate = _compiled if stable else _evaluate
    return arguments.batched(lambda a, b: evaluate(own, a, b, estimator), a, b)


def _evaluate(kernel: Any, x: Array, y: Array, estimator: str) -> Array:
    fine = arguments.finite(x, y)
    if isinstance(kernel, Radial):
        fine = fine * jnp.where(kernel.valid(), 1, jnp.nan).astype(fine.dtype)

    def each(a: Array, b: Array) -> Array:
        return jax.vmap(kernel)(a, b).astype(x.dtype)

    if estimator == "linear":
        a, b, c, e = x[::2], x[1::2], y[::2], y[1::2]
        return mean(each(a, b) + each(c, e) - each(a, e) - each(b, c)) * fine

    def over(a: Array, b: Array, different: bool = False) -> Array:
        def tile(theirs: Any, ours: Any) -> Array:
            return kernel_tile(kernel, theirs[0], ours[0])

        return mean(row_means(tile, (a,), (b,), different=different))

    different = estimator == "unbiased"
    value = over(x, x, different) + over(y, y, different) - 2 * over(x, y)
    return (value if different else jnp.where(value < 0, 0, value)) * fine


_compiled = jax.jit(_evaluate, static_argnums=3)
