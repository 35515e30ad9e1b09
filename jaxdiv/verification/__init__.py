"""Verification: what is stated of a divergence is checked through the public verbs.

Nothing that evaluates a divergence reads this package. `points` makes or takes distributions,
`checks` looks at a divergence around p = q and along segments, `report` holds what was found.
"""

from .checks import verify as verify
from .points import Points as Points
from .points import from_array as from_array
from .points import random_points as random_points
from .report import Check as Check
from .report import Report as Report
