"""The fakes do on cue what Kafka does by itself; a simulation rests on that."""

from __future__ import annotations

import random

import pytest
from contracts.sink import alert, letter
from contracts.source import values

from detectord.sinks import DeliveryError, Outputs
from detectord.sinks.memory import MemorySink
from detectord.sources import SourceError
from detectord.sources.memory import MemoryLog, MemorySource

P = [("in", number) for number in range(3)]


def log_of(count: int) -> MemoryLog:
    log = MemoryLog(P)
    for n in range(count):
        for partition in P:
            log.append(partition, b"%d:%d" % (partition[1], n), timestamp=n)
    return log


def test_partitions_take_turns() -> None:
    source = MemorySource(log_of(4))
    firsts = [source.poll(2, 0.0).records[0].partition for _ in range(3)]
    assert sorted(firsts) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_random_shares_lose_nothing(seed: int) -> None:
    source = MemorySource(log_of(20), rng=random.Random(seed))
    seen = dict.fromkeys(P, 0)
    while any(offset < 20 for offset in seen.values()):
        for record in source.poll(7, 0.0).records:
            assert record.offset == seen[record.topic, record.partition]
            seen[record.topic, record.partition] += 1


def test_records_that_come_later() -> None:
    log = MemoryLog(P[:1])
    source = MemorySource(log)
    assert source.poll(5, 0.0).at_end == {P[0]}
    log.append(P[0], b"a")
    poll = source.poll(5, 0.0)
    assert (values(poll.records), poll.at_end, poll.finished) == ([b"a"], {P[0]}, False)
    log.finish()
    assert source.poll(5, 0.0).finished


def test_a_rebalance() -> None:
    log = log_of(3)
    source = MemorySource(log, P[:2])
    source.poll(100, 0.0)
    log.committed[P[2]] = 2
    source.rebalance(P[1:])
    poll = source.poll(100, 0.0)
    assert poll.rebalanced
    assert values(poll.records) == [b"2:2"]
    assert source.assignment() == set(P[1:])
    assert not source.poll(1, 0.0).rebalanced
    source.seek({P[1]: 2})
    assert sorted(values(source.poll(100, 0.0).records)) == [b"1:2", b"2:2"]


def test_positions_outlive_a_source() -> None:
    log = log_of(3)
    first = MemorySource(log)
    sink = MemorySink(first.commit)
    sink.commit(Outputs([], []), {P[0]: 2})
    first.close()
    again = MemorySource(log)
    assert min(values(again.poll(100, 0.0).records)) == b"0:2"
    assert log.committed == sink.positions == {P[0]: 2}


def test_failures_on_cue() -> None:
    source = MemorySource(log_of(1))
    source.fail("gone")
    with pytest.raises(SourceError, match="gone"):
        source.poll(1, 0.0)
    assert source.poll(1, 0.0).records

    sink = MemorySink()
    outputs = Outputs([alert(1), alert(2)], [letter(1), letter(2)])
    sink.fail()
    sink.fail(after=3)
    for delivered in ((0, 0), (2, 1)):
        with pytest.raises(DeliveryError):
            sink.commit(outputs, {P[0]: 1})
        assert (len(sink.alerts), len(sink.dead_letters)) == delivered
    sink.commit(outputs, {P[0]: 1})
    assert (len(sink.alerts), len(sink.dead_letters)) == (4, 3)
    assert [(len(c.outputs.alerts), c.positions) for c in sink.commits] == [(2, {P[0]: 1})]
