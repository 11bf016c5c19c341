"""The identity of events, and the order of identities."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from detectord.events.event import Event
from detectord.events.identity import sid, sid_order
from detectord.events.record import Record

RID = "5d1c0e52-8f0b-4c37-9a52-2c1f6a0b7e11"
AGENT = "0f3c9b7e-51d4-4a86-9c2f-7e1b6d08a4c5"


def event(
    document: dict[str, Any], topic: str = "ecs.endpoint", offset: int = 8_812_345, **more: Any
) -> Event:
    return Event(document, Record(topic, 5, offset, None, None, b""), None, **more)


WINDOWS = {"computer_name": "wks-17.example.com", "channel": "Security", "record_id": 2817345}


@pytest.mark.parametrize(
    ("document", "alert_id"),
    [
        (
            {"event": {"id": "NaK3xR7bQe2LwT5v++++1hZc"}, "agent": {"id": AGENT}},
            "793295ac835bf534c932da10d4c195276a70ac034a77f86c3899f47cb9b74aa6",
        ),
        ({"winlog": WINDOWS}, "b11e58ff2c57defa3a305a6268a3dc6b98c19eb03a0c156b43251b4653798ed3"),
        ({}, "d059e9da498d00233ec1172d95d4591beeecae5c6df4ed6d4c55792495ec0bf1"),
    ],
)
def test_published_vectors(document: dict[str, Any], alert_id: str) -> None:
    parts = "\x1f".join(["detectord", "event", "1", RID, sid(event(document))])
    assert hashlib.sha256(parts.encode()).hexdigest() == alert_id


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"event.id": "7"}, "e::7"),
        ({"event.id": ["7", "8"], "agent.id": ["a", "b"]}, "e:a:7"),
        ({"event.id": "", "_id": "d"}, "i::d"),
        ({"event.id": 7, "_id": "d", "_index": "x"}, "i:x:d"),
        ({"@metadata": {"_id": "d", "_index": "y"}}, "i:y:d"),
        ({"winlog": {"record_id": "12"}}, "w:::12"),
        ({"event.id": "7", "winlog": {"record_id": "12"}}, "e::7"),
        ({}, "k:ecs.endpoint:5:8812345"),
    ],
)
def test_first_that_applies(document: dict[str, Any], name: str) -> None:
    assert sid(event(document)) == name


def test_elements_of_one_record_are_told_apart() -> None:
    assert sid(event({}, element=0)) != sid(event({}, element=1)) != sid(event({}))


def windows(record_id: Any) -> Event:
    return event({"winlog": {**WINDOWS, "record_id": record_id}})


@pytest.mark.parametrize(
    "ascending",
    [
        [event({}, offset=9), event({}, offset=10), event({}, offset=100)],
        [event({}, offset=9, element=9), event({}, offset=9, element=10), event({}, offset=10, element=0)],
        [windows(9), windows("10"), windows(100)],
        [event({"event.id": "10"}), event({"event.id": "9"})],
    ],
)
def test_numbers_compare_as_numbers(ascending: list[Event]) -> None:
    orders = [sid_order(one) for one in ascending]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)


def test_a_record_number_that_is_none_is_text() -> None:
    for odd in ("007", "9" * 40, "-1", "x"):
        assert sid_order(windows(odd)) == (sid(windows(odd)), 0)
    assert sid_order(windows(7)) == ("w:wks-17.example.com:Security", 7)
