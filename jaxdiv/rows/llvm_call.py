"""Functions of rows in machine code, as calls of XLA on a CPU that its threads share.

A function of some rows is wrapped in a handler as XLA's foreign function interface wants it (its
structures are those of `c_api.h`, which jaxlib installs): blocks of rows are handed out by an
atomic counter, to the thread that XLA calls and to those of its pool that are free.
"""

import ctypes
import functools
import hashlib
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array
from llvmlite import binding, ir

from .llvm_code import (
    BYTE,
    INT,
    LONG,
    NOTHING,
    POINTER,
    Code,
    Constants,
    Value,
    declared,
    number,
)

_LARGE = 2**22  # bytes of a result
_BLOCK = 2**14  # numbers of a side that a thread takes at a time

# Of XLA's interface, the versions whose structures are as they are read here.
_MAJOR, _MINORS = 0, (1, 5)

# Places in its structures, in bytes.
_FRAME = {"extension": 8, "api": 16, "context": 24, "stage": 32, "args": 72, "results": 112}
_EXTENSION = {"type": 8, "metadata": 24}
_METADATA = {"major": 24, "minor": 28, "traits": 32}
_API = {"major": 32, "minor": 36, "destroy": 64, "schedule": 136, "threads": 144}
_BUFFER = {"data": 24, "dims": 40}
_CALL = {"size": 0, "extension": 8, "context": 16, "task": 24, "data": 32}
_ERROR = {"size": 0, "extension": 8, "error": 16}
_EXECUTE = 3

_HANDLER = "jaxdiv_handler"

# Of what the threads share: counters, then the rows, and where arrays are.
_NEXT, _DONE, _OWNERS, _BLOCKS, _EACH, _ROWS, _SIZE, _ARRAYS = range(0, 64, 8)


def module(
    kernel: Callable[[ir.Module], tuple[ir.Function, Constants]],
    arrays: int,
    results: Sequence[int],
) -> ir.Module:
    """A handler that calls what `kernel` writes, (first, end, size, array...), for blocks of rows.

    Arrays, of which the first is (rows, size), are given by where they are, and the size of their
    first axis; results by where they are. Of each result is said how many bytes an outcome has, 0
    if it is a number a row. After them comes where the constants are.
    """
    made = ir.Module("jaxdiv")
    rows, constants = kernel(made)
    _handler(made, rows, constants.written(made), arrays, results)
    return made


