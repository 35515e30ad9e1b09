"""f-divergences: D = sum q f(p/q), f convex with f(1) = f'(1) = 0.

On rows that do not sum to one the value is the generalised divergence of the stored numbers;
every summand is at least 0 all the same.
"""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
from jax import Array

from . import _numerics as num
from ._divergence import (
    STEEP,
    Claims,
    Homogeneous,
    Limit,
    Scalar,
    check_scalar,
    concrete,
    declare,
)
from ._pytree import static

if TYPE_CHECKING:
    from .families.pair import Pair as FamilyPair
    from .rows.pair import Pair

_INF = float("inf")


def _positive(x: Array) -> Array:
    """A divisor: the masses that underflowed are divided by 1 instead of 0."""
    return jnp.where(x > 0, x, 1)


@declare
class KL(Homogeneous):
    """Kullback-Leibler divergence: the extra nats that p costs when it is coded as if it were q."""

    formula: ClassVar[str] = "sum p log(p/q) - p + q"
    logarithmic: ClassVar[bool] = True

    def check_between(self, pair: "FamilyPair") -> None:
        if not pair.own("kl"):
            pair.check_kl()

    def between(self, pair: "FamilyPair") -> Array:
        return pair.kl()

    def summand(self, p: Array, q: Array) -> Array:
        return p * jnp.log(p / q) - p + q

    def term(self, pair: "Pair") -> Array:
        # p (exp(-l) - 1 + l): a series near p = q, where it needs no other number than l.
        near = jnp.abs(pair.log_ratio) <= 1
        series = pair.p * num.exp_remainder_near(jnp.where(near, -pair.log_ratio, 0))
        return jnp.where(near, series, self.apart(pair))

    def apart(self, pair: "Pair") -> Array:  # not None
        return pair.p * pair.log_ratio - (pair.p - pair.q)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        return pair.p * pair.log_ratio, -pair.difference

    def totals(self, value: Array) -> tuple[Array | float | None, Array | float | None]:
        return value, 0.0

    def analytic(self) -> "KL":
        return self

    def power(self) -> tuple[float, float, bool]:
        return 1.0, 1.0, False

    def limits(self) -> tuple[Limit, Limit]:
        # t f(1/t) = t - 1 - log t, whose log-derivative t - 1 tends to -1.
        return Limit(1.0, -_INF, 0.0), Limit(_INF, -_INF, -1.0)

    def claims(self) -> Claims:
        return self.stated(
            convex_in_p_logits=False, convex_in_q_logits=True, metric="no", products="additive"
        )


def _logs_over_mixture(weight: Scalar, pair: "Pair") -> tuple[Array, Array]:
    """log(p/m) and log(q/m), m = weight p + (1 - weight) q, to an ulp or two of 1.

    From that of the larger; of the smaller it is |log(p/q)| less.
    """
    above = pair.p >= pair.q
    large, small = jnp.where(above, pair.p, pair.q), jnp.where(above, pair.q, pair.p)
    share = jnp.where(above, weight, 1 - jnp.asarray(weight))
    log = -jnp.log(share + (1 - share) * (small / _positive(large)))
    ratio = pair.log_ratio
    return log + jnp.minimum(ratio, 0), log - jnp.maximum(ratio, 0)


