"""Holds the engines against the oracle for as many generated cases as asked: `python tests/fuzz.py`.

With `--front-end` it holds the front end against hostile rules instead: see front_end.py. With `--histories`
it runs histories of several instances (fleet.py), and holds their alerts against the oracle.

Case k of a seed is always the same case: cases come in batches, and the seed of a batch is made of
the run's seed and the batch's number. The kinds of cases take turns, batch by batch; with `--kind` there
is only that one. A run that was stopped goes on with `--start`. At the first mismatch the smallest failing
case is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script: the package is not on the path

import front_end
import oracle
from agreement import check
from engines import ENGINES
from fleet import troubled
from generated import KINDS
from hypothesis import HealthCheck, given, seed, settings
from strategies import Case

if TYPE_CHECKING:
    from detectord.compiler.compiled import CompiledRule

BATCH = 500


class Tally:
    """How many cases ran and how many of them had a result: a run without matches tests nothing."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.matching: Counter[str] = Counter()

    def add(self, kind: str, matches: bool) -> None:
        self.cases[kind] += 1
        self.matching[kind] += matches

    def __str__(self) -> str:
        return ", ".join(f"{kind} {self.matching[kind] / count:.0%}" for kind, count in self.cases.items())


def run_batch(kind: str, batch_seed: int, count: int, engines: list[str], tally: Tally) -> None:
    """Runs `count` cases against the engines. Raises AssertionError on a mismatch."""

    @seed(batch_seed)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=KINDS[kind]())
    def run(case: Case) -> None:
        tally.add(kind, bool(check(case, engines)))

    run()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--cases", type=int, default=100_000, help="how many, counted from the first of the seed"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other cases")
    parser.add_argument("--start", type=int, default=0, help="skip that many (rounded down to a batch)")
    parser.add_argument("--front-end", action="store_true", help="mutated rules for the front end instead")
    parser.add_argument("--histories", action="store_true", help="histories of several instances instead")
    parser.add_argument("--kind", choices=KINDS, action="append", help="this kind only; several: in turns")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="this engine only; several: these")
    return parser.parse_args()


def run_front_end(options: argparse.Namespace) -> int:
    """Hold the front end against mutated rules."""
    worst = 0.0
    for number, case in front_end.cases(options.seed, range(options.start, options.cases)):
        try:
            seconds = front_end.check(case)
            assert seconds < front_end.MAX_SECONDS, f"{seconds:.2f} s of CPU"
        except Exception as error:
            print(f"\ncase {number} (--front-end --seed {options.seed} --start {number}):", file=sys.stderr)
            print(f"{type(error).__name__}: {error}", repr(case[:2_000]), sep="\n", file=sys.stderr)
            return 1
        worst = max(worst, seconds)
        if (number + 1) % 1_000 == 0:
            print(f"{number + 1:,} of {options.cases:,} rules, the slowest {worst:.2f} s", flush=True)
    print(f"every rule ended well (seed {options.seed}), the slowest after {worst:.2f} s")
    return 0


def run_histories(options: argparse.Namespace) -> int:
    """Let instances die, stand still and share out their work, and see that their alerts are the oracle's."""
    seen: Counter[str] = Counter()
    began = time.monotonic()
    for number in range(options.start, options.cases):
        fleet = troubled(options.seed * 1_000_003 + number)
        try:
            assert fleet.run() == fleet.history.expected(oracle_answer)
            assert len(fleet.topics.dead_letters) == fleet.history.dead
        except Exception as error:
            print(
                f"\nhistory {number} (--histories --seed {options.seed} --start {number}):", file=sys.stderr
            )
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
        seen.update(histories=1, instances=fleet.lives, deaths=fleet.deaths, alerts=len(fleet.topics.alerts))
        if (number + 1) % 100 == 0:
            rate = seen["histories"] / (time.monotonic() - began)
            print(f"{number + 1:,} of {options.cases:,} histories, {rate:.1f}/s; {dict(seen)}", flush=True)
    print(f"no alert lost, false or twice (seed {options.seed}); {dict(seen)}")
    return 0


def oracle_answer(rule: CompiledRule, documents: list[dict[str, Any]]) -> list[oracle.Match]:
    """What the tree walk finds."""
    return oracle.run(rule.rule.query, documents)


def main() -> int:
    options = arguments()
    if options.histories:
        return run_histories(options)
    if options.front_end:
        return run_front_end(options)
    kinds = options.kind or list(KINDS)
    ways = [name for name in ENGINES if name != "match"]
    tally, began = Tally(), time.monotonic()
    for number in range(options.start // BATCH, -(-options.cases // BATCH)):
        kind, count = kinds[number % len(kinds)], min(BATCH, options.cases - number * BATCH)
        engines = options.engine or ["match", ways[number // len(kinds) % len(ways)]]
        try:
            run_batch(kind, options.seed * 1_000_003 + number, count, engines, tally)
        except Exception as error:
            place = f"--seed {options.seed} --start {number * BATCH}"
            print(f"\nmismatch in batch {number} ({kind}; {place}):", file=sys.stderr)
            notes = getattr(error, "__notes__", ())
            print(f"{type(error).__name__}: {error}", *notes, sep="\n", file=sys.stderr)
            return 1
        rate = tally.cases.total() / (time.monotonic() - began)
        done = number * BATCH + count
        print(f"{done:,} of {options.cases:,} cases, {rate:,.0f}/s; with results: {tally}", flush=True)
    print(f"no mismatch (seed {options.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
