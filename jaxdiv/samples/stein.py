"""Kernel Stein discrepancy: how far points are from an unnormalised density.

Stein's operator turns a kernel k into one of mean 0 under p in either argument, from nothing but
the score s = grad log p:

u(a, b) = s(a).s(b) k + s(a).grad_b k + s(b).grad_a k + sum_i d^2 k / da_i db_i.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as checks
from . import arguments
from .divergences import mean
from .kernels import InverseMultiquadric, Kernel, Radial, as_kernel, median_heuristic
from .pairs import row_means
from .tiles import TILE, dots, squared_distances


def kernel_stein_discrepancy(
    x: Any,
    log_density: Callable[[Array], Array] | None = None,
    *,
    score: Callable[[Array], Array] | Any = None,
    kernel: Kernel | None = None,
    estimator: str = "unbiased",
) -> Array:
    """Kernel Stein discrepancy E u(X, X') between points x and a density p, normalised or not.

    Liu et al.'s, the square of Gorham and Mackey's; the mean of u over pairs of different points
    ("unbiased", a U-statistic, which may be negative), or over all pairs ("biased", at least 0).
    0 in expectation exactly if x has density p, for the kernels here and p with a smooth score.

    x is (n, d) or (n,). One of `log_density`, a function of a point (d,) that returns a scalar up
    to a constant, whose `jax.grad` is taken, and `score`, a function of a point that returns
    grad log p (d,), or the scores of x as an array like x. `kernel` is a function of two points;
    None is `InverseMultiquadric(median_heuristic(x))`. Differentiable by x, where the score is,
    and by what the functions hold. Memory is a block of 2^20 pairs of a radial kernel, of
    2^18 / d pairs of any other.

    ValueError for neither or both of log_density and score, scores that don't fit x or are not
    finite (NaN where they are traced), a width that is not positive, a median of 0, fewer than two
    points, NaN or infinities in x. TypeError for functions that don't return what they should.

    References: Liu, Lee and Jordan, A Kernelized Stein Discrepancy for Goodness-of-fit Tests, 2016;
    Chwialkowski, Strathmann and Gretton, A Kernel Test of Goodness of Fit, 2016; Gorham and Mackey,
    Measuring Sample Quality with Kernels, 2017.
    """
    arguments.choice("estimator", estimator, ("unbiased", "biased"))
    points = arguments.as_points("x", x)
    if points.ndim != 2 or len(points) < 2:
        raise ValueError(f"x must be two or more points, (n, d) or (n,), but is {points.shape}")
    scores = _scores(points, log_density, score)
    if kernel is None:
        width = median_heuristic(points)
        if checks.concrete(width) and not width > 0:
            raise ValueError(
                "the median distance of x is 0, since half of the pairs coincide: give a kernel, "
                "such as InverseMultiquadric(scale)"
            )
        return _compiled(InverseMultiquadric(width), points, scores, estimator)
    own, stable = as_kernel(kernel, points.shape[-1], points.dtype)
    return (_compiled if stable else _evaluate)(own, points, scores, estimator)


def _scores(points: Array, log_density: Any, score: Any) -> Any:
    if (log_density is None) == (score is None):
        raise ValueError("give log_density or score, one of them")
    scores: Any
    if log_density is not None:
        if not callable(log_density):
            raise TypeError(f"log_density must be a function of a point, but is {log_density!r}")
        shape = jax.eval_shape(log_density, points[0]).shape
        if shape != ():
            raise TypeError(f"log_density must return a scalar of a point, but returns {shape}")
        scores = jax.vmap(jax.grad(log_density))(points)
    elif callable(score):
        scores = jax.vmap(score)(points)
    else:
        scores = arguments.as_points("score", score)
    if scores.shape != points.shape:
        raise ValueError(f"score must give {points.shape} for x, but gives {scores.shape}")
    if checks.concrete(scores) and not bool(jnp.all(jnp.isfinite(scores))):
        bad = int(jnp.argmin(jnp.all(jnp.isfinite(scores), -1)))
        name = "log_density" if score is None else "score"
        raise ValueError(f"{name} must have a finite score at x, but has {scores[bad]} at x[{bad}]")
    return scores.astype(points.dtype)


def _radial_tile(kernel: Radial, theirs: Any, ours: Any) -> Array:
    # k = f(|a - b|^2) with gradients +-2 f' (a - b) and mixed trace -2 d f' - 4 |a - b|^2 f''.
    (b, t), (a, s) = theirs, ours
    square = squared_distances(b, a)
    one = jnp.ones_like(square)

    def slope(r: Array) -> Array:
        return jax.jvp(kernel.profile, (r,), (one,))[1]

    first, second = jax.jvp(slope, (square,), (one,))
    # (t_j - s_i) . (b_j - a_i), of differences, as square is.
    across = dots(b, a, t, s)
    value = dots_product(t, s) * kernel.profile(square)
    return value - 2 * first * across - 2 * a.shape[-1] * first - 4 * square * second


def dots_product(t: Array, s: Array) -> Array:
    """t_j . s_i."""
    return jnp.matmul(t, s.T, precision=jax.lax.Precision.HIGHEST)


def _general_tile(kernel: Any, theirs: Any, ours: Any) -> Array:
    (b, t), (a, s) = theirs, ours
    d = a.shape[-1]

    def one(a: Array, s: Array, b: Array, t: Array) -> Array:
        by_a, by_b = jax.grad(kernel, 0), jax.grad(kernel, 1)

        def mixed(total: Array, direction: Array) -> tuple[Array, None]:
            return total + jax.jvp(lambda b: by_a(a, b) @ direction, (b,), (direction,))[1], None

        zero = jnp.zeros((), a.dtype)
        trace = jax.lax.scan(mixed, zero, jnp.eye(d, dtype=a.dtype))[0]
        return (s @ t) * kernel(a, b) + s @ by_b(a, b) + t @ by_a(a, b) + trace

    return jax.vmap(lambda b, t: jax.vmap(lambda a, s: one(a, s, b, t))(a, s))(b, t)


def _evaluate(kernel: Any, x: Array, scores: Array, estimator: str) -> Array:
    radial = isinstance(kernel, Radial)

    def tile(theirs: Any, ours: Any) -> Array:
        return (_radial_tile if radial else _general_tile)(kernel, theirs, ours)

    both = (x, scores)
    entries = TILE if radial else TILE // 4 // x.shape[-1]
    different = estimator == "unbiased"
    value = mean(row_means(tile, both, both, different=different, entries=entries))
    value = value if different else jnp.where(value < 0, 0, value)
    fine = kernel.valid() if radial else True
    return value * arguments.finite(x, scores) * jnp.where(fine, 1, jnp.nan).astype(x.dtype)


_compiled = jax.jit(_evaluate, static_argnums=3)
