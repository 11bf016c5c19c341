"""Alerts, dead letters and the ledger to Kafka topics; then the positions they rest on.

Rule 1: positions are stored only when the broker has acknowledged every output. So a crash repeats
outputs (the same alert with the same id, in the same key) and loses none.
Rule 2: what the broker finds too big is made smaller (`messages`) and sent again.
Rule 3: a delivery that failed leaves nothing behind. The producer with its queue is thrown away,
and the next commit makes a new one.

A commit waits in slices, calling `tick` in between, so that its caller can show that it is alive.
The client reports a message to Python only if it failed; then it is produced again until the
deadline. Waiting for the acknowledgement of a batch costs nothing per message. State changes are not kept:
`detectord.sinks.transactional` does that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer

from detectord.events.record import Positions
from detectord.kafka import EventHook, KafkaSettings, describe, ignore
from detectord.sinks import DeliveryError, Outputs, PositionsRefusedError
from detectord.sinks.messages import DEAD_LETTER_LIMIT, TOO_BIG, Message, Messages

TICK_SECONDS = 0.2

_HOPELESS = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    }
)
"""Failures that producing again does not cure."""

Failure = tuple[Message, KafkaError]


class KafkaSink:
    """Delivers to `alert_topic`, `dead_letter_topic` and `ledger_topic`, then calls `commit_positions`.

    `commit_positions` stores positions in the group (`KafkaSource.commit`) and raises
    KafkaException if it cannot. `deadline` is the time, in seconds, the outputs of one commit have.
    Events told to `on_event`: alert.too_large, and the errors of `detectord.kafka.describe`.

    Raises:
        DeliveryError: the client refuses its settings.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        commit_positions: Callable[[Positions], None],
        *,
        alert_topic: str,
        dead_letter_topic: str,
        ledger_topic: str,
        dead_letter_limit: int = DEAD_LETTER_LIMIT,
        deadline: float = 30.0,
        tick: Callable[[], None] = lambda: None,
        on_event: EventHook = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._commit_positions = commit_positions
        self._messages = Messages(alert_topic, dead_letter_topic, ledger_topic, dead_letter_limit, on_event)
        self._deadline = deadline
        self._tick = tick
        self._on_event = on_event
        self._clock = clock
        self._fatal: KafkaError | None = None
        self._producer: Producer | None = self._connect()

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        """Deliver, wait for the acknowledgements, store `positions`; see `Sink.commit`."""
        messages = list(self._messages.of(outputs))
        if messages:
            try:
                self._deliver(messages)
            except BaseException:
                self._discard()
                raise
        if positions:
            try:
                self._commit_positions(positions)
            except KafkaException as e:
                raise PositionsRefusedError(f"the positions could not be stored: {e.args[0].str()}") from e

    def close(self) -> None:
        """Let go of the connection. Nothing is waiting in it: commits leave nothing behind."""
        self._discard()

    # Delivery.

    def _connect(self) -> Producer:
        self._fatal = None
        client = {
            **self._settings.producer(),
            "error_cb": self._on_error,
            "delivery.report.only.error": True,
        }
        try:
            return Producer(client, logger=logging.getLogger("detectord.kafka"))
        except (KafkaException, TypeError, ValueError) as e:
            raise DeliveryError(f"the Kafka producer cannot be set up: {e}") from e

    def _discard(self) -> None:
        """Throw the producer away with all it still wanted to send."""
        if self._producer is not None:
            self._producer.purge(blocking=False)
            self._producer = None

    def _deliver(self, messages: Sequence[Message]) -> None:
        until = self._clock() + self._deadline
        producer = self._producer = self._producer or self._connect()
        while messages:
            failed: list[Failure] = []
            for message in messages:
                self._produce(producer, message, failed, until)
            while producer.flush(TICK_SECONDS):
                self._wait(until)
            messages = [self._again(message, error) for message, error in failed]
            if messages:
                producer.poll(TICK_SECONDS)
                self._wait(until, failed[0][1])

    def _produce(self, producer: Producer, message: Message, failed: list[Failure], until: float) -> None:
        while True:
            try:
                producer.produce(
                    message.topic,
                    message.whole[: message.limit],
                    message.key,
                    on_delivery=partial(_note, message, failed),
                    timestamp=message.timestamp,
                    headers=message.sent_headers(),
                )
            except BufferError:  # the queue is full; polling makes room
                producer.poll(TICK_SECONDS)
                self._wait(until)
            except KafkaException as e:
                failed.append((message, e.args[0]))
                return
            else:
                return

    def _wait(self, until: float, error: KafkaError | None = None) -> None:
        """One slice of the deadline is over."""
        self._tick()
        error = self._fatal or error
        if self._fatal is not None or self._clock() >= until:
            why = f": {error.str()}" if error is not None else ""
            raise DeliveryError(f"not every output was acknowledged within {self._deadline:g} s{why}")

    def _again(self, message: Message, error: KafkaError) -> Message:
        """What to produce in place of a message that failed."""
        if error.code() in TOO_BIG:
            return self._messages.smaller(message, error)
        self._on_error(error)
        if error.code() in _HOPELESS:
            raise DeliveryError(f"topic {message.topic} does not take our records: {error.str()}")
        return message

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        self._on_event(*describe(error))


def _note(message: Message, failed: list[Failure], error: KafkaError | None, _: object) -> None:
    """The client's delivery report; it is told of failures only."""
    if error is not None:
        failed.append((message, error))
