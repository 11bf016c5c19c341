"""What the configuration becomes as client settings, and what errors are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from detectord.config import load_config
from detectord.kafka import KafkaSettings, describe

CONFIG = """
instance: node-3
sources: [{topics: [ecs]}]
kafka:
  bootstrap_servers: "a:1,b:2"
  group: blue
  security_protocol: sasl_ssl
  sasl_mechanism: SCRAM-SHA-512
  sasl_username: u
  sasl_password: p
  properties: {client.rack: r1, fetch.wait.max.ms: 7}
  consumer: {properties: {session.timeout.ms: 6000, fetch.wait.max.ms: 8}}
  producer: {properties: {linger.ms: 9}}
"""


def test_the_configuration_becomes_client_settings(tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    path.write_text(CONFIG)
    settings = KafkaSettings.of(load_config(str(path)))
    consumer, producer = settings.consumer(), settings.producer()
    for client in (consumer, producer):
        assert client["bootstrap.servers"] == "a:1,b:2"
        assert client["security.protocol"] == "sasl_ssl"
        assert client["sasl.password"] == "p"
        assert client["client.rack"] == "r1"
    assert consumer["group.id"] == "blue"
    assert consumer["group.instance.id"] == "detectord.blue.node-3"
    assert (consumer["session.timeout.ms"], consumer["fetch.wait.max.ms"]) == (6000, 8)
    assert (producer["linger.ms"], producer["fetch.wait.max.ms"]) == (9, 7)
    assert "session.timeout.ms" not in producer


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("enable.auto.commit", False),
        ("enable.auto.offset.store", False),
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_committed"),
        ("group.id", "detectord"),
    ],
)
def test_what_delivery_rests_on_cannot_be_changed(name: str, ours: object) -> None:
    theirs = {name: "theirs"}
    settings = KafkaSettings(bootstrap_servers="a:1", properties=theirs, consumer_properties=theirs)
    assert settings.consumer()[name] == ours


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (KafkaError._AUTHENTICATION, "kafka.not_authenticated"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "kafka.not_authorised"),
        (KafkaError._ALL_BROKERS_DOWN, "kafka.unreachable"),
        (KafkaError._UNKNOWN_TOPIC, "kafka.topic_unknown"),
        (KafkaError.ILLEGAL_GENERATION, "kafka.error"),
    ],
)
def test_errors_have_few_names(code: int, name: str) -> None:
    error = KafkaError(code, "it said so")
    assert describe(error) == (name, {"code": error.name(), "error": "it said so"})
