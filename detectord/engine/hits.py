"""Step hits: what a worker that evaluated an event tells the owner of a sequence's state.

Rule 1: a hit carries all that the owner needs, the event's bytes included, so that any worker of any
instance can go on with it.
Rule 2: hits of one event for one state partition travel together; a repeated event (same sid) can so
be told from the second rule that the same event concerns.

The order of hits (eql.md 5.1, architecture.md 3): event time; the rule's tiebreaker, else agent.id and
event.sequence, missing last; the sid, in which numbers compare as numbers. In order-of-arrival mode
the number that the supervisor gave the record stands in front of all that.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import structs

from detectord.compiler.compiled import CompiledRule, CompiledStep, JoinKey, KeyValue, Role
from detectord.engine.bounds import shortened
from detectord.engine.found import Found
from detectord.engine.lineage import Identity
from detectord.engine.tallies import Tallies
from detectord.engine.watermark import END_OF_TIME
from detectord.events.event import Event
from detectord.events.identity import sid, sid_order
from detectord.events.record import Record

PROCESS_TOLD, PROCESS_ENDS = "!process", "~process"
"""In the place of a match hash: the event tells of a process, or ends it. Of one event's hits the one comes
before those of rules, the other behind them, because equal ones stand in the order of these names."""

Tie = tuple[int, str, int | float]
Order = tuple[int, Tie, str, int]
"""(event time or arrival number, tiebreaker, sid as text, sid's number)."""


class StepKeys(msgspec.Struct, frozen=True, array_like=True):
    """One step with those of the event's keys that this partition keeps. `fanned_out` is true if the
    event had several key tuples for the step, wherever they are kept."""

    step: int
    fanned_out: bool
    keys: tuple[tuple[str | int | float | bool | None, ...], ...]


class RuleHit(msgspec.Struct, frozen=True, array_like=True):
    """One event for all sequence rules of one `match_hash`: the steps it satisfies, last first."""

    match_hash: str
    steps: tuple[StepKeys, ...]
    time: int
    order: tuple[int, tuple[int, str, int | float], str, int]


class EventHits(msgspec.Struct, frozen=True, array_like=True):
    """One event with all its hits for one state partition. `value` is empty if nobody will ask for the event:
    missing steps and `until` are told keys and time only."""

    partition: int
    sid: str
    topic: str
    source_partition: int
    offset: int
    timestamp: int | None
    arrival: int
    value: bytes
    hits: tuple[RuleHit, ...]

    @property
    def record(self) -> Record:
        """The event's record, as it came (its key apart, which nothing needs any more)."""
        return Record(
            self.topic, self.source_partition, self.offset, self.timestamp, None, self.value, self.arrival
        )


def renumbered(event: EventHits, arrival: int, *, by_arrival: bool) -> EventHits:
    """The hits of an event that another instance found, with a number in our order of arrival."""
    hits = event.hits
    if by_arrival:
        hits = tuple(structs.replace(hit, order=(arrival, *hit.order[1:])) for hit in hits)
    return structs.replace(event, arrival=arrival, hits=hits)


def partition_hash(*parts: str) -> int:
    """A hash of texts that is the same in every process and release; parts cannot run together."""
    crc = 0
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        crc = zlib.crc32(data, zlib.crc32(len(data).to_bytes(4, "big"), crc))
    return crc


_canonical_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring
_encode_key = msgspec.msgpack.Encoder().encode


def canonical_key(key: JoinKey) -> str:
    """The join key as canonical JSON."""
    # The encoder prepares itself anew for whatever is no text, which takes ten times as long as the text
    return f"[{','.join([_quoted(v) if type(v) is str else _canonical_json(v) for v in key])}]"


def key_bytes(key: JoinKey) -> bytes:
    """The join key as bytes, which differ for different keys: `"1"`, 1, 1.0 and `true` are four."""
    try:
        return _encode_key(key)
    except UnicodeEncodeError:  # half a surrogate pair; JSON can hold it, and begins otherwise than msgpack
        return canonical_key(key).encode("utf-8", "surrogatepass")


def key_text(value: KeyValue) -> str:
    """One value of a key as text, a string as it is."""
    return value if isinstance(value, str) else json.dumps(value)


def state_partition(rule: CompiledRule, key: JoinKey, partitions: int) -> int:
    """The partition that keeps the partials of `key`: by host for a host-bound rule, so that they lie
    where the host's events go anyway; by rule and key for any other."""
    if rule.asks_for_relatives:
        return host_partition(key[0], partitions)
    if rule.host_position is not None:
        return partition_hash(key_text(key[rule.host_position])) % partitions
    return partition_hash(rule.match_hash, canonical_key(key)) % partitions


def host_partition(host: KeyValue, partitions: int) -> int:
    """The partition that keeps what is kept by host; None or "": a host without a name."""
    return partition_hash(key_text(host or None)) % partitions


def hit_time(rule: CompiledRule, event: Event) -> int | None:
    """The event's time as `rule` sees it; None: it takes no part. What asks for relatives sees the time by
    which processes start and end, whatever fields the rule names."""
    if rule.timestamp_field == "@timestamp" or rule.asks_for_relatives:
        time = event.time
    else:
        time = next(iter(event.instants(rule.timestamp_field)), None)
    return time if time is not None and abs(time) < END_OF_TIME else None


def tie(rule: CompiledRule, event: Event) -> Tie:
    """What decides between equal times: numbers before texts, missing last."""
    if rule.tiebreaker_field and not rule.asks_for_relatives:
        values = event.values(rule.tiebreaker_field)
        if not values:
            return (2, "", 0)
        value = values[0]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return (0, "", _portable(value))
        return (1, event.text(rule.tiebreaker_field)[0], 0)
    return _agent_tie(event)


def _agent_tie(event: Event) -> Tie:
    """By the number that the agent gave the event."""
    sequence = event.numbers("event.sequence")
    if not sequence:
        return (2, "", 0)
    agent = event.text("agent.id")
    return (0, agent[0] if agent else "", _portable(sequence[0]))


def _portable(number: int | float) -> int | float:
    """A number that travels in 64 bits: an integer that does not fit goes as a double."""
    if isinstance(number, float) or -(2**63) <= number < 2**63:
        return number
    try:
        return float(number)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max


def hits_of(
    event: Event,
    found: Found,
    *,
    partitions: int,
    max_future: int,
    by_arrival: bool,
    tallies: Tallies,
) -> list[EventHits]:
    """The hits of one event, sorted to their state partitions.

    An event more than `max_future` ns ahead of its record is taken at the record's time: a clock that
    runs ahead must not carry its events out of reach.
    """
    by_partition: dict[int, list[RuleHit]] = {}
    record = event.record
    name = shortened(sid(event))
    text, number = sid_order(event)
    text = shortened(text)
    wanted: set[int] = set()  # the partitions that need the event itself
    known: dict[tuple[str, str], tuple[int | None, Tie]] = {}  # rules that name the same fields see the same
    for rule, steps in found.hits:
        named = ("", "") if rule.asks_for_relatives else (rule.timestamp_field, rule.tiebreaker_field)
        if named not in known:
            known[named] = hit_time(rule, event), tie(rule, event)
        time = _time(known[named][0], record, max_future, tallies)
        if time is None:
            tallies["no_time", rule.rule.rule_id] += 1
            continue
        order: Order = (record.arrival if by_arrival else time, known[named][1], text, number)
        for partition, own_steps in _spread(rule, steps, partitions).items():
            hit = RuleHit(rule.match_hash, tuple(own_steps), time, order)
            by_partition.setdefault(partition, []).append(hit)
            if any(_needs_event(rule.steps[own.step], rule) for own in own_steps):
                wanted.add(partition)
    time = _time(event.time, record, max_future, Counter())
    if found.process is not None and time is not None:
        order = (record.arrival if by_arrival else time, _agent_tie(event), text, number)
        own = by_partition.setdefault(host_partition(found.process.host, partitions), [])
        own.extend(_process_hits(found.process, time, order))
    return [
        EventHits(
            partition,
            name,
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            record.arrival,
            record.value if partition in wanted else b"",
            tuple(rule_hits),
        )
        for partition, rule_hits in by_partition.items()
    ]


def _process_hits(identity: Identity, time: int, order: Order) -> Iterator[RuleHit]:
    """What an event tells of its process."""
    steps = (StepKeys(0, False, (identity.key,)),)
    yield RuleHit(PROCESS_TOLD, steps, time, order)
    if identity.ends:
        yield RuleHit(PROCESS_ENDS, steps, time, order)


def _time(time: int | None, record: Record, max_future: int, tallies: Tallies) -> int | None:
    """The time of a hit: the record's, if the event's is too far ahead of it."""
    if time is None or record.timestamp is None or time <= record.timestamp * 1_000_000 + max_future:
        return time
    tallies["future", record.topic] += 1
    return record.timestamp * 1_000_000


def _needs_event(step: CompiledStep, rule: CompiledRule) -> bool:
    """Whether somebody will ask for the event of a hit of the step: a partial, or who asks for relatives."""
    return rule.asks_for_relatives or step.role is Role.POSITIVE


def _spread(
    rule: CompiledRule, steps: Iterable[tuple[int, tuple[JoinKey, ...]]], partitions: int
) -> dict[int, list[StepKeys]]:
    """Sort the keys of every step to the partitions that keep them."""
    spread: dict[int, list[StepKeys]] = {}
    for step, keys in steps:
        own: dict[int, list[JoinKey]] = {}
        for key in keys:
            own.setdefault(state_partition(rule, key, partitions), []).append(key)
        for partition, own_keys in own.items():
            spread.setdefault(partition, []).append(StepKeys(step, len(keys) > 1, tuple(own_keys)))
    return spread
