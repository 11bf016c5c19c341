"""Parsing: which text gives which tree, and that no text takes long."""

from __future__ import annotations

import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from detectord.eql import ast, parser, printer
from detectord.eql.ast import (
    And,
    Arithmetic,
    Call,
    Comparison,
    Field,
    In,
    Lineage,
    Literal,
    Negative,
    Not,
    Or,
    Pattern,
)
from detectord.eql.diagnostics import Code
from detectord.eql.source import Source, Span

A, B, C, D = Field("a"), Field("b"), Field("c"), Field("d")
ONE, TWO = Literal(1), Literal(2)


def tree(text: str) -> ast.Query:
    query, diagnostics = parser.parse(Source(text))
    assert diagnostics == ()
    assert query is not None
    return query


def expression(text: str) -> ast.Expr:
    body = tree(f"any where {text}").body
    assert isinstance(body, ast.EventQuery)
    return body.condition


def codes(text: str) -> list[Code]:
    query, diagnostics = parser.parse(Source(text))
    assert query is None
    return [found.code for found in diagnostics]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a or b and not c", Or((A, And((B, Not(C)))))),
        ("a and b and c and d", And((A, B, C, D))),
        ("(a and b) and c", And((And((A, B)), C))),
        ("a or (b or c)", Or((A, Or((B, C))))),
        ("not not a", Not(Not(A))),
        ("not a == b", Not(Comparison("==", A, B))),
        ("(a == b) != (c < d)", Comparison("!=", Comparison("==", A, B), Comparison("<", C, D))),
        ("a - b - c == -1", Comparison("==", Arithmetic("-", Arithmetic("-", A, B), C), Negative(ONE))),
        (
            "a + b * c % d > 1",
            Comparison(">", Arithmetic("+", A, Arithmetic("%", Arithmetic("*", B, C), D)), ONE),
        ),
        ("-a / b <= +1", Comparison("<=", Arithmetic("/", Negative(A), B), ONE)),
        ("a - -1", Arithmetic("-", A, Negative(ONE))),
        ("a - 1", Arithmetic("-", A, ONE)),
        ("a-1", Arithmetic("-", A, ONE)),
        ('a + b : "x"', Arithmetic("+", A, Pattern(":", B, (Literal("x"),)))),
        ('not a : "x"', Not(Pattern(":", A, (Literal("x"),)))),
        ('a regex~ ("x", "y")', Pattern("regex~", A, (Literal("x"), Literal("y")))),
        ('a like ("x")', Pattern("like", A, (Literal("x"),))),
        ('"x" like~ "y"', Pattern("like~", Literal("x"), (Literal("y"),))),
        ("a : null", Pattern(":", A, (Literal(None),))),
        ("a : 4", Pattern(":", A, (Literal(4),))),
        ("a in (1, b + 2)", In(A, (ONE, Arithmetic("+", B, TWO)))),
        ("a not in~ (1)", In(A, (ONE,), insensitive=True, negated=True)),
        ("not a in (1)", Not(In(A, (ONE,)))),
        ("-a in (1)", Negative(In(A, (ONE,)))),
        ("endsWith~(a, b)", Call("endsWith", (A, B), insensitive=True)),
        ("f()", Call("f", ())),
        ("f (g(a), 1 == 2)", Call("f", (Call("g", (A,)), Comparison("==", ONE, TWO)))),
        ("null == true", Comparison("==", Literal(None), Literal(True))),
        ("child of [process where a]", Lineage("child", ast.EventQuery("process", A))),
        ("not event of [any where a] and b", And((Not(Lineage("event", ast.EventQuery(None, A))), B))),
        ("of_ and event.of", And((Field("of_"), Field("event.of")))),
    ],
)
def test_expressions(text: str, expected: ast.Expr) -> None:
    assert expression(text) == expected


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("process.parent.name", "process.parent.name"),
        ("?process.name", "process.name"),
        ("? process /* c */ . // c\n name", "process.name"),
        ("@timestamp", "@timestamp"),
        ("event.sequence", "event.sequence"),
        ("a.any.not.in", "a.any.not.in"),
        ("`sequence`", "sequence"),
        ("?`my-field`.x", "my-field.x"),
        ("a.`b/c.d`.`0`", "a.b/c.d.0"),
        ("`a``b`", "a`b"),
        ("`?`", "?"),
        ("_x", "_x"),
        ("AND", "AND"),
        ("runs", "runs"),
        ("True", "True"),
    ],
)
def test_fields(text: str, path: str) -> None:
    assert expression(text) == Field(path, optional=text.startswith("?"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"plain"', "plain"),
        ('""', ""),
        (r'"\b\t\n\f\r\"\'\\"', "\b\t\n\f\r\"'\\"),
        (r'"\u{41}\u{0041}\u{1F600}\u{0001f600}"', "AA😀😀"),
        (r'"\\u{41}"', r"\u{41}"),
        ('"// no /* comment"', "// no /* comment"),
        ('""""""', ""),
        ('"""""""', '"'),
        ('""""""""', '""'),
        ('"""""hello"""', '""hello'),
        ('"""foo""""', 'foo"'),
        ('"""a"b"""""', 'a"b""'),
        (r'"""C:\a\*"""', r"C:\a\*"),
        ('"""a""b"c"""', 'a""b"c'),
        ("5", 5),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
        ("0" * 500 + "1", 1),
        ("5.", 5.0),
        ("5.2", 5.2),
        (".5", 0.5),
        ("5e3", 5000.0),
        (".5e-3", 0.0005),
        ("5.2E+1", 52.0),
        ("1e-999", 0.0),
        ("true", True),
        ("null", None),
    ],
)
def test_literals(text: str, value: ast.Value) -> None:
    found = expression(text)
    assert isinstance(found, Literal)
    assert (found.value, type(found.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (r'"a\"', Code.UNTERMINATED_STRING),
        ('"""a""', Code.UNTERMINATED_STRING),
        ('""""""hello"""', Code.UNTERMINATED_STRING),
        (r'"\d"', Code.BAD_ESCAPE),
        (r'"\u41"', Code.BAD_ESCAPE),
        (r'"\u{1}"', Code.BAD_CODE_POINT),
        (r'"\u{123456789}"', Code.BAD_CODE_POINT),
        (r'"\u{dfff}"', Code.BAD_CODE_POINT),
        (r'"\u{110000}"', Code.BAD_CODE_POINT),
        (r'"\u{xy}"', Code.BAD_CODE_POINT),
        ("'a'", Code.SINGLE_QUOTES),
        ("it's", Code.SINGLE_QUOTES),
        ('?"a"', Code.LEGACY_RAW_STRING),
        ("?'a'", Code.LEGACY_RAW_STRING),
        ("`a", Code.UNTERMINATED_NAME),
        ("``", Code.EMPTY_NAME),
        ("a /* b /* c */", Code.UNTERMINATED_COMMENT),
        ("a\u00a0== 1", Code.UNEXPECTED_CHARACTER),
        ("a\x0b== 1", Code.UNEXPECTED_CHARACTER),
        ("naïve == 1", Code.UNEXPECTED_CHARACTER),
        ("a == 1;", Code.UNEXPECTED_CHARACTER),
        ("!a", Code.UNEXPECTED_CHARACTER),
        ("_f~(a)", Code.UNEXPECTED_CHARACTER),
        ("f ~(a)", Code.UNEXPECTED_CHARACTER),
        ("a~", Code.UNEXPECTED_END),
        ("a in ~ (1)", Code.UNEXPECTED_CHARACTER),
        ("1e400", Code.NUMBER_TOO_LARGE),
        ("9" * 90_000, Code.NUMBER_TOO_LARGE),
        ("my-field: 1 2", Code.UNEXPECTED_TOKEN),
        ("0x10", Code.UNEXPECTED_TOKEN),
        ("a b", Code.UNEXPECTED_TOKEN),
        ("a AND b", Code.UNEXPECTED_TOKEN),
        ("a.", Code.UNEXPECTED_END),
        ("a..b", Code.UNEXPECTED_TOKEN),
        ("a.0.b", Code.UNEXPECTED_TOKEN),
        ("a.in~ (1)", Code.UNEXPECTED_TOKEN),
        ("a and", Code.UNEXPECTED_END),
        ("and a", Code.UNEXPECTED_TOKEN),
        ("not", Code.UNEXPECTED_END),
        ("(a", Code.UNEXPECTED_END),
        ("a)", Code.UNEXPECTED_TOKEN),
        ("a == not b", Code.UNEXPECTED_TOKEN),
        ("a < b < c", Code.CHAINED_COMPARISON),
        ("a = 1", Code.SINGLE_EQUALS),
        ("a in ()", Code.EMPTY_LIST),
        ("a : ()", Code.EMPTY_LIST),
        ("a in (,)", Code.UNEXPECTED_TOKEN),
        ("a in 1", Code.UNEXPECTED_TOKEN),
        ("a in (1,)", Code.TRAILING_COMMA),
        ("f(a,)", Code.TRAILING_COMMA),
        ('a : ("x",)', Code.TRAILING_COMMA),
        ('a not : "x"', Code.NOT_BEFORE_PATTERN),
        ('a not regex~ ("x")', Code.NOT_BEFORE_PATTERN),
        ("a : b", Code.PATTERN_NOT_CONSTANT),
        ("a like (b)", Code.PATTERN_NOT_CONSTANT),
        ("a : -1", Code.PATTERN_NOT_CONSTANT),
        ('a regex lower("x")', Code.PATTERN_NOT_CONSTANT),
        ("a:length() == 1", Code.METHOD_CALL_NOT_SUPPORTED),
        ("a[0]", Code.ARRAY_INDEX_NOT_SUPPORTED),
        ("a[ 10 ].b", Code.ARRAY_INDEX_NOT_SUPPORTED),
        ("a[b]", Code.UNEXPECTED_TOKEN),
        ("sequence == 1", Code.KEYWORD_AS_FIELD),
        ("a and any", Code.KEYWORD_AS_FIELD),
        ("$1.a", Code.UNEXPECTED_CHARACTER),
    ],
)
def test_bad_expressions(text: str, code: Code) -> None:
    assert codes(f"any where {text}") == [code]


