"""What the examples share: arguments, tables and the look of pictures."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure

# Okabe and Ito's colours, told apart by colour-blind readers.
BLUE, ORANGE, GREEN, PINK, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"


def main(
    text: str | None,
    name: str,
    run: Callable[..., Any],
    report: Callable[[Any], None],
    draw: Callable[[Any, Any], None],
    size: tuple[float, float],
    arguments: Sequence[str] | None = None,
) -> Any:
    """Run an example, print its table and write its picture, NAME.png, to a folder."""
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=text)
    parser.add_argument("--small", action="store_true", help="a few steps, as the tests run it")
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="DIR", help="where the picture goes"
    )
    options = parser.parse_args(arguments)
    result = run(small=options.small)
    report(result)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{name}.png"
    style: Any = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = matplotlib.figure.Figure(size, layout="constrained")
        draw(result, figure)
        figure.savefig(path, dpi=120)
    print(f"\n{path}")
    return result


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print columns, numbers to four digits."""
    lines = [list(head), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = zip(line, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        print("  ".join(cells).rstrip())


def _text(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
