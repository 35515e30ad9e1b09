"""Which path evaluates a divergence, and why: the decision that a lowered program makes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer

from . import _checks as checks
from ._divergence import Divergence, Separable, check_divergence
from ._finite import Rows, as_noun, layout, sides
from .rows.dispatch import Implementation, Target, choose
from .rows.statistic import Statistic


def implementation_of(
    divergence: Divergence,
    p: Any,
    q: Any,
    *,
    axis: int = -1,
    where: Any = None,
    implementation: str = "auto",
    platform: str | None = None,
) -> Implementation:
    """The path that `divergence(p, q, ...)` takes on a platform, with the reason.

    Only shapes, dtypes and shardings of p and q are read, so that `jax.ShapeDtypeStruct` will do.
    `platform` is "cpu", "cuda" or another of JAX's, by default that of the default device. A
    divergence of several statistics that take different paths has all of them in `name`, joined by
    " and ".

    Raises:
        NotImplementedError: "mosaic_gpu" or "llvm" is asked for where there is no such code.
    """
    check_divergence(divergence)
    checks.check_implementation(implementation)
    platform = _default_platform() if platform is None else platform
    found: dict[Implementation, None] = {}

    class Recorded(Rows):
        def sum(self, divergence: Separable) -> Array:
            if divergence.captures():
                found[Implementation("reference", "its function reads traced values")] = None
                return self._nothing()
            return super().sum(divergence)

        def _statistic(self, statistic: Statistic, parameters: Any) -> Array:
            # A statistic's parameters may be numbers of Python, such as a distance's own weight.
            parameters = jax.tree.map(lambda x: jnp.asarray(x, self.dtype), parameters)
            operands = (parameters, *self._stored)
            found[choose(self.implementation, statistic, operands, target)] = None
            return self._nothing()

        def _nothing(self) -> Array:
            return jnp.zeros(self.p.values.shape[:-1], self.dtype)

    leaves, tree = jax.tree.flatten((p, q, where))
    target = Target(platform, max(map(_devices, leaves), default=1))
    arrays = {i: x for i, x in enumerate(leaves) if jnp.shape(x)}

    def evaluate(divergence: Divergence, arrays: dict[int, Any]) -> Array:
        # Scalars such as a temperature stay what they are: a path may depend on them.
        p, q, where = tree.unflatten(arrays.get(i, x) for i, x in enumerate(leaves))
        nouns = {"p": as_noun("p", p), "q": as_noun("q", q)}
        form = layout(nouns, axis, where)
        side_p, side_q, _ = sides(nouns["p"], nouns["q"], where, form)
        divergence = jax.tree.map(lambda x: jnp.asarray(x, form.dtype), divergence)
        return divergence.evaluate(Recorded(side_p, side_q, implementation))

    jax.eval_shape(evaluate, divergence.specialise(), arrays)
    if len(found) == 1:
        return next(iter(found))
    names = dict.fromkeys(x.name for x in found)
    return Implementation(" and ".join(names), "; ".join(f"{x.name}: {x.reason}" for x in found))


def _devices(x: Any) -> int:
    """Over how many devices an array, or what stands for one, is divided under plain `jit`."""
    placed = isinstance(x, jax.Array | jax.ShapeDtypeStruct) and not isinstance(x, Tracer)
    sharding = x.sharding if placed else None
    return 1 if sharding is None else len(sharding.device_set)


def _default_platform() -> str:
    device = jax.devices()[0]
    if device.platform != "gpu":
        return device.platform
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"
