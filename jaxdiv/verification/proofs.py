"""Lemmas, applied: from premises about one scalar function to claims for every n.

An f-divergence is a sum of q f(p/q). Each summand has the Hessian (f''(t)/q) [[1, -t], [-t, t^2]],
of rank one and positive semidefinite iff f''(t) >= 0, so that one scalar inequality proves
convexity in p, in q and jointly, for any number of outcomes at once. Claims that nothing here
proves are left to the search.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from .._divergence import Separable, Transform
from . import premises as facts
from .interval import inlined
from .premises import Premise, Scalar
from .subject import NOTHING, Subject
from .verdict import Certificate

Key = tuple[str, str]
_JOINT = (
    ("convex in p", "probabilities"),
    ("convex in q", "probabilities"),
    ("convex in (p, q)", "probabilities"),
)
_CONVEX = "the Hessian of q f(p/q) is f''(t)/q times a positive semidefinite matrix of rank one"


@functools.lru_cache(maxsize=512)
def derivative(f: Scalar, order: int) -> Scalar:
    """The derivative of a scalar function: of what it computes, not by rules of somebody's own."""
    if order == 0:
        return f
    # Jitted, so that it is traced once for all that is made of it.
    return jax.jit(jax.grad(derivative(f, order - 1) if order > 1 else inlined(f)))


@functools.lru_cache(maxsize=128)
def certificates(subject: Subject) -> dict[Key, Certificate]:
    """Every claim that a lemma proves of it, by claim and chart; each was checked."""
    found: dict[Key, Certificate] = {}
    for keys, certificate in _all(subject):
        for key in keys:
            if key not in found and certificate.check():
                found[key] = certificate
    return found


def _all(subject: Subject) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    divergence = subject.divergence
    if divergence is None:
        return
    yield from _symmetry(subject)
    yield from _norms(subject)
    if subject.generator is not None:
        yield from _of_generator(subject.generator, subject)
        assert subject.reversed_generator is not None
        yield from _of_logits("p", subject.reversed_generator, subject.claims.convex_in_p_logits)
    if isinstance(divergence, Transform):
        yield from _of_transform(divergence, subject)
    potential = getattr(divergence, "potential", None)
    if callable(potential) and isinstance(divergence, Separable):
        yield from _of_potential(potential, divergence)


def _certificate(lemma: str, source: str, *premises: Premise | None) -> Certificate | None:
    if any(premise is None for premise in premises):
        return None
    return Certificate(lemma, source, tuple(p for p in premises if p is not None))


def _symmetry(subject: Subject) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    if subject.definition is None:
        return
    premise = facts.Symmetric("D(p, q) and D(q, p) are the same", subject.definition)
    yield (("symmetric", ""),), Certificate("both are one formula", "algebra", (premise,))


def _norms(subject: Subject) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """Metrics that are a norm of a difference, or an angle."""
    divergence = subject.divergence
    if isinstance(divergence, Separable):
        yield from _norms_of(divergence.summand)
    if isinstance(divergence, Transform):
        yield from _angles(divergence)
        yield from _roots(divergence, subject)


def _norms_of(
    summand: Callable[..., Any],
) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """Sums that are a norm of a difference, or its square."""
    metric, root = (("metric", ""),), (("its square root is a metric", ""),)

    def is_one(kind: str) -> tuple[facts.Identical | None, float]:
        reference = facts.norm(kind)
        for scale in (1.0, 0.5, 2.0):
            premise = facts.Identical(
                f"the summand is {scale:g} times that of the {kind} norm",
                summand,
                lambda p, q, s=scale: s * reference(p, q),
            )
            if premise.checked:
                return premise, scale
        return None, 0.0

    one, scale = is_one("absolute")
    if one is not None:
        sure = (("minimal at p = q", ""), ("D = 0 only for p = q", ""))
        lemma = "a norm of p - q is a metric, and jointly convex"
        yield (*metric, *sure, *_JOINT), Certificate(lemma, "the triangle inequality", (one,))
        lemma = "|sum of differences| <= sum of |differences|"
        yield (("data processing", ""),), Certificate(lemma, "Scheffe 1947", (one,))
        lemma = "sum |p - q| <= sum p + sum q = 2"
        yield (at_most(2 * scale),), Certificate(lemma, "the triangle inequality", (one,))
        lemma = "from p x r to q x s by way of q x r, at D(p, q) and D(r, s)"
        products = (("sub-additive on products", ""),)
        yield products, Certificate(lemma, "the triangle inequality", (one,))
    two, scale = is_one("euclidean")
    if two is not None:
        lemma = "the square root of D is a Euclidean distance"
        yield root, Certificate(lemma, "Minkowski's inequality", (two,))
        lemma = "sum (p - q)^2 <= sum p^2 + sum q^2 <= 2"
        yield (at_most(2 * scale),), Certificate(lemma, "p, q >= 0 with sum 1", (two,))
    three, _ = is_one("roots")
    if three is not None:
        lemma = "the square root of D is a Euclidean distance of (sqrt p_i)"
        yield root, Certificate(lemma, "Minkowski's inequality", (three,))


