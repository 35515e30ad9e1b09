"""Two gradients that are easily taken for one another.

Of an estimate mean_i h(x_i) with x_i drawn from p, the gradient by p's parameters has two parts:
h's own, at fixed draws, and that of the draws' law. Automatic differentiation of log-ratios sees
only the first. For KL, h = log p - log q, its expectation is E_p[grad log p] = 0, whatever p and q.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from .. import _finite as finite
from .._divergence import Divergence
from ..families.adapters import adapted
from ..families.base import Family
from ._monte_carlo import Draws, estimated
from ._sources import _noun


def unbiased_gradient(
    divergence: Divergence,
    p: Any,
    q: Any,
    key: Array,
    num_samples: int,
    *,
    by: Literal["p", "q"] = "p",
    method: Literal["auto", "score", "reparametrised"] = "auto",
    draws: Draws | None = None,
) -> Any:
    """An unbiased estimate of the gradient of D(p || q), by the parameters of one side.

    Args:
        divergence: As of `estimate`. Of an f-divergence the estimate is unbiased; of a function of
            one it is to within order 1/num_samples.
        p: A member of a family, or a noun such as `Logits`.
        q: Likewise; of the other side all that `estimate` takes.
        key: A key of `jax.random`.
        num_samples: How many draws.
        by: The side whose parameters to differentiate by.
        method: "reparametrised": through draws that are smooth functions of the parameters at fixed
            noise. "score": the score function's, with the mean over the other draws as a baseline
            (leave one out). "auto": the former where the family drawn from has it.
        draws: As of `estimate`.

    Returns:
        The side's structure, with derivatives in place of its parameters; those of a batch are each
        of its own divergence.

    ValueError for draws that are not differentiable under "reparametrised".

    Reference: Mohamed, Rosca, Figurnov and Mnih, Monte Carlo Gradient Estimation in Machine
    Learning, 2020.
    """
    if method not in ("auto", "score", "reparametrised"):
        raise ValueError(f'method must be "auto", "score" or "reparametrised", but is {method!r}')
    return _gradient(divergence, p, q, key, num_samples, by, method, draws)


def fixed_sample_gradient(
    divergence: Divergence,
    p: Any,
    q: Any,
    key: Array,
    num_samples: int,
    *,
    by: Literal["p", "q"] = "p",
    draws: Draws | None = None,
) -> Any:
    """The gradient of the estimate at fixed draws, which is NOT that of the divergence.

    What differentiating a Monte Carlo estimate through its log-ratios gives, as when a KL penalty
    of sampled tokens is added to a loss. By the parameters of the side that is drawn from it is
    biased: for KL(p || q) by draws from p, the mean of k3, its expectation is the gradient of
    KL(q || p). Here to be compared with `unbiased_gradient`, whose arguments it has.
    """
    return _gradient(divergence, p, q, key, num_samples, by, "fixed", draws)


def _gradient(
    divergence: Divergence,
    p: Any,
    q: Any,
    key: Array,
    num_samples: int,
    by: str,
    method: str,
    draws: Draws | None,
) -> Any:
    if by not in ("p", "q"):
        raise ValueError(f'by must be "p" or "q", but is {by!r}')
    sides = {"p": adapted("p", p), "q": adapted("q", q)}
    moving = _prepared(by, sides[by])

    def value(side: Any) -> Array:
        both = sides | {by: side}
        found = estimated(
            divergence, both["p"], both["q"], key, num_samples, draws, gradient=method
        )
        return jnp.sum(found.value)

    return jax.grad(value)(moving)


def _prepared(name: str, side: Any) -> Any:
    if isinstance(side, Family):
        return side.checked(name)
    if _noun(side) and not isinstance(side, finite.Labels):
        return finite.as_noun(name, side)
    raise TypeError(
        f"{name} must be a member of a family, Probs, LogProbs or Logits to be differentiated by, "
        f"but is a {type(side).__name__}"
    )
