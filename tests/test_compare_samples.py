"""`jaxdiv compare --samples`: the numbers are the library's; bad files are one sentence."""

import json
import sys

import numpy as np
import pytest
from scipy import stats

import jaxdiv as jd
from jaxdiv.cli import main

RNG = np.random.default_rng(4)
P, Q = RNG.normal(size=80), RNG.normal(size=60) + 0.5


def written(folder):
    """P as an array, Q as a column beside another."""
    np.save(folder / "p.npy", P)
    rows = "".join(f"{i},{q!r}\n" for i, q in enumerate(Q.tolist()))
    (folder / "q.csv").write_text("id,x\n" + rows)
    return str(folder / "p.npy"), str(folder / "q.csv")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """One run, for all that is to be seen in it."""
    folder = tmp_path_factory.mktemp("samples")
    p, _ = written(folder)
    np.savetxt(folder / "q1.csv", Q, header="x", comments="")
    out = folder / "out.json"
    with pytest.MonkeyPatch.context() as patched, out.open("w") as file:
        patched.setattr(sys, "stdout", file)
        arguments = ["compare", p, str(folder / "q1.csv"), "--samples", "--json", "--k", "3"]
        assert main([*arguments, "--base", "e", "--plot", str(folder / "x.png")]) == 0
    return json.loads(out.read_text()), folder / "x.png"


def test_estimates_are_the_librarys(result):
    found, _ = result
    estimates = found["estimates"]
    x, y = P.astype(np.float32), Q.astype(np.float32)
    assert found["p"]["points"] == 80 and found["q"]["points"] == 60
    assert estimates["kl_pq"]["estimate"] == pytest.approx(
        float(jd.samples.knn_kl(x, y, 3)), rel=1e-4
    )
    transport = stats.wasserstein_distance(P, Q)
    assert estimates["wasserstein_1d"]["estimate"] == pytest.approx(transport)
    energy = stats.energy_distance(P, Q) ** 2
    assert estimates["energy_distance"]["estimate"] == pytest.approx(energy)
    assert estimates["kl_pq"]["unit"] == "nats" and estimates["mmd2"]["unit"] == ""
    for row in estimates.values():
        assert row["standard_error"] > 0
        half = 1.96 * row["standard_error"]
        assert row["high"] - row["estimate"] == pytest.approx(half, rel=1e-3)
        assert row["low"] < row["estimate"] < row["high"]


def test_the_picture(result):
    images = pytest.importorskip("matplotlib.image")
    assert images.imread(result[1]).std() > 0.05


@pytest.mark.slow
def test_what_is_printed_fits(tmp_path, capsys):
    p, q = tmp_path / ("long" * 30 + ".npy"), tmp_path / "q.npy"
    points = RNG.normal(size=(60, 3))
    points[5] = points[6]
    np.save(p, points)
    np.save(q, RNG.normal(size=(60, 3)) * 1e-9)
    assert main(["compare", str(p), str(q), "--samples", "--k", "1"]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "2 of them repeated" in out and "inf" in out and "undefined" in out


GOOD = "x,y\n" + "".join(f"{i},{i * i % 7}\n" for i in range(30))
BAD = {
    "empty.csv": (b"", "holds no numbers"),
    "text.csv": (b"x,y\n1,2\n3,b\n", "line 3: 'b' is not a number"),
    "gap.csv": (b"x,y\n1,2\n3,\n", "line 3: '' is not a number"),
    "nan.csv": (b"x,y\n1,nan\n", "line 2: nan is not a finite number"),
    "ragged.csv": (b"x,y\n1,2\n3\n", "line 3 has 1 columns, not 2"),
    "twice.csv": (b"x,x\n1,2\n3,4\n", "two columns have one name"),
    "one.csv": (b"x,y\n1,2\n", "holds 1 points"),
    "few.csv": (b"x,y\n1,2\n3,4\n5,6\n", "--k 5 needs 24 points in either file"),
    "narrow.csv": (b"1\n2\n3\n", "has points of 1 numbers but"),
    "other.csv": (b"x,z\n1,2\n3,4\n", "columns of different names, such as 'y'"),
    "latin.csv": (b"\xe9,1\n", "not UTF-8"),
    "quote.csv": (b'1,2\n",2\n', "not readable as .csv"),
    "damaged.npy": (b"not an array", "not a readable .npy file"),
    "points.txt": (b"1 2", "must end in .npy or .csv with --samples"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence(tmp_path, capsys, name):
    data, message = BAD[name]
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.csv").write_text(GOOD)
    assert main(["compare", str(tmp_path / name), str(tmp_path / "good.csv"), "--samples"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and name in captured.err
    assert captured.err.count("\n") == 1 and not captured.out


@pytest.mark.parametrize(
    "array, message",
    [
        (np.ones((2, 2, 2)), "must hold points"),
        (np.ones(3) * 1j, "must be real"),
        (np.asarray([[1.0, np.inf]] * 2), "point 0, dimension 1 is inf"),
    ],
)
def test_a_bad_array_is_one_sentence(tmp_path, capsys, array, message):
    np.save(tmp_path / "bad.npy", array)
    bad = str(tmp_path / "bad.npy")
    assert main(["compare", bad, bad, "--samples"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--samples", "--smooth", "1"], "--smooth is for counts"),
        (["--samples", "--symbols", "words"], "--symbols is for counts"),
        (["--k", "3"], "--k is for points: say --samples"),
        (["--columns", "x"], "--columns is for points"),
        (["--samples", "--columns", "x,w"], "--columns w: no such name or number among 2"),
        (["--samples", "--columns", "3"], "--columns 3: no such name or number"),
        (["--samples", "--k", "0"], "must be a positive integer"),
        (["--samples", "--seed", "-1"], "must be an integer from 0"),
        (["--samples", "--plot", "good.gif"], "must end in .png, .svg or .pdf"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(GOOD)
    assert main(["compare", "good.csv", "good.csv", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out


def test_columns_match_by_name(tmp_path):
    from jaxdiv.commands import _compare_samples as command

    (tmp_path / "p.csv").write_text("x,y\n1,2\n3,4\n")
    (tmp_path / "q.csv").write_text("y,x\n6,5\n8,7\n")
    paths = str(tmp_path / "p.csv"), str(tmp_path / "q.csv")
    p, q = command._aligned(*(command.read(path, None) for path in paths), paths)
    assert p.tolist() == [[1, 2], [3, 4]] and q.tolist() == [[5, 6], [7, 8]]
    chosen = command.read(paths[0], ["y"])
    assert chosen.values.tolist() == [[2], [4]] and chosen.names == ("y",)
    assert command.read(paths[1], ["2"]).values.tolist() == [[5], [7]]
