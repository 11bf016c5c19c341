"""A record that kills workers costs itself, and nothing else."""

from __future__ import annotations

import json
import random

import pytest
from simulation import BASE, SECOND, SimulatedClock, SimulatedPool, Watcher

from detectord.engine.detector import EngineSettings
from detectord.engine.watermark import EventTimeWatermark
from detectord.events.record import Record
from detectord.runtime.protocol import Advance, Batch
from detectord.runtime.sharding import Router
from detectord.runtime.supervisor import CrashLoopError, Settings, Supervisor
from detectord.runtime.trial import DEATHS, MOST_IN_A_ROW, Trial
from detectord.sinks.memory import MemorySink
from detectord.sources.memory import MemoryLog, MemorySource

POISON = b"poison"


class PoisonedPool(SimulatedPool):
    """Workers that die of a record with that word in it, or of an `Advance` if `dies_of_time`."""

    dies_of_time = False

    def _handle(self, number: int) -> None:
        message = self._inbox[number][0]
        if (
            isinstance(message, Batch)
            and any(POISON in value for chunk in message.chunks for value in chunk.values)
        ) or (isinstance(message, Advance) and self.dies_of_time):
            self._die(number)
        else:
            super()._handle(number)


def event(n: int, *, is_poison: bool = False) -> bytes:
    document = {"@timestamp": BASE // 1_000_000 + n, "event": {"id": f"n{n}", "category": ["process"]}}
    document |= {"agent": {"id": "a"}, "host": {"id": f"h{n % 7}"}, "process": {"name": "a"}}
    return json.dumps({**document, "message": "poison" if is_poison else "well"}).encode()


def instance(
    log: MemoryLog, seed: int, workers: int, batch_records: int | None = None
) -> tuple[Supervisor, PoisonedPool, MemorySink]:
    rng = random.Random(seed)
    records = batch_records or rng.choice([10, 100, 1_000])
    source = MemorySource(log, rng=rng)
    sink = MemorySink(source.commit)
    engine = EngineSettings(partitions=4)
    pool = PoisonedPool(workers, rng, engine)
    supervisor = Supervisor(
        source,
        sink,
        pool,
        Router(workers, 4),
        EventTimeWatermark(SECOND, 30 * SECOND),
        SimulatedClock(rng),
        Watcher(),
        Settings(partitions=4, batch_records=records, commit_interval=SECOND),
    )
    return supervisor, pool, sink


@pytest.mark.parametrize("seed", range(25))
def test_who_kills_workers_becomes_a_dead_letter_and_nothing_else_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    log = MemoryLog([("in", 0), ("in", 1)])
    guilty = set(rng.sample(range(120), rng.randint(1, 3)) if seed else [0, 1])
    for n in range(120):
        log.append(("in", rng.randint(0, 1) if seed else 0), event(n, is_poison=n in guilty))
    log.finish()
    supervisor, pool, sink = instance(log, seed, rng.randint(1, 3))
    for _ in range(100_000):
        if supervisor.finished:
            break
        supervisor.step()
    assert supervisor.finished
    dead = {json.loads(letter.record.value)["event"]["id"] for letter in sink.dead_letters}
    assert dead == {f"n{n}" for n in guilty}
    assert len(sink.dead_letters) == len(guilty)
    assert {letter.reason for letter in sink.dead_letters} == {"poison"}
    alerts = [alert.key for alert in sink.alerts if alert.rule_id == "event"]
    assert len(alerts) == len(set(alerts)) == 120 - len(guilty)
    assert sink.positions == {p: len(records) for p, records in log.records.items() if records}
    assert pool.deaths >= DEATHS * len(guilty)


@pytest.mark.parametrize("seed", range(10))
def test_however_many_partitions_are_read_a_record_is_convicted_after_a_handful_of_deaths(seed: int) -> None:
    """Which partition's records come first is for the source to say, and it may be any other's each time."""
    rng = random.Random(seed)
    partitions = [("in", number) for number in range(16)]
    log = MemoryLog(partitions)
    for n in range(480):
        log.append(rng.choice(partitions), event(n, is_poison=n == 240))
    log.finish()
    supervisor, pool, sink = instance(log, seed, rng.randint(1, 3), batch_records=1_000)
    supervisor.run()
    assert [letter.reason for letter in sink.dead_letters] == ["poison"]
    assert len([alert for alert in sink.alerts if alert.rule_id == "event"]) == 479
    # One in a large batch, one in a smaller one, and then alone
    assert pool.deaths == 2 + DEATHS


def test_when_every_record_kills_it_is_not_the_records() -> None:
    log = MemoryLog([("in", 0)])
    for n in range(100):
        log.append(("in", 0), event(n, is_poison=True))
    supervisor, _, sink = instance(log, 1, 1)
    with pytest.raises(CrashLoopError):
        supervisor.run()
    assert 0 < len(sink.dead_letters) <= MOST_IN_A_ROW


def test_what_is_no_records_fault_ends_the_instance() -> None:
    log = MemoryLog([("in", 0)])
    for n in range(10):
        log.append(("in", 0), event(n))
    supervisor, pool, sink = instance(log, 1, 1)
    pool.dies_of_time = True
    with pytest.raises(CrashLoopError):
        supervisor.run()
    assert sink.dead_letters == []


def record(offset: int) -> Record:
    return Record("in", 0, offset, None, None, b"")


def test_only_who_was_alone_is_convicted() -> None:
    trial = Trial(1_000)
    for _ in range(10):
        trial.died([("in", 0, 1), ("in", 0, 2)])
        trial.died([])
    assert not trial.is_convicted(record(1))
    for _ in range(DEATHS):
        assert not trial.is_convicted(record(2))
        trial.died([("in", 0, 2)])
    assert trial.is_convicted(record(2))
    assert not trial.is_convicted(record(1))


def test_who_died_together_is_suspected_until_committed_or_gone() -> None:
    trial = Trial(1_000)
    assert not trial.is_suspect(record(1))
    trial.died([("in", 0, 1), ("in", 0, 2), ("other", 0, 2)])
    for _ in range(20):
        trial.committed({("in", 0): 2}, is_harmless=True)
    assert [trial.is_suspect(record(offset)) for offset in (1, 2, 3)] == [False, True, False]
    assert (trial.step, trial.is_on) == (1_000, True)
    trial.keep([("in", 0)])
    trial.committed({("in", 0): 3}, is_harmless=True)
    assert not trial.is_suspect(record(2))
    assert not trial.is_on


def test_who_did_no_harm_in_between_is_not_convicted() -> None:
    trial = Trial(1_000)
    for _ in range(5):
        for _ in range(DEATHS - 1):
            trial.died([("in", 0, 2)])
        trial.survived([("in", 0, 2)])
    assert not trial.is_convicted(record(2))


@pytest.mark.parametrize("usual", [1, 2, 31, 1_000, 50_000])
def test_steps_shrink_fast_and_grow_again(usual: int) -> None:
    trial = Trial(usual)
    assert (trial.step, trial.is_on) == (usual, False)
    trial.died([])
    trial.died([])
    assert trial.step == 1
    for _ in range(20):
        trial.committed({}, is_harmless=True)
    assert (trial.step, trial.is_on) == (usual, False)
