"""Elementwise programs as LLVM code for vectors of outcomes, and what loops over rows of them."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from llvmlite import ir

from .elementwise import Program, Unsupported

LANES = 16

Value = Any  # of LLVM's intermediate code: those of llvmlite have no types

FLOAT, INT, LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
BOOL, BYTE, SHORT, NOTHING = ir.IntType(1), ir.IntType(8), ir.IntType(16), ir.VoidType()
POINTER = BYTE.as_pointer()

_TYPES = {"float32": FLOAT, "int32": INT, "bool": BOOL}
# Products may be fused with sums, as XLA lets them be on a CPU.
_FUSED = ("contract",)
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
# The operations that have code: of all numbers, of float32 alone, and of whole numbers alone.
_OF_ALL = {"add", "sub", "mul", "neg", "max", "min", "select_n", "eq", "ne", "lt", "le", "gt", "ge"}
_OF_ALL |= {"bitcast_convert_type", "convert_element_type"}
_OF_REALS = {"div", "square", "abs", "sqrt", "sign", "clamp"}
_OF_WHOLE = {"and", "or", "xor", "shift_left", "shift_right_logical", "shift_right_arithmetic"}
_OF_BITS = {"and", "or", "xor", "eq", "ne"}  # of which booleans may be


def missing(x: Any) -> str | None:
    """The operation that makes a number, with the type it is of, if there is no code for it."""
    if x.operation is None:
        return None
    name, kinds = x.operation[0].name, [str(y.dtype) for y in x.operands]
    match name, kinds[0]:
        case "select_n", "bool":
            return None if len(kinds) == 3 else f"{name} of {len(kinds) - 1} cases"
        case _, "bool":
            known = name in _OF_BITS
        case "select_n", _:
            known = False
        case _, "float32":
            known = name in _OF_ALL | _OF_REALS
        case _:
            known = name in _OF_ALL | _OF_WHOLE
    return None if known else f"{name} of {kinds[0]}"


_INTRINSICS = {"abs": "llvm.fabs", "sqrt": "llvm.sqrt"}


def vector(kind: ir.Type) -> ir.Type:
    """The type of as many numbers as are computed at once."""
    return ir.VectorType(kind, LANES)


def number(value: float, kind: ir.Type = FLOAT) -> ir.Constant:
    """A constant."""
    return ir.Constant(kind, float(np.float32(value)) if kind is FLOAT else int(value))


class Constants:
    """Numbers in memory, from which vectors of them are made.

    Written into the code they would lie so far from it that every loop loaded the place of each.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}

    def place(self, x: ir.Constant) -> int:
        """Where a constant lies, by its bits."""
        value = x.constant
        bits = int(np.float32(value).view(np.uint32)) if x.type is FLOAT else int(value) % 2**32
        return self._places.setdefault(bits, len(self._places))

    def written(self, module: ir.Module) -> Value:
        """All of them, in a module."""
        kind = ir.ArrayType(INT, max(1, len(self._places)))
        made: Any = ir.GlobalVariable(module, kind, "jaxdiv_constants")
        made.linkage, made.global_constant = "internal", True
        made.initializer = ir.Constant(kind, [*self._places] or [0])
        return made


