"""Plans: for events that are alike, the steps they may satisfy, found by a few look-ups.

Most rules ask for a few fields of few values, the *discriminators*: category, type, action, operating
system. What they say of an event, leaf by leaf, is its *kind*; for a kind each step's predicate is folded
with those leaves known, and what is left is the kind's **plan**. Values that no rule names are alike, so
whoever writes `event.action` cannot make kinds.

In a plan each step has its *clauses*: lists of leaves of which one must hold if the step is satisfied. In
round 0 a step is a candidate if its most selective clause holds; each further round asks for one clause
more. A field's **table** has for each of its values one bit mask a round, and one of the steps that the
value rules out (negated leaves). So an event costs one look-up for each field that first clauses read, and
nothing more if the masks come to zero, which is the rule. Candidates are then tested exactly, by their
matchers.

Rule 1: a table may let a step through that is not satisfied, and never stops one that is. What is no
leaf of a field (a computation, an array search) is taken to hold.
Rule 2: a plan is made when its kind has come a few times; before, the event's category picks the plan.
Rule 3: plans and remembered values have bounds, and when one is reached all is forgotten at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from detectord.compiler.compiled import CompiledRule, Matcher
from detectord.compiler.predicates import (
    And,
    Constant,
    Exists,
    FieldLeaf,
    InBlocks,
    Member,
    Not,
    Or,
    Predicate,
    Range,
    Regex,
    Wildcards,
    fields,
)
from detectord.engine.leaves import LONGEST_REMEMBERED, FieldIndex
from detectord.eql.text import Scalar
from detectord.events.event import Event, scalars_under
from detectord.events.narrow import Narrowing

DISCRIMINATORS = (
    "event.category", "event.type", "event.action", "host.os.type", "event.code", "event.dataset",
    "event.module", "event.provider", "event.outcome", "event.kind", "network.direction",
)  # fmt: skip
"""Fields of few values that many rules ask for; beside them, the category fields of the rules."""

INDEX_FIELDS = ("data_stream.dataset", "data_stream.type", "data_stream.namespace")
"""Fields that tell the index of an event, if the first of them is a text."""

ROUNDS = 4
"""Clauses of a step that are asked before the step is tested exactly."""

MAX_PLANS = 500
"""Plans kept. The benchmark's stream needs some forty."""

MAX_REMEMBERED = 100_000
"""Values remembered by the tables of all plans together, each of at most LONGEST_REMEMBERED characters."""

MAX_ELEMENTS = 64
"""Values of one field of an event that are looked up. A look-up asks all rules' leaves, a step only its own,
and only if all else holds: of an attacker's ten thousand new values the steps are the cheaper judges."""

HOT = 8
"""Events of a kind before it gets a plan of its own."""

_MAX_TRUTHS = 10_000
"""Values of discriminators of which is remembered what they say."""

_MAX_VARIANTS = 64
"""Ways of folding a step that are kept, by what its discriminators say."""


class Entry(NamedTuple):
    """One step of a rule, with the function that tests it exactly."""

    rule: CompiledRule
    step: int
    matcher: Matcher


Kind = tuple[int, int]
"""Which rules' gates are open, and which leaves on discriminators hold: a bit each."""

Masks = tuple[int, ...]
"""By round the steps with a clause that holds, and last the steps that are ruled out."""

_NO_MASKS: Masks = (0,) * (ROUNDS + 1)


# --- predicates of leaf numbers ---------------------------------------------------------------


class _Fixed(enum.Enum):
    """What is no question of leaves. OPEN: of what cannot be asked here, either may be."""

    TRUE = 1
    FALSE = 2
    OPEN = 3


@dataclass(frozen=True, slots=True)
class _Junction:
    """`and` (if conjunctive) or `or` of the parts."""

    conjunctive: bool
    parts: tuple[_Node, ...]


_Node = int | _Fixed | _Junction
"""A predicate of leaves by number: n holds if leaf n does, ~n if leaf n does not."""


