"""Values and derivatives of a function as computed, and the formula that they are of.

That a divergence is not negative is a fact of rows that add up to 1, and rounded rows do not. So a
function of somebody else is given rows that do so exactly: multiples of a power of two.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .local import at_pair, epsilon, judged, row_of, wide
from .points import Points
from .properties import CONVEXITY, Property
from .search import gap_of, random_rows
from .subject import CHARTS, Subject
from .verdict import Finding, Observation, Sample

_SCALES = tuple(10.0**k for k in range(-8, 2))
Pair = tuple[Array, Array, Array | None]  # a row p, a row q, and which outcomes belong to them


def neighbours(points: Points, seed: int) -> Array:
    """Normal numbers of the logits' shape, for perturbations."""
    shape = points.logits.shape
    return wide(jax.random.normal(jax.random.key(seed), shape, jnp.float32).astype(points.dtype))


def values(subject: Subject, points: Points) -> Iterator[Finding]:
    """D >= 0 at every perturbation scale, 0 for equal rows and only for them.

    Of a function also whether it survives zeros, and whether its derivatives are its own.
    """
    for chart in CHARTS:
        yield from signs(subject, points, chart)
    if subject.divergence is None:
        yield from at_zeros(subject)
        if subject.traceable:
            yield from modes(subject)


