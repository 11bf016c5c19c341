"""The result of the engine: a rule and the events that matched it."""

from __future__ import annotations

from dataclasses import dataclass

from detectord.compiler.compiled import CompiledRule, KeyValue
from detectord.events.event import Event


@dataclass(frozen=True, slots=True)
class Detection:
    """One match.

    For an event rule: one event. For a sequence: the events in step order, missing steps left out;
    `stages[i]` is the step number of `events[i]`, `join` the key as (field, value) pairs.
    `fanned_out` is true if any event took part with several key tuples (then the key is part of the
    alert's id, rulings.md). `late` marks a contribution from behind the watermark.
    """

    rule: CompiledRule
    events: tuple[Event, ...]
    stages: tuple[int, ...] = (0,)
    join: tuple[tuple[str, KeyValue], ...] = ()
    fanned_out: bool = False
    late: bool = False
