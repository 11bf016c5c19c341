"""`make bench`: runs the sections, prints the table, writes results/latest.json."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from rich.console import Console

from bench import broker, engine, eql_package, hostile, kafka, loading, partials, workers
from bench.context import Context
from bench.results import RESULTS, Results, results_of, table_of
from bench.scale import FULL, QUICK, TINY

SECTIONS: dict[str, Callable[[Context], None]] = {
    "engine": engine.measure,
    "eql": eql_package.measure,
    "hostile": hostile.measure,
    "loading": loading.measure,
    "partials": partials.measure,
    "workers": workers.measure,
    "broker": broker.measure,
    "kafka": kafka.measure,
}
SCALES = {"full": FULL, "quick": QUICK, "tiny": TINY}


def run(sections: Sequence[str], scale: str, output: Path) -> Results:
    """Run the sections in the order of SECTIONS; what there is so far is saved after each."""
    context = Context.of(SCALES[scale])
    for name, measure in SECTIONS.items():
        if name in sections:
            began = perf_counter()
            measure(context)
            print(f"{name}: {perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            results_of(context.lines, scale).save(output)
    return results_of(context.lines, scale)


def main(arguments: Sequence[str]) -> None:
    """See `make help`."""
    parser = argparse.ArgumentParser(prog="bench", description="What detectord costs, side by side.")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--output", type=Path, default=RESULTS / "latest.json")
    parser.add_argument("--keep", action="store_true", help="leave a dated copy beside the output")
    options = parser.parse_args(arguments)
    sections = options.only.split(",")
    if unknown := set(sections) - SECTIONS.keys():
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    results = run(sections, options.scale, options.output)
    Console(width=None if sys.stdout.isatty() else 110).print(table_of(results))
    if options.keep:
        shutil.copy(options.output, options.output.with_name(f"{datetime.now(UTC):%Y-%m-%d}.json"))


if __name__ == "__main__":
    main(sys.argv[1:])
