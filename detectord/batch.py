"""One query over a finite list of events, answered as Elasticsearch's batch search would.

The door for tests and notebooks, and for the tests beside rules. It is the compiled matchers, the state and
the turns of the engine without what a stream adds: no bytes, no hits on their way, no watermark; events are
put in order and walked through once.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule, JoinKey, KeyValue
from detectord.compiler.keys import join_keys
from detectord.engine.hits import EventHits, RuleHit, StepKeys, Tie, canonical_key, tie
from detectord.engine.lineage import Identity
from detectord.engine.samples import choices
from detectord.engine.state import StatePartition, by_digest
from detectord.engine.turn import Complete, Turn, machine_of
from detectord.eql import analyse, ast
from detectord.eql.constants import constant
from detectord.eql.dates import MILLISECOND, parse_date
from detectord.eql.diagnostics import render
from detectord.eql.source import Source
from detectord.eql.types import MAPPING_TYPES, Type, field_type
from detectord.events.event import Event
from detectord.events.fields import FIELD_TYPES, FieldTypes
from detectord.events.index import IndexGate, virtual_index
from detectord.events.record import Record
from detectord.rules.rule import Rule

MAX_KEY_TUPLES = 1_000
_NEVER = 2**70
"""A time behind every deadline."""


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
    types: Mapping[str, str] | None = None,
    max_samples_per_key: int = 1,
) -> list[Match]:
    """Evaluate an EQL query over a finite list of events.

    Events are ordered by (timestamp, tiebreaker, place in the list); one without a timestamp takes no
    part in a sequence. A number or a text of digits in the timestamp field is milliseconds since the
    epoch, as in Elasticsearch; any other text is ISO 8601. Results come in Elasticsearch's order:
    events by time, sequences by their last event, then by key. `size` keeps that many of the most
    recent ones (of samples: of the first ones by key), unless the query says itself what to keep with the
    pipes `head` and `tail`. `max_samples_per_key`: so many samples of a query `sample` a key.

    `types` are the Elasticsearch types of fields by path, as a mapping has them (`{"process.pid": "long"}`);
    they lie over the types we know. They stand for the whole mapping where Elasticsearch asks for one: an
    optional field (`?f`) that neither they nor any event have is the constant null.

    Raises:
        QueryError: the query does not parse or uses what is not supported.
        ValueError: `size` is negative, `max_samples_per_key` is less than 1, or `types` has the name of no
            Elasticsearch type.
        TypeError: an event is not a mapping.
    """
    if size is not None and size < 0:
        raise ValueError(f"size is {size}; it cannot be negative")
    if max_samples_per_key < 1:
        raise ValueError(f"max_samples_per_key is {max_samples_per_key}; it cannot be less than 1")
    known = FIELD_TYPES if types is None else _over_known_types(types)
    for index, event in enumerate(events):
        if not isinstance(event, Mapping):
            raise TypeError(f"event {index} is a {type(event).__name__}, not a mapping")
    source = Source(query)
    parsed = analyse(source, types=known, stream=False)
    errors = [finding for finding in parsed.diagnostics if finding.code.is_error]
    if errors or parsed.query is None:
        raise QueryError("\n".join(render(finding, source) for finding in errors))
    rule = Rule(
        rule_id="query",
        name="query",
        query_text=query,
        query=parsed.query if types is None else _without_unmapped(parsed.query, types, events),
        category_field=event_category_field,
        timestamp_field=timestamp_field,
        tiebreaker_field=tiebreaker_field or "",
    )
    compiled = compile_rule(rule, types=known)
    if isinstance(parsed.query.body, ast.Sequence):
        compiled = dataclasses.replace(compiled, maxspan=parsed.query.body.maxspan)
    found = _evaluate(
        compiled,
        events,
        lambda event: next(iter(event.dates(timestamp_field)), None),
        max_samples=max_samples_per_key,
    )
    for pipe in parsed.query.pipes:
        found = _limited(found, pipe)
    if size is None or parsed.query.pipes:
        return found
    if compiled.kind == "sample":  # which has no latest
        return found[:size]
    return found[max(0, len(found) - size) :]


def match_rule(rule: CompiledRule, events: Sequence[Mapping[str, Any]]) -> list[Match]:
    """Evaluate a compiled rule over a finite list of events, index gate included; instants are read
    as the daemon reads them."""
    gate = IndexGate(() if rule.rule.ignore_index else rule.rule.index)
    return _evaluate(
        rule,
        events,
        lambda event: next(iter(event.instants(rule.timestamp_field)), None),
        lambda event: gate.admits(virtual_index(event)),
    )


def _over_known_types(types: Mapping[str, str]) -> Mapping[str, str]:
    for path, name in types.items():
        if name not in MAPPING_TYPES:
            raise ValueError(f"{name!r}, the type of `{path}`, is no Elasticsearch field type")
    return FieldTypes(types, FIELD_TYPES)


def _without_unmapped(
    query: ast.Query, types: Mapping[str, str], documents: Sequence[Mapping[str, Any]]
) -> ast.Query:
    """The query with null for each optional field in a condition that neither the types nor a document has.

    It stays null in its place, so that `not (?f == "x")` is true; Elasticsearch folds that to null, too.
    """
    mapped = FieldTypes(types)
    events = [Event(dict(document), Record("", 0, 0, None, None, b"", 0), None) for document in documents]

    @functools.cache
    def is_unmapped(path: str) -> bool:
        return path not in mapped and not any(event.values(path) for event in events)

    def rewritten(part: Any) -> Any:
        match part:
            case ast.Field(path=path, optional=True, scope="") if is_unmapped(path):
                return ast.Literal(None, span=part.span)
            case tuple():
                return tuple(map(rewritten, part))
            case ast.Node():
                inner = [name for name in part.__dataclass_fields__ if name not in ("array", "keys")]
                return dataclasses.replace(part, **{name: rewritten(getattr(part, name)) for name in inner})
        return part

    return dataclasses.replace(query, body=rewritten(query.body))


_Place = tuple[int, Tie, int]


def _evaluate(
    rule: CompiledRule,
    documents: Sequence[Mapping[str, Any]],
    time_of: Callable[[Event], int | None],
    admits: Callable[[Event], bool] | None = None,
    max_samples: int = 1,
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
    if rule.kind == "sample":  # needs no time
        return _samples(rule, [event for _, event in (*ordered, *timeless)], max_samples)
    if rule.waits:
        return _sequences(rule, [(place[0], event) for place, event in ordered])
    matcher = rule.steps[0].matcher
    return [Match((_index(event),)) for _, event in (*ordered, *timeless) if matcher(event)]


def _index(event: Event) -> int:
    """The event's place in the list it came in."""
    return event.record.offset


