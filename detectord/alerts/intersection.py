"""What several events have in common: the source fields that a sequence's shell keeps.

Rule 1: a field is kept only if every event has it. Objects are entered; one with nothing in common
is dropped. Equal scalars stay. Of arrays the common elements stay, in the order of the first event;
a scalar beside an array counts as an array of one. Anything else is dropped.
Rule 2: equal means equal in JSON: `true` is not 1, but 1 and 1.0 are the same number. Objects that
stand in arrays are compared whole, by their text.
Rule 3: linear in the size of the events; nothing is changed, unequal parts are built anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import msgspec

Fields = dict[str, Any]
_NOTHING = object()


def intersection(documents: Iterable[Fields]) -> Fields:
    """The common part of the documents (at least one), folded from left to right."""
    return reduce(_objects, documents)


def _objects(left: Mapping[str, Any], right: Mapping[str, Any]) -> Fields:
    common: Fields = {}
    for name, value in left.items():
        if name in right:
            kept = _common(value, right[name])
            if kept is not _NOTHING:
                common[name] = kept
    return common


def _common(left: Any, right: Any) -> Any:
    if isinstance(left, dict) and isinstance(right, dict):
        return _objects(left, right) or _NOTHING
    if isinstance(left, dict) or isinstance(right, dict):
        return _NOTHING
    if isinstance(left, list) or isinstance(right, list):
        return _elements(_array(left), _array(right)) or _NOTHING
    return left if _identity(left) == _identity(right) else _NOTHING


def _array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _elements(left: list[Any], right: list[Any]) -> list[Any]:
    there = {_identity(item) for item in right}
    return [item for item in left if _identity(item) in there]


def _identity(value: Any) -> object:
    """Something hashable that is equal for equal JSON values only."""
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value, order="sorted")
    return value
