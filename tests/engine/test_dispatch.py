"""Which rules see an event: what the operator says of its topic's index, and open gates."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from detectord.compiler import compile_rule
from detectord.compiler.compiled import RuleSet
from detectord.engine.dispatch import Dispatcher
from detectord.engine.tallies import Tallies
from detectord.eql import ast
from detectord.events.event import Event
from detectord.events.index import SourceIndex
from detectord.events.record import Record
from detectord.rules.rule import Rule


def found(document: dict[str, Any], source: SourceIndex | None, **rule: Any) -> tuple[bool, Tallies]:
    """Whether a rule for `logs-a.*` sees an event of a topic, and what was counted."""
    query = ast.Query(ast.EventQuery(None, ast.Literal(True)))
    compiled = compile_rule(
        Rule(rule_id="r", name="R", query_text="any where true", query=query, index=("logs-a.*",), **rule)
    )
    indices = {} if source is None else {"t": source}
    dispatcher = Dispatcher(RuleSet.of([compiled]), topic_indices=indices)
    tallies: Tallies = Counter()
    event = Event({"event.category": "process", **document}, Record("t", 0, 0, None, None, b""), 0)
    return bool(dispatcher.find(event, tallies).rules), tallies


@pytest.mark.parametrize(
    ("document", "source", "seen", "unknown"),
    [
        ({"event.dataset": "a.b"}, None, True, 0),
        ({"event.dataset": "b.b"}, None, False, 0),
        ({}, None, True, 1),
        ({}, SourceIndex(drop_unknown=True), False, 1),
        ({"event.dataset": "a.b"}, SourceIndex(drop_unknown=True), True, 0),
        ({}, SourceIndex("logs-a.b-default", drop_unknown=True), True, 0),
        ({}, SourceIndex("logs-b.b-default"), False, 0),
        ({"event.dataset": "a.b"}, SourceIndex("logs-b.b-default"), True, 0),
        ({"event.dataset": "a.b"}, SourceIndex("logs-b.b-default", force=True), False, 0),
        ({"event.dataset": "b"}, SourceIndex("logs-a.{event.dataset}-x"), True, 0),
    ],
)
def test_what_is_said_of_a_topic(
    document: dict[str, Any], source: SourceIndex | None, seen: bool, unknown: int
) -> None:
    matched, tallies = found(document, source)
    assert (matched, tallies["unknown_index", "t"]) == (seen, unknown)


def test_an_open_gate_lets_every_event_through() -> None:
    assert found({"event.dataset": "b.b"}, None, ignore_index=True)[0]
    assert not found({}, SourceIndex(drop_unknown=True), ignore_index=True)[0]
