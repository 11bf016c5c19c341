"""The format of rule tests, and the command that runs them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from detectord.cli.test import command, run
from detectord.rules.testing import MAX_CASES, CaseError, parse_cases

BASES = """\
[common]
host = { id = "h", os.type = "linux" }
[events.one]
event.category = ["process"]
process = { name = "a", args = ["x"] }
"""
TWO = BASES + '[events.two]\nevent.category = "network"\n'


def documents(text: str) -> list[dict]:
    return [dict(event) for case in parse_cases(text) for event in case.events]


def test_a_base_event_and_what_is_common() -> None:
    (case,) = parse_cases(BASES + '[[fire]]\nname = "n"')
    assert (case.name, case.kind) == ("n", "fire")
    assert case.events == (
        {
            "@timestamp": "2026-01-05T08:00:00.000000000Z",
            "host": {"id": "h", "os": {"type": "linux"}},
            "event": {"category": ["process"]},
            "process": {"name": "a", "args": ["x"]},
        },
    )


@pytest.mark.parametrize(
    ("override", "process"),
    [
        ('set = { process.name = "b" }', {"name": "b", "args": ["x"]}),
        ('set = { "process.name" = "b" }', {"name": "b", "args": ["x"]}),
        ("set = { process.name = [] }", {"name": [], "args": ["x"]}),
        ('set = { process = { name = "b", pid = 1 } }', {"name": "b", "args": ["x"], "pid": 1}),
        ('unset = ["process.name"]', {"args": ["x"]}),
        ('unset = ["process"]', None),
        ('null = ["process.name"]', {"name": None, "args": ["x"]}),
        ('null = ["process"]', {}),
    ],
)
def test_overrides(override: str, process: object) -> None:
    (document,) = documents(BASES + f'[[fire]]\nname = "n"\n{override}')
    assert document.get("process") == (process if override != 'null = ["process"]' else None)


def test_an_override_of_a_parent_takes_all_below_it() -> None:
    (document,) = documents(BASES + '[[fire]]\nname = "n"\nset = { process = "scalar" }')
    assert document["process"] == "scalar"


def test_dotted() -> None:
    (document,) = documents(BASES + '[[fire]]\nname = "n"\ndotted = true')
    assert document["process.name"] == "a"
    assert "process" not in document


def test_a_value_in_the_way_of_an_object_leaves_the_path_dotted() -> None:
    text = '[events.e]\n"a" = 1\n"a.b.c" = 2\n"d.e" = 3\n"d" = 4\n[[fire]]\nname = "n"'
    (document,) = documents(text)
    del document["@timestamp"]
    assert document == {"a": 1, "a.b.c": 2, "d": 4, "d.e": 3}


def test_each_multiplies() -> None:
    cases = parse_cases(
        BASES + '[[quiet]]\nname = "n"\neach = { process.name = ["a", []], "host.id" = [1, 2, 3] }'
    )
    assert len(cases) == 6
    assert cases[0].name == "n [process.name='a', host.id=1]"
    assert {json.dumps(case.events[0]["process"]["name"]) for case in cases} == {'"a"', "[]"}


def test_each_of_an_event_is_its_own() -> None:
    events = '[{ event = "one", each = { a = [1, 2] } }, { event = "two", each = { a = [3, 4] } }]'
    cases = parse_cases(f'{TWO}[[fire]]\nname = "n"\nevents = {events}')
    assert [[event["a"] for event in case.events] for case in cases] == [[1, 3], [1, 4], [2, 3], [2, 4]]


def test_variables() -> None:
    one = '{ event = "one", set = { process.args = ["-o", ["$p"]] } }'
    two = '{ event = "two", set = { a = "$p", b = "$q", c = "p" } }'
    text = f'{TWO}[[fire]]\nname = "n"\neach = {{ "$p" = ["x", 7] }}\nevents = [{one}, {two}]'
    first, second = parse_cases(text)
    assert first.events[0]["process"]["args"] == ["-o", ["x"]]
    assert (second.events[1]["a"], second.events[1]["b"], second.events[1]["c"]) == (7, "$q", "p")
    assert "$p" not in first.events[0]


def test_times() -> None:
    text = (
        TWO
        + """\
