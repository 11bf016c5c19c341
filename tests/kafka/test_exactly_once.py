"""Exactly-once delivery on Apache Kafka: the transactional sink, the state topic, taking over. What Kafka
itself does is in `test_transactions`; whole daemons die in `e2e/test_exactly_once`."""

from __future__ import annotations

import dataclasses
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from contracts.sink import alert, letter
from daemon import wait_until
from kafkanodes import Cluster
from mockcluster import MockCluster, consume, produce
from simulation import LATENESS, SECOND, SimulatedPool, Watcher

from detectord.alerts import AlertRecord
from detectord.cli.topics import command
from detectord.config import Config, show
from detectord.config.tree import KafkaConfig, SourceConfig, StateConfig
from detectord.engine.detector import EngineSettings
from detectord.engine.state import StateChange, StateError
from detectord.engine.watermark import EventTimeWatermark
from detectord.events.record import DeadLetter, Positions, Record
from detectord.hits_topic import AwayRecord
from detectord.kafka import KafkaSettings
from detectord.runtime.clock import SystemClock
from detectord.runtime.protocol import Covered, Death, Reply
from detectord.runtime.recovery import KafkaStateStore, RefusedError, take_over
from detectord.runtime.sharding import Router
from detectord.runtime.share import Restored, Share
from detectord.runtime.standing import Standing
from detectord.runtime.supervisor import Settings, Supervisor
from detectord.sinks import EndedError, LedgerRecord, Outputs, PositionsRefusedError
from detectord.sinks.transactional import TransactionalSink
from detectord.sources.kafka import KafkaSource
from detectord.sources.pair import PairedSource
from detectord.state_topic import FORMAT, PIECE_BYTES, Claim, Reader

pytestmark = pytest.mark.broker

PARTITIONS = 4


class TooLongError(Exception):
    """Nothing came for too long."""


class Deployment:
    """Topics and a group; `sink` makes instances that write there."""

    def __init__(self, cluster: Cluster, *, largest: int = 1_000_000) -> None:
        self.cluster = cluster
        self.prefix = cluster.topic(1, "x")
        limit = {"max_message_bytes": str(largest)}
        cluster.create([f"{self.prefix}.{name}" for name in ("alerts", "dlq", "ledger")], 1, **limit)
        self.make_state_topic()
        cluster.create([f"{self.prefix}.hits"], PARTITIONS)
        self.sinks: list[TransactionalSink] = []
        self.consumers: list[Consumer] = []
        self.events: list[str] = []

    def make_state_topic(self, partitions: int = PARTITIONS, **settings: str) -> None:
        self.cluster.create([self.state], partitions, **{"cleanup_policy": "compact", **settings})

    @property
    def state(self) -> str:
        return f"{self.prefix}.state"

    def config(self, instance: str = "i0", group: str | None = None, partitions: int = PARTITIONS) -> Config:
        return Config(
            instance=instance,
            sources=(SourceConfig(topics=(self.prefix,)),),
            kafka=KafkaConfig(
                bootstrap_servers=self.cluster.bootstrap_servers,
                group=group or self.prefix,
                topic_prefix=self.prefix,
            ),
            state=StateConfig(partitions=partitions),
        )

    def sink(self, config: Config, membership: Any = None, **more: Any) -> TransactionalSink:
        """Without `membership` positions are stored by a stranger to the group, who is never refused."""
        if membership is None:
            stranger = Consumer(
                {"bootstrap.servers": self.cluster.bootstrap_servers, "group.id": config.kafka.group}
            )
            self.consumers.append(stranger)

            def membership(positions: Positions) -> object:
                return [(positions, stranger.consumer_group_metadata())]

        sink = TransactionalSink(
            KafkaSettings.of(config),
            membership,
            alert_topic=config.alert_topic,
            dead_letter_topic=config.dlq_topic,
            ledger_topic=config.ledger_topic,
            state_topic=config.state_topic,
            hits_topic=config.hits_topic,
            on_event=lambda name, _: self.events.append(name),
            **more,
        )
        self.sinks.append(sink)
        return sink

    def begin(self, **which: Any) -> tuple[TransactionalSink, Restored]:
        """An instance that has taken over, and what it reads back."""
        config = self.config(**which)
        sink = self.sink(config)
        return sink, self.take_over(config, sink).restore(range(PARTITIONS))

    def take_over(self, config: Config, sink: TransactionalSink) -> KafkaStateStore:
        return take_over(
            config,
            sink,
            tick=lambda: None,
            wait=patience(60),
            on_event=lambda name, _: self.events.append(name),
        )

    def alerts(self) -> list[bytes | None]:
        """What a reader of committed records sees."""
        return [m.value() for m in consume(self.cluster.bootstrap_servers, f"{self.prefix}.alerts")]

    def dead_letters(self) -> list[str]:
        letters = consume(self.cluster.bootstrap_servers, f"{self.prefix}.dlq")
        return [dict(each.headers())["dlq-reason"].decode() for each in letters]

    def position(self) -> int:
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap_servers, "group.id": self.prefix})
        offset: int = consumer.committed([TopicPartition(self.prefix, 0)], timeout=10)[0].offset
        consumer.close()
        return offset

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()
        for consumer in self.consumers:
            consumer.close()


