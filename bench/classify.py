"""Four losses on handwritten digits, from an ordinary start and from a confidently wrong one.

The wrong start is a classifier that learned wrong answers, its logits scaled to a stated margin.
There the gradient of a cross-entropy by the logits is as large as it gets, while that of squared
error after softmax carries the factor q (1 - q) and vanishes. Every loss trains the same model, on
the same batches, at the rate that was best for it, for that optimiser and from that start.
"""

import dataclasses
import functools
import itertools
import statistics
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdiv as jd
from jaxdiv import _picture as picture

from . import report

TRAIN, TEST = 1400, 397  # the rest of the digits, written by other people
BATCH, SMOOTHING, MARGIN = 100, 0.1, 10.0
STEPS, QUICK_STEPS = 1000, 100
SEEDS, QUICK_SEEDS = 7, 3
SHARES = (0.5, 0.9)
ORDINARY, WRONG = "ordinary", "confidently wrong"
POINTS = 40  # of a curve that are kept

ATTRIBUTES = {
    "even": (0, 2, 4, 6, 8),
    "prime": (2, 3, 5, 7),
    "at least 5": (5, 6, 7, 8, 9),
    "a closed loop": (0, 6, 8, 9),
}


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss of logits and targets, one number an example."""

    name: str
    function: Callable[[jax.Array, jax.Array], jax.Array]
    labels: int = 1  # targets an example: a digit, or so many attributes

    @property
    def outputs(self) -> int:
        return 10 if self.labels == 1 else self.labels


def _sigmoid_cross_entropy(z: jax.Array, y: jax.Array) -> jax.Array:
    p, q = jnp.stack([1 - y, y], -1), jnp.stack([jnp.zeros_like(z), z], -1)
    return jd.cross_entropy(jd.Probs(p), jd.Logits(q)).sum(-1)


def _smoothed_kl(z: jax.Array, y: jax.Array) -> jax.Array:
    return jd.kl_divergence(jd.Labels(y, smoothing=SMOOTHING), jd.Logits(z))


LOSSES = (
    Loss("cross-entropy", lambda z, y: jd.cross_entropy(jd.Labels(y), jd.Logits(z))),
    Loss("KL, smoothed labels", _smoothed_kl),
    Loss("squared error", lambda z, y: jd.squared_euclidean(jd.Labels(y), jd.Logits(z))),
    Loss("sigmoid cross-entropy", _sigmoid_cross_entropy, labels=len(ATTRIBUTES)),
)
CROSS_ENTROPY, SMOOTHED, SQUARED, SIGMOID = LOSSES

OPTIMIZERS: dict[str, tuple[Callable[[Any], optax.GradientTransformation], list[float]]] = {
    "SGD, momentum 0.9": (
        lambda rate: optax.sgd(rate, momentum=0.9),
        [0.03, 0.1, 0.3, 1, 3, 10, 30],
    ),
    "Adam": (optax.adam, [0.003, 0.01, 0.03, 0.1, 0.3, 1]),
}
QUICK_RATES = [0.3, 1]  # of the first optimiser alone
TEACHING = ("SGD, momentum 0.9", 0.1)  # of wrong answers

PACKAGES = ("jaxdiv", "jax", "jaxlib", "numpy", "optax")


def logits(parameters: Any, images: jax.Array) -> jax.Array:
    """Linear in the pixels, so the cross-entropies are convex and the squared error is not."""
    return images @ parameters["weight"] + parameters["bias"]


def right(z: jax.Array, y: jax.Array) -> jax.Array:
    """Which examples are right: the digit, or every attribute."""
    return z.argmax(-1) == y if y.ndim == 1 else jnp.all((z > 0) == (y > 0.5), -1)


def wrong_margin(z: jax.Array, y: jax.Array) -> jax.Array:
    """How far the best wrong answer is above the right one, for each target."""
    if y.ndim == 2:
        return (1 - 2 * y) * z
    true = jnp.arange(z.shape[-1])[None] == y[:, None]
    return jnp.where(true, -jnp.inf, z).max(-1) - jnp.where(true, z, -jnp.inf).max(-1)


def _fresh(loss: Loss, seeds: int) -> Any:
    """Ordinary starts: small normal weights, biases 0."""

    def one(seed: jax.Array) -> Any:
        weight = jax.random.normal(jax.random.key(seed), (64, loss.outputs)) / 8
        return {"weight": weight, "bias": jnp.zeros((1, loss.outputs))}

    return jax.vmap(one)(jnp.arange(seeds))


def _batches(train: int, seeds: int, steps: int) -> jax.Array:
    """Which examples each step sees: shuffled epochs, one after the other."""
    epochs = -(-steps * BATCH // train)
    rows = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        order = np.concatenate([random.permutation(train) for _ in range(epochs)])
        rows.append(order[: steps * BATCH].reshape(steps, BATCH))
    return jnp.asarray(np.stack(rows))


@functools.partial(jax.jit, static_argnames=("loss", "optimizer"))
def _train(
    loss: Loss,
    optimizer: Callable[[Any], optax.GradientTransformation],
    rate: jax.Array,
    starts: Any,
    batches: jax.Array,
    data: tuple[jax.Array, jax.Array],
    held_out: jax.Array,
) -> tuple[Any, jax.Array]:
    """Where each seed ends, and its accuracy on the held-out rows before and after each step."""
    images, targets = data
    rule = optimizer(rate)

    def accuracy(parameters: Any) -> jax.Array:
        return right(logits(parameters, images[held_out]), targets[held_out]).mean()

    def mean_loss(parameters: Any, rows: jax.Array) -> jax.Array:
        return loss.function(logits(parameters, images[rows]), targets[rows]).mean()

    def step(carry: Any, rows: jax.Array) -> Any:
        parameters, state = carry
        updates, state = rule.update(jax.grad(mean_loss)(parameters, rows), state)
        return (optax.apply_updates(parameters, updates), state), accuracy(parameters)

    def one(start: Any, batches: jax.Array) -> Any:
        (end, _), curve = jax.lax.scan(step, (start, rule.init(start)), batches)
        return end, jnp.append(curve, accuracy(end))

    return jax.vmap(one)(starts, batches)


@functools.partial(jax.jit, static_argnames="loss")
def gradient_norm(loss: Loss, parameters: Any, images: jax.Array, targets: jax.Array) -> jax.Array:
    """Of the mean loss by all parameters, for each seed."""

    def one(parameters: Any) -> jax.Array:
        slope = jax.grad(lambda w: loss.function(logits(w, images), targets).mean())(parameters)
        return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope)))

    return jax.vmap(one)(parameters)


@dataclasses.dataclass(frozen=True, eq=False)
class _Setting:
    """The sizes of a run and the data: images with the digits and with their attributes."""

    steps: int
    seeds: int
    images: jax.Array
    digits: jax.Array
    attributes: jax.Array

    def targets(self, loss: Loss) -> jax.Array:
        return self.digits if loss.labels == 1 else self.attributes

    def train(
        self, loss: Loss, optimizer: str, rate: float, starts: Any, targets: jax.Array, size: int
    ) -> tuple[Any, jax.Array]:
        """Train on the first `size` digits and watch the `TEST` digits that follow them."""
        rule = OPTIMIZERS[optimizer][0]
        batches = _batches(size, self.seeds, self.steps)
        data, held_out = (self.images, targets), size + jnp.arange(TEST)
        return _train(loss, rule, jnp.float32(rate), starts, batches, data, held_out)

    def margins(self, loss: Loss, starts: Any, size: int) -> jax.Array:
        """Of each seed and each target that it trains on."""
        y = self.targets(loss)[:size]
        found = jax.vmap(lambda w: wrong_margin(logits(w, self.images[:size]), y))(starts)
        return found.reshape(self.seeds, -1)

    @functools.cache  # noqa: B019 (one setting lives as long as the measurement)
    def wrong_starts(self, teacher: Loss, size: int) -> Any:
        """What learned wrong answers, scaled so that the mean margin is `MARGIN`."""
        y = self.targets(teacher)
        false = (y + 1) % 10 if teacher.labels == 1 else 1 - y
        fresh = _fresh(teacher, self.seeds)
        learned, _ = self.train(teacher, *TEACHING, fresh, false, size)
        scale = MARGIN / self.margins(teacher, learned, size).mean(1)
        return jax.tree.map(lambda x: x * scale[:, None, None], learned)

    def starts(self, loss: Loss, start: str, size: int) -> Any:
        """Parameters for each seed, the same for all losses of the same targets."""
        if start == ORDINARY:
            return _fresh(loss, self.seeds)
        return self.wrong_starts(CROSS_ENTROPY if loss.labels == 1 else SIGMOID, size)


def _setting(quick: bool) -> _Setting:
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    attributes = np.stack([np.isin(digits, which) for which in ATTRIBUTES.values()], -1)
    return _Setting(
        QUICK_STEPS if quick else STEPS,
        QUICK_SEEDS if quick else SEEDS,
        jnp.asarray(images / 16, jnp.float32),
        jnp.asarray(digits, jnp.int32),
        jnp.asarray(attributes, jnp.float32),
    )


def first_reach(curve: np.ndarray, level: float) -> int | None:
    """The first step after which the accuracy is at least `level`; None if there is none."""
    reached = np.flatnonzero(curve >= level)
    return int(reached[0]) if reached.size else None


def _rounded(values: Any) -> list[float]:
    return [float(f"{x:.4g}") for x in np.asarray(values, float)]


def _cell(
    setting: _Setting, loss: Loss, optimizer: str, start: str, rates: list[float]
) -> tuple[dict[str, Any], np.ndarray]:
    """One loss, optimiser and start: the best rate, and every seed's run and curve at it."""
    targets = setting.targets(loss)
    fitting = TRAIN - TEST  # rates are chosen on the last training digits
    starts = setting.starts(loss, start, fitting)
    tried = {}
    for rate in rates:
        _, curves = setting.train(loss, optimizer, rate, starts, targets, fitting)
        tried[f"{rate:g}"] = float(f"{curves.mean():.4g}")
    rate = float(max(tried, key=lambda rate: tried[rate]))
    starts = setting.starts(loss, start, TRAIN)
    ends, curves = setting.train(loss, optimizer, rate, starts, targets, TRAIN)
    margins = setting.margins(loss, starts, TRAIN)
    slopes = gradient_norm(loss, starts, setting.images[:TRAIN], targets[:TRAIN])
    cell = {
        "optimizer": optimizer,
        "loss": loss.name,
        "start": start,
        "rate": rate,
        "tried": tried,
        "margin": _rounded(margins.mean(1)),
        "wrong_at_start": _rounded((margins > 0).mean(1)),
        "gradient_norm": _rounded(slopes),
        "accuracy": _rounded(curves[:, -1]),
    }
    if loss.labels > 1:
        z = jax.vmap(logits, (0, None))(ends, setting.images[TRAIN:])
        each = (z > 0) == (targets[TRAIN:] > 0.5)[None]
        cell["label_accuracy"] = _rounded(each.mean((1, 2)))
    return cell, np.asarray(curves)