STEPS = "[any where true] [any where true]"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", Code.UNEXPECTED_END),
        (" /* only */ // a comment", Code.UNEXPECTED_END),
        ("process", Code.UNEXPECTED_END),
        ("a == 1", Code.MISSING_WHERE),
        ("(a == 1)", Code.UNEXPECTED_TOKEN),
        ("sequence [(a == 1)] [any where b]", Code.UNEXPECTED_TOKEN),
        ("sequence [a == 1] [any where b]", Code.MISSING_WHERE),
        ("process when a", Code.MISSING_WHERE),
        ("`process` where a", Code.BACKQUOTED_CATEGORY),
        ("until where a", Code.KEYWORD_AS_CATEGORY),
        ("sample where a", Code.KEYWORD_AS_CATEGORY),
        ("sequence", Code.UNEXPECTED_END),
        (f"sequence with maxspan=0s {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan=2.5m {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan=1h30m {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan=5 {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan=5sec {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan=1w {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan=1M {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan=-1m {STEPS}", Code.BAD_MAXSPAN),
        (f'sequence with maxspan="1m" {STEPS}', Code.BAD_MAXSPAN),
        (f"sequence with maxspan=999999999d {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan=99999999999999999999d {STEPS}", Code.BAD_MAXSPAN),
        (f"sequence with maxspan 5m {STEPS}", Code.UNEXPECTED_TOKEN),
        (f"sequence maxspan=5m {STEPS}", Code.UNEXPECTED_TOKEN),
        (f"sequence with span=5m {STEPS}", Code.UNKNOWN_WITH),
        (f"sequence with runs=5 {STEPS}", Code.RUNS_MISPLACED),
        (f"sequence with maxspan=5m by a {STEPS}", Code.KEYS_AFTER_WITH),
        (f"sequence by a, {STEPS}", Code.TRAILING_COMMA),
        (f"sequence by {STEPS}", Code.UNEXPECTED_TOKEN),
        (f"sequence {STEPS} with runs=0", Code.BAD_RUNS),
        (f"sequence {STEPS} with runs=101", Code.BAD_RUNS),
        (f"sequence {STEPS} with runs=1.0", Code.BAD_RUNS),
        (f"sequence {STEPS} with runs=-1", Code.BAD_RUNS),
        (f"sequence {STEPS} with runs=2x", Code.BAD_RUNS),
        (f"sequence {STEPS} with times=2", Code.UNKNOWN_WITH),
        (f"sequence {STEPS} with maxspan=1m", Code.MAXSPAN_MISPLACED),
        (f"sequence {STEPS} with runs=2 by a", Code.KEYS_AFTER_WITH),
        (f"sequence {STEPS} until", Code.UNEXPECTED_END),
        (f"sequence {STEPS} until process where true", Code.UNEXPECTED_TOKEN),
        (f"sequence {STEPS} until [any where true] until [any where true]", Code.UNEXPECTED_TOKEN),
        (f"sequence {STEPS} fork", Code.FORK_NOT_SUPPORTED),
        (f"sequence {STEPS} by a by b", Code.REPEATED_CLAUSE),
        (f"sequence by a by b {STEPS} {STEPS}", Code.REPEATED_CLAUSE),
        (f"sample by a by b {STEPS} {STEPS}", Code.REPEATED_CLAUSE),
        (f"sequence {STEPS} as x as y", Code.REPEATED_CLAUSE),
        (f"sequence {STEPS} as", Code.UNEXPECTED_TOKEN),
        (f"sequence {STEPS} with runs=2 as x", Code.ALIAS_MISPLACED),
        (f"sequence ![any where true] as x {STEPS}", Code.ALIAS_MISPLACED),
        (f"sequence {STEPS} until [any where true] as x", Code.ALIAS_MISPLACED),
        (f"sequence [any where true] as x {STEPS} as x", Code.ALIAS_TWICE),
        ("sequence [any where x.a == 1] as x [any where true]", Code.ALIAS_NOT_READABLE),
        ("sequence [any where true] as x [any where x]", Code.ALIAS_NOT_READABLE),
        ("sequence [any where true] as x ![any where x.a == 1]", Code.ALIAS_NOT_READABLE),
        (
            "sequence [any where true] as x [any where true] until [any where x.a == 1]",
            Code.ALIAS_NOT_READABLE,
        ),
        ("sequence [any where true] as x [any where child of [any where x.a == 1]]", Code.ALIAS_NOT_READABLE),
        ("sequence [any where true] as event0 [any where event1.a == 1]", Code.UNKNOWN_ALIAS),
        ("any where _arraysearch(a, b, true)", Code.BAD_ARRAYSEARCH),
        ("any where _arraysearch(a, $b.c, true)", Code.BAD_ARRAYSEARCH),
        ("any where _arraysearch(a, $b)", Code.BAD_ARRAYSEARCH),
        ("sequence [any where a) [any where b]", Code.UNEXPECTED_TOKEN),
        ("sequence [any where a [any where b]", Code.UNEXPECTED_TOKEN),
        (f"sample with maxspan=1m {STEPS}", Code.MAXSPAN_MISPLACED),
        (f"join with maxspan=1m {STEPS}", Code.MAXSPAN_MISPLACED),
        (f"sample {STEPS} until [any where true]", Code.UNTIL_MISPLACED),
        ("any where true |", Code.UNEXPECTED_END),
        ("any where true | 5", Code.UNEXPECTED_TOKEN),
        ("any where true | head 5 5", Code.UNEXPECTED_TOKEN),
        ("const N = 1 any where a == N", Code.DEFINITION_NOT_SUPPORTED),
        ("macro M(a) a == 1 any where M(b)", Code.DEFINITION_NOT_SUPPORTED),
        ("any where true any where true", Code.UNEXPECTED_TOKEN),
    ],
)
def test_bad_statements(text: str, code: Code) -> None:
    assert codes(text) == [code]


