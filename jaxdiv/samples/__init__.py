"""Estimates from two samples, without densities: always asked for by name, never a stand-in.

What they estimate follows the same convention as everywhere: x are points of p, y of q, and the
estimate is of D(p || q).
"""

from .divergences import knn_alpha as knn_alpha
from .divergences import knn_kl as knn_kl
from .divergences import knn_renyi as knn_renyi
from .energy import energy_distance as energy_distance
from .entropies import knn_entropy as knn_entropy
from .kernels import GaussianKernel as GaussianKernel
from .kernels import InverseMultiquadric as InverseMultiquadric
from .kernels import median_heuristic as median_heuristic
from .mmd import mmd2 as mmd2
from .mutual_information import ksg_mutual_information as ksg_mutual_information
from .mutual_information import labelled_mutual_information as labelled_mutual_information
from .mutual_information import mixed_mutual_information as mixed_mutual_information
from .neighbours import nearest_neighbours as nearest_neighbours
from .sinkhorn import sinkhorn_divergence as sinkhorn_divergence
from .stein import kernel_stein_discrepancy as kernel_stein_discrepancy
from .subsampling import subsampled_error as subsampled_error
from .transport import sliced_wasserstein as sliced_wasserstein
from .transport import wasserstein_1d as wasserstein_1d
