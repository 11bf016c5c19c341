"""The sink contract, held against every sink."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from brokers import Broker
from contracts.sink import CHECKS, Harness
from mockcluster import consume

from detectord.events.record import Partition, Positions
from detectord.kafka import KafkaSettings
from detectord.sinks import DeliveryError
from detectord.sinks.kafka import KafkaSink
from detectord.sinks.memory import MemorySink, MemoryTopics, TransactionalMemorySink
from detectord.sinks.ndjson import NdjsonSink


def memory() -> Harness:
    stored: dict[Partition, int] = {}
    sink = MemorySink(stored.update)

    @contextmanager
    def broken() -> Iterator[None]:
        sink.fail()
        yield

    return Harness(
        sink=sink,
        alerts=lambda: [alert.value for alert in sink.alerts],
        dead_letters=lambda: [letter.reason for letter in sink.dead_letters],
        ledger=lambda: [tuple(record) for record in sink.ledger],
        positions=lambda: stored,
        broken=broken,
    )


def memory_with_transactions() -> Harness:
    topics, stored = MemoryTopics(), dict[Partition, int]()
    is_broken = False

    def reached(step: str) -> None:
        if is_broken and step == "commit":
            raise DeliveryError("given up")

    @contextmanager
    def broken() -> Iterator[None]:
        nonlocal is_broken
        is_broken = True
        yield
        is_broken = False

    return Harness(
        sink=TransactionalMemorySink(topics, stored.update, reached),
        alerts=lambda: [alert.value for alert in topics.alerts],
        dead_letters=lambda: [letter.reason for letter in topics.dead_letters],
        ledger=lambda: [tuple(record) for record in topics.ledger],
        positions=lambda: stored,
        broken=broken,
    )


def ndjson(path: Path) -> Harness:
    sink = NdjsonSink(path)

    @contextmanager
    def broken() -> Iterator[None]:
        """The disk is full: the file takes some bytes, and then no more."""
        whole = sink._file
        sink._file = FullDisk(path)
        yield
        sink._file.close()
        sink._file = whole

    return Harness(
        sink=sink,
        alerts=lambda: path.read_bytes().splitlines(),
        dead_letters=lambda: [reason for reason, n in sink.dead_letters.items() for _ in range(n)],
        positions=lambda: sink.positions,
        broken=broken,
    )


class FullDisk:
    """A file that takes four bytes of the first write and fails at the second."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 - the sink closes it
        self._file.seek(0, 2)
        self._room = 4

    def write(self, data: memoryview) -> int:
        if not self._room:
            raise OSError(28, "No space left on device")
        room, self._room = self._room, 0
        return self._file.write(data[:room])

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def kafka(broker: Broker) -> Harness:
    alerts, dead, ledger = (broker.topic(1, stem) for stem in ("alerts", "dlq", "ledger"))
    stored: dict[Partition, int] = {}

    def store(positions: Positions) -> None:
        stored.update(positions)

    def reasons() -> list[str]:
        letters = consume(broker.bootstrap_servers, dead)
        return [dict(letter.headers())["dlq-reason"].decode() for letter in letters]

    # A broker that is there may take its time on a busy machine; one that is away is not waited for.
    pace = 1

    @contextmanager
    def broken() -> Iterator[None]:
        nonlocal pace
        pace = 100
        with broker.down():
            yield
        pace = 1

    return Harness(
        sink=KafkaSink(
            KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
            store,
            alert_topic=alerts,
            dead_letter_topic=dead,
            ledger_topic=ledger,
            deadline=30.0,
            clock=lambda: time.monotonic() * pace,
        ),
        alerts=lambda: [message.value() for message in consume(broker.bootstrap_servers, alerts)],
        dead_letters=reasons,
        ledger=lambda: [(m.key().decode(), m.value()) for m in consume(broker.bootstrap_servers, ledger)],
        positions=lambda: stored,
        broken=broken,
    )


@pytest.mark.parametrize("check", CHECKS)
def test_memory(check) -> None:
    check(memory)


@pytest.mark.parametrize("check", CHECKS)
def test_memory_with_transactions(check) -> None:
    check(memory_with_transactions)


@pytest.mark.parametrize("check", CHECKS)
def test_ndjson(check, tmp_path: Path) -> None:
    check(lambda: ndjson(tmp_path / "out.ndjson"))


@pytest.mark.broker
@pytest.mark.parametrize("check", CHECKS)
def test_kafka(check, broker: Broker) -> None:
    check(lambda: kafka(broker))
