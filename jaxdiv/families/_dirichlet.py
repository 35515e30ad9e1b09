"""The Dirichlet family, and beta distributions as its smallest members."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _numerics as num
from ._stirling import HALF_LOG_TAU, binet, log_less_digamma, trigamma
from .base import POSITIVE, ExponentialFamily, Family, Number, Real, View, family, parameter
from .bends import digamma_bend, excess, gamma_bend, lgamma_bend, mixed, products_apart
from .expectations import Support


class _Direction(NamedTuple):
    concentration: Array
    total: Array
    cross: Array  # a_i (sum of steps) - (step_i) (sum of a)


def _sum(hi: Array, lo: Array) -> tuple[Array, Array]:
    """The sum over the first axis of unevaluated sums, as one."""
    while hi.shape[0] > 1:
        odd = hi.shape[0] % 2
        last = hi[-1:], lo[-1:]
        pairs = (hi[0 : -1 if odd else None : 2], lo[0 : -1 if odd else None : 2])
        hi, lo = num.add_pairs(pairs, (hi[1::2], lo[1::2]))
        if odd:
            hi, lo = jnp.concatenate([hi, last[0]]), jnp.concatenate([lo, last[1]])
    return hi[0], lo[0]


def _total(x: Array) -> Array:
    """The sum over the first axis, accurate for many entries."""
    return jnp.sum(x, axis=0) if x.shape[0] <= 64 else num.row_sum(jnp.moveaxis(x, 0, -1))


def _unlike(x: Array) -> Array:
    """Which pairs of entries are of different ones."""
    return ~jnp.eye(x.shape[-1], dtype=bool)


@family
class Dirichlet(ExponentialFamily):
    """Dirichlet distribution on the simplex, density proportional to prod x_i^(a_i - 1).

    With a_0 = sum a, KL(a || b) = sum b_i (y_i - 1 - log y_i) + sum G(a_i, b_i) - G(a_0, b_0),
    y_i = (a_i / a_0) / (b_i / b_0): the first sum is b_0 times a KL of means, and G the bend of
    log Gamma(x) - x log x + x.
    """

    concentration: Number = parameter(POSITIVE, 1)
    statistics: ClassVar = ("log x",)

    def support(self) -> Support:
        return Support("points of a simplex")

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        a = self.concentration
        return (a / jnp.sum(a, axis=-1, keepdims=True) - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        a = self.concentration
        total = jnp.sum(a, axis=-1, keepdims=True)
        # 1 - a/total is the share of the others, so that none is lost beside 1.
        others = jnp.sum(jnp.where(_unlike(a), a[..., None, :], 0), axis=-1)
        return (a / total) * (others / total) / (total + 1) / jnp.square(unit)

    def mean_outer(self) -> Array:
        # E[x_i x_j] = a_i (a_j + [i = j]) / (a_0 (a_0 + 1))
        a = self.concentration[..., None]
        total = jnp.sum(a, axis=-2, keepdims=True)
        next_ = jnp.swapaxes(a, -1, -2) + jnp.where(_unlike(self.concentration), 0, 1)
        return (a / total) * (next_ / (total + 1))

    def mean_log(self, unit: Real = 1.0) -> Array:
        a = self.concentration
        total = jnp.sum(a, axis=-1, keepdims=True)
        return jnp.log(a / total / unit) - log_less_digamma(a) + log_less_digamma(total)

    def entropy(self, unit: Real = 1.0) -> Array:
        a = jnp.moveaxis(self.concentration, -1, 0)
        total, k = _total(a), a.shape[0]
        each = jnp.log(a) / 2 + binet(a) + (a - 1) * log_less_digamma(a)
        whole = (k - 0.5) * jnp.log(total) + binet(total) + (total - k) * log_less_digamma(total)
        return _total(each) + ((k - 1) * HALF_LOG_TAU - whole)

    def natural(self) -> tuple[Array, ...]:
        return (self.concentration - 1,)

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        a = natural[0] + 1
        fine = jnp.all(a > 0, axis=-1)
        a = jnp.where(fine[..., None], a, 1)
        value = jnp.sum(jax.lax.lgamma(a), axis=-1) - jax.lax.lgamma(jnp.sum(a, axis=-1))
        return jnp.where(fine, value, jnp.inf)

    def toward(self, other: "Dirichlet") -> _Direction:
        # The axis of the outcomes first: a beta's is of two, and vectors run along the batch.
        a, b = (jnp.moveaxis(x.concentration, -1, 0) for x in (self, other))
        steps = num.two_diff(b, a)
        total, step = _sum(a, jnp.zeros_like(a)), _sum(*steps)
        # a_i step - steps_i total, the total as two numbers too.
        every = [jnp.broadcast_to(x, a.shape) for x in (*step, *total)]
        cross = products_apart(a, (every[0], every[1]), every[2], steps) - steps[0] * every[3]
        return _Direction(steps[0], step[0], cross)

    def at(self, other: "Dirichlet", direction: _Direction, t: Real, rest: Real) -> "Dirichlet":
        t, rest = jnp.asarray(t)[..., None], jnp.asarray(rest)[..., None]
        return Dirichlet(mixed(rest, self.concentration, t, other.concentration))

    def bend(self, point: "Dirichlet", direction: _Direction, t: Real) -> Array:
        a, b = (jnp.moveaxis(x.concentration, -1, 0) for x in (self, point))
        whole_a, whole_b = _total(a), _total(b)
        each = t if isinstance(t, int | float) else jnp.broadcast_to(t, whole_a.shape)[None]
        # KL of the means; y_i - 1 = (A_i B_0 - B_i A_0) / (B_i A_0)
        slope = direction.cross / (whole_a[None] * b)
        ratio = (a / whole_a[None]) * (whole_b[None] / b)
        parts = b * excess(slope, each, ratio) + gamma_bend(a, b, direction.concentration, each)
        value = _total(parts) - gamma_bend(whole_a, whole_b, direction.total, t)
        crowded = _crowded(a, b)
        value = jax.lax.cond(
            jnp.any(crowded),
            lambda: _crowded_bend(a, b, direction.concentration, t, crowded, value),
            lambda: value,
        )
        return jnp.where(value < 0, 0, value)


# Where one concentration is nearly all of their sum, its bend and that of the sum cancel. With x
# the largest one and r the sum of the others, log Gamma(x) - log Gamma(x + r) is minus the integral
# of digamma(x + s r) r ds over [0, 1], whose bend has terms that hardly cancel.
# Where r is above 1 it is the KL of means that keeps the digits.
_CROWDED = 1 / 8  # the most that r is of x
# By Gauss's nodes: digamma's pole is 8 r away, which leaves 34^(-2 n).
_NODES = {double: np.polynomial.legendre.leggauss(n) for double, n in ((False, 3), (True, 5))}


def _largest(x: Array) -> Array:
    """Where the first one of the largest entries is, along the first axis."""
    first = jax.lax.argmax(x, 0, jnp.int32)
    return jax.lax.broadcasted_iota(jnp.int32, x.shape, 0) == first[None]


def _crowded(a: Array, b: Array) -> Array:
    a, b = jax.lax.stop_gradient((a, b))
    first = _largest(a)

    def alone(x: Array) -> Array:
        most, rest = _total(jnp.where(first, x, 0)), _total(jnp.where(first, 0, x))
        return rest <= jnp.minimum(_CROWDED * most, 1)

    return alone(a) & alone(b) & (a.shape[0] > 1)


def _crowded_bend(a: Array, b: Array, d: Array, t: Real, crowded: Array, otherwise: Array) -> Array:
    # What other rows would overflow to has no finite derivative, not even by a factor of 0.
    a, b, d = (jnp.where(crowded[None], x, safe) for x, safe in ((a, 1), (b, 1), (d, 0)))
    first = _largest(jax.lax.stop_gradient(a))

    def split(x: Array) -> tuple[Array, Array]:
        return _total(jnp.where(first, x, 0)), _total(jnp.where(first, 0, x))

    (x, r), (y, s), (dx, dr) = split(a), split(b), split(d)
    each = t if isinstance(t, int | float) else jnp.broadcast_to(t, x.shape)[None]
    value = _total(jnp.where(first, 0, lgamma_bend(a, b, d, each)))
    nodes, weights = _NODES[num.is_double(x)]
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        u, v, du = x + node * r, y + node * s, dx + node * dr
        value = value + weight * (s * digamma_bend(u, v, du, t) - du * trigamma(u) * dr)
    return jnp.where(crowded, value, otherwise)


def direction_of(steps: Array, total: Array, cross: Array) -> _Direction:
    """Of the differences of concentrations, their sum, and a_i * total - steps_i * (sum of a)."""
    return _Direction(steps, total, cross)


@family
class Beta(Family):
    """Beta distribution on (0, 1), density proportional to x^(a-1) (1-x)^(b-1).

    It may stand beside a `Dirichlet` of two concentrations, as the distribution of (x, 1 - x).
    """

    concentration1: Number = parameter(POSITIVE)
    concentration0: Number = parameter(POSITIVE)

    def like(self, other: Family) -> Family:
        two = isinstance(other, Dirichlet) and other.event_shape() == (2,)
        return self.view().core if two else self

    def support(self) -> Support:
        return Support("reals", 0.0, 1.0)

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        a, b = self.concentration1, self.concentration0
        return (a / (a + b) - origin) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        a, b = self.concentration1, self.concentration0
        total = a + b
        return (a / total) * (b / total) / (total + 1) / jnp.square(unit)

    def mean_log(self, unit: Real = 1.0) -> Array:
        a, total = self.concentration1, self.concentration1 + self.concentration0
        return jnp.log(a / total / unit) - log_less_digamma(a) + log_less_digamma(total)

    def mean_log1m(self) -> Array:
        return Beta(self.concentration0, self.concentration1).mean_log()

    def power_gap(self, k: Real) -> Array:
        a, total = self.concentration1, self.concentration1 + self.concentration0
        step = jnp.broadcast_to(k, a.shape).astype(a.dtype)
        some = a + step > 0
        step = jnp.where(some, step, 0)
        gap = lgamma_bend(a, a + step, step) - lgamma_bend(total, total + step, step)
        return jnp.where(some, gap, jnp.inf)

    def log_variance(self) -> Array:
        a, total = self.concentration1, self.concentration1 + self.concentration0
        return trigamma(a) - trigamma(total)

    def entropy(self, unit: Real = 1.0) -> Array:
        return self.view().core.entropy() - jnp.log(jnp.asarray(unit, self.concentration1.dtype))

    def log_entropy(self) -> Array:
        return self.entropy() - self.mean_log()

    def kl_from(self, p: Any) -> Array:
        # -a E log x - b E log(1 - x) less its least value, at x = a / (a + b), and log B(a, b).
        a, b = self.concentration1, self.concentration0
        total, x, y = a + b, p.mean_log(), p.mean_log1m()
        apart = a * (jnp.log(a / total) - x) + b * (jnp.log(b / total) - y)
        log_beta = jnp.log(total / (a * b)) / 2 + binet(a) + binet(b) - binet(total)
        return apart + (x + y + (log_beta + HALF_LOG_TAU) - p.entropy())

    def view(self) -> View:
        both = jnp.stack([self.concentration1, self.concentration0], axis=-1)
        return View(Dirichlet(both), "(x, 1 - x)", {})
