"""How many events a second the shipped rules cost, by number of workers: `make bench`.

The events are seeded, about 1 KB each, mostly process starts with a few that match a first step. The
figure is for comparing one commit with another on one machine; it says nothing about another machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from detectord import __version__
from detectord.runtime.replay import ReplayOptions, replay

RULES = Path(__file__).parents[2] / "rules"
START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("svchost.exe", "chrome.exe", "bash", "sh", "python3", "w3wp.exe", "cmd.exe", "sshd", "cron")


def events(count: int, seed: int) -> Iterator[bytes]:
    """`count` lines, the same for the same seed."""
    draw = random.Random(seed)
    for number in range(count):
        event = {
            "@timestamp": (START + timedelta(milliseconds=20 * number)).isoformat(),
            "agent": {"id": f"agent-{number % 50}"},
            "event": {"id": str(number), "category": ["process"], "type": ["start"], "action": "exec"},
            "data_stream": {"type": "logs", "dataset": "endpoint.events.process", "namespace": "default"},
            "host": {"id": f"host-{number % 50}", "os": {"type": draw.choice(["linux", "windows"])}},
            "process": {
                "name": draw.choice(NAMES),
                "entity_id": f"{draw.getrandbits(64):x}",
                "args": [draw.choice(NAMES), *(f"--{draw.getrandbits(40):x}" for _ in range(5))],
                "command_line": f"{draw.getrandbits(2000):x}",
                "parent": {"name": draw.choice(NAMES), "entity_id": f"{draw.getrandbits(64):x}"},
            },
        }
        yield json.dumps(event).encode() + b"\n"


def main() -> None:
    """Measure and print one line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(
        f"detectord {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" {datetime.now(UTC):%Y-%m-%d}"
    )
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "events.ndjson")
        lines.write_bytes(b"".join(events(options.events, options.seed)))
        for workers in options.workers:
            output = str(Path(folder, "alerts.ndjson"))
            summary = replay(
                ReplayOptions(rules=[RULES], inputs=[str(lines)], workers=workers, output=output)
            )
            print(f"{workers} workers: {summary.records:,} events, {summary.events_per_second:,.0f} events/s")


if __name__ == "__main__":
    main()
