"""The engine of one worker: events in, detections and step hits out; hits and watermarks in,
detections out; changed state on demand.

Rule 1: `evaluate` is stateless and may run ahead; only `receive` and `advance` touch state. So state
is a function of the hits and watermarks received, whatever later batches were evaluated already.
Rule 2: in event-time mode a hit waits until the watermark has passed it, and one that comes behind the
watermark is late: counted, left out. In order-of-arrival mode `advance` takes all that waits.
Rule 3: whatever may cost a detection is tallied under the rule it may have cost: late, evicted,
capped, repeated; and noted in `losses`, with where and when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from detectord.compiler.compiled import CompiledRule, RuleSet
from detectord.engine.detection import Detection
from detectord.engine.dispatch import Dispatcher
from detectord.engine.found import Found
from detectord.engine.hits import (
    PROCESS_ENDS,
    PROCESS_TOLD,
    EventHits,
    Order,
    RuleHit,
    canonical_key,
    hits_of,
)
from detectord.engine.lineage import Identity
from detectord.engine.losses import Losses
from detectord.engine.state import Machine, Member, StateChange, StatePartition, by_digest
from detectord.engine.tallies import Tallies, step_label
from detectord.engine.turn import Complete, Turn, machine_of
from detectord.engine.watermark import END_OF_TIME
from detectord.events.event import Event
from detectord.events.index import SourceIndex
from detectord.events.record import Partition, Record

Rank = tuple[int, Order, str, str]
"""Arrival of the deciding record, order of the deciding event, rule_id, join key: detections in an order
that does not depend on how the work was shared out. Where event time decides, arrival says nothing
and is END_OF_TIME: sequences come behind what was found at once."""

MAX_COMPLETED = 100
"""Sequences of one rule that one event may complete in one state partition, by having many join keys;
each is an alert with all its events, so that more would be a way to flood us."""

_PROCESS_HITS = (PROCESS_TOLD, PROCESS_ENDS)

AT_ONCE: Order = (0, (0, "", 0), "", 0)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine must know of the configuration. Times are nanoseconds, sizes bytes.

    `max_span` bounds the span of every sequence, None: as the rules say.
    `max_bytes` bounds the state of this worker, None: unbounded (finite input). `grace` is how long a
    partial is kept after its span in order-of-arrival mode, where events may come out of order.
    `max_lineage`: processes remembered a host, where rules ask for the relatives of a process.
    """

    partitions: int = 64
    by_arrival: bool = False
    max_future: int = 300 * 1_000_000_000
    max_key_tuples: int = 1_000
    max_span: int | None = None
    max_bytes: int | None = None
    remember: int = 600 * 1_000_000_000
    grace: int = 300 * 1_000_000_000
    max_lineage: int = 10_000
    topic_indices: tuple[tuple[str, SourceIndex], ...] = ()


class Ranked(NamedTuple):
    """A detection with its place among the others."""

    rank: Rank
    detection: Detection


