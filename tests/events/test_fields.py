"""The tables of field types: what they say, and how one is read."""

from __future__ import annotations

import time
import tomllib
from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any

import pytest
from testing import shared_data

from detectord.eql import ast
from detectord.eql.parser import parse
from detectord.eql.source import Source
from detectord.eql.types import MAPPING_TYPES, Type, field_type
from detectord.events.fields import FIELD_TYPES, FieldTypes, _ShippedTypes, read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("source.ip", "ip"), ("destination.nat.ip", "ip"), ("host.ip", "ip"), ("dns.resolved_ip", "ip"),
        ("process.entry_leader.entry_meta.source.ip", "ip"), ("threat.indicator.ip", "ip"),
        ("process.pid", "long"), ("process.parent.pid", "long"), ("process.entry_leader.pid", "long"),
        ("process.args_count", "long"), ("destination.port", "long"), ("event.severity", "long"),
        ("file.size", "long"), ("source.as.number", "long"), ("process.parent.Ext.real.pid", "long"),
        ("event.risk_score", "float"), ("host.cpu.usage", "scaled_float"),
        ("process.Ext.relative_file_creation_time", "double"), ("file.Ext.entropy", "double"),
        ("process.interactive", "boolean"), ("process.parent.code_signature.exists", "boolean"),
        ("dll.Ext.code_signature.valid", "boolean"), ("volume.removable", "boolean"),
        ("azure.signinlogs.properties.device_detail.is_managed", "boolean"),
        ("@timestamp", "date"), ("event.ingested", "date"), ("process.code_signature.timestamp", "date"),
        ("process.command_line", "wildcard"), ("registry.data.strings", "wildcard"),
        ("process.thread.Ext.start_address", "unsigned_long"), ("message", "match_only_text"),
        ("Target.process.thread.Ext.call_stack.symbol_info", "keyword"),
        ("Target.process.parent.name", "keyword"), ("Effective_process.executable", "keyword"),
        ("process.Ext.effective_parent.pid", "long"), ("process.Ext.api.parameters.size", "unsigned_long"),
        ("aws.cloudtrail.flattened.request_parameters", "flattened"), ("okta.client.ip", "ip"),
        ("source.geo.location", "geo_point"), ("dns.answers", "object"), ("kibana.alert.risk_score", "float"),
    ],
)  # fmt: skip
def test_listed_fields(path: str, name: str) -> None:
    assert FIELD_TYPES[path] == name


@pytest.mark.parametrize(
    "path",
    [
        "event.code", "winlog.event_id", "winlog.record_id", "user.id", "group.id", "process.user.id",
        "process.real_group.id", "file.inode", "file.mode", "dns.id", "network.iana_number", "ecs.version",
        "process.Ext.token.integrity_level_name", "process.Ext.session_info.logon_type",
        "file.Ext.header_bytes", "file.Ext.windows.zone_identifier", "registry.data.bytes", "host.pid_ns_ino",
        "o365.audit.RecordType", "auditd.data.a0", "aws.cloudtrail.management_event",
    ],
)  # fmt: skip
def test_keywords_that_look_like_something_else(path: str) -> None:
    assert FIELD_TYPES[path] == "keyword"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("winlog.event_data.ClientProcessId", "keyword"),
        ("winlog.event_data.Deep.Inside", "keyword"),
        ("labels.anything", "keyword"),
        ("aws.cloudtrail.flattened.request_parameters.ipPermissions.items.fromPort", "keyword"),
        ("azure.auditlogs.properties.target_resources.0.display_name", "keyword"),
        ("kubernetes.audit.annotations.authorization_k8s_io/decision", "text"),
        ("http.request.headers.content-type", "keyword"),
        ("o365.audit.Data.sip", "ip"),
        ("o365.audit.Data.other", "keyword"),
    ],
)
def test_fields_below_a_flattened_or_dynamic_one(path: str, name: str) -> None:
    assert FIELD_TYPES.get(path) == name


@pytest.mark.parametrize(
    "path", ["", ".", "process", "process.nmae", "source.ip.x", "winlogs.event_data.x", "zz"]
)
def test_unknown_fields(path: str) -> None:
    assert path not in FIELD_TYPES
    assert FIELD_TYPES.get(path) is None


def test_every_type_is_one_of_elasticsearch() -> None:
    names = set(FIELD_TYPES.values())
    assert names <= MAPPING_TYPES
    assert {name for name in names if field_type(name) is Type.ANY} == {"object", "geo_point"}


def test_the_tables_are_read_soon() -> None:
    seconds = []
    for _ in range(5):
        started = time.process_time()
        assert _ShippedTypes()["process.pid"] == "long"
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.05  # 6 ms on a slow core


# --- the form of a table ---------------------------------------------------------------------

TABLE = """
# a comment
set hash
    keyword     md5 sha1

set binary
    keyword     name
    long        size
    object      .
    @hash       hash more.hash

.
    date        @timestamp
    keyword     tags labels.*

process process.parent
    keyword     args
    @binary     . Ext

process
    long        Ext.size.kept
    flattened   bag
    boolean     args
"""


def test_a_table() -> None:
    binary = {
        "name": "keyword", "size": "long", "hash.md5": "keyword", "hash.sha1": "keyword",
        "more.hash.md5": "keyword", "more.hash.sha1": "keyword",
    }  # fmt: skip
    expected = {"@timestamp": "date", "tags": "keyword", "labels.*": "keyword", "process.bag": "flattened"}
    for process in ("process", "process.parent"):
        for place in (process, f"{process}.Ext"):
            expected |= {place: "object"} | {f"{place}.{name}": kind for name, kind in binary.items()}
    expected |= {"process.args": "boolean", "process.parent.args": "keyword", "process.Ext.size.kept": "long"}
    assert read_tables(TABLE) == expected


def test_a_set_can_be_placed_by_a_later_table() -> None:
    assert read_tables("set a\n    long b\n", "c\n    @a d\n") == {"c.d.b": "long"}


def test_one_mapping_over_another() -> None:
    under = FieldTypes({"a.b": "long", "a.c": "ip", "d.*": "date", "e": "flattened"})
    types = FieldTypes({"a": "flattened", "a.c": "boolean", "d.x": "float", "f": "text"}, under)
    asked = ["a", "a.b", "a.c", "a.b.c", "d.x", "d.y", "e", "e.x", "f", "f.x", "g"]
    found = [types.get(path) for path in asked]
    expected = ["flattened", "keyword", "boolean", "keyword", "float", "date", "flattened", "keyword", "text"]
    assert found == [*expected, None, None]
    assert sorted(types) == ["a", "a.b", "a.c", "d.x", "e", "f"]
    assert len(types) == 6


# --- what rules read -------------------------------------------------------------------------


def _fields(part: Any) -> Iterator[ast.Field]:
    if isinstance(part, ast.Field):
        yield part
    elif isinstance(part, ast.Node):
        for each in fields_of(part):
            yield from _fields(getattr(part, each.name))
    elif isinstance(part, tuple):
        for each in part:
            yield from _fields(each)


def test_every_field_of_elastics_rules_is_known() -> None:
    unknown = {}
    for file in sorted(shared_data("elastic-rules").rglob("*.toml")):
        rule = tomllib.loads(file.read_text("utf-8"))["rule"]
        query = parse(Source(rule["query"])).query
        assert query is not None
        unknown |= {field.path: file.name for field in _fields(query) if field.path not in FIELD_TYPES}
    assert unknown == {}
