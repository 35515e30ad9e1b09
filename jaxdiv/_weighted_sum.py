"""The weighted sum of a verb over rows."""

from collections.abc import Callable
from typing import Any

from jax import Array

from ._finite import Weighted


def weighted_sum(
    verb: Callable[..., Array], p: Any, q: Any, weights: Any, **keywords: Any
) -> Array:
    """sum of weights * verb(p, q) over all rows; a row of weight 0 counts for nothing, even NaN.

    `verb` is one of two arguments, such as `kl_divergence`, `cross_entropy` or a divergence object;
    `keywords` are its own. `weights` broadcast to the batch shape; a mean is a sum with weights
    1 / count. The derivative by a weight is the row's value, 0 where the weight is 0.

    Of a `Head` the gradient is found in the pass that finds the value: three products for a head,
    as many as for logits that are kept, where the gradients of single rows cost four; Chernoff
    information, tail="bucket" and `axis_name` aside. Weights of low precision take an array of
    float32 as large as their gradient then, and do so if it fits into half of the head's `memory`.
    """
    return verb(Weighted(p, weights), q, **keywords)
