"""Verification passes what is true, and proves or refutes it; what is wrong it refutes."""

import dataclasses
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every, rest_slow
from jaxdiv._catalogue import Entry
from jaxdiv._divergence import Homogeneous, Limit, declare
from jaxdiv.verification import (
    Certificate,
    Finding,
    Observation,
    Report,
    Sample,
    Verdict,
    Witness,
    from_array,
    random_points,
    subject_of,
    verify,
)
from jaxdiv.verification.engine import mathematics
from jaxdiv.verification.inertia import eigenvalues_below, logit_inertia
from jaxdiv.verification.local import local, pairs_inertia
from jaxdiv.verification.regions import convex_region

P, L = "probabilities", "logits"


def points():
    return random_points(24, 4, 0, jnp.float32)


def failures(report):
    return {(finding.claim, finding.chart) for finding in report.failures}


def found(subject, **options):
    return {(f.claim, f.chart): f for f in mathematics(subject_of(subject), **options)}


# Everything together ---------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize("name", ["kl", "total_variation"])
def test_the_catalogue_passes(name):
    report = verify(jd.CATALOGUE[name], points=points())
    assert report.ok, report
    verdicts = {finding.verdict for finding in report.findings}
    assert {Verdict.PROVED, Verdict.REFUTED, Verdict.SAMPLED} <= verdicts
    if name == "total_variation":
        notes = {finding.note for finding in report.findings if finding.evidence is None}
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
        report = verify(name, points=random_points(50, 5, 1, jnp.dtype(dtype)))
        assert report.ok, report


def test_entropy_has_claims_of_its_own():
    report = verify("entropy", points=points())
    assert report.ok, report
    assert report.finding("concave in p").verdict is Verdict.PROVED
    assert report.finding("H(X|Y) <= H(X)").verdict is Verdict.SAMPLED
    assert verify(jd.entropy, points=points()).name == "entropy"


# The property table ----------------------------------------------------------------------------

# What mathematics.md says, written down once more: (in p, in q, jointly, q-logits, p-logits,
# symmetric, metric, root). y: proved; n: refuted; blank: not asked for.
TABLE = {
    "kl": "yyyynnnn",
    "reverse_kl": "yyynynnn",
    "jeffreys": "yyynnynn",
    "js": "yyynnyny",
    "js_quarter": "yyynnnnn",
    "skew_kl": "yyynnnnn",
    "total_variation": "yyynnyy ",
    "squared_hellinger": "yyynnyny",
    "hellinger_distance": "nnnnnyy ",
    "js_distance": "nnnnnyy ",
    "chi2": "yyyynnnn",
    "neyman_chi2": "yyynynnn",
    "alpha_minus_1": "yyynynnn",
    "alpha_half": "yyynnyny",
    "alpha_3": "yyyynnnn",
    "renyi_half": "yyynnynn",
    "renyi_2": "nynynnnn",
    "tsallis_1_5": "yyyynnnn",
    "bhattacharyya": "yyynnynn",
    "le_cam": "yyynnyny",
    "fisher_rao": "nnnnnyy ",
    "squared_fisher_rao": "yyynnyny",
    "itakura_saito": "ynnnnnnn",
    "squared_euclidean": "yyynnyny",
    "f_divergence": "yyyynnnn",
    "bregman": "ynnnnnnn",
}
COLUMNS = (
    ("convex in p", P), ("convex in q", P), ("convex in (p, q)", P),
    ("convex in q", L), ("convex in p", L),
    ("symmetric", ""), ("metric", ""), ("its square root is a metric", ""),
)  # fmt: skip
QUICK = ["kl", "renyi_2", "total_variation", "chi2", "hellinger_distance", "bregman", "js"]


def test_no_row_of_the_table_is_forgotten():
    # Chernoff information has no closed form: nothing of it is proved or refuted.
    assert set(TABLE) == set(jd.CATALOGUE) - {"chernoff"}


@pytest.mark.parametrize("name", every(TABLE, QUICK))
def test_every_cell_is_proved_or_refuted(name):
    findings = found(name, regions=False)
    for key, cell in zip(COLUMNS, TABLE[name], strict=True):
        if cell != " ":
            verdict = Verdict.PROVED if cell == "y" else Verdict.REFUTED
            assert findings[key].verdict is verdict, findings[key]
    assert all(finding.ok for finding in findings.values())
    for finding in findings.values():
        assert finding.verdict is not Verdict.SAMPLED, finding
        assert finding.evidence.check()


