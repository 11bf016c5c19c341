"""What a rule lets its event say of the alert: another risk score, severity or name.

The three are independent of each other, and none of them can fail: an event that says nothing valid leaves
the rule's own value (rule-format.md 2.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from detectord.alerts.fields import Fields, Scalar, values
from detectord.alerts.redaction import Redaction
from detectord.alerts.rule_parts import RuleParts
from detectord.rules.rule import SEVERITIES, Rule, Severity, SeverityMatch

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})\s*", re.ASCII)
_INTEGER = re.compile(r"\s*[-+]?[0-9]{1,20}", re.ASCII)
_BY_NUMBER = "event.severity"
"""The one field that is compared as an integer."""


def overridden(parts: RuleParts, fields: Fields, redaction: Redaction) -> RuleParts:
    """The parts of an alert on an event with these fields. A name is not taken from a redacted field."""
    rule = parts.rule
    score, severity = _risk_score(rule, fields), _severity(rule, fields)
    name = _name(rule, fields, redaction)
    if (score, severity, name) == (rule.risk_score, rule.severity, rule.name):
        return parts
    return parts.with_rule(replace(rule, risk_score=score, severity=severity, name=name))


def _risk_score(rule: Rule, fields: Fields) -> float:
    """The greatest valid score that the event names."""
    if not rule.risk_score_field:
        return rule.risk_score
    scores = (_score(value) for value in values(fields, rule.risk_score_field))
    return max((score for score in scores if score is not None), default=rule.risk_score)


def _score(value: Scalar) -> float | None:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        number = float(value)
        value = int(number) if number.is_integer() else number
    return value if not isinstance(value, bool) and 0 <= value <= 100 else None


def _severity(rule: Rule, fields: Fields) -> Severity:
    """The worst severity whose value the event has."""
    mapping = rule.severity_mapping
    found = [entry.severity for entry in mapping if _applies(entry, values(fields, entry.field))]
    return max(found, key=SEVERITIES.index, default=rule.severity)


def _applies(entry: SeverityMatch, values: Iterable[Scalar]) -> bool:
    whole = [value for value in values if isinstance(value, (str, int)) and not isinstance(value, bool)]
    if entry.field == _BY_NUMBER:
        wanted = _integer(entry.value)
        return wanted is not None and wanted in map(_integer, whole)
    return entry.value in map(str, whole)


def _integer(value: str | int) -> int | None:
    """The integer that a value is or begins with."""
    if isinstance(value, int):
        return value
    found = _INTEGER.match(value)
    return int(found.group()) if found is not None else None


def _name(rule: Rule, fields: Fields, redaction: Redaction) -> str:
    """The single text that the event has for a name; of a list none is chosen."""
    if not rule.name_field or redaction.covers(rule.name_field):
        return rule.name
    node: Any = fields
    for part in rule.name_field.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, str) and node.strip() else rule.name
