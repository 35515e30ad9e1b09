"""What verification finds of functions that are not ours, and that nothing is found of ours."""

import functools
import importlib
import itertools
import warnings
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every
from jaxdiv.verification import (
    Observation,
    Verdict,
    Witness,
    from_array,
    random_points,
    subject_of,
    verify,
)
from jaxdiv.verification.local import local
from jaxdiv.verification.properties import CONVEXITY
from jaxdiv.verification.search import search
from jaxdiv.verification.subject import CHARTS
from jaxdiv.verification.values import exactly, observed, values

P = "probabilities"

POINTS = random_points(200, 8, 0, jnp.float32)
FEW = random_points(20, 4, 0, jnp.float32)


@pytest.fixture(autouse=True)
def _as_users_have_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def look(fn, points):
    """The findings that are quick: all but the searches."""
    subject = subject_of(fn)
    yield from values(subject, points)
    yield from local(subject, points)


def looked_at(fn, points=POINTS):
    return {(finding.claim, finding.chart): finding for finding in look(fn, points)}


def finding(fn, claim, chart="probabilities", points=None):
    """One of them; nothing is computed for the others that come after it."""
    points = FEW if points is None else points
    near = claim.endswith("at p = q") and not claim.startswith("exactly")
    found = local(subject_of(fn), points) if near else look(fn, points)
    return next(f for f in found if (f.claim, f.chart) == (claim, chart))


def kl(p, q):
    """The formula, plainly."""
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)), -1)


def numpy_kl(p, q):
    return np.sum(p * np.log(p / q), -1)


def optax_kl(p, q):
    return importlib.import_module("optax").losses.kl_divergence(jnp.log(q), p)


def optax_log_targets(p, q):
    losses = importlib.import_module("optax").losses
    return losses.kl_divergence_with_log_targets(jnp.log(q), jnp.log(p))


def jax_rel_entr(p, q):
    return jax.scipy.special.rel_entr(p, q).sum(-1)


def jax_kl_div(p, q):
    return jax.scipy.special.kl_div(p, q).sum(-1)


def scipy_rel_entr(p, q):
    return importlib.import_module("scipy.special").rel_entr(p, q).sum(-1)


def scipy_kl_div(p, q):
    return importlib.import_module("scipy.special").kl_div(p, q).sum(-1)


def scipy_entropy(p, q):
    return importlib.import_module("scipy.stats").entropy(p, q, axis=-1)


def distrax_kl(p, q):
    categorical = importlib.import_module("distrax").Categorical
    return categorical(probs=p).kl_divergence(categorical(probs=q))


def torch_kl(p, q):
    torch = importlib.import_module("torch")
    p, q = (torch.from_numpy(np.array(x)) for x in (p, q))
    return torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(-1).numpy()


def torch_categorical(p, q):
    torch = importlib.import_module("torch")
    p, q = (torch.distributions.Categorical(torch.from_numpy(np.array(x))) for x in (p, q))
    return torch.distributions.kl_divergence(p, q).numpy()


N, Z = "never negative", "positive where p and q differ"
VZ, DZ = "values at zeros", "derivatives at zeros"
# What contradicts what is stated, in probabilities, of all that is looked at without a search.
# Rows add up to 1 exactly: none of this is the fault of the rows.
PEERS = {
    jd.kl_divergence: set(),
    kl: {N, Z, VZ, DZ},
    numpy_kl: {N, Z, VZ},
    optax_kl: {N, Z, VZ, DZ},
    optax_log_targets: {N, Z, VZ, DZ},
    scipy_rel_entr: set(),
    scipy_kl_div: set(),
    scipy_entropy: set(),
    torch_kl: {N, Z, VZ, "exactly 0 at p = q"},
    torch_categorical: {N, Z},
}


