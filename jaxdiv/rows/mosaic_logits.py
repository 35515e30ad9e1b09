"""Sums over two rows of logits in kernels: the form of `lean`, which says whose value stands.

Rows that do not stand are computed again by the reference path, outside of the kernel.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from .._f_divergences import Alpha
from . import elementwise, lean, reference
from . import normalised as norm
from .blocked import as_rows, repaired
from .mosaic_passes import SIDES, Programs, run
from .pair import Side
from .renyi import RENYI, of_sum, to_sum
from .rule import SUM, entries, partials
from .statistic import Moving, Operands, Statistic

_WIDE = {f"x_{side}": True for side in SIDES}
_ROW = {f"{name}_{side}": False for side in SIDES for name in ("top", "ties", "others")}
_SAME = -1.0  # of a row that is the same on both sides, for what is positive otherwise


def why_not(divergence: Any) -> str | None:
    """Why a divergence has no kernel of logits; None if it has."""
    if _unknown(divergence) and (divergence.rough or not divergence.homogeneous):
        return "how steep the summand is, is not known"
    return None


def value(statistic: Statistic, operands: Operands, made: Any, *, interpret: bool) -> Array:
    """The statistic of every row."""
    divergence, p, q = summed(statistic, operands)
    programs, table = programs_of(as_rows((divergence, p, q))[0], ())
    flat = [x.values.reshape(made.view) for x in (p, q)]
    kernel = functools.partial(_value_kernel, unknown=_unknown(divergence))
    total = run(kernel, made, (), programs, table, flat, interpret)[0]
    total = total.reshape(p.values.shape[:-1])
    same = total == _SAME
    found = total = jnp.where(same, 0, total)
    stand = _stand(divergence, total)
    if statistic is RENYI:
        found, near_one = of_sum(operands[0], total)
        stand &= near_one
    stand |= same

    def near(operands: Operands) -> list[Array]:
        return [reference.value(statistic, operands)]

    return repaired([found], stand, near, operands)[0]


def pull(
    statistic: Statistic,
    operands: Operands,
    made: Any,
    known: Array,
    cotangent: Array,
    *,
    moving: Moving,
    two: tuple[bool, ...],
    interpret: bool,
) -> list[Array]:
    """The cotangents of the sides that move; `two` says which."""
    divergence, p, q = summed(statistic, operands)
    total, weight, near_one = known, cotangent, True
    if statistic is RENYI:
        total, growth, near_one = to_sum(operands[0], known)
        weight = growth * cotangent
    programs, table = programs_of(as_rows((divergence, p, q))[0], two)
    flat = [x.values.reshape(made.view) for x in (p, q)]
    *slopes, fine = run(
        functools.partial(_pull_kernel, moving=two, unknown=_unknown(divergence)),
        made,
        two,
        programs,
        table,
        (*flat, weight.reshape(-1), total.reshape(-1)),
        interpret,
    )
    found = [x.reshape(p.values.shape) for x in slopes]
    fine = fine.reshape(known.shape)
    stand = (_stand(divergence, total) & (fine > 0) & near_one) | (fine == _SAME)

    def near(operands: Operands, known: Array, cotangent: Array) -> list[Array]:
        rows = known[:, 0], cotangent[:, 0]
        return reference.pull(statistic, operands, *rows, moving=moving)

    return repaired(found, stand, near, operands, known[..., None], cotangent[..., None])


def summed(statistic: Statistic, operands: Operands) -> Operands:
    """The operands of the sum that a kernel takes: Renyi's is a function of one."""
    alpha, p, q = operands
    return (Alpha(alpha), p, q) if statistic is RENYI else operands


def _unknown(divergence: Any) -> bool:
    """Whether nobody knows how steep a summand is.

    An error e common to all log-ratios of a row changes the value by e sum(p d_p), so that the
    kernel finds out, for each row, whether that is little: sum(p d_p) is the steepness, relative to
    the value.
    """
    slope = divergence.steepness()
    return isinstance(slope, float) and slope > norm.STEEP


def _stand(divergence: Any, total: Array) -> Array:
    steep = jnp.asarray(0.0 if _unknown(divergence) else divergence.steepness())
    gentle = (steep[..., 0] if steep.ndim else steep) <= norm.STEEP
    least = norm.ROUGH if divergence.rough else norm.SMOOTH
    return (total >= least) & (total < jnp.inf) & gentle


