"""The language: text to a checked syntax tree and back, with diagnostics as data.

`analyse` is the door for whoever loads a query; `parse` and `to_text` are exact opposites.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from detectord.eql.check import UnknownFields, check
from detectord.eql.diagnostics import Code, Diagnostic, render
from detectord.eql.parser import Parsed, parse, read
from detectord.eql.printer import to_text
from detectord.eql.source import Source, Span

__all__ = [
    "Code",
    "Diagnostic",
    "Parsed",
    "Source",
    "Span",
    "UnknownFields",
    "analyse",
    "check",
    "parse",
    "render",
    "to_text",
]

_NO_TYPES: Mapping[str, str] = MappingProxyType({})


def analyse(
    source: Source,
    *,
    types: Mapping[str, str] = _NO_TYPES,
    stream: bool = True,
    unknown_fields: UnknownFields = "pass",
) -> Parsed:
    """Parse and check a query, with the arguments of `check`: everything found in one run.

    As with `parse`, the query is None exactly if a diagnostic is an error. Never raises.
    """
    query, diagnostics = read(source)
    if query is not None:
        found = check(query, types=types, stream=stream, unknown_fields=unknown_fields)
        if any(diagnostic.code.is_error for diagnostic in diagnostics):
            # The tree has stand-ins: its errors are worth telling, its warnings may be about these
            found = tuple(diagnostic for diagnostic in found if diagnostic.code.is_error)
        diagnostics = tuple(sorted(diagnostics + found, key=lambda diagnostic: diagnostic.span.start))
    refused = any(diagnostic.code.is_error for diagnostic in diagnostics)
    return Parsed(None if refused else query, diagnostics)
