"""Which interpreter `make` takes: the newest suitable one, wherever it is kept.

The interpreters here are the one that runs the tests, under the folder, version and defects that
a test gives it. Their versions are 3.90 and above, so that none of this machine's can interfere.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "find-python"

FAKE = """\
#!/bin/sh
exec '{real}' -I -c '
import collections, ctypes, ensurepip, os, ssl, sys, sysconfig, venv, zlib

Version = collections.namedtuple("Version", "major minor micro releaselevel serial")
sys.version_info = Version(*{version}, "{level}", 0)
sys._base_executable = "{path}"
{defect}
exec(sys.argv[1])
' "$3"
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """An empty PATH and an empty home."""
    for name in list(os.environ):
        if name != "LD_LIBRARY_PATH":  # the interpreter may need it
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    return tmp_path


def install(folder, name, *version, level="final", defect=""):
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(
        FAKE.format(real=sys.executable, version=version, level=level, path=path, defect=defect)
    )
    path.chmod(0o755)
    return str(path)


def find(*limits):
    return subprocess.run(
        ["/bin/sh", SCRIPT, *limits], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def found(*limits):
    result = find(*limits or ("3.90", "3.99"))
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.removesuffix("\n")


def test_the_newest_on_path(machine):
    install(machine / "first", "python3", 3, 91, 0)
    install(machine / "first", "python3.92", 3, 92, 0)
    newest = install(machine / "second", "python3.93", 3, 93, 0)
    assert found() == newest


def test_the_newest_patch_and_then_the_first_on_path(machine):
    install(machine / "first", "python3", 3, 92, 9)
    newest = install(machine / "first", "python3.92", 3, 92, 10)
    install(machine / "second", "python3.92", 3, 92, 10)
    assert found() == newest


def test_limits(machine):
    install(machine / "first", "python3.90", 3, 90, 0)
    inside = install(machine / "first", "python3.91", 3, 91, 0)
    install(machine / "first", "python3.95", 3, 95, 0)
    install(machine / "first", "python3", 3, 95, 0)
    assert found("3.91", "3.94") == inside
    assert found("3.91", "3.91") == inside


def test_default_limits(machine):
    install(machine / "first", "python3.15", 3, 15, 0)
    newest = install(machine / "first", "python3.14", 3, 14, 9999)
    install(machine / "first", "python3.10", 3, 10, 0)
    result = find()
    assert (result.returncode, result.stdout) == (0, newest + "\n")


@pytest.mark.parametrize(
    "folder",
    [
        "home/.pyenv/versions/3.93.0/bin",
        "home/.local/share/uv/python/cpython-3.93.0-linux-x86_64-gnu/bin",
        "home/.asdf/installs/python/3.93.0/bin",
        "home/.local/share/mise/installs/python/3.93/bin",
        "home/.rye/py/cpython@3.93.0/bin",
        "home/miniconda3/bin",
        "home/miniforge3/envs/an environment/bin",
    ],
)
def test_version_managers(machine, folder):
    install(machine / "first", "python3", 3, 92, 0)
    newest = install(machine / folder, "python3", 3, 93, 0)
    assert found() == newest


@pytest.mark.parametrize(
    ("variable", "value", "folder"),
    [
        ("PYENV_ROOT", "kept", "kept/versions/3.93.0/bin"),
        ("UV_PYTHON_INSTALL_DIR", "kept", "kept/cpython-3.93.0/bin"),
        ("XDG_DATA_HOME", "kept", "kept/uv/python/cpython-3.93.0/bin"),
        ("ASDF_DATA_DIR", "kept", "kept/installs/python/3.93.0/bin"),
        ("MISE_DATA_DIR", "kept", "kept/installs/python/3.93.0/bin"),
        ("MAMBA_ROOT_PREFIX", "kept", "kept/envs/science/bin"),
        ("CONDA_EXE", "kept/bin/conda", "kept/envs/science/bin"),
    ],
)
def test_version_managers_that_were_moved(machine, monkeypatch, variable, value, folder):
    newest = install(machine / folder, "python3", 3, 93, 0)
    monkeypatch.setenv(variable, str(machine / value))
    assert found() == newest


def test_a_folder_with_a_space(machine, monkeypatch):
    newest = install(machine / "my tools", "python3", 3, 93, 0)
    monkeypatch.setenv("PATH", f"{machine / 'first'}::{machine / 'my tools'}")
    assert found() == newest


def test_a_release_goes_before_a_prerelease(machine):
    candidate = install(machine / "first", "python3.93", 3, 93, 0, level="candidate")
    assert found() == candidate
    release = install(machine / "first", "python3.91", 3, 91, 0)
    assert found() == release


@pytest.mark.parametrize(
    "defect",
    [
        "sys.modules['ensurepip'] = None",
        "sys.modules['venv'] = None",
        "sys.modules['ssl'] = None",
        "sys.modules['zlib'] = None",
        "sys.modules['ctypes'] = None",
        "sys.implementation.name = 'pypy'",
        "sys.maxsize = 2**31 - 1",
        "sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1",
        "sys.exit('pyenv: python3.93: command not found')",
        "sys.version_info = sys.version_info._replace(major=4)",
    ],
)
def test_unsuitable(machine, defect):
    defect = defect.replace("'", '"')  # it stands inside a shell string
    broken = install(machine / "first", "python3.93", 3, 93, 0, defect=defect)
    suitable = install(machine / "second", "python3.91", 3, 91, 0)
    assert found() == suitable
    Path(suitable).unlink()
    result = find("3.90", "3.99")
    assert (result.returncode, result.stdout) == (1, "")
    Path(broken).unlink()


def test_files_that_do_not_run(machine):
    suitable = install(machine / "second", "python3.91", 3, 91, 0)
    Path(install(machine / "first", "python3.93", 3, 93, 0)).chmod(0o644)
    (machine / "first" / "python3.94").mkdir()
    (machine / "first" / "python3.95").symlink_to("gone")
    assert found() == suitable


def test_a_virtual_environment_gives_what_it_was_made_from(machine, monkeypatch):
    """Otherwise an active .venv would be remade with itself."""
    environment = machine / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    monkeypatch.setenv("PYTHON", str(environment / "bin" / "python"))
    assert found("3.11") == os.path.realpath(sys._base_executable)


def test_none(machine):
    install(machine / "first", "python3", 3, 89, 0)
    result = find("3.90", "3.99")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("No Python 3.90 to 3.99 that can make a virtual environment")
    assert "PYTHON=" in result.stderr
    assert find("3.90", "3.90").stderr.startswith("No Python 3.90 that")


def test_python_is_the_only_candidate(machine, monkeypatch):
    install(machine / "first", "python3.93", 3, 93, 0)
    named = install(machine / "first", "python3.91", 3, 91, 0)
    monkeypatch.setenv("PYTHON", "python3.91")
    assert found() == named
    monkeypatch.setenv("PYTHON", named)
    assert found() == named
    assert found("3.90", "3.90") == named


@pytest.mark.parametrize("python", ["python3.89", "no-such-command", "/"])
def test_an_unsuitable_python_is_not_replaced(machine, monkeypatch, python):
    install(machine / "first", "python3.93", 3, 93, 0)
    install(machine / "first", "python3.89", 3, 89, 0)
    monkeypatch.setenv("PYTHON", python)
    result = find("3.90", "3.99")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"PYTHON={python} is not a Python >= 3.90 that can make")
    assert result.stderr.count("\n") == 1
