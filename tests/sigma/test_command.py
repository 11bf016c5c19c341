"""`detectord import sigma`: which files are read, what is written and printed, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from command_line import Outcome, command_line

from detectord.cli.exits import ExitCode
from detectord.rules.load import load
from detectord.sigma.documents import MAX_BYTES

RULE = """\
title: A "quoted" title, with a tail
id: 3f1c9a52-0000-4000-8000-00000000000a
status: test
level: critical
description: |
  First line.
    Second 'line' \\ end.
author: Jo Doe, The Team (Org)
date: 2024-05-06
modified: 2025/01/02
references: [https://example.org/a, 17]
falsepositives: [None known]
tags: [attack.execution, attack.defense_evasion, attack.t1059.001, attack.t1218.011, attack.t0815,
  cve.2024-1, attack.g0001]
logsource: {category: process_creation, product: windows}
detection:
  sel:
    CommandLine|contains: 'it''s "it" \\\\host'
  condition: sel
"""
WORDLESS = """\
title: Words
logsource: {product: linux, service: syslog}
detection: {words: [a], condition: words}
"""


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]):
    pytest.importorskip("sigma.backends.elasticsearch", reason="needs the extra `sigma` of the package")
    pytest.importorskip("tomlkit", reason="needs the extra `sigma` of the package")

    def run(*arguments: object) -> Outcome:
        return command_line(capfd, "import", "sigma", *arguments)

    return run


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "good.yaml").write_text(RULE)
    (folder / "words.YML").write_text(WORDLESS)
    (folder / "README.md").write_text("no rule")
    (folder / ".hidden.yml").write_text(RULE)
    return folder


def test_writes_rules_and_ledger(run, rules: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    outcome = run(rules, "--output", target)
    assert (outcome.code, outcome.err) == (ExitCode.OK, "")
    name = "a_quoted_title_with_a_tail_3f1c9a52.toml"
    assert sorted(os.listdir(target)) == [name, "import-ledger.json"]
    assert outcome.out.splitlines() == [
        f"{rules}/words.YML: left out: logsource: product linux, service syslog",
        f"1 converted, 1 left out (1 logsource); see {target}/import-ledger.json",
    ]
    assert json.loads((target / "import-ledger.json").read_text()) == {
        "converted": 1,
        "refused": 1,
        "reasons": {"logsource": 1},
        "warnings": 0,
        "rules": [
            {
                "source": f"{rules}/words.YML",
                "document": 1,
                "title": "Words",
                "outcome": "refused",
                "reason": "logsource",
                "detail": "product linux, service syslog",
            },
            {
                "source": f"{rules}/deep/er/good.yaml",
                "document": 1,
                "title": 'A "quoted" title, with a tail',
                "id": "3f1c9a52-0000-4000-8000-00000000000a",
                "outcome": "converted",
                "file": name,
            },
        ],
        "stale": [],
    }


def test_rule_file(run, rules: Path, tmp_path: Path) -> None:
    run(rules, "--output", tmp_path)
    text = next(tmp_path.glob("*.toml")).read_text()
    document = tomllib.loads(text)
    threat = document["rule"].pop("threat")
    assert document == {
        "metadata": {
            "creation_date": "2024/05/06",
            "updated_date": "2025/01/02",
            "maturity": "production",
            "comments": "Converted from the Sigma rule deep/er/good.yaml",
        },
        "rule": {
            "author": ["Jo Doe", "The Team (Org)"],
            "description": "First line.\n  Second 'line' \\ end.\n",
            "false_positives": ["None known"],
            "from": "now-9m",
            "index": [
                "logs-endpoint.events.process-*",
                "logs-system.security*",
                "winlogbeat-*",
                "logs-windows.sysmon_operational-*",
                "logs-windows.forwarded*",
            ],
            "language": "eql",
            "license": "Detection Rule License (DRL) 1.1",
            "name": 'A "quoted" title, with a tail',
            "query": "process where\n"
            '  host.os.type == "windows" and\n'
            '  event.type == "start" and\n'
            '  process.command_line : "*it\'s \\"it\\" \\\\host*"\n',
            "references": ["https://example.org/a", "17"],
            "risk_score": 99,
            "rule_id": "3f1c9a52-0000-4000-8000-00000000000a",
            "severity": "critical",
            "tags": [
                "Sigma",
                "OS: Windows",
                "Tactic: Execution",
                "Tactic: Defense Evasion",
                "cve.2024-1",
                "attack.g0001",
            ],
            "type": "eql",
        },
    }
    assert [(each["tactic"]["id"], [t["id"] for t in each["technique"]]) for each in threat] == [
        ("TA0002", ["T1059", "T0815"]),
        ("TA0005", ["T1218"]),
    ]
    assert threat[1]["technique"][0] == {
        "id": "T1218",
        "name": "System Binary Proxy Execution",
        "reference": "https://attack.mitre.org/techniques/T1218/",
        "subtechnique": [
            {
                "id": "T1218.011",
                "name": "T1218.011",
                "reference": "https://attack.mitre.org/techniques/T1218/011/",
            }
        ],
    }
    # A person reads the query as it is: no escape of TOML's in it
    assert "\n  process.command_line : \"*it's \\\"it\\\" \\\\host*\"\n'''" in text


def test_output_is_a_folder_of_rules(run, rules: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    run(rules, "--output", target)
    loaded = load([target])
    assert [rule.name for rule in loaded.rules] == ['A "quoted" title, with a tail']
    assert (loaded.refused, loaded.warnings, loaded.skipped) == ((), (), 0)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("level: informational", ("low", 21, "experimental")),
        ("level: low\nstatus: stable", ("low", 21, "production")),
        ("level: medium\nstatus: test", ("medium", 47, "production")),
        ("level: high\nstatus: experimental", ("high", 73, "experimental")),
        ("status: deprecated", ("medium", 47, "deprecated")),
    ],
)
def test_level_and_status(run, tmp_path: Path, lines: str, expected: tuple[str, int, str]) -> None:
    file = tmp_path / "rule.yml"
    file.write_text(
        f"title: t\n{lines}\nlogsource: {{category: dns}}\ndetection: {{sel: {{query: a}}, condition: sel}}"
    )
    assert run(file, "--output", tmp_path / "out").code == 0
    document = tomllib.loads(next((tmp_path / "out").glob("*.toml")).read_text())
    rule = document["rule"]
    assert (rule["severity"], rule["risk_score"], document["metadata"]["maturity"]) == expected


def test_license_of_the_rule_is_kept(run, tmp_path: Path) -> None:
    (tmp_path / "rule.yml").write_text(RULE.replace("status: test", "status: test\nlicense: MIT"))
    run(tmp_path / "rule.yml", "--output", tmp_path)
    assert 'license = "MIT"\n' in next(tmp_path.glob("*.toml")).read_text()


def test_an_id_is_made_from_what_the_rule_says(run, tmp_path: Path) -> None:
    bare = RULE.replace("id: 3f1c9a52-0000-4000-8000-00000000000a\n", "")
    for name, text in (("a.yml", bare), ("b.yml", bare.replace("critical", "low"))):
        (tmp_path / name).write_text(text)
    first, again = tmp_path / "first", tmp_path / "again"
    run(tmp_path / "a.yml", tmp_path / "b.yml", "--output", first)
    run(tmp_path / "b.yml", tmp_path / "a.yml", "--output", again)
    assert len(list(first.glob("*.toml"))) == 2
    assert {p.name: p.read_bytes() for p in first.glob("*.toml")} == {
        p.name: p.read_bytes() for p in again.glob("*.toml")
    }


def test_json(run, rules: Path, tmp_path: Path) -> None:
    outcome = run(rules, "--output", tmp_path, "--format", "json")
    assert json.loads(outcome.out) == json.loads((tmp_path / "import-ledger.json").read_text())


def test_files_of_an_earlier_import_are_named_not_deleted(run, rules: Path, tmp_path: Path) -> None:
    run(rules, "--output", tmp_path)
    good = rules / "deep" / "er" / "good.yaml"
    good.write_text(RULE.replace("with a tail", "renamed"))
    old = "a_quoted_title_with_a_tail_3f1c9a52.toml"
    for _ in range(2):
        outcome = run(rules, "--output", tmp_path)
        assert outcome.out.splitlines()[-1] == (
            f"left from an earlier import, and not written by this one: {old}"
        )
    assert (tmp_path / old).is_file()
    (tmp_path / old).unlink()
    assert "earlier import" not in run(rules, "--output", tmp_path).out


@pytest.mark.parametrize(
    "ledger", ["", "[]", '{"rules": 1}', '{"rules": [{"file": "../x.toml"}], "stale": [7]}']
)
def test_a_ledger_that_is_none_does_not_matter(run, rules: Path, tmp_path: Path, ledger: str) -> None:
    (tmp_path / "import-ledger.json").write_text(ledger)
    outcome = run(rules, "--output", tmp_path)
    assert (outcome.code, "earlier" in outcome.out) == (0, False)


def test_nothing_converted_is_65(run, rules: Path, tmp_path: Path) -> None:
    outcome = run(rules / "words.YML", "--output", tmp_path / "out")
    assert outcome.code == ExitCode.RULES
    assert os.listdir(tmp_path / "out") == ["import-ledger.json"]
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "--output", tmp_path / "out").code == ExitCode.RULES


def test_files_that_cannot_be_read(run, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "big.yml").write_text(RULE + "#" * MAX_BYTES)
    (folder / "bytes.yml").write_bytes(b"title: \xff")
    (folder / "deep.yml").write_text("a: " + "[" * 1_500)
    (folder / "empty.yml").write_text("---\n---\n")
    os.mkfifo(folder / "pipe.yml")
    (folder / "surrogate.yml").write_text('title: "\\ud800"')
    outcome = run(folder, "--output", tmp_path / "out", "--format", "json")
    rows = json.loads(outcome.out)["rules"]
    assert [(Path(row["source"]).name, row["document"], row["reason"], row["detail"]) for row in rows] == [
        ("big.yml", 0, "too_large", f"larger than {MAX_BYTES} bytes"),
        ("bytes.yml", 0, "bad_file", "not UTF-8 at byte 7"),
        ("deep.yml", 1, "bad_yaml", "nested too deep"),
        ("pipe.yml", 0, "bad_file", "not a regular file"),
        ("surrogate.yml", 1, "bad_yaml", "half a surrogate pair is not a character"),
    ]


def test_a_file_reached_twice_is_read_once(run, rules: Path, tmp_path: Path) -> None:
    (rules / "link.yml").symlink_to(rules / "deep" / "er" / "good.yaml")
    outcome = run(rules, rules / "deep", "--output", tmp_path)
    assert outcome.out.splitlines()[-1].startswith("1 converted, 1 left out (1 logsource)")


def test_collection_actions(run, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(
        "action: global\n"
        "title: Both\nlevel: low\nlogsource: {product: windows}\n"
        "detection: {condition: sel}\n"
        "---\n"
        "logsource: {category: process_creation}\ndetection: {sel: {Image: a}}\n"
        "---\n"
        "action: repeat\ndetection: {sel: {Image: b}}\n"
        "---\n"
        "action: reset\n"
        "---\n"
        "detection: {sel: {Image: c}}\n"
        "---\n"
        "action: dance\n"
    )
    outcome = run(tmp_path / "rules.yml", "--output", tmp_path / "out", "--format", "json")
    rows = json.loads(outcome.out)["rules"]
    assert [(row["document"], row["outcome"]) for row in rows] == [
        (2, "converted"),
        (3, "converted"),
        (5, "refused"),
        (6, "refused"),
    ]
    queries = [
        tomllib.loads((tmp_path / "out" / row["file"]).read_text())["rule"]["query"] for row in rows[:2]
    ]
    assert [query.split('executable : "')[1][0] for query in queries] == ["a", "b"]


def test_wrong_use_is_2(run, tmp_path: Path) -> None:
    for arguments in ([tmp_path], ["--output", tmp_path], ["/nowhere", "--output", tmp_path]):
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")


def test_an_output_that_cannot_be_written_is_told(run, rules: Path) -> None:
    outcome = run(rules, "--output", "/proc/nothing")
    assert (outcome.code, outcome.out) == (ExitCode.FAILED, "")
    assert outcome.err.startswith("Error: ")


def test_without_the_extra_the_way_out_is_told(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['sigma'] = None\n"
        "from detectord import cli\n"
        f"sys.exit(cli.main(['import', 'sigma', {str(tmp_path)!r}, '--output', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, "")
    assert done.stderr == (
        "Error: importing Sigma rules needs pySigma, which is not installed: pip install 'detectord[sigma]'\n"
    )
