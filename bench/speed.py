"""Time of divergences from logits, forward and with the gradient by q's logits, beside the peers.

The contestants take turns, in an order that rotates, so that what else the machine does falls on
all of them alike, and run once untimed before each time: the first call after another contestant
takes up to 15 ms more where that one had large temporaries. The ratio to ours is taken within each
turn. Compilation is timed apart. How fast the machine reads and exponentiates is measured in the
same run.
"""

import importlib
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

import jaxdiv as jd
from jaxdiv import _picture as picture

from . import peers, report

SHAPES = ((65536, 128), (2048, 4096), (256, 32768), (64, 131072))
FAR_AND_NEAR = ((65536, 128), (64, 131072))
ON_GPU = ((8192, 128256), (16384, 32768), (65536, 128))
QUICK = ((1024, 128), (64, 4096))
SCALES = (3.0, 0.1, 1e-3, 1e-5)
TURNS, QUICK_TURNS = 9, 3
IMPORTS, QUICK_IMPORTS = 7, 2
MODES = ("value", "value and gradient")
DTYPES = ("float32", "bfloat16")


def _plain_kl(a: Any, b: Any) -> Any:
    log_p, log_q = jax.nn.log_softmax(a), jax.nn.log_softmax(b)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def _optax_kl(a: Any, b: Any) -> Any:
    from optax import losses

    return losses.kl_divergence(jax.nn.log_softmax(b), jax.nn.softmax(a))


def _rel_entr(a: Any, b: Any) -> Any:
    return jnp.sum(jax.scipy.special.rel_entr(jax.nn.softmax(a), jax.nn.softmax(b)), axis=-1)


def _distrax_kl(a: Any, b: Any) -> Any:
    categorical = importlib.import_module("distrax").Categorical
    return categorical(logits=a).kl_divergence(categorical(logits=b))


def _plain_cross_entropy(a: Any, b: Any) -> Any:
    return -jnp.sum(jax.nn.softmax(a) * jax.nn.log_softmax(b), axis=-1)


def _optax_cross_entropy(a: Any, b: Any) -> Any:
    from optax import losses

    return losses.softmax_cross_entropy(b, jax.nn.softmax(a))


def _torch_cross_entropy(a: Any, b: Any) -> Any:
    functional = importlib.import_module("torch.nn.functional")
    return functional.cross_entropy(b, functional.softmax(a, -1), reduction="none")


def _plain_js(a: Any, b: Any) -> Any:
    log_p, log_q = jax.nn.log_softmax(a), jax.nn.log_softmax(b)
    log_m = jnp.logaddexp(log_p, log_q) - jnp.log(2.0)
    terms = jnp.exp(log_p) * (log_p - log_m) + jnp.exp(log_q) * (log_q - log_m)
    return jnp.sum(terms, axis=-1) / 2


def _plain_reverse_kl(a: Any, b: Any) -> Any:
    return _plain_kl(b, a)


def _plain_total_variation(a: Any, b: Any) -> Any:
    return jnp.sum(jnp.abs(jax.nn.softmax(a) - jax.nn.softmax(b)), axis=-1) / 2


def _plain_renyi_half(a: Any, b: Any) -> Any:
    half = (jax.nn.log_softmax(a) + jax.nn.log_softmax(b)) / 2
    return -2 * jax.nn.logsumexp(half, axis=-1)


def _mapped_kl(a: Any, b: Any) -> Any:
    return jax.vmap(lambda x, y: jd.kl_divergence(jd.Logits(x), jd.Logits(y)))(a, b)


def _torch_kl(a: Any, b: Any) -> Any:
    functional = importlib.import_module("torch.nn.functional")
    log_p, log_q = functional.log_softmax(a, -1), functional.log_softmax(b, -1)
    return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)


def _torch_js(a: Any, b: Any) -> Any:
    torch = importlib.import_module("torch")
    log_p, log_q = a.log_softmax(-1), b.log_softmax(-1)
    log_m = torch.logaddexp(log_p, log_q) - 0.6931471805599453
    terms = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return terms.sum(-1) / 2


