"""What is stated of families of distributions, seen through the public verbs.

Members are drawn at random, and moved by every scale from the rounding of their parameters on. What
theory says is computed from the log-partition alone, in float64; the verbs don't read it.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from .._verbs import bhattacharyya_distance, kl_divergence, renyi_divergence
from ..families.base import Family
from ..families.catalogue import FAMILIES, FamilyEntry
from ..families.fisher import information_by_partition
from .report import Report
from .verdict import Finding, Observation, Sample

_SCALES = tuple(10.0**k for k in range(-8, 1))
_ORDERS = (0.25, 0.5, 1.0, 2.0)
_PROMISE = 64  # ulp, of values; second derivatives at p = q are sums of a few such numbers
_CHART = "parameters"


def entry_of(what: Any) -> FamilyEntry | None:
    """The row of a family, by name or by class; None for what is none."""
    if isinstance(what, FamilyEntry):
        return what
    if isinstance(what, str):
        return FAMILIES.get(what)
    return next((row for row in FAMILIES.values() if row.family is what), None)


def verify_family(entry: FamilyEntry, count: int, seed: int, dtype: Any) -> Report:
    """Draw members and look at KL and Renyi's divergences between them."""
    device = next(iter(jnp.zeros(()).devices()))
    members = entry.members(entry.numbers(jax.random.key(seed), 1, dtype))
    return Report(
        name=entry.name,
        title=(entry.family.__doc__ or "").splitlines()[0],
        device=f"{device.platform} ({device.device_kind})",
        dtype=str(jnp.dtype(dtype)),
        outcomes=sum(x.size for x in jax.tree.leaves(members)),
        source=f"seed {seed}",
        findings=tuple(_findings(entry, count, seed, dtype)),
    )


def _findings(entry: FamilyEntry, count: int, seed: int, dtype: Any) -> Iterator[Finding]:
    key, other = jax.random.split(jax.random.key(seed))
    numbers, noise = entry.numbers(key, count, dtype), entry.numbers(other, count, dtype)
    p = entry.members(numbers)
    eps = float(jnp.finfo(jnp.float64 if dtype == jnp.float64 else jnp.float32).eps)
    source = f"{len(_SCALES)} scales, seed {seed}"

    def judged(
        claim: str, figures: Any, allowed: float, note: str, *, at_least: bool = False
    ) -> Finding:
        worst = np.asarray(figures, np.float64).reshape(-1)
        bad = np.where(np.isnan(worst), np.inf, -worst if at_least else worst)
        index = int(np.argmax(bad))
        sample = Sample(worst.size, source, float(worst[index]), allowed, at_least)
        if sample.check():
            return Finding(claim, _CHART, True, sample, note)
        seen = _member(p, index % count)
        return Finding(claim, _CHART, True, Observation(note, seen, sample.worst, allowed), note)

    def moved(scale: float) -> Family:
        steps = {name: (scale * x).astype(x.dtype) for name, x in noise.items()}
        return entry.members({name: u + steps[name] for name, u in numbers.items()})

    def at(q: Family, *orders: float) -> Array:
        return jnp.stack([renyi_divergence(p, q, order) for order in orders])

    near = [moved(scale) for scale in _SCALES]
    values = jnp.stack([kl_divergence(p, q) for q in near])
    yield judged("never negative", -values, 0.0, "-KL")
    yield judged("exactly 0 at p = q", jnp.abs(kl_divergence(p, p)), 0.0, "KL")
    if entry.family.regular:
        freedom = _freedom(p, tuple(numbers), entry)
        gradient, hessian = _derivatives(p, jnp.asarray(freedom, dtype), tuple(numbers))
        steepest = jnp.max(jnp.abs(gradient), axis=-1)
        yield judged("gradient 0 at p = q", steepest, 0.0, "largest entry")
        yield from _information(p, hessian, freedom, eps, judged)
    else:
        yield Finding("gradient 0 at p = q", _CHART, note="its support depends on its parameters")
    try:
        rise = jnp.concatenate([_falls(at(q, *_ORDERS)) for q in near])
    except NotImplementedError as error:
        yield Finding("Renyi's rises with its order", _CHART, note=str(error))
        return
    yield judged("Renyi's rises with its order", rise, _PROMISE * eps, "relative fall")
    apart = [_apart(bhattacharyya_distance(p, q), bhattacharyya_distance(q, p)) for q in near]
    yield judged("Bhattacharyya's is symmetric", jnp.stack(apart), _PROMISE * eps, "relative")
    same = [_apart(at(q, 1.0)[0], kl) for q, kl in zip(near, values, strict=True)]
    yield judged("Renyi's of order 1 is KL", jnp.stack(same), _PROMISE * eps, "relative")


