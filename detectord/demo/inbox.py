"""Alerts as they arrive on their topic, put together for a reader.

The records of a sequence alert are spread over partitions: its building blocks (one an event) may come
before or after the alert itself. The blocks are no alerts, but they know what happened; so an alert
is handed out when its blocks are there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from detectord.demo.machines import Document
from detectord.demo.words import happened

PATIENCE = 3.0
"""Seconds an alert waits for its blocks; then it goes without."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, and what happened in words. `events` is how many events it is made of."""

    uuid: str
    rule_id: str
    rule_name: str
    severity: str
    risk_score: float
    host_id: str
    host_name: str
    time: str
    events: int
    story: str


class Assembly:
    """Alert documents in, whole alerts out, each once. Times are seconds on any clock."""

    def __init__(self) -> None:
        self._blocks: dict[str, dict[str, Document]] = {}
        self._waiting: dict[str, tuple[float, Document]] = {}
        self._seen: set[str] = set()

    def put(self, document: Document, now: float) -> None:
        """Take one document of the alert topic."""
        uuid = document["kibana.alert.uuid"]
        group: str = document.get("kibana.alert.group.id") or uuid
        if group != uuid:
            self._blocks.setdefault(group, {})[uuid] = document
        elif uuid not in self._seen:  # delivery is at least once
            self._seen.add(uuid)
            self._waiting[uuid] = (now, document)

    def take(self, now: float) -> list[Alert]:
        """The alerts that are whole, or have waited too long."""
        taken = []
        for uuid, (since, document) in list(self._waiting.items()):
            expected, blocks = _stages(document), self._blocks.get(uuid, {})
            if len(blocks) >= expected or now - since > PATIENCE:
                del self._waiting[uuid]
                parts = sorted(blocks.values(), key=lambda block: int(block["kibana.alert.group.index"]))
                taken.append(_alert(document, parts or [document], max(1, expected)))
        return taken


class Inbox:
    """The alerts on `topic`, from its beginning on."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "demo-reader",  # the client wants one; nothing is committed to it
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        self._assembly = Assembly()

    def poll(self, timeout: float) -> list[Alert]:
        """The alerts that are whole by now; waits at most `timeout` seconds for a first record."""
        first = self._consumer.poll(timeout)
        now = time.monotonic()
        for message in [] if first is None else [first, *self._consumer.consume(500, 0)]:
            if message.error() is None:
                self._assembly.put(msgspec.json.decode(message.value() or b""), now)
        return self._assembly.take(now)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


def _stages(document: Document) -> int:
    """How many building blocks an alert has; none if it is of one event."""
    return len(document["detectord"].get("sequence", {}).get("stages", ()))


def _alert(document: Document, parts: list[Document], events: int) -> Alert:
    host = document.get("host", {})
    return Alert(
        uuid=document["kibana.alert.uuid"],
        rule_id=document["kibana.alert.rule.rule_id"],
        rule_name=document["kibana.alert.rule.name"],
        severity=document["kibana.alert.severity"],
        risk_score=document["kibana.alert.risk_score"],
        host_id=host.get("id", ""),
        host_name=host.get("hostname", host.get("name", "")),
        time=document["kibana.alert.original_time"],
        events=events,
        story=", then ".join(dict.fromkeys(map(happened, parts))),
    )
