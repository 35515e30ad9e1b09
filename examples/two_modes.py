"""One normal distribution fitted to a mixture of two: KL covers, reverse KL seeks, alpha between.

Forward KL has a closed form, the moments of the target; the others are minimised by quadrature.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from common import BLUE, GREEN, ORANGE, PINK, main, table

import jaxdiv as jd
from jaxdiv import Reverse

TARGET = jd.Mixture(
    np.asarray([0.6, 0.4], np.float32),
    jd.Normal(np.asarray([-2.5, 2.5], np.float32), np.asarray([0.6, 0.9], np.float32)),
)
CASES = {
    "KL(p ‖ q)": (jd.KL(), 1.0),
    "alpha = 0.5": (jd.Alpha(0.5), 1.0),
    "KL(q ‖ p)": (Reverse(jd.KL()), -1.0),
    "KL(q ‖ p), other start": (Reverse(jd.KL()), 1.0),
}


def run(*, small: bool = False) -> dict[str, jd.FitResult]:
    """The fits by name."""
    names = list(CASES)[::2] if small else list(CASES)
    found = {}
    for name in names:
        divergence, start = CASES[name]
        found[name] = jd.fit(divergence, TARGET, jd.Normal(start, 1.0))
    return found


def report(found: dict[str, jd.FitResult]) -> None:
    """The fitted members."""
    table(
        ("minimised", "mean", "deviation", "value", "by", "converged"),
        (
            (
                name, float(fit.member.loc), float(fit.member.scale), float(fit.value), fit.method,
                "yes" if fit.converged else "no",
            )
            for name, fit in found.items()
        ),
    )  # fmt: skip


def draw(found: dict[str, jd.FitResult], figure: Any) -> None:
    """The target and the fitted densities."""
    axes = figure.subplots()
    x = jnp.linspace(-8, 8, 601)
    axes.fill_between(x, jnp.exp(TARGET.log_prob(x)), color="0.85", linewidth=0, label="target p")
    styles = ((BLUE, "-"), (GREEN, "--"), (ORANGE, "-"), (PINK, ":"))
    for name, (colour, line) in zip(CASES, styles, strict=True):
        if name in found:
            y = jnp.exp(found[name].member.log_prob(x))
            axes.plot(x, y, color=colour, linestyle=line, linewidth=2.2, label=name)
    axes.set(xlabel="x", ylabel="density", xlim=(-8, 8), ylim=(0, None))
    axes.legend(frameon=False, loc="upper right", fontsize=10)


def go(arguments: Sequence[str] | None = None) -> Any:
    """The command."""
    return main(__doc__, "two_modes", run, report, draw, (7.5, 3.8), arguments)


if __name__ == "__main__":
    go()
