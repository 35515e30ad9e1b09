"""KL within families: time and error beside numpyro, TensorFlow Probability, distrax and torch.

Time is of large batches, under jit (torch eagerly), in turns, so that a busy machine slows all
alike, each called twice and timed the second time. Errors are in units in the last place of
float32, against arbitrary precision on the stored parameters; 1e7 means that no digit is right.
"""

import functools
import importlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from . import report

Call = Callable[..., Any]
_ULP = 2.0**-23
_TURNS = 11


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Seconds and errors of every call that is installed."""
    result = report.header("families", quick)
    result["time"] = list(_times(quick))
    result["error"] = list(_errors())
    return result


def _peers(kind: str) -> dict[str, Call]:
    """KL of two sets of parameters, by library; "Gamma", "Beta" or "MultivariateNormal"."""
    found = {}
    for name, make in (("jaxdiv", _jaxdiv), ("numpyro", _numpyro), ("tfp", _tfp),
                       ("distrax", _distrax), ("torch", _torch)):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                call = make(kind)
            except Exception:  # not installed, or not for this JAX
                continue
        if call is not None:
            found[name] = call
    return found


def _jaxdiv(kind: str) -> Call:
    import jaxdiv as jd

    def member(parameters: Any) -> Any:
        if kind == "MultivariateNormal":
            return jd.families.MultivariateNormal(parameters[0], scale_tril=parameters[1])
        if kind == _BY_COVARIANCE:
            return jd.families.MultivariateNormal(*parameters)
        return getattr(jd.families, kind)(*parameters)

    return jax.jit(lambda p, q: jd.kl_divergence(member(p), member(q)))


_BY_COVARIANCE = "MultivariateNormal, by covariance"


def _of(module: Any, names: dict[str, tuple[str, tuple[str, ...]]], kind: str, kl: Call) -> Any:
    if kind not in names:
        return None
    name, keywords = names[kind]

    def member(parameters: Any) -> Any:
        return getattr(module, name)(**dict(zip(keywords, parameters, strict=True)))

    return lambda p, q: kl(member(p), member(q))


_GAMMA = ("Gamma", ("concentration", "rate"))
_BETA = ("Beta", ("concentration1", "concentration0"))


def _numpyro(kind: str) -> Any:
    names = {"Gamma": _GAMMA, "Beta": _BETA}
    names["MultivariateNormal"] = ("MultivariateNormal", ("loc", "scale_tril"))
    names[_BY_COVARIANCE] = ("MultivariateNormal", ("loc", "covariance_matrix"))
    kl = importlib.import_module("numpyro.distributions.kl").kl_divergence
    return jax.jit(_of(importlib.import_module("numpyro.distributions"), names, kind, kl))


def _tfp(kind: str) -> Any:
    module = importlib.import_module("tensorflow_probability.substrates.jax.distributions")
    names = {"Gamma": _GAMMA, "Beta": _BETA}
    names["MultivariateNormal"] = ("MultivariateNormalTriL", ("loc", "scale_tril"))
    names[_BY_COVARIANCE] = ("MultivariateNormalFullCovariance", ("loc", "covariance_matrix"))
    return jax.jit(_of(module, names, kind, module.kl_divergence))


def _distrax(kind: str) -> Any:
    module = importlib.import_module("distrax")
    names = {"Gamma": _GAMMA, "Beta": ("Beta", ("alpha", "beta"))}
    names["MultivariateNormal"] = ("MultivariateNormalTri", ("loc", "scale_tri"))
    names[_BY_COVARIANCE] = ("MultivariateNormalFullCovariance", ("loc", "covariance_matrix"))
    return jax.jit(_of(module, names, kind, lambda p, q: p.kl_divergence(q)))


def _torch(kind: str) -> Any:
    torch = importlib.import_module("torch")
    module = torch.distributions
    names = {"Gamma": _GAMMA, "Beta": _BETA}
    names["MultivariateNormal"] = ("MultivariateNormal", ("loc", "scale_tril"))
    names[_BY_COVARIANCE] = ("MultivariateNormal", ("loc", "covariance_matrix"))
    call = _of(module, names, kind, module.kl_divergence)

    @functools.lru_cache(maxsize=8)
    def tensors(key: int) -> Any:
        return tuple(torch.from_numpy(np.array(x)) for x in _KEPT[key])

    def run(p: Any, q: Any) -> Any:
        _KEPT[id(p)], _KEPT[id(q)] = p, q
        return call(tensors(id(p)), tensors(id(q)))

    return run


_KEPT: dict[int, Any] = {}  # what torch's tensors were made of, so that no other object has its id


def _batches(quick: bool) -> Iterator[tuple[str, str, Any, Any]]:
    rng = np.random.default_rng(0)
    n = 10**4 if quick else 10**6
    positive = [jnp.asarray(np.exp(rng.normal(size=n)), jnp.float32) for _ in range(4)]
    yield "Gamma", f"{n:.0e} pairs", tuple(positive[:2]), tuple(positive[2:])
    yield "Beta", f"{n:.0e} pairs", tuple(positive[:2]), tuple(positive[2:])
    count, size = (16, 8) if quick else (1000, 64)

    def normals() -> Any:
        x = rng.normal(size=(count, size, size)) / np.sqrt(size)
        covariance = x @ np.swapaxes(x, -1, -2) + 0.5 * np.eye(size)
        loc = rng.normal(size=(count, size))
        factor = np.linalg.cholesky(covariance)
        return tuple(jnp.asarray(a, jnp.float32) for a in (loc, factor, covariance))

    batch, p, q = f"{count} pairs of dimension {size}", normals(), normals()
    yield "MultivariateNormal", batch, p[:2], q[:2]
    yield _BY_COVARIANCE, batch, (p[0], p[2]), (q[0], q[2])


def _times(quick: bool) -> Iterator[dict[str, Any]]:
    turns = 3 if quick else _TURNS
    for kind, batch, p, q in _batches(quick):
        calls = _peers(kind)
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        names = list(calls)
        for turn in range(turns):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                jax.block_until_ready(calls[name](p, q))  # bears what the one before leaves behind
                start = time.perf_counter()
                jax.block_until_ready(calls[name](p, q))
                seconds[name].append(time.perf_counter() - start)
        for name, own in seconds.items():
            ratios = [a / b for a, b in zip(own, seconds["jaxdiv"], strict=True)]
            yield {"family": kind, "batch": batch, "call": name, "seconds": own, "ratios": ratios}


def _gamma(a: Any, r: Any, b: Any, s: Any) -> Any:
    gap = (a - b) * mpmath.digamma(a) - mpmath.loggamma(a) + mpmath.loggamma(b)
    return gap + b * (mpmath.log(r) - mpmath.log(s)) + a * (s - r) / r


def _beta(a: Any, b: Any, c: Any, d: Any) -> Any:
    def log_beta(x: Any, y: Any) -> Any:
        return mpmath.loggamma(x) + mpmath.loggamma(y) - mpmath.loggamma(x + y)

    value = log_beta(c, d) - log_beta(a, b)
    value += (a - c) * mpmath.digamma(a) + (b - d) * mpmath.digamma(b)
    return value + (c - a + d - b) * mpmath.digamma(a + b)


_CASES: tuple[tuple[str, tuple[float, float], tuple[float, float]], ...] = (
    ("Gamma", (2.0, 1.0), (3.0, 2.0)),
    ("Gamma", (2.0, 1.0), (2.001, 1.0)),
    ("Gamma", (1e4, 1e4), (1.001e4, 1e4)),
    ("Gamma", (1e6, 1e3), (1.0001e6, 1.0001e3)),
    ("Gamma", (1e8, 1.0), (1.0001e8, 1.0)),
    ("Beta", (2.0, 3.0), (3.0, 2.0)),
    ("Beta", (2.0, 3.0), (2.001, 3.0)),
    ("Beta", (1e4, 1e4), (1.001e4, 1.001e4)),
    ("Beta", (1e6, 2e6), (1.0001e6, 2e6)),
)


def _errors() -> Iterator[dict[str, Any]]:
    truths = {"Gamma": _gamma, "Beta": _beta}
    calls = {kind: _peers(kind) for kind in truths}
    for kind, p, q in _CASES:
        stored = [np.float32(x) for x in (*p, *q)]
        with mpmath.workdps(80):
            true = truths[kind](*(mpmath.mpf(float(x)) for x in stored))
            arrays = [jnp.asarray([x]) for x in stored]
            for name, call in calls[kind].items():
                value = float(np.asarray(call(tuple(arrays[:2]), tuple(arrays[2:])))[0])
                error = float(abs(value - true) / true) / _ULP
                yield {
                    "family": kind, "p": p, "q": q, "call": name, "value": value,
                    "true": float(true), "ulp": error,
                }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = ["# KL within families of distributions", "", report.circumstances(result), ""]
    lines += [" ".join((__doc__ or "").split("\n\n")[1].split()), ""]
    rows = []
    for row in result["time"]:
        ms = [f"{1e3 * x:.3g}" for x in _quartiles(row["seconds"])]
        ratio = [f"{x:.2g}" for x in _quartiles(row["ratios"])]
        rows.append(
            [row["family"], row["batch"], row["call"], f"{ms[1]} ({ms[0]}–{ms[2]})",
             "1" if row["call"] == "jaxdiv" else f"{ratio[1]} ({ratio[0]}–{ratio[2]})"]
        )  # fmt: skip
    lines += [report.markdown(["", "batch", "call", "ms", "time / jaxdiv's"], rows), ""]
    names = list(dict.fromkeys(row["call"] for row in result["error"]))
    found: dict[Any, dict[str, Any]] = {}
    for row in result["error"]:
        found.setdefault((row["family"], row["p"], row["q"], row["true"]), {})[row["call"]] = row
    rows = []
    for (family, p, q, true), own in found.items():
        shown = [
            f"{report.number(own[name]['value'])} ({report.number(own[name]['ulp'])} ulp)"
            if name in own else "–"
            for name in names
        ]  # fmt: skip
        pair = " ‖ ".join("(" + ", ".join(f"{x:g}" for x in side) + ")" for side in (p, q))
        rows.append([f"{family} {pair}", report.number(true), *shown])
    lines.append(report.markdown(["float32", "true", *names], rows))
    return "\n".join(lines)


def _quartiles(x: list[float]) -> list[float]:
    return statistics.quantiles(x, n=4) if len(x) > 1 else [x[0]] * 3
