"""Entropy is the floor of code length."""

import itertools

import jax.numpy as jnp
import numpy as np

import jaxdiv as jd

from .page import Page

NAME = "codes"
TITLE = "How short can a code be?"

DIE = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 64, 1 / 64, 1 / 64, 1 / 64)
FACES = ("1/2", "1/4", "1/8", "1/16", "1/64", "1/64", "1/64", "1/64")
LONGEST = 8


def shortest_by_trial(p: np.ndarray, longest: int = LONGEST) -> tuple[float, int]:
    """The least expected length over all codeword lengths that Kraft allows, and their number.

    The likelier outcome has the shorter word in a best code, so sorted lengths are enough.
    """
    tried = np.asarray(
        list(itertools.combinations_with_replacement(range(1, longest + 1), len(p))), float
    )
    allowed = tried[np.sum(2.0**-tried, axis=-1) <= 1]
    return float(np.min(allowed @ np.sort(p)[::-1])), len(allowed)


def tell(page: Page) -> None:
    """A loaded die, its Huffman code, Kraft's inequality, and blocks."""
    p = jnp.asarray(DIE)
    code = jd.huffman_code(DIE)
    entropy = float(jd.entropy(p, base=2))
    mean = jd.expected_code_length(DIE, code)
    page.text(
        "A loaded die with eight faces. Huffman's code gives likely faces short words, no "
        "word being the beginning of another:"
    )
    page.table(
        ("face", "probability", "surprise (bits)", "word", "length"),
        (
            (i + 1, name, float(h), word, len(word))
            for i, (name, h, word) in enumerate(
                zip(FACES, jd.self_information(p, base=2), code.codewords, strict=True)
            )
        ),
    )
    page.text(
        f"Entropy: {entropy:g} bits. Average length: {mean:g} bits. Every word is as long as "
        "its face is surprising, so nothing is lost; eight words of three bits would cost 3."
    )
    best, count = shortest_by_trial(np.asarray(DIE))
    page.text(
        "No code does better. A code that can be decoded obeys Kraft's inequality, sum "
        "2^-length <= 1, so r = 2^-length / sum is a distribution, and its average length is "
        "entropy + KL(p || r) - log2(sum): never less than the entropy. Of all "
        f"{count} sets of lengths up to {LONGEST} that obey it, tried one by one, the best "
        f"averages {best:g} bits."
    )
    coin = np.asarray([0.9, 0.1])
    floor = float(jd.entropy(jnp.asarray(coin), base=2))
    page.text(
        "The floor is not always reached. A coin with p = (0.9, 0.1) has an entropy of "
        f"{floor:.4f} bits, and a word cannot be shorter than one bit. Coding blocks of "
        "tosses approaches it:"
    )
    rows = []
    for size in (1, 2, 4, 8):
        block = coin
        for _ in range(size - 1):
            block = np.outer(block, coin).ravel()
        bits = jd.expected_code_length(block, jd.huffman_code(block)) / size
        rows.append((size, len(block), f"{bits:.4f}", f"{bits - floor:.4f}"))
    page.table(("tosses a block", "words", "bits a toss", "above the floor"), rows)
