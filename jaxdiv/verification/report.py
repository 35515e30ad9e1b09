"""What verification found."""

import dataclasses
import json
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Check:
    """One property at a batch of points: it holds if the worst figure is at most the tolerance.

    With `at_least` it holds if the worst figure, the smallest, is at least that.
    `applies` is False for a property that is not claimed, or cannot be; `note` says why.
    """

    claim: str
    chart: str
    points: int
    worst: float
    tolerance: float
    note: str = ""
    applies: bool = True
    at_least: bool = False

    @property
    def ok(self) -> bool:
        """Whether the property held everywhere; NaN is a failure."""
        if not self.applies:
            return True
        return self.worst >= self.tolerance if self.at_least else self.worst <= self.tolerance

    @property
    def allowed(self) -> str:
        """The tolerance with its direction."""
        return f"{'>=' if self.at_least else '<='} {self.tolerance:.1e}"

    @property
    def verdict(self) -> str:
        """A word for the table."""
        return ("ok" if self.ok else "FAILED") if self.applies else "-"


@dataclasses.dataclass(frozen=True)
class Report:
    """Every check of one divergence."""

    name: str
    title: str
    device: str
    dtype: str
    outcomes: int
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check that applies held, and at least one applies."""
        return all(c.ok for c in self.checks) and any(c.applies for c in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists; figures that are not finite become strings."""

        def plain(x: float) -> float | str:
            return x if math.isfinite(x) else str(x)

        checks = [
            dataclasses.asdict(c)
            | {"worst": plain(c.worst), "tolerance": plain(c.tolerance), "ok": c.ok}
            for c in self.checks
        ]
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return fields | {"ok": self.ok, "checks": checks}

    def to_json(self) -> str:
        """The report as a JSON object."""
        return json.dumps(self.to_dict(), indent=2)

    def __repr__(self) -> str:
        lines = [f"{self.name}: {'ok' if self.ok else 'FAILED'} ({self.dtype}, {self.device})"]
        for c in self.checks:
            figure = f"{c.worst:.1e} {c.allowed}" if c.applies else c.note
            lines.append(f"  {c.verdict:6} {c.claim} [{c.chart}] {figure}")
        return "\n".join(lines)
