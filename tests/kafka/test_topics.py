"""Our topics: what should be, what differs, and what the command says about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from mockcluster import MockCluster

from detectord.cli.topics import command
from detectord.config import load_config
from detectord.kafka import KafkaSettings
from detectord.runtime.topics import Cluster, Found, NoAdminError, TopicsError, differences, expected

CONFIG = """
sources: [{topics: [ecs.a, ecs.b]}]
kafka: {bootstrap_servers: "SERVERS", topic_prefix: soc, group: g}
state: {partitions: 16}
"""


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "detectord.yml"
    path.write_text(CONFIG.replace("SERVERS", "127.0.0.1:1"))
    return path


@pytest.fixture
def good(config_path: Path) -> dict[str, Found]:
    """The topics exactly as they should be, on three brokers."""
    wanted = expected(load_config(str(config_path)))
    return {topic.name: Found(topic.partitions, 3, dict(topic.settings)) for topic in wanted}


def test_what_should_be(config_path: Path) -> None:
    wanted = expected(load_config(str(config_path)))
    assert [(topic.name, topic.partitions) for topic in wanted] == [
        ("ecs.a", 12),
        ("ecs.b", 12),
        ("soc.alerts", 6),
        ("soc.dlq", 1),
        ("soc.ledger", 1),
        ("soc.hits", 16),
        ("soc.state", 16),
    ]
    policies = {topic.name: topic.settings["cleanup.policy"] for topic in wanted}
    assert policies.pop("soc.state") == "compact"
    assert set(policies.values()) == {"delete"}


def changed(found: Found, **settings: str) -> Found:
    return replace(
        found, settings={**found.settings, **{k.replace("_", "."): v for k, v in settings.items()}}
    )


DIFFERENCES = [
    ("nothing", lambda f: f, []),
    ("missing", lambda f: {k: v for k, v in f.items() if k != "soc.dlq"}, ["soc.dlq: does not exist"]),
    ("more input partitions", lambda f: f | {"ecs.a": replace(f["ecs.a"], partitions=48)}, []),
    ("more alert partitions", lambda f: f | {"soc.alerts": replace(f["soc.alerts"], partitions=12)}, []),
    (
        "another P",
        lambda f: f | {"soc.hits": replace(f["soc.hits"], partitions=64)},
        ["soc.hits: has 64 partitions, must have 16"],
    ),
    (
        "not compacted",
        lambda f: f | {"soc.state": changed(f["soc.state"], cleanup_policy="delete")},
        ["soc.state: cleanup.policy is delete, should be compact"],
    ),
    (
        "stamped by producers",
        lambda f: f | {"ecs.b": changed(f["ecs.b"], message_timestamp_type="CreateTime")},
        ["ecs.b: message.timestamp.type is CreateTime, should be LogAppendTime"],
    ),
    (
        "few replicas",
        lambda f: f | {"soc.ledger": replace(f["soc.ledger"], replicas=1)},
        ["soc.ledger: replication factor is 1, should be 3"],
    ),
]


@pytest.mark.parametrize(("change", "said"), [pytest.param(*case, id=name) for name, *case in DIFFERENCES])
def test_differences(config_path: Path, good: Mapping[str, Found], change, said: list[str]) -> None:
    assert differences(expected(load_config(str(config_path))), change(good), 3) == said


@pytest.mark.broker
def test_a_cluster_without_an_admin_interface(cluster: MockCluster, config_path: Path) -> None:
    admin = Cluster(KafkaSettings(bootstrap_servers=cluster.bootstrap_servers), timeout=0.5)
    topic = cluster.topic(2)
    assert admin.replicas() == 1
    assert admin.find(["nowhere"]) == {}
    with pytest.raises(NoAdminError, match="embedded broker"):
        admin.find([topic])
    with pytest.raises(NoAdminError, match="embedded broker"):
        admin.create(expected(load_config(str(config_path))), 1)


@pytest.mark.parametrize("what", ["check", "create"])
def test_no_cluster_at_all(config_path: Path, what: str) -> None:
    result = CliRunner().invoke(command, [what, "--config", str(config_path), "--timeout", "0.3"])
    assert result.exit_code == 69
    assert "does not answer" in result.output


@pytest.mark.broker
def test_the_command_on_a_cluster_without_topics(cluster: MockCluster, config_path: Path) -> None:
    config_path.write_text(CONFIG.replace("SERVERS", cluster.bootstrap_servers))
    arguments = ["--config", str(config_path), "--timeout", "0.5"]
    checked = CliRunner().invoke(command, ["check", *arguments])
    assert checked.exit_code == 1
    assert "soc.state: does not exist" in checked.output
    created = CliRunner().invoke(command, ["create", *arguments])
    assert created.exit_code == 69
    assert "embedded broker" in created.output


def test_a_client_that_cannot_be_set_up() -> None:
    with pytest.raises(TopicsError, match="cannot be set up"):
        Cluster(KafkaSettings(bootstrap_servers="127.0.0.1:1", properties={"no.such.setting": 1}))
