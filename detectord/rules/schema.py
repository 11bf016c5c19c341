"""A rule document becomes a Rule: what its keys say, checked, and what becomes of them.

Pure: a document (`document.py`) comes in; a Rule or findings go out. Every key is checked (`keys.py`), and
every finding is collected, before the rule is given up.

What becomes of a key is one of four things:
used        it is a field of Rule, and decides what matches or what an alert says;
carried     it stands in `Rule.extra` for alerts in full detail;
ignored     it has no meaning for a stream (`actions`, `throttle`), checked no further than it is read;
refused     a filter that is not understood: the rule without it would be another than its author wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from detectord.eql import Parsed, UnknownFields, analyse, ast, parse
from detectord.eql.diagnostics import Code
from detectord.eql.scanner import MAX_LENGTH
from detectord.eql.source import Source
from detectord.rules import keys, prefilter
from detectord.rules.document import Document, of_toml
from detectord.rules.exceptions import LIST_TYPES, ListReference
from detectord.rules.filters import UnsupportedFilterError, condition_of
from detectord.rules.findings import Finding, RuleCode, finding, kind_of, of_query
from detectord.rules.keys import MATURITIES, Check
from detectord.rules.objects import Places
from detectord.rules.places import Path
from detectord.rules.rule import Rule, Severity, SeverityMatch, Suppression
from detectord.rules.spans import DEFAULT_INTERVAL, interval_of, look_back_of, spelled_span

FieldTypes = Mapping[str, str]
NO_TYPES: FieldTypes = {}
MAX_FINDINGS = 50
"""So many findings about one rule are kept; its author needs no more to begin with."""

_UNTYPED = (Code.PATTERN_NOT_STRING, Code.PATTERN_ON_TYPE, Code.MIXED_LIST)
"""What Elasticsearch refuses because of types, and Elastic Defend does not."""

BANDS: Mapping[str, tuple[int, int]] = {
    "low": (0, 21),
    "medium": (22, 47),
    "high": (48, 73),
    "critical": (74, 100),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How rules are read.

    A rule whose `maturity` is not among these, or is `deprecated`, is not selected: its reading has no rule
    and no finding that refuses it. `types` tells the query's check what is known of fields: path to
    Elasticsearch mapping type. A field that it does not have is a warning, or, with `strict_fields`, an
    error. `ruleset` is what the rules say they come from.
    """

    maturity: Collection[str] = ("production",)
    types: FieldTypes = field(default_factory=dict)
    strict_fields: bool = False
    ruleset: str = ""


NO_OPTIONS = ReadOptions()


@dataclass(frozen=True)
class Reading:
    """What came of one document: a rule, or findings that refuse it, or neither (not selected)."""

    rule_id: str
    name: str
    findings: tuple[Finding, ...]
    rule: Rule | None = None
    unknown_keys: tuple[tuple[str, Finding], ...] = ()
    """Findings about unknown keys, by key: a load tells each key once."""
    lists: tuple[ListReference, ...] = ()
    """The exception lists the rule refers to; its `filter` does not hold them yet."""
    has_version: bool = False
    """True if the file tells the rule's version."""
    is_rule: bool = True
    """False for a remark about something else in a file."""


def read(
    document: Mapping[str, Any],
    places: Places,
    file: str,
    options: ReadOptions = NO_OPTIONS,
) -> Reading:
    """The rule in `document`, a whole TOML file named `file`, whose keys stand at `places`."""
    for name in ("metadata", "rule"):
        if not isinstance(document.get(name, {}), dict):
            args = {"key": name, "expected": "a table", "actual": kind_of(document[name])}
            place = places.of((name,))
            return Reading("", "", (finding(RuleCode.WRONG_VALUE, args, Source(places.text, file), place),))
    return read_rule(of_toml(document, file, places), options)


def read_rule(
    document: Document,
    options: ReadOptions = NO_OPTIONS,
) -> Reading:
    """The rule in `document`. What has no metadata counts as production."""
    reader = _Reader(document, options)
    rule = reader.rule()
    return Reading(
        reader.word("rule_id"),
        reader.word("name"),
        tuple(reader.findings),
        rule,
        tuple(reader.unknown.items()),
        tuple(reader.lists) if rule is not None else (),
        has_version="version" in document.table,
    )


