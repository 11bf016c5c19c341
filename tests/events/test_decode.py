"""Records to events, friendly and hostile."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.events.decode import MAX_DEPTH, decode
from detectord.events.event import Event
from detectord.events.identity import sid
from detectord.events.record import DeadLetter, Record
from detectord.events.time import SECOND

LIMIT = 1_000_000


def record(value: bytes, timestamp: int | None = None) -> Record:
    return Record("t", 1, 5, timestamp, None, value)


def events(value: Any, timestamp: int | None = None) -> list[Event]:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    found = decode(record(data, timestamp), max_bytes=LIMIT)
    assert isinstance(found, list), found
    return found


def documents(value: Any) -> list[dict[str, Any]]:
    return [event.document for event in events(value)]


NESTED = {"process": {"name": "x"}, "event": {"id": "1"}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NESTED, [NESTED]),
        ({}, [{}]),
        ([NESTED, {"a": 1}], [NESTED, {"a": 1}]),
        ({"_id": "d", "_index": "i", "_source": NESTED}, [{"_id": "d", "_index": "i", **NESTED}]),
        ({"_id": "d", "fields": {"a.b": [1]}, "sort": [1]}, [{"_id": "d", "a.b": [1]}]),
        ({"fields": {"a.b": 1}}, [{"fields": {"a.b": 1}}]),
        ({"fields": {"a.b": [1]}, "host": {}}, [{"fields": {"a.b": [1]}, "host": {}}]),
        ({"_source": NESTED, "host": {}}, [{"_source": NESTED, "host": {}}]),
        ({"message": json.dumps(NESTED), "host.id": "h"}, [{"host.id": "h", **NESTED}]),
        ({"message": json.dumps({"host.id": "in"}), "host": {"id": "out"}}, [{"host.id": "in"}]),
        ({"message": "{not json", "a": 1}, [{"message": "{not json", "a": 1}]),
        ({"message": "[1]"}, [{"message": "[1]"}]),
        ({"message": '{"a": 1}', "event.kind": "x"}, [{"message": '{"a": 1}', "event.kind": "x"}]),
        ([{"_source": {"message": '{"a": 1}'}}], [{"a": 1}]),
    ],
)
def test_forms(value: Any, expected: list[dict[str, Any]]) -> None:
    assert documents(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (rb'{"a": "\ud800x"}', {"a": "\ufffdx"}),
        (rb'{"a": "\udfff\ud83d\ude00\ud83d"}', {"a": "\ufffd\U0001f600\ufffd"}),
        (rb'{"a": "\\ud800", "b": "\ud800"}', {"a": r"\ud800", "b": "\ufffd"}),
        (rb'{"\ud800": 1}', {"\ufffd": 1}),
        (b'{"a": 1e999, "b": -1e999}', {"a": "1e999", "b": "-1e999"}),
        (b'{"a": ' + b"7" * 5_000 + b"}", {"a": "7" * 5_000}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
    ],
)
def test_what_elasticsearch_would_take(value: bytes, expected: dict[str, Any]) -> None:
    assert documents(value) == [expected]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b'{"a": -Infinity, "b": "\\ud800"}', "not_json"),
        (b'{"a": "\xff"}', "not_json"),
        (b'{"a": 1} x', "not_json"),
        (b"null", "not_object"),
        (b"5", "not_object"),
        (b'"{}"', "not_object"),
        (b"[]", "not_object"),
        (b"[{}, 5]", "not_object"),
        (b"[" * 100_000, "decode_error"),
        (b'{"a":' * 100_000, "decode_error"),
        (b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH, "decode_error"),
        (b" " * (LIMIT + 1), "too_large"),
    ],
)
def test_dead_letters(value: bytes, reason: str) -> None:
    found = decode(record(value), max_bytes=LIMIT)
    assert isinstance(found, DeadLetter)
    assert found.reason == reason
    assert 0 < len(found.error) < 200
    assert found.record.value == value


def test_the_deepest_document_is_an_event() -> None:
    value = b'{"a":' * (MAX_DEPTH - 1) + b"{}" + b"}" * (MAX_DEPTH - 1)
    assert events(value)[0].values("a") == ()
    assert events({"a": "[" * 1_000})[0].values("a") == ("[" * 1_000,)


def test_elements_of_an_array_have_names_of_their_own() -> None:
    assert len({sid(event) for event in events([{}, {}, {}])}) == 3


T = "2025-10-11T08:00:00Z"
T_NS = 1_760_169_600 * SECOND


@pytest.mark.parametrize(
    ("document", "timestamp", "time", "bad"),
    [
        ({"@timestamp": T}, 5_000, T_NS, False),
        ({"@timestamp": ["x", T]}, 5_000, T_NS, False),
        ({"event": {"created": T}}, 5_000, T_NS, False),
        ({"@timestamp": "x", "event.created": T}, 5_000, T_NS, True),
        ({"@timestamp": True}, 5_000, 5 * SECOND, True),
        ({"@timestamp": "9999-12-31T00:00:00Z"}, 5_000, 5 * SECOND, True),
        ({"@timestamp": {"a": 1}, "event.created": "x"}, 5_000, 5 * SECOND, False),
        ({"@timestamp": None}, None, None, False),
        ({}, None, None, False),
    ],
)
def test_event_time(document: dict[str, Any], timestamp: int | None, time: int | None, bad: bool) -> None:
    (event,) = events(document, timestamp)
    assert (event.time, event.bad_timestamp) == (time, bad)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(alphabet='{}[]"\\ud8a,:1', max_size=8)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
roots = st.dictionaries(
    st.sampled_from(["@timestamp", "event", "message", "_source", "fields", "_id", "x"]), json_values
)


@given(st.one_of(st.binary(), st.text().map(str.encode), roots.map(lambda v: json.dumps(v).encode())))
def test_never_raises_and_what_comes_out_can_be_written(value: bytes) -> None:
    found = decode(record(value), max_bytes=LIMIT)
    if isinstance(found, list):
        assert found
        for event in found:
            msgspec.json.encode(event.document)
            sid(event).encode()
