"""Functions of eigenvalues of symmetric matrices; eigenvectors are never differentiated."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax


def least_eigenvalue(x: Array, weight: Array) -> Array:
    """That of I + weight X."""
    values = 1 + weight[..., None] * jnp.linalg.eigvalsh(lax.stop_gradient(x))
    return jnp.min(values, axis=-1)


def log_determinant(x: Array, weight: Array) -> Array:
    """log |I + weight X|, for a positive definite one."""
    eye = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    factor = jnp.linalg.cholesky(eye + weight[..., None, None] * x, symmetrize_input=False)
    return 2 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)


def moved_with(slope: Callable[[Array], Array], x: Array, alpha: Array) -> Array:
    """An exact zero with the derivatives by X of a derivative by numbers, a function of X.

    The derivative itself comes from eigenvalues that are held fixed; where alpha is 0 or 1, and
    the plain formula has no value, this one's derivative is left out.
    """
    moved = slope(x) - slope(lax.stop_gradient(x))
    return jnp.where((alpha == 0) | (alpha == 1), 0, moved)
