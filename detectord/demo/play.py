"""The play: a broker, a daemon, a minute of traffic with attacks in it, and who waits for the alerts.

The traffic tells of the minute before it began, but is fed as fast as the daemon reads, in a
thread; whoever called watches the alert topic meanwhile. It is over when every expected alert has come,
everything was read, and nothing more came for a while (something unexpected could have), or when
patience is at its end.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
from confluent_kafka import KafkaException

from detectord.demo.attacks import Attack, ExpectedAlert, attacks, interleave
from detectord.demo.broker import EmbeddedBroker, Feeder
from detectord.demo.daemon import Daemon, configuration, free_port
from detectord.demo.inbox import Alert, Inbox
from detectord.demo.machines import SECOND, Document, Host, fleet
from detectord.demo.traffic import events

TOPIC, ALERT_TOPIC = "ecs.endpoint", "detectord.alerts"
DEAD_LETTER_TOPIC, LEDGER_TOPIC = "detectord.dlq", "detectord.ledger"
GROUP = "demo"

SPAN = 60.0
"""Seconds of event time that the traffic spans. It holds the attacks, whatever the number of events."""
FIRST_ATTACK = 4.0
QUIET = 4.0
"""Seconds without an alert after which no other is expected: a little more than a held-back event waits."""
PATIENCE = 60.0
"""Seconds after the feeding to wait for alerts that are missing."""


class PlayError(Exception):
    """The play cannot go on."""


class Audience(Protocol):
    """Who is told how it goes. All are called in the thread that plays."""

    def waited(self, what: str) -> None:
        """Something takes its time; called again and again."""
        ...

    def alerted(self, alert: Alert) -> None:
        """An alert has arrived."""
        ...


@dataclass(frozen=True)
class Script:
    """What will happen: the machines, the attacks, the number of other events."""

    seed: int
    count: int
    start_ns: int
    hosts: Sequence[Host]
    attacks: Sequence[Attack]

    @classmethod
    def of(cls, seed: int, count: int, end_ns: int) -> Script:
        """The script with this seed for the time up to `end_ns` (ns since the epoch)."""
        start = end_ns - int(SPAN * SECOND)
        hosts = fleet(seed)
        return cls(seed, count, start, hosts, attacks(hosts, start + int(FIRST_ATTACK * SECOND)))

    def events(self) -> Iterator[Document]:
        """Everything that happens, in order of event time."""
        traffic = events(self.seed, self.count, self.start_ns, self.hosts, rate=self.count / SPAN)
        return interleave(traffic, self.attacks)

    @property
    def size(self) -> int:
        """The number of events."""
        return self.count + sum(len(attack.events) for attack in self.attacks)


@dataclass
class Outcome:
    """What came of it. `seconds` is from the first event fed to the last one committed,
    `first_alert` from the start of the daemon (None: there was none)."""

    script: Script
    seconds: float = 0.0
    alerts: list[Alert] = field(default_factory=list)
    first_alert: float | None = None

    @property
    def missing(self) -> list[Attack]:
        """The attacks whose alert has not come."""
        came = self._came
        return [attack for attack in self.script.attacks if not came[attack.expected]]

    @property
    def unexpected(self) -> list[Alert]:
        """Alerts that no attack accounts for."""
        left = Counter(attack.expected for attack in self.script.attacks)
        extra = []
        for alert in self.alerts:
            kind = _kind(alert)
            if left[kind]:
                left[kind] -= 1
            else:
                extra.append(alert)
        return extra

    @property
    def as_expected(self) -> bool:
        """Every alert that should have come has, and no other."""
        return not self.missing and not self.unexpected

    @property
    def _came(self) -> Counter[ExpectedAlert]:
        return Counter(map(_kind, self.alerts))


def _kind(alert: Alert) -> ExpectedAlert:
    return ExpectedAlert(alert.rule_id, alert.host_id, alert.events)


@dataclass(frozen=True)
class Stage:
    """A broker and a daemon that is ready."""

    bootstrap_servers: str
    daemon: Daemon
    started: float
    """When the daemon was started, on the monotonic clock."""
    seconds: float
    """How long it took to become ready."""

    @property
    def metrics_url(self) -> str:
        """Where the daemon tells its metrics."""
        return f"http://{self.daemon.address}/metrics"


@contextmanager
def stage(rules: Path, workers: int, directory: Path, audience: Audience) -> Iterator[Stage]:
    """Everything set up for `play`, and taken down behind the block.

    Raises:
        DaemonError: the daemon does not start.
        KafkaException: the broker does not.
    """
    with EmbeddedBroker() as broker:
        broker.create(TOPIC, ALERT_TOPIC, DEAD_LETTER_TOPIC, LEDGER_TOPIC)
        config = configuration(
            bootstrap_servers=broker.bootstrap_servers,
            group=GROUP,
            topic=TOPIC,
            rules=rules,
            workers=workers,
            port=free_port(),
        )
        began = time.monotonic()
        with Daemon(config, directory) as daemon:
            daemon.wait_until_ready(lambda: audience.waited("the daemon starts"))
            yield Stage(broker.bootstrap_servers, daemon, began, time.monotonic() - began)


def play(script: Script, on: Stage, audience: Audience) -> Outcome:
    """Feed the script and wait for its alerts.

    Raises:
        DaemonError: the daemon ended.
        PlayError: the events could not be fed.
    """
    outcome = Outcome(script)
    inbox = Inbox(on.bootstrap_servers, ALERT_TOPIC)
    feed = _Feed(script, on.bootstrap_servers)
    feed.start()
    try:
        last = time.monotonic()
        while not _is_over(outcome, feed, time.monotonic() - max(last, feed.ended)):
            on.daemon.check()
            for alert in inbox.poll(0.1):
                last = time.monotonic()
                if outcome.first_alert is None:
                    outcome.first_alert = last - on.started
                outcome.alerts.append(alert)
                audience.alerted(alert)
            audience.waited(feed.progress)
    finally:
        feed.stop()
        inbox.close()
    outcome.seconds = feed.ended - feed.began
    return outcome


def _is_over(outcome: Outcome, feed: _Feed, quiet: float) -> bool:
    if feed.error is not None:
        raise PlayError(f"the events could not be fed: {feed.error}")
    if not feed.ended:
        return False
    return quiet > (PATIENCE if outcome.missing else QUIET)


class _Feed(threading.Thread):
    """Feeds a script. `ended` is when the daemon had committed all of it, 0 before."""

    def __init__(self, script: Script, bootstrap_servers: str) -> None:
        super().__init__(name="feed", daemon=True)
        self._script = script
        self._servers = bootstrap_servers
        self._stopping = False
        self._fed = 0
        self.began = time.monotonic()
        self.ended = 0.0
        self.error: Exception | None = None

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        if self.ended:
            return "everything was read; waiting for what is still to come"
        return f"{self._fed:,} of {self._script.size:,} events fed"

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            feeder = Feeder(self._servers, GROUP)
            try:
                feeder.feed(TOPIC, self._records())
                if not self._stopping:
                    feeder.wait_until_read()
            finally:
                feeder.close()
        except (KafkaException, TimeoutError) as error:
            self.error = error
        self.ended = time.monotonic()

    def stop(self) -> None:
        """Feed no more, and wait a little for the end."""
        self._stopping = True
        self.join(2)

    def _records(self) -> Iterator[tuple[bytes, bytes]]:
        for document in self._script.events():
            if self._stopping:
                return
            yield document["host"]["id"].encode(), msgspec.json.encode(document)
            self._fed += 1
