"""Samples: the choice of events, and what a window keeps and forgets."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.engine.samples import SampleMachine, choices


@given(st.lists(st.lists(st.integers(0, 4), unique=True, max_size=4), min_size=1, max_size=4))
def test_choices_are_those_of_trying_everything(candidates: list[list[int]]) -> None:
    everything = [choice for choice in itertools.product(*candidates) if len(set(choice)) == len(choice)]
    assert list(choices(candidates)) == everything


def test_no_choice_is_found_to_be_none_without_trying_all() -> None:
    same = [list(range(19))] * 20
    assert next(choices(same), None) is None


def play(hits: list[tuple[int, str]], window: int, steps: int = 2) -> list[tuple[str, ...]]:
    """Feed (time, letters of the steps): the samples, as the times of their events."""
    counts: Counter[str] = Counter()

    def drop(event: str) -> None:
        counts[event] -= 1
        assert counts[event] >= 0

    machine: SampleMachine[str] = SampleMachine(steps, window, lambda e: counts.update([e]), drop)
    row = machine.new_row()
    found = []
    for number, (time, letters) in enumerate(hits):
        sample = machine.offer(row, ["ABC".index(c) for c in letters], time, f"{time}#{number}")
        if sample is not None:
            found.append(tuple(each.split("#")[0] for each in sample))
            for each in sample:
                drop(each)
        assert +counts == Counter(row.events())
    machine.expire(row, 10**9)
    assert row.is_empty()
    assert machine.next_expiry(row) is None
    return found


@pytest.mark.parametrize(
    ("hits", "found"),
    [
        ([(1, "A"), (2, "B")], [("1", "2")]),
        ([(1, "B"), (2, "A")], [("2", "1")]),
        ([(1, "AB")], []),
        ([(1, "AB"), (2, "A")], [("2", "1")]),
        ([(1, "A"), (11, "B")], [("1", "11")]),
        ([(1, "A"), (12, "B")], []),
        ([(1, "A"), (2, "A"), (3, "A"), (13, "B")], [("3", "13")]),
        ([(1, "A"), (2, "B"), (3, "A"), (4, "B")], [("1", "2")]),
        ([(1, "A"), (2, "B"), (12, "A"), (13, "A"), (14, "B")], [("1", "2"), ("13", "14")]),
    ],
)
def test_a_window_of_ten(hits: list[tuple[int, str]], found: list[tuple[str, ...]]) -> None:
    assert play(hits, 10) == found


def test_three_steps_take_what_leaves_a_choice() -> None:
    assert play([(1, "AB"), (2, "BC"), (3, "C")], 10, 3) == [("1", "2", "3")]
