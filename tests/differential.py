"""The fast dispatcher against the plain one: all recorded events, all rules at hand; part of `make fuzz`.

Needs `../shared/data`; without it, it says so and ends.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from dispatching import Pair

from detectord.compiler import compile_rule
from detectord.engine.planner import HOT
from detectord.events.fields import FIELD_TYPES
from detectord.events.record import Record
from detectord.rules.load import load

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def main() -> int:
    """Compare, and print how much was compared."""
    folders = [folder for folder in (ROOT / "rules", DATA / "elastic-rules") if folder.is_dir()]
    recorded = DATA / "windows-recorded.ndjson.gz"
    if not recorded.exists():
        print("differential: ../shared/data is not on this machine")
        return 0
    rules = [compile_rule(rule) for rule in load(folders, types=FIELD_TYPES).rules]
    pair = Pair(rules, HOT)
    with gzip.open(recorded) as lines:
        pair.check(Record("t", 0, number, None, None, line) for number, line in enumerate(lines))
    print(f"{len(rules)} rules, {pair.events} events, {pair.narrow} narrow, {pair.found} found something")
    return 0


if __name__ == "__main__":
    sys.exit(main())
