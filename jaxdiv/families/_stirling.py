"""What Stirling's formula lacks of log Gamma and its derivatives.

    log Gamma(x) = (x - 1/2) log x - x + log(2 pi)/2 + binet(x),
    digamma(x) = log x - log_less_digamma(x).

All are elementwise in x > 0, with an absolute error of a few ulp of the largest of themselves and
of 1, and differentiable to any order by JAX.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .bends import BINET, SHIFT

HALF_LOG_TAU = math.log(2 * math.pi) / 2


def _poles(x: Array, term: Callable[[Array, float], Array]) -> Array:
    """The sum over the poles of Binet's integral, at x >= 1 (float32) or 6 (float64)."""
    return sum((w * term(x, u) for w, u in BINET[num.is_double(x)]), start=jnp.zeros_like(x))


def _steps(x: Array, step: Callable[[Array], Array]) -> tuple[Array, Array]:
    """The sum of a function at x, x + 1, ... up to where the poles begin; and that place."""
    shift = SHIFT[num.is_double(x)]
    return sum((step(x + k) for k in range(shift)), start=jnp.zeros_like(x)), x + shift


def binet(x: Array) -> Array:
    """Binet's function, 1/(12 x) for large x."""

    def step(x: Array) -> Array:  # (x + 1/2) log(1 + 1/x) - 1
        far = 0.5 / x - (x + 0.5) * num.log1p_remainder(1 / x)
        return jnp.where(x < 1, (x + 0.5) * num.log1p(1 / x) - 1, far)

    before, far = _steps(x, step)
    return before + _poles(far, lambda x, u: x / (x * x + u))


def log_less_digamma(x: Array) -> Array:
    """log x - digamma(x) > 0, 1/(2 x) for large x; accurate to itself."""
    before, far = _steps(x, lambda x: num.log1p_remainder(1 / x))
    inverse = 1 / far
    square = inverse * inverse

    def pole(x: Array, u: float) -> Array:  # minus the derivative of x / (x^2 + u)
        return square * (1 - u * square) / jnp.square(1 + u * square)

    return before + 0.5 * inverse + _poles(far, pole)


def trigamma(x: Array) -> Array:
    """The derivative of digamma."""
    before, far = _steps(x, lambda x: jnp.square(1 / x))
    inverse = 1 / far
    square = inverse * inverse

    def pole(x: Array, u: float) -> Array:  # the second derivative of x / (x^2 + u)
        root = 1 + u * square
        return 2 * square * inverse * (1 - 3 * u * square) / (root * root * root)

    return before + inverse + 0.5 * square + _poles(far, pole)
