"""What programs for an H100 read, write, keep and spill: compiled without one, nothing is timed.

Traffic is counted in the optimised program: the operands and results of its kernels, which for the
kernels of jaxdiv is what they copy. Rows near p = q, which the reference path computes again, are
taken to be none. A predicted time is the traffic over a measured bandwidth of copies; it says
nothing of arithmetic, by which a kernel may be slower.
"""

import importlib.util
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import jaxdiv as jd

from . import report
from .speed import CONTESTANTS, MODES, program

BANDWIDTH = 3.0e12  # bytes a second that a copy reaches on an H100 SXM
SHAPES = (((8192, 128256), "bfloat16"), ((16384, 32768), "float32"), ((65536, 128), "float32"))
QUICK = (((64, 1024), "float32"),)
# Units of both inputs: read once, or once in each of two passes with one gradient written.
FLOOR = dict(zip(MODES, (1.0, 2.5), strict=True))
OURS, PLAIN = "jaxdiv", "log_softmax formula"
_TARGET = Path(__file__).parent / "h100_sxm.txtpb"


def available() -> bool:
    """Whether XLA's compiler for NVIDIA GPUs is installed."""
    return any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13))


def h100() -> Any:
    """An H100 to compile for, as a sharding."""
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(
        "h100", platform="cuda", target_config=_TARGET.read_text(), topology="1x1x1"
    )
    return jax.sharding.SingleDeviceSharding(topology.devices[0])


