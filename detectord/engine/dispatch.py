"""From an event to the rules it satisfies: the stateless half of the engine.

An event names its virtual index; that decides once and for all which rules may see it (the index
gate). Gates and kind of the event pick a plan (`engine.plans`), which says by look-ups which steps the
event may satisfy; these are tested exactly. What is kept per index is a bounded cache: an attacker who
writes `data_stream.dataset` can empty it, not grow it.

A matcher that raises is a bug of ours, never a reason to lose the other rules: the error is tallied
under the rule and the event goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

from msgspec import MsgspecError, Struct

from detectord.compiler.compiled import CompiledRule, RuleSet
from detectord.engine.clauses import Entry
from detectord.engine.found import Found, found_of
from detectord.engine.lineage import Identity
from detectord.engine.planner import HOT, INDEX_FIELDS, Planner
from detectord.engine.plans import Plan
from detectord.engine.tallies import Tallies
from detectord.events.decode import plain_event
from detectord.events.event import Event
from detectord.events.index import (
    NOTHING_SAID,
    TELLING,
    UNKNOWN_INDEX,
    IndexGates,
    SourceIndex,
    virtual_index,
)
from detectord.events.narrow import NarrowEvent, Narrowing
from detectord.events.record import Record

MAX_INDICES = 1_000
"""Virtual indices whose gates are remembered."""

MAX_KEYS = 10_000
"""Tuples of values of discriminators whose plan is remembered."""

LONGEST_KEY = 1_000
"""Characters of such a tuple."""


class _Settled(NamedTuple):
    """What is known of events with the same values of discriminators and index fields."""

    plan: Plan
    candidates: Callable[[Any], int] | None
    """Of structs; None: there are none."""
    has_no_category: bool
    is_unknown: bool
    """Nothing tells the index."""


_REFUSALS = (MsgspecError, RecursionError)
"""What is raised where structs cannot hold a part."""

A = TypeVar("A")


class Dispatcher:
    """Finds the rules and steps an event satisfies. `topic_indices` says which virtual index the events
    of a topic have that do not tell it themselves, or that are all said to have it. Of rules with state
    that match alike (one `match_hash`) only the first is looked at: they share their partials."""

    def __init__(
        self,
        rules: RuleSet,
        *,
        max_key_tuples: int = 1_000,
        topic_indices: Mapping[str, SourceIndex] | None = None,
        hot: int = HOT,
    ) -> None:
        self._rules = tuple(_distinct(rule for rule in rules.rules if rule.rule.enabled))
        self._gates = IndexGates(() if rule.rule.ignore_index else rule.rule.index for rule in self._rules)
        self._open: dict[str, int] = {}
        self._planner = Planner(self._rules, hot)
        self._forgotten = 0
        self._settled: tuple[dict[tuple[object, ...], _Settled], ...] = ({}, {})
        """By key, of structs that records were decoded into and of those made of documents."""
        self.narrowing = self._planner.narrowing
        """What decodes for `finder`."""
        self._telling = _telling_of(self.narrowing)
        self._max_key_tuples = max_key_tuples
        self._with_lineage = any(rule.asks_for_relatives for rule in self._rules)
        self._topic_indices = dict(topic_indices or {})
        self.tested = 0
        """How many steps were tested exactly."""
        self._find_narrowed = self._emitted(lambda _event, found, _tallies: found, self._settled[True])

    def find(self, event: Event, tallies: Tallies) -> Found:
        """Everything that `event` satisfies."""
        root = self.narrowing.narrowed(event.document)
        if root is not None:
            return self._find_narrowed(root, event.record, tallies, event) or Found()
        self.narrowing.learn(event.document)
        return self._find_in_full(event, tallies)

    def _find_in_full(self, event: Event, tallies: Tallies) -> Found:
        """As `find`, of an event that structs cannot hold, or whose kind has no plan yet."""
        if not event.text("event.category"):
            tallies["no_category", event.record.topic] += 1
        index = self._index_of(event)
        if index == UNKNOWN_INDEX:
            tallies["unknown_index", event.record.topic] += 1
            if self._topic_indices.get(event.record.topic, NOTHING_SAID).drop_unknown:
                return Found()
        plan = self._planner.plan(self._planner.kind(event, self._open_gates(index)))
        return self._found(event, plan, plan.candidates(event), tallies)

    def finder(self, answer: Callable[[Event, Found, Tallies], A]) -> Callable[..., A | None]:
        """Makes a function like `find` for records that `narrowing` decoded: it returns the `answer` to what
        is found, and None if nothing is. Its arguments: structs, record, tallies."""
        return self._emitted(answer, self._settled[False])

    def _emitted(
        self, answer: Callable[[Event, Found, Tallies], A], settled: Mapping[tuple[object, ...], _Settled]
    ) -> Callable[..., A | None]:
        """As `finder`; if structs are made of documents, the event is an argument, too.

        It is emitted, because what most events cost is the way to their plan. Where nothing but the event
        tells its index, the values of a few fields do, its *key*.
        """
        paths = dict.fromkeys([*INDEX_FIELDS, *self._planner.discriminators])
        lines, key = _fetching(self.narrowing, paths)
        namespace: dict[str, Any] = {
            "settled": {}.get if self._topic_indices else settled.get,
            "unsettled": self._find_unsettled,
            "refused": self._find_refused,
            "refusals": _REFUSALS,
            "narrow": partial(NarrowEvent, self.narrowing),
            "found": self._found,
            "answer": answer,
        }
        source = f"""
