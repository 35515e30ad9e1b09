"""Row statistics as JAX primitives, so that a lowered program decides how they are evaluated.

Three primitives share the operands of a statistic, the leaves of (parameters, p, q):

    value   the statistic of every row
    push    its directional derivative, linear in the tangents: forward mode
    pull    the transpose of push, linear in the rows' cotangents: reverse mode

The linear primitives also take the statistic itself, which is known by then and tells a path how
it may be differentiated; nothing depends on it smoothly.

A primitive sees the whole batch: `vmap` folds mapped axes into the rows, so that loops, branches
and the choice of a path are those of the batch, however it was written. (A mapped `cond` would
become a `select`, a mapped loop lose its blocks.) The linear primitives are differentiable in
everything; from the second order on, derivatives are those of the reference path. What a backward
pass keeps is the operands.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import reference
from .dispatch import evaluate, interpreter_effects
from .statistic import Operands, Statistic, wide_dtype

value_p = Primitive("row_statistic")
push_p = Primitive("row_statistic_push")
pull_p = Primitive("row_statistic_pull")
pull_p.multiple_results = True


def statistic_of(statistic: Statistic, implementation: str, operands: Operands) -> Array:
    """The statistic of every row."""
    leaves, tree = jax.tree.flatten(operands)
    static = dict(statistic=statistic, implementation=implementation, tree=tree)
    return value_p.bind(*leaves, **static)


def _value(*leaves, platform, tree, statistic, implementation):
    operands = jax.tree.unflatten(tree, leaves)
    return evaluate("value", implementation, platform, statistic, operands)


def _push(*arrays, platform, tree, statistic, implementation, moving):
    leaves, known, *dots = _split(arrays, moving)
    given = statistic, jax.tree.unflatten(tree, leaves), known, dots
    return evaluate("push", implementation, platform, *given, moving=moving)


def _pull(*arrays, platform, tree, statistic, implementation, moving):
    leaves, known, cotangent = _split(arrays, moving)
    given = statistic, jax.tree.unflatten(tree, leaves), known, cotangent
    return evaluate("pull", implementation, platform, *given, moving=moving)


def _split(arrays, moving):
    """The leaves, the statistic, and the others."""
    n = len(moving)
    return arrays[:n], *arrays[n:]


# --- shapes, evaluation and lowering -----------------------------------------------------------


def _rows(leaves, tree) -> Any:
    """The values of p, whose leading axes are the batch."""
    return jax.tree.unflatten(tree, leaves)[1].values


def _abstract_rows(*arrays, tree, **_):
    rows = _rows(arrays[: tree.num_leaves], tree)
    return rows.update(shape=rows.shape[:-1], dtype=wide_dtype(rows.dtype))


def _abstract_pull(*arrays, moving, **_):
    return [x for x, moves in zip(arrays, moving, strict=False) if moves]


@functools.lru_cache(maxsize=1024)
def _compiled(primitive, **static):
    return jax.jit(functools.partial(primitive.bind, **static))


def _define(primitive, function, abstract) -> None:
    def with_effects(*arrays, implementation, **static):
        # Pallas's interpreter keeps the memory of its GPU on the host, and calls it in order.
        interpreted = implementation == "mosaic_gpu_interpret" and primitive is not push_p
        return abstract(*arrays, **static), interpreter_effects() if interpreted else set()

    primitive.def_effectful_abstract_eval(with_effects)
    primitive.def_impl(lambda *arrays, **static: _compiled(primitive, **static)(*arrays))
    several = primitive.multiple_results
    # A rule for each platform: the kernels of one are not traced when another is lowered for.
    for platform in ("cpu", "cuda", None):
        known = functools.partial(function, platform=platform or "neither cpu nor cuda")
        rule = mlir.lower_fun(known, multiple_results=several)
        mlir.register_lowering(primitive, rule, platform=platform)


_define(value_p, _value, _abstract_rows)
_define(push_p, _push, _abstract_rows)
_define(pull_p, _pull, _abstract_pull)


# --- derivatives -------------------------------------------------------------------------------


def _zero(tangent: Any) -> bool:
    return type(tangent) is ad.Zero


def _value_jvp(leaves, tangents, **static):
    result = value_p.bind(*leaves, **static)
    moving = tuple(not _zero(t) for t in tangents)
    dots = (t for t in tangents if not _zero(t))
    return result, push_p.bind(*leaves, result, *dots, moving=moving, **static)


def _along(function, leaves, others, tangents, *, tree, statistic, moving, **_):
    """The derivative by the leaves of the reference path, recomputed in a backward pass."""
    still, moved = list(leaves), [i for i, t in enumerate(tangents) if not _zero(t)]

    def of_moved(*values):
        for i, x in zip(moved, values, strict=True):
            still[i] = x
        return function(statistic, jax.tree.unflatten(tree, still), *others, moving=moving)

    primals = tuple(leaves[i] for i in moved)
    return jax.jvp(jax.checkpoint(of_moved), primals, tuple(tangents[i] for i in moved))[1]


def _push_jvp(primals, tangents, *, moving, **static):
    leaves, known, *dots = _split(primals, moving)
    by_leaves, _, *by_dots = _split(tangents, moving)
    result = push_p.bind(*primals, moving=moving, **static)
    total = jnp.zeros_like(result)
    if not all(map(_zero, by_dots)):
        full = map(ad.instantiate_zeros, by_dots)
        total = push_p.bind(*leaves, known, *full, moving=moving, **static)
    if not all(map(_zero, by_leaves)):
        others = (known, dots)
        moved = _along(reference.push, leaves, others, by_leaves, moving=moving, **static)
        total = total + moved
    return result, total


def _push_transpose(cotangent, *arrays, moving, **static):
    leaves, known, *dots = _split(arrays, moving)
    if _zero(cotangent):
        pulled = [ad.Zero(x.aval) if ad.is_undefined_primal(x) else None for x in dots]
    else:
        pulled = pull_p.bind(*leaves, known, cotangent, moving=moving, **static)
        pulled = [
            x if ad.is_undefined_primal(dot) else None for x, dot in zip(pulled, dots, strict=True)
        ]
    return [None] * (len(leaves) + 1) + pulled


def _pull_jvp(primals, tangents, *, moving, **static):
    leaves, known, cotangent = _split(primals, moving)
    by_leaves, _, by_cotangent = _split(tangents, moving)
    results = pull_p.bind(*primals, moving=moving, **static)
    totals = list(map(jnp.zeros_like, results))
    if not _zero(by_cotangent):
        totals = pull_p.bind(*leaves, known, by_cotangent, moving=moving, **static)
    if not all(map(_zero, by_leaves)):
        others = (known, cotangent)
        moved = _along(reference.pull, leaves, others, by_leaves, moving=moving, **static)
        totals = [x + y for x, y in zip(totals, moved, strict=True)]
    return results, totals


def _pull_transpose(cotangents, *arrays, moving, **static):
    leaves, known, _ = _split(arrays, moving)
    dots = map(ad.instantiate_zeros, cotangents)
    pushed = push_p.bind(*leaves, known, *dots, moving=moving, **static)
    return [None] * (len(leaves) + 1) + [pushed]


ad.primitive_jvps[value_p] = _value_jvp
ad.primitive_jvps[push_p] = _push_jvp
ad.primitive_jvps[pull_p] = _pull_jvp
ad.primitive_transposes[push_p] = _push_transpose
ad.primitive_transposes[pull_p] = _pull_transpose


# --- mapped axes -------------------------------------------------------------------------------


def _in_front(x: Array, axis: int | None, size: int) -> Array:
    if axis is None:
        return jnp.broadcast_to(x, (size, *jnp.shape(x)))
    return jnp.moveaxis(x, axis, 0)


def _folded(x: Array, axis: int | None, size: int, ndim: int, every: bool) -> Array:
    """An operand with the mapped axis in front; a scalar becomes one number a row, (size, 1...)."""
    # A scalar, which may be a literal without `ndim`, stays unless each call has its cotangent.
    if axis is None and jnp.ndim(x) == 0 and not every:
        return x
    x = _in_front(x, axis, size)
    return x.reshape(size, *(1,) * ndim) if x.ndim == 1 else x


def _sizes(arrays, axes) -> int:
    return next(x.shape[a] for x, a in zip(arrays, axes, strict=True) if a is not None)


def _batch(primitive, arrays, axes, tree, **static):
    n, size = tree.num_leaves, _sizes(arrays, axes)
    place = next(i for i, x in enumerate(_marked(tree)) if x)
    ndim = arrays[place].ndim - (axes[place] is not None)
    every = primitive is not value_p
    leaves = [_folded(x, a, size, ndim, every) for x, a in zip(arrays[:n], axes[:n], strict=True)]
    if primitive is value_p:
        return value_p.bind(*leaves, tree=tree, **static), 0
    known = _in_front(arrays[n], axes[n], size)
    if primitive is push_p:
        dots = [
            _folded(x, a, size, ndim, True)
            for x, a in zip(arrays[n + 1 :], axes[n + 1 :], strict=True)
        ]
        return push_p.bind(*leaves, known, *dots, tree=tree, **static), 0
    cotangent = _in_front(arrays[-1], axes[-1], size)
    results = pull_p.bind(*leaves, known, cotangent, tree=tree, **static)
    shapes = [
        x.shape if a is None else x.shape[:a] + x.shape[a + 1 :]
        for x, a, moves in zip(arrays[:n], axes[:n], static["moving"], strict=True)
        if moves
    ]
    return [x.reshape(size, *s) for x, s in zip(results, shapes, strict=True)], [0] * len(results)


@functools.cache
def _marked(tree) -> tuple[bool, ...]:
    """Which leaf holds the values of p."""
    operands = jax.tree.unflatten(tree, range(tree.num_leaves))
    return tuple(i == operands[1].values for i in range(tree.num_leaves))


for _primitive in (value_p, push_p, pull_p):
    batching.primitive_batchers[_primitive] = functools.partial(_batch, _primitive)
