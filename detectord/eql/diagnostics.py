"""Diagnostics: findings for a rule's author, as data.

A diagnostic is built where the trouble is seen, collected (one finding never hides the next), and
turned into text in one place, `render`. The number of a code is never reused; the letter is its
severity: an E refuses the rule, a W lets it run.

What a query says may be hostile, so whatever is quoted from it is cut to a readable length and its
control characters are made visible, here and nowhere else.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from detectord.eql.source import Source, Span

# A quoted piece of a query in a message; a whole hint; a shown line: characters.
_PIECE = 100
_HINT = 400
_LINE = 160
# How much of a cut line stays visible before its caret.
_BEFORE_CARET = 60


class Code(enum.Enum):
    """What was found: a stable number and the sentence for it. Families: E0 text, E1 meaning,
    E2 sequences, E3 not supported; W1 probably not what was meant."""

    def __init__(self, number: str, template: str) -> None:
        self.number = number
        self.template = template

    UNEXPECTED_CHARACTER = "E001", "unexpected character `{character}`"
    UNTERMINATED_STRING = "E002", "this string is not closed"
    UNTERMINATED_COMMENT = "E003", "this comment is not closed"
    UNTERMINATED_NAME = "E004", "this backquoted name is not closed"
    BAD_ESCAPE = "E005", "`{escape}` is not an escape sequence"
    BAD_CODE_POINT = "E006", "`{escape}` is not a character"
    SINGLE_QUOTES = "E007", "single quotes do not make a string"
    LEGACY_RAW_STRING = "E008", "`?{quote}` does not begin a raw string"
    EMPTY_NAME = "E009", "a field name cannot be empty"
    UNEXPECTED_TOKEN = "E010", "unexpected {found}"
    UNEXPECTED_END = "E011", "the query ends too early"
    SINGLE_EQUALS = "E012", "`=` does not compare"
    CHAINED_COMPARISON = "E013", "comparisons cannot be chained"
    NOT_BEFORE_PATTERN = "E014", "`not` cannot stand before `{operator}`"
    EMPTY_LIST = "E015", "this list is empty"
    TRAILING_COMMA = "E016", "nothing follows this comma"
    PATTERN_NOT_CONSTANT = "E017", "only constants can stand behind `{operator}`"
    KEYWORD_AS_FIELD = "E018", "`{word}` is a keyword, not a field"
    BACKQUOTED_CATEGORY = "E019", "an event category cannot stand in backquotes"
    KEYWORD_AS_CATEGORY = "E020", "`{word}` is a keyword, not an event category"
    MISSING_WHERE = "E021", "expected `where` after the event category"
    NUMBER_TOO_LARGE = "E022", "this number is too large"

    QUERY_TOO_LONG = "E030", "the query has {actual} characters, at most {limit} are allowed"
    TOO_MANY_TOKENS = "E031", "the query has more than {limit} words and signs"
    TOO_DEEP = "E032", "the query is nested more than {limit} levels deep"
    LIST_TOO_LONG = "E033", "this list has {actual} items, at most {limit} are allowed"

    NOT_A_CONDITION = "E101", "expected a condition, found {actual}"
    WRONG_ARGUMENT_COUNT = "E102", "`{name}` takes {expected}, found {actual}"
    NO_INSENSITIVE_VARIANT = "E103", "`{name}` has no variant with `~`"
    UNKNOWN_FUNCTION = "E104", "unknown function `{name}`"
    WRONG_TYPE = "E105", "{place} must be {expected}, found {actual}"
    ARGUMENT_NOT_LITERAL = "E106", "argument {position} of `{name}` must be a literal"
    BAD_CIDR = "E107", "`{block}` is not an address block"
    NOT_OF_FIELD_TYPE = "E108", "`{field}` is of type {type}, {literal} cannot be its value"
    FIELD_IN_LIST = "E109", "a list behind `{operator}` cannot contain fields"
    MIXED_LIST = "E110", "this list mixes {types}"
    PATTERN_NOT_STRING = "E111", "`{operator}` compares strings, found {actual}"
    PATTERN_ON_TYPE = "E112", "`{operator}` needs a string on its left, found {actual}"
    BAD_REGEX = "E113", "bad regular expression: {reason}"
    REGEX_TOO_LONG = "E114", "this regular expression has {actual} characters, at most {limit} are allowed"

    BAD_ARRAYSEARCH = "E115", "`_arraysearch` takes an array, a variable and a condition"
    UNKNOWN_VARIABLE = "E116", "unknown variable `{name}`"
    VARIABLE_TWICE = "E117", "the variable `{name}` already stands for another element"
    NOT_A_VALUE = "E118", "{construct} is a condition, it has no value"

    NOT_QUERYABLE = "E130", "`{field}` cannot be asked for: {why}"
    UNKNOWN_FIELD_REFUSED = "E131", "no schema knows the field `{field}`"
    REGEXES_TOO_COMPLEX = (
        "E140",
        "the regular expressions of this query have more than {limit} states together",
    )

    KEYS_AFTER_WITH = "E201", "`by` must stand before `with {word}`"
    BAD_MAXSPAN = "E202", "`{text}` is not a time span"
    BAD_RUNS = "E203", "`runs` must be a whole number from 1 to {limit}"
    UNKNOWN_WITH = "E204", "unknown word `{word}` behind `with`"
    KEY_COUNT = "E205", "this step has {actual}, the first step has {expected}"
    KEY_NOT_A_FIELD = "E206", "a join key must be a field"
    KEY_TYPES = "E207", "join key `{name}` is {actual}, `{other}` in the first step is {expected}"
    TOO_FEW_STEPS = "E208", "a {kind} needs at least two steps"
    NO_POSITIVE_STEP = "E209", "a sequence needs at least one step that is not `![…]`"
    MISSING_STEP_WITHOUT_MAXSPAN = "E210", "a missing step `![…]` needs `maxspan`"
    MISSING_STEP_MISPLACED = "E211", "a missing step `![…]` cannot stand in {place}"
    RUNS_MISPLACED = "E212", "`with runs` cannot stand in {place}"
    MAXSPAN_MISPLACED = "E213", "`with maxspan` cannot stand in {place}"
    UNTIL_MISPLACED = "E214", "a sample cannot have `until`"
    TOO_MANY_STEPS = "E215", "there are {actual} steps, at most {limit} are allowed"

    ALIAS_MISPLACED = "E220", "`as` cannot name {place}"
    ALIAS_TWICE = "E221", "two steps are named `{name}`"
    ALIAS_NOT_READABLE = "E222", "`{name}` cannot be read {place}"
    UNKNOWN_ALIAS = "E223", "no step is named `{name}`"
    REPEATED_CLAUSE = "E224", "{place} has {what} twice"

    SAMPLE_WITHOUT_KEYS = "E230", "a sample needs at least one join key"

    PIPE_IN_STREAM = "E301", "the pipe `{name}` is not supported in a stream"
    PIPE_NOT_SUPPORTED = "E302", "the pipe `{name}` is not supported"
    UNKNOWN_PIPE = "E303", "unrecognized pipe `{name}`"
    BAD_PIPE_ARGUMENT = "E304", "the pipe `{name}` takes one whole number, 0 or more"
    JOIN_NOT_SUPPORTED = "E305", "`join` is not supported"
    UNKNOWN_RELATION = "E306", "unknown relationship `{relation} of`"
    ARRAY_INDEX_NOT_SUPPORTED = "E307", "array indexes are not supported"
    METHOD_CALL_NOT_SUPPORTED = "E308", "method calls are not supported"
    DEFINITION_NOT_SUPPORTED = "E309", "`{word}` definitions are not supported"
    FORK_NOT_SUPPORTED = "E310", "`fork` is not supported"
    # E311 to E317 were: `as`, `until`, runs, `![…]`, samples, `_arraysearch` and `of` not supported yet

    WILDCARD_IS_LITERAL = "W101", "`{character}` is an ordinary character behind `{operator}`"
    ANCHOR_IS_LITERAL = "W102", "`{anchor}` is an ordinary character in this regular expression"
    ALWAYS_FALSE = "W103", "this condition is never true"
    NO_MAXSPAN = "W104", "this sequence has no `maxspan`"
    NOT_COMPARABLE = "W105", "{left} and {right} cannot be compared"

    OPERATOR_IS_LITERAL = (
        "W106",
        "`{operator}` has nothing to work on, it is an ordinary character in this regular expression",
    )

    UNKNOWN_FIELD = "W110", "no schema knows the field `{field}`"

    @property
    def is_error(self) -> bool:
        """True if a rule with this finding is refused."""
        return self.number.startswith("E")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: its code, where it is, the template's arguments, and a way out."""

    code: Code
    span: Span
    args: Mapping[str, object] = field(default_factory=dict)
    hint: str = ""

    @property
    def message(self) -> str:
        """The finding in one sentence, without place or hint."""
        args = {name: _shown(str(arg), _PIECE) for name, arg in self.args.items()}
        return self.code.template.format_map(args)