def at_most(bound: float) -> Key:
    """The claim of an upper bound."""
    return f"at most {bound:.6g}", ""


def coefficient(c: float) -> Key:
    """The claim of a Hessian c diag(1/p) at p = q."""
    return f"Hessian {c:.6g} diag(1/p) at p = q", ""


def _angles(divergence: Transform) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """The angle of the unit vectors of roots, and its square."""
    inner = facts.Identical(
        "the inner sum is that of sqrt(p q)", divergence.inner, lambda p, q: jnp.sqrt(p * q)
    )
    concave = facts.sign("-(sqrt t)'' >= 0", _minus_root_bends)
    if concave is None or not inner.checked:
        return
    plain = (("metric", ""), at_most(math.pi))
    square = (("its square root is a metric", ""), at_most(math.pi**2))
    for outer, keys, what in (
        (lambda s: 2 * jnp.arccos(s), plain, "2 arccos"),
        (lambda s: 4 * jnp.square(jnp.arccos(s)), square, "4 arccos^2"),
    ):
        form = facts.Identical(f"the outer function is {what}", divergence.outer, outer, True)
        if not form.checked:
            continue
        lemma = "arccos sum sqrt(p q) is the angle of unit vectors with entries >= 0"
        source = "Rao 1945; angles obey the triangle inequality"
        yield keys, Certificate(lemma, source, (inner, form))
        lemma = "arccos falls with sum sqrt(p q), which is jointly concave and 1 only at p = q"
        keys = (("minimal at p = q", ""), ("D = 0 only for p = q", ""), ("data processing", ""))
        yield keys, Certificate(lemma, "Jensen", (concave, inner, form))
        if what == "4 arccos^2":
            lemma = (
                "4 arccos^2 S = 16 arcsin^2 sqrt((1 - S)/2) = 8 (1 - S) + ..., a power series in "
                "1 - S with coefficients > 0, is convex and falls with S, which is jointly concave"
            )
            source = "Borwein and Chamberland 2007"
            keys = (*_JOINT, coefficient(2.0))  # outer' = -8, (sqrt t)'' = -1/4 at 1
            yield keys, Certificate(lemma, source, (concave, inner, form))


def _minus_root_bends(t: Any) -> Any:
    return -derivative(jnp.sqrt, 2)(t)


def _roots(
    divergence: Transform, subject: Subject
) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """Square roots of f-divergences."""
    form = facts.Identical("D is a square root", divergence.outer, jnp.sqrt, scalar=True)
    if not form.checked:
        return
    for keys, certificate in _of_sum(divergence.inner):
        for key, _ in keys:
            if key == "its square root is a metric":
                claim: Key = ("metric", "")
            elif key == "D = 0 only for p = q":
                claim = (key, "")
            elif key.startswith("at most") and subject.claims.upper_bound is not None:
                claim = at_most(subject.claims.upper_bound)
                inner = float(key.removeprefix("at most "))
                if not math.isclose(math.sqrt(inner), subject.claims.upper_bound, rel_tol=1e-5):
                    continue
            else:
                continue
            lemma = f"of what it is the root of: {certificate.lemma}"
            premises = (form, *certificate.premises)
            yield (claim,), Certificate(lemma, certificate.source, premises)


def _of_sum(summand: Callable[..., Any]) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """What is proved of the f-divergence with this summand."""
    subject = Subject("the inner sum", "", lambda p, q: jnp.sum(summand(p, q), axis=-1), NOTHING)
    yield from _norms_of(summand)

    def f(t: Any) -> Any:
        return summand(t, jnp.ones_like(t))

    yield from _of_generator(f, subject)


