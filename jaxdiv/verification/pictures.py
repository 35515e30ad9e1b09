"""Pictures of a divergence: the numbers of each, from the public verbs, and how they are drawn.

    over_simplex  bowl      D over the simplex of three outcomes, smallest at p
    spectra       spectrum  the Hessian's eigenvalues at p = q inside their bounds
    slopes        gradient  how fast the gradient vanishes towards p
    jensen_path   jensen    D along a path against its chord; a counterexample's own path
                  sides     both sides of a counterexample

Matplotlib is imported where something is drawn.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _picture as picture
from .._numerics import QUICKLY
from .properties import CONVEXITY, Property
from .subject import CHARTS, Subject
from .verdict import Finding, Witness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = (0.5, 0.3, 0.2)
_STEPS = 100  # of the simplex's grid
_BATCH = 4096  # rows of a call, so that all pictures share what is compiled
_STYLE: Any = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}
# What is drawn where no counterexample says where to look: p, another p, and two q.
_ENDS = {"p": P, "p0": P, "p1": (0.1, 0.2, 0.7), "q": (0.2, 0.3, 0.5)}
_ENDS |= {"q0": (0.75, 0.2, 0.05), "q1": (0.04, 0.26, 0.7)}


def unit(subject: Subject) -> str:
    """Of its values: "nats" or "root nats" for what is made of logarithms, else nothing."""
    divergence = subject.divergence
    if divergence is None or not divergence.logarithmic:
        return ""
    return "nats" if float(divergence.in_base(jnp.ones(()), 4.0)) == 0.25 else "root nats"


def evaluated(subject: Subject, p: np.ndarray, q: np.ndarray, dtype: Any) -> np.ndarray:
    """D of rows of probabilities, computed in a dtype."""
    parts = []
    for start in range(0, len(p), _BATCH):
        rows = np.minimum(np.arange(start, start + _BATCH), len(p) - 1)
        both = (jnp.asarray(x[rows].astype(dtype)) for x in (p, q))
        parts.append(np.asarray(subject.values(CHARTS[0], *both), np.float64))
    return np.concatenate(parts)[: len(p)]


def over_simplex(subject: Subject, dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points q of the simplex, with D(P, q) and D(q, P)."""
    i, j = np.meshgrid(np.arange(_STEPS + 1), np.arange(_STEPS + 1), indexing="ij")
    keep = i + j <= _STEPS
    q = np.stack([i[keep], j[keep], _STEPS - i[keep] - j[keep]], -1) / _STEPS
    # Less than a pixel inside the edge, where a function may well be infinite or undefined.
    q = np.maximum(q, 1e-3)
    q /= q.sum(-1, keepdims=True)
    p = np.broadcast_to(np.asarray(P), q.shape)
    both = evaluated(subject, np.concatenate([p, q]), np.concatenate([q, p]), dtype)
    return q, both[: len(q)], both[len(q) :]


def _by_q(subject: Subject, chart: str, p: Any, q: Any) -> Any:
    return jax.grad(lambda q: jnp.sum(subject.value(chart, p, q)))(q)


_slope = jax.jit(_by_q, static_argnums=(0, 1), compiler_options=QUICKLY)


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICKLY)
def _applied(subject: Subject, p: Any, v: Any) -> Any:
    """The Hessian by q at p = q, applied."""
    return jax.jvp(lambda q: _by_q(subject, CHARTS[0], p, q), (p,), (v,))[1]


def _tangent(v: np.ndarray) -> np.ndarray:
    return v - v.mean(-1, keepdims=True)


