"""What is verified: a divergence of the catalogue, an object, or anybody's function of (p, q)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._catalogue import CATALOGUE, Entry
from .._divergence import Claims, Divergence, Homogeneous, Separable
from .._finite import Logits, Probs
from .._verbs import kl_divergence
from .programs import Program

CHARTS = ("probabilities", "logits")
NOTHING = Claims(None, None, None, None, None, None, None, None, None, True, None, None)


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A function of rows of distributions, with what is stated of it."""

    name: str
    title: str
    function: Callable[..., Array]
    claims: Claims
    divergence: Divergence | None = None
    traceable: bool = True

    @property
    def homogeneous(self) -> bool:
        """Whether it is an f-divergence."""
        return getattr(self.divergence, "homogeneous", False)

    @property
    def separable(self) -> bool:
        """Whether it is a sum over the outcomes."""
        return isinstance(self.divergence, Separable)

    @functools.cached_property
    def generator(self) -> Callable[[Array], Array] | None:
        """f of an f-divergence."""
        divergence = self.divergence
        if not self.homogeneous or not isinstance(divergence, Separable):
            return None
        if isinstance(divergence, Homogeneous):
            return divergence.generator
        return lambda t: divergence.summand(t, jnp.ones_like(t))

    @functools.cached_property
    def reversed_generator(self) -> Callable[[Array], Array] | None:
        """t f(1/t), the generator of D(q || p); f itself where both are one."""
        divergence = self.divergence
        if self.generator is None or not isinstance(divergence, Separable):
            return None
        if self.claims.symmetric:
            return self.generator
        return lambda t: divergence.summand(jnp.ones_like(t), t)

    @functools.cached_property
    def definition(self) -> Callable[[Array, Array], Array] | None:
        """The closed form, of rows of probabilities; None where there is none to read."""
        if self.divergence is None:
            return self.function if self.traceable else None
        rows = jnp.full((2,), 0.5)
        try:
            jax.eval_shape(self.divergence.definition, rows, rows)
        except NotImplementedError:
            return None
        return self.divergence.definition

    def value(self, chart: str, p: Array, q: Array, mask: Array | None = None) -> Array:
        """D of rows in a chart, outcomes outside `mask` left out."""
        if self.divergence is not None:
            noun = Probs if chart == "probabilities" else Logits
            return self.function(noun(p), noun(q), where=mask)
        if chart == "logits":
            p, q = jax.nn.softmax(p, axis=-1), jax.nn.softmax(q, axis=-1)
        if self.traceable:
            return self.function(p, q)
        return _call(self.function, self.name, np.asarray(p), np.asarray(q), False)  # pyright: ignore[reportReturnType]

    @functools.cached_property
    def values(self) -> Callable[..., Array]:
        """`value`, compiled where the function can be traced; somebody's own as they compile it."""
        if self.traceable:
            return self._charted(_value, "values", quickly=self.divergence is not None)
        return lambda chart, p, q, mask=None: jnp.asarray(
            np.asarray(self.value(chart, p, q)), p.dtype
        )

    @functools.cached_property
    def searched(self) -> Callable[..., Array]:
        """The same for a search, which looks at more than roundings, compiled sooner."""
        if not self.traceable or self.divergence is not None:
            return self.values
        return self._charted(_value, "searched", quickly=True)

    @functools.cached_property
    def applied(self) -> Callable[..., tuple[Array, Array]]:
        """The gradient by q, (m, n), and the Hessian by q applied to directions, (k, m, n)."""
        return self._charted(_applied, "applied", quickly=True)

    @functools.cached_property
    def third(self) -> Callable[..., Array]:
        """The third derivative by q, twice applied to ones, of rows of probabilities."""
        third = self._charted(_third, "third", quickly=True)
        return lambda *args: third(CHARTS[0], *args)

    def _charted(self, function: Callable[..., Any], name: str, *, quickly: bool = False):
        """A program for either chart, which is the first argument, of `function(value, ...)`.

        Its parameter is an argument, as it is of what a verb compiles, so that divergences that
        differ in it alone share the program.
        """
        if self._parameter is not None:
            tree, parameter = self._parameter
            tag = self._tagged()

            def run(chart: str, p: Array, *args: Array | None) -> Any:
                program = _of_parameter(tree, function, chart, tag and repr((name, chart)), quickly)
                return program(p, jnp.full_like(p, parameter, shape=()), *args)

            return run
        programs = {
            chart: Program(
                functools.partial(function, functools.partial(self.value, chart)),
                self._tagged(name, chart),
                quickly=quickly,
            )
            for chart in CHARTS
        }
        return lambda chart, *args: programs[chart](*args)

    @functools.cached_property
    def _parameter(self) -> tuple[Any, float] | None:
        """The structure and the only parameter of a divergence, of which its verb is a line."""
        entry, divergence = self.function, self.divergence
        if not isinstance(entry, Entry) or divergence is None:
            return None
        leaves, tree = jax.tree.flatten(divergence.specialise())
        if len(leaves) != 1 or not isinstance(leaves[0], float):
            return None
        rows = jnp.full((2,), 0.5)
        by_verb, by_object = (str(jax.make_jaxpr(f)(rows, rows)) for f in (entry, divergence))
        return (tree, leaves[0]) if by_verb == by_object else None

    def _tagged(self, *names: str) -> str | None:
        """What a program computes, for good; None of what only this process knows."""
        entry, divergence = self.function, self.divergence
        if not isinstance(entry, Entry) or divergence is None:
            return None
        if entry.verb.__module__ != kl_divergence.__module__:
            return None
        given = (*vars(divergence).values(), *entry.parameters.values())
        shown = [(getattr(x, "__qualname__", x), type(x)) for x in given]
        return repr((entry.name, entry.verb.__name__, type(divergence), shown, names))


