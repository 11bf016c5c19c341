"""The ledger of a load: which rules there are, and why the rest is not among them."""

from __future__ import annotations

from dataclasses import dataclass, field

from detectord.rules.findings import Finding, Reason
from detectord.rules.report import report
from detectord.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: what was found in a file. `rule_id` and `name` are empty where the file
    does not tell them; `message` is the whole text for a person, of all `findings` that refuse a rule."""

    file: str
    rule_id: str
    name: str
    code: str
    line: int
    column: int
    message: str
    findings: tuple[Finding, ...] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Refusal(Entry):
    """A rule, or a file, that did not load, and the first of the reasons."""

    reason: Reason


@dataclass(frozen=True)
class Loaded:
    """What came of loading: the rules in the order of their files, and the ledger of the rest.

    `skipped` counts the rules left out because of their maturity, `unselected` those that the policy
    leaves out.
    """

    rules: tuple[Rule, ...]
    refused: tuple[Refusal, ...]
    warnings: tuple[Entry, ...]
    skipped: int
    unselected: int = 0

    @property
    def failed(self) -> tuple[Refusal, ...]:
        """The refusals that somebody should mend: all but those for being of another rule type."""
        return tuple(each for each in self.refused if each.reason != "unsupported_type")

    def ledger(self) -> dict[str, object]:
        """The outcome as plain values for JSON."""
        return {
            "loaded": len(self.rules),
            "refused": [
                {
                    "file": each.file,
                    "rule_id": each.rule_id,
                    "name": each.name,
                    "reason": each.reason,
                    "code": each.code,
                    "line": each.line,
                    "column": each.column,
                }
                for each in self.refused
            ],
            "warnings": [
                {
                    "file": each.file,
                    "rule_id": each.rule_id,
                    "name": each.name,
                    "code": each.code,
                    "line": each.line,
                    "column": each.column,
                    "message": each.message,
                }
                for each in self.warnings
            ],
            "skipped": self.skipped,
            "unselected": self.unselected,
            **report(self.rules),
        }
