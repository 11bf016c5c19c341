"""What the loop does when the end of the line does not take what it has."""

from __future__ import annotations

import random

import pytest
from simulation import History

from detectord.events.record import Positions
from detectord.runtime.supervisor import CrashLoopError
from detectord.sinks import DeliveryError, PositionsRefusedError
from detectord.sinks.memory import MemorySink
from detectord.sources.memory import MemorySource


def refusing(source: MemorySource, rng: random.Random, chance: float) -> MemorySink:
    """A sink that now and then delivers everything but may not store the positions."""

    def commit(positions: Positions) -> None:
        if rng.random() < chance:
            raise PositionsRefusedError("not ours any more")
        source.commit(positions)

    return MemorySink(commit)


@pytest.mark.parametrize("seed", range(40))
def test_refused_positions_repeat_alerts_and_lose_or_invent_none(seed: int) -> None:
    history = History(seed, crash=0.01)
    found = history.run(lambda source: refusing(source, random.Random(seed), 0.2))
    expected = history.expected()
    assert found.keys() == expected.keys()
    assert all(found[name] >= expected[name] for name in expected)


@pytest.mark.parametrize("seed", range(20))
def test_a_delivery_that_fails_is_tried_again(seed: int) -> None:
    history = History(seed)

    def failing(source: MemorySource) -> MemorySink:
        sink = MemorySink(source.commit)
        for after in (0, 1, 2):
            sink.fail(after=after)
        return sink

    found = history.run(failing)
    assert found.keys() == history.expected().keys()


def test_a_delivery_that_never_succeeds_ends_the_instance_and_acknowledges_nothing() -> None:
    history = History(3)

    def failing(source: MemorySource) -> MemorySink:
        sink = MemorySink(source.commit)
        for _ in range(4):
            sink.fail()
        return sink

    with pytest.raises(DeliveryError):
        history.run(failing)
    assert history.log.committed == {}


def test_positions_refused_for_ever_end_the_instance() -> None:
    history = History(3)
    with pytest.raises(CrashLoopError, match="not ours any more"):
        history.run(lambda source: refusing(source, random.Random(0), 1.0))
