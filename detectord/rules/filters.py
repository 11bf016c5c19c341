"""Kibana's filters (the pills beside a query) as conditions of EQL.

A filter holds a query of Elasticsearch's own language in `query`, or, as Kibana wrote it before version 8,
beside `meta`. The forms that the pills make are understood; any other is an `UnsupportedFilterError`, because
a rule without its filter matches more than its author wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from detectord.eql import ast
from detectord.rules import prefilter
from detectord.rules.places import Path
from detectord.rules.prefilter import Scalar, field

_LEGACY = ("exists", "range", "match_phrase", "match", "bool", "term", "terms", "wildcard", "prefix")
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_WITHOUT_EFFECT = frozenset(("boost", "_name", "rewrite"))
MAX_CLAUSES = 10_000


class UnsupportedFilterError(Exception):
    """A filter that is not understood: where in it, and what it is."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(what)
        self.path = path
        self.what = what


def condition_of(filters: Sequence[Any], types: Mapping[str, str]) -> ast.Expr | None:
    """What an event must satisfy to pass all of the filters; None if none of them is in force.

    `types` are the Elasticsearch types of fields by path.

    Raises:
        UnsupportedFilterError: one of them is not understood.
    """
    conditions = []
    for position, each in enumerate(filters):
        path: Path = (position,)
        meta = each.get("meta") if isinstance(each, dict) else None
        if not isinstance(each, dict) or not isinstance(meta or {}, dict):
            raise UnsupportedFilterError(path, "something that is no filter")
        meta = meta or {}
        if meta.get("disabled") is True:
            continue
        condition = _filter(each, path)
        conditions.append(ast.Not(condition) if meta.get("negate") is True else condition)
        if wrong := prefilter.trouble(condition, types):
            raise UnsupportedFilterError(path, f"this filter ({wrong})")
    return prefilter.joined(conditions)


def _filter(each: Mapping[str, Any], path: Path) -> ast.Expr:
    query = each.get("query")
    if isinstance(query, dict) and query:
        return _query(query, (*path, "query"))
    legacy = {name: each[name] for name in _LEGACY if name in each}
    if legacy:
        return _query(legacy, path)
    kind = (each.get("meta") or {}).get("type")
    raise UnsupportedFilterError(
        path, f"a filter of the type `{kind}`" if kind else "a filter without a query"
    )


def _query(query: Any, path: Path) -> ast.Expr:
    """One clause: an object with a single key, its kind."""
    if len(path) > prefilter.MAX_DEPTH:
        raise UnsupportedFilterError(path, "a query nested so deep")
    if not isinstance(query, dict) or len(query) != 1:
        raise UnsupportedFilterError(path, "a query that is not an object with one key")
    ((kind, body),) = query.items()
    read = _CLAUSES.get(kind)
    if read is None:
        raise UnsupportedFilterError((*path, kind), f"a query of the kind `{kind}`")
    return read(body, (*path, kind))


def _bool(body: Any, path: Path) -> ast.Expr:
    if not isinstance(body, dict):
        raise UnsupportedFilterError(path, "this form of `bool`")
    unknown = set(body) - {"must", "filter", "should", "must_not", "minimum_should_match"} - _WITHOUT_EFFECT
    if unknown:
        raise UnsupportedFilterError((*path, min(unknown)), f"`{min(unknown)}`")
    must = [*_clauses(body, "must", path), *_clauses(body, "filter", path)]
    should = _clauses(body, "should", path)
    excluded = _clauses(body, "must_not", path)
    least = body.get("minimum_should_match", 0 if must or not should else 1)
    if least not in (0, 1, "0", "1"):
        raise UnsupportedFilterError((*path, "minimum_should_match"), "more than one `should` at once")
    if int(least) and "should" in body:
        must.append(prefilter.some(should))
    return prefilter.every([*must, *map(ast.Not, excluded)])


def _clauses(body: Mapping[str, Any], name: str, path: Path) -> list[ast.Expr]:
    clauses = body.get(name, [])
    if not isinstance(clauses, list):
        return [_query(clauses, (*path, name))]
    if len(clauses) > MAX_CLAUSES:
        raise UnsupportedFilterError((*path, name), f"more than {MAX_CLAUSES} clauses")
    return [_query(each, (*path, name, position)) for position, each in enumerate(clauses)]


def _one_field(body: Any, path: Path) -> tuple[ast.Field, Any, Path]:
    """The field a clause is about, and what it says of it."""
    if not isinstance(body, dict):
        raise UnsupportedFilterError(path, "this form of query")
    named = [name for name in body if name not in _WITHOUT_EFFECT]
    if len(named) != 1 or not named[0]:
        raise UnsupportedFilterError(path, "a query of several fields")
    return field(named[0]), body[named[0]], (*path, named[0])


