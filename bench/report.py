"""What is written: the machine, JSON, markdown tables and the block in the README."""

import datetime
import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- accuracy:begin -->", "<!-- accuracy:end -->"

_PACKAGES = (
    "jax", "jaxlib", "numpy", "optax", "chex", "scipy", "distrax", "numpyro", "torch", "mpmath",
    "python-flint",
)  # fmt: skip


def header(command: str, quick: bool) -> dict[str, Any]:
    """The circumstances of a measurement, without the names of hosts or folders."""
    from jaxdiv import __version__

    versions = {"jaxdiv": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "command": f"python -m bench {command}" + (" --quick" if quick else ""),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "versions": versions,
    }


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def circumstances(result: dict[str, Any]) -> str:
    """`header` in a sentence."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return (
        f"`{result['command']}`, {result['date']}, {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['system']}, Python {machine['python']}: {versions}."
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(x: float | None) -> str:
    """Two digits, in as few characters: 0, 3.1e-7, 0.25, 130; a dash for None."""
    if x is None:
        return "–"
    text = f"{x:.0f}" if 99.5 <= abs(x) < 1e4 else f"{x:.2g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def write(folder: Path, name: str, result: dict[str, Any], table: str) -> None:
    """name.json and name.md in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(table + "\n", encoding="utf-8")


def replaced(text: str, block: str) -> str:
    """The text with the block between its markers.

    Raises:
        ValueError: The markers are not there once each, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in after:
        raise ValueError(f"the file must have {BEGIN} and {END} once each, in this order")
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def matches(text: str, block: str) -> bool:
    """Whether the text holds exactly this block between its markers."""
    return replaced(text, block) == text


def update_readme(path: Path, block: str) -> None:
    """Replace the block in a file."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), block), encoding="utf-8")
