"""A way to find a statistic of two rows of logits, as functions of one outcome and of a row."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array

from .normalised import Normalised

SIDES = ("p", "q")


class Form(NamedTuple):
    """What is summed over a row, and what is made of the sum.

    Derivatives by log-masses are `slopes` times a factor of the row.
    """

    # Of parameters and both sides: one number an outcome.
    terms: Callable[[Any, Normalised, Normalised], Array]
    # Of these, the sum and the least value that is right: the value, whether it is right, and a
    # number for derivatives.
    found: Callable[..., tuple[Array, Array, Array]]
    # Of parameters and both sides: one number an outcome, for each side.
    slopes: Callable[[Any, Normalised, Normalised], tuple[Array, Array]]
    # Of parameters and the number.
    factor: Callable[[Any, Array], Array]
    # Of both sides: the error common to all log-ratios is the sum.
    excess: Callable[[Normalised, Normalised], Array]