class _Reader:
    """The reading of one document: what has been found so far."""

    def __init__(self, document: Document, options: ReadOptions) -> None:
        self.options = options
        self.document = document
        self.table = document.table
        self.file = Source(document.places.text, document.file, origin=document.origin)
        self.findings: list[Finding] = []
        self.unknown: dict[str, Finding] = {}
        self.lists: list[ListReference] = []

    def made(self, code: RuleCode, place: Path, **args: object) -> Finding:
        """A finding at a path of the file."""
        return finding(code, args, self.file, self.document.places.of(place))

    def found(self, code: RuleCode, path: Path, **args: object) -> None:
        """Keep a finding at the value at `path` of the rule."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(self.made(code, self.place(path), **args))

    def place(self, path: Path) -> Path:
        """Where the value at `path` of the rule stands in the file."""
        return self.document.place(path) if path else self.document.at

    def spelled(self, path: Path) -> str:
        """How the file calls the value at `path` of the rule."""
        return keys.spelled(self.place(path))

    def word(self, key: str) -> str:
        """The text at `key` of the rule, empty if there is none."""
        value = self.table.get(key)
        return value if isinstance(value, str) else ""

    def rule(self) -> Rule | None:
        """The rule, if it is selected and nothing refuses it."""
        if not self.selected():
            return None
        if not self.table and self.document.metadata is not None:
            self.found(RuleCode.MISSING_KEY, (), key="rule")
            return None
        if not self.document.is_endpoint and not self.is_eql():
            return None
        self.check_keys()
        query = self.query()
        filtered = self.filter()
        self.note_lists()
        if query is None or any(each.reason is not None for each in self.findings):
            return None
        self.warn_of_the_rest(query)
        return self.build(query, filtered)

    def selected(self) -> bool:
        """True if the document's maturity is among those asked for, or is nonsense (which is found later)."""
        metadata, maturity = self.document.metadata, self.options.maturity
        if metadata is None:
            return "production" in maturity
        value = metadata.get("maturity")
        if value is None and "development" not in maturity and self.table:
            self.findings.append(self.made(RuleCode.NO_MATURITY, ("metadata",)))
        word = "development" if value is None else value
        return word not in MATURITIES or (word in maturity and word != "deprecated")

    def is_eql(self) -> bool:
        """True if this is an EQL rule; else the finding says what it is."""
        if "type" not in self.table:
            self.found(RuleCode.MISSING_KEY, (), key=self.spelled(("type",)))
            return False
        kind = self.table["type"]
        if isinstance(kind, str) and kind != "eql":
            self.found(RuleCode.UNSUPPORTED_TYPE, ("type",), type=kind)
            return False
        return True

    def check_keys(self) -> None:
        """Hold every key against its check."""
        if self.document.is_endpoint:
            required, optional, ignored = keys.ENDPOINT_REQUIRED, keys.ENDPOINT_USED, keys.ENDPOINT_IGNORED
            ignored |= {"threat"}
        else:
            required, optional, ignored = keys.REQUIRED, {**keys.USED, **keys.CARRIED}, keys.IGNORED
        if self.document.metadata is None and not self.document.is_endpoint:
            ignored |= keys.OF_KIBANA
            required = {key: check for key, check in required.items() if key not in keys.MADE_UP}
            optional = {**optional, **{key: keys.REQUIRED[key] for key in keys.MADE_UP}}
        for key in required:
            if key not in self.table:
                self.found(RuleCode.MISSING_KEY, (), key=self.spelled((key,)))
        self.check_table(self.table, self.place, {**required, **optional}, ignored)
        if self.document.metadata:
            self.check_table(
                self.document.metadata, lambda path: ("metadata", *path), keys.METADATA, keys.METADATA_IGNORED
            )
        for path in self.document.others:
            self.note_unknown(path)

    def check_table(
        self,
        table: Mapping[str, Any],
        place: Callable[[Path], Path],
        checks: Mapping[str, Check],
        ignored: Collection[str],
    ) -> None:
        """Hold the keys of one table against their checks."""
        for key, value in table.items():
            if key in checks:
                for path, expected in islice(checks[key](value), MAX_FINDINGS):
                    self.wrong(place((key, *path)), _at(value, path), expected)
            elif key not in ignored:
                self.note_unknown(place((key,)))

    def wrong(self, place: Path, value: object, expected: str, code: RuleCode = RuleCode.WRONG_VALUE) -> None:
        """Keep a finding about a value that is not what it should be."""
        if len(self.findings) < MAX_FINDINGS:
            args = {"key": keys.spelled(place), "expected": expected, "actual": kind_of(value)}
            self.findings.append(self.made(code, place, **args))

    def note_unknown(self, place: Path) -> None:
        """Keep an unknown key apart: it is told once a load."""
        key = keys.spelled(place)
        if len(self.unknown) < MAX_FINDINGS:
            self.unknown[key] = self.made(RuleCode.UNKNOWN_KEY, place, key=key)

    def query(self) -> ast.Query | None:
        """The parsed query, its findings kept; None if it is not one."""
        text = self.table.get("query")
        if not isinstance(text, str) or not text:
            return None
        source = self.query_source(text)
        parsed = self.analysed(source)
        for each in parsed.diagnostics:
            if each.code is Code.NO_MAXSPAN:
                span = spelled_span(self.look_back())
                place = source.place(each.span.start)
                self.findings.append(finding(RuleCode.IMPLICIT_MAXSPAN, {"span": span}, self.file, place))
            else:
                self.findings.append(of_query(each, source))
        return parsed.query

    def analysed(self, source: Source) -> Parsed:
        """The query, parsed and checked. The endpoint's dialect knows no types of fields: there `:` compares
        whatever it is given."""
        if not self.document.is_endpoint:
            unknown: UnknownFields = "refuse" if self.options.strict_fields else "warn"
            return analyse(
                source,
                types=self.options.types,
                stream=True,
                unknown_fields=unknown if self.options.types else "pass",
            )
        parsed = analyse(source, stream=True)
        left = tuple(each for each in parsed.diagnostics if each.code not in _UNTYPED)
        if len(left) == len(parsed.diagnostics) or any(each.code.is_error for each in left):
            return parsed
        return Parsed(parse(source).query, left)

    def query_source(self, text: str) -> Source:
        """The query with the place of each of its characters in the file."""
        places, path = self.document.places, self.place(("query",))
        written = _at(self.document.hashed, ("query",))
        start = len(written) - len(written.lstrip())

        def offsets() -> Sequence[int]:
            found = places.string(path) if start + len(text) <= MAX_LENGTH else None
            if found is None or len(found) != len(written) + 1:
                return [places.of(path)]
            return found[start : start + len(text) + 1]

        return Source(text, self.file.name, places.text, offsets, self.document.origin)

    def filter(self) -> ast.Expr | None:
        """What the rule's filters and operating systems ask of an event."""
        filters, systems = self.table.get("filters"), self.table.get("os_list")
        condition = None
        if isinstance(filters, list):  # else the check of the keys has said so
            try:
                condition = condition_of(filters, self.options.types)
            except UnsupportedFilterError as error:
                path = ("filters", *error.path)
                self.found(RuleCode.UNSUPPORTED_FILTER, path, key=self.spelled(path), what=error.what)
        named = [each for each in systems if isinstance(each, str)] if isinstance(systems, list) else []
        return prefilter.joined(
            [prefilter.on_systems(named) if self.document.is_endpoint else None, condition]
        )

    def note_lists(self) -> None:
        """Keep the rule's references to exception lists, and what to say if there is none."""
        references = self.table.get("exceptions_list")
        for position, each in enumerate(references if isinstance(references, list) else []):
            list_id = each.get("list_id") or each.get("id") if isinstance(each, dict) else None
            path: Path = ("exceptions_list", position)
            if not isinstance(list_id, str):
                continue
            if each.get("type", "detection") not in LIST_TYPES:
                self.found(RuleCode.ENDPOINT_LIST, path, list_id=list_id)
                continue
            unresolved = self.made(RuleCode.LIST_NOT_FOUND, self.place(path), list_id=list_id)
            self.lists.append(ListReference(list_id, unresolved))

    def warn_of_the_rest(self, query: ast.Query) -> None:
        """Say what runs, but perhaps not as its author thinks."""
        if self.document.is_endpoint:
            return
        severity, score = self.table["severity"], self.table["risk_score"]
        low, high = BANDS[severity]
        if not low <= score <= high:
            self.found(
                RuleCode.OUTSIDE_BAND, ("risk_score",), score=score, severity=severity, low=low, high=high
            )
        if "data_view_id" in self.table and not self.table.get("index"):
            self.found(RuleCode.DATA_VIEW, ("data_view_id",))
        elif not self.table.get("index"):
            self.found(RuleCode.NO_INDEX, ())
        if "alert_suppression" in self.table:
            self.found(RuleCode.NOT_SUPPRESSED, ("alert_suppression",))
        if not isinstance(query.body, ast.EventQuery):
            for key in keys.EVENT_RULES_ONLY:
                if self.table.get(key):
                    self.found(RuleCode.NO_EFFECT_ON_SEQUENCE, (key,), key=self.spelled((key,)))

    def look_back(self) -> int:
        """The span of `from`, in nanoseconds; the default for one that is not set or not a look-back."""
        return look_back_of(str(self.table.get("from", "")))

    def build(self, query: ast.Query, filtered: ast.Expr | None) -> Rule:
        """The rule; every key has passed its check."""
        table = self.table
        return Rule(
            rule_id=table["rule_id"],
            name=table["name"],
            query_text=table["query"],
            query=query,
            severity=cast("Severity", table.get("severity", "medium")),
            risk_score=table.get("risk_score", 47),
            uuid=self.uuid(),
            description=_on_one_line(table.get("description", "")),
            version=table.get("version", 1),
            author=tuple(table.get("author", ())),
            license=table.get("license", ""),
            tags=tuple(table.get("tags", ())),
            references=tuple(table.get("references", ())),
            false_positives=tuple(_on_one_line(each) for each in table.get("false_positives", ())),
            index=tuple(table.get("index", ())),
            threat=self.threat(),
            threat_mappings=tuple(table.get("threat_mappings", ())),
            ruleset=self.options.ruleset,
            integrations=self.integrations(),
            building_block_type=table.get("building_block_type", ""),
            dialect="endpoint" if self.document.is_endpoint else "elastic",
            filter=filtered,
            risk_score_field=next((each["field"] for each in table.get("risk_score_mapping", ())), ""),
            severity_mapping=tuple(_severity_match(each) for each in table.get("severity_mapping", ())),
            name_field=table.get("rule_name_override", ""),
            suppression=self.suppression(),
            category_field=table.get("event_category_override", "event.category"),
            timestamp_field=table.get("timestamp_field", "@timestamp"),
            tiebreaker_field=table.get("tiebreaker_field", ""),
            look_back=self.look_back(),
            enabled=table.get("enabled", True),
            path=self.file.name,
            content_hash=content_hash(self.document.hashed),
            extra={key: table[key] for key in keys.CARRIED if key in table},
        )

    def uuid(self) -> str:
        """The id of the rule in the Kibana it comes from; its own id if it comes from none."""
        own = self.table.get("id") if self.document.metadata is None else None
        return own if isinstance(own, str) and not self.document.is_endpoint else self.table["rule_id"]

    def threat(self) -> tuple[Mapping[str, Any], ...]:
        """The threats. Those of an endpoint rule are checked here: it runs without them as well."""
        threats = self.table.get("threat", ())
        if not self.document.is_endpoint:
            return tuple(threats)
        good = []
        for position, each in enumerate(threats if isinstance(threats, list) else [threats]):
            wrong = next(keys.THREAT(each), None)
            if wrong is None:
                good.append(each)
            else:
                path, expected = wrong
                place = self.place(("threat", position, *path))
                self.wrong(place, _at(each, path), expected, RuleCode.THREAT_LEFT_OUT)
        return tuple(good)

    def integrations(self) -> tuple[str, ...]:
        """The integrations whose data the rule reads, as far as it says so."""
        named = (self.document.metadata or {}).get("integration", [])
        packages = self.table.get("related_integrations")
        for each in packages if isinstance(packages, list) else []:
            if isinstance(each, dict):
                named = [*named, each.get("package")] if isinstance(named, list) else [named]
        found = named if isinstance(named, list) else [named]
        return tuple(dict.fromkeys(each for each in found if isinstance(each, str) and each))

    def suppression(self) -> Suppression | None:
        """What `alert_suppression` says; without a duration, alerts of one run of the rule are meant."""
        said = self.table.get("alert_suppression")
        if not said:
            return None
        return suppression_of(said, self.table.get("interval", DEFAULT_INTERVAL))


def suppression_of(said: Mapping[str, Any], interval: str) -> Suppression:
    """The suppression that a checked `alert_suppression` stands for."""
    duration = said.get("duration")
    written = f"{duration['value']}{duration['unit']}" if duration else interval
    return Suppression(
        group_by=tuple(said["group_by"]),
        window=interval_of(written),
        alone=said.get("missing_fields_strategy") == "doNotSuppress",
    )


def _severity_match(entry: Mapping[str, Any]) -> SeverityMatch:
    return SeverityMatch(entry["field"], str(entry.get("value", "")), cast("Severity", entry["severity"]))


def content_hash(table: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a [rule] table: equal for equal content, however it is laid out."""
    text = json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _at(value: Any, path: Path) -> Any:
    """The value at a path that there is."""
    for part in path:
        value = value[part]
    return value


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
