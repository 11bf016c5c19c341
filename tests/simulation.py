"""The daemon's loop in memory: real supervisor, real workers, no processes, no clock, no broker.

A history is made from a seed: events of some hosts, spread over partitions, a little out of order; a
pool whose workers answer when chance says so and die in the middle of things; a source that gives
random shares and is rebalanced now and then. At its end the alerts delivered must be those of the
plain batch answer, each exactly once.

The instance itself never dies, and its sink keeps no state; `fleet` has those that do.
"""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from detectord.alerts import AlertRecord
from detectord.batch import match_rule
from detectord.compiler import compile_rule
from detectord.compiler.compiled import RuleSet
from detectord.engine.detection import Detection
from detectord.engine.detector import EngineSettings
from detectord.engine.watermark import EventTimeWatermark
from detectord.eql import analyse
from detectord.eql.source import Source
from detectord.events.identity import sid
from detectord.rules.rule import Rule
from detectord.runtime.coverage import Ledger
from detectord.runtime.protocol import Batch, Death, Message, Reply
from detectord.runtime.seams import Commit
from detectord.runtime.sharding import Router
from detectord.runtime.supervisor import Settings, Supervisor
from detectord.runtime.trial import DEATHS
from detectord.runtime.worker import Worker, WorkerSettings
from detectord.sinks import Outputs, Sink
from detectord.sinks.memory import MemorySink
from detectord.sources.memory import MemoryLog, MemorySource

SECOND = 1_000_000_000
BASE = 1_760_000_000 * SECOND
LATENESS = 5 * SECOND

QUERIES = {
    "event": 'process where process.name == "a"',
    "host": 'sequence by host.id with maxspan=10s [process where process.name == "a"] '
    '[process where process.name in ("b", "ab")]',
    "user": 'sequence by user.name with maxspan=8s [process where process.name : ("a", "ab")] '
    '[process where process.name : ("b", "ab")] [process where process.name == "c"]',
    "args": 'sequence by host.id with maxspan=12s [process where process.name == "a"] by process.args '
    '[process where process.name == "c"] by user.name',
    "between": 'sequence by host.id with maxspan=9s [process where process.name == "a"] '
    '![process where process.name == "x"] [process where process.name == "c"]',
    "after": 'sequence by user.name with maxspan=6s [process where process.name == "b"] '
    '[process where process.name == "c"] ![process where process.name : ("a", "ab")]',
    "until": 'sequence by host.id with maxspan=15s [process where process.name == "b"] with runs=2 '
    '[process where process.name in ("c", "x")] until [process where process.name == "ab"]',
    "twin": 'sequence by host.id with maxspan=10s [process where process.name == "a"] '
    '[process where process.name in ("b", "ab")]',
}


@cache
def rules() -> RuleSet:
    """The rules of every history: at once, by host, by user over all hosts, with array keys, with something
    missing between and at the end, with an end and a run, a twin."""
    compiled = []
    for rule_id, text in QUERIES.items():
        parsed = analyse(Source(text))
        assert parsed.query is not None, parsed.diagnostics
        compiled.append(
            compile_rule(Rule(rule_id=rule_id, name=rule_id, query_text=text, query=parsed.query))
        )
    return RuleSet.of(compiled)


def naming_alert(detection: Detection, now: int) -> list[AlertRecord]:
    """An alert that is its own name: rule, events, key. Nothing else matters here."""
    del now
    keys = sorted(str(value) for _, value in detection.join)
    name = json.dumps([detection.rule.rule.rule_id, [sid(event) for event in detection.events], keys])
    return [AlertRecord(name, b"{}", (), 0, "event", detection.rule.rule.rule_id, "low")]


class InstanceDiedError(Exception):
    """The whole process is gone."""


@dataclass
class SimulatedClock:
    """Time that passes by chance, a little with every look at it."""

    rng: random.Random
    time: int = BASE

    def now(self) -> int:
        return self.monotonic()

    def monotonic(self) -> int:
        self.time += self.rng.randint(0, 20_000_000)
        return self.time


