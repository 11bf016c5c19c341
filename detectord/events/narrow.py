"""Narrow decoding: of an event only what rules read.

What tells the kind of an event becomes a tree of structs, into which one call decodes a record; what the
tree does not name is checked and skipped, not built. The other objects that rules ask about stay as the
bytes they are, and are read part by part (`events.parts`), by whoever wants to know something of them. An
event made of this, `NarrowEvent`, answers as one that was decoded in full, and is decoded in full when it
is asked for something else.

Rule 1: whatever the structs cannot hold faithfully is no narrow event: `decode` gives None, and the record
is to be decoded in full. Such are records in any form but that of a plain event, arrays or scalars where an
object is expected, objects where a value is, and dotted keys. If it stands in a part, only who reads the part
finds out, and then it is the same.
Rule 2: dotted keys are noticed because keys that are not known are refused, wherever a dotted key could
mean a path that is read. The other keys have to be known, then: they are learned from the documents that
were refused, without their contents. Their number and how often they are learned have bounds.

One thing is seen later than by decoding in full: that an object which nobody reads is nested too deep.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from detectord.events.decode import STORABLE, event_time, full_document
from detectord.events.event import Event, Scalar, scalars_under
from detectord.events.parts import WHOLE, Leaf, Part, Place
from detectord.events.record import Record
from detectord.events.time import parse_instant

MAX_LEARNED = 2_000
"""Keys that are known for being skipped."""

MAX_LESSONS = 40
"""How often structs are made anew with more keys; each time takes more refused events than the last."""

MAX_READERS = 2_000
"""Sets of paths in parts whose readers are kept; plans that are alike share them."""

_LONGEST_KEY = 100

_LONGEST_TIME = 40
"""Characters of a time that is remembered."""

_TELLTALE = frozenset(["_source", "fields", "endgame"])
"""Keys at the root that may make a record more than a plain event: these are never known."""

_LONGEST_TIME = 40
"""Characters of a time that is remembered."""

_TELLTALE = frozenset(["_source", "fields", "endgame"])
"""Keys at the root that may make a record more than a plain event: these are never known."""

_READ = 65_536
"""About so many bytes of one event are passed over by reading fields one by one; who wants more than that
gets the document."""

ALWAYS = (
    "@timestamp", "agent.id", "agent.type", "agent.version", "data_stream.dataset", "data_stream.namespace",
    "data_stream.type", "event.category", "event.created", "event.dataset", "event.id", "event.module",
    "event.sequence", "host.id",
    "_index", "@metadata._index", "@metadata.raw_index", "@metadata.beat", "@metadata.version",
    "kibana.alert.rule.rule_id", "kibana.space_ids",
    "_id", "@metadata._id", "winlog.channel", "winlog.computer_name", "winlog.record_id",
)  # fmt: skip
"""What the engine itself reads of nearly every event: its time, index and identity."""

_Plain = str | int | None
_PlainLeaf = _Plain | tuple[_Plain, ...]
"""What can be part of a key: equal values are the same value. (1, 1.0 and true are equal to Python.)"""

_Tree = dict[str, "_Tree"]
"""A node of the paths by segment; {}: a value."""


class Narrowing:
    """Decodes the given paths, and those in ALWAYS. The values at `plain` paths are hashable and distinct,
    and none of them is in a part."""

    def __init__(self, paths: Iterable[str], plain: Collection[str] = ()) -> None:
        self._plain = frozenset(plain)
        self._tree: _Tree = {}
        self.places: dict[str, Place] = {}
        """By path, for those that structs hold."""
        self.parts: dict[str, tuple[str, str]] = {}
        """By path, for those in parts: the attribute that has the part's bytes, and the path below it."""
        kept = sorted({*ALWAYS, *paths, *plain})
        kept = [path for path in kept if all(path.split(".")) and path.split(".")[0] not in _TELLTALE]
        told = {path.split(".")[0] for path in (*plain, *kept) if path in self._plain or "." not in path}
        self._lazy = {path.split(".")[0] for path in kept} - told - WHOLE
        """The keys of parts."""
        self._readers: dict[tuple[str, ...], Part] = {}
        self._whole_parts: dict[str, Part] = {}
        for path in kept:
            key, _, below = path.partition(".")
            if key in self._lazy:
                self._tree[key] = {}
                self.parts[path] = _attribute(key), below
        kept = [path for path in kept if path not in self.parts]
        for path in kept:
            node = self._tree
            for segment in _cut(path):
                node = node.setdefault(segment, {})
        self._whole = {"/".join(_cut(path)) for path in kept if self._is_whole(path)}
        for path in kept:
            self.places[path] = self._place(path)
        self._known: dict[str, set[str]] = {}
        """By the place of an object, the keys in it that are skipped."""
        self._order: dict[str, list[str]] = {}
        """By the place of an object, its keys in about the order in which documents have them."""
        self._learned = 0
        self._lessons = 0
        self._refused = 0
        self._document_type: type[msgspec.Struct] | None = None
        self._make()

    def decode(self, value: bytes) -> msgspec.Struct | None:
        """The structs of a record that is a plain event; None: it is to be decoded in full."""
        try:
            root = self._decode(value)
            if not value.isascii():
                value.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        # Without `event` it might be an envelope
        return None if root.event is self._no_event else root

    def narrowed(self, document: dict[str, Any]) -> msgspec.Struct | None:
        """The structs of a document; None: they cannot hold it."""
        if self._document_type is None:
            self._document_type = self._struct("", self._tree, Any)
        try:
            root: msgspec.Struct = msgspec.convert(document, self._document_type)
        except (msgspec.MsgspecError, RecursionError):
            return None
        return root

    def learn(self, document: Mapping[str, Any]) -> None:
        """Know the keys of a document that was refused from now on, or soon."""
        if self._lessons >= MAX_LESSONS:
            return
        new = dict(self._unknown(document))
        if not any(new.values()):
            return
        self._refused += 1
        if self._refused * 4 < self._lessons * self._lessons:
            return
        for place, keys in new.items():
            taken = keys[: MAX_LEARNED - self._learned]
            self._learned += len(taken)
            self._known.setdefault(place, set()).update(taken)
        self._lessons += 1
        for place, tree, node in self._objects(document):
            _merge(
                self._order.setdefault(place, []), [key for key in node if self._is_named(place, tree, key)]
            )
        self._refused = 0
        self._make()

    def holds(self, path: str) -> bool:
        """True if the values at the path can be had without the document."""
        return path in self.places or path in self.parts

    def values(self, root: msgspec.Struct, path: str) -> tuple[Scalar, ...] | None:
        """As `Event.values`; None: only the document in full tells."""
        place = self.places.get(path)
        if place is not None:
            return _values_at(root, place)
        if path not in self.parts:
            return None
        attribute, below = self.parts[path]
        part, places = self.part(root, attribute)
        return None if part is None else _values_at(part, places[below])

    def part(self, root: msgspec.Struct, attribute: str) -> tuple[msgspec.Struct | None, Mapping[str, Place]]:
        """What a part has of all that is read of it, and where; None: only the document in full tells."""
        reader = self._whole_parts.get(attribute)
        if reader is None:
            reader = Part(below for own, below in self.parts.values() if own == attribute)
            self._whole_parts[attribute] = reader
        data = getattr(root, attribute)
        try:
            return reader.empty if data is None else reader.decode(data), reader.places
        except (msgspec.MsgspecError, RecursionError):
            return None, reader.places

    def reader(self, paths: tuple[str, ...]) -> Part:
        """What reads these paths of a part."""
        found = self._readers.get(paths)
        if found is None:
            if len(self._readers) >= MAX_READERS:
                self._readers.clear()
            found = self._readers[paths] = Part(paths)
        return found

    def time(self, root: msgspec.Struct, record: Record) -> tuple[int | None, bool]:
        """As `decode.event_time`."""
        instant = self.instant(root)
        if instant is not None:
            return instant, False
        event = NarrowEvent(self, root, record)
        return event.time, event.bad_timestamp

    def instant(self, root: msgspec.Struct) -> int | None:
        """The time of an event whose `@timestamp` is a short text that tells it."""
        written = self._timestamp_of(root)
        if type(written) is str and len(written) <= _LONGEST_TIME:
            return _instant_of(written)
        return None

    # --- making structs -------------------------------------------------------------------------

    def _make(self) -> None:
        self._document_type = None  # made when it is needed
        root = self._struct("", self._tree, msgspec.Raw)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(root).decode
        self._timestamp_of = attrgetter(_attribute("@timestamp"))
        self._no_event = root().event  # type: ignore[attr-defined]  # paths below it are in ALWAYS

    def _struct(self, place: str, tree: _Tree, skipped: Any) -> type[msgspec.Struct]:
        """The struct of an object; `skipped` is the type of what is not read."""
        fields: dict[str, tuple[str, Any, Any]] = {}
        is_open = True
        for key, below in tree.items():
            inner = f"{place}/{key}" if place else key
            default = None
            kind: Any = _PlainLeaf if inner.replace("/", ".") in self._plain else Leaf
            if not place and key in self._lazy:
                kind, is_open = skipped, False
            elif inner in self._whole:
                kind, is_open = Any, False
            elif below:
                kind, is_open = self._struct(inner, below, skipped), False
                default = kind()
            fields[key] = (_attribute(key), kind, msgspec.field(default=default, name=key))
        if not is_open:
            for number, key in enumerate(sorted(self._known.get(place, ()))):
                fields[key] = (f"skipped_{number}", skipped, msgspec.field(default=None, name=key))
        # A key is looked for from where the last one was found: in the order of documents that is one step
        first = [fields.pop(key) for key in self._order.get(place, ()) if key in fields]
        return msgspec.defstruct(
            "Narrow",
            [*first, *fields.values()],
            frozen=True,
            gc=False,
            kw_only=True,
            forbid_unknown_fields=not is_open,
        )

    def _is_whole(self, path: str) -> bool:
        """True if what stands at the end of the (cut) path is an object of any shape, or a value as well as
        an object."""
        segments = _cut(path)
        node = self._tree
        for segment in segments:
            node = node[segment]
        return bool(node) or segments[-1] in WHOLE

    def _place(self, path: str) -> Place:
        segments = path.split(".")
        for end in range(1, len(segments) + 1):
            if "/".join(segments[:end]) in self._whole:
                return Place(tuple(map(_attribute, segments[:end])), ".".join(segments[end:]))
        return Place(tuple(map(_attribute, segments)), None)

    def _unknown(self, document: Mapping[str, Any]) -> Iterable[tuple[str, list[str]]]:
        """The keys by place that are to be known."""
        for place, tree, node in self._objects(document):
            yield (
                place,
                [k for k in node if not self._is_named(place, tree, k) and _is_harmless(place, k)],
            )

    def _is_named(self, place: str, tree: _Tree, key: str) -> bool:
        """True if the struct of an object has the key."""
        return key in tree or key in self._known.get(place, ())

    def _objects(self, document: Mapping[str, Any]) -> Iterable[tuple[str, _Tree, Mapping[str, Any]]]:
        """The objects of a document that structs stand for, each with its place and what is read of it."""
        pending: list[tuple[str, _Tree, Mapping[str, Any]]] = [("", self._tree, document)]
        while pending:
            place, tree, node = pending.pop()
            yield place, tree, node
            for key, below in tree.items():
                inner = f"{place}/{key}" if place else key
                child = node.get(key)
                if below and isinstance(child, Mapping) and inner not in self._whole:
                    pending.append((inner, below, child))


