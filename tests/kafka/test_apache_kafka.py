"""What only a real cluster can show of the source, the sink and the topic tool: record times, retention,
more partitions, names in a group, transactions of other writers, brokers that die."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewPartitions
from contracts.sink import alert
from contracts.source import DEADLINE, poll_until, read, read_to_end, values
from daemon import wait_until
from kafkanodes import Cluster, wait_for_brokers
from mockcluster import consume, produce

from detectord.cli.topics import command
from detectord.kafka import KafkaSettings
from detectord.sinks import Outputs
from detectord.sinks.kafka import KafkaSink
from detectord.sources import SourceError
from detectord.sources.kafka import Gap, KafkaSource

pytestmark = pytest.mark.broker


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:12]}"


def open_source(
    cluster: Cluster, group: str, topic: str, *, start: str = "earliest", **more: Any
) -> KafkaSource:
    settings = KafkaSettings(
        bootstrap_servers=cluster.bootstrap_servers,
        group=group,
        instance=more.pop("instance", "i0"),
        consumer_properties={
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 100,
            "topic.metadata.refresh.interval.ms": 200,
        },
    )
    return KafkaSource(settings, [topic], start=start, pause_after=0.0, **more)


def test_a_start_at_a_time(real_kafka: Cluster, group: str) -> None:
    topic = real_kafka.topic(1)
    producer = Producer({"bootstrap.servers": real_kafka.bootstrap_servers})
    for second in (10, 20, 30):
        producer.produce(topic, b"%d" % second, timestamp=second * 1000)
    producer.flush(10)
    source = open_source(real_kafka, group, topic, start="1970-01-01T00:00:15Z")
    assert values(read_to_end(source)) == [b"20", b"30"]
    source.close()


def test_what_retention_took_is_told_as_a_gap(real_kafka: Cluster, group: str) -> None:
    topic = real_kafka.topic(1)
    produce(real_kafka.bootstrap_servers, topic, [b"%d" % n for n in range(10)])
    source = open_source(real_kafka, group, topic)
    read(source, 2)
    source.commit({(topic, 0): 2})
    source.close()
    for done in real_kafka.admin.delete_records([TopicPartition(topic, 0, 7)]).values():
        done.result(10)
    again = open_source(real_kafka, group, topic)
    first = poll_until(again, lambda poll: poll.gaps or poll.records)
    assert first.gaps == (Gap((topic, 0), 2, 7),)
    assert values([*first.records, *read_to_end(again)]) == [b"7", b"8", b"9"]
    again.close()


def test_a_partition_added_while_reading_is_read_from_its_beginning(real_kafka: Cluster, group: str) -> None:
    topic = real_kafka.topic(1)
    source = open_source(real_kafka, group, topic, start="latest")
    read_to_end(source)
    for done in real_kafka.admin.create_partitions([NewPartitions(topic, 2)]).values():
        done.result(10)
    produce(real_kafka.bootstrap_servers, topic, [b"new"], partition=1)
    assert values(read(source, 1)) == [b"new"]
    source.close()


def test_only_what_other_writers_have_committed_is_read(real_kafka: Cluster, group: str) -> None:
    topic = real_kafka.topic(1)
    producer = Producer(
        {"bootstrap.servers": real_kafka.bootstrap_servers, "transactional.id": group, "linger.ms": 0}
    )
    producer.init_transactions(10)
    source = open_source(real_kafka, group, topic)
    for value, end in ((b"no", producer.abort_transaction), (b"yes", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        assert producer.flush(10) == 0
        end(10)
    assert values(read(source, 1)) == [b"yes"]
    assert read_to_end(source) == []
    # The marks of the transactions' ends take offsets as well: a lag is no count of records.
    assert source.lag() == {(topic, 0): 0}
    source.close()


def test_a_restart_under_the_same_name_moves_no_partition(real_kafka: Cluster, group: str) -> None:
    topic = real_kafka.topic(2)
    moved: list[str] = []
    stays = open_source(real_kafka, group, topic, instance="i1", on_event=lambda name, _: moved.append(name))
    goes = open_source(real_kafka, group, topic)

    def both_have_one() -> bool:
        stays.poll(1, 0.05)
        goes.poll(1, 0.05)
        return len(stays.assignment()) == len(goes.assignment()) == 1

    wait_until(both_have_one, "both have a partition")
    its = goes.assignment()
    goes.close()
    moved.clear()
    back = open_source(real_kafka, group, topic)
    wait_until(lambda: (stays.poll(1, 0.05), back.poll(1, 0.05), back.assignment())[2], "it is back")
    assert back.assignment() == its
    assert moved == []
    stays.close()
    back.close()


def test_an_instance_that_was_replaced_under_its_name_ends(real_kafka: Cluster, group: str) -> None:
    topic = real_kafka.topic(1)
    produce(real_kafka.bootstrap_servers, topic, [b"0"])
    first = open_source(real_kafka, group, topic)
    read(first, 1)
    second = open_source(real_kafka, group, topic)
    read(second, 1)
    with pytest.raises(SourceError, match="fenced"):
        wait_until(lambda: first.poll(1, 0.1) and False, "it is told", DEADLINE)
    first.close()
    second.close()


def test_the_topic_tool_makes_what_it_finds_right(real_kafka: Cluster, group: str, tmp_path: Path) -> None:
    config = tmp_path / "detectord.yml"
    config.write_text(
        f"sources: [{{topics: [ecs.{group}]}}]\n"
        f'kafka: {{bootstrap_servers: "{real_kafka.bootstrap_servers}", topic_prefix: {group}}}\n'
        "state: {partitions: 4}\n"
    )
    arguments = ["--config", str(config)]
    missing = CliRunner().invoke(command, ["check", *arguments])
    assert (missing.exit_code, missing.output.count("does not exist")) == (1, 6)
    created = CliRunner().invoke(command, ["create", *arguments])
    assert (created.exit_code, created.stderr) == (0, "6 made, 0 were there\n")
    checked = CliRunner().invoke(command, ["check", *arguments])
    assert (checked.exit_code, checked.output) == (0, "all 6 topics are as they should be\n")
    again = CliRunner().invoke(command, ["create", *arguments])
    assert again.output == "0 made, 6 were there\n"
    for gone in real_kafka.admin.delete_topics(created.stdout.split()).values():
        gone.result(30)


@pytest.mark.slow
def test_a_cluster_that_loses_a_broker_loses_nothing(three_nodes: Cluster, group: str) -> None:
    """The broker is the one that keeps the group, a third of the partitions, and answers for others."""
    topic, alerts, dead, ledger = (three_nodes.topic(3, stem) for stem in ("in", "alerts", "dlq", "ledger"))
    source = open_source(three_nodes, group, topic)
    settings = KafkaSettings(bootstrap_servers=three_nodes.bootstrap_servers, group=group)
    sink = KafkaSink(settings, source.commit, alert_topic=alerts, dead_letter_topic=dead, ledger_topic=ledger)
    passed = 0

    def pass_on(count: int) -> None:
        """Write records, read them, and write an alert for each."""
        nonlocal passed
        for partition in range(3):
            values = [b"%d" % n for n in range(passed, passed + count) if n % 3 == partition]
            produce(three_nodes.bootstrap_servers, topic, values, partition)
        passed += count
        records = read(source, count)
        positions = {(r.topic, r.partition): r.offset + 1 for r in records}
        sink.commit(Outputs([alert(int(r.value)) for r in records], []), positions)

    pass_on(30)
    coordinator = three_nodes.admin.describe_consumer_groups([group])[group].result(30).coordinator.id
    node = next(node for node in three_nodes.nodes if node.number == coordinator)
    node.kill()
    pass_on(30)
    node.start()
    wait_for_brokers(three_nodes)
    pass_on(30)
    delivered = [message.value() for message in consume(three_nodes.bootstrap_servers, alerts, partitions=3)]
    assert sorted(delivered) == sorted(alert(n).value for n in range(passed))
    source.close()
    sink.close()
