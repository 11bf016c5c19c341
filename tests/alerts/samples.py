"""Rules, events and detections to make alerts from. Hosts, people and ids are invented."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from detectord.alerts import AlertRecord
from detectord.alerts.settings import AlertSettings
from detectord.compiler.compiled import CompiledRule, KeyValue
from detectord.engine.detection import Detection
from detectord.eql import ast
from detectord.events.event import Event
from detectord.events.record import Record
from detectord.events.time import parse_instant
from detectord.rules.rule import Rule

NOW = 1_772_535_845_250  # 2026-03-03T11:04:05.250Z
SETTINGS = AlertSettings(instance="detectord-7", version="3.2.1")
_QUERY = ast.Query(ast.EventQuery("process", ast.Literal(True)))

MOUSE_RULE = "0b0f6a4e-2c6e-4e38-9d15-3f5d8d1c7a20"


def rule(**changes: Any) -> Rule:
    fields: dict[str, Any] = {
        "rule_id": MOUSE_RULE,
        "name": "Compiler started by a print server",
        "query_text": 'process where process.parent.name == "cupsd" and process.name == "cc"',
        "query": _QUERY,
        "severity": "medium",
        "risk_score": 47,
        "description": "A print server has no business compiling programs.",
        "version": 12,
        "author": ("Harbour SOC", "J. Doe"),
        "license": "MIT",
        "tags": ("OS: Linux", "Tactic: Execution"),
        "references": ("https://soc.example.org/r/12", "https://soc.example.org/r/12b"),
        "false_positives": ("Driver builds on the print server.",),
        "index": ("logs-lab.process-*", "auditbeat-*"),
        "threat": (
            {
                "framework": "MITRE ATT&CK",
                "tactic": {
                    "id": "TA0002",
                    "name": "Execution",
                    "reference": "https://attack.mitre.org/tactics/TA0002/",
                },
                "technique": [
                    {
                        "id": "T1059",
                        "name": "Command and Scripting Interpreter",
                        "reference": "https://attack.mitre.org/techniques/T1059",
                    }
                ],
            },
        ),
        "ruleset": "harbour",
    }
    return Rule(**{**fields, **changes})


def compiled(of: Rule, *, sequence: bool = False) -> CompiledRule:
    """A compiled rule as far as a format looks at one: no matchers."""
    return CompiledRule(
        rule=of,
        kind="sequence" if sequence else "event",
        steps=(),
        maxspan=60_000_000_000 if sequence else None,
        match_hash="",
        host_position=None,
        category_field=of.category_field,
        timestamp_field=of.timestamp_field,
        tiebreaker_field=of.tiebreaker_field,
    )


START: dict[str, Any] = {
    "@timestamp": "2026-03-03T11:04:00.1234567Z",
    "agent": {"id": "agent-4", "type": "lab"},
    "data_stream": {"type": "logs", "dataset": "lab.process", "namespace": "quay"},
    "event": {
        "kind": "event",
        "category": ["process"],
        "type": ["start"],
        "action": "exec",
        "id": "Zm9v/1",
        "sequence": 5,
        "severity": 10,
    },
    "host": {
        "id": "pier-9",
        "name": "pier-9.example.org",
        "os": {"type": "linux"},
        "ip": ["198.51.100.9", "::1"],
    },
    "process": {
        "name": "cc",
        "pid": 771,
        "entity_id": "p-771",
        "args": ["cc", "-o", "x"],
        "env_vars": ["TOKEN=hunter2", "LANG=C"],
        "parent": {"name": "cupsd", "pid": 12},
    },
    "user": {"name": "lp", "id": "7"},
    "labels": {"dock": "north"},
}

CONNECT: dict[str, Any] = {
    "@timestamp": "2026-03-03T11:04:02.6234567Z",
    "agent": {"id": "agent-4", "type": "lab"},
    "data_stream": {"type": "logs", "dataset": "lab.network", "namespace": "quay"},
    "event": {
        "kind": "event",
        "category": ["network"],
        "type": ["start"],
        "action": "connect",
        "id": "Zm9v/2",
        "sequence": 6,
    },
    "host": {"id": "pier-9", "name": "pier-9.example.org", "os": {"type": "linux"}, "ip": ["198.51.100.9"]},
    "process": {"name": "cc", "pid": 771, "entity_id": "p-771", "args": ["-o", "cc"]},
    "source": {"ip": "198.51.100.9", "port": 40_001},
    "destination": {"ip": "203.0.113.5", "port": 443},
    "user": {"name": "lp", "id": "7"},
}


def event(document: Any, offset: int = 100, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "topic": "lab.events",
        "partition": 3,
        "offset": offset,
        "timestamp": 1_772_535_843_000 + offset,
        "key": None,
        "value": b"",
    }
    return Event(document, Record(**{**fields, **changes}), parse_instant(document.get("@timestamp")))


def changed(document: Any, path: str, value: Any) -> Any:
    """A copy of the document with `value` at the dotted path."""
    document = copy.deepcopy(document)
    node = document
    *parents, last = path.split(".")
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    return document


def hit(document: Any = START, of: Rule | None = None, **changes: Any) -> Detection:
    """An event rule's detection."""
    return Detection(compiled(of or rule()), (event(document),), **changes)


def run_of(*documents: Any, of: Rule | None = None, **changes: Any) -> Detection:
    """A sequence's detection over the documents."""
    events = tuple(event(document, 100 + i) for i, document in enumerate(documents))
    join: tuple[tuple[str, KeyValue], ...] = (("host.id", "pier-9"), ("process.entity_id", "p-771"))
    fields: dict[str, Any] = {"stages": tuple(range(len(events))), "join": join, **changes}
    return Detection(compiled(of or rule(), sequence=True), events, **fields)


def document_of(record: AlertRecord) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(record.value)
    return document
