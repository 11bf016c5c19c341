"""Where records come from. A source replays, from a position, exactly the records after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from detectord.events.record import Partition, Positions, Record


class SourceError(Exception):
    """The input cannot be read on, and waiting will not help: the operator must act."""


class Gap(NamedTuple):
    """Records that were to be read and are no longer there: reading should have gone on at
    `expected`, and went on at `resumed`, the earliest offset the broker had."""

    partition: Partition
    expected: int
    resumed: int


class Poll(NamedTuple):
    """What one poll brought: records in partition order; the partitions whose end was reached and
    not left again; whether the assignment changed since the last poll (then everything not yet
    committed must be read again), and which partitions left, even if they came back since; whether
    the input is finite and this was its last record."""

    records: list[Record]
    at_end: frozenset[Partition]
    rebalanced: bool = False
    finished: bool = False
    left: frozenset[Partition] = frozenset()
    gaps: tuple[Gap, ...] = ()
    """What was found missing since the last poll. No record behind a gap was in an earlier poll; after a
    `seek` to before it, it is found again."""


class Source(Protocol):
    """A stream of records with positions. `Record.arrival` is left 0: the supervisor numbers."""

    def poll(self, limit: int, timeout: float) -> Poll:
        """At most `limit` records, waiting at most `timeout` seconds for the first. Serves the
        client's callbacks, so it must be called at least every few seconds (limit 0: only that)."""
        ...

    def assignment(self) -> frozenset[Partition]:
        """The partitions this source reads now."""
        ...

    def seek(self, positions: Positions) -> None:
        """Go on reading at `positions`; an assigned partition that is not named goes back to where
        the source first started it (committed position, else the configured start)."""
        ...

    def close(self) -> None:
        """Leave; nothing is committed by closing."""
        ...


class GroupSource(Source, Protocol):
    """A source that is one member of a group, which shares the partitions out."""

    def partitions(self) -> frozenset[Partition]:
        """Every partition of the topics that are read, whoever of the group reads it, as far as is known."""
        ...

    def position(self, partition: Partition) -> int:
        """The offset that an assigned partition is read at next; at its end that is behind everything that
        is there, also what is no record."""
        ...

    def membership(self, positions: Positions) -> Iterable[tuple[Positions, object]]:
        """What groups know us by now, for a transaction that stores `positions`: by group its share of them.
        It is of use until the next poll. Raises what the client raises if one of them is of a partition that
        is not ours any more."""
        ...

    def lag(self) -> Mapping[Partition, int]:
        """Records between our position and the end, as far as is known without asking."""
        ...
