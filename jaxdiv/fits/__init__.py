"""Fits: the member of a family that a divergence to a target is least at."""

from ._fit import FitResult as FitResult
from ._fit import fit as fit
from ._targets import Grid as Grid
from ._targets import Samples as Samples
