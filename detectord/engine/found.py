"""What an event satisfies: from steps to the rules that match and the hits that wait for their turn.

How the steps were found is somebody else's: the dispatcher looks them up, its plain twin in the tests asks
every one. Here begins what the two have in common, so that a difference between them is one of the search.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from detectord.compiler.compiled import CompiledRule, CompiledStep, JoinKey, KeyField
from detectord.compiler.keys import join_keys
from detectord.engine.bounds import bounded
from detectord.engine.lineage import Identity
from detectord.engine.tallies import Tallies, step_label
from detectord.events.event import Event


class StepHit(NamedTuple):
    """An event satisfied these steps of a sequence rule (last first), with these join keys."""

    rule: CompiledRule
    steps: tuple[tuple[int, tuple[JoinKey, ...]], ...]


@dataclass(slots=True)
class Found:
    """What one event satisfies."""

    rules: list[CompiledRule] = field(default_factory=list)
    hits: list[StepHit] = field(default_factory=list)
    process: Identity | None = None
    """What an event that starts or ends a process says of it, if a rule may ask."""


def found_of(
    event: Event, satisfied: Iterable[tuple[CompiledRule, int]], tallies: Tallies, *, max_key_tuples: int
) -> Found:
    """What follows from the steps that `event` satisfies, each of them once: rule and index of the step."""
    found = Found()
    waiting: dict[int, tuple[CompiledRule, list[int]]] = {}
    for rule, step in satisfied:
        if rule.waits:
            waiting.setdefault(id(rule), (rule, []))[1].append(step)
        else:
            tallies["rule_match", rule.rule.rule_id, "event"] += 1
            found.rules.append(rule)
    keys = _Keys(event, max_key_tuples)
    for rule, steps in waiting.values():
        hit = _hit(keys, rule, steps, tallies)
        if hit.steps:
            found.hits.append(hit)
    return found


class _Keys:
    """The key tuples of one event. Many steps have the same keys."""

    def __init__(self, event: Event, limit: int) -> None:
        self._event = event
        self._limit = limit
        self._known: dict[tuple[KeyField, ...], tuple[tuple[JoinKey, ...], bool]] = {}

    def of(self, step: CompiledStep) -> tuple[tuple[JoinKey, ...], bool]:
        """Those for a step, and whether there were more than may be."""
        known = self._known.get(step.keys)
        if known is None:
            keys, capped = join_keys(step, self._event, limit=self._limit)
            known = self._known[step.keys] = tuple(map(bounded, keys)), capped
        return known


def _hit(of_event: _Keys, rule: CompiledRule, satisfied: list[int], tallies: Tallies) -> StepHit:
    steps: list[tuple[int, tuple[JoinKey, ...]]] = []
    for number in sorted(satisfied, reverse=True):
        step = rule.steps[number]
        if step.joint is None:  # else its turn tells
            tallies["rule_match", rule.rule.rule_id, step_label(rule, step)] += 1
        keys, capped = of_event.of(step)
        if capped:
            tallies["key_tuples_capped", rule.rule.rule_id] += 1
        if keys:
            steps.append((number, keys))
    return StepHit(rule, tuple(steps))
