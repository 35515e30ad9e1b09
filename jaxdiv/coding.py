r"""Prefix codes: what a distribution costs in symbols actually sent.

Entropy is the floor of every uniquely decodable code and Huffman's code stays within one symbol
of it: H(p) / log D ≤ Σ p_i l_i < H(p) / log D + 1 over an alphabet of D code symbols. (It is the
whole symbol where one outcome is certain, but impossible ones have codewords beside it.) Coding p
with the code of q costs the cross-entropy in the same sense, and the extra cost is KL.

A code is a table of strings, not a differentiable array, so everything here runs on the host, in
NumPy and exact integers; it can't be traced by `jax.jit`.
"""

import math
import operator
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int

_DIGITS = string.digits + string.ascii_lowercase


@dataclass(frozen=True)
class HuffmanCode:
    """A prefix code: no codeword is the beginning of another, so a text splits one way only.

    Attributes:
        codewords: one string for each outcome, in the order of the outcomes.
        radix: D, the number of code symbols, written 0 to 9 and then a to z.
    """

    codewords: tuple[str, ...]
    radix: int = 2

    @cached_property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """Code symbols in each codeword, read-only. Kraft: Σ D^(−length) ≤ 1."""
        lengths = np.array([len(word) for word in self.codewords], dtype=np.int64)
        lengths.flags.writeable = False
        return lengths

    def encode(self, outcomes: Iterable[SupportsIndex]) -> str:
        """The codewords of `outcomes`, indices from 0 to n − 1, one after another.

        Raises:
            ValueError: an outcome outside 0 to n − 1.
            TypeError: an outcome that is not an integer.
        """
        n = len(self.codewords)
        indices = [operator.index(outcome) for outcome in outcomes]
        for index in indices:
            if not 0 <= index < n:
                raise ValueError(
                    f"outcomes must be indices from 0 to {n - 1}, as the code has {n} codewords; "
                    f"got {index}"
                )
        return "".join([self.codewords[index] for index in indices])

    def decode(self, text: str) -> list[int]:
        """The outcomes whose codewords make up `text`: the inverse of `encode`.

        The code of a single outcome writes nothing, however often the outcome occurs, so its only
        text is the empty one, read as no outcomes.

        Raises:
            ValueError: `text` is not a sequence of codewords.
        """
        outcome_of = {word: index for index, word in enumerate(self.codewords) if word}
        longest = max(map(len, outcome_of), default=0)
        outcomes = []
        start = 0
        for end in range(1, len(text) + 1):
            outcome = outcome_of.get(text[start:end])
            if outcome is not None:
                outcomes.append(outcome)
                start = end
            elif end - start >= longest:
                break
        if start < len(text):
            raise ValueError(
                "text must be a sequence of codewords of this code; no codeword is read at "
                f"position {start} of {len(text)}, {text[start : start + 20]!r}"
            )
        return outcomes


def huffman_code(probs: Any, radix: int = 2) -> HuffmanCode:
    r"""A prefix code of least expected length Σ p_i l_i (Huffman 1952).

    The D least likely nodes are merged until one is left; the first merge takes only
    2 + (n − 2) mod (D − 1) of them, which is what dummy outcomes of weight zero would leave of D.
    Merging is exact, in integers, so that rounding can neither lengthen the code nor decide a tie.
    Of two nodes that weigh the same, the one that was not merged before, or was earlier, is taken
    first: among optimal codes this one has the shortest longest codeword. Of two outcomes that
    weigh the same, the first is never coded longer.
    Codewords are canonical: sorted by length, then by index, they count upwards, and the
    lengths alone determine them. O(n log n).

    Args:
        probs: n ≥ 1 weights of any positive sum, one axis: probabilities, or counts. An outcome
            of weight zero gets a codeword too, at least as long as that of any possible outcome.
        radix: D, the number of code symbols, 2 to 36 (as many as there are digits 0-9a-z).

    Returns:
        The code. A single outcome has the empty codeword: it's certain and needs no symbol.

    Raises:
        TypeError: `probs` is not made of real numbers, or `radix` is not an integer.
        ValueError: `probs` has not one axis, is empty, holds a negative, infinite or NaN weight,
            or only zeros; `radix` is outside 2 to 36.

    References:
        D. A. Huffman, A method for the construction of minimum-redundancy codes, Proc. IRE 40(9),
        1952, https://doi.org/10.1109/JRPROC.1952.273898; merging with two queues: J. van Leeuwen,
        On the construction of Huffman trees, ICALP 1976.
    """
    weights = _vector("probs", probs)
    if not weights.any():
        raise ValueError("probs must hold at least one positive weight; all of them are 0")
    if isinstance(radix, (bool, np.bool_)) or not hasattr(radix, "__index__"):
        raise TypeError(f"radix must be an integer from 2 to {len(_DIGITS)}; got {radix!r}")
    radix = operator.index(radix)
    if not 2 <= radix <= len(_DIGITS):
        raise ValueError(
            f"radix must be from 2 to {len(_DIGITS)}, one digit 0-9a-z a code symbol; got {radix}"
        )
    lengths = _optimal_lengths(_integers(weights), radix)
    return HuffmanCode(_canonical_codewords(lengths, radix), radix)


