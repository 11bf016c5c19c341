"""What a successor is told beside the state entries."""

from __future__ import annotations

import msgspec
import pytest

from detectord.engine.state import StateError
from detectord.runtime.standing import FILED_WITH, KEY, Standing, take_standing


def test_what_was_written_is_read_and_taken_out() -> None:
    standing = Standing.of(7, 123, {("b", 0): 5, ("a", 1): 4}, {("b", 0): 9})
    partition, key, value = standing.change()
    assert value is not None
    state = {partition: {key: value, b"m": b"x"}}
    assert take_standing(state) == standing
    assert state == {partition: {b"m": b"x"}}
    assert standing.newest() == {("a", 1): 4, ("b", 0): 5}
    assert standing.committed() == {("b", 0): 9}


def test_a_first_start() -> None:
    assert take_standing({}) == Standing()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nothing says where"),
        (b"\xc1", "cannot be read"),
        (msgspec.msgpack.encode([99, 0, None, []]), "format 99; this build reads format 1"),
    ],
)
def test_what_is_refused(value: bytes | None, said: str) -> None:
    state = {3: {b"m": b"x"}}
    if value is not None:
        state[FILED_WITH] = {KEY: value}
    with pytest.raises(StateError, match=said):
        take_standing(state)
