"""Several instances of the daemon's loop in memory, in one group: real supervisors and workers, no broker.

The groups, one for the inputs and one for the hits topic, do what Kafka's do, by chance: they share
partitions out, and share them out anew when somebody comes, goes, or does not answer for too long. A
partition that moves is given to its new reader only when the former one has heard that it lost it, or was
put out. They refuse positions of who is no member, or does not know yet how things stand; not of who commits
partitions of others. Instances die at any step, stop for a while and go on as if nothing had happened, come
back with another number of workers. At the end the committed alerts must be those of the plain batch answer,
each exactly once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from simulation import LATENESS, SECOND, History, InstanceDiedError, SimulatedClock, SimulatedPool, Watcher

from detectord.engine.detector import EngineSettings
from detectord.engine.watermark import EventTimeWatermark
from detectord.events.record import Partition, Positions
from detectord.runtime.coverage import Ledger
from detectord.runtime.sharding import Router
from detectord.runtime.share import Restored, Share
from detectord.runtime.standing import take_standings
from detectord.runtime.supervisor import Settings, Supervisor
from detectord.sinks import DeliveryError, EndedError, Outputs, PositionsRefusedError
from detectord.sinks.memory import STEPS, MemoryTopics, TransactionalMemorySink
from detectord.sources import Poll
from detectord.sources.memory import MemoryLog, MemorySource
from detectord.sources.pair import PairedSource

HITS = "hits"
GROUP = "g"
FAULTY_TURNS = 600
"""After so many turns nothing bad happens any more, or a history might never end."""


class Member(MemorySource):
    """An instance in one of the two groups. It hears of a new assignment at its next poll."""

    def __init__(self, group: Group, name: str) -> None:
        super().__init__(group.log, (), rng=group.rng)
        self._all = group.partitions
        self._group = group
        self.name = name
        self.generation = -1

    def join(self) -> None:
        self._group.join(self)

    def poll(self, limit: int, timeout: float) -> Poll:
        self._group.answer(self)
        return super().poll(limit, timeout)

    def partitions(self) -> frozenset[Partition]:
        return self._all

    def require(self) -> None:
        self._group.require(self)


class Group:
    """Who reads which of some partitions. `shares` is how the partitions are shared out now, `held` what
    members have heard they read and not yet that they lost."""

    def __init__(self, log: MemoryLog, partitions: Collection[Partition], rng: random.Random) -> None:
        self.log = log
        self.partitions = frozenset(partitions)
        self.rng = rng
        self.generation = 0
        self.members: dict[str, Member] = {}
        self.shares: dict[str, set[Partition]] = {}
        self.held: dict[str, set[Partition]] = {}

    def join(self, member: Member) -> None:
        """Come, or come back under the same name: then the share stays as it is."""
        known = member.name in self.members
        self.members[member.name] = member
        self.held[member.name] = set()
        if not known:
            self.share_out()

    def put_out(self, name: str) -> None:
        """Somebody does not answer."""
        if self.members.pop(name, None) is not None:
            del self.shares[name], self.held[name]
            self.share_out()

    def share_out(self) -> None:
        """Share everything out anew; about half of it stays where it is."""
        self.generation += 1
        names = sorted(self.members)
        before = {p: name for name, share in self.shares.items() for p in share}
        self.shares = {name: set() for name in names}
        for partition in sorted(self.partitions) if names else ():
            owner = before.get(partition)
            if owner not in self.shares or self.rng.random() < 0.5:
                owner = self.rng.choice(names)
            self.shares[owner].add(partition)

    def answer(self, member: Member) -> None:
        """A member polls: what it loses it loses now, what is still in other hands it gets later. Who was put
        out loses everything, and may be back, with some of it, before it has heard of that."""
        name = member.name
        if self.members.get(name) is not member:
            loses = bool(member.assignment())
            if loses:
                member.rebalance(())
                member.generation = -1
            if name in self.members or (loses and self.rng.random() < 0.5):
                return
            self.join(member)
        elif self.shares[name] == member.assignment() and member.generation == self.generation:
            return
        self.held[name] &= self.shares[name]
        taken = {p for other, held in self.held.items() if other != name for p in held}
        now = self.shares[name] - taken
        if now != member.assignment() or member.generation < 0:
            member.rebalance(now)
        member.generation = self.generation
        self.held[name] = set(now)

    def require(self, member: Member) -> None:
        """Refuse positions of who does not know how things stand."""
        if self.members.get(member.name) is not member or member.generation != self.generation:
            raise PositionsRefusedError("not a member, or of another generation")


@dataclass
class Store:
    """Committed state, as instances read it back."""

    topics: MemoryTopics
    log: MemoryLog
    restored: set[bytes]
    """First letters of the keys of the entries that were ever read back."""

    def restore(self, partitions: Collection[int]) -> Restored:
        state = {n: dict(self.topics.state.get(n, {})) for n in partitions}
        standings = take_standings(state, partitions)
        for standing in standings.values():
            assert all(self.log.committed[p] >= offset for p, offset in standing.committed().items())
        self.restored |= {key[:1] for entries in state.values() for key in entries}
        return Restored(state, standings)

    def ends(self, partitions: Collection[int]) -> Mapping[int, int]:
        return {n: len(self.log.records[HITS, n]) for n in partitions}


class _Sink(TransactionalMemorySink):
    """Puts what is for other instances into the hits topic."""

    def __init__(self, fleet: Fleet, inputs: Member, hits: Member) -> None:
        super().__init__(fleet.topics, self._store, fleet.reached, inputs.name)
        self._fleet = fleet
        self._members = {False: inputs, True: hits}

    def _store(self, positions: Positions) -> None:
        """Each group is asked for the positions that it is given, and for none else."""
        for of_hits in {topic == HITS for topic, _ in positions}:
            self._members[of_hits].require()
        self._fleet.history.log.committed.update(positions)

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        assert positions, "a commit without positions fences nobody"
        try:
            super().commit(outputs, positions)
        except PositionsRefusedError:
            self._fleet.refused += 1
            raise
        finally:
            self._fleet.heard += len(self._fleet.topics.away)
            self._fleet.words.append([len(record.value) for record in self._fleet.topics.away])
            for number, value in self._fleet.topics.away:
                self._fleet.history.log.append((HITS, number), value)
            self._fleet.topics.away.clear()


@dataclass
class Instance:
    """One process, and how long (in turns) it stands still."""

    name: str
    supervisor: Supervisor
    pool: SimulatedPool
    watcher: Watcher
    stopped: int = 0


@dataclass
class Fleet:
    """Instances at work on the log of a history. Chances are for each turn of an instance, or step of a
    transaction: that the process dies, that it stands still for a while, that a commit has to be given up,
    that a worker dies, that the group shares out anew. `die_at`: exactly that step of a transaction is
    fatal."""

    seed: int
    most: int = 3
    death: float = 0.0
    standstill: float = 0.0
    failure: float = 0.0
    crash: float = 0.0
    rebalance: float = 0.0
    die_at: int | None = None
    instances_at_once: int | None = None
    inputs: int | None = None
    kept: int | None = None
    steps: int = 0
    lives: int = 0
    deaths: int = 0
    zombies: int = 0
    refused: int = 0
    heard: int = 0
    words: list[list[int]] = field(default_factory=list)
    """Of each commit the sizes of its records of the hits topic."""
    restored: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.history = History(self.seed, inputs=self.inputs)
        log, self.rng = self.history.log, self.history.rng
        log.finished = False
        self.engine = EngineSettings(partitions=self.kept or self.rng.choice([2, 4, 8]))
        log.records.update({(HITS, n): [] for n in range(self.engine.partitions)})
        self.topics = MemoryTopics()
        self.store = Store(self.topics, log, self.restored)
        of_hits = {p for p in log.records if p[0] == HITS}
        self.groups = [Group(log, part, self.rng) for part in (log.records.keys() - of_hits, of_hits)]
        self.instances: dict[str, Instance] = {}
        self.calm = False

    def run(self) -> Counter[str]:
        """Every alert committed, by name."""
        count = self.instances_at_once or self.rng.randint(1, self.most)
        names = [f"i{n}" for n in range(count)]
        absent = dict.fromkeys(names, 0)
        for turn in range(200_000):
            self.calm = turn > FAULTY_TURNS
            for name in [name for name in absent if absent[name] <= turn]:
                del absent[name]
                self._start(name)
            if not self.instances:
                continue
            instance = self.rng.choice(list(self.instances.values()))
            try:
                self._turn(instance)
            except (InstanceDiedError, EndedError):
                self.deaths += 1
                name = instance.name
                del self.instances[name]
                absent[name] = turn + self.rng.randint(0, 100)
                for group in self.groups:
                    if not self.calm and self.rng.random() < 0.5:
                        group.put_out(name)
            if turn % 50 == 0 and not absent and self._is_done():
                return Counter(alert.key for alert in self.topics.alerts)
        raise AssertionError(f"seed {self.seed}: the instances do not come to an end")

    def reached(self, step: str) -> None:
        """A step of a transaction."""
        self.steps += 1
        if self.steps == self.die_at or self._happens(self.death):
            raise InstanceDiedError(step)
        if step != STEPS[-1] and self._happens(self.failure):
            raise self.rng.choice([PositionsRefusedError, DeliveryError])(step)

    def _happens(self, chance: float) -> bool:
        return not self.calm and self.rng.random() < chance

    def _turn(self, instance: Instance) -> None:
        if instance.stopped:
            instance.stopped -= 1
            return
        if self._happens(self.death):
            raise InstanceDiedError("between two turns")
        if self._happens(self.rebalance):
            self.rng.choice(self.groups).share_out()
        if self._happens(self.standstill):
            instance.stopped = self.rng.randint(1, 60)
            for group in self.groups:
                if self.rng.random() < 0.5:
                    self.zombies += 1
                    group.put_out(instance.name)
            return
        instance.pool.crash = 0.0 if self.calm else self.crash
        instance.supervisor.step()

    def _is_done(self) -> bool:
        log = self.history.log
        if any(log.committed.get(p, 0) != len(records) for p, records in log.records.items()):
            return False
        idle = all(instance.supervisor.holding == (0, 0) for instance in self.instances.values())
        return idle and not any(key[:1] in b"phu" for own in self.topics.state.values() for key in own)

    def _start(self, name: str) -> None:
        rng = self.rng
        workers = rng.randint(1, 4)
        inputs, hits = (Member(group, name) for group in self.groups)
        for member in (inputs, hits):
            member.join()
        source = PairedSource(inputs, hits, HITS)
        watcher = Watcher()
        pool = SimulatedPool(workers, rng, self.engine)
        share = Share(source, self.store, group=GROUP, hits_topic=HITS, partitions=self.engine.partitions)
        supervisor = Supervisor(
            source,
            _Sink(self, inputs, hits),
            pool,
            Router(workers, self.engine.partitions),
            EventTimeWatermark(LATENESS, 2 * SECOND),
            SimulatedClock(rng),
            watcher,
            Settings(
                partitions=self.engine.partitions,
                commit_interval=rng.choice([20_000_000, 50_000_000, 500_000_000]),
                batch_records=rng.randint(1, 10),
                commit_records=rng.randint(1, 30),
                max_restarts=100_000,
                delivery_attempts=100_000,
            ),
            Ledger(f"{name}-{self.deaths}", self.deaths),
            share,
        )
        self.lives += 1
        self.instances[name] = Instance(name, supervisor, pool, watcher)


def troubled(seed: int) -> Fleet:
    """One to three instances to which, in most histories, everything bad happens."""
    return Fleet(
        seed,
        most=1 + seed % 3,
        death=0.01 if seed % 4 else 0.0,
        standstill=0.01 if seed % 2 else 0.0,
        failure=0.02 if seed % 5 else 0.0,
        crash=0.01 if seed % 7 else 0.0,
        rebalance=0.01,
    )
