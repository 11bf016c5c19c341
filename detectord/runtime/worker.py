"""A worker: evaluates batches, keeps the state of its state partitions. No I/O but its pipe, no clock.

`Worker.handle` is the whole of it: one message in, at most one reply out, so that a simulation can run
it without processes. `serve` is the loop around it in a process of its own.

Rule 1: evaluating a batch changes no state. Its hits for this worker are parked under the batch's
number until `Advance` says that the batch counts.
Rule 2: a record cannot stop a worker: what is no event is a dead letter, what raises is tallied.
Rule 3: what an event counts counts only if the whole record was evaluated; what of it may be a missed
detection is noted as such in one place (`_count`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import signal
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from detectord.alerts import AlertFormat, AlertRecord
from detectord.alerts.formats import FORMATS
from detectord.alerts.settings import AlertSettings
from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule, RuleSet
from detectord.compiler.emit import Overflow
from detectord.engine.bounds import shortened
from detectord.engine.detection import Detection
from detectord.engine.detector import Detector, EngineSettings, Rank
from detectord.engine.hits import EventHits, renumbered
from detectord.engine.losses import OF_TALLY, Losses
from detectord.engine.state import StateError
from detectord.engine.tallies import Tallies
from detectord.eql.text import Scalar, string_of
from detectord.events.decode import DecodeError, decode, plain_event
from detectord.events.event import Event
from detectord.events.identity import renamed
from detectord.events.identity import sid as identity
from detectord.events.record import DeadLetter, Partition, Record
from detectord.events.trim import trim
from detectord.hits_topic import MOST_BYTES, PackedHits
from detectord.rules.rule import Rule
from detectord.runtime.profiler import Profiler
from detectord.runtime.protocol import (
    Advance,
    Barrier,
    Batch,
    Covered,
    Gauges,
    Message,
    Outcome,
    RankedAlert,
    Reply,
    Restore,
    Stop,
    Unreadable,
    unpack_entries,
)
from detectord.runtime.shelf import WorkerPipe

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[EventHits]).decode


_LAST_MS = (2**63 - 1) // 1_000_000
"""The last record timestamp (ms) whose nanoseconds fit 64 bits; others are as good as none."""

PLAIN = b" "
"""What the bytes of an event begin with that we wrote ourselves: they are just the event, in no envelope."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker must know. Sizes in bytes."""

    number: int
    workers: int
    engine: EngineSettings
    keyed: tuple[str, ...] = ()
    """Topics whose record key is said to be the host.id."""
    max_event_bytes: int = 1024 * 1024
    """A larger record is a dead letter."""
    held_event_bytes: int = 256 * 1024
    """A larger event is trimmed before a sequence holds it."""


