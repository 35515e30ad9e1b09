"""What the README shows is true: its code runs, its tables are the printed ones."""

import re
from pathlib import Path

import pytest

import jaxdiv as jd
from conftest import every
from jaxdiv.families.catalogue import FAMILIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
KOREAN = (ROOT / "README.ko.md").read_text(encoding="utf-8")


def blocks(kind, text):
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


BLOCKS = blocks("python", README) + blocks("python", KOREAN)
CONSOLE = blocks("console", README)


def test_there_is_code_to_run():
    assert len(BLOCKS) >= 2
    assert len(BLOCKS[0].strip().splitlines()) <= 15


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_code_blocks_run(index, monkeypatch):
    # The README's reader has JAX's default promotion rules.
    import jax

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile(BLOCKS[index], f"README block {index}", "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("block", CONSOLE, ids=range(len(CONSOLE)))
def test_commands_print_what_is_shown(block, capsys, monkeypatch):
    import shlex

    import jax

    from jaxdiv.cli import main

    command, shown = block.split("\n", 1)
    program, *arguments = shlex.split(command.removeprefix("$ "))
    assert program == "jaxdiv"
    monkeypatch.chdir(ROOT)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert main(arguments) == 0
    assert capsys.readouterr().out.rstrip() == shown.rstrip()


def test_the_table_of_verbs_is_the_printed_one():
    from jaxdiv.commands.listing import verbs_table

    shown = README.split("<!-- verbs:begin -->")[1].split("<!-- verbs:end -->")[0]
    assert shown.strip() == verbs_table()


def table_rows():
    shown = README.split("<!-- table:begin -->")[1].split("<!-- table:end -->")[0]
    lines = [line.strip("| ").split("|") for line in shown.strip().splitlines()]
    return [[cell.strip() for cell in line] for line in lines]


@pytest.mark.parametrize("name", every(jd.CATALOGUE, ["kl", "chi2", "renyi_2", "fisher_rao"]))
def test_the_property_table_is_the_computed_one(name):
    from jaxdiv.commands.table import COLUMNS, row

    titles, _, *rows = table_rows()
    assert titles == ["divergence", *COLUMNS]
    assert [cells[0] for cells in rows] == list(jd.CATALOGUE)
    cells, fine = row(name)
    assert fine
    shown = next(own[1:] for own in rows if own[0] == name)
    assert shown + [""] * (len(cells) - len(shown)) == cells


@pytest.mark.parametrize("name", every(FAMILIES, ["normal", "poisson", "wishart"]))
def test_the_table_of_families_is_the_computed_one(name):
    from jaxdiv.commands.families import TITLES, markdown

    shown = README.split("<!-- families:begin -->")[1].split("<!-- families:end -->")[0]
    title, line, *rows = shown.strip().splitlines()
    assert len(rows) == len(FAMILIES) and title == f"| family | {' | '.join(TITLES)} |"
    assert markdown([name]).splitlines() == [title, line, rows[list(FAMILIES).index(name)]]


def test_the_accuracy_table_is_the_measured_one():
    import json

    from bench import accuracy

    result = json.loads((ROOT / "bench" / "results" / "accuracy.json").read_text())
    shown = README.split("<!-- accuracy:begin -->")[1].split("<!-- accuracy:end -->")[0]
    assert shown.strip() == accuracy.readme_block(result).strip()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README + KOREAN):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
