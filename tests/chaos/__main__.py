"""`make chaos`: plays histories, seed after seed, and keeps a row a run in `.chaos/results.jsonl`.

Interrupt it at any time; the same command goes on. A history that failed leaves what is needed to look into
it in `.chaos/failed/SEED`, and the command that repeats it is printed. `--table` writes the rows into
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from daemon import ROOT

from chaos.faults import FAULTS
from chaos.play import RUNS_PER_HISTORY, plan, play
from chaos.results import append, load, table, write_table
from chaos.stage import FULL, QUICK, Scale, broker

HOME = ROOT / ".chaos"
PAGE = ROOT / "docs" / "reliability.md"
HISTORIES_PER_BROKER = 10
"""Each leaves topics behind; a new broker has none."""


def main(arguments: Sequence[str]) -> int:
    """See `make help`; the exit code is 1 if a run failed."""
    options = _options(arguments)
    results = HOME / "results.jsonl"
    if options.table:
        write_table(PAGE, table(load(results), _not_played()))
        return 0
    for name, reason in _not_played():
        print(f"not played: {name}: {reason}")
    scale = QUICK if options.quick else FULL
    seeds = _seeds(options, results)
    until = time.monotonic() + options.minutes * 60
    failed = False
    while seeds and time.monotonic() < until:
        with broker(options.brokers) as (cluster, proxy):
            for seed in seeds[:HISTORIES_PER_BROKER]:
                if time.monotonic() >= until:
                    break
                folder = HOME / "failed" / str(seed)
                shutil.rmtree(folder, ignore_errors=True)
                planned = plan(seed, only=options.only, brokers=options.brokers)
                rows = play(cluster, proxy, planned, scale, folder)
                if not options.again:
                    append(results, rows)
                for row in rows:
                    print(row.told(), flush=True)
                if any(row.has_failed for row in rows):
                    failed = True
                    print(
                        f"    evidence: {folder}\n    again: {_command(seed, options, scale)}",
                        flush=True,
                    )
        seeds = seeds[HISTORIES_PER_BROKER:]
    return int(failed)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="chaos", description="Faults on a real Kafka, held against the answer."
    )
    parser.add_argument("--runs", type=int, default=100, help="faults, rounded up to whole histories")
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="begin no history after these")
    parser.add_argument("--quick", action="store_true", help="what is away is away for seconds, not a minute")
    parser.add_argument(
        "--only", action="append", default=[], choices=list(FAULTS), help="these kinds of faults"
    )
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3), help="size of the cluster")
    parser.add_argument("--again", action="store_true", help="also what was played; no rows are kept")
    parser.add_argument("--table", action="store_true", help="write the rows into docs/reliability.md")
    return parser.parse_args(arguments)


def _seeds(options: argparse.Namespace, results: Path) -> list[int]:
    """The histories to play: those that were not yet."""
    histories = -(-options.runs // RUNS_PER_HISTORY)
    played = set() if options.again else {row.seed for row in load(results)}
    return [seed for seed in range(options.seed, options.seed + histories) if seed not in played]


def _not_played() -> list[tuple[str, str]]:
    return [(name, reason) for name, fault in FAULTS.items() if (reason := fault.missing())]


def _command(seed: int, options: argparse.Namespace, scale: Scale) -> str:
    more = [f'ONLY="{" ".join(options.only)}"'] if options.only else []
    more += [f"BROKERS={options.brokers}"] if options.brokers > 1 else []
    more += ["QUICK=1"] if scale is QUICK else []
    return " ".join(["make chaos", f"SEED={seed}", f"RUNS={RUNS_PER_HISTORY}", *more, "AGAIN=1"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
