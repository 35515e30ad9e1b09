"""Where the numbers of a row come from, a tile of outcomes at a time.

A source is a pytree of arrays with rows in front. `axes` says of each which axis has the outcomes,
-1 for none; rebuilt with tiles of those, it makes its `tile`, (rows, outcomes), in its chart:
"linear", "log" or "logits". What a window does not hold for the first time has no mass.
"""

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from .._pytree import register, static
from .product import product
from .window import Window

WHOLE = -1

Chart = Literal["linear", "log", "logits"]


def _masked(x: Array, mask: Array | None, window: Window, empty: float) -> Array:
    kept = mask
    if window.fresh is not None:
        kept = window.fresh[None] if mask is None else mask & window.fresh[None]
    return x if kept is None else jnp.where(kept, x, jnp.asarray(empty, x.dtype))


def _positive(x: Array) -> Array:
    """x where it is positive and finite, else NaN."""
    return jnp.where((x > 0) & (x < jnp.inf), x, jnp.nan)


@register
@dataclasses.dataclass(frozen=True)
class HeadSource:
    """Logits hidden @ weight + bias, capped softly and divided by the temperature.

    `hidden` is in float32 at least, whatever the products' dtype, so that its cotangent is.
    """

    chart: ClassVar[Chart] = "logits"
    of_rows: ClassVar[tuple[str, ...]] = ("hidden", "mask", "alive")
    hidden: Any
    weight: Any
    bias: Any
    softcap: Any
    temperature: Any
    mask: Any  # (rows or 1, outcomes)
    alive: Any  # (rows or 1, 1): rows not masked entirely
    dtype: Any = static()  # of the products

    def axes(self) -> "HeadSource":
        """Which axis has the outcomes."""
        return dataclasses.replace(
            jax.tree.map(lambda _: WHOLE, self),
            weight=1,
            bias=None if self.bias is None else 0,
            mask=None if self.mask is None else 1,
        )

    def tile(self, window: Window) -> Array:
        """Logits of a tile."""
        return self.finished(product(self.hidden, self.weight, self.dtype), window)

    def finished(self, x: Array, window: Window) -> Array:
        """Logits from the product."""
        if self.bias is not None:
            x = x + self.bias.astype(x.dtype)[None]
        if self.softcap is not None:
            cap = _positive(self.softcap)
            x = cap * jnp.tanh(x / cap)
        if self.temperature is not None:
            x = x / _positive(self.temperature)
        x = _masked(x, self.mask, window, -jnp.inf)
        return x if self.alive is None else jnp.where(self.alive, x, 0)


@register
@dataclasses.dataclass(frozen=True)
class ArraySource:
    """An array of numbers, masked already."""

    of_rows: ClassVar[tuple[str, ...]] = ("values",)
    values: Any
    temperature: Any
    chart: Chart = static()
    dtype: Any = static()

    def axes(self) -> "ArraySource":
        """Which axis has the outcomes."""
        return dataclasses.replace(jax.tree.map(lambda _: WHOLE, self), values=1)

    def tile(self, window: Window) -> Array:
        """Numbers of a tile."""
        x = self.values.astype(self.dtype)
        if self.temperature is not None:
            some = x > -jnp.inf
            x = jnp.where(some, jnp.where(some, x, 0) / _positive(self.temperature), -jnp.inf)
        return _masked(x, None, window, 0 if self.chart == "linear" else -jnp.inf)


@register
@dataclasses.dataclass(frozen=True)
class LabelsSource:
    """Point masses on classes, smoothed over those that are not masked."""

    chart: ClassVar[Chart] = "linear"
    of_rows: ClassVar[tuple[str, ...]] = ("labels", "uniform", "mask")
    labels: Any  # (rows or 1,)
    smoothing: Any
    uniform: Any  # (rows or 1, 1)
    mask: Any
    offset: Any  # the place of the first outcome among all
    total: int = static()
    dtype: Any = static()

    def axes(self) -> "LabelsSource":
        """Which axis has the outcomes."""
        return dataclasses.replace(
            jax.tree.map(lambda _: WHOLE, self), mask=None if self.mask is None else 1
        )

    def tile(self, window: Window) -> Array:
        """Masses of a tile."""
        labels = self.labels[:, None].astype(jnp.int32)
        masses = (labels == (self.offset + window.indices())[None]).astype(self.dtype)
        if self.smoothing is not None:
            s = self.smoothing
            masses = (1 - s) * masses + s * self.uniform
            masses = jnp.where((s >= 0) & (s <= 1), masses, jnp.nan)
        masses = jnp.where((labels >= 0) & (labels < self.total), masses, jnp.nan)
        return _masked(masses, self.mask, window, 0)


@register
@dataclasses.dataclass(frozen=True)
class TopKSource:
    """The logarithms of a few masses by their places; all other outcomes have none."""

    chart: ClassVar[Chart] = "log"
    of_rows: ClassVar[tuple[str, ...]] = ("indices", "log_probs", "mask")
    indices: Any  # (rows or 1, k)
    log_probs: Any
    mask: Any
    offset: Any
    total: int = static()
    dtype: Any = static()

    def axes(self) -> "TopKSource":
        """Which axis has the outcomes."""
        return dataclasses.replace(
            jax.tree.map(lambda _: WHOLE, self), mask=None if self.mask is None else 1
        )

    def tile(self, window: Window) -> Array:
        """Logarithms of the masses of a tile."""
        rows, _ = self.indices.shape
        place, inside = places(self.indices, self.offset, window)
        empty = jnp.full((rows, window.size), -jnp.inf, self.dtype)
        # What lies elsewhere is dropped.
        x = empty.at[jnp.arange(rows)[:, None], jnp.where(inside, place, window.size)].set(
            self.log_probs.astype(self.dtype), mode="drop"
        )
        known = (self.indices >= 0) & (self.indices < self.total)
        x = jnp.where(jnp.all(known, axis=-1, keepdims=True), x, jnp.nan)
        return _masked(x, self.mask, window, -jnp.inf)


def places(indices: Array, offset: Array, window: Window) -> tuple[Array, Array]:
    """Where outcomes lie in a window, and whether they do."""
    return window.find(indices.astype(jnp.int32) - offset)


Source = HeadSource | ArraySource | LabelsSource | TopKSource
