"""Partial sequences: which events wait for which next step.

Rule 1: this file knows stages, event times and spans; not fields, rules, keys or Kafka. How an event is
referred to is the caller's business (an index in the batch door, a member with a sid in the daemon).
Rule 2: a row is all there is of one join key. What it refers to is counted by the caller: `keep` and `drop`
are called once for every time an event enters or leaves a row.

**Stages.** A sequence has a stage for each step that is no `![…]`. An event accepted by stage n takes the
partial out of slot n-1, extends it and puts it in slot n. A newer partial overwrites an older one there,
because Elasticsearch, too, only ever looks at the newest (eql.md 5.2). A partial whose span the event would
exceed is gone, not put back. `offer` is to be called for the last stage first, so that one event never fills
two steps of one sequence.

**Runs.** A stage with `runs=N` stands for N equal steps. Every event it accepts moves every partial inside it
one step on, so it is kept as a ring: the last N events, once, and for each partial inside when it entered. An
event moves nothing then, whether N is 2 or 60.

**Missing steps.** A `![…]` stands in a gap: before the first stage, between two, behind the last. Positive
steps are matched as if it were not there; then the complete sequence is judged (eql.md 5.6):
- between two: the earliest hit after the waiting partial's last event is noted in the partial; if it lies
  before the next event, in whole milliseconds, the partial is *doomed*. It lives on, as it may overwrite
  others, and is left out when it completes.
- before the first: a row remembers the latest hit (and the latest in an earlier millisecond, as ties do not
  count); a sequence that starts takes note of it, and fails if its end is within the span from there.
- behind the last: a complete sequence is *undecided* until event time has passed the end of its window, and
  fails with a hit in it. If there are missing steps at both ends, it fails only if the last hit before and
  the first hit behind lie within one span.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import msgspec

E = TypeVar("E")

_MILLISECOND = 1_000_000


class Outcome(enum.Enum):
    """What an event did to a row."""

    STARTED = "started"
    ADVANCED = "advanced"
    COMPLETED = "completed"
    NO_PREDECESSOR = "no_predecessor"
    NOT_ACCEPTED = "not_accepted"
    SPAN_EXCEEDED = "span_exceeded"


class Partial(NamedTuple, Generic[E]):
    """Events waiting for the next step. All times are nanoseconds.

    `first` and `last` are the times of the first and the newest of them. `before`: the latest hit of a
    leading missing step. `gap`: the earliest hit since `last` of a missing step that stands right behind.
    """

    first: int
    last: int
    events: tuple[E, ...]
    before: int | None = None
    gap: int | None = None
    doomed: bool = False


class Ring(msgspec.Struct, Generic[E], array_like=True):
    """The inside of a stage with runs: its newest events, `seen` of them so far, and the partials that are
    in it, oldest first, each with the number of the event it entered with. A partial's own events are
    those from before the stage."""

    seen: int = 0
    events: list[tuple[int, E]] = []
    entries: list[tuple[int, Partial[E]]] = []


class Row(msgspec.Struct, Generic[E], array_like=True):
    """The partials of one join key: a slot a stage but the last, what is inside stages with runs, and the
    latest two hits of leading missing steps (the newest; the newest of an earlier millisecond)."""

    slots: list[Partial[E] | None]
    rings: dict[int, Ring[E]] = {}
    before: tuple[int, int | None] | None = None

    def partials(self) -> Iterator[Partial[E]]:
        """Every partial in the row; one inside a stage with runs without its events there."""
        yield from (partial for partial in self.slots if partial is not None)
        for ring in self.rings.values():
            yield from (partial for _, partial in ring.entries)

    def events(self) -> Iterator[E]:
        """Every event the row refers to, as often as it does."""
        for partial in self.partials():
            yield from partial.events
        for ring in self.rings.values():
            yield from (event for _, event in ring.events)

    def is_empty(self) -> bool:
        """True if nothing waits in this row: it may be forgotten."""
        return self.before is None and not self.rings and not any(self.slots)

    def waiting(self) -> int:
        """How many partials wait."""
        return (
            len(self.slots) - self.slots.count(None) + sum(len(ring.entries) for ring in self.rings.values())
        )


@dataclass(frozen=True, slots=True)
class Shape:
    """A sequence without its conditions. `runs`: for each stage, how often it repeats. `maxspan`:
    nanoseconds, None only in the batch door. `leading`, `trailing`: there are missing steps at that end."""

    runs: tuple[int, ...]
    maxspan: int | None = None
    leading: bool = False
    trailing: bool = False

    def exceeded(self, partial: Partial[E], time: int) -> bool:
        """True if an event at `time` is too far from the first of the partial. The span is inclusive. By
        order of arrival an event may also be too early."""
        return self.maxspan is not None and abs(time - partial.first) > self.maxspan

    def expired(self, partial: Partial[E], before: int) -> bool:
        """True if no event at or after `before` can complete the partial."""
        return self.maxspan is not None and before - partial.first > self.maxspan

    def deadline(self, partial: Partial[E]) -> int | None:
        """For a complete sequence: the last moment at which a trailing missing step makes it fail; None: it
        is decided."""
        if not self.trailing or self.maxspan is None:
            return None
        start = partial.before if self.leading else partial.first
        end = None if start is None else start + self.maxspan
        return end if end is not None and end > partial.last else None

    def is_disturbed(self, partial: Partial[E]) -> bool:
        """True for a complete sequence that a missing step between or before its events rules out."""
        if partial.doomed:
            return True
        if not self.leading or self.trailing or partial.before is None or self.maxspan is None:
            return False
        return partial.last - partial.before <= self.maxspan


@dataclass(frozen=True, slots=True)
class Machine(Generic[E]):
    """A shape at work. `keep` and `drop` are told of every reference to an event that comes and goes."""

    shape: Shape
    keep: Callable[[E], None]
    drop: Callable[[E], None]

    def new_row(self) -> Row[E]:
        """An empty row."""
        return Row([None] * (len(self.shape.runs) - 1))

    def offer(
        self,
        row: Row[E],
        stage: int,
        time: int,
        event: E,
        accepts: Callable[[Partial[E]], bool] | None = None,
    ) -> tuple[Outcome, Partial[E] | None]:
        """Offer an event to one stage. A complete sequence comes back with COMPLETED, its events still kept:
        the caller drops them. `accepts`: whether the event goes with the partial it would extend; one
        that it does not go with stays."""
        entering, outcome = self._enter(row, stage, time, accepts)
        if self.shape.runs[stage] == 1:
            if entering is None:
                return outcome, None
            self.keep(event)
            leaving = entering._replace(last=time, events=(*entering.events, event), gap=None)
        else:
            passed = self._turn(row, stage, time, event, entering)
            if passed is None:
                return outcome, None
            leaving = passed
        if stage == len(row.slots):
            return Outcome.COMPLETED, leaving
        self._put(row, stage, leaving)
        return (Outcome.STARTED if stage == 0 else Outcome.ADVANCED), None

    def missed(self, row: Row[E], stage: int, time: int) -> None:
        """An event of a missing step that stands right before `stage` (0: it leads)."""
        if stage == 0:
            row.before = _later(row.before, time)
            return
        waiting = row.slots[stage - 1]
        if waiting is None or not is_earlier(waiting.last, time):
            return
        if waiting.gap is None or time < waiting.gap:
            row.slots[stage - 1] = waiting._replace(gap=time)

    def clear(self, row: Row[E]) -> int:
        """An `until`: every partial is gone. How many there were."""
        gone = row.waiting()
        for event in row.events():
            self.drop(event)
        row.slots = [None] * len(row.slots)
        row.rings.clear()
        return gone

    def expire(self, row: Row[E], before: int) -> int:
        """Drop what no event at or after `before` can complete, or be ruled out by; how many partials."""
        gone = 0
        for stage, partial in enumerate(row.slots):
            if partial is not None and self.shape.expired(partial, before):
                self._put(row, stage, None)
                gone += 1
        for stage, ring in list(row.rings.items()):
            gone += self._drop_entries(ring, lambda partial: self.shape.expired(partial, before))
            self._tidy(row, stage)
        span = self.shape.maxspan
        if row.before is not None and span is not None and row.before[0] + span < before:
            row.before = None
        return gone

    def next_expiry(self, row: Row[E]) -> int | None:
        """The time after which something in the row has expired."""
        if self.shape.maxspan is None:
            return None
        starts = [partial.first for partial in row.partials()]
        if row.before is not None:
            starts.append(row.before[0])
        return min(starts) + self.shape.maxspan if starts else None

    # --- one stage ------------------------------------------------------------------------------

    def _enter(
        self, row: Row[E], stage: int, time: int, accepts: Callable[[Partial[E]], bool] | None
    ) -> tuple[Partial[E] | None, Outcome]:
        """The partial that an event at `time` extends at `stage`, taken out of its slot."""
        if stage == 0:
            before = _latest_before(row.before, time) if self.shape.leading else None
            return Partial(time, time, (), before), Outcome.STARTED
        waiting = row.slots[stage - 1]
        if waiting is None:
            return None, Outcome.NO_PREDECESSOR
        if self.shape.exceeded(waiting, time):
            self._put(row, stage - 1, None)
            return None, Outcome.SPAN_EXCEEDED
        if accepts is not None and not accepts(waiting):
            return None, Outcome.NOT_ACCEPTED
        row.slots[stage - 1] = None
        if waiting.gap is not None and is_earlier(waiting.gap, time):
            waiting = waiting._replace(doomed=True)
        return waiting, Outcome.ADVANCED

    def _turn(
        self, row: Row[E], stage: int, time: int, event: E, entering: Partial[E] | None
    ) -> Partial[E] | None:
        """Move every partial inside a stage with runs one event on; the one that has passed it."""
        ring = row.rings.get(stage)
        if ring is None:
            if entering is None:
                return None
            ring = row.rings[stage] = Ring()
        runs = self.shape.runs[stage]
        self._drop_entries(ring, lambda partial: self.shape.exceeded(partial, time))
        ring.seen += 1
        ring.events.append((time, event))
        self.keep(event)
        if entering is not None:
            ring.entries.append((ring.seen, entering))
        passed: Partial[E] | None = None
        if ring.entries and ring.seen - ring.entries[0][0] == runs - 1:
            _, partial = ring.entries.pop(0)
            inside = tuple(each for _, each in ring.events[-runs:])
            for each in inside:
                self.keep(each)
            passed = partial._replace(last=time, events=(*partial.events, *inside), gap=None)
        self._tidy(row, stage)
        return passed

    def _drop_entries(self, ring: Ring[E], ends: Callable[[Partial[E]], bool]) -> int:
        """Drop the partials inside that end; how many."""
        gone = [partial for _, partial in ring.entries if ends(partial)]
        if gone:
            ring.entries = [entry for entry in ring.entries if not ends(entry[1])]
        for partial in gone:
            for event in partial.events:
                self.drop(event)
        return len(gone)

    def _tidy(self, row: Row[E], stage: int) -> None:
        """Forget the events of a ring that no partial inside needs any more."""
        ring = row.rings[stage]
        needed = ring.seen - ring.entries[0][0] + 1 if ring.entries else 0
        for _, event in ring.events[: len(ring.events) - needed]:
            self.drop(event)
        ring.events = ring.events[len(ring.events) - needed :]
        if not ring.entries:
            del row.rings[stage]

    def _put(self, row: Row[E], stage: int, partial: Partial[E] | None) -> None:
        """Fill a slot; what was there is gone."""
        old = row.slots[stage]
        if old is not None:
            for event in old.events:
                self.drop(event)
        row.slots[stage] = partial


def is_earlier(time: int, other: int) -> bool:
    """True if `time` is in an earlier millisecond."""
    return time // _MILLISECOND < other // _MILLISECOND


def _later(known: tuple[int, int | None] | None, time: int) -> tuple[int, int | None]:
    """The latest two times of different milliseconds, with one more."""
    if known is None:
        return time, None
    newest, earlier = known
    if is_earlier(newest, time):
        return time, newest
    if is_earlier(time, newest):
        return newest, time if earlier is None else max(earlier, time)
    return max(newest, time), earlier


def _latest_before(known: tuple[int, int | None] | None, time: int) -> int | None:
    """The latest of the times that lies in a millisecond before that of `time`."""
    return next((each for each in known or () if each is not None and is_earlier(each, time)), None)
