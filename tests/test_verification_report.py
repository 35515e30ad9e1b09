"""The report is complete, its links lead somewhere, and its pictures show what is claimed."""

import dataclasses
import itertools
import json
import os
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiv._files import InputError
from jaxdiv.verification import Finding, random_points, subject_of
from jaxdiv.verification.engine import mathematics
from jaxdiv.verification.entropy import entropy_claims
from jaxdiv.verification.report import Report

pytest.importorskip("matplotlib")

from jaxdiv.verification import pictures
from jaxdiv.verification.markdown import prepare, write_report

POINTS = random_points(20, 4, 0, jnp.float32)


def lopsided(p, q):
    """Costs $p$ | <b>more</b> than *q* `here`."""
    d = np.asarray(p) - np.asarray(q)
    return np.sum(d * d * np.asarray(q), -1)


def verified(subject):
    """A report without what is seen at the points, which takes longest and is of the same kinds.

    Verification itself is not held to strict promotion here.
    """
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        findings = tuple(mathematics(subject))
    return Report(subject.name, subject.title, "cpu", "float32", 4, POINTS.source, findings)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A divergence and a function that JAX can't trace, under a name that no file may have."""
    subjects = [subject_of("chi2"), subject_of(lopsided, "my/own:chi2|")]
    reports = [verified(subject) for subject in subjects]
    folder = tmp_path_factory.mktemp("report") / "new"
    return folder, reports, subjects, write_report(reports, subjects, folder, POINTS)


def empty(name="x"):
    """A report of nothing, for what happens to files."""
    return Report(name, "", "cpu", "float32", 4, "", (Finding("symmetric", note="not asked"),))


def flat(p, q):
    return np.zeros(np.shape(p)[:-1])


def test_what_is_written(written):
    folder, _, _, paths = written
    assert paths[0] == folder / "report.md"
    assert set(paths) == set(folder.iterdir())
    names = {path.name for path in paths}
    own = {f"chi2-{kind}.png" for kind in ("bowl", "spectrum", "gradient", "jensen", "witnesses")}
    assert own < names
    assert {"my_own_chi2_.json", "my_own_chi2_-bowl.png", "my_own_chi2_-jensen.png"} < names
    # What needs derivatives isn't drawn of what has none.
    assert "my_own_chi2_-gradient.png" not in names


def test_pictures_are_of_a_page_s_width_and_show_something(written):
    images = pytest.importorskip("matplotlib.image")
    for path in written[3]:
        if path.suffix == ".png":
            image = images.imread(path)
            assert image.shape[1] == 1125 and 250 < image.shape[0] < 1200, path
            assert image[..., :3].std() > 0.05, path
            # Nothing touches the page's edge, as a clipped label would.
            assert (image[:, [0, -1], :3] == 1).all(), path


def test_every_finding_is_on_the_page_and_every_link_leads_somewhere(written):
    folder, reports, _, paths = written
    text = paths[0].read_text("utf-8")
    links = re.findall(r"(?<!\\)\]\(([^)\s]+)\)", text)
    for link in links:
        there = f'<a id="{link[1:]}">' in text if link[0] == "#" else (folder / link).is_file()
        assert there, link
    shown = {path.name for path in paths if path.suffix == ".png"}
    assert shown == {link for link in links if link.endswith(".png")}
    rows = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in row[1:-1]) for row in rows]
    for finding in (finding for report in reports for finding in report.findings):
        claim = finding.claim.replace("|", "\\|")
        found = [row for row in cells if row[:2] == (claim, finding.chart)]
        assert found and all(len(row) == 5 and row[4] for row in found), finding
        assert any(finding.word in row[3] for row in found), finding
    assert "Lemma: " in text and "Premises, checked again" in text and "left side: " in text


def test_what_a_function_is_called_is_no_markup(written):
    text = written[3][0].read_text("utf-8")
    assert "## my/own:chi2\\|" in text
    assert "Costs \\$p\\$ \\| &lt;b>more&lt;/b> than \\*q\\* \\`here\\`." in text


def test_the_numbers_are_beside_the_page(written):
    folder, reports, _, _ = written
    for report, name in zip(reports, ("chi2.json", "my_own_chi2_.json"), strict=True):
        found = json.loads((folder / name).read_text("utf-8"))
        assert found == report.to_dict()
        assert len(found["findings"]) == len(report.findings)


def test_a_counterexample_is_drawn_above_the_chord(written):
    _, (report, other), (subject, function), _ = written
    seen = set()
    for finding in report.findings:
        path = pictures.jensen_path(subject, finding, np.float32)
        if path is None:
            continue
        seen.add(finding.word)
        assert path.chord[[0, -1]] == pytest.approx(path.curve[[0, -1]])
        if finding.word == "refuted":
            middle = len(path.t) // 2
            above, below = (
                sum(side) / 2 for side in (finding.evidence.left, finding.evidence.right)
            )
            assert path.witness and path.t[middle] == 0.5
            assert path.curve[middle] == pytest.approx(above, rel=1e-4)
            assert path.chord[middle] == pytest.approx(below, rel=1e-4)
            assert path.curve[middle] > path.chord[middle]
        else:
            assert not path.witness and (path.curve[1:-1] < path.chord[1:-1]).all()
    assert seen == {"proved", "refuted"}
    # What interval arithmetic can't read is refuted as computed, and the violation is shown.
    finding = other.finding("convex in q", "probabilities")
    assert finding.word == "refuted" and "computed" in finding.evidence.describe()
    path = pictures.jensen_path(function, finding, np.float32)
    assert path is not None and (path.curve > path.chord).any() and "violated" in path.title


