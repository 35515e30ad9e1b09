"""`jaxdiv verify`: prove, refute or sample what is stated of divergences, or of any function."""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

from .._files import InputError, check_distributions, read_rows
from ._arguments import positive

_DTYPES = ("float32", "float64", "bfloat16", "float16")


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "verify",
        help="prove, refute or sample every stated property",
        description="Prove, refute with a witness, or sample every property that is stated of a\n"
        "divergence, and look at it at p = q through the public verbs: gradient 0,\n"
        "Hessian positive definite and the claimed one, its spectrum, third order.",
        epilog="Examples:\n"
        "  jaxdiv verify                        KL\n"
        "  jaxdiv verify js renyi_half --size 20\n"
        "  jaxdiv verify --all --dtype float64  the whole catalogue\n"
        "  jaxdiv verify normal gamma           families of distributions\n"
        "  jaxdiv verify --input rows.npy       at your own distributions\n"
        "  jaxdiv verify --function optax.losses:kl_divergence\n"
        "                                       any function of (p, q)\n"
        "Exit status: 0, 1 if anything contradicts what is stated, 2 if the input was bad.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", metavar="NAME", nargs="*",
        help="divergences, entropy, or families of distributions; kl without any",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="the whole catalogue of divergences")
    parser.add_argument("--families", action="store_true", help="all families of distributions")
    parser.add_argument(
        "--function", metavar="MODULE:NAME", action="append", default=[],
        help="a function of (p, q) that returns a number a row",
    )  # fmt: skip
    parser.add_argument("--size", type=positive, help="outcomes of a distribution (8)")
    parser.add_argument("--points", type=positive, help="random distributions (1000)")
    parser.add_argument("--seed", type=int, help="of the random distributions (0)")
    parser.add_argument("--dtype", choices=_DTYPES, default="float32", help="default: float32")
    parser.add_argument("--device", help="cpu, gpu or tpu; the default is JAX's")
    parser.add_argument("--input", metavar="FILE", help="own points: .npy, .npz, .csv, a row each")
    parser.add_argument("--logits", action="store_true", help="the rows of FILE are logits")
    parser.add_argument("--json", action="store_true", help="print JSON, evidence and all")
    parser.add_argument("--report", metavar="DIR", help="also write a report with pictures there")
    parser.set_defaults(run=run)


def run(arguments) -> int:
    """Verify, print, and return 0 or 1."""
    if arguments.all and (arguments.names or arguments.function):
        raise InputError("--all means every divergence: give names or --all, not both")
    _check_families(arguments)
    if arguments.logits and not arguments.input:
        raise InputError("--logits says what --input holds, but there is no --input")
    if arguments.input and any(
        value is not None for value in (arguments.size, arguments.points, arguments.seed)
    ):
        raise InputError("--size, --points and --seed are of random points, but --input is given")
    if arguments.size == 1:
        raise InputError("--size must be at least 2: one outcome leaves nothing to differ")
    if arguments.report:
        from ..verification.markdown import prepare

        chosen = [*arguments.names, *arguments.function] or ["kl"]
        prepare([] if arguments.all else chosen, Path(arguments.report))
    rows = _own_rows(arguments)
    functions = [_function(path) for path in arguments.function]

    from . import _processes

    with _processes.started(arguments.all and arguments.device in (None, "cpu")) as other:
        return _run(arguments, rows, functions, other)


