"""Holds the engines against the oracle for as many generated cases as asked: `python tests/fuzz.py`.

With `--front-end` it holds the front end against hostile rules instead: see front_end.py.

Case k of a seed is always the same case: cases come in batches, and the seed of a batch is made of
the run's seed and the batch's number. A run that was stopped goes on with `--start`. At the first
mismatch the smallest failing case is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script: the package is not on the path

import front_end
import strategies
from agreement import check, expected
from engines import ENGINES
from hypothesis import HealthCheck, given, seed, settings

BATCH = 500


class Tally:
    """How many cases ran and how many of them had a result: a run without matches tests nothing."""

    def __init__(self) -> None:
        self.cases = self.matching = 0

    def add(self, case: strategies.Case) -> None:
        self.cases += 1
        self.matching += bool(expected(case))


def run_batch(number: int, run_seed: int, count: int, tally: Tally) -> None:
    """Runs `count` cases against every engine. Raises AssertionError on a mismatch."""
    make = strategies.event_cases() if number % 2 == 0 else strategies.sequence_cases()

    @seed(run_seed * 1_000_003 + number)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=make)
    def run(case: strategies.Case) -> None:
        tally.add(case)
        for engine in ENGINES:
            check(case, engine)

    run()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--cases", type=int, default=100_000, help="how many, counted from the first of the seed"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other cases")
    parser.add_argument("--start", type=int, default=0, help="skip that many (rounded down to a batch)")
    parser.add_argument("--front-end", action="store_true", help="mutated rules for the front end instead")
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


def main() -> int:
    options = arguments()
    if options.front_end:
        return run_front_end(options)
    tally, began = Tally(), time.monotonic()
    for number in range(options.start // BATCH, -(-options.cases // BATCH)):
        count = min(BATCH, options.cases - number * BATCH)
        try:
            run_batch(number, options.seed, count, tally)
        except Exception as error:
            print(
                f"\nmismatch in batch {number} (--seed {options.seed} --start {number * BATCH}):",
                file=sys.stderr,
            )
            print(
                f"{type(error).__name__}: {error}",
                *getattr(error, "__notes__", ()),
                sep="\n",
                file=sys.stderr,
            )
            return 1
        rate = tally.cases / (time.monotonic() - began)
        done = number * BATCH + count
        share = tally.matching / tally.cases
        print(f"{done:,} of {options.cases:,} cases, {share:.0%} with results, {rate:,.0f}/s", flush=True)
    print(f"no mismatch (seed {options.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
