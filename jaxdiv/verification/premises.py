"""Premises of certificates: facts with the numbers that show them, and the checks of those.

A check computes nothing through XLA: it reads the stored numbers and evaluates the function again
in Python's own arithmetic (`arithmetic`), which shares no code with the vectorised intervals that
found them.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from .arithmetic import Bounds, Expansion, evaluate, program, same, same_scalar, symmetric

Scalar = Callable[[Any], Any]
# How far the ends of (0, inf) may reach into it, the farthest first: autodiff's second derivatives
# cancel the more the closer they are evaluated to an end, and boxes must be the narrower.
_REACHES = tuple(2.0**-k for k in (2, 3, 4, 6, 9, 13, 20))
END = 2.0**-16  # where only the limit matters


class Premise(abc.ABC):
    """A fact."""

    what: str

    @abc.abstractmethod
    def check(self) -> bool:
        """Whether the stored numbers show it."""

    @functools.cached_property
    def checked(self) -> bool:
        """`check`, done once however many certificates stand on it."""
        return self.check()

    @abc.abstractmethod
    def describe(self) -> str:
        """The fact and how it is shown, in a clause."""

    def brief(self) -> str:
        """The same in a few words."""
        return self.describe()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {"what": self.what, "shown": self.describe()}


@dataclasses.dataclass(frozen=True)
class Sign(Premise):
    """g >= 0 between `start` and `stop`, which may be 0 and infinity.

    Shown by an exact form whose terms are all at least 0; or by boxes that tile what lies between
    the ends, each with a lower bound, and at an end 0 or infinity (or `stop`, where g may vanish:
    `touching`) by an expansion that its leading term dominates.
    """

    what: str
    function: Scalar = dataclasses.field(repr=False)
    start: float
    stop: float
    touching: bool
    exact: str | None
    ends: tuple[str | None, str | None]
    lower: np.ndarray = dataclasses.field(repr=False)
    upper: np.ndarray = dataclasses.field(repr=False)
    bound: np.ndarray = dataclasses.field(repr=False)

    def check(self) -> bool:
        """Whether the stored numbers show it."""
        if self.exact is not None:
            found = _expand(self.function, Expansion.variable(END))
            return found is not None and _never_negative(found) and repr(found) == self.exact
        tiles = (
            len(self.lower) == len(self.upper) == len(self.bound) > 0
            and (self.start == 0 or self.lower[0] == self.start)
            and (self.stop == math.inf or self.touching or self.upper[-1] == self.stop)
            and bool(np.all(self.lower[1:] == self.upper[:-1]))
            and bool(np.all(self.bound >= 0))
        )
        return tiles and self._check_ends() and self._check_boxes()

    def _check_ends(self) -> bool:
        for needed, stored, reach, kind in (
            (self.start == 0, self.ends[0], self.lower[0], Expansion.variable),
            (self.stop == math.inf, self.ends[1], 1 / self.upper[-1], Expansion.reciprocal),
            (self.touching, self.ends[1], self.stop - self.upper[-1], below(self.stop)),
        ):
            if needed:
                at = kind(float(reach))
                found = _expand(self.function, at)
                if found is None or found.sign() not in (0, 1) or repr(found) != stored:
                    return False
        return True

    def _check_boxes(self) -> bool:
        again = _program(self.function)
        pending = list(zip(self.lower.tolist(), self.upper.tolist(), strict=True))
        budget = 4 * len(pending) + 64
        while pending and budget:
            budget -= 1
            low, high = pending.pop()
            try:
                if Bounds.lift(again(Bounds(low, high))).lower >= 0:
                    continue
            except (NotImplementedError, ArithmeticError):
                return False
            # Other roundings than those that found it: a smaller box may still do.
            middle = halfway(low, high)
            if not low < middle < high:
                return False
            pending += [(low, middle), (middle, high)]
        return not pending

    def describe(self) -> str:
        """The fact and how it is shown."""
        if self.exact is not None:
            return f"{self.what}, being {self.exact}"
        least, count = float(np.min(self.bound)), len(self.lower)
        low, high = self.lower[0], self.upper[-1]
        boxes = (
            f"{self.what}: at least {least:.2g} on {count} boxes that tile [{low:.4g}, {high:.4g}]"
        )
        ends = [
            f"near {where} its leading term dominates, {_lead(end)}"
            for where, end in zip(("0", self._top()), self.ends, strict=True)
            if end is not None
        ]
        return "; ".join([boxes, *ends])

    def brief(self) -> str:
        """How many boxes, or the exact form."""
        if self.exact is not None:
            return self.describe()
        ends = " and the ends" if any(self.ends) else ""
        return f"{self.what}: {len(self.lower)} boxes{ends}"

    def _top(self) -> str:
        return f"{self.stop:g} - t" if self.touching else "infinity"

    def to_dict(self) -> dict[str, Any]:
        """With the boxes and both ends."""
        boxes = {name: getattr(self, name).tolist() for name in ("lower", "upper", "bound")}
        return super().to_dict() | {"exact": self.exact, "ends": list(self.ends), "boxes": boxes}


@dataclasses.dataclass(frozen=True)
class Shown(Premise):
    """A premise that was checked elsewhere, without its functions: it can be pickled."""

    what: str
    said: str
    short: str
    holds: bool
    numbers: dict[str, Any] = dataclasses.field(repr=False)

    def check(self) -> bool:
        """What the check said."""
        return self.holds

    def describe(self) -> str:
        """The fact and how it is shown."""
        return self.said

    def brief(self) -> str:
        """The same in a few words."""
        return self.short

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the premise that was checked."""
        return self.numbers