def _run(arguments, rows, functions, other) -> int:
    import jax

    from .. import verification
    from .._catalogue import CATALOGUE, Entry
    from ..families.catalogue import FAMILIES, FamilyEntry
    from . import _compiled

    _compiled.keep()
    if arguments.all:
        names = [*CATALOGUE, "entropy"]
    else:
        names = arguments.names or ([] if functions or arguments.families else ["kl"])
    names += list(FAMILIES) if arguments.families else []
    device = _device(arguments.device)
    with jax.default_device(device), jax.enable_x64(arguments.dtype == "float64"):
        subjects = [_subject(name) for name in names]
        try:
            subjects += [verification.subject_of(*function) for function in functions]
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from None
        points = _points(arguments, rows)
        reports = _verify(subjects, points, device, arguments, rows, other)
        if arguments.report:
            from ..verification.markdown import write_report

            drawn = [
                verification.subject_of(subject) if isinstance(subject, Entry) else subject
                for subject in subjects
                if not isinstance(subject, FamilyEntry)
            ]
            write_report(reports, drawn, Path(arguments.report), points)
    if arguments.json:
        plain = [report.to_dict() for report in reports]
        print(json.dumps({"points": points.source, "reports": plain}, indent=2))
    else:
        _print(reports, points, all(isinstance(s, FamilyEntry) for s in subjects))
        if arguments.report:
            print(f"wrote {Path(arguments.report) / 'report.md'}")
    return 0 if all(report.ok for report in reports) else 1


def _check_families(arguments) -> None:
    """Members of families have no outcomes to count, to read or to draw."""
    from ..families.catalogue import FAMILIES

    chosen = list(FAMILIES) if arguments.families else []
    chosen += [name for name in arguments.names if name in FAMILIES]
    if chosen and arguments.report:
        raise InputError(f"--report draws divergences: it has no page for families ({chosen[0]})")
    others = arguments.all or arguments.function or len(set(arguments.names) - {*FAMILIES})
    for option in ("size", "input"):
        if chosen and not others and getattr(arguments, option) is not None:
            raise InputError(
                f"--{option} is of distributions over finitely many outcomes, not of members of "
                f"families ({chosen[0]})"
            )


def _subject(name: str):
    from ..families.catalogue import FAMILIES
    from ._catalogue import find

    if name == "entropy":
        return name
    if name in FAMILIES:
        return FAMILIES[name]
    return find(name, FAMILIES)


def _own_rows(arguments):
    if not arguments.input:
        return None
    rows = read_rows(arguments.input)
    check_distributions(rows, arguments.input, logits=arguments.logits)
    if rows.shape[1] < 2:
        raise InputError(f"{arguments.input}: a row must have at least two outcomes")
    return rows


