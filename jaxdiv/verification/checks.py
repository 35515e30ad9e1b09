"""Checks of one divergence: around p = q by autodiff, and along segments away from it.

Every figure is an error divided by what it is an error of, so that a tolerance is a number of
roundings; each is derived beside the check that uses it. A property that is not claimed is listed
as such, never silently skipped.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._catalogue import Entry
from .._divergence import Separable
from .._finite import Logits, Probs
from .points import Points
from .report import Check, Report

_DENSE = 64  # the most outcomes for which the Hessian is formed
_DIRECTIONS = 4  # along which it is applied for more
_ENTRIES = 2**18  # of Hessians, or of rows where none is formed, that are in memory at once
_SCALES = tuple(10.0**k for k in range(-8, 2))

Function = Callable[[Array, Array, Array], Array]


def verify(
    entry: Entry, points: Points, *, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Check what `entry` claims at `points`; the worst figure of each property is reported."""
    device = next(iter(points.probs.devices()))
    checks = []
    for check in _all_checks(entry, points):
        progress(f"{entry.name}: {check.claim}, {check.chart}")
        checks.append(check)
    return Report(
        name=entry.name,
        title=entry.title,
        device=f"{device.platform} ({device.device_kind})",
        dtype=str(points.probs.dtype),
        outcomes=points.outcomes,
        checks=tuple(checks),
    )


def _all_checks(entry: Entry, points: Points) -> Iterator[Check]:
    for chart in ("probabilities", "logits"):
        yield from _local(entry, points, chart)
    yield from _positive(entry, points)
    yield from _segments(entry, points)


@functools.lru_cache(maxsize=256)
def _verb(entry: Entry, chart: str) -> Function:
    noun = Probs if chart == "probabilities" else Logits

    @jax.jit
    def verb(p: Array, q: Array, mask: Array) -> Array:
        return entry(noun(p), noun(q), where=mask)

    return verb


def _epsilon(points: Points) -> float:
    wide = points.probs.dtype == jnp.float64
    return float(jnp.finfo(jnp.float64 if wide else jnp.float32).eps)


def _wide(points: Points, x: Array) -> Array:
    """In the dtype of the results: derivatives are taken there, at the stored numbers."""
    return x.astype(jnp.float64 if points.probs.dtype == jnp.float64 else jnp.float32)


def _worst(values: Array) -> float:
    """The largest, with NaN larger than anything."""
    values = jnp.where(jnp.isnan(values), jnp.inf, values)
    return float(jnp.max(values))