def patience(seconds: float) -> Callable[[str], None]:
    """Waits, and gives up after a while."""
    until = time.monotonic() + seconds

    def wait(reason: str) -> None:
        if time.monotonic() > until:
            raise TooLongError(reason)

    return wait


@pytest.fixture
def deployment(real_kafka: Cluster) -> Iterator[Deployment]:
    deployment = Deployment(real_kafka)
    yield deployment
    deployment.close()


def outputs(n: int, *changes: StateChange) -> Outputs:
    standings = {0: n, **{change.partition: n for change in changes}}
    left = [Standing(arrivals=n).change(partition) for partition, n in standings.items()]
    return Outputs([alert(n)], [letter(n)], [*changes, *left])


def entry(n: int) -> StateChange:
    return StateChange(n % PARTITIONS, b"p%d" % n, b"value %d" % n)


def settled(answer: Callable[[], Any], expected: Any) -> None:
    """The marks that let readers pass are written a moment after a commit has returned."""
    wait_until(lambda: answer() == expected, f"{expected}", 20)


def test_all_of_a_commit_is_there_and_the_next_adds_to_it(deployment: Deployment) -> None:
    sink, first = deployment.begin()
    assert first == ({}, dict.fromkeys(range(PARTITIONS), Standing()))
    sink.commit(outputs(1, entry(1)), {(deployment.prefix, 0): 2})
    sink.commit(Outputs([], []), {(deployment.prefix, 0): 3})
    sink.commit(outputs(4, entry(4), entry(1)._replace(value=None)), {})
    settled(deployment.alerts, [alert(1).value, alert(4).value])
    assert deployment.dead_letters() == ["not_json", "not_json"]
    assert deployment.position() == 3
    _, found = deployment.begin()
    assert found.state == {0: {b"p4": b"value 4"}}
    assert found.standings[0] == Standing(arrivals=4)


def test_what_the_ledger_tells_is_in_the_transaction_or_nowhere(deployment: Deployment) -> None:
    """A commit that is refused, one that dies open, and one that is well; then one that is told anew."""

    class DiedError(Exception):
        pass

    def refuse(_: object) -> object:
        raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "not now"))

    def die(_: object) -> object:
        raise DiedError

    def commit(membership: Any, n: int, *, fails: type[Exception] | None = None) -> None:
        sink = deployment.sink(deployment.config(), membership)
        deployment.take_over(deployment.config(), sink)
        given = outputs(n)._replace(ledger=[LedgerRecord("interval", b"%d" % n)])
        with pytest.raises(fails) if fails is not None else nullcontext():
            sink.commit(given, {(deployment.prefix, 0): n})

    commit(refuse, 1, fails=PositionsRefusedError)
    commit(die, 2, fails=DiedError)
    commit(None, 3)
    commit(refuse, 4, fails=PositionsRefusedError)
    commit(None, 5)
    settled(deployment.alerts, [alert(3).value, alert(5).value])
    told = consume(deployment.cluster.bootstrap_servers, f"{deployment.prefix}.ledger")
    assert [(m.key(), m.value()) for m in told] == [(b"interval", b"3"), (b"interval", b"5")]
    assert deployment.position() == 5


