"""Seeded traffic without end: events of hosts, users, processes and sessions, and records that are no events.

Every item has a moment, in seconds from the beginning, and items come in the order of their moments. Event
times lag behind their moments by up to `DISORDER`, so the order of time is not that of arrival, but nothing
is late. Half of what begins a sequence goes on to its end; the rest lacks a step, is ended by `until`, or
comes too late for the span. Users, processes and sessions wander over hosts, and a host's events over
partitions.

No two events have the same time, agent and number, so there is one right order.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

HOSTS = 24
USERS = 40
DISORDER = 0.4
"""Seconds; well below the lateness that the daemon is configured to allow."""

POISON = "--poison"
"""What is in a record that kills workers, and in no other."""

END = 7_200.0
"""The moment of the last events, which move event time beyond everything that waits."""


@dataclass(order=True, frozen=True, slots=True)
class Item:
    """One record of the input. `refused`: the reason why it has to become a dead letter, if it has to."""

    moment: float
    number: int
    partition: int = field(compare=False)
    value: bytes = field(compare=False)
    refused: str | None = field(compare=False, default=None)


class Traffic:
    """The items of `seed` on a topic of `partitions`. `begin` is the event time of moment 0, in seconds of
    the epoch; `rate` scales how much happens, 1 being some 60 items a second; `scattered` is the share of
    events that may be in any partition, not in their host's."""

    def __init__(
        self, seed: int, begin: float, partitions: int, *, rate: float = 1.0, scattered: float = 0.2
    ) -> None:
        self._rng = random.Random(seed)
        self._begin = begin
        self._partitions = partitions
        self._rate = rate
        self._scattered = scattered
        self._numbers = itertools.count(1)
        self._stories: list[Callable[[float], Iterator[Item]]] = [
            self._noise, self._noise, self._noise, self._noise,
            self._beacon, self._usermod, self._shell, self._password, self._dropper, self._service,
            self._session, self._reverse_shell, self._compiled,
        ]  # fmt: skip

    def __iter__(self) -> Iterator[Item]:
        """Stories that begin one after the other and run side by side."""
        waiting: list[Item] = []
        now = 0.0
        while True:
            now += self._rng.expovariate(25 * self._rate)
            for item in self._rng.choice(self._stories)(now):
                heapq.heappush(waiting, item)
            while waiting and waiting[0].moment <= now:
                yield heapq.heappop(waiting)

    def time(self, item: Item) -> float:
        """When a shipper would have sent it, in seconds of the epoch: the time of its record."""
        return self._begin + item.moment

    def last(self) -> list[Item]:
        """For every partition an event far ahead."""
        return [
            self._event(END, partition, "process", "exec", process={"name": "ls"}, partition=partition)
            for partition in range(self._partitions)
        ]

    def begun(self, at: float) -> Item:
        """The first event of a sequence that nothing ends."""
        process = {"name": "begun", "entity_id": f"begun-{next(self._numbers)}"}
        return self._event(at, self._host(), "process", "begun", process=process)

    def poisonous(self, at: float, number: int, partition: int) -> Item:
        """An event that would be an alert, were it not for whoever evaluates it. It is not of the seed's, and
        draws nothing; it has a number of its own."""
        process = {"name": "beacon", "args": [POISON]}
        item = self._event(at, 0, "process", "exec", number=-number, partition=partition, process=process)
        return replace(item, refused="poison")

    # Stories: what one actor does, from a moment on.

    def _noise(self, at: float) -> Iterator[Item]:
        if self._rng.random() < 0.02:
            yield Item(
                at, next(self._numbers), self._any_partition(), b'{"@timestamp": broken', refused="not_json"
            )
        yield self._event(at, self._host(), "process", "exec", process={"name": "ls", "args": ["ls", "-l"]})

    def _beacon(self, at: float) -> Iterator[Item]:
        yield self._event(at, self._host(), "process", "exec", process={"name": "beacon"})

    def _usermod(self, at: float) -> Iterator[Item]:
        arguments = ["-u", "0", "-o"]
        yield self._event(at, self._host(), "process", "exec", process={"name": "usermod", "args": arguments})

    def _shell(self, at: float) -> Iterator[Item]:
        process = {"name": "cmd.exe", "parent": {"name": "w3wp.exe"}, "command_line": "cmd.exe /c whoami"}
        yield self._event(at, self._host(), "process", "exec", os="windows", process=process)

    def _password(self, at: float) -> Iterator[Item]:
        """Failures and, mostly, a success; sometimes of two users at once."""
        user: Any = f"user-{self._rng.randrange(USERS)}"
        if self._rng.random() < 0.1:
            user = [user, f"user-{self._rng.randrange(USERS)}"]
        steps = [*["failure"] * self._rng.randint(1, 3), *["success"] * self._rng.choice([0, 1, 1, 1])]
        for step in steps:
            yield self._event(at, self._host(), "authentication", "logon", outcome=step, user={"name": user})
            at += self._pause(4)

    def _dropper(self, at: float) -> Iterator[Item]:
        process = {"entity_id": f"process-{next(self._numbers)}", "name": "dropper"}
        steps = [("process", "start"), ("file", "creation"), ("network", "connection_attempted")]
        fate = self._rng.random()
        if fate < 0.25:
            steps.insert(self._rng.randint(1, 2), ("process", "end"))
        elif fate < 0.4:
            del steps[self._rng.randrange(3)]
        for category, action in steps:
            yield self._event(
                at, self._host(), category, action, process=process, file={"name": "x", "path": "/tmp/x"}
            )
            at += self._pause(5)

    def _service(self, at: float) -> Iterator[Item]:
        host = self._host()
        middle = [("process", "service_stopped")] if self._rng.random() < 0.5 else []
        steps = [("file", "service_changed"), *middle, ("process", "service_started")]
        for category, action in steps:
            yield self._event(at, host, category, action, process={"name": "systemd"})
            at += self._pause(3)

    def _session(self, at: float) -> Iterator[Item]:
        session = {"id": f"session-{next(self._numbers)}"}
        yield self._event(at, self._host(), "network", "request_sent", trace=session)
        if self._rng.random() < 0.7:
            at += self._pause(5)  # sometimes beyond the span
            yield self._event(at, self._host(), "network", "answer_received", trace=session)

    def _reverse_shell(self, at: float) -> Iterator[Item]:
        """The shipped rule: within a second."""
        host, parent = self._host(), f"parent-{next(self._numbers)}"
        own = {"name": "python3", "entity_id": parent}
        yield self._event(
            at, host, "process", "fork", process={"name": "python3", "args": ["-c"], "parent": own}
        )
        process = {"name": "python3", "parent": {"entity_id": parent}}
        at += self._rng.uniform(DISORDER, 1.2)
        yield self._event(
            at, host, "network", "connection_attempted", process=process, destination={"ip": "203.0.113.9"}
        )

    def _compiled(self, at: float) -> Iterator[Item]:
        """The shipped rule of four steps within a minute."""
        host, name = self._host(), f"agent-{next(self._numbers)}"
        steps: list[tuple[str, str, dict[str, Any]]] = [
            ("process", "exec", {"process": {"name": "gcc", "args": ["gcc", "-o", name]}}),
            ("file", "creation", {"process": {"name": "ld"}, "file": {"name": name}}),
            ("process", "exec", {"process": {"name": name}}),
            (
                "network",
                "connection_attempted",
                {"process": {"name": name}, "destination": {"ip": "203.0.113.9"}},
            ),
        ]
        for category, action, fields in steps:
            yield self._event(at, host, category, action, **fields)
            at += self._pause(12)

    # Parts of them.

    def _pause(self, most: float) -> float:
        return self._rng.uniform(DISORDER, most)

    def _host(self) -> int:
        return self._rng.randrange(HOSTS)

    def _any_partition(self) -> int:
        return self._rng.randrange(self._partitions)

    def _event(
        self,
        at: float,
        host: int,
        category: str,
        action: str,
        *,
        os: str = "linux",
        outcome: str = "unknown",
        partition: int | None = None,
        number: int | None = None,
        **fields: Any,
    ) -> Item:
        happened = self._begin + at
        if number is None:
            number = next(self._numbers)
            happened -= self._rng.uniform(0, DISORDER)
        if partition is None:
            partition = (
                self._any_partition() if self._rng.random() < self._scattered else host % self._partitions
            )
        kinds = {"end": ["end"], "creation": ["creation"]}.get(action, ["start"])
        event = {
            "@timestamp": datetime.fromtimestamp(happened, UTC).isoformat(timespec="milliseconds"),
            "agent": {"id": f"agent-{host}"},
            "data_stream": {"type": "logs", "dataset": f"endpoint.events.{category}", "namespace": "default"},
            "event": {
                "id": f"chaos-{number}",
                "sequence": number,
                "category": [category],
                "type": kinds,
                "action": action,
                "outcome": outcome,
            },
            "host": {"id": f"host-{host}", "name": f"host-{host}", "os": {"type": os}},
            **fields,
        }
        return Item(at, number, partition, json.dumps(event).encode())
