r"""Regular expressions: Sigma's (Perl's syntax, found anywhere in a value) to Lucene's (the whole value).

A pattern is parsed into a small tree, opened at its ends, and printed in Lucene's syntax.

Opening: a pattern that may match anywhere gets `.*` before and behind it. An anchor at an end takes that
back, in each alternative for itself: `(^|/)tmp` becomes `(()|.*/)tmp.*`. An anchor anywhere else has no
counterpart, as have look-around, word boundaries, back-references, atomic groups and possessive
repetition: those are refused by `RegexError`, which says what and where.

What reads the same but means something else is spelled out: `.` leaves out the line feed unless the
pattern has the flag `s`; letters behind a backslash (`\t`, `\x41`) become their characters; each
character that Lucene gives a meaning (`# @ & < > ~ "`) is escaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_DEPTH = 50
"""Groups inside groups."""
_LONGEST = 1_000
"""Characters that EQL takes; a longer pattern cannot become shorter on its way."""

_FLAGS = re.compile(r"\(\?([a-zA-Z]+)\)")
_GROUP = re.compile(r"\(\?(?::|P?<([A-Za-z_][A-Za-z0-9_]*)>)")
_COUNT = re.compile(r"\{([0-9]*)(,?)([0-9]*)\}")
_CODE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4}))")
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b", "0": "\0"}
_SETS = frozenset("dDsSwW")
_SPECIAL = frozenset('.?+*|{}[]()"\\#@&<>~^$-')
"""What Lucene gives a meaning, in a class or outside of one."""
_ANCHORS = {"A": "^", "Z": "$", "z": "$"}
_UNKNOWN = {
    "b": "a word boundary",
    "B": "a word boundary",
    "G": "an anchor",
    "K": "a reset of the match",
    "p": "a Unicode class",
    "P": "a Unicode class",
    "Q": "quoted text",
}
_LOOK_AROUND = ("(?=", "(?!", "(?<=", "(?<!")


class RegexError(ValueError):
    """A pattern that has no counterpart: what stands in the way."""


@dataclass(frozen=True, slots=True)
class _Atom:
    """Something already in Lucene's syntax, its repetition included."""

    text: str


@dataclass(frozen=True, slots=True)
class _Anchor:
    """`^` or `$`."""

    sign: str


@dataclass(frozen=True, slots=True)
class _Group:
    """Alternatives in parentheses, with the repetition behind them (or "")."""

    alternatives: tuple[tuple[_Item, ...], ...]
    repetition: str = ""


_Item = _Atom | _Anchor | _Group
_Branch = tuple[_Item, ...]


@dataclass(frozen=True, slots=True)
class Translated:
    """A pattern for EQL's `regex`, or for `regex~` if `insensitive`."""

    pattern: str
    insensitive: bool


def translate(pattern: str, *, insensitive: bool = False, dot_all: bool = False) -> Translated:
    """The Lucene pattern that matches a whole value exactly if `pattern` is found in it.

    Raises:
        RegexError: the pattern uses what Lucene has no counterpart for.
    """
    if len(pattern) > _LONGEST:
        raise RegexError(f"it has more than {_LONGEST} characters")
    flags = _FLAGS.match(pattern)
    if flags:
        letters = set(flags[1])
        if letters - set("is"):
            raise RegexError(f"the flags `{flags[1]}`")
        insensitive, dot_all = insensitive or "i" in letters, dot_all or "s" in letters
    reader = _Reader(pattern, flags.end() if flags else 0, dot_all)
    alternatives = reader.alternatives(0)
    if reader.at < len(pattern):
        raise RegexError(f"a parenthesis closes nothing at {reader.at}")
    opened = [_open_right(_open_left(branch)) for branch in alternatives]
    return Translated("|".join(map(_print, opened)), insensitive)


def escape(text: str) -> str:
    """The Lucene pattern for a text that means itself."""
    return "".join(map(_spell, text))


def _spell(character: str) -> str:
    return f"\\{character}" if character in _SPECIAL else character


