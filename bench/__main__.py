"""Command line: measure, write JSON and a markdown table, print the table."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # read when JAX is imported
# Idle OpenMP threads of one contestant would otherwise spin while the next one is timed.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("accuracy", "KL of every library against arbitrary-precision arithmetic"),
        ("speed", "time of divergences from logits, and of importing the library"),
        ("soundness", "interval enclosures against arbitrary precision on random boxes"),
        ("verification", "time of proofs, of local checks and of the whole catalogue"),
        ("families", "KL within families: time and error beside other libraries"),
        ("samples", "k-NN KL beside scipy's k-d tree; means of estimates beside the truth"),
        ("gpu-static", "kernels, memory and traffic of what is compiled for an H100, without one"),
        ("heads", "heads of language models: time, memory and products beside logits kept"),
        ("estimators", "estimates from draws against the truth, over many seeds"),
        ("classify", "four losses on handwritten digits, from two starts"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--quick", action="store_true", help="small; written with --output")
        command.add_argument("--output", type=Path, metavar="DIR", help="default: bench/results")
        if name == "accuracy":
            command.add_argument(
                "--readme", type=Path, metavar="FILE", help="replace the block of this file"
            )
    options = parser.parse_args(arguments)

    from . import (
        accuracy,
        classify,
        estimators,
        families,
        gpu_static,
        heads,
        report,
        samples,
        soundness,
        speed,
        verification,
    )

    modules = {
        "accuracy": accuracy, "speed": speed, "classify": classify, "soundness": soundness,
        "verification": verification, "gpu-static": gpu_static, "families": families,
        "samples": samples, "estimators": estimators, "heads": heads,
    }  # fmt: skip
    chosen = modules[options.command]
    result = chosen.measure(quick=options.quick)
    table = chosen.table(result)
    if options.output or not options.quick:
        folder = options.output or RESULTS
        # A GPU's beside a CPU's, by the name of the device.
        name = "-".join([options.command, *(result.get("gpu") or "").lower().split()])
        report.write(folder, name, result, table)
        if hasattr(chosen, "draw"):
            chosen.draw(result, folder / f"{name}.png")
    if options.command == "accuracy" and options.readme:
        report.update_readme(options.readme, accuracy.readme_block(result))
    print(table)


if __name__ == "__main__":
    main()
