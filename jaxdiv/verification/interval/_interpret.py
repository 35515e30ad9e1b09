"""Evaluate jaxprs on boxes, ask where they are smooth, and strip them of derivative rules."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.extend.core as core
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from . import _elementary as e
from ._rounding import FLOATS, Interval, literal, outward
from ._rules import (
    COMPARISONS,
    END_BY_END,
    INTEGERS,
    NO_INTEGERS,
    RULES,
    STEP_PARAMETERS,
    apply_to_ends,
    find,
    to_interval,
)

_CALLS = {find(name) for name in "jit pjit closed_call call remat custom_jvp_call".split()}
_CALLS |= {find(name) for name in "custom_vjp_call custom_vjp_call_jaxpr core_call".split()}
_CALLS -= {None}
_SCAN, _WHILE, _COND = find("scan"), find("while"), find("cond")
_IOTA, _STOP = find("iota"), find("stop_gradient")
_ERROR_FUNCTIONS = find("erf"), find("erfc")

# A value of a jaxpr: an interval of floats, a truth value, or an array that depends on no box.
Value = Any


def enclose(f: Callable[..., Any], *boxes: Any) -> Any:
    """The values of a function on boxes, and possibly more.

    Args:
        f: A function of arrays of the boxes' shape; anything that JAX can trace, such as
            `jax.grad` of another function.
        boxes: An `Interval` for each argument; what is not one is passed on as it is.

    Returns:
        An `Interval` for each array that f returns. It contains f(x) for all real x in the boxes
        for which f is defined, where each primitive is taken as its exact real function.

    Raises:
        NotImplementedError: f meets a primitive without a rule.
    """
    closed, shape, inputs = _traced(f, boxes)
    outputs, _ = _Evaluator(check=False).run(closed.jaxpr, closed.consts, inputs)
    leaves = [to_interval(x) for x in outputs]
    return jax.tree.unflatten(jax.tree.structure(shape), leaves)


def smooth(f: Callable[..., Any], *boxes: Any) -> Array:
    """Whether a function of scalars is certainly smooth on each box, ends included.

    Args:
        f: A function from scalars to a scalar.
        boxes: An `Interval` for each argument, all of one shape; what is not one is passed on.

    Returns:
        For each box, whether every abs, max, select, sqrt, division, ... that f meets stays on
        one smooth piece of it. False where that is undecided.

    Raises:
        NotImplementedError: f meets a primitive without a rule.
    """
    dynamic = [box for box in boxes if isinstance(box, Interval)]

    def one(*intervals: Interval) -> Array:
        rest = iter(intervals)
        arguments = [next(rest) if isinstance(box, Interval) else box for box in boxes]
        closed, _, inputs = _traced(f, arguments)
        _, result = _Evaluator(check=True).run(closed.jaxpr, closed.consts, inputs)
        return jnp.asarray(result, bool)

    for _ in range(np.ndim(dynamic[0].lower) if dynamic else 0):
        one = jax.vmap(one)
    return one(*dynamic)


def _traced(f: Callable[..., Any], boxes: Sequence[Any]) -> tuple[Any, Any, list]:
    places = [i for i, box in enumerate(boxes) if isinstance(box, Interval)]

    def of_boxes(*arrays: Array) -> Any:
        arguments = list(boxes)
        for i, array in zip(places, arrays, strict=True):
            arguments[i] = array
        return f(*arguments)

    intervals = [Interval(*(jnp.asarray(end) for end in boxes[i])) for i in places]
    for x in intervals:
        if x.lower.dtype not in FLOATS or x.lower.dtype != x.upper.dtype:
            raise TypeError(
                f"the ends of an Interval must both be float32 or float64, "
                f"not {x.lower.dtype} and {x.upper.dtype}"
            )
    like = [jax.ShapeDtypeStruct(x.lower.shape, x.lower.dtype) for x in intervals]
    closed, shape = jax.make_jaxpr(of_boxes, return_shape=True)(*like)
    return closed, shape, [outward(x.lower, x.upper) for x in intervals]


def _constant(value: Any) -> Value:
    """A literal, or an array that the function closes over."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or dtype not in FLOATS:
        return value
    if isinstance(value, jax.core.Tracer):
        return outward(value, value)
    return literal(np.asarray(value), dtype)


def _literal(x: core.Literal) -> Value:
    aval: Any = x.aval
    dtype = aval.dtype
    return literal(x.val, dtype) if dtype in FLOATS else np.asarray(x.val, dtype)


def _needed(jaxpr: Any) -> list[Any]:
    """The equations that the outputs depend on, in order."""
    used = {x for x in jaxpr.outvars if not isinstance(x, core.Literal)}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if used.intersection(equation.outvars):
            used.update(x for x in equation.invars if not isinstance(x, core.Literal))
            kept.append(equation)
    return kept[::-1]


