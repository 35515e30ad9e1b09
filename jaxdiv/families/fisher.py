"""What follows from a log-partition by differentiation: mean parameters and Fisher information."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from .base import Family
from .evaluate import as_member, compute_dtype


def core_of(member: Family) -> Family:
    """The member of an exponential family that it is the image of; raises if there is none."""
    if type(member).log_partition is not Family.log_partition:
        return member
    view = member.view()
    if view is None or view.fixed:
        what = "" if view is None else f" but for fixed {', '.join(view.fixed)}"
        raise NotImplementedError(
            f"{type(member).__name__} is no exponential family{what}: it has no log-partition to "
            "differentiate"
        )
    return view.core


def prepared(member: Any) -> Family:
    """A checked member, all of whose parameters have its batch shape and dtype."""
    member = as_member("p", member)
    return member.full(member.batch("p"), compute_dtype(member))


def mean_parameters(p: Any) -> tuple[Array, ...]:
    """The expectations of the sufficient statistics, grad A(theta), of a member of a family.

    In the order of `statistics`; of the family that p is the image of, if it is one: of a
    log-normal distribution those of log x and (log x)^2.

    Raises NotImplementedError for what is no exponential family.
    """
    core = core_of(prepared(p))
    one = jnp.ones(core.valid().shape, compute_dtype(core))
    return jax.vjp(core.log_partition, *core.natural())[1](one)


def fisher_information(p: Any) -> Array:
    """Fisher information of the parameters of a member of a family, (*batch, k, k).

    The variance of the derivatives of log p by the k parameters, in the order of the fields,
    flattened. It is the Hessian of KL(p || q) by q's parameters at q = p, and computed as that for
    what is no exponential family; of one it is J^T (hess A) J with J the derivative of the natural
    parameters by them.

    Raises NotImplementedError where KL has a closed form for some parameters only, and where the
    support depends on them (uniform and Pareto distributions): there it is not defined.

    Reference: Amari and Nagaoka, Methods of Information Geometry, 2000.
    """
    member = prepared(p)
    try:
        core_of(member)
    except NotImplementedError:
        kind = type(member)
        if not kind.regular:
            raise NotImplementedError(
                f"the support of {kind.__name__} depends on its parameters: they have no Fisher "
                "information"
            ) from None
        if kind.kl is Family.kl:
            raise
        return _batched(_curvature, member)
    return _batched(_fisher, member)


def information_by_partition(p: Any) -> Array:
    """`fisher_information` by natural parameters alone, which no divergence is computed from."""
    member = prepared(p)
    core_of(member)
    return _batched(_fisher, member)


def _batched(function: Callable[[Any], Array], member: Family) -> Array:
    batch = member.valid().shape
    if not batch:
        return function(member)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(batch) :]), member)
    found = jax.vmap(function)(flat)
    return found.reshape(*batch, *found.shape[1:])


def _curvature(member: Any) -> Array:
    x, rebuilt = ravel_pytree(member)
    return jax.hessian(lambda y: member.kl(rebuilt(y)))(x)


def _fisher(member: Family) -> Array:
    x, rebuilt = ravel_pytree(member)

    def natural(x: Array) -> Array:
        return ravel_pytree(core_of(rebuilt(x)).natural())[0]

    core = core_of(member)
    theta, restored = ravel_pytree(core.natural())
    curvature = jax.hessian(lambda t: core.log_partition(*restored(t)))(theta)
    jacobian = jax.jacfwd(natural)(x)
    return jacobian.T @ curvature @ jacobian
