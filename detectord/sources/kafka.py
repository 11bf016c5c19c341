"""Records from Kafka topics, as one member of a consumer group.

Rule 1: where a partition is read is decided here and nowhere else. The client's own reset is off:
every partition is started at an explicit offset, and an offset the broker no longer has is a gap,
which is told and never jumped over in silence.
Rule 2: `_position` is the truth: the partitions that are read, and of each the offset after the last
record handed out. A record of any other partition is dropped, whatever the client had fetched.
Rule 3: no callback of the client talks to the broker. It notes what changed; the next poll acts.

A partition that the group gives us first *waits*. The next poll asks for its committed position; if
there is none, the configured start is resolved to an offset once, remembered, and committed at
once: otherwise a crash before the first commit would, with `latest`, skip what arrived in between.
Only then is the partition handed to the client, and `rebalanced` told. If the broker cannot answer,
the partition goes on waiting, and polling goes on.

Moving to other positions takes all partitions away from the client and gives them back with their
offsets: the client then drops what it had prefetched, and (unlike its seek) this works in every state
a partition can be in, also after it ran into a gap. A paused partition stays paused.

The client tells the end of a partition once. Whoever is cut off from the broker hears of no more records,
either, so the end is told on only as long as the broker confirms it: silence is not an end.

Back-pressure is a caller that polls with limit 0. For `pause_after` seconds nothing is asked of the
client; then the partitions are paused, so that a rebalance or an error queued behind prefetched
records gets through. Pausing throws the prefetched records away, hence the delay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from detectord.events.record import Partition, Positions, Record
from detectord.kafka import EventHook, KafkaSettings, describe, ignore
from detectord.sources import Gap, Poll, SourceError

ANSWER_SECONDS = 2.0
"""How long one poll waits for the broker to tell positions."""

AGAIN_SECONDS = 1.0
"""How long to leave the broker alone after it could not tell them."""

CONFIRM_SECONDS = 2.0
"""How often the broker is asked whether a partition we have read to its end still ends there."""

CONFIRM_WAIT_SECONDS = 0.5
"""How long one poll waits for that."""

WAKE_SECONDS = 0.1
"""How long resuming may take when the broker is away."""

_GAP_ERRORS = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION})


class KafkaSource:
    """Topics read as a member of the group `settings.group`.

    `start` is where a partition begins for which the group has no position: `latest`, `earliest`,
    or an ISO 8601 time (UTC unless it says otherwise), meaning the first record stored at or after
    it.

    Events told to `on_event`: source.started (the partitions with their offsets), source.revoked,
    source.lost, source.gap, and the errors of `detectord.kafka.describe`.

    Raises:
        ValueError: `start` is none of these.
        SourceError: the client refuses its settings.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        *,
        start: str = "latest",
        on_event: EventHook = ignore,
        pause_after: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured_start = _start_offset(start)
        self._on_event = on_event
        self._pause_after = pause_after
        self._clock = clock
        self._gaps: list[Gap] = []
        self._position: dict[Partition, int] = {}
        self._first: dict[Partition, int] = {}
        self._counts: dict[str, int] = {}
        self._waiting: set[Partition] = set()
        self._broken: set[Partition] = set()
        self._at_end: set[Partition] = set()
        self._continued: frozenset[Partition] = frozenset()
        self._confirm_at = 0.0
        self._ask_at = 0.0
        self._polled_at = clock()
        self._paused = False
        self._rebalanced = False
        self._left: set[Partition] = set()
        self._joined = False
        self._topics = list(topics)
        self._partitions: frozenset[Partition] = frozenset()
        self._fatal: KafkaError | None = None
        client = settings.consumer()
        self._cooperative = "cooperative" in str(client["partition.assignment.strategy"])
        try:
            self._consumer = Consumer(
                {**client, "error_cb": self._on_error}, logger=logging.getLogger("detectord.kafka")
            )
        except (KafkaException, TypeError, ValueError) as e:
            raise SourceError(f"the Kafka consumer cannot be set up: {e}") from e

    # The Source protocol.

    def poll(self, limit: int, timeout: float) -> Poll:
        """The next records; see `Source.poll`. A broker that is away brings no records and no error.

        Raises:
            SourceError: the client met an error it cannot recover from, such as another instance
                that took over our name in the group.
        """
        if not self._joined:
            self._join()
        self._answer()
        try:
            messages = self._take(limit, timeout) if limit > 0 else self._serve(timeout)
        except KafkaException as e:
            self._on_error(e.args[0])
            messages = []
        records = self._records(messages)
        if self._fatal is not None:
            raise SourceError(f"the Kafka consumer cannot go on: {self._fatal.str()}")
        rebalanced, self._rebalanced = self._rebalanced, False
        left, self._left = frozenset(self._left), set()
        gaps, self._gaps = tuple(self._gaps), []
        return Poll(records, self._ends(), rebalanced, left=left, gaps=gaps)

    def assignment(self) -> frozenset[Partition]:
        """The partitions read now; those whose start is not known yet are not among them."""
        return frozenset(self._position)

    def partitions(self) -> frozenset[Partition]:
        """See `GroupSource.partitions`; as the broker told when the last partitions came."""
        return self._partitions | self._position.keys()

    def position(self, partition: Partition) -> int:
        """See `GroupSource.position`."""
        return self._position[partition]

    def seek(self, positions: Positions) -> None:
        """Read on exactly at `positions`; see `Source.seek`. Positions of partitions that are not
        assigned are ignored: those start at their committed position when they come back.

        Raises:
            SourceError: the client refuses to move.
        """
        self._move({p: positions.get(p, self._first[p]) for p in self._position})

    def close(self) -> None:
        """Close the client. As a static member it stays in the group until its session times out,
        so that a restart in time moves no partition."""
        self._consumer.close()
        self._position.clear()
        self._waiting.clear()
        self._at_end.clear()

    # What a sink and the metrics need.

    def commit(self, positions: Positions, *, deadline: float = 15.0) -> None:
        """Store `positions` in the group; what may pass is tried again for `deadline` seconds.

        Raises:
            KafkaException: the positions could not be stored, or one of them is of a partition
                that is not ours any more (then none is stored: its new owner decides).
        """
        self._require_assigned(positions)
        if not positions:
            return
        until = self._clock() + deadline
        wanted = _listed(positions)
        while True:
            error = self._commit_once(wanted)
            if error is None:
                return
            self._tell(error)
            if not _may_pass(error) or self._clock() >= until:
                raise KafkaException(error)

    def membership(self, positions: Positions) -> list[tuple[Positions, object]]:
        """What the group knows us by now, for a transaction that stores `positions`. It is of use until the
        next poll.

        Raises:
            KafkaException: one of them is of a partition that is not ours any more.
        """
        self._require_assigned(positions)
        return [(positions, self._consumer.consumer_group_metadata())]

    def lag(self) -> dict[Partition, int]:
        """Records between our position and the end, per partition whose end the client knows
        from its last fetch; the broker is not asked."""
        lag = {}
        for partition, position in self._position.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if end >= 0:
                lag[partition] = max(0, end - position)
        return lag

    def _require_assigned(self, positions: Positions) -> None:
        if lost := [p for p in positions if p not in self._position]:
            raise KafkaException(KafkaError(KafkaError._ASSIGNMENT_LOST, f"{lost[0]} is not assigned"))

    # Taking messages.

    def _join(self) -> None:
        """Become a member of the group. Not before the first poll: until then whoever made us may be reading
        back what it has to know first, and the group need not hear of one that ends there."""
        try:
            self._consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except (KafkaException, TypeError, ValueError) as e:
            raise SourceError(f"the topics cannot be subscribed to: {e}") from e
        self._joined = True

    def _take(self, limit: int, timeout: float) -> list[Message]:
        """What the client has, at most `limit`; only if it has nothing, wait for a first message."""
        self._polled_at = self._clock()
        if self._paused:
            self._resume()
        messages: list[Message] = self._consumer.consume(limit, 0)
        if messages or timeout <= 0:
            return messages
        first = self._consumer.poll(timeout)
        if first is None:
            return []
        return [first, *self._consumer.consume(limit - 1, 0)] if limit > 1 else [first]

    def _serve(self, timeout: float) -> list[Message]:
        """Serve the client's callbacks; what comes back are errors and ends, never records."""
        if self._position and not self._paused:
            if self._clock() - self._polled_at < self._pause_after:
                time.sleep(max(0.0, timeout))
                return []
            self._paused = True
            self._consumer.pause(_listed(self._position))
        message = self._consumer.poll(timeout)
        return [] if message is None else [message]

    def _resume(self) -> None:
        self._paused = False
        self._consumer.resume(_listed(self._position))
        # With nothing to fetch the client's threads sleep for up to a second; being asked wakes them.
        with suppress(KafkaException):
            self._look_up(dict.fromkeys(self._position, OFFSET_END), timeout=WAKE_SECONDS)

    def _records(self, messages: Iterable[Any]) -> list[Record]:
        # Any: the binding declares every part of a message optional; of a fetched one none is.
        records = []
        position, at_end = self._position, self._at_end
        for message in messages:
            partition = (message.topic(), message.partition())
            error = message.error()
            if error is not None:
                self._on_message_error(partition, message)
            elif partition in position:
                offset = message.offset()
                kind, timestamp = message.timestamp()
                records.append(
                    Record(
                        *partition,
                        offset,
                        None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp,
                        message.key(),
                        message.value() or b"",
                    )
                )
                position[partition] = offset + 1
                at_end.discard(partition)
        return records

    def _on_message_error(self, partition: Partition, message: Any) -> None:
        error: KafkaError = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            if partition in self._position:
                self._at_end.add(partition)
                # Behind the last record there may be marks of transactions' ends; they take offsets, too.
                self._position[partition] = message.offset()
        elif error.code() in _GAP_ERRORS:
            if partition in self._position:
                self._broken.add(partition)
        else:
            self._on_error(error)

    def _ends(self) -> frozenset[Partition]:
        """The partitions at whose ends we are, as far as the broker confirmed it lately."""
        if not self._at_end:
            return frozenset()
        now = self._clock()
        if now >= self._confirm_at:
            try:
                ends = self._look_up(dict.fromkeys(self._at_end, OFFSET_END), timeout=CONFIRM_WAIT_SECONDS)
            except KafkaException:  # what is wrong the client tells by itself
                self._continued = frozenset(self._at_end)
                self._confirm_at = now + AGAIN_SECONDS
            else:
                self._continued = frozenset(p for p, end in ends.items() if end > self._position[p])
                self._confirm_at = now + CONFIRM_SECONDS
        return frozenset(self._at_end - self._continued)

    # What the group tells us. These run inside a poll of the client.

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._waiting.update((p.topic, p.partition) for p in partitions)
        self._ask_at = 0.0
        # Take note of the assignment, but fetch nothing before the start is known.
        (consumer.incremental_assign if self._cooperative else consumer.assign)([])

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._give_up(consumer, partitions, "source.revoked")

    def _on_lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._give_up(consumer, partitions, "source.lost")

    def _give_up(self, consumer: Consumer, partitions: Sequence[TopicPartition], event: str) -> None:
        gone = {(p.topic, p.partition) for p in partitions}
        started = gone & self._position.keys()
        if not self._cooperative:
            consumer.unassign()
        else:
            # Of a partition still waiting the client knows nothing that could be taken back.
            consumer.incremental_unassign([TopicPartition(*p) for p in sorted(started)])
        for partition in gone:
            self._position.pop(partition, None)
        for marks in (self._waiting, self._broken, self._at_end):
            marks -= gone
        self._rebalanced = self._rebalanced or bool(started)
        self._left |= started
        self._on_event(event, {"partitions": sorted(gone)})

    # What the next poll does about it.

    def _answer(self) -> None:
        """Start the partitions that wait, and go on behind gaps, once the broker tells where."""
        if not (self._waiting or self._broken) or self._clock() < self._ask_at:
            return
        try:
            if self._waiting:
                self._start_waiting()
            if self._broken:
                self._resume_broken()
        except KafkaException as e:
            self._ask_at = self._clock() + AGAIN_SECONDS
            self._on_error(e.args[0])

    def _start_waiting(self) -> None:
        waiting = sorted(self._waiting)
        self._partitions = self._known_partitions()
        committed = self._committed(waiting)
        fresh = [p for p in waiting if p not in committed]
        starts = committed | {p: self._first[p] for p in fresh if p in self._first}
        starts |= self._resolve([p for p in fresh if p not in self._first])
        self._first.update(starts)
        if self._cooperative:
            self._consumer.incremental_assign(_listed(starts))
        else:
            self._consumer.assign(_listed(starts | self._position))
        self._waiting.clear()
        self._position.update(starts)
        # The client's mark of being paused outlives an assignment: one that left while paused has it still.
        (self._consumer.pause if self._paused else self._consumer.resume)(_listed(starts))
        self._rebalanced = True
        self._on_event("source.started", {"positions": starts})
        if fresh and (error := self._commit_once(_listed({p: starts[p] for p in fresh}))) is not None:
            self._tell(error)  # not stored: the first regular commit will do it

    def _committed(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        answer = self._consumer.committed([TopicPartition(*p) for p in partitions], timeout=ANSWER_SECONDS)
        return {p: offset for p, offset in _offsets(answer).items() if offset != OFFSET_INVALID}

    def _resolve(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The configured start as offsets. A partition added to its topic while we were reading it
        has a record before us, if any: it starts at its beginning."""
        wanted = {}
        for topic, number in partitions:
            if topic not in self._counts:
                metadata = self._consumer.list_topics(topic, timeout=ANSWER_SECONDS)
                self._counts[topic] = len(metadata.topics[topic].partitions)
            added = number >= self._counts[topic]
            wanted[topic, number] = OFFSET_BEGINNING if added else self._configured_start
        found = self._look_up(wanted)
        # No record at or after the time: then from what comes next.
        late = {p: OFFSET_END for p, offset in found.items() if offset < 0}
        return found | self._look_up(late)

    def _known_partitions(self) -> frozenset[Partition]:
        topics = self._consumer.list_topics(timeout=ANSWER_SECONDS).topics
        return frozenset((t, number) for t in self._topics if t in topics for number in topics[t].partitions)

    def _look_up(
        self, wanted: Mapping[Partition, int], *, timeout: float = ANSWER_SECONDS
    ) -> dict[Partition, int]:
        """The offsets of times in ms since the epoch, or of OFFSET_BEGINNING or OFFSET_END."""
        if not wanted:
            return {}
        return _offsets(self._consumer.offsets_for_times(_listed(wanted), timeout=timeout))

    def _resume_broken(self) -> None:
        earliest = self._look_up(dict.fromkeys(self._broken, OFFSET_BEGINNING))
        latest = self._look_up(dict.fromkeys(self._broken, OFFSET_END))
        self._broken.clear()
        resumed = dict(self._position)
        for partition, start in earliest.items():
            expected = self._position[partition]
            if start <= expected <= latest[partition]:
                continue  # it is there (again): go on where we were
            resumed[partition] = start
            self._gaps.append(Gap(partition, expected, start))
            self._on_event("source.gap", {"partition": partition, "expected": expected, "resumed": start})
        self._move(resumed)

    def _move(self, positions: Mapping[Partition, int]) -> None:
        """Go on at `positions`, which names every assigned partition."""
        if not positions:
            return
        try:
            if self._cooperative:
                self._consumer.incremental_unassign([TopicPartition(*p) for p in positions])
                self._consumer.incremental_assign(_listed(positions))
            else:
                self._consumer.assign(_listed(positions))
        except KafkaException as e:
            raise SourceError(f"the Kafka consumer cannot seek: {e.args[0].str()}") from e
        self._position.update(positions)
        self._at_end.clear()

    def _commit_once(self, offsets: list[TopicPartition]) -> KafkaError | None:
        try:
            stored = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as e:
            error: KafkaError = e.args[0]
            return error
        return next((p.error for p in stored if p.error is not None), None)

    def _on_error(self, error: KafkaError) -> None:
        # The consumer tells a fatal error as a message, whose mark of being fatal is not set.
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._fatal = error
        self._tell(error)

    def _tell(self, error: KafkaError) -> None:
        self._on_event(*describe(error))


def _start_offset(start: str) -> int:
    """The configured start as what `offsets_for_times` takes: OFFSET_END, OFFSET_BEGINNING or ms."""
    if start == "latest":
        return int(OFFSET_END)
    if start == "earliest":
        return int(OFFSET_BEGINNING)
    try:
        time_ = datetime.fromisoformat(start)
    except ValueError as e:
        raise ValueError(f"start must be latest, earliest or an ISO 8601 time, not {start!r}") from e
    milliseconds = int((time_ if time_.tzinfo else time_.replace(tzinfo=UTC)).timestamp() * 1000)
    if milliseconds < 0:
        raise ValueError(f"start must not lie before 1970: {start!r}")
    return milliseconds


def _listed(positions: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number, offset) for (topic, number), offset in sorted(positions.items())]


def _offsets(answer: Iterable[TopicPartition]) -> dict[Partition, int]:
    """The offsets of the broker's answer.

    Raises:
        KafkaException: it could not tell one of them.
    """
    offsets = {}
    for told in answer:
        if told.error is not None:
            raise KafkaException(told.error)
        offsets[told.topic, told.partition] = told.offset
    return offsets


def _may_pass(error: KafkaError) -> bool:
    """True if the same commit may succeed a moment later without a poll in between."""
    return error.retriable() or error.code() in {
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_COORD,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REQUEST_TIMED_OUT,
    }
