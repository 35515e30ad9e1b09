"""Distributions of directions: von Mises, von Mises-Fisher and power spherical ones."""

import math
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import _numerics as num
from .._divergence import concrete
from . import _radial
from ._counts import NON_NEGATIVE
from ._dirichlet import Beta, Dirichlet, direction_of
from ._stirling import log_less_digamma
from .base import (
    POSITIVE,
    REAL,
    ExponentialFamily,
    Family,
    Number,
    Real,
    View,
    family,
    parameter,
)
from .bends import mixed
from .expectations import Support

_UNIT = 0.01  # how far from 1 the length of a mean direction may be, which is divided by it

# Vectors have their axis first: batches of angles are long, and their vectors have two entries.


def _dot(x: Array, y: Array) -> Array:
    products = x * y
    if x.shape[0] <= 64:
        return jnp.sum(products, axis=0)
    return num.row_sum(jnp.moveaxis(products, 0, -1))


def _scaled(x: Array, of_zero: Real = 1.0) -> tuple[Array, Array]:
    """A number w and x / w, no entry of which is above 1 in size; `of_zero` is w where x = 0."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=0))
    unit = jnp.where(largest > 0, largest, of_zero)
    return unit, x / unit[None]


def _nothing(dtype: Any) -> float:
    """A square that stands for 0, of which a root's second derivative is finite."""
    return float(jnp.finfo(dtype).tiny) ** 0.67


def _root(square: Array) -> Array:
    """A square root; of 0 a tiny number, of which an even function has its derivatives."""
    return jnp.sqrt(square + jnp.where(square > 0, 0, _nothing(square.dtype)))


def _length(x: Array, of_zero: Real = 1.0) -> Array:
    unit, x = _scaled(x, of_zero)
    return unit * _root(_dot(x, x))


def _small(k: Array, other: Array) -> Array:
    """A unit in which `_nothing` is far below eps of what two members are away from 0."""
    total, eps = lax.stop_gradient(k + other), float(jnp.finfo(k.dtype).eps)
    return jnp.where(total > 0, total * (eps / 128 / math.sqrt(_nothing(k.dtype))), 1)


class _Direction(NamedTuple):
    p: Any
    q: Any
    step: Array  # the difference of natural parameters
    versine: Array  # 1 - cos of the angle between them
    sine: Array  # its square


def _bend(self: Any, point: Any, d: _Direction, t: Real) -> Array:
    """The bend of A from a member on a line to another one on it, t from it.

    The line's own members know their angle to it: nothing is lost to the rounding of vectors.
    """
    mean, r, n = self.mean_vector(), self.concentration, d.step.shape[0]
    of_p, of_q = d.p.concentration, d.q.concentration
    is_p, is_q = self.same(d.p), self.same(d.q)
    away, home = of_q - of_p, is_p | is_q
    along = jnp.where(is_q, away + of_p * d.versine, _dot(mean, d.step))
    along = jnp.where(is_p, away - of_q * d.versine, along)
    # The line's distance from 0 is that of each of its points times the sine of their angle to it.
    # Where p and q are more than a right angle apart a point may be nearer to 0 than is known.
    wide = (d.versine > 1) & ~home
    unit, off = _scaled(d.step - along[None] * mean)
    other = jnp.where(is_p, of_q, jnp.where(is_q, of_p, of_p / jnp.where(r > 0, r, 1) * of_q))
    across, square = jnp.where(wide, unit, other), jnp.where(wide, _dot(off, off), d.sine)
    # The part of the other member along this one, and its length.
    cosine = point.concentration * _dot(mean, point.mean_vector())
    cosine = jnp.where(is_q, ((1 + t) * of_q - t * of_p) + t * (of_p * d.versine), cosine)
    cosine = jnp.where(is_p, ((1 - t) * of_p + t * of_q) - t * (of_q * d.versine), cosine)
    size, (x, y) = _scaled(jnp.stack([cosine, t * across]))
    stored = point.same(d.p) | point.same(d.q)
    computed = home & ~stored
    root = _root(jnp.where(computed, x * x + y * y * square, 1))
    s = jnp.where(computed, size * root, point.concentration)
    both = jnp.where(r + s > 0, r + s, 1)
    square_over = across * (across / both) * square
    longer = 2 * along * (r / both) + t * (along * (along / both) + square_over)
    longer = jnp.where(home & stored, away, longer)
    radial, slope = _radial.radial_bend(r, s, longer, t, n)
    # s - cosine without a difference, where the angle is less than a right one.
    ahead = cosine > 0
    squared = jnp.where(ahead, 1, t * t)
    turned = across * (across / jnp.where(ahead, s + cosine, 1)) * square
    return radial + slope * jnp.where(ahead, turned, (s - cosine) / squared)


