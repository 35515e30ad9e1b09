"""Oracles of high precision for divergences between members of parametric families.

Nothing here imports the library under test. Everything is there twice:

- by definition: textbook log-densities in mpmath, integrated or summed (`kl_by_definition`,
  `affinity_by_definition`, `entropy_by_definition`, and `kl_between` across families);
- in closed form, from the literature and from log-partitions, in ball arithmetic: `kl` and
  `log_affinity`, certified to 2^-140 relative by raising the precision until the cancellation,
  which is left as it comes, does no harm. These hold for the most extreme parameters; tests
  confirm them by the definitions at moderate ones.

The affinity is the integral of p^alpha q^(1-alpha); what is a function of it and of KL is in
`DIVERGENCES`. Parameters are dicts of exact floats, a Dirichlet's concentration a tuple::

    kl("Gamma", dict(concentration=2.0, rate=1.0), dict(concentration=2.5, rate=0.5))

Conventions where books differ: Gamma, Exponential have rates; Geometric counts the failures before
the first success; NegativeBinomial the successes, of probability `probs`, before `total_count`
failures.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import flint
import mpmath
from flint import arb
from mpmath import mpf

mp: Any = mpmath.mp
Parameters = dict[str, Any]
INF = math.inf


# Densities --------------------------------------------------------------------------------------


class Density(NamedTuple):
    """A textbook log-density log p(x), and how to integrate over its support.

    `support` gives its ends, which may depend on parameters. `chart` names the coordinate u in
    which the integral is taken, and `where` gives (middle, width) of the mass in that coordinate,
    roughly: they only place the panels of the quadrature.
    """

    log: Callable[..., Any]
    support: Callable[..., tuple[Any, Any]]
    chart: str
    where: Callable[..., tuple[Any, Any]]


def _line(**_: Any) -> tuple[Any, Any]:
    return -mp.inf, mp.inf


def _half_line(**_: Any) -> tuple[Any, Any]:
    return mpf(0), mp.inf


def _unit(**_: Any) -> tuple[Any, Any]:
    return mpf(0), mpf(1)


def _log_beta(*a: Any) -> Any:
    return sum(mp.loggamma(x) for x in a) - mp.loggamma(sum(a))


def _of_location(loc: Any, scale: Any) -> tuple[Any, Any]:
    return loc, scale


def _of_scale(scale: Any) -> tuple[Any, Any]:
    return mp.log(scale), mpf(1)


def _of_gamma(a: Any, rate: Any) -> tuple[Any, Any]:
    return mp.digamma(a) - mp.log(rate), mp.sqrt(mp.polygamma(1, a))


def _of_beta(a: Any, b: Any) -> tuple[Any, Any]:
    width = mp.sqrt(mp.polygamma(1, a) + mp.polygamma(1, b))
    return mp.digamma(a) - mp.digamma(b), width


def _log_choose(n: Any, k: Any) -> Any:
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def _xlog(x: Any, y: Any) -> Any:
    return mpf(0) if x == 0 else x * mp.log(y) if y > 0 else -mp.inf


def _continuous_bernoulli(x: Any, probs: Any) -> Any:
    c = mpf(2) if probs == 0.5 else 2 * mp.atanh(1 - 2 * probs) / (1 - 2 * probs)
    return mp.log(c) + x * mp.log(probs) + (1 - x) * mp.log(1 - probs)


DENSITIES: dict[str, Density] = {
    "Normal": Density(
        lambda x, loc, scale: (
            -(((x - loc) / scale) ** 2) / 2 - mp.log(scale) - mp.log(2 * mp.pi) / 2
        ),
        _line,
        "x",
        _of_location,
    ),
    "LogNormal": Density(
        lambda x, loc, scale: (
            -(((mp.log(x) - loc) / scale) ** 2) / 2 - mp.log(x * scale) - mp.log(2 * mp.pi) / 2
        ),
        _half_line,
        "log x",
        _of_location,
    ),
    "Gamma": Density(
        lambda x, concentration, rate: (
            concentration * mp.log(rate)
            - mp.loggamma(concentration)
            + (concentration - 1) * mp.log(x)
            - rate * x
        ),
        _half_line,
        "log x",
        lambda concentration, rate: _of_gamma(concentration, rate),
    ),
    "Exponential": Density(
        lambda x, rate: mp.log(rate) - rate * x,
        _half_line,
        "log x",
        lambda rate: _of_gamma(1, rate),
    ),
    "Chi2": Density(
        lambda x, df: (df / 2 - 1) * mp.log(x) - x / 2 - df / 2 * mp.log(2) - mp.loggamma(df / 2),
        _half_line,
        "log x",
        lambda df: _of_gamma(df / 2, 0.5),
    ),
    "InverseGamma": Density(
        lambda x, concentration, scale: (
            concentration * mp.log(scale)
            - mp.loggamma(concentration)
            - (concentration + 1) * mp.log(x)
            - scale / x
        ),
        _half_line,
        "log x",
        lambda concentration, scale: (
            -_of_gamma(concentration, scale)[0],
            _of_gamma(concentration, scale)[1],
        ),
    ),
    "HalfNormal": Density(
        lambda x, scale: mp.log(2 / (mp.pi * scale**2)) / 2 - x**2 / (2 * scale**2),
        _half_line,
        "log x",
        _of_scale,
    ),
    "Rayleigh": Density(
        lambda x, scale: mp.log(x / scale**2) - x**2 / (2 * scale**2),
        _half_line,
        "log x",
        _of_scale,
    ),
    "Beta": Density(
        lambda x, concentration1, concentration0: (
            (concentration1 - 1) * mp.log(x)
            + (concentration0 - 1) * mp.log(1 - x)
            - _log_beta(concentration1, concentration0)
        ),
        _unit,
        "logit x",
        lambda concentration1, concentration0: _of_beta(concentration1, concentration0),
    ),
    "Laplace": Density(
        lambda x, loc, scale: -abs(x - loc) / scale - mp.log(2 * scale), _line, "x", _of_location
    ),
    "Cauchy": Density(
        lambda x, loc, scale: -mp.log(mp.pi * scale * (1 + ((x - loc) / scale) ** 2)),
        _line,
        "arcsinh x",
        lambda loc, scale: (mp.asinh(loc), scale / mp.sqrt(1 + loc**2)),
    ),
    "Uniform": Density(
        lambda x, low, high: -mp.log(high - low),
        lambda low, high: (mpf(low), mpf(high)),
        "x",
        lambda low, high: ((low + high) / mpf(2), (high - low) / mpf(2)),
    ),
    "Weibull": Density(
        lambda x, concentration, scale: (
            mp.log(concentration / scale)
            + (concentration - 1) * mp.log(x / scale)
            - (x / scale) ** concentration
        ),
        _half_line,
        "log x",
        lambda concentration, scale: (mp.log(scale), 1 / mpf(concentration)),
    ),
    "Gumbel": Density(
        lambda x, loc, scale: -(x - loc) / scale - mp.exp(-(x - loc) / scale) - mp.log(scale),
        _line,
        "x",
        _of_location,
    ),
    "Pareto": Density(
        lambda x, scale, alpha: mp.log(alpha) + alpha * mp.log(scale) - (alpha + 1) * mp.log(x),
        lambda scale, alpha: (mpf(scale), mp.inf),
        "log x",
        lambda scale, alpha: (mp.log(scale), 1 / mpf(alpha)),
    ),
    "InverseGaussian": Density(
        lambda x, loc, concentration: (
            mp.log(concentration / (2 * mp.pi * x**3)) / 2
            - concentration * (x - loc) ** 2 / (2 * loc**2 * x)
        ),
        _half_line,
        "log x",
        lambda loc, concentration: (mp.log(loc), mp.sqrt(mpf(loc) / concentration)),
    ),
    "VonMises": Density(
        lambda x, loc, concentration: (
            concentration * mp.cos(x - loc) - mp.log(2 * mp.pi * mp.besseli(0, concentration))
        ),
        lambda **_: (-mp.pi, mp.pi),
        "x",
        lambda loc, concentration: (mpf(loc), 1 / mp.sqrt(1 + concentration)),
    ),
    "ContinuousBernoulli": Density(
        _continuous_bernoulli, _unit, "x", lambda probs: (mpf(0.5), mpf(0.5))
    ),
    "Bernoulli": Density(
        lambda k, probs: _xlog(k, probs) + _xlog(1 - k, 1 - probs),
        lambda **_: (0, 1),
        "sum",
        lambda probs: (probs, 1),
    ),
    "Binomial": Density(
        lambda k, total_count, probs: (
            _log_choose(total_count, k) + _xlog(k, probs) + _xlog(total_count - k, 1 - probs)
        ),
        lambda total_count, probs: (0, int(total_count)),
        "sum",
        lambda total_count, probs: (
            total_count * probs,
            mp.sqrt(total_count * probs * (1 - probs)),
        ),
    ),
    "Geometric": Density(
        lambda k, probs: _xlog(k, 1 - probs) + mp.log(probs),
        lambda **_: (0, INF),
        "sum",
        lambda probs: ((1 - probs) / probs, 1 / probs),
    ),
    "NegativeBinomial": Density(
        lambda k, total_count, probs: (
            _log_choose(total_count + k - 1, k) + _xlog(k, probs) + total_count * mp.log(1 - probs)
        ),
        lambda **_: (0, INF),
        "sum",
        lambda total_count, probs: (
            total_count * probs / (1 - probs),
            mp.sqrt(total_count * probs) / (1 - probs),
        ),
    ),
    "Poisson": Density(
        lambda k, rate: k * mp.log(rate) - rate - mp.loggamma(k + 1),
        lambda **_: (0, INF),
        "sum",
        lambda rate: (rate, mp.sqrt(rate)),
    ),
}

# Coordinates: x(u), log |dx/du|, and u(x).
_CHARTS: dict[str, tuple[Callable, Callable, Callable]] = {
    "x": (lambda u: u, lambda u: mpf(0), lambda x: x),
    "log x": (mp.exp, lambda u: u, lambda x: mp.log(x) if x else -mp.inf),
    "arcsinh x": (mp.sinh, lambda u: mp.log(mp.cosh(u)), mp.asinh),
    "logit x": (
        lambda u: 1 / (1 + mp.exp(-u)),
        lambda u: -u - 2 * mp.log(1 + mp.exp(-u)),
        lambda x: -mp.inf if x == 0 else mp.inf if x == 1 else mp.log(x / (1 - x)),
    ),
}
_DIGITS = 18
_GUARD = 10
_GUARD_OF_UNIT = 100  # for 1 - x in the tail of a beta density
_FAR = 120  # widths beyond which nothing is left


def log_density(name: str, x: Any, parameters: Parameters) -> Any:
    """log p(x); -inf outside the support."""
    if name == "Dirichlet":
        a = [mpf(c) for c in parameters["concentration"]]
        powers = sum((c - 1) * mp.log(y) for c, y in zip(a, x, strict=True))
        return powers - _log_beta(*a)
    density, exact = DENSITIES[name], _exact(parameters)
    low, high = density.support(**exact)
    return density.log(mpf(x), **exact) if low <= x <= high else -mp.inf


def _exact(parameters: Parameters) -> Parameters:
    return {key: mpf(value) for key, value in parameters.items()}


def kl_by_definition(name: str, p: Parameters, q: Parameters) -> Any:
    """The integral or sum of p log(p/q)."""
    return kl_between(name, p, name, q)


def kl_between(name_p: str, p: Parameters, name_q: str, q: Parameters) -> Any:
    """The integral or sum of p log(p/q) of two families on one kind of outcomes."""
    if name_p == "Dirichlet":
        return _over_simplex(lambda a, b: mp.exp(a) * (a - b), p, q)
    ends_p, ends_q = _support(name_p, p), _support(name_q, q)
    if ends_p[0] < ends_q[0] or ends_p[1] > ends_q[1]:
        return mp.inf
    return _integral(lambda a, b: mp.exp(a) * (a - b), ends_p, (name_p, p), (name_q, q))


def affinity_by_definition(name: str, p: Parameters, q: Parameters, alpha: float) -> Any:
    """The integral or sum of p^alpha q^(1-alpha), where it converges; 0 < alpha < 1 or common ends.

    +inf for alpha > 1 where p has outcomes that q has not, and for alpha < 0 the other way round.
    """

    weight = mpf(alpha)

    def term(a: Any, b: Any) -> Any:
        return mp.exp(weight * a + (1 - weight) * b)

    if name == "Dirichlet":
        return _over_simplex(term, p, q)
    (low_p, high_p), (low_q, high_q) = _support(name, p), _support(name, q)
    if alpha > 1 and (low_p < low_q or high_p > high_q):
        return mp.inf
    if alpha < 0 and (low_q < low_p or high_q > high_p):
        return mp.inf
    ends = max(low_p, low_q), min(high_p, high_q)
    return _integral(term, ends, (name, p), (name, q)) if ends[0] < ends[1] else mpf(0)


def entropy_by_definition(name: str, p: Parameters) -> Any:
    """Minus the integral or sum of p log p."""
    if name == "Dirichlet":
        return _over_simplex(lambda a, b: -a * mp.exp(a), p, p)
    return _integral(lambda a, b: -a * mp.exp(a), _support(name, p), (name, p), (name, p))


def _support(name: str, parameters: Parameters) -> tuple[Any, Any]:
    return DENSITIES[name].support(**_exact(parameters))


def _integral(term: Callable, ends: tuple, p: tuple, q: tuple) -> Any:
    """The integral of term(log p, log q) between the ends of a common support."""
    (name_p, of_p), (name_q, of_q) = (p[0], _exact(p[1])), (q[0], _exact(q[1]))
    a, b = DENSITIES[name_p], DENSITIES[name_q]
    to_x, log_jacobian, to_u = _CHARTS.get(a.chart, _CHARTS["x"])

    guard = _GUARD_OF_UNIT if a.chart == "logit x" else _GUARD

    def at(u: Any) -> Any:
        with mp.workdps(_DIGITS + guard):
            x = to_x(u)
            log_p, log_q = a.log(x, **of_p), b.log(x, **of_q)
            value = mpf(0) if log_p == -mp.inf else term(log_p, log_q)
            return value * mp.exp(log_jacobian(u))

    with mp.workdps(_DIGITS):
        places = [a.where(**of_p)] + [b.where(**of_q)] * (a.chart == b.chart)
        if a.chart == "sum":
            return _sum(at, ends, places)
        low, high = to_u(ends[0]), to_u(ends[1])
        kinks = [x for x, name in ((of_p, name_p), (of_q, name_q)) if name == "Laplace"]
        kinks = [to_u(x["loc"]) for x in kinks if ends[0] < x["loc"] < ends[1]]
        first = min(c - _FAR * max(w, 1) for c, w in places)
        last = max(c + _FAR * max(w, 1) for c, w in places)
        low, high = max(low, first), min(high, last)
        spots = set(kinks) | {
            c + k * w for c, w in places for k in (-25, -8, -3, -1, 0, 1, 3, 8, 25)
        }
        return mp.quad(at, [low, *sorted(u for u in spots if low < u < high), high])


def _sum(f: Callable, ends: tuple, places: Sequence[tuple]) -> Any:
    low, high = ends
    beyond = max(c + 20 * w for c, w in places)
    total, k = mpf(0), int(low)
    while k <= high:
        term = f(mpf(k))
        total += term
        if k > beyond and abs(term) <= mpf(10) ** -(_DIGITS + 5) * abs(total):
            break
        k += 1
    return total


def _over_simplex(term: Callable, p: Parameters, q: Parameters) -> Any:
    """The integral over the simplex of two or three outcomes, by the trapezoidal rule in logits.

    With x = softmax(u, 0) the volume is the product of all x times du; the integrand decays
    exponentially and is analytic, so that halving the step squares the error.
    """
    a, b = p["concentration"], q["concentration"]
    axes = len(a) - 1
    slowest = min(min(a), min(b))
    with mp.workdps(_DIGITS):
        normal_p, normal_q = (_log_beta(*map(mpf, c)) for c in (a, b))
        step = mpf(3) / 10
        reach = int(mp.ceil(44 / slowest / step))
        grid = [step * k for k in range(-reach, reach + 1)]
        total = mpf(0)
        for u in grid:
            for v in grid if axes == 2 else [None]:
                logits = [u, mpf(0)] if v is None else [u, v, mpf(0)]
                top = mp.log(sum(mp.exp(w) for w in logits))
                logs = [w - top for w in logits]
                log_p = sum((c - 1) * x for c, x in zip(a, logs, strict=True)) - normal_p
                log_q = sum((c - 1) * x for c, x in zip(b, logs, strict=True)) - normal_q
                total += term(log_p, log_q) * mp.exp(sum(logs))
        return total * step**axes


# Closed forms -----------------------------------------------------------------------------------

_RELATIVE_BITS = 140
_FIRST_BITS, _LAST_BITS = 320, 20_000
_ZERO_BITS = 2300  # far below what members that differ in a float64 can diverge by


@contextmanager
def _bits(bits: int):
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def certified(evaluate: Callable[[], Any]) -> Any:
    """A number with an error below 2^-140 of itself: a float infinity, or an mpf."""
    bits = _FIRST_BITS
    while bits <= _LAST_BITS:
        with _bits(bits):
            value = evaluate()
            if isinstance(value, float):
                return value
            if value == 0:
                return mpf(0)
            if value.is_finite() and abs(value) < arb(2) ** -_ZERO_BITS:
                return mpf(0)
            if value.is_finite() and value.rel_accuracy_bits() >= _RELATIVE_BITS:
                mantissa, exponent = value.mid().man_exp()
                with mp.workprec(_RELATIVE_BITS + 60):
                    return mp.ldexp(mpf(int(mantissa)), int(exponent))
        bits *= 2
    raise ArithmeticError("no digits at the highest precision")


def _balls(parameters: Parameters) -> list[Any]:
    return [[arb(c) for c in x] if isinstance(x, tuple) else arb(x) for x in parameters.values()]


def _log_gamma(x: arb) -> arb:
    return x.lgamma()


def _half_square(x: arb) -> arb:
    return x * x / 2


# KL(p || q), of each family from its own parameters.


def _kl_normal(m: arb, s: arb, n: arb, r: arb) -> arb:
    return (r / s).log() + (s * s + (m - n) * (m - n)) / (2 * r * r) - arb(1) / 2


def _kl_gamma(a: arb, r: arb, b: arb, s: arb) -> arb:
    # Penny, KL-Divergences of Normal, Gamma, Dirichlet and Wishart densities, 2001.
    gammas = _log_gamma(b) - _log_gamma(a) + (a - b) * a.digamma()
    return gammas + b * (r / s).log() + a * (s - r) / r


def _kl_dirichlet(a: list[arb], b: list[arb]) -> arb:
    total_a, total_b = sum(a, arb(0)), sum(b, arb(0))
    value = _log_gamma(total_a) - _log_gamma(total_b)
    for x, y in zip(a, b, strict=True):
        value += _log_gamma(y) - _log_gamma(x) + (x - y) * (x.digamma() - total_a.digamma())
    return value


def _kl_laplace(m: arb, s: arb, n: arb, r: arb) -> arb:
    gap = abs(m - n)
    return (r / s).log() + (s * (-gap / s).exp() + gap) / r - 1


def _kl_cauchy(m: arb, s: arb, n: arb, r: arb) -> arb:
    # Chyzak and Nielsen, arXiv 1905.10965.
    return (((s + r) ** 2 + (m - n) ** 2) / (4 * s * r)).log()


def _kl_uniform(a: arb, b: arb, c: arb, d: arb) -> Any:
    return ((d - c) / (b - a)).log() if c <= a and b <= d else INF


def _kl_weibull(k: arb, s: arb, l: arb, r: arb) -> arb:
    # Bauckhage, arXiv 1310.3713.
    euler = arb.const_euler()
    value = k.log() - k * s.log() - l.log() + l * r.log() + (k - l) * (s.log() - euler / k)
    return value + (l * (s / r).log()).exp() * (l / k + 1).gamma() - 1


def _kl_gumbel(m: arb, s: arb, n: arb, r: arb) -> arb:
    # E (x - m)/s = euler, E exp(-t (x - m)/s) = Gamma(1 + t).
    euler, ratio = arb.const_euler(), s / r
    moments = (m - n) / r + ratio * euler + ((n - m) / r).exp() * (1 + ratio).gamma()
    return (r / s).log() - euler - 1 + moments


def _kl_pareto(m: arb, a: arb, n: arb, b: arb) -> Any:
    return (a / b).log() + b * (m / n).log() + b / a - 1 if m >= n else INF


def _kl_inverse_gaussian(m: arb, k: arb, n: arb, l: arb) -> arb:
    # E x = m, E 1/x = 1/m + 1/k.
    cross = l * m / (2 * n * n) - l / n + l * (1 / m + 1 / k) / 2
    return (k / l).log() / 2 - arb(1) / 2 + cross


def _bessel(n: int, x: arb) -> arb:
    return x.bessel_i(n)


def _kl_von_mises(m: arb, k: arb, n: arb, l: arb) -> arb:
    mean = _bessel(1, k) / _bessel(0, k)
    return (_bessel(0, l) / _bessel(0, k)).log() + mean * (k - l * (m - n).cos())


def _unit(x: list[arb]) -> list[arb]:
    length = sum((c * c for c in x), arb(0)).sqrt()
    return [c / length for c in x]


def _log_sphere(n: int, square: arb) -> arb:
    """log of the integral of exp(<theta, x>) over the unit sphere, |theta|^2 = square."""
    surface = arb(2).log() + arb.pi().log() * n / 2 - (arb(n) / 2).lgamma()
    return surface + (square / 4).hypgeom_0f1(arb(n) / 2).log()


def _kl_von_mises_fisher(m: list[arb], k: arb, o: list[arb], l: arb) -> arb:
    n = len(m)
    mean = k.bessel_i(arb(n) / 2) / k.bessel_i(arb(n) / 2 - 1) if k != 0 else arb(0)
    cosine = sum((x * y for x, y in zip(_unit(m), _unit(o), strict=True)), arb(0))
    return _log_sphere(n, l * l) - _log_sphere(n, k * k) + mean * (k - l * cosine)


def _log_power_sphere(n: arb, k: arb) -> Any:
    """log of the integral of (1 + <m, x>)^k over the unit sphere: De Cao and Aziz, 2020."""
    b = (n - 1) / 2
    if not k + b > 0:
        return None
    gammas = _log_gamma(k + b) - _log_gamma(k + 2 * b)
    return (k + 2 * b) * arb(2).log() + b * arb.pi().log() + gammas


def _kl_power_spherical(m: list[arb], k: arb, o: list[arb], l: arb) -> arb:
    if m != o:
        raise NotImplementedError("no closed form")
    n, b = arb(len(m)), arb(len(m) - 1) / 2
    log_mean = arb(2).log() + (k + b).digamma() - (k + 2 * b).digamma()  # E log(1 + <m, x>)
    return _log_power_sphere(n, l) - _log_power_sphere(n, k) + (k - l) * log_mean


def _entropy_term(x: arb, y: arb) -> Any:
    """x log(x/y) with its limits."""
    if x == 0:
        return arb(0)
    return INF if y == 0 else x * (x / y).log()


def _plus(*terms: Any) -> Any:
    return INF if any(isinstance(t, float) for t in terms) else sum(terms, arb(0))


def _times(factor: arb, value: Any) -> Any:
    return value if isinstance(value, float) else factor * value


def _kl_bernoulli(p: arb, q: arb) -> Any:
    return _plus(_entropy_term(p, q), _entropy_term(1 - p, 1 - q))


def _kl_binomial(n: arb, p: arb, m: arb, q: arb) -> Any:
    if n != m:
        raise NotImplementedError("sum it: kl_by_definition")
    return _times(n, _kl_bernoulli(p, q))


def _kl_geometric(p: arb, q: arb) -> Any:
    return _times(1 / p, _kl_bernoulli(p, q))


def _kl_negative_binomial(n: arb, p: arb, m: arb, q: arb) -> Any:
    if n != m:
        raise NotImplementedError("sum it: kl_by_definition")
    return _times(n / (1 - p), _kl_bernoulli(p, q))


def _kl_continuous_bernoulli(p: arb, q: arb) -> arb:
    def log_norm(x: arb) -> arb:
        logit = (x / (1 - x)).log()
        return arb(2).log() if x == 0.5 else (logit / (2 * x - 1)).log()

    mean = arb(0.5) if p == 0.5 else p / (2 * p - 1) + 1 / (2 * (1 - 2 * p).atanh())
    rest = mean * (p / q).log() + (1 - mean) * ((1 - p) / (1 - q)).log()
    return log_norm(p) - log_norm(q) + rest


_KL: dict[str, Callable[..., Any]] = {
    "Normal": _kl_normal,
    "LogNormal": _kl_normal,
    "Gamma": _kl_gamma,
    "Exponential": lambda r, s: (r / s).log() + s / r - 1,
    "Chi2": lambda k, l: _log_gamma(l / 2) - _log_gamma(k / 2) + (k - l) / 2 * (k / 2).digamma(),
    "InverseGamma": lambda a, s, b, r: (
        _log_gamma(b) - _log_gamma(a) + (a - b) * a.digamma() + b * (s / r).log() + a * (r / s - 1)
    ),
    "HalfNormal": lambda s, r: (r / s).log() + _half_square(s / r) - arb(1) / 2,
    "Rayleigh": lambda s, r: 2 * (r / s).log() + (s / r) ** 2 - 1,
    "Beta": lambda a, b, c, d: _kl_dirichlet([a, b], [c, d]),
    "Dirichlet": _kl_dirichlet,
    "Laplace": _kl_laplace,
    "Cauchy": _kl_cauchy,
    "Uniform": _kl_uniform,
    "Weibull": _kl_weibull,
    "Gumbel": _kl_gumbel,
    "Pareto": _kl_pareto,
    "InverseGaussian": _kl_inverse_gaussian,
    "VonMises": _kl_von_mises,
    "VonMisesFisher": _kl_von_mises_fisher,
    "PowerSpherical": _kl_power_spherical,
    "ContinuousBernoulli": _kl_continuous_bernoulli,
    "Bernoulli": _kl_bernoulli,
    "Binomial": _kl_binomial,
    "Geometric": _kl_geometric,
    "NegativeBinomial": _kl_negative_binomial,
    "Poisson": lambda r, s: r * (r / s).log() + s - r,
}


# Log-partitions: (natural parameters, A), A None where the integral diverges.


def _partition_normal(x: arb, y: arb) -> Any:
    return -x * x / (4 * y) - (-2 * y).log() / 2 if y < 0 else None


def _partition_gamma(a: arb, minus_rate: arb) -> Any:
    return _log_gamma(a) - a * (-minus_rate).log() if a > 0 and minus_rate < 0 else None


def _partition_beta(*a: arb) -> Any:
    if not all(x > 0 for x in a):
        return None
    return sum((_log_gamma(x) for x in a), arb(0)) - _log_gamma(sum(a, arb(0)))


def _partition_inverse_gaussian(x: arb, y: arb) -> Any:
    # Natural -k/(2 m^2), -k/2; the density exists for x <= 0 too.
    return -2 * (x * y).sqrt() - (-2 * y).log() / 2 if y < 0 and x <= 0 else None


def _partition_sphere(*x: arb) -> arb:
    return _log_sphere(len(x), sum((c * c for c in x), arb(0)))


def _partition_bernoulli(x: arb) -> arb:
    return (1 + x.exp()).log()


def _partition_continuous_bernoulli(x: arb) -> arb:
    return (x.expm1() / x).log() if x != 0 else arb(0)


def _logit(p: arb) -> arb:
    return (p / (1 - p)).log()


class Exponential(NamedTuple):
    """natural(*parameters), A(*natural), and the parameters that both sides must share."""

    natural: Callable[..., Iterable[arb]]
    partition: Callable[..., Any]
    shared: Sequence[int] = ()
    factor: Callable[..., Any] = lambda *_: 1  # of A, from the parameters


_EXPONENTIAL: dict[str, Exponential] = {
    "Normal": Exponential(lambda m, s: (m / s**2, -1 / (2 * s**2)), _partition_normal),
    "LogNormal": Exponential(lambda m, s: (m / s**2, -1 / (2 * s**2)), _partition_normal),
    "Gamma": Exponential(lambda a, r: (a, -r), _partition_gamma),
    "Exponential": Exponential(lambda r: (-r,), lambda x: -(-x).log() if x < 0 else None),
    "Chi2": Exponential(
        lambda k: (k / 2,), lambda x: _log_gamma(x) + x * arb(2).log() if x > 0 else None
    ),
    "InverseGamma": Exponential(
        lambda a, s: (-a, -s),
        lambda x, y: _log_gamma(-x) + x * (-y).log() if x < 0 and y < 0 else None,
    ),
    "HalfNormal": Exponential(
        lambda s: (-1 / (2 * s * s),), lambda x: -(-x).log() / 2 if x < 0 else None
    ),
    "Rayleigh": Exponential(
        lambda s: (-1 / (2 * s * s),), lambda x: -(-x).log() if x < 0 else None
    ),
    "Beta": Exponential(lambda a, b: (a, b), _partition_beta),
    "Dirichlet": Exponential(lambda a: a, _partition_beta),
    "Weibull": Exponential(
        lambda k, s: (-((1 / s) ** k),), lambda x: -(-x).log() if x < 0 else None, shared=(0,)
    ),
    "Gumbel": Exponential(
        lambda m, s: (-(m / s).exp(),), lambda x: -(-x).log() if x < 0 else None, shared=(1,)
    ),
    "InverseGaussian": Exponential(
        lambda m, k: (-k / (2 * m * m), -k / 2), _partition_inverse_gaussian
    ),
    "VonMises": Exponential(lambda m, k: (k * m.cos(), k * m.sin()), _partition_sphere),
    "VonMisesFisher": Exponential(lambda m, k: [k * c for c in _unit(m)], _partition_sphere),
    "PowerSpherical": Exponential(lambda m, k: (arb(len(m)), k), _log_power_sphere, shared=(0,)),
    "ContinuousBernoulli": Exponential(lambda p: (_logit(p),), _partition_continuous_bernoulli),
    "Poisson": Exponential(lambda r: (r.log(),), lambda x: x.exp()),
}


def _affinity_by_partition(name: str) -> Callable[..., Any]:
    family = _EXPONENTIAL[name]

    def log_affinity(p: list[Any], q: list[Any], alpha: arb) -> Any:
        if any(p[i] != q[i] for i in family.shared):
            raise NotImplementedError("integrate it: affinity_by_definition")
        theta, eta = list(family.natural(*p)), list(family.natural(*q))
        mixed = [alpha * x + (1 - alpha) * y for x, y in zip(theta, eta, strict=True)]
        middle = family.partition(*mixed)
        if middle is None:
            return INF
        return middle - alpha * family.partition(*theta) - (1 - alpha) * family.partition(*eta)

    return log_affinity


def _affinity_laplace(p: list[arb], q: list[arb], alpha: arb) -> Any:
    (m, s), (n, r) = p, q
    if not alpha * r + (1 - alpha) * s > 0:
        return INF
    u, v, gap = alpha / s, (1 - alpha) / r, abs(m - n)
    tails = ((-v * gap).exp() + (-u * gap).exp()) / (u + v)
    if gap == 0:
        middle = arb(0)
    elif alpha * r == (1 - alpha) * s:
        middle = gap * (-u * gap).exp()
    else:
        middle = ((-v * gap).exp() - (-u * gap).exp()) / (u - v)
    return (tails + middle).log() - alpha * (2 * s).log() - (1 - alpha) * (2 * r).log()


def _affinity_cauchy(p: list[arb], q: list[arb], alpha: arb) -> Any:
    # The spherical function of the hyperbolic plane, Legendre's P_{-alpha}(1 + x).
    (m, s), (n, r) = p, q
    x = ((s - r) ** 2 + (m - n) ** 2) / (2 * s * r)
    return (-x / 2).hypgeom_2f1(alpha, 1 - alpha, arb(1)).log()


def _outside(alpha: arb, p_in_q: bool, q_in_p: bool) -> bool:
    return (alpha > 1 and not p_in_q) or (alpha < 0 and not q_in_p)


def _affinity_uniform(p: list[arb], q: list[arb], alpha: arb) -> Any:
    (a, b), (c, d) = p, q
    if _outside(alpha, bool(c <= a and b <= d), bool(a <= c and d <= b)):
        return INF
    low, high = (a if a > c else c), (b if b < d else d)
    if not low < high:
        return -INF
    return (high - low).log() - alpha * (b - a).log() - (1 - alpha) * (d - c).log()


def _affinity_pareto(p: list[arb], q: list[arb], alpha: arb) -> Any:
    (m, a), (n, b) = p, q
    tail, low = alpha * a + (1 - alpha) * b, (m if m > n else n)
    if not tail > 0 or _outside(alpha, bool(m >= n), bool(n >= m)):
        return INF
    of_p, of_q = a.log() + a * m.log(), b.log() + b * n.log()
    return alpha * of_p + (1 - alpha) * of_q - tail * low.log() - tail.log()


def _powers(p: arb, q: arb, alpha: arb) -> Any:
    """p^alpha q^(1-alpha), a float infinity where it is; alpha is neither 0 nor 1."""
    if p == 0 or q == 0:
        if (p == 0 and alpha > 0 and (q != 0 or alpha < 1)) or (q == 0 and alpha < 1):
            return arb(0)
        return arb(0) if p == 0 and q == 0 else INF
    return p**alpha * q ** (1 - alpha)


def _log_of(value: Any) -> Any:
    if isinstance(value, float):
        return value
    return -INF if value == 0 else value.log()


def _affinity_bernoulli(p: list[arb], q: list[arb], alpha: arb) -> Any:
    a, b = p[0], q[0]
    return _log_of(_plus(_powers(a, b, alpha), _powers(1 - a, 1 - b, alpha)))


def _affinity_binomial(p: list[arb], q: list[arb], alpha: arb) -> Any:
    if p[0] != q[0]:
        raise NotImplementedError("sum it: affinity_by_definition")
    return _times(p[0], _affinity_bernoulli(p[1:], q[1:], alpha))


def _geometric_series(count: arb, ratio: Any, start: Any) -> Any:
    """log of [start / (1 - ratio)]^count, +inf where the series diverges."""
    if isinstance(ratio, float) or isinstance(start, float) or not ratio < 1:
        return INF
    return _times(count, _log_of(start / (1 - ratio)))


def _affinity_geometric(p: list[arb], q: list[arb], alpha: arb) -> Any:
    a, b = p[0], q[0]
    return _geometric_series(arb(1), _powers(1 - a, 1 - b, alpha), _powers(a, b, alpha))


def _affinity_negative_binomial(p: list[arb], q: list[arb], alpha: arb) -> Any:
    if p[0] != q[0]:
        raise NotImplementedError("sum it: affinity_by_definition")
    a, b = p[1], q[1]
    return _geometric_series(p[0], _powers(a, b, alpha), _powers(1 - a, 1 - b, alpha))


_AFFINITY: dict[str, Callable[..., Any]] = {
    **{name: _affinity_by_partition(name) for name in _EXPONENTIAL},
    "Laplace": _affinity_laplace,
    "Cauchy": _affinity_cauchy,
    "Uniform": _affinity_uniform,
    "Pareto": _affinity_pareto,
    "Bernoulli": _affinity_bernoulli,
    "Binomial": _affinity_binomial,
    "Geometric": _affinity_geometric,
    "NegativeBinomial": _affinity_negative_binomial,
}


def _kl(name: str, p: Parameters, q: Parameters) -> Any:
    return _KL[name](*_balls(p), *_balls(q)) if p != q else arb(0)


def _log_affinity(name: str, p: Parameters, q: Parameters, alpha: Any) -> Any:
    return _AFFINITY[name](_balls(p), _balls(q), arb(alpha)) if p != q else arb(0)


def kl(name: str, p: Parameters, q: Parameters) -> Any:
    """KL(p || q) in closed form, an mpf or a float infinity."""
    return certified(lambda: _kl(name, p, q))


def log_affinity(name: str, p: Parameters, q: Parameters, alpha: Any) -> Any:
    """log of the integral of p^alpha q^(1-alpha) in closed form, an mpf or a float infinity."""
    return certified(lambda: _log_affinity(name, p, q, alpha))


# Divergences ------------------------------------------------------------------------------------


def renyi(name: str, p: Parameters, q: Parameters, alpha: float) -> Any:
    """log of the affinity over alpha - 1, alpha > 0; KL at 1."""
    if alpha == 1:
        return kl(name, p, q)
    return certified(lambda: _over(_log_affinity(name, p, q, alpha), arb(alpha) - 1))


def alpha_divergence(name: str, p: Parameters, q: Parameters, alpha: float) -> Any:
    """(affinity - 1) / (alpha (alpha - 1)); KL at 1, reverse KL at 0."""
    if alpha in (0, 1):
        return kl(name, p, q) if alpha else kl(name, q, p)

    def evaluate() -> Any:
        lost = _expm1(_log_affinity(name, p, q, alpha))
        return _over(lost, arb(alpha) * (arb(alpha) - 1))

    return certified(evaluate)


def _expm1(x: Any) -> Any:
    if isinstance(x, float):
        return arb(-1) if x < 0 else x
    return x.expm1()


def _over(x: Any, y: arb) -> Any:
    return math.copysign(x, x * float(y)) if isinstance(x, float) else x / y


def tsallis(name: str, p: Parameters, q: Parameters, alpha: float) -> Any:
    """(affinity - 1) / (alpha - 1); KL at 1."""
    return _scaled(alpha_divergence(name, p, q, alpha), alpha)


def _scaled(value: Any, factor: float) -> Any:
    with mp.workdps(60):
        return mpf(value) * factor


def jeffreys(name: str, p: Parameters, q: Parameters) -> Any:
    """KL both ways."""
    with mp.workdps(60):
        return kl(name, p, q) + kl(name, q, p)


DIVERGENCES: dict[str, Callable[..., Any]] = {
    "kl": kl,
    "reverse_kl": lambda name, p, q: kl(name, q, p),
    "jeffreys": jeffreys,
    "renyi": renyi,
    "alpha": alpha_divergence,
    "tsallis": tsallis,
    "squared_hellinger": lambda name, p, q: _scaled(alpha_divergence(name, p, q, 0.5), 0.25),
    "bhattacharyya": lambda name, p, q: _scaled(renyi(name, p, q, 0.5), 0.5),
    "chi2": lambda name, p, q: _scaled(alpha_divergence(name, p, q, 2.0), 2.0),
}


# Fisher information -----------------------------------------------------------------------------


def fisher_information(name: str, p: Parameters) -> Any:
    """The matrix by the parameters in their order, from published formulas, 50 digits."""
    with mp.workdps(50):
        values = (
            [mpf(x) for x in p.get("concentration", p.values())]
            if name == "Dirichlet"
            else [mpf(x) for x in p.values()]
        )
        return mp.matrix(_FISHER[name](*values))


def fisher_by_differences(name: str, p: Parameters) -> Any:
    """The Hessian of KL(p || q) by q's parameters at q = p, from second differences of `kl`."""
    vector = list(p["concentration"] if name == "Dirichlet" else p.values())
    step, size = mpf(2) ** -70, len(vector)

    def moved(*steps: tuple[int, int]) -> Any:
        with mp.workprec(400):
            values = [mpf(x) for x in vector]
            for index, sign in steps:
                values[index] += sign * step
        q = (
            {"concentration": tuple(values)}
            if name == "Dirichlet"
            else dict(zip(p, values, strict=True))
        )
        return kl(name, p, q)

    with mp.workdps(50):

        def entry(i: int, j: int) -> Any:
            if i == j:
                return (moved((i, 1)) + moved((i, -1))) / step**2
            mixed = moved((i, 1), (j, 1)) + moved((i, -1), (j, -1))
            return (mixed - moved((i, 1), (j, -1)) - moved((i, -1), (j, 1))) / (4 * step**2)

        return mp.matrix([[entry(i, j) for j in range(size)] for i in range(size)])


