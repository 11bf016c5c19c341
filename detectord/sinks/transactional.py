"""Everything a barrier covers in one transaction: what it found, state changes, hits for others, positions.

Rule 1: a transaction is open only while it is being committed. Nothing is polled meanwhile, so the assignment
cannot change under it, and none outlives its assignment. The group's metadata is asked for anew each time.
Rule 2: nothing is produced twice in a transaction. What is too big is made smaller before it is sent (the
client refuses it by the topics' own limits); whatever fails later ends the transaction, and a new one
may be tried.
Rule 3: who is fenced, or does not know what became of its commit, says so and ends (`EndedError`). The
successor of the same name ends what was left open, and reads what is committed.

| the client says | what is done |
|---|---|
| a call that may be repeated | the same call, until the deadline |
| the group does not know us so | abort; PositionsRefusedError |
| any other error before the commit is asked for, or one that asks for an abort | abort; DeliveryError |
| a fatal error, or no answer to the commit or the abort until the deadline | EndedError |
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from detectord.events.record import Positions
from detectord.hits_topic import AwayRecord
from detectord.kafka import EventHook, KafkaSettings, describe, ignore
from detectord.sinks import DeliveryError, EndedError, Outputs, PositionsRefusedError
from detectord.sinks.messages import DEAD_LETTER_LIMIT, TOO_BIG, Message, Messages
from detectord.state_topic import WITH_STATE, Claim, Pieces, StateRecord

TICK_SECONDS = 1.0

_REFUSED = frozenset(
    {
        KafkaError._ASSIGNMENT_LOST,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
    }
)
"""The group's answers to positions of who is not its member, or was when it was another group."""


