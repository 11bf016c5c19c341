"""Checks: what is found in a query that parses. The texts are in the goldens; here stand the cases."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from detectord import eql
from detectord.eql import ast
from detectord.eql.diagnostics import Code
from detectord.eql.functions import FUNCTIONS
from detectord.eql.source import Source
from detectord.events.fields import FieldTypes

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES = {
    "pid": "long",
    "port": "unsigned_long",
    "ratio": "scaled_float",
    "name": "keyword",
    "text": "match_only_text",
    "ip": "ip",
    "flag": "boolean",
    "time": "date_nanos",
    "version": "version",
    "shape": "geo_point",
    "span": "ip_range",
    "blob": "binary",
    "bag": "flattened",
    "rows": "nested",
    "rows.pid": "long",
    "object": "object",
}


def codes(text: str, types: Mapping[str, str] = TYPES, *, stream: bool = True) -> list[Code]:
    parsed = eql.analyse(Source(text), types=types, stream=stream)
    assert (parsed.query is None) == any(found.code.is_error for found in parsed.diagnostics)
    return [found.code for found in parsed.diagnostics]


ACCEPTED = """
    pid == 4                      pid != "4"                    pid in (1, 2.5, null)
    pid == -1                     -1 < pid                      ratio >= 0.5
    name == "x"                   name == 4624                  name == true
    name in (1, 2)                name >= "1000000000"          name == null
    ip == "10.0.0.1"              ip == "10.0.0.0/8"            ip in ("::1", "10.0.0.0/8")
    ip > "10.0.0.1"               flag                          not flag
    flag == true                  flag == "false"               flag != null
    time > "2026-01-01"           time == 1700000000000         time >= "2026-01-01T10:00:00.5Z"
    time == "2026"                time > "1583492585123.456789"  time in ("2026-01-01", "0")
    version > "1.2.3"             version : "1.*"               version in~ ("1.0", "bad")
    blob == 1                     blob : "x"                    pid == port
    bag == "x"                    bag.any.key : "x*"            object == null
    name == text                  name != other                 unknown == 1
    unknown                       not unknown                   1 == 1
    name : "x*"                   text like~ ("a?", "b")        text regex "[0-9]+"
    string(ip) : "10.*"           string(pid) regex~ "4.*"      "abc" : "A*"
    pid + 1 == port * 2 - 3       -pid % 2 == 1                 unknown / 2 > 0.5
    null == (name == "x")         (name == "x") == false        name == null or true
    length(name) == 3             length(unknown) > null or flag  length(null) == null
    endsWith~(name, ".exe")       CONCAT(name, pid, true) : "x"  ENDSWITH(name, "a") == true
    cidrMatch(ip, "10.0.0.1", "10.6.48.157/8", "::1")           cidrmatch("10.0.0.1", "10.0.0.0/8")
    cidrMatch("localhost", "10.0.0.0/8") == null                cidrMatch(null, "10.0.0.0/8") == null
    wildcard~(name, "a*", "?b")   number(name, null) == 1       number("0x10", 16) == pid
    substring(name, -5, null) == "x"                            indexOf(name, "a", null) == 0
    between(name, "a", "b", true) == "x"                        add(pid, 1) == 2
    string(name == "a" and flag) == "true"                      name in ("a", concat("b", "c"))
    substring(name, 1) == "x"     length(blob) > 1              length(version) > 1
