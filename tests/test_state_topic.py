"""How state entries stand in records, without a broker."""

from __future__ import annotations

import pytest

from detectord.engine.state import StateChange, StateError
from detectord.state_topic import CLAIM, FORMAT, PIECE_BYTES, Claim, Pieces, Stored

OURS = Claim(FORMAT, "g", 64)


class Log:
    """A topic: every record written, in order."""

    def __init__(self) -> None:
        self.pieces = Pieces()
        self.stored = Stored()
        self.offset = 0
        self.claim(OURS)

    def claim(self, claim: Claim) -> None:
        self.take(claim.record())

    def write(self, partition: int, key: bytes, value: bytes | None) -> int:
        """Write a change; the records it took."""
        change = StateChange(partition, key, value)
        records = list(self.pieces.records(change))
        for record in records:
            self.take(record)
        self.pieces.written(change)
        return len(records)

    def take(self, record: tuple[int, bytes, bytes | None]) -> None:
        self.stored.take(record[0], self.offset, *record[1:])
        self.offset += 1


def test_what_was_written_last_is_there() -> None:
    log = Log()
    log.write(3, b"pa", b"1")
    log.write(3, b"pa", b"2")
    log.write(63, b"m", b"")
    log.write(3, b"gone", b"x")
    log.write(3, b"gone", None)
    log.write(4, b"never there", None)
    assert log.stored.entries()[0] == {3: {b"pa": b"2"}, 63: {b"m": b""}}


@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 7])
def test_an_entry_of_any_size(size: int) -> None:
    log = Log()
    value = bytes(range(256)) * (size // 256 + 1)
    assert log.write(1, b"p", value[:size]) == max(1, -(-size // PIECE_BYTES))
    assert log.stored.entries()[0] == {1: {b"p": value[:size]}}


def test_no_piece_of_a_larger_entry_is_left() -> None:
    log = Log()
    log.write(1, b"p", b"x" * 3 * PIECE_BYTES)
    assert log.write(1, b"p", b"small") == 3  # the piece, and tombstones for two
    assert log.stored.entries()[0] == {1: {b"p": b"small"}}
    assert log.write(1, b"p", None) == 1
    log.write(1, b"p", b"x" * 3 * PIECE_BYTES)
    _, log.pieces = log.stored.entries()  # a successor knows it from what it has read
    assert log.write(1, b"p", None) == 3
    assert log.stored.entries()[0] == {}


def test_a_commit_that_failed_changes_nothing_about_the_pieces() -> None:
    log = Log()
    log.write(1, b"p", b"x" * 3 * PIECE_BYTES)
    for _ in range(2):
        assert len(list(log.pieces.records(StateChange(1, b"p", b"small")))) == 3


def test_the_first_claim_holds() -> None:
    log = Log()
    log.claim(Claim(FORMAT, "h", 64))
    log.write(1, b"p", b"x")
    assert log.stored.owner() == OURS


REFUSED = [
    ("no key", 0, None, b"x", "no key of ours"),
    ("a short key", 0, b"k", b"x", "no key of ours"),
    ("another partition's", 0, b"\0\x01\0\0p", b"\0\x01x", "state partition 1 stands in partition 0"),
]


@pytest.mark.parametrize(
    ("partition", "key", "value", "said"), [pytest.param(*case, id=name) for name, *case in REFUSED]
)
def test_a_record_that_is_not_ours(partition: int, key: bytes | None, value: bytes, said: str) -> None:
    with pytest.raises(StateError, match=said):
        Stored().take(partition, 0, key, value)


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0x", b"\0\x02x"])
def test_an_entry_that_is_not_whole(value: bytes) -> None:
    stored = Stored()
    stored.take(0, 0, b"\0\0\0\0p", value)
    with pytest.raises(StateError, match="is not whole"):
        stored.entries()


def test_state_that_nobody_claimed() -> None:
    stored = Stored()
    assert stored.owner() is None
    stored.take(0, 0, b"\0\0\0\0p", b"\0\x01x")
    with pytest.raises(StateError, match="nobody has claimed"):
        stored.owner()


def test_a_claim_that_cannot_be_read() -> None:
    stored = Stored()
    stored.take(0, 0, CLAIM + b"x", b"\xc1")
    with pytest.raises(StateError, match="claim cannot be read"):
        stored.owner()
