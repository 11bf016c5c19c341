"""Everything that a history plays on: a broker behind a proxy, topics, a feeder, a reader, the instances.

The time-outs of the daemon are short, so that a fault that has to last longer than one of them is soon over,
but they keep their order: heartbeat ≪ transaction < idle < session.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from daemon import RULES, wait_until
from kafkanodes import ApacheKafka, Cluster, Node

from chaos.feeder import Feeder
from chaos.history import Interval
from chaos.instance import DETECTORD, Instance
from chaos.proxy import Proxy
from chaos.reader import Reader
from chaos.traffic import END, Traffic

OWN_RULES = Path(__file__).parent / "rules"

PARTITIONS = 4
STATE_PARTITIONS = 8

SESSION = 8.0
IDLE = 6.0
TRANSACTION = 3.0
WORKER = 10.0
"""Seconds until a worker that does not answer is replaced; on a busy machine one takes five to start."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How long things last, in seconds: what is away, and the quiet before a fault."""

    name: str
    away: float
    quiet: tuple[float, float]


QUICK = Scale("quick", 9.0, (0.3, 1.5))
FULL = Scale("full", 60.0, (0.5, 6.0))


@dataclass
class Stage:
    """What faults may touch. `instances` are those that are there, `everyone` all that ever were; `hit` are
    those that the fault has struck, none of them if it strikes at what they have in common. `lost` is what
    was taken out of the input topic for good, `poisoned` the numbers of the records that kill workers."""

    rng: random.Random
    scale: Scale
    folder: Path
    cluster: Cluster
    node: Node
    proxy: Proxy
    prefix: str
    traffic: Traffic
    feeder: Feeder
    reader: Reader
    make: Callable[[int], Instance]
    asker: Consumer
    hits_asker: Consumer
    parts: ExitStack
    instances: list[Instance] = field(default_factory=list)
    everyone: list[Instance] = field(default_factory=list)
    hit: list[Instance] = field(default_factory=list)
    lost: list[Interval] = field(default_factory=list)
    poisoned: list[int] = field(default_factory=list)

    @property
    def input(self) -> str:
        """The topic that is read."""
        return f"ecs.{self.prefix}"

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.prefix

    def instance(self) -> Instance:
        """Any of them; it is the one that is hit."""
        self.hit = [self.rng.choice(self.instances)]
        return self.hit[0]

    def join(self) -> Instance:
        """One more instance."""
        made = self.parts.enter_context(self.make(len(self.everyone)))
        self.instances.append(made)
        self.everyone.append(made)
        return made

    def pause(self, least: float, most: float) -> None:
        """Let things go on for a while that the seed decides."""
        wait(self.rng.uniform(least, most))

    def committed(self) -> dict[int, int]:
        """The group's positions in the input, once no open transaction may still move them."""
        return dict(wait_until(self._ask_committed, "the group's positions"))

    def ends(self) -> dict[int, int]:
        """The offsets behind the last record of the input."""
        ends: dict[int, int] = {}
        for record in self.feeder.written[:]:
            ends[record.partition] = max(record.offset + 1, ends.get(record.partition, 0))
        return ends

    def has_heard_all(self) -> bool:
        """True if no hits wait for the instance that they are for."""
        topic = f"{self.prefix}.hits"
        positions = _committed(self.hits_asker, topic, STATE_PARTITIONS)
        if positions is None:
            return False
        numbers = range(STATE_PARTITIONS)
        self.hits_asker.assign(
            [TopicPartition(topic, n, positions.get(n, OFFSET_BEGINNING)) for n in numbers]
        )
        left = set(numbers)
        try:
            while left:
                message = self.hits_asker.poll(5.0)
                error = message and message.error()
                if error is None or error.code() != KafkaError._PARTITION_EOF:
                    return False
                left.discard(message.partition())
        finally:
            self.hits_asker.unassign()
        return True

    def _ask_committed(self) -> dict[int, int] | None:
        return _committed(self.asker, self.input, PARTITIONS)


def _committed(asker: Consumer, topic: str, partitions: int) -> dict[int, int] | None:
    """The positions of the asker's group; None: not to be had now."""
    try:
        told = asker.committed([TopicPartition(topic, n) for n in range(partitions)], timeout=5)
    except KafkaException:  # of a transaction that is open, or a coordinator that is not there yet
        return None
    return {each.partition: each.offset for each in told if each.offset >= 0}