def _log_surface(n: int) -> float:
    """log of the surface of the unit sphere in n dimensions."""
    return math.log(2) + n / 2 * math.log(math.pi) - math.lgamma(n / 2)


@family
class VonMises(ExponentialFamily):
    """Von Mises distribution of angles, density proportional to e^(k cos(x - loc)).

    `loc` is in radians, k is `concentration`; with k = 0 it is uniform. With F(k) = log I_0(k) and
    R = F' = I_1 / I_0,

    KL = [F(k_q) - F(k_p) - R(k_p) (k_q - k_p)] + 2 R(k_p) k_q sin^2((loc_q - loc_p) / 2).

    Reference: Mardia and Jupp, Directional Statistics, 2000, section 3.5.
    """

    loc: Number = parameter(REAL)
    concentration: Number = parameter(NON_NEGATIVE)
    statistics: ClassVar = ("cos x", "sin x")

    def support(self) -> Support:
        return Support("angles")

    def entropy(self, unit: Real = 1.0) -> Array:
        whole = jnp.log(2 * math.pi / jnp.asarray(unit, self.concentration.dtype))
        return whole + _radial.less_slope(self.concentration, 2)

    def mean_cos(self) -> Array:
        return _radial.ratio(self.concentration, 2) * jnp.cos(self.loc)

    def mean_sin(self) -> Array:
        return _radial.ratio(self.concentration, 2) * jnp.sin(self.loc)

    def mean_vector(self) -> Array:
        return jnp.stack([jnp.cos(self.loc), jnp.sin(self.loc)])

    def natural(self) -> tuple[Array, ...]:
        return tuple(self.concentration[None] * self.mean_vector())

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        return _radial.log_mean(_length(jnp.stack(natural)), 2)

    def toward(self, other: "VonMises") -> _Direction:
        angle = other.loc - self.loc
        sine, versine = jnp.sin(angle), 2 * jnp.square(jnp.sin(angle / 2))
        along = (other.concentration - self.concentration) - other.concentration * versine
        x, y = self.mean_vector()
        across = (other.concentration * sine)[None] * jnp.stack([-y, x])
        step = along[None] * jnp.stack([x, y]) + across
        return _Direction(self, other, step, versine, jnp.square(sine))

    def at(self, other: "VonMises", direction: _Direction, t: Real, rest: Real) -> "VonMises":
        x, y = (rest * a + t * b for a, b in zip(self.natural(), other.natural(), strict=True))
        nowhere = (x == 0) & (y == 0)
        loc = jnp.where(self.concentration == 0, other.loc, self.loc)  # along the line
        loc = jnp.where(nowhere, loc, jnp.arctan2(y, jnp.where(nowhere, 1, x)))
        small = _small(self.concentration, other.concentration)
        return VonMises(loc, _length(jnp.stack([x, y]), small))

    def same(self, other: "VonMises") -> Array:
        return (self.loc == other.loc) & (self.concentration == other.concentration)

    def bend(self, point: "VonMises", direction: _Direction, t: Real) -> Array:
        return _bend(self, point, direction, t)


def _check_direction(name: str, mean_direction: Any) -> None:
    if mean_direction.ndim and mean_direction.shape[-1] < 2:
        raise ValueError(
            f"{name}.mean_direction must have 2 entries or more, but has shape "
            f"{mean_direction.shape}"
        )
    if concrete(mean_direction) and mean_direction.ndim:
        length = np.linalg.norm(np.asarray(mean_direction, np.float64), axis=-1)
        bad = ~(np.abs(length - 1) <= _UNIT)
        if np.any(bad):
            raise ValueError(
                f"{name}.mean_direction must have length 1, but has "
                f"{length[bad].reshape(-1)[0]:.6g}"
            )


def _is_direction(x: Array) -> Array:
    return jnp.abs(_length(jnp.moveaxis(x, -1, 0)) - 1) <= _UNIT