def _member(members: Family, index: int) -> dict[str, tuple[float, ...]]:
    """The parameters of one member, for an observation."""
    return {
        name: tuple(map(float, np.asarray(x, np.float64)[index].reshape(-1)))
        for name, x in vars(members).items()
        if isinstance(x, Array) and x.ndim
    }


def _apart(x: Array, y: Array) -> Array:
    """|x - y| / y; infinities are equal."""
    return jnp.where(x == y, 0, jnp.abs(x - y) / jnp.where(y > 0, y, 1))


def _falls(values: Array) -> Array:
    """By how much of itself a divergence falls from one order to the next; infinities don't."""
    low, high = values[:-1], values[1:]
    fine = jnp.isfinite(low) & jnp.isfinite(high) & (low > 0)
    fall = jnp.where(fine, (low - high) / jnp.where(fine, low, 1), 0)
    return jnp.where(jnp.isnan(values[:-1]) | jnp.isnan(values[1:]), jnp.nan, fall)


def _freedom(p: Family, names: tuple[str, ...], entry: FamilyEntry) -> np.ndarray:
    """For each member, how its parameters follow from coordinates without constraints.

    A matrix (parameters, coordinates), 0 at the member: of a matrix in `lower` what is in the lower
    triangle, of a vector in `unit` what is across it.
    """
    blocks = []
    for name in names:
        x = np.asarray(getattr(p, name), np.float64)
        count, size = x.shape[0], int(np.prod(x.shape[1:]))
        block = np.broadcast_to(np.eye(size), (count, size, size))
        if name in entry.lower:
            block = block[:, :, np.tril(np.ones(x.shape[1:], bool)).reshape(-1)]
        elif name in entry.unit:
            block = np.linalg.qr(np.concatenate([x[..., None], block], axis=-1))[0][..., 1:]
        blocks.append(block)
    rows, columns = (sum(block.shape[axis] for block in blocks) for axis in (1, 2))
    full = np.zeros((blocks[0].shape[0], rows, columns))
    row = column = 0
    for block in blocks:
        _, height, width = block.shape
        full[:, row : row + height, column : column + width] = block
        row, column = row + height, column + width
    return full


@functools.partial(jax.jit, static_argnums=(2,))
def _derivatives(p: Family, freedom: Array, names: tuple[str, ...]) -> tuple[Array, Array]:
    """Gradient and Hessian of KL(p || q) by coordinates of q's parameters of those names at q = p.

    In the order in which the parameters are declared, as the rows of the Fisher information are.
    """

    def one(member: Any, freedom: Array) -> tuple[Array, Array]:
        x, rebuilt = ravel_pytree(tuple(getattr(member, name) for name in names))

        def value(v: Array) -> Array:
            moved = dict(zip(names, rebuilt(x + freedom @ v), strict=True))
            return kl_divergence(member, dataclasses.replace(member, **moved))

        still = jnp.zeros(freedom.shape[1], x.dtype)
        return jax.grad(value)(still), jax.hessian(value)(still)

    return jax.vmap(one)(p, freedom)


def _information(
    p: Family, hessian: Array, freedom: np.ndarray, eps: float, judged: Any
) -> Iterator[Finding]:
    """The Hessian beside the Fisher information, in units in which its diagonal is 1."""
    found = np.asarray(hessian, np.float64)
    with jax.enable_x64(True):
        stored = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)), p)
        try:
            information = np.asarray(information_by_partition(stored))
            theory = np.swapaxes(freedom, -1, -2) @ information @ freedom
        except NotImplementedError as error:
            yield Finding("Hessian = Fisher information", _CHART, note=str(error))
            theory = None
    diagonal = found if theory is None else theory
    size = 1 / np.sqrt(np.diagonal(diagonal, axis1=-2, axis2=-1))
    scale = size[..., :, None] * size[..., None, :]
    if theory is not None:
        off = np.max(np.abs(scale * (found - theory)), axis=(-2, -1))
        # Natural parameters round what they are made of: theory has a few hundred ulp of its own.
        yield judged("Hessian = Fisher information", off, max(_PROMISE * eps, 1e-11), "off, scaled")
    least = np.linalg.eigvalsh(scale * found)[..., 0]
    yield judged("Hessian > 0 at p = q", least, eps, "least eigenvalue, scaled", at_least=True)
