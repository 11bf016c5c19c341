"""The shipped rules: their own tests, what their documents say, and whether their tests would notice."""

import dataclasses
import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import engines
import pytest

from detectord.batch import match_rule
from detectord.cli.test import describe, run
from detectord.compiler import compile_rule
from detectord.eql import Source, analyse
from detectord.events.event import Event
from detectord.events.fields import FIELD_TYPES
from detectord.events.index import IndexGate, virtual_index
from detectord.events.record import Record
from detectord.rules.findings import RuleCode
from detectord.rules.load import load, read_file
from detectord.rules.rule import Rule
from detectord.rules.schema import ReadOptions
from detectord.rules.testing import read_cases, rule_of

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rules"
SEEDS = ROOT.parent / "shared" / "seeds"
TESTS = sorted(RULES.rglob("*.test.toml"))

# file: rule_id, severity, risk score, version, number of the document, sha256 of the query's tokens
SHIPPED = {
    "cross-platform/execution_reverse_shell_via_terminal": (
        "a1a0375f-22c2-48c0-81a4-7c2d11cc6856", "high", 73, 109, "000",
        "47ea8fc408ef47a0ea694148689dad47d642426060d80104342217fa5f34a7d9",
    ),
    "windows/persistence_web_shell_script_child": (
        "2917d495-59bd-4250-b395-c29409b76086", "high", 73, 416, "001",
        "1227a21b6b63bcd8f1e13186c6f224ce4fea6d417c31b352782ac64841291f24",
    ),
    "linux/execution_reverse_shell_suspicious_parent": (
        "4b1a807a-4e7b-414e-8cea-24bf580f6fc5", "medium", 47, 1, "002",
        "f5e458a77b8d0bd831912fcdf9c0517bbea5aa4eb83f20b7b983441fea0f2cb9",
    ),
    "linux/execution_network_connection_recently_compiled": (
        "64cfca9e-0f6f-4048-8251-9ec56a055e9e", "medium", 47, 6, "003",
        "fbe9c7a27d90eb0c6ed93b26e18e6d16a6aef5ef416234182c189d3633243652",
    ),
    "linux/persistence_backdoor_user_account": (
        "494ebba4-ecb7-4be4-8c6f-654c686549ad", "medium", 47, 7, "004",
        "d18096742b652e118c96907a9a8401a863d2dd9e05c7d47b85e14aef60f30b5d",
    ),
}  # fmt: skip

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|[\w@.]+|[^\w\s]', re.DOTALL)


def tokens(query: str) -> list[str]:
    """A query's pieces; only white space between them is lost."""
    return _TOKEN.findall(query)


def rule_at(name: str) -> Rule:
    rule = read_file(RULES / f"{name}.toml", ReadOptions(types=FIELD_TYPES)).rule
    assert rule is not None
    return rule


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_its_cases(file: Path) -> None:
    report = run(file)
    assert report.passed, report.trouble + "\n".join(describe(each) for each in report.failures[:5])


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_the_oracle_agrees(file: Path) -> None:
    rule = read_file(rule_of(file)).rule
    assert rule is not None
    is_sequence = compile_rule(rule).is_sequence
    gate = IndexGate(rule.index)
    for case in read_cases(file):
        events = [dict(event) for event in case.events]
        record = Record("", 0, 0, None, None, b"")
        if all(gate.admits(virtual_index(Event(event, record, None))) for event in events):
            found = tuple(events for events, _ in engines.oracle(rule.query_text, events))
            assert found == case.expected(is_sequence=is_sequence), case.name


def test_every_rule_is_here_and_has_tests() -> None:
    loaded = load([RULES], types=FIELD_TYPES)
    assert (loaded.refused, loaded.warnings, loaded.skipped) == ((), (), 0)
    assert {Path(rule.path).with_suffix("") for rule in loaded.rules} == {RULES / name for name in SHIPPED}
    assert {rule_of(file) for file in TESTS} == {RULES / f"{name}.toml" for name in SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_what_its_document_says(name: str) -> None:
    rule_id, severity, score, version, _, digest = SHIPPED[name]
    rule = rule_at(name)
    assert (rule.rule_id, rule.severity, rule.risk_score, rule.version) == (rule_id, severity, score, version)
    assert (rule.look_back, rule.license, rule.author) == (540 * 10**9, "Elastic License v2", ("Elastic",))
    assert hashlib.sha256("\x1f".join(tokens(rule.query_text)).encode()).hexdigest() == digest


@pytest.mark.skipif(not SEEDS.is_dir(), reason="no ../shared")
@pytest.mark.parametrize("name", SHIPPED)
def test_its_query_is_its_documents(name: str) -> None:
    (document,) = SEEDS.glob(SHIPPED[name][4] + "_*")
    lines = [line for line in document.read_text().splitlines() if line != "|"]
    query, text = tokens(rule_at(name).query_text), tokens("\n".join(lines).replace("编辑", "\n"))
    assert any(text[start : start + len(query)] == query for start in range(len(text)))


@pytest.mark.skipif(not SEEDS.is_dir(), reason="no ../shared")
@pytest.mark.parametrize("name", SHIPPED)
def test_its_index_patterns_are_its_documents(name: str) -> None:
    (document,) = SEEDS.glob(SHIPPED[name][4] + "_*")
    found = re.findall(r"^ *[•-] (\S+\*)$", document.read_text(), re.MULTILINE)
    assert list(rule_at(name).index) == (found or tomllib.loads('x = ["logs-endpoint.events.*"]')["x"])


def nonsense(query: str) -> Iterator[str]:
    """The query with one literal replaced by another, for each of its literals."""
    for literal in re.finditer(r'"(?:[^"\\]|\\.)*"', query):
        other = '"192.0.2.99"' if re.fullmatch(r'"[0-9.:]+(/\d+)?"', literal.group()) else '"no such thing"'
        yield query[: literal.start()] + other + query[literal.end() :]


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_its_cases_would_notice_a_changed_literal(file: Path) -> None:
    rule = read_file(rule_of(file), ReadOptions(types=FIELD_TYPES)).rule
    assert rule is not None
    cases = read_cases(file)
    for text in nonsense(rule.query_text):
        query = analyse(Source(text), types=FIELD_TYPES).query
        assert query is not None, text
        changed = compile_rule(dataclasses.replace(rule, query=query, query_text=text))
        assert any(
            tuple(match.events for match in match_rule(changed, case.events))
            != case.expected(is_sequence=changed.is_sequence)
            for case in cases
        ), text


@pytest.mark.parametrize("name", SHIPPED)
def test_its_cases_would_notice_a_changed_index(name: str) -> None:
    rule, cases = rule_at(name), read_cases(RULES / f"{name}.test.toml")
    for pattern in rule.index:
        index = tuple(each for each in rule.index if each != pattern) or ("no such index",)
        changed = compile_rule(dataclasses.replace(rule, index=index))
        assert any(
            tuple(match.events for match in match_rule(changed, case.events))
            != case.expected(is_sequence=changed.is_sequence)
            for case in cases
        ), pattern


@pytest.mark.parametrize("name", SHIPPED)
def test_its_row_in_the_docs(name: str) -> None:
    rule = rule_at(name)
    row = f"| [{rule.name}](../rules/{name}.toml) | {rule.severity}, {rule.risk_score} |"
    assert row in (ROOT / "docs" / "rules.md").read_text()


def test_every_code_of_the_loader_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "rules.md").read_text()
    rows = dict(re.findall(r"^\| ([EW]4\d\d) \| (\w*) ?\|", text, re.MULTILINE))
    assert rows == {code.number: code.reason or "" for code in RuleCode}
