"""Divergences between members of parametric families, against oracles of high precision."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import family_oracles as oracle
import jaxdiv as jd
from conftest import every
from jaxdiv import families
from jaxdiv.families import bends
from oracles import ulp_error

SCALES = (1e-4, 1.0, 1e4, 1e6, 1e8)
PLACES = (0.0, -1.0, 1e4, 1e8)
SHAPES = (1e-4, 0.7, 1.0, 3.5, 1e4, 1e6, 1e8)
ULP = {"float32": 2.0**-23, "float64": 2.0**-52}


class Case(NamedTuple):
    """A family for the tests: base values of each parameter, and how it is moved.

    "scale" parameters are positive and are multiplied, "place" ones are shifted by multiples of the
    parameter named `scale` of the member.
    """

    bases: dict[str, tuple[float, ...]]
    places: tuple[str, ...] = ()
    entries: int = 0  # of a vector parameter


_LOCATED = Case({"loc": PLACES, "scale": SCALES}, places=("loc",))
_SCALED = Case({"scale": SCALES})
CASES: dict[str, Case] = {
    "Normal": _LOCATED,
    "LogNormal": _LOCATED,
    "Gamma": Case({"concentration": SHAPES, "rate": SCALES}),
    "Exponential": Case({"rate": SCALES}),
    "Chi2": Case({"df": SHAPES}),
    "InverseGamma": Case({"concentration": SHAPES, "scale": SCALES}),
    "HalfNormal": _SCALED,
    "Rayleigh": _SCALED,
    "Beta": Case({"concentration1": SHAPES, "concentration0": SHAPES}),
    "Dirichlet": Case({"concentration": (1e-4, 0.7, 3.5, 1e4, 1e8)}, entries=3),
}
NAMES = tuple(CASES)
STEPS = (0.0, 1e-12, 1e-6, 1e-4, 1e-2, 0.3, 1.0, 30.0, 1e3)  # 0: one ulp

# Orders of each verb with one, all evaluated in one program.
ORDERS = {
    "renyi": (0.25, 0.5, 1.0, 2.0, 3.0),
    "alpha": (-1.0, 0.0, 0.5, 1.0, 2.0),
    "tsallis": (0.25, 0.5, 1.0, 2.0, 3.0),
}
VERBS: dict[str, Callable[..., Any]] = {
    "kl": jd.kl_divergence,
    "reverse_kl": jd.reverse_kl_divergence,
    "jeffreys": jd.jeffreys_divergence,
    "renyi": jd.renyi_divergence,
    "alpha": jd.alpha_divergence,
    "tsallis": jd.tsallis_divergence,
    "squared_hellinger": jd.squared_hellinger,
    "bhattacharyya": jd.bhattacharyya_distance,
    "chi2": jd.chi2_divergence,
}


def member(name: str, parameters: dict[str, Any]) -> families.Family:
    return getattr(families, name)(**parameters)


@jax.jit
def every_verb(p: families.Family, q: families.Family) -> dict[str, jax.Array]:
    """All verbs, those with an order mapped over a new leading axis."""
    dtype = jax.tree.leaves(p)[0].dtype
    values = {}
    for verb, function in VERBS.items():
        if verb in ORDERS:
            orders = jnp.asarray(ORDERS[verb], dtype)
            values[verb] = jax.vmap(functools.partial(function, p, q))(orders)
        else:
            values[verb] = function(p, q)
    return values


def every_order(values: dict[str, jax.Array]) -> dict[tuple[str, tuple[float, ...]], np.ndarray]:
    """The result of `every_verb` by verb and parameters."""
    found = {}
    for verb, value in values.items():
        if verb in ORDERS:
            found |= {(verb, (a,)): np.asarray(v) for a, v in zip(ORDERS[verb], value, strict=True)}
        else:
            found[verb, ()] = np.asarray(value)
    return found


# Grids ------------------------------------------------------------------------------------------


def moved(x: np.ndarray, step: float, sign: int, unit: np.ndarray | None) -> np.ndarray:
    """x times (1 + step)^sign, or shifted by step units; for step 0 to the next number."""
    if step == 0:
        return np.nextafter(x, x.dtype.type(sign * math.inf))
    if unit is None:
        return (x * (1 + step) ** sign).astype(x.dtype)
    return (x + sign * step * unit).astype(x.dtype)


def grid(name: str, dtype: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Stored parameters of p and q: all bases, moved one by one, together and apart."""
    case = CASES[name]
    keys = list(case.bases)
    columns = [case.bases[key] for key in keys for _ in range(case.entries or 1)]
    bases = np.array(list(itertools.product(*columns))).astype(dtype)
    count = bases.shape[1]
    patterns = [tuple(int(i == j) for j in range(count)) for i in range(count)]
    if count > 1:
        patterns += [(1,) * count, tuple((-1) ** j for j in range(count))]
    unit = bases[:, keys.index("scale")] if case.places else None
    pairs = []
    for step, sign, pattern in itertools.product(STEPS, (1, -1), patterns):
        other = bases.copy()
        for j, direction in enumerate(pattern):
            if direction:
                of_place = bool(case.places) and keys[j] in case.places
                other[:, j] = moved(bases[:, j], step, sign * direction, unit if of_place else None)
        pairs.append((bases, other))
    p, q = (np.concatenate(side) for side in zip(*pairs, strict=True))
    limit = np.finfo(dtype).max
    fine = np.all(np.abs(p) < limit, 1) & np.all(np.abs(q) < limit, 1)
    p, q = p[fine], q[fine]

    def parameters(x: np.ndarray) -> dict[str, np.ndarray]:
        return {keys[0]: x} if case.entries else dict(zip(keys, x.T, strict=True))

    return parameters(p), parameters(q)


