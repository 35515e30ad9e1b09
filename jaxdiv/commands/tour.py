"""`jaxdiv tour`: the argument from surprise to KL, computed as it is told."""

import argparse
import os
import sys
from pathlib import Path

from .._files import InputError

_NAMES = (
    "surprise",
    "codes",
    "entropy",
    "beliefs",
    "divergence",
    "training",
    "losses",
    "fits",
)


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tour",
        help="information, codes, KL and what to train on, in a minute",
        description="The argument from surprise to KL and to training, every number computed live.",
        epilog="Examples:\n"
        "  jaxdiv tour\n"
        "  jaxdiv tour --step divergence\n"
        "  jaxdiv tour --plot pictures",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--step", metavar="NAME", help=f"only one of {', '.join(_NAMES)}")
    parser.add_argument("--plot", metavar="DIR", help="also write pictures there")
    parser.set_defaults(run=run)


def run(arguments) -> int:
    """Tell the steps, one after another."""
    if arguments.step is not None and arguments.step not in _NAMES:
        raise InputError(f"--step must be one of {', '.join(_NAMES)}, but is {arguments.step!r}")
    folder = _folder(arguments.plot)

    import jax

    from ..tour import STEPS
    from ..tour.page import Page, printable

    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    with jax.enable_x64(True):
        for index, step in enumerate(STEPS, 1):
            if arguments.step not in (None, step.NAME):
                continue
            page = Page()
            step.tell(page)
            title = f"{index}. {step.TITLE}"
            print(f"\033[1m{title}\033[0m\n" if bold else f"{title}\n{'-' * len(title)}")
            print(printable(str(page), sys.stdout.encoding), flush=True)
            if folder:
                _draw(step, folder)
    return 0


def _folder(name: str | None) -> Path | None:
    if name is None:
        return None
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install 'jaxdiv[plot]'") from None
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--plot {name}: {error.strerror or error}") from None
    return folder


def _draw(step, folder: Path) -> None:
    from .. import _picture as picture

    for name, draw in getattr(step, "draw", {}).items():
        path = folder / f"{name}.png"
        try:
            picture.save(draw, path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from None
        print(f"{path}\n")
