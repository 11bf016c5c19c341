"""Tests beside the rules: `<name>.test.toml` holds the cases of the rule in `<name>.toml`.

A file has base events and cases. A case says which base events come, at what times, what is different
about them, and whether the rule must fire. docs/rule-tests.md describes the format for authors.

Rule 1: this module makes events and expectations from a file; what a rule does with them is the
engine's affair (`detectord test`).
Rule 2: an event is kept as a flat map from field path to value until it is complete, so that an
override replaces the field however either side was written; then it becomes nested objects, or
stays dotted where the case says so.

`each` multiplies: a case with it stands for one case per combination of the values listed. A key of
`each` that begins with `$` is no field but a variable: its value goes wherever its name stands among
the values of the case's overrides.
"""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from detectord.rules.places import TooDeepError, scan

SUFFIX = ".test.toml"
MAX_BYTES = 1024 * 1024
MAX_CASES = 20_000
"""A file may stand for this many cases: beyond it an `each` is probably a mistake."""

_EPOCH = "2026-01-05T08:{minute:02d}:{second:02d}.{nanosecond:09d}Z"
_STEP = 10**6
_SPAN = re.compile(r"([0-9]{1,12})(ns|us|ms|s|m)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_LATEST = 30 * 60 * 10**9

Fields = dict[str, Any]
"""Field path to value."""


class CaseError(Exception):
    """A test file that cannot be run; the message says where and why."""


class Event(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One event of a case: a base event and what is different about it.

    `at` is its time after the beginning of the case ("1500ms"); without it an event comes 1 ms after
    the one before.
    """

    event: str | None = None
    at: str | None = None
    set: dict[str, Any] = {}
    unset: list[str] = []
    null: list[str] = []
    each: dict[str, Any] = {}


class Block(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One [[fire]] or [[quiet]]. `event` or `events` say what comes; the overrides hold for all of
    them. `matches` lists the matches expected of a [[fire]] as positions of events."""

    name: str
    event: str | None = None
    events: list[str | Event] | None = None
    set: dict[str, Any] = {}
    unset: list[str] = []
    null: list[str] = []
    each: dict[str, Any] = {}
    dotted: bool = False
    matches: list[list[int]] | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    events: dict[str, dict[str, Any]]
    common: dict[str, Any] = {}
    fire: list[Block] = []
    quiet: list[Block] = []


@dataclass(frozen=True)
class Case:
    """One case: events in order of arrival, and the matches that must come of them, no more and no
    fewer; a match is the positions of its events. None stands for the default: see `expected`."""

    name: str
    kind: Literal["fire", "quiet"]
    events: tuple[Mapping[str, Any], ...]
    matches: tuple[tuple[int, ...], ...] | None

    def expected(self, *, is_sequence: bool) -> tuple[tuple[int, ...], ...]:
        """The matches expected: none if quiet; else as written, or one match of all events for a
        sequence and one match an event for an event rule."""
        if self.kind == "quiet":
            return ()
        if self.matches is not None:
            return self.matches
        positions = tuple(range(len(self.events)))
        return (positions,) if is_sequence else tuple((position,) for position in positions)


def rule_of(test_file: Path) -> Path:
    """The rule file that a test file belongs to."""
    return test_file.with_name(test_file.name.removesuffix(SUFFIX) + ".toml")


def read_cases(test_file: Path) -> tuple[Case, ...]:
    """All cases of a test file, multiplied out.

    Raises:
        CaseError: the file cannot be read, or something in it makes no sense.
    """
    try:
        with open(test_file, "rb") as stream:
            text = stream.read(MAX_BYTES + 1).decode()
        return parse_cases(text)
    except (OSError, UnicodeDecodeError, CaseError) as error:
        raise CaseError(f"{test_file}: {error}") from None


def parse_cases(text: str) -> tuple[Case, ...]:
    """All cases of a test file's text.

    Raises:
        CaseError: something in it makes no sense.
    """
    document = _document_of(text)
    common = flat(document.common)
    bases = {name: {**common, **flat(fields)} for name, fields in document.events.items()}
    cases: list[Case] = []
    for kind, blocks in (("fire", document.fire), ("quiet", document.quiet)):
        for block in blocks:
            cases.extend(_cases_of(block, cast("Literal['fire', 'quiet']", kind), bases))
            if len(cases) > MAX_CASES:
                raise CaseError(f"{_where(block)}: more than {MAX_CASES} cases in this file")
    return tuple(cases)


def _document_of(text: str) -> _Document:
    if len(text) > MAX_BYTES:
        raise CaseError(f"larger than {MAX_BYTES} bytes")
    try:
        scan(text.replace("\r\n", "\n"))
        return msgspec.convert(tomllib.loads(text), _Document)
    except (ValueError, TooDeepError) as error:
        raise CaseError(str(error)) from None


def _cases_of(block: Block, kind: Literal["fire", "quiet"], bases: Mapping[str, Fields]) -> Iterator[Case]:
    """The cases that one block stands for."""
    events = _events_of(block)
    if kind == "quiet" and block.matches is not None:
        raise CaseError(f"{_where(block)}: `matches` makes no sense in a quiet case")
    times = _times(block, events)
    variables: list[tuple[int | None, str, list[Any]]] = [
        (None, path, values) for path, values in flat_each(block.each)
    ]
    for position, event in enumerate(events):
        variables.extend((position, path, values) for path, values in flat_each(event.each))
    if math.prod(len(values) for _, _, values in variables) > MAX_CASES:
        raise CaseError(f"{_where(block)}: stands for more than {MAX_CASES} cases")
    for choice in itertools.product(*(values for _, _, values in variables)):
        chosen = [
            (position, path, value) for (position, path, _), value in zip(variables, choice, strict=True)
        ]
        documents = tuple(
            _document(block, event, _base(block, event, bases), times[position], _of(chosen, position))
            for position, event in enumerate(events)
        )
        label = ", ".join(f"{path}={value!r}" for _, path, value in chosen)
        matches = None if block.matches is None else tuple(tuple(match) for match in block.matches)
        yield Case(f"{block.name} [{label}]" if label else block.name, kind, documents, matches)


def _of(chosen: list[tuple[int | None, str, Any]], position: int) -> Fields:
    """The chosen values that go into the event at `position`."""
    return {path: value for owner, path, value in chosen if owner is None or owner == position}


def _events_of(block: Block) -> list[Event]:
    """The events of a block; a bare name is short for an event without changes."""
    if block.events is None:
        return [Event(block.event)]
    if block.event is not None or not block.events:
        raise CaseError(f"{_where(block)}: say either `event` or `events`, and at least one")
    return [Event(each) if isinstance(each, str) else each for each in block.events]


def _base(block: Block, event: Event, bases: Mapping[str, Fields]) -> Fields:
    """The base event; where the file has only one it need not be named."""
    if event.event is None and len(bases) == 1:
        return next(iter(bases.values()))
    if event.event is None or event.event not in bases:
        raise CaseError(f"{_where(block)}: no base event `{event.event or ''}` in [events]")
    return bases[event.event]


def _times(block: Block, events: list[Event]) -> list[int]:
    """The time of each event, in ns after the beginning of the case."""
    times: list[int] = []
    for event in events:
        if event.at is None:
            times.append(times[-1] + _STEP if times else 0)
            continue
        found = _SPAN.fullmatch(event.at)
        if found is None or int(found[1]) * _NANOSECONDS[found[2]] > _LATEST:
            raise CaseError(f'{_where(block)}: `at` must be a time up to 30m, such as "1500ms"')
        times.append(int(found[1]) * _NANOSECONDS[found[2]])
    return times


def _document(block: Block, event: Event, base: Fields, time: int, chosen: Fields) -> Mapping[str, Any]:
    """One event as the engine gets it: the base, then the block's changes, then its own, then the
    values chosen from `each`."""
    seconds, nanosecond = divmod(time, 10**9)
    fields = {
        "@timestamp": _EPOCH.format(minute=seconds // 60, second=seconds % 60, nanosecond=nanosecond),
        **base,
    }
    for changes in (block, event):
        _override(fields, flat(_filled(changes.set, chosen)))
        _override(fields, dict.fromkeys(changes.null))
        for path in changes.unset:
            if not _remove(fields, path):
                raise CaseError(f"{_where(block)}: there is no `{path}` to unset")
    _override(fields, {path: value for path, value in chosen.items() if not path.startswith("$")})
    return fields if block.dotted else nested(fields)


def _override(fields: Fields, changes: Mapping[str, Any]) -> None:
    for path, value in changes.items():
        _remove(fields, path)
        fields[path] = value


def _remove(fields: Fields, path: str) -> bool:
    """Take the field at `path`, and all below it, away; True if there was one."""
    gone = [each for each in fields if each == path or each.startswith(path + ".")]
    for each in gone:
        del fields[each]
    return bool(gone)


def _filled(value: Any, chosen: Fields) -> Any:
    """A value with every variable in it replaced by what was chosen for it."""
    if isinstance(value, dict):
        return {key: _filled(inner, chosen) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, chosen) for inner in value]
    return chosen.get(value, value) if isinstance(value, str) and value.startswith("$") else value


def flat(table: Mapping[str, Any]) -> Fields:
    """A table with its inner tables spread out: `{"a": {"b": 1}}` is `{"a.b": 1}`."""
    fields: Fields = {}
    waiting: list[tuple[str, Any]] = list(table.items())[::-1]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict) and value:
            waiting.extend((f"{path}.{key}", inner) for key, inner in list(value.items())[::-1])
        else:
            fields[path] = value
    return fields


def flat_each(table: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """The fields of an `each` and the values that each of them takes."""
    fields = list(flat(table).items())
    for path, values in fields:
        if not isinstance(values, list) or not values:
            raise CaseError(f"`each` needs a list of values for `{path}`")
    return fields


def nested(fields: Fields) -> dict[str, Any]:
    """The fields as nested objects; where a value stands in the way of an object, the path stays dotted."""
    document: dict[str, Any] = {}
    for path, value in sorted(fields.items(), key=lambda field: field[0].count(".")):
        *parents, last = path.split(".")
        place = document
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                document[path] = value
                break
            place = inner
        else:
            place[last] = value
    return document


def _where(block: Block) -> str:
    return f"case `{block.name}`"
