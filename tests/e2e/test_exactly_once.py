"""Whole daemons that die and come back, on Apache Kafka: what a reader of committed records sees is the
uninterrupted answer, alert by alert."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from daemon import RULES, Daemon, Topics, wait_until
from e2e_events import connect, expected_ids, fork, noise, usermod
from kafkanodes import Cluster
from mockcluster import consume, produce

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EXACTLY_ONCE: dict[str, Any] = {
    "delivery": {"mode": "exactly_once", "commit_interval": "100ms"},
    "state": {"partitions": 8},
    # Silence while nobody runs is not to move event time on: what comes late is another test's matter.
    "time": {"allowed_lateness": "1s", "idle_timeout": "10m"},
}


@pytest.fixture
def topics(real_kafka: Cluster) -> Iterator[Topics]:
    topics = Topics(real_kafka.bootstrap_servers)
    real_kafka.create(topics.names(), 4)
    real_kafka.create([topics.state], 8, cleanup_policy="compact", segment_ms="1000")
    yield topics
    topics.close()


def message(daemon: Daemon, name: str) -> dict[str, Any] | None:
    """The first log line of that name."""
    return next((line for line in daemon.lines() if line["message"] == name), None)


def kill_when_read(daemon: Daemon, records: int) -> None:
    """kill -9 once it has read so many records, whatever it was at."""
    wait_until(lambda: daemon.metric("detectord_input_records_total") >= records, "some is read")
    daemon.kill()


def test_kill_9_of_everything_loses_and_repeats_nothing(topics: Topics, tmp_path: Path) -> None:
    """Half-done sequences, held hits, whole attacks on their way; the process is killed again and again."""
    rng = random.Random(5)
    hosts = range(60)
    now = time.time()
    forks = [event for h in hosts for event in (fork(h, now + h / 1000), noise(h, now + h / 1000))]
    # 1.1 s are beyond the span
    connects = [connect(h, now + h / 1000 + (0.9 if h % 3 else 1.1)) for h in hosts]
    attacks = [usermod(h, now + 2) for h in hosts if h % 7 == 0]
    last = [noise(h, now + 60) for h in hosts]  # moves event time on
    rounds = [forks[:60], forks[60:], connects[:20], connects[20:40], connects[40:] + attacks, last]
    everything = [event for own in rounds for event in own]
    expected = expected_ids(everything, tmp_path)
    assert len(expected) == 40 + 9
    for number, events in enumerate(rounds):
        with Daemon(tmp_path, topics, **EXACTLY_ONCE) as daemon:
            topics.send(events)
            if number == len(rounds) - 1:
                wait_until(lambda: len(topics.ids()) >= len(expected), "every alert has come")
                assert message(daemon, "state.restored") is not None
                assert daemon.stop() == 0
            else:
                kill_when_read(daemon, rng.randint(1, len(events)))
    with Daemon(tmp_path, topics, **EXACTLY_ONCE) as daemon:
        topics.send([usermod(1, now + 61)])
        wait_until(lambda: len(topics.ids()) > len(expected), "it goes on")
        assert daemon.stop() == 0
    assert sorted(topics.ids()[: len(expected)]) == expected
    assert len(topics.ids()) == len(expected) + 1


def test_a_clean_stop_keeps_half_done_sequences(topics: Topics, tmp_path: Path) -> None:
    now = time.time()
    first, second = [fork(1, now)], [connect(1, now + 0.5), noise(1, now + 60)]
    with Daemon(tmp_path, topics, **EXACTLY_ONCE) as daemon:
        sent = topics.send([*first, *(noise(h, now) for h in range(40))])
        wait_until(lambda: daemon.metric("detectord_input_records_total") == sent, "the first half is read")
        assert daemon.stop() == 0
        assert message(daemon, "state.dropped") is None
    with Daemon(tmp_path, topics, **EXACTLY_ONCE) as daemon:
        topics.send([*second, *(noise(h, now + 60) for h in range(40))])
        wait_until(topics.ids, "the alert")
        assert daemon.stop() == 0
    assert topics.ids() == expected_ids([*first, *second], tmp_path)


def test_the_ledger_tells_what_may_have_been_missed(
    topics: Topics, real_kafka: Cluster, tmp_path: Path
) -> None:
    """A rule that does not load, a record that is no event, a step that is late; then records that retention
    took while nobody read."""
    broken = tmp_path / "rules" / "broken.toml"
    broken.parent.mkdir()
    broken.write_text("this is no rule")
    now = time.time()

    def ledger() -> list[dict[str, Any]]:
        """What a reader of committed records has: of each interval what was told last."""
        told = consume(topics.bootstrap_servers, topics.ledger, 4)
        return list({m.key(): json.loads(m.value()) for m in told}.values())

    def of(reason: str, intervals: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in intervals if each["reason"] == reason]

    with Daemon(tmp_path, topics, rules=(RULES, broken.parent), **EXACTLY_ONCE) as daemon:
        sent = topics.send([noise(h, now + 60) for h in range(40)])
        wait_until(lambda: daemon.metric("detectord_events_decoded_total") == sent, "event time has moved on")
        topics.send([b"no event", fork(7, now)])
        wait_until(lambda: of("late", ledger()) and of("dead_lettered", ledger()), "both are told")
        status = json.loads(daemon.get("/status")[1])["ledger"]
        open_now = {each["reason"]: each for each in status["open"]}
        assert open_now.keys() == {"refused", "late", "dead_lettered"}
        assert daemon.metric("detectord_ledger_open_intervals") == 3
        assert daemon.metric("detectord_ledger_losses_total") == sum(status["losses"].values()) == 3
        assert daemon.stop() == 0
    intervals = ledger()
    assert {each["state"] for each in intervals} == {"closed"}
    (late,), (refused,) = of("late", intervals), of("refused", intervals)
    assert (late["count"], late["topic"], late["rule_id"] is None) == (1, topics.input, False)
    assert abs(datetime.fromisoformat(late["first"]).timestamp() - now) < 0.01
    assert late["first"] == late["last"]
    assert refused["detail"] == f"{broken}: parse_error"

    place = TopicPartition(topics.input, 0)
    asker = Consumer({"bootstrap.servers": topics.bootstrap_servers, "group.id": topics.prefix})
    start = asker.committed([place], timeout=10)[0].offset
    asker.close()
    produce(topics.bootstrap_servers, topics.input, [json.dumps(noise(1, now + 61)).encode()] * 3, 0)
    gone = TopicPartition(topics.input, 0, start + 2)
    for done in real_kafka.admin.delete_records([gone]).values():
        done.result(10)
    with Daemon(tmp_path, topics, **EXACTLY_ONCE) as daemon:
        wait_until(lambda: of("gap", ledger()), "the gap is told")
        recent = json.loads(daemon.get("/status")[1])["ledger"]["recent"]
        assert [each["reason"] for each in recent] == ["gap"]
        assert daemon.stop() == 0
    (gap,) = of("gap", ledger())
    assert (gap["topic"], gap["partition"], gap["count"]) == (topics.input, 0, 2)
    assert gap["offsets"] == {"from": start, "to": start + 2}


def test_another_instance_of_the_group_is_refused_and_the_first_does_not_notice(
    topics: Topics, tmp_path: Path
) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    now = time.time()
    with Daemon(tmp_path, topics, **EXACTLY_ONCE) as first:
        topics.send([usermod(1, now)])
        wait_until(topics.ids, "the first alert")
        with Daemon(folder, topics, is_refused=True, instance="e2e-1", **EXACTLY_ONCE) as second:
            assert second.process is not None
            assert second.process.returncode == 78
        refused = message(second, "state.refused")
        assert refused is not None
        assert "belongs to instance e2e-0, not to e2e-1" in refused["error"]["message"]
        topics.send([usermod(2, now + 1)])
        wait_until(lambda: len(topics.ids()) == 2, "the second alert")
        assert message(first, "source.revoked") is None
        assert first.stop() == 0


def test_a_second_process_of_the_same_name_takes_over_and_the_first_ends(
    topics: Topics, tmp_path: Path
) -> None:
    """As after a network that was cut: the old one may still be there."""
    folder = tmp_path / "second"
    folder.mkdir()
    now = time.time()
    with Daemon(tmp_path, topics, **EXACTLY_ONCE) as first:
        topics.send([fork(h, now) for h in range(40)])
        wait_until(lambda: first.metric("detectord_input_records_total") == 40, "the first half is read")
        assert first.process is not None
        os.kill(first.process.pid, signal.SIGSTOP)
        with Daemon(folder, topics, **EXACTLY_ONCE) as second:
            os.kill(first.process.pid, signal.SIGCONT)
            topics.send([connect(h, now + 0.5) for h in range(40)])
            topics.send([noise(h, now + 60) for h in range(40)])
            wait_until(lambda: len(topics.ids()) >= 40, "every alert has come")
            assert first.process.wait(60) == 75
            assert second.stop() == 0
    assert len(topics.ids()) == 40
