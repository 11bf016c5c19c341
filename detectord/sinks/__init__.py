"""Where alerts and dead letters go. A commit is one decision: outputs, then the positions they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from detectord.alerts import AlertRecord
from detectord.events.record import DeadLetter, Positions


class Outputs(NamedTuple):
    """Everything one barrier covers that leaves the instance."""

    alerts: Sequence[AlertRecord]
    dead_letters: Sequence[DeadLetter]


class DeliveryError(Exception):
    """The outputs could not be delivered in time; nothing was acknowledged."""


class PositionsRefusedError(DeliveryError):
    """The outputs were delivered, but the positions could not be stored: the partitions may not be ours
    any more."""


class Sink(Protocol):
    """Delivers what a barrier covers."""

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        """Deliver all outputs, then store `positions` as read.

        Raises:
            PositionsRefusedError: everything was delivered, no position was stored.
            DeliveryError: some output could not be delivered within the deadline; no position
                was stored (some outputs may have been delivered).
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