def _in_chunks(function: Callable[..., Any], each: int, *arrays: Array) -> list[Array]:
    """Outputs of a function of batches, over points a chunk at a time, each of `each` entries."""
    count, chunk = arrays[0].shape[0], max(1, _ENTRIES // each)
    parts = [
        function(*(x[start : start + chunk] for x in arrays)) for start in range(0, count, chunk)
    ]
    return [jnp.concatenate(x) for x in zip(*parts, strict=True)]


def _local(entry: Entry, points: Points, chart: str) -> Iterator[Check]:
    """The gradient at p = q, and the Hessian in coordinates in which theory makes it c times 1.

    In probabilities sqrt(P) H sqrt(P) = c I for H = c diag(1/p); in logits, where
    H = c (diag(p) - p p^T), H between two P^(-1/2) is c I off the direction sqrt(p). A transform
    of an f-divergence is compared on the tangent of the simplex: off the simplex it has a
    Hessian of the masses too.

    For many outcomes the Hessian is not formed but applied, to random directions and, where it is
    that of a sum over the outcomes and so diagonal in probabilities, to ones, which gives it whole.
    """
    claims, n, epsilon = entry.claims, points.outcomes, _epsilon(points)
    if not claims.smooth:
        for name in ("gradient 0 at p = q", "Hessian > 0 at p = q"):
            note = "not smooth at p = q"
            yield Check(name, chart, 0, 0.0, 0.0, note, applies=False)
        return
    c = claims.coefficient
    count = points.count
    dense = n <= _DENSE
    at = (_local_figures if dense else _applied_figures)(entry, chart)
    x = _wide(points, points.probs if chart == "probabilities" else points.logits)
    # The stored probabilities are those of the stored logits, rounded once more.
    probs = x if chart == "probabilities" else jax.nn.softmax(x, axis=-1)
    slope, error, lowest = _in_chunks(
        at, n * n if dense else n * _DIRECTIONS, probs, x, points.mask
    )
    yield Check("gradient 0 at p = q", chart, count, _worst(slope), 0.0, "largest entry")
    whole_spectrum = dense or (chart == "probabilities" and _diagonal(entry))
    # Eigenvalues of a matrix near the identity, each entry a few roundings off: positive for
    # certain when above n times that. Applied, its n roundings are as good as independent.
    rounding = (32 * n if dense else 64 * n**0.5) * epsilon
    yield Check(
        "Hessian > 0 at p = q",
        chart,
        count,
        -_worst(-lowest),
        rounding,
        f"smallest {'eigenvalue' if whole_spectrum else 'x.Hx/x.x tried'} in scaled coordinates",
        at_least=True,
    )
    if c is None:
        note = "no multiple of diag(1/p) is claimed"
        yield Check("Hessian as claimed", chart, 0, 0.0, 0.0, note, applies=False)
    else:
        form = "diag(1/p)" if chart == "probabilities" else "(diag(p) - p p^T)"
        on = "" if chart == "logits" or _homogeneous(entry) else " on the simplex"
        yield Check(
            "Hessian as claimed", chart, count, _worst(error), rounding, f"{c:g} {form}{on}"
        )


def _homogeneous(entry: Entry) -> bool:
    return getattr(entry.divergence, "homogeneous", False)


@functools.lru_cache(maxsize=256)
def _local_figures(entry: Entry, chart: str) -> Callable[..., Any]:
    """Largest gradient, Hessian's error and least eigenvalue at p = q, of a batch of points."""
    verb = _verb(entry, chart)
    whole = chart == "probabilities" and _homogeneous(entry)
    c = entry.claims.coefficient

    def at(p: Array, x: Array, mask: Array):
        n = p.shape[-1]
        slope = jax.grad(verb, 1)(x, x, mask)
        hessian = jax.hessian(verb, 1)(x, x, mask)
        p = jnp.where(mask, p, 1)
        root = jnp.sqrt(p)
        size = root if chart == "probabilities" else 1 / root
        # Outcomes outside the support are given the claimed curvature: they say nothing.
        outside = jnp.diag(jnp.where(mask, 0, 1).astype(p.dtype))
        if c is not None:
            scaled = size[:, None] * hessian * size[None, :] / c + outside
            if not whole:
                u = jnp.where(mask, root, 0)
                u = u / jnp.linalg.norm(u)
                keep = jnp.eye(n, dtype=p.dtype) - jnp.outer(u, u)
                scaled = keep @ scaled @ keep + jnp.outer(u, u)
            error = jnp.max(jnp.abs(scaled - jnp.eye(n, dtype=p.dtype)))
        else:
            # No form is claimed: scaled by its own diagonal, off the vector of ones in logits.
            hessian = hessian + outside
            d = jnp.sqrt(jnp.abs(jnp.diag(hessian)))
            scaled = hessian / jnp.outer(d, d)
            if chart == "logits":
                u = jnp.where(mask, d, 0)
                u = u / jnp.linalg.norm(u)
                keep = jnp.eye(n, dtype=p.dtype) - jnp.outer(u, u)
                scaled = keep @ scaled @ keep + jnp.outer(u, u)
            error = jnp.zeros((), p.dtype)
        return jnp.max(jnp.abs(slope)), error, jnp.linalg.eigvalsh(scaled)[0]

    return jax.jit(jax.vmap(at))


def _diagonal(entry: Entry) -> bool:
    """Whether the Hessian in probabilities is diagonal."""
    return isinstance(entry.divergence, Separable)


@functools.lru_cache(maxsize=256)
def _applied_figures(entry: Entry, chart: str) -> Callable[..., Any]:
    """As `_local_figures`, without forming the Hessian."""
    verb = _verb(entry, chart)
    whole = chart == "probabilities" and _homogeneous(entry)
    c = entry.claims.coefficient

    def at(p: Array, x: Array, mask: Array):
        n = p.shape[-1]

        def gradient(y: Array) -> Array:
            return jax.grad(verb, 1)(x, y, mask)

        def apply(v: Array) -> Array:
            return jax.jvp(gradient, (x,), (v,))[1]

        root = jnp.sqrt(jnp.where(mask, p, 1))
        u = jnp.where(mask, root, 0)
        u = u / jnp.linalg.norm(u)
        size = root if chart == "probabilities" else 1 / root

        def off_u(w: Array) -> Array:
            return w if whole else w - u * (u @ w)

        def along(key: Array) -> tuple[Array, Array]:
            w = off_u(jnp.where(mask, jax.random.normal(key, (n,), p.dtype), 0))
            image = off_u(size * apply(size * w)) / (c or 1)
            error = jnp.max(jnp.abs(jnp.where(mask, image - w, 0)))
            return (w @ image) / (w @ w), error

        quotients, errors = jax.vmap(along)(jax.random.split(jax.random.key(0), _DIRECTIONS))
        lowest, error = jnp.min(quotients), jnp.max(errors)
        if _diagonal(entry) and chart == "probabilities":
            diagonal = apply(jnp.ones_like(p)) * p / (c or 1)
            lowest = jnp.min(jnp.where(mask, diagonal, jnp.inf))
        return jnp.max(jnp.abs(gradient(x))), error, lowest

    return jax.jit(jax.vmap(at))


def _neighbours(points: Points, seed: int) -> Array:
    """Normal numbers of the logits' shape, for perturbations."""
    shape = points.logits.shape
    noise = jax.random.normal(jax.random.key(seed), shape, jnp.float32)
    return _wide(points, noise)


def _positive(entry: Entry, points: Points) -> Iterator[Check]:
    """D > 0 for rows that differ, 0 for rows that do not, at every perturbation scale."""
    for chart in ("probabilities", "logits"):
        verb = _verb(entry, chart)
        x = points.probs if chart == "probabilities" else points.logits
        x = _wide(points, x)
        noise, count, low, zero, equal = _neighbours(points, 1), 0, np.inf, 0, 0.0
        for scale in _SCALES:
            if chart == "logits":
                y = jnp.where(points.mask, x + scale * noise, -jnp.inf)
                # Rows that differ by a constant are the same distribution.
                d = jnp.where(points.mask, y - x, 0)
                first = jnp.argmax(points.mask, axis=-1)[:, None]
                differs = jnp.any(points.mask & (d != jnp.take_along_axis(d, first, 1)), axis=-1)
            else:
                y = x * jnp.exp(scale * noise)
                y = y / jnp.sum(y, axis=-1, keepdims=True)
                differs = jnp.any(y != x, axis=-1)
            value = verb(x, y, points.mask)
            low = min(low, float(jnp.min(jnp.where(jnp.isnan(value), -jnp.inf, value))))
            zero += int(jnp.sum(differs & ~(value > 0)))
            count += points.count
        equal = _worst(jnp.abs(verb(x, x, points.mask)))
        yield Check("never negative", chart, count, max(0.0, -low), 0.0, f"lowest {low:.2e}")
        # Logits that round to the same distribution have no divergence to show: theory says
        # positive only for probabilities that differ.
        if chart == "probabilities":
            yield Check(
                "positive where p and q differ", chart, count, float(zero), 0.0, "violations"
            )
        yield Check("exactly 0 at p = q", chart, points.count, equal, 0.0, "largest value")


def _segments(entry: Entry, points: Points) -> Iterator[Check]:
    """D at a point of a segment is at most the mean of D at its ends, with t from 0 to 1."""
    claims = entry.claims
    epsilon = _epsilon(points)
    shuffles = [jnp.where(points.mask, _neighbours(points, seed), -jnp.inf) for seed in range(2, 5)]
    t = jax.random.uniform(jax.random.key(5), (points.count, 1), jnp.float32)
    t = _wide(points, t)

    def ends(chart: str) -> tuple[Array, ...]:
        if chart == "logits":
            own = _wide(points, points.logits)
            return own, *(jnp.where(points.mask, s, -jnp.inf) for s in shuffles)
        return _wide(points, points.probs), *(jax.nn.softmax(s, axis=-1) for s in shuffles)

    def mix(a: Array, b: Array) -> Array:
        mixed = (1 - t) * a + t * b
        return jnp.where(points.mask, mixed, a)

    for claimed, moving, chart in (
        (claims.convex_in_p, "p", "probabilities"),
        (claims.convex_in_q, "q", "probabilities"),
        (claims.jointly_convex, "(p, q)", "probabilities"),
        (claims.convex_in_p_logits, "p", "logits"),
        (claims.convex_in_q_logits, "q", "logits"),
    ):
        name = f"convex in {moving}"
        if not claimed:
            note = "not claimed" if claimed is None else "claimed not to be"
            yield Check(name, chart, 0, 0.0, 0.0, note, applies=False)
            continue
        verb = _verb(entry, chart)
        own, other, start, end = ends(chart)
        p_start, p_end = (own, end) if "p" in moving else (own, own)
        q_start, q_end = (other, start) if "q" in moving else (other, other)
        first = verb(p_start, q_start, points.mask)
        last = verb(p_end, q_end, points.mask)
        middle = verb(mix(p_start, p_end), mix(q_start, q_end), points.mask)
        mean = (1 - t[:, 0]) * first + t[:, 0] * last
        infinite = jnp.isinf(mean)  # nothing exceeds an infinite mean
        excess = jnp.where(infinite, 0, (middle - mean) / (1 + jnp.where(infinite, 0, mean)))
        # The values and the mixture are rounded: a few roundings of the values, and of the
        # point, to which the divergence is as sensitive as it is large.
        yield Check(name, chart, points.count, _worst(excess), 64 * epsilon, "D(mix) - mean of D")
