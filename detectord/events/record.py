"""A record: bytes with a position in a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Partition = tuple[str, int]
"""Topic (or file name) and partition number."""

Positions = Mapping[Partition, int]
"""Per partition the offset of the next record to read: the last one taken + 1."""


class Record(NamedTuple):
    """One message of a source.

    `timestamp` is the broker's, in milliseconds since the epoch, None where the source has none.
    `arrival` numbers the records of a run in the order in which the supervisor read them.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes
    arrival: int = 0


class DeadLetter(NamedTuple):
    """A record that is not an event: `reason` is one of not_json, not_object, too_large,
    decode_error, poison; `error` says what the decoder said."""

    record: Record
    reason: str
    error: str