def spectra(subject: Subject, dtype: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random p of 8 outcomes, each with the Hessian's eigenvalues on the tangent, ascending."""
    generator, n = np.random.default_rng(170), 8
    weights = np.exp(generator.standard_normal((3, n)) * [[1.0], [1.5], [2.0]])
    p = (weights / weights.sum(-1, keepdims=True)).astype(dtype)
    units = np.tile(np.eye(n, dtype=dtype), (3, 1))
    applied = _applied(subject, jnp.asarray(np.repeat(p, n, axis=0)), jnp.asarray(units))
    hessians = np.asarray(applied, np.float64).reshape(3, n, n)
    basis = np.linalg.svd(_tangent(np.eye(n)))[0][:, :-1]  # orthonormal, of vectors that add to 0
    inside = basis.T @ hessians @ basis
    found = np.linalg.eigvalsh((inside + np.swapaxes(inside, -1, -2)) / 2)
    return list(zip(p.astype(np.float64), found, strict=True))


def slopes(subject: Subject, dtype: Any) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """By chart: distances from p along random directions, the gradient's norm there, and at p.

    The distance is that of the numbers as they are stored; directions and norms are of the
    tangent.
    """
    generator = np.random.default_rng(2)
    weights = np.exp(generator.standard_normal(8))
    start = weights / weights.sum()
    directions = _tangent(generator.standard_normal((4, 1, 8)))
    sizes = np.concatenate([[0], np.logspace(-6, 0, 25)])[:, None]
    found = {}
    for chart in CHARTS:
        if chart == CHARTS[0]:
            x, reach = start.astype(dtype), -0.5 / np.min(directions / start, -1, keepdims=True)
        else:
            x = np.log(start).astype(dtype)
            reach = 3 / np.linalg.norm(directions, axis=-1, keepdims=True)
        y = (x + sizes * reach * directions).astype(dtype)
        flat = y.reshape(-1, 8)
        still = jnp.asarray(np.broadcast_to(x, flat.shape))
        slope = np.asarray(_slope(subject, chart, still, jnp.asarray(flat)), np.float64)
        norm = np.linalg.norm(_tangent(slope), axis=-1).reshape(y.shape[:-1])
        away = np.linalg.norm(_tangent(y.astype(np.float64) - x.astype(np.float64)), axis=-1)
        found[chart] = away[:, 1:], norm[:, 1:], float(norm[0, 0])
    return found


@dataclasses.dataclass(frozen=True)
class JensenPath:
    """D along a path, t from 0 to 1."""

    title: str
    t: np.ndarray
    curve: np.ndarray
    chord: np.ndarray
    witness: bool


def jensen_path(subject: Subject, finding: Finding, dtype: Any) -> JensenPath | None:
    """The path of a finding on convexity; its counterexample's, if there is one.

    None for findings on anything else, or where D isn't finite at both ends.
    """
    for prop in CONVEXITY:
        if (prop.claim, prop.chart) == (finding.claim, finding.chart):
            break
    else:
        return None
    word, witness = finding.word, isinstance(finding.evidence, Witness)
    t = np.linspace(0, 1, 129)
    if isinstance(finding.evidence, Witness):
        logs = {name: np.asarray(row) for name, row in finding.evidence.rows.items()}
    elif finding.holds is False:
        # Nothing could confirm the violation, and its rows are not kept: one like it.
        word, logs = "violated", _violation(subject, prop, dtype)
    else:
        logs = {name: np.log(_ENDS[name]) for name in prop.rows}
    curve = evaluated(subject, *_along(prop, logs, t), dtype)
    if not np.isfinite(curve[[0, -1]]).all():
        return None
    moving = prop.claim.removeprefix("convex in ")
    title = f"convex in {moving}'s logits" if prop.chart == CHARTS[1] else f"convex in {moving}"
    chord = (1 - t) * curve[0] + t * curve[-1]
    return JensenPath(f"{title}: {word}", t, curve, chord, witness)


def _along(prop: Property, logs: dict[str, np.ndarray], t: np.ndarray) -> tuple[Any, Any]:
    """Rows of p and q along a path, between logarithms of weights."""

    def along(name: str) -> np.ndarray:
        if name in logs:
            return np.broadcast_to(softmax(logs[name]), (len(t), logs[name].shape[-1]))
        start, end = logs[f"{name}0"], logs[f"{name}1"]
        if prop.chart == CHARTS[1]:
            return softmax(np.outer(1 - t, start) + np.outer(t, end))
        return np.outer(1 - t, softmax(start)) + np.outer(t, softmax(end))

    return along("p"), along("q")


def _violation(subject: Subject, prop: Property, dtype: Any) -> dict[str, np.ndarray]:
    """Of random rows those between which D rises the most above the mean of its ends."""
    generator = np.random.default_rng(0)
    rows = [
        {name: size * generator.standard_normal(3) for name in prop.rows}
        for size in np.linspace(0.5, 4, 400)
    ]
    paths = [_along(prop, logs, np.asarray([0, 0.5, 1])) for logs in rows]
    p, q = (np.concatenate(side) for side in zip(*paths, strict=True))
    first, middle, last = evaluated(subject, p, q, dtype).reshape(-1, 3).T
    gap = np.where(np.isfinite(first + middle + last), middle - (first + last) / 2, -np.inf)
    return rows[int(np.argmax(gap))]


def softmax(row: np.ndarray) -> np.ndarray:
    """Probabilities from logarithms of weights, in float64 whatever JAX is set to."""
    weights = np.exp(row - row.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _drawn(draw: Callable[[Any], None], width: float, height: float) -> "Figure":
    import matplotlib.figure
    from matplotlib import rc_context

    with rc_context(_STYLE):
        figure = matplotlib.figure.Figure((width, height), layout="constrained")
        draw(figure)
    return figure


def _with(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def save(figure: "Figure", file: Any) -> None:
    """Write a PNG."""
    from matplotlib import rc_context

    with rc_context(_STYLE):  # ticks are made as they are drawn
        figure.savefig(file, format="png", dpi=150)


def _levels(values: np.ndarray) -> list[float]:
    """Contours with similar areas between them, at round numbers."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return []
    cuts = np.quantile(finite, (0.02, 0.07, 0.15, 0.27, 0.42, 0.6, 0.78, 0.92))
    levels = {_rounded(float(x)) for x in cuts}
    if finite.min() >= -1e-6:
        levels = {0.0} | {x for x in levels if x > 0}
    return sorted(levels) if len(levels) > 2 else []


def _rounded(x: float) -> float:
    if x == 0:
        return x
    power = 10.0 ** np.floor(np.log10(abs(x)))
    digits = min((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10), key=lambda d: abs(d - abs(x) / power))
    return float(f"{np.sign(x) * digits * power:.3g}")


def bowl(q: np.ndarray, forward: np.ndarray, backward: np.ndarray, unit: str) -> "Figure | None":
    """D(p, q) and D(q, p) over the simplex of q; None for a function without any relief."""
    levels = _levels(np.concatenate([forward, backward]))
    if not levels:
        return None

    def draw(figure: Any) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import BoundaryNorm
        from matplotlib.tri import Triangulation

        extend: Any = "max" if levels[0] == 0 else "both"
        norm = BoundaryNorm(levels, 256, extend=extend)
        mesh = Triangulation(*picture.flat(q))
        pair = figure.subplots(1, 2)
        figure.get_layout_engine().set(wspace=0.06)
        for axes, values, label in zip(
            pair, (forward, backward), ("D(p ‖ q)", "D(q ‖ p)"), strict=True
        ):
            mesh.set_mask(np.isnan(values)[mesh.triangles].any(-1))
            # Infinity is drawn as the colour above all levels.
            shown = np.clip(
                np.nan_to_num(values), *(10 * np.asarray([-1, 1]) * max(map(abs, levels)))
            )
            axes.tricontourf(mesh, shown, levels=levels, cmap="cividis_r", norm=norm, extend=extend)
            axes.tricontour(
                mesh, shown, levels=levels[1:], colors="white", linewidths=0.5, linestyles="solid"
            )
            picture.triangle(axes, ("q₁ = 1", "q₂ = 1", "q₃ = 1"))
            _mark(axes)
            axes.set_title(label, y=-0.2, fontsize=12)
        scale = ScalarMappable(norm, "cividis_r")
        figure.colorbar(
            scale, ax=pair, shrink=0.9, ticks=levels, extend=extend, format="%g", label=unit or "D"
        )

    return _drawn(draw, 7.5, 3.3)


def _mark(axes: Any) -> None:
    """Where q = p, legible on any colour."""
    from matplotlib.patheffects import withStroke

    (x,), (y,) = picture.flat(np.asarray([P]))
    axes.plot(x, y, "o", color=picture.ORANGE, markeredgecolor="white", markersize=8)
    text = axes.annotate("q = p", (x, y), (8, 6), textcoords="offset points", fontsize=10)
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def spectrum(
    found: Sequence[tuple[np.ndarray, np.ndarray]], coefficient: float, unit: str
) -> "Figure":
    """Eigenvalues as dots, the intervals between the c/p_i as bars, the lower bound as a line."""

    def draw(figure: Any) -> None:
        row = figure.subplots(1, len(found), sharey=True)
        for axes, (p, values) in zip(row, found, strict=True):
            ends = coefficient / np.sort(p)[::-1]
            at = np.arange(1, len(p))
            axes.vlines(at, ends[:-1], ends[1:], color="0.75", linewidth=7, label="interlacing")
            axes.plot(at, values, "o", color=picture.BLUE, markersize=5, label="eigenvalue")
            least = coefficient * max(2, 1 / p.max())
            axes.axhline(least, color=picture.ORANGE, linestyle="--", label="lower bound")
            axes.set_title(f"largest p: {p.max():.2f}", fontsize=11)
            axes.set_xticks(at)
            axes.set_yscale("log")
        row[len(found) // 2].set_xlabel("eigenvalues on the simplex, in order")
        row[0].set_ylabel(_with("curvature", unit))
        labels = row[0].get_legend_handles_labels()
        figure.legend(*labels, loc="outside upper center", ncols=3, frameon=False)

    return _drawn(draw, 7.5, 3.8)


def gradient(found: dict[str, tuple[np.ndarray, np.ndarray, float]], unit: str) -> "Figure":
    """The gradient's norm against the distance, a line a direction."""

    def draw(figure: Any) -> None:
        colours = (picture.BLUE, picture.ORANGE, picture.GREEN, picture.PINK)
        for axes, (chart, (away, norm, at_p)) in zip(
            figure.subplots(1, 2), found.items(), strict=True
        ):
            for x, y, colour, marker in zip(away, norm, colours, "os^D", strict=True):
                positive = y > 0
                axes.loglog(x[positive], y[positive], marker, color=colour, markersize=3.5)
            x = away[0]
            guide = np.nanmedian(norm[:, len(x) // 2] / away[:, len(x) // 2])
            axes.plot(x, 0.1 * guide * x, "--", color="0.4")
            middle = len(x) // 2
            axes.annotate(
                "proportional", (x[middle], 0.1 * guide * x[middle]), (6, -12),
                textcoords="offset points", color="0.4", fontsize=10,
            )  # fmt: skip
            value = "exactly 0" if at_p == 0 else f"{at_p:.1e}"
            axes.annotate(f"at q = p: {value}", (0.04, 0.92), xycoords="axes fraction")
            axes.set_title(chart, fontsize=11)
            axes.set_xlabel(
                "distance of q from p" if chart == CHARTS[0] else "distance between logits"
            )
        figure.axes[0].set_ylabel(_with("norm of the gradient", unit))

    return _drawn(draw, 7.5, 3.6)


def jensen(paths: Sequence[JensenPath], unit: str) -> "Figure":
    """Every path in a panel, the last cell the legend."""

    def draw(figure: Any) -> None:
        rows = -(-(len(paths) + 1) // 3)
        cells = figure.subplots(rows, 3, squeeze=False).ravel()
        for axes, path in zip(cells, paths, strict=False):
            t, curve, chord = path.t, path.curve, path.chord
            style = dict(interpolate=True, linewidth=0, alpha=0.35)
            axes.fill_between(t, curve, chord, where=curve <= chord, color=picture.GREEN, **style)
            axes.fill_between(t, curve, chord, where=curve > chord, color=picture.ORANGE, **style)
            axes.plot(t, curve, color=picture.BLUE, linewidth=2)
            axes.plot(t, chord, color="black", linestyle="--", linewidth=1.2)
            if path.witness:
                middle = len(t) // 2
                axes.plot(t[[middle] * 2], [curve[middle], chord[middle]], "k-o", markersize=4)
            axes.set_title(path.title, fontsize=10)
            axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
            axes.locator_params(axis="y", nbins=5)
        for index in range(len(paths)):
            if index % 3 == 0:
                cells[index].set_ylabel(_with("D", unit))
            if index + 3 >= len(paths):
                cells[index].set_xlabel("t along the path")
        for axes in cells[len(paths) :]:
            axes.axis("off")
        _key(cells[-1], paths)

    return _drawn(draw, 7.5, 2.5 * -(-(len(paths) + 1) // 3))


def _key(axes: Any, paths: Sequence[JensenPath]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [
        Line2D([], [], color=picture.BLUE, linewidth=2, label="D along the path"),
        Line2D([], [], color="black", linestyle="--", label="its chord"),
    ]
    for colour, word, drawn in (
        (picture.GREEN, "below", any((path.curve < path.chord).any() for path in paths)),
        (picture.ORANGE, "above", any((path.curve > path.chord).any() for path in paths)),
    ):
        if drawn:
            entries.append(Patch(color=colour, alpha=0.35, linewidth=0, label=f"{word} the chord"))
    if any(path.witness for path in paths):
        entries.append(
            Line2D([], [], color="black", marker="o", markersize=4, label="the counterexample")
        )
    axes.legend(handles=entries, loc="center", frameon=False, fontsize=10)


@dataclasses.dataclass(frozen=True)
class Sides:
    """Two numbers with their names, of which the first should not be the larger."""

    title: str
    names: tuple[str, str]
    values: tuple[float, float]


def sides(pairs: Sequence[Sides], unit: str) -> "Figure":
    """A pair of bars for each, to its own scale."""

    def draw(figure: Any) -> None:
        rows = figure.subplots(len(pairs), 1, squeeze=False).ravel()
        for axes, pair in zip(rows, pairs, strict=True):
            bars = axes.barh((0, 1), pair.values, color=(picture.ORANGE, picture.BLUE), height=0.75)
            axes.bar_label(bars, [f"{value:.6g}" for value in pair.values], padding=4, fontsize=10)
            low, high = min(0.0, *pair.values), max(0.0, *pair.values)
            room = 0.2 * (high - low or 1.0)
            axes.set_xlim(low - room if low < 0 else 0, high + room)
            axes.axvline(0, color="black", linewidth=1.6)
            axes.set_yticks((0, 1), pair.names, fontsize=10)
            axes.set_ylim(1.6, -0.6)
            axes.set_title(pair.title, loc="left", fontsize=11, fontweight="bold")
            axes.set_xticks([])
            axes.spines[:].set_visible(False)
            axes.tick_params(axis="y", length=0)
        rows[-1].set_xlabel(f"{_with('from values of D', unit)}, each pair to its own scale")

    return _drawn(draw, 7.5, 0.5 + 1.0 * len(pairs))
