"""Verification passes what is true and fails what is not."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from jaxdiv._catalogue import Entry
from jaxdiv._divergence import Homogeneous, Limit, declare
from jaxdiv.verification import Check, Report, from_array, random_points, verify


def points():
    return random_points(24, 4, 0, jnp.float32)


def failures(report):
    return {(check.claim, check.chart) for check in report.checks if not check.ok}


@pytest.mark.core
@pytest.mark.parametrize("name", ["kl", "renyi_half", "total_variation"])
def test_the_catalogue_passes(name):
    report = verify(jd.CATALOGUE[name], points())
    assert report.ok, report
    assert {c.chart for c in report.checks} == {"probabilities", "logits"}
    if name == "total_variation":
        notes = {c.note for c in report.checks if not c.applies}
        assert "not smooth at p = q" in notes


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, dtype",
    [
        *((name, "float32") for name in jd.CATALOGUE),
        *((name, "float64") for name in ("kl", "js", "renyi_2", "bregman")),
        *((name, "bfloat16") for name in ("kl", "fisher_rao", "f_divergence")),
    ],
)
def test_the_whole_catalogue_passes(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        report = verify(jd.CATALOGUE[name], random_points(50, 5, 1, jnp.dtype(dtype)))
        assert report.ok, report


@declare
class Wrong(Homogeneous):
    """KL with something wrong."""

    slope: float = 1.0  # of the derivative with respect to q
    shift: float = 0.0  # added to it
    offset: float = 0.0  # added to the value
    ripple: float = 0.0  # a concave dent
    formula: ClassVar[str] = "wrong"

    def term(self, pair):
        dent = self.ripple * pair.q * jnp.sin(3 * pair.log_ratio) ** 2
        return jd.KL().term(pair) + dent + self.offset * pair.q

    def weighted(self, pair):
        by_p, by_q = jd.KL().weighted(pair)
        return by_p, self.slope * by_q + self.shift * pair.q * jnp.linspace(0, 1, pair.q.shape[-1])

    def limits(self):
        return Limit(1.0, -jnp.inf, 0.0), Limit(jnp.inf, -jnp.inf, -1.0)

    def claims(self):
        return jd.KL().claims()


def wrong(**what):
    divergence = Wrong(**what)
    return Entry("wrong", lambda p, q, **k: divergence(p, q, **k), divergence, "none")


@pytest.mark.parametrize(
    "what, caught",
    [
        (dict(slope=1.01), "Hessian as claimed"),
        (dict(slope=-1.0), "Hessian > 0 at p = q"),
        (dict(shift=1e-3), "gradient 0 at p = q"),
        (dict(offset=-1e-6), "never negative"),
        (dict(offset=1e-6), "exactly 0 at p = q"),
        (dict(ripple=0.5), "convex in q"),
    ],
)
def test_what_is_wrong_is_caught(what, caught):
    report = verify(wrong(**what), points())
    assert not report.ok
    assert (caught, "probabilities") in failures(report)


@pytest.mark.parametrize(
    "name, claim, caught",
    [
        ("js", dict(convex_in_q_logits=True), ("convex in q", "logits")),
        ("kl", dict(convex_in_p_logits=True), ("convex in p", "logits")),
        ("hellinger_distance", dict(convex_in_q=True), ("convex in q", "probabilities")),
        ("js", dict(coefficient=0.5), ("Hessian as claimed", "logits")),
    ],
)
def test_a_wrong_claim_is_caught(name, claim, caught):
    entry = dataclasses.replace(jd.CATALOGUE[name], stated=claim)
    wide = random_points(400, 4, 0, jnp.float32)
    report = verify(entry, dataclasses.replace(wide, logits=3 * wide.logits))
    assert caught in failures(report)


def test_zeros_are_checked_on_their_support():
    rows = np.asarray([[0.5, 0.5, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    own = from_array(rows, jnp.float32, logits=False, source="here")
    assert own.boundary == 1
    assert verify(jd.CATALOGUE["kl"], own).ok


def test_reports_are_plain():
    nan = Check("p", "probabilities", 1, float("nan"), 0.0)
    assert not nan.ok
    report = Report("x", "X.", "cpu", "float32", 2, (nan,))
    assert not report.ok and "FAILED" in repr(report)
    assert '"worst": "nan"' in report.to_json()
    skipped = dataclasses.replace(nan, applies=False)
    assert not Report("x", "X.", "cpu", "float32", 2, (skipped,)).ok  # nothing was checked


@pytest.mark.parametrize("what", [{}, {"slope": 1.01}, {"slope": -1.0}])
def test_many_outcomes_are_verified_without_a_dense_hessian(what):
    # 5000 outcomes: a Hessian a point would be 100 MB.
    rng = np.random.default_rng(0)
    wide = from_array(rng.normal(size=(3, 5000)), jnp.float32, logits=True, source="here")
    report = verify(wrong(**what), wide)
    local = {c.claim: c.ok for c in report.checks if c.chart == "probabilities"}
    assert local["Hessian as claimed"] == (not what)
    assert local["Hessian > 0 at p = q"] == (what.get("slope") != -1.0)
    assert report.ok == (not what), report
