"""`jaxdiv compare`: the numbers are those of scipy and of hand-made codes; bad files are named."""

import json
import sys

import numpy as np
import pytest
from scipy import stats

import jaxdiv as jd
from jaxdiv.cli import main

P = {"a": 4, "b": 2, "c": 1, "d": 1}
Q = {"a": 1, "b": 1, "c": 1, "d": 1}


@pytest.fixture
def few(monkeypatch):
    """Three of the catalogue: compiling all takes a quarter of a minute."""
    names = ("kl", "js", "js_distance")
    monkeypatch.setattr(jd, "CATALOGUE", {name: jd.CATALOGUE[name] for name in names})


def table(path, counts, header="symbol,count\n"):
    path.write_text(header + "".join(f"{k},{v}\n" for k, v in counts.items()))
    return str(path)


def compare(capsys, *arguments):
    assert main(["compare", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_the_whole_catalogue_both_ways(tmp_path, capsys):
    p, q = table(tmp_path / "p.csv", P), table(tmp_path / "q.csv", Q)
    result = compare(capsys, p, q)
    x, y = np.asarray(list(P.values())) / 8, np.full(4, 0.25)
    assert result["p"]["entropy"] == pytest.approx(1.75)
    assert result["q"]["entropy"] == pytest.approx(2)
    assert result["cross_entropy"]["pq"] == pytest.approx(2)
    assert set(result["divergences"]) == set(jd.CATALOGUE)
    kl = result["divergences"]["kl"]
    assert kl["pq"] == pytest.approx(stats.entropy(x, y, base=2))
    assert kl["qp"] == pytest.approx(stats.entropy(y, x, base=2))
    assert result["divergences"]["total_variation"]["pq"] == pytest.approx(0.25)
    assert result["divergences"]["chi2"]["pq"] == pytest.approx(np.sum((x - y) ** 2 / y))
    # Huffman: lengths 1, 2, 3, 3 for P and 2, 2, 2, 2 for Q.
    assert result["coding"]["pq"]["own"] == pytest.approx(1.75)
    assert result["coding"]["pq"]["other"] == pytest.approx(2)
    assert result["coding"]["qp"]["other"] == pytest.approx(2.25)


def test_contributions_add_up_to_kl(tmp_path, capsys, few):
    p, q = table(tmp_path / "p.csv", P), table(tmp_path / "q.csv", Q)
    result = compare(capsys, p, q, "--top", "2", "--base", "e")
    x, y = np.asarray(list(P.values())) / 8, np.full(4, 0.25)
    terms = dict(zip(P, x * np.log(x / y) - x + y, strict=True))
    shown = {row["symbol"]: row["contribution"] for row in result["contributions"]}
    assert list(shown) == sorted(terms, key=lambda k: -terms[k])[:2]
    for symbol, value in shown.items():
        assert value == pytest.approx(terms[symbol])
    rest = result["other_contributions"]["contribution"]
    total = result["divergences"]["kl"]["pq"]
    assert sum(shown.values()) + rest == pytest.approx(total) == pytest.approx(stats.entropy(x, y))
    assert result["divergences"]["js_distance"]["pq"] ** 2 == pytest.approx(
        result["divergences"]["js"]["pq"]
    )


@pytest.mark.slow
def test_texts(tmp_path, capsys, few):
    p, q = tmp_path / "p.txt", tmp_path / "q.txt"
    p.write_text("to be or not to be", encoding="utf-8")
    q.write_text("to be é be to\u2028be", encoding="utf-8")
    result = compare(capsys, str(p), str(q), "--symbols", "words")
    assert result["p"]["total"] == 6 and result["p"]["symbols"] == 4
    assert set(result["q"]["lacks"]["symbols"]) == {"or", "not"}
    assert result["p"]["lacks"]["symbols"] == ["é"]
    assert result["divergences"]["kl"]["pq"] == "inf"
    assert result["coding"]["pq"]["other"] == "inf"
    smooth = compare(capsys, str(p), str(q), "--symbols", "words", "--smooth", "0.5")
    words = ["to", "be", "or", "not", "é"]
    x = np.asarray([2, 2, 1, 1, 0]) + 0.5
    y = np.asarray([2, 3, 0, 0, 1]) + 0.5
    assert len(words) == smooth["alphabet"]
    assert smooth["divergences"]["kl"]["pq"] == pytest.approx(stats.entropy(x, y, base=2))
    assert compare(capsys, str(p), str(q), "--symbols", "bytes")["p"]["total"] == 18
    assert compare(capsys, str(p), str(q), "--symbols", "characters")["q"]["total"] == 16


def test_what_is_printed_fits_and_names_what_is_missing(tmp_path, capsys, few):
    long = {"x" * 200: 3, "tab\there": 2, "漢字" * 30: 1, "plain": 4}
    p, q = table(tmp_path / "p.csv", long), table(tmp_path / "q.csv", {"plain": 1, "other": 3})
    assert main(["compare", p, q]) == 0
    out = capsys.readouterr().out
    for line in out.splitlines():
        wide = sum(1 + (ord(c) > 0x2E80) for c in line)
        assert wide <= 80 or str(tmp_path) in line, line
    assert "\t" not in out and "other" in out and "inf" in out
    assert "Huffman" in out and "H(P)" in out


@pytest.mark.parametrize(
    "base, unit", [("10", "hartleys"), ("0.5", "log 0.5"), ("1e50", "log 1e+50")]
)
def test_bases(tmp_path, capsys, few, base, unit):
    p, q = table(tmp_path / "p.csv", P), table(tmp_path / "q.csv", Q)
    assert main(["compare", p, q, "--base", base]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines()) and unit in out
    result = compare(capsys, p, q, "--base", base)
    kl = stats.entropy([4, 2, 1, 1], [1, 1, 1, 1]) / np.log(float(base))
    assert result["divergences"]["kl"]["pq"] == pytest.approx(kl)
    assert result["coding"]["pq"]["kl"] == pytest.approx(0.25)  # bits in every base
    assert (result["divergences"]["js_distance"]["pq"] is None) == (float(base) < 1)


def test_a_text_against_a_table_of_its_letters(tmp_path, capsys, few):
    text = tmp_path / "p.txt"
    text.write_text("aaaabbcd")
    q = table(tmp_path / "q.csv", Q)
    result = compare(capsys, str(text), q, "--symbols", "characters")
    assert result["divergences"]["kl"]["pq"] == pytest.approx(0.25)


def test_arrays_match_by_position(tmp_path, capsys, few):
    np.save(tmp_path / "p.npy", np.asarray([4, 2, 1, 1]))
    np.save(tmp_path / "q.npy", np.full(4, 0.25))
    result = compare(capsys, str(tmp_path / "p.npy"), str(tmp_path / "q.npy"))
    assert result["divergences"]["kl"]["pq"] == pytest.approx(0.25)


def test_the_picture(tmp_path, capsys, few):
    images = pytest.importorskip("matplotlib.image")
    p, q = table(tmp_path / "p.csv", P), table(tmp_path / "q.csv", Q)
    path = tmp_path / "picture.png"
    assert main(["compare", p, q, "--plot", str(path)]) == 0
    assert str(path) in capsys.readouterr().out.replace("\n", "")
    assert images.imread(path).std() > 0.05
    # A text may be called anything, but is not overwritten.
    text = tmp_path / "text.svg"
    text.write_text("abba")
    assert main(["compare", str(text), str(text), "--symbols", "bytes", "--plot", str(text)]) == 2
    assert "would overwrite" in capsys.readouterr().err and text.read_text() == "abba"


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_pictures_of_any_text(tmp_path, capsys, few, suffix):
    pytest.importorskip("matplotlib")
    p, q = tmp_path / "_$p$.txt", tmp_path / "q.txt"
    # Dollars are mathematics to matplotlib, and its own font has no Hangul.
    p.write_text("$x$ \\ 가 \u0301 'ab'", encoding="utf-8")
    q.write_text("$x$ \\ 가 \u0301 \n\t", encoding="utf-8")
    path = tmp_path / f"picture.{suffix}"
    assert main(["compare", str(p), str(q), "--symbols", "characters", "--plot", str(path)]) == 0
    assert path.read_bytes().lstrip()[:5] in (b"<?xml", b"%PDF-")


def test_a_picture_without_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    p = table(tmp_path / "p.csv", P)
    assert main(["compare", p, p, "--plot", str(tmp_path / "x.png")]) == 2
    assert "pip install 'jaxdiv[plot]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "array, message",
    [
        (np.ones((2, 2)), "one axis"),
        (np.ones(2) * 1j, "must be real"),
        (np.ones(0), "holds no numbers"),
        (np.asarray([1, -1, 1]), "entry 1 is negative"),
        (np.asarray([1, np.nan]), "entry 1 is NaN"),
        (np.full(2, 1e308), "overflows"),
        (np.ones(4), "has 4 numbers but"),
    ],
)
def test_a_bad_array_is_one_sentence(tmp_path, capsys, array, message):
    bad, good = str(tmp_path / "bad.npy"), str(tmp_path / "good.npy")
    np.save(bad, array)
    np.save(good, np.ones(3))
    assert main(["compare", bad, good]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and bad in captured.err
    assert captured.err.count("\n") == 1 and not captured.out
    assert main(["compare", good, bad, "--symbols", "bytes"]) == 2
    assert "--symbols is for texts" in capsys.readouterr().err


GOOD = "symbol,count\na,1\nb,2\n"
BAD = {
    "empty.csv": (b"", "holds no numbers"),
    "negative.csv": (b"a,1\nb,-2\n", "line 2: the count is negative"),
    "words.csv": (b"a,1\nb,2x\n", "line 2: '2x' is not a number"),
    "nan.csv": (b"a,1\nb,nan\n", "line 2: the count is NaN"),
    "inf.csv": (b"a,1\nb,inf\n", "line 2: the count is inf"),
    "zeros.csv": (b"a,0\nb,0\n", "holds only zeros"),
    "twice.csv": (b"a,1\na,2\n", "line 2: the label 'a' was already on line 1"),
    "strangers.csv": (b"x,1\ny,2\n", "no symbol in common"),
    "bare.csv": (b"1\n2\n", "only numbers"),
    "latin.csv": (b"\xe9,1\n", "not UTF-8"),
    "columns.csv": (b"a,1\nb,2,3\n", "line 2 has 3 columns, not 2"),
    "header.csv": (b"a,1O\nb,2\n", "line 1: '1O' is not a number"),
    "quote.csv": (b'a,1\n",2\n', "line 2: not readable as .csv"),
    "text.txt": (b"abc", "--symbols characters"),
    "damaged.npy": (b"not an array", "not a readable .npy file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence(tmp_path, capsys, name):
    data, message = BAD[name]
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.csv").write_text(GOOD)
    assert main(["compare", str(tmp_path / name), str(tmp_path / "good.csv")]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and name in captured.err
    assert captured.err.count("\n") == 1 and not captured.out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing.csv", "good.csv"], "No such file"),
        (["good.csv", "good.csv", "--base", "1"], "not 1"),
        (["good.csv", "good.csv", "--smooth", "-1"], "must be a number >= 0"),
        (["good.csv", "good.csv", "--top", "0"], "must be a positive integer"),
        (["good.csv", "good.csv", "--symbols", "words"], "--symbols is for texts"),
        (["good.csv", "good.csv", "--smooth", "1e308"], "overflow"),
        (["good.csv", "good.csv", "--plot", "none/x.png"], "there is no folder none"),
        (["good.csv", "good.csv", "--plot", "x.gif"], "must end in .png, .svg or .pdf"),
        (["empty.txt", "latin.txt", "--symbols", "bytes"], "is empty"),
        (["latin.txt", "latin.txt", "--symbols", "words"], "--symbols bytes counts any file"),
        (["good.csv"], "Q"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert main(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out
