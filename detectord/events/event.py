"""An event: a decoded ECS document whose fields are asked for by path.

Rule 1: a path never raises; it has values, possibly none. Which, is eql.md 3.3: nested objects and
dotted keys are the same thing in any mixture, arrays flatten, objects in arrays fan out, null is
no value, an object is no value.
Rule 2: an event is read-only; what is computed from it once (views) is kept with it. Views are kept
by path, and paths come from rules and from our own code, so their number has a bound that no event
can move.

A path of n segments is looked up by its joined prefixes: `a.b.c` asks an object for `a`, `a.b` and
`a.b.c`, and goes on with what is left of the path in each object found. So the cost follows the path and
the objects on it, not the size of the document. A view holds the values as one type has them: a number
has a text, a numeric string is a number; a value that the type cannot have is left out of the view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar

from detectord.eql.address import parse_address
from detectord.eql.dates import parse_date
from detectord.eql.text import Scalar, fold, parse_number, string_of
from detectord.eql.version import version_key
from detectord.events.record import Record
from detectord.events.time import parse_instant

Number = int | float
V = TypeVar("V")
View = dict[str, tuple[V, ...]]

__all__ = ["Event", "Number", "Scalar", "boolean_of", "number_of"]


class Event:
    """One decoded event.

    `time` is nanoseconds since the epoch, None if nothing tells it; `bad_timestamp` is true if
    `@timestamp` held something that is no time, so that `time` comes from elsewhere. `element` is the
    event's place in its record if the record holds an array of events, else None.
    """

    __slots__ = (
        "_addresses",
        "_booleans",
        "_dates",
        "_elements",
        "_folded",
        "_instants",
        "_numbers",
        "_sid",
        "_text",
        "_values",
        "_versions",
        "bad_timestamp",
        "document",
        "element",
        "record",
        "time",
    )  # fmt: skip

    def __init__(
        self,
        document: dict[str, Any],
        record: Record,
        time: int | None,
        bad_timestamp: bool = False,
        element: int | None = None,
    ) -> None:
        self.document = document
        self.record = record
        self.time = time
        self.bad_timestamp = bad_timestamp
        self.element = element
        self._sid: str | None = None  # set by identity.sid
        self._elements: View[Event] = {}
        self._values: View[Scalar] = {}
        self._text: View[str] = {}
        self._folded: View[str] = {}
        self._numbers: View[Number] = {}
        self._booleans: View[bool] = {}
        self._addresses: View[int] = {}
        self._instants: View[int] = {}
        self._dates: View[int] = {}
        self._versions: View[str] = {}

    def __reduce__(self) -> tuple[type[Event], tuple[Any, ...]]:
        """Pickled without its views."""
        return Event, (self.document, self.record, self.time, self.bad_timestamp, self.element)

    def __repr__(self) -> str:
        record = self.record
        return f"<Event {record.topic}:{record.partition}:{record.offset} time={self.time}>"

    def values(self, path: str) -> tuple[Scalar, ...]:
        """Every value at `path`, as JSON has it: in document order, a nested spelling before a dotted
        one where both have values."""
        found = self._values.get(path)
        if found is None:
            found = self._values[path] = _values_at(self.document, path)
        return found

    def text(self, path: str) -> tuple[str, ...]:
        """The values as a keyword field has them: numbers and booleans are their JSON text."""
        found = self._text.get(path)
        if found is None:
            found = self._text[path] = tuple([string_of(value) for value in self.values(path)])
        return found

    def folded(self, path: str) -> tuple[str, ...]:
        """The texts without case (`eql.text.fold`)."""
        found = self._folded.get(path)
        if found is None:
            found = self._folded[path] = tuple([fold(text) for text in self.text(path)])
        return found

    def numbers(self, path: str) -> tuple[Number, ...]:
        """The values as a numeric field has them; a string may spell a number."""
        return self._view(self._numbers, path, number_of)

    def booleans(self, path: str) -> tuple[bool, ...]:
        """The values as a boolean field has them: `true`, `false`, `"true"`, `"false"`."""
        return self._view(self._booleans, path, boolean_of)

    def addresses(self, path: str) -> tuple[int, ...]:
        """The values as an ip field has them: the numbers of `eql.address.parse_address`."""
        return self._view(self._addresses, path, _address_of)

    def instants(self, path: str) -> tuple[int, ...]:
        """The values as times (ns) in whatever unit agents send them: `events.time.parse_instant`."""
        return self._view(self._instants, path, parse_instant)

    def dates(self, path: str) -> tuple[int, ...]:
        """The values as a date field has them (ns): `eql.dates.parse_date`."""
        return self._view(self._dates, path, parse_date)

    def versions(self, path: str) -> tuple[str, ...]:
        """What orders the values of a version field: `eql.version.version_key` of their texts."""
        return self._view(self._versions, path, _version_of)

    def elements(self, path: str) -> tuple[Event, ...]:
        """The elements of the array at `path`, each as an event of its own in which it stands at `$`: objects
        keep together what they hold. Nested arrays flatten, null is no element, one value is an array of
        one."""
        found = self._elements.get(path)
        if found is None:
            nodes = _nodes(self.document, path, whole=True)
            found = self._elements[path] = tuple(
                [Event({"$": node}, self.record, self.time) for node in nodes]
            )
        return found

    def holds_object(self, key: str) -> bool:
        """True if the document has an object at this key of its root."""
        return isinstance(self.document.get(key), dict)

    def _view(self, view: View[V], path: str, convert: Callable[[Scalar], V | None]) -> tuple[V, ...]:
        found = view.get(path)
        if found is None:
            converted = [convert(value) for value in self.values(path)]
            found = view[path] = tuple([value for value in converted if value is not None])
        return found


# --- conversion ------------------------------------------------------------------------------


def number_of(value: Scalar) -> Number | None:
    """A value as a numeric field has it, None if it is no finite number."""
    if isinstance(value, bool):
        return None
    number = parse_number(value) if isinstance(value, str) else value
    return None if number is None or (isinstance(number, float) and not isfinite(number)) else number


def boolean_of(value: Scalar) -> bool | None:
    """A value as a boolean field has it, None if it is neither true nor false."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else None


