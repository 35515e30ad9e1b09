"""The picture of `jaxdiv compare`: the top symbols under P and Q, and what they contribute."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .tour import picture

DRAWN = 40  # symbols at most, so that the picture stays a page high


def save(
    path: Path,
    symbols: Sequence[str],
    p: np.ndarray,
    q: np.ndarray,
    contributions: np.ndarray,
    names: tuple[str, str],
    unit: str,
    what: str,
) -> None:
    """Draw and write; the symbols from the top down. Needs matplotlib."""
    from matplotlib import rc_context

    families, covered = _fonts()
    symbols = ["".join(c if covered(c) else _escape(c) for c in s) for s in symbols]
    names_shown = ["".join(c if covered(c) else _escape(c) for c in name) for name in names]

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        rows = np.arange(len(symbols))
        style = dict(height=0.38)
        left.barh(rows - 0.2, p, color=picture.BLUE, label=f"P: {names_shown[0]}", **style)
        left.barh(rows + 0.2, q, color=picture.ORANGE, label=f"Q: {names_shown[1]}", **style)
        left.set_xlabel("probability")
        left.set_ylabel(what)
        left.set_yticks(rows, symbols, parse_math=False)
        left.set_ylim(len(symbols) - 0.4, -0.6)
        right.barh(rows, contributions, color=picture.GREEN, height=0.6)
        right.set_xlabel(f"contribution to KL(P ‖ Q) [{unit}]")
        right.tick_params(axis="y", left=False)
        for axes in (left, right):
            axes.tick_params(axis="y", length=0)
            axes.locator_params(axis="x", nbins=5)
            axes.grid(axis="x", linewidth=0.4, color="0.85")
            axes.set_axisbelow(True)
        legend = figure.legend(loc="outside upper center", ncols=2, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)

    with rc_context({"font.family": families}):
        picture.save(draw, path, height=1.5 + 0.3 * max(len(symbols), 3))


def _escape(c: str) -> str:
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def _fonts():
    """Installed families that between them cover most scripts, and whether they have a glyph."""
    from matplotlib import font_manager

    wanted = ("CJK", "Nanum", "Malgun", "Gothic Neo", "Hiragino", "Yu Gothic", "YaHei", "PingFang")
    installed = sorted({font.name for font in font_manager.fontManager.ttflist})
    families = ["DejaVu Sans"]
    families += [name for name in installed if any(word in name for word in wanted)][:3]
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in families]
    return families, lambda c: any(font.get_char_index(ord(c)) for font in fonts)
