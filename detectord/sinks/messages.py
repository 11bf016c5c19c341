"""Alerts, dead letters and the ledger as messages of Kafka topics, and what to send in place of one that is
too big.

Rule 1: an alert is sent whole or not at all; a dead letter may be cut, and its headers then say so.
Rule 2: no single record may wedge the stream. Of what the broker finds too big a dead letter is halved, again
and again; an alert goes to the dead-letter topic, cut, and is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import KafkaError

from detectord.alerts import AlertRecord
from detectord.events.record import DeadLetter
from detectord.kafka import EventHook, ignore
from detectord.sinks import DeliveryError, Outputs

DEAD_LETTER_LIMIT = 900_000
"""Bytes of a dead record's value that are kept."""

KEY_LIMIT = 4_096
"""Bytes of a dead record's key that are kept: a key is a host's id, not a payload."""

ERROR_LIMIT = 1_000
"""Characters of the decoder's message that are kept."""

TOO_BIG = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

Header = tuple[str, bytes]


class Message(NamedTuple):
    """One record to send."""

    topic: str
    key: bytes | None
    whole: bytes
    headers: tuple[Header, ...]
    timestamp: int = 0
    """Milliseconds since the epoch; 0 lets the client take the time of producing."""
    limit: int | None = None
    """Bytes of `whole` that are sent; None for an alert, which is sent whole or not at all."""

    def sent_headers(self) -> list[tuple[str, str | bytes | None]]:
        """The headers as sent: what was cut off shows in them."""
        if self.limit is None or len(self.whole) <= self.limit:
            return list(self.headers)
        return [
            *self.headers,
            ("dlq-truncated", b"true"),
            ("dlq-sha256", hashlib.sha256(self.whole).hexdigest().encode()),
            ("dlq-size", b"%d" % len(self.whole)),
        ]


@dataclass(frozen=True, slots=True)
class Messages:
    """Makes messages for these topics. Told to `on_event`: alert.too_large."""

    alert_topic: str
    dead_letter_topic: str
    ledger_topic: str
    dead_letter_limit: int = DEAD_LETTER_LIMIT
    on_event: EventHook = ignore

    def of(self, outputs: Outputs) -> Iterator[Message]:
        """The alerts, then the dead letters, then the ledger."""
        yield from map(self._alert, outputs.alerts)
        yield from map(self._dead_letter, outputs.dead_letters)
        for record in outputs.ledger:
            yield Message(self.ledger_topic, record.name.encode(errors="replace"), record.value, ())

    def smaller(self, message: Message, error: KafkaError) -> Message:
        """In place of what is too big: a dead letter of half the size, or for an alert its first.

        Raises:
            DeliveryError: nothing is left to cut.
        """
        size = len(message.whole)
        if message.limit is None:
            headers = dict(message.headers)
            self.on_event("alert.too_large", {"rule_id": headers.get("rule-id", b"").decode(), "size": size})
            why = (("dlq-reason", b"alert_too_large"), ("dlq-error", error.str()[:ERROR_LIMIT].encode()))
            return message._replace(
                topic=self.dead_letter_topic,
                headers=(*why, ("src-topic", message.topic.encode()), *message.headers),
                timestamp=0,
                limit=self.dead_letter_limit,
            )
        if message.limit == 0:
            raise DeliveryError(f"topic {message.topic} takes not even an empty record: {error.str()}")
        return message._replace(limit=min(message.limit, size) // 2)

    def _alert(self, alert: AlertRecord) -> Message:
        return Message(self.alert_topic, alert.key.encode(), alert.value, alert.headers, alert.timestamp)

    def _dead_letter(self, letter: DeadLetter) -> Message:
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
        return Message(
            self.dead_letter_topic, key, record.value, tuple(headers), limit=self.dead_letter_limit
        )
