"""Which closed forms there are, found by asking for them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .base import Family
from .catalogue import FAMILIES
from .pair import Pair


class Row(NamedTuple):
    """What a family has: "yes", a condition, or "" for no closed form."""

    entropy: str
    kl: str
    to: tuple[str, ...]  # families to which KL has a closed form
    not_to: tuple[str, ...]  # those to which it may be finite, and has none
    integrals: str  # of p^alpha q^(1-alpha), and what follows from them
    fisher_rao: str


@functools.cache
def _member(name: str) -> Family:
    entry = FAMILIES[name]
    member = entry.members(entry.numbers(jax.random.key(0), 1, jnp.float32))
    return member.checked(name).full((1,), jnp.float32)


def _has(value: Callable[[], Any]) -> bool:
    try:
        jax.eval_shape(value)
    except NotImplementedError:
        return False
    return True


def kl_between(name_p: str, name_q: str) -> bool | None:
    """Whether KL from one family to another has a closed form; None where it is always +inf."""
    p, q = _member(name_p), _member(name_q)
    pair = Pair(p, q)
    if p.event_shape() != q.event_shape() or pair.within() is False:
        return None
    return _has(lambda: pair.kl(strict=True))


def row(name: str) -> Row:
    """The closed forms of a family."""
    p = _member(name)
    pair, view = Pair(p, p), p.view()
    others = {q: kl_between(name, q) for q in FAMILIES if q != name}
    condition = f"for equal {', '.join(view.fixed)}" if view is not None and view.fixed else "yes"

    def told(method: str, value: Callable[[], Any]) -> str:
        if not _has(value):
            return ""
        if not pair.own(method):
            return condition
        alike = p.shared if method == "jensen" else ()
        return f"for equal {', '.join(alike)}" if alike else "yes"

    return Row(
        "yes" if _has(p.entropy) else "",
        told("kl", pair.kl),
        tuple(q for q, known in others.items() if known),
        tuple(q for q, known in others.items() if known is False),
        told("jensen", lambda: pair.jensen(jnp.full((1,), 0.5, jnp.float32))),
        told("squared_fisher_rao", pair.squared_fisher_rao),
    )