def _of_generator(f: Scalar, subject: Subject) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    curved = facts.sign("f''(t) >= 0 for t > 0", derivative(f, 2), smooth_of=f)
    convex = _certificate(_CONVEX, "Csiszar 1967", curved)
    if convex is not None:
        yield _JOINT, convex
        zero = facts.value_at_one("f(1)", f)
        if zero is not None and zero.value == 0:
            lemma = "f lies above its tangent at 1, where it is 0, and the slope sums to 0"
            certificate = Certificate(lemma, "Jensen", (*convex.premises, zero))
            yield (("minimal at p = q", ""),), certificate
        lemma = "a jointly convex function, homogeneous of degree 1, shrinks under channels"
        yield (("data processing", ""),), Certificate(lemma, "Csiszar 1967", convex.premises)
        strict = facts.value_at_one("f''(1)", derivative(f, 2))
        if strict is not None and strict.value > 0:
            if zero is not None and zero.value == 0:
                lemma = "f is convex, and strictly at 1, where it is 0"
                certificate = Certificate(lemma, "Csiszar 1967", (*convex.premises, zero, strict))
                yield (("D = 0 only for p = q", ""),), certificate
            third = facts.value_at_one("f'''(1)", derivative(f, 3))
            lemma = "Hessian f''(1) diag(1/p); third derivatives f'''(1)/p^2 and -(3f'' + f''')/p^2"
            local = _certificate(lemma, "Amari and Nagaoka", strict, third)
            if local is not None:
                yield (coefficient(float(strict.value)),), local
        yield from _bound(f, convex)
        if subject.claims.metric not in ("no", "yes"):
            yield from _metric(f, subject, convex)
    yield from _of_logits("q", f, subject.claims.convex_in_q_logits)
    yield from _products(f)


def _of_logits(
    argument: str, f: Scalar, stated: bool | None
) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    # What is stated not to hold needs a witness: there is no use in trying to prove it.
    certificate = None if stated is False else _logits(f)
    if certificate is not None:
        yield ((f"convex in {argument}", "logits"),), certificate


def _bound(f: Scalar, convex: Certificate) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    at_zero = facts.limit("f(0)", f, at_infinity=False)
    slope = facts.limit("lim f(t)/t", lambda t: f(t) / t, at_infinity=True)
    if at_zero is None or slope is None:
        return
    premises = (*convex.premises, at_zero, slope)
    infinite = tuple(end for end in (at_zero, slope) if end.infinite)
    if infinite:
        lemma = "D of nearly disjoint rows exceeds every bound"
        yield (("unbounded", ""),), Certificate(lemma, "Vajda 1972", infinite)
    else:
        bound = at_zero.value[1] + slope.value[1]
        lemma = "a convex f stays below the line f(0) + t lim f(t)/t, hence D <= the sum of both"
        yield (at_most(bound),), Certificate(lemma, "Vajda 1972", premises)


def _metric(
    f: Scalar, subject: Subject, convex: Certificate
) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """sqrt D_f is a metric if f(t) = t f(1/t) and (1 - sqrt t)^2 / f(t) does not rise on (0, 1).

    The latter is M = f + (sqrt t - t) f' >= 0. M(1) = 0, 2 sqrt(t) M' = N = f' + 2 (t - t^1.5) f_2,
    N(1) = 0 and N' = (1 - sqrt t) (3 f_2 + 2 t f_3), f_2 and f_3 being further derivatives: it is
    enough that t^1.5 f_2 does not fall.
    """
    if subject.definition is None:
        return
    both = facts.Symmetric("D(p, q) and D(q, p) are the same", subject.definition)
    if not both.checked:
        return
    second, third = derivative(f, 2), derivative(f, 3)
    rises = facts.sign(
        "(t^1.5 f''(t))' >= 0 for t < 1",
        lambda t: 3 * second(t) + 2 * t * third(t),
        smooth_of=f,
        stop=1.0,
        touching=True,
    )
    lemma = (
        "sqrt D is a metric if f(t) = t f(1/t) and (1 - sqrt t)^2 / f(t) does not rise on (0, 1), "
        "which follows where t^1.5 f'' does not fall"
    )
    certificate = _certificate(
        lemma, "Kafka, Oesterreicher and Vincze 1991", both, rises, *convex.premises
    )
    if certificate is not None:
        yield (("its square root is a metric", ""),), certificate


