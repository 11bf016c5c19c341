"""The ways of answering a query over a finite list of events, which must all agree.

An engine takes the query's text and returns its results as (indexes, key values). `oracle` is the
reference; `ENGINES` holds what is compared with it. A new way of running is a line in `ENGINES`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import oracle as reference
from streaming import Results, stream

import detectord
from detectord.eql.parser import parse
from detectord.eql.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENGINES", "NotYetError", "Results", "comparable", "oracle"]


def oracle(query: str, events: list[dict[str, Any]], **options: Any) -> Results:
    """The tree walk, with the parser before it."""
    parsed = parse(Source(query))
    assert parsed.query is not None, parsed.diagnostics
    return [(found.events, found.join_keys) for found in reference.run(parsed.query, events, **options)]


def match(query: str, events: list[dict[str, Any]], **options: Any) -> Results:
    """The library's door to the compiled engine."""
    return [(found.events, found.join_keys) for found in detectord.match(query, events, **options)]


class NotYetError(Exception):
    """The engine refuses a construct of the language as not supported yet: to be counted, no failure.
    When no diagnostic says so any more, this goes, with `_awaiting` and the clauses that catch it."""


def _awaiting(answer: Callable[..., Results]) -> Callable[..., Results]:
    def answered(query: str, events: list[dict[str, Any]], **options: Any) -> Results:
        try:
            return answer(query, events, **options)
        except ValueError as refusal:
            refused = re.search(r"error\[(E[0-9]+)\]: (.*) not supported yet", str(refusal))
            if refused is None:
                raise
            raise NotYetError(f"{refused[1]} {refused[2]} not supported yet") from None

    return answered


ENGINES: dict[str, Callable[..., Results]] = {
    "match": _awaiting(match),
    "stream": _awaiting(stream),
    "shuffled": _awaiting(partial(stream, shuffled=True)),
    "restarted": _awaiting(partial(stream, restarting=True)),
}


def comparable(results: Results) -> list[tuple[tuple[int | None, ...], list[tuple[str, Any]]]]:
    """Results in a form in which equal means equal: 1 is 1.0, but not `true`."""
    return [(events, [(_sort(key), key) for key in keys]) for events, keys in results]


def _sort(value: Any) -> str:
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )
