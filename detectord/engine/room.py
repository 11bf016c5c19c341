"""The room for remembered values: a bound on all that the engine remembers of what events say.

Whoever writes events may make every value of every field a new one. So everything remembered is charged to
one account, and when that is used up all of it is forgotten at once: whatever is still of use comes back
soon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST_REMEMBERED = 2_048
"""Characters of a value that is remembered; longer ones seldom come again."""

ROOM = 32 * 1024 * 1024
"""What the values of one engine may take, in characters."""

_EACH = 200
"""What a value takes besides its characters, about."""


class Room:
    """Makes dicts that remember, and empties them when they hold too much."""

    __slots__ = ("_left", "_made", "_size")

    def __init__(self, size: int = ROOM) -> None:
        self._size = self._left = size
        self._made: list[tuple[dict[Any, Any], Mapping[Any, Any]]] = []

    def new(self, always: Mapping[Any, Any]) -> dict[Any, Any]:
        """A dict for values, with what it is never to forget."""
        remembered = dict(always)
        self._made.append((remembered, always))
        return remembered

    def take(self, characters: int) -> None:
        """Make room for one more value."""
        self._left -= characters + _EACH
        if self._left < 0:
            self._left = self._size
            for remembered, always in self._made:
                remembered.clear()
                remembered.update(always)
