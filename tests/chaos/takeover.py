"""How long a restart takes when much is half done: `python -m chaos.takeover COUNT TIMES`.

So many sequences of `held/held.toml` are begun; then everything is killed, again and again, each time after
the daemon has caught up. Prints, of the seconds from the kill to the first alert published after it, the
median and the 95th percentile; beside them what the daemon says of reading its state back.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from daemon import RULES, wait_until

from chaos.results import percentile
from chaos.stage import END, OWN_RULES, PARTITIONS, QUICK, Stage, broker, stage
from chaos.traffic import Item, Traffic

HELD_RULES = Path(__file__).parent / "held"
CHUNK = 10_000


def measure(count: int, times: int) -> list[float]:
    """The seconds of `times` takeovers with `count` sequences half done."""
    rules = (RULES, OWN_RULES, HELD_RULES)
    traffic = Traffic(1, time.time() - END - 60, PARTITIONS)
    with (
        tempfile.TemporaryDirectory() as place,
        broker() as (cluster, proxy),
        stage(
            cluster, proxy, Path(place) / "stage", random.Random(1), QUICK, traffic=traffic, rules=rules
        ) as here,
    ):
        wait_until(lambda: here.reader.first_after(0.0), "the first alert")
        for begin in range(0, count, CHUNK):
            here.feeder.write(_begun(here, traffic, min(CHUNK, count - begin)))
        return [_takeover(here) for _ in range(times)]


def _begun(here: Stage, traffic: Traffic, count: int) -> Iterator[Item]:
    for _ in range(count):
        yield traffic.begun(time.time() - here.feeder.began)


def _takeover(here: Stage) -> float:
    ends = here.ends()
    wait_until(lambda: _has_reached(here, ends), "it has caught up", 300)
    here.pause(0.5, 1.5)
    killed = time.time()
    here.instances[0].kill()
    wait_until(lambda: here.reader.first_after(killed), "an alert after the kill", 300)
    arrival = here.reader.first_after(killed)
    assert arrival is not None
    lines = here.instances[0].life.lines()
    restored = next(line for line in lines if line["message"] == "state.restored")
    entries, seconds = restored["labels"]["entries"], restored["detectord"]["seconds"]
    print(f"{arrival.read - killed:.2f} s; {entries} entries of state read in {seconds} s", flush=True)
    return arrival.read - killed


def _has_reached(here: Stage, ends: dict[int, int]) -> bool:
    return all(here.committed().get(number, 0) >= end for number, end in ends.items())


if __name__ == "__main__":
    taken = sorted(measure(int(sys.argv[1]), int(sys.argv[2])))
    print(f"p50 {statistics.median(taken):.1f} s, p95 {percentile(taken, 0.95):.1f} s of {len(taken)}")
