"""What the pictures share. Colours are Okabe and Ito's, told apart by colour-blind readers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_CORNERS = np.asarray([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


def save(draw: Callable[[Any], None], path: Path, width: float = 7.5, height: float = 3.6) -> None:
    """Draw on a new figure and write it; needs matplotlib."""
    import matplotlib.figure
    from matplotlib import rc_context

    style: Any = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        figure = matplotlib.figure.Figure((width, height), layout="constrained")
        draw(figure)
        figure.savefig(path, dpi=160)


def simplex(steps: int) -> np.ndarray:
    """Points of the simplex of three outcomes, inside it."""
    i, j = np.meshgrid(np.arange(1, steps), np.arange(1, steps), indexing="ij")
    keep = i + j < steps
    a, b = i[keep] / steps, j[keep] / steps
    return np.stack([a, b, 1 - a - b], -1)


def flat(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points of the simplex lie in an equilateral triangle."""
    x, y = (points @ _CORNERS).T
    return x, y


def triangle(axes: Any, labels: tuple[str, str, str]) -> None:
    """The simplex's edges and the names of its corners, instead of axes."""
    closed = np.concatenate([_CORNERS, _CORNERS[:1]])
    axes.plot(*closed.T, color="black", linewidth=0.8)
    for (x, y), label, (dx, dy) in zip(_CORNERS, labels, ((0, -12), (0, -12), (0, 5)), strict=True):
        axes.annotate(label, (x, y), (dx, dy), textcoords="offset points", ha="center", fontsize=9)
    axes.set_aspect("equal")
    axes.axis("off")
