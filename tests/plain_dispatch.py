"""The plain dispatcher: every step of every rule that may see the event is asked. The twin of
`engine.dispatch`, slow and plainly right."""

from __future__ import annotations

from collections.abc import Mapping

from detectord.compiler.compiled import CompiledRule, RuleSet
from detectord.engine.found import Found, found_of
from detectord.engine.lineage import Identity
from detectord.engine.tallies import Tallies
from detectord.events.event import Event
from detectord.events.index import NOTHING_SAID, UNKNOWN_INDEX, IndexGate, SourceIndex, virtual_index


class PlainDispatcher:
    """Finds what an event satisfies by asking. A matcher that raises is a test that fails."""

    def __init__(
        self,
        rules: RuleSet,
        *,
        max_key_tuples: int = 1_000,
        topic_indices: Mapping[str, SourceIndex] | None = None,
    ) -> None:
        self._rules: list[tuple[CompiledRule, IndexGate]] = []
        shared: set[str] = set()
        for rule in rules.rules:
            if not rule.rule.enabled or (rule.waits and rule.match_hash in shared):
                continue
            if rule.waits:
                shared.add(rule.match_hash)
            self._rules.append((rule, IndexGate(() if rule.rule.ignore_index else rule.rule.index)))
        self._max_key_tuples = max_key_tuples
        self._topic_indices = topic_indices or {}

    def find(self, event: Event, tallies: Tallies) -> Found:
        """Everything that `event` satisfies."""
        topic = event.record.topic
        if not event.text("event.category"):
            tallies["no_category", topic] += 1
        source = self._topic_indices.get(topic, NOTHING_SAID)
        index = virtual_index(event, source.name, force=source.force)
        if index == UNKNOWN_INDEX:
            tallies["unknown_index", topic] += 1
            if source.drop_unknown:
                return Found()
        satisfied = [
            (rule, number)
            for rule, gate in self._rules
            if gate.admits(index)
            for number, step in enumerate(rule.steps)
            if step.matcher(event)
        ]
        found = found_of(event, satisfied, tallies, max_key_tuples=self._max_key_tuples)
        if any(rule.asks_for_relatives for rule, _ in self._rules):
            identity = Identity.of(event)
            found.process = identity if identity.tells else None
        return found
