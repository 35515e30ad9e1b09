"""Two processes of four devices each give the numbers of one; one that loses its peer ends."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxdiv as jd

EXAMPLE = Path(__file__).parent.parent / "examples" / "many_hosts.py"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(devices, *arguments):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(EXAMPLE.parent.parent),
    }
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), *map(str, arguments)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def start_two(*arguments):
    where = ("--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2)
    return [start(4, *where, "--process", i, *arguments) for i in range(2)]


def shown(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out


def losses(process, devices):
    out = shown(process)
    assert f"{devices} devices" in out
    return [float(x) for x in re.findall(r"step \d+: (\S+) nats", out)]


@pytest.mark.slow
@pytest.mark.parametrize("divergence", ["kl", "total_variation"])
def test_two_processes_give_the_numbers_of_one(divergence):
    steps = ("--divergence", divergence, "--steps", 4)
    pair = start_two(*steps)
    got = losses(pair[0], 8)
    assert "nats" not in shown(pair[1])
    want = losses(start(1, *steps), 1)
    assert len(got) == 4 and got[0] > got[-1] > 0
    # Eight digits of float32 sums in another order.
    np.testing.assert_allclose(got, want, rtol=2e-6)
    # The first one, of a student of no weights, is the divergence from the uniform distribution.
    assert want[0] == pytest.approx(of_the_untrained(divergence), rel=1e-5)


def of_the_untrained(divergence):
    random = np.random.default_rng(0)
    hidden, weight = random.normal(size=(64, 32)), random.normal(size=(32, 4096)) / 4
    p = jax.nn.softmax(hidden.astype(np.float32) @ weight.astype(np.float32))
    p = np.asarray(p, np.float64)
    return float(
        np.mean(jd.CATALOGUE[divergence].divergence.definition(p, np.full_like(p, 1 / 4096)))
    )


@pytest.mark.slow
def test_a_killed_peer_ends_the_other_with_an_error():
    pair = start_two("--steps", 10**9, "--time-out", 10)
    lines = pair[0].stdout
    assert lines is not None
    for line in lines:
        if line.startswith("step 3:"):
            break
    pair[1].kill()
    pair[1].communicate()
    began = time.monotonic()
    out, errors = pair[0].communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert pair[0].returncode != 0, out + errors
    assert "nan" not in out
