"""The supervisor: reads, shards, advances event time, commits. It evaluates nothing.

Theory of operation. Records are read in batches, numbered, and sorted to the workers, which evaluate
them and answer with outcomes. A batch counts when all its outcomes are in and every batch before it
counted: then its hits go to the workers that keep the state they concern, the watermark moves, and
its alerts are pending. At a commit point a barrier is sent to every worker; their answers hold the
sequence alerts and the state changes of exactly the batches that counted before it. Then one commit:
alerts and dead letters delivered, positions stored, state changes taken over.

Over a transactional sink this instance is one of several (`share`): it keeps the state partitions that the
group gave it. State changes leave in the commit, too, with hits for the others and all that a successor
needs; what others have for us is read like any input.

Rule 1: what a barrier covers is delivered and acknowledged, nothing else. At most one barrier is on its
way; reading and evaluating go on meanwhile.
Rule 2: an epoch ends with any loss: a worker's death, a change of the assignment. Everything that is
not committed is forgotten, everywhere; every worker is given the state of the last committed barrier,
the source goes back to its positions. A reply of an older epoch is not read. What follows a worker's death
goes in small steps, until it is known whether a record kills workers (`trial`).
Rule 3: this loop never blocks on a worker: sending only queues, and every wait has a bound.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from detectord.engine.losses import Losses
from detectord.engine.state import StateChange, StateError
from detectord.engine.tallies import Tallies
from detectord.engine.watermark import END_OF_TIME, Told, Watermark
from detectord.events.record import DeadLetter, Partition, Record
from detectord.hits_topic import PackedHits
from detectord.runtime.coverage import Ledger
from detectord.runtime.protocol import (
    Advance,
    Barrier,
    Batch,
    Chunk,
    Covered,
    Death,
    Outcome,
    RankedAlert,
    Restore,
    Unreadable,
    pack_entries,
)
from detectord.runtime.seams import Clock, Commit, Observer, Pool
from detectord.runtime.sharding import Router
from detectord.runtime.share import Share
from detectord.runtime.standing import Standing, State
from detectord.runtime.trial import DEATHS, Place, Trial
from detectord.sinks import DeliveryError, Outputs, PositionsRefusedError, Sink
from detectord.sources import Gap, Source

STALLED_TICKS = 10
"""Ticks that may be missed before the loop counts as held up."""
MS = 1_000_000
SECOND = 1_000 * MS


class CrashLoopError(Exception):
    """Workers keep dying and nothing gets done: exit 70."""


class DrainTimeoutError(Exception):
    """The work in flight could not be finished in time: exit 75."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of the loop. Times in nanoseconds; `commit_interval` None: commit by bounds only, which
    makes the order of the output a function of the input (replay)."""

    partitions: int = 64
    commit_interval: int | None = 500 * MS
    batch_records: int = 1_000
    commit_records: int = 50_000
    commit_bytes: int = 16 * 1024 * 1024
    max_in_flight_bytes: int = 16 * 1024 * 1024
    worker_deadline: int = 60 * SECOND
    max_restarts: int = 5
    delivery_attempts: int = 4
    tick: int = 200 * MS
    drain_timeout: int = 45 * SECOND
    poll_wait: float = 0.05


@dataclass(slots=True)
class _InFlight:
    """A batch whose outcomes are not all in."""

    number: int
    awaiting: set[int]
    positions: dict[Partition, int]
    size: int
    records: dict[str, tuple[int, int]]
    outcomes: list[Outcome] = field(default_factory=list)
    heard: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    """Hits of other instances, by worker, each with the number of its first event."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    """Records that are not evaluated again."""
    asked: Mapping[int, Sequence[Chunk]] = field(default_factory=dict)
    """What each worker was asked to evaluate, while it has to be known."""
    told: list[tuple[int, Mapping[Partition, Told]]] = field(default_factory=list)
    """What state partitions were told of inputs read elsewhere."""

    def places(self, worker: int) -> Iterator[Place]:
        """The records that a worker was asked to evaluate, while that has to be known."""
        for chunk in self.asked.get(worker, ()):
            for offset in chunk.offsets:
                yield chunk.topic, chunk.partition, offset


@dataclass(slots=True)
class _Pending:
    """What counted since the last barrier."""

    alerts: list[RankedAlert] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    positions: dict[Partition, int] = field(default_factory=dict)
    records: dict[str, tuple[int, int]] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Counter)
    away: dict[int, list[PackedHits]] = field(default_factory=dict)
    losses: Losses = field(default_factory=Losses)
    gaps: list[Gap] = field(default_factory=list)
    busy: dict[int, float] = field(default_factory=dict)
    count: int = 0
    size: int = 0
    is_evaluated: bool = False
    """True if workers have evaluated records of it."""
    touched: bool = False
    """True if anything was advanced, so that workers may have something to hand over."""

    def worked(self, reply: Outcome | Covered) -> None:
        """Add the time a worker spent on a reply, and what was lost in its work."""
        self.busy[reply.worker] = self.busy.get(reply.worker, 0.0) + reply.busy
        if reply.losses is not None:
            self.losses.join(reply.losses)


@dataclass(slots=True)
class _AtBarrier:
    """A barrier on its way, and what it covers."""

    number: int
    pending: _Pending
    watermark: Watermark
    reached: int | None
    arrivals: int
    own: Mapping[Partition, Told]
    awaiting: set[int]
    answers: list[Covered] = field(default_factory=list)


class Supervisor:
    """Runs the loop over a source, a pool of workers and a sink."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        pool: Pool,
        router: Router,
        watermark: Watermark,
        clock: Clock,
        observer: Observer,
        settings: Settings,
        ledger: Ledger | None = None,
        share: Share | None = None,
    ) -> None:
        """`share`: what this instance keeps of the state, over a transactional sink; None: everything, in
        memory."""
        self._source = source
        self._sink = sink
        self._pool = pool
        self._router = router
        self._clock = clock
        self._observer = observer
        self._settings = settings
        self._share = share
        self.epoch = 0
        self.stopping = False
        self.finished = False
        self.restarts = 0
        self.last_step = clock.monotonic()
        self.last_commit = clock.monotonic()
        self.committed: dict[Partition, int] = {}
        self._state: State = {}
        self.holding = (0, 0)
        self.ledger = ledger if ledger is not None else Ledger()
        self._arrivals = 0
        self._batches = 0
        self._barriers = 0
        self._ticked = clock.monotonic()
        self._at_end: frozenset[Partition] = frozenset()
        self._timeless: frozenset[Partition] = frozenset()
        """Partitions whose records lately told no event time."""
        self._watermark = watermark
        self._reached: int | None = None
        self._committed_watermark: tuple[Watermark, int | None] = (watermark.snapshot(), None)
        self._owed: dict[int, int] = dict.fromkeys(range(pool.size), 0)
        self._waiting_since: dict[int, int] = {}
        self._in_flight: dict[int, _InFlight] = {}
        self._in_flight_bytes = 0
        self._pending = _Pending()
        self._barrier: _AtBarrier | None = None
        self._ended = False
        self._closing = False
        self._trial = Trial(settings.batch_records)
        self._is_settled = True
        """False after a loss, until a barrier has shown that every worker is done with going back."""
        self._put_back: list[Record] = []
        """Read, and not dispatched: they wait behind a suspect."""
        self._is_behind = False
        self._caught_up_at = 0

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the input ends or `stop` is called and everything in flight is committed.

        Raises:
            DeliveryError: the outputs could not be delivered; nothing more was acknowledged.
            CrashLoopError: workers keep dying.
            DrainTimeoutError: after `stop`, the work in flight was not done in time.
            EndedError: the sink commits no more.
            StateError: the state that was read back, or what others say, cannot be read by this build.
        """
        deadline: int | None = None
        while not self.finished:
            if self.stopping and deadline is None:
                deadline = self._clock.monotonic() + self._settings.drain_timeout
            if deadline is not None and self._clock.monotonic() > deadline:
                raise DrainTimeoutError(f"{len(self._in_flight)} batches were not done in time")
            self.step()

    def stop(self) -> None:
        """Read no more; finish and commit what is in flight."""
        self.stopping = True

    @property
    def is_idle(self) -> bool:
        """True if nothing is in flight and nothing waits for a commit."""
        return not self._is_dirty()

    def progress(self) -> Mapping[Partition, int]:
        """Per input partition the newest event time (ns) that counted."""
        return self._watermark.progress

    def step(self) -> None:
        """One turn of the loop."""
        self.last_step = self._clock.monotonic()
        got_records = self._read()
        self._listen(0.0 if got_records else self._patience())
        self._pass_time()
        self._send_barrier_if_due()
        self._replace_hanging()
        self._end_if_done()
        self._observer.turned()

    def _patience(self) -> float:
        """How long to wait for workers: not at all when the source was waited for already."""
        return 0.01 if self._in_flight or self._barrier else 0.0

    # --- reading --------------------------------------------------------------------------------

    def _read(self) -> bool:
        """Take records and hand them to the workers; whether there were any."""
        settings = self._settings
        blocked = self.stopping or self._in_flight_bytes >= settings.max_in_flight_bytes
        busy = bool(self._in_flight or self._barrier)
        if self._trial.is_on and (busy or self._pending.positions or not self._is_settled):
            blocked = True
        limit = 0 if blocked or self._ended or self._put_back else self._trial.step
        poll = self._source.poll(limit, settings.poll_wait if limit and not busy else 0.0)
        # Who was not asked cannot be at the end: a source that is held back is not idle.
        self._at_end = poll.at_end if limit else frozenset()
        if (poll.rebalanced or poll.left) and self._reassigned(poll.left):
            return True
        if poll.gaps:
            self._pending.gaps += poll.gaps
            self._pending.touched = True
        if poll.finished:
            self._ended = True
        records = poll.records
        if self._put_back and not blocked:
            records = self._put_back[: self._trial.step]
            del self._put_back[: self._trial.step]
        if records:
            self._dispatch(self._without_suspects(records))
        self._look_whether_caught_up()
        return bool(records)

    def _without_suspects(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records before the first suspect, or the suspect alone; what is behind waits for its turn. What
        other instances say is evaluated by nobody, and does not wait."""
        if not self._trial.is_on:
            return records
        share = self._share
        heard = [record for record in records if share is not None and share.is_heard(record)]
        own = [record for record in records if share is None or not share.is_heard(record)]
        first = next((i for i, record in enumerate(own) if self._trial.is_suspect(record)), len(own))
        end = max(first, 1)
        self._put_back[:0] = own[end:]
        return [*heard, *own[:end]]

    def _reassigned(self, left: frozenset[Partition]) -> bool:
        """The group has shared its partitions out anew; whether everything begins anew for it."""
        # What left may have been read on elsewhere; if it comes back, its own start is right.
        stays = self._source.assignment() - left
        self.committed = {p: offset for p, offset in self.committed.items() if p in stays}
        self._trial.keep(stays)
        if self._share is not None:
            self._take_share(self._share, left)
        elif not self._is_dirty():
            return False
        self._rewind("rebalance")
        return True

    def _take_share(self, share: Share, left: frozenset[Partition]) -> None:
        """Forget the state partitions that left, take those that came as they were committed."""
        lost, restored = share.reassigned(left)
        for number in lost:
            self._state.pop(number, None)
        self._state.update(restored.state)
        standings = restored.standings
        self._arrivals = max([self._arrivals, *(each.arrivals for each in standings.values())])
        watermark, _ = self._committed_watermark
        told = {number: watermark.heard(number) for number in share.kept - standings.keys()}
        told |= {number: standing.progress() for number, standing in standings.items()}
        watermark.keep(told, share.all_inputs())
        self._committed_watermark = (watermark, None)

    def _look_whether_caught_up(self) -> None:
        """Event time may move again as soon as everything read so far counts."""
        if self._is_behind and self._share is not None and self._share.has_caught_up():
            self._is_behind = False
            self._caught_up_at = self._batches
            self._let_time_move()

    def _let_time_move(self) -> None:
        first = next(iter(self._in_flight), self._batches)
        self._watermark.hold(self._is_behind or first < self._caught_up_at)

    def _hear(self, share: Share, batch: _InFlight, records: Sequence[Record]) -> list[Record]:
        """Take what other instances say out of `records`."""
        rest = []
        for record in records:
            if not share.is_heard(record):
                rest.append(record)
                continue
            words = share.hear(record)
            for events, packed in words.hits:
                worker = record.partition % self._pool.size
                batch.heard.setdefault(worker, []).append((self._arrivals, packed))
                batch.size += len(packed)
                self._arrivals += events
            batch.told.append((record.partition, words.progress()))
            batch.positions[record.topic, record.partition] = record.offset + 1
        return rest

    def _dispatch(self, records: Sequence[Record]) -> None:
        """Begin a batch: hand the records to the workers, take note of what other instances say."""
        batch = _InFlight(self._batches, set(), {}, 0, {})
        if self._share is not None:
            records = self._hear(self._share, batch, records)
        records = self._without_convicted(batch, records)
        chunks = self._sorted(batch, records) if records else {}
        self._batches += 1
        self._in_flight[batch.number] = batch
        self._in_flight_bytes += batch.size
        now = self._clock.now() // MS
        for worker, own_chunks in chunks.items():
            batch.awaiting.add(worker)
            self._ask(worker, Batch(self.epoch, batch.number, now, tuple(own_chunks)))
        if self._trial.is_on:
            batch.asked = chunks
        self._count_done()

    def _without_convicted(self, batch: _InFlight, records: Sequence[Record]) -> Sequence[Record]:
        """Records that are not known to kill workers; the others are dead letters of the batch."""
        convicted = [record for record in records if self._trial.is_convicted(record)]
        for record in convicted:
            batch.positions[record.topic, record.partition] = record.offset + 1
            batch.dead_letters.append(DeadLetter(record, "poison", f"it killed a worker {DEATHS} times"))
            count, size = batch.records.get(record.topic, (0, 0))
            batch.records[record.topic] = (count + 1, size + len(record.value))
        return [record for record in records if record not in convicted] if convicted else records

    def _sorted(self, batch: _InFlight, records: Sequence[Record]) -> dict[int, list[Chunk]]:
        """The records by worker, as columns; whatever can be is done by column, not by record."""
        topics, partitions, offsets, times, keys, values, _ = zip(*records, strict=True)
        sorted_: defaultdict[tuple[int, str, int], list[int]] = defaultdict(list)
        workers = self._router.workers(records)
        for index, place in enumerate(zip(workers, topics, partitions, strict=True)):
            sorted_[place].append(index)
        first = self._arrivals
        self._arrivals += len(records)
        chunks: dict[int, list[Chunk]] = {}
        for (worker, topic, partition), own in sorted_.items():
            chunk = Chunk(
                topic,
                partition,
                array("q", [offsets[i] for i in own]),
                _moments([times[i] for i in own]),
                array("q", [first + i for i in own]),
                [keys[i] for i in own],
                [values[i] for i in own],
            )
            chunks.setdefault(worker, []).append(chunk)
            position = chunk.offsets[-1] + 1
            known = batch.positions.get((topic, partition), position)
            batch.positions[topic, partition] = max(position, known)
            size = sum(map(len, chunk.values))
            batch.size += size + sum(map(len, filter(None, chunk.keys)))
            count, total = batch.records.get(topic, (0, 0))
            batch.records[topic] = (count + len(own), total + size)
        return chunks

    # --- listening ------------------------------------------------------------------------------

    def _listen(self, timeout: float) -> None:
        for reply in self._pool.receive(timeout):
            if isinstance(reply, Death):
                self._bury(reply)
            elif isinstance(reply, Unreadable):
                raise StateError(reply.error)
            elif reply.epoch == self.epoch:
                self._heard(reply.worker)
                if isinstance(reply, Outcome):
                    self._take_outcome(reply)
                else:
                    self._take_covered(reply)

    def _take_outcome(self, outcome: Outcome) -> None:
        batch = self._in_flight[outcome.number]
        batch.awaiting.discard(outcome.worker)
        batch.outcomes.append(outcome)
        self._trial.survived(batch.places(outcome.worker))
        self._count_done()

    def _count_done(self) -> None:
        while self._in_flight:
            first = next(iter(self._in_flight.values()))
            if first.awaiting:
                return
            del self._in_flight[first.number]
            self._count(first)

    def _count(self, batch: _InFlight) -> None:
        """A batch counts from now on: forward its hits, move event time, keep its alerts."""
        self._in_flight_bytes -= batch.size
        progress: dict[Partition, int] = {}
        hits: dict[int, list[bytes]] = {}
        pending = self._pending
        for letter in batch.dead_letters:
            pending.tallies["dead_letter", letter.reason] += 1
            pending.size += len(letter.record.value)
        pending.dead_letters.extend(batch.dead_letters)
        pending.is_evaluated = pending.is_evaluated or bool(batch.outcomes)
        for outcome in batch.outcomes:
            for partition, time in outcome.progress.items():
                progress[partition] = max(time, progress.get(partition, time))
            for worker, packed in outcome.hits.items():
                hits.setdefault(worker, []).append(packed)
            for state, packs in outcome.away:
                pending.away.setdefault(state, []).extend(packs)
                pending.size += sum(len(each.packed) for each in packs)
            pending.alerts.extend(outcome.alerts)
            pending.dead_letters.extend(outcome.dead_letters)
            pending.size += sum(len(letter.record.value) for letter in outcome.dead_letters)
            pending.tallies.update(outcome.tallies)
            pending.worked(outcome)
            pending.size += sum(len(a.value) for alert in outcome.alerts for a in alert.records)
        for topic, (count, size) in batch.records.items():
            records, total = pending.records.get(topic, (0, 0))
            pending.records[topic] = (records + count, total + size)
            pending.count += count
        pending.positions.update(batch.positions)
        for state, told in batch.told:
            self._watermark.hear(state, told)
        self._let_time_move()
        self._timeless = (self._timeless | batch.positions.keys()) - progress.keys()
        self._reached = self._watermark.advanced(progress)
        self._advance(batch.number, hits, batch.heard)

    def _advance(
        self,
        through: int | None,
        hits: Mapping[int, Sequence[bytes]],
        heard: Mapping[int, Sequence[tuple[int, bytes]]],
    ) -> None:
        now = self._clock.now() // MS
        for worker in range(self._pool.size):
            found, told = tuple(hits.get(worker, ())), tuple(heard.get(worker, ()))
            self._pool.send(worker, Advance(self.epoch, through, now, self._reached, found, told))
        self._pending.touched = True

    def _pass_time(self) -> None:
        """Tell event time that time passes, and the workers if it moved and they hold anything."""
        now = self._clock.monotonic()
        waited = now - self._ticked
        if waited < self._settings.tick or self.stopping:
            return
        self._ticked = now
        if waited > STALLED_TICKS * self._settings.tick:
            self._at_end = frozenset()  # we were held up; what came meanwhile has not been seen
        busy = {partition for batch in self._in_flight.values() for partition in batch.positions}
        self._let_time_move()
        self._watermark.assign(self._inputs())
        # What tells no time for long (records that are no events) must not hold it back; nor does it move it,
        # as nobody knows how far behind their records the events of a partition are.
        reached = self._watermark.ticked((self._at_end - busy) | self._timeless, now)
        if reached != self._reached:
            self._reached = reached
            if any(self.holding) or self._pending.touched:
                self._advance(None, {}, {})
        if self._has_news():
            self._pending.touched = True

    def _has_news(self) -> bool:
        """True if others are to be told of our inputs."""
        share = self._share
        return share is not None and not share.is_whole() and self._watermark.own() != share.told

    # --- committing -----------------------------------------------------------------------------

    def _send_barrier_if_due(self) -> None:
        pending, settings = self._pending, self._settings
        if self._barrier is not None or not (pending.touched or self._ledger_is_due()):
            return
        interval = settings.commit_interval
        due = (
            pending.count >= settings.commit_records
            or pending.size >= settings.commit_bytes
            or (interval is not None and self._clock.monotonic() - self.last_commit >= interval)
            or (not self._in_flight and (self.stopping or self._closing or self._trial.is_on))
        )
        if not due:
            return
        self._barriers += 1
        everyone = set(range(self._pool.size))
        self._barrier = _AtBarrier(
            self._barriers,
            pending,
            self._watermark.snapshot(),
            self._reached,
            self._arrivals,
            self._watermark.own(),
            everyone,
        )
        self._pending = _Pending()
        for worker in sorted(everyone):
            self._ask(worker, Barrier(self.epoch, self._barriers))

    def _ledger_is_due(self) -> bool:
        """True if the ledger alone is worth a commit; at the end it is while anything is open. Not before
        there are partitions: the first assignment would undo it."""
        if self.ledger.is_open and self._is_last():
            return True
        return self.ledger.is_due(self._clock.now()) and bool(self._source.assignment())

    def _take_covered(self, answer: Covered) -> None:
        barrier = self._barrier
        assert barrier is not None, "an answer to no barrier"
        barrier.awaiting.discard(answer.worker)
        barrier.answers.append(answer)
        if barrier.awaiting:
            return
        try:
            self._commit(barrier)
        except PositionsRefusedError as error:
            # Our partitions may be another's by now. What was delivered will be delivered again.
            self._take_setback(str(error))
            self._rewind("commit refused")
        else:
            self._barrier = None
            self._is_settled = True

    def _commit(self, barrier: _AtBarrier) -> None:
        """Deliver and acknowledge what the barrier covers, then take over its state."""
        began = self._clock.monotonic()
        pending = barrier.pending
        alerts = [*pending.alerts, *(alert for answer in barrier.answers for alert in answer.alerts)]
        alerts.sort(key=lambda alert: alert.rank)  # however the work was shared out
        for answer in barrier.answers:
            pending.tallies.update(answer.tallies)
            pending.worked(answer)
        ledger, told = self.ledger.after(
            pending.losses,
            self._clock.now(),
            dead_letters=pending.dead_letters,
            gaps=pending.gaps,
            ending=self._is_last(),
        )
        outputs = Outputs(
            [record for alert in alerts for record in alert.records],
            pending.dead_letters,
            ledger=told,
        )
        moved = {p: offset for p, offset in pending.positions.items() if self.committed.get(p) != offset}
        share = self._share
        if share is not None:
            away = share.words(pending.away, barrier.own)
            outputs = outputs._replace(changes=self._leaving(share, barrier), away=away)
        if any(outputs) or moved:
            self._deliver(outputs, moved if share is None else share.fenced(moved, self.committed))
        if share is not None:
            share.told.update(barrier.own)
        self.committed.update(moved)
        for answer in barrier.answers:
            self._take_over(answer.changes)
        found, self.ledger = ledger.counted_since(self.ledger), ledger
        self._committed_watermark = (barrier.watermark, barrier.reached)
        self.holding = (
            sum(a.gauges.held for a in barrier.answers),
            sum(sum(a.gauges.partials.values()) for a in barrier.answers),
        )
        if moved:
            self.restarts = 0
            self._trial.committed(moved, is_harmless=pending.is_evaluated)
        self.last_commit = self._clock.monotonic()
        self._observer.committed(
            Commit(
                outputs,
                moved,
                pending.records,
                pending.tallies,
                {answer.worker: answer.gauges for answer in barrier.answers},
                pending.busy,
                {answer.worker: answer.resident_bytes for answer in barrier.answers},
                barrier.reached,
                began,
                self.last_commit,
                [(alert.happened, alert.ingested) for alert in alerts],
                ledger,
                found,
            )
        )

    def _leaving(self, share: Share, barrier: _AtBarrier) -> list[StateChange]:
        """The state changes of a barrier, and where the state partitions stand that it touched."""
        changes = [change for answer in barrier.answers for change in answer.changes]
        touched = {change.partition for change in changes}
        touched |= {n for n in share.kept if share.partition(n) in barrier.pending.positions}
        positions = {**self.committed, **barrier.pending.positions}
        inputs = {p: positions[p] for p in share.inputs(positions)}
        for number in sorted(touched):
            own = {p: positions[p] for p in (share.partition(number),) if p in positions}
            standing = Standing.of(barrier.arrivals, barrier.watermark.heard(number), {**inputs, **own})
            changes.append(standing.change(number))
        return changes

    def _deliver(self, outputs: Outputs, positions: Mapping[Partition, int]) -> None:
        """Commit to the sink. A broker that is away is given time: to end would cost every half-done
        sequence."""
        for attempt in range(1, self._settings.delivery_attempts + 1):
            try:
                self._sink.commit(outputs, positions)
            except PositionsRefusedError:
                raise
            except DeliveryError as error:
                self._observer.delivery_failed(outputs, str(error), attempt)
                if attempt == self._settings.delivery_attempts:
                    raise
            else:
                return

    def _take_over(self, changes: Iterable[StateChange]) -> None:
        for partition, key, value in changes:
            entries = self._state.setdefault(partition, {})
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value

    # --- losses ---------------------------------------------------------------------------------

    def _bury(self, death: Death) -> None:
        self._observer.restarted(death.worker, death.reason, death.detail)
        is_explained = self._trial.died(
            [
                place
                for batch in self._in_flight.values()
                if death.worker in batch.awaiting
                for place in batch.places(death.worker)
            ]
        )
        if not is_explained:
            self._take_setback(f"worker {death.worker} died ({death.reason})")
        self._pool.replace(death.worker)
        self._rewind(death.reason)

    def _take_setback(self, what: str) -> None:
        """One more loss without progress in between; too many end the instance."""
        self.restarts += 1
        if self.restarts > self._settings.max_restarts:
            raise CrashLoopError(f"{what}; {self.restarts} losses without progress")

    def _rewind(self, reason: str) -> None:
        """Begin a new epoch at the last committed barrier."""
        self.epoch += 1
        snapshot, self._reached = self._committed_watermark
        self._watermark = snapshot.snapshot()
        self._forget_uncommitted()
        self._restore_workers()
        self._at_end = self._timeless = frozenset()
        self._source.seek(self.committed)
        self._begin_share()
        self._is_settled = False
        self._pending.touched = self._pending.touched or self._trial.is_on
        self._observer.rewound(reason, dict(self.committed))

    def _begin_share(self) -> None:
        """A new epoch has begun: which inputs are read here, whether hits are still to be read."""
        share = self._share
        self._watermark.assign(self._inputs())
        if share is None:
            return
        share.rewound()
        self._is_behind, self._caught_up_at = True, 0
        self._look_whether_caught_up()
        self._let_time_move()
        # What was read back may wait for nothing but time, and what we hold is to be counted anew.
        self._pending.touched = True

    def _inputs(self) -> frozenset[Partition]:
        """The input partitions that are read here."""
        assigned = self._source.assignment()
        return assigned if self._share is None else self._share.inputs(assigned)

    def _restore_workers(self) -> None:
        for worker in range(self._pool.size):
            entries = {
                partition: pack_entries(own)
                for partition, own in self._state.items()
                if partition % self._pool.size == worker
            }
            kept = None if self._share is None else self._share.kept
            self._pool.send(worker, Restore(self.epoch, self._reached, entries, kept))

    def _forget_uncommitted(self) -> None:
        self._put_back.clear()
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._pending = _Pending()
        self._barrier = None
        self._ended = False
        self._closing = False
        self._owed = dict.fromkeys(range(self._pool.size), 0)
        self._waiting_since.clear()

    def _is_dirty(self) -> bool:
        return bool(self._put_back or self._in_flight or self._barrier or self._pending.touched)

    def _ask(self, worker: int, message: Batch | Barrier) -> None:
        """Send what will be answered."""
        if not self._owed[worker]:
            self._waiting_since[worker] = self._clock.monotonic()
        self._owed[worker] += 1
        self._pool.send(worker, message)

    def _heard(self, worker: int) -> None:
        self._owed[worker] -= 1
        if self._owed[worker]:
            self._waiting_since[worker] = self._clock.monotonic()
        else:
            self._waiting_since.pop(worker, None)

    def _replace_hanging(self) -> None:
        late = self._clock.monotonic() - self._settings.worker_deadline
        for worker, since in list(self._waiting_since.items()):
            if since < late:
                self._waiting_since[worker] = self._clock.monotonic()
                self._pool.kill(worker, "hang")

    # --- the end --------------------------------------------------------------------------------

    def _end_if_done(self) -> None:
        """A finite input that was read whole: event time ends, then everything is committed."""
        if self._in_flight or self._barrier or (self._put_back and not self.stopping):
            return
        if self._ended and not self._closing and not self.stopping:
            self._closing = True
            self._reached = END_OF_TIME
            self._advance(None, {}, {})
        elif self._is_last() and not self.ledger.is_open:
            self.finished = True

    def _is_last(self) -> bool:
        """True if nothing is left to be evaluated or advanced."""
        ends = self._closing or self.stopping
        return ends and not self._in_flight and not self._pending.touched


def _moments(times: Sequence[int | None]) -> array[int]:
    """Timestamps as a chunk has them."""
    try:
        return array("q", times)  # type: ignore[arg-type]  # mostly all are known
    except TypeError:
        return array("q", [-1 if time is None else time for time in times])
