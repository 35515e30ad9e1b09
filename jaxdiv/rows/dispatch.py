"""Which path evaluates a statistic: from the shapes, the platform and what the caller asks for."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array, lax

from . import blocked
from .statistic import Operands, Statistic, tangents_of

# Numbers in each side from which blocks are faster than the whole at once.
_FEW = 2**15


def value(implementation: str, statistic: Statistic, operands: Operands) -> Array:
    """The statistic of every row."""
    return _choose(
        implementation,
        lambda o: statistic.value(*o),
        lambda o: blocked.value(statistic, o),
        operands,
    )


def push(
    implementation: str,
    statistic: Statistic,
    operands: Operands,
    moving: tuple[bool, ...],
    dots: Sequence[Array],
) -> Array:
    """Its derivative along the tangents of the moving leaves."""
    return _choose(
        implementation,
        lambda o, dots: statistic.tangent(o, tangents_of(o, moving, dots)),
        lambda o, dots: blocked.push(statistic, o, moving, dots),
        operands,
        list(dots),
    )


def pull(
    implementation: str,
    statistic: Statistic,
    operands: Operands,
    moving: tuple[bool, ...],
    known: Array,
    cotangent: Array,
) -> list[Array]:
    """The cotangents of the moving leaves; `known` is the statistic of every row."""
    return _choose(
        implementation,
        lambda o, _, ct: statistic.pull(o, moving, ct),
        lambda o, known, ct: blocked.pull(statistic, o, moving, known, ct),
        operands,
        known,
        cotangent,
    )


def _choose(
    implementation: str,
    reference: Callable[..., Any],
    in_blocks: Callable[..., Any],
    operands: Operands,
    *others: Any,
) -> Any:
    if implementation == "reference" or 0 in operands[1].values.shape:
        return reference(operands, *others)
    if implementation == "blocked":
        return in_blocks(operands, *others)
    if operands[1].values.size <= _FEW:
        return reference(operands, *others)
    leaves, tree = jax.tree.flatten((operands, *others))

    def unpacked(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *leaves: function(*jax.tree.unflatten(tree, leaves))

    return lax.platform_dependent(*leaves, cpu=unpacked(in_blocks), default=unpacked(reference))
