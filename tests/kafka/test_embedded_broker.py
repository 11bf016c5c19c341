"""The embedded broker and its feeder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contracts.source import read
from mockcluster import consume

from detectord.demo.broker import EmbeddedBroker, Feeder
from detectord.kafka import KafkaSettings
from detectord.sources.kafka import KafkaSource

pytestmark = pytest.mark.broker

GROUP = "demo"


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def test_what_is_fed_can_be_read(broker: EmbeddedBroker) -> None:
    broker.create("in")
    feeder = Feeder(broker.bootstrap_servers, GROUP)
    records = [(b"host-%d" % (n % 3), b"%d" % n) for n in range(30)]
    assert feeder.feed("in", records) == 30
    assert feeder.unread() == sum(len(key) + len(value) for key, value in records)
    messages = consume(broker.bootstrap_servers, "in", partitions=4)
    assert {(m.key(), m.value()) for m in messages} == set(records)
    partitions = {key: {m.partition() for m in messages if m.key() == key} for key, _ in records}
    assert all(len(each) == 1 for each in partitions.values())
    feeder.close()


def test_feeding_waits_for_the_readers(broker: EmbeddedBroker) -> None:
    """A generator that reads while it is being fed from: it sees how far the feeder went ahead."""
    topic, size, limit = "slow", 1_000, 10_000
    broker.create(topic)
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, group="slow")
    source = KafkaSource(settings, [topic], start="earliest")
    while not source.assignment():
        source.poll(1, 0.1)
    feeder = Feeder(broker.bootstrap_servers, "slow", unread_limit=limit)
    ahead = []

    def records() -> Iterator[tuple[bytes | None, bytes]]:
        for n in range(50):
            ahead.append(feeder.unread())
            if n % 10 == 9:
                positions = {(r.topic, r.partition): r.offset + 1 for r in read(source, 9 if n == 9 else 10)}
                source.commit(positions)
            yield None, b"x" * size

    assert feeder.feed(topic, records()) == 50
    assert 0 < max(ahead) <= 4 * limit
    source.commit({(r.topic, r.partition): r.offset + 1 for r in read(source, 1)})
    feeder.wait_until_read()
    assert feeder.unread() == 0
    feeder.close()
    source.close()


def test_a_feeder_nobody_reads_from_gives_up(broker: EmbeddedBroker) -> None:
    now = iter(range(0, 100_000, 10))
    feeder = Feeder(broker.bootstrap_servers, "nobody", unread_limit=100, clock=lambda: float(next(now)))
    with pytest.raises(TimeoutError, match="nobody reads on"):
        feeder.feed("unread", [(None, b"x" * 60)] * 3)
    feeder.close()
