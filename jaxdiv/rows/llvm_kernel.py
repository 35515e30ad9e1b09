"""The machine code for rows of logits: sums over a row, in the form that serves it, and slopes.

A row is read from memory once, for the sums of its exponentials; what follows finds it in cache.
Rows choose for themselves: the forms are tried in turn until one finds a value that stands. Where
the sides are nearly equal the error common to all log-ratios is found, and taken off, first.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from .form import SIDES
from .llvm_code import (
    BOOL,
    BYTE,
    FLOAT,
    LANES,
    LONG,
    NOTHING,
    POINTER,
    Code,
    Constants,
    Value,
    declared,
    number,
    vector,
)
from .llvm_cpu import SCALE
from .normalised import NEARLY, SMOOTH

KNOWN = [f"{name}_{side}" for name in SCALE for side in SIDES]

# Vectors that are added up one after another, before what that loses is kept as well.
_CHUNK = 64


# What a form tells of a row beside its place in the list.
_SAME, _NONE = -1.0, -2.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What kernels are made of: programs by name, the names of the forms, and what is wanted."""

    programs: Mapping[str, Any]
    width: int  # numbers of a row of their table
    forms: Sequence[str]
    moving: Sequence[bool]  # of p and q, whose slopes are wanted
    rough: bool
    vanishing: bool  # value and slopes, where the sides are the same
    dtype: Any

    def sides(self) -> list[str]:
        """The sides that move."""
        return [name for name, moves in zip(SIDES, self.moving, strict=True) if moves]

    def notes(self) -> list[str]:
        """What is noted of a row, from which its slopes follow outcome by outcome."""
        if not any(self.moving):
            return []
        sums = [f"{name}_{side}" for side in self.sides() for name in ("whole", "others", "rest")]
        return ["form", "factor", *KNOWN, *sums]


def value_kernel(module: ir.Module, plan: Plan) -> tuple[ir.Function, Constants]:
    """A function of rows first to end of arrays of (rows, size), and the constants it reads.

    Of p, q and the table, each with the size of its first axis; of the value, whether it stands,
    and the notes if sides move; and of where the constants are.
    """
    return _kernel(module, plan, _Value, 3, 3 if any(plan.moving) else 2)


def slopes_kernel(module: ir.Module, plan: Plan) -> tuple[ir.Function, Constants]:
    """The same of p, q, the table, the notes and the cotangents; of the slopes."""
    return _kernel(module, plan, _Slopes, 5, sum(plan.moving))


def _kernel(
    module: ir.Module, plan: Plan, kind: Any, arrays: int, results: int
) -> tuple[ir.Function, Constants]:
    given = [POINTER, LONG] * arrays + [POINTER] * (results + 1)
    function = ir.Function(
        module, ir.FunctionType(NOTHING, [LONG, LONG, LONG, *given]), "jaxdiv_rows"
    )
    function.linkage = "internal"
    function.attributes.add("nounwind")
    first, end, size, *places, constants = function.args
    made = Constants()
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    code = Code(builder, made, constants)
    inputs = list(zip(places[: 2 * arrays : 2], places[1 : 2 * arrays : 2], strict=True))
    with code.count(first, end) as (row, _):
        kind(code, plan, row, size, inputs, places[2 * arrays :]).write()
    builder.ret_void()
    return function, made


