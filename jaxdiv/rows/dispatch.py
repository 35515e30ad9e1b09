"""Which path evaluates a statistic: from the shapes, the platform and what the caller asks for."""

from typing import Any

import jax
from jax import lax

from . import blocked, reference
from .statistic import Operands, Statistic

# Numbers in each side from which blocks are faster than the whole at once.
_FEW = 2**15


def evaluate(
    what: str,
    implementation: str,
    statistic: Statistic,
    operands: Operands,
    *others: Any,
    **static: Any,
) -> Any:
    """The "value", "push" or "pull" of a statistic, by the path that is chosen."""
    whole, in_blocks = getattr(reference, what), getattr(blocked, what)
    values = operands[1].values
    few = implementation == "auto" and values.size <= _FEW
    if implementation == "reference" or values.size == 0 or few:
        return whole(statistic, operands, *others, **static)
    if implementation == "blocked":
        return in_blocks(statistic, operands, *others, **static)
    leaves, tree = jax.tree.flatten((operands, others))

    def of_leaves(path: Any) -> Any:
        def function(*leaves: Any) -> Any:
            operands, others = jax.tree.unflatten(tree, leaves)
            return path(statistic, operands, *others, **static)

        return function

    return lax.platform_dependent(*leaves, cpu=of_leaves(in_blocks), default=of_leaves(whole))
