"""What is wrong with a rule file: the loader's own codes, and one form for its findings and the query's.

A query's findings are `eql.diagnostics.Diagnostic`s. What stands around the query (the file, its
tables and keys) has codes of its own here, in the families E4 and W4 of the same numbering: an E
refuses the rule, a W lets it run, no number is used twice. Either kind becomes a `Finding`: its
place in the file as line and column, its sentence, and its rendered text.

The reasons of a refusal are a closed set, because they are a metric's label.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from detectord.eql.diagnostics import Diagnostic, render
from detectord.eql.source import Source

# A piece of a file in a message, and a shown line: characters.
_PIECE = 120
_LINE = 160

Reason = Literal[
    "parse_error", "schema_error", "unsupported_type", "unsupported_syntax", "unsupported_filter", "duplicate"
]


class RuleCode(enum.Enum):
    """A number, the reason it refuses a rule for (None: it only warns), and its sentence."""

    def __init__(self, number: str, reason: Reason | None, template: str) -> None:
        self.number = number
        self.reason = reason
        self.template = template

    UNREADABLE = "E401", "parse_error", "cannot be read: {error}"
    NOT_UTF8 = "E402", "parse_error", "byte {byte} is not UTF-8"
    NOT_TOML = "E403", "parse_error", "not TOML: {error}"
    TOO_LARGE = "E404", "parse_error", "larger than {limit} bytes"
    TOO_DEEP = "E405", "parse_error", "nested deeper than {limit} levels"
    UNKNOWN_FORMAT = "E406", "unsupported_syntax", "`{suffix}` is not the ending of a rule file"
    MISSING_KEY = "E410", "schema_error", "the key `{key}` is missing"
    WRONG_VALUE = "E411", "schema_error", "`{key}` must be {expected}, not {actual}"
    UNSUPPORTED_TYPE = "E420", "unsupported_type", "rules of the type `{type}` are not supported"
    UNSUPPORTED_FILTER = (
        "E422",
        "unsupported_filter",
        "`{key}`: {what} is not supported, and the rule would match more without it",
    )
    DUPLICATE = "E430", "duplicate", "{other} has the same rule_id, comes later and wins"
    # E421 and E423 were "not supported yet" for keys and for endpoint rules
    NOT_JSON = "E440", "parse_error", "not JSON: {error}"
    NOT_YAML = "E441", "parse_error", "not YAML: {error}"
    DUPLICATE_KEY = "E442", "parse_error", "the key `{key}` stands twice"
    TOO_MANY_VALUES = "E443", "parse_error", "more than {limit} values in one object"
    NOT_AN_OBJECT = "E444", "parse_error", "a rule is an object, not {actual}"
    NOT_A_RULE = "E445", "schema_error", "neither a rule nor anything else that an export of rules holds"
    NOT_EXCEPTIONS = "E446", "schema_error", "not a file of exception lists: {error}"
    TOO_MANY_ERRORS = (
        "E447",
        "parse_error",
        "more than {limit} errors in this file; what follows was not read",
    )

    UNKNOWN_KEY = "W401", None, "the key `{key}` is unknown and has no effect"
    OUTSIDE_BAND = "W402", None, "a risk score of {score} is not what `{severity}` means ({low} to {high})"
    NO_INDEX = "W403", None, "no index patterns: the rule reads every event"
    NO_MATURITY = "W404", None, "no metadata.maturity: the rule counts as development and is left out"
    IMPLICIT_MAXSPAN = (
        "W405",
        None,
        "implicit_maxspan: the sequence has no maxspan; its look-back of {span} holds",
    )
    # W406 was "no effect yet"
    EXCEPTION_LEFT_OUT = (
        "W420",
        None,
        "the exception item `{name}` is left out, so that rules alert more often: {why}",
    )
    LIST_NOT_FOUND = (
        "W421",
        None,
        "the exception list `{list_id}` was not found: the rule runs without it",
    )
    ENDPOINT_LIST = (
        "W422",
        None,
        "the endpoint exception list `{list_id}` has no effect here: it is for Elastic Defend's own alerts",
    )
    NOT_SUPPRESSED = "W423", None, "alerts are not suppressed yet: every one is published"
    NO_EFFECT_ON_SEQUENCE = "W424", None, "`{key}` has no effect on a sequence or sample"
    MISSING_FROM_EXPORT = "W425", None, "the export says that it lacks {count} of its {what}"
    DATA_VIEW = "W426", None, "the data view is not known here: the rule reads every event"
    LEFT_OUT_HERE = "W427", None, "a rule in a directory called `exceptions` is not loaded"
    THREAT_LEFT_OUT = "W428", None, "`{key}` must be {expected}, not {actual}; it is left out of alerts"
    NO_SUCH_RULE = "W429", None, "the overlay changes `{rule_id}`, which is not loaded"
    NO_CACHE = "W450", None, "the cache of rules is not used: {error}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding in one file. `code` is its number, `reason` is None for a warning; lines and columns
    count from 1, the end is behind the last character; `text` is the finding as a person reads it, several
    lines long; `hint` is a way out, or empty."""

    code: str
    reason: Reason | None
    line: int
    column: int
    message: str
    text: str
    end_line: int
    end_column: int
    hint: str = ""


def finding(code: RuleCode, args: Mapping[str, object], source: Source, offset: int = 0) -> Finding:
    """A finding of the loader at `offset` of the file `source`."""
    line, column = source.position(offset)
    message = code.template.format_map({name: _cut(str(arg), _PIECE) for name, arg in args.items()})
    kind = "warning" if code.reason is None else "error"
    text = f"{source.name}:{line}:{column}: {kind}[{code.number}]: {message}"
    pointed = _pointed_at(source.line(line), source.index(line, column))
    return Finding(code.number, code.reason, line, column, message, text + pointed, line, column + 1)


def _pointed_at(line: str, at: int) -> str:
    """The line with a caret below its character `at` (of a long line, the part around it); nothing if it
    is empty."""
    start = 0 if at < _LINE else at + 1 - _PIECE
    shown = line[start : start + _LINE]
    if not shown.strip():
        return ""
    pad = "".join("\t" if c == "\t" else " " for c in shown[: at - start])
    return f"\n  {shown}\n  {pad}^"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def of_query(diagnostic: Diagnostic, source: Source) -> Finding:
    """A finding of the language about the query `source`."""
    span = diagnostic.span
    return Finding(
        diagnostic.code.number,
        _reason(diagnostic),
        *source.position(span.start),
        diagnostic.message,
        render(diagnostic, source),
        *source.position(max(span.end, span.start + 1)),
        diagnostic.hint,
    )


def _reason(diagnostic: Diagnostic) -> Reason | None:
    if not diagnostic.code.is_error:
        return None
    return "unsupported_syntax" if diagnostic.code.number.startswith("E3") else "parse_error"


def kind_of(value: object) -> str:
    """What a value is, in words short enough for one line."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"' if len(value) <= 40 else f'"{value[:40]}…"'
        case int() | float():
            return str(value)[:40]
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"
