"""The planner: which plan an event has.

The discriminators are fields of few values that many rules ask for. What they say of an event, leaf by
leaf, is its *kind*. Values that no rule names are alike, so whoever writes `event.action` cannot make
kinds.

Rule 1: a plan is made when its kind has come a few times; before, the event's category picks the plan.
Rule 2: plans have a bound, and when it is reached all are forgotten at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from detectord.compiler.compiled import CompiledRule
from detectord.compiler.predicates import And, Member, Predicate, fields
from detectord.engine.clauses import ROUNDS, Entry, Step, cost_of, size
from detectord.engine.leaves import FieldIndex
from detectord.engine.nodes import Numbering, leaves_in
from detectord.engine.plans import Plan
from detectord.engine.room import LONGEST_REMEMBERED, Room
from detectord.engine.tables import Table
from detectord.eql.text import Scalar
from detectord.events.event import Event
from detectord.events.index import TELLING
from detectord.events.narrow import Narrowing

DISCRIMINATORS = (
    "event.category", "event.type", "event.action", "host.os.type", "event.code", "event.dataset",
    "event.module", "event.provider", "event.outcome", "event.kind", "network.direction",
)  # fmt: skip
"""Fields of few values that many rules may ask for."""

_SHARE = 40
"""A field discriminates if at least one of so many steps asks for it: each makes every event a bit dearer."""

INDEX_FIELDS = ("data_stream.dataset", "data_stream.type", "data_stream.namespace")
"""Fields that tell the index of an event, if the first of them is a text."""

MAX_PLANS = 500
"""Plans kept. The benchmark's stream needs some forty."""

HOT = 8
"""Events of a kind before it gets a plan of its own."""

_MOST_VALUES = 8
"""Values of one discriminator of which is remembered what they say together."""

Kind = tuple[int, int]
"""Which rules' gates are open, and which leaves on discriminators hold: a bit each."""


