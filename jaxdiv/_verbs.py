"""Divergence verbs: D(p || q) in that order, each a line over its divergence object.

Shared by all of them
---------------------
p, q : a plain array (probabilities), `Probs`, `LogProbs`, `Logits`, `Labels`, `Head` or `TopK`,
    `(*batch, n)` with the n outcomes along `axis`. Batch shapes broadcast as in NumPy. bfloat16 and
    float16 are computed in float32, integers count as floats, booleans are refused.
axis : the axis of outcomes, -1.
where : booleans that broadcast to the arguments; False drops an outcome. Logits are renormalised
    over the rest, probabilities and log-probabilities are not. A row masked entirely gives 0.
base : logarithmic divergences are in nats, or with `base` in units of log(base); elsewhere a
    TypeError.
axis_name : inside `jax.shard_map`, the mesh axis over which the outcomes are divided: each device
    has a part of every row, of equal length. Row statistics merge with collectives of a few
    numbers a row. Labels and indices count all outcomes.
implementation : "reference", all rows at once by plain operations; "blocked", rows in blocks that
    stay in a CPU's caches; "llvm", machine code for rows of logits on a CPU, and blocks for what
    has none; "mosaic_gpu", kernels that read each logit once, on Hopper GPUs and newer, and the
    reference for what has none; "mosaic_gpu_interpret", these on a CPU, for tests; "auto", the
    default: on a CPU, from 2**15 numbers on, machine code or blocks, kernels on such a GPU.
    `jaxdiv.implementation_of` says which path a call takes, and why.

Returns the batch shape, float32 or float64. Rows are independent: NaN, a negative probability,
a +inf logit or a parameter outside its domain under `jit` make that row NaN and no other.
ValueError or TypeError name the argument for what can be known before computing: shapes, dtypes,
axis, concrete parameters and labels. On rows that do not sum to one the value is the generalised
divergence of the stored numbers, as in the formulas below.

Divergences divided by the mass of a row (Renyi's, Tsallis', Bhattacharyya's, Fisher-Rao, Chernoff)
have, with respect to probabilities, the derivative of that mass in every entry, a constant of the
row that vanishes on the simplex.

Accuracy: at most 16 ulp of relative error (64 where said so) on the stored inputs, never negative,
exactly 0 with zero gradient at p = q. With unequal temperatures or mixed nouns the error is that of
converting: a few ulp of |log p|, absolutely, in log(p/q).
"""

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from jax import Array

from ._bregman import Bregman, ItakuraSaito, SquaredEuclidean
from ._divergence import Reverse, Scalar, Symmetrised
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


class Keywords(TypedDict, total=False):
    """The keywords that every divergence verb takes."""

    axis: int
    where: Any
    axis_name: Any
    implementation: str


class LogKeywords(Keywords, total=False):
    """The keywords of the logarithmic ones."""

    base: float | None


def kl_divergence(p: Any, q: Any, **keywords: Unpack[LogKeywords]) -> Array:
    """Kullback-Leibler divergence KL(p || q) = sum p log(p/q) - p + q.

    The extra cost of coding p with q's code; cross-entropy minus entropy. 0 only at p = q, where
    its gradient vanishes and its Hessian is diag(1/p); jointly convex in (p, q) and convex in q's
    logits. +inf where q = 0 < p. As a fit of q to p it covers all of p.

    Reference: Kullback and Leibler, On Information and Sufficiency, 1951.
    """
    return KL()(p, q, **keywords)


def reverse_kl_divergence(p: Any, q: Any, **keywords: Unpack[LogKeywords]) -> Array:
    """Reverse KL divergence KL(q || p) = sum q log(q/p) - q + p.

    As a fit of q to p it seeks a mode: q pays where p is small. +inf where p = 0 < q.
    """
    return Reverse(KL())(p, q, **keywords)


def jeffreys_divergence(p: Any, q: Any, **keywords: Unpack[LogKeywords]) -> Array:
    """Jeffreys divergence KL(p || q) + KL(q || p) = sum (p - q) log(p/q).

    Reference: Jeffreys, An Invariant Form for the Prior Probability, 1946.
    """
    return Symmetrised(KL())(p, q, **keywords)


