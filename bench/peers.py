"""KL as each library computes it, in the call that its documentation leads to.

A call is a row of `CALLS`: its name, the package it needs, and a function that imports the package
and returns the call from logits, the call from probabilities, and the backend that runs both.
Neither call repairs its input first: bfloat16 goes in as bfloat16.
"""

import functools
import importlib
import warnings
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Array = np.ndarray[Any, Any]
Function = Callable[[Any, Any], Any]


class Backend(Protocol):
    """Runs a function of two arrays (rows, n) that returns (rows,). Results are float64 arrays."""

    def value(self, f: Function, p: Array, q: Array) -> Array: ...

    def gradient(self, f: Function, p: Array, q: Array) -> tuple[Array, Array] | None:
        """Of the sum over rows, by p and by q; None where a backend cannot differentiate."""
        ...

    def hessian(self, f: Function, p: Array) -> Array | None:
        """By q at q = p, row by row: (rows, n, n)."""
        ...


@functools.cache  # one program for all inputs of a shape
def _gradient(f: Function) -> Function:
    return jax.jit(jax.grad(lambda a, b: f(a, b).sum(), (0, 1)))


class Jax:
    """Under `jit`, as JAX is used."""

    def value(self, f: Function, p: Array, q: Array) -> Array:
        return np.asarray(jax.jit(f)(jnp.asarray(p), jnp.asarray(q))).astype(np.float64)

    def gradient(self, f: Function, p: Array, q: Array) -> tuple[Array, Array]:
        by_p, by_q = _gradient(f)(jnp.asarray(p), jnp.asarray(q))
        return np.asarray(by_p).astype(np.float64), np.asarray(by_q).astype(np.float64)

    def hessian(self, f: Function, p: Array) -> Array:
        by_row = jax.jit(jax.vmap(jax.hessian(f, 1)))
        return np.asarray(by_row(jnp.asarray(p), jnp.asarray(p))).astype(np.float64)


class Numpy:
    """No derivatives."""

    def value(self, f: Function, p: Array, q: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(f(p, q)).astype(np.float64)

    def gradient(self, f: Function, p: Array, q: Array) -> None:
        return None

    def hessian(self, f: Function, p: Array) -> None:
        return None


class Torch:
    """Eager, on the CPU."""

    def __init__(self) -> None:
        self.torch = importlib.import_module("torch")

    def array(self, x: Array) -> Any:
        name = x.dtype.name
        return self.torch.tensor(x.astype(np.float32)).to(getattr(self.torch, name))

    def value(self, f: Function, p: Array, q: Array) -> Array:
        return f(self.array(p), self.array(q)).double().numpy()

    def gradient(self, f: Function, p: Array, q: Array) -> tuple[Array, Array]:
        a, b = self.array(p).requires_grad_(), self.array(q).requires_grad_()
        by_p, by_q = self.torch.autograd.grad(f(a, b).sum(), (a, b))
        return by_p.double().numpy(), by_q.double().numpy()

    def hessian(self, f: Function, p: Array) -> Array:
        # Row by row: torch.distributions checks its arguments, which torch.func.vmap refuses.
        rows = [
            self.torch.autograd.functional.hessian(lambda b, a=row: f(a, b), row)
            for row in self.array(p)
        ]
        return self.torch.stack(rows).double().numpy()


@dataclass(frozen=True)
class Peer:
    """A library's KL, from logits and from probabilities."""

    name: str
    logits: Function
    probs: Function
    backend: Backend


def _jaxdiv() -> tuple[Function, Function, Backend]:
    import jaxdiv as jd

    return lambda a, b: jd.kl_divergence(jd.Logits(a), jd.Logits(b)), jd.kl_divergence, Jax()


def _plain() -> tuple[Function, Function, Backend]:
    def from_logs(log_p: Any, log_q: Any) -> Any:
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)

    return (
        lambda a, b: from_logs(jax.nn.log_softmax(a), jax.nn.log_softmax(b)),
        lambda p, q: jnp.sum(p * (jnp.log(p) - jnp.log(q)), axis=-1),
        Jax(),
    )


def _optax() -> tuple[Function, Function, Backend]:
    from optax import losses

    return (
        lambda a, b: losses.kl_divergence(jax.nn.log_softmax(b), jax.nn.softmax(a)),
        lambda p, q: losses.kl_divergence(jnp.log(q), p),
        Jax(),
    )


