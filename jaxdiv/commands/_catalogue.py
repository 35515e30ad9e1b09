"""Names on the command line."""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._files import InputError

if TYPE_CHECKING:
    from .._catalogue import Entry


def find(name: str, others: Iterable[str] = ()) -> "Entry":
    """The catalogue's entry of that name; `others` are names that would have been taken, too."""
    from .._catalogue import CATALOGUE

    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, [*CATALOGUE, *others], n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "`jaxdiv list` names them all"
    raise InputError(f"there is no divergence {name!r}; {hint}")


def find_family(name: str) -> str:
    """The name of a family, if it is one."""
    from ..families.catalogue import FAMILIES

    if name in FAMILIES:
        return name
    near = difflib.get_close_matches(name, FAMILIES, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "`jaxdiv families` names them all"
    raise InputError(f"there is no family {name!r}; {hint}")


def facts(entry: "Entry") -> dict[str, Any]:
    """What the catalogue states, as plain data."""
    import dataclasses
    import math

    claims = dataclasses.asdict(entry.claims)
    if claims["upper_bound"] == math.inf:
        claims["upper_bound"] = "inf"
    plain = {k: v for k, v in entry.parameters.items() if isinstance(v, int | float)}
    return {
        "name": entry.name,
        "verb": entry.verb.__name__,
        "parameters": plain,
        "title": entry.title,
        "formula": entry.divergence.formula,
        "base": entry.divergence.logarithmic,
        "claims": claims,
        "source": entry.citation,
    }