def test_a_sequence_with_everything() -> None:
    text = """
        sequence by host.id, ?user.id with maxspan = 5 m   // header
          ["odd category" where a] by b with runs=3
          ![\"\"\"raw\"\"\" where true] by c
          [any where d] by `d`
        until [process where a] by a
        | head 5 | tail 1, 2 | count
    """
    assert tree(text) == ast.Query(
        ast.Sequence(
            (
                ast.Step(ast.EventQuery("odd category", A), (B,), 3),
                ast.Step(ast.EventQuery("raw", Literal(True)), (C,), missing=True),
                ast.Step(ast.EventQuery(None, D), (D,)),
            ),
            (Field("host.id"), Field("user.id", optional=True)),
            300 * 10**9,
            ast.Step(ast.EventQuery("process", A), (A,)),
        ),
        (ast.Pipe("head", (Literal(5),)), ast.Pipe("tail", (ONE, TWO)), ast.Pipe("count")),
    )


def test_other_statements() -> None:
    step = ast.Step(ast.EventQuery("x", A))
    assert tree("sample by a [x where a] [x where a]").body == ast.Sample((step, step), (A,))
    assert tree("join [x where a] [x where a] until [x where a]").body == ast.Join((step, step), (), step)
    assert tree("config where a").body == ast.EventQuery("config", A)


