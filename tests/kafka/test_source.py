"""KafkaSource: where it starts, what it does when something is wrong. Errors on order only the mock has."""

from __future__ import annotations

import random
import time
import uuid
from itertools import count
from typing import Any

import pytest
from brokers import Broker
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from contracts.source import poll_until, read, read_to_end, values
from mockcluster import HEARTBEAT, OFFSET_COMMIT, OFFSET_FETCH, MockCluster, produce

from detectord.kafka import KafkaSettings
from detectord.sources import SourceError
from detectord.sources.kafka import Gap, KafkaSource

pytestmark = pytest.mark.broker

Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:12]}"


def open_source(broker: Broker, group: str, topic: str, **options: Any) -> KafkaSource:
    # The mock does not know static members: who closes stays in the group until the session ends.
    quick = {"heartbeat.interval.ms": 100, "session.timeout.ms": 1_000}
    properties = {**quick, **options.pop("properties", {})}
    settings = KafkaSettings(
        bootstrap_servers=broker.bootstrap_servers,
        group=group,
        instance=options.pop("instance", "i0"),
        consumer_properties=properties,
    )
    options.setdefault("start", "earliest")
    return KafkaSource(settings, [topic], pause_after=options.pop("pause_after", 0.0), **options)


def commit_as_someone(broker: Broker, group: str, topic: str, offset: int) -> None:
    client = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    client.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    client.close()


def committed(broker: Broker, group: str, topic: str) -> int:
    client = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    offset: int = client.committed([TopicPartition(topic, 0)], timeout=10)[0].offset
    client.close()
    return offset


def test_a_record_has_all_its_parts(broker: Broker, group: str) -> None:
    topic = broker.topic(1)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce(topic, b"value", b"key", timestamp=1234)
    producer.produce(topic, None, timestamp=1235)
    producer.flush(10)
    source = open_source(broker, group, topic)
    first, second = read(source, 2)
    assert first == (topic, 0, 0, 1234, b"key", b"value", 0)
    assert second == (topic, 0, 1, 1235, None, b"", 0)
    source.close()


def test_who_is_cut_off_is_not_at_the_end(broker: Broker, group: str) -> None:
    """Else event time would run on without what is written meanwhile, and all of it come too late."""
    topic = broker.topic(1)
    # A broker that stands still is not to cost the membership, too
    source = open_source(broker, group, topic, properties={"session.timeout.ms": 30_000})
    produce(broker.bootstrap_servers, topic, [b"a"])
    read(source, 1)
    poll_until(source, lambda poll: poll.at_end)
    with broker.down():
        poll_until(source, lambda poll: not poll.at_end)
        assert source.poll(100, 0.1).at_end == frozenset()
    poll_until(source, lambda poll: poll.at_end)
    source.close()


def test_a_start_at_the_end_is_remembered_and_committed(broker: Broker, group: str) -> None:
    topic = broker.topic(1)
    produce(broker.bootstrap_servers, topic, [b"before"])
    source = open_source(broker, group, topic, start="latest")
    assert read_to_end(source) == []
    produce(broker.bootstrap_servers, topic, [b"after"])
    assert values(read(source, 1)) == [b"after"]
    source.seek({})
    assert values(read(source, 1)) == [b"after"]
    source.close()  # nothing was committed but the start
    again = open_source(broker, group, topic, start="latest")
    assert values(read(again, 1)) == [b"after"]
    again.close()


def test_a_time_after_the_last_record_is_the_end(broker: Broker, group: str) -> None:
    # The mock knows no record times: it answers to any as a broker does for a time after the last record.
    topic = broker.topic(1)
    produce(broker.bootstrap_servers, topic, [b"before"])
    source = open_source(broker, group, topic, start="2126-02-01T09:00:00Z")
    assert read_to_end(source) == []
    produce(broker.bootstrap_servers, topic, [b"after"])
    assert values(read(source, 1)) == [b"after"]
    source.close()


def test_a_partition_added_later_is_read_from_its_beginning(broker: Broker, group: str) -> None:
    topic = broker.topic(2)
    for partition in (0, 1):
        produce(broker.bootstrap_servers, topic, [b"p%d" % partition], partition)
    source = open_source(broker, group, topic, start="latest")
    source._counts[topic] = 1  # as if the topic had had one partition when we first saw it
    assert values(read(source, 1)) == [b"p1"]
    source.close()


def test_committed_positions_win_over_the_start(broker: Broker, group: str) -> None:
    topic = broker.topic(1)
    produce(broker.bootstrap_servers, topic, [b"0", b"1", b"2"])
    source = open_source(broker, group, topic)
    read(source, 3)
    source.commit({(topic, 0): 1})
    source.close()
    again = open_source(broker, group, topic, start="latest")
    assert values(read(again, 2)) == [b"1", b"2"]
    again.seek({})
    assert values(read(again, 2)) == [b"1", b"2"]
    again.close()