@family
class VonMisesFisher(ExponentialFamily):
    """Von Mises-Fisher distribution on the unit sphere in n dimensions.

    Its density is proportional to e^(k <m, x>) with respect to the surface of the sphere. m is
    `mean_direction`, (*batch, n), n >= 2, of length 1 (within 1 %; it is divided by its length), k
    is `concentration`; with k = 0 it is uniform. With v = n/2 - 1, F(k) = log(I_v(k) / k^v) and
    R = F' = I_(v+1) / I_v,

    KL = [F(k_q) - F(k_p) - R(k_p) (k_q - k_p)] + R(k_p) k_q (1 - <m_p, m_q>).

    Reference: Mardia and Jupp, Directional Statistics, 2000, section 9.3.
    """

    mean_direction: Number = parameter(REAL, 1)
    concentration: Number = parameter(NON_NEGATIVE)
    statistics: ClassVar = ("x",)

    def consistent(self, name: str) -> None:
        _check_direction(name, self.mean_direction)

    def valid(self) -> Array:
        return super().valid() & _is_direction(self.mean_direction)

    def support(self) -> Support:
        return Support("unit vectors")

    def _n(self) -> int:
        return self.mean_direction.shape[-1]

    def entropy(self, unit: Real = 1.0) -> Array:
        del unit  # unit vectors have none
        return _radial.less_slope(self.concentration, self._n()) + _log_surface(self._n())

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        mean = _radial.ratio(self.concentration, self._n())[None] * self.mean_vector()
        return (jnp.moveaxis(mean, 0, -1) - origin) / unit

    def mean_outer(self) -> Array:
        # R/k (I - m m^T) + (1 - (n - 1) R/k) m m^T, as the trace is 1
        k, n = self.concentration, self._n()
        some = k > 0
        across = jnp.where(some, _radial.ratio(k, n) / jnp.where(some, k, 1), 1 / n)
        across = across[..., None, None]
        mean = jnp.moveaxis(self.mean_vector(), 0, -1)
        along = mean[..., :, None] * mean[..., None, :]
        return across * jnp.eye(n, dtype=k.dtype) + (1 - n * across) * along

    def kl_from(self, p: Any) -> Array:
        if not isinstance(p, PowerSpherical):
            return super().kl_from(p)
        k, n = self.concentration, self._n()
        versine, _ = _angle(p.mean_direction, self.mean_direction)
        less = p.less_cosine()
        cross = _radial.less_tail(k, n) + k * (less + (1 - less) * versine)
        return cross - p.less_than_uniform()

    def mean_vector(self) -> Array:
        x = jnp.moveaxis(self.mean_direction, -1, 0)
        return x / _length(x)[None]

    def natural(self) -> tuple[Array, ...]:
        return (jnp.moveaxis(self.concentration[None] * self.mean_vector(), 0, -1),)

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        x = natural[0]
        return _radial.log_mean(_length(jnp.moveaxis(x, -1, 0)), x.shape[-1])

    def toward(self, other: "VonMisesFisher") -> _Direction:
        versine, sine = _angle(self.mean_direction, other.mean_direction)
        along = (other.concentration - self.concentration) - other.concentration * versine
        step = along[None] * self.mean_vector() + other.concentration[None] * sine
        return _Direction(self, other, step, versine, _dot(sine, sine))

    def at(
        self, other: "VonMisesFisher", direction: _Direction, t: Real, rest: Real
    ) -> "VonMisesFisher":
        of_p = (rest * self.concentration)[None] * self.mean_vector()
        x = of_p + (t * other.concentration)[None] * other.mean_vector()
        length = _length(x, _small(self.concentration, other.concentration))
        nowhere = jnp.all(x == 0, axis=0)[None]
        uniform = (self.concentration == 0)[None]
        along = jnp.where(uniform, other.mean_vector(), self.mean_vector())  # the line
        mean = jnp.where(nowhere, along, x / length[None])
        return VonMisesFisher(jnp.moveaxis(mean, 0, -1), length)

    def same(self, other: "VonMisesFisher") -> Array:
        same = jnp.all(self.mean_direction == other.mean_direction, axis=-1)
        return same & (self.concentration == other.concentration)

    def bend(self, point: "VonMisesFisher", direction: _Direction, t: Real) -> Array:
        return _bend(self, point, direction, t)


def _angle(mean_p: Array, mean_q: Array) -> tuple[Array, Array]:
    """1 - cos of the angle between two directions, and the part of q's across p, axis first."""
    p, q = jnp.moveaxis(mean_p, -1, 0), jnp.moveaxis(mean_q, -1, 0)
    away = q - p
    sine = (away - p * (_dot(away, p) / _dot(p, p))[None]) / _length(q)[None]
    cosine = _dot(p / _length(p)[None], q / _length(q)[None])
    near = cosine > 0
    versine = jnp.where(near, _dot(sine, sine) / jnp.where(near, 1 + cosine, 1), 1 - cosine)
    return versine, sine