@declare
class SkewKL(Homogeneous):
    """KL from p to the mixture m = skew p + (1 - skew) q: bounded by -log(skew)."""

    skew: Scalar
    formula: ClassVar[str] = "KL(p || skew p + (1 - skew) q)"
    logarithmic: ClassVar[bool] = True

    def check(self) -> None:
        check_scalar("skew", self.skew, "0 <= skew < 1", lambda s: 0 <= s < 1)

    def valid(self) -> Array | bool:
        return (jnp.asarray(self.skew) >= 0) & (jnp.asarray(self.skew) < 1)

    def summand(self, p: Array, q: Array) -> Array:
        return KL().summand(p, q + self.skew * (p - q))

    def curvature(self) -> Scalar:
        return jnp.square(1 - jnp.asarray(self.skew))

    def _mixture(self, pair: "Pair") -> tuple[Array, Array, Array, Array]:
        """m, p - m, p log(p/m) - p + m and log(p/m)."""
        mixture = self.skew * pair.p + (1 - self.skew) * pair.q
        difference = (1 - self.skew) * pair.difference
        return mixture, difference, *num.to_mixture(pair.p, mixture, -difference)

    def term(self, pair: "Pair") -> Array:
        return self._mixture(pair)[2]

    def apart(self, pair: "Pair") -> Array | None:
        from_p, _ = _logs_over_mixture(self.skew, pair)
        return pair.p * from_p - (1 - self.skew) * (pair.p - pair.q)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        # d_p = log(p/m) - skew y and d_q = -(1 - skew) y with y = (p - m)/m. Near p = q the two
        # terms of d_p cancel as skew -> 1: log(p/m) = y - (y - log(1 + y)) keeps what is left.
        mixture, difference, _, log_ratio = self._mixture(pair)
        y = num.divide(difference, _positive(mixture))
        near = jnp.abs(y) <= 0.5
        small = jnp.where(near, y, 0)
        by_p = jnp.where(
            near,
            (1 - self.skew) * small - num.log1p_remainder(small),
            log_ratio - self.skew * y,
        )
        return pair.p * by_p, -(1 - self.skew) * pair.q * y

    def limits(self) -> tuple[Limit, Limit]:
        skew = jnp.asarray(self.skew)
        positive = skew > 0
        safe = jnp.where(positive, skew, 1)
        return Limit(1 - skew, -_INF, 0.0), Limit(
            jnp.where(positive, -jnp.log(safe) - (1 - skew), _INF),
            jnp.where(positive, (1 - skew) * (1 - 1 / safe), -_INF),
            jnp.where(positive, 0.0, -1.0),
        )

    def claims(self) -> Claims:
        zero = float(self.skew) == 0
        return self.stated(
            convex_in_p_logits=False,
            convex_in_q_logits=zero,
            metric="no",
            products="additive" if zero else "no",
        )


@declare
class JensenShannon(Homogeneous):
    """Jensen-Shannon divergence: how much of a mixture's entropy is due to the mixing."""

    weight: Scalar = 0.5
    even: bool = static(default=False, repr=False)  # whether the weight is known to be 1/2
    formula: ClassVar[str] = (
        "weight KL(p || m) + (1 - weight) KL(q || m), m = weight p + (1 - weight) q"
    )
    logarithmic: ClassVar[bool] = True

    def check(self) -> None:
        check_scalar("weight", self.weight, "0 < weight < 1", lambda w: 0 < w < 1)

    def valid(self) -> Array | bool:
        return (jnp.asarray(self.weight) > 0) & (jnp.asarray(self.weight) < 1)

    def specialise(self) -> "JensenShannon":
        """The cheaper form for a concrete weight of 1/2."""
        even = concrete(self.weight) and float(self.weight) == 0.5
        return dataclasses.replace(self, even=True) if even else self

    def summand(self, p: Array, q: Array) -> Array:
        # The entropy of the mixture less the mean entropy.
        w = self.weight
        m = w * p + (1 - w) * q
        return w * (p * jnp.log(p)) + (1 - w) * (q * jnp.log(q)) - m * jnp.log(m)

    def curvature(self) -> Scalar:
        return jnp.asarray(self.weight) * (1 - jnp.asarray(self.weight))

    def _parts(self, pair: "Pair") -> tuple[Array, Array, Array]:
        """The summand, log(p/m) and log(q/m)."""
        w, p, q = self.weight, pair.p, pair.q
        if self.even:
            return num.to_mean(p, q, pair.difference, pair.log_ratio)
        mixture = w * p + (1 - w) * q
        from_p, log_p = num.to_mixture(p, mixture, -(1 - w) * pair.difference)
        from_q, log_q = num.to_mixture(q, mixture, w * pair.difference)
        return w * from_p + (1 - w) * from_q, log_p, log_q

    def term(self, pair: "Pair") -> Array:
        return self._parts(pair)[0]

    def apart(self, pair: "Pair") -> Array | None:
        if self.even:
            _, log_p, log_q = self._parts(pair)
            return 0.5 * (pair.p * log_p + pair.q * log_q)
        from_p, from_q = _logs_over_mixture(self.weight, pair)
        return self.weight * pair.p * from_p + (1 - self.weight) * pair.q * from_q

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        _, log_p, log_q = self._parts(pair)
        return self.weight * (pair.p * log_p), (1 - self.weight) * (pair.q * log_q)

    def analytic(self) -> "JensenShannon | None":
        return JensenShannon(0.5) if self.even else None

    def limits(self) -> tuple[Limit, Limit]:
        w = jnp.asarray(self.weight)
        return Limit((1 - w) * -jnp.log1p(-w), -_INF, 0.0), Limit(-w * jnp.log(w), -_INF, 0.0)

    def claims(self) -> Claims:
        return self.stated(
            convex_in_p_logits=False,
            convex_in_q_logits=False,
            metric="root" if float(self.weight) == 0.5 else "no",
            products="no",
        )


