"""The picture of `jaxdiv compare --samples`: the points, and the estimates with their errors."""

from pathlib import Path
from typing import Any

import numpy as np

from . import _compare_plot
from . import _picture as picture

_DRAWN = 2000  # points of a side at most, evenly spaced


def save(
    path: Path,
    points: tuple[np.ndarray, np.ndarray],
    names: tuple[str, ...],
    estimates: dict[str, Any],
) -> None:
    """Draw and write. Needs matplotlib."""
    from matplotlib import rc_context

    families, drawable = _compare_plot.fonts()
    labels = [f"{side}: {drawable(name)}" for side, name in zip("PQ", names, strict=True)]

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        (_histograms if points[0].shape[1] == 1 else _scatter)(left, points, labels)
        _intervals(right, estimates)
        legend = figure.legend(loc="outside upper center", ncols=2, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)

    with rc_context({"font.family": families}):
        picture.save(draw, path, width=8.5, height=4)


def _histograms(axes: Any, points: tuple[np.ndarray, np.ndarray], labels: list[str]) -> None:
    edges = np.histogram_bin_edges(np.concatenate(points)[:, 0], bins=40)
    for own, label, color in zip(points, labels, (picture.BLUE, picture.ORANGE), strict=True):
        axes.hist(own[:, 0], edges, density=True, color=color, alpha=0.5, label=label)
    axes.set_xlabel("value")
    axes.set_ylabel("density")


def _scatter(axes: Any, points: tuple[np.ndarray, np.ndarray], labels: list[str]) -> None:
    pooled = np.concatenate(points)
    scale = np.max(np.abs(pooled)) or 1.0
    centre = (pooled / scale).mean(0)
    # The two directions in which the points of both together vary most.
    _, _, directions = np.linalg.svd(
        _thinned(pooled, 2 * _DRAWN) / scale - centre, full_matrices=False
    )
    directions = np.eye(2) if pooled.shape[1] == 2 else directions[:2]
    for own, label, color in zip(points, labels, (picture.BLUE, picture.ORANGE), strict=True):
        x, y = directions @ _thinned(own, _DRAWN).T
        axes.scatter(x, y, s=6, color=color, alpha=0.4, linewidths=0, label=label)
    which = "column" if pooled.shape[1] == 2 else "principal direction"
    axes.set_xlabel(f"{which} 1")
    axes.set_ylabel(f"{which} 2")


def _thinned(points: np.ndarray, count: int) -> np.ndarray:
    if len(points) <= count:
        return points
    return points[np.linspace(0, len(points) - 1, count).round().astype(int)]


def _intervals(axes: Any, estimates: dict[str, Any]) -> None:
    shown = [estimates[name] for name in ("kl_pq", "kl_qp", "renyi_half")]
    rows = np.arange(len(shown))
    finite = [i for i in rows if np.isfinite([shown[i]["low"], shown[i]["high"]]).all()]
    values = np.asarray([shown[i]["estimate"] for i in finite])
    errors = np.asarray([shown[i]["high"] - shown[i]["estimate"] for i in finite])
    style: Any = dict(fmt="o", color="black", capsize=4, markersize=5)
    axes.errorbar(values, np.asarray(finite), xerr=errors, **style)
    for i in set(rows.tolist()) - {int(i) for i in finite}:
        text = "infinite" if np.isinf(shown[i]["estimate"]) else "undefined"
        axes.annotate(text, (0.5, i), xycoords=("axes fraction", "data"), ha="center", va="center")
    axes.axvline(0, color="0.7", linewidth=0.8)
    axes.set_yticks(rows, [row["title"].replace("||", "‖") for row in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", linewidth=0.4, color="0.85")
    axes.set_xlabel(f"estimate, 95 % interval [{shown[0]['unit']}]", loc="right")