class _Reader:
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str, start: int, dot_all: bool) -> None:
        self.pattern = pattern
        self.at = start
        self.any = "." if dot_all else "[^\n]"

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def alternatives(self, depth: int) -> tuple[_Branch, ...]:
        """Branches up to a closing parenthesis or the end."""
        if depth > MAX_DEPTH:
            raise RegexError(f"groups nest deeper than {MAX_DEPTH}")
        branches: list[_Branch] = []
        items: list[_Item] = []
        while self.peek() not in ("", ")"):
            if self.peek() == "|":
                self.at += 1
                branches.append(tuple(items))
                items = []
            else:
                items.append(self.repeated(self.item(depth)))
        return (*branches, tuple(items))

    def item(self, depth: int) -> _Item:
        character = self.peek()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return _Atom(self.character_class())
        if character == "\\":
            return self.escaped()
        self.at += 1
        if character == ".":
            return _Atom(self.any)
        if character in "^$":
            return _Anchor(character)
        if character in "*+?":
            raise RegexError(f"`{character}` repeats nothing at {self.at - 1}")
        return _Atom(_spell(character))

    def group(self, depth: int) -> _Group:
        start = self.at
        if self.pattern.startswith("(?", start):
            if self.pattern.startswith(_LOOK_AROUND, start):
                raise RegexError(f"look-around at {start}")
            named = _GROUP.match(self.pattern, start)
            if named is None:
                raise RegexError(f"`{self.pattern[start : start + 4]}` at {start}")
            self.at = named.end()
        else:
            self.at += 1
        alternatives = self.alternatives(depth + 1)
        if self.peek() != ")":
            raise RegexError(f"a group is not closed at {start}")
        self.at += 1
        return _Group(alternatives)

    def repeated(self, item: _Item) -> _Item:
        """`item` with the repetition that stands behind it, if one does."""
        start = self.at
        repetition = self.repetition()
        if not repetition:
            return item
        if self.peek() == "?":  # lazy: which match is found first makes no difference to whether there is one
            self.at += 1
        elif self.peek() == "+":
            raise RegexError(f"a possessive repetition at {start}")
        elif self.peek() in ("*", "{") and self.peek() and (self.peek() == "*" or self.counts()):
            raise RegexError(f"a repetition of a repetition at {start}")
        match item:
            case _Anchor():
                raise RegexError(f"a repeated anchor at {start}")
            case _Group(alternatives):
                return _Group(alternatives, repetition)
            case _Atom(text):
                return _Atom(text + repetition)

    def counts(self) -> bool:
        """True if the brace here is a repetition, not a character."""
        found = _COUNT.match(self.pattern, self.at)
        return found is not None and bool(found[1] or found[3])

    def repetition(self) -> str:
        if self.peek() in ("*", "+", "?") and self.peek():
            self.at += 1
            return self.pattern[self.at - 1]
        if self.peek() != "{" or not self.counts():
            return ""
        found = _COUNT.match(self.pattern, self.at)
        assert found is not None
        self.at = found.end()
        return f"{{{found[1] or '0'}{found[2]}{found[3]}}}"

    def escaped(self) -> _Item:
        letter = self.pattern[self.at + 1 : self.at + 2]
        if letter in _ANCHORS:
            self.at += 2
            return _Anchor(_ANCHORS[letter])
        if letter in _SETS and letter:
            self.at += 2
            return _Atom(f"\\{letter}")
        return _Atom(_spell(self.escaped_character()))

    def escaped_character(self) -> str:
        """The character that the backslash here stands for."""
        start = self.at
        code = _CODE.match(self.pattern, start)
        if code:
            self.at = code.end()
            number = int(next(digits for digits in code.groups() if digits), 16)
            if 0xD800 <= number < 0xE000 or number > 0x10FFFF:
                raise RegexError(f"no character has the number {number:x}")
            return chr(number)
        letter = self.pattern[start + 1 : start + 2]
        if not letter:
            raise RegexError("nothing follows the last backslash")
        self.at += 2
        if letter in _CONTROL and not self.peek().isdigit():
            return _CONTROL[letter]
        if letter in _UNKNOWN:
            raise RegexError(f"{_UNKNOWN[letter]} (`\\{letter}`) at {start}")
        if letter.isascii() and letter.isalnum():
            what = "a back-reference" if letter.isdigit() else "an unknown escape"
            raise RegexError(f"{what} (`\\{letter}`) at {start}")
        return letter

    def character_class(self) -> str:
        start = self.at
        self.at += 1
        sign = ""
        if self.peek() == "^":
            self.at += 1
            sign = "^"
        members: list[str] = []
        while not members or self.peek() != "]":
            if not self.peek():
                raise RegexError(f"a class is not closed at {start}")
            if self.pattern.startswith(("[:", "[=", "[."), self.at):
                raise RegexError(f"a named class at {self.at}")
            members.append(self.member())
        self.at += 1
        return f"[{sign}{''.join(members)}]"

    def member(self) -> str:
        first = self.class_character()
        if len(first) > 1 or self.peek() != "-" or self.pattern[self.at + 1 : self.at + 2] in ("", "]"):
            return first if len(first) > 1 else _spell(first)
        self.at += 1
        last = self.class_character()
        if len(last) > 1 or last < first:
            raise RegexError(f"no range of characters before {self.at}")
        return f"{_spell(first)}-{_spell(last)}"

    def class_character(self) -> str:
        r"""A character, or a set such as `\d`."""
        if self.peek() != "\\":
            self.at += 1
            return self.pattern[self.at - 1]
        letter = self.pattern[self.at + 1 : self.at + 2]
        if letter in _SETS and letter:
            self.at += 2
            return f"\\{letter}"
        return self.escaped_character()


_ANYTHING = _Atom(".*")


def _open_left(branch: _Branch) -> _Branch:
    """The branch, with anything before it unless it is anchored there."""
    if not branch:
        return (_ANYTHING,)
    first, rest = branch[0], branch[1:]
    if first == _Anchor("^"):
        while rest and rest[0] == first:
            rest = rest[1:]
        return rest
    if isinstance(first, _Group) and not first.repetition and _holds_anchor(first, "^"):
        return (_Group(tuple(map(_open_left, first.alternatives))), *rest)
    return (_ANYTHING, *branch)


def _open_right(branch: _Branch) -> _Branch:
    """The branch, with anything behind it unless it is anchored there."""
    if branch == (_ANYTHING,):
        return branch
    if not branch:
        return (_ANYTHING,)
    last, before = branch[-1], branch[:-1]
    if last == _Anchor("$"):
        while before and before[-1] == last:
            before = before[:-1]
        return before
    if isinstance(last, _Group) and not last.repetition and _holds_anchor(last, "$"):
        return (*before, _Group(tuple(map(_open_right, last.alternatives))))
    return (*branch, _ANYTHING)


def _holds_anchor(group: _Group, sign: str) -> bool:
    return any(
        item == _Anchor(sign) or (isinstance(item, _Group) and _holds_anchor(item, sign))
        for branch in group.alternatives
        for item in branch
    )


def _print(branch: _Branch) -> str:
    return "".join(map(_print_item, branch)) or "()"


def _print_item(item: _Item) -> str:
    match item:
        case _Atom(text):
            return text
        case _Anchor(sign):
            raise RegexError(f"the anchor `{sign}` inside the pattern")
        case _Group(alternatives, repetition):
            return f"({'|'.join(map(_print, alternatives))}){repetition}"
