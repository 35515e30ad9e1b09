"""The tables of the benchmark say what the measurement says."""

import json
import re
from pathlib import Path

import jax
import pytest

from bench import accuracy, estimators, gpu_static, heads, peers, report, samples, speed

NAMES = ["**jaxdiv**", "log_softmax formula"]
RESULTS = Path(__file__).parent.parent / "bench" / "results"


@pytest.fixture(scope="module")
def result():
    # The peers are written for JAX's default promotion rules.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return accuracy.measure(quick=True, sizes={5: 20}, names=NAMES)


def test_numbers_come_from_the_json(result, tmp_path):
    block = accuracy.readme_block(result)
    report.write(tmp_path, "accuracy", result, accuracy.table(result))
    loaded = json.loads((tmp_path / "accuracy.json").read_text(encoding="utf-8"))
    assert accuracy.readme_block(loaded) == block
    assert accuracy.table(loaded) + "\n" == (tmp_path / "accuracy.md").read_text(encoding="utf-8")

    cell = next(
        cell
        for cell in loaded["summary"]
        if (cell["call"], cell["dtype"], cell["scale"]) == (NAMES[1], "float32", 0.1)
    )
    shown = f"{report.number(cell['median'])} / {report.number(cell['worst'])}"
    assert shown in re.search(r"^\| log_softmax formula.*$", block, re.MULTILINE).group()
    cell.update(median=0.123, worst=0.456)
    assert "0.12 / 0.46" in accuracy.readme_block(loaded)


def test_ours_keeps_the_promise(result):
    ours = [cell for cell in result["summary"] if cell["call"] == peers.OURS]
    assert len(ours) == len(accuracy.DTYPES) * len(accuracy.SCALES)
    for cell in ours:
        assert cell["worst"] is None or cell["worst"] <= 16 * 2**-23
        assert cell["negative"] == cell["equal_but_nonzero"] == 0
    found = result["edges"][peers.OURS]
    assert all(not case["problems"] for case in found["cases"].values())
    assert found["nonzero_value"] == found["nonzero_gradient"] == 0
    assert found["hessian_probs"]["negative"] == 0


def test_the_device_is_named():
    stored = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    assert "Logits on the CPU" in speed.table(stored)
    bounds = stored["bounds"] | {"gigabytes_copied_per_second": 2500.0}
    found = speed.table(stored | {"gpu": "NVIDIA H100", "bounds": bounds})
    assert "Logits on NVIDIA H100" in found and "copies 2500" in found


def test_what_is_not_installed_is_said(result):
    absent = result | {"calls": [*NAMES, "absent"], "not_installed": ["absent"]}
    assert "| absent | not installed |" in accuracy.readme_block(absent)


def test_the_readme_block_is_replaced(result):
    block = accuracy.readme_block(result)
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    new = report.replaced(text, block)
    assert report.matches(new, block) and not report.matches(text, block)
    assert new.startswith("before\n") and new.endswith("\nafter\n") and "old" not in new
    with pytest.raises(ValueError, match="once each"):
        report.replaced("no markers", block)


STORED = [
    ("accuracy", accuracy),
    ("speed", speed),
    ("gpu-static", gpu_static),
    ("samples", samples),
    ("estimators", estimators),
]


@pytest.mark.parametrize(("name", "module"), STORED)
def test_stored_results_and_tables_agree(name, module):
    stored = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert module.table(stored) + "\n" == (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    assert "/home/" not in json.dumps(stored)


def test_stored_estimates_are_near_the_truth():
    stored = json.loads((RESULTS / "estimators.json").read_text(encoding="utf-8"))
    assert len(stored["estimates"]) >= 25 and stored["seeds"] >= 1000
    assert estimators.worst(stored) < 3
    for row in stored["estimates"]:
        assert 0.9 < row["ratio"] < 1.1


@pytest.mark.slow
def test_estimates_are_measured():
    found = estimators.measure(quick=True)
    assert estimators.worst(found) < 4


def test_products_of_heads_are_counted_with_their_loops():
    shape = (64, 32, 4096)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        once = heads.products("Cross-entropy", shape, "float32", (0, 1))
        again = heads.products("Cross-entropy", shape, "bfloat16", (0, 1))
    # Logits that are kept: once forward, and twice for the gradients.
    assert once[heads.KEPT] == again[heads.KEPT] == 3
    # The last tile begins early, so that it is whole, and overlaps the one before.
    assert 3 <= once[heads.OURS] <= 3.1 and 4 <= again[heads.OURS] <= 4.1


def test_a_loop_of_unknown_length_is_not_counted_as_one():
    def f(x):
        return jax.lax.while_loop(lambda y: y[0, 0] < 9, lambda y: y @ y, x)

    text = jax.jit(f).lower(jax.numpy.ones((2, 2))).compile().as_text()
    with pytest.raises(ValueError, match="unknown length"):
        heads.multiply_adds(text)
