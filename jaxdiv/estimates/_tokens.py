"""KL of policies from the log-probabilities of sampled tokens: k1, k2, k3, and a loss to train by.

With outcomes drawn from p and l = log p - log q, u = q/p = e^-l, the three estimators of
KL(p || q) = E_p[l] are (Schulman, Approximating KL Divergence, 2020)

    k1 = l              unbiased, of either sign      Var = Var_p[l]
    k2 = l^2 / 2        bias E_p[l^2]/2 - KL, of third order near p = q
    k3 = u - 1 + l      unbiased, at least 0          Var = Var_p[l] + chi^2(q || p) - 2 J,

J = KL(p || q) + KL(q || p). k3 is k1 with the control variate u - 1, whose mean is 0: much less
noise near p = q, and more, without bound, where q has mass that p hardly has. Nothing is clipped.

Their gradients are another matter. Differentiated by the parameters of p at fixed outcomes, as
automatic differentiation does, they have the expectations

    k1: 0                k2: grad KL(p || q)          k3: grad KL(q || p), the other direction.

`unbiased_kl_loss` has the value of k1 and the gradient of KL(p || q).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _checks as checks
from .. import _numerics as num


def _log_ratio(log_p: Any, log_q: Any) -> tuple[Array, Array, Array]:
    p, q = checks.as_parameter("log_p", log_p), checks.as_parameter("log_q", log_q)
    if p.shape != q.shape:
        raise ValueError(
            f"log_p and log_q must have one shape, that of the drawn outcomes, but have {p.shape} "
            f"and {q.shape}"
        )
    double = jnp.float64 in (p.dtype, q.dtype)
    dtype = jnp.float64 if double else jnp.float32
    p, q = p.astype(dtype), q.astype(dtype)
    # Of an outcome that q cannot have the ratio is +inf; one that p cannot have is none of its.
    return p, q, p - q


def kl_k1(log_p: Any, log_q: Any) -> Array:
    """log p - log q of each outcome drawn from p: its mean estimates KL(p || q) without bias.

    Its variance is Var_p[log(p/q)], between normal distributions of one scale d = |m_p - m_q| / s
    apart d^2, while KL is d^2 / 2; it may be negative. Its gradient by p's parameters at fixed
    outcomes has the expectation 0, which is not KL's: see `unbiased_kl_loss`.

    log_p and log_q are arrays of one shape, the log-probabilities of the outcomes under p and under
    q; low precision is computed in float32. ValueError for shapes that differ.
    """
    return _log_ratio(log_p, log_q)[2]


def kl_k2(log_p: Any, log_q: Any) -> Array:
    """(log p - log q)^2 / 2 of each outcome drawn from p: at least 0, biased.

    The bias is E_p[log(p/q)^2]/2 - KL(p || q); between normal distributions of one scale d apart
    d^4 / 8, and the variance d^4/2 + d^6/4. Its gradient by p's parameters at fixed outcomes is, in
    expectation, that of KL(p || q). Arguments as of `kl_k1`.
    """
    return jnp.square(_log_ratio(log_p, log_q)[2]) / 2


def kl_k3(log_p: Any, log_q: Any) -> Array:
    """q/p - 1 - log(q/p) of each outcome drawn from p: its mean is unbiased, each at least 0.

    Its variance is Var_p[log(p/q)] + chi^2(q || p) - 2 J, J = KL(p || q) + KL(q || p); between
    normal distributions of one scale d apart e^(d^2) - 1 - d^2. By a series near p = q, where the
    difference would lose its digits. Its gradient by p's parameters at fixed outcomes is, in
    expectation, that of KL(q || p), the other direction. Arguments as of `kl_k1`.
    """
    return _k3(_log_ratio(log_p, log_q)[2])


@jax.custom_jvp
def _k3(l: Array) -> Array:
    near = jnp.abs(l) <= 1
    series = num.exp_remainder_near(jnp.where(near, -l, 0))
    far = jnp.where(near, 1, l)
    return jnp.where(near, series, jnp.where(far == jnp.inf, far, jnp.exp(-far) - 1 + far))


@_k3.defjvp
def _(primals, tangents):
    (l,) = primals
    return _k3(l), -num.expm1(-l) * tangents[0]


def unbiased_kl_loss(log_p: Any, log_q: Any, *, axis: int = 0) -> Array:
    """The mean of k1 over `axis`, with a gradient that is an unbiased estimate of KL(p || q)'s.

    The gradient is that of mean[(l_i - b_i) log p_i - log q_i], l = log p - log q held fixed and
    b_i the mean of l over the other draws (leave-one-out baseline), which uses E_p[grad log p] = 0:

        grad KL(p || q) = E_p[l grad log p] - E_p[grad log q].

    `axis` is that of independent draws from p, two or more; the other axes are a batch. For the
    log-probabilities of whole sequences, sum over the tokens first: draws of single tokens depend
    on the tokens before them. ValueError for shapes that do not fit.

    Reference: Kool, van Hoof and Welling, Buy 4 REINFORCE samples, 2019.
    """
    p, q, ratio = _log_ratio(log_p, log_q)
    axis = checks.check_axis(axis, p.ndim)
    count = p.shape[axis]
    if count < 2:
        raise ValueError(
            f"a leave-one-out baseline needs two draws or more along axis {axis}, but log_p has "
            f"shape {p.shape}"
        )
    fixed = lax.stop_gradient(ratio)
    others = (jnp.sum(fixed, axis=axis, keepdims=True) - fixed) / (count - 1)
    moving = (fixed - others) * p - q
    value = fixed + (moving - lax.stop_gradient(moving))
    return jnp.mean(value, axis=axis)
