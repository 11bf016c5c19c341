"""Tables: what the values of one field say of a plan's steps, remembered as bit masks.

A value has one mask for each round of clauses (the steps with a clause that holds), and one of the steps
that it rules out. See `engine.plans` for how they are used.

Rule 1: a table may let a step through that is not satisfied, and never stops one that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        "_holding",
        "_index",
        "_masks",
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
        self._holding: Callable[[Scalar], list[int]] | None = None
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
        # 1, 1.0 and true are equal but different, and so are the floats 0.0 and -0.0
        kind = type(value)
        key = value if kind is str else (kind, value) if kind is not float else None
        found = self.remembered.get(key) if key is not None else None
        return self._new(value, key) if found is None else found

    def _new(self, value: Scalar, key: object) -> Masks:
        """The masks for a value that is not remembered; from now on it is, by its key, if it has one."""
        own = self._masks
        if self._holding is None:
            self._holding = self._index.among(own).holding
        every = [own[leaf] for leaf in self._holding(value) if leaf in own]
        found = _union(every) if every else NO_MASKS
        size = len(value) if isinstance(value, str) else 0
        if key is not None and size <= LONGEST_REMEMBERED:
            self._room.take(size)
            self.remembered[key] = found
        return found

    def all_masks(self, values: Sequence[Scalar]) -> Masks:
        """The masks for a field that has several values."""
        if len(values) > MAX_ELEMENTS:
            return self._anything()
        every = [masks for masks in map(self.masks, values) if masks is not NO_MASKS]
        return _union(every) if every else NO_MASKS

    def masks_of(self, raw: object) -> Masks:
        """The masks for what a struct holds, which is a value or a tuple of values and None, and is not
        remembered as it is."""
        if isinstance(raw, str):
            return self._new(raw, raw)
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
