"""A sum over two rows of logits, in few operations: see `lean`."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._divergence import Separable
from .close import REACH, Series, series_of
from .normalised import (
    APART,
    SMOOTH,
    Normalised,
    excess,
    kept,
    log_ratio,
    over,
    pair_of,
    stands,
)
from .pair import Pair, Side
from .rule import entries, partials


def kinds(divergence: Separable) -> list[str]:
    """For which rows there are forms: far apart, or with log-ratios that are all small."""
    one: Any = jax.ShapeDtypeStruct((), jnp.float32)
    apart = jax.eval_shape(divergence.apart, Pair(*(one for _ in Pair._fields))) is not None
    return ["apart"] * apart + ["close"] * (series_of(divergence) is not None)


def _distant_sum(divergence: Separable, p: Normalised, q: Normalised) -> Array:
    pair = pair_of(p, q, 0, apart=True)
    inside = divergence.apart(pair)
    return over(kept(entries(divergence, pair, p.support(), q.support(), inside)), jnp.sum)


def distant(divergence: Separable, p: Normalised, q: Normalised) -> Array:
    """Which rows look far apart by some of their outcomes."""
    share = over(kept(p.masses() + q.masses()), jnp.sum) / 2
    least = APART * jnp.asarray(divergence.curvature()) * share
    return _distant_sum(divergence, p, q) >= least


def reach(_: Separable, p: Normalised, q: Normalised) -> Array:
    """How far the log-ratios reach, 1 being as far as the series do."""
    return jnp.abs(log_ratio(p, q)) / REACH


def apart(divergence: Separable, p: Normalised, q: Normalised) -> tuple[Array, Array, Array]:
    """The sum of each row, which of them are right, and no error: of rows far from each other."""
    total = _distant_sum(divergence, p, q)
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


def close(
    divergence: Separable, p: Normalised, q: Normalised, smooth: float = SMOOTH
) -> tuple[Array, Array, Array]:
    """The same of rows in which all log-ratios are small, from their power series."""
    ratio = log_ratio(p, q)
    terms = p.masses() * (ratio * ratio) * num.polynomial(ratio, [*_series(divergence).value])
    # What is too far makes the row infinite, which is not right.
    total = over(kept(jnp.where(jnp.abs(ratio) <= REACH, terms, jnp.inf)), jnp.sum)
    return total, stands(divergence, p, q, total, smooth), jnp.zeros_like(total)


def close_slopes(
    divergence: Separable, p: Normalised, q: Normalised, *_: Array | bool
) -> tuple[Array, Array]:
    """Their derivatives by the logarithms of the masses."""
    ratio, series = log_ratio(p, q), _series(divergence)
    scaled = p.masses() * ratio
    by_p, by_q = (scaled * num.polynomial(ratio, [*x]) for x in (series.by_p, series.by_q))
    return by_p, by_q


def _series(divergence: Separable) -> Series:
    series = series_of(divergence)
    assert series is not None
    return series


def totals(divergence: Separable, value: Array) -> tuple[Array | float | None, ...]:
    """The sums of the derivatives by log-masses where they follow from the value; else None."""
    return divergence.totals(value)


def slopes(
    divergence: Separable, p: Normalised, q: Normalised, error: Array, _: Array | bool
) -> tuple[Array, Array]:
    """The derivatives by the logarithms of the masses."""
    sides = Side(p.values, chart="logits"), Side(q.values, chart="logits")
    return partials(divergence, pair_of(p, q, error), *sides, p.support(), q.support())
