"""Wildcard patterns: `*` any run of characters, `?` exactly one, everything else itself.

A pattern is cut at its stars into segments; a segment is literal runs with holes (`?`) between
them. The first and the last segment stand at the ends of the value, and each other one is looked for
after its predecessor, leftmost first, which is always right as an earlier place leaves more room. So
there is no going back: `str.find` passes over a value at most once for each literal run. A hostile value
costs time in proportion to its length, at worst (runs that stand everywhere in it but never at the right
distance from each other) one short search for each of its characters and each run of a segment.

A list of patterns is sorted by shape when it is compiled, so that its cost does not grow with its
length where that can be avoided:

- plain strings are one set, `x*` and `*x` one `startswith` and one `endswith` (or, for very many, one
  set a length), all `*x*` together one search;
- any other pattern is tried only if the value has its first or last literal run in the right place,
  found by a look-up for each place and length of such runs, or, for a pattern with stars at both ends,
  if the value contains its longest run: one search for those of all such patterns.

Patterns and values are compared as they are: for a match without regard to case the caller folds both.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import methodcaller

from detectord.eql.search import Needle, compile_search

Test = Callable[[str], bool]

_LONGEST_KEY = 24
"""Of a literal run, at most this many characters are used to find the patterns that have it: enough to
tell most apart, and few different lengths to look up."""

_COST_OF_LOOK_UP = 10
"""How many items of a `startswith` cost as much as one look-up of a slice in a set; about."""

STARS = re.compile(r"\*+")
_RUN = re.compile(r"[^?]+")


@dataclass(frozen=True, slots=True)
class Run:
    """A literal text, and where it starts in its segment."""

    offset: int
    text: str

    @property
    def end(self) -> int:
        """Where it ends in its segment."""
        return self.offset + len(self.text)


@dataclass(frozen=True, slots=True)
class Segment:
    """What stands between two stars: of fixed length, literal runs with holes between them."""

    length: int
    runs: tuple[Run, ...]

    @classmethod
    def of(cls, text: str) -> Segment:
        """The segment written as `text`, which has no stars."""
        return cls(len(text), tuple(Run(run.start(), run[0]) for run in _RUN.finditer(text)))

    def stands_at(self, value: str, start: int) -> bool:
        """True if the segment matches at `start`; the value must be long enough."""
        for run in self.runs:  # noqa: SIM110  # a generator would cost more than the test itself
            if not value.startswith(run.text, start + run.offset):
                return False
        return True

    def find(self, value: str, start: int, end: int) -> int:
        """The leftmost place in `value[start:end]` where the segment matches, -1 if none.

        The runs take turns: one that is not at the place assumed moves that place to where it is
        next found, until all of them agree on it. Each only ever searches forward.
        """
        if not self.runs:
            return start if start + self.length <= end else -1
        slack = end - self.length
        turns = [(run.text, run.offset, slack + run.end) for run in self.runs]
        agreed = 0
        for text, offset, stop in itertools.cycle(turns):
            found = value.find(text, start + offset, stop) - offset
            if found == start:
                agreed += 1
            elif found < start:
                return -1
            else:
                start = found
                agreed = 1
            if agreed == len(turns):
                break
        return start


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern with anything more than plain text in it: its segments, the first and last of which may be
    empty, and the length of the shortest value it matches. One segment only: no star."""

    segments: tuple[Segment, ...]
    shortest: int

    @classmethod
    def of(cls, text: str) -> Pattern:
        """The pattern written as `text`."""
        first, *rest = text.split("*")
        kept = [first, *filter(None, rest[:-1]), *rest[-1:]]
        segments = tuple(map(Segment.of, kept))
        return cls(segments, sum(segment.length for segment in segments))

    def matches(self, value: str) -> bool:
        """True if the whole value matches."""
        size = len(value)
        head, tail = self.segments[0], self.segments[-1]
        if size < self.shortest or not head.stands_at(value, 0):
            return False
        if len(self.segments) == 1:
            return size == self.shortest
        end = size - tail.length
        if not tail.stands_at(value, end):
            return False
        place = head.length
        for segment in self.segments[1:-1]:
            place = segment.find(value, place, end)
            if place < 0:
                return False
            place += segment.length
        return True


def compile_wildcards(patterns: Iterable[str]) -> Test:
    """A test: does the whole value match any of the patterns?"""
    plain: set[str] = set()
    prefixes: dict[int, set[str]] = defaultdict(set)  # by the number of holes before them
    suffixes: dict[int, set[str]] = defaultdict(set)  # by the number of holes after them
    parts: set[str] = set()
    bare: list[str] = []  # nothing but stars and holes
    others: list[Pattern] = []
    for text in sorted({STARS.sub("*", pattern) for pattern in patterns}):
        literal = text.strip("*?")
        if literal == text and _is_plain(text):
            plain.add(text)
        elif not literal:
            bare.append(text)
        elif text == f"*{literal}*" and _is_plain(literal):
            parts.add(literal)
        elif text == f"{'?' * text.index(literal)}{literal}*" and _is_plain(literal):
            prefixes[text.index(literal)].add(literal)
        elif text == f"*{literal}{'?' * (len(text) - len(literal) - 1)}" and _is_plain(literal):
            suffixes[len(text) - len(literal) - 1].add(literal)
        else:
            others.append(Pattern.of(text))
    return _any_of(
        [
            *([plain.__contains__] if plain else []),
            *(_prefix_test(texts, holes) for holes, texts in prefixes.items()),
            *(_suffix_test(texts, holes) for holes, texts in suffixes.items()),
            *([_part_test(parts)] if parts else []),
            *([_size_test(bare)] if bare else []),
            *_other_tests(others),
        ]
    )


