"""Dataclasses as pytrees whose structures differ where the classes do."""

import dataclasses
from typing import Any, TypeVar

import jax
from jax.tree_util import GetAttrKey

Class = TypeVar("Class", bound=type)


def register(cls: Class) -> Class:
    """Make a dataclass a pytree; fields marked `static=True` are structure.

    The class itself is part of the structure. With `jax.tree_util.register_dataclass` (up to 0.12
    at least) structures of two classes with as many fields compare equal, though their hashes
    differ, and a table that compares few bits of a hash then returns one class's program for
    another: the gradient of Le Cam's divergence was now and then that of chi-squared.
    """
    fields = dataclasses.fields(cls)
    structural = tuple(f.name for f in fields if f.metadata.get("static"))
    dynamic = tuple(f.name for f in fields if not f.metadata.get("static"))
    keys = tuple(map(GetAttrKey, dynamic))

    def flatten(x: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        structure = (cls, *(getattr(x, name) for name in structural))
        return tuple(getattr(x, name) for name in dynamic), structure

    def flatten_with_keys(x: Any) -> tuple[Any, tuple[Any, ...]]:
        children, structure = flatten(x)
        return tuple(zip(keys, children, strict=True)), structure

    def unflatten(structure: tuple[Any, ...], children: Any) -> Any:
        # Without __init__: pytrees are rebuilt with placeholders.
        x = object.__new__(cls)
        for name, value in zip(structural, structure[1:], strict=True):
            object.__setattr__(x, name, value)
        for name, value in zip(dynamic, children, strict=True):
            object.__setattr__(x, name, value)
        return x

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def static(**kwargs: Any) -> Any:
    """A field that is structure, not a number to differentiate."""
    return dataclasses.field(metadata={"static": True}, **kwargs)
