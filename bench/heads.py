"""Divergences of language-model heads beside those of logits that are kept: time, memory, products.

A teacher's and a student's head, mean over rows, value and gradient by the student's hidden states
and weights; cross-entropy is from labels. Logits that are kept are two products and a log_softmax
formula, differentiated by JAX. Loops count as often as they run. Programs for an H100 are compiled,
not run.
"""

import functools
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdiv as jd

from . import gpu_static, report
from .speed import CONTESTANTS

Shape = tuple[int, int, int]  # rows, width, outcomes
CPU: Shape = (1024, 256, 32768)
QUICK: Shape = (64, 32, 1024)
H100: tuple[Shape, ...] = ((8192, 4096, 128256), (8192, 2304, 256000))
TURNS, QUICK_TURNS = 7, 2
OURS, KEPT = "jaxdiv, Head", "logits kept"
_VERBS: dict[str, Any] = {
    "Cross-entropy": jd.cross_entropy,
    "KL": jd.kl_divergence,
    "JS": jd.js_divergence,
    "Rényi 1/2": lambda p, q, **k: jd.renyi_divergence(p, q, 0.5, **k),
    "Total variation": jd.total_variation,
}


def _ours(name: str, memory: int | None = None) -> Callable[..., Any]:
    def loss(hidden: Any, weight: Any, teacher: Any, table: Any, labels: Any) -> Any:
        p = jd.Labels(labels) if name == "Cross-entropy" else jd.Head(teacher, table, memory=memory)
        q = jd.Head(hidden, weight, memory=memory)
        return jd.weighted_sum(_VERBS[name], p, q, jnp.full((1,), 1 / len(hidden)))

    return loss


def _kept(name: str) -> Callable[..., Any]:
    formula = next(f for call, _, f in CONTESTANTS[name] if call.endswith("formula"))

    def logits(hidden: Any, weight: Any) -> Any:
        return jnp.matmul(hidden, weight, preferred_element_type=jnp.float32)

    def loss(hidden: Any, weight: Any, teacher: Any, table: Any, labels: Any) -> Any:
        z = logits(hidden, weight)
        if name == "Cross-entropy":
            picked = jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], -1)
            return -picked.mean()
        return formula(logits(teacher, table), z).mean()

    return loss


CALLS = {OURS: _ours, KEPT: _kept}


def _shapes(shape: Shape, dtype: Any, place: Any = None) -> list[Any]:
    rows, width, size = shape
    shapes = ((rows, width), (width, size), (rows, width), (width, size))
    made = [jax.ShapeDtypeStruct(s, jnp.dtype(dtype), sharding=place) for s in shapes]
    return [*made, jax.ShapeDtypeStruct((rows,), jnp.dtype("int32"), sharding=place)]


def _arrays(shape: Shape) -> list[Any]:
    random = np.random.default_rng(0)
    *floats, labels = _shapes(shape, "float32")
    made = [random.standard_normal(x.shape, np.float32) for x in floats]
    made[1], made[3] = made[1] / math.sqrt(shape[1]), made[3] / math.sqrt(shape[1])
    return [*map(jnp.asarray, made), jnp.asarray(random.integers(0, shape[2], labels.shape[0]),
                                                 jnp.int32)]  # fmt: skip


def _program(call: str, name: str, moved: tuple[int, ...] = (0, 1)) -> Any:
    return jax.jit(jax.value_and_grad(CALLS[call](name), moved))


_COMPUTATION = re.compile(r"^(?:ENTRY )?%(\S+) \(.*\{$")
_OPERATION = re.compile(r"^\s*(?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([\w-]+)\((.*?)\)(?:,|$)")
_CALLED = re.compile(r"(?:calls|body|condition|to_apply)=%([\w.-]+)")
_BRANCHES = re.compile(r"(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%[\w.-]+))")


