"""Diagnostics as an author sees them: golden pairs, one at least for every code."""

from __future__ import annotations

import re
from pathlib import Path

import ast_strategies
import golden
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from testing import REPOSITORY

from detectord import eql
from detectord.eql.diagnostics import Code, Diagnostic, render
from detectord.eql.source import Source, Span

GOLDENS = REPOSITORY / "tests" / "diagnostics"

# `⟦text*9⟧` in a golden query is nine times the text, so that big queries need no big files
_REPEATED = re.compile(r"⟦(.*?)\*(\d+)⟧", re.DOTALL)


def findings(path: Path) -> str:
    """A golden query's findings. A first line `//: types a=long b=ip` gives field types, and with
    `unknown=warn` says what becomes of others; `//: batch` says that the query runs over a finite list of
    events."""
    text = _REPEATED.sub(lambda found: found[1] * int(found[2]), path.read_text(encoding="utf-8"))
    directive = text.split("\n", 1)[0].removeprefix("//:").split() if text.startswith("//:") else []
    types = dict(pair.split("=") for pair in directive[1:]) if directive[:1] == ["types"] else {}
    source, unknown = Source(text, path.name), types.pop("unknown", "pass")
    parsed = eql.analyse(source, types=types, stream=directive != ["batch"], unknown_fields=unknown)
    return "".join(f"{render(diagnostic, source)}\n" for diagnostic in parsed.diagnostics)


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*.eql")), ids=lambda path: path.stem)
def test_golden(path: Path, update_goldens: bool) -> None:
    golden.check(path.with_suffix(".out"), findings(path), update=update_goldens)


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_every_code_has_a_golden(code: Code) -> None:
    path = GOLDENS / f"{code.name.lower()}.out"
    assert path.exists(), "add a query of this name, then run with --update-goldens"
    assert f"[{code.number}]" in path.read_text(encoding="utf-8")


def test_every_golden_has_a_query() -> None:
    assert {path.stem for path in GOLDENS.glob("*.out")} == {path.stem for path in GOLDENS.glob("*.eql")}


def test_numbers_are_unique_and_in_families() -> None:
    numbers = [code.number for code in Code]
    assert len(set(numbers)) == len(numbers) == len(Code.__members__)
    assert all(re.fullmatch(r"E[0-3]\d\d|W1\d\d", number) for number in numbers)


def test_a_query_in_a_file_is_shown_with_the_line_of_the_file() -> None:
    enclosing = 'query = """\nany where\\\n  nope(1)\n"""\n'
    start = enclosing.index("any")
    text = "any where  nope(1)\n"
    offsets = [*range(start, start + 9), *range(start + 11, start + 11 + 11)]
    source = Source(text, "rule.toml", enclosing, lambda: offsets)
    (found,) = eql.analyse(source).diagnostics
    assert render(found, source) == (
        "rule.toml:3:3: error[E104]: unknown function `nope`\n    nope(1)\n    ^^^^"
    )


def test_what_is_quoted_is_cut() -> None:
    name = "f" * 50_000
    source = Source(f"any where {name}(1)")
    (found,) = eql.analyse(source).diagnostics
    assert found.message == f"unknown function `{'f' * 99}…`"
    assert len(render(found, source)) < 600


@pytest.mark.parametrize(
    ("text", "at", "shown", "caret"),
    [
        ("\tx", 1, "\tx", "\t^"),
        ("a\x00b\x1b[0m", 2, "a␀b␛[0m", "  ^"),
        ("\x7f\u202ex", 2, "␡\\u{202e}x", " " * 9 + "^"),
        ("日本x", 2, "日本x", " " * 4 + "^"),
        ("x日", 1, "x日", " ^^"),
        ("e\u0301x", 2, "e\u0301x", " ^"),
        ("ab\r\n", 1, "ab", " ^"),
    ],
)
def test_the_caret_stands_under_its_character(text: str, at: int, shown: str, caret: str) -> None:
    rendered = render(Diagnostic(Code.EMPTY_LIST, Span(at, at + 1)), Source(text))
    assert rendered.split("\n")[1:] == [f"  {shown}", f"  {caret}"]


@given(text=st.text(max_size=400), data=st.data())
def test_any_span_of_any_text_can_be_rendered(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, shown, caret = render(Diagnostic(Code.EMPTY_LIST, Span(start, end)), Source(text)).split("\n")
    assert first.startswith("<query>:")
    assert "^" in caret
    assert all(line.replace("\t", "").isprintable() for line in (first, shown, caret))


@settings(max_examples=300)
@given(ast_strategies.mangled_texts)
@example('any where a : """\x85')
@example("?'")
@example("any where a[0")
def test_any_text_has_a_tree_or_findings_inside_it(text: str) -> None:
    source = Source(text)
    for stream in (True, False):
        query, diagnostics = eql.analyse(
            source, types={"process.pid": "long", "source.ip": "ip"}, stream=stream
        )
        assert (query is None) == any(found.code.is_error for found in diagnostics)
        for found in diagnostics:
            assert 0 <= found.span.start <= found.span.end <= len(text)
            assert render(found, source).startswith("<query>:")
