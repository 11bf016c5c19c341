"""Records to events.

Rule 1: nothing raises. A record is a list of events, or a dead letter that says why it is none.
Rule 2: an event that Elasticsearch would take is not refused for a detail its author controls. What the
strict, fast decoder refuses (halves of surrogate pairs, a byte order mark, numbers beyond its range) is
read again by a slower one: half a pair becomes U+FFFD, as in Lucene, and a number that fits no type
stays what it is written as, text.
Rule 3: what comes out can be written again as JSON, and is nested at most MAX_DEPTH deep, so that no later
step meets a document it cannot walk.

Four forms of record are understood: an event; an array of them; an Elasticsearch hit, which is an event
under `_source` or, with its fields by their dotted names, under `fields`; and an envelope whose `message`
is the event as JSON text, told by having no `event` of its own. An event inside an envelope keeps what
the envelope knows and it does not say itself.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

import msgspec

from detectord.events.event import Event
from detectord.events.identity import ELEMENTS
from detectord.events.record import DeadLetter, Record
from detectord.events.time import MILLISECOND

MAX_DEPTH = 250
"""Deepest nesting of objects and arrays; Elasticsearch itself maps objects 20 deep."""

_ERROR_LENGTH = 100

_HIT_FIELDS = frozenset(
    ["fields", "highlight", "ignored_field_values", "inner_hits", "matched_queries", "sort"]
)
"""Beside names that begin with `_`, all that a hit has at its root."""

STORABLE = range(-(2**63) + 1, 2**63)
"""Event times (ns) that fit 64 bits: the years 1678 to 2261."""


def decode(record: Record, *, max_bytes: int) -> list[Event] | DeadLetter:
    """The events in `record`, in order, at least one; or why there are none."""
    size = len(record.value)
    if size > max_bytes:
        return DeadLetter(record, "too_large", f"{size} bytes, at most {max_bytes} are taken")
    try:
        return _events(record, read_json(record.value))
    except DecodeError as error:
        return DeadLetter(record, error.reason, _short(error))
    except Exception as error:  # whatever it is, the next record is not to suffer
        return DeadLetter(record, "decode_error", f"{type(error).__name__}: {_short(error)}")


class DecodeError(ValueError):
    """These bytes are no events; `reason` is the dead letter's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _too_deep() -> DecodeError:
    return DecodeError("decode_error", f"nested more than {MAX_DEPTH} deep")


def _short(error: Exception) -> str:
    return str(error)[:_ERROR_LENGTH]


# --- JSON ------------------------------------------------------------------------------------


def read_json(data: bytes) -> Any:
    """The JSON value in `data`.

    Raises:
        DecodeError: there is none, or it is nested too deep.
    """
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        value = _read_leniently(data)
    # Every level opens with a bracket, so nearly all documents need no walk
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _is_deep(value):
        raise _too_deep()
    return value


def _read_leniently(data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DecodeError("not_json", f"not UTF-8 at byte {error.start}") from None
    try:
        return _LENIENT.decode(_ESCAPE.sub(_whole_characters, text).strip(" \t\r\n"))
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise DecodeError("not_json", f"{error.msg} at character {error.pos}") from None


_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""One escape sequence, read from left to right so that an escaped backslash starts none. The group is a
surrogate: a pair of them, or half a pair."""


def _whole_characters(escape: re.Match[str]) -> str:
    surrogate = escape[1]
    return "\\ufffd" if surrogate is not None and len(surrogate) == 4 else escape[0]


def _float(text: str) -> float | str:
    number = float(text)
    return number if isfinite(number) else text


def _int(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # more digits than Python converts
        return text


def _no_number(name: str) -> Any:
    raise DecodeError("not_json", f"{name} is not JSON")


_LENIENT = json.JSONDecoder(parse_float=_float, parse_int=_int, parse_constant=_no_number)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [node for node in level if isinstance(node, (dict, list))]
        if not containers:
            return False
        level = [
            child for node in containers for child in (node.values() if isinstance(node, dict) else node)
        ]
    return True


# --- forms of record -------------------------------------------------------------------------


def _events(record: Record, value: Any) -> list[Event]:
    if isinstance(value, dict):
        return [_event(record, value, None)]
    if not isinstance(value, list):
        raise DecodeError("not_object", f"a JSON {_NAMES.get(type(value), 'value')}, not an object")
    if not 0 < len(value) < ELEMENTS:
        raise DecodeError("not_object", f"an array of {len(value)} elements")
    for place, element in enumerate(value):
        if not isinstance(element, dict):
            raise DecodeError(
                "not_object", f"an array with a {_NAMES.get(type(element), 'value')} at place {place}"
            )
    return [_event(record, element, place) for place, element in enumerate(value)]


_NAMES = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", list: "array"}


def plain_event(record: Record) -> Event:
    """The event whose document a record is, and no envelope of it: bytes that were written from a
    decoded event. They are not refused for anything."""
    return _dated(Event(read_json(record.value), record, None))


def full_document(record: Record) -> dict[str, Any]:
    """The document of a record that is one plain event.

    Raises:
        DecodeError: it is none.
    """
    value = read_json(record.value)
    if not isinstance(value, dict):
        raise DecodeError("not_object", f"a JSON {_NAMES.get(type(value), 'value')}, not an object")
    return value


def _event(record: Record, value: dict[str, Any], element: int | None) -> Event:
    document = _out_of_message(_out_of_hit(value))
    return _dated(Event(document, record, None, element=element))


def _dated(event: Event) -> Event:
    event.time, event.bad_timestamp = event_time(event)
    return event


def _out_of_hit(value: dict[str, Any]) -> dict[str, Any]:
    source, fields = value.get("_source"), value.get("fields")
    if not isinstance(source, dict):
        is_hit = isinstance(fields, dict) and fields and all(isinstance(v, list) for v in fields.values())
        source = fields if is_hit else None
    if not source or not all(key.startswith("_") or key in _HIT_FIELDS for key in value):
        return value
    return {**{key: value[key] for key in ("_id", "_index") if key in value}, **source}


def _out_of_message(document: dict[str, Any]) -> dict[str, Any]:
    message = document.get("message")
    if not isinstance(message, str) or not message.lstrip().startswith("{"):
        return document
    if any(_root(key) == "event" for key in document):
        return document
    try:
        inner = read_json(message.encode())
    except DecodeError:
        return document
    if not isinstance(inner, dict):
        return document
    said = {"message", *map(_root, inner)}
    return {**{key: value for key, value in document.items() if _root(key) not in said}, **inner}


def _root(key: str) -> str:
    return key.partition(".")[0]


# --- time ------------------------------------------------------------------------------------


def event_time(event: Event) -> tuple[int | None, bool]:
    """The time of an event (ns), and whether `@timestamp` held something that is no time: else it is
    `event.created`, else the record's own."""
    instant = _instant_at(event, "@timestamp")
    if instant is not None:
        return instant, False
    bad = bool(event.values("@timestamp"))
    instant = _instant_at(event, "event.created")
    if instant is None and event.record.timestamp is not None:
        instant = event.record.timestamp * MILLISECOND
    return instant, bad


def _instant_at(event: Event, path: str) -> int | None:
    """The first instant at `path` that can be stored."""
    return next((instant for instant in event.instants(path) if instant in STORABLE), None)