def find_narrow(root, record, tallies, event=None):
{lines}
 key = ({key})
 known = settled(key)
 if known is None:
  told = unsettled(key, root, record, tallies, event)
  return None if told is None else answer(*told, tallies)
 plan, candidates, has_no_category, _ = known
 if candidates is None: left = 0
 else:
  try: left = candidates(root)
  except refusals: return answer(*refused(record, tallies, event), tallies)
 if has_no_category: tallies["no_category", record.topic] += 1
 if not left: return None
 if event is None: event = narrow(root, record)
 return answer(event, found(event, plan, left, tallies), tallies)
"""
        exec(compile(source, "<find>", "exec"), namespace)  # noqa: S102  # names of attributes alone
        made: Callable[..., A | None] = namespace["find_narrow"]
        return made

    def _find_refused(self, record: Record, tallies: Tallies, event: Event | None) -> tuple[Event, Found]:
        """What is found for an event of which structs cannot hold a part."""
        event = event or plain_event(record)
        return event, self._find_in_full(event, tallies)

    def _find_unsettled(
        self, key: tuple[object, ...], root: Struct, record: Record, tallies: Tallies, event: Event | None
    ) -> tuple[Event, Found] | None:
        """What is found for an event whose key does not tell the plan: nothing is known of the key yet, or
        the event's index is told by something else."""
        of_documents = event is not None
        index: str | None = None
        if self._topic_indices:
            event = event or NarrowEvent(self.narrowing, root, record)
            index = self._index_of(event)
            if index == UNKNOWN_INDEX and self._topic_indices.get(record.topic, NOTHING_SAID).drop_unknown:
                return event, self._find_in_full(event, tallies)
        tells_index = type(key[0]) is str and key[0] != ""
        own_key = (index, key) if index is not None else key if tells_index else (self._telling(root), key)
        known = self._settled[of_documents].get(own_key)
        if known is None:
            event = event or NarrowEvent(self.narrowing, root, record)
            if self._with_lineage:
                return event, self._find_in_full(event, tallies)
            known = self._plan_of(own_key, event, index or self._index_of(event), of_documents=of_documents)
        plan = known.plan
        read = plan.reader(self.narrowing, of_documents=of_documents)
        if read is not None:
            try:
                candidates = read(root)
            except _REFUSALS:
                return self._find_refused(record, tallies, event if of_documents else None)
        else:
            event = event or NarrowEvent(self.narrowing, root, record)
            candidates = plan.candidates(event)
        if known.is_unknown:
            tallies["unknown_index", record.topic] += 1
        if known.has_no_category:
            tallies["no_category", record.topic] += 1
        if not candidates:
            return None
        event = event or NarrowEvent(self.narrowing, root, record)
        return event, self._found(event, plan, candidates, tallies)

    def _index_of(self, event: Event) -> str:
        source = self._topic_indices.get(event.record.topic, NOTHING_SAID)
        return virtual_index(event, source.name, force=source.force)

    def _plan_of(self, key: tuple[object, ...], event: Event, index: str, *, of_documents: bool) -> _Settled:
        """The plan of the events that have this key, which is remembered if it is to stay."""
        planner = self._planner
        kind = planner.kind(event, self._open_gates(index))
        plan = planner.plan(kind)
        read = plan.reader(self.narrowing, of_documents=of_documents)
        known = _Settled(
            plan, read if plan.entries else None, not event.text("event.category"), index == UNKNOWN_INDEX
        )
        if self._forgotten != planner.forgotten or max(map(len, self._settled)) >= MAX_KEYS:
            for settled in self._settled:
                settled.clear()
            self._forgotten = planner.forgotten
        stays = planner.settled(kind) is plan and read is not None
        if stays and _characters(key) <= LONGEST_KEY:
            self._settled[of_documents][key] = known
        return known

    def _found(self, event: Event, plan: Plan, candidates: int, tallies: Tallies) -> Found:
        """What is left of the candidates when they are tested exactly."""
        if candidates:
            satisfied = self._satisfied(event, plan.chosen(candidates), tallies)
            found = found_of(event, satisfied, tallies, max_key_tuples=self._max_key_tuples)
        else:
            found = Found()
        if self._with_lineage:
            identity = Identity.of(event)
            found.process = identity if identity.tells else None
        return found

    def _satisfied(
        self, event: Event, entries: Iterable[Entry], tallies: Tallies
    ) -> Iterator[tuple[CompiledRule, int]]:
        for rule, step, matcher in entries:
            self.tested += 1
            try:
                if not matcher(event):
                    continue
            except Exception as error:
                tallies["rule_error", rule.rule.rule_id, type(error).__name__] += 1
                continue
            yield rule, step

    def _open_gates(self, index: str) -> int:
        """The rules that see the events of an index, a bit each."""
        gates = self._open.get(index)
        if gates is None:
            if len(self._open) >= MAX_INDICES:
                self._open.clear()
            gates = self._open[index] = self._gates.admitting(index)
        return gates


