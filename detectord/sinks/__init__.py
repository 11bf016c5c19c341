"""Where alerts, dead letters and the ledger go. A commit is one decision: outputs, then the positions they
rest on.

A transactional sink decides all of it at once, and keeps the changed state with it; any other delivers
first, and keeps no state. A sink for a person who reads the alerts may leave the ledger out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from detectord.alerts import AlertRecord
from detectord.engine.state import StateChange
from detectord.events.record import DeadLetter, Positions
from detectord.hits_topic import AwayRecord


class LedgerRecord(NamedTuple):
    """What is told of one interval of the coverage ledger, as JSON. It replaces what was told before under
    the same name."""

    name: str
    value: bytes


class Outputs(NamedTuple):
    """Everything one barrier covers that leaves the instance."""

    alerts: Sequence[AlertRecord]
    dead_letters: Sequence[DeadLetter]
    changes: Sequence[StateChange] = ()
    """What changed in the state; for a transactional sink only."""
    ledger: Sequence[LedgerRecord] = ()
    away: Sequence[AwayRecord] = ()
    """What other instances are told; for a transactional sink only."""


class DeliveryError(Exception):
    """The outputs could not be delivered in time; nothing was acknowledged."""


class PositionsRefusedError(DeliveryError):
    """The positions could not be stored: the partitions may not be ours any more. The outputs were
    delivered, or, by a transactional sink, nothing was."""


class EndedError(Exception):
    """The sink commits no more: another has taken its place, or it cannot know what became of its last
    commit. A new process finds out."""


class Sink(Protocol):
    """Delivers what a barrier covers."""

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        """Deliver all outputs, then store `positions` as read.

        Raises:
            PositionsRefusedError: no position was stored; everything was delivered, or nothing.
            DeliveryError: some output could not be delivered within the deadline; no position
                was stored (some outputs may have been delivered, not by a transactional sink).
            EndedError: nothing more can be committed here (transactional sinks only).
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
