"""Rules to compiled rules: stages, steps, names, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import golden
import pytest

from detectord.batch import match_rule
from detectord.compiler import STAGES, CompiledRule, Draft, RuleSet, compile_rule
from detectord.compiler.compiled import KeyField
from detectord.eql import ast, parse
from detectord.eql.source import Source
from detectord.events.event import Event
from detectord.events.record import Record
from detectord.rules.rule import Rule

GOLDENS = sorted(Path(__file__).parent.parent.joinpath("stages").glob("*.eql"))


def rule(query: str | ast.Query, **fields: Any) -> Rule:
    if isinstance(query, str):
        found = parse(Source(query)).query
        assert found is not None
        query = found
    return Rule(**{"rule_id": "r", "name": "r", "query_text": "", "query": query, **fields})


def event(document: dict[str, Any]) -> Event:
    return Event(document, Record("", 0, 0, None, None, b""), None)


def condition(expr: ast.Expr) -> CompiledRule:
    return compile_rule(rule(ast.Query(ast.EventQuery(None, expr))))


def satisfies(expr: ast.Expr, document: dict[str, Any]) -> bool:
    return condition(expr).steps[0].matcher(event(document))


# --- stages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_stages(path: Path, update_goldens: bool) -> None:
    draft = Draft.of(rule(path.read_text(encoding="utf-8")))
    shown = []
    for stage in STAGES:
        draft = stage(draft)
        texts = [step.text() for step in draft.steps]
        shown.append(f"=== {stage.__name__}\n" + "--- next step\n".join(texts))
    golden.check(path.with_suffix(".ir"), "\n".join(shown), update=update_goldens)


def test_stages_are_timed_by_name() -> None:
    timed: list[str] = []

    @contextmanager
    def timer(stage: str) -> Iterator[None]:
        yield
        timed.append(stage)

    compile_rule(rule("any where true"), timed=timer)
    assert (
        timed
        == [stage.__name__ for stage in STAGES]
        == [
            "lower",
            "simplify",
            "separate",
            "order",
            "emit",
        ]
    )


def test_the_source_is_what_runs() -> None:
    compiled = compile_rule(rule('process where a : ("b*", "c") and d == 5 and length(e) > 2'))
    again = compile_rule(rule('process where a : ("b*", "c") and d == 5 and length(e) > 2'))
    assert compiled.steps[0].source == again.steps[0].source
    assert "def matcher(event, named=NOTHING):" in compiled.steps[0].source


def test_nothing_of_a_query_becomes_code() -> None:
    nasty = '\'); raise SystemExit #\n\\"""'
    for expr in (
        ast.Comparison("==", ast.Field(nasty), ast.Literal(nasty)),
        ast.Pattern(":", ast.Field(nasty), (ast.Literal(nasty + "*"),)),
        ast.Comparison(
            "==", ast.Call("concat", (ast.Field(nasty), ast.Literal(nasty))), ast.Literal(nasty * 2)
        ),
    ):
        assert satisfies(expr, {nasty: nasty})


# --- size --------------------------------------------------------------------------------------


def equals(path: str, value: str) -> ast.Comparison:
    return ast.Comparison("==", ast.Field(path), ast.Literal(value))


def test_long_lists() -> None:
    items = tuple(ast.Literal(f"item {n}") for n in range(5_000))
    assert satisfies(ast.In(ast.Field("x"), items), {"x": "item 4999"})
    wild = tuple(ast.Literal(f"a{n}*b{n}") for n in range(2_000))
    assert satisfies(ast.Pattern(":", ast.Field("x"), wild), {"x": "A1999--b1999"})
    apart = tuple(equals(f"x{n}", "v") for n in range(3_000))
    assert satisfies(ast.Or(apart), {"x2999": "v"})
    assert not satisfies(ast.And(apart), {"x2999": "v"})


def test_deep_conditions() -> None:
    negations: ast.Expr = equals("x", "v")
    mixed: ast.Expr = equals("x0", "v")
    total: ast.Expr = ast.Field("x")
    for n in range(1, 200):
        negations = ast.Not(negations)
        kind = (ast.And, ast.Or)[n % 2]
        mixed = kind((equals(f"x{n}", "v"), mixed)) if n % 3 else ast.Not(mixed)
        total = ast.Arithmetic("+", total, ast.Literal(1))
    assert satisfies(negations, {})
    assert isinstance(satisfies(mixed, {"x0": "v"}), bool)
    assert satisfies(ast.Comparison("==", total, ast.Literal(206)), {"x": 7})


