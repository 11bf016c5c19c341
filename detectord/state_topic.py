"""The state topic: how state entries stand in it, whose they are, and how they are read back.

Rule 1: the topic's partition is the state partition, and its number stands in every record's key, too: what
was filed by another number of partitions is noticed, and refused.
Rule 2: reading goes to the end that READ_UNCOMMITTED tells, under read_committed. A commit that is decided
but not yet marked in the topic is behind the last stable offset; to stop there would lose it.
Rule 3: the state has one owner, a group. Whoever finds none writes a claim, in a transaction of its own, and
reads again: the claim with the lowest offset holds, for good. So of two groups that start at once one gives
up.

The key of an entry's record is its state partition (2 bytes), the number of the piece (2 bytes), and the
entry's own key; the value is bytes of the entry, behind the number of pieces (2 bytes) in piece 0. Most
entries have one piece; one that is gone has a tombstone for each. A claim is in partition 0, under `claim `
and a name; no state partition has so high a number.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not exported

from detectord.engine.state import StateChange, StateError
from detectord.kafka import EventHook, KafkaSettings, describe, ignore

FORMAT = 2
PIECE_BYTES = 256 * 1024
LEAST_MESSAGE_BYTES = 2 * PIECE_BYTES
"""The topic has to take records of this size: a piece, and a key that is longer than any."""

WITH_STATE = "with state"
"""The metadata of positions that were committed together with state."""

CLAIM = b"claim "
CLAIMED_IN = 0
READ_AT_ONCE = 1_000
WAIT_SECONDS = 0.2
ASK_SECONDS = 10.0

_NUMBER_BYTES = 2
_NAME = 2 * _NUMBER_BYTES
_FIRST = (0).to_bytes(_NUMBER_BYTES, "big")
_ALONE = (1).to_bytes(_NUMBER_BYTES, "big")
"""The number of piece 0, and of pieces where there is no other."""

Name = tuple[int, bytes]
"""State partition and entry's key."""


class StateRecord(NamedTuple):
    """A record of the topic; `value` None: a tombstone."""

    partition: int
    key: bytes
    value: bytes | None


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """Which group owns the state, and how it is written."""

    format: int
    group: str
    partitions: int

    def key(self) -> bytes:
        """Two that claim do not overwrite each other."""
        return CLAIM + self.group.encode()

    def record(self) -> StateRecord:
        """The claim as it stands in the topic."""
        return StateRecord(CLAIMED_IN, self.key(), msgspec.msgpack.encode(self))


class Pieces:
    """Which entries stand in several records, and how many, so that all are replaced or go."""

    def __init__(self, several: Mapping[Name, int] | None = None) -> None:
        self._several = dict(several or {})

    def replace(self, partitions: Collection[int], read: Pieces) -> None:
        """These partitions were read anew."""
        kept = {name: count for name, count in self._several.items() if name[0] not in partitions}
        self._several = {**kept, **read._several}

    def records(self, change: StateChange) -> Iterator[StateRecord]:
        """What has to be written for a change of an entry."""
        partition, key, value = change
        count = _count(value)
        for piece in range(count):
            assert value is not None, "what is gone has no pieces"
            data = value[piece * PIECE_BYTES : (piece + 1) * PIECE_BYTES]
            head = count.to_bytes(_NUMBER_BYTES, "big") if piece == 0 else b""
            yield StateRecord(partition, _key(partition, piece, key), head + data)
        for piece in range(count, self._several.get((partition, key), 1)):
            yield StateRecord(partition, _key(partition, piece, key), None)

    def written(self, change: StateChange) -> None:
        """A change of an entry is committed."""
        count = _count(change.value)
        if count > 1:
            self._several[change.partition, change.key] = count
        else:
            self._several.pop((change.partition, change.key), None)


