"""Mutual information from neighbours: scikit-learn, brute force, and known values."""

import math

import jax
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

import jaxdiv as jd

RNG = np.random.default_rng(5)
N = 300
A = RNG.normal(size=N)
B = 0.6 * A + 0.8 * RNG.normal(size=N)
# scikit-learn divides by standard deviations first.
A, B = (A / A.std()).astype(np.float32), (B / B.std()).astype(np.float32)
LABELS = np.digitize(A + 0.3 * RNG.normal(size=N), [-1.0, 0.0, 1.5])


def test_ksg_is_that_of_scikit_learn():
    theirs = mutual_info_regression(A[:, None], B, n_neighbors=3, random_state=0)[0]
    # They add noise of 1e-10 and divide by a deviation that is 1 to rounding, which may move a
    # point into or out of a count: 1 of them is about 1/(n n_x).
    assert jd.samples.ksg_mutual_information(A, B) == pytest.approx(theirs, abs=1e-4)


def chebyshev(x):
    return np.abs(x[:, None] - x[None]).reshape(len(x), len(x), -1).max(-1)


def brute_ksg(x, y, k, variant):
    n = len(x)
    dx, dy = chebyshev(x), chebyshev(y)
    joint = np.maximum(dx, dy)
    np.fill_diagonal(joint, np.inf)
    total = 0.0
    for i in range(n):
        near = np.argsort(joint[i], kind="stable")[:k]
        others = np.arange(n) != i
        if variant == 1:
            radius = joint[i, near[-1]]
            counts = [(d[i][others] < radius).sum() + 1 for d in (dx, dy)]
        else:
            counts = [(d[i][others] <= d[i, near].max()).sum() for d in (dx, dy)]
        total += digamma(counts).sum()
    constant = digamma(k) + digamma(n) - (1 / k if variant == 2 else 0)
    return constant - total / n


@pytest.mark.parametrize("variant", [1, 2])
def test_ksg_is_its_formula(variant):
    x = np.stack([A, (A * B) % 1], 1).astype(np.float32)
    ours = jd.samples.ksg_mutual_information(x, B, 3, variant=variant)
    assert ours == pytest.approx(brute_ksg(x, B, 3, variant), abs=2e-6)


def test_ksg_has_no_slope():
    slope = jax.grad(jd.samples.ksg_mutual_information)(A, B)
    assert slope.shape == (N,) and not slope.any()


def test_labels_are_those_of_scikit_learn():
    theirs = mutual_info_classif(B[:, None], LABELS, n_neighbors=3, random_state=0)[0]
    ours = jd.samples.labelled_mutual_information(B, LABELS)
    assert ours == pytest.approx(theirs, abs=1e-4)
    few = np.where(np.arange(N) < 3, 9, LABELS)  # a class of 3 has 2 neighbours, fewer than k
    theirs = mutual_info_classif(B[:, None], few, n_neighbors=3, random_state=0)[0]
    assert jd.samples.labelled_mutual_information(B, few) == pytest.approx(theirs, abs=1e-4)


def brute_mixed(x, y, k):
    n = len(x)
    dx, dy = chebyshev(x), chebyshev(y)
    joint = np.maximum(dx, dy)
    total = 0.0
    for i in range(n):
        others = np.arange(n) != i
        radius = np.sort(joint[i][others])[k - 1]
        if radius > 0:
            number, counts = k, [(d[i] < radius).sum() for d in (dx, dy)]
        else:
            number, counts = (joint[i] == 0).sum(), [(d[i] == 0).sum() for d in (dx, dy)]
        total += digamma(number) - digamma(counts).sum()
    return math.log(n) + total / n


def test_mixed_is_its_formula():
    discrete = np.round(A).astype(np.float32)
    mixture = np.where(np.arange(N) % 3 == 0, np.float32(0.5), B)
    for x, y in ((A, B), (discrete, B), (discrete, np.round(B)), (A, mixture)):
        ours = jd.samples.mixed_mutual_information(x, y)
        assert ours == pytest.approx(brute_mixed(x, y, 3), abs=2e-6)


@pytest.mark.slow
def test_means_are_the_truth():
    """Normal pairs, -log(1 - r^2)/2; a class beside a normal variable, by quadrature."""
    rng = np.random.default_rng(1)
    n, found = 1000, {"1": [], "2": [], "mixed": [], "label": []}
    for _ in range(40):
        a = rng.normal(size=n)
        b = (0.6 * a + 0.8 * rng.normal(size=n)).astype(np.float32)
        a = a.astype(np.float32)
        found["1"].append(float(jd.samples.ksg_mutual_information(a, b)))
        found["2"].append(float(jd.samples.ksg_mutual_information(a, b, variant=2)))
        label = rng.integers(0, 2, n)
        y = (2 * label - 1 + rng.normal(size=n)).astype(np.float32)
        found["mixed"].append(float(jd.samples.mixed_mutual_information(4 * label, y)))
        found["label"].append(float(jd.samples.labelled_mutual_information(y, label)))

    def density(t):
        return (stats.norm.pdf(t, 1) + stats.norm.pdf(t, -1)) / 2

    whole = integrate.quad(lambda t: -density(t) * np.log(density(t)), -12, 12)[0]
    classes = whole - math.log(2 * math.pi * math.e) / 2
    normal = -0.5 * math.log(1 - 0.36)
    for name, truth in (("1", normal), ("2", normal), ("mixed", classes), ("label", classes)):
        error = np.std(found[name], ddof=1) / np.sqrt(len(found[name]))
        assert abs(np.mean(found[name]) - truth) <= 3 * error, name
