"""A rule: what a rule file says, checked, and its parsed query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detectord.eql.ast import Expr, Query

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
"""From the least to the worst."""


@dataclass(frozen=True, slots=True)
class SeverityMatch:
    """An entry of `severity_mapping`: an alert has this severity if the event's field has this value."""

    field: str
    value: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Suppression:
    """`alert_suppression`: alerts with equal values of the fields `group_by` fold into the first of them.

    `window` is in nanoseconds. `alone` says what becomes of an alert that lacks one of the fields:
    it is published alone, else the field counts as having the value null.
    """

    group_by: tuple[str, ...]
    window: int
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One detection rule, ready to be compiled. Plain data: it travels to the workers by pickle.

    `rule_id` is its identity over versions; `uuid` what `kibana.alert.rule.uuid` gets (the same
    unless the rule came from Kibana). `look_back` is the span of `from` in nanoseconds.
    `index` is empty when the rule has no index gate. `threat` is the file's list, verbatim.
    `extra` holds the carried fields that only a full alert shows (note, setup, from, …).

    `filter` is a condition that every event must satisfy before any step looks at it, also `until` and
    missing steps: the rule's filters, exceptions and operating systems. None: all events.

    The overrides hold for alerts of event rules: `risk_score_field` names the field whose number replaces
    the risk score, `name_field` the one whose text replaces the name; of the `severity_mapping` entries
    that apply the worst wins. `dialect` is `endpoint` for a rule of Elastic Defend's behaviour protection.
    """

    rule_id: str
    name: str
    query_text: str
    query: Query
    severity: Severity = "low"
    risk_score: float = 21
    uuid: str = ""
    description: str = ""
    version: int = 1
    author: tuple[str, ...] = ()
    license: str = ""
    tags: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    threat: tuple[Mapping[str, Any], ...] = ()
    threat_mappings: tuple[Mapping[str, Any], ...] = ()
    ruleset: str = ""
    integrations: tuple[str, ...] = ()
    building_block_type: str = ""
    dialect: Literal["elastic", "endpoint"] = "elastic"
    filter: Expr | None = None
    risk_score_field: str = ""
    severity_mapping: tuple[SeverityMatch, ...] = ()
    name_field: str = ""
    suppression: Suppression | None = None
    ignore_index: bool = False
    category_field: str = "event.category"
    timestamp_field: str = "@timestamp"
    tiebreaker_field: str = ""
    look_back: int = 6 * 60 * 1_000_000_000
    enabled: bool = True
    path: str = ""
    content_hash: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
