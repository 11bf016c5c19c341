"""Printing: the canonical text of a tree, and the way back."""

from __future__ import annotations

import ast_strategies
import pytest
from hypothesis import given, settings

from detectord.eql import ast, parser, printer
from detectord.eql.source import Source


@settings(max_examples=400)
@given(ast_strategies.queries)
def test_printing_then_parsing_is_identity(query: ast.Query) -> None:
    text = printer.to_text(query)
    found = parser.parse(Source(text))
    assert found.diagnostics == ()
    assert found.query == query
    assert printer.to_text(found.query) == text


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("any   where((a))", "any where a"),
        ('"any" where true', '"any" where true'),
        ('"process" where true', "process where true"),
        ("any where (a and b) and c or d", "any where (a and b) and c or d"),
        ("any where a and (b or c)", "any where a and (b or c)"),
        ("any where not (a == b)", "any where not a == b"),
        ("any where (not a) == b", "any where (not a) == b"),
        ("any where a - (b - c) - d", "any where a - (b - c) - d"),
        ("any where (a * b) + c", "any where a * b + c"),
        ("any where - - +5 == 5.", "any where --5 == 5.0"),
        ('any where (a : "x") == true', 'any where a : "x" == true'),
        ('any where (-a) like ("x")', 'any where (-a) like "x"'),
        ("any where a.`b c`.d == ?`e`", "any where `a.b c.d` == ?e"),
        ("any where a.by == `by`.a", "any where a.by == `by.a`"),
        (r'any where a == """C:\x"y"""', r'any where a == "C:\\x\"y"'),
        (r'any where a == "\u{e9}\u{07}\t\u{200b}"', r'any where a == "é\u{07}\t\u{200b}"'),
        ("any where ENDSWITH~ (a,b)", "any where ENDSWITH~(a, b)"),
        ("any where a not in~(1,null)", "any where a not in~ (1, null)"),
        (
            "sequence by a,?b with maxspan = 3600 s [any where true]by c with runs = 2 ![x where a] "
            "until[y where b]|head 5|tail",
            "sequence by a, ?b with maxspan=1h\n  [any where true] by c with runs=2\n  ![x where a]\n"
            "until [y where b]\n| head 5\n| tail",
        ),
        ("sample by a [any where b] [c where d]", "sample by a\n  [any where b]\n  [c where d]"),
        ("any where child of [process where a]", "any where child of [process where a]"),
    ],
)
def test_canonical_text(written: str, printed: str) -> None:
    query = parser.parse(Source(written)).query
    assert query is not None
    assert printer.to_text(query) == printed


@pytest.mark.parametrize("word", ast_strategies.KEYWORDS)
def test_a_keyword_is_quoted_where_a_field_begins(word: str) -> None:
    assert printer.expression_text(ast.Field(word)) == f"`{word}`"
    assert printer.expression_text(ast.Field(f"{word}.x")) == f"`{word}.x`"
    assert printer.expression_text(ast.Field(f"x.{word}")) == f"x.{word}"


@pytest.mark.parametrize("word", ["runs", "head", "child", "AND", "True", "event", "as", "fork"])
def test_other_words_are_not(word: str) -> None:
    assert printer.expression_text(ast.Field(word)) == word


def test_keywords_are_those_of_the_grammar() -> None:
    words = {word for word in parser.literals() if word.isalpha()}
    assert words == set(ast_strategies.KEYWORDS)
