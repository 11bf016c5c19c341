"""The fast dispatcher finds what the plain one finds: generated cases, hostile and real records."""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
from typing import Any

import msgspec
import pytest
from dispatching import Pair
from generated import KINDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated_event
from strategies import Case
from testing import shared_data

from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule
from detectord.engine.planner import HOT
from detectord.engine.tables import MAX_ELEMENTS
from detectord.eql.parser import parse
from detectord.eql.source import Source
from detectord.events.fields import FIELD_TYPES
from detectord.events.index import SourceIndex
from detectord.events.narrow import MAX_LEARNED
from detectord.events.record import Record
from detectord.rules.load import load
from detectord.rules.rule import Rule


def compiled(query: str, number: int = 0, **more: Any) -> CompiledRule:
    parsed = parse(Source(query))
    assert parsed.query is not None
    rule = Rule(rule_id=f"r{number}", name="R", query_text=query, query=parsed.query, look_back=1, **more)
    return compile_rule(rule)


def records(documents: list[Any], topic: str = "t") -> list[Record]:
    return [
        Record(
            topic, 0, number, 1_000, None, value if isinstance(value, bytes) else json.dumps(value).encode()
        )
        for number, value in enumerate(documents)
    ]


@pytest.mark.parametrize("hot", [0, HOT])
@pytest.mark.parametrize("kind", KINDS)
def test_generated_rules_and_events(kind: str, hot: int) -> None:
    totals = [0, 0, 0]

    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases=st.lists(KINDS[kind](), min_size=1, max_size=2))
    def agree(cases: list[Case]) -> None:
        rules = [
            compile_rule(
                Rule(
                    rule_id=f"r{number}",
                    name="R",
                    query_text="",
                    query=dataclasses.replace(case.query, pipes=()),
                    category_field=case.options.get("event_category_field", "event.category"),
                    timestamp_field=case.options.get("timestamp_field", "@timestamp"),
                    look_back=1,
                )
            )
            for number, case in enumerate(cases)
        ]
        pair = Pair(rules, hot)
        documents = [{"event": {"id": "1"}, **event} for case in cases for event in case.events]
        pair.check(records(documents * 3))
        for place, count in enumerate((pair.events, pair.found, pair.narrow)):
            totals[place] += count

    agree()
    assert totals[1] > totals[0] // 50, "matches are too rare to test anything"
    assert totals[2], "narrow events are too rare to test anything"


RULES = (
    'process where process.name : ("cmd.exe", "pow*shell.exe") and not process.args : "-safe*"',
    'process where event.type == "start" and (process.parent.name == "a" or process.args == "b")',
    'process where process.Ext.token.level == "high" and process.pid > 4 and process.name != null',
    'process where process.Ext.signature.status : "trust*" and event.action in ("x", "y")',
    'any where event.code == "1" and winlog.event_data.Image : "*\\\\temp\\\\*"',
    'any where event.code == "1.0" or event.code == "true"',
    'file where file.path : "/etc/*" and not file.name in ("a", "b")',
    'any where host.os.type == "linux" and length(process.args) > 3',
    'any where process == "x" or process.parent == "y"',
    'sequence by host.id [process where process.name == "cmd.exe"] [any where user.id : "S-1-*"]',
    "any where `odd-name`.`x.y` == 1 or a.b.c.d == true",
)

EVENT = {
    "@timestamp": "2026-03-01T10:00:00Z",
    "event": {"category": ["process"], "type": ["start"], "code": "1", "action": "x", "id": "7"},
    "host": {"id": "h", "os": {"type": "linux"}},
    "user": {"id": "S-1-5-18"},
    "process": {
        "name": "CMD.exe",
        "args": ["b", "c"],
        "pid": 7,
        "parent": {"name": "a"},
        "Ext": {"token": {"level": "high"}, "signature": [{"status": "trusted"}, {"status": None}]},
        "hash": {"md5": "0"},
    },
    "data_stream": {"dataset": "a.b", "type": "logs", "namespace": "default"},
    "message": "text",
}


def changed(**changes: Any) -> dict[str, Any]:
    """The event with values at paths (`__` for a dot); None takes the root away."""
    document = json.loads(json.dumps(EVENT))
    for path, value in changes.items():
        *heads, last = path.split("__")
        node = document
        for head in heads:
            node = node.setdefault(head, {})
        node[last] = value
    return document


def text(old: str, new: str) -> bytes:
    whole = json.dumps(EVENT)
    assert old in whole
    return whole.replace(old, new).encode()