@contextmanager
def broker(nodes: int = 1) -> Iterator[tuple[Cluster, Proxy]]:
    """An Apache Kafka, and the proxy in front of it. With several nodes nobody goes by way of the proxy,
    which can stand for one of them only.

    Raises:
        NoKafkaError: it cannot be had on this machine.
    """
    with Proxy() as proxy, ApacheKafka(nodes, by_way_of=proxy.address if nodes == 1 else None) as cluster:
        proxy.upstream = cluster.nodes[0].beside
        yield cluster, proxy


@contextmanager
def stage(
    cluster: Cluster,
    proxy: Proxy,
    folder: Path,
    rng: random.Random,
    scale: Scale,
    *,
    instances: int = 1,
    program: Sequence[str] = DETECTORD,
    traffic: Traffic | None = None,
    rules: Sequence[Path] = (RULES, OWN_RULES),
    **config: Any,
) -> Iterator[Stage]:
    """New topics, and everything running. `program` is what Python runs as the daemon; `config` replaces
    sections of its configuration."""
    prefix = f"chaos-{uuid.uuid4().hex[:8]}"
    topics = {name: f"{prefix}.{name}" for name in ("alerts", "dlq", "ledger", "state", "hits")}
    cluster.create([f"ecs.{prefix}", f"other.{prefix}"], PARTITIONS)
    cluster.create([topics["alerts"]], 3, message_timestamp_type="LogAppendTime")
    cluster.create([topics["dlq"], topics["ledger"]], 1)
    cluster.create([topics["state"]], STATE_PARTITIONS, cleanup_policy="compact", segment_ms="5000")
    cluster.create([topics["hits"]], STATE_PARTITIONS)
    if traffic is None:
        # So long ago that the last events' time has come, too
        # With several instances keys are as good as none: sequences meet over instances
        begin, scattered = time.time() - END - 60, 0.2 if instances == 1 else 1.0
        traffic = Traffic(rng.getrandbits(32), begin, PARTITIONS, scattered=scattered)
    servers = cluster.bootstrap_servers
    settings = {**_config(proxy.address if proxy.upstream else servers, prefix, rules), **config}

    def make(number: int) -> Instance:
        # Another number of workers each, and no more processes than the machine can bear
        own = {**settings, "workers": 2 - number % 2}
        return Instance(f"chaos-{number}", folder / f"instance-{number}", own, program)

    with ExitStack() as parts:
        reader = parts.enter_context(
            Reader(servers, topics["alerts"], topics["dlq"], topics["ledger"], (3, 1, 1))
        )
        feeder = parts.enter_context(Feeder(servers, f"ecs.{prefix}", traffic))
        askers = [_asker(servers, group) for group in (prefix, f"{prefix}.hits")]
        for asker in askers:
            parts.callback(asker.close)
        here = Stage(
            rng,
            scale,
            folder,
            cluster,
            cluster.node(),
            proxy,
            prefix,
            traffic,
            feeder,
            reader,
            make,
            *askers,
            parts,
        )
        for _ in range(instances):
            here.join()
        yield here


def _asker(servers: str, group: str) -> Consumer:
    """Who asks for a group's positions without being of it."""
    return Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )


def wait(seconds: float) -> None:
    """Let time pass; how long is part of a history, not a guess how long something takes."""
    threading.Event().wait(seconds)


def _config(servers: str, prefix: str, rules: Sequence[Path]) -> dict[str, Any]:
    ms = 1_000
    return {
        "sources": [{"topics": [f"ecs.{prefix}"]}],
        "kafka": {
            "bootstrap_servers": servers,
            "group": prefix,
            "topic_prefix": prefix,
            "properties": {"socket.timeout.ms": 3 * ms, "reconnect.backoff.max.ms": 500},
            "consumer": {
                "properties": {"session.timeout.ms": int(SESSION * ms), "heartbeat.interval.ms": 500}
            },
            "producer": {
                "properties": {"transaction.timeout.ms": int(TRANSACTION * ms), "delivery.timeout.ms": 2_500}
            },
        },
        "delivery": {"mode": "exactly_once", "commit_interval": "100ms"},
        "state": {"partitions": STATE_PARTITIONS},
        "batch": {"worker_timeout": f"{WORKER:g}s"},
        "input": {"start": "earliest"},
        "rules": {"paths": [str(path) for path in rules]},
        "time": {"allowed_lateness": "1s", "idle_timeout": f"{IDLE:g}s"},
        "http": {"listen": "127.0.0.1:0"},
        "log": {"format": "json"},
    }
