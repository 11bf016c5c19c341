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
    character i; `offsets` has one entry more than the text, for its end.
    """

    text: str
    name: str = "<query>"
    enclosing: str | None = None
    offsets: Sequence[int] | None = None
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
        return line, place - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1) of the file, without its line break."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self._whole)
        return self._whole[start:end].rstrip("\r")
