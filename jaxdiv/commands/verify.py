"""`jaxdiv verify`: check what is stated of divergences, at random points or at the user's own."""

import argparse
import json
import sys

from .._files import InputError, check_distributions, read_rows

_DTYPES = ("float32", "float64", "bfloat16", "float16")


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, but is {text!r}")
    return value


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "verify",
        help="check gradients, Hessians, signs and convexity",
        description="Check, through the public verbs, that the gradient vanishes at p = q, that "
        "the Hessian there is positive definite and the claimed one, that D >= 0 with equality "
        "only at p = q, and that D is convex along segments.",
        epilog="Examples: jaxdiv verify | jaxdiv verify js renyi_half --size 20 | "
        "jaxdiv verify --all --dtype float64 | jaxdiv verify --input predictions.npy. "
        "Exit status: 0, 1 if a check failed, 2 if the input was bad.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="divergences; kl without any")
    parser.add_argument("--all", action="store_true", help="the whole catalogue")
    parser.add_argument("--size", type=_positive, help="outcomes of a distribution (8)")
    parser.add_argument("--points", type=_positive, help="random distributions (1000)")
    parser.add_argument("--seed", type=int, help="of the random distributions (0)")
    parser.add_argument("--dtype", choices=_DTYPES, default="float32", help="default: float32")
    parser.add_argument("--device", help="cpu, gpu or tpu; the default is JAX's")
    parser.add_argument("--input", metavar="FILE", help="own points: .npy, .npz, .csv, a row each")
    parser.add_argument("--logits", action="store_true", help="the rows of FILE are logits")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments) -> int:
    """Verify, print, and return 0 or 1."""
    from ._catalogue import find

    if arguments.all and arguments.names:
        raise InputError("--all means every divergence: give names or --all, not both")
    if arguments.logits and not arguments.input:
        raise InputError("--logits says what --input holds, but there is no --input")
    if arguments.input and any(
        value is not None for value in (arguments.size, arguments.points, arguments.seed)
    ):
        raise InputError("--size, --points and --seed are of random points, but --input is given")
    if arguments.size == 1:
        raise InputError("--size must be at least 2: one outcome leaves nothing to differ")
    rows = _own_rows(arguments)

    import jax

    from .._catalogue import CATALOGUE

    if arguments.all:
        entries = list(CATALOGUE.values())
    else:
        entries = [find(name) for name in arguments.names or ["kl"]]
    device = _device(arguments.device)
    with jax.default_device(device), jax.enable_x64(arguments.dtype == "float64"):
        points = _points(arguments, rows)
        reports = _verify(entries, points, quiet=arguments.json)
    if arguments.json:
        plain = [report.to_dict() for report in reports]
        print(json.dumps({"points": points.source, "reports": plain}, indent=2))
    else:
        _print(reports, points)
    return 0 if all(report.ok for report in reports) else 1


def _own_rows(arguments):
    if not arguments.input:
        return None
    rows = read_rows(arguments.input)
    check_distributions(rows, arguments.input, logits=arguments.logits)
    if rows.shape[1] < 2:
        raise InputError(f"{arguments.input}: a row must have at least two outcomes")
    return rows


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


def _verify(entries, points, quiet: bool):
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from .. import verification

    console = Console(stderr=True)
    bar = Progress(
        BarColumn(20),
        TextColumn("{task.completed}/{task.total} {task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    reports = []
    with bar:
        task = bar.add_task("", total=len(entries))
        for entry in entries:
            reports.append(
                verification.verify(
                    entry, points, progress=lambda text: bar.update(task, description=text)
                )
            )
            bar.advance(task)
    return reports


def _print(reports, points) -> None:
    from rich.console import Console
    from rich.table import Table

    # 80 columns where there is no terminal to ask.
    console = Console(width=None if sys.stdout.isatty() else 80, highlight=False)
    first = reports[0]
    console.print(
        f"{points.count} distributions over {points.outcomes} outcomes ({points.source}), "
        f"{first.dtype}, on {first.device}",
        markup=False,
    )
    if points.boundary:
        console.print(f"{points.boundary} of them have zeros: checked on their support")
    for report in reports:
        table = Table(
            title=f"{report.name}: {report.title}", title_justify="left", box=None, pad_edge=False
        )
        table.add_column("property")
        table.add_column("in")
        table.add_column("points", justify="right")
        table.add_column("worst", justify="right")
        table.add_column("allowed", justify="right")
        table.add_column("")
        for check in report.checks:
            figures = (f"{check.worst:.1e}", check.allowed) if check.applies else ("", "")
            style = None if check.ok else "bold red"
            table.add_row(
                check.claim,
                check.chart.replace("probabilities", "probs"),
                str(check.points) if check.applies else "",
                *figures,
                check.verdict if check.applies else check.note,
                style=style,
            )
        console.print()
        console.print(table)
    failed = [report.name for report in reports if not report.ok]
    console.print()
    if failed:
        console.print(f"FAILED: {', '.join(failed)}", style="bold red")
    else:
        console.print(f"all that is claimed held: {len(reports)} verified")
