"""Filters, exceptions and operating systems: the conditions they become, and what events they let through."""

import contextlib
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.batch import match_rule
from detectord.compiler import compile_rule
from detectord.eql import ast
from detectord.eql.printer import expression_text
from detectord.events.event import Event
from detectord.events.fields import FIELD_TYPES
from detectord.events.record import Record
from detectord.rules.contents import contents
from detectord.rules.exceptions import ExceptionItemError, ExceptionLists, item_condition
from detectord.rules.filters import UnsupportedFilterError, condition_of
from detectord.rules.ledger import Loaded
from detectord.rules.load import load
from detectord.rules.rule import Rule
from detectord.rules.schema import Reading

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
TYPES = {"source.ip": "ip", "process.pid": "long", "process.name": "keyword", "process.trusted": "boolean"}


def text_of(condition: ast.Expr | None) -> str:
    assert condition is not None
    return expression_text(condition)


# --- filters ---------------------------------------------------------------------------------

FILTERS: list[tuple[Any, str]] = [
    ({"query": {"match_phrase": {"event.action": "exec"}}}, 'event.action == "exec"'),
    ({"query": {"match_phrase": {"event.action": {"query": "exec"}}}}, 'event.action == "exec"'),
    ({"query": {"match": {"event.action": {"query": "exec", "type": "phrase"}}}}, 'event.action == "exec"'),
    ({"query": {"match_phrase": {"process.pid": 4}}}, "process.pid == 4"),
    ({"query": {"match_phrase": {"process.trusted": True}}}, "process.trusted == true"),
    (
        {"meta": {"negate": True, "disabled": False}, "query": {"match_phrase": {"a": "b"}}},
        'not a == "b"',
    ),
    (
        {
            "meta": {"type": "phrases", "params": ["x", "y"]},
            "query": {
                "bool": {
                    "minimum_should_match": 1,
                    "should": [{"match_phrase": {"a": "x"}}, {"match_phrase": {"a": "y"}}],
                }
            },
        },
        'a == "x" or a == "y"',
    ),
    ({"query": {"exists": {"field": "a"}}}, "a != null"),
    ({"exists": {"field": "a"}, "meta": {"type": "exists"}}, "a != null"),
    ({"query": {"range": {"a": {"gte": 1, "lt": 5, "boost": 2}}}}, "a >= 1 and a < 5"),
    ({"range": {"a": {"gt": 1}}}, "a > 1"),
    ({"query": {"range": {"@timestamp": {"lte": "2026-01-01"}}}}, '@timestamp <= "2026-01-01"'),
    ({"query": {"range": {"a": {}}}}, "a != null"),
    ({"query": {"term": {"a": "b"}}}, 'a == "b"'),
    ({"query": {"term": {"a": {"value": "b", "boost": 1}}}}, 'a == "b"'),
    ({"query": {"term": {"a": {"value": "b", "case_insensitive": True}}}}, 'a in~ ("b")'),
    ({"query": {"terms": {"a": ["b", "c"], "boost": 1}}}, 'a in ("b", "c")'),
    ({"query": {"terms": {"a": []}}}, "false"),
    ({"query": {"wildcard": {"a": {"value": "C:\\\\x*"}}}}, r'a like "C:\\x*"'),
    ({"query": {"wildcard": {"a": {"wildcard": "x?", "case_insensitive": True}}}}, 'a like~ "x?"'),
    ({"query": {"prefix": {"a": {"value": "x"}}}}, 'startsWith(a, "x")'),
    ({"query": {"match_all": {}}}, "true"),
    (
        {"query": {"bool": {"must": [{"term": {"a": 1}}], "must_not": {"term": {"b": 2}}}}},
        "a == 1 and not b == 2",
    ),
    ({"query": {"bool": {"filter": [{"term": {"a": 1}}], "should": [{"term": {"b": 2}}]}}}, "a == 1"),
    (
        {"query": {"bool": {"filter": [], "should": [{"term": {"b": 2}}], "minimum_should_match": "1"}}},
        "b == 2",
    ),
    ({"query": {"bool": {"should": []}}}, "true"),
]


@pytest.mark.parametrize(("written", "condition"), FILTERS, ids=[text for _, text in FILTERS])
def test_filters(written: Any, condition: str) -> None:
    found = condition_of([written], {})
    assert text_of(found) == condition
    assert found is not None
    assert compile_rule(rule(filter=found)).steps[0].source


