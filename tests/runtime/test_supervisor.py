"""What the loop does when the end of the line does not take what it has."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from fleet import GROUP, HITS, Store
from simulation import BASE, SECOND, History, SimulatedPool, Watcher

from detectord.engine.detector import EngineSettings
from detectord.engine.state import StateError
from detectord.engine.watermark import EventTimeWatermark, Told
from detectord.events.record import Positions
from detectord.runtime.coverage import Idle
from detectord.runtime.seams import Commit
from detectord.runtime.sharding import Router
from detectord.runtime.share import Share
from detectord.runtime.standing import KEY, Standing, take_standings
from detectord.runtime.supervisor import CrashLoopError, Settings, Supervisor
from detectord.sinks import DeliveryError, EndedError, PositionsRefusedError
from detectord.sinks.memory import MemorySink, MemoryTopics, TransactionalMemorySink
from detectord.sources import Gap, Poll
from detectord.sources.memory import MemoryLog, MemorySource

PARTITIONS = 8


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


class HandClock:
    """A clock that stands still unless it is moved."""

    time = 0

    def now(self) -> int:
        return self.time

    def monotonic(self) -> int:
        return self.time


class Reports(Watcher):
    """Keeps the watermark and the size of every commit."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Commit] = []

    def committed(self, commit: Commit) -> None:
        super().committed(commit)
        self.commits.append(commit)


def loop(
    log: MemoryLog, share: Callable[[MemorySource], Share] | None = None, **settings: int
) -> tuple[Supervisor, HandClock, Reports]:
    """A supervisor over one worker that answers at once."""
    clock, reports = HandClock(), Reports()
    source = MemorySource(log)
    pool = SimulatedPool(1, random.Random(0), EngineSettings(partitions=PARTITIONS))
    watermark = EventTimeWatermark(SECOND, 30 * SECOND)
    sink, router = MemorySink(source.commit), Router(1, PARTITIONS)
    bounds = Settings(commit_interval=SECOND, partitions=PARTITIONS, **settings)
    own = None if share is None else share(source)
    source.rebalance(log.records)
    return (
        Supervisor(source, sink, pool, router, watermark, clock, reports, bounds, share=own),
        clock,
        reports,
    )


def sharing(topics: MemoryTopics, log: MemoryLog) -> Callable[[MemorySource], Share]:
    """The share of who reads everything."""

    def make(source: MemorySource) -> Share:
        store = Store(topics, log, set())
        return Share(source, store, group=GROUP, hits_topic=HITS, partitions=PARTITIONS)

    return make


def log_with_hits() -> MemoryLog:
    return MemoryLog([("t", 0), *((HITS, n) for n in range(PARTITIONS))])