def measure(quick: bool = False) -> dict[str, Any]:
    """Everything that the table and the picture show, as JSON holds it."""
    setting = _setting(quick)
    kept = np.unique(np.geomspace(1, setting.steps, POINTS).round().astype(int))
    kept = np.concatenate([[0], kept])
    cells = []
    with jax.numpy_dtype_promotion("standard"):  # which optax relies on
        for optimizer, loss in itertools.product(list(OPTIMIZERS)[: 1 if quick else None], LOSSES):
            rates = QUICK_RATES if quick else OPTIMIZERS[optimizer][1]
            final = float("nan")
            for start in (ORDINARY, WRONG):
                cell, curves = _cell(setting, loss, optimizer, start, rates)
                if start == ORDINARY:
                    final = float(np.median(curves[:, -1]))
                cell["steps_to"] = {
                    f"{share:g}": [first_reach(curve, share * final) for curve in curves]
                    for share in SHARES
                }
                cell["curves"] = [_rounded(curve[kept]) for curve in curves]
                cells.append(cell)
    header = report.header("classify", quick)
    versions = {name: header["versions"][name] for name in PACKAGES}
    versions["scikit-learn"] = metadata.version("scikit-learn")
    return header | {
        "versions": versions,
        "settings": {
            "train": TRAIN,
            "test": TEST,
            "batch": BATCH,
            "steps": setting.steps,
            "seeds": setting.seeds,
            "smoothing": SMOOTHING,
            "margin": MARGIN,
            "shares": list(SHARES),
            "attributes": {name: list(which) for name, which in ATTRIBUTES.items()},
        },
        "curve_steps": kept.tolist(),
        "cells": cells,
    }