def test_disabled_filters_are_left_out_and_several_are_joined() -> None:
    off = {"meta": {"disabled": True}, "query": {"geo_shape": {}}}
    assert condition_of([off], {}) is None
    assert condition_of([], {}) is None
    both = [off, {"query": {"term": {"a": 1}}}, {"query": {"exists": {"field": "b"}}}]
    assert text_of(condition_of(both, {})) == "a == 1 and b != null"


UNSUPPORTED: list[tuple[Any, tuple[Any, ...]]] = [
    ({}, (0,)),
    ("x", (0,)),
    ({"meta": 5}, (0,)),
    ({"meta": {"type": "combined"}}, (0,)),
    ({"query": {"query_string": {"query": "x"}}}, (0, "query", "query_string")),
    ({"query": {"term": {"a": 1}, "exists": {"field": "b"}}}, (0, "query")),
    ({"query": {"term": {"a": 1, "b": 2}}}, (0, "query", "term")),
    ({"query": {"term": {"a": [1]}}}, (0, "query", "term", "a")),
    ({"query": {"term": {"a": None}}}, (0, "query", "term", "a")),
    ({"query": {"term": {"a": {"value": 1, "fuzz": 2}}}}, (0, "query", "term", "a")),
    ({"query": {"terms": {"a": {"index": "x"}}}}, (0, "query", "terms", "a")),
    ({"query": {"match": {"a": {"query": "x y"}}}}, (0, "query", "match", "a")),
    ({"query": {"match": {"a": "x"}}}, (0, "query", "match", "a")),
    ({"query": {"exists": {}}}, (0, "query", "exists")),
    ({"query": {"range": {"a": {"gte": "now-1d"}}}}, (0, "query", "range", "a", "gte")),
    ({"query": {"range": {"a": {"gte": "2026||/d"}}}}, (0, "query", "range", "a", "gte")),
    ({"query": {"range": {"a": {"gte": 1, "format": "epoch"}}}}, (0, "query", "range", "a")),
    ({"query": {"range": {"a": 5}}}, (0, "query", "range", "a")),
    ({"query": {"wildcard": {"a": {"value": 5}}}}, (0, "query", "wildcard", "a")),
    ({"query": {"prefix": {"a": 5}}}, (0, "query", "prefix", "a")),
    ({"query": {"bool": 5}}, (0, "query", "bool")),
    ({"query": {"bool": {"x": 5}}}, (0, "query", "bool", "x")),
    (
        {"query": {"bool": {"should": [], "minimum_should_match": 2}}},
        (0, "query", "bool", "minimum_should_match"),
    ),
    ({"query": {"bool": {"must": [5]}}}, (0, "query", "bool", "must", 0)),
    ({"query": {"wildcard": {"source.ip": {"value": "10.*"}}}}, (0,)),
    ({"query": {"term": {"process.pid": "x"}}}, (0,)),
]


@pytest.mark.parametrize(("written", "path"), UNSUPPORTED, ids=[str(each)[:60] for each, _ in UNSUPPORTED])
def test_other_filters_are_refused_with_their_place(written: Any, path: tuple[Any, ...]) -> None:
    with pytest.raises(UnsupportedFilterError) as raised:
        condition_of([written], TYPES)
    assert raised.value.path == path
    assert raised.value.what


def test_a_filter_that_is_nested_without_end_is_refused() -> None:
    query: Any = {"term": {"a": 1}}
    for _ in range(200):
        query = {"bool": {"must": query}}
    with pytest.raises(UnsupportedFilterError):
        condition_of([{"query": query}], {})


# --- exceptions ------------------------------------------------------------------------------

ENTRIES: list[tuple[dict[str, Any], str]] = [
    ({"field": "a", "type": "match", "operator": "included", "value": "x"}, 'a == "x"'),
    ({"field": "a", "type": "match", "value": 5}, "a == 5"),
    ({"field": "a", "type": "match", "operator": "excluded", "value": "x"}, 'not a == "x"'),
    ({"field": "a", "type": "match_any", "operator": "included", "value": ["x", "y"]}, 'a in ("x", "y")'),
    ({"field": "a", "type": "wildcard", "operator": "included", "value": "*\\x?"}, r'a like "*\\x?"'),
    (
        {"field": "a", "type": "wildcard", "operator": "included", "value": "C:\\\\x\\\\*"},
        r'a like "C:\\x\\*"',
    ),
    ({"field": "a", "type": "exists", "operator": "included"}, "a != null"),
    ({"field": "a", "type": "exists", "operator": "excluded"}, "not a != null"),
    (
        {
            "field": "a.b",
            "type": "nested",
            "entries": [
                {"field": "c", "type": "match", "operator": "included", "value": "x"},
                {"field": "d", "type": "match", "operator": "excluded", "value": "y"},
            ],
        },
        '_arraysearch(a.b, $item, $item.c == "x" and not $item.d == "y")',
    ),
]


