"""The kinds of generated cases, by name, with which the engines are held against the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from endpoint_strategies import lineage_cases, search_cases
from sequence_strategies import alias_cases, sample_cases, shape_cases
from strategies import Case, event_cases, sequence_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

KINDS: dict[str, Callable[[], SearchStrategy[Case]]] = {
    "event": event_cases,
    "sequence": sequence_cases,
    "shape": shape_cases,
    "alias": alias_cases,
    "search": search_cases,
    "lineage": lineage_cases,
    "sample": sample_cases,
}
"""`event` and `sequence` have all types of conditions, keys and times; `shape` all a sequence can have."""
