"""The parts of an alert document that depend on the rule alone, made once per rule.

`kibana.alert.rule.*` is what Kibana's tools read; `rule.*` and `threat.*` say the same to readers of
plain ECS. How much of the rule goes into the former is the operator's `rule_detail`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from detectord.alerts.fields import clean, plain
from detectord.alerts.settings import RuleDetail
from detectord.rules.rule import Rule

CATEGORY = "Event Correlation Rule"
SEVERITY_NUMBERS: Mapping[str, int] = {"low": 21, "medium": 47, "high": 73, "critical": 99}

_PREFIX = "kibana.alert.rule."

_FULL_DEFAULTS: Mapping[str, Any] = {
    "from": "now-6m",
    "to": "now",
    "interval": "5m",
    "max_signals": 100,
    "immutable": False,
    "note": "",
    "setup": "",
    "risk_score_mapping": [],
    "severity_mapping": [],
    "exceptions_list": [],
}
"""What a full alert says of a rule whose file is silent."""

_FULL_OPTIONAL = (
    "revision",
    "rule_name_override",
    "timestamp_override",
    "timeline_id",
    "timeline_title",
    "investigation_fields",
)
_NEVER = frozenset(("actions", "throttle", "meta", "created_at", "created_by", "updated_at", "updated_by"))
"""Fields of a rule that mean nothing outside the Kibana that owns it."""


@dataclass(frozen=True, slots=True)
class RuleParts:
    """What every alert of one rule shares.

    `alert` holds flat `kibana.alert.rule.*` keys, `ecs` the content of `rule`, `threat` that of
    `threat` (empty if the rule names no threat). Nothing in them may be changed.
    """

    rule: Rule
    uuid: str
    name: str
    alert: Mapping[str, Any]
    ecs: Mapping[str, Any]
    threat: Mapping[str, Any]

    @classmethod
    def of(cls, rule: Rule, detail: RuleDetail) -> RuleParts:
        """The parts of `rule`."""
        uuid = clean(rule.uuid or rule.rule_id)
        return cls(
            rule=rule,
            uuid=uuid,
            name=clean(rule.name),
            alert={_PREFIX + name: plain(value) for name, value in _alert(rule, uuid, detail).items()},
            ecs=_ecs(rule, uuid),
            threat=_threat(rule.threat),
        )

    def with_rule(self, rule: Rule) -> RuleParts:
        """The parts for one event by which the rule's name, severity or score is another. What describes
        the rule itself keeps its own severity and score."""
        name = clean(rule.name)
        alert = {**self.alert, f"{_PREFIX}name": name}
        return replace(self, rule=rule, name=name, alert=alert, ecs={**self.ecs, "name": name})


def _alert(rule: Rule, uuid: str, detail: RuleDetail) -> dict[str, Any]:
    minimal = {
        "name": rule.name,
        "rule_id": rule.rule_id,
        "uuid": uuid,
        "version": rule.version,
        "type": "eql",
    }
    if detail == "minimal":
        return minimal
    parameters = _parameters(rule)
    standard: dict[str, Any] = {
        **minimal,
        "rule_type_id": "siem.eqlRule",
        "category": CATEGORY,
        "consumer": "siem",
        "producer": "siem",
        "description": rule.description,
        "author": rule.author,
        "tags": rule.tags,
        "references": rule.references,
        "false_positives": rule.false_positives,
        "indices": rule.index,
        "threat": [_whole(entry) for entry in rule.threat],
        "parameters": parameters,
    }
    return standard if detail == "standard" else {**standard, **_full(rule, parameters)}


def _parameters(rule: Rule) -> dict[str, Any]:
    return {
        "type": "eql",
        "language": "eql",
        "index": rule.index,
        "query": rule.query_text,
        "rule_id": rule.rule_id,
        "version": rule.version,
        "severity": rule.severity,
        "risk_score": rule.risk_score,
    }


def _full(rule: Rule, parameters: Mapping[str, Any]) -> dict[str, Any]:
    carried = {name: value for name, value in rule.extra.items() if name not in _NEVER}
    own: dict[str, Any] = {
        "license": rule.license,
        "enabled": rule.enabled,
        "risk_score": rule.risk_score,
        "severity": rule.severity,
    }
    if rule.building_block_type:
        own["building_block_type"] = rule.building_block_type
    shown = {name: carried.get(name, default) for name, default in _FULL_DEFAULTS.items()}
    shown |= {name: carried[name] for name in _FULL_OPTIONAL if name in carried}
    whole = {
        **carried,
        **shown,
        **own,
        "name": rule.name,
        "description": rule.description,
        "author": rule.author,
        "tags": rule.tags,
        "references": rule.references,
        "false_positives": rule.false_positives,
        "threat": [_whole(entry) for entry in rule.threat],
        **parameters,
    }
    return {**shown, **own, "parameters": whole}


def _ecs(rule: Rule, uuid: str) -> dict[str, Any]:
    block = {
        "id": rule.rule_id,
        "uuid": uuid,
        "name": rule.name,
        "description": rule.description,
        "category": CATEGORY,
        "ruleset": rule.ruleset,
        "version": str(rule.version),
        "license": rule.license,
        "author": rule.author,
        "reference": rule.references[0] if rule.references else "",
    }
    return {name: plain(value) for name, value in block.items() if value}


def _whole(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A threat entry with the lists that a rule file may leave out."""
    techniques = [{"subtechnique": [], **technique} for technique in _objects(entry.get("technique"))]
    return {**entry, "technique": techniques}


def _threat(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries' tactics, techniques and sub-techniques as ECS has them: parallel arrays."""
    threats = [plain(entry) for entry in entries]
    frameworks = list(dict.fromkeys(t["framework"] for t in threats if isinstance(t.get("framework"), str)))
    techniques = [technique for threat in threats for technique in _objects(threat.get("technique"))]
    block: dict[str, Any] = {}
    if frameworks:
        block["framework"] = frameworks[0] if len(frameworks) == 1 else frameworks
    block["tactic"] = _arrays(tactic for threat in threats for tactic in _objects(threat.get("tactic")))
    block["technique"] = _arrays(techniques)
    subs = _arrays(sub for technique in techniques for sub in _objects(technique.get("subtechnique")))
    if subs:
        block["technique"]["subtechnique"] = subs
    return {name: value for name, value in block.items() if value}


def _objects(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def _arrays(items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """`id`, `name` and `reference` of the items, each item once, in order. Whole items are compared,
    so that the three arrays stay in step."""
    rows = dict.fromkeys((_word(i, "id"), _word(i, "name"), _reference(i)) for i in items)
    columns = {
        name: [row[at] for row in rows if row[at]] for at, name in enumerate(("id", "name", "reference"))
    }
    return {name: column for name, column in columns.items() if column}


def _word(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _reference(item: Mapping[str, Any]) -> str:
    reference = _word(item, "reference")
    return reference if not reference or reference.endswith("/") else reference + "/"
