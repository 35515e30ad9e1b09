"""The assertions pass and fail where they should, and say why in numbers."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiv as jd
from jaxdiv.verification.asserts import assert_convex, assert_divergence, assert_stationary_at

P = np.float32([0.5, 0.3, 0.2])


@pytest.fixture(autouse=True)
def _as_users_have_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def kl(p, q):
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)), -1)


def numpy_kl(p, q):
    return np.sum(np.asarray(p) * np.log(np.asarray(p) / np.asarray(q)), -1)


def squared(p, q):
    return jnp.sum((p - q) ** 2, -1)


def numbers(message, name):
    """The row that a message shows."""
    found = re.search(rf"\b{name} = \(([^)]*)\)", message)
    assert found, message
    return np.asarray([float(x) for x in found[1].split(",")])


@pytest.mark.parametrize("fn", [kl, numpy_kl, "kl", jd.KL(), squared])
@pytest.mark.parametrize("argument", [0, 1])
def test_stationary(fn, argument):
    assert_stationary_at(fn, P, q_argument=argument)


def test_stationary_in_batches_and_far_out():
    assert_stationary_at(kl, np.float32([[[0.5, 0.3, 0.2], [0.98, 0.01, 0.01]]]))
    assert_stationary_at(kl, np.float32([1 - 2e-6, 1e-6, 1e-6]))
    assert_stationary_at(squared, np.float32([1 - 2e-6, 1e-6, 1e-6]))
    assert_stationary_at(lambda p, q: 1e6 * kl(p, q), P)
    assert_stationary_at(lambda p, q: 1e6 * numpy_kl(p, q), P)
    assert_stationary_at(lambda p, q: -jnp.log(jnp.sum(jnp.sqrt(p * q), -1)), P)


@pytest.mark.parametrize(
    "fn, said",
    [
        (lambda p, q: kl(p, q) + 1e-3 * q[..., 0], "not stationary .* entry of 0.000667"),
        (lambda p, q: numpy_kl(p, q) + 1e-2 * q[..., 0], "not stationary .* by differences"),
        (lambda p, q: -kl(p, q), "not curved upwards .* is -1 "),
        (lambda p, q: -numpy_kl(p, q), "not curved upwards .* by differences.* is -1 "),
        (lambda p, q: (p - q)[..., 0] ** 2, "not curved upwards"),
        (lambda p, q: jnp.sqrt(kl(p, q)), "not stationary .* nan"),
    ],
)
def test_not_stationary(fn, said):
    with pytest.raises(AssertionError, match=said + r".*at \(0.5, 0.3, 0.2\)"):
        assert_stationary_at(fn, P)


def test_the_tolerance_of_gradients_is_the_user_s():
    tilted = lambda p, q: kl(p, q) + 1e-3 * q[..., 0]  # noqa: E731
    assert_stationary_at(tilted, P, atol=1e-2)
    with pytest.raises(AssertionError, match="allowed 1e-09"):
        assert_stationary_at(lambda p, q: kl(p, q) + 1e-8 * 1e3 * q[..., 0], P, atol=1e-9)


@pytest.mark.parametrize(
    "p, said",
    [
        ([1.0, 0.0], r"inside the simplex.*\(1, 0\)"),
        ([0.5, 0.6], r"sum 1, but a row is \(0.5, 0.6\)"),
        ([1.0], r"its shape is \(1,\)"),
        (1.0, r"its shape is \(\)"),
    ],
)
def test_bad_points(p, said):
    with pytest.raises(ValueError, match=said):
        assert_stationary_at(kl, p)


def test_bad_arguments():
    with pytest.raises(ValueError, match="q_argument must be 0 or 1, but is 2"):
        assert_stationary_at(kl, P, q_argument=2)
    with pytest.raises(ValueError, match=r"convexity in 'r' .*; there are: 'p' in probabilities"):
        assert_convex(kl, "r")
    with pytest.raises(TypeError, match="but is 3"):
        assert_divergence(3)


@pytest.mark.parametrize("fn", [kl, numpy_kl, "kl"])
@pytest.mark.parametrize("moving", ["p", "q", "(p, q)"])
def test_convex(fn, moving):
    assert_convex(fn, moving)


@pytest.mark.parametrize("fn", [kl, numpy_kl, "kl", jd.kl_divergence])
def test_not_convex(fn):
    with pytest.raises(AssertionError, match=r"is not convex in p, in logits.*halfway") as caught:
        assert_convex(fn, "p", chart="logits")
    # What the message shows is enough to see it.
    p0, p1, q = (numbers(str(caught.value), name) for name in ("p0", "p1", "q"))
    middle = np.sqrt(p0 * p1) / np.sum(np.sqrt(p0 * p1))
    left = numpy_kl(middle, q)
    right = (numpy_kl(p0, q) + numpy_kl(p1, q)) / 2
    assert left > right + 0.1
    shown = re.search(r"ends: ([\d.]+) > ([\d.]+)", str(caught.value))
    assert [float(x) for x in shown.groups()] == pytest.approx([left, right], rel=0.02)


def test_more_outcomes_and_other_seeds():
    assert_convex(kl, outcomes=2, seed=1)
    with pytest.raises(AssertionError, match="not convex"):
        assert_convex(kl, "p", chart="logits", outcomes=5, seed=3)


@pytest.mark.parametrize("fn", ["kl", jd.kl_divergence, squared])
def test_divergences(fn):
    assert_divergence(fn)


def test_rounding_is_seen_and_may_be_allowed():
    with pytest.raises(AssertionError, match="kl is no divergence: as computed") as caught:
        assert_divergence(kl)
    assert "atol allows for rounding" in str(caught.value)
    assert len(numbers(str(caught.value), "p")) == len(numbers(str(caught.value), "q")) == 8
    assert_divergence(kl, atol=1e-6)


@pytest.mark.parametrize(
    "fn, said",
    [
        (lambda p, q: -jnp.sum(p * jnp.log(q), -1), r"D\(p, p\) is not 0"),
        (lambda p, q: kl(p, q) - 3 * squared(p, q), r"is negative|D\(p, q\) < 0"),
        (lambda p, q: squared(p, q) * 0, r"D\(p, q\) is 0, but p and q differ, by"),
        (lambda p, q: kl(p, q) * jnp.nan, "is NaN"),
    ],
)
def test_what_is_no_divergence(fn, said):
    with pytest.raises(AssertionError, match=said):
        assert_divergence(fn, atol=1e-6, count=50)
