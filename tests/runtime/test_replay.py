"""Replay: the same alerts, byte for byte, however many workers share the work."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest
from daemon import RULES
from testing import shared_data

from detectord.demo.attacks import attacks, interleave
from detectord.demo.machines import fleet
from detectord.events.time import parse_instant
from detectord.runtime.replay import NoRulesError, ReplayOptions, Summary, replay

TIMES = re.compile(rb'"(@timestamp|kibana\.alert\.start|kibana\.alert\.last_detected)":"[0-9TZ:.-]+"')


def events(seed: int) -> list[dict[str, object]]:
    """Reverse shells, compiled back doors and new root users on a few hosts, some of them half done."""
    rng = random.Random(seed)
    made: list[dict[str, object]] = []
    for number in range(400):
        host = f"h{rng.randint(1, 9)}"
        time = 1_760_000_000_000 + number * 25
        base = {
            "@timestamp": time,
            "data_stream": {"dataset": "endpoint.events.process"},
            "host": {"id": host, "os": {"type": "linux"}},
            "agent": {"id": f"agent-{host}"},
        }
        name = rng.choice(["x1", "x2"])
        exec_ = {"category": "process", "type": "start", "action": "exec"}
        parent = {"name": "perl", "entity_id": rng.choice(["p1", "p2"])}
        fork = {**exec_, "action": "fork"}
        connect = {"category": "network", "type": "start", "action": "connection_attempted"}
        create = {"category": "file", "action": "creation"}
        far = {"ip": "203.0.113.1"}
        kinds = [
            {"event": fork, "process": {"name": "perl", "args": ["-e"], "parent": parent}},
            {"event": connect, "process": {"name": "perl", "parent": parent}, "destination": far},
            {"event": exec_, "process": {"name": "gcc", "args": ["gcc", "-o", name, "y.c"]}},
            {"event": create, "process": {"name": "ld"}, "file": {"name": name}},
            {"event": exec_, "process": {"name": name}},
            {"event": connect, "process": {"name": name}, "destination": far},
            {"event": exec_, "process": {"name": "usermod", "args": ["-o", "-u", "0"]}},
            {"event": exec_, "process": {"name": "ls"}},
        ]
        made.append({**base, **rng.choice(kinds)})
    return made


def run(
    folder: Path, inputs: list[Path], workers: int, order: Literal["time", "arrival"] = "time"
) -> tuple[bytes, Summary]:
    target = folder / f"alerts-{workers}.ndjson"
    options = ReplayOptions(
        rules=[RULES], inputs=[str(path) for path in inputs], workers=workers, order=order, output=str(target)
    )
    summary = replay(options)
    return TIMES.sub(rb"", target.read_bytes()), summary


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    """Two files, one of them packed; lines in no order, with blanks and garbage between."""
    lines = [json.dumps(event).encode() for event in events(1)] + [b"", b"garbage", b"[1]"]
    random.Random(2).shuffle(lines)
    plain, packed = tmp_path / "one.ndjson", tmp_path / "two.ndjson.gz"
    plain.write_bytes(b"\n".join(lines[:200]) + b"\n")
    packed.write_bytes(gzip.compress(b"\n".join(lines[200:])))
    return [plain, packed]


@pytest.mark.parametrize("order", ["time", "arrival"])
def test_the_number_of_workers_changes_no_byte(
    tmp_path: Path, inputs: list[Path], order: Literal["time", "arrival"]
) -> None:
    alone, summary = run(tmp_path, inputs, 1, order)
    for workers in (2, 4):
        shared, other = run(tmp_path, inputs, workers, order)
        assert shared == alone
        assert (other.records, other.alerts, other.dead_letters) == (
            summary.records,
            summary.alerts,
            summary.dead_letters,
        )
    assert summary.records == 402
    assert summary.dead_letters == {"not_json": 1, "not_object": 1}
    if order == "time":
        assert len(summary.alerts) == 3, "an event rule and both sequences are to be seen here"
    assert alone.count(b"\n") > sum(summary.alerts.values()) > 20


def test_in_order_of_time_the_order_of_the_lines_changes_nothing(tmp_path: Path) -> None:
    """Events that name themselves, so that a line's number is not part of who they are."""
    found = []
    for seed in range(3):
        made = [{**event, "_id": f"d{number}"} for number, event in enumerate(events(1))]
        random.Random(seed).shuffle(made)
        file = tmp_path / "events.ndjson"
        file.write_text("".join(json.dumps(event) + "\n" for event in made))
        run(tmp_path, [file], 1)
        alerts = [json.loads(line) for line in (tmp_path / "alerts-1.ndjson").read_text().splitlines()]
        found.append(sorted(alert["kibana.alert.uuid"] for alert in alerts))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 20


def test_no_rules_is_an_error(tmp_path: Path, inputs: list[Path]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoRulesError):
        replay(ReplayOptions(rules=[tmp_path / "empty"], inputs=[str(inputs[0])]))


@pytest.mark.slow
def test_recorded_events_with_the_attacks_between(tmp_path: Path) -> None:
    """Real events, not in order of time and without event ids: every attack is found, by any number of
    workers, and nothing else is."""
    with gzip.open(shared_data("windows-recorded.ndjson.gz"), "rt") as file:
        recorded = [json.loads(line) for line in file]
    first = parse_instant(recorded[0]["@timestamp"])
    assert first is not None
    staged = attacks(fleet(7), first)
    mixed = tmp_path / "mixed.ndjson"
    mixed.write_text("".join(json.dumps(event) + "\n" for event in interleave(recorded, staged)))
    alone, summary = run(tmp_path, [mixed], 1)
    assert summary.alerts == Counter(attack.expected.rule_id for attack in staged)
    assert len(summary.alerts) == 5
    for workers in (2, 4):
        assert run(tmp_path, [mixed], workers)[0] == alone
