"""Assertions for the tests of any project: what a divergence must be, of anybody's function.

    from jaxdiv.verification.asserts import assert_convex, assert_divergence, assert_stationary_at

    def test_my_loss():
        assert_divergence(my_loss)
        assert_stationary_at(my_loss, jnp.array([0.5, 0.3, 0.2]))
        assert_convex(my_loss, "q")

Each takes a function of (p, q), along the last axis, in JAX or not, a divergence object or a name
of the catalogue. What fails is shown with the numbers at which it does.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .local import largest_slope, least_curvature, second_order
from .points import random_points
from .properties import CONVEXITY, NON_NEGATIVE, Property
from .search import search
from .subject import CHARTS, Subject, subject_of
from .values import computed, observed, signs
from .verdict import Observation


def assert_stationary_at(
    fn: Any, p: Any, *, q_argument: int = 1, atol: float | None = None
) -> None:
    """fn(p, q) has a strict local minimum at q = p, to second order.

    The gradient by q vanishes at q = p on the tangent of the simplex, d fn . v = 0 for all v with
    sum v = 0, and the Hessian is positive there, v . H v > 0. Derivatives are JAX's; of a function
    that JAX can't trace they are differences in float64.

    Args:
        fn: A function of (p, q) that returns a number a row, a divergence or a name.
        p: A distribution, (n,), or several, (..., n); every probability must be above 0.
        q_argument: Which argument moves, 0 or 1.
        atol: The largest entry of the gradient, less its mean, that is allowed; by default what
            rounding makes of gradients of the divergence's size: 64 sqrt(n) epsilons of it.

    Raises:
        AssertionError: It is not stationary, or not curved upwards; the message shows p.
        ValueError: p is no distribution inside the simplex, or fn returns no number a row.
        TypeError: fn can't be called.

    Example:
        >>> assert_stationary_at(jaxdiv.kl_divergence, jnp.array([0.5, 0.3, 0.2]))
    """
    subject = subject_of(fn)
    inside = _inside(p)
    if q_argument not in (0, 1):
        raise ValueError(f"q_argument must be 0 or 1, but is {q_argument}")
    function = subject.function if q_argument else lambda p, q: subject.function(q, p)
    if subject.traceable:
        rows = jnp.asarray(inside, jnp.result_type(float) if _doubles(p) else jnp.float32)
        moving = Subject(subject.name, subject.title, function, subject.claims)
        slope, applied, v = second_order(moving, CHARTS[0], rows)
        largest, lowest = largest_slope(slope), least_curvature(CHARTS[0], rows, applied, v)
        rounding = float(jnp.finfo(rows.dtype).eps)
        far = subject.values(CHARTS[0], rows, jnp.asarray(_tilted(inside), rows.dtype), None)
        positive, by = 32 * rows.shape[-1] * rounding, ""
    else:
        largest, lowest, rounding = _by_differences(function, inside)
        far = function(inside, _tilted(inside))
        positive, by = 0.0, ", by differences"
    size = float(np.median(np.abs(np.asarray(far, np.float64))))
    size = size if np.isfinite(size) and size > 0 else 1.0
    allowed = 64 * inside.shape[-1] ** 0.5 * rounding * size if atol is None else atol
    moved = "pq"[q_argument]
    worst = int(np.argmax(np.where(np.isnan(largest), np.inf, largest)))
    if not float(largest[worst]) <= allowed:
        raise AssertionError(
            f"{subject.name} is not stationary at p = q: its gradient by {moved} has an entry of "
            f"{float(largest[worst]):.3g} on the tangent of the simplex{by} (allowed "
            f"{allowed:.3g}) at {_shown(inside[worst])}"
        )
    worst = int(np.argmin(np.where(np.isnan(lowest), -np.inf, lowest)))
    if not float(lowest[worst]) > positive:
        raise AssertionError(
            f"{subject.name} is not curved upwards at p = q: the smallest curvature by {moved} "
            f"on the tangent of the simplex{by}, as part of its diagonal, is "
            f"{float(lowest[worst]):.3g} at {_shown(inside[worst])}"
        )


def assert_convex(
    fn: Any,
    moving: str = "q",
    *,
    chart: str = "probabilities",
    outcomes: int = 3,
    seed: int = 0,
) -> None:
    """fn is convex: halfway between two points it is at most the mean of both.

    fn((x + y)/2) <= (fn(x) + fn(y))/2 for x, y the moving arguments: probabilities on a segment,
    or logits, whose softmax runs along an exponential path. It searches: thousands of random pairs,
    the most promising of which climb. A counterexample that is within rounding is none.

    Args:
        fn: A function of (p, q) that returns a number a row, a divergence or a name.
        moving: "p", "q" or "(p, q)" for both at once.
        chart: What it is convex in, "probabilities" or "logits"; "(p, q)" only in probabilities.
        outcomes: Outcomes of the distributions.
        seed: Of the random pairs.

    Raises:
        AssertionError: It is not convex; the message shows the points and both sides.
        ValueError: `moving` and `chart` are none of these, or fn returns no number a row.
        TypeError: fn can't be called.

    Example:
        >>> assert_convex("kl", "(p, q)")
    """
    known = {(prop.claim.removeprefix("convex in "), prop.chart): prop for prop in CONVEXITY}
    if (moving, chart) not in known:
        pairs = ", ".join(f"{m!r} in {c}" for m, c in known)
        raise ValueError(f"convexity in {moving!r} in {chart} is not known; there are: {pairs}")
    subject = subject_of(fn)
    found = _counterexample(subject, known[moving, chart], outcomes, seed)
    if found:
        raise AssertionError(f"{subject.name} is not convex in {moving}, in {chart}: {found}")


def assert_divergence(
    fn: Any, *, outcomes: int = 8, count: int = 200, seed: int = 0, atol: float = 0.0
) -> None:
    """fn is a divergence: never negative, 0 where p = q, and positive elsewhere.

    At random distributions in float32 and their neighbours at distances from 1e-8 to 10, and by a
    search in float64. Rows add up to 1 exactly, so that no value below 0 is their fault.

    Args:
        fn: A function of (p, q) that returns a number a row, a divergence or a name.
        outcomes: Outcomes of the distributions.
        count: How many there are.
        seed: Of their numbers.
        atol: How far below 0, or from 0 at p = q, a rounded value may be. If it is above 0, rows
            are asked to have a positive divergence only where some probabilities differ by a tenth.

    Raises:
        AssertionError: It is none; the message shows p, q and the value.
        ValueError: fn returns no number a row, or depends on more than p and q.
        TypeError: fn can't be called.

    Example:
        >>> assert_divergence(lambda p, q: jnp.sum((p - q) ** 2, -1))
    """
    subject = subject_of(fn)
    for finding in signs(subject, random_points(count, outcomes, seed, jnp.float32), CHARTS[0]):
        evidence = finding.evidence
        if not isinstance(evidence, Observation):
            continue
        apart = finding.claim.startswith("positive")
        if not abs(evidence.output) <= (0.1 if apart and atol > 0 else atol):
            cure = f" (allowed {atol:.3g}; atol allows for rounding)" if not apart else ""
            raise AssertionError(f"{subject.name} is no divergence: {evidence.describe()}{cure}")
    found = _counterexample(subject, NON_NEGATIVE, 3, seed)
    if found:
        raise AssertionError(f"{subject.name} is no divergence: {found}")


def _counterexample(subject: Subject, prop: Property, outcomes: int, seed: int) -> str:
    """What refutes a property, or nothing."""
    readable = subject.definition is not None
    function = subject.definition or computed(subject)
    found = search(function, prop, outcomes, seed, climb=readable)
    witness = found.witness
    if witness is None and not found.sample.check():
        witness = observed(subject, prop, outcomes, seed)
    return "" if witness is None else witness.describe()


def _doubles(p: Any) -> bool:
    return getattr(p, "dtype", None) == np.float64


def _inside(p: Any) -> np.ndarray:
    """Distributions, (m, n), above 0."""
    rows = np.asarray(p)
    if rows.ndim < 1 or rows.shape[-1] < 2 or not rows.size:
        raise ValueError(
            f"p must be a distribution, (n,), or several, (..., n), n > 1, but its shape is "
            f"{rows.shape}"
        )
    wide = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
    if not np.all(wide > 0) or not np.allclose(np.sum(wide, axis=-1), 1, atol=1e-3):
        bad = np.argmax(~(np.all(wide > 0, -1) & np.isclose(np.sum(wide, -1), 1, atol=1e-3)))
        raise ValueError(
            f"p must be a distribution inside the simplex, above 0 and with sum 1, but a row is "
            f"{_shown(wide[bad])}"
        )
    return wide / np.sum(wide, axis=-1, keepdims=True)


def _tilted(rows: np.ndarray) -> np.ndarray:
    """Distributions an order of one away from these."""
    moved = rows * np.exp(np.linspace(-1, 1, rows.shape[-1]))
    return moved / np.sum(moved, axis=-1, keepdims=True)


def _by_differences(function: Any, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Slopes and curvatures along p_i (e_i - p), which span the tangent, and their rounding."""
    own = np.asarray(function(p, p))
    step, rounding = (1e-4, 1e-6) if own.dtype == np.float64 else (3e-2, 1e-5)
    slopes, curvatures = [], []
    for i in range(p.shape[-1]):
        v = step * p * (np.eye(p.shape[-1])[i] - p[..., i : i + 1])
        ahead, behind = (np.asarray(function(p, q), np.float64) for q in (p + v, p - v))
        slopes.append(np.abs(ahead - behind) / (2 * step))
        size = np.abs(ahead) + np.abs(behind) + np.abs(own)
        curvatures.append((ahead + behind - 2 * own) / np.where(size > 0, size, 1))
    return np.max(slopes, axis=0), np.min(curvatures, axis=0), rounding


def _shown(row: Any) -> str:
    numbers = ", ".join(f"{float(x):.6g}" for x in row[:8])
    return f"({numbers}{', ...' if len(row) > 8 else ''})"
