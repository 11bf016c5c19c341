"""Making documents fit."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.events.event import Event
from detectord.events.identity import sid
from detectord.events.record import Record
from detectord.events.trim import trim

BIG = "x" * 1_000


def size(document: dict[str, Any]) -> int:
    return len(msgspec.json.encode(document))


@pytest.mark.parametrize(
    ("document", "limit", "expected"),
    [
        ({"a": 1}, 100, {"a": 1}),
        ({"event": {"original": BIG, "id": "1"}, "a": 1}, 100, {"event": {"id": "1"}, "a": 1}),
        ({"event.original": BIG, "a": 1}, 100, {"a": 1}),
        ({"process": {"env_vars": [BIG], "name": "p"}, "a": 1}, 100, {"process": {"name": "p"}, "a": 1}),
        ({"process": [{"io": {"text": BIG}}, {"pid": 1}]}, 100, {"process": [{}, {"pid": 1}]}),
        ({"process": {"Ext": {"call_stack": BIG, "a": 1}}}, 100, {"process": {"Ext": {"a": 1}}}),
        ({"x": {"y.Ext": {"call_stack": BIG}}, "a": 1}, 100, {"x": {"y.Ext": {}}, "a": 1}),
        ({"dll.Ext.call_stack": [BIG], "a": 1}, 100, {"a": 1}),
        ({"x": [{"Ext.call_stack": BIG, "a": 1}]}, 100, {"x": [{"a": 1}]}),
        ({"powershell": {"file": {"script_block_text": BIG}}}, 100, {"powershell": {"file": {}}}),
        (
            {"event": {"original": BIG}, "process": {"env_vars": BIG, "name": "p"}},
            1_100,
            {"event": {}, "process": {"env_vars": BIG, "name": "p"}},
        ),
        ({"registry": BIG, "host.id": "h", "user": {"id": "u"}, "@timestamp": 1}, 100,
         {"host.id": "h", "user": {"id": "u"}, "@timestamp": 1}),
        ({"agent": {"id": "a", "x": BIG}, "winlog": {"record_id": 1, "event_data": BIG}}, 100,
         {"agent": {"id": "a"}, "winlog": {"record_id": 1}}),
        ({"process": {"command_line": BIG, "name": "p", "args": [BIG]}}, 100, {"process": {"name": "p"}}),
    ],
)  # fmt: skip
def test_what_goes_first(document: dict[str, Any], limit: int, expected: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    assert trim(document, limit) == (expected, expected != before)
    assert document == before


names = st.sampled_from(["event", "original", "process", "Ext", "call_stack", "process.Ext", "agent.id", "x"])
documents = st.dictionaries(
    names,
    st.recursive(
        st.text(max_size=30) | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=10,
    ),
)


@given(documents, st.integers(2, 200))
def test_it_always_fits_and_the_original_stays(document: dict[str, Any], limit: int) -> None:
    before = msgspec.json.encode(document)
    shorter, cut = trim(document, limit)
    assert size(shorter) <= limit
    assert cut is (shorter is not document) is (len(before) > limit)
    assert msgspec.json.encode(document) == before
    assert trim(shorter, limit) == (shorter, False)


@pytest.mark.parametrize(
    "identity",
    [
        {"event": {"id": "1"}, "agent": {"id": "a", "name": BIG}},
        {"winlog": {"record_id": 5, "channel": "c", "computer_name": "n", "event_data": {"x": BIG}}},
        {"_id": "d", "_index": "i"},
    ],
)
def test_identity_survives(identity: dict[str, Any]) -> None:
    def name(document: dict[str, Any]) -> str:
        return sid(Event(document, Record("t", 0, 0, None, None, b""), None))

    document = {**identity, "process": {"command_line": BIG * 3}, "registry": {"data": BIG}}
    shorter, cut = trim(document, 400)
    assert cut
    assert name(shorter) == name(document)
