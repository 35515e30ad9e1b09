"""Intervals of Python floats, rounded outward.

Bounds from -inf to inf say nothing, not even that there is a number: so is what was divided by an
interval with 0 in it, and what left the domain of a function. Whatever is made of them says
nothing either, or e^(1/t) and (1/t)^2 would look as if they were at least 0 at t = 0 too.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from .rules import FUNCTIONS

_INF = math.inf
_MAX = 1.7976931348623157e308
_TINY = 2.2250738585072014e-308
_LEAST = 5e-324
# C's math library is within two ulps of the truth for these functions on every platform that
# Python runs on (four for the cube root); 4.5 of them leave room.
_RELATIVE = 5 * 2.0**-52
_ABSOLUTE = 5 * _LEAST
_next = math.nextafter
_FARTHEST = 1e6  # beyond it a turn is not told apart to enough digits


def _sum_below(a: float, b: float) -> float:
    """A lower bound of a + b; the sum itself where it is exact (the error of TwoSum is 0)."""
    s = a + b
    v = s - a
    if (a - (s - v)) + (b - v) == 0:
        return s
    if math.isinf(a) or math.isinf(b):
        return s
    return _next(s, -_INF)


def _product(a: float, b: float) -> tuple[float, float]:
    """Bounds of a * b, 0 * inf being 0: the limit of products with a zero end."""
    if a == 0 or b == 0:
        return 0.0, 0.0
    p = a * b
    if p == 0:
        return (0.0, _LEAST) if (a > 0) == (b > 0) else (-_LEAST, 0.0)
    if math.isinf(p) and (math.isinf(a) or math.isinf(b)):
        return p, p
    return _next(p, -_INF), _next(p, _INF)


def _holds(low: float, high: float, turns: float) -> bool:
    """Whether an angle of so many turns, up to whole ones, may lie between two others."""
    first, last = low / math.tau - turns - 1e-9, high / math.tau - turns + 1e-9
    return math.floor(last) >= math.ceil(first)


def _scales(a: float) -> bool:
    """Whether multiplication by a is exact, a being a power of two."""
    return abs(math.frexp(a)[0]) == 0.5


def _below(x: float) -> float:
    """A lower bound of what C's math library says is x."""
    if -_INF < x < _INF:
        return x - (abs(x) * _RELATIVE + _ABSOLUTE)
    return _MAX * (1 - _RELATIVE) if x > 0 else -_INF


