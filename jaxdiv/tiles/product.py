"""Products of matrices that low precision enters and float32 leaves, and their transposes.

JAX's own product, differentiated, would round each tile's part of a hidden state's cotangent to
its low precision, and multiply float32 cotangents by low-precision weights in float32, which
matrix units do not do. Here both operands are always of one dtype; what leaves is float32, and the
cotangent of a float32 operand, which only stands for one of low precision, stays float32.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from .. import _numerics as num
from ..rows.statistic import wide_dtype
from .sweep import bind, define

product_p = Primitive("product_of_tiles")
define(product_p)


def product(a: Array, b: Array, dtype: Any) -> Array:
    """a @ b, (m, k) by (k, n), multiplied in `dtype` and added up in float32 at least."""
    wide = wide_dtype(dtype)
    return _product(a, b, (1, 0), jnp.dtype(dtype), wide)


def _product(a: Array, b: Array, contracted: tuple[int, int], dtype: Any, into: Any) -> Array:
    static = dict(contracted=contracted, dtype=dtype, into=jnp.dtype(into))
    return bind(product_p, functools.partial(_run, **static), (a, b), **static)


def product_into(a: Array, b: Array, contracted: tuple[int, int], dtype: Any) -> Array:
    """The product along the axes contracted, one of each, in float32 at least."""
    return _product(a, b, contracted, jnp.dtype(dtype), wide_dtype(dtype))


def _run(a: Array, b: Array, *, contracted: tuple[int, int], dtype: Any, into: Any) -> Array:
    dims = (((contracted[0],), (contracted[1],)), ((), ()))
    wide = wide_dtype(dtype)
    precision = lax.Precision.DEFAULT if dtype != wide else lax.Precision.HIGHEST
    found = lax.dot_general(
        a.astype(dtype), b.astype(dtype), dims, precision=precision, preferred_element_type=wide
    )
    return found.astype(into)


def _jvp(primals, tangents, *, contracted, dtype, into, program):
    a, b = primals
    by_a, by_b = tangents
    static = dict(contracted=contracted, dtype=dtype, into=into)
    result = product_p.bind(a, b, program=program, **static)
    parts = []
    if type(by_a) is not ad.Zero:
        parts.append(_product(by_a, b, **static))
    if type(by_b) is not ad.Zero:
        parts.append(_product(a, by_b, **static))
    return result, functools.reduce(jnp.add, parts)


def _transpose(cotangent, a, b, *, contracted, dtype, into, program):
    del into, program
    i, j = contracted
    if type(cotangent) is ad.Zero:
        return [ad.Zero(x.aval) if ad.is_undefined_primal(x) else None for x in (a, b)]
    if ad.is_undefined_primal(a):
        # Rows of the result are a's other axis, columns b's.
        pair = (cotangent, b, (1, 1 - j)) if i == 1 else (b, cotangent, (1 - j, 1))
        return [_product(*pair, dtype, a.aval.dtype), None]
    pair = (a, cotangent, (1 - i, 0)) if j == 0 else (cotangent, a, (0, 1 - i))
    return [None, _product(*pair, dtype, b.aval.dtype)]


def _batch(args, dims, *, contracted, dtype, into, program):
    del program
    (a, b), (by_a, by_b) = args, dims
    static = dict(contracted=contracted, dtype=dtype, into=into)
    if by_b is None and contracted[0] == 1:  # more rows
        a = jnp.moveaxis(a, by_a, 0)
        found = _product(a.reshape(-1, a.shape[-1]), b, **static)
        return found.reshape(*a.shape[:2], -1), 0
    return jax.vmap(functools.partial(_run, **static), dims)(a, b), 0


ad.primitive_jvps[product_p] = _jvp
ad.primitive_transposes[product_p] = _transpose
batching.primitive_batchers[product_p] = _batch

contract_p = Primitive("contract_rows")
define(contract_p)


def contract(coefficient: Array, x: Array) -> Array:
    """sum of coefficient * x over each row; a row of cotangent 0 has none, whatever is in it."""
    return bind(contract_p, _contract, (coefficient, x))


def _contract(coefficient: Array, x: Array) -> Array:
    return num.row_sum(coefficient * x)


def _contract_jvp(primals, tangents, *, program):
    c, x = primals
    c_dot, x_dot = tangents
    parts = []
    if type(c_dot) is not ad.Zero:
        parts.append(contract(x, c_dot))
    if type(x_dot) is not ad.Zero:
        parts.append(contract(c, x_dot))
    return contract_p.bind(c, x, program=program), functools.reduce(jnp.add, parts)


def _contract_transpose(cotangent, c, x, *, program):
    del program
    known, unknown = (c, x) if ad.is_undefined_primal(x) else (x, c)
    if type(cotangent) is ad.Zero:
        found = ad.Zero(unknown.aval)
    else:
        each = cotangent[..., None]
        found = jnp.where(each == 0, 0, known * each)
    return [None, found] if ad.is_undefined_primal(x) else [found, None]


def _contract_batch(args, dims, *, program):
    del program
    return jax.vmap(_contract, dims)(*args), 0


ad.primitive_jvps[contract_p] = _contract_jvp
ad.primitive_transposes[contract_p] = _contract_transpose
batching.primitive_batchers[contract_p] = _contract_batch
