"""What exactly-once delivery rests on, asked of Apache Kafka itself. The mock cluster only pretends to do
transactions, so none of this can be seen there. docs/kafka.md says in words what is held here."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from kafkanodes import Cluster
from mockcluster import consume

pytestmark = pytest.mark.broker

ASK_SECONDS = 10.0

IMPATIENT = {"session_timeout_ms": 1_000, "max_poll_interval_ms": 1_000}
"""A member that is put out soon. On a busy machine that may happen to it at any time."""

MakeProducer = Callable[..., Producer]
MakeMember = Callable[..., Consumer]


def unique(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def topic(real_kafka: Cluster) -> str:
    return real_kafka.topic(1)


@pytest.fixture
def producer(real_kafka: Cluster) -> MakeProducer:
    """Makes transactional producers that are ready to begin."""

    def make(name: str | None = None, timeout_ms: int = 60_000) -> Producer:
        producer = Producer(
            {
                "bootstrap.servers": real_kafka.bootstrap_servers,
                "transactional.id": name or unique("tx"),
                "transaction.timeout.ms": timeout_ms,
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        producer.init_transactions(ASK_SECONDS)
        return producer

    return make


@pytest.fixture
def member(real_kafka: Cluster) -> Iterator[MakeMember]:
    """Makes members of a group, and closes them in the end."""
    made: list[Consumer] = []

    def make(group: str, *topics: str, **more: Any) -> Consumer:
        callbacks = {name: more.pop(name) for name in ("on_revoke", "on_lost") if name in more}
        consumer = Consumer(
            {
                "bootstrap.servers": real_kafka.bootstrap_servers,
                "group.id": group,
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 100,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 0,
                **{name.replace("_", "."): value for name, value in more.items()},
            }
        )
        consumer.subscribe(list(topics), **callbacks)
        made.append(consumer)
        return consumer

    yield make
    for consumer in made:
        consumer.close()


def written(producer: Producer, topic: str, values: Sequence[bytes]) -> None:
    """Write inside the transaction, and wait until the broker has it."""
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(ASK_SECONDS) == 0


def read(cluster: Cluster, topic: str) -> list[bytes | None]:
    """What a reader of committed records sees now."""
    return [message.value() for message in consume(cluster.bootstrap_servers, topic)]


def until(done: Callable[[], Any], seconds: float = 20.0) -> None:
    """Ask again and again."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come to that"


def joined(*members: Consumer) -> None:
    """Let the members of a group poll until each has a partition."""

    def all_have_one() -> bool:
        for each in members:
            each.poll(0.05)
        return all(len(each.assignment()) == 1 for each in members)

    until(all_have_one)


def watermarks(cluster: Cluster, topic: str, isolation: str) -> tuple[int, int]:
    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap_servers, "group.id": "asker", "isolation.level": isolation}
    )
    answer: tuple[int, int] = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=ASK_SECONDS)
    consumer.close()
    return answer


