"""Four losses on handwritten digits: what they are, where they saturate, and the stored results."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bench import classify, report

pytestmark = pytest.mark.xdist_group("test_classify")  # one run for all of them
RESULTS = Path(__file__).parent.parent / "bench" / "results"


@pytest.fixture(scope="module")
def result():
    # optax is written for JAX's default promotion rules.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return classify.measure(quick=True)


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    return 4 * random.standard_normal((50, 10), np.float32), random.integers(0, 10, 50)


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_cross_entropy_is_the_formula_and_that_of_optax(batch):
    z, y = batch
    found = classify.CROSS_ENTROPY.function(jnp.asarray(z), jnp.asarray(y))
    truth = -np.log(_softmax(z.astype(np.float64))[np.arange(50), y])
    np.testing.assert_allclose(found, truth, rtol=2e-6)
    with jax.numpy_rank_promotion("allow"):
        theirs = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(z), jnp.asarray(y))
    # Theirs is a difference of numbers near 10: an absolute error.
    np.testing.assert_allclose(found, theirs, rtol=2e-6, atol=2e-6)


def test_smoothed_kl_is_cross_entropy_less_entropy(batch):
    z, y = batch
    log_q = np.log(_softmax(z.astype(np.float64)))
    p = np.full((50, 10), classify.SMOOTHING / 10)
    p[np.arange(50), y] += 1 - classify.SMOOTHING
    truth = np.sum(p * (np.log(p) - log_q), -1)
    found = classify.SMOOTHED.function(jnp.asarray(z), jnp.asarray(y))
    np.testing.assert_allclose(found, truth, rtol=2e-6)


def test_squared_error_is_that_of_probabilities(batch):
    z, y = batch
    truth = np.sum((np.eye(10)[y] - _softmax(z.astype(np.float64))) ** 2, -1)
    found = classify.SQUARED.function(jnp.asarray(z), jnp.asarray(y))
    np.testing.assert_allclose(found, truth, rtol=2e-6, atol=1e-12)


def test_several_sigmoids_are_those_of_optax(batch):
    z = jnp.asarray(batch[0])
    y = jnp.asarray(np.random.default_rng(1).integers(0, 2, z.shape), jnp.float32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = optax.sigmoid_binary_cross_entropy(z, y).sum(-1)
    np.testing.assert_allclose(classify.SIGMOID.function(z, y), theirs, rtol=2e-6)


def _slopes(z, y):
    """The norms of the gradients by the logits of squared error and of cross-entropy."""
    found = []
    for loss in (classify.SQUARED, classify.CROSS_ENTROPY):
        slope = jax.grad(lambda z, loss=loss: loss.function(z, y).sum())(jnp.asarray(z))
        found.append(np.linalg.norm(np.asarray(slope, np.float64), axis=-1))
    return found


def test_squared_error_saturates_as_theory_says():
    margins = np.asarray([0.0, 1, 3, 10, 20, 40], np.float32)
    # Two classes: (q - y) 2 q (1 - q) times (1, -1) twice over, against (q - y) times (1, -1).
    z = np.stack([0 * margins, margins], -1)
    squared, entropy = _slopes(z, jnp.zeros(len(z), int))
    q = 1 / (1 + np.exp(margins.astype(np.float64)))
    np.testing.assert_allclose(squared / entropy, 4 * q * (1 - q), rtol=5e-6)
    assert squared[3] / entropy[3] < 2e-4

    # Ten classes, any logits: 2 q (d - <q, d>) with d = q - y, against d.
    random = np.random.default_rng(0)
    y = random.integers(0, 10, 200)
    z = random.standard_normal((200, 10))
    z[np.arange(200), (y + 1) % 10] += 10
    z = z.astype(np.float32)
    q = _softmax(z.astype(np.float64))
    d = q - np.eye(10)[y]
    slope = 2 * q * (d - np.sum(q * d, -1, keepdims=True))
    truth = np.linalg.norm(slope, axis=-1) / np.linalg.norm(d, axis=-1)
    squared, entropy = _slopes(z, jnp.asarray(y))
    np.testing.assert_allclose(squared / entropy, truth, rtol=2e-4)
    assert np.median(truth) < 0.01


def test_margins_and_steps_are_counted():
    z = jnp.asarray([[1.0, 4.0, 2.0], [0.0, -1.0, 3.0]])
    np.testing.assert_array_equal(classify.wrong_margin(z, jnp.asarray([0, 2])), [3, -3])
    y = jnp.asarray([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert classify.wrong_margin(z, y).tolist() == [[-1, 4, 2], [0, 1, -3]]
    assert classify.right(z, jnp.asarray([0, 2])).tolist() == [False, True]
    assert classify.right(z, jnp.asarray([[1.0, 1, 1], [0.0, 0, 1]])).tolist() == [True, True]
    assert classify.first_reach(np.asarray([0.1, 0.6, 0.5, 0.9]), 0.5) == 1
    assert classify.first_reach(np.asarray([0.1, 0.2]), 0.5) is None


@pytest.mark.slow
def test_a_quick_run_has_every_loss_and_start(result):
    settings, cells = result["settings"], result["cells"]
    assert [(c["loss"], c["start"]) for c in cells] == [
        (loss.name, start)
        for loss in classify.LOSSES
        for start in (classify.ORDINARY, classify.WRONG)
    ]
    seeds, points = settings["seeds"], len(result["curve_steps"])
    assert result["curve_steps"][0] == 0 and result["curve_steps"][-1] == settings["steps"]
    for cell in cells:
        assert np.shape(cell["curves"]) == (seeds, points)
        assert len(cell["accuracy"]) == len(cell["gradient_norm"]) == seeds
        np.testing.assert_allclose(cell["accuracy"], np.asarray(cell["curves"])[:, -1])
        assert f"{cell['rate']:g}" in cell["tried"]
        if cell["start"] == classify.WRONG:
            np.testing.assert_allclose(cell["margin"], settings["margin"], rtol=1e-3)
            assert min(cell["wrong_at_start"]) > 0.85
        else:
            assert min(cell["accuracy"]) > (0.8 if cell["loss"] != "sigmoid cross-entropy" else 0.5)
            assert None not in cell["steps_to"]["0.9"]
        for values, level in zip(cell["steps_to"].values(), settings["shares"], strict=True):
            assert len(values) == seeds and 0 < level < 1


@pytest.mark.slow
def test_cross_entropy_leaves_a_wrong_start_and_squared_error_lingers(result):
    wrong = {cell["loss"]: cell for cell in result["cells"] if cell["start"] == classify.WRONG}
    entropy, squared = wrong["cross-entropy"], wrong["squared error"]
    for share in ("0.5", "0.9"):
        for ours, theirs in zip(
            entropy["steps_to"][share], squared["steps_to"][share], strict=True
        ):
            assert ours is not None and (theirs is None or theirs > 3 * ours)
    assert max(squared["gradient_norm"]) < min(entropy["gradient_norm"]) / 5


@pytest.mark.slow
def test_numbers_come_from_the_json(result, tmp_path):
    report.write(tmp_path, "classify", result, classify.table(result))
    loaded = json.loads((tmp_path / "classify.json").read_text(encoding="utf-8"))
    text = (tmp_path / "classify.md").read_text(encoding="utf-8")
    assert classify.table(loaded) + "\n" == text
    cell = loaded["cells"][0]
    seeds, steps = loaded["settings"]["seeds"], loaded["settings"]["steps"]
    cell["accuracy"], cell["steps_to"]["0.9"] = [0.123] * seeds, [None] * seeds
    row = re.search(r"^\| SGD \| cross-entropy .*$", classify.table(loaded), re.MULTILINE).group()
    assert "12 (12–12)" in row and f"> {steps}" in row


@pytest.mark.slow
def test_the_picture_is_drawn(result, tmp_path):
    pytest.importorskip("matplotlib")
    classify.draw(result, tmp_path / "classify.png")
    assert (tmp_path / "classify.png").read_bytes().startswith(b"\x89PNG")


def test_stored_results_and_table_agree():
    stored = json.loads((RESULTS / "classify.json").read_text(encoding="utf-8"))
    text = (RESULTS / "classify.md").read_text(encoding="utf-8")
    assert classify.table(stored) + "\n" == text
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) <= 100
    assert "/home/" not in json.dumps(stored)
    assert stored["settings"]["steps"] == classify.STEPS
    assert {c["optimizer"] for c in stored["cells"]} == set(classify.OPTIMIZERS)
