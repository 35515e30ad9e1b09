"""A report as a folder: report.md to read, NAME.json with every number, and pictures."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._files import InputError
from . import pictures
from .local import wide
from .points import Points
from .report import Report
from .subject import Subject
from .verdict import Certificate, Finding, Observation, Sample, Verdict, Witness

_NAME = "report.md"
_WRITTEN = "<!-- jaxdiv verify --report wrote: "  # then names; the same may be written again
_PICTURES = ("bowl", "spectrum", "gradient", "jensen", "witnesses")


def write_report(
    reports: Sequence[Report], subjects: Sequence[Subject | str], directory: Path, points: Points
) -> list[Path]:
    """Write the reports, with the numbers behind them and pictures, to a folder.

    Args:
        reports: What `verify` returned.
        subjects: What each is of, from `subject_of`; a name such as "entropy" has no pictures.
        directory: Made if it doesn't exist. Files there that no report wrote are left alone.
        points: Where the claims were sampled; pictures are computed in their dtype.

    Returns:
        What was written, report.md first.

    Raises:
        InputError: matplotlib is missing; the folder can't be written to; a file of the report's
            name is somebody else's.
        ValueError: a report without a subject, or the other way round.
    """
    if len(reports) != len(subjects):
        raise ValueError(
            f"every report needs its subject, but there are {len(reports)} reports and "
            f"{len(subjects)} subjects"
        )
    stems = _stems([report.name for report in reports])
    former = prepare([report.name for report in reports], directory)
    files: dict[str, bytes] = {}
    sections = []
    for report, subject, stem in zip(reports, subjects, stems, strict=True):
        files[f"{stem}.json"] = (report.to_json() + "\n").encode()
        drawn = []
        for name, caption, content in _pictures(report, subject, wide(points.probs).dtype):
            files[f"{stem}-{name}.png"] = content
            drawn.append((f"{stem}-{name}.png", caption))
        sections.append(_section(report, stem, drawn))
    names = sorted({_NAME, *files} | {n for n in former if os.path.lexists(directory / n)})
    last = f"{_WRITTEN}{' '.join(names)} -->\n"
    text = "\n".join([*_head(reports, stems, points), *sections, last])
    written = []
    # The page is first: it says which files are the report's, should writing be cut short.
    for name, content in ({_NAME: text.encode()} | files).items():
        path = directory / name
        try:
            path.write_bytes(content)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from None
        written.append(path)
    return written


def prepare(names: Sequence[str], directory: Path) -> frozenset[str]:
    """Make the folder for reports of these names; return the files there that a former one wrote.

    Raises:
        InputError: as `write_report` does, before anything is computed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("a report needs matplotlib: pip install 'jaxdiv[plot]'") from None
    page = directory / _NAME
    try:
        directory.mkdir(parents=True, exist_ok=True)
        text = page.read_text("utf-8", "replace") if page.is_file() else ""
    except OSError as error:
        raise InputError(f"{directory}: {error.strerror or error}") from None
    last = text.rstrip().rpartition("\n")[2]
    former = frozenset(last.removeprefix(_WRITTEN).split()) if last.startswith(_WRITTEN) else set()
    for name in _possible(names):
        if name not in former and os.path.lexists(directory / name):
            raise InputError(
                f"{directory / name} is not of a former report and would be overwritten; "
                "choose another folder"
            )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"{directory}: Permission denied")
    return frozenset(former)


def _possible(names: Sequence[str]) -> Iterator[str]:
    yield _NAME
    for stem in _stems(names):
        yield f"{stem}.json"
        yield from (f"{stem}-{picture}.png" for picture in _PICTURES)


def _stems(names: Sequence[str]) -> list[str]:
    """Names of files: a function may be called anything, and two the same."""
    stems: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[:80] or "function"
        taken = {stem.lower() for stem in stems}
        candidates = (plain, *(f"{plain}_{k}" for k in range(2, len(names) + 2)))
        stems.append(next(c for c in candidates if c.lower() not in taken))
    return stems