# Call, package, function of two arrays of logits.
CONTESTANTS: dict[str, list[tuple[str, str, Callable[[Any, Any], Any]]]] = {
    "KL": [
        ("jaxdiv", "jax", lambda a, b: jd.kl_divergence(jd.Logits(a), jd.Logits(b))),
        ("jaxdiv, vmap of a row", "jax", _mapped_kl),
        ("log_softmax formula", "jax", _plain_kl),
        ("optax kl_divergence", "optax", _optax_kl),
        ("jax rel_entr", "jax", _rel_entr),
        ("distrax Categorical", "distrax", _distrax_kl),
        ("torch F.kl_div", "torch", _torch_kl),
    ],
    "Cross-entropy": [
        ("jaxdiv", "jax", lambda a, b: jd.cross_entropy(jd.Logits(a), jd.Logits(b))),
        ("log_softmax formula", "jax", _plain_cross_entropy),
        ("optax softmax_cross_entropy", "optax", _optax_cross_entropy),
        ("torch F.cross_entropy", "torch", _torch_cross_entropy),
    ],
    "JS": [
        ("jaxdiv", "jax", lambda a, b: jd.js_divergence(jd.Logits(a), jd.Logits(b))),
        ("log_softmax formula", "jax", _plain_js),
        ("torch formula", "torch", _torch_js),
    ],
    "Reverse KL": [
        ("jaxdiv", "jax", lambda a, b: jd.reverse_kl_divergence(jd.Logits(a), jd.Logits(b))),
        ("log_softmax formula", "jax", _plain_reverse_kl),
    ],
    "Rényi 1/2": [
        ("jaxdiv", "jax", lambda a, b: jd.renyi_divergence(jd.Logits(a), jd.Logits(b), 0.5)),
        ("log_softmax formula", "jax", _plain_renyi_half),
    ],
    "Total variation": [
        ("jaxdiv", "jax", lambda a, b: jd.total_variation(jd.Logits(a), jd.Logits(b))),
        ("softmax formula", "jax", _plain_total_variation),
    ],
}

OURS = "jaxdiv"
PEERS = ("log_softmax formula", "optax kl_divergence")  # beside which far and near rows are timed


def program(f: Callable[[Any, Any], Any], mode: str) -> Callable[[Any, Any], Any]:
    """What a mode computes: f of every row, or the mean and its gradient by the second side."""
    return f if mode == MODES[0] else jax.value_and_grad(lambda x, y: f(x, y).mean(), 1)


def gpu() -> str | None:
    """The name of the GPU that JAX runs on, if it is one."""
    return jax.devices()[0].device_kind if jax.default_backend() == "gpu" else None


def _jax_runner(
    f: Callable[[Any, Any], Any], mode: str, a: peers.Array, b: peers.Array
) -> tuple[Callable[[], object], float]:
    """What to time, and the seconds that compiling it took."""
    x, y = jnp.asarray(a), jnp.asarray(b)
    start = time.perf_counter()
    compiled = jax.jit(program(f, mode)).lower(x, y).compile()
    return lambda: jax.block_until_ready(compiled(x, y)), time.perf_counter() - start


def _torch_runner(
    f: Callable[[Any, Any], Any], mode: str, a: peers.Array, b: peers.Array
) -> tuple[Callable[[], object], None]:
    torch = importlib.import_module("torch")
    # NumPy knows no bfloat16, of which float32 holds every number.
    dtype = getattr(torch, a.dtype.name)
    place = "cuda" if gpu() and torch.cuda.is_available() else "cpu"
    x, y = (torch.from_numpy(x.astype(np.float32)).to(place, dtype) for x in (a, b))
    if mode == "value":

        def run() -> object:
            with torch.no_grad():
                return f(x, y)
    else:
        y.requires_grad_()

        def run() -> object:
            return torch.autograd.grad(f(x, y).mean(), y)

    def finished() -> object:
        found = run()
        if place == "cuda":
            torch.cuda.synchronize()
        return found

    return finished, None


