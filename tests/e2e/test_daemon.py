"""The daemon on the embedded broker: attacks in, alerts out, workers killed, garbage fed, told to stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon, Topics, wait_until
from e2e_events import connect, expected_ids, fork, noise, usermod
from kafkanodes import Cluster, wait_for_brokers

from detectord.demo.broker import EmbeddedBroker

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def embedded() -> Iterator[Topics]:
    with EmbeddedBroker() as broker:
        topics = Topics(broker.bootstrap_servers)
        broker.create(*topics.names())
        yield topics
        topics.close()


@pytest.fixture
def real(real_kafka: Cluster) -> Iterator[Topics]:
    topics = Topics(real_kafka.bootstrap_servers)
    real_kafka.create(topics.names(), 4, max_message_bytes="4000000")
    yield topics
    topics.close()


@pytest.fixture(params=["embedded", "real"])
def topics(request: pytest.FixtureRequest) -> Topics:
    """The same tests on the embedded broker and, where one is at hand, on Apache Kafka."""
    topics: Topics = request.getfixturevalue(request.param)
    return topics


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_kill_9_of_workers_in_the_middle_loses_nothing_and_invents_nothing(
    topics: Topics, tmp_path: Path
) -> None:
    hosts = range(60)
    with Daemon(tmp_path, topics) as daemon:
        now = time.time()
        first = [event for h in hosts for event in (fork(h, now + h / 1000), noise(h, now + h / 1000))]
        sent = topics.send(first)
        wait_until(lambda: daemon.metric("detectord_input_records_total") == sent, "the first half is read")
        os.kill(daemon.worker_pids()[0], signal.SIGKILL)
        second = [connect(h, now + h / 1000 + 0.9) for h in hosts if h % 3]
        second += [connect(h, now + h / 1000 + 1.1) for h in hosts if not h % 3]  # beyond the span
        second += [usermod(h, now + 2) for h in hosts if h % 7 == 0]
        topics.send(second[: len(second) // 2])
        wait_until(lambda: daemon.metric("detectord_worker_restarts_total") == 1, "the death is noticed")
        wait_until(lambda: len(daemon.worker_pids()) == 2, "the worker is replaced")
        os.kill(daemon.worker_pids()[1], signal.SIGKILL)
        topics.send(second[len(second) // 2 :])
        expected = expected_ids(first + second, tmp_path)
        assert len(expected) == 40 + 9
        wait_until(lambda: len(topics.ids()) >= len(expected), "every alert has come")
        everything = len(first) + len(second)
        wait_until(lambda: daemon.metric("detectord_input_records_total") == everything, "all is read")
        assert daemon.metric("detectord_worker_restarts_total") == 2
        assert daemon.stop() == 0
    assert sorted(topics.ids()) == expected
    assert {line["message"] for line in daemon.lines()} >= {"worker.died", "epoch.began", "daemon.stopped"}


def test_kill_9_of_everything_loses_no_alert(topics: Topics, tmp_path: Path) -> None:
    """An alert may come twice, under the same id: delivery is at least once."""
    now = time.time()
    events = [event for h in range(300) for event in (noise(h, now), usermod(h, now))]
    half = len(events) // 2
    with Daemon(tmp_path, topics) as daemon:
        topics.send(events[:half])
        wait_until(topics.ids, "the first alerts")
        workers = daemon.worker_pids()
        daemon.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in workers), "the workers end by themselves")
    topics.send(events[half:])
    expected = expected_ids(events, tmp_path)
    assert len(expected) == 300
    with Daemon(tmp_path, topics) as daemon:
        wait_until(lambda: set(topics.ids()) >= set(expected), "every alert has come")
        assert daemon.stop() == 0
    assert set(topics.ids()) == set(expected)


def test_a_broker_that_dies_and_comes_back_costs_no_alert(
    real: Topics, real_kafka: Cluster, tmp_path: Path
) -> None:
    """The client may take its own earlier joining for another's once the broker is back
    (FENCED_INSTANCE_ID), and the daemon ends with 75 then, to be started again, as whoever keeps services
    does."""
    now = time.time()
    events = [usermod(h, now) for h in range(600)]
    node = real_kafka.node()
    with Daemon(tmp_path, real) as daemon:
        real.send(events[:300])
        wait_until(real.ids, "the first alerts")
        node.kill()
        node.start()
        wait_for_brokers(real_kafka)
        real.send(events[300:])
        expected = expected_ids(events, tmp_path)
        assert len(expected) == 600
        process = daemon.process
        assert process is not None

        def have_all() -> bool:
            return set(real.ids()) >= set(expected)

        wait_until(lambda: have_all() or process.poll() is not None, "every alert has come")
        if process.poll() is None:
            assert daemon.metric("detectord_worker_restarts_total") == 0
            assert daemon.stop() == 0
        else:
            assert process.returncode == 75
            with Daemon(tmp_path, real) as again:
                wait_until(have_all, "every alert has come")
                assert again.stop() == 0
    assert set(real.ids()) == set(expected)


def test_garbage_goes_to_the_dead_letters_and_stops_nothing(topics: Topics, tmp_path: Path) -> None:
    now = time.time()
    garbage = [b"no json", b"[]", b'"text"', b"{" * 1_000, b"\xff\xfe", b'{"a":"' + b"x" * 1_100_000 + b'"}']
    odd: list[dict[str, Any]] = [
        {**noise(1, now), "process": odd} for odd in (None, 7, "text", [], [None, {"name": [[{}]]}])
    ]
    big = {**usermod(2, now), "message": "x" * 900_000}
    with Daemon(tmp_path, topics) as daemon:
        topics.send([*garbage, *odd, big, usermod(3, now)])
        wait_until(lambda: len(topics.ids()) == 2 and len(topics.dead_letters) == 6, "alerts, dead letters")
        assert daemon.metric("detectord_events_dead_lettered_total") == 6
        assert daemon.metric("detectord_worker_restarts_total") == 0
        assert daemon.get("/healthz")[0] == 200
        assert daemon.stop() == 0
    reasons = sorted(headers["dlq-reason"] for _, headers in topics.dead_letters)
    assert reasons == [b"not_json"] * 3 + [b"not_object"] * 2 + [b"too_large"]
    assert {value for value, _ in topics.dead_letters} >= {b"no json", b"\xff\xfe"}
    logged = [line for line in daemon.lines() if line["message"] == "record.dead_lettered"]
    assert 3 <= len(logged) <= 4  # the first of each reason, then summed up


def test_a_restart_goes_on_where_the_last_commit_was(topics: Topics, tmp_path: Path) -> None:
    now = time.time()
    for round_number in range(2):
        with Daemon(tmp_path, topics) as daemon:
            topics.send([usermod(10 + round_number, now)])
            wait_until(lambda: len(topics.ids()) == round_number + 1, "the alert")  # noqa: B023 - asked within the round
            assert daemon.stop() == 0
    assert len(topics.ids()) == 2
