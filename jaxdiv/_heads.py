"""Nouns of language models: a head, whose logits are never whole, and a truncated teacher."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from . import _checks as checks
from ._pytree import register, static

TAILS = ("renormalise", "bucket", "zero")


@register
@dataclasses.dataclass(frozen=True)
class Head:
    """The distribution of a linear head, softmax(z / temperature) with z = hidden @ weight + bias.

    Logits exist a tile at a time, in float32 (float64 for float64), and neither forward nor
    backward is an array of them kept. A Head stands on either side, or both, of every divergence
    verb, of `cross_entropy`, `entropy` and `perplexity`; all of its numbers have derivatives, of
    any order and in any mode. `chernoff_information` makes the logits a dozen times or more, in
    search of its alpha.

    Args:
        hidden: `(*batch, d)`. The axis of outcomes is inserted at the verb's `axis`.
        weight: `(d, V)`; of an embedding `(V, d)` its transpose, which costs nothing.
        bias: `(V,)`, or None.
        softcap: A positive number c: z becomes c tanh(z / c). None: none.
        temperature: A positive number.
        memory: Bytes that tiles may take, by default 2**29, of which a CPU's rows take less. What
            is as large as the hidden states or the gradients comes on top. Of two heads the smaller
            one counts.

    Products of bfloat16 or float16 are made in that dtype and added up in float32, as are gradients
    by hidden states and weights, which are rounded once at the end; cotangents of logits are
    rounded to that dtype where they enter a product. A logit has the rounding of its product, in
    log(p/q) a few ulp of |log p| are added, absolutely. Values are never negative and exactly 0 for
    heads that are bitwise equal, as are their gradients.
    """

    hidden: Any
    weight: Any
    bias: Any = None
    softcap: Any = None
    temperature: Any = 1.0
    memory: int | None = static(default=None)


@register
@dataclasses.dataclass(frozen=True)
class TopK:
    """A distribution known by its k likeliest outcomes, as teachers are stored.

    Args:
        indices: `(*batch, k)` integers, different within a row. The axis of outcomes is inserted at
            the verb's `axis`, their number is the other side's.
        log_probs: `(*batch, k)`, the natural logarithms of their probabilities.
        tail: What becomes of the mass that is left.

            "renormalise": the k probabilities are divided by their sum. Estimates the divergence
            from the teacher conditioned on its k outcomes: a student that fits it exactly gives no
            mass to the tail, so that the true teacher is not its minimum.

            "bucket": all other outcomes are one, on both sides, and the divergence is that of the
            merged distributions. At most the divergence of the whole ones (data processing), 0 for
            the true teacher, and blind to how the student spreads the rest.

            "zero": the k probabilities as they are and no others, unnormalised: a generalised
            divergence. KL from it has the gradient of the truncated sum of p log(p/q), which pulls
            the student towards the renormalised teacher with the weight of the mass that is kept.
    """

    indices: Any
    log_probs: Any
    tail: str = static(default="renormalise")


def as_head(name: str, head: Head) -> Head:
    """A Head of checked arrays."""
    hidden = checks.as_array(f"{name}.hidden", head.hidden)
    weight = checks.as_array(f"{name}.weight", head.weight)
    if weight.ndim != 2:
        raise ValueError(f"{name}.weight must be (d, V), but has shape {weight.shape}")
    if hidden.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"the last axis of {name}.hidden and the first of {name}.weight must be equal, but "
            f"the shapes are {hidden.shape} and {weight.shape}"
        )
    bias = None if head.bias is None else checks.as_array(f"{name}.bias", head.bias)
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ValueError(
            f"{name}.bias must have the last axis of {name}.weight, {weight.shape[1:]}, but has "
            f"shape {bias.shape}"
        )

    def positive(field: str, value: Any) -> Any:
        where, accepted = f"{name}.{field}", "a positive finite number"
        checks.check_scalar(where, value, accepted, lambda x: 0 < x < math.inf)
        return value

    softcap = None if head.softcap is None else positive("softcap", head.softcap)
    temperature = None if head.temperature is None else positive("temperature", head.temperature)
    if temperature is not None and checks.concrete(temperature) and float(temperature) == 1:
        temperature = None
    memory = head.memory
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int)):
        raise TypeError(f"{name}.memory must be a number of bytes, but is {memory!r}")
    return Head(hidden, weight, bias, softcap, temperature, memory)


def as_topk(name: str, top: TopK) -> TopK:
    """A TopK of checked arrays."""
    if top.tail not in TAILS:
        raise ValueError(f"{name}.tail must be one of {TAILS}, but is {top.tail!r}")
    indices = checks.as_labels(f"{name}.indices", top.indices)
    log_probs = checks.as_array(f"{name}.log_probs", top.log_probs)
    if indices.shape != log_probs.shape or not indices.shape[-1:]:
        raise ValueError(
            f"{name}.indices and {name}.log_probs must have one shape, (*batch, k), but have "
            f"{indices.shape} and {log_probs.shape}"
        )
    if indices.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one outcome a row, but has shape (…, 0)")
    if checks.concrete(indices):
        known = np.sort(np.asarray(indices), axis=-1)
        if np.any(known[..., 1:] == known[..., :-1]):
            raise ValueError(f"{name}.indices must be different within a row, but some are equal")
    if checks.concrete(log_probs):
        logs = np.asarray(log_probs, np.float64)
        masses = np.exp(logs)
        # Rounding a logarithm to the array's dtype changes its mass by as many ulp as it is large.
        with np.errstate(invalid="ignore"):
            slack = np.nan_to_num(masses * (1 + np.abs(logs))).sum(-1)
        mass = masses.sum(-1)
        if np.any(mass > 1 + 2 * float(jnp.finfo(log_probs.dtype).eps) * slack):
            raise ValueError(
                f"{name}.log_probs must have a mass of at most 1 a row, but one has {mass.max():g}"
            )
    return TopK(indices, log_probs, top.tail)


def check_indices(name: str, indices: Array, size: int) -> None:
    """Raise for known indices that are no outcomes."""
    if checks.concrete(indices) and indices.size:
        known = np.asarray(indices)
        low, high = int(known.min()), int(known.max())
        if low < 0 or high >= size:
            raise ValueError(
                f"{name}.indices must be in [0, {size}), but {low if low < 0 else high} is among "
                "them"
            )
