"""Coding with a wrong belief costs cross-entropy, and KL is the excess."""

import jax.numpy as jnp

import jaxdiv as jd

from .page import Page

NAME = "beliefs"
TITLE = "What does a wrong belief cost?"


def tell(page: Page) -> None:
    """A fair tetrahedron, believed to be loaded."""
    fair, believed = (1 / 4,) * 4, (1 / 2, 1 / 4, 1 / 8, 1 / 8)
    p, q = jnp.asarray(fair), jnp.asarray(believed)
    code, right = jd.huffman_code(believed), jd.huffman_code(fair)
    page.text(
        "A fair tetrahedron is believed to be loaded, q = (1/2, 1/4, 1/8, 1/8), and coded "
        "with the Huffman code of that belief:"
    )
    page.table(
        ("face", "truth p", "belief q", "right code", "code used", "-log2 q"),
        (
            (i + 1, "1/4", name, a, b, float(h))
            for i, (name, a, b, h) in enumerate(
                zip(
                    ("1/2", "1/4", "1/8", "1/8"),
                    right.codewords,
                    code.codewords,
                    jd.self_information(q, base=2),
                    strict=True,
                )
            )
        ),
    )
    page.bars(
        (
            ("entropy H(p)", float(jd.entropy(p, base=2))),
            ("code of p, average", jd.expected_code_length(fair, right)),
            ("cross-entropy H(p, q)", float(jd.cross_entropy(p, q, base=2))),
            ("code of q, average", jd.expected_code_length(fair, code)),
            ("KL(p || q)", float(jd.kl_divergence(p, q, base=2))),
        ),
        "bits",
    )
    page.text(
        "Messages that should cost the entropy cost the cross-entropy instead. The excess, "
        "cross-entropy - entropy, is the Kullback-Leibler divergence."
    )
