"""`jaxdiv compare P Q --samples`: estimates from points of two distributions."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._files import InputError, read_array
from . import compare as shared

SUBSAMPLES = 32
_QUANTILE = 1.959963984540054  # 95 % of a normal distribution are nearer, in standard deviations


class Points(NamedTuple):
    """The points of one file, (n, d), and the names of their columns if it has any."""

    values: np.ndarray
    names: tuple[str, ...] | None


def read(path: str, columns: list[str] | None) -> Points:
    """Points from a .npy array, (n,) or (n, d), or the columns of a .csv file."""
    suffix = Path(path).suffix.lower()
    try:
        if suffix not in (".npy", ".csv"):
            raise InputError("the name must end in .npy or .csv with --samples")
        points = _read_npy(path) if suffix == ".npy" else _read_csv(path)
        points = _chosen(points, columns)
        if len(points.values) < 2:
            raise InputError(f"holds {len(points.values)} points, but there must be 2 at least")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    return points


def _read_npy(path: str) -> Points:
    array = read_array(path)
    if array.ndim not in (1, 2):
        raise InputError(f"must hold points, (n,) or (n, d), but has shape {array.shape}")
    if array.size == 0:
        raise InputError("holds no numbers")
    values = array.astype(np.float64).reshape(len(array), -1)
    for row, column in np.argwhere(~np.isfinite(values))[:1]:
        raise InputError(f"point {row}, dimension {column} is {values[row, column]:g}")
    return Points(values, None)


def _read_csv(path: str) -> Points:
    """A point a line; a first line without any number names the columns."""
    rows: list[list[float]] = []
    names: tuple[str, ...] | None = None
    # strict: an unclosed quotation mark would otherwise swallow the rest of the file.
    with open(path, newline="", encoding="utf-8-sig") as text:
        reader = csv.reader(text, strict=True)
        try:
            for number, fields in enumerate(reader, 1):
                if fields in ([], [""]):
                    continue
                line = f"line {reader.line_num}"
                if number == 1 and not any(map(_is_number, fields)):
                    names = tuple(field.strip() for field in fields)
                    if len(set(names)) < len(names):
                        raise InputError(f"{line}: two columns have one name")
                    continue
                width = len(names) if names else len(rows[0]) if rows else len(fields)
                if len(fields) != width:
                    raise InputError(f"{line} has {len(fields)} columns, not {width}")
                rows.append([_number(field, line) for field in fields])
        except csv.Error as error:
            raise InputError(f"line {reader.line_num}: not readable as .csv ({error})") from None
        except UnicodeDecodeError:
            raise InputError("the text is not UTF-8") from None
    if not rows:
        raise InputError("holds no numbers")
    return Points(np.asarray(rows, np.float64), names)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _number(field: str, line: str) -> float:
    if not _is_number(field):
        raise InputError(f"{line}: {field!r} is not a number")
    value = float(field)
    if not math.isfinite(value):
        raise InputError(f"{line}: {field.strip()} is not a finite number")
    return value


def _chosen(points: Points, columns: list[str] | None) -> Points:
    """The columns that were asked for: by name, or by number from 1."""
    if columns is None:
        return points
    width = points.values.shape[1]
    index = []
    for column in columns:
        if points.names and column in points.names:
            index.append(points.names.index(column))
        elif column.isdecimal() and 1 <= int(column) <= width:
            index.append(int(column) - 1)
        else:
            known = f", which are {', '.join(points.names)}" if points.names else ""
            raise InputError(f"--columns {column}: no such name or number among {width}{known}")
    names = tuple(points.names[i] for i in index) if points.names else None
    return Points(points.values[:, index], names)


def _aligned(p: Points, q: Points, paths: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    widths = p.values.shape[1], q.values.shape[1]
    if widths[0] != widths[1]:
        raise InputError(
            f"{paths[0]} has points of {widths[0]} numbers but {paths[1]} of {widths[1]}; "
            "--columns A,B,... chooses columns of both"
        )
    if p.names and q.names and p.names != q.names:
        if set(p.names) != set(q.names):
            apart = sorted(set(p.names) ^ set(q.names))
            raise InputError(
                f"{paths[0]} and {paths[1]} have columns of different names, such as {apart[0]!r}"
            )
        return p.values, q.values[:, [q.names.index(name) for name in p.names]]
    return p.values, q.values


def _repeated(values: np.ndarray) -> int:
    """Points that some other point of the sample equals."""
    _, counts = np.unique(values, axis=0, return_counts=True)
    return int(counts[counts > 1].sum())


def compare(arguments) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray]]:
    """All that is printed, as plain data, and the points."""
    paths = (arguments.p, arguments.q)
    both = [read(path, arguments.columns) for path in paths]
    p, q = _aligned(both[0], both[1], paths)
    k, smallest = arguments.k, min(len(p), len(q))
    # A quarter of the points must have k neighbours, too.
    if k >= smallest // 4:
        raise InputError(
            f"--k {k} needs {4 * (k + 1)} points in either file, since errors are estimated from "
            f"quarters, but {paths[0] if len(p) == smallest else paths[1]} has {smallest}"
        )
    unit = shared._UNITS.get(arguments.base, f"log {arguments.base:g}")
    groups = [_neighbours(k, arguments.base, unit), _pairs(p, q, arguments.seed)]
    estimates: dict[str, Any] = {}
    for group in shared._progress(groups, quiet=arguments.json):
        estimates |= _estimated(group, p, q, arguments.seed)
    return {
        "p": {"file": paths[0], "points": len(p), "repeated": _repeated(p)},
        "q": {"file": paths[1], "points": len(q), "repeated": _repeated(q)},
        "dimensions": p.shape[1],
        "k": k,
        "seed": arguments.seed,
        "subsamples": SUBSAMPLES,
        "confidence": 0.95,
        "estimates": estimates,
        "plot": arguments.plot,
    }, (p, q)


class _Group(NamedTuple):
    """Estimates that are made together: (name, title, unit) of each."""

    name: str
    rows: list[tuple[str, str, str]]
    evaluate: Callable[[Any, Any], Any]


def _neighbours(k: int, base: float, unit: str) -> _Group:
    import jax.numpy as jnp

    from ..samples import divergences, entropies, neighbours

    def evaluate(x, y):
        # Each search serves several estimates.
        own = [neighbours.kth_apart(z, None, k) for z in (x, y)]
        forward, backward = neighbours.kth_apart(x, y, k), neighbours.kth_apart(y, x, k)
        ratios = divergences.compared(own[0], forward, len(y))
        inverse = divergences.compared(own[1], backward, len(x))
        values = [
            divergences.mean(ratios),
            divergences.mean(inverse),
            divergences.renyi(ratios, inverse, jnp.asarray(0.5, ratios.dtype), k),
            *(entropies.of_distances(z, k) for z in own),
        ]
        return jnp.stack(values) / math.log(base)

    rows = [
        ("kl_pq", "KL(P || Q)", unit),
        ("kl_qp", "KL(Q || P)", unit),
        ("renyi_half", "Renyi, alpha = 1/2", unit),
        ("entropy_p", "entropy of P", unit),
        ("entropy_q", "entropy of Q", unit),
    ]
    return _Group("neighbours", rows, evaluate)


def _pairs(p: np.ndarray, q: np.ndarray, seed: int) -> _Group:
    import jax
    import jax.numpy as jnp

    from .. import samples

    key, width = jax.random.key(seed), float(samples.median_heuristic(p, q))
    rows = [("energy_distance", "energy distance", "")]
    if width > 0:  # else half of the pairs coincide, and no width suggests itself
        rows.append(("mmd2", f"MMD^2, width {width:.3g}", ""))
    line = p.shape[1] == 1
    rows.append(
        ("wasserstein_1d", "Wasserstein-1", "")
        if line
        else ("sliced_wasserstein", "sliced Wasserstein-2", "")
    )

    def evaluate(x, y):
        values = [samples.energy_distance(x, y)]
        if width > 0:
            values.append(samples.mmd2(x, y, samples.GaussianKernel(width)))
        far = samples.wasserstein_1d(x, y) if line else samples.sliced_wasserstein(x, y, key)
        return jnp.stack([*values, far])

    return _Group("pairs of points", rows, evaluate)


def _estimated(group: _Group, p: np.ndarray, q: np.ndarray, seed: int) -> dict[str, Any]:
    import jax

    from .. import samples

    values, errors = samples.subsampled_error(
        group.evaluate, p, q, key=jax.random.key(seed), num_subsamples=SUBSAMPLES
    )
    found = zip(group.rows, np.asarray(values).tolist(), np.asarray(errors).tolist(), strict=True)
    return {
        name: {
            "title": title,
            "estimate": value,
            "standard_error": error,
            "low": value - _QUANTILE * error,
            "high": value + _QUANTILE * error,
            "unit": unit,
        }
        for (name, title, unit), value, error in found
    }


def run(arguments, plot: Path | None) -> int:
    """Read, estimate and print."""
    import jax

    with jax.enable_x64(True):
        result, points = compare(arguments)
    if plot:
        _draw(plot, result, points)
    if arguments.json:
        shared._print(json.dumps(shared._plain(result), indent=2, allow_nan=False))
    else:
        shared._print("\n".join(_lines(result)))
    return 0


def _draw(path: Path, result: dict[str, Any], points: tuple[np.ndarray, np.ndarray]) -> None:
    from .. import _samples_plot

    names = tuple(shared._file(result, side, 28) for side in "pq")
    try:
        _samples_plot.save(path, points, names, result["estimates"])
    except OSError as error:
        raise InputError(f"--plot {path}: {error.strerror or error}") from None


def _lines(result: dict[str, Any]) -> Iterator[str]:
    """The report, at most 80 columns wide."""
    for side in "pq":
        own = result[side]
        text = f"{own['points']:,} points"
        if own["repeated"]:
            text += f", {own['repeated']:,} of them repeated"
        name = side.upper()
        yield f"{name}  {shared._file(result, side, min(34, 75 - len(text)))}: {text}"
    dimensions = result["dimensions"]
    yield from shared._fill(
        f"{dimensions} dimension{'s' * (dimensions > 1)}; KL, Renyi and entropy from the distances "
        f"to {result['k']} nearest neighbours.".split()
    )
    yield ""
    yield f"{'estimate':<26}{'value':>12}{'std error':>12}{'95 % from':>12}{'to':>12}"
    for row in result["estimates"].values():
        cells = (row[key] for key in ("estimate", "standard_error", "low", "high"))
        figures = "".join(f"{f' {shared._figure(x)}':>12}" for x in cells)
        title = f"{row['title']} [{row['unit']}]" if row["unit"] else row["title"]
        yield f"{shared._cut(title, 26):<26}{figures}"
    yield ""
    yield from shared._fill(
        f"Standard errors from {result['subsamples']} subsamples of a quarter of the points, drawn "
        "without replacement (Shao and Wu 1989); intervals are 1.96 of them on either side. They "
        "say nothing of bias, which grows with the number of dimensions.".split()
    )
    tied = [side.upper() for side in "pq" if result[side]["repeated"]]
    if tied:
        yield ""
        yield from shared._fill(
            f"Repeated points in {' and '.join(tied)}: densities have none. Where k of them "
            "coincide, estimates from neighbours are infinite or undefined. Without --samples, "
            "counts of labels are compared.".split()
        )
    if result["plot"]:
        yield ""
        yield result["plot"]
