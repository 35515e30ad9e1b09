"""Entropic optimal transport, its bias removed, by ott-jax's Sinkhorn iterations."""

import functools
import importlib
import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import logsumexp

from .. import _checks as checks
from .. import _numerics as num
from .._divergence import Scalar
from . import arguments
from .pairs import row_means
from .tiles import ROWS, squared_distances


def sinkhorn_divergence(
    x: Any, y: Any, epsilon: Scalar | None = None, *, max_iterations: int = 2000
) -> Array:
    """Sinkhorn divergence OT_e(x, y) - OT_e(x, x)/2 - OT_e(y, y)/2 with cost |x - y|^2.

    OT_e is entropic transport, the least of sum P_ij |x_i - y_j|^2 + epsilon KL(P || a b) over
    couplings P of the uniform weights a and b. Between W_2^2 (epsilon to 0) and
    |mean x - mean y|^2 (to infinity); at least 0, but for the iterations' tolerance. In squared
    units of the points, as `epsilon` is, whose default is a twentieth of the mean of |x_i - y_j|^2.
    x is (*batch, n, d), y (*batch, m, d), or (n,) and (m,); batch axes broadcast, and the batch
    shape is returned.

    Iterations are those of `ott-jax` (pip install 'jaxdiv[ot]'), until the marginals of the
    couplings are right to 1e-3 in total. First derivatives by x and y are those of the cost at
    these couplings, epsilon held fixed (Danskin's theorem); second ones are wrong. Blocks are of 64
    points beside all others.

    NaN where Sinkhorn's iterations did not converge: raise `max_iterations` or `epsilon`.
    ImportError without ott-jax. ValueError for an epsilon that is not positive, NaN or infinities
    (NaN where they are traced), dimensions that differ.

    References: Genevay, Peyre and Cuturi, Learning Generative Models with Sinkhorn Divergences,
    2018; Feydy et al., Interpolating between Optimal Transport and MMD, 2019; Cuturi et al.,
    Optimal Transport Tools (OTT), 2022.
    """
    _ott()
    a, b = arguments.as_samples(x, y)
    if epsilon is not None:
        checks.check_scalar("epsilon", epsilon, "positive and finite", lambda e: 0 < e < math.inf)
        epsilon = jnp.asarray(epsilon, a.dtype)
    if isinstance(max_iterations, bool) or not isinstance(max_iterations, int | np.integer):
        raise TypeError(f"max_iterations must be an integer, but is {max_iterations!r}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, but is {max_iterations}")
    return arguments.batched(lambda a, b: _sinkhorn(a, b, epsilon, int(max_iterations)), a, b)


@functools.lru_cache(maxsize=1)
def _ott() -> Any:
    """ott-jax's divergence, and a cloud of points that forms costs in blocks of our own.

    ott-jax 0.6's own blocks need a function that JAX 0.12 no longer has.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what ott-jax imports
        try:
            clouds: Any = importlib.import_module("ott.geometry.pointcloud")
            tools: Any = importlib.import_module("ott.tools.sinkhorn_divergence")
        except ImportError as error:
            raise ImportError(
                f"sinkhorn_divergence needs ott-jax: pip install 'jaxdiv[ot]' ({error})"
            ) from None

    @jax.tree_util.register_pytree_node_class
    class Cloud(clouds.PointCloud):
        def apply_lse_kernel(
            self, f: Array, g: Array, eps: Array, vec: Array | None = None, axis: int = 0
        ) -> tuple[Array, Array]:
            rows, others = (self.x, self.y) if axis == 1 else (self.y, self.x)
            own, other = (f, g) if axis == 1 else (g, f)
            size = min(ROWS, len(rows))
            blocks = -(-len(rows) // size)

            def block(points: Array) -> tuple[Array, Array]:
                heights = (other[:, None] - squared_distances(others, points)) / eps
                weights = None if vec is None else vec[:, None]
                return logsumexp(heights, 0, b=weights, return_sign=True)

            padded = jnp.pad(rows, ((0, blocks * size - len(rows)), (0, 0)), mode="edge")
            found, sign = lax.map(block, padded.reshape(blocks, size, -1))
            found, sign = (z.reshape(-1)[: len(rows)] for z in (found, sign))
            # The iterations add a potential of their own, of whatever sign, again.
            shift = own - jnp.where(jnp.isfinite(own), own, 0)
            return eps * found + shift, sign

    return Cloud, tools.sinkhorn_divergence


@functools.partial(jax.jit, static_argnums=3)
def _sinkhorn(x: Array, y: Array, epsilon: Array | None, max_iterations: int) -> Array:
    cloud, divergence = _ott()
    if epsilon is None:
        apart = jnp.mean(x, 0) - jnp.mean(y, 0)
        spread = jnp.sum(jnp.var(x, 0) + jnp.var(y, 0) + jnp.square(apart))
        epsilon = lax.stop_gradient(jnp.where(spread > 0, spread, 1) / 20)
    fine = arguments.finite(x, y) * jnp.where(epsilon > 0, 1, jnp.nan).astype(x.dtype)
    still_x, still_y, epsilon = (lax.stop_gradient(z) for z in (x, y, epsilon))
    # ott-jax is written for JAX's default promotion rules.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        value, output = divergence(
            cloud,
            still_x,
            still_y,
            epsilon=epsilon,
            batch_size=ROWS,
            solve_kwargs={"max_iterations": max_iterations},
        )
    # To first order what moves is the cost alone, of the couplings found: exactly 0 is added.
    xy, xx, yy = (
        _fixed(a, b, f, g, epsilon)
        for (a, b), (f, g) in zip(((x, y), (x, x), (y, y)), output.potentials, strict=True)
    )
    moves = xy - (xx + yy) / 2
    value = value.astype(x.dtype) + (moves - lax.stop_gradient(moves))
    sure = jnp.all(jnp.asarray(output.converged))
    return jnp.where(sure, value, jnp.nan) * fine


def _fixed(x: Array, y: Array, f: Array, g: Array, epsilon: Array) -> Array:
    """The dual cost's part that the points are in, -e sum exp((f_i + g_j - |x_i - y_j|^2) / e)."""

    def tile(theirs: Any, ours: Any) -> Array:
        (points, g), (query, f) = theirs, ours
        heights = g[:, None] + f[None, :] - squared_distances(points, query)
        return jnp.exp(heights / epsilon)

    f, g = (lax.stop_gradient(z).astype(x.dtype) for z in (f, g))
    return -epsilon * len(y) * num.row_sum(row_means(tile, (x, f), (y, g)))
