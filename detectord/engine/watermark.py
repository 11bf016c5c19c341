"""Event time: how far the inputs have come, and so before which time nothing more is expected.

Rule 1: only the supervisor derives watermarks, from the progress that workers report per input
partition. Rule 2: a watermark never goes back (but with everything else to a committed barrier).
Rule 3: no clock is read here; the time of day is handed in.

The watermark is the least progress over the input partitions that count, less the allowed lateness. A
partition stops counting when it has been at its end for the idle time-out; it counts again with its
next record. While none counts, the watermark moves on at the pace of the clock, so that what waits
for time to pass is decided at night, too. It does not jump to the clock: events that are replayed
from an old capture stay in their own time.

With several instances an input partition may be another's. Of those counts what was last told, and it is
told with the hits that rest on it, separately to every state partition that is kept here: the watermark is
what the one knows that has heard least. Of a partition that nobody has told of yet nothing is known, and
event time waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from detectord.events.record import Partition

END_OF_TIME = 2**63 - 1
"""The watermark after the last record of a finite input."""


class Told(NamedTuple):
    """What the reader of an input partition tells of it: the newest event time (None: there was none yet),
    and whether it is idle."""

    time: int | None
    is_idle: bool


class Watermark(Protocol):
    """A policy of event time. All times are nanoseconds."""

    progress: dict[Partition, int]
    """Per input partition the newest event time."""

    def assign(self, assigned: Iterable[Partition]) -> None:
        """From now on these input partitions are read here."""
        ...

    def advanced(self, progress: Mapping[Partition, int]) -> int | None:
        """Take note of the newest event time per partition; the watermark now, None if unknown."""
        ...

    def ticked(self, at_end: Iterable[Partition], now: int) -> int | None:
        """Take note of the clock and of who is at the end; the watermark now."""
        ...

    def snapshot(self) -> Watermark:
        """A copy that later calls leave alone."""
        ...

    def keep(self, told: Mapping[int, Mapping[Partition, Told]], inputs: Iterable[Partition]) -> None:
        """From now on these state partitions are kept here, and that is what they have heard. `inputs` are
        all input partitions, whoever reads them. Event time begins anew, as for one of the state partitions
        it may not have come as far as for others, which remember how far it was. `assign` comes next."""
        ...

    def hear(self, state: int, told: Mapping[Partition, Told]) -> None:
        """A state partition is told of inputs that are read elsewhere."""
        ...

    def heard(self, state: int) -> Mapping[Partition, Told]:
        """All that a successor of a state partition has to know."""
        ...

    def own(self) -> Mapping[Partition, Told]:
        """What there is to tell of the input partitions that are read here."""
        ...

    def hold(self, is_held: bool) -> None:
        """Whether event time has to stand still for now."""
        ...


@dataclass(frozen=True, slots=True)
class _Others:
    """What a state partition has heard of the input partitions that are not read here. `least`: the least
    time of those that count; `is_known`: false while it cannot be told."""

    least: int | None
    newest: int | None
    is_known: bool


@dataclass
class EventTimeWatermark:
    """The watermark of a stream without end.

    `inputs` are all input partitions, whoever reads them; `told` is what was heard of them, by state
    partition that is kept here. Both stay empty where there is one instance by nature.
    """

    lateness: int
    idle_timeout: int
    progress: dict[Partition, int] = field(default_factory=dict)
    idle_since: dict[Partition, int] = field(default_factory=dict)
    idle: set[Partition] = field(default_factory=set)
    reached: int | None = None
    resting_since: int | None = None
    assigned: frozenset[Partition] = frozenset()
    inputs: frozenset[Partition] = frozenset()
    told: dict[int, Mapping[Partition, Told]] = field(default_factory=dict)
    is_held: bool = False
    _others: dict[int, _Others] = field(default_factory=dict)

    def assign(self, assigned: Iterable[Partition]) -> None:
        """See `Watermark`. What is read here no longer counts from now on as it was seen last; of what comes
        the newest that anybody was told is true."""
        now = frozenset(assigned)
        if now == self.assigned:
            return
        gone, came = self.assigned - now, now - self.assigned
        self.assigned = now
        for state, told in self.told.items():
            self.told[state] = _merged(told, {p: self.state_of(p) for p in gone})
        self._learn()
        for partition in gone | came:
            self.idle_since.pop(partition, None)
            self.idle.discard(partition)
        self._others.clear()

    def keep(self, told: Mapping[int, Mapping[Partition, Told]], inputs: Iterable[Partition]) -> None:
        """See `Watermark`."""
        self.told, self.inputs, self.reached = dict(told), frozenset(inputs), None
        self._others.clear()
        self._learn()

    def _learn(self) -> None:
        """Of inputs that are read here it is true, too, what anybody was told."""
        for told in self.told.values():
            for partition in self.assigned & told.keys():
                time = told[partition].time
                if time is not None:
                    self.progress[partition] = max(time, self.progress.get(partition, time))

    def hear(self, state: int, told: Mapping[Partition, Told]) -> None:
        """See `Watermark`."""
        self.told[state] = _merged(self.told[state], told)
        self._others.pop(state, None)

    def heard(self, state: int) -> dict[Partition, Told]:
        """See `Watermark`."""
        return _merged(self.told[state], self.own())

    def own(self) -> dict[Partition, Told]:
        """See `Watermark`."""
        return {partition: self.state_of(partition) for partition in self.assigned}

    def hold(self, is_held: bool) -> None:
        """See `Watermark`. Progress is taken note of all the same."""
        self.is_held = is_held

    def state_of(self, partition: Partition) -> Told:
        """What there is to tell of an input partition that is, or was, read here."""
        return Told(self.progress.get(partition), partition in self.idle)

    def advanced(self, progress: Mapping[Partition, int]) -> int | None:
        """See `Watermark`."""
        for partition, time in progress.items():
            self.progress[partition] = max(time, self.progress.get(partition, time))
            self.idle_since.pop(partition, None)
            self.idle.discard(partition)
        if progress:
            self.resting_since = None
        return self._derive()

    def ticked(self, at_end: Iterable[Partition], now: int) -> int | None:
        """See `Watermark`."""
        ends = frozenset(at_end) & self.assigned
        for partition in ends:
            if now - self.idle_since.setdefault(partition, now) >= self.idle_timeout:
                self.idle.add(partition)
        for partition in self.assigned - ends:
            self.idle_since.pop(partition, None)
            self.idle.discard(partition)
        if self._is_everything_idle():
            return self._rest(now)
        self.resting_since = None
        return self._derive()

    def snapshot(self) -> EventTimeWatermark:
        """See `Watermark`. Who is idle here is not part of it: what was read may have to be read again, so
        that has to be seen anew."""
        return EventTimeWatermark(
            self.lateness,
            self.idle_timeout,
            dict(self.progress),
            reached=self.reached,
            assigned=self.assigned,
            inputs=self.inputs,
            told=dict(self.told),
        )

    def _derive(self) -> int | None:
        counting = self.assigned - self.idle
        others = self._of_others()
        if all(partition in self.progress for partition in counting) and all(
            each.is_known for each in others
        ):
            times = [self.progress[partition] for partition in counting]
            times += [each.least for each in others if each.least is not None]
            if times:
                self._raise(min(times) - self.lateness)
        return self.reached

    def _is_everything_idle(self) -> bool:
        others = self._of_others()
        return (
            bool(self.assigned or self.told)
            and self.assigned <= self.idle
            and all(each.is_known and each.least is None for each in others)
        )

    def _rest(self, now: int) -> int | None:
        """Every partition is idle: from the newest event on, time passes as the clock does."""
        times = [self.progress[p] for p in self.assigned if p in self.progress]
        times += [each.newest for each in self._of_others() if each.newest is not None]
        if not times:
            return self.reached
        if self.resting_since is None:
            self.resting_since = now
        self._raise(max(times) - self.lateness + (now - self.resting_since) + self.idle_timeout)
        return self.reached

    def _of_others(self) -> Iterable[_Others]:
        """What is known of the inputs that are read elsewhere, by state partition."""
        for state in self.told.keys() - self._others.keys():
            self._others[state] = self._summary(self.told[state])
        return self._others.values()

    def _summary(self, told: Mapping[Partition, Told]) -> _Others:
        others = [each for partition, each in told.items() if partition not in self.assigned]
        counting = [each.time for each in others if not each.is_idle]
        known = [time for time in counting if time is not None]
        newest = [each.time for each in others if each.time is not None]
        is_known = len(known) == len(counting) and self.inputs <= self.assigned | told.keys()
        return _Others(min(known, default=None), max(newest, default=None), is_known)

    def _raise(self, time: int) -> None:
        if not self.is_held and (self.reached is None or time > self.reached):
            self.reached = time


def _merged(told: Mapping[Partition, Told], news: Mapping[Partition, Told]) -> dict[Partition, Told]:
    """What was told, and what is told now by who may have learnt less of the past: who has just begun to read
    knows no time yet."""
    known = {p: told[p].time for p in news.keys() & told.keys()}
    times = {p: [t for t in (known.get(p), each.time) if t is not None] for p, each in news.items()}
    return {**told, **{p: Told(max(times[p], default=None), each.is_idle) for p, each in news.items()}}


class _Alone:
    """What passes between instances, where there is one by nature."""

    def keep(self, told: Mapping[int, Mapping[Partition, Told]], inputs: Iterable[Partition]) -> None:
        """See `Watermark`."""

    def hear(self, state: int, told: Mapping[Partition, Told]) -> None:
        """See `Watermark`."""

    def heard(self, state: int) -> Mapping[Partition, Told]:
        """See `Watermark`."""
        del state
        return {}

    def own(self) -> Mapping[Partition, Told]:
        """See `Watermark`."""
        return {}

    def hold(self, is_held: bool) -> None:
        """See `Watermark`."""


@dataclass
class FiniteWatermark(_Alone):
    """The watermark of a finite input: none before its end, so that it is answered as a batch; or,
    `by_arrival`, the least progress so far, a function of the records alone."""

    by_arrival: bool = False
    progress: dict[Partition, int] = field(default_factory=dict)

    def advanced(self, progress: Mapping[Partition, int]) -> int | None:
        """See `Watermark`."""
        for partition, time in progress.items():
            self.progress[partition] = max(time, self.progress.get(partition, time))
        return self._reached()

    def assign(self, assigned: Iterable[Partition]) -> None:
        """See `Watermark`; a finite input is read here as a whole."""

    def ticked(self, at_end: Iterable[Partition], now: int) -> int | None:
        """See `Watermark`."""
        del at_end, now  # a finite input knows no time of day
        return self._reached()

    def snapshot(self) -> FiniteWatermark:
        """See `Watermark`."""
        return FiniteWatermark(self.by_arrival, dict(self.progress))

    def _reached(self) -> int | None:
        return min(self.progress.values(), default=None) if self.by_arrival else None
