"""Through Apache Kafka: how many events a second, and how soon an event's alert can be read.

On the cluster that DETECTORD_TEST_KAFKA names, else on a node of our own, where Java and Maven are; without
either there are no such lines. Broker, writer, reader and daemon share the machine.

For the latency events come at half the rate that was measured before. Every 20th is one that a rule of one
condition alerts on; its time runs from the call that writes it until a reader of committed records has its
alert. Those of the second half are taken, when the daemon has met its fleet.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from daemon import Daemon, Topics
from kafkanodes import FAST, ApacheKafka, Cluster, NoKafkaError

from bench.broker import rate
from bench.context import Context
from bench.workload import synthetic

PROBE = """
[metadata]
maturity = "production"

[rule]
rule_id = "bench-probe"
name = "Probe"
type = "eql"
language = "eql"
query = 'any where event.action == "bench-probe"'
severity = "low"
risk_score = 1
description = "An event of the bench that alerts."
author = ["detectord"]
license = "Apache-2.0"
"""

PROBE_EVERY = 20
PARTITIONS = 4
PATIENCE_SECONDS = 60


def measure(context: Context) -> None:
    """The lines of Apache Kafka."""
    try:
        kafka = _at_hand()
    except NoKafkaError as e:
        print(f"kafka: left out: {e}", file=sys.stderr)
        return
    with kafka as cluster:
        per_second = rate(context, _topics(cluster), unread_limit=sys.maxsize)
        context.add("kafka", per_second, "events/s, 2 workers")
        seconds = _latencies(context, _topics(cluster), per_second / 2)
        cuts = quantiles(seconds, n=100, method="inclusive")
        for name, value in (("p50", cuts[49]), ("p99", cuts[98])):
            context.add(f"kafka_latency_{name}", value * 1000, "ms, at half that rate")
        cluster.close()


def _at_hand() -> AbstractContextManager[Cluster]:
    given = os.environ.get("DETECTORD_TEST_KAFKA")
    return nullcontext(Cluster(given)) if given else ApacheKafka(options=FAST)


def _topics(cluster: Cluster) -> Topics:
    topics = Topics(cluster.bootstrap_servers)
    cluster.create(topics.names(), PARTITIONS)
    return topics


def _latencies(context: Context, topics: Topics, per_second: float) -> list[float]:
    """Seconds from writing an event to reading its alert, for every probe that is taken."""
    first, *others = _with_probes(synthetic(context.scale.feed))
    sources = [{"topics": [topics.input], "keyed_by": "host.id"}]
    delivery = {"mode": "at_least_once", "commit_interval": "500ms"}
    with tempfile.TemporaryDirectory() as place:
        probe = Path(place) / "probe.toml"
        probe.write_text(PROBE)
        rules = [context.folder, probe]
        with Daemon(
            Path(place), topics, rules=rules, sources=sources, workers=2, delivery=delivery
        ) as daemon:
            reader = _Reader(topics)
            _send(topics, [first], per_second, reader)
            reader.read_until({first.probe})  # everybody is there
            half = len(others) // 2
            _send(topics, others[:half], per_second, reader)  # everything is warm
            sent = _send(topics, others[half:], per_second, reader)
            reader.read_until(sent.keys())
            assert daemon.stop() == 0
    return [reader.seen[name] - at for name, at in sent.items()]


class _Event(NamedTuple):
    key: bytes
    value: bytes
    probe: str = ""
    """The id that its alert will name, if it is to have one."""


def _with_probes(events: list[bytes]) -> Iterator[_Event]:
    """The events as they are written; the first is a probe."""
    for number, value in enumerate(events):
        document = msgspec.json.decode(value)
        key = document["host"]["id"].encode()
        if number % PROBE_EVERY:
            yield _Event(key, value)
        else:
            probe = f"probe-{number}"
            document["event"] |= {"action": "bench-probe", "id": probe}
            yield _Event(key, msgspec.json.encode(document), probe)


class _Reader:
    """Reads the alerts of probes, and notes when each came first."""

    def __init__(self, topics: Topics) -> None:
        _, alerts, *_ = topics.names()
        self.seen: dict[str, float] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": topics.bootstrap_servers,
                "group.id": "bench-reader",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(alerts, number, 0) for number in range(PARTITIONS)])

    def read(self, timeout: float) -> None:
        """Take what comes within `timeout` seconds."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            message = self._consumer.poll(left)
            if message is not None and message.error() is None:
                alert = msgspec.json.decode(message.value())
                if alert["kibana.alert.rule.rule_id"] == "bench-probe":
                    self.seen.setdefault(alert["kibana.alert.original_event.id"], time.monotonic())

    def read_until(self, names: Set[str]) -> None:
        """Read until the alerts of these are there."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not names <= self.seen.keys():
            assert time.monotonic() < until, f"{len(names - self.seen.keys())} alerts did not come"
            self.read(0.02)


def _send(topics: Topics, events: Sequence[_Event], per_second: float, reader: _Reader) -> dict[str, float]:
    """Write the events at that rate, reading meanwhile; when each probe was written."""
    producer = Producer({"bootstrap.servers": topics.bootstrap_servers, "linger.ms": 0})
    sent: dict[str, float] = {}
    began = time.monotonic()
    for number, event in enumerate(events):
        while (early := began + number / per_second - time.monotonic()) > 0:
            reader.read(min(early, 0.01))
        if event.probe:
            sent[event.probe] = time.monotonic()
        producer.produce(topics.input, event.value, event.key)
        producer.poll(0)
    producer.flush(PATIENCE_SECONDS)
    return sent