def _sequences(rule: CompiledRule, ordered: Sequence[tuple[int, Event]]) -> list[Match]:
    """What a rule with state finds: each event is held and has its turn at once, in a state partition that
    nothing expires in; what is undecided at the end stands."""
    known = by_digest([rule.match_hash])
    state = StatePartition(0, 0, sys.maxsize, lambda _, keep, drop: machine_of(rule, keep, drop), known)
    ended: Counter[str] = Counter()
    found: list[tuple[int, Complete]] = []
    for number, (time, event) in enumerate(ordered):
        found += _decided(state, time)
        identity = Identity.of(event) if rule.asks_for_relatives else None
        if identity is not None and identity.tells:
            state.lineage.tell(identity)
        hit = RuleHit(rule.match_hash, _satisfied(rule, event), time, (number, (0, "", 0), "", 0))
        state.hold(EventHits(0, str(number), "", 0, number, None, number, b"", (hit,)), hit)
        for sid, due in state.due(None):
            turn = Turn(rule, state, sid, due, lambda own: ordered[int(own)][1], ended)
            found += [(number, complete) for complete in turn.take()]
        if identity is not None and identity.tells and identity.ends:
            state.lineage.end(identity)
    found += _decided(state, _NEVER)
    found.sort(key=lambda each: (each[0], key_order(each[1].key)))
    return [_match(rule, complete, ordered) for _, complete in found]


def _decided(state: StatePartition, before: int) -> list[tuple[int, Complete]]:
    """The sequences that no event at or after `before` can rule out, each with its last event's number."""
    return [
        (undecided.order[0], Complete(undecided.key, undecided.partial.events))
        for undecided in state.decided(before)
    ]


def _satisfied(rule: CompiledRule, event: Event) -> tuple[StepKeys, ...]:
    steps: list[StepKeys] = []
    for number, step in enumerate(rule.steps):
        if step.matcher(event):
            keys = join_keys(step, event, limit=MAX_KEY_TUPLES)[0]
            if keys:
                steps.append(StepKeys(number, len(keys) > 1, tuple(keys)))
    return tuple(steps)


def _match(rule: CompiledRule, complete: Complete, ordered: Sequence[tuple[int, Event]]) -> Match:
    places: list[int | None] = [None] * rule.length
    for place, member in zip(rule.places, complete.members, strict=True):
        places[place] = _index(ordered[int(member.sid)][1])
    return Match(tuple(places), complete.key[rule.hidden_keys :])


def _samples(rule: CompiledRule, events: Sequence[Event], most: int) -> list[Match]:
    """Samples by key, the keys in order. All events are looked at, in the order they have."""
    by_key: dict[str, tuple[JoinKey, list[list[int]]]] = {}
    for event in events:
        for step in rule.stages:
            if step.matcher(event):
                for key in join_keys(step, event, limit=MAX_KEY_TUPLES)[0]:
                    hits = by_key.setdefault(canonical_key(key), (key, [[] for _ in rule.stages]))[1]
                    hits[step.stage].append(_index(event))
    found: list[Match] = []
    for key, hits in sorted(by_key.values(), key=lambda each: key_order(each[0])):
        shown = _sample_key(rule, key)
        found += [Match(choice, shown) for choice in islice(choices(hits), most)]
    return found


def _sample_key(rule: CompiledRule, key: JoinKey) -> JoinKey:
    """The key as Elasticsearch names a sample's: dates, unlike in sequences, are milliseconds."""
    dates = [field_type(field.type) is Type.DATE for field in rule.stages[0].keys]
    instants = [parse_date(part) if is_date else None for part, is_date in zip(key, dates, strict=True)]
    return tuple(
        part if instant is None else instant // MILLISECOND
        for part, instant in zip(key, instants, strict=True)
    )


def key_order(key: JoinKey) -> tuple[tuple[int, float, str], ...]:
    """Join keys in Elasticsearch's order: null first, numbers by value, text by code point."""
    return tuple(
        (0, 0.0, "") if part is None
        else (1, float(part), "" if isinstance(part, bool) else "number")
        if isinstance(part, (bool, int, float))
        else (2, 0.0, part)
        for part in key
    )  # fmt: skip


def _limited(found: list[Match], pipe: ast.Pipe) -> list[Match]:
    count = constant(pipe.args[0])
    assert isinstance(count, int), "checked by eql.check"
    return found[:count] if pipe.name == "head" else found[max(0, len(found) - count) :]
