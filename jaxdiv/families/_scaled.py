"""Families with a scale: some power of x / scale is gamma distributed, of a known shape."""

import math
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .. import _numerics as num
from ._powers import Law, PowerOfGamma
from ._stirling import HALF_LOG_TAU
from .base import POSITIVE, ExponentialFamily, Family, Number, Real, View, family, parameter
from .bends import excess, exp_bend, gap_of_rates, mixed, power, quotient
from .pair import jensen_gap

_ROOT_2 = math.sqrt(2)


class _Direction(NamedTuple):
    growth: Array  # r_q / r_p - 1 of the rates r = scale^-power
    scale: Array  # of p, the unit of scales


@family
class OfScale(ExponentialFamily):
    """y > 0 gamma distributed with a shape and the rate scale^-power, which may leave the range."""

    shape: Number = parameter(POSITIVE)
    scale: Number = parameter(POSITIVE)
    exponent: Number = parameter(POSITIVE)
    statistics: ClassVar = ("y",)

    def natural(self) -> tuple[Array, ...]:
        return (-power(self.scale, -self.exponent), self.shape)

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        rate, shape = natural
        return jnp.where(rate < 0, -shape * jnp.log(jnp.where(rate < 0, -rate, 1)), jnp.inf)

    def toward(self, other: "OfScale") -> _Direction:
        step = (self.scale - other.scale) / other.scale
        ratio = power(self.scale / other.scale, self.exponent)
        near = jnp.abs(step) < 0.5
        small = num.expm1(self.exponent * num.log1p(jnp.where(near, step, 0)))
        return _Direction(jnp.where(near, small, ratio - 1), self.scale)

    def at(self, other: "OfScale", direction: _Direction, t: Real, rest: Real) -> "OfScale":
        # Both ends as they are, so that no digit of a small rate is lost beside a large one.
        ratio = power(self.scale / other.scale, self.exponent)
        far = direction.growth < -0.5
        rate = jnp.where(far, rest + t * ratio, 1 + t * direction.growth)
        beyond = self._beyond(other, jnp.asarray(t), jnp.asarray(rest), rate)
        rate = rate + lax.stop_gradient(beyond - rate)
        fine = rate > 0
        scale = self.scale * power(jnp.where(fine, rate, 1), -1 / self.exponent)
        return OfScale(self.shape, jnp.where(fine, scale, jnp.nan), self.exponent)

    def _beyond(self, other: "OfScale", t: Array, rest: Array, rate: Array) -> Array:
        """The rate rest + t e^u, e^u the ratio of q's and p's, where its parts cancel.

        Of a power 1 or 2 the ratio is known as a pair. Of others only u is, to 1e-9 in float32:
        with v = log(-rest / t) the rate is -rest (e^(u - v) - 1).
        """
        one, k = jnp.ones_like(rate), self.exponent * jnp.ones_like(rate)
        t, rest = t * one, rest * one
        once = quotient(self.scale, other.scale)
        twice = num.multiply_pairs(once, once)
        ratio = (jnp.where(k == 1, x, y) for x, y in zip(once, twice, strict=True))
        exact = mixed(rest, one, t, *ratio)
        out = t * rest < 0
        a, b = jnp.where(out, jnp.abs(rest), 1), jnp.where(out, jnp.abs(t), 1)
        hi, lo = num.log_ratio(self.scale, other.scale, self.scale - other.scale)
        high, low = num.two_product(k, hi)
        gap = num.add_pairs((high, low + k * lo), num.negate_pair(num.log_ratio(a, b, a - b)))
        other_power = -rest * (num.expm1(gap[0]) + gap[1] * jnp.exp(jnp.minimum(gap[0], 80)))
        found = jnp.where((k == 1) | (k == 2), exact, other_power)
        return jnp.where(out & jnp.isfinite(found), found, rate)

    def jensen(self, other: "OfScale", alpha: Array) -> Array:
        gap = jensen_gap(self, other, self.toward(other), alpha)
        hi, lo = num.log_ratio(self.scale, other.scale, self.scale - other.scale)
        return far_gap(self.exponent * (hi + lo), self.shape, alpha, gap)

    def squared_fisher_rao(self, other: "OfScale") -> Array:
        # The metric is shape (d log rate)^2.
        step = (self.scale - other.scale) / jnp.minimum(self.scale, other.scale)
        log_ratio = num.log1p(jnp.abs(step))
        return self.shape * jnp.square(self.exponent * log_ratio)

    def bend(self, point: "OfScale", direction: _Direction, t: Real) -> Array:
        slope = direction.growth * power(self.scale / direction.scale, self.exponent)
        ratio = power(self.scale / point.scale, self.exponent)
        return self.shape * excess(slope, t, ratio)


def growth_of(growth: Array, scale: Array) -> _Direction:
    """From p of a scale to q, of r_q / r_p - 1."""
    return _Direction(growth, scale)


def far_gap(u: Array, shape: Array, alpha: Array, near: Array) -> Array:
    """`near`, the gap of gamma distributions with rates 1 and e^u, and its value for large |u|.

    [log(alpha + (1 - alpha) e^u) - (1 - alpha) u] / (alpha (1 - alpha)), times the shape.
    """
    size = jnp.abs(u)
    afar, _, far = gap_of_rates(u, alpha, shape, shape)
    value = jnp.where(far, afar, near)
    # KL at one end of the orders, and the other KL.
    end = (size > 60) & ((alpha == 1) | (alpha == 0))
    steep = exp_bend(jnp.where(end, jnp.where(alpha == 1, u, -u), 0))
    return jnp.where(end, shape * steep, value)


def of_scale(map: str, shape: float, scale: Array, exponent: float | Array, **fixed: Array) -> View:
    """The view of a family of which `map` is gamma distributed with the rate scale^-exponent."""
    full = jnp.full_like(scale, shape)
    core = OfScale(full, scale, jnp.broadcast_to(exponent, scale.shape))
    return View(core, f"{map} of shape {shape}", fixed)


@family
class HalfNormal(PowerOfGamma, Family):
    """Half-normal distribution on x >= 0: |z| of a normal z with mean 0."""

    scale: Number = parameter(POSITIVE)

    def law(self) -> Law:
        return Law(jnp.full_like(self.scale, 0.5), 2.0, _ROOT_2 * self.scale)

    def kl_from(self, p: Any) -> Array:
        try:
            return super().kl_from(p)
        except NotImplementedError:  # of what has no E[log x], which is not needed
            squares = jnp.square(p.mean(0.0, self.scale)) + p.variance(self.scale)
            return squares / 2 + (HALF_LOG_TAU - math.log(2)) - p.entropy(self.scale)

    def view(self) -> View:
        return of_scale("x^2", 0.5, self.scale, 2.0)


@family
class Rayleigh(PowerOfGamma, Family):
    """Rayleigh distribution on x > 0 with density x/s^2 e^(-x^2 / (2 s^2))."""

    scale: Number = parameter(POSITIVE)

    def law(self) -> Law:
        return Law(jnp.ones_like(self.scale), 2.0, _ROOT_2 * self.scale)

    def view(self) -> View:
        return of_scale("x^2", 1.0, self.scale, 2.0)
