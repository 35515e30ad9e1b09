"""The tour tells what is so: its numbers against values worked out by hand and by scipy."""

import contextlib
import io
import re

import jax
import numpy as np
import pytest
from scipy import integrate, stats

import jaxdiv.commands.tour as command
from jaxdiv.cli import main
from jaxdiv.tour import STEPS
from jaxdiv.tour.page import Page, printable

pytestmark = pytest.mark.slow  # every step of it runs


@pytest.fixture(scope="module", autouse=True)
def promotion():
    """The command line is a process of its own, with JAX's default rules, which optax needs."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def told(promotion):
    """What every step prints, by name."""
    pages = {}
    for step in STEPS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(["tour", "--step", step.NAME]) == 0
        pages[step.NAME] = out.getvalue()
    return pages


def numbers(page, label):
    """The numbers of the row that begins with `label`."""
    (row,) = re.findall(rf"^ *{re.escape(label)}  +(.*)$", page, re.MULTILINE)
    return [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", row)]


def test_every_step_is_offered():
    assert tuple(step.NAME for step in STEPS) == command._NAMES


def test_pages_are_narrow_and_short(told):
    for page in told.values():
        assert max(map(len, page.splitlines())) <= 80
        assert len(page.splitlines()) < 60
        assert "nan" not in page.lower()


def test_surprise(told):
    page = told["surprise"]
    assert "0.000014" in page and "16.61" in page and "0.00018 bits" in page
    for x in ("east", "west"):
        for y in ("fair", "cloudy", "rainy"):
            *_, added, joint = numbers(page, f"{x}, {y}")
            assert added == joint


def test_codes(told):
    page = told["codes"]
    words = re.findall(r" ([01]+) +[1-6]$", page, re.MULTILINE)
    assert words[:5] == ["0", "10", "110", "1110", "111100"]
    assert "Entropy: 2 bits. Average length: 2 bits" in page
    assert "averages 2 bits" in page
    floor = stats.entropy([0.9, 0.1], base=2)
    blocks = page[page.index("tosses a block") :]
    excesses = [numbers(blocks, str(size))[-1] for size in (1, 2, 4, 8)]
    assert f"{floor:.4f}" in page
    # Two tosses by hand: lengths 1, 2, 3, 3.
    assert "0.6450" in page and (0.81 + 2 * 0.09 + 3 * 0.1) / 2 == pytest.approx(0.645)
    assert excesses == sorted(excesses, reverse=True)


def test_entropy(told):
    page = told["entropy"]
    assert 0 <= numbers(page, "at least 0: the least entropy")[0]
    assert numbers(page, "and of the uniform distribution")[0] == pytest.approx(
        np.log2(6), abs=1e-4
    )
    assert numbers(page, "concave: least of H(mixture) - mixture of H")[0] >= 0
    assert numbers(page, "0.3")[0] == pytest.approx(stats.entropy([0.3, 0.7], base=2), abs=1e-4)


def test_beliefs(told):
    page = told["beliefs"]
    assert numbers(page, "cross-entropy H(p, q)") == [2.25]
    assert numbers(page, "entropy H(p)") == [2]
    assert numbers(page, "KL(p || q)") == [0.25]
    assert numbers(page, "code of q, average") == [2.25]


def test_divergence(told):
    page = told["divergence"]
    a, b, c = [0.9, 0.1], [0.5, 0.5], [0.1, 0.9]
    forward, backward = numbers(page, "KL(a || b) and KL(b || a)")
    assert forward == pytest.approx(stats.entropy(a, b), abs=1e-4)
    assert backward == pytest.approx(stats.entropy(b, a), abs=1e-4)
    straight, detour = numbers(page, "KL(a || c) and KL(a || b) + KL(b || c)")
    assert straight == pytest.approx(stats.entropy(a, c), abs=1e-4)
    assert straight > detour
    assert numbers(page, "gradient") == [0, 0, 0]
    assert numbers(page, "1/p") == numbers(page, "Hessian's eigenvalues") == [2, 3.3333, 5]
    lowest = float(re.findall(r"stays below it by ([-\d.e]+\d)", page)[0])
    assert lowest >= 0


def test_training(told):
    page = told["training"]
    assert numbers(page, "difference") == numbers(page, "entropy of p")
    of_ce, of_kl = numbers(page, "of cross-entropy"), numbers(page, "of KL")
    e = np.exp([0.2, -1, 0.7])
    np.testing.assert_allclose(of_ce, e / e.sum() - [0.5, 0.3, 0.2], atol=6e-5)
    assert of_ce == of_kl
    assert numbers(page, "cross-entropy H(p, q)")[:3] == [1, 0, 0]
    played, theory = re.findall(r"(-1\.\d{6})", page)
    assert played == theory
    tilted = np.asarray([0.5, 0.3, 0.2]) * np.exp(np.asarray([1, 2, 0.5]) / 0.5)
    np.testing.assert_allclose(numbers(page, "learned"), tilted / tilted.sum(), atol=2e-3)


def test_losses(told):
    page = told["losses"]
    for z in (4, -4, -16):
        s, ce, squared, *_ = numbers(page, f"{z}")
        want = 1 / (1 + np.exp(-z))
        np.testing.assert_allclose([s, ce], [want, want - 1], atol=6e-5)
        assert squared == pytest.approx((want - 1) * want * (1 - want), rel=0.01)
    kl, formula, laplace, absolute = numbers(page, "-1.5, 2")
    want = integrate.quad(
        lambda x: stats.norm.pdf(x, -1.5) * (stats.norm.logpdf(x, -1.5) - stats.norm.logpdf(x, 2)),
        -12, 12,
    )[0]  # fmt: skip
    assert kl == formula == pytest.approx(want, abs=1e-4)
    assert laplace == absolute == pytest.approx(-stats.laplace.logpdf(-1.5, 2), abs=1e-4)
    *_, total, joint = re.findall(r"(\d\.\d{4})", page)
    assert total == joint


def test_fits(told):
    page = told["fits"]
    rows = re.findall(r"^  KL\((. \|\| .)\), \w+ +(.*)$", page, re.MULTILINE)
    forward = [list(map(float, r.split())) for name, r in rows if name == "p || q"]
    reverse = [list(map(float, r.split())) for name, r in rows if name == "q || p"]
    mean = 0.6 * -3 + 0.4 * 3
    deviation = np.sqrt(0.6 * (0.36 + 9) + 0.4 * (0.64 + 9) - mean**2)
    for row in forward:  # covers
        np.testing.assert_allclose(row[1:3], [mean, deviation], atol=5e-3)
    np.testing.assert_allclose([r[1:3] for r in reverse], [[-3, 0.6], [3, 0.8]], atol=5e-3)


def test_terminals_without_blocks_get_plain_bars():
    page = Page()
    page.bars([("a", 1.0), ("b", 2.0)], "bits")
    page.curve("p", [0, 0.5, 1])
    assert "█" in str(page) and printable(str(page), "utf-8") == str(page)
    plain = printable(str(page), "ascii")
    assert plain.isascii() and plain.splitlines()[-1].endswith(" =#")


def test_pictures(tmp_path, capsys):
    images = pytest.importorskip("matplotlib.image")
    assert main(["tour", "--step", "losses", "--plot", str(tmp_path / "new")]) == 0
    path = tmp_path / "new" / "saturation.png"
    assert str(path) in capsys.readouterr().out
    image = images.imread(path)
    assert image.shape[1] == 1200 and image.std() > 0.05


def test_bad_input_is_one_sentence(tmp_path, capsys):
    assert main(["tour", "--step", "kl"]) == 2
    assert "--step must be one of surprise, codes" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    pytest.importorskip("matplotlib")
    assert main(["tour", "--plot", str(tmp_path / "file")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and not captured.out
    assert (tmp_path / "file").read_text() == "mine"