def _installed(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ModuleNotFoundError:
        return False
    return True


def _race(
    name: str,
    mode: str,
    shape: tuple[int, int],
    dtype: str,
    turns: int,
    scale: float = 0.1,
    calls: Container[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Times of the calls named, or all, on logits that differ by a normal variable of a scale."""
    random = np.random.default_rng(0)
    a = random.standard_normal(shape, np.float32)
    b = a + np.float32(scale) * random.standard_normal(shape, np.float32)
    a, b = (x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype) for x in (a, b))
    # Both inputs once, and the gradient.
    least = a.nbytes * (2 if mode == MODES[0] else 3)
    runners: dict[str, Callable[[], object]] = {}
    compilation: dict[str, float | None] = {}
    for call, package, f in CONTESTANTS[name]:
        if _installed(package) and (calls is None or call in calls):
            make = _torch_runner if package == "torch" else _jax_runner
            runners[call], compilation[call] = make(f, mode, a, b)
    for run in runners.values():
        run()
    seconds: dict[str, list[float]] = {call: [] for call in runners}
    order = list(runners)
    for turn in range(turns):
        first = turn % len(order)
        for call in order[first:] + order[:first]:
            runners[call]()  # bears what the one before leaves behind: memory given back, caches
            start = time.perf_counter()
            runners[call]()
            seconds[call].append(time.perf_counter() - start)
    for call, times in seconds.items():
        ratios = [t / ours for t, ours in zip(times, seconds[OURS], strict=True)]
        yield {
            "divergence": name,
            "mode": mode,
            "shape": list(shape),
            "dtype": dtype,
            "scale": scale,
            "call": call,
            "compile_seconds": compilation[call],
            "milliseconds": _spread([1e3 * t for t in times]),
            "ratio_to_ours": _spread(ratios),
            "gigabytes_per_second": least / statistics.median(times) / 1e9,
        }


def _spread(values: list[float]) -> dict[str, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": statistics.median(values), "low": low, "high": high}


def machine(quick: bool) -> dict[str, float]:
    """What bounds every contestant: bytes read and exponentials in a nanosecond, at best."""
    x = jnp.ones((64 if quick else 4096, 8192), jnp.float32)
    chain = 8

    def exponentials(x: Any) -> Any:
        for _ in range(chain):
            x = jnp.exp(-x)
        return x

    probes = {
        "gigabytes_read_per_second": (lambda x: jnp.max(x, axis=0), x.nbytes),
        "gigabytes_copied_per_second": (lambda x: x + 1, 2 * x.nbytes),
        "exponentials_per_nanosecond": (exponentials, chain * x.size),
    }
    return {
        name: amount / _least_time(jax.jit(probe), x) / 1e9
        for name, (probe, amount) in probes.items()
    }


def _least_time(f: Callable[[Any], Any], x: Any) -> float:
    times = []
    for _ in range(12):
        start = time.perf_counter()
        jax.block_until_ready(f(x))
        times.append(time.perf_counter() - start)
    return min(times[2:])


def import_cost(runs: int) -> dict[str, Any]:
    """Seconds of `import jax` and `import jaxdiv`, each in a fresh process, taking turns."""
    program = "import time; s = time.perf_counter(); import {}; print(time.perf_counter() - s)"
    seconds: dict[str, list[float]] = {"jax": [], "jaxdiv": []}
    for turn in range(runs + 1):
        for module, times in seconds.items():
            command = [sys.executable, "-c", program.format(module)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            if turn:  # the first one fills the caches of byte code and files
                times.append(float(answer.stdout))
    medians = {module: statistics.median(times) for module, times in seconds.items()}
    return {
        "runs": runs,
        **{module: _spread(times) for module, times in seconds.items()},
        "difference": medians["jaxdiv"] - medians["jax"],
    }


def measure(quick: bool = False) -> dict[str, Any]:
    """Everything that the table shows, as JSON holds it."""
    turns = QUICK_TURNS if quick else TURNS
    shapes = QUICK if quick else ON_GPU if gpu() else SHAPES
    races = [
        cell
        for name in CONTESTANTS
        for mode in MODES
        for shape in shapes
        for dtype in DTYPES
        for cell in _race(name, mode, shape, dtype, turns)
    ]
    distances = [
        cell
        for shape in (QUICK if quick else FAR_AND_NEAR)
        for mode in MODES
        for scale in SCALES
        for cell in _race("KL", mode, shape, "float32", turns, scale, (OURS, *PEERS))
    ]
    packages = {call: package for rows in CONTESTANTS.values() for call, package, _ in rows}
    return report.header("speed", quick) | {
        "turns": turns,
        "gpu": gpu(),
        "bounds": machine(quick),
        "races": races,
        "distances": distances,
        "not_installed": [call for call, package in packages.items() if not _installed(package)],
        "imports": import_cost(QUICK_IMPORTS if quick else IMPORTS),
    }


def _range(spread: dict[str, float]) -> str:
    median, low, high = (report.number(spread[key]) for key in ("median", "low", "high"))
    return f"{median} ({low}–{high})"


def _copied(bounds: dict[str, float]) -> str:
    """The bandwidth of a copy, both ways, of results that have it."""
    found = bounds.get("gigabytes_copied_per_second")
    return "" if found is None else f", copies {report.number(found)} (both ways)"


def _bound(cell: dict[str, Any], bounds: dict[str, float]) -> float:
    """Milliseconds for the bytes of a cell or two exponentials an outcome, whichever is more."""
    moved = cell["gigabytes_per_second"] * cell["milliseconds"]["median"]
    reading = moved / bounds["gigabytes_read_per_second"]
    exponentials = 2e-6 * math.prod(cell["shape"]) / bounds["exponentials_per_nanosecond"]
    return max(reading, exponentials)


def table(result: dict[str, Any]) -> str:
    """The table, made from the JSON alone."""
    head = ["", "shape", "dtype", "call", "ms", "time / jaxdiv's", "time / bound", "GB/s"]
    head += ["compilation, s"]
    rows = []
    for cell in result["races"]:
        compilation = cell["compile_seconds"]
        rows.append(
            [
                f"{cell['divergence']}, {cell['mode']}",
                "×".join(map(str, cell["shape"])),
                cell["dtype"],
                cell["call"],
                _range(cell["milliseconds"]),
                "1" if cell["call"] == OURS else _range(cell["ratio_to_ours"]),
                report.number(cell["milliseconds"]["median"] / _bound(cell, result["bounds"])),
                report.number(cell["gigabytes_per_second"]),
                "–" if compilation is None else report.number(compilation),
            ]
        )
    distances = [
        [
            cell["mode"],
            "×".join(map(str, cell["shape"])),
            f"{cell['scale']:g}",
            cell["call"],
            _range(cell["milliseconds"]),
            "1" if cell["call"] == OURS else _range(cell["ratio_to_ours"]),
        ]
        for cell in result["distances"]
    ]
    rows += [
        ["", "", "", call, "not installed", "", "", "", ""] for call in result["not_installed"]
    ]
    imports, bounds = result["imports"], result["bounds"]
    return "\n\n".join(
        [
            "# Speed",
            report.circumstances(result),
            f"Logits on {result.get('gpu') or 'the CPU'}, gradient by q's logits. "
            f"Median (quartiles) of {result['turns']} turns in which the contestants alternate, "
            "each called twice and timed the second time; the ratio is taken within each turn, "
            "above 1 is slower than jaxdiv. torch runs eagerly. The cores may be shared with other "
            "work: trust ratios before milliseconds, and a wide spread little. "
            "GB/s counts both inputs once, and the gradient; the machine reads "
            f"{report.number(bounds['gigabytes_read_per_second'])} GB/s{_copied(bounds)} and takes "
            f"{report.number(bounds['exponentials_per_nanosecond'])} of XLA's exponentials a "
            "nanosecond, of which a formula needs two an outcome. The bound is the larger of these "
            "two times: whoever finds exponentials faster may be below it. Peers compute bfloat16 "
            "in bfloat16, jaxdiv in float32.",
            report.markdown(head, rows),
            "KL of float32 logits, of which the second are the first and normal variables times a "
            "scale.",
            report.markdown(["", "shape", "scale", "call", "ms", "time / jaxdiv's"], distances),
            f"Import in a fresh process, seconds, median (quartiles) of {imports['runs']}: "
            f"jax {_range(imports['jax'])}, jaxdiv {_range(imports['jaxdiv'])}; jaxdiv costs "
            f"{report.number(imports['difference'])} more.",
        ]
    )


def draw(result: dict[str, Any], path: Path) -> None:
    """Time beside ours against the number of outcomes, float32; needs matplotlib."""
    names = list(dict.fromkeys(cell["divergence"] for cell in result["races"]))
    colours = (picture.BLUE, picture.ORANGE, picture.GREEN, picture.PINK, "0.45", "#56B4E9")

    def panels(figure: Any) -> None:
        grid = figure.subplots(len(MODES), len(names), sharex=True, sharey=True, squeeze=False)
        for row, mode in zip(grid, MODES, strict=True):
            row[0].set_ylabel(f"{mode},\ntime / jaxdiv's")
            for axes, name in zip(row, names, strict=True):
                cells = [
                    cell
                    for cell in result["races"]
                    if (cell["divergence"], cell["mode"], cell["dtype"]) == (name, mode, DTYPES[0])
                ]
                others = dict.fromkeys(c["call"] for c in cells if c["call"] != OURS)
                for call, colour in zip(others, colours, strict=False):
                    own = [c for c in cells if c["call"] == call]
                    outcomes = [c["shape"][1] for c in own]
                    spreads = [c["ratio_to_ours"] for c in own]
                    axes.fill_between(
                        outcomes,
                        [s["low"] for s in spreads],
                        [s["high"] for s in spreads],
                        color=colour, alpha=0.15, linewidth=0,
                    )  # fmt: skip
                    axes.plot(
                        outcomes, [s["median"] for s in spreads], "o-", color=colour,
                        markersize=3.5, linewidth=1.4, label=call,
                    )  # fmt: skip
                axes.axhline(1, color="black", linewidth=0.8)
                axes.set_xscale("log")
                axes.set_yscale("log")
                ratios = ["1/4", "1/2", "1", "2", "4", "8", "16", "32"]
                axes.set_yticks([0.25, 0.5, 1, 2, 4, 8, 16, 32], ratios)
                ticks = sorted({cell["shape"][1] for cell in cells})
                axes.set_xticks(ticks, [f"{x >> 10}k" if x >= 4096 else str(x) for x in ticks])
                axes.minorticks_off()
                if mode == MODES[0]:
                    axes.set_title(name, fontsize=11)
                else:
                    axes.set_xlabel("outcomes")
                    axes.legend(
                        fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(-0.1, -0.3)
                    )

    picture.save(panels, path, width=2.6 * len(names), height=5.6)
