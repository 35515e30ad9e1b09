"""The command line: each command is a module of `jaxdiv.commands` with `add` and `run`.

Exit status: 0, 1 if a check failed, 2 if the input was bad, which is said in one sentence.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from ._files import InputError
from .commands import COMMANDS


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):  # pyright: ignore[reportIncompatibleMethodOverride]
        """One sentence, exit status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def _version() -> str:
    from . import __version__

    return f"jaxdiv {__version__}"


class _Version(argparse.Action):
    def __call__(self, parser, *_):
        print(_version())
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command."""
    parser = _Parser(
        prog="jaxdiv",
        description="Divergences between probability distributions, verified.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    try:
        arguments = build_parser().parse_args(argv)
        return arguments.run(arguments)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else 2
    except InputError as error:
        print(f"jaxdiv: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxdiv: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; there is nobody to tell, now or at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