@family
class _Tilted(ExponentialFamily):
    """The law of t in (0, 1) with density proportional to t^(k + h - 1) (1 - t)^(h - 1)."""

    concentration: Number = parameter(REAL)  # k > -h
    half: Number = parameter(POSITIVE)
    statistics: ClassVar = ("log t",)

    def valid(self) -> Array:
        return super().valid() & (self.concentration + self.half > 0)

    def _both(self) -> Dirichlet:
        return Dirichlet(jnp.stack([self.concentration + self.half, self.half], axis=-1))

    def natural(self) -> tuple[Array, ...]:
        return self.concentration, self.half

    @staticmethod
    def log_partition(*natural: Array) -> Array:
        k, h = natural
        return Dirichlet.log_partition(jnp.stack([k + h, h], axis=-1) - 1)

    def toward(self, other: "_Tilted") -> Array:
        return other.concentration - self.concentration

    def at(self, other: "_Tilted", direction: Array, t: Real, rest: Real) -> "_Tilted":
        concentration = mixed(rest, self.concentration, t, other.concentration)
        return _Tilted(concentration, self.half)

    def bend(self, point: "_Tilted", direction: Array, t: Real) -> Array:
        p, q, cross = self._both(), point._both(), self.half * direction
        steps = jnp.stack([direction, jnp.zeros_like(direction)])
        return p.bend(q, direction_of(steps, direction, jnp.stack([-cross, cross])), t)


@family
class PowerSpherical(Family):
    """Power spherical distribution on the unit sphere in n dimensions.

    Its density is proportional to (1 + <m, x>)^k with respect to the surface of the sphere. m is
    `mean_direction`, (*batch, n), n >= 2, of length 1 (within 1 %; it is divided by its length),
    k >= 0 is `concentration`. (1 + <m, x>)/2 has a beta distribution with concentrations
    (n - 1)/2 + k and (n - 1)/2, whose divergences are those of members with equal directions;
    between other ones there is no closed form. KL to `VonMisesFisher` has one for any directions.

    Reference: De Cao and Aziz, The Power Spherical distribution, 2020.
    """

    mean_direction: Number = parameter(REAL, 1)
    concentration: Number = parameter(NON_NEGATIVE)

    def consistent(self, name: str) -> None:
        _check_direction(name, self.mean_direction)

    def valid(self) -> Array:
        return super().valid() & _is_direction(self.mean_direction)

    def support(self) -> Support:
        return Support("unit vectors")

    def _half(self) -> Array:
        return jnp.full_like(self.concentration, (self.mean_direction.shape[-1] - 1) / 2)

    def _beta(self) -> Beta:
        half = self._half()
        return Beta(self.concentration + half, half)

    def less_cosine(self) -> Array:
        """1 - E<m, x>."""
        half = self._half()
        return 2 * half / (self.concentration + 2 * half)

    def mean(self, origin: Real = 0.0, unit: Real = 1.0) -> Array:
        x = jnp.moveaxis(self.mean_direction, -1, 0)
        long = self.concentration / (self.concentration + 2 * self._half())
        return (jnp.moveaxis(x * (long / _length(x))[None], 0, -1) - origin) / unit

    def less_than_uniform(self) -> Array:
        """The entropy, less the uniform distribution's; at most 0."""
        # That of t = (1 + <m, x>)/2, of the direction across m, and the surface's density in t.
        n, beta = self.mean_direction.shape[-1], self._beta()
        a, b = beta.concentration1, beta.concentration0
        total = a + b
        # E log 4 t (1 - t)
        near = self.concentration < b
        square = jnp.square(jnp.where(near, self.concentration / total, 0))
        logs = jnp.where(near, num.log1p(-square), jnp.log(4 * (a / total) * (b / total)))
        logs = logs + 2 * log_less_digamma(total) - log_less_digamma(a) - log_less_digamma(b)
        around = math.log(2) + _log_surface(n - 1) - _log_surface(n)
        return beta.entropy() + around + (n - 3) / 2 * logs

    def entropy(self, unit: Real = 1.0) -> Array:
        del unit  # unit vectors have none
        return self.less_than_uniform() + _log_surface(self.mean_direction.shape[-1])

    def kl_from(self, p: Any) -> Array:
        return p.missing("the expectation of log(1 + <m, x>)")

    def view(self) -> View:
        fixed = {"mean_direction": self.mean_direction}
        return View(_Tilted(self.concentration, self._half()), "<m, x>", fixed)
