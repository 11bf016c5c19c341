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
| `p<rule><join key>` | when it is looked at again (8 bytes), and the row of partials of one join key |
| `s<rule><join key>` | the same of a sample |
| `u<rule><join key><number>` | a complete sequence that a missing step can still rule out |
| `h<match_hash>:<sid>` | a hit that waits for the watermark |
| `e<sid>` | an event that one of these refers to, once |
| `l<host>:<number>` | a process of a host |
| `d<sid>` | a sid seen lately, with its number in order of arrival and its time |

`<rule>` is a digest of the match hash (8 bytes), `<join key>` one of the join key (16 bytes, so that nobody
finds two keys with the same one), `<number>` 8 bytes.

What there may be a million of, rows and their events, is a map from keys to bytes in memory, too: a row is
unpacked for its turn only (a large one until the next barrier), an event when somebody asks for it. That
takes a quarter of what objects take, a barrier finds the bytes ready, and the search for cyclic garbage has
nothing to look at.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

from detectord.compiler.compiled import JoinKey
from detectord.engine.deadlines import AT_ONCE, NEVER, TIME_BYTES, Deadlines, Time, packed, unpacked
from detectord.engine.hits import EventHits, Order, RuleHit, key_bytes
from detectord.engine.lineage import Lineage, Process
from detectord.engine.samples import SampleRow
from detectord.engine.sequences import Partial, Row, is_earlier
from detectord.events.record import Record

FORMAT = 2
MAX_REMEMBERED = 4_096
"""Sids remembered per state partition; older ones are forgotten first."""
LARGE = 512
"""Bytes of a packed row from which on it is not packed anew after every turn."""

# What things take in memory beyond their bytes and texts, for the bound on memory: objects' heads, places in
# tables, measured with `bench.partials` and `sys.getsizeof`
ROW_BYTES = 150
EVENT_BYTES = 130
SID_BYTES = 140
HIT_BYTES = 750
UNDECIDED_BYTES = 1_000
PROCESS_BYTES = 500
KEY_BYTES = 64
"""Of a key of a held hit, or an event of an undecided sequence."""

_RULE_BYTES, _DIGEST_BYTES, _NUMBER_BYTES = 8, 16, 8
_RULE = slice(1, 1 + _RULE_BYTES)
_NAME_BYTES = 1 + _RULE_BYTES + _DIGEST_BYTES
_TIME_BIAS = 2**63


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
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

    def record(self) -> Record:
        return Record(self.topic, self.partition, self.offset, self.timestamp, None, self.value, self.arrival)


_encoder = msgspec.msgpack.Encoder()
_encode = _encoder.encode
_decode_meta = msgspec.msgpack.Decoder(_Meta).decode
_decode_row = msgspec.msgpack.Decoder(Row[Member]).decode
_decode_far_row = msgspec.json.Decoder(Row[Member]).decode
_decode_sample = msgspec.msgpack.Decoder(SampleRow[Member]).decode
_decode_far_sample = msgspec.json.Decoder(SampleRow[Member]).decode
_decode_hit = msgspec.msgpack.Decoder(tuple[str, RuleHit]).decode
_decode_event = msgspec.msgpack.Decoder(_StoredEvent).decode
_decode_undecided = msgspec.msgpack.Decoder(tuple[str, _Key, int, Order, Partial[Member]]).decode
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
    """What waits under one join key, unpacked. `name`: its state key. `timed` is the earliest deadline that
    is scheduled for it, `waiting` how many partials it counted for when it was packed."""

    name: bytes
    row: AnyRow
    timed: Time = NEVER
    waiting: int = 0

    @classmethod
    def of(cls, name: bytes, value: bytes) -> KeyedRow:
        """The row that was packed as `value`."""
        written = value[TIME_BYTES:]
        is_far = written.startswith(_FAR)
        row: AnyRow
        if name.startswith(b"p"):
            row = _decode_far_row(written) if is_far else _decode_row(written)
        else:
            row = _decode_far_sample(written) if is_far else _decode_sample(written)
        return cls(name, row, value[:TIME_BYTES], row.waiting())

    def pack(self) -> bytes:
        """The row as it is kept."""
        try:
            return self.timed + _encode(self.row)
        except OverflowError:  # times that need more than 64 bits, which the daemon leaves out
            return self.timed + msgspec.json.encode(self.row)


