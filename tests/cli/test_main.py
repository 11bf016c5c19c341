"""The command line: exit codes, and what goes where."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from command_line import Outcome, command_line

from detectord import __version__, cli
from detectord.cli.exits import ExitCode
from detectord.metrics import Metrics
from detectord.runtime.http import Health, HttpServer

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "tests/config/whole.good.yml")
GOOD_RULE = """
[metadata]
maturity = "production"
creation_date = "2026/01/01"
updated_date = "2026/01/01"
[rule]
author = ["us"]
name = "Shell under a terminal"
description = "A shell."
rule_id = "11111111-2222-4333-8444-555555555555"
risk_score = 47
severity = "medium"
type = "eql"
language = "eql"
license = "x"
query = '''
process where process.name == "zsh" and process.args_count > 2
'''
"""
SEQUENCE = GOOD_RULE.replace("555555555555", "555555555556").replace(
    'process where process.name == "zsh" and process.args_count > 2',
    'sequence by host.id, user.id with maxspan=5m [process where process.name == "zsh"] [file where true]',
)
BAD_RULE = GOOD_RULE.replace("555555555555", "555555555557").replace('== "zsh"', "== ")
OTHER_TYPE = GOOD_RULE.replace("555555555555", "555555555558").replace('"eql"', '"query"', 1)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Iterator[object]:
    def run(*arguments: object) -> Outcome:
        return command_line(capfd, *arguments)

    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield run
    structlog.reset_defaults()  # commands set up logs that write to what is captured here
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "good.toml").write_text(GOOD_RULE)
    (folder / "sequence.toml").write_text(SEQUENCE)
    return folder


def test_help_names_every_command(run) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    for name in cli.COMMANDS:
        assert f"  {name}" in outcome.out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(run, name: str) -> None:
    outcome = run(name, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: detectord {name}")


def test_version(run) -> None:
    assert run("--version").out == f"detectord, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["check"],
        ["check", "/nowhere"],
        ["replay", "--rules", "/"],
        ["config", "show", "--set", "workers"],
        ["run", "--workers", "0"],
        ["healthcheck", "--url", "file:///etc/passwd"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_2(run, arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")
    assert "Error: " in outcome.err


# --- config ---


def test_config_show(run) -> None:
    outcome = run("config", "show", "--config", CONFIG, "--set", "workers=7", "--format", "json")
    shown = json.loads(outcome.out)
    assert (outcome.code, shown["workers"], shown["kafka"]["sasl_password"]) == (0, 7, "***")
    assert "workers: 7" in run("config", "show", "--config", CONFIG, "--set", "workers=7").out


def test_config_check(run, tmp_path: Path) -> None:
    good = run("config", "check", "--config", CONFIG)
    assert (good.code, good.out) == (0, "the configuration is good\n")
    assert "rules.watch" in good.err
    (tmp_path / "bad.yml").write_text("sources: []\nkafka: {bootstrap_server: x}\n")
    bad = run("config", "check", "--config", tmp_path / "bad.yml")
    assert (bad.code, bad.out) == (ExitCode.CONFIG, "")
    assert "kafka.bootstrap_server: unknown key; did you mean `bootstrap_servers`?" in bad.err


def test_run_with_a_wrong_configuration_is_78(run) -> None:
    outcome = run("run", "--config", CONFIG, "--set", "delivery.mode=at_most_once")
    assert outcome.code == ExitCode.CONFIG
    assert "delivery.mode: expected one of at_least_once, exactly_once" in outcome.err


def test_run_with_too_few_rules_is_65(run, rules: Path) -> None:
    settings = ["--set", f"rules.paths={rules}", "--set", "rules.min_loaded=3"]
    no_files = ["--set", "rules.overlay=", "--set", "rules.version_lock="]
    assert run("run", "--config", CONFIG, *settings, *no_files).code == ExitCode.RULES


def test_run_with_a_bad_overlay_is_78(run, rules: Path) -> None:
    overlay = rules / "overlay.yml"
    overlay.write_text("a: {severity: urgent}\n")
    settings = ["--set", f"rules.overlay={overlay}", "--set", "rules.version_lock="]
    outcome = run("run", "--config", CONFIG, *settings)
    assert outcome.code == ExitCode.CONFIG
    assert "overlay.yml:1:15: error[E411]: `a.severity` must be" in outcome.err


# --- rules ---


def test_check(run, rules: Path) -> None:
    outcome = run("check", rules)
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, "2 loaded, 0 refused, 2 warnings")


def test_check_warns_of_fields_no_schema_knows_and_refuses_them_if_strict(run, rules: Path) -> None:
    (rules / "typo.toml").write_text(
        GOOD_RULE.replace("process.name", "process.nmae").replace("555555555555", "555555555550")
    )
    (rules / "own.toml").write_text(
        GOOD_RULE.replace("process.name", "?our.name").replace("55555555", "66666666")
    )
    lenient, strict = run("check", rules), run("check", "--strict", rules)
    assert lenient.code == 0
    assert "warning[W110]: no schema knows the field `process.nmae`" in lenient.out
    assert "did you mean `process.name`?" in lenient.out
    assert strict.code == ExitCode.RULES
    assert "error[E131]: no schema knows the field `process.nmae`" in strict.out
    assert "our.name" not in lenient.out + strict.out


def test_check_knows_the_types_of_fields(run, rules: Path) -> None:
    (rules / "bad.toml").write_text(GOOD_RULE.replace('== "zsh"', '== "z" and process.pid : "4"'))
    outcome = run("check", rules)
    assert "error[E112]: `:` needs a string on its left, found `process.pid`, a number" in outcome.out


def test_check_of_another_type_is_no_failure(run, rules: Path) -> None:
    (rules / "other.toml").write_text(OTHER_TYPE)
    outcome = run("check", rules)
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "2 loaded, 1 refused (1 unsupported_type), 2 warnings"


def test_check_of_a_bad_rule_is_65(run, rules: Path) -> None:
    (rules / "bad.toml").write_text(BAD_RULE)
    outcome = run("check", rules)
    assert outcome.code == ExitCode.RULES
    assert "bad.toml:17:32: error[E" in outcome.out
    assert outcome.out.splitlines()[-1] == "2 loaded, 1 refused (1 parse_error), 2 warnings"


def test_check_as_json(run, rules: Path) -> None:
    (rules / "bad.toml").write_text(BAD_RULE)
    outcome = run("check", rules, "--format", "json")
    ledger = json.loads(outcome.out)
    assert (outcome.code, ledger["loaded"]) == (ExitCode.RULES, 2)
    (refused,) = ledger["refused"]
    assert set(refused) == {"file", "rule_id", "name", "reason", "code", "line", "column"}
    assert (refused["reason"], refused["line"]) == ("parse_error", 17)


def test_no_text_of_a_rule_rules_the_terminal(run, rules: Path, tmp_path: Path) -> None:
    escaped = GOOD_RULE.replace('name = "', 'name = "\\u001b]0;x\\u0007')
    good, bad = rules / "good.toml", rules / "bad.toml"
    good.write_text(escaped)
    bad.write_text(escaped.replace("555555555555", "555555555559").replace('"medium"', '"\\u001bc"'))
    (tmp_path / "in.ndjson").write_text(events(1))
    for arguments in (
        ("check", rules),
        ("explain", good),
        ("explain", bad),
        ("replay", "--rules", good, "--input", tmp_path / "in.ndjson", "--output", tmp_path / "out"),
    ):
        outcome = run(*arguments)
        said = outcome.out + outcome.err
        assert "␛" in said, arguments
        assert "\x07" not in said
        assert "\x1b" not in said


def test_explain_of_an_export(run, tmp_path: Path) -> None:
    rule = {"type": "eql", "name": "R", "description": "D", "severity": "low", "risk_score": 21}
    lines = [{**rule, "rule_id": name, "query": f'process where "{name}" : process.name'} for name in "ab"]
    (tmp_path / "r.ndjson").write_text("\n".join(map(json.dumps, lines)))
    outcome = run("explain", tmp_path / "r.ndjson")
    assert outcome.code == ExitCode.RULES  # a pattern's field stands on its left
    lines = [{**line, "query": f'process where process.name : "{line["rule_id"]}"'} for line in lines]
    (tmp_path / "r.ndjson").write_text("\n".join(map(json.dumps, lines)))
    outcome = run("explain", tmp_path / "r.ndjson")
    assert (outcome.code, outcome.out.count("severity low")) == (0, 2)


def test_check_tells_kinds_and_sequences(run, rules: Path) -> None:
    outcome = run("check", rules, "--verbose")
    assert outcome.out.splitlines()[-2] == "1 event rule, 1 sequence rule, 1 host-bound"
    assert "sequence.toml: sequence, maxspan 5m, host-bound: " in outcome.out
    ledger = json.loads(run("check", rules, "--format", "json").out)
    assert ledger["kinds"] == {"event": 1, "sequence": 1, "sample": 0}
    (sequence,) = ledger["sequences"]
    assert (sequence["maxspan"], sequence["implicit_maxspan"], sequence["routing"]) == ("5m", False, "host")


def test_check_with_a_policy(run, rules: Path, tmp_path: Path) -> None:
    names = [each["rule_id"] for each in json.loads(run("check", rules, "--format", "json").out)["sequences"]]
    outcome = run("check", rules, "--exclude", f"rule_id={names[0]}")
    assert outcome.out.splitlines()[-1].startswith("1 loaded, 0 refused")
    assert outcome.out.splitlines()[-1].endswith("1 not selected")
    assert run("check", rules, "--exclude", "colour=red").code == ExitCode.USAGE
    overlay = tmp_path / "overlay.yml"
    overlay.write_text("zork: {enabled: false}\n")
    assert "overlay.yml:1:7: warning[W429]" in run("check", rules, "--overlay", overlay).out
    overlay.write_text("zork: {enabled: 5}\n")
    outcome = run("check", rules, "--overlay", overlay)
    assert outcome.code == ExitCode.CONFIG
    assert "overlay.yml:1:17: error[E411]" in outcome.err


def test_explain(run, rules: Path) -> None:
    outcome = run("explain", rules / "sequence.toml")
    assert outcome.code == 0
    assert "sequence of 2 steps, maxspan 5m, host-bound" in outcome.out
    assert "# step 0: process, by host.id, user.id" in outcome.out
    assert outcome.out.count("zsh") == 1
    (rules / "bad.toml").write_text(BAD_RULE)
    outcome = run("explain", rules / "bad.toml")
    assert outcome.code == ExitCode.RULES
    assert outcome.err.startswith(f"{rules / 'bad.toml'}:")


# --- replay ---


def events(count: int) -> str:
    event = {
        "event": {"category": "process"},
        "process": {"name": "zsh", "args_count": 3},
        "host": {"id": "h"},
    }
    return "".join(
        json.dumps({"@timestamp": f"2026-01-01T00:00:{i:02}Z", **event}) + "\n" for i in range(count)
    )


def test_replay(run, rules: Path, tmp_path: Path) -> None:
    for name in ("a.ndjson", "b.ndjson"):
        (tmp_path / name).write_text(events(3))
    inputs = [tmp_path / "a.ndjson", tmp_path / "b.ndjson"]
    outcome = run("replay", "--rules", rules / "good.toml", rules / "sequence.toml", "--input", *inputs)
    assert outcome.code == 0
    alerts = [json.loads(line) for line in outcome.out.splitlines()]
    assert [alert["kibana.alert.rule.name"] for alert in alerts] == ["Shell under a terminal"] * 6
    assert "6 records in" in outcome.err
    assert "2 rules loaded, 0 refused" in outcome.err
    assert "6  Shell under a terminal" in outcome.err


def test_replay_to_a_file(run, rules: Path, tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_text(events(2) + 'no json\n{"a": \n')
    output = tmp_path / "out.ndjson"
    outcome = run("replay", "--rules", rules, f"--input={tmp_path / 'in.ndjson'}", "--output", output)
    assert (outcome.code, outcome.out) == (0, "")
    assert len(output.read_text().splitlines()) == 2
    assert "records that were no events: 2\n" in outcome.err
    assert "2  not_json, the first at in.ndjson:3: " in outcome.err
    assert "may have cost" not in outcome.err


def test_replay_without_a_rule_is_65(run, rules: Path, tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_text(events(1))
    arguments = ["--rules", rules, "--input", tmp_path / "in.ndjson", "--maturity", "beta"]
    outcome = run("replay", *arguments)
    assert outcome.code == ExitCode.RULES
    assert "no rule was loaded: 0 refused, 2 left out; `detectord check` says why" in outcome.err


def test_replay_tells_what_may_have_cost_an_alert(run, rules: Path, tmp_path: Path) -> None:
    keys = {"host": {"id": [f"h{n}" for n in range(40)]}, "user": {"id": [f"u{n}" for n in range(40)]}}
    event = json.loads(events(1)) | keys
    (tmp_path / "in.ndjson").write_text(json.dumps(event) + "\n")
    outcome = run("replay", "--rules", rules, "--input", tmp_path / "in.ndjson")
    assert outcome.code == 0
    said = outcome.err.partition("what may have cost an alert:\n")[2]
    assert said.startswith("        1  Shell under a terminal: Events with more join keys than")


def test_a_reader_that_goes_away_is_no_traceback(rules: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "detectord", "check", str(rules)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait() == ExitCode.FAILED
    assert error == b""


# --- healthcheck ---


@pytest.mark.parametrize(("alive", "code"), [(True, 0), (False, 1)])
def test_healthcheck(run, alive: bool, code: int) -> None:
    health = Health(Metrics().exposition, lambda: alive, dict, dict, list)
    server = HttpServer(("127.0.0.1", 0), health)
    server.start()
    try:
        outcome = run("healthcheck", "--url", f"{server.url}/healthz")
    finally:
        server.close()
    assert outcome.code == code
    assert ("ok" in outcome.out, "503" in outcome.err) == (alive, not alive)
    gone = run("healthcheck", "--url", f"{server.url}/healthz")
    assert gone.code == 1
    assert "does not answer" in gone.err


def test_healthcheck_finds_the_address_in_the_configuration(run, tmp_path, monkeypatch) -> None:
    server = HttpServer(("127.0.0.1", 0), Health(lambda _: ("", b""), lambda: True, dict, dict, list))
    server.start()
    config = tmp_path / "d.yml"
    config.write_text(
        "sources: [{topics: [a]}]\nkafka: {bootstrap_servers: x}\n"
        f'http: {{listen: "0.0.0.0:{server.address[1]}"}}\n'
    )
    try:
        assert run("healthcheck", "--config", str(config)).code == 0
        monkeypatch.setenv("DETECTORD_CONFIG", str(config))
        assert run("healthcheck").code == 0
    finally:
        server.close()
