"""Which of many texts stand somewhere in a value: one pass over the value, however many texts there are.

A few texts are looked for one after the other, which is fastest. Many go into one automaton (RE2's, made
of literals only), which takes the value a byte at a time.

The automaton cannot be given half a surrogate pair; for a value or a text with one, texts are looked for
one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import re2

Search = Callable[[str], list[int]]
"""The numbers of the texts that stand in a value."""

_FEW = 16
_MEMORY = 64 * 1024 * 1024
"""Bytes that one automaton's states may take; they are made as values need them."""


def compile_search(texts: Sequence[str]) -> Search:
    """The search for texts by their number in the sequence; none of them is empty."""
    if len(texts) <= _FEW:
        return _one_by_one(texts)
    try:
        automaton = _automaton(texts)
    except UnicodeEncodeError:
        return _one_by_one(texts)
    slow = _one_by_one(texts)

    def search(value: str) -> list[int]:
        try:
            found: list[int] = automaton.Match(value) or []
        except UnicodeEncodeError:
            return slow(value)
        return found

    # An automaton with too little memory finds nothing, and does not say so
    return search if automaton.Match(max(texts, key=len)) else slow


def _one_by_one(texts: Sequence[str]) -> Search:
    numbered = tuple(enumerate(texts))
    return lambda value: [number for number, text in numbered if text in value]


def _automaton(texts: Sequence[str]) -> re2.Set:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    automaton = re2.Set.SearchSet(options)
    for text in texts:
        automaton.Add(re2.escape(text))
    automaton.Compile()
    return automaton
