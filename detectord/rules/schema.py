"""A rule document becomes a Rule: which keys there are, what they may hold, what becomes of them.

Pure: the document, as `tomllib` gives it, and the places of its keys come in; a Rule or findings go
out. Every key is checked, and every finding is collected, before the rule is given up.

What becomes of a key is one of four things:
used        it is a field of Rule, and decides what matches or what an alert says;
carried     it stands in `Rule.extra` for alerts in full detail;
ignored     it has no meaning for a stream (`actions`, `throttle`), checked no further than it is read;
refused     it restricts or changes what the rule reports in a way that is not supported yet. Leaving
            it out silently would be another rule than its author wrote, so the rule does not run.

All strings lose the white space around them; descriptions lose their line breaks, too.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from detectord.eql import UnknownFields, analyse, ast
from detectord.eql.diagnostics import Code
from detectord.eql.scanner import MAX_LENGTH
from detectord.eql.source import Source
from detectord.rules.findings import Finding, RuleCode, finding, of_query
from detectord.rules.places import Path, Places
from detectord.rules.rule import Rule, Severity

_NANOSECONDS = {
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
    "w": 7 * 86400 * 10**9,
}
_LOOK_BACK = re.compile(r"now-0*([1-9][0-9]{0,8})(ms|s|m|h|d|w)(?:/[smhdwMy])?")
_DATE_MATH = re.compile(r"now(?:[+-][0-9]{1,9}(?:ms|s|m|h|d|w|M|y))*(?:/[smhdwMy])?")
_INTERVAL = re.compile(r"0*[1-9][0-9]{0,8}(?:s|m|h|d|w)")
_FIELD_NAME = re.compile(r"[^\s\"'`\\]+")
_DAY = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2}")
_UNITS = (("d", 86400 * 10**9), ("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6))

DEFAULT_LOOK_BACK = "now-6m"
FieldTypes = Mapping[str, str]
NO_TYPES: FieldTypes = {}
MAX_FINDINGS = 50
"""So many findings about one rule are kept; its author needs no more to begin with."""

MATURITIES = ("development", "experimental", "beta", "production", "deprecated")
BANDS: Mapping[str, tuple[int, int]] = {
    "low": (0, 21),
    "medium": (22, 47),
    "high": (48, 73),
    "critical": (74, 100),
}

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

REQUIRED: Mapping[str, Check] = {
    "author": _many(_text),
    "description": _text,
    "language": _one_of("eql"),
    "name": _said,
    "query": _said,
    "risk_score": _whole(0, 100),
    "rule_id": _said,
    "severity": _one_of("low", "medium", "high", "critical"),
}
USED: Mapping[str, Check] = {
    "building_block_type": _one_of("default"),
    "enabled": _flag,
    "event_category_override": _FIELD,
    "false_positives": _many(_text),
    "from": _like(_LOOK_BACK, 'a look-back such as "now-9m"'),
    "index": _many(_said),
    "license": _text,
    "references": _many(_text),
    "tags": _many(_text),
    "threat": _many(_THREAT),
    "tiebreaker_field": _FIELD,
    "timestamp_field": _FIELD,
    "type": _text,
    "version": _whole(1),
}
CARRIED: Mapping[str, Check] = {
    "from": USED["from"],
    "interval": _like(_INTERVAL, 'a length of time such as "5m"'),
    "investigation_fields": _table({"field_names": _many(_text)}),
    "max_signals": _whole(1),
    "note": _text,
    "revision": _whole(0),
    "setup": _text,
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
        "rule_source",
        "threat_mappings",
        "throttle",
        "timestamp_override_fallback_disabled",
    )
)
REFUSED: Mapping[str, tuple[Check, RuleCode]] = {
    "alert_suppression": (_table({}), RuleCode.UNSUPPORTED_KEY),
    "exceptions_list": (_many(_table({})), RuleCode.UNSUPPORTED_FILTER),
    "filters": (_many(_table({})), RuleCode.UNSUPPORTED_FILTER),
    "risk_score_mapping": (_many(_table({})), RuleCode.UNSUPPORTED_KEY),
    "rule_name_override": (_FIELD, RuleCode.WITHOUT_EFFECT),
    "severity_mapping": (_many(_table({})), RuleCode.UNSUPPORTED_KEY),
}
EVENT_RULES_ONLY = frozenset(("risk_score_mapping", "rule_name_override", "severity_mapping"))
"""Keys that Elastic, too, does not apply to sequences: there they may stand."""

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


# --- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What came of one document: a rule, or findings that refuse it, or neither (not selected)."""

    rule_id: str
    name: str
    findings: tuple[Finding, ...]
    rule: Rule | None = None
    unknown_keys: tuple[tuple[str, Finding], ...] = ()
    """Findings about unknown keys, by key: a load tells each key once."""


