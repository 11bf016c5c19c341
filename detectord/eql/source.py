"""Where a query stands: its text, and how to name a place in it for a person.

A query is nearly always a string inside a rule file. Spans are offsets into the query's own text;
`Source` knows where each of its characters stands in the file, so that a diagnostic names the
file's line and column and shows the file's line.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of character offsets into the query's text."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.start, other.end)


@dataclass(frozen=True)
class Source:
    """A query's text and its place in a file.

    `name` is what diagnostics print before the line number. `enclosing` is the whole text of the
    file (default: the query itself is the file). `offsets` gives, when a place is first asked for, the
    place in it of each of the query's characters, and one more, of its end.
    """

    text: str
    name: str = "<query>"
    enclosing: str | None = None
    offsets: Callable[[], Sequence[int]] | None = None

    @cached_property
    def _starts(self) -> list[int]:
        """Where each line of the file begins."""
        return [0, *(found.end() for found in re.finditer("\n", self._whole))]

    @property
    def _whole(self) -> str:
        return self.text if self.enclosing is None else self.enclosing

    @cached_property
    def _places(self) -> Sequence[int]:
        """The place in the file of each character, and of the end."""
        return range(len(self.text) + 1) if self.offsets is None else self.offsets()

    def place(self, offset: int) -> int:
        """The place in the file of the query's character `offset`."""
        return self._places[min(offset, len(self._places) - 1)]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column (both from 1) in the file of the query's character `offset`."""
        place = self.place(offset)
        line = bisect_right(self._starts, place)
        return line, place - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1) of the file, without its line break."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self._whole)
        return self._whole[start:end].rstrip("\r")