def multiply_adds(text: str) -> int:
    """Those of the matrix products of an optimised program for a CPU.

    Loops count as often as they run, and of branches the costliest one.

    Raises:
        ValueError: A loop of unknown length has a product.
    """
    bodies: dict[str, list[str]] = {}
    name = entry = ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            name = match.group(1)
            bodies[name] = []
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            bodies[name].append(line)

    def sizes(kind: str) -> list[int]:
        found = re.search(r"\[([\d,]*)\]", kind)
        return [int(n) for n in found.group(1).split(",") if n] if found else []

    @functools.cache
    def of(name: str) -> int:
        shapes: dict[str, list[int]] = {}
        count = 0
        for line in bodies[name]:
            if not (match := _OPERATION.match(line)):
                continue
            own, kind, operation, operands = match.groups()
            shapes[own] = sizes(kind)
            if operation == "dot":
                first = re.findall(r"%([\w.-]+)", operands)[0]
                axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line)
                assert axes is not None
                contracted = [shapes[first][int(i)] for i in axes.group(1).split(",") if i]
                count += math.prod(shapes[own]) * math.prod(contracted)
                continue
            inner = sum(of(called) for called in _CALLED.findall(line))
            branches = re.findall(r"%([\w.-]+)", " ".join(map("".join, _BRANCHES.findall(line))))
            inner += max(map(of, branches), default=0)
            if operation == "while" and inner:
                times = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
                if times is None:
                    raise ValueError("a loop of unknown length has a matrix product")
                inner *= int(times.group(1))
            count += inner
        return count

    return of(entry)


def products(name: str, shape: Shape, dtype: str, moved: tuple[int, ...]) -> dict[str, float]:
    """Multiply-adds of each call, in products of all hidden states and weights of one head."""
    # What one row in sixteen takes in float32, or the least that `tiles.plan` accepts.
    memory = max(shape[0] * shape[2] // 4, 24 * 128 * shape[0], 16 * shape[2])
    counts = {}
    for call, make in CALLS.items():
        f = make(name, memory) if call == OURS else make(name)
        made = jax.jit(jax.value_and_grad(f, moved)).lower(*_shapes(shape, dtype)).compile()
        counts[call] = multiply_adds(made.as_text() or "") / math.prod(shape)
    return counts


def _race(name: str, shape: Shape, turns: int) -> dict[str, Any]:
    arrays = _arrays(shape)
    compiled = {call: _program(call, name).lower(*arrays).compile() for call in CALLS}
    seconds: dict[str, list[float]] = {call: [] for call in CALLS}
    for turn in range(turns):
        for call in list(CALLS)[:: 1 if turn % 2 else -1]:
            jax.block_until_ready(compiled[call](*arrays))  # bears what the other one leaves behind
            start = time.perf_counter()
            jax.block_until_ready(compiled[call](*arrays))
            seconds[call].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds[OURS], seconds[KEPT], strict=True)]
    return {
        "milliseconds": {call: 1e3 * statistics.median(x) for call, x in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratios": [min(ratios), max(ratios)],
        "temporaries": {
            call: run.memory_analysis().temp_size_in_bytes for call, run in compiled.items()
        },
        "peak": {call: _peak(call, name, shape) for call in CALLS},
    }


def _peak(call: str, name: str, shape: Shape) -> int:
    """Bytes by which a process of its own grows while it runs the program twice."""
    text = f"from bench import heads; print(heads.growth({call!r}, {name!r}, {shape!r}))"
    folder = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", text], check=True, capture_output=True, text=True, cwd=folder
    )
    return int(done.stdout)


def growth(call: str, name: str, shape: Shape) -> int:
    """What `_peak` runs; on Linux, where a process can forget how large it was while compiling."""
    arrays = _arrays(shape)
    run = _program(call, name).lower(*arrays).compile()
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    for _ in range(2):
        jax.block_until_ready(run(*arrays))
    return _memory("VmHWM") - before


