"""The detector: what one event may do, and what is told when something is left out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule, RuleSet
from detectord.engine.detector import MAX_COMPLETED, Detector, EngineSettings
from detectord.engine.watermark import END_OF_TIME
from detectord.eql import analyse
from detectord.eql.source import Source
from detectord.events.event import Event
from detectord.events.record import Record
from detectord.rules.rule import Rule

SECOND = 1_000_000_000


def compiled(query: str) -> CompiledRule:
    parsed = analyse(Source(query))
    assert parsed.query is not None, parsed.diagnostics
    return compile_rule(Rule(rule_id="r", name="r", query_text=query, query=parsed.query))


class Feed:
    """A detector of one rule, fed with documents a second apart."""

    def __init__(self, rule: CompiledRule, **settings: Any) -> None:
        self.rule = rule
        self.events: list[Event] = []
        self.detector = Detector(
            RuleSet.of([rule]),
            EngineSettings(partitions=1, **settings),
            lambda record, _: self.events[record.offset],
        )

    def run(self, *documents: dict[str, Any]) -> list[tuple[int, ...]]:
        for number, document in enumerate(documents):
            record = Record("t", 0, number, None, None, b"x", number)
            self.events.append(Event(document, record, number * SECOND))
            _, hits = self.detector.evaluate(self.events[-1], Counter())
            self.detector.receive(hits)
        found = self.detector.advance(END_OF_TIME)
        return [tuple(event.record.offset for event in each.detection.events) for each in found]


@pytest.mark.parametrize("absent", ["", " ![any where c == 1]"])
def test_sequences_that_one_event_completes_are_capped_and_told(absent: str) -> None:
    keys = [f"k{number}" for number in range(MAX_COMPLETED + 50)]
    query = f"sequence by k with maxspan=1m [any where a == 1] [any where b == 1]{absent}"
    feed = Feed(compiled(query))
    assert feed.run({"a": 1, "k": keys}, {"b": 1, "k": keys}) == [(0, 1)] * MAX_COMPLETED
    assert feed.detector.tallies["key_tuples_capped", "r"] == 50
    assert not feed.detector.partials()


def test_a_condition_that_raises_in_its_turn_is_told_and_leaves_the_rest_alone() -> None:
    rule = compiled("sequence with maxspan=1m [any where a == 1] as x [any where b == x.b]")
    broken = dataclasses.replace(
        rule, steps=(rule.steps[0], dataclasses.replace(rule.steps[1], joint=lambda event, named: 1 / 0 > 0))
    )
    feed = Feed(broken)
    assert feed.run({"a": 1, "b": 2}, {"b": 2}) == []
    assert feed.detector.tallies["rule_error", "r", "ZeroDivisionError"] == 1


@pytest.mark.parametrize("absent", ["", " ![any where c == 1]"])
def test_a_match_that_cannot_be_told_is_counted_and_leaves_nothing_behind(absent: str) -> None:
    def forgotten(record: Record, sid: str) -> Event:
        raise LookupError(sid)

    feed = Feed(compiled(f"sequence with maxspan=1m [any where a == 1] [any where b == 1]{absent}"))
    broken = Detector(RuleSet.of([feed.rule]), EngineSettings(partitions=1), forgotten)
    feed.detector = broken
    assert feed.run({"a": 1}, {"b": 1}) == []
    assert broken.tallies["rule_error", "r", "LookupError"] == 1
    assert not [change.key for change in broken.take_changes() if change.key[:1] == b"e" and change.value]


def test_a_process_forgotten_to_keep_the_bound_is_told() -> None:
    feed = Feed(compiled("any where child of [any where m == 1]"), max_lineage=2)
    starts = [
        {"host.id": "h", "event": {"category": "process", "type": "start"}, "process.entity_id": f"p{number}"}
        for number in range(5)
    ]
    feed.run(*starts)
    assert feed.detector.tallies["lineage_forgotten",] == 3


def test_an_event_of_many_hosts_is_of_none() -> None:
    feed = Feed(compiled("any where event of [any where m == 1]"))
    event = {"event": {"category": "process", "type": "start"}, "process.pid": 7}
    many = {**event, "host.id": [f"h{number}" for number in range(300)], "process.entity_id": "p", "m": 1}
    assert feed.run(
        many, {**event, "host.id": "h1"}, {"host.id": ["h2", "h3"], "process.entity_id": "p"}
    ) == [(2,)]
    assert not any(kind == "rule_error" for kind, *_ in feed.detector.tallies)


def test_no_number_is_too_large_for_a_pid() -> None:
    feed = Feed(compiled("any where event of [any where m == 1]"))
    start = {"event": {"category": "process", "type": "start"}, "host.id": "h", "m": 1}
    assert feed.run({**start, "process.pid": 10**400}, {**start, "process.pid": "9" * 400}) == []


def test_until_and_missing_steps_beside_relatives() -> None:
    query = """sequence by u with maxspan=1m [any where a == 1 and not child of [any where m == 1]]
      ![any where c == 1] [any where b == 1] until [any where d == 1]"""
    first, last = {"host.id": "h", "u": 1, "a": 1}, {"host.id": "h", "u": 1, "b": 1}
    for between, found in (({"c": 1}, []), ({"d": 1}, []), ({"e": 1}, [(0, 2)])):
        assert Feed(compiled(query)).run(first, {"host.id": "h", "u": 1, **between}, last) == found


def test_by_order_of_arrival_an_old_event_starts_no_endless_search() -> None:
    feed = Feed(compiled("sequence with maxspan=1m [any where a == 1] with runs=4"), by_arrival=True)
    assert feed.run({"a": 1}) == []
    record = Record("t", 0, 1, None, None, b"x", 1)
    feed.events.append(Event({"a": 1}, record, -(10**6) * SECOND))
    _, hits = feed.detector.evaluate(feed.events[-1], Counter())
    feed.detector.receive(hits)
    assert feed.detector.advance(10**6 * SECOND) == []
    assert not feed.detector.partials()


def test_by_order_of_arrival_events_far_apart_are_no_sequence_and_no_sample() -> None:
    for query in (
        "sequence with maxspan=1m [any where a == 1] [any where b == 1]",
        "sample by k [any where a == 1] [any where b == 1]",
    ):
        feed = Feed(compiled(query), by_arrival=True)
        for number, (document, time) in enumerate([({"a": 1, "k": 1}, 10**6), ({"b": 1, "k": 1}, 0)]):
            feed.events.append(
                Event(document, Record("t", 0, number, None, None, b"x", number), time * SECOND)
            )
            _, hits = feed.detector.evaluate(feed.events[-1], Counter())
            feed.detector.receive(hits)
        assert feed.detector.advance(10**6 * SECOND) == []


def test_what_needs_no_company_is_asked_before_an_event_may_be_trimmed() -> None:
    rule = compiled(
        'any where child of [any where m == 1] and x == "long" and (y == 1 or event of [any where n == 1])'
    )
    joint = rule.steps[0].joint
    assert joint is not None
    related = {"child of": lambda inner: True, "event of": lambda inner: True}
    assert joint(Event({}, Record("t", 0, 0, None, None, b"", 0), 0), related)
    assert not rule.steps[0].matcher(Event({}, Record("t", 0, 0, None, None, b"", 0), 0))


def test_the_work_of_array_searches_has_a_bound() -> None:
    numbers = list(range(10_000))
    feed = Feed(compiled("any where _arraysearch(a, $v, $v == b)"))
    assert feed.run({"a": numbers, "b": [-1 - each for each in numbers]}) == []
    query = "any where _arraysearch(a, $v, _arraysearch(a, $w, $v.x == 1 and $w.x == 2))"
    assert Feed(compiled(query)).run({"a": [[{}]] * 3_000}) == []
