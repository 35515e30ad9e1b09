"""A sum over two rows of logits, in few operations: see `lean`."""

import jax.numpy as jnp
from jax import Array

from .._divergence import Separable
from .normalised import APART, SMOOTH, Normalised, excess, kept, over, pair_of, stands
from .pair import Side
from .rule import entries, partials


def _distant_sum(divergence: Separable, p: Normalised, q: Normalised) -> Array | None:
    pair = pair_of(p, q, 0, apart=True)
    inside = divergence.apart(pair)
    if inside is None:
        return None
    return over(kept(entries(divergence, pair, p.support(), q.support(), inside)), jnp.sum)


def distant(divergence: Separable, p: Normalised, q: Normalised) -> Array | None:
    """Which rows look far apart by some of their outcomes; None if there is no form for that."""
    total = _distant_sum(divergence, p, q)
    if total is None:
        return None
    share = over(kept(p.masses() + q.masses()), jnp.sum) / 2
    return total >= APART * jnp.asarray(divergence.curvature()) * share


def apart(divergence: Separable, p: Normalised, q: Normalised) -> tuple[Array, Array, Array]:
    """The sum of each row, which of them are right, and no error: of rows far from each other."""
    total = _distant_sum(divergence, p, q)
    assert total is not None
    right = total >= APART * jnp.asarray(divergence.curvature())
    return total, right & stands(divergence, p, q, total, SMOOTH), jnp.zeros_like(total)


def near(
    divergence: Separable, p: Normalised, q: Normalised, smooth: float = SMOOTH
) -> tuple[Array, Array, Array]:
    """The same of rows that are not very near, and the error common to all log-ratios."""
    error = over(kept(excess(p, q)), jnp.sum) if divergence.rough else jnp.zeros_like(p.scale.sum)
    pair = pair_of(p, q, error)
    total = over(kept(entries(divergence, pair, p.support(), q.support())), jnp.sum)
    return total, stands(divergence, p, q, total, smooth), error


def totals(divergence: Separable, value: Array) -> tuple[Array | float | None, ...]:
    """The sums of the derivatives by log-masses where they follow from the value; else None."""
    return divergence.totals(value)


def slopes(
    divergence: Separable, p: Normalised, q: Normalised, error: Array, _: Array | bool
) -> tuple[Array, Array]:
    """The derivatives by the logarithms of the masses."""
    sides = Side(p.values, chart="logits"), Side(q.values, chart="logits")
    return partials(divergence, pair_of(p, q, error), *sides, p.support(), q.support())