_FAR = b"["
"""How rows begin that were packed as JSON; msgpack begins otherwise."""


class StateError(Exception):
    """State that this build cannot read; it is refused, never guessed."""


class StatePartition:
    """Rows, undecided sequences, held hits, processes, and their events, of one state partition."""

    def __init__(
        self,
        number: int,
        remember: int,
        max_lineage: int,
        make_machine: MakeMachine,
        match_hashes: Mapping[bytes, str],
    ) -> None:
        """`remember`: how long (ns of event time) a sid is remembered. `max_lineage`: processes a host.
        `match_hashes`: those of the rules there are (`by_digest`)."""
        self._make_machine = make_machine
        self._match_hashes = match_hashes
        self._machines: dict[str, Machine | None] = {}
        self.number = number
        self.watermark: int | None = None
        self.size = 0
        self.lineage = Lineage(max_lineage, self._process_changed)
        self._remember = remember
        self._rows: dict[bytes, bytes] = {}
        self._large: dict[bytes, KeyedRow] = {}
        self._deadlines = Deadlines(self._time_of)
        self._undecided: dict[bytes, Undecided] = {}
        self._undecided_of: dict[bytes, dict[bytes, None]] = {}  # their names by that of their row, in order
        self._decisions: list[tuple[int, bytes]] = []
        self._number = 0
        self._process_costs: dict[str, int] = {}
        self._held: dict[str, tuple[str, RuleHit]] = {}
        self._queue: list[tuple[Order, str]] = []
        self._events: dict[str, bytes] = {}
        self._buffer = bytearray()
        self._shared: dict[str, int] = {}  # how many references there are to an event, if more than one
        self._recent: dict[str, int] = {}
        self._seen = 0
        self._partials: Counter[bytes] = Counter()  # by digest of the match hash
        self._recent_order: deque[str] = deque()
        self._dirty: set[bytes] = set()

    # --- held hits ----------------------------------------------------------------------------

    def is_repeated(self, event: EventHits) -> bool:
        """True if this event came before; otherwise it is remembered from now on."""
        if event.sid in self._recent or event.sid in self._events:
            return True
        self._seen += 1
        self._recent[event.sid] = _seen(self._seen, max(hit.time for hit in event.hits))
        self._recent_order.append(event.sid)
        self.size += SID_BYTES + len(event.sid)
        self._touch("d", event.sid)
        if len(self._recent_order) > MAX_REMEMBERED:
            self._forget(self._recent_order.popleft())
        return False

    def hold(self, event: EventHits, hit: RuleHit) -> None:
        """Keep a hit until its time is behind the watermark."""
        name = f"{hit.match_hash}:{event.sid}"
        assert name not in self._held, "the hits of an event for a partition have different names"
        self._held[name] = (event.sid, hit)
        heapq.heappush(self._queue, (hit.order, name))
        if event.sid in self._events:
            self._refer(event.sid)
        else:
            self._take_event(event)
        self.size += _hit_cost(name, hit)
        self._touch("h", name)

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
        self._touch("h", name)
        return self._held.pop(name)

    def record_of(self, sid: str) -> Record:
        """The record of an event that is referred to here."""
        return _decode_event(self._events[sid]).record()

    # --- references ---------------------------------------------------------------------------

    def keep(self, member: Member) -> None:
        """One more reference to the event of `member`, which is held already."""
        self._refer(member.sid)

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
        return self._unpacked(_row_name(kind, match_hash, key))

    def new_row(self, kind: str, match_hash: str, key: JoinKey, row: AnyRow) -> KeyedRow:
        """A row for a key that has none; it is not kept before it is settled."""
        return KeyedRow(_row_name(kind, match_hash, key), row)

    def settle(self, keyed: KeyedRow) -> None:
        """Take note of what was done to a row."""
        row, name = keyed.row, keyed.name
        self._dirty.add(name)
        if row.is_empty():
            self._remove(keyed)
            return
        waiting = row.waiting()
        self._count(name[_RULE], waiting - keyed.waiting)
        keyed.waiting = waiting
        if self._schedule(keyed):
            # A name that is scheduled stands in the table as the same object, for it is kept twice
            self._pack(keyed, self._rows.pop(name, None))
            self._deadlines.put(keyed.timed, name)
            if len(self._deadlines) > 2 * len(self._rows) + 1_000:
                self._deadlines.refill(self._rows)  # without rows that completed and came again
        elif name not in self._large:
            self._pack(keyed, self._rows.get(name))

    def hold_undecided(self, undecided: Undecided) -> None:
        """Keep a complete sequence, whose events are kept already, until time has passed its deadline."""
        row = _row_name("p", undecided.match_hash, undecided.key)
        self._number += 1
        self._add_undecided(b"u" + row[1:] + self._number.to_bytes(_NUMBER_BYTES, "big"), undecided)

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
        while (name := self._deadlines.take(before)) is not None:
            keyed, machine = self._unpacked(name), self._machine_of(name)
            assert keyed is not None, "what is not there is not due"
            if machine is None:
                yield self._match_hash(name[_RULE]), self._drop_row(keyed)
                continue
            keyed.timed = NEVER
            gone = machine.expire(keyed.row, before)
            self.settle(keyed)
            if gone:
                yield self._match_hash(name[_RULE]), gone

    def evict_oldest(self) -> tuple[str, int] | None:
        """Drop what would expire first: a row; where there is none an undecided sequence, the oldest held
        hit, at last a process (match hash ""). The match hash and how much was lost, or None."""
        name = self._deadlines.take()
        keyed = None if name is None else self._unpacked(name)
        if keyed is not None:
            return self._match_hash(keyed.name[_RULE]), self._drop_row(keyed)
        while self._decisions:
            _, ended = heapq.heappop(self._decisions)
            if ended in self._undecided:
                undecided = self._end_undecided(ended)
                self._release_all(undecided.partial.events)
                return undecided.match_hash, 1
        if self._queue:
            sid, hit = self._pop_held()
            self._release(sid)
            return hit.match_hash, 1
        return ("", 1) if self.lineage.forget_oldest() else None

    def next_to_go(self) -> int | None:
        """The time of what `evict_oldest` would drop next: a row's deadline, that of an undecided sequence, a
        held hit's own; None of a process."""
        first = self._deadlines.first()
        if first is not None:
            return unpacked(first)
        if self._decisions:
            return self._decisions[0][0]
        return self._held[self._queue[0][1]][1].time if self._queue else None

    def oldest_deadline(self) -> Time | None:
        """When the first row is looked at again, None if nothing is scheduled."""
        return self._deadlines.first()

    def forget_before(self, time: int) -> None:
        """Forget the sids of events older than `time` by more than the memory reaches back."""
        while self._recent_order:
            sid = self._recent_order[0]
            if sid in self._recent and _number_and_time(self._recent[sid])[1] >= time - self._remember:
                return
            self._recent_order.popleft()
            self._forget(sid)

    def partials(self) -> Counter[str]:
        """How many partials and undecided sequences wait, by match hash."""
        return Counter({self._match_hash(rule): count for rule, count in self._partials.items() if count > 0})

    def held(self) -> int:
        """How many hits wait for the watermark."""
        return len(self._held)

    # --- written down -------------------------------------------------------------------------

    def set_watermark(self, watermark: int) -> None:
        """Event time has come this far."""
        if watermark != self.watermark:
            self.watermark = watermark
            if self._rows or self._undecided or self._held or self._recent:
                self._dirty.add(b"m")

    def take_changes(self) -> list[StateChange]:
        """The entries that changed since this was last called."""
        for keyed in self._large.values():
            self._pack(keyed, self._rows[keyed.name])
        self._large.clear()
        changes = [StateChange(self.number, key, self._value(key)) for key in sorted(self._dirty)]
        self._dirty.clear()
        return changes

    def restore(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Fill this (empty) partition with entries that `take_changes` once gave.

        Raises:
            StateError: an entry is of another format.
        """
        key = b""
        try:
            for key, value in entries:
                self._restore_entry(key, value)
            self._recent_order.extend(sorted(self._recent, key=self._recent.__getitem__))
            self._seen = max((_number_and_time(each)[0] for each in self._recent.values()), default=0)
            references = Counter(sid for sid, _ in self._held.values())
            for undecided in self._undecided.values():
                references.update(member.sid for member in undecided.partial.events)
            for key, value in self._rows.items():
                keyed = KeyedRow.of(key, value)
                for member in keyed.row.events():
                    references[member.sid] = references.get(member.sid, 0) + 1
                self._restore_row(keyed, value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(f"unreadable state entry {key[:80]!r}: {error}") from error
        if not references.keys() <= self._events.keys():
            raise StateError("an event that is referred to is not there")
        self._shared = {sid: count for sid, count in references.items() if count > 1}
        self.lineage.restored()
        self._dirty.clear()

    def _restore_row(self, keyed: KeyedRow, value: bytes) -> None:
        """Count and schedule a row. It is kept as it was packed: to pack it anew would be most of the work.
        But its rule may have gone since, or have a shorter span: then its time comes sooner than it says."""
        name = keyed.name
        self._count(name[_RULE], keyed.waiting)
        machine = self._machine_of(name)
        if machine is None:
            time = AT_ONCE  # looked at, and dropped
        else:
            deadline = machine.next_expiry(keyed.row)
            time = NEVER if deadline is None else packed(deadline)
        if time < value[:TIME_BYTES]:
            self._rows[name] = time + value[TIME_BYTES:]
        else:
            time = value[:TIME_BYTES]
        if time != NEVER:
            self._deadlines.put(time, name)

    def _restore_entry(self, key: bytes, value: bytes) -> None:
        kind, name = key[:1], key[1:]
        if kind == b"e":
            _decode_event(value)
            self._keep_event(_text(name), value)
        elif kind == b"d":
            sid = _text(name)
            self._recent[sid] = _seen(*_decode_seen(value))
            self.size += SID_BYTES + len(sid)
        elif kind == b"m":
            meta = _decode_meta(value)
            if meta.format != FORMAT:
                raise StateError(f"state of format {meta.format}; this build reads format {FORMAT}")
            self.watermark = meta.watermark
        elif kind == b"h":
            hit = self._held[_text(name)] = _decode_hit(value)
            heapq.heappush(self._queue, (hit[1].order, _text(name)))
            self.size += _hit_cost(_text(name), hit[1])
        elif kind in (b"p", b"s") and len(key) == _NAME_BYTES:
            self._rows[key] = value
            self.size += _row_cost(value)
        elif kind == b"u" and len(key) == _NAME_BYTES + _NUMBER_BYTES:
            match_hash, join_key, deadline, order, partial = _decode_undecided(value)
            self._add_undecided(key, Undecided(match_hash, join_key, deadline, order, partial))
            self._number = max(self._number, int.from_bytes(key[_NAME_BYTES:], "big"))
        elif kind == b"l":
            self.lineage.take(_decode_process(value))
        else:
            raise StateError(f"state entry of unknown kind {key[:80]!r}")

    def _value(self, key: bytes) -> bytes | None:
        """The entry of a key, None if there is none."""
        kind = key[:1]
        if kind in (b"p", b"s"):
            return self._rows.get(key)
        if kind == b"m":
            return _encode(_Meta(FORMAT, self.watermark))
        if kind == b"u":
            undecided = self._undecided.get(key)
            return None if undecided is None else _encode(tuple(undecided))
        name = _text(key[1:])
        if kind == b"e":
            return self._events.get(name)
        if kind == b"d":
            seen = self._recent.get(name)
            return None if seen is None else _encode(_number_and_time(seen))
        if kind == b"h":
            return _encode(self._held[name]) if name in self._held else None
        process = self.lineage.process(name)
        return None if process is None else _encode(process)

    # --- what refers to an event ----------------------------------------------------------------

    def _keep_event(self, sid: str, value: bytes) -> None:
        self._events[sid] = value
        self.size += EVENT_BYTES + len(sid) + len(value)

    def _refer(self, sid: str) -> None:
        assert sid in self._events, "an event is held before a partial refers to it"
        self._shared[sid] = self._shared.get(sid, 1) + 1

    def _release(self, sid: str) -> None:
        count = self._shared.get(sid, 1)
        if count > 2:
            self._shared[sid] = count - 1
        elif count == 2:
            del self._shared[sid]
        else:
            self.size -= EVENT_BYTES + len(sid) + len(self._events.pop(sid))
            self._touch("e", sid)

    def _forget(self, sid: str) -> None:
        if self._recent.pop(sid, None) is not None:
            self.size -= SID_BYTES + len(sid)
            self._touch("d", sid)

    def _take_event(self, event: EventHits) -> None:
        """The event of the first hit, with one reference."""
        stored = _StoredEvent(
            event.topic, event.source_partition, event.offset, event.timestamp, event.arrival, event.value
        )
        # What `encode` returns may take half as much again, from when it was written
        _encoder.encode_into(stored, self._buffer)
        self._keep_event(event.sid, bytes(self._buffer))
        self._touch("e", event.sid)

    def _release_all(self, members: Iterable[Member]) -> None:
        for member in members:
            self._release(member.sid)

    # --- the end of what waits ------------------------------------------------------------------

    def _schedule(self, keyed: KeyedRow) -> bool:
        """Schedule a row's earliest deadline, unless an earlier one is: at most one is pending per row that
        has not come, so that restarts of a sequence cost no memory. Whether it did."""
        machine = self._machine_of(keyed.name)
        deadline = None if machine is None else machine.next_expiry(keyed.row)
        if deadline is None:
            return False
        time = packed(deadline)
        if time >= keyed.timed:
            return False
        keyed.timed = time
        return True

    def _unpacked(self, name: bytes) -> KeyedRow | None:
        """The row with that name. A large one stays unpacked until the next barrier: many events may come to
        it, and none is to cost more than with a small one."""
        keyed = self._large.get(name)
        if keyed is not None:
            return keyed
        value = self._rows.get(name)
        if value is None:
            return None
        keyed = KeyedRow.of(name, value)
        if len(value) > LARGE:
            self._large[name] = keyed
        return keyed

    def _pack(self, keyed: KeyedRow, before: bytes | None) -> None:
        """Keep a row, in place of what was kept of it before."""
        value = self._rows[keyed.name] = keyed.pack()
        self.size += _row_cost(value) - (0 if before is None else _row_cost(before))

    def _time_of(self, name: bytes) -> Time | None:
        """The time that is scheduled for a row."""
        value = self._rows.get(name)
        return None if value is None else value[:TIME_BYTES]

    def _machine_of(self, name: bytes) -> Machine | None:
        """What works on a row."""
        match_hash = self._match_hashes.get(name[_RULE])
        return None if match_hash is None else self.machine(match_hash)

    def _match_hash(self, rule: bytes) -> str:
        """The match hash with that digest; if the rule is no more, a name that no rule has."""
        return self._match_hashes.get(rule) or rule.hex()

    def _count(self, rule: bytes, more: int) -> None:
        """So many more partials wait."""
        if more:
            self._partials[rule] += more

    def _touch(self, kind: str, name: str) -> None:
        """An entry with a text for its name has changed."""
        self._dirty.add((kind + name).encode("utf-8", "surrogatepass"))

    def _remove(self, keyed: KeyedRow) -> None:
        """Forget a row that refers to nothing any more."""
        value = self._rows.pop(keyed.name, None)
        self._large.pop(keyed.name, None)
        if value is not None:
            self._count(keyed.name[_RULE], -keyed.waiting)
            self.size -= _row_cost(value)
        self._dirty.add(keyed.name)

    def _drop_row(self, keyed: KeyedRow) -> int:
        """Give a row up, with all that waits in it; how much that was."""
        for member in keyed.row.events():
            self.drop(member)
        self._remove(keyed)
        return max(1, keyed.waiting)  # what is only remembered counts, too: answers depend on it

    def _add_undecided(self, name: bytes, undecided: Undecided) -> None:
        self._undecided[name] = undecided
        self._count(name[_RULE], 1)
        self._undecided_of.setdefault(_row_of(name), {})[name] = None
        heapq.heappush(self._decisions, (undecided.deadline, name))
        if len(self._decisions) > 2 * len(self._undecided) + 1_000:
            self._decisions = [(each.deadline, own) for own, each in self._undecided.items()]
            heapq.heapify(self._decisions)
        self.size += _undecided_cost(undecided)
        self._dirty.add(name)

    def _end_undecided(self, name: bytes) -> Undecided:
        """Take an undecided sequence out; its events stay kept."""
        undecided = self._undecided.pop(name)
        self._count(name[_RULE], -1)
        names = self._undecided_of[_row_of(name)]
        del names[name]
        if not names:
            del self._undecided_of[_row_of(name)]
        self.size -= _undecided_cost(undecided)
        self._dirty.add(name)
        return undecided

    def _process_changed(self, name: str) -> None:
        self._touch("l", name)
        process = self.lineage.process(name)
        cost = 0
        if process is not None:
            texts = [process.entity or "", *process.marks]
            cost = PROCESS_BYTES + 3 * len(name) + sum(map(len, texts))
        self.size += cost - self._process_costs.pop(name, 0)
        if cost:
            self._process_costs[name] = cost


def by_digest(match_hashes: Iterable[str]) -> dict[bytes, str]:
    """The match hashes of the rules there are, by what stands for them in the names of rows."""
    return {_digest_of(match_hash): match_hash for match_hash in match_hashes}


@functools.lru_cache(maxsize=16_384)
def _digest_of(match_hash: str) -> bytes:
    return hashlib.blake2b(match_hash.encode(), digest_size=_RULE_BYTES).digest()


def _row_name(kind: str, match_hash: str, key: JoinKey) -> bytes:
    digest = hashlib.blake2b(key_bytes(key), digest_size=_DIGEST_BYTES).digest()
    return kind.encode() + _digest_of(match_hash) + digest


def _row_of(name: bytes) -> bytes:
    """The name of the row that an undecided sequence comes from."""
    return b"p" + name[1:_NAME_BYTES]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def _seen(number: int, time: int) -> int:
    """A number in order of arrival and a time as one integer, in the order of numbers."""
    return number << 64 | time + _TIME_BIAS


def _number_and_time(seen: int) -> tuple[int, int]:
    return seen >> 64, (seen & 2**64 - 1) - _TIME_BIAS


def _row_cost(value: bytes) -> int:
    """What a row takes."""
    return ROW_BYTES + len(value)


def _undecided_cost(undecided: Undecided) -> int:
    """What a sequence that is not decided takes, roughly."""
    return UNDECIDED_BYTES + _text_size(undecided.key) + KEY_BYTES * len(undecided.partial.events)


def _hit_cost(name: str, hit: RuleHit) -> int:
    """The same of a held hit, its keys counted: an event may have many, and its bytes may not be here."""
    keys = [key for step in hit.steps for key in step.keys]
    return HIT_BYTES + 2 * len(name) + sum(map(_text_size, keys)) + KEY_BYTES * len(keys)


def _text_size(key: JoinKey) -> int:
    """What the values of a join key take."""
    return sum(len(part) if isinstance(part, str) else 8 for part in key)
