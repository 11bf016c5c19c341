"""A source event's fields as an alert carries them: an own copy in one spelling that any reader takes.

Rule 1: the event's document is never changed; what comes out shares nothing with it.
Rule 2: anything that JSON can say goes in, and what comes out can always be encoded and indexed:
dotted keys become nested objects, depth is bounded, strings are proper Unicode, numbers finite.
Rule 3: the work is linear in the size of the document.

Two spellings of one field (`{"a": {"b": 1}, "a.b": 2}`) are united into an array, as indexing would
do. Where one is an object and the other is not, the object stays. Empty path segments, which no
index takes, are left out of a path.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_DEPTH = 64
"""Levels of objects and arrays below the root; Elasticsearch itself stops at 20 by default."""

Fields = dict[str, Any]
Scalar = str | int | float | bool


class Copier:
    """Copies values. `cut` tells afterwards whether anything had to be left out."""

    def __init__(self) -> None:
        self.cut = False

    def document(self, document: Mapping[str, Any]) -> Fields:
        """A copy of a whole document, dotted keys expanded."""
        return self._object(document, 0)

    def _value(self, value: Any, depth: int) -> Any:
        if not isinstance(value, (dict, list)):
            return scalar(value)
        if depth >= MAX_DEPTH:
            self.cut = True
            return None
        if isinstance(value, list):
            return [self._value(item, depth + 1) for item in value]
        return self._object(value, depth + 1)

    def _object(self, value: Mapping[str, Any], depth: int) -> Fields:
        copy: Fields = {}
        for name, item in value.items():
            if name and "." not in name and name not in copy and name.isascii() and depth < MAX_DEPTH:
                copy[name] = self._value(item, depth)  # nearly every name of nearly every event
            else:
                self._place(copy, name, item, depth)
        return copy

    def _place(self, copy: Fields, name: str, item: Any, depth: int) -> None:
        path = segments(clean(name))
        if not path or depth + len(path) > MAX_DEPTH:
            self.cut = True
        else:
            place(copy, path, self._value(item, depth + len(path) - 1))


def segments(key: str) -> list[str]:
    """The parts of a dotted key, empty ones left out."""
    return [part for part in key.split(".") if part]


def scalar(value: Any) -> Any:
    """A scalar that JSON and an index can hold; what is no JSON scalar (a TOML date) as text."""
    if isinstance(value, str):
        return value if value.isascii() else clean(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else _rounded(value)
    return clean(str(value))


def _rounded(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def clean(text: str) -> str:
    """The text with split surrogate pairs joined and stray halves replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def plain(value: Any, depth: int = 0) -> Any:
    """A copy of a rule's value that can be encoded, keys kept as written."""
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {clean(str(name)): plain(item, depth + 1) for name, item in value.items()}
    if depth < MAX_DEPTH and isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    return None if isinstance(value, (Mapping, list, tuple)) else scalar(value)


def place(root: Fields, path: Sequence[str], value: Any) -> None:
    """Put `value` at `path`, uniting it with what is there already."""
    node = root
    for at, name in enumerate(path[:-1], start=1):
        child = node.get(name)
        if isinstance(child, list) and _is_array_of_objects(child):
            child.append(_nested(path[at:], value))
            return
        if not isinstance(child, dict):
            child = node[name] = {}
        node = child
    _unite(node, path[-1], value)


def _nested(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _is_array_of_objects(value: list[Any]) -> bool:
    """Judged by the first element: looking at all of them for each spelling would not be linear."""
    return bool(value) and isinstance(value[0], dict)


def _unite(node: Fields, name: str, new: Any) -> None:
    old = node.get(name)
    if old is None:
        node[name] = new
    elif new is None:
        return
    elif isinstance(old, dict) and isinstance(new, dict):
        for key, item in new.items():
            _unite(old, key, item)
    elif isinstance(old, dict) or isinstance(new, dict):
        node[name] = _richer(old, new)
    elif isinstance(old, list):
        old.extend(new if isinstance(new, list) else (new,))
    elif isinstance(new, list):
        node[name] = [old, *new]
    elif old != new or type(old) is not type(new):
        node[name] = [old, new]


def _richer(old: Any, new: Any) -> Any:
    """Of an object and something else: an array of objects takes the object in, else the object stays."""
    thing, other = (old, new) if isinstance(old, dict) else (new, old)
    if not isinstance(other, list) or not _is_array_of_objects(other):
        return thing
    other.append(thing)
    return other


def values(fields: Mapping[str, Any], path: str) -> Iterator[Scalar]:
    """Every scalar at `path` in document order; arrays flatten, objects in arrays fan out."""
    yield from _values(fields, path.split("."), 0)


def _values(value: Any, path: Sequence[str], at: int) -> Iterator[Scalar]:
    if isinstance(value, list):
        for item in value:
            yield from _values(item, path, at)
    elif at == len(path):
        if value is not None and not isinstance(value, dict):
            yield value
    elif isinstance(value, Mapping) and path[at] in value:
        yield from _values(value[path[at]], path, at + 1)


def first(fields: Mapping[str, Any], path: str) -> Scalar | None:
    """The first value at `path`, None if there is none."""
    return next(values(fields, path), None)


def flatten(value: Mapping[str, Any], prefix: str, into: Fields, budget: int) -> bool:
    """Write every leaf of `value` into `into` under its dotted path; an array is a leaf.

    A long key above many leaves would be repeated with each of them, so that the result could be the
    square of the input: after `budget` characters of keys this stops and returns False.
    """
    for path, leaf in _leaves(value, prefix):
        budget -= len(path)
        if budget < 0:
            return False
        into[path] = leaf
    return True


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        path = f"{prefix}{name}"
        if isinstance(item, dict):
            yield from _leaves(item, path + ".")
        else:
            yield path, item
