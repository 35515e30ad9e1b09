"""Prefix codes: optimal, uniquely decodable, and held between entropy and entropy + 1."""

import itertools
import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxdiv as jd
import oracles

pytestmark = pytest.mark.core

DIE = [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 64, 1 / 64, 1 / 64, 1 / 64]
RADICES = st.integers(2, 36)
COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=60).filter(any)
WEIGHTS = st.lists(
    st.floats(0, 1e300) | st.floats(0, 1e-290) | st.just(0.25), min_size=1, max_size=60
).filter(any)


def kraft_sum(code):
    return sum(Fraction(1, code.radix ** len(word)) for word in code.codewords)


def exact_length(weights, lengths):
    return sum(Fraction(w) * length for w, length in zip(weights, lengths, strict=True))


def reachable_lengths(n, radix):
    """Every non-decreasing vector of n word lengths that Kraft's inequality allows."""
    for lengths in itertools.combinations_with_replacement(range(n), n):
        if sum(Fraction(1, radix**length) for length in lengths) <= 1:
            yield lengths


# --- published codes ---------------------------------------------------------------------------


def test_horse_race():
    """Cover and Thomas, Elements of Information Theory, example 2.1 and section 5.1."""
    code = jd.huffman_code(DIE)
    assert code.codewords == ("0", "10", "110", "1110", "111100", "111101", "111110", "111111")
    assert code.lengths.tolist() == [1, 2, 3, 4, 6, 6, 6, 6]
    assert code.radix == 2
    assert jd.expected_code_length(DIE, code) == 2.0


@pytest.mark.parametrize(
    ("probs", "radix", "lengths", "expected"),
    [
        # Huffman 1952: table 1, and table 3 with four code symbols.
        (
            [0.20, 0.18, 0.10, 0.10, 0.10, 0.06, 0.06, 0.04, 0.04, 0.04, 0.04, 0.03, 0.01],
            2,
            None,
            3.42,
        ),
        (
            [0.22, 0.20, 0.18, 0.15, 0.10, 0.08, 0.05, 0.02],
            4,
            [1, 1, 1, 2, 2, 2, 3, 3],
            1.47,
        ),
        # Cover and Thomas, examples 5.6.1 to 5.6.3; the last one needs a dummy outcome.
        ([0.25, 0.25, 0.2, 0.15, 0.15], 2, [2, 2, 2, 3, 3], 2.3),
        ([0.25, 0.25, 0.2, 0.15, 0.15], 3, [1, 1, 2, 2, 2], 1.5),
        ([0.25, 0.25, 0.2, 0.1, 0.1, 0.1], 3, [1, 1, 2, 2, 3, 3], 1.7),
        # Cover and Thomas, problem 5.4.
        ([0.49, 0.26, 0.12, 0.04, 0.04, 0.03, 0.02], 2, [1, 2, 3, 5, 5, 5, 5], 2.02),
        ([0.49, 0.26, 0.12, 0.04, 0.04, 0.03, 0.02], 3, None, 1.34),
    ],
)
def test_published(probs, radix, lengths, expected):
    code = jd.huffman_code(probs, radix)
    assert jd.expected_code_length(probs, code) == pytest.approx(expected, rel=1e-14)
    if lengths is not None:
        assert code.lengths.tolist() == lengths


def test_counts_give_the_length_of_the_text():
    text = "this is an example of a huffman tree"
    letters = sorted(set(text))
    counts = [text.count(letter) for letter in letters]
    code = jd.huffman_code(counts)
    assert jd.expected_code_length(counts, code) == 135
    outcomes = [letters.index(letter) for letter in text]
    assert len(code.encode(outcomes)) == 135
    assert code.decode(code.encode(outcomes)) == outcomes


# --- optimality --------------------------------------------------------------------------------


@pytest.mark.parametrize("radix", [2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7])
def test_no_code_is_shorter(n, radix):
    """Against every vector of lengths, and the shortest longest word among the best of them.

    By rearrangement the heaviest outcome has the shortest word, so sorted vectors suffice.
    """
    candidates = np.array(list(reachable_lengths(n, radix)))
    rng = np.random.default_rng(n)
    for _ in range(300):
        weights = rng.integers(0, rng.integers(2, 12), n)
        weights[rng.integers(n)] += 1
        costs = candidates @ np.sort(weights)[::-1]
        code = jd.huffman_code(weights, radix)
        assert weights @ code.lengths == costs.min()
        assert code.lengths.max() == candidates[costs == costs.min()].max(axis=1).min()