@pytest.mark.parametrize(
    "name, claim",
    [
        ("kl", "additive on products"),
        ("kl", "unbounded"),
        ("kl", "Hessian 1 diag(1/p) at p = q"),
        ("chi2", "1 + k D multiplies, k = 1.0"),
        ("squared_hellinger", "at most 1"),
        ("renyi_half", "Hessian 0.5 diag(1/p) at p = q"),
        ("fisher_rao", "at most 3.14159"),
        ("total_variation", "sub-additive on products"),
        ("squared_euclidean", "at most 2"),
        ("itakura_saito", "unbounded"),
        ("hellinger_distance", "D = 0 only for p = q"),
    ],
)
def test_other_claims_are_proved(name, claim):
    assert found(name, regions=False)[claim, ""].verdict is Verdict.PROVED


def test_a_proof_names_what_it_stands_on():
    certificate = found("le_cam", regions=False)["convex in q", P].evidence
    assert isinstance(certificate, Certificate)
    (premise,) = certificate.premises
    # The boxes tile what lies between the ends, where the leading term decides.
    np.testing.assert_array_equal(premise.lower[1:], premise.upper[:-1])
    assert premise.lower[0] < 1 < premise.upper[-1] and all(premise.ends)
    assert premise.check()
    gap = dataclasses.replace(premise, lower=premise.lower[1:], bound=premise.bound[1:])
    assert not gap.check()
    low = dataclasses.replace(premise, bound=-premise.bound)
    assert not low.check()
    other = dataclasses.replace(premise, function=lambda t: -premise.function(t))
    assert not other.check()
    moved = dataclasses.replace(premise, ends=("2 t^-1", premise.ends[1]))
    assert not moved.check()


def test_a_witness_is_checked_by_independent_arithmetic():
    import mpmath

    witness = found("kl", regions=False)["convex in p", L].evidence
    assert isinstance(witness, Witness)
    with mpmath.workdps(40):

        def softmax(row):
            weights = [mpmath.exp(x) for x in row]
            return [w / sum(weights) for w in weights]

        def kl(p, q):
            return sum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True))

        q = softmax(witness.rows["q"])
        ends = [witness.rows["p0"], witness.rows["p1"]]
        middle = softmax([(a + b) / 2 for a, b in zip(*ends, strict=True)])
        left, right = kl(middle, q), sum(kl(softmax(end), q) for end in ends) / 2
        assert witness.left[0] <= left <= witness.left[1]
        assert witness.right[0] <= right <= witness.right[1]
        assert left > right


# Certified regions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, argument, radius",
    [
        # Renyi of order 1/2: exactly log 3. Reverse KL: 1 - r = r tanh(r/2).
        ("renyi_half", "q", np.log(3)),
        ("reverse_kl", "q", 0.7388350311),
        ("js", "q", None),
    ],
)
def test_regions_are_certified_and_sharp(name, argument, radius):
    region = convex_region(subject_of(name), argument)
    assert region is not None and region.certificate.check()
    assert region.witness is not None and region.witness.check()
    assert 0.95 * region.beyond < region.radius < region.beyond
    if radius is not None:
        assert 0.97 * radius < region.radius < radius < region.beyond < 1.03 * radius
    # No negative eigenvalue inside, by an eigensolver in float64.
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        definition = subject_of(name).definition
        hessian = jax.jit(jax.vmap(jax.hessian(lambda z, p: definition(p, jax.nn.softmax(z)), 0)))
        logits = rng.normal(size=(200, 4))
        shift = rng.uniform(-region.radius / 2, region.radius / 2, (200, 4))
        p = jax.nn.softmax(jnp.asarray(logits + shift), axis=-1)
        spectrum = jnp.linalg.eigvalsh(hessian(jnp.asarray(logits), p))
        assert float(jnp.min(spectrum)) > -1e-12


