"""Hostile streams against ordinary ones, by the byte, and what they leave behind in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.context import Context, Engine
from bench.timing import Rounds, settled, spent
from bench.workload import HOSTILE, records, synthetic
from detectord.events.record import Record

MIB = 1024 * 1024


def measure(context: Context) -> None:
    """A line for each kind of hostility, and `hostile`, the worst of them."""
    scale = context.scale
    ordinary = records(synthetic(scale.cold + scale.piece))
    engine = Engine(context.rules.at_hand)
    steady = ordinary[scale.cold :]
    ratios: list[float] = []
    with settled():
        engine.run(ordinary)
        for kind, stream in HOSTILE.items():
            attack = records(stream(scale.hostile_bytes))
            rounds, before = Rounds(), resident()
            for begin in range(3):
                part = attack[begin * len(attack) // 3 : (begin + 1) * len(attack) // 3]
                rounds.round(steady=_bytes(engine, steady), hostile=_bytes(engine, part or attack))
            ratios.append(rounds.ratio("steady", "hostile"))
            context.add(f"hostile_{kind}", 1 / rounds.cost("hostile"), "MB/s", "steady", ratios[-1])
            context.add(f"hostile_{kind}_memory", (resident() - before) / MIB, "MiB grown")
        after = spent(_bytes(engine, steady))
    context.add("steady_after_hostile", 1 / after, "MB/s")
    context.add("hostile", min(ratios), "of steady", "steady", min(ratios))


def _bytes(engine: Engine, stream: Sequence[Record]) -> Callable[[], int]:
    """Evaluates a stream; how many bytes it has."""
    return lambda: engine.run(stream) and sum(len(record.value) for record in stream)


def resident() -> int:
    """Bytes of memory this process has."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
