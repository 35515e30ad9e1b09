"""Vocabularies divided over devices give the numbers of whole ones; see sharded_checks.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("names", [["entropy"], []], ids=["entropy", "all"])
def test_four_devices_give_the_numbers_and_gradients_of_one(names):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": str(FOLDER.parent),
    }
    command = [sys.executable, str(FOLDER / "sharded_checks.py"), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
