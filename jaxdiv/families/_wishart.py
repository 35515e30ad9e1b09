"""Wishart distributions of positive definite matrices."""

import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import _numerics as num
from .._divergence import concrete
from .._tangents import all_zero
from ._spectra import least_eigenvalue, log_determinant, moved_with
from ._stirling import HALF_LOG_TAU, binet, log_less_digamma
from .base import POSITIVE, REAL, ExponentialFamily, Family, Number, Real, family, parameter
from .bends import excess, gamma_bend
from .expectations import Support
from .pair import jensen_gap


def _shifted_bend(x: Array, y: Array, d: Array, c: Array, t: Real) -> Array:
    """[F(y, x) - F(b, a)] / t^2, F(b, a) = b log(b/a) - b + a, x = a - c, y = b - c, t d = b - a.

    At least 0. With z = c t d / (b x) and w = t d / a the bracket is y log(1 + z) - c log(1 + w).
    """
    a, b = x + c, y + c
    slope, growth = c * d / (b * x), d / a
    near = jnp.abs(t * slope) <= 0.5
    small = jnp.where(near, slope, 0)
    of_z = jnp.where(near, (a / x) * (y / b), 1)
    curve = slope * c * d / a - y * excess(small, t, of_z)
    safe_t = jnp.where(near, 1, t)
    steep = y * num.log1p(jnp.where(near, 0, t * slope)) - c * num.log1p(t * growth)
    return jnp.where(near, curve + c * excess(growth, t, b / a), steep / (safe_t * safe_t))


class _Direction(NamedTuple):
    concentration: Array
    cross: Array  # a (s - r) - r (b - a)


@family
class _Axis(ExponentialFamily):
    """What one axis adds: A(a, r) = log Gamma(a - c) - a log r, convex only where all are added."""

    shape: Number = parameter(POSITIVE)  # a - c, which may be small
    rate: Number = parameter(POSITIVE)
    less: Number = parameter(REAL)  # c, half of the axes before
    statistics: ClassVar = ("log x", "x")

    def natural(self) -> tuple[Array, ...]:
        return self.shape, -self.rate, self.less

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        shape, minus, less = natural
        return lax.lgamma(shape) - (shape + less) * jnp.log(-minus)

    def toward(self, other: "_Axis") -> _Direction:
        d, step = other.shape - self.shape, other.rate - self.rate
        return _Direction(d, (self.shape + self.less) * step - self.rate * d)

    def at(self, other: "_Axis", direction: _Direction, t: Real, rest: Real) -> "_Axis":
        shape = rest * self.shape + t * other.shape
        return _Axis(shape, rest * self.rate + t * other.rate, self.less)

    def bend(self, point: "_Axis", direction: _Direction, t: Real) -> Array:
        c, d = self.less, direction.concentration
        a, b = self.shape + c, point.shape + c
        ratio = (a / b) * (point.rate / self.rate)
        scales = b * excess(direction.cross / (self.rate * b), t, ratio)
        return (
            scales
            + gamma_bend(self.shape, point.shape, d, t)
            + _shifted_bend(self.shape, point.shape, d, c, t)
        )


def _gaps(values: Array, a: Array, b: Array, d: Array, alpha: Array) -> Array:
    """The gap of axes in which p's scale is 1 + value, q's 1; summed."""
    n = values.shape[-1]
    less = jnp.broadcast_to(jnp.arange(n, dtype=values.dtype) / 2, values.shape)
    one = jnp.ones_like(values)
    a, b, d, alpha = (x[..., None] for x in (a, b, d, alpha))
    wide = jnp.maximum(1 + values, jnp.finfo(values.dtype).tiny)
    p, q = _Axis(a - less, one, less), _Axis(b - less, wide, less)
    # Each may be negative: only their sum is a divergence.
    return num.row_sum(jensen_gap(p, q, _Direction(one * d, a * values - d), alpha))


