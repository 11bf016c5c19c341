"""Which of many texts stand somewhere in a value: one pass over the value, however many texts there are.

A few texts are looked for one after the other, which is fastest. Many go into one automaton (RE2's, made
of literals and their places only), which takes the value a byte at a time.

The automaton cannot be given half a surrogate pair; for a value or a text with one, texts are looked for
one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import re2

Search = Callable[[str], list[int]]
"""The numbers of the needles that a value has."""

MOST_HOLES = 100
"""A needle's place is told by at most so many characters before or behind it."""

_FEW = 16
_MEMORY = 8 * 1024 * 1024
_MEMORY_EACH = 12 * 1024
"""Bytes that one automaton's states may take, and as many more for each text: a state knows all texts.
States are made as values need them, and are made anew when there are too many."""


class Needle(NamedTuple):
    """A text, not empty, and where in a value it has to stand: with just so many characters before it, and
    just so many behind it; None: with any number."""

    text: str
    before: int | None = None
    behind: int | None = None

    def stands_in(self, value: str) -> bool:
        """True if the text stands in the value, at its place."""
        text, before, behind = self
        if behind is None:
            return text in value if before is None else value.startswith(text, before)
        if before is not None and len(value) != before + len(text) + behind:
            return False
        return value.endswith(text, 0, len(value) - behind) if len(value) > behind else False

    def regex(self) -> str:
        """The same for RE2."""
        start = "" if self.before is None else rf"(?s:\A.{{{self.before}}})"
        end = "" if self.behind is None else rf"(?s:.{{{self.behind}}}\z)"
        return f"{start}{re2.escape(self.text)}{end}"


def compile_search(needles: Sequence[Needle]) -> Search:
    """The search for needles by their number in the sequence."""
    if len(needles) <= _FEW:
        return _one_by_one(needles)
    try:
        automaton = _automaton(needles)
    except UnicodeEncodeError:
        return _one_by_one(needles)
    slow = _one_by_one(needles)

    def search(value: str) -> list[int]:
        try:
            found: list[int] = automaton.Match(value) or []
        except UnicodeEncodeError:
            return slow(value)
        return found

    # An automaton with too little memory finds nothing, and does not say so
    text, before, behind = max(needles, key=lambda needle: len(needle.text))
    return search if automaton.Match(f"{' ' * (before or 0)}{text}{' ' * (behind or 0)}") else slow


def _one_by_one(needles: Sequence[Needle]) -> Search:
    anywhere = [(number, needle.text) for number, needle in enumerate(needles) if needle[1:] == (None, None)]
    placed = [(number, needle) for number, needle in enumerate(needles) if needle[1:] != (None, None)]
    if not placed:
        return lambda value: [number for number, text in anywhere if text in value]
    return lambda value: [
        *[number for number, text in anywhere if text in value],
        *[number for number, needle in placed if needle.stands_in(value)],
    ]


def _automaton(needles: Sequence[Needle]) -> re2.Set:
    options = re2.Options()
    options.max_mem = _MEMORY + _MEMORY_EACH * len(needles)
    options.log_errors = False
    automaton = re2.Set.SearchSet(options)
    for needle in needles:
        automaton.Add(needle.regex())
    automaton.Compile()
    return automaton
