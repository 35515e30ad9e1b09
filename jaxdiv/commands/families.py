"""`jaxdiv families`: the families of distributions, and which closed forms there are."""

import json

TITLES = ("entropy", "KL within", "KL to", "no closed form to", "∫ p^α q^(1−α)", "Fisher–Rao")


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "families",
        help="the families of distributions, and which closed forms there are",
        description="Closed forms between members of families, found by asking for them. KL to a "
        "family that isn't named is always +inf: it has no mass where p has some.",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("names", metavar="NAME", nargs="*", help="families; all without any")
    parser.set_defaults(run=run)


def markdown(names: list[str]) -> str:
    """The table as Markdown."""
    from ..families.catalogue import FAMILIES
    from ..families.table import row

    lines = [f"| family | {' | '.join(TITLES)} |", "|---" * (len(TITLES) + 1) + "|"]
    for name in names:
        cells = [_listed(cell) if isinstance(cell, tuple) else cell for cell in row(name)]
        lines.append(f"| `{FAMILIES[name].family.__name__}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _listed(names: tuple[str, ...]) -> str:
    from ..families.catalogue import FAMILIES

    return ", ".join(FAMILIES[name].family.__name__ for name in names)


def run(arguments) -> int:
    """Look and print."""
    from ..families.catalogue import FAMILIES
    from ..families.table import row
    from ._catalogue import find_family

    names = [find_family(name) for name in arguments.names] or list(FAMILIES)
    if arguments.markdown:
        print(markdown(names))
    elif arguments.json:
        print(json.dumps({"families": {name: row(name)._asdict() for name in names}}, indent=2))
    else:
        for name in names:
            family = FAMILIES[name].family
            print(f"{name}  {(family.__doc__ or '').splitlines()[0]}")
            for title, cell in zip(TITLES, row(name), strict=True):
                shown = _listed(cell) if isinstance(cell, tuple) else cell
                if shown:
                    print(f"  {title}: {shown}")
    return 0
