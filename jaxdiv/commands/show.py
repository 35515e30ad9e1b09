"""`jaxdiv show NAME`: one divergence."""

import json
import math


def add(commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "show",
        help="one divergence: formula, limits, claims, source",
        description="One divergence: formula, limits, claims, source.",
        epilog="Example: jaxdiv show js",
    )
    parser.add_argument("name", metavar="NAME", help="a name that `jaxdiv list` prints")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


_WORDS = {True: "yes", False: "no", None: "not stated"}
_LABELS = {
    "convex_in_p": "convex in p",
    "convex_in_q": "convex in q",
    "jointly_convex": "jointly convex",
    "convex_in_p_logits": "convex in p's logits",
    "convex_in_q_logits": "convex in q's logits",
    "symmetric": "symmetric",
    "metric": "metric",
    "upper_bound": "upper bound",
    "coefficient": "Hessian at p = q",
    "smooth": "smooth at p = q",
    "data_processing": "data processing",
}


def _word(key: str, value: object) -> str:
    if isinstance(value, bool) or value is None:
        if key == "coefficient":
            return "no multiple of diag(1/p)"
        return _WORDS[value]
    if key == "coefficient":
        return f"{value:g} diag(1/p) in q, {value:g} (diag(p) - p p^T) in logits"
    if key == "metric":
        return {"root": "its square root is one"}.get(str(value), str(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def run(arguments) -> int:
    """Print what the catalogue says."""
    import inspect

    from .._divergence import Homogeneous
    from ._catalogue import facts, find
    from .listing import call

    entry = find(arguments.name)
    stated = facts(entry)
    divergence = entry.divergence
    if isinstance(divergence, Homogeneous):
        at_zero, slope = (float(limit.value) for limit in divergence.limits())
        stated["generator"] = {
            "f(0)": at_zero if math.isfinite(at_zero) else "inf",
            "lim f(t)/t": slope if math.isfinite(slope) else "inf",
        }
    if arguments.json:
        print(json.dumps(stated, indent=2))
        return 0
    print(f"{entry.name}: {call(entry)}\n")
    print(inspect.getdoc(entry.verb))
    print(f"\n{'formula':22} {divergence.formula}")
    print(f"{'units':22} {'nats, or base=' if divergence.logarithmic else 'none'}")
    for key, value in stated.get("generator", {}).items():
        print(f"{key:22} {value if isinstance(value, str) else f'{value:g}'}")
    for key, label in _LABELS.items():
        print(f"{label:22} {_word(key, stated['claims'][key])}")
    print(f"{'source':22} {entry.citation}")
    return 0
