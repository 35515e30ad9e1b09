"""Distributions over finitely many outcomes: what an array holds, and how verbs read it.

Nouns are pytrees and are checked when a verb receives them, not when they are made: JAX rebuilds
pytrees with placeholders. Each becomes a `Side`, rows along the last axis in one of three charts.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import _checks as checks
from ._divergence import Divergence
from ._heads import Head, TopK, as_head, as_topk, check_indices
from ._members import maybe_member
from ._pytree import register, static
from .rows.evaluate import Rows
from .rows.pair import Side


@register
@dataclasses.dataclass(frozen=True)
class Probs:
    """Probabilities along one axis, used as they are: neither clipped nor renormalised."""

    probs: Any


@register
@dataclasses.dataclass(frozen=True)
class LogProbs:
    """Natural logarithms of probabilities, trusted: not renormalised. -inf is probability 0."""

    log_probs: Any


@register
@dataclasses.dataclass(frozen=True)
class Logits:
    """Unnormalised log-probabilities: the distribution is softmax(logits / temperature)."""

    logits: Any
    temperature: Any = 1.0


@register
@dataclasses.dataclass(frozen=True)
class Labels:
    """Point masses on integer classes; the axis of classes is inserted at the verb's `axis`.

    `num_classes` may be left out when the other side has that axis. With `smoothing` s the
    distribution is (1 - s) of the point mass and s of the uniform one over unmasked classes.
    """

    labels: Any
    num_classes: int | None = static(default=None)
    smoothing: Any = 0.0


@dataclasses.dataclass(frozen=True)
class Weighted:
    """A distribution whose rows have weights: what a verb returns is the weighted sum over them."""

    noun: Any
    weights: Any


Noun = Probs | LogProbs | Logits | Labels | Head | TopK


def as_noun(name: str, value: Any) -> Noun:
    """The value as a noun holding a checked array; a plain array is probabilities."""
    match value:
        case Probs(x):
            return Probs(checks.as_array(f"{name}.probs", x))
        case LogProbs(x):
            return LogProbs(checks.as_array(f"{name}.log_probs", x))
        case Logits(x, None):
            return Logits(checks.as_array(f"{name}.logits", x), None)
        case Logits(x, temperature):
            checks.check_scalar(
                f"{name}.temperature",
                temperature,
                "a positive finite number",
                lambda t: 0 < t < float("inf"),
            )
            array = checks.as_array(f"{name}.logits", x)
            # A temperature known to be 1 needs no division.
            one = checks.concrete(temperature) and float(temperature) == 1
            return Logits(array, None if one else temperature)
        case Labels(x, num_classes, smoothing):
            smoothing = 0.0 if smoothing is None else smoothing
            checks.check_scalar(f"{name}.smoothing", smoothing, "in [0, 1]", lambda s: 0 <= s <= 1)
            if num_classes is not None and (
                isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1
            ):
                raise ValueError(
                    f"{name}.num_classes must be a positive integer, but is {num_classes!r}"
                )
            zero = checks.concrete(smoothing) and float(smoothing) == 0
            labels = checks.as_labels(f"{name}.labels", x)
            return Labels(labels, num_classes, None if zero else smoothing)
        case Head():
            return as_head(name, value)
        case TopK():
            return as_topk(name, value)
        case _:
            return Probs(checks.as_array(name, value))


def _array(noun: Noun) -> Array:
    match noun:
        case Probs(x) | LogProbs(x) | Logits(x) | Labels(x) | Head(x) | TopK(x):
            return x


def _ndim(noun: Noun) -> int:
    return _array(noun).ndim + isinstance(noun, Labels)


def _floats(noun: Noun) -> list[Array]:
    match noun:
        case Labels():
            return []
        case TopK(_, x):
            return [x]
        case Head(hidden, weight):
            return [hidden, weight]
        case _:
            return [_array(noun)]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the arrays of one call lie: the event axis from the end, its length, axes, dtype."""

    axis: int
    size: int
    ndim: int
    dtype: Any


def compute_dtype(*nouns: Noun) -> Any:
    """float32 for anything lower, float64 where an array has it."""
    floats = [x.dtype for n in nouns for x in _floats(n)]
    if not floats:
        return jnp.result_type(float)
    return jnp.float64 if any(d == jnp.float64 for d in floats) else jnp.float32


