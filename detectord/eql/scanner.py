"""Cuts a query into tokens, and strings, numbers and names into their values.

Rule 1: one walk from left to right; every character is looked at a bounded number of times,
whatever the text. No pattern here can backtrack (all repetitions are possessive).
Rule 2: a mistake that leaves no doubt where its token ends (a bad escape, single quotes) is
reported, and its token is cut all the same. After any other the tokens are not worth parsing, and
`lost` says so; the walk goes on, to find more mistakes of its own.

Keywords and operators come from the grammar. A keyword is reserved: it is never an IDENT.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from detectord.eql.ast import Value
from detectord.eql.diagnostics import Code, Diagnostic
from detectord.eql.source import Span

MAX_LENGTH = 102_400
"""Longest query, in characters."""
MAX_TOKENS = 12_000
"""Most tokens of a query: a list of 5,000 items, twice what the largest known rule has. So many are scanned,
parsed, checked and compiled in well under a second."""
MAX_NESTING = 100
"""Deepest nesting of brackets here, and of the syntax tree in the parser. Whoever walks a tree may
recurse: this many levels, and the parentheses of code made from them, are well within Python's limits."""
MAX_FINDINGS = 20
"""The walk ends after this many mistakes."""

_BRACKETS = {"(": 1, "[": 1, "![": 1, ")": -1, "]": -1}
_INT64_MAX = 2**63 - 1
_INT64_DIGITS = 19


class _Token(NamedTuple):
    type: str
    text: str
    start_pos: int
    end_pos: int
    value: Value = None


class Token(_Token):
    """A token: its terminal in the grammar, its text, where it is, and the value it stands for."""

    __slots__ = ()

    @property
    def span(self) -> Span:
        """The token's place."""
        return Span(self.start_pos, self.end_pos)


class Scan(NamedTuple):
    """What scanning gave. If `lost`, the tokens are not worth parsing."""

    tokens: list[Token]
    diagnostics: list[Diagnostic]
    lost: bool