def condition(*entries: dict[str, Any], now: datetime.datetime | None = NOW, **keys: Any) -> ast.Expr:
    return item_condition({"entries": list(entries), **keys}, TYPES, now)


@pytest.mark.parametrize(("entry", "text"), ENTRIES, ids=[text for _, text in ENTRIES])
def test_entries(entry: dict[str, Any], text: str) -> None:
    assert text_of(condition(entry)) == text


def test_all_entries_and_the_systems_must_apply() -> None:
    one, two = ENTRIES[0][0], ENTRIES[6][0]
    assert text_of(condition(one, two, os_types=["linux", "macos"])) == (
        'host.os.type in ("linux", "macos") and a == "x" and a != null'
    )


def test_an_event_on_no_list_has_none_of_the_items() -> None:
    lists = ExceptionLists()
    lists.add_list("empty")
    lists.add_item("one", condition(ENTRIES[0][0]))
    lists.add_item("one", condition(ENTRIES[6][0]))
    lists.add_item("two", condition(ENTRIES[1][0]))
    assert lists.excluding(["empty"]) is None
    assert lists.excluding([]) is None
    assert text_of(lists.excluding(["one", "empty", "two", "one"])) == (
        'not (a == "x" or a != null or a == 5)'
    )
    assert lists.known == {"empty", "one", "two"}


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"entries": []}, "no entries"),
        ({"entries": "x"}, "no entries"),
        ({"entries": [5]}, "no object"),
        ({"entries": [{"type": "match", "value": "x"}]}, "names no field"),
        ({"entries": [{"field": "a", "type": "match", "operator": "is", "value": "x"}]}, "`is` is unknown"),
        ({"entries": [{"field": "a", "type": "match", "value": ["x"]}]}, "`match`"),
        ({"entries": [{"field": "a", "type": "match"}]}, "`match`"),
        ({"entries": [{"field": "a", "type": "match_any", "value": []}]}, "`match_any`"),
        ({"entries": [{"field": "a", "type": "match_any", "value": [["x"]]}]}, "`match_any`"),
        ({"entries": [{"field": "a", "type": "wildcard", "value": 5}]}, "`wildcard`"),
        ({"entries": [{"field": "a", "type": "list", "list": {"id": "x"}}]}, "value lists"),
        ({"entries": [{"field": "a", "type": "near"}]}, "`near` is unknown"),
        ({"entries": [{"field": "a", "type": "nested", "entries": []}]}, "nested entry has no entries"),
        ({"entries": [{"field": "a", "type": "nested", "entries": [ENTRIES[8][0]]}]}, "`nested`"),
        ({"entries": [ENTRIES[0][0]], "os_types": "linux"}, "os_types"),
        ({"entries": [ENTRIES[0][0]], "expire_time": "soon"}, "is no time"),
        ({"entries": [ENTRIES[0][0]], "expire_time": "2026-05-31T23:59:59.999Z"}, "it expired at"),
        ({"entries": [{"field": "source.ip", "type": "wildcard", "value": "10.*"}]}, "`like` needs a string"),
        ({"entries": [{"field": "process.pid", "type": "match", "value": "x"}]}, "process.pid"),
    ],
)
def test_items_that_cannot_be_applied(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ExceptionItemError, match=why):
        item_condition(keys, TYPES, NOW)


def test_an_item_that_has_not_expired_applies() -> None:
    for expires in ("2026-06-02T00:00:00Z", "2026-06-01T00:00:01", "", None):
        assert text_of(condition(ENTRIES[0][0], expire_time=expires)) == 'a == "x"'
    assert condition(ENTRIES[0][0], expire_time="2000-01-01", now=None) is not None


# --- what is let through ---------------------------------------------------------------------


def rule(**changes: Any) -> Rule:
    query = ast.Query(ast.EventQuery("process", ast.Literal(True)))
    return Rule(rule_id="r", name="R", query_text="process where true", query=query, **changes)


