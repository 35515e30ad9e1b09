"""The machine code for rows of logits: sums over a row, in the form that serves it, and slopes.

A row is read from memory once, for the sums of its exponentials; what follows finds it in cache.
Rows choose for themselves: the forms are tried in turn until one finds a value that stands. Where
the sides are nearly equal the error common to all log-ratios is found, and taken off, first.
"""

import dataclasses
from collections.abc import Mapping, Sequence
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

# Vectors that are added up one after another, before what that loses is kept as well.
_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a kernel is made of: programs by name, the names of the forms, and what is wanted."""

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


def kernel(module: ir.Module, plan: Plan) -> tuple[ir.Function, Constants]:
    """A function of rows first to end of arrays of (rows, size), and the constants it reads.

    Of p, q, the table and the cotangents, each with the size of its first axis; of the value,
    whether it stands, and the slopes of the sides that move; and of where the constants are.
    """
    arrays = [POINTER, LONG] * 4 + [POINTER] * (3 + sum(plan.moving))
    kind = ir.FunctionType(NOTHING, [LONG, LONG, LONG, *arrays])
    function = ir.Function(module, kind, "jaxdiv_rows")
    function.linkage = "internal"
    function.attributes.add("nounwind")
    first, end, size, p, _, q, _, table, tables, cotangents, count, *results = function.args
    constants = Constants()
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    code = Code(builder, constants, results.pop())
    with code.count(first, end) as (row, _):
        _Row(code, plan, row, size, (p, q), (table, tables), (cotangents, count), results).write()
    builder.ret_void()
    return function, constants


class _Row:
    """The code for one row."""

    def __init__(
        self,
        code: Code,
        plan: Plan,
        row: Value,
        size: Value,
        sides: Sequence[Value],
        table: tuple[Value, Value],
        cotangents: tuple[Value, Value],
        results: Sequence[Value],
    ):
        self.code, self.plan, self.row = code, plan, row
        self.bytes = np.dtype(plan.dtype).itemsize
        builder = code.builder
        start = builder.mul(row, size)
        self.given = {
            name: code.offset(x, start, self.bytes) for name, x in zip(SIDES, sides, strict=True)
        }
        value, stands, *slopes = results
        self.value = code.offset(value, row, 4)
        self.stands = code.offset(stands, row)
        self.slopes = {
            name: code.offset(x, start, self.bytes)
            for name, x in zip(plan.sides(), slopes, strict=True)
        }
        lanes = number(LANES, LONG)
        self.whole = builder.sdiv(size, lanes)  # vectors that lie within the row
        self.rest = builder.srem(size, lanes)
        self.ragged = builder.icmp_signed("!=", self.rest, number(0, LONG))
        self.vectors = builder.add(self.whole, builder.zext(self.ragged, LONG))
        # The last vector of a row, followed by outcomes of probability 0.
        self.last = {name: self._tail(name) for name in SIDES}
        self.last_slopes = {name: self._buffer() for name in plan.sides()}
        known, rows = table
        width = number(plan.width, LONG)
        own = builder.icmp_signed(">", rows, number(1, LONG))
        place = builder.mul(builder.select(own, row, number(0, LONG)), width)
        self.table = builder.bitcast(code.offset(known, place, 4), FLOAT.as_pointer())
        cotangent, count = cotangents
        own = builder.icmp_signed(">", count, number(1, LONG))
        place = code.offset(cotangent, builder.select(own, row, number(0, LONG)), 4)
        self.cotangent = builder.load(builder.bitcast(place, FLOAT.as_pointer()))
        self.known = {f"{name}_{side}": code.variable(FLOAT) for name in SCALE for side in SIDES}
        self.most = {side: code.variable(FLOAT) for side in SIDES}  # of the weights

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

    # --- passes over the row -----------------------------------------------------------------

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
        chunk, before = number(_CHUNK, LONG), number(_CHUNK - 1 if until_infinite else 0, LONG)
        chunks = builder.add(builder.add(self.vectors, before), number(_CHUNK - 1, LONG))
        with code.count(number(0, LONG), builder.sdiv(chunks, chunk)) as (c, after):
            first = builder.sub(builder.mul(c, chunk), before)
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

    # --- what normalises a row ---------------------------------------------------------------

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

    # --- the row -----------------------------------------------------------------------------

    def write(self) -> None:
        """All of it."""
        code, builder, plan = self.code, self.code.builder, self.plan
        fail, same, end = (builder.append_basic_block(x) for x in ("fail", "same", "end"))
        starts = [builder.append_basic_block(f"try_{form}") for form in plan.forms]
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
        builder.position_at_end(same)
        self._tell(number(0), True)
        for name in plan.sides():
            self._clear(name)
        builder.branch(end)
        builder.position_at_end(fail)
        self._tell(number(np.nan), False)
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
            self._finish(form, wholes, rest)
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

    def _finish(self, form: str, wholes: Sequence[Value], rest: Value) -> None:
        """The slopes by logits."""
        code, builder, plan = self.code, self.code.builder, self.plan
        sides = plan.sides()
        (factor,) = self._numbers(f"factor_{form}", number=rest)
        given = {"scale": builder.fmul(factor, self.cotangent)}
        given |= {f"whole_{side}": x for side, x in zip(sides, wholes, strict=True)}
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
        given |= {name: code.get(place) for name, place in zip(names, places, strict=True)}
        program = plan.programs[f"results_{form}"]
        known = code.over_lanes(program, self._row_of(f"results_{form}", **given))
        with code.count(number(0, LONG), self.vectors) as (i, _):
            found = code.of_outcomes(program, known, self._outcomes(i))
            for side, x in zip(sides, found, strict=True):
                place = self._place(self.slopes[side], self.last_slopes[side], i)
                code.store(x, place, plan.dtype)
        for side in sides:
            self._finish_tail(side)

    def _clear(self, side: str) -> None:
        code = self.code
        with code.count(number(0, LONG), self.vectors) as (i, _):
            place = self._place(self.slopes[side], self.last_slopes[side], i)
            code.store(code.spread(number(0)), place, self.plan.dtype)
        self._finish_tail(side)

    def _finish_tail(self, side: str) -> None:
        code = self.code
        with code.builder.if_then(self.ragged):
            to = code.offset(self.slopes[side], self.whole, LANES * self.bytes)
            self._copy(to, code.builder.bitcast(self.last_slopes[side], POINTER))

    def _tell(self, value: Value, stands: bool) -> None:
        builder = self.code.builder
        builder.store(value, builder.bitcast(self.value, FLOAT.as_pointer()))
        builder.store(ir.Constant(BYTE, int(stands)), self.stands)


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
