"""Verification: what is stated of a divergence is proved, refuted, or honestly only sampled.

Nothing that evaluates a divergence reads this package.

    subject     what is verified          points      where
    local       at p = q, by autodiff     values      signs and zeros, as computed
    properties  claims as inequalities    search      counterexamples to them
    proofs      lemmas                    premises    facts with the numbers that show them
    interval    sound boxes, on XLA       arithmetic  the checker, in Python
    verdict, report                       engine      all of it, for one divergence
    regions     convexity near p = q      asserts     for the tests of other projects
"""

from .asserts import assert_convex as assert_convex
from .asserts import assert_divergence as assert_divergence
from .asserts import assert_stationary_at as assert_stationary_at
from .engine import verify as verify
from .points import Points as Points
from .points import from_array as from_array
from .points import random_points as random_points
from .report import Report as Report
from .subject import Subject as Subject
from .subject import subject_of as subject_of
from .verdict import Certificate as Certificate
from .verdict import Finding as Finding
from .verdict import Observation as Observation
from .verdict import Sample as Sample
from .verdict import Verdict as Verdict
from .verdict import Witness as Witness
