"""Real worker processes: killed, stopped in the middle of a word, told to end."""

from __future__ import annotations

import os
import signal
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from detectord.events.record import DeadLetter, Record
from detectord.runtime.pool import ProcessPool
from detectord.runtime.protocol import (
    Advance,
    Barrier,
    Batch,
    Chunk,
    Covered,
    Death,
    Gauges,
    Outcome,
    Reply,
    Stop,
)
from detectord.runtime.shelf import WorkerPipe

LARGE = "x" * 4_000_000


def echo(pipe: WorkerPipe, size: int) -> None:
    """A worker that answers every barrier with `size` characters, and nothing else."""
    try:
        while not isinstance(message := pipe.recv(), Stop):
            if isinstance(message, Barrier):
                gauges = Gauges({LARGE[:size]: 1}, 0, 0)
                pipe.send(Covered(0, message.epoch, message.number, [], [], Counter(), gauges))
    except EOFError:
        pass


@pytest.fixture
def start() -> Iterator[Callable[[int, int], ProcessPool]]:
    pools: list[ProcessPool] = []

    def make(size: int, answer: int = 1) -> ProcessPool:
        pools.append(ProcessPool(size, echo, lambda _: (answer,)))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def wait_for(pool: ProcessPool, done: Callable[[Sequence[Reply | Death]], bool]) -> list[Reply | Death]:
    told: list[Reply | Death] = []
    deadline = time.monotonic() + 30
    while not done(told):
        assert time.monotonic() < deadline, told
        told += pool.receive(0.5)
    return told


def pid_of(pool: ProcessPool, worker: int) -> int:
    pid = pool.pids()[worker]
    assert pid is not None
    return pid


def test_messages_are_answered_in_order(start: Callable[..., ProcessPool]) -> None:
    pool = start(1)
    for number in range(5):
        pool.send(0, Barrier(0, number))
    told = wait_for(pool, lambda told: len(told) == 5)
    assert [reply.number for reply in told if isinstance(reply, Covered)] == [0, 1, 2, 3, 4]


def test_a_killed_worker_is_told_once_and_replaced(start: Callable[..., ProcessPool]) -> None:
    pool = start(2)
    os.kill(pid_of(pool, 1), signal.SIGKILL)
    told = wait_for(pool, bool)
    assert told == [Death(1, "crash", "exit code -9")]
    assert pool.alive() == 1
    pool.replace(1)
    pool.send(1, Barrier(0, 7))
    assert isinstance(wait_for(pool, bool)[0], Covered)
    assert pool.receive(0.0) == []


def test_a_stopped_worker_blocks_nobody(start: Callable[..., ProcessPool]) -> None:
    """It is stopped while it may be in the middle of a large answer, with a large queue before it."""
    pool = start(2, len(LARGE))
    for number in range(20):
        pool.send(0, Barrier(0, number))
    pid = pid_of(pool, 0)
    wait_for(pool, bool)
    os.kill(pid, signal.SIGSTOP)
    for number in range(200):
        pool.send(0, Advance(0, number, 0, None, (b"y" * 100_000,)))
    pool.send(1, Barrier(0, 99))
    wait_for(pool, lambda told: any(isinstance(r, Covered) and r.number == 99 for r in told))
    pool.kill(0, "hang")
    told = wait_for(pool, lambda told: any(isinstance(r, Death) for r in told))
    assert Death(0, "hang", "exit code -9") in told


def babble(pipe: WorkerPipe) -> None:
    """A worker that says what nobody can read."""
    pipe.pipe.send_bytes(b"not a pickle")
    pipe.recv()


def test_a_worker_that_cannot_be_understood_is_as_good_as_dead() -> None:
    pool = ProcessPool(1, babble, lambda _: ())
    told = wait_for(pool, bool)
    pool.close()
    assert [(type(each), each.worker) for each in told] == [(Death, 0)]
    assert isinstance(told[0], Death)
    assert told[0].reason.startswith("crash")


def test_workers_end_when_the_pool_is_closed() -> None:
    pool = ProcessPool(2, echo, lambda _: (1,))
    pids = [pid_of(pool, worker) for worker in range(2)]
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# --- records ---------------------------------------------------------------------------------

SHELF = 10_000


def tell(pipe: WorkerPipe) -> None:
    """A worker that gives every record back, as a dead letter; it waits to be told by a barrier."""
    told: list[Outcome] = []
    while not isinstance(message := pipe.recv(), Stop):
        if isinstance(message, Batch):
            records = [
                Record(chunk.topic, chunk.partition, *row[:2], *row[3:], row[2])
                for chunk in message.chunks
                for row in zip(*chunk[2:], strict=True)
            ]
            letters = [DeadLetter(record, "", "") for record in records]
            told.append(Outcome(0, message.epoch, message.number, [], {}, {}, letters, Counter()))
        elif isinstance(message, Barrier):
            for reply in told:
                pipe.send(reply)
            told = []


def batch(number: int, sizes: Sequence[int]) -> tuple[Batch, list[Record]]:
    """A batch of records of these sizes, every second with a key, and what is to come back."""
    records = [
        Record("t", 3, 100 + i, 5 + i, b"k%d" % i if i % 2 else None, b"%d" % (number % 10) * size, 1_000 + i)
        for i, size in enumerate(sizes)
    ]
    columns = list(zip(*records, strict=True))
    numbers = [array("q", column) for column in (columns[2], columns[3], columns[6])]
    return Batch(0, number, 0, (Chunk("t", 3, *numbers, columns[4], columns[5]),)), records


@pytest.fixture(params=["shelf", "pipe"])
def telling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessPool]:
    if request.param == "pipe":
        monkeypatch.delattr("os.memfd_create")
    pool = ProcessPool(1, tell, lambda _: (), in_flight_bytes=SHELF // 2)
    yield pool
    pool.close()


def told_back(pool: ProcessPool, count: int) -> dict[int, list[Record]]:
    pool.send(0, Barrier(0, 0))
    told = wait_for(pool, lambda told: len(told) >= count)
    return {o.number: [d.record for d in o.dead_letters] for o in told if isinstance(o, Outcome)}


def test_records_come_as_they_were_whether_they_find_room_or_not(telling: ProcessPool) -> None:
    """Batches wait for one another, so that the shelf is full, and some are larger than all of it."""
    sizes = [[10, 0, 3_000], [SHELF + 1], [], [4_000, 2_000], [5_000], [1], [400_000, 7], [30] * 100]
    for start in range(0, 40, len(sizes)):
        sent = dict(enumerate((batch(start + i, each) for i, each in enumerate(sizes) if each), start))
        for made, _ in sent.values():
            telling.send(0, made)
        assert told_back(telling, len(sent)) == {made.number: records for made, records in sent.values()}


def test_who_takes_the_place_of_a_killed_worker_gets_its_own_records(telling: ProcessPool) -> None:
    """The dead one had records before it, which it had not answered."""
    for number in range(3):
        telling.send(0, batch(number, [2_000, 500])[0])
    os.kill(pid_of(telling, 0), signal.SIGKILL)
    assert wait_for(telling, bool) == [Death(0, "crash", "exit code -9")]
    telling.replace(0)
    after = [batch(number, [1_500, 9]) for number in range(5, 9)]
    for made, _ in after:
        telling.send(0, made)
    assert told_back(telling, 4) == {made.number: records for made, records in after}
