"""Summands of f-divergences as power series of the log-ratio l = log(p/q), where that is small.

d(p, q) = q f(p/q) = p A(l) with A(l) = f(e^l) / e^l, and the derivatives with respect to log p and
log q are p P(l) and p (A - P)(l) with P(l) = f'(e^l). A begins with l^2, P with l; what is left is
interpolated at Chebyshev's nodes, which takes the least terms. Where all outcomes of a row are like
that, polynomials are all that its value and slopes need besides p and l.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _numerics as num
from .._divergence import Separable, told
from .._f_divergences import KL
from .normalised import Normalised, log_ratio

REACH = 2.0  # of the series; they need four terms more than for 1
_ERROR = 2.0**-26  # of a series, relative to what it is of
_MOST = 20  # terms


class Series(NamedTuple):
    """Coefficients, the constant term first: of A / l^2, of P / l and of (A - P) / l."""

    value: tuple[float, ...]
    by_p: tuple[float, ...]
    by_q: tuple[float, ...]


def series_of(divergence: Separable) -> Series | None:
    """The series of a divergence whose numbers are known; None if there are none."""
    known = told(divergence, "analytic")
    return None if known is None else _series(known)


@functools.lru_cache(maxsize=64)
def _series(divergence: Separable) -> Series:
    def at(ratio: Array) -> tuple[Array, Array]:
        t = jnp.exp(ratio)
        value, slope = jax.value_and_grad(lambda t: divergence.summand(t, jnp.ones_like(t)))(t)
        return value / t, slope

    # An even number, so that none is 0.
    grid = REACH * np.cos(np.pi * (np.arange(4 * _MOST) + 0.5) / (4 * _MOST))
    with jax.enable_x64(True):
        value, slope = num.computed(jax.vmap(at), grid)
    wanted = value / grid**2, slope / grid, (value - slope) / grid
    return Series(*(_interpolated(grid, values) for values in wanted))


def excess(p: Normalised, q: Normalised) -> Array:
    """p - q of every outcome, where log-ratios are small."""
    ratio = log_ratio(p, q)
    return -p.masses() * ratio * num.polynomial(ratio, [*_series(KL()).by_q])


def _interpolated(grid: np.ndarray, values: np.ndarray) -> tuple[float, ...]:
    for degree in range(_MOST):
        fit = np.polynomial.Chebyshev.fit(grid, values, degree, domain=[-REACH, REACH])
        if np.max(np.abs(fit(grid) / values - 1)) < _ERROR:
            return tuple(fit.convert(kind=np.polynomial.Polynomial).coef.tolist())
    raise ValueError(f"no {_MOST} terms of a power series of log(p/q) reach {REACH:g}")
