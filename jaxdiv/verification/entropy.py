"""What is stated of entropy: bounds, concavity, products, conditioning, and code length."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..coding import expected_code_length, huffman_code
from ..information import conditional_entropy, entropy, joint_entropy
from . import premises as facts
from .local import epsilon, judged, wide
from .points import Points
from .proofs import derivative
from .verdict import Certificate, Finding

_CODES = 64  # Huffman codes are made on the host, one by one


def surprise(t: Any) -> Any:
    """The summand of entropy, -t log t."""
    return -t * jnp.log(t)


def entropy_claims(points: Points) -> Iterator[Finding]:
    """Every claim: proved from -t log t where a lemma does it, and seen through the verbs."""
    yield from _proved()
    yield from _sampled(points)


def _proved() -> Iterator[Finding]:
    concave = facts.sign(
        "-(-t log t)'' >= 0 for t > 0", lambda t: -derivative(surprise, 2)(t), smooth_of=surprise
    )
    positive = facts.sign("-t log t >= 0 for t < 1", surprise, stop=1.0, touching=True)
    form = facts.exact_form(surprise)
    if concave is None or positive is None or form is None:
        return
    logarithm = facts.Form("-t log t", surprise, repr(form))
    for claim, lemma, source, premise in (
        ("at least 0", "a sum of terms that are at least 0", "Shannon 1948", positive),
        ("concave in p", "a sum of concave functions is concave", "Shannon 1948", concave),
        (
            "at most log n, reached only at uniform",
            "a strictly concave function that permutations do not change",
            "Jensen",
            concave,
        ),
        ("additive on products", "log(p r) = log p + log r", "Shannon 1948", logarithm),
        (
            "conditioning does not raise it",
            "H(X) - H(X | Y) = KL(joint || product), and t log t is convex",
            "Cover and Thomas, 2.6.5",
            concave,
        ),
    ):
        yield Finding(claim, "", True, Certificate(lemma, source, (premise,)))


def _sampled(points: Points) -> Iterator[Finding]:
    p, n, eps = _rows(points), points.outcomes, epsilon(points)
    rounding = 16 * eps * max(1.0, math.log(n))
    chart = "probabilities"
    values = entropy(p)
    yield judged("as computed, at least 0", chart, -values, 0.0, points, "-H")
    over = values - jnp.log(jnp.asarray(float(n), p.dtype))
    yield judged("as computed, at most log n", chart, over, rounding, points, "H - log n")
    shuffled = jax.random.permutation(jax.random.key(3), p, axis=-1, independent=True)
    moved = jnp.abs(entropy(shuffled) - values)
    yield judged("unchanged by permutation", chart, moved, rounding, points, "change of H")
    other = jnp.roll(p, 1, axis=0)
    excess = (values + entropy(other)) / 2 - entropy((p + other) / 2)
    yield judged("Jensen along mixtures", chart, excess, rounding, points, "mean H - H(mixture)")
    yield judged("sum over products", chart, _products(p, other), 2 * rounding, points, "off by")
    yield judged("H(X|Y) <= H(X)", chart, _conditioning(points), rounding, points, "excess")
    yield judged("slope 0 at uniform", chart, _slope(points), 0.0, points, "on the simplex")
    yield judged("H <= Huffman's length < H + 1", chart, _codes(points), 1e-6, points, "outside by")


def _rows(points: Points) -> Array:
    """The points; of few bits they add up to 1 only roughly, and are normalised."""
    p = wide(points.probs)
    return p / jnp.sum(p, axis=-1, keepdims=True)


def _products(p: Array, q: Array) -> Array:
    """How far the entropy of products is from the sum, for up to 2^20 outcomes in all."""
    count = max(1, 2**20 // p.shape[-1] ** 2)
    p, q = p[:count], q[:count]
    if p.shape[-1] > 2**10:
        return jnp.zeros((1,), p.dtype)
    joint = p[:, :, None] * q[:, None, :]
    return jnp.abs(joint_entropy(joint) - entropy(p) - entropy(q))


def _conditioning(points: Points) -> Array:
    """H(X | Y) - H(X) of tables with three rows of the points, weighted anyhow."""
    p = _rows(points)
    weights = jnp.asarray([0.2, 0.3, 0.5], p.dtype)
    rows = jnp.stack([p, jnp.roll(p, 1, axis=0), jnp.roll(p, 2, axis=0)], axis=-1)
    joint = rows * weights[None, None]
    return conditional_entropy(joint) - entropy(jnp.sum(joint, axis=-1))


def _slope(points: Points) -> Array:
    """The spread of the gradient at the uniform distribution."""
    uniform = jnp.full((1, points.outcomes), 1 / points.outcomes, wide(points.probs).dtype)
    slope = jax.grad(lambda p: jnp.sum(entropy(p)))(uniform)
    return jnp.max(slope, axis=-1) - jnp.min(slope, axis=-1)


def _codes(points: Points) -> Array:
    """How far Huffman's expected length lies outside [H, H + 1), in bits."""
    outside = []
    for row in np.asarray(points.probs[:_CODES], np.float64):
        own = row / row.sum()
        floor = -sum(x * math.log2(x) for x in own if x > 0)
        length = expected_code_length(own, huffman_code(own))
        outside.append(max(floor - length, length - floor - 1))
    return jnp.asarray(outside)
