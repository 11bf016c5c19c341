"""What to say about a token that cannot stand where it stands.

The grammar knows only which tokens could have come instead. Most such mistakes have a name that
helps more; they are recognised here by the token and its neighbours, most telling first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectord.eql.diagnostics import Code, Diagnostic
from detectord.eql.scanner import Token
from detectord.eql.source import Span

_MATCHERS = frozenset((":", "like", "like~", "regex", "regex~"))
_EXPRESSION_START = frozenset(("IDENT", "QUOTED", "STRING", "INT", "("))
_OPERATORS = frozenset(("==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in", "in~", *_MATCHERS))
_NEVER_NAMED = frozenset(("=", "INDEX", "of", "$END"))
_NAMES = {
    "IDENT": "a name",
    "QUOTED": "a name",
    "STRING": "a string",
    "INT": "a number",
    "DECIMAL": "a number",
    "TILDE_IDENT": "a function",
}
_MOST_NAMED = 6
_BEGINNING = "an event query begins with a category: `process where …`, or `any where …`"

# Where one of these stands in a field's place, the author most likely meant a field of that name
_FIELD_LIKE = frozenset(("any", "join", "maxspan", "of", "sample", "sequence", "until", "where"))


def constant_hint(operator: str) -> str:
    """What can stand behind an operator for patterns."""
    if operator in (":", "like", "like~"):
        return "strings, or a list of them in parentheses; compare two fields with `==`"
    return "strings, or a list of them in parentheses"


def explain(tokens: list[Token], token: Any, expected: set[str], literals: Mapping[str, str]) -> Diagnostic:
    """The diagnostic for the token that ended a parse.

    `token` is one of `tokens`, or the parser's own with type `$END`. `expected` has what could have
    stood there: keywords and operators as they are written, other terminals by name.
    """
    return _Unexpected(tokens, token, expected, literals).explain()


class _Unexpected:
    """The token that ended a parse, and what stands around it."""

    def __init__(
        self, tokens: list[Token], token: Any, expected: set[str], literals: Mapping[str, str]
    ) -> None:
        self._tokens = tokens
        self._expected = expected
        self._literals = literals
        self._at_end = token.type == "$END"
        self._at = len(tokens) if self._at_end else tokens.index(token)
        self._token: Token = token
        self._before = tokens[self._at - 1] if self._at else None

    def explain(self) -> Diagnostic:
        """One diagnostic: the most telling one that fits."""
        before = self._before
        if self._at_end:
            return self._end()
        if self._at == 1 and before and before.text in ("const", "macro"):
            hint = "write the condition out where it is used"
            return Diagnostic(Code.DEFINITION_NOT_SUPPORTED, before.span, {"word": before.text}, hint)
        if before and before.text in _MATCHERS:
            hint = constant_hint(before.text)
            return self._diagnostic(Code.PATTERN_NOT_CONSTANT, hint, operator=before.text)
        if self._token.text == "fork" and "[" in self._expected:
            return self._diagnostic(Code.FORK_NOT_SUPPORTED)
        if self._token.text in _FIELD_LIKE and self._token.type != "IDENT" and "IDENT" in self._expected:
            hint = f"to use it as a field, write it in backquotes: `{self._token.text}`"
            return self._diagnostic(Code.KEYWORD_AS_FIELD, hint, word=self._token.text)
        if "where" in self._expected and (before is None or before.text in ("[", "![")):
            return self._diagnostic(Code.UNEXPECTED_TOKEN, _BEGINNING, found=_described(self._token))
        if "where" in self._expected and before and before.text not in self._literals:
            return self._diagnostic(Code.MISSING_WHERE, _BEGINNING)
        if before and before.text == "," and self._token.text in ("[", "![", "with", "|", "]"):
            return Diagnostic(Code.TRAILING_COMMA, before.span, hint="delete it")
        return self._diagnostic(Code.UNEXPECTED_TOKEN, self._hint(), found=_described(self._token))

    def _diagnostic(self, code: Code, hint: str = "", **args: object) -> Diagnostic:
        return Diagnostic(code, self._token.span, args, hint)

    def _end(self) -> Diagnostic:
        if not self._tokens:
            return Diagnostic(Code.UNEXPECTED_END, Span(0, 0), hint="it is empty")
        place = self._tokens[-1].end_pos
        unclosed = self._unclosed()
        hint = f"`{unclosed.text}` is not closed" if unclosed else self._expectation()
        return Diagnostic(Code.UNEXPECTED_END, Span(place, place), hint=hint)

    def _unclosed(self) -> Token | None:
        """The innermost bracket still open before the token."""
        opened: list[Token] = []
        for token in self._tokens[: self._at]:
            if token.type in ("STRING", "QUOTED"):
                continue
            if token.text in ("(", "[", "!["):
                opened.append(token)
            elif token.text in (")", "]") and opened:
                opened.pop()
        return opened[-1] if opened else None

    def _hint(self) -> str:
        """A way out for a plain unexpected token."""
        token, before = self._token, self._before
        if token.type == "IDENT" and token.text.lower() in self._literals:
            return f"keywords are written in lower case: `{token.text.lower()}`"
        if token.type == "maxspan" or token.text == "maxspan":
            return "write `with maxspan=…`"
        if (token.type == "DECIMAL" and token.text.startswith(".")) or (before and before.text == "."):
            return "a part of a field name that does not begin with a letter stands in backquotes"
        if before and token.type == before.type == "STRING":
            return 'a comma is missing, or a quote inside a string, which is written `\\"`'
        if token.text in (")", "]") and self._unclosed() is None:
            return "it closes nothing"
        if (token.type in _EXPRESSION_START or token.text == "(") and "and" in self._expected:
            return "an operator is missing before it"
        return self._expectation()

    def _expectation(self) -> str:
        """What could have stood here."""
        left = {name for name in self._expected if name not in _NEVER_NAMED}
        named = []
        if left >= _EXPRESSION_START:
            named.append("a field, a value or a function")
            left -= {*_EXPRESSION_START, *_NAMES, "null", "true", "false", "?", "+", "-", "not"}
        if left >= _OPERATORS - {"like~", "regex~"} or len(left & _OPERATORS) > _MOST_NAMED:
            named.append("an operator")
            left -= {*_OPERATORS, "not"}
        named += sorted({_NAMES.get(name, f"`{name}`") for name in left})
        if len(named) > _MOST_NAMED or not named:
            return ""
        return "expected " + (" or ".join([", ".join(named[:-1]), named[-1]]) if named[1:] else named[0])


def _described(token: Token) -> str:
    if token.type == "STRING":
        return f"string {token.text}"
    if token.type in ("INT", "DECIMAL"):
        return f"number {token.text}"
    return f"`{token.text}`"
