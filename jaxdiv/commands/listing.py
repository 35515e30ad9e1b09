"""`jaxdiv list`: the catalogue."""

import json


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "list",
        help="the divergences of the catalogue",
        description="The divergences of the catalogue: name, verb, what it is.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def call(entry) -> str:
    """The verb as one writes it, with the entry's parameters."""
    shown = [
        f"{key}={value:g}" if isinstance(value, int | float) else f"{key}=..."
        for key, value in entry.parameters.items()
    ]
    return f"{entry.verb.__name__}({', '.join(['p, q', *shown])})"


def run(arguments) -> int:
    """Print the table."""
    from .._catalogue import CATALOGUE
    from ._catalogue import facts

    if arguments.json:
        print(json.dumps([facts(entry) for entry in CATALOGUE.values()], indent=2))
        return 0
    width = max(map(len, CATALOGUE))
    for entry in CATALOGUE.values():
        print(f"{entry.name:{width}}  {call(entry)}")
        print(f"{'':{width}}  {entry.divergence.formula}")
    return 0
