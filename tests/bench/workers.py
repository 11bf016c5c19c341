"""Replay with one and with two workers, and what the supervisor costs.

`python -m bench.workers replay RULES FOLDER WORKERS`, `… supervise COUNT KEYED` and `… count NUMBER WORKERS`
print figures as JSON, each from a process of its own. A replay is put together as `detectord replay` does it,
but begins when every worker is ready: what starting costs is another line (loading.py). Events that are too
few are repeated. What two cores are worth is measured beside it: on a busy host they may be less than two.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import cast

import msgspec
from daemon import wait_until

from bench.context import Context
from bench.processes import run_apart
from bench.workload import recorded, synthetic
from detectord import __version__
from detectord.alerts.settings import AlertSettings
from detectord.engine.detector import EngineSettings
from detectord.engine.watermark import FiniteWatermark
from detectord.events.fields import FIELD_TYPES
from detectord.rules.ledger import Loaded
from detectord.rules.load import load
from detectord.runtime.clock import SystemClock
from detectord.runtime.pool import ProcessPool
from detectord.runtime.protocol import Barrier, Batch, Covered, Gauges, Message, Outcome, Restore, Stop
from detectord.runtime.replay import Summary
from detectord.runtime.sharding import Router
from detectord.runtime.shelf import WorkerPipe
from detectord.runtime.supervisor import Settings, Supervisor
from detectord.runtime.worker import WorkerSettings, WorkerStart, serve
from detectord.sinks.memory import MemorySink
from detectord.sinks.ndjson import NdjsonSink
from detectord.sources.memory import MemoryLog, MemorySource
from detectord.sources.ndjson import NdjsonSource

Figures = dict[str, float]

COUNTED = 200
"""For each event of the replay, when it is measured what two cores are worth: about a second in all."""


def measure(context: Context) -> None:
    """The lines of the workers and of the supervisor."""
    _workers(context)
    _supervisor(context)


def _workers(context: Context) -> None:
    scale = context.scale
    some = recorded(scale.replay_events) or synthetic(scale.replay_events)
    values = list(islice(cycle(some), scale.replay_events))
    rounds: list[dict[str, Figures]] = []
    worth: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        lines = Path(place, "events.ndjson")
        lines.write_bytes(b"".join(value + b"\n" for value in values))
        for _ in range(scale.replay_rounds):
            told = {w: run_apart("bench.workers", "replay", str(context.folder), place, w) for w in "12"}
            rounds.append(told)
            number = str(COUNTED * scale.replay_events)
            one, two = (run_apart("bench.workers", "count", number, processes)["wall"] for processes in "12")
            worth.append(2 * one / two)
    for workers in "12":
        wall = median(figures[workers]["wall"] for figures in rounds)
        context.add(f"replay_{workers}", len(values) / wall, "events/s")
    speed_up = median(figures["1"]["wall"] / figures["2"]["wall"] for figures in rounds)
    more = median(figures["2"]["workers"] / figures["1"]["workers"] for figures in rounds)
    micros = {
        kind: median(figures["2"][kind] for figures in rounds) * 1e6 / len(values)
        for kind in ("workers", "supervisor")
    }
    cores = median(worth)
    context.add("two_cores", cores, "times the rate of one process that only counts")
    context.add("two_workers", speed_up, "times one worker's rate", "two_cores", speed_up / cores)
    context.add("two_workers_cpu", micros["workers"], "µs of worker CPU/event", "one worker", more)
    context.add("replay_supervisor", micros["supervisor"], "µs of CPU/event, reading lines included")


def _supervisor(context: Context) -> None:
    count = str(context.scale.supervisor_records)
    unkeyed, keyed = (run_apart("bench.workers", "supervise", count, kind)["cost"] for kind in ("", "keyed"))
    context.add("supervisor", unkeyed, "µs of CPU/event")
    context.add("supervisor_keyed", keyed, "µs of CPU/event", "supervisor", keyed / unkeyed)


def replayed(rules: str, place: str, workers: int) -> Figures:
    """Seconds of a replay once every worker is ready: by the clock, of the workers' CPU, of our own."""
    loaded = load([Path(rules)], types=FIELD_TYPES, cache=Path(place, "cache"))
    engine = EngineSettings()
    alerts = AlertSettings(instance="bench", version=__version__)

    def start(worker: int) -> tuple[WorkerStart, str]:
        settings = WorkerSettings(worker, workers, engine)
        return WorkerStart(loaded.rules, settings, "elastic", alerts), place

    for file in Path(place).glob("worker-*"):
        file.unlink()
    source, sink = NdjsonSource([str(Path(place, "events.ndjson"))]), NdjsonSink(f"{place}/alerts.ndjson")
    pool = ProcessPool(workers, clocked, start)
    try:
        wait_until(lambda: len(list(Path(place).glob("worker-*"))) == workers, "the workers are ready")
        began, own = perf_counter(), process_time()
        Supervisor(
            source,
            sink,
            pool,
            Router(workers, engine.partitions),
            FiniteWatermark(by_arrival=False),
            SystemClock(),
            Summary(loaded),
            Settings(partitions=engine.partitions, commit_interval=None),
        ).run()
        wall, own = perf_counter() - began, process_time() - own
    finally:
        pool.close()
        sink.close()
        source.close()
    spent = sum(float(file.read_text()) for file in Path(place).glob("worker-*"))
    return {"wall": wall, "workers": spent, "supervisor": own}