class Worker:
    """The work of one process."""

    def __init__(
        self,
        rules: RuleSet,
        settings: WorkerSettings,
        alerts: AlertFormat,
        overflows: Mapping[str, Overflow] | None = None,
        profiler: Profiler | None = None,
    ) -> None:
        """`overflows`: by rule_id, what counts the conditions that were given up as too costly. `profiler`:
        what has wrapped the matchers of `rules`, if anything."""
        self._overflows = overflows or {}
        self._measured: Tallies = Counter()
        self._own: Tallies = Counter()
        """What one record counts, until it is certain that the record does."""
        self._losses = Losses()
        """What may have cost a detection in the batch."""
        self._events_tally = ("worker_events", str(settings.number))
        self._evaluate_one = self._evaluate_record
        if profiler is not None:
            self._evaluate_one = profiler.around(self._evaluate_record, self._measured.update)
        self._settings = settings
        self._alerts = alerts
        self._detector = Detector(rules, settings.engine, self._revive)
        self._epoch = 0
        self._kept: frozenset[int] | None = None
        self._parked: dict[int, list[EventHits]] = {}
        self._done: list[RankedAlert] = []

    def handle(self, message: Message) -> Reply | None:
        """Do what `message` says; an older epoch's messages are nothing any more."""
        if isinstance(message, Restore):
            return self._restore(message)
        if isinstance(message, Stop) or message.epoch != self._epoch:
            return None
        if isinstance(message, Batch):
            return self._evaluate(message)
        if isinstance(message, Barrier):
            return self._cover(message)
        self._advance(message)
        return None

    # --- batches --------------------------------------------------------------------------------

    def _evaluate(self, batch: Batch) -> Outcome:
        alerts: list[RankedAlert] = []
        spread: dict[int, list[EventHits]] = {}
        elsewhere: dict[int, list[EventHits]] = {}
        progress: dict[Partition, int] = {}
        dead: list[DeadLetter] = []
        tallies: Tallies = Counter()
        for chunk in batch.chunks:
            failed = len(dead)
            for offset, timestamp, arrival, key, value in zip(*chunk[2:], strict=True):
                known = timestamp if 0 <= timestamp <= _LAST_MS else None
                record = Record(chunk.topic, chunk.partition, offset, known, key, value, arrival)
                found = self._evaluate_one(record, batch.now, progress, tallies)
                if isinstance(found, DeadLetter):
                    tallies["dead_letter", found.reason] += 1
                    dead.append(found)
                    continue
                alerts.extend(found[0])
                for hits in found[1]:
                    if self._kept is None or hits.partition in self._kept:
                        spread.setdefault(hits.partition % self._settings.workers, []).append(hits)
                    else:
                        elsewhere.setdefault(hits.partition, []).append(hits)
            tallies["decoded", chunk.topic] += len(chunk.values) - (len(dead) - failed)
        away = [(state, _packed(hits, tallies, self._losses)) for state, hits in elsewhere.items()]
        self._count_routes(spread, tallies)
        tallies.update(self._measured)
        self._measured.clear()
        for rule_id, overflow in self._overflows.items():
            if overflow.count:
                capped = ("combinations_capped", rule_id)
                tallies[capped] += overflow.count
                self._losses.note(capped, overflow.count, *_whereabouts(batch))
                overflow.count = 0
        local = spread.pop(self._settings.number, None)
        if local:
            self._parked[batch.number] = local
        return Outcome(
            self._settings.number,
            batch.epoch,
            batch.number,
            alerts,
            {worker: _pack(hits) for worker, hits in spread.items()},
            progress,
            dead,
            tallies,
            losses=self._take_losses(),
            away=away,
        )

    def _evaluate_record(
        self, record: Record, now: int, progress: dict[Partition, int], tallies: Tallies
    ) -> tuple[Sequence[RankedAlert], Sequence[EventHits]] | DeadLetter:
        """What the events of one record satisfy; nothing of a record that fails half-way is kept."""
        if len(record.value) <= self._settings.max_event_bytes:
            root = self._detector.narrowing.decode(record.value)
            if root is not None:
                return self._evaluate_narrow(root, record, now, progress, tallies)
        decoded = decode(record, max_bytes=self._settings.max_event_bytes)
        if isinstance(decoded, DeadLetter):
            return decoded
        alerts: list[RankedAlert] = []
        found_hits: list[EventHits] = []
        own = self._own
        own.clear()
        try:
            if record.topic in self._settings.keyed:
                self._check_key(record, decoded[0].values("host.id"), own)
            for event in decoded:
                self._note_progress(event, progress, own)
                detections, hits = self._detector.evaluate(event, own)
                alerts.extend(self._format(rank, detection, now, own) for rank, detection in detections)
                found_hits.extend(self._portable(hits, event, len(decoded) > 1))
        except Exception as error:  # a bug of ours; the next record is not to suffer for it
            return DeadLetter(record, "poison", f"{type(error).__name__}: {error}"[:200])
        if own:
            self._count(record, [event.time for event in decoded], tallies)
        tallies[self._events_tally] += len(decoded)
        return alerts, found_hits

    def _evaluate_narrow(
        self, root: msgspec.Struct, record: Record, now: int, progress: dict[Partition, int], tallies: Tallies
    ) -> tuple[Sequence[RankedAlert], Sequence[EventHits]] | DeadLetter:
        """As `_evaluate_record`, of a record that is a plain event."""
        narrowing, own = self._detector.narrowing, self._own
        own.clear()
        try:
            if record.topic in self._settings.keyed:
                self._check_key(record, narrowing.values(root, "host.id") or (), own)
            time, bad_timestamp = narrowing.time(root, record)
            self._note_time(time, bad_timestamp, record, progress, own)
            found = self._detector.evaluate_narrow(root, record, own)
            alerts: Sequence[RankedAlert] = ()
            hits: Sequence[EventHits] = ()
            if found is not None:
                event, detections, step_hits = found
                alerts = [self._format(rank, detection, now, own) for rank, detection in detections]
                hits = self._portable(step_hits, event, one_of_many=False)
        except DecodeError as error:  # seen only now that the whole document was needed
            return DeadLetter(record, error.reason, str(error))
        except Exception as error:  # as above
            return DeadLetter(record, "poison", f"{type(error).__name__}: {error}"[:200])
        if own:
            self._count(record, (time,), tallies)
        tallies[self._events_tally] += 1
        return alerts, hits

    def _count(self, record: Record, times: Iterable[int | None], tallies: Tallies) -> None:
        """Take over what a record counts; `times` are those of its events. It is of `_own`."""
        for tally, count in self._own.items():
            if tally[0] in OF_TALLY:
                known = [time for time in times if time is not None]
                place = record.topic, record.partition
                self._losses.note(tally, count, place, min(known, default=None), max(known, default=None))
        tallies.update(self._own)

    def _take_losses(self) -> Losses | None:
        """Those of the batch, None if there are none."""
        if not self._losses:
            return None
        losses, self._losses = self._losses, Losses()
        return losses

    def _check_key(self, record: Record, hosts: Iterable[Scalar], tallies: Tallies) -> None:
        """A key that is not what the source says it is costs balance only, but is to be seen."""
        key = (record.key or b"").decode("utf-8", "replace")
        if key not in map(string_of, hosts):
            tallies["key_violation", record.topic] += 1

    def _note_progress(self, event: Event, progress: dict[Partition, int], tallies: Tallies) -> None:
        """One fast clock must not carry the watermark away: an event counts at most as its record."""
        self._note_time(event.time, event.bad_timestamp, event.record, progress, tallies)

    def _note_time(
        self,
        time: int | None,
        bad_timestamp: bool,
        record: Record,
        progress: dict[Partition, int],
        tallies: Tallies,
    ) -> None:
        if bad_timestamp:
            tallies["bad_timestamp", record.topic] += 1
        if time is None:
            return
        timestamp = record.timestamp
        moment = time if timestamp is None else min(time, timestamp * 1_000_000)
        _advance_to(progress, (record.topic, record.partition), moment)

    def _count_routes(self, spread: Mapping[int, Sequence[EventHits]], tallies: Tallies) -> None:
        for owner, hits in spread.items():
            tallies["hits", "local" if owner == self._settings.number else "worker"] += len(hits)

    def _portable(self, hits: list[EventHits], event: Event, one_of_many: bool) -> list[EventHits]:
        """The hits with bytes that stand for this one event, within the size that state may hold."""
        limit, value = self._settings.held_event_bytes, event.record.value
        if not hits or not (one_of_many or len(value) > limit or value.startswith(PLAIN)):
            return hits
        document, _ = trim(event.document, limit)
        value = PLAIN + msgspec.json.encode(document)
        return [msgspec.structs.replace(own, value=value) if own.value else own for own in hits]

    # --- state ----------------------------------------------------------------------------------

    def _advance(self, message: Advance) -> None:
        arrived = self._parked.pop(message.through, []) if message.through is not None else []
        for packed in message.hits:
            arrived.extend(_unpack(packed))
        by_arrival = self._settings.engine.by_arrival
        for first, packed in message.heard:
            heard = enumerate(_unpack(packed), first)
            arrived.extend(renumbered(event, arrival, by_arrival=by_arrival) for arrival, event in heard)
        self._detector.receive(arrived)
        for rank, detection in self._detector.advance(message.watermark):
            failed: Tallies = Counter()
            self._done.append(self._format(rank, detection, message.now, failed))
            for tally, count in failed.items():
                self._detector.lose(tally, count, detection.events[-1].time)

    def _cover(self, barrier: Barrier) -> Covered:
        done, self._done = self._done, []
        detector = self._detector
        gauges = Gauges(detector.partials(), detector.held(), detector.size())
        return Covered(
            self._settings.number,
            barrier.epoch,
            barrier.number,
            done,
            detector.take_changes(),
            detector.take_tallies(),
            gauges,
            losses=detector.take_losses(),
        )

    def _restore(self, message: Restore) -> Unreadable | None:
        self._epoch = message.epoch
        self._kept = message.kept
        self._parked.clear()
        self._done.clear()
        try:
            # One partition after the other, so that only one is in memory twice
            entries = ((number, unpack_entries(own).items()) for number, own in message.entries.items())
            self._detector.restore(entries, message.watermark)
        except StateError as error:
            return Unreadable(self._settings.number, message.epoch, str(error))
        return None

    def _revive(self, record: Record, sid: str) -> Event:
        """The event that a partial refers to, decoded again from its bytes."""
        if record.value.startswith(PLAIN):
            event = plain_event(record)
        else:
            decoded = decode(record, max_bytes=len(record.value))
            assert not isinstance(decoded, DeadLetter), "a held event was decoded before"
            event = decoded[0]
        return event if shortened(identity(event)) == sid else renamed(event, sid)

    # --- alerts ---------------------------------------------------------------------------------

    def _format(self, rank: Rank, detection: Detection, now: int, tallies: Tallies) -> RankedAlert:
        """The alert's records; a detection that no alert can be made of is a bug, and counted as one."""
        records: Sequence[AlertRecord] = ()
        try:
            records = self._alerts(detection, now)
        except Exception as error:
            kind = f"alert:{type(error).__name__}"
            tallies["rule_error", detection.rule.rule.rule_id, kind] += 1
        last = detection.events[-1]
        timestamp = last.record.timestamp
        return RankedAlert(rank, records, last.time, None if timestamp is None else timestamp * 1_000_000)


