"""Interval arithmetic over JAX functions: what it returns holds for every real number in a box.

`enclose` reads the jaxpr of any function, of its gradient or of its second derivative, and
evaluates it on boxes with every rounding directed outward. `at_least` bisects a range until a
lower bound is proved, refuted, or the boxes run out; `convex` asks that of the second derivative.

A primitive stands for its exact real function: exp is the exponential, not XLA's approximation of
it. Floats written in the function are taken as they are stored. Whatever has no rule raises
NotImplementedError: nothing is ever guessed.
"""

from ._cover import Cover as Cover
from ._cover import at_least as at_least
from ._cover import convex as convex
from ._interpret import enclose as enclose
from ._interpret import inlined as inlined
from ._interpret import smooth as smooth
from ._rounding import Interval as Interval
