"""Categorical distributions, which are rows of probabilities or of logits."""

from typing import Any

from .._finite import Logits, Probs


def Categorical(probs: Any = None, logits: Any = None) -> Probs | Logits:
    """A distribution over finitely many outcomes, along the last axis: `Probs` or `Logits`.

    Those are what the verbs take for it, with every divergence of the catalogue. Raises ValueError
    unless exactly one of probs and logits is given.
    """
    if (probs is None) == (logits is None):
        had = "neither" if probs is None else "both"
        raise ValueError(f"Categorical needs exactly one of probs and logits, but has {had}")
    return Logits(logits) if probs is None else Probs(probs)
