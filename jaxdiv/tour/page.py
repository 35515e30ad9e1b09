"""What a step writes: paragraphs, small tables and bars, within 80 columns."""

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 78
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_PLAIN = str.maketrans(_EIGHTHS, " .:-=+*##")


def number(value: object) -> str:
    """At most four significant digits; text stays as it is."""
    if isinstance(value, str | int):
        return str(value)
    x = float(value)  # pyright: ignore[reportArgumentType]
    if x == 0:
        return "0"
    if abs(x) < 1e-3 or abs(x) >= 1e5:
        return f"{x:.2e}"
    return f"{x:.4f}".rstrip("0").rstrip(".")


def printable(text: str, encoding: str | None) -> str:
    """The text with plain characters for blocks where the encoding has none."""
    try:
        text.encode(encoding or "ascii")
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text


class Page:
    """Lines of text, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"

    def text(self, paragraph: str) -> None:
        """A paragraph, wrapped."""
        self.gap()
        self.lines += textwrap.wrap(paragraph, WIDTH, break_on_hyphens=False)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Columns: the first flush left, numbers flush right."""
        self.gap()
        cells = [list(header), *([number(x) for x in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            first, *rest = row
            line = f"  {first:<{widths[0]}}"
            line += "".join(f"  {x:>{w}}" for x, w in zip(rest, widths[1:], strict=True))
            self.lines.append(line.rstrip())

    def bars(self, rows: Iterable[tuple[str, float]], unit: str = "") -> None:
        """A bar a row, the longest as wide as the page."""
        self.gap()
        rows = list(rows)
        left = max(len(label) for label, _ in rows)
        right = max(len(number(value)) for _, value in rows)
        most = max(value for _, value in rows)
        room = WIDTH - left - right - len(unit) - 6
        for label, value in rows:
            bar = "█" * round(room * value / most)
            end = f"{number(value):>{right}} {unit}".rstrip()
            self.lines.append(f"  {label:>{left}}  {end}  {bar}".rstrip())

    def curve(self, label: str, values: Sequence[float]) -> None:
        """Heights from 0 to the largest as one line of blocks."""
        most = max(values)
        blocks = "".join(_EIGHTHS[round(8 * v / most)] for v in values)
        self.lines.append(f"  {label:<12}{blocks}".rstrip())

    def gap(self) -> None:
        """An empty line, except at the top."""
        if self.lines:
            self.lines.append("")
