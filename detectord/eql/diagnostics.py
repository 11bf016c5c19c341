"""Diagnostics: findings for a rule's author, as data.

A diagnostic is built where the trouble is seen, collected (one finding never hides the next), and
turned into text in one place, `render`. The number of a code is never reused; the letter is its
severity: an E refuses the rule, a W lets it run.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from detectord.eql.source import Source, Span


class Code(enum.Enum):
    """What was found: a stable number and the sentence for it. Families: E0 text, E1 meaning,
    E2 sequences, E3 not supported; W1 probably not what was meant."""

    def __init__(self, number: str, template: str) -> None:
        self.number = number
        self.template = template

    UNEXPECTED_CHARACTER = "E001", "unexpected character `{character}`"
    UNEXPECTED_TOKEN = "E010", "unexpected {found}"
    UNKNOWN_FUNCTION = "E104", "unknown function `{name}`"

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
        return self.code.template.format_map(dict(self.args))


def render(diagnostic: Diagnostic, source: Source) -> str:
    """The finding as a person reads it: place, code, sentence, the line with a caret, the hint."""
    line, column = source.position(diagnostic.span.start)
    kind = "error" if diagnostic.code.is_error else "warning"
    text = source.line(line)
    end_line, end_column = source.position(max(diagnostic.span.end, diagnostic.span.start + 1))
    width = max(1, end_column - column if end_line == line else len(text) - column + 1)
    pad = "".join("\t" if c == "\t" else " " for c in text[: column - 1])
    caret = f"  {pad}{'^' * width}"
    return (
        f"{source.name}:{line}:{column}: {kind}[{diagnostic.code.number}]: {diagnostic.message}\n"
        f"  {text}\n{caret}{' ' + diagnostic.hint if diagnostic.hint else ''}"
    )