def _fold(node: _Node, known: int, truth: int) -> _Node:
    """The node with the leaves in `known` replaced by what `truth` says of them."""
    if isinstance(node, int):
        leaf = node if node >= 0 else ~node
        if not known >> leaf & 1:
            return node
        return _Fixed.TRUE if (truth >> leaf & 1) == (node >= 0) else _Fixed.FALSE
    if isinstance(node, _Fixed):
        return node
    decisive, neutral = (_Fixed.FALSE, _Fixed.TRUE) if node.conjunctive else (_Fixed.TRUE, _Fixed.FALSE)
    parts: list[_Node] = []
    for part in node.parts:
        folded = _fold(part, known, truth)
        if folded is decisive:
            return decisive
        if isinstance(folded, _Junction) and folded.conjunctive is node.conjunctive:
            parts += folded.parts
        elif folded is not neutral:
            parts.append(folded)
    if not parts:
        return neutral
    return parts[0] if len(parts) == 1 else _Junction(node.conjunctive, tuple(parts))


class _Variant(NamedTuple):
    """A step in one kind of events: its clauses, the selective first, and the leaves that rule it out."""

    clauses: tuple[tuple[int, ...], ...]
    excludes: tuple[int, ...]


class _Step:
    """A step as plans see it."""

    __slots__ = ("_costs", "_node", "_variants", "entry", "leaves", "rule_bit")

    def __init__(self, entry: Entry, rule_bit: int, node: _Node, leaves: int, costs: Sequence[int]) -> None:
        self.entry = entry
        self.rule_bit = rule_bit
        self.leaves = leaves
        self._node = node
        self._costs = costs
        self._variants: dict[tuple[int, int], _Variant | None] = {}

    def variant(self, known: int, truth: int) -> _Variant | None:
        """The step where of the leaves `known` just those in `truth` hold; None if it cannot be satisfied."""
        key = known & self.leaves, truth & known & self.leaves
        if key not in self._variants:
            if len(self._variants) >= _MAX_VARIANTS:
                self._variants.clear()
            try:
                self._variants[key] = self._made(*key)
            except RecursionError:
                self._variants[key] = _Variant((), ())
        return self._variants[key]

    def _made(self, known: int, truth: int) -> _Variant | None:
        node = _fold(self._node, known, truth)
        if node is _Fixed.FALSE:
            return None
        parts = node.parts if isinstance(node, _Junction) and node.conjunctive else (node,)
        ranked: list[tuple[int, tuple[int, ...]]] = []
        for part in parts:
            ranked += filter(None, [self._clause(part)])
        ranked.sort(key=lambda pair: pair[0])
        excludes = tuple(~part for part in parts if isinstance(part, int) and part < 0)
        return _Variant(tuple(leaves for _, leaves in ranked[:ROUNDS]), excludes)

    def _clause(self, node: _Node) -> tuple[int, tuple[int, ...]] | None:
        """Leaves of which one holds if the node does, and how often one may; None if there are none."""
        if isinstance(node, int):
            return (self._costs[node], (node,)) if node >= 0 else None
        if isinstance(node, _Fixed):
            return None
        clauses: list[tuple[int, tuple[int, ...]]] = []
        for part in node.parts:
            clause = self._clause(part)
            if clause is not None:
                clauses.append(clause)
        if node.conjunctive:
            return min(clauses, key=lambda clause: clause[0], default=None)
        if len(clauses) < len(node.parts):
            return None
        cost = sum(cost for cost, _ in clauses)
        return cost, tuple(dict.fromkeys(leaf for _, leaves in clauses for leaf in leaves))


