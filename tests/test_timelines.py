"""The drawn sequences of `sequences/*.timeline`, run by every engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import timelines
from engines import ENGINES, Results, oracle
from timelines import DrawingError, Timeline

DRAWINGS = [
    (f"{path.stem}: {drawing.name}", drawing)
    for path in sorted((Path(__file__).parent / "sequences").glob("*.timeline"))
    for drawing in timelines.read(path.read_text("utf-8"), path.name)
]


def as_drawn(results: Results, drawing: Timeline) -> None:
    assert [events for events, _ in results] == drawing.results
    for (_, found), wanted in zip(results, drawing.keys, strict=True):
        assert wanted is None or found == wanted


def test_names_are_unique() -> None:
    assert len({name for name, _ in DRAWINGS}) == len(DRAWINGS)


def test_every_worked_example_of_the_reference_is_drawn() -> None:
    assert sorted({drawing.number for _, drawing in DRAWINGS if drawing.number}) == [*range(1, 55)]


@pytest.mark.parametrize("drawing", [pytest.param(each, id=name) for name, each in DRAWINGS])
def test_oracle(drawing: Timeline) -> None:
    as_drawn(oracle(drawing.query, drawing.events), drawing)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("drawing", [pytest.param(each, id=name) for name, each in DRAWINGS])
def test_engine(drawing: Timeline, engine: str) -> None:
    as_drawn(ENGINES[engine](drawing.query, drawing.events), drawing)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A1 B2", "f:1: expected `== name`"),
        ("== n\nA1 b2\n=>", "f:2: n: expected an event such as `A1` or `k|A1`, found `b2`"),
        ("== n\nA1 B2", "f:2: n: expected `=>`"),
        ("== n\nA1\nB2\n=>", "f:3: n: two events begin in one column"),
        ("== n\nA1 B2\n=>\nA1 C3", "f:4: n: `C3` names 0 events"),
        ("== n\nA1 A1\n=>\nA1", "f:4: n: `A1` names 2 events"),
        ("== n\nunit: 3w\nA1\n=>", "f:0: n: expected a unit"),
    ],
)
def test_a_wrong_drawing_is_named(text: str, message: str) -> None:
    with pytest.raises(DrawingError) as caught:
        timelines.read(text, "f")
    assert str(caught.value).startswith(message)