class WorkerStart(NamedTuple):
    """What a worker process is started with. Rules come parsed; each worker emits its own matchers.
    `profile_every`: of so many events one is looked at for a profile; 0: there is none."""

    rules: tuple[Rule, ...]
    settings: WorkerSettings
    alert_format: str
    alert_settings: AlertSettings
    profile_every: int = 0


def serve(pipe: WorkerPipe, start: WorkerStart) -> None:
    """The life of a worker process: handle what comes until told to stop or the parent is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    overflows = {rule.rule_id: Overflow() for rule in start.rules}
    compiled = [compile_rule(rule, overflow=overflows[rule.rule_id]) for rule in start.rules]
    profiler = Profiler(start.profile_every, time.thread_time_ns) if start.profile_every else None
    if profiler is not None:
        compiled = [profiler.wrapped(rule, overflows[rule.rule.rule_id]) for rule in compiled]
    rules = RuleSet.of([_capped(rule, start.settings.engine.max_span) for rule in compiled])
    alerts = FORMATS[start.alert_format](start.alert_settings)
    worker = Worker(rules, start.settings, alerts, overflows, profiler)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            message = pipe.recv()
            if isinstance(message, Stop):
                return
            began = time.monotonic()
            reply = worker.handle(message)
            if isinstance(reply, Covered):
                reply = reply._replace(resident_bytes=_resident_bytes())
            if reply is not None:
                pipe.send(reply._replace(busy=time.monotonic() - began))


def _packed(hits: Iterable[EventHits], tallies: Tallies, losses: Losses) -> list[PackedHits]:
    """Hits for a state partition that another instance keeps, in pieces that fit its topic's records."""
    packs: list[PackedHits] = []
    piece: list[bytes] = []
    size = 0

    def close() -> None:
        nonlocal size
        if piece:
            packs.append(PackedHits(len(piece), _list_head(len(piece)) + b"".join(piece)))
            piece.clear()
            size = 0

    for event in hits:
        packed = _pack(event)
        if len(packed) > MOST_BYTES - _LIST_HEAD_BYTES:
            tallies[_TOO_LARGE] += len(event.hits)
            times = [hit.time for hit in event.hits]
            place = event.topic, event.source_partition
            losses.note(_TOO_LARGE, len(times), place, min(times), max(times))
            continue
        if size + len(packed) > MOST_BYTES - _LIST_HEAD_BYTES:
            close()
        piece.append(packed)
        size += len(packed)
        tallies["hits", "remote"] += 1
    close()
    return packs