def _is_plain(text: str) -> bool:
    return "*" not in text and "?" not in text


def _any_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def test(value: str) -> bool:
        for one in tests:  # noqa: SIM110  # as above
            if one(value):
                return True
        return False

    return test


def _prefix_test(texts: set[str], holes: int) -> Test:
    needed: list[str] = []
    for text in sorted(texts):  # a prefix sorts just before what starts with it
        if not needed or not text.startswith(needed[-1]):
            needed.append(text)
    sizes = {len(text) for text in needed}
    if len(needed) <= _COST_OF_LOOK_UP * len(sizes):
        return methodcaller("startswith", tuple(needed), holes)
    return _look_up_test(needed, {size: slice(holes, holes + size) for size in sizes})


def _suffix_test(texts: set[str], holes: int) -> Test:
    needed: list[str] = []
    for text in sorted(texts, key=_reversed):
        if not needed or not text.endswith(needed[-1]):
            needed.append(text)
    sizes = {len(text) for text in needed}
    if len(needed) <= _COST_OF_LOOK_UP * len(sizes):
        return methodcaller("endswith", tuple(needed), 0, *([-holes] if holes else []))
    return _look_up_test(needed, {size: slice(-holes - size, -holes or None) for size in sizes})


def _reversed(text: str) -> str:
    return text[::-1]


def _look_up_test(texts: list[str], cuts: dict[int, slice]) -> Test:
    """A set a length. A value too short for a cut gives a shorter text, which is in no set."""
    sets = [(cut, {text for text in texts if len(text) == size}) for size, cut in cuts.items()]

    def test(value: str) -> bool:
        for cut, known in sets:  # noqa: SIM110  # as above
            if value[cut] in known:
                return True
        return False

    return test


def _part_test(parts: set[str]) -> Test:
    search = compile_search([Needle(part) for part in sorted(parts, key=len)])
    return lambda value: bool(search(value))


def _size_test(patterns: list[str]) -> Test:
    sizes = {len(pattern) for pattern in patterns if "*" not in pattern}
    least = min((pattern.count("?") for pattern in patterns if "*" in pattern), default=math.inf)
    return lambda value: len(value) >= least or len(value) in sizes


Key = tuple[int, int | None, str]
"""Where to cut a value (start and stop of a slice), and what must be found there."""


def _other_tests(patterns: list[Pattern]) -> list[Test]:
    anchored: list[tuple[Pattern, list[Key]]] = []
    floating: list[tuple[str, Pattern]] = []
    for pattern in patterns:
        if keys := _keys(pattern):
            anchored.append((pattern, keys))
        else:
            runs = [run.text for segment in pattern.segments for run in segment.runs]
            floating.append((max(runs, key=len), pattern))
    return [
        *([_anchored_test(anchored)] if anchored else []),
        *([_floating_test(floating)] if floating else []),
    ]


def _keys(pattern: Pattern) -> list[Key]:
    """The keys a pattern can be found by: one for its first segment, one for its last."""
    keys: list[Key] = []
    head, tail = pattern.segments[0], pattern.segments[-1]
    if head.runs:
        run = max(head.runs, key=_size)
        text = run.text[:_LONGEST_KEY]
        keys.append((run.offset, run.offset + len(text), text))
    if tail.runs and tail is not head:
        run = max(tail.runs, key=_size)
        text = run.text[-_LONGEST_KEY:]
        stop = run.end - tail.length
        keys.append((stop - len(text), stop or None, text))
    return keys


def _size(run: Run) -> int:
    return len(run.text)


def _anchored_test(patterns: list[tuple[Pattern, list[Key]]]) -> Test:
    shared = Counter(key for _, keys in patterns for key in keys)
    tables: dict[tuple[int, int | None], dict[str, list[Pattern]]] = {}
    for pattern, keys in patterns:
        start, stop, text = min(keys, key=lambda key: (shared[key], -len(key[2])))
        tables.setdefault((start, stop), {}).setdefault(text, []).append(pattern)
    cuts = [(slice(start, stop), table) for (start, stop), table in tables.items()]

    def test(value: str) -> bool:
        for cut, table in cuts:
            for pattern in table.get(value[cut], ()):
                if pattern.matches(value):
                    return True
        return False

    return test


def _floating_test(patterns: list[tuple[str, Pattern]]) -> Test:
    by_part: dict[str, list[Pattern]] = defaultdict(list)
    for part, pattern in patterns:
        by_part[part].append(pattern)
    search, candidates = compile_search(list(map(Needle, by_part))), list(by_part.values())

    def test(value: str) -> bool:
        for number in search(value):
            for pattern in candidates[number]:
                if pattern.matches(value):
                    return True
        return False

    return test
