"""A directed search for counterexamples, and their confirmation.

Random rows of several scales first; then the rows that came closest climb the gap between the two
sides by Adam, many at once. What is found is rounded to few digits and confirmed by interval
arithmetic, which alone decides.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._numerics import QUICKLY
from .arithmetic import Bounds, program
from .properties import Function, Property, Rows
from .verdict import Sample, Witness

_SCALES = (0.3, 1.0, 2.0, 4.0)  # standard deviations of the random rows
_RANDOM = 4096
_CLIMBERS = 32
_STEPS = 150
# Differences of float64 values below this part of them are rounding; witnesses are far above.
_ROUNDING = 1e-9


class Found(NamedTuple):
    """The worst rows of a search, and how often it looked."""

    witness: Witness | None
    sample: Sample


def search(
    function: Function, prop: Property, outcomes: int, seed: int = 0, *, climb: bool = True
) -> Found:
    """Look for rows at which the property fails; the witness is confirmed, or there is none."""
    with jax.enable_x64(True):
        rows = random_rows(prop, outcomes, seed)
        gaps = gap_of(function, prop, rows)
        order = np.argsort(np.asarray(-gaps))
        best = float(gaps[order[0]])
        law = f"{_RANDOM} rows of normal logits, seed {seed}"
        witness = _confirmed(function, prop, rows, order) if best > _ROUNDING else None
        tried = _RANDOM
        if witness is None and climb and _differentiable(function, prop, rows):
            starts = {name: row[order[:_CLIMBERS]] for name, row in rows.items()}
            rows, gaps = _climb(function, prop, starts)
            order = np.argsort(np.asarray(-gaps))
            best = max(best, float(gaps[order[0]]))
            law += f", the best {_CLIMBERS} climbed {_STEPS} steps of Adam"
            tried += _CLIMBERS * _STEPS
            if best > _ROUNDING:
                witness = _confirmed(function, prop, rows, order)
    return Found(witness, Sample(tried, law, best, _ROUNDING))


def random_rows(prop: Property, n: int, seed: int) -> Rows:
    """Rows of several scales, thousands of each that the property needs."""
    generator = np.random.default_rng(seed)
    names = (*prop.rows, "channel") if prop.channel else prop.rows
    scales = np.asarray(_SCALES)[np.arange(_RANDOM) % len(_SCALES)]
    rows = {}
    for name in names:
        shape = (_RANDOM, n, n) if name == "channel" else (_RANDOM, n)
        noise = generator.standard_normal(shape)
        rows[name] = jnp.asarray(noise * scales.reshape(-1, *(1,) * (len(shape) - 1)))
    return rows


def gap_of(function: Function, prop: Property, rows: Rows) -> Array:
    """By which part of both sides left exceeds right; -inf where either is not finite."""
    left, right = prop.sides(function, rows)
    fine = jnp.isfinite(left) & jnp.isfinite(right)
    size = jnp.abs(left) + jnp.abs(right)
    # Values that are themselves rounding say nothing.
    gap = jnp.where(fine, left - right, 0) / jnp.where(fine, jnp.maximum(size, 1e-6), 1)
    return jnp.where(fine, gap, -jnp.inf)


@functools.lru_cache(maxsize=64)
def _climber(function: Function, prop: Property):
    import optax

    optimiser = optax.adam(0.1)

    def loss(rows: Rows) -> Array:
        # Farther out, rows say nothing that interval arithmetic could confirm.
        escape = sum(jnp.sum(jnp.maximum(jnp.abs(row) - 12, 0)) for row in rows.values())
        gap = gap_of(function, prop, rows)
        return jnp.sum(jnp.where(jnp.isfinite(gap), -gap, 0)) + escape

    def step(state, _):
        rows, inner = state
        slope = jax.grad(loss)(rows)
        slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0), slope)
        updates, inner = optimiser.update(slope, inner)
        moved: Any = optax.apply_updates(rows, updates)
        return (moved, inner), None

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def climb(rows: Rows):
        (rows, _), _ = jax.lax.scan(step, (rows, optimiser.init(rows)), length=_STEPS)
        return rows, gap_of(function, prop, rows)

    return climb


def _differentiable(function: Function, prop: Property, rows: Rows) -> bool:
    try:
        jax.eval_shape(jax.grad(lambda rows: jnp.sum(gap_of(function, prop, rows))), rows)
    except Exception:  # functions of others fail in ways of their own
        return False
    return True


def _climb(function: Function, prop: Property, rows: Rows) -> tuple[Rows, Array]:
    # Adam multiplies integers and floats.
    with jax.numpy_dtype_promotion("standard"):
        return _climber(function, prop)(rows)


def _confirmed(function: Function, prop: Property, rows: Rows, order: np.ndarray) -> Witness | None:
    """The first of the best rows that interval arithmetic confirms, in as few digits as it can."""
    for index in order[:3]:
        own = {name: np.asarray(row[index]) for name, row in rows.items()}
        for digits in (1, 3, None):
            rounded = own if digits is None else {k: np.round(v, digits) for k, v in own.items()}
            witness = confirm(function, prop, rounded)
            if witness is not None:
                return witness
    return None


def confirm(function: Function, prop: Property, rows: dict[str, np.ndarray]) -> Witness | None:
    """The witness at exactly these rows if left > right there beyond doubt."""
    shapes = tuple((name, row.shape) for name, row in rows.items())
    lifted = [_bounds(row) for row in rows.values()]
    try:
        left, right = (_pair(side) for side in _sides(function, prop, shapes)(*lifted))
    except (NotImplementedError, ArithmeticError, jax.errors.JAXTypeError, TypeError):
        return None  # the function is not one that can be read
    if not left[0] > right[1]:
        return None
    plain = {name: tuple(float(x) for x in row.reshape(-1)) for name, row in rows.items()}
    return Witness(prop.failure, plain, left, right)


@functools.lru_cache(maxsize=64)
def _sides(function: Function, prop: Property, shapes: tuple[tuple[str, tuple[int, ...]], ...]):
    """Both sides of rows of these names and shapes, read once."""
    names = [name for name, _ in shapes]

    def sides(*values: Array) -> tuple[Array, Array]:
        return prop.sides(function, dict(zip(names, values, strict=True)))

    return program(sides, *(shape for _, shape in shapes))


def _bounds(row: np.ndarray) -> np.ndarray:
    lifted = np.empty(row.shape, object)
    for index in np.ndindex(*row.shape):
        lifted[index] = Bounds(float(row[index]), float(row[index]))
    return lifted


def _pair(side) -> tuple[float, float]:
    bounds = Bounds.lift(side.item() if isinstance(side, np.ndarray) else side)
    return float(bounds.lower), float(bounds.upper)