def _fisher_dirichlet(*a: Any) -> list[list[Any]]:
    shared = mp.polygamma(1, sum(a))
    return [
        [(mp.polygamma(1, x) if i == j else 0) - shared for j in range(len(a))]
        for i, x in enumerate(a)
    ]


def _fisher_extreme(shape: Any, scale: Any) -> list[list[Any]]:
    # Rinne, The Weibull Distribution, 2008, section 11.3; of Gumbel's by its logarithm.
    g = 1 - mp.euler
    return [[(mp.pi**2 / 6 + g**2) / shape**2, -g / scale], [-g / scale, (shape / scale) ** 2]]


def _fisher_gumbel(loc: Any, scale: Any) -> list[list[Any]]:
    g = 1 - mp.euler
    return [[1 / scale**2, -g / scale**2], [-g / scale**2, (mp.pi**2 / 6 + g**2) / scale**2]]


def _fisher_von_mises(loc: Any, k: Any) -> list[list[Any]]:
    mean = mp.besseli(1, k) / mp.besseli(0, k)
    return [[k * mean, 0], [0, 1 - mean / k - mean**2]]


def _fisher_gamma(a: Any, rate: Any) -> list[list[Any]]:
    return [[mp.polygamma(1, a), -1 / rate], [-1 / rate, a / rate**2]]


def _fisher_normal(loc: Any, scale: Any) -> list[list[Any]]:
    return [[1 / scale**2, 0], [0, 2 / scale**2]]


_FISHER: dict[str, Callable[..., list[list[Any]]]] = {
    "Normal": _fisher_normal,
    "LogNormal": _fisher_normal,
    "Gamma": _fisher_gamma,
    "Exponential": lambda r: [[1 / r**2]],
    "Chi2": lambda k: [[mp.polygamma(1, k / 2) / 4]],
    "InverseGamma": _fisher_gamma,
    "HalfNormal": lambda s: [[2 / s**2]],
    "Rayleigh": lambda s: [[4 / s**2]],
    "Beta": _fisher_dirichlet,
    "Dirichlet": _fisher_dirichlet,
    "Laplace": lambda m, s: [[1 / s**2, 0], [0, 1 / s**2]],
    "Cauchy": lambda m, s: [[1 / (2 * s**2), 0], [0, 1 / (2 * s**2)]],
    "Weibull": _fisher_extreme,
    "Gumbel": _fisher_gumbel,
    "InverseGaussian": lambda m, k: [[k / m**3, 0], [0, 1 / (2 * k**2)]],
    "VonMises": _fisher_von_mises,
    "Bernoulli": lambda p: [[1 / (p * (1 - p))]],
    "Geometric": lambda p: [[1 / (p**2 * (1 - p))]],
    "Poisson": lambda r: [[1 / r]],
}
