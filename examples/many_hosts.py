"""Distillation of a language-model head over the devices of many hosts.

One program runs on every host, on GPUs as on CPUs; JAX's distributed runtime connects them:

    python many_hosts.py --coordinator 10.0.0.1:1234 --processes 2 --process 0   # on the first host
    python many_hosts.py --coordinator 10.0.0.1:1234 --processes 2 --process 1   # on the second

Without --coordinator it runs on the devices of this host alone, to the same numbers. Rows are
divided over one axis of a mesh of all devices; vocabularies, heads and the optimiser's state over
the other, which crosses hosts. No device ever holds a row of logits: statistics of rows are merged
by collectives of a few numbers a row. A host that dies ends the others with an error.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdiv as jd

ROWS, VOCABULARY, TEACHER, STUDENT = 64, 4096, 32, 16
VERBS = {
    "kl": jd.kl_divergence,
    "reverse_kl": jd.reverse_kl_divergence,
    "js": jd.js_divergence,
    "total_variation": jd.total_variation,
}


def arrays(mesh: jax.sharding.Mesh) -> tuple[dict[str, jax.Array], jax.Array]:
    """The teacher's head and the student's hidden states; and the student's weight, to be learnt.

    Every process makes the parts of its own devices alone.
    """
    random = np.random.default_rng(0)

    def place(x: np.ndarray, *axes: str | None) -> jax.Array:
        x = x.astype(np.float32)
        return jax.make_array_from_callback(x.shape, NamedSharding(mesh, P(*axes)), lambda i: x[i])

    hidden = random.normal(size=(ROWS, TEACHER))
    weight = random.normal(size=(TEACHER, VOCABULARY)) / 4
    seen = hidden[:, :STUDENT] + 0.1 * random.normal(size=(ROWS, STUDENT))
    fixed = {
        "hidden": place(hidden, "rows", None),
        "weight": place(weight, None, "vocabulary"),
        "seen": place(seen, "rows", None),
    }
    return fixed, place(np.zeros((STUDENT, VOCABULARY)), None, "vocabulary")


def train(verb: Any, steps: int, mesh: jax.sharding.Mesh) -> Any:
    """Yield the loss before each step."""
    optimizer = optax.adam(0.05)

    def rows(fixed: dict[str, jax.Array], weight: jax.Array) -> jax.Array:
        teacher = jd.Head(fixed["hidden"], fixed["weight"])
        student = jd.Head(fixed["seen"], weight)
        value = verb(teacher, student, axis_name="vocabulary")
        return jax.lax.pmean(value.mean(), "rows")

    fixed, weight = arrays(mesh)
    parts = {"hidden": P("rows", None), "weight": P(None, "vocabulary"), "seen": P("rows", None)}
    loss = jax.shard_map(
        rows, mesh=mesh, in_specs=(parts, P(None, "vocabulary")), out_specs=P()
    )  # fmt: skip

    @jax.jit
    def step(fixed: Any, weight: jax.Array, state: Any) -> tuple[jax.Array, jax.Array, Any]:
        value, slope = jax.value_and_grad(loss, 1)(fixed, weight)
        updates, state = optimizer.update(slope, state)
        return value, optax.apply_updates(weight, updates), state  # pyright: ignore

    state = jax.jit(optimizer.init)(weight)
    for _ in range(steps):
        value, weight, state = step(fixed, weight, state)
        yield float(value)


def mesh_of_all_devices() -> jax.sharding.Mesh:
    """Two parts of the rows, if devices are even in number, by as many parts of the vocabulary."""
    count = jax.device_count()
    rows = 2 if count % 2 == 0 else 1
    auto = jax.sharding.AxisType.Auto
    return jax.make_mesh((count // rows, rows), ("vocabulary", "rows"), axis_types=(auto, auto))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="many_hosts.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="an address of process 0")
    parser.add_argument("--processes", type=int, default=1, metavar="N")
    parser.add_argument("--process", type=int, default=0, metavar="I")
    parser.add_argument("--divergence", choices=VERBS, default="kl")
    parser.add_argument("--steps", type=int, default=50, metavar="N")
    parser.add_argument("--time-out", type=int, default=100, metavar="SECONDS",
                        help="after which a silent process counts as dead")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.coordinator:
        jax.distributed.initialize(
            options.coordinator,
            options.processes,
            options.process,
            heartbeat_timeout_seconds=options.time_out,
        )
    mesh = mesh_of_all_devices()
    if VOCABULARY % mesh.shape["vocabulary"]:
        parser.error(f"{VOCABULARY} outcomes do not divide over {jax.device_count()} devices")
    first = jax.process_index() == 0
    if first:
        shape = " × ".join(f"{n} {name}" for name, n in mesh.shape.items())
        kind = mesh.devices.flat[0].device_kind
        print(f"{jax.process_count()} processes, {jax.device_count()} devices ({kind}): {shape}")
    for i, value in enumerate(train(VERBS[options.divergence], options.steps, mesh)):
        if first:
            print(f"step {i}: {value:.8g} nats", flush=True)


if __name__ == "__main__":
    main()
