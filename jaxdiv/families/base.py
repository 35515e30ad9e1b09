"""What a family of distributions is.

A family is a frozen dataclass whose fields are parameters, with their domains; it is a pytree, and
is checked when a verb receives it. An *exponential* family has the density

    exp(<theta, T(x)> - A(theta)) h(x)

with natural parameters theta and a convex log-partition A. Its divergences are Bregman's of A:
KL(theta || eta) = A(eta) - A(theta) - <eta - theta, grad A(theta)>, and

    integral of p^alpha q^(1-alpha) = exp(-[alpha A(theta) + (1-alpha) A(eta) - A(m)]),
    m = alpha theta + (1-alpha) eta,

which gives Renyi's, the alpha-divergences, Hellinger's, Bhattacharyya's, chi-squared and Chernoff
information at once. As differences of A they lose every digit near p = q and for large parameters;
so a family also declares the same thing without cancellation: the *bend* of A along a line of
natural parameters, formed from differences of the stored parameters.

Many families are images of another one under a bijection of the outcomes, which leaves divergences
as they are: a log-normal variable is the exponential of a normal one. They only say of which.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._checks import as_parameter
from .._divergence import concrete
from .._pytree import register
from ..rows.pair import Side
from .expectations import Expectations, Real

Class = TypeVar("Class", bound=type)
Number = Any  # what a user gives for a parameter: a number or an array of them


class Domain(NamedTuple):
    """What a parameter may be."""

    text: str
    inside: Callable[[Any], Any]


def _finite(x: Any) -> Any:
    return abs(x) < np.inf


REAL = Domain("finite", _finite)
POSITIVE = Domain("positive and finite", lambda x: (x > 0) & _finite(x))
PROBABILITY = Domain("in [0, 1]", lambda x: (x >= 0) & (x <= 1))
CHANCE = Domain("in (0, 1]", lambda x: (x > 0) & (x <= 1))


def parameter(domain: Domain, event_ndim: int = 0, **keywords: Any) -> Any:
    """A field that is a parameter; its last `event_ndim` axes are no batch axes."""
    return dataclasses.field(metadata={"domain": domain, "event_ndim": event_ndim}, **keywords)


@dataclass_transform(frozen_default=True, field_specifiers=(parameter,))
def family(cls: Class) -> Class:
    """Make a class a frozen dataclass and a pytree of its parameters."""
    return register(dataclasses.dataclass(frozen=True)(cls))


class View(NamedTuple):
    """A family as the image of an exponential one: x = map(y), `core` the family of y.

    Images of one family under one map have the divergences of that family; `fixed` are the
    parameters of the map, which must be equal on both sides.
    """

    core: "ExponentialFamily"
    map: str
    fixed: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Family(Expectations, abc.ABC):
    """A distribution, or a batch of them, of a family with parameters."""

    shared: ClassVar[tuple[str, ...]] = ()  # what `jensen` needs to be equal on both sides
    regular: ClassVar[bool] = True  # the support does not depend on parameters

    def view(self) -> View | None:
        """The exponential family that it is an image of."""
        return None

    def like(self, other: "Family") -> "Family":
        """The same distribution as a member of another's family, if it is one."""
        return self

    def natural(self) -> tuple[Array, ...]:
        """Natural parameters theta, of an exponential family."""
        raise NotImplementedError

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        """A(theta), +inf outside its domain."""
        raise NotImplementedError

    def kl(self, other: Any) -> Array:
        """KL(self || other) within the family, where no view gives it for all parameters."""
        raise NotImplementedError

    def jensen(self, other: Any, alpha: Array) -> Array:
        """What `Pair.jensen` is, within a family where no view gives it for all parameters."""
        raise NotImplementedError

    def squared_fisher_rao(self, other: Any) -> Array:
        """The squared geodesic distance of the Fisher metric to another member, smooth at 0."""
        raise NotImplementedError

    def rows(self) -> Side | None:
        """The probabilities of finitely many outcomes, which have every divergence."""
        return None

    def consistent(self, name: str) -> None:
        """Raise for parameters that don't go together."""

    def log_prob(self, x: Any) -> Array:
        """log of the density, or of the probability, of outcomes `x`, (..., *event).

        x broadcasts with the batch shape; -inf outside the support, NaN where x is. Raises
        NotImplementedError for a family whose density is not known (`Transformed`).
        """
        from .densities import log_prob
        from .evaluate import as_outcomes

        member = self.checked("self")
        return log_prob(member, as_outcomes(member, x))

    def sample(self, key: Array, shape: int | tuple[int, ...] = ()) -> Array:
        """Independent draws, (*shape, *batch, *event), as floats.

        Of most continuous families they are differentiable by the parameters. Raises
        NotImplementedError for a family that cannot be sampled here.
        """
        from .draws import sample
        from .evaluate import compute_dtype

        member = self.checked("self")
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        return sample(member, key, shape, compute_dtype(member))

    def check(self, name: str) -> None:
        """Raise for a concrete parameter outside its domain, or for parameters that don't fit."""
        self.consistent(name)
        for field, value in given(self):
            domain = field.metadata["domain"]
            if concrete(value):
                known = np.asarray(value)
                inside = domain.inside(known)
                if not np.all(inside):
                    worst = known[~np.asarray(inside)].reshape(-1)[0]
                    raise ValueError(f"{name}.{field.name} must be {domain.text}, but is {worst}")
            needed = field.metadata["event_ndim"]
            if 0 in value.shape[value.ndim - needed :]:
                raise ValueError(
                    f"{name}.{field.name} must have 1 entry or more along its last "
                    f"{'axis' if needed == 1 else 'axes'}, but has shape {value.shape}"
                )
            if value.ndim < needed:
                raise ValueError(
                    f"{name}.{field.name} must have at least {needed} "
                    f"{'axis' if needed == 1 else 'axes'}, but has shape {value.shape}"
                )
        self.batch(name)

    def checked(self, name: str) -> Self:
        """The member with arrays for parameters; raises for those that can't be."""
        for field in dataclasses.fields(self):
            if field.default is dataclasses.MISSING and getattr(self, field.name) is None:
                raise TypeError(f"{name}.{field.name} must be real numbers, but is None")
        arrays = {f.name: as_parameter(f"{name}.{f.name}", x) for f, x in given(self)}
        member = dataclasses.replace(self, **arrays)
        member.check(name)
        return member

    def batch(self, name: str) -> tuple[Any, ...]:
        """The shape that the batch axes of all parameters broadcast to."""
        shapes = {
            f"{name}.{f.name}": x.shape[: x.ndim - f.metadata["event_ndim"]] for f, x in given(self)
        }
        try:
            return jnp.broadcast_shapes(*shapes.values())
        except ValueError:
            text = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
            raise ValueError(f"shapes of parameters must broadcast, but are {text}") from None

    def event_shape(self) -> tuple[Any, ...]:
        """The axes of one outcome."""
        vectors = [x for f, x in given(self) if f.metadata["event_ndim"] == 1]
        return vectors[0].shape[-1:] if vectors else ()

    def full(self, batch: tuple[int, ...], dtype: Any) -> Self:
        """The member with every parameter broadcast to a batch, in a dtype."""

        def broadcast(field: dataclasses.Field, x: Array) -> Array:
            events = field.metadata["event_ndim"]
            shape = (*batch, *x.shape[x.ndim - events :]) if events else batch
            return jnp.broadcast_to(x.astype(dtype), shape)

        return dataclasses.replace(self, **{f.name: broadcast(f, x) for f, x in given(self)})

    def valid(self) -> Array:
        """Whether every parameter is inside its domain, per member of the batch."""
        every: Any = jnp.asarray(True)
        for field, value in given(self):
            domain = field.metadata["domain"]
            axes = tuple(range(-field.metadata["event_ndim"], 0))
            if domain is REAL and axes:  # a reduction of numbers, faster than one of truths
                every &= domain.inside(jnp.max(jnp.abs(value), axis=axes, initial=0.0))
            else:
                every &= jnp.all(domain.inside(value), axis=axes)
        return every