class Code:
    """A function that is being written, and where its constants are."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        constants: Constants | None = None,
        place: Value | None = None,
    ):
        self.builder: Any = builder  # whose methods have no types
        self._constants, self._place = constants, place

    # --- values ------------------------------------------------------------------------------

    def spread(self, x: Value) -> Value:
        """A number in all lanes."""
        if isinstance(x.type, ir.VectorType):
            return x
        wide = vector(x.type)
        if isinstance(x, ir.Constant):
            bits = np.float32(x.constant).view(np.uint32) if x.type is FLOAT else x.constant
            if x.type is BOOL or self._constants is None or not bits:
                return self._literal(x)
            place = number(self._constants.place(x), LONG)
            x = self.builder.load(self.builder.gep(self._at(self._place, x.type), [place]))
            x.set_metadata("invariant.load", self.builder.module.add_metadata([]))
        one = self.builder.insert_element(ir.Constant(wide, ir.Undefined), x, number(0, INT))
        lanes = ir.Constant(vector(INT), [0] * LANES)
        return self.builder.shuffle_vector(one, ir.Constant(wide, ir.Undefined), lanes)

    def _literal(self, x: ir.Constant) -> Value:
        values: Any = [x.constant] * LANES
        return ir.Constant(vector(x.type), values)

    def _flip(self, x: Value, name: str, mask: int) -> Value:
        """An operation on the bits of floating-point numbers."""
        builder, kind = self.builder, vector(INT)
        bits = builder.bitcast(x, kind)
        return builder.bitcast(getattr(builder, name)(bits, self.spread(number(mask, INT))), x.type)

    def call(self, name: str, *args: Value) -> Value:
        """An intrinsic of LLVM, of the type of its first argument."""
        kind = args[0].type
        suffix = f"v{LANES}f32" if isinstance(kind, ir.VectorType) else "f32"
        function = declared(self.builder.module, f"{name}.{suffix}", kind, [kind] * len(args))
        return self.builder.call(function, args)

    def total(self, x: Value) -> Value:
        """The sum of the lanes."""
        return self._over_lanes(x, lambda a, b: self.builder.fadd(a, b))

    def largest(self, x: Value) -> Value:
        """The maximum of the lanes."""
        return self._over_lanes(x, self.larger)

    def larger(self, a: Value, b: Value) -> Value:
        """The larger of two numbers, in one instruction; one of them, if one is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", b, a), b, a)

    def _extreme(self, comparison: str, a: Value, b: Value) -> Value:
        """The larger or smaller of two numbers; NaN, if one is."""
        builder = self.builder
        first = builder.fcmp_ordered(comparison, a, b)
        first = builder.or_(first, builder.fcmp_unordered("uno", a, a))
        return builder.select(first, a, b)

    def _over_lanes(self, x: Value, join: Callable[..., Value]) -> Value:
        for half in (LANES // 2 >> i for i in range(int(math.log2(LANES)))):
            places = [(i + half) % LANES for i in range(LANES)]
            other = self.builder.shuffle_vector(x, x, ir.Constant(vector(INT), places))
            x = join(x, other)
        return self.builder.extract_element(x, number(0, INT))

    def some(self, condition: Value) -> Value:
        """Whether a condition holds in some lane."""
        bits = self.builder.bitcast(condition, ir.IntType(LANES))
        return self.builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    # --- control -----------------------------------------------------------------------------

    def variable(self, kind: ir.Type, value: Value | None = None) -> Value:
        """A place on the stack, which LLVM turns into a register."""
        with self.builder.goto_entry_block():
            place = self.builder.alloca(kind)
        if value is not None:
            self.builder.store(value, place)
        return place

    def get(self, place: Value) -> Value:
        """What a variable holds."""
        return self.builder.load(place)

    def set(self, place: Value, value: Value) -> None:
        """Another value for a variable."""
        self.builder.store(value, place)

    @contextlib.contextmanager
    def count(self, first: Value, end: Value) -> Iterator[Value]:
        """A loop over first <= i < end; yields i."""
        builder = self.builder
        head, body, after = (builder.append_basic_block(x) for x in ("head", "body", "after"))
        before = builder.block
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(LONG)
        i.add_incoming(first, before)
        builder.cbranch(builder.icmp_signed("<", i, end), body, after)
        builder.position_at_end(body)
        yield i
        i.add_incoming(builder.add(i, number(1, LONG)), builder.block)
        builder.branch(head)
        builder.position_at_end(after)

    # --- programs ----------------------------------------------------------------------------

    def of_row(
        self, program: Program, inputs: Mapping[str, Value], table: Value
    ) -> dict[Any, Value]:
        """The values of a program that are the same for all outcomes; a table of known numbers."""
        known: dict[Any, Value] = {}
        for x in program.numbers:
            if not x.wide:
                known[x] = self._value(x, known, inputs, table)
        return known

    def numbers(self, program: Program, inputs: Mapping[str, Value], table: Value) -> list[Value]:
        """The results of a program of which all is the same for all outcomes."""
        known = self.of_row(program, inputs, table)
        return [known[x] for x in program.results]

    def over_lanes(self, program: Program, known: dict[Any, Value]) -> dict[Any, Value]:
        """The same in all lanes where they meet what differs from outcome to outcome."""
        known = dict(known)
        for x in program.numbers:
            if x.wide and x.operation is not None:
                shift = x.operation[0].name.startswith("shift")
                for y in x.operands[: 1 if shift else None]:
                    if not y.wide:
                        known[y] = self.spread(known[y])
        return known

    def of_outcomes(
        self, program: Program, known: dict[Any, Value], inputs: Mapping[str, Value]
    ) -> list[Value]:
        """The results of a program for as many outcomes as are computed at once."""
        known = dict(known)
        for x in program.numbers:
            if x.wide:
                known[x] = self._value(x, known, inputs, None)
        return [self.spread(known[x]) for x in program.results]

    def _value(self, x: Any, known: Any, inputs: Any, table: Value | None) -> Value:
        kind = _TYPES[str(x.dtype)]
        if x.operation is None:
            if isinstance(x.source, str):
                return inputs[x.source]
            if isinstance(x.source, int):
                return self._from_table(x.source, kind, table)
            return number(x.source, kind)
        primitive, params = x.operation
        operands = [known[y] for y in x.operands]
        if x.wide:
            # The instruction holds by how much to shift.
            shift = primitive.name.startswith("shift") and isinstance(operands[1], ir.Constant)
            last = self._literal(operands[1]) if shift else None
            operands = [self.spread(y) for y in (operands[:1] if shift else operands)]
            operands += [last] if shift else []
            kind = vector(kind)
        return self._operation(primitive.name, params, operands, kind)

    def _from_table(self, place: int, kind: ir.Type, table: Value | None) -> Value:
        assert table is not None
        found = self.builder.load(self.builder.gep(table, [number(place, LONG)]))
        if kind is BOOL:
            return self.builder.fcmp_unordered("!=", found, number(0))
        return found if kind is FLOAT else self.builder.bitcast(found, kind)

    def _operation(self, name: str, params: Any, args: Sequence[Value], kind: ir.Type) -> Value:
        builder, first = self.builder, args[0]
        real = _element(first.type) is FLOAT
        match name:
            case "add" | "sub" | "mul":
                if real:
                    return getattr(builder, f"f{name}")(*args, flags=_FUSED)
                return getattr(builder, name)(*args)
            case "div" if real:
                return builder.fdiv(*args)
            case "square" if real:
                return builder.fmul(first, first, flags=_FUSED)
            case "neg" | "abs" if real and isinstance(first.type, ir.VectorType):
                flip = ("xor", 0x80000000) if name == "neg" else ("and_", 0x7FFFFFFF)
                return self._flip(first, *flip)
            case "neg":
                return builder.fneg(first) if real else builder.neg(first)
            case "abs" | "sqrt" if real:
                return self.call(_INTRINSICS[name], first)
            case "max" | "min":
                comparison = ">" if name == "max" else "<"
                if real:
                    return self._extreme(comparison, *args)
                return builder.select(builder.icmp_signed(comparison, *args), *args)
            case "sign" if real:
                one = self._like(1, first)
                signed = self.call("llvm.copysign", one, first)
                # 0 and NaN stay what they are.
                nonzero = builder.fcmp_ordered("!=", first, self._like(0, first))
                return builder.select(nonzero, signed, first)
            case "clamp" if real:
                least, x, most = args
                return self._extreme("<", self._extreme(">", x, least), most)
            case "select_n" if len(args) == 3 and _element(first.type) is BOOL:
                return builder.select(first, args[2], args[1])
            case "eq" | "ne" | "lt" | "le" | "gt" | "ge":
                if not real:
                    return builder.icmp_signed(_COMPARISONS[name], *args)
                compare = builder.fcmp_unordered if name == "ne" else builder.fcmp_ordered
                return compare(_COMPARISONS[name], *args)
            case "and" | "or" | "xor":
                return getattr(builder, f"{name}_" if name != "xor" else name)(*args)
            case "shift_left":
                return builder.shl(*args)
            case "shift_right_logical":
                return builder.lshr(*args)
            case "shift_right_arithmetic":
                return builder.ashr(*args)
            case "bitcast_convert_type":
                return builder.bitcast(first, kind)
            case "convert_element_type":
                if first.type == kind:
                    return first
                return self._whole(first, kind) if real else builder.sitofp(first, kind)
            case _:
                raise Unsupported(f"{name} has no form on a CPU")

    def _whole(self, x: Value, kind: ir.Type) -> Value:
        """Without its fraction; the nearest that there is for what is too large, 0 for NaN."""
        suffix = f"v{LANES}i32.v{LANES}f32" if isinstance(kind, ir.VectorType) else "i32.f32"
        name = f"llvm.fptosi.sat.{suffix}"
        return self.builder.call(declared(self.builder.module, name, kind, [x.type]), [x])

    def _like(self, value: float, x: Value) -> Value:
        return self.spread(number(value)) if isinstance(x.type, ir.VectorType) else number(value)

    # --- numbers in memory -------------------------------------------------------------------

    def load(self, place: Value, dtype: Any) -> Value:
        """Numbers of a dtype, in float32, a vector of them."""
        builder = self.builder
        if dtype == jnp.float32:
            return builder.load(self._at(place, vector(FLOAT)), align=4)
        if dtype == jnp.bfloat16:
            bits = builder.load(self._at(place, vector(SHORT)), align=2)
            wide = builder.zext(bits, vector(INT))
            return builder.bitcast(builder.shl(wide, self._literal(number(16, INT))), vector(FLOAT))
        half = vector(ir.HalfType())
        return builder.fpext(builder.load(self._at(place, half), align=2), vector(FLOAT))

    def store(self, x: Value, place: Value, dtype: Any) -> None:
        """Put a vector where numbers of a dtype are, rounded to it."""
        builder = self.builder
        if dtype == jnp.bfloat16:
            bits = builder.bitcast(x, vector(INT))
            last = builder.lshr(bits, self._literal(number(16, INT)))
            last = builder.and_(last, self.spread(number(1, INT)))
            # To the nearest, to even between two.
            up = builder.add(builder.add(bits, self.spread(number(0x7FFF, INT))), last)
            quiet = builder.or_(bits, self.spread(number(0x400000, INT)))
            up = builder.select(builder.fcmp_unordered("uno", x, x), quiet, up)
            x = builder.trunc(builder.lshr(up, self._literal(number(16, INT))), vector(SHORT))
        elif dtype != jnp.float32:
            x = builder.fptrunc(x, vector(ir.HalfType()))
        align = 4 if dtype == jnp.float32 else 2
        builder.store(x, self._at(place, x.type), align=align)

    def _at(self, place: Value, kind: ir.Type) -> Value:
        return self.builder.bitcast(place, kind.as_pointer())

    def offset(self, place: Value, count: Value, size: int = 1) -> Value:
        """A place so many numbers of a size in bytes further on."""
        if size != 1:
            count = self.builder.mul(count, number(size, LONG))
        return self.builder.gep(place, [count])


def declared(module: ir.Module, name: str, result: ir.Type, args: Sequence[ir.Type]) -> ir.Function:
    """A function that is defined elsewhere."""
    found = module.globals.get(name)
    if isinstance(found, ir.Function):
        return found
    return ir.Function(module, ir.FunctionType(result, args), name)


def _element(kind: ir.Type) -> ir.Type:
    return kind.element if isinstance(kind, ir.VectorType) else kind
