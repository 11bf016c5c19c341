"""The ledger of an import: for every Sigma rule met, the file it became, or why it became none.

The reasons are a closed set, so that they can be counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Reason = Literal[
    "bad_file",
    "bad_yaml",
    "bad_rule",
    "unsupported_status",
    "duplicate",
    "logsource",
    "keywords",
    "placeholder",
    "regex",
    "unsupported",
    "too_large",
    "query",
    "correlation",
    "filter",
]
"""Why a rule was not converted; docs/importing-sigma.md says more of each."""

REASONS: tuple[Reason, ...] = get_args(Reason)


class RefusedError(Exception):
    """A rule that is not converted: the reason, and what in the rule it is about."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Entry:
    """One Sigma rule: where it stands, and what became of it.

    `source` is its file as the command line reached it, `document` its number in that file (from 1; 0 for
    the file itself). Either `file` names the rule file, or `reason` and `detail` say why there is none.
    """

    source: str
    document: int
    title: str = ""
    id: str = ""
    file: str = ""
    reason: Reason | None = None
    detail: str = ""
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The entry with the keys that say something."""
        row: dict[str, Any] = {"source": self.source, "document": self.document}
        row.update((key, value) for key, value in (("title", self.title), ("id", self.id)) if value)
        if self.reason is None:
            row.update(outcome="converted", file=self.file)
        else:
            row.update(outcome="refused", reason=self.reason, detail=self.detail)
        if self.warnings:
            row["warnings"] = list(self.warnings)
        return row


@dataclass(frozen=True)
class Ledger:
    """All entries, in the order in which the rules were met."""

    entries: tuple[Entry, ...]

    @property
    def converted(self) -> list[Entry]:
        """The entries of rules that were written."""
        return [entry for entry in self.entries if entry.reason is None]

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many rules were refused for each reason that occurs, the commonest first."""
        return dict(Counter(entry.reason for entry in self.entries if entry.reason is not None).most_common())

    def as_json(self) -> dict[str, Any]:
        """The whole ledger, as it is written and printed."""
        return {
            "converted": len(self.converted),
            "refused": len(self.entries) - len(self.converted),
            "reasons": self.reasons,
            "warnings": sum(len(entry.warnings) for entry in self.entries),
            "rules": [entry.as_json() for entry in self.entries],
        }