def _memory(what: str) -> int:
    (kilobytes,) = re.findall(rf"{what}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(kilobytes)


def _for_h100(name: str, shape: Shape, place: Any) -> dict[str, Any]:
    start = time.perf_counter()
    made = _program(OURS, name).lower(*_shapes(shape, "bfloat16", place)).compile()
    memory = made.memory_analysis()
    return {
        "temporaries": memory.temp_size_in_bytes,
        "gradients": memory.output_size_in_bytes,
        "logits": 4 * shape[0] * shape[2],
        "compile_seconds": time.perf_counter() - start,
    }


def measure(quick: bool = False) -> dict[str, Any]:
    """Everything that the table shows, as JSON holds it."""
    shape, turns = (QUICK, QUICK_TURNS) if quick else (CPU, TURNS)
    names = ["KL"] if quick else list(_VERBS)
    result = report.header("heads", quick) | {
        "shape": shape,
        "turns": turns,
        "cpu": {name: _race(name, shape, turns) for name in names},
        "products": [
            {
                "name": name,
                "dtype": dtype,
                "moved": text,
                "counts": products(name, shape, dtype, moved),
            }
            for name in names
            for dtype in ("float32", "bfloat16")
            for text, moved in (("student", (0, 1)), ("both", (0, 1, 2, 3)))
            if text == "student" or name != "Cross-entropy"
        ],
        "h100": None,
    }
    if gpu_static.available() and not quick:
        place = gpu_static.h100()
        result["h100"] = [
            {"name": name, "shape": large, **_for_h100(name, large, place)}
            for name in names
            for large in H100
        ]
    return result


def _mega(count: float) -> str:
    return f"{count / 1e6:.0f}"


def table(result: dict[str, Any]) -> str:
    """The tables, made from the JSON alone."""
    rows, width, size = result["shape"]
    parts = [
        "# Heads of language models",
        (__doc__ or "").partition("\n\n")[2].strip().replace("\n", " "),
        report.circumstances(result),
        f"On the CPU, {rows} rows, width {width}, {size} outcomes, float32, {result['turns']} "
        "turns in which the two alternate, each called twice and timed the second time; the ratio "
        "is taken within a turn (least to largest). The peak is what a process of its own grows "
        "by, gradients included.",
        report.markdown(
            ["", f"{OURS}, ms", f"{KEPT}, ms", "ratio", "temporaries, MB", "kept", "peak, MB",
             "kept"],
            [
                [
                    name, *(report.number(row["milliseconds"][call]) for call in CALLS),
                    f"{row['ratio']:.2f} ({row['ratios'][0]:.2f}–{row['ratios'][1]:.2f})",
                    *(_mega(row["temporaries"][call]) for call in CALLS),
                    *(_mega(row["peak"][call]) for call in CALLS),
                ]
                for name, row in result["cpu"].items()
            ],
        ),
        "Multiply-adds of the programs compiled for the CPU at that shape, in products of all rows "
        "by a head's weight, where tiles may take a sixteenth of the logits of one side, or the "
        "least that works. Sums over rows of the gradients by weights of bfloat16 have no room "
        "there, so that logits are computed again.",
        report.markdown(
            ["", "dtype", "gradient by", OURS, KEPT, "ratio"],
            [
                [
                    row["name"], row["dtype"], row["moved"],
                    *(f"{row['counts'][call]:.2f}" for call in CALLS),
                    f"{row['counts'][OURS] / row['counts'][KEPT]:.2f}",
                ]
                for row in result["products"]
            ],
        ),
    ]  # fmt: skip
    if result["h100"]:
        parts += [
            "Compiled for an H100, bfloat16, the default memory of 2²⁹ bytes.",
            report.markdown(
                ["", "shape", "temporaries, MB", "gradients, MB", "logits of one side, MB"],
                [
                    [
                        row["name"], " × ".join(map(str, row["shape"])),
                        *(_mega(row[key]) for key in ("temporaries", "gradients", "logits")),
                    ]
                    for row in result["h100"]
                ],
            ),
        ]  # fmt: skip
    return "\n\n".join(parts)
