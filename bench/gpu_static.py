"""What XLA makes of divergences for an H100, without one: kernels, memory, registers, traffic.

A kernel reads its operands and writes its results once, so that the traffic of a program is the
sum of theirs; loops that recompute rows near each other, which most calls never enter, are left
out. A unit is the size of both inputs. Times are predicted, from bytes alone.
"""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from . import report, speed

SHAPES = (((8192, 128256), "bfloat16"), ((16384, 32768), "float32"), ((65536, 128), "float32"))
QUICK = (((8192, 128256), "bfloat16"),)
BYTES_PER_SECOND = 3.0e12  # a copy on an H100 SXM, as others measured it
_TARGET = Path(__file__).with_name("h100.txtpb")
_BITS = {"pred": 8, "bf16": 16, "f16": 16}
_SHAPE = re.compile(r"(pred|[a-z]+\d+)\[([\d,]*)\]")
_LINE = re.compile(r"^  (?:ROOT )?%([\w.-]+) = (.*?) ([\w-]+)\((.*?)\)(?:,|$)")
_MOVES = {"fusion", "custom-call", "reduce", "copy", "transpose", "sort", "convert", "broadcast"}

CALLS: dict[str, dict[str, Callable[[Any, Any], Any]]] = {
    name: {call: f for call, package, f in speed.CONTESTANTS[name] if call in ("jaxdiv", _plain)}
    for name, _plain in (
        ("KL", "log_softmax formula"),
        ("Reverse KL", "log_softmax formula"),
        ("JS", "log_softmax formula"),
        ("Total variation", "softmax formula"),
        ("Cross-entropy", "log_softmax formula"),
        ("Rényi 1/2", "log_softmax formula"),
    )
}


def h100() -> Any:
    """The sharding of arrays on an H100 that need not be there; needs the CUDA plugin."""
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(
        "h100", platform="cuda", target_config=_TARGET.read_text(), topology="1x1x1"
    )
    return jax.sharding.SingleDeviceSharding(topology.devices[0])


def bytes_of(shapes: str) -> int:
    """The bytes of all arrays in a piece of a program's text."""
    total = 0
    for dtype, dimensions in _SHAPE.findall(shapes):
        bits = _BITS.get(dtype) or int(re.sub(r"\D", "", dtype))
        count = 1
        for size in filter(None, dimensions.split(",")):
            count *= int(size)
        total += count * bits // 8
    return total


def traffic(text: str) -> dict[str, int]:
    """Kernels of a compiled program's entry, and the bytes that they read and write."""
    body = text[text.index("\nENTRY ") :]
    sizes: dict[str, int] = {}
    found = {"kernels": 0, "read": 0, "written": 0, "loops": 0}
    for line in body.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, shape, operation, operands = match.groups()
        sizes[name] = bytes_of(shape)
        if operation in ("while", "conditional"):
            found["loops"] += 1
        if operation in _MOVES:
            found["kernels"] += 1
            found["written"] += sizes[name]
            found["read"] += sum(sizes[x] for x in re.findall(r"%([\w.-]+)", operands))
    return found


def compiled(f: Callable[[Any, Any], Any], mode: str, shape: tuple[int, int], dtype: str) -> Any:
    """A program for an H100, and what ptxas said of the Mosaic kernels in it."""
    program = f if mode == speed.MODES[0] else jax.value_and_grad(lambda x, y: f(x, y).mean(), 1)
    x = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=h100())
    with tempfile.TemporaryDirectory() as folder:
        said = {"MOSAIC_GPU_DUMP_TO": folder, "MOSAIC_GPU_DUMP_PTXAS": "1"}
        os.environ.update(said)
        try:
            found = jax.jit(program).lower(x, x).compile()
        finally:
            for name in said:
                del os.environ[name]
        reports = [path.read_text(errors="replace") for path in Path(folder).glob("*.ptxas")]
    return found, "\n".join(reports)


def _cell(name: str, call: str, mode: str, shape: tuple[int, int], dtype: str) -> dict[str, Any]:
    program, said = compiled(CALLS[name][call], mode, shape, dtype)
    inputs = 2 * shape[0] * shape[1] * jnp.dtype(dtype).itemsize
    found = traffic(program.as_text())
    moved = found["read"] + found["written"]
    numbers = {
        key: [int(x) for x in re.findall(pattern, said)]
        for key, pattern in (
            ("registers", r"Used (\d+) registers"),
            ("spills", r"(\d+) bytes spill stores"),
        )
    }
    return {
        "divergence": name,
        "call": call,
        "mode": mode,
        "shape": list(shape),
        "dtype": dtype,
        "kernels": found["kernels"],
        "loops": found["loops"],
        "mosaic": len(numbers["registers"]),
        "temporaries": program.memory_analysis().temp_size_in_bytes / inputs,
        "registers": max(numbers["registers"], default=None),
        "spilled_bytes": sum(numbers["spills"]) if numbers["spills"] else None,
        "units_read": found["read"] / inputs,
        "units_written": found["written"] / inputs,
        "predicted_milliseconds": 1e3 * moved / BYTES_PER_SECOND,
    }


def measure(quick: bool = False) -> dict[str, Any]:
    """Everything that the table shows, as JSON holds it."""
    names = ("KL",) if quick else CALLS
    cells = [
        _cell(name, call, mode, shape, dtype)
        for name in names
        for shape, dtype in (QUICK if quick else SHAPES)
        for mode in speed.MODES
        for call in CALLS[name]
    ]
    return report.header("gpu-static", quick) | {
        "target": "NVIDIA H100 80GB HBM3, by compilation",
        "bytes_per_second": BYTES_PER_SECOND,
        "cells": cells,
    }


def table(result: dict[str, Any]) -> str:
    """The table, made from the JSON alone."""
    head = [
        "", "shape", "call", "kernels", "temporaries", "registers", "spilled", "read", "written",
        "predicted, ms",
    ]  # fmt: skip
    rows = [
        [
            f"{cell['divergence']}, {cell['mode']}",
            "×".join(map(str, cell["shape"])) + " " + cell["dtype"],
            cell["call"],
            str(cell["kernels"]),
            f"{100 * cell['temporaries']:.2g} %",
            "–" if cell["registers"] is None else str(cell["registers"]),
            "–" if cell["spilled_bytes"] is None else str(cell["spilled_bytes"]),
            f"{cell['units_read']:.2f}",
            f"{cell['units_written']:.2f}",
            report.number(cell["predicted_milliseconds"]),
        ]
        for cell in result["cells"]
    ]
    return "\n\n".join(
        [
            "# Compiled for an H100",
            report.circumstances(result),
            f"{result['target']}: no such device ran. Temporaries are parts of both inputs; read "
            "and written are in units of both inputs, summed over the kernels' operands and "
            "results, without the loops that compute rows near each other again. Registers and "
            "bytes spilled are ptxas's, of the Mosaic kernels. The times are **predicted**: bytes "
            f"at {result['bytes_per_second'] / 1e12:g} TB/s, and nothing else.",
            report.markdown(head, rows),
        ]
    )