class Bounds:
    """All reals between two floats, which may be infinite."""

    __slots__ = ("lower", "upper")

    def __init__(self, lower: float, upper: float | None = None):
        self.lower = float(lower)
        self.upper = self.lower if upper is None else float(upper)
        if not self.lower <= self.upper:
            self.lower, self.upper = -_INF, _INF

    @staticmethod
    def lift(x: Any) -> "Bounds":
        """The tightest bounds of a number that is known exactly."""
        if isinstance(x, Bounds):
            return x
        try:
            near = float(x)
        except OverflowError:
            return Bounds(_MAX, _INF) if x > 0 else Bounds(-_INF, -_MAX)
        if isinstance(x, float) or Fraction(near) == x:
            return Bounds(near)
        return Bounds(_next(near, -_INF), _next(near, _INF))

    def __repr__(self) -> str:
        return f"[{self.lower!r}, {self.upper!r}]"

    def _unknown(self) -> bool:
        return self.lower == -_INF and self.upper == _INF

    def finite(self) -> bool | None:
        """Whether it is a finite number, where that is certain."""
        return True if -_INF < self.lower and self.upper < _INF else None

    def __add__(self, other: Any) -> "Bounds":
        if type(other) is not Bounds:
            other = Bounds.lift(other)
        return _bounds(_sum_below(self.lower, other.lower), -_sum_below(-self.upper, -other.upper))

    __radd__ = __add__

    def __neg__(self) -> "Bounds":
        return _bounds(-self.upper, -self.lower)

    def __sub__(self, other: Any) -> "Bounds":
        if type(other) is not Bounds:
            other = Bounds.lift(other)
        return _bounds(_sum_below(self.lower, -other.upper), -_sum_below(-self.upper, other.lower))

    def __rsub__(self, other: Any) -> "Bounds":
        return Bounds.lift(other) - self

    def __mul__(self, other: Any) -> "Bounds":
        if type(other) is not Bounds:
            other = Bounds.lift(other)
        a, b, c, d = self.lower, self.upper, other.lower, other.upper
        # The ends of the ends, for all signs but those of two intervals that both straddle 0.
        if a >= 0:
            low, high = (a if c >= 0 else b) * c, (b if d >= 0 else a) * d
        elif b <= 0:
            low, high = (a if d >= 0 else b) * d, (b if c >= 0 else a) * c
        elif c >= 0:
            low, high = a * d, b * d
        elif d <= 0:
            low, high = b * c, a * c
        else:
            return self._times(other)
        if not (low and high and -_INF < low and high < _INF):  # NaN too
            return self._times(other)
        if (c == d and _scales(c)) or (a == b and _scales(a)):
            if abs(low) > _TINY and abs(high) > _TINY:
                return _bounds(low, high)
        return _bounds(_next(low, -_INF), _next(high, _INF))

    __rmul__ = __mul__

    def _times(self, other: "Bounds") -> "Bounds":
        if self._unknown() or other._unknown():
            return _bounds(-_INF, _INF)
        ends = [
            _product(a, b) for a in (self.lower, self.upper) for b in (other.lower, other.upper)
        ]
        return _bounds(min(low for low, _ in ends), max(high for _, high in ends))

    def __truediv__(self, other: Any) -> "Bounds":
        if type(other) is not Bounds:
            other = Bounds.lift(other)
        a, b, c, d = self.lower, self.upper, other.lower, other.upper
        if c <= 0:
            if d >= 0:
                return _bounds(-_INF, _INF)
            a, b, c, d = -b, -a, -d, -c
        low = a / (d if a >= 0 else c)
        high = b / (c if b >= 0 else d)
        if low != low or high != high:  # an infinite end divided by another
            return _bounds(-_INF, _INF)
        exact = c == d and _scales(c)
        if not (a in (0, -_INF) or (exact and _TINY < abs(low) < _INF)):
            low = _next(low, -_INF)
        if not (b in (0, _INF) or (exact and _TINY < abs(high) < _INF)):
            high = _next(high, _INF)
        return _bounds(max(0.0, low) if a >= 0 else low, min(0.0, high) if b <= 0 else high)

    def __rtruediv__(self, other: Any) -> "Bounds":
        return Bounds.lift(other) / self

    def __abs__(self) -> "Bounds":
        if self.lower >= 0 or self._unknown():
            return self
        if self.upper <= 0:
            return -self
        return _bounds(0.0, max(-self.lower, self.upper))

    def __pow__(self, n: int) -> "Bounds":
        if n < 0:
            return _ONE / self**-n
        if self._unknown():
            return self
        if n == 0:
            return _ONE
        if self.lower >= 0:
            # For these the ends of a product are the products of the ends.
            half = self if n == 1 else self ** (n // 2)
            return half if n == 1 else half * half * self if n % 2 else half * half
        if n % 2 == 0:
            return abs(self) ** n
        if self.upper <= 0:
            return -((-self) ** n)
        return _bounds((_bounds(self.lower, 0.0) ** n).lower, (_bounds(0.0, self.upper) ** n).upper)

    def order(self, other: Any) -> int | str | None:
        """How it compares with another number for certain."""
        other = Bounds.lift(other)
        if self._unknown() or other._unknown():
            return None
        if self.lower == self.upper == other.lower == other.upper:
            return 0
        if self.lower > other.upper:
            return 1
        if self.upper < other.lower:
            return -1
        if self.lower == other.upper:
            return ">="
        return "<=" if self.upper == other.lower else None

    def sign_of(self) -> "Bounds":
        """The hull of the signs."""
        if self._unknown():
            return self
        return Bounds((self.lower > 0) - (self.lower < 0), (self.upper > 0) - (self.upper < 0))

    def maximum(self, other: Any) -> "Bounds":
        """The larger."""
        other = Bounds.lift(other)
        if self._unknown() or other._unknown():
            return _bounds(-_INF, _INF)
        return _bounds(max(self.lower, other.lower), max(self.upper, other.upper))

    def minimum(self, other: Any) -> "Bounds":
        """The smaller."""
        return -(-self).maximum(-Bounds.lift(other))

    @staticmethod
    def hull(x: Any, y: Any) -> "Bounds":
        """Both."""
        x, y = Bounds.lift(x), Bounds.lift(y)
        return _bounds(min(x.lower, y.lower), max(x.upper, y.upper))

    def _monotone(
        self,
        f: Callable[[float], float],
        domain: tuple[float, float] = (-_INF, _INF),
        image: tuple[float, float] = (-_INF, _INF),
        exact: tuple[float, float] = (0.0, 0.0),
    ) -> "Bounds":
        """An increasing function on a domain, with its range there, and one value that is exact."""
        low, high = self.lower, self.upper
        if low < domain[0] or high > domain[1] or (low == -_INF and high == _INF):
            return _bounds(-_INF, _INF)
        x, y = exact
        return _bounds(
            y if low == x else max(image[0], _below(_value(f, low))),
            y if high == x else min(image[1], -_below(-_value(f, high))),
        )

    def exp(self) -> "Bounds":
        """e^x."""
        return self._monotone(math.exp, image=(0.0, _INF), exact=(0.0, 1.0))

    def exp2(self) -> "Bounds":
        """2^x."""
        return self._monotone(_exp2, image=(0.0, _INF), exact=(0.0, 1.0))

    def expm1(self) -> "Bounds":
        """e^x - 1."""
        return self._monotone(math.expm1, image=(-1.0, _INF))

    def log(self) -> "Bounds":
        """The natural logarithm; log 0 = -inf."""
        return self._monotone(_log, (0.0, _INF), exact=(1.0, 0.0))

    def log1p(self) -> "Bounds":
        """log(1 + x)."""
        return self._monotone(_log1p, (-1.0, _INF))

    def sqrt(self) -> "Bounds":
        """The square root."""
        return self._monotone(math.sqrt, (0.0, _INF), (0.0, _INF), (1.0, 1.0))

    def rsqrt(self) -> "Bounds":
        """1 / sqrt x."""
        return _ONE / self.sqrt()

    def cbrt(self) -> "Bounds":
        """The cube root."""
        return self._monotone(math.cbrt)

    def sin(self) -> "Bounds":
        """The sine."""
        return self._wave(math.sin, peak=0.25)

    def cos(self) -> "Bounds":
        """The cosine."""
        return self._wave(math.cos, peak=0.0)

    def _wave(self, function: Callable[[float], float], peak: float) -> "Bounds":
        """Its values at the ends, and 1 or -1 where a peak or a trough may be inside.

        Peaks are at `peak` of a period, troughs half a period later.
        """
        low, high = self.lower, self.upper
        if low == -_INF and high == _INF:
            return self
        if not -_FARTHEST < low <= high < _FARTHEST or high - low > 6.28:
            return _bounds(-1.0, 1.0)
        ends = function(low), function(high)
        return _bounds(
            -1.0 if _holds(low, high, peak + 0.5) else max(-1.0, _below(min(ends))),
            1.0 if _holds(low, high, peak) else min(1.0, -_below(-max(ends))),
        )

    def tanh(self) -> "Bounds":
        """The hyperbolic tangent."""
        return self._monotone(math.tanh, image=(-1.0, 1.0))

    def atan(self) -> "Bounds":
        """The inverse tangent."""
        return self._monotone(math.atan, image=(-2.0, 2.0))

    def asin(self) -> "Bounds":
        """The inverse sine."""
        return self._monotone(math.asin, (-1.0, 1.0), (-2.0, 2.0))

    def acos(self) -> "Bounds":
        """The inverse cosine, which falls."""
        return -self._monotone(_minus_acos, (-1.0, 1.0), (-_INF, 0.0), (1.0, 0.0))

    def logistic(self) -> "Bounds":
        """1 / (1 + e^-x)."""
        return _ONE / (_ONE + (-self).exp())

    def power(self, other: Any) -> "Bounds":
        """x^y for x >= 0, or an integer y."""
        exponent = Bounds.lift(other)
        y = exponent.lower
        if y != exponent.upper or math.isinf(y):
            return (exponent * self.log()).exp()
        if y.is_integer() and abs(y) <= 64:
            return self ** int(y)
        if y < 0:
            return _ONE / self.power(-y)
        return self._monotone(lambda x: math.pow(x, y), (0.0, _INF), (0.0, _INF), (1.0, 1.0))

    def __getattr__(self, name: str) -> Any:
        if name in FUNCTIONS:
            raise NotImplementedError(f"{name} of an interval has no rule in exact arithmetic")
        raise AttributeError(name)


_ONE = Bounds(1.0)


def _bounds(lower: float, upper: float) -> Bounds:
    """Of floats; all reals where one is NaN."""
    new = object.__new__(Bounds)
    if lower <= upper:
        new.lower, new.upper = lower, upper
    else:
        new.lower, new.upper = -_INF, _INF
    return new


def _exp2(x: float) -> float:
    return 2.0**x


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -_INF


def _log1p(x: float) -> float:
    return math.log1p(x) if x > -1 else -_INF


def _minus_acos(x: float) -> float:
    return -math.acos(x)


def _value(f: Callable[[float], float], x: float) -> float:
    """Where f overflows it is positive: only functions that do so at +inf are asked for."""
    try:
        return f(x)
    except OverflowError:
        return _INF
