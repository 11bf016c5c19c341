"""What every Source keeps. `make(values)` gives a new source of one partition with these records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from detectord.events.record import Record
from detectord.sources import Poll, Source

Make = Callable[[Sequence[bytes]], Source]

VALUES = [b'{"n":%d}' % n for n in range(7)]

DEADLINE = 20.0


def poll_until(source: Source, done: Callable[[Poll], object], limit: int = 100) -> Poll:
    """The first poll of which `done` is true."""
    until = time.monotonic() + DEADLINE
    while not done(poll := source.poll(limit, 0.1)):
        assert time.monotonic() < until, "it did not come to that"
    return poll


def read(source: Source, count: int, limit: int = 3) -> list[Record]:
    """The next `count` records; fails if they do not come in time."""
    until = time.monotonic() + DEADLINE
    records: list[Record] = []
    while len(records) < count:
        poll = source.poll(min(limit, count - len(records)), 0.2)
        assert len(poll.records) <= limit
        records += poll.records
        assert time.monotonic() < until, f"only {len(records)} of {count} records came"
    return records


def read_to_end(source: Source, limit: int = 3) -> list[Record]:
    """Everything there is."""
    until = time.monotonic() + DEADLINE
    records: list[Record] = []
    while True:
        poll = source.poll(limit, 0.2)
        records += poll.records
        if source.assignment() and poll.at_end == source.assignment():
            return records
        assert time.monotonic() < until, "the end was not reached"


def values(records: Sequence[Record]) -> list[bytes]:
    return [record.value for record in records]


def reads_everything_once_in_order(make: Make) -> None:
    source = make(VALUES)
    records = read_to_end(source)
    assert values(records) == VALUES
    offsets = [record.offset for record in records]
    assert offsets == sorted(set(offsets))
    assert {record.arrival for record in records} == {0}
    assert {(record.topic, record.partition) for record in records} == source.assignment()
    source.close()


def resumes_after_any_record(make: Make) -> None:
    first = make(VALUES)
    records = read(first, len(VALUES))
    for cut, record in enumerate(records):
        position = {(record.topic, record.partition): record.offset + 1}
        first.seek(position)
        assert values(read_to_end(first)) == VALUES[cut + 1 :]
    first.close()


def seeks_with_records_fetched_ahead(make: Make) -> None:
    source = make(VALUES)
    records = read(source, 5, limit=1)
    for cut in (3, 0, 4, 1):
        source.seek({(records[cut].topic, records[cut].partition): records[cut].offset})
        assert values(read(source, 2, limit=1)) == VALUES[cut : cut + 2]
    source.close()


def goes_back_to_its_first_start(make: Make) -> None:
    source = make(VALUES)
    read(source, 4)
    source.seek({})
    assert values(read_to_end(source)) == VALUES
    source.close()


def leaves_the_end_when_it_goes_back(make: Make) -> None:
    source = make(VALUES)
    read_to_end(source)
    source.seek({})
    first = source.poll(1, 0.0)
    assert first.at_end == frozenset()
    assert values(first.records + read_to_end(source)) == VALUES
    source.close()


def takes_nothing_with_limit_zero(make: Make) -> None:
    source = make(VALUES)
    read(source, 2)
    for _ in range(3):
        assert source.poll(0, 0.01).records == []
    assert values(read(source, 1)) == VALUES[2:3]
    assert source.poll(0, 0.0).records == []
    source.seek({})
    for _ in range(6):
        assert source.poll(0, 0.2).records == []
    assert values(read_to_end(source)) == VALUES
    source.close()


def has_an_end_without_records(make: Make) -> None:
    source = make([])
    assert read_to_end(source) == []
    source.close()


CHECKS = [
    reads_everything_once_in_order,
    resumes_after_any_record,
    seeks_with_records_fetched_ahead,
    goes_back_to_its_first_start,
    leaves_the_end_when_it_goes_back,
    takes_nothing_with_limit_zero,
    has_an_end_without_records,
]
