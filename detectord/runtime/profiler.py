"""Measures, in a worker, where the time of rules goes: one event in N, for `detectord replay --profile`.

Theory of operation. Every matcher is wrapped. Of the events looked at, every other one is timed as a whole:
around each matcher that the engine calls, so that what the engine's index spares a rule costs it nothing. The
ones between are timed in parts: the operands of a step's condition one after the other, in the order and no
further than the matcher would go, which tells predicates and fields apart. What measuring costs is
measured, too, and taken off. What was found travels with the tallies of the batch.

Rule 1: without a profile there is no profiler: matchers are not wrapped, nothing is asked.
Rule 2: the answers are the same, whether an event is timed or not.

| tally | counts |
|---|---|
| `profile_events`, way | events timed, `whole` or in `parts` |
| `profile_ns` | nanoseconds of the events timed as a whole: decoding, matching, alerts |
| `profile`, rule_id, step, part, what | of a step (part "") or one of its operands: `calls`, `ns`, `true` |
"""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import ParamSpec, TypeVar

from detectord.compiler.compiled import CompiledRule, CompiledStep, Matcher
from detectord.compiler.emit import MAX_COMBINATIONS, Overflow, emit_source, load_matcher
from detectord.compiler.predicates import And, Constant, Member, Predicate
from detectord.compiler.stages import STAGES, Draft, emit
from detectord.engine.tallies import Tallies
from detectord.events.event import Event
from detectord.events.record import Record
from detectord.rules.garbage import uncollected
from detectord.rules.rule import Rule

P = ParamSpec("P")
R = TypeVar("R")

EVERY = 20
"""One event in so many is looked at."""


_TRIALS = 20
"""So often is tried what measuring costs."""

_Name = tuple[str, ...]


class _Way(enum.Enum):
    NOT = "not"
    WHOLE = "whole"
    PARTS = "parts"


def operands(rule: Rule) -> list[tuple[Predicate, ...]]:
    """For each step of a rule, what its matcher tests one after the other: the category, if it names one,
    then the operands of its condition."""
    draft = Draft.of(rule)
    for stage in STAGES[: STAGES.index(emit)]:
        draft = stage(draft)
    found: list[tuple[Predicate, ...]] = []
    for step in draft.steps:
        category, predicate = step.query.category, step.predicate
        tests = predicate.operands if isinstance(predicate, And) else (predicate,)
        if category is not None:
            is_category = Member(rule.category_field, "text", frozenset([category]))
            tests = (is_category, *(test for test in tests if test != Constant(True)))
        found.append(tests)
    return found


class Profiler:
    """What one worker measures. `clock` gives nanoseconds, best of CPU: another process that is
    given the core in between is then not put down to a matcher."""

    def __init__(self, every: int, clock: Callable[[], int]) -> None:
        self._every = every
        self._clock = clock
        self._way = _Way.NOT
        self._events = 0
        self._found: list[tuple[_Name, int, bool]] = []
        """For each call of a matcher: name, nanoseconds (a short one may come out below 0), answer."""
        self._reading = int(median(-clock() + clock() for _ in range(_TRIALS)))
        self._timing = int(median(self._time_of_timing() for _ in range(_TRIALS)))

    def wrapped(self, rule: CompiledRule, overflow: Overflow) -> CompiledRule:
        """The rule with matchers that are timed. `overflow` is what the rule was compiled with."""
        parts = _Parts(rule.rule, overflow)
        steps = tuple(self._wrapped_step(rule, number, step, parts) for number, step in enumerate(rule.steps))
        return dataclasses.replace(rule, steps=steps)

    def around(self, evaluate: Callable[P, R], take: Callable[[Tallies], None]) -> Callable[P, R]:
        """`evaluate`, a worker's work on one record, looked at in its turn; what is found goes to `take`."""

        def looked_at(*args: P.args, **kwargs: P.kwargs) -> R:
            self._events += 1
            if self._events % self._every:
                return evaluate(*args, **kwargs)
            self._way = _Way.PARTS if self._events // self._every % 2 else _Way.WHOLE
            with uncollected():  # a search for garbage would be put down to the matcher it happens in
                began = self._clock()
                try:
                    return evaluate(*args, **kwargs)
                finally:
                    self._end(self._clock() - began, take)

        return looked_at

    def _end(self, spent: int, take: Callable[[Tallies], None]) -> None:
        calls, self._found = self._found, []
        tallies: Tallies = Counter({("profile_events", self._way.value): 1})
        if self._way is _Way.WHOLE:
            tallies["profile_ns",] = spent - len(calls) * self._timing - self._reading
        for name, nanos, answer in calls:
            tallies[(*name, "calls")] += 1
            tallies[(*name, "ns")] += nanos
            tallies[(*name, "true")] += answer
        self._way = _Way.NOT
        take(tallies)

    def _wrapped_step(
        self, rule: CompiledRule, number: int, step: CompiledStep, parts: _Parts
    ) -> CompiledStep:
        matcher, name = step.matcher, ("profile", rule.rule.rule_id, str(number))

        def timed(event: Event) -> bool:
            if self._way is _Way.NOT:
                return matcher(event)
            if self._way is _Way.WHOLE:
                return self._timed((*name, ""), matcher, event)
            return all(
                self._timed((*name, str(part)), test, event) for part, test in enumerate(parts.of(number))
            )

        return dataclasses.replace(step, matcher=timed)

    def _timed(self, name: _Name, matcher: Matcher, event: Event) -> bool:
        began = self._clock()
        answer = matcher(event)
        spent = self._clock() - began - self._reading
        self._found.append((name, spent, answer))
        return answer

    def _time_of_timing(self) -> int:
        """What it costs to time a matcher that does nothing."""
        began = self._clock()
        for _ in range(_TRIALS):
            self._timed((), _nothing, _NO_EVENT)
        spent = self._clock() - began
        self._found.clear()
        return spent // _TRIALS


def _nothing(event: Event) -> bool:  # noqa: ARG001 - the shape of a Matcher
    """The matcher that does nothing."""
    return False


_NO_EVENT = Event({}, Record("", 0, 0, None, None, b""), None)


class _Parts:
    """The operands of a rule's steps as functions of their own, made when first asked for: most steps are not
    even called."""

    def __init__(self, rule: Rule, overflow: Overflow) -> None:
        self._rule = rule
        self._overflow = overflow
        self._tests: list[tuple[Predicate, ...]] | None = None
        self._made: dict[int, Sequence[Matcher]] = {}

    def of(self, step: int) -> Sequence[Matcher]:
        """Those of one step."""
        made = self._made.get(step)
        if made is None:
            if self._tests is None:
                self._tests = operands(self._rule)
            made = self._made[step] = [self._function(test) for test in self._tests[step]]
        return made

    def _function(self, test: Predicate) -> Matcher:
        name = f"<part of {self._rule.rule_id}>"
        source = emit_source(test, None, self._rule.category_field)
        return load_matcher(source, name, combinations=MAX_COMBINATIONS, overflow=self._overflow)