@pytest.mark.parametrize(
    ("number", "nanoseconds"),
    [
        ("1ms", 10**6),
        ("2s", 2 * 10**9),
        ("3m", 180 * 10**9),
        ("4h", 14_400 * 10**9),
        ("5 d", 432_000 * 10**9),
    ],
)
def test_spans_of_time(number: str, nanoseconds: int) -> None:
    body = tree(f"sequence with maxspan={number} {STEPS}").body
    assert isinstance(body, ast.Sequence)
    assert body.maxspan == nanoseconds


def test_spans_name_the_place_of_each_node() -> None:
    text = 'any where (not a.b : ("x", "y") or f~(c)) and - d == 1'
    places: list[str] = []
    body = tree(text).body
    assert isinstance(body, ast.EventQuery)
    pending = [body.condition]
    while pending:
        expr = pending.pop(0)
        places.append(text[expr.span.start : expr.span.end])
        pending[:0] = ast.children(expr)
    assert places == [
        '(not a.b : ("x", "y") or f~(c)) and - d == 1',
        '(not a.b : ("x", "y") or f~(c))',
        'not a.b : ("x", "y")',
        'a.b : ("x", "y")',
        "a.b",
        '"x"',
        '"y"',
        "f~(c)",
        "c",
        "- d == 1",
        "- d",
        "d",
        "1",
    ]


