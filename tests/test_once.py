"""Similar rows of logits in one pass: what it serves, its series, its values and its slopes."""

import csv
import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every
from jaxdiv._divergence import Reverse, Separable, declare
from jaxdiv.rows import llvm_cpu
from jaxdiv.rows.once import REACH, Once
from oracles import from_logits, ulp_error
from test_accuracy import oracle
from test_close import operands

pytestmark = pytest.mark.core
has_code = pytest.mark.skipif(
    llvm_cpu.unavailable() is not None, reason=str(llvm_cpu.unavailable())
)

POWERS = {
    name: found
    for name, entry in jd.CATALOGUE.items()
    if isinstance(entry.divergence, Separable) and (found := entry.divergence.power())
}
NAMES = [*POWERS, "renyi_half", "renyi_2"]


def test_which_divergences_it_serves():
    names = {"kl", "reverse_kl", "squared_hellinger", "chi2", "neyman_chi2"}
    assert set(POWERS) == names | {"alpha_minus_1", "alpha_half", "alpha_3"}


@pytest.mark.parametrize("name", POWERS)
def test_they_are_multiples_of_an_alpha_divergence(name):
    order, multiple, swapped = POWERS[name]
    p, q = np.random.default_rng(0).dirichlet(np.ones(7), 2)
    with jax.enable_x64(True):
        alike = jd.Alpha(float(order)).definition(*((q, p) if swapped else (p, q)))
        own = jd.CATALOGUE[name].divergence.definition(jnp.asarray(p), jnp.asarray(q))
    np.testing.assert_allclose(own, multiple * np.asarray(alike), rtol=1e-12)


@pytest.mark.parametrize("order", [-1.0, 0.01, 0.5, 0.999, 1.0, 1.001, 2.0, 3.0, 40.0])
def test_the_series(order):
    """Of the terms of E + mean(d) and of T, at the ends and between."""
    edge = REACH / max(1, abs(order - 1))
    for once in (Once(order), Once(jnp.float32(order))):
        for d in np.linspace(-edge, edge, 42, dtype=np.float32):  # an even number: not 0
            terms = once.terms(jnp.float32(d), *jnp.zeros(4))
            found = np.asarray([*terms[2:-3]], np.float64)
            with mpmath.workdps(40):
                x, b = mpmath.mpf(float(d)), mpmath.mpf(float(np.float32(order))) - 1
                bend = mpmath.exp(-x) - 1 + x
                second = (mpmath.expm1(b * x) / b - x if b else 0) + bend
                want = [float(mpmath.exp(x) * y) for y in (bend, second)]
            assert np.max(np.abs(found / want[: len(found)] - 1)) <= 6 * 2.0**-23, d


def rows(scale, size=300, offset=0.0, likeliest=0.0, seed=0):
    rng = np.random.default_rng([seed, int(1 / scale)])
    a = rng.normal(size=(3, size)) * 2
    a[:, 5] += likeliest
    return np.float32(a), np.float32(a + scale * rng.normal(size=a.shape) + offset)


def exact_slopes(name, p, q):
    """By p's and q's logits, in many digits: of log S with S = sum p^a q^(1 - a), or of KL."""
    a, multiple, swapped = POWERS.get(name) or (jd.CATALOGUE[name].parameters["alpha"], None, False)
    with mpmath.workdps(50):
        rows = [[mpmath.mpf(float(v)) for v in x] for x in ((q, p) if swapped else (p, q))]
        totals = [mpmath.log(mpmath.fsum(map(mpmath.exp, x))) for x in rows]
        x, y = ([v - t for v in x] for x, t in zip(rows, totals, strict=True))
        p, q = ([mpmath.exp(v) for v in row] for row in (x, y))
        if a == 1:
            value = mpmath.fsum(u * (v - w) for u, v, w in zip(p, x, y, strict=True))
            by_p = [u * (v - w - value) for u, v, w in zip(p, x, y, strict=True)]
            by_q = [w - u for u, w in zip(p, q, strict=True)]
        else:
            powers = [mpmath.exp(a * v + (1 - a) * w) for v, w in zip(x, y, strict=True)]
            total = mpmath.fsum(powers)
            scale = 1 if multiple is None else multiple * total / a
            by_p = [scale * a / (a - 1) * (u / total - v) for u, v in zip(powers, p, strict=True)]
            by_q = [scale * (w - u / total) for u, w in zip(powers, q, strict=True)]
        found = [np.asarray([float(v) for v in x]) for x in (by_p, by_q)]
        return found[::-1] if swapped else found


@functools.cache
def slopes_and_values(name):
    def total(p, q):
        found = jd.CATALOGUE[name](jd.Logits(p), jd.Logits(q), implementation="llvm")
        return found.sum(), found

    return jax.jit(jax.grad(total, (0, 1), has_aux=True)), jax.jit(lambda p, q: total(p, q)[1])


def found_of(name, p, q):
    """Values, with slopes and without, and slopes."""
    both, alone = slopes_and_values(name)
    (by_p, by_q), value = both(p, q)
    return [value, alone(p, q)], [by_p, by_q]


