"""Zeros, masks and p = q: what each library returns where the formula alone does not say."""

import math
from typing import Any

import numpy as np

from . import report
from .peers import Peer

_INF = math.inf
_LOG2 = math.log(2)

# Name, noun, p, q, KL(p ‖ q).
CASES: dict[str, tuple[str, list[float], list[float], float]] = {
    "0 in p": ("probs", [0.5, 0.5, 0.0], [0.25, 0.25, 0.5], _LOG2),
    "0 in q": ("probs", [0.25, 0.25, 0.5], [0.5, 0.5, 0.0], _INF),
    "0 in both": ("probs", [0.5, 0.5, 0.0], [0.25, 0.75, 0.0], 0.5 * math.log(4 / 3)),
    "−inf in p": ("logits", [0.0, 0.0, -_INF], [0.0, 0.0, math.log(2)], _LOG2),
    "−inf in q": ("logits", [0.0, 0.0, math.log(2)], [0.0, 0.0, -_INF], _INF),
    "−inf in both": ("logits", [0.0, 0.0, -_INF], [0.0, math.log(3), -_INF], 0.5 * math.log(4 / 3)),
}

LEGEND = (
    "✓: the right value, no NaN in the gradients by p and by q, and from logits softmax(q) − "
    "softmax(p) as the one by q (scipy: the value alone). p = q: random rows of 10 logits for "
    "which the value, or the gradient by q, is not exactly 0. Hessian: rows where the float32 "
    "Hessian by q at p = q has a negative eigenvalue. By probabilities it is diag(1/p), or "
    "singular for a call that renormalises; by logits it is singular for all, as a constant moves "
    "nothing, and rounding decides the sign of that eigenvalue."
)


def measure(peer: Peer, rows: int) -> dict[str, Any]:
    """Each case's value and verdict, and the three counts at p = q, in float32."""
    found: dict[str, Any] = {"cases": {}}
    for name, (noun, p, q, want) in CASES.items():
        f = peer.probs if noun == "probs" else peer.logits
        a, b = np.array([p], np.float32), np.array([q], np.float32)
        value = float(peer.backend.value(f, a, b)[0])
        problems = []
        if not (value == want or abs(value - want) <= 1e-5):
            problems.append(f"value {_name(value)}")
        gradient = peer.backend.gradient(f, a, b)
        for by, array in zip("pq", gradient or (), strict=False):
            if np.isnan(array).any():
                problems.append(f"∂{by} NaN")
        if gradient is not None and noun == "logits" and not np.isnan(gradient[1]).any():
            slope = _softmax(b) - _softmax(a)  # also where the value is infinite
            if abs(gradient[1] - slope).max() > 1e-5:
                problems.append("∂q wrong")
        found["cases"][name] = {"value": _name(value), "problems": problems}

    logits = np.random.default_rng(0).standard_normal((rows, 10)).astype(np.float32)
    probs = _softmax(logits).astype(np.float32)
    found["rows"] = rows
    found["nonzero_value"] = int((peer.backend.value(peer.logits, logits, logits) != 0).sum())
    gradient = peer.backend.gradient(peer.logits, logits, logits)
    found["nonzero_gradient"] = None if gradient is None else int(gradient[1].any(-1).sum())
    for noun, f, points in (("logits", peer.logits, logits), ("probs", peer.probs, probs)):
        found[f"hessian_{noun}"] = _spectrum(peer.backend.hessian(f, points))
    return found


def _softmax(logits: Any) -> Any:
    weights = np.exp(logits.astype(np.float64))
    return weights / weights.sum(-1, keepdims=True)


def _spectrum(hessian: Any) -> dict[str, Any] | None:
    """How many rows have a negative eigenvalue, and the worst one beside the row's largest.

    The eigenvalues are those of the float32 matrix, computed in float64.
    """
    if hessian is None:
        return None
    values = np.linalg.eigvalsh((hessian + np.swapaxes(hessian, -1, -2)) / 2)
    relative = values[:, 0] / values[:, -1]
    return {"negative": int((values[:, 0] < 0).sum()), "worst_relative": float(relative.min())}


def _name(value: float) -> str:
    return report.number(value) if math.isfinite(value) else str(value).replace("nan", "NaN")


def table(result: dict[str, Any]) -> str:
    """A row for each call, made from the JSON alone."""
    head = ["at the edges", *CASES, "p = q: value ≠ 0", "gradient ≠ 0"]
    head += ["Hessian < 0 by logits", "by probabilities"]
    rows = []
    for name in result["calls"]:
        if name in result["not_installed"]:
            rows.append([name, "not installed"] + [""] * (len(head) - 2))
            continue
        found = result["edges"][name]
        row = [name] + [", ".join(found["cases"][case]["problems"]) or "✓" for case in CASES]
        counts = [found["nonzero_value"], found["nonzero_gradient"]]
        for noun in ("logits", "probs"):
            spectrum = found[f"hessian_{noun}"]
            counts.append(None if spectrum is None else spectrum["negative"])
        row += ["–" if n is None else f"{100 * n / found['rows']:.0f} %" for n in counts]
        rows.append(row)
    return report.markdown(head, rows)
