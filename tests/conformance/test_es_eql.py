"""Elasticsearch's own EQL cases, where their data is at hand: `../shared/data/es-eql` beside the repository.

Each case runs through the oracle, through `match` and as a stream; ids, order and join keys must be those of
its file. `waiting.toml` lists by name, under a reason, what is not answered yet: a listed case that passes
fails here until it is taken off the list, an unlisted one that fails, fails. What is listed under `match`
waits in the stream, too. Samples do not run as a stream: there, time bounds them.

All are told the types of the suite's mapping.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from engines import ENGINES, Results, oracle

_SUITE = Path(__file__).parents[3] / "shared" / "data" / "es-eql"
_LOADER = _SUITE / "load.py"
_LEDGER: dict[str, dict[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("waiting.toml").read_text("utf-8")
)

if not _LOADER.exists():
    pytest.skip("Elasticsearch's EQL cases (../shared/data/es-eql) are not here", allow_module_level=True)


class Case(NamedTuple):
    """One case of a suite; `accepted` are the id lists any of which is right."""

    name: str
    query: str
    accepted: list[list[int]]
    join_keys: list[str]
    data: tuple[str, ...]
    options: dict[str, Any]


def _loader() -> Any:
    spec = importlib.util.spec_from_file_location("es_eql_load", _LOADER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_LOAD = _loader()
_CASES = [Case(f"{suite}/{name}", *rest) for suite, name, *rest in _LOAD.cases()]
_NAMES = frozenset(case.name for case in _CASES)


class _Mapping(NamedTuple):
    types: dict[str, str]
    aliases: dict[str, str]


@functools.cache
def _mapping(paths: tuple[str, ...]) -> _Mapping:
    found = _Mapping({}, {})
    for path in paths:
        lines = Path(path).read_text("utf-8").splitlines()
        text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        _add_properties(found, json.loads(text), "")
    return found


def _add_properties(found: _Mapping, node: dict[str, Any], prefix: str) -> None:
    for name, inner in node.get("properties", {}).items():
        path = prefix + name
        kind = inner.get("type")
        if kind == "alias":
            found.aliases[path] = inner["path"]
        elif kind is not None:
            found.types[path] = "keyword" if "random_keyword" in kind else kind
        _add_properties(found, inner, f"{path}.")
    found.types.update(
        {alias: found.types[target] for alias, target in found.aliases.items() if target in found.types}
    )


@functools.cache
def _events(
    data: tuple[str, ...], transform: str | None, aliases: tuple[tuple[str, str], ...]
) -> list[dict[str, Any]]:
    """The suite's documents; what the mapping calls an alias is copied to its other name."""
    documents: list[dict[str, Any]] = _LOAD.events(data, {"timestamp_transform": transform})
    for document in documents:
        document.update({alias: document[target] for alias, target in aliases if target in document})
    return documents


def _differs(case: Case, engine: str) -> str:
    """How the engine's answer differs from the case's; empty if it does not."""
    options = case.options
    mapping = _mapping(options["mapping"])
    events = _events(case.data, options["timestamp_transform"], tuple(mapping.aliases.items()))
    arguments = {
        "timestamp_field": options["timestamp_field"],
        "tiebreaker_field": options["tiebreaker"],
        "event_category_field": options["event_category_field"],
        "size": options["size"],
        "types": mapping.types,
    }
    if options["max_samples_per_key"] is not None:
        arguments["max_samples_per_key"] = options["max_samples_per_key"]
    results: Results
    if engine == "oracle":
        results = oracle(case.query, events, **arguments)
    else:
        results = ENGINES[engine](case.query, events, **arguments)
    id_field = options["id_field"]
    ids = [-1 if index is None else events[index][id_field] for found, _ in results for index in found]
    keys = [_key_text(key) for _, found in results for key in found]
    if ids not in case.accepted:
        return f"ids are {ids}, not {case.accepted}"
    return f"join keys are {keys}, not {case.join_keys}" if case.join_keys and keys != case.join_keys else ""


def _key_text(key: Any) -> str:
    return "null" if key is None else key if isinstance(key, str) else json.dumps(key)


def _listed(engine: str) -> dict[str, str]:
    parts = ("match", "stream") if engine == "stream" else (engine,)
    return {
        name: reason for part in parts for reason, names in _LEDGER.get(part, {}).items() for name in names
    }


def _pairs() -> Iterator[Any]:
    for case in _CASES:
        shown = re.sub(r"\s+", " ", case.name)
        for engine in ("oracle", "match", "stream"):
            if engine != "stream" or not case.name.startswith("test_sample"):
                yield pytest.param(case, engine, id=f"{shown}-{engine}")


@pytest.mark.parametrize(("case", "engine"), list(_pairs()))
def test_case(case: Case, engine: str) -> None:
    reason = _listed(engine).get(case.name)
    if reason is None:
        assert not (difference := _differs(case, engine)), difference
        return
    try:
        difference = _differs(case, engine)
    except Exception as refusal:  # whatever it says, it does not answer yet
        difference = f"{type(refusal).__name__}: {refusal}"
    assert difference, f"{case.name} passes: remove it from the ledger (it waited for: {reason})"
    pytest.xfail(f"waits for: {reason}")


@pytest.mark.parametrize("engine", ["oracle", "match", "stream"])
def test_the_ledger_lists_only_cases_there_are(engine: str) -> None:
    listed = [name for names in _LEDGER.get(engine, {}).values() for name in names]
    assert sorted(set(listed)) == sorted(listed)
    assert set(listed) <= _NAMES