def rows(parameters: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """One dict of exact numbers per member of a batch."""

    def exact(x: Any) -> Any:
        return tuple(float(c) for c in x) if np.ndim(x) else float(x)

    size = len(next(iter(parameters.values())))
    return [{key: exact(value[i]) for key, value in parameters.items()} for i in range(size)]


def take(parameters: dict[str, np.ndarray], index: Any) -> dict[str, np.ndarray]:
    return {key: value[index] for key, value in parameters.items()}


def sample(name: str, dtype: str, count: int = 300) -> tuple[dict, dict]:
    p, q = grid(name, dtype)
    some = np.random.default_rng(0).permutation(len(next(iter(p.values()))))
    some = np.resize(some, count)
    return take(p, some), take(q, some)


# The oracles themselves -------------------------------------------------------------------------

MODERATE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Normal": (dict(loc=0.3, scale=1.1), dict(loc=1.0, scale=1.4)),
    "LogNormal": (dict(loc=0.3, scale=1.1), dict(loc=1.0, scale=1.4)),
    "Gamma": (dict(concentration=1.7, rate=0.6), dict(concentration=2.6, rate=1.0)),
    "Exponential": (dict(rate=1.7), dict(rate=2.6)),
    "Chi2": (dict(df=3.0), dict(df=4.5)),
    "InverseGamma": (dict(concentration=1.7, scale=0.6), dict(concentration=2.6, scale=1.0)),
    "HalfNormal": (dict(scale=1.7), dict(scale=2.1)),
    "Rayleigh": (dict(scale=1.7), dict(scale=2.1)),
    "Beta": (
        dict(concentration1=1.7, concentration0=0.6),
        dict(concentration1=2.2, concentration0=1.0),
    ),
    "Dirichlet": (dict(concentration=(3.0, 4.5, 3.6)), dict(concentration=(3.5, 4.0, 5.0))),
    "Laplace": (dict(loc=0.3, scale=1.1), dict(loc=1.0, scale=1.4)),
    "Cauchy": (dict(loc=0.3, scale=1.1), dict(loc=1.0, scale=1.4)),
    "Uniform": (dict(low=0.3, high=1.1), dict(low=0.0, high=1.4)),
    "Weibull": (dict(concentration=1.5, scale=1.1), dict(concentration=1.5, scale=1.4)),
    "Gumbel": (dict(loc=0.3, scale=1.4), dict(loc=1.0, scale=1.4)),
    "Pareto": (dict(scale=1.5, alpha=1.1), dict(scale=1.2, alpha=1.4)),
    "InverseGaussian": (dict(loc=1.5, concentration=1.1), dict(loc=1.2, concentration=1.4)),
    "VonMises": (dict(loc=0.5, concentration=1.1), dict(loc=1.2, concentration=1.4)),
    "ContinuousBernoulli": (dict(probs=0.25), dict(probs=0.5)),
    "Bernoulli": (dict(probs=0.25), dict(probs=0.5)),
    "Binomial": (dict(total_count=10, probs=0.25), dict(total_count=10, probs=0.5)),
    "Geometric": (dict(probs=0.25), dict(probs=0.5)),
    "NegativeBinomial": (dict(total_count=3.5, probs=0.25), dict(total_count=3.5, probs=0.5)),
    "Poisson": (dict(rate=3.5), dict(rate=2.5)),
}
# KL alone has a closed form where these differ.
UNSHARED = {
    "Weibull": (dict(concentration=1.5, scale=1.1), dict(concentration=2.0, scale=1.4)),
    "Gumbel": (dict(loc=0.3, scale=1.1), dict(loc=1.0, scale=1.4)),
}
SCIPY: dict[str, Callable[..., Any]] = {
    "Normal": lambda loc, scale: stats.norm(loc, scale),
    "LogNormal": lambda loc, scale: stats.lognorm(scale, scale=math.exp(loc)),
    "Gamma": lambda concentration, rate: stats.gamma(concentration, scale=1 / rate),
    "Exponential": lambda rate: stats.expon(scale=1 / rate),
    "Chi2": lambda df: stats.chi2(df),
    "InverseGamma": lambda concentration, scale: stats.invgamma(concentration, scale=scale),
    "HalfNormal": lambda scale: stats.halfnorm(scale=scale),
    "Rayleigh": lambda scale: stats.rayleigh(scale=scale),
    "Beta": lambda concentration1, concentration0: stats.beta(concentration1, concentration0),
    "Laplace": lambda loc, scale: stats.laplace(loc, scale),
    "Cauchy": lambda loc, scale: stats.cauchy(loc, scale),
    "Uniform": lambda low, high: stats.uniform(low, high - low),
    "Weibull": lambda concentration, scale: stats.weibull_min(concentration, scale=scale),
    "Gumbel": lambda loc, scale: stats.gumbel_r(loc, scale),
    "Pareto": lambda scale, alpha: stats.pareto(alpha, scale=scale),
    "InverseGaussian": lambda loc, concentration: stats.invgauss(
        loc / concentration, scale=concentration
    ),
    "VonMises": lambda loc, concentration: stats.vonmises(concentration, loc),
    "Bernoulli": lambda probs: stats.bernoulli(probs),
    "Binomial": lambda total_count, probs: stats.binom(total_count, probs),
    "Geometric": lambda probs: stats.geom(probs, loc=-1),
    "NegativeBinomial": lambda total_count, probs: stats.nbinom(total_count, 1 - probs),
    "Poisson": lambda rate: stats.poisson(rate),
}


def close(got: Any, want: Any, tolerance: float) -> bool:
    with mpmath.workdps(40):
        return bool(abs(mpmath.mpf(got) - want) <= tolerance * abs(mpmath.mpf(want)))


@pytest.mark.parametrize("name", list(SCIPY))
def test_oracle_densities_are_those_of_scipy(name):
    discrete = oracle.DENSITIES[name].chart == "sum"
    for parameters in MODERATE[name]:
        known = SCIPY[name](**parameters)
        log_density = known.logpmf if discrete else known.logpdf
        for x in (0, 1) if discrete else (0.4, 0.9, 1.3):
            want = log_density(x)
            got = float(oracle.log_density(name, x, parameters))
            assert got == want or close(got, want, 1e-12), x


def test_oracle_of_simplex_and_of_unit_interval():
    a, x = (3.0, 4.5, 3.6), (0.2, 0.5, 0.3)
    got = oracle.log_density("Dirichlet", x, dict(concentration=a))
    assert close(got, stats.dirichlet(a).logpdf(x), 1e-12)
    # Its normalising constant, by integration.
    for probs in (0.25, 0.5, 0.9):
        mass = oracle.affinity_by_definition(
            "ContinuousBernoulli", dict(probs=probs), dict(probs=0.1), 1.0
        )
        assert close(mass, 1, 1e-15)