# Inertia ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_inertia_counts_what_an_eigensolver_counts():
    rng = np.random.default_rng(0)
    n = 7
    basis = np.linalg.svd(np.ones((1, n)))[2][1:]  # of the vectors that sum to 0
    below = jax.jit(eigenvalues_below)
    for _ in range(50):
        d, s = rng.normal(size=n), float(rng.normal())
        eigenvalues = np.linalg.eigvalsh(basis @ np.diag(d) @ basis.T)
        assert int(below(jnp.asarray(d), s)) == np.sum(eigenvalues < s)
    definition = subject_of("js").definition
    p, q = (jnp.asarray(rng.dirichlet(np.full(n, 0.3), 40)) for _ in range(2))
    counts = logit_inertia(definition, p, q)
    hessian = jax.jit(jax.vmap(jax.hessian(lambda z, p: definition(p, jax.nn.softmax(z)), 0)))
    spectrum = np.asarray(jnp.linalg.eigvalsh(hessian(jnp.log(q), p)))
    clear = np.min(np.abs(np.sort(np.abs(spectrum))[:, 1:]), axis=1) > 1e-9
    np.testing.assert_array_equal(counts[clear], np.sum(spectrum < -1e-10, axis=1)[clear])
    assert 0 < int(jnp.sum(counts > 0)) and clear.sum() > 20


# What is wrong ---------------------------------------------------------------------------------


@declare
class Wrong(Homogeneous):
    """KL with something wrong."""

    slope: float = 1.0  # of the derivative with respect to q
    shift: float = 0.0  # added to it
    offset: float = 0.0  # added to the value
    ripple: float = 0.0  # a concave dent
    formula: ClassVar[str] = "wrong"

    def summand(self, p, q):
        return jd.KL().summand(p, q)

    def term(self, pair):
        dent = self.ripple * pair.q * jnp.sin(3 * pair.log_ratio) ** 2
        return jd.KL().term(pair) + dent + self.offset * pair.q

    def weighted(self, pair):
        by_p, by_q = jd.KL().weighted(pair)
        rising = jnp.broadcast_to(jnp.linspace(0, 1, pair.q.shape[-1]), pair.q.shape)
        return by_p, self.slope * by_q + self.shift * pair.q * rising

    def limits(self):
        return Limit(1.0, -jnp.inf, 0.0), Limit(jnp.inf, -jnp.inf, -1.0)

    def claims(self):
        return jd.KL().claims()


def wrong(**what):
    divergence = Wrong(**what)
    return Entry("wrong", lambda p, q, **k: divergence(p, q, **k), divergence, "none")


@pytest.mark.parametrize(
    "what, caught",
    rest_slow([
        (dict(slope=-1.0), "Hessian > 0 at p = q"),
        (dict(ripple=0.5), "Jensen along mixtures of q"),
        (dict(slope=1.01), "Hessian as claimed"),
        (dict(shift=1e-3), "gradient 0 at p = q"),
        (dict(offset=-1e-6), "never negative"),
        (dict(offset=1e-6), "exactly 0 at p = q"),
        (dict(ripple=0.5), "computes its definition"),
    ], 1),
)  # fmt: skip
def test_what_is_wrong_is_caught(what, caught):
    report = verify(wrong(**what), points=points())
    assert not report.ok
    assert (caught, P) in failures(report)
    assert report.finding(caught, P).verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    "name, claim, caught",
    rest_slow([
        ("kl", dict(convex_in_p_logits=True), ("convex in p", L)),
        ("kl", dict(convex_in_q_logits=False), ("convex in q", L)),  # it is: no witness
        ("hellinger_distance", dict(convex_in_q=True), ("convex in q", P)),
        ("js", dict(coefficient=0.5), ("Hessian as claimed", L)),
        ("kl", dict(symmetric=True), ("symmetric", "")),
        ("squared_hellinger", dict(symmetric=False), ("symmetric", "")),
        ("squared_hellinger", dict(metric="yes"), ("metric", "")),
        ("jeffreys", dict(metric="root"), ("its square root is a metric", "")),
        ("squared_hellinger", dict(upper_bound=0.9), ("at most 0.9", "")),
        ("kl", dict(upper_bound=100.0), ("unbounded", "")),
        ("squared_euclidean", dict(data_processing=True), ("data processing", "")),
        ("js", dict(products="additive"), ("additive on products", "")),
        ("chi2", dict(products=2.0), ("1 + k D multiplies, k = 2.0", "")),
        ("kl", dict(products="no"), ("a product rule", "")),
        ("js", dict(convex_in_q_logits=True), ("convex in q", L)),
    ], 3),
)  # fmt: skip
def test_a_wrong_claim_is_caught(name, claim, caught):
    entry = dataclasses.replace(jd.CATALOGUE[name], stated=claim)
    if caught[0] == "Hessian as claimed":
        report = verify(entry, points=points())
        assert caught in failures(report)
    else:
        finding = found(entry, regions=False)[caught]
        assert not finding.ok, finding
        if finding.verdict is Verdict.REFUTED:
            assert isinstance(finding.evidence, Witness) and finding.evidence.check()