def clocked(pipe: WorkerPipe, start: WorkerStart, place: str) -> None:
    """A worker that leaves word when it is ready, and in the end of what it has spent since."""
    serve(cast("WorkerPipe", _Clocked(pipe, Path(place, f"worker-{start.settings.number}"))), start)


class _Clocked:
    """The pipe of a worker. It is first listened to when the rules are compiled."""

    def __init__(self, pipe: WorkerPipe, file: Path) -> None:
        self._pipe = pipe
        self._file = file
        self._began: float | None = None
        self.send = pipe.send

    def recv(self) -> Message:
        if self._began is None:
            self._began = process_time()
            self._file.write_text("0")
        message = self._pipe.recv()
        if isinstance(message, Stop):
            self._file.write_text(str(process_time() - self._began))
        return message


def counted(number: int, processes: int) -> Figures:
    """Seconds by the clock until each of so many processes has counted so far."""
    with get_context("spawn").Pool(processes) as pool:
        pool.map(_count, [1] * processes, chunksize=1)
        began = perf_counter()
        pool.map(_count, [number] * processes, chunksize=1)
        return {"wall": perf_counter() - began}


def _count(number: int) -> int:
    total = 0
    for each in range(number):
        total += each
    return total


# --- the supervisor alone --------------------------------------------------------------------


def supervised(count: int, keyed: bool) -> Figures:
    """What the supervisor costs an event with two workers that do nothing: reading from memory, routing,
    sending, counting. Microseconds of CPU."""
    topic = "events"
    values = synthetic(min(count, 10_000))
    hosts = [msgspec.json.decode(value)["host"]["id"].encode() for value in values]
    log = MemoryLog([(topic, number) for number in range(4)])
    for number in range(count):
        at = number % len(values)
        log.append((topic, number % 4), values[at], key=hosts[at], timestamp=1_790_000_000_000 + number)
    log.finish()
    pool = ProcessPool(2, idle_worker, lambda worker: (worker,))
    settings = Settings(commit_interval=None)
    source = MemorySource(log)
    try:
        supervisor = Supervisor(
            source,
            MemorySink(source.commit),
            pool,
            Router(2, settings.partitions, [topic] if keyed else []),
            FiniteWatermark(by_arrival=True),
            SystemClock(),
            Summary(Loaded((), (), (), 0)),
            settings,
        )
        began = process_time()
        supervisor.run()
        spent = process_time() - began
    finally:
        pool.close()
    return {"cost": spent * 1e6 / count}


def idle_worker(pipe: WorkerPipe, number: int) -> None:
    """A worker that answers everything and finds nothing."""
    epoch = 0
    while not isinstance(message := pipe.recv(), Stop):
        if isinstance(message, Restore):
            epoch = message.epoch
        elif message.epoch == epoch and isinstance(message, Batch):
            progress = {(chunk.topic, chunk.partition): 1 for chunk in message.chunks}
            pipe.send(Outcome(number, epoch, message.number, [], {}, progress, [], Counter()))
        elif message.epoch == epoch and isinstance(message, Barrier):
            pipe.send(Covered(number, epoch, message.number, [], [], Counter(), Gauges({}, 0, 0)))


def main(what: str, *arguments: str) -> Figures:
    """See the module."""
    if what == "replay":
        rules, place, workers = arguments
        return replayed(rules, place, int(workers))
    if what == "count":
        number, processes = arguments
        return counted(int(number), int(processes))
    count, keyed = arguments
    return supervised(int(count), bool(keyed))


if __name__ == "__main__":
    print(msgspec.json.encode(main(*sys.argv[1:])).decode())