class _Row:
    """The code for one row: passes over it."""

    def __init__(
        self,
        code: Code,
        plan: Plan,
        row: Value,
        size: Value,
        inputs: Sequence[tuple[Value, Value]],
        results: Sequence[Value],
    ):
        self.code, self.plan, self.row = code, plan, row
        self.inputs, self.results = inputs, results
        self.bytes = np.dtype(plan.dtype).itemsize
        builder = code.builder
        self.start = builder.mul(row, size)
        self.given = {
            name: code.offset(x, self.start, self.bytes)
            for name, (x, _) in zip(SIDES, inputs[:2], strict=True)
        }
        lanes = number(LANES, LONG)
        self.whole = builder.sdiv(size, lanes)  # vectors that lie within the row
        self.rest = builder.srem(size, lanes)
        self.ragged = builder.icmp_signed("!=", self.rest, number(0, LONG))
        self.vectors = builder.add(self.whole, builder.zext(self.ragged, LONG))
        # The last vector of a row, followed by outcomes of probability 0.
        self.last = {name: self._tail(name) for name in SIDES}
        self.table = self._own(*inputs[2], plan.width)
        self.known = {name: code.variable(FLOAT) for name in KNOWN}

    def _own(self, place: Value, rows: Value, width: int) -> Value:
        """The numbers of the row in an array of (rows, width); of all rows in one of (1, width)."""
        builder = self.code.builder
        many = builder.icmp_signed(">", rows, number(1, LONG))
        row = builder.select(many, self.row, number(0, LONG))
        start = builder.mul(row, number(width, LONG))
        return builder.bitcast(self.code.offset(place, start, 4), FLOAT.as_pointer())

    def _tail(self, name: str) -> Value:
        code, builder = self.code, self.code.builder
        place = builder.bitcast(self._buffer(), POINTER)
        with builder.if_then(self.ragged):
            code.store(code.spread(number(-np.inf)), place, self.plan.dtype)
            start = code.offset(self.given[name], self.whole, LANES * self.bytes)
            self._copy(place, start)
        return place

    def _buffer(self) -> Value:
        """Room for a vector."""
        place = self.code.variable(ir.ArrayType(BYTE, LANES * self.bytes))
        place.align = 64
        return place

    def _copy(self, to: Value, start: Value) -> None:
        """The numbers after the last whole vector."""
        copy = declared(self.code.builder.module, "memcpy", POINTER, [POINTER, POINTER, LONG])
        length = self.code.builder.mul(self.rest, number(self.bytes, LONG))
        self.code.builder.call(copy, [to, start, length])

    def _place(self, start: Value, last: Value, i: Value) -> Value:
        builder = self.code.builder
        inside = self.code.offset(start, i, LANES * self.bytes)
        whole = builder.icmp_signed("<", i, self.whole)
        return builder.select(whole, inside, builder.bitcast(last, POINTER))

    def _outcomes(self, i: Value) -> dict[str, Value]:
        return {
            f"x_{name}": self.code.load(
                self._place(self.given[name], self.last[name], i), self.plan.dtype
            )
            for name in SIDES
        }

    def _inputs(self, **more: Value) -> dict[str, Value]:
        return {name: self.code.get(x) for name, x in self.known.items()} | more

    def _row_of(self, name: str, **more: Value) -> dict[Any, Value]:
        return self.code.of_row(self.plan.programs[name], self._inputs(**more), self.table)

    def _numbers(self, name: str, **more: Value) -> list[Value]:
        return self.code.numbers(self.plan.programs[name], self._inputs(**more), self.table)

    def _sums(self, name: str, largest: int = 0, until_infinite: bool = False) -> list[Value]:
        """The sums of a program's results over the row; of the last few their maximum.

        `until_infinite` stops where the first sum is infinite.
        """
        code, builder = self.code, self.code.builder
        program = self.plan.programs[name]
        known = code.over_lanes(program, self._row_of(name))
        added = len(program.results) - largest
        zero = code.spread(number(0))
        least = [zero] * added + [code.spread(number(-np.inf))] * largest
        highs = [code.variable(vector(FLOAT), x) for x in least]
        lows = [code.variable(vector(FLOAT), zero) for _ in least]
        # Where the end may come early the first vector is a chunk of its own.
        chunk, short = number(_CHUNK, LONG), number(_CHUNK - 1 if until_infinite else 0, LONG)
        chunks = builder.add(builder.add(self.vectors, short), number(_CHUNK - 1, LONG))
        with code.count(number(0, LONG), builder.sdiv(chunks, chunk)) as (c, after):
            first = builder.sub(builder.mul(c, chunk), short)
            end = builder.add(first, chunk)
            end = builder.select(builder.icmp_signed("<", end, self.vectors), end, self.vectors)
            begun = builder.icmp_signed(">", first, number(0, LONG))
            first = builder.select(begun, first, number(0, LONG))
            parts = [code.variable(vector(FLOAT), x) for x in least]
            with code.count(first, end) as (i, _):
                found = code.of_outcomes(program, known, self._outcomes(i))
                for k, (part, x) in enumerate(zip(parts, found, strict=True)):
                    before = code.get(part)
                    join = builder.fadd if k < added else code.larger
                    code.set(part, join(before, x))
            for k, (high, low, part) in enumerate(zip(highs, lows, parts, strict=True)):
                a, b = code.get(high), code.get(part)
                if k >= added:
                    code.set(high, code.larger(a, b))
                    continue
                total, lost = _two_sum(code, a, b)
                code.set(high, total)
                code.set(low, builder.fadd(code.get(low), lost))
            if until_infinite:
                endless = code.spread(number(np.inf))
                ends = code.some(builder.fcmp_ordered("==", code.get(highs[0]), endless))
                further = builder.append_basic_block("further")
                builder.cbranch(ends, after, further)
                builder.position_at_end(further)
        return [
            code.total(builder.fadd(code.get(high), _finite(code, code.get(low))))
            if k < added
            else code.largest(code.get(high))
            for k, (high, low) in enumerate(zip(highs, lows, strict=True))
        ]


