"""What a successor has to know of a state partition to go on at a barrier, beside its entries.

It is an entry of its own, under a key that the engine has none like, and so leaves in the same commits as the
others and is read back with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from detectord.engine.state import StateChange, StateError
from detectord.engine.watermark import Told
from detectord.events.record import Partition, Positions

KEY = b"Standing"
FORMAT = 2

State = dict[int, dict[bytes, bytes]]
"""State entries by state partition."""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """How many records had been numbered, as state keeps numbers and later ones must be higher; what was
    known of every input partition (time in ns); and positions that were committed with it, as a state fits
    no earlier ones."""

    format: int = FORMAT
    arrivals: int = 0
    told: tuple[tuple[str, int, int | None, bool], ...] = ()
    positions: tuple[tuple[str, int, int], ...] = ()

    @classmethod
    def of(cls, arrivals: int, told: Mapping[Partition, Told], positions: Positions) -> Standing:
        """That of a supervisor."""
        return cls(
            FORMAT,
            arrivals,
            tuple((*partition, *each) for partition, each in sorted(told.items())),
            tuple((*partition, offset) for partition, offset in sorted(positions.items())),
        )

    def change(self, partition: int) -> StateChange:
        """As an entry to write for a state partition."""
        return StateChange(partition, KEY, msgspec.msgpack.encode(self))

    def progress(self) -> dict[Partition, Told]:
        """What was known of the input partitions."""
        return {(topic, number): Told(time, idle) for topic, number, time, idle in self.told}

    def committed(self) -> dict[Partition, int]:
        """Positions that were committed with it, by partition of the inputs and the hits topic."""
        return {(topic, number): offset for topic, number, offset in self.positions}


def take_standings(state: State, partitions: Iterable[int]) -> dict[int, Standing]:
    """Take them out of the entries that were read back, one for each of `partitions`: that of a first start
    where there are no entries.

    Raises:
        StateError: one is missing, or another build wrote it.
    """
    return {partition: _take(state, partition) for partition in partitions}


def _take(state: State, partition: int) -> Standing:
    beside = state.get(partition, {})
    value = beside.pop(KEY, None)
    if not beside:
        state.pop(partition, None)
    if value is None:
        if beside:
            raise StateError(
                f"state partition {partition} has entries, but nothing says where they were left"
            )
        return Standing()
    try:
        standing = msgspec.msgpack.decode(value, type=Standing)
    except msgspec.DecodeError as e:
        raise StateError(f"where state partition {partition} was left cannot be read: {e}") from e
    if standing.format != FORMAT:
        raise StateError(f"state of format {standing.format}; this build reads format {FORMAT}")
    return standing