def _value(value: Callable[..., Array], p: Array, q: Array, mask: Array | None = None) -> Array:
    return value(p, q, mask)


def _applied(
    value: Callable[..., Array], p: Array, q: Array, mask: Array | None, directions: Array
) -> tuple[Array, Array]:
    def slope(q: Array) -> Array:
        return jax.grad(lambda q: jnp.sum(value(p, q, mask)))(q)

    # Mapped over the directions alone: what doesn't depend on them is computed once.
    return jax.vmap(lambda v: jax.jvp(slope, (q,), (v,)), out_axes=(None, 0))(directions)


def _third(value: Callable[..., Array], p: Array, q: Array, mask: Array | None = None) -> Array:
    one = jnp.ones_like(q)

    def slope(q: Array) -> Array:
        return jax.grad(lambda q: jnp.sum(value(p, q, mask)))(q)

    def bend(q: Array) -> Array:
        return jax.jvp(slope, (q,), (one,))[1]

    return jax.jvp(bend, (q,), (one,))[1]


@functools.lru_cache(maxsize=256)
def _of_parameter(
    tree: Any, function: Callable[..., Any], chart: str, tag: str | None, quickly: bool
) -> Program:
    """The program of p, the parameter, q and the rest."""
    noun = Probs if chart == CHARTS[0] else Logits

    def with_parameter(p: Array, parameter: Array, *args: Any) -> Any:
        divergence = jax.tree.unflatten(tree, [parameter])

        def value(p: Array, q: Array, mask: Array | None) -> Array:
            return divergence(noun(p), noun(q), where=mask)

        return function(value, p, *args)

    return Program(with_parameter, tag and repr((str(tree), tag)), quickly=quickly)


@functools.lru_cache(maxsize=256)
def _of_entry(entry: Entry) -> Subject:
    return Subject(entry.name, entry.title, entry, entry.claims, entry.divergence)


def subject_of(what: Any, name: str | None = None) -> Subject:
    """A name of the catalogue, one of its rows, a divergence object or a function of (p, q)."""
    if isinstance(what, Subject):
        return what
    if isinstance(what, str):
        if what not in CATALOGUE:
            raise ValueError(f"there is no divergence {what!r} in the catalogue")
        return _of_entry(CATALOGUE[what])
    if isinstance(what, Entry):
        return _of_entry(what)
    if isinstance(what, Divergence):
        what.check()
        shown = name or type(what).__name__
        return Subject(shown, what.formula, what, what.claims(), what)
    if not callable(what):
        raise TypeError(
            "what is verified must be a name of the catalogue, a divergence or a function of "
            f"(p, q), but is {what!r}"
        )
    shown = name or getattr(what, "__name__", None) or type(what).__name__
    return _of_function(what, shown)


# What a function is first called with: a row, rows, and rows of rows. No two axes are as long.
_PROBES = ((3,), (2, 3), (5, 2, 3))


