"""Before the first record with exactly-once delivery: fence the predecessor, read back what it committed.

Order matters and says so. The topics are looked at first, so that what cannot work is refused before it
touches anything. Then the sink takes its predecessor's place, which ends the transaction that one may have
left open; only then is the state read, so that nobody can add to it any more. If nobody owns it yet it is
claimed. Only then does the caller join the group.

Several instances cannot share the state yet: one of another name, or of another group, is refused here,
before it has joined the group or written a record; the owner does not notice it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from detectord.config import Config
from detectord.engine.state import StateError
from detectord.kafka import EventHook, KafkaSettings
from detectord.runtime.standing import Standing, State, take_standing
from detectord.runtime.topics import Cluster, Found, NoAdminError, TopicsError
from detectord.sinks.transactional import TransactionalSink
from detectord.state_topic import FORMAT, LEAST_MESSAGE_BYTES, Claim, Reader, Stored

ASK_SECONDS = 10.0
AGAIN_SECONDS = 0.5
ADMIN_ATTEMPTS = 2
"""How often a cluster is asked that answers, but not to admin requests: it may be between two controllers."""
BATCH_OVERHEAD = 128
"""Bytes that the broker counts of a batch beside its records, generously."""


class RefusedError(Exception):
    """What is there cannot be worked with; the operator has to act."""


Wait = Callable[[str], None]
"""Called while nothing comes, with a reason. It ends the waiting by raising."""


class Recovered(NamedTuple):
    """Where to go on."""

    state: State
    standing: Standing
    records: int


def recover(
    config: Config, sink: TransactionalSink, *, tick: Callable[[], None], wait: Wait, on_event: EventHook
) -> Recovered:
    """Take over from a predecessor, or begin.

    Raises:
        RefusedError: a topic is not as it has to be, or the state is another's, or not readable.
        DeliveryError: the cluster does not let us write.
        EndedError: another took our place meanwhile.
    """
    settings = KafkaSettings.of(config)
    limit = _message_limit(config, _topics(config, settings, wait))
    try:
        sink.open(limit, wait)
    except ValueError as error:
        raise RefusedError(str(error)) from error
    reader = Reader(settings, config.state_topic, tick=tick, wait=wait, on_event=on_event)
    own = Claim(FORMAT, config.kafka.group, config.instance, config.state.partitions)
    try:
        stored = reader.read(config.state.partitions)
        if stored.owner() is None:
            sink.claim(own)
            stored = reader.read(config.state.partitions)
        _require_owner(stored, own)
        state, sink.pieces = stored.entries()
        standing = take_standing(state)
        _require_positions(settings, standing, wait)
    except StateError as error:
        raise RefusedError(f"topic {config.state_topic}: {error}") from error
    return Recovered(state, standing, stored.records)


def _topics(config: Config, settings: KafkaSettings, wait: Wait) -> dict[str, Found]:
    """The topics that are written, as they are. A broker that has just started may not know them yet."""
    names = (config.alert_topic, config.dlq_topic, config.ledger_topic, config.state_topic)
    unanswered = 0
    while True:
        try:
            found = Cluster(settings).find(names)
        except NoAdminError as error:
            unanswered += 1
            if unanswered == ADMIN_ATTEMPTS:
                raise RefusedError(f"exactly-once delivery is not to be had here: {error}") from error
            wait(str(error))
        except TopicsError as error:
            wait(str(error))
        else:
            missing = [name for name in names if name not in found]
            if not missing:
                return found
            wait(f"topic {missing[0]} does not exist; `detectord topics create` makes it")
        time.sleep(AGAIN_SECONDS)


def _message_limit(config: Config, found: dict[str, Found]) -> int:
    """The size of a record that all topics take.

    Raises:
        RefusedError: state cannot be kept in the topic for it.
    """
    state = found[config.state_topic]
    if state.partitions != config.state.partitions:
        raise RefusedError(
            f"topic {config.state_topic} has {state.partitions} partitions; "
            f"state.partitions says {config.state.partitions}, and both are for the life of a deployment"
        )
    if state.settings.get("cleanup.policy") != "compact":
        raise RefusedError(
            f"topic {config.state_topic} has cleanup.policy={state.settings.get('cleanup.policy')}; "
            "state is lost with anything but compact"
        )
    limits = {name: int(topic.settings["max.message.bytes"]) for name, topic in found.items()}
    for name, limit in limits.items():
        if limit < LEAST_MESSAGE_BYTES:
            raise RefusedError(
                f"topic {name} has max.message.bytes={limit}; it must be at least {LEAST_MESSAGE_BYTES}"
            )
    return min(limits.values()) - BATCH_OVERHEAD


def _require_positions(settings: KafkaSettings, standing: Standing, wait: Wait) -> None:
    """See that the group's positions are those that were committed with the state.

    Raises:
        StateError: they were moved, or somebody went on without the state.
    """
    expected = standing.committed()
    if not expected:
        return
    asker = Consumer({**settings.client(), "group.id": settings.group})
    try:
        while True:
            try:
                answer = asker.committed([TopicPartition(*p) for p in expected], timeout=ASK_SECONDS)
            except KafkaException as error:
                wait(f"the group's positions are not told: {error.args[0].str()}")
            else:
                break
    finally:
        asker.close()
    for told in answer:
        offset = expected[told.topic, told.partition]
        if told.offset != offset:
            raise StateError(
                f"it was left at offset {offset} of {told.topic}[{told.partition}], where the group is at "
                f"{told.offset}; put the position back, or begin with a new state topic"
            )


def _require_owner(stored: Stored, own: Claim) -> None:
    """See that the state is ours.

    Raises:
        StateError: it is not.
    """
    owner = stored.owner()
    if owner is None:
        raise StateError("our claim on it is gone")
    if owner.format != own.format:
        raise StateError(f"it is of format {owner.format}; this build reads format {own.format}")
    if owner.group != own.group:
        raise StateError(f"it belongs to group {owner.group}, not to {own.group}; set kafka.topic_prefix")
    if owner.instance != own.instance:
        raise StateError(
            f"it belongs to instance {owner.instance}, not to {own.instance}; "
            "with exactly-once delivery a group has one instance, whose name must stay"
        )
    if owner.partitions != own.partitions:
        raise StateError(
            f"it was filed by {owner.partitions} state partitions; state.partitions says {own.partitions}"
        )
