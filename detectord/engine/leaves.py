"""Which of all the rules' tests of one field a value satisfies.

A test is a leaf of a predicate, and known by a number. Leaves are asked of one value of a field, never of an
event: a positive leaf holds of a field if it holds of one of the field's values, so what a value says can be
remembered (by tables) and used again for every event that has it.

A literal is found by a look-up and all wildcards by one search, whatever the number of leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import ge, gt, le, lt
from typing import Any, NamedTuple

from detectord.compiler.predicates import (
    Exists,
    FieldLeaf,
    InBlocks,
    Member,
    Range,
    Regex,
    Wildcards,
)
from detectord.eql.address import Blocks
from detectord.eql.regex import compile_regex
from detectord.eql.text import Scalar, fold
from detectord.eql.wildcard_index import WildcardIndex
from detectord.events.event import VIEWS

_OPERATORS = {"<": lt, "<=": le, ">": gt, ">=": ge}


class FieldIndex:
    """The leaves that ask for one field, by their numbers."""

    __slots__ = ("_texts", "_views")

    def __init__(self, leaves: Iterable[tuple[int, FieldLeaf]]) -> None:
        by_view: dict[str, list[tuple[int, FieldLeaf]]] = {}
        for number, leaf in leaves:
            by_view.setdefault(_view_of(leaf), []).append((number, leaf))
        self._have(_view(view, own) for view, own in by_view.items())

    def _have(self, views: Iterable[_View]) -> None:
        self._views = list(views)
        self._texts = [(_OF_TEXTS.get(view.convert, view.convert), *view[1:5]) for view in self._views]
        """Each with what makes its value of a text; None: the text is its value."""

    def among(self, numbers: Collection[int]) -> FieldIndex:
        """For whom these leaves will do: what has none of them is not asked. Others may be found, too."""
        chosen = FieldIndex(())
        chosen._have(filter(None, [view.among(numbers) for view in self._views]))
        return chosen

    def holding(self, value: Scalar) -> list[int]:
        """The numbers of the leaves that hold of a value, as JSON has it."""
        found: list[int] = []
        if type(value) is str:
            return self.holding_text(value)
        for convert, always, members, find, tests, _, _ in self._views:
            own = convert(value)
            if own is None:
                continue
            found += always
            found += members.get(own, ())
            if find is not None:
                found += find(own)
            for number, test in tests:
                if test(own):
                    found.append(number)
        return found

    def holding_text(self, value: str) -> list[int]:
        """As `holding`, of a text."""
        found: list[int] = []
        own: Scalar | None
        for convert, always, members, find, tests in self._texts:
            if convert is None:
                own = value
            else:
                own = convert(value)
                if own is None:
                    continue
            if always:
                found += always
            if own in members:
                found += members[own]
            if find is not None:
                found += find(own)
            for number, test in tests:
                if test(own):
                    found.append(number)
        return found


_OF_TEXTS: Mapping[Callable[[Scalar], Scalar | None], Callable[[str], Scalar | None] | None] = {
    VIEWS["values"]: None,
    VIEWS["text"]: None,
    VIEWS["folded"]: fold,
}
"""What a view makes of a text, in short."""


class _View(NamedTuple):
    """Those of the leaves that read the field through one view: what makes the view's value, the leaves that
    hold of any, those by the value that they name, the search for wildcards, and the other tests."""

    convert: Callable[[Scalar], Scalar | None]
    always: Sequence[int]
    members: Mapping[Scalar, Sequence[int]]
    find: Callable[[Any], Collection[int]] | None
    tests: Sequence[tuple[int, Callable[[Any], bool]]]
    named: frozenset[int]
    """The leaves in `members`."""
    found: frozenset[int]
    """The leaves that `find` finds."""

    def among(self, numbers: Collection[int]) -> _View | None:
        """The view without what has none of these leaves; None: nothing is left."""
        always = [number for number in self.always if number in numbers]
        members = {} if self.named.isdisjoint(numbers) else self.members
        tests = [(number, test) for number, test in self.tests if number in numbers]
        find = None if self.found.isdisjoint(numbers) else self.find
        if not (always or members or tests or find):
            return None
        return self._replace(always=always, members=members, find=find, tests=tests)


def _view(view: str, leaves: Iterable[tuple[int, FieldLeaf]]) -> _View:
    always: list[int] = []
    members: dict[Scalar, list[int]] = {}
    tests: list[tuple[int, Callable[[Any], bool]]] = []
    patterns: list[tuple[int, frozenset[str]]] = []
    for number, leaf in leaves:
        match leaf:
            case Exists():
                always.append(number)
            case Member(values=values):
                for value in values:
                    members.setdefault(value, []).append(number)
            case Wildcards(patterns=own):
                patterns.append((number, own))
            case Range(op=op, bound=bound):
                tests.append((number, _compares(_OPERATORS[op], bound)))
            case InBlocks(blocks=blocks):
                tests.append((number, Blocks(blocks).contains))
            case Regex(patterns=regexes, insensitive=insensitive):
                tests.append((number, compile_regex(regexes, insensitive)))
    find = WildcardIndex(patterns).find if patterns else None
    named = frozenset(number for numbers in members.values() for number in numbers)
    found = frozenset(number for number, _ in patterns)
    return _View(VIEWS[view], always, members, find, tests, named, found)


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
