"""Which event it is: the same source event has the same `sid` whoever reads it, however often.

An event names itself by, in this order: its `event.id` within its agent; its Windows record number
within computer and channel; its Elasticsearch document id within its index; the place of its record
in the source, with the place in the record if that is an array of events.
"""

from __future__ import annotations

import re

from detectord.events.event import Event

ELEMENTS = 1 << 20
"""How many events one record can hold: the order of places in a source counts in steps of this."""

_RECORD_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def sid(event: Event) -> str:
    """The identity of an event over replays, and, where the event names itself, over repeats."""
    if event._sid is None:
        event._sid = _sid(event)
    return event._sid


def renamed(event: Event, name: str) -> Event:
    """`event`, known by `name`: the sid it had when it was decoded as a part of its whole record."""
    event._sid = name
    return event


def sid_order(event: Event) -> tuple[str, int]:
    """The sid as a sort key, in which record numbers and places in a source compare as numbers."""
    name = sid(event)
    if name.startswith("w:"):
        stream, _, number = name.rpartition(":")
        if _RECORD_NUMBER.fullmatch(number):
            return stream, int(number)
    elif name.startswith("k:"):
        record = event.record
        return f"k:{record.topic}:{record.partition}", record.offset * ELEMENTS + (event.element or 0)
    return name, 0


def _sid(event: Event) -> str:
    event_id = event.values("event.id")
    if event_id and isinstance(event_id[0], str) and event_id[0]:
        return f"e:{_first(event, 'agent.id')}:{event_id[0]}"
    number = _first(event, "winlog.record_id")
    if number:
        return f"w:{_first(event, 'winlog.computer_name')}:{_first(event, 'winlog.channel')}:{number}"
    document_id = _first(event, "_id", "@metadata._id")
    if document_id:
        return f"i:{_first(event, '_index', '@metadata._index')}:{document_id}"
    record = event.record
    place = f"k:{record.topic}:{record.partition}:{record.offset}"
    return place if event.element is None else f"{place}#{event.element}"


def _first(event: Event, *paths: str) -> str:
    """The first text at the first of the paths that has a value; "" if none has."""
    return next((texts[0] for path in paths if (texts := event.text(path))), "")
