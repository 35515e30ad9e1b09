"""`jaxdiv compare P Q`: two distributions of the user's, by every measure there is."""

import argparse
import json
import math
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._counts import SYMBOLS, Aligned, align, holds_counts, read_counts
from .._files import InputError
from ._arguments import number, positive

_WIDTH = 80
_NAMED = 12  # missing symbols named in the output
_PAIRS = ("pq", "qp")
_UNITS = {2.0: "bits", math.e: "nats", 10.0: "hartleys"}


_base = number("e or a number > 0, not 1", lambda x: 0 < x < math.inf and x != 1)
_seed_number = number("an integer from 0 to 2^31 - 1", lambda x: 0 <= x < 2**31 and x == int(x))
_pseudo_count = number("a number >= 0", lambda x: 0 <= x < math.inf)


def _seed(text: str) -> int:
    return int(_seed_number(text))


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compare",
        help="two distributions from files: entropies, divergences, codes",
        description="Compare two distributions: counts from .csv (a count a line, or a label and\n"
        "a count) or .npy files, or two texts whose symbols are counted. Counts are\n"
        "divided by their total; labels are matched by name, bare numbers by position.\n"
        "With --samples, estimates from points of two distributions: a point a row.",
        epilog="Examples:\n"
        "  jaxdiv compare english.csv german.csv --plot letters.png\n"
        "  jaxdiv compare yesterday.npy today.npy --base e --json\n"
        "  jaxdiv compare mine.txt yours.txt --symbols words --smooth 0.5 --top 20\n"
        "  jaxdiv compare before.csv after.csv --samples --columns height,weight\n\n"
        "Characters are Unicode code points; words are runs of letters and digits, in\n"
        "the case they are written in. Exit status: 0, or 2 if the input was bad.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("p", metavar="P", help="a .csv or .npy file, or a text with --symbols")
    parser.add_argument("q", metavar="Q", help="the same, for the other distribution")
    parser.add_argument("--symbols", choices=SYMBOLS, help="what to count in a text")
    parser.add_argument(
        "--base", type=_base, default=2.0, help="of the logarithms: 2 (default), e, 10, ..."
    )
    parser.add_argument(
        "--smooth", metavar="A", type=_pseudo_count,
        help="add A to the count of every symbol of either, on both sides",
    )  # fmt: skip
    parser.add_argument("--top", metavar="N", type=positive, help="symbols to show, 10 by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", metavar="FILE", help="also draw a .png, .svg or .pdf")
    samples = parser.add_argument_group("samples")
    samples.add_argument(
        "--samples", action="store_true", help="the files hold points (.npy, .csv), not counts"
    )
    samples.add_argument(
        "--columns",
        metavar="A,B",
        type=lambda text: text.split(","),
        help="of a .csv or .npy file, by name or number from 1; all without",
    )
    samples.add_argument(
        "--k", metavar="K", type=positive, help="neighbours that densities come from, 5 by default"
    )
    samples.add_argument(
        "--seed", metavar="N", type=_seed, help="of subsamples and directions, 0 by default"
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments) -> int:
    """Read, compare and print."""
    paths = (arguments.p, arguments.q)
    _check_kind(arguments)
    _check_symbols(arguments.symbols, paths)
    plot = _plot_file(arguments.plot, paths)
    if arguments.samples:
        from . import _compare_samples

        return _compare_samples.run(arguments, plot)
    aligned = _read(arguments, paths)

    import jax

    with jax.enable_x64(True):
        result = _compare(arguments, aligned)
    if plot:
        _draw(plot, result)
    if arguments.json:
        _print(json.dumps(_plain(result), indent=2, allow_nan=False))
    else:
        _print("\n".join(_lines(result)))
    return 0


