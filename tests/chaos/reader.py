"""Reads alerts and dead letters as a careful consumer does: committed records only, each once, from the
beginning.

It notes when the broker was given a record and when it could be read: an alert that was published after a
fault is one the daemon found after it.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition


class Arrival(NamedTuple):
    """An alert that could be read: when the broker was given it, and when it was read (seconds); and the
    instance that published it."""

    given: float
    read: float
    instance: str


class Reader:
    """A thread that reads the topics of `alerts`, `dead_letters` and the `ledger`, which have so many
    partitions (`counts`). Inside a `with` block it runs. Of each interval of the ledger it keeps what was
    told last."""

    def __init__(
        self,
        bootstrap_servers: str,
        alerts: str,
        dead_letters: str,
        ledger: str,
        counts: tuple[int, int, int],
    ) -> None:
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"{alerts}-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "socket.timeout.ms": 5_000,
            "reconnect.backoff.max.ms": 300,
            "fetch.wait.max.ms": 50,
            "fetch.queue.backoff.ms": 10,
            "log_level": 0,
        }
        self._consumer = Consumer(
            {**self._settings, "isolation.level": "read_committed", "enable.partition.eof": True}
        )
        self._alerts = alerts
        self._ledger = ledger
        topics = zip((alerts, dead_letters, ledger), counts, strict=True)
        self._reached = {(topic, number): -1 for topic, count in topics for number in range(count)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self.alerts: list[dict[str, Any]] = []
        self.dead_letters: list[dict[str, Any]] = []
        self.ledger: dict[bytes, dict[str, Any]] = {}
        self.arrivals: list[Arrival] = []

    def __enter__(self) -> Reader:
        self._consumer.assign([TopicPartition(*place, 0) for place in self._reached])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def has_read_all(self) -> bool:
        """True if it has come to the ends of its topics, open transactions included."""
        asker = Consumer({**self._settings, "isolation.level": "read_uncommitted"})
        try:
            ends = {
                place: asker.get_watermark_offsets(TopicPartition(*place), timeout=10)[1]
                for place in self._reached
            }
        finally:
            asker.close()
        return all(self._reached[place] >= end for place, end in ends.items())

    def refused(self, reason: str) -> int:
        """How many dead letters there are of this reason."""
        return sum(each["reason"] == reason for each in self.dead_letters[:])

    def first_after(self, moment: float, instance: str | None = None) -> Arrival | None:
        """The first alert that the broker was given after this time of day, by this instance or any."""
        later = (arrival for arrival in self.arrivals[:] if arrival.given > moment)
        return min((each for each in later if instance in (None, each.instance)), default=None)

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.1):
                error = message.error()
                if error is None:
                    self._take(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._reached[message.topic(), message.partition()] = message.offset()

    def _take(self, message: Any) -> None:
        place = (message.topic(), message.partition())
        self._reached[place] = message.offset() + 1
        if message.topic() == self._alerts:
            alert = json.loads(message.value())
            self.alerts.append(alert)
            given = message.timestamp()[1] / 1_000
            self.arrivals.append(Arrival(given, time.time(), alert["detectord"]["instance"]))
        elif message.topic() == self._ledger:
            self.ledger[message.key()] = json.loads(message.value())
        else:
            headers = {name: value.decode() for name, value in message.headers()}
            told = f"{headers.get('src-partition')}:{headers.get('src-offset')}"
            self.dead_letters.append(
                {"place": told, "reason": headers.get("dlq-reason"), "value": message.value().decode()}
            )