def test_nothing_of_a_refused_commit_is_there_and_the_next_is_well(deployment: Deployment) -> None:
    config = deployment.config()
    who = {"bootstrap.servers": deployment.cluster.bootstrap_servers, "group.id": deployment.prefix}
    member, stranger = Consumer(who), Consumer({**who, "group.instance.id": "not a member"})
    deployment.consumers += [member, stranger]
    member.subscribe([deployment.prefix])
    wait_until(lambda: (member.poll(0.1), member.assignment())[1], "the group has a member")
    sink = deployment.sink(config, lambda positions: [(positions, stranger.consumer_group_metadata())])
    deployment.take_over(config, sink)
    for _ in range(2):
        with pytest.raises(PositionsRefusedError, match="refused"):
            sink.commit(outputs(1, entry(1)), {(deployment.prefix, 0): 2})
    sink.commit(outputs(2, entry(2)), {})
    settled(deployment.alerts, [alert(2).value])
    assert deployment.position() < 0
    assert deployment.begin()[1].state == {2: {b"p2": b"value 2"}}


def test_positions_of_what_is_not_assigned_are_not_even_sent(deployment: Deployment) -> None:
    source = KafkaSource(KafkaSettings.of(deployment.config()), [deployment.prefix])
    sink = deployment.sink(deployment.config(), source.membership)
    deployment.take_over(deployment.config(), sink)
    with pytest.raises(PositionsRefusedError, match="is not assigned"):
        sink.commit(outputs(1), {(deployment.prefix, 0): 2})
    sink.commit(outputs(2), {})
    settled(deployment.alerts, [alert(2).value])
    source.close()


def test_a_successor_fences_its_predecessor(deployment: Deployment) -> None:
    old, _ = deployment.begin()
    old.commit(outputs(1, entry(1)), {})
    new, found = deployment.begin()
    assert found.state == {1: {b"p1": b"value 1"}}
    with pytest.raises(EndedError, match="taken our place"):
        old.commit(outputs(2, entry(2)), {})
    new.commit(outputs(3, entry(3)), {})
    settled(deployment.alerts, [alert(1).value, alert(3).value])


def test_what_a_predecessor_left_open_is_ended_and_not_restored(deployment: Deployment) -> None:
    """It dies between producing and committing; its successor does not wait for the time-out."""

    class DiedError(Exception):
        pass

    def die(_: object) -> object:
        raise DiedError

    config = deployment.config()
    dying = deployment.sink(config, die)
    deployment.take_over(config, dying)
    dying.commit(outputs(1, entry(1)), {})
    with pytest.raises(DiedError):
        dying.commit(outputs(2, entry(2)), {(deployment.prefix, 0): 1})
    _, found = deployment.begin()
    assert found.state == {1: {b"p1": b"value 1"}}
    settled(deployment.alerts, [alert(1).value])


def test_restoring_reads_beyond_the_last_stable_offset(deployment: Deployment) -> None:
    """Some transaction is open on a state partition, before what was committed there: who read to the last
    stable offset would find nothing and go on with half the state."""
    sink, _ = deployment.begin()
    other = Producer(
        {
            "bootstrap.servers": deployment.cluster.bootstrap_servers,
            "transactional.id": f"other-{deployment.prefix}",
            "transaction.timeout.ms": 2_000,
            "linger.ms": 0,
        }
    )
    other.init_transactions(20)
    other.begin_transaction()
    for partition in range(PARTITIONS):
        other.produce(deployment.state, b"never committed", b"k", partition=partition)
    assert other.flush(10) == 0
    sink.commit(outputs(1, *map(entry, range(8))), {})
    stranger = deployment.consumers[0]  # it is told the last stable offset for the end
    assert stranger.get_watermark_offsets(TopicPartition(deployment.state, 1), timeout=10) == (0, 0)
    reader = Reader(KafkaSettings.of(deployment.config()), deployment.state, wait=patience(60))
    state, _ = reader.read(range(PARTITIONS)).entries()
    assert {key: value for own in state.values() for key, value in own.items() if key[:1] == b"p"} == {
        b"p%d" % n: b"value %d" % n for n in range(8)
    }


