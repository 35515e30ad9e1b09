"""Similar rows of logits in one pass: divergences that are functions of a sum of powers.

Renyi's divergence R of order a = 1 + b is log sum(p e^(b l)) / b with l = log(p/q), and an
alpha-divergence is a function of it. Let d = x - y - g be what is left of the difference of logits
by any guess g of log-ratios' common part, w = e^x, means be those by w, and

    E = mean(e^-d - 1),   T = mean((e^(b d) - 1 - b d)/b + e^-d - 1 + d),   X = T - E.

Then p = w / sum w, l = d + log(1 + E), and R = log(1 + E) + log(1 + b X)/b, or

    R = T - E^2 B(E) - b X^2 B(b X),   B(x) = (x - log(1 + x))/x^2,

in which all is of second order. So one exponential and power series of d are all that an outcome
needs, the sum of q's exponentials is not even found, and however near the sides are no digit is
lost, as there is no error common to all log-ratios. The guess only has to be good enough for what
is taken off to be small; if it is not, the row has told a better one.

With t = b (l - R) the derivatives by x and y are a p (e^t - 1)/b and p (e^-l - e^t).
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _exponentials as exponentials
from .. import _numerics as num
from .._divergence import Scalar, Separable, told
from .normalised import LARGEST, in_range, two_diff

REACH = 2.0  # of |d|, and of |b d|
_TERMS = 10  # of the series, relative to which they are right to half an ulp there
_FURTHER = 2.25  # of |l|, and of |t|, where there are derivatives
_MORE = 11
_LITTLE = 0.25  # the part of a value that may be taken off, with the error that it has
_TINY = 1e-22  # of sums, relative to 2^shift: of which terms that underflow are no part
_LEAST = 0.25  # order with derivatives, in which e^-l - e^t cancels

_TAYLOR = 24
_FACTORIALS = np.asarray([math.factorial(k) for k in range(_TAYLOR + 2)], float)

OF_SLOPES = ["squares", "slopes"]  # sums that only derivatives need


@functools.cache
def _economy(reach: float, terms: int) -> np.ndarray:
    """What makes of a Taylor series one of fewer terms, by Chebyshev's polynomials up to reach."""
    from numpy.polynomial import chebyshev

    made = np.zeros((terms, _TAYLOR))
    for power in range(_TAYLOR):
        scaled = chebyshev.poly2cheb([0.0] * power + [reach**power])[:terms]
        kept = chebyshev.cheb2poly(scaled)
        made[: len(kept), power] = kept / reach ** np.arange(len(kept))
    return made


def _bend() -> list[float]:
    """(e^-d - 1 + d) / d^2."""
    taylor = (-1.0) ** np.arange(_TAYLOR) / _FACTORIALS[2:]
    return (_economy(REACH, _TERMS) @ taylor).tolist()


def _growth() -> list[float]:
    """(e^t - 1) / t."""
    return (_economy(_FURTHER, _MORE) @ (1 / _FACTORIALS[1:-1])).tolist()


