"""The findings of a load as SARIF 2.1.0, for code scanning and editors: one result a finding.

Places are lines and columns from 1, counted in characters. Files are named relative to the working
directory if they are below it. `unsupported_type` is a note: nobody needs to mend it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from detectord import __version__
from detectord.eql.diagnostics import Code
from detectord.rules.findings import Finding, RuleCode
from detectord.rules.ledger import Entry, Loaded

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(loaded: Loaded) -> dict[str, object]:
    """The log of one run."""
    codes: list[Code | RuleCode] = sorted(chain(Code, RuleCode), key=lambda code: code.number)
    indexes = {code.number: index for index, code in enumerate(codes)}
    driver = {
        "name": "detectord",
        "semanticVersion": __version__,
        "rules": [_descriptor(code) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": list(_results(loaded, indexes)),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _descriptor(code: Code | RuleCode) -> dict[str, object]:
    """What a code means, for those who see it listed."""
    error = code.number.startswith("E")
    effect = "A rule with this finding is refused." if error else "A rule with this finding is loaded."
    return {
        "id": code.number,
        "name": "".join(word.capitalize() for word in code.name.split("_")),
        "shortDescription": {"text": code.template},
        "help": {"text": f"{code.template}. {effect}"},
        "defaultConfiguration": {"level": "error" if error else "warning"},
    }


def _results(loaded: Loaded, indexes: Mapping[str, int]) -> Iterator[dict[str, object]]:
    for entry in (*loaded.refused, *loaded.warnings):
        for finding in entry.findings:
            yield {
                "ruleId": finding.code,
                "ruleIndex": indexes[finding.code],
                "level": _level(finding),
                "message": {"text": finding.message + (f" ({finding.hint})" if finding.hint else "")},
                "locations": [{"physicalLocation": _location(entry, finding)}],
                "properties": {"rule_id": entry.rule_id, "name": entry.name},
            }


def _level(finding: Finding) -> str:
    if finding.reason is None:
        return "warning"
    return "note" if finding.reason == "unsupported_type" else "error"


def _location(entry: Entry, finding: Finding) -> dict[str, object]:
    region = {
        "startLine": finding.line,
        "startColumn": finding.column,
        "endLine": finding.end_line,
        "endColumn": finding.end_column,
    }
    return {"artifactLocation": {"uri": _uri(entry.file)}, "region": region}


def _uri(file: str) -> str:
    """A file's name as an URI, relative if it is below the working directory."""
    path = Path(os.path.abspath(file))
    here = Path.cwd()
    if path.is_relative_to(here):
        return quote(path.relative_to(here).as_posix())
    return path.as_uri()
