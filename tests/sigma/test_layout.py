"""A query laid out is the query: the text parses to the tree that was given."""

from __future__ import annotations

from ast_strategies import queries
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detectord.eql import ast, parse
from detectord.eql.source import Source
from detectord.sigma import layout


def condition_of(text: str) -> ast.Expr:
    query = parse(Source(text)).query
    assert query is not None, text
    assert isinstance(query.body, ast.EventQuery)
    return query.body.condition


@given(queries, st.integers(20, 60))
@settings(max_examples=500)
def test_laid_out_text_is_the_tree(query: ast.Query, width: int) -> None:
    assume(isinstance(query.body, ast.EventQuery))
    assert isinstance(query.body, ast.EventQuery)
    condition = query.body.condition
    text = layout.event_query("process", condition, width=width)
    assert condition_of(text) == condition


@given(queries)
def test_flat_is_flat(query: ast.Query) -> None:
    assume(isinstance(query.body, ast.EventQuery))
    assert isinstance(query.body, ast.EventQuery)
    flat = layout.flat(query.body.condition)
    assert layout.flat(flat) == flat
    waiting = [flat]
    while waiting:
        expr = waiting.pop()
        if isinstance(expr, (ast.And, ast.Or)):
            assert not any(type(operand) is type(expr) for operand in expr.operands)
        if isinstance(expr, (ast.And, ast.Or, ast.Not)):
            waiting.extend(ast.children(expr))


def test_flat_gathers_patterns_of_one_field() -> None:
    given_text = (
        'any where (a : "1" or (b : "2" or a : ("3", "1"))) and (c : "x" and not (d : "1" or d : "2"))'
    )
    expected = 'any where (a : ("1", "3") or b : "2") and c : "x" and not d : ("1", "2")'
    assert layout.flat(condition_of(given_text)) == condition_of(expected)


def test_sequence() -> None:
    short = condition_of('any where a == "1"')
    long = condition_of(f'any where a == "{"1" * 90}" and b : ("x", "y")')
    text = layout.sequence([("process", short, ["host.id", "a-b"]), (None, long, ["host.id", "c"])], "60s")
    assert text == (
        "sequence with maxspan=60s\n"
        '  [process where a == "1"] by host.id, `a-b`\n'
        "  [any where\n"
        f'    a == "{"1" * 90}" and\n'
        '    b : ("x", "y")\n'
        "  ] by host.id, c"
    )
    assert parse(Source(text)).query is not None
