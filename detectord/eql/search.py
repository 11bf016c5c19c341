"""Which of many texts stand somewhere in a value: one pass over the value, however many texts there are.

A few texts are looked for one after the other, which is fastest. Many go into an automaton. There are two:
- Aho and Corasick's is made once, and no value makes it grow. But it tells every place of every text, and a
  value can be made of such places; so it is for values that are not long.
- RE2's is made as values need it, which takes its time, and tells each text once: for long values.

Neither can be given half a surrogate pair; for a value or a text with one, texts are looked for one after the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import re2
from ahocorasick_rs import AhoCorasick

Search = Callable[[str], list[int]]
"""The numbers of the needles that a value has."""

MOST_HOLES = 100
"""A needle's place is told by at most so many characters before or behind it."""

LONG = 1_024
"""Characters of a value that is long."""

_FEW = 16
_MEMORY = 8 * 1024 * 1024
_MEMORY_EACH = 12 * 1024
"""Bytes that the states of RE2's automaton may take, and as many more for each text: a state knows all texts.
States are made anew when there are too many."""


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
    one_by_one = _one_by_one(needles)
    if len(needles) <= _FEW:
        return one_by_one
    try:
        "".join(needle.text for needle in needles).encode()
    except UnicodeEncodeError:
        return one_by_one
    # By Aho and Corasick's automaton: of each text in a value, and the needles that have the text
    by_text: dict[str, list[tuple[int, int | None, int | None]]] = {}
    for number, (text, before, behind) in enumerate(needles):
        by_text.setdefault(text, []).append((number, before, behind))
    find, having = AhoCorasick(list(by_text)).find_matches_as_indexes, list(by_text.values())
    thorough: Search | None = None

    def search(value: str) -> list[int]:
        nonlocal thorough
        try:
            if len(value) > LONG:
                if thorough is None:
                    thorough = _thorough(needles)
                return thorough(value)
            places = find(value, overlapping=True)
        except UnicodeEncodeError:
            return one_by_one(value)
        if not places:
            return []
        found: set[int] = set()
        for text, start, end in places:
            for number, before, behind in having[text]:
                if (before is None or before == start) and (behind is None or behind == len(value) - end):
                    found.add(number)
        return list(found)

    return search


def _thorough(needles: Sequence[Needle]) -> Search:
    """By RE2's automaton."""
    options = re2.Options()
    options.max_mem = _MEMORY + _MEMORY_EACH * len(needles)
    options.log_errors = False
    automaton = re2.Set.SearchSet(options)
    for needle in needles:
        automaton.Add(needle.regex())
    automaton.Compile()
    # An automaton with too little memory finds nothing, and does not say so
    text, before, behind = max(needles, key=lambda needle: len(needle.text))
    if not automaton.Match(f"{' ' * (before or 0)}{text}{' ' * (behind or 0)}"):
        return _one_by_one(needles)
    return lambda value: automaton.Match(value) or []


def _one_by_one(needles: Sequence[Needle]) -> Search:
    numbered = list(enumerate(needles))
    anywhere = [(number, needle.text) for number, needle in numbered if needle[1:] == (None, None)]
    placed = [(number, needle) for number, needle in numbered if needle[1:] != (None, None)]
    if not placed:
        return lambda value: [number for number, text in anywhere if text in value]
    return lambda value: [
        *[number for number, text in anywhere if text in value],
        *[number for number, needle in placed if needle.stands_in(value)],
    ]