@pytest.mark.parametrize("offset", [50, 3_000_000_000])
def test_a_gap_is_told_and_read_behind(broker: Broker, group: str, offset: int) -> None:
    topic = broker.topic(1)
    produce(broker.bootstrap_servers, topic, [b"0", b"1"])
    commit_as_someone(broker, group, topic, offset)
    events: Events = []
    source = open_source(broker, group, topic, on_event=lambda *event: events.append(event))
    first = poll_until(source, lambda poll: poll.gaps or poll.records)
    assert first.gaps == (Gap((topic, 0), offset, 0),)
    again = read(source, 2 - len(first.records)) if len(first.records) < 2 else []
    assert values([*first.records, *again]) == [b"0", b"1"]
    assert ("source.gap", {"partition": (topic, 0), "expected": offset, "resumed": 0}) in events
    source.close()


def test_seeking_is_exact_whatever_was_fetched_ahead(broker: Broker, group: str) -> None:
    topic, size = broker.topic(3), 2_000
    for partition in range(3):
        produce(broker.bootstrap_servers, topic, [b"x" * 100] * size, partition)
    source = open_source(broker, group, topic)
    poll_until(source, lambda poll: poll.records)
    rng = random.Random(7)
    taken = 0
    for _ in range(15):
        expected = {(topic, number): rng.randrange(size) for number in range(3)}
        source.seek(expected)
        for limit in rng.choices([0, 0, 1, 40, 900], k=4):
            for record in source.poll(limit, 0.1).records:
                assert limit > 0
                assert record.offset == expected[record.topic, record.partition]
                expected[record.topic, record.partition] += 1
                taken += 1
    assert taken > size
    assert sum(source.lag().values()) == 3 * size - sum(expected.values())
    source.close()


def test_pausing_keeps_what_was_fetched_for_a_while(broker: Broker, group: str) -> None:
    topic = broker.topic(1)
    produce(broker.bootstrap_servers, topic, [b"0", b"1"])
    now = [0.0]
    source = open_source(broker, group, topic, pause_after=2.0, clock=lambda: now[0])
    read(source, 1)
    assert source.poll(0, 0.0).records == []
    assert not source._paused
    now[0] = 2.0
    assert source.poll(0, 0.0).records == []
    assert source._paused
    assert values(read(source, 1)) == [b"1"]
    source.close()


def test_a_broker_that_is_away_is_an_event(cluster: MockCluster, group: str) -> None:
    topic = cluster.topic(1)
    produce(cluster.bootstrap_servers, topic, [b"0"])
    events: Events = []
    fast = {"reconnect.backoff.max.ms": 100}
    source = open_source(cluster, group, topic, on_event=lambda *event: events.append(event), properties=fast)
    read(source, 1)
    with cluster.down():
        poll_until(source, lambda _: any(name == "kafka.unreachable" for name, _ in events))
    produce(cluster.bootstrap_servers, topic, [b"1"])
    assert values(read(source, 1)) == [b"1"]
    source.close()


def test_a_partition_waits_until_the_broker_tells_its_position(cluster: MockCluster, group: str) -> None:
    topic = cluster.topic(1)
    produce(cluster.bootstrap_servers, topic, [b"0"])
    events: Events = []
    now = count(0, 2)  # every look at the clock is two seconds later: no waiting before asking again
    source = open_source(
        cluster, group, topic, on_event=lambda *event: events.append(event), clock=lambda: float(next(now))
    )
    cluster.fail(OFFSET_FETCH, [KafkaError.GROUP_AUTHORIZATION_FAILED])
    assert values(read(source, 1)) == [b"0"]
    assert "kafka.not_authorised" in [name for name, _ in events]
    source.close()


def test_an_unknown_topic_is_an_event(broker: Broker, group: str) -> None:
    events: Events = []
    source = open_source(broker, group, "no-such-topic", on_event=lambda *event: events.append(event))
    poll_until(source, lambda _: events)
    assert events[0][0] == "kafka.topic_unknown"
    assert "no-such-topic" in str(events[0][1]["error"])
    source.close()


