"""What a million half-done sequences cost: `python -m bench.partials COUNT` prints the figures as JSON.

In a process of its own, whose memory is then that of the partials and of nothing else. Beyond the raw events
that they refer to, which are counted apart: state keeps the bytes of an event as they came, once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from time import process_time

import msgspec

from bench.context import Context, Engine
from bench.hostile import resident
from bench.processes import run_apart
from detectord.compiler import compile_rule
from detectord.engine.hits import EventHits
from detectord.eql import parse
from detectord.eql.ast import Query
from detectord.eql.source import Source
from detectord.events.record import Record
from detectord.rules.rule import Rule

QUERY = """
sequence by host.id, process.entity_id with maxspan=1h
  [process where event.action == "start"]
  [file where event.action == "creation"]
  [network where event.action == "connection_attempted"]
"""
START = 1_790_000_000 * 1_000_000_000
SPAN = 3_600 * 1_000_000_000
STEP = 1_000_000
"""Nanoseconds between two starts: so many of them fit the span that a million live at once."""
BATCH = 1_000
MB = 1_000_000

Figures = dict[str, float]


def measure(context: Context) -> None:
    """The lines of the partials."""
    figures = run_apart("bench.partials", str(context.scale.partials))
    context.add("partials", figures["live"], "live partials")
    context.add("partials_mb", figures["beyond"] / MB, "MB beyond the raw events")
    context.add("partials_bytes", figures["beyond"] / figures["live"], "bytes/partial")
    context.add("partials_raw_mb", figures["raw"] / MB, "MB of raw events")
    context.add("partials_insert", figures["insert"], "µs/partial")
    context.add("partials_advance", figures["advance"], "µs/event", "partials_insert",
                figures["advance"] / figures["insert"])  # fmt: skip
    context.add("partials_expire", figures["expire"], "µs/partial", "partials_insert",
                figures["expire"] / figures["insert"])  # fmt: skip
    context.add("partials_idle", figures["idle"], "µs/watermark with nothing to expire")


def figures(count: int) -> Figures:
    """Insert `count` partials, advance a tenth of them, expire a tenth. Bytes, microseconds."""
    rule = Rule(rule_id="partials", name="partials", query_text=QUERY, query=_query())
    engine = Engine([compile_rule(rule)])
    detector = engine.detector
    gc.collect()
    before = resident()
    insert = _taken(engine, _events(0, count, "process", "start"))
    gc.collect()
    held = resident() - before
    live = detector.partials().total()
    raw = sum(len(record.value) for record in _events(0, count, "process", "start"))
    advance = _taken(engine, _events(0, count // 10, "file", "creation"))
    begun = process_time()
    detector.advance(START + count // 10 * STEP + SPAN)
    detector.take_changes()
    expired = live - detector.partials().total()
    expire = (process_time() - begun) * 1e6 / max(expired, 1)
    begun = process_time()
    for _ in range(100):
        detector.advance(None)
    idle = (process_time() - begun) * 1e6 / 100
    assert live == count, f"{live} partials of {count}"
    assert count // 10 <= expired <= count // 10 + 1, f"{expired} expired"
    return {
        "live": live, "raw": raw, "beyond": held - raw, "insert": insert, "advance": advance,
        "expire": expire, "idle": idle,
    }  # fmt: skip


def _query() -> Query:
    query = parse(Source(QUERY)).query
    assert query is not None
    return query


def _taken(engine: Engine, records: Iterator[Record]) -> float:
    """Microseconds that the state takes for a hit: to receive it, to give it its turn, and to write down what
    changed. Decoding and evaluating are measured elsewhere."""
    spent, hits = 0.0, 0
    for batch in _batches(records):
        found = engine.hits(batch)
        hits += len(found)
        spent += _spent(lambda found=found: _take(engine, found))
    return spent * 1e6 / max(hits, 1)


def _take(engine: Engine, found: list[EventHits]) -> None:
    engine.detector.receive(found)
    engine.detector.advance(max(hit.time for event in found for hit in event.hits) + 1)
    engine.detector.take_changes()


def _spent(work: Callable[[], None]) -> float:
    begun = process_time()
    work()
    return process_time() - begun


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _events(first: int, end: int, category: str, action: str) -> Iterator[Record]:
    """An event of each of the processes; the last second of the span for those that come second."""
    encode = msgspec.json.Encoder().encode
    late = 0 if category == "process" else SPAN // 2
    for number in range(first, end):
        document = {
            "@timestamp": START + late + number * STEP,
            "event": {"id": f"{category}-{number:012}", "category": [category], "action": action},
            "host": {"id": f"host-{number % 5_000:032}"},
            "process": {"entity_id": f"entity-{number:048}", "name": "program.exe"},
        }
        yield Record("partials", 0, number, None, None, encode(document), number)


if __name__ == "__main__":
    print(msgspec.json.encode(figures(int(sys.argv[1]))).decode())
