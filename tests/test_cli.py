"""The command line as a user meets it."""

import json
import subprocess
import sys

import numpy as np
import pytest

import jaxdiv as jd
from jaxdiv.cli import main

QUICK = ["--points", "10", "--size", "3"]


def test_verify_prints_what_was_checked(capsys):
    assert main(["verify", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "10 distributions over 3 outcomes (random, seed 0), float32, on cpu" in out
    assert "Hessian > 0 at p = q" in out and "all that is stated stands" in out
    assert "proved" in out and "refuted" in out and "sampled" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.core
def test_verify_prints_json(capsys):
    assert main(["verify", "kl", "--json", "--dtype", "float64", *QUICK]) == 0
    result = json.loads(capsys.readouterr().out)
    (report,) = result["reports"]
    assert report["name"] == "kl" and report["ok"] and report["dtype"] == "float64"
    assert all(finding["ok"] for finding in report["findings"])
    proved = next(f for f in report["findings"] if f["claim"] == "convex in (p, q)")
    assert proved["verdict"] == "proved"
    assert proved["evidence"]["premises"][0]["exact"] == "t^-1"


FUNCTIONS = """
import jax.numpy as jnp

def kl(p, q):
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)), axis=-1)

def terms(p, q):
    return p * jnp.log(p / q)

number = 3
"""


@pytest.mark.slow
def test_a_function_of_ones_own(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_module.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "--function", "my_module:kl", *QUICK]) == 1
    out = capsys.readouterr().out
    assert "FAILED: my_module:kl" in out and "never negative" in out
    for path, message in (
        ("my_module:terms", "sum over the last axis"),
        ("my_module:number", "a function of"),
        ("my_module:nothing", "has no attribute 'nothing'"),
        ("no_module:kl", "No module named 'no_module'"),
        ("my_module", "must be package.module:name"),
    ):
        assert main(["verify", "--function", path, *QUICK]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error


@pytest.mark.slow
def test_a_report_is_written(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "report"
    assert main(["verify", "--report", str(folder), *QUICK]) == 0
    assert f"wrote {folder / 'report.md'}" in capsys.readouterr().out
    assert "Proved" in (folder / "report.md").read_text() or (folder / "kl.json").exists()
    (tmp_path / "file").write_text("mine")
    assert main(["verify", "--report", str(tmp_path / "file"), *QUICK]) == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_families_and_their_closed_forms(capsys):
    assert main(["families", "poisson", "dirichlet"]) == 0
    shown = capsys.readouterr().out
    assert "poisson  Poisson distribution" in shown and "KL within: yes" in shown
    assert "no closed form to: Geometric, NegativeBinomial" in shown
    assert main(["families", "poisson", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["families"]["poisson"]
    assert row["integrals"] == "yes" and row["entropy"] == "" and row["to"] == []
    assert main(["families", "poison"]) == 2
    assert "did you mean poisson" in capsys.readouterr().err


def test_the_table_says_what_is_proved(capsys):
    assert main(["table", "kl", "chi2"]) == 0
    out = capsys.readouterr().out
    assert "✓ proved" in out and max(map(len, out.splitlines())) <= 80
    assert main(["table", "kl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]["kl"]["convex in p"] == "✓"
    assert main(["table", "ki"]) == 2
    assert "did you mean kl" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failed_check_is_status_1(capsys, monkeypatch):
    import dataclasses

    lie = dataclasses.replace(jd.CATALOGUE["js"], stated=dict(coefficient=0.5))
    monkeypatch.setitem(jd.CATALOGUE, "js", lie)
    assert main(["verify", "js", *QUICK]) == 1
    assert "FAILED: js" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_own_rows(tmp_path, capsys, suffix):
    # As many as QUICK takes: one compiled program serves these tests.
    rows = np.asarray([[0.0, 0.5, 0.5]] + 9 * [[0.2, 0.3, 0.5]])
    path = tmp_path / f"rows.{suffix}"
    if suffix == "npy":
        np.save(path, rows)
    elif suffix == "npz":
        np.savez(path, rows)
    else:
        path.write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    before = path.read_bytes()
    assert main(["verify", "--input", str(path)]) == 0
    assert "1 of them have zeros" in capsys.readouterr().out
    assert path.read_bytes() == before


BAD_FILES = {
    "missing.npy": (None, "No such file"),
    "empty.csv": ("", "holds no numbers"),
    "header.csv": ("a,b\n", "holds no numbers"),
    "ragged.csv": ("0.5,0.5\n0.2,0.3,0.5\n", "line 2 has 3 numbers, but the first row 2"),
    "words.csv": ("0.5,0.5\n0.5,half\n", "line 2: 'half' is not a number"),
    "negative.csv": ("0.5,0.5\n1.5,-0.5\n", "row 2 holds the negative number -0.5"),
    "nan.csv": ("0.5,0.5\nnan,0.5\n", "row 2 holds NaN"),
    "infinite.csv": ("0.5,0.5\ninf,0.5\n", "row 2 holds inf"),
    "zero.csv": ("0,0\n", "row 1 holds only zeros"),
    "unnormalised.csv": ("0.5,0.5\n2,3\n", "row 2 sums to 5, not 1"),
    "one.csv": ("1\n1\n", "at least two outcomes"),
    "text.txt": ("0.5,0.5\n", "must end in .npy, .npz or .csv"),
    "damaged.npy": ("not an array", "not a readable .npy file"),
    "damaged.npz": ("not an archive", "not a readable .npz file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_sentence(tmp_path, capsys, name):
    text, message = BAD_FILES[name]
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    assert main(["verify", "--input", str(path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and name in captured.err
    assert captured.err.count("\n") == 1 and not captured.out


@pytest.mark.parametrize(
    "array, message",
    [
        (np.asarray([object()]), "not a readable"),
        (np.asarray(["a"]), "must be real"),
        (np.zeros((2, 2, 2)), "one or two axes"),
        (np.zeros((0, 3)), "holds no numbers"),
    ],
)
def test_bad_arrays(tmp_path, capsys, array, message):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    assert main(["verify", "--input", str(tmp_path / "x.npy")]) == 2
    assert message in capsys.readouterr().err
    np.savez(tmp_path / "y.npz", a=np.ones(2), b=np.ones(2))
    assert main(["verify", "--input", str(tmp_path / "y.npz")]) == 2
    assert "must hold one array, but holds 2: a, b" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, message",
    [
        (["verify", "jss"], "did you mean js"),
        (["verify", "zzzzzz"], "`jaxdiv list` names them all"),
        (["verify", "--size", "1"], "--size must be at least 2"),
        (["verify", "--points", "0"], "must be a positive integer"),
        (["verify", "--dtype", "int8"], "invalid choice"),
        (["verify", "--device", "gpu"], "no such device"),
        (["verify", "--logits"], "there is no --input"),
        (["verify", "kl", "--all"], "not both"),
        (["verify", "--input", "x.npy", "--seed", "1"], "--input is given"),
        (["show"], "NAME"),
        (["show", "hellinger"], "squared_hellinger"),
        ([], "COMMAND"),
        (["prove"], "invalid choice"),
    ],
)
def test_bad_arguments_are_one_sentence(capsys, argv, message):
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize("name", list(jd.CATALOGUE))
def test_show_says_everything(capsys, name):
    entry = jd.CATALOGUE[name]
    assert main(["show", name]) == 0
    out = capsys.readouterr().out
    for text in (entry.title, entry.divergence.formula, entry.citation, "upper bound"):
        assert text in out
    assert main(["show", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verb"] == entry.verb.__name__


def test_list_names_all(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in jd.CATALOGUE)
    assert main(["list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(jd.CATALOGUE)


def test_the_module_runs():
    command = [sys.executable, "-m", "jaxdiv", "--version"]
    run = subprocess.run(command, capture_output=True, check=False)
    assert run.returncode == 0 and run.stdout == f"jaxdiv {jd.__version__}\n".encode()
