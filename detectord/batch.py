"""One query over a finite list of events, answered as Elasticsearch's batch search would.

The door for tests and notebooks, and for the tests beside rules. It is the compiled matchers and the
sequence machine of the engine without what a stream adds: no bytes, no hits on their way, no watermark;
events are put in order and walked through once.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule, JoinKey, KeyValue
from detectord.compiler.keys import join_keys
from detectord.engine.hits import Tie, canonical_key, tie
from detectord.engine.sequences import Row, new_row, walk
from detectord.eql import analyse, ast
from detectord.eql.constants import constant
from detectord.eql.diagnostics import render
from detectord.eql.source import Source
from detectord.events.ecs import FIELD_TYPES
from detectord.events.event import Event
from detectord.events.index import IndexGate, virtual_index
from detectord.events.record import Record
from detectord.events.time import parse_instant
from detectord.rules.rule import Rule

MAX_KEY_TUPLES = 1_000


class QueryError(ValueError):
    """The query is not one that can be answered; the message is what its author needs to see."""


class Match(NamedTuple):
    """One result. `events` are indexes into the events given, None for a missing-event slot."""

    events: tuple[int | None, ...]
    join_keys: tuple[KeyValue, ...] = ()


def match(
    query: str,
    events: Sequence[Mapping[str, Any]],
    *,
    timestamp_field: str = "@timestamp",
    tiebreaker_field: str | None = None,
    event_category_field: str = "event.category",
    size: int | None = None,
) -> list[Match]:
    """Evaluate an EQL query over a finite list of events.

    Events are ordered by (timestamp, tiebreaker, place in the list); one without a timestamp takes no
    part in a sequence. A number or a text of digits in the timestamp field is milliseconds since the
    epoch, as in Elasticsearch; any other text is ISO 8601. Results come in Elasticsearch's order:
    events by time, sequences by their last event, then by key. `size` keeps that many of the most
    recent ones, unless the query says itself what to keep with the pipes `head` and `tail`.

    Raises:
        QueryError: the query does not parse or uses what is not supported.
        ValueError: `size` is negative.
        TypeError: an event is not a mapping.
    """
    if size is not None and size < 0:
        raise ValueError(f"size is {size}; it cannot be negative")
    for index, event in enumerate(events):
        if not isinstance(event, Mapping):
            raise TypeError(f"event {index} is a {type(event).__name__}, not a mapping")
    source = Source(query)
    parsed = analyse(source, types=FIELD_TYPES, stream=False)
    errors = [finding for finding in parsed.diagnostics if finding.code.is_error]
    if errors or parsed.query is None:
        raise QueryError("\n".join(render(finding, source) for finding in errors))
    rule = Rule(
        rule_id="query",
        name="query",
        query_text=query,
        query=parsed.query,
        category_field=event_category_field,
        timestamp_field=timestamp_field,
        tiebreaker_field=tiebreaker_field or "",
    )
    compiled = compile_rule(rule)
    if isinstance(parsed.query.body, ast.Sequence):
        compiled = dataclasses.replace(compiled, maxspan=parsed.query.body.maxspan)
    found = _evaluate(compiled, events, lambda e: elasticsearch_instant(e, timestamp_field))
    for pipe in parsed.query.pipes:
        found = _limited(found, pipe)
    if size is None or parsed.query.pipes:
        return found
    return found[max(0, len(found) - size) :]


def match_rule(rule: CompiledRule, events: Sequence[Mapping[str, Any]]) -> list[Match]:
    """Evaluate a compiled rule over a finite list of events, index gate included; instants are read
    as the daemon reads them."""
    gate = IndexGate(rule.rule.index)
    return _evaluate(
        rule,
        events,
        lambda event: next(iter(event.instants(rule.timestamp_field)), None),
        lambda event: gate.admits(virtual_index(event)),
    )


def elasticsearch_instant(event: Event, path: str) -> int | None:
    """The time of an event (ns) as Elasticsearch's default date format reads it."""
    for value in event.values(path):
        if isinstance(value, bool):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            continue
        if isinstance(value, (int, float)):
            return int(value * 1_000_000)
        text = str(value)
        if len(text) < 100 and re.fullmatch(r"-?\d+(\.\d+)?", text) and not re.fullmatch(r"\d{4}", text):
            whole, _, fraction = text.partition(".")
            return int(whole) * 1_000_000 + int((fraction + "000000")[:6])
        return parse_instant(text)
    return None


_Place = tuple[int, Tie, int]


def _evaluate(
    rule: CompiledRule,
    documents: Sequence[Mapping[str, Any]],
    time_of: Callable[[Event], int | None],
    admits: Callable[[Event], bool] | None = None,
) -> list[Match]:
    ordered: list[tuple[_Place, Event]] = []
    timeless: list[tuple[_Place, Event]] = []
    for index, document in enumerate(documents):
        event = Event(dict(document), Record("", 0, index, None, None, b"", index), None)
        if admits is not None and not admits(event):
            continue
        time = time_of(event)
        order = tie(rule, event) if rule.tiebreaker_field else (2, "", 0)
        place = (0 if time is None else time, order, index)
        (timeless if time is None else ordered).append((place, event))
    ordered.sort(key=lambda pair: pair[0])
    timeless.sort(key=lambda pair: pair[0])
    if rule.is_sequence:
        return _sequences(rule, ordered)
    matcher = rule.steps[0].matcher
    return [Match((place[2],)) for place, event in (*ordered, *timeless) if matcher(event)]


def _sequences(rule: CompiledRule, ordered: Sequence[tuple[_Place, Event]]) -> list[Match]:
    rows: dict[str, tuple[JoinKey, Row[int]]] = {}
    found: list[Match] = []
    for (time, _, index), event in ordered:
        satisfied: dict[str, tuple[JoinKey, list[int]]] = {}
        for number, step in enumerate(rule.steps):
            if step.matcher(event):
                for key in join_keys(step, event, limit=MAX_KEY_TUPLES)[0]:
                    satisfied.setdefault(canonical_key(key), (key, []))[1].append(number)
        for name, (key, steps) in sorted(satisfied.items(), key=lambda item: key_order(item[1][0])):
            _, row = rows.setdefault(name, (key, new_row(len(rule.steps))))
            _, complete = walk(row, steps, time, index, rule.maxspan)
            if complete is not None:
                found.append(Match(complete.events, key))
    return found


def key_order(key: JoinKey) -> tuple[tuple[int, float, str], ...]:
    """Join keys in Elasticsearch's order: null first, numbers by value, text by code point."""
    return tuple(
        (0, 0.0, "") if part is None
        else (1, float(part), "") if isinstance(part, (bool, int, float))
        else (2, 0.0, part)
        for part in key
    )  # fmt: skip


def _limited(found: list[Match], pipe: ast.Pipe) -> list[Match]:
    count = constant(pipe.args[0])
    assert isinstance(count, int), "checked by eql.check"
    return found[:count] if pipe.name == "head" else found[max(0, len(found) - count) :]
