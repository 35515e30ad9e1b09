"""Wishart distributions of positive definite matrices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import _numerics as num
from .._divergence import concrete
from ._stirling import HALF_LOG_TAU, binet, log_less_digamma
from .base import POSITIVE, REAL, Family, Number, Real, family, parameter
from .bends import excess, gamma_bend
from .expectations import Support


def _shifted_excess(a: Array, b: Array, d: Array, c: Array) -> Array:
    """F(b - c, a - c) - F(b, a) with F(b, a) = b log(b/a) - b + a and d = b - a; at least 0.

    With z = c d / (b (a - c)) and w = d / a it is (b - c) log(1 + z) - c log(1 + w).
    """
    less = a - c
    z, w = c * d / (b * less), d / a
    near = jnp.abs(z) <= 0.5
    steep = (b - c) * num.log1p(jnp.where(near, 0, z)) - c * num.log1p(w)
    curve = c * c * d * d / (a * b * less) - (b - c) * num.log1p_remainder(jnp.where(near, z, 0))
    return jnp.where(near, curve + c * num.log1p_remainder(w), steep)


@family
class Wishart(Family):
    """Wishart distribution of symmetric positive definite n x n matrices.

    The distribution of the sum of x x^T of `df` normal vectors with mean 0 and covariance V =
    L L^T, L the lower Cholesky factor `scale_tril`, (*batch, n, n); `df` may be any number above
    n - 1. The density is proportional to |X|^((df - n - 1)/2) e^(-tr(V^-1 X) / 2). With a and b
    half of p's and q's df, C = L_q^-1 L_p and g(x) = log Gamma(x) - x log x + x,

    KL = b sum_i G(a C_ii^2 / b) + a sum_(i > j) C_ij^2
         + sum_i [bend of g from a - i/2 to b - i/2] + F(b - i/2, a - i/2) - F(b, a),

    G(y) = y - 1 - log y, F(b, a) = b log(b/a) - b + a, i from 0. Each term is at least 0.

    Reference: Bishop, Pattern Recognition and Machine Learning, 2006, appendix B.
    """

    df: Number = parameter(POSITIVE)
    scale_tril: Number = parameter(REAL, 2)

    def consistent(self, name: str) -> None:
        scale = self.scale_tril
        if scale.ndim < 2 or scale.shape[-1] != scale.shape[-2]:
            raise ValueError(
                f"{name}.scale_tril must be square in its last two axes, but has shape "
                f"{scale.shape}"
            )
        if concrete(scale):
            diagonal = np.diagonal(np.asarray(scale), axis1=-2, axis2=-1)
            if not np.all(diagonal > 0):
                raise ValueError(
                    f"{name}.scale_tril must have a positive diagonal, but has {diagonal.min()}"
                )
        n = scale.shape[-1]
        if concrete(self.df) and not np.all(np.asarray(self.df) > n - 1):
            raise ValueError(
                f"{name}.df must be above {n - 1} for {n} x {n} matrices, but is "
                f"{np.asarray(self.df).min()}"
            )

    def event_shape(self) -> tuple[Any, ...]:
        return self.scale_tril.shape[-2:]

    def valid(self) -> Array:
        diagonal = jnp.diagonal(self.scale_tril, axis1=-2, axis2=-1)
        fine = jnp.all(diagonal > 0, axis=-1) & (self.df > self.scale_tril.shape[-1] - 1)
        return super().valid() & fine

    def support(self) -> Support:
        return Support("positive definite matrices")

    def natural(self) -> tuple[Array, ...]:
        lower = jnp.tril(self.scale_tril)
        return self.df / 2, -jnp.linalg.inv(lower @ jnp.swapaxes(lower, -1, -2)) / 2

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        # Of log|X|, less the constant (n + 1)/2, and of X.
        a, minus = natural
        n = minus.shape[-1]
        _, log = jnp.linalg.slogdet(-minus)
        fine = jnp.all(jnp.linalg.eigvalsh(lax.stop_gradient(-minus)) > 0, axis=-1)
        gammas = jax.scipy.special.multigammaln(a, n)
        return jnp.where(fine & (a > (n - 1) / 2), gammas - a * log, jnp.inf)

    def _shapes(self) -> tuple[Array, Array]:
        """df/2, and i/2 for each axis."""
        n = self.scale_tril.shape[-1]
        less = jnp.arange(n, dtype=self.df.dtype) / 2
        half = (self.df / 2)[..., None]
        return jnp.broadcast_to(half, (*half.shape[:-1], n)), jnp.broadcast_to(
            less, (*half.shape[:-1], n)
        )

    def entropy(self, unit: Real = 1.0) -> Array:
        # (n + 1) log|L| and, with x = a - i/2, the entropies of the n gamma variables that the
        # squared diagonal of a standard one is made of, and what their number adds.
        (a, less), n = self._shapes(), self.scale_tril.shape[-1]
        x = a - less
        # log Gamma(x) + a - (a - (n + 1)/2) digamma(x), by Stirling's formula.
        weight = a - (n + 1) / 2
        each = (
            (x - 0.5 - weight) * jnp.log(x)
            + (less + HALF_LOG_TAU)
            + binet(x)
            + weight * log_less_digamma(x)
        )
        logs = jnp.log(jnp.diagonal(self.scale_tril, axis1=-2, axis2=-1))
        constant = n * (n + 1) / 2 * np.log(2) + n * (n - 1) / 4 * np.log(np.pi)
        total = num.row_sum(each + (n + 1) * logs) + constant
        return total - n * (n + 1) / 2 * jnp.log(jnp.asarray(unit, total.dtype))

    def kl(self, other: "Wishart") -> Array:
        (a, less), (b, _) = self._shapes(), other._shapes()
        d = ((other.df - self.df) / 2)[..., None] + jnp.zeros_like(a)
        of_p, of_q = jnp.tril(self.scale_tril), jnp.tril(other.scale_tril)
        found = lax.linalg.triangular_solve(of_q, of_p - of_q, left_side=True, lower=True)
        growth = jnp.diagonal(found, axis1=-2, axis2=-1)
        slope = (a * (growth * (2 + growth)) - d) / b
        scales = b * excess(slope, 1.0, a * jnp.square(1 + growth) / b)
        scales = scales + a * jnp.sum(jnp.square(jnp.tril(found, -1)), axis=-1)
        shapes = gamma_bend(a - less, b - less, d, 1.0) + _shifted_excess(a, b, d, less)
        return num.row_sum(scales + shapes)
