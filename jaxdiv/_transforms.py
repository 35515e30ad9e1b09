"""Divergences that are functions of f-divergences.

With S = sum p^alpha q^(1-alpha) and m = alpha m_p + (1-alpha) m_q, where m_p and m_q are the
stored masses (1 for distributions), S/m = 1 + alpha (alpha-1) D/m with D the alpha-divergence.
Near p = q that is the accurate form, a sum of terms of one sign; far from it log S is a
log-sum-exp. Both vanish exactly at p = q.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from . import _numerics as num
from ._divergence import (
    Claims,
    Divergence,
    Scalar,
    Transform,
    check_scalar,
    concrete,
    declare,
)
from ._f_divergences import KL, Alpha, JensenShannon, SquaredHellinger
from ._pytree import static
from ._tangents import all_zero, materialised

if TYPE_CHECKING:
    from .families.pair import Pair as FamilyPair
    from .rows.evaluate import Rows
    from .rows.pair import Side

_INF = float("inf")


def _of_order_0(rows: "Rows") -> Array:
    """Renyi's divergence of order 0, -log of q's mass on p's support, as part of all of q's."""
    _, mass_q = rows.masses()
    _, only_q = rows.unshared()
    some = jnp.where(mass_q == 0, 1, mass_q)
    lost = only_q / some
    near = ~(lost > 0.5)
    zero = jnp.zeros((), rows.dtype)
    far = jnp.log(some) - jnp.where(near, 0, rows.log_affinity(zero))
    return jnp.where(near, 0 - num.log1p(jnp.where(near, -lost, 0)), far)


@declare
class Renyi(Transform):
    """Renyi's divergence of order alpha; KL at 1, log max p/q at infinity."""

    alpha: Scalar
    ends: bool = static(default=True, repr=False)  # whether alpha may be 0 or inf
    formula: ClassVar[str] = "log(sum p^alpha q^(1-alpha)) / (alpha - 1)"
    logarithmic: ClassVar[bool] = True

    def check(self) -> None:
        check_scalar("alpha", self.alpha, "0 <= alpha <= inf", lambda a: a >= 0)

    def valid(self) -> Array | bool:
        return jnp.asarray(self.alpha) >= 0

    def specialise(self) -> "Renyi":
        """The cheaper form for a concrete alpha inside (0, inf)."""
        inside = concrete(self.alpha) and 0 < float(self.alpha) < _INF
        return dataclasses.replace(self, ends=False) if inside else self

    def check_between(self, pair: "FamilyPair") -> None:
        pair.check()
        if concrete(self.alpha) and float(self.alpha) == _INF:
            raise NotImplementedError(
                f"Renyi's divergence of order inf between {pair.names} has no closed form: it is "
                "the supremum of log(p/q); a finite alpha has one"
            )

    def between(self, pair: "FamilyPair") -> Array:
        alpha = jnp.asarray(self.alpha, pair.dtype)
        return alpha * pair.jensen(alpha)

    def inner(self, p: Array, q: Array) -> Array:
        a = float(self.alpha)
        if a in (0, _INF):
            raise NotImplementedError("Renyi's limits at 0 and infinity are not functions of a sum")
        return KL().summand(p, q) if a == 1 else p**a * q ** (1 - a)

    def outer(self, s: Array) -> Array:
        return s if float(self.alpha) == 1 else jnp.log(s) / (float(self.alpha) - 1)

    def evaluate(self, rows: "Rows") -> Array:
        alpha = jnp.asarray(self.alpha, rows.dtype)
        if not self.ends:
            return rows.renyi(alpha)
        zero, infinite = alpha == 0, alpha == _INF
        value = rows.renyi(jnp.where(zero | infinite, 2, alpha))
        value = jnp.where(zero, _of_order_0(rows), value)
        return jnp.where(infinite, rows.max_log_ratio(), value)

    def claims(self) -> Claims:
        a = float(self.alpha)
        if a in (0, _INF):
            # The limits are values, without local claims.
            return Claims(None, True, None, None, None, False, "no", _INF, None, smooth=False)
        return Claims(
            a <= 1, True, a <= 1, False, a >= 1, a == 0.5, "no", _INF, a, products="additive"
        )


