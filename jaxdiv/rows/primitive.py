"""Row statistics as JAX primitives, so that a lowered program decides how they are evaluated.

Four primitives share the operands of a statistic, the leaves of (parameters, p, q):

    value   the statistic of every row
    push    its directional derivative, linear in the tangents: forward mode
    pull    the transpose of push, linear in the rows' cotangents: reverse mode

The linear primitives also take the statistic itself, which is known by then and tells a path how
it may be differentiated; nothing depends on it smoothly.

    both    the statistic and its derivatives by the rows, as they are for a cotangent of 1

takes the place of value where rows are many and differentiated. On a CPU one pass serves both, and
pull, which is then given the derivatives, only multiplies them by the cotangents; forward mode
leaves them unused. On other platforms they are zeros, and pull reads the rows.

A primitive sees the whole batch: `vmap` folds mapped axes into the rows, so that loops, branches
and the choice of a path are those of the batch, however it was written. (A mapped `cond` would
become a `select`, a mapped loop lose its blocks.) The linear primitives are differentiable in
everything; from the second order on, derivatives are those of the reference path. What a backward
pass keeps is the operands, and derivatives that are found already.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .. import _numerics as num
from .._mesh import alike, axes_of
from . import reference
from .dispatch import Target, evaluate, interpreter_effects, plain, together
from .statistic import Operands, Statistic, wide_dtype

value_p = Primitive("row_statistic")
push_p = Primitive("row_statistic_push")
pull_p = Primitive("row_statistic_pull")
both_p = Primitive("row_statistic_both")
pull_p.multiple_results = both_p.multiple_results = True


def statistic_of(statistic: Statistic, implementation: str, operands: Operands) -> Array:
    """The statistic of every row."""
    leaves, tree = jax.tree.flatten(operands)
    leaves = alike(*leaves)
    static = dict(statistic=statistic, implementation=implementation, tree=tree)
    return value_p.bind(*leaves, **static)


def _value(*leaves, target, tree, statistic, implementation):
    operands = jax.tree.unflatten(tree, leaves)
    return evaluate("value", implementation, target, statistic, operands)


def _push(*arrays, target, tree, statistic, implementation, moving, found):
    leaves, known, _, dots = _split(arrays, moving, found)
    given = statistic, jax.tree.unflatten(tree, leaves), known, dots
    return evaluate("push", implementation, target, *given, moving=moving)


def _pull(*arrays, target, tree, statistic, implementation, moving, found):
    leaves, known, derivatives, (cotangent,) = _split(arrays, moving, found)
    if found and target.platform == "cpu":
        each = cotangent[..., None]
        # A cotangent of 0 says that nobody asks, not even for an infinite derivative.
        return [jnp.where(each == 0, 0, x * each) for x in derivatives]
    given = statistic, jax.tree.unflatten(tree, leaves), known, cotangent
    return evaluate("pull", implementation, target, *given, moving=moving)


def _both(*leaves, target, tree, statistic, implementation, moving):
    operands = jax.tree.unflatten(tree, leaves)
    if target.platform == "cpu":
        return evaluate("both", implementation, target, statistic, operands, moving=moving)
    value = evaluate("value", implementation, target, statistic, operands)
    return [value, *(jnp.zeros_like(x) for x, m in zip(leaves, moving, strict=True) if m)]


def _split(arrays, moving, found):
    """The leaves, the statistic, its derivatives if they were found along with it, the others."""
    n = len(moving)
    m = n + 1 + (sum(moving) if found else 0)
    return arrays[:n], arrays[n], arrays[n + 1 : m], arrays[m:]


# --- shapes, evaluation and lowering -----------------------------------------------------------


def _rows(leaves, tree) -> Any:
    """The values of p, whose leading axes are the batch."""
    return jax.tree.unflatten(tree, leaves)[1].values


def _abstract_rows(*arrays, tree, **_):
    rows = _rows(arrays[: tree.num_leaves], tree)
    return rows.update(shape=rows.shape[:-1], dtype=wide_dtype(rows.dtype))


def _abstract_pull(*arrays, moving, **_):
    return [x for x, moves in zip(arrays, moving, strict=False) if moves]


def _abstract_both(*leaves, moving, **static):
    return [_abstract_rows(*leaves, **static), *_abstract_pull(*leaves, moving=moving)]


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
        rule = functools.partial(_lower, function, platform or "neither cpu nor cuda", several)
        mlir.register_lowering(primitive, rule, platform=platform)


def _lower(function, platform: str, several: bool, ctx: Any, *arrays: Any, **static: Any) -> Any:
    context = ctx.module_context
    portable = context.lowering_parameters.for_export
    target = Target(platform, _devices(context.axis_context), portable)
    # Rows have nothing to do with each other: here it no longer matters where they lie.
    inner = ctx
    if any(map(axes_of, ctx.avals_in)):
        inner = ctx.replace(avals_in=[ShapedArray(x.shape, x.dtype) for x in ctx.avals_in])
    traced = functools.partial(function, target=target)
    with num.rows_in_parts(target.devices):
        results = mlir.lower_fun(traced, multiple_results=several)(inner, *arrays, **static)
    if inner is not ctx and inner.tokens_out is not None:  # of the interpreter's effects
        ctx.set_tokens_out(inner.tokens_out)
    return results


def _devices(context: Any) -> int:
    """Over how many devices XLA may divide arrays: under `jit` all, 1 inside a `shard_map`."""
    if not hasattr(context, "mesh"):
        return getattr(context, "num_devices", 1)
    sizes = context.mesh.shape
    return math.prod(sizes[name] for name in sizes if name not in context.manual_axes)


_define(value_p, _value, _abstract_rows)
_define(push_p, _push, _abstract_rows)
_define(pull_p, _pull, _abstract_pull)
_define(both_p, _both, _abstract_both)


# --- derivatives -------------------------------------------------------------------------------


def _zero(tangent: Any) -> bool:
    return type(tangent) is ad.Zero


def _value_jvp(leaves, tangents, **static):
    moving = tuple(not _zero(t) for t in tangents)
    dots = [t for t in tangents if not _zero(t)]
    operands = jax.tree.unflatten(static["tree"], leaves)
    found = together(static["implementation"], static["statistic"], operands, moving)
    if found:
        result, *derivatives = both_p.bind(*leaves, moving=moving, **static)
    else:
        result, derivatives = value_p.bind(*leaves, **static), []
    given = *leaves, result, *derivatives, *dots
    return result, push_p.bind(*given, moving=moving, found=found, **static)


def _both_jvp(leaves, tangents, *, moving, **static):
    results = both_p.bind(*leaves, moving=moving, **static)
    value, ones = results[0], jnp.ones_like(results[0])
    moved = tuple(not _zero(t) for t in tangents)
    dots = [t for t in tangents if not _zero(t)]
    dot = push_p.bind(*leaves, value, *dots, moving=moved, found=False, **static)
    others = (value, ones)
    return results, [
        dot,
        *_along(reference.pull, leaves, others, tangents, moving=moving, **static)[1],
    ]


def _along(function, leaves, others, tangents, *, tree, statistic, moving, **_):
    """The reference path and its derivative by the leaves, recomputed in a backward pass."""
    still, moved = list(leaves), [i for i, t in enumerate(tangents) if not _zero(t)]

    def of_moved(*values):
        for i, x in zip(moved, values, strict=True):
            still[i] = x
        return function(statistic, jax.tree.unflatten(tree, still), *others, moving=moving)

    primals = tuple(leaves[i] for i in moved)
    return jax.jvp(jax.checkpoint(of_moved), primals, tuple(tangents[i] for i in moved))


def _is_plain(leaves, *, tree, implementation, **_) -> bool:
    """Whether what `_along` computes along with a derivative is the result itself."""
    return plain(implementation, jax.tree.unflatten(tree, leaves))


def _push_jvp(primals, tangents, *, moving, found, **static):
    leaves, known, derivatives, dots = _split(primals, moving, found)
    by_leaves, _, _, by_dots = _split(tangents, moving, found)
    static |= {"moving": moving}
    result = moved = None
    if not all(map(_zero, by_leaves)):
        same, moved = _along(reference.push, leaves, (known, list(dots)), by_leaves, **static)
        result = same if _is_plain(leaves, **static) else None
    if result is None:
        result = push_p.bind(*primals, found=found, **static)
    total = jnp.zeros_like(result)
    if not all(map(_zero, by_dots)):
        full = map(ad.instantiate_zeros, by_dots)
        total = push_p.bind(*leaves, known, *derivatives, *full, found=found, **static)
    return result, total if moved is None else total + moved


def _push_transpose(cotangent, *arrays, moving, found, **static):
    leaves, known, derivatives, dots = _split(arrays, moving, found)
    static |= {"moving": moving, "found": found}
    if _zero(cotangent):
        pulled = [ad.Zero(x.aval) if ad.is_undefined_primal(x) else None for x in dots]
    else:
        pulled = pull_p.bind(*leaves, known, *derivatives, cotangent, **static)
        pulled = [
            x if ad.is_undefined_primal(dot) else None for x, dot in zip(pulled, dots, strict=True)
        ]
    return [None] * (len(arrays) - len(dots)) + pulled


def _pull_jvp(primals, tangents, *, moving, found, **static):
    leaves, known, derivatives, (cotangent,) = _split(primals, moving, found)
    by_leaves, _, _, (by_cotangent,) = _split(tangents, moving, found)
    static |= {"moving": moving}
    results = moved = None
    if not all(map(_zero, by_leaves)):
        same, moved = _along(reference.pull, leaves, (known, cotangent), by_leaves, **static)
        results = same if _is_plain(leaves, **static) else None
    if results is None:
        results = pull_p.bind(*primals, found=found, **static)
    totals = list(map(jnp.zeros_like, results))
    if not _zero(by_cotangent):
        totals = pull_p.bind(*leaves, known, *derivatives, by_cotangent, found=found, **static)
    if moved is not None:
        totals = [x + y for x, y in zip(totals, moved, strict=True)]
    return results, totals


def _pull_transpose(cotangents, *arrays, moving, found, **static):
    given = arrays[:-1]
    dots = map(ad.instantiate_zeros, cotangents)
    pushed = push_p.bind(*given, *dots, moving=moving, found=found, **static)
    return [None] * len(given) + [pushed]


ad.primitive_jvps[value_p] = _value_jvp
ad.primitive_jvps[push_p] = _push_jvp
ad.primitive_jvps[pull_p] = _pull_jvp
ad.primitive_jvps[both_p] = _both_jvp
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

    def folded(x: Array, axis: int | None, every: bool = True) -> Array:
        return _folded(x, axis, size, ndim, every)

    def shaped(results: Sequence[Array]) -> list[Array]:
        """Cotangents of the moving leaves, as the leaves are."""
        shapes = [
            x.shape if a is None else x.shape[:a] + x.shape[a + 1 :]
            for x, a, moves in zip(arrays[:n], axes[:n], static["moving"], strict=True)
            if moves
        ]
        return [x.reshape(size, *s) for x, s in zip(results, shapes, strict=True)]

    every = primitive is not value_p
    leaves = [folded(x, a, every) for x, a in zip(arrays[:n], axes[:n], strict=True)]
    if primitive is value_p:
        return value_p.bind(*leaves, tree=tree, **static), 0
    if primitive is both_p:
        value, *results = both_p.bind(*leaves, tree=tree, **static)
        return [value, *shaped(results)], [0] * (1 + len(results))
    known = _in_front(arrays[n], axes[n], size)
    others = list(zip(arrays[n + 1 :], axes[n + 1 :], strict=True))
    if primitive is push_p:
        given = [folded(x, a) for x, a in others]
        return push_p.bind(*leaves, known, *given, tree=tree, **static), 0
    *derivatives, (cotangent, axis) = others
    given = [*(folded(x, a) for x, a in derivatives), _in_front(cotangent, axis, size)]
    results = pull_p.bind(*leaves, known, *given, tree=tree, **static)
    return shaped(results), [0] * len(results)


@functools.cache
def _marked(tree) -> tuple[bool, ...]:
    """Which leaf holds the values of p."""
    operands = jax.tree.unflatten(tree, range(tree.num_leaves))
    return tuple(i == operands[1].values for i in range(tree.num_leaves))


for _primitive in (value_p, push_p, pull_p, both_p):
    batching.primitive_batchers[_primitive] = functools.partial(_batch, _primitive)