def _pictures(
    report: Report, subject: Subject | str, dtype: Any
) -> Iterator[tuple[str, str, bytes]]:
    """Names, captions and contents of the pictures that there are."""
    if isinstance(subject, str):
        return
    for name, caption, figure in _figures(report, subject, dtype):
        file = io.BytesIO()
        pictures.save(figure, file)
        yield name, caption, file.getvalue()


def _figures(report: Report, subject: Subject, dtype: Any) -> Iterator[tuple[str, str, Any]]:
    unit = pictures.unit(subject)
    figure = pictures.bowl(*pictures.over_simplex(subject, dtype), unit)
    if figure is not None:
        at = ", ".join(f"{x:g}" for x in pictures.P)
        yield "bowl", f"D(p || q) and D(q || p) over all q of three outcomes, p = ({at}).", figure
    if subject.claims.smooth and subject.traceable:
        yield from _local_figures(subject, dtype, unit)
    paths = [pictures.jensen_path(subject, finding, dtype) for finding in report.findings]
    paths = [path for path in paths if path is not None]
    if paths:
        caption = (
            "D along mixtures of two distributions, and along exponential paths, which are "
            "straight in logits, against the chord: a convex D stays below."
        )
        if any(path.witness for path in paths):
            caption += (
                " Where a claim is refuted, the path is that of the counterexample, halfway along "
                "which D lies above the mean of its ends."
            )
        if any(path.title.endswith("violated") for path in paths):
            caption += (
                " Where it is violated, but nothing confirmed that, it is the worst of 400 paths."
            )
        yield "jensen", caption, pictures.jensen(paths, unit)
    refuted = [(finding, pair) for finding in report.findings if (pair := _sides(finding))]
    if refuted:
        at = "; ".join(f"{finding.claim}: {_at(finding.evidence)}" for finding, _ in refuted)
        caption = f"Both sides of each counterexample; the first should not be the larger. {at}."
        yield "witnesses", caption, pictures.sides([pair for _, pair in refuted], unit)


def _local_figures(subject: Subject, dtype: Any, unit: str) -> Iterator[tuple[str, str, Any]]:
    c = subject.claims.coefficient
    try:
        found = pictures.slopes(subject, dtype)
        spectra = None if c is None else pictures.spectra(subject, dtype)
    except Exception:  # derivative rules of others fail in their own ways, as findings say
        if subject.divergence is not None:
            raise
        return
    if c is not None and spectra is not None:
        times = "" if c == 1 else f"{c:g} times "
        yield (
            "spectrum",
            "Eigenvalues of the Hessian at p = q, on the tangent of the simplex of 8 outcomes, "
            "for three random p. With p sorted from the largest down, the i-th lies between "
            f"{times}1/p_i and {times}1/p_(i+1), and the first is at least "
            f"{times}max(2, 1/max p).",
            pictures.spectrum(spectra, c, unit),
        )
    # Zeros and NaN have no place on logarithmic axes.
    if all(np.mean(norm > 0) > 0.5 for _, norm, _ in found.values()):
        yield (
            "gradient",
            f"The gradient by q on the tangent, computed in {np.dtype(dtype).name}, along four "
            "random directions from a random p of 8 outcomes. That of a smooth divergence "
            "vanishes in proportion to the distance, as the dashed line does.",
            pictures.gradient(found, unit),
        )


def _sides(finding: Finding) -> pictures.Sides | None:
    """Both sides of what refutes a claim, convexity aside, which has pictures of its own."""
    evidence = finding.evidence
    if not isinstance(evidence, Witness) or finding.claim.startswith("convex"):
        return None
    left, greater, right = evidence.statement.partition(" > ")
    if finding.claim == "data processing":
        names = ("D after the channel", "D before")
    elif finding.claim == "a product rule":
        names = ("k of p, q, r, s", "k of u, v, w, x")
    elif " < 0" in evidence.statement:
        names = ("0", evidence.statement.partition(" < ")[0])
    else:
        left, right = (side.replace("sqrt ", "√") for side in (left, right))
        names = (left, right) if greater else ("difference", "0")
    title = f"{finding.claim}: refuted"
    if finding.claim == "a product rule":
        title += ", 1 + k D multiplies for no single k"
    return pictures.Sides(title, names, (_middle(evidence.left), _middle(evidence.right)))


