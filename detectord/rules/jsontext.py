"""JSON to objects with places: the lines of an export, the elements of an array, or one object.

`json` of the standard library says neither where values stand nor that a key stands twice, and it recurses;
so this reads the text itself, with an explicit stack. Strings are left to the library's scanner.

A document is first cut at its outermost commas, by brackets and quotes alone; only the pieces are
parsed. What is wrong with one piece does not touch the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json import JSONDecodeError, decoder
from math import isfinite
from typing import Any

from detectord.rules.findings import Finding, RuleCode
from detectord.rules.objects import (
    HALF_CHARACTER,
    MAX_NUMBER,
    MAX_OBJECT,
    Object,
    Origins,
    TextError,
    check_count,
    check_depth,
    nearest,
)
from detectord.rules.places import Path

_SPACES = " \t\n\r"
_SPACE = re.compile(f"[{_SPACES}]*")
_NO_VALUE = "expected an object or an array"
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][-+]?[0-9]++)?")
_WORD = re.compile(r"[A-Za-z]+")
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL
)
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)

_scan: Callable[[str, int], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]  # unknown to typeshed


class JsonPlaces:
    """The places of one JSON text."""

    def __init__(self, text: str, values: dict[Path, int]) -> None:
        self.text = text
        self._values = values

    def of(self, path: Path) -> int:
        """See `objects.Places`."""
        return nearest(self._values, path)

    def string(self, path: Path) -> Sequence[int] | None:
        """See `objects.Places`."""
        place = self._values.get(path)
        if place is None or not self.text.startswith('"', place):
            return None
        end = _scan(self.text, place + 1)[1] - 1
        offsets: list[int] = []
        at = place + 1
        for escape in _ESCAPE.finditer(self.text, at, end):
            offsets.extend(range(at, escape.start() + 1))
            at = escape.end()
        offsets.extend(range(at, end + 1))
        return offsets


def json_lines(lines: Iterator[tuple[int, str]], file: str) -> Iterator[Object | Finding]:
    """The objects of an export, one on each of `lines` (number and text); blank lines are nothing."""
    for number, line in lines:
        if line.strip(_SPACES):
            yield _parsed(line, file, (number, 1))


def json_document(text: str, file: str) -> Iterator[Object | Finding]:
    """The objects of a document: itself, or the elements of an array, or several such one after another."""
    origins = Origins(text)
    try:
        for start, end in _pieces(text):
            yield _parsed(text[start:end], file, origins.of(start))
    except TextError as error:
        line_start = text.rfind("\n", 0, error.offset) + 1
        start = max(line_start, error.offset - MAX_OBJECT)
        place = origins.of(start)
        piece = text[start : error.offset + 200]
        yield TextError(error.code, error.offset - start, **error.args_of_code).finding(file, piece, place)


def _parsed(text: str, file: str, origin: tuple[int, int]) -> Object | Finding:
    """The value that `text` holds, or what is wrong with it."""
    if len(text) > MAX_OBJECT:
        return TextError(RuleCode.TOO_LARGE, 0, limit=MAX_OBJECT).finding(file, text[:200], origin)
    try:
        scanner = _Scanner(text)
        value = scanner.document()
    except TextError as error:
        return error.finding(file, text, origin)
    return Object(value, JsonPlaces(text, scanner.values), origin)


# --- cutting ---------------------------------------------------------------------------------


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Where the outermost values begin and end; those of an outermost array instead of itself.

    Raises:
        TextError: the brackets or quotes do not match, or something else stands between the values.
    """
    outer = ""  # the bracket of the outermost value under way
    depth = commas = start = at = 0
    for token in _STRUCTURE.finditer(text):
        symbol, place = token.group(), token.start()
        if symbol == '"':
            raise TextError(RuleCode.NOT_JSON, place, error="a string does not end")
        if depth == 0:
            _only_space(text, at, place)
            if symbol not in ("[", "{"):
                raise TextError(RuleCode.NOT_JSON, place, error=_NO_VALUE)
            outer, depth, commas = symbol, 1, 0
            start = place + (outer == "[")
        elif symbol == "," and depth == 1 and outer == "[":
            yield _trimmed(text, start, place)
            start, commas = place + 1, commas + 1
        else:
            depth += _STEPS.get(symbol, 0)
            if depth == 0:
                at = place + 1
                yield from _last(text, start, at, outer, commas)
    if depth:
        raise TextError(RuleCode.NOT_JSON, len(text), error="the text ends too early")
    _only_space(text, at, len(text))