def test_reading_ends_when_it_is_told_to(deployment: Deployment) -> None:
    other = Producer(
        {
            "bootstrap.servers": deployment.cluster.bootstrap_servers,
            "transactional.id": f"other-{deployment.prefix}",
            "linger.ms": 0,
        }
    )
    other.init_transactions(20)
    other.begin_transaction()
    other.produce(deployment.state, b"open", b"k", partition=0)
    assert other.flush(10) == 0
    reader = Reader(KafkaSettings.of(deployment.config()), deployment.state, wait=patience(0.5))
    with pytest.raises(TooLongError, match="a transaction may be open"):
        reader.read(range(PARTITIONS))
    other.abort_transaction(10)


# Whose state it is.


def test_another_instance_of_the_group_writes_beside(deployment: Deployment) -> None:
    one, _ = deployment.begin()
    one.commit(outputs(1, entry(1)), {})
    other, found = deployment.begin(instance="i1")
    assert found.state == {1: {b"p1": b"value 1"}}
    other.commit(outputs(2, entry(2)), {})
    one.commit(outputs(3, entry(3)), {})
    settled(deployment.alerts, [alert(1).value, alert(2).value, alert(3).value])


def test_another_group_is_refused_and_the_owner_does_not_notice(deployment: Deployment) -> None:
    owner, _ = deployment.begin()
    owner.commit(outputs(1, entry(1)), {})
    with pytest.raises(RefusedError, match=r"belongs to group .* set kafka\.topic_prefix"):
        deployment.begin(group="another")
    owner.commit(outputs(2, entry(2)), {})
    settled(deployment.alerts, [alert(1).value, alert(2).value])


def test_of_two_groups_that_begin_at_once_one_owns_the_state(deployment: Deployment) -> None:
    """Both have seen a topic without an owner, and both claim it."""
    sinks = {group: deployment.sink(deployment.config(group=group)) for group in ("g0", "g1")}
    for group in ("g0", "g1"):
        sinks[group].open(900_000, patience(60))
    for group in ("g1", "g0"):
        sinks[group].claim(Claim(FORMAT, group, PARTITIONS))
    assert deployment.begin(group="g1")[1].state == {}
    with pytest.raises(RefusedError, match="belongs to group g1, not to g0"):
        deployment.begin(group="g0")


def test_hits_for_others_leave_in_the_commit(deployment: Deployment) -> None:
    sink, _ = deployment.begin()
    away = [AwayRecord(2, b"a"), AwayRecord(1, b"b"), AwayRecord(2, b"c")]
    sink.commit(Outputs([], [], away=away), {})

    def told() -> list[tuple[int | None, bytes | None]]:
        found = consume(deployment.cluster.bootstrap_servers, f"{deployment.prefix}.hits", PARTITIONS)
        return sorted((each.partition(), each.value()) for each in found)

    settled(told, [(1, b"b"), (2, b"a"), (2, b"c")])


FOREIGN = [
    (b"\0\x01\0\0p", b"\0\x01x", "state partition 1 stands in partition 0"),
    (b"\0\0\0\0p", b"\0\x02x", "is not whole"),
    (b"k", b"x", "no key of ours"),
    (b"\0\0\0\0pabc", b"\0\x01x", "nothing says where they were left"),
]