def passes(required: ast.Expr | None, **fields: Any) -> bool:
    document = {"event": {"category": "process"}, **fields}
    event = Event(document, Record("t", 0, 0, None, None, b""), 0)
    return compile_rule(rule(filter=required)).steps[0].matcher(event)


def test_a_missing_field_is_on_no_exception_list() -> None:
    lists = ExceptionLists()
    lists.add_item(
        "l", condition({"field": "user.name", "type": "match", "operator": "included", "value": "x"})
    )
    required = lists.excluding(["l"])
    assert passes(required)
    assert passes(required, user={"name": "y"})
    assert passes(required, user={"name": "X"})
    assert not passes(required, user={"name": "x"})
    assert not passes(required, user={"name": ["y", "x"]})


def test_a_negated_entry_applies_to_events_without_the_field() -> None:
    lists = ExceptionLists()
    lists.add_item(
        "l", condition({"field": "user.name", "type": "match", "operator": "excluded", "value": "x"})
    )
    assert not passes(lists.excluding(["l"]))
    assert passes(lists.excluding(["l"]), user={"name": "x"})


def test_types_of_fields_hold_in_filters_too() -> None:
    required = condition_of([{"query": {"match_phrase": {"process.pid": "4"}}}], FIELD_TYPES)
    assert passes(required, process={"pid": 4})
    assert not passes(required, process={"pid": 5})


def test_a_filter_stands_before_every_step_of_a_sequence() -> None:
    text = "sequence by host.id with maxspan=1m [process where true] [file where true]"
    compiled = compile_rule(load_rule(query=text, filters=[{"query": {"term": {"a": 1}}}]))
    for step, category in zip(compiled.steps, ("process", "file"), strict=True):
        for value in (1, 2):
            document = {"event": {"category": category}, "a": value}
            event = Event(document, Record("t", 0, 0, None, None, b""), 0)
            assert step.matcher(event) == (value == 1)


def test_the_filter_is_part_of_what_decides_a_match() -> None:
    hashes = {
        compile_rule(rule(filter=each)).match_hash
        for each in (None, condition_of([{"query": {"term": {"a": 1}}}], {}))
    }
    assert len(hashes) == 2


def load_rule(**keys: Any) -> Rule:
    """The rule with these keys, its exception lists not looked at."""
    (reading,) = contents(json.dumps({**RULE, **keys}).encode(), "r.json", ".json")
    assert isinstance(reading, Reading)
    assert reading.rule is not None, reading.findings
    return reading.rule


# --- resolving -------------------------------------------------------------------------------

RULE: dict[str, Any] = {
    "rule_id": "crane-1",
    "name": "Crane",
    "type": "eql",
    "query": "process where true",
    "severity": "low",
    "risk_score": 21,
    "description": "D",
    "index": ["logs-*"],
    "exceptions_list": [{"id": "x", "list_id": "clerks", "type": "detection", "namespace_type": "single"}],
}
LIST = {"list_id": "clerks", "type": "detection", "name": "Clerks"}
ITEM = {"item_id": "i", "list_id": "clerks", "name": "One", "entries": [ENTRIES[0][0]]}
IN_TOML = """\
[metadata]
list_name = "Clerks"
[[exceptions]]
[exceptions.container]
list_id = "clerks"
name = "Clerks"
type = "detection"
[[exceptions.items]]
name = "One"
[[exceptions.items.entries]]
field = "a"
type = "match"
operator = "included"
value = "x"
"""


def write(root: Path, **files: object) -> Path:
    """Files by name, `__` for a slash; exports as lists of their lines."""
    for name, content in files.items():
        file = root / name.replace("__", "/")
        file = file.with_name(file.name.replace("_", "."))
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = content if isinstance(content, list) else [content]
        file.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines))
    return root


def only(loaded: Loaded) -> Rule:
    (found,) = loaded.rules
    return found


def codes(loaded: Loaded) -> list[str]:
    return [each.code for each in (*loaded.refused, *loaded.warnings)]


def test_lists_are_found_wherever_they_stand(tmp_path: Path) -> None:
    layouts: list[dict[str, object]] = [
        {"a_ndjson": [RULE, LIST, ITEM]},
        {"a_ndjson": [RULE], "b_ndjson": [ITEM]},
        {"a_json": [RULE], "exceptions__clerks_toml": IN_TOML},
        {"z_json": [RULE], "deep__exceptions__further__clerks_toml": IN_TOML},
        {"z_json": [RULE], "exceptions__clerks_ndjson": [LIST, ITEM]},
    ]
    for number, files in enumerate(layouts):
        loaded = load([write(tmp_path / str(number), **files)], now=NOW)
        assert codes(loaded) == []
        assert text_of(only(loaded).filter) == 'not a == "x"'


