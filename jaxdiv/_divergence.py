"""What a divergence is.

A divergence is a value: a frozen dataclass whose parameters are pytree leaves, so that it can be
passed through `jit`, mapped by `vmap` and differentiated. Nearly all of them are sums over the
outcomes of a *summand*, and a summand is three formulas over a pair of numbers (p, q):

    term       d(p, q)
    weighted   (p d_p, q d_q): the derivatives with respect to log p and log q

with what happens where p or q is 0. The weighted derivatives are what logits need; divided by p
and q they are the derivatives with respect to probabilities. The rest (axes, masks, logits,
batches, differentiation to any order) is not the declaration's business.

Beside these stands the `definition`, as a textbook writes it and without care for rounding. It is
what proofs are about; evaluation does not read it, and verification compares the two.

An f-divergence is homogeneous, d(p, q) = q f(p/q), so that two limits on either side settle every
boundary. What is not a sum is a function of sums: see `_transforms`.
"""

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from . import _numerics as num
from ._pytree import register

if TYPE_CHECKING:
    from .families.pair import Pair as FamilyPair
    from .rows.evaluate import Rows
    from .rows.pair import Pair

Scalar = Array | float
Class = TypeVar("Class", bound=type)


@dataclass_transform(frozen_default=True)
def declare(cls: Class) -> Class:
    """Make a class a frozen dataclass and a pytree; fields marked static stay hashable metadata."""
    return register(dataclasses.dataclass(frozen=True)(cls))


@dataclasses.dataclass(frozen=True)
class Claims:
    """What is stated of a divergence, per argument and chart. None: no statement.

    `coefficient` is c in D = (c/2) sum (q-p)^2/p + O(|q-p|^3), so that the Hessian at p = q is
    c diag(1/p); it is None where the Hessian has another form. `metric` is "yes", "root" (its
    square root is one) or "no", neither. `products` says what D does on product distributions: it
    is "additive", "sub-additive", a number k (1 + k D multiplies) or "no", none of these.
    """

    convex_in_p: bool | None
    convex_in_q: bool | None
    jointly_convex: bool | None
    convex_in_p_logits: bool | None
    convex_in_q_logits: bool | None
    symmetric: bool | None
    metric: str | None
    upper_bound: float | None
    coefficient: float | None
    smooth: bool = True
    data_processing: bool | None = True
    products: str | float | None = None


def check_divergence(divergence: Any) -> None:
    """Raise TypeError for what is no divergence object, such as a verb or a class."""
    if not isinstance(divergence, Divergence):
        given = getattr(divergence, "__name__", None) or repr(divergence)
        raise TypeError(
            f"divergence must be a divergence object such as jaxdiv.KL(), but is {given}"
        )