def _handler(
    module: ir.Module, rows: ir.Function, constants: Value, arrays: int, results: Sequence[int]
) -> ir.Function:
    work = _work(module, rows, 2 * arrays + len(results) + 1)
    task = _task(module, work)
    made = ir.Function(module, ir.FunctionType(POINTER, [POINTER]), _HANDLER)
    (frame,) = made.args
    memory = _Memory(ir.IRBuilder(made.append_basic_block("entry")))
    builder, nothing = memory.builder, ir.Constant(POINTER, None)
    extension = memory.pointer(frame, _FRAME["extension"])
    api = memory.pointer(frame, _FRAME["api"])
    with builder.if_then(builder.icmp_unsigned("!=", extension, nothing)):
        asked = memory.read(extension, _EXTENSION["type"], INT)
        with builder.if_then(builder.icmp_signed("==", asked, number(1, INT))):
            metadata = memory.pointer(extension, _EXTENSION["metadata"])
            # Of a version that is not known the answer is another one, which XLA refuses.
            major = memory.read(api, _API["major"], INT)
            minor = memory.read(api, _API["minor"], INT)
            known = builder.and_(
                builder.icmp_signed("==", major, number(_MAJOR, INT)),
                builder.and_(
                    builder.icmp_signed(">=", minor, number(_MINORS[0], INT)),
                    builder.icmp_signed("<=", minor, number(_MINORS[1], INT)),
                ),
            )
            major = builder.select(known, major, number(-1, INT))
            memory.write(metadata, _METADATA["major"], major)
            memory.write(metadata, _METADATA["minor"], minor)
            memory.write(metadata, _METADATA["traits"], number(0, INT))
            builder.ret(nothing)
    stage = memory.read(frame, _FRAME["stage"], INT)
    with builder.if_then(builder.icmp_signed("!=", stage, number(_EXECUTE, INT))):
        builder.ret(nothing)

    places = _ARRAYS + 8 * (2 * arrays + len(results) + 1)
    allocate = declared(module, "malloc", POINTER, [LONG])
    state = builder.call(allocate, [number(places, LONG)])
    given = memory.pointer(frame, _FRAME["args"])
    wanted = memory.pointer(frame, _FRAME["results"])
    place = _ARRAYS
    for i in range(arrays):
        buffer = memory.pointer(given, 8 * i)
        dims = memory.pointer(buffer, _BUFFER["dims"])
        memory.write(state, place, memory.pointer(buffer, _BUFFER["data"]))
        memory.write(state, place + 8, memory.read(dims, 0, LONG))
        if i == 0:
            memory.write(state, _ROWS, memory.read(dims, 0, LONG))
            memory.write(state, _SIZE, memory.read(dims, 8, LONG))
        place += 16
    count, size = memory.read(state, _ROWS, LONG), memory.read(state, _SIZE, LONG)
    for i, each in enumerate(results):
        start = memory.pointer(memory.pointer(wanted, 8 * i), _BUFFER["data"])
        memory.write(state, place, start)
        place += 8
        if each and sys.platform == "linux":
            length = builder.mul(builder.mul(count, size), number(each, LONG))
            _large_pages(memory, start, length)
    # In what threads share, so that LLVM does not know them and keeps them out of the code.
    memory.write(state, place, builder.bitcast(constants, POINTER))
    one = number(1, LONG)
    each = builder.sdiv(number(_BLOCK, LONG), size)
    each = builder.select(builder.icmp_signed("<", each, one), one, each)
    blocks = builder.sdiv(builder.add(count, builder.sub(each, one)), each)
    memory.write(state, _EACH, each)
    memory.write(state, _BLOCKS, blocks)
    memory.write(state, _NEXT, number(0, LONG))
    memory.write(state, _DONE, number(0, LONG))

    context = memory.pointer(frame, _FRAME["context"])
    helpers = _helpers(memory, api, context, blocks)
    memory.write(state, _OWNERS, builder.add(helpers, one))
    _schedule(memory, api, context, task, state, helpers)
    builder.call(work, [state])
    _wait(memory, state, blocks)
    builder.call(_release(module), [state])
    builder.ret(nothing)
    return made


def _large_pages(memory: "_Memory", start: Value, length: Value) -> None:
    """Ask for large pages where many bytes will be written first, as NumPy does for its arrays.

    Otherwise page faults take longer than all that is computed: 10 of 18 ms, where 32 MiB are
    written.
    """
    builder, page = memory.builder, 4096
    with builder.if_then(builder.icmp_signed(">=", length, number(_LARGE, LONG))):
        first = builder.add(builder.ptrtoint(start, LONG), number(page - 1, LONG))
        first = builder.and_(first, number(-page, LONG))
        advise = declared(builder.module, "madvise", INT, [POINTER, LONG, INT])
        # Half a page less at the most; the kernel rounds the length up.
        length = builder.sub(length, number(2 * page, LONG))
        builder.call(advise, [builder.inttoptr(first, POINTER), length, number(14, INT)])


