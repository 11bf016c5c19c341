"""The property itself: an engine and the oracle give the same results for a case.

The engine gets the query as printed text, the oracle the tree: printer and parser are in the loop.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import oracle
from engines import ENGINES, Results, comparable

from detectord.eql.printer import to_text

if TYPE_CHECKING:
    from strategies import Case


def expected(case: Case) -> Results:
    """What the oracle says."""
    return [(found.events, found.join_keys) for found in oracle.run(case.query, case.events, **case.options)]


def check(case: Case, engine: str) -> None:
    """Raises AssertionError with the whole case in it if the engine differs from the oracle."""
    query = to_text(case.query)
    wanted = comparable(expected(case))
    found = comparable(ENGINES[engine](query, case.events, **case.options))
    assert found == wanted, _report(case, query, engine, found, wanted)


def _report(case: Case, query: str, engine: str, found: object, wanted: object) -> str:
    events = "\n".join(f"  {index}: {json.dumps(event)}" for index, event in enumerate(case.events))
    return f"{query}\n{events}\n  {case.options}\n  {engine}: {found}\n  oracle: {wanted}"