@pytest.mark.parametrize("name", every(SCIPY, ("Normal", "Poisson", "Uniform", "Binomial")))
def test_oracle_entropies_are_those_of_scipy(name):
    parameters = MODERATE[name][0]
    want = SCIPY[name](**parameters).entropy()
    assert close(oracle.entropy_by_definition(name, parameters), float(want), 1e-7)


@pytest.mark.parametrize(
    "name", every(MODERATE, set(MODERATE) - {"Dirichlet", "Beta", "LogNormal", "InverseGamma"})
)
def test_closed_forms_are_the_definitions(name):
    p, q = MODERATE[name]
    for a, b in ((p, q), (q, p)):
        want = oracle.kl_by_definition(name, a, b)
        assert oracle.kl(name, a, b) == want or close(oracle.kl(name, a, b), want, 1e-13)
    for alpha in (0.3, 1.6):
        with mpmath.workdps(30):
            want = mpmath.log(oracle.affinity_by_definition(name, p, q, alpha))
        assert close(oracle.log_affinity(name, p, q, alpha), want, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODERATE))
def test_closed_forms_are_the_definitions_outside(name):
    q, p = MODERATE[name]
    for alpha in (-0.3, 0.5, 1.2):
        want = oracle.affinity_by_definition(name, p, q, alpha)
        with mpmath.workdps(30):
            want = mpmath.log(want)
        got = oracle.log_affinity(name, p, q, alpha)
        assert got == want or close(got, want, 1e-12)


@pytest.mark.parametrize("name", UNSHARED)
def test_closed_kl_where_the_affinity_has_none(name):
    p, q = UNSHARED[name]
    assert close(oracle.kl(name, p, q), oracle.kl_by_definition(name, p, q), 1e-13)


def test_oracle_of_two_outcomes_and_across_families():
    a, b = (3.0, 4.5), (3.5, 4.0)
    assert close(
        oracle.kl_by_definition("Dirichlet", dict(concentration=a), dict(concentration=b)),
        oracle.kl("Beta", *(dict(zip("ab", c, strict=True)) for c in (a, b))),
        1e-12,
    )
    # An exponential distribution as a Weibull, and cross-entropies from known moments.
    p, q = dict(rate=1.7), dict(concentration=1.0, scale=0.4)
    want = oracle.kl("Exponential", p, dict(rate=2.5))
    assert close(oracle.kl_between("Exponential", p, "Weibull", q), want, 1e-14)
    p, q = dict(loc=0.5, scale=2.0), dict(loc=0.0, scale=3.0)
    with mpmath.workdps(30):
        t = mpmath.mpf(0.25)  # E |x| = scale sqrt(2/pi) exp(-t^2/2) + loc erf(t / sqrt 2)
        mean = 2 * mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-(t**2) / 2)
        mean += 0.5 * mpmath.erf(t / mpmath.sqrt(2))
        want = mean / 3 + mpmath.log(6) - mpmath.log(2 * mpmath.pi * mpmath.e * 4) / 2
    assert close(oracle.kl_between("Normal", p, "Laplace", q), want, 1e-9)
    assert oracle.kl_between("Normal", p, "Exponential", dict(rate=1.0)) == mpmath.inf


@pytest.mark.parametrize("name", oracle._FISHER)
def test_published_fisher_information_is_the_curvature_of_kl(name):
    p = MODERATE[name][0]
    gap = oracle.fisher_information(name, p) - oracle.fisher_by_differences(name, p)
    assert mpmath.norm(gap) < 1e-14


# Accuracy ---------------------------------------------------------------------------------------

LIMIT = 64
# exp(x) of an exponent with an error of 2 ulp has one of 2 |x|.
STEEP = 24


def pairs(name: str, p: dict[str, np.ndarray], q: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """Both members, and all verbs between them as NumPy arrays."""
    given = [member(name, {k: jnp.asarray(v) for k, v in side.items()}) for side in (p, q)]
    return every_order(every_verb(*given))


def steep(name: str, verb: str, args: tuple, a: dict, b: dict) -> bool:
    """Whether the divergence is the exponential of a large number."""
    alpha = {"chi2": 2.0, "squared_hellinger": 0.5}.get(verb, *args or (1.0,))
    if verb not in ("alpha", "tsallis", "chi2") or alpha in (0, 1):
        return False
    return STEEP < oracle.log_affinity(name, a, b, alpha) < math.inf


def error(got: float, want: Any, dtype: str) -> float:
    """In ulp; infinite for NaN and for anything negative."""
    return ulp_error(got, want, dtype) if got >= 0 else math.inf


def worst(
    name: str, dtype: str, count: int | None, wanted: Callable[..., bool]
) -> dict[Any, tuple[float, Any]]:
    """The largest error of each verb over the grid, and where it is."""
    p, q = sample(name, dtype, count) if count else grid(name, dtype)
    found: dict[Any, tuple[float, Any]] = {}
    members = list(zip(rows(p), rows(q), strict=True))
    for (verb, args), got in pairs(name, p, q).items():
        errors = [(0.0, None)]
        for value, (a, b) in zip(got, members, strict=True):
            if wanted(name, verb, args, a, b):
                want = oracle.DIVERGENCES[verb](name, a, b, *args)
                errors.append((error(float(value), want, dtype), (a, b, float(value), want)))
        found[verb, args] = max(errors, key=lambda e: e[0])
    return found


def promised(name: str, verb: str, args: tuple, a: dict, b: dict) -> bool:
    return not steep(name, verb, args, a, b)


def check_accuracy(name: str, dtype: str, count: int | None = None, wanted=promised) -> None:
    for key, (ulps, where) in worst(name, dtype, count, wanted).items():
        assert ulps <= LIMIT, (key, ulps, where)


# The others are images of these: what dtypes and derivatives do to them, they do to these.
CORES = ("Normal", "Gamma", "Rayleigh", "Dirichlet")


@pytest.mark.parametrize("name", every(NAMES, ("Normal",)))
def test_accuracy(name):
    check_accuracy(name, "float32", 300)


@pytest.mark.parametrize("name", every(CORES, ("Normal",)))
@pytest.mark.usefixtures("x64")
def test_accuracy_in_float64(name):
    check_accuracy(name, "float64", 300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"), [(x, "float32") for x in NAMES] + [(x, "float64") for x in CORES]
)
def test_accuracy_over_the_whole_grid(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        check_accuracy(name, dtype)


# Misses -----------------------------------------------------------------------------------------


def float32_error(name: str, verb: str, p: dict, q: dict, *args: float) -> float:
    """The error of one divergence of float32 parameters, in ulp."""

    def stored(x: Any) -> Any:
        return tuple(map(stored, x)) if isinstance(x, tuple) else float(np.float32(x))

    a, b = ({key: stored(value) for key, value in side.items()} for side in (p, q))
    args = tuple(map(stored, args))
    members = (member(name, {k: jnp.asarray(v) for k, v in side.items()}) for side in (a, b))
    got = float(VERBS[verb](*members, *args))
    return error(got, oracle.DIVERGENCES[verb](name, a, b, *args), "float32")


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ((0.7, 1e-4), (21.7, 1e-4)),
        ((0.7, 1e-4), (0.91, 1e-4)),
        ((1e-4, 1e-4, 3.5), (1e-4, 1e-4, 3.4999998)),
        ((1e6, 1e-4, 1e-4), (1000000.0625, 1e-4, 1e-4)),
    ],
)
def test_one_concentration_above_all_others(p, q):
    sides = dict(concentration=p), dict(concentration=q)
    assert float32_error("Dirichlet", "kl", *sides) <= LIMIT


