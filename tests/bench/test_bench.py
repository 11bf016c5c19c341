"""The bench itself: every section runs, at a scale whose figures mean nothing; the form of its results."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import msgspec
import pytest
from kafkanodes import Cluster

from bench import floor, workload
from bench.__main__ import SECTIONS, main
from bench.context import Engine
from bench.engine import exact_per_event
from bench.eql_package import flattened
from bench.results import Results
from bench.ruleset import SHIPPED, RuleSets, at_hand, derived
from bench.scale import TINY
from detectord.compiler import compile_rule
from detectord.eql import analyse
from detectord.eql.source import Source
from detectord.rules.rule import Rule

NAMES = {
    "engine": [
        "decode_floor",
        "engine_",
        "exact_per_event",
        "cold_start",
        "after_reload",
        "rules_2",
        "rules_x10_20",
    ],
    "eql": ["eql_package", "eql_package_rules"],
    "hostile": ["hostile", *(f"hostile_{kind}" for kind in workload.HOSTILE)],
    "loading": ["load_cold", "load_cached", "load_one_changed", "reload_pause"],
    "partials": ["partials_mb", "partials_insert", "partials_advance", "partials_expire"],
    "workers": ["two_cores", "two_workers", "two_workers_cpu", "supervisor", "supervisor_keyed"],
    "broker": ["embedded_broker"],
    "kafka": [
        "kafka",
        *(
            f"kafka_{mode}{rest}"
            for mode in ("at_least_once", "exactly_once")
            for rest in ("", "_event_p50", "_event_p99", "_sequence_p50", "_sequence_p99")
        ),
    ],
}
"""Lines that a section must have, by how their names begin."""


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_runs_and_writes_its_lines(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if section == "eql":
        pytest.importorskip("eql.engine", reason="the eql package (the extra `bench`) is not installed")
    if section == "kafka":
        cluster: Cluster = request.getfixturevalue("real_kafka")
        monkeypatch.setenv("DETECTORD_TEST_KAFKA", cluster.bootstrap_servers)
    output = tmp_path / "results" / "latest.json"
    main(["--only", section, "--scale", "tiny", "--output", str(output), "--keep"])
    assert len(list(output.parent.iterdir())) == 2
    document = json.loads(output.read_bytes())
    assert set(document) == {"machine", "versions", "commit", "lines"}
    assert document["versions"]["python"] == sys.version.split()[0]
    assert document["machine"]["scale"] == "tiny"
    results = msgspec.convert(document, Results)
    names = [line.name for line in results.lines]
    assert len(set(names)) == len(names)
    for name in NAMES[section]:
        assert any(line.startswith(name) for line in names), names
    for line in document["lines"]:
        assert set(line) == {"name", "value", "unit", "against", "ratio"}
        assert (line["ratio"] is None) == (line["against"] is None)


def test_an_unknown_section_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "engine,tyres"])
    assert "no such section: tyres" in capsys.readouterr().err


def rule(query: str) -> Rule:
    parsed = analyse(Source(query))
    assert parsed.query is not None, parsed.diagnostics
    return Rule(rule_id="r", name="R", query_text=query, query=parsed.query)


def test_a_derived_rule_has_other_literals_and_sorts_events_alike() -> None:
    original = rule(
        'process where event.action == "start" and process.name in ("cmd.exe", "sh") '
        'and process.args : "*secret*" and process.args_count > 2 and process.title regex "ab+c"'
    )
    first, second = derived(original, 1), derived(original, 12)
    assert compile_rule(first).steps[0].source != compile_rule(second).steps[0].source
    source = compile_rule(first).steps[0].source
    assert "'start'" in source
    assert "'ab+c'" in source
    assert "'cmd.exe'" not in source
    assert "'*secret*'" not in source
    assert "secretqb" in source
    assert first.rule_id != second.rule_id != original.rule_id


def test_rule_sets_grow_by_derived_rules_and_shrink_by_leaving_out() -> None:
    shipped = at_hand(SHIPPED)
    sets = RuleSets(shipped)
    assert [compiled.rule for compiled in sets.at_hand] == shipped
    more = sets.first(3 * len(shipped))
    assert len({compiled.rule.rule_id for compiled in more}) == 3 * len(shipped)
    assert len({compiled.match_hash for compiled in more}) > 2 * len(shipped)
    fewer = sets.first(2)
    assert fewer[0].rule is shipped[0]
    assert len(fewer) == 2


def test_the_floor_reads_what_rules_read_and_takes_every_event() -> None:
    rules = [
        compile_rule(rule('sequence by user.id [file where file.path == "a"] [file where file == "b"]')),
        compile_rule(rule("process where process.args_count > 1")),
    ]
    assert floor.paths(rules) == {
        *floor.ALWAYS, "event.category", "user.id", "file.path", "file", "process.args_count",
    }  # fmt: skip
    decode = floor.decoder(rules)
    for hostile in (
        b'{"file":{"path":["a",{"b":1}]}}',
        b'{"file":"b"}',
        b'{"file":[{"path":1}],"process":7}',
    ):
        assert decode(hostile) is not None
    decode(workload.synthetic(1)[0])


def test_the_workload_is_seeded_and_of_every_kind() -> None:
    values = workload.synthetic(2_000)
    assert values == workload.synthetic(2_000)
    assert values != workload.synthetic(2_000, seed=1)
    documents = [json.loads(value) for value in values]
    categories = {category for document in documents for category in document["event"]["category"]}
    assert categories >= {"process", "file", "network", "registry", "library"}
    assert any("dns" in document for document in documents)
    assert {document["host"]["os"]["type"] for document in documents} == {"linux", "windows"}
    sizes = sorted(map(len, values))
    assert sizes[0] > 500
    assert 1_500 < sizes[len(sizes) // 2] < 3_000


@pytest.mark.parametrize("kind", workload.HOSTILE)
def test_a_hostile_stream_is_events_all_the_same(kind: str) -> None:
    stream = workload.HOSTILE[kind](1_000_000)
    assert 1_000_000 <= sum(map(len, stream)) < 2_100_000
    engine = Engine([compile_rule(rule("any where true"))])
    assert engine.run(workload.records(stream)) == len(stream)


def test_exact_evaluations_are_calls_of_matchers() -> None:
    compiled = compile_rule(rule("any where host.id != null"))
    twin = dataclasses.replace(compiled, rule=dataclasses.replace(compiled.rule, rule_id="twin"))
    assert exact_per_event([compiled, twin], workload.records(workload.synthetic(10))) == 2


def test_flattened_keeps_the_first_of_an_array() -> None:
    assert flattened({"a": [{"b": ["x", "y"]}, 1], "c": []}) == {"a": {"b": "x"}, "c": None}
    assert TINY.only_shipped