@dataclass
class SimulatedPool:
    """Workers without processes. `crash` is the chance that handling a message kills the worker, before
    or after it did the work; `crash_at` lets exactly that message be fatal."""

    size: int
    rng: random.Random
    settings: EngineSettings
    crash: float = 0.0
    crash_at: int | None = None
    handled: int = 0
    deaths: int = 0

    def __post_init__(self) -> None:
        self._workers: list[Worker | None] = [self._start(number) for number in range(self.size)]
        self._inbox: list[deque[Message]] = [deque() for _ in range(self.size)]
        self._outbox: deque[Reply | Death] = deque()
        self._deaths_of: Counter[tuple[str, int, int]] = Counter()

    def _start(self, number: int) -> Worker:
        return Worker(rules(), WorkerSettings(number, self.size, self.settings), naming_alert)

    def send(self, worker: int, message: Message) -> None:
        if self._workers[worker] is not None:
            self._inbox[worker].append(message)

    def receive(self, timeout: float) -> Sequence[Reply | Death]:
        del timeout
        for _ in range(self.rng.randint(0, 6)):
            waiting = [number for number in range(self.size) if self._inbox[number]]
            if waiting:
                self._handle(self.rng.choice(waiting))
        return [self._outbox.popleft() for _ in range(self.rng.randint(0, len(self._outbox)))]

    def _handle(self, number: int) -> None:
        worker = self._workers[number]
        assert worker is not None
        message = self._inbox[number].popleft()
        self.handled += 1
        dies = self.handled == self.crash_at or (self.rng.random() < self.crash and self._may_die_of(message))
        if dies and self.rng.random() < 0.5:
            self._die(number)
            return
        reply = worker.handle(message)
        if dies:
            self._die(number)
        elif reply is not None:
            self._outbox.append(reply)

    def _may_die_of(self, message: Message) -> bool:
        """No record is alone with three deaths by chance: it would rightly be taken for the cause."""
        if not isinstance(message, Batch) or sum(len(chunk.offsets) for chunk in message.chunks) != 1:
            return True
        (chunk,) = message.chunks
        place = chunk.topic, chunk.partition, chunk.offsets[0]
        self._deaths_of[place] += 1
        return self._deaths_of[place] < DEATHS

    def _die(self, number: int) -> None:
        self.deaths += 1
        self._workers[number] = None
        self._inbox[number].clear()
        self._outbox.append(Death(number, "crash"))

    def kill(self, worker: int, reason: str) -> None:
        raise AssertionError(f"worker {worker} was thought to hang: {reason}")

    def replace(self, worker: int) -> None:
        assert self._workers[worker] is None
        self._workers[worker] = self._start(worker)

    def close(self) -> None:
        pass


@dataclass
class Watcher:
    """Counts what a supervisor tells."""

    tallies: Counter[tuple[str, ...]] = field(default_factory=Counter)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    rewinds: Counter[str] = field(default_factory=Counter)

    def committed(self, commit: Commit) -> None:
        self.tallies.update(commit.tallies)
        self.lost.update(commit.lost)

    def restarted(self, worker: int, reason: str, detail: str) -> None:
        pass

    def rewound(self, reason: str, positions: Mapping[tuple[str, int], int]) -> None:
        self.rewinds[reason] += 1

    def delivery_failed(self, outputs: Outputs, error: str, attempt: int) -> None:
        pass

    def turned(self) -> None:
        pass