def _optax_log_targets() -> tuple[Function, Function, Backend]:
    from optax import losses

    kl = losses.kl_divergence_with_log_targets
    return (
        lambda a, b: kl(jax.nn.log_softmax(b), jax.nn.log_softmax(a)),
        lambda p, q: kl(jnp.log(q), jnp.log(p)),
        Jax(),
    )


def _distrax() -> tuple[Function, Function, Backend]:
    categorical: Any = importlib.import_module("distrax").Categorical
    return (
        lambda a, b: categorical(logits=a).kl_divergence(categorical(logits=b)),
        lambda p, q: categorical(probs=p).kl_divergence(categorical(probs=q)),
        Jax(),
    )


def _jax_scipy(name: str) -> Callable[[], tuple[Function, Function, Backend]]:
    term = getattr(jax.scipy.special, name)

    def make() -> tuple[Function, Function, Backend]:
        def from_probs(p: Any, q: Any) -> Any:
            return term(p, q).sum(axis=-1)

        return lambda a, b: from_probs(jax.nn.softmax(a), jax.nn.softmax(b)), from_probs, Jax()

    return make


def _scipy_rel_entr() -> tuple[Function, Function, Backend]:
    special = importlib.import_module("scipy.special")

    def from_probs(p: Any, q: Any) -> Any:
        return special.rel_entr(p, q).sum(axis=-1)

    return (
        lambda a, b: from_probs(special.softmax(a, axis=-1), special.softmax(b, axis=-1)),
        from_probs,
        Numpy(),
    )


def _scipy_entropy() -> tuple[Function, Function, Backend]:
    stats = importlib.import_module("scipy.stats")
    softmax = importlib.import_module("scipy.special").softmax

    def from_probs(p: Any, q: Any) -> Any:
        return stats.entropy(p, q, axis=-1)

    return lambda a, b: from_probs(softmax(a, axis=-1), softmax(b, axis=-1)), from_probs, Numpy()


def _torch(log_target: bool) -> Callable[[], tuple[Function, Function, Backend]]:
    def make() -> tuple[Function, Function, Backend]:
        functional = importlib.import_module("torch.nn.functional")

        def kl(log_q: Any, target: Any) -> Any:
            terms = functional.kl_div(log_q, target, reduction="none", log_target=log_target)
            return terms.sum(-1)

        target = functional.log_softmax if log_target else functional.softmax
        return (
            lambda a, b: kl(functional.log_softmax(b, -1), target(a, -1)),
            lambda p, q: kl(q.log(), p.log() if log_target else p),
            Torch(),
        )

    return make


def _torch_distributions() -> tuple[Function, Function, Backend]:
    distributions = importlib.import_module("torch.distributions")
    categorical, kl = distributions.Categorical, distributions.kl_divergence
    return (
        lambda a, b: kl(categorical(logits=a), categorical(logits=b)),
        lambda p, q: kl(categorical(probs=p), categorical(probs=q)),
        Torch(),
    )


CALLS: dict[str, tuple[str, Callable[[], tuple[Function, Function, Backend]]]] = {
    "**jaxdiv**": ("jaxdiv", _jaxdiv),
    "log_softmax formula": ("jax", _plain),
    "optax kl_divergence": ("optax", _optax),
    "optax …with_log_targets": ("optax", _optax_log_targets),
    "distrax Categorical": ("distrax", _distrax),
    "jax.scipy rel_entr": ("jax", _jax_scipy("rel_entr")),
    "jax.scipy kl_div": ("jax", _jax_scipy("kl_div")),
    "scipy rel_entr": ("scipy", _scipy_rel_entr),
    "scipy entropy": ("scipy", _scipy_entropy),
    "torch F.kl_div": ("torch", _torch(log_target=False)),
    "torch F.kl_div log_target": ("torch", _torch(log_target=True)),
    "torch Categorical": ("torch", _torch_distributions),
}

OURS = next(iter(CALLS))


def load(names: Container[str] = CALLS) -> Iterator[tuple[str, Peer | None]]:
    """(name, peer) for those named, with None where the package is not installed."""
    for name, (package, make) in CALLS.items():
        if name not in names:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(package)
                peer = Peer(name, *make())
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != package:
                raise  # installed, but something that it needs is not
            peer = None
        yield name, peer
