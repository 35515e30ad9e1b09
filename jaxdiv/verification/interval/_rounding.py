"""Outward rounding, and the intervals that floats of a program stand for.

Ends are rounded by integer operations on their bits, which no simplification, contraction or
reassociation of floats can undo. No end is ever subnormal: CPUs read and write those as zero.
"""

import math
from fractions import Fraction
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


class Interval(NamedTuple):
    """A closed interval for each element; ends may be infinite.

    Of bools it is a three-valued truth: lower is "certainly true", upper is "possibly true".

    Attributes:
        lower: The lower ends, of jax or numpy.
        upper: The upper ends, of the same shape and dtype.
    """

    lower: Array
    upper: Array


FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_BITS = {FLOATS[0]: np.dtype(np.int32), FLOATS[1]: np.dtype(np.int64)}


def tiny(dtype: Any) -> float:
    """The smallest normal number."""
    return float(np.finfo(dtype).tiny)


def _shift(x: Array, ulps: int) -> Array:
    """x moved down by so many ulp, then away from the subnormal numbers; NaN becomes -inf."""
    bits_type = _BITS[np.dtype(x.dtype)].type
    lowest = bits_type(np.iinfo(bits_type).min)
    infinity, normal = (
        bits_type(np.asarray(value, x.dtype).view(bits_type)) for value in (np.inf, tiny(x.dtype))
    )
    # Sign and magnitude to two's complement: adjacent floats get adjacent ranks, both zeros 0.
    bits = lax.bitcast_convert_type(x, bits_type)
    rank = jnp.where(bits < 0, lowest - bits, bits)
    rank = jnp.maximum(rank - bits_type(ulps), -infinity)
    rank = jnp.where((rank > 0) & (rank < normal), bits_type(0), rank)
    rank = jnp.where((rank < 0) & (rank > -normal), -normal, rank)
    rank = jnp.where(x != x, -infinity, rank)
    return lax.bitcast_convert_type(jnp.where(rank < 0, lowest - rank, rank), x.dtype)


def down(x: Array, ulps: int = 1) -> Array:
    """At most any number that is within so many ulp of x."""
    return _shift(x, ulps)


def up(x: Array, ulps: int = 1) -> Array:
    """At least any number that is within so many ulp of x."""
    return -_shift(-x, ulps)


def widened(lower: Array, upper: Array, ulps: int = 1) -> Interval:
    """Both ends moved outward; without a bound on either side where one of them is NaN."""
    undefined = (lower != lower) | (upper != upper)
    infinity = jnp.asarray(np.inf, lower.dtype)
    return Interval(
        jnp.where(undefined, -infinity, down(lower, ulps)),
        jnp.where(undefined, infinity, up(upper, ulps)),
    )


@jax.jit
def outward(lower: Array, upper: Array) -> Interval:
    """The same interval with normal ends."""
    return widened(lower, upper, 0)


def known(x: Interval) -> bool:
    """Whether both ends are numbers that Python can see: those of literals and constants."""
    return isinstance(x.lower, np.ndarray) and isinstance(x.upper, np.ndarray)


def _of_numpy(lower: Any, upper: Any, dtype: Any) -> Interval:
    # numpy's functions make scalars of arrays without axes, which `known` would not know.
    return Interval(*(cast(Array, np.asarray(end, dtype)) for end in (lower, upper)))


def exactly(x: Interval) -> float | None:
    """The value of a known scalar point."""
    if known(x) and x.lower.size == 1 and x.lower.item() == x.upper.item():
        return float(x.lower.item())
    return None


def rational(value: Fraction, dtype: Any) -> Interval:
    """The narrowest interval that contains a rational number."""
    dtype = np.dtype(dtype)
    largest = float(np.finfo(dtype).max)
    if abs(value) > largest:
        ends = (largest, np.inf) if value > 0 else (-np.inf, -largest)
        return _of_numpy(*ends, dtype)
    near = dtype.type(float(value))
    lower = upper = near
    if Fraction(float(near)) > value:
        lower = np.nextafter(near, dtype.type(-np.inf))
    elif Fraction(float(near)) < value:
        upper = np.nextafter(near, dtype.type(np.inf))
    return _normal(lower, upper, dtype)


def _normal(lower: Any, upper: Any, dtype: Any) -> Interval:
    """`outward` for numpy, which compares subnormal numbers as they are."""
    least = tiny(dtype)
    lower = np.where((lower > 0) & (lower < least), 0, lower)
    lower = np.where((lower < 0) & (lower > -least), -least, lower)
    upper = np.where((upper < 0) & (upper > -least), 0, upper)
    upper = np.where((upper > 0) & (upper < least), least, upper)
    return _of_numpy(lower, upper, dtype)


# JAX's derivative rules (of erf, erf_inv, cbrt) and its log2 contain these, rounded.
_ROUNDED = (
    1 / 3,
    2 / math.sqrt(math.pi),
    math.sqrt(math.pi) / 2,
    math.log(2),
    1 / math.log(2),
    math.log(10),
    math.pi,
    math.pi / 2,
)


def literal(value: Any, dtype: Any) -> Interval:
    """The numbers that a float of the program may stand for.

    A scalar may be written with more digits than the dtype has. A few well-known constants stand
    for their real values: two ulp either side of the float.
    """
    dtype = np.dtype(dtype)
    if np.ndim(value):
        value = np.asarray(value, dtype)
        undefined = np.isnan(value)
        lower, upper = (np.where(undefined, end, value) for end in (-np.inf, np.inf))
        return _normal(lower, upper, dtype)
    number = float(value)
    if math.isnan(number):
        return _of_numpy(-np.inf, np.inf, dtype)
    if math.isinf(number):
        return _of_numpy(number, number, dtype)
    with np.errstate(over="ignore"):
        stored = dtype.type(number)
    x = rational(Fraction(number), dtype)
    lower, upper = np.minimum(x.lower, stored), np.maximum(x.upper, stored)
    ulp = float(np.finfo(dtype).eps)
    if any(abs(abs(number) - constant) <= 2 * ulp * constant for constant in _ROUNDED):
        for _ in range(2):
            lower = np.nextafter(lower, dtype.type(-np.inf))
            upper = np.nextafter(upper, dtype.type(np.inf))
    return _normal(lower, upper, dtype)
