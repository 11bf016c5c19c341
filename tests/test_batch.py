"""What `detectord.match` refuses, and what it passes over."""

from __future__ import annotations

import math

import pytest

import detectord

EVENT = {"event": {"category": "process"}}


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size is -1"):
        detectord.match("any where true", [EVENT], size=-1)


@pytest.mark.parametrize("event", [1, None, "x", []])
def test_an_event_that_is_no_mapping_is_refused_by_its_place(event: object) -> None:
    with pytest.raises(TypeError, match="event 1 is a"):
        detectord.match("any where true", [EVENT, event])  # type: ignore[list-item] - that is the point


def test_a_query_error_shows_the_place() -> None:
    with pytest.raises(detectord.QueryError, match=r"<query>:1:21"):
        detectord.match("process where a ==  =", [])


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf, "9" * 5_000, "no time", True])
def test_a_timestamp_that_is_none_keeps_an_event_out_of_sequences_only(time: object) -> None:
    event = {**EVENT, "@timestamp": time}
    assert len(detectord.match("process where true", [event])) == 1
    assert detectord.match("sequence [any where true] [any where true]", [event, event]) == []


@pytest.mark.parametrize(("pipe", "count"), [("head 5 - 3", 2), ("tail 2 * 2", 4), ("head (1 + 0)", 1)])
def test_the_argument_of_a_pipe_is_computed(pipe: str, count: int) -> None:
    assert len(detectord.match(f"any where true | {pipe}", [EVENT] * 6)) == count
