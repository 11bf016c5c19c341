"""What a successor is told of a state partition beside its entries."""

from __future__ import annotations

import msgspec
import pytest

from detectord.engine.state import StateError
from detectord.engine.watermark import Told
from detectord.runtime.standing import KEY, Standing, take_standings


def test_what_was_written_is_read_and_taken_out() -> None:
    told = {("b", 0): Told(5, True), ("a", 1): Told(None, False)}
    standing = Standing.of(7, told, {("b", 0): 9})
    partition, key, value = standing.change(3)
    assert value is not None
    state = {partition: {key: value, b"m": b"x"}}
    assert take_standings(state, [3]) == {3: standing}
    assert state == {3: {b"m": b"x"}}
    assert standing.progress() == told
    assert standing.committed() == {("b", 0): 9}


def test_a_first_start() -> None:
    assert take_standings({}, [0, 5]) == {0: Standing(), 5: Standing()}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nothing says where they were left"),
        (b"\xc1", "cannot be read"),
        (msgspec.msgpack.encode([99, 0, [], []]), "format 99; this build reads format 2"),
    ],
)
def test_what_is_refused(value: bytes | None, said: str) -> None:
    state = {3: {b"m": b"x"}}
    if value is not None:
        state[3][KEY] = value
    with pytest.raises(StateError, match=said):
        take_standings(state, [3])
