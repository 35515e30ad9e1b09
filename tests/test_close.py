"""Rows of similar distributions, whose divergences are power series of the log-ratio on a CPU."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from conftest import every
from jaxdiv._divergence import Separable
from jaxdiv.rows import lean
from jaxdiv.rows.close import REACH, series_of
from jaxdiv.rows.pair import Side
from jaxdiv.rows.renyi import RENYI
from jaxdiv.rows.rule import SUM
from oracles import from_logits, ulp_error
from test_accuracy import oracle, promised

# f and f' from a textbook, f(1) = f'(1) = 0, in the arithmetic of a module m.
GENERATORS = {
    "kl": (lambda t, m: t * m.log(t) - t + 1, lambda t, m: m.log(t)),
    "reverse_kl": (lambda t, m: -m.log(t) + t - 1, lambda t, m: 1 - 1 / t),
    "jeffreys": (lambda t, m: (t - 1) * m.log(t), lambda t, m: m.log(t) + 1 - 1 / t),
    "js": (
        lambda t, m: (t * m.log(t) - (1 + t) * m.log((1 + t) / 2)) / 2,
        lambda t, m: m.log(2 * t / (1 + t)) / 2,
    ),
    "squared_hellinger": (
        lambda t, m: (m.sqrt(t) - 1) ** 2 / 2,
        lambda t, m: (1 - 1 / m.sqrt(t)) / 2,
    ),
    "chi2": (lambda t, m: (t - 1) ** 2, lambda t, m: 2 * (t - 1)),
    "neyman_chi2": (lambda t, m: (t - 1) ** 2 / t, lambda t, m: 1 - 1 / t**2),
    "le_cam": (
        lambda t, m: (t - 1) ** 2 / (t + 1),
        lambda t, m: (t - 1) * (t + 3) / (t + 1) ** 2,
    ),
}


@functools.cache
def analytic():
    """The entries that have a series, and it."""
    entries = {n: e.divergence.specialise() for n, e in jd.CATALOGUE.items()}
    sums = {n: d for n, d in entries.items() if isinstance(d, Separable)}
    return {n: s for n, d in sums.items() if (s := series_of(d)) is not None}


def test_which_divergences_have_a_series():
    assert set(analytic()) == set(GENERATORS)
    # A parameter that may be traced is no number, and |t - 1| no power series.
    assert series_of(jd.JensenShannon(0.5)) is None and series_of(jd.TotalVariation()) is None


@pytest.mark.parametrize("name", GENERATORS)
def test_the_series(name):
    (f, slope_of), series = GENERATORS[name], analytic()[name]
    for ratio in np.linspace(-REACH, REACH, 42):  # an even number: not 0
        with mpmath.workdps(40):
            t = mpmath.exp(mpmath.mpf(float(ratio)))
            value, slope = f(t, mpmath) / t, slope_of(t, mpmath)
            wanted = value / ratio**2, slope / ratio, (value - slope) / ratio
        for coefficients, want in zip(series, wanted, strict=True):
            found = np.polynomial.polynomial.polyval(ratio, coefficients)
            assert abs(found / float(want) - 1) <= 2.0**-25, ratio


def rows(scale, count=3, size=300, seed=0):
    rng = np.random.default_rng([seed, int(1 / scale)])
    a = rng.normal(size=(count, size)) * 2
    return np.float32(a), np.float32(a + scale * rng.normal(size=a.shape) + 3)


def slopes_of(name, p, q):
    """The derivatives by the logits of either row, in extended precision."""
    p, q = (np.exp(x.astype(np.longdouble)) for x in (p, q))
    p, q = p / p.sum(), q / q.sum()
    t = p / q
    if name.startswith("renyi"):
        order = np.longdouble(jd.CATALOGUE[name].parameters["alpha"])
        share = p**order * q ** (1 - order)
        share = share / share.sum()
        return order / (order - 1) * (share - p), q - share
    f, slope = (x(t, np) for x in GENERATORS[name])
    by_p, by_q = p * slope, q * (f - t * slope)
    return by_p - p * by_p.sum(), by_q - q * by_q.sum()


@pytest.mark.parametrize("name", every([*GENERATORS, "renyi_half", "renyi_2"], []))
def test_values_and_gradients(name):
    entry = jd.CATALOGUE[name]

    def total(p, q):
        found = entry(jd.Logits(p), jd.Logits(q), implementation="blocked")
        return found.sum(), found

    with_slopes = jax.jit(jax.grad(total, (0, 1), has_aux=True))
    alone = jax.jit(lambda p, q: total(p, q)[1])
    # Similar rows, and nearly equal ones, whose log-ratios share an error that counts.
    for scale in (1e-5, 1e-2, 0.3):
        p, q = rows(scale)
        slopes, found = with_slopes(p, q)
        values = found, alone(p, q)
        for i in range(len(p)):
            wanted = oracle(name, from_logits(p[i]), from_logits(q[i]))
            for value in values:
                assert ulp_error(value[i], wanted, "float32") <= promised(name, scale)
            for got, want in zip(slopes, slopes_of(name, p[i], q[i]), strict=True):
                error = np.linalg.norm(np.asarray(got[i], np.float64) - np.float64(want))
                assert error <= 2e-6 * np.linalg.norm(np.float64(want))


def operands(name, p, q):
    divergence = jax.tree.map(jnp.asarray, jd.CATALOGUE[name].divergence.specialise())
    sides = (Side(jnp.asarray(x), chart="logits") for x in (p, q))
    if name.startswith("renyi"):
        return RENYI, (divergence.alpha, *sides)
    return SUM, (divergence, *sides)


@pytest.mark.parametrize(
    ("name", "all_rows"),
    [("kl", False), ("kl", True), ("renyi_2", False), ("total_variation", False)],
)
def test_what_a_block_looks_like(name, all_rows):
    def looks(scale, size, outlier=0):
        p, q = rows(scale, 32, size)
        q[:, 3] += outlier
        statistic, given = operands(name, p, q)
        sides = lean.normalise(given, shifted=False)
        found = lean.looks(statistic, given, sides, all_rows=all_rows)
        return lean.kinds(statistic, given)[int(found)]

    close = "near" if name == "total_variation" else "close"
    for size in (128, 4096):
        assert looks(0.05, size) == close and looks(5.0, size) == "apart"
    assert looks(0.05, 4096, outlier=3) == "near"


@pytest.mark.parametrize("name", every(["kl", "js", "renyi_half"], ["kl"]))
def test_a_block_of_similar_rows_but_for_some(name):
    """An outcome far off, one that a side lacks, outcomes that both lack, nearly equal rows."""
    p, q = rows(0.05, 16)  # of 300 outcomes
    q[3, 5] += 6
    q[4, 200] = -np.inf
    p[5, 200] = -np.inf
    p[6:9, 150:] = q[6:9, 150:] = -np.inf
    q[9] = p[9] + np.float32(1e-6) * q[9]
    q[10] = p[10]
    entry = jd.CATALOGUE[name]
    found = jax.jit(lambda p, q: entry(jd.Logits(p), jd.Logits(q), implementation="blocked"))(p, q)
    for i in range(len(p)):
        want = oracle(name, from_logits(p[i]), from_logits(q[i]))
        assert ulp_error(found[i], want, "float32") <= promised(name, 6), i