def _key(equation: Any, operands: Sequence[Value]) -> Any:
    """Equal for equations with equal results while their operands live; None if unclear."""
    names = [
        (str(x.aval), repr(x.val)) if isinstance(x, core.Literal) else id(value)
        for x, value in zip(equation.invars, operands, strict=True)
    ]
    key = (equation.primitive, *equation.params.items(), *names)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _is_float(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


class _Evaluator:
    """Runs jaxprs on intervals; `check` asks for smoothness as well."""

    def __init__(self, check: bool):
        self.check = check

    def run(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value]) -> tuple[list, Any]:
        """The values of the outputs, and whether everything was smooth."""
        environment: dict[Any, Value] = {}

        def read(x: Any) -> Value:
            return _literal(x) if isinstance(x, core.Literal) else environment[x]

        environment.update(zip(jaxpr.constvars, map(_constant, consts), strict=True))
        environment.update(zip(jaxpr.invars, inputs, strict=True))
        smooth: Any = True
        done: dict[Any, list[Value]] = {}
        for equation in jaxpr.eqns if self.check else _needed(jaxpr):
            operands = [read(x) for x in equation.invars]
            # Derivatives repeat what they differentiate: not computed twice.
            key = _key(equation, operands)
            if key is not None and key in done:
                environment.update(zip(equation.outvars, done[key], strict=True))
                continue
            outputs, condition = self.equation(equation, operands)
            if key is not None:
                done[key] = outputs
            environment.update(zip(equation.outvars, outputs, strict=True))
            if condition is not True:
                smooth = jnp.all(jnp.asarray(condition)) & smooth
        return [read(x) for x in jaxpr.outvars], smooth

    def equation(self, equation: Any, operands: list[Value]) -> tuple[list[Value], Any]:
        primitive = equation.primitive
        if primitive in _CALLS:
            if _is_gaussian(equation):
                return [e.exp_of_minus_square(operands[0])], True
            jaxpr, consts = _callee(equation)
            return self.run(jaxpr, consts, operands)
        if primitive is _COND:
            return self.cond(equation, operands)
        if primitive is _SCAN:
            return self.scan(equation, operands)
        if primitive is _WHILE:
            return self.loop(equation, operands)
        floats = any(_is_float(x.aval.dtype) for x in (*equation.invars, *equation.outvars))
        if not floats and not any(isinstance(x, Interval) for x in operands):
            result = primitive.bind(*operands, **equation.params)  # exact
            return list(result) if primitive.multiple_results else [result], True
        if primitive is _IOTA:
            value = primitive.bind(*operands, **equation.params)
            if max(value.shape) > 2 ** np.finfo(value.dtype).nmant:
                raise NotImplementedError("iota beyond the integers that are floats")
            return [Interval(value, value)], True
        self.accept(equation, operands)
        if primitive in END_BY_END:
            condition = END_BY_END[primitive]
            kept = {k: v for k, v in equation.params.items() if k in STEP_PARAMETERS}
            passed = not self.check or condition(*operands, **kept)
            return apply_to_ends(equation, operands), passed
        if primitive in COMPARISONS and equation.invars[0] is equation.invars[1]:
            same = jnp.full(equation.outvars[0].aval.shape, COMPARISONS[primitive])
            return [Interval(same, same)], True
        row = RULES[primitive]
        kept = {name: equation.params[name] for name in row.parameters}
        if primitive is not find("select_n"):
            operands = [to_interval(x) for x in operands]
        result = row.enclose(*operands, **kept)
        shape = equation.outvars[0].aval.shape
        if result.lower.shape != shape:  # all operands were scalars next to one that is not used
            result = Interval(*(jnp.broadcast_to(end, shape) for end in result))
        return [result], not self.check or row.smooth(*operands, **kept)

    def accept(self, equation: Any, operands: list[Value]) -> None:
        """Raise NotImplementedError where there is no rule."""
        primitive = equation.primitive
        if primitive not in RULES and primitive not in END_BY_END:
            raise NotImplementedError(f"no interval rule for the primitive {primitive.name!r}")
        for x in (*equation.invars, *equation.outvars):
            if _is_float(x.aval.dtype) and x.aval.dtype not in FLOATS:
                raise NotImplementedError(
                    f"no interval arithmetic in {x.aval.dtype} (primitive {primitive.name!r})"
                )
        for x in operands:
            if (
                isinstance(x, Interval)
                and x.lower.dtype not in (*FLOATS, np.bool_)
                and (primitive in NO_INTEGERS or primitive not in (*INTEGERS, *END_BY_END))
            ):
                raise NotImplementedError(f"{primitive.name} of integers that depend on a box")

    # --- control flow: decided by what depends on no box, or both ways -------------------------

    def cond(self, equation: Any, operands: list[Value]) -> tuple[list[Value], Any]:
        index, *operands = operands
        branches = equation.params["branches"]

        def branch(closed: Any) -> Callable[[], tuple[list[Value], Array]]:
            def evaluate() -> tuple[list[Value], Array]:
                outputs, passed = self.run(closed.jaxpr, closed.consts, operands)
                return [_uniform(x) for x in outputs], jnp.asarray(passed, bool)

            return evaluate

        if not isinstance(index, Interval):
            return lax.switch(index, [branch(closed) for closed in branches])
        results = [branch(closed)() for closed in branches]
        last = len(branches) - 1
        first_branch, last_branch = (jnp.clip(end, 0, last) for end in index)
        outputs, passed = results[0]
        for i, (values, smooth) in enumerate(results[1:], start=1):
            # Among branches up to i, those between the two ends of the index.
            for j, (so_far, value) in enumerate(zip(outputs, values, strict=True)):
                if not isinstance(value, Interval):
                    raise NotImplementedError("cond on a box that returns integers")
                reached = e.where(first_branch >= i, value, e.hull(so_far, value))
                outputs[j] = e.where(last_branch < i, so_far, reached)
            passed = passed & smooth
        return outputs, passed & (first_branch == last_branch)

    def scan(self, equation: Any, operands: list[Value]) -> tuple[list[Value], Any]:
        parameters = equation.params
        constants, carried = _scan_counts(parameters, len(operands))
        jaxpr, consts = parameters["jaxpr"].jaxpr, parameters["jaxpr"].consts
        fixed = operands[:constants]
        first = [_uniform(x) for x in operands[constants : constants + carried]]
        xs = [_uniform(x) for x in operands[constants + carried :]]

        def step(carry: Any, x: list[Value]) -> Any:
            values, passed = carry
            outputs, condition = self.run(jaxpr, consts, [*fixed, *values, *x])
            outputs = [_uniform(y) for y in outputs]
            return (outputs[:carried], passed & jnp.asarray(condition)), outputs[carried:]

        (last, passed), ys = lax.scan(
            step,
            (_arrays(first), jnp.asarray(True)),
            _arrays(xs),
            length=parameters["length"],
            reverse=parameters["reverse"],
        )
        return [*last, *ys], passed

    def loop(self, equation: Any, operands: list[Value]) -> tuple[list[Value], Any]:
        parameters = equation.params
        test, body = parameters["cond_jaxpr"], parameters["body_jaxpr"]
        a, b = parameters["cond_nconsts"], parameters["body_nconsts"]
        test_fixed, body_fixed = operands[:a], operands[a : a + b]
        first = [_uniform(x) for x in operands[a + b :]]

        def go_on(carry: Any) -> Array:
            (more,), _ = self.run(test.jaxpr, test.consts, [*test_fixed, *carry[0]])
            if isinstance(more, Interval):
                raise NotImplementedError("while_loop whose end depends on a box")
            return more

        def step(carry: Any) -> Any:
            outputs, condition = self.run(body.jaxpr, body.consts, [*body_fixed, *carry[0]])
            return [_uniform(x) for x in outputs], carry[1] & jnp.asarray(condition)

        return lax.while_loop(go_on, step, (_arrays(first), jnp.asarray(True)))


