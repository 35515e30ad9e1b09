"""An f-GAN on a ring of eight normal distributions, in plain JAX with optax.

A generator G(z) and a critic V(x) play for E_p[T] - E_q[f*(T)], T = g(V) with the output activation
g of the divergence: the critic raises the bound on D(p || q), and the generator, which is q, lowers
it. Nowozin, Cseke and Tomioka, arXiv 1606.00709, whose trick for the generator is used as well: it
raises E_q[T] in place of lowering -E_q[f*(T)], which has the same fixed point and steeper slopes.
The critic stays within +-10: 1 - e^-V, the activation of reverse KL, is 1 beyond 17 in float32.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import BLUE, ORANGE, main, table

import jaxdiv as jd
from jaxdiv import Reverse

DIVERGENCES = {
    "KL": jd.KL(),
    "reverse KL": Reverse(jd.KL()),
    "Jensen-Shannon": jd.JensenShannon(),
    "chi-squared": jd.Chi2(),
}
MODES, SPREAD, WIDTH, BATCH, LIMIT = 8, 0.15, 64, 256, 10.0
ANGLES = 2 * np.pi * np.arange(MODES) / MODES
CENTRES = 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1).astype(np.float32)


def network(key: jax.Array, sizes: Sequence[int]) -> list[tuple[jax.Array, jax.Array]]:
    """Weights of a network of ReLUs."""
    layers = []
    keys = jax.random.split(key, len(sizes) - 1)
    for own, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True):
        layers.append((jax.random.normal(own, (n, m)) * jnp.sqrt(2 / n), jnp.zeros((1, m))))
    return layers


def apply(layers: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """Its output, (batch, last size)."""
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def ring(key: jax.Array, count: int) -> jax.Array:
    """Draws from the target."""
    mode, noise = jax.random.split(key)
    which = jax.random.randint(mode, (count,), 0, MODES)
    return jnp.asarray(CENTRES)[which] + SPREAD * jax.random.normal(noise, (count, 2))


@functools.partial(jax.jit, static_argnums=(0, 1))
def train(name: str, steps: int, key: jax.Array) -> tuple[Any, jax.Array]:
    """The trained generator, and the bound on the way."""
    divergence = DIVERGENCES[name]
    activation = jd.output_activation(divergence)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3, b1=0.5))
    first, second, key = jax.random.split(key, 3)
    critic = network(first, (2, WIDTH, WIDTH, 1))
    generator = network(second, (8, WIDTH, WIDTH, 2))

    def scores(critic: Any, x: jax.Array) -> jax.Array:
        return activation(LIMIT * jnp.tanh(apply(critic, x)[:, 0] / LIMIT))

    def bound(critic: Any, generator: Any, key: jax.Array) -> jax.Array:
        real, noise = jax.random.split(key)
        fake = apply(generator, jax.random.normal(noise, (BATCH, 8)))
        return jd.variational_bound(
            divergence, scores(critic, ring(real, BATCH)), scores(critic, fake)
        )

    def less(generator: Any, critic: Any, key: jax.Array) -> jax.Array:
        fake = apply(generator, jax.random.normal(key, (BATCH, 8)))
        return -jnp.mean(scores(critic, fake))

    def step(carry: Any, key: jax.Array) -> Any:
        critic, generator, of_critic, of_generator = carry
        keys = jax.random.split(key, 3)
        for own in keys[:2]:
            value, slope = jax.value_and_grad(bound)(critic, generator, own)
            slope = jax.tree.map(jnp.negative, slope)
            updates, of_critic = optimizer.update(slope, of_critic)
            critic = optax.apply_updates(critic, updates)
        slope = jax.grad(less)(generator, critic, keys[2])
        updates, of_generator = optimizer.update(slope, of_generator)
        generator = optax.apply_updates(generator, updates)
        return (critic, generator, of_critic, of_generator), value

    start = critic, generator, optimizer.init(critic), optimizer.init(generator)
    (_, generator, _, _), values = jax.lax.scan(step, start, jax.random.split(key, steps))
    return generator, values


def run(*, small: bool = False) -> dict[str, dict[str, Any]]:
    """For each divergence what was generated, the bound, modes found and points near one."""
    steps = 20 if small else 6000
    found = {}
    for name in list(DIVERGENCES)[:: 3 if small else 1]:
        generator, values = train(name, steps, jax.random.key(0))
        x = np.asarray(apply(generator, jax.random.normal(jax.random.key(1), (2000, 8))))
        distance = np.linalg.norm(x[:, None] - CENTRES[None], axis=-1)
        near = distance.min(1) < 4 * SPREAD
        share = np.bincount(distance.argmin(1)[near], minlength=MODES) / len(x)
        found[name] = {
            "points": x,
            "bound": float(np.mean(values[-max(steps // 10, 1) :])),
            "modes": int(np.sum(share > 0.02)),
            "near": float(np.mean(near)),
        }
    return found


def report(found: dict[str, dict[str, Any]]) -> None:
    """What each critic led to."""
    table(
        ("critic", "modes of 8", "points near one", "bound at the end"),
        ((name, row["modes"], f"{row['near']:.0%}", row["bound"]) for name, row in found.items()),
    )


def draw(found: dict[str, dict[str, Any]], figure: Any) -> None:
    """Generated points over the target's."""
    target = np.asarray(ring(jax.random.key(2), 1000))
    panels = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, row) in zip(panels, found.items(), strict=True):
        axes.scatter(*target.T, s=3, color=ORANGE, alpha=0.35, linewidths=0, label="target")
        axes.scatter(*row["points"][:1000].T, s=3, color=BLUE, alpha=0.5, linewidths=0, label="q")
        axes.set(
            title=f"{name}: {row['modes']} of {MODES}", xlabel="x₁", xlim=(-3, 3), ylim=(-3, 3)
        )
        axes.set_aspect("equal")
    panels[0].set_ylabel("x₂")
    panels[0].legend(frameon=True, loc="center", markerscale=4, fontsize=9, handletextpad=0.2)


def go(arguments: Sequence[str] | None = None) -> Any:
    """The command."""
    return main(__doc__, "f_gan", run, report, draw, (12, 3.5), arguments)


if __name__ == "__main__":
    go()
