"""What a rule may say: its keys, what each may hold, and what becomes of them.

A check looks at one value and yields, for each thing wrong with it, where in the value and what belongs
there. The tables below say which keys there are; `schema.py` reads a rule by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from detectord.rules.exceptions import ENDPOINT_TYPES, LIST_TYPES
from detectord.rules.places import Path
from detectord.rules.spans import INTERVAL, LOOK_BACK

_DATE_MATH = re.compile(r"now(?:[+-][0-9]{1,9}(?:ms|s|m|h|d|w|M|y))*(?:/[smhdwMy])?")
_FIELD_NAME = re.compile(r"[^\s\"'`\\]+")
_DAY = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2}")

MATURITIES = ("development", "experimental", "beta", "production", "deprecated")

Check = Callable[[object], Iterator[tuple[Path, str]]]
"""Yields, for each thing wrong with a value, where in the value and what belongs there."""


# --- what a value may be ---------------------------------------------------------------------


def _text(value: object) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, str):
        yield (), "a string"


def _said(value: object) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, str) or not value:
        yield (), "a string that is not empty"


def _flag(value: object) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, bool):
        yield (), "true or false"


def _whole(low: int, high: int | None = None) -> Check:
    expected = (
        f"a whole number from {low} to {high}" if high is not None else f"a whole number of at least {low}"
    )

    def check(value: object) -> Iterator[tuple[Path, str]]:
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < low
            or (high is not None and value > high)
        ):
            yield (), expected

    return check


def _one_of(*words: str) -> Check:
    def check(value: object) -> Iterator[tuple[Path, str]]:
        if not isinstance(value, str) or value not in words:
            yield (), " or ".join(f'"{word}"' for word in words)

    return check


def _like(pattern: re.Pattern[str], expected: str) -> Check:
    def check(value: object) -> Iterator[tuple[Path, str]]:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            yield (), expected

    return check


def _many(each: Check) -> Check:
    def check(value: object) -> Iterator[tuple[Path, str]]:
        if not isinstance(value, list):
            yield (), "a list"
            return
        for position, item in enumerate(value):
            yield from (((position, *path), expected) for path, expected in each(item))

    return check


def _between(least: int, most: int, each: Check) -> Check:
    def check(value: object) -> Iterator[tuple[Path, str]]:
        if isinstance(value, list) and not least <= len(value) <= most:
            yield (), f"a list of {least} to {most}"
        yield from _many(each)(value)

    return check


def _text_or_number(value: object) -> Iterator[tuple[Path, str]]:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        yield (), "a string"


def _either(one: Check, many: Check) -> Check:
    return lambda value: many(value) if isinstance(value, list) else one(value)


def _table(required: Mapping[str, Check], optional: Mapping[str, Check] = {}) -> Check:
    def check(value: object) -> Iterator[tuple[Path, str]]:
        if not isinstance(value, dict):
            yield (), "a table"
            return
        for key, inner in {**required, **optional}.items():
            if key in value:
                yield from (((key, *path), expected) for path, expected in inner(value[key]))
            elif key in required:
                yield (), f"a table with the key `{key}`"

    return check


# --- the keys --------------------------------------------------------------------------------

_FIELD = _like(_FIELD_NAME, "a field name")
_REFERENCE = {"id": _said, "name": _said, "reference": _text}
_TECHNIQUE = _table(_REFERENCE, {"subtechnique": _many(_table(_REFERENCE))})
_THREAT = _table({"framework": _said, "tactic": _table(_REFERENCE)}, {"technique": _many(_TECHNIQUE)})
_LIST_TYPE = _one_of(*LIST_TYPES, *ENDPOINT_TYPES)
_EXCEPTION_LIST = _table({}, {"list_id": _text, "type": _LIST_TYPE, "namespace_type": _text, "id": _text})
_SEVERITY = _one_of("low", "medium", "high", "critical")
_SEVERITY_MATCH = _table(
    {"field": _FIELD, "severity": _SEVERITY}, {"operator": _one_of("equals"), "value": _text_or_number}
)
_SUPPRESSION = _table(
    {"group_by": _between(1, 5, _FIELD)},
    {
        "duration": _table({"value": _whole(1, 10**6), "unit": _one_of("s", "m", "h")}),
        "missing_fields_strategy": _one_of("suppress", "doNotSuppress"),
    },
)

REQUIRED: Mapping[str, Check] = {
    "author": _many(_text),
    "description": _text,
    "language": _one_of("eql"),
    "name": _said,
    "query": _said,
    "risk_score": _whole(0, 100),
    "rule_id": _said,
    "severity": _SEVERITY,
}
USED: Mapping[str, Check] = {
    "alert_suppression": _SUPPRESSION,
    "building_block_type": _one_of("default"),
    "enabled": _flag,
    "event_category_override": _FIELD,
    "false_positives": _many(_text),
    "filters": _many(_table({})),
    "from": _like(LOOK_BACK, 'a look-back such as "now-9m"'),
    "index": _many(_said),
    "license": _text,
    "references": _many(_text),
    "tags": _many(_text),
    "threat": _many(_THREAT),
    "threat_mappings": _many(_table({"framework": _said, "version": _text, "threat": _many(_table({}))})),
    "tiebreaker_field": _FIELD,
    "timestamp_field": _FIELD,
    "type": _text,
    "version": _whole(1),
}
CARRIED: Mapping[str, Check] = {
    "from": USED["from"],
    "interval": _like(INTERVAL, 'a length of time such as "5m"'),
    "artifact_version": _text,
    "exceptions_list": _many(_EXCEPTION_LIST),
    "immutable": _flag,
    "investigation_fields": _table({"field_names": _many(_text)}),
    "max_signals": _whole(1),
    "note": _text,
    "revision": _whole(0),
    "risk_score_mapping": _many(_table({"field": _FIELD}, {"operator": _one_of("equals")})),
    "rule_name_override": _FIELD,
    "rule_source": _table({}),
    "setup": _text,
    "severity_mapping": _many(_SEVERITY_MATCH),
    "timeline_id": _text,
    "timeline_title": _text,
    "timestamp_override": _FIELD,
    "to": _like(_DATE_MATH, 'a time such as "now"'),
}
IGNORED = frozenset(
    (
        "actions",
        "meta",
        "related_integrations",
        "required_fields",
        "response_actions",
        "throttle",
        "timestamp_override_fallback_disabled",
    )
)
EVENT_RULES_ONLY = ("risk_score_mapping", "severity_mapping", "rule_name_override")
"""Keys that have no effect on sequences and samples, in Elastic neither."""

OF_KIBANA = frozenset(
    (
        *(
            "alias_purpose",
            "alias_target_id",
            "created_at",
            "created_by",
            "data_view_id",
            "execution_summary",
        ),
        *("id", "namespace", "outcome", "output_index", "updated_at", "updated_by"),
    )
)
"""Keys that an export has of the Kibana it comes from."""
OVERLAY_KEYS: Mapping[str, Check] = {
    "enabled": _flag,
    "exceptions": _many(_said),
    "index": _many(_said),
    "risk_score": _whole(0, 100),
    "severity": _SEVERITY,
    "suppression": _SUPPRESSION,
    "tags": _many(_text),
}
OVERLAY: Check = _table({}, OVERLAY_KEYS)
"""What an overlay may say of one rule."""

MADE_UP = ("author", "language")
"""Keys of a detection rule that an object may lack."""
NOT_HASHED = frozenset(("created_at", "created_by", "execution_summary", "updated_at", "updated_by"))
"""Those that change without the rule."""

ENDPOINT_REQUIRED: Mapping[str, Check] = {"name": _said, "query": _said, "rule_id": _said}
ENDPOINT_USED: Mapping[str, Check] = {
    "artifact_version": _text,
    "description": _text,
    "license": _text,
    "os_list": _many(_said),
    "references": _many(_text),
}
ENDPOINT_IGNORED = frozenset(
    ("actions", "max_endpoint_version", "min_endpoint_version", "optional_actions", "reputation")
)
ENDPOINT_TABLES = frozenset(("actions", "internal", "metadata", "optional_actions", "rule", "threat"))

METADATA: Mapping[str, Check] = {
    "creation_date": _like(_DAY, "a day as YYYY/MM/DD"),
    "integration": _either(_text, _many(_text)),
    "maturity": _one_of(*MATURITIES),
    "updated_date": _like(_DAY, "a day as YYYY/MM/DD"),
}
METADATA_IGNORED = frozenset(
    (
        "bypass_bbr_timing",
        "comments",
        "deprecated_reason",
        "deprecation_date",
        "extended",
        "min_stack_comments",
        "min_stack_version",
        "os_type_list",
        "promotion",
        "query_schema_validation",
        "related_endpoint_rules",
    )
)
TABLES = frozenset(("metadata", "rule", "transform"))

THREAT: Check = _THREAT


def spelled(path: Path) -> str:
    """A path as a person writes it: `rule.tags[2]`."""
    first, *rest = path
    return str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
