"""The real daemon as a child process on a broker, for end-to-end tests."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, Producer

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "rules"
DEADLINE = 90.0
_PAUSE = threading.Event()


def wait_until(done: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """The first true answer of `done`, asked again and again."""
    until = time.monotonic() + deadline
    while True:
        answer = done()
        if answer:
            return answer
        assert time.monotonic() < until, f"not within {deadline:.0f} s: {what}"
        _PAUSE.wait(0.05)  # leave the machine to whom we wait for


class Daemon:
    """One `detectord run`. Its log goes to a file beside its configuration."""

    def __init__(
        self,
        folder: Path,
        topics: Topics,
        *,
        rules: Iterable[Path] = (RULES,),
        is_refused: bool = False,
        **more: Any,
    ) -> None:
        """`is_refused`: it ends by itself instead of getting ready."""
        self._is_refused = is_refused
        self.config = folder / "detectord.yml"
        self.log = folder / "detectord.log"
        config = {
            "instance": "e2e-0",
            "sources": [{"topics": [topics.input]}],
            "kafka": {
                "bootstrap_servers": topics.bootstrap_servers,
                "group": topics.prefix,
                "topic_prefix": topics.prefix,
                # The embedded broker knows no static members: a restart waits for the old one's end.
                "consumer": {"properties": {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500}},
            },
            "delivery": {"mode": "at_least_once", "commit_interval": "100ms"},
            "input": {"start": "earliest"},
            "rules": {"paths": [str(path) for path in rules]},
            "time": {"allowed_lateness": "1s", "idle_timeout": "2s"},
            "http": {"listen": "127.0.0.1:0"},
            "log": {"format": "json"},
            **more,
        }
        self.config.write_text(json.dumps(config))
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "detectord", "run", "--config", str(self.config)],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        try:
            if self._is_refused:
                self.process.wait(DEADLINE)
                return self
            url = str(wait_until(self._find_url, "the daemon names its address"))
            self.url = url.removesuffix("/metrics")
            wait_until(lambda: self.get("/readyz")[0] == 200, "the daemon is ready")
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.kill()
        if error is not None:
            sys.stderr.write(self.log.read_text(errors="replace")[-20_000:])

    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def _find_url(self) -> str:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        return next((line["url"]["full"] for line in self.lines() if line["message"] == "daemon.started"), "")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an endpoint."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The sum over all series of a metric."""
        rows = (line.rsplit(" ", 1) for line in self.get("/metrics")[1].splitlines() if line[:1] != "#")
        return sum(float(value) for series, value in rows if series.split("{")[0] == name)

    def worker_pids(self) -> list[int]:
        return [each["pid"] for each in json.loads(self.get("/status")[1])["workers"] if each["pid"]]

    def kill(self) -> None:
        """SIGKILL to the supervisor."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(60)


class Topics:
    """The topics of one test on a cluster: writes input, reads alerts and dead letters."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.prefix = f"e2e-{uuid.uuid4().hex[:8]}"
        self.input = f"ecs.{self.prefix}"
        self._alerts = f"{self.prefix}.alerts"
        self._dead_letters = f"{self.prefix}.dlq"
        self.ledger = f"{self.prefix}.ledger"
        self.state = f"{self.prefix}.state"
        self.hits = f"{self.prefix}.hits"
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "linger.ms": 1,
                "message.max.bytes": 4_000_000,
                "log_level": 0,
            }
        )
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"{self.prefix}-reader",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self._is_reading = False
        self.alerts: list[dict[str, Any]] = []
        self.dead_letters: list[tuple[bytes, dict[str, bytes]]] = []

    def names(self) -> tuple[str, str, str, str]:
        """The topics that are used in any mode of delivery."""
        return self.input, self._alerts, self._dead_letters, self.ledger

    def send(self, values: Iterable[bytes | dict[str, Any]], rng: random.Random | None = None) -> int:
        """Events go to the partition of their host, with `rng` to any."""
        count = 0
        for value in values:
            is_event = isinstance(value, dict)
            key = value["host"]["id"].encode() if isinstance(value, dict) else None
            if rng is not None:
                key = rng.randbytes(8)
            self._producer.produce(self.input, json.dumps(value).encode() if is_event else value, key=key)
            count += 1
        assert self._producer.flush(30) == 0
        return count

    def read(self) -> None:
        """Take what has come. The topics exist by now: who subscribes before may learn of them late."""
        if not self._is_reading:
            self._consumer.subscribe([self._alerts, self._dead_letters])
            self._is_reading = True
        for message in self._consumer.consume(500, 0.2):
            if message.error() is None and message.topic() == self._alerts:
                self.alerts.append(json.loads(message.value()))
            elif message.error() is None:
                self.dead_letters.append((message.value(), dict(message.headers())))

    def ids(self) -> list[str]:
        """The alerts so far, building blocks left out."""
        self.read()
        return [a["kibana.alert.uuid"] for a in self.alerts if "kibana.alert.group.index" not in a]

    def close(self) -> None:
        self._consumer.close()
