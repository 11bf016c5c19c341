"""Parts: reading a few fields of one object of an event, from its bytes, and nothing else of it.

Most of an event stands in objects that only some kinds of events are asked about, and then for a field or
two. So narrow decoding leaves these objects as they are, checked but not built, and whoever wants fields of
one has a `Part` for just those. A Part has few keys to compare with, so what it passes over costs little.

Rule 1: what the struct of a Part cannot hold faithfully it refuses, by raising MsgspecError (or
RecursionError): anything but an object where one is expected, an object where a value is, numbers beyond
all range, and dotted keys that spell one of its paths, for each of which it has a field that takes no value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, NamedTuple

import msgspec

Value = str | int | float | bool | None
Leaf = Value | tuple[Value, ...]
"""What stands at the end of a path: a value, or an array of values."""

WHOLE = frozenset(["Ext"])
"""Objects of any shape, often in arrays; they are taken as they are."""

_Nothing = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]
"""No value is of this type."""


_Way = tuple[tuple[str, str], ...]
"""Segments of a path with their attributes."""


class Place(NamedTuple):
    """Where a struct has a field: attributes one below the other, and what of the path is left there (None:
    nothing, there is a value; otherwise an object that was taken whole)."""

    attributes: tuple[str, ...]
    rest: str | None


class Part:
    """Reads the fields at the given paths, which begin below the object."""

    __slots__ = ("convert", "decode", "empty", "places")

    def __init__(self, paths: Iterable[str]) -> None:
        self.places: dict[str, Place] = {}
        """By path."""
        type_ = self._struct((), [tuple(path.split(".")) for path in paths])
        self.decode: Callable[[Any], Any] = msgspec.json.Decoder(type_).decode
        """The struct of an object that is given as its bytes."""
        self.convert: Callable[[Any], Any] = partial(msgspec.convert, type=type_)
        """The struct of an object that is a dict."""
        self.empty = type_()
        """That of an object which holds nothing."""

    def _struct(self, above: _Way, paths: list[tuple[str, ...]]) -> type[msgspec.Struct]:
        """The struct of the object to which the attributes `above` lead."""
        fields: list[Any] = []
        by_key: dict[str, list[tuple[str, ...]]] = {}
        for path in paths:
            by_key.setdefault(path[0], []).append(path[1:])
        for number, (key, below) in enumerate(by_key.items()):
            here = (*above, (key, f"field_{number}"))
            default = None
            kind: Any = Leaf
            if key in WHOLE or (() in below and any(below)):
                kind = Any
                self._place(here, below, is_whole=True)
            elif () in below:
                self._place(here, below, is_whole=False)
            else:
                kind = self._struct(here, below)
                default = kind()
            fields.append((here[-1][1], kind, msgspec.field(default=default, name=key)))
        dotted = {".".join(path[:end]) for path in paths for end in range(2, len(path) + 1)}
        for number, key in enumerate(sorted(dotted)):
            fields.append((f"dotted_{number}", _Nothing, msgspec.field(default="", name=key)))
        return msgspec.defstruct("Part", fields, frozen=True, gc=False, kw_only=True)

    def _place(self, here: _Way, below: list[tuple[str, ...]], *, is_whole: bool) -> None:
        attributes = tuple(attribute for _, attribute in here)
        for rest in below:
            path = ".".join((*(key for key, _ in here), *rest))
            self.places[path] = Place(attributes, ".".join(rest) if is_whole else None)