def compiled(f: Callable[..., Any], *args: Any) -> tuple[Any, list[dict[str, int]]]:
    """A program for an H100 and the registers and spilled bytes of its Mosaic kernels."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"MOSAIC_GPU_DUMP_TO": folder, "MOSAIC_GPU_DUMP_PTXAS": "1"}
        before = {name: os.environ.get(name) for name in options}
        os.environ.update(options)
        try:
            made = jax.jit(f).lower(*args).compile()
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                os.environ.update({} if value is None else {name: value})
        reports = [path.read_text() for path in sorted(Path(folder).glob("*.ptxas"))]
    return made, [_ptxas(text) for text in reports]


def _ptxas(text: str) -> dict[str, int]:
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", text)
    registers = re.findall(r"[Uu]sed (\d+) registers", text)
    return {"registers": max(map(int, registers)), "spills": sum(map(int, spills))}


_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}
_LINE = re.compile(r"^\s*(?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([\w-]+)\((.*?)\)(?:,|$)")


def _size(text: str) -> int:
    return sum(
        _BYTES.get(dtype, 0) * math.prod(int(n) for n in shape.split(",") if n)
        for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", text)
    )


def traffic(text: str) -> dict[str, int]:
    """Kernels of an optimised program, and the bytes that they read and write."""
    entry = text[text.index("\nENTRY") :]
    sizes: dict[str, int] = {}
    found = {"kernels": 0, "read": 0, "written": 0}
    for line in entry.splitlines()[2:]:
        if match := _LINE.match(re.sub(r"/\*.*?\*/", "", line)):
            name, kind, operation, operands = match.groups()
            sizes[name] = _size(kind)
            if operation in ("fusion", "custom-call", "reduce", "copy", "sort"):
                found["kernels"] += 1
                found["read"] += sum(sizes[x] for x in re.findall(r"%([\w.-]+)", operands))
                found["written"] += sizes[name]
    return found


def _plain(name: str) -> Callable[[Any, Any], Any]:
    formula = next(f for call, _, f in CONTESTANTS[name] if call.endswith("formula"))

    def widened(a: Any, b: Any) -> Any:
        return formula(a.astype(jnp.float32), b.astype(jnp.float32))

    return widened


def _ours(divergence: Any) -> Callable[[Any, Any], Any]:
    return lambda a, b: divergence(jd.Logits(a), jd.Logits(b))


DIVERGENCES: dict[str, Any] = {
    "KL": jd.KL(),
    "Reverse KL": jd.Reverse(jd.KL()),
    "Rényi 1/2": jd.Renyi(0.5),
    "JS": jd.JensenShannon(),
    "Total variation": jd.TotalVariation(),
}


def _cells(name: str, shape: tuple[int, int], dtype: str, place: Any) -> Iterator[dict[str, Any]]:
    x = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=place)
    both = 2 * math.prod(shape) * jnp.dtype(dtype).itemsize
    logits = jd.Logits(jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)))
    path = jd.implementation_of(DIVERGENCES[name], logits, logits, platform="cuda")
    for mode in MODES:
        for call, f in ((OURS, _ours(DIVERGENCES[name])), (PLAIN, _plain(name))):
            made, kernels = compiled(program(f, mode), x, x)
            counted = traffic(made.as_text())
            moved = counted["read"] + counted["written"]
            # What is in a loop is not counted: the reference path keeps its rows in one.
            known = call == PLAIN or path.name == "mosaic_gpu"
            memory = made.memory_analysis()
            yield {
                "divergence": name,
                "mode": mode,
                "shape": list(shape),
                "dtype": dtype,
                "call": call,
                "path": path.name if call == OURS else None,
                "reason": path.reason if call == OURS else None,
                "kernels": counted["kernels"],
                "mosaic": kernels if call == OURS else [],
                "temporaries": memory.temp_size_in_bytes / both,
                "read": counted["read"] / both if known else None,
                "written": counted["written"] / both if known else None,
                "floor": FLOOR[mode],
                "predicted_milliseconds": 1e3 * moved / BANDWIDTH if known else None,
            }


def measure(quick: bool = False) -> dict[str, Any]:
    """Everything that the table shows, as JSON holds it."""
    if not available():
        raise SystemExit("gpu-static needs XLA's compiler for NVIDIA GPUs: pip install jax[cuda13]")
    place = h100()
    names = ["KL"] if quick else list(DIVERGENCES)
    cells = [
        cell
        for name in names
        for shape, dtype in (QUICK if quick else SHAPES)
        for cell in _cells(name, shape, dtype, place)
    ]
    return report.header("gpu-static", quick) | {"bandwidth": BANDWIDTH, "cells": cells}


def table(result: dict[str, Any]) -> str:
    """The table, made from the JSON alone."""
    head = ["", "shape", "call", "kernels", "registers", "spilled, B", "temporaries / inputs",
            "read", "written", "floor", "predicted, ms"]  # fmt: skip
    rows = []
    for cell in result["cells"]:
        kernels = cell["mosaic"]
        path = "" if cell["path"] in (None, "mosaic_gpu") else f" ({cell['path']})"
        rows.append(
            [
                f"{cell['divergence']}, {cell['mode']}",
                f"{'×'.join(map(str, cell['shape']))} {cell['dtype']}",
                cell["call"] + path,
                str(cell["kernels"]),
                ", ".join(str(kernel["registers"]) for kernel in kernels) or "–",
                str(sum(kernel["spills"] for kernel in kernels)) if kernels else "–",
                report.number(cell["temporaries"]),
                *(
                    "–" if cell[key] is None else f"{cell[key]:.2f}"
                    for key in ("read", "written", "floor")
                ),
                report.number(cell["predicted_milliseconds"]),
            ]
        )
    return "\n\n".join(
        [
            "# Programs for an H100, compiled and not run",
            report.circumstances(result),
            "Nothing here is a measured time. Compiled for an H100 SXM (compute capability 9.0) on "
            "a machine without a GPU; the gradient is by q's logits. Read and written are the "
            "operands and results of the kernels, in units of both inputs; the floor is one "
            "reading, and for the gradient two readings and one array written. Predicted is the "
            f"traffic over {result['bandwidth'] / 1e12:.1f} TB/s: arithmetic is not counted. "
            "Registers and spills are ptxas' of jaxdiv's kernels. Rows that are near p = q, which "
            "are computed a second time, are taken to be none.",
            report.markdown(head, rows),
        ]
    )