def _spread(values: list[float], scale: float = 1) -> str:
    """Median (lowest–highest)."""
    shown = statistics.median(values), min(values), max(values)
    median, low, high = (report.number(scale * x) for x in shown)
    return f"{median} ({low}–{high})"


def _steps(values: list[int | None], steps: int) -> str:
    """The same, of steps that some seeds may never have reached."""
    order = sorted(float("inf") if value is None else value for value in values)
    shown = statistics.median_low(order), order[0], order[-1]
    median, low, high = (f"> {steps}" if x == float("inf") else f"{x:.0f}" for x in shown)
    return median if low == high else f"{median} ({low}–{high})"


def cells_of(result: dict[str, Any], start: str) -> list[dict[str, Any]]:
    return [cell for cell in result["cells"] if cell["start"] == start]


def _rows(result: dict[str, Any], start: str) -> list[list[str]]:
    steps = result["settings"]["steps"]
    rows = []
    for cell in cells_of(result, start):
        rows.append(
            [
                cell["optimizer"].partition(",")[0],
                cell["loss"],
                f"{cell['rate']:g}",
                _spread(cell["gradient_norm"]),
                *(_steps(values, steps) for values in cell["steps_to"].values()),
                _spread(cell["accuracy"], 100),
            ]
        )
    return rows


