"""A Kafka cluster inside this process, for the demonstration: librdkafka's mock cluster.

Real clients speak the real protocol to it over loopback, and nothing has to be installed. What it is
not: it keeps nothing on disk, at most 5 MiB of a partition (older records silently vanish), has no
admin API, and only pretends to do transactions. So it is for at-least-once delivery, and whoever
writes to it must wait for its readers: that is `Feeder`.

Topics come into being on first use, with 4 partitions. The cluster lives in threads of the client
library, which need no Python to run, and ends with the block it was opened for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from detectord.events.record import Partition

UNREAD_LIMIT = 2 * 1024 * 1024
"""Bytes that may wait unread in a partition: well below what the cluster keeps."""

ASK_SECONDS = 0.2


class EmbeddedBroker:
    """A cluster of one broker, running inside a `with` block."""

    def __init__(self) -> None:
        self._client: Producer | None = None
        self.bootstrap_servers = ""
        """Host and port on loopback, for this and other processes; set inside the block."""

    def __enter__(self) -> Self:
        self._client = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0})
        broker = next(iter(self._client.list_topics(timeout=10).brokers.values()))
        self.bootstrap_servers = f"{broker.host}:{broker.port}"
        return self

    def create(self, *topics: str) -> None:
        """Make topics, so that who subscribes to them finds them at once."""
        assert self._client is not None, "the broker runs inside its with block only"
        for topic in topics:
            self._client.list_topics(topic, timeout=10)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None


class Feeder:
    """Writes records for the readers of `group`, and never more than they keep up with.

    A record is unread until the group has committed an offset behind it. Before a partition would
    hold more than `unread_limit` unread bytes, feeding waits; if for `patience` seconds the group
    commits nothing, it gives up.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group: str,
        *,
        unread_limit: int = UNREAD_LIMIT,
        patience: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        client = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
        self._producer = Producer({**client, "partitioner": "murmur2_random", "linger.ms": 5})
        # It never subscribes: it only asks what the group has committed.
        self._group = Consumer({**client, "group.id": group, "enable.auto.commit": False})
        self._unread_limit = unread_limit
        self._patience = patience
        self._clock = clock
        self._unread: dict[Partition, deque[tuple[int, int]]] = {}
        self._bytes: dict[Partition, int] = {}
        self._in_flight = 0
        self._error: KafkaError | None = None

    def feed(self, topic: str, records: Iterable[tuple[bytes | None, bytes]]) -> int:
        """Write (key, value) pairs; returns their number when the broker has them all.

        Raises:
            TimeoutError: the group does not read on.
            KafkaException: the broker did not take a record.
        """
        count = 0
        for key, value in records:
            size = len(value) + len(key or b"")
            self._make_room(size)
            self._in_flight += size
            self._producer.produce(topic, value, key, on_delivery=self._delivered)
            self._producer.poll(0)
            count += 1
        self._settle()
        return count

    def wait_until_read(self) -> None:
        """Wait until the group has committed everything that was fed.

        Raises:
            TimeoutError: the group does not read on.
            KafkaException: the broker did not take a record.
        """
        self._settle()
        self._wait(lambda: not any(self._unread.values()))

    def close(self) -> None:
        """Let go of the connections."""
        self._group.close()

    def unread(self) -> int:
        """Bytes the broker holds that the group had not committed when last asked."""
        return sum(self._bytes.values())

    def _make_room(self, size: int) -> None:
        # Where records on their way will land is not known: each might land in the fullest.
        def fits() -> bool:
            held = self._in_flight + max(self._bytes.values(), default=0)
            return held == 0 or held + size <= self._unread_limit

        if not fits():
            self._settle()
            self._wait(fits)

    def _settle(self) -> None:
        """Wait until nothing is on its way."""
        self._producer.flush(self._patience)
        if self._error is not None:
            raise KafkaException(self._error)
        if self._in_flight:
            raise TimeoutError("the embedded broker does not answer")

    def _wait(self, done: Callable[[], bool]) -> None:
        until = self._clock() + self._patience
        while not done():
            if self._forget_read():
                until = self._clock() + self._patience
            elif self._clock() >= until:
                raise TimeoutError(f"nobody reads on: {self.unread()} bytes wait in the embedded broker")
            else:
                self._group.poll(ASK_SECONDS)

    def _forget_read(self) -> bool:
        """Ask the group how far it is; true if that is further than before."""
        partitions = [TopicPartition(*p) for p, waiting in self._unread.items() if waiting]
        moved = False
        for told in self._group.committed(partitions, timeout=10):
            partition = (told.topic, told.partition)
            waiting = self._unread[partition]
            while waiting and waiting[0][0] < told.offset:
                self._bytes[partition] -= waiting.popleft()[1]
                moved = True
        return moved

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        size = len(message.value() or b"") + len(message.key() or b"")
        self._in_flight -= size
        if error is not None:
            self._error = error
            return
        partition = (str(message.topic()), int(message.partition() or 0))
        self._unread.setdefault(partition, deque()).append((int(message.offset() or 0), size))
        self._bytes[partition] = self._bytes.get(partition, 0) + size
