"""What an event must satisfy before a rule looks at it, as a condition of EQL.

Filters, exceptions and a list of operating systems restrict a rule from outside its query. Each becomes
a syntax tree, as if it stood in the query: then nothing else needs to know of them. This module has the
pieces they share, and asks the check of the language whether the result can be evaluated.

An event that lacks a field satisfies no test of it, and therefore every negated one, as in Elasticsearch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from detectord.eql import ast
from detectord.eql.conditions import Conditions
from detectord.eql.diagnostics import Diagnostic

HOST_OS = "host.os.type"
MAX_DEPTH = 20
"""Levels of a filter or an exception."""

Scalar = str | int | float | bool

TRUE = ast.Literal(True)
FALSE = ast.Literal(False)

_BACKSLASHES = re.compile(r"\\\\")


def field(path: str, scope: str = "") -> ast.Field:
    """The field at `path`; with `scope`, of the element that the variable `scope` stands for."""
    return ast.Field(path, scope=scope)


def is_scalar(value: object) -> bool:
    """True for what a field can be compared with."""
    return isinstance(value, (str, int, float, bool))


def equals(field: ast.Field, value: Scalar) -> ast.Expr:
    """The field has this value."""
    return ast.Comparison("==", field, ast.Literal(value))


def is_one_of(field: ast.Field, values: Sequence[Scalar]) -> ast.Expr:
    """The field has one of the values."""
    if not values:
        return FALSE
    if len(values) == 1:
        return equals(field, values[0])
    return ast.In(field, tuple(ast.Literal(value) for value in values))


def exists(field: ast.Field) -> ast.Expr:
    """The field has a value."""
    return ast.Comparison("!=", field, ast.Literal(None))


def like(field: ast.Field, pattern: str, *, fold: bool = False) -> ast.Expr:
    r"""The field's text fits a pattern with `*` and `?`.

    Elasticsearch's wildcard query takes a backslash as an escape, so that Windows paths are written with two;
    both spellings are understood here: `\\` is one backslash, and a single one is itself.
    """
    text = _BACKSLASHES.sub(lambda _: "\\", pattern)
    return ast.Pattern("like~" if fold else "like", field, (ast.Literal(text),))


def every(conditions: Sequence[ast.Expr]) -> ast.Expr:
    """All of the conditions; true if there are none."""
    if not conditions:
        return TRUE
    return conditions[0] if len(conditions) == 1 else ast.And(tuple(conditions))


def some(conditions: Sequence[ast.Expr]) -> ast.Expr:
    """One of the conditions at least; false if there are none."""
    if not conditions:
        return FALSE
    return conditions[0] if len(conditions) == 1 else ast.Or(tuple(conditions))


def joined(conditions: Sequence[ast.Expr | None]) -> ast.Expr | None:
    """All of the conditions that there are; None if there are none."""
    present = [each for each in conditions if each is not None]
    return every(present) if present else None


def on_systems(names: Sequence[str]) -> ast.Expr | None:
    """The event comes from one of these operating systems; None if none is named."""
    return is_one_of(field(HOST_OS), tuple(dict.fromkeys(names))) if names else None


def trouble(condition: ast.Expr, types: Mapping[str, str]) -> str:
    """Why the condition cannot be evaluated where fields have these types; empty if it can."""
    found: list[Diagnostic] = []
    Conditions(types, found.append).check(condition)
    return next((each.message for each in found if each.code.is_error and each.code.number[:2] != "E3"), "")
