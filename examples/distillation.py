"""Distillation of a digits classifier into a small one, at several temperatures.

The student learns from the teacher's probabilities softmax(z / T) by T^2 KL(teacher || student),
both at temperature T, whose gradient keeps its size as T grows (Hinton, Vinyals and Dean, arXiv
1503.02531). It sees images without labels, 300 of them; the comparison is a student that learns
from the labels of as many.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import BLUE, ORANGE, main, table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import jaxdiv as jd

TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
FEW, CLASSES = 300, 10
Weights = list[tuple[jax.Array, jax.Array]]


def data() -> tuple[jax.Array, ...]:
    """Images scaled to [0, 1] and labels, for training and for testing."""
    loaded: Any = load_digits()
    x, x_test, y, y_test = train_test_split(
        loaded.data / 16, loaded.target, test_size=0.4, random_state=0
    )
    images = (jnp.asarray(z, jnp.float32) for z in (x, x_test))
    return *images, jnp.asarray(y, jnp.int32), jnp.asarray(y_test, jnp.int32)


def network(key: jax.Array, sizes: Sequence[int]) -> Weights:
    """Weights of a network of ReLUs."""
    layers = []
    keys = jax.random.split(key, len(sizes) - 1)
    for own, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True):
        layers.append((jax.random.normal(own, (n, m)) * jnp.sqrt(2 / n), jnp.zeros((1, m))))
    return layers


def apply(layers: Weights, x: jax.Array) -> jax.Array:
    """Logits, (batch, classes)."""
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


@functools.partial(jax.jit, static_argnums=(0, 1))
def train(
    sizes: Sequence[int], steps: int, key: jax.Array, x: jax.Array, targets: Any, temperature: Any
) -> Weights:
    """A network trained on all of x by T^2 KL(targets || network at temperature T)."""
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, steps))
    layers = network(key, sizes)

    def loss(layers: Weights) -> jax.Array:
        q = jd.Logits(apply(layers, x), temperature)
        return temperature**2 * jnp.mean(jd.kl_divergence(targets, q))

    def step(carry: Any, _: Any) -> Any:
        layers, state = carry
        updates, state = optimizer.update(jax.grad(loss)(layers), state)
        return (optax.apply_updates(layers, updates), state), None

    (layers, _), _ = jax.lax.scan(step, (layers, optimizer.init(layers)), length=steps)
    return layers


def run(*, small: bool = False) -> dict[str, Any]:
    """Accuracies of teacher and students, and the students' KL from the teacher."""
    x, x_test, y, y_test = data()
    steps, seeds = (20, 2) if small else (600, 8)
    temperatures = TEMPERATURES[1:3] if small else TEMPERATURES
    teacher = train((64, 128, CLASSES), steps, jax.random.key(0), x, jd.Labels(y, CLASSES), 1.0)
    of_teacher = apply(teacher, x_test)
    student = (64, 12, CLASSES)

    def accuracy(z: jax.Array) -> jax.Array:
        return jnp.mean(jnp.argmax(z, -1) == y_test)

    def score(layers: Weights) -> tuple[jax.Array, jax.Array]:
        z = apply(layers, x_test)
        apart = jnp.mean(jd.kl_divergence(jd.Logits(of_teacher), jd.Logits(z)))
        return accuracy(z), apart

    def students(targets: Any, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        keys = jax.random.split(jax.random.key(1), seeds)
        rows = [score(train(student, steps, key, x[:FEW], targets, temperature)) for key in keys]
        hits, apart = zip(*rows, strict=True)
        return np.asarray(hits), np.asarray(apart)

    few = apply(teacher, x[:FEW])
    return {
        "teacher": float(accuracy(of_teacher)),
        "labels": students(jd.Labels(y[:FEW], CLASSES), 1.0),
        "distilled": {t: students(jd.Logits(few, t), t) for t in temperatures},
    }


def _row(name: str, hits: np.ndarray, apart: np.ndarray) -> tuple[str, str, str, float]:
    error = hits.std(ddof=1) / np.sqrt(len(hits))
    return name, f"{hits.mean():.2%}", f"{error:.2%}", float(apart.mean())


def report(found: dict[str, Any]) -> None:
    """Accuracy on held-out digits, over seeds, and KL from the teacher."""
    rows = [_row("300 labels", *found["labels"])]
    rows += [_row(f"teacher, T = {t:g}", *row) for t, row in found["distilled"].items()]
    print(f"teacher: {found['teacher']:.2%}\n")
    table(("student of", "accuracy", "± error", "KL(teacher || student)"), rows)


def draw(found: dict[str, Any], figure: Any) -> None:
    """Accuracy by temperature."""
    axes = figure.subplots()
    t = list(found["distilled"])
    hits = np.stack([row[0] for row in found["distilled"].values()])
    error = hits.std(1, ddof=1) / np.sqrt(hits.shape[1])
    axes.errorbar(t, 100 * hits.mean(1), yerr=200 * error, fmt="o-", color=BLUE, capsize=3,
                  label="student of the teacher, ± 2 errors")  # fmt: skip
    labels = found["labels"][0]
    axes.axhline(100 * labels.mean(), color=ORANGE, linestyle="--", label="student of 300 labels")
    axes.axhline(100 * found["teacher"], color="0.5", linewidth=1, label="teacher")
    axes.set_xscale("log", base=2)
    axes.set_xticks(t, [f"{x:g}" for x in t])
    axes.set(xlabel="temperature T", ylabel="accuracy on held-out digits, %")
    axes.legend(frameon=False, fontsize=9)


def go(arguments: Sequence[str] | None = None) -> Any:
    """The command."""
    return main(__doc__, "distillation", run, report, draw, (7, 4), arguments)


if __name__ == "__main__":
    go()