class _Memory:
    """Numbers and pointers at places in structures."""

    def __init__(self, builder: ir.IRBuilder):
        self.builder: Any = builder  # whose methods have no types

    def at(self, base: Value, offset: int, kind: ir.Type) -> Value:
        place = self.builder.gep(base, [number(offset, LONG)])
        return self.builder.bitcast(place, kind.as_pointer())

    def read(self, base: Value, offset: int, kind: ir.Type) -> Value:
        return self.builder.load(self.at(base, offset, kind))

    def pointer(self, base: Value, offset: int) -> Value:
        return self.read(base, offset, POINTER)

    def write(self, base: Value, offset: int, value: Value) -> None:
        self.builder.store(value, self.at(base, offset, value.type))

    def structure(self, size: int) -> Value:
        """A new one on the stack, with its size and no extension."""
        with self.builder.goto_entry_block():
            made = self.builder.alloca(BYTE, size)
            made.align = 8
        self.write(made, 0, number(size, LONG))
        self.write(made, 8, ir.Constant(POINTER, None))
        return made

    def call(self, api: Value, offset: int, argument: Value) -> Value:
        """A function of XLA's; the error that it returns, if any."""
        kind = ir.FunctionType(POINTER, [POINTER]).as_pointer()
        return self.builder.call(self.read(api, offset, kind), [argument])

    def forget(self, api: Value, error: Value) -> Value:
        """Whether there is an error, which is let go."""
        failed = self.builder.icmp_unsigned("!=", error, ir.Constant(POINTER, None))
        with self.builder.if_then(failed):
            given = self.structure(24)
            self.write(given, _ERROR["error"], error)
            kind = ir.FunctionType(NOTHING, [POINTER]).as_pointer()
            self.builder.call(self.read(api, _API["destroy"], kind), [given])
        return failed


def _helpers(memory: _Memory, api: Any, context: Any, blocks: Any) -> Value:
    """How many other threads may help: those of the pool, at most one for each other block."""
    builder, code = memory.builder, Code(memory.builder)
    threads = code.variable(LONG, number(1, LONG))
    given = memory.structure(32)
    memory.write(given, 16, context)
    memory.write(given, 24, builder.bitcast(threads, POINTER))
    memory.forget(api, memory.call(api, _API["threads"], given))
    most = builder.sub(blocks, number(1, LONG))
    others = builder.sub(code.get(threads), number(1, LONG))
    fewer = builder.select(builder.icmp_signed("<", most, others), most, others)
    none = number(0, LONG)
    return builder.select(builder.icmp_signed(">", fewer, none), fewer, none)


def _schedule(
    memory: _Memory, api: Any, context: Any, task: ir.Function, state: Any, helpers: Any
) -> None:
    builder, code = memory.builder, Code(memory.builder)
    given = memory.structure(40)
    memory.write(given, _CALL["context"], context)
    memory.write(given, _CALL["task"], builder.bitcast(task, POINTER))
    memory.write(given, _CALL["data"], state)
    with code.count(number(0, LONG), helpers):
        error = memory.call(api, _API["schedule"], given)
        with builder.if_then(memory.forget(api, error)):
            _add(memory, state, _OWNERS, -1)


def _add(memory: _Memory, state: Value, place: int, value: int) -> Value:
    """What a counter was before something was added to it."""
    where = memory.at(state, place, LONG)
    return memory.builder.atomic_rmw("add", where, number(value, LONG), "seq_cst")


def _wait(memory: _Memory, state: Value, blocks: Value) -> None:
    """Until the blocks that other threads have begun are done."""
    builder = memory.builder
    pause = declared(builder.module, "sched_yield", INT, [])
    again, after = (builder.append_basic_block(x) for x in ("again", "after"))
    builder.branch(again)
    builder.position_at_end(again)
    builder.call(pause, [])
    done = builder.load_atomic(memory.at(state, _DONE, LONG), "seq_cst", 8)
    builder.cbranch(builder.icmp_signed("<", done, blocks), again, after)
    builder.position_at_end(after)


def _work(module: ir.Module, rows: ir.Function, arrays: int) -> ir.Function:
    """A thread's part: blocks of rows, until all are taken."""
    made = ir.Function(module, ir.FunctionType(NOTHING, [POINTER]), "jaxdiv_work")
    made.linkage = "internal"
    (state,) = made.args
    memory = _Memory(ir.IRBuilder(made.append_basic_block("entry")))
    builder = memory.builder
    blocks, each, count, size = (
        memory.read(state, x, LONG) for x in (_BLOCKS, _EACH, _ROWS, _SIZE)
    )
    given = [memory.read(state, _ARRAYS + 8 * i, kind.type) for i, kind in enumerate(rows.args[3:])]
    assert len(given) == arrays
    again, block, after = (builder.append_basic_block(x) for x in ("again", "block", "after"))
    builder.branch(again)
    builder.position_at_end(again)
    mine = _add(memory, state, _NEXT, 1)
    builder.cbranch(builder.icmp_signed("<", mine, blocks), block, after)
    builder.position_at_end(block)
    first = builder.mul(mine, each)
    end = builder.add(first, each)
    end = builder.select(builder.icmp_signed("<", end, count), end, count)
    builder.call(rows, [first, end, size, *given])
    _add(memory, state, _DONE, 1)
    builder.branch(again)
    builder.position_at_end(after)
    builder.ret_void()
    return made


