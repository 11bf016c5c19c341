"""Writes the traffic to the input topic, at its own pace, whatever happens to the daemon or the broker.

While the broker is away items wait in the client, as they would in a shipper; each gets into its partition
once and in order (idempotent producer). `written` tells where every record is: that is the input, as it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from confluent_kafka import Producer

from chaos.traffic import Item, Traffic


class Written(NamedTuple):
    """A record of the input; its time is in milliseconds."""

    partition: int
    offset: int
    time: int
    item: Item

    def named(self, topic: str) -> dict[str, Any]:
        """As an alert names it."""
        time = datetime.fromtimestamp(self.time / 1_000, UTC).isoformat(timespec="milliseconds")
        return {
            "topic": topic,
            "partition": self.partition,
            "offset": self.offset,
            "timestamp": time.replace("+00:00", "Z"),
        }


class Feeder:
    """A thread that writes until it is told to stop. Inside a `with` block it runs."""

    def __init__(self, bootstrap_servers: str, topic: str, traffic: Traffic) -> None:
        self._topic = topic
        self._traffic = traffic
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 600_000,
                "socket.timeout.ms": 5_000,
                "reconnect.backoff.max.ms": 300,
                "log_level": 0,
            }
        )
        self._stop = threading.Event()
        self._may_write = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self.began = 0.0
        self.written: list[Written] = []
        self.failed: list[str] = []

    def __enter__(self) -> Feeder:
        self.began = time.time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def stop(self) -> None:
        """Write the last items, and wait until everything is in the topic."""
        self._stop.set()
        self._thread.join()
        self.write(self._traffic.last())

    def write(self, items: Iterable[Item]) -> None:
        """Write these at once, and wait until everything is in the topic."""
        for item in items:
            self._send(item)
        left = self._producer.flush(120)
        assert left == 0, f"{left} records of the input could not be written"
        assert not self.failed, f"the input is not whole: {self.failed[0]}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, nothing is written; it is made up for afterwards."""
        with self._may_write:
            yield

    def _run(self) -> None:
        for item in self._traffic:
            while (ahead := self.began + item.moment - time.time()) > 0:
                self._producer.poll(0)
                if self._stop.wait(min(ahead, 0.05)):
                    return
            with self._may_write:
                if self._stop.is_set():
                    return
                self._send(item)
                self._producer.poll(0)

    def _send(self, item: Item) -> None:
        time = round(self._traffic.time(item) * 1_000)
        self._producer.produce(
            self._topic,
            item.value,
            partition=item.partition,
            timestamp=time,
            on_delivery=self._delivered(item, time),
        )

    def _delivered(self, item: Item, time: int) -> Callable[[Any, Any], None]:
        def told(error: Any, message: Any) -> None:
            if error is not None:
                self.failed.append(str(error))
            else:
                # Not the time that the client tells: of a batch that was sent twice it is the last record's
                self.written.append(Written(message.partition(), message.offset(), time, item))

        return told