def _check_kind(arguments) -> None:
    """Options of counts belong to counts, those of samples to samples."""
    counts = {"--symbols": arguments.symbols, "--smooth": arguments.smooth, "--top": arguments.top}
    points = {"--columns": arguments.columns, "--k": arguments.k, "--seed": arguments.seed}
    if arguments.samples:
        for option, value in counts.items():
            if value is not None:
                raise InputError(f"{option} is for counts, and has no meaning with --samples")
    else:
        for option, value in points.items():
            if value is not None:
                raise InputError(f"{option} is for points: say --samples")
    defaults = {"smooth": 0.0, "top": 10, "k": 5, "seed": 0}
    for name, value in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def _check_symbols(symbols: str | None, paths: tuple[str, str]) -> None:
    if symbols is None:
        return
    for path in paths:
        if Path(path).suffix.lower() == ".npy":
            raise InputError(f"{path}: a .npy file holds counts; --symbols is for texts")
    if all(map(holds_counts, paths)):
        raise InputError(f"{paths[0]}: a .csv file holds counts; --symbols is for texts")


def _plot_file(name: str | None, inputs: tuple[str, str]) -> Path | None:
    """Where to draw; what is wrong with it is found before anything is computed."""
    if name is None:
        return None
    path = Path(name)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {name}: the name must end in .png, .svg or .pdf")
    if path.is_dir() or not path.parent.is_dir():
        reason = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise InputError(f"--plot {name}: {reason}")
    for other in inputs:
        if path.exists() and Path(other).exists() and path.samefile(other):
            raise InputError(f"--plot {name}: would overwrite the input {other}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install 'jaxdiv[plot]'") from None
    return path


def _read(arguments, paths: tuple[str, str]) -> Aligned:
    p, q = (read_counts(path, arguments.symbols) for path in paths)
    aligned = align(p, q, paths)
    if not ((aligned.p > 0) & (aligned.q > 0)).any() and not arguments.smooth:
        raise InputError(
            f"{paths[0]} and {paths[1]} have no symbol in common, so there is nothing to compare; "
            "--smooth A adds A to every count"
        )
    return aligned


def _compare(arguments, aligned: Aligned) -> dict[str, Any]:
    """All that is printed, as plain data."""
    import jaxdiv as jd

    base, labels = arguments.base, aligned.labels
    counts = np.stack([aligned.p, aligned.q])
    weights = counts + arguments.smooth
    try:
        totals = [_sum(row) for row in weights]
    except OverflowError:
        raise InputError("--smooth makes the counts overflow float64") from None
    # The rows of one batch are (P, Q) and (Q, P), so that a divergence compiles once for both.
    rows = weights / np.asarray(totals)[:, None]
    swapped = rows[::-1].copy()
    p, q = rows
    support = rows > 0

    def pair(values: Any) -> dict[str, float]:
        return dict(zip(_PAIRS, np.asarray(values).tolist(), strict=True))

    entropies, perplexities = np.asarray(jd.entropy(rows, base=base)), jd.perplexity(rows)

    def side(index: int, path: str) -> dict[str, Any]:
        other = rows[1 - index]
        lacks = np.flatnonzero(support[1 - index] & ~support[index])
        lacks = lacks[np.argsort(-other[lacks], kind="stable")]
        return {
            "file": path,
            "total": _sum(counts[index]),
            "symbols": int((counts[index] > 0).sum()),
            "entropy": float(entropies[index]),
            "perplexity": float(perplexities[index]),
            "lacks": {
                "count": len(lacks),
                "probability_in_other": _sum(other[lacks]),
                "symbols": [labels[i] for i in lacks],
            },
        }

    # A symbol as a row of its own gives p log(p/q) - p + q, and these add up to KL.
    terms = np.asarray(jd.kl_divergence(p[:, None], q[:, None], base=base))
    finite = np.flatnonzero(np.isfinite(terms) & support.any(0))
    # By size, as a base below 1 turns the sign of everything; ties by p, then as they come.
    order = finite[np.lexsort((-p[finite], -np.abs(terms[finite])))]
    shown, rest = order[: arguments.top], order[arguments.top :]
    kl_bits = np.asarray(jd.kl_divergence(rows, swapped, base=2))
    return {
        "p": side(0, arguments.p),
        "q": side(1, arguments.q),
        "counted": arguments.symbols or ("positions" if aligned.by_position else "labels"),
        "alphabet": int((counts.any(0) if not arguments.smooth else support.any(0)).sum()),
        "common": int(counts.all(0).sum()),
        "smooth": arguments.smooth,
        "base": base,
        "unit": _UNITS.get(base, f"log {base:g}"),
        "cross_entropy": pair(jd.cross_entropy(rows, swapped, base=base)),
        "cross_perplexity": pair(jd.perplexity(rows, swapped)),
        "divergences": {
            entry.name: _divergence(entry, rows, swapped, base)
            for entry in _progress(list(jd.CATALOGUE.values()), quiet=arguments.json)
        },
        "contributions": [
            {
                "symbol": labels[i],
                "p": float(p[i]),
                "q": float(q[i]),
                "contribution": float(terms[i]),
            }
            for i in shown
        ],
        "other_contributions": {
            "count": len(rest),
            "p": _sum(p[rest]),
            "q": _sum(q[rest]),
            "contribution": _sum(terms[rest]),
        },
        "coding": _coding(rows, weights, kl_bits.tolist()),
        "plot": arguments.plot,
    }


