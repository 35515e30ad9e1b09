"""KL: not symmetric, no triangle inequality, minimal and convex at p = q."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxdiv as jd

from .. import _picture as picture
from .page import Page

NAME = "divergence"
TITLE = "Why is KL smallest, and convex, at p = q?"

P = (0.5, 0.3, 0.2)


def tell(page: Page) -> None:
    """Numbers for each property, the local ones by autodiff."""
    p, q, r = jnp.asarray([0.9, 0.1]), jnp.asarray([0.5, 0.5]), jnp.asarray([0.1, 0.9])
    kl = jd.kl_divergence
    page.text(
        "A divergence is not a distance. Swapping the arguments changes it, and a detour may "
        "be shorter. With a = (0.9, 0.1), b = (0.5, 0.5), c = (0.1, 0.9), in nats:"
    )
    page.table(
        ("", "first", "second"),
        (
            ("KL(a || b) and KL(b || a)", kl(p, q), kl(q, p)),
            ("KL(a || c) and KL(a || b) + KL(b || c)", kl(p, r), kl(p, q) + kl(q, r)),
        ),
    )
    p = jnp.asarray(P)
    slope = jax.grad(kl, 1)(p, p)
    hessian = jax.hessian(kl, 1)(p, p)
    logits = jnp.log(p)
    in_logits = jax.hessian(lambda z: kl(p, jd.Logits(z)))(logits)
    page.text(
        "It is 0 exactly where q = p. At p = (0.5, 0.3, 0.2) automatic differentiation gives:"
    )
    page.table(
        ("with respect to q, at q = p", "1", "2", "3"),
        (
            ("gradient", *slope),
            ("Hessian's diagonal", *jnp.diag(hessian)),
            ("1/p", *(1 / p)),
            ("Hessian's eigenvalues", *jnp.linalg.eigvalsh(hessian)),
            ("the same in logits (0 along ones)", *jnp.abs(jnp.linalg.eigvalsh(in_logits))),
        ),
    )
    page.text(
        "A zero gradient and a positive definite Hessian, diag(1/p): a minimum. And it is the "
        "only one, because KL is convex. Along the segment from q = (0.1, 0.1, 0.8) "
        "to (0.8, 0.15, 0.05), KL(p || q) stays below its chord:"
    )
    start, end = jnp.asarray([0.1, 0.1, 0.8]), jnp.asarray([0.8, 0.15, 0.05])
    t = jnp.linspace(0, 1, 6)[:, None]
    value = kl(p, (1 - t) * start + t * end)
    chord = (1 - t[:, 0]) * value[0] + t[:, 0] * value[-1]
    page.table(
        ("t", "KL(p || q)", "chord", "below it by"),
        zip((f"{float(x):.1f}" for x in t[:, 0]), value, chord, chord - value, strict=True),
    )
    keys = jax.random.split(jax.random.key(0), 3)
    a, b = (jax.random.dirichlet(k, jnp.ones(3), (100_000,)) for k in keys[:2])
    s = jax.random.uniform(keys[2], (100_000, 1))
    gap = (1 - s[:, 0]) * kl(p, a) + s[:, 0] * kl(p, b) - kl(p, (1 - s) * a + s * b)
    page.text(
        "On the whole simplex of three outcomes: of 100000 random segments, the one that "
        f"comes closest to its chord stays below it by {float(gap.min()):.1e}. "
        "`jaxdiv verify` checks all this for every divergence."
    )


def _bowl(figure) -> None:
    """KL(p || q) and KL(q || p) over the simplex of q."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm

    grid = picture.simplex(160)
    p = jnp.asarray(P)
    forward = np.asarray(jd.kl_divergence(p, jnp.asarray(grid)))
    backward = np.asarray(jd.kl_divergence(jnp.asarray(grid), p))
    x, y = picture.flat(grid)
    levels = [0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.6]
    norm = BoundaryNorm(levels, 256, extend="max")
    pair = figure.subplots(1, 2)
    for axes, values, label in zip(
        pair, (forward, backward), ("KL(p ‖ q)", "KL(q ‖ p)"), strict=True
    ):
        axes.tricontourf(x, y, values, levels=levels, cmap="cividis_r", norm=norm, extend="max")
        axes.tricontour(x, y, values, levels=levels[1:], colors="white", linewidths=0.5)
        px, py = picture.flat(np.asarray([P]))
        axes.plot(px, py, "o", color=picture.ORANGE, markersize=7)
        axes.annotate("q = p", (px[0], py[0]), (7, 5), textcoords="offset points", fontsize=10)
        picture.triangle(axes, ("q₁ = 1", "q₂ = 1", "q₃ = 1"))
        axes.text(0.5, -0.16, label, ha="center", fontsize=12)
    scale = ScalarMappable(norm, "cividis_r")
    figure.colorbar(scale, ax=pair, shrink=0.9, ticks=levels, extend="max", label="nats")


draw = {"bowl": _bowl}
