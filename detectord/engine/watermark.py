"""Event time: how far the inputs have come, and so before which time nothing more is expected.

Rule 1: only the supervisor derives watermarks, from the progress that workers report per input
partition. Rule 2: a watermark never goes back (but with everything else to a committed barrier).
Rule 3: no clock is read here; the time of day is handed in.

The watermark is the least progress over the partitions that count, less the allowed lateness. A
partition stops counting when it has been at its end for the idle time-out; it counts again with its
next record. While none counts, the watermark moves on at the pace of the clock, so that what waits
for time to pass is decided at night, too. It does not jump to the clock: events that are replayed
from an old capture stay in their own time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from detectord.events.record import Partition

END_OF_TIME = 2**63 - 1
"""The watermark after the last record of a finite input."""


class Watermark(Protocol):
    """A policy of event time. All times are nanoseconds."""

    progress: dict[Partition, int]
    """Per input partition the newest event time."""

    def advanced(self, progress: Mapping[Partition, int]) -> int | None:
        """Take note of the newest event time per partition; the watermark now, None if unknown."""
        ...

    def ticked(self, assigned: Iterable[Partition], at_end: Iterable[Partition], now: int) -> int | None:
        """Take note of the clock and of who is at the end; the watermark now."""
        ...

    def snapshot(self) -> Watermark:
        """A copy that later calls leave alone."""
        ...

    def resume(self, progress: Mapping[Partition, int], reached: int | None) -> None:
        """Go on from where a predecessor was: its newest event times, and its watermark."""
        ...


@dataclass
class EventTimeWatermark:
    """The watermark of a stream without end."""

    lateness: int
    idle_timeout: int
    progress: dict[Partition, int] = field(default_factory=dict)
    idle_since: dict[Partition, int] = field(default_factory=dict)
    idle: set[Partition] = field(default_factory=set)
    reached: int | None = None
    resting_since: int | None = None
    assigned: frozenset[Partition] = frozenset()

    def advanced(self, progress: Mapping[Partition, int]) -> int | None:
        """See `Watermark`."""
        for partition, time in progress.items():
            self.progress[partition] = max(time, self.progress.get(partition, time))
            self.idle_since.pop(partition, None)
            self.idle.discard(partition)
        if progress:
            self.resting_since = None
        return self._derive()

    def ticked(self, assigned: Iterable[Partition], at_end: Iterable[Partition], now: int) -> int | None:
        """See `Watermark`."""
        self.assigned = frozenset(assigned)
        ends = frozenset(at_end) & self.assigned
        for partition in ends:
            if now - self.idle_since.setdefault(partition, now) >= self.idle_timeout:
                self.idle.add(partition)
        for partition in self.assigned - ends:
            self.idle_since.pop(partition, None)
            self.idle.discard(partition)
        if self.assigned and self.assigned <= self.idle:
            return self._rest(now)
        self.resting_since = None
        return self._derive()

    def snapshot(self) -> EventTimeWatermark:
        """See `Watermark`. Who is idle is not part of it: what was read may have to be read again, so
        that has to be seen anew."""
        return EventTimeWatermark(
            self.lateness,
            self.idle_timeout,
            dict(self.progress),
            reached=self.reached,
            assigned=self.assigned,
        )

    def resume(self, progress: Mapping[Partition, int], reached: int | None) -> None:
        """See `Watermark`. Who was idle is seen anew, as after a loss."""
        self.progress.update(progress)
        self.reached = reached

    def _derive(self) -> int | None:
        counting = self.assigned - self.idle
        if counting and all(partition in self.progress for partition in counting):
            self._raise(min(self.progress[partition] for partition in counting) - self.lateness)
        return self.reached

    def _rest(self, now: int) -> int | None:
        """Every partition is idle: from the newest event on, time passes as the clock does."""
        newest = max((self.progress[p] for p in self.assigned if p in self.progress), default=None)
        if newest is None:
            return self.reached
        if self.resting_since is None:
            self.resting_since = now
        self._raise(newest - self.lateness + (now - self.resting_since) + self.idle_timeout)
        return self.reached

    def _raise(self, time: int) -> None:
        if self.reached is None or time > self.reached:
            self.reached = time


@dataclass
class FiniteWatermark:
    """The watermark of a finite input: none before its end, so that it is answered as a batch; or,
    `by_arrival`, the least progress so far, a function of the records alone."""

    by_arrival: bool = False
    progress: dict[Partition, int] = field(default_factory=dict)

    def advanced(self, progress: Mapping[Partition, int]) -> int | None:
        """See `Watermark`."""
        for partition, time in progress.items():
            self.progress[partition] = max(time, self.progress.get(partition, time))
        return self._reached()

    def ticked(self, assigned: Iterable[Partition], at_end: Iterable[Partition], now: int) -> int | None:
        """See `Watermark`."""
        del assigned, at_end, now  # a finite input knows no time of day
        return self._reached()

    def snapshot(self) -> FiniteWatermark:
        """See `Watermark`."""
        return FiniteWatermark(self.by_arrival, dict(self.progress))

    def resume(self, progress: Mapping[Partition, int], reached: int | None) -> None:
        """See `Watermark`; here the one follows from the other."""
        del reached
        self.progress.update(progress)

    def _reached(self) -> int | None:
        return min(self.progress.values(), default=None) if self.by_arrival else None