def test_spans_of_statements() -> None:
    text = " sequence by a [x where b] by c [y where d] until [z where e] by f | head 1 "
    query = tree(text)
    body = query.body
    assert isinstance(body, ast.Sequence)
    assert body.until is not None
    nodes = (query, body, body.steps[0], body.steps[0].event, body.steps[1], body.until, query.pipes[0])
    assert [text[node.span.start : node.span.end] for node in nodes] == [
        text.strip(),
        text.split("|")[0].strip(),
        "[x where b] by c",
        "x where b",
        "[y where d]",
        "[z where e] by f",
        "| head 1",
    ]


def test_spans_take_no_part_in_equality() -> None:
    assert tree("any where a  ==  1") == tree("any where a == 1")
    assert Field("a", span=Span(3, 4)) == Field("a")


def test_one_finding_does_not_hide_the_next() -> None:
    text = r"""any where a = 'x' and b in () and c == "\q" and d < 1 < 2"""
    assert codes(text) == [
        Code.SINGLE_EQUALS,
        Code.SINGLE_QUOTES,
        Code.EMPTY_LIST,
        Code.BAD_ESCAPE,
        Code.CHAINED_COMPARISON,
    ]


def test_a_string_ends_with_its_line() -> None:
    assert codes('any where a == "b\nand c == "d" e"') == [Code.UNTERMINATED_STRING] * 2
    assert codes('any where a == """b\n""" and c') == [Code.UNTERMINATED_STRING] * 2


def test_read_gives_a_tree_with_stand_ins() -> None:
    query, diagnostics = parser.read(Source("any where a = 1"))
    assert [found.code for found in diagnostics] == [Code.SINGLE_EQUALS]
    assert query == tree("any where a == 1")