def _logits(f: Scalar) -> Certificate | None:
    """Convex in q's logits, for every n, where f(0) is finite and t f''(t) does not fall.

    The Hessian is B diag(u) B^T with u_i = q_i (K(t_i) - sum_j q_j G(t_j)), G = f - t f',
    K = t^2 f'' + G. G' = -t f'' <= 0 makes G <= f(0), and K' = t (t f'')' >= 0 makes K >= f(0).
    """

    def slope(t: Any) -> Any:
        return jax.grad(lambda t: t * derivative(f, 2)(t))(t)

    start = facts.limit("f(0)", f, at_infinity=False)
    if start is None or not math.isfinite(start.value[1]):
        return None
    curved = facts.sign("f''(t) >= 0", derivative(f, 2), smooth_of=f)
    rises = None if curved is None else facts.sign("(t f''(t))' >= 0", slope, smooth_of=f)
    lemma = "the Hessian in logits is B diag(u) B^T with u >= 0 where t f''(t) does not fall"
    return _certificate(
        lemma, "the inertia of B diag(u) B^T, shared by all n", curved, rises, start
    )


def _products(f: Scalar) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """What D of products is follows from the exact form of f, up to c (t - 1)."""
    form = facts.exact_form(f)
    if form is None:
        return
    powers = {key: c.lower for key, c in form.items() if key not in ((0, 0), (1, 0))}
    premise = facts.Form("f(t)", f, repr(form))
    if set(powers) <= {(0, 1), (1, 1)}:
        lemma = "log(p r / q s) = log(p/q) + log(r/s)"
        yield (("additive on products", ""),), Certificate(lemma, "Renyi 1961", (premise,))
    elif len(powers) == 1:
        (((_, j), c),) = powers.items()
        if j == 0:
            lemma = "sum p^a q^(1-a) = 1 + D/c multiplies"
            claim = f"1 + k D multiplies, k = {float(1 / c)}"
            yield ((claim, ""),), Certificate(lemma, "Tsallis 1998", (premise,))


def _of_transform(
    divergence: Transform, subject: Subject
) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """D = outer(S), S = sum q g(p/q): a monotone convex function of a convex or concave one."""

    def g(t: Any) -> Any:
        return divergence.inner(t, jnp.ones_like(t))

    outer = divergence.outer
    convex = facts.sign("g''(t) >= 0", derivative(g, 2), smooth_of=g)
    concave = None
    if convex is None:
        concave = facts.sign("g''(t) <= 0", lambda t: -derivative(g, 2)(t), smooth_of=g)
    curved = convex or concave
    if curved is None:
        return
    direction = 1 if convex else -1
    rises = facts.sign(
        "the outer function rises" if convex else "the outer function falls",
        lambda s: direction * jax.grad(outer)(s),
        smooth_of=outer,
    )
    bends = facts.sign("the outer function is convex", derivative(outer, 2), smooth_of=outer)
    composition = "a convex function that rises (falls) of a jointly convex (concave) one is convex"
    certificate = _certificate(composition, "Boyd and Vandenberghe, 3.2.4", curved, rises, bends)
    if certificate is not None:
        yield _JOINT, certificate
    zero = facts.value_at_one("D at p = q", lambda t: outer(g(t)))
    if rises is not None:
        lemma = "a monotone function of a sum that shrinks (grows) under channels"
        processing = _certificate(lemma, "Csiszar 1967", curved, rises)
        if processing is not None:
            yield (("data processing", ""),), processing
        if zero is not None and zero.value == 0:
            smallest = "S is extreme at p = q, by Jensen, and the outer function monotone"
            certificate = Certificate(smallest, "Jensen", (curved, rises, zero))
            yield (("minimal at p = q", ""),), certificate
    strict = facts.value_at_one(
        "outer' g'' at p = q", lambda s: jax.grad(outer)(s) * derivative(g, 2)(s)
    )
    start = facts.value_at_one("S at p = q", g)
    if strict is not None and strict.value > 0 and start is not None and start.value == 1:
        lemma = "on the simplex, where S has no slope, the Hessian is outer' g''(1) diag(1/p)"
        certificate = Certificate(lemma, "the chain rule", (start, strict))
        yield (coefficient(float(strict.value)),), certificate
        if rises is not None and zero is not None and zero.value == 0:
            lemma = "S is extreme only at p = q, as g'' != 0, and the outer function monotone"
            certificate = Certificate(lemma, "Jensen", (curved, rises, zero, start, strict))
            yield (("D = 0 only for p = q", ""),), certificate
    yield from _logarithmic(divergence, g)
    yield from _affine(divergence, g, subject)