@declare
class TotalVariation(Homogeneous):
    """Total variation: the largest difference in probability that any event can have."""

    rough: ClassVar[bool] = True
    formula: ClassVar[str] = "sum |p - q| / 2"

    def summand(self, p: Array, q: Array) -> Array:
        return jnp.abs(p - q) / 2

    def term(self, pair: "Pair") -> Array:
        return 0.5 * jnp.abs(pair.difference)

    def apart(self, pair: "Pair") -> Array | None:
        return self.term(pair)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        sign = 0.5 * jnp.sign(pair.difference)
        return sign * pair.p, -sign * pair.q

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(0.5, -0.5, 0.0), Limit(0.5, -0.5, 0.0)

    def claims(self) -> Claims:
        return self.stated(
            convex_in_p_logits=False,
            convex_in_q_logits=False,
            metric="yes",
            products="sub-additive",
            smooth=False,
        )


@declare
class SquaredHellinger(Homogeneous):
    """Squared Hellinger distance, 1 - sum sqrt(p q) for distributions."""

    formula: ClassVar[str] = "sum (sqrt p - sqrt q)^2 / 2"

    def between(self, pair: "FamilyPair") -> Array:
        return Alpha(0.5).between(pair) / 4

    def summand(self, p: Array, q: Array) -> Array:
        return jnp.square(jnp.sqrt(p) - jnp.sqrt(q)) / 2

    def curvature(self) -> Scalar:
        return 0.25

    def _roots(self, pair: "Pair") -> tuple[Array, Array, Array]:
        def root(mass: Array, log_mass: Array) -> Array:
            # The square root of a mass that underflowed need not underflow.
            normal = mass >= jnp.finfo(mass.dtype).tiny
            safe = num.safe_sqrt(jnp.where(normal, mass, 0))
            return jnp.where(normal, safe, jnp.exp(0.5 * jnp.where(normal, 0, log_mass)))

        root_p, root_q = root(pair.p, pair.log_p), root(pair.q, pair.log_q)
        return root_p, root_q, pair.difference / _positive(root_p + root_q)

    def term(self, pair: "Pair") -> Array:
        _, _, difference = self._roots(pair)
        return 0.5 * difference * difference

    def apart(self, pair: "Pair") -> Array | None:
        # A root that is 0, as of a mass that underflowed, is as good as what it might be.
        return 0.5 * jnp.square(num.safe_sqrt(pair.p) - num.safe_sqrt(pair.q))

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        root_p, root_q, difference = self._roots(pair)
        return 0.5 * root_p * difference, -0.5 * root_q * difference

    def analytic(self) -> "SquaredHellinger":
        return self

    def power(self) -> tuple[float, float, bool]:
        return 0.5, 0.25, False

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(0.5, -_INF, 0.0), Limit(0.5, -_INF, 0.0)

    def claims(self) -> Claims:
        return self.stated(
            convex_in_p_logits=False, convex_in_q_logits=False, metric="root", products=-1.0
        )


@declare
class Chi2(Homogeneous):
    """Pearson's chi-squared divergence."""

    formula: ClassVar[str] = "sum (p - q)^2 / q"

    def between(self, pair: "FamilyPair") -> Array:
        return 2 * Alpha(2.0).between(pair)

    def summand(self, p: Array, q: Array) -> Array:
        return jnp.square(p - q) / q

    def curvature(self) -> Scalar:
        return 2.0

    def _square_over_q(self, pair: "Pair") -> tuple[Array, Array]:
        """Whether q is a normal number, and (p - q)/q where it is."""
        normal = pair.q >= jnp.finfo(pair.q.dtype).tiny
        return normal, jnp.where(
            normal, num.divide(pair.difference, jnp.where(normal, pair.q, 1)), 0
        )

    def term(self, pair: "Pair") -> Array:
        normal, x = self._square_over_q(pair)
        return jnp.where(normal, pair.difference * x, pair.affinity(2) - 2 * pair.p + pair.q)

    def apart(self, pair: "Pair") -> Array | None:
        return self.term(pair)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        normal, x = self._square_over_q(pair)
        square = pair.affinity(2)  # p^2/q, only where q has underflowed
        return (
            2 * jnp.where(normal, pair.p * x, square - pair.p),
            -jnp.where(normal, (pair.p + pair.q) * x, square - pair.q),
        )

    def analytic(self) -> "Chi2":
        return self

    def power(self) -> tuple[float, float, bool]:
        return 2.0, 2.0, False

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(1.0, -2.0, 0.0), STEEP

    def claims(self) -> Claims:
        return self.stated(
            convex_in_p_logits=False, convex_in_q_logits=True, metric="no", products=1.0
        )


@declare
class LeCam(Homogeneous):
    """Le Cam's divergence, also triangular discrimination."""

    formula: ClassVar[str] = "sum (p - q)^2 / (p + q)"

    def summand(self, p: Array, q: Array) -> Array:
        return jnp.square(p - q) / (p + q)

    def term(self, pair: "Pair") -> Array:
        return pair.difference * num.divide(pair.difference, _positive(pair.p + pair.q))

    def apart(self, pair: "Pair") -> Array | None:
        return self.term(pair)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        p, q = pair.p, pair.q
        total = _positive(p + q)
        s = num.divide(pair.difference, total)
        # (p + 3 q) / (p + q) = 2 - s, and q's mirror image.
        return p * s * (2 - s), -q * s * (2 + s)

    def analytic(self) -> "LeCam":
        return self

    def limits(self) -> tuple[Limit, Limit]:
        return Limit(1.0, -3.0, 0.0), Limit(1.0, -3.0, 0.0)

    def claims(self) -> Claims:
        return self.stated(
            convex_in_p_logits=False, convex_in_q_logits=False, metric="root", products="no"
        )


def _power_slope(whole: Array, mass: Array, power: Array, ratio: Array) -> Array:
    """(whole - mass) / power where whole is mass e^(power ratio), smooth through power = 0."""
    far = jnp.abs(power * ratio) > 1
    small = jnp.where(far, 0, power * ratio)
    divisor = jnp.where(far, power, 1)
    return jnp.where(far, (whole - mass) / divisor, mass * ratio * num.expm1_over_near(small))


