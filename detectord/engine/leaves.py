"""Which of all the rules' tests of one field a value satisfies.

A test is a leaf of a predicate, and known by a number. Leaves are asked of one value of a field, never of an
event: a positive leaf holds of a field if it holds of one of the field's values, so what a value says can be
remembered and used again for every event that has it.

A literal is found by a look-up and all wildcards by one search, whatever the number of leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import ge, gt, le, lt
from typing import Any

from detectord.compiler.predicates import (
    Exists,
    FieldLeaf,
    InBlocks,
    Member,
    Range,
    Regex,
    Wildcards,
)
from detectord.engine.room import LONGEST_REMEMBERED, Room
from detectord.eql.address import Blocks
from detectord.eql.regex import compile_regex
from detectord.eql.text import Scalar
from detectord.eql.wildcard_index import WildcardIndex
from detectord.events.event import VIEWS

_OPERATORS = {"<": lt, "<=": le, ">": gt, ">=": ge}

Numbers = tuple[int, ...]


class FieldIndex:
    """The leaves that ask for one field, by their numbers."""

    __slots__ = ("_remembered", "_room", "_views")

    def __init__(self, leaves: Iterable[tuple[int, FieldLeaf]], room: Room) -> None:
        by_view: dict[str, list[tuple[int, FieldLeaf]]] = {}
        for number, leaf in leaves:
            by_view.setdefault(_view_of(leaf), []).append((number, leaf))
        self._views = [_View(view, own) for view, own in by_view.items()]
        self._room = room
        self._remembered: dict[str, Numbers] = room.new({})

    def holding(self, value: Scalar) -> Numbers:
        """The numbers of the leaves that hold of a value, as JSON has it."""
        if not isinstance(value, str) or len(value) > LONGEST_REMEMBERED:
            return self._holding(value)
        found = self._remembered.get(value)
        if found is None:
            found = self._holding(value)
            self._room.take(len(value))
            self._remembered[value] = found
        return found

    def _holding(self, value: Scalar) -> Numbers:
        found: list[int] = []
        for view in self._views:
            found += view.holding(value)
        return tuple(found)


class _View:
    """Those of the leaves that read the field through one view."""

    __slots__ = ("_always", "_convert", "_members", "_tests", "_wildcards")

    def __init__(self, view: str, leaves: Iterable[tuple[int, FieldLeaf]]) -> None:
        self._convert = VIEWS[view]
        self._always: list[int] = []
        self._members: dict[Scalar, list[int]] = {}
        self._tests: list[tuple[int, Callable[[Any], bool]]] = []
        patterns: list[tuple[int, frozenset[str]]] = []
        for number, leaf in leaves:
            match leaf:
                case Exists():
                    self._always.append(number)
                case Member(values=values):
                    for value in values:
                        self._members.setdefault(value, []).append(number)
                case Wildcards(patterns=own):
                    patterns.append((number, own))
                case Range(op=op, bound=bound):
                    self._tests.append((number, _compares(_OPERATORS[op], bound)))
                case InBlocks(blocks=blocks):
                    self._tests.append((number, Blocks(blocks).contains))
                case Regex(patterns=regexes, insensitive=insensitive):
                    self._tests.append((number, compile_regex(regexes, insensitive)))
        self._wildcards = WildcardIndex(patterns).find if patterns else None

    def holding(self, value: Scalar) -> list[int]:
        """The numbers of the leaves that hold of a value, as JSON has it."""
        own = self._convert(value)
        if own is None:
            return []
        found = [*self._always, *self._members.get(own, ())]
        if self._wildcards is not None:
            found += self._wildcards(own)  # type: ignore[arg-type]  # only views of texts have patterns
        found += [number for number, test in self._tests if test(own)]
        return found


def _view_of(leaf: FieldLeaf) -> str:
    match leaf:
        case InBlocks():
            return "addresses"
        case Regex():
            return "text"
        case Exists(view=view) | Member(view=view) | Range(view=view) | Wildcards(view=view):
            return view


def _compares(operator: Callable[[Any, Any], bool], bound: Scalar) -> Callable[[Any], bool]:
    return lambda value: operator(value, bound)
