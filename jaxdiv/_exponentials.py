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
_SHIFT = np.float32(1.5 * 2**23)  # added to a number, it leaves the nearest integer in the low bits


def _reduced(x: Array) -> tuple[Array, Array]:
    """r and 2^(n - 1) with x = n log 2 + r, in float32; n is at most 128, and below -125 2^n is 0.

    NaN passes through comparisons, and goes on in r.
    """
    x = jnp.where(x < -87, jnp.full_like(x, -87), x)
    x = jnp.where(x > 89, jnp.full_like(x, 89), x)
    bits = lax.bitcast_convert_type(x * np.float32(1 / math.log(2)) + _SHIFT, jnp.int32)
    # By integers: of a number to which another is added and subtracted some compilers make itself.
    n = (bits - _SHIFT.view(np.int32)).astype(jnp.float32)
    high, low = num.LN2[False]
    power = lax.bitcast_convert_type((bits << np.int32(23)) + np.int32(126 << 23), jnp.float32)
    return (x - n * high) - n * low, power


def _exp_on_cpu(x: Array) -> Array:
    r, power = _reduced(x)
    # Twice e^r is no larger than it may be where 2^n, but not exp(x), is infinite.
    return num.polynomial(r, [2.0, 2.0, *(2 * c for c in _EXP)]) * power


def _expm1_on_cpu(x: Array) -> Array:
    r, power = _reduced(x)
    rest = r + r * r * num.polynomial(r, _EXP)
    return 2 * (power * rest + (power - 0.5))


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


exp_p = _by_platform("jaxdiv_exp", _exp_on_cpu, jnp.exp)
expm1_p = _by_platform("jaxdiv_expm1", _expm1_on_cpu, expm1_elsewhere)