def test_a_commit_is_tried_again_and_then_raised(cluster: MockCluster, group: str) -> None:
    topic = cluster.topic(1)
    produce(cluster.bootstrap_servers, topic, [b"0"])
    source = open_source(cluster, group, topic)
    read(source, 1)
    cluster.fail(OFFSET_COMMIT, [KafkaError.COORDINATOR_LOAD_IN_PROGRESS])
    source.commit({(topic, 0): 1})
    assert committed(cluster, group, topic) == 1
    cluster.fail(OFFSET_COMMIT, [KafkaError.ILLEGAL_GENERATION])
    with pytest.raises(KafkaException):
        source.commit({(topic, 0): 7})
    with pytest.raises(KafkaException):
        source.commit({(topic, 0): 8, (topic, 1): 1})
    assert committed(cluster, group, topic) == 1
    source.close()


def test_being_replaced_ends_the_source(cluster: MockCluster, group: str) -> None:
    topic = cluster.topic(1)
    produce(cluster.bootstrap_servers, topic, [b"0"])
    source = open_source(cluster, group, topic)
    read(source, 1)
    cluster.fail(HEARTBEAT, [KafkaError.FENCED_INSTANCE_ID])
    with pytest.raises(SourceError):
        poll_until(source, lambda _: False)
    source.close()


@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
def test_nothing_of_a_partition_that_was_taken_away(broker: Broker, group: str, strategy: str) -> None:
    topic = broker.topic(2)
    for partition in (0, 1):
        produce(broker.bootstrap_servers, topic, [b"x"] * 500, partition)
    properties = {"session.timeout.ms": 1_500, "partition.assignment.strategy": strategy}
    ours = open_source(broker, group, topic, properties=properties)
    assert poll_until(ours, lambda poll: ours.assignment()).rebalanced
    theirs = open_source(broker, group, topic, properties=properties, instance="i1")
    until = time.monotonic() + 20
    told = False
    while len(ours.assignment()) != 1:
        before = ours.assignment()
        poll = ours.poll(10, 0.05)
        theirs.poll(10, 0.05)
        assert {(record.topic, record.partition) for record in poll.records} <= ours.assignment()
        assert poll.rebalanced or before == ours.assignment()
        told = told or poll.rebalanced
        assert time.monotonic() < until
    assert told
    lost = {(topic, 0), (topic, 1)} - ours.assignment()
    with pytest.raises(KafkaException):
        ours.commit(dict.fromkeys(lost, 1))
    assert {(r.topic, r.partition) for r in read_to_end(ours, 500)} <= ours.assignment()
    theirs.close()
    ours.close()


def test_a_record_of_a_partition_that_is_gone_is_dropped(broker: Broker, group: str) -> None:
    topic = broker.topic(1)
    source = open_source(broker, group, topic)
    read_to_end(source)
    stale = [Message(topic=topic, partition=0, offset=5, value=b"x"), Message(topic, 1, 5, None, b"x")]
    assert [record.partition for record in source._records(stale)] == [0]
    source.close()


def test_a_start_outlives_a_revocation(cluster: MockCluster, group: str) -> None:
    topic = cluster.topic(1)
    cluster.fail(OFFSET_COMMIT, [KafkaError.ILLEGAL_GENERATION])  # the start cannot be committed
    source = open_source(cluster, group, topic, start="latest")
    read_to_end(source)
    produce(cluster.bootstrap_servers, topic, [b"0", b"1"])
    poll = poll_until(source, lambda poll: poll.records, limit=1)
    assert poll.at_end == frozenset()
    ours = [TopicPartition(topic, 0)]
    source._on_revoke(source._consumer, ours)  # as the group would
    assert source.assignment() == frozenset()
    source._on_assign(source._consumer, ours)
    assert values(read(source, 2)) == [b"0", b"1"]
    source.close()


def test_a_partition_that_left_while_paused_is_read_when_it_comes_back(broker: Broker, group: str) -> None:
    topic = broker.topic(1)
    produce(broker.bootstrap_servers, topic, [b"0", b"1"])
    source = open_source(broker, group, topic)
    read(source, 1)
    ours = [TopicPartition(topic, 0)]
    source.poll(0, 0.0)
    source._on_revoke(source._consumer, ours)  # as the group would
    source.poll(1, 0.0)
    source._on_assign(source._consumer, ours)
    assert values(read(source, 2)) == [b"0", b"1"]
    source.close()


@pytest.mark.parametrize("start", ["yesterday", "", "1969-01-01T00:00:00Z"])
def test_a_start_that_is_none(start: str) -> None:
    with pytest.raises(ValueError, match="start must"):
        KafkaSource(KafkaSettings(bootstrap_servers="127.0.0.1:1"), ["t"], start=start)


@pytest.mark.parametrize("properties", [{"no.such.setting": 1}, {"session.timeout.ms": "long"}])
def test_settings_the_client_refuses(properties: dict[str, str | int]) -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", consumer_properties=properties)
    with pytest.raises(SourceError, match="cannot be set up"):
        KafkaSource(settings, ["t"])
