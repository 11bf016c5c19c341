"""Which of all the rules' tests of one field a value satisfies.

A test is a leaf of a predicate, and known by a number. Leaves are asked of one value of a field, never of an
event: a positive leaf holds of a field if it holds of one of the field's values, so what a value says can be
remembered and used again for every event that has it.

A literal is found by a look-up, whatever the number of leaves. Wildcards stand in a tree whose inner nodes
test all patterns below them at once: most values match none, and are done with the root.

Rule 1: what is remembered has a bound, and long values, which seldom come again, are not remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import ge, gt, le, lt, methodcaller

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
from detectord.eql.text import Scalar
from detectord.eql.wildcard import Test, compile_wildcards
from detectord.events.event import Event
from detectord.events.record import Record

MAX_REMEMBERED = 4_000
"""Values remembered a field; when there are more, all are forgotten. There are some hundred fields, and
whoever writes events may make every value of every field a new one."""

LONGEST_REMEMBERED = 512
"""Characters of a value that is remembered."""

_BRANCHES = 6
"""Children of an inner node of a tree of patterns."""

_NOWHERE = Record("", 0, 0, None, None, b"")
_PLACE = "$"
"""The path at which a value stands that is asked for itself."""

_OPERATORS = {"<": lt, "<=": le, ">": gt, ">=": ge}

Numbers = tuple[int, ...]
_Ask = Callable[[Event], bool]


class FieldIndex:
    """The leaves that ask for one field, by their numbers."""

    __slots__ = ("_members", "_others", "_remembered", "_trees")

    def __init__(self, leaves: Iterable[tuple[int, FieldLeaf]]) -> None:
        members: dict[str, dict[Scalar, list[int]]] = {}
        patterns: dict[str, list[tuple[int, frozenset[str]]]] = {}
        self._others: list[tuple[int, _Ask]] = []
        for number, leaf in leaves:
            if isinstance(leaf, Member):
                by_value = members.setdefault(leaf.view, {})
                for value in leaf.values:
                    by_value.setdefault(value, []).append(number)
            elif isinstance(leaf, Wildcards):
                patterns.setdefault(leaf.view, []).append((number, leaf.patterns))
            else:
                self._others.append((number, _asking(leaf)))
        self._members = [(methodcaller(view, _PLACE), by_value) for view, by_value in members.items()]
        self._trees = [(methodcaller(view, _PLACE), _Tree(listed)) for view, listed in patterns.items()]
        self._remembered: dict[str, Numbers] = {}

    def holding(self, value: Scalar) -> Numbers:
        """The numbers of the leaves that hold of a value, as JSON has it."""
        if not isinstance(value, str) or len(value) > LONGEST_REMEMBERED:
            return self._holding(value)
        found = self._remembered.get(value)
        if found is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[value] = self._holding(value)
        return found

    def _holding(self, value: Scalar) -> Numbers:
        event = Event({_PLACE: value}, _NOWHERE, None)
        found: list[int] = []
        for view, by_value in self._members:
            for own in view(event):
                found += by_value.get(own, ())
        for view, tree in self._trees:
            for text in view(event):
                tree.find(text, found)
        found += [number for number, holds in self._others if holds(event)]
        return tuple(found)


def _asking(leaf: FieldLeaf) -> _Ask:
    """The test of a leaf that is neither a set nor patterns, as the emitter writes it."""
    match leaf:
        case Exists(view=view):
            values = methodcaller(view, _PLACE)
            return lambda event: values(event) != ()
        case Range(view=view, op=op, bound=bound):
            values, compared = methodcaller(view, _PLACE), _OPERATORS[op]
            return lambda event: any(compared(value, bound) for value in values(event))
        case InBlocks(blocks=blocks):
            contains = Blocks(blocks).contains
            return lambda event: any(map(contains, event.addresses(_PLACE)))
        case Regex(patterns=patterns, insensitive=insensitive):
            matches = compile_regex(patterns, insensitive)
            return lambda event: any(map(matches, event.text(_PLACE)))
    raise AssertionError(leaf)


@lru_cache(maxsize=20_000)
def _compiled(patterns: frozenset[str]) -> Test:
    """The test of some patterns; many plans and several rules share them."""
    return compile_wildcards(patterns)


class _Tree:
    """Sets of patterns by number, under tests of their unions, which are compiled when first needed."""

    __slots__ = ("_branches", "_number", "_patterns", "_test")

    def __init__(self, listed: Sequence[tuple[int, frozenset[str]]]) -> None:
        self._test: Test | None = None
        self._branches: list[_Tree] = []
        self._number = -1
        if len(listed) == 1:
            self._number, self._patterns = listed[0]
            return
        self._patterns = frozenset().union(*(patterns for _, patterns in listed))
        size = -(-len(listed) // _BRANCHES)
        self._branches = [_Tree(listed[start : start + size]) for start in range(0, len(listed), size)]

    def find(self, text: str, found: list[int]) -> None:
        """Adds the numbers of the sets that have a pattern which `text` matches."""
        test = self._test
        if test is None:
            test = self._test = _compiled(self._patterns)
        if not test(text):
            return
        if not self._branches:
            found.append(self._number)
        for branch in self._branches:
            branch.find(text, found)