@given(WEIGHTS)
def test_merging_is_exact(weights):
    """As good as the heap of exact fractions, whatever the scales of the weights."""
    want = exact_length(weights, oracles.huffman_code(oracles.from_probs(weights)))
    assert exact_length(weights, jd.huffman_code(weights).lengths.tolist()) == want


@given(COUNTS, RADICES)
def test_entropy_is_the_floor(counts, radix):
    probs = np.array(counts) / sum(counts)
    support = probs[probs > 0]
    entropy = -math.fsum(support * np.log(support)) / math.log(radix)
    length = jd.expected_code_length(probs, jd.huffman_code(probs, radix))
    assert entropy - 1e-12 <= length
    if len(support) > 1 or len(probs) == 1:
        assert length < entropy + 1
    else:  # what is certain needs a symbol still, to tell it from what can't happen
        assert length == entropy + 1


def test_a_large_alphabet():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(131072, 0.5))
    code = jd.huffman_code(probs)
    entropy = -math.fsum(probs * np.log2(probs))
    assert entropy <= jd.expected_code_length(probs, code) < entropy + 1
    assert sum(2.0**-code.lengths) == 1


# --- the code itself ---------------------------------------------------------------------------


@given(WEIGHTS, RADICES)
def test_kraft(weights, radix):
    """Full trees leave nothing over; otherwise fewer than D - 1 of the longest words."""
    code = jd.huffman_code(weights, radix)
    unused = (1 - kraft_sum(code)) * radix ** int(code.lengths.max())
    assert unused == -(len(weights) - 1) % (radix - 1)


@given(WEIGHTS, RADICES)
def test_codewords_are_canonical_and_prefix_free(weights, radix):
    code = jd.huffman_code(weights, radix)
    assert [len(word) for word in code.codewords] == code.lengths.tolist()
    by_length = sorted(range(len(weights)), key=lambda i: (code.lengths[i], i))
    words = [code.codewords[i] for i in by_length]
    assert words == sorted(words)  # 0-9a-z is in the order of strings
    # A beginning of another word would stand right before a word that it begins.
    assert not any(b.startswith(a) for a, b in itertools.pairwise(words))


@given(WEIGHTS, RADICES)
def test_heavier_outcomes_are_not_coded_longer(weights, radix):
    lengths = jd.huffman_code(weights, radix).lengths
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    assert np.all(np.diff(lengths[order]) >= 0)


@given(st.data(), COUNTS.filter(lambda counts: len(counts) > 1), RADICES)
def test_round_trip(data, counts, radix):
    code = jd.huffman_code(counts, radix)
    outcomes = data.draw(st.lists(st.integers(0, len(counts) - 1)))
    text = code.encode(outcomes)
    assert len(text) == sum(code.lengths[outcomes])
    assert code.decode(text) == outcomes


def test_one_outcome_needs_no_symbol():
    code = jd.huffman_code([0.3])
    assert code.codewords == ("",)
    assert code.lengths.tolist() == [0]
    assert jd.expected_code_length([1.0], code) == 0
    assert code.encode([0, 0, 0]) == ""
    assert code.decode("") == []


def test_impossible_outcomes_get_words():
    code = jd.huffman_code([0.0, 0.5, 0.0, 0.5])
    assert code.codewords == ("110", "0", "111", "10")


def test_digits_of_the_largest_radix():
    code = jd.huffman_code(np.ones(36), radix=36)
    assert code.codewords == tuple("0123456789abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize(
    "probs",
    [
        np.array(DIE, np.float32),
        np.array(DIE, np.float16),
        jnp.array(DIE),
        jnp.array(DIE, jnp.bfloat16),
        np.array([32, 16, 8, 4, 1, 1, 1, 1], np.uint8),
        tuple(DIE),
        [p * (64 * 5e-324) for p in DIE],  # subnormal
    ],
)
def test_any_real_weights_of_any_sum(probs):
    assert jd.huffman_code(probs) == jd.huffman_code(DIE)


def test_large_counts_do_not_overflow():
    counts = np.full(3, 2**64 - 1, np.uint64)
    assert jd.huffman_code(counts).codewords == ("0", "10", "11")


def test_codes_are_values():
    code = jd.huffman_code(DIE)
    assert code == jd.HuffmanCode(code.codewords)
    assert hash(code) == hash(jd.HuffmanCode(code.codewords))
    assert code != jd.huffman_code(DIE, 3)
    with pytest.raises(ValueError, match="read-only"):
        code.lengths[0] = 7


# --- expected length ---------------------------------------------------------------------------


