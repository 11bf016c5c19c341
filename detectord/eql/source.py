"""Where a query stands: its text, and how to name a place in it for a person.

A query is nearly always a string inside a rule file. Spans are offsets into the query's own text;
`Source` knows where each of its characters stands in the file, so that a diagnostic names the
file's line and column and shows the file's line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field


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
    file (default: the query itself is the file), and `offsets[i]` the place in it of the query's
    character i; `offsets` has one entry more than the text, for its end. Where `enclosing` is only a piece
    of the file, `origin` is the line and column (from 1) of its first character.
    """

    text: str
    name: str = "<query>"
    enclosing: str | None = None
    offsets: Sequence[int] | None = None
    origin: tuple[int, int] = (1, 1)
    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = [0]
        starts.extend(i + 1 for i, c in enumerate(self._whole) if c == "\n")
        object.__setattr__(self, "_starts", starts)

    @property
    def _whole(self) -> str:
        return self.text if self.enclosing is None else self.enclosing

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column (both from 1) in the file of the query's character `offset`."""
        place = offset if self.offsets is None else self.offsets[min(offset, len(self.offsets) - 1)]
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
