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
_LOG2, _PER_LOG2 = math.log(2), np.float32(1 / math.log(2))
_SHIFT = np.float32(1.5 * 2**23)  # added to a number, it leaves the nearest integer in the low bits


def _reduced(x: Array) -> tuple[Array, Array]:
    """r and 2^(n - 1) with x = n log 2 + r, in float32; n is at most 128, and below -125 2^n is 0.

    NaN passes through comparisons, and goes on in r.
    """
    x = jnp.where(x < -87, jnp.full_like(x, -87), x)
    x = jnp.where(x > 89, jnp.full_like(x, 89), x)
    bits = lax.bitcast_convert_type(x * _PER_LOG2 + _SHIFT, jnp.int32)
    # By integers: of a number to which another is added and subtracted some compilers make itself.
    n = (bits - _SHIFT.view(np.int32)).astype(jnp.float32)
    return _rest(x, n), _power(bits, np.int32(126))


def _rest(x: Array, n: Array) -> Array:
    high, low = num.LN2[False]
    return (x - n * high) - n * low


def _power(bits: Array, bias: Array | np.int32) -> Array:
    """2^(n + bias - 127) by the bits of n + the shift."""
    return lax.bitcast_convert_type((bits + bias) << np.int32(23), jnp.float32)


def _grown(r: Array, power: Array) -> Array:
    """e^r times twice a power."""
    # Twice e^r is no larger than it may be where 2^n, but not exp(x), is infinite.
    return num.polynomial(r, [2.0, 2.0, *(2 * c for c in _EXP)]) * power


def _changed(r: Array, power: Array) -> Array:
    """e^r times twice a power, less 1."""
    rest = r + r * r * num.polynomial(r, _EXP)
    return 2 * (power * rest + (power - 0.5))


def _exp_on_cpu(x: Array) -> Array:
    return _grown(*_reduced(x))


def _expm1_on_cpu(x: Array) -> Array:
    return _changed(*_reduced(x))


# What follows is for a compiler to which x + c - c is not x.


def _exactly_reduced(x: Array, shift: Array | float) -> tuple[Array, Array]:
    """r and 2^(n - shift - 1), which is 0 from n - shift = -126 down."""
    least, most = (shift - 125.51) * _LOG2, (shift + 128.4) * _LOG2
    x = jnp.where(x < least, least, x)
    x = jnp.where(x > most, most, x)
    shifted = x * _PER_LOG2 + _SHIFT
    bits = lax.bitcast_convert_type(shifted, jnp.int32)
    bias = 126 - jnp.asarray(shift).astype(jnp.int32)
    return _rest(x, shifted - _SHIFT), _power(bits, bias)


def scaled_exp(x: Array, shift: Array | float = 0.0) -> Array:
    """exp(x) 2^-shift, 0 where that is below 2^-125; 0.87 ulp, for a whole number below 2^17."""
    return _grown(*_exactly_reduced(x, shift))


def weight(x: Array, shift: Array) -> Array:
    """exp(x) 2^-shift, 0 below 2^-123, and 2^126 or so at most; 1.2 ulp, for whole shifts.

    Of less than 2^17. In fewer operations than `scaled_exp`, which multiplies by a power of 2: here
    its exponent is added to the bits, which serves normal numbers only; smaller ones are 0.
    """
    least, most = (shift - 123.5) * _LOG2, (shift + 125.4) * _LOG2
    some = jnp.where(x > most, most, x)
    add = _SHIFT - shift
    shifted = some * _PER_LOG2 + add
    grown = num.polynomial(_rest(some, shifted - add), [1.0, 1.0, *_EXP])
    bits = lax.bitcast_convert_type(shifted, jnp.int32) << np.int32(23)
    scaled = lax.bitcast_convert_type(grown, jnp.int32) + bits
    return jnp.where(x < least, 0, lax.bitcast_convert_type(scaled, jnp.float32))


def exact_expm1(x: Array) -> Array:
    """exp(x) - 1; 1.4 ulp."""
    return _changed(*_exactly_reduced(x, 0.0))


def whole_log2(x: Array) -> Array:
    """The whole number nearest to log2(e^x); 0 where that is not below 2^17, or NaN."""
    few = jnp.abs(x) < 2.0**16
    return (jnp.where(few, x, 0) * _PER_LOG2 + _SHIFT) - _SHIFT


def log_of_power(shift: Array) -> tuple[Array, Array]:
    """log(2^shift) as a pair, for a whole number below 2^17."""
    high, low = num.LN2[False]
    head, tail = num.two_product(shift, jnp.full_like(shift, high))
    return num.two_sum(head, tail + shift * low)


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


exp_p = _by_platform("jaxdiv_exp", _exp_on_cpu, jnp.exp)
expm1_p = _by_platform("jaxdiv_expm1", _expm1_on_cpu, expm1_elsewhere)