def shown(premise: Premise) -> Shown:
    """A premise, checked, for another process."""
    said, short = premise.describe(), premise.brief()
    return Shown(premise.what, said, short, premise.checked, premise.to_dict())


def _lead(expansion: str) -> str:
    return expansion.split(" + ")[0] + (" + ..." if " + " in expansion else "")


@functools.lru_cache(maxsize=256)
def _program(function: Scalar) -> Callable[[Any], Any]:
    return program(function, ())


def _expand(function: Scalar, at: Expansion) -> Expansion | None:
    """The function near an end, or None where arithmetic has no rule for it there."""
    try:
        return at.lift(_program(function)(at))
    except (NotImplementedError, ArithmeticError, AttributeError):
        return None


def _never_negative(found: Expansion) -> bool:
    """Whether it is a sum of powers with coefficients of at least 0, for every t > 0."""
    return found.exact and all(j == 0 and c.lower >= 0 for (_, j), c in found.items())


def below(stop: float) -> Callable[[float], Expansion]:
    """Numbers below `stop`, as an expansion in the distance from it."""
    return lambda reach: Fraction(stop) - Expansion.variable(reach)


def _end(
    g: Scalar, smooth_of: Scalar | None, kind: Callable[[float], Expansion]
) -> tuple[float, Expansion] | None:
    """The farthest reach of an end on which g >= 0 for its leading term's sake."""
    known = smooth_of is None or _elementary(smooth_of)
    for reach in _REACHES:
        found = _expand(g, kind(reach))
        if found is not None and found.sign() in (0, 1):
            # A choice that does not hold on all of the end would have had no rule.
            if known or (smooth_of and _expand(smooth_of, kind(reach)) is not None):
                return reach, found
    return None


_EMPTY = np.zeros((0,))


@functools.lru_cache(maxsize=512)
def sign(
    what: str,
    g: Scalar,
    *,
    smooth_of: Scalar | None = None,
    start: float = 0.0,
    stop: float = math.inf,
    touching: bool = False,
) -> Sign | None:
    """The premise g >= 0 between start and stop, or None where it is not proved.

    `smooth_of` is the function of which g is a derivative: a kink of it, which differentiation
    does not see, keeps g from being proved.
    """
    if start == 0:
        near = Expansion.variable(END)
        found = _expand(g, near)
        # A function that expands exactly has no kinks: a choice would have been noted.
        if found is not None and _never_negative(found) and _exact(smooth_of, near):
            return Sign(
                what, g, start, stop, touching, repr(found), (None, None), _EMPTY, _EMPTY, _EMPTY
            )
    ends: list[str | None] = [None, None]
    low, high = start, stop
    if start == 0:
        end = _end(g, smooth_of, Expansion.variable)
        if end is None:
            return None
        low, ends[0] = end[0], repr(end[1])
    if stop == math.inf:
        end = _end(g, smooth_of, Expansion.reciprocal)
        if end is None:
            return None
        high, ends[1] = 1 / end[0], repr(end[1])
    if touching:
        end = _end(g, smooth_of, below(stop))
        if end is None:
            return None
        high, ends[1] = stop - end[0], repr(end[1])
    boxes = _few_boxes(g, smooth_of, low, high) or _many_boxes(g, smooth_of, low, high)
    if boxes is None:
        return None
    return Sign(what, g, start, stop, touching, None, (ends[0], ends[1]), *boxes)


