"""Formulas up to the order of sums and products, and signs under even powers.

An `Expression` is a rational factor times a key, so that a - b and b - a have one key and opposite
factors. Sums are linear combinations of keys, products are keys to rational powers. Along with it
goes its domain, what must not be 0 or negative, so that x/x is not 1 where x may be 0. Two formulas
with the same expression are equal for all positive arguments; the converse isn't claimed.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from .interpreter import program
from .rules import FUNCTIONS, NotExact
from .rules import power as exact_power

Key = tuple[Any, ...]
Domain = frozenset[tuple[Any, ...]]
_ONE: Key = ("*",)  # the empty product
_EVERYWHERE: Domain = frozenset()
# Functions that are defined for some numbers only; of these, the logarithms for all positive ones.
_PARTIAL = frozenset(("log", "log1p", "pow", "asin", "acos"))
_OF_POSITIVE = frozenset(("log", "log1p", "pow"))
_SIZES = (2, 3, 5)  # of rows: what holds for two outcomes may be wrong for more


def _name(key: Key) -> str:
    return repr(key)


class Expression:
    """factor * key; key is ("x", name), ("*", (base, exponent), ...), ("+", ...) or a function."""

    __slots__ = ("domain", "factor", "key")

    def __init__(self, factor: Fraction, key: Key, domain: Domain = _EVERYWHERE):
        self.factor = Fraction(factor)
        self.key = key if self.factor else _ONE
        self.domain = domain

    @staticmethod
    def symbol(name: str) -> "Expression":
        """A positive argument."""
        return Expression(Fraction(1), ("x", name))

    @staticmethod
    def lift(x: Any) -> "Expression":
        """A fraction."""
        if isinstance(x, Expression):
            return x
        if not isinstance(x, int | Fraction):
            raise NotExact(f"{x} is no fraction")
        return Expression(Fraction(x), _ONE)

    def __repr__(self) -> str:
        return f"{self.factor} {self.key}"

    def same(self, other: Any) -> bool:
        """Whether both are one expression."""
        other = Expression.lift(other)
        return (self.factor, self.key, self.domain) == (other.factor, other.key, other.domain)

    def _linear(self) -> dict[Key, Fraction]:
        if self.key[0] == "+":
            return {key: self.factor * c for key, c in self.key[1:]}
        return {self.key: self.factor}

    def __add__(self, other: Any) -> "Expression":
        other = Expression.lift(other)
        domain, terms = self.domain | other.domain, self._linear()
        for key, c in other._linear().items():
            terms[key] = terms.get(key, Fraction(0)) + c
        ordered = sorted(((k, c) for k, c in terms.items() if c), key=lambda item: _name(item[0]))
        if len(ordered) <= 1:
            key, c = ordered[0] if ordered else (_ONE, Fraction(0))
            return Expression(c, key, domain)
        lead = ordered[0][1]
        return Expression(lead, ("+", *((key, c / lead) for key, c in ordered)), domain)

    __radd__ = __add__

    def __neg__(self) -> "Expression":
        return Expression(-self.factor, self.key, self.domain)

    def __sub__(self, other: Any) -> "Expression":
        return self + -Expression.lift(other)

    def __rsub__(self, other: Any) -> "Expression":
        return -self + other

    def _powers(self) -> dict[Key, Fraction]:
        return dict(self.key[1:]) if self.key[0] == "*" else {self.key: Fraction(1)}

    def __mul__(self, other: Any) -> "Expression":
        other = Expression.lift(other)
        powers = self._powers()
        for key, exponent in other._powers().items():
            powers[key] = powers.get(key, Fraction(0)) + exponent
        return Expression(self.factor * other.factor, _product(powers), self.domain | other.domain)

    __rmul__ = __mul__

    def __pow__(self, n: int) -> "Expression":
        if n < 0 and self.factor == 0:
            raise ZeroDivisionError("an expression is divided by 0")
        domain = self.domain
        if n < 0 and not _positive(self.key):
            domain = domain | {("not 0", self.key)}
        powers = {key: exponent * n for key, exponent in self._powers().items()}
        return Expression(self.factor**n, _product(powers), domain)

    def __truediv__(self, other: Any) -> "Expression":
        return self * Expression.lift(other) ** -1

    def __rtruediv__(self, other: Any) -> "Expression":
        return Expression.lift(other) / self

    def _positive(self) -> bool:
        return self.factor > 0 and _positive(self.key)

    def __abs__(self) -> "Expression":
        key = self.key if _positive(self.key) else ("abs", self.key)
        return Expression(abs(self.factor), key, self.domain)

    def power(self, other: Any) -> "Expression":
        """x^p, taken apart where x is certainly positive."""
        other = Expression.lift(other)
        if other.key != _ONE or other.domain:
            return self._opaque("pow", other)
        p = other.factor
        if p.denominator == 1:
            return self ** int(p)
        root = exact_power(self.factor, p) if self.factor > 0 else None
        if not self._positive() or root is None:
            return self._opaque("pow", other)
        powers = {key: e * p for key, e in self._powers().items()}
        return Expression(root, _product(powers), self.domain)

    def sqrt(self) -> "Expression":
        """The square root."""
        return self.power(Fraction(1, 2))

    def rsqrt(self) -> "Expression":
        """1 / sqrt x."""
        return self.power(Fraction(-1, 2))

    def _opaque(self, name: str, *others: "Expression") -> "Expression":
        key = (name, *((x.factor, x.key) for x in (self, *others)))
        domain = self.domain.union(*(x.domain for x in others))
        if name in _PARTIAL and not (name in _OF_POSITIVE and self._positive()):
            domain = domain | {key}
        return Expression(Fraction(1), key, domain)

    def _ordered(self, name: str, other: Any) -> "Expression":
        pair = sorted([self, Expression.lift(other)], key=lambda x: (x.factor, _name(x.key)))
        return pair[0]._opaque(name, pair[1])

    def maximum(self, other: Any) -> "Expression":
        """The larger."""
        return self._ordered("max", other)

    def minimum(self, other: Any) -> "Expression":
        """The smaller."""
        return self._ordered("min", other)

    def finite(self) -> bool | None:
        """Whether it is a number for all positive arguments, as far as is known."""
        return None if self.domain else True

    def order(self, other: Any) -> None:
        """Nothing is decided."""

    def __getattr__(self, name: str) -> Callable[[], "Expression"]:
        if name not in FUNCTIONS and name != "sign_of":
            raise AttributeError(name)
        return lambda *others: self._opaque(name, *map(Expression.lift, others))


def _product(powers: dict[Key, Fraction]) -> Key:
    items = sorted(((k, e) for k, e in powers.items() if e), key=lambda item: _name(item[0]))
    if len(items) == 1 and items[0][1] == 1:
        return items[0][0]
    return ("*", *items)


def _positive(key: Key) -> bool:
    """Whether it is positive for all positive arguments (not merely at least 0)."""
    match key[0]:
        case "x" | "exp":
            return True
        case "*":
            return all(_positive(base) for base, _ in key[1:])
        case "+":
            return all(c > 0 and _positive(base) for base, c in key[1:])
    return False


def _symbols(names: str, size: int) -> list[np.ndarray]:
    rows = []
    for name in names:
        row = np.empty((size,), object)
        row[:] = [Expression.symbol(f"{name}{i}") for i in range(size)]
        rows.append(row)
    return rows


def same(f: Callable[..., Any], g: Callable[..., Any]) -> bool:
    """Whether two functions of a pair of positive rows (p, q) are one expression.

    Asked of rows of two, three and five outcomes; what has no values for all of these is not.
    """

    def one(n: int) -> bool:
        p, q = _symbols("pq", n)
        return _same(program(f, (n,), (n,))(p, q), program(g, (n,), (n,))(p, q))

    return _for_rows(one)


def symmetric(f: Callable[..., Any]) -> bool:
    """Whether f(p, q) and f(q, p) are one expression, for positive rows as in `same`."""

    def one(n: int) -> bool:
        p, q = _symbols("pq", n)
        run = program(f, (n,), (n,))
        return _same(run(p, q), run(q, p))

    return _for_rows(one)


def same_scalar(f: Callable[..., Any], g: Callable[..., Any]) -> bool:
    """Whether two functions of a positive number are one expression."""
    t = Expression.symbol("t")
    return _same(program(f, ())(t), program(g, ())(t))


def _for_rows(one: Callable[[int], bool]) -> bool:
    try:
        return all(map(one, _SIZES))
    except (TypeError, ValueError):  # JAX's errors for shapes that do not fit
        return False


def _same(a: Any, b: Any) -> bool:
    (left, one), (right, other) = jax.tree.flatten(a), jax.tree.flatten(b)
    return one == other and all(
        np.shape(x) == np.shape(y)
        and all(
            Expression.lift(u).same(v)
            for u, v in zip(np.ravel(x), np.ravel(y), strict=True)  # pyright: ignore
        )
        for x, y in zip(left, right, strict=True)
    )
