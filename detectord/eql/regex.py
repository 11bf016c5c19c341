r"""Regular expressions: Lucene's syntax, translated to RE2, which takes linear time on any value.

A pattern matches the whole value. `translate` reads Lucene's syntax, all its optional operators on, item
by item and writes each item so that nothing of RE2's own syntax is left to chance: every character is
escaped or spelled by number, every class is written as ranges, groups do not capture. Nesting is kept on
a list, not on the call stack.

RE2 has no intersection (`&`) and no complement (`~`). Where one is the whole of the pattern, or of an
alternative or side that is, the pattern becomes a `Junction`: several programs, all asked for the whole
value. Inside of a row of other items it is refused.

Where Lucene expects an item (at the start of the pattern, of a group, of an alternative, of a side, and
behind `~`), it takes any character but `. # @ " ( < [ ~ \` as itself: `*a`, `a||b`, `a&&b` begin a side with
a literal `*`, `|`, `&`. So do we, and `Translated.ordinary` says where, as hardly anybody means it.

Without regard to case means: a folded pattern on a folded value. RE2's own case-insensitivity is not
used, as it differs from `fold`. In folded text no character has another folded form, so a class only
needs the folded forms of its members added; its members as they were do no harm.

A lone surrogate in a value, which RE2 cannot be given, is U+FFFD to a pattern: one character like
any other for `.`, never a letter or a digit.
"""

from __future__ import annotations

import re
import string
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NoReturn

import re2

from detectord.eql.text import fold

LONGEST_PATTERN = 1_000
"""Characters; Elasticsearch has the same limit."""
MOST_REPETITIONS = 1_000
"""The largest number in `{n,m}`."""
MOST_OPERATORS = 50
"""How many `&` and `~` a pattern may have: they nest on the call stack."""
MOST_INSTRUCTIONS = 50_000
"""How large RE2's programs for the patterns of one query may be together; making so many takes a tenth of a
second. The rules of the world need a few hundred."""

Range = tuple[int, int]
"""First and last code point, both inside."""

_LAST = 0x10FFFF
_LARGEST_BOUND = 2**31 - 1
_PLAIN = frozenset(string.ascii_letters + string.digits)
_NOTHING = f"[^\\x{{0}}-\\x{{{_LAST:x}}}]"
_SURROGATE = re.compile("[\ud800-\udfff]")
_COUNT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_INTERVAL = re.compile(r"([0-9]+)-([0-9]+)")


class RegexError(ValueError):
    """A pattern that cannot be used: why, and the offset in it (in characters) of the trouble."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Junction:
    """`any` or `all` of the parts match the value, or `not` the one part."""

    kind: Literal["any", "all", "not"]
    parts: tuple[Tree, ...]


Tree = str | Junction
"""What is asked of a whole value: an RE2 pattern, or several."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A Lucene pattern for RE2, and the offsets of operators in it that have nothing to operate on."""

    tree: Tree
    ordinary: tuple[int, ...]


