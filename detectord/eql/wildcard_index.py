r"""Which of many lists of wildcard patterns have one that a value matches: one pass, however many there are.

Each pattern has a needle, a literal text of it with its place; one search finds the needles that a value
has. A pattern that says no more than its needle (`*\temp\*`, `?:\users\*`, `*.exe`) matches then, any
other is tried. See `eql.wildcard` for what patterns mean, and for one list alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from detectord.eql.search import MOST_HOLES, Needle, compile_search
from detectord.eql.wildcard import STARS, Pattern, Run


@dataclass(slots=True)
class _Having:
    """What a value that has a needle matches: the lists of some numbers, and maybe those of some patterns."""

    lists: list[int] = field(default_factory=list)
    patterns: list[tuple[Pattern, int]] = field(default_factory=list)


class WildcardIndex:
    """Lists of patterns by number."""

    __slots__ = ("_having", "_plain", "_search", "_unbound")

    def __init__(self, lists: Iterable[tuple[int, Iterable[str]]]) -> None:
        self._plain: dict[str, list[int]] = {}
        self._unbound: list[tuple[Pattern, int]] = []
        """Patterns without a literal."""
        having: dict[Needle, _Having] = {}
        for number, patterns in lists:
            for text in sorted({STARS.sub("*", pattern) for pattern in patterns}):
                if "*" not in text and "?" not in text:
                    self._plain.setdefault(text, []).append(number)
                    continue
                pattern = Pattern.of(text)
                needle, says_all = _needle(pattern)
                if needle is None:
                    self._unbound.append((pattern, number))
                elif says_all:
                    having.setdefault(needle, _Having()).lists.append(number)
                else:
                    having.setdefault(needle, _Having()).patterns.append((pattern, number))
        self._search = compile_search(list(having))
        self._having = list(having.values())

    def find(self, value: str) -> Collection[int]:
        """The numbers of the lists with a pattern that the whole value matches, each once."""
        plain, needles = self._plain.get(value, ()), self._search(value)
        if not (needles or plain or self._unbound):
            return ()
        found = set(plain)
        for needle in needles:
            having = self._having[needle]
            found.update(having.lists)
            for pattern, number in having.patterns:
                if number not in found and pattern.matches(value):
                    found.add(number)
        for pattern, number in self._unbound:
            if number not in found and pattern.matches(value):
                found.add(number)
        return found


def _needle(pattern: Pattern) -> tuple[Needle | None, bool]:
    """The longest literal text of a pattern, and whether a value that has it matches for that."""
    head, tail = pattern.segments[0], pattern.segments[-1]
    placed: list[Needle] = []
    for segment in pattern.segments:
        before = 0 if segment is head else None
        behind = segment.length if segment is tail else None
        placed += [_placed(run, before, behind) for run in segment.runs]
    if not placed:
        return None, False
    needle = max(placed, key=lambda needle: len(needle.text))
    told = len(needle.text) + (needle.before or 0) + (needle.behind or 0)
    return needle, len(placed) == 1 and told == pattern.shortest


def _placed(run: Run, before: int | None, behind: int | None) -> Needle:
    """The needle of a run in a segment with `before` characters before it, and of a length of `behind` if
    nothing but the segment is behind its start."""
    needle = Needle(
        run.text,
        None if before is None else before + run.offset,
        None if behind is None else behind - run.end,
    )
    return needle if max(needle.before or 0, needle.behind or 0) <= MOST_HOLES else Needle(run.text)
