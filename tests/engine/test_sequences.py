"""The sequence machine alone, on drawn timelines of steps and times."""

from __future__ import annotations

import pytest

from detectord.engine.sequences import Outcome, advance, is_empty, new_row, walk


def play(timeline: str, steps: int, maxspan: int | None = None) -> list[str]:
    """Feed `A1 AB2 …` (steps by letter, then time); the completed sequences as `1-2`."""
    row = new_row(steps)
    found = []
    for event in timeline.split():
        letters = event.rstrip("0123456789")
        time = int(event[len(letters) :])
        _, complete = walk(row, ["ABCDEF".index(c) for c in letters], time, time, maxspan)
        if complete:
            found.append("-".join(map(str, complete.events)))
    return found


@pytest.mark.parametrize(
    ("timeline", "steps", "maxspan", "found"),
    [
        ("A1 B2", 2, None, ["1-2"]),
        ("B1 A2 B3", 2, None, ["2-3"]),
        ("A1 A2 B3 B4", 2, None, ["2-3"]),
        ("A1 B2 B3", 2, None, ["1-2"]),
        ("AB1 AB2 AB3", 2, None, ["1-2", "2-3"]),
        ("A1 B2 A3 B4 C5 C6", 3, None, ["3-4-5"]),
        ("A1 B2 A3 C4 B5 C6", 3, None, ["1-2-4", "3-5-6"]),
        ("ABC1 ABC2 ABC3 ABC4", 3, None, ["1-2-3", "2-3-4"]),
        ("A1 B6", 2, 5, ["1-6"]),
        ("A1 B7", 2, 5, []),
        ("A1 B7 B8", 2, 5, []),
        ("A1 A5 B8", 2, 5, ["5-8"]),
        ("A1 B2 A3 C4 B5 C9", 3, 5, ["1-2-4"]),
    ],
)
def test_timelines(timeline: str, steps: int, maxspan: int | None, found: list[str]) -> None:
    assert play(timeline, steps, maxspan) == found


def test_every_outcome_has_a_name() -> None:
    row = new_row(3)
    assert advance(row, 1, 0, "x", 5) == (Outcome.NO_PREDECESSOR, None)
    assert advance(row, 0, 0, "a", 5) == (Outcome.STARTED, None)
    assert advance(row, 1, 3, "b", 5) == (Outcome.ADVANCED, None)
    outcome, complete = advance(row, 2, 5, "c", 5)
    assert outcome is Outcome.COMPLETED
    assert complete is not None
    assert complete.events == ("a", "b", "c")
    assert is_empty(row)
    advance(row, 0, 0, "a", 5)
    assert advance(row, 1, 6, "b", 5) == (Outcome.SPAN_EXCEEDED, None)
    assert is_empty(row)
