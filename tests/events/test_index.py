"""Virtual indices and index patterns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.events.event import Event
from detectord.events.index import TELLING, UNKNOWN_INDEX, IndexGate, IndexGates, virtual_index
from detectord.events.record import Record


def event(document: dict[str, Any]) -> Event:
    return Event(document, Record("t", 0, 0, None, None, b""), None)


@pytest.mark.parametrize(
    ("document", "index"),
    [
        ({"data_stream": {"type": "logs", "dataset": "a.b", "namespace": "prod"}}, "logs-a.b-prod"),
        ({"data_stream.dataset": "a.b", "agent.type": "filebeat"}, "logs-a.b-default"),
        ({"data_stream.type": "logs", "event.dataset": "x.y"}, "logs-x.y-default"),
        ({"_index": "eu:.ds-logs-a.b-default-2025.10.11-000042"}, "logs-a.b-default"),
        ({"_index": "winlogbeat-8.1.0"}, "winlogbeat-8.1.0"),
        ({"@metadata": {"raw_index": "logs-z-default"}}, "logs-z-default"),
        ({"kibana.alert.rule.rule_id": "r"}, ".alerts-security.alerts-default"),
        (
            {"kibana": {"alert": {"rule": {"rule_id": "r"}}, "space_ids": ["soc"]}},
            ".alerts-security.alerts-soc",
        ),
        ({"event.module": "endgame", "agent.version": "3.5"}, "endgame-3.5"),
        ({"endgame": {"x": 1}}, "endgame-0"),
        ({"@metadata": {"beat": "winlogbeat", "version": "8.9.1"}}, "winlogbeat-8.9.1"),
        ({"agent": {"type": "auditbeat", "version": "8.9.1"}}, "auditbeat-8.9.1"),
        ({"agent": {"type": "endpoint"}, "event.dataset": "a.b"}, "logs-a.b-default"),
        ({"event.dataset": "plain"}, UNKNOWN_INDEX),
        ({}, UNKNOWN_INDEX),
    ],
)
def test_virtual_index(document: dict[str, Any], index: str) -> None:
    assert virtual_index(event(document)) == index


@pytest.mark.parametrize(
    ("document", "told", "force", "index"),
    [
        ({}, "logs-lab-default", False, "logs-lab-default"),
        ({"event.dataset": "a.b"}, "logs-lab-default", False, "logs-a.b-default"),
        ({"event.dataset": "a.b"}, "logs-lab-default", True, "logs-lab-default"),
        ({"event.dataset": "plain"}, "logs-{event.dataset}-x", False, "logs-plain-x"),
        ({}, "logs-{event.dataset}-x", False, UNKNOWN_INDEX),
        ({}, "logs-{event.dataset}-x", True, UNKNOWN_INDEX),
    ],
)
def test_what_the_source_says(document: dict[str, Any], told: str, force: bool, index: str) -> None:
    assert virtual_index(event(document), told, force=force) == index


@pytest.mark.parametrize(
    ("patterns", "index", "admitted"),
    [
        ([], "anything", True),
        (["logs-a*"], UNKNOWN_INDEX, True),
        (["logs-endpoint.events.process*"], "logs-endpoint.events.process-default", True),
        (["logs-endpoint.events.process-*"], "logs-endpoint.events.process-default", True),
        (["logs-endpoint.events.process-*"], "logs-endpoint.events.file-default", False),
        (["logs-endpoint*"], "logs-endpoint.alerts-default", True),
        (["a", "b-*"], "b-1", True),
        (["a*a"], "a", False),
        (["a*a"], "aa", True),
        (["*x*y*"], "1x2y3", True),
        (["*x*y*"], "1y2x3", False),
        (["ab*bc"], "abc", False),
        (["logs?x"], "logs-x", False),
        (["LOGS-*"], "logs-x", False),
        (["*:logs-*", "eu:x"], "logs-1", True),
        (["eu:x"], "x", True),
        (["logs-*", "-logs-a*"], "logs-a1", False),
        (["logs-*", "-logs-a*"], "logs-b1", True),
        (["-logs-a*", "logs-*"], "logs-a1", True),
        (["logs-*", "-eu:logs-a*"], "logs-a1", False),
        (["eu:logs-*", "eu:-logs-a*"], "logs-a1", False),
        (["logs-*", "-logs-a*", "logs-ab*"], "logs-ab", True),
    ],
)
def test_gate(patterns: list[str], index: str, admitted: bool) -> None:
    assert IndexGate(patterns).admits(index) is admitted


class Asked(Event):
    """An event that notes what it is asked for."""

    def values(self, path: str) -> Any:
        assert path in TELLING
        return super().values(path)


@given(
    st.dictionaries(
        st.sampled_from(TELLING), st.sampled_from(["", "x", "a.b", "endgame", "filebeat", 8, None])
    )
)
def test_an_index_is_told_by_the_fields_that_tell_it(fields: dict[str, Any]) -> None:
    assert virtual_index(Asked(fields, Record("t", 0, 0, None, None, b""), None))


patterns = st.text(st.sampled_from("ab-*?:"), max_size=5)


@given(st.lists(st.lists(patterns, max_size=3), max_size=30), st.text(st.sampled_from("ab-"), max_size=5))
def test_the_gates_of_many_rules_admit_as_each_does(rules: list[list[str]], index: str) -> None:
    for name in (index, UNKNOWN_INDEX):
        admitted = IndexGates(rules).admitting(name)
        assert [admitted >> number & 1 == 1 for number in range(len(rules))] == [
            IndexGate(own).admits(name) for own in rules
        ]


def test_many_stars_take_linear_time() -> None:
    assert not IndexGate(["*a" * 2_000 + "b"]).admits("a" * 100_000)
