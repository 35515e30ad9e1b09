"""The plain path: all rows at once. A path is a module with these four functions."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from .statistic import Moving, Operands, Statistic, tangents_of, widened


def value(statistic: Statistic, operands: Operands) -> Array:
    """The statistic of every row."""
    return statistic.value(*widened(operands))


def push(
    statistic: Statistic, operands: Operands, known: Array, dots: Sequence[Array], *, moving: Moving
) -> Array:
    """Its derivative along the tangents of the moving leaves; `known` is the statistic."""
    operands = widened(operands)
    return statistic.tangent(operands, tangents_of(operands, moving, widened(list(dots))), known)


def pull(
    statistic: Statistic, operands: Operands, known: Array, cotangent: Array, *, moving: Moving
) -> list[Array]:
    """The transpose: the cotangents of the moving leaves."""
    leaves = jax.tree.leaves(operands)
    zeros = [jnp.zeros_like(x) for x, moves in zip(leaves, moving, strict=True) if moves]
    _, transpose = jax.vjp(
        lambda dots: push(statistic, operands, known, dots, moving=moving), zeros
    )
    return transpose(cotangent)[0]


def both(statistic: Statistic, operands: Operands, *, moving: Moving) -> list[Array]:
    """The statistic of every row and its derivatives by the moving leaves."""
    found = value(statistic, operands)
    return [found, *pull(statistic, operands, found, jnp.ones_like(found), moving=moving)]
