"""What a classifier, and a regression, should minimise."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxdiv as jd

from .. import _picture as picture
from .page import Page

NAME = "losses"
TITLE = "What should be minimised?"


def _squared(z: jax.Array) -> jax.Array:
    return (jax.nn.sigmoid(z) - 1) ** 2 / 2


def _binary(z: jax.Array) -> jax.Array:
    return jd.cross_entropy(jd.Probs(jnp.asarray([0.0, 1.0])), jd.Logits(jnp.stack([0 * z, z])))


def _softmax_squared(z: jax.Array) -> jax.Array:
    return jd.squared_euclidean(jd.Labels(jnp.asarray(0)), jd.Logits(z)) / 2


def _softmax_entropy(z: jax.Array) -> jax.Array:
    return jd.cross_entropy(jd.Labels(jnp.asarray(0)), jd.Logits(z))


def tell(page: Page) -> None:
    """Gradients where the answer is wrong and confident; regression; several labels."""
    margins = jnp.asarray([4.0, 2, 0, -2, -4, -8, -16])
    binary = jax.vmap(jax.grad(_binary))(margins)
    squared = jax.vmap(jax.grad(_squared))(margins)
    three = jnp.stack([margins, 0 * margins, 0 * margins], -1)
    soft = jax.vmap(jax.grad(_softmax_entropy))(three)[:, 0]
    soft_squared = jax.vmap(jax.grad(_softmax_squared))(three)[:, 0]
    page.text(
        "The right answer is class 1 and the network says z for it, against 0. The gradient "
        "with respect to z, by autodiff, of cross-entropy and of half the squared error of "
        "the probability; on the left one sigmoid, on the right a softmax over three:"
    )
    page.table(
        ("z", "sigmoid(z)", "CE", "squared", "softmax CE", "softmax sq."),
        (
            (f"{float(m):g}", jax.nn.sigmoid(m), a, b, c, d)
            for m, a, b, c, d in zip(margins, binary, squared, soft, soft_squared, strict=True)
        ),
    )
    page.text(
        "Wrong and confident, at the bottom, is where a network must learn the most. "
        "Cross-entropy's gradient there is -1; squared error's is multiplied by p (1 - p) and "
        "vanishes. Its size by z from -8 (wrong) to 8 (right):"
    )
    z = jnp.linspace(-8, 8, 61)
    page.gap()
    page.curve("CE", np.abs(jax.vmap(jax.grad(_binary))(z)).tolist())
    page.curve("squared x 6", (6 * np.abs(jax.vmap(jax.grad(_squared))(z))).tolist())
    grid = jnp.linspace(-30, 30, 60_001)
    step = float(grid[1] - grid[0])
    rows = []
    for a, b in ((0.0, 0.5), (1.0, -1.0), (-1.5, 2.0)):
        normal = jd.kl_divergence(
            jd.Logits(-((grid - a) ** 2) / 2), jd.Logits(-((grid - b) ** 2) / 2)
        )
        at = jd.Labels(jnp.asarray(round((a + 30) / step)))
        laplace = jd.cross_entropy(at, jd.Logits(-jnp.abs(grid - b))) + np.log(step)
        rows.append(
            (f"{a:g}, {b:g}", normal, (a - b) ** 2 / 2, laplace, abs(a - b) + float(np.log(2)))
        )
    page.text(
        "In a regression squared error is right: it is the KL between unit normals, and "
        "absolute error is the cross-entropy of a Laplace density. On a fine grid, a the "
        "answer and b the prediction:"
    )
    page.table(("a, b", "KL of normals", "(a-b)^2/2", "Laplace CE", "|a-b| + log 2"), rows)
    z = jnp.asarray([2.0, -1.0, 0.5])
    y = jnp.asarray([1.0, 0.0, 1.0])
    each = jd.cross_entropy(
        jd.Probs(jnp.stack([1 - y, y], -1)), jd.Logits(jnp.stack([0 * z, z], -1))
    )
    eight = [jnp.asarray([(k >> i) & 1 for i in range(3)]) for k in range(8)]
    joint = jnp.stack([jnp.sum(bits * z) for bits in eight])
    whole = jd.cross_entropy(jd.Labels(jnp.asarray(5)), jd.Logits(joint))
    page.text(
        "Several labels at once are a sum of binary cross-entropies: "
        f"{' + '.join(f'{float(x):.4f}' for x in each)} = {float(each.sum()):.4f} for labels "
        "(1, 0, 1) at logits (2, -1, 0.5), as one softmax over all eight combinations gives: "
        f"{float(whole):.4f}."
    )


def _saturation(figure) -> None:
    z = jnp.linspace(-8, 8, 401)
    axes = figure.subplots()
    for function, colour, label, at in (
        (_binary, picture.BLUE, "cross-entropy", (-7.8, 0.9)),
        (_squared, picture.ORANGE, "squared error / 2", (-3.9, 0.19)),
    ):
        slope = np.abs(np.asarray(jax.vmap(jax.grad(function))(z)))
        axes.plot(z, slope, color=colour, linewidth=2)
        axes.annotate(label, at, color=colour, fontsize=12)
    axes.set_xlabel("logit z of the right answer (left: wrong and confident)")
    axes.set_ylabel("size of the gradient with respect to z")
    axes.set_xlim(-8, 8)
    axes.set_ylim(0, 1.05)


draw = {"saturation": _saturation}
