"""Sums over two rows of probabilities, or of their logarithms, in kernels.

Every number of a pair is found from the outcome alone, as exactly as on the reference path, and so
is a derivative: nothing is repaired, and a row is looked at for what makes it invalid.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from . import elementwise
from .blocked import as_rows
from .mosaic_passes import SIDES, Programs, run
from .pair import Side, pair_of
from .rule import entries, outside, partials
from .statistic import Operands

_WIDE = {f"x_{side}": True for side in SIDES}


def value(operands: Operands, made: Any, *, interpret: bool) -> Array:
    """The sum of every row."""
    divergence, p, q = operands
    programs, table = programs_of(operands, ())
    kernel = functools.partial(_value_kernel, linear=(p.linear, q.linear))
    flat = [x.values.reshape(made.view) for x in (p, q)]
    found = run(kernel, made, (), programs, table, flat, interpret)[0]
    return jnp.where(outside(divergence), jnp.nan, found.reshape(p.values.shape[:-1]))


def pull(
    operands: Operands, made: Any, cotangent: Array, *, two: tuple[bool, ...], interpret: bool
) -> list[Array]:
    """The cotangents of the sides that move; `two` says which."""
    divergence, p, q = operands
    programs, table = programs_of(operands, two)
    kernel = functools.partial(_pull_kernel, linear=(p.linear, q.linear), moving=two)
    scale = jnp.where(outside(divergence), jnp.nan, cotangent)
    arrays = [*(x.values.reshape(made.view) for x in (p, q)), scale.reshape(-1)]
    *found, _ = run(kernel, made, two, programs, table, arrays, interpret)
    return [x.reshape(p.values.shape) for x in found]


def programs_of(operands: Operands, moving: Sequence[bool]) -> tuple[Programs, Array]:
    """Programs for a divergence, and their table of known numbers, (rows or 1, numbers).

    "terms", or "faults" and "results" of the sides that move.
    """
    divergence, *rows = as_rows(operands)
    leaves, tree = jax.tree.flatten(divergence)

    def sides(numbers: dict[str, Array]) -> list[Side]:
        each = zip(SIDES, rows, strict=True)
        return [Side(numbers[f"x_{name}"], None, side.chart) for name, side in each]

    def faults(leaves, **numbers):
        """Whether a number is none that may be, and of logarithms, whether they are finite."""
        del leaves
        bad, finite = jnp.asarray(False), []
        for side in sides(numbers):
            x = side.values
            bad |= ~((x >= 0) & (x < jnp.inf)) if side.linear else ~(x < jnp.inf)
            if not side.linear:
                finite.append((x > -jnp.inf).astype(jnp.float32))
        return [bad.astype(jnp.float32), *finite]

    def terms(leaves, **numbers):
        p, q = sides(numbers)
        divergence = jax.tree.unflatten(tree, leaves)
        found = entries(divergence, pair_of(p, q), p.support(), q.support())
        return [found, *faults(leaves, **numbers)]

    def results(leaves, **numbers):
        p, q = sides(numbers)
        divergence = jax.tree.unflatten(tree, leaves)
        slopes = partials(divergence, pair_of(p, q), p, q, p.support(), q.support())
        scale = numbers["cotangent"]
        return [
            # A cotangent of 0 says that nobody asks, not even for an infinite derivative.
            jnp.where(scale == 0, 0, slope * scale)
            for slope, moves in zip(slopes, moving, strict=True)
            if moves
        ]

    if not any(moving):
        return elementwise.programs({"terms": (terms, _WIDE)}, leaves)
    wanted = {"faults": (faults, _WIDE), "results": (results, _WIDE | {"cotangent": False})}
    return elementwise.programs(wanted, leaves)


def _fetch(
    rows: Any, arrays: Sequence[Any], numbers: Sequence[Any], linear: tuple[bool, bool]
) -> None:
    rows.nothing = tuple(0.0 if side else -jnp.inf for side in linear)
    rows.fetch(arrays, numbers)
    rows.wait()


def _fine(faults: Sequence[Array]) -> Array:
    bad, *finite = faults
    return functools.reduce(jnp.logical_and, [count > 0 for count in finite], bad == 0)


def _value_kernel(
    rows: Any, programs: Programs, inputs: Any, outputs: Any, linear: tuple[bool, bool]
) -> None:
    _fetch(rows, inputs, (), linear)
    total, *faults = rows.sums(programs["terms"], {})
    rows.tell(outputs[0], jnp.where(_fine(faults), total, jnp.nan))


def _pull_kernel(
    rows: Any,
    programs: Programs,
    inputs: Any,
    outputs: Any,
    linear: tuple[bool, bool],
    moving: Sequence[bool],
) -> None:
    *arrays, cotangent = inputs
    _fetch(rows, arrays, (cotangent,), linear)
    fine = _fine(rows.sums(programs["faults"], {}))
    scale = jnp.where(fine, rows.number(cotangent), jnp.nan)
    rows.replace(programs["results"], {"cotangent": scale}, moving)
    rows.send(outputs[:-1], moving)
    rows.tell(outputs[-1], scale)