"""


@pytest.mark.parametrize("condition", re.split(r"\s{2,}", ACCEPTED.strip()))
def test_accepted(condition: str) -> None:
    assert codes(f"any where {condition}") == []


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("pid", Code.NOT_A_CONDITION),
        ("name or flag", Code.NOT_A_CONDITION),
        ("flag and not ip", Code.NOT_A_CONDITION),
        ('"x"', Code.NOT_A_CONDITION),
        ("1 or flag", Code.NOT_A_CONDITION),
        ("length(name)", Code.NOT_A_CONDITION),
        ("unknown + 1", Code.NOT_A_CONDITION),
        ("(name and flag) == true", Code.NOT_A_CONDITION),
        ("name + 1 == 2", Code.WRONG_TYPE),
        ('unknown * "2" == 4', Code.WRONG_TYPE),
        ("time - 1 == 2", Code.WRONG_TYPE),
        ("-name == 1", Code.WRONG_TYPE),
        ("-true == 1", Code.WRONG_TYPE),
        ('pid == "x"', Code.NOT_OF_FIELD_TYPE),
        ('"x" == pid', Code.NOT_OF_FIELD_TYPE),
        ("pid < true", Code.NOT_OF_FIELD_TYPE),
        ('pid in ("1", "x", "y")', Code.NOT_OF_FIELD_TYPE),
        ("flag == 1", Code.NOT_OF_FIELD_TYPE),
        ('flag == "TRUE"', Code.NOT_OF_FIELD_TYPE),
        ('ip == "10.0.0"', Code.NOT_OF_FIELD_TYPE),
        ('ip == "10.0.0.0/33"', Code.NOT_OF_FIELD_TYPE),
        ('ip < "10.0.0.0/8"', Code.NOT_OF_FIELD_TYPE),
        ("ip == 10", Code.NOT_OF_FIELD_TYPE),
        ('time > "soon"', Code.NOT_OF_FIELD_TYPE),
        ('time > "now-1d"', Code.NOT_OF_FIELD_TYPE),
        ('time == "2026-02-30"', Code.NOT_OF_FIELD_TYPE),
        ('time == "11:12:13"', Code.NOT_OF_FIELD_TYPE),
        ("time == true", Code.NOT_OF_FIELD_TYPE),
        ("version == 1", Code.NOT_OF_FIELD_TYPE),
        ("name in (a, b)", Code.FIELD_IN_LIST),
        ("name in (1 + length(a))", Code.FIELD_IN_LIST),
        ('unknown in (1, "a")', Code.MIXED_LIST),
        ('unknown not in~ (true, null, "a")', Code.MIXED_LIST),
        ("unknown : 4", Code.PATTERN_NOT_STRING),
        ("unknown : null", Code.PATTERN_NOT_STRING),
        ('unknown regex ("a", true, 5)', Code.PATTERN_NOT_STRING),
        ('ip : "10.*"', Code.PATTERN_ON_TYPE),
        ('pid like "4*"', Code.PATTERN_ON_TYPE),
        ('flag regex~ "t.*"', Code.PATTERN_ON_TYPE),
        ('time : "2026*"', Code.PATTERN_ON_TYPE),
        ('1 + (b : "x") == 2', Code.WRONG_TYPE),
        ('length(a) : "4"', Code.PATTERN_ON_TYPE),
        ('name regex "a("', Code.BAD_REGEX),
        ('name regex~ ("a", "a~b")', Code.BAD_REGEX),
        (f'name regex "{"a" * 1001}"', Code.REGEX_TOO_LONG),
        ("length(pid) > 1", Code.WRONG_TYPE),
        ("length(5) > 1", Code.WRONG_TYPE),
        ('startsWith(ip, "10.")', Code.WRONG_TYPE),
        ("endsWith(name, 1)", Code.WRONG_TYPE),
        ('between(name, "a", "b", "true") == ""', Code.WRONG_TYPE),
        ("substring(name, 1.5) == name", Code.WRONG_TYPE),
        ("substring(name, 1.0) == name", Code.WRONG_TYPE),
        ("number(name, 16.0) == 1", Code.WRONG_TYPE),
        ("number(pid) == 1", Code.WRONG_TYPE),
        ('cidrMatch(name, "10.0.0.0/8")', Code.WRONG_TYPE),
        ('cidrMatch(version, "10.0.0.0/8")', Code.WRONG_TYPE),
        ("shape == 1", Code.NOT_QUERYABLE),
        ("length(shape) > 1", Code.NOT_QUERYABLE),
        ('span == "10.0.0.1"', Code.NOT_QUERYABLE),
        ("rows == null", Code.NOT_QUERYABLE),
        ("rows.pid == 1", Code.NOT_QUERYABLE),
        ('?rows.path : "x*"', Code.NOT_QUERYABLE),
        ("substring(name, name) == name", Code.WRONG_TYPE),
        ('cidrMatch(pid, "10.0.0.0/8")', Code.WRONG_TYPE),
        ("cidrMatch(ip, 10)", Code.WRONG_TYPE),
        ('cidrMatch(ip, "10.0.0.0/99")', Code.BAD_CIDR),
        ('cidrMatch(ip, "")', Code.BAD_CIDR),
        ("cidrMatch(ip, other)", Code.ARGUMENT_NOT_LITERAL),
        ('wildcard(name, concat("a", "*"))', Code.ARGUMENT_NOT_LITERAL),
        ("length(name, name) > 1", Code.WRONG_ARGUMENT_COUNT),
        ("concat() == name", Code.WRONG_ARGUMENT_COUNT),
        ("length~(name) > 1", Code.NO_INSENSITIVE_VARIANT),
        ("lenght(name) > 1", Code.UNKNOWN_FUNCTION),
        ("safe~(name)", Code.UNKNOWN_FUNCTION),
        ("parent of [any where true]", Code.UNKNOWN_RELATION),
        ("string(child of [any where true]) == name", Code.NOT_A_VALUE),
        ('name == "a*"', Code.WILDCARD_IS_LITERAL),
        ('"a?" != name', Code.WILDCARD_IS_LITERAL),
        ('name not in ("a*", "b*")', Code.WILDCARD_IS_LITERAL),
        ('name in~ ("a", "?")', Code.WILDCARD_IS_LITERAL),
        ('name regex "^a"', Code.ANCHOR_IS_LITERAL),
        ('name regex "a$"', Code.ANCHOR_IS_LITERAL),
        (r'name regex "a\\\\$"', Code.ANCHOR_IS_LITERAL),
        ('name regex "a&&b"', Code.OPERATOR_IS_LITERAL),
        ('name regex~ ("ok", "a||b")', Code.OPERATOR_IS_LITERAL),
        ("length(name) == string(name)", Code.NOT_COMPARABLE),
        ("pid == name", Code.NOT_COMPARABLE),
        ("flag < pid", Code.NOT_COMPARABLE),
        ("length(name) > true", Code.NOT_COMPARABLE),
    ],
)
def test_found(condition: str, code: Code) -> None:
    assert codes(f"any where {condition}") == [code]


@pytest.mark.parametrize(
    "condition",
    [
        *("pid", "-name == 1", 'pid == "x"', 'ip == "x"', 'ip : "10.*"', "length(pid) > 1", "pid == name"),
        *('cidrMatch(pid, "::1")', "flag == 1", "time - 1 == 2"),
    ],
)
def test_without_types_only_the_query_counts(condition: str) -> None:
    assert codes(f"any where {condition}", {}) == []


@pytest.mark.parametrize("anchor", [r'"a\\$"', r'"""a\$"""', '"a^"', '"[$]a"', r'"\\^a"'])
def test_escaped_anchors_are_meant(anchor: str) -> None:
    assert codes(f"any where name regex {anchor}") == []


@pytest.mark.parametrize(
    "condition",
    [
        *("false", "null", "not true", "not not false", "1 == 2", "1 != 1", '"a" == "A"', "1 == null"),
        *("not null", "not (null and flag)", "flag not in (null)", "not (flag and null) or false"),
        *("null != null", "null < 1", "unknown >= null", "flag and false", "flag and (false or null)"),
        *("1 + 1 == 3", "-1 == 1", "1 / 0 == 1", "5 in (1, 2)", "5 not in (5)", "null in (1)"),
        *('length("abc") == 2', 'startsWith("abc", "b")', "not (flag or true)", 'concat("a", null) == "a"'),
    ],
)
def test_conditions_that_are_never_true(condition: str) -> None:
    assert codes(f"any where {condition}") == [Code.ALWAYS_FALSE]


@pytest.mark.parametrize(
    "condition",
    [
        *(
            "true",
            "not false",
            "not (null and false)",
            "1 == 1.0",
            "1 != 2",
            "null == null",
            "1 != null",
            "not null == 1",
        ),
        *("flag or false", "unknown == null", "unknown and true", "1 in (2, 1)", "5 not in (1)"),
        *('startsWith~("ABC", "b")  or startsWith~("ABC", "a")', '"abc" : "a*"', "flag == false"),
    ],
)
def test_conditions_that_may_be_true(condition: str) -> None:
    assert codes(f"any where {condition}") == []


A, B = "[process where a]", "[file where b]"
HEADER = "sequence with maxspan=1m"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{HEADER} {A} {B}", []),
        (f"sequence by ?x, y with maxspan=1m {A} by z {B} by ?z", []),
        (f"{HEADER} {A} by pid {B} by port", []),
        (f"{HEADER} {A} by name {B} by text", []),
        (f"{HEADER} {A} by pid {B} by unknown", []),
        (f"{HEADER} {A} by pid {B} by name", [Code.KEY_TYPES]),
        (f"{HEADER} {A} by time {B} by pid", [Code.KEY_TYPES]),
        (f"{HEADER} {A} by ip {B} by name", [Code.KEY_TYPES]),
        (f"{HEADER} {A} by text {B} by bag.key", []),
        (f"{HEADER} {A} by rows.pid {B} by pid", [Code.NOT_QUERYABLE]),
        (f"sequence {A} {B}", [Code.NO_MAXSPAN]),
        (f"{HEADER} {A}", [Code.TOO_FEW_STEPS]),
        (f"{HEADER} {A} with runs=2", []),
        (f"{HEADER} {A} ![any where false] until [any where false]", []),
        (f"{HEADER} {A} [any where x in (null)]", [Code.ALWAYS_FALSE]),
        (f"{HEADER} {A} [any where child of [any where false]]", [Code.ALWAYS_FALSE]),
        (f"{HEADER} {A} by x {B}", [Code.KEY_COUNT]),
        (f"{HEADER} {A} by x {B} by x, y [any where c]", [Code.KEY_COUNT, Code.KEY_COUNT]),
        (f"{HEADER} {A} by x {B} by x until [any where c]", [Code.KEY_COUNT]),
        (f"{HEADER} {A} {B} until [any where c]", []),
        (f"{HEADER} {A} by 1 {B} by length(x)", [Code.KEY_NOT_A_FIELD, Code.KEY_NOT_A_FIELD]),
        (f"{HEADER} {A} !{B}", []),
        (f"sequence {A} !{B}", [Code.MISSING_STEP_WITHOUT_MAXSPAN]),
        (
            f"{HEADER} !{A} !{B}",
            [Code.NO_POSITIVE_STEP],
        ),
        (f"{HEADER} {A} {B} until !{A}", [Code.MISSING_STEP_MISPLACED]),
        (f"{HEADER} {A} {B} until {A} with runs=2", [Code.RUNS_MISPLACED]),
        (f"{HEADER} [any where false] {B}", [Code.ALWAYS_FALSE]),
        (f"sample by x {A} {B}", []),
        (f"sample by x {A}", [Code.TOO_FEW_STEPS]),
        (f"sample {A} by x {B}", [Code.KEY_COUNT]),
        (f"sample {A} {B}", [Code.SAMPLE_WITHOUT_KEYS]),
        (f"sample by x {A} !{B}", [Code.MISSING_STEP_MISPLACED]),
        (f"sample by x {A} {B} with runs=3", [Code.RUNS_MISPLACED]),
        (f"join {A} {B} until {A}", [Code.JOIN_NOT_SUPPORTED]),
        (f"join {A} !{B}", [Code.JOIN_NOT_SUPPORTED, Code.MISSING_STEP_MISPLACED]),
        (f"{HEADER} {A} " + f"{B} " * 999, []),
        (f"{HEADER} {A} " + f"{B} " * 1000, [Code.TOO_MANY_STEPS]),
    ],
)
def test_steps(text: str, found: list[Code]) -> None:
    assert codes(text) == found


@pytest.mark.parametrize(
    ("pipes", "stream", "batch"),
    [
        ("| head 5", [Code.PIPE_IN_STREAM], []),
        ("| tail 0 | head 1", [Code.PIPE_IN_STREAM, Code.PIPE_IN_STREAM], []),
        ("| head", [Code.PIPE_IN_STREAM], [Code.BAD_PIPE_ARGUMENT]),
        ("| head -1", [Code.PIPE_IN_STREAM], [Code.BAD_PIPE_ARGUMENT]),
        ("| head true", [Code.PIPE_IN_STREAM], [Code.BAD_PIPE_ARGUMENT]),
        ("| head 2147483648 - 1", [Code.PIPE_IN_STREAM], []),
        ("| tail 2 * (1 + 2)", [Code.PIPE_IN_STREAM], []),
        ("| head 1 - 2", [Code.PIPE_IN_STREAM], [Code.BAD_PIPE_ARGUMENT]),
        ("| head 2147483648", [Code.PIPE_IN_STREAM], [Code.BAD_PIPE_ARGUMENT]),
        ("| head pid", [Code.PIPE_IN_STREAM], [Code.BAD_PIPE_ARGUMENT]),
        ("| head 1.0", [Code.PIPE_IN_STREAM], [Code.BAD_PIPE_ARGUMENT]),
        ("| count", [Code.PIPE_NOT_SUPPORTED], [Code.PIPE_NOT_SUPPORTED]),
        ("| unique a, b | sort c", [Code.PIPE_NOT_SUPPORTED] * 2, [Code.PIPE_NOT_SUPPORTED] * 2),
        ("| HEAD 1", [Code.UNKNOWN_PIPE], [Code.UNKNOWN_PIPE]),
    ],
)
def test_pipes(pipes: str, stream: list[Code], batch: list[Code]) -> None:
    assert codes(f"any where true {pipes}") == stream
    assert codes(f"any where true {pipes}", stream=False) == batch


def test_a_finite_list_of_events_needs_no_maxspan() -> None:
    assert codes(f"sequence {A} {B}", stream=False) == []


SCHEMA = FieldTypes(
    {"process.pid": "long", "process.name": "keyword", "host.id": "keyword", "labels": "flattened"}
)


@pytest.mark.parametrize(
    ("query", "hints"),
    [
        ('any where process.name : "a" and labels.mine == 1', []),
        ('any where ?process.nmae : "a" and ?mine == 1', []),
        ('any where process.nmae : "a"', ["did you mean `process.name`?"]),
        ("any where proces.pid == 1", ["did you mean `process.pid`?"]),
        ("any where mine == 1 and mine == 2", ["if it is a field of your own, write `?` before it"]),
        ("sequence by host.di [any where true] [any where true]", ["did you mean `host.id`?"]),
        (f"any where {'x' * 200} == 1", ["if it is a field of your own, write `?` before it"]),
    ],
)
def test_fields_that_no_schema_knows(query: str, hints: list[str]) -> None:
    for mode, code in (("warn", Code.UNKNOWN_FIELD), ("refuse", Code.UNKNOWN_FIELD_REFUSED)):
        parsed = eql.analyse(Source(query), types=SCHEMA, stream=False, unknown_fields=mode)
        assert [(found.code, found.hint) for found in parsed.diagnostics] == [(code, hint) for hint in hints]
    assert eql.analyse(Source(query), types=SCHEMA, stream=False).diagnostics == ()


def test_hints_for_unknown_fields_are_few_and_soon() -> None:
    schema = {f"process.field_{number}": "keyword" for number in range(5_000)}
    conditions = " or ".join(f"process.fjeld_{number} == 1" for number in range(50))
    started = time.process_time()
    found = eql.analyse(Source(f"any where {conditions}"), types=schema, unknown_fields="warn").diagnostics
    assert time.process_time() - started < 2
    assert len(found) == 50
    assert sum("did you mean" in each.hint for each in found) <= 5


def test_the_number_of_findings_is_bounded() -> None:
    assert len(codes("any where " + "nope() or " * 500 + "nope()")) == 100


@pytest.mark.parametrize(
    "condition",
    [
        " or ".join(f"unknown{number}()" for number in range(2_900)),
        "1 in (" * 97 + ",".join("1" * 4_900) + ")" * 97,
        "a regex (" + ", ".join(f'".{{999}}b{{{number}}}"' for number in range(1, 1_000)) + ")",
        "a regex~ (" + ", ".join(f'"((a{{10}}){{10}}){{{number}}}"' for number in range(1, 1_000)) + ")",
        "a : (" + ", ".join(['"*a*b*c*"'] * 4_900) + ")",
        "cidrMatch(a, " + ", ".join(['"10.0.0.0/99"'] * 4_900) + ")",
    ],
    ids=["functions", "lists", "regexes", "repetitions", "patterns", "blocks"],
)
def test_hostile_conditions_are_checked_soon(condition: str) -> None:
    query = eql.parse(Source(f"any where {condition}")).query
    assert query is not None
    start = time.process_time()
    eql.check(query)
    # Takes a tenth of that; anything quadratic takes many times as long
    assert time.process_time() - start < 5


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_takes_its_own_examples(name: str) -> None:
    for example in FUNCTIONS[name].examples:
        found = codes(f"any where {example} == null or true")
        assert not any(code.is_error for code in found), example


def test_the_whole_tree_is_returned() -> None:
    query, _ = eql.analyse(Source("any where length(a) == 1"))
    assert query == ast.Query(
        ast.EventQuery(None, ast.Comparison("==", ast.Call("length", (ast.Field("a"),)), ast.Literal(1)))
    )
