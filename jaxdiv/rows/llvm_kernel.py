"""The machine code for rows of logits: sums over a row, in the form that serves it, and slopes.

A row is read from memory once; what follows finds it in cache. Rows choose for themselves. If there
is a way to find similar rows in one pass, that is tried first. Else exponentials are summed, and
the forms tried in turn until one finds a value that stands. Where the sides are nearly equal the
error common to all log-ratios is found, and taken off, before.
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
from .once import OF_SLOPES

KNOWN = [f"{name}_{side}" for name in SCALE for side in SIDES]

# Vectors that are added up one after another, before what that loses is kept as well.
_CHUNK = 32
_FEW = 4  # vectors from which the common part of log-ratios is guessed
_GUESSES = 2  # more, if that was a bad guess

# What is noted of a row that is found in one pass.
_ONCE = ["shift_p", "shift_q", "guess", "guess_low", "total", "common", "renyi"]

# What is noted in the place of a way.
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
    once: Sequence[str]  # sums from which similar rows are found in one pass, if they are
    dtype: Any

    def sides(self) -> list[str]:
        """The sides that move."""
        return [name for name, moves in zip(SIDES, self.moving, strict=True) if moves]

    def notes(self, way: str) -> list[str]:
        """What is noted of a row of a form, from which its slopes follow outcome by outcome."""
        if way == "once":
            return ["way", "factor", *_ONCE]
        sums = [f"{name}_{side}" for side in self.sides() for name in ("whole", "others", "rest")]
        return ["way", "factor", *KNOWN, *sums]

    def noted(self) -> int:
        """How many numbers are noted of a row at most."""
        return max(len(self.notes(way)) for way in self.ways()) if any(self.moving) else 0

    def ways(self) -> list[str]:
        """The forms, and "once" if there is that."""
        return [*self.forms, *(["once"] if self.once else [])]


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
    with code.count(first, end) as row:
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

    def _sums(
        self,
        name: str,
        largest: int = 0,
        until: tuple[Callable[[Sequence[Value]], Value], ir.Block] | None = None,
        vectors: Value | None = None,
        **more: Value,
    ) -> list[Value]:
        """The sums of a program's results over the row; of the last few their maximum.

        `until` says of what was found so far where to give up, if it holds in some lane, and to
        which block to go then. Of fewer `vectors` if said.
        """
        code, builder = self.code, self.code.builder
        program = self.plan.programs[name]
        known = code.over_lanes(program, self._row_of(name, **more))
        count = self.vectors if vectors is None else vectors
        added = len(program.results) - largest
        zero = code.spread(number(0))
        least = [zero] * added + [code.spread(number(-np.inf))] * largest
        highs = [code.variable(vector(FLOAT), x) for x in least]
        lows = [code.variable(vector(FLOAT), zero) for _ in least]
        # Where the end may come early the first vector is a chunk of its own.
        chunk, short = number(_CHUNK, LONG), number(_CHUNK - 1 if until else 0, LONG)
        chunks = builder.add(builder.add(count, short), number(_CHUNK - 1, LONG))
        with code.count(number(0, LONG), builder.sdiv(chunks, chunk)) as c:
            first = builder.sub(builder.mul(c, chunk), short)
            end = builder.add(first, chunk)
            end = builder.select(builder.icmp_signed("<", end, count), end, count)
            begun = builder.icmp_signed(">", first, number(0, LONG))
            first = builder.select(begun, first, number(0, LONG))
            parts = [code.variable(vector(FLOAT), x) for x in least]
            with code.count(first, end) as i:
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
            if until:
                beyond, away = until
                ends = code.some(beyond([code.get(x) for x in highs]))
                further = builder.append_basic_block("further")
                builder.cbranch(ends, away, further)
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
        outcomes = self._outcomes(number(0, LONG))
        self._shift([code.largest(outcomes[f"x_{side}"]) for side in SIDES])
        if plan.once:
            self._try_at_once(end)
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
        for block, value, way in ((same, 0.0, _SAME), (fail, np.nan, _NONE)):
            builder.position_at_end(block)
            self._tell(number(value), block is same)
            self._note(way, {})
            builder.branch(end)
        builder.position_at_end(end)

    def _try_at_once(self, end: ir.Block) -> None:
        """Find the value in one pass, if the row is similar: see `once`."""
        code, builder = self.code, self.code.builder
        few = number(_FEW, LONG)
        few = builder.select(builder.icmp_signed("<", self.whole, few), self.whole, few)
        gap, count = self._sums("gaps", vectors=few)
        mean = builder.fdiv(gap, count)
        mean = builder.select(builder.fcmp_ordered(">", count, number(0)), mean, number(0))
        guess = {"guess": code.variable(FLOAT, mean)}
        guess["guess_low"] = code.variable(FLOAT, number(0))
        left = code.variable(LONG, number(_GUESSES, LONG))
        attempt, right, wrong, retry, further = (
            builder.append_basic_block(x) for x in ("once", "right", "wrong", "retry", "further")
        )
        builder.branch(attempt)
        builder.position_at_end(attempt)
        some = builder.icmp_signed(">", code.get(left), number(0, LONG))
        known = {name: code.get(x) for name, x in guess.items()}
        value, stands, again, noted, better = self._at_once(known, some, further)
        builder.cbranch(stands, right, wrong)
        builder.position_at_end(right)
        self._tell(value, True)
        self._note("once", noted)
        builder.branch(end)
        builder.position_at_end(wrong)
        builder.cbranch(again, retry, further)
        builder.position_at_end(retry)
        code.set(left, builder.sub(code.get(left), number(1, LONG)))
        for place, x in zip(guess.values(), better, strict=True):
            code.set(place, x)
        builder.branch(attempt)
        builder.position_at_end(further)

    def _at_once(
        self, guess: Mapping[str, Value], some: Value, away: ir.Block
    ) -> tuple[Value, Value, Value, dict[str, Value], list[Value]]:
        """The value, whether it stands or to guess again if `some` are left; notes, and a guess."""
        builder, sides = self.code.builder, self.plan.sides()
        limit = self.code.spread(*self._numbers("reach"))

        def beyond(found: Sequence[Value]) -> Value:
            return builder.fcmp_ordered(">", found[-1], limit)

        names = [x for x in self.plan.once if sides or x not in OF_SLOPES]
        sums = dict(
            zip(names, self._sums("once", largest=1, until=(beyond, away), **guess), strict=True)
        )
        value, stands, again, common, renyi, *better = self._numbers("found_once", **guess, **sums)
        noted: dict[str, Value] = {}
        if sides:
            found = {"total": sums["total"], "common": common, "renyi": renyi}
            fine, uneven, factor = self._numbers("moves", **(sums | found))
            again = builder.or_(again, builder.and_(stands, uneven))
            again = builder.and_(again, fine)
            stands = builder.and_(builder.and_(stands, fine), builder.not_(uneven))
            shifts = {x: self.code.get(self.known[x]) for x in KNOWN if x in _ONCE}
            noted = {"factor": factor, **guess, **shifts, **found}
        return value, stands, builder.and_(again, some), noted, better

    def _attempt(
        self, form: str, start: ir.Block, further: ir.Block, same: ir.Block, end: ir.Block
    ) -> None:
        code, builder, plan = self.code, self.code.builder, self.plan
        endless = code.spread(number(np.inf))

        def beyond(found: Sequence[Value]) -> Value:
            return builder.fcmp_ordered("==", found[0], endless)

        until = (beyond, further) if form == "close" else None
        total, *wholes = self._sums(f"terms_{form}", until=until)
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
            self._note(form, self._notes(form, wholes, rest))
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
        noted = {"factor": factor} | {name: code.get(place) for name, place in self.known.items()}
        noted |= {f"whole_{side}": x for side, x in zip(sides, wholes, strict=True)}
        return noted | {name: code.get(place) for name, place in zip(names, places, strict=True)}

    def _note(self, way: str | float, noted: Mapping[str, Value]) -> None:
        """What was found of a row, and which way or that there is nothing."""
        plan, builder = self.plan, self.code.builder
        if not any(plan.moving):
            return
        names = plan.notes(way) if isinstance(way, str) else ["way"]
        taken = number(plan.ways().index(way) if isinstance(way, str) else way)
        place = self._own(self.results[2], number(2, LONG), plan.noted())
        for i, x in enumerate([taken, *(noted[name] for name in names[1:])]):
            builder.store(x, builder.gep(place, [number(i, LONG)]))

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
        self.notes = self._own(*self.inputs[3], plan.noted())
        way = builder.load(self.notes)
        self.cotangent = builder.load(self._own(*self.inputs[4], 1))
        self.slopes = {
            name: code.offset(x, self.start, self.bytes)
            for name, x in zip(plan.sides(), self.results, strict=True)
        }
        self.last_slopes = {name: self._buffer() for name in plan.sides()}
        end = builder.append_basic_block("end")
        for i, name in enumerate(plan.ways()):
            taken, further = (builder.append_basic_block(x) for x in ("taken", "further"))
            mine = builder.fcmp_ordered("==", way, number(i))
            builder.cbranch(mine, taken, further)
            builder.position_at_end(taken)
            self._fill(name)
            builder.branch(end)
            builder.position_at_end(further)
        same = builder.fcmp_ordered("==", way, number(_SAME))
        with builder.if_then(same):
            zero = code.spread(number(0))
            self._each(lambda _: [zero] * len(self.slopes))
        builder.branch(end)
        builder.position_at_end(end)

    def _fill(self, way: str) -> None:
        code, name = self.code, f"results_{way}"
        noted = {
            x: code.builder.load(code.builder.gep(self.notes, [number(i, LONG)]))
            for i, x in enumerate(self.plan.notes(way))
        }
        for x, variable in self.known.items():
            if x in noted:
                code.set(variable, noted.pop(x))
        noted["scale"] = code.builder.fmul(noted.pop("factor"), self.cotangent)
        program = self.plan.programs[name]
        known = code.over_lanes(program, self._row_of(name, **noted))
        self._each(lambda i: code.of_outcomes(program, known, self._outcomes(i)))

    def _each(self, made: Callable[[Value], list[Value]]) -> None:
        """The slopes by the outcomes of each vector, put where they belong."""
        code, builder = self.code, self.code.builder
        with code.count(number(0, LONG), self.vectors) as i:
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