def _logarithmic(divergence: Transform, g: Scalar) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """D = c log S with S = sum p^a q^(1-a)."""
    form = facts.exact_form(g)
    scale = facts.value_at_one("the outer function is c log S, c", jax.grad(divergence.outer))
    whole = facts.exact_form(lambda s: s * jax.grad(divergence.outer)(s))
    if form is None or scale is None or whole is None or list(whole.terms) != [(0, 0)]:
        return
    terms = list(form.items())
    if len(terms) != 1 or terms[0][0][1] != 0 or terms[0][1] != (1, 1):
        return
    (power, _), _ = terms[0]
    premises = (facts.Form("g(t)", g, repr(form)), scale)
    additive = "S of products is the product of both, and its logarithm the sum"
    yield (("additive on products", ""),), Certificate(additive, "Renyi 1961", premises)
    ends = [
        facts.limit("D where S -> 0", divergence.outer, at_infinity=False),
        facts.limit("D where S -> infinity", divergence.outer, at_infinity=True),
    ]
    attained = ends[0] if 0 < power < 1 else ends[1]
    if attained is not None and attained.infinite:
        lemma = "S reaches 0 (order below 1) or infinity (above) for nearly disjoint rows"
        yield (
            (("unbounded", ""),),
            Certificate(lemma, "van Erven and Harremoes", (*premises, attained)),
        )
    if power > 1 and scale.value > 0:
        lemma = (
            "(a - 1) D = lse((1 - a) z + a log p) + (a - 1) lse(z), z the logits of q: a sum of "
            "log-sum-exps of affine functions with weights >= 0"
        )
        yield (("convex in q", "logits"),), Certificate(lemma, "van Erven and Harremoes", premises)
        bend = facts.sign(
            "(log u)'' >= 0 for u(q) = q g(1/q)",
            derivative(lambda q: jnp.log(q * g(1 / q)), 2),
        )
        lemma = "a sum of log-convex functions of q is log-convex"
        certificate = _certificate(lemma, "Boyd and Vandenberghe, 3.5.2", *premises, bend)
        if certificate is not None:
            yield (("convex in q", "probabilities"),), certificate


def _affine(
    divergence: Transform, g: Scalar, subject: Subject
) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """D = c (S - 1): an f-divergence on distributions."""
    slope = facts.exact_form(jax.grad(divergence.outer))
    if slope is None or [key for key, _ in slope.items()] != [(0, 0)]:
        return
    c = slope.terms[(0, 0)].lower
    form = facts.Form("the outer function's slope", jax.grad(divergence.outer), repr(slope))

    def f(t: Any) -> Any:
        # Its normalisation changes nothing on distributions.
        return float(c) * (g(t) - 1 - jax.grad(g)(jnp.ones_like(t)) * (t - 1))

    for keys, certificate in _of_generator(f, subject):
        lemma = f"on distributions an f-divergence; {certificate.lemma}"
        yield keys, Certificate(lemma, certificate.source, (*certificate.premises, form))


def _of_potential(
    phi: Scalar, divergence: Separable
) -> Iterator[tuple[tuple[Key, ...], Certificate]]:
    """A Bregman divergence of sums: convex in p; in q and jointly by conditions on phi''."""
    curved = facts.sign("phi''(x) >= 0 for x > 0", derivative(phi, 2), smooth_of=phi)
    if curved is None:
        return
    key, minimal = (("convex in p", "probabilities"),), (("minimal at p = q", ""),)
    lemma = "D as a function of p is phi, summed, less a tangent plane"
    certificate = Certificate(lemma, "Bregman 1967", (curved,))
    yield (*key, *minimal), certificate
    grows = facts.limit(
        "the summand at q = 1/2, p -> 0,",
        lambda p: divergence.summand(p, jnp.full_like(p, 0.5)),
        at_infinity=False,
    )
    if grows is not None and grows.infinite:
        lemma = "one summand exceeds every bound, and none is below 0"
        yield (("unbounded", ""),), Certificate(lemma, "Bregman 1967", (curved, grows))
    strict = facts.value_at_one("phi''(1)", derivative(phi, 2))
    form = facts.exact_form(derivative(phi, 2))
    if strict is not None and form is not None and len(form.terms) == 1 and strict.value > 0:
        shown = facts.Form("phi''(x)", derivative(phi, 2), repr(form))
        lemma = "phi is strictly convex"
        yield (("D = 0 only for p = q", ""),), Certificate(lemma, "Bregman 1967", (shown, strict))
    constant = facts.exact_form(derivative(phi, 2))
    if constant is not None and list(constant.terms) == [(0, 0)]:
        form = facts.Form("phi''(x)", derivative(phi, 2), repr(constant))
        lemma = "phi is a square: D is a squared distance"
        yield _JOINT, Certificate(lemma, "Bauschke and Borwein 2001", (curved, form))