@pytest.mark.parametrize(("key", "value", "said"), FOREIGN)
def test_what_is_not_ours_is_refused(deployment: Deployment, key: bytes, value: bytes, said: str) -> None:
    deployment.begin()  # claims it
    producer = Producer({"bootstrap.servers": deployment.cluster.bootstrap_servers})
    producer.produce(deployment.state, value, key, partition=0)
    producer.flush(10)
    with pytest.raises((RefusedError, StateError), match=said):
        deployment.begin()


def test_state_without_a_claim_is_refused(deployment: Deployment) -> None:
    producer = Producer({"bootstrap.servers": deployment.cluster.bootstrap_servers})
    producer.produce(deployment.state, b"\0\x01x", b"\0\0\0\0p", partition=0)
    producer.flush(10)
    with pytest.raises(RefusedError, match="nobody has claimed"):
        deployment.begin()


@pytest.mark.parametrize("offset", [1, 3])
def test_state_that_was_left_elsewhere_is_refused(deployment: Deployment, offset: int) -> None:
    """Somebody has moved the position, or went on without the state."""
    place = (deployment.prefix, 0)
    produce(deployment.cluster.bootstrap_servers, deployment.prefix, [b"0", b"1", b"2", b"3"])
    sink, _ = deployment.begin()
    sink.commit(Outputs([], [], [entry(1), Standing.of(2, {}, {place: 2}).change(1)]), {place: 2})
    assert deployment.begin()[1].standings[1].committed() == {place: 2}
    stranger = deployment.consumers[0]
    stranger.commit(offsets=[TopicPartition(*place, offset)], asynchronous=False)
    with pytest.raises(StateError, match=rf"left at offset 2 of .*moved the group to {offset} without it"):
        deployment.begin()


def test_positions_that_went_on_with_other_state_are_well(deployment: Deployment) -> None:
    place = (deployment.prefix, 0)
    sink, _ = deployment.begin()
    sink.commit(Outputs([], [], [entry(1), Standing.of(2, {}, {place: 2}).change(1)]), {place: 2})
    sink.commit(Outputs([], [], [entry(2), Standing.of(3, {}, {place: 3}).change(2)]), {place: 3})
    _, found = deployment.begin()
    assert [found.standings[n].committed() for n in (1, 2)] == [{place: 2}, {place: 3}]


# Topics.


def test_another_number_of_partitions_is_refused(deployment: Deployment) -> None:
    with pytest.raises(RefusedError, match=r"has 4 partitions; state\.partitions says 8"):
        deployment.begin(partitions=8)


def test_a_state_topic_that_forgets_is_refused(real_kafka: Cluster) -> None:
    class Forgetful(Deployment):
        def make_state_topic(self, partitions: int = PARTITIONS, **settings: str) -> None:
            super().make_state_topic(partitions, cleanup_policy="compact,delete")

    with pytest.raises(RefusedError, match=r"cleanup\.policy=compact,delete"):
        Forgetful(real_kafka).begin()


def test_the_topics_that_the_command_makes_are_right(real_kafka: Cluster, tmp_path: Path) -> None:
    prefix = f"made-{uuid.uuid4().hex[:8]}"
    config = Config(
        sources=(SourceConfig(topics=(f"{prefix}.in",)),),
        kafka=KafkaConfig(bootstrap_servers=real_kafka.bootstrap_servers, group=prefix, topic_prefix=prefix),
        state=StateConfig(partitions=PARTITIONS),
    )
    path = tmp_path / "detectord.yml"
    path.write_text(show(config))
    made = CliRunner().invoke(command, ["create", "--config", str(path)])
    assert made.exit_code == 0, made.output
    assert f"{prefix}.state" in made.output.splitlines()
    sink = TransactionalSink(
        KafkaSettings.of(config),
        lambda _: None,
        alert_topic=config.alert_topic,
        dead_letter_topic=config.dlq_topic,
        ledger_topic=config.ledger_topic,
        state_topic=config.state_topic,
        hits_topic=config.hits_topic,
    )
    store = take_over(config, sink, tick=lambda: None, wait=patience(60), on_event=lambda *_: None)
    assert store.restore([0]) == ({}, {0: Standing()})
    sink.close()


