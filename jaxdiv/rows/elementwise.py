"""A function of one outcome as a list of elementwise operations, to be run on tiles of many.

A GPU kernel knows fewer operations than XLA, and no function with a derivative rule of its own. So
the function is traced with one number in each place; calls are opened; what depends on parameters
alone is computed outside of the kernel, into a table of numbers; and what remains is a list of
operations in which every number stands for a tile. Arrays in the function, such as the points of
a quadrature, become as many numbers.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.extend.core import Literal

from .. import _exponentials as exponentials
from .. import _numerics as num


class Unsupported(Exception):
    """A function that has no form as elementwise operations; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Number:
    """An input (named), a constant, a place in the table of known numbers, or an operation."""

    dtype: Any
    wide: bool  # whether it differs from outcome to outcome
    source: Any = None
    operation: Any = None
    operands: tuple["_Number", ...] = ()


@dataclasses.dataclass(frozen=True)
class Program:
    """Operations in the order of their evaluation, and which of them are the results."""

    numbers: tuple[_Number, ...]
    results: tuple[_Number, ...]

    def of_row(self, inputs: Mapping[str, Array], table: Callable[[int], Array]) -> dict:
        """The values of what is the same for all outcomes of a row.

        An input is a number, or a vector of one for each of several rows.
        """
        known: dict[_Number, Array] = {}
        for number in self.numbers:
            if not number.wide:
                known[number] = _value(number, known, inputs, table)
        return known

    def of_tile(self, known: dict, inputs: Mapping[str, Array], shape: tuple) -> list[Array]:
        """The results for a tile, given those of `of_row`: for each of whose rows, if several."""
        known = dict(known)
        for number in self.numbers:
            if number.wide:
                known[number] = _value(number, known, inputs, None)
        return [_spread(known[result], shape) for result in self.results]

    def only(self, places: Sequence[int]) -> "Program":
        """The program of some of its results."""
        results = tuple(self.results[i] for i in places)
        used = set(results)
        for number in reversed(self.numbers):
            if number in used:
                used.update(number.operands)
        return Program(tuple(number for number in self.numbers if number in used), results)


def _spread(x: Array, shape: tuple[int, ...]) -> Array:
    """A number, or a vector of one for each row of a tile, over a shape."""
    if jnp.ndim(x) == len(shape):
        return x
    return jnp.broadcast_to(x, shape) if jnp.ndim(x) == 0 else lax.broadcast_in_dim(x, shape, (0,))


def _value(number: _Number, known, inputs, table) -> Array:
    if number.operation is None:
        if isinstance(number.source, str):
            return inputs[number.source]
        if isinstance(number.source, int):
            found = table(number.source)
            return found if number.dtype == jnp.float32 else _from_float(found, number.dtype)
        return jnp.asarray(number.source, number.dtype)
    primitive, params = number.operation
    operands = [known[x] for x in number.operands]
    shape = max((jnp.shape(x) for x in operands), key=len)
    return primitive.bind(*(_spread(x, shape) for x in operands), **params)


def _from_float(x: Array, dtype: Any) -> Array:
    return x != 0 if dtype == jnp.bool_ else lax.bitcast_convert_type(x, dtype)


def _as_float(x: Array) -> Array:
    if x.dtype == jnp.float32:
        return x
    return x.astype(jnp.float32) if x.dtype == jnp.bool_ else lax.bitcast_convert_type(x, "float32")


def program(
    function: Callable[..., Sequence[Array]],
    parameters: Sequence[Array],
    inputs: Mapping[str, bool],
    first: int = 0,
    rewrites: Mapping[str, Callable[..., Array]] | None = None,
) -> tuple[Program, list[Array]]:
    """The program of function(parameters, **inputs), and its numbers in a table, in float32.

    Parameters are scalars. Inputs are float32 scalars; of each is said whether it differs from
    outcome to outcome. The program finds its numbers in the table from place `first` on.
    `rewrites` are more operations, by name, as functions of operations that are known.
    """
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    with jax.enable_x64(False):
        like = [jax.ShapeDtypeStruct((), jnp.result_type(x)) for x in parameters]
        closed = jax.make_jaxpr(function)(like, **dict.fromkeys(inputs, scalar))
    builder = _Builder(first, rewrites or {})
    # Keyword arguments are flattened in the order of their names.
    places = [builder.input(name, inputs[name]) for name in sorted(inputs)]
    found = builder.walk(closed.jaxpr, closed.consts, [*parameters, *places])
    results = tuple(builder.numbers_of(x).item() for x in found)
    return Program(tuple(builder.numbers), results).only(range(len(results))), builder.table


