"""Forward and reverse KL: one covers, one seeks a mode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxdiv as jd

from .. import _picture as picture
from .page import Page
from .training import descend

NAME = "fits"
TITLE = "Forward or reverse KL?"


WEIGHTS, MEANS, DEVIATIONS = (0.6, 0.4), (-3.0, 3.0), (0.6, 0.8)
STARTS = (-1.0, 1.0)


@functools.cache
def _fits():
    """The grid, the target's log density, the fits by name, and the model."""
    x = jnp.linspace(-12, 12, 481)

    def normal(loc, scale):
        return -0.5 * ((x - loc) / scale) ** 2 - jnp.log(scale)

    parts = zip(WEIGHTS, MEANS, DEVIATIONS, strict=True)
    target = functools.reduce(jnp.logaddexp, [jnp.log(w) + normal(m, s) for w, m, s in parts])
    p = jd.Logits(target)

    def model(w):
        return jd.Logits(normal(w[0], jnp.exp(w[1])))

    fitted = {}
    for start in STARTS:
        w = jnp.asarray([start, 0.0])
        fitted["forward", start] = descend(lambda w: jd.kl_divergence(p, model(w)), w)
        fitted["reverse", start] = descend(lambda w: jd.kl_divergence(model(w), p), w)
    return x, target, fitted, model


def tell(page: Page) -> None:
    """One normal fitted to a mixture of two, on a grid, in both directions."""
    x, target, fitted, model = _fits()
    p = jax.nn.softmax(target)
    mean = float(jnp.sum(p * x))
    deviation = float(jnp.sqrt(jnp.sum(p * (x - mean) ** 2)))
    page.text(
        "p is a mixture of two normals, 0.6 at -3 and 0.4 at 3. One normal q is fitted to it by "
        "Adam, from mean -1 and from mean 1, deviation 1:"
    )
    rows = []
    for (name, start), w in sorted(fitted.items()):
        q = model(w)
        rows.append(
            (
                "KL(p || q), forward" if name == "forward" else "KL(q || p), reverse",
                f"{start:g}",
                f"{float(w[0]):.3f}",
                f"{float(jnp.exp(w[1])):.3f}",
                f"{float(jd.kl_divergence(jd.Logits(target), q)):.3f}",
                f"{float(jd.kl_divergence(q, jd.Logits(target))):.3f}",
            )
        )
    page.table(("minimised", "start", "mean", "deviation", "KL(p || q)", "KL(q || p)"), rows)
    page.text(
        f"Forward KL finds the moments of p, mean {mean:.3f} and deviation {deviation:.3f}: it "
        "covers both modes, and the valley between them. Reverse KL punishes q where p has no "
        "mass, and settles on one mode, that nearer to the start. From -7 to 7:"
    )
    page.gap()
    shown = slice(100, 381, 5)
    page.curve("p", np.asarray(p)[shown].tolist())
    for name, start in (("forward", 1.0), ("reverse", -1.0), ("reverse", 1.0)):
        q = jax.nn.softmax(model(fitted[name, start]).logits)
        page.curve(f"{name} q", np.asarray(q)[shown].tolist())


def _two(figure) -> None:
    x, target, fitted, model = _fits()
    step = float(x[1] - x[0])
    axes = figure.subplots()
    density = np.asarray(jax.nn.softmax(target)) / step
    axes.fill_between(np.asarray(x), density, color="0.85", linewidth=0)
    axes.annotate("p, a mixture", (-6.3, 0.25), color="0.35", fontsize=12)
    for name, start, colour, label, at in (
        ("forward", 1.0, picture.BLUE, "minimises\nKL(p ‖ q):\ncovers", (-0.95, 0.15)),
        ("reverse", -1.0, picture.ORANGE, "minimises KL(q ‖ p):\nseeks a mode", (-2.3, 0.5)),
        ("reverse", 1.0, picture.ORANGE, "the same, from\nanother start", (4.0, 0.36)),
    ):
        values = np.asarray(jax.nn.softmax(model(fitted[name, start]).logits)) / step
        axes.plot(np.asarray(x), values, color=colour, linewidth=2)
        axes.annotate(label, at, color=colour, fontsize=12)
    axes.set_xlabel("x")
    axes.set_ylabel("density")
    axes.set_xlim(-7, 7)
    axes.set_ylim(0, None)


draw = {"fits": _two}