def test_a_loop_that_was_held_up_takes_nobody_for_idle() -> None:
    """A commit that took half a minute is not half a minute of silence."""
    log = MemoryLog([("t", 0)])
    log.append(("t", 0), json.dumps({"@timestamp": BASE // 1_000_000, "event": {"category": "x"}}).encode())
    supervisor, clock, _ = loop(log)
    for _ in range(50):
        clock.time += SECOND // 4
        supervisor.step()
    clock.time += 35 * SECOND
    for _ in range(8):
        clock.time += SECOND // 4
        supervisor.step()
    assert supervisor._reached == BASE - SECOND
    for _ in range(200):
        clock.time += SECOND // 4
        supervisor.step()
    assert supervisor._reached is not None
    assert supervisor._reached > BASE, "real silence is silence"


def test_dead_letters_count_towards_the_bytes_before_a_commit() -> None:
    log = MemoryLog([("t", 0)])
    for _ in range(40):
        log.append(("t", 0), b"x" * 10_000)
    supervisor, _, reports = loop(log, commit_bytes=50_000, batch_records=2)
    for _ in range(400):
        supervisor.step()  # the clock stands still: only bytes make a commit due
    sizes = [sum(len(d.record.value) for d in commit.outputs.dead_letters) for commit in reports.commits]
    assert len(sizes) > 1
    assert max(sizes) < 300_000


class Gapped(MemorySource):
    """A source of which the first records are gone: whoever begins before them is told of a gap."""

    def __init__(self, log: MemoryLog, gone: int, rng: random.Random) -> None:
        super().__init__(log, rng=rng)
        self.gone = gone
        self.told = 0

    def poll(self, limit: int, timeout: float) -> Poll:
        gaps = [
            Gap(place, offset, self.gone) for place, offset in self._position.items() if offset < self.gone
        ]
        for gap in gaps:
            self._position[gap.partition] = gap.resumed
        self.told += len(gaps)
        return super().poll(limit, timeout)._replace(gaps=tuple(gaps))


@pytest.mark.parametrize("seed", range(40))
def test_a_gap_is_in_the_ledger_once_however_often_it_is_found(seed: int) -> None:
    """A way back to before the gap finds it again, whether or not the commit that told of it was the last."""
    history = History(seed, crash=0.05)
    rng = random.Random(seed)
    source = Gapped(history.log, 2, rng)
    sink = refusing(source, rng, 0.2)
    history.run_over(source, sink)
    assert source.told >= len(history.partitions)
    found = {record.name: json.loads(record.value) for record in sink.ledger if b'"gap"' in record.value}
    assert found.keys() == {f"gap-{topic}-{number}-0" for topic, number in history.partitions}
    for told in found.values():
        assert (told["count"], told["offsets"]) == (2, {"from": 0, "to": 2})
    assert history.watcher.lost["gap", ""] == 2 * len(history.partitions)


def test_the_ledger_speaks_of_itself_when_an_interval_gets_quiet_and_at_the_end() -> None:
    """Nothing comes any more, so nothing else makes a commit."""
    log = MemoryLog([("t", 0)])
    log.append(("t", 0), b"no event")
    supervisor, clock, reports = loop(log)

    def pass_on(seconds: int) -> list[str]:
        before = len(reports.commits)
        for _ in range(4 * seconds):
            clock.time += SECOND // 4
            supervisor.step()
        told = [record for commit in reports.commits[before:] for record in commit.outputs.ledger]
        return [json.loads(record.value)["state"] for record in told]

    assert pass_on(10) == ["open"]
    assert supervisor.ledger.is_open
    assert pass_on(70) == ["closed"]
    assert pass_on(200) == []
    log.append(("t", 0), b"no event")
    assert pass_on(10) == ["open"]
    supervisor.stop()
    assert pass_on(2) == ["closed"]
    assert supervisor.finished


def test_rules_that_do_not_run_are_told_as_soon_as_there_are_partitions() -> None:
    supervisor, clock, reports = loop(MemoryLog([("t", 0)]))
    source = supervisor._source
    assert isinstance(source, MemorySource)
    supervisor.ledger = supervisor.ledger.with_idle([Idle("refused", "r", "a.toml: parse_error")], 0)
    source.rebalance([])

    def pass_on() -> None:
        for _ in range(40):
            clock.time += SECOND // 4
            supervisor.step()

    pass_on()
    assert not reports.commits, "nothing is begun that the first assignment would undo"
    source.rebalance([("t", 0)])
    pass_on()
    assert not reports.rewinds
    told = [record for commit in reports.commits for record in commit.outputs.ledger]
    assert [json.loads(record.value)["rule_id"] for record in told] == ["r"]
    assert reports.lost == {("refused", "r"): 1}


def test_state_that_cannot_be_read_ends_the_instance() -> None:
    topics = MemoryTopics()
    topics.state[3] = {b"?": b"x", KEY: Standing().change(3).value or b""}
    log = log_with_hits()
    supervisor, _, _ = loop(log, sharing(topics, log))
    with pytest.raises(StateError, match="unknown kind"):
        supervisor.run()


def test_a_word_that_cannot_be_read_ends_the_instance() -> None:
    log = log_with_hits()
    log.append((HITS, 1), b"?")
    supervisor, _, _ = loop(log, sharing(MemoryTopics(), log))
    with pytest.raises(StateError, match=r"at offset 0 of hits\[1\] cannot be read"):
        supervisor.run()


def test_a_zombie_commits_nothing_and_ends() -> None:
    """A predecessor goes on after its successor has begun."""
    history, topics = History(3), MemoryTopics()
    source = MemorySource(history.log)
    sink = TransactionalMemorySink(topics, source.commit)
    TransactionalMemorySink(topics)  # the successor
    with pytest.raises(EndedError):
        history.run_over(source, sink)
    assert (topics.alerts, topics.dead_letters, history.log.committed) == ([], [], {})


PROCESS = {"event": {"category": "process", "id": "1"}, "process": {"name": "a"}, "host": {"id": "h"}}


def test_what_is_committed_says_where_event_time_stood() -> None:
    """A successor must not take for early what would have been late."""
    log, topics = log_with_hits(), MemoryTopics()
    log.append(("t", 0), json.dumps({"@timestamp": BASE // 1_000_000, **PROCESS}).encode())
    supervisor, clock, _ = loop(log, sharing(topics, log))
    supervisor._sink = TransactionalMemorySink(topics, log.committed.update)
    for _ in range(20):
        clock.time += SECOND // 4
        supervisor.step()
    standings = take_standings(topics.state, range(PARTITIONS))
    written = [standing for standing in standings.values() if standing != Standing()]
    assert written
    for standing in written:
        assert standing.progress() == {("t", 0): Told(BASE, False)}
        assert standing.committed() == {("t", 0): 1}
        assert standing.arrivals == 1


def test_what_was_late_is_late_for_a_successor() -> None:
    log, topics = log_with_hits(), MemoryTopics()
    log.append(("t", 0), json.dumps({"@timestamp": BASE // 1_000_000, **PROCESS}).encode())
    told = {("t", 0): Told(BASE + 2 * SECOND, False)}
    for number in range(PARTITIONS):
        topics.state[number] = {KEY: Standing.of(7, told, {}).change(number).value or b""}
    supervisor, clock, reports = loop(log, sharing(topics, log))
    supervisor._sink = TransactionalMemorySink(topics, log.committed.update)
    for _ in range(20):
        clock.time += SECOND // 4
        supervisor.step()
    assert reports.tallies["late", "t", "dropped"] > 0
    assert supervisor._arrivals == 8


def test_a_record_that_cannot_be_read_does_not_make_a_backlog_late() -> None:
    """Events that come an hour late, as after an outage of their shipper, and one bad record."""
    hour = 3_600 * SECOND
    log = MemoryLog([("t", 0)])
    event = json.dumps({"@timestamp": BASE // 1_000_000, "event": {"category": "x"}}).encode()
    for value in (event, b"garbage", event):
        log.append(("t", 0), value, timestamp=(BASE + hour) // 1_000_000)
    supervisor, clock, _ = loop(log)
    for _ in range(20):
        clock.time += SECOND // 4
        supervisor.step()
    assert supervisor._reached is not None
    assert supervisor._reached < BASE + SECOND


def test_a_partition_of_garbage_does_not_hold_event_time_back_for_ever() -> None:
    log = MemoryLog([("t", 0), ("t", 1)])
    supervisor, clock, _ = loop(log)
    for n in range(400):
        time = (BASE + n * SECOND) // 1_000_000
        log.append(("t", 0), json.dumps({"@timestamp": time, "event": {"category": "x"}}).encode())
        log.append(("t", 1), b"garbage", timestamp=time)
        clock.time += SECOND // 4
        supervisor.step()
    assert supervisor._reached is not None
    assert supervisor._reached > BASE + 300 * SECOND
