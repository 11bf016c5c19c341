"""The plain dispatcher: every step of the event's category is tested. The slow twin of `engine.dispatch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from detectord.compiler.compiled import CompiledRule, JoinKey, Matcher, RuleSet
from detectord.compiler.keys import join_keys
from detectord.engine.bounds import bounded
from detectord.engine.dispatch import Found, StepHit, Tallies, _distinct, step_label
from detectord.engine.lineage import Identity
from detectord.events.event import Event
from detectord.events.index import NOTHING_SAID, UNKNOWN_INDEX, IndexGate, SourceIndex, virtual_index

MAX_PLANS = 1_000


class _Entry(NamedTuple):
    rule: CompiledRule
    step: int
    matcher: Matcher


@dataclass(slots=True)
class _Plan:
    """The steps that an index admits: per event-category field, by the category they ask for."""

    fields: list[tuple[str, dict[str, list[_Entry]], list[_Entry]]]


class PlainDispatcher:
    """Finds the rules and steps an event satisfies. `topic_indices` says which virtual index the events
    of a topic have that do not tell it themselves, or that are all said to have it. Of rules with state
    that match alike (one `match_hash`) only the first is looked at: they share their partials."""

    def __init__(
        self,
        rules: RuleSet,
        *,
        max_key_tuples: int = 1_000,
        topic_indices: Mapping[str, SourceIndex] | None = None,
    ) -> None:
        self._rules = tuple(_distinct(rule for rule in rules.rules if rule.rule.enabled))
        self._gates = [IndexGate(() if rule.rule.ignore_index else rule.rule.index) for rule in self._rules]
        self._plans: dict[str, _Plan] = {}
        self._max_key_tuples = max_key_tuples
        self._with_lineage = any(rule.asks_for_relatives for rule in self._rules)
        self._topic_indices = dict(topic_indices or {})

    def find(self, event: Event, tallies: Tallies) -> Found:
        """Everything that `event` satisfies."""
        source = self._topic_indices.get(event.record.topic, NOTHING_SAID)
        index = virtual_index(event, source.name, force=source.force)
        found = Found()
        if index == UNKNOWN_INDEX:
            tallies["unknown_index", event.record.topic] += 1
            if source.drop_unknown:
                return found
        steps: dict[int, list[_Entry]] = {}
        for path, by_category, anything in self._plan(index).fields:
            for category in dict.fromkeys(event.text(path)):
                for entry in by_category.get(category, ()):
                    self._try(entry, event, found, steps, tallies)
            for entry in anything:
                self._try(entry, event, found, steps, tallies)
        for entries in steps.values():
            hit = self._hit(entries, event, tallies)
            if hit is not None:
                found.hits.append(hit)
        if self._with_lineage:
            identity = Identity.of(event)
            found.process = identity if identity.tells else None
        return found

    def _try(
        self, entry: _Entry, event: Event, found: Found, steps: dict[int, list[_Entry]], tallies: Tallies
    ) -> None:
        rule = entry.rule
        try:
            if not entry.matcher(event):
                return
        except Exception as error:
            tallies["rule_error", rule.rule.rule_id, type(error).__name__] += 1
            return
        if not rule.waits:
            tallies["rule_match", rule.rule.rule_id, "event"] += 1
            found.rules.append(rule)
            return
        entries = steps.setdefault(id(rule), [])
        if all(other.step != entry.step for other in entries):
            entries.append(entry)

    def _hit(self, entries: list[_Entry], event: Event, tallies: Tallies) -> StepHit | None:
        rule = entries[0].rule
        steps: list[tuple[int, tuple[JoinKey, ...]]] = []
        for entry in sorted(entries, key=lambda e: -e.step):
            if rule.steps[entry.step].joint is None:
                tallies["rule_match", rule.rule.rule_id, step_label(rule, rule.steps[entry.step])] += 1
            keys, capped = join_keys(rule.steps[entry.step], event, limit=self._max_key_tuples)
            if capped:
                tallies["key_tuples_capped", rule.rule.rule_id] += 1
            if keys:
                steps.append((entry.step, tuple(map(bounded, keys))))
        return StepHit(rule, tuple(steps)) if steps else None

    def _plan(self, index: str) -> _Plan:
        plan = self._plans.get(index)
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            plan = self._plans[index] = self._make_plan(index)
        return plan

    def _make_plan(self, index: str) -> _Plan:
        fields: dict[str, tuple[dict[str, list[_Entry]], list[_Entry]]] = {}
        for rule, gate in zip(self._rules, self._gates, strict=True):
            if not gate.admits(index):
                continue
            by_category, anything = fields.setdefault(rule.category_field, ({}, []))
            for number, step in enumerate(rule.steps):
                entry = _Entry(rule, number, step.matcher)
                if step.category is None:
                    anything.append(entry)
                else:
                    by_category.setdefault(step.category, []).append(entry)
        return _Plan([(path, by_category, anything) for path, (by_category, anything) in fields.items()])
