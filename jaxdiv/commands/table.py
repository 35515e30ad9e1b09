"""`jaxdiv table`: which divergence has which property, and how that is known."""

import json
import math

MARKS = {"proved": "✓", "refuted": "✗", "sampled": "~"}
LEGEND = (
    "✓ proved, for every number of outcomes; ✗ refuted by a witness; ~ no counterexample found "
    "by a directed search; ? found by it, and not confirmed"
)


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "table",
        help="which divergence has which property, proved or refuted",
        description="The property table of the catalogue. Each cell is computed: "
        f"{LEGEND}. Exit status 1 if a cell contradicts what is stated.",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("names", metavar="NAME", nargs="*", help="divergences; all without any")
    parser.set_defaults(run=run)


COLUMNS = (
    "convex in p", "in q", "in (p, q)", "in q's logits", "in p's logits", "symmetric", "metric",
    "at most", "c", "data processing", "products",
)  # fmt: skip
_CONVEX = (
    ("convex in p", "probabilities"),
    ("convex in q", "probabilities"),
    ("convex in (p, q)", "probabilities"),
    ("convex in q", "logits"),
    ("convex in p", "logits"),
)


def row(name: str) -> tuple[list[str], bool]:
    """The cells of a divergence, and whether none contradicts what is stated."""
    from ..verification.engine import mathematics
    from ..verification.proofs import coefficient
    from ..verification.subject import subject_of

    subject = subject_of(name)
    findings = {(f.claim, f.chart): f for f in mathematics(subject, regions=False)}

    def mark(claim: str, chart: str = "") -> str:
        found = findings.get((claim, chart))
        if found is None:
            return ""
        # A search that found something which it could not confirm is no verdict.
        return MARKS[found.word] if found.holds or found.word == "refuted" else "?"

    cells = [*(mark(*key) for key in _CONVEX), mark("symmetric"), _metric(mark)]
    claims = subject.claims
    if claims.upper_bound is None:
        cells.append("")
    elif math.isfinite(claims.upper_bound):
        cells.append(f"{_number(claims.upper_bound)} {mark(f'at most {claims.upper_bound:.6g}')}")
    else:
        cells.append(f"∞ {mark('unbounded')}".strip())
    c = "" if claims.coefficient is None else f"{claims.coefficient:g}"
    if not claims.smooth:
        c = "kink"
    shown = "" if claims.coefficient is None else mark(coefficient(claims.coefficient)[0])
    cells += [f"{c} {shown}".strip(), mark("data processing")]
    cells.append(_products(claims.products, mark))
    return cells, all(f.ok for f in findings.values())


def _row_away(name: str) -> tuple[list[str], bool]:
    """The same in another process."""
    import jax

    from . import _compiled

    jax.config.update("jax_platforms", "cpu")
    _compiled.keep()
    return row(name)


def _number(x: float) -> str:
    known = {math.log(2): "ln 2", math.sqrt(math.log(2)): "√ln 2", math.pi: "π", math.pi**2: "π²"}
    near = (shown for value, shown in known.items() if math.isclose(x, value, rel_tol=1e-12))
    return next(near, f"{x:.4g}")


def _metric(mark) -> str:
    itself, root = mark("metric"), mark("its square root is a metric")
    if itself == MARKS["refuted"]:
        return itself if root == itself else f"root {root}"
    return itself


def _products(law, mark) -> str:
    if law is None:
        return ""
    if isinstance(law, str):
        claim = {"no": "a product rule", "additive": "additive on products"}.get(
            law, "sub-additive on products"
        )
        return mark(claim) if law == "no" else f"{law} {mark(claim)}"
    sign, size = "-" if law < 0 else "+", abs(law)
    shown = f"1 {sign} {'' if size == 1 else f'{size:g} '}D multiplies"
    return f"{shown} {mark(f'1 + k D multiplies, k = {law}')}"


def markdown(rows: dict[str, list[str]]) -> str:
    """The table as Markdown."""
    lines = [f"| divergence | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join(lines)


def run(arguments) -> int:
    """Compute, print, and return 0 or 1."""
    from .._catalogue import CATALOGUE
    from . import _compiled, _processes
    from ._catalogue import find

    names = [find(name).name for name in arguments.names] or list(CATALOGUE)
    _compiled.keep()
    found = _processes.shared(row, _row_away, names, together=lambda name: name)
    results = dict(zip(names, found, strict=True))
    rows = {name: cells for name, (cells, _) in results.items()}
    wrong = [name for name, (_, fine) in results.items() if not fine]
    if arguments.json:
        cells = {name: dict(zip(COLUMNS, own, strict=True)) for name, own in rows.items()}
        print(json.dumps({"rows": cells, "contradicted": wrong}, indent=2))
    elif arguments.markdown:
        print(markdown(rows))
    else:
        _print(rows)
    if wrong and not arguments.json:
        print(f"CONTRADICTED: {', '.join(wrong)}")
    return 1 if wrong else 0


def _print(rows: dict[str, list[str]]) -> None:
    """Three blocks of columns, so that none is wider than a terminal."""
    width = max(map(len, rows))
    for start, stop in ((0, 5), (5, 8), (8, 11)):
        sizes = [
            max(len(title), *(len(cells[start + i]) for cells in rows.values()))
            for i, title in enumerate(COLUMNS[start:stop])
        ]
        titles = "  ".join(f"{t:{w}}" for t, w in zip(COLUMNS[start:stop], sizes, strict=True))
        print(f"{'':{width}}  {titles}".rstrip())
        for name, cells in rows.items():
            own = "  ".join(f"{c:{w}}" for c, w in zip(cells[start:stop], sizes, strict=True))
            print(f"{name:{width}}  {own}".rstrip())
        print()
    print(LEGEND.replace("; ", "\n"))