def given(member: Family) -> list[tuple[dataclasses.Field, Any]]:
    """The parameters that are set, with their fields."""
    fields = [f for f in dataclasses.fields(member) if "domain" in f.metadata]
    return [(f, x) for f in fields if (x := getattr(member, f.name)) is not None]


Direction = Any  # differences of two members, as the family wants them


@dataclasses.dataclass(frozen=True)
class ExponentialFamily(Family):
    """A family with natural parameters and a log-partition."""

    statistics: ClassVar[tuple[str, ...]]  # T(x), as a reader would write them

    def view(self) -> View:
        """Itself."""
        return View(self, "x", {})

    @abc.abstractmethod
    def natural(self) -> tuple[Array, ...]:
        """theta."""

    @staticmethod
    @abc.abstractmethod
    def log_partition(*natural: Array) -> Array:
        """A(theta), +inf outside its domain."""

    @abc.abstractmethod
    def toward(self, other: Any) -> Direction:
        """eta - theta for self at theta and other at eta, each number accurate to itself."""

    @abc.abstractmethod
    def at(self, other: Any, direction: Direction, t: Real, rest: Real) -> Any:
        """The member at rest theta + t eta, rest = 1 - t; NaN outside A's domain."""

    def nearer(self, other: Any, alpha: Array) -> tuple[Any, Array | float]:
        """A member near enough for ratios of parameters, and what the other one adds to the gap.

        The gap is that of `Pair.jensen`.
        """
        del alpha
        return other, 0.0

    @abc.abstractmethod
    def bend(self, point: Any, direction: Direction, t: Real) -> Array:
        """[A(theta + t d) - A(theta) - t <d, grad A(theta)>] / t^2, t^-2 KL(self || point).

        self and point lie on one line with direction d, point at t from self.
        """


def inside(member: Family) -> Array:
    """Whether a member that was computed lies in its family."""
    return jax.lax.stop_gradient(member.valid())


def choose(condition: Array, a: Any, b: Any) -> Any:
    """Members or directions of one shape, entry by entry."""

    def pick(x: Array, y: Array) -> Array:
        c = condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim))
        return jnp.where(c, x, y)

    return jax.tree.map(pick, a, b)
