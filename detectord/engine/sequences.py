"""Partial sequences: which events wait for which next step.

Rule 1: this file knows step numbers, event times and spans; not fields, rules, keys or Kafka. How an
event is referred to is the caller's business (an index in the batch door, a sid in the daemon).
Rule 2: a row is all there is: a slot per step but the last, at most one partial in each.

An event accepted by step n takes the partial out of slot n-1, extends it and puts it in slot n. A
newer partial overwrites an older one there, because Elasticsearch, too, only ever looks at the newest
(eql.md 5.2). A partial whose span the event would exceed is gone, not put back. The caller offers an
event to the last step first (`walk` does), so that one event never fills two steps of one sequence.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

E = TypeVar("E")


class Outcome(enum.Enum):
    """What an event did to a row."""

    STARTED = "started"
    ADVANCED = "advanced"
    COMPLETED = "completed"
    NO_PREDECESSOR = "no_predecessor"
    SPAN_EXCEEDED = "span_exceeded"


class Partial(NamedTuple, Generic[E]):
    """Events waiting for the next step; `first` is the time (ns) of the first of them."""

    first: int
    events: tuple[E, ...]


Row = list[Partial[E] | None]
"""One slot per step but the last."""


def new_row(steps: int) -> Row[E]:
    """An empty row for a sequence of `steps` steps."""
    return [None] * (steps - 1)


def advance(
    row: Row[E], step: int, time: int, event: E, maxspan: int | None
) -> tuple[Outcome, Partial[E] | None]:
    """Offer an event to one step; the complete sequence comes back with COMPLETED, else None.

    `time` and `maxspan` are nanoseconds; the span is inclusive and measured from the first event.
    """
    if step == 0:
        row[0] = Partial(time, (event,))
        return Outcome.STARTED, None
    before, row[step - 1] = row[step - 1], None
    if before is None:
        return Outcome.NO_PREDECESSOR, None
    if maxspan is not None and time - before.first > maxspan:
        return Outcome.SPAN_EXCEEDED, None
    extended = Partial(before.first, (*before.events, event))
    if step == len(row):
        return Outcome.COMPLETED, extended
    row[step] = extended
    return Outcome.ADVANCED, None


def walk(
    row: Row[E], steps: Iterable[int], time: int, event: E, maxspan: int | None
) -> tuple[Sequence[Outcome], Partial[E] | None]:
    """Offer an event to all the steps it satisfies, last first."""
    outcomes: list[Outcome] = []
    complete: Partial[E] | None = None
    for step in sorted(steps, reverse=True):
        outcome, done = advance(row, step, time, event, maxspan)
        outcomes.append(outcome)
        complete = done or complete
    return outcomes, complete


def is_empty(row: Row[E]) -> bool:
    """True if nothing waits in this row: it may be forgotten."""
    return not any(row)