_TOO_LARGE = ("hits_dropped", "too_large")
_LIST_HEAD_BYTES = 5


def _list_head(count: int) -> bytes:
    """How MessagePack begins a list of so many."""
    return b"\xdd" + count.to_bytes(4, "big")


def _capped(rule: CompiledRule, max_span: int | None) -> CompiledRule:
    """The rule with no longer a span than state may keep."""
    if max_span is None or rule.maxspan is None or rule.maxspan <= max_span:
        return rule
    return dataclasses.replace(rule, maxspan=max_span)


def _whereabouts(batch: Batch) -> tuple[Partition | None, int | None, int | None]:
    """The partition of a batch, if it is of one, and from when to when its records are: what can be told of
    an event that is not known."""
    chunks = batch.chunks
    place = (chunks[0].topic, chunks[0].partition) if len(chunks) == 1 else None
    stamps = (stamp for chunk in chunks for stamp in chunk.timestamps)
    known = [stamp for stamp in stamps if stamp is not None and 0 <= stamp <= _LAST_MS]
    if not known:
        return place, None, None
    return place, min(known) * 1_000_000, max(known) * 1_000_000


def _advance_to(progress: dict[Partition, int], partition: Partition, moment: int) -> None:
    progress[partition] = max(moment, progress.get(partition, moment))


def _resident_bytes() -> int:
    """The memory this process has, 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()
