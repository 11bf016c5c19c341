"""Plans: for events that are alike, the steps they may satisfy, found by a few look-ups.

Most rules ask for a few fields of few values, the *discriminators*: category, type, action, operating
system. What they say of an event, leaf by leaf, is its *kind* (`engine.planner`), and for a kind there is a
plan: the steps that are still possible, with their clauses (`engine.clauses`), lists of leaves of which one
must hold if the step is satisfied.

In round 0 a step is a candidate if its most selective clause holds; each further round asks for one clause
more. A field's table (`engine.tables`) has for each of its values one bit mask a round, and one of the
steps that the value rules out. So an event costs one look-up for each field that first clauses read, and
nothing more if the masks come to zero, which is the rule. Candidates are then tested exactly, by their
matchers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from detectord.engine.clauses import ROUNDS, Entry
from detectord.engine.tables import NO_MASKS, Masks, Table
from detectord.events.event import Event, scalars_under
from detectord.events.narrow import Narrowing
from detectord.events.parts import Part


class Plan:
    """The steps that one kind of events may satisfy, a bit each, in the order of the rules."""

    __slots__ = ("_readers", "entries", "open", "tables")

    def __init__(self, entries: Sequence[Entry], open_: Sequence[int], tables: Sequence[Table]) -> None:
        self.entries = entries
        self.open = open_
        """By round the steps that have no clause there."""
        self.tables = tables
        """First those that round 0 reads."""
        self._readers: dict[bool, Callable[[Any], int] | None] = {}

    def candidates(self, event: Event) -> int:
        """The steps that `event` may satisfy."""
        found: list[Masks] = []
        candidates = self.open[0]
        tables = iter(self.tables)
        for table in tables:
            masks = _masks_of(table, event)
            if masks is not NO_MASKS:
                candidates |= masks[0]
                found.append(masks)
            if not table.is_first:
                break
        if not candidates:
            return 0
        found += [masks for masks in (_masks_of(table, event) for table in tables) if masks is not NO_MASKS]
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

    def reader(self, narrowing: Narrowing, *, of_documents: bool) -> Callable[[Any], int] | None:
        """As `candidates`, of structs of that kind, and raises MsgspecError or RecursionError if a part is
        refused; None: it cannot be asked of structs."""
        if of_documents not in self._readers:
            self._readers[of_documents] = _Writing(self, narrowing, of_documents=of_documents).function()
        return self._readers[of_documents]

    def chosen(self, candidates: int) -> Iterable[Entry]:
        """The entries of the bits that are set."""
        entries = self.entries
        while candidates:
            lowest = candidates & -candidates
            candidates ^= lowest
            yield entries[lowest.bit_length() - 1]


class _Writing:
    """Writes a plan's function for structs: the rounds one after the other, each with the tables that have
    something to say in it, and an end as soon as no step is left.

    A part of an event is read when the first of its fields is looked at: in round 0 for those that are looked
    at there, later for all others.
    """

    def __init__(self, plan: Plan, narrowing: Narrowing, *, of_documents: bool) -> None:
        self._plan = plan
        self._narrowing = narrowing
        self._of_documents = of_documents
        self._names: dict[str, Any] = {"none": NO_MASKS, "under": scalars_under}
        self._lines = ["def candidates_in(root):", f" left = {plan.open[0]}"]
        self._waiting = list(range(len(plan.tables)))
        self._loaded: list[int] = []
        self._parts: dict[str, tuple[str, Part]] = {}
        """By attribute of the root: the variable that has what was read there, and what read it."""

    def function(self) -> Callable[[Any], int] | None:
        """The function, if structs have all fields of the plan."""
        tables, open_ = self._plan.tables, self._plan.open[0]
        if not all(self._narrowing.holds(table.path) for table in tables):
            return None
        first = [n for n in self._waiting if tables[n].says_at(0)]
        ruling = [n for n in self._waiting if n not in first and tables[n].rules_out & open_]
        self._read(first + ruling)
        self._load(first)
        self._write_round(0)
        # Steps without a clause are left by every round, unless a value rules them out: so that is looked at
        # early, field by field, the one with most to rule out first
        for number in sorted(ruling, key=lambda number: -tables[number].ruled_out_by):
            self._load([number])
            self._lines += [f" left &= ~masks_{number}[{ROUNDS}]", " if not left: return 0"]
        # What rules steps out comes in two parts: first from the values at hand, at the end from the rest
        self._write_round(ROUNDS)
        self._read(self._waiting)
        for place in range(1, ROUNDS):
            self._load([number for number in self._waiting if tables[number].says_at(place)])
            self._write_round(place)
        self._load([number for number in self._waiting if tables[number].says_at(ROUNDS)])
        self._write_round(ROUNDS)
        source = "\n".join([*self._lines, " return left"])
        exec(compile(source, "<plan>", "exec"), self._names)  # noqa: S102  # ours alone
        made: Callable[[Any], int] = self._names["candidates_in"]
        return made

    def _write_round(self, place: int) -> None:
        plan, loaded = self._plan, sorted(self._loaded)
        masks = " | ".join(f"masks_{n}[{place}]" for n in loaded if plan.tables[n].says_at(place))
        if place == 0:
            self._lines += [f" left |= {masks}"] * bool(masks)
        elif place == ROUNDS:
            self._lines += [f" left &= ~({masks})"] * bool(masks)
        elif plan.open[place] != (1 << len(plan.entries)) - 1:
            self._lines.append(f" left &= {plan.open[place]}{' | ' * bool(masks)}{masks}")
        else:
            return
        self._lines.append(" if not left: return 0")

    def _read(self, numbers: Iterable[int]) -> None:
        """Prepares the reading of the fields of some tables that are in parts."""
        wanted: dict[str, list[str]] = {}
        for number in numbers:
            found = self._narrowing.parts.get(self._plan.tables[number].path)
            if found is not None:
                wanted.setdefault(found[0], []).append(found[1])
        self._parts = {
            attribute: (f"part_{len(self._names)}_{attribute}", self._narrowing.reader(tuple(sorted(paths))))
            for attribute, paths in wanted.items()
        }

    def _load(self, numbers: Iterable[int]) -> None:
        """Writes the look-up of the values of some tables."""
        for number in list(numbers):
            self._waiting.remove(number)
            self._loaded.append(number)
            table = self._plan.tables[number]
            self._names[f"get_{number}"] = table.remembered.get
            self._names[f"make_{number}"] = table.masks_of
            self._lines += [
                f" value = {self._value(table.path)}",
                f" if value is None: masks_{number} = none",
                f" else: masks_{number} = get_{number}(value) or make_{number}(value)",
            ]

    def _value(self, path: str) -> str:
        """The expression for what structs have at the path."""
        place = self._narrowing.places.get(path)
        variable = "root"
        if place is None:
            attribute, below = self._narrowing.parts[path]
            variable, part = self._parts[attribute]
            place = part.places[below]
            if variable not in self._names:
                self._names[variable] = None
                self._names[f"read_{variable}"] = part.convert if self._of_documents else part.decode
                self._names[f"empty_{variable}"] = part.empty
                data = f"root.{attribute}"
                self._lines.append(
                    f" {variable} = empty_{variable} if {data} is None else read_{variable}({data})"
                )
        value = ".".join((variable, *place.attributes))
        return value if place.rest is None else f"tuple(under({value}, {place.rest or None!r}))"


def _masks_of(table: Table, event: Event) -> Masks:
    values = event.values(table.path)
    if not values:
        return NO_MASKS
    return table.masks(values[0]) if len(values) == 1 else table.all_masks(values)