def _values_at(root: Any, place: Place) -> tuple[Scalar, ...]:
    """What a struct has at a place."""
    found = root
    for attribute in place.attributes:
        found = getattr(found, attribute)
    if place.rest is not None:
        return tuple(scalars_under(found, place.rest or None))
    if isinstance(found, str):
        return (found,)
    if found is None:
        return ()
    if isinstance(found, tuple):
        return tuple([value for value in found if value is not None])
    return (found,)


def _merge(order: list[str], keys: list[str]) -> None:
    """Puts each key that is not in `order` behind the one it follows in `keys`."""
    place = 0
    for key in keys:
        if key not in order:
            order.insert(place, key)
        place = order.index(key) + 1


def _is_harmless(place: str, key: str) -> bool:
    return "." not in key and len(key) <= _LONGEST_KEY and (bool(place) or key not in _TELLTALE)


def _cut(path: str) -> list[str]:
    """The segments of a path up to an object that is taken whole."""
    segments = path.split(".")
    ends = [number for number, segment in enumerate(segments) if segment in WHOLE]
    return segments[: ends[0] + 1] if ends else segments


def _attribute(key: str) -> str:
    """The name of a struct's attribute for a key."""
    if (
        key.isidentifier()
        and key.isascii()
        and not key.startswith(("_", "skipped_", "k_"))
        and not keyword.iskeyword(key)
    ):
        return key
    return "k_" + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", key)