class _Value(_Row):
    """What is found of one row, and whether it is right."""

    def _normalise(self) -> Value:
        """The sums of the exponentials, relative to a power of 2; whether they serve."""
        code, builder = self.code, self.code.builder
        outcomes = self._outcomes(number(0, LONG))
        self._shift([code.largest(outcomes[f"x_{side}"]) for side in SIDES])
        fine = code.variable(BOOL, self._scale())
        with builder.if_then(builder.not_(code.get(fine)), likely=False):
            self._shift(self._sums("tops", largest=2))
            code.set(fine, self._scale())
        return code.get(fine)

    def _shift(self, tops: Sequence[Value]) -> None:
        given = {f"top_{side}": x for side, x in zip(SIDES, tops, strict=True)}
        for side, x in zip(SIDES, self._numbers("shifts", **given), strict=True):
            self.code.set(self.known[f"shift_{side}"], x)

    def _scale(self) -> Value:
        code = self.code
        totals = self._sums("weights", largest=2 if any(self.plan.moving) else 0)
        for side, total in zip(SIDES, totals, strict=False):
            code.set(self.known[f"total_{side}"], total)
        for side, most in zip(SIDES, totals[2:], strict=False):
            code.set(self.most[side], most)
        *logarithms, fine = self._numbers("scale")
        names = [f"{name}_{side}" for side in SIDES for name in ("log", "low")]
        for name, x in zip(names, logarithms, strict=True):
            code.set(self.known[name], x)
        return fine

    def _centre(self, form: str) -> None:
        """Take off the error common to all log-ratios."""
        (error,) = self._sums(f"excess_{form}")
        for name, x in zip(("log_p", "low_p"), self._numbers("centre", error=error), strict=True):
            self.code.set(self.known[name], x)

    def write(self) -> None:
        """All of it."""
        code, builder, plan = self.code, self.code.builder, self.plan
        fail, same, end = (builder.append_basic_block(x) for x in ("fail", "same", "end"))
        starts = [builder.append_basic_block(f"try_{form}") for form in plan.forms]
        self.most = {side: code.variable(FLOAT) for side in SIDES}  # of the weights
        fine = self._normalise()
        self.smooth = code.variable(FLOAT, number(SMOOTH))
        first = builder.append_basic_block("first")
        builder.cbranch(fine, first, fail)
        builder.position_at_end(first)
        if plan.rough:
            self._centre(plan.forms[-1])
        builder.branch(starts[0])
        for form, start, further in zip(plan.forms, starts, [*starts[1:], fail], strict=True):
            builder.position_at_end(start)
            self._attempt(form, start, further, same, end)
        for block, value, form in ((same, 0.0, _SAME), (fail, np.nan, _NONE)):
            builder.position_at_end(block)
            self._tell(number(value), block is same)
            self._note({"form": number(form)})
            builder.branch(end)
        builder.position_at_end(end)

    def _attempt(
        self, form: str, start: ir.Block, further: ir.Block, same: ir.Block, end: ir.Block
    ) -> None:
        code, builder, plan = self.code, self.code.builder, self.plan
        total, *wholes = self._sums(f"terms_{form}", until_infinite=form == "close")
        smooth = code.get(self.smooth)
        value, stands, rest = self._numbers(f"found_{form}", sum=total, smooth=smooth)
        for whole in wholes:
            size = code.call("llvm.fabs", whole)
            finite = builder.fcmp_ordered("<", size, number(np.inf))
            stands = builder.and_(stands, finite)
        right, wrong = (builder.append_basic_block(x) for x in ("right", "wrong"))
        builder.cbranch(stands, right, wrong)
        builder.position_at_end(right)
        self._tell(value, True)
        if wholes:
            self._note(self._notes(form, wholes, rest))
        builder.branch(end)
        builder.position_at_end(wrong)
        if not plan.vanishing or form == "apart":
            builder.branch(further)
            return
        once = builder.fcmp_ordered("==", smooth, number(SMOOTH))
        near = builder.and_(once, builder.fcmp_ordered("<", total, number(SMOOTH)))
        nearer = builder.append_basic_block("nearer")
        builder.cbranch(near, nearer, further)
        builder.position_at_end(nearer)
        (differing,) = self._sums("same")
        apart = builder.append_basic_block("differ")
        builder.cbranch(builder.fcmp_ordered("==", differing, number(0)), same, apart)
        builder.position_at_end(apart)
        self._centre(form)
        code.set(self.smooth, number(NEARLY))
        builder.branch(start)

    def _notes(self, form: str, wholes: Sequence[Value], rest: Value) -> dict[str, Value]:
        code, builder, sides = self.code, self.code.builder, self.plan.sides()
        (factor,) = self._numbers(f"factor_{form}", number=rest)
        # Of all but the likeliest outcome, where one has most of the mass.
        names = [f"{name}_{side}" for side in sides for name in ("others", "rest")]
        places = [code.variable(FLOAT, number(0)) for _ in names]
        dominant = ir.Constant(BOOL, 0)
        for side in sides:
            # A little more than twice: another loop may round the weight in another way.
            twice = builder.fmul(number(2.001), code.get(self.most[side]))
            most = builder.fcmp_ordered(">", twice, code.get(self.known[f"total_{side}"]))
            dominant = builder.or_(dominant, most)
        with builder.if_then(dominant, likely=False):
            for place, x in zip(places, self._sums(f"others_{form}"), strict=True):
                code.set(place, x)
        noted = {"form": number(self.plan.forms.index(form)), "factor": factor}
        noted |= {name: code.get(place) for name, place in self.known.items()}
        noted |= {f"whole_{side}": x for side, x in zip(sides, wholes, strict=True)}
        return noted | {name: code.get(place) for name, place in zip(names, places, strict=True)}

    def _note(self, noted: Mapping[str, Value]) -> None:
        notes, builder = self.plan.notes(), self.code.builder
        if notes:
            place = self._own(self.results[2], number(2, LONG), len(notes))
            for name, x in noted.items():
                builder.store(x, builder.gep(place, [number(notes.index(name), LONG)]))

    def _tell(self, value: Value, stands: bool) -> None:
        builder = self.code.builder
        place = self.code.offset(self.results[0], self.row, 4)
        builder.store(value, builder.bitcast(place, FLOAT.as_pointer()))
        place = self.code.offset(self.results[1], self.row)
        builder.store(ir.Constant(BYTE, int(stands)), place)


