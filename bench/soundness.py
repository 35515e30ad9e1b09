"""Interval enclosures against arbitrary-precision arithmetic on random boxes.

A violation is a point of a box, one of its ends or a random point inside, whose value is certainly
outside the enclosure of that box. Boxes are of every scale: degenerate, one ulp wide, octaves
wide, across zero, with subnormal ends, up to the largest number.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flint
import jax
import jax.numpy as jnp
import numpy as np
from flint import arb, arb_series
from jax import lax

from jaxdiv.verification.interval import Interval, enclose, inlined

from . import report

DTYPES = ("float32", "float64")
BOXES, QUICK = 1_000_000, 20_000
BITS = 400  # of the oracle
INSIDE = 2  # random points inside a box, beside its two ends

Oracle = Callable[..., Any]


class Case(NamedTuple):
    """A function, what it is in flint, and where its arguments come from."""

    function: Callable[..., Any]
    oracle: Oracle
    domains: tuple[str, ...]
    order: int = 0  # of the derivative


# --- oracles: of an arb, and of an arb_series where they have derivatives ------------------------


def _power(x: Any, n: int) -> Any:
    value = x
    for _ in range(abs(n) - 1):
        value = value * x
    return value if n > 0 else 1 / value


def _cbrt(x: arb) -> arb:
    return -((-x).root(3)) if x < 0 else x.root(3)


def _real_power(x: arb, y: arb) -> arb:
    return (y * x.log()).exp() if x > 0 else arb(math.nan)


def _log1p(x: arb) -> arb:
    # arb's log1p is inaccurate for some arguments near -1; more bits are as good.
    return (1 + x).log()


def _tanh(x: Any) -> Any:
    return 1 - 2 / ((2 * x).exp() + 1)


def _at(f: Oracle, order: int) -> Oracle:
    """The derivative of a function of a series."""

    def value(x: arb) -> arb:
        try:
            series = f(arb_series([x, 1], prec=order + 1))
        except ValueError:  # "quotient would not be a power series"
            return arb(math.nan)
        return series[order] * math.factorial(order)

    return value if order else f


_w = 0.3  # of Jensen-Shannon; as stored

COMPOSITES: dict[str, tuple[Callable[..., Any], Oracle, str]] = {
    "x² + x": (lambda x: x**2 + x, lambda x: x * x + x, "moderate"),
    "t log t − t + 1": (
        lambda t: t * jnp.log(t) - t + 1,
        lambda t: t * t.log() - t + 1,
        "positive",
    ),
    "Jensen–Shannon": (
        lambda t: _w * t * jnp.log(t / (_w * t + 0.7)) - 0.7 * jnp.log(_w * t + 0.7),
        lambda t: (
            arb(_w) * t * (t / (arb(_w) * t + arb(0.7))).log()
            - arb(0.7) * (arb(_w) * t + arb(0.7)).log()
        ),
        "moderate positive",
    ),
    "(t − 1)² / (t + 1)": (
        lambda t: (t - 1) ** 2 / (t + 1),
        lambda t: (t - 1) * (t - 1) / (t + 1),
        "moderate positive",
    ),
    "(√t − 1)² / 2": (
        lambda t: (jnp.sqrt(t) - 1) ** 2 / 2,
        lambda t: (t.sqrt() - 1) * (t.sqrt() - 1) / 2,
        "moderate positive",
    ),
    "exp(−x²) sin 3x": (
        lambda x: jnp.exp(-(x**2)) * jnp.sin(3 * x),
        lambda x: (-(x * x)).exp() * (3 * x).sin(),
        "moderate",
    ),
    "x tanh x": (lambda x: x * jnp.tanh(x), lambda x: x * _tanh(x), "moderate"),
    "log(1 + eˣ)": (
        lambda x: jnp.log1p(jnp.exp(x)),
        lambda x: (1 + x.exp()).log(),
        "moderate",
    ),
    "erf x": (lax.erf, lambda x: x.erf(), "moderate"),
    "erfc x": (lambda x: lax.erfc(x / 2), lambda x: 1 - (x / 2).erf(), "moderate"),
    "asinh x": (lax.asinh, lambda x: (x + (x * x + 1).sqrt()).log(), "moderate"),
    "acosh x": (lax.acosh, lambda x: (x + (x * x - 1).sqrt()).log(), "above 1"),
    "atanh x": (lax.atanh, lambda x: ((1 + x) / (1 - x)).log() / 2, "unit"),
    "asin x": (lax.asin, lambda x: x.asin(), "unit"),
    "acos x": (lax.acos, lambda x: x.acos(), "unit"),
    "sinh x / cosh x": (lambda x: lax.sinh(x) / lax.cosh(x), _tanh, "moderate"),
    "logistic x": (lax.logistic, lambda x: 1 / (1 + (-x).exp()), "exponent"),
    "expm1 x": (lax.expm1, lambda x: x.exp() - 1, "exponent"),
    "cbrt t": (lax.cbrt, lambda t: (t.log() / 3).exp(), "moderate positive"),
    "rsqrt t": (lax.rsqrt, lambda t: t.rsqrt(), "moderate positive"),
    "atan2(t, 3)": (
        lambda t: lax.atan2(t, jnp.full_like(t, 3)),
        lambda t: (t / 3).atan(),
        "moderate",
    ),
    "log(1 + t) log t": (
        lambda t: jnp.log1p(t) * jnp.log(t),
        lambda t: (1 + t).log() * t.log(),
        "moderate positive",
    ),
    "t^1.7": (lambda t: t**1.7, lambda t: (arb(1.7) * t.log()).exp(), "moderate positive"),
    "1 / (1 + x²)": (lambda x: 1 / (1 + x**2), lambda x: 1 / (1 + x * x), "moderate"),
    "atan x / x": (lambda x: jnp.atan(x) / x, lambda x: x.atan() / x, "moderate"),
    "sin tan x": (lambda x: jnp.sin(jnp.tan(x)), lambda x: x.tan().sin(), "moderate"),
    "log₂(1 + 2ᵗ)": (
        lambda t: jnp.log2(1 + jnp.exp2(t)),
        lambda t: (1 + (t * arb(2).log()).exp()).log() / arb(2).log(),
        "moderate",
    ),
}


def _cases() -> dict[str, Case]:
    def one(name: str, domain: str, oracle: Oracle, f: Any = None) -> None:
        cases[name] = Case(f or getattr(lax, name), oracle, (domain,))

    cases: dict[str, Case] = {}
    real = ("real", "real")
    cases["add"] = Case(lax.add, lambda x, y: x + y, real)
    cases["sub"] = Case(lax.sub, lambda x, y: x - y, real)
    cases["mul"] = Case(lax.mul, lambda x, y: x * y, real)
    cases["div"] = Case(lax.div, lambda x, y: x / y, real)
    cases["div by 3.7"] = Case(lambda x: x / 3.7, lambda x: x / arb(3.7), ("real",))
    for c in (3.7e37, 3e38, 5e-38, -1 / 3):  # 1 / c is subnormal, flushed, overflows nearly
        cases[f"div by {c:.2g}"] = Case(
            lambda x, c=c: x / np.float32(c).astype(x.dtype),
            lambda x, c=c: x / arb(float(np.float32(c))),
            ("real",),
        )
    cases["max"] = Case(lax.max, lambda x, y: x.max(y), real)
    cases["min"] = Case(lax.min, lambda x, y: x.min(y), real)
    cases["pow"] = Case(lax.pow, _real_power, ("positive", "moderate"))
    cases["atan2"] = Case(lax.atan2, lambda y, x: arb.atan2(y, x), ("moderate", "moderate"))
    one("neg", "real", lambda x: -x)
    one("abs", "real", abs)
    one("sign", "real", lambda x: x.sgn())
    one("floor", "moderate", lambda x: x.floor())
    one("square", "real", lambda x: x * x)
    for n in (2, 3, 7, 10, -1, -2, -3):
        one(f"x^{n}", "real", functools.partial(_power, n=n), functools.partial(_integer_pow, n=n))
    for y in (0.5, 1.5, -0.5, 0.3, -2.7):
        one(
            f"x^{y}",
            "positive",
            lambda x, y=y: _real_power(x, arb(y)),
            lambda x, y=y: lax.pow(x, jnp.asarray(y, x.dtype)) if y * 2 % 1 == 0 else x**y,
        )
    one("sqrt", "positive", lambda x: x.sqrt())
    one("rsqrt", "positive", lambda x: x.rsqrt())
    one("cbrt", "real", _cbrt)
    one("exp", "exponent", lambda x: x.exp())
    one("exp2", "exponent", lambda x: (x * arb(2).log()).exp())
    one("expm1", "exponent", lambda x: x.expm1())
    one("log", "positive", lambda x: x.log())
    one("log2", "positive", lambda x: x.log() / arb(2).log(), jnp.log2)
    one("log1p", "above -1", _log1p)
    one("logistic", "exponent", lambda x: 1 / (1 + (-x).exp()))
    one("sin", "angle", lambda x: x.sin())
    one("cos", "angle", lambda x: x.cos())
    one("tan", "angle", lambda x: x.tan())
    one("asin", "unit", lambda x: x.asin())
    one("acos", "unit", lambda x: x.acos())
    one("atan", "real", lambda x: x.atan())
    one("sinh", "exponent", lambda x: x.sinh())
    one("cosh", "exponent", lambda x: x.cosh())
    one("tanh", "exponent", lambda x: x.tanh())
    one("asinh", "real", lambda x: x.asinh())
    one("acosh", "above 1", lambda x: x.acosh())
    one("atanh", "unit", lambda x: x.atanh())
    one("erf", "moderate", lambda x: x.erf())
    one("erfc", "moderate", lambda x: x.erfc())
    for name, (f, oracle, domain) in COMPOSITES.items():
        cases[name] = Case(f, oracle, (domain,))
        plain = inlined(f)
        for order, prime in ((1, "′"), (2, "″")):
            plain = jax.grad(plain)
            cases[f"({name}){prime}"] = Case(plain, _at(oracle, order), (domain,), order)
    return cases


def _integer_pow(x: Any, n: int) -> Any:
    return lax.integer_pow(x, n)


CASES = _cases()


# --- boxes ---------------------------------------------------------------------------------------


def boxes(domain: str, n: int, dtype: str, random: np.random.Generator) -> Any:
    """Lower and upper ends of n boxes."""
    info = np.finfo(dtype)
    sign = random.choice([-1.0, 1.0], n)
    moderate = np.exp2(random.uniform(-12, 7, n))
    any_scale = np.exp2(random.uniform(info.minexp, info.maxexp - 0.001, n))
    match domain:
        case "real":
            middle = sign * np.where(random.random(n) < 0.5, moderate, any_scale)
        case "positive":
            middle = np.where(random.random(n) < 0.5, moderate, any_scale)
        case "moderate":
            middle = sign * moderate
        case "moderate positive":
            middle = np.exp2(random.uniform(-20, 12, n))
        case "exponent":
            largest = math.log(float(info.max)) * 1.1
            middle = np.where(
                random.random(n) < 0.5, random.uniform(-largest, largest, n), sign * moderate
            )
            small = sign * np.minimum(any_scale, 1)
            middle = np.where(random.random(n) < 0.2, small, middle)
        case "angle":
            near = np.round(random.uniform(-500, 500, n)) * math.pi / 2
            middle = np.where(random.random(n) < 0.5, near, random.uniform(-30, 30, n))
            middle = np.where(random.random(n) < 0.1, sign * any_scale, middle)
        case "unit":
            middle = sign * np.exp2(-np.exp2(random.uniform(-6, 5, n)))
            middle = np.where(random.random(n) < 0.3, sign * (1 - abs(middle)), middle)
        case "above 1":
            middle = 1 + np.exp2(random.uniform(-info.nmant, 10, n))
            middle = np.where(random.random(n) < 0.2, 1 + any_scale, middle)
        case "above -1":
            middle = np.exp2(random.uniform(-info.nmant, 1, n)) - 1
            middle = np.where(random.random(n) < 0.5, np.where(sign > 0, any_scale, -0.5), middle)
        case _:
            raise ValueError(domain)
    width = abs(middle) * np.exp2(-random.uniform(0, info.nmant + 1, n))
    with np.errstate(over="ignore"):
        lower = (middle - width * random.random(n)).astype(dtype)
        upper = (middle + width * random.random(n)).astype(dtype)
    kind = random.random(n)
    point = kind < 0.15
    upper = np.where(point, lower, upper)
    zero = (kind > 0.15) & (kind < 0.2)
    lower, upper = np.where(zero, 0, lower), np.where(zero, abs(upper), upper)
    across = (kind > 0.2) & (kind < 0.27)
    lower, upper = (
        np.where(across, -abs(lower) * random.random(n), lower),
        np.where(across, abs(upper), upper),
    )
    subnormal = (kind > 0.27) & (kind < 0.3)
    least = float(info.tiny)
    lower = np.where(subnormal, least * random.uniform(-1, 1, n), lower)
    upper = np.where(subnormal, lower + least * random.random(n), upper)
    largest = (kind > 0.3) & (kind < 0.31)
    upper = np.where(largest & (domain == "real"), info.max, upper)
    ends = np.clip(np.stack([lower, upper]), -float(info.max), float(info.max)).astype(dtype)
    return ends.min(0), ends.max(0)


def points(lower: Any, upper: Any, random: np.random.Generator) -> Any:
    """Points of each box (n, points), the ends first, as float64."""
    low, high = lower.astype(float), upper.astype(float)
    inside = [low, high]
    for i in range(INSIDE):
        u = random.random(len(low))
        point = low * (1 - u) + high * u
        if i % 2:  # the same for each octave
            positive = low > 0
            scaled = np.exp2(
                np.log2(np.where(positive, low, 1)) * (1 - u)
                + np.log2(np.where(positive, high, 1)) * u
            )
            point = np.where(positive, scaled, point)
        inside.append(np.clip(point, low, high))
    return np.stack(inside, axis=-1)


# --- measurement ---------------------------------------------------------------------------------


def enclosures(case: Case, ends: list[Any], dtype: str) -> Interval:
    """Jitted, over all boxes at once; derivatives are those of scalars."""

    def scalar(*flat: Any) -> Interval:
        return enclose(case.function, *map(Interval, flat[::2], flat[1::2]))

    # float64 is compiled as `at_least` does it.
    level = {"xla_backend_optimization_level": 0} if dtype == "float64" else None
    with jax.enable_x64(dtype == "float64"):
        return jax.device_get(jax.jit(jax.vmap(scalar), compiler_options=level)(*ends))


def examine(name: str, n: int, dtype: str, seed: int = 0) -> dict[str, Any]:
    """Compare n random boxes with the oracle."""
    case = CASES[name]
    random = np.random.default_rng([seed, DTYPES.index(dtype), *name.encode()])
    drawn = [boxes(domain, n, dtype, random) for domain in case.domains]
    start = time.perf_counter()
    found = enclosures(case, [end for box in drawn for end in box], dtype)
    compute = time.perf_counter() - start
    arguments = np.stack([points(low, high, random) for low, high in drawn], axis=-1).tolist()
    violations, example, unbounded, checked, excess = 0, None, 0, 0, []
    precision = flint.ctx.prec
    flint.ctx.prec = BITS
    try:
        for i, (low, high) in enumerate(zip(*(end.tolist() for end in found), strict=True)):
            if not low <= high:  # NaN too
                violations, example = violations + 1, example or [b[i].tolist() for b in drawn[0]]
                continue
            least, most = arb(low), arb(high)
            values = []
            for point in arguments[i]:
                value = case.oracle(*map(arb, point))
                if not value.is_finite():
                    continue
                checked += 1
                values.append(value)
                if value < least or value > most:
                    violations += 1
                    example = example or [*point, low, high, str(value)]
            if math.isinf(low) or math.isinf(high):
                unbounded += 1
            elif values:
                seen = [float(value) for value in values]
                if max(seen) > min(seen) and high > low:
                    # Halves, as the difference may be beyond the largest number.
                    ratio = (max(seen) / 2 - min(seen) / 2) / (high / 2 - low / 2)
                    excess.append(max(0.0, 1 - ratio))
    finally:
        flint.ctx.prec = precision
    return {
        "function": name,
        "dtype": dtype,
        "boxes": n,
        "points": checked,
        "violations": violations,
        "example": example,
        "unbounded": unbounded,
        "excess": sum(excess) / len(excess) if excess else None,
        "compute_seconds": compute,
    }


def measure(quick: bool = False, names: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that the table shows, as JSON holds it; of all functions unless some are named."""
    names = names or list(CASES)
    each = -(-(QUICK if quick else BOXES) // (len(names) * len(DTYPES)))
    start = time.perf_counter()
    cells = [examine(name, each, dtype) for name in names for dtype in DTYPES]
    return report.header("soundness", quick) | {
        "bits": BITS,
        "cells": cells,
        "boxes": sum(cell["boxes"] for cell in cells),
        "violations": sum(cell["violations"] for cell in cells),
        "seconds": time.perf_counter() - start,
    }


def table(result: dict[str, Any]) -> str:
    """A row for each function, made from the JSON alone."""
    rows = []
    names = list(dict.fromkeys(cell["function"] for cell in result["cells"]))
    for name in names:
        cells = [cell for cell in result["cells"] if cell["function"] == name]
        row = [name, *(str(sum(c[key] for c in cells)) for key in ("boxes", "points"))]
        row.append(str(sum(c["violations"] for c in cells)))
        for cell in cells:
            row.append("–" if cell["excess"] is None else f"{100 * cell['excess']:.0f} %")
        rows.append(row)
    head = ["function", "boxes", "points", "violations"]
    head += [f"excess width, {dtype}" for dtype in DTYPES]
    summary = (
        f"{result['boxes']} boxes, {result['violations']} violations, "
        f"{result['seconds']:.0f} s. Excess width: the share of a bounded enclosure beyond the "
        "values at the points that were looked at, on average."
    )
    return "\n\n".join([report.markdown(head, rows), summary, report.circumstances(result)])
