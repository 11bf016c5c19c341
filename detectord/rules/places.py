r"""Where things stand in a TOML text: the offset of every key's value, and of every character of a string.

`tomllib` gives values without places; a finding needs both. This scanner reads the same text again
and keeps only places. It judges nothing: on text that is not TOML it stops, and what it has seen so
far is its answer (`tomllib` says what is wrong).

Rule 1: linear time, no recursion; a text with a path longer than `MAX_DEPTH`, or with more than `MAX_VALUES`
values, is refused before a slower or recursive reader meets it.
Rule 2: only findings need places, and most files have none: they are looked for when one is asked for.
Rule 3: places are offsets into the text given, whose line ends are `\n` alone, as `tomllib` sees it.

A path is a tuple of keys and list positions: `("rule", "threat", 0, "tactic", "id")`. The scanner
walks statement by statement (a header or `key = value`); inside a value an explicit stack holds the
lists and inline tables that are open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Path = tuple[str | int, ...]

MAX_DEPTH = 24
"""The longest path; the rules of the world need eight."""
MAX_VALUES = 5_000
"""Most parts of keys, tables and list elements; the rules of the world need three hundred. `tomllib` takes a
third of a second for so many."""

_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n,]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\[\]{}#\n]+")
_REST_OF_LINE = re.compile(r"[^\n]*")
_STRING_END = {
    '"""': re.compile(r'\\.|"{3,5}', re.DOTALL),
    "'''": re.compile(r"'{3,5}"),
    '"': re.compile(r'\\.|["\n]', re.DOTALL),
    "'": re.compile(r"['\n]"),
}
_ESCAPE = re.compile(
    r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([ \t]*\n[ \t\n]*)|(.))", re.DOTALL
)
_SIMPLE = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


# What has no structure in it: strings, also unclosed ones, and comments
_OPAQUE = re.compile(
    r'''"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5}|\Z)|"(?:[^"\\\n]++|\\.)*+"?+'''
    r"""|'''(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)|'[^'\n]*+'?+|\#[^\n]*+""",
    re.DOTALL,
)
_BRACKET = re.compile(r"[\[\]{}]")


class TooManyError(Exception):
    """The text has more values than any rule."""


class TooDeepError(Exception):
    """The text nests deeper than any rule does; `offset` is where."""

    def __init__(self, offset: int) -> None:
        super().__init__("nested too deep")
        self.offset = offset


@dataclass(frozen=True)
class Places:
    """The places of one TOML text."""

    text: str

    @cached_property
    def _values(self) -> Mapping[Path, int]:
        values: dict[Path, int] = {}
        _Scanner(self.text, values).run()
        return values

    def of(self, path: Path) -> int:
        """Where the value at `path` begins; where it is not known, its nearest parent's place, else 0."""
        while path:
            if path in self._values:
                return self._values[path]
            path = path[:-1]
        return 0

    def string(self, path: Path) -> Sequence[int] | None:
        """For each character of the string at `path` its offset in the text, then the offset of its end.

        None if there is no string at `path`.
        """
        place = self._values.get(path)
        if place is None:
            return None
        quote = _quote_at(self.text, place)
        if quote is None:
            return None
        end = _skip_string(self.text, place)
        if end is None:
            return None
        start = place + len(quote)
        if len(quote) == 3 and self.text.startswith("\n", start):
            start += 1
        return _decode(self.text, start, end - len(quote), raw=quote[0] == "'")[1]


def scan(text: str) -> Places:
    """The places in `text`.

    Raises:
        TooDeepError, TooManyError: a limit of rule 1 is passed.
    """
    structure = _OPAQUE.sub("", text)
    if sum(map(structure.count, "=,[.")) > MAX_VALUES:
        raise TooManyError
    places = Places(text)
    if _deepest(structure) > MAX_DEPTH:  # perhaps: the scanner knows, and where
        _Scanner(text, {}).run()
    return places


def _deepest(structure: str) -> int:
    """No path in a text with this structure (the text without strings and comments) is longer."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(structure):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    parts = 1 + max(line.count(".") for line in structure.split("\n"))
    return 2 * parts + parts + deepest  # a header, each part of it a list of tables; a key; its value


def _quote_at(text: str, place: int) -> str | None:
    """The quotes that open a string at `place`."""
    return next((quote for quote in _STRING_END if text.startswith(quote, place)), None)


def _skip_string(text: str, place: int) -> int | None:
    """The offset behind the string at `place`; None if it is not closed."""
    quote = _quote_at(text, place)
    if quote is None:
        return None
    pattern = _STRING_END[quote]
    found = pattern.search(text, place + len(quote))
    while found is not None and found.group().startswith("\\"):
        found = pattern.search(text, found.end())
    if found is None or found.group() == "\n":
        return None
    return found.end()


def _decode(text: str, start: int, end: int, *, raw: bool) -> tuple[str, Sequence[int]]:
    """The content of a string between its quotes, and the place of each of its characters and its end."""
    if raw or "\\" not in text[start:end]:
        return text[start:end], range(start, end + 1)
    pieces: list[str] = []
    offsets: list[int] = []
    at = start
    for escape in _ESCAPE.finditer(text, start, end):
        pieces.append(text[at : escape.start()])
        offsets.extend(range(at, escape.start()))
        at = escape.end()
        digits = escape[1] or escape[2] or escape[3]
        if digits is not None:
            code = int(digits, 16)
            pieces.append(chr(code) if code <= 0x10FFFF else "\ufffd")
        elif escape[5] is not None:
            pieces.append(_SIMPLE.get(escape[5], escape[5]))
        else:  # a backslash at the end of a line: it and the white space after it are nothing
            continue
        offsets.append(escape.start())
    pieces.append(text[at:end])
    offsets.extend(range(at, end + 1))
    return "".join(pieces), offsets


@dataclass
class _Open:
    """A list or inline table whose end has not been met yet. `length` counts a list's elements."""

    path: Path
    is_list: bool
    length: int = 0


