"""Tables: what the values of one field say of a plan's steps, remembered as bit masks.

A value has one mask for each round of clauses (the steps with a clause that holds), and one of the steps
that it rules out. See `engine.plans` for how they are used.

Rule 1: a table may let a step through that is not satisfied, and never stops one that is.
"""

from __future__ import annotations

from collections.abc import Sequence

from detectord.engine.clauses import ROUNDS
from detectord.engine.leaves import FieldIndex
from detectord.engine.room import LONGEST_REMEMBERED, Room
from detectord.eql.text import Scalar

MAX_ELEMENTS = 64
"""Values of one field of an event that are looked up. A look-up asks all rules' leaves, a step only its own,
and only if all else holds: of an attacker's ten thousand new values the steps are the cheaper judges."""

Masks = tuple[int, ...]
"""By round the steps with a clause that holds, and last the steps that are ruled out."""

NO_MASKS: Masks = (0,) * (ROUNDS + 1)


class Table:
    """What the values of one field say of a plan's steps."""

    __slots__ = (
        "_index",
        "_masks",
        "_own",
        "_room",
        "is_first",
        "path",
        "remembered",
        "ruled_out_by",
        "rules_out",
    )

    def __init__(self, path: str, index: FieldIndex, room: Room) -> None:
        self.path = path
        self.is_first = False
        self.rules_out = 0
        """The steps that some value rules out."""
        self.ruled_out_by = 0
        """How many literals and patterns do."""
        self.remembered: dict[object, Masks] = room.new({None: NO_MASKS})
        self._index = index
        self._own: FieldIndex | None = None
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
        if type(value) is str:
            return self.remembered.get(value) or self.masks_of(value)
        # 1, 1.0 and true are equal but different, and so are the floats 0.0 and -0.0
        key = (type(value), value) if type(value) is not float else None
        found = self.remembered.get(key) if key is not None else None
        if found is None:
            found = self._union_of(self._asked().holding(value))
            if key is not None:
                self._room.take(0)
                self.remembered[key] = found
        return found

    def _asked(self) -> FieldIndex:
        """What is asked of a value that is not remembered."""
        if self._own is None:
            self._own = self._index.among(self._masks)
        return self._own

    def _union_of(self, leaves: Sequence[int]) -> Masks:
        own = self._masks
        every = [own[leaf] for leaf in leaves if leaf in own]
        return _union(every) if every else NO_MASKS

    def all_masks(self, values: Sequence[Scalar]) -> Masks:
        """The masks for a field that has several values."""
        if len(values) > MAX_ELEMENTS:
            return self._anything()
        every = [masks for masks in map(self.masks, values) if masks is not NO_MASKS]
        return _union(every) if every else NO_MASKS

    def masks_of(self, raw: object) -> Masks:
        """The masks for what a struct holds, which is a value or a tuple of values and None, and is not
        remembered as it is."""
        if type(raw) is not str:
            return self._masks_of_other(raw)
        leaves = (self._own or self._asked()).holding_text(raw)
        found = self._union_of(leaves) if leaves else NO_MASKS
        size = len(raw)
        if size <= LONGEST_REMEMBERED:
            self._room.take(size)
            self.remembered[raw] = found
        return found

    def _masks_of_other(self, raw: object) -> Masks:
        if not isinstance(raw, tuple):
            assert isinstance(raw, Scalar)
            return self.masks(raw)
        found = self.all_masks([value for value in raw if value is not None])
        if all(isinstance(value, str) for value in raw):
            size = sum(map(len, raw))
            if size <= LONGEST_REMEMBERED:
                self._room.take(size)
                self.remembered[raw] = found
        return found

    def _anything(self) -> Masks:
        """Any leaf may hold, and none rules a step out."""
        if not self._masks:
            return NO_MASKS
        return (*_union(list(self._masks.values()))[:ROUNDS], 0)


def _union(every: Sequence[Sequence[int]]) -> Masks:
    if len(every) == 1:
        return tuple(every[0])
    united = [0] * (ROUNDS + 1)
    for masks in every:
        for place, mask in enumerate(masks):
            united[place] |= mask
    return tuple(united)