class Once(NamedTuple):
    """A divergence that is found in one pass: Renyi's, or a multiple of the alpha-divergence."""

    order: Scalar  # a float where it is known
    multiple: float | None = None  # None of Renyi's
    swapped: bool = False  # whether p and q change places

    def is_kl(self) -> bool:
        """Whether it is known that a = 1, where E and T take the same series."""
        return isinstance(self.order, float) and self.order == 1

    def sums(self) -> list[str]:
        """The names of what `terms` are summed to."""
        second = [] if self.is_kl() else ["second"]
        return ["total", "first", "bend", *second, *OF_SLOPES, "most"]

    def unit(self) -> Scalar:
        """How many times |d| the larger of |d| and |b d| is."""
        if isinstance(self.order, float):
            return max(1.0, abs(self.order - 1))
        return jnp.maximum(1, jnp.abs(self.order - 1))

    def reach(self) -> Array:
        """How large |d| may be."""
        return jnp.float32(REACH) / self.unit()

    def _series(self) -> list[Any]:
        """That of T's terms over d^2: a times the divided difference exp[0, b d, -d]."""
        # In units of d, so that the powers of b that are added up don't overflow.
        unit = self.unit()
        share, back = (self.order - 1) / unit, -1 / unit
        taylor, power, last = [], 1.0, 1.0
        for factorial in _FACTORIALS[2:].tolist():
            taylor.append(power / factorial)
            last = last * back
            power = share * power + last
        series, scale = [], self.order
        for row in _economy(REACH, _TERMS).tolist():
            series.append(scale * sum(m * t for m, t in zip(row, taylor, strict=True) if m))
            scale = scale * unit
        return series

    def terms(
        self, x: Array, y: Array, shift: Array, guess: Array, guess_low: Array
    ) -> list[Array]:
        """What is summed over the outcomes: w, w d, the terms of E + mean(d) and of T.

        And w^2 and (w d)^2 if there are derivatives; and |d|, of which the maximum counts. `shift`
        is for w.
        """
        weight, d = _parts(x, y, shift, guess, guess_low)
        first = weight * d
        second = first * d
        every = [_bend()] if self.is_kl() else [_bend(), self._series()]
        bends = [second * num.polynomial(d, series) for series in every]
        return [weight, first, *bends, weight * weight, first * first, jnp.abs(d)]

    def found(self, sums: Mapping[str, Array], guess: Array, guess_low: Array) -> list[Array]:
        """The divergence, whether it stands, and if not whether a better guess may help.

        And log(1 + E), R, and that guess, as a pair.
        """
        total, first, bend, most = (sums[x] for x in ("total", "first", "bend", "most"))
        second = sums.get("second", bend)
        fine = in_range(total) & (most <= self.reach())
        per = 1 / jnp.where(fine, total, 1)
        b, whole = self.order - 1, second * per
        excess = (bend - first) * per
        rest = b * (whole - excess)
        fine &= _usual(excess) & _usual(rest)  # which no NaN is, though `most` may have missed it
        excess, rest = jnp.where(fine, excess, 0), jnp.where(fine, rest, 0)
        from_q = excess * excess * num.log1p_bend_near(excess)
        from_p = (whole - excess) * rest * num.log1p_bend_near(rest)
        renyi = whole - from_q - from_p
        some = (jnp.abs(second) >= _TINY) & (bend >= _TINY)
        right = some & (from_q + jnp.abs(from_p) <= _LITTLE * jnp.abs(renyi))
        value = renyi
        if self.multiple is not None:
            value = self.multiple * renyi * num.expm1_over(b * renyi) / self.order
        common = excess - from_q
        better = num.two_sum(guess, guess_low - common)
        return [value, fine & (right | (most == 0)), fine & some & ~right, common, renyi, *better]

    def moves(self, sums: Mapping[str, Array], common: Array, renyi: Array) -> list[Array]:
        """Whether there are derivatives, and whether a better guess may help these.

        And the factor that they have beside those of R. Where few outcomes have most of the mass,
        their l may be a small part of d, with the error of log(1 + E).
        """
        furthest = sums["most"] + jnp.abs(common)
        fine = furthest <= _FURTHER
        factor = jnp.ones_like(renyi)
        if not self.is_kl():
            order = jnp.asarray(self.order)
            b = order - 1
            reach = jnp.abs(b) * (furthest + jnp.abs(renyi))
            fine &= (reach <= _FURTHER) & (jnp.abs(order) >= _LEAST)
            if self.multiple is not None:
                factor = self.multiple * jnp.exp(b * renyi) / self.order
        uneven = common * common * sums["squares"] > 0.25 * sums["slopes"]
        return [fine, uneven, factor]

    def slopes(
        self, x: Array, y: Array, shift: Array, guess: Array, guess_low: Array, total: Array,
        common: Array, renyi: Array,
    ) -> tuple[Array, Array]:  # fmt: skip
        """The derivatives of R by x and by y."""
        weight, d = _parts(x, y, shift, guess, guess_low)
        mass, ratio = weight * (1 / total), d + common
        growth = _growth()
        from_q = ratio * num.polynomial(-ratio, growth)
        if self.is_kl():
            return mass * (ratio - renyi), -mass * from_q
        b, left = self.order - 1, ratio - renyi
        grown = left * num.polynomial(b * left, growth)
        return self.order * (mass * grown), -mass * (from_q + b * grown)


def _parts(x: Array, y: Array, shift: Array, guess: Array, guess_low: Array) -> tuple[Array, Array]:
    """w and d, which are numbers where x and y are numbers or -inf.

    An outcome that both sides lack has d = 0. One that one side lacks is beyond reach, and
    so is an outcome that differs however little mass it has: (p/q)^b may have much.
    """
    lacking = x == -jnp.inf
    high, low = two_diff(*(jnp.where(z < -LARGEST, -LARGEST, z) for z in (x, y)))
    d = (high - jnp.where(lacking, 0, guess)) + (low - guess_low)
    return exponentials.weight(x, shift), d


def _usual(x: Array) -> Array:
    return (x >= -0.5) & (x <= 1)


def once_of(divergence: Separable) -> Once | None:
    """Of a divergence that is a multiple of an alpha-divergence; else None."""
    power = told(divergence, "power")
    return None if power is None else Once(*power)