@dataclasses.dataclass(frozen=True)
class Divergence(abc.ABC):
    """D(p || q) between distributions, as an object: call it as `KL()(p, q)`."""

    formula: ClassVar[str]
    logarithmic: ClassVar[bool] = False  # whether a base other than e makes sense

    @abc.abstractmethod
    def evaluate(self, rows: "Rows") -> Array:
        """The divergence of every row, from the statistics that `rows` offers."""

    def check_between(self, pair: "FamilyPair") -> None:
        """Raise NotImplementedError for concrete parameters for which `between` has no form."""
        pair.check()

    def between(self, pair: "FamilyPair") -> Array:
        """The divergence of members of families, from what a pair of them offers."""
        rows = pair.rows()
        if rows is not None:
            return self.evaluate(rows)
        raise NotImplementedError(
            f"{type(self).__name__} between {pair.names} has no closed form: it is no function of "
            "KL and of the integrals of p^alpha q^(1-alpha); the mean of f(p(x)/q(x)) over draws x "
            "from q estimates an f-divergence"
        )

    @abc.abstractmethod
    def claims(self) -> Claims:
        """What is stated of it, for concrete parameters."""

    def definition(self, p: Array, q: Array) -> Array:
        """D(p || q) along the last axis, p, q > 0 with sum 1, as a textbook writes it."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form")

    def check(self) -> None:  # noqa: B027 (nothing to check without parameters)
        """Raise ValueError for a concrete parameter outside its domain."""

    def valid(self) -> Array | bool:
        """Whether the parameters are inside their domain, for those that are traced."""
        return True

    def specialise(self) -> "Divergence":
        """An equal divergence that is cheaper for the parameters that are known."""
        return self

    def in_base(self, value: Array, log_base: Array | float) -> Array:
        """The value, given in nats, in units of log(base)."""
        return value / log_base

    def __call__(
        self,
        p: Any,
        q: Any,
        *,
        axis: int = -1,
        where: Any = None,
        base: float | None = None,
        axis_name: Any = None,
        implementation: str = "auto",
    ) -> Array:
        """D(p || q) along `axis`; see `jaxdiv.kl_divergence` for the arguments."""
        from ._finite import divergence

        return divergence(
            self, p, q, axis=axis, where=where, base=base, axis_name=axis_name,
            implementation=implementation,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Transform(Divergence):
    """outer(sum of inner(p, q)): a function of a sum that is homogeneous of degree 1."""

    @abc.abstractmethod
    def inner(self, p: Array, q: Array) -> Array:
        """The summand."""

    @abc.abstractmethod
    def outer(self, s: Array) -> Array:
        """The function of the sum."""

    def definition(self, p: Array, q: Array) -> Array:
        """As a textbook writes it."""
        return self.outer(jnp.sum(self.inner(p, q), axis=-1))


class Edge(NamedTuple):
    """A summand where one argument is 0 and the other positive, as limits.

    `derivative` and `log_derivative` are with respect to the argument that is 0, and to its
    logarithm; the other two with respect to the one that is not.
    """

    value: Array
    derivative: Array
    log_derivative: Array
    other_derivative: Array
    other_log_derivative: Array


class Limit(NamedTuple):
    """A generator f at 0: f(0), f'(0) and lim t f'(t)."""

    value: Scalar
    derivative: Scalar
    log_derivative: Scalar

    def edge(self, other: Array) -> Edge:
        """The summand other * f(t / other) at t = 0."""
        value, log_derivative = self.value, self.log_derivative

        def full(x):
            return jnp.broadcast_to(jnp.asarray(x, other.dtype), other.shape)

        # Euler: the log-derivatives of a function homogeneous of degree 1 add up to its value.
        if concrete(value) and concrete(log_derivative):
            value, log_derivative = float(value), float(log_derivative)
            rest = value if math.isinf(value) else value - log_derivative
        else:
            value, log_derivative = jnp.asarray(value), jnp.asarray(log_derivative)
            rest = value - jnp.where(jnp.isinf(value), 0, log_derivative)
        return Edge(
            full(times(value, other)),
            full(self.derivative),
            full(times(log_derivative, other)),
            full(value),
            full(times(rest, other)),
        )


def times(limit: Scalar, mass: Array) -> Array:
    """limit * mass, infinite where the limit is, though the mass may have underflowed to 0."""
    if isinstance(limit, float):
        return jnp.full_like(mass, limit) if math.isinf(limit) else limit * mass
    infinite = jnp.isinf(limit)
    return jnp.where(infinite, limit, jnp.where(infinite, 0, limit) * mass).astype(mass.dtype)


STEEP = Limit(jnp.inf, -jnp.inf, -jnp.inf)


@dataclasses.dataclass(frozen=True)
class Separable(Divergence):
    """A sum of summands d(p_i, q_i)."""

    homogeneous: ClassVar[bool] = False
    # Whether a small error common to all log-ratios of a row is an error of first order: true
    # unless it is an f-divergence with f smooth at 1.
    rough: ClassVar[bool] = True

    def summand(self, p: Array, q: Array) -> Array:
        """d(p, q) for p, q > 0, as a textbook writes it; every divergence of the catalogue does."""
        raise NotImplementedError(f"{type(self).__name__} declares no summand")

    def definition(self, p: Array, q: Array) -> Array:
        """The sum of the summands."""
        return jnp.sum(self.summand(p, q), axis=-1)

    @abc.abstractmethod
    def term(self, pair: "Pair") -> Array:
        """d(p, q) for p, q > 0, at least 0, accurate to itself."""

    def apart(self, pair: "Pair") -> Array | None:
        """The same to an ulp or two of p + q, in fewer operations; None if there is no such form.

        That is enough where the sum is a quarter of `curvature` or more. The pair's difference is
        p - q, rounded.
        """
        return None

    @abc.abstractmethod
    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        """(p d_p, q d_q) for p, q > 0."""

    def analytic(self) -> "Separable | None":
        """Itself with known numbers, if d(e^l, 1) has a power series that converges for |l| < pi.

        Rows of similar distributions take few operations then: see `rows.close`. None if not, or
        if its parameters may be traced.
        """
        return None

    def power(self) -> tuple[Scalar, float, bool] | None:
        """(a, c, False) if it is c times the alpha-divergence of order a; True if of q and p.

        Rows of similar distributions take one pass then: see `rows.once`. The order is a float
        if it is known.
        """
        return None

    def totals(self, value: Array) -> tuple[Array | float | None, Array | float | None]:
        """The sums of p d_p and of q d_q, where they follow from the sum of d; else None.

        p and q add up to 1. The number 0.0 says that there is nothing to centre.
        """
        return None, None

    @abc.abstractmethod
    def at_p_zero(self, pair: "Pair") -> Edge:
        """The summand at p = 0, q = pair.raw_q > 0."""

    @abc.abstractmethod
    def at_q_zero(self, pair: "Pair") -> Edge:
        """The summand at q = 0, p = pair.raw_p > 0."""

    def captures(self) -> bool:
        """Whether it holds a function of values that are being traced."""
        return False

    def steepness(self) -> Scalar:
        """How many times log(p/q) stands in an exponent of the summand; inf if nobody knows."""
        return 2.0

    def curvature(self) -> Scalar:
        """f''(1) of a smooth f, if there is `apart`: near p = q twice D over sum (p - q)^2 / q.

        What is rounded in p and q changes a sum as large as this by as small a part.
        """
        return 1.0

    def evaluate(self, rows: "Rows") -> Array:
        """The sum over each row."""
        return rows.sum(self)


@dataclasses.dataclass(frozen=True)
class Homogeneous(Separable):
    """An f-divergence: d(p, q) = q f(p/q) with f convex and f(1) = f'(1) = 0."""

    homogeneous: ClassVar[bool] = True
    rough: ClassVar[bool] = False

    @abc.abstractmethod
    def limits(self) -> tuple[Limit, Limit]:
        """At 0, of the generator f and of the reversed one, t f(1/t)."""

    def at_p_zero(self, pair: "Pair") -> Edge:
        """f(0) q."""
        return self.limits()[0].edge(pair.raw_q)

    def at_q_zero(self, pair: "Pair") -> Edge:
        """slope p, where slope = lim f(t)/t is the reversed generator at 0."""
        return self.limits()[1].edge(pair.raw_p)

    def generator(self, t: Array) -> Array:
        """f(t) = d(t, 1), for t > 0."""
        return self.summand(t, jnp.ones_like(t))

    def upper_bound(self) -> float:
        """f(0) + slope, attained by distributions with disjoint supports."""
        with jax.enable_x64(True):
            near, far = self.limits()
            return float(near.value) + float(far.value)

    def stated(
        self,
        *,
        convex_in_p_logits: bool | None = None,
        convex_in_q_logits: bool | None = None,
        metric: str | None = None,
        products: str | float | None = None,
        smooth: bool = True,
    ) -> Claims:
        """The claims: what is given, and what follows from the generator."""

        def looked_at(t: Array) -> tuple[Array, Array | None]:
            symmetric = jnp.allclose(self.generator(t), t * self.generator(1 / t), 1e-12, 1e-13)
            return symmetric, jax.grad(jax.grad(self.generator))(t[0]) if smooth else None

        with jax.enable_x64(True):
            points = np.asarray([1.0, 0.01, 0.3, 2.0, 17.0])
            symmetric, curvature = num.computed(looked_at, points)
        return Claims(
            convex_in_p=True,
            convex_in_q=True,
            jointly_convex=True,
            convex_in_p_logits=convex_in_p_logits,
            convex_in_q_logits=convex_in_q_logits,
            symmetric=bool(symmetric),
            metric=metric,
            upper_bound=self.upper_bound(),
            coefficient=None if curvature is None else float(curvature),
            smooth=smooth,
            data_processing=True,
            products=products,
        )


