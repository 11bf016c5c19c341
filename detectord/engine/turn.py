"""A hit's turn: what an event does to the rows of a rule, once everything before it in event time is done.

For each join key of the event, in this order: missing steps leave their mark; positive steps are offered the
event, the last one first, so that one event never fills two steps of one sequence; `until` ends what is left.
Inner queries of `child of […]` and its like mark the process last: an event is no relative of itself.

A step may have to ask for company: the events of earlier steps, which differ from partial to partial, or the
processes of the host. What it asks of processes is asked before the event's own marks are made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from detectord.compiler.compiled import CompiledRule, CompiledStep, JoinKey, Role
from detectord.engine.hits import RuleHit, key_bytes
from detectord.engine.lineage import RELATIONS, Identity, Lineage
from detectord.engine.samples import SampleMachine, SampleRow
from detectord.engine.sequences import Machine, Outcome, Partial, Row, Shape
from detectord.engine.state import Member, StatePartition, Undecided
from detectord.events.event import Event

Named = dict[str, Any]
"""What a joint matcher is given (compiled.JointMatcher)."""


class Complete(NamedTuple):
    """A match: its key and its events in the order of the steps."""

    key: JoinKey
    members: tuple[Member, ...]


def shape_of(rule: CompiledRule) -> Shape:
    """The rule's sequence without its conditions."""
    stages = rule.stages
    missing = {step.stage for step in rule.steps if step.role is Role.MISSING}
    return Shape(
        tuple(step.runs for step in stages),
        rule.maxspan,
        leading=0 in missing,
        trailing=len(stages) in missing,
    )


def machine_of(
    rule: CompiledRule, keep: Callable[[Any], None], drop: Callable[[Any], None]
) -> Machine[Any] | SampleMachine[Any]:
    """What works on the rule's rows."""
    if rule.kind == "sample":
        assert rule.maxspan is not None, "a sample has the look-back of its rule"
        return SampleMachine(len(rule.stages), rule.maxspan, keep, drop)
    return Machine(shape_of(rule), keep, drop)


def relatives(rule: CompiledRule, lineage: Lineage, identity: Identity) -> Named:
    """For each relation, the function that a joint matcher asks."""

    def asked(relation: str) -> Callable[[int], bool]:
        return lambda inner: lineage.is_related(identity, relation, mark_of(rule, inner))

    return {relation: asked(relation) for relation in RELATIONS}


def mark_of(rule: CompiledRule, inner: int) -> str:
    """The name of the mark of an inner query."""
    return f"{rule.match_hash}:{inner}"


@dataclass(slots=True)
class _AtKey:
    """The steps that the event satisfies with one key."""

    key: JoinKey
    steps: list[CompiledStep] = field(default_factory=list)
    fanned_out: bool = False


