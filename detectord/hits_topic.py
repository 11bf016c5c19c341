"""The hits topic: step hits on their way to the instance that keeps the state they concern.

Rule 1: the topic's partition is the state partition. What one transaction of an instance has for a partition
it does not keep stands there in order: hits, and behind them what is told of the input partitions these rest
on. So whoever has read a word about an input partition has read all hits that belong to it.
Rule 2: an instance writes to partitions that it does not keep, and reads those that it keeps. One instance
that keeps all of them neither writes nor reads anything here.
Rule 3: the topic is one group's. A record of another group, or of another format, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from detectord.engine.state import StateError
from detectord.engine.watermark import Told
from detectord.events.record import Partition, Record

FORMAT = 1
MOST_BYTES = 384 * 1024
"""Of the hits of a record: whatever topic takes state takes them, too (`state_topic.LEAST_MESSAGE_BYTES`)."""


class PackedHits(NamedTuple):
    """A list of the hits (`EventHits`) of some events for one state partition, at most MOST_BYTES."""

    events: int
    packed: bytes


class Words(msgspec.Struct, frozen=True, array_like=True):
    """One record. `told`: topic, partition, newest event time (ns), whether it is idle."""

    format: int
    group: str
    told: tuple[tuple[str, int, int | None, bool], ...]
    hits: tuple[PackedHits, ...]

    def progress(self) -> dict[Partition, Told]:
        """What is told of the input partitions."""
        return {(topic, number): Told(time, is_idle) for topic, number, time, is_idle in self.told}


class AwayRecord(NamedTuple):
    """A record to write to the partition of the topic that bears the state partition's number."""

    partition: int
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Words).decode


def written(
    group: str, partition: int, hits: Sequence[PackedHits], told: Mapping[Partition, Told]
) -> Iterator[AwayRecord]:
    """What has to be written for a state partition that another instance keeps."""
    words = tuple((*place, *each) for place, each in sorted(told.items()))
    batches = list(_batches(hits)) or ([[]] if words else [])
    for number, batch in enumerate(batches, 1):
        record = Words(
            FORMAT,
            group,
            words if number == len(batches) else (),
            tuple(batch),
        )
        yield AwayRecord(partition, _encode(record))


def _batches(hits: Sequence[PackedHits]) -> Iterator[list[PackedHits]]:
    batch: list[PackedHits] = []
    size = 0
    for each in hits:
        if batch and size + len(each.packed) > MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each.packed)
    if batch:
        yield batch


def read(record: Record, group: str) -> Words:
    """What a record of the topic says.

    Raises:
        StateError: it is not one of our group, or of another format.
    """
    place = f"the record at offset {record.offset} of {record.topic}[{record.partition}]"
    try:
        words = _decode(record.value)
    except msgspec.DecodeError as e:
        raise StateError(f"{place} cannot be read: {e}") from e
    if words.format != FORMAT:
        raise StateError(f"{place} is of format {words.format}; this build reads format {FORMAT}")
    if words.group != group:
        raise StateError(f"{place} belongs to group {words.group}, not to {group}; set kafka.topic_prefix")
    return words
