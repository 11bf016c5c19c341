"""How long loading takes: cold, from a cache, one changed rule, and what a worker has to do for that.

Each load is the first of a process of its own, as at a start: seconds of CPU, the least of a few.
`python -m bench.loading FOLDER [CACHE]` prints the figures of one as JSON.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from time import process_time

import msgspec

from bench.context import Context, Engine
from bench.processes import run_apart
from bench.ruleset import derived
from bench.timing import settled, spent
from bench.workload import records, synthetic
from detectord.compiler import compile_rule
from detectord.events.fields import FIELD_TYPES
from detectord.events.record import Record
from detectord.rules.load import load


def measure(context: Context) -> None:
    """The lines of loading and of reloading."""
    loads = context.scale.loads
    with tempfile.TemporaryDirectory() as place:
        rules, cache = Path(place, "rules"), str(Path(place, "cache"))
        shutil.copytree(context.folder, rules)
        cold = _least(loads, str(rules))
        _least(1, str(rules), cache)
        cached = _least(loads, str(rules), cache)
        _touch(rules)
        changed = _least(1, str(rules), cache)
    context.add("load_cold", cold["load"], "s of CPU")
    context.add("load_cached", cached["load"], "s of CPU", "load_cold", cached["load"] / cold["load"])
    context.add("load_one_changed", changed["load"], "s of CPU", "load_cold", changed["load"] / cold["load"])
    context.add("load_rules", cold["rules"], "rules")
    _reload(context)


def _least(times: int, *arguments: str) -> dict[str, float]:
    """The figures of the load that took least."""
    return min((run_apart("bench.loading", *arguments) for _ in range(times)), key=lambda told: told["load"])


def _touch(rules: Path) -> None:
    """Change one rule, in a way that makes it another text."""
    file = next(path for path in sorted(rules.rglob("*.toml")) if "[rule]" in path.read_text("utf-8"))
    file.write_text(file.read_text("utf-8") + "\n# changed\n", "utf-8")


def _reload(context: Context) -> None:
    """What a worker is busy with while one rule of all changes, and so how long events wait at the most: the
    changed rule is compiled, an engine is made with it and the others, and it answers its first event."""
    rules = context.rules.at_hand
    first = records(synthetic(1))
    with settled():
        compiling = spent(lambda: len([compile_rule(rule.rule) for rule in rules[:50]])) / 1e3
        pause = spent(lambda: _swap(context, first)) / 1e3
        warm = Engine(rules)
        warm.run(first)
        event = spent(lambda: warm.run(first)) / 1e3
    context.add("compile_rule", compiling, "ms of CPU/rule")
    context.add("reload_pause", pause, "ms of CPU, the longest pause", "one event", pause / max(event, 1e-6))


def _swap(context: Context, first: list[Record]) -> int:
    rules = context.rules.at_hand
    changed = compile_rule(derived(rules[0].rule, 8))
    return Engine([changed, *rules[1:]]).run(first)


def loaded(place: str, cache: str | None) -> dict[str, float]:
    """Load once."""
    began = process_time()
    found = load([Path(place)], types=FIELD_TYPES, cache=None if cache is None else Path(cache))
    return {"load": process_time() - began, "rules": len(found.rules), "with_imports": process_time()}


if __name__ == "__main__":
    print(msgspec.json.encode(loaded(sys.argv[1], sys.argv[2] if sys.argv[2:] else None)).decode())
