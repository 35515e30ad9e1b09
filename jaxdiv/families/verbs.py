"""Verbs that only families have."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as checks
from .._divergence import Scalar
from .evaluate import members, scalar
from .pair import Pair


def geometric_js_divergence(
    p: Any, q: Any, weight: Scalar = 0.5, *, base: float | None = None
) -> Array:
    """Geometric Jensen-Shannon divergence, weight KL(p || g) + (1 - weight) KL(q || g).

    g is the normalised geometric mixture p^weight q^(1-weight), 0 < weight < 1: for exponential
    families the member in the middle of natural parameters, where the mixture of
    `js_divergence` is in no family. In nats, or with `base` in units of log(base).

    p and q are members of families, such as `Normal(0.0, 1.0)`; batch shapes broadcast, and that
    shape is returned. ValueError for a parameter outside its domain (NaN in that row where it is
    traced) and shapes that don't fit, TypeError for anything else, NotImplementedError where the
    mixture has no closed form.

    Reference: Nielsen, On the Jensen-Shannon Symmetrization of Distances, 2019.
    """
    log_base = checks.check_base(base, True, "geometric_js_divergence")
    checks.check_scalar("weight", weight, "0 < weight < 1", lambda w: 0 < w < 1)
    p, q = members(p, q)
    value = _geometric(p, q, scalar(weight, p))
    return value / log_base


@jax.jit
def _geometric(p: Any, q: Any, weight: Array) -> Array:
    fine = p.valid() & q.valid() & (weight > 0) & (weight < 1)
    value = Pair(p, q).geometric_js(weight)
    return value * jnp.where(fine, 1, jnp.nan).astype(value.dtype)