def test_what_is_nested_without_bounds_is_refused() -> None:
    expr: ast.Expr = equals("x", "v")
    for _ in range(100_000):
        expr = ast.Not(expr)
    with pytest.raises(ValueError, match="too deep"):
        condition(expr)
    while isinstance(expr, ast.Not):  # freed level by level: deallocation recurses, too
        expr = expr.operand


# --- rules -------------------------------------------------------------------------------------

SEQUENCE = (
    "sequence by host.id, ?user.name with maxspan=30s "
    "[process where a == 1] by pid [file where b == 2] by ppid"
)


def test_an_event_rule() -> None:
    compiled = compile_rule(rule("process where a == 1", timestamp_field="t", tiebreaker_field="b"))
    assert (compiled.is_sequence, compiled.maxspan, compiled.host_position) == (False, None, None)
    assert (compiled.category_field, compiled.timestamp_field, compiled.tiebreaker_field) == (
        "event.category",
        "t",
        "b",
    )
    assert [(step.category, step.keys) for step in compiled.steps] == [("process", ())]


def test_a_sequence_rule() -> None:
    compiled = compile_rule(rule(SEQUENCE, category_field="event.type"), types={"ppid": "long"})
    assert (compiled.is_sequence, compiled.maxspan, compiled.host_position) == (True, 30 * 10**9, 0)
    host, user = KeyField("host.id"), KeyField("user.name", optional=True)
    assert [step.keys for step in compiled.steps] == [
        (host, user, KeyField("pid")),
        (host, user, KeyField("ppid", type="long")),
    ]
    first, second = (step.matcher for step in compiled.steps)
    both = event({"event.type": ["process", "file"], "a": 1, "b": 2})
    assert first(both)
    assert second(both)
    assert not first(event({"event.category": "process", "a": 1}))


def test_a_sequence_without_maxspan_spans_the_look_back() -> None:
    text = "sequence [any where true] [any where true]"
    assert compile_rule(rule(text, look_back=540 * 10**9)).maxspan == 540 * 10**9


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("sequence by user.name, host.id [any where true] [any where true]", 1),
        ("sequence [any where true] by host.id [any where true] by host.id", 0),
        ("sequence [any where true] by host.id [any where true] by host.name", None),
        ("sequence by ?host.id [any where true] [any where true]", 0),
        ("sequence by host.id [any where true] [any where child of [any where x == 1]]", 0),
        ("sequence [any where true] [any where true]", None),
    ],
)
def test_host_position(query: str, position: int | None) -> None:
    assert compile_rule(rule(query)).host_position == position


@pytest.mark.parametrize(
    "body",
    [
        ast.Join((ast.Step(ast.EventQuery(None, ast.Literal(True))),)),
        ast.EventQuery(None, ast.Literal("x")),
        ast.EventQuery(None, ast.Negative(ast.Field("x"))),
    ],
)
def test_what_is_refused_before_is_an_error_here(body: Any) -> None:
    with pytest.raises(ValueError, match=r"supported|condition"):
        compile_rule(rule(ast.Query(body)))


def test_roles_stages_and_places() -> None:
    text = """sequence by k with maxspan=1m
      ![any where a == 1] with runs=2 [any where b == 1] with runs=3 ![any where c == 1]
      [any where d == 1] until [any where e == 1]"""
    compiled = compile_rule(rule(text))
    assert [(step.role.value, step.stage, step.runs, step.place) for step in compiled.steps] == [
        ("missing", 0, 2, 0),
        ("positive", 0, 3, 2),
        ("missing", 1, 1, 5),
        ("positive", 1, 1, 6),
        ("until", 0, 1, 0),
    ]
    assert (compiled.kind, compiled.places, compiled.length) == ("sequence", (2, 3, 4, 6), 7)


def test_a_sample_has_the_look_back_as_its_window() -> None:
    compiled = compile_rule(rule("sample by k [a where true] [b where true]", look_back=540 * 10**9))
    assert (compiled.kind, compiled.is_sequence, compiled.maxspan) == ("sample", True, 540 * 10**9)


def test_a_step_that_reads_names_says_at_once_what_it_can() -> None:
    text = """sequence by k with maxspan=1m [any where true] with runs=2 [any where true] as one
      [any where a == 1 and (b == 2 or one.c == c) and not one.d == d] with runs=2"""
    *_, third, fourth = compile_rule(rule(text)).steps
    assert [(step.stage, step.runs, step.place, step.reads) for step in (third, fourth)] == [
        (2, 1, 3, (("one", 2),)),
        (3, 1, 4, (("one", 2),)),
    ]
    assert third.matcher is not None
    assert third.joint is not None
    assert third.matcher(event({"a": 1}))
    assert not third.matcher(event({"b": 2}))
    company = {"one": event({"c": 5, "d": 6})}
    assert third.joint(event({"a": 1, "c": 5}), company)
    assert not third.joint(event({"a": 1, "c": 5, "d": 6}), company)
    assert not third.joint(event({"a": 1, "c": 7}), company)


