"""Differentiable divergences between probability distributions, for JAX.

Verbs take (p, q) and mean D(p || q); nouns say what an array holds; every divergence is also an
object, and all of them stand in `CATALOGUE`.
"""

import importlib
from typing import TYPE_CHECKING

from ._bregman import Bregman as Bregman
from ._bregman import ItakuraSaito as ItakuraSaito
from ._bregman import SquaredEuclidean as SquaredEuclidean
from ._catalogue import CATALOGUE as CATALOGUE
from ._divergence import Claims as Claims
from ._divergence import Divergence as Divergence
from ._divergence import Reverse as Reverse
from ._divergence import Symmetrised as Symmetrised
from ._f_divergences import KL as KL
from ._f_divergences import Alpha as Alpha
from ._f_divergences import Chi2 as Chi2
from ._f_divergences import JensenShannon as JensenShannon
from ._f_divergences import LeCam as LeCam
from ._f_divergences import SkewKL as SkewKL
from ._f_divergences import SquaredHellinger as SquaredHellinger
from ._f_divergences import TotalVariation as TotalVariation
from ._finite import Labels as Labels
from ._finite import Logits as Logits
from ._finite import LogProbs as LogProbs
from ._finite import Probs as Probs
from ._heads import Head as Head
from ._heads import TopK as TopK
from ._implementation import implementation_of as implementation_of
from ._own_function import FDivergence as FDivergence
from ._transforms import Bhattacharyya as Bhattacharyya
from ._transforms import Chernoff as Chernoff
from ._transforms import FisherRao as FisherRao
from ._transforms import HellingerDistance as HellingerDistance
from ._transforms import JensenShannonDistance as JensenShannonDistance
from ._transforms import Renyi as Renyi
from ._transforms import SquaredFisherRao as SquaredFisherRao
from ._transforms import Tsallis as Tsallis
from ._verbs import alpha_divergence as alpha_divergence
from ._verbs import bhattacharyya_distance as bhattacharyya_distance
from ._verbs import bregman_divergence as bregman_divergence
from ._verbs import chernoff_information as chernoff_information
from ._verbs import chi2_divergence as chi2_divergence
from ._verbs import f_divergence as f_divergence
from ._verbs import fisher_rao_distance as fisher_rao_distance
from ._verbs import hellinger_distance as hellinger_distance
from ._verbs import itakura_saito_divergence as itakura_saito_divergence
from ._verbs import jeffreys_divergence as jeffreys_divergence
from ._verbs import js_distance as js_distance
from ._verbs import js_divergence as js_divergence
from ._verbs import kl_divergence as kl_divergence
from ._verbs import le_cam_divergence as le_cam_divergence
from ._verbs import neyman_chi2_divergence as neyman_chi2_divergence
from ._verbs import renyi_divergence as renyi_divergence
from ._verbs import reverse_kl_divergence as reverse_kl_divergence
from ._verbs import skew_kl_divergence as skew_kl_divergence
from ._verbs import squared_euclidean as squared_euclidean
from ._verbs import squared_fisher_rao as squared_fisher_rao
from ._verbs import squared_hellinger as squared_hellinger
from ._verbs import total_variation as total_variation
from ._verbs import tsallis_divergence as tsallis_divergence
from ._weighted_sum import weighted_sum as weighted_sum
from .coding import HuffmanCode as HuffmanCode
from .coding import expected_code_length as expected_code_length
from .coding import huffman_code as huffman_code
from .information import CrossEntropy as CrossEntropy
from .information import conditional_entropy as conditional_entropy
from .information import cross_entropy as cross_entropy
from .information import entropy as entropy
from .information import joint_entropy as joint_entropy
from .information import mutual_information as mutual_information
from .information import perplexity as perplexity
from .information import self_information as self_information

__version__ = "0.1.0"

