"""Samples: one event for each step, all with one join key, in any order, all different (eql.md 2.4).

Elasticsearch looks at all events of a search at once. A stream has no such set, so a sample rule has a
*window* instead, its look-back: events go together that lie within it. Of each step a row keeps as many of
the newest hits as there are steps; more could not make a choice possible that these do not. When a choice
of different events is possible, the sample is complete; the row then starts anew, and is quiet until event
time has gone on by a window: one sample a key and window, however many events there are.

At a window's edge: two events exactly a window apart still go together, as with `maxspan`. Nothing is cut at
fixed points in time. After a restart rows go on as they were, the quiet time too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

E = TypeVar("E", bound=Hashable)


class SampleRow(msgspec.Struct, Generic[E], array_like=True):
    """The hits of one join key: for each step its newest events with their times, in order. `quiet_until`:
    until that time no other sample of the key is wanted."""

    steps: list[list[tuple[int, E]]]
    quiet_until: int | None = None

    def events(self) -> Iterator[E]:
        """Every event the row refers to, as often as it does."""
        for hits in self.steps:
            yield from (event for _, event in hits)

    def is_empty(self) -> bool:
        """True if the row may be forgotten."""
        return self.quiet_until is None and not any(self.steps)

    def waiting(self) -> int:
        """How many hits wait."""
        return sum(map(len, self.steps))


@dataclass(frozen=True, slots=True)
class SampleMachine(Generic[E]):
    """Makes samples of `steps` steps within `window` nanoseconds. `keep` and `drop` are told of every
    reference to an event that comes and goes."""

    steps: int
    window: int
    keep: Callable[[E], None]
    drop: Callable[[E], None]

    def new_row(self) -> SampleRow[E]:
        """An empty row."""
        return SampleRow([[] for _ in range(self.steps)])

    def offer(self, row: SampleRow[E], steps: Sequence[int], time: int, event: E) -> tuple[E, ...] | None:
        """Offer an event to the steps it satisfies; a sample comes back in the order of the steps, its events
        still kept: the caller drops them."""
        self.expire(row, time)
        if row.quiet_until is not None:
            return None
        for step in steps:
            hits = row.steps[step]
            self.keep(event)
            hits.append((time, event))
            if len(hits) > self.steps:
                self.drop(hits.pop(0)[1])
        found = next(choices([[each for _, each in hits] for hits in row.steps]), None)
        if found is None:
            return None
        for each in found:
            self.keep(each)
        for each in row.events():
            self.drop(each)
        newest = max(time for hits in row.steps for time, _ in hits)
        row.steps = self.new_row().steps
        row.quiet_until = newest + self.window
        return found

    def expire(self, row: SampleRow[E], before: int) -> int:
        """Drop the hits that go with no event at or after `before`; how many."""
        gone = 0
        for step, hits in enumerate(row.steps):
            kept = [hit for hit in hits if abs(before - hit[0]) <= self.window]
            if len(kept) < len(hits):
                for _, event in (hit for hit in hits if hit not in kept):
                    self.drop(event)
                gone += len(hits) - len(kept)
                row.steps[step] = kept
        if row.quiet_until is not None and row.quiet_until < before:
            row.quiet_until = None
        return gone

    def next_expiry(self, row: SampleRow[E]) -> int | None:
        """The time after which something in the row has expired."""
        ends = [hits[0][0] + self.window for hits in row.steps if hits]
        if row.quiet_until is not None:
            ends.append(row.quiet_until)
        return min(ends, default=None)


def choices(candidates: Sequence[Sequence[E]], chosen: tuple[E, ...] = ()) -> Iterator[tuple[E, ...]]:
    """Every choice of one candidate a step, all different, that begins with `chosen`: in the order of the
    lists. Before a candidate is taken it is asked (by augmenting paths) whether the steps behind it can go on
    then, so no time is lost on beginnings that lead nowhere. Recurses a level a step."""
    if len(chosen) == len(candidates):
        yield chosen
        return
    for candidate in candidates[len(chosen)]:
        if candidate not in chosen:
            longer = (*chosen, candidate)
            if _can_go_on(candidates[len(longer) :], set(longer)):
                yield from choices(candidates, longer)


def _can_go_on(candidates: Sequence[Sequence[E]], taken: set[E]) -> bool:
    """Whether each of the steps can have a candidate of its own that is not taken."""
    holder: dict[E, int] = {}
    return all(_assign(step, candidates, taken, holder, set()) for step in range(len(candidates)))


def _assign(
    step: int, candidates: Sequence[Sequence[E]], taken: set[E], holder: dict[E, int], tried: set[E]
) -> bool:
    """Give the step a candidate, if need be by giving others another one. Recurses a level a step at most."""
    for candidate in candidates[step]:
        if candidate in taken or candidate in tried:
            continue
        tried.add(candidate)
        if candidate not in holder or _assign(holder[candidate], candidates, taken, holder, tried):
            holder[candidate] = step
            return True
    return False
