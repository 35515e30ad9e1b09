"""`jaxdiv list`: the catalogue."""

import inspect
import json


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "list",
        help="the divergences of the catalogue",
        description="The divergences of the catalogue: name, verb, what it is.",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print the table of verbs")
    parser.set_defaults(run=run)


def call(entry) -> str:
    """The verb as one writes it, with the entry's parameters."""
    shown = [
        f"{key}={value:g}" if isinstance(value, int | float) else f"{key}=..."
        for key, value in entry.parameters.items()
    ]
    return f"{entry.verb.__name__}({', '.join(['p, q', *shown])})"


def verbs_table() -> str:
    """Every verb once, with its parameter, formula and source."""
    from .._catalogue import CATALOGUE

    rows = ["| verb | what it is | takes `base` | source |", "|---|---|---|---|"]
    seen = set()
    for entry in CATALOGUE.values():
        if entry.verb in seen:
            continue
        seen.add(entry.verb)
        arguments = list(inspect.signature(entry.verb).parameters)[:-1]
        call = f"`{entry.verb.__name__}({', '.join(arguments)})`"
        title = entry.title.rstrip(".").replace("|", "\\|")
        base = "yes" if entry.divergence.logarithmic else ""
        rows.append(f"| {call} | {title} | {base} | {entry.citation} |")
    return "\n".join(rows)


def run(arguments) -> int:
    """Print the table."""
    from .._catalogue import CATALOGUE
    from ._catalogue import facts

    if arguments.json:
        print(json.dumps([facts(entry) for entry in CATALOGUE.values()], indent=2))
        return 0
    if arguments.markdown:
        print(verbs_table())
        return 0
    width = max(map(len, CATALOGUE))
    for entry in CATALOGUE.values():
        print(f"{entry.name:{width}}  {call(entry)}")
        print(f"{'':{width}}  {entry.divergence.formula}")
    return 0
