"""How many eigenvalues are negative, exactly and in O(n), for the matrices of this subject.

Two forms cover them. diag(d) restricted to T = {v : sum v = 0} is the Hessian of a separable
divergence in probabilities. In the logits of q it is B diag(u) B^T with B = I - q 1^T and

    u_i = q_i^2 h_i + q_i (g_i - sum_j q_j g_j),    g = d_q d,  h = d_q^2 d,

whose vector of ones is null. On T it is congruent to diag(u) restricted to {w : q . w = 0}: by
Haynsworth's inertia additivity, bordering diag(u) by q adds one eigenvalue of either sign and one
more, that of the Schur complement -sum q_i^2 / u_i. A dense Hessian of 131072 outcomes would take
128 GiB, and an iterative solver cannot tell 1e-13 from 0.

Reference: Haynsworth 1968; Golub, Some modified matrix eigenvalue problems, 1973.
"""

import jax
import jax.numpy as jnp
from jax import Array


def eigenvalues_below(d: Array, s: Array | float, where: Array | None = None) -> Array:
    """The number of eigenvalues below s of diag(d) on T, for s equal to no d_i.

    #{d_i < s} - 1 + [sum 1/(d_i - s) > 0], along the last axis; `where` leaves outcomes out.
    """
    some = jnp.ones(d.shape, bool) if where is None else where
    level = jnp.broadcast_to(jnp.asarray(s, d.dtype), d.shape[:-1])[..., None]
    gap = jnp.where(some, d - level, jnp.inf)
    below = jnp.sum(gap < 0, axis=-1)
    return below - 1 + (jnp.sum(1 / gap, axis=-1) > 0).astype(below.dtype)


def logit_curvature(q: Array, g: Array, h: Array) -> Array:
    """u of the Hessian in q's logits, from first and second derivatives by q."""
    qg = q * g
    # A weighted mean of the same numbers that it is subtracted from.
    mean = jnp.sum(qg, axis=-1, keepdims=True) / jnp.sum(q, axis=-1, keepdims=True)
    return q * (q * h + (g - mean))


def logit_rounding(q: Array, g: Array, h: Array) -> Array:
    """The size of the numbers of which u is a sum: u is known to a few roundings of it."""
    mean = jnp.sum(q * jnp.abs(g), axis=-1, keepdims=True) / jnp.sum(q, axis=-1, keepdims=True)
    return q * (q * jnp.abs(h) + (jnp.abs(g) + mean))


def negative_in_logits(q: Array, u: Array, where: Array | None = None) -> Array:
    """The number of negative eigenvalues of (I - q 1^T) diag(u) (I - 1 q^T), all u != 0.

    #{u_i < 0} - 1 + [sum q_i^2 / u_i > 0], along the last axis.
    """
    some = jnp.ones(u.shape, bool) if where is None else where
    safe = jnp.where(some, u, 1)
    # q^2/u = q/(u/q): u is of the order of q, and q^2 may underflow.
    share = jnp.where(some, q / (safe / jnp.where(some, q, 1)), 0)
    negative = jnp.sum(some & (u < 0), axis=-1)
    return negative - 1 + (jnp.sum(share, axis=-1) > 0).astype(negative.dtype)


def logit_inertia(function, p: Array, q: Array) -> Array:
    """Negative eigenvalues of the Hessian in q's logits of a sum over the outcomes, at rows (p, q).

    `function` maps rows of probabilities to D; its derivatives are taken by autodiff, and the
    second, as the sum is separable, along the vector of ones.
    """

    def slope(q: Array) -> Array:
        return jax.grad(lambda q: jnp.sum(function(p, q)))(q)

    g, h = jax.jvp(slope, (q,), (jnp.ones_like(q),))
    return negative_in_logits(q, logit_curvature(q, g, h))
