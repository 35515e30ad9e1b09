"""Statistics as part of the surrounding program, for functions that read values of its trace.

A primitive is lowered when its trace has ended, and with it the values that such a function reads.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .._tangents import all_zero, materialised
from .statistic import Statistic


@functools.cache
def inlined(statistic: Statistic) -> Callable[..., Array]:
    """The statistic, by the reference path, as a function with a derivative rule."""

    @jax.custom_jvp
    def function(*operands: Any) -> Array:
        return statistic.value(*operands)

    def rule(operands, tangents):
        # Symbolic zeros: an argument that is not differentiated costs nothing.
        value = function(*operands)
        moving = tuple(None if all_zero(t) else materialised(t) for t in tangents)
        if all(t is None for t in moving):
            return value, jnp.zeros_like(value)
        known = jax.lax.stop_gradient(value)
        return value, jax.checkpoint(statistic.tangent)(operands, moving, known)

    function.defjvp(rule, symbolic_zeros=True)
    return function
