"""Attacks and noise of Linux hosts for end-to-end tests, and what they should be answered with."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon import RULES

from detectord.runtime.replay import ReplayOptions, replay

_numbers = itertools.count()


def linux(host: int, category: str, action: str, at: float, **fields: Any) -> dict[str, Any]:
    """An event of a Linux host, `at` seconds of the epoch."""
    number = next(_numbers)
    kind = category if category != "file" else "file"
    return {
        "@timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
        "agent": {"id": f"agent-{host}"},
        "data_stream": {"type": "logs", "dataset": f"endpoint.events.{kind}", "namespace": "default"},
        "event": {
            "id": f"e2e-{number}",
            "sequence": number,
            "category": [category],
            "type": ["start"],
            "action": action,
        },
        "host": {"id": f"host-{host}", "name": f"host-{host}", "os": {"type": "linux"}},
        **fields,
    }


def fork(host: int, at: float) -> dict[str, Any]:
    """The first half of the reverse-shell sequence."""
    parent = {"name": "python3", "entity_id": f"parent-{host}"}
    return linux(host, "process", "fork", at, process={"name": "python3", "args": ["-c"], "parent": parent})


def connect(host: int, at: float) -> dict[str, Any]:
    """The second half."""
    process = {"name": "python3", "parent": {"entity_id": f"parent-{host}"}}
    return linux(
        host, "network", "connection_attempted", at, process=process, destination={"ip": "203.0.113.9"}
    )


def usermod(host: int, at: float) -> dict[str, Any]:
    """A whole attack in one event."""
    return linux(host, "process", "exec", at, process={"name": "usermod", "args": ["-u", "0", "-o"]})


def noise(host: int, at: float) -> dict[str, Any]:
    """Nothing."""
    return linux(host, "process", "exec", at, process={"name": "ls", "args": ["ls", "-l"]})


def expected_ids(events: list[dict[str, Any]], folder: Path) -> list[str]:
    """What a replay of the same events alerts on."""
    source, target = folder / "events.ndjson", folder / "alerts.ndjson"
    source.write_text("".join(json.dumps(event) + "\n" for event in events))
    replay(ReplayOptions(rules=[RULES], inputs=[str(source)], output=str(target)))
    alerts = [json.loads(line) for line in target.read_text().splitlines()]
    return sorted(a["kibana.alert.uuid"] for a in alerts if "kibana.alert.group.index" not in a)