class _Slopes(_Row):
    """The derivatives by the logits of one row, from what was noted of it."""

    def write(self) -> None:
        """All of it; nothing for a row that is not right."""
        code, builder, plan = self.code, self.code.builder, self.plan
        notes = plan.notes()
        place = self._own(*self.inputs[3], len(notes))
        self.noted = {
            name: builder.load(builder.gep(place, [number(i, LONG)]))
            for i, name in enumerate(notes)
        }
        self.cotangent = builder.load(self._own(*self.inputs[4], 1))
        for name, variable in self.known.items():
            code.set(variable, self.noted[name])
        self.slopes = {
            name: code.offset(x, self.start, self.bytes)
            for name, x in zip(plan.sides(), self.results, strict=True)
        }
        self.last_slopes = {name: self._buffer() for name in plan.sides()}
        end = builder.append_basic_block("end")
        for i, form in enumerate(plan.forms):
            taken, further = (builder.append_basic_block(x) for x in ("taken", "further"))
            mine = builder.fcmp_ordered("==", self.noted["form"], number(i))
            builder.cbranch(mine, taken, further)
            builder.position_at_end(taken)
            self._fill(form)
            builder.branch(end)
            builder.position_at_end(further)
        same = builder.fcmp_ordered("==", self.noted["form"], number(_SAME))
        with builder.if_then(same):
            zero = code.spread(number(0))
            self._each(lambda _: [zero] * len(self.slopes))
        builder.branch(end)
        builder.position_at_end(end)

    def _fill(self, form: str) -> None:
        code, name = self.code, f"results_{form}"
        given = {k: v for k, v in self.noted.items() if k not in self.known}
        given["scale"] = code.builder.fmul(given.pop("factor"), self.cotangent)
        program = self.plan.programs[name]
        known = code.over_lanes(program, self._row_of(name, **given))
        self._each(lambda i: code.of_outcomes(program, known, self._outcomes(i)))

    def _each(self, made: Callable[[Value], list[Value]]) -> None:
        """The slopes by the outcomes of each vector, put where they belong."""
        code, builder = self.code, self.code.builder
        with code.count(number(0, LONG), self.vectors) as (i, _):
            for side, x in zip(self.slopes, made(i), strict=True):
                place = self._place(self.slopes[side], self.last_slopes[side], i)
                code.store(x, place, self.plan.dtype)
        with builder.if_then(self.ragged):
            for side, start in self.slopes.items():
                to = code.offset(start, self.whole, LANES * self.bytes)
                self._copy(to, builder.bitcast(self.last_slopes[side], POINTER))


def _two_sum(code: Code, a: Value, b: Value) -> tuple[Value, Value]:
    """a + b, and what that loses."""
    builder = code.builder
    total = builder.fadd(a, b)
    part = builder.fsub(total, a)
    left = builder.fsub(a, builder.fsub(total, part))
    return total, builder.fadd(left, builder.fsub(b, part))


def _finite(code: Code, x: Value) -> Value:
    """A number, 0 if it is not finite."""
    size = code.call("llvm.fabs", x)
    fine = code.builder.fcmp_ordered("<", size, code.spread(number(np.inf)))
    return code.builder.select(fine, x, code.spread(number(0)))