def _count(value: bytes | None) -> int:
    """Records that a value takes."""
    return 0 if value is None else max(1, -(-len(value) // PIECE_BYTES))


def _key(partition: int, piece: int, key: bytes) -> bytes:
    return partition.to_bytes(_NUMBER_BYTES, "big") + piece.to_bytes(_NUMBER_BYTES, "big") + key


class Stored:
    """What stands in the topic, put together from its records.

    Who takes over waits for this, and there may be millions of records: one is put down as it is, under its
    own key, and what makes an entry of records is done once, for what is left of them in the end.
    """

    def __init__(self) -> None:
        self.records = 0
        self._claims: dict[bytes, tuple[int, bytes]] = {}
        self._standing: dict[int, dict[bytes, bytes]] = {}

    def take(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """The next record of a partition.

        Raises:
            StateError: no build of ours has written it there.
        """
        self.records += 1
        if key is None or len(key) < _NAME:
            raise StateError(f"a record of partition {partition} has no key of ours: {key!r}")
        if key.startswith(CLAIM):
            if value is not None:
                self._claims[key] = (offset, value)
            return
        number = int.from_bytes(key[:_NUMBER_BYTES], "big")
        if number != partition:
            raise StateError(f"an entry of state partition {number} stands in partition {partition}")
        standing = self._standing.get(partition)
        if standing is None:
            standing = self._standing[partition] = {}
        if value is not None:
            standing[key] = value
        else:
            standing.pop(key, None)

    def owner(self) -> Claim | None:
        """Whose state it is, None if nobody has claimed it.

        Raises:
            StateError: there is state without a claim, or the claim cannot be read.
        """
        if not self._claims:
            if any(self._standing.values()):
                raise StateError("it holds entries, but nobody has claimed them")
            return None
        _, value = min(self._claims.values())
        try:
            return msgspec.msgpack.decode(value, type=Claim)
        except msgspec.DecodeError as e:
            raise StateError(f"its claim cannot be read: {e}") from e

    def entries(self) -> tuple[dict[int, dict[bytes, bytes]], Pieces]:
        """The entries by state partition, and which of them stand in several records.

        Raises:
            StateError: a piece is missing.
        """
        entries: dict[int, dict[bytes, bytes]] = {}
        several: dict[Name, int] = {}
        for partition, standing in self._standing.items():
            own: dict[bytes, bytes] = {}
            others: dict[bytes, dict[int, bytes]] = {}
            for key, value in standing.items():
                piece = key[_NUMBER_BYTES:_NAME]
                if piece == _FIRST and value.startswith(_ALONE):
                    own[key[_NAME:]] = value[_NUMBER_BYTES:]
                else:
                    others.setdefault(key[_NAME:], {})[int.from_bytes(piece, "big")] = value
            for key, pieces in others.items():
                if key in own:
                    continue  # what is left of longer ones
                own[key] = _whole(partition, key, pieces)
                several[partition, key] = int.from_bytes(pieces[0][:_NUMBER_BYTES], "big")
            if own:
                entries[partition] = own
        return entries, Pieces(several)


def _whole(partition: int, key: bytes, pieces: Mapping[int, bytes]) -> bytes:
    """An entry that stands in several records."""
    first = pieces.get(0, b"")
    count = int.from_bytes(first[:_NUMBER_BYTES], "big")
    if not count or any(piece not in pieces for piece in range(count)):
        raise StateError(f"entry {key[:80]!r} of state partition {partition} is not whole")
    return b"".join((first[_NUMBER_BYTES:], *(pieces[piece] for piece in range(1, count))))


class Reader:
    """Reads the topic. `tick` is called while records come; `wait`, with a reason, while none do: it ends the
    reading by raising."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        tick: Callable[[], None] = lambda: None,
        wait: Callable[[str], None] = lambda _: None,
        on_event: EventHook = ignore,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._tick = tick
        self._wait = wait
        self._on_event = on_event

    def read(self, partitions: Iterable[int]) -> Stored:
        """All that is committed now in these partitions.

        Raises:
            StateError: a record is not ours.
        """
        stored = Stored()
        ends = {partition: end for partition, end in self.ends(self._topic, partitions).items() if end}
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in ends])
            while ends:
                messages = consumer.consume(READ_AT_ONCE, WAIT_SECONDS)
                for message in messages:
                    self._take(message, stored, ends)
                if messages:
                    self._tick()
                else:
                    self._wait("the state topic is not read to its end; a transaction may be open on it")
        finally:
            consumer.close()
        return stored

    def _take(self, message: Message, stored: Stored, ends: dict[int, int]) -> None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._on_event(*describe(error))
            return
        assert partition is not None, "records and ends have their place"
        assert offset is not None, "records and ends have their place"
        if error is None:
            stored.take(partition, offset, message.key(), message.value())
            offset += 1
        # The last may be marks of transactions' ends, behind which only the client's end comes.
        if offset >= ends.get(partition, offset + 1):
            del ends[partition]

    def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The offsets behind everything that is there, committed or not."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the binding has no types for it
        asked = {TopicPartition(topic, number): latest for number in partitions}
        if not asked:
            return {}
        admin = AdminClient(self._settings.client(), logger=logging.getLogger("detectord.kafka"))
        while True:
            futures = admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ASK_SECONDS
            )
            try:
                return {place.partition: future.result().offset for place, future in futures.items()}
            except KafkaException as e:
                self._on_event(*describe(e.args[0]))
                self._wait(f"the ends of topic {topic} are not told: {e.args[0].str()}")

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                **self._settings.client(),
                "error_cb": lambda error: self._on_event(*describe(error)),
                "group.id": f"{self._settings.member}.restore",  # it joins nothing and stores nothing
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "check.crcs": True,
                "fetch.queue.backoff.ms": 10,
                "fetch.wait.max.ms": 50,
            },
            logger=logging.getLogger("detectord.kafka"),
        )
