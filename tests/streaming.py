"""The daemon's engine over a finite list of events, fed as a stream: `Detector` as a worker uses it.

Rule 1: the stream sees the events that the oracle sees, and in its order: the instants are the oracle's, a
query without a tiebreaker gets one that no event has, and ties that are left are broken by the event's
place in the list.
Rule 2: everything else is the engine's own: hits, watermarks, held sequences, changed state. Nothing may be
late, and what is told as lost is a failure.
Rule 3: what is random here is a function of the query and the number of events.

Events arrive in batches, and event time is moved on behind each: to the time reached, or to just below. With
`shuffled` all of them arrive, in any order, before time moves at all, and then in steps. With `restarting`
each batch ends with a barrier, after which a fresh detector goes on from the entries collected so far.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import oracle

from detectord.compiler import compile_rule
from detectord.compiler.compiled import RuleSet
from detectord.engine.detection import Detection
from detectord.engine.detector import Detector, EngineSettings
from detectord.engine.watermark import END_OF_TIME
from detectord.eql import analyse, ast
from detectord.eql.diagnostics import render
from detectord.eql.source import Source
from detectord.events.event import Event
from detectord.events.fields import FIELD_TYPES, FieldTypes
from detectord.events.record import Record
from detectord.rules.rule import Rule

Results = list[tuple[tuple[int | None, ...], tuple[Any, ...]]]

_FOREVER = 100 * 365 * 86_400 * 10**9
_NO_TIEBREAKER = "a field of no event"
_PARTITIONS = 4
_BYTES = b"the bytes of an event"
_LOSSES = ("late", "dropped", "key_tuples_capped", "future", "rule_error", "lineage_forgotten")
"""Tallies that would explain a result that is not there."""


class _Plan(NamedTuple):
    """A query as the stream runs it; its pipes are for the end."""

    rules: RuleSet
    body: ast.EventQuery | ast.Sequence | ast.Sample | ast.Join
    pipes: tuple[ast.Pipe, ...]


@functools.lru_cache(maxsize=16)
def _plan(
    query: str,
    category_field: str,
    timestamp_field: str,
    tiebreaker_field: str | None,
    types: tuple[tuple[str, str], ...],
) -> _Plan:
    source, known = Source(query), FieldTypes(dict(types), FIELD_TYPES)
    parsed = analyse(source, types=known, stream=False)
    if parsed.query is None:
        raise ValueError("\n".join(render(finding, source) for finding in parsed.diagnostics))
    rule = Rule(
        rule_id="query",
        name="query",
        query_text=query,
        query=dataclasses.replace(parsed.query, pipes=()),
        category_field=category_field,
        timestamp_field=timestamp_field,
        tiebreaker_field=tiebreaker_field or _NO_TIEBREAKER,
        look_back=_FOREVER,
    )
    return _Plan(RuleSet.of([compile_rule(rule, types=known)]), parsed.query.body, parsed.query.pipes)


def stream(
    query: str,
    events: Sequence[dict[str, Any]],
    *,
    timestamp_field: str = "@timestamp",
    tiebreaker_field: str | None = None,
    event_category_field: str = "event.category",
    size: int | None = None,
    types: Mapping[str, str] | None = None,
    shuffled: bool = False,
    restarting: bool = False,
) -> Results:
    """The results of the query, in the oracle's order.

    Raises:
        ValueError: the query is refused; the message has the diagnostics.
    """
    given = tuple(sorted((types or {}).items()))
    plan = _plan(query, event_category_field, timestamp_field, tiebreaker_field, given)
    rng = random.Random(zlib.crc32(query.encode()) + len(events))
    feed = _Feed(plan, events, oracle.places_of(events, timestamp_field, tiebreaker_field), restarting)
    feed.run(rng, shuffled)
    results = sorted((feed.result(detection) for detection in feed.found), key=feed.rank)
    for pipe in plan.pipes:
        results = _limited(results, pipe)
    return results if size is None or plan.pipes else results[max(0, len(results) - size) :]


def _limited(results: Results, pipe: ast.Pipe) -> Results:
    argument = pipe.args[0]
    assert isinstance(argument, ast.Literal)
    assert isinstance(argument.value, int)
    count = argument.value
    return results[:count] if pipe.name == "head" else results[max(0, len(results) - count) :]


class _Feed:
    """One run of the stream."""

    def __init__(
        self, plan: _Plan, events: Sequence[dict[str, Any]], places: Sequence[oracle.Place], restarting: bool
    ) -> None:
        self.plan, self.places, self.restarting = plan, places, restarting
        self.events = [
            Event(
                document,
                Record("stream", 0, index, None, None, _BYTES, index),
                None if place.ns == float("inf") else int(place.ns),
            )
            for index, (document, place) in enumerate(zip(events, places, strict=True))
        ]
        self.found: list[Detection] = []
        self.entries: dict[int, dict[bytes, bytes]] = {}
        self.watermark: int | None = None
        self.detector = self._fresh()

    def _fresh(self) -> Detector:
        return Detector(self.plan.rules, EngineSettings(partitions=_PARTITIONS), self._revive)

    def _revive(self, record: Record, sid: str) -> Event:
        del sid
        assert record.value == _BYTES, "what is revived was held with its bytes"
        return self.events[record.offset]

    # --- feeding ------------------------------------------------------------------------------

    def run(self, rng: random.Random, shuffled: bool) -> None:
        order = sorted(range(len(self.events)), key=self.places.__getitem__)
        if shuffled:
            arrivals = order.copy()
            rng.shuffle(arrivals)
            for batch in _batches(rng, arrivals):
                self._receive(batch)
                self._barrier()
            times = sorted({time for index in order if (time := self.events[index].time) is not None})
            for batch in _batches(rng, times):
                self._advance(batch[-1] + rng.choice((0, 0, 1)))
        else:
            for batch in _batches(rng, order):
                self._receive(batch)
                # What comes without a time comes last; the order of the rest is that of time
                reached = [time for index in batch if (time := self.events[index].time) is not None]
                self._advance(reached[-1] - rng.choice((0, 0, 1, 10**9)) if reached else None)
        self._advance(END_OF_TIME)
        assert not self.detector.held(), "the end of time has come, and hits wait"

    def _receive(self, batch: Sequence[int]) -> None:
        tallies: Counter[tuple[str, ...]] = Counter()
        for index in batch:
            detections, hits = self.detector.evaluate(self.events[index], tallies)
            self.found += [ranked.detection for ranked in detections]
            self.detector.receive(hits)
        _nothing_lost(tallies)

    def _advance(self, watermark: int | None) -> None:
        if watermark is not None:
            self.watermark = watermark if self.watermark is None else max(self.watermark, watermark)
        self.found += [ranked.detection for ranked in self.detector.advance(self.watermark)]
        self._barrier()

    def _barrier(self) -> None:
        if not self.restarting:
            return
        for change in self.detector.take_changes():
            own = self.entries.setdefault(change.partition, {})
            if change.value is None:
                own.pop(change.key, None)
            else:
                own[change.key] = change.value
        _nothing_lost(self.detector.take_tallies())
        self.detector = self._fresh()
        self.detector.restore(((number, own.items()) for number, own in self.entries.items()), self.watermark)

    # --- results ------------------------------------------------------------------------------

    def result(self, detection: Detection) -> tuple[tuple[int | None, ...], tuple[Any, ...]]:
        """(indexes, keys): the detection's events at the places of their steps, None for a missing one."""
        body = self.plan.body
        steps = 1 if isinstance(body, ast.EventQuery) else sum(step.runs for step in body.steps)
        taken = dict(zip(detection.stages, detection.events, strict=True))
        indexes = (taken[number].record.offset if number in taken else None for number in range(steps))
        return tuple(indexes), tuple(value for _, value in detection.join)

    def rank(self, result: tuple[tuple[int | None, ...], tuple[Any, ...]]) -> Any:
        """Results stand in the order of their last events, then of their keys; samples by key."""
        events, keys = result
        if isinstance(self.plan.body, ast.Sample):
            return oracle.rank(keys)
        return max(self.places[index] for index in events if index is not None), oracle.rank(keys)


def _batches(rng: random.Random, items: Sequence[int]) -> Iterator[Sequence[int]]:
    start = 0
    while start < len(items):
        size = rng.choice((1, 1, 2, 3, 5))
        yield items[start : start + size]
        start += size


def _nothing_lost(tallies: Mapping[tuple[str, ...], int]) -> None:
    lost = {name: count for name, count in tallies.items() if name[0] in _LOSSES}
    assert not lost, f"told as lost: {lost}"
