"""`fit`: chooses how a divergence to the target is computed, and minimises it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _finite as finite
from .._divergence import Divergence, Reverse, check_divergence
from .._f_divergences import KL
from .._pytree import register, static
from ..estimates import Unnormalised
from ..estimates._monte_carlo import estimated
from ..families import draws as drawing
from ..families.adapters import adapted
from ..families.base import Family
from ..families.pair import Pair
from . import _charts, _minimise, _targets
from ._moments import matched
from ._targets import Grid, Outcomes, Samples


@register
@dataclasses.dataclass(frozen=True)
class FitResult:
    """A fitted member, the divergence there, and how it was found.

    `value` is D(target || member), or what `method` minimises in its place. `history` are the
    values of the steps, (steps,), empty where there was a closed form. `method` is "moments",
    "closed form", "finite sum", "quadrature", "maximum likelihood", "samples of the target" or
    "reparametrised samples".
    """

    member: Any
    value: Array
    history: Array
    method: str = static(default="")
    converged: bool = static(default=True)
    steps: int = static(default=0)


Objective = Callable[[Any, Array], Array]


def fit(
    divergence: Divergence,
    target: Any,
    family: Any,
    *,
    optimizer: Any = None,
    key: Array | None = None,
    num_steps: int | None = None,
    num_samples: int = 256,
    tolerance: float = 1e-4,
    progress: bool | None = None,
) -> FitResult:
    """The member of a family that makes D(target || member) least, and which way it was found.

    Forward or reverse is the divergence's business: `KL()` covers the target, `Reverse(KL())`,
    which is KL(member || target), seeks a mode. The first of these that serves is taken:

    - "moments": KL to an exponential family is least where the expectations of its sufficient
      statistics are the target's (unless an optimizer is given). No steps.
    - "maximum likelihood": KL from `Samples`; the value is the mean of -log q over them.
    - "closed form": the target is a member of a family between which and `family` the divergence
      has one.
    - "finite sum": outcomes are counted.
    - "quadrature": outcomes lie on the line; by the trapezoidal rule.
    - "samples of the target": KL from a target that can be sampled, by fresh draws each step.
    - "reparametrised samples": draws from the member, differentiable by its parameters. Of reverse
      KL to an `Unnormalised` density the value is the negative evidence lower bound.

    Args:
        divergence: Any divergence of the catalogue; f-divergences and functions of one by samples.
        target: A member of a family or a `Mixture`, another package's distribution, a noun, a
            `Grid`, `Samples`, or `Unnormalised` of a log density of vectors (n, *event) -> (n,).
        family: The member to begin with, its parameters the start of the fit; a family such as
            `Normal`, for the plainest member; or `Logits`. Parameters move in the reals, by a
            bijection of each declared domain (log of positive ones, log-odds of probabilities).
        optimizer: From optax. By default L-BFGS, or Adam at 0.03 falling to 0 for samples.
        key: A key of `jax.random`, for samples.
        num_steps: At most; by default 300, or 2000 for samples.
        num_samples: Draws a step, for samples.
        tolerance: Converged, and ended, where no derivative by a free parameter is larger than
            this; for samples, converged where the values of the last two tenths of the steps have
            means less than four standard errors apart.
        progress: Whether to show a bar; by default on a terminal.

    ValueError for a target that is NaN somewhere, that does not fit the family's outcomes, or that
    a grid does not hold, and where a key is missing; FloatingPointError where the value becomes
    NaN; NotImplementedError for what none of these serves.
    """
    check_divergence(divergence)
    divergence.check()
    target = adapted("target", target)
    member = _charts.start(family)
    if isinstance(target, Family):
        target = target.checked("target")
        if target.batch("target"):
            raise ValueError(
                f"target must be one distribution, but has batch shape {target.batch('target')}"
            )
    member, dtype = _typed(member, target)
    if isinstance(target, Family):
        target = target.full((), dtype)
    outcomes = _outcomes(target, member, dtype)
    if optimizer is None and isinstance(divergence, KL):
        found = matched(member, target, outcomes)
        if found is not None:
            value = _value(divergence, found, target, outcomes)
            return FitResult(found, value, jnp.zeros(0, dtype), "moments")
    method, objective = _objective(divergence, member, target, outcomes, num_samples)
    sampled = method in ("samples of the target", "reparametrised samples")
    if sampled and key is None:
        raise ValueError(f"key must be given for a fit by {method}, but is None")
    if sampled and isinstance(target, Unnormalised):
        _check_density(target, member, key)
    free, rebuild = _charts.chart(member)
    run = _minimise.minimise(
        lambda free, key: objective(rebuild(free), key),
        free,
        key=key,
        optimizer=optimizer,
        num_steps=num_steps or (2000 if sampled else 300),
        sampled=sampled,
        tolerance=tolerance,
        progress=progress,
    )
    found = rebuild(run.free)
    if method == "quadrature":
        _check_mass(found, outcomes)
    return FitResult(found, run.value, run.history, method, run.converged, len(run.history))


def _typed(member: Any, target: Any) -> tuple[Any, Any]:
    """The member in the dtype that both are computed in."""
    leaves = [x for x in jax.tree.leaves((member, target)) if hasattr(x, "dtype")]
    double = any(jax.dtypes.canonicalize_dtype(x.dtype) == jnp.float64 for x in leaves)
    dtype = jnp.float64 if double else jnp.float32
    if isinstance(member, Family):
        return member.full((), dtype), dtype
    return dataclasses.replace(member, logits=member.logits.astype(dtype)), dtype


def _outcomes(target: Any, member: Any, dtype: Any) -> Outcomes | None:
    """The target as weighted outcomes, None where they are neither counted nor on the line."""
    event = member.event_shape() if isinstance(member, Family) else ()
    counted = isinstance(member, finite.Logits) or _counts(member)
    match target:
        case Unnormalised():
            return None
        case Samples():
            return _targets.of_samples(target, event, dtype)
        case Grid():
            if counted or event:
                raise ValueError(
                    "a Grid is for families of numbers on the line, but family is a "
                    f"{type(member).__name__}"
                )
            return _targets.of_grid(target, dtype)
        case Family():
            if target.event_shape() != event or counted != _counts(target):
                raise ValueError(
                    f"target and family must have outcomes of one kind, but are a "
                    f"{type(target).__name__} of shape {target.event_shape()} and a "
                    f"{type(member).__name__} of shape {event}"
                )
            return None if event else _targets.of_member(target, dtype)
    if not counted:
        raise TypeError(
            "target must be a member of a family, a Mixture, a Grid, Samples or Unnormalised for a "
            f"{type(member).__name__}, but is a {type(target).__name__}"
        )
    outcomes = _targets.of_noun(target, dtype)
    if isinstance(member, finite.Logits):
        if member.logits.shape != outcomes.x.shape:
            raise ValueError(
                f"family has logits of shape {member.logits.shape}, but target has outcomes of "
                f"shape {outcomes.x.shape}"
            )
        return outcomes
    return _targets.with_rest(outcomes)


def _counts(member: Any) -> bool:
    support = member.support() if isinstance(member, Family) else None
    return support is not None and support.kind == "integers"


def _objective(
    divergence: Divergence, member: Any, target: Any, outcomes: Outcomes | None, count: int
) -> tuple[str, Objective]:
    if outcomes is not None and outcomes.kind == "samples":
        if not isinstance(divergence, KL):
            raise NotImplementedError(
                f"{type(divergence).__name__} needs the target's density, which Samples do not "
                "give; KL() is fitted to them by maximum likelihood, and variational_bound bounds "
                "the others by a critic"
            )
        return "maximum likelihood", lambda m, key: -jnp.mean(m.log_prob(outcomes.x))
    if _closed(divergence, target, member):
        return "closed form", lambda m, key: divergence(target, m)
    if outcomes is not None:
        p = finite.LogProbs(outcomes.log_density + outcomes.log_weight)

        def exact(m: Any, key: Array) -> Array:
            q = finite.LogProbs(outcomes.log_probs(m))
            return divergence(p, q, implementation="reference")  # of one row, the least to compile

        return outcomes.kind, exact
    if isinstance(divergence, KL) and isinstance(target, Family):
        return (
            "samples of the target",
            lambda m, key: (
                estimated(divergence, target, m, key, count, "p", gradient="fixed").value
            ),
        )
    if not drawing.reparametrised(member):
        raise NotImplementedError(
            f"draws from {type(member).__name__} are not differentiable by its parameters, and "
            f"{type(divergence).__name__} of outcomes of shape {member.event_shape()} has no other "
            "way here"
        )
    if isinstance(divergence, Reverse) and isinstance(divergence.divergence, KL):
        density = target.value if isinstance(target, Unnormalised) else target.log_prob
        density = density[1] if isinstance(density, tuple) else density

        def evidence(m: Any, key: Array) -> Array:
            x = m.sample(key, count)
            return jnp.mean(m.log_prob(x) - density(x))

        return "reparametrised samples", evidence
    return (
        "reparametrised samples",
        lambda m, key: (
            estimated(divergence, target, m, key, count, "q", gradient="reparametrised").value
        ),
    )


def _closed(divergence: Divergence, target: Any, member: Any) -> bool:
    """Whether the divergence between them has a closed form, and is finite to begin with."""
    if not (isinstance(target, Family) and isinstance(member, Family)):
        return False
    try:
        divergence.check_between(Pair(target, member))
        return bool(np.isfinite(divergence(target, member)))
    except NotImplementedError:
        return False


def _value(divergence: Divergence, found: Any, target: Any, outcomes: Outcomes | None) -> Array:
    _, objective = _objective(divergence, found, target, outcomes, 2)
    return objective(found, jax.random.key(0))


def _check_density(target: Unnormalised, member: Any, key: Any) -> None:
    density = target.value[1] if isinstance(target.value, tuple) else target.value
    x = member.sample(key, 64)
    log = jnp.asarray(density(x))
    if log.shape != (64,):
        raise ValueError(
            f"the log density of target must give one number a draw, (64,) for draws of shape "
            f"{x.shape}, but gave shape {log.shape}"
        )
    _targets._check_nan("the log density of target", log, x)


def _check_mass(found: Any, outcomes: Outcomes | None) -> None:
    assert outcomes is not None
    mass = float(jnp.sum(jnp.exp(found.log_prob(outcomes.x) + outcomes.log_weight)))
    if not abs(mass - 1) < 1e-2:
        raise ValueError(
            f"the grid holds {mass:.4g} of the fitted member's mass, so that the quadrature is not "
            "exact: give a Grid that is wider or finer"
        )