def test_what_asks_for_relatives_is_kept_by_host() -> None:
    inner = "[process where a == 1 and event of [process where b == 1]]"
    compiled = compile_rule(rule(f"sequence by k [any where not child of {inner}] [any where true]"))
    assert (compiled.hidden_keys, compiled.host_position, compiled.asks_for_relatives) == (1, 0, True)
    assert [(step.role.value, step.stage, [key.path for key in step.keys]) for step in compiled.steps] == [
        ("positive", 0, ["host.id", "k"]),
        ("positive", 1, ["host.id", "k"]),
        ("inner", 0, ["host.id"]),
        ("inner", 1, ["host.id"]),
    ]
    first, _, outer, _ = compiled.steps
    assert first.joint is not None
    assert outer.joint is not None
    assert first.matcher(event({}))
    assert not outer.matcher(event({"event.category": "process"}))
    assert first.joint(event({}), {"child of": lambda inner: inner != 0})
    assert not first.joint(event({}), {"child of": lambda inner: inner == 0})


def test_a_sequence_of_an_endpoint_rule_is_of_one_host() -> None:
    text = (
        "sequence with maxspan=1m [file where true] by file.path [process where true] by process.executable"
    )
    compiled = compile_rule(rule(text, dialect="endpoint"))
    assert (compiled.hidden_keys, compiled.host_position) == (1, 0)
    written = {"event.category": "file", "file.path": "/tmp/x", "@timestamp": "2026-03-01T10:00:00Z"}
    ran = {"event.category": "process", "process.executable": "/tmp/x", "@timestamp": "2026-03-01T10:00:05Z"}
    on_one = match_rule(compiled, [{**written, "host.id": "a"}, {**ran, "host.id": "a"}])
    assert [(found.events, found.join_keys) for found in on_one] == [((0, 1), ("/tmp/x",))]
    assert match_rule(compiled, [{**written, "host.id": "a"}, {**ran, "host.id": "b"}]) == []
    assert len(match_rule(compiled, [written, ran])) == 1


def test_match_hash() -> None:
    base = rule(SEQUENCE, index=("logs-*",))
    name = compile_rule(base).match_hash
    spaced = rule("  " + SEQUENCE.replace(" [", "\n  ["), index=("logs-*",))
    same = [spaced, dataclasses.replace(base, severity="high", version=9, rule_id="other", look_back=5)]
    assert {compile_rule(other).match_hash for other in same} == {name}
    different = [
        rule(SEQUENCE.replace("30s", "31s"), index=("logs-*",)),
        rule(SEQUENCE.replace("b == 2", 'b == "2"'), index=("logs-*",)),
        rule(SEQUENCE.replace("?user", "user"), index=("logs-*",)),
        rule(SEQUENCE),
        dataclasses.replace(base, index=("logs-*", "-logs-x")),
        dataclasses.replace(base, category_field="event.type"),
        dataclasses.replace(base, timestamp_field="event.created"),
        dataclasses.replace(base, tiebreaker_field="event.sequence"),
    ]
    assert len({name, *(compile_rule(other).match_hash for other in different)}) == len(different) + 1
    assert len(name) == 32


def test_match_hash_tells_true_from_one_and_text_from_structure() -> None:
    exprs = [
        ast.Comparison("==", ast.Field("x"), ast.Literal(value))
        for value in (True, 1, 1.0, "1", "True", None)
    ]
    exprs += [
        ast.Comparison("==", ast.Field("x y"), ast.Literal(1)),
        ast.Comparison("==", ast.Field("x"), ast.Field("1")),
    ]
    assert len({condition(expr).match_hash for expr in exprs}) == len(exprs)


def test_a_rule_set_is_ordered_and_digested() -> None:
    one = compile_rule(rule("any where true", rule_id="b", content_hash="1"))
    two = compile_rule(rule("any where true", rule_id="a", content_hash="2"))
    assert [compiled.rule.rule_id for compiled in RuleSet.of([one, two]).rules] == ["a", "b"]
    assert RuleSet.of([one, two]).digest == RuleSet.of([two, one]).digest
    changed = compile_rule(rule("any where true", rule_id="a", content_hash="3"))
    assert RuleSet.of([one, changed]).digest != RuleSet.of([one, two]).digest
    assert RuleSet.of([]).rules == ()
