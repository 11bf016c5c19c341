"""The first events of a process: `python -m bench.cold RULES STREAM COUNT` prints figures as JSON.

In a process of its own, because what a detector prepares may outlive it. The same events come three times: to
the first detector, cold; to the same again, warm; to one of rules that were loaded anew with one changed.
Compiling rules is another line (loading.py). Microseconds of CPU an event.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

import msgspec

from bench.context import Context, Engine
from bench.processes import run_apart
from bench.ruleset import at_hand, derived
from bench.timing import settled, spent
from bench.workload import recorded, records, synthetic
from detectord.compiler import compile_rule

STREAMS = {"recorded": recorded, "synthetic": synthetic}


def measure(context: Context, stream: str, suffix: str) -> None:
    """The lines of cold start and reload on a stream."""
    scale = context.scale
    told = [
        run_apart("bench.cold", str(context.folder), stream, str(scale.cold))
        for _ in range(scale.cold_rounds)
    ]
    for side, name in (("cold", "cold_start"), ("reloaded", "after_reload")):
        cost = median(figures[side] for figures in told)
        ratio = median(figures["warm"] / figures[side] for figures in told)
        context.add(f"{name}{suffix}", cost, "µs/event", "the same events again", ratio)


def figures(folder: str, stream: str, count: int) -> dict[str, float]:
    """One process's."""
    rules = [compile_rule(rule) for rule in at_hand(Path(folder))]
    part = records(STREAMS[stream](count))
    changed = [compile_rule(derived(rules[0].rule, 7)), *rules[1:]]
    with settled():
        engine = Engine(rules)
        return {
            "cold": spent(lambda: engine.run(part)),
            "warm": spent(lambda: engine.run(part)),
            "reloaded": spent(lambda: Engine(changed).run(part)),
        }


if __name__ == "__main__":
    print(msgspec.json.encode(figures(sys.argv[1], sys.argv[2], int(sys.argv[3]))).decode())