def _last(text: str, start: int, end: int, outer: str, commas: int) -> Iterator[tuple[int, int]]:
    """What stands before the end of an outermost value: an object, or the last element of an array."""
    if outer == "{":
        yield start, end
    elif text[end - 1] == "}":
        raise TextError(RuleCode.NOT_JSON, end - 1, error="expected `,` or `]`")
    elif commas or text[start : end - 1].strip(_SPACES):
        yield _trimmed(text, start, end - 1)


def _only_space(text: str, start: int, end: int) -> None:
    """Refuse anything but white space."""
    found = _SPACE.match(text, start, end)
    if found is not None and found.end() < end:
        raise TextError(RuleCode.NOT_JSON, found.end(), error=_NO_VALUE)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without the white space at its ends."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip(_SPACES)), start + len(piece.rstrip(_SPACES))


# --- parsing ---------------------------------------------------------------------------------


@dataclass
class _Open:
    """A list or object whose end has not been met yet."""

    path: Path
    values: list[Any] | dict[str, Any]


class _Scanner:
    """One pass over the text of one value. Every method moves `at` forward."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: dict[Path, int] = {}
        self.at = 0

    def document(self) -> Any:
        """The value that the whole text is.

        Raises:
            TextError: it is none.
        """
        root: Any = None
        opened: list[_Open] = []
        path: Path | None = ()
        while path is not None:
            self.space()
            check_depth(path, self.at)
            self.values[path] = self.at
            check_count(len(self.values), self.at)
            value = self.begin()
            if opened:
                _put(opened[-1].values, path[-1], value)
            else:
                root = value
            if isinstance(value, (list, dict)):
                opened.append(_Open(path, value))
            path = self.next_path(opened)
        self.space()
        if self.at < len(self.text):
            raise self.wrong("expected the end")
        return root

    def wrong(self, error: str) -> TextError:
        """The error that something else should stand here."""
        return TextError(RuleCode.NOT_JSON, self.at, error=error)

    def space(self) -> None:
        """Step over white space."""
        found = _SPACE.match(self.text, self.at)
        if found is not None:
            self.at = found.end()

    def take(self, symbol: str) -> bool:
        """Step over `symbol` if it stands here."""
        if self.text.startswith(symbol, self.at):
            self.at += 1
            return True
        return False

    def begin(self) -> Any:
        """A scalar, or an empty list or object whose content follows."""
        if self.take("{"):
            return {}
        if self.take("["):
            return []
        if self.text.startswith('"', self.at):
            return self.string()
        word = _WORD.match(self.text, self.at)
        if word is not None and word.group() in _WORDS:
            self.at = word.end()
            return _WORDS[word.group()]
        return self.number()

    def next_path(self, opened: list[_Open]) -> Path | None:
        """Close what ends here, and go to the next value; None if there is none."""
        while opened:
            inner = opened[-1]
            self.space()
            if self.take("]" if isinstance(inner.values, list) else "}"):
                opened.pop()
                continue
            if inner.values:
                if not self.take(","):
                    raise self.wrong("expected `,` or the end of the list or object")
                self.space()
            if isinstance(inner.values, list):
                return (*inner.path, len(inner.values))
            return (*inner.path, self.key(inner.values))
        return None

    def key(self, values: dict[str, Any]) -> str:
        """A key and its colon."""
        place = self.at
        if not self.text.startswith('"', place):
            raise self.wrong("expected a key in quotes")
        key = self.string()
        if key in values:
            raise TextError(RuleCode.DUPLICATE_KEY, place, key=key)
        self.space()
        if not self.take(":"):
            raise self.wrong("expected `:`")
        return key

    def string(self) -> str:
        """A string, its quote standing here."""
        place = self.at
        try:
            text, self.at = _scan(self.text, place + 1)
        except JSONDecodeError as error:
            self.at = min(error.pos, len(self.text))
            raise self.wrong(error.msg.lower().removesuffix(" at")) from None
        if HALF_CHARACTER.search(text):
            raise TextError(RuleCode.NOT_JSON, place, error="a string holds half a character")
        return text

    def number(self) -> int | float:
        """A number that is finite and not too long to be meant."""
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            raise self.wrong("expected a value")
        text = found.group()
        if len(text) > MAX_NUMBER:
            raise self.wrong(f"a number of more than {MAX_NUMBER} characters")
        number = int(text) if found[1] is None and found[2] is None else float(text)
        if not isfinite(number):
            raise self.wrong("a number out of range")
        self.at = found.end()
        return number


def _put(values: list[Any] | dict[str, Any], key: str | int, value: Any) -> None:
    if isinstance(values, list):
        values.append(value)
    else:
        values[str(key)] = value
