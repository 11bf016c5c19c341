"""Two sources as one: a change of both is told once, and nobody waits for what does not come."""

from __future__ import annotations

import pytest

from detectord.events.record import Partition
from detectord.sources import Poll
from detectord.sources.memory import MemoryLog, MemorySource
from detectord.sources.pair import TOGETHER_POLLS, PairedSource

INPUT, HITS = ("in", 0), ("hits", 0)


class Joining(MemorySource):
    """Gets its partition with the poll after `polls` others; with None never."""

    def __init__(self, partition: Partition, polls: int | None) -> None:
        super().__init__(MemoryLog([partition]), ())
        self.log.append(partition, b"x")
        self.polled = 0
        self._partition = partition
        self._polls = polls

    def poll(self, limit: int, timeout: float) -> Poll:
        if self.polled == self._polls:
            self.rebalance([self._partition])
        self.polled += 1
        return super().poll(limit, timeout)


def changes(inputs: Joining, hits: Joining, polls: int) -> list[frozenset[Partition]]:
    """What is read, whenever that has changed."""
    pair = PairedSource(inputs, hits, "hits")
    return [pair.assignment() for _ in range(polls) if pair.poll(10, 0.0).rebalanced]


@pytest.mark.parametrize("late", range(TOGETHER_POLLS + 1))
def test_what_comes_nearly_together_is_told_at_once(late: int) -> None:
    assert changes(Joining(INPUT, late), Joining(HITS, 0), 30) == [{INPUT, HITS}]


def test_what_comes_late_is_told_by_itself() -> None:
    late = Joining(INPUT, TOGETHER_POLLS + 1)
    assert changes(late, Joining(HITS, 0), 30) == [{HITS}, {INPUT, HITS}]


def test_who_has_no_inputs_goes_on_without() -> None:
    inputs = Joining(INPUT, None)
    assert changes(inputs, Joining(HITS, 0), 30) == [{HITS}]
    assert inputs.polled == 30 + TOGETHER_POLLS


def test_inputs_that_are_there_are_not_asked_twice() -> None:
    inputs = Joining(INPUT, 0)
    assert changes(inputs, Joining(HITS, 2), 30) == [{INPUT}, {INPUT, HITS}]
    assert inputs.polled == 30