_TOKEN = re.compile(
    r"""(?:[ \t\r\n]++|//[^\r\n]*+)*+
    (?: (?P<IDENT>[A-Za-z_@][A-Za-z0-9_]*+(?!~)|[_@][A-Za-z0-9_]*+)
      | (?P<TILDE_IDENT>[A-Za-z][A-Za-z0-9_]*+~)
      | (?P<VARIABLE>\$[A-Za-z_][A-Za-z0-9_]*+)
      | (?P<RAW>\"\"\"(?:[^"\r\n]++|"(?!""))*+\"\"\""?+"?+)
      | (?P<STRING>(?!\"\"\")"(?:[^"\\\r\n]++|\\[^\r\n])*+")
      | (?P<SINGLE>'(?:[^'\\\r\n]++|\\[^\r\n])*+')
      | (?P<LEGACY>\?"(?:[^"\\\r\n]++|\\[^\r\n])*+"|\?'(?:[^'\\\r\n]++|\\[^\r\n])*+')
      | (?P<OPEN_STRING>\??+["'][^\r\n]*+)
      | (?P<QUOTED>`(?:[^`]++|``)*+`)
      | (?P<OPEN_NAME>`.*+)
      | (?P<NUMBER>(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+)
      | (?P<INDEX>\[[ \t\r\n]*+[0-9]++[ \t\r\n]*+\])
      | (?P<COMMENT>/\*)
      | (?P<SIGN>!\[|[=!<>]=|[<>:=+*/%.,()\[\]?|-])
      | (?P<OTHER>(?:[^A-Za-z0-9_@$"'`()\[\]<>=!:+*/%.,?|\- \t\r\n]|!(?![=\[]))++|.)
    )?+""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(r"\\(?:u\{([^}\"\\]*+)\}|.)", re.DOTALL)
_CODE_POINT = re.compile(r"[0-9A-Fa-f]{2,8}")
_SIMPLE_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "'": "'", "\\": "\\"}

_CHARACTER_HINTS = {
    "!": "`not` negates a condition; `!` stands only in `!=` and `![`",
    "&": "write `and`",
    ";": "a query has no end mark",
    "~": "`~` directly follows the name of a function, `in`, `like` or `regex`",
    "$": "the name of a variable begins with a letter: `$entry`",
    "\\": "a backslash can stand only in a string",
    "\u00a0": "this is a no-break space; use an ordinary one",
    "\ufeff": "this is an invisible byte order mark; delete it",
    **dict.fromkeys("“”„«»", 'use plain double quotes: "…"'),
    **dict.fromkeys("‘’‚", 'use plain double quotes: "…"'),
}


def scan(text: str, literals: Mapping[str, str]) -> Scan:
    """The tokens of a query. `literals` gives the terminal of every keyword and operator."""
    if len(text) > MAX_LENGTH:
        arguments = {"actual": len(text), "limit": MAX_LENGTH}
        return Scan([], [Diagnostic(Code.QUERY_TOO_LONG, Span(0, 0), arguments)], lost=True)
    return _Scanner(text, literals).run()


class _Scanner:
    """One walk over one text."""

    def __init__(self, text: str, literals: Mapping[str, str]) -> None:
        self.text = text
        self.literals = literals
        self.tokens: list[Token] = []
        self.diagnostics: list[Diagnostic] = []
        self.lost = False
        self.nesting = 0

    def run(self) -> Scan:
        text, match, literals = self.text, _TOKEN.match, self.literals
        append = self.tokens.append
        place = 0
        while True:
            found = match(text, place)
            assert found is not None  # every part of the pattern is optional
            kind = found.lastgroup
            if kind is None:
                break
            start, place = found.span(kind)
            piece = found[kind]
            if kind in ("IDENT", "TILDE_IDENT", "VARIABLE", "INDEX"):
                append(Token(literals.get(piece, kind), piece, start, place, piece))
            elif kind == "SIGN":
                append(Token(literals[piece], piece, start, place))
                if piece in _BRACKETS:
                    self.nest(piece, start)
            elif kind == "COMMENT":
                place = self.comment(start)
            else:
                self.read(kind, piece, start)
            if len(self.diagnostics) >= MAX_FINDINGS:
                break
            if len(self.tokens) > MAX_TOKENS:
                self.find(Code.TOO_MANY_TOKENS, start, place, limit=MAX_TOKENS, lost=True)
                break
        self.recognise_as()
        return Scan(self.tokens, self.diagnostics, self.lost)

    def recognise_as(self) -> None:
        """`as` is a name like any other (`as.number`), unless another name follows it."""
        tokens = self.tokens
        for place in range(len(tokens) - 1):
            token = tokens[place]
            if token.text == "as" and token.type == tokens[place + 1].type == "IDENT":
                tokens[place] = Token("AS", *token[1:])

    def find(
        self, code: Code, start: int, end: int, hint: str = "", lost: bool = False, **args: object
    ) -> None:
        self.lost = self.lost or lost
        if len(self.diagnostics) < MAX_FINDINGS:
            self.diagnostics.append(Diagnostic(code, Span(start, end), args, hint))

    def nest(self, bracket: str, start: int) -> None:
        self.nesting += _BRACKETS[bracket]
        if self.nesting == MAX_NESTING + 1 and _BRACKETS[bracket] > 0:
            self.find(Code.TOO_DEEP, start, start + 1, limit=MAX_NESTING, lost=True)

    def comment(self, start: int) -> int:
        """The end of the block comment that begins at `start`; comments nest."""
        depth = 0
        for edge in _COMMENT_EDGE.finditer(self.text, start):
            depth += 1 if edge[0] == "/*" else -1
            if depth == 0:
                return edge.end()
        hint = "comments nest: every `/*` needs its own `*/`"
        self.find(Code.UNTERMINATED_COMMENT, start, start + 2, hint, lost=True)
        return len(self.text)

    def read(self, kind: str, piece: str, start: int) -> None:
        end = start + len(piece)
        if kind in ("RAW", "STRING", "SINGLE", "LEGACY"):
            self.tokens.append(Token("STRING", piece, start, end, self.string(kind, piece, start)))
        elif kind == "QUOTED":
            self.tokens.append(Token(kind, piece, start, end, self.name(piece, start)))
        elif kind == "NUMBER":
            value = self.number(piece, start)
            self.tokens.append(Token("INT" if piece.isdigit() else "DECIMAL", piece, start, end, value))
        elif kind in ("OPEN_STRING", "OPEN_NAME"):
            self.open(kind, piece, start)
        else:
            self.unexpected(piece, start)

    def string(self, kind: str, piece: str, start: int) -> str:
        end = start + len(piece)
        if kind == "RAW":  # quotes behind the closing three belong to the text
            close = piece.index('"""', 3)
            return piece[3:close] + piece[close + 3 :]
        if kind == "SINGLE":
            self.find(Code.SINGLE_QUOTES, start, end, 'use double quotes: "…"')
            return piece[1:-1]
        if kind == "LEGACY":
            hint = 'write a raw string in triple double quotes: """…"""'
            self.find(Code.LEGACY_RAW_STRING, start, end, hint, quote=piece[1])
            return piece[2:-1]
        return self.unescape(piece, start) if "\\" in piece else piece[1:-1]

    def unescape(self, piece: str, start: int) -> str:
        def resolved(found: re.Match[str]) -> str:
            digits = found[1]
            if digits is None:
                simple = _SIMPLE_ESCAPES.get(found[0][1])
                if simple is None:
                    self.bad_escape(found, start)
                    return found[0]
                return simple
            point = int(digits, 16) if _CODE_POINT.fullmatch(digits) else -1
            if not 0 <= point <= 0x10FFFF or 0xD800 <= point <= 0xDFFF:
                hint = "between the braces: 2 to 8 hexadecimal digits, of a Unicode character"
                place = start + found.start(), start + found.end()
                self.find(Code.BAD_CODE_POINT, *place, hint, escape=found[0])
                return ""
            return chr(point)

        # The closing quote is no part of an escape: a string that ends in `\"` is not closed
        return _ESCAPE.sub(resolved, piece)[1:-1]

    def bad_escape(self, found: re.Match[str], start: int) -> None:
        if found[0] == "\\u":
            hint = r"a character is written \u{…}, with 2 to 8 hexadecimal digits"
        else:
            hint = r'write `\\` for a backslash, or use a raw string: """…"""'
        self.find(Code.BAD_ESCAPE, start + found.start(), start + found.end(), hint, escape=found[0])

    def name(self, piece: str, start: int) -> str:
        if piece == "``":
            self.find(Code.EMPTY_NAME, start, start + 2)
        return piece[1:-1].replace("``", "`")

    def number(self, piece: str, start: int) -> int | float:
        if piece.isdigit() and len(piece.lstrip("0")) <= _INT64_DIGITS and int(piece) <= _INT64_MAX:
            return int(piece)
        value = float(piece)
        if math.isinf(value):
            self.find(Code.NUMBER_TOO_LARGE, start, start + len(piece))
            return 0
        return value

    def open(self, kind: str, piece: str, start: int) -> None:
        end = start + len(piece)
        if kind == "OPEN_NAME":
            hint = "a backquote inside a name is written twice"
            self.find(Code.UNTERMINATED_NAME, start, start + 1, hint, lost=True)
        elif piece.startswith('"""'):
            hint = 'it must end with """ on the same line'
            self.find(Code.UNTERMINATED_STRING, start, end, hint, lost=True)
        elif piece.startswith('"'):
            hint = r'it must end with " on the same line; inside it, `\"` is a quote and `\\` a backslash'
            self.find(Code.UNTERMINATED_STRING, start, end, hint, lost=True)
        else:
            code = Code.SINGLE_QUOTES if piece[0] == "'" else Code.LEGACY_RAW_STRING
            self.find(code, start, end, 'use double quotes: "…"', lost=True, quote=piece[1:2])

    def unexpected(self, piece: str, start: int) -> None:
        character = piece[0]
        hint = _CHARACTER_HINTS.get(character, "")
        if not hint and character.isalpha():
            hint = "names with other letters than A to Z stand in backquotes"
        end = start + len(piece)
        self.find(Code.UNEXPECTED_CHARACTER, start, end, hint, lost=True, character=character)
