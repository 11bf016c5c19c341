"""Whole daemons that die and come back, on Apache Kafka: what a reader of committed records sees is the
uninterrupted answer, alert by alert."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self

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
    real_kafka.create([topics.hits], 8)
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


class Fleet:
    """Instances of one group, by name."""

    def __init__(self, topics: Topics, folder: Path, names: list[str]) -> None:
        self._topics = topics
        self._folder = folder
        self.daemons: dict[str, Daemon] = {}
        self._stack = ExitStack()
        for name in names:
            (folder / name).mkdir()
            self.start(name)

    def start(self, name: str) -> None:
        daemon = Daemon(self._folder / name, self._topics, instance=name, **EXACTLY_ONCE)
        self.daemons[name] = self._stack.enter_context(daemon)

    def read(self) -> float:
        """Records that were committed, by those who live."""
        return sum(each.metric("detectord_input_records_total") for each in self.daemons.values())

    def hits(self, route: str) -> float:
        return sum(
            float(line.rsplit(" ", 1)[1])
            for each in self.daemons.values()
            for line in each.get("/metrics")[1].splitlines()
            if line.startswith(f'detectord_hits_total{{route="{route}"}}')
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.__exit__(*details)


def attack_in_rounds(rng: random.Random) -> list[list[dict[str, Any]]]:
    """Two-step attacks of sixty hosts, some of them too slow to be one; at last what moves event time on."""
    now = time.time()
    hosts = range(60)
    forks = [event for h in hosts for event in (fork(h, now + h / 1000), noise(h, now + h / 1000))]
    connects = [connect(h, now + h / 1000 + (0.9 if h % 3 else 1.1)) for h in hosts]
    attacks = [usermod(h, now + 2) for h in hosts if h % 7 == 0]
    rounds = [forks[:60], forks[60:], connects[:20], connects[20:40], connects[40:] + attacks]
    return [rng.sample(own, len(own)) for own in rounds] + [[noise(h, now + 60) for h in hosts]]


def test_three_instances_that_are_killed_answer_as_one(topics: Topics, tmp_path: Path) -> None:
    """The events of a host are spread over all partitions, so nearly every sequence is made of what two
    instances have read."""
    rng = random.Random(7)
    rounds = attack_in_rounds(rng)
    expected = expected_ids([event for own in rounds for event in own], tmp_path)
    assert len(expected) == 40 + 9
    with Fleet(topics, tmp_path, ["i0", "i1", "i2"]) as fleet:
        for events in rounds[:-1]:
            topics.send(events, rng)
            victim = rng.choice(list(fleet.daemons))
            kill_when_read(fleet.daemons[victim], 0)
            fleet.start(victim)
        topics.send(rounds[-1] * 4, rng)  # something in every partition
        wait_until(lambda: len(topics.ids()) >= len(expected), "every alert has come")
        assert fleet.hits("remote") > 0
        for name in list(fleet.daemons):  # and a rolling restart
            assert fleet.daemons[name].stop() == 0
            fleet.start(name)
    assert sorted(topics.ids()) == expected


def test_an_instance_that_stood_still_for_too_long_does_no_harm(topics: Topics, tmp_path: Path) -> None:
    """Half-done sequences move to the other one, and back."""
    rng = random.Random(8)
    rounds = attack_in_rounds(rng)
    expected = expected_ids([event for own in rounds for event in own], tmp_path)
    with Fleet(topics, tmp_path, ["i0", "i1"]) as fleet:
        topics.send([*rounds[0], *rounds[1]], rng)
        wait_until(lambda: fleet.read() == 120, "the first halves are read")
        process = fleet.daemons["i0"].process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        topics.send([*rounds[2], *rounds[3]], rng)
        other = fleet.daemons["i1"]
        moved = "detectord_consumer_assigned_partitions"
        wait_until(lambda: other.metric(moved) == 4, "the other one has all inputs")
        os.kill(process.pid, signal.SIGCONT)
        topics.send([*rounds[4], *rounds[5] * 4], rng)
        wait_until(lambda: len(topics.ids()) >= len(expected), "every alert has come")
    assert sorted(topics.ids()) == expected


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
