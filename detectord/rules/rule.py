"""A rule: what a rule file says, checked, and its parsed query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detectord.eql.ast import Query

Severity = Literal["low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One detection rule, ready to be compiled. Plain data: it travels to the workers by pickle.

    `rule_id` is its identity over versions; `uuid` what `kibana.alert.rule.uuid` gets (the same
    unless the rule came from Kibana). `look_back` is the span of `from` in nanoseconds.
    `index` is empty when the rule has no index gate. `threat` is the file's list, verbatim.
    `extra` holds the carried fields that only a full alert shows (note, setup, from, …).
    """

    rule_id: str
    name: str
    query_text: str
    query: Query
    severity: Severity = "low"
    risk_score: int = 21
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
    ruleset: str = ""
    building_block_type: str = ""
    category_field: str = "event.category"
    timestamp_field: str = "@timestamp"
    tiebreaker_field: str = ""
    look_back: int = 6 * 60 * 1_000_000_000
    enabled: bool = True
    path: str = ""
    content_hash: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