def render(diagnostic: Diagnostic, source: Source) -> str:
    """The finding as a person reads it: place, code, sentence, the line with a caret, the hint.

    A line too long to read is cut around its caret.
    """
    span = diagnostic.span
    line, column = source.position(span.start)
    end_line, end_column = source.position(max(span.end, span.start + 1))
    text = source.line(line)
    at = source.index(line, column)
    width = max(1, end_column - column if end_line == line else len(text) - at)
    kind = "error" if diagnostic.code.is_error else "warning"
    shown, caret = _pointed(text, at, width)
    hint = f" {_shown(diagnostic.hint, _HINT)}" if diagnostic.hint else ""
    return (
        f"{source.name}:{line}:{column}: {kind}[{diagnostic.code.number}]: {diagnostic.message}\n"
        f"  {shown}\n  {caret}{hint}"
    )


def _pointed(text: str, at: int, width: int) -> tuple[str, str]:
    """A line as shown, and the carets under its `width` characters from `at` on."""
    start = 0 if len(text) <= _LINE else max(0, min(at - _BEFORE_CARET, len(text) - _LINE))
    end = min(len(text), start + _LINE)
    before = visible(text[start:at])
    pointed = visible(text[at : min(at + width, end)])
    left, right = "…" if start else "", "…" if end < len(text) else ""
    pad = "".join("\t" if c == "\t" else " " * _columns(c) for c in left + before)
    carets = "^" * max(1, sum(_columns(c) for c in pointed))
    return f"{left}{before}{pointed}{visible(text[at + width : end])}{right}".rstrip(), pad + carets


def _columns(character: str) -> int:
    """How many columns a terminal gives a character."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _shown(text: str, limit: int) -> str:
    return visible(text if len(text) <= limit else text[: limit - 1] + "…")


def visible(text: str) -> str:
    """The text with everything that would move the cursor or hide itself replaced by a sign."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else _sign(ord(c)) for c in text)


def _sign(code_point: int) -> str:
    if code_point < 0x20:
        return chr(0x2400 + code_point)
    return "␡" if code_point == 0x7F else f"\\u{{{code_point:02x}}}"
