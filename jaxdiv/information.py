"""Information: -log p, its mean the entropy, and what coding with the wrong belief costs."""

import functools
import operator
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from . import _checks as checks
from ._divergence import Claims, Edge, Separable, declare
from ._f_divergences import KL
from ._finite import Labels, Logits, LogProbs, Probs, as_noun, divergence, layout, sides
from ._heads import Head, TopK
from ._members import maybe_member
from .rows.pair import Pair, pair_of

if TYPE_CHECKING:
    from .families.pair import Pair as FamilyPair

_INF = float("inf")


@declare
class CrossEntropy(Separable):
    """-sum p log q: the mean code length of p coded as if it were q."""

    formula: ClassVar[str] = "-sum p log q"
    logarithmic: ClassVar[bool] = True

    def check_between(self, pair: "FamilyPair") -> None:
        """Those of KL."""
        KL().check_between(pair)

    def between(self, pair: "FamilyPair") -> Array:
        """Entropy and KL of members of families."""
        rows = pair.rows()
        return pair.cross_entropy() if rows is None else self.evaluate(rows)

    def term(self, pair: Pair) -> Array:
        """-p log q."""
        return 0 - pair.p * pair.log_q  # 0 - 0 is 0, -0 is not

    def apart(self, pair: Pair) -> Array | None:
        """The same: it is no difference."""
        return self.term(pair)

    def totals(self, value: Array) -> tuple[Array | float | None, Array | float | None]:
        """The value, and -1."""
        return value, jnp.full_like(value, -1)

    def weighted(self, pair: Pair) -> tuple[Array, Array]:
        """With respect to log p and log q."""
        return -pair.p * pair.log_q, -pair.p

    def at_p_zero(self, pair: Pair) -> Edge:
        """0, with the slope -log q in p."""
        zero = jnp.zeros_like(pair.raw_q)
        return Edge(zero, -pair.log_q, zero, zero, zero)

    def at_q_zero(self, pair: Pair) -> Edge:
        """+inf."""
        infinite = jnp.full_like(pair.raw_p, _INF)
        return Edge(infinite, -infinite, -pair.raw_p, infinite, infinite)

    def claims(self) -> Claims:
        """Convex in either argument, not jointly."""
        return Claims(
            True, True, False, False, True, False, "no", _INF, None, data_processing=False
        )


@declare
class _ConditionalEntropy(Separable):
    """-sum p log(p/q) for p <= q, the probabilities of (x, y) and of y."""

    formula: ClassVar[str] = "-sum p log(p/q)"
    logarithmic: ClassVar[bool] = True

    def term(self, pair: Pair) -> Array:
        return 0 - pair.p * pair.log_ratio

    def weighted(self, pair: Pair) -> tuple[Array, Array]:
        return -pair.p * (pair.log_ratio + 1), pair.p

    def at_p_zero(self, pair: Pair) -> Edge:
        zero = jnp.zeros_like(pair.raw_q)
        return Edge(zero, jnp.full_like(zero, _INF), zero, zero, zero)

    def at_q_zero(self, pair: Pair) -> Edge:
        nan = jnp.full_like(pair.raw_p, jnp.nan)  # a marginal is never below its entries
        return Edge(nan, nan, nan, nan, nan)

    def claims(self) -> Claims:
        raise NotImplementedError("conditional entropy is not a divergence")


def cross_entropy(
    p: Any,
    q: Any,
    *,
    axis: int = -1,
    where: Any = None,
    base: float | None = None,
    axis_name: Any = None,
    implementation: str = "auto",
) -> Array:
    """Cross-entropy H(p, q) = -sum p log q, in nats or in units of log(base).

    With p fixed its derivatives with respect to q are those of KL(p || q), because
    H(p, q) = H(p) + KL(p || q) for distributions. `cross_entropy(Labels(y), Logits(z))` is the
    loss of classifiers.

    Arguments, shapes and errors are those of `kl_divergence`. Between members of families it is
    H(p) + KL(p || q), for densities with the differential entropy.
    """
    return CrossEntropy()(
        p, q, axis=axis, where=where, base=base, axis_name=axis_name, implementation=implementation
    )


def entropy(
    p: Any,
    *,
    axis: int = -1,
    where: Any = None,
    base: float | None = None,
    axis_name: Any = None,
    implementation: str = "auto",
) -> Array:
    """Entropy H(p) = -sum p log p, the floor of every code's mean length; 0 log 0 = 0.

    Between 0 and log n for a distribution over n outcomes; concave in p. In nats or, with
    `base`, in units of log(base) (base 2: bits). Of a member of a family with a density it is the
    differential entropy, which may be negative; NotImplementedError where that has no closed form.

    Reference: Shannon, A Mathematical Theory of Communication, 1948.
    """
    noun = p if maybe_member(p) else as_noun("p", p)
    return divergence(
        CrossEntropy(), noun, noun, axis=axis, where=where, base=base, axis_name=axis_name,
        implementation=implementation,
    )  # fmt: skip


def perplexity(
    p: Any,
    q: Any = None,
    *,
    axis: int = -1,
    where: Any = None,
    axis_name: Any = None,
    implementation: str = "auto",
) -> Array:
    """exp of the cross-entropy H(p, q) or, without q, of the entropy H(p).

    The size of the uniform distribution that is as hard to code. A pure number, whatever the
    base of the logarithms.
    """
    keywords: dict[str, Any] = dict(
        axis=axis, where=where, axis_name=axis_name, implementation=implementation
    )
    return jnp.exp(entropy(p, **keywords) if q is None else cross_entropy(p, q, **keywords))