def _sum(values: np.ndarray) -> float:
    return math.fsum(values.tolist())


def _progress(entries: list, quiet: bool) -> Iterator[Any]:
    """The entries in turn, with a bar where somebody is watching: compiling takes time."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (BarColumn(20), TextColumn("{task.completed}/{task.total} {task.description}"))
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=len(entries))
        for entry in entries:
            bar.update(task, description=entry.name)
            yield entry
            bar.advance(task)


def _divergence(entry, rows: np.ndarray, swapped: np.ndarray, base: float) -> dict[str, Any]:
    logarithmic = entry.divergence.logarithmic
    root = entry.name == "js_distance"
    if root and base < 1:
        values = [math.nan, math.nan]  # the root of a negative number of units
    else:
        values = np.asarray(entry(rows, swapped, **({"base": base} if logarithmic else {})))
    return {
        "pq": float(values[0]),
        "qp": float(values[1]),
        "logarithmic": logarithmic,
        "root": root,
        "symmetric": entry.claims.symmetric is True,
        "parameters": ", ".join(
            f"{key}={value:g}"
            if isinstance(value, int | float)
            else f"{key}={value.__name__.strip('_')}"
            for key, value in entry.parameters.items()
        ),
    }


def _coding(rows: np.ndarray, weights: np.ndarray, kl: list[float]) -> dict[str, Any]:
    """Bits a symbol for either side, with its own Huffman code and with the other's."""
    import jaxdiv as jd

    # A code has codewords for what occurs; `huffman_code` would give the rest some, too.
    coded = rows > 0
    codes = [jd.huffman_code(weights[i][coded[i]]) for i in (0, 1)]

    def length(side: int, code: int) -> float:
        if rows[side][~coded[code]].any():
            return math.inf
        return jd.expected_code_length(rows[side][coded[code]], codes[code])

    result = {}
    for i, name in enumerate(_PAIRS):
        own, other = length(i, i), length(i, 1 - i)
        result[name] = {"own": own, "other": other, "excess": other - own, "kl": kl[i]}
    return result