def _address_of(value: Scalar) -> int | None:
    return parse_address(value) if isinstance(value, str) else None


def _version_of(value: Scalar) -> str:
    return version_key(string_of(value))


def _folded_of(value: Scalar) -> str:
    return fold(string_of(value))


def _itself(value: Scalar) -> Scalar:
    return value


VIEWS: Mapping[str, Callable[[Scalar], Scalar | None]] = {
    "values": _itself,
    "text": string_of,
    "folded": _folded_of,
    "numbers": number_of,
    "booleans": boolean_of,
    "addresses": _address_of,
    "dates": parse_date,
    "versions": _version_of,
}
"""By the name of a view what makes of a value as JSON has it what the view has; None: nothing."""


# --- look-up ---------------------------------------------------------------------------------

_PREFIXED = 16
"""Paths of at most this many segments are looked up by prepared prefixes; there are n² / 2 of them."""


def _values_at(document: dict[str, Any], path: str) -> tuple[Scalar, ...]:
    """Every scalar at the path. Nearly all documents have one object below the other on the way, and a value
    or an array of texts at its end; the rest is found the long way."""
    node, rest = document, path
    while True:
        prefixes = _prefixes(rest)
        if prefixes is None:
            return tuple(scalars_under(document, path))
        child: Any = None
        for key, behind in prefixes:
            if key in node:
                if child is not None:
                    return tuple(scalars_under(document, path))
                child, further = node[key], behind
        if child is None:
            return ()
        kind = type(child)
        if further is None:
            if kind is str or kind is int or kind is float or kind is bool:
                return (child,)
            if kind is dict:
                return ()
        elif kind is dict:
            node, rest = child, further
            continue
        return tuple(scalars_under(document, path))


def scalars_under(part: Any, path: str | None) -> Iterator[Scalar]:
    """Every scalar at the path in a part of a document; None: the part itself, or its elements."""
    for node in _nodes(part, path):
        if not isinstance(node, dict):
            yield node


def _nodes(document: Any, path: str | None, *, whole: bool = False) -> Iterator[dict[str, Any] | Scalar]:
    """Every scalar and every object at the path, without recursion: neither paths nor documents have a bound
    on depth. With `whole`, what the dotted keys of an object hold behind the path is an object there, too:
    `{"a.b": 1}` has `{"b": 1}` at `a`."""
    pending: list[_Place] = [(document, path)]
    while pending:
        node, rest = pending.pop()
        if isinstance(node, dict):
            if rest is not None:
                pending.extend(reversed(_children(node, rest)))
                behind = _behind(node, rest) if whole else {}
                if behind:
                    pending.append((behind, None))
            else:
                yield node
        elif isinstance(node, (list, tuple)):
            pending.extend([(element, rest) for element in reversed(node)])
        elif rest is None and isinstance(node, (str, int, float)):
            yield node


def _behind(node: dict[str, Any], path: str) -> dict[str, Any]:
    """What the keys of an object hold that go on behind `path`."""
    prefix = f"{path}."
    return {key[len(prefix) :]: child for key, child in node.items() if key.startswith(prefix)}


_Place = tuple[Any, str | None]
"""A part of a document, and what is left of the path there; None: nothing is."""


def _children(node: dict[str, Any], path: str) -> list[_Place]:
    """What an object holds under the first segments of `path`."""
    prefixes = _prefixes(path)
    if prefixes is not None:
        return [(node[key], rest) for key, rest in prefixes if key in node]
    children: list[_Place] = []
    for key, child in node.items():
        if path == key:
            children.append((child, None))
        elif path.startswith(key) and path[len(key)] == ".":
            children.append((child, path[len(key) + 1 :]))
    return children


@lru_cache(maxsize=65_536)
def _prefixes(path: str) -> tuple[tuple[str, str | None], ...] | None:
    segments = path.split(".")
    if len(segments) > _PREFIXED:
        return None
    inner = [(".".join(segments[:cut]), ".".join(segments[cut:])) for cut in range(1, len(segments))]
    return (*inner, (path, None))
