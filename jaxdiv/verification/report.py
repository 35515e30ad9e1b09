"""What verification found of one divergence."""

import dataclasses
import html
import json
from typing import Any

from .premises import shown
from .verdict import Certificate, Finding, Sample


@dataclasses.dataclass(frozen=True)
class Report:
    """Every finding of one divergence, with where and of what it was computed."""

    name: str
    title: str
    device: str
    dtype: str
    outcomes: int
    source: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every finding agrees with what is stated, and something was looked at."""
        looked = any(finding.evidence is not None for finding in self.findings)
        return looked and not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What contradicts what is stated."""
        return tuple(finding for finding in self.findings if not finding.ok)

    def finding(self, claim: str, chart: str | None = None) -> Finding:
        """The finding of that claim, in that chart if there are several."""
        for found in self.findings:
            if found.claim == claim and chart in (None, found.chart):
                return found
        known = ", ".join(dict.fromkeys(repr(f.claim) for f in self.findings))
        raise KeyError(f"{self.name} has no finding {claim!r}; there are {known}")

    def settled(self) -> "Report":
        """The same with every premise checked and without its functions: it can be pickled."""

        def settle(finding: Finding) -> Finding:
            evidence = finding.evidence
            if not isinstance(evidence, Certificate):
                return finding
            premises = tuple(map(shown, evidence.premises))
            return dataclasses.replace(
                finding, evidence=dataclasses.replace(evidence, premises=premises)
            )

        return dataclasses.replace(self, findings=tuple(map(settle, self.findings)))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        findings = [finding.to_dict() for finding in self.findings]
        return fields | {"ok": self.ok, "findings": findings}

    def to_json(self) -> str:
        """The report as a JSON object, certificates and witnesses with all their numbers."""
        return json.dumps(self.to_dict(), indent=2)

    def __repr__(self) -> str:
        lines = [f"{self.name}: {'ok' if self.ok else 'FAILED'} ({self.dtype}, {self.device})"]
        for f in self.findings:
            where = f" [{f.chart}]" if f.chart else ""
            mark = "" if f.ok else "  CONTRADICTS what is stated"
            lines.append(f"  {f.word:8} {f.claim}{where}: {summary(f)}{mark}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>".format(
                "" if f.ok else ' style="font-weight: bold"',
                *map(html.escape, (f.claim, f.chart, f.word, summary(f))),
            )
            for f in self.findings
        )
        head = html.escape(f"{self.name}: {'ok' if self.ok else 'FAILED'}")
        where = html.escape(f"{self.dtype}, {self.device}, {self.outcomes} outcomes, {self.source}")
        return f"<p><b>{head}</b> ({where})</p><table>{rows}</table>"


def summary(finding: Finding) -> str:
    """A line about the evidence; why there is none."""
    evidence = finding.evidence
    if evidence is None:
        return finding.note
    if isinstance(evidence, Sample):
        more = f", {finding.note}" if finding.note else ""
        return f"worst {evidence.worst:.1e} {evidence.bound} of {evidence.points}{more}"
    return evidence.describe()
