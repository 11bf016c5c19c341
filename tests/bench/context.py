"""What the sections of the bench share: how much to do, the rules, the engine, and where figures go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.results import Line
from bench.ruleset import SHIPPED, RuleSets, at_hand, folder
from bench.scale import Scale
from bench.timing import Rounds
from detectord.compiler import CompiledRule, RuleSet
from detectord.engine.detector import Detector, EngineSettings
from detectord.engine.hits import EventHits
from detectord.engine.tallies import Tallies
from detectord.events.decode import decode
from detectord.events.event import Event
from detectord.events.record import DeadLetter, Record

MAX_BYTES = 1024 * 1024
"""The largest event, as the daemon is configured by default."""


@dataclass(slots=True)
class Context:
    """One run of the bench."""

    scale: Scale
    folder: Path
    rules: RuleSets
    lines: list[Line] = field(default_factory=list)

    @classmethod
    def of(cls, scale: Scale) -> Context:
        """A run at that scale, with the rules at hand."""
        place = SHIPPED if scale.only_shipped else folder()
        return cls(scale, place, RuleSets(at_hand(place)))

    def add(
        self, name: str, value: float, unit: str, against: str | None = None, ratio: float | None = None
    ) -> None:
        """Note a figure."""
        self.lines.append(Line(name, value, unit, against, ratio))

    def compare(self, rounds: Rounds, side: str, other: str, *, name: str, against: str) -> None:
        """Note what an event costs on one side of the rounds, and how its rate stands to the other's."""
        self.add(name, rounds.cost(side), "µs/event", against, rounds.ratio(other, side))


class Engine:
    """What a worker does with a record, without the worker: decode it, evaluate it."""

    def __init__(self, rules: Iterable[CompiledRule], settings: EngineSettings | None = None) -> None:
        self.detector = Detector(RuleSet.of(list(rules)), settings or EngineSettings(), revived)
        self.tallies: Tallies = Counter()

    def run(self, records: Sequence[Record]) -> int:
        """Evaluate the events of `records` by the doors a worker takes; how many records."""
        narrowing, tallies = self.detector.narrowing, self.tallies
        decode_narrow, evaluate_narrow, most = narrowing.decode, self.detector.evaluate_narrow, MAX_BYTES
        for record in records:
            value = record.value
            root = decode_narrow(value) if len(value) <= most else None
            if root is not None:
                evaluate_narrow(root, record, tallies)
                continue
            events = decode(record, max_bytes=MAX_BYTES)
            assert not isinstance(events, DeadLetter), events.error
            self.evaluate(events)
        return len(records)

    def evaluate(self, events: Sequence[Event]) -> int:
        """Evaluate decoded events; how many."""
        for event in events:
            self.detector.evaluate(event, self.tallies)
        return len(events)

    def hits(self, records: Sequence[Record]) -> list[EventHits]:
        """The step hits of the events of `records`."""
        return [hit for record in records for hit in self.detector.evaluate(decoded(record), self.tallies)[1]]


def decoded(record: Record) -> Event:
    """The one event of a record."""
    events = decode(record, max_bytes=MAX_BYTES)
    assert not isinstance(events, DeadLetter), events
    return events[0]


def revived(record: Record, sid: str) -> Event:
    """The event that a partial refers to."""
    del sid
    return decoded(record)
