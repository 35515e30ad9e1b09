"""KL = cross-entropy - entropy: when the entropy matters, and when not."""

import jax
import jax.numpy as jnp
import optax

import jaxdiv as jd

from .page import Page

NAME = "training"
TITLE = "When is minimising cross-entropy minimising KL?"

STEPS = 2000


def descend(loss, start: jax.Array, rate: float = 0.05, steps: int = STEPS) -> jax.Array:
    """Where Adam takes `start`."""
    optimizer = optax.adam(rate)

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(jax.grad(loss)(x), state)
        return (optax.apply_updates(x, updates), state), None

    run = jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), length=steps)[0][0])
    return run(start)


def tell(page: Page) -> None:
    """Gradients for a fixed p, then a p that moves: a generator and a policy."""
    p = jnp.asarray([0.5, 0.3, 0.2])
    z = jnp.asarray([0.2, -1.0, 0.7])
    ce, kl = jd.cross_entropy(p, jd.Logits(z)), jd.kl_divergence(p, jd.Logits(z))
    page.text(
        "A classifier's labels p are fixed, its prediction q = softmax(z) moves. At p = (0.5, "
        "0.3, 0.2), z = (0.2, -1, 0.7), in nats:"
    )
    page.table(
        ("", "value"),
        (
            ("cross-entropy", ce),
            ("KL", kl),
            ("difference", ce - kl),
            ("entropy of p", jd.entropy(p)),
        ),
    )
    by_ce = jax.grad(lambda z: jd.cross_entropy(p, jd.Logits(z)))(z)
    by_kl = jax.grad(lambda z: jd.kl_divergence(p, jd.Logits(z)))(z)
    page.table(
        ("gradient with respect to z", "1", "2", "3"),
        (("of cross-entropy", *by_ce), ("of KL", *by_kl), ("q - p", *(jax.nn.softmax(z) - p))),
    )
    page.text(
        "The entropy of p is constant, so the gradients are the same: minimising "
        "cross-entropy is minimising KL, and the loss that is left at the end is the entropy."
    )
    q = jnp.asarray([0.5, 0.3, 0.2])
    start = jnp.asarray([0.3, 0.0, 0.1])
    by_kl = jax.nn.softmax(descend(lambda w: jd.kl_divergence(jd.Logits(w), q), start))
    by_ce = jax.nn.softmax(descend(lambda w: jd.cross_entropy(jd.Logits(w), q), start))
    page.text(
        "Not so when p moves, as a GAN's generator or a policy in reinforcement learning "
        f"does. {STEPS} steps of Adam on p, with q = (0.5, 0.3, 0.2) fixed:"
    )
    page.table(
        ("minimise over p", "p1", "p2", "p3", "KL(p || q)"),
        (
            (
                "KL(p || q)",
                *(f"{float(x):.3f}" for x in by_kl),
                f"{float(jd.kl_divergence(by_kl, q)):.3f}",
            ),
            (
                "cross-entropy H(p, q)",
                *(f"{float(x):.3f}" for x in by_ce),
                f"{float(jd.kl_divergence(by_ce, q)):.3f}",
            ),
        ),
    )
    page.text(
        "Without its entropy p collapses onto q's likeliest outcome: the generator makes one "
        "picture, the policy takes one action."
    )
    fake = jnp.asarray([0.2, 0.2, 0.6])
    best = q / (q + fake)  # the optimal discriminator
    game = float(jnp.sum(q * jnp.log(best) + fake * jnp.log(1 - best)))
    js = float(jd.js_divergence(q, fake))
    page.text(
        "A GAN's game value against the best discriminator is 2 JS - 2 log 2. For data q and "
        f"a generator at (0.2, 0.2, 0.6): {game:.6f} played, "
        f"{2 * js - 2 * float(jnp.log(2.0)):.6f} from JS = {js:.6f}."
    )
    reward, beta = jnp.asarray([1.0, 2.0, 0.5]), 0.5

    def regret(w):
        policy = jd.Logits(w)
        return beta * jd.kl_divergence(policy, q) - jnp.sum(jax.nn.softmax(w) * reward)

    learned = jax.nn.softmax(descend(regret, start))
    tilted = jax.nn.softmax(jnp.log(q) + reward / beta)
    page.text(
        "A policy that maximises reward - 0.5 KL(policy || q), with rewards (1, 2, 0.5), "
        "should become q exp(reward / 0.5), normalised:"
    )
    page.table(
        ("policy", "1", "2", "3"),
        (
            ("learned", *(f"{float(x):.4f}" for x in learned)),
            ("theory", *(f"{float(x):.4f}" for x in tilted)),
        ),
    )