@declare
class Tsallis(Transform):
    """Tsallis' relative entropy of order alpha > 0; KL at 1."""

    alpha: Scalar
    formula: ClassVar[str] = "(sum p^alpha q^(1-alpha) - 1) / (alpha - 1)"

    def check(self) -> None:
        check_scalar("alpha", self.alpha, "0 < alpha < inf", lambda a: 0 < a < _INF)

    def valid(self) -> Array | bool:
        return (jnp.asarray(self.alpha) > 0) & jnp.isfinite(jnp.asarray(self.alpha))

    def between(self, pair: "FamilyPair") -> Array:
        return self.alpha * Alpha(self.alpha).between(pair)

    def inner(self, p: Array, q: Array) -> Array:
        a = float(self.alpha)
        return KL().summand(p, q) if a == 1 else p**a * q ** (1 - a)

    def outer(self, s: Array) -> Array:
        return s if float(self.alpha) == 1 else (s - 1) / (float(self.alpha) - 1)

    def evaluate(self, rows: "Rows") -> Array:
        alpha = jnp.asarray(self.alpha, rows.dtype)
        mass_p, mass_q = rows.masses()
        mass = alpha * mass_p + (1 - alpha) * mass_q
        divergence = rows.sum(Alpha(alpha))
        scale = alpha / jnp.where(mass == 0, 1, mass)
        # An infinite sum is infinite in the entries that make it so, not through the mass.
        infinite = jnp.isinf(divergence)
        finite = jnp.where(infinite, 0, divergence) * scale
        return jnp.where(infinite, divergence * jax.lax.stop_gradient(scale), finite)

    def claims(self) -> Claims:
        a = float(self.alpha)
        bound = 1 / (1 - a) if a < 1 else _INF
        return Claims(
            True, True, True, False, a >= 1, a == 0.5, "root" if a == 0.5 else "no", bound, a,
            products="additive" if a == 1 else a - 1,
        )  # fmt: skip


@declare
class Bhattacharyya(Transform):
    """Bhattacharyya distance, half of Renyi's divergence of order 1/2."""

    formula: ClassVar[str] = "-log sum sqrt(p q)"
    logarithmic: ClassVar[bool] = True

    def between(self, pair: "FamilyPair") -> Array:
        return pair.jensen(jnp.asarray(0.5, pair.dtype)) / 4

    def inner(self, p: Array, q: Array) -> Array:
        return jnp.sqrt(p * q)

    def outer(self, s: Array) -> Array:
        return -jnp.log(s)

    def evaluate(self, rows: "Rows") -> Array:
        return 0.5 * rows.renyi(jnp.asarray(0.5, rows.dtype))

    def claims(self) -> Claims:
        return Claims(
            True, True, True, False, False, True, "no", _INF, 0.25, products="additive"
        )  # fmt: skip


@declare
class HellingerDistance(Transform):
    """Hellinger distance; its derivative at p = q is taken to be 0."""

    formula: ClassVar[str] = "sqrt(sum (sqrt p - sqrt q)^2 / 2)"

    def between(self, pair: "FamilyPair") -> Array:
        return num.safe_sqrt(SquaredHellinger().between(pair))

    def inner(self, p: Array, q: Array) -> Array:
        return SquaredHellinger().summand(p, q)

    def outer(self, s: Array) -> Array:
        return jnp.sqrt(s)

    def evaluate(self, rows: "Rows") -> Array:
        return num.safe_sqrt(rows.sum(SquaredHellinger()))

    def claims(self) -> Claims:
        return Claims(False, False, False, False, False, True, "yes", 1.0, None, smooth=False)


@declare
class JensenShannonDistance(Transform):
    """The square root of the Jensen-Shannon divergence, a metric; derivative 0 at p = q."""

    formula: ClassVar[str] = "sqrt(JS(p, q))"
    logarithmic: ClassVar[bool] = True

    def in_base(self, value: Array, log_base: Array | float) -> Array:
        """The root of the Jensen-Shannon divergence in that base."""
        if log_base <= 0:
            raise ValueError(
                f"base must be above 1 for a distance, but is {math.exp(log_base):g}, in which "
                "the divergence is negative and has no root"
            )
        return value / math.sqrt(log_base)

    def inner(self, p: Array, q: Array) -> Array:
        return JensenShannon().summand(p, q)

    def outer(self, s: Array) -> Array:
        return jnp.sqrt(s)

    def evaluate(self, rows: "Rows") -> Array:
        return num.safe_sqrt(rows.sum(JensenShannon().specialise()))

    def claims(self) -> Claims:
        return Claims(
            False, False, False, False, False, True, "yes", math.sqrt(math.log(2)), None,
            smooth=False,
        )  # fmt: skip