# Loaded when they are asked for: most programs that import jaxdiv need none.
_VERIFICATION = ("verify", "assert_convex", "assert_divergence", "assert_stationary_at")
_FAMILIES = (
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "ContinuousBernoulli",
    "Dirichlet",
    "Exponential",
    "Gamma",
    "Geometric",
    "Gumbel",
    "HalfNormal",
    "Independent",
    "InverseGamma",
    "InverseGaussian",
    "Laplace",
    "LogNormal",
    "Mixture",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "Pareto",
    "Poisson",
    "PowerSpherical",
    "Rayleigh",
    "Transformed",
    "Uniform",
    "VonMises",
    "VonMisesFisher",
    "Weibull",
    "Wishart",
    "geometric_js_divergence",
    "wasserstein2_distance",
)
_ESTIMATES = (
    "Estimate",
    "Unnormalised",
    "estimate",
    "fixed_sample_gradient",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "unbiased_gradient",
    "unbiased_kl_loss",
)
_FITS = ("FitResult", "Grid", "Samples", "fit")
_VARIATIONAL = (
    "conjugate",
    "conjugate_domain",
    "donsker_varadhan_bound",
    "info_nce_bound",
    "js_bound",
    "nwj_bound",
    "optimal_critic",
    "output_activation",
    "smile_estimate",
    "variational_bound",
)
# Names that are found in a package of their own, which is loaded with the first of them.
_ELSEWHERE = {
    **dict.fromkeys(_VERIFICATION, "verification"),
    **dict.fromkeys(_FAMILIES, "families"),
    **dict.fromkeys(_ESTIMATES, "estimates"),
    **dict.fromkeys(_FITS, "fits"),
    **dict.fromkeys(_VARIATIONAL, "variational"),
}

if TYPE_CHECKING:
    from . import families as families
    from . import samples as samples
    from .estimates import Estimate as Estimate
    from .estimates import Unnormalised as Unnormalised
    from .estimates import estimate as estimate
    from .estimates import fixed_sample_gradient as fixed_sample_gradient
    from .estimates import kl_k1 as kl_k1
    from .estimates import kl_k2 as kl_k2
    from .estimates import kl_k3 as kl_k3
    from .estimates import unbiased_gradient as unbiased_gradient
    from .estimates import unbiased_kl_loss as unbiased_kl_loss
    from .families import Bernoulli as Bernoulli
    from .families import Beta as Beta
    from .families import Binomial as Binomial
    from .families import Categorical as Categorical
    from .families import Cauchy as Cauchy
    from .families import ContinuousBernoulli as ContinuousBernoulli
    from .families import Dirichlet as Dirichlet
    from .families import Exponential as Exponential
    from .families import Gamma as Gamma
    from .families import Geometric as Geometric
    from .families import Gumbel as Gumbel
    from .families import HalfNormal as HalfNormal
    from .families import Independent as Independent
    from .families import InverseGamma as InverseGamma
    from .families import InverseGaussian as InverseGaussian
    from .families import Laplace as Laplace
    from .families import LogNormal as LogNormal
    from .families import Mixture as Mixture
    from .families import Multinomial as Multinomial
    from .families import MultivariateNormal as MultivariateNormal
    from .families import NegativeBinomial as NegativeBinomial
    from .families import Normal as Normal
    from .families import Pareto as Pareto
    from .families import Poisson as Poisson
    from .families import PowerSpherical as PowerSpherical
    from .families import Rayleigh as Rayleigh
    from .families import Transformed as Transformed
    from .families import Uniform as Uniform
    from .families import VonMises as VonMises
    from .families import VonMisesFisher as VonMisesFisher
    from .families import Weibull as Weibull
    from .families import Wishart as Wishart
    from .families import geometric_js_divergence as geometric_js_divergence
    from .families import wasserstein2_distance as wasserstein2_distance
    from .fits import FitResult as FitResult
    from .fits import Grid as Grid
    from .fits import Samples as Samples
    from .fits import fit as fit
    from .variational import conjugate as conjugate
    from .variational import conjugate_domain as conjugate_domain
    from .variational import donsker_varadhan_bound as donsker_varadhan_bound
    from .variational import info_nce_bound as info_nce_bound
    from .variational import js_bound as js_bound
    from .variational import nwj_bound as nwj_bound
    from .variational import optimal_critic as optimal_critic
    from .variational import output_activation as output_activation
    from .variational import smile_estimate as smile_estimate
    from .variational import variational_bound as variational_bound
    from .verification import assert_convex as assert_convex
    from .verification import assert_divergence as assert_divergence
    from .verification import assert_stationary_at as assert_stationary_at
    from .verification import verify as verify


def __getattr__(name: str) -> object:
    if name in ("families", "samples"):
        return importlib.import_module(f".{name}", __name__)
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(f".{_ELSEWHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ELSEWHERE, "families", "samples"})
