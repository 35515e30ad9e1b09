"""The examples run, at small size, and draw their pictures."""

import importlib
import sys
from pathlib import Path

import jax
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(
    path.stem for path in EXAMPLES.glob("*.py") if path.stem not in ("common", "many_hosts")
)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    # Their reader has JAX's default promotion rules.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(EXAMPLES) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def test_there_are_six():
    assert NAMES == [
        "bandit", "distillation", "f_gan", "language_model", "logistic", "two_modes",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES])
def test_examples_run(name, example, tmp_path, capsys):
    example(name).go(["--small", "--output", str(tmp_path)])
    shown = capsys.readouterr().out
    assert len(shown.strip().splitlines()) >= 4 and "nan" not in shown
    assert (tmp_path / f"{name}.png").stat().st_size > 5000


@pytest.mark.slow
def test_a_wrong_gradient_of_the_penalty_costs_what_the_example_says(example):
    bandit = example("bandit")
    found = {name: bandit.value(z) for name, (z, _) in bandit.run().items()}
    best = bandit.value(bandit.BEST)
    for name, (_, paid, value) in found.items():
        if name in bandit.WRONG:
            assert value < best[2] - 0.01, name
        else:
            assert value == pytest.approx(best[2], abs=0.005), name
            assert paid == pytest.approx(best[1], rel=0.1), name
    # Without a penalty that acts the policy leaves the reference for the best arm.
    assert found["k1, fixed samples"][1] > 2 * best[1]
