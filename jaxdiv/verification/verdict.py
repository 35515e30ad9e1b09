"""What verification says of a property: proved, refuted, or only sampled.

PROVED comes with a certificate, whose premises a small checker re-checks from the stored numbers;
REFUTED with a witness, whose two sides are enclosed by interval arithmetic and do not meet; SAMPLED
says how many points were tried, from what law, and how close the worst came.
"""

import dataclasses
import enum
import math
from typing import Any

from .premises import Premise


class Verdict(enum.StrEnum):
    """The three verdicts."""

    PROVED = "proved"
    REFUTED = "refuted"
    SAMPLED = "sampled"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A lemma and the premises that make it apply."""

    lemma: str
    source: str
    premises: tuple[Premise, ...]

    def check(self) -> bool:
        """Whether every premise passes the checker, which computes nothing through XLA."""
        return bool(self.premises) and all(premise.checked for premise in self.premises)

    def describe(self) -> str:
        """In a sentence or two."""
        return "; ".join(p.describe() for p in self.premises) + f". {self.lemma} ({self.source})"


@dataclasses.dataclass(frozen=True)
class Witness:
    """Points at which the left side is certainly larger than the right.

    `rows` are natural logarithms of weights: a distribution is exactly softmax(row); only a
    "direction" is one. Both sides are enclosures, computed with outward rounding.
    """

    statement: str
    rows: dict[str, tuple[float, ...]]
    left: tuple[float, float]
    right: tuple[float, float]

    def check(self) -> bool:
        """Whether the sides are apart."""
        return self.left[0] > self.right[1]

    @property
    def margin(self) -> float:
        """By how much, at least."""
        return self.left[0] - self.right[1]

    def describe(self) -> str:
        """In a sentence."""
        shown = ", ".join(
            f"{name} = ({', '.join(f'{x:.3g}' for x in row)})" for name, row in self.points.items()
        )
        left, right = (f"{sum(side) / 2:.6g}" for side in (self.left, self.right))
        return f"{self.statement}: {left} > {right} at {shown}"

    @property
    def points(self) -> dict[str, tuple[float, ...]]:
        """The rows as probabilities, rounded; a direction as it is."""

        def probabilities(row: tuple[float, ...]) -> tuple[float, ...]:
            weights = [math.exp(x - max(row)) for x in row]
            return tuple(w / sum(weights) for w in weights)

        def shown(name: str, row: tuple[float, ...]) -> tuple[float, ...]:
            if name == "direction":
                return row
            if name == "channel":  # a square matrix, a distribution a row
                n = math.isqrt(len(row))
                rows = (probabilities(row[i * n : (i + 1) * n]) for i in range(n))
                return tuple(x for own in rows for x in own)
            return probabilities(row)

        return {name: shown(name, row) for name, row in self.rows.items()}


@dataclasses.dataclass(frozen=True)
class Sample:
    """The worst of many points; it is a violation if it exceeds what rounding allows."""

    points: int
    law: str
    worst: float
    allowed: float
    at_least: bool = False

    def check(self) -> bool:
        """Whether no violation was found; NaN is one."""
        return self.worst >= self.allowed if self.at_least else self.worst <= self.allowed

    def describe(self) -> str:
        """In a sentence."""
        return f"{self.points} points ({self.law}), worst {self.worst:.1e} {self.bound}"

    @property
    def bound(self) -> str:
        """The tolerance with its direction."""
        return f"{'>=' if self.at_least else '<='} {self.allowed:.1e}"


@dataclasses.dataclass(frozen=True)
class Observation:
    """What a function returned at a point, seen twice, that it should not have.

    The fact is about floating-point numbers, and is one whatever the mathematics.
    """

    statement: str
    inputs: dict[str, tuple[float, ...]]
    output: float
    allowed: float

    def check(self) -> bool:
        """Whether the output is outside what is allowed; NaN is."""
        return not abs(self.output) <= self.allowed

    def describe(self) -> str:
        """In a sentence."""
        shown = ", ".join(
            f"{name} = ({', '.join(f'{x:.9g}' for x in row[:8])}{', ...' if len(row) > 8 else ''})"
            for name, row in self.inputs.items()
        )
        return f"{self.statement}: {self.output:.3g} at {shown}"


Evidence = Certificate | Witness | Observation | Sample


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found about one property.

    `stated` is what is claimed: True, False or None, nothing. Without evidence the property does
    not apply, and `note` says why.
    """

    claim: str
    chart: str = ""
    stated: bool | None = True
    evidence: Evidence | None = None
    note: str = ""

    @property
    def verdict(self) -> Verdict | None:
        """What the evidence amounts to; None without any."""
        kinds = {
            Certificate: Verdict.PROVED,
            Witness: Verdict.REFUTED,
            Observation: Verdict.REFUTED,
            Sample: Verdict.SAMPLED,
        }
        return kinds[type(self.evidence)] if self.evidence is not None else None

    @property
    def holds(self) -> bool | None:
        """Whether the property holds, as far as is known; None if it does not apply."""
        if self.evidence is None:
            return None
        return self.verdict is not Verdict.REFUTED and self.evidence.check()

    @property
    def ok(self) -> bool:
        """Whether the evidence stands and agrees with what is stated.

        What is stated not to hold needs a witness: to have found none is not enough.
        """
        if self.evidence is None:
            return True
        if self.verdict is not Verdict.SAMPLED and not self.evidence.check():
            return False
        if self.stated is False:
            return self.verdict is Verdict.REFUTED
        return self.stated is None or bool(self.holds)

    @property
    def word(self) -> str:
        """A word for a table."""
        return self.verdict.value if self.verdict else "-"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists; figures that are not finite become strings."""
        evidence = None
        if isinstance(self.evidence, Certificate):
            evidence = {
                "lemma": self.evidence.lemma,
                "source": self.evidence.source,
                "premises": [premise.to_dict() for premise in self.evidence.premises],
            }
        elif self.evidence is not None:
            evidence = dataclasses.asdict(self.evidence)
            if isinstance(self.evidence, Witness):
                evidence["points"] = self.evidence.points
        return {
            "claim": self.claim,
            "chart": self.chart,
            "stated": self.stated,
            "verdict": self.verdict.value if self.verdict else None,
            "holds": self.holds,
            "ok": self.ok,
            "note": self.note,
            "evidence": plain(evidence),
        }


def plain(x: Any) -> Any:
    """The same in JSON's types: tuples as lists, numbers that are not finite as strings."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x
