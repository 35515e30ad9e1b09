"""Proofs over a range by bisection."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..._numerics import QUICKLY
from ._interpret import enclose, inlined, smooth
from ._rounding import Interval, tiny

_BATCH = 256  # boxes that are evaluated at a time
_PENDING, _PROVED, _SPLIT, _UNDECIDED, _REFUTED = range(5)


@dataclass(frozen=True)
class Cover:
    """Boxes that tile a range, and what is certain on each.

    Attributes:
        lower: Lower ends, ascending; each is the upper end of the box before.
        upper: Upper ends.
        bound: A number below all values of the function on the box.
        undecided: Whether the box is neither proved nor refuted.
        threshold: What the function is to reach.
        refuted: The index of a box on which the function is certainly below the threshold.
    """

    lower: np.ndarray
    upper: np.ndarray
    bound: np.ndarray
    undecided: np.ndarray
    threshold: float = 0.0
    refuted: int | None = None

    @property
    def proved(self) -> bool:
        """Whether the claim holds on the whole range."""
        return self.refuted is None and not bool(self.undecided.any())


def at_least(
    g: Callable[[Array], Array],
    lower: float,
    upper: float,
    threshold: float = 0.0,
    *,
    smooth_of: Callable[[Array], Array] | None = None,
    initial: int | None = None,
    max_boxes: int = 2**14,
    depth: int = 64,
) -> Cover:
    """Prove g(t) >= threshold for all real t with lower <= t <= upper.

    Boxes of which nothing is known yet are halved, oldest first, until all are proved, one is
    refuted, or there are too many; in float64. Boxes of positive numbers are halved
    geometrically while they are wide.

    Args:
        g: A function from a scalar to a scalar.
        lower: Where the range begins.
        upper: Where it ends.
        threshold: The claimed bound.
        smooth_of: A function that must also be smooth on each box: that of which g is a
            derivative.
        initial: How many boxes to begin with; one for each octave by default.
        max_boxes: How many boxes may tile the range in the end.
        depth: How many times one box may be halved.

    Returns:
        A `Cover`. It is proved if it holds; the rest of its boxes say where it may not.

    Raises:
        ValueError: The range is empty or not finite, or there are more initial boxes than allowed.
        NotImplementedError: g or `smooth_of` meets a primitive without a rule.
    """
    lower, upper = float(lower), float(upper)
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise ValueError(f"lower < upper must both be finite, not {lower} and {upper}")
    if any(0 < abs(end) < tiny(np.float64) for end in (lower, upper)):
        raise ValueError(f"an end of the range is subnormal: {lower}, {upper}")
    edges = _edges(lower, upper, initial)
    if len(edges) - 1 > max_boxes:
        raise ValueError(f"{len(edges) - 1} initial boxes are more than max_boxes = {max_boxes}")
    with jax.enable_x64(True):
        # Every split makes two boxes of one, and one more leaf.
        capacity = 2 * max_boxes - (len(edges) - 1)
        search = functools.partial(_search, g, smooth_of, capacity, depth)
        search = jax.jit(search, compiler_options=QUICKLY)
        state = jax.device_get(search(edges[:-1], edges[1:], threshold))
    return _cover(state, threshold)


def convex(f: Callable[[Array], Array], lower: float, upper: float, **options: Any) -> Cover:
    """Prove that f is smooth and f'' >= 0 between two points; options as for `at_least`.

    The derivative is that of what f computes, whatever derivative rules it declares.
    """
    plain = inlined(f)
    return at_least(jax.grad(jax.grad(plain)), lower, upper, smooth_of=plain, **options)


def _edges(lower: float, upper: float, initial: int | None) -> np.ndarray:
    if lower > 0 or upper < 0:
        sign = 1 if lower > 0 else -1
        octaves = sorted(math.log2(abs(end)) for end in (lower, upper))
        count = initial or max(1, math.ceil(octaves[1] - octaves[0]))
        inner = np.sort(sign * np.exp2(np.linspace(octaves[0], octaves[1], count + 1)))[1:-1]
    else:
        inner = np.linspace(lower, upper, (initial or 1) + 1)[1:-1]
    inner = inner[(inner > lower) & (inner < upper)]
    return np.unique(np.concatenate([[lower], inner, [upper]]))


def _middle(lower: Array, upper: Array) -> Array:
    """A number between two ends; any one will do."""
    size_low, size_high = jnp.abs(lower), jnp.abs(upper)
    one_sign = (lower > 0) | (upper < 0)
    ratio = jnp.maximum(size_low, size_high) > 2 * jnp.minimum(size_low, size_high)
    geometric = jnp.sign(lower) * jnp.sqrt(size_low) * jnp.sqrt(size_high)
    return jnp.where(one_sign & ratio, geometric, 0.5 * lower + 0.5 * upper)


def _search(
    g: Callable[[Array], Array],
    smooth_of: Callable[[Array], Array] | None,
    capacity: int,
    depth: int,
    lower: Array,
    upper: Array,
    threshold: Array,
) -> dict[str, Array]:
    """All boxes ever made, in the order in which they were: a queue that forgets nothing."""
    n, total = lower.shape[0], capacity + _BATCH

    def evaluate(low: Array, high: Array) -> tuple[Interval, Array]:
        box = Interval(low, high)
        return enclose(g, box), jnp.asarray(True) if smooth_of is None else smooth(smooth_of, box)

    def go_on(s: dict[str, Array]) -> Array:
        return (s["head"] < s["tail"]) & ~s["refuted"]

    def step(s: dict[str, Array]) -> dict[str, Array]:
        head, tail = s["head"], s["tail"]
        low, high, level = (
            lax.dynamic_slice(s[name], (head,), (_BATCH,)) for name in ("lower", "upper", "level")
        )
        present = head + jnp.arange(_BATCH) < tail
        values, passed = jax.vmap(evaluate)(low, high)
        proved = (values.lower >= threshold) & passed
        refuted = (values.upper < threshold) & passed & present
        middle = _middle(low, high)
        possible = (level < depth) & (low < middle) & (middle < high)
        split = present & ~proved & ~refuted & possible
        # The two halves of the k-th box that is split go to places 2k and 2k + 1 after the tail.
        place = tail + 2 * (jnp.cumsum(split) - 1)
        split = split & (place + 2 <= capacity)
        status = jnp.where(split, _SPLIT, jnp.where(proved, _PROVED, _UNDECIDED))
        status = jnp.where(refuted, _REFUTED, status)
        status = jnp.where(present, status, _PENDING)
        place = jnp.where(split, place, total)
        new = {"lower": (low, middle), "upper": (middle, high), "level": (level + 1, level + 1)}
        result = dict(s)
        for name, halves in new.items():
            for i, half in enumerate(halves):
                result[name] = result[name].at[place + i].set(half, mode="drop")
        result["bound"] = lax.dynamic_update_slice(s["bound"], values.lower, (head,))
        result["status"] = lax.dynamic_update_slice(s["status"], status, (head,))
        result["head"] = jnp.minimum(head + _BATCH, tail)
        result["tail"] = tail + 2 * jnp.sum(split)
        result["refuted"] = jnp.any(refuted)
        return result

    first = {
        "lower": jnp.ones(total).at[:n].set(lower),
        "upper": jnp.ones(total).at[:n].set(upper),
        "level": jnp.zeros(total, int),
        "bound": jnp.full(total, -jnp.inf),
        "status": jnp.full(total, _PENDING),
        "head": jnp.asarray(0),
        "tail": jnp.asarray(n),
        "refuted": jnp.asarray(False),
    }
    return lax.while_loop(go_on, step, first)


def _cover(state: dict[str, np.ndarray], threshold: float) -> Cover:
    leaf = state["status"] != _SPLIT
    leaf[int(state["tail"]) :] = False
    boxes = {name: state[name][leaf] for name in ("lower", "upper", "bound", "status")}
    order = np.argsort(boxes["lower"])
    boxes = {name: values[order] for name, values in boxes.items()}
    pending = boxes["status"] == _PENDING
    refuted = np.flatnonzero(boxes["status"] == _REFUTED)
    return Cover(
        lower=boxes["lower"],
        upper=boxes["upper"],
        bound=np.where(pending, -np.inf, boxes["bound"]),
        undecided=pending | (boxes["status"] == _UNDECIDED),
        threshold=threshold,
        refuted=int(refuted[0]) if len(refuted) else None,
    )
