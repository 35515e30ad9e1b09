"""Any jax.numpy function over numbers of another kind: bounds, expansions, expressions.

The jaxpr of a function is read in float64 and run in Python over NumPy arrays of objects, whose
elements know + - * / and the elementary functions. Nothing is computed through XLA, so that what
comes out is independent of the programs that it checks. Floats written in the function are taken
exactly, as fractions.
"""

import operator
import types
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from .rules import KIND, each, lift, rule


def evaluate(f: Callable[..., Any], *args: Any) -> Any:
    """f at numbers, or at object arrays of them; a pytree of the same.

    Args:
        f: A function written in jax.numpy for float arrays.
        *args: Numbers of one kind or fractions, floats and ints, which are taken exactly.

    Raises:
        NotImplementedError: for a primitive without a rule, which it names.
    """
    return program(f, *map(np.shape, args))(*args)


def program(f: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[..., Any]:
    """f, traced once for arguments of these shapes."""
    with jax.enable_x64(True):
        like = [jax.ShapeDtypeStruct(shape, np.float64) for shape in shapes]
        closed, out = jax.make_jaxpr(f, return_shape=True)(*like)
    tree = jax.tree.structure(out)
    code = _Code(closed)

    def run(*args: Any) -> Any:
        return jax.tree.unflatten(tree, code.run([lift(arg) for arg in args]))

    return run


_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call",
          "custom_vjp_call_jaxpr", "remat", "remat2", "checkpoint"}  # fmt: skip


class _Code:
    """A jaxpr as steps over numbered slots: calls inlined, repetitions and what is unused left out.

    What is made of constants alone is computed once, in fractions, and lifted once a kind.
    """

    def __init__(self, closed: Any):
        self._count = 1
        self._constants: dict[int, Any] = {}
        self._floating: set[int] = set()
        self._known: dict[Any, int] = {}
        self._lifted: dict[Any, list[Any]] = {}
        steps: list[tuple[Callable[..., Any], tuple[int, ...], int]] = []
        self._inputs = [self._slot() for _ in closed.jaxpr.invars]
        self._outputs = self._inline(closed.jaxpr, closed.consts, self._inputs, steps)
        needed, last = set(self._outputs), []
        for apply, inputs, output in reversed(steps):
            if output in needed:
                needed.update(inputs)
                last.append((apply, inputs, output))
        self._steps = last[::-1]

    def run(self, args: list[Any]) -> list[Any]:
        """The outputs."""
        kind = next((k for arg in args if (k := _kind(arg)) is not None), None)
        values = self._template(kind).copy()
        values[KIND] = kind
        for slot, arg in zip(self._inputs, args, strict=True):
            values[slot] = arg
        for apply, inputs, output in self._steps:
            values[output] = apply(*[values[slot] for slot in inputs])
        return [values[slot] for slot in self._outputs]

    def _template(self, kind: Any) -> list[Any]:
        # A bound method lifts to what the argument at hand shares: fractions are left to it.
        key = kind if isinstance(kind, types.FunctionType) else None
        if key not in self._lifted:
            values: list[Any] = [None] * self._count
            lift = each(lambda x: key(x) if key and isinstance(x, Fraction) else x)
            for slot, value in self._constants.items():
                values[slot] = lift(value) if slot in self._floating else value
            self._lifted[key] = values
        return self._lifted[key]

    def _slot(self) -> int:
        self._count += 1
        return self._count - 1

    def _constant(self, value: Any, aval: Any) -> int:
        slot = self._slot()
        self._constants[slot] = value
        if np.issubdtype(aval.dtype, np.floating):
            self._floating.add(slot)
        return slot

    def _inline(self, jaxpr: Any, consts: Any, args: list[int], steps: list[Any]) -> list[int]:
        slots: dict[Any, int] = dict(zip(jaxpr.invars, args, strict=True))
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            slots[var] = self._constant(lift(value), var.aval)

        def read(atom: Any) -> int:
            return (
                self._constant(lift(atom.val), atom.aval)
                if isinstance(atom, Literal)
                else slots[atom]
            )

        for eqn in jaxpr.eqns:
            inputs = [read(atom) for atom in eqn.invars]
            if eqn.primitive.name in _CALLS:
                inner = next(eqn.params[key] for key in _INNER if key in eqn.params)
                closed = hasattr(inner, "consts")
                outputs = self._inline(
                    inner.jaxpr if closed else inner, inner.consts if closed else [], inputs, steps
                )
            else:
                outputs = [
                    self._step(eqn, index, tuple(inputs), steps)
                    for index in range(len(eqn.outvars))
                ]
            slots.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _step(self, eqn: Any, index: int, inputs: tuple[int, ...], steps: list[Any]) -> int:
        """One output of one equation."""
        name, aval = eqn.primitive.name, eqn.outvars[index].aval
        simpler = self._simpler(name, eqn, inputs)
        if isinstance(simpler, int):
            return simpler
        apply, inputs = simpler or rule(eqn, index, inputs)
        if all(slot in self._constants or slot == KIND for slot in inputs):
            try:
                value = apply(*[self._constants.get(slot) for slot in inputs])
            except (ArithmeticError, NotImplementedError):
                pass  # it is left to be done, or to fail, in the kind at hand
            else:
                return self._constant(value, aval)
        # Equal fractions are one, but no array is compared with another.
        values = ((slot, self._constants.get(slot)) for slot in inputs)
        same = (("=", x) if isinstance(x, Fraction) else slot for slot, x in values)
        key = (name, index, repr(eqn.params), str(aval), simpler and simpler[0], *same)
        if key not in self._known:
            self._known[key] = self._slot()
            steps.append((apply, inputs, self._known[key]))
        return self._known[key]

    def _simpler(self, name: str, eqn: Any, inputs: tuple[int, ...]) -> Any:
        """A slot that already holds it, or simpler operation and its inputs, or None."""
        dtypes = [atom.aval.dtype for atom in (*eqn.invars, *eqn.outvars)]
        if not all(np.issubdtype(dtype, np.floating) for dtype in dtypes):
            return None
        if name in ("copy", "stop_gradient", "convert_element_type"):
            return inputs[0]
        values = [self._constants.get(slot) for slot in inputs]
        if name == "mul":
            for value, other in zip(values, reversed(inputs), strict=True):
                if isinstance(value, Fraction) and value in (1, -1):
                    return other if value == 1 else (operator.neg, (other,))
        if name in ("add", "add_any"):
            for value, other in zip(values, reversed(inputs), strict=True):
                if isinstance(value, Fraction) and value == 0:
                    return other
        if name == "div" and isinstance(values[1], Fraction) and values[1] != 0:
            inverse = self._constant(1 / values[1], eqn.invars[1].aval)
            return inputs[0] if values[1] == 1 else (operator.mul, (inputs[0], inverse))
        return None


def _kind(arg: Any) -> Any:
    """What lifts a fraction to the kind of number that an argument holds."""
    some = arg.flat if isinstance(arg, np.ndarray) else (arg,)
    return next((lift for x in some if (lift := getattr(x, "lift", None)) is not None), None)