class Turn:
    """The turn of one hit. `revive` gives the event with a sid; `ended` counts what ends without a match.
    `most`: so many sequences may be completed, by an event with many join keys; `capped` counts the others.
    `in_order`: turns come in the order of time. `matched` has the steps whose match only the turn could tell.
    """

    def __init__(
        self,
        rule: CompiledRule,
        state: StatePartition,
        sid: str,
        hit: RuleHit,
        revive: Callable[[str], Event],
        ended: Counter[str],
        most: int | None = None,
        in_order: bool = True,
    ) -> None:
        self.capped = 0
        self.matched: list[CompiledStep] = []
        self._in_order = in_order
        self._left = most
        self._rule = rule
        self._state = state
        self._sid = sid
        self._hit = hit
        self._revive = revive
        self._ended = ended
        self._events: dict[str, Event] = {}

    def take(self) -> Iterator[Complete]:
        """Do it. The events of a match can be asked for until the next one is taken."""
        rule, lineage = self._rule, self._state.lineage
        identity = Identity.of(self._event(self._sid)) if rule.asks_for_relatives else None
        named = {} if identity is None else relatives(rule, lineage, identity)
        marks: list[str] = []
        for at_key in self._by_key():
            steps = [step for step in at_key.steps if self._holds(step, named)]
            yield from self._offer(at_key, steps, named)
            marks += [mark_of(rule, step.stage) for step in steps if step.role is Role.INNER]
        for mark in marks:
            assert identity is not None, "only what asks for relatives has inner queries"
            lineage.mark(identity, mark)

    def _by_key(self) -> list[_AtKey]:
        found: dict[bytes, _AtKey] = {}
        for step_keys in self._hit.steps:
            step = self._rule.steps[step_keys.step]
            for key in step_keys.keys:
                at_key = found.setdefault(key_bytes(key), _AtKey(key))
                at_key.steps.append(step)
                at_key.fanned_out = at_key.fanned_out or (step_keys.fanned_out and step.role is Role.POSITIVE)
        return list(found.values())

    def _offer(self, at_key: _AtKey, steps: Sequence[CompiledStep], named: Named) -> Iterator[Complete]:
        member = Member(self._sid, at_key.fanned_out)
        positive = sorted((s for s in steps if s.role is Role.POSITIVE), key=lambda s: -s.stage)
        if self._rule.kind == "event":
            if positive:
                yield Complete(at_key.key, (member,))
        elif self._rule.kind == "sample":
            yield from self._sample(at_key.key, [step.stage for step in positive], member)
        else:
            yield from self._sequence(at_key.key, steps, positive, member, named)

    # --- sequences ------------------------------------------------------------------------------

    def _sequence(
        self,
        key: JoinKey,
        steps: Sequence[CompiledStep],
        positive: Sequence[CompiledStep],
        member: Member,
        named: Named,
    ) -> Iterator[Complete]:
        state, time, match_hash = self._state, self._hit.time, self._rule.match_hash
        machine = state.machine(match_hash)
        assert isinstance(machine, Machine)
        missing = {step.stage for step in steps if step.role is Role.MISSING}
        if len(machine.shape.runs) in missing:
            ruled_out = state.rule_out(match_hash, key, time, in_order=self._in_order)
            self._ended["ruled_out"] += ruled_out
        keyed = state.row("p", match_hash, key)
        if keyed is None:
            # A later step never makes a row: keys come from attackers
            if 0 not in missing and all(step.stage != 0 for step in positive):
                return
            keyed = state.new_row("p", match_hash, key, machine.new_row())
        row = keyed.row
        assert isinstance(row, Row)
        try:
            for stage in missing:
                if stage < len(machine.shape.runs):
                    machine.missed(row, stage, time)
            for step in positive:
                accepts = self._accepts(step, named) if step.reads else None
                outcome, complete = machine.offer(row, step.stage, time, member, accepts)
                if outcome is Outcome.SPAN_EXCEEDED:
                    self._ended["expired"] += 1
                if complete is not None:
                    yield from self._judge(key, complete, machine)
            if any(step.role is Role.UNTIL for step in steps):
                self._ended["until"] += machine.clear(row)
        finally:  # whatever happens, what the row refers to is counted
            state.settle(keyed)

    def _judge(self, key: JoinKey, complete: Partial[Member], machine: Machine[Member]) -> Iterator[Complete]:
        """What a complete sequence comes to: ruled out, still to be decided, or a match."""
        if machine.shape.is_disturbed(complete):
            self._ended["ruled_out"] += 1
        elif self._has_one_left():
            deadline = machine.shape.deadline(complete)
            if deadline is not None:
                match_hash, order = self._rule.match_hash, self._hit.order
                self._state.hold_undecided(Undecided(match_hash, key, deadline, order, complete))
                return
            yield Complete(key, complete.events)
        for member in complete.events:
            self._state.drop(member)

    # --- samples --------------------------------------------------------------------------------

    def _sample(self, key: JoinKey, steps: Sequence[int], member: Member) -> Iterator[Complete]:
        state, match_hash = self._state, self._rule.match_hash
        machine = state.machine(match_hash)
        assert isinstance(machine, SampleMachine)
        keyed = state.row("s", match_hash, key) or state.new_row("s", match_hash, key, machine.new_row())
        assert isinstance(keyed.row, SampleRow)
        found = machine.offer(keyed.row, steps, self._hit.time, member)
        state.settle(keyed)
        if found is not None:
            if self._has_one_left():
                yield Complete(key, found)
            for each in found:
                state.drop(each)

    def _has_one_left(self) -> bool:
        """True if the event may complete one more."""
        if self._left is None:
            return True
        if self._left == 0:
            self.capped += 1
            return False
        self._left -= 1
        return True

    # --- company --------------------------------------------------------------------------------

    def _holds(self, step: CompiledStep, named: Named) -> bool:
        """Whether a step holds as far as no partial has a say."""
        if step.joint is None or step.reads:
            return True
        holds = step.joint(self._event(self._sid), named)
        if holds:
            self.matched.append(step)
        return holds

    def _accepts(self, step: CompiledStep, named: Named) -> Callable[[Partial[Member]], bool]:
        """Whether the event goes with the partial that it would extend."""
        joint = step.joint
        assert joint is not None, "a step that reads other events has to ask"

        def accepts(partial: Partial[Member]) -> bool:
            others = {alias: self._event(partial.events[number].sid) for alias, number in step.reads}
            holds = joint(self._event(self._sid), {**named, **others})
            if holds:
                self.matched.append(step)
            return holds

        return accepts

    def _event(self, sid: str) -> Event:
        event = self._events.get(sid)
        if event is None:
            event = self._events[sid] = self._revive(sid)
        return event
