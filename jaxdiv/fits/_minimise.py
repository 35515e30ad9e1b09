"""Minimisation of a function of a pytree of reals, jitted in runs of steps."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Objective = Callable[[Any, Array], Array]


class Run(NamedTuple):
    """Where the minimisation ended, the value there, and the values on the way."""

    free: Any
    value: Array
    history: Array
    converged: bool


def minimise(
    objective: Objective,
    free: Any,
    *,
    key: Array | None,
    optimizer: Any,
    num_steps: int,
    sampled: bool,
    tolerance: float,
    progress: bool | None,
) -> Run:
    """Step by step, until the gradient is within the tolerance or the steps are spent."""
    import optax

    if optimizer is None:
        # Its zoom line search: where backtracking ends the curvature may be negative, and L-BFGS
        # then stands still.
        schedule = optax.cosine_decay_schedule(0.03, num_steps)
        optimizer = optax.adam(schedule) if sampled else optax.lbfgs()
    optimizer = optax.with_extra_args_support(optimizer)
    key = jax.random.key(0) if key is None else key
    length = min(num_steps, 100 if sampled else 10)

    @jax.jit
    def advance(free: Any, state: Any, key: Array) -> Any:
        def step(carry: Any, key: Array) -> Any:
            free, state = carry
            value, slope = jax.value_and_grad(objective)(free, key)
            steepness = jnp.max(
                jnp.stack([jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(slope)])
            )
            # Optax is written for JAX's default promotion rules.
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                updates, state = optimizer.update(
                    slope,
                    state,
                    free,
                    value=value,
                    grad=slope,
                    value_fn=lambda f: objective(f, key),
                )
            return (optax.apply_updates(free, updates), state), (value, steepness)

        return jax.lax.scan(step, (free, state), jax.random.split(key, length))

    state, values, steep = optimizer.init(free), [], np.inf
    with _bar(progress, num_steps) as show:
        while len(values) < num_steps:
            key, own = jax.random.split(key)
            (free, state), (value, steepness) = advance(free, state, own)
            value, steepness = np.asarray(value), np.asarray(steepness)
            if np.isnan(value).any():
                first = len(values) + int(np.flatnonzero(np.isnan(value))[0])
                raise FloatingPointError(
                    f"the divergence is NaN at step {first}: the target's log density is NaN where "
                    "the fit has moved to, or a smaller step is needed"
                )
            values.extend(value.tolist())
            show(len(values), value[-1])
            steep = steepness[-1]
            if not sampled and steep <= tolerance:
                break
    history = np.asarray(values)
    converged = _settled(history) if sampled else bool(steep <= tolerance)
    last = history[-max(len(history) // 10, 1) :].mean() if sampled else objective(free, key)
    dtype = jax.tree.leaves(free)[0].dtype
    return Run(free, jnp.asarray(last, dtype), jnp.asarray(history, dtype), converged)


def _settled(history: np.ndarray) -> bool:
    """Whether the last two tenths have equal means, to within four standard errors."""
    tenth = len(history) // 10
    if tenth < 2:
        return False
    before, after = history[-2 * tenth : -tenth], history[-tenth:]
    error = np.sqrt((before.var() + after.var()) / tenth)
    return bool(abs(before.mean() - after.mean()) <= 4 * error)


@contextlib.contextmanager
def _bar(progress: bool | None, total: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar on the standard error stream, or nothing."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda done, value: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("fit"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=total, now="")
        yield lambda done, value: bar.update(task, completed=done, now=f"{value:.5g}")
