"""Batches of distributions to verify at."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


@dataclasses.dataclass(frozen=True)
class Points:
    """Distributions, a row each, as probabilities and as logits.

    `mask` says which outcomes belong to a row's support: the local checks live inside the simplex
    of the support, so that outcomes of probability 0 are left out, not perturbed.
    """

    probs: Array
    logits: Array
    mask: Array
    source: str

    @property
    def count(self) -> int:
        """The number of distributions."""
        return self.probs.shape[0]

    @property
    def outcomes(self) -> int:
        """The number of outcomes."""
        return self.probs.shape[1]

    @property
    def dtype(self) -> Any:
        """The dtype of the stored numbers."""
        return self.probs.dtype

    @functools.cached_property
    def whole(self) -> bool:
        """Whether every outcome belongs to every support."""
        return bool(jnp.all(self.mask))

    @property
    def boundary(self) -> int:
        """How many distributions have an outcome of probability 0."""
        return int(jnp.sum(~jnp.all(self.mask, axis=-1)))


def random_points(count: int, outcomes: int, seed: int, dtype: Any) -> Points:
    """Softmax of normal logits of standard deviation 1."""
    logits = jax.random.normal(jax.random.key(seed), (count, outcomes), _compute(dtype))
    logits = logits.astype(dtype)
    probs = jax.nn.softmax(logits.astype(_compute(dtype)), axis=-1).astype(dtype)
    return Points(probs, logits, jnp.ones(logits.shape, bool), f"random, seed {seed}")


def from_array(rows: np.ndarray, dtype: Any, *, logits: bool, source: str) -> Points:
    """A user's own rows: distributions or, if `logits`, logits (-inf is probability 0)."""
    values = jnp.asarray(rows, dtype)
    wide = values.astype(_compute(dtype))
    if logits:
        mask = values > -jnp.inf
        return Points(jax.nn.softmax(wide, axis=-1).astype(dtype), values, mask, source)
    mask = wide >= jnp.finfo(wide.dtype).tiny
    safe = jnp.log(jnp.where(mask, wide, 1))
    return Points(values, jnp.where(mask, safe, -jnp.inf).astype(dtype), mask, source)


def _compute(dtype: Any) -> Any:
    return jnp.float64 if dtype == jnp.float64 else jnp.float32
