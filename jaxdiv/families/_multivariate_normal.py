"""Multivariate normal distributions, by covariance, Cholesky factor, diagonal or low rank.

In coordinates in which q is standard, p's covariance is I + A and its mean -d, and all that is
asked for is a function of A and d. A is formed from the difference of what is stored, so that it is
accurate to itself near p = q. With W = I + (1 - alpha) A the Jensen gap is

    d^T W^-1 d / 2 + sum of the gaps of one-dimensional normals with variances 1 + eigenvalue of A,

whose derivative by A is W^-1 A (I + A)^-1 / 2: eigenvectors are never differentiated.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import _numerics as num
from .._divergence import concrete
from .._tangents import all_zero
from ._normal import Normal, direction_of
from ._spectra import least_eigenvalue, log_determinant, moved_with
from ._stirling import HALF_LOG_TAU
from .base import POSITIVE, REAL, Family, Number, family, parameter
from .bends import excess
from .expectations import Real, Support
from .pair import jensen_gap

_FORMS = (
    ("covariance_matrix",),
    ("scale_tril",),
    ("scale_diag",),
    ("cov_factor", "cov_diag"),
)
_FAR = 1.0  # KL above which it comes from the factors of two covariances, whose digits are enough


@family
class MultivariateNormal(Family):
    """Normal distribution on R^n with mean `loc`, and its covariance in one of four forms.

    `covariance_matrix`, (*batch, n, n); `scale_tril`, its lower Cholesky factor; `scale_diag`, the
    standard deviations of independent entries; or `cov_factor`, (*batch, n, r), with `cov_diag`,
    (*batch, n), for factor factor^T + diag(cov_diag). Either side may have either form.

    KL = [sum_i (C_ii^2 - 1 - log C_ii^2) + sum_(i > j) C_ij^2 + |L_q^-1 (m_p - m_q)|^2] / 2 with
    C = L_q^-1 L_p of the Cholesky factors, formed from L_p - L_q. Of covariances that are near each
    other C is formed from their difference, which takes longer.

    Raises ValueError for a concrete covariance that is not symmetric and positive definite; under
    `jit` it gives NaN in that row.
    """

    loc: Number = parameter(REAL, 1)
    covariance_matrix: Number = parameter(REAL, 2, default=None)
    scale_tril: Number = parameter(REAL, 2, default=None)
    scale_diag: Number = parameter(POSITIVE, 1, default=None)
    cov_factor: Number = parameter(REAL, 2, default=None)
    cov_diag: Number = parameter(POSITIVE, 1, default=None)

    def consistent(self, name: str) -> None:
        forms = {key for form in _FORMS for key in form if getattr(self, key) is not None}
        if not any(forms == set(form) for form in _FORMS):
            known = ", ".join(" with ".join(form) for form in _FORMS)
            had = ", ".join(sorted(forms)) or "none"
            raise ValueError(f"{name} needs exactly one of {known}, but has {had}")
        n = self.loc.shape[-1] if self.loc.ndim else 0
        for key in forms:
            x = getattr(self, key)
            needed = {"scale_diag": 1, "cov_diag": 1, "cov_factor": 2}.get(key, 2)
            own = x.shape[x.ndim - needed :]
            wanted = (n,) if needed == 1 else (n, own[-1] if key == "cov_factor" and own else n)
            if x.ndim < needed or own != wanted:
                raise ValueError(
                    f"{name}.{key} must have the last axes {wanted}, as {name}.loc has shape "
                    f"{self.loc.shape}, but has shape {x.shape}"
                )
        if self.covariance_matrix is not None and concrete(self.covariance_matrix):
            _check_covariance(f"{name}.covariance_matrix", np.asarray(self.covariance_matrix))
        if self.scale_tril is not None and concrete(self.scale_tril):
            diagonal = np.diagonal(np.asarray(self.scale_tril), axis1=-2, axis2=-1)
            if not np.all(diagonal > 0):
                raise ValueError(
                    f"{name}.scale_tril must have a positive diagonal, but has {diagonal.min()}"
                )

    def valid(self) -> Array:
        fine = super().valid()
        if self.scale_diag is None:
            # Of a finite matrix that is not positive definite the factor is NaN. One that is given
            # is read as it is: XLA would lay its triangle out anew, for this and for the solve.
            diagonal = _diagonal(self.factor() if self.scale_tril is None else self.scale_tril)
            fine &= jnp.all((diagonal > 0) & (diagonal < jnp.inf), axis=-1)
        return fine

    def covariance(self) -> Array:
        """The covariance matrix, (*batch, n, n)."""
        if self.covariance_matrix is not None:
            return self.covariance_matrix
        if self.cov_factor is not None:
            return self.cov_factor @ jnp.swapaxes(self.cov_factor, -1, -2) + _diag(self.cov_diag)
        own = self.factor()
        return own @ jnp.swapaxes(own, -1, -2)

    def factor(self) -> Array:
        """The lower Cholesky factor of the covariance matrix, (*batch, n, n)."""
        if self.scale_tril is not None:
            return jnp.tril(self.scale_tril)
        if self.scale_diag is not None:
            return _diag(self.scale_diag)
        return jnp.linalg.cholesky(self.covariance())  # with symmetric derivatives

    def support(self) -> Support:
        return Support("vectors")

    def natural(self) -> tuple[Array, ...]:
        precision = jnp.linalg.inv(self.covariance())
        return (precision @ self.loc[..., None])[..., 0], -precision / 2

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        x, precision = natural[0], -2 * natural[1]
        _, log = jnp.linalg.slogdet(precision)
        squares = jnp.sum(x * jnp.linalg.solve(precision, x[..., None])[..., 0], axis=-1)
        fine = jnp.all(jnp.linalg.eigvalsh(lax.stop_gradient(precision)) > 0, axis=-1)
        return jnp.where(fine, (squares - log) / 2, jnp.inf)

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return (self.loc - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        if self.scale_diag is not None:
            return jnp.square(self.scale_diag / unit)
        return _diagonal(self.covariance()) / jnp.square(unit)

    def mean_outer(self) -> Array:
        return self.covariance() + self.loc[..., :, None] * self.loc[..., None, :]

    def entropy(self, unit: Real = 1.0) -> Array:
        if self.scale_diag is not None:
            diagonal = self.scale_diag
        else:
            diagonal = _diagonal(self.factor())
        return num.row_sum(jnp.log(diagonal / unit) + (HALF_LOG_TAU + 0.5))

    def _factored(self) -> bool:
        return self.scale_tril is not None or self.scale_diag is not None

    def kl(self, other: "MultivariateNormal") -> Array:
        if self.scale_diag is not None and other.scale_diag is not None:
            p, q = Normal(self.loc, self.scale_diag), Normal(other.loc, other.scale_diag)
            return num.row_sum(p.bend(q, p.toward(q), 1.0))
        # C - I, and the difference of the means: side by side in one solve they take twice as long.
        of_q, shift = other.factor(), (self.loc - other.loc)[..., None]
        apart = _solve(of_q, shift)[..., 0]
        value = _by_factors(_solve(of_q, self.factor() - of_q))
        value = value + num.row_sum(jnp.square(apart)) / 2
        if self._factored() and other._factored():
            return value
        near = ~(value > _FAR)

        def by_difference() -> Array:
            away, apart = self._whitened(other, of_q, shift)
            whole = _by_covariance(away) + num.row_sum(jnp.square(apart[..., 0])) / 2
            return jnp.where(near, whole, value)

        # Of factors that were computed the difference is known to the digits of the factors.
        return lax.cond(jnp.any(near), by_difference, lambda: value)

    def _whitened(
        self, other: "MultivariateNormal", of_q: Array, shift: Array
    ) -> tuple[Array, Array]:
        """A = L_q^-1 (C_p - C_q) L_q^-T, and L_q^-1 of a shift."""
        found = _solve(of_q, self.covariance() - other.covariance())
        away = lax.linalg.triangular_solve(
            of_q, found, left_side=False, lower=True, transpose_a=True
        )
        return (away + _transposed(away)) / 2, _solve(of_q, shift)

    def jensen(self, other: "MultivariateNormal", alpha: Array) -> Array:
        if self.scale_diag is not None and other.scale_diag is not None:
            p, q = Normal(self.loc, self.scale_diag), Normal(other.loc, other.scale_diag)
            return jnp.sum(jensen_gap(p, q, p.toward(q), alpha), axis=-1)
        of_q, shift = other.factor(), (self.loc - other.loc)[..., None]
        if self._factored() and other._factored():
            e, shift = _solve(of_q, self.factor() - of_q), _solve(of_q, shift)
            excess_ = e + _transposed(e) + e @ _transposed(e)
        else:
            excess_, shift = self._whitened(other, of_q, shift)
        excess_ = (excess_ + _transposed(excess_)) / 2
        alpha = jnp.broadcast_to(alpha, excess_.shape[:-2])
        fine = least_eigenvalue(excess_, 1 - alpha) > 0
        weight = jnp.where(fine, 1 - alpha, 0)[..., None, None]
        mixed = jnp.linalg.cholesky(_eye(excess_) + weight * excess_, symmetrize_input=False)
        apart = _solve(mixed, shift)[..., 0]
        gap = _spread(excess_, alpha) + num.row_sum(jnp.square(apart)) / 2
        return jnp.where(fine, gap, jnp.inf)


def _check_covariance(name: str, matrix: np.ndarray) -> None:
    fault = None
    scale = np.max(np.abs(matrix), initial=0.0)
    if not np.allclose(matrix, np.swapaxes(matrix, -1, -2), rtol=0, atol=1e-5 * scale):
        fault = "is not symmetric"
    else:
        try:
            np.linalg.cholesky(np.asarray(matrix, np.float64))
        except np.linalg.LinAlgError:
            least = np.min(np.linalg.eigvalsh(np.asarray(matrix, np.float64)))
            fault = f"has the eigenvalue {least:.3g}"
    if fault:
        raise ValueError(f"{name} must be symmetric and positive definite, but {fault}")


def _solve(factor: Array, x: Array) -> Array:
    """factor^-1 x of a lower triangle."""
    return lax.linalg.triangular_solve(factor, x, left_side=True, lower=True)


def _diagonal(x: Array) -> Array:
    """The diagonal of a square matrix: a slice, where a gather takes ten times as long."""
    n = x.shape[-1]
    return x.reshape(*x.shape[:-2], n * n)[..., :: n + 1]


def _transposed(x: Array) -> Array:
    return jnp.swapaxes(x, -1, -2)


def _diag(x: Array) -> Array:
    return jnp.where(jnp.eye(x.shape[-1], dtype=bool), x[..., None], 0)


def _eye(x: Array) -> Array:
    return jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)


def _by_factors(e: Array) -> Array:
    """[tr A - log det(I + A)] / 2 of I + A = (I + e)(I + e)^T, e a lower triangle."""
    growth = _diagonal(e)
    each = excess(growth * (2 + growth), 1.0, jnp.square(1 + growth))
    below = jnp.tril(jnp.square(e), -1)
    return (num.row_sum(each) + num.row_sum(jnp.sum(below, axis=-2))) / 2


@jax.custom_jvp
def _by_covariance(a: Array) -> Array:
    """[tr A - log det(I + A)] / 2 for symmetric A, accurate to itself for small ones."""
    eye = _eye(a)
    c = jnp.linalg.cholesky(eye + a, symmetrize_input=False)
    # e = c - I has the rounding of I + A; a step of Newton's method with what e + e^T + e e^T lacks
    # of A leaves its square.
    e = jnp.tril(c - eye)
    square = jnp.matmul(e, _transposed(e), precision=lax.Precision.HIGHEST)
    lack = a - (e + _transposed(e) + square)
    inner = _solve(c, lack)
    inner = lax.linalg.triangular_solve(c, inner, left_side=False, lower=True, transpose_a=True)
    step = jnp.tril(inner) - eye * inner / 2
    return _by_factors(e + jnp.matmul(c, step, precision=lax.Precision.HIGHEST))


@_by_covariance.defjvp
def _(primals, tangents):
    (a,), (a_dot,) = primals, tangents
    slope = jnp.linalg.solve(_eye(a) + a, a)  # A (I + A)^-1, symmetric
    return _by_covariance(a), jnp.sum(slope * _transposed(a_dot), axis=(-2, -1)) / 2


def _gaps(values: Array, alpha: Array) -> Array:
    """The gap of normals with equal means and variances 1 + value and 1, summed."""
    zero, one = jnp.zeros_like(values), jnp.ones_like(values)
    scale = jnp.sqrt(jnp.maximum(1 + values, jnp.finfo(values.dtype).tiny))
    p, q = Normal(zero, scale), Normal(zero, one)
    gap = jensen_gap(p, q, direction_of(values, zero, scale, one), alpha[..., None])
    return num.row_sum(gap)


@jax.custom_jvp
def _spread(a: Array, alpha: Array) -> Array:
    """The part of the gap that is of the covariances, for symmetric A."""
    return _gaps(jnp.linalg.eigvalsh(a), alpha)


def _spread_jvp(primals, tangents):
    a, alpha = primals
    a_dot, alpha_dot = tangents
    value = _spread(a, alpha)
    tangent = jnp.zeros_like(value)
    if not all_zero(a_dot):
        eye = _eye(a)
        # d/dA = W^-1 A (I + A)^-1 / 2; all of them commute.
        inner = jnp.linalg.solve(eye + (1 - alpha)[..., None, None] * a, a)
        slope = jnp.linalg.solve(eye + a, inner)
        tangent = jnp.sum(slope * _transposed(a_dot), axis=(-2, -1)) / 2
    if not all_zero(alpha_dot):
        fixed = jnp.linalg.eigvalsh(lax.stop_gradient(a))
        _, by_alpha = jax.jvp(lambda x: _gaps(fixed, x), (alpha,), (jnp.ones_like(alpha),))
        still = jnp.where((alpha == 0) | (alpha == 1), 0.5, alpha)

        def by_order(x: Array) -> Array:
            return jax.jvp(lambda w: _plain(x, w), (still,), (jnp.ones_like(alpha),))[1]

        moved = moved_with(by_order, a, alpha)
        tangent = tangent + (by_alpha + moved) * alpha_dot
    return value, tangent


_spread.defjvp(_spread_jvp, symbolic_zeros=True)


def _plain(a: Array, alpha: Array) -> Array:
    """The same as differences of logarithms."""
    beta = 1 - alpha
    mixed = log_determinant(a, beta) - beta * log_determinant(a, jnp.ones_like(beta))
    return mixed / (2 * alpha * beta)
