"""The command itself: a broker, a daemon with its workers, and a client, as a user starts them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from detectord import cli
from detectord.demo.daemon import Daemon, DaemonError, configuration, free_port
from detectord.demo.shipped import shipped_rules

DEMO = [sys.executable, "-m", "detectord", "demo"]


@contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    # Who runs in the background ignores SIGINT, and so would the demo; a handler of ours it does not inherit
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([*DEMO, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        process.terminate()  # it takes down what it started
        process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(180)
def test_every_attack_becomes_an_alert() -> None:
    with demo("--events", "1500", "--seed", "5") as process:
        said, _ = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert "Every attack was found, and nothing else." in said
    assert re.search(r"^events +1,563 in [0-9.]+ s, [0-9,]+ events/s$", said, re.MULTILINE)
    first = re.search(r"^alerts +5, expected 5; the first ([0-9.]+) s after", said, re.MULTILINE)
    assert first is not None
    assert float(first[1]) < 60
    assert re.search(r"^metrics +http://127\.0\.0\.1:[0-9]+/metrics", said, re.MULTILINE)
    rows = re.findall(r"^\d\d:\d\d:\d\d  (\w+)  (\d+)  .+  ([a-z]+)-01  .+$", said, re.MULTILINE)
    assert sorted(rows) == [
        ("high", "73", "iis"),
        ("high", "73", "web"),
        ("medium", "47", "app"),
        ("medium", "47", "bastion"),
        ("medium", "47", "build"),
    ]


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_it_started(number: signal.Signals) -> None:
    with demo("--events", "500", "--keep") as process:
        assert process.stdout is not None
        url = next(m[0] for line in process.stdout if (m := re.search(r"http://[^ ]+(?=/metrics)", line)))
        with urllib.request.urlopen(f"{url}/status", timeout=10) as answer:
            workers = [worker["pid"] for worker in json.load(answer)["workers"]]
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert len(workers) == 2
    assert [pid for pid in workers if is_running(pid)] == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/status", timeout=10)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_daemon_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    config = configuration(
        bootstrap_servers="127.0.0.1:1",
        group="demo",
        topic="ecs.endpoint",
        rules=tmp_path,  # there are none in it
        workers=1,
        port=free_port(),
    )
    with Daemon(config, tmp_path) as daemon:
        with pytest.raises(DaemonError, match=r"exit code 65\n(?s:.*)rules\.too_few"):
            daemon.wait_until_ready()
        assert daemon.stop() == 65


@pytest.mark.slow
def test_a_daemon_that_does_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    config = configuration(
        bootstrap_servers="127.0.0.1:1",
        group="demo",
        topic="ecs.endpoint",
        rules=shipped_rules(),
        workers=1,
        port=free_port(),
    )
    began = time.monotonic()
    with Daemon(config, tmp_path) as daemon:
        pass
    assert daemon.stop() != 0
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("options", "lines"), [((), 263), (("--only-attacks",), 63)])
def test_the_events_as_a_file(tmp_path: Path, options: tuple[str, ...], lines: int) -> None:
    file = tmp_path / "events.ndjson"
    assert cli.main(["demo", "--events", "200", "--write", str(file), *options]) == 0
    written = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(written) == lines
    assert all(document["@timestamp"] and document["host"]["id"] for document in written)


def test_options_that_make_no_sense_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--only-attacks"]) == 2
    assert "--only-attacks needs --write" in capsys.readouterr().err
