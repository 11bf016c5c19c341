"""An event: a decoded ECS document whose fields are asked for by path.

Rule 1: a path never raises; it has values, possibly none. Which, is eql.md 3.3: nested objects and
dotted keys are the same thing in any mixture, arrays flatten, objects in arrays fan out, null is
no value, an object is no value.
Rule 2: an event is read-only; what is computed from it once (views) is kept with it.
"""

from __future__ import annotations

from typing import Any

from detectord.events.record import Record

Scalar = str | int | float | bool


class Event:
    """One decoded event. `time` is nanoseconds since the epoch, None if nothing tells it."""

    __slots__ = ("document", "record", "time")

    def __init__(self, document: dict[str, Any], record: Record, time: int | None) -> None:
        self.document = document
        self.record = record
        self.time = time

    def values(self, path: str) -> tuple[Scalar, ...]:
        """Every value at `path`, in document order."""
        raise NotImplementedError
