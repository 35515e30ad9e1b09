"""A policy that is paid for reward and pays for KL(policy || reference), by sampled actions.

What is maximised is E[r] - beta KL(policy || reference); the best policy is known, the reference
times e^(r/beta). Five ways to the gradient of the same penalty, of which three are right:

- exact: the divergence of the two rows;
- unbiased: `unbiased_kl_loss` of sampled actions;
- k2: its gradient at fixed samples happens to have the right expectation;
- k1 differentiated at fixed samples: its gradient has the expectation 0, and there is no penalty;
- k3 differentiated at fixed samples: its gradient is that of KL(reference || policy).
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import BLACK, BLUE, GREEN, ORANGE, PINK, main, table

import jaxdiv as jd

REWARD = jnp.asarray([1.0, 0.9, 0.5, 0.2, 0.0, -0.5])
REFERENCE = jnp.asarray([-2.0, 0.5, 1.0, 1.0, 0.5, 0.0])  # logits: the best arm is rare
BETA, BATCH = 0.4, 64
BEST = REFERENCE + REWARD / BETA


def exact(z: jax.Array, x: jax.Array) -> jax.Array:
    """The divergence itself."""
    return jd.kl_divergence(jd.Logits(z), jd.Logits(REFERENCE))


def _logs(z: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.nn.log_softmax(z)[x], jax.nn.log_softmax(REFERENCE)[x]


PENALTIES = {
    "exact": exact,
    "unbiased_kl_loss": lambda z, x: jd.unbiased_kl_loss(*_logs(z, x)),
    "k2, fixed samples": lambda z, x: jnp.mean(jd.kl_k2(*_logs(z, x))),
    "k1, fixed samples": lambda z, x: jnp.mean(jd.kl_k1(*_logs(z, x))),
    "k3, fixed samples": lambda z, x: jnp.mean(jd.kl_k3(*_logs(z, x))),
}
WRONG = ("k1, fixed samples", "k3, fixed samples")


@functools.partial(jax.jit, static_argnums=(0, 1))
def train(name: str, steps: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The policy's logits in the end, and KL(policy || reference) on the way."""
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, steps))

    def loss(z: jax.Array, key: jax.Array) -> jax.Array:
        x = jax.random.categorical(key, jax.lax.stop_gradient(z), shape=(BATCH,))
        reward = REWARD[x]
        others = (jnp.sum(reward) - reward) / (BATCH - 1)
        pay = jnp.mean((reward - others) * jax.nn.log_softmax(z)[x])
        return BETA * PENALTIES[name](z, x) - pay

    def step(carry: Any, key: jax.Array) -> Any:
        z, state = carry
        updates, state = optimizer.update(jax.grad(loss)(z, key), state)
        return (optax.apply_updates(z, updates), state), exact(z, z)

    start = REFERENCE, optimizer.init(REFERENCE)
    (z, _), paid = jax.lax.scan(step, start, jax.random.split(key, steps))
    return z, paid


def value(z: jax.Array) -> tuple[float, float, float]:
    """E[r], KL(policy || reference), and what is maximised."""
    reward, paid = float(jax.nn.softmax(z) @ REWARD), float(exact(z, z))
    return reward, paid, reward - BETA * paid


def run(*, small: bool = False) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Policies and their divergences by the way they were trained."""
    steps = 50 if small else 2000
    return {name: train(name, steps, jax.random.key(0)) for name in PENALTIES}


def report(found: dict[str, tuple[jax.Array, jax.Array]]) -> None:
    """Where each way leads."""
    rows = [("best policy", *value(BEST)), *((name, *value(z)) for name, (z, _) in found.items())]
    table(("gradient of the penalty", "E[r]", "KL", "E[r] - beta KL"), rows)


def draw(found: dict[str, tuple[jax.Array, jax.Array]], figure: Any) -> None:
    """KL on the way, and the policies in the end."""
    left, right = figure.subplots(1, 2)
    styles = ((BLACK, "-"), (BLUE, "-"), (GREEN, "--"), (ORANGE, "-"), (PINK, "-."))
    left.axhline(value(BEST)[1], color="0.6", linewidth=1, label="best policy")
    for (name, (_, paid)), (colour, line) in zip(found.items(), styles, strict=True):
        left.plot(np.asarray(paid), color=colour, linestyle=line, linewidth=1.8, label=name)
    left.set(xlabel="step", ylabel="KL(policy ‖ reference), nats", ylim=(0, None))
    left.legend(frameon=False, fontsize=9)
    shown = {"best policy": BEST, **{name: z for name, (z, _) in found.items() if name != "exact"}}
    colours = ("0.6", BLUE, GREEN, ORANGE, PINK)
    for k, ((name, z), colour) in enumerate(zip(shown.items(), colours, strict=True)):
        at = np.arange(len(REWARD)) + 0.16 * (k - 2)
        right.bar(at, np.asarray(jax.nn.softmax(z)), width=0.16, color=colour, label=name)
    right.set(xlabel="arm, its reward", ylabel="probability")
    right.set_xticks(range(len(REWARD)), [f"{float(r):g}" for r in REWARD])


def go(arguments: Sequence[str] | None = None) -> Any:
    """The command."""
    return main(__doc__, "bandit", run, report, draw, (11, 4), arguments)


if __name__ == "__main__":
    go()