def read(
    document: Mapping[str, Any],
    places: Places,
    file: str,
    *,
    maturity: Collection[str] = ("production",),
    types: FieldTypes = NO_TYPES,
    strict_fields: bool = False,
    ruleset: str = "",
) -> Reading:
    """The rule in `document`, a whole TOML file named `file`, whose keys stand at `places`.

    `types` tells the query's check what is known of fields: path to Elasticsearch mapping type. A field that
    it does not have is a warning, or, with `strict_fields`, an error.

    A rule whose maturity is not in `maturity`, or is `deprecated`, is not selected: the reading then
    has no rule and no finding that refuses it.
    """
    reader = _Reader(document, places, file, types, strict_fields)
    rule = reader.rule(maturity, ruleset)
    return Reading(
        reader.word("rule_id"),
        reader.word("name"),
        tuple(reader.findings),
        rule,
        tuple(reader.unknown.items()),
    )


class _Reader:
    """The reading of one document: what has been found so far."""

    def __init__(
        self,
        document: Mapping[str, Any],
        places: Places,
        file: str,
        types: FieldTypes,
        strict_fields: bool,
    ) -> None:
        self.document = document
        self.types = types
        self.strict_fields = strict_fields
        self.places = places
        self.file = Source(places.text, file)
        self.findings: list[Finding] = []
        self.unknown: dict[str, Finding] = {}
        self.table = _table_of(document, "rule")
        self.metadata = _table_of(document, "metadata")

    def found(self, code: RuleCode, path: Path, **args: object) -> None:
        """Keep a finding at the value of `path`."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding(code, args, self.file, self.places.of(path)))

    def word(self, key: str) -> str:
        """The text at `key` of the rule, empty if there is none."""
        value = self.table.get(key)
        return value if isinstance(value, str) else ""

    def rule(self, maturity: Collection[str], ruleset: str) -> Rule | None:
        """The rule, if it is selected and nothing refuses it."""
        for name in ("metadata", "rule"):
            if not isinstance(self.document.get(name, {}), dict):
                self.found(
                    RuleCode.WRONG_VALUE,
                    (name,),
                    key=name,
                    expected="a table",
                    actual=_kind(self.document[name]),
                )
                return None
        if not self.selected(maturity):
            return None
        if "rule" not in self.document:
            self.found(RuleCode.MISSING_KEY, (), key="rule")
            return None
        if not self.is_detection():
            return None
        self.check_keys()
        query = self.query()
        self.refuse_unsupported(query)
        if query is None or any(each.reason is not None for each in self.findings):
            return None
        self.warn_of_the_rest()
        return self.build(query, ruleset)

    def selected(self, maturity: Collection[str]) -> bool:
        """True if the document's maturity is among those asked for, or is nonsense (which is found later)."""
        value = self.metadata.get("maturity")
        if value is None and "development" not in maturity and "rule" in self.document:
            self.found(RuleCode.NO_MATURITY, ("metadata",))
        word = "development" if value is None else value
        return word not in MATURITIES or (word in maturity and word != "deprecated")

    def is_detection(self) -> bool:
        """True if this is an EQL rule of the detection engine; else the finding says what it is."""
        if "id" in self.table and "rule_id" not in self.table and "type" not in self.table:
            self.found(RuleCode.ENDPOINT_RULE, ("rule", "id"))
            return False
        if "type" not in self.table:
            self.found(RuleCode.MISSING_KEY, ("rule",), key="rule.type")
            return False
        kind = self.table["type"]
        if isinstance(kind, str) and kind != "eql":
            self.found(RuleCode.UNSUPPORTED_TYPE, ("rule", "type"), type=kind)
            return False
        return True

    def check_keys(self) -> None:
        """Hold every key against its check."""
        for key in REQUIRED:
            if key not in self.table:
                self.found(RuleCode.MISSING_KEY, ("rule",), key=f"rule.{key}")
        refused = {key: check for key, (check, _) in REFUSED.items()}
        self.check_table("rule", self.table, {**REQUIRED, **USED, **CARRIED, **refused}, IGNORED)
        self.check_table("metadata", self.metadata, METADATA, METADATA_IGNORED)
        for name in self.document:
            if name not in TABLES:
                self.note_unknown((name,))

    def check_table(
        self, name: str, table: Mapping[str, Any], checks: Mapping[str, Check], ignored: Collection[str]
    ) -> None:
        """Hold the keys of one table against their checks."""
        for key, value in table.items():
            if key in checks:
                for path, expected in islice(checks[key](value), MAX_FINDINGS):
                    self.wrong((name, key, *path), value, expected)
            elif key not in ignored:
                self.note_unknown((name, key))

    def wrong(self, path: Path, value: object, expected: str) -> None:
        """Keep a finding about a value that is not what it should be."""
        for part in path[2:]:
            value = cast("Any", value)[part]
        self.found(RuleCode.WRONG_VALUE, path, key=_spelled(path), expected=expected, actual=_kind(value))

    def note_unknown(self, path: Path) -> None:
        """Keep an unknown key apart: it is told once a load."""
        key = _spelled(path)
        if len(self.unknown) < MAX_FINDINGS:
            self.unknown[key] = finding(RuleCode.UNKNOWN_KEY, {"key": key}, self.file, self.places.of(path))

    def query(self) -> ast.Query | None:
        """The parsed query, its findings kept; None if it is not one."""
        text = self.table.get("query")
        if not isinstance(text, str) or not text:
            return None
        source = self.query_source(text)
        unknown_fields: UnknownFields = "refuse" if self.strict_fields else "warn"
        parsed = analyse(
            source, types=self.types, stream=True, unknown_fields=unknown_fields if self.types else "pass"
        )
        for each in parsed.diagnostics:
            if each.code is Code.NO_MAXSPAN:
                span = spelled_span(self.look_back())
                place = source.place(each.span.start)
                self.findings.append(finding(RuleCode.IMPLICIT_MAXSPAN, {"span": span}, self.file, place))
            else:
                self.findings.append(of_query(each, source))
        return parsed.query

    def query_source(self, text: str) -> Source:
        """The query with the place of each of its characters in the file."""
        path: Path = ("rule", "query")

        def offsets() -> Sequence[int]:
            written = self.document["rule"]["query"]
            start = len(written) - len(written.lstrip())
            found = self.places.string(path) if start + len(text) <= MAX_LENGTH else None
            return [self.places.of(path)] if found is None else found[start : start + len(text) + 1]

        return Source(text, self.file.name, self.places.text, offsets)

    def refuse_unsupported(self, query: ast.Query | None) -> None:
        """Refuse what would change the rule if it were left out."""
        for key, (check, code) in REFUSED.items():
            value = self.table.get(key)
            if not value or any(check(value)) or (key in EVENT_RULES_ONLY and _is_sequence(query)):
                continue
            if key == "exceptions_list" and all(_is_endpoint_list(each) for each in value):
                code = RuleCode.WITHOUT_EFFECT  # Elastic Defend applies these; EQL rules never do
            self.found(code, ("rule", key), key=f"rule.{key}")

    def warn_of_the_rest(self) -> None:
        """Say what runs, but perhaps not as its author thinks."""
        severity, score = self.table["severity"], self.table["risk_score"]
        low, high = BANDS[severity]
        if not low <= score <= high:
            self.found(
                RuleCode.OUTSIDE_BAND,
                ("rule", "risk_score"),
                score=score,
                severity=severity,
                low=low,
                high=high,
            )
        if not self.table.get("index"):
            self.found(RuleCode.NO_INDEX, ("rule",))

    def look_back(self) -> int:
        """The span of `from`, in nanoseconds; the default for one that is not set or not a look-back."""
        found = _LOOK_BACK.fullmatch(str(self.table.get("from", ""))) or _LOOK_BACK.fullmatch(
            DEFAULT_LOOK_BACK
        )
        assert found is not None
        return int(found[1]) * _NANOSECONDS[found[2]]

    def build(self, query: ast.Query, ruleset: str) -> Rule:
        """The rule; every key has passed its check."""
        table = self.table
        return Rule(
            rule_id=table["rule_id"],
            name=table["name"],
            query_text=table["query"],
            query=query,
            severity=cast("Severity", table["severity"]),
            risk_score=table["risk_score"],
            uuid=table["rule_id"],
            description=_on_one_line(table["description"]),
            version=table.get("version", 1),
            author=tuple(table["author"]),
            license=table.get("license", ""),
            tags=tuple(table.get("tags", ())),
            references=tuple(table.get("references", ())),
            false_positives=tuple(_on_one_line(each) for each in table.get("false_positives", ())),
            index=tuple(table.get("index", ())),
            threat=tuple(table.get("threat", ())),
            ruleset=ruleset,
            building_block_type=table.get("building_block_type", ""),
            category_field=table.get("event_category_override", "event.category"),
            timestamp_field=table.get("timestamp_field", "@timestamp"),
            tiebreaker_field=table.get("tiebreaker_field", ""),
            look_back=self.look_back(),
            enabled=table.get("enabled", True),
            path=self.file.name,
            content_hash=content_hash(self.document["rule"]),
            extra={key: table[key] for key in CARRIED if key in table},
        )