def told(divergence: Separable, name: str) -> Any:
    """What `analytic` or `power` says of a summand; None where a subclass has another one."""
    classes = type(divergence).__mro__

    def place(method: str) -> int:
        return next(i for i, each in enumerate(classes) if method in vars(each))

    if any(place(method) < place(name) for method in ("summand", "term", "weighted")):
        return None
    return getattr(divergence, name)()


def concrete(x: Any) -> bool:
    """Whether a value is known now, not traced."""
    return not isinstance(x, Tracer)


def check_scalar(name: str, value: Any, accepted: str, inside: Any) -> None:
    """Raise unless `value` is a real scalar and, if it is concrete, `inside(value)` holds."""
    if concrete(value) and isinstance(value, str | bytes | bool | None | complex | list | dict):
        raise TypeError(f"{name} must be a real scalar ({accepted}), but is {value!r}")
    if jnp.ndim(value) != 0:
        raise ValueError(
            f"{name} must be a scalar ({accepted}), but has shape {jnp.shape(value)}; "
            "use jax.vmap for a batch of them"
        )
    if concrete(value) and not inside(float(value)):
        raise ValueError(f"{name} must be {accepted}, but is {value}")


@declare
class Reverse(Separable):
    """The divergence with its arguments exchanged: Reverse(D)(p, q) = D(q, p)."""

    divergence: Separable
    formula: ClassVar[str] = "D(q || p)"

    @property
    def logarithmic(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the divergence it reverses."""
        return self.divergence.logarithmic

    @property
    def homogeneous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the divergence it reverses."""
        return self.divergence.homogeneous

    @property
    def rough(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the divergence it reverses."""
        return self.divergence.rough

    def check(self) -> None:
        self.divergence.check()

    def valid(self) -> Array | bool:
        return self.divergence.valid()

    def captures(self) -> bool:
        return self.divergence.captures()

    def steepness(self) -> Scalar:
        return self.divergence.steepness()

    def check_between(self, pair: "FamilyPair") -> None:
        self.divergence.check_between(pair.swap())

    def between(self, pair: "FamilyPair") -> Array:
        return self.divergence.between(pair.swap())

    def summand(self, p: Array, q: Array) -> Array:
        return self.divergence.summand(q, p)

    def term(self, pair: "Pair") -> Array:
        return self.divergence.term(pair.swap())

    def apart(self, pair: "Pair") -> Array | None:
        return self.divergence.apart(pair.swap())

    def curvature(self) -> Scalar:
        return self.divergence.curvature()

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        by_q, by_p = self.divergence.weighted(pair.swap())
        return by_p, by_q

    def analytic(self) -> "Separable | None":
        known = told(self.divergence, "analytic")
        return None if known is None else Reverse(known)

    def power(self) -> tuple[Scalar, float, bool] | None:
        found = told(self.divergence, "power")
        return None if found is None else (found[0], found[1], not found[2])

    def totals(self, value: Array) -> tuple[Array | float | None, Array | float | None]:
        by_q, by_p = self.divergence.totals(value)
        return by_p, by_q

    def at_p_zero(self, pair: "Pair") -> Edge:
        return self.divergence.at_q_zero(pair.swap())

    def at_q_zero(self, pair: "Pair") -> Edge:
        return self.divergence.at_p_zero(pair.swap())

    def claims(self) -> Claims:
        c = self.divergence.claims()
        return dataclasses.replace(
            c,
            convex_in_p=c.convex_in_q,
            convex_in_q=c.convex_in_p,
            convex_in_p_logits=c.convex_in_q_logits,
            convex_in_q_logits=c.convex_in_p_logits,
        )


@declare
class Symmetrised(Separable):
    """The sum over both orders: D(p, q) + D(q, p)."""

    divergence: Separable
    formula: ClassVar[str] = "D(p || q) + D(q || p)"

    @property
    def logarithmic(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the divergence it symmetrises."""
        return self.divergence.logarithmic

    @property
    def homogeneous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the divergence it symmetrises."""
        return self.divergence.homogeneous

    @property
    def rough(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the divergence it symmetrises."""
        return self.divergence.rough

    def check(self) -> None:
        self.divergence.check()

    def valid(self) -> Array | bool:
        return self.divergence.valid()

    def captures(self) -> bool:
        return self.divergence.captures()

    def steepness(self) -> Scalar:
        return self.divergence.steepness()

    def check_between(self, pair: "FamilyPair") -> None:
        self.divergence.check_between(pair)

    def between(self, pair: "FamilyPair") -> Array:
        return self.divergence.between(pair) + self.divergence.between(pair.swap())

    def summand(self, p: Array, q: Array) -> Array:
        return self.divergence.summand(p, q) + self.divergence.summand(q, p)

    def term(self, pair: "Pair") -> Array:
        return self.divergence.term(pair) + self.divergence.term(pair.swap())

    def apart(self, pair: "Pair") -> Array | None:
        one, other = self.divergence.apart(pair), self.divergence.apart(pair.swap())
        return None if one is None or other is None else one + other

    def curvature(self) -> Scalar:
        return 2 * self.divergence.curvature()

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        by_p, by_q = self.divergence.weighted(pair)
        swapped_q, swapped_p = self.divergence.weighted(pair.swap())
        return by_p + swapped_p, by_q + swapped_q

    def analytic(self) -> "Separable | None":
        known = told(self.divergence, "analytic")
        return None if known is None else Symmetrised(known)

    def at_p_zero(self, pair: "Pair") -> Edge:
        return _add(self.divergence.at_p_zero(pair), self.divergence.at_q_zero(pair.swap()))

    def at_q_zero(self, pair: "Pair") -> Edge:
        return _add(self.divergence.at_q_zero(pair), self.divergence.at_p_zero(pair.swap()))

    def claims(self) -> Claims:
        c = self.divergence.claims()

        def both(a: bool | None, b: bool | None) -> bool | None:
            return True if a and b else None

        return Claims(
            convex_in_p=both(c.convex_in_p, c.convex_in_q),
            convex_in_q=both(c.convex_in_p, c.convex_in_q),
            jointly_convex=both(c.jointly_convex, True),
            convex_in_p_logits=both(c.convex_in_p_logits, c.convex_in_q_logits),
            convex_in_q_logits=both(c.convex_in_p_logits, c.convex_in_q_logits),
            symmetric=True,
            metric=None,
            upper_bound=None if c.upper_bound is None else 2 * c.upper_bound,
            coefficient=None if c.coefficient is None else 2 * c.coefficient,
            smooth=c.smooth,
            data_processing=c.data_processing,
            products=c.products if c.products == "additive" else None,
        )


def _add(a: Edge, b: Edge) -> Edge:
    return Edge(*(x + y for x, y in zip(a, b, strict=True)))