Boxes = tuple[np.ndarray, np.ndarray, np.ndarray]
_FEW = 6000  # boxes that Python evaluates sooner than XLA compiles


def _few_boxes(g: Scalar, smooth_of: Scalar | None, low: float, high: float) -> Boxes | None:
    """Boxes found in Python, where a few are enough and the function has no kinks to look for."""
    try:
        if smooth_of is not None and not _elementary(smooth_of):
            return None
        run = _program(g)
        pending, done = [(low, high)], []
        for _ in range(_FEW):
            if not pending:
                break
            box = pending.pop()
            bound = Bounds.lift(run(Bounds(*box))).lower
            if bound >= 0:
                done.append((*box, bound))
                continue
            middle = halfway(*box)
            if not box[0] < middle < box[1]:
                return None
            pending += [(box[0], middle), (middle, box[1])]
    except (NotImplementedError, ArithmeticError, AttributeError):
        return None
    if pending:
        return None
    boxes = np.asarray(sorted(done))
    return boxes[:, 0], boxes[:, 1], boxes[:, 2]


def _many_boxes(g: Scalar, smooth_of: Scalar | None, low: float, high: float) -> Boxes | None:
    """Boxes found by vectorised intervals."""
    from .interval import at_least

    try:
        cover = at_least(g, low, high, smooth_of=smooth_of)
    except NotImplementedError:
        return None
    return (cover.lower, cover.upper, cover.bound) if cover.proved else None


def halfway(low: float, high: float) -> float:
    """Where a box is cut: by its ratio where that is wide."""
    return math.sqrt(low) * math.sqrt(high) if 0 < 2 * low < high else (low + high) / 2


_SMOOTH = frozenset(
    "add sub mul div neg exp exp2 expm1 log log1p sqrt rsqrt pow integer_pow square logistic tanh "
    "sin cos asin acos atan sinh cosh convert_element_type broadcast_in_dim reshape squeeze "
    "reduce_sum copy jit pjit closed_call".split()
)


@functools.lru_cache(maxsize=256)
def _elementary(f: Scalar) -> bool:
    """Whether a function is made of primitives that are smooth wherever they are finite.

    What is computed of constants alone may be anything.
    """

    def smooth(jaxpr: Any, varying: list[bool]) -> bool:
        moving = {x for x, moves in zip(jaxpr.invars, varying, strict=True) if moves}
        for eqn in jaxpr.eqns:
            moves = [not isinstance(x, Literal) and x in moving for x in eqn.invars]
            if not any(moves):
                continue
            floats = all(np.issubdtype(x.aval.dtype, np.floating) for x in eqn.outvars)
            if eqn.primitive.name not in _SMOOTH or not floats:
                return False
            inner = eqn.params.get("jaxpr")
            if inner and not smooth(inner.jaxpr, moves):
                return False
            moving.update(eqn.outvars)
        return True

    with jax.enable_x64(True):
        return smooth(jax.make_jaxpr(f)(1.0).jaxpr, [True])


def _exact(function: Scalar | None, at: Expansion) -> bool:
    if function is None:
        return True
    found = _expand(function, at)
    return found is not None and found.exact


