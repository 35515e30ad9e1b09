"""At p = q, through the public verbs: gradient, Hessian, spectrum and third order.

The Hessian is looked at in coordinates in which theory makes it the identity. With h the second
derivative by q of the summand at p = q (c/p for an f-divergence) it is diag(h) in probabilities,
and size H size = 1 with size = 1/sqrt(h); in logits it is B diag(p^2 h) B^T, B = I - p 1^T. Up to
64 outcomes it is applied to every unit vector; beyond, to random directions and, where it is that
of a sum over the outcomes and so diagonal in probabilities, to ones, which gives it whole. No
matrix of n by n is formed for more. Outcomes outside the support are left out.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._numerics import QUICKLY
from .arithmetic import Bounds, evaluate
from .inertia import eigenvalues_below, logit_curvature, logit_rounding, negative_in_logits
from .points import Points
from .proofs import derivative
from .subject import CHARTS, Subject
from .verdict import Finding, Observation, Sample

_DENSE = 64
_DIRECTIONS = 4
_ENTRIES = 2**18  # numbers of a batch of Hessians: larger ones take longer to compile for
_EIGENVALUES = 4096  # the most matrices whose eigenvalues are computed
_SEEN = 8  # bad points that are looked at again for an observation
_SLACK = 32  # roundings of a second derivative and of the sums it stands in


def epsilon(points: Points) -> float:
    """The rounding of results."""
    return float(jnp.finfo(wide(points.probs).dtype).eps)


def wide(x: Array) -> Array:
    """In the dtype of the results: derivatives are taken there, at the stored numbers."""
    return x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def judged(
    claim: str,
    chart: str,
    figures: Array | np.ndarray,
    allowed: float,
    points: Points,
    note: str,
    *,
    at_least: bool = False,
    seen: Callable[[np.ndarray], Observation] | None = None,
) -> Finding:
    """A sample of figures, one a point; an observation of the worst point where it is too bad.

    `seen` makes the observation from the indices of the worst figures, the worst first. Without
    it, it names p, which is q where the claim is of p = q.
    """
    numbers = np.asarray(figures, np.float64)
    bad = np.where(np.isnan(numbers), np.inf, -numbers if at_least else numbers)
    index = int(np.argmax(bad))
    worst = float(numbers[index])
    sample = Sample(len(numbers), points.source, worst, allowed, at_least)
    if sample.check():
        return Finding(claim, chart, True, sample, note)
    if seen is not None:
        order = np.argsort(-bad, kind="stable")[:_SEEN]
        observation = seen(order[~(bad[order] <= (-allowed if at_least else allowed))])
        return Finding(claim, chart, True, observation, note)
    row = tuple(map(float, np.asarray(points.probs[index % points.count], np.float64)))
    output = worst - allowed if at_least and not np.isnan(worst) else worst
    limit = 0.0 if at_least else allowed
    return Finding(claim, chart, True, Observation(note, {"p": row}, output, limit), note)


def row_of(x: Array, index: int = 0) -> tuple[float, ...]:
    """A row as plain numbers, for an observation."""
    return tuple(map(float, np.asarray(x[index], np.float64)))


def local(subject: Subject, points: Points) -> Iterator[Finding]:
    """Every local property, in both charts."""
    for chart in CHARTS:
        if not subject.traceable or not subject.claims.smooth:
            why = "not smooth at p = q" if subject.traceable else "JAX cannot differentiate it"
            yield Finding("gradient 0 at p = q", chart, note=why)
            yield Finding("Hessian > 0 at p = q", chart, note=why)
            continue
        yield from _derivatives(subject, points, chart)
    if subject.homogeneous and subject.claims.smooth:
        yield _third(subject, points)


def _curvature(subject: Subject, p: Array) -> Array:
    """h: what the theory makes of the second derivative by q at p = q."""
    c = subject.claims.coefficient
    return _bend(subject, p) if c is None else c / p


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICKLY)
def _bend(subject: Subject, p: Array) -> Array:
    summand = subject.divergence.summand  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]

    def second(x: Array) -> Array:
        return jax.grad(jax.grad(lambda y: summand(x, y)))(x)

    return jax.vmap(second)(p.reshape(-1)).reshape(p.shape)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _directions(chart: str, whole: bool, dense: bool, ones: bool, p: Array, mask, h: Array):
    """Directions to apply the Hessian to, (k, m, n), and what theory says comes back, scaled."""
    m, n = p.shape
    some = jnp.ones(p.shape, bool) if mask is None else mask
    size = jnp.where(some, 1 / jnp.sqrt(h) / (1 if chart == CHARTS[0] else p), 0)
    # What is left out on the tangent of the simplex, in scaled coordinates.
    normal = size if chart == CHARTS[0] else jnp.where(some, p * jnp.sqrt(h), 0)
    normal = normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)
    if dense:
        w = jnp.broadcast_to(jnp.eye(n, dtype=p.dtype)[:, None, :], (n, m, n))
    else:
        w = jax.random.normal(jax.random.key(0), (_DIRECTIONS, m, n), p.dtype)
        if ones:
            w = w.at[0].set(jnp.sqrt(h))  # V = ones
    w = jnp.where(some[None], w, 0)
    if not whole:
        w = w - normal[None] * jnp.sum(normal[None] * w, axis=-1, keepdims=True)
    v = size[None] * w
    if chart == CHARTS[0]:
        image = w
    else:
        weight = (p * p * h)[None]
        inner = weight * (v - jnp.sum(p[None] * v, axis=-1, keepdims=True))
        image = size[None] * (inner - p[None] * jnp.sum(inner, axis=-1, keepdims=True))
    return v, w, image, size, normal


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _figures(
    whole: bool, dense: bool, orthogonal: bool, tangent: bool,
    slope: Array, applied: Array, w: Array, image: Array, size: Array, normal: Array, mask,
):  # fmt: skip
    """The largest slope, the Hessian's error, its least eigenvalue or quotient, its diagonal."""
    some = jnp.ones(slope.shape, bool) if mask is None else mask
    if tangent:
        total = jnp.sum(some, axis=-1, keepdims=True)
        slope = slope - jnp.sum(jnp.where(some, slope, 0), axis=-1, keepdims=True) / total
    got = size[None] * jnp.where(some[None], applied, 0)
    if not whole:
        got = got - normal[None] * jnp.sum(normal[None] * got, axis=-1, keepdims=True)
    difference = got - image
    # Where the coordinates are not orthogonal, theory's image may be long.
    length = jnp.maximum(1, jnp.max(jnp.abs(image), axis=-1, keepdims=True))
    error = jnp.max(jnp.abs(difference) / length, axis=(0, -1))
    quotient = jnp.sum(w * got, axis=-1)
    expected = jnp.sum(w * image, axis=-1)
    lowest = jnp.min(jnp.where(expected > 0, quotient / expected, jnp.inf), axis=0)
    if dense and orthogonal:
        # Weyl: no eigenvalue of a symmetric matrix moves by more than the norm of the difference.
        lowest = 1 - jnp.sqrt(jnp.sum(difference * difference, axis=(0, -1)))
    # The diagonal, where it is all there is: the image of ones.
    moved = jnp.where(w != 0, size[None] * w, 1)
    diagonal = jnp.sum(jnp.where(w != 0, applied / moved, 0), axis=0)
    largest = jnp.max(jnp.abs(jnp.where(some, slope, 0)), axis=-1)
    return largest, error, lowest, diagonal if dense else applied[0]


