"""How long loading a folder of rules takes: `python tests/bench/load.py [FOLDER]`, part of `make bench`.

Each load is the first of a process of its own, as at a start: cold without a cache, then with a cache that
the load before has filled. Seconds of CPU, without and with the import of the program; the least of three.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ELASTIC = ROOT.parent / "shared" / "data" / "elastic-rules"

LOAD = """
import sys, time
from pathlib import Path
from detectord.events.fields import FIELD_TYPES
from detectord.rules.load import load
began = time.process_time()
cache = Path(sys.argv[2]) if sys.argv[2:] else None
loaded = load([Path(sys.argv[1])], types=FIELD_TYPES, cache=cache)
print(time.process_time() - began, time.process_time(), len(loaded.rules), len(loaded.refused))
"""


def measured(*arguments: str) -> list[float]:
    """The least figures of three loads."""
    command = [sys.executable, "-c", LOAD, *arguments]
    outputs = [subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout for _ in range(3)]
    return [min(figures) for figures in zip(*(map(float, output.split()) for output in outputs), strict=True)]


def main() -> None:
    """Measure and print."""
    default = ELASTIC if ELASTIC.is_dir() else ROOT / "rules"
    folder = sys.argv[1] if sys.argv[1:] else str(default)
    with tempfile.TemporaryDirectory() as cache:
        cold = measured(folder)
        measured(folder, cache)
        warm = measured(folder, cache)
    print(f"{cold[2]:.0f} rules loaded, {cold[3]:.0f} refused")
    print(f"cold         {cold[0]:.2f} s of CPU, {cold[1]:.2f} s with imports")
    print(f"from a cache {warm[0]:.2f} s of CPU, {warm[1]:.2f} s with imports")


if __name__ == "__main__":
    main()
