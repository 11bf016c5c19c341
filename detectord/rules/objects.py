"""What JSON and YAML files have in common: the objects in them, and where their values stand.

A file of either form is cut into objects (a line of an export, an element of an array, a YAML document),
each with the piece of text it comes from. Whatever is bounded is bounded for one object, so that a file
with many of them costs no more than its length.

Rule 1: nothing is taken twice or guessed: a key that stands twice, a number that is none, half a character
are errors, with their place.
Rule 2: places are offsets into the object's own piece of text; `origin` says where in the file that begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from detectord.eql.source import Source
from detectord.rules.findings import Finding, RuleCode, finding
from detectord.rules.places import MAX_DEPTH, Path

MAX_OBJECT = 1024 * 1024
"""Characters of one object; the longest rule known has 80 KB."""
MAX_VALUES = 100_000
"""Values in one object: scalars, lists and objects."""
MAX_NUMBER = 40
"""Characters of a number."""

HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class Places(Protocol):
    """Where the values of a document stand. `text` is what the offsets count in."""

    @property
    def text(self) -> str:
        """The text."""

    def of(self, path: Path) -> int:
        """Where the value at `path` begins; where it is not known, its nearest parent's place, else 0."""

    def string(self, path: Path) -> Sequence[int] | None:
        """For each character of the string at `path` its offset, then the offset of its end; None if that
        is not known."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a file. `value` may be anything the file's form can say; what uses it checks."""

    value: Any
    places: Places
    origin: tuple[int, int]


class TextError(Exception):
    """A text is not what it should be: the code and its arguments, and the offset of the trouble."""

    def __init__(self, code: RuleCode, offset: int, **args: object) -> None:
        super().__init__(code.number)
        self.code = code
        self.offset = offset
        self.args_of_code = args

    def finding(self, file: str, text: str, origin: tuple[int, int] = (1, 1)) -> Finding:
        """The error as a finding in `file`, of which `text` is the piece at `origin`."""
        return finding(self.code, self.args_of_code, Source(text, file, origin=origin), self.offset)


def nearest(values: Mapping[Path, int], path: Path) -> int:
    """The place of the value at `path`, or of the nearest one around it, else 0."""
    while path:
        if path in values:
            return values[path]
        path = path[:-1]
    return 0


def check_depth(path: Path, offset: int) -> None:
    """Refuse a path that is too long."""
    if len(path) > MAX_DEPTH:
        raise TextError(RuleCode.TOO_DEEP, offset, limit=MAX_DEPTH)


def check_count(count: int, offset: int) -> None:
    """Refuse too many values."""
    if count > MAX_VALUES:
        raise TextError(RuleCode.TOO_MANY_VALUES, offset, limit=MAX_VALUES)


class Origins:
    """Line and column of places in a text, asked for from its beginning to its end: linear in all."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._line_start = 0

    def of(self, offset: int) -> tuple[int, int]:
        """The line and column (from 1) of `offset`, which is not before the one asked for last."""
        self._line += self._text.count("\n", self._at, offset)
        last = self._text.rfind("\n", self._at, offset)
        if last >= 0:
            self._line_start = last + 1
        self._at = offset
        return self._line, offset - self._line_start + 1
