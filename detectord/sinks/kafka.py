"""Alerts and dead letters to Kafka topics; then the positions they rest on.

Rule 1: positions are stored only when the broker has acknowledged every output. So a crash repeats
outputs (the same alert with the same id, in the same key) and loses none.
Rule 2: no single record may wedge the stream. What the broker finds too big is cut: a dead letter to
half its size, again and again; an alert goes to the dead-letter topic, cut, and is told.
Rule 3: a delivery that failed leaves nothing behind. The producer with its queue is thrown away,
and the next commit makes a new one.

A commit waits in slices, calling `tick` in between, so that its caller can show that it is alive.
The client reports a message to Python only if it failed; then it is produced again until the
deadline. Waiting for the acknowledgement of a batch costs nothing per message.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from detectord.alerts import AlertRecord
from detectord.events.record import DeadLetter, Positions
from detectord.kafka import EventHook, KafkaSettings, describe, ignore
from detectord.sinks import DeliveryError, Outputs, PositionsRefusedError

TICK_SECONDS = 0.2

DEAD_LETTER_LIMIT = 900_000
"""Bytes of a dead record's value that are kept."""

KEY_LIMIT = 4_096
"""Bytes of a dead record's key that are kept: a key is a host's id, not a payload."""

ERROR_LIMIT = 1_000
"""Characters of the decoder's message that are kept."""

_TOO_BIG = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

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

Header = tuple[str, bytes]


class _Message(NamedTuple):
    topic: str
    key: bytes | None
    whole: bytes
    headers: tuple[Header, ...]
    timestamp: int = 0
    """Milliseconds since the epoch; 0 lets the client take the time of producing."""
    limit: int | None = None
    """Bytes of `whole` that are sent; None for an alert, which is sent whole or not at all."""


Failure = tuple[_Message, KafkaError]


class KafkaSink:
    """Delivers to `alert_topic` and `dead_letter_topic`, then calls `commit_positions`.

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
        dead_letter_limit: int = DEAD_LETTER_LIMIT,
        deadline: float = 30.0,
        tick: Callable[[], None] = lambda: None,
        on_event: EventHook = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._commit_positions = commit_positions
        self._alert_topic = alert_topic
        self._dead_letter_topic = dead_letter_topic
        self._dead_letter_limit = dead_letter_limit
        self._deadline = deadline
        self._tick = tick
        self._on_event = on_event
        self._clock = clock
        self._fatal: KafkaError | None = None
        self._producer: Producer | None = self._connect()

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        """Deliver, wait for the acknowledgements, store `positions`; see `Sink.commit`."""
        messages = [self._alert(alert) for alert in outputs.alerts]
        messages += [self._dead_letter(letter) for letter in outputs.dead_letters]
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

    def _deliver(self, messages: Sequence[_Message]) -> None:
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

    def _produce(self, producer: Producer, message: _Message, failed: list[Failure], until: float) -> None:
        while True:
            try:
                producer.produce(
                    message.topic,
                    message.whole[: message.limit],
                    message.key,
                    on_delivery=partial(_note, message, failed),
                    timestamp=message.timestamp,
                    headers=_headers(message),
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

    def _again(self, message: _Message, error: KafkaError) -> _Message:
        """What to produce in place of a message that failed."""
        if error.code() in _TOO_BIG:
            return self._smaller(message, error)
        self._on_error(error)
        if error.code() in _HOPELESS:
            raise DeliveryError(f"topic {message.topic} does not take our records: {error.str()}")
        return message

    def _smaller(self, message: _Message, error: KafkaError) -> _Message:
        """In place of what is too big: a dead letter of half the size, or for an alert its first."""
        size = len(message.whole)
        if message.limit is None:
            headers = dict(message.headers)
            self._on_event("alert.too_large", {"rule_id": headers.get("rule-id", b"").decode(), "size": size})
            why = (("dlq-reason", b"alert_too_large"), ("dlq-error", error.str()[:ERROR_LIMIT].encode()))
            return message._replace(
                topic=self._dead_letter_topic,
                headers=(*why, ("src-topic", message.topic.encode()), *message.headers),
                timestamp=0,
                limit=self._dead_letter_limit,
            )
        if message.limit == 0:
            raise DeliveryError(f"topic {message.topic} takes not even an empty record: {error.str()}")
        return message._replace(limit=min(message.limit, size) // 2)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        self._on_event(*describe(error))

    # Outputs as messages.

    def _alert(self, alert: AlertRecord) -> _Message:
        return _Message(self._alert_topic, alert.key.encode(), alert.value, alert.headers, alert.timestamp)

    def _dead_letter(self, letter: DeadLetter) -> _Message:
        record = letter.record
        headers: list[Header] = [
            ("dlq-reason", letter.reason.encode()),
            ("dlq-error", letter.error[:ERROR_LIMIT].encode(errors="replace")),
            ("src-topic", record.topic.encode(errors="replace")),
            ("src-partition", b"%d" % record.partition),
            ("src-offset", b"%d" % record.offset),
        ]
        if record.timestamp is not None:
            headers.append(("src-timestamp", b"%d" % record.timestamp))
        key = None if record.key is None else record.key[:KEY_LIMIT]
        return _Message(
            self._dead_letter_topic, key, record.value, tuple(headers), limit=self._dead_letter_limit
        )


def _headers(message: _Message) -> list[tuple[str, str | bytes | None]]:
    """The headers as sent: what was cut off shows in them."""
    if message.limit is None or len(message.whole) <= message.limit:
        return list(message.headers)
    return [
        *message.headers,
        ("dlq-truncated", b"true"),
        ("dlq-sha256", hashlib.sha256(message.whole).hexdigest().encode()),
        ("dlq-size", b"%d" % len(message.whole)),
    ]


def _note(message: _Message, failed: list[Failure], error: KafkaError | None, _: object) -> None:
    """The client's delivery report; it is told of failures only."""
    if error is not None:
        failed.append((message, error))
