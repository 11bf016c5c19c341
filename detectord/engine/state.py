"""The state of one state partition, and how it is written down.

Rule 1: everything that decides a later answer is here: rows of partials, held hits, the events they
refer to, the sids seen lately, the watermark. `entries` and `restore` are exact inverses.
Rule 2: state is a map from short keys to bytes. What changed since the last barrier is a set of keys;
a commit writes just those, coalesced, None for what is gone.

| key | value |
|---|---|
| `m` | meta: format version, watermark |
| `p<match_hash>:<join key>` | the row of partials of one key of the rules with that match hash |
| `h<match_hash>:<sid>` | a hit that waits for the watermark |
| `e<sid>` | an event that some partial or held hit refers to, once |
| `d<sid>` | a sid seen lately, with its number in order of arrival and its time |
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from detectord.compiler.compiled import JoinKey
from detectord.engine.hits import EventHits, Order, RuleHit, canonical_key
from detectord.engine.sequences import Partial, Row, is_empty
from detectord.events.record import Record

FORMAT = 1
MAX_REMEMBERED = 4_096
"""Sids remembered per state partition; older ones are forgotten first."""
PARTIAL_BYTES = 300
"""What a row or a held hit costs beyond its events, roughly; for the bound on memory only."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """An event in a partial: its sid, and whether it had several key tuples for its step."""

    sid: str
    fanned_out: bool


class StateChange(NamedTuple):
    """One entry of one state partition; `value` None: it is gone."""

    partition: int
    key: bytes
    value: bytes | None


class _Meta(msgspec.Struct, array_like=True):
    format: int
    watermark: int | None


class _StoredRow(msgspec.Struct, array_like=True):
    match_hash: str
    key: tuple[str | int | float | bool | None, ...]
    slots: list[tuple[int, tuple[Member, ...]] | None]


class _StoredEvent(msgspec.Struct, array_like=True):
    topic: str
    partition: int
    offset: int
    timestamp: int | None
    arrival: int
    value: bytes

    @classmethod
    def of(cls, record: Record) -> _StoredEvent:
        return cls(
            record.topic, record.partition, record.offset, record.timestamp, record.arrival, record.value
        )

    def record(self) -> Record:
        return Record(self.topic, self.partition, self.offset, self.timestamp, None, self.value, self.arrival)


_encode = msgspec.msgpack.Encoder().encode
_decode_meta = msgspec.msgpack.Decoder(_Meta).decode
_decode_row = msgspec.msgpack.Decoder(_StoredRow).decode
_decode_hit = msgspec.msgpack.Decoder(tuple[str, RuleHit]).decode
_decode_event = msgspec.msgpack.Decoder(_StoredEvent).decode
_decode_seen = msgspec.msgpack.Decoder(tuple[int, int]).decode


@dataclass(slots=True)
class KeyedRow:
    """The partials of one join key. `timed` is the earliest deadline that is scheduled for it."""

    match_hash: str
    key: JoinKey
    slots: Row[Member]
    timed: int | None = None


class StateError(Exception):
    """State that this build cannot read; it is refused, never guessed."""


class StatePartition:
    """Rows, held hits and their events of one state partition.

    Names (of rows, hits, events) are the part of a state key behind its kind.
    """

    def __init__(self, number: int, remember: int) -> None:
        """`remember`: for how long (ns of event time) a sid is remembered."""
        self.number = number
        self.watermark: int | None = None
        self.size = 0
        self._remember = remember
        self._rows: dict[str, KeyedRow] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._held: dict[str, tuple[str, RuleHit]] = {}
        self._queue: list[tuple[Order, str]] = []
        self._events: dict[str, tuple[Record, int]] = {}
        self._recent: dict[str, tuple[int, int]] = {}
        self._seen = 0
        self._partials: Counter[str] = Counter()
        self._recent_order: deque[str] = deque()
        self._dirty: set[str] = set()

    # --- held hits ----------------------------------------------------------------------------

    def is_repeated(self, event: EventHits) -> bool:
        """True if this event came before; otherwise it is remembered from now on."""
        if event.sid in self._recent or event.sid in self._events:
            return True
        self._seen += 1
        self._recent[event.sid] = (self._seen, max(hit.time for hit in event.hits))
        self._recent_order.append(event.sid)
        self.size += len(event.sid)
        self._dirty.add("d" + event.sid)
        if len(self._recent_order) > MAX_REMEMBERED:
            self._forget(self._recent_order.popleft())
        return False

    def hold(self, event: EventHits, hit: RuleHit) -> None:
        """Keep a hit until its time is behind the watermark."""
        name = f"{hit.match_hash}:{event.sid}"
        self._held[name] = (event.sid, hit)
        heapq.heappush(self._queue, (hit.order, name))
        self._refer(event.sid, event.record)
        self.size += _cost(name)
        self._dirty.add("h" + name)

    def due(self, watermark: int | None) -> Iterator[tuple[str, RuleHit]]:
        """Take out, in order, the held hits before `watermark` (None: all); (sid, hit) each. The
        event of a hit can be asked for until the next one is taken."""
        while self._queue:
            if watermark is not None and self._held[self._queue[0][1]][1].time >= watermark:
                return
            sid, hit = self._pop_held()
            yield sid, hit
            self._release(sid)

    def _pop_held(self) -> tuple[str, RuleHit]:
        name = heapq.heappop(self._queue)[1]
        self.size -= _cost(name)
        self._dirty.add("h" + name)
        return self._held.pop(name)

    def record_of(self, sid: str) -> Record:
        """The record of an event that is referred to here."""
        return self._events[sid][0]

    # --- partials -----------------------------------------------------------------------------

    def slots(self, match_hash: str, key: JoinKey) -> Row[Member] | None:
        """The partials of `key` as they are now, a copy; None if there are none."""
        row = self._rows.get(_row_name(match_hash, key))
        return list(row.slots) if row is not None else None

    def put(self, match_hash: str, key: JoinKey, slots: Row[Member], maxspan: int | None) -> None:
        """Replace the partials of `key`."""
        name = _row_name(match_hash, key)
        row = self._rows.get(name)
        before: Row[Member] = row.slots if row is not None else [None] * len(slots)
        kept = [member for partial in slots if partial for member in partial.events]
        for member in kept:
            self._refer(member.sid, None)
        for partial in before:
            for member in partial.events if partial else ():
                self._release(member.sid)
        self._partials[match_hash] += _waiting(slots) - _waiting(before)
        self._dirty.add("p" + name)
        if is_empty(slots):
            self._remove(name)
            return
        if row is None:
            row = self._rows[name] = KeyedRow(match_hash, key, slots)
            self.size += _cost(name)
        row.slots = slots
        self._time(name, row, maxspan)

    def expire(self, before: int, spans: Mapping[str, int | None]) -> Iterator[str]:
        """Drop every partial that no event at or after `before` can complete, and every row of a
        rule that is no more; yields the match hash of each partial dropped."""
        while self._deadlines and self._deadlines[0][0] < before:
            _, name = heapq.heappop(self._deadlines)
            row = self._rows.get(name)
            if row is None:
                continue
            row.timed = None
            span = spans.get(row.match_hash, 0)
            kept: Row[Member] = [
                p if p and (span is None or p.first + span >= before) else None for p in row.slots
            ]
            dropped = sum(old is not new for old, new in zip(row.slots, kept, strict=True))
            if dropped:
                self.put(row.match_hash, row.key, kept, span)
            else:
                self._time(name, row, span)
            yield from (row.match_hash for _ in range(dropped))

    def evict_oldest(self) -> tuple[str, int] | None:
        """Drop the row that would expire first, or the oldest held hit where there is no row: the
        match hash and how many partials or hits were lost; None if nothing is left to drop."""
        while self._deadlines:
            _, name = heapq.heappop(self._deadlines)
            row = self._rows.get(name)
            if row is not None:
                lost = _waiting(row.slots)
                self.put(row.match_hash, row.key, [None] * len(row.slots), None)
                return row.match_hash, lost
        if self._queue:
            sid, hit = self._pop_held()
            self._release(sid)
            return hit.match_hash, 1
        return None

    def oldest_deadline(self) -> int | None:
        """When the first row is looked at again, None if nothing is scheduled."""
        return self._deadlines[0][0] if self._deadlines else None

    def forget_before(self, time: int) -> None:
        """Forget the sids of events older than `time` by more than the memory reaches back."""
        while self._recent_order:
            sid = self._recent_order[0]
            if sid in self._recent and self._recent[sid][1] >= time - self._remember:
                return
            self._recent_order.popleft()
            self._forget(sid)

    def partials(self) -> Counter[str]:
        """How many partials wait, by match hash."""
        return +self._partials

    def held(self) -> int:
        """How many hits wait for the watermark."""
        return len(self._held)

    # --- written down -------------------------------------------------------------------------

    def set_watermark(self, watermark: int) -> None:
        """Event time has come this far."""
        if watermark != self.watermark:
            self.watermark = watermark
            if self._rows or self._held or self._recent:
                self._dirty.add("m")

    def take_changes(self) -> list[StateChange]:
        """The entries that changed since this was last called."""
        changes = [
            StateChange(self.number, name.encode("utf-8", "surrogatepass"), self._value(name[0], name[1:]))
            for name in sorted(self._dirty)
        ]
        self._dirty.clear()
        return changes

    def restore(self, entries: Iterable[tuple[bytes, bytes]], spans: Mapping[str, int | None]) -> None:
        """Fill this (empty) partition with entries that `take_changes` once gave.

        Raises:
            StateError: an entry is of another format.
        """
        for key, value in entries:
            name = key.decode("utf-8", "surrogatepass")
            try:
                self._restore_entry(name[:1], name[1:], value)
            except msgspec.DecodeError as error:
                raise StateError(f"unreadable state entry {name[:80]!r}: {error}") from error
        self._recent_order.extend(sorted(self._recent, key=lambda sid: self._recent[sid]))
        self._seen = max((number for number, _ in self._recent.values()), default=0)
        for sid, _ in self._held.values():
            self._refer(sid, None)
        for name, row in self._rows.items():
            for partial in row.slots:
                for member in partial.events if partial else ():
                    self._refer(member.sid, None)
            self._time(name, row, spans.get(row.match_hash, 0))
        self._dirty.clear()

    def _restore_entry(self, kind: str, name: str, value: bytes) -> None:
        if kind == "m":
            meta = _decode_meta(value)
            if meta.format != FORMAT:
                raise StateError(f"state of format {meta.format}; this build reads format {FORMAT}")
            self.watermark = meta.watermark
        elif kind == "e":
            self._events[name] = (_decode_event(value).record(), 0)
            self.size += len(self._events[name][0].value)
        elif kind == "d":
            self._recent[name] = _decode_seen(value)
            self.size += len(name)
        elif kind == "h":
            self._held[name] = _decode_hit(value)
            heapq.heappush(self._queue, (self._held[name][1].order, name))
            self.size += _cost(name)
        elif kind == "p":
            stored = _decode_row(value)
            slots: Row[Member] = [None if slot is None else Partial(*slot) for slot in stored.slots]
            self._rows[name] = KeyedRow(stored.match_hash, stored.key, slots)
            self._partials[stored.match_hash] += _waiting(slots)
            self.size += _cost(name)
        else:
            raise StateError(f"state entry of unknown kind {kind!r}")

    def _value(self, kind: str, name: str) -> bytes | None:
        if kind == "m":
            return _encode(_Meta(FORMAT, self.watermark))
        if kind == "e":
            return _encode(_StoredEvent.of(self._events[name][0])) if name in self._events else None
        if kind == "d":
            return _encode(self._recent[name]) if name in self._recent else None
        if kind == "h":
            return _encode(self._held[name]) if name in self._held else None
        row = self._rows.get(name)
        if row is None:
            return None
        slots = [None if p is None else (p.first, p.events) for p in row.slots]
        return _encode(_StoredRow(row.match_hash, row.key, slots))

    # --- what refers to an event ----------------------------------------------------------------

    def _refer(self, sid: str, record: Record | None) -> None:
        entry = self._events.get(sid)
        if entry is not None:
            self._events[sid] = (entry[0], entry[1] + 1)
            return
        assert record is not None, "an event is held before a partial refers to it"
        self._events[sid] = (record, 1)
        self.size += len(record.value)
        self._dirty.add("e" + sid)

    def _release(self, sid: str) -> None:
        record, count = self._events[sid]
        if count > 1:
            self._events[sid] = (record, count - 1)
            return
        del self._events[sid]
        self.size -= len(record.value)
        self._dirty.add("e" + sid)

    def _forget(self, sid: str) -> None:
        if self._recent.pop(sid, None) is not None:
            self.size -= len(sid)
            self._dirty.add("d" + sid)

    # --- the end of a partial -------------------------------------------------------------------

    def _time(self, name: str, row: KeyedRow, span: int | None) -> None:
        """Schedule a row's earliest deadline, unless an earlier one is: at most one is pending per
        row that has not come yet, so that restarts of a sequence cost no memory."""
        if span is None:
            return
        deadline = min(partial.first for partial in row.slots if partial) + span
        if row.timed is None or deadline < row.timed:
            row.timed = deadline
            heapq.heappush(self._deadlines, (deadline, name))
            if len(self._deadlines) > 2 * len(self._rows) + 1_000:
                self._compact()

    def _compact(self) -> None:
        """Throw out the deadlines of rows that completed and came again."""
        self._deadlines = [(row.timed, name) for name, row in self._rows.items() if row.timed is not None]
        heapq.heapify(self._deadlines)

    def _remove(self, name: str) -> None:
        if self._rows.pop(name, None) is not None:
            self.size -= _cost(name)


def _waiting(slots: Row[Member]) -> int:
    return sum(partial is not None for partial in slots)


def _cost(name: str) -> int:
    """What a row or a held hit takes, roughly: its name stands in it, in an index and in a change."""
    return PARTIAL_BYTES + 3 * len(name)


def _row_name(match_hash: str, key: JoinKey) -> str:
    return f"{match_hash}:{canonical_key(key)}"
