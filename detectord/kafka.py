"""The Kafka client: what our consumer, our producer and the topic tool have in common.

Rule 1: `KafkaSettings` holds what an operator may decide, in librdkafka's names. What the delivery
guarantee rests on is decided by us and stands last in the client's settings, so that it always wins.
Rule 2: trouble is told, not raised, as long as the client goes on by itself: a broker that is away
comes back. `describe` gives every error one of few names, so that a log line and a counter need no
knowledge of librdkafka. Only an error the client calls fatal ends a source or a producer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from confluent_kafka import KafkaError

from detectord.config import Config

ClientValue = str | int | float | bool

EventHook = Callable[[str, dict[str, object]], None]
"""Told what happens at the edge: a dotted name and its details. It must neither raise nor wait."""

_NAMES: Mapping[str, frozenset[int]] = {
    "kafka.not_authenticated": frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}),
    "kafka.not_authorised": frozenset(
        {
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        }
    ),
    "kafka.topic_unknown": frozenset(
        {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
    ),
    "kafka.unreachable": frozenset(
        {
            KafkaError._ALL_BROKERS_DOWN,
            KafkaError._RESOLVE,
            KafkaError._SSL,
            KafkaError._TIMED_OUT,
            KafkaError._TRANSPORT,
        }
    ),
}


def ignore(name: str, details: dict[str, object]) -> None:
    """The event hook of someone who does not want to know."""
    del name, details


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How to reach a cluster, and as whom.

    `instance` must be stable over restarts and different for every instance of a group: the group
    knows its members by it. `security` and the `*properties` are librdkafka settings; the more
    special ones win over the more general.
    """

    bootstrap_servers: str
    group: str = "detectord"
    instance: str = "detectord-0"
    security: Mapping[str, ClientValue] = field(default_factory=dict)
    properties: Mapping[str, ClientValue] = field(default_factory=dict)
    consumer_properties: Mapping[str, ClientValue] = field(default_factory=dict)
    producer_properties: Mapping[str, ClientValue] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> Self:
        """What the configuration says about the cluster."""
        kafka = config.kafka
        return cls(
            bootstrap_servers=kafka.bootstrap_servers,
            group=kafka.group,
            instance=config.instance,
            security=kafka.security(),
            properties=kafka.properties,
            consumer_properties=kafka.consumer.properties,
            producer_properties=kafka.producer.properties,
        )

    @property
    def member(self) -> str:
        """The stable name of this instance in the group."""
        return f"detectord.{self.group}.{self.instance}"

    def client(self) -> dict[str, ClientValue]:
        """What every client of ours starts from."""
        return {
            # A request nobody answers must fail while there is time to try again.
            "socket.timeout.ms": 10_000,
            "log.connection.close": False,  # brokers close idle connections; that is no news
            **self.security,
            **self.properties,
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.member,
        }

    def consumer(self) -> dict[str, ClientValue]:
        """The settings of the group consumer."""
        return {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 45_000,
            "max.poll.interval.ms": 300_000,
            "fetch.queue.backoff.ms": 10,  # the default of 1 s costs most of the speed when catching up
            "fetch.wait.max.ms": 50,
            "queued.max.messages.kbytes": 16_384,
            "check.crcs": True,
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 30_000,  # how soon a topic made later is found
            **self.client(),
            **self.consumer_properties,
            "group.id": self.group,
            "group.instance.id": self.member,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            # Every start position is resolved by the source, so a reset can only mean a gap.
            "auto.offset.reset": "error",
        }

    def producer(self) -> dict[str, ClientValue]:
        """The settings of the producer of alerts and dead letters."""
        return {
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "delivery.timeout.ms": 9_000,
            "queue.buffering.max.kbytes": 65_536,
            **self.client(),
            **self.producer_properties,
            "enable.idempotence": True,
            "acks": "all",
        }

    def transactional(self) -> dict[str, ClientValue]:
        """The settings of a producer that commits in transactions. The name is stable, so that a successor
        ends what its predecessor left open."""
        return {
            "transaction.timeout.ms": 10_000,  # longer than a message may take, shorter than a session
            # Else the client, when every connection is lost, forgets all brokers and begins anew, and then
            # waits without end for a coordinator that it forgot: librdkafka's issues 5511 and 5456.
            "metadata.recovery.strategy": "none",
            **self.producer(),
            "transactional.id": self.member,
        }


def describe(error: KafkaError) -> tuple[str, dict[str, object]]:
    """The event for a client's error: its name (kafka.not_authenticated, kafka.not_authorised,
    kafka.topic_unknown, kafka.unreachable, kafka.error) and what the client said."""
    code = error.code()
    name = next((name for name, codes in _NAMES.items() if code in codes), "kafka.error")
    return name, {"code": error.name(), "error": error.str()}