def _middle(side: tuple[float, float]) -> float:
    return side[0] / 2 + side[1] / 2


def _head(reports: Sequence[Report], stems: Sequence[str], points: Points) -> Iterator[str]:
    findings = [finding for report in reports for finding in report.findings]
    counts = {v: sum(f.verdict is v for f in findings) for v in Verdict}
    failed = [
        f"[{_escaped(r.name)}](#{s})" for r, s in zip(reports, stems, strict=True) if not r.ok
    ]
    yield "# What `jaxdiv verify` found\n"
    yield (
        f"**What is stated is contradicted, or nothing was looked at, for: {', '.join(failed)}.**\n"
        if failed
        else "All that is stated stands.\n"
    )
    where = " and ".join(dict.fromkeys(f"{r.dtype} on {r.device}" for r in reports))
    yield f"- Computed in {_escaped(where)}." if where else "- Nothing was verified."
    zeros = f"; {points.boundary} have zeros, checked on their support" if points.boundary else ""
    yield (
        f"- Points: {points.count} distributions over {points.outcomes} outcomes "
        f"({_escaped(points.source)}){zeros}."
    )
    yield (
        f"- **proved** ({counts[Verdict.PROVED]}): a lemma applies, and a checker that computes "
        "nothing through XLA checked its premises again."
    )
    yield (
        f"- **refuted** ({counts[Verdict.REFUTED]}): there is a counterexample, both sides of it "
        "enclosed by interval arithmetic, or an observed number that should not be."
    )
    yield (
        f"- **sampled** ({counts[Verdict.SAMPLED]}): so many points were tried, which proves "
        "nothing; the worst of them is shown beside what rounding allows.\n"
    )
    yield "| divergence | | proved | refuted | sampled | |"
    yield "|---|---|--:|--:|--:|---|"
    for report, stem in zip(reports, stems, strict=True):
        own = (sum(f.verdict is v for f in report.findings) for v in Verdict)
        yield _row(
            f"[{_escaped(report.name)}](#{stem})",
            _escaped(report.title),
            *map(str, own),
            "ok" if report.ok else "**FAILED**",
        )
    yield ""


def _section(report: Report, stem: str, drawn: Sequence[tuple[str, str]]) -> str:
    proofs: dict[str, list[Finding]] = {}  # by what they say: many claims share one
    witnesses: list[Finding] = []
    lines = [f'<a id="{stem}"></a>', "", f"## {_escaped(report.name)}", "", _escaped(report.title)]
    lines += ["", f"All numbers: [{stem}.json]({stem}.json)", ""]
    lines += ["| property | chart | stated | verdict | evidence |", "|---|---|---|---|---|"]
    for finding in report.findings:
        evidence = _escaped(_sentence(finding, report.source))
        if isinstance(finding.evidence, Certificate):
            proofs.setdefault(finding.evidence.describe(), []).append(finding)
            number = list(proofs).index(finding.evidence.describe()) + 1
            evidence += f" ([proof {number}](#{stem}-proof-{number}))"
        elif isinstance(finding.evidence, Witness):
            witnesses.append(finding)
            evidence += f" ([witness {len(witnesses)}](#{stem}-witness-{len(witnesses)}))"
        if not finding.ok:
            evidence = f"**Contradicts what is stated.** {evidence}"
        stated = {True: "holds", False: "fails", None: ""}[finding.stated]
        verdict = finding.word if finding.ok else f"**{finding.word}**"
        chart = finding.chart
        lines.append(_row(_escaped(finding.claim), chart, stated, verdict, evidence))
    for file, caption in drawn:
        lines += ["", f"![{_escaped(caption.partition('. ')[0])}]({file})", "", _escaped(caption)]
    if proofs:
        lines += ["", f"### Proofs of {_escaped(report.name)}", ""]
    for number, findings in enumerate(proofs.values(), 1):
        lines += _proof(findings, f"{stem}-proof-{number}", number)
    if witnesses:
        lines += ["", f"### Witnesses against {_escaped(report.name)}", ""]
        lines += [
            "Points are rounded; the rows, natural logarithms of weights, are exact in the JSON "
            "file, and the sides are enclosed there.",
            "",
        ]
    for number, finding in enumerate(witnesses, 1):
        lines += _witness(finding, f"{stem}-witness-{number}", number)
    return "\n".join([*lines, ""])


