"""The property itself: an engine and the oracle give the same results for a case.

The engine gets the query as printed text, the oracle the tree: printer and parser are in the loop.

A stream cannot wait for all events before it chooses those of a sample. So what it finds is held to less: one
sample for each key that the oracle has samples of, in its order, of different events that satisfy its steps.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import oracle
from engines import ENGINES, Results, comparable

from detectord.eql import ast
from detectord.eql.printer import to_text

if TYPE_CHECKING:
    from strategies import Case


def check(case: Case, engines: Collection[str] = tuple(ENGINES)) -> Results:
    """What the oracle says, and every one of the engines.

    Raises:
        AssertionError: an engine differs; the whole case is in it.
    """
    results = _expected(case)
    for engine in engines:
        if engine != "match" and isinstance(case.query.body, ast.Sample):
            _check_streamed_sample(case, case.query.body, engine)
        else:
            _compare(case, engine, ENGINES[engine](to_text(case.query), case.events, **case.options), results)
    return results


def _expected(case: Case, **options: Any) -> Results:
    found = oracle.run(case.query, case.events, **{**case.options, **options})
    return [(each.events, each.join_keys) for each in found]


def _check_streamed_sample(case: Case, body: ast.Sample, engine: str) -> None:
    unlimited: dict[str, Any] = {"size": None, "max_samples_per_key": 1}
    options = {name: value for name, value in case.options.items() if name not in unlimited}
    found = ENGINES[engine](to_text(case.query), case.events, **options)
    wanted = _expected(case, **unlimited)
    _compare(case, engine, [((), keys) for _, keys in found], [((), keys) for _, keys in wanted])
    for events, keys in found:
        chosen = [case.events[index] for index in events if index is not None]
        fits = len(set(events)) == len(body.steps) == len(chosen) and all(
            oracle.matches(step.event, event) for step, event in zip(body.steps, chosen, strict=True)
        )
        assert fits, _report(case, engine, events, "a sample of different events")
        again = oracle.run(ast.Query(body), chosen)
        assert keys in [each.join_keys for each in again], _report(case, engine, events, f"the key {keys}")


def _compare(case: Case, engine: str, found: Results, wanted: Results) -> None:
    assert comparable(found) == comparable(wanted), _report(case, engine, found, wanted)


def _report(case: Case, engine: str, found: object, wanted: object) -> str:
    events = "\n".join(f"  {index}: {json.dumps(event)}" for index, event in enumerate(case.events))
    query = to_text(case.query)
    return f"{query}\n{events}\n  {case.options}\n  {engine}: {found}\n  oracle: {wanted}"
