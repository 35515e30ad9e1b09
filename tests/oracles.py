"""Oracles of arbitrary precision for every divergence and information measure on finite rows.

Nothing here imports the library under test: each verb is written once more from its textbook
definition and evaluated in ball arithmetic (`flint.arb`), which carries a rigorous error bound.
A value is returned only when its bound is below 2⁻²⁰⁰ relative (60 digits); until then the
working precision is doubled. So cancellation near p = q needs no care in the formulas below, and
the formulas can stay the definitions. Ball exponents are unbounded: rows whose log-probabilities
lie 1e4 (or 1e300) apart do not underflow.

A row holds *stored* numbers, converted exactly::

    p = from_logits(a, temperature=0.5)
    q = from_probs(b)
    want = ORACLES["renyi_divergence"](p, q, alpha=2.0)
    assert ulp_error(got, want, "float32") <= 64

Results are `mpmath.mpf` in nats and keep their digits; do further arithmetic on them inside
`mpmath.workdps(60)`, because mpmath's default is 15 digits.

On rows that do not sum to one an f-divergence is the generalised one, with the generator
normalised by f(1) = f'(1) = 0; the docstrings give the formulas. A row with a NaN, a negative
probability, a +inf, or nothing but -inf makes every result NaN.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from typing import Any, NamedTuple

import flint
import ml_dtypes
import mpmath
import numpy as np
from flint import arb, fmpq
from mpmath import mpf

mp: Any = mpmath.mp  # some of its methods are attached at run time, unseen by a type checker

TARGET_BITS = 200
"""Relative accuracy that a returned value has, in bits."""

_START_BITS = 320
_LAST_BITS = 10_000
# A ball inside ±2⁻²³⁰⁰ counts as 0: even its square root is below float64's smallest number, and
# rows of float64 that differ at all diverge by more (logits 0, 0 and 0, 2⁻¹⁰⁷⁴: KL = 2⁻²¹⁵¹).
_ZERO_BITS = 2300


# Rows ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Row:
    """One measure on a finite set: exact stored entries and how to read them.

    `kind` is "probs", "log_probs" or "logits"; entries are floats or fractions in C order, and
    `shape` is the shape of the array they came from (two axes for a joint table).
    """

    kind: str
    entries: tuple[Any, ...]
    shape: tuple[int, ...]
    temperature: float = 1.0
    invalid: bool = False
    _cache: dict[int, tuple[list[arb], list[arb]]] = field(default_factory=dict, repr=False)

    @property
    def support(self) -> list[bool]:
        zero = 0 if self.kind == "probs" else -math.inf
        return [entry != zero for entry in self.entries]

    @property
    def headroom(self) -> int:
        """Bits before the binary point of the largest finite |log p|."""
        if self.kind == "probs":
            return 11
        largest = max((abs(x) for x in self.entries if math.isfinite(x)), default=0.0)
        return max(11, math.frexp(largest)[1] - math.frexp(self.temperature)[1] + 3)

    def values(self) -> tuple[list[arb], list[arb]]:
        """(p, log p) at the current precision; log p is -inf where p is a structural zero."""
        bits = flint.ctx.prec
        if bits not in self._cache:
            self._cache.clear()
            self._cache[bits] = self._evaluate()
        return self._cache[bits]

    def _evaluate(self) -> tuple[list[arb], list[arb]]:
        zero, log_zero = arb(0), arb.neg_inf()
        entries = [_ball(x) for x in self.entries]
        support = self.support
        if self.kind == "probs":
            return entries, [
                x.log() if s else log_zero for x, s in zip(entries, support, strict=True)
            ]
        if self.kind == "log_probs":
            return [x.exp() if s else zero for x, s in zip(entries, support, strict=True)], entries
        largest, temperature = arb(max(self.entries)), arb(self.temperature)
        scaled = [
            (x - largest) / temperature if s else x for x, s in zip(entries, support, strict=True)
        ]
        weights = [x.exp() if s else zero for x, s in zip(scaled, support, strict=True)]
        total = _sum(weights)
        log_total = total.log()
        logs = [x - log_total if s else x for x, s in zip(scaled, support, strict=True)]
        return [w / total for w in weights], logs


def from_probs(array: Any) -> Row:
    """The stored probabilities, not renormalised. Shape (n,), or a joint table."""
    entries, shape = _stored(array)
    invalid = any(not 0 <= x < math.inf for x in entries)
    return Row("probs", entries, shape, invalid=invalid)


def from_log_probs(array: Any) -> Row:
    """exp of the stored log-probabilities, not renormalised."""
    entries, shape = _stored(array)
    return Row("log_probs", entries, shape, invalid=_bad_logs(entries))


def from_logits(array: Any, temperature: Any = 1) -> Row:
    """softmax(array / temperature) over all entries, with the temperature as stored."""
    entries, shape = _stored(array)
    temperature = float(temperature)
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    invalid = _bad_logs(entries)
    finite = [x for x in entries if x != -math.inf]
    if not invalid and all(x == finite[0] for x in finite):
        # Rational: with the exact value, equality with stored probabilities can be decided.
        share = Fraction(1, len(finite))
        return Row("probs", tuple(share if x != -math.inf else 0 for x in entries), shape)
    return Row("logits", entries, shape, temperature, invalid)


def from_labels(label: Any, num_classes: int, smoothing: Any = 0) -> Row:
    """(1 - smoothing)·[i = label] + smoothing / num_classes; NaN for a label out of range."""
    share = Fraction(float(smoothing)) / num_classes
    peak = 1 - Fraction(float(smoothing)) + share
    entries = tuple(peak if i == int(label) else share for i in range(num_classes))
    return Row("probs", entries, (num_classes,), invalid=not 0 <= int(label) < num_classes)


def _stored(array: Any) -> tuple[tuple[float, ...], tuple[int, ...]]:
    array = np.asarray(array)
    if array.dtype not in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64):
        raise TypeError(f"a row must be float16, bfloat16, float32 or float64, got {array.dtype}")
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"a row needs at least one entry, got shape {array.shape}")
    return tuple(array.astype(np.float64).ravel().tolist()), array.shape


def _bad_logs(entries: Sequence[float]) -> bool:
    return any(not x < math.inf for x in entries) or all(x == -math.inf for x in entries)


def _ball(x: Any) -> arb:
    return arb(fmpq(x.numerator, x.denominator)) if isinstance(x, Fraction) else arb(x)


def _sum(values: Sequence[arb]) -> arb:
    return sum(values, arb(0))


def _square(x: arb) -> arb:
    return x * x  # a ball around zero has no `** 2`: flint gives NaN


def _identical(p: Row, q: Row) -> bool:
    """Whether the two rows are provably the same measure, decided exactly."""
    if p.kind != q.kind:
        return False
    if p.kind != "logits":
        return p.entries == q.entries
    if p.support != q.support:
        return False
    by_p, by_q = Fraction(p.temperature), Fraction(q.temperature)
    shifts = (
        Fraction(a) / by_p - Fraction(b) / by_q
        for a, b in zip(p.entries, q.entries, strict=True)
        if a != -math.inf
    )
    first = next(shifts)
    return all(shift == first for shift in shifts)


# Certified evaluation --------------------------------------------------------------------------


class Pair(NamedTuple):
    """Two rows at the current precision, split by support.

    p, q, log_p, log_q are restricted to the common support; p_only holds the p_i where q_i = 0
    and q_only the q_i where p_i = 0; mass_p and mass_q are the sums over everything.
    """

    p: list[arb]
    q: list[arb]
    log_p: list[arb]
    log_q: list[arb]
    p_only: list[arb]
    q_only: list[arb]
    mass_p: arb
    mass_q: arb

    @property
    def swapped(self) -> "Pair":
        return Pair(
            self.q,
            self.p,
            self.log_q,
            self.log_p,
            self.q_only,
            self.p_only,
            self.mass_q,
            self.mass_p,
        )


def _pair(p: Row, q: Row) -> Pair:
    (ps, log_ps), (qs, log_qs) = p.values(), q.values()
    in_p, in_q = p.support, q.support
    both = [i for i, (a, b) in enumerate(zip(in_p, in_q, strict=True)) if a and b]
    return Pair(
        [ps[i] for i in both],
        [qs[i] for i in both],
        [log_ps[i] for i in both],
        [log_qs[i] for i in both],
        [x for x, a, b in zip(ps, in_p, in_q, strict=True) if a and not b],
        [x for x, a, b in zip(qs, in_p, in_q, strict=True) if b and not a],
        _sum(ps),
        _sum(qs),
    )


def _precisions(*rows: Row) -> Iterator[int]:
    """Working precisions to try, in bits, the first one past the largest |log p|."""
    bits = _START_BITS + max(row.headroom for row in rows)
    yield bits
    while bits < _LAST_BITS:
        bits *= 2
        yield bits


def _certify(evaluate: Callable[[], "arb | float"], *rows: Row) -> Any:
    """evaluate() as an mpf, at the first precision whose error bound is small enough.

    A float (0, inf or nan) stands for a value that is known without arithmetic.
    """
    if any(row.invalid for row in rows):
        return mpf("nan")
    for bits in _precisions(*rows):
        with flint.ctx.workprec(bits):
            value = evaluate()
        if not isinstance(value, arb):
            return mpf(value)
        if value.is_exact() or value.rel_accuracy_bits() >= TARGET_BITS:
            return _to_mpf(value)
        if _is_zero(value):
            return mpf(0)
    raise ArithmeticError(f"no certified value within {_LAST_BITS} bits")


def _is_zero(value: arb) -> bool:
    return abs(value) < arb(2) ** -_ZERO_BITS


def _to_mpf(value: arb) -> Any:
    if not value.is_finite():
        return mpf("inf") if value > 0 else mpf("-inf")
    mantissa, exponent = value.mid().man_exp()
    # prec=inf is mpmath's exact mode: the caller's working precision does not round the result.
    return mp.ldexp(mp.mpf(int(mantissa), prec=math.inf), int(exponent))


def _same_length(p: Row, q: Row) -> None:
    if len(p.entries) != len(q.entries):
        raise ValueError(f"p and q must have one length, got {len(p.entries)}, {len(q.entries)}")


def _divergence(p: Row, q: Row, formula: Callable[[Pair], "arb | float"]) -> Any:
    """The certified value of a formula that is 0 on identical rows."""
    _same_length(p, q)
    if not (p.invalid or q.invalid) and _identical(p, q):
        return mpf(0)
    return _certify(lambda: formula(_pair(p, q)), p, q)


def _in_unit_interval(name: str, value: Any) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
    return float(value)


# f-divergences ---------------------------------------------------------------------------------


def _kl(x: Pair) -> "arb | float":
    if x.p_only:
        return math.inf
    terms = [p * (a - b) for p, a, b in zip(x.p, x.log_p, x.log_q, strict=True)]
    return _sum(terms) - x.mass_p + x.mass_q


def _plus(a: "arb | float", b: "arb | float") -> "arb | float":
    return a + b if isinstance(a, arb) and isinstance(b, arb) else math.inf


def _chi2(x: Pair) -> "arb | float":
    if x.p_only:
        return math.inf
    return _sum([_square(p - q) / q for p, q in zip(x.p, x.q, strict=True)]) + _sum(x.q_only)


def _squared_hellinger(x: Pair) -> arb:
    return (x.mass_p + x.mass_q) / 2 - _affinity(x)


def _affinity(x: Pair) -> arb:
    return _sum([(p * q).sqrt() for p, q in zip(x.p, x.q, strict=True)])


def _kl_to_mixture(x: Pair, share: arb) -> arb:
    """KL(p ‖ share·p + (1 - share)·q), for 0 < share < 1."""
    rest = 1 - share
    terms = [
        p * (a - (share * p + rest * q).log()) for p, q, a in zip(x.p, x.q, x.log_p, strict=True)
    ]
    alone = -share.log() * _sum(x.p_only)
    return _sum(terms) + alone + rest * (x.mass_q - x.mass_p)


def kl_divergence(p: Row, q: Row) -> Any:
    """Σ p log(p/q) - p + q."""
    return _divergence(p, q, _kl)


def reverse_kl_divergence(p: Row, q: Row) -> Any:
    """Σ q log(q/p) - q + p."""
    return _divergence(p, q, lambda x: _kl(x.swapped))


def jeffreys_divergence(p: Row, q: Row) -> Any:
    """Σ (p - q) log(p/q)."""
    return _divergence(p, q, lambda x: _plus(_kl(x), _kl(x.swapped)))


def js_divergence(p: Row, q: Row, weight: Any = 0.5) -> Any:
    """w KL(p ‖ m) + (1 - w) KL(q ‖ m) with m = w p + (1 - w) q."""
    weight = _in_unit_interval("weight", weight)

    def formula(x: Pair) -> "arb | float":
        if weight in (0, 1):
            return 0.0
        w = arb(weight)
        return w * _kl_to_mixture(x, w) + (1 - w) * _kl_to_mixture(x.swapped, 1 - w)

    return _divergence(p, q, formula)


def js_distance(p: Row, q: Row, weight: Any = 0.5) -> Any:
    """√JS."""
    with mp.workprec(_START_BITS):
        return mp.sqrt(js_divergence(p, q, weight))


def skew_kl_divergence(p: Row, q: Row, skew: Any) -> Any:
    """KL(p ‖ skew·p + (1 - skew)·q)."""
    skew = _in_unit_interval("skew", skew)
    if skew == 0:
        return kl_divergence(p, q)
    return _divergence(p, q, lambda x: 0.0 if skew == 1 else _kl_to_mixture(x, arb(skew)))


def total_variation(p: Row, q: Row) -> Any:
    """Σ |p - q| / 2."""

    def formula(x: Pair) -> arb:
        return (
            _sum([abs(p - q) for p, q in zip(x.p, x.q, strict=True)]) + _sum(x.p_only + x.q_only)
        ) / 2

    return _divergence(p, q, formula)


def squared_hellinger(p: Row, q: Row) -> Any:
    """Σ (√p - √q)² / 2."""
    return _divergence(p, q, _squared_hellinger)


def hellinger_distance(p: Row, q: Row) -> Any:
    """√(Σ (√p - √q)² / 2)."""
    with mp.workprec(_START_BITS):
        return mp.sqrt(squared_hellinger(p, q))


def chi2_divergence(p: Row, q: Row) -> Any:
    """Pearson: Σ (p - q)² / q."""
    return _divergence(p, q, _chi2)


def neyman_chi2_divergence(p: Row, q: Row) -> Any:
    """Σ (p - q)² / p."""
    return _divergence(p, q, lambda x: _chi2(x.swapped))


def le_cam_divergence(p: Row, q: Row) -> Any:
    """Σ (p - q)² / (p + q)."""

    def formula(x: Pair) -> arb:
        terms = [_square(p - q) / (p + q) for p, q in zip(x.p, x.q, strict=True)]
        return _sum(terms) + _sum(x.p_only + x.q_only)

    return _divergence(p, q, formula)


def alpha_divergence(p: Row, q: Row, alpha: Any) -> Any:
    """(Σ p^α q^(1-α) - α p - (1-α) q) / (α (α - 1)); reverse KL at α = 0 and KL at α = 1."""
    alpha = float(alpha)
    if alpha == 0:
        return reverse_kl_divergence(p, q)
    if alpha == 1:
        return kl_divergence(p, q)

    def formula(x: Pair) -> "arb | float":
        power = _power_sum(x, arb(alpha))
        if not isinstance(power, arb):
            return power
        a = arb(alpha)
        return (power - a * x.mass_p - (1 - a) * x.mass_q) / (a * (a - 1))

    return _divergence(p, q, formula)


def f_divergence(
    p: Row,
    q: Row,
    f: Callable[[Any], Any],
    *,
    derivative_at_one: Any = None,
    at_zero: Any = None,
    slope: Any = None,
) -> Any:
    """Σ q (f(t) - f(1) - f'(1)(t - 1)) with t = p/q, for f written with mpmath functions.

    `derivative_at_one` is f'(1), by default differentiated numerically; `at_zero` = f(0) and
    `slope` = lim f(t)/t, of f as given, are needed where just one of p_i, q_i is zero. The
    precision is fixed (320 bits): there is no error bound on a Python function.
    """
    _same_length(p, q)
    if p.invalid or q.invalid:
        return mpf("nan")
    if _identical(p, q):
        return mpf(0)
    with _fixed_precision(p, q):
        x = _pair(p, q)
        one = f(mpf(1))
        tilt = mp.diff(f, 1) if derivative_at_one is None else mp.mpf(derivative_at_one)
        total = mpf(0)
        for a, b, weight in zip(x.log_p, x.log_q, x.q, strict=True):
            t = _to_mpf((a - b).exp())
            total += _to_mpf(weight) * (f(t) - one - tilt * (t - 1))
        if x.q_only:
            total += _given("at_zero", at_zero, "p") * _to_mpf(_sum(x.q_only))
            total += (tilt - one) * _to_mpf(_sum(x.q_only))
        if x.p_only:
            total += (_given("slope", slope, "q") - tilt) * _to_mpf(_sum(x.p_only))
        return total


def _given(name: str, value: Any, row: str) -> Any:
    if value is None:
        raise ValueError(f"{name} is needed: {row} has a zero where the other row has none")
    return mp.mpf(value)


@contextmanager
def _fixed_precision(*rows: Row) -> Iterator[None]:
    """mpmath and flint at one precision that holds the logarithms of all rows."""
    bits = next(_precisions(*rows))
    with mp.workprec(bits), flint.ctx.workprec(bits):
        yield


# Transforms of Σ p^α q^(1-α) --------------------------------------------------------------------


def _power_sum(x: Pair, alpha: arb) -> "arb | float":
    """S = Σ p^α q^(1-α), a zero to a negative power being +inf and 0⁰ being 0."""
    if (alpha > 1 and x.p_only) or (alpha < 0 and x.q_only):
        return math.inf
    rest = 1 - alpha
    return _sum([(alpha * a + rest * b).exp() for a, b in zip(x.log_p, x.log_q, strict=True)])


def _mean_mass(x: Pair, alpha: arb) -> arb:
    return alpha * x.mass_p + (1 - alpha) * x.mass_q


def _order(alpha: Any) -> float:
    alpha = float(alpha)
    if not alpha >= 0:
        raise ValueError(f"alpha must be >= 0, got {alpha}")
    return alpha


def _kl_per_mass(x: Pair) -> "arb | float":
    value = _kl(x)
    if not isinstance(value, arb) or x.mass_p == 0:
        return math.inf
    return value / x.mass_p


def renyi_divergence(p: Row, q: Row, alpha: Any) -> Any:
    """log(S/m) / (α - 1), S = Σ p^α q^(1-α), m = α Σp + (1-α) Σq.

    α = 0: -log of q's share on the support of p; α = 1: KL / Σp; α = inf: log max p/q. NaN where
    m ≤ 0, which takes α > 1 and unequal masses.
    """
    alpha = _order(alpha)

    def formula(x: Pair) -> "arb | float":
        if alpha == math.inf:
            if x.p_only or not x.p:
                return math.inf
            largest = x.log_p[0] - x.log_q[0]
            for a, b in zip(x.log_p, x.log_q, strict=True):
                largest = largest.max(a - b)
            return largest
        if alpha == 1:
            return _kl_per_mass(x)
        a = arb(alpha)
        power, mass = _power_sum(x, a), _mean_mass(x, a)
        if not isinstance(power, arb):
            return power
        if mass <= 0:
            return math.nan
        if not x.p:
            return math.inf
        return (power / mass).log() / (a - 1)

    return _divergence(p, q, formula)


def tsallis_divergence(p: Row, q: Row, alpha: Any) -> Any:
    """(S/m - 1) / (α - 1) with S and m as in Rényi, NaN where m ≤ 0; KL / Σp at α = 1."""
    alpha = _order(alpha)
    if alpha == math.inf:
        raise ValueError("alpha must be finite, got inf")

    def formula(x: Pair) -> "arb | float":
        if alpha == 1:
            return _kl_per_mass(x)
        a = arb(alpha)
        power, mass = _power_sum(x, a), _mean_mass(x, a)
        if not isinstance(power, arb):
            return power
        return math.nan if mass <= 0 else (power / mass - 1) / (a - 1)

    return _divergence(p, q, formula)


def bhattacharyya_distance(p: Row, q: Row) -> Any:
    """-log(Σ √(pq) / ((Σp + Σq) / 2))."""

    def formula(x: Pair) -> "arb | float":
        return -(2 * _affinity(x) / (x.mass_p + x.mass_q)).log() if x.p else math.inf

    return _divergence(p, q, formula)


def fisher_rao_distance(p: Row, q: Row) -> Any:
    """4 arcsin √(H² / (Σp + Σq)), which is 2 arccos Σ√(pq) on distributions."""
    ratio = _divergence(p, q, lambda x: _squared_hellinger(x) / (x.mass_p + x.mass_q))
    with mp.workprec(_START_BITS):
        return 4 * mp.asin(mp.sqrt(ratio))


def squared_fisher_rao(p: Row, q: Row) -> Any:
    """The square of `fisher_rao_distance`."""
    with mp.workprec(_START_BITS):
        return fisher_rao_distance(p, q) ** 2


def chernoff_information(p: Row, q: Row) -> Any:
    """max over α in [0, 1] of -log(S_α / m_α), the ends taken as limits from inside."""
    return _divergence(p, q, _chernoff)


def _chernoff(x: Pair) -> "arb | float":
    """The maximum of h(α) = log m_α - log S_α by safeguarded Newton.

    log S is convex and log m concave in α, so h is concave: a point α of a bracket [low, high]
    holding the maximiser misses the maximum by at most |h'(α)|·(high - low), which is what stops
    the search.
    """
    if not x.p:
        return math.inf
    ratios = [a - b for a, b in zip(x.log_p, x.log_q, strict=True)]
    gap = x.mass_p - x.mass_q

    def at(alpha: arb) -> tuple[arb, arb, arb]:
        weights = [(b + alpha * r).exp() for b, r in zip(x.log_q, ratios, strict=True)]
        first = [w * r for w, r in zip(weights, ratios, strict=True)]
        total = _sum(weights)
        mean = _sum(first) / total
        square = _sum([w * r for w, r in zip(first, ratios, strict=True)]) / total
        mass = _mean_mass(x, alpha)
        value = (mass / total).log()
        return value, gap / mass - mean, _square(mean) - square - _square(gap / mass)

    low, high = arb(0), arb(1)
    tried: set[int] = set()
    alpha = arb(1) / 2
    tolerance = arb(2) ** -(TARGET_BITS + 8)
    for _ in range(4 * flint.ctx.prec):  # bisection alone needs a step a bit
        value, slope, curvature = at(alpha)
        up = slope.mid() >= 0
        # At an end of [0, 1] where h still rises outwards, concavity makes it the maximum.
        if (alpha == 0 and not up) or (alpha == 1 and up):
            return value
        low, high = (alpha, high) if up else (low, alpha)
        miss = abs(slope) * (high - low)
        # A slope of unknown sign leads nowhere: a higher precision has to go on from here.
        if miss <= tolerance * abs(value) or slope.contains(0):
            return value.union(value + miss)
        step = alpha - slope / curvature
        outside = not (low < step < high)
        end = 1 if up else 0
        if outside and end not in tried and (high if up else low) == end:
            tried.add(end)
            alpha = arb(end)
        else:
            alpha = ((low + high) / 2 if outside else step).mid()
    raise ArithmeticError("the search for the Chernoff exponent did not converge")


# Bregman divergences ---------------------------------------------------------------------------


def itakura_saito_divergence(p: Row, q: Row) -> Any:
    """Σ p/q - log(p/q) - 1; +inf where just one of p_i, q_i is zero."""

    def formula(x: Pair) -> "arb | float":
        if x.p_only or x.q_only:
            return math.inf
        ratios = [a - b for a, b in zip(x.log_p, x.log_q, strict=True)]
        return _sum([r.exp() - r - 1 for r in ratios])

    return _divergence(p, q, formula)


def squared_euclidean(p: Row, q: Row) -> Any:
    """Σ (p - q)²."""

    def formula(x: Pair) -> arb:
        alone = [_square(v) for v in x.p_only + x.q_only]
        return _sum([_square(p - q) for p, q in zip(x.p, x.q, strict=True)]) + _sum(alone)

    return _divergence(p, q, formula)


def bregman_divergence(
    p: Row,
    q: Row,
    potential: Callable[[Any], Any],
    *,
    derivative: Callable[[Any], Any] | None = None,
) -> Any:
    """Σ φ(p) - φ(q) - φ'(q)(p - q) for a scalar potential φ written with mpmath functions.

    Without `derivative` φ' is differentiated numerically, which is slow and needs φ on both
    sides of every q_i. Entries with p_i = q_i = 0 count 0. The precision is fixed (320 bits).
    """
    _same_length(p, q)
    if p.invalid or q.invalid:
        return mpf("nan")
    if _identical(p, q):
        return mpf(0)
    with _fixed_precision(p, q):
        total = mpf(0)
        for u, v in zip(p.values()[0], q.values()[0], strict=True):
            x, y = _to_mpf(u), _to_mpf(v)
            if x == y:
                continue
            tangent = mp.diff(potential, y) if derivative is None else derivative(y)
            total += potential(x) - potential(y) - tangent * (x - y)
        return total


# Information -----------------------------------------------------------------------------------


def _entropy(row: Row) -> arb:
    values, logs = row.values()
    return -_sum([p * a for p, a, s in zip(values, logs, row.support, strict=True) if s])


def _cross_entropy(x: Pair) -> "arb | float":
    return math.inf if x.p_only else -_sum([p * b for p, b in zip(x.p, x.log_q, strict=True)])


def self_information(p: Row) -> list[Any]:
    """-log p, one value an entry."""
    if p.invalid:
        return [mpf("nan")] * len(p.entries)
    values: list[Any] = [None if s else mpf("inf") for s in p.support]
    for bits in _precisions(p):
        open_entries = [i for i, value in enumerate(values) if value is None]
        if not open_entries:
            return values
        with flint.ctx.workprec(bits):
            information = [-x for x in p.values()[1]]
        for i in open_entries:
            if information[i].is_exact() or information[i].rel_accuracy_bits() >= TARGET_BITS:
                values[i] = _to_mpf(information[i])
            elif _is_zero(information[i]):
                values[i] = mpf(0)
    raise ArithmeticError(f"no certified value within {_LAST_BITS} bits")


def entropy(p: Row) -> Any:
    """-Σ p log p."""
    return _certify(lambda: _entropy(p), p)


def cross_entropy(p: Row, q: Row) -> Any:
    """-Σ p log q."""
    _same_length(p, q)
    return _certify(lambda: _cross_entropy(_pair(p, q)), p, q)


def perplexity(p: Row, q: Row | None = None) -> Any:
    """exp of the cross-entropy of p and q, or of the entropy of p."""
    with mp.workprec(_START_BITS):
        return mp.exp(entropy(p) if q is None else cross_entropy(p, q))


def joint_entropy(joint: Row) -> Any:
    """-Σ p log p over a table."""
    return entropy(joint)


def _table(joint: Row) -> tuple[list[tuple[arb, int, int]], list[arb], list[arb]]:
    """The positive cells (p, x, y) and the two marginals of a table with X first."""
    if len(joint.shape) != 2:
        raise ValueError(f"a joint table has two axes, got shape {joint.shape}")
    rows, columns = joint.shape
    values, support = joint.values()[0], joint.support
    cells = [(values[i], *divmod(i, columns)) for i in range(rows * columns) if support[i]]
    in_x = [_sum(values[i * columns : (i + 1) * columns]) for i in range(rows)]
    in_y = [_sum(values[j::columns]) for j in range(columns)]
    return cells, in_x, in_y


def conditional_entropy(joint: Row) -> Any:
    """H(X | Y) = -Σ p log(p / p_Y), X on the first axis of the table and Y on the second."""

    def formula() -> arb:
        cells, _, in_y = _table(joint)
        return -_sum([p * (p / in_y[y]).log() for p, _, y in cells])

    return _certify(formula, joint)


def mutual_information(joint: Row) -> Any:
    """Σ p log(p m / (p_X p_Y)) with m = Σp."""

    def formula() -> arb:
        cells, in_x, in_y = _table(joint)
        mass = _sum([p for p, _, _ in cells])
        return _sum([p * (p * mass / (in_x[x] * in_y[y])).log() for p, x, y in cells])

    return _certify(formula, joint)


def huffman_code(p: Row) -> list[int]:
    """Word lengths of one optimal binary prefix code.

    Only Σ p·length is unique: compare that, and Kraft's sum, not the lengths. A single outcome
    has length 0.
    """
    with flint.ctx.workprec(_START_BITS + p.headroom):
        parts = [v.mid().man_exp() for v in p.values()[0]]
    # Fixed point, exact for float64: what falls off the end could not change an expected length.
    shifts = [max(int(exponent) + 4096, -(10**6)) for _, exponent in parts]
    weights = [
        int(m) << s if s >= 0 else int(m) >> -s for (m, _), s in zip(parts, shifts, strict=True)
    ]
    heap = [(weight, i) for i, weight in enumerate(weights)]
    heapq.heapify(heap)
    parents: dict[int, int] = {}
    node = len(heap)
    while len(heap) > 1:
        (a, i), (b, j) = heapq.heappop(heap), heapq.heappop(heap)
        parents[i] = parents[j] = node
        heapq.heappush(heap, (a + b, node))
        node += 1
    depth = {node - 1: 0}
    for child in sorted(parents, reverse=True):
        depth[child] = depth[parents[child]] + 1
    return [depth[i] for i in range(len(p.entries))]


def expected_code_length(p: Row, lengths: Sequence[int]) -> Any:
    """Σ p·length, in code symbols."""
    return _certify(
        lambda: _sum([v * int(n) for v, n in zip(p.values()[0], lengths, strict=True)]), p
    )


# Gradients -------------------------------------------------------------------------------------


class _Rule(NamedTuple):
    """The derivative of one term with respect to the entry p of the differentiated row.

    `slope(p, q, log(p/q))` holds for p, q > 0. `p_zero` and `q_zero` are the contract's values
    where only p, only q is zero: the one-sided limit if it is finite or the term is +inf, and 0
    if the limit is infinite but the term finite. `p_zero_flow(q)` is lim p·slope as p → 0, which
    the logit chart needs; as q → 0 that limit is p·q_zero.
    """

    slope: Callable[[arb, arb, arb], arb]
    p_zero: arb
    q_zero: arb
    p_zero_flow: Callable[[arb], arb] = lambda q: arb(0)


def _rules(name: str, weight: Any) -> tuple[_Rule, _Rule]:
    """The rules for the first and the second argument; in the latter "p" is the second row."""
    up, down = arb.pos_inf(), arb.neg_inf()

    def js(w: arb) -> _Rule:
        return _Rule(lambda p, q, r: -w * (w + (1 - w) * (-r).exp()).log(), arb(0), -w * w.log())

    kl_first = _Rule(lambda p, q, r: r, arb(0), up)
    kl_second = _Rule(lambda p, q, r: 1 - (-r).exp(), down, arb(1), lambda q: -q)
    hellinger = _Rule(lambda p, q, r: (1 - (-r / 2).exp()) / 2, arb(0), arb(1) / 2)
    chi2_first = _Rule(lambda p, q, r: 2 * (p - q) / q, arb(-2), up)
    chi2_second = _Rule(lambda p, q, r: 1 - _square(q / p), down, arb(1), lambda q: down)
    le_cam = _Rule(lambda p, q, r: (p - q) * (p + 3 * q) / _square(p + q), arb(-3), arb(1))
    rules = {
        "kl_divergence": (kl_first, kl_second),
        "reverse_kl_divergence": (kl_second, kl_first),
        "js_divergence": (js(arb(weight)), js(1 - arb(weight))),
        "squared_hellinger": (hellinger, hellinger),
        "chi2_divergence": (chi2_first, chi2_second),
        "le_cam_divergence": (le_cam, le_cam),
    }
    if name not in rules:
        raise ValueError(f"name must be one of {sorted(rules)}, got {name!r}")
    return rules[name]


def gradient(
    name: str,
    p: Any,
    q: Any,
    chart: str,
    argument: str,
    *,
    weight: Any = 0.5,
    temperature: Any = 1,
) -> list[Any]:
    """The gradient of a divergence with respect to one row, one mpf an entry.

    p and q are arrays in `chart` ("probs" or "logits", the latter at `temperature`), or rows
    already built; `argument` ("p" or "q") is the row that is differentiated, in `chart`. `weight`
    is that of "js_divergence", strictly inside (0, 1). Exactly 0 at p = q; zeros follow the
    library's edge contract. The error of every entry is below 2⁻²⁰⁰ of the largest finite one.
    """
    if chart not in ("probs", "logits"):
        raise ValueError(f"chart must be 'probs' or 'logits', got {chart!r}")
    if argument not in ("p", "q"):
        raise ValueError(f"argument must be 'p' or 'q', got {argument!r}")
    if not 0 < weight < 1:
        raise ValueError(f"weight must lie in (0, 1), got {weight}")
    p, q = (
        x
        if isinstance(x, Row)
        else from_probs(x)
        if chart == "probs"
        else from_logits(x, temperature)
        for x in (p, q)
    )
    _same_length(p, q)
    if p.invalid or q.invalid:
        return [mpf("nan")] * len(p.entries)
    if _identical(p, q):
        return [mpf(0)] * len(p.entries)
    own, other = (p, q) if argument == "p" else (q, p)
    for bits in _precisions(own, other):
        with flint.ctx.workprec(bits):
            rule = _rules(name, float(weight))[argument == "q"]
            if chart == "probs":
                values = _slopes(rule, own, other)
            else:
                values = [v / arb(float(temperature)) for v in _flows(rule, own, other)]
            # Of an infinity only an exact one has radius 0, and none else is settled.
            finite = [abs(v.mid()) for v in values if v.is_finite()]
            largest = max(finite, default=arb(0))
            if max(v.rad() for v in values) <= largest * arb(2) ** -TARGET_BITS:
                return [_to_mpf(v) for v in values]
            if all(_is_zero(v) or (not v.is_finite() and v.rad() == 0) for v in values):
                return [mpf(0) if v.is_finite() else _to_mpf(v) for v in values]
    raise ArithmeticError(f"no certified gradient within {_LAST_BITS} bits")


def _slopes(rule: _Rule, own: Row, other: Row) -> list[arb]:
    """∂/∂p_i for every entry."""
    (ps, log_ps), (qs, log_qs) = own.values(), other.values()
    out = []
    for p, q, a, b, in_p, in_q in zip(
        ps, qs, log_ps, log_qs, own.support, other.support, strict=True
    ):
        if in_p and in_q:
            out.append(rule.slope(p, q, a - b))
        elif in_q:
            out.append(rule.p_zero)
        else:
            out.append(rule.q_zero if in_p else arb(0))
    return out


def _flows(rule: _Rule, own: Row, other: Row) -> list[arb]:
    """p_i ∂_i - p_i Σ p_j ∂_j, the gradient in the logits of p at temperature 1.

    Infinite terms p_j ∂_j outweigh all others: their entries keep their sign, the rest of the
    support gets the opposite one.
    """
    (ps, log_ps), (qs, log_qs) = own.values(), other.values()
    terms = []
    for p, q, a, b, in_p, in_q in zip(
        ps, qs, log_ps, log_qs, own.support, other.support, strict=True
    ):
        if in_p and in_q:
            terms.append(p * rule.slope(p, q, a - b))
        elif in_q:
            terms.append(rule.p_zero_flow(q))
        else:
            terms.append(p * rule.q_zero if in_p else arb(0))
    infinite = next((t for t in terms if not t.is_finite()), None)
    if infinite is not None:
        rest = [-infinite if s else arb(0) for s in own.support]
        return [r if t.is_finite() else t for t, r in zip(terms, rest, strict=True)]
    # With Σp = 1: p_j ∂_j outweighs the result where p_j is close to 1, and must not enter it.
    rest_t, rest_p = _sums_of_others(terms), _sums_of_others(ps)
    return [t * b - p * a for t, p, a, b in zip(terms, ps, rest_t, rest_p, strict=True)]


def _sums_of_others(values: Sequence[arb]) -> list[arb]:
    """Σ_{j≠i} values_j for every i."""
    before = list(accumulate(values[:-1], initial=arb(0)))
    after = list(accumulate(values[:0:-1], initial=arb(0)))[::-1]
    return [a + b for a, b in zip(before, after, strict=True)]


# Errors ----------------------------------------------------------------------------------------

_ULP = {"float32": -23, "float64": -52}


def ulp_error(got: Any, want: Any, dtype: Any) -> float:
    """|got - want| / |want| in units of 2⁻²³ (float32) or 2⁻⁵² (float64).

    A magnitude above the dtype's largest number counts as infinite and one below its smallest
    normal number as zero, on either side. 0 when both are zero, the same infinity, or NaN; inf
    when only one is.
    """
    name = np.dtype(dtype).name
    if name not in _ULP:
        raise ValueError(f"dtype must be float32 or float64, got {name}")
    info = np.finfo(name)
    largest, smallest = float(info.max), float(info.smallest_normal)
    with mp.workdps(60):

        def settle(x: Any) -> Any:
            x = x if isinstance(x, mp.mpf) else mp.mpf(float(x))
            if abs(x) > largest:
                return mp.sign(x) * mp.inf
            return mp.mpf(0) if abs(x) < smallest else x

        got, want = settle(got), settle(want)
        if got == want or (mp.isnan(got) and mp.isnan(want)):
            return 0.0
        if want == 0 or not (mp.isfinite(got) and mp.isfinite(want)):
            return math.inf
        return float(mp.ldexp(abs(got - want) / abs(want), -_ULP[name]))


def relative_l2_error(got: Any, want: Sequence[Any]) -> float:
    """‖got - want‖₂ / ‖want‖₂ for a gradient; 0 when both are zero, inf when only want is."""
    got = np.asarray(got).astype(np.float64).tolist()
    if len(got) != len(want):
        raise ValueError(f"got and want must have one length, got {len(got)}, {len(want)}")
    with mp.workdps(60):
        error = mp.sqrt(mp.fsum((mp.mpf(a) - b) ** 2 for a, b in zip(got, want, strict=True)))
        norm = mp.sqrt(mp.fsum(b**2 for b in want))
        if norm == 0:
            return 0.0 if error == 0 else math.inf
        return float(error / norm)


ORACLES: dict[str, Callable[..., Any]] = {
    oracle.__name__: oracle
    for oracle in (
        kl_divergence,
        reverse_kl_divergence,
        jeffreys_divergence,
        js_divergence,
        skew_kl_divergence,
        total_variation,
        squared_hellinger,
        hellinger_distance,
        js_distance,
        chi2_divergence,
        neyman_chi2_divergence,
        alpha_divergence,
        renyi_divergence,
        tsallis_divergence,
        bhattacharyya_distance,
        le_cam_divergence,
        fisher_rao_distance,
        squared_fisher_rao,
        itakura_saito_divergence,
        squared_euclidean,
        f_divergence,
        bregman_divergence,
        chernoff_information,
        self_information,
        entropy,
        cross_entropy,
        perplexity,
        joint_entropy,
        conditional_entropy,
        mutual_information,
        huffman_code,
        expected_code_length,
    )
}
"""Verb name to oracle: `fn(p, q, **params)`, `fn(p)` or `fn(joint)`."""
