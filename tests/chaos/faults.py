"""The kinds of faults. Each is a function that strikes once and returns when the fault itself is over.

What it returns from on is recovery: the time until the first alert that was published later is the
*takeover*. Whatever a fault chooses it asks of `stage.rng`. It may say what went wrong itself by adding to
`problems` of an instance, and must say which records it took away (`stage.lost`).

A kind that cannot be played yet, or not here, stands in the list with the reason; it is told, never passed
over.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from daemon import wait_until
from kafkanodes import wait_for_brokers

from chaos.instance import AGAIN, Instance, Life, is_alive, kill, wait_for_workers
from chaos.proxy import Request, Trap
from chaos.stage import SESSION, TRANSACTION, Stage, wait

STEPS = (
    Request.ADD_PARTITIONS,
    Request.PRODUCE,
    Request.ADD_OFFSETS,
    Request.STORE_OFFSETS,
    Request.END_TRANSACTION,
)
"""What a commit asks of the broker, in this order."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. `missing` says why it cannot be played, or nothing."""

    name: str
    strike: Callable[[Stage], None]
    missing: Callable[[], str]


CLOCK = Path(__file__).parent / "clock"

FAULTS: dict[str, Fault] = {}


def fault(strike: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """Add a kind to the list, under its function's name."""
    return _listed(strike, lambda: "")


def fault_if(missing: Callable[[], str]) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Add a kind that cannot always be played."""
    return lambda strike: _listed(strike, missing)


def _listed(strike: Callable[[Stage], None], missing: Callable[[], str]) -> Callable[[Stage], None]:
    FAULTS[strike.__name__] = Fault(strike.__name__, strike, missing)
    return strike


# Processes.


@fault
def worker_killed(stage: Stage) -> None:
    """kill -9 of one worker. The supervisor replaces it and goes back to the last commit."""
    kill([stage.rng.choice(wait_for_workers(stage.instance().life))])


@fault
def worker_hangs(stage: Stage) -> None:
    """A worker stands still (SIGSTOP) for good; it has to be noticed by its deadline, and replaced."""
    worker = stage.rng.choice(wait_for_workers(stage.instance().life))
    os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: not is_alive(worker), "the worker that hangs is ended")


@fault
def supervisor_killed(stage: Stage) -> None:
    """kill -9 of the supervisor alone. Its workers have to end by themselves."""
    instance = stage.instance()
    life = instance.life
    workers = wait_for_workers(life)
    kill([life.process.pid])
    threading.Thread(target=_expect_gone, args=(instance, workers), daemon=True).start()


@fault
def everything_killed(stage: Stage) -> None:
    """kill -9 of the supervisor and all workers, at once."""
    stage.instance().kill()


@fault
def killed_in_commit(stage: Stage) -> None:
    """kill -9 of everything at one step of a commit: before its request reaches the broker, or right
    after."""
    instance = stage.instance()
    _spring(stage, Trap(_step(stage), is_after=stage.rng.random() < 0.5, act=instance.kill, cut=True))


@fault
def killed_in_recovery(stage: Stage) -> None:
    """kill -9 of everything, and again, up to three times, while it is taking over from itself."""
    instance = stage.instance()
    for _ in range(stage.rng.randint(1, 3)):
        life = instance.life
        instance.kill()
        wait_until(lambda life=life: instance.life is not life, "it is started again")
        stage.pause(0.1, 2.5)
    instance.kill()


@fault
def stopped_beyond_session(stage: Stage) -> None:
    """The supervisor stands still (SIGSTOP) until the group has put it out, and then goes on."""
    with _standing_still(stage.instance().life):
        wait(SESSION + 1.5)


@fault
def zombie(stage: Stage) -> None:
    """It stands still, a process of the same name takes over, and then the old one goes on: it has to end."""
    instance = stage.instance()
    with instance.left_alone():
        old = instance.life
        # One that is still starting would take over itself when it goes on
        wait_until(lambda: old.has_said("source.started"), "the old process has started")
        with _standing_still(old):
            new = instance.begin()
            wait_until(lambda: new.has_said("state.restored"), "its successor has taken over")
        code = old.end()
        if code not in AGAIN:
            instance.problems.append(f"a process that was replaced ended with {code}, not with 75")


@fault
def clean_restart(stage: Stage) -> None:
    """SIGTERM: what is in flight is finished; started again."""
    instance = stage.instance()
    life = instance.life
    wait_until(lambda: life.has_said("daemon.started"), "it knows what SIGTERM means")
    with instance.left_alone():
        instance.life.process.send_signal(signal.SIGTERM)
        code = instance.life.end()
        if code != 0:
            instance.problems.append(f"a clean stop ended with {code}")
        instance.begin()


# Transactions.


@fault
def transaction_timed_out(stage: Stage) -> None:
    """A commit stands still at one of its steps until the broker has given the transaction up."""
    _spring(stage, Trap(_step(stage), is_after=stage.rng.random() < 0.3, hold=TRANSACTION + 1.5))
    wait(TRANSACTION + 1.5)


@fault
def commit_unanswered(stage: Stage) -> None:
    """The broker commits, and the connection breaks before its answer has come."""
    _spring(stage, Trap(Request.END_TRANSACTION, is_after=True, cut=True, hold=stage.rng.choice([0.0, 0.05])))


@fault
def commit_cut(stage: Stage) -> None:
    """The connection breaks at a step of a commit."""
    _spring(stage, Trap(_step(stage), is_after=stage.rng.random() < 0.3, cut=True))


# The broker and the way to it.


@fault
def broker_killed(stage: Stage) -> None:
    """kill -9 of the broker; started again after a moment."""
    stage.node.kill()
    stage.pause(0.0, 2.0)
    stage.node.start()
    wait_for_brokers(stage.cluster)


@fault
def broker_stands_still(stage: Stage) -> None:
    """The broker answers nobody for long (SIGSTOP): a minute in a full run."""
    with stage.node.stopped():
        wait(stage.scale.away)


@fault
def broker_unreachable(stage: Stage) -> None:
    """The daemon's packets are dropped for long; others go on writing, so there is much to catch up with.
    Half of the time it strikes when there is nothing to do: then no commit is under way that would wait for
    an answer."""
    if stage.rng.random() < 0.5:
        with stage.feeder.held():
            stage.pause(0.7, 1.2)
            stage.proxy.stand_still()
    stage.proxy.stand_still()
    wait(stage.scale.away)
    if stage.rng.random() < 0.5:
        stage.proxy.cut()
    stage.proxy.flow()


@fault
def connections_cut(stage: Stage) -> None:
    """Every connection breaks at once, a few times."""
    for _ in range(stage.rng.randint(1, 4)):
        stage.proxy.cut()
        stage.pause(0.0, 0.5)


# The group.


@fault
def rebalance_in_recovery(stage: Stage) -> None:
    """While it takes over from itself, members of other topics come to its group, and leave."""
    stage.instance().kill()
    stage.pause(0.5, 3.0)
    for _ in range(stage.rng.randint(1, 2)):
        with _member(stage, f"other.{stage.prefix}") as member:
            for _ in range(stage.rng.randint(5, 15)):
                member.poll(0.1)


@fault_if(lambda: "a group has one instance, for now: what another has, the watermark does not wait for")
def partitions_taken(stage: Stage) -> None:
    """Another member of the group takes some of its partitions, keeps nothing of them, and leaves."""
    with _member(stage, stage.input) as member:
        wait_until(lambda: (member.poll(0.1), member.assignment())[1], "it is given partitions")
        stage.pause(0.0, 2.0)


# What it reads, and by what.


@fault
def rules_changed(stage: Stage) -> None:
    """Killed, and started with rule files of other names, order and comments, and one more that nothing
    matches."""
    instance = stage.instance()
    with instance.left_alone():
        instance.kill()
        instance.life.end()
        old = [Path(path) for path in instance.config["rules"]["paths"]]
        new = stage.folder / f"changed-{len(instance.lives)}" / "rules"  # alerts name the folder
        new.mkdir(parents=True)
        files = sorted(file for path in old for file in path.rglob("*.toml"))
        files = [file for file in files if not file.name.endswith(".test.toml")]
        stage.rng.shuffle(files)
        for number, file in enumerate(files):
            (new / f"{number:02}.toml").write_text(f"# {stage.rng.random()}\n{file.read_text()}")
        (new / "more.toml").write_text(_MORE.format(stage.rng.getrandbits(32)))
        instance.config = {**instance.config, "rules": {"paths": [str(new)]}}
        instance.begin()


_MORE = """[metadata]
maturity = "production"

[rule]
author = ["detectord"]
name = "Nothing"
rule_id = "{0:08x}-0000-4000-8000-000000000000"
description = "Matches nothing."
risk_score = 21
severity = "low"
language = "eql"
type = "eql"
query = 'sequence by host.id with maxspan=1m [process where process.name == "no-{0}"] [process where true]'
"""


@fault
def records_gone(stage: Stage) -> None:
    """It is down for longer than records are kept: some partitions begin behind its position. Every record
    that is gone has to be told, and nothing else be missed."""
    instance = stage.instance()
    with instance.left_alone():
        instance.kill()
        instance.life.end()
        stage.pause(1.5, 3.0)
        committed, ends = stage.committed(), stage.ends()
        behind = sorted(number for number, at in committed.items() if at < ends.get(number, 0))
        gone = stage.rng.sample(behind, min(len(behind), stage.rng.randint(1, 3)))
        kept = {number: stage.rng.randint(committed[number] + 1, ends[number]) for number in gone}
        wanted = [TopicPartition(stage.input, number, offset) for number, offset in kept.items()]
        for done in stage.cluster.admin.delete_records(wanted).values():
            done.result(30)
        stage.lost += [(number, committed[number], offset) for number, offset in kept.items()]
        instance.begin()


@fault
def clock_jumped(stage: Stage) -> None:
    """The daemon's clock jumps by hours or days, ahead or back, while it runs; its next start brings it right
    again. The Kafka client's own clock stays: see `clock/sitecustomize.py`."""
    instance = stage.instance()
    file = stage.folder / f"clock-{len(instance.lives)}"
    file.write_text("0")
    with instance.left_alone():
        instance.kill()
        instance.life.end()
        instance.environment = {"PYTHONPATH": str(CLOCK), "CHAOS_CLOCK": str(file)}
        life = instance.begin()
        instance.environment = {}
    wait_until(lambda: life.has_said("source.started"), "it reads with its own clock")
    stage.pause(0.5, 1.5)
    hour = 3_600
    # In one step: an empty file would be read as a jump back
    ahead = file.with_suffix(".new")
    ahead.write_text(str(stage.rng.choice([3 * hour, -3 * hour, 40 * 24 * hour])))
    ahead.rename(file)
    wait_until(lambda: _is_elsewhere(stage.reader.alerts[-1]), "alerts tell another time")


@fault_if(lambda: "a record that kills its worker ends the instance (70), for now")
def poison(stage: Stage) -> None:
    """A record kills whatever worker evaluates it, each time: it has to become a dead letter, and nothing
    else be missed."""
    raise NotImplementedError


# Parts of them.


def _step(stage: Stage) -> Request:
    return stage.rng.choice(STEPS)


def _spring(stage: Stage, trap: Trap) -> None:
    """Set a trap and wait until it has sprung."""
    # Producing is also what fills a batch: not always the first of a commit
    trap.count = stage.rng.randint(1, 6)
    stage.proxy.set(trap)
    try:
        wait_until(trap.sprung.is_set, f"a request of kind {trap.request.name}")
    finally:
        stage.proxy.clear()


@contextmanager
def _standing_still(life: Life) -> Iterator[None]:
    os.kill(life.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(life.process.pid, signal.SIGCONT)


@contextmanager
def _member(stage: Stage, topic: str) -> Iterator[Consumer]:
    """A stranger in the group."""
    member = Consumer(
        {
            "bootstrap.servers": stage.cluster.bootstrap_servers,
            "group.id": stage.group,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 500,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    member.subscribe([topic])
    try:
        yield member
    finally:
        member.close()


def _is_elsewhere(alert: Mapping[str, Any]) -> bool:
    """True if it was published by a clock that is off by an hour."""
    return abs(time.time() - datetime.fromisoformat(alert["@timestamp"]).timestamp()) > 3_600


def _expect_gone(instance: Instance, workers: list[int]) -> None:
    try:
        wait_until(lambda: not any(map(is_alive, workers)), "orphans end", 60)
    except AssertionError:
        instance.problems.append(f"workers {workers} live without their supervisor")