def _function(path: str):
    """A function and its name, from package.module:name; modules here are found too."""
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise InputError(f"--function must be package.module:name, but is {path!r}")
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--function {path}: {error}") from None
    except Exception as error:  # a module may raise what it likes
        raise InputError(f"--function {path}: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove(os.getcwd())
    return found, path


def _device(name: str | None):
    import jax

    try:
        return jax.devices(name)[0]
    except RuntimeError:
        raise InputError(
            f"--device {name}: JAX finds no such device here, only {jax.default_backend()}"
        ) from None


def _points(arguments, rows):
    import jax.numpy as jnp

    from .. import verification

    dtype = jnp.dtype(arguments.dtype)
    if rows is not None:
        return verification.from_array(rows, dtype, logits=arguments.logits, source=arguments.input)
    return verification.random_points(
        arguments.points or 1000, arguments.size or 8, arguments.seed or 0, dtype
    )


def _verify(subjects, points, device, arguments, rows, other):
    """A report each; with several cores, another process does its share of the catalogue."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from .. import verification
    from ..verification.subject import Subject
    from . import _processes

    console = Console(stderr=True)
    bar = Progress(
        BarColumn(20),
        TextColumn("{task.completed}/{task.total} {task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=arguments.json or not console.is_terminal,
    )

    def one(subject):
        return verification.verify(
            subject, points=points, count=points.count, seed=arguments.seed or 0,
            dtype=points.dtype, progress=lambda text: bar.update(task, description=text),
        )  # fmt: skip

    def name(subject) -> str | None:
        """What another process knows it by; a device that is no CPU is not for two."""
        if device.platform != "cpu":
            return None
        if isinstance(subject, Subject):
            return None  # a function of somebody's own
        return subject if isinstance(subject, str) else subject.name

    def together(subject):
        divergence = getattr(subject, "divergence", None)
        return name(subject) if divergence is None else type(divergence)

    given = ("size", "points", "seed", "dtype", "input", "logits")
    away = _Away({key: getattr(arguments, key) for key in given}, rows)
    with bar:
        task = bar.add_task("", total=len(subjects))
        return _processes.shared(
            one, away, subjects, together=together, begin=name, other=other,
            done=lambda: bar.advance(task),
        )  # fmt: skip


class _Away:
    """Verifies a name of the catalogue in another process, on its CPU."""

    def __init__(self, given, rows):
        self._arguments, self._rows, self._made = argparse.Namespace(**given), rows, None

    def __call__(self, name: str):
        import jax

        from .. import verification
        from . import _compiled

        with jax.enable_x64(self._arguments.dtype == "float64"):
            if self._made is None:
                jax.config.update("jax_platforms", "cpu")
                _compiled.keep()
                self._made = _points(self._arguments, self._rows)
            points = self._made
            return verification.verify(
                _subject(name), points=points, count=points.count,
                seed=self._arguments.seed or 0, dtype=points.dtype,
            ).settled()  # fmt: skip


def _print(reports, points, only_families: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..verification.engine import SEARCHED

    # 80 columns where there is no terminal to ask.
    console = Console(width=None if sys.stdout.isatty() else 80, highlight=False)
    first = reports[0]
    what = f"{points.count} distributions over {points.outcomes} outcomes ({points.source})"
    if only_families:
        what = f"{points.count} members of a family ({first.source})"
    console.print(f"{what}, {first.dtype}, on {first.device}", markup=False)
    if points.boundary:
        console.print(f"{points.boundary} of them have zeros: checked on their support")
    if points.outcomes < SEARCHED:
        console.print(
            f"with {points.outcomes} outcomes some claims cannot fail: counterexamples are "
            f"looked for at {SEARCHED}"
        )
    for report in reports:
        table = Table(
            title=f"{report.name}: {report.title}", title_justify="left", box=None, pad_edge=False
        )
        table.add_column("property", max_width=31)
        table.add_column("in")
        table.add_column("verdict")
        table.add_column("evidence", overflow="fold")
        for finding in report.findings:
            table.add_row(
                finding.claim,
                finding.chart.replace("probabilities", "probs"),
                finding.word,
                _evidence(finding),
                style=None if finding.ok else "bold red",
            )
        console.print()
        console.print(table, markup=False)
    console.print()
    total = [finding for report in reports for finding in report.findings]
    counts = [sum(f.word == word for f in total) for word in ("proved", "refuted", "sampled")]
    console.print("{} proved, {} refuted, {} sampled".format(*counts))
    failed = [report.name for report in reports if not report.ok]
    if failed:
        console.print(f"FAILED: {', '.join(failed)}", style="bold red", markup=False)
    else:
        console.print(f"all that is stated stands: {len(reports)} verified")


def _evidence(finding) -> str:
    """What fits into a cell: the first premise, both sides, or the worst figure."""
    from ..verification import Certificate, Sample, Witness

    evidence, wrong = finding.evidence, "" if finding.ok else "CONTRADICTS what is stated: "
    if isinstance(evidence, Certificate):
        return wrong + evidence.premises[0].brief()
    if isinstance(evidence, Witness):
        left, right = (f"{sum(side) / 2:.5g}" for side in (evidence.left, evidence.right))
        return f"{wrong}{left} > {right} at a witness"
    if isinstance(evidence, Sample):
        if evidence.worst == evidence.allowed == 0:
            return wrong + "0 at all points"
        kind = "least" if evidence.at_least else "worst"
        return f"{wrong}{kind} {evidence.worst:.1e} {evidence.bound}"
    return finding.note if evidence is None else wrong + evidence.describe()