def test_the_numbers_of_the_pictures():
    subject = subject_of("chi2")
    q, forward, backward = pictures.over_simplex(subject, np.float32)
    p = np.asarray(pictures.P)
    np.testing.assert_allclose(q.sum(-1), 1)
    np.testing.assert_allclose(forward, ((p - q) ** 2 / q).sum(-1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(backward, ((p - q) ** 2 / p).sum(-1), rtol=1e-4, atol=1e-6)
    for p, found in pictures.spectra(subject, np.float32):
        ends = 2 / np.sort(p)[::-1]
        assert (ends[:-1] <= found * 1.001).all() and (found <= ends[1:] * 1.001).all()
        assert found[0] >= 2 * max(2, 1 / p.max()) * 0.999
    for away, norm, at_p in pictures.slopes(subject, np.float32).values():
        assert at_p == 0
        # Linear: a line's slope near p is 1.
        assert np.log(norm[:, 14] / norm[:, 10]) == pytest.approx(
            np.log(away[:, 14] / away[:, 10]), rel=0.01
        )


def test_values_that_are_not_numbers():
    q, forward, backward = pictures.over_simplex(subject_of("kl"), np.float32)
    forward = np.where(q[:, 0] < 0.1, np.inf, np.where(q[:, 1] < 0.1, np.nan, forward))
    figure = pictures.bowl(q, forward, backward, "nats")
    assert figure is not None
    with open(os.devnull, "wb") as file:
        pictures.save(figure, file)
    assert (
        pictures.bowl(q, np.full_like(q[:, 0], np.nan), np.full_like(q[:, 0], np.inf), "") is None
    )
    assert pictures.bowl(q, 0 * q[:, 0], 0 * q[:, 0], "") is None


def test_units():
    names = ("kl", "js_distance", "total_variation", "chi2")
    assert [pictures.unit(subject_of(n)) for n in names] == ["nats", "root nats", "", ""]


def test_written_again_but_not_over_what_is_not_its_own(tmp_path):
    subject = subject_of(flat, "x")
    for _ in range(2):
        paths = write_report([empty()], [subject], tmp_path, POINTS)
        assert [path.name for path in paths] == ["report.md", "x.json"]
    other = subject_of(flat, "y")
    write_report([empty("y")], [other], tmp_path, POINTS)
    write_report([empty()], [subject], tmp_path, POINTS)  # x.json is still the report's
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "z.json").write_text("mine")
    with pytest.raises(InputError, match=r"z\.json is not of a former report"):
        write_report([empty("z")], [subject_of(flat, "z")], tmp_path, POINTS)
    page = tmp_path / "notes"
    page.mkdir()
    (page / "report.md").write_text("# mine\n")
    with pytest.raises(InputError, match=r"report\.md is not of a former report"):
        prepare(["x"], page)
    assert (page / "report.md").read_text() == "# mine\n" and (
        tmp_path / "z.json"
    ).read_text() == "mine"
    twice = write_report([empty(), empty()], [subject, subject], tmp_path / "two", POINTS)
    assert [path.name for path in twice] == ["report.md", "x.json", "x_2.json"]


def test_what_is_no_divergence_has_no_pictures(tmp_path):
    report = dataclasses.replace(
        empty("entropy"), findings=tuple(itertools.islice(entropy_claims(POINTS), 5))
    )
    paths = write_report([report], ["entropy"], tmp_path, POINTS)
    assert [path.name for path in paths] == ["report.md", "entropy.json"]
    text = paths[0].read_text("utf-8")
    assert all(finding.claim in text for finding in report.findings)


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    subject = subject_of(flat, "x")
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="file") as caught:
            write_report([empty()], [subject], folder, POINTS)
        assert "\n" not in str(caught.value)
    write_report([empty()], [subject], tmp_path / "once", POINTS)
    (tmp_path / "once" / "x.json").unlink()
    (tmp_path / "once" / "x.json").mkdir()
    with pytest.raises(InputError, match=r"x\.json: Is a directory"):
        write_report([empty()], [subject], tmp_path / "once", POINTS)
    with pytest.raises(ValueError, match="every report needs its subject"):
        write_report([empty()], [], tmp_path / "new", POINTS)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'jaxdiv\[plot\]'"):
        write_report([empty()], [subject], tmp_path / "new", POINTS)
    assert not (tmp_path / "new").exists() and (tmp_path / "file").read_text() == "mine"


def test_contradictions_are_said_first(tmp_path):
    wrong = dataclasses.replace(
        verified(subject_of(lopsided)).finding("symmetric"), claim="as claimed", stated=True
    )
    report = dataclasses.replace(empty(), findings=(wrong,))
    text = write_report([report], [subject_of(flat, "x")], tmp_path, POINTS)[0].read_text("utf-8")
    assert "contradicted, or nothing was looked at, for: [x](#x)" in text
    assert "**Contradicts what is stated.**" in text and "as computed" in text
