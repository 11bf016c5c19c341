"""Events through the fast dispatcher, in every way it takes them, and through its slow twin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plain_dispatch import PlainDispatcher

from detectord.compiler.compiled import CompiledRule, RuleSet
from detectord.engine.dispatch import Dispatcher
from detectord.engine.found import Found
from detectord.engine.tallies import Tallies
from detectord.events.decode import decode
from detectord.events.event import Event
from detectord.events.index import SourceIndex
from detectord.events.narrow import NarrowEvent
from detectord.events.record import DeadLetter, Record


class Pair:
    """Dispatchers of the same rules. `hot` 0: plans are made at once; HOT: as in a worker."""

    def __init__(
        self, rules: Sequence[CompiledRule], hot: int, indices: Mapping[str, SourceIndex] | None = None
    ) -> None:
        rule_set = RuleSet.of(rules)
        self.plain = PlainDispatcher(rule_set, topic_indices=indices)
        self.fast = Dispatcher(rule_set, topic_indices=indices, hot=hot)
        self.find_narrow = self.fast.finder(lambda _event, found, _tallies: found)
        self.narrow = 0
        self.found = 0
        self.events = 0

    def check(self, records: Iterable[Record]) -> None:
        """Both answer every record alike, and count the same."""
        for record in records:
            decoded = decode(record, max_bytes=1 << 30)
            root = self.fast.narrowing.decode(record.value)
            if isinstance(decoded, DeadLetter):
                assert root is None or "nested more than" in decoded.error, decoded
                continue
            for event in decoded:
                self.events += 1
                wanted, counted = self._answer(self.plain.find, event)
                assert self._answer(self.fast.find, event) == (wanted, counted)
                self.found += bool(wanted[0] or wanted[1])
            if root is None:
                continue
            self.narrow += 1
            tallies: Tallies = Counter()
            found = self.find_narrow(root, record, tallies)
            assert len(decoded) == 1
            assert (in_order(found) if found is not None else ([], [], None)) == wanted
            assert +tallies == +counted
            event, narrow = decoded[0], NarrowEvent(self.fast.narrowing, root, record)
            assert (narrow.time, narrow.bad_timestamp) == (event.time, event.bad_timestamp)
            assert self.fast.narrowing.time(root, record) == (event.time, event.bad_timestamp)
            for path in (*self.fast.narrowing.places, *self.fast.narrowing.parts):
                values = self.fast.narrowing.values(root, path)
                assert values is None or repr(values) == repr(event.values(path)), path
                assert repr(narrow.values(path)) == repr(event.values(path)), path

    def _answer(self, find: Any, event: Event) -> tuple[Any, Tallies]:
        tallies: Tallies = Counter()
        return in_order(find(event, tallies)), tallies


def in_order(found: Found) -> tuple[list[Any], list[Any], list[Any]]:
    """What was found, in an order of its own."""
    return (
        sorted(rule.rule.rule_id for rule in found.rules),
        sorted((hit.rule.rule.rule_id, repr(hit.steps)) for hit in found.hits),
        found.process,
    )