@jax.custom_jvp
def _negative_log(x: Array) -> Array:
    return 0 - jnp.log(x)


@_negative_log.defjvp
def _(primals, tangents):
    # Two finite factors for the infinite slope at 0, so that zero tangents stay zero.
    (x,) = primals
    zero = x == 0
    slope = jnp.where(zero, -(2.0**100), -1 / jnp.where(zero, 1, x)).astype(x.dtype)
    more = jnp.where(zero, 2.0**100, 1).astype(x.dtype)
    return _negative_log(x), tangents[0] * slope * more


def self_information(
    p: Any, *, axis: int = -1, where: Any = None, base: float | None = None
) -> Array:
    """Self-information -log p of every outcome, elementwise: the shape of p is kept.

    Nats, or units of log(base). +inf where p is 0; 0 where `where` is False.
    """
    log_base = checks.check_base(base, True, "self_information")
    noun = as_noun("p", p)
    if isinstance(noun, Head | TopK):
        raise TypeError(
            "self_information keeps the shape of all outcomes, which a "
            f"{type(noun).__name__} never has"
        )
    mask = None if where is None else jnp.asarray(where)
    form = layout({"p": noun}, axis, mask)
    side, same, mask = sides(noun, noun, mask, form)
    if side.linear:
        bad = side.invalid()[..., None]
        value = _negative_log(jnp.where(side.values >= 0, side.values, jnp.nan))
    else:
        pair = pair_of(side, same)
        bad = side.invalid()[..., None]
        value = jnp.where(side.support(), 0 - (pair.log_p + pair.log_p_low), _INF)
    value = jnp.where(bad, jnp.nan, value)
    if mask is not None:
        value = jnp.where(mask, value, 0)
    return jnp.moveaxis(value, -1, form.axis) / log_base


def _joint(joint: Any, axes: Any, where: Any) -> Array:
    """The table as probabilities with its two axes last."""
    match joint:
        case Labels() | Head() | TopK():
            kind = type(joint).__name__
            raise TypeError(f"joint must be a table of probabilities, not {kind}")
        case Probs(x) | LogProbs(x) | Logits(x):
            table = checks.as_array("joint", x)
        case _:
            table = checks.as_array("joint", joint)
    try:
        first, second = (operator.index(a) for a in axes)
    except (TypeError, ValueError):
        raise TypeError(f"axes must be two integers, but is {axes!r}") from None
    if table.ndim < 2:
        raise ValueError(f"joint must have at least two axes, but has shape {table.shape}")
    first = checks.check_axis(first, table.ndim, "axes[0]")
    second = checks.check_axis(second, table.ndim, "axes[1]")
    if first == second:
        raise ValueError(f"axes must be two different axes, but is {axes!r}")
    if where is not None:
        where = jnp.asarray(where)
        checks.check_where(where, table.shape)
        where = jnp.moveaxis(jnp.broadcast_to(where, table.shape), (first, second), (-2, -1))
    table = jnp.moveaxis(table, (first, second), (-2, -1))
    shape = table.shape[-2:]
    if 0 in shape:
        raise ValueError(f"joint must not have empty axes, but its table has shape {shape}")
    table = table.astype(jnp.float64 if table.dtype == jnp.float64 else jnp.float32)
    mask = True if where is None else where
    if isinstance(joint, Logits):
        flat = (table / jnp.asarray(joint.temperature, table.dtype)).reshape(*table.shape[:-2], -1)
        flat = jnp.where(jnp.broadcast_to(mask, table.shape).reshape(flat.shape), flat, -jnp.inf)
        table = jax.nn.softmax(flat, axis=-1).reshape(table.shape)
    elif isinstance(joint, LogProbs):
        table = jnp.exp(table)
    return jnp.where(mask, table, 0)


def _flat(table: Array) -> Array:
    return table.reshape(*table.shape[:-2], -1)


_marginal = functools.partial(jnp.sum, keepdims=True)


def joint_entropy(
    joint: Any, axes: tuple[int, int] = (-2, -1), *, where: Any = None, base: float | None = None
) -> Array:
    """Joint entropy H(X, Y) = -sum p(x, y) log p(x, y) of a table; x along axes[0], y axes[1]."""
    return entropy(_flat(_joint(joint, axes, where)), base=base)


def conditional_entropy(
    joint: Any, axes: tuple[int, int] = (-2, -1), *, where: Any = None, base: float | None = None
) -> Array:
    """Conditional entropy H(X | Y) = -sum p(x, y) log(p(x, y)/p(y)), x along axes[0], y axes[1].

    At least 0 and at most H(X). Swap `axes` for H(Y | X).
    """
    table = _joint(joint, axes, where)
    given = jnp.broadcast_to(_marginal(table, axis=-2), table.shape)
    return divergence(_ConditionalEntropy(), _flat(table), _flat(given), base=base)


def mutual_information(
    joint: Any, axes: tuple[int, int] = (-2, -1), *, where: Any = None, base: float | None = None
) -> Array:
    """Mutual information I(X; Y) = KL(p(x, y) || p(x) p(y)) of a joint table.

    At least 0, and 0 exactly for independent X and Y up to the rounding of the product of the
    marginals (squared, so below 1e-13 in float32). A table of mass m counts as m times the
    normalised one. Differentiable; H(X) + H(Y) - H(X, Y) without its cancellation.
    """
    table = _joint(joint, axes, where)
    mass = _marginal(table, axis=(-2, -1))
    product = _marginal(table, axis=-1) * (
        _marginal(table, axis=-2) / jnp.where(mass == 0, 1, mass)
    )
    return KL()(_flat(table), _flat(product), base=base)