def _chunks(x: Array, mask: Array | None, each: int) -> Iterator[tuple[Array, Array | None]]:
    """Rows a batch at a time, `each` numbers a row; the last is filled up to the others' shape."""
    count = x.shape[0]
    batches = -(-count * each // _ENTRIES)
    size = -(-count // batches)
    for start in range(0, count, size):
        index = np.minimum(np.arange(start, start + size), count - 1)
        # Without a gather, which costs more than the rest, where nothing is to be filled.
        whole = start + size <= count
        chosen = slice(start, start + size) if whole else index
        yield x[chosen], None if mask is None else mask[chosen]


def _derivatives(subject: Subject, points: Points, chart: str) -> Iterator[Finding]:
    n, eps = points.outcomes, epsilon(points)
    c = subject.claims.coefficient
    theory = c is not None or subject.separable
    dense = n <= _DENSE
    if not theory:
        yield from _without_theory(subject, points, chart)
        return
    # A transform of an f-divergence has a Hessian of the masses too, off the simplex.
    whole = chart == CHARTS[0] and subject.separable
    ones = whole and not dense
    orthogonal = chart == CHARTS[0] or c is not None
    x = wide(points.probs if chart == CHARTS[0] else points.logits)
    mask = None if points.whole else points.mask
    k = n if dense else _DIRECTIONS
    results = []
    for rows, own in _chunks(x, mask, n * k):
        # The stored probabilities are those of the stored logits, rounded once more.
        p = rows if chart == CHARTS[0] else jax.nn.softmax(rows, axis=-1)
        p = p if own is None else jnp.where(own, p, 1)
        h = _curvature(subject, p)
        v, w, image, size, normal = _directions(chart, whole, dense, ones, p, own, h)
        slope, applied = subject.applied(chart, rows, rows, own, v)
        results.append(
            _figures(whole, dense, orthogonal, False, slope, applied, w, image, size, normal, own)
        )
    slope, error, lowest, diagonal = (
        jnp.concatenate(parts)[: points.count] for parts in zip(*results, strict=True)
    )
    yield judged("gradient 0 at p = q", chart, slope, 0.0, points, "largest entry")
    # Eigenvalues of a matrix near the identity, each entry a few roundings off: positive for
    # certain when above n times that. Applied, its n roundings are as good as independent.
    rounding = (32 * n if dense else 64 * n**0.5) * eps
    what = "smallest eigenvalue" if (dense and orthogonal) or ones else "smallest x.Hx/x.Tx tried"
    yield judged(
        "Hessian > 0 at p = q", chart, lowest, rounding, points,
        f"{what}, in coordinates where theory T is 1", at_least=True,
    )  # fmt: skip
    if c is not None:
        form = f"{c:g} diag(1/p)" if chart == CHARTS[0] else f"{c:g} (diag(p) - p p^T)"
    else:
        form = "diag(h)" if chart == CHARTS[0] else "B diag(p^2 h) B^T"
    on = "" if chart != CHARTS[0] or whole else " on the simplex"
    yield judged("Hessian as claimed", chart, error, rounding, points, form + on)
    if chart == CHARTS[0] and c is not None:
        yield _spectrum(subject, points, c, diagonal)


def _spectrum(subject: Subject, points: Points, c: float, diagonal: Array) -> Finding:
    """On the tangent: the least eigenvalue is at least max(2, 1/max p), the others interlace 1/p.

    For sums over the outcomes by the inertia of the diagonal that autodiff gives, for others by
    eigenvalues.
    """
    n, eps = points.outcomes, epsilon(points)
    claim, note = "spectrum at p = q", "violations of interlacing and of mu_1 >= max(2, 1/max p)"
    x = wide(points.probs)
    mask = None if points.whole else points.mask
    if subject.separable:
        wrong = _interlacing(diagonal / c, x, mask, 64 * eps)
        return judged(claim, CHARTS[0], wrong, 0.0, points, note)
    count = min(points.count, _EIGENVALUES)
    if n > _DENSE or mask is not None:
        return Finding(
            claim, CHARTS[0], note=f"no sum over the outcomes, and n > {_DENSE} or zeros"
        )
    rows = x[:count]
    units = jnp.broadcast_to(jnp.eye(n, dtype=x.dtype)[:, None, :], (n, *rows.shape))
    _, applied = subject.applied(CHARTS[0], rows, rows, None, units)
    hessian = jnp.moveaxis(applied, 0, 1) / c
    return judged(
        claim, CHARTS[0], _eigenvalues_apart(hessian, rows), 64 * n * eps, points,
        "eigenvalues outside their bounds, by part of the largest",
    )  # fmt: skip


@jax.jit
def _interlacing(d: Array, p: Array, mask: Array | None, slack: float) -> Array:
    some = jnp.ones(p.shape, bool) if mask is None else mask
    sizes = jnp.sort(jnp.where(some, p, 0), axis=-1)[..., ::-1]
    several = jnp.sum(some, axis=-1) > 1
    low = jnp.maximum(2.0, 1 / sizes[..., 0]) * (1 - slack)
    second = sizes[..., 1]
    high = 1 / jnp.where(second > 0, second, 1) * (1 + slack)
    least = jnp.min(jnp.where(some, p, 1), axis=-1)
    top = 1 / least * (1 + slack)
    wrong = (eigenvalues_below(d, low, some) != 0) | (eigenvalues_below(d, high, some) < 1)
    wrong |= eigenvalues_below(d, top, some) != jnp.sum(some, axis=-1) - 1
    return (wrong & several).astype(p.dtype)


@jax.jit
def _eigenvalues_apart(hessian: Array, p: Array) -> Array:
    n = p.shape[-1]
    off = jnp.eye(n, dtype=p.dtype) - 1 / n
    largest = 1 / jnp.min(p, axis=-1)
    inside = off[None] @ hessian @ off[None] + (4 * largest / n)[..., None, None]
    found = jnp.linalg.eigvalsh((inside + jnp.swapaxes(inside, -1, -2)) / 2)[..., : n - 1]
    bounds = 1 / jnp.sort(p, axis=-1)[..., ::-1]
    low = bounds[..., : n - 1].at[..., 0].max(2.0)
    outside = jnp.maximum(low - found, found - bounds[..., 1:])
    return jnp.max(outside, axis=-1) / largest


def _without_theory(subject: Subject, points: Points, chart: str) -> Iterator[Finding]:
    """Of a function of which nothing is known: on the tangent, in its own coordinates."""
    n, eps = points.outcomes, epsilon(points)
    gradient, hessian = "gradient 0 at p = q", "Hessian > 0 at p = q"
    x = wide(points.probs if chart == CHARTS[0] else points.logits)
    if not points.whole:
        x = x[np.asarray(jnp.all(points.mask, axis=-1))]
    if not x.shape[0]:
        why = "every row has a zero, at which a function may have no derivatives"
        yield from (Finding(claim, chart, note=why) for claim in (gradient, hessian))
        return
    dense = n <= _DENSE
    rows = x[: max(1, _ENTRIES // (n * (n if dense else _DIRECTIONS)))]
    size, kink = _growth(subject, chart, rows)
    if kink:
        why = f"not smooth at p = q: D(p, p + t v) / t tends to {kink:.2g} {size:.2g}, not to 0"
        yield from (Finding(claim, chart, note=why) for claim in (gradient, hessian))
        return
    try:
        slope, applied, v = second_order(subject, chart, rows)
    except Exception as error:  # derivative rules of others fail in their own ways
        said = next(iter(str(error).strip().splitlines()), "without a message")
        failed = f"{type(error).__name__}: {said[:120]}"
        inputs = at_one(chart, row_of(rows))
        broken = Observation(f"forward over reverse mode fails, {failed}", inputs, np.nan, 0)
        yield Finding("twice differentiable", chart, None, broken, failed)
        return

    def seen(of: Array, statement: str, limit: float) -> Callable[[np.ndarray], Observation]:
        numbers = np.asarray(of, np.float64)

        def observe(worst: np.ndarray) -> Observation:
            index = int(worst[0])
            inputs = at_one(chart, row_of(rows, index))
            return Observation(statement, inputs, float(numbers[index]), limit)

        return observe

    largest = largest_slope(slope)
    note = "largest entry on the tangent of the simplex"
    allowed = 64 * n**0.5 * eps * size
    statement = "as computed, the gradient by q at q = p has an entry on the tangent of the simplex"
    yield judged(
        gradient, chart, largest, allowed, points, note, seen=seen(largest, statement, allowed)
    )
    lowest = least_curvature(chart, rows, applied, v)
    note = (
        "smallest eigenvalue on the tangent, in coordinates where its diagonal is 1"
        if dense
        else "smallest x.Hx/x.x tried"
    )
    allowed = 32 * n * eps * (1 if dense else size)
    # An eigenvalue of 0 is no better than one below: what is observed is by how much it falls
    # short of what is certainly above 0.
    short = jnp.where(jnp.isnan(lowest), lowest, lowest - allowed)
    statement = f"as computed, the Hessian by q at q = p isn't positive, {note}, less its rounding"
    yield judged(
        hessian, chart, lowest, allowed, points, note,
        at_least=True, seen=seen(short, statement, 0.0),
    )  # fmt: skip


def at_one(chart: str, row: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    """The inputs of an observation at p = q."""
    return at_pair(chart, row, row)


def at_pair(chart: str, p: tuple[float, ...], q: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    """The inputs of an observation."""
    return {"p": p, "q": q} if chart == CHARTS[0] else {"logits of p": p, "logits of q": q}


def second_order(subject: Subject, chart: str, rows: Array) -> tuple[Array, Array, Array]:
    """The gradient by q at q = p, the Hessian applied to directions, and those, (k, m, n)."""
    n = rows.shape[-1]
    if n <= _DENSE:
        v = jnp.broadcast_to(jnp.eye(n, dtype=rows.dtype)[:, None, :], (n, *rows.shape))
    else:
        v = jax.random.normal(jax.random.key(0), (_DIRECTIONS, *rows.shape), rows.dtype)
        v = v - jnp.mean(v, axis=-1, keepdims=True)
    slope, applied = subject.applied(chart, rows, rows, None, v)
    return slope, applied, v


def largest_slope(slope: Array) -> Array:
    """The largest entry of gradients on the tangent of the simplex."""
    return jnp.max(jnp.abs(slope - jnp.mean(slope, axis=-1, keepdims=True)), axis=-1)


def least_curvature(chart: str, rows: Array, applied: Array, v: Array) -> Array:
    """The least eigenvalue of Hessians on the tangent; the least quotient where n is large."""
    if v.shape[-1] > _DENSE:
        return jnp.min(jnp.sum(v * applied, -1) / jnp.sum(v * v, -1), axis=0)
    hessian = jnp.moveaxis(applied, 0, 1)
    found = _least_on_tangent(hessian) if chart == CHARTS[0] else _least_of_logits(hessian, rows)
    return jnp.where(jnp.all(jnp.isfinite(hessian), axis=(-1, -2)), found, jnp.nan)


@jax.jit
def _least_on_tangent(hessian: Array) -> Array:
    """Of S H S, in whose coordinates the diagonal is 1, so that small p cost no digits."""
    n = hessian.shape[-1]
    # A multiple of the ones changes nothing on the tangent. Without its mean, what is off the
    # diagonal no longer hides it: that of the root or the logarithm of a sum may be negative.
    apart = jnp.sum(hessian * (1 - jnp.eye(n, dtype=hessian.dtype))[None], axis=(-1, -2))
    hessian = hessian - apart[..., None, None] / (n * (n - 1))
    scaled, scale = _scaled(hessian)
    normal = scale / jnp.linalg.norm(scale, axis=-1, keepdims=True)
    beyond = normal[..., :, None] * normal[..., None, :]
    inside = jnp.eye(n, dtype=hessian.dtype)[None] - beyond
    return _least(inside @ scaled @ inside + 4 * n * beyond)


@jax.jit
def _least_of_logits(hessian: Array, logits: Array) -> Array:
    """The same modulo constants: with the largest logit held, so that small p cost no digits."""
    n = hessian.shape[-1]
    held = jax.nn.one_hot(jnp.argmax(logits, axis=-1), n, dtype=hessian.dtype)
    free = (1 - held)[..., :, None] * (1 - held)[..., None, :]
    scaled, _ = _scaled(hessian * free)
    return _least(scaled * free + 4 * n * held[..., :, None] * held[..., None, :])


def _scaled(hessian: Array) -> tuple[Array, Array]:
    """S H S with 1 on the diagonal, or -1, and the diagonal of S."""
    diagonal = jnp.abs(jnp.diagonal(hessian, axis1=-2, axis2=-1))
    largest = jnp.max(diagonal, axis=-1, keepdims=True)
    tiny = jnp.finfo(hessian.dtype).tiny
    scale = jax.lax.rsqrt(jnp.maximum(diagonal, 1e-12 * largest + tiny))
    return scale[..., :, None] * hessian * scale[..., None, :], scale


def _least(matrix: Array) -> Array:
    return jnp.linalg.eigvalsh((matrix + jnp.swapaxes(matrix, -1, -2)) / 2)[..., 0]


def _growth(subject: Subject, chart: str, rows: Array) -> tuple[float, float]:
    """The size of D a step away from p = q, and its kink there, as part of that; 0 if smooth.

    The part of D(p, q) that is even in the step falls with the square of a short step where D is
    smooth, and with the step itself where there is a kink, as of |p - q|.
    """
    noise = jax.random.normal(jax.random.key(7), rows.shape, rows.dtype)
    own = subject.values(chart, rows, rows, None)

    def even(t: float) -> float:
        total = -2 * own
        for step in (t * noise, -t * noise):
            moved = jax.nn.softmax(jnp.log(rows) + step) if chart == CHARTS[0] else rows + step
            total = total + subject.values(chart, rows, moved, None)
        found = np.asarray(total, np.float64)
        found = found[np.isfinite(found)]
        return float(np.median(np.abs(found))) / 2 if len(found) else 0.0

    size, near, nearer = even(1.0), even(0.1) / 0.1, even(0.01) / 0.01
    kink = nearer / size if size and near and 0.5 < nearer / near < 2 else 0.0
    return size or 1.0, kink


def pairs_inertia(subject: Subject, points: Points) -> Iterator[Finding]:
    """Away from p = q: no negative eigenvalue in q's logits where D is convex in them, in O(n).

    Of sums over the outcomes, whose second derivatives by q the Hessian gives along ones; at rows
    paired with others, by the program that looks at p = q.
    """
    if not (subject.separable and subject.claims.convex_in_q_logits):
        return
    claim = "no negative eigenvalue by q"
    if not points.whole:
        yield Finding(claim, CHARTS[1], note="rows with zeros are paired with none")
        return
    n = points.outcomes
    k = n if n <= _DENSE else _DIRECTIONS
    parts = []
    for q, _ in _chunks(wide(points.probs), None, n * k):
        counts = []
        for i in range(k):
            p = jnp.roll(q, i + 1, axis=0)
            g, (h, *_) = subject.applied(CHARTS[0], p, q, None, jnp.ones((k, *q.shape), q.dtype))
            # More curvature, by what rounding may have taken, never adds a negative eigenvalue.
            slack = _SLACK * epsilon(points) * logit_rounding(q, g, h)
            counts.append(np.asarray(negative_in_logits(q, logit_curvature(q, g, h) + slack)))
        parts.append(np.max(counts, axis=0))
    most = np.concatenate(parts)[: points.count].astype(np.float64)
    yield judged(claim, CHARTS[1], most, 0.0, points, f"the most of {k} pairs, by inertia")


def _at_one(f: Callable[[Array], Array]) -> float:
    """f(1), without a program of its own where arithmetic has the rules."""
    try:
        bounds = Bounds.lift(evaluate(f, Bounds(1.0)))
    except (NotImplementedError, ArithmeticError, AttributeError):
        with jax.enable_x64(True):
            return float(jax.jit(f)(jnp.asarray(1.0, jnp.float64)))
    return float(bounds.lower + bounds.upper) / 2


def _third(subject: Subject, points: Points) -> Finding:
    """The third derivative by q is -(3 f''(1) + f'''(1)) / p^2 on the diagonal."""
    generator = subject.generator
    assert generator is not None
    second, third = (_at_one(derivative(generator, order)) for order in (2, 3))
    want, size = -(3 * second + third), 3 * abs(second) + abs(third)
    x = wide(points.probs)
    mask = None if points.whole else points.mask
    parts = []
    for rows, own in _chunks(x, mask, points.outcomes):
        got = subject.third(rows, rows, own) * rows * rows
        off = jnp.abs(got - want) / size
        parts.append(np.asarray(jnp.max(off if own is None else jnp.where(own, off, 0), axis=-1)))
    # Three nested derivatives of a few roundings each.
    allowed = 64 * epsilon(points)
    note = f"{want:g} / p^2 by q: f'' = {second:g}, f''' = {third:g} at 1"
    off = np.concatenate(parts)[: points.count]
    return judged("third order at p = q", CHARTS[0], off, allowed, points, note)
