"""Rows of logits in few operations, fewest where far apart or similar: see `normalised`.

A block of rows is taken for what it looks like: all far apart, or all similar, outcome by outcome.
If they are, derivatives follow; else their divergences are found again, in more operations. What
still does not stand is for `careful`, and what does not stand there for the reference path.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import close, lean_renyi, lean_sum
from .normalised import (
    NEARLY,
    STEEP,
    Normalised,
    by_maximum,
    centred,
    excess,
    fold,
    kept,
    likeliest,
    normalised,
    over,
)
from .renyi import RENYI
from .rule import SUM
from .statistic import Operands, Statistic

Sides = tuple[Normalised, Normalised]

# Outcomes from which these forms are faster than the reference path. KL of 2^20 numbers, ms: of 16
# outcomes 4.7 beside 6.1 (far apart), 5.9 beside 5.9 (near); of 8 4.8 beside 6.7, 15 beside 6.0.
_SHORT = 16
_FEW = 1024  # outcomes of a row of which a 64th say little
_LIKELY = 0.75  # of what a series reaches: that part of the log-ratios are below that
_SHIFTED = 20.0  # the sum of exponentials of logits beyond that may be too small or too large


class First(NamedTuple):
    """What is found of a block of rows at first: one number a row, (rows, 1, 1)."""

    value: Array
    stands: Array  # whether it is right
    sums: Array  # what else derivatives need of the whole row

    def left(self, sides: Sides) -> tuple[Array, Array]:
        """Whether a row is left for another form, and whether one that is infinite is."""
        rest = sides[0].scale.fine() & sides[1].scale.fine() & ~self.stands
        return jnp.any(rest), jnp.any(rest & (self.value == jnp.inf))


def serves(statistic: Statistic, operands: Operands) -> bool:
    """Whether two sides are plain logits in float32, of a summand whose slope is known."""
    parameters, *sides = operands
    plain = all(s.chart == "logits" and s.temperature is None for s in sides)
    if not plain or sides[0].values.dtype != jnp.float32 or sides[0].values.shape[-1] < _SHORT:
        return False
    if statistic is SUM:
        return not isinstance(slope := parameters.steepness(), float) or slope <= STEEP
    return statistic is RENYI


def _form(statistic: Statistic) -> Any:
    return lean_renyi if statistic is RENYI else lean_sum


def _spread(x: Array) -> Array:
    """A parameter that is one number a row, (rows, 1), beside (rows, steps, lanes)."""
    return x[..., None] if x.ndim else x


def shifted(operands: Operands) -> Array:
    """Whether some row looks by its first outcomes as if its logits are all far from 0."""
    tops = [jnp.max(side.values[:, :_SHORT], axis=-1) for side in operands[1:]]
    return jnp.any(jnp.abs(jnp.stack(tops)) > _SHIFTED)


def normalise(operands: Operands, *, shifted: bool) -> Sides:
    """Both sides, to be folded again: XLA would copy folded weights of one step for a branch."""
    _, *two = operands
    p, q = ((by_maximum if shifted else normalised)(side.values) for side in two)
    return _unfolded(p), _unfolded(q)


def _unfolded(side: Normalised) -> Normalised:
    return side._replace(weights=side.weights.reshape(side.weights.shape[0], -1))


def reread(operands: Operands, sides: Sides) -> Sides:
    """The same, folded, with logits cut anew; cut by the caller, a branch would copy them."""
    _, *two = operands
    values = [fold(side.values) for side in two]
    p, q = (
        Normalised(x, side.weights.reshape(x.shape), side.scale)
        for x, side in zip(values, sides, strict=True)
    )
    return p, q


def kinds(statistic: Statistic, operands: Operands) -> list[str]:
    """The forms that there are: "near", which serves all, and such as are for some rows."""
    return ["near", *_form(statistic).kinds(operands[0])]


def looks(statistic: Statistic, operands: Operands, sides: Sides, *, all_rows: bool) -> Array:
    """Which of `kinds` a block looks like, by a small part of it.

    What is guessed costs time, not digits. Of short rows that is a sixteenth of them, unless it is
    a block of `all_rows`, which may be divided over devices; else it is their first outcomes.
    """
    sides = reread(operands, sides)
    rows, steps, lanes = sides[0].values.shape
    if rows >= 16 and not all_rows and steps * lanes <= _FEW:
        count, some = rows // 16, (slice(None),)
    else:
        size = max(_SHORT, steps * lanes // (64 if steps * lanes > _FEW else 8))
        count, some = rows, (slice(None), slice(max(1, size // lanes)), slice(size))

    def few(x: Array) -> Array:
        return x[:count] if x.ndim and x.shape[0] == rows else x

    parameters = jax.tree.map(lambda x: few(_spread(x)), operands[0])
    p, q = (
        Normalised(x.values[:count][some], x.weights[:count][some], jax.tree.map(few, x.scale))
        for x in sides
    )
    form, there, kind = _form(statistic), kinds(statistic, operands), jnp.int32(0)
    if "close" in there:
        similar = form.reach(parameters, p, q) <= _LIKELY
        kind = jnp.where(jnp.all(similar), there.index("close"), kind)
    if "apart" in there:
        far = form.distant(parameters, p, q)
        kind = jnp.where(2 * jnp.sum(far) >= far.size, there.index("apart"), kind)
    return kind


def first(statistic: Statistic, operands: Operands, sides: Sides, kind: str) -> First:
    """The value of each row by the form of a kind, right where the row is of that."""
    parameters = jax.tree.map(_spread, operands[0])
    return First(*getattr(_form(statistic), kind)(parameters, *reread(operands, sides)))


def nothing(sides: Sides) -> First:
    """No value."""
    zero = jnp.zeros_like(sides[0].scale.sum)
    return First(zero, zero > 0, zero)


def finish(
    statistic: Statistic,
    operands: Operands,
    sides: Sides,
    found: First,
    moving: tuple[bool, ...],
    kind: str,
    far: Array | bool,
) -> tuple[Array, list[Array], Array]:
    """The value of each row, its derivatives by the logits that move, and which rows stand.

    All rows are of a `kind`, or "closer": some of what looks close are nearly equal. If it is
    "near" what doesn't stand is found again, and the form for far rows found what is `far`.
    """
    parameters = jax.tree.map(_spread, operands[0])
    form, two = _form(statistic), reread(operands, sides)
    totals, slopes = (None, None), form.slopes
    if kind == "near":
        again = First(*form.near(parameters, *two))
        both = zip(found, again, strict=True)
        found = First(*(jnp.where(found.stands, x, y) for x, y in both))
    elif kind == "apart":
        totals, far = form.totals(parameters, found.value), True
    else:
        slopes = form.close_slopes
        if kind == "closer":
            two = centred(*two, close.excess(*two))
            found = First(*form.close(parameters, *two, NEARLY))
    value, results, stands = _results(parameters, two, found, moving, far, totals, slopes)
    return value, _cut(results, operands), stands


def careful(
    statistic: Statistic, operands: Operands, moving: tuple[bool, ...]
) -> tuple[Array, list[Array], Array]:
    """The same of rows that may be nearly equal, or of logits far from 0, in more operations."""
    parameters = jax.tree.map(_spread, operands[0])
    form, p, q = _form(statistic), *(by_maximum(side.values) for side in operands[1:])
    two = centred(p, q, excess(p, q))
    found = First(*form.near(parameters, *two, NEARLY))
    given = parameters, two, found, moving, False, (None, None)
    value, results, stands = _results(*given, form.slopes)
    return value, _cut(results, operands), stands | same(statistic, operands)


def _cut(results: list[Array], operands: Operands) -> list[Array]:
    """What was added to fold the rows is cut off."""
    rows, size = operands[1].values.shape
    return [x.reshape(rows, -1)[:, :size] for x in results]


def _results(
    parameters: Any,
    sides: Sides,
    found: First,
    moving: tuple[bool, ...],
    far: Array | bool,
    totals: tuple[Array | float | None, ...],
    slopes_of: Any,
) -> tuple[Array, list[Array], Array]:
    value, stands, number = found
    results = []
    if any(moving):
        slopes = slopes_of(parameters, *sides, number, far)
        for side, slope, total, moves in zip(sides, slopes, totals, moving, strict=True):
            if moves:
                result, whole = _by_logits(side, slope, total)
                stands &= jnp.isfinite(whole)
                results.append(result)
    return value[:, 0, 0], results, stands[:, 0, 0]


def _by_logits(side: Normalised, slope: Array, total: Array | float | None) -> tuple[Array, Array]:
    """The derivative by logits from that by log-masses, and the sum of the latter."""
    slope = kept(slope)
    vanishing = isinstance(total, float) and total == 0
    if total is None or vanishing:
        whole = over(slope, jnp.sum)
    else:
        whole = jnp.broadcast_to(total, side.scale.sum.shape)
    if vanishing:  # the sum is what is rounded, and nothing cancels
        return slope - side.masses() * whole, whole
    dominant = 2 * over(side.weights, jnp.max) > side.scale.sum
    rest, others = lax.cond(
        jnp.any(dominant), _without_likeliest, _nothing, side.weights, slope, side.scale.sum
    )
    return side.centred(slope, whole, rest, others), whole


def _without_likeliest(weights: Array, slope: Array, total: Array) -> tuple[Array, Array]:
    """The mass, and the sum of the slopes, of all but the likeliest outcome."""
    here = likeliest(weights, total)
    rest, others = (over(jnp.where(here, 0, x), jnp.sum) for x in (weights, slope))
    return rest / total, others


def _nothing(weights: Array, slope: Array, total: Array) -> tuple[Array, Array]:
    return jnp.zeros_like(total), jnp.zeros_like(total)


def vanishes(statistic: Statistic, divergence: Any) -> bool:
    """Whether value and slopes are 0 at p = q: an f-divergence's with a smooth f."""
    return statistic is RENYI or (divergence.homogeneous and not divergence.rough)


def same(statistic: Statistic, operands: Operands) -> Array:
    """Rows whose value and slopes are exactly 0, being the same on both sides.

    As at the start of a fit; they need no digits.
    """
    divergence, p, q = operands
    if not vanishes(statistic, divergence):
        return jnp.zeros(p.values.shape[0], bool)
    finite = jnp.isfinite(jnp.max(p.values, axis=-1))
    return jnp.all(p.values == q.values, axis=-1) & finite