@lru_cache(maxsize=1_000)
def _instant_of(written: str) -> int | None:
    """The time that a text tells, if it can be stored; events of one time come together."""
    instant = parse_instant(written)
    return instant if instant is not None and instant in STORABLE else None


class NarrowEvent(Event):
    """An event of which a struct has what is mostly asked for; the rest is read from its record when needed.

    To read it may raise DecodeError, which decoding in full would have raised.
    """

    __slots__ = ("_full", "_narrowing", "_parts", "_root")

    def __init__(self, narrowing: Narrowing, root: msgspec.Struct, record: Record) -> None:
        self._narrowing = narrowing
        self._root = root
        self._parts: dict[str, tuple[msgspec.Struct | None, Mapping[str, Place]]] = {}
        super().__init__({}, record, narrowing.instant(root))
        self._full: dict[str, Any] | None = None
        if self.time is None:
            self.time, self.bad_timestamp = event_time(self)

    @property
    def document(self) -> dict[str, Any]:
        """The document in full."""
        if self._full is None:
            self._full = full_document(self.record)
        return self._full

    @document.setter
    def document(self, document: dict[str, Any]) -> None:
        self._full = document

    def values(self, path: str) -> tuple[Scalar, ...]:
        """See `Event`."""
        found = self._values.get(path)
        if found is not None:
            return found
        narrowing = self._narrowing
        if path in narrowing.places:
            found = self._values[path] = _values_at(self._root, narrowing.places[path])
            return found
        if path in narrowing.parts and self._full is None:
            attribute, below = narrowing.parts[path]
            if attribute not in self._parts:
                self._parts[attribute] = narrowing.part(self._root, attribute)
            part, places = self._parts[attribute]
            if part is not None:
                found = self._values[path] = _values_at(part, places[below])
                return found
        return super().values(path)

    def holds_object(self, key: str) -> bool:
        """See `Event`."""
        return False if key in _TELLTALE else super().holds_object(key)