def _fetching(narrowing: Narrowing, paths: Iterable[str]) -> tuple[str, str]:
    """The code that fetches the objects in which structs have the values of the paths, each once, and that of
    the values, with a comma behind each."""
    places = [narrowing.places[path].attributes for path in paths if path in narrowing.places]
    objects = dict.fromkeys(place[:-1] for place in places)
    names = {attributes: f"object_{number}" for number, attributes in enumerate(objects)}
    lines = [f" {name} = {'.'.join(('root', *attributes))}" for attributes, name in names.items()]
    return "\n".join(lines), "".join(f"{names[place[:-1]]}.{place[-1]}, " for place in places)


def _telling_of(narrowing: Narrowing) -> Callable[[Any], tuple[object, ...]]:
    """What gives the values of all fields that tell an event's index."""
    lines, values = _fetching(narrowing, TELLING)
    namespace: dict[str, Any] = {}
    source = f"def telling(root):\n{lines}\n return ({values})"
    exec(compile(source, "<telling>", "exec"), namespace)  # noqa: S102  # names of attributes alone
    made: Callable[[Any], tuple[object, ...]] = namespace["telling"]
    return made


def _characters(key: object) -> int:
    """The characters in a key."""
    if isinstance(key, tuple):
        return sum(map(_characters, key))
    return len(key) if isinstance(key, str) else 0


def _distinct(rules: Iterable[CompiledRule]) -> Iterator[CompiledRule]:
    seen: set[str] = set()
    for rule in rules:
        if rule.waits:
            if rule.match_hash in seen:
                continue
            seen.add(rule.match_hash)
        yield rule
