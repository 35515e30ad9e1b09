"""Exponentials as primitives, so that a lowered program decides how they are found.

XLA's exponential on a CPU takes about as long as all else that a sum over logits needs. In float32
half of that will do; a GPU has an instruction for it.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import _numerics as num

# (e^r - 1 - r) / r^2 for |r| <= log(2)/2 (S. Moshier, Cephes 2.2).
_EXP = [5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3]
_EXP += [1.9875691500e-4]
# (log(1 + f) - f + f^2 / 2) / f^3 for sqrt(1/2) <= 1 + f < sqrt(2) (the same).
_LOG = [3.3333331174e-1, -2.4999993993e-1, 2.0000714765e-1, -1.6668057665e-1, 1.4249322787e-1]
_LOG += [-1.2420140846e-1, 1.1676998740e-1, -1.1514610310e-1, 7.0376836292e-2]
_SHIFT = np.float32(1.5 * 2**23)  # added to a number, it leaves the nearest integer in the low bits


def _reduced(x: Array, exact: bool = False) -> tuple[Array, Array]:
    """r and 2^(n - 1) with x = n log 2 + r, in float32; n is at most 128, and below -125 2^n is 0.

    NaN passes through comparisons, and goes on in r. `exact` is for a compiler to which x + c - c
    is not x.
    """
    x = jnp.where(x < -87, jnp.full_like(x, -87), x)
    x = jnp.where(x > 89, jnp.full_like(x, 89), x)
    shifted = x * np.float32(1 / math.log(2)) + _SHIFT
    bits = lax.bitcast_convert_type(shifted, jnp.int32)
    # By integers for XLA's, which is one operation more.
    n = shifted - _SHIFT if exact else (bits - _SHIFT.view(np.int32)).astype(jnp.float32)
    high, low = num.LN2[False]
    power = lax.bitcast_convert_type((bits << np.int32(23)) + np.int32(126 << 23), jnp.float32)
    return (x - n * high) - n * low, power


def exp_on_cpu(x: Array, exact: bool = False) -> Array:
    """exp(x), 0 below -87; 0.87 ulp."""
    r, power = _reduced(x, exact)
    # Twice e^r is no larger than it may be where 2^n, but not exp(x), is infinite.
    return num.polynomial(r, [2.0, 2.0, *(2 * c for c in _EXP)]) * power


def expm1_on_cpu(x: Array, exact: bool = False) -> Array:
    """exp(x) - 1; 1.4 ulp."""
    r, power = _reduced(x, exact)
    rest = r + r * r * num.polynomial(r, _EXP)
    return 2 * (power * rest + (power - 0.5))


def log_on_cpu(x: Array) -> Array:
    """log(x) of numbers that are not subnormal, -inf at 0; 1 ulp (Cephes 2.2)."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    root_half = np.float32(math.sqrt(0.5)).view(np.int32)
    exponent = (bits - root_half) >> np.int32(23)
    f = lax.bitcast_convert_type(bits - (exponent << np.int32(23)), jnp.float32) - 1
    n = exponent.astype(jnp.float32)
    high, low = num.LN2[False]
    square = f * f
    rest = f * square * num.polynomial(f, _LOG) + n * low - 0.5 * square
    value = n * high + (f + rest)
    value = jnp.where(x < jnp.inf, value, x)
    return jnp.where(x > 0, value, jnp.where(x == 0, -jnp.inf, jnp.nan))


def expm1_elsewhere(x: Array) -> Array:
    """exp(x) - 1 on what is no CPU; 4 ulp."""
    near = jnp.abs(x) <= 0.5
    return jnp.where(near, num.expm1_near(jnp.where(near, x, 0)), jnp.exp(x) - 1)


def _by_platform(
    name: str, cpu: Callable[[Array], Array], others: Callable[[Array], Array]
) -> Primitive:
    """An elementwise function, of float32 in another form on a CPU, whose derivative is exp."""
    primitive = Primitive(name)

    def on_cpu(x: Array) -> Array:
        return cpu(x) if x.dtype == jnp.float32 else others(x)

    evaluated = jax.jit(primitive.bind)
    primitive.def_impl(evaluated)
    primitive.def_abstract_eval(lambda x: x)
    mlir.register_lowering(primitive, mlir.lower_fun(others, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(on_cpu, multiple_results=False), "cpu")
    batching.defvectorized(primitive)
    # By the argument: exp(x) - 1, plus 1, has lost the digits of a small exp(x).
    ad.defjvp(primitive, lambda dot, x: dot * exp_p.bind(x))
    return primitive


exp_p = _by_platform("jaxdiv_exp", exp_on_cpu, jnp.exp)
expm1_p = _by_platform("jaxdiv_expm1", expm1_on_cpu, expm1_elsewhere)
