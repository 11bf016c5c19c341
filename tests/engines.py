"""The ways of answering a query over a finite list of events, which must all agree.

An engine takes the query's text and returns its results as (indexes, key values). `oracle` is the
reference; `ENGINES` holds what is compared with it. A new way of running is a line in `ENGINES`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import oracle as reference
from streaming import Results, stream

import detectord
from detectord.eql.parser import parse
from detectord.eql.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENGINES", "Results", "comparable", "oracle"]


def oracle(query: str, events: list[dict[str, Any]], **options: Any) -> Results:
    """The tree walk, with the parser before it."""
    parsed = parse(Source(query))
    assert parsed.query is not None, parsed.diagnostics
    return [(found.events, found.join_keys) for found in reference.run(parsed.query, events, **options)]


def match(query: str, events: list[dict[str, Any]], **options: Any) -> Results:
    """The library's door to the compiled engine."""
    return [(found.events, found.join_keys) for found in detectord.match(query, events, **options)]


ENGINES: dict[str, Callable[..., Results]] = {
    "match": match,
    "stream": stream,
    "shuffled": partial(stream, shuffled=True),
    "restarted": partial(stream, restarting=True),
}


def comparable(results: Results) -> list[tuple[tuple[int | None, ...], list[tuple[str, Any]]]]:
    """Results in a form in which equal means equal: 1 is 1.0, but not `true`."""
    return [(events, [(_sort(key), key) for key in keys]) for events, keys in results]


def _sort(value: Any) -> str:
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )
