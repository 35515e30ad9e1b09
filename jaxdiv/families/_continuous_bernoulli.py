"""The continuous Bernoulli distribution: an exponential one, cut off to [0, 1]."""

import math
from fractions import Fraction
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from .. import _numerics as num
from ._edges import Pair, along
from ._odds import Odds, exactly_one, odds, odds_at, step_between
from .base import REAL, Domain, ExponentialFamily, Family, Number, Real, View, family, parameter
from .bends import excess
from .expectations import Support

INNER = Domain("in (0, 1)", lambda x: (x > 0) & (x < 1))


def _series(count: int) -> list[float]:
    """Coefficients of 1/y^2 - 1/sinh(y)^2 = 1/3 - y^2/15 + ... in y^2, by Bernoulli's numbers."""
    bernoulli = [Fraction(1)]
    for n in range(1, 2 * count + 1):
        total = sum((math.comb(n + 1, k) * b for k, b in enumerate(bernoulli)), start=Fraction(0))
        bernoulli.append(-total / (n + 1))
    return [
        float(bernoulli[2 * k] * 4**k * (2 * k - 1) / math.factorial(2 * k))
        for k in range(1, count + 1)
    ]


_COUNT = (8, 17)  # for y <= 1
_CURVATURE = _series(_COUNT[1])


def _expansion(z: Array, integrals: int) -> tuple[Array, Array, Array]:
    """|z| <= 2, where S's derivatives are by series, that z, and (z/2)^2 S''-like there."""
    near = jnp.abs(z) <= 2
    small = jnp.where(near, z, 0)
    coefficients = _CURVATURE[: _COUNT[num.is_double(z)]]
    for n in range(1, integrals + 1):
        coefficients = [c / (2 * k + n) for k, c in enumerate(coefficients)]
    return near, small, num.polynomial(jnp.square(small / 2), coefficients) / 4


def _curvature(z: Array) -> Array:
    """S'' = 1/z^2 - 1/(4 sinh(z/2)^2)."""
    near, _, series = _expansion(z, 0)
    far = jnp.where(near, 3, jnp.abs(z))
    less = jnp.exp(-far)
    return jnp.where(near, series, 1 / (far * far) - less / jnp.square(1 - less))


def _slope(z: Array) -> Array:
    """S' = coth(z/2)/2 - 1/z, the mean less a half."""
    near, small, series = _expansion(z, 1)
    far = jnp.where(near, 3, z)
    less = jnp.exp(-jnp.abs(far))
    away = jnp.sign(far) * (0.5 * (1 + less) / (1 - less)) - 1 / far
    return jnp.where(near, small * series, away)


def _even(z: Array) -> Array:
    """S = log(sinh(z/2) / (z/2)), the log-partition less z/2."""
    near, small, series = _expansion(z, 2)
    far = jnp.where(near, 3, jnp.abs(z))
    away = far / 2 + jnp.log((1 - jnp.exp(-far)) / far)
    return jnp.where(near, small * small * series, away)


def _bend(a: Array, b: Array, d: Array, t: Array) -> Array:
    """The bend of S from a to b = a + t d.

    Near each other it is an integral of S'' by Gauss' quadrature. From 1 on, S is z/2 - log z +
    log(1 - e^-z) for positive z, and the bends of both logarithms are of terms of one sign. Else
    it is at least a tenth of what is subtracted.
    """
    step = t * d
    a, b, step, d = (jnp.where(a < 0, -x, x) for x in (a, b, step, d))
    large = (a >= 1) & (b >= 1)
    near = ~large & (jnp.abs(step) <= 4)
    nodes, weights = num.gauss(a)
    inner, short = jnp.where(near, a, 0), jnp.where(near, step, 0)
    mean = sum(
        (float(w * (1 - u)) * _curvature(inner + float(u) * short)
         for u, w in zip(nodes, weights, strict=True)),
        start=jnp.zeros_like(a),
    )  # fmt: skip
    # With c = 1/(e^a - 1) and w = 1 - e^-step, (1 - e^-b) / (1 - e^-a) = 1 + c w.
    x, y = jnp.where(large, a, 1), jnp.where(large, b, 1)
    length = jnp.where(large, step, 0)
    c = jnp.exp(-x) / (1 - jnp.exp(-x))
    # c times (e^-step - 1) / -step and its bend; where e^-step may overflow, from c e^-step.
    steep = length < -20
    gentle, long = jnp.where(steep, 0, length), jnp.where(steep, length, 1)
    whole = jnp.exp(-y) / (1 - jnp.exp(-x))
    over = jnp.where(steep, (c - whole) / long, c * num.expm1_over(-gentle))
    bent = (whole - c * (1 - long)) / jnp.square(long)
    fall = jnp.square(over) * _log1p_bend(over * length)
    fall = fall + jnp.where(steep, bent, c * num.expm1_bend(-gentle))
    apart = excess(jnp.where(large, d, 0) / x, t, y / x) - jnp.square(d) * fall
    safe = jnp.where(near | large, 1, t)
    far = (_even(b) - _even(a) - step * _slope(a)) / jnp.square(safe)
    return jnp.where(near, d * d * mean, jnp.where(large, apart, far))


def _log1p_bend(x: Array) -> Array:
    """(x - log(1 + x)) / x^2 for x > -1."""
    near = (x >= -0.5) & (x <= 1)
    far = jnp.where(near, 2, x)
    small = num.log1p_bend_near(jnp.where(near, x, 0))
    return jnp.where(near, small, (far - jnp.log1p(far)) / (far * far))


@family
class Tilted(ExponentialFamily):
    """Density proportional to e^(z x) on [0, 1], z the log-odds."""

    odds: Odds
    statistics: ClassVar = ("x",)

    def valid(self) -> Array:
        return jnp.isfinite(self.odds.log_odds)

    def natural(self) -> tuple[Array, ...]:
        return (self.odds.log_odds,)

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        return natural[0] / 2 + _even(natural[0])

    def toward(self, other: "Tilted") -> Pair:
        return step_between(self.odds, other.odds)

    def at(self, other: "Tilted", direction: Pair, t: Real, rest: Real) -> "Tilted":
        z = along((self.odds.log_odds, self.odds.low), direction, jnp.asarray(t))
        return Tilted(odds_at(*z))

    def bend(self, point: "Tilted", direction: Pair, t: Real) -> Array:
        length = direction[0] + direction[1]
        return _bend(self.odds.log_odds, point.odds.log_odds, length, jnp.asarray(t, length.dtype))


@family
class ContinuousBernoulli(Family):
    """Continuous Bernoulli distribution on [0, 1], density proportional to p^x (1-p)^(1-x).

    With p given as `probs`, in (0, 1), or by its log-odds, `logits`; p is not the mean.

    Reference: Loaiza-Ganem and Cunningham, The continuous Bernoulli, arXiv 1907.06845.
    """

    probs: Number = parameter(INNER, default=None)
    logits: Number = parameter(REAL, default=None)

    def consistent(self, name: str) -> None:
        exactly_one(name, self.probs, self.logits)

    def view(self) -> View:
        return View(Tilted(odds(self.probs, self.logits)), "x", {})

    def _log_odds(self) -> Array:
        return odds(self.probs, self.logits).log_odds

    def support(self) -> Support:
        return Support("reals", 0.0, 1.0)

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        return ((0.5 - origin) + _slope(self._log_odds())) / unit

    def variance(self, unit: Real = 1.0) -> Array:
        return _curvature(self._log_odds()) / jnp.square(unit)

    def entropy(self, unit: Real = 1.0) -> Array:
        z = self._log_odds()
        return _even(z) - z * _slope(z) - jnp.log(jnp.asarray(unit, z.dtype))

    def cumulant(self, t: Array) -> Array:
        z = self._log_odds()
        return _bend(z, z + t, t, jnp.ones_like(z))

    def kl_from(self, p: Any) -> Array:
        z = self._log_odds()
        return _even(z) - z * p.mean(0.5, 1.0) - p.entropy()
