"""The profile: answers stay the same, costs are found where they arise, reasons say why."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from daemon import RULES
from rich.console import Console

from detectord.cli.profile import show
from detectord.cli.replay import command
from detectord.compiler import compile_rule
from detectord.compiler.emit import Overflow
from detectord.demo.attacks import attacks, interleave
from detectord.demo.machines import fleet
from detectord.demo.traffic import events
from detectord.engine.tallies import Tallies
from detectord.eql import analyse
from detectord.eql.source import Source
from detectord.events.event import Event
from detectord.events.record import Record
from detectord.rules.rule import Rule
from detectord.runtime.profile import Profile, Reason, StepCost, because
from detectord.runtime.profiler import Profiler, operands
from detectord.runtime.replay import ReplayOptions, replay

START = 1_790_000_000 * 1_000_000_000
RECORD = Record("t", 0, 0, None, None, b"")


def rule(query: str) -> Rule:
    parsed = analyse(Source(query))
    assert parsed.query is not None, parsed.diagnostics
    return Rule(rule_id="r", name="R", query_text=query, query=parsed.query)


def reasons(query: str) -> list[str]:
    (tests, *_) = operands(rule(query))
    return [str(each) for each in because(tests, "event.category")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('process where process.name == "a"', []),
        ('process where process.name in~ ("a", "b") or process.pe.original_file_name == "c"', []),
        ('any where process.name == "a"', ["any where: asked of every event"]),
        ("process where process.pid > 4", [Reason.NO_LITERAL.why]),
        ('process where not process.name == "a"', [Reason.NO_LITERAL.why]),
        ('process where process.name == "a" or process.pid == 4', [Reason.NO_LITERAL.why]),
        ('process where host.name == "a"', [Reason.NO_LITERAL.why]),
        (
            'process where event.action == "a" and process.command_line regex "a+b"',
            ["regular expression on process.command_line, which is long"],
        ),
        ('process where event.action == "a" and process.name regex "a+b"', []),
        (
            'process where event.action == "a" and not process.args : ("*x", "y")',
            ["wildcards that begin with * on process.args, which is long"],
        ),
        ('process where event.action == "a" and process.args : "x*"', []),
        (
            'process where event.action == "a" and length(process.name) > length(process.args)',
            ["computes with process.name, process.args together: every combination of their values is tried"],
        ),
        ('process where event.action == "a" and length(process.name) > 3', []),
    ],
)
def test_reasons(query: str, expected: list[str]) -> None:
    assert reasons(query) == expected


def test_every_reason_says_what_would_help() -> None:
    assert all(reason.why and reason.advice for reason in Reason)


def profiled(query: str, documents: list[dict[str, object]], every: int = 1) -> tuple[Profile, list[bool]]:
    """The profile of a rule over events, by a clock that ticks 1,000 ns, and its answers."""
    plain = rule(query)
    ticks = itertools.count(0, 1_000)
    profiler = Profiler(every, lambda: next(ticks))
    matcher = profiler.wrapped(compile_rule(plain), Overflow()).steps[0].matcher
    found: Tallies = Tallies()
    look = profiler.around(matcher, found.update)
    answers = [look(Event(document, RECORD, None)) for document in documents]
    return Profile.of([plain], found), answers


DOCUMENTS: list[dict[str, object]] = [
    {"event": {"category": "process"}, "process": {"name": "a", "pid": 9}},
    {"event": {"category": "process"}, "process": {"name": "a", "pid": 1}},
    {"event": {"category": "process"}, "process": {"name": "b", "pid": 9}},
    {"event": {"category": "file"}, "process": {"name": "a", "pid": 9}},
] * 2  # fmt: skip
QUERY = 'process where process.name == "a" and process.pid > 4'


def test_events_are_timed_in_turns_as_a_whole_and_in_parts_with_the_same_answers() -> None:
    profile, answers = profiled(QUERY, DOCUMENTS)
    assert answers == [True, False, False, False] * 2
    assert (profile.events, profile.parted) == (4, 4)
    (step,) = profile.steps
    assert (step.rule_id, step.step, step.calls, step.true) == ("r", 0, 1.0, 0.0)
    assert step.because == ()
    asked = {cost.text: cost.calls for cost in profile.predicates}
    # In parts are the first and the third of four: one is not of the program, so that it goes no further
    assert asked == {
        "member text event.category {'process'}": 1.0,
        "member text process.name {'a'}": 1.0,
        "range numbers process.pid > 4": 0.5,
    }
    assert {cost.text for cost in profile.fields} == {"event.category", "process.name", "process.pid"}


def test_between_the_events_looked_at_nothing_is_timed() -> None:
    profile, answers = profiled(QUERY, DOCUMENTS, every=4)
    assert answers == [True, False, False, False] * 2
    assert (profile.events, profile.parted) == (1, 1)
    assert profile.steps[0].calls == 1.0


def test_too_short_for_a_profile_is_no_profile() -> None:
    profile, _ = profiled(QUERY, DOCUMENTS, every=100)
    assert profile == Profile(0, 0, 0.0, 0.0, (), (), ())


def test_a_clock_that_ticks_evenly_makes_matchers_cost_nothing() -> None:
    profile, _ = profiled(QUERY, DOCUMENTS)
    assert profile.matching == 0.0  # one tick between two readings is the reading itself


@pytest.mark.parametrize("workers", [1, 2])
def test_a_profile_changes_no_alert(workers: int, tmp_path: Path) -> None:
    hosts = fleet(3, 10)
    traffic = events(3, 600, START, hosts)
    lines = interleave(traffic, attacks(hosts, START))
    source = tmp_path / "events.ndjson"
    source.write_text("".join(json.dumps(document) + "\n" for document in lines))
    ids: list[list[str]] = []
    for every in (0, 1):
        output = tmp_path / "alerts.ndjson"
        summary = replay(
            ReplayOptions(
                rules=[RULES], inputs=[str(source)], output=str(output), workers=workers, profile_every=every
            )
        )
        ids.append([json.loads(line)["kibana.alert.uuid"] for line in output.read_text().splitlines()])
        profile = summary.profile
        assert (profile.events > 0) == (every == 1)
    assert ids[0] == ids[1] != []
    assert profile.events + profile.parted == summary.records
    assert 0 < profile.matching < profile.micros
    assert {step.name for step in profile.steps} <= {each.name for each in summary.loaded.rules}


def test_the_command_prints_tables_on_standard_error(tmp_path: Path) -> None:
    source = tmp_path / "events.ndjson"
    source.write_text("".join(json.dumps(document) + "\n" for document in events(3, 100, START)))
    run = CliRunner().invoke(
        command, ["--rules", str(RULES), "--input", str(source), "--profile", "--profile-every", "2"]
    )
    assert run.exit_code == 0, run.output
    assert "profile of 50 events" in run.stderr
    for title in ("rules by cost", "predicates by cost", "fields by cost", "event.category"):
        assert title in run.stderr
    assert "profile" not in run.stdout
    few = CliRunner().invoke(
        command, ["--rules", str(RULES), "--input", str(source), "--profile", "--profile-every", "500"]
    )
    assert "too few events" in few.stderr


def test_tables_with_nothing_in_them_are_not_shown() -> None:
    out = io.StringIO()
    show(Profile(3, 2, 10.0, 0.0, (), (), ()), Console(file=out))
    assert out.getvalue().startswith("profile of 5 events: 10.0 µs an event, ")
    assert out.getvalue().count("\n") == 1
    asked = StepCost("r", "R", 0, 1.0, 0.5, 0.5, ())
    show(Profile(3, 2, 10.0, 1.0, (asked,), (), ()), Console(file=out))
    assert "predicates by cost: none was timed in these events\n" in out.getvalue()
