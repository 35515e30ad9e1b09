"""What a family is fitted to, as weighted outcomes where there are finitely many or a grid of them.

A target on the line becomes a grid: of points with trapezoidal weights, in a coordinate in which
the density has no edge (x, log x, log-odds), so that the rule converges fast.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _checks as checks
from .. import _finite as finite
from .._pytree import register
from ..families import Mixture
from ..families.base import Family

_POINTS = 4001


@register
@dataclasses.dataclass(frozen=True)
class Grid:
    """A density on the line, up to a constant factor, known at points.

    `points` increase, (n,); `log_density` is an array of log densities at them, or a function that
    gives it, each plus any constant. Integrals are by the trapezoidal rule.
    """

    points: Any
    log_density: Any


@register
@dataclasses.dataclass(frozen=True)
class Samples:
    """Draws, (n, *event), from a distribution of which no density is known."""

    values: Any


class Outcomes(NamedTuple):
    """Outcomes with log weights, the target's log density there, normalised, and what they are."""

    x: Array
    log_weight: Array
    log_density: Array
    kind: Literal["quadrature", "finite sum", "samples"]
    rest: bool = False  # whether the last outcome stands for all beyond the ones before

    def expectation(self, g: Callable[[Array], Array]) -> Array:
        """E[g(x)] under the target."""
        mass = jnp.exp(self.log_density + self.log_weight)
        x = self.x[:-1] if self.rest else self.x
        values = g(x)
        mass = mass[: len(values)].reshape((-1,) + (1,) * (values.ndim - 1))
        # Where there is no mass the outcome may be one that g is not finite at.
        return jnp.sum(jnp.where(mass > 0, mass * jnp.where(mass > 0, values, 0), 0), axis=0)

    def log_probs(self, member: Any) -> Array:
        """A member's log-probabilities of the outcomes."""
        if isinstance(member, finite.Logits):
            return jax.nn.log_softmax(member.logits)
        if not self.rest:
            # Normalised, as the mass of a member that left the grid would cost nothing.
            logs = member.log_prob(self.x) + self.log_weight
            return logs - jax.nn.logsumexp(logs)
        logs = member.log_prob(self.x[:-1])
        beyond = 1 - jnp.sum(jnp.exp(logs))
        floor = jnp.finfo(logs.dtype).tiny
        return jnp.append(logs, jnp.log(jnp.maximum(beyond, floor)))


def _check_nan(name: str, values: Any, x: Any) -> None:
    bad = np.isnan(np.asarray(values))
    if bad.any():
        at = np.asarray(x)[np.flatnonzero(bad.reshape(len(bad), -1).any(-1))[0]]
        raise ValueError(
            f"{name} is NaN at {int(bad.sum())} of {bad.size} points, first at x = {at}"
        )


def of_grid(target: Grid, dtype: Any) -> Outcomes:
    """A grid as outcomes; raises for one that isn't one, or a density that is NaN or nowhere."""
    points = checks.as_array("target.points", target.points)
    known = np.asarray(points, np.float64)
    if known.ndim != 1 or len(known) < 2 or not np.all(np.diff(known) > 0):
        raise ValueError(
            "target.points must be two or more increasing numbers, (n,), but have shape "
            f"{known.shape}" + ("" if known.ndim != 1 or len(known) < 2 else " and do not increase")
        )
    log = target.log_density
    log = log(points) if callable(log) else log
    log = checks.as_parameter("target.log_density", log)
    if log.shape != points.shape:
        raise ValueError(
            f"target.log_density must have one number a point, {points.shape}, but has shape "
            f"{log.shape}"
        )
    gaps = np.diff(known)
    weights = (np.append(gaps, 0) + np.append(0, gaps)) / 2
    return _normalised(points, weights, log, dtype)


def _normalised(points: Any, weights: Any, log: Array, dtype: Any) -> Outcomes:
    _check_nan("the log density of target", log, points)
    log_weight = jnp.asarray(np.log(weights), dtype)
    total = jax.nn.logsumexp(log.astype(dtype) + log_weight)
    if not np.isfinite(total):
        raise ValueError(
            f"the log density of target must be finite somewhere and nowhere +inf, but its "
            f"integral over the grid is exp({float(total)})"
        )
    return Outcomes(jnp.asarray(points, dtype), log_weight, log.astype(dtype) - total, "quadrature")


