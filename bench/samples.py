"""Estimates from samples: k-NN KL beside scipy's k-d tree, and means beside the truth.

Time is of KL of 1e4 points against 1e4 standard normal ones, one shifted by 0.2, with k = 5, of the
same stored numbers, without compilation, contestants in turns in one process; scipy's
`cKDTree` builds both trees and queries them in float64, with one worker and with two, and jaxdiv
has the threads that XLA takes. Means are over independent samples; z is their distance from the
truth (quadrature, or a closed form) in standard errors. Of k-NN, those with k = 5 and of the points
of x alone are there to show bias. Errors by subsampling are compared with the
standard deviation over those samples.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate, spatial, stats

import jaxdiv as jd

from . import report

_K = 5
_tree: Any = vars(spatial)["cKDTree"]


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Times, values and means."""
    result = report.header("samples", quick)
    result["time"] = list(_times(quick))
    result["means"] = list(_means(quick))
    result["errors"] = list(_errors(quick))
    return result


def _tree_kl(x: np.ndarray, y: np.ndarray, workers: int) -> float:
    rho = _tree(x).query(x, k=[_K + 1], workers=workers)[0][:, 0]
    nu = _tree(y).query(x, k=[_K], workers=workers)[0][:, 0]
    return x.shape[1] * np.mean(np.log(nu / rho)) + math.log(len(y) / (len(x) - 1))


def _times(quick: bool) -> Iterator[dict[str, Any]]:
    n = 500 if quick else 10**4
    rng = np.random.default_rng(0)
    for d, turns in ((2, 7), (8, 7), (32, 3)):
        single = [rng.normal(size=(n, d)).astype(np.float32) for _ in range(2)]
        single[1] += np.float32(0.2)
        double = [z.astype(np.float64) for z in single]

        def ours(x: np.ndarray, y: np.ndarray) -> float:
            with jax.enable_x64(x.dtype == np.float64):
                return float(jd.samples.knn_kl(x, y, _K))

        calls: dict[str, Callable[[], float]] = {
            "jaxdiv float32": lambda: ours(*single),  # noqa: B023
            "jaxdiv float64": lambda: ours(*double),  # noqa: B023
            "cKDTree": lambda: _tree_kl(*double, workers=1),  # noqa: B023
            "cKDTree, workers=2": lambda: _tree_kl(*double, workers=2),  # noqa: B023
        }
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        cpu: dict[str, list[float]] = {name: [] for name in calls}
        values = {name: call() for name, call in calls.items()}  # compiles
        for _ in range(2 if quick else turns):
            for name, call in calls.items():
                start, used = time.perf_counter(), time.process_time()
                call()
                seconds[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - used)
        for name in calls:
            yield {
                "dimensions": d, "points": n, "call": name, "value": values[name],
                "difference": abs(values[name] / values["cKDTree"] - 1),
                "seconds": seconds[name], "cpu": cpu[name],
                "ratio": statistics.median(
                    a / b for a, b in zip(seconds[name], seconds["cKDTree"], strict=True)
                ),
            }  # fmt: skip


class _Mixture:
    """0.3 N(-1, 0.5^2) + 0.7 N(1, 1)."""

    def logpdf(self, x: Any) -> Any:
        parts = [np.log(0.3) + stats.norm.logpdf(x, -1, 0.5), np.log(0.7) + stats.norm.logpdf(x, 1)]
        return np.logaddexp(*parts)

    def rvs(self, size: Any, random_state: Any) -> np.ndarray:
        left = random_state.random(size) < 0.3
        normal = random_state.normal(size=size)
        return np.where(left, -1 + 0.5 * normal, 1 + normal)


_CASES: tuple[tuple[str, Any, Any, int, tuple[float, float]], ...] = (
    ("normal, 2 dimensions", stats.norm(0, 1), stats.norm(0.5, 1.3), 2, (-20, 20)),
    ("gamma", stats.gamma(3, scale=1), stats.gamma(4, scale=0.9), 1, (0, 80)),
    ("mixture of normals", _Mixture(), stats.norm(0.5, 1.5), 1, (-20, 20)),
)


def _integral(f: Callable[[float], float], ends: tuple[float, float]) -> float:
    return integrate.quad(f, *ends, limit=500, points=(0.1, 1, 3) if ends[0] == 0 else (-1, 0, 1))[
        0
    ]


def _row(case: str, estimator: str, n: int, values: Any, truth: float) -> dict[str, Any]:
    values = np.asarray(values, np.float64)
    error = float(values.std(ddof=1) / math.sqrt(len(values)))
    mean = float(values.mean())
    return {
        "case": case, "estimator": estimator, "points": n, "samples": len(values), "mean": mean,
        "standard_error": error, "truth": truth, "z": (mean - truth) / error,
    }  # fmt: skip


def _densities(cases: Any, n: int, count: int, k: int, rng: Any) -> Iterator[dict[str, Any]]:
    for case, p, q, d, ends in cases:
        x, y = (z.rvs((count, n, d), random_state=rng) for z in (p, q))

        def log_ratio(t: float) -> Any:
            return p.logpdf(t) - q.logpdf(t)  # noqa: B023

        def density(t: float) -> Any:
            return np.exp(p.logpdf(t))  # noqa: B023

        kl = d * _integral(lambda t: density(t) * log_ratio(t) if density(t) else 0.0, ends)
        root = _integral(lambda t: np.exp((p.logpdf(t) + q.logpdf(t)) / 2), ends)  # noqa: B023
        h = d * _integral(lambda t: -density(t) * p.logpdf(t) if density(t) else 0.0, ends)  # noqa: B023
        with jax.enable_x64(True):  # thousands of float32 numbers of one dimension have ties
            kls, halves = jd.samples.knn_kl(x, y, k), jd.samples.knn_renyi(x, y, 0.5, k)
            alone = jd.samples.knn_renyi(x, y, 0.5, k, points="x")
            entropies = jd.samples.knn_entropy(x, k)
        own = f", k = {k}"
        yield _row(case, "knn_kl" + own, n, kls, kl)
        yield _row(case, "knn_renyi 1/2" + own, n, halves, -2 * d * math.log(root))
        yield _row(case, "knn_renyi 1/2 of x alone" + own, n, alone, -2 * d * math.log(root))
        yield _row(case, "knn_entropy" + own, n, entropies, h)


