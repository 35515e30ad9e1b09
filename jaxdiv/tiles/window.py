"""Places along an axis, a tile of them at a time.

Under plain `jit` the axis may be divided over devices, which a program can't know while it is
traced. A tile of neighbours would lie on one of them, and XLA would gather what it is cut from. So
a tile takes as many places from each of as many equal parts as there are devices: no place has to
move, and all devices have their share of the work.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Window(NamedTuple):
    """Where a tile lies, how many places it has, and which of them no tile had before.

    Of each of `parts` parts, one `length` after the other, it has as many places, from `start` on.
    """

    start: Array | int
    size: int
    fresh: Array | None
    parts: int = 1
    length: int = 0

    def indices(self) -> Array:
        """Its places."""
        each = self.start + lax.iota(jnp.int32, self.size // self.parts)
        if self.parts == 1:
            return each
        return (jnp.arange(self.parts, dtype=jnp.int32)[:, None] * self.length + each).reshape(-1)

    def find(self, index: Array) -> tuple[Array, Array]:
        """Where places among all lie in the tile, and whether they do."""
        if self.parts == 1:
            place = index - self.start
            return place, (place >= 0) & (place < self.size)
        each = self.size // self.parts
        part = index // self.length
        place = index - part * self.length - self.start
        inside = (place >= 0) & (place < each) & (part >= 0) & (part < self.parts)
        return part * each + place, inside

    def cut(self, x: Array, axis: int) -> Array:
        """The tile of an array."""
        if x.shape[axis] == self.size:
            return x
        if self.parts == 1:
            return lax.dynamic_slice_in_dim(x, self.start, self.size, axis)
        found = self._parted(x, axis)
        found = lax.dynamic_slice_in_dim(found, self.start, self.size // self.parts, axis + 1)
        return _joined(found, axis)

    def put(self, x: Array, tile: Array, axis: int) -> Array:
        """The array with another tile."""
        if self.parts == 1:
            return lax.dynamic_update_slice_in_dim(x, tile, self.start, axis)
        each = self.size // self.parts
        shape = (*x.shape[:axis], self.parts, each, *x.shape[axis + 1 :])
        split = self._parted(x, axis)
        found = lax.dynamic_update_slice_in_dim(split, tile.reshape(shape), self.start, axis + 1)
        return _joined(found, axis)

    def _parted(self, x: Array, axis: int) -> Array:
        return x.reshape(*x.shape[:axis], self.parts, self.length, *x.shape[axis + 1 :])


def _joined(x: Array, axis: int) -> Array:
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])


@dataclasses.dataclass(frozen=True)
class Cuts:
    """All places in tiles; `parts` divides their number and that of a tile."""

    size: int
    tile: int
    parts: int = 1

    @property
    def whole(self) -> bool:
        """Whether one tile is all."""
        return self.tile >= self.size

    @property
    def length(self) -> int:
        """Of a part."""
        return self.size // self.parts

    @property
    def each(self) -> int:
        """Places of each part in a tile."""
        return self.tile // self.parts

    def __len__(self) -> int:
        return -(-self.length // self.each)

    def window(self, i: Array | int) -> Window:
        """The tile of a number."""
        if self.whole:
            return Window(0, self.size, None)
        start = jnp.minimum(i * self.each, self.length - self.each)
        fresh = None
        if self.length % self.each:
            # The last tile begins early enough to be whole; what it shares with the one before
            # counts once.
            fresh = start + lax.iota(jnp.int32, self.each) >= i * self.each
            fresh = fresh if self.parts == 1 else jnp.tile(fresh, self.parts)
        return Window(start, self.tile, fresh, self.parts, self.length)

    def joined(self, x: Array) -> Array:
        """Tiles of all places, stacked, as one array with the places in front."""
        count, each = len(self), self.each
        x = x.reshape(count, self.parts, each, *x.shape[2:])
        x = jnp.moveaxis(x, 0, 1).reshape(self.parts, count * each, *x.shape[3:])
        if self.length % each:  # the last tile lies farther on than it begins
            place = jnp.arange(self.length, dtype=jnp.int32)
            late = place >= (count - 1) * each
            x = jnp.take(x, jnp.where(late, place + count * each - self.length, place), axis=1)
        return x.reshape(self.size, *x.shape[2:])


def parts_of(size: int) -> int:
    """Into how many parts to think places divided, so that no device holds some of two."""
    if jax.sharding.get_abstract_mesh().manual_axes:  # inside `shard_map` all are here
        return 1
    return math.gcd(size, jax.device_count())