def _plain(value: Any) -> Any:
    """The same without infinities and NaN, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _draw(path: Path, result: dict[str, Any]) -> None:
    from .. import _compare_plot

    rows, drawn = result["contributions"], _compare_plot.DRAWN
    infinite = result["q"]["lacks"]["count"]
    try:
        _compare_plot.save(
            path,
            [_cut(_tick(row["symbol"]), 20) for row in rows[:drawn]],
            *(np.asarray([row[key] for row in rows[:drawn]]) for key in ("p", "q", "contribution")),
            names=(_file(result, "p", 28), _file(result, "q", 28)),
            unit=result["unit"],
            what=_noun(result["counted"], 1) + (f", the first {drawn}" if rows[drawn:] else ""),
            note=f"{infinite:,} infinite not drawn" if infinite else "",
        )
    except OSError as error:
        raise InputError(f"--plot {path}: {error.strerror or error}") from None


def _tick(label: str) -> str:
    """A label as a picture shows it, where quotation marks only clutter."""
    shown = _show(label)
    return label if shown == f"'{label}'" and label.strip() == label != "" else shown


def _print(text: str) -> None:
    """Print what the terminal can show, and escapes for the rest."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    """The report, at most 80 columns wide."""
    yield from _sizes(result)
    unit = result["unit"]
    p, q, cross = result["p"], result["q"], result["cross_entropy"]
    perplexity = result["cross_perplexity"]
    yield ""
    yield _row("", "of P", "of Q")
    yield _row("entropy H(P), H(Q)", p["entropy"], q["entropy"], unit)
    yield _row("perplexity", p["perplexity"], q["perplexity"])
    yield _row("cross-entropy H(P, Q), H(Q, P)", cross["pq"], cross["qp"], unit)
    yield _row("its perplexity", perplexity["pq"], perplexity["qp"])
    yield ""
    yield _row("divergence", "P || Q", "Q || P")
    for name, row in result["divergences"].items():
        title = f"{name} ({row['parameters']})" if row["parameters"] else name
        short = unit if len(unit) <= 12 else "log base"
        measured = (f"root {short}" if row["root"] else short) if row["logarithmic"] else ""
        backward = "symmetric" if row["symmetric"] else row["qp"]
        yield _row(title, row["pq"], backward, measured)
    yield from _contributions(result)
    yield from _codes(result["coding"])
    if result["plot"]:
        yield ""
        yield result["plot"]


def _sizes(result: dict[str, Any]) -> Iterator[str]:
    counted, smooth = result["counted"], result["smooth"]
    for name in "pq":
        side = result[name]
        kinds = f"{side['symbols']:,} different" if counted in SYMBOLS else ""
        kinds = kinds or f"{side['symbols']:,} {_noun(counted, side['symbols'])} above 0"
        total = _total(side["total"])
        text = f"{total} {counted}, {kinds}" if counted in SYMBOLS else f"total {total}, {kinds}"
        yield f"{name.upper()}  {_file(result, name, min(34, _WIDTH - 5 - len(text)))}: {text}"
    alphabet, common = result["alphabet"], result["common"]
    added = f" after adding {smooth:g} to every count" if smooth else ""
    text = (
        f"{alphabet:,} {_noun(counted, alphabet)} in all, {common:,} on both sides. "
        f"Probabilities are counts over the total{added}."
    )
    yield from _fill(text.split())
    for name, other, forward in (("q", "p", "P || Q"), ("p", "q", "Q || P")):
        lacks = result[name]["lacks"]
        count = lacks["count"]
        if not count:
            continue
        name, other = name.upper(), other.upper()
        share = 100 * lacks["probability_in_other"]
        named = [_cut(_show(label), 30) for label in lacks["symbols"][:_NAMED]]
        named[:-1] = [f"{label}," for label in named[:-1]]
        more = f"and {count - _NAMED:,} more" if count > _NAMED else ""
        yield ""
        yield from _fill(
            [
                *f"{count:,} {_noun(counted, count)} of {other}, {share:.3g} % of it, "
                f"{'is' if count == 1 else 'are'} missing from {name}:".split(),
                *named,
                *more.split(),
            ]
        )
        yield from _fill(
            f"So KL({forward}) is infinite, and {name}'s code has no codeword for "
            f"{'it' if count == 1 else 'them'}: {other} cannot be coded with it. "
            "(--smooth A adds A to every count.)".split(),
            "  ",
        )


def _contributions(result: dict[str, Any]) -> Iterator[str]:
    rows, others = result["contributions"], result["other_contributions"]
    counted, infinite = result["counted"], result["q"]["lacks"]["count"]
    beside = f", beside the {infinite:,} infinite" if infinite else ""
    place = "position from 0" if counted == "positions" else _noun(counted, 1)
    yield ""
    unit = result["unit"] if result["base"] in _UNITS else f"units of {result['unit']}"
    yield from _fill(f"most of KL(P || Q) in {unit}, as p log(p/q) - p + q{beside}".split())
    yield _row(place, "p", "q", "contribution")
    for row in rows:
        yield _row(_show(row["symbol"]), row["p"], row["q"], row["contribution"])
    if others["count"]:
        title = f"the {others['count']:,} others"
        yield _row(title, others["p"], others["q"], others["contribution"])


def _codes(coding: dict[str, Any]) -> Iterator[str]:
    def bits(value: float) -> float | str:
        return "impossible" if math.isinf(value) else value

    pq, qp = coding["pq"], coding["qp"]
    yield ""
    yield _row("Huffman codes, bits a symbol", "to code P", "to code Q")
    yield _row("with its own code", pq["own"], qp["own"])
    yield _row("with the other's code", bits(pq["other"]), bits(qp["other"]))
    yield _row("excess", bits(pq["excess"]), bits(qp["excess"]))
    yield _row("KL, the excess of ideal codes", pq["kl"], qp["kl"])


def _row(title: str, *cells: str | float) -> str:
    """A title of 36 columns, then cells of 13, or of more for a long unit at the end."""
    from rich.cells import set_cell_size

    line = set_cell_size(_cut(title, 36), 36)
    for cell in cells:
        text = cell if isinstance(cell, str) else _figure(cell)
        line += f"{f' {text}':>13}"
    return line.rstrip()


def _figure(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.6g}"


def _total(value: float) -> str:
    return f"{int(value):,}" if value.is_integer() and value < 1e15 else f"{value:.6g}"


def _noun(counted: str, count: int) -> str:
    return counted.removesuffix("s") if count == 1 else counted


def _file(result: dict[str, Any], side: str, width: int) -> str:
    """The end of the path of P or Q, in printable characters."""
    path = "".join(c if c.isprintable() else _escape(c) for c in result[side]["file"])
    return _cut(path, width, left=True)


def _show(label: str) -> str:
    """The label itself if it reads as a word, else quoted with escapes."""
    marks = "_-'’"
    plain = [c for c in label if c.isalnum() or unicodedata.category(c)[0] == "M" or c in marks]
    starts = label[:1].isalnum() or label.startswith("_")
    byte = label.startswith("0x") and len(label) == 6 and label[4] == " "
    if byte or (starts and len(plain) == len(label)):
        return label
    # A mark on its own would join the quotation mark before it.
    start = _escape(label[0]) if label and unicodedata.category(label[0])[0] == "M" else ""
    inner = "".join(
        f"\\{c}" if c in "\\'" else c if c.isprintable() else _escape(c)
        for c in label[bool(start) :]
    )
    return f"'{start}{inner}'"


def _escape(c: str) -> str:
    return ascii(c)[1:-1] if not c.isascii() or not c.isprintable() else c


def _cut(text: str, width: int, left: bool = False) -> str:
    """The text in that many columns, with an ellipsis for what is left out."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    while cell_len(text) > width - 1:
        text = text[1:] if left else text[:-1]
    return f"…{text}" if left else f"{text}…"


def _fill(words: Iterable[str], indent: str = "") -> Iterator[str]:
    """Words in lines of 80 columns; unlike `textwrap`, by their width on screen."""
    from rich.cells import cell_len

    line = ""
    for word in words:
        if line and cell_len(f"{indent}{line} {word}") > _WIDTH:
            yield indent + line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield indent + line