@dataclasses.dataclass(frozen=True)
class Limit(Premise):
    """The limit of g at 0 or at infinity, as bounds."""

    what: str
    function: Scalar = dataclasses.field(repr=False)
    at_infinity: bool
    value: tuple[float, float]

    def check(self) -> bool:
        """Whether the stored numbers show it."""
        at = Expansion.reciprocal(END) if self.at_infinity else Expansion.variable(END)
        found = _expand(self.function, at)
        return found is not None and found.limit() == self.value

    def describe(self) -> str:
        """The fact and how it is shown."""
        low, high = self.value
        return (
            f"{self.what} = {low:.6g}" if low == high else f"{self.what} = {(low + high) / 2:.15g}"
        )

    @property
    def infinite(self) -> bool:
        """Whether it is +inf."""
        return self.value == (math.inf, math.inf)


def limit(what: str, g: Scalar, *, at_infinity: bool) -> Limit | None:
    """The premise that g has this limit, or None where the arithmetic has no rule."""
    at = Expansion.reciprocal(END) if at_infinity else Expansion.variable(END)
    found = _expand(g, at)
    return None if found is None else Limit(what, g, at_infinity, found.limit())


@dataclasses.dataclass(frozen=True)
class Value(Premise):
    """The value of g at 1 is this fraction, in exact arithmetic."""

    what: str
    function: Scalar = dataclasses.field(repr=False)
    value: Fraction

    def check(self) -> bool:
        """Whether the stored numbers show it."""
        return exact_value(self.function) == self.value

    def describe(self) -> str:
        """The fact and how it is shown."""
        return f"{self.what} = {float(self.value):.6g}"


def exact_value(g: Scalar) -> Fraction | None:
    """g(1) if it is a fraction that exact arithmetic finds."""
    try:
        value = evaluate(g, Fraction(1))
    except (ArithmeticError, NotImplementedError, AttributeError):
        return None
    return value if isinstance(value, Fraction) else None


def value_at_one(what: str, g: Scalar) -> Value | None:
    """The premise of a value at 1."""
    found = exact_value(g)
    return None if found is None else Value(what, g, found)


@dataclasses.dataclass(frozen=True)
class Form(Premise):
    """The exact form of g on (0, inf), as powers of t and of L = -log t."""

    what: str
    function: Scalar = dataclasses.field(repr=False)
    form: str

    def check(self) -> bool:
        """Whether the stored numbers show it."""
        found = exact_form(self.function)
        return found is not None and repr(found) == self.form

    def describe(self) -> str:
        """The fact and how it is shown."""
        return f"{self.what} = {self.form}, L = -log t"


def exact_form(g: Scalar) -> Expansion | None:
    """g as a finite sum that holds for every t > 0, if it is one."""
    found = _expand(g, Expansion.variable(END))
    return found if found is not None and found.exact else None


@dataclasses.dataclass(frozen=True)
class Identical(Premise):
    """Two formulas of rows (p, q) are one up to the order of sums and products, and signs."""

    what: str
    first: Callable[..., Any] = dataclasses.field(repr=False)
    second: Callable[..., Any] = dataclasses.field(repr=False)
    scalar: bool = False

    def check(self) -> bool:
        """Whether the stored numbers show it."""
        try:
            return (same_scalar if self.scalar else same)(self.first, self.second)
        except (NotImplementedError, ArithmeticError, AttributeError):
            return False

    def describe(self) -> str:
        """The fact and how it is shown."""
        return f"{self.what}, as formulas"


@dataclasses.dataclass(frozen=True)
class Symmetric(Premise):
    """A formula of rows (p, q) does not change when they are exchanged."""

    what: str
    function: Callable[..., Any] = dataclasses.field(repr=False)

    def check(self) -> bool:
        """Whether the stored numbers show it."""
        try:
            return symmetric(self.function)
        except (NotImplementedError, ArithmeticError, AttributeError):
            return False

    def describe(self) -> str:
        """The fact and how it is shown."""
        return f"{self.what}, as formulas"


def norm(kind: str) -> Callable[[Any, Any], Any]:
    """Summands of the norms that metrics are recognised by."""
    return {
        "absolute": lambda p, q: jnp.abs(p - q),
        "euclidean": lambda p, q: jnp.square(p - q),
        "roots": lambda p, q: jnp.square(jnp.sqrt(p) - jnp.sqrt(q)),
    }[kind]
