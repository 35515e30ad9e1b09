"""Time of verification: the whole catalogue, millions of points, many outcomes, one proof.

The whole catalogue and the proofs run in processes of their own, so that compilation and imports
count; the second run of each finds the first one's compiled programs.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp

from jaxdiv.verification import random_points, subject_of
from jaxdiv.verification.inertia import logit_inertia
from jaxdiv.verification.local import local

from . import report

_GENERATORS = ("kl", "js", "skew_kl", "le_cam", "alpha_3")
_PROOF = """
import time
from jaxdiv.verification import premises, proofs, subject_of
f = subject_of({name!r}).generator
start = time.perf_counter()
premise = premises.sign("f'' >= 0", proofs.derivative(f, 2), smooth_of=f)
assert premise is not None and premise.check()
print(time.perf_counter() - start)
"""


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Seconds; `floors` are what the library promises."""
    device = jax.devices()[0]
    result = report.header("verification", quick)
    result["device"] = f"{device.platform} ({device.device_kind})"
    result["rows"] = [*_catalogue(quick), *_local(quick), _inertia(quick), *_proofs(quick)]
    return result


def _row(what: str, seconds: list[float], floor: float | None, per: str = "") -> dict[str, Any]:
    return {"what": what, "seconds": seconds, "floor": floor, "points per second": per}


def _catalogue(quick: bool) -> list[dict[str, Any]]:
    names = ["kl"] if quick else ["--all"]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"XDG_CACHE_HOME": folder}
        times = []
        for _ in range(2):
            start = time.perf_counter()
            command = [sys.executable, "-m", "jaxdiv", "verify", *names, "--json"]
            subprocess.run(command, env=environment, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
    shown = f"jaxdiv verify {' '.join(names)}"
    return [
        _row(f"{shown}, nothing compiled", times[:1], 60),
        _row(f"{shown}, programs kept", times[1:], 20),
    ]


def _local(quick: bool) -> list[dict[str, Any]]:
    count = 10**4 if quick else 10**6
    rows = []
    points = random_points(count, 3, 0, jnp.float32)
    jax.block_until_ready(points.probs)
    for name in ("kl",) if quick else ("kl", "js"):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            assert all(finding.ok for finding in local(subject_of(name), points))
            times.append(time.perf_counter() - start)
        for label, own in (("compilation included", times[:1]), ("compiled", times[1:])):
            per = f"{count / statistics.median(own):.2g}"
            rows.append(
                _row(f"local checks of {name}, n = 3, {count:.0e} points, {label}", own, 5, per)
            )
    return rows


def _inertia(quick: bool) -> dict[str, Any]:
    """Exactly how many negative eigenvalues the Hessian in q's logits has, by the public verb."""
    n, count = (1024 if quick else 131072), 16
    p = random_points(count, n, 0, jnp.float32).probs
    q = random_points(count, n, 1, jnp.float32).probs
    subject = subject_of("kl")

    @jax.jit
    def counts(p, q):
        return logit_inertia(lambda p, q: subject.value("probabilities", p, q), p, q)

    assert not counts(p, q).any()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        counts(p, q).block_until_ready()
        times.append((time.perf_counter() - start) / count)
    per = f"{1 / statistics.median(times):.2g}"
    return _row(f"inertia of kl in q's logits, n = {n}, one point", times, 0.05, per)


def _proofs(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for name in _GENERATORS[:1] if quick else _GENERATORS:
        command = [sys.executable, "-c", _PROOF.format(name=name)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(_row(f"proof and check of f'' >= 0 of {name}", [float(done.stdout)], 2))
    return rows


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    rows = []
    for row in result["rows"]:
        seconds = statistics.median(row["seconds"])
        promised = f"{row['floor']:g}"
        kept = "yes" if seconds <= row["floor"] else "no"
        rows.append([row["what"], report.number(seconds), promised, kept, row["points per second"]])
    head = ("what", "seconds", "promised", "kept", "points a second")
    return "\n\n".join(
        (
            "Time of verification, in seconds, medians.",
            report.markdown(head, rows),
            f"On {result['device']}. {report.circumstances(result)}",
        )
    )
