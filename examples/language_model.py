"""A language model of Python's own documentation, distilled into a smaller one.

A teacher, a transformer of two blocks, learns the next words of the text of `help("topics")`, which
ships with Python. Students of one narrow block learn from the teacher's whole distribution, by
forward KL, reverse KL, Jensen and Shannon's divergence and a skewed KL, and one of them from the
text alone. Teacher and students end in a `Head`, so that no logits are ever kept.

Forward KL makes a student cover all that the teacher thinks possible: it is the best one at the
text, and of the teacher's students the most spread out. Reverse KL makes it keep to what the
teacher finds likely. A word that the student proposes is accepted in speculative decoding with the
probability 1 - TV.
"""

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pydoc_data import topics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import BLUE, ORANGE, main, table

import jaxdiv as jd

VOCABULARY, LENGTH, BATCH = 2000, 32, 16
TEACHER, STUDENT = (64, 2), (12, 1)  # width and blocks
Model = dict[str, Any]

# Of the teacher's head, the student's head and the words that follow, one number a row.
OBJECTIVES: dict[str, Callable[[Any, Any, Any], jax.Array]] = {
    "text alone": lambda teacher, student, words: jd.cross_entropy(words, student),
    "forward KL": lambda teacher, student, words: jd.kl_divergence(teacher, student),
    "reverse KL": lambda teacher, student, words: jd.reverse_kl_divergence(teacher, student),
    "JS": lambda teacher, student, words: jd.js_divergence(teacher, student),
    "skew KL 0.1": lambda teacher, student, words: jd.skew_kl_divergence(teacher, student, 0.1),
}
MEASURES: dict[str, Callable[[Any, Any, Any], jax.Array]] = {
    "cross-entropy": OBJECTIVES["text alone"],
    "KL(t || s)": OBJECTIVES["forward KL"],
    "KL(s || t)": OBJECTIVES["reverse KL"],
    "accepted": lambda teacher, student, words: 1 - jd.total_variation(teacher, student),
    "entropy": lambda teacher, student, words: jd.entropy(student),
}


def data() -> tuple[jax.Array, jax.Array]:
    """Words as integers, for training and for testing; the rare ones are all the last one."""
    text = " ".join(topics.topics[name] for name in sorted(topics.topics))
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    known = [word for word, _ in Counter(words).most_common(VOCABULARY - 1)]
    number = {word: i for i, word in enumerate(known)}
    found = np.asarray([number.get(word, VOCABULARY - 1) for word in words], np.int32)
    # One stretch of ten is held out, so that both halves know all topics.
    stretches = found[: len(found) // 1000 * 1000].reshape(-1, 1000)
    held = np.arange(len(stretches)) % 10 == 9
    return jnp.asarray(stretches[~held]), jnp.asarray(stretches[held])


def model(key: jax.Array, width: int, blocks: int) -> Model:
    """Weights of a transformer whose head is its embedding."""
    keys = iter(jax.random.split(key, 2 + 4 * blocks))

    def draw(*shape: int) -> jax.Array:
        return jax.random.normal(next(keys), shape) / np.sqrt(shape[0])

    return {
        "embedding": jax.random.normal(next(keys), (VOCABULARY, width)) / np.sqrt(width),
        "position": 0.1 * jax.random.normal(next(keys), (LENGTH, width)),
        "bias": jnp.zeros(VOCABULARY),
        "blocks": [
            {
                "attend": draw(width, 3 * width),
                "merge": draw(width, width),
                "widen": draw(width, 4 * width),
                "narrow": draw(4 * width, width),
            }
            for _ in range(blocks)
        ],
    }


def norm(x: jax.Array) -> jax.Array:
    """Vectors of mean square 1."""
    return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)


