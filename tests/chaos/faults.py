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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from daemon import wait_until
from kafkanodes import wait_for_brokers

from chaos.instance import AGAIN, Instance, Life, is_alive, kill, wait_for_workers
from chaos.proxy import Request, Trap
from chaos.stage import PARTITIONS, SESSION, TRANSACTION, Stage, wait
from chaos.traffic import DISORDER

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
    """A kind of fault. `missing` says why it cannot be played, or nothing; `instances` it needs at least;
    `brokers` are the sizes of a cluster that it is played on."""

    name: str
    strike: Callable[[Stage], None]
    missing: Callable[[], str] = lambda: ""
    instances: int = 1
    brokers: frozenset[int] = frozenset({1})


MOST = 3
"""Instances at a time, but for one that comes and goes."""

CLOCK = Path(__file__).parent / "clock"

FAULTS: dict[str, Fault] = {}


Strike = Callable[[Stage], None]


def fault(strike: Strike) -> Strike:
    """Add a kind to the list, under its function's name."""
    return fault_of()(strike)


def fault_of(*, instances: int = 1, brokers: Iterable[int] = (1,)) -> Callable[[Strike], Strike]:
    """Add a kind that needs as many instances, on clusters of these sizes."""

    def listed(strike: Strike) -> Strike:
        FAULTS[strike.__name__] = Fault(
            strike.__name__, strike, instances=instances, brokers=frozenset(brokers)
        )
        return strike

    return listed


# Processes.


@fault_of(brokers=(1, 3))
def worker_killed(stage: Stage) -> None:
    """kill -9 of one worker. The supervisor replaces it and goes back to the last commit."""
    kill([stage.rng.choice(wait_for_workers(stage.instance().life))])


@fault_of(brokers=(1, 3))
def worker_hangs(stage: Stage) -> None:
    """A worker stands still (SIGSTOP) for good; it has to be noticed by its deadline, and replaced."""
    worker = stage.rng.choice(wait_for_workers(stage.instance().life))
    os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: not is_alive(worker), "the worker that hangs is ended")


@fault_of(brokers=(1, 3))
def supervisor_killed(stage: Stage) -> None:
    """kill -9 of the supervisor alone. Its workers have to end by themselves."""
    instance = stage.instance()
    life = instance.life
    workers = wait_for_workers(life)
    kill([life.process.pid])
    threading.Thread(target=_expect_gone, args=(instance, workers), daemon=True).start()


@fault_of(brokers=(1, 3))
def instance_killed(stage: Stage) -> None:
    """kill -9 of one instance, its supervisor and all workers, at once."""
    stage.instance().kill()


@fault_of(brokers=(1, 3))
def everything_killed(stage: Stage) -> None:
    """kill -9 of all processes of all instances, at once."""
    for instance in stage.instances:
        instance.kill()


@fault
def killed_in_commit(stage: Stage) -> None:
    """kill -9 of everything at one step of a commit: before its request reaches the broker, or right
    after."""
    instance = stage.instance()
    is_after, client = stage.rng.random() < 0.5, instance.client()
    _spring(stage, Trap(_step(stage), is_after=is_after, act=instance.kill, cut=True, client=client))


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


@fault_of(brokers=(1, 3))
def stopped_beyond_session(stage: Stage) -> None:
    """The supervisor stands still (SIGSTOP) until the group has put it out, and then goes on."""
    with _standing_still(stage.instance().life):
        wait(SESSION + 1.5)


@fault_of(brokers=(1, 3))
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


@fault_of(brokers=(1, 3))
def clean_restart(stage: Stage) -> None:
    """SIGTERM: what is in flight is finished; started again."""
    stage.instance().restart()


@fault_of(instances=2, brokers=(1, 3))
def rolling_restart(stage: Stage) -> None:
    """SIGTERM to one after the other, each started again; half of the time the next one does not wait
    until it is back."""
    waits = stage.rng.random() < 0.5
    for instance in stage.rng.sample(stage.instances, len(stage.instances)):
        instance.restart()
        if waits:
            _wait_until_it_reads(instance.life)


# Transactions.


@fault
def transaction_timed_out(stage: Stage) -> None:
    """A commit stands still at one of its steps until the broker has given the transaction up."""
    client = stage.instance().client()
    is_after = stage.rng.random() < 0.3
    _spring(stage, Trap(_step(stage), is_after=is_after, hold=TRANSACTION + 1.5, client=client))
    wait(TRANSACTION + 1.5)


@fault
def commit_unanswered(stage: Stage) -> None:
    """The broker commits, and the connection breaks before its answer has come."""
    client = stage.instance().client()
    hold = stage.rng.choice([0.0, 0.05])
    _spring(stage, Trap(Request.END_TRANSACTION, is_after=True, cut=True, hold=hold, client=client))


