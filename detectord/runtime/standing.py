"""What a successor has to know to go on at a barrier, beside the entries of the state partitions.

It is an entry of its own, filed with those of state partition 0 under a key that the engine has none like,
and so leaves in the same commits and is read back with them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from detectord.engine.state import StateChange, StateError
from detectord.events.record import Partition, Positions

KEY = b"Standing"
FILED_WITH = 0
FORMAT = 1

State = dict[int, dict[bytes, bytes]]
"""State entries by state partition."""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """Where event time stood (ns); how many records had been numbered, as state keeps numbers and later ones
    must be higher; and the positions that were committed with it, as a state fits no others."""

    format: int = FORMAT
    arrivals: int = 0
    reached: int | None = None
    progress: tuple[tuple[str, int, int], ...] = ()
    positions: tuple[tuple[str, int, int], ...] = ()

    @classmethod
    def of(
        cls, arrivals: int, reached: int | None, progress: Mapping[Partition, int], positions: Positions
    ) -> Standing:
        """That of a supervisor."""
        return cls(FORMAT, arrivals, reached, _listed(progress), _listed(positions))

    def change(self) -> StateChange:
        """As an entry to write."""
        return StateChange(FILED_WITH, KEY, msgspec.msgpack.encode(self))

    def newest(self) -> dict[Partition, int]:
        """Per input partition the newest event time."""
        return {(topic, number): time for topic, number, time in self.progress}

    def committed(self) -> dict[Partition, int]:
        """Per input partition the position committed last."""
        return {(topic, number): offset for topic, number, offset in self.positions}


def _listed(by_partition: Mapping[Partition, int]) -> tuple[tuple[str, int, int], ...]:
    return tuple((*partition, value) for partition, value in sorted(by_partition.items()))


def take_standing(state: State) -> Standing:
    """Take it out of the entries that were read back; the one of a first start if there are none.

    Raises:
        StateError: it is missing, or another build wrote it.
    """
    beside = state.get(FILED_WITH, {})
    value = beside.pop(KEY, None)
    if not beside:
        state.pop(FILED_WITH, None)
    if value is None:
        if state:
            raise StateError("there are state entries, but nothing says where they were left")
        return Standing()
    try:
        standing = msgspec.msgpack.decode(value, type=Standing)
    except msgspec.DecodeError as e:
        raise StateError(f"what says where the state was left cannot be read: {e}") from e
    if standing.format != FORMAT:
        raise StateError(f"state of format {standing.format}; this build reads format {FORMAT}")
    return standing
