"""Histories on a real Kafka: twenty faults, some more on a cluster of three brokers, and two histories that
have to fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafkanodes import Cluster, NoKafkaError, left_out

from chaos.faults import FAULTS, Fault
from chaos.play import Plan, plan, play
from chaos.proxy import Proxy
from chaos.results import Row
from chaos.stage import QUICK, Stage, broker

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(900)]

Kafka = tuple[Cluster, Proxy]

SEEDS = (16, 65, 68, 167)


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    """One of our own, whatever is named: it has to be behind our proxy, and may be stopped."""
    yield from _own(1)


@pytest.fixture
def three_brokers() -> Iterator[Kafka]:
    yield from _own(3)


def _own(nodes: int) -> Iterator[Kafka]:
    try:
        context = broker(nodes)
        own = context.__enter__()
    except NoKafkaError as error:
        left_out(f"no Apache Kafka of our own: {error}")
    yield own
    context.__exit__(None, None, None)


def told(rows: list[Row], folder: Path) -> str:
    return "\n".join([*(row.told() for row in rows), f"evidence: {folder}"])


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_repeated_or_altered(kafka: Kafka, tmp_path: Path, seed: int) -> None:
    """`make chaos SEED=… RUNS=5 QUICK=1 AGAIN=1` plays the same."""
    folder = tmp_path / "history"
    rows = play(*kafka, plan(seed), QUICK, folder)
    assert not any(row.has_failed for row in rows), told(rows, folder)
    assert len(rows) == 5
    assert sum(row.expected for row in rows) > 200


def test_the_twenty_faults_are_of_many_kinds_and_sizes() -> None:
    plans = [plan(seed) for seed in SEEDS]
    faults = {name for each in plans for name in each.faults}
    assert {each.instances for each in plans} == {1, 2, 3}
    assert {"poison", "rolling_restart"} <= faults
    assert sum(len(each.faults) for each in plans) == 20
    assert len(faults) >= 15


def test_three_instances_outlive_a_broker_of_three(three_brokers: Kafka, tmp_path: Path) -> None:
    """`make chaos BROKERS=3` plays more."""
    faults = ("one_broker_killed", "rolling_restart", "instance_killed")
    folder = tmp_path / "history"
    rows = play(*three_brokers, Plan(1, faults, (True,) * 3, instances=3), QUICK, folder)
    assert not any(row.has_failed for row in rows), told(rows, folder)
    assert sum(row.expected for row in rows) > 200


def test_at_least_once_is_found_out(kafka: Kafka, tmp_path: Path) -> None:
    """What it promises not to keep is missed: half-done sequences do not outlive a kill."""
    killed = Plan(1, ("everything_killed",) * 3, (True,) * 3)
    mode = {"mode": "at_least_once", "commit_interval": "100ms"}
    rows = play(*kafka, killed, QUICK, tmp_path / "history", delivery=mode)
    assert sum(row.lost for row in rows) > 0
    assert (tmp_path / "history" / "findings.ndjson").exists()


def test_an_alert_that_comes_again_is_found_out(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeat(stage: Stage) -> None:
        """The first alert is published once more, and another one a little changed."""
        producer = Producer({"bootstrap.servers": stage.cluster.bootstrap_servers})
        first, second = stage.reader.alerts[:2]
        for alert in (first, {**second, "kibana.alert.risk_score": 99}):
            producer.produce(f"{stage.prefix}.alerts", json.dumps(alert).encode())
        assert producer.flush(30) == 0

    monkeypatch.setitem(FAULTS, "repeat", Fault("repeat", repeat, lambda: ""))
    rows = play(*kafka, Plan(1, ("repeat",), (True,)), QUICK, tmp_path / "history")
    assert [(row.lost, row.duplicated, row.altered, row.unexpected) for row in rows] == [(0, 2, 0, 0)]