def test_a_row_with_such_a_concentration_changes_no_other():
    a = jnp.asarray([[2.0, 3.0, 1e-30], [0.7, 1e-4, 1e-4]], jnp.float32)
    b = a * jnp.asarray([[2.0, 1.5, 0.3]], jnp.float32)

    def total(a, b):
        return jd.kl_divergence(families.Dirichlet(a), families.Dirichlet(b)).sum()

    # Alone it is there twice: of one shape, both are one program.
    slopes = jax.jit(jax.grad(total, (0, 1)))
    both, alone = slopes(a, b), slopes(a[jnp.zeros(2, int)], b[jnp.zeros(2, int)])
    for x, y in zip(both, alone, strict=True):
        np.testing.assert_array_equal(x[0], y[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bend_of_digamma(dtype):
    rng = np.random.default_rng(0)
    a = np.exp(rng.uniform(-12, 18, 200)).astype(dtype)
    growth = np.exp(rng.uniform(-16, 6, 200)) * rng.choice([-1, 1], 200)
    b = np.where(growth > 0, a * (1 + growth), a / (1 - growth)).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        found = np.asarray(jax.jit(bends.digamma_bend)(a, b, b - a, np.ones_like(a)))
    for x, y, got in zip(a.tolist(), b.tolist(), found.tolist(), strict=True):
        with mpmath.workdps(60):
            want = (mpmath.mpf(y) - x) * mpmath.psi(1, x) - mpmath.psi(0, y) + mpmath.psi(0, x)
        assert error(got, want, dtype) <= 16, (x, y)


def test_exponentials_of_large_numbers():
    p, q = dict(loc=1e8, scale=1.0), dict(loc=99999992.0, scale=0.99999994)
    assert float32_error("Normal", "chi2", p, q) <= LIMIT


@pytest.mark.parametrize("alpha", [1e-8, 1e-6, 1e-4, 1e-3])
def test_small_orders(alpha):
    p, q = dict(rate=784.65686), dict(rate=0.7496568)
    assert float32_error("Exponential", "renyi", p, q, alpha) <= LIMIT


@pytest.mark.parametrize("alpha", [100.0, 150.0])
def test_large_orders(alpha):
    p, q = dict(scale=1.0), dict(scale=0.997)
    assert float32_error("HalfNormal", "renyi", p, q, alpha) <= LIMIT


@pytest.mark.parametrize("alpha", [10.0, 16.3, 1000.0])
@pytest.mark.parametrize(
    ("name", "p", "q"),
    [
        ("Gamma", dict(concentration=2.5, rate=0.7), dict(concentration=2.4999, rate=0.70001)),
        ("Normal", dict(loc=0.3, scale=1.7), dict(loc=0.3001, scale=1.7001)),
        ("InverseGaussian", dict(loc=0.9, concentration=3.0), dict(loc=0.90002, concentration=3.0)),
        ("Dirichlet", dict(concentration=(0.3, 2.0, 7.0)), dict(concentration=(0.3, 2.0001, 7.0))),
        ("Rayleigh", dict(scale=1.3), dict(scale=1.3001)),
        ("Exponential", dict(rate=0.3), dict(rate=0.29999)),
    ],
)
def test_large_orders_of_members_nearby(name, p, q, alpha):
    assert float32_error(name, "renyi", p, q, alpha) <= LIMIT


@pytest.mark.parametrize("name", ["Normal", "Rayleigh"])
def test_near_the_end_of_the_domain(name):
    p, q = dict(loc=0.0, scale=1.4141994), dict(loc=0.0, scale=1.0)
    sides = ({key: x[key] for key in CASES[name].bases} for x in (p, q))
    assert float32_error(name, "renyi", *sides, 2.0) <= LIMIT


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_scales_far_apart(alpha):
    p, q = dict(scale=1e10), dict(scale=1e-10)
    for a, b in ((p, q), (q, p)):
        want = oracle.renyi("HalfNormal", a, b, alpha)
        got = float(jd.renyi_divergence(f.HalfNormal(**a), f.HalfNormal(**b), alpha))
        assert got == (math.inf if want > 1e38 else pytest.approx(float(want), rel=64 * 2.0**-23))


@pytest.mark.parametrize(
    ("name", "verb", "p", "q"),
    [
        ("Exponential", "squared_hellinger", dict(rate=1e-20), dict(rate=1e20)),
        ("Exponential", "bhattacharyya", dict(rate=1e20), dict(rate=1e-20)),
        (
            "Gamma", "bhattacharyya",
            dict(concentration=2.5, rate=1e-20), dict(concentration=40.0, rate=1e20),
        ),
        ("Normal", "bhattacharyya", dict(loc=2.0, scale=3.0), dict(loc=-4.0, scale=2e-19)),
        ("Normal", "bhattacharyya", dict(loc=2e10, scale=1e-18), dict(loc=-4.0, scale=2e10)),
    ],
)  # fmt: skip
def test_members_far_apart(name, verb, p, q):
    """Ratios of natural parameters overflow."""
    assert float32_error(name, verb, p, q) <= LIMIT


def test_a_value_beyond_the_dtype_is_infinite():
    p, q = f.Normal(2e13, 3.0), f.Normal(4e24, 2e-19)
    assert jd.bhattacharyya_distance(p, q) == jnp.inf


@pytest.mark.parametrize("alpha", [0.01, 0.99, 0.9999, 1 - 2.0**-24, 1 + 2.0**-23, 1.0001, 1.01])
def test_orders_near_one(alpha):
    p, q = dict(scale=1.0), dict(scale=1.7)
    assert float32_error("HalfNormal", "renyi", p, q, alpha) <= LIMIT


# Edges ------------------------------------------------------------------------------------------

DIVERGENT = (  # chi2 and Renyi's divergence of order 2 from p to q, alpha = -1 from q to p
    ("Normal", dict(loc=0.0, scale=1.5), dict(loc=0.3, scale=1.0)),
    ("LogNormal", dict(loc=0.0, scale=1.5), dict(loc=0.3, scale=1.0)),
    ("Gamma", dict(concentration=1.0, rate=1.0), dict(concentration=2.5, rate=1.0)),
    ("Gamma", dict(concentration=1.0, rate=1.0), dict(concentration=1.0, rate=2.5)),
    ("Gamma", dict(concentration=1.0, rate=1.0), dict(concentration=2.0, rate=1.0)),
    ("InverseGamma", dict(concentration=1.0, scale=1.0), dict(concentration=0.5, scale=2.0)),
    ("Exponential", dict(rate=1.0), dict(rate=2.0)),
    ("Exponential", dict(rate=1e-4), dict(rate=1e8)),
    ("Chi2", dict(df=1.0), dict(df=2.0)),
    ("HalfNormal", dict(scale=1.5), dict(scale=1.0)),
    ("Rayleigh", dict(scale=1.5), dict(scale=1.0)),
    (
        "Beta",
        dict(concentration1=1.0, concentration0=1.0),
        dict(concentration1=2.0, concentration0=1.0),
    ),
    ("Dirichlet", dict(concentration=(1.0, 1.0, 5.0)), dict(concentration=(0.5, 2.5, 5.0))),
)


def batch(sides: list[dict[str, Any]], count: int = 300) -> dict[str, np.ndarray]:
    """Many members of one family, of the batch shape that other tests have compiled."""
    chosen = [sides[i % len(sides)] for i in range(count)]
    return {key: np.array([x[key] for x in chosen], np.float32) for key in sides[0]}


@pytest.mark.parametrize("name", every(dict.fromkeys(x[0] for x in DIVERGENT), ("Normal",)))
def test_divergent_integrals(name):
    given = [(p, q) for family, p, q in DIVERGENT if family == name]
    assert all(oracle.log_affinity(name, p, q, 2.0) == math.inf for p, q in given)
    p, q = (batch(list(sides)) for sides in zip(*given, strict=True))
    values, reverse = pairs(name, p, q), pairs(name, q, p)
    infinite = {("chi2", ()), ("renyi", (2.0,)), ("tsallis", (2.0,)), ("alpha", (2.0,))}
    infinite |= {("renyi", (3.0,)), ("tsallis", (3.0,))}
    for key, value in values.items():
        if key != ("alpha", (-1.0,)):
            assert np.all(np.isinf(value) if key in infinite else np.isfinite(value)), key
    assert np.all(np.isinf(reverse["alpha", (-1.0,)]))


def test_just_inside_the_domain():
    """2 r_p - r_q is exact, and as small as it can be."""
    rates = 2 - 2.0 ** -np.arange(1, 24, dtype=np.float32)
    got = jd.chi2_divergence(families.Exponential(1.0), families.Exponential(jnp.asarray(rates)))
    for rate, value in zip(rates, got, strict=True):
        want = oracle.DIVERGENCES["chi2"]("Exponential", dict(rate=1.0), dict(rate=float(rate)))
        assert error(float(value), want, "float32") <= LIMIT, rate


def as_members(name: str, *sides: dict[str, np.ndarray]) -> list[families.Family]:
    return [member(name, {k: jnp.asarray(v) for k, v in side.items()}) for side in sides]


def check_equal_members(name: str, dtype: str) -> None:
    p, _ = sample(name, dtype)
    for key, value in pairs(name, p, p).items():
        assert np.all(value == 0), key
        assert value.dtype == dtype


@pytest.mark.parametrize("name", every(NAMES, ("Normal",)))
def test_equal_members(name):
    check_equal_members(name, "float32")


@pytest.mark.parametrize("name", every(CORES, ("Normal",)))
@pytest.mark.usefixtures("x64")
def test_equal_members_in_float64(name):
    check_equal_members(name, "float64")


@jax.jit
def gradients(p: families.Family, q: families.Family) -> Any:
    """Of three divergences on which the others depend, by all parameters."""

    def total(function: Callable[..., Any], *args: float) -> Any:
        return jax.grad(lambda p, q: jnp.sum(function(p, q, *args)), (0, 1))(p, q)

    return (
        total(jd.kl_divergence),
        total(jd.squared_hellinger),
        total(jd.renyi_divergence, 2.0),
    )


def check_gradients(name: str, dtype: str) -> None:
    p, q = sample(name, dtype)
    with_itself = jax.tree.leaves(gradients(*as_members(name, p, p)))
    assert all(np.all(np.asarray(x) == 0) for x in with_itself)
    kl, hellinger, _ = gradients(*as_members(name, p, q))
    for slope in jax.tree.leaves((kl, hellinger)):
        assert not np.any(np.isnan(slope))


@pytest.mark.parametrize("name", every(NAMES, ("Normal",)))
def test_gradients_vanish_at_equal_members(name):
    check_gradients(name, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Normal", "Gamma", "Rayleigh"])
@pytest.mark.usefixtures("x64")
def test_gradients_vanish_at_equal_members_in_float64(name):
    check_gradients(name, "float64")


# Derivatives ------------------------------------------------------------------------------------


def flat(name: str, x: jax.Array) -> families.Family:
    """A member from one vector of all its parameters."""
    keys = CASES[name].bases
    return member(
        name, {"concentration": x} if CASES[name].entries else dict(zip(keys, x, strict=True))
    )


def vector(parameters: dict[str, Any]) -> np.ndarray:
    return np.hstack(list(parameters.values()))


def unflat(name: str, values: Any) -> dict[str, Any]:
    return (
        {"concentration": tuple(values)}
        if CASES[name].entries
        else dict(zip(CASES[name].bases, values, strict=True))
    )


def numbers(name: str, dtype: str, count: int = 12) -> np.ndarray:
    """Vectors of base parameters."""
    p, _ = grid(name, dtype)
    table = np.column_stack(list(p.values())) if not CASES[name].entries else p["concentration"]
    table = np.unique(table, axis=0)
    return table[np.random.default_rng(1).permutation(len(table))[:count]]


def check_fisher(name: str, dtype: str, x: np.ndarray) -> None:

    def kl(q, p):
        return jd.kl_divergence(flat(name, p), flat(name, q))

    curvatures = jax.jit(jax.vmap(jax.hessian(kl)))(jnp.asarray(x), jnp.asarray(x))
    for point, got in zip(x.tolist(), np.asarray(curvatures, np.float64), strict=True):
        information = oracle.fisher_information(name, unflat(name, point))
        want = np.array(information.tolist(), dtype=float)
        size = np.sqrt(np.diag(want))
        assert np.all(np.abs(got - want) <= LIMIT * ULP[dtype] * np.outer(size, size)), point


@pytest.mark.parametrize("name", every(NAMES, ("Normal", "Gamma")))
def test_curvature_is_fisher_information(name):
    check_fisher(name, "float32", numbers(name, "float32"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CORES)
@pytest.mark.usefixtures("x64")
def test_curvature_is_fisher_information_in_float64(name):
    check_fisher(name, "float64", numbers(name, "float64"))


@pytest.mark.slow
def test_curvature_with_one_concentration_above_all_others():
    check_fisher("Dirichlet", "float32", np.array([[1.0, 1e-4, 1e-4]], np.float32))


def slope_of(function: Callable[[Any], Any], x: float, scale: float = 1.0) -> Any:
    """The derivative of an oracle, by a central difference of 2^-50 scale."""
    with mpmath.workprec(300):
        step = mpmath.mpf(2) ** -50 * abs(scale)
        high, low = function(mpmath.mpf(x) + step), function(mpmath.mpf(x) - step)
        return (high - low) / (2 * step)


def check_slopes(name: str, verb: str, *args: float) -> None:
    """Gradients by all parameters of both, far and near, against differences of the oracle."""
    p, q = (vector(side) for side in MODERATE[name])
    near = p * (1 + 1e-9 * np.arange(1, len(p) + 1))

    def function(p, q):
        return VERBS[verb](flat(name, p), flat(name, q), *args)

    slopes = jax.jit(jax.grad(function, (0, 1)))
    for sides in ((p, q), (q, p), (p, near)):
        got = slopes(*map(jnp.asarray, sides))
        for side, i in itertools.product(range(2), range(len(p))):

            def moved(x, sides=sides, side=side, i=i):
                values = [[float(x) for x in y] for y in sides]
                values[side][i] = x
                return oracle.DIVERGENCES[verb](name, *(unflat(name, v) for v in values), *args)

            want = slope_of(moved, float(sides[side][i]), 1e-9)
            assert close(float(got[side][i]), want, 1e-9), (sides, side, i)


@pytest.mark.parametrize("name", every(NAMES, ("Normal",)))
@pytest.mark.usefixtures("x64")
def test_gradients_of_kl(name):
    check_slopes(name, "kl")


@pytest.mark.parametrize("name", every(CORES, ("Normal",)))
@pytest.mark.parametrize("alpha", [0.25, pytest.param(1.5, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("x64")
def test_gradients_of_renyi_divergence(name, alpha):
    check_slopes(name, "renyi", alpha)


def members_in_float64(name: str) -> list[families.Family]:
    return [flat(name, jnp.asarray(vector(side))) for side in MODERATE[name]]


@pytest.mark.parametrize("verb", ["renyi", "alpha"])
@pytest.mark.parametrize("name", every(CORES, ("Normal",)))
@pytest.mark.usefixtures("x64")
def test_first_derivatives_by_the_order(name, verb):
    function = functools.partial(VERBS[verb], *members_in_float64(name))
    orders = jnp.asarray([0.0, 0.5, 1.0, 1.25])
    got = jax.jit(jax.vmap(jax.grad(function)))(orders)
    for alpha, slope in zip(orders.tolist(), got, strict=True):
        want = slope_of(lambda a: oracle.DIVERGENCES[verb](name, *MODERATE[name], a), alpha)
        assert close(float(slope), want, 1e-12), alpha


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Normal", "Gamma", "Rayleigh"])
@pytest.mark.usefixtures("x64")
def test_second_derivatives_by_the_order(name):
    function = functools.partial(VERBS["alpha"], *members_in_float64(name))
    orders = jnp.asarray([0.0, 0.5, 1.0, 1.25])

    def twice_forward(alpha):
        def slope(a):
            return jax.jvp(function, (a,), (jnp.ones_like(a),))[1]

        return jax.jvp(slope, (alpha,), (jnp.ones_like(alpha),))[1]

    def exact_slope(a):
        step = 2.0**12  # of 2^-38: the difference of differences keeps its digits
        return slope_of(lambda b: oracle.DIVERGENCES["alpha"](name, *MODERATE[name], b), a, step)

    got = jax.jit(jax.vmap(twice_forward))(orders)
    for alpha, curvature in zip(orders.tolist(), got, strict=True):
        assert close(float(curvature), slope_of(exact_slope, alpha, 2.0**12), 1e-11), alpha


# Transformations --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", every(CORES, ("Normal",)))
def test_transformations_agree_with_the_plain_call(name):
    p, q = (jnp.asarray(vector(side), jnp.float32) for side in MODERATE[name])
    batch = jnp.stack([p, q, 1.5 * p])

    def verb(p, q):
        return jd.renyi_divergence(flat(name, p), flat(name, q), 0.25)

    plain = [verb(x, q) for x in batch]
    np.testing.assert_allclose(jax.vmap(verb, (0, None))(batch, q), plain, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(verb, (0, None)))(batch, q), plain, rtol=1e-6)
    slope = jax.grad(verb, 1)(p, q)
    one_hot = jnp.eye(len(p), dtype=jnp.float32)
    forward = [jax.jvp(functools.partial(verb, p), (q,), (e,))[1] for e in one_hot]
    np.testing.assert_allclose(slope, forward, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(verb, 1))(p, q), slope, rtol=1e-5)
    twice = jax.hessian(verb, 1), jax.jacrev(jax.jacrev(verb, 1), 1)
    curvature, other = jax.jit(lambda *sides: [g(*sides) for g in twice])(p, q)
    np.testing.assert_allclose(curvature, other, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(curvature, curvature.T, rtol=1e-4, atol=1e-6)


def kl(p: families.Family, q: families.Family) -> np.ndarray:
    return np.asarray(jd.kl_divergence(p, q))


f = families


@pytest.mark.parametrize(
    "verb",
    [jd.kl_divergence, pytest.param(jd.bhattacharyya_distance, marks=pytest.mark.slow)],
)
def test_images_have_the_divergences_of_their_cores(verb):
    x, y = jnp.asarray([0.3, 2.0, 1e4]), jnp.asarray([0.5, 2.0, 1.1e4])
    m, n = jnp.asarray([-1.0, 0.0, 3.0]), jnp.asarray([1.0, 0.0, 3.5])
    half, ones = jnp.full(3, 0.5), jnp.ones(3)
    zero = jnp.zeros(3)
    pairs = (
        ((f.LogNormal(m, x), f.LogNormal(n, y)), (f.Normal(m, x), f.Normal(n, y))),
        ((f.InverseGamma(x, y), f.InverseGamma(y, x)), (f.Gamma(x, y), f.Gamma(y, x))),
        ((f.Exponential(x), f.Exponential(y)), (f.Gamma(ones, x), f.Gamma(ones, y))),
        ((f.Chi2(x), f.Chi2(y)), (f.Gamma(x / 2, half), f.Gamma(y / 2, half))),
        (
            (f.Beta(x, y), f.Beta(y, y)),
            (f.Dirichlet(jnp.stack([x, y], -1)), f.Dirichlet(jnp.stack([y, y], -1))),
        ),
        # |z|, and the modulus of two z: sums of squares are gamma distributed.
        ((f.HalfNormal(x), f.HalfNormal(y)), (f.Normal(zero, x), f.Normal(zero, y))),
    )
    for image, core in pairs:
        np.testing.assert_allclose(verb(*image), verb(*core), rtol=LIMIT * ULP["float32"])
    one = verb(f.HalfNormal(x), f.HalfNormal(y))
    np.testing.assert_allclose(2 * one, verb(f.Rayleigh(x), f.Rayleigh(y)), rtol=8e-6)


def test_batch_shapes_broadcast():
    loc, scale = jnp.arange(3.0)[:, None], jnp.asarray([0.5, 1.0, 2.0, 4.0])
    got = kl(f.Normal(loc, 1.5), f.Normal(0.5, scale))
    assert got.shape == (3, 4)
    for i, j in itertools.product(range(3), range(4)):
        one = kl(f.Normal(loc[i, 0], 1.5), f.Normal(0.5, scale[j]))
        np.testing.assert_allclose(got[i, j], one, rtol=1e-6)
    a = jnp.arange(1.0, 7.0).reshape(2, 1, 3)
    b = jnp.arange(1.0, 16.0).reshape(5, 3)
    got = kl(f.Dirichlet(a), f.Dirichlet(b))
    assert got.shape == (2, 5)
    np.testing.assert_allclose(got[1, 3], kl(f.Dirichlet(a[1, 0]), f.Dirichlet(b[3])), rtol=1e-6)
    assert kl(f.Gamma(jnp.ones((0, 1)), 1.0), f.Gamma(1.0, jnp.ones(4))).shape == (0, 4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_computed_in_float32(dtype):
    p, q = f.Gamma(dtype(1.7), dtype(0.6)), f.Gamma(dtype(2.6), dtype(1.1))
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), (p, q))
    got = jd.kl_divergence(p, q)
    assert got.dtype == jnp.float32
    assert got == jd.kl_divergence(*wide)
    assert jd.kl_divergence(p, wide[1]) == got


def test_integers_count_as_floats():
    got = jd.kl_divergence(f.Normal(0, 1), f.Normal(jnp.arange(3), np.int64(2)))
    assert got.dtype == jnp.float32
    want = jd.kl_divergence(f.Normal(0.0, 1.0), f.Normal(jnp.arange(3.0), 2.0))
    assert np.all(got == want)


@pytest.mark.usefixtures("x64")
def test_float64_where_a_parameter_has_it():
    narrow = jnp.float32(0.3)
    assert jd.kl_divergence(f.Exponential(narrow), f.Exponential(narrow)).dtype == jnp.float32
    assert jd.kl_divergence(f.Exponential(narrow), f.Exponential(0.4)).dtype == jnp.float64


def test_units():
    p, q = f.Normal(0.0, 1.0), f.Normal(1.0, 2.0)
    np.testing.assert_allclose(
        jd.kl_divergence(p, q, base=2), jd.kl_divergence(p, q) / math.log(2), rtol=1e-6
    )
    with pytest.raises(TypeError, match="base"):
        jd.chi2_divergence(p, q, base=2)


# Errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1.0, 0.0, math.nan, math.inf])
def test_parameters_outside_their_domain(bad):
    with pytest.raises(ValueError, match=r"p\.scale must be positive and finite, but is"):
        kl(f.Normal(0.0, bad), f.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match=r"q\.rate must be positive and finite, but is"):
        kl(f.Gamma(1.0, 1.0), f.Gamma(jnp.ones(2), jnp.asarray([1.0, bad])))
    with pytest.raises(ValueError, match=r"q\.concentration must be positive"):
        kl(f.Dirichlet(jnp.ones(2)), f.Dirichlet(jnp.asarray([1.0, bad])))
    if not math.isfinite(bad):
        with pytest.raises(ValueError, match=r"p\.loc must be finite"):
            kl(f.Normal(bad, 1.0), f.Normal(0.0, 1.0))


@pytest.mark.parametrize("bad", [-1.0, 0.0, math.nan, math.inf])
def test_traced_parameters_outside_their_domain(bad):
    rates = jnp.asarray([1.0, bad, 2.0])

    @jax.jit
    def verb(rates):
        return jd.kl_divergence(f.Gamma(1.5, rates), f.Gamma(1.5, 1.0))

    got, slopes = verb(rates), jax.grad(lambda r: verb(r).sum())(rates)
    assert np.isnan(got).tolist() == [False, True, False]
    assert np.isnan(slopes).tolist() == [False, True, False]
    assert np.isnan(jax.jit(jd.kl_divergence)(f.Rayleigh(bad), f.Rayleigh(1.0)))


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"p\.loc \(2,\).*p\.scale \(3,\)"):
        kl(f.Normal(jnp.zeros(2), jnp.ones(3)), f.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match=r"p \(2,\).*q \(3,\)"):
        kl(f.Normal(jnp.zeros(2), 1.0), f.Normal(jnp.zeros(3), 1.0))
    with pytest.raises(ValueError, match=r"q\.concentration must have at least 1 axis"):
        kl(f.Dirichlet(jnp.ones(2)), f.Dirichlet(1.0))


@pytest.mark.xfail(strict=True, reason="event shapes are not compared")
@pytest.mark.parametrize("entries", [1, 2])
def test_dirichlets_of_different_outcomes(entries):
    with pytest.raises(ValueError, match=rf"concentration.*{entries}.*3"):
        kl(f.Dirichlet(jnp.ones(entries)), f.Dirichlet(jnp.ones(3)))


def test_what_families_do_not_take():
    p, q = f.Normal(0.0, 1.0), f.Normal(1.0, 2.0)
    for keyword, value in (
        ("axis", 0),
        ("where", jnp.asarray([True])),
        ("implementation", "reference"),
    ):
        with pytest.raises(TypeError, match=keyword):
            jd.kl_divergence(p, q, **{keyword: value})
    for bad in (True, "1", 1j):
        with pytest.raises(TypeError, match=r"p\.scale"):
            jd.kl_divergence(f.Normal(0.0, bad), q)
    with pytest.raises(TypeError, match="q must be a member of a family"):
        jd.kl_divergence(p, jnp.asarray([0.5, 0.5]))
    with pytest.raises(TypeError, match="p must be a member of a family"):
        jd.kl_divergence(jd.Logits(jnp.zeros(2)), q)


def test_missing_parameters():
    with pytest.raises(TypeError, match=r"p\.scale"):
        jd.kl_divergence(f.Normal(0.0, None), f.Normal(0.0, 1.0))


def test_what_has_no_closed_form():
    p, q = f.Normal(0.0, 1.0), f.Normal(1.0, 2.0)
    for verb in (jd.js_divergence, jd.total_variation, jd.le_cam_divergence):
        with pytest.raises(NotImplementedError, match="two Normal"):
            verb(p, q)
    with pytest.raises(NotImplementedError, match="Normal and Gamma"):
        jd.renyi_divergence(p, f.Gamma(1.0, 1.0), 0.5)
    with pytest.raises(NotImplementedError, match=r"KL\(Normal \|\| Cauchy\) has no closed form"):
        jd.kl_divergence(p, f.Cauchy(1.0, 1.0))
    with pytest.raises(NotImplementedError, match="inf"):
        jd.renyi_divergence(p, q, math.inf)


# Properties -------------------------------------------------------------------------------------

positive = st.floats(-4, 8).map(lambda x: float(np.float32(10.0**x)))
place = st.floats(-1e8, 1e8, width=32)
fewer = settings(max_examples=50)


def twice(name: str, p: tuple[float, ...], q: tuple[float, ...]) -> list[families.Family]:
    """Two members as batches of one: a program for all examples."""
    return [flat(name, jnp.asarray(x, jnp.float32)[:, None]) for x in (p, q)]


@pytest.mark.parametrize("name", every(["Normal", "Gamma"], ["Normal"]))
@fewer
@given(place, positive, positive, positive)
def test_never_negative(name, a, b, c, d):
    first = (a, a / 2) if name == "Normal" else (abs(a) + c, c)
    sides = (
        [dict(zip(CASES[name].bases, x, strict=True))] for x in zip(first, (b, d), strict=True)
    )
    for value in pairs(name, *map(batch, sides)).values():
        assert np.all(value >= 0)


@fewer
@given(place, positive, place, positive, st.integers(-20, 20))
def test_units_of_the_outcomes_do_not_matter(m, s, n, r, k):
    unit = 2.0**k
    for verb in (jd.kl_divergence, jd.bhattacharyya_distance):
        whole = verb(*twice("Normal", (m, s), (n, r)))
        scaled = verb(*twice("Normal", (m * unit, s * unit), (n * unit, r * unit)))
        assert whole == scaled
        whole = verb(*twice("Gamma", (1.5, s), (2.5, r)))
        assert whole == verb(*twice("Gamma", (1.5, s * unit), (2.5, r * unit)))


@fewer
@given(place, positive, place, positive)
def test_bhattacharyya_is_symmetric(m, s, n, r):
    for name, p, q in (("Normal", (m, s), (n, r)), ("Gamma", (s, 1.0), (r, 3.0))):
        p, q = twice(name, p, q)
        one, other = (float(jd.bhattacharyya_distance(*x)[0]) for x in ((p, q), (q, p)))
        assert one == other or abs(one - other) <= LIMIT * ULP["float32"] * one
