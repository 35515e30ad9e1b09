"""The picture of `jaxdiv compare`: the top symbols under P and Q, and what they contribute."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _picture as picture

DRAWN = 30  # symbols at most, so that the picture stays a page high


def save(
    path: Path,
    symbols: Sequence[str],
    p: np.ndarray,
    q: np.ndarray,
    contributions: np.ndarray,
    names: tuple[str, str],
    unit: str,
    what: str,
    note: str = "",
) -> None:
    """Draw and write; the symbols from the top down. Needs matplotlib."""
    from matplotlib import rc_context

    families, drawable = fonts()
    ticks = [drawable(symbol) for symbol in symbols]
    ticks = [tick if len(tick) <= 24 else f"{tick[:23]}…" for tick in ticks]

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        rows = np.arange(len(ticks))
        style = dict(height=0.38)
        left.barh(rows - 0.2, p, color=picture.BLUE, label=f"P: {drawable(names[0])}", **style)
        left.barh(rows + 0.2, q, color=picture.ORANGE, label=f"Q: {drawable(names[1])}", **style)
        left.set_xlabel("probability")
        left.set_ylabel(what)
        left.set_yticks(rows, ticks, parse_math=False)
        left.set_ylim(len(ticks) - 0.4, -0.6)
        right.barh(rows, contributions, color=picture.GREEN, height=0.6)
        # Aligned right: beside long symbols the panel is narrower than its label.
        right.set_xlabel(f"part of KL(P ‖ Q) [{unit}]" + (f"\n{note}" if note else ""), loc="right")
        for axes in (left, right):
            axes.tick_params(axis="y", length=0)
            axes.locator_params(axis="x", nbins=4)
            axes.grid(axis="x", linewidth=0.4, color="0.85")
            axes.set_axisbelow(True)
        legend = figure.legend(loc="outside upper center", ncols=2, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)

    with rc_context({"font.family": families}):
        picture.save(draw, path, height=1.5 + 0.3 * max(len(ticks), 3))


def fonts() -> tuple[list[str], Callable[[str], str]]:
    """Installed fonts for most scripts, and what writes as an escape what they have no glyph of."""
    from matplotlib import font_manager

    wanted = ("CJK", "Nanum", "Malgun", "Gothic Neo", "Hiragino", "Yu Gothic", "YaHei", "PingFang")
    installed = sorted({font.name for font in font_manager.fontManager.ttflist})
    families = ["DejaVu Sans"]
    families += [name for name in installed if any(word in name for word in wanted)][:3]
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in families]

    def drawable(text: str) -> str:
        return "".join(
            c if any(font.get_char_index(ord(c)) for font in fonts) else ascii(c)[1:-1]
            for c in text
        )

    return families, drawable