def _uniform(x: Value) -> Value:
    """Floats and bools as intervals, so that a loop carries the same types all along."""
    if isinstance(x, Interval):
        if x.lower.dtype not in (*FLOATS, np.bool_):
            raise NotImplementedError("integers that depend on a box in control flow")
        return x
    return Interval(x, x) if jnp.asarray(x).dtype == jnp.bool_ else x


def _arrays(values: Any) -> Any:
    return jax.tree.map(jnp.asarray, values)


def _callee(equation: Any) -> tuple[Any, Sequence[Any]]:
    jaxpr = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    if jaxpr is None:
        raise NotImplementedError(f"no interval rule for the primitive {equation.primitive.name!r}")
    return (jaxpr.jaxpr, jaxpr.consts) if hasattr(jaxpr, "jaxpr") else (jaxpr, ())


def _scan_counts(parameters: dict[str, Any], operands: int) -> tuple[int, int]:
    """How many operands are constant and how many are carried."""
    if "num_consts" in parameters:
        return parameters["num_consts"], parameters["num_carry"]
    counts = [len(list(part.vals)) for part in parameters["ft_in"].unpack()]
    if len(counts) != 3 or sum(counts) != operands:
        raise NotImplementedError("scan as this version of JAX writes it")
    return counts[0], counts[1]


