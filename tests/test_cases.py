"""Queries over a few events with their results, in `cases/*.toml`: one set, run by every engine.

A case has `name`, `query`, `events` and either `match` (the indexes of matching events, in order) or
`sequences` (their indexes, a list each, -1 for a missing step) with perhaps `join_keys` ("null" is null
there); `options` go to the search, `part` and `about` to the documentation. `events` is an array of tables,
or a text with one JSON document a line where a null or a strange key is needed; it may stand once at the top
of a file, for all its cases.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from engines import ENGINES, comparable, oracle

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL_ENGINES = {"oracle": oracle, **ENGINES}


@dataclass(frozen=True)
class Case:
    name: str
    query: str
    events: list[dict[str, Any]]
    results: list[tuple[int | None, ...]]
    join_keys: list[list[Any]] | None
    options: dict[str, Any] = field(default_factory=dict)


_KEYS = {"name", "query", "events", "match", "sequences", "join_keys", "options", "part", "about"}


def documents(written: list[dict[str, Any]] | str) -> list[dict[str, Any]]:
    if isinstance(written, list):
        return written
    decoder, text, found = json.JSONDecoder(), written.strip(), []
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


def load_cases() -> Iterator[Case]:
    for path in sorted((Path(__file__).parent / "cases").glob("*.toml")):
        content = tomllib.loads(path.read_text("utf-8"))
        for case in content["case"]:
            unknown = case.keys() - _KEYS
            assert not unknown, f"{path.name}: {case['name']}: {unknown}"
            results = [(index,) for index in case["match"]] if "match" in case else case["sequences"]
            yield Case(
                name=f"{path.stem}: {case['name']}",
                query=case["query"],
                events=documents(case.get("events", content.get("events"))),
                results=[tuple(None if index == -1 else index for index in result) for result in results],
                join_keys=case.get("join_keys"),
                options=case.get("options", {}),
            )


CASES = list(load_cases())


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def pairs() -> Iterator[Any]:
    """Each case with each engine; several samples a key are for a finite search only."""
    for case in CASES:
        for engine in ALL_ENGINES:
            if engine in ("oracle", "match") or "max_samples_per_key" not in case.options:
                yield pytest.param(case, engine, id=f"{case.name}-{engine}")


@pytest.mark.parametrize(("case", "engine"), list(pairs()))
def test_case(case: Case, engine: str) -> None:
    found = ALL_ENGINES[engine](case.query, case.events, **case.options)
    assert [events for events, _ in found] == case.results
    if case.join_keys is not None:
        wanted = [tuple(None if key == "null" else key for key in keys) for keys in case.join_keys]
        assert comparable(found) == comparable(list(zip(case.results, wanted, strict=True)))
