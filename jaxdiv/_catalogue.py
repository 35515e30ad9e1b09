"""The table of divergences. Tests, benchmarks, verification and documentation iterate over it.

A row is a name, the verb, the object with concrete parameters, and where it comes from. Adding a
divergence is adding its class, its verb and its row; nothing else lists divergences.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

from . import _verbs as verbs
from ._bregman import Bregman, ItakuraSaito, SquaredEuclidean
from ._divergence import Claims, Divergence, Reverse, Symmetrised
from ._f_divergences import (
    KL,
    Alpha,
    Chi2,
    JensenShannon,
    LeCam,
    SkewKL,
    SquaredHellinger,
    TotalVariation,
)
from ._own_function import FDivergence
from ._transforms import (
    Bhattacharyya,
    Chernoff,
    FisherRao,
    HellingerDistance,
    JensenShannonDistance,
    Renyi,
    SquaredFisherRao,
    Tsallis,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """A divergence with concrete parameters."""

    name: str
    verb: Callable[..., Any]
    divergence: Divergence
    citation: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    stated: dict[str, Any] = dataclasses.field(default_factory=dict)  # claims that differ

    @property
    def title(self) -> str:
        """The first line of the verb's documentation."""
        return (self.verb.__doc__ or f"{self.name}.").strip().splitlines()[0]

    @functools.cached_property
    def claims(self) -> Claims:
        """What is stated of it."""
        return dataclasses.replace(self.divergence.claims(), **self.stated)

    def __call__(self, p: Any, q: Any, **keywords: Any) -> Any:
        """The verb with the entry's parameters."""
        return self.verb(p, q, **self.parameters, **keywords)


def _shifted_square(t: Any) -> Any:
    """An f of a user's own, not normalised: f(1) = 1, f'(1) = -1, f''(1) = 2."""
    return t * t - 3 * t + 3


def _cubic(x: Any) -> Any:
    """A potential of a user's own, convex on x >= 0."""
    return x * x * x


_LIN, _RENYI = "Lin 1991", "van Erven and Harremoes, arXiv 1206.2459"
_CRESSIE, _ROOT = "Cressie and Read 1984", "Endres and Schindelin 2003"

# Jeffreys is convex in neither's logits: bounded below, unbounded above, refuted by example.
_NOT_IN_LOGITS = {"convex_in_p_logits": False, "convex_in_q_logits": False, "metric": "no"}


def _entries() -> Iterator[Entry]:
    def entry(name, verb, divergence, citation, /, stated=None, **parameters):
        return Entry(name, verb, divergence, citation, parameters, stated or {})

    yield entry("kl", verbs.kl_divergence, KL(), "Kullback and Leibler 1951")
    yield entry("reverse_kl", verbs.reverse_kl_divergence, Reverse(KL()), "Kullback 1951")
    yield entry(
        "jeffreys", verbs.jeffreys_divergence, Symmetrised(KL()), "Jeffreys 1946",
        stated=_NOT_IN_LOGITS,
    )  # fmt: skip
    yield entry("js", verbs.js_divergence, JensenShannon(), _LIN)
    yield entry("js_quarter", verbs.js_divergence, JensenShannon(0.25), _LIN, weight=0.25)
    yield entry("skew_kl", verbs.skew_kl_divergence, SkewKL(0.1), "Lee 2001", skew=0.1)
    yield entry("total_variation", verbs.total_variation, TotalVariation(), "Jordan 1881")
    yield entry("squared_hellinger", verbs.squared_hellinger, SquaredHellinger(), "Hellinger 1909")
    yield entry(
        "hellinger_distance", verbs.hellinger_distance, HellingerDistance(), "Hellinger 1909"
    )
    yield entry("js_distance", verbs.js_distance, JensenShannonDistance(), _ROOT)
    yield entry("chi2", verbs.chi2_divergence, Chi2(), "Pearson 1900")
    yield entry("neyman_chi2", verbs.neyman_chi2_divergence, Reverse(Chi2()), "Neyman 1949")
    for name, alpha in (("alpha_minus_1", -1.0), ("alpha_half", 0.5), ("alpha_3", 3.0)):
        yield entry(name, verbs.alpha_divergence, Alpha(alpha), _CRESSIE, alpha=alpha)
    for name, alpha in (("renyi_half", 0.5), ("renyi_2", 2.0)):
        yield entry(name, verbs.renyi_divergence, Renyi(alpha), _RENYI, alpha=alpha)
    yield entry("tsallis_1_5", verbs.tsallis_divergence, Tsallis(1.5), "Tsallis 1998", alpha=1.5)
    yield entry(
        "bhattacharyya", verbs.bhattacharyya_distance, Bhattacharyya(), "Bhattacharyya 1943"
    )
    yield entry("le_cam", verbs.le_cam_divergence, LeCam(), "Le Cam 1986; Topsoe 2000")
    yield entry("fisher_rao", verbs.fisher_rao_distance, FisherRao(), "Rao 1945")
    yield entry("squared_fisher_rao", verbs.squared_fisher_rao, SquaredFisherRao(), "Rao 1945")
    yield entry(
        "itakura_saito", verbs.itakura_saito_divergence, ItakuraSaito(), "Itakura and Saito 1968"
    )
    yield entry("squared_euclidean", verbs.squared_euclidean, SquaredEuclidean(), "Brier 1950")
    yield entry("chernoff", verbs.chernoff_information, Chernoff(), "Chernoff 1952")
    yield entry(
        "f_divergence", verbs.f_divergence, FDivergence(_shifted_square), "Csiszar 1967",
        f=_shifted_square,
    )  # fmt: skip
    yield entry(
        "bregman", verbs.bregman_divergence, Bregman(_cubic), "Bregman 1967", potential=_cubic
    )


CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _entries()}