def layout(nouns: dict[str, Noun], axis: Any, where: Any, shards: int = 1) -> Layout:
    """Check that the nouns fit together along the axis, and say how.

    Of `shards` parts of the outcomes each array has one; `size` is the number of all outcomes.
    """
    ndim = max(_ndim(noun) for noun in nouns.values())
    axis = checks.check_axis(axis, ndim)
    sizes, batches = {}, {}
    for name, noun in nouns.items():
        shape = _array(noun).shape
        if isinstance(noun, Labels):
            batches[name] = shape
            if noun.num_classes is not None:
                sizes[name] = noun.num_classes
            continue
        if isinstance(noun, Head | TopK):
            batches[name] = shape[:-1]
            if isinstance(noun, Head):
                sizes[name] = noun.weight.shape[1] * shards
            continue
        if -axis > len(shape):
            raise ValueError(
                f"axis {axis} of {name} is out of range: {name} has shape {shape}, "
                f"and the other argument {ndim} axes"
            )
        sizes[name] = shape[axis] * shards
        batches[name] = shape[: len(shape) + axis] + shape[len(shape) + axis + 1 :]
    if not sizes:
        raise ValueError(
            f"nothing says how many outcomes there are: {' and '.join(nouns)} are Labels without "
            "num_classes, or TopK; give Labels theirs, or the other side an axis of outcomes"
        )
    if len(set(sizes.values())) != 1:
        text = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ValueError(f"the numbers of outcomes along axis {axis} must be equal, but {text}")
    size = next(iter(sizes.values()))
    if size == 0:
        raise ValueError(
            f"the axis of outcomes, {axis}, must not be empty, but {next(iter(nouns))} has "
            f"shape {_array(next(iter(nouns.values()))).shape}"
        )
    try:
        batch = jnp.broadcast_shapes(*batches.values())
    except ValueError:
        text = " and ".join(f"{name} {shape}" for name, shape in batches.items())
        raise ValueError(f"batch shapes must broadcast, but are {text}") from None
    for name, noun in nouns.items():
        if isinstance(noun, TopK):
            check_indices(name, noun.indices, size)
        if isinstance(noun, Labels) and checks.concrete(noun.labels) and noun.labels.size:
            # NumPy, as jnp.min of known labels would be traced inside a jitted function.
            known = np.asarray(noun.labels)
            low, high = int(known.min()), int(known.max())
            if low < 0 or high >= size:
                raise ValueError(
                    f"{name}.labels must be in [0, {size}), but "
                    f"{low if low < 0 else high} is among them"
                )
    if where is not None:
        place = len(batch) + 1 + axis
        checks.check_where(where, (*batch[:place], size // shards, *batch[place:]))
    return Layout(axis, size, ndim, compute_dtype(*nouns.values()))


def side(noun: Noun, where: Array | None, form: Layout, dtype: Any = None) -> Side:
    """Rows along the last axis, in the compute dtype; masked entries are structural zeros.

    With a `dtype` they are in that.
    """

    def rows(x: Array) -> Array:
        x = x.reshape((1,) * (form.ndim - x.ndim) + x.shape)
        return jnp.moveaxis(x, form.axis, -1).astype(dtype or form.dtype)

    def masked(x: Array, empty: float) -> Array:
        return x if where is None else jnp.where(where, x, jnp.asarray(empty, x.dtype))

    def logarithms(x: Array) -> Array:
        x = masked(rows(x), -jnp.inf)
        if where is None:
            return x
        # A row masked entirely counts as 0; nothing but -inf in it would be NaN.
        return jnp.where(jnp.any(where, axis=-1, keepdims=True), x, 0)

    match noun:
        case Probs(x):
            return Side(masked(rows(x), 0), None, "linear")
        case LogProbs(x):
            return Side(logarithms(x), None, "log")
        case Logits(x, temperature):
            values = logarithms(x)
            if temperature is not None:
                temperature = jnp.asarray(temperature, form.dtype)
            return Side(values, temperature, "logits")
        case Labels(labels, _, smoothing):
            shape = (*labels.shape, form.size)
            classes = jax.lax.broadcasted_iota(labels.dtype, shape, labels.ndim)
            hot = labels[..., None] == classes
            masses = hot.astype(form.dtype)
            if smoothing is not None:
                s = jnp.asarray(smoothing, form.dtype)
                if where is None:
                    uniform = jnp.asarray(1 / form.size, form.dtype)
                else:
                    count = jnp.sum(where, axis=-1, keepdims=True).astype(form.dtype)
                    uniform = 1 / jnp.maximum(count, 1)
                masses = (1 - s) * masses + s * uniform
                masses = jnp.where((s >= 0) & (s <= 1), 1, jnp.nan) * masses
            known = jnp.any(hot, axis=-1, keepdims=True)
            masses = jnp.where(known, masses, jnp.nan)
            masses = masses.reshape((1,) * (form.ndim - masses.ndim) + masses.shape)
            return Side(masked(masses, 0), None, "linear")
        case Head() | TopK():
            raise AssertionError(f"a {type(noun).__name__} is evaluated in tiles")


def sides(p: Noun, q: Noun, where: Array | None, form: Layout) -> tuple[Side, Side, Array | None]:
    """Both sides broadcast together, and the mask as rows."""
    if where is not None:
        where = where.reshape((1,) * (form.ndim - where.ndim) + where.shape)
        where = jnp.moveaxis(where, form.axis, -1)
    # Two sides in low precision stay as they are stored, which is half of the reading.
    stored = not isinstance(p, Labels) and not isinstance(q, Labels)
    kept = _array(p).dtype if stored and _array(p).dtype == _array(q).dtype else None
    side_p, side_q = side(p, where, form, kept), side(q, where, form, kept)
    shape = jnp.broadcast_shapes(side_p.values.shape, side_q.values.shape)

    def broadcast(s: Side) -> Side:
        return dataclasses.replace(s, values=jnp.broadcast_to(s.values, shape))

    return broadcast(side_p), broadcast(side_q), where


@functools.partial(jax.jit, static_argnames=("form", "implementation"))
def _evaluate(
    divergence: Divergence,
    p: Noun,
    q: Noun,
    where: Array | None,
    *,
    form: Layout,
    implementation: str,
) -> Array:
    side_p, side_q, mask = sides(p, q, where, form)
    divergence = jax.tree.map(lambda x: jnp.asarray(x, form.dtype), divergence)
    value = divergence.evaluate(Rows(side_p, side_q, implementation))
    # A product, so that derivatives are NaN too.
    value = value * jnp.where(jnp.asarray(divergence.valid()), 1, jnp.nan).astype(value.dtype)
    if mask is not None:
        value = jnp.where(jnp.any(mask, axis=-1), value, 0)
    return value


def divergence(
    divergence: Divergence,
    p: Any,
    q: Any,
    *,
    axis: int = -1,
    where: Any = None,
    base: float | None = None,
    axis_name: Any = None,
    implementation: str = "auto",
) -> Array:
    """Evaluate a divergence object; the verbs are lines over this."""
    if isinstance(p, Weighted):
        from .tiles.weighted import weighted

        return weighted(
            divergence, p, q, base=base, axis=axis, where=where, axis_name=axis_name,
            implementation=implementation,
        )  # fmt: skip
    if maybe_member(p) or maybe_member(q):
        from .families.adapters import adapted
        from .families.evaluate import between, refuse

        p, q = adapted("p", p), adapted("q", q)
        if maybe_member(p) or maybe_member(q):
            given = {"axis": (axis, -1), "where": (where, None), "axis_name": (axis_name, None)}
            refuse(**given, implementation=(implementation, "auto"))
            return between(divergence, p, q, base=base)
    checks.check_implementation(implementation)
    log_base = checks.check_base(base, divergence.logarithmic, type(divergence).__name__)
    divergence.check()
    nouns = {"p": as_noun("p", p)}
    nouns["q"] = nouns["p"] if q is p else as_noun("q", q)
    where = None if where is None else jnp.asarray(where)
    if axis_name is not None or any(isinstance(n, Head | TopK) for n in nouns.values()):
        from .tiles.evaluate import evaluate

        value = evaluate(
            divergence.specialise(), nouns["p"], nouns["q"], where,
            axis=axis, axis_name=axis_name, implementation=implementation,
        )  # fmt: skip
        return value if base is None else divergence.in_base(value, log_base)
    form = layout(nouns, axis, where)
    value = _evaluate(
        divergence.specialise(), nouns["p"], nouns["q"], where,
        form=form, implementation=implementation,
    )  # fmt: skip
    return value if base is None else divergence.in_base(value, log_base)
