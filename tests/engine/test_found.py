"""From the steps that an event satisfies to rules, hits and counts; and a matcher that raises."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule, JoinKey, RuleSet
from detectord.engine.bounds import MAX_KEY_LENGTH
from detectord.engine.dispatch import Dispatcher
from detectord.engine.found import Found, found_of
from detectord.engine.tallies import Tallies
from detectord.eql import analyse
from detectord.eql.source import Source
from detectord.events.event import Event
from detectord.events.record import Record
from detectord.rules.rule import Rule

SEQUENCE = """sequence by k with maxspan=1m [any where a == 1] ![any where b == 1] [any where c == 1]
  until [any where d == 1]"""


def compiled(query: str, rule_id: str = "r") -> CompiledRule:
    parsed = analyse(Source(query))
    assert parsed.query is not None, parsed.diagnostics
    return compile_rule(Rule(rule_id=rule_id, name="R", query_text=query, query=parsed.query))


def event(**document: Any) -> Event:
    return Event(document, Record("t", 0, 0, None, None, b""), 0)


def follow(
    satisfied: list[tuple[CompiledRule, int]], limit: int = 100, **document: Any
) -> tuple[Found, Tallies]:
    tallies: Tallies = Counter()
    return found_of(event(**document), satisfied, tallies, max_key_tuples=limit), tallies


def steps(found: Found) -> list[tuple[str, dict[int, tuple[JoinKey, ...]]]]:
    return [(hit.rule.rule.rule_id, dict(hit.steps)) for hit in found.hits]


def test_of_nothing_comes_nothing() -> None:
    assert follow([]) == (Found(), Counter())


def test_an_event_rule_matches_and_is_counted() -> None:
    first, second = compiled("any where a == 1", "r1"), compiled("any where a >= 1", "r2")
    found, tallies = follow([(first, 0), (second, 0)])
    assert (found.rules, found.hits) == ([first, second], [])
    assert tallies == {("rule_match", "r1", "event"): 1, ("rule_match", "r2", "event"): 1}


def test_the_steps_of_a_sequence_are_one_hit_last_step_first_in_whatever_order_they_were_found() -> None:
    rule = compiled(SEQUENCE)
    found, tallies = follow([(rule, 2), (rule, 0), (rule, 3), (rule, 1)], k="x")
    assert not found.rules
    [hit] = found.hits
    assert hit.steps == tuple((number, (("x",),)) for number in (3, 2, 1, 0))
    assert tallies == {("rule_match", "r", label): 1 for label in ("0", "1", "2", "until")}


def test_steps_of_several_sequences_do_not_mix() -> None:
    first, second = compiled(SEQUENCE, "r1"), compiled(SEQUENCE.replace("1m", "2m"), "r2")
    found, _ = follow([(first, 0), (second, 2), (first, 2)], k="x")
    assert steps(found) == [("r1", {0: (("x",),), 2: (("x",),)}), ("r2", {2: (("x",),)})]


def test_a_step_without_a_key_is_counted_and_no_hit() -> None:
    found, tallies = follow([(compiled(SEQUENCE), 0)])
    assert (found, tallies) == (Found(), {("rule_match", "r", "0"): 1})


@pytest.mark.parametrize(("limit", "capped"), [(2, 1), (3, 0)])
def test_key_tuples_beyond_the_limit_are_left_out_and_counted(limit: int, capped: int) -> None:
    found, tallies = follow([(compiled(SEQUENCE), 0)], limit, k=["x", "y", "z"])
    assert steps(found) == [("r", {0: (("x",), ("y",), ("z",))[:limit]})]
    assert tallies["key_tuples_capped", "r"] == capped


def test_a_long_key_goes_on_shortened() -> None:
    found, _ = follow([(compiled(SEQUENCE), 0)], k="x" * 100_000)
    [[_, taken]] = steps(found)
    [[key]] = taken[0]
    assert isinstance(key, str)
    assert len(key) <= MAX_KEY_LENGTH


def test_a_step_whose_turn_tells_is_not_counted_before() -> None:
    rule = compiled("sequence with maxspan=1m [any where a == 1] as x [any where b == x.b]")
    found, tallies = follow([(rule, 0), (rule, 1)], b=1)
    assert steps(found) == [("r", {0: ((),), 1: ((),)})]
    assert tallies == {("rule_match", "r", "0"): 1}


def test_a_matcher_that_raises_is_counted_and_the_other_rules_match() -> None:
    good, bad = compiled("any where a == 1", "good"), compiled("any where a >= 1", "bad")
    broken = dataclasses.replace(bad.steps[0], matcher=lambda _: 1 / 0 > 0)
    dispatcher = Dispatcher(RuleSet.of([good, dataclasses.replace(bad, steps=(broken,))]))
    tallies: Tallies = Counter()
    assert dispatcher.find(event(a=1, **{"event.category": "x"}), tallies).rules == [good]
    assert tallies["rule_error", "bad", "ZeroDivisionError"] == 1