def _cost_of(leaf: FieldLeaf, is_discriminator: bool) -> int:
    """About how often a leaf holds; only comparisons of such figures mean anything."""
    if is_discriminator:
        return 5_000
    match leaf:
        case Member(view=view, values=values):
            return 20 + 2 * len(values) if view in ("text", "folded") else 400
        case Wildcards(patterns=patterns):
            return sum(10 + 800 // (1 + _literal_length(pattern)) for pattern in patterns)
        case Regex(patterns=patterns):
            return 200 * len(patterns)
        case InBlocks():
            return 300
        case Range():
            return 1_000
        case Exists():
            return 3_000


def _size(leaf: FieldLeaf) -> int:
    """The number of literals or patterns of a leaf."""
    return len(leaf.values) if isinstance(leaf, Member) else len(getattr(leaf, "patterns", ()))


def _literal_length(pattern: str) -> int:
    return sum(character not in "*?" for character in pattern)


# --- tables -----------------------------------------------------------------------------------


class _Room:
    """What all tables remember; when it is too much, all of it is forgotten."""

    __slots__ = ("_all", "_left")

    def __init__(self) -> None:
        self._all: list[dict[object, Masks]] = []
        self._left = MAX_REMEMBERED

    def new(self) -> dict[object, Masks]:
        """What a new table remembers: nothing yet, and that None, no value, has no masks."""
        remembered: dict[object, Masks] = {None: _NO_MASKS}
        self._all.append(remembered)
        return remembered

    def take(self) -> None:
        """Make room for one more value."""
        self._left -= 1
        if self._left < 0:
            self._left = MAX_REMEMBERED
            for remembered in self._all:
                remembered.clear()
                remembered[None] = _NO_MASKS

    def clear(self) -> None:
        """Forget the tables, too."""
        self._all.clear()
        self._left = MAX_REMEMBERED


class Table:
    """What the values of one field say of a plan's steps."""

    __slots__ = ("_index", "_masks", "_room", "is_first", "path", "remembered", "ruled_out_by", "rules_out")

    def __init__(self, path: str, index: FieldIndex, room: _Room) -> None:
        self.path = path
        self.is_first = False
        self.rules_out = 0
        """The steps that some value rules out."""
        self.ruled_out_by = 0
        """How many literals and patterns do."""
        self.remembered = room.new()
        self._index = index
        self._room = room
        self._masks: dict[int, list[int]] = {}

    def add(self, leaf: int, place: int, bit: int) -> None:
        """If the leaf holds, the bit is set in the mask at `place`."""
        self._masks.setdefault(leaf, [0] * (ROUNDS + 1))[place] |= bit
        self.is_first = self.is_first or place == 0

    def says_at(self, place: int) -> bool:
        """True if some value sets a bit at the place."""
        return any(masks[place] for masks in self._masks.values())

    def masks(self, value: Scalar) -> Masks:
        """The masks for one value, as JSON has it."""
        if not isinstance(value, str):
            return self._combined(self._index.holding(value))
        found = self.remembered.get(value)
        if found is None:
            found = self._combined(self._index.holding(value))
            if len(value) <= LONGEST_REMEMBERED:
                self._room.take()
                self.remembered[value] = found
        return found

    def all_masks(self, values: Sequence[Scalar]) -> Masks:
        """The masks for a field that has several values."""
        if len(values) > MAX_ELEMENTS:
            return self._anything()
        every = [masks for masks in map(self.masks, values) if masks is not _NO_MASKS]
        return _union(every) if every else _NO_MASKS

    def masks_of(self, raw: object) -> Masks:
        """The masks for what a struct holds, which is a value or a tuple of values and None."""
        if not isinstance(raw, tuple):
            assert isinstance(raw, Scalar)
            return self.masks(raw)
        found = self.all_masks([value for value in raw if value is not None])
        if (
            sum([len(value) if isinstance(value, str) else LONGEST_REMEMBERED for value in raw])
            < LONGEST_REMEMBERED
        ):
            self._room.take()
            self.remembered[raw] = found
        return found

    def _anything(self) -> Masks:
        """Any leaf may hold, and none rules a step out."""
        if not self._masks:
            return _NO_MASKS
        return (*_union(list(self._masks.values()))[:ROUNDS], 0)

    def _combined(self, leaves: Iterable[int]) -> Masks:
        own = self._masks
        every = [own[leaf] for leaf in leaves if leaf in own]
        return _union(every) if every else _NO_MASKS


def _union(every: Sequence[Sequence[int]]) -> Masks:
    if len(every) == 1:
        return tuple(every[0])
    united = [0] * (ROUNDS + 1)
    for masks in every:
        for place, mask in enumerate(masks):
            united[place] |= mask
    return tuple(united)


class Plan:
    """The steps that one kind of events may satisfy, a bit each, in the order of the rules."""

    __slots__ = ("entries", "narrow_candidates", "open", "tables")

    def __init__(self, entries: Sequence[Entry], open_: Sequence[int], tables: Sequence[Table]) -> None:
        self.entries = entries
        self.open = open_
        """By round the steps that have no clause there."""
        self.tables = tables
        """First those that round 0 reads."""
        self.narrow_candidates: Callable[[Any], int] | None = None
        """As `candidates`, of structs."""

    def candidates(self, event: Event) -> int:
        """The steps that `event` may satisfy."""
        found: list[Masks] = []
        candidates = self.open[0]
        tables = iter(self.tables)
        for table in tables:
            masks = _masks_of(table, event)
            if masks is not _NO_MASKS:
                candidates |= masks[0]
                found.append(masks)
            if not table.is_first:
                break
        if not candidates:
            return 0
        found += [masks for masks in (_masks_of(table, event) for table in tables) if masks is not _NO_MASKS]
        return self._remaining(candidates, found)

    def _remaining(self, candidates: int, found: Sequence[Masks]) -> int:
        """Those of the candidates of round 0 that the later rounds leave, too."""
        for number in range(1, ROUNDS):
            holding = self.open[number]
            for masks in found:
                holding |= masks[number]
            candidates &= holding
        for masks in found:
            candidates &= ~masks[ROUNDS]
        return candidates

    def compile(self, narrowing: Narrowing) -> None:
        """Make `narrow_candidates` for structs of that kind: the rounds written out, each with the tables
        that have something to say in it, and an end as soon as no step is left."""
        if any(table.path not in narrowing.places for table in self.tables):
            return
        names: dict[str, Any] = {"none": _NO_MASKS, "under": scalars_under}
        lines = ["def narrow_candidates(root):", f" left = {self.open[0]}"]
        loaded: list[int] = []
        waiting = list(range(len(self.tables)))
        for place in (0, ROUNDS, *range(1, ROUNDS)):
            # What rules steps out comes in two parts: first from the values at hand, at the end from the rest
            self._write_round(place, narrowing, names, lines, loaded, waiting)
            if place == 0 and self.open[0]:
                self._write_exclusions(narrowing, names, lines, loaded, waiting)
        self._write_round(ROUNDS, narrowing, names, lines, loaded, waiting, last=True)
        exec(compile("\n".join([*lines, " return left"]), "<plan>", "exec"), names)  # noqa: S102  # ours alone
        self.narrow_candidates = names["narrow_candidates"]

    def _write_round(
        self,
        place: int,
        narrowing: Narrowing,
        names: dict[str, Any],
        lines: list[str],
        loaded: list[int],
        waiting: list[int],
        *,
        last: bool = False,
    ) -> None:
        told = [number for number, table in enumerate(self.tables) if table.says_at(place)]
        if place != ROUNDS or last:
            for number in [number for number in told if number in waiting]:
                waiting.remove(number)
                loaded.append(number)
                lines += self._loading(number, narrowing, names)
        masks = " | ".join(f"masks_{number}[{place}]" for number in told if number in loaded)
        if place == 0:
            lines += [f" left |= {masks}"] * bool(masks)
        elif place == ROUNDS:
            lines += [f" left &= ~({masks})"] * bool(masks)
        elif self.open[place] != self._all:
            lines.append(f" left &= {self.open[place]}{' | ' * bool(masks)}{masks}")
        else:
            return
        lines.append(" if not left: return 0")

    def _write_exclusions(
        self,
        narrowing: Narrowing,
        names: dict[str, Any],
        lines: list[str],
        loaded: list[int],
        waiting: list[int],
    ) -> None:
        """Steps without a clause are left by every round, unless a value rules them out: so that is looked at
        early, field by field, the one with most to rule out first."""
        ruling = [number for number in waiting if self.tables[number].rules_out & self.open[0]]
        for number in sorted(ruling, key=lambda number: -self.tables[number].ruled_out_by):
            waiting.remove(number)
            loaded.append(number)
            lines += self._loading(number, narrowing, names)
            lines += [f" left &= ~masks_{number}[{ROUNDS}]", " if not left: return 0"]

    @property
    def _all(self) -> int:
        return (1 << len(self.entries)) - 1

    def _loading(self, number: int, narrowing: Narrowing, names: dict[str, Any]) -> list[str]:
        """The lines that look a field's value up."""
        table = self.tables[number]
        place = narrowing.places[table.path]
        names[f"get_{number}"] = table.remembered.get
        names[f"make_{number}"] = table.masks_of
        value = ".".join(("root", *place.attributes))
        under = f"tuple(under(value, {place.rest or None!r}))" if place.rest is not None else ""
        return [
            f" value = {value}",
            f" if value is None: masks_{number} = none",
            " else:",
            *([f"  value = {under}"] if under else []),
            f"  masks_{number} = get_{number}(value)",
            f"  if masks_{number} is None: masks_{number} = make_{number}(value)",
        ]

    def chosen(self, candidates: int) -> Iterable[Entry]:
        """The entries of the bits that are set."""
        entries = self.entries
        while candidates:
            lowest = candidates & -candidates
            candidates ^= lowest
            yield entries[lowest.bit_length() - 1]


def _masks_of(table: Table, event: Event) -> Masks:
    values = event.values(table.path)
    if not values:
        return _NO_MASKS
    return table.masks(values[0]) if len(values) == 1 else table.all_masks(values)


# --- making plans -----------------------------------------------------------------------------


class Planner:
    """Picks the plan for an event, and makes it when there is reason to."""

    def __init__(self, rules: Sequence[CompiledRule], hot: int = HOT) -> None:
        self.discriminators = tuple(
            dict.fromkeys([*DISCRIMINATORS, *(rule.category_field for rule in rules)])
        )
        numbering = _Numbering(self.discriminators)
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
        drafts = [(entry, bit, _node(numbering, predicate)) for entry, bit, predicate in predicates]
        costs = [_cost_of(leaf, self._known >> n & 1 == 1) for n, leaf in enumerate(numbering.leaves)]
        self._steps = [
            _Step(entry, bit, node, _leaves_in(node, self._known), costs) for entry, bit, node in drafts
        ]
        self._leaves = numbering.leaves
        self.indices = {path: FieldIndex(numbered) for path, numbered in numbering.by_path().items()}
        self._room = _Room()
        self._plans: dict[tuple[int, Kind], Plan] = {}
        self._truths: dict[tuple[str, tuple[Scalar, ...]], int] = {}
        self._seen: dict[Kind, int] = {}
        self._hot = hot
        self.forgotten = 0
        """How often all plans were forgotten."""
        self.narrowing = Narrowing(_read_by(rules), (*self.discriminators, *INDEX_FIELDS))

    def _truth(self, path: str, values: tuple[Scalar, ...]) -> int:
        """The leaves on the discriminator `path` that hold if it has these values."""
        index = self.indices.get(path)
        truth = 0
        if index is not None:
            for value in values:
                for leaf in index.holding(value):
                    truth |= 1 << leaf
        # Equal numbers and booleans may be different values
        if all(isinstance(value, str) and len(value) <= LONGEST_REMEMBERED for value in values[:9]):
            if len(self._truths) >= _MAX_TRUTHS:
                self._truths.clear()
            if len(values) < 9:
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
                self._room.clear()
            plan = self._plans[known, kind] = self._made(known, *kind)
            if known == self._known:
                plan.compile(self.narrowing)
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
                table.ruled_out_by += _size(self._leaves[leaf])
        return Plan(entries, open_, sorted(tables.values(), key=lambda table: not table.is_first))

    def _table(self, leaf: int, tables: dict[str, Table]) -> Table:
        path = self._leaves[leaf].path
        table = tables.get(path)
        if table is None:
            table = tables[path] = Table(path, self.indices[path], self._room)
        return table


def _node(numbering: _Numbering, predicate: Predicate) -> _Node:
    """The predicate with leaves by number; one that is nested too deep for that may be anything."""
    try:
        return numbering.node(predicate)
    except RecursionError:
        return _Fixed.OPEN


def _read_by(rules: Iterable[CompiledRule]) -> set[str]:
    """The fields that rules read."""
    paths: set[str] = set()
    for rule in rules:
        paths |= {rule.timestamp_field, rule.tiebreaker_field}
        for step in rule.steps:
            paths |= fields(step.predicate)
            paths.update(key.path for key in step.keys)
    return paths


class _Numbering:
    """Gives leaves their numbers, those on discriminators first."""

    def __init__(self, discriminators: Iterable[str]) -> None:
        self.leaves: list[FieldLeaf] = []
        self._discriminators = frozenset(discriminators)
        self._numbers: dict[FieldLeaf, int] = {}

    def number(self, leaf: FieldLeaf) -> int:
        """The leaf's number, a new one if it has none."""
        number = self._numbers.get(leaf)
        if number is None:
            number = self._numbers[leaf] = len(self.leaves)
            self.leaves.append(leaf)
        return number

    def note_discriminators(self, predicate: Predicate) -> None:
        """Numbers the leaves on discriminators that are in the predicate."""
        match predicate:
            case And(operands=operands) | Or(operands=operands):
                for operand in operands:
                    self.note_discriminators(operand)
            case Not(operand=operand):
                self.note_discriminators(operand)
            case Exists() | Member() | Range() | InBlocks() | Wildcards() | Regex():
                if predicate.path in self._discriminators:
                    self.number(predicate)

    def node(self, predicate: Predicate, *, negated: bool = False) -> _Node:
        """The predicate, or its complement, with leaves by number."""
        match predicate:
            case And(operands=operands) | Or(operands=operands):
                parts: list[_Node] = []
                for operand in operands:
                    parts.append(self.node(operand, negated=negated))  # noqa: PERF401  # one frame a level
                return _Junction(isinstance(predicate, And) is not negated, tuple(parts))
            case Not(operand=operand):
                return self.node(operand, negated=not negated)
            case Constant(value=value):
                return _Fixed.TRUE if value is not negated else _Fixed.FALSE
            case Exists() | Member() | Range() | InBlocks() | Wildcards() | Regex():
                number = self.number(predicate)
                return ~number if negated else number
        return _Fixed.OPEN

    def by_path(self) -> Mapping[str, Sequence[tuple[int, FieldLeaf]]]:
        """The leaves with their numbers, by the field that they ask for."""
        found: dict[str, list[tuple[int, FieldLeaf]]] = {}
        for number, leaf in enumerate(self.leaves):
            found.setdefault(leaf.path, []).append((number, leaf))
        return found


def _leaves_in(node: _Node, among: int) -> int:
    """The leaves in a node that are `among` those, a bit each."""
    if isinstance(node, _Junction):
        found = 0
        for part in node.parts:
            found |= _leaves_in(part, among)
        return found
    return 0 if isinstance(node, _Fixed) else among & 1 << (node if node >= 0 else ~node)