class TransactionalSink:
    """Commits to the topics of alerts, dead letters, the ledger, state and hits, and stores positions.

    `membership` gives the metadata of the groups for positions (`GroupSource.membership`), and raises
    KafkaException if one of them is of a partition that is not ours. `deadline`: seconds that one commit has.
    Events told to `on_event`: alert.too_large, and the errors of `detectord.kafka.describe`.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        membership: Callable[[Positions], Iterable[tuple[Positions, object]]],
        *,
        alert_topic: str,
        dead_letter_topic: str,
        ledger_topic: str,
        state_topic: str,
        hits_topic: str,
        dead_letter_limit: int = DEAD_LETTER_LIMIT,
        deadline: float = 30.0,
        tick: Callable[[], None] = lambda: None,
        on_event: EventHook = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._membership = membership
        self._messages = Messages(alert_topic, dead_letter_topic, ledger_topic, dead_letter_limit, on_event)
        self._state_topic = state_topic
        self._hits_topic = hits_topic
        self._deadline = deadline
        self._tick = tick
        self._on_event = on_event
        self._clock = clock
        self._until = 0.0
        self._producer: Producer | None = None
        self.pieces = Pieces()
        """Which state entries stand in several records; told by who has read them."""

    # The beginning.

    def open(self, message_limit: int, wait: Callable[[str], None]) -> None:
        """Take the place of a predecessor of the same name: what it left open is aborted, and it can commit
        no more. `message_limit` is the size of a record that every topic takes. `wait` is called, with a
        reason, while there is no answer; it ends the waiting by raising.

        Raises:
            ValueError: the client refuses its settings.
            DeliveryError: the cluster does not let us.
        """
        client: dict[str, Any] = {**self._settings.transactional(), "error_cb": self._on_error}
        client["message.max.bytes"] = min(message_limit, int(client.get("message.max.bytes", message_limit)))
        try:
            producer = Producer(client, logger=logging.getLogger("detectord.kafka"))
        except (KafkaException, TypeError, ValueError) as e:
            raise ValueError(f"the Kafka producer cannot be set up: {e}") from e
        while True:
            try:
                producer.init_transactions(TICK_SECONDS)
            except KafkaException as e:
                error: KafkaError = e.args[0]
                if not error.retriable():
                    raise DeliveryError(f"the cluster begins no transactions with us: {error.str()}") from e
                wait(f"the cluster's transactions do not answer: {error.str()}")
            else:
                self._producer = producer
                return

    def claim(self, claim: Claim) -> None:
        """Write a claim on the state, in a transaction of its own; raises as `commit`."""
        self._transact([], [claim.record()], (), {})

    # The Sink protocol.

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        """One transaction; see `Sink.commit`."""
        records = (record for change in outputs.changes for record in self.pieces.records(change))
        self._transact(self._messages.of(outputs), records, outputs.away, positions)
        for change in outputs.changes:
            self.pieces.written(change)

    def close(self) -> None:
        """Let go of the connection. A transaction that is open after an error is ended by our successor."""
        self._producer = None

    # A transaction.

    def _transact(
        self,
        messages: Iterable[Message],
        records: Iterable[StateRecord],
        away: Iterable[AwayRecord],
        positions: Positions,
    ) -> None:
        producer = self._producer
        assert producer is not None, "a sink is opened first"
        self._until = self._clock() + self._deadline
        try:
            producer.begin_transaction()
            for message in messages:
                self._send(producer, message)
            for partition, key, value in records:
                self._produce(producer, self._state_topic, value, key, partition=partition)
            for partition, value in away:
                self._produce(producer, self._hits_topic, value, None, partition=partition)
            for own, member in self._membership(positions) if positions else ():
                offsets = [TopicPartition(*p, offset, WITH_STATE) for p, offset in sorted(own.items())]
                self._call(producer.send_offsets_to_transaction, offsets, member)
        except KafkaException as e:
            raise self._aborted(producer, e.args[0]) from e
        except DeliveryError:  # not even an empty record is taken
            self._abort(producer)
            raise
        try:
            self._call(producer.commit_transaction)
        except KafkaException as e:
            error: KafkaError = e.args[0]
            if error.fatal() or error.txn_requires_abort():
                raise self._aborted(producer, error) from e
            raise EndedError(f"it is not known what became of the commit: {error.str()}") from e

    def _send(self, producer: Producer, message: Message) -> None:
        while True:
            try:
                self._produce(
                    producer,
                    message.topic,
                    message.whole[: message.limit],
                    message.key,
                    timestamp=message.timestamp,
                    headers=message.sent_headers(),
                )
            except KafkaException as e:
                if e.args[0].code() not in TOO_BIG:
                    raise
                message = self._messages.smaller(message, e.args[0])
            else:
                return

    def _produce(
        self, producer: Producer, topic: str, value: bytes | None, key: bytes | None, **more: Any
    ) -> None:
        while True:
            try:
                producer.produce(topic, value, key, **more)
            except BufferError:  # the queue is full; what is sent meanwhile makes room
                producer.poll(TICK_SECONDS)
                self._tick()
                if self._clock() >= self._until:
                    raise KafkaException(
                        KafkaError(KafkaError._TIMED_OUT, f"not all was sent within {self._deadline:g} s")
                    ) from None
            else:
                return

    def _call(self, call: Callable[..., object], *arguments: object) -> None:
        """A call of the client, repeated as it is while its error says that it may be."""
        while True:
            try:
                call(*arguments, TICK_SECONDS)
            except KafkaException as e:
                error: KafkaError = e.args[0]
                if error.txn_requires_abort() or not error.retriable() or self._clock() >= self._until:
                    raise
                self._tick()
            else:
                return

    def _aborted(self, producer: Producer, error: KafkaError) -> DeliveryError:
        """Abort for `error`; what to raise then."""
        if error.fatal():
            raise EndedError(f"another may have taken our place: {error.str()}")
        self._on_error(error)
        self._abort(producer)
        if error.code() in _REFUSED:
            return PositionsRefusedError(f"the positions were refused: {error.str()}")
        return DeliveryError(f"the transaction was given up: {error.str()}")

    def _abort(self, producer: Producer) -> None:
        self._until = self._clock() + self._deadline
        try:
            self._call(producer.abort_transaction)
        except KafkaException as e:
            raise EndedError(f"the transaction could not be aborted: {e.args[0].str()}") from e

    def _on_error(self, error: KafkaError) -> None:
        self._on_event(*describe(error))
