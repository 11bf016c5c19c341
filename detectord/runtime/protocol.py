"""What the supervisor and its workers say to each other.

Rule 1: messages to a worker are handled in the order sent; every one carries the epoch, and one of an
older epoch is dropped.
Rule 2: a batch may be evaluated long before it counts. It counts when `Advance(through=its number)`
comes: only then do its hits, kept back until then, enter the state. So the state at a barrier is made
of exactly the batches advanced before it, whatever later ones wait in the pipe.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from detectord.alerts import AlertRecord
from detectord.engine.detector import Rank
from detectord.engine.losses import Losses
from detectord.engine.state import StateChange
from detectord.engine.tallies import Tallies
from detectord.events.record import DeadLetter, Partition
from detectord.hits_topic import PackedHits

PackedEntries = Mapping[int, bytes]
"""State entries by state partition, each partition's in one piece: to send a million texts one by one costs
both sides a second. See `pack_entries`."""

pack_entries = msgspec.msgpack.Encoder().encode
"""The entries of a state partition in one piece."""
unpack_entries = msgspec.msgpack.Decoder(dict[bytes, bytes]).decode
"""The entries that were packed so."""


class Chunk(NamedTuple):
    """Records of one input partition, as columns; numbers in arrays, which are sent as they are. A timestamp
    below 0 is none."""

    topic: str
    partition: int
    offsets: array[int]
    timestamps: array[int]
    arrivals: array[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes]


class Batch(NamedTuple):
    """Records to evaluate. `now` is the supervisor's clock, ms since the epoch."""

    epoch: int
    number: int
    now: int
    chunks: tuple[Chunk, ...]


class Advance(NamedTuple):
    """Batch `through` counts now (None: no batch, only time passes). `hits` are those that other
    workers found for this one, `heard` those that other instances found, each with the number in order of
    arrival that its first event gets; then event time has come to `watermark` (ns, None: unknown)."""

    epoch: int
    through: int | None
    now: int
    watermark: int | None
    hits: tuple[bytes, ...] = ()
    heard: tuple[tuple[int, bytes], ...] = ()


class Barrier(NamedTuple):
    """Hand over the detections and the state changes since the last barrier."""

    epoch: int
    number: int


class Restore(NamedTuple):
    """A new epoch: forget everything, go on from these entries. `kept`: the state partitions that this
    instance keeps, by all of its workers (None: every one)."""

    epoch: int
    watermark: int | None
    entries: PackedEntries
    kept: frozenset[int] | None = None


class Stop(NamedTuple):
    """End."""


class RankedAlert(NamedTuple):
    """A detection's records, with its place among the others, and (ns, None: unknown) when its last
    event happened and when the source got that event's record."""

    rank: Rank
    records: Sequence[AlertRecord]
    happened: int | None
    ingested: int | None


class Outcome(NamedTuple):
    """What a batch gave. `alerts` of event rules; `hits` for other workers, packed; `progress`: per input
    partition the newest event time (ns); `away`: by state partition, hits for those that other instances
    keep."""

    worker: int
    epoch: int
    number: int
    alerts: Sequence[RankedAlert]
    hits: Mapping[int, bytes]
    progress: Mapping[Partition, int]
    dead_letters: Sequence[DeadLetter]
    tallies: Tallies
    busy: float = 0.0
    losses: Losses | None = None
    away: Sequence[tuple[int, Sequence[PackedHits]]] = ()


class Gauges(NamedTuple):
    """How much a worker holds: partials by rule_id, held hits, estimated bytes of state."""

    partials: Mapping[str, int]
    held: int
    state_bytes: int


class Covered(NamedTuple):
    """The answer to a barrier: alerts of sequence rules and changed state entries since the last."""

    worker: int
    epoch: int
    number: int
    alerts: Sequence[RankedAlert]
    changes: Sequence[StateChange]
    tallies: Tallies
    gauges: Gauges
    busy: float = 0.0
    resident_bytes: int = 0
    losses: Losses | None = None


class Unreadable(NamedTuple):
    """The answer to a `Restore` with entries that this build cannot read."""

    worker: int
    epoch: int
    error: str
    busy: float = 0.0


class Death(NamedTuple):
    """A worker process is gone: crash or hang."""

    worker: int
    reason: str
    detail: str = ""


Message = Batch | Advance | Barrier | Restore | Stop
Reply = Outcome | Covered | Unreadable