class _Scanner:
    """One pass over a text. Every method moves `at` forward, or returns False to stop."""

    def __init__(self, text: str, values: dict[Path, int]) -> None:
        self.text = text
        self.values = values
        self.at = 0
        self.table: Path = ()
        self.pending: Path = ()
        self.lengths: dict[Path, int] = {}

    def run(self) -> None:
        """Read statements to the end, or to the first thing that is no TOML."""
        while True:
            self.skip(_BETWEEN)
            if self.at >= len(self.text) or not self.statement():
                return

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Step over what `pattern` matches here (perhaps nothing)."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found.group()

    def take(self, symbol: str) -> bool:
        """Step over `symbol` if it stands here."""
        if self.text.startswith(symbol, self.at):
            self.at += len(symbol)
            return True
        return False

    def statement(self) -> bool:
        """A header, or a key with its value."""
        place = self.at
        if self.take("[["):
            return self.header(place, is_list=True)
        if self.take("["):
            return self.header(place, is_list=False)
        return self.pair(self.table) and self.finish_value([])

    def header(self, place: int, *, is_list: bool) -> bool:
        """`[a.b]` or `[[a.b]]`, its opening brackets taken: what follows belongs to that table."""
        parts = self.key()
        if not parts or not self.take("]]" if is_list else "]"):
            return False
        path: Path = ()
        for part in parts[:-1]:
            path = self.newest((*path, part))
        path = self.within_limits((*path, parts[-1]))
        if is_list:
            self.values.setdefault(path, place)
            self.lengths[path] = self.lengths.get(path, 0) + 1
        self.table = self.newest(path)
        self.values.setdefault(self.table, place)
        return True

    def newest(self, path: Path) -> Path:
        """`path`, or the newest element of the list of tables that stands there."""
        length = self.lengths.get(path)
        return path if length is None else (*path, length - 1)

    def within_limits(self, path: Path) -> Path:
        """`path`, if it is not too long."""
        if len(path) > MAX_DEPTH:
            raise TooDeepError(self.at)
        return path

    def key(self) -> list[str]:
        """A key's parts, the white space around it taken; empty if there is none."""
        parts: list[str] = []
        while True:
            self.skip(_BLANK)
            part = self.key_part()
            if part is None:
                return []
            parts.append(part)
            self.within_limits(tuple(parts))
            self.skip(_BLANK)
            if not self.take("."):
                return parts

    def key_part(self) -> str | None:
        """One part of a key, bare or quoted."""
        quote = _quote_at(self.text, self.at)
        if quote is None:
            return self.skip(_BARE_KEY) or None
        end = _skip_string(self.text, self.at)
        if len(quote) == 3 or end is None:
            return None
        start, self.at = self.at + 1, end
        return _decode(self.text, start, end - 1, raw=quote == "'")[0]

    def pair(self, table: Path) -> bool:
        """`key =`: the value's place is recorded, the value is left to be read."""
        parts = self.key()
        if not parts or not self.take("="):
            return False
        self.skip(_BLANK)
        self.pending = self.within_limits((*table, *parts))
        self.values.setdefault(self.pending, self.at)
        return True

    def finish_value(self, opened: list[_Open]) -> bool:
        """The value of the pending path, and all that stands in it."""
        while True:
            if not self.begin_value(opened):
                return False
            while opened and not self.next_value(opened):
                if not self.take("]" if opened[-1].is_list else "}"):
                    return False
                opened.pop()
            if not opened:
                return True

    def begin_value(self, opened: list[_Open]) -> bool:
        """Read a scalar, or open a list or inline table."""
        if self.take("[") or self.take("{"):
            opened.append(_Open(self.pending, is_list=self.text[self.at - 1] == "["))
            return True
        end = _skip_string(self.text, self.at)
        if end is not None:
            self.at = end
            return True
        return _quote_at(self.text, self.at) is None and bool(self.skip(_BARE_VALUE))

    def next_value(self, opened: list[_Open]) -> bool:
        """Go to the next value of the innermost list or table; False at its end."""
        inner = opened[-1]
        self.skip(_BETWEEN)
        if self.at >= len(self.text) or self.text[self.at] in "]}":
            return False
        if not inner.is_list:
            return self.pair(inner.path)
        self.pending = self.within_limits((*inner.path, inner.length))
        self.values.setdefault(self.pending, self.at)
        inner.length += 1
        return True
