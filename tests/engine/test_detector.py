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


def test_a_process_forgotten_to_keep_the_bound_is_told() -> None:
    feed = Feed(compiled("any where child of [any where m == 1]"), max_lineage=2)
    starts = [
        {"host.id": "h", "event": {"category": "process", "type": "start"}, "process.entity_id": f"p{number}"}
        for number in range(5)
    ]
    feed.run(*starts)
    assert feed.detector.tallies["lineage_forgotten",] == 3
