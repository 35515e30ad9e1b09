"""What entropy always does."""

import jax
import jax.numpy as jnp

import jaxdiv as jd

from .page import Page

NAME = "entropy"
TITLE = "What is always true of entropy?"

POINTS, OUTCOMES = 10_000, 6


def tell(page: Page) -> None:
    """Bounds, concavity and additivity at random distributions, and the binary curve."""
    keys = jax.random.split(jax.random.key(0), 3)
    draw = lambda key: jax.nn.softmax(2 * jax.random.normal(key, (POINTS, OUTCOMES)), -1)  # noqa: E731
    p, q = draw(keys[0]), draw(keys[1])
    t = jax.random.uniform(keys[2], (POINTS,))
    h_p, h_q = jd.entropy(p, base=2), jd.entropy(q, base=2)
    mixed = jd.entropy(t[:, None] * p + (1 - t[:, None]) * q, base=2)
    gap = mixed - (t * h_p + (1 - t) * h_q)
    both = jd.joint_entropy(p[:, :, None] * q[:, None, :], base=2)
    uniform = float(jd.entropy(jnp.full((OUTCOMES,), 1 / OUTCOMES), base=2))
    certain = float(jd.entropy(jnp.eye(OUTCOMES)[0], base=2))
    page.text(f"At {POINTS} random pairs of distributions over {OUTCOMES} outcomes, in bits:")
    page.table(
        ("property", "measured"),
        (
            ("at least 0: the least entropy", h_p.min()),
            ("  and of a certain outcome", certain),
            ("at most log2 6 = 2.585: the largest", h_p.max()),
            ("  and of the uniform distribution", uniform),
            ("concave: least of H(mixture) - mixture of H", gap.min()),
            ("additive: most of |H(x, y) - H(x) - H(y)|", jnp.abs(both - h_p - h_q).max()),
        ),
    )
    page.text(
        "Entropy of a coin, by its probability of heads: largest where nothing can be guessed."
    )
    heads = jnp.asarray([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    values = jd.entropy(jnp.stack([heads, 1 - heads], -1), base=2)
    page.bars(((f"{float(x):.1f}", float(h)) for x, h in zip(heads, values, strict=True)), "bits")
