"""How far around p = q a divergence is convex in logits, where it is not convex everywhere.

With t = p/q, G = f - t f', K = t^2 f'' + G the Hessian of an f-divergence in q's logits is
B diag(u) B^T, u_i = q_i (K(t_i) - sum_j q_j G(t_j)). Where all |log t| <= r, t lies in
[a, b] = [e^-r, e^r] with mean 1 under q, so that the mean of G is at most the largest
G(t) - m (t - 1), for any m. If K exceeds that, no eigenvalue is negative, for any n. With m the
slope of G's chord this is sharp where G is convex: just outside, a tiny mass at the least K has
u_i < 0.

Of Renyi's divergence of order a < 1 the Hessian is Cov_q - (1 - a) Cov_w over a positive number,
w the weights p^a q^(1-a), and a variance is the least second moment: it is enough that
(1 - a) w_i <= q_i.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._divergence import Transform
from .._numerics import QUICKLY
from . import premises as facts
from .proofs import derivative
from .properties import Function, Property, Rows, Sides, softmax
from .search import confirm
from .subject import Subject
from .verdict import Certificate, Witness

_LARGEST = 6.0  # the farthest that is looked at
_BEYOND = 1.02  # how far outside the witness lies
_MASS = 1e-4  # of the outcome that makes it one
Gap = Callable[[float], float]


@dataclasses.dataclass(frozen=True)
class Region:
    """Convex in the logits of `argument` where every |log(p_i/q_i)| is at most `radius`."""

    argument: str
    radius: float
    certificate: Certificate
    beyond: float
    witness: Witness | None


def bends(moving: str) -> Property:
    """The second derivative along a direction of the logits is at least 0."""

    def sides(divergence: Function, rows: Rows) -> Sides:
        def along(s: Any) -> Any:
            moved = {name: softmax(rows[name]) for name in ("p", "q")}
            moved[moving] = softmax(rows[moving] + s * rows["direction"])
            return divergence(moved["p"], moved["q"])

        zero = jnp.zeros((), rows["p"].dtype)
        second = jax.grad(jax.grad(along))(zero)
        return jnp.zeros_like(second), second

    failure = f"0 exceeds the second derivative along a direction of {moving}'s logits"
    return Property(f"curved up in {moving}", "logits", failure, ("p", "q", "direction"), sides)


@functools.lru_cache(maxsize=128)
def convex_region(subject: Subject, argument: str = "q") -> Region | None:
    """The region of the module's text, with a witness just outside; None where no form is known.

    Args:
        subject: What `subject_of` returns.
        argument: Whose logits move, "p" or "q".
    """
    if argument not in ("p", "q"):
        raise ValueError(f"argument must be 'p' or 'q', but is {argument!r}")
    divergence = subject.divergence
    f = subject.generator if argument == "q" else subject.reversed_generator
    if f is not None:
        return _of_generator(subject, f, argument)
    if isinstance(divergence, Transform):
        order = _order(divergence)
        if order is not None and 0 < order < 1:
            return _of_renyi(subject, order if argument == "q" else 1 - order, argument)
    return None


def _order(divergence: Transform) -> float | None:
    """The order of a multiple of log sum p^a q^(1-a)."""
    form = facts.exact_form(lambda t: divergence.inner(t, jnp.ones_like(t)))
    whole = facts.exact_form(lambda s: s * jax.grad(divergence.outer)(s))
    if form is None or whole is None or list(whole.terms) != [(0, 0)]:
        return None
    terms = list(form.items())
    return float(terms[0][0][0]) if len(terms) == 1 and terms[0][1] == (1, 1) else None


def _largest(gap: Gap) -> float | None:
    """Where gap falls through 0, by bisection; None if it does not."""
    low, high = 1e-3, _LARGEST
    if not gap(low) > 0 or not gap(high) < 0:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) > 0 else (low, middle)
    return low


def _rounded_down(x: float) -> float:
    """A little inside, where a few boxes are enough, and to two decimals."""
    return math.floor(x * 98) / 100


@functools.lru_cache(maxsize=128)
def _certified(f: facts.Scalar) -> tuple[float, float, float, tuple[facts.Sign, facts.Sign]] | None:
    """The radius, how far the witness lies and at which ratio, and the premises."""
    first, second = derivative(f, 1), derivative(f, 2)

    def tangent(t: Any) -> Any:
        return f(t) - t * first(t)

    def curvature(t: Any) -> Any:
        return t * t * second(t) + tangent(t)

    with jax.enable_x64(True):
        grid = np.linspace(-_LARGEST, _LARGEST, 4097)
        both = jax.vmap(lambda t: (tangent(t), curvature(t)))
        both = jax.jit(both, compiler_options=QUICKLY)
        values = both(jnp.asarray(np.exp(grid)))
        tangents, curvatures = map(np.asarray, values)

    def parts(r: float) -> tuple[float, float, float, float]:
        # The proof is of the boxes; these figures only choose what to prove.
        x = np.linspace(-r, r, 257)
        t, g, k = np.exp(x), np.interp(x, grid, tangents), np.interp(x, grid, curvatures)
        slope = (g[-1] - g[0]) / (t[-1] - t[0])
        lowest = int(np.argmin(k))
        return float(slope), float(np.max(g - slope * (t - 1))), float(k[lowest]), t[lowest]

    radius = _largest(lambda r: parts(r)[2] - parts(r)[1])
    if radius is None:
        return None
    inside, beyond = _rounded_down(radius), radius * _BEYOND
    slope, most, least, _ = parts(inside)
    level = (most + least) / 2
    worst = parts(beyond)[3]
    low, high = math.exp(-inside), math.exp(inside)
    above = facts.sign(
        f"K(t) >= {level:.6g}", lambda t: curvature(t) - level,
        smooth_of=f, start=low, stop=high,
    )  # fmt: skip
    below = facts.sign(
        f"G(t) - {slope:.6g} (t - 1) <= {level:.6g}",
        lambda t: level - tangent(t) + slope * (t - 1),
        smooth_of=f, start=low, stop=high,
    )  # fmt: skip
    if above is None or below is None:
        return None
    return inside, beyond, worst, (above, below)


def _of_generator(subject: Subject, f: facts.Scalar, argument: str) -> Region | None:
    found = _certified(f)
    if found is None:
        return None
    inside, beyond, worst, premises = found
    lemma = f"u >= 0 in the Hessian B diag(u) B^T of {argument}'s logits where |log(p/q)| <= r"
    certificate = Certificate(lemma, "the inertia of B diag(u) B^T", premises)
    return Region(argument, inside, certificate, beyond, _outside(subject, argument, beyond, worst))


@dataclasses.dataclass(frozen=True)
class _Weights(facts.Premise):
    """(1 - a) e^(a r) is at most the least sum of q t^a with mean t = 1: the chord of t^a at 1."""

    what: str
    order: float
    radius: float

    def check(self) -> bool:
        """In interval arithmetic."""
        from .arithmetic import Bounds, evaluate

        def slack(r: Any) -> Any:
            a, low, high = self.order, jnp.exp(-r), jnp.exp(r)
            chord = (low**a * (high - 1) + high**a * (1 - low)) / (high - low)
            return chord - (1 - a) * high**a

        return evaluate(slack, Bounds(self.radius)).lower >= 0

    def describe(self) -> str:
        """The fact."""
        return f"{self.what} for r = {self.radius:.4g}"


def _of_renyi(subject: Subject, order: float, argument: str) -> Region | None:
    def gap(r: float) -> float:
        low, high = math.exp(-r), math.exp(r)
        chord = (low**order * (high - 1) + high**order * (1 - low)) / (high - low)
        return chord - (1 - order) * high**order

    radius = _largest(gap)
    if radius is None:
        return None
    inside, beyond = _rounded_down(radius), radius * _BEYOND
    premise = _Weights("(1 - a) e^(a r) <= the least sum of q t^a", order, inside)
    lemma = "Var_q(v) >= (1 - a) Var_w(v) where (1 - a) w_i <= q_i, w = p^a q^(1-a) normalised"
    certificate = Certificate(lemma, "a variance is the least second moment", (premise,))
    if not certificate.check():
        return None
    worst = math.exp(beyond)
    return Region(argument, inside, certificate, beyond, _outside(subject, argument, beyond, worst))


def _outside(subject: Subject, argument: str, radius: float, worst: float) -> Witness | None:
    """Three outcomes: both ends of the region with mean ratio 1, and a tiny mass at the worst."""
    if subject.definition is None:
        return None
    low, high = math.exp(-radius), math.exp(radius)
    share = (1 - low) / (high - low)
    for mass in (_MASS, _MASS / 30):
        fixed = np.asarray([(1 - share) * (1 - mass), share * (1 - mass), mass])
        other = fixed * np.asarray([low, high, worst])
        moved, still = np.log(fixed), np.log(other / other.sum())
        rows = {"p": still, "q": moved} if argument == "q" else {"p": moved, "q": still}
        rows["direction"] = np.asarray([0.0, 0.0, 1.0])
        witness = confirm(subject.definition, bends(argument), rows)
        if witness is not None:
            return witness
    return None