def table(result: dict[str, Any]) -> str:
    """The table, made from the JSON alone."""
    settings = result["settings"]
    percent = [f"{100 * share:g} %" for share in settings["shares"]]
    head = ["", "loss", "rate", "gradient", *(f"to {x}" for x in percent), "accuracy, %"]
    labels = [x for cell in result["cells"] for x in cell.get("label_accuracy", [])]
    attributes = ", ".join(settings["attributes"])
    wrong = cells_of(result, WRONG)
    margins = [x for cell in wrong for x in cell["margin"]]
    digits, answers = (
        min(
            x
            for cell in wrong
            if ("label_accuracy" in cell) == several
            for x in cell["wrong_at_start"]
        )
        for several in (False, True)
    )
    ratios = [_ratio(result, start) for start in (WRONG, ORDINARY)]
    return "\n\n".join(
        [
            "# Classifiers",
            report.circumstances(result),
            "![Accuracy against steps](classify.png)",
            f"Softmax regression on the pixels of scikit-learn's handwritten digits: the first "
            f"{settings['train']} are trained on, in batches of {settings['batch']}, and accuracy "
            f"is that on the last {settings['test']}, by other writers. Labels are smoothed by "
            f"{settings['smoothing']:g}. Sigmoid cross-entropy answers "
            f"{len(settings['attributes'])} questions at once ({attributes}) and is right where "
            f"all are; single answers are right in {report.number(100 * min(labels))} to "
            f"{report.number(100 * max(labels))} % at the end.",
            f"Medians (lowest–highest) of {settings['seeds']} seeds; in the picture lines are "
            "medians and shades reach from SGD's lowest to its highest. The gradient is the norm "
            f"of the mean loss's at the start. *To {percent[0]}* and *to {percent[1]}* are the "
            "steps until the accuracy is first that part of what the same loss and optimiser end "
            f"with from an ordinary start, over {settings['steps']} steps. SGD has momentum 0.9. "
            "The rate is the one of a grid with the highest mean accuracy over the run on digits "
            "held out of the training set, for each loss, optimiser and start.",
            "From an ordinary start:",
            report.markdown(head, _rows(result, ORDINARY)),
            f"From a confidently wrong start, a classifier that was taught the next digit (the "
            f"opposite answers) and scaled until the wrong answer's logit is on average "
            f"{statistics.mean(margins):.1f} above the right one's. With every "
            f"seed at least {_floor(digits)} % of the training digits ({_floor(answers)} % of the "
            f"answers) are wrong there. Squared error's gradient is {ratios[0]} of "
            f"cross-entropy's, and {ratios[1]} from an ordinary start:",
            report.markdown(head, _rows(result, WRONG)),
        ]
    )