def committed(cluster: Cluster, group: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": group})
    offset: int = consumer.committed([TopicPartition(topic, 0)], timeout=ASK_SECONDS)[0].offset
    consumer.close()
    return offset


def store(producer: Producer, topic: str, partition: int, offset: int, metadata: object) -> None:
    producer.send_offsets_to_transaction([TopicPartition(topic, partition, offset)], metadata, ASK_SECONDS)


def refusal(call: Callable[..., object], *arguments: object) -> KafkaError:
    """The error that a call ends in."""
    with pytest.raises(KafkaException) as caught:
        call(*arguments)
    error: KafkaError = caught.value.args[0]
    return error


def test_what_is_aborted_or_open_is_not_read(real_kafka: Cluster, topic: str, producer: MakeProducer) -> None:
    one = producer()
    one.begin_transaction()
    written(one, topic, [b"aborted"])
    one.abort_transaction(ASK_SECONDS)
    one.begin_transaction()
    written(one, topic, [b"committed"])
    one.commit_transaction(ASK_SECONDS)
    one.begin_transaction()
    written(one, topic, [b"open"])
    until(lambda: read(real_kafka, topic) == [b"committed"])
    one.commit_transaction(ASK_SECONDS)
    until(lambda: read(real_kafka, topic) == [b"committed", b"open"])


def test_the_end_of_what_is_committed_is_not_the_end(
    real_kafka: Cluster, topic: str, producer: MakeProducer
) -> None:
    one = producer()
    one.begin_transaction()
    written(one, topic, [b"0"])
    one.commit_transaction(ASK_SECONDS)
    one.begin_transaction()
    written(one, topic, [b"1", b"2"])
    # Offset 1 is the mark of the first transaction's end.
    until(lambda: watermarks(real_kafka, topic, "read_committed") == (0, 2))
    assert watermarks(real_kafka, topic, "read_uncommitted") == (0, 4)
    one.commit_transaction(ASK_SECONDS)
    # The client's commit returns when it is decided; the marks are written a moment later.
    until(lambda: watermarks(real_kafka, topic, "read_committed") == (0, 5))
    assert [m.offset() for m in consume(real_kafka.bootstrap_servers, topic)] == [0, 2, 3]


def test_a_successor_of_the_same_name_ends_what_its_predecessor_left_open(
    real_kafka: Cluster, topic: str, producer: MakeProducer
) -> None:
    name = unique("slot")
    old = producer(name)
    old.begin_transaction()
    written(old, topic, [b"left open"])
    new = producer(name)  # a minute later the broker would have ended it by itself
    new.begin_transaction()
    written(new, topic, [b"behind it"])
    new.commit_transaction(ASK_SECONDS)
    until(lambda: read(real_kafka, topic) == [b"behind it"])
    error = refusal(old.commit_transaction, ASK_SECONDS)
    assert (error.code(), error.fatal()) == (KafkaError._FENCED, True)


def test_a_successor_of_another_name_waits_for_the_time_out(
    real_kafka: Cluster, topic: str, producer: MakeProducer
) -> None:
    old = producer(timeout_ms=2_000)
    old.begin_transaction()
    written(old, topic, [b"left open"])
    new = producer()
    new.begin_transaction()
    written(new, topic, [b"behind it"])
    new.commit_transaction(ASK_SECONDS)
    assert read(real_kafka, topic) == []
    until(lambda: read(real_kafka, topic) == [b"behind it"])
    error = refusal(old.commit_transaction, ASK_SECONDS)
    assert (error.code(), error.fatal()) == (KafkaError._FENCED, True)


def test_positions_are_stored_with_the_transaction_or_not_at_all(
    real_kafka: Cluster, topic: str, producer: MakeProducer, member: MakeMember
) -> None:
    group = unique("group")
    reader = member(group, topic)
    joined(reader)
    one = producer()
    for end, stored in ((one.abort_transaction, OFFSET_INVALID), (one.commit_transaction, 7)):
        one.begin_transaction()
        store(one, topic, 0, 7, reader.consumer_group_metadata())
        end(ASK_SECONDS)
        assert committed(real_kafka, group, topic) == stored


def test_who_asks_for_positions_is_made_to_wait_for_an_open_transaction(
    real_kafka: Cluster, topic: str, producer: MakeProducer, member: MakeMember
) -> None:
    group = unique("group")
    reader = member(group, topic)
    joined(reader)
    one = producer()
    one.begin_transaction()
    store(one, topic, 0, 7, reader.consumer_group_metadata())
    asker = Consumer({"bootstrap.servers": real_kafka.bootstrap_servers, "group.id": group})
    # The broker says "not stable yet", and the client asks again until its time is over.
    error = refusal(lambda: asker.committed([TopicPartition(topic, 0)], timeout=0.5))
    assert error.code() == KafkaError._TIMED_OUT
    one.commit_transaction(ASK_SECONDS)
    assert asker.committed([TopicPartition(topic, 0)], timeout=ASK_SECONDS)[0].offset == 7
    asker.close()


def test_who_was_put_out_of_the_group_stores_no_positions(
    topic: str, producer: MakeProducer, member: MakeMember
) -> None:
    group = unique("group")
    zombie = member(group, topic, **IMPATIENT)
    joined(zombie)
    joined(member(group, topic))  # by polling too late the zombie leaves; its heir has the partition
    one = producer()
    for _ in range(2):  # an aborted transaction changes nothing about it
        one.begin_transaction()
        error = refusal(store, one, topic, 0, 1, zombie.consumer_group_metadata())
        assert (error.code(), error.fatal()) == (KafkaError.UNKNOWN_MEMBER_ID, False)
        assert error.txn_requires_abort()
        one.abort_transaction(ASK_SECONDS)


def test_who_was_replaced_under_its_name_stores_no_positions_and_reads_no_more(
    real_kafka: Cluster, producer: MakeProducer, member: MakeMember
) -> None:
    topic, group = real_kafka.topic(2), unique("group")
    moved: list[str] = []
    other = member(group, topic, group_instance_id="i0", on_revoke=lambda *_: moved.append("revoked"))
    zombie = member(group, topic, group_instance_id="i1")
    joined(other, zombie)
    its = zombie.assignment()
    moved.clear()
    heir = member(group, topic, group_instance_id="i1")
    joined(other, heir)
    assert (heir.assignment(), moved) == (its, [])  # the group did not even notice
    one = producer()
    one.begin_transaction()
    error = refusal(store, one, topic, its[0].partition, 1, zombie.consumer_group_metadata())
    assert (error.code(), error.fatal()) == (KafkaError.FENCED_INSTANCE_ID, False)
    assert error.txn_requires_abort()
    until(
        lambda: (
            (message := zombie.poll(0.1)) and (told := message.error()) and told.code() == KafkaError._FATAL
        )
    )


def test_who_is_in_the_group_may_store_positions_of_what_is_not_its_own(
    real_kafka: Cluster, producer: MakeProducer, member: MakeMember
) -> None:
    """Fencing is by membership and generation: a transaction must not outlive its assignment."""
    topic, group = real_kafka.topic(2), unique("group")
    first, second = member(group, topic), member(group, topic)
    joined(first, second)
    (theirs,) = second.assignment()
    one = producer()
    one.begin_transaction()
    store(one, topic, theirs.partition, 5, first.consumer_group_metadata())
    one.commit_transaction(ASK_SECONDS)
    assert second.committed([theirs], timeout=ASK_SECONDS)[0].offset == 5


def test_metadata_of_a_stranger_fences_nobody_unless_it_has_a_name(
    real_kafka: Cluster, topic: str, producer: MakeProducer, member: MakeMember
) -> None:
    group = unique("group")
    joined(member(group, topic))
    outside = {"bootstrap.servers": real_kafka.bootstrap_servers, "group.id": group}
    nameless, named = Consumer(outside), Consumer({**outside, "group.instance.id": "i1"})
    one = producer()
    one.begin_transaction()
    error = refusal(store, one, topic, 0, 3, named.consumer_group_metadata())
    assert error.code() == KafkaError.UNKNOWN_MEMBER_ID
    one.abort_transaction(ASK_SECONDS)
    one.begin_transaction()
    store(one, topic, 0, 3, nameless.consumer_group_metadata())
    one.commit_transaction(ASK_SECONDS)
    assert committed(real_kafka, group, topic) == 3
    nameless.close()
    named.close()


@pytest.mark.parametrize("name", [{}, {"group_instance_id": "i0"}], ids=["dynamic", "static"])
def test_who_polls_too_late_is_told_that_it_was_revoked(
    topic: str, producer: MakeProducer, member: MakeMember, name: dict[str, str]
) -> None:
    one = producer()
    told: list[tuple[str, int]] = []

    def note(what: str) -> Callable[..., None]:
        def callback(consumer: Consumer, _: object) -> None:
            one.begin_transaction()
            error = refusal(store, one, topic, 0, 1, consumer.consumer_group_metadata())
            one.abort_transaction(ASK_SECONDS)
            told.append((what, error.code()))

        return callback

    group = unique("group")
    late = member(group, topic, on_revoke=note("revoked"), on_lost=note("lost"), **IMPATIENT, **name)
    joined(late)
    joined(member(group, topic))
    until(lambda: (late.poll(0.1), told)[1])
    assert told == [("revoked", KafkaError.UNKNOWN_MEMBER_ID)]


def test_a_record_that_is_too_big_spoils_two_transactions(real_kafka: Cluster) -> None:
    topic = real_kafka.topic(1, max_message_bytes="1000")
    one = Producer(
        {"bootstrap.servers": real_kafka.bootstrap_servers, "transactional.id": unique("tx"), "log_level": 0}
    )
    one.init_transactions(ASK_SECONDS)
    errors = []
    for value in (b"x" * 5_000, b"fits"):
        one.begin_transaction()
        one.produce(topic, value)
        errors.append(refusal(one.commit_transaction, ASK_SECONDS))
        one.abort_transaction(ASK_SECONDS)
    # The broker waits for the number that the big one had.
    assert [error.code() for error in errors] == [
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ]
    assert all(error.txn_requires_abort() for error in errors)
    one.begin_transaction()
    one.produce(topic, b"fits")
    one.commit_transaction(ASK_SECONDS)
    until(lambda: read(real_kafka, topic) == [b"fits"])


def test_a_commit_that_nobody_answered_is_asked_for_again(
    real_kafka: Cluster, topic: str, producer: MakeProducer
) -> None:
    one = producer()
    one.begin_transaction()
    written(one, topic, [b"once"])
    with real_kafka.down():
        error = refusal(one.commit_transaction, 0.5)
        assert (error.code(), error.retriable()) == (KafkaError._TIMED_OUT, True)
    one.commit_transaction(ASK_SECONDS)
    until(lambda: read(real_kafka, topic) == [b"once"])


def test_the_range_assignor_keeps_equal_numbers_together(real_kafka: Cluster, member: MakeMember) -> None:
    topics = [real_kafka.topic(4, stem) for stem in ("a", "b")]
    group = unique("group")
    members = [member(group, *topics, partition_assignment_strategy="range") for _ in range(3)]

    def numbers(topic: str) -> list[list[int]]:
        """Of each member."""
        return [[p.partition for p in sorted(each.assignment()) if p.topic == topic] for each in members]

    def all_are_given() -> bool:
        for each in members:
            each.poll(0.05)
        return all(all(numbers(topic)) for topic in topics)

    until(all_are_given)
    assert numbers(topics[0]) == numbers(topics[1])
