"""Regular expressions: Lucene's syntax, translated to RE2, which takes linear time on any value.

A pattern matches the whole value. `translate` reads Lucene's syntax item by item and writes each
item so that nothing of RE2's own syntax is left to chance: every character is escaped or spelled by
number, every class is written as ranges, groups do not capture. Nesting is kept on a list, not on
the call stack. What Lucene has and RE2 has not (`~ & < > @ #`) is refused unless escaped, and so is
what Lucene takes literally where hardly anybody means it: a repetition with nothing to repeat and an
empty alternative.

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
from functools import lru_cache

import re2

from detectord.eql.text import fold

LONGEST_PATTERN = 1_000
"""Characters; Elasticsearch has the same limit."""
MOST_REPETITIONS = 1_000
"""The largest number in `{n,m}`."""
MOST_INSTRUCTIONS = 50_000
"""How large RE2's programs for the patterns of one query may be together; making so many takes a tenth of a
second. The rules of the world need a few hundred."""

Range = tuple[int, int]
"""First and last code point, both inside."""

_LAST = 0x10FFFF
_PLAIN = frozenset(string.ascii_letters + string.digits)
_REFUSED = {
    "~": "complement",
    "&": "intersection",
    "<": "a numeric range",
    ">": "a numeric range",
    "@": "any string",
    "#": "the empty language",
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_COUNT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")


class RegexError(ValueError):
    """A pattern that cannot be used: why, and the offset in it (in characters) of the trouble."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def translate(pattern: str, insensitive: bool = False) -> str:
    """The RE2 pattern for a Lucene one, folded if `insensitive`; to be matched against whole values.

    Raises RegexError. RE2 may still find the result too large; `compile_regex` says so.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise RegexError(f"a pattern has at most {LONGEST_PATTERN} characters", LONGEST_PATTERN)
    surrogate = _SURROGATE.search(pattern)
    if surrogate:
        raise RegexError("half a surrogate pair is not a character", surrogate.start())
    return f"(?s:{_Translator(pattern, insensitive).run()})"


def compile_regex(patterns: Sequence[str], insensitive: bool = False) -> Callable[[str], bool]:
    """A test: does any of the patterns match the whole value? The value is given as it is; it is
    folded here if `insensitive`. Raises RegexError, its offset counted in the pattern in question."""
    if not patterns:
        return lambda _: False
    translated = [translate(pattern, insensitive) for pattern in patterns]
    match = _compile("|".join(translated)).fullmatch

    def matches(value: str) -> bool:
        return match(_encode(fold(value) if insensitive else value)) is not None

    return matches


def instructions(translated: str) -> int:
    """How many instructions RE2 needs for a pattern that `translate` made. Raises RegexError."""
    size: int = _compile(translated).programsize
    return size


def _compile(translated: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(translated, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise RegexError(f"the pattern is too complex: {reason}", 0) from None


def _encode(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", value).encode()


class _Branches:
    """One level of nesting: the alternatives so far, and the items of the one being read."""

    __slots__ = ("alternatives", "items", "offset", "repeated")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.alternatives: list[str] = []
        self.items: list[str] = []
        self.repeated = False  # the last item already ends in a repetition

    def add(self, item: str) -> None:
        self.items.append(item)
        self.repeated = False

    def repeat(self, suffix: str) -> None:
        item = self.items[-1]
        self.items[-1] = f"(?:{item}){suffix}" if self.repeated else item + suffix
        self.repeated = True

    def close(self, offset: int, last: bool) -> None:
        if not self.items and (self.alternatives or not last):
            raise RegexError("an alternative is empty; write `()` for the empty string", offset)
        self.alternatives.append("".join(self.items))
        self.items = []
        self.repeated = False


class _Translator:
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str, insensitive: bool) -> None:
        self.pattern = pattern
        self.insensitive = insensitive
        self.at = 0
        self.levels = [_Branches(0)]

    def run(self) -> str:
        while self.at < len(self.pattern):
            character = self.pattern[self.at]
            reader = _READERS.get(character)
            if reader is not None:
                reader(self)
            elif character in _REFUSED:
                raise RegexError(
                    f"`{character}` ({_REFUSED[character]}) is not supported; "
                    f"write `\\{character}` for the character",
                    self.at,
                )
            else:
                self.at += 1
                self.levels[-1].add(self.literal(character))
        if len(self.levels) > 1:
            raise RegexError("this group is not closed", self.levels[-1].offset)
        return self.end_level()

    def end_level(self) -> str:
        level = self.levels.pop()
        level.close(self.at, last=True)
        return "|".join(level.alternatives)

    def literal(self, character: str) -> str:
        return _spell(ord(fold(character) if self.insensitive else character))

    def read_any(self) -> None:
        self.at += 1
        self.levels[-1].add(".")

    def read_group_start(self) -> None:
        self.levels.append(_Branches(self.at))
        self.at += 1

    def read_group_end(self) -> None:
        if len(self.levels) == 1:
            raise RegexError("no group is open here; write `\\)` for the character", self.at)
        body = self.end_level()
        self.at += 1
        self.levels[-1].add(f"(?:{body})")

    def read_bar(self) -> None:
        self.levels[-1].close(self.at, last=False)
        self.at += 1

    def read_quoted(self) -> None:
        end = self.pattern.find('"', self.at + 1)
        if end < 0:
            raise RegexError('this `"` is not closed; write `\\"` for the character', self.at)
        text = self.pattern[self.at + 1 : end]
        self.at = end + 1
        self.levels[-1].add(f"(?:{''.join(map(self.literal, text))})")

    def read_repetition(self) -> None:
        start = self.at
        character = self.pattern[start]
        if not self.levels[-1].items:
            raise RegexError(f"nothing to repeat; write `\\{character}` for the character", start)
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
        ranges = self.escaped()
        if isinstance(ranges, str):
            self.levels[-1].add(self.literal(ranges))
        else:
            self.levels[-1].add(_class(ranges, negated=False))

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
        self.levels[-1].add(_class(ranges, negated))

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
    "[": _Translator.read_class,
    '"': _Translator.read_quoted,
    "\\": _Translator.read_escape,
    "?": _Translator.read_repetition,
    "*": _Translator.read_repetition,
    "+": _Translator.read_repetition,
    "{": _Translator.read_repetition,
}


def _count(number: str, offset: int) -> int:
    if len(number.lstrip("0")) > len(str(MOST_REPETITIONS)) or int(number) > MOST_REPETITIONS:
        raise RegexError(f"an item repeats at most {MOST_REPETITIONS} times", offset)
    return int(number)


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