def test_without_a_state_topic_it_says_how_to_make_one(real_kafka: Cluster) -> None:
    class Without(Deployment):
        def make_state_topic(self, partitions: int = PARTITIONS, **settings: str) -> None:
            pass

    deployment = Without(real_kafka)
    config = deployment.config()
    with pytest.raises(TooLongError, match="does not exist; `detectord topics create`"):
        take_over(
            config, deployment.sink(config), tick=lambda: None, wait=patience(1), on_event=lambda *_: None
        )


def test_a_broker_without_an_admin_interface_is_refused(cluster: MockCluster) -> None:
    topic = cluster.topic(1)
    config = Config(
        sources=(SourceConfig(topics=(topic,)),),
        kafka=KafkaConfig(bootstrap_servers=cluster.bootstrap_servers, topic_prefix=topic),
    )
    for name in (
        config.alert_topic,
        config.dlq_topic,
        config.ledger_topic,
        config.state_topic,
        config.hits_topic,
    ):
        produce(cluster.bootstrap_servers, name, [b"made"])
    sink = TransactionalSink(
        KafkaSettings.of(config),
        lambda _: None,
        alert_topic="a",
        dead_letter_topic="d",
        ledger_topic="l",
        state_topic="s",
        hits_topic="h",
    )
    with pytest.raises(RefusedError, match="not to be had here"):
        take_over(config, sink, tick=lambda: None, wait=patience(60), on_event=lambda *_: None)


# What is too big, and who does not answer.


def test_what_is_too_big_is_cut_before_it_is_sent(real_kafka: Cluster) -> None:
    deployment = Deployment(real_kafka, largest=2 * PIECE_BYTES)
    sink, _ = deployment.begin()
    big = AlertRecord("id", b"a" * 3 * PIECE_BYTES, (("rule-id", b"r"),), 1, "event", "r", "low")
    dead = DeadLetter(Record("in", 0, 1, None, b"k", b"b" * 3 * PIECE_BYTES), "not_json", "no")
    large = StateChange(1, b"p", random.Random(0).randbytes(5 * PIECE_BYTES))
    for n in range(2):  # a second commit: nothing of the first has spoilt the producer
        sink.commit(Outputs([big, alert(n)], [dead], [large, Standing().change(1)]), {})
    settled(deployment.alerts, [alert(0).value, alert(1).value])
    settled(lambda: sorted(deployment.dead_letters()), ["alert_too_large"] * 2 + ["not_json"] * 2)
    assert deployment.events == ["alert.too_large"] * 2
    assert deployment.begin()[1].state == {1: {b"p": large.value}}
    deployment.close()


def test_a_commit_that_takes_a_while_to_be_answered_is_one_commit(deployment: Deployment) -> None:
    ticks = 0
    outage = ExitStack()
    config = deployment.config()

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 2:
            outage.close()

    sink = deployment.sink(config, tick=tick)
    deployment.take_over(config, sink)
    ticks = 0
    with outage:
        outage.enter_context(deployment.cluster.down())
        sink.commit(outputs(1, entry(1)), {})
    assert ticks >= 2
    settled(deployment.alerts, [alert(1).value])


def test_who_gets_no_answer_ends(deployment: Deployment) -> None:
    pace = 1
    config = deployment.config()
    sink = deployment.sink(config, clock=lambda: time.monotonic() * pace)
    deployment.take_over(config, sink)
    pace = 100
    with deployment.cluster.down(), pytest.raises(EndedError):
        sink.commit(outputs(1, entry(1)), {(deployment.prefix, 0): 2})
    _, found = deployment.begin()  # what became of it is known now: it was aborted
    assert found.state == {}
    assert deployment.alerts() == []


# A transaction carried over a lost assignment.