def _chord(rows: "Rows") -> Array:
    """H^2 / (m_p + m_q), H^2 the squared Hellinger distance: at most 1/2."""
    mass_p, mass_q = rows.masses()
    total = mass_p + mass_q
    share = rows.sum(SquaredHellinger()) / jnp.where(total == 0, 1, total)
    # sum (sqrt p - sqrt q)^2 / 2 <= (m_p + m_q) / 2, which rounding may exceed.
    return jnp.minimum(share, 0.5)


@declare
class FisherRao(Transform):
    """Geodesic distance of the Fisher metric, 2 arccos sum sqrt(p q); derivative 0 at p = q."""

    formula: ClassVar[str] = "4 arcsin sqrt(H^2 / (m_p + m_q)), H^2 the squared Hellinger distance"

    def between(self, pair: "FamilyPair") -> Array:
        return num.safe_sqrt(SquaredFisherRao().between(pair))

    def inner(self, p: Array, q: Array) -> Array:
        return jnp.sqrt(p * q)

    def outer(self, s: Array) -> Array:
        return 2 * jnp.arccos(s)

    def evaluate(self, rows: "Rows") -> Array:
        return 4 * jnp.arcsin(num.safe_sqrt(_chord(rows)))

    def claims(self) -> Claims:
        return Claims(
            False, False, False, False, False, True, "yes", math.pi, None,
            smooth=False, products="no",
        )  # fmt: skip


@declare
class SquaredFisherRao(Transform):
    """The square of the Fisher-Rao distance, smooth at p = q and jointly convex."""

    formula: ClassVar[str] = "(2 arccos sum sqrt(p q))^2"

    def between(self, pair: "FamilyPair") -> Array:
        rows = pair.rows()
        return pair.squared_fisher_rao() if rows is None else self.evaluate(rows)

    def inner(self, p: Array, q: Array) -> Array:
        return jnp.sqrt(p * q)

    def outer(self, s: Array) -> Array:
        return 4 * jnp.square(jnp.arccos(s))

    def evaluate(self, rows: "Rows") -> Array:
        return 16 * num.squared_arcsin_sqrt(_chord(rows))

    def claims(self) -> Claims:
        return Claims(
            True, True, True, False, False, True, "root", math.pi**2, 2.0, products="no"
        )  # fmt: skip


def _highest(rows: "Rows", alpha: Array) -> Array:
    """-log(S/m) at the alpha where it is highest: its derivative by alpha, 0, is left out."""

    def of(sides: tuple["Side", "Side"], alpha: Array) -> Array:
        return (1 - alpha[..., 0]) * rows.with_sides(*sides).renyi(alpha)

    function = jax.custom_jvp(of)

    def rule(primals, tangents):
        sides, alpha = primals
        value = function(sides, alpha)
        still = [all_zero(dot) for dot in tangents[0]]
        if all(still):
            return value, jnp.zeros_like(value)
        dots = [
            materialised(dot) for dot, rests in zip(tangents[0], still, strict=True) if not rests
        ]

        def of_moving(*moving: "Side") -> Array:
            given = iter(moving)
            full = [
                side if rests else next(given) for side, rests in zip(sides, still, strict=True)
            ]
            return of((full[0], full[1]), alpha)

        moving = [side for side, rests in zip(sides, still, strict=True) if not rests]
        return value, jax.jvp(of_moving, moving, dots)[1]

    function.defjvp(rule, symbolic_zeros=True)
    return function(rows.sides(), alpha)


@declare
class Chernoff(Divergence):
    """Chernoff information: the best exponent of the error in testing p against q."""

    formula: ClassVar[str] = "max over 0 <= alpha <= 1 of -log sum p^alpha q^(1-alpha)"
    logarithmic: ClassVar[bool] = True

    def between(self, pair: "FamilyPair") -> Array:
        rows = pair.rows()
        if rows is not None:
            return self.evaluate(rows)
        from .families.geodesic import chernoff

        return chernoff(pair)

    def evaluate(self, rows: "Rows") -> Array:
        return _highest(rows, rows.best_alpha()[..., None])

    def claims(self) -> Claims:
        # A maximum of jointly convex functions: -log of a jointly concave affinity.
        return Claims(True, True, True, None, None, True, None, _INF, 0.25)