def expected_code_length(probs: Any, code: HuffmanCode | Sequence[str] | Sequence[int]) -> float:
    """Code symbols used per outcome on average, Σ p_i l_i: bits if the radix is 2.

    The weights are taken as stored: counts give the length of the whole text.

    Args:
        probs: n weights, one axis: the distribution of the outcomes, which may differ from the
            one that the code was made for.
        code: a code, its n codewords, or their n lengths.

    Returns:
        The sum, rounded a few times in all, as a float.

    Raises:
        TypeError: `probs` or the lengths in `code` are not real numbers.
        ValueError: `probs` has not one axis, is empty, or holds a negative, infinite or NaN
            weight; a length is negative or not whole; the two differ in number.
    """
    weights = _vector("probs", probs)
    lengths = _lengths(code)
    if len(weights) != len(lengths):
        raise ValueError(
            "probs and code must have one entry for each outcome; "
            f"probs has {len(weights)} and code has {len(lengths)}"
        )
    return math.fsum(w * n for w, n in zip(weights.tolist(), lengths, strict=True))


def _vector(name: str, value: Any) -> np.ndarray:
    """One axis of integers or of float64: finite, not negative, not empty."""
    array = np.asarray(value)
    if array.dtype.kind == "V":  # bfloat16 and its kin
        array = array.astype(np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"{name} must have one axis and at least one entry; got shape {array.shape}"
        )
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold integers or floats; got {array.dtype}")
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if bad.size:
        raise ValueError(
            f"{name} must be finite and not negative; entry {bad[0]} is {array[bad[0]]}"
        )
    return array


def _lengths(code: Any) -> list[int]:
    if isinstance(code, HuffmanCode):
        return code.lengths.tolist()
    if isinstance(code, str):
        raise TypeError(f"code must be a sequence of codewords, not one string; got {code!r}")
    if not isinstance(code, np.ndarray):
        code = list(code)
    if len(code) and all(isinstance(word, str) for word in code):
        return [len(word) for word in code]
    lengths = _vector("the lengths in code", code)
    if np.any(lengths % 1):
        raise ValueError(f"the lengths in code must be whole numbers; got {lengths}")
    return [int(length) for length in lengths]


def _integers(weights: np.ndarray) -> list[int]:
    """Whole numbers in exactly the proportions of `weights`."""
    if weights.dtype.kind != "f":
        return weights.tolist()
    # A float is m·2^e with m < 1 of 53 bits; the smallest e of a positive weight is the unit.
    mantissas, exponents = np.frexp(weights)
    unit = exponents[weights > 0].min()
    shifts = np.where(weights > 0, exponents - unit, 0).tolist()
    mantissas = (mantissas * 2**53).astype(np.int64).tolist()
    return [mantissa << shift for mantissa, shift in zip(mantissas, shifts, strict=True)]


def _optimal_lengths(weights: list[int], radix: int) -> list[int]:
    """Depths of the leaves of an optimal tree, every inner node of which has 2 to D children."""
    n = len(weights)
    order = sorted(reversed(range(n)), key=weights.__getitem__)
    # Nodes 0 to n - 1 are the sorted leaves, from n on the merged ones, each at least as heavy as
    # the one before: two sorted queues, and the lightest node is at the head of one of them.
    merges = -(-(n - 1) // (radix - 1))
    nodes = [weights[outcome] for outcome in order]
    parents = [0] * (n + merges)
    leaf, inner = 0, n
    children = 2 + (n - 2) % (radix - 1)
    for node in range(n, n + merges):
        total = 0
        for _ in range(children):
            if leaf < n and (inner == node or nodes[leaf] <= nodes[inner]):
                child = leaf
                leaf += 1
            else:
                child = inner
                inner += 1
            total += nodes[child]
            parents[child] = node
        nodes.append(total)
        children = radix
    depths = [0] * (n + merges)
    for node in reversed(range(n + merges - 1)):
        depths[node] = depths[parents[node]] + 1
    lengths = [0] * n
    for outcome, depth in zip(order, depths, strict=False):
        lengths[outcome] = depth
    return lengths


def _canonical_codewords(lengths: list[int], radix: int) -> tuple[str, ...]:
    """Codewords of the given lengths: in order of (length, index) they count upwards."""
    codewords = [""] * len(lengths)
    word: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if word:
            last = len(word) - 1
            while word[last] == radix - 1:
                word[last] = 0
                last -= 1
            word[last] += 1
        word += [0] * (lengths[index] - len(word))
        codewords[index] = "".join([_DIGITS[digit] for digit in word])
    return tuple(codewords)
