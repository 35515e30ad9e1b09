"""Lines of natural parameters with an infinite end: a member that lacks outcomes of the other."""

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num

Pair = tuple[Array, Array]


@jax.custom_jvp
def along(x: Pair, step: Pair, t: Array) -> Pair:
    """x + t step, of unevaluated sums of two numbers."""
    hi, lo = num.two_product(t, step[0])
    return num.add_pairs(x, (hi, lo + t * step[1]))


@along.defjvp
def _(primals, tangents):
    (_, step, t), (x_dot, step_dot, t_dot) = primals, tangents
    moved = x_dot[0] + x_dot[1] + t * (step_dot[0] + step_dot[1]) + t_dot * (step[0] + step[1])
    return along(*primals), (moved, jnp.zeros_like(moved))


def limit(x: Array, y: Array, t: Array) -> Array:
    """(1 - t) x + t y where 0 times infinity is 0, a constant.

    NaN where it has no meaning, and beyond x or y if the other one is infinite.
    """
    mixed = jnp.where(t == 1, 0, (1 - t) * x) + jnp.where(t == 0, 0, t * y)
    between = (t == 0) | (t == 1) | (jnp.isinf(x) != jnp.isinf(y))
    beyond = jnp.where(t < 0, jnp.isinf(y), (t > 1) & jnp.isinf(x)) | ~between
    return jax.lax.stop_gradient(jnp.where(x == y, x, jnp.where(beyond, jnp.nan, mixed)))


def absent(where: Array, x: Array, y: Array) -> Array:
    """+inf where an outcome of mass x > 0 has mass y = 0, with its derivatives by both; else 0."""
    big = 2.0 ** (1000 if num.is_double(x) else 100)
    # As two finite factors, so that an infinite derivative times 0 is 0.
    factor = jnp.where(where, big, 0).astype(x.dtype)
    return jnp.where(where, jnp.inf, 0).astype(x.dtype) + factor * (factor * (x - y))
