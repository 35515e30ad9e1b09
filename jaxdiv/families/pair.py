"""Two members of families side by side, and what a divergence may ask of them."""

import jax
import jax.numpy as jnp
from jax import Array

from .._divergence import concrete
from ..rows.evaluate import Rows
from ._counting import Counts
from .base import Direction, ExponentialFamily, Family, View, choose, inside


class Pair:
    """p and q, of one batch shape and dtype."""

    def __init__(self, p: Family, q: Family):
        if type(p) is not type(q):  # a member that also is one of another family
            p, q = p.like(q), q.like(p)
        self.p, self.q = p, q

    def swap(self) -> "Pair":
        """The pair with the arguments exchanged."""
        return Pair(self.q, self.p)

    @property
    def dtype(self) -> jnp.dtype:
        """float32 or float64."""
        return jax.tree.leaves(self.p)[0].dtype

    @property
    def names(self) -> str:
        """As an error message calls them."""
        a, b = type(self.p).__name__, type(self.q).__name__
        return f"two {a} distributions" if a == b else f"{a} and {b}"

    def _views(self) -> tuple[View, View] | None:
        a, b = self.p.view(), self.q.view()
        if a is None or b is None or a.map != b.map or type(a.core) is not type(b.core):
            return None
        return a, b

    def _same_map(self, a: View, b: View) -> Array | bool:
        same: Array | bool = True
        batch = len(_shape(a.core))
        for key in a.fixed:
            equal = a.fixed[key] == b.fixed[key]
            same = same & jnp.all(equal, axis=tuple(range(batch, equal.ndim)))
        return same

    def rows(self) -> Rows | None:
        """Both as rows of the probabilities of finitely many outcomes, where that is what they are.

        The probability of a failure is 1 - p, rounded: KL and the integrals of p^alpha q^(1-alpha)
        are not computed from these.
        """
        p, q = self.p.rows(), self.q.rows()
        if p is None or q is None or p.values.shape[-1] != q.values.shape[-1]:
            return None
        return Rows(p, q)

    def own(self, method: str) -> bool:
        """Whether the family of both has a form of its own."""
        kind = type(self.p)
        return type(self.q) is kind and getattr(kind, method) is not getattr(Family, method)

    def kl(self, *, strict: bool = False) -> Array:
        """KL(p || q).

        NaN where, for what parameters hold, there is no closed form; an error if `strict`.
        """
        if self.own("kl"):
            return self.p.kl(self.q)
        views = self._views()
        if views is None:
            return self._kl_across(strict)
        p, q = views[0].core, views[1].core
        value = p.bend(q, p.toward(q), 1.0)
        same = self._same_map(*views)
        return value if same is True else jnp.where(same, value, self._beyond())

    def within(self) -> Array | bool | None:
        """Whether p has all its mass where q has some; None if not even that is known."""
        on_p, on_q = self.p.support(), self.q.support()
        return None if on_p is None or on_q is None else on_p.within(on_q)

    def _beyond(self) -> Array | float:
        """+inf where p has mass that q has not, else NaN: no closed form."""
        within = self.within()
        return jnp.nan if within is None else jnp.where(within, jnp.nan, jnp.inf)

    def _kl_across(self, strict: bool) -> Array:
        """KL of members of different families, by the expectations that p has."""
        p, q, within = self.p, self.q, self.within()
        if within is None:
            raise NotImplementedError(f"KL between {self.names} has no closed form here")
        if within is False:
            value = jnp.full(_shape(p), jnp.inf, self.dtype)
            nothing = p.nothing() if isinstance(q, Counts) else False
            return value if nothing is False else jnp.where(nothing, -q.log_mass(0), value)
        try:
            value = q.kl_from(p)
        except NotImplementedError as error:
            if within is not True and not strict:
                return jnp.where(within, jnp.nan, jnp.inf).astype(self.dtype)
            kinds = f"{type(p).__name__} || {type(q).__name__}"
            raise NotImplementedError(
                f"KL({kinds}) has no closed form here: it needs {error}; the mean of "
                "log p(x) - log q(x) over draws x from p estimates it"
            ) from None
        value = jnp.where(value < 0, 0, value)
        return value if within is True else jnp.where(within, value, jnp.inf)

    def cross_entropy(self) -> Array:
        """E_p[-log q(x)] = H(p) + KL(p || q)."""
        try:
            return self.p.entropy() + self.kl()
        except NotImplementedError as error:
            raise NotImplementedError(
                f"the cross-entropy of {self.names} has no closed form here: it needs {error}"
            ) from None

    def jensen(self, alpha: Array) -> Array:
        """[alpha A(theta) + (1-alpha) A(eta) - A(m)] / (alpha (1-alpha)), at least 0.

        Smooth in alpha: KL(p || q) at 1, KL(q || p) at 0; +inf where m has no log-partition. With
        c this number the integral of p^alpha q^(1-alpha) is exp(-alpha (1-alpha) c).
        """
        if self.own("jensen"):
            value = self.p.jensen(self.q, alpha)
            same = True
            for name in self.p.shared:
                same = same & (getattr(self.p, name) == getattr(self.q, name))
            return value if same is True else jnp.where(same, value, jnp.nan)
        views = self._views()
        if views is None:
            raise NotImplementedError(
                f"the integral of p^alpha q^(1-alpha) of {self.names} has no closed form "
                "here; the mean of (p(x)/q(x))^alpha over draws x from q estimates it"
            )
        p, q = views[0].core, views[1].core
        if type(p).jensen is not Family.jensen:
            gap = p.jensen(q, alpha)
        else:
            nearer, apart = p.nearer(q, alpha)
            gap = jensen_gap(p, nearer, p.toward(nearer), alpha) + apart
            gap = jnp.where(gap < 0, 0, gap)  # both parts rounded
        same = self._same_map(*views)
        return gap if same is True else jnp.where(same, gap, jnp.nan)

    def geometric_js(self, weight: Array) -> Array:
        """weight KL(p || g) + (1 - weight) KL(q || g), g the normalised p^weight q^(1-weight)."""
        if self.own("jensen"):
            # With phi(w) = w (1 - w) jensen(w), KL(p || g) = (1 - w) KL(p || q) - phi(w), and
            # w KL(q || p) - phi(w) the other one. Near p = q the bracket is half of its terms.
            both = self.kl() + self.swap().kl()
            some = jnp.isfinite(both)
            gap = both - jnp.where(some, self.jensen(jnp.broadcast_to(weight, both.shape)), 0)
            return weight * (1 - weight) * jnp.where(gap < 0, 0, gap)
        views = self._views()
        if views is None:
            raise NotImplementedError(
                f"the geometric mixture of {self.names} has no closed form here"
            )
        p, q = views[0].core, views[1].core
        direction = p.toward(q)
        weight = jnp.broadcast_to(weight, _shape(p))
        g = p.at(q, direction, 1 - weight, weight)
        from_p = jnp.square(1 - weight) * p.bend(g, direction, 1 - weight)
        from_q = jnp.square(weight) * q.bend(g, direction, -weight)
        value = weight * from_p + (1 - weight) * from_q
        same = self._same_map(*views)
        return value if same is True else jnp.where(same, value, jnp.nan)

    def squared_fisher_rao(self) -> Array:
        """The squared geodesic distance of the Fisher metric."""
        if self.own("squared_fisher_rao"):
            return self.p.squared_fisher_rao(self.q)
        views = self._views()
        if views is not None and not views[0].fixed:
            cores = Pair(views[0].core, views[1].core)
            if cores.own("squared_fisher_rao"):
                return cores.p.squared_fisher_rao(cores.q)
        raise NotImplementedError(
            f"the Fisher-Rao distance of {self.names} has no closed form here: geodesics of their "
            "Fisher metric are not known; near p = q it is the root of jeffreys_divergence"
        )

    def check_kl(self) -> None:
        """Raise where KL of concrete parameters has no closed form."""
        within = self.within()
        if within is None or isinstance(within, bool) or not concrete(within):
            if self._views() is not None:
                self.check()
        elif bool(jnp.any(within)):  # else it is infinite
            if self._views() is not None:
                self.check()
            else:
                jax.eval_shape(lambda: self._kl_across(True))

    def check(self, names: tuple[str, str] = ("p", "q")) -> None:
        """Raise where the parameters of the maps differ and there is no closed form."""
        views = self._views()
        if self.own("jensen"):
            fixed = {key: (getattr(self.p, key), getattr(self.q, key)) for key in self.p.shared}
        elif views is None:
            return
        else:
            fixed = {key: (value, views[1].fixed[key]) for key, value in views[0].fixed.items()}
        for key, (value, other) in fixed.items():
            if concrete(value) and concrete(other) and bool(jnp.any(value != other)):
                what = "only KL has a closed form" if self.own("kl") else "there is no closed form"
                raise NotImplementedError(
                    f"between {self.names} {what} where {names[0]}.{key} and {names[1]}.{key} "
                    "differ"
                )


