"""What is wrong with a sample is said early, by the name of the argument."""

import jax
import numpy as np
import pytest

import jaxdiv as jd

S = jd.samples
X = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
BAD = X.copy()
BAD[3, 1] = np.nan
KEY = jax.random.key(0)

TWO = {
    "knn_kl": S.knn_kl,
    "knn_renyi": lambda x, y: S.knn_renyi(x, y, 0.5),
    "knn_alpha": lambda x, y: S.knn_alpha(x, y, 0.5),
    "nearest_neighbours": S.nearest_neighbours,
    "mmd2": S.mmd2,
    "median_heuristic": S.median_heuristic,
    "energy_distance": S.energy_distance,
    "sliced_wasserstein": lambda x, y: S.sliced_wasserstein(x, y, KEY),
}


@pytest.mark.parametrize("name", TWO)
def test_two_samples(name):
    f = TWO[name]
    with pytest.raises(
        ValueError, match=r"x must be finite, but holds nan in point 3, dimension 1"
    ):
        f(BAD, X)
    with pytest.raises(ValueError, match=r"y must be finite, but holds inf in point 0"):
        f(X, np.full((8, 2), np.inf))
    with pytest.raises(ValueError, match="one dimension, but those of x have 2 and those of y 3"):
        f(X, np.zeros((8, 3), np.float32))
    with pytest.raises(ValueError, match=r"y must hold at least one point .* shape \(0, 2\)"):
        f(X, X[:0])
    with pytest.raises(ValueError, match="batch shapes of x and y must broadcast"):
        f(np.zeros((2, 8, 2), np.float32), np.zeros((3, 8, 2), np.float32))
    with pytest.raises(TypeError, match="x must be numbers"):
        f("points", X)


CASES = [
    (lambda: S.knn_kl(X, X, 8), "k must be at most 7, the neighbours that a point has in x"),
    (lambda: S.knn_kl(X, X[:3], 5), "k must be at most 3, the neighbours that a point has in y"),
    (lambda: S.knn_kl(X, X, 0), "k must be at least 1, but is 0"),
    (lambda: S.knn_entropy(X, 8), "k must be at most 7"),
    (lambda: S.nearest_neighbours(X, k=8), "k must be at most 7"),
    (lambda: S.nearest_neighbours(X, X, metric="cosine"), "metric must be one of"),
    (lambda: S.knn_renyi(X, X, 6.0), "alpha must be 0 < alpha < k [+] 1 = 6"),
    (lambda: S.knn_renyi(X, X, -0.5), "alpha must be 0 < alpha"),
    (lambda: S.knn_alpha(X, X, 0), "alpha must be .*not 0"),
    (lambda: S.ksg_mutual_information(X, X[:5]), "as many points.*have 8 and 5"),
    (lambda: S.ksg_mutual_information(X, X, variant=3), r"variant must be one of \(1, 2\)"),
    (lambda: S.mixed_mutual_information(X, X, 8), "k must be at most 7"),
    (lambda: S.labelled_mutual_information(X, np.arange(8) // 7), "1 is the label of one point"),
    (lambda: S.labelled_mutual_information(X, np.arange(5)), r"labels \(n,\), but have shapes"),
    (lambda: S.mmd2(X, X, S.GaussianKernel(-1.0)), "bandwidth must be positive.*-1"),
    (lambda: S.mmd2(X, X, S.InverseMultiquadric(0.0)), "scale must be positive"),
    (lambda: S.mmd2(X[:1], X, S.GaussianKernel(1.0)), "x must hold at least two points"),
    (lambda: S.mmd2(X, X[:6], S.GaussianKernel(1.0), estimator="linear"), "even number.*8 and 6"),
    (lambda: S.mmd2(X, X, estimator="exact"), "estimator must be one of"),
    (lambda: S.mmd2(np.zeros((4, 2)), np.zeros((4, 2))), "median distance of x and y is 0"),
    (lambda: S.energy_distance(X, X[:1], estimator="unbiased"), "y must hold at least two points"),
    (lambda: S.kernel_stein_discrepancy(X), "log_density or score, one of them"),
    (lambda: S.kernel_stein_discrepancy(X, score=X[:4]), r"score must give \(8, 2\)"),
    (lambda: S.kernel_stein_discrepancy(X, score=BAD), "score must be finite"),
    (lambda: S.kernel_stein_discrepancy(X, score=lambda z: z / 0), "score must have a finite"),
    (lambda: S.wasserstein_1d(X, X), "sliced_wasserstein is for more"),
    (lambda: S.wasserstein_1d(X[:, 0], X[:, 0], 0.5), "p must be at least 1"),
    (lambda: S.sliced_wasserstein(X, X, KEY, num_projections=0), "num_projections must be at"),
    (lambda: S.subsampled_error(S.knn_kl, X, X, key=KEY, num_subsamples=1), "at least 2"),
    (lambda: S.subsampled_error(S.knn_kl, X, X, key=KEY, fraction=1.0), "between 0 and 1"),
    (lambda: S.subsampled_error(S.knn_kl, X, X, key=KEY), "k must be at most 1"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", CASES)
def test_one_argument(call, message):
    with np.errstate(divide="ignore", invalid="ignore"), pytest.raises(ValueError, match=message):
        call()


TYPES = [
    (lambda: S.knn_kl(X, X, 2.5), "k must be an integer, but is 2.5"),
    (lambda: S.mmd2(X, X, 3), "kernel must be a function of two points"),
    (lambda: S.mmd2(X, X, lambda a, b: a - b), "kernel must return a scalar"),
    (lambda: S.kernel_stein_discrepancy(X, lambda z: z), "log_density must return a scalar"),
    (lambda: S.labelled_mutual_information(X, X[:, 0]), "labels must be integer classes"),
    (lambda: S.sliced_wasserstein(X, X, KEY, num_projections=2.0), "num_projections must be an"),
    (lambda: S.knn_kl(X, X, base="e"), "base must be a number"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", TYPES)
def test_one_type(call, message):
    with pytest.raises(TypeError, match=message):
        call()
