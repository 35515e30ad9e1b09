"""Exact and rigorous arithmetic in Python, independent of XLA: the checker behind the proofs.

`evaluate` runs any jax.numpy function over numbers of four kinds: `Bounds` enclose, `Expansion`
says how a function behaves near 0 and infinity, fractions are exact, and `symmetric` and `same`
compare formulas.
"""

from .bounds import Bounds as Bounds
from .expansion import Expansion as Expansion
from .expression import same as same
from .expression import same_scalar as same_scalar
from .expression import symmetric as symmetric
from .interpreter import evaluate as evaluate
from .interpreter import program as program
from .rules import NotExact as NotExact
