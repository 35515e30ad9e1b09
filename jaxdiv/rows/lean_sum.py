"""A sum over two rows of logits, in few operations: see `lean`."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._divergence import Separable
from . import close as similar
from .close import REACH, Series, series_of
from .form import Form
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
    total = over(kept(_near_terms(divergence, p, q, error)), jnp.sum)
    return total, stands(divergence, p, q, total, smooth), error


def _near_terms(
    divergence: Separable, p: Normalised, q: Normalised, error: Array | float = 0
) -> Array:
    return entries(divergence, pair_of(p, q, error), p.support(), q.support())


def close(
    divergence: Separable, p: Normalised, q: Normalised, smooth: float = SMOOTH
) -> tuple[Array, Array, Array]:
    """The same of rows in which all log-ratios are small, from their power series."""
    total = over(kept(_close_terms(_series(divergence), p, q)), jnp.sum)
    return total, stands(divergence, p, q, total, smooth), jnp.zeros_like(total)


def _close_terms(series: Series, p: Normalised, q: Normalised) -> Array:
    ratio = log_ratio(p, q)
    terms = p.masses() * (ratio * ratio) * num.polynomial(ratio, [*series.value])
    # What is too far makes the row infinite, which is not right.
    return jnp.where(jnp.abs(ratio) <= REACH, terms, jnp.inf)


def close_slopes(
    divergence: Separable, p: Normalised, q: Normalised, *_: Array | bool
) -> tuple[Array, Array]:
    """Their derivatives by the logarithms of the masses."""
    return _close_slopes(_series(divergence), p, q)


def _close_slopes(series: Series, p: Normalised, q: Normalised) -> tuple[Array, Array]:
    ratio = log_ratio(p, q)
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


def forms(divergence: Separable) -> dict[str, Form]:
    """The forms for single rows, to be tried in this order: "near" serves all."""

    def found(divergence: Separable, p: Normalised, q: Normalised, total: Array, smooth: Array):
        return total, stands(divergence, p, q, total, smooth), jnp.zeros_like(total)

    def factor(_: Separable, number: Array) -> Array:
        return jnp.ones_like(number)

    def by_log_mass(divergence: Separable, p: Normalised, q: Normalised) -> tuple[Array, Array]:
        return slopes(divergence, p, q, jnp.zeros_like(p.scale.sum), False)

    near = Form(_near_terms, found, by_log_mass, factor, excess)
    series = series_of(divergence)
    if series is None:
        return {"near": near}
    close = Form(
        lambda _, p, q: _close_terms(series, p, q),
        found,
        lambda _, p, q: _close_slopes(series, p, q),
        factor,
        similar.excess,
    )
    return {"close": close, "near": near}
