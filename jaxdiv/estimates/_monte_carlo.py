"""Monte Carlo estimates of divergences, with their standard errors."""

import dataclasses
import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

from .. import _checks as checks
from .._divergence import Divergence, Reverse, Symmetrised, check_divergence
from .._pytree import register, static
from ._sources import OfFamily, OfOutcomes, Source, sources
from ._summands import Plan, log_affinities, plan, slopes, terms

Draws = Literal["p", "q", "both"]


@register
@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate, its standard error, both of the batch shape, and the number of draws."""

    value: Array
    standard_error: Array
    num_samples: int = static()


@dataclasses.dataclass(frozen=True)
class Settings:
    """How draws are made and used: hashable."""

    count: int
    draws: Draws
    control: str
    antithetic: bool
    gradient: str  # "reparametrised", "score" or "fixed"


def estimate(
    divergence: Divergence,
    p: Any,
    q: Any,
    key: Array,
    num_samples: int,
    *,
    draws: Draws | None = None,
    control: Literal["generator", "fitted"] = "generator",
    antithetic: bool = False,
    base: float | None = None,
) -> Estimate:
    """D(p || q) estimated from `num_samples` draws, with its standard error.

    Args:
        divergence: An f-divergence, such as `KL()`, `Reverse(Chi2())` or `FDivergence(f)`, or one
            that is a function of one: `Renyi`, `Tsallis`, `Bhattacharyya`, the distances.
        p: A member of a family, a distribution of numpyro, distrax or TensorFlow Probability, a
            noun (both sides must be), a pair (sampler, log_density) of functions, sampler(key,
            count) -> (count, ...) and log_density(x) -> (count, *batch), the sampler None if there
            is none; or `Unnormalised` of a log density or of such a pair.
        q: Like p. Batch shapes of families, and of nouns, broadcast.
        key: A key of `jax.random`.
        num_samples: How many draws, at least 2; an even number for draws from both or antithetic.
        draws: From "p", "q" or "both", half each (of the mixture of the two, which bounds what is
            averaged for every bounded divergence). By default from q for `Reverse`, from both for
            `Symmetrised`, else from p; from the other one where that cannot be sampled.
        control: "generator": terms d(p/s, q/s) with the generator normalised to f(1) = f'(1) = 0,
            each at least 0, so that the estimate is; for KL by draws from p it is the mean of k3.
            "fitted" subtracts a multiple of the control variate q/s - 1 (p/s - 1 by draws from q),
            whose mean is 0, that for either half of the draws leaves least variance in the other:
            still unbiased, between k1 and k3 or better, and it may be negative.
        antithetic: Draws in pairs reflected at the centre of a symmetric family. It removes the
            odd part of what is averaged and doubles the variance of the even part.
        base: Of the logarithm, for logarithmic divergences; nats by default.

    With one side `Unnormalised` the ratio p/q is divided by its mean over the draws, which has a
    bias of order 1/num_samples; the standard error takes that into account, as it does functions of
    means, both to first order. The mean of an f-divergence is unbiased otherwise. No ratio is
    clipped: where the variance is infinite, or what matters is too rare to have been drawn, the
    standard error means nothing.

    Derivatives by parameters of p and q are unbiased estimates of the divergence's, through the
    draws where they are differentiable, else by scores: see `unbiased_gradient`.

    ValueError or TypeError for arguments that do not fit, NotImplementedError for a divergence that
    is no function of such a mean, or a family that cannot be sampled.
    """
    check_divergence(divergence)
    checks.check_base(base, divergence.logarithmic, type(divergence).__name__)
    found = estimated(divergence, p, q, key, num_samples, draws, control, antithetic, "auto")
    if base is None:
        return found
    unit = math.log(base)
    return dataclasses.replace(
        found,
        value=divergence.in_base(found.value, unit),
        standard_error=divergence.in_base(found.standard_error, unit),
    )


def estimated(
    divergence: Divergence,
    p: Any,
    q: Any,
    key: Array,
    num_samples: int,
    draws: Draws | None = None,
    control: str = "generator",
    antithetic: bool = False,
    gradient: str = "auto",
) -> Estimate:
    """`estimate`, whose derivative is one of several: see `gradients`."""
    check_divergence(divergence)
    divergence.check()
    plan(divergence)
    one, other = sources(p, q)
    settings = _settings(divergence, one, other, num_samples, draws, control, antithetic, gradient)
    ours = all(isinstance(s, OfFamily | OfOutcomes) for s in (one, other))
    run = _compiled if ours else _run
    value, error = run(settings, divergence, one, other, key)
    return Estimate(value, error, num_samples)


def _settings(
    divergence: Divergence,
    p: Source,
    q: Source,
    count: int,
    draws: Draws | None,
    control: str,
    antithetic: bool,
    gradient: str,
) -> Settings:
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise ValueError(f"num_samples must be an integer of at least 2, but is {count!r}")
    if control not in ("generator", "fitted"):
        raise ValueError(f'control must be "generator" or "fitted", but is {control!r}')
    can = {"p": p.can_sample(), "q": q.can_sample()}
    whole = p.normalised and q.normalised
    if draws is None:
        wanted: Draws = "p"
        if isinstance(divergence, Reverse):
            wanted = "q"
        elif isinstance(divergence, Symmetrised):
            wanted = "both"
        possible: list[Draws] = [side for side in ("p", "q") if can[side]]
        if not possible:
            raise ValueError("neither p nor q has a sampler: one of them must be sampled")
        if wanted == "both" and (len(possible) < 2 or not whole):
            wanted = possible[0]
        draws = wanted if wanted == "both" or wanted in possible else possible[0]
    elif draws not in ("p", "q", "both"):
        raise ValueError(f'draws must be "p", "q" or "both", but is {draws!r}')
    for side in ("p", "q"):
        if draws in (side, "both") and not can[side]:
            name = (p if side == "p" else q).name()
            raise NotImplementedError(f"{side} cannot be sampled here: it is a {name}")
    if draws == "both" and not whole:
        raise ValueError(
            "draws from both sides need both densities normalised, but one is Unnormalised; draw "
            'from "p" or from "q"'
        )
    if (antithetic or draws == "both") and count % (4 if antithetic and draws == "both" else 2):
        raise ValueError(f"num_samples must be even for these draws, but is {count}")
    chosen = {"p": [p], "q": [q], "both": [p, q]}[draws]
    smooth = all(source.reparametrised() for source in chosen)
    if gradient == "reparametrised" and not smooth:
        names = " or ".join(source.name() for source in chosen if not source.reparametrised())
        raise ValueError(
            f'draws from {names} are not differentiable by parameters; method="score" needs none '
            "that are"
        )
    if gradient == "auto":
        gradient = "reparametrised" if smooth else "score"
    return Settings(count, draws, control, antithetic, gradient)


def _draw(settings: Settings, source: Source, key: Array, count: int) -> Array:
    if not settings.antithetic:
        return source.sample(key, count)
    half = source.sample(key, count // 2)
    mirrored = source.mirrored(half)
    if mirrored is None:
        raise ValueError(
            f"antithetic draws need a family that is symmetric about a centre, but {source.name()} "
            "is not known to be"
        )
    return jnp.concatenate([half, mirrored])


def _mean(settings: Settings, strata: list[Array]) -> tuple[Array, Array]:
    """The mean of the strata's means, and its standard error."""
    means, variances = [], []
    for x in strata:
        if settings.antithetic:
            x = (x[: len(x) // 2] + x[len(x) // 2 :]) / 2
        means.append(jnp.mean(x, axis=0))
        apart = jnp.var(lax.stop_gradient(x), axis=0) * (len(x) / max(len(x) - 1, 1))
        variances.append(apart / len(x))
    return sum(means[1:], means[0]) / len(means), jnp.sqrt(sum(variances)) / len(means)


def _fitted(settings: Settings, h: list[Array], c: list[Array]) -> list[Array]:
    """h less the multiple of c, of mean 0, that leaves the least variance.

    Either half of the draws takes the multiple that the other half tells, which is independent of
    it: the mean stays unbiased.
    """
    halves = [_half(settings, x) for x in c]
    found = list(h)
    for own in (True, False):
        slope = _slope(settings, h, c, [half != own for half in halves])
        found = [
            jnp.where(half == own, x - slope[None] * jnp.where(jnp.isfinite(y), y, 0), x)
            for half, x, y in zip(halves, found, c, strict=True)
        ]
    return found


def _half(settings: Settings, x: Array) -> Array:
    """Which half of the draws each is in, reflected draws in the same; of the shape of x."""
    period = len(x) // 2 if settings.antithetic else len(x)
    at = (jnp.arange(len(x)) % period) % 2 == 0
    return jnp.broadcast_to(at.reshape((-1,) + (1,) * (x.ndim - 1)), x.shape)


def _slope(settings: Settings, h: list[Array], c: list[Array], chosen: list[Array]) -> Array:
    """The covariance of h and c over the variance of c, of chosen draws; 0 if it is not finite."""
    covariance = variance = jnp.zeros(h[0].shape[1:], h[0].dtype)
    for x, y, some in zip(h, c, chosen, strict=True):
        x, y = lax.stop_gradient(x), lax.stop_gradient(y)
        if settings.antithetic:
            half = len(x) // 2
            x, y, some = (x[:half] + x[half:]) / 2, (y[:half] + y[half:]) / 2, some[:half]
        off_x, off_y = (z - jnp.mean(z, axis=0, keepdims=True, where=some) for z in (x, y))
        covariance += jnp.mean(off_x * off_y, axis=0, where=some)
        variance += jnp.mean(off_y * off_y, axis=0, where=some)
    fine = jnp.isfinite(variance) & (variance > 0) & jnp.isfinite(covariance)
    return jnp.where(fine, jnp.where(fine, covariance, 0) / jnp.where(fine, variance, 1), 0)


def _run(
    settings: Settings, divergence: Divergence, p: Source, q: Source, key: Array
) -> tuple[Array, Array]:
    logs = _logs(settings, p, q, key)
    dtype = logs[0][0].dtype
    how = plan(jax.tree.map(lambda x: jnp.asarray(x, dtype), divergence))
    # Where the ratio's mean is not known to be 1 it is made so.
    normalise = not (p.normalised and q.normalised)
    if normalise:
        logs = [_normalised(settings, *pair) for pair in logs]
    function = functools.partial(terms, how.inner)
    h = [function(a, b) for a, b in logs]
    if settings.gradient == "score":
        still = lax.stop_gradient(how.inner)
        h = [x + _baseline(settings.draws, still, *pair) for x, pair in zip(h, logs, strict=True)]
    if normalise:
        value, error = _self_normalised(settings, function, h[0], *logs[0])
    else:
        if settings.control == "fitted":
            h = _fitted(settings, h, [_control(settings, *pair) for pair in logs])
        value, error = _mean(settings, h)
    near, slope = jax.jvp(how.outer, (value,), (jnp.ones_like(value),))
    value, error = near, jnp.abs(lax.stop_gradient(slope)) * error
    if how.alpha is not None and not normalise:
        value, error = _far(settings, how, logs, value, error)
    valid = jnp.where(jnp.asarray(divergence.valid()), 1, jnp.nan).astype(value.dtype)
    return value * valid, lax.stop_gradient(error * valid)


_compiled = jax.jit(_run, static_argnums=0)


def _logs(settings: Settings, p: Source, q: Source, key: Array) -> list[tuple[Array, Array]]:
    """log(p/s) and log(q/s) of the draws from each stratum, s the density that was drawn from."""
    both = settings.draws == "both"
    chosen = {"p": [p], "q": [q], "both": [p, q]}[settings.draws]
    keys = jax.random.split(key, len(chosen))
    found = []
    for source, own in zip(chosen, keys, strict=True):
        x = _draw(settings, source, own, settings.count // len(chosen))
        if settings.gradient in ("score", "fixed"):
            x = lax.stop_gradient(x)
        log_p, log_q = p.log_prob(x), q.log_prob(x)
        if log_p.shape != log_q.shape or log_p.shape[:1] != (settings.count // len(chosen),):
            raise ValueError(
                f"log densities of {settings.count // len(chosen)} draws must have them on the "
                f"first axis and equal shapes, but are p {log_p.shape} and q {log_q.shape}"
            )
        dtype = jnp.promote_types(log_p.dtype, log_q.dtype)
        log_p, log_q = log_p.astype(dtype), log_q.astype(dtype)
        log_s = log_p if source is p else log_q
        if both:
            log_s = jnp.logaddexp(log_p, log_q) - math.log(2)
        if settings.gradient == "score":
            log_s = lax.stop_gradient(log_s)
        found.append((_over(log_p, log_s), _over(log_q, log_s)))
    return found


def _over(log: Array, log_s: Array) -> Array:
    """log - log_s, -inf where the former is."""
    none = log == -jnp.inf
    return jnp.where(none, -jnp.inf, jnp.where(none, 0, log) - log_s)


def _control(settings: Settings, a: Array, b: Array) -> Array:
    if settings.draws == "both":
        return jnp.exp(a) - jnp.exp(b)
    return jnp.expm1(b if settings.draws == "p" else a)


def _normalised(settings: Settings, a: Array, b: Array) -> tuple[Array, Array]:
    ratio = b if settings.draws == "p" else a
    log_mean = jax.nn.logsumexp(ratio, axis=0, keepdims=True) - math.log(len(ratio))
    return (a, b - log_mean) if settings.draws == "p" else (a - log_mean, b)


def _self_normalised(settings: Settings, function: Any, h: Array, a: Array, b: Array):
    """The mean, and its error with that of the normaliser, w -> mean w, to first order."""
    value, _ = _mean(settings, [h])
    by_a, by_b = slopes(function, a, b)
    weight = jnp.exp(lax.stop_gradient(b if settings.draws == "p" else a))
    by_log = jnp.mean(by_b if settings.draws == "p" else by_a, axis=0, keepdims=True)
    return value, _mean(settings, [lax.stop_gradient(h) - by_log * (weight - 1)])[1]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _baseline(draws: Draws, inner: Any, a: Array, b: Array) -> Array:
    """Zeros whose derivative takes from a score's coefficient the other draws' mean of it.

    The gradient of the mean of d(p/s, q/s) with s held fixed is that of the divergence; the score
    (p/s) grad log p has the mean 0, so that a multiple of it that other draws tell is free.
    """
    del draws, inner
    return jnp.zeros_like(a + b)


@_baseline.defjvp
def _(draws, primals, tangents):
    inner, a, b = primals
    tangent = jnp.zeros_like(a + b)
    coefficients = slopes(functools.partial(terms, inner), a, b)
    for side, by, log, dot in zip(("p", "q"), coefficients, (a, b), tangents[1:], strict=True):
        if draws in (side, "both"):
            others = (jnp.sum(by, axis=0, keepdims=True) - by) / (len(by) - 1)
            some = jnp.isfinite(others) & jnp.isfinite(log)
            tangent = tangent - jnp.where(some, others * jnp.exp(log), 0) * dot
    return jnp.zeros_like(tangent), tangent


def _far(settings: Settings, how: Plan, logs: Any, near: Array, error: Array):
    """Where most of the integral of p^alpha q^(1-alpha) is lost, the logarithm of its mean."""
    alpha = jnp.asarray(how.alpha, near.dtype)
    whole = (alpha == 0) | (alpha == 1)
    inside = jnp.where(whole, 0.5, alpha)
    y = [log_affinities(inside, *pair) for pair in logs]
    top = functools.reduce(jnp.maximum, [jnp.max(lax.stop_gradient(x), axis=0) for x in y])
    some = jnp.isfinite(top)
    shift = jnp.where(some, top, 0)
    mean, spread = _mean(settings, [jnp.exp(x - shift[None]) for x in y])
    log = jnp.where(some & (mean > 0), jnp.log(jnp.where(mean > 0, mean, 1)) + shift, top)
    far = ~whole & (log < math.log(0.5)) & ~jnp.isnan(near)
    factor = how.scale / (inside - 1)
    relative = lax.stop_gradient(spread / jnp.where(mean > 0, mean, 1))
    return (
        jnp.where(far, factor * log, near),
        jnp.where(far, jnp.abs(factor) * relative, error),
    )