def translate(pattern: str, insensitive: bool = False) -> Translated:
    """What a Lucene pattern asks of a value, which is folded if `insensitive`.

    Raises RegexError. RE2 may still find the result too large; `compile_regex` says so.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise RegexError(f"a pattern has at most {LONGEST_PATTERN} characters", LONGEST_PATTERN)
    surrogate = _SURROGATE.search(pattern)
    if surrogate:
        raise RegexError("half a surrogate pair is not a character", surrogate.start())
    return _Translator(pattern, insensitive).run()


def compile_regex(patterns: Sequence[str], insensitive: bool = False) -> Callable[[str], bool]:
    """A test: does any of the patterns match the whole value? The value is given as it is; it is
    folded here if `insensitive`. Raises RegexError, its offset counted in the pattern in question."""
    if not patterns:
        return lambda _: False
    test = _test(_joined("any", [translate(pattern, insensitive).tree for pattern in patterns]))

    def matches(value: str) -> bool:
        return test(_encode(fold(value) if insensitive else value))

    return matches


def instructions(tree: Tree) -> int:
    """How many instructions RE2 needs for what `translate` made. Raises RegexError."""
    if isinstance(tree, Junction):
        return sum(map(instructions, tree.parts))
    size: int = _compile(tree).programsize
    return size


def _test(tree: Tree) -> Callable[[bytes], bool]:
    if isinstance(tree, str):
        match = _compile(tree).fullmatch
        return lambda value: match(value) is not None
    tests = [_test(part) for part in tree.parts]
    if tree.kind == "not":
        (test,) = tests
        return lambda value: not test(value)
    decided = tree.kind == "any"

    def junction(value: bytes) -> bool:
        for test in tests:
            if test(value) is decided:
                return decided
        return not decided

    return junction


def _joined(kind: Literal["any", "all"], parts: Sequence[Tree]) -> Tree:
    """One tree for several; the patterns of an `any` are one program."""
    if kind == "any":
        patterns = [part for part in parts if isinstance(part, str)]
        others = [part for part in parts if isinstance(part, Junction)]
        parts = [*(["|".join(patterns)] if patterns else []), *others]
    return parts[0] if len(parts) == 1 else Junction(kind, tuple(parts))


def _compile(translated: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(f"(?s:{translated})", options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise RegexError(f"the pattern is too complex: {reason}", 0) from None


def _encode(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", value).encode()


class _Level:
    """One level of nesting: its alternatives so far, the sides of `&` in the one being read, and the items
    of the side being read."""

    __slots__ = ("alternatives", "complement", "items", "junction", "offset", "repeated", "sides")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.alternatives: list[Tree] = []
        self.sides: list[Tree] = []
        self.items: list[str] = []
        self.junction: tuple[Junction, int] | None = None  # instead of an item, and where it begins
        self.repeated = False  # the last item already ends in a repetition
        self.complement: tuple[int, bool] | None = None  # where `~` before the next item begins; is it odd?

    @property
    def expects_item(self) -> bool:
        return self.complement is not None or not (self.items or self.junction)

    def add(self, item: Tree, offset: int) -> None:
        if self.complement is not None:
            (offset, odd), self.complement = self.complement, None
            if odd:
                item = Junction("not", (item,))
        if self.junction:
            _refuse_junction(*self.junction)
        if isinstance(item, str):
            self.items.append(item)
        else:
            self.junction = item, offset
            if self.items:
                _refuse_junction(*self.junction)
        self.repeated = False

    def repeat(self, suffix: str) -> None:
        if self.junction:
            _refuse_junction(*self.junction)
        item = self.items[-1]
        self.items[-1] = f"(?:{item}){suffix}" if self.repeated else item + suffix
        self.repeated = True

    def close_side(self) -> None:
        self.sides.append(self.junction[0] if self.junction else "".join(self.items))
        self.items = []
        self.junction = None

    def close_alternative(self) -> None:
        self.close_side()
        self.alternatives.append(_joined("all", self.sides))
        self.sides = []


def _refuse_junction(junction: Junction, offset: int) -> NoReturn:
    what = "a complement (`~`)" if junction.kind == "not" else "a group with `&` or `~`"
    raise RegexError(f"{what} is supported only as a whole alternative or side, unrepeated", offset)


class _Translator:
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str, insensitive: bool) -> None:
        self.pattern = pattern
        self.insensitive = insensitive
        self.at = 0
        self.levels = [_Level(0)]
        self.ordinary: list[int] = []
        self.operators = 0

    def run(self) -> Translated:
        while self.at < len(self.pattern):
            character = self.pattern[self.at]
            reader = _READERS.get(character)
            if reader is None:
                self.read_character()
            elif character in _NEEDS_ITEM and self.levels[-1].expects_item:
                self.ordinary.append(self.at)
                self.read_character()
            else:
                reader(self)
        level = self.levels[-1]
        if level.expects_item and self.pattern:
            raise RegexError("an item is missing at the end; write `()` for the empty string", self.at)
        if len(self.levels) > 1:
            raise RegexError("this group is not closed", level.offset)
        return Translated(self.end_level(), tuple(self.ordinary))

    def end_level(self) -> Tree:
        level = self.levels.pop()
        level.close_alternative()
        return _joined("any", level.alternatives)

    def add(self, item: Tree, offset: int) -> None:
        self.levels[-1].add(item, offset)

    def read_character(self) -> None:
        self.at += 1
        self.add(self.literal(self.pattern[self.at - 1]), self.at - 1)

    def literal(self, character: str) -> str:
        return _spell(ord(fold(character) if self.insensitive else character))

    def read_any(self) -> None:
        self.at += 1
        self.add(".", self.at - 1)

    def read_any_string(self) -> None:
        self.at += 1
        self.add("(?:.*)", self.at - 1)

    def read_nothing(self) -> None:
        self.at += 1
        self.add(_NOTHING, self.at - 1)

    def read_complement(self) -> None:
        level = self.levels[-1]
        start, odd = level.complement or (self.at, False)
        level.complement = start, not odd
        self.count_operator()

    def read_group_start(self) -> None:
        start = self.at
        self.at += 1
        if self.pattern.startswith(")", self.at):
            self.at += 1
            self.add("(?:)", start)
        else:
            self.levels.append(_Level(start))

    def read_group_end(self) -> None:
        if len(self.levels) == 1:
            raise RegexError("no group is open here; write `\\)` for the character", self.at)
        start = self.levels[-1].offset
        body = self.end_level()
        self.at += 1
        self.add(f"(?:{body})" if isinstance(body, str) else body, start)

    def read_bar(self) -> None:
        self.levels[-1].close_alternative()
        self.at += 1

    def read_intersection(self) -> None:
        self.levels[-1].close_side()
        self.count_operator()

    def count_operator(self) -> None:
        self.operators += 1
        if self.operators > MOST_OPERATORS:
            raise RegexError(f"at most {MOST_OPERATORS} `&` and `~` are supported", self.at)
        self.at += 1

    def read_interval(self) -> None:
        start = self.at
        end = self.pattern.find(">", start)
        found = _INTERVAL.fullmatch(self.pattern, start + 1, end) if end > 0 else None
        if found is None or max(int(found[1]), int(found[2])) > _LARGEST_BOUND:
            raise RegexError(
                "Elasticsearch refuses it, too: `<` begins an interval like `<1-20>`; "
                "write `\\<` for the character",
                start,
            )
        self.at = end + 1
        self.add(_interval(found[1], found[2]), start)

    def read_quoted(self) -> None:
        end = self.pattern.find('"', self.at + 1)
        if end < 0:
            raise RegexError('this `"` is not closed; write `\\"` for the character', self.at)
        start, self.at = self.at, end + 1
        self.add(f"(?:{''.join(map(self.literal, self.pattern[start + 1 : end]))})", start)

    def read_repetition(self) -> None:
        start = self.at
        character = self.pattern[start]
        if character != "{":
            self.at += 1
            self.levels[-1].repeat(character)
            return
        found = _COUNT.match(self.pattern, start)
        if found is None:
            raise RegexError("expected `{n}`, `{n,}` or `{n,m}`; write `\\{` for the character", start)
        bounds = [_count(number, start) for number in (found[1], found[3]) if number]
        if bounds != sorted(bounds):
            raise RegexError("the first number of a repetition is larger than the second", start)
        self.at = found.end()
        least, most = bounds[0], bounds[-1] if found[3] or not found[2] else ""
        self.levels[-1].repeat(f"{{{least},{most}}}")

    def read_escape(self) -> None:
        start = self.at
        ranges = self.escaped()
        self.add(
            self.literal(ranges) if isinstance(ranges, str) else _class(ranges, negated=False),
            start,
        )

    def escaped(self) -> str | Sequence[Range]:
        """What the backslash here stands for: a character, or the set of a letter like `d`."""
        start = self.at
        if start + 1 == len(self.pattern):
            raise RegexError("nothing follows this backslash", start)
        character = self.pattern[start + 1]
        self.at += 2
        if character in _SETS:
            return _SETS[character]
        if character.isascii() and character.isalpha():
            raise RegexError(f"`\\{character}` has no meaning here", start)
        return character

    def read_class(self) -> None:
        start = self.at
        self.at += 1
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        ranges: list[Range] = []
        while not ranges or not self.pattern.startswith("]", self.at):
            if self.at >= len(self.pattern):
                raise RegexError("this class is not closed; write `\\[` for the character", start)
            ranges.extend(self.member())
        self.at += 1
        self.add(_class(ranges, negated), start)

    def member(self) -> Sequence[Range]:
        """One member of a class: a set, a character or a range of characters."""
        start = self.at
        first = self.class_character()
        if not isinstance(first, str):
            return first
        last: str | Sequence[Range] = first
        more = self.pattern[self.at + 1 : self.at + 2]
        if self.pattern.startswith("-", self.at) and more not in ("", "]"):
            self.at += 1
            last = self.class_character()
        if not isinstance(last, str) or last < first:
            raise RegexError("not a range from a lower to a higher character", start)
        return _folded(ord(first), ord(last)) if self.insensitive else [(ord(first), ord(last))]

    def class_character(self) -> str | Sequence[Range]:
        if self.pattern[self.at] == "\\":
            return self.escaped()
        self.at += 1
        return self.pattern[self.at - 1]


_READERS: dict[str, Callable[[_Translator], None]] = {
    ".": _Translator.read_any,
    "(": _Translator.read_group_start,
    ")": _Translator.read_group_end,
    "|": _Translator.read_bar,
    "&": _Translator.read_intersection,
    "~": _Translator.read_complement,
    "@": _Translator.read_any_string,
    "#": _Translator.read_nothing,
    "<": _Translator.read_interval,
    "[": _Translator.read_class,
    '"': _Translator.read_quoted,
    "\\": _Translator.read_escape,
    "?": _Translator.read_repetition,
    "*": _Translator.read_repetition,
    "+": _Translator.read_repetition,
    "{": _Translator.read_repetition,
}
_NEEDS_ITEM = frozenset("|&)?*+{")


def _count(number: str, offset: int) -> int:
    if len(number.lstrip("0")) > len(str(MOST_REPETITIONS)) or int(number) > MOST_REPETITIONS:
        raise RegexError(f"an item repeats at most {MOST_REPETITIONS} times", offset)
    return int(number)


def _interval(first: str, last: str) -> str:
    """The numbers from one to the other, either order. Both written in as many digits: a number has as many,
    too; else any number of zeros may lead it."""
    low, high = sorted((int(first), int(last)))
    if len(first) == len(last):
        return f"(?:{_numbers(str(low).zfill(len(first)), str(high).zfill(len(first)))})"
    lengths = range(len(str(low)), len(str(high)) + 1)
    bounds = [(max(low, 10 ** (n - 1) if n > 1 else 0), min(high, 10**n - 1)) for n in lengths]
    return f"(?:0*(?:{'|'.join(_numbers(str(least), str(most)) for least, most in bounds)}))"


def _numbers(low: str, high: str) -> str:
    """The numbers from `low` to `high`, all of the same length."""
    digits = f"[{low[:1]}-{high[:1]}]"
    rest = len(low) - 1
    if low == high:
        return low
    if low[0] == high[0]:
        return f"{low[0]}(?:{_numbers(low[1:], high[1:])})"
    if low[1:] == "0" * rest and high[1:] == "9" * rest:
        return digits + f"[0-9]{{{rest}}}"
    parts = [
        f"{low[0]}(?:{_numbers(low[1:], '9' * rest)})",
        f"{high[0]}(?:{_numbers('0' * rest, high[1:])})",
    ]
    if int(high[0]) - int(low[0]) > 1:
        parts.append(f"[{int(low[0]) + 1}-{int(high[0]) - 1}][0-9]{{{rest}}}")
    return "|".join(parts)


def _spell(code: int) -> str:
    character = chr(code)
    return character if character in _PLAIN else f"\\x{{{code:x}}}"


def _class(ranges: Sequence[Range], negated: bool) -> str:
    body = "".join(
        _spell(first) if first == last else f"{_spell(first)}-{_spell(last)}" for first, last in ranges
    )
    return f"[{'^' if negated else ''}{body}]"


def _complement(ranges: Sequence[Range]) -> tuple[Range, ...]:
    starts = [0, *(last + 1 for _, last in ranges)]
    ends = [*(first - 1 for first, _ in ranges), _LAST]
    return tuple((start, end) for start, end in zip(starts, ends, strict=True) if start <= end)


_DIGITS: tuple[Range, ...] = ((0x30, 0x39),)
_SPACES: tuple[Range, ...] = ((0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x20))
_WORDS: tuple[Range, ...] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SETS: dict[str, tuple[Range, ...]] = {
    "d": _DIGITS,
    "D": _complement(_DIGITS),
    "s": _SPACES,
    "S": _complement(_SPACES),
    "w": _WORDS,
    "W": _complement(_WORDS),
}


def _folded(first: int, last: int) -> list[Range]:
    """A range and the folded forms of its characters that are not in it themselves."""
    unfolded, images = _folding()
    found = sorted(images[bisect_left(unfolded, first) : bisect_right(unfolded, last)])
    ranges = [(first, last)]
    for image in (*found[: bisect_left(found, chr(first))], *found[bisect_right(found, chr(last)) :]):
        code = ord(image)
        if code == ranges[-1][1] + 1 and len(ranges) > 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return ranges


@lru_cache(maxsize=1)
def _folding() -> tuple[list[int], str]:
    """The code points that folding changes, in order, and what each becomes."""
    size = 0x1000
    blocks = ("".join(map(chr, range(start, start + size))) for start in range(0, _LAST, size))
    changed = (block for block in blocks if fold(block) != block)
    pairs = [
        (c, image) for block in changed for c, image in zip(block, fold(block), strict=True) if c != image
    ]
    return [ord(c) for c, _ in pairs], "".join(image for _, image in pairs)
