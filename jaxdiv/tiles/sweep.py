"""One loop over tiles of the outcomes, closed under differentiation.

A sweep cuts arguments that have an axis of outcomes into tiles and calls a function with each. Its
results are sums over the tiles or pieces, put side by side along that axis. The derivative of a
sweep is a sweep; so is its transpose, in which arguments that were cut become pieces, each written
once, and those that were not become sums. Nothing is kept between forward and backward: a tile is
computed again where it is needed. Scans over slices of an array would be transposed into as many
additions to an array of its whole size.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

from .. import _numerics as num
from .._mesh import alike
from .window import Cuts, Window

Axis = int | None


@dataclasses.dataclass(frozen=True)
class Form:
    """The tiles, and the axis of each argument and result that has the outcomes.

    An argument without one is given whole, a result without one is a sum.
    """

    cuts: Cuts
    arguments: tuple[Axis, ...]
    results: tuple[Axis, ...]


def bind(
    primitive: Primitive, traced: Callable[..., Any], args: Sequence[Any], /, **params: Any
) -> Any:
    """A primitive that is evaluated as `traced` is, traced with these arguments."""
    args = alike(*args)
    return primitive.bind(*args, program=jax.make_jaxpr(traced)(*args), **params)


def define(primitive: Primitive) -> None:
    """Shapes, evaluation and lowering of a primitive by its `program`."""

    def abstract(*_, program, **__):
        return program.out_avals if primitive.multiple_results else program.out_avals[0]

    def run(*args, program, **_):
        results = jaxpr_as_fun(program)(*args)
        return results if primitive.multiple_results else results[0]

    primitive.def_abstract_eval(abstract)
    primitive.def_impl(run)
    mlir.register_lowering(primitive, mlir.lower_fun(run, primitive.multiple_results))


sweep_p = Primitive("sweep")
sweep_p.multiple_results = True
define(sweep_p)


def sweep(function: Callable[..., Any], args: Any, axes: Any, cuts: Cuts) -> Any:
    """The sum over tiles of function(window, args), a pytree of arrays.

    `axes` has the structure of `args` and says of each array which axis has the outcomes, or -1.
    The function must be free of values that are being traced, and make nothing of an outcome that
    is not `window.fresh`.
    """
    leaves, tree = jax.tree.flatten(args)
    places = tuple(None if a < 0 else a for a in jax.tree.leaves(axes))
    structure = None

    def flat(window: Window, *leaves: Array) -> list[Array]:
        nonlocal structure
        results, structure = jax.tree.flatten(function(window, jax.tree.unflatten(tree, leaves)))
        return results

    found = _sweep(flat, leaves, cuts, places)
    return jax.tree.unflatten(structure, found)


def _sweep(
    function: Callable[..., list[Array]],
    args: Sequence[Any],
    cuts: Cuts,
    axes: Sequence[Axis],
    results: Sequence[Axis] | None = None,
) -> list[Array]:
    form = Form(cuts, tuple(axes), () if results is None else tuple(results))
    return bind(
        sweep_p, functools.partial(_run, function, form), args, function=function, form=form
    )


def _cut(x: Array, axis: Axis, window: Window) -> Array:
    return x if axis is None else window.cut(x, axis)


def _fresh(window: Window, x: Array, axis: int) -> Array:
    assert window.fresh is not None
    return window.fresh.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def _wide(x: Array) -> Array:
    return x.astype(jnp.float32) if x.dtype in (jnp.bfloat16, jnp.float16) else x


def _run(function: Callable[..., list[Array]], form: Form, *args: Array) -> list[Array]:
    def found(i: Array | int) -> tuple[Window, list[Array]]:
        window = form.cuts.window(i)
        cuts = [_cut(x, axis, window) for x, axis in zip(args, form.arguments, strict=True)]
        with num.rows_in_parts(form.cuts.parts):
            return window, function(window, *cuts)

    if form.cuts.whole:
        return found(0)[1]
    shapes = jax.eval_shape(lambda *args: found(0)[1], *args)
    axes = form.results or (None,) * len(shapes)

    def step(i: Array, totals: list[Array]) -> list[Array]:
        window, parts = found(i)
        news = []
        for total, part, axis in zip(totals, parts, axes, strict=True):
            if axis is None:
                news.append(total + _wide(part))
                continue
            if window.fresh is not None:
                part = jnp.where(_fresh(window, part, axis), part, _cut(total, axis, window))
            news.append(window.put(total, part, axis))
        return news

    def empty(shape: jax.ShapeDtypeStruct, axis: Axis) -> Array:
        if axis is None:
            return _wide(jnp.zeros(shape.shape, shape.dtype))
        whole = list(shape.shape)
        whole[axis] = form.cuts.size
        return jnp.zeros(whole, shape.dtype)

    # Low precision is added up in float32.
    start = [empty(s, axis) for s, axis in zip(shapes, axes, strict=True)]
    start = alike(*args, *start)[len(args) :]
    totals = lax.fori_loop(0, len(form.cuts), step, start)
    return [x.astype(s.dtype) for x, s in zip(totals, shapes, strict=True)]


def _zero(x: Any) -> bool:
    return type(x) is ad.Zero


def _jvp(primals, tangents, *, function, form, program):
    results = sweep_p.bind(*primals, function=function, form=form, program=program)
    moved = [i for i, t in enumerate(tangents) if not _zero(t)]
    n = len(primals)

    def along(window: Window, *tiles: Array) -> list[Array]:
        def of_moved(*values: Array) -> list[Array]:
            given = list(tiles[:n])
            for i, x in zip(moved, values, strict=True):
                given[i] = x
            return function(window, *given)

        return jax.jvp(of_moved, [tiles[i] for i in moved], list(tiles[n:]))[1]

    args = [*primals, *(tangents[i] for i in moved)]
    axes = [*form.arguments, *(form.arguments[i] for i in moved)]
    return results, _sweep(along, args, form.cuts, axes, form.results)


def _transpose(cotangents, *args, function, form, program):
    del program
    linear = [i for i, x in enumerate(args) if ad.is_undefined_primal(x)]
    known = [i for i in range(len(args)) if i not in linear]
    live = [j for j, c in enumerate(cotangents) if not _zero(c)]
    of_results = form.results or (None,) * len(cotangents)
    # A tile's zeros, of which there is no other source than shapes.
    avals = [args[i].aval for i in linear]

    def back(window: Window, *tiles: Array) -> list[Array]:
        given, cts = tiles[: len(known)], list(tiles[len(known) :])

        def of_linear(*values: Array) -> list[Array]:
            full: list[Any] = [None] * len(args)
            for i, x in (*zip(known, given, strict=True), *zip(linear, values, strict=True)):
                full[i] = x
            results = function(window, *full)
            return [results[j] for j in live]

        zeros = []
        for i, aval in zip(linear, avals, strict=True):
            shape = list(aval.shape)
            if (axis := form.arguments[i]) is not None:
                shape[axis] = window.size
            zeros.append(jnp.zeros(shape, aval.dtype))
        zeros = alike(*tiles, *zeros)[len(tiles) :]
        if window.fresh is not None:
            for k, j in enumerate(live):
                if (axis := of_results[j]) is not None:
                    cts[k] = jnp.where(_fresh(window, cts[k], axis), cts[k], 0)
        return list(jax.vjp(of_linear, *zeros)[1](cts))

    results: list[Any] = [None] * len(args)
    if not live:
        for i, aval in zip(linear, avals, strict=True):
            results[i] = ad.Zero(aval)
        return results
    given = [*(args[i] for i in known), *(cotangents[j] for j in live)]
    axes = [*(form.arguments[i] for i in known), *(of_results[j] for j in live)]
    into = [form.arguments[i] for i in linear]
    for i, x in zip(linear, _sweep(back, given, form.cuts, axes, into), strict=True):
        results[i] = x
    return results


def _batch(args, dims, *, function, form, program):
    del program
    mapped = [d is not None for d in dims]
    args = [x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(args, dims, strict=True)]
    in_axes = tuple(0 if m else None for m in mapped)

    def every(window: Window, *tiles: Array) -> list[Array]:
        return jax.vmap(lambda *t: function(window, *t), in_axes)(*tiles)

    axes = [None if a is None else a + m for a, m in zip(form.arguments, mapped, strict=True)]
    into = [None if a is None else a + 1 for a in form.results] if form.results else None
    results = _sweep(every, args, form.cuts, axes, into)
    return results, [0] * len(results)


ad.primitive_jvps[sweep_p] = _jvp
ad.primitive_transposes[sweep_p] = _transpose
batching.primitive_batchers[sweep_p] = _batch