def imported(name):
    """The package, which may warn when it is imported, or a skip."""
    package = name.partition("_")[0]
    if package in ("optax", "scipy", "distrax", "torch"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.importorskip(package)


@pytest.mark.parametrize(
    "fn", every(PEERS, {kl, optax_kl, numpy_kl, scipy_rel_entr}), ids=lambda fn: fn.__name__
)
def test_peers(fn):
    imported(fn.__name__)
    findings = looked_at(fn)
    assert {c for (c, chart), f in findings.items() if not f.ok and chart == P} == PEERS[fn]
    for f in findings.values():
        if isinstance(f.evidence, Observation):
            assert f.evidence.describe().startswith("as computed") and f.evidence.check()
            assert len(f.evidence.inputs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("fn", [jax_rel_entr, jax_kl_div, distrax_kl], ids=lambda fn: fn.__name__)
def test_peers_whose_rounding_is_another_in_every_version(fn):
    imported(fn.__name__)
    report = verify(fn, points=FEW)
    assert {f.claim for f in report.failures} <= {N, Z, VZ, DZ, "exactly 0 at p = q"}
    assert report.finding("second derivative", P).verdict is Verdict.SAMPLED
    assert report.finding("convex in p", "logits").holds is False


def test_an_observation_can_be_repeated():
    evidence = finding(kl, N, points=POINTS).evidence
    p, q = (np.float32(evidence.inputs[name]) for name in "pq")
    # Distributions to the last bit, and the value that the function returns for them.
    assert sum(map(Fraction, p.tolist())) == sum(map(Fraction, q.tolist())) == 1
    assert float(kl(jnp.asarray(p), jnp.asarray(q))) == evidence.output < 0


def test_rows_that_add_up_exactly():
    rows = np.float32([[0.3, 0.3, 0.4], [1e-12, 1 - 1e-6, 1e-6], [0, 0.5, 0.5]])
    for row, found in zip(rows, np.asarray(exactly(jnp.asarray(rows))), strict=True):
        assert sum(map(Fraction, found.tolist())) == 1
        assert np.array_equal(row > 0, found > 0) and np.allclose(row, found, atol=1e-6)


@pytest.mark.parametrize("fn", every([kl, numpy_kl, optax_kl], set()), ids=lambda fn: fn.__name__)
def test_rounding_refutes_no_mathematics(fn):
    imported(fn.__name__)
    report = verify(fn, points=FEW)
    assert not report.ok and {f.claim for f in report.failures} <= {N, Z, VZ, DZ}
    for claim in ("convex in p", "convex in q", "convex in (p, q)", "minimal at p = q"):
        found = report.finding(claim, "" if claim.startswith("m") else P)
        assert found.verdict is Verdict.SAMPLED and found.holds and found.ok
        assert found.stated is (True if claim.startswith("m") else None)


@pytest.mark.parametrize("fn", [numpy_kl, scipy_rel_entr], ids=lambda fn: fn.__name__)
def test_what_can_not_be_read_is_refuted_as_computed(fn):
    imported(fn.__name__)
    convex = {(prop.claim, prop.chart): prop for prop in CONVEXITY}
    found = observed(subject_of(fn), convex["convex in p", "logits"], 3)
    assert found.check() and found.output > 1 and set(found.inputs) == {"p0", "p1", "q"}
    assert found.describe().startswith("as computed, D halfway along the exponential path")
    assert observed(subject_of(fn), convex["convex in p", P], 3) is None
    narrow = subject_of(lambda p, q: fn(*(np.asarray(x, np.float32) for x in (p, q))))
    assert observed(narrow, convex["convex in p", P], 3) is None


# Any way of writing a function -----------------------------------------------------------------


@pytest.mark.parametrize(
    "fn",
    [
        lambda p, q: p @ (jnp.log(p) - jnp.log(q)),  # a pair only, (3,)
        lambda p, q: float(np.sum(p * np.log(p / q))) if p.ndim == 1 else 1 / 0,
        lambda p, q: np.float32(np.sum(p * np.log(p / q))),  # everything at once
        lambda p, q: jnp.sum(p * jnp.log(p / q), axis=1),  # rows only, (m, n)
        lambda p, q: np.sum(p * np.log(p / q), axis=1),
        lambda p, q: [float(x) for x in np.sum(p * np.log(p / q), axis=1)],
        lambda p, q: jnp.sum(jax.lax.mul(p, jnp.log(p / q) + jnp.float32(0)), axis=-1),
        functools.partial(lambda scale, p, q: scale * kl(p, q), 1.0),
    ],
)
def test_any_shape_of_call(fn):
    subject = subject_of(fn, "it")
    p, q = np.float32([[[0.5, 0.3, 0.2]] * 2] * 4), np.float32([[[0.2, 0.3, 0.5]] * 2] * 4)
    for _ in range(3):
        got = np.asarray(subject.value(P, jnp.asarray(p), jnp.asarray(q)))
        assert got.shape == p.shape[:-1] and np.allclose(got, numpy_kl(p, q), rtol=1e-5)
        p, q = p[0], q[0]
    assert subject_of(fn).title


def test_what_refuses_float64_is_given_float32():
    def strict(p, q):
        if p.dtype != jnp.float32:
            raise TypeError("float32 only")
        return kl(p, q)

    definition = subject_of(strict).definition
    with jax.enable_x64(True):
        got = definition(jnp.asarray([0.5, 0.5]), jnp.asarray([0.25, 0.75]))
        assert got.dtype == jnp.float64 and float(got) == pytest.approx(0.143841, rel=1e-5)


def counted(p, q, calls=itertools.count()):  # noqa: B008
    return np.sum((p - q) ** 2, -1) + next(calls)


def raises(p, q):
    raise RuntimeError("no luck today")


@pytest.mark.parametrize(
    "fn, said",
    [
        (lambda p, q: p * jnp.log(p / q), r"returned shape \(2, 3\); sum over the last axis"),
        (
            lambda p, q: jnp.sum(p - q, -1, keepdims=True),
            r"returned shape \(2, 1\); sum over the last axis",
        ),
        (lambda p, q: (kl(p, q), 1), "returned a tuple; return one array"),
        (lambda p, q: None, "returned None; return one array"),
        (lambda p, q: kl(p, q) + 0j, "returned complex64 numbers; take the real part"),
        (lambda p, q: kl(p, q).astype(int), "returned int32 numbers; cast to float"),
        (lambda p, q: np.sum(np.asarray(p), -1) > 0, "returned bool numbers; cast to float"),
        (raises, r"shape \(2, 3\): RuntimeError: no luck today"),
        (lambda p, q, r: 0, "missing 1 required positional argument"),
        (lambda p, q: np.random.normal(size=np.shape(p)[:-1]), "depends on more than p and q"),
        (counted, "for the same rows: it depends on more than p and q"),
        (lambda p, q: kl(p, q) - jnp.mean(kl(p, q)), "rows must not see one another"),
    ],
)
def test_bad_functions(fn, said):
    with pytest.raises(ValueError, match=said):
        verify(fn, name="it")


def test_classes_and_numbers_are_no_functions():
    with pytest.raises(TypeError, match=r"KL is a class: give one of its objects, such as KL\(\)"):
        verify(jd.KL)
    with pytest.raises(TypeError, match="but is 3"):
        verify(3)


# What is wrong with a function -------------------------------------------------------------------


def observation(fn, claim, chart="probabilities", *, fails=True):
    found = finding(fn, claim, chart)
    assert isinstance(found.evidence, Observation), found
    assert found.ok is not fails
    return found.evidence


def test_signs():
    assert observation(lambda p, q: -kl(p, q), N).output < -1
    assert observation(lambda p, q: kl(p, q) + 0.5, "exactly 0 at p = q").output == 0.5
    assert np.isnan(observation(lambda p, q: kl(p, q) * jnp.nan, N).output)
    assert np.isnan(observation(lambda p, q: numpy_kl(p, q) * np.nan, N).output)
    half = observation(lambda p, q: (p - q)[..., 0] ** 2 + (p - q)[..., 1] ** 2, Z)
    assert half.output > 0 and half.inputs["p"][:2] == half.inputs["q"][:2]


def test_gradients_and_hessians_at_equal_rows():
    tilted = observation(lambda p, q: kl(p, q) + 1e-3 * q[..., 0], "gradient 0 at p = q")
    assert tilted.output == pytest.approx(7.5e-4, rel=1e-2)
    assert tilted.inputs["p"] == tilted.inputs["q"]
    saddle = observation(lambda p, q: kl(p, q) - 9 * jnp.sum((p - q) ** 2, -1),
                         "Hessian > 0 at p = q")  # fmt: skip
    assert saddle.output < -0.5
    flat = observation(lambda p, q: jnp.sum((p - q) ** 4, -1), "Hessian > 0 at p = q")
    assert flat.output == pytest.approx(0, abs=1e-4)
    # A tiny tilt of a tiny divergence is as wrong; a large divergence's rounding isn't.
    assert observation(lambda p, q: 1e-6 * (kl(p, q) + 1e-3 * q[..., 0]), "gradient 0 at p = q")
    assert finding(lambda p, q: 1e6 * kl(p, q), "gradient 0 at p = q").ok


def test_small_masses_are_no_saddles():
    rows = np.float32([[1 - 2e-6, 1e-6, 1e-6], [0.5, 0.499999, 1e-6]])
    points = from_array(rows, jnp.float32, logits=False, source="here")
    for fn in (kl, lambda p, q: jnp.sum((p - q) ** 2, -1),
               lambda p, q: -2 * jnp.log(jnp.sum(jnp.sqrt(p * q), -1))):  # fmt: skip
        assert all(finding(fn, "Hessian > 0 at p = q", chart, points).ok for chart in CHARTS)


def test_kinks_are_no_mistakes():
    for fn in (lambda p, q: jnp.sum(jnp.abs(p - q), -1),
               lambda p, q: jnp.sqrt(jnp.sum((p - q) ** 2, -1))):  # fmt: skip
        for claim in ("gradient 0 at p = q", "Hessian > 0 at p = q"):
            found = finding(fn, claim)
            assert found.evidence is None and "not smooth at p = q" in found.note


def test_points_on_the_boundary():
    rows = np.float32([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    points = from_array(rows, jnp.float32, logits=False, source="here")
    assert finding(kl, "Hessian > 0 at p = q", points=points).ok
    evidence = finding(kl, N, points=points).evidence
    assert np.isnan(evidence.output) and 0.0 in evidence.inputs["p"]
    only = from_array(rows[:1], jnp.float32, logits=False, source="here")
    assert "every row has a zero" in finding(kl, "Hessian > 0 at p = q", points=only).note


def test_zeros():
    assert "by p is NaN at a zero in p" in observation(kl, DZ).statement
    assert 0.0 in observation(kl, VZ).inputs["p"]

    def masked(p, q):
        # The value is right, its derivative is the well-known NaN of `where`.
        return jnp.sum(jnp.where(p > 0, p * jnp.log(p / q), 0), -1)

    assert finding(masked, VZ).ok and not finding(masked, DZ).ok

    def picky(p, q):
        if (np.asarray(p) == 0).any():
            raise ValueError("p must be above 0")
        return numpy_kl(p, q)

    found = observation(picky, VZ)
    assert "it fails (ValueError: p must be above 0) at a zero in p" in found.statement


def with_rule(forward=None, reverse=None):
    """KL with a declared derivative: of what, a function of (p, q), it is taken."""
    if reverse:
        plain = jax.custom_vjp(kl)
        plain.defvjp(
            lambda p, q: (kl(p, q), (p, q)),
            lambda kept, g: tuple(g[..., None] * x for x in reverse(*kept)),
        )
    else:
        plain = jax.custom_jvp(kl)

        @plain.defjvp
        def rule(rows, directions):
            slopes = forward(*rows)
            return kl(*rows), sum(
                jnp.sum(s * d, -1) for s, d in zip(slopes, directions, strict=True)
            )

    return plain


def slopes(p, q, scale=1.0):
    return jnp.log(p / q) + 1, -scale * p / q


def test_declared_derivatives():
    F, R, S = "forward-mode derivative", "reverse-mode derivative", "second derivative"
    right = looked_at(with_rule(forward=slopes), FEW)
    assert all(right[claim, P].ok for claim in (F, R, S))
    wrong = with_rule(forward=functools.partial(slopes, scale=1.1))
    for claim in (F, R):
        found = observation(wrong, claim)
        assert "differences of D give" in found.statement and "direction of q" in found.inputs
    right = looked_at(with_rule(reverse=slopes), FEW)
    assert right[R, P].ok and right[S, P].ok and right["Hessian > 0 at p = q", P].ok
    # What a custom_vjp lacks is a fact, and contradicts nothing.
    assert right[F, P].verdict is Verdict.REFUTED and right[F, P].ok
    assert "forward-mode" in right[F, P].evidence.statement
    assert observation(with_rule(reverse=functools.partial(slopes, scale=1.1)), R)


def test_a_sign_flipped_in_a_hessian():
    @jax.custom_jvp
    def slope(p, q):  # of KL by q
        return -p / q

    @slope.defjvp
    def _(rows, directions):
        (p, q), (dp, dq) = rows, directions
        return slope(p, q), -dp / q - p * dq / q**2  # + is right

    def flipped(p, q):
        return slopes(p, q)[0], slope(p, q)

    found = looked_at(with_rule(forward=flipped), FEW)
    assert found["forward-mode derivative", P].ok
    assert not found["second derivative", P].ok
    assert found["Hessian > 0 at p = q", P].evidence.output == pytest.approx(-1, abs=1e-3)


def dented(t):
    """t log t, but concave around t = 2."""
    return t * jnp.log(t) + 0.05 * jnp.exp(-8 * (t - 2) ** 2)


def with_dent(p, q):
    """The f-divergence of a generator that isn't convex, written plainly."""
    return jnp.sum(q * dented(p / q), -1)


@pytest.mark.parametrize(
    "what",
    [pytest.param(jd.FDivergence(dented), marks=pytest.mark.slow, id="object"), with_dent],
)
def test_a_concave_dent_is_found(what):
    subject = subject_of(what)
    for prop in CONVEXITY[:3] if what is with_dent else CONVEXITY[1:2]:
        witness = search(subject.definition, prop, 3).witness
        assert isinstance(witness, Witness) and witness.check() and witness.margin > 0
    # Of an object it is stated that it is convex, of a function nothing is.
    assert subject.claims.convex_in_q is (None if what is with_dent else True)


@pytest.mark.slow
def test_a_concave_dent_fails_the_report_of_an_object():
    report = verify(jd.FDivergence(dented), points=FEW)
    assert ("convex in q", P) in {(f.claim, f.chart) for f in report.failures}, report


@pytest.mark.parametrize("what", [kl, pytest.param("kl", marks=pytest.mark.slow)])
def test_a_claim_of_another_chart_fails(what):
    report = verify(what, points=FEW, claims={"convex in p [logits]": True})
    assert ("convex in p", "logits") in {(f.claim, f.chart) for f in report.failures}
    assert isinstance(report.finding("convex in p", "logits").evidence, Witness)
