"""`verify` of families: the catalogue stands, and wrong formulas are refuted."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import family_oracles as oracle
import jaxdiv as jd
from conftest import every, rest_slow
from jaxdiv import families
from jaxdiv.cli import main
from jaxdiv.families.catalogue import FAMILIES, FamilyEntry
from jaxdiv.verification.verdict import Verdict

QUICK = ("normal", "uniform")


@pytest.mark.parametrize("name", every(FAMILIES, QUICK))
def test_what_is_stated_of_a_family_stands(name):
    report = jd.verify(name, count=200)
    assert report.ok, report
    assert report.finding("never negative").verdict is Verdict.SAMPLED


def test_every_family_is_in_the_catalogue():
    public = {
        kind
        for kind in vars(families).values()
        if isinstance(kind, type) and issubclass(kind, families.Family)
    }
    abstract = {families.Family, families.ExponentialFamily}
    # Of whatever they are given.
    without_law = {families.Independent, families.Mixture, families.Transformed}
    assert {entry.family for entry in FAMILIES.values()} == public - abstract - without_law


@families.base.family
class Wrong(families.Normal):
    """A normal distribution whose divergence is off by a factor of its shift."""

    def bend(self, point, direction, t):
        return super().bend(point, direction, t) + 1e-3 * jnp.square(direction.shift)


@families.base.family
class Negative(families.Normal):
    """A normal distribution whose divergence is off by a constant where p is not q."""

    def bend(self, point, direction, t):
        return super().bend(point, direction, t) - 1e-6 * jnp.abs(direction.shift)


@families.base.family
class Cubic(families.Normal):
    """A normal distribution whose Renyi divergences have a wrong weight."""

    def at(self, other, direction, t, rest):
        return super().at(other, direction, t * t, 1 - t * t)


@pytest.mark.parametrize(
    ("kind", "claim"),
    rest_slow(
        [
            (Wrong, "Hessian = Fisher information"),
            (Cubic, "Bhattacharyya's is symmetric"),
            (Negative, "never negative"),
            (Negative, "gradient 0 at p = q"),
        ],
        2,
    ),
)
def test_a_wrong_formula_is_refuted(kind, claim):
    report = jd.verify(FamilyEntry("wrong", kind), count=200)
    finding = report.finding(claim)
    assert not report.ok
    assert finding.verdict is Verdict.REFUTED
    assert finding in report.failures
    assert set(finding.evidence.inputs) == {"loc", "scale"}


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_verification_in_float64():
    report = jd.verify("normal", count=100, dtype=jnp.float64)
    assert report.ok
    assert report.dtype == "float64"
    assert report.finding("Hessian = Fisher information").evidence.allowed < 1e-10


@pytest.mark.slow
def test_a_class_is_verified_as_its_name_is():
    by_class, by_name = jd.verify(families.Normal, count=50), jd.verify("normal", count=50)
    assert by_class.to_dict() == by_name.to_dict()


def test_fisher_information_is_the_variance_of_the_score():
    # Of a gamma distribution by hand: [[trigamma(a), -1/r], [-1/r, a/r^2]].
    a, r = jnp.asarray([0.5, 3.0]), jnp.asarray([2.0, 0.25])
    found = families.fisher_information(families.Gamma(a, r))
    trigamma = jax.scipy.special.polygamma(1, a)
    expected = np.asarray([[trigamma, -1 / r], [-1 / r, a / r**2]]).transpose(2, 0, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_mean_parameters_are_expectations_of_the_statistics():
    mean, square = families.mean_parameters(families.Normal(2.0, 3.0))
    assert (float(mean), float(square)) == pytest.approx((2.0, 13.0))


@pytest.mark.parametrize("name", every(["Cauchy", "Laplace", "Weibull", "Gumbel"], ["Cauchy"]))
def test_fisher_information_of_what_has_no_log_partition(name):
    parameters = {"Weibull": dict(concentration=1.5, scale=0.8)}.get(name, dict(loc=0.3, scale=0.8))
    found = families.fisher_information(getattr(families, name)(**parameters))
    wanted = np.asarray(oracle.fisher_information(name, parameters).tolist(), float)
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-6)


def test_what_has_no_fisher_information_says_so():
    with pytest.raises(NotImplementedError, match="the support of Uniform depends on its param"):
        families.fisher_information(families.Uniform(0.0, 1.0))
    with pytest.raises(NotImplementedError, match="but for fixed mean_direction"):
        families.fisher_information(families.PowerSpherical(jnp.asarray([0.6, 0.8]), 1.0))
    with pytest.raises(NotImplementedError, match="Cauchy is no exponential family"):
        families.mean_parameters(families.Cauchy(0.0, 1.0))


@pytest.mark.slow
def test_the_command_line(capsys):
    assert main(["verify", "normal", "--points", "50", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert report["ok"]
    assert {f["claim"] for f in report["findings"]} >= {"never negative", "exactly 0 at p = q"}
    assert main(["verify", "normal", "--points", "50"]) == 0
    shown = capsys.readouterr().out
    assert "50 members of a family" in shown
    assert "all that is stated stands: 1 verified" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["normal", "--size", "3"], "--size is of distributions over finitely many outcomes"),
        (["normal", "--report", "x"], "--report draws divergences"),
        (["norml"], "did you mean normal"),
    ],
)
def test_the_command_line_refuses(arguments, message, capsys):
    assert main(["verify", *arguments]) == 2
    assert message in capsys.readouterr().err
