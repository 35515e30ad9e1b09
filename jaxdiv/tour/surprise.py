"""Information is -log p."""

import jax.numpy as jnp

import jaxdiv as jd

from .page import Page

NAME = "surprise"
TITLE = "How much does an event tell?"


def tell(page: Page) -> None:
    """A sunrise, in the east or in the west, and the weather beside it."""
    sunrise = jnp.asarray([0.99999, 0.00001])
    weather = jnp.asarray([0.7, 0.2, 0.1])
    east, west = (float(h) for h in jd.self_information(sunrise, base=2))
    page.text(
        "The sun rises in the east with probability 0.99999. That it did is no news; that it "
        "rose in the west would be. Surprise is measured in bits, -log2 p:"
    )
    page.table(
        ("event", "probability", "surprise (bits)"),
        (
            ("sunrise in the east", "0.99999", f"{east:.6f}"),
            ("sunrise in the west", "0.00001", f"{west:.2f}"),
        ),
    )
    expected = float(jd.entropy(sunrise, base=2))
    page.text(f"On average a sunrise tells {expected:.5f} bits, its entropy: nearly nothing.")
    page.text(
        "Why a logarithm? Probabilities of independent events multiply, and what they tell "
        "should add: h(x, y) = h(x) + h(y). With the weather as y:"
    )
    names = ("fair", "cloudy", "rainy")
    joint = jd.self_information(sunrise[:, None] * weather, base=2)
    alone = jd.self_information(weather, base=2)
    page.table(
        ("x, y", "h(x)", "h(y)", "h(x) + h(y)", "h(x, y)"),
        (
            (f"{side}, {name}", h, alone[j], h + float(alone[j]), joint[i, j])
            for i, (side, h) in enumerate((("east", east), ("west", west)))
            for j, name in enumerate(names)
        ),
    )