class Detector:
    """Evaluates events against a rule set and keeps the state of some state partitions.

    `revive` makes the event of a record again, by its sid (a partial keeps bytes, not objects).
    """

    def __init__(
        self, rules: RuleSet, settings: EngineSettings, revive: Callable[[Record, str], Event]
    ) -> None:
        self.tallies: Tallies = Counter()  # of what `receive` and `advance` did
        self.losses = Losses()  # of the same
        self._settings = settings
        self._revive = revive
        self._dispatcher = Dispatcher(
            rules, max_key_tuples=settings.max_key_tuples, topic_indices=dict(settings.topic_indices)
        )
        self.narrowing = self._dispatcher.narrowing
        """What decodes for `evaluate_narrow`."""
        self.evaluate_narrow = self._dispatcher.finder(self._answer)
        """As `evaluate`, of structs that `narrowing` decoded and their record: with the event, and None if it
        satisfies nothing. Raises DecodeError if the document was needed in full and is nested too deep."""
        self._rules: dict[str, list[CompiledRule]] = {}
        for rule in rules.rules:
            if rule.waits and rule.rule.enabled:
                self._rules.setdefault(rule.match_hash, []).append(rule)
        self._match_hashes = by_digest(self._rules)
        self._partitions: dict[int, StatePartition] = {}
        self._watermark: int | None = None

    # --- events -------------------------------------------------------------------------------

    def evaluate(self, event: Event, tallies: Tallies) -> tuple[list[Ranked], list[EventHits]]:
        """What an event satisfies: detections of event rules, and its step hits. What is to be counted
        goes into `tallies`: it belongs to the batch, not to the state."""
        return self._evaluated(event, self._dispatcher.find(event, tallies), tallies)

    def _answer(
        self, event: Event, found: Found, tallies: Tallies
    ) -> tuple[Event, list[Ranked], list[EventHits]]:
        return event, *self._evaluated(event, found, tallies)

    def _evaluated(
        self, event: Event, found: Found, tallies: Tallies
    ) -> tuple[list[Ranked], list[EventHits]]:
        arrival = event.record.arrival
        detections = [
            Ranked((arrival, AT_ONCE, rule.rule.rule_id, ""), Detection(rule, (event,)))
            for rule in found.rules
        ]
        if not found.hits and found.process is None:
            return detections, []
        settings = self._settings
        hits = hits_of(
            event,
            found,
            partitions=settings.partitions,
            max_future=settings.max_future,
            by_arrival=settings.by_arrival,
            tallies=tallies,
        )
        return detections, hits

    # --- hits and time --------------------------------------------------------------------------

    def receive(self, events: Iterable[EventHits]) -> None:
        """Take hits for the state partitions kept here, in order of arrival."""
        for event in sorted(events, key=lambda e: (e.arrival, e.sid)):
            state = self._partition(event.partition)
            if state.is_repeated(event):
                self.tallies["dropped", "duplicate"] += 1
                continue
            for hit in event.hits:
                place = event.topic, event.source_partition
                if hit.match_hash not in self._rules and hit.match_hash not in _PROCESS_HITS:
                    self.lose(("hits_dropped", "unknown_rule"), 1, hit.time, place=place)
                    continue
                if self._is_late(state, hit):
                    for rule in self._rules.get(hit.match_hash, ()):
                        self.lose(("rule_late", rule.rule.rule_id), 1, hit.time, place=place)
                    if hit.match_hash in _PROCESS_HITS:
                        self.lose(("lineage_forgotten",), 1, hit.time, place=place)
                    self.tallies["late", event.topic, "dropped"] += 1
                    continue
                state.hold(event, hit)

    def advance(self, watermark: int | None) -> list[Ranked]:
        """Event time has come to `watermark` (None: unknown): go on with the hits that waited for it."""
        if watermark is not None:
            self._watermark = max(watermark, self._watermark or watermark)
        done: list[Ranked] = []
        for state in self._partitions.values():
            self._advance_partition(state, done)
        self._keep_bound()
        done.sort(key=lambda ranked: ranked.rank)
        return done

    def _advance_partition(self, state: StatePartition, done: list[Ranked]) -> None:
        by_arrival = self._settings.by_arrival
        watermark = self._watermark_of(state)
        if by_arrival or watermark is not None:
            limit = None if by_arrival or watermark == END_OF_TIME else watermark
            for sid, hit in state.due(limit):
                if not by_arrival:
                    self._decide(state, hit.time, done)
                self._go_on(state, sid, hit, done)
        if watermark is not None:
            state.set_watermark(watermark)
            self._decide(state, watermark, done)
            before = watermark - (self._settings.grace if by_arrival else 0)
            for match_hash, count in state.expire(before):
                self._tally_removed(match_hash, "expired", count)
            state.forget_before(before)
        if state.lineage.forgotten:
            self.lose(("lineage_forgotten",), state.lineage.forgotten, self._watermark)
            state.lineage.forgotten = 0

    def _decide(self, state: StatePartition, before: int, done: list[Ranked]) -> None:
        """No event before `before` is to come: sequences that were waiting for one to rule them out stand."""
        for undecided in state.decided(before):
            complete = Complete(undecided.key, undecided.partial.events)
            self._conclude(state, undecided.match_hash, undecided.order, complete, done)

    def _go_on(self, state: StatePartition, sid: str, hit: RuleHit, done: list[Ranked]) -> None:
        """A hit's turn has come."""
        if hit.match_hash in _PROCESS_HITS:
            identity = Identity.of_key(hit.steps[0].keys[0])
            tell = state.lineage.tell if hit.match_hash == PROCESS_TOLD else state.lineage.end
            tell(identity)
            return
        alike = self._rules.get(hit.match_hash)
        if alike is None:
            return
        rule = alike[0]
        ended: Counter[str] = Counter()
        turn = Turn(
            rule,
            state,
            sid,
            hit,
            lambda sid: self._revive(state.record_of(sid), sid),
            ended,
            MAX_COMPLETED,
            in_order=not self._settings.by_arrival,
        )
        try:
            for complete in turn.take():
                self._conclude(state, hit.match_hash, hit.order, complete, done)
        except Exception as error:  # a bug of ours, never a reason to lose the other rules
            self.lose(("rule_error", rule.rule.rule_id, type(error).__name__), 1, hit.time)
        for step in turn.matched:
            self.tallies["rule_match", rule.rule.rule_id, step_label(rule, step)] += 1
        if turn.capped:
            record = state.record_of(sid)
            place = record.topic, record.partition
            self.lose(("key_tuples_capped", rule.rule.rule_id), turn.capped, hit.time, place=place)
        for reason, count in ended.items():
            self._tally_removed(hit.match_hash, reason, count)

    def _conclude(
        self, state: StatePartition, match_hash: str, order: Order, complete: Complete, done: list[Ranked]
    ) -> None:
        """Add the detections of a match. If that fails, which is a bug of ours, it is told, and state goes on
        as if it had not: a worker that died of it would die of it again."""
        try:
            done.extend(self._detections(state, match_hash, order, complete))
        except Exception as error:
            for rule in self._rules.get(match_hash, ()):
                self.lose(("rule_error", rule.rule.rule_id, type(error).__name__), 1, self._watermark)

    def _detections(
        self, state: StatePartition, match_hash: str, order: Order, complete: Complete
    ) -> Iterable[Ranked]:
        """A detection for each of the rules that match alike."""
        alike = self._rules.get(match_hash, ())
        key, members = complete
        events = tuple(self._revive(state.record_of(m.sid), m.sid) for m in members)
        if alike and alike[0].is_sequence:
            self._tally_removed(match_hash, "completed")
        for rule in alike:
            fields = [field.path for field in rule.steps[0].keys]
            shown = slice(rule.hidden_keys, None)
            detection = Detection(
                rule,
                events,
                stages=rule.places,
                join=tuple(zip(fields[shown], key[shown], strict=True)),
                fanned_out=any(member.fanned_out for member in members),
            )
            arrival = order[0] if self._settings.by_arrival else END_OF_TIME
            yield Ranked((arrival, order, rule.rule.rule_id, canonical_key(key)), detection)

    def _is_late(self, state: StatePartition, hit: RuleHit) -> bool:
        watermark = self._watermark_of(state)
        return not self._settings.by_arrival and watermark is not None and hit.time < watermark

    def _watermark_of(self, state: StatePartition) -> int | None:
        """How far event time has come for a state partition: it may have been with somebody who knew more."""
        if self._watermark is None or state.watermark is None:
            return state.watermark if self._watermark is None else self._watermark
        return max(self._watermark, state.watermark)

    def lose(
        self,
        tally: tuple[str, ...],
        count: int,
        first: int | None,
        last: int | None = None,
        *,
        place: Partition | None = None,
    ) -> None:
        """Count what may have cost a detection, with its event times and the input partition it is of, if
        it is of one."""
        self.tallies[tally] += count
        self.losses.note(tally, count, place, first, last)

    def _tally_removed(self, match_hash: str, reason: str, count: int = 1) -> None:
        for rule in self._rules.get(match_hash, ()):
            self.tallies["state_removed", rule.rule.rule_id, reason] += count

    def _keep_bound(self) -> None:
        """Evict what would expire first until the state fits its bound."""
        limit = self._settings.max_bytes
        if limit is None:
            return
        while self.size() > limit:
            candidates = [s for s in self._partitions.values() if s.oldest_deadline() is not None]
            if candidates:
                victim = min(candidates, key=lambda s: (s.oldest_deadline(), s.number))
            else:
                victim = max(self._partitions.values(), key=lambda s: (s.size, -s.number))
            until = victim.next_to_go()
            evicted = victim.evict_oldest()
            if evicted is None:
                if not candidates:
                    return
                continue
            match_hash, lost = evicted
            if match_hash and match_hash not in _PROCESS_HITS:
                for rule in self._rules.get(match_hash, ()):
                    # It might have gone on from now until then
                    self.lose(("state_removed", rule.rule.rule_id, "capacity"), lost, self._watermark, until)
            else:
                self.lose(("lineage_forgotten",), lost, self._watermark)

    # --- state ----------------------------------------------------------------------------------

    def size(self) -> int:
        """Bytes of state, estimated."""
        return sum(state.size for state in self._partitions.values())

    def partials(self) -> Counter[str]:
        """How many partials wait, by rule_id."""
        counts: Counter[str] = Counter()
        for state in self._partitions.values():
            for match_hash, count in state.partials().items():
                for rule in self._rules.get(match_hash, ()):
                    counts[rule.rule.rule_id] += count
        return counts

    def held(self) -> int:
        """How many hits wait for the watermark."""
        return sum(state.held() for state in self._partitions.values())

    def take_changes(self) -> list[StateChange]:
        """The state entries that changed since this was last called."""
        return [change for state in self._partitions.values() for change in state.take_changes()]

    def restore(
        self, entries: Iterable[tuple[int, Iterable[tuple[bytes, bytes]]]], watermark: int | None
    ) -> None:
        """Forget everything and go on from `entries`, by state partition.

        Raises:
            StateError: an entry is of another format.
        """
        self.tallies.clear()
        self.losses = Losses()
        self._partitions.clear()
        self._watermark = watermark
        for number, own in entries:
            self._partition(number).restore(own)

    def take_tallies(self) -> Tallies:
        """The counts since this was last called."""
        tallies, self.tallies = self.tallies, Counter()
        return tallies

    def take_losses(self) -> Losses | None:
        """The losses since this was last called, None if there were none."""
        if not self.losses:
            return None
        losses, self.losses = self.losses, Losses()
        return losses

    def _partition(self, number: int) -> StatePartition:
        state = self._partitions.get(number)
        if state is None:
            settings = self._settings
            state = self._partitions[number] = StatePartition(
                number, settings.remember, settings.max_lineage, self._make_machine, self._match_hashes
            )
        return state

    def _make_machine(
        self, match_hash: str, keep: Callable[[Member], None], drop: Callable[[Member], None]
    ) -> Machine | None:
        alike = self._rules.get(match_hash)
        return None if alike is None else machine_of(alike[0], keep, drop)