@pytest.mark.slow
def test_a_ripple_on_a_generator_is_refuted():
    # f'' = 1/t - 0.4 sin(20 t) is below 0 at some t > 2.5.
    def convexity(f):
        findings = mathematics(subject_of(jd.FDivergence(f)), regions=False)
        return next(x for x in findings if (x.claim, x.chart) == ("convex in q", P))

    finding = convexity(lambda t: t * jnp.log(t) + 1e-3 * jnp.sin(20 * t))
    assert finding.stated and finding.verdict is Verdict.REFUTED and not finding.ok
    # f'' = 1/t + 2 - 0.4 sin(20 t) is not.
    harmless = convexity(lambda t: t * jnp.log(t) + t * t + 1e-3 * jnp.sin(20 * t))
    assert harmless.verdict is not Verdict.REFUTED


def test_negative_eigenvalues_are_counted_away_from_equality():
    claim = ("no negative eigenvalue by q", L)
    assert verify("kl", points=points()).finding(*claim).ok
    lie = dataclasses.replace(jd.CATALOGUE["js"], stated=dict(convex_in_q_logits=True))
    far = random_points(24, 4, 0, jnp.float32)
    far = dataclasses.replace(far, probs=jax.nn.softmax(4 * far.logits, axis=-1))
    (finding,) = pairs_inertia(subject_of(lie), far)
    assert (finding.claim, finding.chart) == claim and finding.verdict is Verdict.REFUTED


def test_claims_can_be_added():
    report = verify("kl", points=points(), claims={"convex in q [logits]": True, "symmetric": True})
    assert failures(report) == {("symmetric", "")}
    with pytest.raises(ValueError, match=r"there is no claim 'convex'; there are: .*symmetric"):
        verify("kl", points=points(), claims={"convex": True})
    with pytest.raises(ValueError, match="outcomes must be at least 2, but is 1"):
        verify("kl", outcomes=1)


def test_zeros_are_checked_on_their_support():
    rows = np.asarray([[0.5, 0.5, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    own = from_array(rows, jnp.float32, logits=False, source="here")
    assert own.boundary == 1
    assert all(finding.ok for finding in local(subject_of("kl"), own))


def test_reports_are_plain():
    nan = Finding("p", P, True, Sample(1, "here", float("nan"), 0.0))
    report = Report("x", "X.", "cpu", "float32", 2, "here", (nan,))
    assert not nan.ok and not report.ok and "FAILED" in repr(report)
    assert json.loads(report.to_json())["findings"][0]["evidence"]["worst"] == "nan"
    nothing = Finding("p", P, note="does not apply")
    assert not Report("x", "X.", "cpu", "float32", 2, "here", (nothing,)).ok
    fact = Finding("p", P, True, Observation("p is 1", {"p": (1.0,)}, 1.0, 0.0))
    assert fact.verdict is Verdict.REFUTED and not fact.ok
    report = verify("kl", points=points())
    data = json.loads(report.to_json())
    assert {f["verdict"] for f in data["findings"]} <= {"proved", "refuted", "sampled", None}
    assert "<table>" in report._repr_html_() and "proved" in repr(report)
    assert report.finding("symmetric").verdict is Verdict.REFUTED
    with pytest.raises(KeyError, match="no finding 'blue'"):
        report.finding("blue")


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [{"slope": 1.01}, {}, {"slope": -1.0}],
)
def test_many_outcomes_are_verified_without_a_dense_hessian(what):
    # 5000 outcomes: a Hessian a point would be 100 MB.
    rng = np.random.default_rng(0)
    wide = from_array(rng.normal(size=(3, 5000)), jnp.float32, logits=True, source="here")
    report = verify(wrong(**what), points=wide)
    local = {f.claim: f.ok for f in report.findings if f.chart == P}
    assert local["Hessian as claimed"] == (not what)
    assert local["Hessian > 0 at p = q"] == (what.get("slope") != -1.0)
    assert report.ok == (not what), report
