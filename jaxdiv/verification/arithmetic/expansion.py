"""Functions near 0 or infinity as finite sums, with every remainder enclosed.

An `Expansion` stands for a function of t on the whole of 0 < t <= a:

    sum over (k, j) of C t^k L^j,    L = -log t > 0, k a fraction, j = 0, 1, ...

where each C is a range of rationals: the function equals the sum for some numbers in the ranges,
which may depend on t. Sums, products and quotients by one term are exact, so that 1/t + 1/t - t/t^2
is 1/t; 1/(1 + r), log(1 + r), (1 + r)^p and e^r are Taylor polynomials with Lagrange's remainder.
What the leading term dominates has its sign, for all of those t at once: this is how proofs over
(0, inf) reach both ends.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from .bounds import Bounds
from .rules import FUNCTIONS
from .rules import power as exact_power

_ORDER = 8  # terms of a Taylor polynomial
_MOST = 24  # terms that are kept apart
_LEAST = 2.0**-1000  # what bounds of powers do not go below
_UP = 1 + 2.0**-40  # more than sums of a few dozen floats are rounded down by
Key = tuple[Fraction | int, int]  # powers that are integers are ints, which hash fast


class Range(NamedTuple):
    """One rational as a fraction, twice, or all numbers between two different floats."""

    lower: Fraction | float
    upper: Fraction | float

    @staticmethod
    def of(x: Bounds) -> "Range":
        """Bounds, widened where they are one float."""
        low, high = x.lower, x.upper
        if low == high:
            low, high = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
        if math.isinf(low) or math.isinf(high):
            raise NotImplementedError("a coefficient beyond the range of floats")
        return Range(low, high)

    def __repr__(self) -> str:
        if self.lower == self.upper:
            return str(self.lower)
        return f"[{float(self.lower):.3g}, {float(self.upper):.3g}]"

    @property
    def bounds(self) -> Bounds:
        """As an interval of floats."""
        if self.lower == self.upper:
            return Bounds.lift(self.lower)
        return Bounds(self.lower, self.upper)  # pyright: ignore[reportArgumentType]

    @property
    def largest(self) -> float:
        """An upper bound of the absolute value."""
        return float(max(-self.lower, self.upper)) * _UP + _LEAST

    def plus(self, other: "Range") -> "Range":
        """The sum."""
        if self.lower == self.upper and other.lower == other.upper:
            value = self.lower + other.lower
            return Range(value, value)
        return Range.of(self.bounds + other.bounds)

    def times(self, other: "Range") -> "Range":
        """The product."""
        if self.lower == self.upper and other.lower == other.upper:
            value = self.lower * other.lower
            return Range(value, value)
        return Range.of(self.bounds * other.bounds)

    def reciprocal(self) -> "Range":
        """1/x, for a range without 0."""
        if self.lower == self.upper:
            return point(Fraction(1) / self.lower)  # pyright: ignore[reportArgumentType]
        return Range.of(1 / self.bounds)


def point(x: Fraction | int) -> Range:
    """One number."""
    return Range(Fraction(x), Fraction(x))


class Context:
    """What the expansions of one evaluation share: a, and whether a choice was made by size.

    A choice that 0 < t <= a decides may be another for larger t.
    """

    def __init__(self, a: float):
        if not 0 < a < 1:
            raise ValueError(f"an expansion holds for 0 < t <= a where a < 1; got a = {a}")
        self.a, self.chosen = a, False
        self.log_a = math.log(a)
        self.log_least = math.log(-self.log_a)  # of L at a


class Expansion:
    """See the module; a is below 1."""

    def __init__(self, terms: dict[Key, Range], context: Context, whole: bool = True):
        self.terms = {key: c for key, c in terms.items() if c[0] or c[1]}
        self.context, self.whole = context, whole

    @property
    def a(self) -> float:
        """Where the interval ends."""
        return self.context.a

    @property
    def exact(self) -> bool:
        """Whether it holds for every t > 0: there is no remainder, and no choice was made."""
        return self.whole and not self.context.chosen

    @staticmethod
    def variable(a: float) -> "Expansion":
        """t itself, 0 < t <= a."""
        return Expansion({(1, 0): point(1)}, Context(a))

    @staticmethod
    def reciprocal(a: float) -> "Expansion":
        """1/t: a number in [1/a, inf)."""
        return Expansion({(-1, 0): point(1)}, Context(a))

    def lift(self, x: Any) -> "Expansion":
        """A fraction, the same for every t, as an expansion of this one's kind."""
        if not isinstance(x, Expansion):
            return Expansion({(0, 0): point(Fraction(x))}, self.context)
        if x.context is not self.context:
            if x.a != self.a:
                raise ValueError(f"expansions up to {self.a} and up to {x.a} do not mix")
            self.context.chosen = x.context.chosen = self.context.chosen or x.context.chosen
        return x

    def __repr__(self) -> str:
        def shown(key: Key, c: Range) -> str:
            k, j = key
            powers = [str(c)] if c != (1, 1) or key == (0, 0) else []
            powers += [f"t^{k}" if k.denominator == 1 else f"t^({k})"] if k else []
            return " ".join(powers + ([f"L^{j}"] if j else []))

        return " + ".join(shown(key, c) for key, c in self._ordered()) or "0"

    def _ordered(self) -> list[tuple[Key, Range]]:
        """From the leading term as t -> 0."""
        return sorted(self.terms.items(), key=lambda item: (item[0][0], -item[0][1]))

    def _sup(self, d: Fraction | int, j: int) -> float:
        """An upper bound of t^d L^j over 0 < t <= a, which it attains at a."""
        if d == 0 and j == 0:
            return 1.0
        if d < 0 or (j > 0 and -self.context.log_a * d * (1 - 1e-12) < j):
            raise NotImplementedError(f"t^{d} L^{j} is not largest at t = {self.a}")
        log_value = float(d) * self.context.log_a + j * self.context.log_least
        return max(math.exp(log_value) * (1 + 1e-9), _LEAST)

    def _folded(self, k: Fraction | int) -> "Expansion":
        """What is of order t^k and beyond becomes one remainder."""
        rest = [item for item in self.terms.items() if item[0][0] >= k]
        if len(rest) < 2:
            return self
        lead, most = min((power, -j) for (power, j), _ in rest)
        kept = {key: c for key, c in self.terms.items() if key[0] < k}
        low, high = 0.0, 0.0
        for (power, j), c in rest:
            try:
                size = self._sup(power - lead, j + most)
            except NotImplementedError:
                kept[power, j] = c
                continue
            # C t^k' L^j' is of the remainder's order times a number between 0 and `size`.
            ends = c.bounds * Bounds(0.0, size)
            low, high = (low + ends.lower) * _UP, (high + ends.upper) * _UP
        # A sum that is 0 was rounded nowhere, and one below the least normal float is widened.
        kept[lead, -most] = Range.of(Bounds(low - _LEAST, high + _LEAST))
        return Expansion(kept, self.context, False)

    def _trimmed(self) -> "Expansion":
        """Terms beyond the first two dozen become one remainder."""
        if len(self.terms) <= _MOST:
            return self
        ordered = self._ordered()
        below = [key[0] for key, _ in ordered[:_MOST] if key[0] < ordered[-1][0][0]]
        return self._folded(below[-1]) if below else self

    def __add__(self, other: Any) -> "Expansion":
        other = self.lift(other)
        terms = dict(self.terms)
        for key, c in other.terms.items():
            terms[key] = terms[key].plus(c) if key in terms else c
        return Expansion(terms, self.context, self.whole and other.whole)._trimmed()

    __radd__ = __add__

    def __neg__(self) -> "Expansion":
        return Expansion(
            {key: Range(-c.upper, -c.lower) for key, c in self.terms.items()},
            self.context,
            self.whole,
        )

    def __sub__(self, other: Any) -> "Expansion":
        return self + -self.lift(other)

    def __rsub__(self, other: Any) -> "Expansion":
        return -self + other

    def __mul__(self, other: Any) -> "Expansion":
        other = self.lift(other)
        terms: dict[Key, Range] = {}
        for (k, j), c in self.terms.items():
            for (m, i), e in other.terms.items():
                key, product = (k + m, j + i), c.times(e)
                terms[key] = terms[key].plus(product) if key in terms else product
        return Expansion(terms, self.context, self.whole and other.whole)._trimmed()

    __rmul__ = __mul__

    def _split(self) -> tuple[Key, Range, "Expansion", float]:
        """C t^k (1 + r): the leading term, r, and a bound of |r|."""
        if not self.terms:
            raise ZeroDivisionError("an expansion that is identically 0")
        key, c = self._ordered()[0]
        if c.lower <= 0 <= c.upper:
            raise NotImplementedError(f"the leading coefficient of {self} may be 0")
        if key[1]:
            raise NotImplementedError(f"{self} leads with a logarithm")
        inverse = c.reciprocal()
        rest = {
            (k - key[0], j): e.times(inverse) for (k, j), e in self.terms.items() if (k, j) != key
        }
        r = Expansion(rest, self.context, self.whole)
        size = r._size()
        if size >= 0.5:
            raise NotImplementedError(f"{self} is not close to its leading term at t = {self.a}")
        return key, c, r, size

    def _size(self) -> float:
        return sum(c.largest * self._sup(k, j) for (k, j), c in self.terms.items()) * _UP + _LEAST

    def _shifted(self, k: Fraction | int, c: Range) -> "Expansion":
        """This times c t^k."""
        k = k.numerator if k.denominator == 1 else k
        terms = {(power + k, j): e.times(c) for (power, j), e in self.terms.items()}
        return Expansion(terms, self.context, self.whole)

    @staticmethod
    def _taylor(r: "Expansion", coefficients: list[Fraction], last: Bounds) -> "Expansion":
        """The polynomial in r, and the remainder last r^n, by Horner's rule.

        Of r^i only what ends up below the order of r^n is kept apart.
        """
        if not r.terms:
            return Expansion({(0, 0): point(coefficients[0])}, r.context, r.whole)
        least = min(k for k, _ in r.terms)
        value = Expansion({(0, 0): Range.of(last)}, r.context, False)
        for steps, coefficient in enumerate(reversed(coefficients), 1):
            value = (value * r + coefficient)._folded(steps * least)
        return value

    def _inverse(self) -> "Expansion":
        (k, _), c, r, size = self._split()
        signs = [Fraction((-1) ** i) for i in range(_ORDER)]
        last = 1 / (1 + Bounds(-size, size))  # (-r)^n / (1 + r), n even
        return self._taylor(r, signs, last)._shifted(-k, c.reciprocal())

    def __truediv__(self, other: Any) -> "Expansion":
        if isinstance(other, Fraction):
            return self * (1 / other)
        return self * self.lift(other)._inverse()

    def __rtruediv__(self, other: Any) -> "Expansion":
        return self._inverse() * other

    def __pow__(self, n: int) -> "Expansion":
        if n < 0:
            return (self**-n)._inverse()
        value = self.lift(1)
        for bit in f"{n:b}":
            value = value * value * self if bit == "1" else value * value
        return value

    def power(self, other: Any) -> "Expansion":
        """x^p for a rational p."""
        if isinstance(other, Expansion):
            c = other.terms.get((0, 0), point(0))
            if set(other.terms) - {(0, 0)} or c.lower != c.upper:
                raise NotImplementedError("an exponent that is not constant and exact")
            other = c.lower
        p = Fraction(other)
        if p.denominator == 1 and 0 <= p <= 16:
            return self ** int(p)
        (k, _), c, r, size = self._split()
        if c.lower <= 0:
            raise NotImplementedError(f"a power of {self}, which is negative")
        binomials = [Fraction(1)]
        for i in range(_ORDER):
            binomials.append(binomials[-1] * (p - i) / (i + 1))
        # Lagrange: binomial(p, n) (1 + x)^(p - n) r^n, x between 0 and r.
        last = (1 + Bounds(-size, size)).power(p - _ORDER) * binomials[_ORDER]
        return self._taylor(r, binomials[:_ORDER], last)._shifted(k * p, _power(c, p))

    def sqrt(self) -> "Expansion":
        """The square root."""
        return self.power(Fraction(1, 2))

    def rsqrt(self) -> "Expansion":
        """1 / sqrt x."""
        return self.power(Fraction(-1, 2))

    def cbrt(self) -> "Expansion":
        """The cube root."""
        return self.power(Fraction(1, 3))

    def log(self) -> "Expansion":
        """The natural logarithm."""
        (k, _), c, r, size = self._split()
        if c.lower <= 0:
            raise NotImplementedError(f"the logarithm of {self}, which is negative")
        series = [Fraction(0), *(Fraction((-1) ** (i + 1), i) for i in range(1, _ORDER))]
        # Lagrange: -r^n / (n (1 + x)^n), n even, x between 0 and r.
        last = Fraction(-1, _ORDER) / (1 + Bounds(-size, size)) ** _ORDER
        constant = point(0) if c == (1, 1) else Range.of(c.bounds.log())
        known = Expansion({(0, 0): constant, (0, 1): point(Fraction(-k))}, self.context)
        return self._taylor(r, series, last) + known

    def log1p(self) -> "Expansion":
        """log(1 + x)."""
        return (self + 1).log()

    def exp(self) -> "Expansion":
        """e^x of what stays bounded or grows like log t."""
        constant, slope, rest = point(0), Fraction(0), {}
        for (k, j), c in self.terms.items():
            if k > 0:
                rest[k, j] = c
            elif k == 0 and j == 0:
                constant = c
            elif k == 0 and j == 1 and c.lower == c.upper:
                slope = Fraction(c.lower)
            else:
                raise NotImplementedError(f"the exponential of {self}")
        r = Expansion(rest, self.context, self.whole)
        size = r._size()
        series = [Fraction(1, math.factorial(i)) for i in range(_ORDER)]
        # Lagrange: e^x r^n / n!, x between 0 and r.
        last = Bounds(-size, size).exp() * Fraction(1, math.factorial(_ORDER))
        scale = point(1) if constant == (0, 0) else Range.of(constant.bounds.exp())
        return self._taylor(r, series, last)._shifted(-slope, scale)

    def expm1(self) -> "Expansion":
        """e^x - 1."""
        return self.exp() - 1

    def sign(self) -> int | None:
        """1, -1 or 0 on the whole of 0 < t <= a; None where it is not decided."""
        if not self.terms:
            return 0
        (k, j), c = self._ordered()[0]
        if c.lower <= 0 <= c.upper:
            return None
        sign = 1 if c.lower > 0 else -1
        if len(self.terms) == 1:
            return sign
        least = float(min(abs(c.lower), abs(c.upper))) / _UP
        others = _LEAST
        try:
            for (m, i), e in self.terms.items():
                if (m, i) != (k, j):
                    others += e.largest * self._sup(m - k, i - j)
        except NotImplementedError:
            return None
        return sign if others * _UP < least else None

    def limit(self) -> tuple[float, float]:
        """Bounds of the limit as t -> 0."""
        for (k, j), c in self._ordered():
            if k > 0:
                break
            if (k, j) == (0, 0):
                return _outward(c)
            if c.lower <= 0 <= c.upper:
                return -math.inf, math.inf
            infinite = math.inf if c.lower > 0 else -math.inf
            return infinite, infinite
        return 0.0, 0.0

    def order(self, other: Any) -> int | None:
        """1, 0 or -1 against another, for all t at once."""
        return (self - other)._chosen()

    def _chosen(self) -> int | None:
        # What is constant, and not only near the end, is the same for all t.
        self.context.chosen |= not self.whole or bool(set(self.terms) - {(0, 0)})
        return self.sign()

    def sign_of(self) -> Fraction:
        """The sign as a number."""
        return Fraction(self._decided())

    def _decided(self) -> int:
        sign = self._chosen()
        if sign is None:
            raise NotImplementedError(f"the sign of {self} is not decided")
        return sign

    def __abs__(self) -> "Expansion":
        return self if self._decided() >= 0 else -self

    def maximum(self, other: Any) -> "Expansion":
        """The larger, where one is for all t."""
        return self if (self - other)._decided() >= 0 else self.lift(other)

    def minimum(self, other: Any) -> "Expansion":
        """The smaller, where one is for all t."""
        return self if (self - other)._decided() <= 0 else self.lift(other)

    def __getattr__(self, name: str) -> Any:
        if name in FUNCTIONS:
            raise NotImplementedError(f"{name} of an expansion has no rule")
        raise AttributeError(name)

    def items(self) -> Iterator[tuple[Key, Range]]:
        """Terms from the leading one."""
        return iter(self._ordered())


def _outward(c: Range) -> tuple[float, float]:
    low, high = float(c.lower), float(c.upper)
    if Fraction(low) > c.lower:
        low = math.nextafter(low, -math.inf)
    if Fraction(high) < c.upper:
        high = math.nextafter(high, math.inf)
    return low, high


def _power(c: Range, p: Fraction) -> Range:
    exact = exact_power(Fraction(c.lower), p) if c.lower == c.upper else None
    return Range.of(c.bounds.power(p)) if exact is None else point(exact)
