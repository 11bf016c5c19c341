"""The table of field types."""

from __future__ import annotations

import pytest

from detectord.eql.types import Type, field_type
from detectord.events.ecs import FIELD_TYPES


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("source.ip", "ip"), ("destination.nat.ip", "ip"), ("host.ip", "ip"), ("dns.resolved_ip", "ip"),
        ("process.pid", "long"), ("process.parent.pid", "long"), ("process.entry_leader.pid", "long"),
        ("process.args_count", "long"), ("destination.port", "long"), ("event.severity", "long"),
        ("event.risk_score", "float"), ("process.interactive", "boolean"), ("@timestamp", "date"),
        ("process.code_signature.trusted", "boolean"), ("process.parent.code_signature.exists", "boolean"),
        ("dll.Ext.code_signature.valid", "boolean"), ("file.size", "long"), ("event.ingested", "date"),
    ],
)  # fmt: skip
def test_typed_fields(path: str, name: str) -> None:
    assert FIELD_TYPES[path] == name


@pytest.mark.parametrize(
    "path", ["event.code", "winlog.event_id", "user.id", "group.id", "process.name", "process.user.id"]
)
def test_fields_that_stay_keywords(path: str) -> None:
    assert FIELD_TYPES.get(path, "keyword") == "keyword"


def test_every_type_means_something() -> None:
    assert Type.ANY not in set(map(field_type, FIELD_TYPES.values()))