def _options(
    said: Any, path: Path, names: Sequence[str], others: Sequence[str] = ()
) -> tuple[Any, dict[str, Any]]:
    """The value of a clause, written alone or in an object under one of `names`; and its other options."""
    if not isinstance(said, dict):
        return said, {}
    options = {key: value for key, value in said.items() if key not in _WITHOUT_EFFECT}
    found = [name for name in names if name in options]
    unknown = set(options) - set(found) - set(others)
    if len(found) != 1 or unknown:
        raise UnsupportedFilterError(path, f"`{min(unknown)}`" if unknown else "this form of query")
    return options.pop(found[0]), options


def _scalar(value: Any, path: Path) -> Scalar:
    if not prefilter.is_scalar(value):
        raise UnsupportedFilterError(path, "a value that is neither text nor number nor true or false")
    scalar: Scalar = value
    return scalar


def _match_phrase(body: Any, path: Path) -> ast.Expr:
    of, said, path = _one_field(body, path)
    value, _ = _options(said, path, ("query",))
    return prefilter.equals(of, _scalar(value, path))


def _match(body: Any, path: Path) -> ast.Expr:
    of, said, path = _one_field(body, path)
    value, options = _options(said, path, ("query",), ("type",))
    if options.get("type") != "phrase":
        raise UnsupportedFilterError(path, "a `match` that is no phrase")
    return prefilter.equals(of, _scalar(value, path))


def _term(body: Any, path: Path) -> ast.Expr:
    of, said, path = _one_field(body, path)
    value, options = _options(said, path, ("value",), ("case_insensitive",))
    scalar = _scalar(value, path)
    if options.get("case_insensitive") is True:
        return ast.In(of, (ast.Literal(scalar),), insensitive=True)
    return prefilter.equals(of, scalar)


def _terms(body: Any, path: Path) -> ast.Expr:
    of, values, path = _one_field(body, path)
    if not isinstance(values, list):
        raise UnsupportedFilterError(path, "terms from an index")
    return prefilter.is_one_of(of, [_scalar(value, (*path, place)) for place, value in enumerate(values)])


def _exists(body: Any, path: Path) -> ast.Expr:
    name = body.get("field") if isinstance(body, dict) else None
    if not isinstance(name, str) or not name:
        raise UnsupportedFilterError(path, "this form of `exists`")
    return prefilter.exists(field(name))


def _range(body: Any, path: Path) -> ast.Expr:
    of, said, path = _one_field(body, path)
    bounds = []
    for key, value in said.items() if isinstance(said, dict) else [("", None)]:
        if key in _WITHOUT_EFFECT:
            continue
        if key not in _BOUNDS:
            raise UnsupportedFilterError(path, f"`{key}` in a range" if key else "this form of `range`")
        bound = _scalar(value, (*path, key))
        if isinstance(bound, bool) or (isinstance(bound, str) and (bound.startswith("now") or "||" in bound)):
            raise UnsupportedFilterError((*path, key), "a bound that is relative to the present")
        bounds.append(ast.Comparison(_BOUNDS[key], of, ast.Literal(bound)))
    return prefilter.every(bounds) if bounds else prefilter.exists(of)


def _wildcard(body: Any, path: Path) -> ast.Expr:
    of, said, path = _one_field(body, path)
    value, options = _options(said, path, ("value", "wildcard"), ("case_insensitive",))
    if not isinstance(value, str):
        raise UnsupportedFilterError(path, "a pattern that is no text")
    return prefilter.like(of, value, fold=options.get("case_insensitive") is True)


def _prefix(body: Any, path: Path) -> ast.Expr:
    of, said, path = _one_field(body, path)
    value, options = _options(said, path, ("value",), ("case_insensitive",))
    if not isinstance(value, str):
        raise UnsupportedFilterError(path, "a prefix that is no text")
    fold = options.get("case_insensitive") is True
    return ast.Call("startsWith", (of, ast.Literal(value)), insensitive=fold)


def _match_all(body: Any, path: Path) -> ast.Expr:
    del body, path
    return prefilter.TRUE


_CLAUSES: Mapping[str, Callable[[Any, Path], ast.Expr]] = {
    "bool": _bool,
    "exists": _exists,
    "match": _match,
    "match_all": _match_all,
    "match_phrase": _match_phrase,
    "prefix": _prefix,
    "range": _range,
    "term": _term,
    "terms": _terms,
    "wildcard": _wildcard,
}