class Planner:
    """Picks the plan for an event, and makes it when there is reason to."""

    def __init__(self, rules: Sequence[CompiledRule], hot: int = HOT) -> None:
        self.discriminators = _discriminators(rules)
        numbering = Numbering(self.discriminators)
        categories = 0
        predicates: list[tuple[Entry, int, Predicate]] = []
        for number, rule in enumerate(rules):
            for place, step in enumerate(rule.steps):
                predicate = step.predicate
                if step.category is not None:
                    category = Member(rule.category_field, "text", frozenset([step.category]))
                    categories |= 1 << numbering.number(category)
                    predicate = And((category, predicate))
                predicates.append((Entry(rule, place, step.matcher), 1 << number, predicate))
                numbering.note_discriminators(predicate)
        self._categories = categories
        """The leaves that are a rule's category."""
        self._known = (1 << len(numbering.leaves)) - 1
        """The leaves on discriminators."""
        drafts = [(entry, bit, numbering.node(predicate)) for entry, bit, predicate in predicates]
        costs = [cost_of(leaf, self._known >> n & 1 == 1) for n, leaf in enumerate(numbering.leaves)]
        self._steps = [
            Step(entry, bit, node, leaves_in(node, self._known), costs) for entry, bit, node in drafts
        ]
        self._leaves = numbering.leaves
        self._room = Room()
        self.indices = {path: FieldIndex(numbered) for path, numbered in numbering.by_path().items()}
        self._plans: dict[tuple[int, Kind], Plan] = {}
        self._plans_room = Room()
        self._truths: dict[tuple[str, tuple[Scalar, ...]], int] = self._room.new({})
        self._seen: dict[Kind, int] = {}
        self._hot = hot
        self.forgotten = 0
        """How often all plans were forgotten."""
        self.narrowing = Narrowing(_read_by(rules), (*self.discriminators, *TELLING))

    def _truth(self, path: str, values: tuple[Scalar, ...]) -> int:
        """The leaves on the discriminator `path` that hold if it has these values."""
        index = self.indices.get(path)
        truth = 0
        if index is not None:
            for value in values:
                for leaf in index.holding(value):
                    truth |= 1 << leaf
        # Equal numbers and booleans may be different values
        texts = [value for value in values if isinstance(value, str)]
        length = sum(map(len, texts))
        if len(texts) == len(values) <= _MOST_VALUES and length <= LONGEST_REMEMBERED:
            self._room.take(length)
            self._truths[path, values] = truth
        return truth

    def kind(self, event: Event, gates: int) -> Kind:
        """The kind of an event which the rules in `gates` see."""
        truth = 0
        for path in self.discriminators:
            values = event.values(path)
            if values:
                own = self._truths.get((path, values))
                truth |= self._truth(path, values) if own is None else own
        return gates, truth

    def plan(self, kind: Kind) -> Plan:
        """The plan for an event of this kind."""
        plan = self.settled(kind)
        if plan is not None:
            return plan
        if len(self._seen) >= 8 * MAX_PLANS:
            self._seen.clear()
        seen = self._seen[kind] = self._seen.get(kind, 0) + 1
        if seen > self._hot:
            return self._kept(self._known, kind)
        gates, truth = kind
        return self._kept(self._categories, (gates, truth & self._categories))

    def settled(self, kind: Kind) -> Plan | None:
        """The plan that all further events of this kind have; None: that is still open."""
        return self._plans.get((self._known, kind))

    def _kept(self, known: int, kind: Kind) -> Plan:
        plan = self._plans.get((known, kind))
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                # Whoever makes kinds on purpose is to wait longer for each
                self._hot = 4 * self._hot + 1
                self.forgotten += 1
                self._plans.clear()
                self._seen.clear()
                self._plans_room = Room()
            plan = self._plans[known, kind] = self._made(known, *kind)
        return plan

    def _made(self, known: int, gates: int, truth: int) -> Plan:
        entries: list[Entry] = []
        open_ = [0] * ROUNDS
        tables: dict[str, Table] = {}
        for step in self._steps:
            variant = step.variant(known, truth) if gates & step.rule_bit else None
            if variant is None:
                continue
            bit = 1 << len(entries)
            entries.append(step.entry)
            for number in range(len(variant.clauses), ROUNDS):
                open_[number] |= bit
            for number, clause in enumerate(variant.clauses):
                for leaf in clause:
                    self._table(leaf, tables).add(leaf, number, bit)
            for leaf in variant.excludes:
                table = self._table(leaf, tables)
                table.add(leaf, ROUNDS, bit)
                table.rules_out |= bit
                table.ruled_out_by += size(self._leaves[leaf])
        return Plan(entries, open_, sorted(tables.values(), key=lambda table: not table.is_first))

    def _table(self, leaf: int, tables: dict[str, Table]) -> Table:
        path = self._leaves[leaf].path
        table = tables.get(path)
        if table is None:
            table = tables[path] = Table(path, self.indices[path], self._plans_room)
        return table


def _discriminators(rules: Sequence[CompiledRule]) -> tuple[str, ...]:
    """The fields that tell the kind of an event: those that say its category, and those that many ask for."""
    asked = [fields(step.predicate) for rule in rules for step in rule.steps]
    often = [path for path in DISCRIMINATORS if sum(path in own for own in asked) * _SHARE >= len(asked)]
    in_key = [path for path in INDEX_FIELDS if any(path in own for own in asked)]
    return tuple(dict.fromkeys(["event.category", *(rule.category_field for rule in rules), *often, *in_key]))


def _read_by(rules: Iterable[CompiledRule]) -> set[str]:
    """The fields that rules read."""
    paths: set[str] = set()
    for rule in rules:
        paths |= {rule.timestamp_field, rule.tiebreaker_field}
        for step in rule.steps:
            paths |= fields(step.predicate)
            paths.update(key.path for key in step.keys)
    return paths
