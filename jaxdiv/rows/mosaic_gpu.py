"""Rows kept in the shared memory of a Hopper GPU, so that each number is read once.

Long rows are divided over a cluster of thread blocks (`mosaic_cluster`), short ones share a block
(`mosaic_tile`); all passes over them read shared memory, and for the gradient the result replaces
the numbers there and is copied out. What a divergence adds is its declaration, traced for one
outcome (`elementwise`), of logits (`mosaic_logits`) or of masses (`mosaic_masses`).
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from . import elementwise, mosaic_cluster, mosaic_logits, mosaic_masses, mosaic_tile, reference
from .blocked import as_rows
from .pair import Side
from .renyi import RENYI
from .rule import SUM
from .statistic import Moving, Operands, Statistic, sides_of

Plan = mosaic_cluster.Plan | mosaic_tile.Plan


def _plan(operands: Operands) -> Plan | str:
    """How the rows are divided, or why they are not."""
    parameters, p, _ = operands
    *batch, size = p.values.shape
    rows, dtype = math.prod(batch), p.values.dtype
    if dtype not in (jnp.float32, jnp.bfloat16, jnp.float16):
        return f"the kernel computes in float32, and the rows are {dtype}"
    if size >= mosaic_cluster.PIECE:
        return mosaic_cluster.plan(rows, size, dtype)
    return mosaic_tile.plan(rows, size, dtype, jax.tree.leaves(parameters))


def _of_logits(p: Side, q: Side) -> bool:
    return p.chart == q.chart == "logits"


def why_not(statistic: Statistic, operands: Operands) -> str | None:
    """Why this path hands a statistic over to the reference path; None if it does not."""
    if statistic not in (SUM, RENYI):
        return f"the statistic {statistic.name} has no kernel"
    divergence, p, q = mosaic_logits.summed(statistic, operands)
    if p.values.dtype != q.values.dtype:
        return f"the sides are {p.values.dtype} and {q.values.dtype}"
    if any(side.temperature is not None for side in (p, q)):
        return "a temperature is not 1"
    if isinstance(made := _plan((divergence, p, q)), str):
        return made
    if _of_logits(p, q):
        if reason := mosaic_logits.why_not(divergence):
            return reason
    elif "logits" in (p.chart, q.chart):
        return "one side is logits, the other is not"
    elif statistic is RENYI:
        return f"the statistic {statistic.name} has a kernel of logits alone"
    try:
        if _of_logits(p, q):
            mosaic_logits.programs_of(as_rows((divergence, p, q))[0], (True, True))
        else:
            mosaic_masses.programs_of((divergence, p, q), (True, True))
    except elementwise.Unsupported as reason:
        return f"the summand cannot be traced into a kernel: {reason}"
    return None


def value(statistic: Statistic, operands: Operands, *, interpret: bool = False) -> Array:
    """The statistic of every row."""
    made = _plan(mosaic_logits.summed(statistic, operands))
    assert not isinstance(made, str)
    if _of_logits(*operands[1:]):
        return mosaic_logits.value(statistic, operands, made, interpret=interpret)
    return mosaic_masses.value(operands, made, interpret=interpret)


def push(
    statistic: Statistic,
    operands: Operands,
    known: Array,
    dots: Sequence[Array],
    *,
    moving: Moving,
    interpret: bool = False,
) -> Array:
    """Its derivative along the tangents of the moving leaves."""
    del interpret
    return reference.push(statistic, operands, known, dots, moving=moving)


def pull(
    statistic: Statistic,
    operands: Operands,
    known: Array,
    cotangent: Array,
    *,
    moving: Moving,
    interpret: bool = False,
) -> list[Array]:
    """The transpose: the cotangents of the moving leaves."""
    _, p, q = operands
    two, others = sides_of(operands, moving)
    if others:
        # A parameter's cotangent is a sum over the rows.
        return reference.pull(statistic, operands, known, cotangent, moving=moving)
    made = _plan(mosaic_logits.summed(statistic, operands))
    assert not isinstance(made, str)
    if _of_logits(p, q):
        return mosaic_logits.pull(
            statistic, operands, made, known, cotangent,
            moving=moving, two=two, interpret=interpret,
        )  # fmt: skip
    return mosaic_masses.pull(operands, made, cotangent, two=two, interpret=interpret)


@functools.cache
def interpreter_effects() -> Any:
    """The effects of a kernel that is interpreted."""
    from jax.experimental.pallas import mosaic_gpu as plgpu

    def body(out: Any) -> None:
        out[0] = jnp.float32(0)

    one = jax.ShapeDtypeStruct((1,), jnp.float32)
    run = plgpu.kernel(body, out_type=one, interpret=plgpu.InterpretGPUParams())
    return jax.make_jaxpr(lambda: run())().effects