# One that is likely may be so by far; an offset is in all log-ratios.
@has_code
@pytest.mark.parametrize("name", every(NAMES, ["kl", "renyi_half"]))
def test_values_and_slopes(name):
    for scale in (1e-7, 1e-3, 0.3):
        for offset, likeliest in ((0, 0), (-300, 20), (3, 8)):
            p, q = rows(scale, offset=offset, likeliest=likeliest)
            values, slopes = found_of(name, p, q)
            for i in range(len(p)):
                want = oracle(name, from_logits(p[i]), from_logits(q[i]))
                for value in values:
                    assert ulp_error(value[i], want, "float32") <= 16
            for slope, want in zip(slopes, exact_slopes(name, p[0], q[0]), strict=True):
                error = np.linalg.norm(np.asarray(slope[0], np.float64) - want)
                assert error <= 2e-6 * np.linalg.norm(want), (scale, offset)


def stand(name, p, q, moving=(False, False)):
    """Which rows the machine code is sure of."""
    statistic, given = operands(name, p, q)
    return llvm_cpu._Calls(statistic, given, moving).value()[1]


@has_code
@pytest.mark.parametrize("name", every(NAMES, ["neyman_chi2"]))
def test_however_near_the_sides_are_no_other_path_is_needed(name):
    """Other forms are sure of nothing below 1e-16, and less beside an offset."""
    for scale, offset in ((1e-9, 0), (3e-7, 0), (1e-3, -300)):
        p, q = rows(scale, offset=offset)
        if scale == 1e-9:
            p, q = p * 1e-2, p * 1e-2 * (1 + 2e-7)
        for moving in ((False, False), (True, True)):
            assert stand(name, p, q, moving).all(), (scale, moving)


@declare
class Twice(jd.KL):
    """Another summand, of which what KL says of its own is not true."""

    def term(self, pair):
        return 2 * super().term(pair)

    def weighted(self, pair):
        by_p, by_q = super().weighted(pair)
        return 2 * by_p, 2 * by_q

    def totals(self, value):
        return None, None


@has_code
@pytest.mark.parametrize("path", ["llvm", "blocked"])
def test_a_class_with_another_summand_is_not_what_it_is_derived_from(path):
    p, q = rows(0.1)
    for own, plain in ((Twice(), jd.KL()), (Reverse(Twice()), Reverse(jd.KL()))):
        found = own(jd.Logits(p), jd.Logits(q), implementation=path)
        want = 2 * plain(jd.Logits(p), jd.Logits(q), implementation="reference")
        np.testing.assert_allclose(found, want, rtol=2e-6)


@has_code
def test_a_difference_that_is_the_same_everywhere_is_none():
    p, _ = rows(1.0)
    p = np.round(p * 64) / 64  # so that p + 3 is exact
    values, slopes = found_of("kl", p, p + np.float32(3))
    for x in (*values, *slopes):
        assert np.all(np.asarray(x) == 0)


def unlike(case):
    """Rows that are not similar, or look so by their first outcomes; one a call, as beside a row
    that is left for the plain path all rows of a block are found there.
    """
    (p, *_), (q, *_) = rows(0.05, size=1000)
    match case:
        case "a bad guess":
            q[:64] += 1
        case "another":
            q[64:] -= 3
        case "the end is beyond the series":
            q[999] += 5
        case "half is masked":
            p[500:] = q[500:] = -np.inf
            q += 100
        case "the first are masked":
            p[:100] = q[:100] = -np.inf
        case "p lacks one":
            p[7] = -np.inf
        case "q lacks one":
            q[7] = -np.inf
        case "q lacks one of little mass":
            p[7], q[7] = -86, -np.inf
        case "q has less of little mass":
            p[7], q[7] = -90, -190
        case "p has less of little mass":
            p[7], q[7] = -200, -90
        case "logits are small, the first masked, and one of little mass":
            p, q = p - 20, q - 20
            p[:16] = q[:16] = -np.inf
            p[17], q[17] = -86, -150
        case "the first are unlikely":
            p[100:] += 130
            q[100:] += 130
        case "one has all mass but 1e-18":
            p[3] = q[3] = 50
        case "another lowest":
            p[900] = q[900] = -1e30
        case "far apart":
            p, q = p * 3, q * -3
    return p[None], q[None]


CASES = """a bad guess, another, the end is beyond the series, half is masked, the first are masked
p lacks one, q lacks one, q lacks one of little mass, q has less of little mass
p has less of little mass, "logits are small, the first masked, and one of little mass"
the first are unlikely, one has all mass but 1e-18, another lowest, far apart"""
CASES = [x for line in csv.reader(CASES.splitlines(), skipinitialspace=True) for x in line]
AT_ONCE = {"a bad guess", "half is masked", "the first are masked"}  # at the second guess


@has_code
@pytest.mark.parametrize("name", every(["kl", "renyi_half", "chi2", "renyi_2"], ["chi2"]))
def test_rows_that_are_not_similar_or_look_so_by_their_first_outcomes(name):
    entry = jd.CATALOGUE[name]

    def total(p, q):
        return entry(jd.Logits(p), jd.Logits(q), implementation="reference").sum()

    of_reference = jax.jit(jax.grad(total, (0, 1)))
    for case in CASES:
        p, q = unlike(case)
        values, slopes = found_of(name, p, q)
        want = oracle(name, from_logits(p[0]), from_logits(q[0]))
        for value in values:
            assert ulp_error(value[0], want, "float32") <= 64, case
        if case in AT_ONCE:
            assert stand(name, p, q).all(), case
        with jax.enable_x64(True):
            exact = of_reference(*(x.astype(np.float64) for x in (p, q)))
        for slope, x in zip(slopes, exact, strict=True):
            if np.max(np.abs(x)) < 1e38:
                size = np.linalg.norm(x)
                np.testing.assert_allclose(slope, x, 2e-6, 5e-6 * size + 1e-37, err_msg=case)
