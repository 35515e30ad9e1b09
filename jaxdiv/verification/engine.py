"""Every claim of one divergence: proved by a lemma, else attacked by the search, else sampled."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._divergence import Claims
from ..information import entropy
from . import properties as props
from .entropy import entropy_claims
from .families import entry_of, verify_family
from .local import local, pairs_inertia
from .points import Points, random_points
from .proofs import certificates, coefficient
from .properties import Property
from .regions import convex_region
from .report import Report
from .search import search
from .subject import CHARTS, Subject, subject_of
from .values import computed, convexity_claims, formula, jensen, observed, values
from .verdict import Finding, Verdict

SEARCHED = 3  # outcomes at which counterexamples are looked for: with two, some claims hold


def verify(
    what: Any = "kl",
    *,
    claims: Mapping[str, bool] | None = None,
    points: Points | None = None,
    outcomes: int = 8,
    count: int = 1000,
    seed: int = 0,
    dtype: Any = jnp.float32,
    name: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Prove, refute or sample every property of a divergence; look at it at p = q.

    Args:
        what: A name of the catalogue, one of its rows, a divergence object, any function of
            (p, q) that maps rows of probabilities to one number a row, or "entropy". Or a family
            of distributions, by name or class, whose members and their neighbours are looked at.
        claims: What else is stated, as {claim: whether it holds}, such as {"convex in q": True};
            a chart follows in brackets, "convex in q [logits]". Of a function nothing is stated
            but that it is a divergence: at least 0, and 0 with a vanishing gradient and a Hessian
            above 0 at p = q.
        points: Distributions for what is sampled; random ones by default.
        outcomes: Outcomes of the random distributions.
        count: How many of them.
        seed: Of their numbers.
        dtype: Of their numbers; float64 needs `jax_enable_x64`.
        name: What to call it.
        progress: Called with a sentence before each step.

    Returns:
        A `Report`, whose `ok` says whether all that is stated stands.

    Raises:
        TypeError: `what` is none of these.
        ValueError: a function returns another shape, or another value for the same rows; a claim
            is unknown; fewer than two outcomes.
    """
    family = entry_of(what)
    if family is not None:
        return verify_family(family, count, seed, jnp.dtype(dtype))
    of_entropy = what is entropy or (isinstance(what, str) and what == "entropy")
    subject = None if of_entropy else subject_of(what, name)
    if points is None:
        if outcomes < 2:
            raise ValueError(
                f"outcomes must be at least 2, but is {outcomes}: one leaves nothing to differ"
            )
        points = random_points(count, outcomes, seed, jnp.dtype(dtype))
    shown, title = (subject.name, subject.title) if subject else ("entropy", "-sum p log p.")
    found = _findings(subject, points) if subject else entropy_claims(points)
    findings = []
    for finding in found:
        where = f", {finding.chart}" if finding.chart else ""
        progress(f"{shown}: {finding.claim}{where}")
        findings.append(finding)
    device = next(iter(points.probs.devices()))
    return Report(
        name=shown,
        title=title,
        device=f"{device.platform} ({device.device_kind})",
        dtype=str(points.dtype),
        outcomes=points.outcomes,
        source=points.source,
        findings=_with_claims(findings, claims or {}),
    )


def _with_claims(findings: list[Finding], claims: Mapping[str, bool]) -> tuple[Finding, ...]:
    names = {f"{f.claim} [{f.chart}]" for f in findings} | {f.claim for f in findings}
    for claim in claims:
        if claim not in names:
            known = ", ".join(sorted(names))
            raise ValueError(f"there is no claim {claim!r}; there are: {known}")

    def stated(f: Finding) -> Finding:
        for key in (f"{f.claim} [{f.chart}]", f.claim):
            # A bare name means probabilities, where the claim is made in several charts.
            if key in claims and (key != f.claim or f.chart in ("", CHARTS[0])):
                return dataclasses.replace(f, stated=claims[key])
        return f

    return tuple(map(stated, findings))


def _findings(subject: Subject, points: Points) -> Iterator[Finding]:
    yield from local(subject, points)
    yield from values(subject, points)
    yield formula(subject, points)
    yield from mathematics(subject)
    yield from jensen(subject, points)
    yield from pairs_inertia(subject, points)


def stated_properties(claims: Claims) -> Iterator[tuple[Property, bool | None]]:
    """The properties that a search can refute, with what is stated of each."""
    yield props.NON_NEGATIVE, True
    yield props.SYMMETRIC, claims.symmetric
    metric = {"yes": (True, None), "root": (False, True), "no": (False, False)}
    stated = metric.get(str(claims.metric), (None, None))
    for root in (False, True):
        if not (root and claims.metric == "yes"):  # the root of a metric is one
            yield props.triangle(root), stated[root]
    if claims.upper_bound is not None and np.isfinite(claims.upper_bound):
        yield props.bounded(claims.upper_bound), True
    yield props.PROCESSING, claims.data_processing
    if claims.products is not None:
        yield props.products(claims.products), claims.products != "no"


def mathematics(subject: Subject, *, regions: bool = True) -> Iterator[Finding]:
    """The property table's row of it: each claim proved, refuted or sampled."""
    proved = certificates(subject)
    stated = (
        *zip(props.CONVEXITY, convexity_claims(subject), strict=True),
        *stated_properties(subject.claims),
    )
    for prop, claim in stated:
        finding = _settle(subject, prop, claim, proved)
        yield finding
        if regions and prop.chart == CHARTS[1] and finding.verdict is Verdict.REFUTED:
            yield from _region(subject, prop)
    claims = subject.claims
    others = {
        "D = 0 only for p = q": True,
        "unbounded": None if claims.upper_bound is None else claims.upper_bound == np.inf,
    }
    if claims.coefficient is not None:
        others[coefficient(claims.coefficient)[0]] = True
    for claim, holds in others.items():
        if (claim, "") in proved:
            yield Finding(claim, "", holds, proved[claim, ""])


def _region(subject: Subject, prop: Property) -> Iterator[Finding]:
    """Where around p = q it is convex all the same, and that it is not much farther out."""
    region = convex_region(subject, prop.claim.removeprefix("convex in "))
    if region is not None:
        for radius, stated, evidence in (
            (region.radius, True, region.certificate),
            (region.beyond, False, region.witness),
        ):
            if evidence is not None:
                claim = f"{prop.claim} where |log p/q| <= {radius:.3g}"
                yield Finding(claim, prop.chart, stated, evidence)


def _settle(subject: Subject, prop: Property, stated: bool | None, proved: Any) -> Finding:
    certificate = proved.get((prop.claim, prop.chart))
    if certificate is not None:
        return Finding(prop.claim, prop.chart, stated, certificate)
    if subject.definition is not None:
        found = search(subject.definition, prop, SEARCHED)
    else:
        found = search(computed(subject), prop, SEARCHED, climb=False)
    own = subject.divergence is None
    seen = observed(subject, prop, SEARCHED) if own and not found.sample.check() else None
    return Finding(prop.claim, prop.chart, stated, found.witness or seen or found.sample)
