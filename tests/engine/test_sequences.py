"""The sequence machine alone: timelines of stages and times, and a ring against the steps it stands for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.engine.sequences import Machine, Outcome, Partial, Row, Shape

MS = 1_000_000


class References:
    """Counts what a machine says it refers to."""

    def __init__(self) -> None:
        self.counts: Counter[object] = Counter()

    def machine(self, shape: Shape) -> Machine[int]:
        return Machine(shape, self.keep, self.drop)

    def keep(self, event: object) -> None:
        self.counts[event] += 1

    def drop(self, event: object) -> None:
        self.counts[event] -= 1
        assert self.counts[event] >= 0

    def are_those_of(self, *rows: Row[int]) -> bool:
        return +self.counts == Counter(event for row in rows for event in row.events())


def play(timeline: str, shape: Shape) -> list[str]:
    """Feed `A1 AB2 …` (stages by letter, then time); the completed sequences as `1-2`."""
    references = References()
    machine = references.machine(shape)
    row = machine.new_row()
    found = []
    for event in timeline.split():
        letters = event.rstrip("0123456789")
        time = int(event[len(letters) :])
        for stage in sorted(("ABCDEF".index(c) for c in letters), reverse=True):
            outcome, complete = machine.offer(row, stage, time, time)
            if outcome is Outcome.COMPLETED:
                assert complete is not None
                found.append("-".join(map(str, complete.events)))
                for each in complete.events:
                    references.drop(each)
        assert references.are_those_of(row)
    return found


@pytest.mark.parametrize(
    ("timeline", "runs", "maxspan", "found"),
    [
        ("A1 B2", (1, 1), None, ["1-2"]),
        ("B1 A2 B3", (1, 1), None, ["2-3"]),
        ("A1 A2 B3 B4", (1, 1), None, ["2-3"]),
        ("A1 B2 B3", (1, 1), None, ["1-2"]),
        ("AB1 AB2 AB3", (1, 1), None, ["1-2", "2-3"]),
        ("A1 B2 A3 B4 C5 C6", (1, 1, 1), None, ["3-4-5"]),
        ("A1 B2 A3 C4 B5 C6", (1, 1, 1), None, ["1-2-4", "3-5-6"]),
        ("ABC1 ABC2 ABC3 ABC4", (1, 1, 1), None, ["1-2-3", "2-3-4"]),
        ("A1 B6", (1, 1), 5, ["1-6"]),
        ("A1 B7", (1, 1), 5, []),
        ("A1 B7 B8", (1, 1), 5, []),
        ("A1 A5 B8", (1, 1), 5, ["5-8"]),
        ("A1 B2 A3 C4 B5 C9", (1, 1, 1), 5, ["1-2-4"]),
        ("A1", (1,), None, ["1"]),
        ("A1 A2 A3 A4", (3,), None, ["1-2-3", "2-3-4"]),
        ("A1 A2 A9 A10 A11", (3,), 5, ["9-10-11"]),
        ("A1 B2 B3 B4 C5", (1, 2, 1), None, ["1-2-3-5"]),
        ("A1 B2 A3 B4 B5 C6", (1, 2, 1), None, ["3-4-5-6"]),
        ("AB1 AB2 AB3 B4 B5", (2, 2), None, ["1-2-3-4", "2-3-4-5"]),
    ],
)
def test_timelines(timeline: str, runs: tuple[int, ...], maxspan: int | None, found: list[str]) -> None:
    assert play(timeline, Shape(runs, maxspan)) == found


def test_every_outcome_has_a_name() -> None:
    machine = References().machine(Shape((1, 1, 1), 5))
    row = machine.new_row()
    assert machine.offer(row, 1, 0, 9) == (Outcome.NO_PREDECESSOR, None)
    assert machine.offer(row, 0, 0, 1) == (Outcome.STARTED, None)
    assert machine.offer(row, 1, 3, 2, lambda partial: partial.events != (1,)) == (Outcome.NOT_ACCEPTED, None)
    assert machine.offer(row, 1, 3, 2, lambda partial: partial.events == (1,)) == (Outcome.ADVANCED, None)
    outcome, complete = machine.offer(row, 2, 5, 3)
    assert outcome is Outcome.COMPLETED
    assert complete is not None
    assert complete.events == (1, 2, 3)
    assert row.is_empty()
    machine.offer(row, 0, 0, 1)
    assert machine.offer(row, 1, 6, 2) == (Outcome.SPAN_EXCEEDED, None)
    assert row.is_empty()


@settings(max_examples=500)
@given(
    runs=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    maxspan=st.sampled_from([None, 2, 5, 9]),
    events=st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(0, 3))), max_size=40),
    cleared=st.sets(st.integers(0, 40), max_size=3),
)
def test_a_ring_is_as_the_steps_it_stands_for(
    runs: list[int], maxspan: int | None, events: list[tuple[int, set[int]]], cleared: set[int]
) -> None:
    together, apart = References(), References()
    ring = together.machine(Shape(tuple(runs), maxspan))
    steps = apart.machine(Shape((1,) * sum(runs), maxspan))
    ring_row, step_row = ring.new_row(), steps.new_row()
    time = 0
    for number, (gap, stages) in enumerate(events):
        time += gap
        found: list[tuple[int, ...]] = []
        expected: list[tuple[int, ...]] = []
        for stage in sorted(stages & set(range(len(runs))), reverse=True):
            completed(ring, ring_row, stage, time, number, found, together)
            first = sum(runs[:stage])
            for step in range(first + runs[stage] - 1, first - 1, -1):
                completed(steps, step_row, step, time, number, expected, apart)
        assert found == expected
        if number in cleared:
            assert ring.clear(ring_row) <= steps.clear(step_row) or not ring_row.is_empty()
            assert ring_row.is_empty()
        assert together.are_those_of(ring_row)
        assert apart.are_those_of(step_row)


def completed(
    machine: Machine[int],
    row: Row[int],
    stage: int,
    time: int,
    event: int,
    found: list[tuple[int, ...]],
    references: References,
) -> None:
    _, complete = machine.offer(row, stage, time, event)
    if complete is not None:
        found.append(complete.events)
        for each in complete.events:
            references.drop(each)


@pytest.mark.parametrize(
    ("hits", "start", "before"),
    [
        ([], 5, None),
        ([3], 5, 3),
        ([5], 5, None),
        ([3, 5], 5, 3),
        ([3, 4, 4], 5, 4),
        ([4, 3], 5, 4),
        ([3, 5, 2], 5, 3),
    ],
)
def test_a_sequence_knows_the_last_hit_before_it_in_an_earlier_millisecond(
    hits: list[int], start: int, before: int | None
) -> None:
    machine = References().machine(Shape((1, 1), 100 * MS, leading=True))
    row = machine.new_row()
    for time in hits:
        machine.missed(row, 0, time * MS)
    machine.offer(row, 0, start * MS + 7, 1)
    partial = row.slots[0]
    assert partial is not None
    assert partial.before == (None if before is None else before * MS)


@pytest.mark.parametrize(
    ("partial", "leading", "deadline", "disturbed"),
    [
        (Partial(10, 14, ()), False, 15, False),
        (Partial(10, 15, ()), False, None, False),
        (Partial(10, 14, (), before=9), True, None, False),
        (Partial(10, 12, (), before=9), True, 14, False),
        (Partial(10, 12, ()), True, None, False),
        (Partial(10, 12, (), doomed=True), False, 15, True),
    ],
)
def test_when_a_trailing_missing_step_is_decided(
    partial: Partial[int], leading: bool, deadline: int | None, disturbed: bool
) -> None:
    shape = Shape((1, 1), 5, leading=leading, trailing=True)
    assert shape.deadline(partial) == deadline
    assert shape.is_disturbed(partial) is disturbed


def test_expiry_leaves_what_can_still_complete() -> None:
    references = References()
    machine = references.machine(Shape((1, 3, 1), 5))
    row = machine.new_row()
    for stage, time, event in [(0, 1, 1), (1, 2, 2), (0, 3, 3), (1, 4, 4), (0, 5, 5)]:
        machine.offer(row, stage, time, event)
    assert machine.next_expiry(row) == 6
    assert machine.expire(row, 6) == 0
    assert machine.expire(row, 7) == 1
    assert machine.next_expiry(row) == 8
    assert references.are_those_of(row)
    assert machine.expire(row, 100) == 2
    assert row.is_empty()
    assert not +references.counts
