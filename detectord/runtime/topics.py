"""Our topics on the cluster: which there should be, which there are, and what differs.

Rule 1: what should be is data (`expected`), what is is data (`Found`), and comparing them asks
nobody (`differences`); only `Cluster` talks to the brokers.
Rule 2: nothing existing is changed. A partition count cannot be taken back, and the settings of a
topic in use are for its owner to change; we say what differs.

Input topics belong to whoever writes them. A missing one is made all the same, so that a new cluster
needs one command; of an existing one only the time stamps matter: stamped by the broker, a producer
with a wrong clock cannot mislead `start` times and retention.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the binding forgets to export three
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from detectord.config import Config
from detectord.kafka import KafkaSettings

DAY = 86_400_000

INPUT_PARTITIONS = 12

REPLICAS = 3
"""Copies of every partition, on clusters that have as many brokers."""


class TopicsError(Exception):
    """The cluster could not be asked, or did not do what it was asked."""


class NoAdminError(TopicsError):
    """The cluster has no admin interface; brokers for tests and demonstrations do not."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A topic as it should be. `exact` tells that the partition count may not be another: state is
    filed by it. `settings` are set on a new topic; those in `checked` are also compared."""

    name: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)
    checked: tuple[str, ...] = ("cleanup.policy",)
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is; `settings` holds all of the broker's."""

    partitions: int
    replicas: int
    settings: Mapping[str, str]


def expected(config: Config) -> list[Expected]:
    """Every topic that a deployment with this configuration reads or writes."""
    per_state = config.state.partitions
    kept = {"cleanup.policy": "delete"}
    inputs = [
        Expected(
            topic,
            INPUT_PARTITIONS,
            {**kept, "message.timestamp.type": "LogAppendTime", "retention.ms": str(2 * DAY)},
            checked=("message.timestamp.type",),
        )
        for topic in dict.fromkeys(topic for source in config.sources for topic in source.topics)
    ]
    return [
        *inputs,
        # Compacting alerts as well is somebody's choice: the key is the alert's id.
        Expected(config.alert_topic, 6, {**kept, "retention.ms": str(14 * DAY)}, checked=()),
        Expected(config.dlq_topic, 1, {**kept, "retention.ms": str(14 * DAY)}),
        Expected(config.ledger_topic, 1, {**kept, "retention.ms": str(30 * DAY)}),
        Expected(config.hits_topic, per_state, {**kept, "retention.ms": str(DAY)}, exact=True),
        Expected(
            config.state_topic,
            per_state,
            {
                "cleanup.policy": "compact",
                "min.cleanable.dirty.ratio": "0.1",
                "segment.ms": "600000",
                "delete.retention.ms": str(DAY),
            },
            exact=True,
        ),
    ]


def differences(wanted: Sequence[Expected], found: Mapping[str, Found], replicas: int) -> list[str]:
    """What is not as it should be, one sentence each, in the order of `wanted`."""
    differing = []
    for topic in wanted:
        there = found.get(topic.name)
        said = ["does not exist"] if there is None else _compared(topic, there, replicas)
        differing += [f"{topic.name}: {each}" for each in said]
    return differing


def _compared(topic: Expected, there: Found, replicas: int) -> list[str]:
    said = []
    if topic.exact and there.partitions != topic.partitions:
        said.append(f"has {there.partitions} partitions, must have {topic.partitions}")
    if there.replicas < replicas:
        said.append(f"replication factor is {there.replicas}, should be {replicas}")
    for name in topic.checked:
        value, wanted = there.settings.get(name, "unset"), topic.settings[name]
        if value != wanted:
            said.append(f"{name} is {value}, should be {wanted}")
    return said


class Cluster:
    """The admin interface of a cluster. Every call takes at most `timeout` seconds."""

    def __init__(self, settings: KafkaSettings, *, timeout: float = 15.0) -> None:
        self._timeout = timeout
        try:
            self._admin = AdminClient(settings.client(), logger=logging.getLogger("detectord.kafka"))
        except (KafkaException, TypeError, ValueError) as e:
            raise TopicsError(f"the Kafka client cannot be set up: {e}") from e

    def find(self, names: Iterable[str]) -> dict[str, Found]:
        """Those of `names` that exist.

        Raises:
            TopicsError: the cluster does not answer, or does not let us.
        """
        metadata = self._asked(lambda: self._admin.list_topics(timeout=self._timeout))
        there = [name for name in names if name in metadata.topics]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in there]
        settings = self._settings(resources) if resources else {}
        found = {}
        for name in there:
            partitions = metadata.topics[name].partitions
            replicas = min((len(each.replicas) for each in partitions.values()), default=0)
            found[name] = Found(len(partitions), replicas, settings[name])
        return found

    def replicas(self) -> int:
        """How many replicas a topic should have here."""
        metadata = self._asked(lambda: self._admin.list_topics(timeout=self._timeout))
        return min(REPLICAS, len(metadata.brokers))

    def create(self, topics: Sequence[Expected], replicas: int) -> list[str]:
        """Make `topics`; the names of those made. One that came into being meanwhile is left alone.

        Raises:
            TopicsError: a topic could not be made; others may have been.
        """
        if not topics:
            return []
        durable = {"min.insync.replicas": str(replicas - 1)} if replicas > 1 else {}
        new = [
            NewTopic(topic.name, topic.partitions, replicas, config={**durable, **topic.settings})
            for topic in topics
        ]
        futures = self._asked(
            lambda: self._admin.create_topics(
                new, operation_timeout=self._timeout, request_timeout=self._timeout
            )
        )
        made = []
        for name, future in futures.items():
            try:
                self._answer(future)
            except KafkaException as e:
                if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise TopicsError(f"{name}: {e.args[0].str()}") from e
            else:
                made.append(name)
        return made

    def _settings(self, resources: list[ConfigResource]) -> dict[str, dict[str, str]]:
        futures = self._asked(lambda: self._admin.describe_configs(resources, request_timeout=self._timeout))
        settings = {}
        for resource, future in futures.items():
            try:
                entries = self._answer(future)
            except KafkaException as e:
                raise TopicsError(f"{resource.name}: {e.args[0].str()}") from e
            settings[resource.name] = {entry.name: str(entry.value) for entry in entries.values()}
        return settings

    def _answer(self, future: Future[Any]) -> Any:
        """The answer to an admin request, sent to a cluster that has just listed its topics."""
        try:
            return future.result(self._timeout + 1)
        except KafkaException as e:
            if e.args[0].code() in {KafkaError._UNSUPPORTED_FEATURE, KafkaError._TIMED_OUT}:
                raise NoAdminError(
                    "the cluster answers, but not to admin requests. The embedded broker never does: "
                    "its topics come into being when they are first used. Of any other cluster, see "
                    "whether it has a controller."
                ) from e
            raise

    def _asked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except KafkaException as e:
            raise TopicsError(f"the cluster does not answer: {e.args[0].str()}") from e
