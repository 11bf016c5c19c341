"""What every alert format keeps, whatever its documents look like."""

from __future__ import annotations

import json
from typing import Any

from detectord.alerts import AlertFormat, AlertRecord
from detectord.engine.detection import Detection

HEADERS = {
    "content-type", "detectord-schema", "alert-kind", "alert-op", "rule-id", "rule-version", "severity",
    "risk-score",
}  # fmt: skip
OPTIONAL_HEADERS = {"host-id", "group-id"}

MOVING = ("@timestamp", "kibana.alert.start", "kibana.alert.last_detected")
"""What may differ between two runs over the same input."""


def check_alert_format(format_: AlertFormat, detection: Detection, *, max_bytes: int) -> list[AlertRecord]:
    """Hold `format_` to the contract on one detection; the records, for further checks."""
    records = format_(detection, 1_000_000)
    _check_order(detection, records)
    for record in records:
        _check_record(detection, record, max_bytes)
    assert len({record.key for record in records}) == len(records), "keys are unique"
    _check_repeatable(records, format_(detection, 2_000_000))
    return records


def _check_order(detection: Detection, records: list[AlertRecord]) -> None:
    kinds = [record.kind for record in records]
    if detection.rule.is_sequence:
        assert kinds in (["block"] * len(detection.events) + ["shell"], ["shell"], [])
    else:
        assert kinds in (["event"], [])


def _check_record(detection: Detection, record: AlertRecord, max_bytes: int) -> None:
    rule = detection.rule.rule
    assert len(record.value) <= max_bytes
    assert isinstance(json.loads(record.value), dict)
    assert (record.timestamp, record.rule_id, record.severity) == (1_000_000, rule.rule_id, rule.severity)
    headers = dict(record.headers)
    assert len(headers) == len(record.headers), "no header twice"
    assert set(headers) >= HEADERS
    assert set(headers) <= HEADERS | OPTIONAL_HEADERS
    assert headers["alert-kind"].decode() == record.kind
    assert headers["rule-id"].decode() == rule.rule_id
    assert headers["severity"].decode() == rule.severity
    assert headers["risk-score"].decode() == str(rule.risk_score)
    assert ("group-id" in headers) == (record.kind != "event")


def _check_repeatable(first: list[AlertRecord], second: list[AlertRecord]) -> None:
    assert [record.key for record in first] == [record.key for record in second]
    assert [record.headers for record in first] == [record.headers for record in second]
    for one, other in zip(first, second, strict=True):
        assert _still(json.loads(one.value)) == _still(json.loads(other.value))


def _still(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the times of publication, in either spelling of their keys."""
    still = {name: value for name, value in document.items() if name not in MOVING}
    if "kibana" in still:
        alert = {k: v for k, v in still["kibana"]["alert"].items() if k not in ("start", "last_detected")}
        still["kibana"] = {**still["kibana"], "alert": alert}
    return still
