"""KL of every library against arbitrary-precision arithmetic on the stored inputs.

Logits a are standard normal and b = a + scale · normal, both then rounded to the dtype; the truth
is that of the rounded numbers. What a call returns is compared as returned: a bfloat16 result
carries bfloat16's rounding.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.oracles import from_logits, kl_divergence

from . import edges, peers, report

SCALES = (1e-4, 1e-3, 1e-1, 1.0, 10.0)
DTYPES = ("float32", "bfloat16")
SIZES = {10: 1000, 1000: 60, 131072: 4}
"""Rows at each length; the oracle needs about a second for a long one."""
QUICK = {10: 100, 1000: 5}

README_SCALES = (1e-4, 1e-1, 10.0)

_ULP = 2.0**-23


def stored(n: int, rows: int, scale: float, dtype: str) -> tuple[peers.Array, peers.Array]:
    """Two arrays (rows, n) of logits in the dtype."""
    random = np.random.default_rng([n, DTYPES.index(dtype)])
    a = random.standard_normal((rows, n))
    b = a + scale * random.standard_normal((rows, n))
    return a.astype(jnp.dtype(dtype)), b.astype(jnp.dtype(dtype))


def measure(
    quick: bool = False,
    sizes: dict[int, int] | None = None,
    names: Sequence[str] = tuple(peers.CALLS),
) -> dict[str, Any]:
    """Everything that the tables show, as JSON holds it.

    sizes: {length: rows} in place of the default; names: the calls to measure, all by default.
    """
    sizes = sizes or (QUICK if quick else SIZES)
    chosen = list(peers.load(names))
    cells: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    summary: list[dict[str, Any]] = []
    for dtype in DTYPES:
        for scale in SCALES:
            inputs = {n: stored(n, rows, scale, dtype) for n, rows in sizes.items()}
            truths = {n: _truth(*pair) for n, pair in inputs.items()}
            for name, peer in chosen:
                if peer is None or {"call": name, "dtype": dtype} in refused:
                    continue
                where = {"call": name, "dtype": dtype, "scale": scale}
                try:
                    found = [
                        (peer.backend.value(peer.logits, a, b), truths[n])
                        for n, (a, b) in inputs.items()
                    ]
                except TypeError:  # scipy.stats takes no bfloat16
                    refused.append({"call": name, "dtype": dtype})
                    continue
                for n, pair in zip(inputs, found, strict=True):
                    cells.append(where | {"n": n} | _statistics([pair]))
                summary.append(where | _statistics(found))
    return report.header("accuracy", quick) | {
        "calls": [name for name, _ in chosen],
        "not_installed": [name for name, peer in chosen if peer is None],
        "refused_dtypes": refused,
        "sizes": {str(n): rows for n, rows in sizes.items()},
        "summary": summary,
        "cells": cells,
        "edges": {
            name: edges.measure(peer, rows=50 if quick else 1000)
            for name, peer in chosen
            if peer is not None
        },
    }


def _truth(a: peers.Array, b: peers.Array) -> peers.Array:
    # float64 is exact enough to judge 2⁻²³ by.
    pairs = zip(a, b, strict=True)
    return np.array([float(kl_divergence(from_logits(x), from_logits(y))) for x, y in pairs])


def _statistics(found: list[tuple[peers.Array, peers.Array]]) -> dict[str, Any]:
    """Over one or several lengths; in the median each length weighs the same.

    A relative error needs a true value above 0: rows that rounding made equal are counted apart,
    as are those of them where the returned value is not 0.
    """
    errors, weights = [], []
    rows = negative = equal = nonzero = 0
    for got, truth in found:
        rows += len(truth)
        negative += int((got < 0).sum())
        equal += int((truth == 0).sum())
        nonzero += int((got[truth == 0] != 0).sum())
        got, truth = got[truth > 0], truth[truth > 0]
        error = abs(got - truth) / truth
        errors.append(np.where(np.isfinite(error), error, np.inf))
        weights.append(np.full(len(truth), 1 / max(len(truth), 1)))
    error, weight = np.concatenate(errors), np.concatenate(weights)
    order = np.argsort(error)
    reached = np.cumsum(weight[order]) >= weight.sum() / 2
    return {
        "rows": rows,
        "median": _finite(error[order][reached][0]) if error.size else None,
        "worst": _finite(error.max()) if error.size else None,
        "negative": negative,
        "equal_rows": equal,
        "equal_but_nonzero": nonzero,
    }


def _finite(x: float) -> float | str:
    return float(x) if math.isfinite(x) else "inf"  # JSON has no infinity


# Tables ----------------------------------------------------------------------------------------


def _pair(cell: dict[str, Any]) -> str:
    if cell["median"] is None:
        return "–"
    return f"{report.number(float(cell['median']))} / {report.number(float(cell['worst']))}"


def _share(cell: dict[str, Any]) -> str:
    return f"{100 * cell['negative'] / cell['rows']:.0f} %"


def _select(cells: list[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    return [cell for cell in cells if all(cell[key] == value for key, value in values.items())]


def _scale(scale: float) -> str:
    return f"±{report.number(scale)}"


def _errors(
    result: dict[str, Any], cells: list[dict[str, Any]], dtypes: Sequence[str], scales: Any
) -> str:
    """A row for each call: median / worst at each scale, and the share of results below 0."""
    head = ["KL from logits"]
    for dtype in dtypes:
        head += [f"{dtype} {_scale(scale)}" for scale in scales]
        head.append(f"< 0 at {_scale(scales[0])}")
    rows = []
    for name in result["calls"]:
        row = [name]
        if name in result["not_installed"]:
            row += ["not installed"] + [""] * (len(head) - 2)
        else:
            for dtype in dtypes:
                if {"call": name, "dtype": dtype} in result["refused_dtypes"]:
                    row += ["TypeError"] * (len(scales) + 1)
                    continue
                mine = _select(cells, call=name, dtype=dtype)
                row += [_pair(_select(mine, scale=scale)[0]) for scale in scales]
                row.append(_share(_select(mine, scale=scales[0])[0]))
        rows.append(row)
    return report.markdown(head, rows)


def _legend(result: dict[str, Any]) -> str:
    ours = _select(result["summary"], call=peers.OURS)
    worst = max((float(cell["worst"]) for cell in ours if cell["worst"] is not None), default=0)
    lengths = ", ".join(result["sizes"])
    return (
        f"Relative error, median / worst (1 is 100 %, one ulp of float32 is 1.2e-7; jaxdiv's worst "
        f"is {worst / _ULP:.1f} ulp), and the share of results below 0. Logits are standard "
        f"normal, p's and q's differ by normal noise of the given size, rows have "
        f"{lengths} entries, and the truth is that of the stored numbers; "
        "rows that rounding to the dtype made equal have no relative error and are left out of it."
    )


def readme_block(result: dict[str, Any]) -> str:
    """The part that the README shows, made from the JSON alone."""
    return "\n\n".join(
        [
            _errors(result, result["summary"], DTYPES, README_SCALES),
            _legend(result),
            edges.table(result),
            edges.LEGEND,
        ]
    )


def table(result: dict[str, Any]) -> str:
    """All of it: every dtype, scale and length."""
    parts = ["# Accuracy", report.circumstances(result), _legend(result)]
    for dtype in DTYPES:
        parts.append(f"## {dtype}, all lengths (each weighs the same in the median)")
        parts.append(_errors(result, result["summary"], [dtype], SCALES))
        for n, rows in result["sizes"].items():
            parts.append(f"### {dtype}, {n} entries, {rows} rows")
            cells = _select(result["cells"], n=int(n))
            parts.append(_errors(result, cells, [dtype], SCALES))
    parts += ["## Edges", edges.table(result), edges.LEGEND]
    return "\n\n".join(parts)
