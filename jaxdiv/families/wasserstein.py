"""The distance of optimal transport between normal distributions.

With C_p = L_p L_p^T its part of the covariances is the least |L_p - L_q R| over orthogonal R, which
is a difference of what is stored and not, as tr(A + B - 2 (A^1/2 B A^1/2)^1/2), one of traces that
cancel near p = q. The best R is the orthogonal polar factor of L_q^T L_p.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from ._multivariate_normal import MultivariateNormal
from ._normal import Normal
from .evaluate import members
from .pair import Pair


def wasserstein2_distance(p: Any, q: Any) -> Array:
    """Wasserstein-2 distance between normal distributions, in the units of their outcomes.

    The root of the least mean squared distance |x - y|^2 of x distributed as p and y as q,
    W^2 = |m_p - m_q|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) for covariances A and B; between
    scalars (m_p - m_q)^2 + (s_p - s_q)^2.

    p and q are both `Normal`, or both `MultivariateNormal` in any form, or independent normals;
    batch shapes broadcast, and that shape is returned. Derivatives are right to second order; at
    p = q, where the distance has a kink, they are 0. ValueError for a parameter outside its domain
    (NaN in that row where it is traced) and shapes that don't fit, NotImplementedError for other
    families, TypeError for anything else.

    Reference: Givens and Shortt, A class of Wasserstein metrics for probability distributions,
    1984.
    """
    p, q = members(p, q)
    pair = Pair(p, q)
    normals = (Normal, MultivariateNormal)
    if type(pair.p) is not type(pair.q) or not isinstance(pair.p, normals):
        raise NotImplementedError(
            f"the Wasserstein-2 distance of {pair.names} has no closed form here: it is known "
            "between normal distributions"
        )
    return _evaluate(pair.p, pair.q)


@jax.jit
def _evaluate(p: Any, q: Any) -> Array:
    fine = p.valid() & q.valid()
    square = jnp.square(p.loc - q.loc)
    if isinstance(p, Normal):
        square = square + jnp.square(p.scale - q.scale)
    elif p.scale_diag is not None and q.scale_diag is not None:
        square = jnp.sum(square + jnp.square(p.scale_diag - q.scale_diag), axis=-1)
    else:
        square = jnp.sum(square, axis=-1) + _apart(p.factor(), q.factor())
    return num.safe_sqrt(square) * jnp.where(fine, 1, jnp.nan).astype(square.dtype)


def _transposed(x: Array) -> Array:
    return jnp.swapaxes(x, -1, -2)


def _apart(a: Array, b: Array) -> Array:
    """The least |a - b R|^2 over orthogonal R.

    An error of R, if it stays orthogonal, costs its square. So R is made of a skew K by Cayley's
    map, R - I = (I - K/2)^-1 K: near a = b of the K that is best to first order, else of the polar
    factor. Either errs by a root of eps where they change over.
    """
    difference, product = a - b, _transposed(b) @ a
    still_a, still_b = lax.stop_gradient(a), lax.stop_gradient(b)
    left, s, right = jnp.linalg.svd(_transposed(still_b) @ still_a)
    sums = s[..., :, None] + s[..., None, :]
    one = jnp.broadcast_to(jnp.eye(s.shape[-1], dtype=s.dtype), a.shape)

    step = _transposed(still_b) @ (still_a - still_b)
    skew = right @ (step - _transposed(step)) @ _transposed(right)
    first = _transposed(right) @ (skew / sums) @ right
    polar = left @ right
    whole = 2 * _transposed(jnp.linalg.solve(_transposed(polar + one), _transposed(polar - one)))
    whole = (whole - _transposed(whole)) / 2
    size = jnp.max(jnp.abs(first), axis=(-2, -1), keepdims=True)
    near = size <= float(jnp.finfo(s.dtype).eps) ** 0.5
    # Half a turn has no K.
    some = jnp.max(jnp.abs(whole), axis=(-2, -1), keepdims=True) < 8
    k = jnp.where(near, first, jnp.where(some, whole, 0))
    turn = jnp.where(near | some, jnp.linalg.solve(one - k / 2, k), polar - one)

    # Exactly 0, with the derivative of the polar factor: R moves along a path of orthogonal ones,
    # exp(k), whose second order counts, since the best R is best among these alone.
    moved = _transposed(left) @ (product - lax.stop_gradient(product)) @ _transposed(right)
    k = _transposed(right) @ ((moved - _transposed(moved)) / sums) @ right
    turn = lax.stop_gradient(turn)
    turn = turn + (one + turn) @ (k + k @ k / 2)
    return jnp.sum(jnp.square(difference - b @ turn), axis=(-2, -1))