def signs(subject: Subject, points: Points, chart: str) -> Iterator[Finding]:
    """Where D is 0, where it is above."""
    exact = subject.divergence is None and chart == CHARTS[0]
    mask = None if points.whole else points.mask
    x = wide(points.probs if chart == CHARTS[0] else points.logits)
    x = exactly(x) if exact else x
    noise = neighbours(points, 1)

    @functools.lru_cache(maxsize=1)
    def moved(scale: float) -> tuple[Array, Array]:
        y, apart = _moved(chart, x, scale * noise, points.mask)
        if exact:
            y = exactly(y)
            apart = jnp.max(jnp.abs(y - x), axis=-1)
        return y, apart

    lows, zeros = [], []
    for scale in _SCALES:
        y, apart = moved(scale)
        value = np.asarray(subject.values(chart, x, y, mask))
        lows.append(value)
        zeros.append(np.where(value > 0, 0, np.asarray(apart)))
    low, apart = np.concatenate(lows), np.concatenate(zeros)

    def pair(index: int) -> Pair:
        i = index % points.count
        own = None if mask is None else mask[i]
        return x[i], moved(_SCALES[index // points.count])[0][i], own

    def negative(value: float, *_: Array) -> tuple[str, float] | None:
        said = "NaN" if np.isnan(value) else "negative"
        return None if value >= 0 else (f"D(p, q) is {said}", value)

    shown = float(np.min(low, initial=np.inf))
    below = np.where(np.isnan(low), np.nan, np.maximum(-low, 0))
    finding = judged(
        "never negative", chart, below, 0.0, points, f"lowest {shown:.2e}",
        seen=_alone(subject, chart, pair, low, negative),
    )  # fmt: skip
    # Of a function of probabilities, nothing is stated of the rounding of a softmax before it.
    ours = subject.divergence is not None or chart == CHARTS[0]
    yield finding if ours else dataclasses.replace(finding, stated=None)
    # Logits that round to the same distribution have no divergence to show: theory says
    # positive only for probabilities that differ.
    if chart == CHARTS[0]:

        def not_above(value: float, p: Array, q: Array) -> tuple[str, float] | None:
            said = f"D(p, q) is {value:.3g}, but p and q differ, by"
            return None if value > 0 else (said, _apart(p, q))

        note = "largest |p - q| where D is not above 0"
        yield judged(
            "positive where p and q differ", chart, apart, 0.0, points, note,
            seen=_alone(subject, chart, pair, low, not_above),
        )  # fmt: skip

    def same(index: int) -> Pair:
        return x[index], x[index], None if mask is None else mask[index]

    def not_zero(value: float, *_: Array) -> tuple[str, float] | None:
        return None if value == 0 else ("D(p, p) is not 0", value)

    own = np.asarray(subject.values(chart, x, x, mask))
    yield judged(
        "exactly 0 at p = q", chart, np.abs(own), 0.0, points, "largest value",
        seen=_alone(subject, chart, same, own, not_zero),
    )  # fmt: skip


def _apart(p: Array, q: Array) -> float:
    return float(np.max(np.abs(np.asarray(p, np.float64) - np.asarray(q, np.float64))))


def _alone(
    subject: Subject,
    chart: str,
    pair: Callable[[int], Pair],
    figures: np.ndarray,
    fault: Callable[[float, Array, Array], tuple[str, float] | None],
) -> Callable[[np.ndarray], Observation]:
    """An observation of the first of the worst pairs whose fault shows when it is called alone.

    So whoever calls the function with these rows sees it, too. Compilers may compute the rows of a
    batch otherwise: where only they show it, the observation says so.
    """

    def seen(worst: np.ndarray) -> Observation:
        for alone in (True, False):
            for index in map(int, worst):
                p, q, own = pair(index)
                value = float(subject.value(chart, p, q, own)) if alone else float(figures[index])
                found = fault(value, p, q)
                if found is not None:
                    where = "as computed" if alone else "as computed in a compiled batch"
                    rows = at_pair(chart, row_of(p[None]), row_of(q[None]))
                    return Observation(f"{where}, {found[0]}", rows, found[1], 0.0)
        raise AssertionError("a bad figure was no fault")

    return seen


def exactly(x: Array) -> Array:
    """Rows that add up to 1 in exact arithmetic: the nearest multiples of half an epsilon."""
    unit = float(jnp.finfo(x.dtype).eps) / 2
    rows = np.asarray(x, np.float64)
    whole = round(1 / unit)
    counts = np.where(rows > 0, np.maximum(np.rint(rows * whole), 1), 0).astype(np.int64)
    largest = np.argmax(counts, axis=-1)[..., None]
    rest = whole - np.sum(counts, axis=-1, keepdims=True)
    np.put_along_axis(counts, largest, np.take_along_axis(counts, largest, -1) + rest, -1)
    return jnp.asarray(counts * unit, x.dtype)


# A zero in p, in q, in both at the same outcome, and equal rows with one.
_ZEROS = {
    "a zero in p": ((0.5, 0.0, 0.25, 0.25), (0.125, 0.5, 0.25, 0.125)),
    "a zero in q": ((0.125, 0.5, 0.25, 0.125), (0.5, 0.0, 0.25, 0.25)),
    "a zero in both": ((0.5, 0.0, 0.25, 0.25), (0.125, 0.0, 0.625, 0.25)),
    "p = q with a zero": ((0.5, 0.0, 0.25, 0.25), (0.5, 0.0, 0.25, 0.25)),
}


def at_zeros(subject: Subject) -> Iterator[Finding]:
    """Whether values and derivatives are numbers, or infinite, at rows with zeros."""
    for claim, ask in (
        ("values at zeros", _value_at_zero),
        ("derivatives at zeros", _derivatives_at_zero),
    ):
        if ask is _derivatives_at_zero and not subject.traceable:
            yield Finding(claim, CHARTS[0], note="JAX cannot differentiate it")
            continue
        faults: dict[str, list[str]] = {}
        for where, rows in _ZEROS.items():
            for fault in _asked(ask, subject, rows):
                faults.setdefault(fault, []).append(where)
        if not faults:
            sample = Sample(len(_ZEROS), "a zero in p, in q, in both", 0.0, 0.0)
            yield Finding(claim, CHARTS[0], True, sample, "how many are NaN")
            continue
        said = "; ".join(f"{fault} at {', '.join(where)}" for fault, where in faults.items())
        p, q = _ZEROS[next(iter(faults.values()))[0]]
        observation = Observation(f"as computed, {said}. The first", {"p": p, "q": q}, np.nan, 0.0)
        yield Finding(claim, CHARTS[0], True, observation, said)


def _asked(ask: Callable[..., list[str]], subject: Subject, rows: tuple[tuple[float, ...], ...]):
    p, q = (jnp.asarray(row, jnp.float32) for row in rows)
    try:
        return ask(subject, p, q)
    except Exception as error:  # functions of others fail in ways of their own
        return [f"it fails ({failure(error.__cause__ or error)})"]


def _value_at_zero(subject: Subject, p: Array, q: Array) -> list[str]:
    return ["D is NaN"] if np.isnan(float(subject.value(CHARTS[0], p, q))) else []


def _derivatives_at_zero(subject: Subject, p: Array, q: Array) -> list[str]:
    slopes = jax.grad(functools.partial(subject.value, CHARTS[0]), (0, 1))(p, q)
    return [
        f"its derivative by {name} is NaN"
        for name, slope in zip("pq", slopes, strict=True)
        if bool(jnp.any(jnp.isnan(slope)))
    ]


def failure(error: BaseException) -> str:
    """The first line of what a function of somebody else fails with."""
    said = next(iter(str(error).strip().splitlines()), "without a message")
    return f"{type(error).__name__}: {said[:160]}"


# Parts by which a derivative may be off from differences: those are no better, in float32.
_OFF = 1e-2


def modes(subject: Subject) -> Iterator[Finding]:
    """Derivatives in every mode, against differences of what they are derivatives of.

    What JAX derives from a program is right; what somebody declared, by `custom_jvp` or
    `custom_vjp`, may be anything.
    """
    with jax.enable_x64(True):
        generator = np.random.default_rng(3)
        a, b, da, db = generator.standard_normal((4, 16, 5))
        p, q = (jax.nn.softmax(jnp.asarray(x)) for x in (a, b))
        # Along the simplex, in proportion to the masses.
        v, w = (x * (d - jnp.sum(x * d, -1, keepdims=True)) for x, d in ((p, da), (q, db)))

        def value(p: Array, q: Array) -> Array:
            return subject.value(CHARTS[0], p, q)

        def slope(p: Array, q: Array) -> tuple[Array, Array]:
            return jax.grad(lambda p, q: jnp.sum(value(p, q)), (0, 1))(p, q)

        def along(p: Array, q: Array) -> Array:
            by_p, by_q = slope(p, q)
            return jnp.sum(by_p * v + by_q * w, axis=-1)

        checks: tuple[tuple[str, Callable[..., Array], Callable[..., Array]], ...] = (
            ("forward-mode derivative", lambda *x: jax.jvp(value, x, (v, w))[1], value),
            ("reverse-mode derivative", along, value),
            ("second derivative", lambda *x: jax.jvp(along, x, (v, w))[1], along),
        )
        for claim, derivative, function in checks:
            yield _against_differences(claim, derivative, function, (p, q), (v, w))


def _against_differences(
    claim: str,
    derivative: Callable[..., Array],
    function: Callable[..., Array],
    rows: tuple[Array, Array],
    direction: tuple[Array, Array],
) -> Finding:
    chart = CHARTS[0]
    p, q = (row_of(x) for x in rows)
    try:
        got = np.asarray(derivative(*rows), np.float64)
    except Exception as error:  # derivative rules of others fail in their own ways
        broken = Observation(f"it fails, {failure(error)}", {"p": p, "q": q}, np.nan, 0.0)
        return Finding(claim, chart, None, broken, "not in this mode")

    def difference(t: float) -> np.ndarray:
        ahead, behind = (
            np.asarray(function(*(x + s * t * d for x, d in zip(rows, direction, strict=True))))
            for s in (1, -1)
        )
        return (ahead.astype(np.float64) - behind) / (2 * t)

    # A short step is for functions in float64; the longer is for those that are float32 within.
    steps = [difference(t) for t in (1e-4, 1e-2)]
    size = np.median(np.abs(steps[1])) + np.abs(got) + np.abs(steps[1])
    errors = np.stack([np.abs(got - step) for step in steps])
    off = np.min(errors, axis=0) / np.where(size == 0, 1, size)
    worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
    sample = Sample(len(got), "softmax of normal rows, seed 3", float(off[worst]), _OFF)
    if sample.check():
        return Finding(claim, chart, True, sample, "off from differences, as part of it")
    nearest = steps[int(np.argmin(errors[:, worst]))][worst]
    what = "the gradient" if claim.startswith("second") else "D"
    statement = (
        f"as computed along the directions, the {claim} is {got[worst]:.6g}, but differences of "
        f"{what} give {nearest:.6g}, which is off by"
    )
    inputs = {
        name: row_of(x, worst)
        for name, x in zip(
            ("p", "q", "direction of p", "direction of q"), (*rows, *direction), strict=True
        )
    }
    output = float(got[worst] - nearest)
    return Finding(claim, chart, True, Observation(statement, inputs, output, 0.0))


def observed(subject: Subject, prop: Property, outcomes: int, seed: int = 0) -> Observation | None:
    """The worst rows of a property that fails as computed, of a function that can't be read.

    What rounding could do is not looked at: the sides must be apart by a thousand times as much.
    """
    with jax.enable_x64(True):
        rows = random_rows(prop, outcomes, seed)
        gaps = np.asarray(gap_of(computed(subject), prop, rows))
        index = int(np.argmax(gaps))
        own = {name: row[index] for name, row in rows.items()}
        left, right = (float(side) for side in prop.sides(computed(subject), own))
        result = subject.value(CHARTS[0], *(jnp.asarray([0.5, 0.5]),) * 2)
        eps = float(jnp.finfo(np.asarray(result).dtype).eps)
        inputs = {
            name: tuple(np.asarray(jax.nn.softmax(row), np.float64).reshape(-1).tolist())
            for name, row in own.items()
        }
    if not left - right > 1e4 * eps * (1 + abs(left) + abs(right)):
        return None
    statement = f"as computed, {prop.failure}: {left:.6g} > {right:.6g}, by"
    return Observation(statement, inputs, left - right, 0.0)


def computed(subject: Subject) -> Callable[[Array, Array], Array]:
    """The function itself, where no formula can be read, of rows along any axes."""

    def function(p: Array, q: Array) -> Array:
        shape = jnp.broadcast_shapes(p.shape, q.shape)
        rows = [jnp.broadcast_to(x, shape).reshape(-1, shape[-1]) for x in (p, q)]
        return subject.searched(CHARTS[0], *rows).reshape(shape[:-1])

    return function


@jax.jit
def _step(x: Array, noise: Array) -> Array:
    y = x * jnp.exp(noise)
    return y / jnp.sum(y, axis=-1, keepdims=True)


def _moved(chart: str, x: Array, noise: Array, mask: Array) -> tuple[Array, Array]:
    if chart == CHARTS[0]:
        y = _step(x, noise)
        return y, jnp.max(jnp.abs(y - x), axis=-1)
    y = jnp.where(mask, x + noise, -jnp.inf)
    # Rows that differ by a constant are the same distribution.
    d = jnp.where(mask, y - x, 0)
    first = jnp.argmax(mask, axis=-1)[:, None]
    return y, jnp.any(mask & (d != jnp.take_along_axis(d, first, 1)), axis=-1)


def formula(subject: Subject, points: Points) -> Finding:
    """The function computes its definition, on which proofs are built."""
    claim, chart = "computes its definition", CHARTS[0]
    if subject.divergence is None or subject.definition is None:
        return Finding(claim, chart, note="it has no closed form")
    definition = subject.definition
    if not points.whole:
        return Finding(claim, chart, note="the definition is of p, q > 0")
    # Rows of few bits add up to 1 only roughly; the definition is of distributions.
    noise = neighbours(points, 6)
    x = _step(wide(points.probs), jnp.zeros_like(noise))
    y = _step(x, noise)
    got = np.asarray(subject.values(chart, x, y), np.float64)
    with jax.enable_x64(True):
        # Exactly the stored rows: normalised anew, or transforms would see their masses.
        p, q = (jnp.asarray(np.asarray(row, np.float64)) for row in (x, y))
        p, q = (row / jnp.sum(row, axis=-1, keepdims=True) for row in (p, q))
        want = np.asarray(definition(p, q))
    # Normalising moves a stored row by as much as it was rounded by, n of them at most.
    allowed = 64 * points.outcomes**0.5 * epsilon(points)
    off = np.abs(got - want) / np.maximum(np.abs(want), 1e-2)

    def seen(worst: np.ndarray) -> Observation:
        i = int(worst[0])
        statement = f"as computed D is {got[i]:.9g}, by its definition {want[i]:.9g}; part off"
        rows = {"p": row_of(x, i), "q": row_of(y, i)}
        return Observation(statement, rows, float(off[i]), allowed)

    return judged(claim, chart, off, allowed, points, "off, as part of the value", seen=seen)


def jensen(subject: Subject, points: Points) -> Iterator[Finding]:
    """D at a point of a segment is at most the mean of D at its ends, as computed."""
    eps = epsilon(points)
    mask = None if points.whole else points.mask
    shuffles = [jnp.where(points.mask, neighbours(points, seed), -jnp.inf) for seed in range(2, 5)]
    t = wide(jax.random.uniform(jax.random.key(5), (points.count, 1)).astype(points.dtype))
    for prop, stated in zip(CONVEXITY, convexity_claims(subject), strict=True):
        if not stated:
            continue
        moving, chart = prop.claim.removeprefix("convex in "), prop.chart
        if chart == "logits":
            own, (other, start, end) = wide(points.logits), shuffles
        else:
            own = wide(points.probs)
            other, start, end = (jax.nn.softmax(s, axis=-1) for s in shuffles)
        p_end = end if "p" in moving else own
        q_start, q_end = (other, start) if "q" in moving else (other, other)
        first = subject.values(chart, own, q_start, mask)
        last = subject.values(chart, p_end, q_end, mask)
        middle = subject.values(
            chart, _mix(own, p_end, t, points.mask), _mix(q_start, q_end, t, points.mask), mask
        )
        # The values and the mixture are rounded: a few roundings of the values, and of the
        # point, to which the divergence is as sensitive as it is large.
        excess = _excess(first, middle, last, t[:, 0])
        path = "mixtures" if chart == CHARTS[0] else "exponential paths"
        ends = {
            "p0": own, "q0": q_start, "p1": p_end, "q1": q_end, "t": jnp.broadcast_to(t, own.shape)
        }  # fmt: skip

        def seen(worst: np.ndarray, ends=ends, excess=excess) -> Observation:
            i = int(worst[0])
            rows = {name: row_of(x[:, :1] if name == "t" else x, i) for name, x in ends.items()}
            statement = "as computed, D at (1 - t) (p0, q0) + t (p1, q1) exceeds the mean, by"
            return Observation(statement, rows, float(excess[i]), 64 * eps)

        yield judged(
            f"Jensen along {path} of {moving}", chart, excess, 64 * eps, points, "excess", seen=seen
        )


@jax.jit
def _mix(a: Array, b: Array, t: Array, mask: Array) -> Array:
    return jnp.where(mask, (1 - t) * a + t * b, a)


@jax.jit
def _excess(first: Array, middle: Array, last: Array, t: Array) -> Array:
    mean = (1 - t) * first + t * last
    infinite = jnp.isinf(mean)  # nothing exceeds an infinite mean
    return jnp.where(infinite, 0, (middle - mean) / (1 + jnp.where(infinite, 0, mean)))


def convexity_claims(subject: Subject) -> tuple[bool | None, ...]:
    """What is stated of each of `CONVEXITY`."""
    c = subject.claims
    return (
        c.convex_in_p,
        c.convex_in_q,
        c.jointly_convex,
        c.convex_in_p_logits,
        c.convex_in_q_logits,
    )
