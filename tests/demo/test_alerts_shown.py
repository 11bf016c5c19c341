"""What the demonstration makes of the alert topic, before it is printed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from detectord.demo.inbox import PATIENCE, Alert, Assembly
from detectord.demo.play import Outcome, Script
from detectord.demo.words import MOST_CHARACTERS, happened

NOW = 1_767_225_600_000_000_000


def document(uuid: str, **more: Any) -> dict[str, Any]:
    return {
        "kibana.alert.uuid": uuid,
        "kibana.alert.rule.rule_id": "r",
        "kibana.alert.rule.name": "Rule",
        "kibana.alert.severity": "high",
        "kibana.alert.risk_score": 73,
        "kibana.alert.original_time": "2026-01-01T00:00:00.000Z",
        "host": {"id": "h", "name": "web-01.example.com", "hostname": "web-01"},
        "detectord": {},
        **more,
    }


def block(index: int, **more: Any) -> dict[str, Any]:
    return document(f"b{index}", **{"kibana.alert.group.id": "s", "kibana.alert.group.index": index}, **more)


SHELL = document(
    "s", **{"kibana.alert.group.id": "s"}, detectord={"sequence": {"stages": [{"index": 0}, {"index": 1}]}}
)
WROTE = {"event": {"category": ["file"]}, "process": {"name": "ld"}, "file": {"path": "/tmp/a"}}
CALLED = {
    "event": {"category": ["network"]},
    "process": {"name": "a"},
    "destination": {"ip": "203.0.113.1", "port": 80},
}
PROCESS = {"event": {"category": ["process"], "action": "exec"}}


def test_an_alert_of_one_event_is_whole_at_once_and_comes_once() -> None:
    assembly = Assembly()
    assembly.put(document("e"), 0)
    assembly.put(document("e"), 0)
    (alert,) = assembly.take(0)
    assert (alert.uuid, alert.events, alert.host_name) == ("e", 1, "web-01")
    assembly.put(document("e"), 1)
    assert assembly.take(1) == []


@pytest.mark.parametrize("order", [*itertools.permutations((SHELL, block(0, **WROTE), block(1, **CALLED)))])
def test_a_sequence_is_told_in_its_order_however_its_records_come(order: tuple[dict[str, Any], ...]) -> None:
    assembly = Assembly()
    taken: list[Alert] = []
    for record in (*order, *order):
        taken += assembly.take(0)
        assembly.put(record, 0)
    taken += assembly.take(0)
    (alert,) = taken
    assert alert.events == 2
    assert alert.story == "ld wrote /tmp/a, then a connected to 203.0.113.1 port 80"


def test_blocks_alone_are_no_alert_and_without_them_it_goes_after_a_while() -> None:
    assembly = Assembly()
    assembly.put(block(0, **WROTE), 0)
    assert assembly.take(PATIENCE * 9) == []
    assembly.put(SHELL, 100)
    assert assembly.take(100 + PATIENCE) == []
    (alert,) = assembly.take(100.1 + PATIENCE)
    assert (alert.events, alert.story) == (2, "ld wrote /tmp/a")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (WROTE, "ld wrote /tmp/a"),
        (CALLED, "a connected to 203.0.113.1 port 80"),
        (
            {**PROCESS, "process": {"command_line": "id -u", "parent": {"name": "sh"}}},
            "sh started id -u",
        ),
        (
            {**PROCESS, "process": {"args": ["usermod", "-o"]}, "user": {"name": "root"}},
            "root started usermod -o",
        ),
        ({"event": {"category": ["process"], "action": "fork"}, "process": {"name": "awk"}}, "awk forked"),
        ({**PROCESS, "process": {"name": "x"}}, "x was started"),
        ({"event": {"category": ["iam"]}, "kibana.alert.reason": "iam event"}, "iam event"),
        ({}, ""),
        ({"event": "odd", "process": [], "kibana.alert.reason": "odd event"}, "odd event"),
        ({"event": {"category": ["file"]}, "process": {"name": "a\x1b[2J"}}, "a·[2J wrote a file"),
    ],
)
def test_what_happened(event: dict[str, Any], words: str) -> None:
    assert happened(event) == words


def test_a_long_story_is_cut() -> None:
    long = {"event": {"category": ["file"]}, "process": {"name": "x" * 999}}
    assert happened(long) == "x" * (MOST_CHARACTERS - 1) + "…"


def came(rule_id: str, host_id: str, events: int) -> Alert:
    return Alert("u", rule_id, "Rule", "high", 73, host_id, "web-01", "", events, "")


def test_the_outcome_knows_what_is_missing_and_what_is_too_much() -> None:
    script = Script.of(1, 100, NOW)
    expected = [came(*attack.expected) for attack in script.attacks]
    assert Outcome(script, 1.0, expected).as_expected
    assert Outcome(script, 1.0, expected[1:]).missing == [script.attacks[0]]
    assert not Outcome(script, 1.0, expected[1:]).as_expected
    twice = Outcome(script, 1.0, [*expected, expected[2]])
    assert (twice.missing, twice.unexpected, twice.as_expected) == ([], [expected[2]], False)
    elsewhere = came(expected[0].rule_id, "another host", expected[0].events)
    wrong = Outcome(script, 1.0, [elsewhere, *expected[1:]])
    assert (wrong.missing, wrong.unexpected) == ([script.attacks[0]], [elsewhere])
    shorter = came(expected[3].rule_id, expected[3].host_id, 1)
    assert Outcome(script, 1.0, [*expected[:3], shorter, expected[4]]).missing == [script.attacks[3]]


def test_a_script_has_its_attacks_within_its_minute() -> None:
    script = Script.of(3, 200, NOW)
    told = list(script.events())
    assert len(told) == script.size
    assert told[0]["@timestamp"] >= "2025-12-31T23:59:00"
    assert told[-1]["@timestamp"] < "2026-01-01T00:00:01"
    last = max(document["@timestamp"] for attack in script.attacks for document in attack.events)
    assert last < "2026-01-01"