@functools.cache
def _gaussian(shape: tuple[int, ...], dtype: str) -> str | None:
    """How JAX writes exp(-x^2) in its derivative of erf."""
    x = jax.ShapeDtypeStruct(shape, dtype)
    one = np.ones(shape, dtype)
    jaxpr = jax.make_jaxpr(lambda x: jax.jvp(lax.erf, (x,), (one,))[1])(x)
    calls = [eqn for eqn in jaxpr.jaxpr.eqns if eqn.primitive is find("custom_jvp_call")]
    return str(calls[0].params["call_jaxpr"]) if calls else None


def _is_gaussian(equation: Any) -> bool:
    # Since JAX 0.11 it splits x^2 by its bits, to be accurate, in a function with its own rule.
    if equation.primitive is not find("custom_jvp_call") or len(equation.invars) != 1:
        return False
    aval, jaxpr = equation.invars[0].aval, equation.params["call_jaxpr"]
    if aval.dtype not in FLOATS or "bitcast" not in str(jaxpr):
        return False
    return str(jaxpr) == _gaussian(aval.shape, str(aval.dtype))


# --- derivative rules ----------------------------------------------------------------------------


def inlined(f: Callable[..., Any]) -> Callable[..., Any]:
    """The same function out of JAX's own primitives, so that its derivative is the true one.

    Functions with a derivative rule of their own (custom_jvp, custom_vjp), jitted and
    checkpointed ones are replaced by what they compute, and stop_gradient by nothing.

    Raises:
        NotImplementedError: f meets a primitive whose derivative is not known to be that of its
            real function, such as one that looks at bits.
    """

    @functools.wraps(f)
    def plain(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(f, return_shape=True)(*args)
        outputs = _inline(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return plain


@jax.custom_jvp
def _erf(x: Array) -> Array:
    """The error function; JAX's second derivative is exactly 0 where exp(-x^2) underflows."""
    return lax.erf(x)


@_erf.defjvp
def _(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return lax.erf(x), 2 / math.sqrt(math.pi) * lax.exp(-(x * x)) * x_dot


def _inline(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    environment: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    environment.update(zip(jaxpr.invars, inputs, strict=True))

    def read(x: Any) -> Any:
        return x.val if isinstance(x, core.Literal) else environment[x]

    for equation in jaxpr.eqns:
        outputs = _inline_equation(equation, [read(x) for x in equation.invars])
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _inline_equation(equation: Any, operands: list[Any]) -> list[Any]:
    primitive, parameters = equation.primitive, equation.params
    if primitive in _CALLS:
        if _is_gaussian(equation):
            return [lax.exp(-(operands[0] * operands[0]))]
        return _inline(*_callee(equation), operands)
    if primitive is _STOP:
        return operands
    if primitive in _ERROR_FUNCTIONS:
        value = _erf(operands[0])
        return [value if primitive is _ERROR_FUNCTIONS[0] else 1 - value]
    if primitive is _COND:
        index, *operands = operands
        branches = [
            functools.partial(_inline, closed.jaxpr, closed.consts)
            for closed in parameters["branches"]
        ]
        return lax.switch(index, [lambda *xs, b=b: b(xs) for b in branches], *operands)
    if primitive is _SCAN:
        constants, carried = _scan_counts(parameters, len(operands))
        closed = parameters["jaxpr"]

        def step(carry: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
            ys = _inline(closed.jaxpr, closed.consts, [*operands[:constants], *carry, *xs])
            return ys[:carried], ys[carried:]

        first = [jnp.asarray(x) for x in operands[constants : constants + carried]]
        last, ys = lax.scan(
            step,
            first,
            operands[constants + carried :],
            length=parameters["length"],
            reverse=parameters["reverse"],
        )
        return [*last, *ys]
    if primitive is _WHILE:
        test, body = parameters["cond_jaxpr"], parameters["body_jaxpr"]
        a, b = parameters["cond_nconsts"], parameters["body_nconsts"]
        return lax.while_loop(
            lambda xs: _inline(test.jaxpr, test.consts, [*operands[:a], *xs])[0],
            lambda xs: _inline(body.jaxpr, body.consts, [*operands[a : a + b], *xs]),
            [jnp.asarray(x) for x in operands[a + b :]],
        )
    floats = any(_is_float(x.aval.dtype) for x in (*equation.invars, *equation.outvars))
    if floats and primitive not in RULES and primitive not in END_BY_END:
        raise NotImplementedError(f"no interval rule for the primitive {primitive.name!r}")
    result = primitive.bind(*operands, **parameters)
    return list(result) if primitive.multiple_results else [result]
