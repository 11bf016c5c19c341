"""Detections to bytes: one module a format, each a function of one shape, listed in `formats.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from detectord.engine.detection import Detection


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert document, ready for a sink. Times are milliseconds since the epoch."""

    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp: int
    kind: Literal["event", "shell", "block"]
    rule_id: str
    severity: str


class AlertFormat(Protocol):
    """Turns a detection into its records: of a sequence the blocks first, the shell last."""

    def __call__(self, detection: Detection, now: int) -> list[AlertRecord]:
        """The records of one detection, decided at `now` (ms since the epoch)."""
        ...
