"""The worked examples of the alert specification, made again from its source events.

The specification stands beside the repository, not in it; without it these tests are skipped.
Left out of the comparison: in the event rule's example `process.group_leader`, `.session_leader` and
`.entry_leader`, which the page shortens to their ids (the ids are compared); of the building block the
page shows only the fields that differ, and only these are compared. What the rule says (its name,
description, threat, query, …) is taken from the expected documents, everything else is made.
"""

import json
from pathlib import Path

import pytest
from alerts.samples import compiled, document_of, event, rule

from detectord.alerts.elastic import elastic
from detectord.alerts.settings import AlertSettings
from detectord.engine.detection import Detection

SPEC = Path(__file__).parents[3] / "shared" / "spec"

pytestmark = pytest.mark.skipif(not SPEC.is_dir(), reason="no ../shared/spec beside the repository")

SETTINGS = AlertSettings(instance="detectord-0", version="1.0.0")
LEADERS = ("group_leader", "session_leader", "entry_leader")


def blocks(page, heading):
    """The JSON blocks of a page from the line that starts with `heading` on."""
    text = (SPEC / page).read_text(encoding="utf-8")
    parts = text[text.index(f"\n{heading}") :].split("```json\n")[1:]
    return [json.loads(part.split("```", 1)[0]) for part in parts]


def rule_of(expected):
    alert = {
        k.removeprefix("kibana.alert.rule."): v
        for k, v in expected.items()
        if k.startswith("kibana.alert.rule.")
    }
    return rule(
        query_text=alert["parameters"]["query"],
        severity=expected["kibana.alert.severity"],
        risk_score=expected["kibana.alert.risk_score"],
        ruleset=expected["rule"]["ruleset"],
        license=expected["rule"]["license"],
        index=tuple(alert["indices"]),
        **{name: alert[name] for name in ("rule_id", "name", "version", "description")},
        **{
            name: tuple(alert[name]) for name in ("author", "tags", "references", "false_positives", "threat")
        },
    )


def source_events():
    """The exec and the connection, with the positions that the examples give them."""
    examples = blocks("ecs-events.md", "## 7. Examples")
    wanted = {"exec": (8_812_345, 1_760_169_600_951), "connection_attempted": (8_812_391, 1_760_169_603_310)}
    return [
        event(document, offset, topic="ecs.endpoint", partition=5, timestamp=timestamp)
        for action, (offset, timestamp) in wanted.items()
        for document in examples
        if document["event"]["action"] == action and document["event"]["module"] == "endpoint"
    ]


def shortened(document):
    process = document["process"]
    leaders = {name: {"entity_id": process[name]["entity_id"]} for name in LEADERS}
    return {**document, "process": {**process, **leaders}}


def test_event_rule():
    expected = blocks("alerts.md", "### 2.3 Example (a)")[0]
    detection = Detection(compiled(rule_of(expected)), (source_events()[0],))
    (record,) = elastic(SETTINGS)(detection, 1_760_169_601_007)
    document = document_of(record)
    assert shortened(document) == shortened(expected)
    assert record.key == expected["kibana.alert.uuid"]


def test_sequence():
    block, expected = blocks("alerts.md", "### 2.4 Example (b)")[:2]
    events = tuple(source_events())
    join = tuple((pair["field"], pair["value"]) for pair in expected["detectord"]["sequence"]["join"])
    detection = Detection(compiled(rule_of(expected), sequence=True), events, (0, 1), join)
    first, second, shell = elastic(SETTINGS)(detection, 1_760_169_603_355)
    assert document_of(shell) == expected
    assert {name: document_of(first)[name] for name in block} == block
    assert second.key == "70b313777d7d61e3ea8647b68fda39db0f4cb2bea8d5139c267f3b59abd42c93"
    assert document_of(second)["kibana.alert.group.index"] == 1


def test_headers():
    expected = blocks("alerts.md", "### 2.4 Example (b)")[1]
    detection = Detection(compiled(rule_of(expected), sequence=True), tuple(source_events()), (0, 1))
    shell = elastic(SETTINGS)(detection, 1_760_169_603_355)[-1]
    assert shell.timestamp == 1_760_169_603_355
    assert dict(shell.headers) == {
        "content-type": b"application/json",
        "detectord-schema": b"alert/1",
        "alert-kind": b"shell",
        "alert-op": b"create",
        "rule-id": b"a7e0b6c4-3d52-4c19-8f6e-90b1d2c3e4f5",
        "rule-version": b"1",
        "severity": b"critical",
        "risk-score": b"99",
        "host-id": b"b7f5a1d20c1e4f6a9d3b5e8c7a9f0123",
        "group-id": b"e2fab171982ec7463dcf7cbb0a07d46192892945117a1078546bd96822ce5ae8",
    }
