"""The shelf: what is laid down is picked up as it was, and nothing is laid over it before it is cleared."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.runtime.protocol import Batch, Chunk
from detectord.runtime.shelf import MOST_LAID, Laid, Shelf, ShelfReader

SIZE = 4096

Row = tuple[bytes | None, bytes]

rows = st.lists(
    st.tuples(st.none() | st.binary(max_size=5), st.binary(max_size=3) | st.integers(0, 900).map(bytes)),
    max_size=6,
)


def batch(number: int, *chunks: Sequence[Row]) -> Batch:
    def chunk(partition: int, rows: Sequence[Row]) -> Chunk:
        numbers = array("q", range(len(rows)))
        return Chunk("t", partition, numbers, numbers, numbers, [k for k, _ in rows], [v for _, v in rows])

    return Batch(0, number, 7, tuple(chunk(partition, own) for partition, own in enumerate(chunks)))


def plain(given: Batch) -> list[tuple[object, ...]]:
    """A batch with its columns as lists, to be compared."""
    return [(c.topic, c.partition, *map(list, c[2:])) for c in given.chunks]


def picked(reader: ShelfReader, laid: Batch | Laid) -> Batch:
    """As the worker has it, whichever way it came."""
    return reader.pick(laid) if isinstance(laid, Laid) else laid


@given(st.lists(st.lists(rows, max_size=3) | st.integers(0, 3), max_size=30))
def test_whatever_lies_there_is_as_it_was_until_it_is_cleared(steps: list[list[list[Row]] | int]) -> None:
    """A step lays down a batch, or clears the oldest few."""
    shelf = Shelf(SIZE)
    reader = shelf.reader()
    there: list[tuple[Batch, Batch | Laid]] = []
    for number, step in enumerate(steps):
        if isinstance(step, int):
            cleared, there = there[:step], there[step:]
            if cleared:
                shelf.clear(cleared[-1][0].number)
        else:
            made = batch(number, *step)
            there.append((made, shelf.lay(made)))
        for before, laid in there:
            found = picked(reader, laid)
            assert plain(found) == plain(before)
            assert (found.epoch, found.number, found.now) == (before.epoch, before.number, before.now)
    shelf.clear(len(steps))
    assert isinstance(shelf.lay(batch(99, [(None, bytes(SIZE))])), Laid), "all of it is free again"
    shelf.close()


def test_a_batch_that_finds_no_room_stays_as_it_is() -> None:
    shelf = Shelf(SIZE)
    large = batch(0, [(b"k", bytes(SIZE))])
    assert shelf.lay(large) is large
    assert isinstance(shelf.lay(batch(1, [(None, bytes(3000))])), Laid)
    second = batch(2, [(None, bytes(3000))])
    assert shelf.lay(second) is second
    assert isinstance(shelf.lay(batch(3, [(None, bytes(1000))])), Laid)
    shelf.clear(1)
    assert isinstance(shelf.lay(batch(4, [(None, bytes(3000))])), Laid)
    shelf.close()


def test_the_batches_on_a_shelf_are_not_without_number() -> None:
    shelf = Shelf(SIZE)
    laid = [shelf.lay(batch(number, [(None, b"x")])) for number in range(MOST_LAID + 1)]
    assert [isinstance(each, Laid) for each in laid] == [True] * MOST_LAID + [False]
    shelf.close()


def test_the_place_used_last_is_used_again() -> None:
    """So that it is the same memory all the time while the worker keeps up."""
    shelf = Shelf(SIZE)
    for number in range(5):
        laid = shelf.lay(batch(number, [(None, bytes(500))]))
        assert isinstance(laid, Laid)
        assert laid.start == 0
        shelf.clear(number)
    shelf.close()


def test_a_system_without_such_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    with pytest.raises(OSError, match="no memfd"):
        Shelf(SIZE)
