"""Parsing and checking what others wrote: Elasticsearch's grammar tests and Elastic's rules."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from testing import shared_data

from detectord import eql
from detectord.eql.diagnostics import render
from detectord.eql.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detectord.eql import ast

_NULL = re.compile(r"(?<=[\[ ])null(?=[,\]])")


def statements(text: str) -> Iterator[str]:
    """Elasticsearch's statements end at a line that ends in `;`; its comment lines are dropped first."""
    lines = [line for line in text.split("\n") if line and not line.startswith("//")]
    statement: list[str] = []
    for line in lines:
        statement.append(line)
        if line.endswith(";"):
            yield "\n".join(statement)[:-1]
            statement = []


def explained(text: str, diagnostics: tuple[eql.Diagnostic, ...]) -> str:
    return "\n".join(render(found, Source(text)) for found in diagnostics)


def read_and_reread(text: str) -> ast.Query:
    query, diagnostics = eql.parse(Source(text))
    assert query is not None, explained(text, diagnostics)
    assert eql.parse(Source(eql.to_text(query))).query == query
    return query


def assert_sound(name: str, text: str, *, stream: bool) -> None:
    found = eql.check(read_and_reread(text), stream=stream)
    errors = tuple(diagnostic for diagnostic in found if diagnostic.code.is_error)
    assert not errors, f"{name}\n{explained(text, errors)}"


def test_every_supported_statement_parses() -> None:
    path = shared_data("es-eql/parser") / "queries-supported.eql"
    found = list(statements(path.read_text(encoding="utf-8")))
    assert len(found) > 150
    for text in found:
        read_and_reread(text)


def rule_queries() -> list[tuple[str, str]]:
    folder = shared_data("elastic-rules")
    found = []
    for path in sorted(folder.rglob("*.toml")):
        rule = tomllib.loads(path.read_text(encoding="utf-8"))["rule"]
        if rule.get("language") == "eql":
            found.append((path.stem, rule["query"]))
    return found


def test_every_rule_is_sound() -> None:
    queries = rule_queries()
    assert len(queries) > 500
    for name, text in queries:
        assert_sound(name, text, stream=True)


@pytest.mark.parametrize(
    "suite",
    ["test_queries", "additional_test_queries", "test_extra", "test_missing_events", "test_queries_date"],
)
def test_every_conformance_query_is_sound(suite: str) -> None:
    text = (shared_data("es-eql") / f"{suite}.toml").read_text(encoding="utf-8")
    # These files write a bare null into lists of keys, which is no TOML
    text = re.sub(r"(?m)^join_keys.*", lambda line: _NULL.sub('"null"', line[0]), text)
    for case in tomllib.loads(text)["queries"]:
        assert_sound(case["name"], case["query"].strip(), stream=False)
