"""Rows of numbers from files; whatever is wrong is said in a sentence that names the row."""

import csv
from pathlib import Path

import numpy as np


class InputError(ValueError):
    """A file that cannot be used, with the reason in a sentence."""


def read_rows(path: str) -> np.ndarray:
    """The numbers of a .npy, .npz or .csv file, a row each, in float64."""
    file = Path(path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    if file.suffix not in readers:
        raise InputError(f"{path}: the name must end in .npy, .npz or .csv")
    try:
        rows = readers[file.suffix](file)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: the text is not UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable {file.suffix} file ({error})") from None
    except Exception as error:  # a damaged archive raises what it likes
        raise InputError(f"{path}: not a readable {file.suffix} file ({error})") from None
    if rows.size == 0:
        raise InputError(f"{path}: holds no numbers")
    return rows


def read_array(path: str) -> np.ndarray:
    """The real numbers of a .npy file, in their dtype."""
    try:
        array = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a damaged file raises what it likes
        raise InputError(f"not a readable .npy file ({error or 'it is empty'})") from None
    if not isinstance(array, np.ndarray):
        raise InputError("not a readable .npy file (it is an archive)")
    if array.dtype.kind not in "iuf":
        raise InputError(f"the numbers must be real, but have dtype {array.dtype}")
    return array


def _as_rows(array: np.ndarray) -> np.ndarray:
    if array.dtype == bool or not (
        np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)
    ):
        raise InputError(f"the numbers must be real, but have dtype {array.dtype}")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise InputError(f"must hold rows, one or two axes, but has shape {array.shape}")
    return array.astype(np.float64)


def _read_npy(file: Path) -> np.ndarray:
    return _as_rows(np.load(file, allow_pickle=False))


def _read_npz(file: Path) -> np.ndarray:
    with np.load(file, allow_pickle=False) as archive:
        names = list(archive)
        if len(names) != 1:
            raise InputError(f"must hold one array, but holds {len(names)}: {', '.join(names)}")
        return _as_rows(archive[names[0]])


def _read_csv(file: Path) -> np.ndarray:
    """Numbers separated by commas; a first line without any number is a header."""
    rows: list[list[float]] = []
    with file.open(newline="", encoding="utf-8-sig") as text:
        for number, fields in enumerate(csv.reader(text), 1):
            if not any(field.strip() for field in fields):
                continue
            values = [_number(field) for field in fields]
            if number == 1 and all(value is None for value in values):
                continue
            if None in values:
                field = fields[values.index(None)]
                raise InputError(f"line {number}: {field!r} is not a number")
            if rows and len(values) != len(rows[0]):
                raise InputError(
                    f"line {number} has {len(values)} numbers, but the first row {len(rows[0])}"
                )
            rows.append([value for value in values if value is not None])
    return np.asarray(rows, np.float64)


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def check_distributions(rows: np.ndarray, path: str, *, logits: bool) -> None:
    """Raise for the first row that is not a distribution (or logits of one); rows count from 1."""
    for index, row in enumerate(rows, 1):
        problem = _problem(row, logits)
        if problem:
            raise InputError(f"{path}: row {index} {problem}")


def _problem(row: np.ndarray, logits: bool) -> str:
    if np.isnan(row).any():
        return "holds NaN"
    if logits:
        if np.isposinf(row).any():
            return "holds +inf"
        return "" if (row > -np.inf).any() else "holds nothing but -inf"
    if (row < 0).any():
        return f"holds the negative number {row.min():g}; pass --logits if these are logits"
    if np.isinf(row).any():
        return "holds inf"
    total = row.sum()
    if total == 0:
        return "holds only zeros"
    # The sum of probabilities stored in 16 bits may be this far off.
    if abs(total - 1) > 0.02:
        return f"sums to {total:g}, not 1; normalise it, or pass --logits if these are logits"
    return ""
