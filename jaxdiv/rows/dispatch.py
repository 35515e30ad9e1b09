"""Which path evaluates a statistic: from the shapes, the platform and what the caller asks for."""

import dataclasses
import math
import os
from typing import Any

import jax

from . import blocked, lean, reference
from .statistic import Moving, Operands, Statistic, sides_of

# Numbers in each side from which blocks are faster than the whole at once.
_FEW = 2**15

_KERNELS_NEED = (0, 11, 2)  # of JAX


@dataclasses.dataclass(frozen=True)
class Implementation:
    """A path of evaluation, and why it is taken."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Target:
    """What a program is lowered for.

    The platform is "cpu", "cuda" or another. `devices` are those over which XLA may divide the
    arrays: it divides plain operations, whose collectives are a few numbers a row, but would gather
    what a loop cuts or a kernel reads. A `portable` program may run elsewhere, where there is no
    machine code of this process.
    """

    platform: str
    devices: int = 1
    portable: bool = False


def choose(
    implementation: str, statistic: Statistic, operands: Operands, target: Target
) -> Implementation:
    """The path by which a statistic is evaluated.

    Raises:
        NotImplementedError: "mosaic_gpu" or "llvm" is asked for where there is no such code.
    """
    size, platform = operands[1].values.size, target.platform
    if implementation == "reference":
        return Implementation("reference", "asked for")
    if size == 0:
        return Implementation("reference", "there are no rows")
    if implementation == "blocked":
        return Implementation("blocked", "asked for")
    if target.devices > 1:
        divided = f"arrays may be divided over {target.devices} devices, and not by jax.shard_map"
        if implementation == "auto":
            return Implementation("reference", divided)
        raise NotImplementedError(f'implementation="{implementation}" is not available: {divided}')
    if implementation == "auto" and platform == "cpu":
        if size <= _FEW:
            return Implementation("reference", f"at most {_FEW} numbers on a CPU")
        obstacle = _no_llvm(target) or _idle(operands) or _no_code(statistic, operands)
        if obstacle is None:
            return Implementation("llvm", f"rows of more than {_FEW} logits on a CPU")
        reason = f"more than {_FEW} numbers on a CPU, without machine code: {obstacle}"
        return Implementation("blocked", reason)
    if implementation == "llvm":
        if (obstacle := _no_llvm(target)) is not None:
            raise NotImplementedError(f'implementation="llvm" is not available: {obstacle}')
        if (obstacle := _no_code(statistic, operands)) is not None:
            return Implementation("blocked", obstacle)
        return Implementation("llvm", "asked for")
    interpreted = implementation == "mosaic_gpu_interpret"
    obstacle = no_kernels("cuda" if interpreted else platform)
    if obstacle is not None:
        if implementation == "auto":
            return Implementation("reference", obstacle)
        raise NotImplementedError(f'implementation="{implementation}" is not available: {obstacle}')
    from . import mosaic_gpu

    reason = mosaic_gpu.why_not(statistic, operands)
    if reason is not None:
        return Implementation("reference", reason)
    name = "mosaic_gpu_interpret" if interpreted else "mosaic_gpu"
    asked = implementation != "auto"
    return Implementation(name, "asked for" if asked else "sums over rows on a Hopper GPU")


def _no_llvm(target: Target) -> str | None:
    """Why there is no machine code of this process where a program is to run; None if there is."""
    if target.platform != "cpu":
        return f"it runs on a CPU, and the platform is {target.platform}"
    if target.portable:
        return "an exported program may run elsewhere"
    from . import llvm_cpu

    return llvm_cpu.unavailable()


def _no_code(statistic: Statistic, operands: Operands) -> str | None:
    from . import llvm_cpu

    return llvm_cpu.why_not(statistic, operands)


def _idle(operands: Operands) -> str | None:
    """Whether half of the cores would have nothing to do."""
    rows, cores = math.prod(operands[1].values.shape[:-1]), os.cpu_count() or 1
    return f"a core takes whole rows, of which there are {rows}" if 2 * rows <= cores else None


def together(implementation: str, statistic: Statistic, operands: Operands, moving: Moving) -> bool:
    """Whether to find derivatives along with the statistic: a pass for two, on a CPU.

    The platform is not known yet where this is asked; the default one is a good guess, and the
    answer changes no number elsewhere. Cotangents multiply what is found already, so that rows of
    low precision, in which it would be rounded before, are left alone.
    """
    asked = implementation in ("blocked", "llvm")
    if not (asked or implementation == "auto") or jax.default_backend() != "cpu":
        return False
    values = operands[1].values
    many = values.size > _FEW or (asked and values.size > 0)
    _, others = sides_of(operands, moving)
    return many and not others and lean.serves(statistic, operands)


def plain(implementation: str, operands: Operands) -> bool:
    """Whether the plain path is taken, if the default platform is that which is compiled for."""
    few = operands[1].values.size <= _FEW and jax.default_backend() == "cpu"
    return implementation == "reference" or (implementation == "auto" and few)


def no_kernels(platform: str) -> str | None:
    """Why Mosaic GPU kernels don't run on a platform; None if they do.

    With no CUDA device at hand, as when compiling for one elsewhere, it is taken to be a Hopper.
    """
    if jax.__version_info__ < _KERNELS_NEED:
        needed = ".".join(map(str, _KERNELS_NEED))
        return f"its kernels need JAX {needed}, and this is {jax.__version__}"
    if platform != "cuda":
        return f"its kernels need a Hopper GPU or newer, and the platform is {platform}"
    try:
        devices = jax.local_devices(backend="cuda")
    except RuntimeError:
        return None
    capability = min(float(device.compute_capability) for device in devices)
    if capability < 9:
        return f"its kernels need compute capability 9.0, and a GPU here has {capability}"
    return None


def interpreter_effects() -> Any:
    """The effects of a kernel that Pallas interprets; none where it cannot."""
    if no_kernels("cuda") is not None:
        return set()
    from . import mosaic_gpu

    return mosaic_gpu.interpreter_effects()


def evaluate(
    what: str,
    implementation: str,
    target: Target,
    statistic: Statistic,
    operands: Operands,
    *others: Any,
    **static: Any,
) -> Any:
    """The "value", "push", "pull" or "both" of a statistic, by the path that is chosen."""
    chosen = choose(implementation, statistic, operands, target)
    if not chosen.name.startswith("mosaic_gpu"):
        path: Any = blocked if chosen.name == "blocked" else reference
        if chosen.name == "llvm":
            from . import llvm_cpu as path
        return getattr(path, what)(statistic, operands, *others, **static)
    from . import mosaic_gpu

    interpret = chosen.name == "mosaic_gpu_interpret"
    path = getattr(mosaic_gpu, what)
    return path(statistic, operands, *others, interpret=interpret, **static)
