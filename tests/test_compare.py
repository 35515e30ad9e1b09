"""`jaxdiv compare`: the numbers are those of scipy and of hand-made codes; bad files are named."""

import json

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
    for name in set(jd.CATALOGUE) - {"kl", "js", "js_distance"}:
        monkeypatch.delitem(jd.CATALOGUE, name)


def table(path, counts, header="symbol,count\n"):
    path.write_text(header + "".join(f"{k},{v}\n" for k, v in counts.items()))
    return str(path)


def compare(capsys, *arguments):
    assert main(["compare", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


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
        (["good.csv", "good.csv", "--plot", "x.gif"], "must end in .png, .svg or .pdf"),
        (["latin.txt", "latin.txt", "--symbols", "words"], "--symbols bytes counts any file"),
        (["good.csv"], "Q"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert main(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out