class HoldingPool(SimulatedPool):
    """A worker whose answer to a barrier is kept back while `is_holding`."""

    is_holding = False

    def receive(self, timeout: float) -> list[Reply | Death]:
        kept = self.kept if hasattr(self, "kept") else []
        self.kept: list[Reply | Death] = []
        told = [*kept, *super().receive(timeout)]
        if self.is_holding:
            self.kept = [reply for reply in told if isinstance(reply, Covered)]
            told = [reply for reply in told if not isinstance(reply, Covered)]
        return told


@pytest.mark.parametrize("is_back", [False, True], ids=["before it is back", "after it is back"])
def test_a_barrier_is_not_committed_over_a_lost_assignment(deployment: Deployment, is_back: bool) -> None:
    """While a barrier is out the partition goes to another member, which reads and commits the records,
    leaves, and the partition comes back. Before it is back Kafka refuses the old barrier's positions; after,
    it would take them: whoever is in the group may store any position. It has to be forgotten."""
    bootstrap, topic = deployment.cluster.bootstrap_servers, deployment.prefix
    now = time.time_ns() // 1_000_000
    document = {"@timestamp": now, "event": {"category": ["process"]}, "process": {"name": "a"}}
    produce(bootstrap, topic, [msgspec.json.encode({**document, "n": n}) for n in range(3)])
    config = deployment.config()
    impatient = {"session.timeout.ms": 1_000, "heartbeat.interval.ms": 100, "max.poll.interval.ms": 1_000}
    settings = KafkaSettings(bootstrap_servers=bootstrap, group=topic, consumer_properties=impatient)
    inputs = KafkaSource(settings, [topic], start="earliest", pause_after=0.0)
    of_hits = dataclasses.replace(settings, group=config.hits_group)
    hits = KafkaSource(of_hits, [config.hits_topic], start="earliest", pause_after=0.0)
    source = PairedSource(inputs, hits, config.hits_topic)
    sink = deployment.sink(config, source.membership)
    store = deployment.take_over(config, sink)
    share = Share(source, store, group=topic, hits_topic=config.hits_topic, partitions=PARTITIONS)
    pool, watcher = HoldingPool(1, random.Random(0), EngineSettings(partitions=PARTITIONS)), Watcher()
    supervisor = Supervisor(
        source,
        sink,
        pool,
        Router(1, PARTITIONS),
        EventTimeWatermark(LATENESS, 30 * SECOND),
        SystemClock(),
        watcher,
        Settings(partitions=PARTITIONS, commit_interval=1),
        share=share,
    )

    def turn(done: Callable[[], object]) -> Callable[[], object]:
        return lambda: (supervisor.step(), done())[1]

    def a_barrier_is_out() -> bool:
        barrier = supervisor._barrier
        pool.is_holding = barrier is not None and barrier.pending.positions.get((topic, 0)) == 3
        return pool.is_holding and bool(pool.kept)

    wait_until(turn(a_barrier_is_out), "a barrier with all records is out", 60)
    other = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": topic,
            "session.timeout.ms": 6_000,
            "auto.offset.reset": "earliest",
        }
        | {"partition.assignment.strategy": "cooperative-sticky", "enable.auto.commit": False}
    )
    other.subscribe([topic])
    taken = 0

    def all_taken() -> bool:
        nonlocal taken
        message = other.poll(0.1)
        taken += message is not None and message.error() is None
        return taken == 3

    wait_until(all_taken, "the other has the partition", 60)
    other.commit(asynchronous=False)
    other.close()
    if is_back:
        wait_until(turn(lambda: (topic, 0) not in source.assignment()), "it hears of its loss", 60)
        wait_until(turn(lambda: (topic, 0) in source.assignment()), "the partition is back", 60)
    pool.is_holding = False
    wait_until(turn(lambda: (topic, 0) in source.assignment()), "the partition is back", 60)
    produce(bootstrap, topic, [msgspec.json.encode({**document, "n": 3})])
    wait_until(turn(lambda: supervisor.committed.get((topic, 0)) == 4), "the next record is committed", 60)
    settled(lambda: len(deployment.alerts()), 1)
    assert watcher.rewinds.total() >= 1
    source.close()