[[fire]]
name = "n"
events = ["one", "two", { event = "one", at = "61s" }, { event = "two", at = "1000000001ns" }, "one"]
"""
    )
    assert [event["@timestamp"][14:] for event in documents(text)] == [
        "00:00.000000000Z",
        "00:00.001000000Z",
        "01:01.000000000Z",
        "00:01.000000001Z",
        "00:01.001000001Z",
    ]


def test_an_event_may_bring_its_own_time_or_none() -> None:
    own = '[[fire]]\nname = "n"\nset = { "@timestamp" = "2020" }\n'
    with_time, without = documents(f'{BASES}{own}[[fire]]\nname = "m"\nunset = ["@timestamp"]')
    assert with_time["@timestamp"] == "2020"
    assert "@timestamp" not in without


@pytest.mark.parametrize(
    ("block", "event_rule", "sequence"),
    [
        ('[[quiet]]\nname = "n"', (), ()),
        ('[[fire]]\nname = "n"\nevents = ["one", "one"]', ((0,), (1,)), ((0, 1),)),
        ('[[fire]]\nname = "n"\nevents = ["one", "one"]\nmatches = [[1, 0]]', ((1, 0),), ((1, 0),)),
    ],
)
def test_what_is_expected(block: str, event_rule: object, sequence: object) -> None:
    (case,) = parse_cases(BASES + block)
    assert case.expected(is_sequence=False) == event_rule
    assert case.expected(is_sequence=True) == sequence


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing required field `events`"),
        ("x = [", "Invalid value"),
        ("a = " + "[" * 100, "nested too deep"),
        (BASES + "[[fire]]", "missing required field `name` - at `$.fire[0]`"),
        (BASES + '[[fire]]\nname = "n"\nsets = {}', "unknown field `sets`"),
        (BASES + '[[fire]]\nname = "n"\nevent = "three"', "case `n`: no base event `three`"),
        (TWO + '[[fire]]\nname = "n"', "case `n`: no base event ``"),
        (BASES + '[[fire]]\nname = "n"\nevents = []', "case `n`: say either"),
        (BASES + '[[fire]]\nname = "n"\nevent = "one"\nevents = ["one"]', "case `n`: say either"),
        (BASES + '[[quiet]]\nname = "n"\nmatches = [[0]]', "makes no sense in a quiet case"),
        (BASES + '[[fire]]\nname = "n"\nunset = ["x.y"]', "there is no `x.y` to unset"),
        (BASES + '[[fire]]\nname = "n"\neach = { a = [] }', "`each` needs a list of values for `a`"),
        (BASES + '[[fire]]\nname = "n"\neach = { a = "b" }', "`each` needs a list of values for `a`"),
        (BASES + '[[fire]]\nname = "n"\nevents = [{ at = "31m" }]', "`at` must be a time"),
        (BASES + '[[fire]]\nname = "n"\nevents = [{ at = "5" }]', "`at` must be a time"),
        (BASES + '[[fire]]\nname = "n"\nevents = [5]', "$.fire[0].events[0]"),
    ],
)
def test_what_makes_no_sense(text: str, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        parse_cases(text)
    assert message in str(caught.value)


def test_too_many_cases() -> None:
    ten = "[0,1,2,3,4,5,6,7,8,9]"
    text = BASES + '[[fire]]\nname = "n"\neach = { ' + ", ".join(f"f{n} = {ten}" for n in range(30)) + " }"
    with pytest.raises(CaseError, match=f"`n`: stands for more than {MAX_CASES} cases"):
        parse_cases(text)


RULE = """\
[metadata]
maturity = "development"
[rule]
rule_id = "id-1"
name = "Example"
type = "eql"
language = "eql"
severity = "medium"
risk_score = 47
author = ["A"]
description = "D"
index = ["logs-*"]
query = 'process where process.name == "a"'
"""
FIRE = '[[fire]]\nname = "fires"\n'
MISSING = FIRE + 'unset = ["process.name"]\n'
QUIET = '[[quiet]]\nname = "is quiet"\nset = { process.name = "b" }\n'


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RULE)
    tests = tmp_path / "r.test.toml"
    for text, code, said in (
        (BASES + FIRE + QUIET, 0, "1 rules tested, 2 cases: 2 passed, 0 failed"),
        (BASES + FIRE + QUIET.replace("b", "a"), 1, "expected no match, found a match of events [0]"),
        (
            BASES + FIRE + 'unset = ["process.name"]\n' + QUIET,
            1,
            "expected a match of events [0], found no match",
        ),
        (BASES + FIRE, 1, "needs a [[fire]] and a [[quiet]]"),
        ("nonsense", 1, "1 test files could not be run"),
    ):
        tests.write_text(text)
        for path in (tmp_path, tests, tmp_path / "r.toml"):
            result = CliRunner().invoke(command, [str(path)])
            assert (result.exit_code, said in result.output) == (code, True), result.output


def test_a_missing_step_has_no_position(tmp_path: Path) -> None:
    absent = (
        "sequence with maxspan=1m [process where process.name == 'a'] ![process where process.name == 'b']"
    )
    query = absent.replace("'", '"')
    (tmp_path / "r.toml").write_text(RULE.replace('process where process.name == "a"', query))
    second = '{ event = "one", set = { process.name = "b" }, at = "1s" }'
    both = f'[[quiet]]\nname = "is quiet"\nevents = ["one", {second}]\n'
    (tmp_path / "r.test.toml").write_text(BASES + FIRE + both)
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert result.exit_code == 0, result.output


def test_rules_without_tests_and_tests_without_rules(tmp_path: Path) -> None:
    (tmp_path / "bare.toml").write_text(RULE)
    (tmp_path / "lone.test.toml").write_text(BASES + FIRE + QUIET)
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert result.exit_code == 1
    assert "bare.toml: no test file beside it" in result.output
    assert "lone.toml:1:1: error[E401]" in result.output


def test_nothing_to_run_is_no_success(tmp_path: Path) -> None:
    assert CliRunner().invoke(command, [str(tmp_path)]).exit_code == 1


def test_a_refused_and_a_deprecated_rule_cannot_be_tested(tmp_path: Path) -> None:
    tests = tmp_path / "r.test.toml"
    tests.write_text(BASES + FIRE + QUIET)
    for text, said in (
        (RULE.replace('"medium"', '"odd"'), "`rule.severity`"),
        (RULE.replace("development", "deprecated"), "deprecated"),
    ):
        (tmp_path / "r.toml").write_text(text)
        assert said in run(tests).trouble
        assert not run(tests).passed


def test_the_example_of_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rule-tests.md").read_text()
    example = text.split("```toml\n")[1].split("```")[0]
    assert [case.kind for case in parse_cases(example)] == ["fire"] * 5 + ["quiet"]