def test_a_list_without_items_restricts_nothing(tmp_path: Path) -> None:
    loaded = load([write(tmp_path, a_ndjson=[RULE, LIST])])
    assert (codes(loaded), only(loaded).filter) == ([], None)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    loaded = load([write(tmp_path, a_ndjson=[RULE])])
    assert only(loaded).filter is None
    (warning,) = loaded.warnings
    assert (warning.code, warning.line) == ("W421", 1)
    assert "`clerks`" in warning.message


def test_an_item_that_is_left_out(tmp_path: Path) -> None:
    expired = {**ITEM, "name": "Old", "expire_time": "2020-01-01T00:00:00Z"}
    listed = {**ITEM, "name": "", "entries": [{"field": "a", "type": "list", "list": {"id": "x"}}]}
    loaded = load([write(tmp_path, a_ndjson=[RULE, LIST, expired, listed, ITEM])], now=NOW)
    assert text_of(only(loaded).filter) == 'not a == "x"'
    assert [(each.code, each.line) for each in loaded.warnings] == [("W420", 3), ("W420", 4)]
    assert "`Old`" in loaded.warnings[0].message
    assert "value lists" in loaded.warnings[1].message


def test_filters_and_exceptions_are_joined_and_hashed(tmp_path: Path) -> None:
    filtered = {**RULE, "filters": [{"query": {"term": {"b": 1}}}]}
    one = only(load([write(tmp_path / "1", a_ndjson=[filtered, ITEM])]))
    other = only(load([write(tmp_path / "2", a_ndjson=[filtered, LIST])]))
    assert text_of(one.filter) == 'b == 1 and not a == "x"'
    assert text_of(other.filter) == "b == 1"
    assert one.content_hash != other.content_hash


def test_endpoint_lists_have_no_effect(tmp_path: Path) -> None:
    endpoint = {**RULE, "exceptions_list": [{"list_id": "endpoint_list", "type": "endpoint"}]}
    loaded = load([write(tmp_path, a_ndjson=[endpoint])])
    assert (codes(loaded), only(loaded).filter) == (["W422"], None)


def test_rules_in_a_directory_for_exceptions_are_left_out(tmp_path: Path) -> None:
    loaded = load([write(tmp_path, exceptions__a_ndjson=[RULE], b_ndjson=[{**RULE, "exceptions_list": []}])])
    assert [rule.path for rule in loaded.rules] == [str(tmp_path / "b.ndjson")]
    assert (codes(loaded), loaded.skipped) == (["W427"], 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[rule]\nname = 'x'\n", 1),
        ("exceptions = []\n", 1),
        ("exceptions = 5\n", 1),
        ("[[exceptions]]\n[exceptions.container]\nname = 'x'\n", 1),
        ("[[exceptions]]\ncontainer = 5\n", 1),
        ("exceptions = [5]\n", 1),
        ("[[exceptions]]\ncontainer = { list_id = 'a' , type = 'detection' }\nitems = [5]\n", 3),
        (
            "[[exceptions]]\ncontainer = { list_id = 'a' , type = 'detection' }\nitems = [{ list_id = 5 }]\n",
            3,
        ),
    ],
)
def test_files_that_hold_no_exceptions(tmp_path: Path, text: str, line: int) -> None:
    loaded = load([write(tmp_path, exceptions__a_toml=text)])
    assert [(each.code, each.line) for each in loaded.refused] == [("E446", line)]
    assert load([write(tmp_path / "2", exceptions__a_toml="not toml")]).refused[0].code == "E403"


def test_many_items_are_one_condition_that_compiles(tmp_path: Path) -> None:
    items = [
        {
            **ITEM,
            "entries": [
                {"field": "a", "type": "match", "operator": "included", "value": f"v{n}"},
                {"field": "b", "type": "wildcard", "operator": "included", "value": f"*{n}"},
            ],
        }
        for n in range(2_000)
    ]
    found = only(load([write(tmp_path, a_ndjson=[RULE, *items])]))
    compiled = compile_rule(found)

    def matches(**fields: Any) -> bool:
        document = {"event": {"category": "process"}, **fields}
        return compiled.steps[0].matcher(Event(document, Record("t", 0, 0, None, None, b""), 0))

    assert not matches(a="v7", b="x7")
    assert matches(a="v7", b="x8")


