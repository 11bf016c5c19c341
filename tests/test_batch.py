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


@pytest.mark.parametrize("name", ["int", "Keyword", "", "string"])
def test_a_type_that_elasticsearch_does_not_have_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}', the type of `a.b`"):
        detectord.match("any where true", [EVENT], types={"a.b": name})


@pytest.mark.parametrize("most", [0, -1])
def test_fewer_samples_than_one_are_refused(most: int) -> None:
    with pytest.raises(ValueError, match=f"max_samples_per_key is {most}"):
        detectord.match("any where true", [EVENT], max_samples_per_key=most)


def test_a_query_is_checked_with_the_types_given() -> None:
    with pytest.raises(detectord.QueryError, match=r"E112.*`a.b`, a number"):
        detectord.match('any where a.b : "x"', [EVENT], types={"a.b": "long"})
    with pytest.raises(detectord.QueryError, match=r"E130.*nested"):
        detectord.match("any where a.b == 1", [EVENT], types={"a": "nested", "a.b": "long"})


OPTIONAL = [{"a": 1, "mapped": "x"}, {"a": 2, "deep": [{"er": None}]}]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("?none == ?no.where", [0, 1]),
        ("?none != ?no.where", []),
        ("?none == ?mapped", [1]),
        ('not (?none == "x")', [0, 1]),
        ("?none == null", [0, 1]),
        ("?none or ?a == 1", [0]),
        ('concat(?none, "x") == null', [0, 1]),
        ("?typed == ?typed", []),
        ("?typed.below == ?typed.below", []),
        ("?deep.er == ?none", [0, 1]),
        ("?a == ?a", [0, 1]),
    ],
)
def test_an_optional_field_that_no_mapping_has_is_null(condition: str, found: list[int]) -> None:
    results = detectord.match(f"any where {condition}", OPTIONAL, types={"typed": "flattened"})
    assert [result.events[0] for result in results] == found


def test_without_types_an_optional_field_is_one_without_values() -> None:
    assert detectord.match("any where ?none == ?no.where", OPTIONAL) == []


def test_a_date_is_a_key_of_its_instant() -> None:
    events = [{"@timestamp": n, "step": n, "t": t} for n, t in enumerate(["2020-01-01", 1577836800000])]
    steps = "[any where step == 0] [any where step == 1]"
    (sequence,) = detectord.match(f"sequence by t {steps}", events, types={"t": "date"})
    (sample,) = detectord.match(f"sample by t {steps}", events, types={"t": "date"})
    assert (sequence.join_keys, sample.join_keys) == (("2020-01-01T00:00:00.000Z",), (1577836800000,))