@declare
class Alpha(Homogeneous):
    """The alpha-divergence of Cressie and Read, f''(1) = 1 for every alpha.

    alpha = 1 is KL, 0 reverse KL, 2 half of Pearson's chi-squared, 1/2 four times the squared
    Hellinger distance.
    """

    alpha: Scalar
    formula: ClassVar[str] = "sum (p^alpha q^(1-alpha) - alpha p - (1-alpha) q) / (alpha (alpha-1))"

    def check(self) -> None:
        check_scalar("alpha", self.alpha, "a finite number", lambda a: abs(a) < _INF)

    def valid(self) -> Array | bool:
        return jnp.isfinite(jnp.asarray(self.alpha))

    def steepness(self) -> Scalar:
        return jnp.maximum(jnp.abs(jnp.asarray(self.alpha)), jnp.abs(1 - jnp.asarray(self.alpha)))

    def between(self, pair: "FamilyPair") -> Array:
        # S = exp(-alpha (1-alpha) c) with c the Jensen gap, so (S - 1) / (alpha (alpha-1)) is c
        # times (exp(x) - 1) / x, which is smooth through 0 and 1.
        gap = pair.jensen(jnp.asarray(self.alpha, pair.dtype))
        room = self.alpha * (1 - self.alpha)
        far = jnp.isinf(gap)
        bound = jnp.where(room > 0, 1 / jnp.where(room > 0, room, 1), _INF)
        near = jnp.where(far, 0, gap)
        return jnp.where(far, bound, near * num.expm1_over(-room * near))

    def summand(self, p: Array, q: Array) -> Array:
        a = float(self.alpha)
        if a in (0, 1):
            return KL().summand(p, q) if a else KL().summand(q, p)
        return (p**a * q ** (1 - a) - a * p - (1 - a) * q) / (a * (a - 1))

    def term(self, pair: "Pair") -> Array:
        # Near p = q: q l^2 exp[0, alpha l, l], a divided difference, l = log(p/q). Far from it
        # (p d_p - (p - q)) / alpha or, below 1/2, the mirror image: neither divides by zero.
        alpha, q, ratio = jnp.asarray(self.alpha), pair.q, pair.log_ratio
        reach = jnp.abs(ratio) * jnp.maximum(1, jnp.maximum(jnp.abs(alpha), jnp.abs(1 - alpha)))
        near = reach <= 1
        small = jnp.where(near, ratio, 0)
        series = q * small * small * num.exp_second_difference(alpha, small)
        above = alpha >= 0.5
        power = jnp.where(above, alpha, 1 - alpha)
        mass = jnp.where(above, pair.p, q)
        sign = jnp.where(above, 1, -1).astype(ratio.dtype)
        slope = _power_slope(pair.affinity(alpha), mass, power - 1, sign * ratio)
        return jnp.where(near, series, (slope - sign * pair.difference) / power)

    def weighted(self, pair: "Pair") -> tuple[Array, Array]:
        # d_p = (t^(alpha-1) - 1)/(alpha-1), d_q = -(t^alpha - 1)/alpha, t = p/q.
        alpha, ratio = jnp.asarray(self.alpha), pair.log_ratio
        whole = pair.affinity(alpha)
        by_p = _power_slope(whole, pair.p, alpha - 1, ratio)
        return by_p, _power_slope(whole, pair.q, -alpha, -ratio)

    def power(self) -> tuple[Scalar, float, bool]:
        return self.alpha, 1.0, False

    def limits(self) -> tuple[Limit, Limit]:
        alpha = jnp.asarray(self.alpha)

        def at_zero(alpha: Array) -> Limit:
            positive, above = alpha > 0, alpha > 1
            return Limit(
                jnp.where(positive, 1 / jnp.where(positive, alpha, 1), _INF),
                jnp.where(above, -1 / jnp.where(above, alpha - 1, 1), -_INF),
                jnp.where(positive, 0.0, jnp.where(alpha == 0, -1.0, -_INF)),
            )

        return at_zero(alpha), at_zero(1 - alpha)

    def claims(self) -> Claims:
        a = float(self.alpha)
        return self.stated(
            convex_in_p_logits=a <= 0,
            convex_in_q_logits=a >= 1,
            metric="root" if a == 0.5 else "no",
            products="additive" if a in (0, 1) else a * (a - 1),
        )
