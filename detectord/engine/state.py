"""The state of one state partition, and how it is written down.

Rule 1: everything that decides a later answer is here: rows of partials, complete sequences that are not
decided yet, held hits, the events they refer to, the processes of hosts, the sids seen lately, the
watermark. What `take_changes` gives, `restore` takes.
Rule 2: state is a map from short keys to bytes. What changed since the last barrier is a set of keys;
a commit writes just those, coalesced, None for what is gone.
Rule 3: an event is kept once, with the number of references to it; the last one to go takes it along.

| key | value |
|---|---|
| `m` | meta: format version, watermark |
| `p<match_hash>:<join key>` | the row of partials of one key of the rules with that match hash |
| `s<match_hash>:<join key>` | the same of a sample |
| `u<match_hash>:<join key>:<number>` | a complete sequence that a missing step can still rule out |
| `h<match_hash>:<sid>` | a hit that waits for the watermark |
| `e<sid>` | an event that one of these refers to, once |
| `l<host>:<number>` | a process of a host |
| `d<sid>` | a sid seen lately, with its number in order of arrival and its time |
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

from detectord.compiler.compiled import JoinKey
from detectord.engine.hits import EventHits, Order, RuleHit, canonical_key
from detectord.engine.lineage import Lineage, Process
from detectord.engine.samples import SampleRow
from detectord.engine.sequences import Partial, Ring, Row, is_earlier
from detectord.events.record import Record

FORMAT = 1
MAX_REMEMBERED = 4_096
"""Sids remembered per state partition; older ones are forgotten first."""
PARTIAL_BYTES = 300
"""What a row, a held hit or a process costs beyond its events, roughly; for the bound on memory only."""
REFERENCE_BYTES = 100
"""What a reference to an event costs, roughly."""


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


_Key = tuple[str | int | float | bool | None, ...]
_Partial = tuple[int, int, tuple[Member, ...], int | None, int | None, bool]
_Ring = tuple[int, list[tuple[int, Member]], list[tuple[int, _Partial]]]


class _StoredRow(msgspec.Struct, array_like=True):
    match_hash: str
    key: _Key
    slots: list[_Partial | None]
    rings: dict[int, _Ring] = {}
    before: tuple[int, int | None] | None = None

    @classmethod
    def of(cls, keyed: KeyedRow) -> _StoredRow:
        row = keyed.row
        assert isinstance(row, Row)
        rings: dict[int, _Ring] = {
            stage: (ring.seen, ring.events, [(number, partial[:]) for number, partial in ring.entries])
            for stage, ring in row.rings.items()
        }
        return cls(keyed.match_hash, keyed.key, list(row.slots), rings, row.before)

    def row(self) -> Row[Member]:
        rings = {
            stage: Ring(seen, events, [(number, Partial(*partial)) for number, partial in entries])
            for stage, (seen, events, entries) in self.rings.items()
        }
        return Row([None if slot is None else Partial(*slot) for slot in self.slots], rings, self.before)


class _StoredSample(msgspec.Struct, array_like=True):
    match_hash: str
    key: _Key
    steps: list[list[tuple[int, Member]]]
    quiet_until: int | None


class Undecided(NamedTuple):
    """A complete sequence: an event of a trailing missing step up to `deadline` rules it out."""

    match_hash: str
    key: JoinKey
    deadline: int
    order: Order
    partial: Partial[Member]


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
_decode_sample = msgspec.msgpack.Decoder(_StoredSample).decode
_decode_undecided = msgspec.msgpack.Decoder(tuple[str, _Key, int, Order, _Partial]).decode
_decode_process = msgspec.msgpack.Decoder(Process).decode
_decode_seen = msgspec.msgpack.Decoder(tuple[int, int]).decode


class Machine(Protocol):
    """What works on rows of one kind (sequences.Machine, samples.SampleMachine)."""

    def expire(self, row: Any, before: int) -> int:
        """Drop what event time has left behind; how much."""
        ...

    def next_expiry(self, row: Any) -> int | None:
        """The time after which something in the row has expired."""
        ...


AnyRow = Row[Member] | SampleRow[Member]
Use = Callable[[Member], None]
MakeMachine = Callable[[str, Use, Use], "Machine | None"]
"""Makes the machine of the rules with a match hash, which calls the functions given for each reference that
comes and goes; None if there are no such rules any more."""


@dataclass(slots=True)
class KeyedRow:
    """What waits under one join key. `name`: its state key. `timed` is the earliest deadline that is
    scheduled for it, `waiting` and `cost` what it counts for."""

    name: str
    match_hash: str
    key: JoinKey
    row: AnyRow
    timed: int | None = None
    waiting: int = 0
    cost: int = 0


class StateError(Exception):
    """State that this build cannot read; it is refused, never guessed."""


class StatePartition:
    """Rows, undecided sequences, held hits, processes, and their events, of one state partition."""

    def __init__(self, number: int, remember: int, max_lineage: int, make_machine: MakeMachine) -> None:
        """`remember`: how long (ns of event time) a sid is remembered. `max_lineage`: processes a host."""
        self._make_machine = make_machine
        self._machines: dict[str, Machine | None] = {}
        self.number = number
        self.watermark: int | None = None
        self.size = 0
        self.lineage = Lineage(max_lineage, self._process_changed)
        self._remember = remember
        self._rows: dict[str, KeyedRow] = {}
        self._undecided: dict[str, Undecided] = {}
        self._undecided_of: dict[str, dict[str, None]] = {}  # their names by that of their row, in order
        self._decisions: list[tuple[int, str]] = []
        self._number = 0
        self._process_costs: dict[str, int] = {}
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
        assert name not in self._held, "the hits of an event for a partition have different names"
        self._held[name] = (event.sid, hit)
        heapq.heappush(self._queue, (hit.order, name))
        self._refer(event.sid, event.record)
        self.size += _hit_cost(name, hit)
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
        self.size -= _hit_cost(name, self._held[name][1])
        self._dirty.add("h" + name)
        return self._held.pop(name)

    def record_of(self, sid: str) -> Record:
        """The record of an event that is referred to here."""
        return self._events[sid][0]

    # --- references ---------------------------------------------------------------------------

    def keep(self, member: Member) -> None:
        """One more reference to the event of `member`, which is held already."""
        self._refer(member.sid, None)

    def drop(self, member: Member) -> None:
        """One reference less."""
        self._release(member.sid)

    # --- rows ---------------------------------------------------------------------------------

    def machine(self, match_hash: str) -> Machine | None:
        """What works on the rows of the rules with that match hash, None if there are none."""
        if match_hash not in self._machines:
            self._machines[match_hash] = self._make_machine(match_hash, self.keep, self.drop)
        return self._machines[match_hash]

    def row(self, kind: str, match_hash: str, key: JoinKey) -> KeyedRow | None:
        """What waits under a key, None if nothing does. `kind`: `p` or `s`. It may be changed; `settle` it
        then."""
        return self._rows.get(_row_name(kind, match_hash, key))

    def new_row(self, kind: str, match_hash: str, key: JoinKey, row: AnyRow) -> KeyedRow:
        """A row for a key that has none; it is not kept before it is settled."""
        return KeyedRow(_row_name(kind, match_hash, key), match_hash, key, row)

    def settle(self, keyed: KeyedRow) -> None:
        """Take note of what was done to a row."""
        row, name = keyed.row, keyed.name
        self._dirty.add(name)
        if row.is_empty():
            self._remove(keyed)
            return
        waiting, cost = row.waiting(), _cost(name) + REFERENCE_BYTES * row.weight()
        self._partials[keyed.match_hash] += waiting - keyed.waiting
        self.size += cost - keyed.cost
        keyed.waiting, keyed.cost = waiting, cost
        self._rows[name] = keyed
        self._schedule(keyed)

    def hold_undecided(self, undecided: Undecided) -> None:
        """Keep a complete sequence, whose events are kept already, until time has passed its deadline."""
        row = _row_name("p", undecided.match_hash, undecided.key)
        self._number += 1
        self._add_undecided(f"u{row[1:]}:{self._number}", undecided)

    def rule_out(self, match_hash: str, key: JoinKey, time: int, *, in_order: bool) -> int:
        """An event of a trailing missing step at `time`: drop the undecided sequences it rules out; how many.
        `in_order`: hits come in the order of time, so the sequences of a key end in that order, too."""
        gone = 0
        for name in list(self._undecided_of.get(_row_name("p", match_hash, key), ())):
            undecided = self._undecided[name]
            if not is_earlier(undecided.partial.last, time):
                if in_order:
                    break
            elif time <= undecided.deadline:
                self._end_undecided(name)
                self._release_all(undecided.partial.events)
                gone += 1
        return gone

    def decided(self, before: int) -> Iterator[Undecided]:
        """Take out the undecided sequences that no event at or after `before` can rule out. Their events are
        kept until the next one is taken."""
        while self._decisions and self._decisions[0][0] < before:
            _, name = heapq.heappop(self._decisions)
            if name in self._undecided:
                undecided = self._end_undecided(name)
                yield undecided
                self._release_all(undecided.partial.events)

    def expire(self, before: int) -> Iterator[tuple[str, int]]:
        """Drop what no event at or after `before` can complete, and every row of a rule that is no more;
        yields match hash and number of what was dropped."""
        while self._deadlines and self._deadlines[0][0] < before:
            _, name = heapq.heappop(self._deadlines)
            keyed = self._rows.get(name)
            if keyed is None:
                continue
            keyed.timed = None
            machine = self.machine(keyed.match_hash)
            if machine is None:
                yield keyed.match_hash, self._drop_row(keyed)
                continue
            gone = machine.expire(keyed.row, before)
            self.settle(keyed)
            if gone:
                yield keyed.match_hash, gone

    def evict_oldest(self) -> tuple[str, int] | None:
        """Drop what would expire first: a row; where there is none an undecided sequence, the oldest held
        hit, at last a process (match hash ""). The match hash and how much was lost, or None."""
        while self._deadlines:
            _, name = heapq.heappop(self._deadlines)
            keyed = self._rows.get(name)
            if keyed is not None:
                return keyed.match_hash, self._drop_row(keyed)
        while self._decisions:
            _, name = heapq.heappop(self._decisions)
            if name in self._undecided:
                undecided = self._end_undecided(name)
                self._release_all(undecided.partial.events)
                return undecided.match_hash, 1
        if self._queue:
            sid, hit = self._pop_held()
            self._release(sid)
            return hit.match_hash, 1
        return ("", 1) if self.lineage.forget_oldest() else None

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
        """How many partials and undecided sequences wait, by match hash."""
        return +self._partials

    def held(self) -> int:
        """How many hits wait for the watermark."""
        return len(self._held)

    # --- written down -------------------------------------------------------------------------

    def set_watermark(self, watermark: int) -> None:
        """Event time has come this far."""
        if watermark != self.watermark:
            self.watermark = watermark
            if self._rows or self._undecided or self._held or self._recent:
                self._dirty.add("m")

    def take_changes(self) -> list[StateChange]:
        """The entries that changed since this was last called."""
        changes = [
            StateChange(self.number, name.encode("utf-8", "surrogatepass"), self._value(name[0], name[1:]))
            for name in sorted(self._dirty)
        ]
        self._dirty.clear()
        return changes

    def restore(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
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
        for undecided in self._undecided.values():
            for member in undecided.partial.events:
                self.keep(member)
        for keyed in list(self._rows.values()):
            for member in keyed.row.events():
                self.keep(member)
            if self.machine(keyed.match_hash) is None:
                keyed.timed = -(2**63)  # looked at, and dropped, at once
                heapq.heappush(self._deadlines, (keyed.timed, keyed.name))
            else:
                self.settle(keyed)
        self.lineage.restored()
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
            self.size += _hit_cost(name, self._held[name][1])
        elif kind == "p":
            stored = _decode_row(value)
            self._rows[kind + name] = KeyedRow(kind + name, stored.match_hash, stored.key, stored.row())
        elif kind == "s":
            sample = _decode_sample(value)
            row = SampleRow(sample.steps, sample.quiet_until)
            self._rows[kind + name] = KeyedRow(kind + name, sample.match_hash, sample.key, row)
        elif kind == "u":
            match_hash, key, deadline, order, partial = _decode_undecided(value)
            self._add_undecided(kind + name, Undecided(match_hash, key, deadline, order, Partial(*partial)))
            self._number = max(self._number, int(name.rpartition(":")[2]))
        elif kind == "l":
            self.lineage.take(_decode_process(value))
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
        if kind == "l":
            process = self.lineage.process(name)
            return None if process is None else _encode(process)
        if kind == "u":
            undecided = self._undecided.get(kind + name)
            return None if undecided is None else _encode(tuple(undecided))
        keyed = self._rows.get(kind + name)
        if keyed is None:
            return None
        if isinstance(keyed.row, SampleRow):
            row = keyed.row
            return _encode(_StoredSample(keyed.match_hash, keyed.key, row.steps, row.quiet_until))
        return _encode(_StoredRow.of(keyed))

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

    def _release_all(self, members: Iterable[Member]) -> None:
        for member in members:
            self._release(member.sid)

    # --- the end of what waits ------------------------------------------------------------------

    def _schedule(self, keyed: KeyedRow) -> None:
        """Schedule a row's earliest deadline, unless an earlier one is: at most one is pending per
        row that has not come yet, so that restarts of a sequence cost no memory."""
        machine = self.machine(keyed.match_hash)
        deadline = None if machine is None else machine.next_expiry(keyed.row)
        if deadline is None or (keyed.timed is not None and keyed.timed <= deadline):
            return
        keyed.timed = deadline
        heapq.heappush(self._deadlines, (deadline, keyed.name))
        if len(self._deadlines) > 2 * len(self._rows) + 1_000:
            self._compact()

    def _compact(self) -> None:
        """Throw out the deadlines of rows that completed and came again."""
        self._deadlines = [(row.timed, name) for name, row in self._rows.items() if row.timed is not None]
        heapq.heapify(self._deadlines)

    def _remove(self, keyed: KeyedRow) -> None:
        """Forget a row that refers to nothing any more."""
        if self._rows.pop(keyed.name, None) is not None:
            self._partials[keyed.match_hash] -= keyed.waiting
            self.size -= keyed.cost
        keyed.waiting = keyed.cost = 0
        self._dirty.add(keyed.name)

    def _drop_row(self, keyed: KeyedRow) -> int:
        """Give a row up, with all that waits in it; how much that was."""
        lost = max(1, keyed.row.waiting())  # what is only remembered counts, too: answers depend on it
        for member in keyed.row.events():
            self.drop(member)
        self._remove(keyed)
        return lost

    def _add_undecided(self, name: str, undecided: Undecided) -> None:
        self._undecided[name] = undecided
        self._partials[undecided.match_hash] += 1
        row = _row_name("p", undecided.match_hash, undecided.key)
        self._undecided_of.setdefault(row, {})[name] = None
        heapq.heappush(self._decisions, (undecided.deadline, name))
        if len(self._decisions) > 2 * len(self._undecided) + 1_000:
            self._decisions = [(each.deadline, own) for own, each in self._undecided.items()]
            heapq.heapify(self._decisions)
        self.size += _cost(name) + REFERENCE_BYTES * len(undecided.partial.events)
        self._dirty.add(name)

    def _end_undecided(self, name: str) -> Undecided:
        """Take an undecided sequence out; its events stay kept."""
        undecided = self._undecided.pop(name)
        self._partials[undecided.match_hash] -= 1
        row = _row_name("p", undecided.match_hash, undecided.key)
        names = self._undecided_of[row]
        del names[name]
        if not names:
            del self._undecided_of[row]
        self.size -= _cost(name) + REFERENCE_BYTES * len(undecided.partial.events)
        self._dirty.add(name)
        return undecided

    def _process_changed(self, name: str) -> None:
        self._dirty.add("l" + name)
        process = self.lineage.process(name)
        cost = 0
        if process is not None:
            texts = [process.entity or "", *process.marks]
            cost = PARTIAL_BYTES + 3 * len(name) + sum(map(len, texts))
        self.size += cost - self._process_costs.pop(name, 0)
        if cost:
            self._process_costs[name] = cost


def _cost(name: str) -> int:
    """What a row or a held hit takes, roughly: its name stands in it, in an index and in a change."""
    return PARTIAL_BYTES + 3 * len(name)


def _hit_cost(name: str, hit: RuleHit) -> int:
    """The same of a held hit, its keys counted: an event may have many, and its bytes may not be here."""
    keys = (key for step in hit.steps for key in step.keys)
    texts = sum(len(part) if isinstance(part, str) else 8 for key in keys for part in key)
    return _cost(name) + texts + 64 * sum(len(step.keys) for step in hit.steps)


def _row_name(kind: str, match_hash: str, key: JoinKey) -> str:
    return f"{kind}{match_hash}:{canonical_key(key)}"