def _means(quick: bool) -> Iterator[dict[str, Any]]:
    n, count = (200, 5) if quick else (2000, 50)
    rng = np.random.default_rng(1)
    yield from _densities(_CASES[:1], n, count, _K, rng)  # where bias shows
    yield from _densities(_CASES, 2 * n, count, 2, rng)
    a = rng.normal(size=(count, n, 1))
    b = (0.6 * a + 0.8 * rng.normal(size=a.shape)).astype(np.float32)
    a = a.astype(np.float32)
    truth = -math.log(1 - 0.36) / 2
    for variant in (1, 2):
        values = jd.samples.ksg_mutual_information(a, b, variant=variant)
        yield _row("normal pairs, r = 0.6", f"ksg, variant {variant}", n, values, truth)
    x = rng.integers(0, 2, (count, n, 1))
    y = (2 * x - 1 + rng.normal(size=x.shape)).astype(np.float32)

    def both(t: float) -> Any:
        return (stats.norm.pdf(t, 1) + stats.norm.pdf(t, -1)) / 2

    classes = _integral(lambda t: -both(t) * np.log(both(t)), (-12, 12))
    classes -= math.log(2 * math.pi * math.e) / 2
    values = jd.samples.mixed_mutual_information(4 * x.astype(np.float32), y)
    yield _row("a class and a normal variable", "mixed", n, values, classes)
    one = [jd.samples.labelled_mutual_information(b, a[:, 0]) for a, b in zip(x, y, strict=True)]
    yield _row("a class and a normal variable", "labelled", n, one, classes)
    x, y = (rng.normal(size=(count, 200, 3)).astype(np.float32) for _ in range(2))
    kernel = jd.samples.GaussianKernel(1.0)
    mmd = 2 * 3**-1.5 * (1 - math.exp(-0.25 * 3 / 6))
    values = jd.samples.mmd2(x, y + np.float32(0.5), kernel)
    yield _row("normal, shifted, 3 dimensions", "mmd2", 200, values, mmd)
    values = jd.samples.energy_distance(x, y, estimator="unbiased")
    yield _row("normal, equal, 3 dimensions", "energy_distance", 200, values, 0.0)
    stein = [jd.samples.kernel_stein_discrepancy(z, score=-z, kernel=kernel) for z in x]
    yield _row("normal, equal, 3 dimensions", "kernel_stein_discrepancy", 200, stein, 0.0)


def _errors(quick: bool) -> Iterator[dict[str, Any]]:
    """Standard errors by subsampling over the standard deviation that they estimate."""
    n, count = (120, 4) if quick else (600, 60)
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(count, n, 2)), jnp.float32)
    y = jnp.asarray(0.5 + 1.3 * rng.normal(size=(count, n, 2)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), count)
    estimators: dict[str, Any] = {
        "knn_kl": jd.samples.knn_kl,
        "energy_distance": jd.samples.energy_distance,
    }
    for name, estimator in estimators.items():

        @jax.jit
        def run(part: Any) -> Any:
            x, y, key = part
            return jd.samples.subsampled_error(estimator, x, y, key=key, num_subsamples=32)  # noqa: B023

        found = [run(part) for part in zip(x, y, keys, strict=True)]
        values, errors = (np.asarray([float(f[i]) for f in found]) for i in (0, 1))
        inside = np.abs(values - values.mean()) <= 1.96 * errors
        yield {
            "estimator": name, "points": n, "samples": count,
            "deviation": float(values.std(ddof=1)), "mean_error": float(errors.mean()),
            "covered": float(inside.mean()),
        }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = ["# Estimates from samples", "", report.circumstances(result), ""]
    lines += [" ".join((__doc__ or "").split("\n\n")[1].split()), ""]
    rows = [
        [
            str(row["dimensions"]), row["call"], report.number(statistics.median(row["seconds"])),
            report.number(statistics.median(row["cpu"])), report.number(row["ratio"]),
            f"{row['value']:.9f}", report.number(row["difference"]),
        ]
        for row in result["time"]
    ]  # fmt: skip
    head = ["dimensions", "call", "seconds", "CPU seconds", "time / cKDTree's", "KL", "difference"]
    lines += [report.markdown(head, rows), ""]
    rows = [
        [
            row["case"], row["estimator"], str(row["points"]), str(row["samples"]),
            f"{row['mean']:.5f} ± {row['standard_error']:.5f}", f"{row['truth']:.5f}",
            f"{row['z']:+.1f}",
        ]
        for row in result["means"]
    ]  # fmt: skip
    head = ["of", "estimator", "points", "samples", "mean", "truth", "z"]
    lines += [report.markdown(head, rows), ""]
    rows = [
        [
            row["estimator"], str(row["points"]), str(row["samples"]), f"{row['deviation']:.4f}",
            f"{row['mean_error']:.4f}", f"{100 * row['covered']:.0f} %",
        ]
        for row in result["errors"]
    ]  # fmt: skip
    head = ["estimator", "points", "samples", "standard deviation", "mean error by subsampling",
            "95 % intervals that hold the mean"]  # fmt: skip
    lines.append(report.markdown(head, rows))
    return "\n".join(lines)
