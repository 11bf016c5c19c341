"""Sequences drawn as timelines: the format of `sequences/*.timeline`, read.

    # a comment
    == keys do not mix
    query: by k with maxspan=5s [A] [B]
    u|A1        r|A3
          r|B2        u|B4
    =>
    u: A1 B4

An event is `keys|LETTERS TIME` without the space: the steps it is meant for, and when. Events arrive in
the order of their columns, whatever their row; two in one column are a mistake. Several values of a key
stand with commas, several keys with a slash, `-` is a missing one. In `query`, `[A]` is `[any where step
== "A"]` and `[*]` any event; without the line it is the letters in order, by `k` if the events have keys.
`unit: 1ms` says what time 1 is (1s without it); times are exact to the nanosecond.

After `=>` stands one result a line: its events, `_` for a missing step, before them the key and a colon
if it is to be compared. A name may begin with the number of an example of the language reference (5.10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVENT = re.compile(r"(?:(?P<keys>[^|\s]+)\|)?(?P<letters>[A-Z]+)(?P<time>[0-9]+(?:\.[0-9]+)?)")
_HEADER = re.compile(r"(query|unit):(.*)")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000}
_KEY_NAMES = ("k", "l")
_START = 1_772_359_200_000
"""Time 0 of every drawing, in milliseconds since the epoch."""


class DrawingError(ValueError):
    """A timeline that cannot be read; names the file and the line."""


@dataclass(frozen=True)
class Timeline:
    """One drawing. `results` are indexes into `events`, `keys` what is to be their keys (None: not said)."""

    name: str
    query: str
    events: list[dict[str, Any]]
    results: list[tuple[int | None, ...]]
    keys: list[tuple[str | None, ...] | None]

    @property
    def number(self) -> int | None:
        """The example of the language reference that it draws."""
        found = re.match(r"[0-9]+(?= )", self.name)
        return int(found[0]) if found else None


@dataclass
class _Drawing:
    name: str
    place: str
    headers: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[int, str]] = field(default_factory=list)
    results: list[tuple[int, str]] | None = None

    def wrong(self, line: int, what: str) -> DrawingError:
        return DrawingError(f"{self.place}:{line}: {self.name}: {what}")


@dataclass(frozen=True)
class _Token:
    keys: tuple[tuple[str, ...], ...]
    letters: str
    time: Decimal


def read(text: str, place: str) -> list[Timeline]:
    """All timelines of a file. Raises DrawingError."""
    return [_finished(drawing) for drawing in _drawings(text, place)]


def _drawings(text: str, place: str) -> Iterator[_Drawing]:
    drawing: _Drawing | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("=="):
            if drawing:
                yield drawing
            drawing = _Drawing(line[2:].strip(), place)
        elif drawing is None:
            raise DrawingError(f"{place}:{number}: expected `== name` before anything else")
        elif line.strip() == "=>":
            drawing.results = []
        elif header := _HEADER.fullmatch(line):
            drawing.headers[header[1]] = header[2].strip()
        else:
            (drawing.rows if drawing.results is None else drawing.results).append((number, line))
    if drawing:
        yield drawing


def _finished(drawing: _Drawing) -> Timeline:
    tokens = _tokens(drawing)
    if drawing.results is None:
        raise drawing.wrong(drawing.rows[-1][0] if drawing.rows else 0, "expected `=>` and the results")
    milliseconds = _unit(drawing)
    results = [_result(drawing, tokens, number, line) for number, line in drawing.results]
    return Timeline(
        name=drawing.name,
        query=_query(drawing, tokens),
        events=[_event(token, milliseconds) for token in tokens],
        results=[events for events, _ in results],
        keys=[keys for _, keys in results],
    )


def _tokens(drawing: _Drawing) -> list[_Token]:
    found = []
    for number, line in drawing.rows:
        for word in re.finditer(r"\S+", line):
            event = _EVENT.fullmatch(word[0])
            if not event:
                raise drawing.wrong(number, f"expected an event such as `A1` or `k|A1`, found `{word[0]}`")
            keys = tuple(tuple(part.split(",")) for part in (event["keys"] or "").split("/") if part)
            found.append((word.start(), number, _Token(keys, event["letters"], Decimal(event["time"]))))
    found.sort(key=lambda item: item[0])
    for (column, _, _), (following, number, _) in pairwise(found):
        if column == following:
            raise drawing.wrong(number, "two events begin in one column: which one arrives first?")
    return [token for _, _, token in found]


def _unit(drawing: _Drawing) -> int:
    written = re.fullmatch(r"([0-9]+)(ms|s|m)", drawing.headers.get("unit", "1s"))
    if not written:
        raise drawing.wrong(0, "expected a unit such as `1ms`")
    return int(written[1]) * _UNITS[written[2]]


def _query(drawing: _Drawing, tokens: list[_Token]) -> str:
    short = drawing.headers.get("query")
    if short is None:
        last = max(letter for token in tokens for letter in token.letters)
        steps = " ".join(f"[{chr(code)}]" for code in range(ord("A"), ord(last) + 1))
        short = f"by k {steps}" if any(token.keys for token in tokens) else steps
    full = re.sub(r"\[([A-Z])\]", r'[any where step == "\1"]', short).replace("[*]", "[any where true]")
    return f"sequence {full}"


def _event(token: _Token, milliseconds: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "@timestamp": _timestamp(token.time * milliseconds),
        "step": list(token.letters),
    }
    for name, values in zip(_KEY_NAMES, token.keys, strict=False):
        if values != ("-",):
            event[name] = list(values)
    return event


def _timestamp(milliseconds: Decimal) -> int | str:
    """Milliseconds since the epoch; with a part of one, ISO 8601 to the nanosecond."""
    nanoseconds = int(milliseconds * 10**6)
    if nanoseconds % 10**6 == 0:
        return _START + nanoseconds // 10**6
    seconds, rest = divmod(_START * 10**6 + nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _result(
    drawing: _Drawing, tokens: list[_Token], number: int, line: str
) -> tuple[tuple[int | None, ...], tuple[str | None, ...] | None]:
    head, colon, tail = line.rpartition(":")
    keys = tuple(None if key == "-" else key for key in head.strip().split("/")) if colon else None
    return tuple(_place(drawing, tokens, number, word) for word in tail.split()), keys


def _place(drawing: _Drawing, tokens: list[_Token], number: int, word: str) -> int | None:
    if word == "_":
        return None
    wanted = _EVENT.fullmatch(word)
    if not wanted:
        raise drawing.wrong(number, f"expected an event or `_`, found `{word}`")
    found = [
        index
        for index, token in enumerate(tokens)
        if token.time == Decimal(wanted["time"]) and set(wanted["letters"]) <= set(token.letters)
    ]
    if len(found) != 1:
        raise drawing.wrong(number, f"`{word}` names {len(found)} events")
    return found[0]