def _task(module: ir.Module, work: ir.Function) -> ir.Function:
    made = ir.Function(module, ir.FunctionType(NOTHING, [POINTER]), "jaxdiv_task")
    made.linkage = "internal"
    builder = ir.IRBuilder(made.append_basic_block("entry"))
    builder.call(work, made.args)
    builder.call(_release(module), made.args)
    builder.ret_void()
    return made


def _release(module: ir.Module) -> ir.Function:
    """Let go of what threads share; the last one frees it, which may begin when all is done."""
    found = module.globals.get("jaxdiv_release")
    if isinstance(found, ir.Function):
        return found
    made = ir.Function(module, ir.FunctionType(NOTHING, [POINTER]), "jaxdiv_release")
    made.linkage = "internal"
    (state,) = made.args
    memory = _Memory(ir.IRBuilder(made.append_basic_block("entry")))
    builder = memory.builder
    before = _add(memory, state, _OWNERS, -1)
    with builder.if_then(builder.icmp_signed("==", before, number(1, LONG))):
        builder.call(declared(module, "free", NOTHING, [POINTER]), [state])
    builder.ret_void()
    return made


# --- compilation -----------------------------------------------------------------------------

_LOCK = threading.Lock()
_ENGINES: list[Any] = []  # which own the code; a program of XLA's may call it at any time


def _machine() -> Any:
    """A target machine, which an engine will own."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten()
    target = binding.Target.from_default_triple()
    # With the default model of code, which may lie anywhere: the engine's memory for code and for
    # constants may be further apart than the small model can reach, and LLVM aborts.
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=features,
        opt=2,
        jit=True,
    )


@functools.cache
def has(feature: str) -> bool:
    """Whether the processor has a feature, as LLVM names it."""
    return binding.get_host_cpu_features().get(feature, False)


def optimised(code: str, machine: Any) -> Any:
    """A module for a target machine."""
    made = binding.parse_assembly(code)
    made.triple, made.data_layout = machine.triple, str(machine.target_data)
    made.verify()
    options = binding.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = False  # what could be, is
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(made, passes)
    return made


@functools.cache
def _target(code: str) -> str:
    """The name under which a module's handler is registered."""
    machine = _machine()
    engine = binding.create_mcjit_compiler(optimised(code, machine), machine)
    engine.finalize_object()
    _ENGINES.append(engine)
    name = f"jaxdiv_{hashlib.sha256(code.encode()).hexdigest()[:24]}"
    address = ctypes.c_void_p(engine.get_function_address(_HANDLER))
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(address), platform="cpu")
    return name


@functools.cache
def refused() -> str | None:
    """Why XLA takes no handler; None if it does."""

    def nothing(made: ir.Module) -> tuple[ir.Function, Constants]:
        kind = ir.FunctionType(NOTHING, [LONG, LONG, LONG, POINTER, LONG, POINTER])
        function = ir.Function(made, kind, "jaxdiv_nothing")
        ir.IRBuilder(function.append_basic_block("entry")).ret_void()
        return function, Constants()

    try:
        with _LOCK:
            _target(str(module(nothing, 1, [])))
    except (RuntimeError, ValueError, AttributeError) as error:  # of other versions of LLVM or XLA
        return f"{type(error).__name__}: {error}"
    return None


def call(
    module: ir.Module, arrays: Sequence[Array], results: Sequence[jax.ShapeDtypeStruct]
) -> Sequence[Array]:
    """What the handler of a module makes of arrays."""
    with _LOCK:
        name = _target(str(module))
    return jax.ffi.ffi_call(name, list(results))(*arrays)