# --- before every step, whatever its kind ----------------------------------------------------

Matches = list[tuple[int | None, ...]]
ONLY_A = [{"query": {"term": {"a": 1}}}]


def matched(query: str, events: list[dict[str, Any]], **keys: Any) -> Matches:
    """The matches of a rule over events of one host, a second apart."""
    documents = [
        {"@timestamp": f"2026-01-05T08:00:{second:02d}Z", "host": {"id": "h"}, **event}
        for second, event in enumerate(events)
    ]
    compiled = compile_rule(load_rule(query=query, **keys))
    return [tuple(match.events) for match in match_rule(compiled, documents)]


def said(category: str, a: int, **fields: Any) -> dict[str, Any]:
    return {"event": {"category": category}, "a": a, **fields}


@pytest.mark.parametrize(
    ("query", "events", "plain", "filtered"),
    [
        (
            "sequence by host.id with maxspan=1m [x where true] [y where true]",
            [("x", 1), ("y", 2), ("y", 1)],
            [(0, 1)],
            [(0, 2)],
        ),
        (
            "sequence by host.id with maxspan=1m [x where true] [y where true] until [z where true]",
            [("x", 1), ("z", 2), ("y", 1)],
            [],
            [(0, 2)],
        ),
        (
            "sequence by host.id with maxspan=1m [x where true] ![z where true] [y where true]",
            [("x", 1), ("z", 2), ("y", 1)],
            [],
            [(0, None, 2)],
        ),
        (
            "sequence by host.id with maxspan=1m [x where true] with runs=2 [y where true]",
            [("x", 1), ("x", 2), ("x", 1), ("y", 1)],
            [(1, 2, 3)],
            [(0, 2, 3)],
        ),
        ("sample by host.id [x where true] [y where true]", [("x", 2), ("y", 1)], [(0, 1)], []),
    ],
)
def test_a_filter_stands_before_every_kind_of_step(
    query: str, events: list[tuple[str, int]], plain: Matches, filtered: Matches
) -> None:
    happened = [said(category, a) for category, a in events]
    assert matched(query, happened) == plain
    assert matched(query, happened, filters=ONLY_A) == filtered


def test_a_filter_stands_before_the_events_that_relatives_are_told_by() -> None:
    query = 'file where descendant of [process where process.name == "p"]'
    process = {"name": "p", "entity_id": "1", "pid": 1}
    for a, found in ((1, [(1,)]), (2, [])):
        events = [
            {**said("process", a, process=process), "event": {"category": "process", "type": "start"}},
            said("file", 1, process={"entity_id": "2", "parent": {"entity_id": "1"}}),
        ]
        assert matched(query, events) == [(1,)]
        assert matched(query, events, filters=ONLY_A) == found


def test_a_nested_entry_holds_within_one_object(tmp_path: Path) -> None:
    entry = {
        "field": "dll.signers",
        "type": "nested",
        "entries": [
            {"field": "name", "type": "match", "operator": "included", "value": "Harbour"},
            {"field": "trusted", "type": "match", "operator": "included", "value": "true"},
        ],
    }
    found = only(load([write(tmp_path, a_ndjson=[RULE, {**ITEM, "entries": [entry]}])]))
    for signers, excluded in (
        ([{"name": "Harbour", "trusted": True}], True),
        ([{"name": "Other", "trusted": True}, {"name": "Harbour", "trusted": True}], True),
        ([{"name": "Harbour", "trusted": False}, {"name": "Other", "trusted": True}], False),
        ([], False),
    ):
        assert passes(found.filter, dll={"signers": signers}) is not excluded


JUNK = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.sampled_from(["match", "nested", "included", "a", ""])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "entries",
                        "field",
                        "type",
                        "operator",
                        "value",
                        "os_types",
                        "expire_time",
                        "meta",
                        "query",
                    ),
                    *("bool", "must", "should", "term", "terms", "range", "exists", "wildcard", "gte", "a.b"),
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@given(JUNK)
def test_any_filter_and_any_item_is_a_condition_or_refused(junk: Any) -> None:
    with contextlib.suppress(UnsupportedFilterError):
        assert condition_of([junk], TYPES) is None or compile_rule(rule(filter=condition_of([junk], TYPES)))
    if isinstance(junk, dict):
        with contextlib.suppress(ExceptionItemError):
            assert compile_rule(rule(filter=item_condition(junk, TYPES, NOW)))