def _floor(share: float) -> str:
    return f"{np.floor(1000 * share) / 10:g}"


def _ratio(result: dict[str, Any], start: str) -> str:
    """Squared error's gradient norm over cross-entropy's, which have the same starts."""
    norms = {cell["loss"]: cell["gradient_norm"] for cell in cells_of(result, start)}
    pairs = zip(norms[SQUARED.name], norms[CROSS_ENTROPY.name], strict=True)
    return f"{100 * statistics.median(a / b for a, b in pairs):.2g} %"


def draw(result: dict[str, Any], path: Path) -> None:
    """The picture, made from the JSON alone; needs matplotlib."""
    colours = dict(
        zip(
            (loss.name for loss in LOSSES),
            (picture.BLUE, picture.GREEN, picture.ORANGE, picture.PINK),
            strict=True,
        )
    )
    names = {SIGMOID.name: f"{SIGMOID.name}, all {SIGMOID.labels} right"}
    styles = dict(zip(OPTIMIZERS, ("-", (0, (3, 1.5))), strict=True))
    steps = result["curve_steps"]
    used = list(dict.fromkeys(cell["optimizer"] for cell in result["cells"]))

    def lines(axes: Any, cell: dict[str, Any]) -> None:
        colour, curves = colours[cell["loss"]], 100 * np.asarray(cell["curves"])
        first = cell["optimizer"] == used[0]
        axes.plot(
            steps,
            np.median(curves, 0),
            color=colour,
            linewidth=2 if first else 1.2,
            linestyle=styles[cell["optimizer"]],
            label=names.get(cell["loss"], cell["loss"]) if first else None,
        )
        if first:
            low, high = curves.min(0), curves.max(0)
            axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)

    def panels(figure: Any) -> None:
        both = figure.subplots(1, 2, sharey=True)
        figure.get_layout_engine().set(wspace=0.06)
        for axes, start in zip(both, (ORDINARY, WRONG), strict=True):
            for cell in cells_of(result, start):
                lines(axes, cell)
            axes.set_xscale("symlog", linthresh=1, linscale=0.4)
            ticks = [0, *(x for x in (1, 10, 100, 1000) if x <= steps[-1])]
            axes.set_xticks(ticks, [str(x) for x in ticks])
            axes.set_xlim(0, steps[-1])
            axes.set_ylim(0, 100)
            axes.set_xlabel(f"steps from {'an' if start == ORDINARY else 'a'} {start} start")
        both[0].set_ylabel("accuracy on the test digits, %")
        for name in used:
            style = {"linestyle": styles[name], "linewidth": 2 if name == used[0] else 1.2}
            both[0].plot([], [], color="0.4", label=name, **style)
        handles, labels = both[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, frameon=False, fontsize=10, loc="outside upper center", ncols=3
        )

    picture.save(panels, path, height=4.2)