def head(weights: Model, words: jax.Array) -> jd.Head:
    """The distributions of the next words, (batch, length)."""
    x = weights["embedding"][words] + weights["position"]
    batch, length, width = x.shape
    for block in weights["blocks"]:
        parts = (norm(x) @ block["attend"]).reshape(batch, length, 3, 4, width // 4)
        query, key, value = (parts[:, :, i] for i in range(3))
        attended = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        x = x + attended.reshape(x.shape) @ block["merge"]
        x = x + jax.nn.gelu(norm(x) @ block["widen"]) @ block["narrow"]
    return jd.Head(norm(x), weights["embedding"].T, weights["bias"])


def windows(key: jax.Array, stretches: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Words and the words that follow them, (count, LENGTH)."""
    one, two = jax.random.split(key)
    row = jax.random.randint(one, (count,), 0, len(stretches))
    start = jax.random.randint(two, (count,), 0, stretches.shape[1] - LENGTH)
    found = jax.vmap(lambda i, j: jax.lax.dynamic_slice(stretches[i], (j,), (LENGTH + 1,)))(
        row, start
    )  # fmt: skip
    return found[:, :-1], found[:, 1:]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def train(
    objective: str, size: tuple[int, int], steps: int, key: jax.Array, text: jax.Array, teacher: Any
) -> Model:
    """A model trained by the mean of an objective over rows."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.01, steps // 20 + 1, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    first, key = jax.random.split(key)
    weights = model(first, *size)

    def loss(weights: Model, words: jax.Array, following: jax.Array) -> jax.Array:
        taught = None if teacher is None else head(teacher, words)
        return jnp.mean(OBJECTIVES[objective](taught, head(weights, words), jd.Labels(following)))

    def step(carry: Any, key: jax.Array) -> Any:
        weights, state = carry
        value, slope = jax.value_and_grad(loss)(weights, *windows(key, text, BATCH))
        updates, state = optimizer.update(slope, state)
        return (optax.apply_updates(weights, updates), state), value

    carry = weights, optimizer.init(weights)
    (weights, _), _ = jax.lax.scan(step, carry, jax.random.split(key, steps))
    return weights


@functools.partial(jax.jit, static_argnums=0)
def score(count: int, student: Model, teacher: Model, text: jax.Array) -> dict[str, jax.Array]:
    """Means of all measures over held-out words."""
    words, following = windows(jax.random.key(7), text, count)
    sides = head(teacher, words), head(student, words), jd.Labels(following)
    return {name: jnp.mean(measure(*sides)) for name, measure in MEASURES.items()}


def run(*, small: bool = False) -> dict[str, dict[str, float]]:
    """Measures of every student, and of the teacher."""
    text, held = data()
    steps, count = (3, 4) if small else (1200, 256)
    teacher = train("text alone", TEACHER, steps, jax.random.key(0), text, None)
    found = {"teacher": score(count, teacher, teacher, held)}
    for name in list(OBJECTIVES)[: 2 if small else None]:
        student = train(name, STUDENT, steps, jax.random.key(1), text, teacher)
        found[name] = score(count, student, teacher, held)
    return {name: {key: float(row[key]) for key in MEASURES} for name, row in found.items()}


def report(found: dict[str, dict[str, float]]) -> None:
    """In nats a word."""
    table(
        ("student by", *MEASURES),
        ((name, *(f"{value:.3f}" for value in row.values())) for name, row in found.items()),
    )


def draw(found: dict[str, dict[str, float]], figure: Any) -> None:
    """Both KL of each student, and its entropy beside the teacher's."""
    left, right = figure.subplots(1, 2, sharey=True)
    names = [name for name in found if name != "teacher"]
    places = np.arange(len(names))[::-1]
    for key, color, marker in (("KL(t || s)", BLUE, "o"), ("KL(s || t)", ORANGE, "s")):
        values = [found[name][key] for name in names]
        left.plot(values, places, marker, color=color, label=key.replace("||", "‖"))
    left.set_yticks(places, names)
    left.set_xlim(left=0)
    left.set_xlabel("from the teacher, held-out words, nats")
    left.legend(frameon=False)
    right.plot([found[name]["entropy"] for name in names], places, "D", color=BLUE)
    right.axvline(found["teacher"]["entropy"], color="0.5", linewidth=1)
    right.annotate("teacher", (found["teacher"]["entropy"], places[0] + 0.35), xytext=(4, 0),
                   textcoords="offset points", color="0.35", fontsize=9)  # fmt: skip
    right.set_xlabel("entropy of the next word, nats")
    for axes in (left, right):
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.set_ylim(-0.5, len(names) - 0.4)


def go(arguments: Sequence[str] | None = None) -> Any:
    """The command."""
    return main(__doc__, "language_model", run, report, draw, (9, 3.6), arguments)


if __name__ == "__main__":
    go()
