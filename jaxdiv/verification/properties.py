"""Properties as inequalities left <= right between values of a divergence.

Rows are logarithms of weights, so that a distribution is exactly softmax(row) and every float is a
point to search at. A property fails where left > right: `search` looks for such rows and interval
arithmetic confirms them.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

Function = Callable[[Array, Array], Array]  # D of two rows of probabilities, along the last axis
Rows = dict[str, Array]
Sides = tuple[Array, Array]


@dataclasses.dataclass(frozen=True)
class Property:
    """What must not happen, `failure`, in which rows, and the two sides."""

    claim: str
    chart: str
    failure: str
    rows: tuple[str, ...]
    sides: Callable[[Function, Rows], Sides]
    channel: bool = False  # whether there is also a row-stochastic matrix, "channel"


def softmax(row: Array) -> Array:
    """Normalised weights, written for interval arithmetic: every weight appears once."""
    weights = jnp.exp(row)
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


def convexity(moving: str, chart: str) -> Property:
    """D halfway between two points is at most the mean of D at both."""
    p_moves, q_moves = "p" in moving, "q" in moving
    rows = (*(("p0", "p1") if p_moves else ("p",)), *(("q0", "q1") if q_moves else ("q",)))

    def along(rows: Rows, name: str) -> tuple[Array, Array, Array]:
        if name in rows:
            fixed = softmax(rows[name])
            return fixed, fixed, fixed
        start, end = rows[f"{name}0"], rows[f"{name}1"]
        if chart == "logits":
            middle = softmax((start + end) / 2)
        else:
            middle = (softmax(start) + softmax(end)) / 2
        return softmax(start), softmax(end), middle

    def sides(divergence: Function, rows: Rows) -> Sides:
        (p0, p1, p), (q0, q1, q) = along(rows, "p"), along(rows, "q")
        return divergence(p, q), (divergence(p0, q0) + divergence(p1, q1)) / 2

    path = "exponential path" if chart == "logits" else "segment"
    failure = f"D halfway along the {path} exceeds the mean of D at its ends"
    return Property(f"convex in {moving}", chart, failure, rows, sides)


def _swap(divergence: Function, rows: Rows) -> Sides:
    p, q = softmax(rows["p"]), softmax(rows["q"])
    return divergence(p, q), divergence(q, p)


def _non_negative(divergence: Function, rows: Rows) -> Sides:
    value = divergence(softmax(rows["p"]), softmax(rows["q"]))
    return jnp.zeros_like(value), value


def triangle(root: bool) -> Property:
    """D(p, r) <= D(p, q) + D(q, r), or so for its square root."""

    def sides(divergence: Function, rows: Rows) -> Sides:
        p, q, r = (softmax(rows[name]) for name in ("p", "q", "r"))

        def distance(x: Array, y: Array) -> Array:
            value = divergence(x, y)
            return jnp.sqrt(value) if root else value

        return distance(p, r), distance(p, q) + distance(q, r)

    name = "sqrt D" if root else "D"
    claim = "its square root is a metric" if root else "metric"
    return Property(
        claim, "", f"{name}(p, r) > {name}(p, q) + {name}(q, r)", ("p", "q", "r"), sides
    )


def bounded(bound: float) -> Property:
    """D <= bound."""

    def sides(divergence: Function, rows: Rows) -> Sides:
        value = divergence(softmax(rows["p"]), softmax(rows["q"]))
        return value, jnp.full_like(value, bound)

    return Property(f"at most {bound:.6g}", "", f"D(p, q) > {bound:.6g}", ("p", "q"), sides)


def _processed(divergence: Function, rows: Rows) -> Sides:
    p, q, channel = softmax(rows["p"]), softmax(rows["q"]), softmax(rows["channel"])

    def through(x: Array) -> Array:
        return jnp.sum(x[..., :, None] * channel, axis=-2)

    return divergence(through(p), through(q)), divergence(p, q)


def _product(x: Array, y: Array) -> Array:
    joint = x[..., :, None] * y[..., None, :]
    return joint.reshape(*joint.shape[:-2], -1)


def _of_products(divergence: Function, rows: Rows, names: str) -> tuple[Array, Array, Array]:
    """D of two pairs, and of the pair of their products."""
    p, q, r, s = (softmax(rows[name]) for name in names)
    return divergence(p, q), divergence(r, s), divergence(_product(p, r), _product(q, s))


def products(law: str | float) -> Property:
    """What D of products is; "no" asks whether any k makes 1 + k D multiply."""

    def sides(divergence: Function, rows: Rows) -> Sides:
        first, second, both = _of_products(divergence, rows, "pqrs")
        if law == "no":
            third, fourth, other = _of_products(divergence, rows, "uvwx")
            return (
                (both - first - second) / (first * second),
                (other - third - fourth) / (third * fourth),
            )
        if law == "sub-additive":
            return both, first + second
        if law == "additive":
            return jnp.abs(both - first - second), jnp.zeros_like(both)
        k = float(law)
        return jnp.abs(1 + k * both - (1 + k * first) * (1 + k * second)), jnp.zeros_like(both)

    joint = "D(p x r || q x s)"
    claims = {
        "no": ("a product rule", f"({joint} - D - D') / (D D') takes two values"),
        "sub-additive": ("sub-additive on products", f"{joint} > D + D'"),
        "additive": ("additive on products", f"{joint} differs from D + D'"),
    }
    claim, failure = claims.get(
        str(law), (f"1 + k D multiplies, k = {law}", f"1 + k {joint} differs from the product")
    )
    rows = tuple("pqrsuvwx" if law == "no" else "pqrs")
    return Property(claim, "", failure, rows, sides)


NON_NEGATIVE = Property("minimal at p = q", "", "D(p, q) < 0", ("p", "q"), _non_negative)
SYMMETRIC = Property("symmetric", "", "D(p, q) > D(q, p)", ("p", "q"), _swap)
PROCESSING = Property(
    "data processing", "", "D grows through a channel", ("p", "q"), _processed, channel=True
)
CONVEXITY = tuple(
    convexity(moving, chart)
    for moving, chart in (
        ("p", "probabilities"),
        ("q", "probabilities"),
        ("(p, q)", "probabilities"),
        ("p", "logits"),
        ("q", "logits"),
    )
)
