"""Hits on their way to another instance."""

from __future__ import annotations

import msgspec
import pytest

from detectord.engine.state import StateError
from detectord.engine.watermark import Told
from detectord.events.record import Record
from detectord.hits_topic import FORMAT, MOST_BYTES, AwayRecord, PackedHits, read, written

TOLD = {("in", 1): Told(5, False), ("in", 0): Told(None, True)}


def record(value: bytes) -> Record:
    return Record("hits", 3, 17, None, None, value)


def test_hits_come_before_the_word_about_the_inputs_they_rest_on() -> None:
    hits = [PackedHits(n, bytes([n]) * (MOST_BYTES // 3)) for n in range(1, 8)]
    records = [read(record(value), "g") for _, value in written("g", 3, hits, TOLD)]
    assert [pack for words in records for pack in words.hits] == hits
    assert [words.progress() for words in records] == [{}, {}, TOLD]
    assert all(sum(len(pack.packed) for pack in words.hits) <= MOST_BYTES for words in records)


def test_words_without_hits_and_nothing_at_all() -> None:
    (only,) = written("g", 3, [], TOLD)
    assert only.partition == 3
    assert read(record(only.value), "g").progress() == TOLD
    assert list(written("g", 3, [], {})) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "at offset 17 of hits\\[3\\] cannot be read"),
        (msgspec.msgpack.encode([FORMAT + 1, "g", [], []]), f"format {FORMAT + 1}; this build reads"),
        (msgspec.msgpack.encode([FORMAT, "h", [], []]), "belongs to group h, not to g"),
    ],
)
def test_what_is_refused(value: bytes, said: str) -> None:
    with pytest.raises(StateError, match=said):
        read(record(value), "g")


def test_a_record_is_for_the_partition_of_its_number() -> None:
    assert all(isinstance(each, AwayRecord) and each.partition == 3 for each in written("g", 3, [], TOLD))
