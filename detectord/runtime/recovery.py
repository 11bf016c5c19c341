"""Exactly-once delivery: what happens before the first record, and how committed state is read back.

Order matters and says so. The topics are looked at first, so that what cannot work is refused before it
touches anything. Then the sink takes the place of a predecessor of its name, which ends the transaction that
one may have left open. If no group owns the state yet it is claimed; another group's is refused, whose owner
does not notice. Only then does the caller join the group, and is given state partitions.

Positions and state fit each other because they are committed together. Each position that we commit bears a
mark (`state_topic.WITH_STATE`), so that one that somebody else stored, without the state, is seen when the
state is read back, and refused: sequences in between would be missed in silence.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from detectord.config import Config
from detectord.engine.state import StateError
from detectord.events.record import Partition
from detectord.kafka import EventHook, KafkaSettings
from detectord.runtime.share import Restored
from detectord.runtime.standing import take_standings
from detectord.runtime.topics import Cluster, Found, NoAdminError, TopicsError
from detectord.sinks.transactional import TransactionalSink
from detectord.state_topic import (
    CLAIMED_IN,
    FORMAT,
    LEAST_MESSAGE_BYTES,
    WITH_STATE,
    Claim,
    Reader,
    Stored,
)

ASK_SECONDS = 10.0
AGAIN_SECONDS = 0.5
ADMIN_ATTEMPTS = 2
"""How often a cluster is asked that answers, but not to admin requests: it may be between two controllers."""
BATCH_OVERHEAD = 128
"""Bytes that the broker counts of a batch beside its records, generously."""


class RefusedError(Exception):
    """What is there cannot be worked with; the operator has to act."""


OnRestored = Callable[[Restored, int, float], None]
"""Told what was read back, of how many records, in how many seconds."""

Wait = Callable[[str], None]
"""Called while nothing comes, with a reason. It ends the waiting by raising."""


def take_over(
    config: Config,
    sink: TransactionalSink,
    *,
    tick: Callable[[], None],
    wait: Wait,
    on_event: EventHook,
    on_restored: OnRestored = lambda *_: None,
) -> KafkaStateStore:
    """Take the place of a predecessor of our name, see that the state is our group's; where it is read back.

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
    own = Claim(FORMAT, config.kafka.group, config.state.partitions)
    try:
        stored = reader.read([CLAIMED_IN])
        if stored.owner() is None:
            sink.claim(own)
            stored = reader.read([CLAIMED_IN])
        _require_owner(stored, own)
    except StateError as error:
        raise RefusedError(f"topic {config.state_topic}: {error}") from error
    return KafkaStateStore(
        settings,
        reader,
        sink,
        state_topic=config.state_topic,
        hits_topic=config.hits_topic,
        hits_group=config.hits_group,
        wait=wait,
        on_restored=on_restored,
    )


class KafkaStateStore:
    """The state as it stands in its topic; see `StateStore`. `records` counts what was read."""

    def __init__(
        self,
        settings: KafkaSettings,
        reader: Reader,
        sink: TransactionalSink,
        *,
        state_topic: str,
        hits_topic: str,
        hits_group: str,
        wait: Wait,
        on_restored: OnRestored,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._sink = sink
        self._state_topic = state_topic
        self._hits_topic = hits_topic
        self._hits_group = hits_group
        self._wait = wait
        self._on_restored = on_restored

    def restore(self, partitions: Collection[int]) -> Restored:
        """See `StateStore`."""
        began = time.monotonic()
        if not partitions:
            return Restored({}, {})
        try:
            stored = self._reader.read(partitions)
            state, pieces = stored.entries()
            self._sink.pieces.replace(partitions, pieces)
            restored = Restored(state, take_standings(state, partitions))
            self._require_positions(restored)
        except StateError as error:
            raise StateError(f"topic {self._state_topic}: {error}") from error
        self._on_restored(restored, stored.records, time.monotonic() - began)
        return restored

    def _require_positions(self, restored: Restored) -> None:
        """See that the groups' positions are those that were committed with the state, or with later state.

        Raises:
            StateError: they were moved, or somebody went on without the state.
        """
        expected: dict[str, dict[Partition, int]] = {self._settings.group: {}, self._hits_group: {}}
        for standing in restored.standings.values():
            for partition, offset in standing.committed().items():
                group = self._hits_group if partition[0] == self._hits_topic else self._settings.group
                expected[group][partition] = max(offset, expected[group].get(partition, offset))
        for group, own in expected.items():
            _require(own, _committed(dataclasses.replace(self._settings, group=group), own, self._wait))

    def ends(self, partitions: Collection[int]) -> Mapping[int, int]:
        """See `StateStore`."""
        return self._reader.ends(self._hits_topic, partitions)


def _topics(config: Config, settings: KafkaSettings, wait: Wait) -> dict[str, Found]:
    """The topics that are written, as they are. A broker that has just started may not know them yet."""
    names = (config.alert_topic, config.dlq_topic, config.ledger_topic, config.state_topic, config.hits_topic)
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
    for name in (config.state_topic, config.hits_topic):
        if found[name].partitions != config.state.partitions:
            raise RefusedError(
                f"topic {name} has {found[name].partitions} partitions; "
                f"state.partitions says {config.state.partitions}, and both are for the life of a deployment"
            )
    state = found[config.state_topic]
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


def _require(expected: Mapping[Partition, int], answer: Iterable[TopicPartition]) -> None:
    for told in answer:
        offset = expected[told.topic, told.partition]
        if told.offset < offset or told.metadata != WITH_STATE:
            raise StateError(
                f"it was left at offset {offset} of {told.topic}[{told.partition}], "
                f"and somebody has moved the group to {told.offset} without it; "
                "put the position back, or begin with a new state topic"
            )


def _committed(
    settings: KafkaSettings, partitions: Collection[Partition], wait: Wait
) -> list[TopicPartition]:
    """The group's positions."""
    if not partitions:
        return []
    asker = Consumer({**settings.client(), "group.id": settings.group})
    try:
        while True:
            try:
                return asker.committed([TopicPartition(*p) for p in partitions], timeout=ASK_SECONDS)
            except KafkaException as error:
                wait(f"the group's positions are not told: {error.args[0].str()}")
    finally:
        asker.close()


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
    if owner.partitions != own.partitions:
        raise StateError(
            f"it was filed by {owner.partitions} state partitions; state.partitions says {own.partitions}"
        )
