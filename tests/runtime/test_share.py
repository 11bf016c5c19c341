"""What an instance keeps of the state, and what it tells those who keep the rest."""

from __future__ import annotations

from fleet import HITS, Store

from detectord.engine.watermark import Told
from detectord.events.record import Record
from detectord.hits_topic import PackedHits, written
from detectord.runtime.share import Share
from detectord.runtime.standing import KEY, Standing
from detectord.sinks.memory import MemoryTopics
from detectord.sources.memory import MemoryLog, MemorySource

INPUT = ("in", 0)


class World:
    """One input, four state partitions; this instance is given what `assign` says."""

    def __init__(self) -> None:
        self.log = MemoryLog([INPUT, *((HITS, n) for n in range(4))])
        self.topics = MemoryTopics()
        for n in range(4):
            self.topics.state[n] = {KEY: Standing(arrivals=n).change(n).value or b"", b"m": b"%d" % n}
        self.source = MemorySource(self.log, ())
        store = Store(self.topics, self.log, set())
        self.share = Share(self.source, store, group="g", hits_topic=HITS, partitions=4)

    def assign(self, *partitions: tuple[str, int]) -> frozenset[tuple[str, int]]:
        """What left meanwhile."""
        self.source.rebalance(partitions)
        return self.source.poll(0, 0.0).left


def test_what_comes_is_read_back_and_what_stays_is_not() -> None:
    world = World()
    lost, restored = world.share.reassigned(world.assign(INPUT, (HITS, 0), (HITS, 1)))
    assert (lost, restored.state.keys()) == (frozenset(), {0, 1})
    assert {n: each.arrivals for n, each in restored.standings.items()} == {0: 0, 1: 1}
    lost, restored = world.share.reassigned(world.assign(INPUT, (HITS, 1), (HITS, 2)))
    assert (lost, restored.state.keys()) == ({0}, {2})
    assert world.share.kept == {1, 2}


def test_what_left_and_is_back_is_read_anew() -> None:
    """Somebody may have had it in between."""
    world = World()
    world.share.reassigned(world.assign((HITS, 0), (HITS, 1)))
    world.source.rebalance([(HITS, 0)])
    lost, restored = world.share.reassigned(world.assign((HITS, 0), (HITS, 1)))
    assert (lost, restored.state.keys()) == ({1}, {1})


def test_hits_that_were_there_before_have_to_be_read() -> None:
    world = World()
    for _ in range(3):
        world.log.append((HITS, 1), b"x")
    world.share.reassigned(world.assign((HITS, 0), (HITS, 1)))
    world.share.rewound()
    assert not world.share.has_caught_up()
    world.log.append((HITS, 1), b"later")
    assert len(world.source.poll(3, 0.0).records) == 3
    assert world.share.has_caught_up()
    world.source.seek({})
    world.share.rewound()
    assert not world.share.has_caught_up()


def test_others_are_told_what_is_new_and_after_a_loss_everything() -> None:
    world = World()
    share = world.share
    share.reassigned(world.assign(INPUT, (HITS, 0), (HITS, 1)))
    share.rewound()
    own = {INPUT: Told(5, False)}
    first = share.words({3: [PackedHits(1, b"h")]}, own)
    assert first == [*written("g", 2, [], own), *written("g", 3, [PackedHits(1, b"h")], own)]
    share.told.update(own)
    assert share.words({}, own) == []
    share.rewound()
    assert [record.partition for record in share.words({}, own)] == [2, 3]


def test_every_commit_has_a_position_of_each_group() -> None:
    world = World()
    world.log.committed.update({INPUT: 2, (HITS, 0): 7})
    world.share.reassigned(world.assign(INPUT, (HITS, 0), (HITS, 1)))
    world.share.rewound()
    assert world.share.fenced({}, {}) == {INPUT: 2, (HITS, 0): 7}
    assert world.share.fenced({INPUT: 4}, {INPUT: 3, (HITS, 0): 8}) == {INPUT: 4, (HITS, 0): 8}
    assert world.share.fenced({(HITS, 1): 1, INPUT: 4}, {}) == {(HITS, 1): 1, INPUT: 4}


def test_who_keeps_everything_tells_nobody() -> None:
    world = World()
    world.share.reassigned(world.assign(INPUT, *((HITS, n) for n in range(4))))
    assert world.share.is_whole()
    assert world.share.words({}, {INPUT: Told(5, False)}) == []


def test_words_are_told_from_events() -> None:
    share = World().share
    assert share.is_heard(Record(HITS, 0, 0, None, None, b""))
    assert not share.is_heard(Record(*INPUT, 0, None, None, b""))