def programs_of(divergence: Any, moving: Sequence[bool]) -> tuple[Programs, Array]:
    """Programs for a divergence, and their table of known numbers, (rows or 1, numbers).

    "terms", or "slopes" of the sides that move and "results"; "excess", p - q, if it is summed.
    """
    leaves, tree = jax.tree.flatten(divergence)
    rough = divergence.rough

    def sides(numbers: dict[str, Array]) -> list[norm.Normalised]:
        def side(name: str) -> norm.Normalised:
            x, top, ties, others = (numbers[f"{n}_{name}"] for n in ("x", "top", "ties", "others"))
            total = ties + others
            log_total = num.log_pair_of_count(total)
            return norm.relative(x, jnp.exp(x - top), top, total, log_total)

        return [side(name) for name in SIDES]

    def pair(numbers: dict[str, Array]) -> Any:
        p, q = sides(numbers)
        return p, q, norm.pair_of(p, q, numbers["error"] if rough else 0)

    def by_mass(leaves: Any, p: Any, q: Any, both: Any) -> tuple[Array, Array]:
        like = Side(p.values, None, "logits")
        divergence = jax.tree.unflatten(tree, leaves)
        return partials(divergence, both, like, like, p.support(), q.support())

    def terms(leaves, **numbers):
        p, q, both = pair(numbers)
        found = [entries(jax.tree.unflatten(tree, leaves), both, p.support(), q.support())]
        if _unknown(divergence):
            return found + list(by_mass(leaves, p, q, both)[:1])
        return found + differing(numbers)

    vanishing = not _unknown(divergence) and lean.vanishes(SUM, divergence)

    def differing(numbers: dict[str, Array]) -> list[Array]:
        """Whether the sides differ, if they might as well not."""
        return [(numbers["x_p"] != numbers["x_q"]).astype(jnp.float32)] if vanishing else []

    def excess(leaves, **numbers):
        return [norm.excess(*sides(numbers))]

    def slopes(leaves, **numbers):
        p, q, both = pair(numbers)
        found = by_mass(leaves, p, q, both)
        # Of what moves: the slope, and the slope of all but the likeliest outcome.
        pairs = ((s, jnp.where(x.likeliest(), 0, s)) for s, x in zip(found, (p, q), strict=True))
        moved = [x for two, moves in zip(pairs, moving, strict=True) if moves for x in two]
        return moved + differing(numbers)

    def results(leaves, **numbers):
        p, q, both = pair(numbers)
        found = by_mass(leaves, p, q, both)
        each = zip(SIDES, (p, q), found, moving, strict=True)
        return [
            numbers["cotangent"]
            * x.centred(
                slope,
                numbers[f"whole_{side}"],
                numbers[f"others_{side}"] / x.scale.sum,
                numbers[f"rest_{side}"],
            )
            for side, x, slope, moves in each
            if moves
        ]

    given = _WIDE | _ROW | ({"error": False} if rough else {})
    sums = {f"{n}_{s}": False for n in ("whole", "rest") for s in SIDES} | {"cotangent": False}
    wanted = {"excess": (excess, _WIDE | _ROW)} if rough else {}
    if any(moving):
        wanted |= {"slopes": (slopes, given), "results": (results, given | sums)}
    else:
        wanted |= {"terms": (terms, given)}

    return elementwise.programs(wanted, leaves)


def _finite(tops: dict[str, Array]) -> Array:
    """Whether both rows have a largest logit."""
    return functools.reduce(
        jnp.logical_and,
        [(tops[f"top_{s}"] < jnp.inf) & (tops[f"ties_{s}"] > 0) for s in SIDES],
    )


def _centre(rows: Any, programs: Programs, inputs: dict[str, Array]) -> dict[str, Array]:
    if "excess" not in programs:
        return inputs
    return inputs | {"error": rows.sums(programs["excess"], inputs)[0]}


def _value_kernel(rows: Any, programs: Programs, inputs: Any, outputs: Any, unknown: bool) -> None:
    rows.fetch(inputs)
    found = _centre(rows, programs, rows.normalisers())
    total, *more = rows.sums(programs["terms"], found)
    fine = _finite(found)
    if unknown:
        fine &= jnp.abs(more[0]) <= norm.STEEP * total
    elif more:
        total = jnp.where(more[0] == 0, _SAME, total)
    # NaN does not stand.
    rows.tell(outputs[0], jnp.where(fine, total, jnp.nan))


def _pull_kernel(
    rows: Any,
    programs: Programs,
    inputs: Any,
    outputs: Any,
    moving: Sequence[bool],
    unknown: bool,
) -> None:
    *arrays, cotangent, known = inputs
    rows.fetch(arrays, (cotangent, known) if unknown else (cotangent,))
    found = _centre(rows, programs, rows.normalisers())
    sums = rows.sums(programs["slopes"], found)
    fine, scale = _finite(found), rows.number(cotangent)
    given = dict(found)
    zero = jnp.float32(0)
    for side, moves in zip(SIDES, moving, strict=True):
        given[f"whole_{side}"], given[f"rest_{side}"] = (
            (sums.pop(0), sums.pop(0)) if moves else (zero, zero)
        )
        fine &= jnp.abs(given[f"rest_{side}"]) < jnp.inf
    if unknown:
        total = rows.number(known)
        # By Euler's theorem the two slopes add up to the value.
        steep = given["whole_p"] if moving[0] else total - given["whole_q"]
        fine &= jnp.abs(steep) <= norm.STEEP * total
    stands = jnp.where(fine, 1.0, 0.0)
    if sums:
        same = fine & (sums[0] == 0)
        scale, stands = jnp.where(same, 0.0, scale), jnp.where(same, _SAME, stands)
    rows.replace(programs["results"], given | {"cotangent": scale}, moving)
    rows.send(outputs[:-1], moving)
    rows.tell(outputs[-1], stands)
