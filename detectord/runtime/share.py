"""The state partitions that the group has given to this instance, and what passes between instances.

Rule 1: an instance keeps a state partition while the group assigns it the partition of the hits topic that
bears its number. What was committed for it is read back when it comes, and forgotten when it leaves, even if
it is back at once: somebody may have had it in between.
Rule 2: event time stands still while hits that are written already have not been read. Who reads an input
partition now may not be who read it before, and the former one's last hits may still wait in the topic;
whatever comes later is told in the topic, behind the hits it rests on.
Rule 3: others are told of our input partitions with every commit in which something changed, and of all of
them with the first commit after any loss or change, so that nobody waits for a word that was lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from detectord.engine.watermark import Told
from detectord.events.record import Partition, Positions, Record
from detectord.hits_topic import AwayRecord, PackedHits, Words, read, written
from detectord.runtime.standing import Standing, State
from detectord.sources import GroupSource


class Restored(NamedTuple):
    """What was committed of some state partitions: their entries, and where each was left."""

    state: State
    standings: Mapping[int, Standing]


class StateStore(Protocol):
    """Where the state is that was committed."""

    def restore(self, partitions: Collection[int]) -> Restored:
        """Read back these state partitions, each with everything that was ever committed for it.

        Raises:
            StateError: there is something that this build cannot read, or that does not fit.
        """
        ...

    def ends(self, partitions: Collection[int]) -> Mapping[int, int]:
        """For partitions of the hits topic the offset behind everything that is there, committed or not."""
        ...


class Change(NamedTuple):
    """What a new assignment means: state partitions that are to be forgotten, and what came."""

    lost: frozenset[int]
    restored: Restored


class Share:
    """What this instance keeps of `partitions` state partitions. `kept` are their numbers; `told` is what
    others know of our input partitions since the last loss."""

    def __init__(
        self, source: GroupSource, store: StateStore, *, group: str, hits_topic: str, partitions: int
    ) -> None:
        self.kept: frozenset[int] = frozenset()
        self.told: dict[Partition, Told] = {}
        self._source = source
        self._store = store
        self._group = group
        self._topic = hits_topic
        self._partitions = partitions
        self._ends: Mapping[int, int] = {}
        self._behind: set[int] = set()
        self._start: dict[Partition, int] = {}

    def reassigned(self, left: frozenset[Partition]) -> Change:
        """The group has shared its partitions out anew; raises as `StateStore`."""
        now = frozenset(self._numbers(self._source.assignment()))
        stays = (self.kept & now) - self._numbers(left)
        change = Change(self.kept - stays, self._store.restore(now - stays))
        self._ends = self._store.ends(now)
        self.kept = now
        return change

    def rewound(self) -> None:
        """Reading has begun anew at the positions of the last commit."""
        self.told = {}
        self._start = {p: self._source.position(p) for p in self._source.assignment()}
        self._behind = {n for n, end in self._ends.items() if self._position(n) < end}

    def has_caught_up(self) -> bool:
        """True if all hits have been read that were written before the last assignment."""
        self._behind = {n for n in self._behind if self._position(n) < self._ends[n]}
        return not self._behind

    def is_whole(self) -> bool:
        """True if no other instance keeps anything."""
        return len(self.kept) == self._partitions

    def inputs(self, partitions: Collection[Partition]) -> frozenset[Partition]:
        """Those of them that are read for their events."""
        return frozenset(p for p in partitions if p[0] != self._topic)

    def all_inputs(self) -> frozenset[Partition]:
        """Every input partition, whoever reads it."""
        return self.inputs(self._source.partitions())

    def is_heard(self, record: Record) -> bool:
        """True for a record of the hits topic."""
        return record.topic == self._topic

    def hear(self, record: Record) -> Words:
        """What such a record says; raises as `hits_topic.read`."""
        return read(record, self._group)

    def words(
        self, hits: Mapping[int, Sequence[PackedHits]], own: Mapping[Partition, Told]
    ) -> list[AwayRecord]:
        """What a commit has for those who keep the other state partitions."""
        news = {p: told for p, told in own.items() if self.told.get(p) != told}
        return [
            record
            for number in range(self._partitions)
            if number not in self.kept
            for record in written(self._group, number, hits.get(number, ()), news)
        ]

    def fenced(self, moved: Positions, committed: Positions) -> Positions:
        """`moved`, with a position that is committed already for the inputs and for the hits topic if there
        is none of these: so that each of their groups can refuse a commit of who is no member any more."""
        positions = dict(moved)
        for of_hits in (True, False):
            own = [p for p in sorted(self._start) if (p[0] == self._topic) is of_hits]
            if own and positions.keys().isdisjoint(own):
                positions[own[0]] = committed.get(own[0], self._start[own[0]])
        return positions

    def partition(self, number: int) -> Partition:
        """The partition of the hits topic for a state partition."""
        return self._topic, number

    def _position(self, number: int) -> int:
        return self._source.position((self._topic, number))

    def _numbers(self, partitions: Collection[Partition]) -> set[int]:
        return {number for topic, number in partitions if topic == self._topic}
