"""How often each symbol occurs: from texts, or from files that hold the counts."""

import collections
import csv
import math
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ._files import InputError, read_array

SYMBOLS = ("characters", "bytes", "words")


class Counts(NamedTuple):
    """The counts of one file; without labels, a symbol is its position."""

    labels: tuple[str, ...] | None
    counts: np.ndarray

    @property
    def total(self) -> float:
        """The sum of the counts."""
        return math.fsum(self.counts.tolist())


class Aligned(NamedTuple):
    """The counts of two files over the union of their symbols."""

    labels: tuple[str, ...]
    p: np.ndarray
    q: np.ndarray
    by_position: bool


def holds_counts(path: str) -> bool:
    """Whether the name says that the file holds counts rather than a text."""
    return Path(path).suffix.lower() in (".csv", ".npy")


def read_counts(path: str, symbols: str | None) -> Counts:
    """The counts of a .npy or .csv file, or of the `symbols` of a text."""
    try:
        if holds_counts(path):
            suffix = Path(path).suffix.lower()
            counts = _read_npy(path) if suffix == ".npy" else _read_csv(path)
        elif symbols is None:
            raise InputError(
                "the name must end in .csv or .npy; of a text say what to count: "
                f"--symbols {', '.join(SYMBOLS[:-1])} or {SYMBOLS[-1]}"
            )
        else:
            counts = _count(Path(path).read_bytes(), symbols)
        _check(counts)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    return counts


def align(p: Counts, q: Counts, paths: tuple[str, str]) -> Aligned:
    """Both over one alphabet: labels in the order of P, then those that only Q has."""
    if p.labels is None and q.labels is None:
        if len(p.counts) != len(q.counts):
            raise InputError(
                f"{paths[0]} has {len(p.counts)} numbers but {paths[1]} has {len(q.counts)}: "
                "without labels they are matched by position, so there must be as many"
            )
        return Aligned(tuple(map(str, range(len(p.counts)))), p.counts, q.counts, True)
    if p.labels is None or q.labels is None:
        named, bare = paths if q.labels is None else paths[::-1]
        raise InputError(
            f"{named} has symbols but {bare} only numbers, so nothing says which belong together"
        )
    labels = tuple(dict.fromkeys(p.labels + q.labels))
    index = {label: i for i, label in enumerate(labels)}
    sides = []
    for side in (p, q):
        counts = np.zeros(len(labels))
        counts[[index[label] for label in side.labels or ()]] = side.counts
        sides.append(counts)
    return Aligned(labels, *sides, by_position=False)


def _check(counts: Counts) -> None:
    if not len(counts.counts):
        raise InputError("holds no numbers")
    if not counts.counts.any():
        raise InputError("holds only zeros")
    try:
        counts.total  # noqa: B018
    except OverflowError:
        raise InputError("the sum of the counts overflows float64") from None


def _problem(value: float) -> str:
    """What makes a number no count."""
    if math.isnan(value):
        return "is NaN"
    if math.isinf(value):
        return f"is {value:g}"
    return f"is negative: {value:g}" if value < 0 else ""


def _count(data: bytes, symbols: str) -> Counts:
    if not data:
        raise InputError("is empty")
    if symbols == "bytes":
        found = collections.Counter(data)
        return Counts(tuple(map(_byte, found)), np.asarray([*found.values()], np.float64))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8 at byte {error.start}; --symbols bytes counts any file"
        ) from None
    found = collections.Counter(text if symbols == "characters" else _words(text))
    if not found:
        raise InputError(f"holds no {symbols}")
    return Counts(tuple(found), np.asarray([*found.values()], np.float64))


def _byte(value: int) -> str:
    return f"0x{value:02x}" + (f" {chr(value)}" if 0x20 < value < 0x7F else "")


def _words(text: str) -> list[str]:
    """Runs of letters and digits, with the marks that belong to them and apostrophes inside."""
    breaks = {ord(c): " " for c in set(text) if not _in_word(c)}
    words = (word.strip("'’") for word in text.translate(breaks).split())
    return [word for word in words if word]


def _in_word(c: str) -> bool:
    # \w of `re` splits words of Indian scripts, and any decomposed text, at their marks.
    joiner = c in "_'’\u200c\u200d"
    return c.isalnum() or joiner or unicodedata.category(c).startswith("M")


def _read_npy(path: str) -> Counts:
    array = read_array(path)
    if array.ndim != 1:
        raise InputError(f"must have one axis, but has shape {array.shape}")
    counts = array.astype(np.float64)
    for index in np.flatnonzero(~(np.isfinite(counts) & (counts >= 0)))[:1]:
        raise InputError(f"entry {index} {_problem(float(counts[index]))}")
    return Counts(None, counts)


def _read_csv(path: str) -> Counts:
    """A count a line, or a label and a count; a first line without a count is a header."""
    counts: list[float] = []
    first_seen: dict[str, int] = {}
    columns = 0
    # strict: an unclosed quotation mark would otherwise swallow the rest of the file.
    with open(path, newline="", encoding="utf-8-sig") as text:
        reader = csv.reader(text, strict=True)
        try:
            for number, fields in enumerate(reader, 1):
                if fields in ([], [""]):
                    continue
                line = f"line {reader.line_num}"
                if number == 1 and _is_header(fields[-1]):
                    continue
                columns = columns or len(fields)
                if len(fields) != columns or columns > 2:
                    wanted = "1 or 2" if columns > 2 else columns
                    raise InputError(f"{line} has {len(fields)} columns, not {wanted}")
                counts.append(_number(fields[-1], line))
                if columns == 2:
                    if fields[0] in first_seen:
                        raise InputError(
                            f"{line}: the label {fields[0]!r} was already on line "
                            f"{first_seen[fields[0]]}"
                        )
                    first_seen[fields[0]] = reader.line_num
        except csv.Error as error:
            raise InputError(f"line {reader.line_num}: not readable as .csv ({error})") from None
        except UnicodeDecodeError:
            raise InputError("the text is not UTF-8") from None
    return Counts(tuple(first_seen) if columns == 2 else None, np.asarray(counts, np.float64))


def _is_header(field: str) -> bool:
    # A misspelt count, as in "a,1O", is an error rather than a header that is passed over.
    field = field.strip()
    try:
        float(field)
    except ValueError:
        return bool(field) and not (field[0].isdigit() or field[0] in "+-.")
    return False


def _number(field: str, line: str) -> float:
    try:
        value = float(field)
    except ValueError:
        raise InputError(f"{line}: {field!r} is not a number") from None
    if problem := _problem(value):
        raise InputError(f"{line}: the count {problem}")
    return value