@jax.custom_jvp
def _spread(x: Array, a: Array, b: Array, d: Array, alpha: Array) -> Array:
    """The gap for symmetric x, p's scale matrix less q's where that is 1."""
    return _gaps(jnp.linalg.eigvalsh(x), a, b, d, alpha)


def _spread_jvp(primals, tangents):
    x, a, b, d, alpha = primals
    value = _spread(*primals)
    tangent = jnp.zeros_like(value)
    if not all_zero(tangents[0]):
        eye = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
        # With V = 1 + x, W = 1 + (1 - alpha) x the derivative is V^-1 W^-1 (a x - d); all commute.
        a_x = a[..., None, None] * x - d[..., None, None] * eye
        inner = jnp.linalg.solve(eye + (1 - alpha)[..., None, None] * x, a_x)
        slope = jnp.linalg.solve(eye + x, inner)
        tangent = jnp.sum(slope * jnp.swapaxes(tangents[0], -1, -2), axis=(-2, -1))
    if not all(map(all_zero, tangents[1:])):
        numbers = a, b, d, alpha
        steps = tuple(jnp.zeros_like(value) if all_zero(dot) else dot for dot in tangents[1:])
        fixed = jnp.linalg.eigvalsh(lax.stop_gradient(x))
        _, by_numbers = jax.jvp(lambda *y: _gaps(fixed, *y), numbers, steps)
        still = a, b, d, jnp.where((alpha == 0) | (alpha == 1), 0.5, alpha)
        moved = moved_with(
            lambda x: jax.jvp(functools.partial(_plain, x), still, steps)[1], x, alpha
        )
        tangent = tangent + by_numbers + moved
    return value, tangent


_spread.defjvp(_spread_jvp, symbolic_zeros=True)


def _plain(x: Array, a: Array, b: Array, d: Array, alpha: Array) -> Array:
    """What depends on x, as differences of logarithms."""
    del d
    beta = 1 - alpha
    mixed = (alpha * a + beta * b) * log_determinant(x, beta)
    return (mixed - beta * b * log_determinant(x, jnp.ones_like(beta))) / (alpha * beta)


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

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        lower = jnp.tril(self.scale_tril)
        scale = lower @ jnp.swapaxes(lower, -1, -2)
        return (self.df[..., None, None] * scale - origin) / unit

    def mean_log_det(self) -> Array:
        # The squared diagonal of a standard one's factor is chi-squared with df - i.
        a, less = self._shapes()
        logs = jnp.log(jnp.diagonal(self.scale_tril, axis1=-2, axis2=-1))
        return num.row_sum(2 * logs + jnp.log(2 * (a - less)) - log_less_digamma(a - less))

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
        shapes = gamma_bend(a - less, b - less, d, 1.0) + _shifted_bend(
            a - less, b - less, d, less, 1.0
        )
        return num.row_sum(scales + shapes)

    def jensen(self, other: "Wishart", alpha: Array) -> Array:
        of_p, of_q = jnp.tril(self.scale_tril), jnp.tril(other.scale_tril)
        e = lax.linalg.triangular_solve(of_q, of_p - of_q, left_side=True, lower=True)
        x = e + jnp.swapaxes(e, -1, -2) + e @ jnp.swapaxes(e, -1, -2)
        x = (x + jnp.swapaxes(x, -1, -2)) / 2
        batch = x.shape[:-2]
        alpha = jnp.broadcast_to(alpha, batch)
        a, b, d = self.df / 2, other.df / 2, (other.df - self.df) / 2
        least = (x.shape[-1] - 1) / 2
        fine = (least_eigenvalue(x, 1 - alpha) > 0) & (alpha * a + (1 - alpha) * b > least)
        tame = jnp.where(fine, alpha, 0.5)
        gap = _spread(x, a, b, d, tame)
        return jnp.where(fine, jnp.where(gap < 0, 0, gap), jnp.inf)
