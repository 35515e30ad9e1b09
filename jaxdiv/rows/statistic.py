"""What is accumulated over a pair of rows, as the paths of evaluation see it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .pair import Side

# (parameters, p, q): any pytree of scalars or of one number a row, (..., 1), and two sides of
# equal shape.
Operands = tuple[Any, Side, Side]

# Which leaves of the operands have tangents.
Moving = tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A number a row, and its derivative in a direction: what every path computes.

    `tangent(operands, tangents, known)` takes None for what does not move, and the statistic, on
    which it must not depend smoothly; it is ordinary code, linear in the tangents, that JAX
    differentiates and transposes.
    """

    name: str
    value: Callable[..., Array]
    tangent: Callable[[Operands, tuple[Any, Any, Any], Array], Array]


def wide_dtype(dtype: Any) -> Any:
    """What numbers of a dtype are computed in: float32 at least."""
    low = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
    return jnp.dtype("float32") if low else dtype


def widened(x: Any) -> Any:
    """A pytree whose low-precision numbers are float32. Paths read them as they are stored."""
    return jax.tree.map(lambda leaf: leaf.astype(wide_dtype(leaf.dtype)), x)


def tangents_of(operands: Operands, moving: Moving, dots: Any) -> tuple[Any, Any, Any]:
    """Tangents of the three operands from those of their moving leaves; None for what is still."""
    dots, flags = iter(dots), iter(moving)
    found = []
    for operand in operands:
        leaves, tree = jax.tree.flatten(operand)
        moves = [next(flags) for _ in leaves]
        if any(moves):
            full = [
                next(dots) if m else jnp.zeros_like(x) for x, m in zip(leaves, moves, strict=True)
            ]
            found.append(jax.tree.unflatten(tree, full))
        else:
            found.append(None)
    return tuple(found)


def sides_of(operands: Operands, moving: Moving) -> tuple[tuple[bool, ...], bool]:
    """Which sides' values move, and whether something else does."""
    _, p, q = operands
    leaves = zip(jax.tree.leaves(operands), moving, strict=True)
    both = [(x is p.values or x is q.values, moves) for x, moves in leaves]
    return tuple(moves for mine, moves in both if mine), any(m for mine, m in both if not mine)
