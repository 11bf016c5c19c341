"""The checker finds what is wrong, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.history import findings, miscounted, placed, published, untold

A, B = {"id": "a", "x": 1}, {"id": "b", "x": 1}

CASES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], list[tuple[str, str]]]] = {
    "the answer": ([A, B], [B, A], []),
    "nothing": ([], [], []),
    "lost": ([A, B], [A], [("lost", "b")]),
    "twice": ([A], [A, A], [("duplicated", "a")]),
    "three times": ([A], [A, A, A], [("duplicated", "a"), ("duplicated", "a")]),
    "expected twice": ([A, A], [A, A], []),
    "expected twice, came once": ([A, A], [A], [("lost", "a")]),
    "not asked for": ([A], [A, B], [("unexpected", "b")]),
    "another content": ([A], [{"id": "a", "x": 2}], [("altered", "a")]),
    "the right one and another": ([A], [A, {"id": "a", "x": 2}], [("duplicated", "a")]),
    "the other one and the right one": ([A], [{"id": "a", "x": 2}, A], [("duplicated", "a")]),
    "one lost, one twice": ([A, B], [A, A], [("duplicated", "a"), ("lost", "b")]),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    expected, found, wrong = CASES[name]
    assert [(each.kind, each.id) for each in findings(expected, found, key="id")] == wrong


documents = st.lists(st.builds(lambda i, x: {"id": i, "x": x}, st.sampled_from("abcd"), st.integers(0, 2)))


@given(documents, documents)
def test_it_is_silent_exactly_if_the_multisets_are_one(
    expected: list[dict[str, Any]], found: list[dict[str, Any]]
) -> None:
    def counted(of: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
        return Counter((each["id"], each["x"]) for each in of)

    wrong = findings(expected, found, key="id")
    assert (not wrong) == (counted(expected) == counted(found))
    kinds = Counter(each.kind for each in wrong)
    more = kinds["duplicated"] + kinds["unexpected"]
    assert len(found) - len(expected) == more - kinds["lost"]


def test_the_time_and_the_instance_of_a_publication_do_not_count_but_everything_else_does() -> None:
    def alert(**changes: Any) -> dict[str, Any]:
        source = [{"topic": "t", "partition": 0, "offset": 1}]
        return {"@timestamp": "1", "kibana.alert.start": "1", "x": 1,
                "detectord": {"instance": "a", "version": "1", "source": source}, **changes}  # fmt: skip

    other = {"instance": "b", "version": "1", "source": [{"topic": "t", "partition": 0, "offset": 1}]}
    assert published(alert()) == published(
        alert(**{"@timestamp": "2", "kibana.alert.start": "2", "detectord": other})
    )
    assert published(alert()) != published(alert(x=2))
    moved = {**other, "source": [{"topic": "t", "partition": 0, "offset": 2}]}
    assert published(alert()) != published(alert(detectord=moved))


def test_an_alert_of_a_replay_is_given_the_places_of_the_stream() -> None:
    records = [{"partition": 3, "offset": 7}, {"partition": 1, "offset": 0}]
    alert = {"detectord": {"version": "1", "source": [{"offset": 2}, {"offset": 1}]}}
    assert placed(alert, records) == {"detectord": {"version": "1", "source": [records[1], records[0]]}}


def test_every_lost_record_has_to_be_told_and_no_other() -> None:
    lost = [(0, 5, 9), (1, 0, 2)]
    assert untold(lost, [(1, 0, 2), (0, 5, 9), (0, 5, 9)]) == ([], [])
    assert untold(lost, [(0, 5, 7), (0, 7, 9), (1, 0, 2)]) == ([], [])
    assert untold(lost, [(0, 5, 8)]) == ([(0, 8, 9), (1, 0, 2)], [])
    assert untold(lost, [(0, 4, 9), (1, 0, 2), (2, 0, 1)]) == ([], [(0, 4, 5), (2, 0, 1)])


def test_the_ledger_has_to_be_the_account_of_what_was_lost() -> None:
    def told(reason: str, count: int, offsets: dict[str, int] | None = None) -> dict[str, Any]:
        return {"reason": reason, "partition": 2, "count": count, "offsets": offsets}

    refused, lost = {("dead_lettered", 2): 3, ("poison", 2): 1}, [(2, 5, 9)]
    gap = told("gap", 4, {"from": 5, "to": 9})
    right = [told("dead_lettered", 1), told("dead_lettered", 2), told("poison", 1), gap]
    assert miscounted(right, refused, lost) == []
    for left_out in range(4):
        assert len(miscounted([*right[:left_out], *right[left_out + 1 :]], refused, lost)) == 1
    assert len(miscounted([*right, told("late", 1)], refused, lost)) == 1
    assert len(miscounted([*right, told("poison", 1)], refused, lost)) == 1
    assert len(miscounted([*right, told("gap", 1, {"from": 9, "to": 10})], refused, lost)) == 1