def content_hash(table: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a [rule] table: equal for equal content, however it is laid out."""
    text = json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def spelled_span(nanoseconds: int) -> str:
    """A span in its largest whole unit: 540 s is "9m"."""
    for unit, size in _UNITS:
        if nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"


def _table_of(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A table of the document with its strings stripped; an empty string is a key not set."""
    table = document.get(name)
    if not isinstance(table, dict):
        return {}
    return {
        key: value for key, value in ((key, _stripped(value)) for key, value in table.items()) if value != ""
    }


def _stripped(value: Any) -> Any:
    """A TOML value with every string in it stripped and every date and time as text."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [_stripped(each) for each in value]
    if isinstance(value, dict):
        return {key: _stripped(each) for key, each in value.items()}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _is_sequence(query: ast.Query | None) -> bool:
    return query is not None and isinstance(query.body, ast.Sequence)


def _is_endpoint_list(reference: object) -> bool:
    return isinstance(reference, dict) and reference.get("type") == "endpoint"


def _spelled(path: Path) -> str:
    """A path as a person writes it: `rule.tags[2]`."""
    first, *rest = path
    return str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def _kind(value: object) -> str:
    """What a value is, in words short enough for one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"' if len(value) <= 40 else f'"{value[:40]}…"'
        case int() | float():
            return str(value)[:40]
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"