@fault
def commit_cut(stage: Stage) -> None:
    """The connection breaks at a step of a commit."""
    client = stage.instance().client()
    _spring(stage, Trap(_step(stage), is_after=stage.rng.random() < 0.3, cut=True, client=client))


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


@fault_of(brokers=(3,))
def one_broker_killed(stage: Stage) -> None:
    """kill -9 of one broker of three, which is gone for as long as the scale says; started again."""
    node = stage.rng.choice(stage.cluster.nodes)
    node.kill()
    wait(stage.scale.away)
    node.start()
    wait_for_brokers(stage.cluster)


@fault_of(brokers=(3,))
def one_broker_stands_still(stage: Stage) -> None:
    """One broker of three answers nobody for long (SIGSTOP), and goes on."""
    with stage.rng.choice(stage.cluster.nodes).stopped():
        wait(stage.scale.away)


@fault_of(brokers=(3,))
def brokers_rolled(stage: Stage) -> None:
    """SIGTERM to one broker after the other, each started again before the next one ends."""
    for node in stage.rng.sample(stage.cluster.nodes, len(stage.cluster.nodes)):
        node.shut_down()
        node.start()
        wait_for_brokers(stage.cluster)


# The group.


@fault_of(instances=2)
def gone_beyond_session(stage: Stage) -> None:
    """kill -9 of one instance that comes back only when the others have had what it had for a while."""
    instance = stage.instance()
    with instance.left_alone():
        instance.kill()
        instance.life.end()
        wait(SESSION + stage.rng.uniform(2.0, 5.0))
        instance.begin()


@fault
def one_joins(stage: Stage) -> None:
    """One more instance, for good; if there are as many as the machine bears, another one leaves first."""
    if len(stage.instances) >= MOST:
        _leave(stage)
    stage.hit = [stage.join()]
    _wait_until_it_reads(stage.hit[0].life)


@fault_of(instances=2)
def one_leaves(stage: Stage) -> None:
    """One instance ends for good, by SIGTERM or kill -9; there is always another one."""
    if len(stage.instances) == 1:
        stage.join()
    _leave(stage)
    wait(SESSION + 1.0)


@fault
def rebalance_in_recovery(stage: Stage) -> None:
    """While it takes over from itself, members of other topics come to its group, and leave."""
    stage.instance().kill()
    stage.pause(0.5, 3.0)
    for _ in range(stage.rng.randint(1, 2)):
        with _member(stage, f"other.{stage.prefix}") as member:
            for _ in range(stage.rng.randint(5, 15)):
                member.poll(0.1)


@fault
def partitions_taken(stage: Stage) -> None:
    """Another instance comes, takes some of the partitions, and is gone again before long."""
    came = stage.join()
    _wait_until_it_reads(came.life)
    stage.pause(0.0, 2.0)
    _leave(stage, came)
    wait(SESSION + 1.0)


# What it reads, and by what.


@fault
def rules_changed(stage: Stage) -> None:
    """Killed, and started with rule files of other names, order and comments, and one more that no event is a
    step of: what others do not know they could not take."""
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
query = 'sequence by host.id with maxspan=1m [file where file.name == "{0}"] [file where file.name == "{0}"]'
"""


@fault
def records_gone(stage: Stage) -> None:
    """All are down for longer than records are kept: some partitions begin behind its position. Every record
    that is gone has to be told, and nothing else be missed."""
    with ExitStack() as all_of_them:
        for instance in stage.instances:
            all_of_them.enter_context(instance.left_alone())
            instance.kill()
        for instance in stage.instances:
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
        for instance in stage.instances:
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
    wait_until(lambda: any(map(_is_elsewhere, stage.reader.alerts[-20:])), "alerts tell another time")


@fault_of(brokers=(1, 3))
def poison(stage: Stage) -> None:
    """A record kills whatever worker evaluates it, each time: it has to become a dead letter, and nothing
    else be missed. The daemons are those of `poisoned.py`."""
    number = len(stage.poisoned) + 1
    partition = stage.rng.randrange(PARTITIONS)
    item = stage.traffic.poisonous(time.time() - stage.feeder.began - DISORDER, number, partition)
    stage.feeder.write([item])
    stage.poisoned.append(number)
    wait_until(lambda: stage.reader.refused("poison") >= number, "it is a dead letter")


# Parts of them.


def _leave(stage: Stage, instance: Instance | None = None) -> None:
    """It ends for good, one way or the other; no other is hit."""
    instance = instance or stage.rng.choice(stage.instances)
    stage.instances.remove(instance)
    if stage.rng.random() < 0.5:
        _wait_until_it_reads(instance.life)
        instance.stop()
    else:
        instance.kill_for_good()


def _wait_until_it_reads(life: Life) -> None:
    wait_until(lambda: life.has_said("state.restored"), f"the process of {life.log} has its state")


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