def _shape(member: Family) -> tuple[int, ...]:
    return member.valid().shape


def jensen_gap(
    p: ExponentialFamily, q: ExponentialFamily, direction: Direction, alpha: Array
) -> Array:
    """What `Pair.jensen` is, of members of an exponential family and the direction between them.

    A Jensen gap is a mean of bends from m to either side. For alpha > 1, where the mean has a
    negative weight, p is the one between m and q, and the gap is, but for its sign and a
    factor, that of p; for alpha < 0 likewise of q.
    """
    batch = jnp.broadcast_shapes(alpha.shape, _shape(p))
    one, zero = jnp.ones(batch, alpha.dtype), jnp.zeros(batch, alpha.dtype)
    alpha = jnp.broadcast_to(alpha, batch)
    m = p.at(q, direction, 1 - alpha, alpha)
    fine = inside(m)
    m = choose(fine, m, p)
    above, below = alpha > 1, alpha < 0
    base = choose(above, p, choose(below, q, m))
    first, second = choose(above | below, m, p), choose(below, p, q)
    t_first = jnp.where(above, 1 - alpha, jnp.where(below, -alpha, alpha - 1))
    t_second = jnp.where(above, one, jnp.where(below, -one, alpha))
    # With the weights of either case the bends add up to the gap over alpha (1 - alpha).
    w_first = jnp.where(above, 1 - 1 / jnp.where(above, alpha, 1), 1 - alpha)
    w_first = jnp.where(below, alpha / jnp.where(below, alpha - 1, 1), w_first)
    w_second = jnp.where(above, 1 / jnp.where(above, alpha, 1), alpha)
    w_second = jnp.where(below, 1 / jnp.where(below, 1 - alpha, 1), w_second)

    def weighted(weight: Array, bend: Array) -> Array:
        lost = ~fine | ((weight == 0) & ~jnp.isfinite(bend))
        return jnp.where(lost, 0, bend) * weight + zero

    gap = weighted(w_first, base.bend(first, direction, t_first))
    gap = gap + weighted(w_second, base.bend(second, direction, t_second))
    return jnp.where(fine, gap, jnp.inf)
