"""Functions: their examples, further cases, and what holds for all of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql import ast
from detectord.eql.functions import FUNCTIONS, Function
from detectord.eql.parser import parse
from detectord.eql.source import Source
from detectord.eql.text import INT64_MAX, Scalar
from detectord.eql.types import Type

NAMES = """add between cidrMatch concat divide endsWith indexOf length modulo multiply number
    startsWith string stringContains substring subtract wildcard"""

FOLDABLE = {"between", "endsWith", "indexOf", "startsWith", "stringContains", "wildcard"}


def same(a: Scalar | None, b: Scalar | None) -> bool:
    return type(a) is type(b) and a == b


def test_the_set_is_elasticsearchs() -> None:
    assert sorted(f.name for f in FUNCTIONS.values()) == sorted(NAMES.split())
    assert {f.name for f in FUNCTIONS.values() if f.foldable} == FOLDABLE
    assert all(key == f.name.lower() for key, f in FUNCTIONS.items())


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=lambda f: f.name)
def test_a_function_is_documented(f: Function) -> None:
    assert f.doc.endswith(".")
    assert len(f.examples) >= 3
    assert any("~(" in example for example in f.examples) is f.foldable
    assert any(value is None for value in f.examples.values())


# --- calls -----------------------------------------------------------------------------------

CALLS: list[tuple[str, list[Scalar | None], Scalar | None]] = [
    ("add", ["40", 2], 42),
    ("add", ["4e1", 2], 42.0),
    ("add", ["forty", 2], None),
    ("add", [True, 2], None),
    ("divide", [-9, 4], -2),
    ("divide", [1.0, 0], math.inf),
    ("modulo", [-9, -4], -1),
    ("modulo", [9, -4], 1),
    ("between", ["cmd /c start /b x", "/c ", " /b"], "start"),
    ("between", ["aXbXc", "X", "X"], "b"),
    ("between", ["aXbXcX", "X", "X", True], "bXc"),
    ("between", ["aXbXcX", "X", "X", "true"], "bXc"),
    ("between", ["aXbXcX", "X", "X", "yes"], None),
    ("between", ["aXbXcX", "X", "X", 1], None),
    ("between", ["aXbXcX", "X", "X", None], None),
    ("between", ["aXb", "X", "X"], ""),
    ("between", ["aXb", "X", "X", True], ""),
    ("between", ["b-a", "a", "b", True], ""),
    ("between", ["aab", "aa", "ab", True], ""),
    ("between", ["", "a", "b"], ""),
    ("between", ["abc", "a", ""], "abc"),
    ("between", [12345, 2, 4], "3"),
    ("between", ["abc", "a", None], None),
    ("between~", ["-- ΣΤΑΡΤ Mid End", "σταρτ ", " eND"], "Mid"),
    ("between~", ["İİ<B>Keep Case</b>", "<b>", "</B>"], "Keep Case"),
    ("between~", ["", "a", "b"], ""),
    ("cidrMatch", ["192.0.2.77", "192.0.2.64/26"], True),
    ("cidrMatch", ["192.0.2.77", "192.0.2.78"], False),
    ("cidrMatch", ["192.0.2.77", "192.0.2.78", "192.0.2.77"], True),
    ("cidrMatch", ["192.0.2.77 ", "192.0.2.77"], None),
    ("cidrMatch", ["192.0.2.77", "192.0.2.300"], None),
    ("cidrMatch", ["192.0.2.77", "192.0.2.77", None], None),
    ("cidrMatch", [3221225985, "192.0.2.0/24"], None),
    ("concat", [1.5, "-", False], "1.5-false"),
    ("concat", [None], None),
    ("endsWith", ["report.DOCX", "docx"], False),
    ("endsWith~", ["report.DOCX", "docx"], True),
    ("endsWith", ["short", "longer than short"], False),
    ("endsWith", [4624, "24"], True),
    ("endsWith", [None, ""], None),
    ("indexOf", ["a.b.c", "."], 1),
    ("indexOf", ["a.b.c", ".", 2], 3),
    ("indexOf", ["a.b.c", ".", "2"], 3),
    ("indexOf", ["a.b.c", ".", 2.0], 3),
    ("indexOf", ["a.b.c", ".", 2.5], None),
    ("indexOf", ["a.b.c", ".", 4], None),
    ("indexOf", ["a.b.c", ".", 10**30], None),
    ("indexOf", ["a.b.c", ".", -(10**30)], 1),
    ("indexOf", ["a.b.c", "", 3], 3),
    ("indexOf", ["a.b.c", "", -3], 0),
    ("indexOf", ["a.b.c", "", 99], 5),
    ("indexOf", ["a.b.c", None], None),
    ("indexOf~", ["İİΣx", "σX"], 2),
    ("length", ["ß\U0001f680\n"], 3),
    ("length", [4624], 4),
    ("number", ["-0x1f"], None),
    ("number", ["0x-1f"], -31),
    ("number", ["0X1f"], None),
    ("number", ["0x1f", 16], 31),
    ("number", ["1f", 16.0], 31),
    ("number", ["1f", 16.5], None),
    ("number", ["12", 10], 12),
    ("number", [" 12\n"], 12),
    ("number", [" 12", 8], None),
    ("number", ["1.5", 8], None),
    ("number", ["1.5e1", 10], 15.0),
    ("number", ["9223372036854775808"], 9223372036854775808.0),
    ("number", ["8000000000000000", 16], None),
    ("number", ["1", 1], None),
    ("number", ["1", 37], None),
    ("number", ["1", "8"], 1),
    ("number", [4624], 4624),
    ("number", [True], None),
    ("number", [""], None),
    ("number", ["0x"], None),
    ("startsWith", ["/TMP/x", "/tmp"], False),
    ("startsWith~", ["/TMP/x", "/tmp"], True),
    ("startsWith", [True, "tr"], True),
    ("string", [1e16], "1e+16"),
    ("string", [-0.5], "-0.5"),
    ("string", [True], "true"),
    ("string", [""], ""),
    ("stringContains", ["abc", "abcd"], False),
    ("stringContains", ["abc", "c"], True),
    ("stringContains", ["", "c"], False),
    ("stringContains~", ["ABC", "bc"], True),
    ("stringContains~", ["ABC", ""], False),
    ("substring", ["keyboard", 3], "board"),
    ("substring", ["keyboard", -5, -1], "boar"),
    ("substring", ["keyboard", 3, None], "board"),
    ("substring", ["keyboard", None], "keyboard"),
    ("substring", ["keyboard", 3, 3], ""),
    ("substring", ["keyboard", -(10**30), 10**30], "keyboard"),
    ("substring", ["keyboard", "3", "5"], "bo"),
    ("substring", ["keyboard", "three"], None),
    ("substring", ["keyboard", math.inf], None),
    ("substring", ["", 3, 5], ""),
    ("wildcard", ["notes.txt", "n*s.t?t"], True),
    ("wildcard", ["notes.txt", "*.doc", "*.TXT"], False),
    ("wildcard~", ["notes.txt", "*.doc", "*.TXT"], True),
    ("wildcard", ["", "*"], True),
    ("wildcard", [None, "*"], None),
    ("add", [INT64_MAX, 1], None),
    # A call with the wrong number of arguments is refused when a rule is loaded; it does not raise
    ("add", [1], None),
    ("length", ["a", "b"], None),
    ("concat", [], None),
    ("wildcard", ["a"], None),
]


@pytest.mark.parametrize(("name", "args", "value"), CALLS)
def test_call(name: str, args: list[Scalar | None], value: Scalar | None) -> None:
    found = FUNCTIONS[name.rstrip("~").lower()].call(args, insensitive=name.endswith("~"))
    assert same(found, value), found


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-9, 9)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.text("abAB*?0x1 ", max_size=6)
    | st.sampled_from(["10.0.0.1", "10.0.0.0/8", "::1", "true", "-1e5", 10**400, -(10**400), "\ud800"])
)
KINDS: dict[Type, type | tuple[type, ...]] = {Type.STRING: str, Type.NUMBER: (int, float), Type.BOOLEAN: bool}


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(SCALARS, max_size=6), st.booleans())
def test_call_never_raises_and_returns_its_type(
    name: str, args: list[Scalar | None], insensitive: bool
) -> None:
    f = FUNCTIONS[name]
    value = f.call(args, insensitive)
    assert value is None or isinstance(value, KINDS[f.returns])
    assert value is None or f.returns is Type.BOOLEAN or not isinstance(value, bool)


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(SCALARS, min_size=1, max_size=6), st.data())
def test_null_gives_null(name: str, args: list[Scalar | None], data: st.DataObject) -> None:
    f = FUNCTIONS[name]
    position = data.draw(st.integers(0, len(args) - 1))
    if not f.param(position).nullable:
        args[position] = None
        assert f.call(args) is None


MIXED_CASE = st.text("abAB.\u03a3\u03c3\u0130", max_size=12)


@given(MIXED_CASE, MIXED_CASE)
def test_insensitive_positions_are_those_of_the_original(text: str, part: str) -> None:
    found = FUNCTIONS["indexof"].call([text, part], insensitive=True)
    contained = FUNCTIONS["stringcontains"].call([text, part], insensitive=True)
    assert contained is (found is not None and part != "")
    if found is not None:
        cut = FUNCTIONS["substring"].call([text, found, int(found) + len(part)])
        assert FUNCTIONS["startswith"].call([cut, part], insensitive=True) is True


@given(MIXED_CASE, MIXED_CASE, MIXED_CASE, st.booleans())
def test_between_is_a_part_of_the_text_as_it_was(text: str, left: str, right: str, greedy: bool) -> None:
    for insensitive in (False, True):
        cut = FUNCTIONS["between"].call([text, left, right, greedy], insensitive)
        assert isinstance(cut, str)
        assert cut in text


# --- examples --------------------------------------------------------------------------------

EXAMPLES = [(text, value) for f in FUNCTIONS.values() for text, value in f.examples.items()]


def evaluate(node: ast.Expr) -> Scalar | None:
    """The value of an expression of literals and calls."""
    match node:
        case ast.Literal(value):
            return value
        case ast.Negative(ast.Literal(int() | float() as value)):
            return -value
        case ast.Call(name, args, insensitive):
            return FUNCTIONS[name.lower()].call([evaluate(arg) for arg in args], insensitive)
    raise AssertionError(f"an example has only literals and calls, not {node}")


@pytest.mark.parametrize(("text", "value"), EXAMPLES, ids=[text for text, _ in EXAMPLES])
def test_example(text: str, value: Scalar | None) -> None:
    query = parse(Source(f"any where {text} == null")).query
    assert query is not None
    match query.body:
        case ast.EventQuery(_, ast.Comparison("==", call, _)):
            assert isinstance(call, ast.Call)
            assert same(evaluate(call), value)
        case _:
            raise AssertionError(query)