def programs(
    wanted: Mapping[str, tuple[Callable[..., Sequence[Array]], Mapping[str, bool]]],
    parameters: Sequence[Array],
    rewrites: Mapping[str, Callable[..., Array]] | None = None,
) -> tuple[dict[str, Program], Array]:
    """Programs of several functions, each with its inputs, and their one table.

    Parameters are scalars or one number a row, (rows, 1); the table is (1 or rows, numbers).
    """
    made: dict[str, Program] = {}

    def known(*parameters: Array) -> Array:
        """The table of one row; the programs are noted on the way."""
        numbers: list[Array] = []
        for name, (function, inputs) in wanted.items():
            made[name], more = program(function, parameters, inputs, len(numbers), rewrites)
            numbers += more
        return jnp.stack(numbers) if numbers else jnp.zeros(1, jnp.float32)

    own = [x.ndim > 0 for x in parameters]
    if any(own):
        flat = [x.reshape(-1) if mine else x for x, mine in zip(parameters, own, strict=True)]
        return made, jax.vmap(known, [0 if mine else None for mine in own])(*flat)
    return made, known(*parameters)[None]


_CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"),
    *("custom_vjp_call_jaxpr", "checkpoint", "remat", "remat2"),
}
_ELEMENTWISE = {
    *("add", "sub", "mul", "div", "max", "min", "neg", "abs", "sign", "square", "clamp"),
    *("exp", "exp2", "log", "log2", "tanh", "logistic", "sqrt", "rsqrt", "sin", "cos", "erf"),
    *("select_n", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor"),
    *("shift_left", "shift_right_logical", "shift_right_arithmetic"),
    *("convert_element_type", "bitcast_convert_type"),
}
_REDUCTIONS = {
    "reduce_sum": lax.add_p,
    "reduce_prod": lax.mul_p,
    "reduce_max": lax.max_p,
    "reduce_min": lax.min_p,
    "reduce_and": lax.and_p,
    "reduce_or": lax.or_p,
}
_DTYPES = (jnp.float32, jnp.int32, jnp.bool_)


def _pow(x: Array, y: Array) -> Array:
    """x^y for x >= 0 from the logarithm as a pair; NaN for x < 0."""
    positive = (x >= jnp.finfo(x.dtype).tiny) & (x < jnp.inf)
    hi, lo = num.log_pair(jnp.where(positive, x, 1))
    head, tail = num.two_product(y, hi)
    inside = num.exp_pair(head, tail + y * lo)
    # 0^y and inf^y.
    edge = jnp.where((y > 0) == (x > 1), jnp.inf, 0)
    outside = jnp.where(x >= 0, jnp.where(y == 0, 1, edge), jnp.nan)
    return jnp.where(positive, inside, outside).astype(x.dtype)


def _float_pow(x: Array, y: Array) -> Array:
    return _pow(x, y.astype(x.dtype))


def _integer_pow(x: Array, *, y: int) -> Array:
    """x^y by squaring."""
    result, power = jnp.ones_like(x), x
    for digit in reversed(f"{abs(y):b}"):
        result = result * power if digit == "1" else result
        power = power * power
    return 1 / result if y < 0 else result


def _cbrt(x: Array, **_: Any) -> Array:
    return jnp.sign(x) * _pow(jnp.abs(x), jnp.full_like(x, 1 / 3))


def _convert(x: Array, *, new_dtype: Any, **_: Any) -> Array:
    if x.dtype == jnp.bool_:
        return jnp.where(x, jnp.ones((), new_dtype), jnp.zeros((), new_dtype))
    return x != 0


# What a kernel doesn't know, by what it knows.
_REWRITES: dict[str, Callable[..., Array]] = {
    "add_any": lax.add,
    exponentials.exp_p.name: jnp.exp,
    exponentials.expm1_p.name: exponentials.expm1_elsewhere,
    "sinh": lambda x, **_: (num.expm1(x) - num.expm1(-x)) / 2,
    "cosh": lambda x, **_: (jnp.exp(x) + jnp.exp(-x)) / 2,
    "expm1": lambda x, **_: num.expm1(x),
    "log1p": lambda x, **_: num.log1p(x),
    "pow": _float_pow,
    "integer_pow": _integer_pow,
    "cbrt": _cbrt,
    "is_finite": lambda x: jnp.abs(x) < jnp.inf,
    "not": lambda x: x ^ True if x.dtype == jnp.bool_ else x ^ -1,
}


@functools.lru_cache(maxsize=1024)
def _rewritten(rewrite: Callable[..., Array], params: Any, given: Any) -> Any:
    like = [jax.ShapeDtypeStruct(*x) for x in given]
    with jax.enable_x64(False):
        return jax.make_jaxpr(lambda *x: rewrite(*x, **dict(params)))(*like)


class _Builder:
    def __init__(self, first: int, rewrites: Mapping[str, Callable[..., Array]]):
        self._rewrites = {**_REWRITES, **rewrites}
        self.numbers: list[_Number] = []
        self.table: list[Array] = []
        self._first = first
        self._made: dict[Any, _Number] = {}
        self._kept: list[Array] = []  # so that their ids stay theirs

    def _new(self, key: Any, **fields: Any) -> _Number:
        try:
            found = self._made.get(key)
        except TypeError:  # parameters that have no hash
            found, key = None, object()
        if found is None:
            found = self._made[key] = _Number(**fields)
            self.numbers.append(found)
        return found

    def input(self, name: str, wide: bool) -> np.ndarray:
        number = self._new(name, dtype=jnp.dtype("float32"), wide=wide, source=name)
        return _boxed(number)

    def numbers_of(self, x: Any) -> np.ndarray:
        """An array of numbers, from one or from known values."""
        if _is_numbers(x):
            return x
        dtype = jnp.dtype(x.dtype)
        if dtype not in _DTYPES:
            raise Unsupported(f"its numbers are {dtype}")
        boxes = np.empty(np.shape(x), object)
        if not isinstance(x, Tracer):
            for i, value in np.ndenumerate(np.asarray(x)):
                key = (dtype, value.tobytes())
                boxes[i] = self._new(key, dtype=dtype, wide=False, source=value)
            return boxes
        self._kept.append(x)
        for i in np.ndindex(boxes.shape):
            key = (id(x), i)
            if key not in self._made:
                self.table.append(_as_float(x[i]))
            place = self._first + len(self.table) - 1
            boxes[i] = self._new(key, dtype=dtype, wide=False, source=place)
        return boxes

    def walk(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        """The results of a jaxpr, each known or an array of numbers."""
        values = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))

        def read(x: Any) -> Any:
            if not isinstance(x, Literal):
                return values[x]
            aval: Any = x.aval
            return np.asarray(x.val, aval.dtype)

        for equation in jaxpr.eqns:
            found = self._equation(equation, [read(x) for x in equation.invars])
            values.update(zip(equation.outvars, found, strict=True))
        return [read(x) for x in jaxpr.outvars]

    def _equation(self, equation: Any, args: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name in _CALLS:
            inner = next(params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params)
            return self.walk(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), args)
        if not any(map(_is_numbers, args)):
            return _known(equation, args)
        if name == "convert_element_type":
            ends = args[0].flat[0].dtype if args[0].size else None, params["new_dtype"]
            rewrite = _convert if ends[0] != ends[1] and jnp.bool_ in ends else None
        else:
            rewrite = self._rewrites.get(name)
        if rewrite is not None:
            avals: list[Any] = [x.aval for x in equation.invars]
            given = tuple((x.shape, x.dtype) for x in avals)
            closed = _rewritten(rewrite, tuple(sorted(params.items())), given)
            return self.walk(closed.jaxpr, closed.consts, args)
        args = list(map(self.numbers_of, args))
        if name == "split":
            ends = np.cumsum(params["sizes"])[:-1]
            return np.split(args[0], ends, params["axis"])
        if name in _ELEMENTWISE:
            return [self._operation(equation.primitive, params, args, equation.outvars[0].aval)]
        if name in _REDUCTIONS:
            return [self._reduced(_REDUCTIONS[name], args[0], params["axes"])]
        return [_arranged(name, params, args)]

    def _operation(self, primitive: Any, params: Any, args: Sequence[Any], aval: Any) -> np.ndarray:
        if jnp.dtype(aval.dtype) not in _DTYPES:
            raise Unsupported(f"{primitive.name} makes numbers of {aval.dtype}")
        boxes = np.empty(aval.shape, object)
        args = [np.broadcast_to(x, aval.shape) for x in args]
        for i in np.ndindex(boxes.shape):
            operands = tuple(x[i] for x in args)
            chosen = self._twin(*operands, {}) if primitive is lax.select_n_p else None
            boxes[i] = chosen or self._made_by(primitive, params, operands, aval.dtype)
        return boxes

    def _made_by(
        self, primitive: Any, params: Any, operands: tuple[_Number, ...], dtype: Any
    ) -> _Number:
        return self._new(
            (primitive, tuple(sorted(params.items())), tuple(map(id, operands))),
            dtype=jnp.dtype(dtype),
            wide=any(x.wide for x in operands),
            operation=(primitive, params),
            operands=operands,
        )

    def _twin(self, *numbers: Any) -> _Number | None:
        """One of two, by what is the same for all outcomes of a row, if both are made alike.

        They are made once, of what is chosen: such as the mass of p or of q, by which is likelier.
        """
        which, *pair, known = numbers
        if which.wide or len(pair) != 2:
            return None
        first, second = pair
        if first is second:
            return first
        place = id(first), id(second)
        if place not in known:
            known[place] = self._alike(which, first, second, known)
        return known[place]

    def _alike(self, which: _Number, first: _Number, second: _Number, known: dict) -> Any:
        made, dtype = (first.operation, second.operation), first.dtype
        if not (first.wide or second.wide) or made == (None, None):
            same = dtype == second.dtype
            chosen = (which, first, second)
            return self._made_by(lax.select_n_p, {}, chosen, dtype) if same else None
        if None in made or made[0] != made[1] or len(first.operands) != len(second.operands):
            return None
        operands: list[_Number] = []
        for x, y in zip(first.operands, second.operands, strict=True):
            if (chosen := self._twin(which, x, y, known)) is None:
                return None
            operands.append(chosen)
        primitive, params = first.operation
        return self._made_by(primitive, params, tuple(operands), dtype)

    def _reduced(self, primitive: Any, x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
        """By halves, which rounds less than one after another."""
        kept = [i for i in range(x.ndim) if i not in axes]
        terms = x.transpose(*axes, *kept).reshape(-1, *(x.shape[i] for i in kept))
        while len(terms) > 1:
            half = len(terms) // 2
            like = jax.ShapeDtypeStruct(terms[:half].shape, x.flat[0].dtype)
            sums = self._operation(primitive, {}, [terms[:half], terms[half : 2 * half]], like)
            terms = np.concatenate([sums, terms[2 * half :]])
        return terms.reshape(terms.shape[1:]) if kept else _boxed(terms[0])


def _boxed(number: _Number) -> np.ndarray:
    box = np.empty((), object)
    box[()] = number
    return box


def _is_numbers(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == object


def _known(equation: Any, args: list[Any]) -> list[Any]:
    """An operation on what is known outside of the kernel."""

    def bind() -> Any:
        return equation.primitive.bind(*args, **equation.params)

    if any(isinstance(x, Tracer) for x in args):
        found = bind()
    else:
        with jax.ensure_compile_time_eval():
            found = bind()
    return list(found) if equation.primitive.multiple_results else [found]


def _arranged(name: str, params: Any, args: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers put elsewhere."""
    x = args[0]
    match name:
        case "broadcast_in_dim":
            shape, places = params["shape"], params["broadcast_dimensions"]
            spread = [1] * len(shape)
            for size, place in zip(x.shape, places, strict=True):
                spread[place] = size
            return np.broadcast_to(x.reshape(spread), shape)
        case "reshape" if params["dimensions"] is None:
            return x.reshape(params["new_sizes"])
        case "squeeze":
            return np.squeeze(x, params["dimensions"])
        case "expand_dims":
            return np.expand_dims(x, params["dimensions"])
        case "transpose":
            return x.transpose(params["permutation"])
        case "concatenate":
            return np.concatenate(args, params["dimension"])
        case "stack":
            return np.stack(args, params["axis"])
        case "rev":
            return np.flip(x, params["dimensions"])
        case "slice":
            steps = params["strides"] or (1,) * x.ndim
            ranges = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
            return x[tuple(slice(*r) for r in ranges)]
        case "copy" | "copy_p" | "optimization_barrier" | "stop_gradient" | "reduce_precision":
            return x
        case _:
            raise Unsupported(f"{name} has no form in a kernel")
