"""Whether an argument is a member of a family, told without loading the families."""

import sys
from typing import Any

# Packages whose distributions are taken, by the names that their modules begin with.
PACKAGES = ("numpyro", "distrax", "tensorflow_probability")


def maybe_member(x: Any) -> bool:
    """Whether x is a member of a family, or a distribution of another package."""
    base = sys.modules.get("jaxdiv.families.base")
    if base is not None and isinstance(x, base.Family):
        return True
    return type(x).__module__.partition(".")[0] in PACKAGES