def _sentence(finding: Finding, source: str) -> str:
    """The evidence in short; proofs and witnesses are spelled out below the table."""
    evidence = finding.evidence
    if isinstance(evidence, Certificate):
        return f"{evidence.lemma} ({evidence.source})"
    if isinstance(evidence, Witness):
        return f"{_middle(evidence.left):.6g} > {_middle(evidence.right):.6g}"
    if isinstance(evidence, Sample):
        law = "" if evidence.law == source else f" ({evidence.law})"
        note = f"; {finding.note}" if finding.note else ""
        if evidence.worst == evidence.allowed == 0:
            return f"exactly 0 at all {evidence.points} points{law}{note}"
        kind, bound = ("least", "required") if evidence.at_least else ("worst", "allowed")
        wrong = "" if evidence.check() else ": a violation, but not confirmed"
        return (
            f"{kind} {evidence.worst:.1e} of {evidence.points} points{law}, {evidence.allowed:.1e} "
            f"{bound} for rounding{wrong}{note}"
        )
    if isinstance(evidence, Observation):
        return evidence.describe()
    return finding.note


def _proof(findings: Sequence[Finding], anchor: str, number: int) -> Iterator[str]:
    certificate = findings[0].evidence
    assert isinstance(certificate, Certificate)
    claims = "; ".join(_named(finding) for finding in findings)
    yield f'<a id="{anchor}"></a>**Proof {number}** of: {_escaped(claims)}.'
    yield ""
    yield f"- Lemma: {_escaped(certificate.lemma)}."
    yield f"- Source: {_escaped(certificate.source)}."
    stand = "checked again" if certificate.check() else "**the check failed**"
    yield f"- Premises, {stand}:"
    yield from (f"    - {_escaped(premise.describe())}" for premise in certificate.premises)
    yield ""


def _witness(finding: Finding, anchor: str, number: int) -> Iterator[str]:
    witness = finding.evidence
    assert isinstance(witness, Witness)
    yield f'<a id="{anchor}"></a>**Witness {number}** against: {_escaped(_named(finding))}.'
    yield ""
    yield f"- {_escaped(witness.statement)}"
    yield f"- left side: {_enclosure(witness.left)}"
    yield f"- right side: {_enclosure(witness.right)}"
    yield from (f"- {name} = {_point(name, row)}" for name, row in witness.rows.items())
    yield ""


def _named(finding: Finding) -> str:
    return f"{finding.claim}, in {finding.chart}" if finding.chart else finding.claim


def _enclosure(side: tuple[float, float]) -> str:
    return f"{side[0]:g}" if side[0] == side[1] else f"between {side[0]!r} and {side[1]!r}"


def _at(witness: Any) -> str:
    return ", ".join(f"{name} = {_point(name, row)}" for name, row in witness.rows.items())


def _point(name: str, row: Sequence[float]) -> str:
    """A row of logarithms as probabilities; a channel has a distribution in each of its rows."""
    x = np.asarray(row)
    if name == "channel":
        size = round(len(x) ** 0.5)
        return "; ".join(_numbers(r) for r in pictures.softmax(x.reshape(size, size)))
    return _numbers(x if name == "direction" else pictures.softmax(x))


def _numbers(row: np.ndarray) -> str:
    return f"({', '.join(f'{x:.3g}' for x in row)})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """On one line, without meaning to markdown or HTML; underscores inside words have none."""
    text = re.sub(r"&(?=[#\w])", "&amp;", " ".join(text.split()))
    text = re.sub(r"<(?![=\s])", "&lt;", text)
    return re.sub(r"([\\`*\[\]|$~]|(?<!\w)_|_(?!\w))", r"\\\1", text)