def js_divergence(p: Any, q: Any, weight: Scalar = 0.5, **keywords: Unpack[LogKeywords]) -> Array:
    """Jensen-Shannon divergence, weight KL(p || m) + (1 - weight) KL(q || m).

    m = weight p + (1 - weight) q, 0 < weight < 1. Finite always: at most the entropy of the
    weights, log 2 at 1/2, where its square root is a metric.

    Reference: Lin, Divergence Measures Based on the Shannon Entropy, 1991.
    """
    return JensenShannon(weight)(p, q, **keywords)


def skew_kl_divergence(p: Any, q: Any, skew: Scalar, **keywords: Unpack[LogKeywords]) -> Array:
    """Skew KL divergence KL(p || skew p + (1 - skew) q), 0 <= skew < 1; skew = 0 is KL.

    Finite for skew > 0: at most -log(skew) for distributions.

    Reference: Lee, On the Effectiveness of the Skew Divergence, 2001.
    """
    return SkewKL(skew)(p, q, **keywords)


def total_variation(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Total variation distance sum |p - q| / 2, in [0, 1] for distributions.

    A metric, and jointly convex. Its derivative where p = q, a kink, is taken to be 0.
    """
    return TotalVariation()(p, q, **keywords)


def squared_hellinger(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Squared Hellinger distance sum (sqrt p - sqrt q)^2 / 2 = 1 - sum sqrt(p q).

    The second form holds for distributions and loses every digit near p = q; the first is
    computed.
    """
    return SquaredHellinger()(p, q, **keywords)


def hellinger_distance(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Hellinger distance, the square root of `squared_hellinger`; a metric, at most 1.

    Its derivative at p = q, a kink, is taken to be 0.
    """
    return HellingerDistance()(p, q, **keywords)


def js_distance(p: Any, q: Any, **keywords: Unpack[LogKeywords]) -> Array:
    """Jensen-Shannon distance, the square root of the Jensen-Shannon divergence in that base.

    A metric. Its derivative at p = q, a kink, is taken to be 0.

    Reference: Endres and Schindelin, A New Metric for Probability Distributions, 2003.
    """
    return JensenShannonDistance()(p, q, **keywords)


def chi2_divergence(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Pearson's chi-squared divergence sum (p - q)^2 / q; +inf where q = 0 < p."""
    return Chi2()(p, q, **keywords)


def neyman_chi2_divergence(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Neyman's chi-squared divergence sum (p - q)^2 / p; +inf where p = 0 < q."""
    return Reverse(Chi2())(p, q, **keywords)


def alpha_divergence(p: Any, q: Any, alpha: Scalar, **keywords: Unpack[Keywords]) -> Array:
    """Alpha-divergence (sum p^a q^(1-a) - a p - (1-a) q) / (a (a - 1)), any real a.

    Smooth in a, through 1, where it is KL, and 0, reverse KL. 2 gives half of Pearson's
    chi-squared, 1/2 four times the squared Hellinger distance. Error at most 16 ulp for
    |a| <= 3, 64 beyond.

    Reference: Cressie and Read, Multinomial Goodness-of-Fit Tests, 1984.
    """
    return Alpha(alpha)(p, q, **keywords)


def renyi_divergence(p: Any, q: Any, alpha: Scalar, **keywords: Unpack[LogKeywords]) -> Array:
    """Renyi divergence log(S / m) / (alpha - 1), S = sum p^alpha q^(1-alpha).

    0 <= alpha <= inf; m = alpha m_p + (1 - alpha) m_q with the stored masses, 1 for
    distributions. alpha = 1 is KL, inf is log max p/q, 0 minus the log of q's mass on p's
    support. Error at most 64 ulp.

    Reference: van Erven and Harremoes, arXiv 1206.2459.
    """
    return Renyi(alpha)(p, q, **keywords)


def tsallis_divergence(p: Any, q: Any, alpha: Scalar, **keywords: Unpack[Keywords]) -> Array:
    """Tsallis relative entropy (S / m - 1) / (alpha - 1), alpha > 0; S, m as in Renyi's.

    alpha = 1 is KL. Error at most 64 ulp.

    Reference: Tsallis, Generalized Entropy-Based Criterion for Consistent Testing, 1998.
    """
    return Tsallis(alpha)(p, q, **keywords)


def bhattacharyya_distance(p: Any, q: Any, **keywords: Unpack[LogKeywords]) -> Array:
    """Bhattacharyya distance -log sum sqrt(p q), half of Renyi's divergence of order 1/2.

    Divided by the mean mass inside the logarithm. +inf for disjoint supports. Not a metric. Error
    at most 64 ulp.
    """
    return Bhattacharyya()(p, q, **keywords)


def le_cam_divergence(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Le Cam divergence, triangular discrimination: sum (p - q)^2 / (p + q), at most 2."""
    return LeCam()(p, q, **keywords)


def fisher_rao_distance(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Fisher-Rao distance 2 arccos sum sqrt(p q), the geodesic of the Fisher metric, at most pi.

    Computed as 4 arcsin sqrt(H^2 / (m_p + m_q)), which keeps its digits near p = q, where its
    derivative, a kink, is taken to be 0.

    Reference: Rao, Information and Accuracy, 1945.
    """
    return FisherRao()(p, q, **keywords)


def squared_fisher_rao(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Squared Fisher-Rao distance (2 arccos sum sqrt(p q))^2, smooth, at most pi^2.

    Half of it is the action of the shortest path from p to q in the Fisher metric.

    Reference: Rao, Information and Accuracy, 1945.
    """
    return SquaredFisherRao()(p, q, **keywords)


def itakura_saito_divergence(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Itakura-Saito divergence sum p/q - log(p/q) - 1, of positive rows such as power spectra.

    Unchanged when both are multiplied by the same number. +inf where exactly one is 0.

    Reference: Itakura and Saito, Analysis Synthesis Telephony, 1968.
    """
    return ItakuraSaito()(p, q, **keywords)


def squared_euclidean(p: Any, q: Any, **keywords: Unpack[Keywords]) -> Array:
    """Squared Euclidean distance sum (p - q)^2, the regret of the Brier score."""
    return SquaredEuclidean()(p, q, **keywords)


def f_divergence(
    p: Any, q: Any, f: Callable[[Array], Array], **keywords: Unpack[Keywords]
) -> Array:
    """The f-divergence sum q f(p/q) of a convex function f of your own.

    f maps a scalar t > 0 to a scalar, written in jax.numpy. It is normalised to
    f(1) = f'(1) = 0, which changes nothing on distributions and makes every summand at least 0.
    Pass the same function object again to reuse the compiled program. Limits at 0 and infinity
    are probed; `FDivergence(f, at_zero=..., slope=...)` states them.

    Reference: Csiszar, Information-Type Measures of Difference, 1967.
    """
    return FDivergence(f)(p, q, **keywords)


def bregman_divergence(
    p: Any, q: Any, potential: Callable[[Array], Array], **keywords: Unpack[Keywords]
) -> Array:
    """The Bregman divergence sum phi(p) - phi(q) - phi'(q) (p - q) of a convex phi of your own.

    phi maps a scalar to a scalar, written in jax.numpy. Near p = q the value is the integral form
    of Taylor's remainder, which cannot be negative.

    Reference: Bregman, The Relaxation Method, 1967; Bauschke and Borwein, 2001.
    """
    return Bregman(potential)(p, q, **keywords)


def chernoff_information(p: Any, q: Any, **keywords: Unpack[LogKeywords]) -> Array:
    """Chernoff information, the maximum over alpha in [0, 1] of -log sum p^alpha q^(1-alpha).

    The best exponent of the Bayes error in testing p against q from many observations. The
    maximising alpha is found to a rounding in about a dozen steps; first and second derivatives
    are exact.

    Reference: Cover and Thomas, Elements of Information Theory, section 11.9.
    """
    return Chernoff()(p, q, **keywords)
