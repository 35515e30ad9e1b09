"""Nothing is forgotten: every divergence has a verb, an object, a row, an oracle and a limit."""

import inspect
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxdiv as jd
from conftest import distinct
from jaxdiv import _bregman, _f_divergences, _transforms, _verbs
from jaxdiv._divergence import Divergence, Homogeneous, Reverse, Separable, Symmetrised
from jaxdiv.rows.pair import Side, pair_of
from oracles import ORACLES

VERBS = {
    name: f
    for name, f in inspect.getmembers(_verbs, inspect.isfunction)
    if f.__module__ == _verbs.__name__
}


def test_every_verb_is_exported_has_a_row_and_an_oracle():
    rows = {entry.verb for entry in jd.CATALOGUE.values()}
    for name, verb in VERBS.items():
        assert getattr(jd, name) is verb
        assert verb in rows, f"{name} has no row in the catalogue"
        assert name in ORACLES, f"{name} has no oracle"
        assert "D(p || q)" in _verbs.__doc__


def test_every_class_is_exported_and_has_a_row():
    used = set()
    for entry in jd.CATALOGUE.values():
        used |= {type(entry.divergence), type(getattr(entry.divergence, "divergence", None))}
    for module in (_f_divergences, _bregman, _transforms):
        for name, cls in inspect.getmembers(module, inspect.isclass):
            local = cls.__module__ == module.__name__
            if local and issubclass(cls, Divergence) and not name.startswith("_"):
                assert getattr(jd, name) is cls
                assert cls in used, f"{name} has no row in the catalogue"


@pytest.mark.parametrize("name", list(jd.CATALOGUE))
def test_a_row_says_what_it_is(name):
    entry = jd.CATALOGUE[name]
    assert entry.name == name
    assert entry.citation and entry.title.endswith(".") and entry.divergence.formula
    assert isinstance(entry.claims, jd.Claims)
    # Objects are values: equal, hashable structure, and called like the verb.
    leaves, structure = jax.tree.flatten(entry.divergence)
    assert hash(structure) is not None
    assert jax.tree.unflatten(structure, leaves) == entry.divergence
    p, q = jnp.asarray([0.2, 0.3, 0.5]), jnp.asarray([0.3, 0.3, 0.4])
    assert entry(p, q) == entry.divergence(p, q)
    if not entry.divergence.logarithmic:
        with pytest.raises(TypeError, match="base"):
            entry(p, q, base=2)


HOMOGENEOUS = [
    name for name, entry in jd.CATALOGUE.items() if getattr(entry.divergence, "homogeneous", False)
]


@pytest.mark.parametrize("name", distinct(HOMOGENEOUS))
def test_log_derivatives_add_up_to_the_term(name):
    # Euler's theorem for functions homogeneous of degree 1.
    rng = np.random.default_rng(0)
    p, q = (jnp.asarray(np.exp(2 * rng.normal(size=200)), jnp.float32) for _ in range(2))
    pair = pair_of(Side(p), Side(q))
    divergence = jax.tree.map(jnp.float32, jd.CATALOGUE[name].divergence)
    term = np.asarray(divergence.term(pair))
    by_p, by_q = map(np.asarray, divergence.weighted(pair))
    scale = np.abs(by_p) + np.abs(by_q)
    assert np.all(term >= 0)
    assert np.all(np.abs(term - (by_p + by_q)) <= 32 * 2**-23 * scale)


# The generators once more, from the textbook, with f(1) = f'(1) = 0 up to c (t - 1).
GENERATORS = {
    "kl": lambda t: t * mpmath.log(t) - t + 1,
    "js": lambda t: t * mpmath.log(t) / 2 - (1 + t) / 2 * mpmath.log((1 + t) / 2),
    "js_quarter": lambda t: (
        t * mpmath.log(t) / 4 - (t / 4 + mpmath.mpf(3) / 4) * mpmath.log(t / 4 + mpmath.mpf(3) / 4)
    ),
    "total_variation": lambda t: abs(t - 1) / 2,
    "squared_hellinger": lambda t: (mpmath.sqrt(t) - 1) ** 2 / 2,
    "chi2": lambda t: (t - 1) ** 2,
    "le_cam": lambda t: (t - 1) ** 2 / (t + 1),
    "alpha_half": lambda t: 2 * (mpmath.sqrt(t) - 1) ** 2,
    "alpha_minus_1": lambda t: (1 / t + t - 2) / 2,
    "alpha_3": lambda t: (t**3 - 3 * t + 2) / 6,
    "f_divergence": lambda t: (t - 1) ** 2,
}


@pytest.mark.parametrize("name", GENERATORS)
def test_limits_are_those_of_the_generator(name):
    f, divergence = GENERATORS[name], jd.CATALOGUE[name].divergence
    assert isinstance(divergence, Homogeneous)
    near, far = divergence.limits()
    with mpmath.workdps(200):
        tiny, huge = mpmath.mpf(10) ** -120, mpmath.mpf(10) ** 120
        at_zero, slope = float(f(tiny)), float(f(huge) / huge)
        first = float(mpmath.diff(f, tiny, h=tiny / 10**6)) if math.isfinite(at_zero) else None
    for stated, limit in ((near.value, at_zero), (far.value, slope)):
        if np.isinf(stated):
            assert limit > 100
        else:
            assert float(stated) == pytest.approx(limit, rel=1e-5, abs=1e-6)
    if np.isfinite(near.derivative):
        assert first is not None
        assert float(near.derivative) == pytest.approx(first, rel=1e-5)
    bound = jd.CATALOGUE[name].claims.upper_bound
    assert bound == pytest.approx(float(near.value) + float(far.value), rel=1e-6)


def test_combinators():
    p, q = jnp.asarray([0.2, 0.3, 0.5]), jnp.asarray([0.3, 0.1, 0.6])
    np.testing.assert_array_equal(Reverse(jd.KL())(p, q), jd.kl_divergence(q, p))
    np.testing.assert_allclose(
        Symmetrised(jd.Chi2())(p, q),
        jd.chi2_divergence(p, q) + jd.neyman_chi2_divergence(p, q),
        rtol=1e-6,
    )
    assert Reverse(jd.KL()).claims().convex_in_p_logits


SUMS = {
    name: entry.divergence
    for name, entry in jd.CATALOGUE.items()
    if isinstance(entry.divergence, Separable)
} | {"cross_entropy": jd.CrossEntropy()}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", distinct(SUMS))
def test_what_a_sum_declares_for_rows_that_are_far_apart(name):
    divergence = SUMS[name]
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 500)) * 4
    a[:3], b[:3] = (0, 0, 400), (0, 400, 0)  # masses of 1e-174 beside 1, and the same twice
    pair = pair_of(*(Side(jnp.asarray(x), chart="logits") for x in (a, b)))
    apart, term = divergence.apart(pair), divergence.term(pair)
    if apart is not None:
        coefficient = divergence.claims().coefficient if divergence.homogeneous else None
        if coefficient is not None:
            np.testing.assert_allclose(divergence.curvature(), coefficient, rtol=1e-12)
        # What may be large is so relative to itself.
        size = np.asarray(pair.p + pair.q) + np.abs(term)
        np.testing.assert_array_less(np.abs(apart - term), 1e-14 * size + 1e-300)
    for total, slope in zip(divergence.totals(term.sum()), divergence.weighted(pair), strict=True):
        assert total is None or abs(total - slope.sum()) < 1e-12
