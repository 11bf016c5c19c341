"""What the supervisor is handed: time, workers, and somebody to tell.

Each is small enough to be replaced whole in a simulation; sources and sinks have their own packages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from detectord.engine.tallies import Tallies
from detectord.events.record import Partition
from detectord.runtime.coverage import Ledger
from detectord.runtime.protocol import Death, Gauges, Message, Reply
from detectord.sinks import Outputs


class Clock(Protocol):
    """Time, handed in. Both in nanoseconds."""

    def now(self) -> int:
        """Since the epoch."""
        ...

    def monotonic(self) -> int:
        """Since some fixed point; never goes back."""
        ...


class Pool(Protocol):
    """The workers, numbered from 0."""

    size: int

    def send(self, worker: int, message: Message) -> None:
        """Queue a message; never blocks."""
        ...

    def receive(self, timeout: float) -> Sequence[Reply | Death]:
        """What came in, waiting at most `timeout` seconds for the first. A death is told once."""
        ...

    def kill(self, worker: int, reason: str) -> None:
        """End a worker that does not answer; its `Death` is told by `receive`."""
        ...

    def replace(self, worker: int) -> None:
        """Start a new process in the place of a dead one."""
        ...

    def close(self) -> None:
        """Stop all workers."""
        ...


@dataclass(frozen=True, slots=True)
class Commit:
    """What one barrier covered, for whoever counts."""

    outputs: Outputs
    positions: Mapping[Partition, int]
    records: Mapping[str, tuple[int, int]]
    """Per topic: records, bytes."""
    tallies: Tallies
    gauges: Mapping[int, Gauges]
    busy: Mapping[int, float]
    resident_bytes: Mapping[int, int]
    watermark: int | None
    began: int
    ended: int
    times: Sequence[tuple[int | None, int | None]]
    """Of each detection: when its last event happened, and when the source got it (ns)."""
    ledger: Ledger
    lost: Mapping[tuple[str, str], int]
    """By reason and rule_id ("": any rule) what may have cost a detection."""


class Observer(Protocol):
    """Told what happens, so that it can be counted and logged."""

    def committed(self, commit: Commit) -> None:
        """A barrier was committed."""
        ...

    def restarted(self, worker: int, reason: str, detail: str) -> None:
        """A worker died and is being replaced."""
        ...

    def rewound(self, reason: str, positions: Mapping[Partition, int]) -> None:
        """A new epoch began; everything after `positions` is read again."""
        ...

    def delivery_failed(self, outputs: Outputs, error: str, attempt: int) -> None:
        """The outputs could not be delivered; unless that was the last attempt, they are tried again."""
        ...

    def turned(self) -> None:
        """The loop went round once."""
        ...