def test_threads_do_not_mix_their_findings() -> None:
    texts = ["any where a = 1", "any where a == 1", "any where a in ()", "any where ("] * 25
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: parser.parse(Source(text)), texts))
    assert found == [parser.parse(Source(text)) for text in texts]


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "any where " + "(" * 99 + "a" + ")" * 99,
        "any where " + "not " * 99 + "a",
        "any where a" + " + a" * 98 + " == 1",
        "any where " + "f(" * 98 + "a" + ")" * 98,
        "any where a" + " or a" * 5_000,
        'any where a in ("' + '", "'.join(map(str, range(5_000))) + '")',
        'any where a == "' + "x" * 100_000 + '"',
        "any where a // " + "x" * 100_000,
    ],
    ids=["parentheses", "not", "sum", "calls", "or", "list", "string", "comment"],
)
def test_within_the_limits(text: str) -> None:
    query = tree(text)
    assert parser.parse(Source(printer.to_text(query))).query == query
    assert pickle.loads(pickle.dumps(query)) == query


_FILL = 100_000
HOSTILE = {
    "not": ("any where " + "not " * 11_000 + "true", Code.TOO_DEEP),
    "minus": ("any where " + "-" * 11_000 + "1", Code.TOO_DEEP),
    "sum": ("any where a" + "+a" * 5_000, Code.TOO_DEEP),
    "product of sums": ("any where " + "(a+" * 3_000, Code.TOO_DEEP),
    "parentheses": ("any where " + "(" * _FILL, Code.TOO_DEEP),
    "nested or": ("any where " + "(a or b and " * 2_000, Code.TOO_DEEP),
    "calls": ("any where " + "f(" * 5_000, Code.TOO_DEEP),
    "lineage": ("any where " + "a of [b where " * 2_000, Code.TOO_DEEP),
    "chain": ("any where a" + " < a" * 5_000, Code.CHAINED_COMPARISON),
    "list": ("any where a in (" + "1," * 5_500 + "1)", Code.LIST_TOO_LONG),
    "keys": ("sequence by " + "a," * 5_500 + "a [any where a]", Code.LIST_TOO_LONG),
    "indexes": ("any where a" + "[0]" * 11_000, Code.ARRAY_INDEX_NOT_SUPPORTED),
    "tokens": ("any where a" + " or a" * 10_000, Code.TOO_MANY_TOKENS),
    "length": ("any where a" + " " * 102_400, Code.QUERY_TOO_LONG),
    "quotes": ('"' * (_FILL // 2), Code.MISSING_WHERE),
    "single quotes": ("'" * _FILL, Code.SINGLE_QUOTES),
    "backquotes": ("`" * (_FILL + 1), Code.UNTERMINATED_NAME),
    "comments": ("/*" * (_FILL // 2), Code.UNTERMINATED_COMMENT),
    "escapes": ('any where a == "' + "\\d" * 45_000 + '"', Code.BAD_ESCAPE),
    "backslashes": ("\\" * _FILL, Code.UNEXPECTED_CHARACTER),
    "exclamation": ("!" * _FILL, Code.UNEXPECTED_CHARACTER),
    "letters": ("é" * _FILL, Code.UNEXPECTED_CHARACTER),
    "dollars": ("$ " * (_FILL // 2), Code.UNEXPECTED_CHARACTER),
    "spaces in bracket": ("[" + " " * _FILL, Code.UNEXPECTED_TOKEN),
    "digits": ("any where " + "1" * 100_000, Code.NUMBER_TOO_LARGE),
    "raw quotes": ('"""' * 30_000 + "\n", Code.MISSING_WHERE),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_ends_in_a_diagnostic_soon(name: str) -> None:
    text, code = HOSTILE[name]
    parser.parse(Source("any where a"))  # builds the tables
    start = time.process_time()
    query, diagnostics = parser.parse(Source(text))
    # Takes a tenth of that; anything quadratic takes many times as long
    assert time.process_time() - start < 3
    assert query is None
    assert code in {found.code for found in diagnostics}
    assert len(diagnostics) <= 20
