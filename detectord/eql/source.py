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
    place in it of each of the query's characters, and one more, of its end. Where `enclosing` is only a piece
    of the file, `origin` is the line and column (from 1) of its first character.
    """

    text: str
    name: str = "<query>"
    enclosing: str | None = None
    offsets: Callable[[], Sequence[int]] | None = None
    origin: tuple[int, int] = (1, 1)

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
        first_line, first_column = self.origin
        before = first_column if line == 1 else 1
        return line + first_line - 1, place - self._starts[line - 1] + before

    def line(self, number: int) -> str:
        """What is known of line `number` (from 1) of the file, without its line break."""
        number -= self.origin[0] - 1
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self._whole)
        return self._whole[start:end].rstrip("\r")

    def index(self, line: int, column: int) -> int:
        """Where the character at `line` and `column` of the file stands in `self.line(line)`."""
        return column - (self.origin[1] if line == self.origin[0] else 1)
