"""Topics in memory, for the simulation and the tests: everything a Kafka group does, on cue.

`MemoryLog` is the cluster: the records of every partition and the group's committed positions; it
outlives sources, as a cluster outlives instances. `MemorySource` is one member of the group. It does
nothing by itself: partitions come and go when `rebalance` says so, reading fails when `fail` says so.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from detectord.events.record import Partition, Positions, Record
from detectord.sources import Poll, SourceError


class MemoryLog:
    """Records by partition, and what the group has committed."""

    def __init__(self, partitions: Iterable[Partition]) -> None:
        self.records: dict[Partition, list[Record]] = {p: [] for p in partitions}
        self.committed: dict[Partition, int] = {}
        self.finished = False

    def append(
        self, partition: Partition, value: bytes, *, key: bytes | None = None, timestamp: int | None = None
    ) -> int:
        """Add a record at the end of `partition`; its offset."""
        records = self.records[partition]
        records.append(Record(*partition, len(records), timestamp, key, value))
        return len(records) - 1

    def finish(self) -> None:
        """Nothing more will be appended: the input is finite."""
        self.finished = True


class MemorySource:
    """A member of the group that reads `assignment`, at first all partitions of the log.

    With `rng` a poll takes a random share of random partitions; without, it takes in turn as much as
    there is. A partition starts at its committed position, else at its first record.
    """

    def __init__(
        self,
        log: MemoryLog,
        assignment: Iterable[Partition] | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self.log = log
        self.closed = False
        self._rng = rng
        self._turn = 0
        self._first: dict[Partition, int] = {}
        self._position: dict[Partition, int] = {}
        self._next: frozenset[Partition] | None = None
        self._left: frozenset[Partition] = frozenset()
        self._error: SourceError | None = None
        self._start(log.records if assignment is None else assignment)

    # On cue.

    def rebalance(self, assignment: Iterable[Partition]) -> None:
        """From the next poll on, read these partitions: those read already, and not taken away by an
        earlier call meanwhile, go on where they are, the others start at their committed position."""
        self._next = frozenset(assignment)
        self._left |= self._position.keys() - self._next

    def fail(self, message: str = "this source was told to fail") -> None:
        """Let the next poll raise SourceError."""
        self._error = SourceError(message)

    # The Source protocol.

    def poll(self, limit: int, timeout: float) -> Poll:
        """The next records; see `Source.poll`. It never waits: nothing comes by waiting."""
        del timeout
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        rebalanced = self._next is not None
        if self._next is not None:
            kept = (self._next & self._position.keys()) - self._left
            self._position = {p: self._position[p] for p in kept}
            self._start(self._next - kept)
            self._next = None
        left, self._left = self._left, frozenset()
        records = self._take(limit)
        at_end = frozenset(p for p, offset in self._position.items() if offset >= len(self.log.records[p]))
        finished = self.log.finished and len(at_end) == len(self._position)
        return Poll(records, at_end, rebalanced, finished, left)

    def assignment(self) -> frozenset[Partition]:
        """The partitions read now."""
        return frozenset(self._position)

    def partitions(self) -> frozenset[Partition]:
        """All there are."""
        return frozenset(self.log.records)

    def position(self, partition: Partition) -> int:
        """See `Source.position`."""
        return self._position[partition]

    def membership(self, positions: Positions) -> list[tuple[Positions, object]]:
        """See `GroupSource.membership`; nobody is refused here."""
        return [(positions, None)]

    def lag(self) -> dict[Partition, int]:
        """See `GroupSource.lag`."""
        return {p: len(self.log.records[p]) - offset for p, offset in self._position.items()}

    def seek(self, positions: Positions) -> None:
        """Read on at `positions`; see `Source.seek`."""
        for partition in self._position:
            self._position[partition] = positions.get(partition, self._first[partition])

    def commit(self, positions: Positions) -> None:
        """Store `positions` for the group."""
        self.log.committed.update(positions)

    def close(self) -> None:
        """Leave the group."""
        self.closed = True
        self._position.clear()

    def _start(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._first[partition] = self._position[partition] = self.log.committed.get(partition, 0)

    def _take(self, limit: int) -> list[Record]:
        taken: list[Record] = []
        for partition in self._order():
            share = limit - len(taken)
            if self._rng is not None:
                share = self._rng.randint(0, share)
            start = self._position[partition]
            records = self.log.records[partition][start : start + share]
            taken += records
            self._position[partition] = start + len(records)
        return taken

    def _order(self) -> list[Partition]:
        order = sorted(self._position)
        if self._rng is not None:
            self._rng.shuffle(order)
        elif order:
            self._turn = (self._turn + 1) % len(order)
            order = order[self._turn :] + order[: self._turn]
        return order