def _of_function(function: Callable[..., Any], name: str) -> Subject:
    """A function of (p, q), looked at before anything is made of what it returns."""
    if isinstance(function, type) and issubclass(function, Divergence):
        raise TypeError(f"{name} is a class: give one of its objects, such as {name}()")
    shapes = {probe: _traced_shape(function, probe) for probe in _PROBES}
    traceable = any(shapes[probe] == probe[:-1] for probe in _PROBES)
    if not traceable:
        shapes = {probe: _called_shape(function, probe) for probe in _PROBES}
    if not any(shapes[probe] == probe[:-1] for probe in _PROBES):
        raise ValueError(_why_not(name, shapes))
    rowwise = _rowwise(function, traceable, shapes)
    if traceable:
        rowwise = _in_any_dtype(rowwise)
    p, q = _probe((2, 3))
    first, second, alone = (
        _call(rowwise, name, *rows, traceable) for rows in ((p, q), (p, q), (p[0], q[0]))
    )
    if not np.array_equal(first, second, equal_nan=True):
        raise ValueError(
            f"{name} returned {_listed(first)} and then {_listed(second)} for the same rows: it "
            "depends on more than p and q; fix its seed or its state"
        )
    if not np.allclose(first[0], alone, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ValueError(
            f"{name} returned {first[0]:.6g} for a row beside another and {alone:.6g} for the same "
            "row alone: rows must not see one another"
        )
    return Subject(name, _title(function, name), rowwise, NOTHING, traceable=traceable)


def _probe(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Distributions p and q of a shape, in float32."""
    generator = np.random.default_rng(0)
    p, q = generator.uniform(0.1, 1.0, (2, *shape))
    p, q = (x / np.sum(x, axis=-1, keepdims=True) for x in (p, q))
    return p.astype(np.float32), q.astype(np.float32)


Seen = tuple[int, ...] | str | Exception  # a shape, what came instead of an array, or a failure


def _traced_shape(function: Callable[..., Any], probe: tuple[int, ...]) -> Seen:
    try:
        out = jax.eval_shape(function, *map(jnp.asarray, _probe(probe)))
    except Exception as error:  # what a foreign function makes of a tracer is its own affair
        return error
    return _shape(out)


def _called_shape(function: Callable[..., Any], probe: tuple[int, ...]) -> Seen:
    try:
        with np.errstate(all="ignore"):
            out = function(*_probe(probe))
        return _shape(np.asarray(out)) if not isinstance(out, tuple | dict | None) else _shape(out)
    except Exception as error:  # and of arrays
        return error


def _shape(out: Any) -> Seen:
    """The shape of an array of real numbers; else what it is."""
    if not hasattr(out, "shape"):
        return "None" if out is None else f"a {type(out).__name__}"
    if not jnp.issubdtype(out.dtype, jnp.floating):
        return f"{out.dtype} numbers"
    return tuple(out.shape)


def _why_not(name: str, shapes: dict[tuple[int, ...], Seen]) -> str:
    """A sentence about a function that returns no number a row."""
    row, rows = shapes[3,], shapes[2, 3]
    if isinstance(rows, Exception) and not isinstance(row, Exception):
        seen, given, wanted = row, (3,), ()
    else:
        seen, given, wanted = rows, (2, 3), (2,)
    if isinstance(seen, Exception):
        return (
            f"{name} failed for rows of probabilities of shape {given}: "
            f"{type(seen).__name__}: {str(seen).strip() or 'without a message'}"
        )
    must = f"{name} must return one number a row, shape {wanted} for rows of shape {given}"
    if isinstance(seen, str):
        cure = "cast to float" if seen.endswith("numbers") else "return one array"
        cure = "take the real part" if seen.startswith("complex") else cure
        return f"{must}, as floating-point numbers, but returned {seen}; {cure}"
    return f"{must}, but returned shape {seen}; sum over the last axis"


def _rowwise(
    function: Callable[..., Any], traceable: bool, shapes: dict[tuple[int, ...], Seen]
) -> Callable[..., Any]:
    """The function, of rows along any number of axes."""
    if all(shapes[probe] == probe[:-1] for probe in _PROBES):
        return function
    if shapes[3,] == ():
        if traceable:
            return jnp.vectorize(function, signature="(n),(n)->()")
        return np.vectorize(function, otypes=[float], signature="(n),(n)->()")

    def flat(p: Any, q: Any) -> Any:
        rows = [x.reshape(-1, x.shape[-1]) for x in (p, q)]
        out = function(*rows)
        return (out if traceable else np.asarray(out)).reshape(p.shape[:-1])

    return flat


def _in_any_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, in float32 where it refuses float64."""
    with jax.enable_x64(True):
        try:
            jax.eval_shape(function, *(jnp.asarray(x, jnp.float64) for x in _probe((2, 3))))
            return function
        except Exception:  # what it makes of float64 is its own affair, too
            pass

    def narrow(p: Array, q: Array) -> Array:
        return function(p.astype(jnp.float32), q.astype(jnp.float32)).astype(p.dtype)

    return narrow


def _call(
    function: Callable[..., Any], name: str, p: np.ndarray, q: np.ndarray, traceable: bool
) -> np.ndarray:
    try:
        if traceable:
            return np.asarray(function(jnp.asarray(p), jnp.asarray(q)), np.float64)
        with np.errstate(all="ignore"):
            return np.asarray(function(p, q))
    except Exception as error:  # whatever it is, the caller is told of which function
        raise ValueError(
            f"{name} failed for rows of probabilities of shape {p.shape}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _title(function: Callable[..., Any], name: str) -> str:
    """The first line of its docstring."""
    documented = function.func if isinstance(function, functools.partial) else function
    lines = (getattr(documented, "__doc__", None) or "").strip().splitlines()
    return lines[0] if lines else name


def _listed(values: np.ndarray) -> str:
    return f"({', '.join(f'{x:.9g}' for x in values)})"
