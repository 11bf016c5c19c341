"""What conditions mean: emitted matchers held against tables, and against the oracle on the same rows."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.compiler import Overflow, compile_rule
from detectord.eql import ast, parse
from detectord.eql.source import Source
from detectord.events.event import Event
from detectord.events.record import Record
from detectord.rules.rule import Rule

TYPES = {"n": "long", "ip": "ip", "b": "boolean", "d": "date", "k": "keyword"}


def parsed(condition: str) -> ast.Query:
    found = parse(Source(f"any where {condition}"))  # unchecked: the compiler must cope with more
    assert found.query is not None, found.diagnostics
    return found.query


def condition_of(query: ast.Query) -> ast.EventQuery:
    assert isinstance(query.body, ast.EventQuery)
    return query.body


def matches(query: ast.Query, document: dict[str, Any], **options: Any) -> bool:
    rule = Rule(rule_id="r", name="r", query_text="", query=query)
    compiled = compile_rule(rule, types=TYPES, **options)
    result = compiled.steps[0].matcher(Event(document, Record("", 0, 0, None, None, b""), None))
    assert type(result) is bool
    return result


# condition: missing, "v", "V", ["v", "w"]
TWO_VALUED = {
    'a.x == "v"': "FTFT",
    'a.x != "v"': "TFTF",
    'not a.x == "v"': "TFTF",
    'a.x : "v"': "FTTT",
    'not a.x : "v"': "TFFF",
    'a.x in ("v", "z")': "FTFT",
    'a.x not in ("v", "z")': "TFTF",
    'a.x in~ ("V", "z")': "FTTT",
    'a.x not in~ ("V", "z")': "TFFF",
    "a.x == null": "TFFF",
    "a.x != null": "FTTT",
    "null == a.x": "TFFF",
    'a.x == "v" and a.x == "w"': "FFFT",
    'a.x != "v" and a.x != "z"': "TFTF",
    "length(a.x) == 1": "FTTT",
    "not length(a.x) == 1": "TFFF",
    "length(a.x) != 1 and a.x != null": "FFFF",
    'null == (a.x == "v")': "TFFF",
    '(a.x == "v") == null': "TFFF",
    '(a.x == "v") != null': "FTTT",
    '(a.x == "v") == false': "TFTF",
    'false == (a.x == "v")': "TFTF",
    '(a.x == "v") != true': "TFTF",
    '(a.x == "v") == true': "FTFT",
    'startsWith(a.x, "v") == true': "FTFT",
    'startsWith(a.x, "v") == false': "TFTF",
    'not startsWith~(a.x, "V")': "TFFF",
    'not cidrMatch(a.x, "10.0.0.0/8")': "TTTT",
    'a.x : "*"': "FTTT",
    'a.x : "?"': "FTTT",
    'a.x like "v*"': "FTFT",
    'a.x like~ "V*"': "FTTT",
    'a.x regex "[v-w]"': "FTFT",
    'a.x regex~ "V|W"': "FTTT",
    'a.x in ("v", null)': "FTFT",
    'a.x > "v"': "FFFT",
    '"v" < a.x': "FFFT",
    'a.x <= "V"': "FFTF",
    "a.x == a.x": "FTTT",
    "a.x != a.x": "TFFF",
    'concat(a.x, "!") == "v!"': "FTFT",
    'concat(a.x, "!") == null': "TFFF",
    'string(a.x == "v" and a.x == "w") == "false"': "FTTT",
    "true": "TTTT",
    "false": "FFFF",
    "null": "FFFF",
    'a.x == "v" or true': "TTTT",
    "not false": "TTTT",
}
DOCUMENTS: list[dict[str, Any]] = [{}, {"a": {"x": "v"}}, {"a.x": ["V"]}, {"a": [{"x": "v"}, {"x": "w"}]}]


@pytest.mark.parametrize(("condition", "truth"), TWO_VALUED.items(), ids=TWO_VALUED)
def test_two_valued_logic_between_leaves(condition: str, truth: str) -> None:
    query = parsed(condition)
    assert "".join("FT"[matches(query, document)] for document in DOCUMENTS) == truth
    assert "".join("FT"[oracle.matches(condition_of(query), document)] for document in DOCUMENTS) == truth


TYPED = [
    # a type that is known
    ("n == 22", {"n": "22"}, True),
    ("n == 22", {"n": 22.0}, True),
    ("n == 4.5", {"n": 4}, False),
    ("n < 4.5", {"n": 4}, True),
    ('n == "4"', {"n": 4}, True),
    ("n == null", {"n": "x"}, True),
    ("n != 4", {"n": "x"}, True),
    ("n > 5 and n < 3", {"n": [1, 10]}, True),
    ("n == 1", {"n": True}, False),
    ("k == 4624", {"k": 4624}, True),
    ("k == 4624", {"k": "4624"}, True),
    ('k >= "1000000000"', {"k": 9}, True),
    ("b == true", {"b": "true"}, True),
    ('b == "true"', {"b": True}, True),
    ("b", {"b": [False, "true"]}, True),
    ("not b", {"b": "x"}, True),
    ("b == false", {"b": 0}, False),
    ('ip == "::1"', {"ip": "0:0:0:0:0:0:0:1"}, True),
    ('ip == "10.0.0.1"', {"ip": "::ffff:10.0.0.1"}, True),
    ('ip == "10.0.0.0/8"', {"ip": "10.9.9.9"}, True),
    ('ip in ("10.0.0.0/8", "::1")', {"ip": ["11.0.0.1", "::1"]}, True),
    ('ip != "10.0.0.0/8"', {"ip": ["10.0.0.1", "11.0.0.1"]}, False),
    ('ip < "10.0.0.10"', {"ip": "10.0.0.9"}, True),
    ('cidrMatch(ip, "10.1.2.3/8", "::1")', {"ip": "10.200.0.1"}, True),
    ('cidrMatch(x, "10.1.2.3/8", "::1")', {"x": "::1"}, True),
    ('not cidrMatch(ip, "10.0.0.0/8")', {}, True),
    ('string(ip) : "::1"', {"ip": "0:0::1"}, True),
    ('d == "2025-10-11T10:00:00+02:00"', {"d": "2025-10-11T08:00:00.000Z"}, True),
    ('d > "2025-10-11T08:00:00Z"', {"d": 1_760_169_600_001}, True),
    ('string(d) == "2025-10-11T08:00:00.000Z"', {"d": "2025-10-11T08:00:00Z"}, True),
    # a type that is told by the literal
    ('x == "4624"', {"x": 4624}, True),
    ("x == 4624", {"x": "4624"}, True),
    ("x == 4624", {"x": "4624a"}, False),
    ("x == true", {"x": "true"}, True),
    ('x == "true"', {"x": True}, True),
    ('x in ("a", 5, true)', {"x": "5"}, True),
    ('x : "46*"', {"x": 4624}, True),
    ('x < "b"', {"x": "a"}, True),
    ("x + 1 == 6", {"x": "5"}, True),
    ("x + 1 == null", {"x": "a"}, True),
    ("-x == -5", {"x": 5}, True),
    ("x / 2 == -3", {"x": -7}, True),
    ("x % 3 == -1", {"x": -7}, True),
    ("1 / x == null", {"x": 0}, True),
    # two fields
    ("x == y", {"x": ["a", "b"], "y": ["b", "c"]}, True),
    ("x == y", {"x": 5, "y": "5"}, False),
    ("x != y", {"x": 5, "y": "5"}, True),
    ("n == y", {"n": 5, "y": "5"}, True),
    ("x == y", {}, False),
    ("x < y", {"x": [9], "y": [3, 10]}, True),
    # functions over arrays, one value at a time
    ('endsWith(x, y)', {"x": ["ab", "cd"], "y": ["d"]}, True),
    ('not stringContains(x, y)', {"x": "ab"}, True),
    ('wildcard(x, "a*", "b?")', {"x": "bz"}, True),
    ('wildcard~(x, "A*")', {"x": "abc"}, True),
    # no wildcards where none are, folding beyond ASCII
    ('x == "a*"', {"x": "abc"}, False),
    ('x in~ ("A*")', {"x": "a*"}, True),
    ('x : "ΣΊΣΥΦΟΣ"', {"x": "σίσυφος"}, False),
    ('x : "É*"', {"x": "école"}, True),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "document", "expected"), TYPED, ids=[row[0] for row in TYPED])
def test_types(condition: str, document: dict[str, Any], expected: bool) -> None:
    query = parsed(condition)
    assert matches(query, document) is expected
    assert oracle.matches(condition_of(query), document, types=TYPES) is expected


@pytest.mark.parametrize(
    ("category", "document", "expected"),
    [
        ("process", {"event": {"category": "process"}}, True),
        ("process", {"event.category": ["network", "process"]}, True),
        ("process", {"event.category": "Process"}, False),
        ("process", {}, False),
        ('"my cat"', {"event.category": "my cat"}, True),
        ("any", {}, True),
    ],
)
def test_category(category: str, document: dict[str, Any], expected: bool) -> None:
    query = parse(Source(f"{category} where true")).query
    assert query is not None
    assert matches(query, document) is expected


def test_too_many_combinations_are_counted_and_false() -> None:
    overflow = Overflow()
    document = {"x": list(range(11)), "y": [*range(100, 109), 10]}
    query = parsed("x - y == 0")
    assert matches(query, document, combinations=110, overflow=overflow) is True
    assert overflow.count == 0
    assert matches(query, document, combinations=109, overflow=overflow) is False
    assert overflow.count == 1


def test_fields_in_common_need_no_combinations() -> None:
    document = {"x": [*range(1_000), "a", True], "y": [*range(1_000, 2_000), "a"], "z": [1.0, "true", "1"]}
    assert matches(parsed("x == y"), document, combinations=1)
    assert matches(parsed("x == z"), document, combinations=1)
    assert not matches(parsed("y == z"), document, combinations=1)
    assert not matches(parsed("x == nothing"), document, combinations=1)
    assert not matches(parsed("z == w"), {"z": [1, "true"], "w": [True, "1"]}, combinations=1)


# --- any event ---------------------------------------------------------------------------------

HOSTILE = [
    'x : ("a*", "?") or y regex~ "a.*" or n >= 4 or ip in ("10.0.0.0/8", "::1") or b or d < "2025-01-01"',
    'length(x) > 3 or x + y * 2 - n / y == n % y or concat(x, y, ip, d) == "x"',
    'between(x, y, "b") != null or substring(x, 0, length(y) - 1) : "*" or indexOf(x, y) < n',
    'number(x, 16) > y or x == y or n < y or ip == x or d == x or k <= y or string(d) == concat(ip)',
    'string(x == y and not b) == "true" or (x in (y, "a", 5)) == b or x in~ (y, 5, true) or y not in (null)',
]  # fmt: skip
MATCHERS = [
    compile_rule(Rule(rule_id="r", name="r", query_text="", query=parsed(c)), types=TYPES, combinations=200)
    .steps[0]
    .matcher
    for c in HOSTILE
]
words = st.sampled_from(
    ["a", "A", "10.0.0.1", "::1", "true", "22", "1e999", "2025-10-11", "", "\x00", "\ud800", "ß"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=4)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["x", "y", "n", "ip", "b", "d", "k"]), values))
def test_a_matcher_answers_any_document(document: dict[str, Any]) -> None:
    event = Event(document, Record("", 0, 0, None, None, b""), None)
    assert {type(matcher(event)) for matcher in MATCHERS} == {bool}
