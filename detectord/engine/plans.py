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

    def compile(self, narrowing: Narrowing) -> None:
        """Make `narrow_candidates` for structs of that kind: the rounds written out, each with the tables
        that have something to say in it, and an end as soon as no step is left."""
        if any(table.path not in narrowing.places for table in self.tables):
            return
        names: dict[str, Any] = {"none": NO_MASKS, "under": scalars_under}
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
        if place.rest is not None:
            value = f"tuple(under({value}, {place.rest or None!r}))"
        return [
            f" value = {value}",
            f" if value is None: masks_{number} = none",
            f" else: masks_{number} = get_{number}(value) or make_{number}(value)",
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
        return NO_MASKS
    return table.masks(values[0]) if len(values) == 1 else table.all_masks(values)
