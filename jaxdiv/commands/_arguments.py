"""Types of command-line arguments; what is wrong is said with what is accepted."""

import argparse
import math
from collections.abc import Callable


def number(accepted: str, inside: Callable[[float], bool]) -> Callable[[str], float]:
    """A float, or e, for which `inside` holds."""

    def parse(text: str) -> float:
        try:
            value = math.e if text == "e" else float(text)
        except ValueError:
            value = math.nan
        if not inside(value):
            raise argparse.ArgumentTypeError(f"must be {accepted}, but is {text!r}")
        return value

    return parse


def positive(text: str) -> int:
    """An integer from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, but is {text!r}")
    return value