@dataclass
class History:
    """What a seed decides, and what came of it. With less than `LATENESS`, or a bound on state, there are
    events that are late and sequences that are evicted."""

    seed: int
    lateness: int = LATENESS
    max_bytes: int | None = None
    crash: float = 0.0
    crash_at: int | None = None
    rebalance: float = 0.0
    inputs: int | None = None

    def __post_init__(self) -> None:
        rng = self.rng = random.Random(self.seed)
        self.workers = rng.randint(1, 4)
        inputs = rng.randint(1, 4) if self.inputs is None else self.inputs
        self.partitions = [("ecs.sim", number) for number in range(inputs)]
        self.documents = [self._document(number) for number in range(rng.randint(5, 40))]
        self.log = MemoryLog(self.partitions)
        self.dead = self.instance_deaths = 0
        self.repeated: Counter[str] = Counter()
        self._fill()

    def _document(self, number: int) -> dict[str, object]:
        rng = self.rng
        time = BASE + number * SECOND + rng.randint(0, 999) * 1_000_000
        return {
            "@timestamp": time // 1_000_000,
            "data_stream": {"dataset": "sim"},
            "event": {"id": f"n{number}", "category": ["process"]},
            "agent": {"id": "a"},
            "host": {"id": f"h{rng.randint(1, 3)}"},
            "user": {"name": rng.choice(["u1", "u2"])},
            "process": {
                "name": rng.choice(["a", "b", "ab", "c", "x"]),
                "args": rng.sample(["u1", "u2", "u3"], rng.randint(0, 3)),
            },
        }

    def _fill(self) -> None:
        """Put the events into partitions, each a few seconds out of order at most, some of them twice,
        and garbage between."""
        rng = self.rng
        by_partition: dict[tuple[str, int], list[dict[str, object]]] = {p: [] for p in self.partitions}
        for document in self.documents:
            by_partition[rng.choice(self.partitions)].append(document)
        for partition, documents in by_partition.items():
            documents.sort(key=lambda d: int(str(d["@timestamp"])) + rng.randint(0, LATENESS // 2_000_000))
            for document in documents:
                self.log.append(partition, json.dumps(document).encode())
                if rng.random() < 0.05:
                    self.log.append(partition, json.dumps(document).encode())
                    self.repeated[str(self.documents.index(document))] += 1
                if rng.random() < 0.1:
                    self.log.append(partition, rng.choice([b"no json", b"[]", b"3", b'{"a":']))
                    self.dead += 1
        self.log.finish()

    def expected(self, answer: Callable[..., Iterable[Any]] = match_rule) -> Counter[str]:
        """The answer over all events at once, of the batch door or of who else takes a compiled rule and
        documents. An event that came twice gives an event
        rule's alert twice, with the same name; no sequence takes it twice."""
        names: Counter[str] = Counter()
        for rule in rules().rules:
            for found in answer(rule, self.documents):
                sids = [f"e:a:n{index}" for index in found.events if index is not None]
                keys = sorted(str(key) for key in found.join_keys)
                repeats = 0 if rule.is_sequence else self.repeated[str(found.events[0])]
                names[json.dumps([rule.rule.rule_id, sids, keys])] += 1 + repeats
        return names

    def run(self, sink: Callable[[MemorySource], MemorySink] | None = None) -> Counter[str]:
        """Every alert delivered, by name."""
        source = MemorySource(self.log, rng=self.rng)
        self.sink = sink(source) if sink is not None else MemorySink(source.commit)
        self.run_over(source, self.sink)
        return Counter(alert.key for alert in self.sink.alerts)

    def run_over(self, source: MemorySource, sink: Sink) -> None:
        """One instance that never dies, to its end."""
        engine = EngineSettings(partitions=self.rng.choice([4, 16, 64]), max_bytes=self.max_bytes)
        self._work(self._instance(source, sink, engine), source)

    def _instance(self, source: MemorySource, sink: Sink, engine: EngineSettings) -> Supervisor:
        rng = self.rng
        self.watcher = Watcher()
        self.pool = SimulatedPool(self.workers, rng, engine, self.crash, self.crash_at)
        return Supervisor(
            source,
            sink,
            self.pool,
            Router(self.workers, engine.partitions),
            EventTimeWatermark(self.lateness, 30 * SECOND),
            SimulatedClock(rng),
            self.watcher,
            Settings(
                partitions=engine.partitions,
                commit_interval=rng.choice([None, 50_000_000, 500_000_000]),
                batch_records=rng.randint(1, 10),
                commit_records=rng.randint(1, 30),
                max_restarts=1_000,
            ),
            Ledger("sim", self.instance_deaths * SECOND),
        )

    def _work(self, supervisor: Supervisor, source: MemorySource) -> None:
        """Let the loop come to its end."""
        rng = self.rng
        for _ in range(100_000):
            if supervisor.finished:
                return
            if self.rebalance and rng.random() < self.rebalance:
                source.rebalance(self.partitions)
            supervisor.step()
        raise AssertionError("the loop does not come to an end")
