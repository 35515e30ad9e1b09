"""Where falling functions cross 0, all at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._tangents import materialised


class _State(NamedTuple):
    """The root is between a, where f was evaluated last, and b; c is the point before."""

    step: Array
    a: Array
    b: Array
    c: Array
    of_a: Array
    of_b: Array
    of_c: Array
    at: Array  # where f is evaluated next; the root in the end
    done: Array


def falling_root(f: Callable[[Array], Array], low: Array, high: Array, *, steps: int) -> Array:
    """Where f, which falls and acts elementwise, is 0; an end where it is not between the ends.

    Inverse quadratic interpolation where three points are fit for it, else bisection
    (Chandrupatla, Advances in Engineering Software 28, 1997): about ten evaluations. To within an
    epsilon, of numbers up to 1. Where f is NaN, or 0 at the lower end, as where it is 0 throughout,
    it is the middle.

    Args:
        f: Of arrays of the shape of `low`. It is traced once.
        low: The lower ends, between 0 and 1.
        high: The upper ends.
        steps: The most evaluations.
    """
    middle = low + (high - low) / 2
    tolerance = float(jnp.finfo(middle.dtype).eps) / 2

    def advance(s: _State) -> _State:
        y = f(s.at)
        # The first two evaluations are of the ends.
        first, second = s.step == 0, s.step == 1
        same = (jnp.sign(y) == jnp.sign(s.of_a)) & ~second
        c, of_c = jnp.where(same, s.a, s.b), jnp.where(same, s.of_a, s.of_b)
        b, of_b = jnp.where(same, s.b, s.a), jnp.where(same, s.of_b, s.of_a)
        a, of_a = s.at, y
        width = jnp.abs(b - a)
        least = tolerance / jnp.where(width > 0, width, 1)
        # Quotients of differences of f, none of which is 0 where they are used.
        ab, cb, ca = of_a - of_b, of_c - of_b, of_c - of_a
        x = (a - b) / jnp.where(c == b, 1, c - b)
        y_share = ab / jnp.where(cb == 0, 1, cb)
        fit = (y_share**2 < x) & ((1 - y_share) ** 2 < 1 - x)
        fit &= (ab != 0) & (cb != 0) & (ca != 0) & (a != b)

        def over(numerator: Array, denominator: Array) -> Array:
            return numerator / jnp.where(fit, denominator, 1)

        t = over(of_a, -ab) * over(of_c, -cb) + over(c - a, b - a) * over(of_a, ca) * over(of_b, cb)
        t = jnp.clip(jnp.where(fit & jnp.isfinite(t), t, 0.5), least, 1 - least)
        following = jnp.where(first, high, a + t * (b - a))
        lost = jnp.isnan(y) | (first & (y == 0))
        end = (first & (y < 0)) | (second & ~(y < 0)) | (y == 0)
        close = ~first & (least > 0.5)
        following = jnp.where(end, s.at, jnp.where(close, a + 0.5 * (b - a), following))
        following = jnp.where(lost, middle, following)
        state = (a, b, c, of_a, of_b, of_c, following, end | close | lost)
        # What is done stays as it is.
        kept = [jnp.where(s.done, old, new) for old, new in zip(s[1:], state, strict=True)]
        return _State(s.step + 1, *kept)

    zero = jnp.zeros_like(middle)
    start = _State(
        jnp.zeros((), jnp.int32), low, low, low, zero, zero, zero, low, jnp.isnan(middle)
    )
    found = lax.while_loop(lambda s: (s.step < steps) & ~jnp.all(s.done), advance, start)
    return found.at


def following(
    f: Callable[[Any, Array], Array], given: Any, root: Array, inside: Callable[[Array], Array]
) -> Array:
    """The root of a falling function f(given, x) with its derivative by `given`.

    By the implicit function theorem: minus f's derivative by `given` over that by x. 0 where the
    root is not `inside`, and by numbers that are not finite.
    """

    @jax.custom_jvp
    def kept(given: Any, root: Array) -> Array:
        return root

    def rule(primals, tangents):
        given, root = primals
        follows = inside(root)
        root = kept(given, root)  # which moves with what is given, for derivatives of higher order
        x = jnp.where(follows, root, 0.5)
        _, fall = jax.jvp(lambda x: f(given, x), (x,), (jnp.ones_like(x),))
        dots = jax.tree.map(_of_finite, given, materialised(tangents[0]))
        _, up = jax.jvp(lambda given: f(given, x), (given,), (dots,))
        follows &= fall < 0
        return root, jnp.where(follows, -up, 0) / jnp.where(follows, fall, 1)

    kept.defjvp(rule, symbolic_zeros=True)
    return kept(given, root)


def _of_finite(x: Array, dot: Any) -> Any:
    """A tangent where the number is finite, else 0."""
    return dot if dot.dtype == jax.dtypes.float0 else jnp.where(jnp.isfinite(x), dot, 0)