def test_codes_lengths_and_codewords_say_the_same():
    code = jd.huffman_code(DIE)
    uniform = np.full(8, 0.125)
    for same in (
        code,
        code.codewords,
        list(code.codewords),
        code.lengths,
        [1, 2, 3, 4, 6, 6, 6, 6],
    ):
        assert jd.expected_code_length(uniform, same) == 4.25


def test_the_wrong_code_costs_the_relative_entropy_more():
    """For powers of two: 3 bits for a uniform outcome, and KL(uniform ‖ DIE) = 1.25 bits on top."""
    uniform = np.full(8, 0.125)
    excess = np.sum(uniform * np.log2(uniform / DIE))
    assert jd.expected_code_length(uniform, jd.huffman_code(DIE)) == 3 + excess


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probs", "error", "message"),
    [
        ([0.5, -0.5], ValueError, r"probs must be finite and not negative; entry 1 is -0\.5"),
        ([0.5, math.nan], ValueError, "probs must be finite and not negative; entry 1 is nan"),
        ([math.inf, 1.0], ValueError, "probs must be finite and not negative; entry 0 is inf"),
        ([0, -3], ValueError, "probs must be finite and not negative; entry 1 is -3"),
        ([], ValueError, r"probs must have one axis and at least one entry; got shape \(0,\)"),
        (0.5, ValueError, r"probs must have one axis and at least one entry; got shape \(\)"),
        (np.ones((2, 3)), ValueError, r"probs must have one axis .*; got shape \(2, 3\)"),
        ([True, False], TypeError, "probs must hold integers or floats; got bool"),
        ([1j, 1], TypeError, "probs must hold integers or floats; got complex128"),
        (["a"], TypeError, "probs must hold integers or floats; got <U1"),
    ],
)
def test_bad_weights(probs, error, message):
    with pytest.raises(error, match=message):
        jd.huffman_code(probs)
    with pytest.raises(error, match=message):
        jd.expected_code_length(probs, [1, 1])


@pytest.mark.parametrize("probs", [[0.0, 0.0], [0], [-0.0]])
def test_all_zero_weights(probs):
    with pytest.raises(ValueError, match="probs must hold at least one positive weight"):
        jd.huffman_code(probs)


@pytest.mark.parametrize(
    ("radix", "error", "message"),
    [
        (1, ValueError, "radix must be from 2 to 36, .*; got 1"),
        (37, ValueError, "radix must be from 2 to 36, .*; got 37"),
        (2.0, TypeError, r"radix must be an integer from 2 to 36; got 2\.0"),
        (True, TypeError, "radix must be an integer from 2 to 36; got True"),
        ("2", TypeError, "radix must be an integer from 2 to 36; got '2'"),
    ],
)
def test_bad_radix(radix, error, message):
    with pytest.raises(error, match=message):
        jd.huffman_code(DIE, radix)


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (jd.HuffmanCode(("0", "1")), ValueError, "probs has 3 and code has 2"),
        (["0", "10", "110", "111"], ValueError, "probs has 3 and code has 4"),
        ([1, 2], ValueError, "probs has 3 and code has 2"),
        ([1, 1.5, 2], ValueError, "the lengths in code must be whole numbers"),
        ([1, -1, 2], ValueError, "the lengths in code must be finite and not negative"),
        ([], ValueError, "the lengths in code must have one axis and at least one entry"),
        ("010", TypeError, "code must be a sequence of codewords, not one string; got '010'"),
        (["0", 1, 2], TypeError, "the lengths in code must hold integers or floats"),
    ],
)
def test_bad_code(code, error, message):
    with pytest.raises(error, match=message):
        jd.expected_code_length([0.5, 0.25, 0.25], code)


def test_bad_outcomes():
    code = jd.huffman_code(DIE)
    for outcome in (8, -1):
        with pytest.raises(ValueError, match=f"outcomes must be .* from 0 to 7.*; got {outcome}"):
            code.encode([0, outcome])
    with pytest.raises(TypeError):
        code.encode([0.5])


@pytest.mark.parametrize(
    ("text", "position"), [("01111", 1), ("02", 1), ("100x" + "1" * 100, 3), ("1", 0)]
)
def test_bad_text(text, position):
    with pytest.raises(ValueError, match=f"text must be a sequence of codewords .* {position} of"):
        jd.huffman_code(DIE).decode(text)


def test_no_word_of_an_incomplete_tree_is_taken_for_another():
    code = jd.huffman_code([0.4, 0.3, 0.2, 0.1], radix=3)
    assert code.codewords == ("0", "1", "20", "21")
    with pytest.raises(ValueError, match="position 2 of 4, '22'"):
        code.decode("0122")
    with pytest.raises(ValueError, match="position 0 of 1, '0'"):
        jd.huffman_code([1.0]).decode("0")
