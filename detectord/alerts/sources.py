"""What one contributing event brings into an alert: its fields, its time, its identity, its lineage.

An event that is itself an alert (detection rules may run on the alerts topic) brings the line of its
ancestors, by which depth is counted and a rule is kept from alerting on its own alerts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detectord.alerts.conflicts import remove_conflicts
from detectord.alerts.fields import Copier, Fields, Scalar, clean, first
from detectord.alerts.ids import H
from detectord.alerts.redaction import Redaction
from detectord.alerts.times import at_instant
from detectord.events.event import Event
from detectord.events.identity import sid as sid_of
from detectord.events.index import NOTHING_SAID, SourceIndex, virtual_index
from detectord.events.time import parse_instant

_STANDARD_TIME = "@timestamp"

_NOT_CARRIED = frozenset(("kibana", "signal", "threshold_result", "detectord"))
"""Roots that belong to an earlier alert."""

_INDEX_METADATA = frozenset(
    ("_id", "_index", "_type", "_source", "_routing", "_version", "_seq_no", "_primary_term", "_score")
)
"""Roots that Elasticsearch refuses inside a document."""

_IDENTITY_FIELDS = (
    "event.id",
    "agent.id",
    "winlog.computer_name",
    "winlog.channel",
    "winlog.record_id",
    "_id",
    "_index",
    "@metadata._id",
    "@metadata._index",
)
"""What a source identity is made of, in plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEvent:
    """One event's contribution.

    `sid` is its identity and `shown_sid` what a document may say of it. `fields` are its own, fit for an
    index but not redacted; `cut` tells whether some were left out, `conflicts` how many for their type.
    `ancestors` ends with the event itself, `rules` are the uuids of the rules among them. `timestamp`
    is the event's own `@timestamp` as written. `time` (ns) and `time_text` follow the rule's time field.
    """

    event: Event
    sid: str
    shown_sid: str
    fields: Fields
    conflicts: int
    cut: bool
    ancestors: tuple[Fields, ...]
    rules: frozenset[str]
    depth: int
    timestamp: Scalar | None
    time: int | None
    time_text: str | None


class SourceReader:
    """Reads events under one configuration."""

    def __init__(self, index_hints: Mapping[str, SourceIndex], redaction: Redaction) -> None:
        self._hints = index_hints
        self._hide_sid = any(redaction.covers(path) for path in _IDENTITY_FIELDS)

    def read(self, event: Event, time_field: str) -> SourceEvent:
        """The contribution of `event` to an alert of a rule whose events are timed by `time_field`."""
        copier = Copier()
        fields = copier.document(event.document)
        sid = sid_of(event)
        shown_sid = f"h:{H('detectord', 'sid', sid)}" if self._hide_sid else clean(sid)
        said = self._hints.get(event.record.topic, NOTHING_SAID)
        index = clean(virtual_index(event, said.name, force=said.force))
        ancestors, depth = _lineage(fields, shown_sid, index)
        for root in [name for name in fields if name in _NOT_CARRIED or name in _INDEX_METADATA]:
            del fields[root]
        time, time_text = _time(event, fields, time_field)
        return SourceEvent(
            event=event,
            sid=sid,
            shown_sid=shown_sid,
            fields=fields,
            conflicts=remove_conflicts(fields),
            cut=copier.cut,
            ancestors=ancestors,
            rules=frozenset(ancestor["rule"] for ancestor in ancestors if "rule" in ancestor),
            depth=depth,
            timestamp=_timestamp(fields),
            time=time,
            time_text=time_text,
        )


def _lineage(fields: Fields, sid: str, index: str) -> tuple[tuple[Fields, ...], int]:
    """The ancestors of an alert on this event, the event last, and the event's depth."""
    rule = first(fields, "kibana.alert.rule.uuid")
    if not isinstance(rule, str):
        return ({"id": sid, "type": "event", "index": index, "depth": 0},), 0
    uuid, depth = first(fields, "kibana.alert.uuid"), _depth(first(fields, "kibana.alert.depth"))
    own: Fields = {"id": uuid or sid, "type": "signal", "index": index, "depth": depth, "rule": rule}
    return (*_ancestors(fields), own), depth


def _depth(value: object) -> int:
    """An alert's depth; one that says nothing sensible stands directly on an event."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1_000 else 1


def _ancestors(fields: Fields) -> list[Fields]:
    node: object = fields
    for name in ("kibana", "alert", "ancestors"):
        node = node.get(name) if isinstance(node, dict) else None
    entries = node if isinstance(node, list) else [node]
    return [_ancestor(entry) for entry in entries if isinstance(entry, dict)]


def _ancestor(entry: Fields) -> Fields:
    texts = ("id", "type", "index", "rule")
    known: Fields = {name: entry[name] for name in texts if isinstance(entry.get(name), str)}
    return {**known, "depth": entry["depth"]} if isinstance(entry.get("depth"), int) else known


def _timestamp(fields: Fields) -> Scalar | None:
    """`@timestamp` as written, None if it is not a time at all: an index would refuse the alert."""
    value = first(fields, _STANDARD_TIME)
    return None if value is None or parse_instant(value) is None else value


def _time(event: Event, fields: Fields, time_field: str) -> tuple[int | None, str | None]:
    """The event's time in ns and as text: in the source's own spelling where that is ISO 8601."""
    time = event.time if time_field == _STANDARD_TIME else next(iter(event.instants(time_field)), None)
    text = None if time is None else at_instant(time)
    if text is None:
        return None, None
    written = first(fields, time_field)
    is_iso = isinstance(written, str) and "T" in written and "," not in written
    return time, str(written) if is_iso and parse_instant(written) == time else text
