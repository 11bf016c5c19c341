"""`detectord check --format sarif`: what readers of SARIF 2.1.0 rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from detectord.cli.check import command
from detectord.eql.diagnostics import Code
from detectord.rules.findings import RuleCode

RULE = """\
[metadata]
maturity = "production"
[rule]
author = ["a"]
description = "d"
index = ["logs-*"]
language = "eql"
name = "A rule"
risk_score = 21
rule_id = "{name}"
severity = "low"
type = "eql"
query = '''
{query}
'''
"""
QUERIES = {
    "good": "process where true",
    "two errors": 'process where nope(?a) and\n  ?b == "*" and lenght(?c)',
    "warning": 'process where ?a == "é*"',
}

# What the schema says of the objects used here: which keys there may be, and which there must be
ALLOWED = {
    "log": ({"$schema", "version", "runs"}, {"version", "runs"}),
    "run": ({"tool", "columnKind", "results"}, {"tool"}),
    "driver": ({"name", "semanticVersion", "rules"}, {"name"}),
    "rule": ({"id", "name", "shortDescription", "help", "defaultConfiguration"}, {"id"}),
    "result": ({"ruleId", "ruleIndex", "level", "message", "locations", "properties"}, {"message"}),
    "region": ({"startLine", "startColumn", "endLine", "endColumn"}, {"startLine"}),
}


def assert_shape(kind: str, value: dict[str, Any]) -> None:
    allowed, required = ALLOWED[kind]
    assert required <= value.keys() <= allowed


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my rules").mkdir()
    for name, query in QUERIES.items():
        (tmp_path / "my rules" / f"{name}.toml").write_text(RULE.format(name=name, query=query))
    (tmp_path / "my rules" / "ml.toml").write_text(
        RULE.format(name="ml", query="x").replace('"eql"\nquery', '"esql"\nquery')
    )
    outcome = CliRunner().invoke(command, ["--format", "sarif", str(tmp_path / "my rules")])
    assert outcome.exit_code == 65
    result: dict[str, Any] = json.loads(outcome.stdout)
    return result


def test_its_objects_are_what_the_schema_allows(log: dict[str, Any]) -> None:
    assert_shape("log", log)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert_shape("run", run)
    assert_shape("driver", run["tool"]["driver"])
    for rule in run["tool"]["driver"]["rules"]:
        assert_shape("rule", rule)
        assert rule["shortDescription"].keys() == rule["help"].keys() == {"text"}
        assert rule["defaultConfiguration"]["level"] in ("error", "warning")
    for result in run["results"]:
        assert_shape("result", result)
        assert result["level"] in ("none", "note", "warning", "error")
        (location,) = result["locations"]
        region = location["physicalLocation"]["region"]
        assert_shape("region", region)
        assert all(type(number) is int and number >= 1 for number in region.values())
        assert (region["startLine"], region["startColumn"]) <= (region["endLine"], region["endColumn"])


def test_every_code_is_described_once(log: dict[str, Any]) -> None:
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted(code.number for code in (*Code, *RuleCode))
    for result in log["runs"][0]["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_one_result_for_each_finding(log: dict[str, Any]) -> None:
    found = [
        (
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            result["ruleId"],
            result["level"],
            tuple(result["locations"][0]["physicalLocation"]["region"].values()),
            result["properties"]["rule_id"],
        )
        for result in log["runs"][0]["results"]
    ]
    assert found == [
        ("my%20rules/ml.toml", "E420", "note", (12, 8, 12, 9), "ml"),
        ("my%20rules/two%20errors.toml", "E104", "error", (14, 15, 14, 19), "two errors"),
        ("my%20rules/two%20errors.toml", "E104", "error", (15, 17, 15, 23), "two errors"),
        ("my%20rules/two%20errors.toml", "W101", "warning", (15, 9, 15, 12), "two errors"),
        ("my%20rules/warning.toml", "W101", "warning", (14, 21, 14, 25), "warning"),
    ]


def test_the_way_out_is_in_the_message(log: dict[str, Any]) -> None:
    messages = [result["message"]["text"] for result in log["runs"][0]["results"]]
    assert "unknown function `lenght` (did you mean `length`?)" in messages


def test_a_file_elsewhere_has_an_absolute_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.toml").write_text("x = [")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outcome = CliRunner().invoke(command, ["--format", "sarif", str(tmp_path / "bad.toml")])
    (result,) = json.loads(outcome.stdout)["runs"][0]["results"]
    assert (
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        == (tmp_path / "bad.toml").as_uri()
    )
