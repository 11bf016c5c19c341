"""Real worker processes: killed, stopped in the middle of a word, told to end."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

import pytest

from detectord.runtime.pool import ProcessPool
from detectord.runtime.protocol import Advance, Barrier, Covered, Death, Gauges, Reply, Stop

LARGE = "x" * 4_000_000


def echo(pipe: Connection, size: int) -> None:
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


def babble(pipe: Connection) -> None:
    """A worker that says what nobody can read."""
    pipe.send_bytes(b"not a pickle")
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