HOSTILE: list[Any] = [
    EVENT,
    changed(process__name=["x", "cmd.EXE", None, 3]),
    changed(process__name=[["cmd.exe"], "x"]),
    changed(process__name={"a": "cmd.exe"}),
    changed(process=[{"name": "cmd.exe"}, {"args": "b"}]),
    changed(process="x"),
    changed(process=None),
    changed(event=None),
    changed(event={}),
    {**changed(event=None), "event.category": "process", "event.type": "start"},
    {**EVENT, "process.name": "powershell.exe"},
    {**EVENT, "process.parent": {"name": "b"}},
    {**EVENT, "process.Ext": {"token.level": "high"}},
    changed(**{"process__parent.name": "a", "process__parent": {}}),
    changed(**{"process__Ext.token.level": "high", "process__Ext": None}),
    changed(process__Ext={"token.level": "high"}),
    changed(process__Ext=[{"token": {"level": "high"}}, "x"]),
    changed(event__code=1),
    changed(event__code=1.0),
    changed(event__code=True),
    changed(event__code=[1, "1", None]),
    changed(event__category="process"),
    changed(event__category=[]),
    changed(event__category=[None]),
    changed(event__action="ever new \u0130\u03a3"),
    changed(process__pid="7"),
    changed(process__pid=2**70),
    changed(process__pid=-0.0),
    changed(process__args=["-SAFE\u017f", "b"]),
    changed(process__args=[str(number) for number in range(3_000)] + ["b"]),
    changed(process__args=[str(number) for number in range(MAX_ELEMENTS + 1)] + ["-safe"]),
    changed(process__args=["b"] * MAX_ELEMENTS, process__name=["-"] * MAX_ELEMENTS + ["cmd.exe"]),
    changed(user__id=["?"] * MAX_ELEMENTS + ["S-1-5"], file__path=["/etc/x"] * (MAX_ELEMENTS + 1)),
    changed(process__name="x" * 100_000 + "cmd.exe"),
    changed(data_stream=None),
    changed(data_stream__dataset=""),
    changed(data_stream__dataset=["", "a.b"]),
    changed(data_stream__dataset=7),
    {**changed(), "data_stream.dataset": "c.d"},
    {**changed(data_stream=None), "endgame": {}},
    {**changed(data_stream=None), "@metadata": {"beat": "winlogbeat", "version": "8"}},
    {**changed(data_stream=None), "agent": {"type": "filebeat", "version": 8}},
    {"_source": EVENT, "_id": "1", "_index": "x"},
    {"_source": EVENT, "other": "1", **EVENT},
    {"fields": {"process.name": ["cmd.exe"], "event.category": ["process"]}},
    {"message": json.dumps(EVENT), "host": {"id": "outer"}},
    {"message": json.dumps(EVENT), "event.kind": "x"},
    [EVENT, EVENT],
    {},
    b"[]",
    b"7",
    b"",
    b"{",
    json.dumps(EVENT).encode() + b" ",
    json.dumps(EVENT).encode() + b"x",
    b"\xef\xbb\xbf" + json.dumps(EVENT).encode(),
    text('"text"', '"\xff"').replace("\xff".encode(), b"\xff"),
    text('"text"', '"t\u00e4xt"'),
    text('"text"', '"\\ud800"'),
    text('"text"', '"\\q"'),
    text('"text"', "1e999"),
    text('"CMD.exe"', '"\\ud800cmd"'),
    text('"CMD.exe"', "1e999"),
    text('"CMD.exe"', "1" * 5_000),
    text('"CMD.exe"', "NaN"),
    text('"name": "CMD.exe"', '"name": "y", "name": "cmd.exe"'),
    text('"name": "CMD.exe"', '"n\\u0061me": "cmd.exe"'),
    text('"name": "CMD.exe"', '"name": "cmd.exe", "n\\u0061me": "y"'),
    text('"process": {', '"process": {"name": "cmd.exe"}, "process": {'),
    text('"message"', '"proces\\u0073\\u002ename"'),
    text('"text"', "[" * 300 + "]" * 300),
    text('"text"', "[" * 100_000 + "]" * 100_000),
    text('"text"', '{"a":' * 100_000 + "1" + "}" * 100_000),
    text('"Ext": {', '"Ext": {"deep": ' + "[" * 300 + "]" * 300 + ", "),
]


@pytest.mark.parametrize("hot", [0, HOT])
def test_hostile_records(hot: int) -> None:
    rules = [compiled(query, number) for number, query in enumerate(RULES)]
    pair = Pair(rules, hot)
    for _ in range(2 * HOT):
        pair.check(records(HOSTILE))
    assert pair.narrow > pair.events // 4
    assert pair.found > pair.events // 4


@pytest.mark.parametrize("source", [SourceIndex(drop_unknown=True), SourceIndex("logs-a.b-x", force=True)])
def test_what_is_said_of_topics(source: SourceIndex) -> None:
    rules = [
        compiled(query, number, index=("logs-a*", "-*y")[: 1 + number % 2])
        for number, query in enumerate(RULES)
    ]
    pair = Pair(rules, 0, {"said": source})
    for _ in range(3):
        pair.check(records(HOSTILE, "said"))
        pair.check(records(HOSTILE, "other"))
    assert pair.found


def test_ever_new_keys_and_actions_are_bounded() -> None:
    pair = Pair([compiled(query, number) for number, query in enumerate(RULES)], 0)
    pair.check(
        records([changed(**{f"key{number}": 1, "event__action": f"a{number}"}) for number in range(300)])
    )
    known = pair.fast.narrowing._known[""]
    pair.check(records([{**EVENT, f"key{number}": 1} for number in range(300, 600)]))
    assert len(known) < MAX_LEARNED
    assert len(pair.fast._planner._plans) < 5


def test_recorded_events_as_they_are_and_mutated() -> None:
    folder = shared_data("elastic-rules")
    rules = [compile_rule(rule) for rule in load([folder], types=FIELD_TYPES).rules]
    with gzip.open(shared_data("windows-recorded.ndjson.gz")) as lines:
        values = [line for number, line in enumerate(lines) if number % 60 == 0]
    chosen = random.Random(4)
    pair = Pair(rules, 1)
    pair.check(records(values))
    pair.check(records([mutated_event(msgspec.json.decode(value), chosen) for value in values]))
    assert pair.narrow > pair.events // 2
    assert pair.found
