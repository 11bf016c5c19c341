"""Alerts as Elastic Security's tools read them: `kibana.alert.*` beside the event's own fields.

An event rule's detection becomes one document: a copy of the event's fields with the alert's laid on
top. A sequence's becomes one *building block* an event, each like an event rule's alert, and a *shell*
that ties them together and carries only the source fields on which all blocks agree.

Rule 1: a detection always gives the same documents, but for the time of publication (`@timestamp`,
`kibana.alert.start`, `.last_detected`).
Rule 2: no event can make this raise, be changed by it, or get a record over `max_bytes`.
Rule 3: the source's own `kibana`, `signal` and `threshold_result` never come along, and a rule never
alerts on an alert that descends from itself: such a detection gives no record.

    event ─ SourceReader ─→ fields ┬─ Redaction ───────────────────→ block ┐
                                   └─ intersection ─ Redaction ────→ shell ┴─ DocumentWriter ─→ value
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from detectord.alerts import AlertFormat, AlertRecord
from detectord.alerts.elastic_document import DocumentWriter, Draft
from detectord.alerts.fields import Fields, clean, first, scalar, values
from detectord.alerts.ids import block_id, event_alert_id, shell_id
from detectord.alerts.intersection import intersection
from detectord.alerts.overrides import overridden
from detectord.alerts.reason import reason
from detectord.alerts.redaction import REDACTED, Redaction
from detectord.alerts.rule_parts import RuleParts
from detectord.alerts.settings import AlertSettings
from detectord.alerts.size import clipped
from detectord.alerts.sources import SourceEvent, SourceReader
from detectord.alerts.times import at_millisecond, seconds
from detectord.engine.detection import Detection
from detectord.eql.ast import Sample

SCHEMA = "1"

Kind = Literal["event", "shell", "block"]

_MAX_CATEGORIES = 8
"""Categories of one stage that are shown; ECS knows some thirty, an attacker any number."""


def elastic(settings: AlertSettings) -> AlertFormat:
    """The format under `settings`."""
    return ElasticFormat(settings)


@dataclass(frozen=True, slots=True)
class _Case:
    """One detection on its way to records: with the parts of its rule, its events read, its time (ms)."""

    detection: Detection
    parts: RuleParts
    sources: Sequence[SourceEvent]
    now: int


class ElasticFormat:
    """The format. `conflicts` counts the source values that were left out because an ECS index would
    have refused the alert for them."""

    def __init__(self, settings: AlertSettings) -> None:
        self.conflicts = 0
        self._settings = settings
        self._redact = Redaction(settings.redact)
        self._reader = SourceReader(settings.source_index, self._redact)
        self._writer = DocumentWriter(settings)
        self._parts: dict[str, RuleParts] = {}

    def __call__(self, detection: Detection, now: int) -> list[AlertRecord]:
        """The records of one detection, decided at `now` (ms since the epoch)."""
        parts = self._parts_of(detection)
        time_field = detection.rule.rule.timestamp_field
        sources = [self._reader.read(event, time_field) for event in detection.events]
        self.conflicts += sum(source.conflicts for source in sources)
        if any(parts.uuid in source.rules for source in sources):
            return []
        case = _Case(detection, parts, sources, now)
        return self._sequence(case) if detection.rule.is_sequence else [self._event(case)]

    def _parts_of(self, detection: Detection) -> RuleParts:
        rule = detection.rule.rule
        parts = self._parts.get(rule.rule_id)
        if parts is None or parts.rule is not rule:
            parts = self._parts[rule.rule_id] = RuleParts.of(rule, self._settings.rule_detail)
        return parts

    # --- the three kinds ---------------------------------------------------------------------

    def _event(self, case: _Case) -> AlertRecord:
        source = case.sources[0]
        case = replace(case, parts=overridden(case.parts, source.fields, self._redact))
        uuid = event_alert_id(case.parts.uuid, source.sid)
        draft = self._on_one_event(case, uuid, source, case.parts.rule.building_block_type)
        return self._record("event", draft, source.fields, cut=source.cut)

    def _sequence(self, case: _Case) -> list[AlertRecord]:
        uuid = _shell_uuid(case)
        blocks = [block_id(uuid, stage) for stage in case.detection.stages]
        records = []
        if self._settings.building_blocks == "separate":
            for block, stage, source in zip(blocks, case.detection.stages, case.sources, strict=True):
                draft = self._on_one_event(case, block, source, "default")
                draft.group.update({"kibana.alert.group.id": uuid, "kibana.alert.group.index": stage})
                records.append(self._record("block", draft, source.fields, cut=source.cut))
        common = intersection(source.fields for source in case.sources)
        cut = any(source.cut for source in case.sources)
        return [*records, self._record("shell", self._shell(case, uuid, blocks), common, cut=cut)]

    def _on_one_event(self, case: _Case, uuid: str, source: SourceEvent, building_block: str) -> Draft:
        return Draft(
            uuid=uuid,
            now=case.now,
            parts=case.parts,
            alert=_alert(source.depth + 1, source, list(source.ancestors), building_block),
            detectord=self._detectord(case, [source]),
        )

    def _shell(self, case: _Case, uuid: str, blocks: Sequence[str]) -> Draft:
        sources = case.sources
        ancestors = [
            ancestor
            for block, source in zip(blocks, sources, strict=True)
            for ancestor in (*source.ancestors, _block_ancestor(block, source, case.parts))
        ]
        depth = max(source.depth for source in sources) + 2
        timed = _in_time(sources)
        duration = _duration(timed)
        times: Fields = {}
        if duration is not None:
            times = {"start": timed[0].time_text, "end": timed[-1].time_text, "duration": duration}
        detectord = self._detectord(case, sources)
        detectord["sequence"] = self._sequence_block(case, blocks, duration)
        return Draft(
            uuid=uuid,
            now=case.now,
            parts=case.parts,
            alert=_alert(depth, timed[-1], ancestors, case.parts.rule.building_block_type),
            detectord=detectord,
            group={"kibana.alert.group.id": uuid},
            times=times,
        )

    # --- the detectord block -----------------------------------------------------------------

    def _detectord(self, case: _Case, sources: Sequence[SourceEvent]) -> Fields:
        block: Fields = {
            "schema": SCHEMA,
            "version": self._settings.version,
            "instance": self._settings.instance,
            "source": [_position(source) for source in sources],
        }
        return {**block, "late": True} if case.detection.late else block

    def _sequence_block(self, case: _Case, blocks: Sequence[str], duration: int | None) -> Fields:
        join = [
            {"field": clean(path), "value": REDACTED if self._redact.covers(path) else scalar(value)}
            for path, value in case.detection.join
        ]
        stages = [
            self._stage(index, uuid, source)
            for index, uuid, source in zip(case.detection.stages, blocks, case.sources, strict=True)
        ]
        span = {} if duration is None else {"span_seconds": seconds(duration)}
        return {"join": join, **span, "stages": stages}

    def _stage(self, index: int, uuid: str, source: SourceEvent) -> Fields:
        stage: Fields = {"index": index, "id": source.shown_sid, "uuid": uuid}
        if source.timestamp is not None:
            stage["@timestamp"] = source.timestamp
        categories = list(islice(values(self._redact(source.fields), "event.category"), _MAX_CATEGORIES))
        if categories:
            stage["category"] = categories[0] if len(categories) == 1 else categories
        return stage

    # --- records -----------------------------------------------------------------------------

    def _record(self, kind: Kind, draft: Draft, fields: Fields, *, cut: bool) -> AlertRecord:
        rule = draft.parts.rule
        shown = self._redact(fields)
        draft.alert["kibana.alert.reason"] = reason(shown, rule.severity, draft.parts.name)
        headers = {
            "content-type": "application/json",
            "detectord-schema": f"alert/{SCHEMA}",
            "alert-kind": kind,
            "alert-op": "create",
            "rule-id": clean(rule.rule_id),
            "rule-version": str(rule.version),
            "severity": rule.severity,
            "risk-score": str(rule.risk_score),
        }
        host = first(shown, "host.id")
        if host is not None:
            headers["host-id"] = clipped(str(host))
        if draft.group:
            headers["group-id"] = draft.group["kibana.alert.group.id"]
        return AlertRecord(
            key=draft.uuid,
            value=self._writer.write(draft, shown, cut=cut),
            headers=tuple((name, text.encode()) for name, text in headers.items()),
            timestamp=draft.now,
            kind=kind,
            rule_id=rule.rule_id,
            severity=rule.severity,
        )


def _alert(depth: int, timed_by: SourceEvent, ancestors: list[Fields], building_block: str) -> Fields:
    """The flat keys that depend on the events. The last event gives the original time."""
    alert: Fields = {"kibana.alert.depth": depth}
    if timed_by.timestamp is not None:
        alert["kibana.alert.original_time"] = timed_by.timestamp
    alert["kibana.alert.ancestors"] = ancestors
    if building_block:
        alert["kibana.alert.building_block_type"] = building_block
    return alert


def _shell_uuid(case: _Case) -> str:
    detection = case.detection
    key = [value for _, value in detection.join] if detection.fanned_out else None
    sample = isinstance(detection.rule.rule.query.body, Sample)
    return shell_id(case.parts.uuid, [source.sid for source in case.sources], key, sample=sample)


def _block_ancestor(block: str, source: SourceEvent, parts: RuleParts) -> Fields:
    return {"id": block, "type": "signal", "index": "", "depth": source.depth + 1, "rule": parts.uuid}


def _in_time(sources: Sequence[SourceEvent]) -> Sequence[SourceEvent]:
    """The events by time, if it is known of all: those of a sample stand in the order of its steps."""
    times = [source.time for source in sources if source.time is not None]
    if len(times) < len(sources):
        return sources
    return [source for _, source in sorted(zip(times, sources, strict=True), key=lambda pair: pair[0])]


def _duration(sources: Sequence[SourceEvent]) -> int | None:
    """Nanoseconds from the first to the last event, None if either has no time."""
    start, end = sources[0].time, sources[-1].time
    return None if start is None or end is None else end - start


def _position(source: SourceEvent) -> Fields:
    record = source.event.record
    position: Fields = {
        "topic": clean(record.topic),
        "partition": record.partition,
        "offset": record.offset,
    }
    timestamp = None if record.timestamp is None else at_millisecond(record.timestamp)
    return position if timestamp is None else {**position, "timestamp": timestamp}
