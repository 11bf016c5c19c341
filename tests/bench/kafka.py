"""Through Apache Kafka: how many events a second, and how soon an event's alert can be read.

On the cluster that DETECTORD_TEST_KAFKA names, else on a node of our own, where Java and Maven are; without
either there are no such lines. Broker, writer, reader and daemon share the machine.

Every 20th event is one that a rule of one condition alerts on, every 10th one of the two steps of a sequence:
so there is state to commit. The same events go through with either guarantee, commits every 500 ms, and for
the latency at half the rate that was measured before. The time of an alert runs from the call that writes its
(last) event until a reader of committed records has it. Those of the second half are taken, when the daemon
has met its fleet. `allowed_lateness` is 0: a sequence waits for no others.
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
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from daemon import Daemon, Topics
from kafkanodes import FAST, ApacheKafka, Cluster, NoKafkaError

from bench.broker import keyed, rate
from bench.context import Context
from bench.workload import synthetic

RULE = """
[metadata]
maturity = "production"

[rule]
rule_id = "{name}"
name = "Probe"
type = "eql"
language = "eql"
query = '''{query}'''
severity = "low"
risk_score = 1
description = "An event of the bench that alerts."
author = ["detectord"]
license = "Apache-2.0"
"""
PROBES = {
    "bench-event": 'any where event.action == "bench-event"',
    "bench-sequence": """
        sequence by process.entity_id with maxspan=1h
          [any where event.action == "bench-begin"] [any where event.action == "bench-end"]
    """,
}
ACTIONS = {0: "bench-event", 5: "bench-begin", 15: "bench-end"}
"""Of every 20 events, by their number, those that a probe asks for."""

PROBE_EVERY = 20
PARTITIONS = 4
STATE_PARTITIONS = 64
GUARANTEES = ("at_least_once", "exactly_once")
PATIENCE_SECONDS = 60


def measure(context: Context) -> None:
    """The lines of Apache Kafka."""
    try:
        kafka = _at_hand()
    except NoKafkaError as e:
        print(f"kafka: left out: {e}", file=sys.stderr)
        return
    with kafka as cluster, tempfile.TemporaryDirectory() as place:
        per_second = rate(context, _topics(cluster), keyed(context), unread_limit=sys.maxsize)
        context.add("kafka", per_second, "events/s, 2 workers")
        probes = _write_probes(Path(place))
        rates = {mode: _rate(context, cluster, probes, mode) for mode in GUARANTEES}
        for mode, each in rates.items():
            ratio = each / rates["at_least_once"]
            context.add(f"kafka_{mode}", each, "events/s, 2 workers", "kafka_at_least_once", ratio)
        for mode, each in rates.items():
            for kind, seconds in _latencies(context, _topics(cluster), probes, mode, each / 2).items():
                cuts = quantiles(seconds, n=100, method="inclusive")
                for name, value in (("p50", cuts[49]), ("p99", cuts[98])):
                    context.add(f"kafka_{mode}_{kind}_{name}", value * 1000, "ms, at half that rate")
        cluster.close()


def _write_probes(place: Path) -> list[Path]:
    """The rules that the probes are for."""
    files = [place / f"{name}.toml" for name in PROBES]
    for file, (name, query) in zip(files, PROBES.items(), strict=True):
        file.write_text(RULE.replace("{name}", name).replace("{query}", query))
    return files


def _rate(context: Context, cluster: Cluster, probes: list[Path], mode: str) -> float:
    """Events a second with that guarantee."""
    events = [(event.key, event.value) for event in _with_probes(synthetic(context.scale.feed))]
    return rate(context, _topics(cluster), events, unread_limit=sys.maxsize, rules=probes, **_config(mode))


def _config(mode: str) -> dict[str, Any]:
    return {
        "delivery": {"mode": mode, "commit_interval": "500ms"},
        "state": {"partitions": STATE_PARTITIONS},
        "time": {"allowed_lateness": "0s", "idle_timeout": "2s"},
    }


def _at_hand() -> AbstractContextManager[Cluster]:
    given = os.environ.get("DETECTORD_TEST_KAFKA")
    return nullcontext(Cluster(given)) if given else ApacheKafka(options=FAST)


def _topics(cluster: Cluster) -> Topics:
    topics = Topics(cluster.bootstrap_servers)
    cluster.create(topics.names(), PARTITIONS)
    cluster.create([topics.state], STATE_PARTITIONS, cleanup_policy="compact")
    cluster.create([topics.hits], STATE_PARTITIONS)
    return topics


def _latencies(
    context: Context, topics: Topics, probes: list[Path], mode: str, per_second: float
) -> dict[str, list[float]]:
    """Seconds from writing an event to reading its alert, for every probe that is taken, by kind."""
    first, *others = _with_probes(synthetic(context.scale.feed))
    sources = [{"topics": [topics.input], "keyed_by": "host.id"}]
    with (
        tempfile.TemporaryDirectory() as place,
        Daemon(
            Path(place),
            topics,
            rules=[context.folder, *probes],
            sources=sources,
            workers=2,
            **_config(mode),
        ) as daemon,
    ):
        reader = _Reader(topics)
        _send(topics, [first], per_second, reader)
        reader.read_until({first.probe})  # everybody is there
        half = len(others) // 2
        _send(topics, others[:half], per_second, reader)  # everything is warm
        sent = _send(topics, others[half:], per_second, reader)
        reader.read_until(sent.keys())
        assert daemon.stop() == 0
    taken: dict[str, list[float]] = {}
    for name, at in sent.items():
        taken.setdefault(name.split(" ")[0], []).append(reader.seen[name] - at)
    return taken


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
        action = ACTIONS.get(number % PROBE_EVERY)
        if action is None:
            yield _Event(key, value)
            continue
        kind = "event" if action == "bench-event" else "sequence"
        name = f"{kind} {number}"
        document["event"] = {**document["event"], "action": action, "id": name}
        if kind == "sequence":  # both steps of one host, so that the last one written is the last one read
            entity = f"bench-{number // PROBE_EVERY}"
            document["host"] = {**document["host"], "id": entity}
            document["process"] = {**document.get("process", {}), "entity_id": entity}
            key = entity.encode()
        yield _Event(key, msgspec.json.encode(document), "" if action == "bench-begin" else name)


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
                "isolation.level": "read_committed",
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
                event = alert.get("kibana.alert.original_event.id")
                if event is not None and alert["kibana.alert.rule.rule_id"] in PROBES:
                    self.seen.setdefault(event, time.monotonic())

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