def of_samples(target: Samples, event: tuple[int, ...], dtype: Any) -> Outcomes:
    """Draws as outcomes of equal weight."""
    x = checks.as_array("target.values", target.values)
    if x.shape[1:] != event or len(x) < 2:
        raise ValueError(
            f"target.values must be two or more draws of shape {event}, (n, *{event}), but have "
            f"shape {x.shape}"
        )
    _check_nan("target.values", x, x)
    weight = jnp.full((len(x),), -np.log(len(x)), dtype)
    return Outcomes(x.astype(dtype), weight, jnp.zeros_like(weight), "samples")


def of_noun(target: Any, dtype: Any) -> Outcomes:
    """A distribution over finitely many outcomes 0, 1, ..., and one for what lies beyond them."""
    noun = finite.as_noun("target", target)
    form = finite.layout({"target": noun}, -1, None)
    side = finite.side(noun, None, form)
    if side.values.ndim != 1:
        raise ValueError(f"target must be one distribution, but has shape {side.values.shape}")
    log = {"linear": jnp.log, "log": lambda x: x, "logits": jax.nn.log_softmax}[side.chart]
    values = side.values if side.temperature is None else side.values / side.temperature
    _check_nan("target", values, np.arange(len(values)))
    logs = log(values).astype(dtype)
    x = jnp.arange(len(values), dtype=dtype)
    return Outcomes(x, jnp.zeros_like(logs), logs, "finite sum")


def with_rest(outcomes: Outcomes) -> Outcomes:
    """With one more outcome, that of all integers beyond, which the target hasn't."""
    return outcomes._replace(
        x=jnp.append(outcomes.x, outcomes.x[-1] + 1),
        log_weight=jnp.append(outcomes.log_weight, 0),
        log_density=jnp.append(outcomes.log_density, -jnp.inf),
        rest=True,
    )


def _ends(target: Family) -> tuple[float, float, float]:
    """The mean, and how far to either side there is any mass to speak of."""
    parts = target.base if isinstance(target, Mixture) else target
    try:
        mean, variance = np.asarray(parts.mean()), np.asarray(parts.variance())
    except NotImplementedError:
        mean = variance = np.asarray(np.nan)
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(variance))):
        raise NotImplementedError(
            f"{type(target).__name__} has no mean and variance to lay a grid by: give "
            "Grid(points, target.log_prob) as the target"
        )
    # Of each part and of the whole, which a member that covers them all reaches beyond.
    centre, whole = np.asarray(target.mean()), np.asarray(target.variance())
    mean, spread = np.append(mean, centre), 12 * np.sqrt(np.append(variance, whole))
    return float(centre), float(np.min(mean - spread)), float(np.max(mean + spread))


def of_member(target: Family, dtype: Any) -> Outcomes:
    """A member of a family on the line, or of counts, as outcomes.

    Raises NotImplementedError where no grid can be laid, ValueError where one does not hold it.
    """
    middle, low, high = _ends(target)
    support = target.support()
    kind = None if support is None else support.kind
    if kind == "integers":
        most = int(np.ceil(high)) + 20
        x = jnp.arange(most, dtype=dtype)
        return with_rest(Outcomes(x, jnp.zeros_like(x), target.log_prob(x), "finite sum"))
    ends = (-np.inf, np.inf)
    if support is not None:
        ends = float(np.min(np.asarray(support.low))), float(np.max(np.asarray(support.high)))
    if np.all(np.isfinite(ends)):
        y = np.linspace(-15, 15, _POINTS)
        share = 1 / (1 + np.exp(-y))
        x, slope = ends[0] + (ends[1] - ends[0]) * share, (ends[1] - ends[0]) * share * (1 - share)
    elif np.isfinite(ends[0]):
        above = middle - ends[0]
        y = np.linspace(np.log(above) - 30, np.log(high - ends[0] + above), _POINTS)
        x, slope = ends[0] + np.exp(y), np.exp(y)
    else:
        y = np.linspace(low, high, _POINTS)
        x, slope = y, np.ones_like(y)
    weights = slope * (y[1] - y[0])
    weights[[0, -1]] /= 2
    x = jnp.asarray(x, dtype)
    log = target.log_prob(x)
    mass = float(jnp.sum(jnp.exp(log + jnp.asarray(np.log(weights), dtype))))
    if not abs(mass - 1) < 1e-3:
        raise ValueError(
            f"a grid for {type(target).__name__} holds {mass:.4g} of its mass: give "
            "Grid(points, target.log_prob) as the target"
        )
    return _normalised(x, weights, log, dtype)
